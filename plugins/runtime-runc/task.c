/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One task as the daemon sees it, kept up to date by its shim's events. */
#include "runtime-runc.h"

#include <signal.h>
#include <string.h>

#include <fdio.h>

#define SHIM_SERVICE "gantry.shim.v1.Shim"

static void
proc_free (gpointer data)
{
  Proc *self = data;

  g_free (self->exec_id);
  gantry_stdio_unref (self->stdio);
  g_free (self);
}

Task *
task_new (RuntimeRunc *runtime, const char *ns, const char *id, int dir_fd)
{
  Task *self = g_new0 (Task, 1);

  self->refs = 1;
  self->runtime = runtime;
  self->ns = g_strdup (ns);
  self->id = g_strdup (id);
  self->bundle = g_strdup_printf ("%s/bundles/%s/%s", runtime->path, ns, id);
  self->dir_fd = dir_fd;
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
  if (self->connection != NULL)
    connection_close (self->connection);
  connection_unref (self->connection);
  gantry_fd_clear (&self->dir_fd);
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

void
task_clean_up (Task *self)
{
  g_autofree char *root = g_strdup_printf ("%s/runc/%s", self->runtime->path, self->ns);
  g_auto (GStrv) env = g_get_environ ();
  const char *const argv[] = { self->runtime->shim, "-namespace", self->ns, "-id", self->id,
                               "-bundle",           self->bundle, "delete", NULL };
  g_autoptr (GError) error = NULL;

  env = g_environ_setenv (env, "GANTRY_RUNC_ROOT", root, TRUE);
  env = g_environ_setenv (env, "GANTRY_RUNC", self->runtime->runc, TRUE);
  if (!g_spawn_sync (NULL, (char **)argv, env,
                     G_SPAWN_LEAVE_DESCRIPTORS_OPEN | G_SPAWN_CLOEXEC_PIPES | G_SPAWN_STDOUT_TO_DEV_NULL,
                     NULL, NULL, NULL, NULL, NULL, &error))
    gantry_host_log (self->runtime->host, GANTRY_LOG_WARNING, "cleaning up after container %s: %s", self->id,
                     error->message);
}

/* Notes an exit once. Returns: whether it is news. With the lock. */
static gboolean
note_exit (Proc *proc, guint32 status, gint64 exited_ns)
{
  if (proc->status == GANTRY_TASK_STOPPED)
    return FALSE;
  proc->status = GANTRY_TASK_STOPPED;
  proc->exit_status = status;
  proc->exited_ns = exited_ns;
  return TRUE;
}

static void
tell (Task *self, GantryTaskEvent event, Proc *proc)
{
  g_autoptr (GantryProcess) process = task_describe (self, proc);

  runtime_runc_tell (self->runtime, event, process);
}

static void
clean_up_lost (gpointer data, gpointer unused)
{
  task_clean_up (data);
}

/* The shim has gone without having been asked to: its processes have, too (it was their subreaper and held
 * their streams). */
static void
on_lost (Task *self)
{
  gboolean unexpected;

  g_mutex_lock (&self->runtime->lock);
  unexpected = !self->removed;
  for (guint i = 0; unexpected && i < self->processes->len; i++)
    {
      Proc *proc = g_ptr_array_index (self->processes, i);
      guint32 status = 128 + SIGKILL;
      gint64 exited = gantry_now_ns ();

      task_read_exit (self, proc->exec_id, &status, &exited);
      if (note_exit (proc, status, exited))
        tell (self, GANTRY_TASK_EVENT_EXIT, proc);
    }
  g_mutex_unlock (&self->runtime->lock);
  if (!unexpected)
    return;
  gantry_host_log (self->runtime->host, GANTRY_LOG_WARNING,
                   "the shim of container %s in namespace %s is gone", self->id, self->ns);
  if (!gantry_host_submit (self->runtime->host, GANTRY_POOL_RUNTIME, clean_up_lost, task_ref (self),
                           (GDestroyNotify)task_unref, NULL))
    task_unref (self);
}

typedef struct
{
  char *text[3]; /* by field number */
  guint64 number[8];
  gint64 time[8];
} Fields;

static void
read_fields (PbReader reader, Fields *fields)
{
  PbField field;

  while (pb_next (&reader, &field) > 0)
    {
      if (field.number >= 8)
        continue;
      if (field.wire == 0)
        fields->number[field.number] = field.value;
      else if (field.wire == 2)
        {
          fields->time[field.number] = pb_read_timestamp (&field);
          if (field.number < 3)
            {
              g_free (fields->text[field.number]);
              fields->text[field.number] = g_strndup ((const char *)field.data, field.length);
            }
        }
    }
}

/* With the lock. */
static void
on_exit_event (Task *self, Fields *fields)
{
  const char *exec_id
      = fields->text[2] != NULL && strcmp (fields->text[2], self->id) != 0 ? fields->text[2] : "";
  Proc *proc = task_find (self, exec_id);

  if (proc != NULL && note_exit (proc, (guint32)fields->number[4], fields->time[5]))
    tell (self, GANTRY_TASK_EVENT_EXIT, proc);
}

/* A start is told when the shim tells it, not when the call returns: a short process has ended by then. With the lock. */
static void
on_start_event (Task *self, const char *exec_id, guint32 pid)
{
  Proc *proc = task_find (self, exec_id);

  if (proc == NULL || proc->status != GANTRY_TASK_CREATED)
    return;
  proc->pid = pid;
  proc->status = GANTRY_TASK_RUNNING;
  tell (self, exec_id[0] != '\0' ? GANTRY_TASK_EVENT_EXEC_STARTED : GANTRY_TASK_EVENT_START, proc);
}

static void
on_shim_event (Connection *connection, const char *topic, PbReader event, gboolean lost, gpointer user_data)
{
  Task *self = user_data;
  Fields fields = { { NULL } };
  Proc *proc;

  if (lost)
    {
      on_lost (self);
      return;
    }
  read_fields (event, &fields);
  g_mutex_lock (&self->runtime->lock);
  proc = task_find (self, "");
  if (strcmp (topic, "/tasks/exit") == 0)
    on_exit_event (self, &fields);
  else if (strcmp (topic, "/tasks/start") == 0)
    on_start_event (self, "", (guint32)fields.number[2]);
  else if (strcmp (topic, "/tasks/exec-started") == 0 && fields.text[2] != NULL)
    on_start_event (self, fields.text[2], (guint32)fields.number[3]);
  else if (proc != NULL && strcmp (topic, "/tasks/paused") == 0)
    {
      proc->status = GANTRY_TASK_PAUSED;
      tell (self, GANTRY_TASK_EVENT_PAUSED, proc);
    }
  else if (proc != NULL && strcmp (topic, "/tasks/resumed") == 0)
    {
      proc->status = GANTRY_TASK_RUNNING;
      tell (self, GANTRY_TASK_EVENT_RESUMED, proc);
    }
  else if (proc != NULL && strcmp (topic, "/tasks/oom") == 0)
    tell (self, GANTRY_TASK_EVENT_OOM, proc);
  g_mutex_unlock (&self->runtime->lock);
  g_free (fields.text[1]);
  g_free (fields.text[2]);
}

/* One State message of the list that Watch answers with. With the lock. */
static void
learn_state (Task *self, const PbField *state)
{
  PbReader reader = pb_reader (state->data, state->length);
  char *text[16] = { NULL };
  guint64 number[16] = { 0 };
  gint64 exited = 0;
  g_autoptr (GantryStdio) stdio = NULL;
  PbField field;
  Proc *proc;

  while (pb_next (&reader, &field) > 0)
    {
      if (field.number >= 16)
        continue;
      if (field.wire == 0)
        number[field.number] = field.value;
      else if (field.number == 10)
        exited = pb_read_timestamp (&field);
      else if (field.wire == 2 && text[field.number] == NULL)
        text[field.number] = g_strndup ((const char *)field.data, field.length);
    }
  stdio = gantry_stdio_new (text[5], text[6], text[7], number[8] != 0, NULL);
  proc = task_find (self, text[11] != NULL ? text[11] : "");
  if (proc == NULL)
    proc = task_add (self, text[11] != NULL ? text[11] : "", stdio);
  proc->pid = (guint32)number[3];
  if (proc->status != GANTRY_TASK_STOPPED)
    proc->status = (GantryTaskStatus)number[4];
  proc->exit_status = (guint32)number[9];
  proc->exited_ns = exited;
  for (gsize i = 0; i < G_N_ELEMENTS (text); i++)
    g_free (text[i]);
}

gboolean
task_connect (Task *self, GError **error)
{
  g_autoptr (GBytes) reply = NULL;
  PbBuffer body = { 0 };
  PbReader reader;
  PbField field;

  self->connection = connection_new (self->dir_fd, "s", self->runtime->context, on_shim_event, self, error);
  if (self->connection == NULL
      || !connection_call (self->connection, SHIM_SERVICE, "Watch", &body, NULL, &reply, NULL, error))
    return FALSE;
  reader = pb_reader (g_bytes_get_data (reply, NULL), g_bytes_get_size (reply));
  g_mutex_lock (&self->runtime->lock);
  while (pb_next (&reader, &field) > 0)
    if (field.number == 1 && field.wire == 2)
      learn_state (self, &field);
  g_mutex_unlock (&self->runtime->lock);
  return TRUE;
}
