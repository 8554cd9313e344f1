/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The verbs that ask and tell: ps, wait, kill, stop, rm, inspect, image, ns, events, plugin, check, system. */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *
get_string (GVariant *dict, const char *key)
{
  const char *value = "";

  g_variant_lookup (dict, key, "&s", &value);
  return value;
}

/* Prints rows of tab-separated cells as columns. */
static void
print_table (GPtrArray *rows)
{
  gsize widths[16] = { 0 };

  for (int pass = 0; pass < 2; pass++)
    for (guint i = 0; i < rows->len; i++)
      {
        g_auto (GStrv) cells = g_strsplit (g_ptr_array_index (rows, i), "\t", 16);

        for (gsize j = 0; cells[j] != NULL; j++)
          {
            if (pass == 0)
              widths[j] = MAX (widths[j], (gsize) g_utf8_strlen (cells[j], -1));
            else if (cells[j + 1] != NULL)
              g_print ("%-*s  ", (int) widths[j], cells[j]);
            else
              g_print ("%s\n", cells[j]);
          }
      }
}

static GVariant *
call_namespace (const char *method, GVariant *parameters, GUnixFDList *fds)
{
  g_autofree char *path = cli_namespace_path ();

  return path != NULL ? cli_call (path, "Namespace", method, parameters, fds) : NULL;
}

static int
done (GVariant *reply)
{
  if (reply == NULL)
    return 1;
  g_variant_unref (reply);
  return 0;
}

int
cli_ps (int argc, char **argv)
{
  gboolean quiet = FALSE;
  const GOptionEntry entries[] = { { "quiet", 'q', 0, G_OPTION_ARG_NONE, &quiet, "Ids only", NULL }, { NULL } };
  g_autoptr (GPtrArray) rows = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GVariant) reply = NULL, list = NULL;

  if (!cli_parse (&argc, &argv, "ps", "", "Lists containers.", entries, FALSE))
    return 2;
  reply = call_namespace ("ListContainers", NULL, NULL);
  if (reply == NULL)
    return 1;
  list = g_variant_get_child_value (reply, 0);
  if (cli.json)
    {
      cli_print_json (list);
      return 0;
    }
  if (!quiet)
    g_ptr_array_add (rows, g_strdup ("CONTAINER\tIMAGE\tSTATUS\tPID"));
  for (gsize i = 0; i < g_variant_n_children (list); i++)
    {
      g_autoptr (GVariant) one = g_variant_get_child_value (list, i);
      const char *status = get_string (one, "status");
      guint32 pid = 0, exit_status = 0;
      g_autofree char *text = NULL, *pid_text = NULL;

      g_variant_lookup (one, "pid", "u", &pid);
      g_variant_lookup (one, "exit-status", "u", &exit_status);
      text = strcmp (status, "stopped") == 0 ? g_strdup_printf ("stopped (%u)", exit_status)
                                              : g_strdup (status[0] != '\0' ? status : "created");
      pid_text = pid != 0 && strcmp (status, "stopped") != 0 ? g_strdup_printf ("%u", pid) : g_strdup ("-");
      g_ptr_array_add (rows, quiet ? g_strdup (get_string (one, "id"))
                                   : g_strdup_printf ("%s\t%s\t%s\t%s", get_string (one, "id"), get_string (one, "image"), text,
                                                      pid_text));
    }
  print_table (rows);
  return 0;
}

int
cli_wait (int argc, char **argv)
{
  g_autofree char *path = NULL;
  g_autoptr (GVariant) reply = NULL;
  guint32 status;

  if (!cli_parse (&argc, &argv, "wait", "CONTAINER", "Waits until a container has ended and prints its status.", NULL, FALSE))
    return 2;
  path = argc == 2 ? cli_container_path (argv[1]) : NULL;
  reply = path != NULL ? cli_call (path, "Container", "Wait", g_variant_new ("(s)", ""), NULL) : NULL;
  if (reply == NULL)
    return argc == 2 ? 1 : cli_fail ("wait needs a container");
  g_variant_get (reply, "(ux)", &status, NULL);
  g_print ("%u\n", status);
  return 0;
}

