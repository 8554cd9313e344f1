/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Verbs that ask and tell of containers: ps, top, stats, wait, kill, stop, pause, resume, rm, inspect. */
#include "cli.h"

#include <signal.h>
#include <string.h>

static void
add_container (GPtrArray *rows, GVariant *info, gboolean quiet)
{
  const char *status = cli_string (info, "status");
  g_autofree char *text = NULL, *ago = NULL, *pid_text = NULL;
  guint32 pid = 0, exit_status = 0;
  gint64 created = 0;

  if (quiet)
    {
      cli_add_row (rows, "%s", cli_string (info, "id"));
      return;
    }
  g_variant_lookup (info, "pid", "u", &pid);
  g_variant_lookup (info, "exit-status", "u", &exit_status);
  g_variant_lookup (info, "created", "x", &created);
  text = strcmp (status, "stopped") == 0 ? g_strdup_printf ("stopped (%u)", exit_status)
                                         : g_strdup (status[0] != '\0' ? status : "created");
  pid_text = pid != 0 && strcmp (status, "stopped") != 0 ? g_strdup_printf ("%u", pid) : g_strdup ("-");
  ago = cli_ago (created);
  cli_add_row (rows, "%s\t%s\t%s\t%s\t%s", cli_string (info, "id"), cli_string (info, "image"), text,
               pid_text, ago);
}

static GVariant *
get_info (gpointer container)
{
  return gantry_container_get_info (container);
}

int
cli_ps (int argc, char **argv)
{
  gboolean quiet = FALSE, all = FALSE;
  int page_size = 0;
  g_auto (GStrv) filters = NULL;
  const GOptionEntry entries[]
      = { { "quiet", 'q', 0, G_OPTION_ARG_NONE, &quiet, "Ids only", NULL },
          { "all", 'a', 0, G_OPTION_ARG_NONE, &all, "All of them, as without it", NULL },
          { "page-size", 0, 0, G_OPTION_ARG_INT, &page_size,
            "How many to ask the daemon for at once, 1 to 20000 (5000)", "N" },
          { "filter", 'f', 0, G_OPTION_ARG_STRING_ARRAY, &filters,
            "Only those that match, as labels.app==web", "FILTER" },
          { NULL } };
  g_autoptr (GPtrArray) containers = NULL;
  GError *error = NULL;

  if (!cli_parse (&argc, &argv, "ps", "", "Lists containers, those that have ended too.", entries, FALSE))
    return CLI_USAGE;
  if (page_size < 0 || page_size > 20000)
    return cli_usage ("ps", "--page-size is 1 to 20000");
  if (cli_namespace () == NULL)
    return 1;
  if (page_size > 0)
    gantry_namespace_set_page_size (cli_namespace (), (guint)page_size);
  containers
      = gantry_namespace_list_containers (cli_namespace (), (const char *const *)filters, NULL, &error);
  if (containers == NULL)
    return cli_fail_error (error);
  cli_print_list (containers, get_info, "CONTAINER\tIMAGE\tSTATUS\tPID\tCREATED", add_container, quiet);
  return 0;
}

/* The container of a verb that takes just one. */
static GantryContainer *
only_container (int *argc, char ***argv, const char *verb, const char *help, const GOptionEntry *entries,
                int *ret_status)
{
  GantryContainer *container = NULL;

  *ret_status = CLI_USAGE;
  if (!cli_parse (argc, argv, verb, "CONTAINER", help, entries, FALSE))
    return NULL;
  if (*argc != 2)
    cli_usage (verb, "%s needs a container", verb);
  else if ((container = cli_container ((*argv)[1])) == NULL)
    *ret_status = 1;
  return container;
}

