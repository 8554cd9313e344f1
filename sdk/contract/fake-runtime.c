/* SPDX-License-Identifier: MIT */
#include "fake-runtime.h"

#include <string.h>
#include <unistd.h>

#include "fake-support.h"

#define FIRST_PID 1000

typedef struct _FakeRuntime FakeRuntime;

/* A process of a task; that of init stands for the task. */
typedef struct
{
  gatomicrefcount refs; /* the table's and its thread's */
  FakeRuntime *runtime;
  char *ns, *id, *exec_id;
  char **args;
  GantryStdio *stdio; /* (nullable) */
  guint32 pid;
  GantryTaskStatus status; /* with lock */
  guint32 exit_status;     /* with lock */
  gint64 exited_ns;        /* with lock */
} Proc;

struct _FakeRuntime
{
  GantryRuntime runtime;
  GMutex lock;
  GCond ended;         /* a player's thread is done */
  GPtrArray *procs;    /* (element-type Proc); with lock */
  guint n_pids;        /* with lock */
  guint n_players;     /* with lock */
  GantryTaskFunc func; /* with lock */
  gpointer user_data;
  GHashTable *tells; /* of sources; with lock */
};

typedef struct
{
  FakeRuntime *runtime;
  GantryTaskEvent event;
  GantryProcess *process;
} Tell;

static void
proc_unref (gpointer data)
{
  Proc *self = data;

  if (!g_atomic_ref_count_dec (&self->refs))
    return;
  g_free (self->ns);
  g_free (self->id);
  g_free (self->exec_id);
  g_strfreev (self->args);
  gantry_stdio_unref (self->stdio);
  g_free (self);
}

/* With the lock held. Returns: (transfer none) (nullable). */
static Proc *
find (FakeRuntime *self, const char *ns, const char *id, const char *exec_id)
{
  for (guint i = 0; i < self->procs->len; i++)
    {
      Proc *proc = g_ptr_array_index (self->procs, i);

      if (strcmp (proc->ns, ns) == 0 && strcmp (proc->id, id) == 0 && strcmp (proc->exec_id, exec_id) == 0)
        return proc;
    }
  return NULL;
}

static gboolean
throw_absent (const char *id, const char *exec_id, GError **error)
{
  return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "task %s%s%s: not found", id,
                       exec_id[0] != '\0' ? " process " : "", exec_id);
}

static GantryProcess *
describe (const Proc *self)
{
  return gantry_process_new (self->ns, self->id, self->exec_id, "/nonexistent", self->pid, self->status,
                             self->exit_status, self->exited_ns, NULL);
}

static void
tell_free (gpointer data)
{
  Tell *self = data;

  gantry_process_unref (self->process);
  g_free (self);
}

static gboolean
on_tell (gpointer data)
{
  Tell *self = data;
  FakeRuntime *runtime = self->runtime;
  GantryTaskFunc func;
  gpointer user_data;

  g_mutex_lock (&runtime->lock);
  g_hash_table_remove (runtime->tells, g_main_current_source ());
  func = runtime->func;
  user_data = runtime->user_data;
  g_mutex_unlock (&runtime->lock);
  if (func != NULL)
    func (self->event, self->process, user_data);
  return G_SOURCE_REMOVE;
}

/* With the lock held. */
static void
tell (FakeRuntime *self, GantryTaskEvent event, const Proc *proc)
{
  g_autoptr (GSource) source = g_idle_source_new ();
  Tell *what = g_new (Tell, 1);

  *what = (Tell){ self, event, describe (proc) };
  g_source_set_priority (source, G_PRIORITY_DEFAULT);
  g_source_set_callback (source, on_tell, what, tell_free);
  g_hash_table_add (self->tells, g_source_ref (source));
  g_source_attach (source, NULL);
}

/* With the lock held. */
static void
end (FakeRuntime *self, Proc *proc, guint32 status)
{
  if (proc->status == GANTRY_TASK_STOPPED)
    return;
  proc->status = GANTRY_TASK_STOPPED;
  proc->exit_status = status;
  proc->exited_ns = gantry_now_ns ();
  tell (self, GANTRY_TASK_EVENT_EXIT, proc);
}

