/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * exec and attach. */
#include "cli.h"

int
cli_exec (int argc, char **argv)
{
  g_auto (RunOptions) run = { 0 };
  const GOptionEntry entries[] = {
    { "interactive", 'i', 0, G_OPTION_ARG_NONE, &run.interactive, "Connect standard input", NULL },
    { "tty", 't', 0, G_OPTION_ARG_NONE, &run.tty, "Give it a terminal", NULL },
    { "detach", 'd', 0, G_OPTION_ARG_NONE, &run.detach, "Print its id and return", NULL },
    { "env", 'e', 0, G_OPTION_ARG_STRING_ARRAY, &run.env, "Set a variable", "K=V" },
    { "user", 'u', 0, G_OPTION_ARG_STRING, &run.user, "Run as", "USER[:GROUP]" },
    { "cwd", 'w', 0, G_OPTION_ARG_STRING, &run.cwd, "Working directory", "DIR" },
    { "privileged", 0, 0, G_OPTION_ARG_NONE, &run.privileged, "With every capability", NULL },
    { NULL },
  };
  Session session = { .socket = -1 };
  g_autofree char *exec_id = g_strdup_printf ("exec-%08x", g_random_int ());
  g_autoptr (GantryContainer) container = NULL;
  g_autoptr (GantryStdio) stdio = NULL;
  GVariant *options;
  GError *error = NULL;
  int status;

  if (!cli_parse (&argc, &argv, "exec", "CONTAINER COMMAND …",
                  "Runs one more process in a running container; its exit status becomes ours.\n\n"
                  "  gantry exec -it web sh",
                  entries, TRUE))
    return CLI_USAGE;
  if (argc < 3)
    return cli_usage ("exec", "exec needs a container and a command");
  container = cli_container (argv[1]);
  options = container != NULL ? run_options_to_variant (&run, argv + 2) : NULL;
  if (options == NULL)
    return CLI_NOT_RUN;
  /* A log is its container's. */
  stdio = run.detach ? gantry_stdio_new_kept (run.tty)
                     : session_stdio (&session, FALSE, run.interactive, run.tty);
  session.process = gantry_container_exec (container, exec_id, options, stdio, NULL, &error);
  /* Or we would hold the process's end of its streams. */
  g_clear_object (&stdio);
  if (session.process == NULL)
    return session_start_failure (error);
  session_set_size (&session);
  if (gantry_process_start (session.process, NULL, &error) < 0)
    {
      status = session_start_failure (error);
      gantry_process_delete (session.process, NULL, NULL);
      return status;
    }
  if (run.detach)
    {
      g_print ("%s\n", exec_id);
      return 0;
    }
  status = session_follow (&session);
  gantry_process_delete (session.process, NULL, NULL);
  return status;
}

int
cli_attach (int argc, char **argv)
{
  gboolean tty = FALSE;
  const GOptionEntry entries[]
      = { { "tty", 't', 0, G_OPTION_ARG_NONE, &tty, "It has a terminal", NULL }, { NULL } };
  Session session = { .socket = -1 };
  g_autoptr (GantryContainer) container = NULL;
  g_autoptr (GantryStdio) stdio = NULL;
  GError *error = NULL;

  if (!cli_parse (&argc, &argv, "attach", "CONTAINER",
                  "Connects to the streams of a detached container. What it wrote before is in its log "
                  "(gantry logs).",
                  entries, FALSE))
    return CLI_USAGE;
  if (argc != 2)
    return cli_usage ("attach", "attach needs a container");
  container = cli_container (argv[1]);
  if (container == NULL)
    return CLI_NOT_RUN;
  session.process = gantry_container_get_init (container);
  stdio = session_stdio (&session, FALSE, TRUE, tty);
  if (!gantry_process_attach (session.process, stdio, NULL, &error))
    {
      cli_fail_error (error);
      return CLI_NOT_RUN;
    }
  g_clear_object (&stdio);
  return session_follow (&session);
}
