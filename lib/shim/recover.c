/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Finding the tasks of the daemon's last life: every bundle is visited, its shim is connected again or
 * cleaned up after. */
#include "shim-runtime.h"

#include <dirent.h>
#include <signal.h>
#include <sys/file.h>

#include <fdio.h>

/* A process of before as its record tells it; its streams are taken up again unless it has ended. */
static void
recover_streams (Task *task, const char *exec_id)
{
  g_autoptr (GantryStdio) stdio = record_read_stdio (task, exec_id);
  GantryTaskStatus status = GANTRY_TASK_STOPPED;
  Streams *streams = NULL;
  Proc *proc;

  g_mutex_lock (&task->runtime->lock);
  proc = task_find (task, exec_id);
  if (proc != NULL)
    status = proc->status;
  g_mutex_unlock (&task->runtime->lock);
  if (stdio == NULL)
    return;
  if (status != GANTRY_TASK_STOPPED)
    streams = relay_reopen (task, exec_id, stdio);
  g_mutex_lock (&task->runtime->lock);
  proc = task_find (task, exec_id);
  if (proc != NULL)
    {
      gantry_stdio_unref (proc->stdio);
      proc->stdio = g_steal_pointer (&stdio);
      proc->streams = g_steal_pointer (&streams);
    }
  g_mutex_unlock (&task->runtime->lock);
  streams_unref (streams);
  if (status != GANTRY_TASK_CREATED)
    relay_start (task, exec_id);
}

/* The execs of before, as the shim has them. One that it does not have was being made, or removed. */
static void
recover_execs (Task *task)
{
  g_auto (GStrv) names = record_list_execs (task);

  for (gsize i = 0; names[i] != NULL; i++)
    {
      g_autoptr (GError) error = NULL;

      if (task_learn (task, names[i], &error))
        recover_streams (task, names[i]);
      else if (gantry_error_is (error, GANTRY_ERROR_NOT_FOUND))
        {
          relay_remove (task, names[i]);
          record_remove (task, names[i]);
        }
      else
        gantry_host_log (task->runtime->host, GANTRY_LOG_WARNING, "process %s of container %s: %s", names[i],
                         task->id, error->message);
    }
}

/* Whether its shim still has the task. The shim's answer to Connect comes behind what it told to task_connect
 * (). */
static gboolean
reconnect (Task *task)
{
  gboolean has;

  if (!task->runtime->native && !shim_log_open (task, NULL))
    return FALSE;
  if (!task_connect (task, NULL)
      || !task_call (task, SHIM_TASK_SERVICE, "Connect", NULL, NULL, NULL, NULL, NULL, NULL))
    return FALSE;
  g_mutex_lock (&task->runtime->lock);
  has = task_find (task, "") != NULL;
  g_mutex_unlock (&task->runtime->lock);
  if (has && !task->runtime->native)
    {
      recover_streams (task, "");
      recover_execs (task);
    }
  return has;
}

/* The shim has gone: how @exec_id ended is what was written down, or that it was killed. */
static void
recover_ended (Task *task, const char *exec_id, guint32 status, gint64 exited)
{
  g_autoptr (GantryStdio) stdio = task->runtime->native ? NULL : record_read_stdio (task, exec_id);
  Proc *proc;

  if (!task_read_exit (task, exec_id, &status, &exited) && !task->runtime->native)
    record_exit (task, exec_id, status, exited);
  g_mutex_lock (&task->runtime->lock);
  proc = task_find (task, exec_id);
  if (proc == NULL)
    proc = task_add (task, exec_id, stdio);
  proc->status = GANTRY_TASK_STOPPED;
  proc->exit_status = status;
  proc->exited_ns = exited;
  g_mutex_unlock (&task->runtime->lock);
}

/* Waits for the start of a shim that the daemon's last life began and did not see the end of: a starting shim
 * of ours has this lock until its address is in the bundle (shim/start.c), and one that gets it later finds
 * that its bundle is gone. Returns: an fd that holds the lock, or -1. */
static int
lock_starts (ShimRuntime *self)
{
  g_autofree char *path = g_build_filename (self->path, "s", NULL);
  int fd = self->native ? open (path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

  if (fd >= 0 && flock (fd, LOCK_EX) < 0)
    gantry_host_log (self->host, GANTRY_LOG_WARNING, "locking %s: %s", path, g_strerror (errno));
  return fd;
}

/* Finds a task of the daemon's last life by its bundle. One whose shim has gone is cleaned up; if it was
 * made, it stays as a stopped task until somebody removes it, else nobody was ever told of it. */
static void
recover_one (ShimRuntime *self, const char *ns, const char *id, int dir_fd)
{
  g_autoptr (Task) task = task_new (self, ns, id, dir_fd);
  gboolean made = faccessat (dir_fd, TASK_MADE, F_OK, 0) == 0;
  G_GNUC_UNUSED gantry_autofd int lock = made ? -1 : lock_starts (self); /* held to the end */
  guint32 status = 128 + SIGKILL;
  gint64 exited = gantry_now_ns ();
  g_auto (GStrv) execs = NULL;

  g_mutex_lock (&self->lock);
  g_hash_table_insert (self->tasks, shim_runtime_key (ns, id), task_ref (task));
  g_mutex_unlock (&self->lock);
  if (reconnect (task))
    return;
  task_shut_down (task);
  task_clean_up (task, &status, &exited);
  if (!made)
    {
      task_forget (task);
      return;
    }
  g_mutex_lock (&self->lock);
  task->removed = FALSE;
  g_mutex_unlock (&self->lock);
  recover_ended (task, "", status, exited);
  execs = record_list_execs (task);
  for (gsize i = 0; execs[i] != NULL; i++)
    recover_ended (task, execs[i], 128 + SIGKILL, exited);
}

static void
recover_namespace (ShimRuntime *self, const char *ns)
{
  int fd = gantry_open_beneath (self->bundles_fd, ns, O_RDONLY | O_DIRECTORY, 0);
  DIR *dir = fd >= 0 ? fdopendir (fd) : NULL;
  struct dirent *entry;

  if (dir == NULL)
    {
      gantry_fd_clear (&fd);
      return;
    }
  while ((entry = readdir (dir)) != NULL)
    if (shim_runtime_is_name (entry->d_name))
      {
        int task_fd = gantry_open_beneath (fd, entry->d_name, O_RDONLY | O_DIRECTORY, 0);

        if (task_fd >= 0)
          recover_one (self, ns, entry->d_name, task_fd);
      }
  closedir (dir);
}

gboolean
shim_runtime_recover (ShimRuntime *self, GError **error)
{
  int fd = openat (self->bundles_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *dir = fd >= 0 ? fdopendir (fd) : NULL;
  struct dirent *entry;

  if (dir == NULL)
    {
      gantry_fd_clear (&fd);
      return gantry_throw_errno (error, errno, "reading the bundles in %s", self->path);
    }
  while ((entry = readdir (dir)) != NULL)
    if (shim_runtime_is_name (entry->d_name))
      recover_namespace (self, entry->d_name);
  closedir (dir);
  return TRUE;
}
