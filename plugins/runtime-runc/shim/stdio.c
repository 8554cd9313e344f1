/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Where a process's streams go (sdk/gantry/runtime.h, GantryStdio). Without a terminal a FIFO, a file or a
 * passed fd is given to the process itself and nothing is copied; "stream:" and terminals go through pumps,
 * and so do the FIFOs of a process that is to be saved by criu.
 */
#include "shim.h"

#include "pump.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#define MAX_INPUTS 8
/* How long a log program may take to be ready. containerd gives it as much. */
#define LOGGER_TIMEOUT_MS 10000

struct Stream
{
  int hold;   /* keeps a FIFO open at our end, or the writing end of a kept stdin, or -1 */
  bool piped; /* between the process and a FIFO is a pipe */
  Pump *pump; /* of an output that is kept, or piped */
  Pump *inputs[MAX_INPUTS];
};

static Stream *
stream_of (Process *process, int i)
{
  if (process->streams[i] == NULL)
    {
      process->streams[i] = calloc (1, sizeof (Stream));
      if (process->streams[i] != NULL)
        process->streams[i]->hold = -1;
    }
  return process->streams[i];
}

static bool
has_prefix (const char *text, const char *prefix)
{
  return strncmp (text, prefix, strlen (prefix)) == 0;
}

void
stdio_close (int fds[3])
{
  for (int i = 0; i < 3; i++)
    {
      if (fds[i] >= 0)
        close (fds[i]);
      fds[i] = -1;
    }
}

static int
passed_fd (Process *process, const char *uri, Error *error)
{
  long n = strtol (uri + strlen ("fd:"), NULL, 10);

  if (n < 0 || n >= process->stdio.n_fds)
    {
      fail (error, CODE_INVALID_ARGUMENT, "stdio \"%s\" names none of the %d descriptors that were passed",
            uri, process->stdio.n_fds);
      return -1;
    }
  return fcntl (process->stdio.fds[n], F_DUPFD_CLOEXEC, 3);
}

static const char *
fifo_path (const char *uri)
{
  return has_prefix (uri, "fifo://") ? uri + strlen ("fifo://") : uri;
}

/* criu saves pipes, and a restored process gets others in their place; a FIFO that it does not find in the
 * container it can't save. */
static bool
wants_pipes (const Process *process)
{
  const Container *container = process->container;
  const Options *options = &container->options;

  return process->exec_id[0] == '\0'
         && (options->checkpointable || options->criu != NULL || options->criu_image_path != NULL
             || options->criu_work_path != NULL || container->checkpoint != NULL);
}

/* Another description of the same FIFO. */
static int
open_again (int fifo, int flags)
{
  char path[64];

  snprintf (path, sizeof path, "/proc/self/fd/%d", fifo);
  return open (path, flags | O_CLOEXEC);
}

/* Copies from @source to @sink; takes over both. */
static bool
feed (int source, int sink, Pump **owner)
{
  if (pump_new (source, owner) != NULL)
    return pump_add_sink (*owner, sink);
  close (sink);
  return false;
}

/* Puts a pipe between the process and @fifo (taken over), which is open in both directions: so outputs meet
 * no FIFO without a reader, whether one comes later or leaves, and stdin ends no sooner than CloseIO says. */
static int
open_piped (Stream *stream, int i, int fifo, Error *error)
{
  int fds[2];

  stream->piped = true;
  if (pipe2 (fds, O_CLOEXEC) < 0)
    {
      close (fifo);
      fail_errno (error, "making a pipe for a stream");
      return -1;
    }
  if (i == 0)
    {
      stream->hold = fifo;
      if (feed (open_again (fifo, O_RDONLY | O_NONBLOCK), fds[1], &stream->inputs[0]))
        return fds[0];
      close (fds[0]);
    }
  else if (feed (fds[0], fifo, &stream->pump))
    return fds[1];
  else
    close (fds[1]);
  fail (error, CODE_INTERNAL, "no memory for a stream");
  return -1;
}

/* Opens a FIFO (or, as containerd allows, a plain file for output) so that neither end waits for the other:
 * our own end stays open until the process ends (outputs) or CloseIO (stdin). */
