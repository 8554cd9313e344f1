/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The core serves introspection itself: its suite runs on a core with a few of the build tree's plugins. */
#include <contract.h>
#include <core.h>
#include <gantry/introspection.h>
#include <log.h>

#include <string.h>

/* Plugins that need nothing but each other. */
static const char *const names[] = { "content-local", "events-local", "jobs-local", "metadata-sqlite" };

typedef struct
{
  GantryContractFixture fixture;
  Options options;
  Core *core;
  char *directory;
} CoreFixture;

static void
link_manifests (const char *directory)
{
  for (gsize i = 0; i < G_N_ELEMENTS (names); i++)
    {
      g_autofree char *file = g_strconcat (names[i], ".plugin", NULL);
      g_autofree char *from = g_build_filename (g_getenv ("GANTRY_PLUGINS_DIR"), file, NULL);
      g_autofree char *to = g_build_filename (directory, file, NULL);
      g_autofree char *text = NULL;
      g_autoptr (GError) error = NULL;

      g_file_get_contents (from, &text, NULL, &error);
      g_assert_no_error (error);
      g_file_set_contents (to, text, -1, &error);
      g_assert_no_error (error);
    }
}

static void
start_core (CoreFixture *self)
{
  g_autoptr (GError) error = NULL;

  self->core = core_new (&self->options);
  core_load (self->core, &error);
  g_assert_no_error (error);
  core_start (self->core);
  while (!self->core->settled)
    g_main_context_iteration (self->core->context, TRUE);
  self->fixture.instance = &self->core->introspection;
}

static void
end_core (CoreFixture *self)
{
  core_stop (self->core, "the test is over");
  core_finish (self->core);
  g_clear_pointer (&self->core, core_free);
}

static void
restart (GantryContractFixture *fixture)
{
  end_core ((CoreFixture *)fixture);
  start_core ((CoreFixture *)fixture);
}

static GantryContractFixture *
open_core (const GantryContractSuite *suite, gpointer user_data)
{
  CoreFixture *self = g_new0 (CoreFixture, 1);
  const char *dirs[2] = { NULL, NULL };
  g_autoptr (GError) error = NULL;
  g_autofree char *manifests = NULL;

  self->directory = g_dir_make_tmp ("gantry-core-XXXXXX", &error);
  g_assert_no_error (error);
  manifests = g_build_filename (self->directory, "plugins.d", NULL);
  dirs[0] = manifests;
  self->options.root = g_build_filename (self->directory, "root", NULL);
  self->options.state = g_build_filename (self->directory, "state", NULL);
  self->options.plugindir = g_strdup (manifests);
  self->options.plugins_dirs = g_strdupv ((char **)dirs);
  self->options.io_threads = 2;
  self->options.runtime_threads = 2;
  self->options.max_queue = 100;
  self->options.checking = TRUE;
  self->options.settings = g_ptr_array_new ();
  self->options.warnings = g_ptr_array_new ();
  for (gsize i = 0; i < 3; i++)
    {
      const char *dir = (const char *[]){ manifests, self->options.root, self->options.state }[i];

      g_assert_cmpint (g_mkdir_with_parents (dir, 0711), ==, 0);
    }
  link_manifests (manifests);
  start_core (self);
  self->fixture.size = sizeof self->fixture;
  self->fixture.type = suite->type;
  self->fixture.id = "core";
  self->fixture.scratch = self->directory;
  self->fixture.restart = restart;
  return &self->fixture;
}

static void
close_core (GantryContractFixture *fixture)
{
  CoreFixture *self = (CoreFixture *)fixture;
  const char *argv[] = { "rm", "-rf", self->directory, NULL };

  end_core (self);
  g_assert_true (
      g_spawn_sync (NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL, NULL));
  g_free (self->options.root);
  g_free (self->options.state);
  g_free (self->options.plugindir);
  g_strfreev (self->options.plugins_dirs);
  g_ptr_array_unref (self->options.settings);
  g_ptr_array_unref (self->options.warnings);
  g_free (self->directory);
  g_free (self);
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  gantry_contract_add ("/introspection/core", gantry_contract_find (GANTRY_INTROSPECTION_TYPE), open_core,
                       close_core, NULL);
  return g_test_run ();
}
