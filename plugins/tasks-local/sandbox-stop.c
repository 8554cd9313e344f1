/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The end of a sandbox: SIGTERM, and SIGKILL when the time is over. No thread waits meanwhile. */
#include "tasks-local.h"

#include <signal.h>
#include <string.h>

/* For whoever names no time. */
#define DEFAULT_SECONDS 10
#define MAX_SECONDS     86400
/* How often to look whether one that was deaf hears. */
#define LOOK_MS 100

/* One that has not ended yet is in the list, which owns it. */
typedef struct
{
  gint refs; /* (atomic): the list, the timer, work under way */
  TasksLocal *self;
  char *ns;
  char *id;
  guint seconds;
  guint pid;
  gboolean deaf;  /* as SIGTERM was sent */
  gint64 end_us;  /* main context, as what follows */
  GSource *timer; /* (nullable) */
} Stop;

static void
stop_unref (gpointer data)
{
  Stop *stop = data;

  if (!g_atomic_int_dec_and_test (&stop->refs))
    return;
  g_free (stop->ns);
  g_free (stop->id);
  g_free (stop);
}

static Stop *
stop_ref (Stop *stop)
{
  g_atomic_int_inc (&stop->refs);
  return stop;
}

void
sandbox_stop_free (gpointer data)
{
  Stop *stop = data;

  if (stop->timer != NULL)
    g_source_destroy (stop->timer);
  g_clear_pointer (&stop->timer, g_source_unref);
  stop_unref (stop);
}

/* It has ended. */
static void
forget (Stop *stop)
{
  gboolean listed;

  g_mutex_lock (&stop->self->lock);
  listed = g_ptr_array_remove_fast (stop->self->stops, stop);
  g_mutex_unlock (&stop->self->lock);
  if (listed)
    sandbox_stop_free (stop);
}

static void
on_exit_of (GantryProcess *process, const GError *error, gpointer user_data)
{
  forget (user_data);
}

static void
force (gpointer data, gpointer unused)
{
  Stop *stop = data;

  /* One that is gone needs no signal. */
  gantry_tasks_kill (&stop->self->tasks, stop->ns, stop->id, "", SIGKILL, TRUE, NULL, NULL);
}

static void
tell (gpointer data, gpointer unused)
{
  Stop *stop = data;
  g_autoptr (GError) error = NULL;

  /* If it can't be told, it is ended when the time has come. */
  if (!gantry_tasks_kill (&stop->self->tasks, stop->ns, stop->id, "", SIGTERM, FALSE, NULL, &error))
    gantry_host_log (stop->self->host, GANTRY_LOG_DEBUG, "stopping sandbox %s: %s", stop->id, error->message);
}

/* Whether the process neither takes SIGTERM nor keeps it for later: the kernel forgets what is sent to pid 1
 * of a namespace then, and one that has just started may be so for a moment. See proc_pid_status(5). */
static gboolean
is_deaf (guint pid)
{
  static const char *const masks[] = { "\nSigBlk:", "\nSigCgt:" };
  g_autofree char *path = g_strdup_printf ("/proc/%u/status", pid), *text = NULL;

  if (!g_file_get_contents (path, &text, NULL, NULL))
    return FALSE;
  for (gsize i = 0; i < G_N_ELEMENTS (masks); i++)
    {
      const char *found = strstr (text, masks[i]);

      if (found != NULL
          && (g_ascii_strtoull (found + strlen (masks[i]), NULL, 16)
              & (G_GUINT64_CONSTANT (1) << (SIGTERM - 1)))
                 != 0)
        return FALSE;
    }
  return TRUE;
}

static void
submit (Stop *stop, GFunc work)
{
  if (!gantry_host_submit (stop->self->host, GANTRY_POOL_RUNTIME, work, stop_ref (stop), stop_unref, NULL))
    stop_unref (stop);
}

static void set_timer (Stop *stop);

