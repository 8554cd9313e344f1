/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Streams for shims that know FIFOs only: where the caller passed descriptors, FIFOs in the bundle are given
 * to the shim, and bytes are copied in the reader's context. Nothing is set on the caller's descriptors,
 * which others may share: at most what fits into a ready pipe is written at a time. */
#include "shim-runtime.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib-unix.h>

#include <fdio.h>

typedef struct
{
  Task *task; /* once its process has started */
  char *exec_id;
  gboolean input;
  gboolean console; /* both directions share one socket */
  int source_fd;
  int sink_fd;
  gsize length;
  gsize written;
  char buffer[PIPE_BUF];
} Copy;

static void
on_input_ended (GBytes *reply, const GError *error, gpointer user_data)
{
  /* Whether the process was still there to be told does not matter. */
}

/* The shim keeps the FIFO open itself until it is told that stdin has ended. */
static void
end_input (Copy *copy)
{
  PbBuffer body = { 0 };
  Link *link;

  g_mutex_lock (&copy->task->runtime->lock);
  link = copy->task->link != NULL ? link_ref (copy->task->link) : NULL;
  g_mutex_unlock (&copy->task->runtime->lock);
  if (link == NULL)
    return;
  pb_put_string (&body, 1, copy->task->id);
  pb_put_string (&body, 2, copy->exec_id);
  pb_put_varint (&body, 3, 1);
  connection_send (link->connection, SHIM_TASK_SERVICE, "CloseIO", &body, NULL, on_input_ended, NULL, NULL);
  link_unref (link);
}

static void
copy_free (Copy *copy)
{
  if (copy->task != NULL && copy->input)
    end_input (copy);
  /* The peer must see the end although the other direction still has the socket. */
  if (copy->console && !copy->input)
    shutdown (copy->sink_fd, SHUT_WR);
  task_unref (copy->task);
  gantry_fd_clear (&copy->source_fd);
  gantry_fd_clear (&copy->sink_fd);
  g_free (copy->exec_id);
  g_free (copy);
}

static void wait_for (Copy *copy, int fd, GIOCondition condition, GUnixFDSourceFunc func);

static gboolean on_source (int fd, GIOCondition condition, gpointer data);

static gboolean
on_sink (int fd, GIOCondition condition, gpointer data)
{
  Copy *copy = data;
  gssize n = write (fd, copy->buffer + copy->written, copy->length - copy->written);

  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return G_SOURCE_CONTINUE;
  if (n < 0)
    {
      copy_free (copy);
      return G_SOURCE_REMOVE;
    }
  copy->written += (gsize)n;
  if (copy->written < copy->length)
    return G_SOURCE_CONTINUE;
  wait_for (copy, copy->source_fd, G_IO_IN | G_IO_HUP | G_IO_ERR, on_source);
  return G_SOURCE_REMOVE;
}

static gboolean
on_source (int fd, GIOCondition condition, gpointer data)
{
  Copy *copy = data;
  gssize n = read (fd, copy->buffer, sizeof copy->buffer);

  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return G_SOURCE_CONTINUE;
  if (n <= 0)
    {
      copy_free (copy);
      return G_SOURCE_REMOVE;
    }
  copy->length = (gsize)n;
  copy->written = 0;
  wait_for (copy, copy->sink_fd, G_IO_OUT | G_IO_ERR, on_sink);
  return G_SOURCE_REMOVE;
}

static void
wait_for (Copy *copy, int fd, GIOCondition condition, GUnixFDSourceFunc func)
{
  g_autoptr (GSource) source = g_unix_fd_source_new (fd, condition);

  g_source_set_callback (source, G_SOURCE_FUNC (func), copy, NULL);
  g_source_attach (source, copy->task->runtime->context);
}

