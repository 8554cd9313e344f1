/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Manifests of plugins: any bytes as a "*.plugin" file. It is taken, or its error says why not.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "core.h"
#include "manifest.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static char *dir;
static char *path;

static void
remove_dir (void)
{
  g_remove (path);
  g_rmdir (dir);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  g_autoptr (GPtrArray) warnings = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GPtrArray) manifests = NULL;
  g_autoptr (GError) error = NULL;

  if (dir == NULL)
    {
      dir = g_dir_make_tmp ("gantry-fuzz-XXXXXX", NULL);
      path = g_build_filename (dir, "x.plugin", NULL);
      atexit (remove_dir);
    }
  if (!g_file_set_contents (path, (const char *)data, (gssize)size, NULL))
    g_error ("writing %s failed", path);
  manifests = manifests_load ((const char *const[]){ dir, NULL }, NULL, warnings, &error);
  if (manifests == NULL)
    g_error ("no manifests at all: %s", error->message);
  for (guint i = 0; i < manifests->len; i++)
    {
      Manifest *manifest = g_ptr_array_index (manifests, i);
      g_autoptr (GVariant) config = NULL;
      g_autofree char *module = NULL;

      if (manifest->error != NULL || manifest->masked_by != NULL)
        continue;
      config = manifest_get_config (manifest);
      module = manifest_resolve_module (manifest, dir, NULL);
    }
  return 0;
}
