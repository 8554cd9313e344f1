/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Listening: on the private socket, and on a bus if one is named. */
#include "api-dbus.h"
#include "interface.h"

#include <gio/gunixconnection.h>
#include <gantry/verifier.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_CONNECTIONS 256

/* A client that takes the private socket for a bus (busctl does) says Hello and matches first. */
static const char bus_xml[]
    = "<node><interface name='org.freedesktop.DBus'>"
      "<method name='Hello'><arg type='s' direction='out'/></method>"
      "<method name='AddMatch'><arg type='s' direction='in'/></method>"
      "<method name='RemoveMatch'><arg type='s' direction='in'/></method>"
      "<method name='GetNameOwner'><arg type='s' direction='in'/><arg type='s' direction='out'/></method>"
      "</interface></node>";

static void
on_bus_method (GDBusConnection *connection, const char *sender, const char *path, const char *interface,
               const char *method, GVariant *parameters, GDBusMethodInvocation *invocation,
               gpointer user_data)
{
  if (strcmp (method, "Hello") == 0)
    g_dbus_method_invocation_return_value (invocation, g_variant_new ("(s)", ":1.1"));
  else if (strcmp (method, "GetNameOwner") == 0)
    g_dbus_method_invocation_return_value (invocation, g_variant_new ("(s)", ":1.0"));
  else
    g_dbus_method_invocation_return_value (invocation, NULL);
  connection_has_called (connection);
}

static const GDBusInterfaceVTable bus_vtable = { on_bus_method, NULL, NULL, { NULL } };

static gboolean
on_authorize (GDBusAuthObserver *observer, GIOStream *stream, GCredentials *credentials, gpointer user_data)
{
  uid_t uid = credentials != NULL ? g_credentials_get_unix_user (credentials, NULL) : (uid_t)-1;

  return uid == 0 || uid == getuid ();
}

static gboolean
on_mechanism (GDBusAuthObserver *observer, const char *mechanism, gpointer user_data)
{
  return strcmp (mechanism, "EXTERNAL") == 0;
}

static void
on_closed (GDBusConnection *connection, gboolean remote, GError *error, gpointer user_data)
{
  ApiDbus *self = user_data;

  g_ptr_array_remove (self->connections, connection);
  self->host->hold (self->host, -1);
}

static gboolean
on_connection (GDBusServer *server, GDBusConnection *connection, gpointer user_data)
{
  ApiDbus *self = user_data;
  g_autoptr (GDBusNodeInfo) bus = g_dbus_node_info_new_for_xml (bus_xml, NULL);
  g_autoptr (GError) error = NULL;

  if (self->connections->len >= MAX_CONNECTIONS)
    return FALSE;
  if (g_dbus_connection_register_object (connection, "/org/freedesktop/DBus", bus->interfaces[0], &bus_vtable,
                                         self, NULL, &error)
          == 0
      || !objects_export (self, connection, &error))
    {
      gantry_host_log (self->host, GANTRY_LOG_WARNING, "a D-Bus client was refused: %s", error->message);
      return FALSE;
    }
  g_ptr_array_add (self->connections, g_object_ref (connection));
  g_signal_connect (connection, "closed", G_CALLBACK (on_closed), self);
  self->host->hold (self->host, 1);
  return TRUE;
}

static gboolean
serve_bus (ApiDbus *self, GError **error)
{
  const char *where = gantry_host_get_config_string (self->host, "Bus", "none");
  g_autofree char *address = NULL;

  if (strcmp (where, "none") == 0)
    return TRUE;
  if (strcmp (where, "system") == 0 || strcmp (where, "session") == 0)
    address = g_dbus_address_get_for_bus_sync (where[1] == 'y' ? G_BUS_TYPE_SYSTEM : G_BUS_TYPE_SESSION, NULL,
                                               error);
  else
    address = g_strdup (where);
  if (address == NULL)
    return FALSE;
  self->bus = g_dbus_connection_new_for_address_sync (address,
                                                      G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT
                                                          | G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION,
                                                      NULL, NULL, error);
  if (self->bus == NULL || !objects_export (self, self->bus, error))
    {
      g_prefix_error (error, "serving D-Bus on %s: ", where);
      return FALSE;
    }
  self->bus_name = g_bus_own_name_on_connection (self->bus, "org.gantry1", G_BUS_NAME_OWNER_FLAGS_NONE, NULL,
                                                 NULL, NULL, NULL);
  return TRUE;
}

