/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gantry: the command line. */
#include "cli.h"

#include <errno.h>
#include <json-glib/json-glib.h>
#include <locale.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define START_TIMEOUT_MS 10000

CliGlobals cli = { .ns = "default" };

static GDBusConnection *connection;

static const struct { const char *name; CliFunc func; const char *summary; } verbs[] = {
  { "run", cli_run, "Make a container of an image and run it" },
  { "create", cli_create, "Make a container without starting it" },
  { "start", cli_start, "Start a container" },
  { "exec", cli_exec, "Run one more process in a running container" },
  { "attach", cli_attach, "Connect to the streams of a detached container" },
  { "kill", cli_kill, "Send a signal to a container" },
  { "stop", cli_stop, "End a container: its stop signal, then SIGKILL" },
  { "rm", cli_rm, "Remove containers" },
  { "ps", cli_ps, "List containers" },
  { "wait", cli_wait, "Wait until a container has ended and print its status" },
  { "inspect", cli_inspect, "Show all that is known of a container" },
  { "image", cli_image, "import, ls, inspect, unpack, rm" },
  { "ns", cli_ns, "ls, create, rm" },
  { "events", cli_events, "Print what changes, as it does" },
  { "plugin", cli_plugin, "list, inspect, trace, check" },
  { "check", cli_check, "Compare the database with the disk" },
  { "system", cli_system, "info" },
};

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
  g_dbus_error_strip_remote_error (error);
  return cli_fail ("%s", error->message);
}

static char *
default_state (void)
{
  return g_strdup (g_getenv ("GANTRY_STATE") != NULL ? g_getenv ("GANTRY_STATE") : "/run/gantry");
}

static char *
find_daemon (void)
{
  g_autofree char *self = g_file_read_link ("/proc/self/exe", NULL);
  g_autofree char *dir = self != NULL ? g_path_get_dirname (self) : NULL;
  g_autofree char *beside = dir != NULL ? g_build_filename (dir, "..", "core", "gantryd", NULL) : NULL;

  if (beside != NULL && g_file_test (beside, G_FILE_TEST_IS_EXECUTABLE))
    return g_steal_pointer (&beside);
  return g_strdup (GANTRY_LIBEXECDIR "/gantryd");
}

/* Starts a private daemon that leaves when it is idle, and waits for its socket. */
static gboolean
start_daemon (const char *state, const char *socket_path, GError **error)
{
  g_autofree char *daemon = find_daemon ();
  g_autofree char *dir = g_path_get_dirname (daemon);
  g_autofree char *manifests = g_build_filename (dir, "..", "plugins.d", NULL);
  g_autoptr (GPtrArray) argv = g_ptr_array_new ();
  g_autoptr (GSubprocessLauncher) launcher = g_subprocess_launcher_new (G_SUBPROCESS_FLAGS_NONE);
  g_autoptr (GSubprocess) process = NULL;

  g_ptr_array_add (argv, daemon);
  g_ptr_array_add (argv, (gpointer) "--on-demand");
  g_ptr_array_add (argv, (gpointer) "--state");
  g_ptr_array_add (argv, (gpointer) state);
  if (g_getenv ("GANTRY_ROOT") != NULL)
    {
      g_ptr_array_add (argv, (gpointer) "--root");
      g_ptr_array_add (argv, (gpointer) g_getenv ("GANTRY_ROOT"));
    }
  if (g_file_test (manifests, G_FILE_TEST_IS_DIR))
    {
      g_ptr_array_add (argv, (gpointer) "--plugins-dir");
      g_ptr_array_add (argv, manifests);
    }
  g_ptr_array_add (argv, NULL);
  g_subprocess_launcher_set_child_setup (launcher, (GSpawnChildSetupFunc) (void (*) (void)) setsid, NULL, NULL);
  g_subprocess_launcher_set_stdin_file_path (launcher, "/dev/null");
  g_subprocess_launcher_set_stdout_file_path (launcher, "/dev/null");
  process = g_subprocess_launcher_spawnv (launcher, (const char *const *) argv->pdata, error);
  if (process == NULL)
    return FALSE;
  for (int waited = 0; waited < START_TIMEOUT_MS; waited += 5)
    {
      if (g_file_test (socket_path, G_FILE_TEST_EXISTS))
        return TRUE;
      g_usleep (5000);
    }
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT, "%s was started but does not answer on %s", daemon, socket_path);
  return FALSE;
}

GDBusConnection *
cli_connect (GError **error)
{
  g_autofree char *state = default_state ();
  g_autofree char *path = g_build_filename (state, "gantry.sock", NULL);
  g_autofree char *escaped = g_dbus_address_escape_value (path);
  g_autofree char *address = g_strconcat ("unix:path=", escaped, NULL);
  g_autoptr (GError) local = NULL;

  if (connection != NULL)
    return connection;
  connection = g_dbus_connection_new_for_address_sync (cli.address != NULL ? cli.address : address,
                                                       G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT, NULL, NULL, &local);
  if (connection != NULL)
    return connection;
  if (cli.address != NULL)
    {
      g_propagate_prefixed_error (error, g_steal_pointer (&local), "no daemon answers at %s: ", cli.address);
      return NULL;
    }
  if (geteuid () != 0)
    {
      g_set_error (error, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED, "no daemon answers at %s, and only root can start one; use sudo",
                   address);
      return NULL;
    }
  unlink (path);
  if (start_daemon (state, path, error))
    connection = g_dbus_connection_new_for_address_sync (address, G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT, NULL, NULL,
                                                         error);
  return connection;
}

