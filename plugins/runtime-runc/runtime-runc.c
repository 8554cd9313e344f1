/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Tasks by gantry-shim-runc: one shim a task, found again after a restart of the daemon by its bundle. */
#include "runtime-runc.h"

#include <string.h>

#include <fdio.h>

#define TASK_SERVICE "containerd.task.v2.Task"
#define SHIM_SERVICE "gantry.shim.v1.Shim"
#define OPTIONS_TYPE "containerd.runc.v1.Options"

typedef struct
{
  GantryTaskFunc func;
  gpointer user_data;
  GantryTaskEvent event;
  GantryProcess *process;
} Tell;

static gboolean
on_tell (gpointer data)
{
  Tell *tell = data;

  tell->func (tell->event, tell->process, tell->user_data);
  return G_SOURCE_REMOVE;
}

static void
tell_free (gpointer data)
{
  gantry_process_unref (((Tell *)data)->process);
  g_free (data);
}

void
runtime_runc_tell (RuntimeRunc *self, GantryTaskEvent event, GantryProcess *process)
{
  Tell *tell;

  if (self->watch == NULL)
    return;
  tell = g_new (Tell, 1);
  *tell = (Tell){ self->watch, self->watch_data, event, gantry_process_ref (process) };
  g_main_context_invoke_full (self->host->get_main_context (self->host), G_PRIORITY_HIGH, on_tell, tell,
                              tell_free);
}

char *
runtime_runc_key (const char *ns, const char *id)
{
  return g_strconcat (ns, "/", id, NULL);
}

static Task *
lookup (RuntimeRunc *self, const char *ns, const char *id, GError **error)
{
  g_autofree char *key = runtime_runc_key (ns, id);
  Task *task;

  g_mutex_lock (&self->lock);
  task = g_hash_table_lookup (self->tasks, key);
  if (task != NULL)
    task_ref (task);
  g_mutex_unlock (&self->lock);
  if (task == NULL)
    gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "task %s not found: not found", id);
  return task;
}

/* A call of the shim about one process; @body has the rest of the message. */
static gboolean
call_shim (Task *task, const char *service, const char *method, const char *exec_id, PbBuffer *rest,
           GUnixFDList *fds, GBytes **ret_reply, GCancellable *cancellable, GError **error)
{
  PbBuffer body = { 0 };

  if (task->connection == NULL)
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
  return connection_call (task->connection, service, method, &body, fds, ret_reply, cancellable, error);
}

gboolean
runtime_runc_is_name (const char *name)
{
  gsize length = name != NULL ? strlen (name) : 0;

  return length > 0 && length <= 128 && name[0] != '.'
         && strspn (name, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "._-") == length;
}

/* Claims the id and makes its bundle. */
static Task *
claim (RuntimeRunc *self, GantryTaskCreate *create, GError **error)
{
  gantry_autofd int ns_fd = -1, dir_fd = -1;
  char *key;
  Task *task;

  if (!runtime_runc_is_name (create->ns) || !runtime_runc_is_name (create->id))
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "\"%s\" in namespace \"%s\" is no name for a task",
                    create->id, create->ns);
      return NULL;
    }
  ns_fd = gantry_open_dir_at (self->bundles_fd, create->ns, 0711, error);
  if (ns_fd < 0)
    return NULL;
  if (mkdirat (ns_fd, create->id, 0711) < 0)
    {
      if (errno == EEXIST)
        gantry_throw (error, GANTRY_ERROR_ALREADY_EXISTS, "task %s: already exists", create->id);
      else
        gantry_throw_errno (error, errno, "making the bundle of %s", create->id);
      return NULL;
    }
  dir_fd = gantry_open_dir_at (ns_fd, create->id, 0711, error);
  if (dir_fd < 0)
    return NULL;
  task = task_new (self, create->ns, create->id, gantry_fd_steal (&dir_fd));
  key = runtime_runc_key (create->ns, create->id);
  g_mutex_lock (&self->lock);
  g_hash_table_insert (self->tasks, key, task_ref (task));
  g_mutex_unlock (&self->lock);
  return task;
}

