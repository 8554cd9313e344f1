/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A plugin is tried in a core of its own, in a child, on scratch directories, with all that it needs: once as
 * it is, and once for every call of the host that may fail, with that call failing. */
#include "check.h"

#include "module-file.h"
#include "inspect.h"
#include "log.h"

#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define TRIAL_SECONDS 120
#define NO_SUITE      77 /* what gantry-contract exits with */
#define NOT_RUN       2
#define MAX_CALLS     16 /* of one host slot that are made to fail, one after the other */

/* Exit statuses of a trial besides signals. */
enum
{
  TRIAL_OK = 0,
  TRIAL_BAD = 1,
  TRIAL_NOT_REACHED = 3, /* init () made no such call */
  TRIAL_SKIPPED = 4,
};

/** The host's slots that may fail. */
typedef enum
{
  SLOT_NONE,
  SLOT_LOOKUP,
  SLOT_LOOKUP_ALL,
  SLOT_GET_DIR_FD,
  SLOT_GET_DIR_PATH,
  SLOT_SUBMIT,
  N_SLOTS
} Slot;

static const char *const slot_names[N_SLOTS]
    = { "none", "lookup", "lookup_all", "get_dir_fd", "get_dir_path", "submit" };

/* What this process, a trial, breaks. */
static struct
{
  GantryHost host; /* the working one */
  Slot slot;
  int call;
  int n_calls;
  gboolean reached;
} fault;

static gboolean
trip (Slot slot, GError **error)
{
  if (slot != fault.slot || g_atomic_int_add (&fault.n_calls, 1) != fault.call)
    return FALSE;
  fault.reached = TRUE;
  gantry_throw (error, slot == SLOT_SUBMIT ? GANTRY_ERROR_RESOURCE_EXHAUSTED : GANTRY_ERROR_INTERNAL,
                "a failure that gantry plugin check injected");
  return TRUE;
}

static gpointer
faulty_lookup (const GantryHost *host, const char *type, const char *id, GError **error)
{
  return trip (SLOT_LOOKUP, error) ? NULL : fault.host.lookup (host, type, id, error);
}

static GPtrArray *
faulty_lookup_all (const GantryHost *host, const char *type, GError **error)
{
  return trip (SLOT_LOOKUP_ALL, error) ? NULL : fault.host.lookup_all (host, type, error);
}

static int
faulty_get_dir_fd (const GantryHost *host, GantryDir dir, GError **error)
{
  return trip (SLOT_GET_DIR_FD, error) ? -1 : fault.host.get_dir_fd (host, dir, error);
}

static const char *
faulty_get_dir_path (const GantryHost *host, GantryDir dir, GError **error)
{
  return trip (SLOT_GET_DIR_PATH, error) ? NULL : fault.host.get_dir_path (host, dir, error);
}

static gboolean
faulty_submit (const GantryHost *host, GantryPool pool, GFunc func, gpointer data, GDestroyNotify destroy,
               GError **error)
{
  return !trip (SLOT_SUBMIT, error) && fault.host.submit (host, pool, func, data, destroy, error);
}

static void
break_host (Plugin *plugin, Slot slot, int call)
{
  fault.host = plugin->host;
  fault.slot = slot;
  fault.call = call;
  plugin->host.lookup = faulty_lookup;
  plugin->host.lookup_all = faulty_lookup_all;
  plugin->host.get_dir_fd = faulty_get_dir_fd;
  plugin->host.get_dir_path = faulty_get_dir_path;
  plugin->host.submit = faulty_submit;
}

static Plugin *
find_plugin (Core *core, const char *name)
{
  for (guint i = 0; i < core->plugins->len; i++)
    if (strcmp (((Plugin *)g_ptr_array_index (core->plugins, i))->manifest->name, name) == 0)
      return g_ptr_array_index (core->plugins, i);
  return NULL;
}

/* Adds @plugin and all that it may need to @set. */
static void
add_needed (Plugin *plugin, GHashTable *set)
{
  if (!g_hash_table_add (set, plugin))
    return;
  for (guint i = 0; i < plugin->manifest->needs->len; i++)
    {
      ManifestNeed *need = g_ptr_array_index (plugin->manifest->needs, i);
      g_autoptr (GPtrArray) candidates = graph_candidates (plugin->core, need->type, need->id);

      for (guint j = 0; j < candidates->len; j++)
        add_needed (g_ptr_array_index (candidates, j), set);
    }
}