static int
parse_signal (const char *text)
{
  static const struct { const char *name; int number; } names[] = {
    { "HUP", SIGHUP },   { "INT", SIGINT },   { "QUIT", SIGQUIT }, { "KILL", SIGKILL }, { "USR1", SIGUSR1 }, { "USR2", SIGUSR2 },
    { "TERM", SIGTERM }, { "CONT", SIGCONT }, { "STOP", SIGSTOP }, { "WINCH", SIGWINCH },
  };

  if (g_ascii_isdigit (text[0]))
    return atoi (text);
  if (g_ascii_strncasecmp (text, "SIG", 3) == 0)
    text += 3;
  for (gsize i = 0; i < G_N_ELEMENTS (names); i++)
    if (g_ascii_strcasecmp (names[i].name, text) == 0)
      return names[i].number;
  return -1;
}

int
cli_kill (int argc, char **argv)
{
  const char *signal_name = "TERM";
  gboolean all = FALSE;
  const GOptionEntry entries[] = { { "signal", 's', 0, G_OPTION_ARG_STRING, &signal_name, "Which one [TERM]", "SIGNAL" },
                                   { "all", 'a', 0, G_OPTION_ARG_NONE, &all, "To every process of it", NULL },
                                   { NULL } };
  g_autofree char *path = NULL;
  int number;

  if (!cli_parse (&argc, &argv, "kill", "CONTAINER", "Sends a signal to a container.", entries, FALSE))
    return 2;
  number = parse_signal (signal_name);
  if (argc != 2 || number < 0)
    return cli_fail ("kill needs a container and a signal that exists") + 1;
  path = cli_container_path (argv[1]);
  return path == NULL
             ? 1
             : done (cli_call (path, "Container", "Kill", g_variant_new ("(sub)", "", (guint32) number, all), NULL));
}

static gboolean
on_grace_over (gpointer data)
{
  g_autoptr (GVariant) reply = cli_try (data, "Container", "Kill", g_variant_new ("(sub)", "", (guint32) SIGKILL, TRUE), NULL, NULL);

  return G_SOURCE_REMOVE;
}

static void
on_stopped (GObject *object, GAsyncResult *result, gpointer data)
{
  g_autoptr (GVariant) reply = g_dbus_connection_call_finish (G_DBUS_CONNECTION (object), result, NULL);

  g_main_loop_quit (data);
}

int
cli_stop (int argc, char **argv)
{
  int seconds = 10;
  const GOptionEntry entries[] = { { "time", 't', 0, G_OPTION_ARG_INT, &seconds, "Seconds before SIGKILL [10]", "N" }, { NULL } };
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  g_autofree char *path = NULL;

  if (!cli_parse (&argc, &argv, "stop", "CONTAINER", "Ends a container: SIGTERM, then SIGKILL.", entries, FALSE))
    return 2;
  path = argc == 2 ? cli_container_path (argv[1]) : NULL;
  if (path == NULL)
    return argc == 2 ? 1 : cli_fail ("stop needs a container") + 1;
  if (done (cli_call (path, "Container", "Kill", g_variant_new ("(sub)", "", (guint32) SIGTERM, FALSE), NULL)) != 0)
    return 1;
  g_dbus_connection_call (cli_connect (NULL), NULL, path, "org.gantry1.Container", "Wait", g_variant_new ("(s)", ""), NULL,
                          G_DBUS_CALL_FLAGS_NONE, G_MAXINT, NULL, on_stopped, loop);
  g_timeout_add_seconds ((guint) MAX (seconds, 0), on_grace_over, path);
  g_main_loop_run (loop);
  return 0;
}

