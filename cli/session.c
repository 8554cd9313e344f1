/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The streams of a process. Without a terminal it gets our own descriptors; with one, we copy between it and
 * a socket. */
#include "cli.h"

#include <errno.h>
#include <glib-unix.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

typedef struct
{
  Session *session;
  GMainLoop *loop;
  struct termios saved;
  int status;
  GError *error;
} Follow;

GantryStdio *
session_stdio (Session *session, gboolean detach, gboolean interactive, gboolean tty)
{
  GantryStdio *stdio;
  int pair[2];

  session->socket = -1;
  if (detach)
    return gantry_stdio_new_logged (tty);
  if (!tty)
    return gantry_stdio_new_for_fds (interactive ? STDIN_FILENO : -1, STDOUT_FILENO, STDERR_FILENO);
  if (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
    return gantry_stdio_new (NULL, NULL, NULL, TRUE);
  stdio = gantry_stdio_new_for_console (pair[1]);
  close (pair[1]);
  session->socket = pair[0];
  return stdio;
}

static void
send_size (Follow *follow)
{
  struct winsize size;

  if (ioctl (STDIN_FILENO, TIOCGWINSZ, &size) == 0)
    gantry_process_resize_async (follow->session->process, size.ws_col, size.ws_row, NULL, NULL, NULL);
}

void
session_set_size (Session *session)
{
  struct winsize size;

  /* A process whose console cannot be sized still runs. */
  if (session->socket >= 0 && ioctl (STDIN_FILENO, TIOCGWINSZ, &size) == 0)
    gantry_process_resize (session->process, size.ws_col, size.ws_row, NULL, NULL);
}

/* GLib has no source for SIGWINCH, so it comes through a pipe. */
static int winch_pipe[2];

static void
winch_handler (int signal)
{
  int saved_errno = errno;

  if (write (winch_pipe[1], "", 1) < 0)
    errno = 0;
  errno = saved_errno;
}

static gboolean
on_winch (int fd, GIOCondition condition, gpointer data)
{
  char scrap[64];

  if (read (fd, scrap, sizeof scrap) > 0)
    send_size (data);
  return G_SOURCE_CONTINUE;
}

static gboolean
pass_on (Follow *follow, int number)
{
  gantry_process_kill_async (follow->session->process, (guint)number, FALSE, NULL, NULL, NULL);
  return G_SOURCE_CONTINUE;
}

static gboolean
on_int (gpointer data)
{
  return pass_on (data, SIGINT);
}

static gboolean
on_term (gpointer data)
{
  return pass_on (data, SIGTERM);
}

static gboolean
on_hup (gpointer data)
{
  return pass_on (data, SIGHUP);
}

static gboolean
write_all (int fd, const char *data, gsize length)
{
  while (length > 0)
    {
      ssize_t n = write (fd, data, length);

      if (n < 0 && errno != EINTR)
        return FALSE;
      if (n > 0)
        {
          data += n;
          length -= (gsize)n;
        }
    }
  return TRUE;
}

static gboolean
on_typed (int fd, GIOCondition condition, gpointer data)
{
  Session *session = data;
  char buffer[4096];
  ssize_t n = read (fd, buffer, sizeof buffer);

  if (n > 0)
    return write_all (session->socket, buffer, (gsize)n);
  shutdown (session->socket, SHUT_WR);
  return G_SOURCE_REMOVE;
}

static gboolean
on_output (int fd, GIOCondition condition, gpointer data)
{
  char buffer[16384];
  ssize_t n = read (fd, buffer, sizeof buffer);

  return n > 0 && write_all (STDOUT_FILENO, buffer, (gsize)n);
}

static void
on_waited (GObject *object, GAsyncResult *result, gpointer data)
{
  Follow *follow = data;

  follow->status = (int)gantry_process_wait_finish (GANTRY_PROCESS (object), result, &follow->error);
  g_main_loop_quit (follow->loop);
}

static gboolean
raw_mode (Follow *follow)
{
  struct termios raw;

  if (tcgetattr (STDIN_FILENO, &follow->saved) < 0)
    return FALSE;
  raw = follow->saved;
  cfmakeraw (&raw);
  return tcsetattr (STDIN_FILENO, TCSADRAIN, &raw) == 0;
}

static void
watch_terminal (Follow *follow)
{
  struct sigaction action = { .sa_handler = winch_handler, .sa_flags = SA_RESTART };

  if (!g_unix_open_pipe (winch_pipe, FD_CLOEXEC, NULL))
    return;
  g_unix_fd_add (winch_pipe[0], G_IO_IN, on_winch, follow);
  sigaction (SIGWINCH, &action, NULL);
  send_size (follow);
}

int
session_follow (Session *session)
{
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  Follow follow = { .session = session, .loop = loop };
  gboolean raw = FALSE;

  gantry_process_wait_async (session->process, NULL, on_waited, &follow);
  if (session->socket >= 0)
    {
      g_unix_fd_add (STDIN_FILENO, G_IO_IN | G_IO_HUP, on_typed, session);
      g_unix_fd_add (session->socket, G_IO_IN | G_IO_HUP, on_output, session);
      if (isatty (STDIN_FILENO))
        {
          watch_terminal (&follow);
          raw = raw_mode (&follow);
        }
    }
  g_unix_signal_add (SIGINT, on_int, &follow);
  g_unix_signal_add (SIGTERM, on_term, &follow);
  g_unix_signal_add (SIGHUP, on_hup, &follow);
  g_main_loop_run (loop);
  /* What it wrote last may still be in the socket; of a process that goes on there is no last. */
  while (follow.error == NULL && session->socket >= 0 && on_output (session->socket, G_IO_IN, session))
    ;
  if (raw)
    tcsetattr (STDIN_FILENO, TCSADRAIN, &follow.saved);
  if (follow.error == NULL)
    return follow.status;
  cli_fail_error (follow.error);
  return CLI_NOT_RUN;
}

static gboolean
says (const GError *error, const char *const *words)
{
  for (gsize i = 0; words[i] != NULL; i++)
    if (strstr (error->message, words[i]) != NULL)
      return TRUE;
  return FALSE;
}

/* 127 for a program that is not there, 126 for one that can't be executed, CLI_NOT_RUN for everything else
 * that is not the container's own doing: as env (1) and podman. */
int
session_start_failure (GError *error)
{
  static const char *const absent[]
      = { "executable file not found", "no such file or directory", "No such file or directory", NULL };
  static const char *const not_executable[] = { "permission denied", "Permission denied", NULL };
  int status = says (error, absent) ? 127 : says (error, not_executable) ? 126 : CLI_NOT_RUN;

  cli_fail_error (error);
  return status;
}
