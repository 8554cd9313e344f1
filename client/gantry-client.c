/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gantry-client.h"
#include "gantry-job-private.h"
#include "gantry-namespace-private.h"
#include "gantry-object-private.h"

#include <string.h>

#define ROOT            "/org/gantry1"
#define DEFAULT_ADDRESS "unix:path=/run/gantry/gantry.sock"

/**
 * GantryClient:
 *
 * A connection to a daemon. Everything else comes from it:
 *
 * ```c
 * g_autoptr (GantryClient) client = gantry_client_new (NULL, NULL, &error);
 * g_autoptr (GantryNamespace) ns = gantry_client_get_namespace (client, "default", NULL, &error);
 * g_autoptr (GantryContainer) container = gantry_namespace_create_container (ns, "one", "busybox", NULL,
 * NULL, &error);
 * ```
 */
struct _GantryClient
{
  GantryObject parent_instance;
  guint subscription;
};

G_DEFINE_FINAL_TYPE (GantryClient, gantry_client, GANTRY_TYPE_OBJECT)

enum
{
  EVENT,
  N_SIGNALS
};

static guint signals[N_SIGNALS];

static void
on_event (GDBusConnection *connection, const char *sender, const char *path, const char *interface,
          const char *signal, GVariant *parameters, gpointer user_data)
{
  g_autoptr (GantryClient) self = g_weak_ref_get (user_data);
  g_autoptr (GVariant) payload = NULL;
  const char *ns, *topic;
  guint64 seq, lost;
  gint64 time;

  if (self == NULL || !g_variant_is_of_type (parameters, G_VARIANT_TYPE ("(ttxssa{sv})")))
    return;
  g_variant_get (parameters, "(ttx&s&s@a{sv})", &seq, &lost, &time, &ns, &topic, &payload);
  g_signal_emit (self, signals[EVENT], 0, seq, lost, time, ns, topic, payload);
}

static void
weak_free (gpointer data)
{
  g_weak_ref_clear (data);
  g_free (data);
}

static void
gantry_client_constructed (GObject *object)
{
  GantryClient *self = GANTRY_CLIENT (object);
  GWeakRef *weak = g_new0 (GWeakRef, 1);

  G_OBJECT_CLASS (gantry_client_parent_class)->constructed (object);
  g_weak_ref_init (weak, self);
  self->subscription
      = g_dbus_connection_signal_subscribe (gantry_object_get_connection (GANTRY_OBJECT (self)), NULL,
                                            "org.gantry1.Manager", "Event", ROOT, NULL,
                                            G_DBUS_SIGNAL_FLAGS_NONE, on_event, weak, weak_free);
}

static void
gantry_client_dispose (GObject *object)
{
  GantryClient *self = GANTRY_CLIENT (object);

  if (self->subscription != 0)
    g_dbus_connection_signal_unsubscribe (gantry_object_get_connection (GANTRY_OBJECT (self)),
                                          self->subscription);
  self->subscription = 0;
  G_OBJECT_CLASS (gantry_client_parent_class)->dispose (object);
}

static void
gantry_client_class_init (GantryClientClass *klass)
{
  G_OBJECT_CLASS (klass)->constructed = gantry_client_constructed;
  G_OBJECT_CLASS (klass)->dispose = gantry_client_dispose;
  /**
   * GantryClient::event:
   * @self: the client
   * @seq: a running number
   * @lost: how many events before this one could not be told
   * @time: nanoseconds since 1970 UTC
   * @ns: the namespace, or ""
   * @topic: such as "/tasks/exit"
   * @payload: a{sv}, see sdk/gantry/events.h
   *
   * Something changed. Events come once a first call has been made.
   */
  signals[EVENT] = g_signal_new ("event", GANTRY_TYPE_CLIENT, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL,
                                 G_TYPE_NONE, 6, G_TYPE_UINT64, G_TYPE_UINT64, G_TYPE_INT64, G_TYPE_STRING,
                                 G_TYPE_STRING, G_TYPE_VARIANT);
}

static void
gantry_client_init (GantryClient *self)
{
}

/**
 * gantry_client_new_for_connection: (constructor)
 * @connection: to a daemon, or to a bus that one is on
 *
 * Returns: (transfer full): a client
 */
GantryClient *
gantry_client_new_for_connection (GDBusConnection *connection)
{
  return g_object_new (GANTRY_TYPE_CLIENT, "connection", connection, "path", ROOT, NULL);
}

static const char *
address_or_default (const char *address)
{
  if (address == NULL)
    address = g_getenv ("GANTRY_ADDRESS");
  return address != NULL ? address : DEFAULT_ADDRESS;
}