static int
open_fifo (Process *process, int i, const char *path, Error *error)
{
  Stream *stream = stream_of (process, i);
  int fd = open (path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
  struct stat st;

  if (fd < 0 || stream == NULL)
    {
      fail_errno (error, "opening %s", path);
      if (fd >= 0)
        close (fd);
      return -1;
    }
  if (fstat (fd, &st) == 0 && !S_ISFIFO (st.st_mode))
    {
      fcntl (fd, F_SETFL, O_APPEND);
      return fd;
    }
  if (wants_pipes (process))
    return open_piped (stream, i, fd, error);
  stream->hold = fd;
  /* A description of its own, so that the process's O_NONBLOCK is its own, too. */
  return open_again (fd, i == 0 ? O_RDONLY : O_WRONLY);
}

/* Has what @pump copies logged as the stream @name if its URI names a file. Both outputs share one log, so
 * that it is moved away for both at once. */
static bool
add_log (Process *process, Pump *pump, const char *name, const char *uri, Error *error)
{
  const char *path;

  if (!has_prefix (uri, "stream:///"))
    return true;
  path = uri + strlen ("stream://");
  if (process->log == NULL || strcmp (log_path (process->log), path) != 0)
    {
      Log *log = log_open (path);

      if (log == NULL)
        return fail_errno (error, "opening the log %s", path);
      log_unref (process->log);
      process->log = log;
    }
  pump_set_log (pump, process->log, name);
  return true;
}

/* Makes a pipe whose other end is kept: outputs are pumped, stdin is fed by attached clients. */
static int
open_kept (Process *process, int i, const char *uri, Error *error)
{
  Stream *stream = stream_of (process, i);
  int fds[2];

  if (stream == NULL || pipe2 (fds, O_CLOEXEC) < 0)
    {
      fail_errno (error, "making a pipe");
      return -1;
    }
  if (i == 0)
    {
      stream->hold = fds[1];
      return fds[0];
    }
  if (pump_new (fds[0], &stream->pump) == NULL)
    {
      close (fds[1]);
      fail (error, CODE_INTERNAL, "no memory for a stream");
      return -1;
    }
  if (!add_log (process, stream->pump, i == 2 ? "stderr" : "stdout", uri, error))
    {
      close (fds[1]);
      return -1;
    }
  return fds[1];
}

static int
open_file (const char *path, Error *error)
{
  int fd;

  /* There is no directory that a relative one could mean. */
  if (path[0] != '/')
    {
      fail (error, CODE_INVALID_ARGUMENT, "stdio \"file://%.200s\" needs an absolute path", path);
      return -1;
    }
  fd = open (path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0)
    fail_errno (error, "opening %s", path);
  return fd;
}

static bool
open_one (Process *process, int i, const char *uri, int *ret_fd, Error *error)
{
  if (has_prefix (uri, "fd:"))
    *ret_fd = passed_fd (process, uri, error);
  else if (has_prefix (uri, "file://"))
    *ret_fd = open_file (uri + strlen ("file://"), error);
  else if (has_prefix (uri, "stream:"))
    *ret_fd = open_kept (process, i, uri, error);
  else if (uri[0] == '/' || has_prefix (uri, "fifo://"))
    *ret_fd = open_fifo (process, i, fifo_path (uri), error);
  else
    return fail (error, CODE_INVALID_ARGUMENT,
                 "stdio \"%.200s\" is not a path, fifo://, file://, binary://, fd: or stream:", uri);
  return *ret_fd >= 0;
}

/* The arguments of binary:///path?k=v&k=v are the query's keys and values, in order. */
static size_t
binary_args (char *uri, const char **argv, size_t max)
{
  char *query = strchr (uri, '?');
  size_t n = 0;

  argv[n++] = uri + strlen ("binary://");
  if (query != NULL)
    *query++ = '\0';
  for (char *part = query; part != NULL && n + 2 < max;)
    {
      char *next = strpbrk (part, "&");
      char *value = strchr (part, '=');

      if (next != NULL)
        *next++ = '\0';
      if (value != NULL)
        *value++ = '\0';
      argv[n++] = part;
      if (value != NULL && value[0] != '\0')
        argv[n++] = value;
      part = next;
    }
  argv[n] = NULL;
  return n;
}

static void
logger_exec (Process *process, const char *const *argv, int out, int err, int ready)
{
  int fds[3] = { out, err, ready };
  sigset_t none;

  for (int i = 0; i < 3; i++)
    fds[i] = fcntl (fds[i], F_DUPFD_CLOEXEC, 10);
  for (int i = 0; i < 3; i++)
    if (fds[i] < 0 || dup2 (fds[i], 3 + i) < 0)
      _exit (126);
  setenv ("CONTAINER_ID", process->container->id, 1);
  setenv ("CONTAINER_NAMESPACE", shim_namespace, 1);
  /* The shim takes its signals from a descriptor; a program that waits for its children needs them. */
  sigemptyset (&none);
  sigprocmask (SIG_SETMASK, &none, NULL);
  execv (argv[0], (char *const *)argv);
  _exit (127);
}

/* Ready is a byte, or the pipe's end. */
static bool
wait_for_logger (int fd, const Process *process, Error *error)
{
  struct pollfd poll_fd = { fd, POLLIN, 0 };
  int n;

  do
    n = poll (&poll_fd, 1, LOGGER_TIMEOUT_MS);
  while (n < 0 && errno == EINTR);
  return n != 0
         || fail (error, CODE_DEADLINE_EXCEEDED,
                  "the log program %.200s did not say that it is ready within %d s", process->stdio.uri[1],
                  LOGGER_TIMEOUT_MS / 1000);
}

/* Starts containerd's kind of log program: it reads fds 3 and 4 and closes (or writes to) 5 when it is ready.
 */
static bool
open_binary (Process *process, int fds[3], Error *error)
{
  const char *argv[64];
  int pipes[3][2] = { { -1, -1 }, { -1, -1 }, { -1, -1 } };
  char *uri = strdup (process->stdio.uri[1]);
  bool ok = uri != NULL;

  for (int i = 0; ok && i < 3; i++)
    ok = pipe2 (pipes[i], O_CLOEXEC) == 0;
  if (ok)
    {
      binary_args (uri, argv, 64);
      ok = access (argv[0], X_OK) == 0;
    }
  if (!ok)
    fail_errno (error, "starting the log program %.200s", process->stdio.uri[1]);
  else if ((process->logger = fork ()) == 0)
    logger_exec (process, argv, pipes[0][0], pipes[1][0], pipes[2][1]);
  close (pipes[2][1]);
  close (pipes[0][0]);
  close (pipes[1][0]);
  if (ok)
    {
      ok = wait_for_logger (pipes[2][0], process, error);
      if (!ok && process->logger > 0)
        kill (process->logger, SIGKILL);
    }
  close (pipes[2][0]);
  fds[1] = pipes[0][1];
  fds[2] = pipes[1][1];
  free (uri);
  return ok;
}

/* Pipes belong to the user that the options name, so that the process may open them again as /dev/stdout.
 * What the caller passed is its own. */
static bool
give_away (const Container *container, const char *uri, int fd, Error *error)
{
  const Options *options = &container->options;
  struct stat st;

  if ((options->io_uid == 0 && options->io_gid == 0) || has_prefix (uri, "fd:") || fstat (fd, &st) < 0
      || !S_ISFIFO (st.st_mode))
    return true;
  return fchown (fd, options->io_uid, options->io_gid) == 0
         || fail_errno (error, "giving %.200s to user %u", uri, options->io_uid);
}

bool
stdio_open (Process *process, int ret_fds[3], Error *error)
{
  const Container *container = process->container;

  if (process->stdio.terminal)
    return true;
  for (int i = 0; i < 3; i++)
    {
      const char *uri = process->stdio.uri[i];

      if (uri == NULL || uri[0] == '\0' || ret_fds[i] >= 0)
        continue;
      if (has_prefix (uri, "binary://") ? !open_binary (process, ret_fds, error)
                                        : !open_one (process, i, uri, &ret_fds[i], error))
        {
          stdio_close (ret_fds);
          return false;
        }
      if (!give_away (container, uri, ret_fds[i], error))
        {
          stdio_close (ret_fds);
          return false;
        }
    }
  return true;
}

int
console_listen (Container *container, char *ret_path, Error *error)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  static unsigned serial;
  int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

  (void)container;
  /* sun_path is short and bundles may be deep, so consoles meet in /tmp, in a name that nobody can guess to
   * be there first. */
  snprintf (ret_path, sizeof address.sun_path, "/tmp/.gantry-console-%d-%u-%lx", (int)getpid (), serial++,
            (unsigned long)now_ns ());
  memcpy (address.sun_path, ret_path, strlen (ret_path) + 1);
  if (fd < 0 || bind (fd, (struct sockaddr *)&address, sizeof address) < 0 || chmod (ret_path, 0600) < 0
      || listen (fd, 1) < 0)
    {
      fail_errno (error, "making the console socket %s", ret_path);
      if (fd >= 0)
        close (fd);
      return -1;
    }
  return fd;
}

