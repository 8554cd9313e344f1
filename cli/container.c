/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * run, create, start, exec, attach: whatever has streams. Without a terminal the container gets our own descriptors; with one, we copy
 * between it and a socket. */
#include "cli.h"

#include <errno.h>
#include <glib-unix.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

typedef struct {
  gboolean detach, interactive, tty, rm, read_only, privileged;
  char *name, *user, *cwd, *hostname, *network, *memory, *snapshotter, *entrypoint, *spec, *pid_file;
  char **env, **mounts, **cap_add, **cap_drop, **devices, **ulimits, **labels, **annotations;
  double cpus;
  gint64 pids;
} RunOptions;

typedef struct {
  GMainLoop *loop;
  char *path;
  const char *exec;
  int socket;
  gboolean tty;
  struct termios saved;
  int status;
  GError *error;
} Session;

static Session *current;

static void
add_strv (GVariantDict *dict, const char *key, char **value)
{
  if (value != NULL)
    g_variant_dict_insert (dict, key, "^as", value);
}

static void
add_string (GVariantDict *dict, const char *key, const char *value)
{
  if (value != NULL)
    g_variant_dict_insert (dict, key, "s", value);
}

static void
add_map (GVariantDict *dict, const char *key, char **pairs)
{
  GVariantBuilder builder;

  if (pairs == NULL)
    return;
  g_variant_builder_init (&builder, G_VARIANT_TYPE ("a{ss}"));
  for (gsize i = 0; pairs[i] != NULL; i++)
    {
      g_auto (GStrv) parts = g_strsplit (pairs[i], "=", 2);

      g_variant_builder_add (&builder, "{ss}", parts[0], parts[1] != NULL ? parts[1] : "");
    }
  g_variant_dict_insert_value (dict, key, g_variant_builder_end (&builder));
}

/* "512m" in bytes. */
static gboolean
parse_size (const char *text, guint64 *ret_bytes)
{
  char *end;
  guint64 value = g_ascii_strtoull (text, &end, 10);
  guint shift = *end == 'k' || *end == 'K' ? 10 : *end == 'm' || *end == 'M' ? 20 : *end == 'g' || *end == 'G' ? 30 : 0;

  if (end == text || (*end != '\0' && (shift == 0 || end[1] != '\0')) || value > (G_MAXUINT64 >> shift))
    return FALSE;
  *ret_bytes = value << shift;
  return TRUE;
}

/* "type=bind,src=/a,dst=/b,options=rbind:ro" or "/a:/b[:ro]" */
static gboolean
add_mounts (GVariantDict *dict, char **mounts)
{
  GVariantBuilder list;

  if (mounts == NULL)
    return TRUE;
  g_variant_builder_init (&list, G_VARIANT_TYPE ("aa{sv}"));
  for (gsize i = 0; mounts[i] != NULL; i++)
    {
      g_auto (GStrv) parts = g_strsplit (mounts[i], strchr (mounts[i], '=') != NULL ? "," : ":", -1);
      g_auto (GStrv) options = NULL;
      const char *type = "bind", *source = NULL, *destination = NULL;

      for (gsize j = 0; parts[j] != NULL; j++)
        {
          char *equals = strchr (parts[j], '=');
          const char *value = equals != NULL ? equals + 1 : parts[j];

          if (equals == NULL && j == 0)
            source = value;
          else if (equals == NULL && j == 1)
            destination = value;
          else if (equals == NULL || g_str_has_prefix (parts[j], "options="))
            {
              g_autofree char *joined = g_strconcat (equals == NULL ? "rbind:" : "", value, NULL);

              g_strfreev (options);
              options = g_strsplit (joined, ":", -1);
            }
          else if (g_str_has_prefix (parts[j], "type="))
            type = value;
          else if (g_str_has_prefix (parts[j], "src=") || g_str_has_prefix (parts[j], "source="))
            source = value;
          else if (g_str_has_prefix (parts[j], "dst=") || g_str_has_prefix (parts[j], "destination="))
            destination = value;
        }
      if (destination == NULL)
        {
          cli_fail ("mount \"%s\" is neither SOURCE:DESTINATION[:OPTION…] nor type=…,src=…,dst=…", mounts[i]);
          return FALSE;
        }
      g_variant_builder_open (&list, G_VARIANT_TYPE_VARDICT);
      g_variant_builder_add (&list, "{sv}", "type", g_variant_new_string (type));
      g_variant_builder_add (&list, "{sv}", "source", g_variant_new_string (source != NULL ? source : type));
      g_variant_builder_add (&list, "{sv}", "destination", g_variant_new_string (destination));
      if (options != NULL)
        g_variant_builder_add (&list, "{sv}", "options", g_variant_new_strv ((const char *const *) options, -1));
      g_variant_builder_close (&list);
    }
  g_variant_dict_insert_value (dict, "mounts", g_variant_builder_end (&list));
  return TRUE;
}