/**
 * gantry_client_new:
 * @address: (nullable): a D-Bus address; %NULL: that of the environment variable GANTRY_ADDRESS, or the
 * system's daemon
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Connects to a daemon's private socket.
 *
 * Returns: (transfer full): a client
 */
GantryClient *
gantry_client_new (const char *address, GCancellable *cancellable, GError **error)
{
  g_autoptr (GDBusConnection) connection
      = g_dbus_connection_new_for_address_sync (address_or_default (address),
                                                G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT, NULL,
                                                cancellable, error);

  return connection != NULL ? gantry_client_new_for_connection (connection) : NULL;
}

static void
on_connected (GObject *object, GAsyncResult *result, gpointer data)
{
  g_autoptr (GTask) task = data;
  GError *error = NULL;
  g_autoptr (GDBusConnection) connection = g_dbus_connection_new_for_address_finish (result, &error);

  if (connection == NULL)
    g_task_return_error (task, error);
  else
    g_task_return_pointer (task, gantry_client_new_for_connection (connection), g_object_unref);
}

/**
 * gantry_client_new_async:
 * @address: (nullable): as for gantry_client_new()
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_client_new(), without blocking.
 */
void
gantry_client_new_async (const char *address, GCancellable *cancellable, GAsyncReadyCallback callback,
                         gpointer user_data)
{
  GTask *task = g_task_new (NULL, cancellable, callback, user_data);

  g_task_set_source_tag (task, gantry_client_new_async);
  g_dbus_connection_new_for_address (address_or_default (address),
                                     G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT, NULL, cancellable,
                                     on_connected, task);
}

/**
 * gantry_client_new_finish: (constructor)
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): a client
 */
GantryClient *
gantry_client_new_finish (GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (g_async_result_is_tagged (result, gantry_client_new_async), NULL);
  return g_task_propagate_pointer (G_TASK (result), error);
}

/**
 * gantry_client_get_server:
 * @self: the client
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Asks what the daemon is.
 *
 * Returns: (transfer full): a{sv}: the properties of org.gantry1.Manager: "Version" s, "Pid" u, "Root" s and
 * others
 */
GVariant *
gantry_client_get_server (GantryClient *self, GCancellable *cancellable, GError **error)
{
  GDBusConnection *connection = gantry_object_get_connection (GANTRY_OBJECT (self));
  g_autoptr (GVariant) reply = g_dbus_connection_call_sync (
      connection, g_dbus_connection_get_unique_name (connection) != NULL ? "org.gantry1" : NULL, ROOT,
      "org.freedesktop.DBus.Properties", "GetAll", g_variant_new ("(s)", "org.gantry1.Manager"),
      G_VARIANT_TYPE ("(a{sv})"), G_DBUS_CALL_FLAGS_NONE, -1, cancellable, error);

  return reply != NULL ? g_variant_get_child_value (reply, 0) : NULL;
}

static GantryNamespace *
take_namespace (GantryClient *self, GVariant *value)
{
  g_autofree char *path = _gantry_take_string (value);

  return path != NULL ? _gantry_namespace_new (gantry_object_get_connection (GANTRY_OBJECT (self)), path)
                      : NULL;
}

static GPtrArray *
take_jobs (GantryClient *self, GVariant *value)
{
  g_autoptr (GVariant) held = value;
  g_autoptr (GPtrArray) jobs = g_ptr_array_new_with_free_func (g_object_unref);

  if (held == NULL)
    return NULL;
  for (gsize i = 0; i < g_variant_n_children (held); i++)
    g_ptr_array_add (jobs, _gantry_job_new_take (gantry_object_get_connection (GANTRY_OBJECT (self)),
                                                 _gantry_take_string (g_variant_get_child_value (held, i))));
  return g_steal_pointer (&jobs);
}

/**
 * gantry_client_list_plugins:
 * @self: the client
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Asks which plugins there are and how they are.
 *
 * Returns: (transfer full): aa{sv}, see sdk/gantry/introspection.h
 */
GVariant *
gantry_client_list_plugins (GantryClient *self, GCancellable *cancellable, GError **error)
{
  return _gantry_object_call_value (self, "Manager", "ListPlugins", NULL, NULL, cancellable, error);
}

/**
 * gantry_client_list_plugins_async:
 * @self: the client
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_client_list_plugins(), without blocking.
 */
void
gantry_client_list_plugins_async (GantryClient *self, GCancellable *cancellable, GAsyncReadyCallback callback,
                                  gpointer user_data)
{
  _gantry_object_call_async (self, "Manager", "ListPlugins", NULL, NULL, gantry_client_list_plugins_async,
                             cancellable, callback, user_data);
}

