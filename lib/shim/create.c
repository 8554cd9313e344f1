/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Making a task: its bundle, its shim, and the shim's Create. */
#include "shim-runtime.h"

#include <fdio.h>

gboolean
shim_runtime_check_object (GBytes *json, const char *what, const char *id, GError **error)
{
  gsize length = g_bytes_get_size (json), first = 0;
  const char *text = g_bytes_get_data (json, NULL);

  while (first < length && g_ascii_isspace (text[first]))
    first++;
  while (length > first && g_ascii_isspace (text[length - 1]))
    length--;
  return (length > first + 1 && text[first] == '{' && text[length - 1] == '}')
         || gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                          "the %s of %s is not a JSON object: invalid argument", what, id);
}

/* Claims the id and makes its bundle. */
static Task *
claim (ShimRuntime *self, GantryTaskCreate *create, GError **error)
{
  gantry_autofd int ns_fd = -1, dir_fd = -1;
  char *key;
  Task *task;

  if (!shim_runtime_is_name (create->ns) || !shim_runtime_is_name (create->id))
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "\"%s\" in namespace \"%s\" is no name for a task",
                    create->id, create->ns);
      return NULL;
    }
  if (!shim_runtime_check_object (create->spec, "spec", create->id, error))
    return NULL;
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
  key = shim_runtime_key (create->ns, create->id);
  g_mutex_lock (&self->lock);
  g_hash_table_insert (self->tasks, key, task_ref (task));
  g_mutex_unlock (&self->lock);
  return task;
}

void
shim_put_stdio (PbBuffer *body, guint32 first, GantryStdio *stdio)
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

guint32
shim_read_pid (GBytes *reply)
{
  PbReader reader = pb_reader (g_bytes_get_data (reply, NULL), g_bytes_get_size (reply));
  PbField field;
  guint32 pid = 0;

  while (pb_next (&reader, &field) > 0)
    if (field.number == 1 && field.wire == 0)
      pid = (guint32)field.value;
  return pid;
}

static void
put_any (PbBuffer *body, guint32 field, const char *type, gconstpointer data, gsize length)
{
  gsize any = pb_begin (body, field);

  pb_put_string (body, 1, type);
  pb_put_bytes (body, 2, data, length);
  pb_end (body, any);
}

/* The caller's options. For a shim of runc's with our own root, which comes last and so wins: the OCI
 * runtime's state must be where we look for it. */
static void
put_options (ShimRuntime *self, PbBuffer *body, GVariant *options)
{
  g_autoptr (GBytes) bytes = options != NULL ? gantry_any_get_bytes (options) : NULL;
  g_autofree char *root = g_build_filename (self->path, "runc", NULL);
  PbBuffer message = { 0 };

  if (!self->of_runc)
    {
      if (bytes != NULL)
        put_any (body, 10, gantry_any_get_type_url (options), g_bytes_get_data (bytes, NULL),
                 g_bytes_get_size (bytes));
      return;
    }
  pb_put_string (&message, 6, self->oci_runtime);
  if (bytes != NULL && g_str_has_suffix (gantry_any_get_type_url (options), SHIM_OPTIONS_TYPE))
    pb_append (&message, g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes));
  pb_put_string (&message, 7, root);
  pb_put_varint (&message, SHIM_OPTION_CHECKPOINTABLE, self->checkpointable);
  put_any (body, 10, SHIM_OPTIONS_TYPE, message.data, message.length);
  pb_clear (&message);
}

/* CreateTaskRequest { id = 1, bundle = 2, rootfs = 3, terminal = 4, stdin = 5, stdout = 6, stderr = 7,
 * checkpoint = 8, options = 10 } */