static GVariant *
make_options (const RunOptions *run, char **args)
{
  GVariantDict dict;
  guint64 memory;

  g_variant_dict_init (&dict, NULL);
  if (args[0] != NULL)
    add_strv (&dict, "args", args);
  if (run->entrypoint != NULL)
    {
      const char *const entrypoint[] = { run->entrypoint, NULL };

      add_strv (&dict, "entrypoint", (char **) entrypoint);
    }
  add_strv (&dict, "env", run->env);
  add_strv (&dict, "cap-add", run->cap_add);
  add_strv (&dict, "cap-drop", run->cap_drop);
  add_strv (&dict, "devices", run->devices);
  add_strv (&dict, "rlimits", run->ulimits);
  add_map (&dict, "labels", run->labels);
  add_map (&dict, "annotations", run->annotations);
  add_string (&dict, "user", run->user);
  add_string (&dict, "cwd", run->cwd);
  add_string (&dict, "hostname", run->hostname);
  add_string (&dict, "network", run->network);
  add_string (&dict, "snapshotter", run->snapshotter);
  if (run->tty)
    g_variant_dict_insert (&dict, "tty", "b", TRUE);
  if (run->read_only)
    g_variant_dict_insert (&dict, "read-only", "b", TRUE);
  if (run->privileged)
    g_variant_dict_insert (&dict, "privileged", "b", TRUE);
  if (run->cpus > 0)
    g_variant_dict_insert (&dict, "cpus", "d", run->cpus);
  if (run->pids != 0)
    g_variant_dict_insert (&dict, "pids", "x", run->pids);
  if (run->memory != NULL && !parse_size (run->memory, &memory))
    {
      cli_fail ("memory \"%s\" is not a number of bytes with k, m or g", run->memory);
      g_variant_dict_clear (&dict);
      return NULL;
    }
  if (run->memory != NULL)
    g_variant_dict_insert (&dict, "memory", "t", memory);
  if (run->spec != NULL)
    {
      g_autofree char *text = NULL;
      g_autoptr (GError) error = NULL;

      if (!g_file_get_contents (run->spec, &text, NULL, &error))
        {
          cli_fail_error (error);
          g_variant_dict_clear (&dict);
          return NULL;
        }
      add_string (&dict, "spec", text);
    }
  if (!add_mounts (&dict, run->mounts))
    {
      g_variant_dict_clear (&dict);
      return NULL;
    }
  return g_variant_dict_end (&dict);
}

/* "busybox" is "docker.io/library/busybox:latest", unless there is an image of just that name. */
static char *
complete_image (const char *name)
{
  const char *slash = strchr (name, '/');
  gboolean domain = slash != NULL && (memchr (name, '.', (gsize) (slash - name)) != NULL
                                      || memchr (name, ':', (gsize) (slash - name)) != NULL
                                      || g_str_has_prefix (name, "localhost/"));
  const char *last = strrchr (name, '/');
  gboolean tagged = strchr (last != NULL ? last : name, ':') != NULL || strchr (name, '@') != NULL;

  return g_strconcat (domain ? "" : slash != NULL ? "docker.io/" : "docker.io/library/", name, tagged ? "" : ":latest", NULL);
}

