/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Connections to shims, what they tell, and what their end means. */
#include "shim-runtime.h"

#include <signal.h>
#include <string.h>

#include <fdio.h>

#define MAX_ADDRESS 4096

Link *
link_ref (Link *self)
{
  g_atomic_int_inc (&self->refs);
  return self;
}

void
link_unref (Link *self)
{
  ShimRuntime *runtime;

  if (self == NULL)
    return;
  runtime = self->runtime;
  /* With the lock, so that nobody finds in the table what is about to go. */
  g_mutex_lock (&runtime->lock);
  if (!g_atomic_int_dec_and_test (&self->refs))
    {
      g_mutex_unlock (&runtime->lock);
      return;
    }
  if (g_hash_table_lookup (runtime->links, self->address) == self)
    g_hash_table_remove (runtime->links, self->address);
  g_mutex_unlock (&runtime->lock);
  connection_close (self->connection);
  connection_unref (self->connection);
  g_free (self->address);
  g_free (self);
}

static void
clean_up_lost (gpointer data, gpointer unused)
{
  task_clean_up (data, NULL, NULL);
}

/* The shim has gone without having been asked to: its processes have, too (it was their subreaper and held
 * their streams). */
static void
on_task_lost (Task *self)
{
  g_mutex_lock (&self->runtime->lock);
  for (guint i = 0; i < self->processes->len; i++)
    {
      Proc *proc = g_ptr_array_index (self->processes, i);
      guint32 status = 128 + SIGKILL;
      gint64 exited = gantry_now_ns ();

      task_read_exit (self, proc->exec_id, &status, &exited);
      task_note_exit (self, proc, status, exited);
    }
  g_mutex_unlock (&self->runtime->lock);
  gantry_host_log_about (self->runtime->host, GANTRY_LOG_WARNING, GANTRY_MESSAGE_SHIM_LOST, self->ns,
                         self->id, "the shim of container %s in namespace %s is gone", self->id, self->ns);
  if (!gantry_host_submit (self->runtime->host, GANTRY_POOL_RUNTIME, clean_up_lost, task_ref (self),
                           (GDestroyNotify)task_unref, NULL))
    task_unref (self);
}

static void
on_lost (ShimRuntime *runtime, Connection *connection)
{
  g_autoptr (GPtrArray) lost = g_ptr_array_new_with_free_func ((GDestroyNotify)task_unref);
  GHashTableIter iter;
  gpointer value;

  g_mutex_lock (&runtime->lock);
  g_hash_table_iter_init (&iter, runtime->tasks);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    {
      Task *task = value;

      if (task->link != NULL && task->link->connection == connection && !task->removed)
        g_ptr_array_add (lost, task_ref (task));
    }
  /* Whoever connects to its address now means its successor. */
  g_hash_table_iter_init (&iter, runtime->links);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    if (((Link *)value)->connection == connection)
      g_hash_table_iter_remove (&iter);
  g_mutex_unlock (&runtime->lock);
  for (guint i = 0; i < lost->len; i++)
    on_task_lost (g_ptr_array_index (lost, i));
}

static void
on_connection_event (Connection *connection, const ShimEvent *event, gpointer user_data)
{
  if (event == NULL)
    on_lost (user_data, connection);
  else
    shim_runtime_on_event (user_data, event);
}

/* With the lock. */
static void
on_exit_event (Task *task, const ShimEvent *event)
{
  const char *exec_id
      = event->text[2] != NULL && strcmp (event->text[2], task->id) != 0 ? event->text[2] : "";
  Proc *proc = task_find (task, exec_id);

  if (proc == NULL)
    return;
  /* Events of a shim that is not native take another way than its answers. */
  if (!task->runtime->native)
    task_note_start (task, proc, (guint32)event->number[3]);
  task_note_exit (task, proc, (guint32)event->number[4], event->time[5]);
}

void
task_note_paused (Task *task, Proc *proc, gboolean paused)
{
  if (proc->status != (paused ? GANTRY_TASK_RUNNING : GANTRY_TASK_PAUSED))
    return;
  proc->status = paused ? GANTRY_TASK_PAUSED : GANTRY_TASK_RUNNING;
  task_tell (task, paused ? GANTRY_TASK_EVENT_PAUSED : GANTRY_TASK_EVENT_RESUMED, proc);
}

