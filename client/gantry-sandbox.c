/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gantry-sandbox.h"
#include "gantry-object-private.h"
#include "gantry-sandbox-private.h"

/**
 * GantrySandbox:
 *
 * A sandbox: a record, and a task that holds the namespaces which the containers of a pod join.
 */
struct _GantrySandbox
{
  GantryObject parent_instance;
  GVariant *info; /* (nullable): as listed */
};

G_DEFINE_FINAL_TYPE (GantrySandbox, gantry_sandbox, GANTRY_TYPE_OBJECT)

static void
gantry_sandbox_finalize (GObject *object)
{
  GantrySandbox *self = GANTRY_SANDBOX (object);

  g_clear_pointer (&self->info, g_variant_unref);
  G_OBJECT_CLASS (gantry_sandbox_parent_class)->finalize (object);
}

static void
gantry_sandbox_class_init (GantrySandboxClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = gantry_sandbox_finalize;
}

static void
gantry_sandbox_init (GantrySandbox *self)
{
}

GantrySandbox *
_gantry_sandbox_new (GDBusConnection *connection, const char *path, GVariant *info)
{
  GantrySandbox *self = g_object_new (GANTRY_TYPE_SANDBOX, "connection", connection, "path", path, NULL);

  self->info = info != NULL ? g_variant_ref (info) : NULL;
  return self;
}

/* A pid or an exit status. @value: (transfer full) (nullable). */
static gint64
take_uint32 (GVariant *value)
{
  gint64 number = value != NULL ? (gint64)g_variant_get_uint32 (value) : -1;

  g_clear_pointer (&value, g_variant_unref);
  return number;
}

/**
 * gantry_sandbox_get_info:
 * @self: a sandbox
 *
 * Returns: (transfer none) (nullable): a{sv}: "id" s, "runtime" s, "sandboxer" s, "labels" a{ss}, "created"
 * x, "updated" x and of its task "status" s, "pid" u, "exit-status" u, as they were when it was listed; %NULL
 * if it was not
 */
GVariant *
gantry_sandbox_get_info (GantrySandbox *self)
{
  g_return_val_if_fail (GANTRY_IS_SANDBOX (self), NULL);
  return self->info;
}

/**
 * gantry_sandbox_create_task:
 * @self: a sandbox
 * @options: (nullable): a{sv}: "netns" s, "annotations" a{ss}, "rootfs" aa{sv}; sunk if floating
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Makes the task that holds its namespaces. It is not started yet.
 *
 * Returns: the id of its process, or -1
 */
gint64
gantry_sandbox_create_task (GantrySandbox *self, GVariant *options, GCancellable *cancellable, GError **error)
{
  return take_uint32 (_gantry_object_call_value (self, "Sandbox", "CreateTask",
                                                 g_variant_new ("(@a{sv})", _gantry_options (options)), NULL,
                                                 cancellable, error));
}

/**
 * gantry_sandbox_create_task_async:
 * @self: a sandbox
 * @options: (nullable): a{sv}: "netns" s, "annotations" a{ss}, "rootfs" aa{sv}; sunk if floating
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_sandbox_create_task(), without blocking.
 */
void
gantry_sandbox_create_task_async (GantrySandbox *self, GVariant *options, GCancellable *cancellable,
                                  GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Sandbox", "CreateTask",
                             g_variant_new ("(@a{sv})", _gantry_options (options)), NULL,
                             gantry_sandbox_create_task_async, cancellable, callback, user_data);
}

/**
 * gantry_sandbox_create_task_finish:
 * @self: a sandbox
 * @result: the callback's
 * @error: why not
 *
 * Returns: the id of its process, or -1
 */
gint64
gantry_sandbox_create_task_finish (GantrySandbox *self, GAsyncResult *result, GError **error)
{
  return take_uint32 (_gantry_object_finish_value (self, gantry_sandbox_create_task_async, result, error));
}

/**
 * gantry_sandbox_start:
 * @self: a sandbox
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Starts what holds its namespaces.
 *
 * Returns: the id of its process, or -1
 */
gint64
gantry_sandbox_start (GantrySandbox *self, GCancellable *cancellable, GError **error)
{
  return take_uint32 (_gantry_object_call_value (self, "Sandbox", "Start", NULL, NULL, cancellable, error));
}

/**
 * gantry_sandbox_start_async:
 * @self: a sandbox
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_sandbox_start(), without blocking.
 */
