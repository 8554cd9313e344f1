/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "worker.h"

#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "fdio.h"
#include "unpack-common.h"

#define FIRST_FREE_FD 16 /* out of the way of the numbers that the worker's descriptors get */
#define DATA_BUFFER   (256 * 1024)

typedef struct
{
  WorkerJob *job;
  pid_t pid;
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

static int
move_fd (int fd)
{
  int moved = fcntl (fd, F_DUPFD_CLOEXEC, FIRST_FREE_FD);

  close (fd);
  return moved;
}

static gboolean
make_socket_pair (int ret_fds[2], GError **error)
{
  int fds[2];

  if (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
    return gantry_throw_errno (error, errno, "making a socket for the unpack worker");
  ret_fds[0] = fds[0];
  ret_fds[1] = move_fd (fds[1]);
  return ret_fds[1] >= 0 || gantry_throw_errno (error, errno, "making a socket for the unpack worker");
}

static int
spawn_with (const WorkerJob *job, int socket, int blob, int output, pid_t *ret_pid)
{
  char *argv[] = { (char *)"gantry-unpack", NULL };
  char *envp[]
      = { (char *)"LC_CTYPE=C.UTF-8", (char *)"ASAN_OPTIONS=detect_leaks=0",
          (char *)"TSAN_OPTIONS=report_thread_leaks=0", (char *)"UBSAN_OPTIONS=halt_on_error=1", NULL };
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attr;
  sigset_t none, all;
  int r = 0;

  sigemptyset (&none);
  sigfillset (&all);
  posix_spawn_file_actions_init (&actions);
  posix_spawnattr_init (&attr);
  r |= posix_spawn_file_actions_addopen (&actions, 0, "/dev/null", O_RDONLY, 0);
  r |= posix_spawn_file_actions_addopen (&actions, 1, "/dev/null", O_WRONLY, 0);
  if (!UNDER_SANITIZER)
    r |= posix_spawn_file_actions_addopen (&actions, 2, "/dev/null", O_WRONLY, 0);
  r |= posix_spawn_file_actions_adddup2 (&actions, socket, UNPACK_SOCKET_FD);
  r |= posix_spawn_file_actions_adddup2 (&actions, blob, UNPACK_BLOB_FD);
  if (output >= 0)
    r |= posix_spawn_file_actions_adddup2 (&actions, output, UNPACK_OUTPUT_FD);
  r |= posix_spawn_file_actions_addclosefrom_np (&actions,
                                                 output >= 0 ? UNPACK_OUTPUT_FD + 1 : UNPACK_OUTPUT_FD);
  r |= posix_spawnattr_setsigmask (&attr, &none);
  r |= posix_spawnattr_setsigdefault (&attr, &all);
  r |= posix_spawnattr_setflags (&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  if (r == 0)
    r = posix_spawn (ret_pid, job->program, &actions, &attr, argv, envp);
  posix_spawnattr_destroy (&attr);
  posix_spawn_file_actions_destroy (&actions);
  return r;
}

/* A pipe from the worker. Returns: (transfer full): its end of it, or -1. */
static int
make_data_pipe (Worker *self, GError **error)
{
  int pipes[2], theirs = -1;

  if (pipe2 (pipes, O_CLOEXEC) == 0)
    {
      self->data = pipes[0];
      theirs = move_fd (pipes[1]);
    }
  if (theirs < 0)
    gantry_throw_errno (error, errno, "making a pipe for the unpack worker");
  return theirs;
}

static gboolean
start (Worker *self, GError **error)
{
  int sockets[2] = { -1, -1 };
  gantry_autofd int theirs = -1;
  gantry_autofd int blob = -1;
  gantry_autofd int output = -1;
  int r;

  if (!make_socket_pair (sockets, error))
    return FALSE;
  self->socket = sockets[0];
  theirs = sockets[1];
  if (self->job->data_func != NULL && (output = make_data_pipe (self, error)) < 0)
    return FALSE;
  if (self->job->blob_fd < 0)
    blob = gantry_fd_steal (&output);
  else if ((blob = fcntl (self->job->blob_fd, F_DUPFD_CLOEXEC, FIRST_FREE_FD)) < 0)
    return gantry_throw_errno (error, errno, "passing the layer to the unpack worker");
  r = spawn_with (self->job, theirs, blob, output, &self->pid);
  if (r != 0)
    return gantry_throw_errno (error, r, "starting the unpack worker %s", self->job->program);
  return TRUE;
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

/* Ends the process if it has not ended. Returns: FALSE with @error if it did not end well. */
static gboolean
reap (Worker *self, gboolean ok, GError **error)
{
  int status = 0;
  pid_t r;

  if (!ok)
    kill (self->pid, SIGKILL);
  do
    r = waitpid (self->pid, &status, 0);
  while (r < 0 && errno == EINTR);
  if (!ok)
    return FALSE;
  if (self->done && r == self->pid && WIFEXITED (status) && WEXITSTATUS (status) == 0)
    return TRUE;
  if (r == self->pid && WIFSIGNALED (status) && WTERMSIG (status) == SIGXCPU)
    return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED,
                         "unpacking took more processor time than MaxCpuSeconds allows");
  if (r == self->pid && WIFSIGNALED (status))
    return gantry_throw (error, GANTRY_ERROR_INTERNAL, "the unpack worker was killed by signal %d (%s)",
                         WTERMSIG (status), g_strsignal (WTERMSIG (status)));
  return gantry_throw (error, GANTRY_ERROR_INTERNAL,
                       "the unpack worker %s ended without a result (status %d)", self->job->program, status);
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
