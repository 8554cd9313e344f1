/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Which daemon: the one at --address, or the one of this machine, or a private one that is started now and
 * leaves when it is idle. */
#include "cli.h"

#include <string.h>
#include <unistd.h>

#define START_TIMEOUT_MS 10000

CliGlobals cli = { .ns = "default" };

static GantryClient *client;
static GantryNamespace *ns;

char *
cli_find_daemon (char **ret_manifests)
{
  g_autofree char *self = g_file_read_link ("/proc/self/exe", NULL);
  g_autofree char *dir = self != NULL ? g_path_get_dirname (self) : g_strdup (".");
  g_autofree char *beside = g_canonicalize_filename ("../core/gantryd", dir);
  g_autofree char *manifests = g_canonicalize_filename ("../plugins.d", dir);

  *ret_manifests = NULL;
  if (!g_file_test (beside, G_FILE_TEST_IS_EXECUTABLE))
    return g_strdup (GANTRY_LIBEXECDIR "/gantryd");
  if (g_file_test (manifests, G_FILE_TEST_IS_DIR))
    *ret_manifests = g_steal_pointer (&manifests);
  return g_steal_pointer (&beside);
}

static GSubprocess *
spawn_daemon (const char *daemon, const char *manifests, const char *state, GError **error)
{
  g_autoptr (GPtrArray) argv = g_ptr_array_new ();
  g_autoptr (GSubprocessLauncher) launcher = g_subprocess_launcher_new (G_SUBPROCESS_FLAGS_NONE);
  const char *root = g_getenv ("GANTRY_ROOT"), *idle = g_getenv ("GANTRY_IDLE_TIMEOUT");

  g_ptr_array_add (argv, (gpointer)daemon);
  g_ptr_array_add (argv, (gpointer) "--on-demand");
  g_ptr_array_add (argv, (gpointer) "--state");
  g_ptr_array_add (argv, (gpointer)state);
  if (root != NULL)
    {
      g_ptr_array_add (argv, (gpointer) "--root");
      g_ptr_array_add (argv, (gpointer)root);
    }
  if (idle != NULL)
    {
      g_ptr_array_add (argv, (gpointer) "--idle-timeout");
      g_ptr_array_add (argv, (gpointer)idle);
    }
  if (manifests != NULL)
    {
      g_ptr_array_add (argv, (gpointer) "--plugins-dir");
      g_ptr_array_add (argv, (gpointer)manifests);
    }
  g_ptr_array_add (argv, NULL);
  g_subprocess_launcher_set_child_setup (launcher, (GSpawnChildSetupFunc)(void (*) (void))setsid, NULL, NULL);
  g_subprocess_launcher_set_stdin_file_path (launcher, "/dev/null");
  g_subprocess_launcher_set_stdout_file_path (launcher, "/dev/null");
  return g_subprocess_launcher_spawnv (launcher, (const char *const *)argv->pdata, error);
}

/* Has systemd start this machine's daemon, which is a service of the system bus where Gantry is installed:
 * one that is started beside it would take its root away. Returns: whether that was possible. */
static gboolean
start_service (void)
{
  g_autoptr (GDBusConnection) bus = NULL;
  g_autoptr (GVariant) reply = NULL;

  /* As sd_booted (3) has it. */
  if (g_getenv ("GANTRY_STATE") != NULL || g_getenv ("GANTRY_ROOT") != NULL
      || access ("/run/systemd/system", F_OK) != 0)
    return FALSE;
  bus = g_bus_get_sync (G_BUS_TYPE_SYSTEM, NULL, NULL);
  if (bus == NULL)
    return FALSE;
  reply = g_dbus_connection_call_sync (bus, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                                       "org.freedesktop.DBus", "StartServiceByName",
                                       g_variant_new ("(su)", "org.gantry1", 0), NULL, G_DBUS_CALL_FLAGS_NONE,
                                       START_TIMEOUT_MS, NULL, NULL);
  return reply != NULL;
}

/* Starts a daemon and connects as soon as it listens. */
static GantryClient *
start_daemon (const char *state, const char *address, GError **error)
{
  g_autofree char *manifests = NULL;
  g_autofree char *daemon = cli_find_daemon (&manifests);
  g_autoptr (GSubprocess) process = spawn_daemon (daemon, manifests, state, error);

  if (process == NULL)
    return NULL;
  for (int waited = 0; waited < START_TIMEOUT_MS; waited += 2)
    {
      GantryClient *connected = gantry_client_new (address, NULL, NULL);

      if (connected != NULL)
        return connected;
      /* The socket appears when it appears: inotify on a directory that may not exist yet would gain nothing.
       */
      g_usleep (2000);
    }
  g_set_error (error, GANTRY_ERROR, GANTRY_ERROR_UNAVAILABLE,
               "%s was started but does not answer at %s; see its log", daemon, address);
  return NULL;
}

/* Where this machine's daemon listens. Returns: (transfer full). */
static char *
default_address (const char **ret_state)
{
  const char *state = g_getenv ("GANTRY_STATE") != NULL ? g_getenv ("GANTRY_STATE") : "/run/gantry";
  g_autofree char *path = g_build_filename (state, "gantry.sock", NULL);
  g_autofree char *escaped = g_dbus_address_escape_value (path);

  *ret_state = state;
  return g_strconcat ("unix:path=", escaped, NULL);
}

GantryClient *
cli_running_client (void)
{
  const char *state;
  g_autofree char *address = default_address (&state);

  if (client == NULL && cli.address == NULL)
    client = gantry_client_new (address, NULL, NULL);
  return cli.address != NULL ? cli_client () : client;
}

GantryClient *
cli_client (void)
{
  const char *state;
  g_autofree char *address = default_address (&state);
  g_autoptr (GError) error = NULL;

  if (client != NULL)
    return client;
  client = gantry_client_new (cli.address != NULL ? cli.address : address, NULL, &error);
  if (client != NULL)
    return client;
  if (cli.address != NULL)
    cli_fail ("no daemon answers at %s: %s", cli.address, error->message);
  else if (geteuid () != 0)
    cli_fail ("no daemon answers at %s, and only root can start one; use sudo", address);
  else
    {
      g_clear_error (&error);
      if (start_service ())
        client = gantry_client_new (address, NULL, NULL);
      if (client == NULL)
        client = start_daemon (state, address, &error);
      if (client == NULL)
        cli_fail_error (g_steal_pointer (&error));
    }
  return client;
}

GantryNamespace *
cli_namespace (void)
{
  GError *error = NULL;

  if (ns == NULL && cli_client () != NULL)
    {
      ns = gantry_client_get_namespace (client, cli.ns, NULL, &error);
      if (ns == NULL)
        cli_fail_error (error);
    }
  return ns;
}

GantryContainer *
cli_container (const char *id)
{
  GError *error = NULL;
  GantryContainer *container
      = cli_namespace () != NULL ? gantry_namespace_get_container (ns, id, NULL, &error) : NULL;

  if (error != NULL)
    cli_fail_error (error);
  return container;
}

GantryImage *
cli_image_object (const char *name)
{
  GError *error = NULL;
  GantryImage *image = cli_namespace () != NULL ? gantry_namespace_get_image (ns, name, NULL, &error) : NULL;

  if (error != NULL)
    cli_fail_error (error);
  return image;
}
