/* SPDX-License-Identifier: MIT
 *
 * gantry-contract: runs the contract suites of a module.
 *
 *     gantry-contract snapshotter-mine.plugin              a manifest, or the .so itself
 *     gantry-contract --plugins-dir DIR mine.plugin        with what it needs taken from the manifests of
 * DIR, not from fakes gantry-contract --fake org.gantry.content.v1         the fake in memory gantry-contract
 * --list                               the interfaces that have a suite gantry-contract mine.plugin -- -p
 * /content/test/resume   (all of GLib's test options come after --)
 *
 * The output is TAP. Exit status: 0 if everything passed or was skipped, 77 if the module's interfaces have
 * no suite, else another.
 */
#include <string.h>

#include <gantry/store.h>

#include "bench.h"
#include "fakes.h"
#include "trees.h"
#include "views.h"

#define EXIT_SKIP 77

static gboolean option_list, option_verbose;
static char **option_plugins_dirs, **option_config;
static char *option_interface, *option_fake, *option_module_dir, *option_id;

static const GOptionEntry entries[] = {
  { "plugins-dir", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &option_plugins_dirs,
    "Serve the module's needs by the plugins that the manifests in DIR declare; may be given again", "DIR" },
  { "module-dir", 0, 0, G_OPTION_ARG_FILENAME, &option_module_dir,
    "Where modules are that a manifest names without a directory (default: beside the manifest)", "DIR" },
  { "config", 0, 0, G_OPTION_ARG_STRING_ARRAY, &option_config, "Set a configuration key", "KEY=VALUE" },
  { "id", 0, 0, G_OPTION_ARG_STRING, &option_id, "The plugin's id", "ID" },
  { "interface", 0, 0, G_OPTION_ARG_STRING, &option_interface, "Only this one of its interfaces", "TYPE" },
  { "fake", 0, 0, G_OPTION_ARG_STRING, &option_fake, "Test the fake of this interface instead of a module",
    "TYPE" },
  { "list", 0, 0, G_OPTION_ARG_NONE, &option_list, "List the interfaces that have a suite", NULL },
  { "verbose", 0, 0, G_OPTION_ARG_NONE, &option_verbose, "Print what the plugin logs", NULL },
  G_OPTION_ENTRY_NULL,
};

static int
fail (const char *message)
{
  g_printerr ("gantry-contract: %s\n", message);
  return 2;
}

static void
list_suites (void)
{
  for (const GantryContractSuite *const *suite = gantry_contract_list (); *suite != NULL; suite++)
    g_print ("%s\n", (*suite)->type);
}

/* Adds the modules that the manifests of @directory declare. */
static gboolean
add_others (const char *directory, GPtrArray *others, GError **error)
{
  g_autoptr (GDir) dir = g_dir_open (directory, 0, error);
  const char *name;

  if (dir == NULL)
    return FALSE;
  while ((name = g_dir_read_name (dir)) != NULL)
    {
      g_autofree char *path = g_build_filename (directory, name, NULL);
      BenchModule *module;

      if (!g_str_has_suffix (name, ".plugin"))
        continue;
      module = bench_module_new (path, option_module_dir, error);
      if (module == NULL)
        return FALSE;
      g_ptr_array_add (others, module);
    }
  return TRUE;
}

static BenchModule *
read_subject (const char *path, GError **error)
{
  g_autoptr (BenchModule) module = bench_module_new (path, option_module_dir, error);

  if (module == NULL)
    return NULL;
  if (option_id != NULL)
    {
      g_free (module->id);
      module->id = g_strdup (option_id);
    }
  for (gsize i = 0; option_config != NULL && option_config[i] != NULL; i++)
    {
      const char *equals = strchr (option_config[i], '=');
      g_autofree char *key = NULL;

      if (equals == NULL)
        {
          gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "\"%s\" is not KEY=VALUE", option_config[i]);
          return NULL;
        }
      key = g_strndup (option_config[i], (gsize)(equals - option_config[i]));
      bench_module_configure (module, key, equals + 1);
    }
  return g_steal_pointer (&module);
}