/* Our own streams for the container, or a socket for its console. */
static GVariant *
make_stdio (Session *session, gboolean detach, gboolean interactive, GUnixFDList *fds)
{
  GVariantDict dict;
  int pair[2];

  g_variant_dict_init (&dict, NULL);
  if (session->tty)
    g_variant_dict_insert (&dict, "terminal", "b", TRUE);
  if (detach)
    {
      g_variant_dict_insert (&dict, "stdin", "s", "stream:");
      g_variant_dict_insert (&dict, "stdout", "s", "stream:");
      if (!session->tty)
        g_variant_dict_insert (&dict, "stderr", "s", "stream:");
    }
  else if (session->tty)
    {
      if (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0)
        {
          session->socket = pair[0];
          g_unix_fd_list_append (fds, pair[1], NULL);
          close (pair[1]);
        }
      g_variant_dict_insert (&dict, "stdin", "s", "fd:0");
      g_variant_dict_insert (&dict, "stdout", "s", "fd:0");
    }
  else
    {
      if (interactive)
        g_variant_dict_insert (&dict, "stdin", "s", "fd:0");
      g_variant_dict_insert (&dict, "stdout", "s", "fd:1");
      g_variant_dict_insert (&dict, "stderr", "s", "fd:2");
      for (int fd = 0; fd < 3; fd++)
        g_unix_fd_list_append (fds, fd, NULL);
    }
  return g_variant_dict_end (&dict);
}

static GVariant *
handles_of (GUnixFDList *fds)
{
  GVariantBuilder builder;

  g_variant_builder_init (&builder, G_VARIANT_TYPE ("ah"));
  for (int i = 0; i < g_unix_fd_list_get_length (fds); i++)
    g_variant_builder_add (&builder, "h", i);
  return g_variant_builder_end (&builder);
}

static void
send_size (Session *session)
{
  struct winsize size;

  if (ioctl (STDIN_FILENO, TIOCGWINSZ, &size) == 0)
    g_dbus_connection_call (cli_connect (NULL), NULL, session->path, "org.gantry1.Container", "Resize",
                            g_variant_new ("(suu)", session->exec, (guint32) size.ws_col, (guint32) size.ws_row), NULL,
                            G_DBUS_CALL_FLAGS_NONE, -1, NULL, NULL, NULL);
}

static gboolean
on_winch (gpointer data)
{
  send_size (data);
  return G_SOURCE_CONTINUE;
}

/* GLib has no source for SIGWINCH, so it comes through a pipe. */
static int winch_pipe[2];

static void
winch_handler (int signal)
{
  int saved_errno = errno;

  if (write (winch_pipe[1], "", 1) < 0)
    errno = 0;
  errno = saved_errno;
}

static gboolean
on_winch_pipe (int fd, GIOCondition condition, gpointer data)
{
  char scrap[64];

  if (read (fd, scrap, sizeof scrap) < 0)
    return G_SOURCE_CONTINUE;
  return on_winch (data);
}

static gboolean
on_signal (int number)
{
  if (current != NULL)
    g_dbus_connection_call (cli_connect (NULL), NULL, current->path, "org.gantry1.Container", "Kill",
                            g_variant_new ("(sub)", current->exec, (guint32) number, FALSE), NULL, G_DBUS_CALL_FLAGS_NONE, -1,
                            NULL, NULL, NULL);
  return G_SOURCE_CONTINUE;
}

static gboolean
on_int (gpointer data)
{
  return on_signal (SIGINT);
}

static gboolean
on_term (gpointer data)
{
  return on_signal (SIGTERM);
}

static gboolean
on_hup (gpointer data)
{
  return on_signal (SIGHUP);
}

static gboolean
write_all (int fd, const char *data, gsize length)
{
  while (length > 0)
    {
      ssize_t n = write (fd, data, length);

      if (n < 0 && errno != EINTR)
        return FALSE;
      if (n > 0)
        {
          data += n;
          length -= (gsize) n;
        }
    }
  return TRUE;
}

