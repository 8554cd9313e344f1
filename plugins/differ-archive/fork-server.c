/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fork-server.h"

#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <glib-unix.h>

#include "fdio.h"
#include "unpack-common.h"

/* Longer than the pauses between the layers of a pull, shorter than anybody would call the daemon at rest. */
#define IDLE_MS 1000

/* A server, running or on its way out. */
typedef struct
{
  int socket; /* closed when it shall end */
  int pidfd;
  GSource *watch; /* (nullable) */
} Process;

struct _ForkServer
{
  char *program;
  GMainContext *context;

  GMutex lock;
  Process *process; /* (nullable): takes requests; with lock, as what follows */
  guint n_workers;
  gint64 idle_since_us;
  GSource *timer; /* (nullable): looks whether the process is needed still */
};

static void
process_clear (gpointer data)
{
  Process *self = data;

  gantry_fd_clear (&self->socket);
  gantry_fd_clear (&self->pidfd);
}

static void
process_unref (gpointer data)
{
  g_atomic_rc_box_release_full (data, process_clear);
}

/* By its pidfd, so that a second call finds no process instead of another one with the same pid. */
static void
process_reap (Process *self, gboolean block)
{
  siginfo_t info;
  int r;

  do
    r = waitid (P_PIDFD, (id_t)self->pidfd, &info, WEXITED | (block ? 0 : WNOHANG));
  while (r < 0 && errno == EINTR);
}

static gboolean
on_process_ended (gint fd, GIOCondition condition, gpointer data)
{
  process_reap (data, FALSE);
  return G_SOURCE_REMOVE;
}

static void
destroy_source (GSource **source)
{
  if (*source == NULL)
    return;
  g_source_destroy (*source);
  g_clear_pointer (source, g_source_unref);
}

/* Lets the server end; its watch reaps it, or, with @wait, this does. With the lock. */
static void
drop_process (ForkServer *self, gboolean wait)
{
  Process *process = g_steal_pointer (&self->process);

  if (process == NULL)
    return;
  gantry_fd_clear (&process->socket);
  if (wait || process->watch == NULL)
    {
      process_reap (process, TRUE);
      destroy_source (&process->watch);
    }
  g_clear_pointer (&process->watch, g_source_unref);
  process_unref (process);
}

static int
spawn (const char *program, int socket, pid_t *ret_pid)
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
  r |= posix_spawn_file_actions_adddup2 (&actions, socket, UNPACK_SERVER_FD);
  r |= posix_spawn_file_actions_addclosefrom_np (&actions, UNPACK_SERVER_FD + 1);
  r |= posix_spawnattr_setsigmask (&attr, &none);
  r |= posix_spawnattr_setsigdefault (&attr, &all);
  r |= posix_spawnattr_setflags (&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  if (r == 0)
    r = posix_spawn (ret_pid, program, &actions, &attr, argv, envp);
  posix_spawnattr_destroy (&attr);
  posix_spawn_file_actions_destroy (&actions);
  return r;
}

static void
watch_process (ForkServer *self)
{
  Process *process = self->process;

  process->watch = g_unix_fd_source_new (process->pidfd, G_IO_IN);
  g_source_set_callback (process->watch, G_SOURCE_FUNC (on_process_ended), g_atomic_rc_box_acquire (process),
                         process_unref);
  g_source_attach (process->watch, self->context);
}

