/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Finding the tasks of the daemon's last life: every bundle is visited, its shim is connected again or
 * cleaned up after. */
#include "shim-runtime.h"

#include <dirent.h>
#include <signal.h>
#include <sys/file.h>

#include <fdio.h>

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
  return has;
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
  gantry_autofd int lock = made ? -1 : lock_starts (self);
  guint32 status = 128 + SIGKILL;
  gint64 exited = gantry_now_ns ();
  Proc *proc;

  g_mutex_lock (&self->lock);
  g_hash_table_insert (self->tasks, shim_runtime_key (ns, id), task_ref (task));
  g_mutex_unlock (&self->lock);
  if (reconnect (task))
    return;
  task_shut_down (task);
  task_clean_up (task, &status, &exited);
  task_read_exit (task, "", &status, &exited);
  if (!made)
    {
      task_forget (task);
      return;
    }
  g_mutex_lock (&self->lock);
  task->removed = FALSE;
  proc = task_find (task, "");
  if (proc == NULL)
    proc = task_add (task, "", NULL);
  proc->status = GANTRY_TASK_STOPPED;
  proc->exit_status = status;
  proc->exited_ns = exited;
  g_mutex_unlock (&self->lock);
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
