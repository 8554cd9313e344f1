/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Reads what shims answer to Stats: StatsResponse { stats = 1 }, an Any with io.containerd.cgroups.v1.Metrics
 * or .v2.Metrics (github.com/containerd/cgroups, metrics.proto). */
#include "shim-runtime.h"

#include <string.h>

/* The number at the end of a path of @depth field numbers; nothing at all is 0, as in proto3. */
static guint64
number_at (PbReader reader, const guint32 *path, gsize depth)
{
  guint64 value = 0;
  PbField field;

  while (pb_next (&reader, &field) > 0)
    if (field.number != path[0])
      continue;
    else if (depth == 1 && field.wire == 0)
      value = field.value;
    else if (depth > 1 && field.wire == 2)
      value = number_at (pb_reader (field.data, field.length), path + 1, depth - 1);
  return value;
}

#define NUMBER(reader, ...)                                                                                  \
  number_at (reader, (const guint32[]){ __VA_ARGS__ }, sizeof ((guint32[]){ __VA_ARGS__ }) / sizeof (guint32))

static gboolean
operation_is (PbReader entry, const char *name)
{
  gboolean is = FALSE;
  PbField field;

  while (pb_next (&entry, &field) > 0)
    if (field.number == 1 && field.wire == 2)
      is = field.length == strlen (name)
           && g_ascii_strncasecmp ((const char *)field.data, name, field.length) == 0;
  return is;
}

/* The sum of the field @value over the entries in field @list of the message in field @parent; of those of
 * one operation in version 1. */
static guint64
sum_entries (PbReader reader, guint32 parent, guint32 list, const char *operation, guint32 value)
{
  guint64 sum = 0;
  PbField field, entry;

  while (pb_next (&reader, &field) > 0)
    {
      PbReader entries = pb_reader (field.data, field.length);

      if (field.number != parent || field.wire != 2)
        continue;
      while (pb_next (&entries, &entry) > 0)
        {
          PbReader one = pb_reader (entry.data, entry.length);

          if (entry.number == list && entry.wire == 2 && (operation == NULL || operation_is (one, operation)))
            sum += NUMBER (one, value);
        }
    }
  return sum;
}

static void
insert (GVariantDict *dict, const char *key, guint64 value)
{
  g_variant_dict_insert (dict, key, "t", value);
}

static void
read_v1 (GVariantDict *dict, PbReader metrics)
{
  insert (dict, "cpu-usage-ns", NUMBER (metrics, 3, 1, 1));
  insert (dict, "cpu-system-ns", NUMBER (metrics, 3, 1, 2));
  insert (dict, "cpu-user-ns", NUMBER (metrics, 3, 1, 3));
  insert (dict, "memory-usage", NUMBER (metrics, 4, 33, 2));
  insert (dict, "memory-limit", NUMBER (metrics, 4, 33, 1));
  insert (dict, "memory-peak", NUMBER (metrics, 4, 33, 3));
  insert (dict, "pids", NUMBER (metrics, 2, 1));
  insert (dict, "pids-limit", NUMBER (metrics, 2, 2));
  insert (dict, "io-read-bytes", sum_entries (metrics, 5, 1, "Read", 5));
  insert (dict, "io-write-bytes", sum_entries (metrics, 5, 1, "Write", 5));
}

static void
read_v2 (GVariantDict *dict, PbReader metrics)
{
  insert (dict, "cpu-usage-ns", NUMBER (metrics, 2, 1) * 1000);
  insert (dict, "cpu-user-ns", NUMBER (metrics, 2, 2) * 1000);
  insert (dict, "cpu-system-ns", NUMBER (metrics, 2, 3) * 1000);
  insert (dict, "memory-usage", NUMBER (metrics, 4, 32));
  insert (dict, "memory-limit", NUMBER (metrics, 4, 33));
  insert (dict, "memory-peak", NUMBER (metrics, 4, 36));
  insert (dict, "pids", NUMBER (metrics, 1, 1));
  insert (dict, "pids-limit", NUMBER (metrics, 1, 2));
  insert (dict, "io-read-bytes", sum_entries (metrics, 6, 1, NULL, 3));
  insert (dict, "io-write-bytes", sum_entries (metrics, 6, 1, NULL, 4));
}

GVariant *
metrics_read (GBytes *response, GError **error)
{
  PbReader reader = pb_reader (g_bytes_get_data (response, NULL), g_bytes_get_size (response));
  PbReader any = pb_reader ("", 0), metrics = any;
  g_autofree char *type = NULL;
  g_autoptr (GBytes) bytes = NULL;
  GVariantDict dict;
  PbField field;

  while (pb_next (&reader, &field) > 0)
    if (field.number == 1 && field.wire == 2)
      any = pb_reader (field.data, field.length);
  while (pb_next (&any, &field) > 0)
    if (field.number == 1 && field.wire == 2 && type == NULL)
      type = g_strndup ((const char *)field.data, field.length);
    else if (field.number == 2 && field.wire == 2)
      metrics = pb_reader (field.data, field.length);
  if (type == NULL)
    {
      gantry_throw (error, GANTRY_ERROR_INTERNAL, "the shim answered without any metrics");
      return NULL;
    }
  g_variant_dict_init (&dict, NULL);
  if (g_str_has_suffix (type, "io.containerd.cgroups.v1.Metrics"))
    read_v1 (&dict, metrics);
  else if (g_str_has_suffix (type, "io.containerd.cgroups.v2.Metrics"))
    read_v2 (&dict, metrics);
  bytes = g_bytes_new (metrics.at, (gsize)(metrics.end - metrics.at));
  g_variant_dict_insert_value (&dict, "any", gantry_any_new (type, bytes));
  return g_variant_ref_sink (g_variant_dict_end (&dict));
}
