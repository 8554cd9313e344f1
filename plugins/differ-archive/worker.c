/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "worker.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "fdio.h"
#include "unpack-common.h"

#define DATA_BUFFER (256 * 1024)

typedef struct
{
  WorkerJob *job;
  int life;
  int socket;    /* answers */
  int data;      /* what it writes, or -1 */
  int cancel_fd; /* or -1 */
  gboolean done;
  guint n_implied;
  char *digest;
  guint64 size;
} Worker;

static void
worker_clear (Worker *self)
{
  gantry_fd_clear (&self->socket);
  gantry_fd_clear (&self->data);
  g_clear_pointer (&self->digest, g_free);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Worker, worker_clear)

static gboolean
make_socket_pair (int ret_fds[2], GError **error)
{
  return socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret_fds) == 0
         || gantry_throw_errno (error, errno, "making a socket for the unpack worker");
}

static gboolean
make_data_pipe (int ret_fds[2], GError **error)
{
  return pipe2 (ret_fds, O_CLOEXEC) == 0
         || gantry_throw_errno (error, errno, "making a pipe for the unpack worker");
}

static gboolean
start (Worker *self, GError **error)
{
  int fds[UNPACK_SERVER_MAX_FDS], sockets[2], pipes[2] = { -1, -1 };
  gantry_autofd int theirs = -1;
  gantry_autofd int output = -1;
  guint n = 0;

  if (!make_socket_pair (sockets, error))
    return FALSE;
  self->socket = sockets[0];
  theirs = sockets[1];
  if (self->job->data_func != NULL && !make_data_pipe (pipes, error))
    return FALSE;
  self->data = pipes[0];
  output = pipes[1];
  fds[n++] = theirs;
  if (self->job->blob_fd >= 0)
    fds[n++] = self->job->blob_fd;
  if (output >= 0)
    fds[n++] = output;
  return fork_server_start (self->job->server, fds, n, &self->life, error);
}

static gboolean
send_request (Worker *self, GError **error)
{
  g_autoptr (GVariant) request = g_variant_get_normal_form (self->job->request);
  gsize size = g_variant_get_size (request);
  ssize_t n;

  if (size > UNPACK_MAX_PACKET)
    return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED,
                         "the mounts are too long: %" G_GSIZE_FORMAT " bytes", size);
  do
    n = send (self->socket, g_variant_get_data (request), size, MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  /* One that has ended already is told better by how it ended. */
  return n >= 0 || errno == EPIPE
         || gantry_throw_errno (error, errno, "sending a request to the unpack worker");
}

/* The worker may be in the hands of a hostile layer: what it says is counted, too. */
static gboolean
take_implied (Worker *self, const char *path, GError **error)
{
  if (self->job->implied == NULL || strchr (path, '\n') != NULL || ++self->n_implied > UNPACK_MAX_IMPLIED + 1)
    return gantry_throw (error, GANTRY_ERROR_INTERNAL,
                         "the unpack worker names directories that nobody asked for");
  g_string_append (self->job->implied, path);
  g_string_append_c (self->job->implied, '\n');
  return TRUE;
}

static gboolean
handle_answer (Worker *self, GVariant *answer, GError **error)
{
  guint8 kind;
  guint64 number;
  const char *text;

  g_variant_get (answer, "(yt&s)", &kind, &number, &text);
  switch (kind)
    {
    case UNPACK_ANSWER_PROGRESS:
      if (self->job->progress_func != NULL)
        self->job->progress_func (number, self->job->user_data);
      return TRUE;
    case UNPACK_ANSWER_IMPLIED:
      return take_implied (self, text, error);
    case UNPACK_ANSWER_DONE:
      g_free (self->digest);
      self->digest = g_strdup (text);
      self->size = number;
      self->done = TRUE;
      return TRUE;
    case UNPACK_ANSWER_ERROR:
      return gantry_throw (error,
                           number < GANTRY_ERROR_N_CODES ? (GantryErrorCode)number : GANTRY_ERROR_INTERNAL,
                           "%s", text);
    default:
      return gantry_throw (error, GANTRY_ERROR_INTERNAL, "the unpack worker said something unknown");
    }
}

