/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "unpack-common.h"

#include <string.h>

#define MAX_SHOWN  200
#define MAX_RANGES 340 /* as many as the kernel takes in a uid_map */

#define LIMIT(name_, member_, min_, max_)                                                                    \
  {                                                                                                          \
    .name = (name_), .offset = G_STRUCT_OFFSET (UnpackLimits, member_), .min = (min_), .max = (max_)         \
  }

const UnpackLimitName unpack_limit_names[] = {
  LIMIT ("MaxEntries", max_entries, 1, G_MAXUINT32),
  LIMIT ("MaxBytes", max_bytes, 1024, G_MAXINT64),
  LIMIT ("MaxPath", max_path, 255, 65536),
  LIMIT ("MaxDepth", max_depth, 16, 4096),
  LIMIT ("MaxDevices", max_devices, 0, G_MAXUINT32),
  LIMIT ("MaxXattrs", max_xattrs, 0, 16 * 1024 * 1024),
  LIMIT ("MaxMemory", max_memory, 64 * 1024 * 1024, G_MAXINT64),
  LIMIT ("MaxCpuSeconds", max_cpu_seconds, 1, G_MAXUINT32),
  { .name = NULL },
};

static gboolean
parse_range (const char *text, UnpackIdRange *ret_range)
{
  g_auto (GStrv) parts = g_strsplit (text, ":", 4);
  guint64 *members[] = { &ret_range->inside, &ret_range->outside, &ret_range->count };

  if (g_strv_length (parts) != 3)
    return FALSE;
  for (gsize i = 0; i < 3; i++)
    if (!g_ascii_string_to_unsigned (parts[i], 10, 0, G_MAXUINT32, members[i], NULL))
      return FALSE;
  return ret_range->count > 0 && ret_range->inside + ret_range->count <= G_MAXUINT32
         && ret_range->outside + ret_range->count <= G_MAXUINT32;
}

gboolean
unpack_id_map_parse (const char *text, GArray *map, GError **error)
{
  g_auto (GStrv) parts = g_strsplit (text, ",", MAX_RANGES + 1);

  if (g_strv_length (parts) > MAX_RANGES)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "an id map has more than %d ranges",
                         MAX_RANGES);
  for (gsize i = 0; parts[i] != NULL; i++)
    {
      UnpackIdRange range = { 0 };

      if (!parse_range (parts[i], &range))
        return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                             "\"%s\" is not an id map; write INSIDE:OUTSIDE:COUNT[,…]", text);
      g_array_append_val (map, range);
    }
  return TRUE;
}

gboolean
unpack_id_map_lookup (GArray *map, gint64 id, guint32 *ret_id, GError **error)
{
  /* -1 means "leave it" to chown(2), so it is no id. */
  if (id < 0 || id >= G_MAXUINT32)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "%" G_GINT64_FORMAT " is not a user or group id", id);
  if (map == NULL || map->len == 0)
    {
      *ret_id = (guint32)id;
      return TRUE;
    }
  for (guint i = 0; i < map->len; i++)
    {
      const UnpackIdRange *range = &g_array_index (map, UnpackIdRange, i);

      if ((guint64)id >= range->inside && (guint64)id - range->inside < range->count)
        {
          *ret_id = (guint32)(range->outside + ((guint64)id - range->inside));
          return TRUE;
        }
    }
  return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                       "the id %" G_GINT64_FORMAT " is not in the id map", id);
}

char *
unpack_show_name (const char *name)
{
  g_autofree char *head = g_strndup (name, MAX_SHOWN);
  char *shown;

  if (g_utf8_validate (head, -1, NULL))
    {
      g_autofree char *escaped = NULL;
      GString *high = g_string_new (NULL);

      /* g_strescape () leaves the bytes that it is told: those above ASCII, which are readable here. */
      for (int c = 128; c < 256; c++)
        g_string_append_c (high, (char)c);
      escaped = g_strescape (head, high->str);
      g_string_free (high, TRUE);
      shown = g_steal_pointer (&escaped);
    }
  else
    shown = g_strescape (head, NULL);
  if (strlen (name) > MAX_SHOWN)
    {
      char *cut = g_strconcat (shown, "…", NULL);

      g_free (shown);
      return cut;
    }
  return shown;
}

static gboolean
append_component (GString *clean, const char *part, gsize length)
{
  if (length == 0 || (length == 1 && part[0] == '.'))
    return TRUE;
  if (length == 2 && part[0] == '.' && part[1] == '.')
    {
      char *slash;

      if (clean->len == 0)
        return FALSE;
      slash = strrchr (clean->str, '/');
      g_string_truncate (clean, slash != NULL ? (gsize)(slash - clean->str) : 0);
      return TRUE;
    }
  if (clean->len > 0)
    g_string_append_c (clean, '/');
  g_string_append_len (clean, part, (gssize)length);
  return TRUE;
}

char *
unpack_clean_name (const char *name, const UnpackLimits *limits, GError **error)
{
  g_autoptr (GString) clean = NULL;
  gsize length = strlen (name);

  if (length > limits->max_path)
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                    "its name is longer than %" G_GUINT64_FORMAT " bytes", limits->max_path);
      return NULL;
    }
  clean = g_string_sized_new (length + 1);
  for (const char *at = name; *at != '\0';)
    {
      gsize part = strcspn (at, "/");

      if (!append_component (clean, at, part))
        {
          gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "its name leaves the root directory");
          return NULL;
        }
      at += part;
      at += strspn (at, "/");
    }
  return g_string_free (g_steal_pointer (&clean), FALSE);
}