int
console_receive (int listener, Error *error)
{
  union
  {
    char space[CMSG_SPACE (sizeof (int))];
    struct cmsghdr align;
  } control;
  char name[4096];
  struct iovec iov = { name, sizeof name };
  struct msghdr message
      = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
  struct cmsghdr *header;
  int master = -1;
  int fd;

  fcntl (listener, F_SETFL, O_NONBLOCK);
  fd = accept4 (listener, NULL, NULL, SOCK_CLOEXEC);
  if (fd < 0 || recvmsg (fd, &message, MSG_CMSG_CLOEXEC) <= 0)
    fail_errno (error, "the OCI runtime sent no console");
  else if ((header = CMSG_FIRSTHDR (&message)) != NULL && header->cmsg_type == SCM_RIGHTS)
    memcpy (&master, CMSG_DATA (header), sizeof master);
  else
    fail (error, CODE_INTERNAL, "the OCI runtime sent no console");
  if (fd >= 0)
    close (fd);
  return master;
}

static bool
add_input (Process *process, int i, int source, int destination)
{
  Stream *stream = stream_of (process, i);

  for (int j = 0; stream != NULL && j < MAX_INPUTS; j++)
    if (stream->inputs[j] == NULL)
      {
        Pump *pump = pump_new (source, &stream->inputs[j]);

        return pump != NULL && pump_add_sink (pump, destination);
      }
  close (source);
  close (destination);
  return false;
}