GVariant *
cli_try (const char *path, const char *interface, const char *method, GVariant *parameters, GUnixFDList *fds, GError **error)
{
  g_autofree char *full = g_strconcat ("org.gantry1.", interface, NULL);
  GDBusConnection *bus = cli_connect (error);

  if (bus == NULL)
    return NULL;
  return g_dbus_connection_call_with_unix_fd_list_sync (bus, NULL, path, full, method, parameters, NULL, G_DBUS_CALL_FLAGS_NONE,
                                                        G_MAXINT, fds, NULL, NULL, error);
}

GVariant *
cli_call (const char *path, const char *interface, const char *method, GVariant *parameters, GUnixFDList *fds)
{
  g_autoptr (GError) error = NULL;
  GVariant *reply = cli_try (path, interface, method, parameters, fds, &error);

  if (reply == NULL)
    cli_fail_error (error);
  return reply;
}

static char *
path_from (const char *path, const char *interface, const char *method, const char *name)
{
  g_autoptr (GVariant) reply = cli_call (path, interface, method, g_variant_new ("(s)", name), NULL);
  char *result = NULL;

  if (reply != NULL)
    g_variant_get (reply, "(o)", &result);
  return result;
}

char *
cli_namespace_path (void)
{
  return path_from ("/org/gantry1", "Manager", "GetNamespace", cli.ns);
}

char *
cli_container_path (const char *id)
{
  g_autofree char *ns = cli_namespace_path ();

  return ns != NULL ? path_from (ns, "Namespace", "GetContainer", id) : NULL;
}

void
cli_print_json (GVariant *value)
{
  g_autoptr (JsonNode) node = json_gvariant_serialize (value);
  g_autoptr (JsonGenerator) generator = json_generator_new ();
  g_autofree char *text = NULL;

  json_generator_set_pretty (generator, TRUE);
  json_generator_set_root (generator, node);
  text = json_generator_to_data (generator, NULL);
  g_print ("%s\n", text);
}

gboolean
cli_parse (int *argc, char ***argv, const char *verb, const char *usage, const char *summary, const GOptionEntry *entries,
           gboolean strict)
{
  g_autoptr (GOptionContext) context = g_option_context_new (usage);
  g_autofree char *name = g_strconcat ("gantry ", verb, NULL);
  g_autoptr (GError) error = NULL;

  g_set_prgname (name);
  g_option_context_set_summary (context, summary);
  g_option_context_set_strict_posix (context, strict);
  if (entries != NULL)
    g_option_context_add_main_entries (context, entries, NULL);
  if (g_option_context_parse (context, argc, argv, &error))
    return TRUE;
  cli_fail ("%s; see gantry %s --help", error->message, verb);
  return FALSE;
}

static int
print_help (void)
{
  g_print ("Usage: gantry [--address ADDRESS] [-n NAMESPACE] [--format json] VERB …\n\n");
  for (gsize i = 0; i < G_N_ELEMENTS (verbs); i++)
    g_print ("  %-10s %s\n", verbs[i].name, verbs[i].summary);
  g_print ("  %-10s %s\n", "version", "Print the version");
  g_print ("\nTry: gantry image import busybox.tar && gantry run --rm busybox echo hello\n");
  return 0;
}

int
main (int argc, char **argv)
{
  int at = 1;

  setlocale (LC_ALL, "");
  signal (SIGPIPE, SIG_IGN);
  cli.address = g_getenv ("GANTRY_ADDRESS");
  if (g_getenv ("GANTRY_NAMESPACE") != NULL)
    cli.ns = g_getenv ("GANTRY_NAMESPACE");
  for (; at < argc && argv[at][0] == '-'; at++)
    {
      if (strcmp (argv[at], "--help") == 0 || strcmp (argv[at], "-h") == 0)
        return print_help ();
      if (strcmp (argv[at], "--address") == 0 && at + 1 < argc)
        cli.address = argv[++at];
      else if ((strcmp (argv[at], "--namespace") == 0 || strcmp (argv[at], "-n") == 0) && at + 1 < argc)
        cli.ns = argv[++at];
      else if (strcmp (argv[at], "--format") == 0 && at + 1 < argc)
        cli.json = strcmp (argv[++at], "json") == 0;
      else
        {
          cli_fail ("unknown option %s, or its value is missing; see gantry --help", argv[at]);
          return 2;
        }
    }
  if (at == argc)
    return print_help ();
  if (strcmp (argv[at], "version") == 0)
    {
      g_print ("gantry %s\n", GANTRY_VERSION);
      return 0;
    }
  for (gsize i = 0; i < G_N_ELEMENTS (verbs); i++)
    if (strcmp (verbs[i].name, argv[at]) == 0)
      return verbs[i].func (argc - at, argv + at);
  cli_fail ("there is no verb \"%s\"; see gantry --help", argv[at]);
  return 2;
}