int
cli_rm (int argc, char **argv)
{
  gboolean force = FALSE;
  const GOptionEntry entries[] = { { "force", 'f', 0, G_OPTION_ARG_NONE, &force, "Kill it first", NULL }, { NULL } };
  int status = 0;

  if (!cli_parse (&argc, &argv, "rm", "CONTAINER …", "Removes containers.", entries, FALSE))
    return 2;
  if (argc < 2)
    return cli_fail ("rm needs a container") + 1;
  for (int i = 1; i < argc; i++)
    {
      g_autofree char *path = cli_container_path (argv[i]);

      status |= path == NULL ? 1 : done (cli_call (path, "Container", "Delete", g_variant_new ("(b)", force), NULL));
    }
  return status;
}

static int
print_child (GVariant *reply)
{
  g_autoptr (GVariant) child = NULL;

  if (reply == NULL)
    return 1;
  child = g_variant_get_child_value (reply, 0);
  cli_print_json (child);
  g_variant_unref (reply);
  return 0;
}

int
cli_inspect (int argc, char **argv)
{
  g_autofree char *path = NULL;

  if (!cli_parse (&argc, &argv, "inspect", "CONTAINER", "Shows all that is known of a container.", NULL, FALSE))
    return 2;
  path = argc == 2 ? cli_container_path (argv[1]) : NULL;
  return path == NULL ? 1 : print_child (cli_call (path, "Container", "Inspect", NULL, NULL));
}

static int
image_import (const char *file, const char *name, const char *snapshotter, gboolean no_unpack)
{
  g_autoptr (GUnixFDList) fds = g_unix_fd_list_new ();
  g_autoptr (GVariant) reply = NULL;
  g_auto (GStrv) names = NULL;
  GVariantDict options;
  int fd = strcmp (file, "-") == 0 ? dup (STDIN_FILENO) : open (file, O_RDONLY | O_CLOEXEC);

  if (fd < 0)
    return cli_fail ("%s: %s", file, g_strerror (errno));
  g_unix_fd_list_append (fds, fd, NULL);
  close (fd);
  g_variant_dict_init (&options, NULL);
  if (name != NULL)
    g_variant_dict_insert (&options, "name", "s", name);
  if (snapshotter != NULL)
    g_variant_dict_insert (&options, "snapshotter", "s", snapshotter);
  if (no_unpack)
    g_variant_dict_insert (&options, "unpack", "b", FALSE);
  reply = call_namespace ("ImportImages", g_variant_new ("(h@a{sv})", 0, g_variant_dict_end (&options)), fds);
  if (reply == NULL)
    return 1;
  g_variant_get (reply, "(^as)", &names);
  for (gsize i = 0; names[i] != NULL; i++)
    g_print ("%s\n", names[i]);
  return 0;
}

static int
image_ls (void)
{
  g_autoptr (GPtrArray) rows = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GVariant) reply = call_namespace ("ListImages", NULL, NULL);
  g_autoptr (GVariant) list = NULL;

  if (reply == NULL)
    return 1;
  list = g_variant_get_child_value (reply, 0);
  if (cli.json)
    {
      cli_print_json (list);
      return 0;
    }
  g_ptr_array_add (rows, g_strdup ("IMAGE\tDIGEST\tTYPE"));
  for (gsize i = 0; i < g_variant_n_children (list); i++)
    {
      g_autoptr (GVariant) one = g_variant_get_child_value (list, i);
      g_autoptr (GVariant) target = g_variant_lookup_value (one, "target", G_VARIANT_TYPE ("(ssta{ss})"));
      const char *type = "", *digest = "";

      if (target != NULL)
        g_variant_get (target, "(&s&sta{ss})", &type, &digest, NULL, NULL);
      g_ptr_array_add (rows, g_strdup_printf ("%s\t%.19s\t%s", get_string (one, "name"), digest, type));
    }
  print_table (rows);
  return 0;
}