/* Nothing but @plugin and what it needs is started, and nothing is so important that the trial ends. */
static void
keep_only (Plugin *plugin)
{
  g_autoptr (GHashTable) set = g_hash_table_new (NULL, NULL);

  add_needed (plugin, set);
  for (guint i = 0; i < plugin->core->plugins->len; i++)
    {
      Plugin *other = g_ptr_array_index (plugin->core->plugins, i);

      other->manifest->on_failure = ON_FAILURE_WARN;
      if (other->state == STATE_PENDING && !g_hash_table_contains (set, other))
        core_conclude (other, STATE_SKIPPED, "not needed by what is checked");
    }
}

/* How many descriptors of this process point below @dir. */
static guint
count_fds (const char *dir)
{
  g_autoptr (GDir) fds = g_dir_open ("/proc/self/fd", 0, NULL);
  const char *name;
  guint n = 0;

  while (fds != NULL && (name = g_dir_read_name (fds)) != NULL)
    {
      g_autofree char *path = g_build_filename ("/proc/self/fd", name, NULL);
      g_autofree char *target = g_file_read_link (path, NULL);

      n += target != NULL && g_str_has_prefix (target, dir);
    }
  return n;
}

/* What is wrong with the interfaces of a plugin that has started, or NULL. */
static char *
find_bad_interface (Plugin *plugin)
{
  for (gsize i = 0; plugin->manifest->provides[i] != NULL; i++)
    {
      const char *type = plugin->manifest->provides[i];

      if (plugin->desc->get (plugin->instance, type) == NULL)
        return g_strdup_printf ("get () returned NULL for %s, which it provides", type);
      if (plugin_vtable_size (plugin, type) < sizeof (size_t) + sizeof (gpointer))
        return g_strdup_printf ("the vtable of %s has no slot; set its size with sizeof", type);
    }
  return NULL;
}

/* Starts @plugin, ends it, and says what went wrong, or NULL. */
static char *
start_and_end (Core *core, Plugin *plugin, const char *scratch, int *ret_status)
{
  g_autofree char *bad = NULL;
  guint left;

  core_start (core);
  while (!core->settled && !core->stopping)
    g_main_context_iteration (core->context, TRUE);
  *ret_status = plugin->state == STATE_SKIPPED ? TRIAL_SKIPPED : TRIAL_OK;
  if (plugin->state == STATE_OK)
    bad = find_bad_interface (plugin);
  else if (plugin->last_error != NULL && strstr (plugin->last_error, "without an error") != NULL)
    bad = g_strdup (plugin->last_error);
  else if (plugin->state == STATE_FAILED && fault.slot == SLOT_NONE)
    bad = g_strdup (plugin->reason);
  else if (plugin->state == STATE_SKIPPED && fault.slot == SLOT_NONE)
    printf ("skip %s: init: %s\n", plugin->manifest->name, plugin->reason);
  core_stop (core, "the trial is over");
  core_finish (core);
  for (guint i = 0; i < core->plugins->len; i++)
    host_clear_dirs (g_ptr_array_index (core->plugins, i));
  left = count_fds (scratch);
  if (bad == NULL && left > 0)
    bad = g_strdup_printf ("%u descriptors of files in its directories are open after fini ()", left);
  if (bad == NULL && log_get_first_critical () != NULL)
    bad = g_strdup (log_get_first_critical ());
  return g_steal_pointer (&bad);
}

typedef struct
{
  Options *options;
  const char *name;
  const char *scratch;
  Slot slot;
  int call;
} Trial;

/* In a child. */
static int
run_trial (gpointer data)
{
  const Trial *trial = data;
  Options options = *trial->options;
  g_autofree char *bad = NULL;
  g_autoptr (Core) core = NULL;
  g_autoptr (GError) error = NULL;
  Plugin *plugin;
  int status = TRIAL_BAD;

  alarm (TRIAL_SECONDS);
  log_silence ();
  options.root = g_build_filename (trial->scratch, "root", NULL);
  options.state = g_build_filename (trial->scratch, "state", NULL);
  options.checking = TRUE;
  if (g_mkdir_with_parents (options.root, 0711) < 0 || g_mkdir_with_parents (options.state, 0711) < 0)
    return TRIAL_BAD;
  core = core_new (&options);
  plugin = core_load (core, &error) ? find_plugin (core, trial->name) : NULL;
  if (plugin == NULL || plugin->state != STATE_PENDING)
    return TRIAL_BAD;
  keep_only (plugin);
  break_host (plugin, trial->slot, trial->call);
  bad = start_and_end (core, plugin, trial->scratch, &status);
  if (bad != NULL && trial->slot == SLOT_NONE)
    printf ("FAIL %s: init and fini: %s\n", trial->name, bad);
  else if (bad != NULL)
    printf ("FAIL %s: init and fini: when call %d of the host's %s fails: %s\n", trial->name, trial->call + 1,
            slot_names[trial->slot], bad);
  if (bad != NULL)
    return TRIAL_BAD;
  return trial->slot != SLOT_NONE && !fault.reached ? TRIAL_NOT_REACHED : status;
}