int
cli_top (int argc, char **argv)
{
  int status;
  g_autoptr (GantryContainer) container
      = only_container (&argc, &argv, "top", "Lists the processes of a container.", NULL, &status);
  g_autoptr (GPtrArray) rows = cli_new_table ();
  g_autoptr (GVariant) pids = NULL;
  GError *error = NULL;
  GVariantIter iter;
  const char *exec_id;
  guint32 pid;

  if (container == NULL)
    return status;
  pids = gantry_container_list_pids (container, NULL, &error);
  if (pids == NULL)
    return cli_fail_error (error);
  if (cli.json)
    {
      cli_print_json (pids);
      return 0;
    }
  cli_add_row (rows, "PID\tPROCESS\tCOMMAND");
  g_variant_iter_init (&iter, pids);
  while (g_variant_iter_next (&iter, "(u&s)", &pid, &exec_id))
    {
      g_autofree char *path = g_strdup_printf ("/proc/%u/cmdline", pid);
      g_autofree char *command = NULL;
      gsize length = 0;

      if (g_file_get_contents (path, &command, &length, NULL))
        for (gsize i = 0; i + 1 < length; i++)
          if (command[i] == '\0' || command[i] == '\n' || command[i] == '\t')
            command[i] = ' ';
      cli_add_row (rows, "%u\t%s\t%s", pid, exec_id[0] != '\0' ? exec_id : "-",
                   command != NULL ? command : "");
    }
  cli_print_table (rows);
  return 0;
}

int
cli_wait (int argc, char **argv)
{
  int status;
  g_autoptr (GantryContainer) container
      = only_container (&argc, &argv, "wait", "Waits until a container has ended and prints its exit status.",
                        NULL, &status);
  g_autoptr (GantryProcess) init = NULL;
  GError *error = NULL;
  gint64 exit_status;

  if (container == NULL)
    return status;
  init = gantry_container_get_init (container);
  exit_status = gantry_process_wait (init, NULL, &error);
  if (exit_status < 0)
    return cli_fail_error (error);
  g_print ("%d\n", (int)exit_status);
  return 0;
}

int
cli_kill (int argc, char **argv)
{
  g_autofree char *name = NULL;
  gboolean all = FALSE;
  const GOptionEntry entries[]
      = { { "signal", 's', 0, G_OPTION_ARG_STRING, &name, "Which one [TERM]", "SIGNAL" },
          { "all", 'a', 0, G_OPTION_ARG_NONE, &all, "To every process of it", NULL },
          { NULL } };
  int status, number;
  g_autoptr (GantryContainer) container
      = only_container (&argc, &argv, "kill", "Sends a signal to a container.", entries, &status);
  g_autoptr (GantryProcess) init = NULL;
  GError *error = NULL;

  if (container == NULL)
    return status;
  number = cli_parse_signal (name != NULL ? name : "TERM");
  if (number < 0)
    return cli_usage ("kill", "there is no signal \"%s\"", name);
  init = gantry_container_get_init (container);
  return cli_done (gantry_process_kill (init, (guint)number, all, NULL, &error), &error);
}

typedef struct
{
  GMainLoop *loop;
  GantryProcess *init;
  GError *error;
} Stop;

static gboolean
on_grace_over (gpointer data)
{
  gantry_process_kill_async (((Stop *)data)->init, SIGKILL, TRUE, NULL, NULL, NULL);
  return G_SOURCE_REMOVE;
}

static void
on_stopped (GObject *object, GAsyncResult *result, gpointer data)
{
  Stop *stop = data;

  gantry_process_wait_finish (GANTRY_PROCESS (object), result, &stop->error);
  g_main_loop_quit (stop->loop);
}

/* What the container's image says, or SIGTERM. */
static int
stop_signal (GantryContainer *container)
{
  g_autoptr (GVariant) details = gantry_container_inspect (container, NULL, NULL);
  g_autoptr (GVariant) labels
      = details != NULL ? g_variant_lookup_value (details, "labels", G_VARIANT_TYPE ("a{ss}")) : NULL;
  const char *name = NULL;
  int number;

  if (labels == NULL || !g_variant_lookup (labels, "io.containerd.image.config.stop-signal", "&s", &name))
    return SIGTERM;
  number = cli_parse_signal (name);
  return number > 0 ? number : SIGTERM;
}