/* The fd for one side of a console that is not kept. */
static bool
console_side (Process *process, int i, int *ret_fd, Error *error)
{
  const char *uri = process->stdio.uri[i];

  *ret_fd = -1;
  if (uri == NULL || uri[0] == '\0' || has_prefix (uri, "stream:"))
    return true;
  if (has_prefix (uri, "fd:"))
    *ret_fd = passed_fd (process, uri, error);
  else if (has_prefix (uri, "file://"))
    *ret_fd = open_file (uri + strlen ("file://"), error);
  else if (has_prefix (uri, "binary://"))
    {
      int fds[3] = { -1, -1, -1 };

      if (!open_binary (process, fds, error))
        return false;
      *ret_fd = fds[1];
      close (fds[2]);
    }
  else
    {
      *ret_fd = open (fifo_path (uri), O_RDWR | O_CLOEXEC | O_NONBLOCK);
      if (*ret_fd < 0)
        fail_errno (error, "opening %s", uri);
    }
  return *ret_fd >= 0;
}

bool
stdio_take_console (Process *process, int master, Error *error)
{
  const char *out_uri = process->stdio.uri[1];
  Stream *out = stream_of (process, 1);
  int in_fd, out_fd;

  fcntl (master, F_SETFD, FD_CLOEXEC);
  process->console = master;
  if (out == NULL || pump_new (fcntl (master, F_DUPFD_CLOEXEC, 3), &out->pump) == NULL)
    return fail (error, CODE_INTERNAL, "no memory for a console");
  if (!console_side (process, 1, &out_fd, error) || !console_side (process, 0, &in_fd, error))
    return false;
  if (out_fd >= 0)
    pump_add_sink (out->pump, out_fd);
  if (out_uri != NULL && !add_log (process, out->pump, "stdout", out_uri, error))
    return false;
  if (in_fd >= 0 && !add_input (process, 0, in_fd, fcntl (master, F_DUPFD_CLOEXEC, 3)))
    return fail (error, CODE_INTERNAL, "no memory for a console");
  return true;
}