/* Forgets a task and removes its bundle. */
void
task_forget (Task *task)
{
  RuntimeRunc *self = task->runtime;
  g_autofree char *key = runtime_runc_key (task->ns, task->id);
  g_autoptr (GError) error = NULL;
  gantry_autofd int ns_fd = gantry_open_beneath (self->bundles_fd, task->ns, O_RDONLY | O_DIRECTORY, 0);

  if (ns_fd >= 0 && !gantry_remove_tree_at (ns_fd, task->id, &error))
    gantry_host_log (self->host, GANTRY_LOG_WARNING, "the bundle of container %s stays: %s", task->id,
                     error->message);
  g_mutex_lock (&self->lock);
  g_hash_table_remove (self->tasks, key);
  g_mutex_unlock (&self->lock);
}

static gboolean
start_shim (Task *task, GError **error)
{
  const char *const argv[] = { task->runtime->shim, "-namespace", task->ns, "-id",   task->id, "-bundle",
                               task->bundle,        "-socket",    "s",      "start", NULL };
  g_autofree char *output = NULL, *complaint = NULL;
  int status;

  /* Pipes that the other shims started just now inherited would stay open as long as they live. */
  if (!g_spawn_sync (NULL, (char **)argv, NULL, G_SPAWN_LEAVE_DESCRIPTORS_OPEN | G_SPAWN_CLOEXEC_PIPES, NULL,
                     NULL, &output, &complaint, &status, error))
    {
      g_prefix_error (error, "starting the shim %s: ", task->runtime->shim);
      return FALSE;
    }
  if (!g_spawn_check_wait_status (status, NULL))
    return gantry_throw (error, GANTRY_ERROR_INTERNAL, "the shim did not start: %s",
                         complaint != NULL ? g_strchomp (complaint) : "");
  return TRUE;
}

static void
put_stdio (PbBuffer *body, guint32 first, GantryStdio *stdio)
{
  if (stdio == NULL)
    return;
  pb_put_string (body, first, stdio->stdin_uri);
  pb_put_string (body, first + 1, stdio->stdout_uri);
  pb_put_string (body, first + 2, stdio->stderr_uri);
}

static void
put_mounts (PbBuffer *body, GPtrArray *mounts)
{
  for (guint i = 0; mounts != NULL && i < mounts->len; i++)
    {
      GantryMount *mount = g_ptr_array_index (mounts, i);
      gsize begun = pb_begin (body, 3);

      pb_put_string (body, 1, mount->type);
      pb_put_string (body, 2, mount->source);
      pb_put_string (body, 3, mount->target);
      for (gsize j = 0; mount->options != NULL && mount->options[j] != NULL; j++)
        pb_put_string (body, 4, mount->options[j]);
      pb_end (body, begun);
    }
}

/* The caller's options with our own root, which comes last and so wins: the OCI runtime's state must be where
 * we look for it. */
static void
put_options (RuntimeRunc *self, PbBuffer *body, GVariant *options)
{
  g_autofree char *root = g_build_filename (self->path, "runc", NULL);
  PbBuffer message = { 0 };
  gsize any = pb_begin (body, 10);

  pb_put_string (&message, 6, self->runc);
  if (options != NULL && g_str_has_suffix (gantry_any_get_type_url (options), OPTIONS_TYPE))
    {
      g_autoptr (GBytes) bytes = gantry_any_get_bytes (options);

      pb_append (&message, g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes));
    }
  pb_put_string (&message, 7, root);
  pb_put_string (body, 1, OPTIONS_TYPE);
  pb_put_bytes (body, 2, message.data, message.length);
  pb_end (body, any);
  pb_clear (&message);
}

