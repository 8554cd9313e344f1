/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gantry-container-private.h"
#include "gantry-object-private.h"
#include "gantry-process-private.h"
#include "gantry-stdio-private.h"

/**
 * GantryContainer:
 *
 * A container: a record with a spec and a snapshot. Its task is what runs.
 */
struct _GantryContainer
{
  GantryObject parent_instance;
  GVariant *info; /* (nullable): as listed */
};

G_DEFINE_FINAL_TYPE (GantryContainer, gantry_container, GANTRY_TYPE_OBJECT)

static void
gantry_container_finalize (GObject *object)
{
  GantryContainer *self = GANTRY_CONTAINER (object);

  g_clear_pointer (&self->info, g_variant_unref);
  G_OBJECT_CLASS (gantry_container_parent_class)->finalize (object);
}

static void
gantry_container_class_init (GantryContainerClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = gantry_container_finalize;
}

static void
gantry_container_init (GantryContainer *self)
{
}

GantryContainer *
_gantry_container_new (GDBusConnection *connection, const char *path, GVariant *info)
{
  GantryContainer *self = g_object_new (GANTRY_TYPE_CONTAINER, "connection", connection, "path", path, NULL);

  self->info = info != NULL ? g_variant_ref (info) : NULL;
  return self;
}

static GantryProcess *
take_process (GantryContainer *self, GVariant *value)
{
  if (value == NULL)
    return NULL;
  g_variant_unref (value);
  return gantry_container_get_init (self);
}

/**
 * gantry_container_get_info:
 * @self: a container
 *
 * Returns: (transfer none) (nullable): a{sv}: "id" s, "image" s, "labels" a{ss}, "status" s, "pid" u,
 * "exit-status" u and others, as they were when the container was listed; %NULL if it was not
 */
GVariant *
gantry_container_get_info (GantryContainer *self)
{
  g_return_val_if_fail (GANTRY_IS_CONTAINER (self), NULL);
  return self->info;
}

/**
 * gantry_container_get_init:
 * @self: a container
 *
 * Returns: (transfer full): the init process of its task, whether there is one or not
 */
GantryProcess *
gantry_container_get_init (GantryContainer *self)
{
  return gantry_container_get_exec (self, "");
}

/**
 * gantry_container_get_exec:
 * @self: a container
 * @exec_id: the id of a process
 *
 * Returns: (transfer full): that process of its task, whether there is one or not
 */
GantryProcess *
gantry_container_get_exec (GantryContainer *self, const char *exec_id)
{
  g_return_val_if_fail (GANTRY_IS_CONTAINER (self), NULL);
  return _gantry_process_new (gantry_object_get_connection (GANTRY_OBJECT (self)),
                              gantry_object_get_path (GANTRY_OBJECT (self)), exec_id);
}

/**
 * gantry_container_exec:
 * @self: the container
 * @exec_id: a new id
 * @options: (nullable): a{sv}: "args" as, "env" as, "user" s, "cwd" s, "privileged" b
 * @stdio: (nullable): its streams; %NULL: /dev/null
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Prepares one more process in the running task.
 *
 * Returns: (transfer full): the process, to be started
 */
GantryProcess *
gantry_container_exec (GantryContainer *self, const char *exec_id, GVariant *options, GantryStdio *stdio,
                       GCancellable *cancellable, GError **error)
{
  GUnixFDList *fds = _gantry_stdio_get_fds (stdio);

  return _gantry_object_call_nothing (self, "Task", "Exec",
                                      g_variant_new ("(s@a{sv}@ah)", exec_id,
                                                     _gantry_stdio_add_options (stdio, options),
                                                     _gantry_handles (fds)),
                                      fds, cancellable, error)
             ? gantry_container_get_exec (self, exec_id)
             : NULL;
}