/* With the lock. */
static gboolean
ensure_process (ForkServer *self, GError **error)
{
  int sockets[2];
  gantry_autofd int ours = -1;
  gantry_autofd int theirs = -1;
  pid_t pid;
  int r, pidfd;

  if (self->process != NULL)
    return TRUE;
  if (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
    return gantry_throw_errno (error, errno, "making a socket for the unpack workers");
  ours = sockets[0];
  theirs = sockets[1];
  r = spawn (self->program, theirs, &pid);
  if (r != 0)
    return gantry_throw_errno (error, r, "starting the unpack worker %s", self->program);
  pidfd = pidfd_open (pid, 0);
  if (pidfd < 0)
    {
      r = errno;
      kill (pid, SIGKILL);
      waitpid (pid, NULL, 0);
      return gantry_throw_errno (error, r, "watching the unpack worker %s", self->program);
    }
  self->process = g_atomic_rc_box_new0 (Process);
  self->process->socket = gantry_fd_steal (&ours);
  self->process->pidfd = pidfd;
  if (self->context != NULL)
    watch_process (self);
  return TRUE;
}

/* Returns: 0 or an errno. */
static int
send_fds (int socket, const int *fds, guint n_fds)
{
  char kind = UNPACK_SERVER_START;
  struct iovec iov = { &kind, 1 };
  union
  {
    struct cmsghdr header;
    char space[CMSG_SPACE (UNPACK_SERVER_MAX_FDS * sizeof (int))];
  } control = { 0 };
  struct msghdr message = { .msg_iov = &iov,
                            .msg_iovlen = 1,
                            .msg_control = &control,
                            .msg_controllen = CMSG_SPACE (n_fds * sizeof (int)) };
  struct cmsghdr *header = CMSG_FIRSTHDR (&message);
  ssize_t n;

  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN (n_fds * sizeof (int));
  memcpy (CMSG_DATA (header), fds, n_fds * sizeof (int));
  do
    n = sendmsg (socket, &message, MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  return n < 0 ? errno : 0;
}

/* With the lock. */
static gboolean
ask_for_worker (ForkServer *self, const int *fds, guint n_fds, GError **error)
{
  int r;

  if (!ensure_process (self, error))
    return FALSE;
  r = send_fds (self->process->socket, fds, n_fds);
  if (r == EPIPE || r == ECONNRESET)
    {
      /* Somebody has killed it since the last worker. */
      drop_process (self, TRUE);
      if (!ensure_process (self, error))
        return FALSE;
      r = send_fds (self->process->socket, fds, n_fds);
      if (r == EPIPE || r == ECONNRESET)
        return gantry_throw (error, GANTRY_ERROR_INTERNAL,
                             "the unpack worker ended without a result: %s ends as soon as it is started",
                             self->program);
    }
  return r == 0 || gantry_throw_errno (error, r, "asking for an unpack worker");
}

/* In the main context. */
static gboolean
on_timer (gpointer data)
{
  ForkServer *self = data;
  gboolean again = TRUE;

  /* Held for long only by who starts a process, which then is needed. */
  if (!g_mutex_trylock (&self->lock))
    return G_SOURCE_CONTINUE;
  if (self->n_workers == 0 && g_get_monotonic_time () - self->idle_since_us >= IDLE_MS * 1000 / 2)
    {
      drop_process (self, FALSE);
      g_clear_pointer (&self->timer, g_source_unref);
      again = FALSE;
    }
  g_mutex_unlock (&self->lock);
  return again;
}

static void
note_start (ForkServer *self)
{
  self->n_workers++;
  if (self->timer != NULL || self->context == NULL)
    return;
  self->timer = g_timeout_source_new (IDLE_MS);
  g_source_set_callback (self->timer, on_timer, self, NULL);
  g_source_attach (self->timer, self->context);
}

static void
note_end (ForkServer *self)
{
  g_mutex_lock (&self->lock);
  self->n_workers--;
  self->idle_since_us = g_get_monotonic_time ();
  g_mutex_unlock (&self->lock);
}

gboolean
fork_server_start (ForkServer *self, const int *fds, guint n_fds, int *ret_life, GError **error)
{
  int lives[2], all[UNPACK_SERVER_MAX_FDS];
  gantry_autofd int ours = -1;
  gantry_autofd int theirs = -1;
  gboolean ok;

  g_assert (n_fds < UNPACK_SERVER_MAX_FDS);
  if (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, lives) < 0)
    return gantry_throw_errno (error, errno, "making a socket for the unpack worker");
  ours = lives[0];
  theirs = lives[1];
  all[0] = theirs;
  memcpy (all + 1, fds, n_fds * sizeof *fds);
  g_mutex_lock (&self->lock);
  ok = ask_for_worker (self, all, n_fds + 1, error);
  if (ok)
    note_start (self);
  g_mutex_unlock (&self->lock);
  if (ok)
    *ret_life = gantry_fd_steal (&ours);
  return ok;
}

gboolean
fork_server_wait (ForkServer *self, int life, gboolean end, int *ret_status, GError **error)
{
  UnpackServerEnd answer;
  ssize_t n;

  if (end)
    shutdown (life, SHUT_WR);
  do
    n = recv (life, &answer, sizeof answer, 0);
  while (n < 0 && errno == EINTR);
  close (life);
  note_end (self);
  if (n != sizeof answer)
    return gantry_throw (error, GANTRY_ERROR_INTERNAL,
                         "the unpack worker ended without a result: %s, which it was forked from, has died",
                         self->program);
  *ret_status = answer.status;
  return answer.error == 0 || gantry_throw_errno (error, answer.error, "forking an unpack worker");
}

ForkServer *
fork_server_new (const char *program, GMainContext *context)
{
  ForkServer *self = g_new0 (ForkServer, 1);

  self->program = g_strdup (program);
  self->context = context != NULL ? g_main_context_ref (context) : NULL;
  g_mutex_init (&self->lock);
  return self;
}

void
fork_server_free (ForkServer *self)
{
  if (self == NULL)
    return;
  g_mutex_lock (&self->lock);
  destroy_source (&self->timer);
  drop_process (self, TRUE);
  g_mutex_unlock (&self->lock);
  g_mutex_clear (&self->lock);
  g_clear_pointer (&self->context, g_main_context_unref);
  g_free (self->program);
  g_free (self);
}
