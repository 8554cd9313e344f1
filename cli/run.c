/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * run, create and start. */
#include "cli.h"

#include <string.h>
#include <unistd.h>

#define RUN_ENTRIES(run)                                                                                       \
  { "detach", 'd', 0, G_OPTION_ARG_NONE, &(run).detach, "Print the id and return", NULL },                     \
      { "interactive", 'i', 0, G_OPTION_ARG_NONE, &(run).interactive, "Connect standard input", NULL },        \
      { "tty", 't', 0, G_OPTION_ARG_NONE, &(run).tty, "Give it a terminal", NULL },                            \
      { "rm", 0, 0, G_OPTION_ARG_NONE, &(run).rm, "Remove the container when it has ended", NULL },            \
      { "pull", 0, 0, G_OPTION_ARG_STRING, &(run).pull, "Fetch the image: missing, always or never [missing]", \
        "WHEN" },                                                                                              \
      { "name", 0, 0, G_OPTION_ARG_STRING, &(run).name, "The container's id", "ID" },                          \
      { "env", 'e', 0, G_OPTION_ARG_STRING_ARRAY, &(run).env, "Set a variable", "K=V" },                       \
      { "mount",                                                                                               \
        'v',                                                                                                   \
        0,                                                                                                     \
        G_OPTION_ARG_STRING_ARRAY,                                                                             \
        &(run).mounts,                                                                                         \
        "Mount something into it",                                                                             \
        "SOURCE:DESTINATION[:ro]" },                                                                           \
      { "user", 'u', 0, G_OPTION_ARG_STRING, &(run).user, "Run as", "USER[:GROUP]" },                          \
      { "cwd", 'w', 0, G_OPTION_ARG_STRING, &(run).cwd, "Working directory", "DIR" },                          \
      { "hostname", 0, 0, G_OPTION_ARG_STRING, &(run).hostname, "Host name", "NAME" },                         \
      { "entrypoint", 0, 0, G_OPTION_ARG_STRING, &(run).entrypoint, "Replace the image's entrypoint",          \
        "PROGRAM" },                                                                                           \
      { "read-only", 0, 0, G_OPTION_ARG_NONE, &(run).read_only, "Mount its root read-only", NULL },            \
      { "privileged", 0, 0, G_OPTION_ARG_NONE, &(run).privileged, "Lift the usual restrictions", NULL },       \
      { "memory", 'm', 0, G_OPTION_ARG_STRING, &(run).memory, "Memory limit", "BYTES[k|m|g]" },                \
      { "cpus", 0, 0, G_OPTION_ARG_DOUBLE, &(run).cpus, "Processors it may use", "N" },                        \
      { "pids-limit", 0, 0, G_OPTION_ARG_INT64, &(run).pids, "Processes it may have", "N" },                   \
      { "cap-add", 0, 0, G_OPTION_ARG_STRING_ARRAY, &(run).cap_add, "Give a capability", "CAP" },              \
      { "cap-drop", 0, 0, G_OPTION_ARG_STRING_ARRAY, &(run).cap_drop, "Take a capability", "CAP" },            \
      { "device", 0, 0, G_OPTION_ARG_STRING_ARRAY, &(run).devices, "Give a device", "PATH[:PATH[:rwm]]" },     \
      { "ulimit", 0, 0, G_OPTION_ARG_STRING_ARRAY, &(run).ulimits, "Set a limit", "NAME=SOFT[:HARD]" },        \
      { "network", 0, 0, G_OPTION_ARG_STRING, &(run).network, "private, host, none or a path", "NET" },        \
      { "label", 'l', 0, G_OPTION_ARG_STRING_ARRAY, &(run).labels, "Label the container", "K=V" },             \
      { "annotation", 0, 0, G_OPTION_ARG_STRING_ARRAY, &(run).annotations, "Annotate its spec", "K=V" },       \
      { "snapshotter", 0, 0, G_OPTION_ARG_STRING, &(run).snapshotter, "Use this snapshotter", "ID" },          \
      { "platform", 0, 0, G_OPTION_ARG_STRING, &(run).platform, "Of the image, as linux/arm64", "OS/ARCH" },   \
      { "runtime", 0, 0, G_OPTION_ARG_STRING, &(run).runtime, "Use this runtime", "ID" },                      \
      { "seccomp",                                                                                             \
        0,                                                                                                     \
        0,                                                                                                     \
        G_OPTION_ARG_STRING,                                                                                   \
        &(run).seccomp,                                                                                        \
        "default, default-32bit, unconfined or a profile",                                                     \
        "PROFILE" },                                                                                           \
      { "no-new-privileges",                                                                                   \
        0,                                                                                                     \
        0,                                                                                                     \
        G_OPTION_ARG_NONE,                                                                                     \
        &(run).no_new_privileges,                                                                              \
        "Give no privileges by set-uid programs",                                                              \
        NULL },                                                                                                \
      { "pid-file", 0, 0, G_OPTION_ARG_FILENAME, &(run).pid_file, "Write its pid there", "FILE" },             \
      { "spec", 0, 0, G_OPTION_ARG_FILENAME, &(run).spec, "Use this OCI spec as it is", "FILE" },              \
  {                                                                                                            \
    NULL                                                                                                       \
  }