static int
remove_entry (const char *path, const struct stat *st, int type, struct FTW *ftw)
{
  remove (path);
  return 0;
}

/* Returns: a TRIAL_ status; what is wrong has been printed. */
static int
try_once (Options *options, const char *name, Slot slot, int call)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *scratch = g_dir_make_tmp ("gantry-check.XXXXXX", &error);
  Trial trial = { options, name, scratch, slot, call };
  int status;

  if (scratch == NULL)
    {
      printf ("FAIL %s: init and fini: %s\n", name, error->message);
      return TRIAL_BAD;
    }
  status = inspect_in_child (run_trial, &trial);
  if (status == 128 + SIGALRM)
    printf ("FAIL %s: init and fini: not over after %d seconds (call %d of %s failed)\n", name, TRIAL_SECONDS,
            call + 1, slot_names[slot]);
  else if (status > 128)
    printf ("FAIL %s: init and fini: crashed with signal %d when call %d of the host's %s failed\n", name,
            status - 128, call + 1, slot_names[slot]);
  nftw (scratch, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
  return status > 128 ? TRIAL_BAD : status;
}

/* Returns: how many checks failed. */
static int
check_init (Plugin *plugin)
{
  const char *name = plugin->manifest->name;
  int first = try_once (plugin->core->options, name, SLOT_NONE, 0);
  int failures = 0, injected = 0;

  if (first == TRIAL_SKIPPED)
    return 0;
  if (first != TRIAL_OK)
    return 1;
  for (Slot slot = SLOT_LOOKUP; slot < N_SLOTS; slot++)
    for (int call = 0; call < MAX_CALLS; call++)
      {
        int status = try_once (plugin->core->options, name, slot, call);

        if (status == TRIAL_NOT_REACHED)
          break;
        injected++;
        failures += status == TRIAL_BAD;
      }
  if (failures == 0)
    printf ("ok   %s: init and fini: as it is, and with %d failures of the host injected\n", name, injected);
  return failures;
}

/* A module exports one symbol and links nothing of Gantry's. */
static int
check_symbols (Plugin *plugin)
{
  const char *name = plugin->manifest->name;
  g_autoptr (GError) error = NULL;
  g_autoptr (ElfFacts) facts = elf_read (plugin->file, &error);
  g_autoptr (GString) foreign = g_string_new (NULL);

  if (facts == NULL)
    {
      printf ("FAIL %s: symbols: %s\n", name, error->message);
      return 1;
    }
  for (guint i = 0; i < facts->symbols->len; i++)
    {
      const char *symbol = g_ptr_array_index (facts->symbols, i);

      /* Names with two underscores are the compiler's: a sanitizer adds some. */
      if (strcmp (symbol, "gantry_plugin_get_desc") != 0 && !g_str_has_prefix (symbol, "__"))
        g_string_append_printf (foreign, " %s", symbol);
    }
  for (guint i = 0; i < facts->libraries->len; i++)
    if (g_str_has_prefix (g_ptr_array_index (facts->libraries, i), "libgantry"))
      {
        printf ("FAIL %s: symbols: it links %s; a module gets everything from its host\n", name,
                (const char *)g_ptr_array_index (facts->libraries, i));
        return 1;
      }
  if (foreign->len > 0)
    printf ("FAIL %s: symbols: besides gantry_plugin_get_desc it exports%s; build it with "
            "-fvisibility=hidden\n",
            name, foreign->str);
  else
    printf ("ok   %s: symbols: gantry_plugin_get_desc alone, and no library of Gantry's\n", name);
  return foreign->len > 0;
}

/* gantry-contract, which belongs to the SDK: beside an uninstalled gantryd, or installed. Returns: (transfer
 * full) (nullable). */
static char *
find_contract_runner (void)
{
  g_autofree char *self = g_file_read_link ("/proc/self/exe", NULL);
  g_autofree char *dir = self != NULL ? g_path_get_dirname (self) : g_strdup ("/");
  g_autofree char *beside = g_canonicalize_filename ("../sdk/contract/gantry-contract", dir);

  if (g_file_test (beside, G_FILE_TEST_IS_EXECUTABLE))
    return g_steal_pointer (&beside);
  return g_file_test (GANTRY_CONTRACT, G_FILE_TEST_IS_EXECUTABLE) ? g_strdup (GANTRY_CONTRACT) : NULL;
}

