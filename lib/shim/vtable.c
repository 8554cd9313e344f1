/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The runtime's slots but create: each is one call of the task's shim, or is answered from what its events
 * have told. */
#include "shim-runtime.h"

#include <string.h>

/* Asked here because shims differ in what they say to it. */
static gboolean
check_startable (Task *task, const char *exec_id, GError **error)
{
  gboolean started;
  Proc *proc;

  g_mutex_lock (&task->runtime->lock);
  proc = task_find (task, exec_id);
  started = proc != NULL && proc->status != GANTRY_TASK_CREATED && proc->status != GANTRY_TASK_UNKNOWN;
  g_mutex_unlock (&task->runtime->lock);
  return !started || gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "process was started already");
}

static gboolean
shim_start (GantryRuntime *runtime, const char *ns, const char *id, const char *exec_id,
            GantryProcess **ret_process, GCancellable *cancellable, GError **error)
{
  ShimRuntime *self = (ShimRuntime *)runtime;
  g_autoptr (Task) task = shim_runtime_lookup (self, ns, id, error);
  g_autoptr (GantryProcess) process = NULL;
  g_autoptr (GBytes) reply = NULL;
  Proc *proc;

  if (task == NULL || !check_startable (task, exec_id, error)
      || !task_call (task, SHIM_TASK_SERVICE, "Start", exec_id, NULL, NULL, &reply, cancellable, error))
    return FALSE;
  g_mutex_lock (&self->lock);
  proc = task_find (task, exec_id);
  if (proc != NULL)
    {
      /* A native shim has told it already; a restored task has its pid only now. */
      task_note_start (task, proc, shim_read_pid (reply));
      if (proc->status != GANTRY_TASK_STOPPED)
        proc->pid = shim_read_pid (reply);
      process = task_describe (task, proc);
    }
  g_mutex_unlock (&self->lock);
  if (process == NULL)
    return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "process %s does not exist", exec_id);
  if (!self->native)
    relay_start (task, exec_id);
  if (!self->native && exec_id != NULL && exec_id[0] != '\0')
    task_await_exit (task, exec_id);
  if (ret_process != NULL)
    *ret_process = g_steal_pointer (&process);
  return TRUE;
}

/* Of two who make the same exec at once, the second must not touch what the first has on disk. */
static gboolean
claim_exec (Task *task, const char *exec_id, GError **error)
{
  gboolean taken;

  g_mutex_lock (&task->runtime->lock);
  taken = task_find (task, exec_id) != NULL
          || g_ptr_array_find_with_equal_func (task->claimed, exec_id, g_str_equal, NULL);
  if (!taken)
    g_ptr_array_add (task->claimed, g_strdup (exec_id));
  g_mutex_unlock (&task->runtime->lock);
  return !taken || gantry_throw (error, GANTRY_ERROR_ALREADY_EXISTS, "id %s: already exists", exec_id);
}

static void
unclaim_exec (Task *task, const char *exec_id)
{
  guint at;

  g_mutex_lock (&task->runtime->lock);
  if (g_ptr_array_find_with_equal_func (task->claimed, exec_id, g_str_equal, &at))
    g_ptr_array_remove_index_fast (task->claimed, at);
  g_mutex_unlock (&task->runtime->lock);
}

/* @stdio: (nullable): in the words of the shim. */
static gboolean
call_exec (Task *task, const char *exec_id, GBytes *process, GantryStdio *stdio, GCancellable *cancellable,
           GError **error)
{
  PbBuffer body = { 0 };
  gsize any;

  pb_put_varint (&body, 3, stdio != NULL && stdio->terminal);
  shim_put_stdio (&body, 4, stdio);
  any = pb_begin (&body, 7);
  pb_put_string (&body, 1, "types.containerd.io/opencontainers/runtime-spec/1/Process");
  pb_put_bytes (&body, 2, g_bytes_get_data (process, NULL), g_bytes_get_size (process));
  pb_end (&body, any);
  return task_call (task, SHIM_TASK_SERVICE, "Exec", exec_id, &body, stdio != NULL ? stdio->fds : NULL, NULL,
                    cancellable, error);
}