static gboolean
on_typed (int fd, GIOCondition condition, gpointer data)
{
  Session *session = data;
  char buffer[4096];
  ssize_t n = read (fd, buffer, sizeof buffer);

  if (n > 0)
    return write_all (session->socket, buffer, (gsize) n);
  shutdown (session->socket, SHUT_WR);
  return G_SOURCE_REMOVE;
}

static gboolean
on_output (int fd, GIOCondition condition, gpointer data)
{
  char buffer[16384];
  ssize_t n = read (fd, buffer, sizeof buffer);

  return n > 0 && write_all (STDOUT_FILENO, buffer, (gsize) n);
}

static void
on_waited (GObject *object, GAsyncResult *result, gpointer data)
{
  Session *session = data;
  g_autoptr (GVariant) reply = g_dbus_connection_call_finish (G_DBUS_CONNECTION (object), result, &session->error);
  guint32 status = 1;

  if (reply != NULL)
    g_variant_get (reply, "(ux)", &status, NULL);
  session->status = (int) status;
  g_main_loop_quit (session->loop);
}

static void
raw_mode (Session *session)
{
  struct termios raw;

  if (!isatty (STDIN_FILENO) || tcgetattr (STDIN_FILENO, &session->saved) < 0)
    return;
  raw = session->saved;
  cfmakeraw (&raw);
  tcsetattr (STDIN_FILENO, TCSADRAIN, &raw);
}

/* Copies and waits until the process has ended. Returns: its status. */
static int
follow (Session *session)
{
  gboolean terminal = session->tty && isatty (STDIN_FILENO);

  session->loop = g_main_loop_new (NULL, FALSE);
  current = session;
  g_dbus_connection_call (cli_connect (NULL), NULL, session->path, "org.gantry1.Container", "Wait",
                          g_variant_new ("(s)", session->exec), G_VARIANT_TYPE ("(ux)"), G_DBUS_CALL_FLAGS_NONE, G_MAXINT, NULL,
                          on_waited, session);
  if (session->socket >= 0)
    {
      g_unix_fd_add (STDIN_FILENO, G_IO_IN | G_IO_HUP, on_typed, session);
      g_unix_fd_add (session->socket, G_IO_IN | G_IO_HUP, on_output, session);
    }
  if (terminal && pipe (winch_pipe) == 0)
    {
      struct sigaction action = { .sa_handler = winch_handler, .sa_flags = SA_RESTART };

      g_unix_fd_add (winch_pipe[0], G_IO_IN, on_winch_pipe, session);
      sigaction (SIGWINCH, &action, NULL);
      send_size (session);
      raw_mode (session);
    }
  g_unix_signal_add (SIGINT, on_int, NULL);
  g_unix_signal_add (SIGTERM, on_term, NULL);
  g_unix_signal_add (SIGHUP, on_hup, NULL);
  g_main_loop_run (session->loop);
  /* What it wrote last may still be in the socket. */
  while (session->socket >= 0 && on_output (session->socket, G_IO_IN, session))
    ;
  if (terminal)
    tcsetattr (STDIN_FILENO, TCSADRAIN, &session->saved);
  current = NULL;
  g_main_loop_unref (session->loop);
  return session->error != NULL ? cli_fail_error (session->error) : session->status;
}

static gboolean
call_done (const char *path, const char *method, GVariant *parameters)
{
  g_autoptr (GVariant) reply = cli_call (path, "Container", method, parameters, NULL);

  return reply != NULL;
}

/* 127 for a program that is not there, 125 for everything else that is not the container's own doing: as env (1) and podman. */
static int
start_failure (GError *error)
{
  int status;

  g_dbus_error_strip_remote_error (error);
  status = strstr (error->message, "executable file not found") != NULL
                   || strstr (error->message, "no such file or directory") != NULL
                   || strstr (error->message, "No such file or directory") != NULL
               ? 127
               : 125;
  cli_fail ("%s", error->message);
  return status;
}