/**
 * gantry_container_exec_async:
 * @self: the container
 * @exec_id: a new id
 * @options: (nullable): a{sv}: "args" as, "env" as, "user" s, "cwd" s, "privileged" b
 * @stdio: (nullable): its streams; %NULL: /dev/null
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_container_exec(), without blocking. Of the answer only whether it worked is told: take the
 * process with gantry_container_get_exec().
 */
void
gantry_container_exec_async (GantryContainer *self, const char *exec_id, GVariant *options,
                             GantryStdio *stdio, GCancellable *cancellable, GAsyncReadyCallback callback,
                             gpointer user_data)
{
  GUnixFDList *fds = _gantry_stdio_get_fds (stdio);

  _gantry_object_call_async (self, "Task", "Exec",
                             g_variant_new ("(s@a{sv}@ah)", exec_id,
                                            _gantry_stdio_add_options (stdio, options),
                                            _gantry_handles (fds)),
                             fds, gantry_container_exec_async, cancellable, callback, user_data);
}

/**
 * gantry_container_exec_finish:
 * @self: the container
 * @result: the callback's
 * @error: why not
 *
 * Returns: whether it was prepared
 */
gboolean
gantry_container_exec_finish (GantryContainer *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_nothing (self, gantry_container_exec_async, result, error);
}

/**
 * gantry_container_inspect:
 * @self: the container
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Asks for all that is known of the container.
 *
 * Returns: (transfer full): a{sv}: "id" s, "image" s, "spec" s (JSON), "labels" a{ss}, "task" a{sv} and
 * others
 */
GVariant *
gantry_container_inspect (GantryContainer *self, GCancellable *cancellable, GError **error)
{
  return _gantry_object_call_value (self, "Container", "Inspect", NULL, NULL, cancellable, error);
}

/**
 * gantry_container_inspect_async:
 * @self: the container
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_container_inspect(), without blocking.
 */
void
gantry_container_inspect_async (GantryContainer *self, GCancellable *cancellable,
                                GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Container", "Inspect", NULL, NULL, gantry_container_inspect_async,
                             cancellable, callback, user_data);
}

/**
 * gantry_container_inspect_finish:
 * @self: the container
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): a{sv}: "id" s, "image" s, "spec" s (JSON), "labels" a{ss}, "task" a{sv} and
 * others
 */
GVariant *
gantry_container_inspect_finish (GantryContainer *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_value (self, gantry_container_inspect_async, result, error);
}

/**
 * gantry_container_delete:
 * @self: the container
 * @force: kill what runs in it first
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Removes the container and its snapshot.
 *
 * Returns: whether it was done
 */
gboolean
gantry_container_delete (GantryContainer *self, gboolean force, GCancellable *cancellable, GError **error)
{
  return _gantry_object_call_nothing (self, "Container", "Delete", g_variant_new ("(b)", force), NULL,
                                      cancellable, error);
}

/**
 * gantry_container_delete_async:
 * @self: the container
 * @force: kill what runs in it first
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_container_delete(), without blocking.
 */
void
gantry_container_delete_async (GantryContainer *self, gboolean force, GCancellable *cancellable,
                               GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Container", "Delete", g_variant_new ("(b)", force), NULL,
                             gantry_container_delete_async, cancellable, callback, user_data);
}

/**
 * gantry_container_delete_finish:
 * @self: the container
 * @result: the callback's
 * @error: why not
 *
 * Returns: whether it was done
 */
gboolean
gantry_container_delete_finish (GantryContainer *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_nothing (self, gantry_container_delete_async, result, error);
}

/**
 * gantry_container_set_labels:
 * @self: the container
 * @labels: a{ss}; an empty value removes that label
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Sets labels.
 *
 * Returns: whether it was done
 */
gboolean
gantry_container_set_labels (GantryContainer *self, GVariant *labels, GCancellable *cancellable,
                             GError **error)
{
  return _gantry_object_call_nothing (self, "Container", "SetLabels", g_variant_new ("(@a{ss})", labels),
                                      NULL, cancellable, error);
}

/**
 * gantry_container_set_labels_async:
 * @self: the container
 * @labels: a{ss}; an empty value removes that label
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_container_set_labels(), without blocking.
 */