static guint32
read_pid (GBytes *reply)
{
  PbReader reader = pb_reader (g_bytes_get_data (reply, NULL), g_bytes_get_size (reply));
  PbField field;
  guint32 pid = 0;

  while (pb_next (&reader, &field) > 0)
    if (field.number == 1 && field.wire == 0)
      pid = (guint32)field.value;
  return pid;
}

static gboolean
create_in_shim (Task *task, GantryTaskCreate *create, guint32 *ret_pid, GCancellable *cancellable,
                GError **error)
{
  g_autoptr (GBytes) reply = NULL;
  PbBuffer body = { 0 };
  gsize length;
  const void *spec = g_bytes_get_data (create->spec, &length);

  if (!gantry_replace_file_at (task->dir_fd, "config.json", spec, length, 0600, FALSE, error)
      || !start_shim (task, error) || !task_connect (task, error))
    return FALSE;
  pb_put_string (&body, 2, task->bundle);
  put_mounts (&body, create->mounts);
  pb_put_varint (&body, 4, create->stdio != NULL && create->stdio->terminal);
  put_stdio (&body, 5, create->stdio);
  pb_put_string (&body, 8, create->checkpoint);
  put_options (task->runtime, &body, create->options);
  if (!call_shim (task, TASK_SERVICE, "Create", NULL, &body,
                  create->stdio != NULL ? create->stdio->fds : NULL, &reply, cancellable, error))
    return FALSE;
  *ret_pid = read_pid (reply);
  return TRUE;
}

/* Ends the shim of a task that has no container any more. */
void
task_shut_down (Task *task)
{
  PbBuffer now = { 0 };

  g_mutex_lock (&task->runtime->lock);
  task->removed = TRUE;
  g_mutex_unlock (&task->runtime->lock);
  pb_put_varint (&now, 2, 1);
  if (task->connection != NULL)
    {
      call_shim (task, TASK_SERVICE, "Shutdown", NULL, &now, NULL, NULL, NULL, NULL);
      connection_close (task->connection);
    }
  else
    pb_clear (&now);
}

static gboolean
runc_create (GantryRuntime *runtime, GantryTaskCreate *create, GantryProcess **ret_process,
             GCancellable *cancellable, GError **error)
{
  RuntimeRunc *self = (RuntimeRunc *)runtime;
  g_autoptr (Task) task = claim (self, create, error);
  g_autoptr (GantryProcess) process = NULL;
  guint32 pid = 0;
  Proc *proc;

  if (task == NULL)
    return FALSE;
  if (!create_in_shim (task, create, &pid, cancellable, error))
    {
      gboolean lost = task->connection == NULL;

      task_shut_down (task);
      if (lost || g_cancellable_is_cancelled (cancellable))
        task_clean_up (task);
      task_forget (task);
      return FALSE;
    }
  g_mutex_lock (&self->lock);
  proc = task_find (task, "");
  if (proc == NULL)
    proc = task_add (task, "", create->stdio);
  proc->pid = pid;
  process = task_describe (task, proc);
  runtime_runc_tell (self, GANTRY_TASK_EVENT_CREATE, process);
  g_mutex_unlock (&self->lock);
  *ret_process = g_steal_pointer (&process);
  return TRUE;
}

static gboolean
runc_start (GantryRuntime *runtime, const char *ns, const char *id, const char *exec_id,
            GantryProcess **ret_process, GCancellable *cancellable, GError **error)
{
  RuntimeRunc *self = (RuntimeRunc *)runtime;
  g_autoptr (Task) task = lookup (self, ns, id, error);
  g_autoptr (GantryProcess) process = NULL;
  g_autoptr (GBytes) reply = NULL;
  Proc *proc;

  if (task == NULL
      || !call_shim (task, TASK_SERVICE, "Start", exec_id, NULL, NULL, &reply, cancellable, error))
    return FALSE;
  g_mutex_lock (&self->lock);
  proc = task_find (task, exec_id);
  if (proc != NULL)
    {
      proc->pid = read_pid (reply);
      if (proc->status == GANTRY_TASK_CREATED)
        proc->status = GANTRY_TASK_RUNNING;
      process = task_describe (task, proc);
    }
  g_mutex_unlock (&self->lock);
  if (process == NULL)
    return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "process %s does not exist", exec_id);
  if (ret_process != NULL)
    *ret_process = g_steal_pointer (&process);
  return TRUE;
}

