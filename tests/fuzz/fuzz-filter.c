/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Filters, one a line: whatever is taken can be matched, and a value that an index would be asked for does
 * match.
 */
#include <stdint.h>
#include <string.h>

#include "filter.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static const char *
field_of (const char *const *path, guint n_path, gpointer object)
{
  for (guint i = 0; i < n_path; i++)
    if (path[i] == NULL)
      g_error ("a path of %u parts has a hole", n_path);
  if (n_path == 1 && strcmp (path[0], "id") == 0)
    return object;
  return n_path == 2 ? path[1] : NULL;
}

static gboolean
is_id (const char *const *path, guint n_path)
{
  return n_path == 1 && strcmp (path[0], "id") == 0;
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  g_autofree char *text = g_strndup ((const char *)data, size);
  g_auto (GStrv) lines = g_strsplit (text, "\n", 8);
  g_autoptr (GError) error = NULL;
  g_autoptr (GantryFilter) filter = gantry_filter_new ((const char *const *)lines, &error);
  g_autoptr (GArray) ids = NULL;

  if ((filter == NULL) != (error != NULL))
    g_error ("a filter, or why there is none");
  if (filter == NULL)
    return 0;
  gantry_filter_match (filter, field_of, (gpointer) "busybox");
  gantry_filter_match (filter, field_of, NULL);
  ids = gantry_filter_get_equals (filter, is_id);
  if (gantry_filter_is_all (filter) && ids != NULL)
    g_error ("a filter that matches everything demands an id");
  return 0;
}