static gboolean
start_task (Session *session, gboolean detach, gboolean interactive, int *ret_status)
{
  g_autoptr (GUnixFDList) fds = g_unix_fd_list_new ();
  GVariant *stdio = make_stdio (session, detach, interactive, fds);
  g_autoptr (GError) error = NULL;
  g_autoptr (GVariant) created
      = cli_try (session->path, "Container", "CreateTask", g_variant_new ("(@a{sv}@ah)", stdio, handles_of (fds)), fds, &error);
  g_autoptr (GVariant) started = NULL;

  if (created != NULL)
    started = cli_try (session->path, "Container", "Start", g_variant_new ("(s)", ""), NULL, &error);
  if (started != NULL)
    return TRUE;
  *ret_status = start_failure (error);
  if (created != NULL)
    {
      g_autoptr (GVariant) deleted
          = cli_try (session->path, "Container", "DeleteTask", g_variant_new ("(s)", ""), NULL, NULL);
    }
  return FALSE;
}

static char *
create_container (const RunOptions *run, int argc, char **argv)
{
  g_autofree char *ns = cli_namespace_path ();
  g_autofree char *image = complete_image (argv[1]);
  g_autofree char *name = run->name != NULL ? g_strdup (run->name) : g_strdup_printf ("c%08x%04x", g_random_int (), g_random_int () & 0xffff);
  GVariant *options = ns != NULL ? make_options (run, argv + 2) : NULL;
  g_autoptr (GVariant) reply = NULL;
  char *path = NULL;

  if (options == NULL)
    return NULL;
  reply = cli_call (ns, "Namespace", "CreateContainer", g_variant_new ("(ss@a{sv})", name, image, options), NULL);
  if (reply != NULL)
    g_variant_get (reply, "(o)", &path);
  if (reply != NULL && (run->detach || g_str_has_suffix (g_get_prgname (), "create")))
    g_print ("%s\n", name);
  return path;
}

#define RUN_ENTRIES(run)                                                                                                          \
  { "detach", 'd', 0, G_OPTION_ARG_NONE, &(run).detach, "Print the id and return", NULL },                                       \
  { "interactive", 'i', 0, G_OPTION_ARG_NONE, &(run).interactive, "Connect standard input", NULL },                              \
  { "tty", 't', 0, G_OPTION_ARG_NONE, &(run).tty, "Give it a terminal", NULL },                                                  \
  { "rm", 0, 0, G_OPTION_ARG_NONE, &(run).rm, "Remove the container when it has ended", NULL },                                  \
  { "name", 0, 0, G_OPTION_ARG_STRING, &(run).name, "The container's id", "ID" },                                                \
  { "env", 'e', 0, G_OPTION_ARG_STRING_ARRAY, &(run).env, "Set a variable", "K=V" },                                             \
  { "mount", 'v', 0, G_OPTION_ARG_STRING_ARRAY, &(run).mounts, "Mount something into it", "SOURCE:DESTINATION[:ro]" },          \
  { "user", 'u', 0, G_OPTION_ARG_STRING, &(run).user, "Run as", "USER[:GROUP]" },                                                \
  { "cwd", 'w', 0, G_OPTION_ARG_STRING, &(run).cwd, "Working directory", "DIR" },                                                \
  { "hostname", 0, 0, G_OPTION_ARG_STRING, &(run).hostname, "Host name", "NAME" },                                               \
  { "entrypoint", 0, 0, G_OPTION_ARG_STRING, &(run).entrypoint, "Replace the image's entrypoint", "PROGRAM" },                   \
  { "read-only", 0, 0, G_OPTION_ARG_NONE, &(run).read_only, "Mount its root read-only", NULL },                                  \
  { "privileged", 0, 0, G_OPTION_ARG_NONE, &(run).privileged, "Lift the usual restrictions", NULL },                             \
  { "memory", 'm', 0, G_OPTION_ARG_STRING, &(run).memory, "Memory limit", "BYTES[k|m|g]" },                                      \
  { "cpus", 0, 0, G_OPTION_ARG_DOUBLE, &(run).cpus, "Processors it may use", "N" },                                              \
  { "pids-limit", 0, 0, G_OPTION_ARG_INT64, &(run).pids, "Processes it may have", "N" },                                         \
  { "cap-add", 0, 0, G_OPTION_ARG_STRING_ARRAY, &(run).cap_add, "Give a capability", "CAP" },                                    \
  { "cap-drop", 0, 0, G_OPTION_ARG_STRING_ARRAY, &(run).cap_drop, "Take a capability", "CAP" },                                  \
  { "device", 0, 0, G_OPTION_ARG_STRING_ARRAY, &(run).devices, "Give a device", "PATH[:PATH[:rwm]]" },                           \
  { "ulimit", 0, 0, G_OPTION_ARG_STRING_ARRAY, &(run).ulimits, "Set a limit", "NAME=SOFT[:HARD]" },                              \
  { "network", 0, 0, G_OPTION_ARG_STRING, &(run).network, "private, host, none or a path", "NET" },                              \
  { "label", 'l', 0, G_OPTION_ARG_STRING_ARRAY, &(run).labels, "Label the container", "K=V" },                                   \
  { "annotation", 0, 0, G_OPTION_ARG_STRING_ARRAY, &(run).annotations, "Annotate its spec", "K=V" },                             \
  { "snapshotter", 0, 0, G_OPTION_ARG_STRING, &(run).snapshotter, "Use this snapshotter", "ID" },                                \
  { "spec", 0, 0, G_OPTION_ARG_FILENAME, &(run).spec, "Use this OCI spec as it is", "FILE" },                                    \
  { NULL }