/* Makes the FIFO for stream @i and begins to copy. Returns: (transfer full) its URI, or NULL. */
static char *
relay_one (Task *task, const char *exec_id, int i, int fd, gboolean console, GError **error)
{
  g_autofree char *name = g_strdup_printf ("io.%s.%d", exec_id, i);
  gantry_autofd int fifo = -1, own = fcntl (fd, F_DUPFD_CLOEXEC, 3);
  Copy *copy;

  if (mkfifoat (task->dir_fd, name, 0600) < 0 && errno != EEXIST)
    gantry_throw_errno (error, errno, "making a FIFO for container %s", task->id);
  /* Of stdin both ends, so that neither waits for the shim. */
  else if ((fifo
            = openat (task->dir_fd, name, (i == 0 ? O_RDWR : O_RDONLY) | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW))
               < 0
           || own < 0)
    gantry_throw_errno (error, errno, "opening a FIFO of container %s", task->id);
  else
    {
      copy = g_new (Copy, 1);
      *copy = (Copy){ .exec_id = g_strdup (exec_id), .input = i == 0, .console = console };
      copy->source_fd = i == 0 ? gantry_fd_steal (&own) : gantry_fd_steal (&fifo);
      copy->sink_fd = i == 0 ? gantry_fd_steal (&fifo) : gantry_fd_steal (&own);
      g_mutex_lock (&task->runtime->lock);
      g_ptr_array_add (task->copies, copy);
      g_mutex_unlock (&task->runtime->lock);
      return g_strconcat (task->bundle, "/", name, NULL);
    }
  return NULL;
}

static char *
translate (Task *task, const char *exec_id, int i, GantryStdio *stdio, GError **error)
{
  const char *const uris[] = { stdio->stdin_uri, stdio->stdout_uri, stdio->stderr_uri }, *uri = uris[i];
  int n_fds = 0;
  const int *list = stdio->fds != NULL ? g_unix_fd_list_peek_fds (stdio->fds, &n_fds) : NULL;
  gint64 n;

  if (uri == NULL || strcmp (uri, "stream:") == 0)
    return g_strdup ("");
  if (g_str_has_prefix (uri, "stream:///"))
    return g_strconcat ("file://", uri + strlen ("stream://"), NULL);
  if (g_str_has_prefix (uri, "fifo:///"))
    return g_strdup (uri + strlen ("fifo://"));
  if (!g_str_has_prefix (uri, "fd:"))
    return g_strdup (uri);
  n = g_ascii_strtoll (uri + strlen ("fd:"), NULL, 10);
  if (n >= 0 && n < n_fds)
    return relay_one (task, exec_id, i, list[n], stdio->terminal, error);
  gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                "stdio \"%s\" names none of the %d descriptors that were passed", uri, n_fds);
  return NULL;
}

GantryStdio *
relay_stdio (Task *task, const char *exec_id, GantryStdio *stdio, GError **error)
{
  char *made[3] = { NULL };
  GantryStdio *translated = NULL;
  gboolean ok = TRUE;

  for (int i = 0; ok && i < 3; i++)
    {
      made[i] = translate (task, exec_id, i, stdio, error);
      ok = made[i] != NULL;
    }
  /* containerd's shim can do without all streams, or without stdin, but not without one of the outputs. */
  for (int i = 1; ok && i < 3 && !stdio->terminal; i++)
    if (made[i][0] == '\0' && (made[0][0] != '\0' || made[3 - i][0] != '\0'))
      {
        g_free (made[i]);
        made[i] = g_strdup ("/dev/null");
      }
  if (ok)
    translated = gantry_stdio_new (made[0], made[1], stdio->terminal ? NULL : made[2], stdio->terminal, NULL);
  for (int i = 0; i < 3; i++)
    g_free (made[i]);
  return translated;
}

void
relay_start (Task *task, const char *exec_id)
{
  g_mutex_lock (&task->runtime->lock);
  for (guint i = task->copies->len; i > 0; i--)
    {
      Copy *copy = g_ptr_array_index (task->copies, i - 1);

      if (strcmp (copy->exec_id, exec_id != NULL ? exec_id : "") == 0)
        {
          g_ptr_array_steal_index_fast (task->copies, i - 1);
          copy->task = task_ref (task);
          wait_for (copy, copy->source_fd, G_IO_IN | G_IO_HUP | G_IO_ERR, on_source);
        }
    }
  g_mutex_unlock (&task->runtime->lock);
}

void
relay_free (gpointer copy)
{
  copy_free (copy);
}