/* Of a shim that is not native: what a restart has to find is on disk before the shim knows of the exec. */
static gboolean
exec_foreign (Task *task, const char *exec_id, GBytes *process, GantryStdio *stdio, Streams **ret_streams,
              GCancellable *cancellable, GError **error)
{
  g_autoptr (GantryStdio) translated = NULL;
  Streams *streams = NULL;

  if (!record_stdio (task, exec_id, stdio, error))
    return FALSE;
  if (stdio != NULL)
    translated = relay_open (task, exec_id, stdio, &streams, error);
  if ((stdio == NULL || translated != NULL)
      && call_exec (task, exec_id, process, translated, cancellable, error))
    {
      *ret_streams = streams;
      return TRUE;
    }
  streams_unref (streams);
  relay_remove (task, exec_id);
  record_remove (task, exec_id);
  return FALSE;
}

static void
add_exec (Task *task, const char *exec_id, GantryStdio *stdio, Streams *streams)
{
  g_autoptr (GantryProcess) described = NULL;
  Proc *proc;

  g_mutex_lock (&task->runtime->lock);
  proc = task_add (task, exec_id, stdio);
  proc->streams = streams;
  described = task_describe (task, proc);
  shim_runtime_tell (task->runtime, GANTRY_TASK_EVENT_EXEC_ADDED, described);
  g_mutex_unlock (&task->runtime->lock);
}

static gboolean
shim_exec (GantryRuntime *runtime, const char *ns, const char *id, const char *exec_id, GBytes *process,
           GantryStdio *stdio, GCancellable *cancellable, GError **error)
{
  g_autoptr (Task) task = shim_runtime_lookup ((ShimRuntime *)runtime, ns, id, error);
  Streams *streams = NULL;
  gboolean ok;

  if (task == NULL)
    return FALSE;
  if (!shim_runtime_is_name (exec_id))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "\"%s\" is no name for an exec",
                         exec_id != NULL ? exec_id : "");
  if (!shim_runtime_check_object (process, "process", exec_id, error))
    return FALSE;
  if (task->runtime->native)
    ok = call_exec (task, exec_id, process, stdio, cancellable, error);
  else if (!claim_exec (task, exec_id, error))
    return FALSE;
  else
    ok = exec_foreign (task, exec_id, process, stdio, &streams, cancellable, error);
  if (ok)
    add_exec (task, exec_id, stdio, streams);
  if (!task->runtime->native)
    unclaim_exec (task, exec_id);
  return ok;
}

static gboolean
check_removable (Task *task, const char *exec_id, GantryProcess **ret_process, GError **error)
{
  Proc *proc;

  g_mutex_lock (&task->runtime->lock);
  proc = task_find (task, exec_id);
  if (proc == NULL)
    gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "process %s does not exist: not found", exec_id);
  else if (proc->status == GANTRY_TASK_RUNNING || proc->status == GANTRY_TASK_PAUSED)
    {
      gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                    "task %s must be stopped before deletion: running: failed precondition", task->id);
      proc = NULL;
    }
  else
    *ret_process = task_describe (task, proc);
  g_mutex_unlock (&task->runtime->lock);
  return proc != NULL;
}

static gboolean
shim_remove (GantryRuntime *runtime, const char *ns, const char *id, const char *exec_id,
             GantryProcess **ret_process, GCancellable *cancellable, GError **error)
{
  ShimRuntime *self = (ShimRuntime *)runtime;
  g_autoptr (Task) task = shim_runtime_lookup (self, ns, id, error);
  g_autoptr (GantryProcess) process = NULL;
  gboolean init = exec_id == NULL || exec_id[0] == '\0';

  if (task == NULL || !check_removable (task, exec_id, &process, error))
    return FALSE;
  if (task->link != NULL)
    {
      g_autoptr (GError) local = NULL;

      if (init)
        {
          g_mutex_lock (&self->lock);
          task->removed = TRUE; /* its shim may go with it */
          g_mutex_unlock (&self->lock);
        }
      if (!task_call (task, SHIM_TASK_SERVICE, "Delete", exec_id, NULL, NULL, NULL, cancellable, &local)
          && !gantry_error_is (local, GANTRY_ERROR_NOT_FOUND)
          && !gantry_error_is (local, GANTRY_ERROR_UNAVAILABLE))
        {
          g_mutex_lock (&self->lock);
          task->removed = FALSE;
          g_mutex_unlock (&self->lock);
          g_propagate_error (error, g_steal_pointer (&local));
          return FALSE;
        }
    }
  if (init)
    {
      task_shut_down (task);
      task_forget (task);
    }
  else if (!self->native)
    {
      relay_remove (task, exec_id);
      record_remove (task, exec_id);
    }
  g_mutex_lock (&self->lock);
  shim_runtime_tell (self, GANTRY_TASK_EVENT_DELETE, process);
  if (!init)
    task_drop (task, exec_id);
  g_mutex_unlock (&self->lock);
  if (ret_process != NULL)
    *ret_process = g_steal_pointer (&process);
  return TRUE;
}