int
cli_run (int argc, char **argv)
{
  RunOptions run = { 0 };
  const GOptionEntry entries[] = { RUN_ENTRIES (run) };
  Session session = { .socket = -1, .exec = "" };
  g_autofree char *path = NULL;
  int status = 125;

  if (!cli_parse (&argc, &argv, "run", "IMAGE [COMMAND …]", "Makes a container of IMAGE and runs it; its exit status is ours.",
                  entries, TRUE))
    return 2;
  if (argc < 2)
    return cli_fail ("run needs an image; see gantry image ls") + 1;
  path = create_container (&run, argc, argv);
  if (path == NULL)
    return 125;
  session.path = path;
  session.tty = run.tty;
  if (!start_task (&session, run.detach, run.interactive, &status))
    {
      call_done (path, "Delete", g_variant_new ("(b)", TRUE));
      return status;
    }
  if (run.detach)
    return 0;
  status = follow (&session);
  if (run.rm)
    call_done (path, "Delete", g_variant_new ("(b)", FALSE));
  else
    call_done (path, "DeleteTask", g_variant_new ("(s)", ""));
  return status;
}

int
cli_create (int argc, char **argv)
{
  RunOptions run = { 0 };
  const GOptionEntry entries[] = { RUN_ENTRIES (run) };
  g_autofree char *path = NULL;

  if (!cli_parse (&argc, &argv, "create", "IMAGE [COMMAND …]", "Makes a container of IMAGE and prints its id.", entries, TRUE))
    return 2;
  if (argc < 2)
    return cli_fail ("create needs an image") + 1;
  path = create_container (&run, argc, argv);
  return path != NULL ? 0 : 125;
}

int
cli_start (int argc, char **argv)
{
  gboolean attach = FALSE, tty = FALSE;
  const GOptionEntry entries[] = { { "attach", 'a', 0, G_OPTION_ARG_NONE, &attach, "Stay connected to it", NULL },
                                   { "tty", 't', 0, G_OPTION_ARG_NONE, &tty, "It was created with --tty", NULL },
                                   { NULL } };
  Session session = { .socket = -1, .exec = "" };
  g_autofree char *path = NULL;
  int status = 125;

  if (!cli_parse (&argc, &argv, "start", "CONTAINER", "Starts a container.", entries, FALSE))
    return 2;
  if (argc != 2)
    return cli_fail ("start needs a container") + 1;
  path = cli_container_path (argv[1]);
  session.path = path;
  session.tty = tty;
  if (path == NULL || !start_task (&session, !attach, TRUE, &status))
    return status;
  if (!attach)
    return 0;
  status = follow (&session);
  call_done (path, "DeleteTask", g_variant_new ("(s)", ""));
  return status;
}