static char *
random_id (void)
{
  return g_strdup_printf ("c%08x%04x", g_random_int (), g_random_int () & 0xffff);
}

static gboolean
write_pid (const char *file, gint64 pid)
{
  g_autofree char *text = g_strdup_printf ("%" G_GINT64_FORMAT "\n", pid);
  g_autoptr (GError) error = NULL;

  if (file == NULL || g_file_set_contents_full (file, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0644, &error))
    return TRUE;
  cli_fail ("%s", error->message);
  return FALSE;
}

/* Makes the task, in the place of one that has ended. */
static GantryProcess *
create_task (GantryContainer *container, GantryStdio *stdio, GError **error)
{
  g_autoptr (GantryProcess) ended = gantry_container_get_init (container);
  g_autoptr (GError) local = NULL;
  GantryProcess *process = gantry_container_create_task (container, stdio, NULL, &local);

  /* Only one that runs can't be removed. */
  if (process == NULL && g_error_matches (local, GANTRY_ERROR, GANTRY_ERROR_ALREADY_EXISTS)
      && gantry_process_delete (ended, NULL, NULL) >= 0)
    {
      g_clear_error (&local);
      process = gantry_container_create_task (container, stdio, NULL, &local);
    }
  if (local != NULL)
    g_propagate_error (error, g_steal_pointer (&local));
  return process;
}

/* Makes and starts the task. Returns: its pid, or -1 with *@ret_status set after a message. */
static gint64
start_task (Session *session, GantryContainer *container, gboolean detach, gboolean interactive, gboolean tty,
            int *ret_status)
{
  g_autoptr (GantryStdio) stdio = session_stdio (session, detach, interactive, tty);
  GError *error = NULL;
  gint64 pid = -1;

  session->process = create_task (container, stdio, &error);
  if (session->process != NULL)
    {
      session_set_size (session);
      pid = gantry_process_start (session->process, NULL, &error);
    }
  if (pid >= 0)
    return pid;
  *ret_status = session_start_failure (error);
  if (session->process != NULL)
    gantry_process_delete (session->process, NULL, NULL);
  return -1;
}

/* Whether a container could not be made because its image is not here. */
static gboolean
lacks_image (const char *image, const GError *error)
{
  g_autoptr (GError) local = NULL;
  g_autoptr (GantryImage) found = NULL;
  g_autoptr (GVariant) details = NULL;

  if (!g_error_matches (error, GANTRY_ERROR, GANTRY_ERROR_NOT_FOUND))
    return FALSE;
  found = gantry_namespace_get_image (cli_namespace (), image, NULL, NULL);
  if (found != NULL)
    details = gantry_image_inspect (found, NULL, NULL, &local);
  return details == NULL && g_error_matches (local, GANTRY_ERROR, GANTRY_ERROR_NOT_FOUND);
}

static GantryContainer *
create_once (const RunOptions *run, const char *id, char **argv, GError **error)
{
  GVariant *options = run_options_to_variant (run, argv + 2);

  return options != NULL
             ? gantry_namespace_create_container (cli_namespace (), id, argv[1], options, NULL, error)
             : NULL;
}