static gboolean
shim_kill (GantryRuntime *runtime, const char *ns, const char *id, const char *exec_id, guint signal,
           gboolean all, GCancellable *cancellable, GError **error)
{
  g_autoptr (Task) task = shim_runtime_lookup ((ShimRuntime *)runtime, ns, id, error);
  PbBuffer body = { 0 };

  if (task == NULL)
    return FALSE;
  if (task->link == NULL)
    return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "process already finished: not found");
  pb_put_varint (&body, 3, signal);
  pb_put_varint (&body, 4, all);
  return task_call (task, SHIM_TASK_SERVICE, "Kill", exec_id, &body, NULL, NULL, cancellable, error);
}

static gboolean
shim_state (GantryRuntime *runtime, const char *ns, const char *id, const char *exec_id,
            GantryProcess **ret_process, GCancellable *cancellable, GError **error)
{
  ShimRuntime *self = (ShimRuntime *)runtime;
  g_autoptr (Task) task = shim_runtime_lookup (self, ns, id, error);
  GantryProcess *process = NULL;
  Proc *proc;

  if (task == NULL)
    return FALSE;
  g_mutex_lock (&self->lock);
  proc = task_find (task, exec_id);
  if (proc != NULL)
    process = task_describe (task, proc);
  g_mutex_unlock (&self->lock);
  if (process == NULL)
    return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "process %s does not exist: not found",
                         exec_id != NULL && exec_id[0] != '\0' ? exec_id : id);
  *ret_process = process;
  return TRUE;
}

static gboolean
shim_list (GantryRuntime *runtime, const char *ns, GPtrArray **ret_processes, GCancellable *cancellable,
           GError **error)
{
  ShimRuntime *self = (ShimRuntime *)runtime;
  GPtrArray *processes = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_process_unref);
  GHashTableIter iter;
  gpointer value;

  g_mutex_lock (&self->lock);
  g_hash_table_iter_init (&iter, self->tasks);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    {
      Task *task = value;
      Proc *proc = task_find (task, "");

      if (proc != NULL && (ns == NULL || strcmp (ns, task->ns) == 0))
        g_ptr_array_add (processes, task_describe (task, proc));
    }
  g_mutex_unlock (&self->lock);
  *ret_processes = processes;
  return TRUE;
}

static gboolean
shim_list_execs (GantryRuntime *runtime, const char *ns, const char *id, GPtrArray **ret_processes,
                 GCancellable *cancellable, GError **error)
{
  ShimRuntime *self = (ShimRuntime *)runtime;
  g_autoptr (Task) task = shim_runtime_lookup (self, ns, id, error);
  GPtrArray *processes;

  if (task == NULL)
    return FALSE;
  processes = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_process_unref);
  g_mutex_lock (&self->lock);
  for (guint i = 0; i < task->processes->len; i++)
    {
      Proc *proc = g_ptr_array_index (task->processes, i);

      if (proc->exec_id[0] != '\0')
        g_ptr_array_add (processes, task_describe (task, proc));
    }
  g_mutex_unlock (&self->lock);
  *ret_processes = processes;
  return TRUE;
}

static gboolean
shim_stats (GantryRuntime *runtime, const char *ns, const char *id, GVariant **ret_stats,
            GCancellable *cancellable, GError **error)
{
  g_autoptr (Task) task = shim_runtime_lookup ((ShimRuntime *)runtime, ns, id, error);
  g_autoptr (GBytes) reply = NULL;
  GVariant *stats;

  if (task == NULL
      || !task_call (task, SHIM_TASK_SERVICE, "Stats", NULL, NULL, NULL, &reply, cancellable, error))
    return FALSE;
  stats = metrics_read (reply, error);
  if (stats != NULL)
    *ret_stats = stats;
  return stats != NULL;
}