/* The descriptor that @uri ("fd:N") names, or -1. */
static int
stream_of (GantryStdio *stdio, const char *uri)
{
  if (stdio == NULL || stdio->fds == NULL || uri == NULL || !g_str_has_prefix (uri, "fd:"))
    return -1;
  return g_unix_fd_list_get (stdio->fds, (gint)g_ascii_strtoll (uri + 3, NULL, 10), NULL);
}

/* Copies stdin to stdout, as cat does. */
static gpointer
play_cat (gpointer data)
{
  Proc *proc = data;
  FakeRuntime *self = proc->runtime;
  int in = stream_of (proc->stdio, proc->stdio->stdin_uri),
      out = stream_of (proc->stdio, proc->stdio->stdout_uri);
  char buffer[4096];
  gssize n;

  g_clear_pointer (&proc->stdio, gantry_stdio_unref);
  while ((n = read (in, buffer, sizeof buffer)) > 0)
    if (out >= 0 && write (out, buffer, (gsize)n) != n)
      break;
  close (in);
  if (out >= 0)
    close (out);
  g_mutex_lock (&self->lock);
  end (self, proc, 0);
  self->n_players--;
  g_cond_broadcast (&self->ended);
  g_mutex_unlock (&self->lock);
  proc_unref (proc);
  return NULL;
}

/* With the lock held: begins what the program is to do. */
static void
play (FakeRuntime *self, Proc *proc)
{
  const char *program = proc->args[0];

  proc->status = GANTRY_TASK_RUNNING;
  tell (self, proc->exec_id[0] == '\0' ? GANTRY_TASK_EVENT_START : GANTRY_TASK_EVENT_EXEC_STARTED, proc);
  if (strcmp (program, "true") == 0)
    end (self, proc, 0);
  else if (strcmp (program, "sh") == 0)
    end (self, proc, (guint32)g_ascii_strtoull (strrchr (proc->args[2], ' '), NULL, 10));
  else if (strcmp (program, "cat") == 0 && proc->stdio != NULL && proc->stdio->fds != NULL
           && proc->stdio->stdin_uri != NULL && g_str_has_prefix (proc->stdio->stdin_uri, "fd:"))
    {
      self->n_players++;
      g_atomic_ref_count_inc (&proc->refs);
      g_thread_unref (g_thread_new ("cat", play_cat, proc));
    }
}

/* The "args" of a spec or process. Returns: (transfer full) (nullable). */
static char **
read_args (GBytes *json)
{
  g_autofree char *text = g_strndup (g_bytes_get_data (json, NULL), g_bytes_get_size (json));
  g_autoptr (GRegex) list = g_regex_new ("\"args\"\\s*:\\s*\\[([^\\]]*)\\]", 0, 0, NULL);
  g_autoptr (GRegex) item = g_regex_new ("\"([^\"]*)\"", 0, 0, NULL);
  g_autoptr (GMatchInfo) found = NULL;
  g_autoptr (GMatchInfo) each = NULL;
  g_autofree char *inside = NULL;
  GPtrArray *args;

  if (!g_regex_match (list, text, 0, &found))
    return NULL;
  inside = g_match_info_fetch (found, 1);
  args = g_ptr_array_new ();
  for (g_regex_match (item, inside, 0, &each); g_match_info_matches (each); g_match_info_next (each, NULL))
    g_ptr_array_add (args, g_match_info_fetch (each, 1));
  g_ptr_array_add (args, NULL);
  return (char **)g_ptr_array_free (args, FALSE);
}