/**
 * gantry_client_list_plugins_finish:
 * @self: the client
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): aa{sv}, see sdk/gantry/introspection.h
 */
GVariant *
gantry_client_list_plugins_finish (GantryClient *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_value (self, gantry_client_list_plugins_async, result, error);
}

/**
 * gantry_client_get_trace:
 * @self: the client
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Asks why each plugin was taken or refused.
 *
 * Returns: (transfer full): lines
 */
char **
gantry_client_get_trace (GantryClient *self, GCancellable *cancellable, GError **error)
{
  return _gantry_take_strv (
      _gantry_object_call_value (self, "Manager", "GetTrace", NULL, NULL, cancellable, error));
}

/**
 * gantry_client_get_trace_async:
 * @self: the client
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_client_get_trace(), without blocking.
 */
void
gantry_client_get_trace_async (GantryClient *self, GCancellable *cancellable, GAsyncReadyCallback callback,
                               gpointer user_data)
{
  _gantry_object_call_async (self, "Manager", "GetTrace", NULL, NULL, gantry_client_get_trace_async,
                             cancellable, callback, user_data);
}

/**
 * gantry_client_get_trace_finish:
 * @self: the client
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): lines
 */
char **
gantry_client_get_trace_finish (GantryClient *self, GAsyncResult *result, GError **error)
{
  return _gantry_take_strv (_gantry_object_finish_value (self, gantry_client_get_trace_async, result, error));
}

/**
 * gantry_client_get_config:
 * @self: the client
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Asks for the daemon's own settings.
 *
 * Returns: (transfer full): aa{sv}: "key" s, "value" s, "origin" s
 */
GVariant *
gantry_client_get_config (GantryClient *self, GCancellable *cancellable, GError **error)
{
  return _gantry_object_call_value (self, "Manager", "GetConfig", NULL, NULL, cancellable, error);
}

/**
 * gantry_client_get_config_async:
 * @self: the client
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_client_get_config(), without blocking.
 */
void
gantry_client_get_config_async (GantryClient *self, GCancellable *cancellable, GAsyncReadyCallback callback,
                                gpointer user_data)
{
  _gantry_object_call_async (self, "Manager", "GetConfig", NULL, NULL, gantry_client_get_config_async,
                             cancellable, callback, user_data);
}

/**
 * gantry_client_get_config_finish:
 * @self: the client
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): aa{sv}: "key" s, "value" s, "origin" s
 */
GVariant *
gantry_client_get_config_finish (GantryClient *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_value (self, gantry_client_get_config_async, result, error);
}

/**
 * gantry_client_list_namespaces:
 * @self: the client
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Asks which namespaces there are.
 *
 * Returns: (transfer full): aa{sv}: "name" s, "labels" a{ss}, "created" x
 */
GVariant *
gantry_client_list_namespaces (GantryClient *self, GCancellable *cancellable, GError **error)
{
  return _gantry_object_call_value (self, "Manager", "ListNamespaces", NULL, NULL, cancellable, error);
}

/**
 * gantry_client_list_namespaces_async:
 * @self: the client
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_client_list_namespaces(), without blocking.
 */
void
gantry_client_list_namespaces_async (GantryClient *self, GCancellable *cancellable,
                                     GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Manager", "ListNamespaces", NULL, NULL,
                             gantry_client_list_namespaces_async, cancellable, callback, user_data);
}

/**
 * gantry_client_list_namespaces_finish:
 * @self: the client
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): aa{sv}: "name" s, "labels" a{ss}, "created" x
 */
GVariant *
gantry_client_list_namespaces_finish (GantryClient *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_value (self, gantry_client_list_namespaces_async, result, error);
}

/**
 * gantry_client_create_namespace:
 * @self: the client
 * @name: its name
 * @labels: (nullable): a{ss}
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Makes a namespace. One is also made by whatever is first put in it.
 *
 * Returns: whether it was done
 */
gboolean
gantry_client_create_namespace (GantryClient *self, const char *name, GVariant *labels,
                                GCancellable *cancellable, GError **error)
{
  return _gantry_object_call_nothing (
      self, "Manager", "CreateNamespace",
      g_variant_new ("(s@a{ss})", name,
                     labels != NULL ? labels : g_variant_new_array (G_VARIANT_TYPE ("{ss}"), NULL, 0)),
      NULL, cancellable, error);
}

/**
 * gantry_client_create_namespace_async:
 * @self: the client
 * @name: its name
 * @labels: (nullable): a{ss}
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_client_create_namespace(), without blocking.
 */