int
cli_image (int argc, char **argv)
{
  char *name = NULL, *snapshotter = NULL;
  gboolean no_unpack = FALSE;
  const GOptionEntry entries[] = { { "name", 0, 0, G_OPTION_ARG_STRING, &name, "Name for an archive's only image", "NAME" },
                                   { "snapshotter", 0, 0, G_OPTION_ARG_STRING, &snapshotter, "Unpack for this one", "ID" },
                                   { "no-unpack", 0, 0, G_OPTION_ARG_NONE, &no_unpack, "Import only", NULL },
                                   { NULL } };
  const char *verb;

  if (!cli_parse (&argc, &argv, "image", "import FILE | ls | inspect IMAGE | unpack IMAGE | rm IMAGE", "Works on images.", entries,
                  FALSE))
    return 2;
  verb = argc > 1 ? argv[1] : "";
  if (strcmp (verb, "ls") == 0)
    return image_ls ();
  if (argc < 3)
    return cli_fail ("see gantry image --help") + 1;
  if (strcmp (verb, "import") == 0)
    return image_import (argv[2], name, snapshotter, no_unpack);
  if (strcmp (verb, "inspect") == 0)
    return print_child (call_namespace ("InspectImage", g_variant_new ("(s)", argv[2]), NULL));
  if (strcmp (verb, "rm") == 0)
    return done (call_namespace ("RemoveImage", g_variant_new ("(s)", argv[2]), NULL));
  if (strcmp (verb, "unpack") == 0)
    return done (call_namespace ("UnpackImage",
                                 g_variant_new ("(s@a{sv})", argv[2], g_variant_new_array (G_VARIANT_TYPE ("{sv}"), NULL, 0)), NULL));
  return cli_fail ("there is no \"image %s\"; see gantry image --help", verb) + 1;
}

static int
print_strings (GVariant *reply)
{
  g_auto (GStrv) lines = NULL;

  if (reply == NULL)
    return 1;
  g_variant_get (reply, "(^as)", &lines);
  g_variant_unref (reply);
  for (gsize i = 0; lines[i] != NULL; i++)
    g_print ("%s\n", lines[i]);
  return 0;
}

static GVariant *
call_manager (const char *method, GVariant *parameters)
{
  return cli_call ("/org/gantry1", "Manager", method, parameters, NULL);
}

int
cli_ns (int argc, char **argv)
{
  if (!cli_parse (&argc, &argv, "ns", "ls | create NAME | rm NAME", "Works on namespaces.", NULL, FALSE))
    return 2;
  if (argc == 2 && strcmp (argv[1], "ls") == 0)
    return print_strings (call_manager ("ListNamespaces", NULL));
  if (argc == 3 && strcmp (argv[1], "create") == 0)
    return done (call_manager ("CreateNamespace",
                               g_variant_new ("(s@a{ss})", argv[2], g_variant_new_array (G_VARIANT_TYPE ("{ss}"), NULL, 0))));
  if (argc == 3 && strcmp (argv[1], "rm") == 0)
    return done (call_manager ("DeleteNamespace", g_variant_new ("(s)", argv[2])));
  return cli_fail ("see gantry ns --help") + 1;
}

static void
on_event (GDBusConnection *connection, const char *sender, const char *path, const char *interface, const char *signal,
          GVariant *parameters, gpointer user_data)
{
  g_autoptr (GVariant) payload = NULL;
  g_autofree char *text = NULL;
  const char *ns, *topic;
  guint64 seq;

  g_variant_get (parameters, "(ttx&s&s@a{sv})", &seq, NULL, NULL, &ns, &topic, &payload);
  text = g_variant_print (payload, FALSE);
  g_print ("%" G_GUINT64_FORMAT " %s %s %s\n", seq, ns, topic, text);
}