bool
stdio_attach (Process *process, int *fds, int n_fds, Error *error)
{
  bool terminal = process->stdio.terminal;

  if (process->exited)
    return fail (error, CODE_FAILED_PRECONDITION, "process has exited");
  for (int i = 0; i < (terminal ? 2 : 3); i++)
    {
      const char *uri = process->stdio.uri[i];
      int fd = i < n_fds ? fds[i] : terminal && i == 1 && n_fds == 1 ? fds[0] : -1;
      Stream *stream = process->streams[i];
      int destination;

      if (fd < 0)
        continue;
      if (uri == NULL || !has_prefix (uri, "stream:"))
        return fail (error, CODE_FAILED_PRECONDITION,
                     "the streams of this process are not kept: they are \"%.200s\"; start it detached to "
                     "attach later",
                     uri != NULL && uri[0] != '\0' ? uri : "/dev/null");
      fd = fcntl (fd, F_DUPFD_CLOEXEC, 3);
      if (i > 0)
        {
          if (stream == NULL || stream->pump == NULL)
            close (fd);
          else if (!pump_add_sink (stream->pump, fd))
            return fail (error, CODE_FAILED_PRECONDITION, "too many are attached already");
          continue;
        }
      destination = terminal ? process->console : stream != NULL ? stream->hold : -1;
      if (destination < 0)
        close (fd);
      else if (!add_input (process, 0, fd, fcntl (destination, F_DUPFD_CLOEXEC, 3)))
        return fail (error, CODE_FAILED_PRECONDITION, "too many are attached already");
    }
  return true;
}

bool
stdio_close_stdin (Process *process, Error *error)
{
  Stream *stream = process->streams[0];
  char end = 4; /* Ctrl-D */

  (void)error;
  if (process->stdio.terminal && process->console >= 0 && stream == NULL)
    return write (process->console, &end, 1) >= 0 || true;
  if (stream == NULL)
    return true;
  /* What is in a FIFO still gets through its pipe: the pump meets its end. */
  for (int i = 0; i < MAX_INPUTS && !stream->piped; i++)
    pump_free (stream->inputs[i]);
  if (stream->hold >= 0)
    close (stream->hold);
  stream->hold = -1;
  return true;
}

const char *
stdio_unsavable (const Process *process)
{
  for (int i = 0; i < 3; i++)
    {
      const Stream *stream = process->streams[i];
      const char *uri = process->stdio.uri[i];

      if (stream != NULL && stream->hold >= 0 && !stream->piped && !has_prefix (uri, "stream:"))
        return uri;
    }
  return NULL;
}

void
stdio_drain (Process *process)
{
  for (int i = 1; i < 3; i++)
    {
      Stream *stream = process->streams[i];

      if (stream != NULL && stream->piped && stream->pump != NULL)
        pump_drain (stream->pump);
    }
}

bool
stdio_is_drained (const Process *process)
{
  for (int i = 1; i < 3; i++)
    {
      const Stream *stream = process->streams[i];

      if (stream != NULL && stream->piped && stream->pump != NULL && pump_owes (stream->pump))
        return false;
    }
  return true;
}

void
stdio_finish (Process *process)
{
  for (int i = 0; i < 3; i++)
    {
      Stream *stream = process->streams[i];

      if (stream == NULL)
        continue;
      for (int j = 0; j < MAX_INPUTS; j++)
        pump_free (stream->inputs[j]);
      if (stream->hold >= 0)
        close (stream->hold);
      /* What the process wrote last is still on its way: an output pump ends by itself at the end of its
       * source. */
      if (stream->pump != NULL)
        pump_disown (stream->pump);
      free (stream);
      process->streams[i] = NULL;
    }
  log_unref (process->log);
  process->log = NULL;
  if (process->console >= 0)
    close (process->console);
  process->console = -1;
}