int
cli_stop (int argc, char **argv)
{
  int seconds = 10;
  const GOptionEntry entries[]
      = { { "time", 't', 0, G_OPTION_ARG_INT, &seconds, "Seconds before SIGKILL [10]", "N" }, { NULL } };
  int status;
  g_autoptr (GantryContainer) container
      = only_container (&argc, &argv, "stop",
                        "Ends a container: its image's stop signal (or SIGTERM), then SIGKILL.", entries,
                        &status);
  g_autoptr (GMainLoop) loop = NULL;
  g_autoptr (GantryProcess) init = NULL;
  GError *error = NULL;
  Stop stop;

  if (container == NULL)
    return status;
  init = gantry_container_get_init (container);
  if (!gantry_process_kill (init, (guint)stop_signal (container), FALSE, NULL, &error))
    return cli_fail_error (error);
  loop = g_main_loop_new (NULL, FALSE);
  stop = (Stop){ loop, init, NULL };
  gantry_process_wait_async (init, NULL, on_stopped, &stop);
  g_timeout_add_seconds ((guint)MAX (seconds, 0), on_grace_over, &stop);
  g_main_loop_run (loop);
  return cli_done (stop.error == NULL, &stop.error);
}

int
cli_pause (int argc, char **argv)
{
  int status;
  g_autoptr (GantryContainer) container
      = only_container (&argc, &argv, "pause", "Freezes a container.", NULL, &status);
  GError *error = NULL;

  return container != NULL ? cli_done (gantry_container_pause (container, NULL, &error), &error) : status;
}

int
cli_resume (int argc, char **argv)
{
  int status;
  g_autoptr (GantryContainer) container
      = only_container (&argc, &argv, "resume", "Thaws a container.", NULL, &status);
  GError *error = NULL;

  return container != NULL ? cli_done (gantry_container_resume (container, NULL, &error), &error) : status;
}

int
cli_rm (int argc, char **argv)
{
  gboolean force = FALSE;
  const GOptionEntry entries[]
      = { { "force", 'f', 0, G_OPTION_ARG_NONE, &force, "Kill it first", NULL }, { NULL } };
  int status = 0;

  if (!cli_parse (&argc, &argv, "rm", "CONTAINER …", "Removes containers and their snapshots.", entries,
                  FALSE))
    return CLI_USAGE;
  if (argc < 2)
    return cli_usage ("rm", "rm needs a container");
  for (int i = 1; i < argc; i++)
    {
      g_autoptr (GantryContainer) container = cli_container (argv[i]);
      GError *error = NULL;

      status |= container == NULL
                    ? 1
                    : cli_done (gantry_container_delete (container, force, NULL, &error), &error);
    }
  return status;
}

int
cli_inspect (int argc, char **argv)
{
  int status;
  g_autoptr (GantryContainer) container
      = only_container (&argc, &argv, "inspect", "Shows all that is known of a container, as JSON.", NULL,
                        &status);
  g_autoptr (GVariant) details = NULL;
  g_autoptr (JsonNode) node = NULL, spec = NULL;
  GError *error = NULL;

  if (container == NULL)
    return status;
  details = gantry_container_inspect (container, NULL, &error);
  if (details == NULL)
    return cli_fail_error (error);
  node = json_gvariant_serialize (details);
  /* The spec is JSON itself, and easier to read as such. */
  spec = json_from_string (cli_string (details, "spec"), NULL);
  if (spec != NULL && JSON_NODE_HOLDS_OBJECT (spec))
    json_object_set_member (json_node_get_object (node), "spec", g_steal_pointer (&spec));
  cli_print_node (node);
  return 0;
}