int
cli_events (int argc, char **argv)
{
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  g_autoptr (GError) error = NULL;
  GDBusConnection *connection;

  if (!cli_parse (&argc, &argv, "events", "", "Prints what changes: number, namespace, topic, payload.", NULL, FALSE))
    return 2;
  connection = cli_connect (&error);
  if (connection == NULL)
    return cli_fail_error (error);
  g_dbus_connection_signal_subscribe (connection, NULL, "org.gantry1.Manager", "Event", "/org/gantry1", NULL,
                                      G_DBUS_SIGNAL_FLAGS_NONE, on_event, NULL, NULL);
  /* The daemon sends signals to those who have called. */
  if (done (call_manager ("GetServer", NULL)) != 0)
    return 1;
  g_main_loop_run (loop);
  return 0;
}

static int
plugin_list (const char *only)
{
  g_autoptr (GPtrArray) rows = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GVariant) reply = call_manager ("ListPlugins", NULL);
  g_autoptr (GVariant) list = NULL;

  if (reply == NULL)
    return 1;
  list = g_variant_get_child_value (reply, 0);
  if (cli.json && only == NULL)
    {
      cli_print_json (list);
      return 0;
    }
  g_ptr_array_add (rows, g_strdup ("PLUGIN\tTYPE\tVERSION\tSTATE\tINIT\tREASON"));
  for (gsize i = 0; i < g_variant_n_children (list); i++)
    {
      g_autoptr (GVariant) one = g_variant_get_child_value (list, i);
      guint64 us = 0;

      if (only != NULL && strcmp (only, get_string (one, "name")) != 0)
        continue;
      if (only != NULL)
        {
          cli_print_json (one);
          return 0;
        }
      g_variant_lookup (one, "init-time-us", "t", &us);
      g_ptr_array_add (rows, g_strdup_printf ("%s\t%s\t%s\t%s\t%.1f ms\t%s", get_string (one, "name"), get_string (one, "type"),
                                              get_string (one, "version"), get_string (one, "state"), (double) us / 1000,
                                              get_string (one, "reason")));
    }
  if (only != NULL)
    return cli_fail ("there is no plugin %s; see gantry plugin list", only);
  print_table (rows);
  return 0;
}

int
cli_plugin (int argc, char **argv)
{
  if (!cli_parse (&argc, &argv, "plugin", "list | inspect NAME | trace", "Shows what the daemon is made of.", NULL, FALSE))
    return 2;
  if (argc == 2 && strcmp (argv[1], "list") == 0)
    return plugin_list (NULL);
  if (argc == 3 && strcmp (argv[1], "inspect") == 0)
    return plugin_list (argv[2]);
  if (argc == 2 && strcmp (argv[1], "trace") == 0)
    return print_strings (call_manager ("GetTrace", NULL));
  return cli_fail ("see gantry plugin --help; gantryd --check FILE checks a manifest and its module") + 1;
}

int
cli_check (int argc, char **argv)
{
  gboolean repair = FALSE;
  const GOptionEntry entries[] = { { "repair", 0, 0, G_OPTION_ARG_NONE, &repair, "Remove what nothing names", NULL }, { NULL } };
  g_autoptr (GVariant) reply = NULL;
  g_auto (GStrv) problems = NULL;

  if (!cli_parse (&argc, &argv, "check", "", "Compares the database with the disk.", entries, FALSE))
    return 2;
  reply = call_manager ("Check", g_variant_new ("(b)", repair));
  if (reply == NULL)
    return 1;
  g_variant_get (reply, "(^as)", &problems);
  for (gsize i = 0; problems[i] != NULL; i++)
    g_print ("%s\n", problems[i]);
  return problems[0] != NULL && !repair ? 1 : 0;
}

int
cli_system (int argc, char **argv)
{
  if (!cli_parse (&argc, &argv, "system", "info", "Shows what the daemon is.", NULL, FALSE))
    return 2;
  if (argc == 2 && strcmp (argv[1], "info") == 0)
    return print_child (call_manager ("GetServer", NULL));
  return cli_fail ("see gantry system --help") + 1;
}