static gboolean
call_create (Task *task, GantryTaskCreate *create, guint32 *ret_pid, Streams **ret_streams,
             GCancellable *cancellable, GError **error)
{
  gboolean native = task->runtime->native;
  g_autoptr (GantryStdio) translated
      = native || create->stdio == NULL ? NULL : relay_open (task, "", create->stdio, ret_streams, error);
  GantryStdio *stdio = native ? create->stdio : translated;
  g_autoptr (GBytes) reply = NULL;
  PbBuffer body = { 0 };

  if (create->stdio != NULL && stdio == NULL)
    return FALSE;
  pb_put_string (&body, 2, task->bundle);
  put_mounts (&body, create->mounts);
  pb_put_varint (&body, 4, stdio != NULL && stdio->terminal);
  shim_put_stdio (&body, 5, stdio);
  pb_put_string (&body, 8, create->checkpoint);
  put_options (task->runtime, &body, create->options);
  if (!task_call (task, SHIM_TASK_SERVICE, "Create", NULL, &body, stdio != NULL ? stdio->fds : NULL, &reply,
                  cancellable, error))
    return FALSE;
  *ret_pid = shim_read_pid (reply);
  return TRUE;
}

/* A pod's shim may leave between its address being told and our call: then there is another start. */
static gboolean
reach_shim (Task *task, GVariant *options, GError **error)
{
  g_autoptr (GError) local = NULL;

  if (!task_start_shim (task, options, error))
    return FALSE;
  if (task_connect (task, &local))
    return TRUE;
  link_unref (g_steal_pointer (&task->link));
  return task_start_shim (task, options, error) && task_connect (task, error);
}

/* What containerd's shims find in a bundle besides its configuration. */
static gboolean
prepare_bundle (Task *task, GantryStdio *stdio, GError **error)
{
  gantry_autofd int rootfs_fd = gantry_open_dir_at (task->dir_fd, "rootfs", 0711, error);

  return rootfs_fd >= 0 && shim_log_open (task, error) && record_stdio (task, "", stdio, error);
}

static gboolean
create_in_shim (Task *task, GantryTaskCreate *create, guint32 *ret_pid, Streams **ret_streams,
                GCancellable *cancellable, GError **error)
{
  gsize length;
  const void *spec = g_bytes_get_data (create->spec, &length);

  return gantry_replace_file_at (task->dir_fd, "config.json", spec, length, 0600, FALSE, error)
         && (task->runtime->native || prepare_bundle (task, create->stdio, error))
         && reach_shim (task, create->options, error)
         && call_create (task, create, ret_pid, ret_streams, cancellable, error)
         && gantry_replace_file_at (task->dir_fd, TASK_MADE, "", 0, 0600, FALSE, error);
}

gboolean
shim_runtime_create (GantryRuntime *runtime, GantryTaskCreate *create, GantryProcess **ret_process,
                     GCancellable *cancellable, GError **error)
{
  ShimRuntime *self = (ShimRuntime *)runtime;
  g_autoptr (Task) task = claim (self, create, error);
  g_autoptr (GantryProcess) process = NULL;
  Streams *streams = NULL;
  guint32 pid = 0;
  Proc *proc;

  if (task == NULL)
    return FALSE;
  shim_runtime_expect_move (self);
  if (!create_in_shim (task, create, &pid, &streams, cancellable, error))
    {
      gboolean lost = task->link == NULL;

      streams_unref (streams);
      task_shut_down (task);
      if (lost || g_cancellable_is_cancelled (cancellable))
        task_clean_up (task, NULL, NULL);
      task_forget (task);
      return FALSE;
    }
  g_mutex_lock (&self->lock);
  proc = task_find (task, "");
  if (proc == NULL)
    proc = task_add (task, "", create->stdio);
  proc->pid = pid;
  proc->streams = streams;
  process = task_describe (task, proc);
  shim_runtime_tell (self, GANTRY_TASK_EVENT_CREATE, process);
  g_mutex_unlock (&self->lock);
  if (!self->native)
    task_await_exit (task, "");
  *ret_process = g_steal_pointer (&process);
  return TRUE;
}
