/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "inspect.h"

#include <json-glib/json-glib.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gantry/testing/fake-host.h>

static void
print_json (GVariant *value)
{
  g_autoptr (GVariant) held = g_variant_ref_sink (value);
  g_autofree char *text = json_gvariant_serialize_data (held, NULL);

  printf ("%s\n", text);
}

static int
print_in_child (Options *options, const char *what)
{
  g_autoptr (Core) core = core_new (options);
  g_autoptr (GError) error = NULL;

  core->stopping = TRUE; /* nothing is started */
  if (!core_load (core, &error))
    {
      g_printerr ("gantryd: %s\n", error->message);
      return 1;
    }
  if (strcmp (what, "trace") == 0)
    {
      g_auto (GStrv) lines = gantry_introspection_get_trace (&core->introspection);

      print_json (g_variant_new_strv ((const char *const *)lines, -1));
    }
  else if (strcmp (what, "config") == 0)
    print_json (gantry_introspection_get_config (&core->introspection));
  else
    print_json (gantry_introspection_list_plugins (&core->introspection));
  return fflush (stdout) == 0 ? 0 : 1;
}

/* Runs @func in a child. Returns: its exit status, or 128 and the signal that ended it. */
static int
in_child (int (*func) (Options *, const char *), Options *options, const char *argument)
{
  int status;
  pid_t pid;

  fflush (NULL);
  pid = fork ();
  if (pid == 0)
    _exit (func (options, argument));
  if (pid < 0 || waitpid (pid, &status, 0) != pid)
    return 1;
  return WIFSIGNALED (status) ? 128 + WTERMSIG (status) : WEXITSTATUS (status);
}

int
inspect_print (Options *options, const char *what)
{
  int status;

  if (strcmp (what, "plugins") != 0 && strcmp (what, "trace") != 0 && strcmp (what, "config") != 0)
    {
      g_printerr ("gantryd: --inspect takes plugins, trace or config\n");
      return 2;
    }
  status = in_child (print_in_child, options, what);
  if (status > 128)
    g_printerr ("gantryd: a module crashed while it was opened (signal %d); find it with gantryd --check\n",
                status - 128);
  return status;
}

/* One init () and fini () with the host's slot @slot failing at its first call. */
static int
try_init (Options *options, const char *argument)
{
  g_auto (GStrv) parts = g_strsplit (argument, "|", 2);
  g_autofree char *scratch = g_dir_make_tmp ("gantry-check.XXXXXX", NULL);
  g_autoptr (GantryFakeHost) fake = scratch != NULL ? gantry_fake_host_new (scratch, NULL) : NULL;
  const GantryPluginDesc *desc;
  gpointer instance;
  g_autoptr (GError) error = NULL;
  gboolean ok;

  if (fake == NULL)
    return 1;
  gantry_fake_host_fail (fake, (GantryFakeSlot)atoi (parts[0]), 0);
  ok = gantry_fake_host_load (fake, parts[1], &desc, &instance, &error);
  if (!ok && error == NULL)
    {
      printf ("  init () failed without an error\n");
      return 1;
    }
  if (ok)
    gantry_fake_host_unload (fake);
  return 0;
}

static int
check_plugin (Plugin *plugin)
{
  int failures = 0;

  if (plugin->manifest->masked_by != NULL)
    {
      printf ("ok   %s: masked by %s\n", plugin->manifest->name, plugin->manifest->masked_by);
      return 0;
    }
  if (plugin->desc == NULL || plugin->state == STATE_FAILED)
    {
      printf ("FAIL %s: %s\n", plugin->manifest->name, plugin->reason);
      return 1;
    }
  for (int slot = GANTRY_FAKE_SLOT_NONE; slot < GANTRY_FAKE_N_SLOTS; slot++)
    {
      g_autofree char *argument = g_strdup_printf ("%d|%s", slot, plugin->file);
      int status = in_child (try_init, plugin->core->options, argument);

      if (status == 0)
        continue;
      failures++;
      if (status > 128)
        printf ("FAIL %s: init () or fini () crashed with signal %d when host slot %d failed\n",
                plugin->manifest->name, status - 128, slot);
      else
        printf ("FAIL %s: init () misbehaved when host slot %d failed\n", plugin->manifest->name, slot);
    }
  if (failures == 0)
    printf ("ok   %s: manifest, descriptor, ABI %u, ownership, init and fini\n", plugin->manifest->name,
            plugin->desc->abi_major);
  return failures;
}

static int
check_in_child (Options *options, const char *path)
{
  g_autoptr (Core) core = core_new (options);
  g_autoptr (GError) error = NULL;
  g_autofree char *only = NULL;
  guint checked = 0;
  int failures = 0;

  if (g_str_has_suffix (path, ".plugin"))
    {
      g_autofree char *base = g_path_get_basename (path);

      only = g_strndup (base, strlen (base) - strlen (".plugin"));
    }
  core->stopping = TRUE;
  if (!core_load (core, &error))
    {
      g_printerr ("gantryd: %s\n", error->message);
      return 1;
    }
  for (guint i = 0; i < core->plugins->len; i++)
    {
      Plugin *plugin = g_ptr_array_index (core->plugins, i);

      if (only != NULL && strcmp (only, plugin->manifest->name) != 0)
        continue;
      checked++;
      failures += check_plugin (plugin);
    }
  for (guint i = 0; i < core->warnings->len; i++)
    printf ("warn %s\n", (const char *)g_ptr_array_index (core->warnings, i));
  if (checked == 0)
    printf ("FAIL there is no manifest %s\n", path);
  fflush (stdout);
  return failures > 0 || checked == 0 ? 1 : 0;
}

int
inspect_check (Options *options, const char *path)
{
  g_autofree char *dir = g_str_has_suffix (path, ".plugin") ? g_path_get_dirname (path) : g_strdup (path);
  char *dirs[] = { dir, NULL };
  int status;

  g_strfreev (options->plugins_dirs);
  options->plugins_dirs = g_strdupv (dirs);
  status = in_child (check_in_child, options, path);
  if (status > 128)
    printf ("FAIL a module below %s crashed while it was opened (signal %d)\n", path, status - 128);
  return status;
}
