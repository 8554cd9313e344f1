/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Finding the tasks of the daemon's last life: every bundle is visited, its shim is connected again or cleaned up after. */
#include "runtime-runc.h"

#include <dirent.h>
#include <signal.h>

#include <fdio.h>

/* Finds a task of the daemon's last life by its bundle. One that was never created, or whose shim died, is
 * cleaned up; if it had run, it stays as a stopped task until somebody removes it. */
static void
recover_one (RuntimeRunc *self, const char *ns, const char *id, int dir_fd)
{
  g_autoptr (Task) task = task_new (self, ns, id, dir_fd);
  guint32 status = 128 + SIGKILL;
  gint64 exited = gantry_now_ns ();
  gboolean ran = FALSE;

  g_mutex_lock (&self->lock);
  g_hash_table_insert (self->tasks, runtime_runc_key (ns, id), task_ref (task));
  g_mutex_unlock (&self->lock);
  if (task_connect (task, NULL) && task_find (task, "") != NULL)
    return;
  ran = task_read_exit (task, "", &status, &exited);
  task_shut_down (task);
  connection_unref (g_steal_pointer (&task->connection));
  task_clean_up (task);
  if (!ran)
    {
      task_forget (task);
      return;
    }
  g_mutex_lock (&self->lock);
  task->removed = FALSE;
  if (task_find (task, "") == NULL)
    {
      Proc *proc = task_add (task, "", NULL);

      proc->status = GANTRY_TASK_STOPPED;
      proc->exit_status = status;
      proc->exited_ns = exited;
    }
  g_mutex_unlock (&self->lock);
}

static void
recover_namespace (RuntimeRunc *self, const char *ns)
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
    if (runtime_runc_is_name (entry->d_name))
      {
        int task_fd = gantry_open_beneath (fd, entry->d_name, O_RDONLY | O_DIRECTORY, 0);

        if (task_fd >= 0)
          recover_one (self, ns, entry->d_name, task_fd);
      }
  closedir (dir);
}

gboolean
runtime_runc_recover (RuntimeRunc *self, GError **error)
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
    if (runtime_runc_is_name (entry->d_name))
      recover_namespace (self, entry->d_name);
  closedir (dir);
  return TRUE;
}