/* *@ret_end: the worker has closed its end. */
static gboolean
receive_answer (Worker *self, gboolean *ret_end, GError **error)
{
  char buffer[16 * 1024];
  g_autoptr (GBytes) bytes = NULL;
  g_autoptr (GVariant) answer = NULL;
  ssize_t n = recv (self->socket, buffer, sizeof buffer, MSG_DONTWAIT);

  if (n < 0 && (errno == EINTR || errno == EAGAIN))
    return TRUE;
  if (n <= 0)
    {
      *ret_end = TRUE;
      return TRUE;
    }
  bytes = g_bytes_new (buffer, (gsize)n);
  answer = g_variant_ref_sink (g_variant_new_from_bytes (UNPACK_ANSWER_TYPE, bytes, FALSE));
  return handle_answer (self, answer, error);
}

static gboolean
receive_data (Worker *self, guint8 *buffer, GError **error)
{
  ssize_t n = read (self->data, buffer, DATA_BUFFER);

  if (n < 0 && errno == EINTR)
    return TRUE;
  if (n < 0)
    return gantry_throw_errno (error, errno, "reading from the unpack worker");
  if (n == 0)
    {
      gantry_fd_clear (&self->data);
      return TRUE;
    }
  return self->job->data_func (buffer, (gsize)n, self->job->user_data, error);
}

static gboolean
serve (Worker *self, GCancellable *cancellable, GError **error)
{
  g_autofree guint8 *buffer = self->data >= 0 ? g_malloc (DATA_BUFFER) : NULL;
  gboolean end = FALSE;

  while (!end || self->data >= 0)
    {
      struct pollfd fds[3] = {
        { .fd = end ? -1 : self->socket, .events = POLLIN },
        { .fd = self->data, .events = POLLIN },
        { .fd = self->cancel_fd, .events = POLLIN },
      };

      if (poll (fds, G_N_ELEMENTS (fds), -1) < 0 && errno != EINTR)
        return gantry_throw_errno (error, errno, "waiting for the unpack worker");
      if (g_cancellable_is_cancelled (cancellable))
        return gantry_throw (error, GANTRY_ERROR_CANCELLED, "unpacking was cancelled");
      if (fds[0].revents != 0 && !receive_answer (self, &end, error))
        return FALSE;
      if (fds[1].revents != 0 && !receive_data (self, buffer, error))
        return FALSE;
    }
  return TRUE;
}

/* When the server has died its workers die with it, but they may take a moment. A process that has lost its
 * descriptors runs nothing any more. */
static void
wait_for_end (Worker *self)
{
  char byte;
  ssize_t n;

  do
    n = recv (self->socket, &byte, sizeof byte, 0);
  while (n > 0 || (n < 0 && errno == EINTR));
}

/* Ends the process if it has not ended. Returns: FALSE with @error if it did not end well. */
static gboolean
reap (Worker *self, gboolean ok, GError **error)
{
  g_autoptr (GError) local = NULL;
  int status = 0;

  if (!fork_server_wait (self->job->server, self->life, !ok, &status, &local))
    wait_for_end (self);
  if (!ok)
    return FALSE;
  if (local != NULL)
    {
      g_propagate_error (error, g_steal_pointer (&local));
      return FALSE;
    }
  if (self->done && WIFEXITED (status) && WEXITSTATUS (status) == 0)
    return TRUE;
  if (WIFSIGNALED (status) && WTERMSIG (status) == SIGXCPU)
    return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED,
                         "unpacking took more processor time than MaxCpuSeconds allows");
  if (WIFSIGNALED (status))
    return gantry_throw (error, GANTRY_ERROR_INTERNAL, "the unpack worker was killed by signal %d (%s)",
                         WTERMSIG (status), g_strsignal (WTERMSIG (status)));
  return gantry_throw (error, GANTRY_ERROR_INTERNAL, "the unpack worker ended without a result (status %d)",
                       status);
}

gboolean
worker_run (WorkerJob *job, char **ret_digest, guint64 *ret_size, GCancellable *cancellable, GError **error)
{
  g_auto (Worker) self = { .job = job, .socket = -1, .data = -1, .cancel_fd = -1 };
  GPollFD cancel_poll;
  gboolean ok;

  if (g_cancellable_is_cancelled (cancellable))
    return gantry_throw (error, GANTRY_ERROR_CANCELLED, "unpacking was cancelled");
  if (!start (&self, error))
    return FALSE;
  if (g_cancellable_make_pollfd (cancellable, &cancel_poll))
    self.cancel_fd = cancel_poll.fd;
  ok = send_request (&self, error) && serve (&self, cancellable, error);
  ok = reap (&self, ok, error);
  if (self.cancel_fd >= 0)
    g_cancellable_release_fd (cancellable);
  if (!ok)
    return FALSE;
  *ret_digest = g_steal_pointer (&self.digest);
  *ret_size = self.size;
  return TRUE;
}