static const char *
exec_of_pid (Task *task, guint32 pid)
{
  for (guint i = 0; i < task->processes->len; i++)
    {
      Proc *proc = g_ptr_array_index (task->processes, i);

      if (proc->pid == pid)
        return proc->exec_id;
    }
  return "";
}

static gboolean
shim_pids (GantryRuntime *runtime, const char *ns, const char *id, GVariant **ret_pids,
           GCancellable *cancellable, GError **error)
{
  ShimRuntime *self = (ShimRuntime *)runtime;
  g_autoptr (Task) task = shim_runtime_lookup (self, ns, id, error);
  g_autoptr (GBytes) reply = NULL;
  GVariantBuilder builder;
  PbReader reader;
  PbField field;

  if (task == NULL
      || !task_call (task, SHIM_TASK_SERVICE, "Pids", NULL, NULL, NULL, &reply, cancellable, error))
    return FALSE;
  g_variant_builder_init (&builder, G_VARIANT_TYPE ("a(us)"));
  reader = pb_reader (g_bytes_get_data (reply, NULL), g_bytes_get_size (reply));
  g_mutex_lock (&self->lock);
  while (pb_next (&reader, &field) > 0)
    if (field.number == 1 && field.wire == 2)
      {
        g_autoptr (GBytes) process = g_bytes_new (field.data, field.length);
        guint32 pid = shim_read_pid (process);

        g_variant_builder_add (&builder, "(us)", pid, exec_of_pid (task, pid));
      }
  g_mutex_unlock (&self->lock);
  *ret_pids = g_variant_ref_sink (g_variant_builder_end (&builder));
  return TRUE;
}

static gboolean
simple_call (GantryRuntime *runtime, const char *ns, const char *id, const char *exec_id, const char *method,
             PbBuffer *body, GCancellable *cancellable, GError **error)
{
  g_autoptr (Task) task = shim_runtime_lookup ((ShimRuntime *)runtime, ns, id, error);

  if (task != NULL)
    return task_call (task, SHIM_TASK_SERVICE, method, exec_id, body, NULL, NULL, cancellable, error);
  if (body != NULL)
    pb_clear (body);
  return FALSE;
}

/* Noted by the answer, since nobody else asks a shim for it, and the events of a shim that is not native may
 * come after the next answer. */
static gboolean
freeze (GantryRuntime *runtime, const char *ns, const char *id, gboolean paused, GCancellable *cancellable,
        GError **error)
{
  g_autoptr (Task) task = shim_runtime_lookup ((ShimRuntime *)runtime, ns, id, error);
  Proc *init;

  if (task == NULL
      || !task_call (task, SHIM_TASK_SERVICE, paused ? "Pause" : "Resume", NULL, NULL, NULL, NULL,
                     cancellable, error))
    return FALSE;
  g_mutex_lock (&task->runtime->lock);
  init = task_find (task, "");
  if (init != NULL)
    task_note_paused (task, init, paused);
  g_mutex_unlock (&task->runtime->lock);
  return TRUE;
}

static gboolean
shim_pause (GantryRuntime *runtime, const char *ns, const char *id, GCancellable *cancellable, GError **error)
{
  return freeze (runtime, ns, id, TRUE, cancellable, error);
}

static gboolean
shim_resume (GantryRuntime *runtime, const char *ns, const char *id, GCancellable *cancellable,
             GError **error)
{
  return freeze (runtime, ns, id, FALSE, cancellable, error);
}

static gboolean
shim_resize (GantryRuntime *runtime, const char *ns, const char *id, const char *exec_id, guint width,
             guint height, GCancellable *cancellable, GError **error)
{
  PbBuffer body = { 0 };

  pb_put_varint (&body, 3, width);
  pb_put_varint (&body, 4, height);
  return simple_call (runtime, ns, id, exec_id, "ResizePty", &body, cancellable, error);
}

static gboolean
shim_close_stdin (GantryRuntime *runtime, const char *ns, const char *id, const char *exec_id,
                  GCancellable *cancellable, GError **error)
{
  g_autoptr (Task) task = shim_runtime_lookup ((ShimRuntime *)runtime, ns, id, error);
  PbBuffer body = { 0 };

  if (task == NULL)
    return FALSE;
  if (!task->runtime->native)
    relay_close_stdin (task, exec_id);
  pb_put_varint (&body, 3, 1);
  return task_call (task, SHIM_TASK_SERVICE, "CloseIO", exec_id, &body, NULL, NULL, cancellable, error);
}

