/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a shim that is not our own logs: it writes to a FIFO "log" in the bundle, and waits until somebody has
 * it open. */
#include "shim-runtime.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib-unix.h>

#include <fdio.h>

#define LOG_NAME "log"

static gboolean
on_log (int fd, GIOCondition condition, gpointer data)
{
  Task *task = data;
  char text[4096];
  gssize n = read (fd, text, sizeof text - 1);
  g_auto (GStrv) lines = NULL;

  if (n <= 0)
    return n < 0 && (errno == EAGAIN || errno == EINTR);
  text[n] = '\0';
  lines = g_strsplit (text, "\n", 0);
  for (gsize i = 0; lines[i] != NULL; i++)
    {
      g_autofree char *line = g_utf8_make_valid (lines[i], -1);

      if (line[0] != '\0')
        gantry_host_log (task->runtime->host, GANTRY_LOG_DEBUG, "the shim of container %s: %s", task->id,
                         line);
    }
  return G_SOURCE_CONTINUE;
}

gboolean
shim_log_open (Task *self, GError **error)
{
  if (mkfifoat (self->dir_fd, LOG_NAME, 0600) < 0 && errno != EEXIST)
    return gantry_throw_errno (error, errno, "making the log of the shim of container %s", self->id);
  /* Both ends, so that it never has no reader, and never ends. */
  self->log_fd = openat (self->dir_fd, LOG_NAME, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
  if (self->log_fd < 0)
    return gantry_throw_errno (error, errno, "opening the log of the shim of container %s", self->id);
  self->log_source = g_unix_fd_source_new (self->log_fd, G_IO_IN);
  g_source_set_callback (self->log_source, G_SOURCE_FUNC (on_log), task_ref (self),
                         (GDestroyNotify)task_unref);
  g_source_attach (self->log_source, self->runtime->context);
  return TRUE;
}

void
shim_log_close (Task *self)
{
  GSource *source;

  g_mutex_lock (&self->runtime->lock);
  source = g_steal_pointer (&self->log_source);
  g_mutex_unlock (&self->runtime->lock);
  if (source == NULL)
    return;
  g_source_destroy (source);
  g_source_unref (source);
}
