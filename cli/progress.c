/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Progress: a bar on a terminal, lines of JSON with --format json, nothing in a pipe. */
#include "cli.h"

#include <glib-unix.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BAR_WIDTH 24
#define LINE_WIDTH 79

typedef struct {
  GMainLoop *loop;
  GantryJob *job;
  GVariant *result;
  GError *error;
  gboolean drawn;
} Follow;

static guint
terminal_width (void)
{
  struct winsize size;

  return ioctl (STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col - 1u : LINE_WIDTH;
}

static void
draw (Follow *follow)
{
  g_autofree char *phase = gantry_job_get_phase (follow->job);
  guint64 bytes = gantry_job_get_bytes (follow->job), total = gantry_job_get_total_bytes (follow->job);
  guint steps = gantry_job_get_steps (follow->job), total_steps = gantry_job_get_total_steps (follow->job);
  double part = total_steps > 0 ? (double) steps / total_steps : total > 0 ? (double) MIN (bytes, total) / (double) total : -1;
  g_autofree char *done = g_format_size (bytes);
  g_autofree char *all = total > 0 ? g_format_size (total) : NULL;
  g_autoptr (GString) line = g_string_new (NULL);
  char bar[BAR_WIDTH + 1];

  for (int i = 0; i < BAR_WIDTH; i++)
    bar[i] = part >= 0 && i < (int) (part * BAR_WIDTH) ? '#' : '.';
  bar[BAR_WIDTH] = '\0';
  g_string_append_printf (line, "%-12s [%s] ", phase != NULL ? phase : "waiting", bar);
  if (total_steps > 0)
    g_string_append_printf (line, "layer %u of %u", MIN (steps + 1, total_steps), total_steps);
  else
    g_string_append_printf (line, "%s%s%s", done, all != NULL ? " of " : "", all != NULL ? all : "");
  g_string_truncate (line, MIN (line->len, terminal_width ()));
  g_printerr ("\r\033[K%s", line->str);
  follow->drawn = TRUE;
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

int
cli_follow_job (GantryJob *job, GVariant **ret_result)
{
  g_autoptr (GantryJob) held = job;
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  Follow follow = { .loop = loop, .job = job };
  guint interrupt = g_unix_signal_add (SIGINT, on_interrupt, &follow);
  guint terminate = g_unix_signal_add (SIGTERM, on_interrupt, &follow);

  g_signal_connect (job, "changed", G_CALLBACK (on_changed), &follow);
  gantry_job_wait_async (job, NULL, on_ended, &follow);
  g_main_loop_run (loop);
  g_signal_handlers_disconnect_by_data (job, &follow);
  g_source_remove (interrupt);
  g_source_remove (terminate);
  if (follow.drawn)
    g_printerr ("\r\033[K");
  if (follow.result == NULL)
    return cli_fail_error (follow.error);
  if (ret_result != NULL)
    *ret_result = follow.result;
  else
    g_variant_unref (follow.result);
  return 0;
}