/* With the lock held. Returns: (transfer none) (nullable). */
static Proc *
add_proc (FakeRuntime *self, const char *ns, const char *id, const char *exec_id, GBytes *json,
          GantryStdio *stdio, GError **error)
{
  static const char *const programs[] = { "true", "sleep", "cat", "sh", NULL };
  g_auto (GStrv) args = read_args (json);
  Proc *proc;

  if (find (self, ns, id, exec_id) != NULL)
    {
      gantry_throw (error, GANTRY_ERROR_ALREADY_EXISTS, "task %s %s: already exists", id, exec_id);
      return NULL;
    }
  if (args == NULL || args[0] == NULL)
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the spec of %s %s has no arguments", id, exec_id);
      return NULL;
    }
  if (!g_strv_contains (programs, args[0]))
    {
      gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "the program %s of %s is not found", args[0], id);
      return NULL;
    }
  proc = g_new0 (Proc, 1);
  g_atomic_ref_count_init (&proc->refs);
  proc->runtime = self;
  proc->ns = g_strdup (ns);
  proc->id = g_strdup (id);
  proc->exec_id = g_strdup (exec_id);
  proc->args = g_steal_pointer (&args);
  proc->stdio = gantry_stdio_ref (stdio);
  proc->pid = FIRST_PID + ++self->n_pids;
  proc->status = GANTRY_TASK_CREATED;
  g_ptr_array_add (self->procs, proc);
  tell (self, exec_id[0] == '\0' ? GANTRY_TASK_EVENT_CREATE : GANTRY_TASK_EVENT_EXEC_ADDED, proc);
  return proc;
}

static gboolean
runtime_create (GantryRuntime *runtime, GantryTaskCreate *create, GantryProcess **ret_process,
                GCancellable *cancellable, GError **error)
{
  FakeRuntime *self = (FakeRuntime *)runtime;
  Proc *proc;

  if (!gantry_fake_check_cancelled (cancellable, error))
    return FALSE;
  g_mutex_lock (&self->lock);
  proc = add_proc (self, create->ns, create->id, "", create->spec, create->stdio, error);
  if (proc != NULL)
    *ret_process = describe (proc);
  g_mutex_unlock (&self->lock);
  return proc != NULL;
}

/* Finds a process and runs @func on it with the lock held. */
static gboolean
with_proc (GantryRuntime *runtime, const char *ns, const char *id, const char *exec_id,
           gboolean (*func) (FakeRuntime *self, Proc *proc, gpointer data, GError **error), gpointer data,
           GError **error)
{
  FakeRuntime *self = (FakeRuntime *)runtime;
  gboolean ok;
  Proc *proc;

  g_mutex_lock (&self->lock);
  proc = find (self, ns, id, exec_id);
  ok = proc != NULL ? func (self, proc, data, error) : throw_absent (id, exec_id, error);
  g_mutex_unlock (&self->lock);
  return ok;
}

static gboolean
do_start (FakeRuntime *self, Proc *proc, gpointer data, GError **error)
{
  GantryProcess **ret_process = data;

  if (proc->status != GANTRY_TASK_CREATED)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "task %s %s was started already", proc->id,
                         proc->exec_id);
  play (self, proc);
  if (ret_process != NULL)
    *ret_process = describe (proc);
  return TRUE;
}

static gboolean
runtime_start (GantryRuntime *runtime, const char *ns, const char *id, const char *exec_id,
               GantryProcess **ret_process, GCancellable *cancellable, GError **error)
{
  return gantry_fake_check_cancelled (cancellable, error)
         && with_proc (runtime, ns, id, exec_id, do_start, ret_process, error);
}

static gboolean
runtime_exec (GantryRuntime *runtime, const char *ns, const char *id, const char *exec_id, GBytes *process,
              GantryStdio *stdio, GCancellable *cancellable, GError **error)
{
  FakeRuntime *self = (FakeRuntime *)runtime;
  const Proc *init;
  gboolean ok;

  if (!gantry_fake_check_cancelled (cancellable, error))
    return FALSE;
  g_mutex_lock (&self->lock);
  init = find (self, ns, id, "");
  if (init == NULL)
    ok = throw_absent (id, "", error);
  else if (init->status != GANTRY_TASK_RUNNING)
    ok = gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "task %s does not run", id);
  else
    ok = add_proc (self, ns, id, exec_id, process, stdio, error) != NULL;
  g_mutex_unlock (&self->lock);
  return ok;
}