void
gantry_container_set_labels_async (GantryContainer *self, GVariant *labels, GCancellable *cancellable,
                                   GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Container", "SetLabels", g_variant_new ("(@a{ss})", labels), NULL,
                             gantry_container_set_labels_async, cancellable, callback, user_data);
}

/**
 * gantry_container_set_labels_finish:
 * @self: the container
 * @result: the callback's
 * @error: why not
 *
 * Returns: whether it was done
 */
gboolean
gantry_container_set_labels_finish (GantryContainer *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_nothing (self, gantry_container_set_labels_async, result, error);
}

/**
 * gantry_container_create_task:
 * @self: the container
 * @stdio: (nullable): the streams of its init process; %NULL: /dev/null
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Makes the task: its init process exists and waits for gantry_process_start().
 *
 * Returns: (transfer full): the init process, to be started
 */
GantryProcess *
gantry_container_create_task (GantryContainer *self, GantryStdio *stdio, GCancellable *cancellable,
                              GError **error)
{
  return take_process (
      self, _gantry_object_call_value (self, "Container", "CreateTask",
                                       g_variant_new ("(@a{sv}@ah)", _gantry_stdio_add_options (stdio, NULL),
                                                      _gantry_handles (_gantry_stdio_get_fds (stdio))),
                                       _gantry_stdio_get_fds (stdio), cancellable, error));
}

/**
 * gantry_container_create_task_async:
 * @self: the container
 * @stdio: (nullable): the streams of its init process; %NULL: /dev/null
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_container_create_task(), without blocking.
 */
void
gantry_container_create_task_async (GantryContainer *self, GantryStdio *stdio, GCancellable *cancellable,
                                    GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Container", "CreateTask",
                             g_variant_new ("(@a{sv}@ah)", _gantry_stdio_add_options (stdio, NULL),
                                            _gantry_handles (_gantry_stdio_get_fds (stdio))),
                             _gantry_stdio_get_fds (stdio), gantry_container_create_task_async, cancellable,
                             callback, user_data);
}

/**
 * gantry_container_create_task_finish:
 * @self: the container
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): the init process, to be started
 */
GantryProcess *
gantry_container_create_task_finish (GantryContainer *self, GAsyncResult *result, GError **error)
{
  return take_process (self,
                       _gantry_object_finish_value (self, gantry_container_create_task_async, result, error));
}

/**
 * gantry_container_open_log:
 * @self: the container
 * @previous: what was moved away when the log had grown large
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Opens what a container with gantry_stdio_new_logged() has written. A line is a time, "stdout" or "stderr",
 * "F" (a whole line) or "P" (a part of one), and the text.
 *
 * Returns: a descriptor to read from, which the caller closes; -1 with @error set
 */
int
gantry_container_open_log (GantryContainer *self, gboolean previous, GCancellable *cancellable,
                           GError **error)
{
  return _gantry_object_call_fd (self, "Container", "OpenLog", g_variant_new ("(b)", previous), cancellable,
                                 error);
}

/**
 * gantry_container_open_log_async:
 * @self: the container
 * @previous: what was moved away when the log had grown large
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_container_open_log(), without blocking.
 */
void
gantry_container_open_log_async (GantryContainer *self, gboolean previous, GCancellable *cancellable,
                                 GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Container", "OpenLog", g_variant_new ("(b)", previous), NULL,
                             gantry_container_open_log_async, cancellable, callback, user_data);
}

/**
 * gantry_container_open_log_finish:
 * @self: the container
 * @result: the callback's
 * @error: why not
 *
 * Returns: a descriptor to read from, which the caller closes; -1 with @error set
 */
int
gantry_container_open_log_finish (GantryContainer *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_fd (self, gantry_container_open_log_async, result, error);
}

/**
 * gantry_container_pause:
 * @self: the container
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Freezes the task.
 *
 * Returns: whether it was done
 */