static guint
add_suite (BenchPlan *plan, const char *type)
{
  const GantryContractSuite *suite = gantry_contract_find (type);
  g_auto (GStrv) parts = g_strsplit (type, ".", -1);
  guint n = g_strv_length (parts);
  g_autofree char *prefix = g_strdup_printf ("/%s/%s", n >= 2 ? parts[n - 2] : type,
                                             plan->subject != NULL ? plan->subject->id : "fake");

  if (suite == NULL || (option_interface != NULL && strcmp (option_interface, type) != 0))
    return 0;
  gantry_contract_add (prefix, suite, bench_open, bench_close, plan);
  if (strcmp (type, GANTRY_STORE_TYPE) == 0)
    gantry_views_add (prefix, bench_open, bench_close, plan);
  return 1;
}

/* The suites of what the module's descriptor says it provides. */
static gboolean
add_suites (BenchPlan *plan, guint *ret_n, GError **error)
{
  const GantryPluginDesc *desc;

  if (plan->subject == NULL)
    {
      *ret_n = add_suite (plan, option_fake);
      return TRUE;
    }
  desc = bench_module_get_desc (plan->subject, error);
  if (desc == NULL)
    return FALSE;
  for (gsize i = 0; desc->provides[i] != NULL; i++)
    *ret_n += add_suite (plan, desc->provides[i]->type);
  return TRUE;
}

static gboolean
make_plan (BenchPlan *plan, const char *path, GError **error)
{
  plan->others = g_ptr_array_new_with_free_func ((GDestroyNotify)bench_module_free);
  plan->verbose = option_verbose;
  if (option_fake == NULL)
    {
      plan->subject = read_subject (path, error);
      if (plan->subject == NULL)
        return FALSE;
    }
  for (gsize i = 0; option_plugins_dirs != NULL && option_plugins_dirs[i] != NULL; i++)
    if (!add_others (option_plugins_dirs[i], plan->others, error))
      return FALSE;
  return TRUE;
}

/* What comes after "--" is for GLib's tests; the rest is left as arguments. */
static void
split_arguments (int argc, char *argv[], GPtrArray *own, GPtrArray *of_glib)
{
  gboolean rest = FALSE;

  g_ptr_array_add (of_glib, argv[0]);
  for (int i = 0; i < argc; i++)
    if (!rest && strcmp (argv[i], "--") == 0)
      rest = TRUE;
    else
      g_ptr_array_add (rest ? of_glib : own, argv[i]);
  g_ptr_array_add (of_glib, NULL);
  g_ptr_array_add (own, NULL);
}

static void
plan_clear (BenchPlan *plan)
{
  g_clear_pointer (&plan->subject, bench_module_free);
  g_clear_pointer (&plan->others, g_ptr_array_unref);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (BenchPlan, plan_clear)

static int
run (BenchPlan *plan)
{
  g_autoptr (GError) error = NULL;
  guint n = 0;

  if (!add_suites (plan, &n, &error))
    return fail (error->message);
  if (n == 0)
    {
      g_printerr ("gantry-contract: no interface of it has a suite; see --list\n");
      return EXIT_SKIP;
    }
  return g_test_run ();
}

int
main (int argc, char *argv[])
{
  g_autoptr (GOptionContext) context = g_option_context_new ("MODULE.so|MANIFEST.plugin [-- TEST-OPTION…]");
  g_autoptr (GPtrArray) own = g_ptr_array_new ();
  g_autoptr (GPtrArray) of_glib = g_ptr_array_new ();
  g_autoptr (GError) error = NULL;
  g_auto (BenchPlan) plan = { 0 };
  int n_own, n_of_glib;
  char **own_argv, **glib_argv;

  split_arguments (argc, argv, own, of_glib);
  n_own = (int)own->len - 1;
  n_of_glib = (int)of_glib->len - 1;
  own_argv = (char **)own->pdata;
  glib_argv = (char **)of_glib->pdata;
  g_option_context_set_summary (context, "Runs the contract suites of a module's interfaces.");
  g_option_context_add_main_entries (context, entries, NULL);
  if (!g_option_context_parse (context, &n_own, &own_argv, &error))
    return fail (error->message);
  if (option_list)
    {
      list_suites ();
      return 0;
    }
  if ((n_own == 2) == (option_fake != NULL) || n_own > 2)
    return fail ("name one module or manifest; see --help");
  gantry_trees_init ();
  g_test_init (&n_of_glib, &glib_argv, NULL);
  if (!make_plan (&plan, own_argv[1], &error))
    return fail (error->message);
  return run (&plan);
}