static gboolean
do_remove (FakeRuntime *self, Proc *proc, gpointer data, GError **error)
{
  GantryProcess **ret_process = data;

  if (proc->status == GANTRY_TASK_RUNNING || proc->status == GANTRY_TASK_PAUSED)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "task %s %s runs; kill it first", proc->id,
                         proc->exec_id);
  if (ret_process != NULL)
    *ret_process = describe (proc);
  if (proc->exec_id[0] == '\0')
    tell (self, GANTRY_TASK_EVENT_DELETE, proc);
  g_ptr_array_remove (self->procs, proc);
  return TRUE;
}

static gboolean
runtime_remove (GantryRuntime *runtime, const char *ns, const char *id, const char *exec_id,
                GantryProcess **ret_process, GCancellable *cancellable, GError **error)
{
  (void)cancellable;
  return with_proc (runtime, ns, id, exec_id, do_remove, ret_process, error);
}

static gboolean
do_kill (FakeRuntime *self, Proc *proc, gpointer data, GError **error)
{
  if (proc->status == GANTRY_TASK_STOPPED)
    return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "process already finished: not found");
  end (self, proc, 128 + GPOINTER_TO_UINT (data));
  return TRUE;
}

static gboolean
runtime_kill (GantryRuntime *runtime, const char *ns, const char *id, const char *exec_id, guint signal,
              gboolean all, GCancellable *cancellable, GError **error)
{
  (void)all;
  (void)cancellable;
  return with_proc (runtime, ns, id, exec_id, do_kill, GUINT_TO_POINTER (signal), error);
}

static gboolean
do_describe (FakeRuntime *self, Proc *proc, gpointer data, GError **error)
{
  (void)self;
  (void)error;
  *(GantryProcess **)data = describe (proc);
  return TRUE;
}

static gboolean
runtime_state (GantryRuntime *runtime, const char *ns, const char *id, const char *exec_id,
               GantryProcess **ret_process, GCancellable *cancellable, GError **error)
{
  (void)cancellable;
  return with_proc (runtime, ns, id, exec_id, do_describe, ret_process, error);
}

/* The init processes of @ns, or the execs of @id. All but @self are nullable. */
static GPtrArray *
list_procs (FakeRuntime *self, const char *ns, const char *id)
{
  GPtrArray *list = g_ptr_array_new_with_free_func (gantry_value_unref);

  for (guint i = 0; i < self->procs->len; i++)
    {
      const Proc *proc = g_ptr_array_index (self->procs, i);

      if ((ns == NULL || strcmp (proc->ns, ns) == 0) && (id == NULL || strcmp (proc->id, id) == 0)
          && (proc->exec_id[0] == '\0') == (id == NULL))
        g_ptr_array_add (list, describe (proc));
    }
  return list;
}

static gboolean
runtime_list (GantryRuntime *runtime, const char *ns, GPtrArray **ret_processes, GCancellable *cancellable,
              GError **error)
{
  FakeRuntime *self = (FakeRuntime *)runtime;

  (void)cancellable;
  (void)error;
  g_mutex_lock (&self->lock);
  *ret_processes = list_procs (self, ns, NULL);
  g_mutex_unlock (&self->lock);
  return TRUE;
}

static gboolean
do_list_execs (FakeRuntime *self, Proc *proc, gpointer data, GError **error)
{
  (void)error;
  *(GPtrArray **)data = list_procs (self, proc->ns, proc->id);
  return TRUE;
}

static gboolean
runtime_list_execs (GantryRuntime *runtime, const char *ns, const char *id, GPtrArray **ret_processes,
                    GCancellable *cancellable, GError **error)
{
  (void)cancellable;
  return with_proc (runtime, ns, id, "", do_list_execs, ret_processes, error);
}

static gboolean
do_pids (FakeRuntime *self, Proc *proc, gpointer data, GError **error)
{
  (void)self;
  (void)error;
  *(GVariant **)data = g_variant_ref_sink (g_variant_new_parsed ("[(%u, '')]", proc->pid));
  return TRUE;
}