gboolean
gantry_container_pause (GantryContainer *self, GCancellable *cancellable, GError **error)
{
  return _gantry_object_call_nothing (self, "Task", "Pause", NULL, NULL, cancellable, error);
}

/**
 * gantry_container_pause_async:
 * @self: the container
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_container_pause(), without blocking.
 */
void
gantry_container_pause_async (GantryContainer *self, GCancellable *cancellable, GAsyncReadyCallback callback,
                              gpointer user_data)
{
  _gantry_object_call_async (self, "Task", "Pause", NULL, NULL, gantry_container_pause_async, cancellable,
                             callback, user_data);
}

/**
 * gantry_container_pause_finish:
 * @self: the container
 * @result: the callback's
 * @error: why not
 *
 * Returns: whether it was done
 */
gboolean
gantry_container_pause_finish (GantryContainer *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_nothing (self, gantry_container_pause_async, result, error);
}

/**
 * gantry_container_resume:
 * @self: the container
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Thaws the task.
 *
 * Returns: whether it was done
 */
gboolean
gantry_container_resume (GantryContainer *self, GCancellable *cancellable, GError **error)
{
  return _gantry_object_call_nothing (self, "Task", "Resume", NULL, NULL, cancellable, error);
}

/**
 * gantry_container_resume_async:
 * @self: the container
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_container_resume(), without blocking.
 */
void
gantry_container_resume_async (GantryContainer *self, GCancellable *cancellable, GAsyncReadyCallback callback,
                               gpointer user_data)
{
  _gantry_object_call_async (self, "Task", "Resume", NULL, NULL, gantry_container_resume_async, cancellable,
                             callback, user_data);
}

/**
 * gantry_container_resume_finish:
 * @self: the container
 * @result: the callback's
 * @error: why not
 *
 * Returns: whether it was done
 */
gboolean
gantry_container_resume_finish (GantryContainer *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_nothing (self, gantry_container_resume_async, result, error);
}

/**
 * gantry_container_list_pids:
 * @self: the container
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Asks which processes there are.
 *
 * Returns: (transfer full): a(us): pid and exec id of each process
 */
GVariant *
gantry_container_list_pids (GantryContainer *self, GCancellable *cancellable, GError **error)
{
  return _gantry_object_call_value (self, "Task", "ListPids", NULL, NULL, cancellable, error);
}

/**
 * gantry_container_list_pids_async:
 * @self: the container
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_container_list_pids(), without blocking.
 */
void
gantry_container_list_pids_async (GantryContainer *self, GCancellable *cancellable,
                                  GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Task", "ListPids", NULL, NULL, gantry_container_list_pids_async,
                             cancellable, callback, user_data);
}

/**
 * gantry_container_list_pids_finish:
 * @self: the container
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): a(us): pid and exec id of each process
 */
GVariant *
gantry_container_list_pids_finish (GantryContainer *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_value (self, gantry_container_list_pids_async, result, error);
}

/**
 * gantry_container_get_stats:
 * @self: the container
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Asks what the task uses.
 *
 * Returns: (transfer full): a{sv}: "cpu-usage-ns" t, "memory-usage" t and others
 */
GVariant *
gantry_container_get_stats (GantryContainer *self, GCancellable *cancellable, GError **error)
{
  return _gantry_object_call_value (self, "Task", "GetStats", NULL, NULL, cancellable, error);
}

/**
 * gantry_container_get_stats_async:
 * @self: the container
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_container_get_stats(), without blocking.
 */
void
gantry_container_get_stats_async (GantryContainer *self, GCancellable *cancellable,
                                  GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Task", "GetStats", NULL, NULL, gantry_container_get_stats_async,
                             cancellable, callback, user_data);
}

/**
 * gantry_container_get_stats_finish:
 * @self: the container
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): a{sv}: "cpu-usage-ns" t, "memory-usage" t and others
 */
GVariant *
gantry_container_get_stats_finish (GantryContainer *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_value (self, gantry_container_get_stats_async, result, error);
}
