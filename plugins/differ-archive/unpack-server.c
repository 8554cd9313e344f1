/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "unpack-server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unpack-common.h"

/* At once. The daemon's pools are smaller. */
#define MAX_WORKERS 256

typedef struct
{
  pid_t pid;
  int life;
  gboolean killed;
} Worker;

typedef struct
{
  pid_t own_pid;
  int signals; /* SIGCHLD */
  Worker workers[MAX_WORKERS];
  nfds_t n;
} Server;

/* What came with a request. */
typedef struct
{
  int fds[UNPACK_SERVER_MAX_FDS]; /* its life, and then what the worker gets from UNPACK_SOCKET_FD on */
  guint n;
} Request;

static void
tell_end (int life, int error, int status)
{
  UnpackServerEnd end = { error, status };

  send (life, &end, sizeof end, MSG_NOSIGNAL);
  close (life);
}

/* Returns: FALSE when nobody is there any more. */
static gboolean
receive (Request *request)
{
  char kind;
  struct iovec iov = { &kind, 1 };
  union
  {
    struct cmsghdr header;
    char space[CMSG_SPACE (UNPACK_SERVER_MAX_FDS * sizeof (int))];
  } control;
  struct msghdr message
      = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
  struct cmsghdr *header;
  ssize_t n;

  request->n = 0;
  do
    n = recvmsg (UNPACK_SERVER_FD, &message, MSG_CMSG_CLOEXEC);
  while (n < 0 && errno == EINTR);
  if (n <= 0)
    return FALSE;
  header = CMSG_FIRSTHDR (&message);
  if (header != NULL && header->cmsg_type == SCM_RIGHTS)
    {
      request->n = (guint)((header->cmsg_len - CMSG_LEN (0)) / sizeof (int));
      memcpy (request->fds, CMSG_DATA (header), request->n * sizeof (int));
    }
  return TRUE;
}

/* In the new process: has nothing of the server's and of other workers, and ends with the server. */
static void
become_worker (Server *self, const Request *request)
{
  sigset_t none;

  sigemptyset (&none);
  /* Whoever has closed the server has ended all workers; one that comes too late ends itself. */
  if (prctl (PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid () != self->own_pid)
    _exit (2);
  for (guint i = 1; i < request->n; i++)
    if (dup2 (request->fds[i], UNPACK_SOCKET_FD + (int)i - 1) < 0)
      _exit (2);
  if (close_range (UNPACK_SOCKET_FD + request->n - 1, ~0U, 0) < 0
      || sigprocmask (SIG_SETMASK, &none, NULL) < 0)
    _exit (2);
  memset (self, 0, sizeof *self);
}

/* Returns: TRUE in the worker. */
static gboolean
start_worker (Server *self, const Request *request)
{
  int error = request->n < 2 ? EINVAL : self->n == MAX_WORKERS ? EAGAIN : 0;
  pid_t pid = error == 0 ? fork () : -1;

  if (pid < 0 && error == 0)
    error = errno;
  if (pid == 0)
    {
      become_worker (self, request);
      return TRUE;
    }
  if (pid > 0)
    self->workers[self->n++] = (Worker){ .pid = pid, .life = request->fds[0] };
  else if (request->n > 0)
    tell_end (request->fds[0], error, 0);
  for (guint i = 1; i < request->n; i++)
    close (request->fds[i]);
  return FALSE;
}

static void
end_worker (Server *self, pid_t pid, int status)
{
  for (nfds_t i = 0; i < self->n; i++)
    if (self->workers[i].pid == pid)
      {
        tell_end (self->workers[i].life, 0, status);
        self->workers[i] = self->workers[--self->n];
        return;
      }
}

static void
reap_workers (Server *self)
{
  struct signalfd_siginfo info;
  int status;
  pid_t pid;

  /* One signal may stand for several. */
  if (read (self->signals, &info, sizeof info) < 0 && errno != EAGAIN)
    return;
  while ((pid = waitpid (-1, &status, WNOHANG)) > 0)
    end_worker (self, pid, status);
}

/* Nobody wants the workers any more whose lives were let go. */
static void
kill_workers (Server *self, const struct pollfd *lives)
{
  for (nfds_t i = 0; i < self->n; i++)
    if (lives[i].revents != 0 && !self->workers[i].killed)
      {
        kill (self->workers[i].pid, SIGKILL);
        self->workers[i].killed = TRUE;
      }
}

/* The numbers of a worker's descriptors are taken, so that what comes with a request has others; and so are
 * the signals. */
static void
prepare (Server *self)
{
  sigset_t signals;

  sigemptyset (&signals);
  sigaddset (&signals, SIGCHLD);
  for (int fd = UNPACK_SOCKET_FD; fd <= UNPACK_OUTPUT_FD; fd++)
    if (fd != UNPACK_SERVER_FD && dup2 (STDIN_FILENO, fd) < 0)
      _exit (2);
  if (sigprocmask (SIG_BLOCK, &signals, NULL) < 0)
    _exit (2);
  self->own_pid = getpid ();
  self->signals = signalfd (-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  if (self->signals < 0 || prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl (PR_SET_DUMPABLE, 0) < 0)
    _exit (2);
}

void
unpack_server_run (void)
{
  static Server self;

  prepare (&self);
  for (;;)
    {
      struct pollfd fds[2 + MAX_WORKERS]
          = { { .fd = UNPACK_SERVER_FD, .events = POLLIN }, { .fd = self.signals, .events = POLLIN } };
      Request request;

      for (nfds_t i = 0; i < self.n; i++)
        fds[2 + i]
            = (struct pollfd){ .fd = self.workers[i].killed ? -1 : self.workers[i].life, .events = POLLIN };
      if (poll (fds, 2 + self.n, -1) < 0)
        continue;
      kill_workers (&self, fds + 2);
      if (fds[1].revents != 0)
        reap_workers (&self);
      if (fds[0].revents == 0)
        continue;
      if (!receive (&request))
        _exit (0);
      if (start_worker (&self, &request))
        return;
    }
}
