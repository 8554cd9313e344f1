/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gantry-object-private.h"
#include "gantry-process-private.h"
#include "gantry-stdio-private.h"

/**
 * GantryProcess:
 *
 * A process of a container: its init process, or one more ("exec"). Its path is that of the container.
 */
struct _GantryProcess
{
  GantryObject parent_instance;
  char *exec_id;
};

G_DEFINE_FINAL_TYPE (GantryProcess, gantry_process, GANTRY_TYPE_OBJECT)

static void
gantry_process_finalize (GObject *object)
{
  g_free (GANTRY_PROCESS (object)->exec_id);
  G_OBJECT_CLASS (gantry_process_parent_class)->finalize (object);
}

static void
gantry_process_class_init (GantryProcessClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = gantry_process_finalize;
}

static void
gantry_process_init (GantryProcess *self)
{
}

GantryProcess *
_gantry_process_new (GDBusConnection *connection, const char *path, const char *exec_id)
{
  GantryProcess *self = g_object_new (GANTRY_TYPE_PROCESS, "connection", connection, "path", path, NULL);

  self->exec_id = g_strdup (exec_id);
  return self;
}

/* @value (transfer full, nullable) is a 32-bit number. */
static gint64
take_number (GVariant *value)
{
  gint64 number = value != NULL ? (gint64)g_variant_get_uint32 (value) : -1;

  g_clear_pointer (&value, g_variant_unref);
  return number;
}

/**
 * gantry_process_get_exec_id:
 * @self: a process
 *
 * Returns: (transfer none): "" for the init process
 */
const char *
gantry_process_get_exec_id (GantryProcess *self)
{
  g_return_val_if_fail (GANTRY_IS_PROCESS (self), NULL);
  return self->exec_id;
}

/**
 * gantry_process_start:
 * @self: the process
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Starts the process.
 *
 * Returns: its pid, or -1
 */
gint64
gantry_process_start (GantryProcess *self, GCancellable *cancellable, GError **error)
{
  return take_number (_gantry_object_call_value (self, "Task", "Start", g_variant_new ("(s)", self->exec_id),
                                                 NULL, cancellable, error));
}

/**
 * gantry_process_start_async:
 * @self: the process
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_process_start(), without blocking.
 */
void
gantry_process_start_async (GantryProcess *self, GCancellable *cancellable, GAsyncReadyCallback callback,
                            gpointer user_data)
{
  _gantry_object_call_async (self, "Task", "Start", g_variant_new ("(s)", self->exec_id), NULL,
                             gantry_process_start_async, cancellable, callback, user_data);
}

/**
 * gantry_process_start_finish:
 * @self: the process
 * @result: the callback's
 * @error: why not
 *
 * Returns: its pid, or -1
 */
gint64
gantry_process_start_finish (GantryProcess *self, GAsyncResult *result, GError **error)
{
  return take_number (_gantry_object_finish_value (self, gantry_process_start_async, result, error));
}

/**
 * gantry_process_wait:
 * @self: the process
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Waits for its end.
 *
 * Returns: its exit status, 0 to 255 (128 + signal), or -1
 */
gint64
gantry_process_wait (GantryProcess *self, GCancellable *cancellable, GError **error)
{
  return take_number (_gantry_object_call_value (self, "Task", "Wait", g_variant_new ("(s)", self->exec_id),
                                                 NULL, cancellable, error));
}

/**
 * gantry_process_wait_async:
 * @self: the process
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_process_wait(), without blocking.
 */
void
gantry_process_wait_async (GantryProcess *self, GCancellable *cancellable, GAsyncReadyCallback callback,
                           gpointer user_data)
{
  _gantry_object_call_async (self, "Task", "Wait", g_variant_new ("(s)", self->exec_id), NULL,
                             gantry_process_wait_async, cancellable, callback, user_data);
}

/**
 * gantry_process_wait_finish:
 * @self: the process
 * @result: the callback's
 * @error: why not
 *
 * Returns: its exit status, 0 to 255 (128 + signal), or -1
 */
gint64
gantry_process_wait_finish (GantryProcess *self, GAsyncResult *result, GError **error)
{
  return take_number (_gantry_object_finish_value (self, gantry_process_wait_async, result, error));
}

/**
 * gantry_process_kill:
 * @self: the process
 * @signal: a number
 * @all: to every process of the task
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Sends a signal.
 *
 * Returns: whether it was done
 */
gboolean
gantry_process_kill (GantryProcess *self, guint signal, gboolean all, GCancellable *cancellable,
                     GError **error)
{
  return _gantry_object_call_nothing (self, "Task", "Kill",
                                      g_variant_new ("(sub)", self->exec_id, (guint32)signal, all), NULL,
                                      cancellable, error);
}

/**
 * gantry_process_kill_async:
 * @self: the process
 * @signal: a number
 * @all: to every process of the task
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_process_kill(), without blocking.
 */
void
gantry_process_kill_async (GantryProcess *self, guint signal, gboolean all, GCancellable *cancellable,
                           GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Task", "Kill",
                             g_variant_new ("(sub)", self->exec_id, (guint32)signal, all), NULL,
                             gantry_process_kill_async, cancellable, callback, user_data);
}

/**
 * gantry_process_kill_finish:
 * @self: the process
 * @result: the callback's
 * @error: why not
 *
 * Returns: whether it was done
 */
