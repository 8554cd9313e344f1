/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gantry stats: what containers use, a line each. */
#include "cli.h"

#include <string.h>

/* How long the use of processors is watched for a percentage. */
#define INTERVAL_US 500000

/* One container and two looks at it. */
typedef struct
{
  GantryContainer *container;
  char *id;
  GVariant *before;
  GVariant *after;
  gint64 before_us, after_us;
} Sample;

static void
sample_free (gpointer data)
{
  Sample *sample = data;

  g_object_unref (sample->container);
  g_free (sample->id);
  g_clear_pointer (&sample->before, g_variant_unref);
  g_clear_pointer (&sample->after, g_variant_unref);
  g_free (sample);
}

/* @container: (transfer full). */
static void
add_sample (GPtrArray *samples, GantryContainer *container, const char *id)
{
  Sample *sample = g_new0 (Sample, 1);

  sample->container = container;
  sample->id = g_strdup (id);
  g_ptr_array_add (samples, sample);
}

/* The running ones. Returns: an exit status. */
static int
add_all (GPtrArray *samples)
{
  g_autoptr (GPtrArray) containers = NULL;
  GError *error = NULL;

  if (cli_namespace () == NULL)
    return 1;
  containers = gantry_namespace_list_containers (cli_namespace (), NULL, NULL, &error);
  if (containers == NULL)
    return cli_fail_error (error);
  for (guint i = 0; i < containers->len; i++)
    {
      GVariant *info = gantry_container_get_info (g_ptr_array_index (containers, i));

      if (strcmp (cli_string (info, "status"), "running") == 0)
        add_sample (samples, g_object_ref (g_ptr_array_index (containers, i)), cli_string (info, "id"));
    }
  return 0;
}

static guint64
number (GVariant *stats, const char *key)
{
  guint64 value = 0;

  g_variant_lookup (stats, key, "t", &value);
  return value;
}

/* "12.3 MB / 64.0 MB", without the limit if there is none. Returns: (transfer full). */
static char *
use_and_limit (guint64 use, guint64 limit)
{
  g_autofree char *used = g_format_size (use), *all = g_format_size (limit);

  return limit == 0 || limit >= G_MAXINT64 / 2 ? g_steal_pointer (&used)
                                               : g_strdup_printf ("%s / %s", used, all);
}

static void
add_row (GPtrArray *rows, Sample *sample)
{
  guint64 cpu_ns = number (sample->after, "cpu-usage-ns") - number (sample->before, "cpu-usage-ns");
  double percent = (double)cpu_ns / 10.0 / (double)MAX (1, sample->after_us - sample->before_us);
  g_autofree char *memory
      = use_and_limit (number (sample->after, "memory-usage"), number (sample->after, "memory-limit"));
  g_autofree char *in = g_format_size (number (sample->after, "io-read-bytes"));
  g_autofree char *out = g_format_size (number (sample->after, "io-write-bytes"));

  cli_add_row (rows, "%s\t%.1f%%\t%s\t%" G_GUINT64_FORMAT "\t%s / %s", sample->id, percent, memory,
               number (sample->after, "pids"), in, out);
}

/* Looks at every container once. Returns: an exit status. */
static int
look (GPtrArray *samples, gboolean again)
{
  for (guint i = 0; i < samples->len; i++)
    {
      Sample *sample = g_ptr_array_index (samples, i);
      GError *error = NULL;
      GVariant *stats = gantry_container_get_stats (sample->container, NULL, &error);

      if (stats == NULL)
        return cli_fail_error (error);
      *(again ? &sample->after : &sample->before) = stats;
      *(again ? &sample->after_us : &sample->before_us) = g_get_monotonic_time ();
    }
  return 0;
}

static void
print_json (GPtrArray *samples)
{
  GVariantBuilder all;

  g_variant_builder_init (&all, G_VARIANT_TYPE ("aa{sv}"));
  for (guint i = 0; i < samples->len; i++)
    {
      Sample *sample = g_ptr_array_index (samples, i);
      GVariantDict dict;

      g_variant_dict_init (&dict, sample->before);
      g_variant_dict_remove (&dict, "any");
      g_variant_dict_insert (&dict, "id", "s", sample->id);
      g_variant_builder_add_value (&all, g_variant_dict_end (&dict));
    }
  cli_print_json (g_variant_builder_end (&all));
}

int
cli_stats (int argc, char **argv)
{
  g_autoptr (GPtrArray) samples = g_ptr_array_new_with_free_func (sample_free);
  g_autoptr (GPtrArray) rows = cli_new_table ();

  if (!cli_parse (&argc, &argv, "stats", "[CONTAINER …]",
                  "Shows what containers use: those named, or all that run.", NULL, FALSE))
    return CLI_USAGE;
  if (argc == 1 && add_all (samples) != 0)
    return 1;
  for (int i = 1; i < argc; i++)
    {
      GantryContainer *container = cli_container (argv[i]);

      if (container == NULL)
        return 1;
      add_sample (samples, container, argv[i]);
    }
  if (look (samples, FALSE) != 0)
    return 1;
  if (cli.json)
    {
      print_json (samples);
      return 0;
    }
  if (samples->len > 0)
    g_usleep (INTERVAL_US);
  if (look (samples, TRUE) != 0)
    return 1;
  cli_add_row (rows, "CONTAINER\tCPU\tMEMORY\tPROCESSES\tREAD / WRITTEN");
  for (guint i = 0; i < samples->len; i++)
    add_row (rows, g_ptr_array_index (samples, i));
  cli_print_table (rows);
  return 0;
}