void
gantry_sandbox_start_async (GantrySandbox *self, GCancellable *cancellable, GAsyncReadyCallback callback,
                            gpointer user_data)
{
  _gantry_object_call_async (self, "Sandbox", "Start", NULL, NULL, gantry_sandbox_start_async, cancellable,
                             callback, user_data);
}

/**
 * gantry_sandbox_start_finish:
 * @self: a sandbox
 * @result: the callback's
 * @error: why not
 *
 * Returns: the id of its process, or -1
 */
gint64
gantry_sandbox_start_finish (GantrySandbox *self, GAsyncResult *result, GError **error)
{
  return take_uint32 (_gantry_object_finish_value (self, gantry_sandbox_start_async, result, error));
}

/**
 * gantry_sandbox_stop:
 * @self: a sandbox
 * @timeout: seconds before it is killed; 0: 10
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Ends what holds its namespaces: SIGTERM, then SIGKILL to all that is in it. What has ended, or was never
 * there, is stopped.
 *
 * Returns: whether it has ended
 */
gboolean
gantry_sandbox_stop (GantrySandbox *self, guint timeout, GCancellable *cancellable, GError **error)
{
  return _gantry_object_call_nothing (self, "Sandbox", "Stop", g_variant_new ("(u)", timeout), NULL,
                                      cancellable, error);
}

/**
 * gantry_sandbox_stop_async:
 * @self: a sandbox
 * @timeout: seconds before it is killed; 0: 10
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_sandbox_stop(), without blocking.
 */
void
gantry_sandbox_stop_async (GantrySandbox *self, guint timeout, GCancellable *cancellable,
                           GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Sandbox", "Stop", g_variant_new ("(u)", timeout), NULL,
                             gantry_sandbox_stop_async, cancellable, callback, user_data);
}

/**
 * gantry_sandbox_stop_finish:
 * @self: a sandbox
 * @result: the callback's
 * @error: why not
 *
 * Returns: whether it has ended
 */
gboolean
gantry_sandbox_stop_finish (GantrySandbox *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_nothing (self, gantry_sandbox_stop_async, result, error);
}

/**
 * gantry_sandbox_wait:
 * @self: a sandbox
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Waits until what holds its namespaces has ended.
 *
 * Returns: its exit status, or -1
 */
gint64
gantry_sandbox_wait (GantrySandbox *self, GCancellable *cancellable, GError **error)
{
  return take_uint32 (_gantry_object_call_value (self, "Sandbox", "Wait", NULL, NULL, cancellable, error));
}

/**
 * gantry_sandbox_wait_async:
 * @self: a sandbox
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_sandbox_wait(), without blocking.
 */
void
gantry_sandbox_wait_async (GantrySandbox *self, GCancellable *cancellable, GAsyncReadyCallback callback,
                           gpointer user_data)
{
  _gantry_object_call_async (self, "Sandbox", "Wait", NULL, NULL, gantry_sandbox_wait_async, cancellable,
                             callback, user_data);
}

/**
 * gantry_sandbox_wait_finish:
 * @self: a sandbox
 * @result: the callback's
 * @error: why not
 *
 * Returns: its exit status, or -1
 */
gint64
gantry_sandbox_wait_finish (GantrySandbox *self, GAsyncResult *result, GError **error)
{
  return take_uint32 (_gantry_object_finish_value (self, gantry_sandbox_wait_async, result, error));
}

/**
 * gantry_sandbox_get_status:
 * @self: a sandbox
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Asks how it is.
 *
 * Returns: (transfer full): a{sv}: "state" s ("ready", "not-ready" or "absent"), "status" s, "pid" u,
 * "exit-status" u, "exited" x, "bundle" s, "created" x
 */
GVariant *
gantry_sandbox_get_status (GantrySandbox *self, GCancellable *cancellable, GError **error)
{
  return _gantry_object_call_value (self, "Sandbox", "GetStatus", NULL, NULL, cancellable, error);
}

/**
 * gantry_sandbox_get_status_async:
 * @self: a sandbox
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_sandbox_get_status(), without blocking.
 */
void
gantry_sandbox_get_status_async (GantrySandbox *self, GCancellable *cancellable, GAsyncReadyCallback callback,
                                 gpointer user_data)
{
  _gantry_object_call_async (self, "Sandbox", "GetStatus", NULL, NULL, gantry_sandbox_get_status_async,
                             cancellable, callback, user_data);
}

/**
 * gantry_sandbox_get_status_finish:
 * @self: a sandbox
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): a{sv}: "state" s ("ready", "not-ready" or "absent"), "status" s, "pid" u,
 * "exit-status" u, "exited" x, "bundle" s, "created" x
 */