gboolean
gantry_process_kill_finish (GantryProcess *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_nothing (self, gantry_process_kill_async, result, error);
}

/**
 * gantry_process_resize:
 * @self: the process
 * @width: columns
 * @height: rows
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Sets the size of its terminal.
 *
 * Returns: whether it was done
 */
gboolean
gantry_process_resize (GantryProcess *self, guint width, guint height, GCancellable *cancellable,
                       GError **error)
{
  return _gantry_object_call_nothing (self, "Task", "Resize",
                                      g_variant_new ("(suu)", self->exec_id, (guint32)width, (guint32)height),
                                      NULL, cancellable, error);
}

/**
 * gantry_process_resize_async:
 * @self: the process
 * @width: columns
 * @height: rows
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_process_resize(), without blocking.
 */
void
gantry_process_resize_async (GantryProcess *self, guint width, guint height, GCancellable *cancellable,
                             GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Task", "Resize",
                             g_variant_new ("(suu)", self->exec_id, (guint32)width, (guint32)height), NULL,
                             gantry_process_resize_async, cancellable, callback, user_data);
}

/**
 * gantry_process_resize_finish:
 * @self: the process
 * @result: the callback's
 * @error: why not
 *
 * Returns: whether it was done
 */
gboolean
gantry_process_resize_finish (GantryProcess *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_nothing (self, gantry_process_resize_async, result, error);
}

/**
 * gantry_process_close_stdin:
 * @self: the process
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Ends its standard input.
 *
 * Returns: whether it was done
 */
gboolean
gantry_process_close_stdin (GantryProcess *self, GCancellable *cancellable, GError **error)
{
  return _gantry_object_call_nothing (self, "Task", "CloseStdin", g_variant_new ("(s)", self->exec_id), NULL,
                                      cancellable, error);
}

/**
 * gantry_process_close_stdin_async:
 * @self: the process
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_process_close_stdin(), without blocking.
 */
void
gantry_process_close_stdin_async (GantryProcess *self, GCancellable *cancellable,
                                  GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Task", "CloseStdin", g_variant_new ("(s)", self->exec_id), NULL,
                             gantry_process_close_stdin_async, cancellable, callback, user_data);
}

/**
 * gantry_process_close_stdin_finish:
 * @self: the process
 * @result: the callback's
 * @error: why not
 *
 * Returns: whether it was done
 */
gboolean
gantry_process_close_stdin_finish (GantryProcess *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_nothing (self, gantry_process_close_stdin_async, result, error);
}

/**
 * gantry_process_attach:
 * @self: the process
 * @stdio: descriptors
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Connects descriptors to kept streams, see gantry_stdio_new_kept().
 *
 * Returns: whether it was done
 */
gboolean
gantry_process_attach (GantryProcess *self, GantryStdio *stdio, GCancellable *cancellable, GError **error)
{
  return _gantry_object_call_nothing (self, "Task", "Attach",
                                      g_variant_new ("(s@ah)", self->exec_id,
                                                     _gantry_handles (_gantry_stdio_get_fds (stdio))),
                                      _gantry_stdio_get_fds (stdio), cancellable, error);
}

/**
 * gantry_process_attach_async:
 * @self: the process
 * @stdio: descriptors
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_process_attach(), without blocking.
 */
void
gantry_process_attach_async (GantryProcess *self, GantryStdio *stdio, GCancellable *cancellable,
                             GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Task", "Attach",
                             g_variant_new ("(s@ah)", self->exec_id,
                                            _gantry_handles (_gantry_stdio_get_fds (stdio))),
                             _gantry_stdio_get_fds (stdio), gantry_process_attach_async, cancellable,
                             callback, user_data);
}

/**
 * gantry_process_attach_finish:
 * @self: the process
 * @result: the callback's
 * @error: why not
 *
 * Returns: whether it was done
 */
gboolean
gantry_process_attach_finish (GantryProcess *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_nothing (self, gantry_process_attach_async, result, error);
}

/**
 * gantry_process_delete:
 * @self: the process
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Removes what is left of a process that has ended; of the init process, the task.
 *
 * Returns: its exit status, or -1
 */
gint64
gantry_process_delete (GantryProcess *self, GCancellable *cancellable, GError **error)
{
  return take_number (_gantry_object_call_value (self, "Task", "Delete", g_variant_new ("(s)", self->exec_id),
                                                 NULL, cancellable, error));
}

/**
 * gantry_process_delete_async:
 * @self: the process
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_process_delete(), without blocking.
 */
void
gantry_process_delete_async (GantryProcess *self, GCancellable *cancellable, GAsyncReadyCallback callback,
                             gpointer user_data)
{
  _gantry_object_call_async (self, "Task", "Delete", g_variant_new ("(s)", self->exec_id), NULL,
                             gantry_process_delete_async, cancellable, callback, user_data);
}

/**
 * gantry_process_delete_finish:
 * @self: the process
 * @result: the callback's
 * @error: why not
 *
 * Returns: its exit status, or -1
 */
gint64
gantry_process_delete_finish (GantryProcess *self, GAsyncResult *result, GError **error)
{
  return take_number (_gantry_object_finish_value (self, gantry_process_delete_async, result, error));
}
