/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Reading and writing descriptors that clients gave us: whatever stalls at the other end, a cancelled job
 * ends at once. Their flags are the client's too, so they are not made non-blocking: we wait with poll (2),
 * and write to a pipe no more than it surely takes. */
#include "transfer-local.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Waits until @fd is ready for @events. */
static gboolean
wait_ready (int fd, short events, GCancellable *cancellable, GError **error)
{
  GPollFD cancel_fd;
  struct pollfd fds[2] = { { fd, events, 0 }, { -1, POLLIN, 0 } };
  gboolean watched = cancellable != NULL && g_cancellable_make_pollfd (cancellable, &cancel_fd);
  int n;

  if (watched)
    fds[1].fd = cancel_fd.fd;
  do
    n = poll (fds, G_N_ELEMENTS (fds), -1);
  while (n < 0 && errno == EINTR);
  if (watched)
    g_cancellable_release_fd (cancellable);
  if (n < 0)
    return gantry_throw_errno (error, errno, "waiting for the archive's descriptor");
  return !g_cancellable_set_error_if_cancelled (cancellable, error);
}

gssize
stream_read (int fd, void *buffer, gsize size, GCancellable *cancellable, GError **error)
{
  for (;;)
    {
      ssize_t n;

      if (!wait_ready (fd, POLLIN, cancellable, error))
        return -1;
      n = read (fd, buffer, size);
      if (n >= 0)
        return n;
      if (errno != EINTR && errno != EAGAIN)
        {
          gantry_throw_errno (error, errno, "reading the archive");
          return -1;
        }
    }
}

gboolean
stream_write (int fd, const void *data, gsize size, GCancellable *cancellable, GError **error)
{
  const guint8 *at = data;
  struct stat st;
  gboolean pipe, socket;

  if (fstat (fd, &st) < 0)
    return gantry_throw_errno (error, errno, "writing the archive");
  pipe = S_ISFIFO (st.st_mode);
  socket = S_ISSOCK (st.st_mode);
  while (size > 0)
    {
      ssize_t n;

      if (!wait_ready (fd, POLLOUT, cancellable, error))
        return FALSE;
      n = socket ? send (fd, at, size, MSG_DONTWAIT | MSG_NOSIGNAL)
                 : write (fd, at, pipe ? MIN (size, PIPE_BUF) : size);
      if (n < 0 && errno != EINTR && errno != EAGAIN)
        return gantry_throw_errno (error, errno, "writing the archive");
      if (n > 0)
        {
          at += n;
          size -= (gsize)n;
        }
    }
  return TRUE;
}