static gboolean
runc_exec (GantryRuntime *runtime, const char *ns, const char *id, const char *exec_id, GBytes *process,
           GantryStdio *stdio, GCancellable *cancellable, GError **error)
{
  RuntimeRunc *self = (RuntimeRunc *)runtime;
  g_autoptr (Task) task = lookup (self, ns, id, error);
  g_autoptr (GantryProcess) described = NULL;
  PbBuffer body = { 0 };
  gsize any;

  if (task == NULL)
    return FALSE;
  if (!runtime_runc_is_name (exec_id))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "\"%s\" is no name for an exec",
                         exec_id != NULL ? exec_id : "");
  pb_put_varint (&body, 3, stdio != NULL && stdio->terminal);
  put_stdio (&body, 4, stdio);
  any = pb_begin (&body, 7);
  pb_put_string (&body, 1, "types.containerd.io/opencontainers/runtime-spec/1/Process");
  pb_put_bytes (&body, 2, g_bytes_get_data (process, NULL), g_bytes_get_size (process));
  pb_end (&body, any);
  if (!call_shim (task, TASK_SERVICE, "Exec", exec_id, &body, stdio != NULL ? stdio->fds : NULL, NULL,
                  cancellable, error))
    return FALSE;
  g_mutex_lock (&self->lock);
  described = task_describe (task, task_add (task, exec_id, stdio));
  runtime_runc_tell (self, GANTRY_TASK_EVENT_EXEC_ADDED, described);
  g_mutex_unlock (&self->lock);
  return TRUE;
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
runc_remove (GantryRuntime *runtime, const char *ns, const char *id, const char *exec_id,
             GantryProcess **ret_process, GCancellable *cancellable, GError **error)
{
  RuntimeRunc *self = (RuntimeRunc *)runtime;
  g_autoptr (Task) task = lookup (self, ns, id, error);
  g_autoptr (GantryProcess) process = NULL;
  gboolean init = exec_id == NULL || exec_id[0] == '\0';

  if (task == NULL || !check_removable (task, exec_id, &process, error))
    return FALSE;
  if (task->connection != NULL)
    {
      g_autoptr (GError) local = NULL;

      if (init)
        {
          g_mutex_lock (&self->lock);
          task->removed = TRUE; /* its shim may go with it */
          g_mutex_unlock (&self->lock);
        }
      if (!call_shim (task, TASK_SERVICE, "Delete", exec_id, NULL, NULL, NULL, cancellable, &local)
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
  g_mutex_lock (&self->lock);
  runtime_runc_tell (self, GANTRY_TASK_EVENT_DELETE, process);
  if (!init)
    task_drop (task, exec_id);
  g_mutex_unlock (&self->lock);
  if (ret_process != NULL)
    *ret_process = g_steal_pointer (&process);
  return TRUE;
}

static gboolean
runc_kill (GantryRuntime *runtime, const char *ns, const char *id, const char *exec_id, guint signal,
           gboolean all, GCancellable *cancellable, GError **error)
{
  g_autoptr (Task) task = lookup ((RuntimeRunc *)runtime, ns, id, error);
  PbBuffer body = { 0 };

  if (task == NULL)
    return FALSE;
  if (task->connection == NULL)
    return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "process already finished: not found");
  pb_put_varint (&body, 3, signal);
  pb_put_varint (&body, 4, all);
  return call_shim (task, TASK_SERVICE, "Kill", exec_id, &body, NULL, NULL, cancellable, error);
}

static gboolean
runc_state (GantryRuntime *runtime, const char *ns, const char *id, const char *exec_id,
            GantryProcess **ret_process, GCancellable *cancellable, GError **error)
{
  RuntimeRunc *self = (RuntimeRunc *)runtime;
  g_autoptr (Task) task = lookup (self, ns, id, error);
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
runc_list (GantryRuntime *runtime, const char *ns, GPtrArray **ret_processes, GCancellable *cancellable,
           GError **error)
{
  RuntimeRunc *self = (RuntimeRunc *)runtime;
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
runc_list_execs (GantryRuntime *runtime, const char *ns, const char *id, GPtrArray **ret_processes,
                 GCancellable *cancellable, GError **error)
{
  RuntimeRunc *self = (RuntimeRunc *)runtime;
  g_autoptr (Task) task = lookup (self, ns, id, error);
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
runc_pids (GantryRuntime *runtime, const char *ns, const char *id, GVariant **ret_pids,
           GCancellable *cancellable, GError **error)
{
  RuntimeRunc *self = (RuntimeRunc *)runtime;
  g_autoptr (Task) task = lookup (self, ns, id, error);
  g_autoptr (GBytes) reply = NULL;
  GVariantBuilder builder;
  PbReader reader;
  PbField field;

  if (task == NULL || !call_shim (task, TASK_SERVICE, "Pids", NULL, NULL, NULL, &reply, cancellable, error))
    return FALSE;
  g_variant_builder_init (&builder, G_VARIANT_TYPE ("a(us)"));
  reader = pb_reader (g_bytes_get_data (reply, NULL), g_bytes_get_size (reply));
  g_mutex_lock (&self->lock);
  while (pb_next (&reader, &field) > 0)
    if (field.number == 1 && field.wire == 2)
      {
        g_autoptr (GBytes) process = g_bytes_new (field.data, field.length);
        guint32 pid = read_pid (process);

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
  g_autoptr (Task) task = lookup ((RuntimeRunc *)runtime, ns, id, error);

  if (task != NULL)
    return call_shim (task, TASK_SERVICE, method, exec_id, body, NULL, NULL, cancellable, error);
  if (body != NULL)
    pb_clear (body);
  return FALSE;
}

static gboolean
runc_pause (GantryRuntime *runtime, const char *ns, const char *id, GCancellable *cancellable, GError **error)
{
  return simple_call (runtime, ns, id, NULL, "Pause", NULL, cancellable, error);
}

static gboolean
runc_resume (GantryRuntime *runtime, const char *ns, const char *id, GCancellable *cancellable,
             GError **error)
{
  return simple_call (runtime, ns, id, NULL, "Resume", NULL, cancellable, error);
}

static gboolean
runc_resize (GantryRuntime *runtime, const char *ns, const char *id, const char *exec_id, guint width,
             guint height, GCancellable *cancellable, GError **error)
{
  PbBuffer body = { 0 };

  pb_put_varint (&body, 3, width);
  pb_put_varint (&body, 4, height);
  return simple_call (runtime, ns, id, exec_id, "ResizePty", &body, cancellable, error);
}

static gboolean
runc_close_stdin (GantryRuntime *runtime, const char *ns, const char *id, const char *exec_id,
                  GCancellable *cancellable, GError **error)
{
  PbBuffer body = { 0 };

  pb_put_varint (&body, 3, 1);
  return simple_call (runtime, ns, id, exec_id, "CloseIO", &body, cancellable, error);
}

static gboolean
runc_attach (GantryRuntime *runtime, const char *ns, const char *id, const char *exec_id, GUnixFDList *fds,
             GCancellable *cancellable, GError **error)
{
  g_autoptr (Task) task = lookup ((RuntimeRunc *)runtime, ns, id, error);

  return task != NULL
         && call_shim (task, SHIM_SERVICE, "Attach", exec_id, NULL, fds, NULL, cancellable, error);
}

static gboolean
runc_update (GantryRuntime *runtime, const char *ns, const char *id, GVariant *resources,
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
runc_checkpoint (GantryRuntime *runtime, const char *ns, const char *id, const char *path, GVariant *options,
                 GCancellable *cancellable, GError **error)
{
  PbBuffer body = { 0 };

  pb_put_string (&body, 2, path);
  return simple_call (runtime, ns, id, NULL, "Checkpoint", &body, cancellable, error);
}

static void
runc_set_watch (GantryRuntime *runtime, GantryTaskFunc func, gpointer user_data)
{
  RuntimeRunc *self = (RuntimeRunc *)runtime;
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
          runtime_runc_tell (self, GANTRY_TASK_EVENT_EXIT, process);
        }
    }
  g_mutex_unlock (&self->lock);
}

static const GantryRuntimeVtable vtable = {
  .size = sizeof (GantryRuntimeVtable),
  .create = runc_create,
  .start = runc_start,
  .exec = runc_exec,
  .remove = runc_remove,
  .kill = runc_kill,
  .state = runc_state,
  .list = runc_list,
  .list_execs = runc_list_execs,
  .pids = runc_pids,
  .pause = runc_pause,
  .resume = runc_resume,
  .resize = runc_resize,
  .close_stdin = runc_close_stdin,
  .attach = runc_attach,
  .update = runc_update,
  .checkpoint = runc_checkpoint,
  .set_watch = runc_set_watch,
};

static gpointer
reader_main (gpointer data)
{
  RuntimeRunc *self = data;

  g_main_context_push_thread_default (self->context);
  g_main_loop_run (self->loop);
  g_main_context_pop_thread_default (self->context);
  return NULL;
}

RuntimeRunc *
runtime_runc_new (const GantryHost *host, GError **error)
{
  RuntimeRunc *self = g_new0 (RuntimeRunc, 1);
  int dir_fd = gantry_host_get_dir_fd (host, GANTRY_DIR_RUN, error);
  const char *path = gantry_host_get_dir_path (host, GANTRY_DIR_RUN, dir_fd >= 0 ? error : NULL);

  self->runtime.vtable = &vtable;
  self->host = host;
  self->bundles_fd = -1;
  g_mutex_init (&self->lock);
  self->tasks = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify)task_unref);
  self->context = g_main_context_new ();
  self->loop = g_main_loop_new (self->context, FALSE);
  self->path = g_strdup (path);
  self->shim = g_strdup (gantry_host_get_config_string (host, "Shim", NULL));
  self->runc = g_strdup (gantry_host_get_config_string (host, "Runtime", "runc"));
  if (dir_fd < 0 || path == NULL
      || (self->bundles_fd = gantry_open_dir_at (dir_fd, "bundles", 0711, error)) < 0)
    {
      runtime_runc_free (self);
      return NULL;
    }
  self->thread = g_thread_new ("runtime-runc", reader_main, self);
  return self;
}

static gboolean
quit_loop (gpointer data)
{
  g_main_loop_quit (data);
  return G_SOURCE_REMOVE;
}

void
runtime_runc_free (RuntimeRunc *self)
{
  if (self == NULL)
    return;
  if (self->thread != NULL)
    {
      g_autoptr (GSource) source = g_idle_source_new ();

      g_source_set_callback (source, quit_loop, self->loop, NULL);
      g_source_attach (source, self->context);
      g_thread_join (self->thread);
    }
  g_hash_table_unref (self->tasks);
  g_main_loop_unref (self->loop);
  g_main_context_unref (self->context);
  gantry_fd_clear (&self->bundles_fd);
  g_mutex_clear (&self->lock);
  g_free (self->path);
  g_free (self->shim);
  g_free (self->runc);
  g_free (self);
}