GVariant *
gantry_sandbox_get_status_finish (GantrySandbox *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_value (self, gantry_sandbox_get_status_async, result, error);
}

/**
 * gantry_sandbox_get_platform:
 * @self: a sandbox
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Asks what can run in it.
 *
 * Returns: (transfer full): s: as "linux/arm64/v8"
 */
GVariant *
gantry_sandbox_get_platform (GantrySandbox *self, GCancellable *cancellable, GError **error)
{
  return _gantry_object_call_value (self, "Sandbox", "GetPlatform", NULL, NULL, cancellable, error);
}

/**
 * gantry_sandbox_get_platform_async:
 * @self: a sandbox
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_sandbox_get_platform(), without blocking.
 */
void
gantry_sandbox_get_platform_async (GantrySandbox *self, GCancellable *cancellable,
                                   GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Sandbox", "GetPlatform", NULL, NULL, gantry_sandbox_get_platform_async,
                             cancellable, callback, user_data);
}

/**
 * gantry_sandbox_get_platform_finish:
 * @self: a sandbox
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): s: as "linux/arm64/v8"
 */
GVariant *
gantry_sandbox_get_platform_finish (GantrySandbox *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_value (self, gantry_sandbox_get_platform_async, result, error);
}

/**
 * gantry_sandbox_get_stats:
 * @self: a sandbox
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Asks what it uses.
 *
 * Returns: (transfer full): a{sv}: sdk/gantry/runtime.h, stats
 */
GVariant *
gantry_sandbox_get_stats (GantrySandbox *self, GCancellable *cancellable, GError **error)
{
  return _gantry_object_call_value (self, "Sandbox", "GetStats", NULL, NULL, cancellable, error);
}

/**
 * gantry_sandbox_get_stats_async:
 * @self: a sandbox
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_sandbox_get_stats(), without blocking.
 */
void
gantry_sandbox_get_stats_async (GantrySandbox *self, GCancellable *cancellable, GAsyncReadyCallback callback,
                                gpointer user_data)
{
  _gantry_object_call_async (self, "Sandbox", "GetStats", NULL, NULL, gantry_sandbox_get_stats_async,
                             cancellable, callback, user_data);
}

/**
 * gantry_sandbox_get_stats_finish:
 * @self: a sandbox
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): a{sv}: sdk/gantry/runtime.h, stats
 */
GVariant *
gantry_sandbox_get_stats_finish (GantrySandbox *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_value (self, gantry_sandbox_get_stats_async, result, error);
}

/**
 * gantry_sandbox_inspect:
 * @self: a sandbox
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Asks what is known of it.
 *
 * Returns: (transfer full): a{sv}: the record, and "task" a{sv} if there is one
 */
GVariant *
gantry_sandbox_inspect (GantrySandbox *self, GCancellable *cancellable, GError **error)
{
  return _gantry_object_call_value (self, "Sandbox", "Inspect", NULL, NULL, cancellable, error);
}

/**
 * gantry_sandbox_inspect_async:
 * @self: a sandbox
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_sandbox_inspect(), without blocking.
 */
void
gantry_sandbox_inspect_async (GantrySandbox *self, GCancellable *cancellable, GAsyncReadyCallback callback,
                              gpointer user_data)
{
  _gantry_object_call_async (self, "Sandbox", "Inspect", NULL, NULL, gantry_sandbox_inspect_async,
                             cancellable, callback, user_data);
}

/**
 * gantry_sandbox_inspect_finish:
 * @self: a sandbox
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): a{sv}: the record, and "task" a{sv} if there is one
 */
GVariant *
gantry_sandbox_inspect_finish (GantrySandbox *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_value (self, gantry_sandbox_inspect_async, result, error);
}

/**
 * gantry_sandbox_update:
 * @self: a sandbox
 * @fields: a{sv}: "labels" a{ss}, "runtime" s, "runtime-options" (say), "spec" s (JSON, or (say)),
 * "extensions" a{s(say)}; sunk if floating
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Replaces what is given of its record. What runs does not change.
 *
 * Returns: whether it was done
 */
gboolean
gantry_sandbox_update (GantrySandbox *self, GVariant *fields, GCancellable *cancellable, GError **error)
{
  return _gantry_object_call_nothing (self, "Sandbox", "Update", g_variant_new ("(@a{sv})", fields), NULL,
                                      cancellable, error);
}