/* Says what a run of a suite, in TAP, came to. Returns: how many cases failed, at least 1 if @status is bad.
 */
static int
tell_tap (const char *name, const char *type, const char *tap, const char *errors, int status)
{
  g_auto (GStrv) lines = g_strsplit (tap, "\n", -1);
  int passed = 0, failed = 0, skipped = 0;

  for (gsize i = 0; lines[i] != NULL; i++)
    if (g_str_has_prefix (lines[i], "not ok "))
      {
        failed++;
        printf ("FAIL %s: contract: %s: %s\n", name, type, lines[i]);
      }
    else if (g_str_has_prefix (lines[i], "ok ") && strstr (lines[i], "# SKIP") != NULL)
      skipped++;
    else if (g_str_has_prefix (lines[i], "ok "))
      passed++;
  if (status != 0 && failed == 0)
    {
      g_auto (GStrv) said = g_strsplit (g_strstrip ((char *)errors), "\n", 2);

      failed = 1;
      printf ("FAIL %s: contract: %s: ended after %d cases: %s\n", name, type, passed,
              said[0] != NULL ? said[0] : "");
    }
  if (failed == 0)
    printf ("ok   %s: contract: %s: %d cases passed, %d skipped\n", name, type, passed, skipped);
  return failed;
}

/* The command line of gantry-contract. What the plugin needs comes from the other plugins, if @others, else
 * from the SDK's fakes. Returns: (transfer full) (element-type utf8). */
static GPtrArray *
make_command (Plugin *plugin, const char *runner, const char *type, gboolean others)
{
  GPtrArray *argv = g_ptr_array_new_with_free_func (g_free);
  char **dirs = plugin->core->options->plugins_dirs;

  g_ptr_array_add (argv, g_strdup (runner));
  g_ptr_array_add (argv, g_strdup_printf ("--interface=%s", type));
  g_ptr_array_add (argv, g_strdup_printf ("--id=%s", plugin->manifest->id));
  g_ptr_array_add (argv, g_strdup_printf ("--module-dir=%s", plugin->core->options->plugindir));
  for (guint i = 0; i < plugin->manifest->config->len; i++)
    {
      Setting *setting = g_ptr_array_index (plugin->manifest->config, i);

      g_ptr_array_add (argv, g_strdup_printf ("--config=%s=%s", setting->key, setting->value));
    }
  for (gsize i = 0; others && dirs[i] != NULL; i++)
    if (g_file_test (dirs[i], G_FILE_TEST_IS_DIR))
      g_ptr_array_add (argv, g_strdup_printf ("--plugins-dir=%s", dirs[i]));
  g_ptr_array_add (argv, g_strdup (plugin->manifest->path));
  g_ptr_array_add (argv, NULL);
  return argv;
}

/* The contract suite of one interface. */
static int
run_suite (Plugin *plugin, const char *runner, const char *type)
{
  const char *name = plugin->manifest->name;
  g_autoptr (GPtrArray) with_others = make_command (plugin, runner, type, TRUE);
  g_autoptr (GPtrArray) with_fakes = make_command (plugin, runner, type, FALSE);
  g_autoptr (GError) error = NULL;
  g_autofree char *output = NULL, *errors = NULL;
  int status = 0;

  if (g_spawn_sync (NULL, (char **)with_others->pdata, NULL, G_SPAWN_DEFAULT, NULL, NULL, &output, &errors,
                    &status, &error)
      && WIFEXITED (status) && WEXITSTATUS (status) == NOT_RUN)
    {
      /* One of the others can't be loaded, which is not this one's fault. */
      g_clear_pointer (&output, g_free);
      g_clear_pointer (&errors, g_free);
      g_spawn_sync (NULL, (char **)with_fakes->pdata, NULL, G_SPAWN_DEFAULT, NULL, NULL, &output, &errors,
                    &status, &error);
    }
  if (error != NULL)
    {
      printf ("FAIL %s: contract: %s\n", name, error->message);
      return 1;
    }
  if (WIFEXITED (status) && WEXITSTATUS (status) == NO_SUITE)
    {
      printf ("skip %s: contract: %s has no suite\n", name, type);
      return 0;
    }
  return tell_tap (name, type, output, errors, status);
}

static int
check_contract (Plugin *plugin)
{
  g_autofree char *runner = find_contract_runner ();
  int failures = 0;

  if (runner == NULL)
    {
      printf ("skip %s: contract: gantry-contract is not installed; it comes with the SDK\n",
              plugin->manifest->name);
      return 0;
    }
  for (gsize i = 0; plugin->manifest->provides[i] != NULL; i++)
    failures += run_suite (plugin, runner, plugin->manifest->provides[i]);
  return failures;
}