static gboolean
attach_foreign (Task *task, const char *exec_id, GUnixFDList *fds, GError **error)
{
  g_autoptr (GantryStdio) stdio = NULL;
  Proc *proc;

  g_mutex_lock (&task->runtime->lock);
  proc = task_find (task, exec_id);
  if (proc == NULL)
    gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "process %s does not exist: not found", exec_id);
  else if (proc->stdio == NULL)
    gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "the streams of this process are not kept");
  else
    stdio = gantry_stdio_ref (proc->stdio);
  g_mutex_unlock (&task->runtime->lock);
  return stdio != NULL && relay_attach (task, exec_id, stdio, fds, error);
}

static gboolean
shim_attach (GantryRuntime *runtime, const char *ns, const char *id, const char *exec_id, GUnixFDList *fds,
             GCancellable *cancellable, GError **error)
{
  g_autoptr (Task) task = shim_runtime_lookup ((ShimRuntime *)runtime, ns, id, error);

  if (task == NULL)
    return FALSE;
  return task->runtime->native
             ? task_call (task, SHIM_OWN_SERVICE, "Attach", exec_id, NULL, fds, NULL, cancellable, error)
             : attach_foreign (task, exec_id != NULL ? exec_id : "", fds, error);
}

static gboolean
shim_update (GantryRuntime *runtime, const char *ns, const char *id, GVariant *resources,
             GVariant *annotations, GCancellable *cancellable, GError **error)
{
  g_autoptr (GBytes) bytes = gantry_any_get_bytes (resources);
  PbBuffer body = { 0 };
  gsize any = pb_begin (&body, 2);

  pb_put_string (&body, 1, gantry_any_get_type_url (resources));
  pb_put_bytes (&body, 2, g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes));
  pb_end (&body, any);
  return simple_call (runtime, ns, id, NULL, "Update", &body, cancellable, error);
}

static gboolean
shim_checkpoint (GantryRuntime *runtime, const char *ns, const char *id, const char *path, GVariant *options,
                 GCancellable *cancellable, GError **error)
{
  PbBuffer body = { 0 };

  pb_put_string (&body, 2, path);
  if (options != NULL)
    {
      g_autoptr (GBytes) bytes = gantry_any_get_bytes (options);
      gsize any = pb_begin (&body, 3);

      pb_put_string (&body, 1, gantry_any_get_type_url (options));
      pb_put_bytes (&body, 2, g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes));
      pb_end (&body, any);
    }
  return simple_call (runtime, ns, id, NULL, "Checkpoint", &body, cancellable, error);
}

static void
shim_set_watch (GantryRuntime *runtime, GantryTaskFunc func, gpointer user_data)
{
  ShimRuntime *self = (ShimRuntime *)runtime;
  GHashTableIter iter;
  gpointer value;

  g_mutex_lock (&self->lock);
  self->watch = func;
  self->watch_data = user_data;
  g_hash_table_iter_init (&iter, self->tasks);
  while (func != NULL && g_hash_table_iter_next (&iter, NULL, &value))
    {
      Task *task = value;

      for (guint i = 0; i < task->processes->len; i++)
        {
          Proc *proc = g_ptr_array_index (task->processes, i);
          g_autoptr (GantryProcess) process = NULL;

          if (proc->status != GANTRY_TASK_STOPPED)
            continue;
          process = task_describe (task, proc);
          shim_runtime_tell (self, GANTRY_TASK_EVENT_EXIT, process);
        }
    }
  g_mutex_unlock (&self->lock);
}

const GantryRuntimeVtable shim_runtime_vtable = {
  .size = sizeof (GantryRuntimeVtable),
  .create = shim_runtime_create,
  .start = shim_start,
  .exec = shim_exec,
  .remove = shim_remove,
  .kill = shim_kill,
  .state = shim_state,
  .list = shim_list,
  .list_execs = shim_list_execs,
  .pids = shim_pids,
  .pause = shim_pause,
  .resume = shim_resume,
  .resize = shim_resize,
  .close_stdin = shim_close_stdin,
  .attach = shim_attach,
  .stats = shim_stats,
  .update = shim_update,
  .checkpoint = shim_checkpoint,
  .set_watch = shim_set_watch,
  .check = shim_runtime_check,
  .info = shim_info,
};