/**
 * gantry_sandbox_update_async:
 * @self: a sandbox
 * @fields: a{sv}: "labels" a{ss}, "runtime" s, "runtime-options" (say), "spec" s (JSON, or (say)),
 * "extensions" a{s(say)}; sunk if floating
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_sandbox_update(), without blocking.
 */
void
gantry_sandbox_update_async (GantrySandbox *self, GVariant *fields, GCancellable *cancellable,
                             GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Sandbox", "Update", g_variant_new ("(@a{sv})", fields), NULL,
                             gantry_sandbox_update_async, cancellable, callback, user_data);
}

/**
 * gantry_sandbox_update_finish:
 * @self: a sandbox
 * @result: the callback's
 * @error: why not
 *
 * Returns: whether it was done
 */
gboolean
gantry_sandbox_update_finish (GantrySandbox *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_nothing (self, gantry_sandbox_update_async, result, error);
}

/**
 * gantry_sandbox_set_labels:
 * @self: a sandbox
 * @labels: a{ss}; an empty value removes that label
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Sets labels.
 *
 * Returns: whether it was done
 */
gboolean
gantry_sandbox_set_labels (GantrySandbox *self, GVariant *labels, GCancellable *cancellable, GError **error)
{
  return _gantry_object_call_nothing (self, "Sandbox", "SetLabels", g_variant_new ("(@a{ss})", labels), NULL,
                                      cancellable, error);
}

/**
 * gantry_sandbox_set_labels_async:
 * @self: a sandbox
 * @labels: a{ss}; an empty value removes that label
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_sandbox_set_labels(), without blocking.
 */
void
gantry_sandbox_set_labels_async (GantrySandbox *self, GVariant *labels, GCancellable *cancellable,
                                 GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Sandbox", "SetLabels", g_variant_new ("(@a{ss})", labels), NULL,
                             gantry_sandbox_set_labels_async, cancellable, callback, user_data);
}

/**
 * gantry_sandbox_set_labels_finish:
 * @self: a sandbox
 * @result: the callback's
 * @error: why not
 *
 * Returns: whether it was done
 */
gboolean
gantry_sandbox_set_labels_finish (GantrySandbox *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_nothing (self, gantry_sandbox_set_labels_async, result, error);
}

/**
 * gantry_sandbox_shutdown:
 * @self: a sandbox
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Ends and removes what holds its namespaces; the record stays.
 *
 * Returns: whether it was done
 */
gboolean
gantry_sandbox_shutdown (GantrySandbox *self, GCancellable *cancellable, GError **error)
{
  return _gantry_object_call_nothing (self, "Sandbox", "Shutdown", NULL, NULL, cancellable, error);
}

/**
 * gantry_sandbox_shutdown_async:
 * @self: a sandbox
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_sandbox_shutdown(), without blocking.
 */
void
gantry_sandbox_shutdown_async (GantrySandbox *self, GCancellable *cancellable, GAsyncReadyCallback callback,
                               gpointer user_data)
{
  _gantry_object_call_async (self, "Sandbox", "Shutdown", NULL, NULL, gantry_sandbox_shutdown_async,
                             cancellable, callback, user_data);
}

/**
 * gantry_sandbox_shutdown_finish:
 * @self: a sandbox
 * @result: the callback's
 * @error: why not
 *
 * Returns: whether it was done
 */
gboolean
gantry_sandbox_shutdown_finish (GantrySandbox *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_nothing (self, gantry_sandbox_shutdown_async, result, error);
}

/**
 * gantry_sandbox_delete:
 * @self: a sandbox
 * @force: shut it down first
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Removes the record.
 *
 * Returns: whether it was done
 */
gboolean
gantry_sandbox_delete (GantrySandbox *self, gboolean force, GCancellable *cancellable, GError **error)
{
  return _gantry_object_call_nothing (self, "Sandbox", "Delete", g_variant_new ("(b)", force), NULL,
                                      cancellable, error);
}

/**
 * gantry_sandbox_delete_async:
 * @self: a sandbox
 * @force: shut it down first
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_sandbox_delete(), without blocking.
 */
void
gantry_sandbox_delete_async (GantrySandbox *self, gboolean force, GCancellable *cancellable,
                             GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Sandbox", "Delete", g_variant_new ("(b)", force), NULL,
                             gantry_sandbox_delete_async, cancellable, callback, user_data);
}

/**
 * gantry_sandbox_delete_finish:
 * @self: a sandbox
 * @result: the callback's
 * @error: why not
 *
 * Returns: whether it was done
 */
gboolean
gantry_sandbox_delete_finish (GantrySandbox *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_nothing (self, gantry_sandbox_delete_async, result, error);
}
