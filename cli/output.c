/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Tables for people, JSON for programs, errors on one line. */
#include "cli.h"

#include <string.h>

#define MAX_COLUMNS 16

int
cli_fail (const char *format, ...)
{
  g_autofree char *message = NULL;
  va_list args;

  va_start (args, format);
  message = g_strdup_vprintf (format, args);
  va_end (args);
  g_printerr ("gantry: %s\n", message);
  return 1;
}

int
cli_fail_error (GError *error)
{
  g_autoptr (GError) held = error;

  return cli_fail ("%s", held->message);
}

int
cli_done (gboolean ok, GError **error)
{
  return ok ? 0 : cli_fail_error (g_steal_pointer (error));
}

int
cli_usage (const char *verb, const char *format, ...)
{
  g_autofree char *message = NULL;
  va_list args;

  va_start (args, format);
  message = g_strdup_vprintf (format, args);
  va_end (args);
  cli_fail ("%s; see gantry %s --help", message, verb);
  return CLI_USAGE;
}

void
cli_print_node (JsonNode *node)
{
  g_autoptr (JsonGenerator) generator = json_generator_new ();
  g_autofree char *text = NULL;

  json_generator_set_pretty (generator, TRUE);
  json_generator_set_root (generator, node);
  text = json_generator_to_data (generator, NULL);
  g_print ("%s\n", text);
}

void
cli_print_json (GVariant *value)
{
  g_autoptr (GVariant) held = g_variant_ref_sink (value);
  g_autoptr (JsonNode) node = json_gvariant_serialize (held);

  cli_print_node (node);
}

GPtrArray *
cli_new_table (void)
{
  return g_ptr_array_new_with_free_func (g_free);
}

void
cli_add_row (GPtrArray *rows, const char *format, ...)
{
  va_list args;

  va_start (args, format);
  g_ptr_array_add (rows, g_strdup_vprintf (format, args));
  va_end (args);
}

void
cli_print_table (GPtrArray *rows)
{
  glong widths[MAX_COLUMNS] = { 0 };
  g_autoptr (GString) text = g_string_new (NULL);

  for (int pass = 0; pass < 2; pass++)
    for (guint i = 0; i < rows->len; i++)
      {
        g_auto (GStrv) cells = g_strsplit (g_ptr_array_index (rows, i), "\t", MAX_COLUMNS);

        for (gsize j = 0; cells[j] != NULL; j++)
          {
            glong width = g_utf8_strlen (cells[j], -1);

            if (pass == 0)
              widths[j] = MAX (widths[j], width);
            else if (cells[j + 1] != NULL)
              g_string_append_printf (text, "%s%*s  ", cells[j], (int)(widths[j] - width), "");
            else
              g_string_append_printf (text, "%s\n", cells[j]);
          }
      }
  /* At once: each call of it is a write. */
  g_print ("%s", text->str);
}

void
cli_print_list (GPtrArray *objects, GVariant *(*get_info) (gpointer object), const char *header,
                void (*add) (GPtrArray *rows, GVariant *info, gboolean quiet), gboolean quiet)
{
  g_autoptr (GPtrArray) rows = cli_new_table ();
  g_auto (GVariantBuilder) infos = G_VARIANT_BUILDER_INIT (G_VARIANT_TYPE ("aa{sv}"));

  if (!quiet)
    cli_add_row (rows, "%s", header);
  for (guint i = 0; i < objects->len; i++)
    {
      GVariant *info = get_info (g_ptr_array_index (objects, i));

      if (cli.json)
        g_variant_builder_add_value (&infos, info);
      else
        add (rows, info, quiet);
    }
  if (cli.json)
    cli_print_json (g_variant_builder_end (&infos));
  else
    cli_print_table (rows);
}

const char *
cli_string (GVariant *dict, const char *key)
{
  const char *value = "";

  g_variant_lookup (dict, key, "&s", &value);
  return value;
}

char *
cli_ago (gint64 ns)
{
  static const struct
  {
    gint64 seconds;
    const char *name;
  } units[] = {
    { 365 * 86400, "year" }, { 30 * 86400, "month" }, { 86400, "day" },
    { 3600, "hour" },        { 60, "minute" },        { 1, "second" },
  };
  gint64 seconds = (g_get_real_time () * 1000 - ns) / 1000000000;

  for (gsize i = 0; i < G_N_ELEMENTS (units); i++)
    if (seconds >= units[i].seconds)
      {
        gint64 n = seconds / units[i].seconds;

        return g_strdup_printf ("%" G_GINT64_FORMAT " %s%s ago", n, units[i].name, n == 1 ? "" : "s");
      }
  return g_strdup ("just now");
}

char *
cli_labels (GVariant *labels)
{
  g_autoptr (GString) text = g_string_new (NULL);
  const char *key, *value;
  GVariantIter iter;

  if (labels == NULL)
    return g_strdup ("");
  g_variant_iter_init (&iter, labels);
  while (g_variant_iter_next (&iter, "{&s&s}", &key, &value))
    g_string_append_printf (text, "%s%s=%s", text->len > 0 ? " " : "", key, value);
  return g_string_free (g_steal_pointer (&text), FALSE);
}
