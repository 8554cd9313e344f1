/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gantry events. */
#include "cli.h"

static void
on_event (GantryClient *client, guint64 seq, guint64 lost, gint64 time, const char *ns, const char *topic,
          GVariant *payload, gpointer data)
{
  g_autoptr (GDateTime) at = g_date_time_new_from_unix_local (time / 1000000000);
  g_autofree char *clock = g_date_time_format (at, "%H:%M:%S");
  g_autoptr (JsonNode) node = json_gvariant_serialize (payload);
  g_autofree char *text = json_to_string (node, FALSE);

  if (cli.json)
    {
      g_autoptr (JsonObject) object = json_object_new ();
      g_autoptr (JsonNode) whole = json_node_new (JSON_NODE_OBJECT);
      g_autofree char *line = NULL;

      json_object_set_int_member (object, "seq", (gint64)seq);
      json_object_set_int_member (object, "lost", (gint64)lost);
      json_object_set_int_member (object, "time", time);
      json_object_set_string_member (object, "namespace", ns);
      json_object_set_string_member (object, "topic", topic);
      json_object_set_member (object, "payload", g_steal_pointer (&node));
      json_node_set_object (whole, object);
      line = json_to_string (whole, FALSE);
      g_print ("%s\n", line);
      return;
    }
  if (lost > 0)
    g_printerr ("gantry: %" G_GUINT64_FORMAT " events were lost here\n", lost);
  g_print ("%s %s %s %s\n", clock, ns[0] != '\0' ? ns : "-", topic, text);
}

static void
on_closed (GDBusConnection *connection, gboolean remote, GError *error, gpointer data)
{
  cli_fail ("the daemon has gone");
  g_main_loop_quit (data);
}

int
cli_events (int argc, char **argv)
{
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  g_autoptr (GVariant) server = NULL;
  GantryClient *client;
  GError *error = NULL;

  if (!cli_parse (&argc, &argv, "events", "",
                  "Prints what changes, as it does: time, namespace, topic, payload.", NULL, FALSE))
    return CLI_USAGE;
  client = cli_client ();
  if (client == NULL)
    return 1;
  g_signal_connect (client, "event", G_CALLBACK (on_event), NULL);
  g_signal_connect (gantry_object_get_connection (GANTRY_OBJECT (client)), "closed", G_CALLBACK (on_closed),
                    loop);
  /* The daemon sends signals to those who have called. */
  server = gantry_client_get_server (client, NULL, &error);
  if (server == NULL)
    return cli_fail_error (error);
  g_main_loop_run (loop);
  return 1;
}
