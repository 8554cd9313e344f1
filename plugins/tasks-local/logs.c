/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What containers say: "<root>/tasks-local/logs/<namespace>/<id>.log", written by their shims, and
 * "<id>.log.1", what was before it. They go with their containers. */
#include "tasks-local.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fdio.h>

#define DIRECTORY "logs"
#define LOG       "log:"

static const char *const suffixes[] = { ".log", ".log.1" };

/* The directory of @ns, for reading only if it is there. Returns: (transfer full): an fd, or -1. */
static int
open_namespace (TasksLocal *self, const char *ns)
{
  g_autofree char *path = g_build_filename (DIRECTORY, ns, NULL);
  int root_fd = gantry_host_get_dir_fd (self->host, GANTRY_DIR_PERSISTENT, NULL);

  return root_fd >= 0 ? gantry_open_no_links (root_fd, path, O_RDONLY | O_DIRECTORY, 0) : -1;
}

void
logs_remove (TasksLocal *self, const char *ns, const char *id)
{
  gantry_autofd int dir_fd = open_namespace (self, ns);

  for (gsize i = 0; dir_fd >= 0 && i < G_N_ELEMENTS (suffixes); i++)
    {
      g_autofree char *name = g_strconcat (id, suffixes[i], NULL);

      if (unlinkat (dir_fd, name, 0) < 0 && errno != ENOENT)
        gantry_host_log (self->host, GANTRY_LOG_WARNING,
                         "the log of container %s stays until the next start: %s", id, g_strerror (errno));
    }
}

/* What is there was said by an earlier container of this name, which a client has removed past this service.
 */