/* GDBusServer lets only ten clients wait to be accepted and turns the eleventh away; it has no setting for
 * that, and does not show its socket. */
static void
raise_backlog (const char *path)
{
  g_autoptr (GDir) fds = g_dir_open ("/proc/self/fd", 0, NULL);
  const char *name;

  while (fds != NULL && (name = g_dir_read_name (fds)) != NULL)
    {
      struct sockaddr_un address = { 0 };
      socklen_t length = sizeof address;
      int fd = (int)g_ascii_strtoll (name, NULL, 10), listens = 0;
      socklen_t size = sizeof listens;

      if (getsockopt (fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens
          && getsockname (fd, (struct sockaddr *)&address, &length) == 0 && address.sun_family == AF_UNIX
          && strncmp (address.sun_path, path, sizeof address.sun_path) == 0)
        listen (fd, SOMAXCONN);
    }
}

static gboolean
serve (GantryFrontend *frontend, GCancellable *cancellable, GError **error)
{
  ApiDbus *self = (ApiDbus *)frontend;
  g_autofree char *path
      = g_build_filename (self->host->get_base_path (self->host, GANTRY_DIR_RUN), "gantry.sock", NULL);
  g_autofree char *escaped = g_dbus_address_escape_value (path);
  g_autofree char *guid = g_dbus_generate_guid ();
  g_autoptr (GDBusAuthObserver) observer = g_dbus_auth_observer_new ();

  /* The root's lock is ours, so a socket that is still there belongs to nobody. */
  unlink (path);
  self->address = g_strconcat ("unix:path=", escaped, NULL);
  g_signal_connect (observer, "authorize-authenticated-peer", G_CALLBACK (on_authorize), self);
  g_signal_connect (observer, "allow-mechanism", G_CALLBACK (on_mechanism), self);
  self->server
      = g_dbus_server_new_sync (self->address, G_DBUS_SERVER_FLAGS_NONE, guid, observer, cancellable, error);
  if (self->server == NULL || !signals_start (self, error))
    return FALSE;
  raise_backlog (path);
  g_signal_connect (self->server, "new-connection", G_CALLBACK (on_connection), self);
  g_dbus_server_start (self->server);
  return serve_bus (self, error);
}

static void
stop (GantryFrontend *frontend, guint drain_ms, GDestroyNotify done, gpointer user_data)
{
  ApiDbus *self = (ApiDbus *)frontend;

  if (self->server != NULL)
    g_dbus_server_stop (self->server);
  signals_stop (self);
  job_end_waits (self);
  /* An import from a pipe that says no more would hold up the daemon's end for as long as that is open. */
  g_cancellable_cancel (self->stopping);
  while (self->connections->len > 0)
    {
      GDBusConnection *connection = g_ptr_array_steal_index (self->connections, 0);

      g_signal_handlers_disconnect_by_data (connection, self);
      g_dbus_connection_flush_sync (connection, NULL, NULL);
      g_dbus_connection_close (connection, NULL, NULL, NULL);
      g_object_unref (connection);
    }
  if (self->bus_name != 0)
    g_bus_unown_name (self->bus_name);
  done (user_data);
}

static char **
get_addresses (GantryFrontend *frontend)
{
  const char *const addresses[] = { ((ApiDbus *)frontend)->address, NULL };

  return g_strdupv ((char **)addresses);
}

static const GantryFrontendVtable vtable = { sizeof (GantryFrontendVtable), serve, stop, get_addresses };

static void
register_errors (void)
{
  for (int code = 0; code < GANTRY_ERROR_N_CODES; code++)
    {
      g_autofree char *name = g_strconcat ("org.gantry1.Error.", gantry_error_code_to_name (code), NULL);

      g_dbus_error_register_error (GANTRY_ERROR, code, name);
    }
}

static void
plugin_fini (gpointer instance)
{
  ApiDbus *self = instance;

  if (self == NULL)
    return;
  g_clear_object (&self->server);
  g_clear_object (&self->bus);
  g_clear_pointer (&self->connections, g_ptr_array_unref);
  g_clear_pointer (&self->job_waits, g_ptr_array_unref);
  g_clear_object (&self->stopping);
  g_clear_pointer (&self->info, g_dbus_node_info_unref);
  g_free (self->address);
  g_free (self);
}

static gboolean
plugin_init (const GantryHost *host, gpointer *ret_instance, GError **error)
{
  ApiDbus *self = g_new0 (ApiDbus, 1);

  self->frontend.vtable = &vtable;
  self->host = host;
  self->connections = g_ptr_array_new_with_free_func (g_object_unref);
  self->job_waits = g_ptr_array_new ();
  self->stopping = g_cancellable_new ();
  self->info = g_dbus_node_info_new_for_xml (interface_xml, error);
  if (self->info != NULL
      && (self->introspection = gantry_host_lookup (host, GANTRY_INTROSPECTION_TYPE, NULL, error)) != NULL
      && (self->metadata = gantry_host_lookup (host, GANTRY_METADATA_TYPE, NULL, error)) != NULL
      && (self->events = gantry_host_lookup (host, GANTRY_EVENTS_TYPE, NULL, error)) != NULL
      && (self->store = gantry_host_lookup (host, GANTRY_STORE_TYPE, NULL, error)) != NULL
      && (self->transfer = gantry_host_lookup (host, GANTRY_TRANSFER_TYPE, NULL, error)) != NULL
      && (self->tasks = gantry_host_lookup (host, GANTRY_TASKS_TYPE, NULL, error)) != NULL
      && (self->jobs = gantry_host_lookup (host, GANTRY_JOBS_TYPE, NULL, error)) != NULL)
    {
      register_errors ();
      *ret_instance = self;
      return TRUE;
    }
  plugin_fini (self);
  return FALSE;
}

static gpointer
plugin_get (gpointer instance, const char *type)
{
  return &((ApiDbus *)instance)->frontend;
}

static const GantryNeed introspection_need
    = GANTRY_NEED_INIT (GANTRY_INTROSPECTION_TYPE, NULL, 0, GANTRY_NEED_ONE);
static const GantryNeed metadata_need = GANTRY_NEED_INIT (GANTRY_METADATA_TYPE, NULL, 0, GANTRY_NEED_ONE);
static const GantryNeed events_need = GANTRY_NEED_INIT (GANTRY_EVENTS_TYPE, NULL, 0, GANTRY_NEED_ONE);
static const GantryNeed store_need = GANTRY_NEED_INIT (GANTRY_STORE_TYPE, NULL, 0, GANTRY_NEED_ONE);
static const GantryNeed transfer_need = GANTRY_NEED_INIT (GANTRY_TRANSFER_TYPE, NULL, 0, GANTRY_NEED_ONE);
static const GantryNeed tasks_need = GANTRY_NEED_INIT (GANTRY_TASKS_TYPE, NULL, 0, GANTRY_NEED_ONE);
static const GantryNeed jobs_need
    = GANTRY_NEED_INIT (GANTRY_JOBS_TYPE, NULL, sizeof (GantryJobsVtable), GANTRY_NEED_ONE);
static const GantryNeed verifier_need = GANTRY_NEED_INIT (GANTRY_VERIFIER_TYPE, NULL, 0, GANTRY_NEED_MANY);
static const GantryNeed registry_need
    = GANTRY_NEED_INIT (GANTRY_REGISTRY_TYPE, NULL, 0, GANTRY_NEED_OPTIONAL);
static const GantryNeed mounts_need = GANTRY_NEED_INIT (GANTRY_MOUNTS_TYPE, NULL, 0, GANTRY_NEED_OPTIONAL);
static const GantryNeed *const needs[] = { &introspection_need, &metadata_need, &events_need, &store_need,
                                           &transfer_need,      &tasks_need,    &jobs_need,   &verifier_need,
                                           &registry_need,      &mounts_need,   NULL };
static const GantryProvide provide = { sizeof (GantryProvide), GANTRY_FRONTEND_TYPE };
static const GantryProvide *const provides[] = { &provide, NULL };
static const char *const config_keys[] = { "Bus", NULL };
static const char *const config_defaults[] = { "Bus=none", NULL };

static const GantryPluginDesc desc = {
  .size = sizeof (GantryPluginDesc),
  .abi_major = GANTRY_ABI_MAJOR,
  .name = GANTRY_PLUGIN_NAME,
  .version = GANTRY_VERSION,
  .license = "LGPL-2.1-or-later",
  .description = "The D-Bus API, org.gantry1",
  .provides = provides,
  .needs = needs,
  .init = plugin_init,
  .get = plugin_get,
  .fini = plugin_fini,
  .config_keys = config_keys,
  .config_defaults = config_defaults,
};

const GantryPluginDesc *
gantry_plugin_get_desc (void)
{
  return &desc;
}
