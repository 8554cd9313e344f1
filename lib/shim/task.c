/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One task as the daemon sees it, kept up to date by its shim's events. */
#include "shim-runtime.h"

#include <string.h>

#include <fdio.h>

static void
proc_free (gpointer data)
{
  Proc *self = data;

  g_free (self->exec_id);
  gantry_stdio_unref (self->stdio);
  streams_unref (self->streams);
  g_free (self);
}

Task *
task_new (ShimRuntime *runtime, const char *ns, const char *id, int dir_fd)
{
  Task *self = g_new0 (Task, 1);

  self->refs = 1;
  self->runtime = runtime;
  self->ns = g_strdup (ns);
  self->id = g_strdup (id);
  self->bundle = g_strdup_printf ("%s/bundles/%s/%s", runtime->path, ns, id);
  self->dir_fd = dir_fd;
  self->log_fd = -1;
  self->claimed = g_ptr_array_new_with_free_func (g_free);
  self->processes = g_ptr_array_new_with_free_func (proc_free);
  return self;
}

Task *
task_ref (Task *self)
{
  g_atomic_int_inc (&self->refs);
  return self;
}

void
task_unref (Task *self)
{
  if (self == NULL || !g_atomic_int_dec_and_test (&self->refs))
    return;
  link_unref (self->link);
  gantry_fd_clear (&self->dir_fd);
  gantry_fd_clear (&self->log_fd);
  g_ptr_array_unref (self->claimed);
  g_ptr_array_unref (self->processes);
  g_free (self->ns);
  g_free (self->id);
  g_free (self->bundle);
  g_free (self);
}

Proc *
task_find (Task *self, const char *exec_id)
{
  for (guint i = 0; i < self->processes->len; i++)
    {
      Proc *proc = g_ptr_array_index (self->processes, i);

      if (strcmp (proc->exec_id, exec_id != NULL ? exec_id : "") == 0)
        return proc;
    }
  return NULL;
}

Proc *
task_add (Task *self, const char *exec_id, GantryStdio *stdio)
{
  Proc *proc = g_new0 (Proc, 1);

  proc->exec_id = g_strdup (exec_id);
  proc->status = GANTRY_TASK_CREATED;
  if (stdio != NULL)
    proc->stdio
        = gantry_stdio_new (stdio->stdin_uri, stdio->stdout_uri, stdio->stderr_uri, stdio->terminal, NULL);
  g_ptr_array_add (self->processes, proc);
  return proc;
}

void
task_drop (Task *self, const char *exec_id)
{
  Proc *proc = task_find (self, exec_id);

  if (proc != NULL)
    g_ptr_array_remove (self->processes, proc);
}

GantryProcess *
task_describe (Task *self, Proc *proc)
{
  return gantry_process_new (self->ns, self->id, proc->exec_id, self->bundle, proc->pid, proc->status,
                             proc->exit_status, proc->exited_ns, proc->stdio);
}

gboolean
task_read_exit (Task *self, const char *exec_id, guint32 *ret_status, gint64 *ret_exited)
{
  g_autofree char *name = g_strconcat ("exit.", exec_id, NULL);
  g_autoptr (GBytes) bytes = gantry_read_file_at (self->dir_fd, name, 64, NULL);
  g_autofree char *text = NULL;
  char *end;

  if (bytes == NULL)
    return FALSE;
  text = g_strndup (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes));
  *ret_status = (guint32)g_ascii_strtoull (text, &end, 10);
  *ret_exited = g_ascii_strtoll (end, NULL, 10);
  return *ret_exited != 0;
}

/* A shim that is not native has one code for all that the OCI runtime finds wrong: which it is stands in the
 * words. */