/* With the lock. */
static void
on_task_event (Task *task, const ShimEvent *event)
{
  const char *topic = event->topic;
  Proc *init = task_find (task, ""), *exec = event->text[2] != NULL ? task_find (task, event->text[2]) : NULL;

  if (strcmp (topic, "/tasks/exit") == 0)
    on_exit_event (task, event);
  else if (strcmp (topic, "/tasks/start") == 0 && init != NULL)
    task_note_start (task, init, (guint32)event->number[2]);
  else if (strcmp (topic, "/tasks/exec-started") == 0 && exec != NULL)
    task_note_start (task, exec, (guint32)event->number[3]);
  else if (strcmp (topic, "/tasks/oom") == 0 && init != NULL)
    task_tell (task, GANTRY_TASK_EVENT_OOM, init);
  else if (strcmp (topic, "/tasks/checkpointed") == 0 && init != NULL)
    task_tell (task, GANTRY_TASK_EVENT_CHECKPOINTED, init);
}

void
shim_runtime_on_event (ShimRuntime *self, const ShimEvent *event)
{
  g_autofree char *key = shim_runtime_key (event->ns, event->text[1]);
  Task *task;

  g_mutex_lock (&self->lock);
  task = g_hash_table_lookup (self->tasks, key);
  if (task != NULL)
    on_task_event (task, event);
  g_mutex_unlock (&self->lock);
}

/* A State message { id = 1, bundle = 2, pid = 3, status = 4, stdin = 5, stdout = 6, stderr = 7, terminal = 8,
 * exit_status = 9, exited_at = 10, exec_id = 11 } */
typedef struct
{
  char *text[12];
  guint64 number[12];
  gint64 exited;
} State;

static void
state_read (State *state, const guint8 *data, gsize length)
{
  PbReader reader = pb_reader (data, length);
  PbField field;

  *state = (State){ 0 };
  while (pb_next (&reader, &field) > 0)
    {
      if (field.number >= G_N_ELEMENTS (state->text))
        continue;
      if (field.wire == 0)
        state->number[field.number] = field.value;
      else if (field.number == 10)
        state->exited = pb_read_timestamp (&field);
      else if (field.wire == 2 && state->text[field.number] == NULL)
        state->text[field.number] = g_strndup ((const char *)field.data, field.length);
    }
}

static void
state_clear (State *state)
{
  for (gsize i = 0; i < G_N_ELEMENTS (state->text); i++)
    g_free (state->text[i]);
}

/* With the lock. Returns: (transfer none). */
static Proc *
note_state (Task *self, const char *exec_id, const State *state)
{
  g_autoptr (GantryStdio) stdio
      = gantry_stdio_new (state->text[5], state->text[6], state->text[7], state->number[8] != 0, NULL);
  Proc *proc = task_find (self, exec_id);

  if (proc == NULL)
    proc = task_add (self, exec_id, stdio);
  proc->pid = (guint32)state->number[3];
  if (proc->status != GANTRY_TASK_STOPPED)
    proc->status = (GantryTaskStatus)state->number[4];
  proc->exit_status = (guint32)state->number[9];
  proc->exited_ns = state->exited;
  return proc;
}

static void
learn_listed (Task *self, const guint8 *data, gsize length)
{
  State state;

  state_read (&state, data, length);
  if (g_strcmp0 (state.text[1], self->id) == 0)
    note_state (self, state.text[11] != NULL ? state.text[11] : "", &state);
  state_clear (&state);
}

/* A list of State messages in field 1. Comes in order with events, so that none is missed and none is undone.
 */
static void
on_watching (GBytes *reply, const GError *error, gpointer user_data)
{
  Task *task = user_data;
  PbReader reader;
  PbField field;

  if (reply != NULL)
    {
      reader = pb_reader (g_bytes_get_data (reply, NULL), g_bytes_get_size (reply));
      g_mutex_lock (&task->runtime->lock);
      while (pb_next (&reader, &field) > 0)
        if (field.number == 1 && field.wire == 2)
          learn_listed (task, field.data, field.length);
      g_mutex_unlock (&task->runtime->lock);
    }
  task_unref (task);
}

gboolean
task_learn (Task *self, const char *exec_id, GError **error)
{
  g_autoptr (GBytes) reply = NULL;
  gboolean stopped;
  State state;
  Proc *proc;

  if (!task_call (self, SHIM_TASK_SERVICE, "State", exec_id, NULL, NULL, &reply, NULL, error))
    return FALSE;
  state_read (&state, g_bytes_get_data (reply, NULL), g_bytes_get_size (reply));
  g_mutex_lock (&self->runtime->lock);
  proc = note_state (self, exec_id, &state);
  stopped = proc->status == GANTRY_TASK_STOPPED;
  if (stopped)
    record_exit (self, exec_id, proc->exit_status, proc->exited_ns);
  g_mutex_unlock (&self->runtime->lock);
  state_clear (&state);
  if (!stopped)
    task_await_exit (self, exec_id);
  return TRUE;
}