static GantryContainer *
create_container (const RunOptions *run, char **argv)
{
  g_autofree char *id = run->name != NULL ? g_strdup (run->name) : random_id ();
  const char *when = run->pull != NULL ? run->pull : "missing";
  GError *error = NULL;
  GantryContainer *container;

  if (strcmp (when, "missing") != 0 && strcmp (when, "always") != 0 && strcmp (when, "never") != 0)
    {
      cli_fail ("--pull takes missing, always or never, not \"%s\"", when);
      return NULL;
    }
  if (cli_namespace () == NULL
      || (strcmp (when, "always") == 0 && cli_pull_missing (argv[1], run->platform, run->snapshotter) != 0))
    return NULL;
  container = create_once (run, id, argv, &error);
  if (container == NULL && error != NULL && strcmp (when, "missing") == 0 && lacks_image (argv[1], error))
    {
      g_clear_error (&error);
      if (cli_pull_missing (argv[1], run->platform, run->snapshotter) != 0)
        return NULL;
      container = create_once (run, id, argv, &error);
    }
  if (container == NULL && error != NULL)
    cli_fail_error (error);
  else if (container != NULL)
    g_object_set_data_full (G_OBJECT (container), "id", g_steal_pointer (&id), g_free);
  return container;
}

static void
delete_container (GantryContainer *container, gboolean force)
{
  GError *error = NULL;

  if (!gantry_container_delete (container, force, NULL, &error))
    cli_fail_error (error);
}

int
cli_run (int argc, char **argv)
{
  g_auto (RunOptions) run = { 0 };
  const GOptionEntry entries[] = { RUN_ENTRIES (run) };
  g_autoptr (GantryContainer) container = NULL;
  Session session = { .socket = -1 };
  int status = CLI_NOT_RUN;
  gint64 pid;

  if (!cli_parse (&argc, &argv, "run", "IMAGE [COMMAND …]",
                  "Makes a container of IMAGE and runs it; its exit status becomes ours.\n\n"
                  "  gantry run --rm busybox echo hello\n"
                  "  gantry run -it --rm -v /srv:/srv:ro busybox sh\n"
                  "  gantry run -d --name web --network host --memory 256m example.com/web:1",
                  entries, TRUE))
    return CLI_USAGE;
  if (argc < 2)
    return cli_usage ("run", "run needs an image; gantry image ls lists them");
  container = create_container (&run, argv);
  if (container == NULL)
    return CLI_NOT_RUN;
  pid = start_task (&session, container, run.detach, run.interactive, run.tty, &status);
  if (pid < 0 || !write_pid (run.pid_file, pid))
    {
      delete_container (container, TRUE);
      return status;
    }
  if (run.detach)
    {
      g_print ("%s\n", (const char *)g_object_get_data (G_OBJECT (container), "id"));
      return 0;
    }
  status = session_follow (&session);
  if (run.rm)
    delete_container (container, FALSE);
  else
    gantry_process_delete (session.process, NULL, NULL);
  return status;
}

int
cli_create (int argc, char **argv)
{
  g_auto (RunOptions) run = { 0 };
  const GOptionEntry entries[] = { RUN_ENTRIES (run) };
  g_autoptr (GantryContainer) container = NULL;

  if (!cli_parse (&argc, &argv, "create", "IMAGE [COMMAND …]",
                  "Makes a container of IMAGE and prints its id; gantry start runs it.", entries, TRUE))
    return CLI_USAGE;
  if (argc < 2)
    return cli_usage ("create", "create needs an image");
  container = create_container (&run, argv);
  if (container == NULL)
    return CLI_NOT_RUN;
  g_print ("%s\n", (const char *)g_object_get_data (G_OBJECT (container), "id"));
  return 0;
}

int
cli_start (int argc, char **argv)
{
  gboolean attach = FALSE, tty = FALSE;
  const GOptionEntry entries[]
      = { { "attach", 'a', 0, G_OPTION_ARG_NONE, &attach, "Stay connected to it", NULL },
          { "tty", 't', 0, G_OPTION_ARG_NONE, &tty, "It was created with --tty", NULL },
          { NULL } };
  g_autoptr (GantryContainer) container = NULL;
  Session session = { .socket = -1 };
  int status = CLI_NOT_RUN;

  if (!cli_parse (&argc, &argv, "start", "CONTAINER", "Starts a container that was created, or has ended.",
                  entries, FALSE))
    return CLI_USAGE;
  if (argc != 2)
    return cli_usage ("start", "start needs a container");
  container = cli_container (argv[1]);
  if (container == NULL || start_task (&session, container, !attach, TRUE, tty, &status) < 0)
    return status;
  if (!attach)
    return 0;
  status = session_follow (&session);
  gantry_process_delete (session.process, NULL, NULL);
  return status;
}