static gboolean
on_timer (gpointer data)
{
  Stop *stop = data;

  if (g_get_monotonic_time () >= stop->end_us)
    {
      submit (stop, force);
      return G_SOURCE_REMOVE;
    }
  if (stop->deaf && !is_deaf (stop->pid))
    {
      stop->deaf = FALSE;
      submit (stop, tell);
    }
  set_timer (stop);
  return G_SOURCE_REMOVE;
}

/* At the end, or at the next look before that. */
static void
set_timer (Stop *stop)
{
  gint64 left_ms = MAX (stop->end_us - g_get_monotonic_time () + 999, 0) / 1000;

  if (stop->timer != NULL)
    g_source_destroy (stop->timer);
  g_clear_pointer (&stop->timer, g_source_unref);
  stop->timer = g_timeout_source_new ((guint)(stop->deaf ? MIN (left_ms, LOOK_MS) : left_ms));
  g_source_set_callback (stop->timer, on_timer, stop_ref (stop), stop_unref);
  g_source_attach (stop->timer, stop->self->host->get_main_context (stop->self->host));
}

/* Main context, where its end is told, too. */
static gboolean
arm (gpointer data)
{
  Stop *stop = data;
  gboolean listed;

  g_mutex_lock (&stop->self->lock);
  listed = g_ptr_array_find (stop->self->stops, stop, NULL);
  g_mutex_unlock (&stop->self->lock);
  if (!listed)
    return G_SOURCE_REMOVE;
  stop->end_us = g_get_monotonic_time () + (gint64)stop->seconds * G_USEC_PER_SEC;
  set_timer (stop);
  return G_SOURCE_REMOVE;
}

/* Sees to it that it is killed when the time is over. */
static gboolean
watch_over (TasksLocal *self, const char *ns, const char *id, guint pid, guint seconds, GError **error)
{
  Stop *stop = g_new0 (Stop, 1);
  guint64 wait;

  stop->refs = 2;
  stop->self = self;
  stop->ns = g_strdup (ns);
  stop->id = g_strdup (id);
  stop->pid = pid;
  stop->deaf = is_deaf (pid);
  stop->seconds = seconds > 0 ? MIN (seconds, MAX_SECONDS) : DEFAULT_SECONDS;
  g_mutex_lock (&self->lock);
  g_ptr_array_add (self->stops, stop);
  g_mutex_unlock (&self->lock);
  if (!gantry_tasks_wait (&self->tasks, ns, id, "", on_exit_of, stop, &wait, NULL, error))
    {
      forget (stop);
      stop_unref (stop);
      return FALSE;
    }
  g_main_context_invoke_full (self->host->get_main_context (self->host), G_PRIORITY_DEFAULT, arm, stop,
                              stop_unref);
  return TRUE;
}

gboolean
tasks_stop_sandbox (GantryTasks *tasks, const char *ns, const char *id, guint seconds, GantryExitFunc func,
                    gpointer user_data, guint64 *ret_id, GCancellable *cancellable, GError **error)
{
  TasksLocal *self = (TasksLocal *)tasks;
  g_autoptr (GantryProcess) process = NULL;
  g_autoptr (GError) local = NULL;

  if (!gantry_tasks_get (tasks, ns, id, "", &process, cancellable, error)
      || (process->status != GANTRY_TASK_STOPPED && !watch_over (self, ns, id, process->pid, seconds, error))
      || !gantry_tasks_wait (tasks, ns, id, "", func, user_data, ret_id, cancellable, error))
    return FALSE;
  /* If it can't be told, it is ended when the time has come. */
  if (process->status != GANTRY_TASK_STOPPED
      && !gantry_tasks_kill (tasks, ns, id, "", SIGTERM, FALSE, cancellable, &local))
    gantry_host_log (self->host, GANTRY_LOG_DEBUG, "stopping sandbox %s: %s", id, local->message);
  return TRUE;
}