void
gantry_client_create_namespace_async (GantryClient *self, const char *name, GVariant *labels,
                                      GCancellable *cancellable, GAsyncReadyCallback callback,
                                      gpointer user_data)
{
  _gantry_object_call_async (self, "Manager", "CreateNamespace",
                             g_variant_new ("(s@a{ss})", name,
                                            labels != NULL
                                                ? labels
                                                : g_variant_new_array (G_VARIANT_TYPE ("{ss}"), NULL, 0)),
                             NULL, gantry_client_create_namespace_async, cancellable, callback, user_data);
}

/**
 * gantry_client_create_namespace_finish:
 * @self: the client
 * @result: the callback's
 * @error: why not
 *
 * Returns: whether it was done
 */
gboolean
gantry_client_create_namespace_finish (GantryClient *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_nothing (self, gantry_client_create_namespace_async, result, error);
}

/**
 * gantry_client_delete_namespace:
 * @self: the client
 * @name: its name
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Removes an empty namespace.
 *
 * Returns: whether it was done
 */
gboolean
gantry_client_delete_namespace (GantryClient *self, const char *name, GCancellable *cancellable,
                                GError **error)
{
  return _gantry_object_call_nothing (self, "Manager", "DeleteNamespace", g_variant_new ("(s)", name), NULL,
                                      cancellable, error);
}

/**
 * gantry_client_delete_namespace_async:
 * @self: the client
 * @name: its name
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_client_delete_namespace(), without blocking.
 */
void
gantry_client_delete_namespace_async (GantryClient *self, const char *name, GCancellable *cancellable,
                                      GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Manager", "DeleteNamespace", g_variant_new ("(s)", name), NULL,
                             gantry_client_delete_namespace_async, cancellable, callback, user_data);
}

/**
 * gantry_client_delete_namespace_finish:
 * @self: the client
 * @result: the callback's
 * @error: why not
 *
 * Returns: whether it was done
 */
gboolean
gantry_client_delete_namespace_finish (GantryClient *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_nothing (self, gantry_client_delete_namespace_async, result, error);
}

/**
 * gantry_client_list_jobs:
 * @self: the client
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Asks for the jobs that run or have just ended.
 *
 * Returns: (transfer container) (element-type GantryJob): jobs
 */
GPtrArray *
gantry_client_list_jobs (GantryClient *self, GCancellable *cancellable, GError **error)
{
  return take_jobs (self,
                    _gantry_object_call_value (self, "Manager", "ListJobs", NULL, NULL, cancellable, error));
}

/**
 * gantry_client_list_jobs_async:
 * @self: the client
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_client_list_jobs(), without blocking.
 */
void
gantry_client_list_jobs_async (GantryClient *self, GCancellable *cancellable, GAsyncReadyCallback callback,
                               gpointer user_data)
{
  _gantry_object_call_async (self, "Manager", "ListJobs", NULL, NULL, gantry_client_list_jobs_async,
                             cancellable, callback, user_data);
}

/**
 * gantry_client_list_jobs_finish:
 * @self: the client
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer container) (element-type GantryJob): jobs
 */
GPtrArray *
gantry_client_list_jobs_finish (GantryClient *self, GAsyncResult *result, GError **error)
{
  return take_jobs (self, _gantry_object_finish_value (self, gantry_client_list_jobs_async, result, error));
}

/**
 * gantry_client_get_namespace:
 * @self: the client
 * @name: its name
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Finds a namespace.
 *
 * Returns: (transfer full): the namespace of that name, whether there is one or not
 */
GantryNamespace *
gantry_client_get_namespace (GantryClient *self, const char *name, GCancellable *cancellable, GError **error)
{
  return take_namespace (self,
                         _gantry_object_call_value (self, "Manager", "GetNamespace",
                                                    g_variant_new ("(s)", name), NULL, cancellable, error));
}

/**
 * gantry_client_get_namespace_async:
 * @self: the client
 * @name: its name
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_client_get_namespace(), without blocking.
 */
void
gantry_client_get_namespace_async (GantryClient *self, const char *name, GCancellable *cancellable,
                                   GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Manager", "GetNamespace", g_variant_new ("(s)", name), NULL,
                             gantry_client_get_namespace_async, cancellable, callback, user_data);
}

/**
 * gantry_client_get_namespace_finish:
 * @self: the client
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): the namespace of that name, whether there is one or not
 */
GantryNamespace *
gantry_client_get_namespace_finish (GantryClient *self, GAsyncResult *result, GError **error)
{
  return take_namespace (self, _gantry_object_finish_value (self, gantry_client_get_namespace_async, result,
                                                            error));
}