int
cli_exec (int argc, char **argv)
{
  RunOptions run = { 0 };
  const GOptionEntry entries[] = { { "interactive", 'i', 0, G_OPTION_ARG_NONE, &run.interactive, "Connect standard input", NULL },
                                   { "tty", 't', 0, G_OPTION_ARG_NONE, &run.tty, "Give it a terminal", NULL },
                                   { "env", 'e', 0, G_OPTION_ARG_STRING_ARRAY, &run.env, "Set a variable", "K=V" },
                                   { "user", 'u', 0, G_OPTION_ARG_STRING, &run.user, "Run as", "USER[:GROUP]" },
                                   { "cwd", 'w', 0, G_OPTION_ARG_STRING, &run.cwd, "Working directory", "DIR" },
                                   { NULL } };
  Session session = { .socket = -1 };
  g_autofree char *exec = g_strdup_printf ("exec-%08x", g_random_int ());
  g_autoptr (GUnixFDList) fds = g_unix_fd_list_new ();
  g_autoptr (GVariant) prepared = NULL, started = NULL, options = NULL, stdio = NULL;
  g_autoptr (GError) error = NULL;
  g_autofree char *path = NULL;
  GVariantDict all;
  GVariantIter iter;
  const char *key;
  GVariant *value;
  int status;

  if (!cli_parse (&argc, &argv, "exec", "CONTAINER COMMAND …", "Runs one more process in a running container.", entries, TRUE))
    return 2;
  if (argc < 3)
    return cli_fail ("exec needs a container and a command") + 1;
  path = cli_container_path (argv[1]);
  if (path == NULL)
    return 125;
  session.path = path;
  session.exec = exec;
  session.tty = run.tty;
  options = g_variant_ref_sink (make_options (&run, argv + 2));
  stdio = g_variant_ref_sink (make_stdio (&session, FALSE, run.interactive, fds));
  g_variant_dict_init (&all, options);
  g_variant_iter_init (&iter, stdio);
  while (g_variant_iter_loop (&iter, "{&sv}", &key, &value))
    g_variant_dict_insert_value (&all, key, value);
  prepared = cli_try (path, "Container", "Exec", g_variant_new ("(s@a{sv}@ah)", exec, g_variant_dict_end (&all), handles_of (fds)), fds,
                      &error);
  if (prepared != NULL)
    started = cli_try (path, "Container", "Start", g_variant_new ("(s)", exec), NULL, &error);
  if (started == NULL)
    {
      status = start_failure (error);
      if (prepared != NULL)
        call_done (path, "DeleteTask", g_variant_new ("(s)", exec));
      return status;
    }
  status = follow (&session);
  call_done (path, "DeleteTask", g_variant_new ("(s)", exec));
  return status;
}

int
cli_attach (int argc, char **argv)
{
  gboolean tty = FALSE;
  const GOptionEntry entries[] = { { "tty", 't', 0, G_OPTION_ARG_NONE, &tty, "It has a terminal", NULL }, { NULL } };
  Session session = { .socket = -1, .exec = "" };
  g_autoptr (GUnixFDList) fds = g_unix_fd_list_new ();
  g_autofree char *path = NULL;
  int pair[2];

  if (!cli_parse (&argc, &argv, "attach", "CONTAINER", "Connects to the streams of a detached container.", entries, FALSE))
    return 2;
  if (argc != 2)
    return cli_fail ("attach needs a container") + 1;
  path = cli_container_path (argv[1]);
  if (path == NULL)
    return 125;
  session.path = path;
  session.tty = tty;
  if (tty && socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0)
    {
      session.socket = pair[0];
      g_unix_fd_list_append (fds, pair[1], NULL);
      close (pair[1]);
    }
  else
    for (int fd = 0; fd < 3; fd++)
      g_unix_fd_list_append (fds, fd, NULL);
  {
    g_autoptr (GVariant) reply = cli_call (path, "Container", "Attach", g_variant_new ("(s@ah)", "", handles_of (fds)), fds);

    if (reply == NULL)
      return 125;
  }
  return follow (&session);
}