static gboolean
learn_init (Task *self, GError **error)
{
  g_autoptr (GError) local = NULL;

  /* A shim without the container: it is about to be created. */
  if (task_learn (self, "", &local) || gantry_error_is (local, GANTRY_ERROR_NOT_FOUND))
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&local));
  return FALSE;
}

/* The link to @address: there already, or made. Returns: (transfer full). */
static Link *
get_link (ShimRuntime *self, const char *address, GError **error)
{
  Connection *connection;
  Link *link;

  g_mutex_lock (&self->lock);
  link = g_hash_table_lookup (self->links, address);
  if (link != NULL)
    link_ref (link);
  g_mutex_unlock (&self->lock);
  if (link != NULL)
    return link;
  connection = connection_new (address, self->context, on_connection_event, self, error);
  if (connection == NULL)
    return NULL;
  link = g_new (Link, 1);
  *link = (Link){ 1, self, g_strdup (address), connection };
  g_mutex_lock (&self->lock);
  /* Of two that came at once the later one is found from now on; both work. */
  g_hash_table_replace (self->links, link->address, link);
  g_mutex_unlock (&self->lock);
  return link;
}

gboolean
task_connect (Task *self, GError **error)
{
  g_autoptr (GBytes) bytes = gantry_read_file_at (self->dir_fd, "address", MAX_ADDRESS, error);
  g_autofree char *text = NULL;
  PbBuffer body = { 0 };
  Link *link;

  if (bytes == NULL)
    return FALSE;
  text = g_strstrip (g_strndup (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes)));
  if (!g_str_has_prefix (text, "unix:///"))
    return gantry_throw (error, GANTRY_ERROR_INTERNAL,
                         "the shim of container %s listens at \"%s\", which is not a unix:// address",
                         self->id, text);
  link = get_link (self->runtime, text + strlen ("unix://"), error);
  if (link == NULL)
    return FALSE;
  g_mutex_lock (&self->runtime->lock);
  self->link = link;
  g_mutex_unlock (&self->runtime->lock);
  task_link_for_clients (self, text + strlen ("unix://"));
  if (!self->runtime->native)
    return learn_init (self, error);
  if (connection_send (link->connection, SHIM_OWN_SERVICE, "Watch", &body, NULL, on_watching, task_ref (self),
                       error))
    return TRUE;
  task_unref (self);
  return FALSE;
}

typedef struct
{
  Task *task;
  char *exec_id;
} Awaited;

/* WaitResponse { exit_status = 1, exited_at = 2 } */
static void
on_exited (GBytes *reply, const GError *error, gpointer user_data)
{
  Awaited *awaited = user_data;
  Task *task = awaited->task;
  PbReader reader;
  PbField field;
  guint32 status = 0;
  gint64 exited = gantry_now_ns ();
  Proc *proc;

  if (reply != NULL)
    {
      reader = pb_reader (g_bytes_get_data (reply, NULL), g_bytes_get_size (reply));
      while (pb_next (&reader, &field) > 0)
        if (field.number == 1 && field.wire == 0)
          status = (guint32)field.value;
        else if (field.number == 2 && field.wire == 2)
          exited = pb_read_timestamp (&field);
      g_mutex_lock (&task->runtime->lock);
      proc = task_find (task, awaited->exec_id);
      if (proc != NULL)
        {
          task_note_start (task, proc, proc->pid);
          task_note_exit (task, proc, status, exited);
        }
      g_mutex_unlock (&task->runtime->lock);
    }
  task_unref (task);
  g_free (awaited->exec_id);
  g_free (awaited);
}

void
task_await_exit (Task *self, const char *exec_id)
{
  Awaited *awaited = g_new (Awaited, 1);
  PbBuffer body = { 0 };

  *awaited = (Awaited){ task_ref (self), g_strdup (exec_id) };
  pb_put_string (&body, 1, self->id);
  pb_put_string (&body, 2, exec_id);
  if (self->link != NULL
      && connection_send (self->link->connection, SHIM_TASK_SERVICE, "Wait", &body, NULL, on_exited, awaited,
                          NULL))
    return;
  pb_clear (&body);
  task_unref (self);
  g_free (awaited->exec_id);
  g_free (awaited);
}