static void
classify (GError *error)
{
  if (error == NULL || !gantry_error_is (error, GANTRY_ERROR_UNKNOWN))
    return;
  if (strstr (error->message, "executable file not found") != NULL
      || strstr (error->message, "no such file or directory") != NULL)
    error->code = GANTRY_ERROR_NOT_FOUND;
  else if (strstr (error->message, "permission denied") != NULL)
    error->code = GANTRY_ERROR_PERMISSION_DENIED;
}

gboolean
task_call (Task *task, const char *service, const char *method, const char *exec_id, PbBuffer *rest,
           GUnixFDList *fds, GBytes **ret_reply, GCancellable *cancellable, GError **error)
{
  PbBuffer body = { 0 };
  GError *local = NULL;
  gboolean ok;
  Link *link;

  g_mutex_lock (&task->runtime->lock);
  link = task->link != NULL ? link_ref (task->link) : NULL;
  g_mutex_unlock (&task->runtime->lock);
  if (link == NULL)
    {
      if (rest != NULL)
        pb_clear (rest);
      return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                           "container %s has ended: its shim is gone", task->id);
    }
  pb_put_string (&body, 1, task->id);
  pb_put_string (&body, 2, exec_id);
  if (rest != NULL)
    {
      pb_append (&body, rest->data, rest->length);
      body.failed |= rest->failed;
      pb_clear (rest);
    }
  ok = connection_call (link->connection, service, method, &body, fds, ret_reply, cancellable, &local);
  if (!ok && !task->runtime->native)
    classify (local);
  if (!ok)
    g_propagate_error (error, local);
  link_unref (link);
  return ok;
}

void
task_tell (Task *self, GantryTaskEvent event, Proc *proc)
{
  g_autoptr (GantryProcess) process = task_describe (self, proc);

  shim_runtime_tell (self->runtime, event, process);
}

void
task_note_start (Task *self, Proc *proc, guint32 pid)
{
  if (proc->status != GANTRY_TASK_CREATED)
    return;
  proc->pid = pid;
  proc->status = GANTRY_TASK_RUNNING;
  task_tell (self, proc->exec_id[0] != '\0' ? GANTRY_TASK_EVENT_EXEC_STARTED : GANTRY_TASK_EVENT_START, proc);
}

void
task_note_exit (Task *self, Proc *proc, guint32 status, gint64 exited_ns)
{
  if (proc->status == GANTRY_TASK_STOPPED)
    return;
  proc->status = GANTRY_TASK_STOPPED;
  proc->exit_status = status;
  proc->exited_ns = exited_ns;
  if (!self->runtime->native)
    {
      /* Before it is told, so that the end of the shim does not change it. */
      record_exit (self, proc->exec_id, status, exited_ns);
      relay_finish (self->runtime, proc->streams);
    }
  task_tell (self, GANTRY_TASK_EVENT_EXIT, proc);
}

void
task_forget (Task *self)
{
  ShimRuntime *runtime = self->runtime;
  g_autofree char *key = shim_runtime_key (self->ns, self->id);
  g_autoptr (GError) error = NULL;
  gpointer stolen_key = NULL, stolen = NULL;
  gantry_autofd int ns_fd = gantry_open_beneath (runtime->bundles_fd, self->ns, O_RDONLY | O_DIRECTORY, 0);

  shim_log_close (self);
  task_unlink_for_clients (self);
  if (ns_fd >= 0 && !gantry_remove_tree_at (ns_fd, self->id, &error))
    gantry_host_log (runtime->host, GANTRY_LOG_WARNING, "the bundle of container %s stays: %s", self->id,
                     error->message);
  g_mutex_lock (&runtime->lock);
  for (guint i = 0; i < self->processes->len; i++)
    relay_finish (runtime, ((Proc *)g_ptr_array_index (self->processes, i))->streams);
  g_hash_table_steal_extended (runtime->tasks, key, &stolen_key, &stolen);
  g_mutex_unlock (&runtime->lock);
  /* Not with the lock: it may be the last reference to the link. */
  g_free (stolen_key);
  task_unref (stolen);
}