static gboolean
is_of_another (int dir_fd, const char *name, GantryRecord *record)
{
  struct stat st;

  return fstatat (dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0
         && st.st_mtim.tv_sec * G_GINT64_CONSTANT (1000000000) + st.st_mtim.tv_nsec < record->created_ns;
}

static gboolean
means_log (const char *uri)
{
  return g_strcmp0 (uri, LOG) == 0;
}

static const char *
replaced (const char *uri, const char *by)
{
  return means_log (uri) ? by : uri;
}

GantryStdio *
logs_resolve (TasksLocal *self, GantryRecord *record, gboolean can_log, GantryStdio *stdio, GError **error)
{
  const char *outputs = "stream:";
  g_autofree char *path = NULL;
  g_autofree char *name = NULL;
  g_autofree char *uri = NULL;
  gantry_autofd int dir_fd = -1;
  GantryStdio *resolved;

  if (stdio == NULL
      || (!means_log (stdio->stdin_uri) && !means_log (stdio->stdout_uri) && !means_log (stdio->stderr_uri)))
    return stdio != NULL ? gantry_stdio_ref (stdio) : NULL;
  if (can_log)
    {
      int root_fd = gantry_host_get_dir_fd (self->host, GANTRY_DIR_PERSISTENT, error);
      const char *root
          = root_fd >= 0 ? gantry_host_get_dir_path (self->host, GANTRY_DIR_PERSISTENT, error) : NULL;

      path = g_build_filename (DIRECTORY, record->ns, NULL);
      name = g_strconcat (record->id, suffixes[0], NULL);
      dir_fd = root != NULL ? gantry_open_dir_at (root_fd, path, 0700, error) : -1;
      if (dir_fd < 0)
        return NULL;
      if (is_of_another (dir_fd, name, record))
        logs_remove (self, record->ns, record->id);
      outputs = uri = g_strconcat ("stream://", root, "/", path, "/", name, NULL);
    }
  resolved = gantry_stdio_new (replaced (stdio->stdin_uri, "stream:"), replaced (stdio->stdout_uri, outputs),
                               replaced (stdio->stderr_uri, outputs), stdio->terminal, stdio->fds);
  resolved->width = stdio->width;
  resolved->height = stdio->height;
  return resolved;
}

gboolean
tasks_open_log (GantryTasks *tasks, const char *ns, const char *id, gboolean previous, int *ret_fd,
                GCancellable *cancellable, GError **error)
{
  TasksLocal *self = (TasksLocal *)tasks;
  g_autoptr (GantryRecord) record = NULL;
  g_autofree char *name = g_strconcat (id, suffixes[previous], NULL);
  gantry_autofd int dir_fd = -1;
  int fd;

  if (!gantry_metadata_get (self->metadata, GANTRY_KIND_CONTAINER, ns, id, &record, cancellable, error))
    return FALSE;
  dir_fd = open_namespace (self, ns);
  fd = dir_fd >= 0 ? gantry_open_no_links (dir_fd, name, O_RDONLY, 0) : -1;
  if (fd < 0 && errno == ENOENT)
    return gantry_throw (
        error, GANTRY_ERROR_NOT_FOUND,
        previous ? "container %s has no earlier log"
                 : "container %s has no log; only one that was started detached keeps it, by runtime runc",
        id);
  if (fd < 0)
    return gantry_throw_errno (error, errno, "opening the log of container %s", id);
  *ret_fd = fd;
  return TRUE;
}

/* Removes the log @name in @dir_fd if its container is gone, and it is not of one that was made since
 * @before. */
static void
sweep_one (TasksLocal *self, const char *ns, int dir_fd, const char *name, time_t before)
{
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GError) error = NULL;
  struct stat st;

  for (gsize i = 0; i < G_N_ELEMENTS (suffixes); i++)
    if (g_str_has_suffix (name, suffixes[i]))
      {
        g_autofree char *id = g_strndup (name, strlen (name) - strlen (suffixes[i]));

        if (gantry_metadata_get (self->metadata, GANTRY_KIND_CONTAINER, ns, id, &record, NULL, &error)
            || !gantry_error_is (error, GANTRY_ERROR_NOT_FOUND)
            || fstatat (dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_mtim.tv_sec >= before)
          return;
        unlinkat (dir_fd, name, 0);
        return;
      }
}

static void
sweep_namespace (TasksLocal *self, const char *ns, int logs_fd, time_t before)
{
  gantry_autofd int dir_fd = gantry_open_no_links (logs_fd, ns, O_RDONLY | O_DIRECTORY, 0);
  DIR *dir = dir_fd >= 0 ? fdopendir (fcntl (dir_fd, F_DUPFD_CLOEXEC, 3)) : NULL;
  struct dirent *entry;

  while (dir != NULL && (entry = readdir (dir)) != NULL)
    if (entry->d_name[0] != '.')
      sweep_one (self, ns, dir_fd, entry->d_name, before);
  if (dir != NULL)
    closedir (dir);
}

/* On a worker thread. */
static void
sweep (gpointer data, gpointer unused)
{
  TasksLocal *self = data;
  time_t before = time (NULL);
  int root_fd = gantry_host_get_dir_fd (self->host, GANTRY_DIR_PERSISTENT, NULL);
  int logs_fd = root_fd >= 0 ? gantry_open_no_links (root_fd, DIRECTORY, O_RDONLY | O_DIRECTORY, 0) : -1;
  DIR *dir = logs_fd >= 0 ? fdopendir (logs_fd) : NULL;
  struct dirent *entry;

  while (dir != NULL && (entry = readdir (dir)) != NULL)
    if (entry->d_name[0] != '.')
      sweep_namespace (self, entry->d_name, logs_fd, before);
  if (dir != NULL)
    closedir (dir);
}

void
logs_sweep (TasksLocal *self)
{
  g_autoptr (GError) error = NULL;

  if (!gantry_host_submit (self->host, GANTRY_POOL_IO, sweep, self, NULL, &error))
    gantry_host_log (self->host, GANTRY_LOG_INFO,
                     "logs of removed containers are looked for at the next start: %s", error->message);
}