static gboolean
runtime_pids (GantryRuntime *runtime, const char *ns, const char *id, GVariant **ret_pids,
              GCancellable *cancellable, GError **error)
{
  (void)cancellable;
  return with_proc (runtime, ns, id, "", do_pids, ret_pids, error);
}

static gboolean
do_freeze (FakeRuntime *self, Proc *proc, gpointer data, GError **error)
{
  gboolean freeze = GPOINTER_TO_INT (data);

  if (proc->status != (freeze ? GANTRY_TASK_RUNNING : GANTRY_TASK_PAUSED))
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "task %s %s", proc->id,
                         freeze ? "does not run" : "is not paused");
  proc->status = freeze ? GANTRY_TASK_PAUSED : GANTRY_TASK_RUNNING;
  tell (self, freeze ? GANTRY_TASK_EVENT_PAUSED : GANTRY_TASK_EVENT_RESUMED, proc);
  return TRUE;
}

static gboolean
runtime_pause (GantryRuntime *runtime, const char *ns, const char *id, GCancellable *cancellable,
               GError **error)
{
  (void)cancellable;
  return with_proc (runtime, ns, id, "", do_freeze, GINT_TO_POINTER (TRUE), error);
}

static gboolean
runtime_resume (GantryRuntime *runtime, const char *ns, const char *id, GCancellable *cancellable,
                GError **error)
{
  (void)cancellable;
  return with_proc (runtime, ns, id, "", do_freeze, GINT_TO_POINTER (FALSE), error);
}

static gboolean
do_nothing (FakeRuntime *self, Proc *proc, gpointer data, GError **error)
{
  (void)self;
  (void)proc;
  (void)data;
  (void)error;
  return TRUE;
}

static gboolean
runtime_close_stdin (GantryRuntime *runtime, const char *ns, const char *id, const char *exec_id,
                     GCancellable *cancellable, GError **error)
{
  (void)cancellable;
  return with_proc (runtime, ns, id, exec_id, do_nothing, NULL, error);
}

static void
runtime_set_watch (GantryRuntime *runtime, GantryTaskFunc func, gpointer user_data)
{
  FakeRuntime *self = (FakeRuntime *)runtime;

  g_mutex_lock (&self->lock);
  self->func = func;
  self->user_data = user_data;
  g_mutex_unlock (&self->lock);
}

static const GantryRuntimeVtable vtable = {
  .size = sizeof vtable,
  .create = runtime_create,
  .start = runtime_start,
  .exec = runtime_exec,
  .remove = runtime_remove,
  .kill = runtime_kill,
  .state = runtime_state,
  .list = runtime_list,
  .list_execs = runtime_list_execs,
  .pids = runtime_pids,
  .pause = runtime_pause,
  .resume = runtime_resume,
  .close_stdin = runtime_close_stdin,
  .set_watch = runtime_set_watch,
};

GantryRuntime *
gantry_fake_runtime_new (void)
{
  FakeRuntime *self = g_new0 (FakeRuntime, 1);

  self->runtime.vtable = &vtable;
  g_mutex_init (&self->lock);
  g_cond_init (&self->ended);
  self->procs = g_ptr_array_new_with_free_func (proc_unref);
  self->tells = g_hash_table_new_full (NULL, NULL, (GDestroyNotify)g_source_unref, NULL);
  return &self->runtime;
}

void
gantry_fake_runtime_free (GantryRuntime *runtime)
{
  FakeRuntime *self = (FakeRuntime *)runtime;
  GHashTableIter iter;
  gpointer source;

  if (self == NULL)
    return;
  g_mutex_lock (&self->lock);
  while (self->n_players > 0)
    g_cond_wait (&self->ended, &self->lock);
  g_mutex_unlock (&self->lock);
  g_hash_table_iter_init (&iter, self->tells);
  while (g_hash_table_iter_next (&iter, &source, NULL))
    g_source_destroy (source);
  g_hash_table_unref (self->tells);
  g_ptr_array_unref (self->procs);
  g_mutex_clear (&self->lock);
  g_cond_clear (&self->ended);
  g_free (self);
}
