/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Progress: bars on a terminal, lines of JSON with --format json, and in a pipe nothing or, of a pull or a
 * push, a line for each blob that has come. Always on standard error: what a program wants to read is on
 * standard output. */
#include "cli.h"

#include <glib-unix.h>
#include <string.h>
#include <unistd.h>

#define BAR_WIDTH 24

typedef struct
{
  GMainLoop *loop;
  GantryJob *job;
  GVariant *result;
  GError *error;
  CliScreen screen;
  gboolean lines;   /* tell of items in a pipe */
  GHashTable *told; /* names of items whose end was told, in a pipe */
} Follow;

/* "sha256:0123456789ab" is enough of a digest. */
static char *
short_name (const char *name)
{
  const char *colon = strchr (name, ':');

  return colon != NULL && strlen (colon) > 12 ? g_strdup_printf ("%.12s", colon + 1)
                                              : g_strdup_printf ("%.20s", name);
}

static gboolean
is_active (const char *state)
{
  static const char *const quiet[] = { "waiting", "done", "exists", "mounted", "failed", NULL };

  return !g_strv_contains (quiet, state);
}

static void
read_item (GVariant *item, const char **ret_state, guint64 *ret_bytes, guint64 *ret_total)
{
  *ret_state = "";
  *ret_bytes = *ret_total = 0;
  g_variant_lookup (item, "state", "&s", ret_state);
  g_variant_lookup (item, "bytes", "t", ret_bytes);
  g_variant_lookup (item, "total-bytes", "t", ret_total);
}

/* A line for each item that is worked on, as many as there is room for. */
static void
add_items (GPtrArray *lines, GVariant *items, guint room)
{
  GVariantIter iter;
  const char *name, *state;
  GVariant *item;
  guint64 bytes, total;

  g_variant_iter_init (&iter, items);
  while (g_variant_iter_loop (&iter, "{&s@a{sv}}", &name, &item))
    {
      g_autofree char *shown = short_name (name), *bar = NULL, *done = NULL, *all = NULL;

      read_item (item, &state, &bytes, &total);
      if (!is_active (state) || lines->len >= room)
        continue;
      bar = cli_bar (total > 0 ? (double)bytes / (double)total : 0, BAR_WIDTH);
      done = g_format_size (bytes);
      all = g_format_size (total);
      g_ptr_array_add (lines, g_strdup_printf ("%-12s %-11s %s %9s / %s", shown, state, bar, done, all));
    }
}

static void
add_whole (GPtrArray *lines, GantryJob *job)
{
  g_autofree char *phase = gantry_job_get_phase (job), *bar = NULL;
  guint64 bytes = gantry_job_get_bytes (job), total = gantry_job_get_total_bytes (job);
  guint steps = gantry_job_get_steps (job), total_steps = gantry_job_get_total_steps (job);
  double part = total > 0         ? (double)MIN (bytes, total) / (double)total
                : total_steps > 0 ? (double)steps / total_steps
                                  : 0;
  g_autofree char *done = g_format_size (bytes), *all = g_format_size (total),
                  *rate = g_format_size (gantry_job_get_rate (job));
  g_autoptr (GString) line = g_string_new (NULL);

  /* Once everything has come, what is left is unpacking. */
  if (total_steps > 0 && bytes >= total)
    part = (double)steps / total_steps;
  bar = cli_bar (part, BAR_WIDTH);
  g_string_append_printf (line, "%-12s %s ", phase != NULL ? phase : "waiting", bar);
  if (total_steps > 0 && bytes >= total)
    g_string_append_printf (line, "layer %u of %u", MIN (steps + 1, total_steps), total_steps);
  else if (total > 0)
    g_string_append_printf (line, "%s of %s, %s/s", done, all, rate);
  else
    g_string_append (line, done);
  g_ptr_array_add (lines, g_string_free (g_steal_pointer (&line), FALSE));
}

static void
draw (Follow *follow)
{
  g_autoptr (GPtrArray) lines = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GVariant) items = gantry_job_get_items (follow->job);
  guint columns, rows;

  cli_screen_size (&columns, &rows);
  if (items != NULL)
    add_items (lines, items, rows - 2);
  add_whole (lines, follow->job);
  cli_screen_draw (&follow->screen, lines);
}

/* In a pipe: each item's end, once. */
static void
tell_ends (Follow *follow)
{
  g_autoptr (GVariant) items = gantry_job_get_items (follow->job);
  GVariantIter iter;
  const char *name, *state;
  GVariant *item;
  guint64 bytes, total;

  if (items == NULL)
    return;
  g_variant_iter_init (&iter, items);
  while (g_variant_iter_loop (&iter, "{&s@a{sv}}", &name, &item))
    {
      g_autofree char *size = NULL;

      read_item (item, &state, &bytes, &total);
      if (is_active (state) || strcmp (state, "waiting") == 0
          || !g_hash_table_add (follow->told, g_strdup (name)))
        continue;
      size = g_format_size (total);
      g_printerr ("%s %s %s\n", name, state, size);
    }
}

static void
on_changed (GantryJob *job, GVariant *changes, gpointer data)
{
  Follow *follow = data;

  if (cli.json)
    {
      g_autoptr (JsonNode) node = json_gvariant_serialize (changes);
      g_autofree char *text = json_to_string (node, FALSE);

      g_printerr ("%s\n", text);
    }
  else if (isatty (STDERR_FILENO))
    draw (follow);
  else if (follow->lines)
    tell_ends (follow);
}

static void
on_ended (GObject *object, GAsyncResult *result, gpointer data)
{
  Follow *follow = data;

  follow->result = gantry_job_wait_finish (GANTRY_JOB (object), result, &follow->error);
  g_main_loop_quit (follow->loop);
}

static gboolean
on_interrupt (gpointer data)
{
  Follow *follow = data;

  gantry_job_cancel_async (follow->job, NULL, NULL, NULL);
  return G_SOURCE_CONTINUE;
}

static int
follow (GantryJob *job, gboolean show, gboolean lines, GVariant **ret_result)
{
  g_autoptr (GantryJob) held G_GNUC_UNUSED = job;
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  g_autoptr (GHashTable) told = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  Follow self = { .loop = loop, .job = job, .lines = lines, .told = told };
  guint interrupt = g_unix_signal_add (SIGINT, on_interrupt, &self);
  guint terminate = g_unix_signal_add (SIGTERM, on_interrupt, &self);

  if (show)
    g_signal_connect (job, "changed", G_CALLBACK (on_changed), &self);
  gantry_job_wait_async (job, NULL, on_ended, &self);
  g_main_loop_run (loop);
  g_signal_handlers_disconnect_by_data (job, &self);
  g_source_remove (interrupt);
  g_source_remove (terminate);
  cli_screen_clear (&self.screen);
  if (self.result == NULL)
    return cli_fail_error (self.error);
  if (ret_result != NULL)
    *ret_result = self.result;
  else
    g_variant_unref (self.result);
  return 0;
}

int
cli_follow_job (GantryJob *job, GVariant **ret_result)
{
  return follow (job, TRUE, FALSE, ret_result);
}

int
cli_follow_items (GantryJob *job, gboolean quiet, GVariant **ret_result)
{
  return follow (job, !quiet, TRUE, ret_result);
}