/* Every key tells its default, and there is no default of something else. Returns: how many do not fit. */
static int
check_defaults (Plugin *plugin)
{
  const GantryPluginDesc *desc = plugin->desc;
  int failures = 0;

  /* A module that is older than the member may be without. */
  if (desc->size < GANTRY_SIZE_UP_TO (GantryPluginDesc, config_defaults) || desc->config_keys == NULL)
    return 0;
  for (gsize i = 0; desc->config_keys[i] != NULL; i++)
    if (introspection_get_default (plugin, desc->config_keys[i]) == NULL)
      {
        failures++;
        printf ("FAIL %s: configuration: the key %s tells no default; add it to config_defaults\n",
                plugin->manifest->name, desc->config_keys[i]);
      }
  for (gsize i = 0; desc->config_defaults != NULL && desc->config_defaults[i] != NULL; i++)
    {
      g_auto (GStrv) parts = g_strsplit (desc->config_defaults[i], "=", 2);

      if (parts[0] != NULL && parts[1] != NULL && g_strv_contains (desc->config_keys, parts[0]))
        continue;
      failures++;
      printf ("FAIL %s: configuration: \"%s\" of config_defaults is no default of one of its keys\n",
              plugin->manifest->name, desc->config_defaults[i]);
    }
  return failures;
}

static int
check_plugin (Plugin *plugin)
{
  const char *name = plugin->manifest->name;

  if (plugin->manifest->masked_by != NULL)
    {
      printf ("skip %s: masked by %s\n", name, plugin->manifest->masked_by);
      return 0;
    }
  if (plugin->desc == NULL || plugin->state == STATE_FAILED)
    {
      printf ("FAIL %s: %s\n", name, plugin->reason);
      return 1;
    }
  printf ("ok   %s: module: %s belongs to root and nobody else can write it\n", name, plugin->file);
  printf ("ok   %s: descriptor: %s %s, ABI %u of %d, as %s says\n", name, plugin->desc->name,
          plugin->desc->version, plugin->desc->abi_major, GANTRY_ABI_MAJOR, plugin->manifest->path);
  return check_symbols (plugin) + check_defaults (plugin) + check_init (plugin) + check_contract (plugin);
}

/* Whether the manifest of @plugin is @path, or lies in the directory @path. */
static gboolean
is_meant (Plugin *plugin, const char *path)
{
  g_autofree char *dir = g_path_get_dirname (plugin->manifest->path);

  if (g_str_has_suffix (path, ".plugin"))
    return g_strcmp0 (plugin->manifest->path, path) == 0;
  return inspect_same_file (dir, path);
}

typedef struct
{
  Options *options;
  const char *path;
} Target;

static int
check_all (gpointer data)
{
  const Target *target = data;
  g_autoptr (Core) core = core_new (target->options);
  g_autoptr (GError) error = NULL;
  guint checked = 0;
  int failures = 0;

  core->stopping = TRUE; /* nothing is started in this process */
  log_silence ();
  if (!core_load (core, &error))
    {
      printf ("FAIL %s: %s\n", target->path, error->message);
      return 1;
    }
  for (guint i = 0; i < core->warnings->len; i++)
    printf ("warn %s\n", (const char *)g_ptr_array_index (core->warnings, i));
  for (guint i = 0; i < core->plugins->len; i++)
    if (is_meant (g_ptr_array_index (core->plugins, i), target->path))
      {
        checked++;
        failures += check_plugin (g_ptr_array_index (core->plugins, i));
        fflush (stdout);
      }
  if (checked == 0)
    printf ("FAIL there is no manifest %s\n", target->path);
  fflush (stdout);
  return failures > 0 || checked == 0 ? 1 : 0;
}

int
check_run (Options *options, const char *path)
{
  g_autoptr (GPtrArray) dirs = g_ptr_array_new ();
  char **given = options->plugins_dirs;
  Target target = { options, path };
  int status;

  /* A manifest is checked as the last of the directories' files: they serve what it needs. */
  for (gsize i = 0; options->plugins_dirs[i] != NULL; i++)
    if (strcmp (options->plugins_dirs[i], path) != 0)
      g_ptr_array_add (dirs, options->plugins_dirs[i]);
  g_ptr_array_add (dirs, (gpointer)path);
  g_ptr_array_add (dirs, NULL);
  options->plugins_dirs = (char **)dirs->pdata;
  status = inspect_in_child (check_all, &target);
  options->plugins_dirs = given;
  if (status > 128)
    printf ("FAIL a module of %s crashed while it was opened (signal %d)\n", path, status - 128);
  return status;
}
