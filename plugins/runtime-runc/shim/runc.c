/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Calls of the OCI runtime's command line (runc, crun: same verbs and options). */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_ARGS     32
#define MAX_ARGV     (MAX_ARGS + 12)
#define MAX_LOG_PATH 4096
#define MAX_OUTPUT   (1024 * 1024)
#define MAX_LOG      (64 * 1024)

/* Takes the JSON string that starts at @at (behind its quote) into @out. */
static void
unescape (const char *at, char *out, size_t size)
{
  size_t n = 0;

  for (; *at != '\0' && *at != '"' && n + 1 < size; at++)
    {
      if (*at != '\\' || at[1] == '\0')
        out[n++] = *at;
      else
        {
          at++;
          out[n++] = *at == 'n' || *at == 't' || *at == 'r' ? ' ' : *at;
        }
    }
  out[n] = '\0';
}

int
runc_code (int code)
{
  return shim_sockets != NULL ? code : CODE_UNKNOWN;
}

/* The last error in the runtime's log of JSON lines: {"level":"error","msg":"…"}. */
static bool
take_log (const char *path, Error *error, const char *verb, int status)
{
  char *log = read_file (path, MAX_LOG, NULL);
  char message[MAX_ERROR - 64] = "";
  const char *at = log;
  int code = CODE_UNKNOWN;

  while (at != NULL && (at = strstr (at, "\"level\":\"error\"")) != NULL)
    {
      const char *line_end = strchr (at, '\n');
      const char *text = strstr (at, "\"msg\":\"");

      if (text != NULL && (line_end == NULL || text < line_end))
        unescape (text + strlen ("\"msg\":\""), message, sizeof message);
      at++;
    }
  /* crun writes plain text. */
  if (message[0] == '\0' && log != NULL && log[0] != '\0' && log[0] != '{')
    snprintf (message, sizeof message, "%.900s", log);
  free (log);
  if (strstr (message, "executable file not found") != NULL
      || strstr (message, "no such file or directory") != NULL)
    code = runc_code (CODE_NOT_FOUND);
  else if (strstr (message, "permission denied") != NULL)
    code = runc_code (CODE_PERMISSION_DENIED);
  if (message[0] == '\0')
    return fail (error, CODE_UNKNOWN, "OCI runtime %s failed with status %d and said nothing", verb, status);
  return fail (error, code, "OCI runtime %s failed: %s", verb, message);
}

static void
child_exec (const char *const *argv, const int *fds, int output, bool both)
{
  sigset_t none;
  int null = open ("/dev/null", O_RDWR | O_CLOEXEC);
  int streams[3];

  for (int i = 0; i < 3; i++)
    streams[i] = fds != NULL && fds[i] >= 0                    ? fds[i]
                 : (i == 1 || (i == 2 && both)) && output >= 0 ? output
                                                               : null;
  /* Lifted above 2 first, so that no dup2 () overwrites one that is still needed. */
  for (int i = 0; i < 3; i++)
    streams[i] = fcntl (streams[i], F_DUPFD_CLOEXEC, 10);
  for (int i = 0; i < 3; i++)
    if (streams[i] < 0 || dup2 (streams[i], i) < 0)
      _exit (126);
  sigemptyset (&none);
  sigprocmask (SIG_SETMASK, &none, NULL);
  signal (SIGPIPE, SIG_DFL);
  execvp (argv[0], (char *const *)argv);
  _exit (errno == ENOENT ? 127 : 126);
}

static void
read_output (int fd, PbBuffer *output)
{
  char chunk[4096];
  ssize_t n;

  while ((n = read (fd, chunk, sizeof chunk)) != 0)
    {
      if (n < 0 && errno != EINTR)
        break;
      if (n > 0 && output->length < MAX_OUTPUT)
        pb_append (output, chunk, (size_t)n);
    }
}

/* @output: (nullable): gets stdout, and with @both stderr. Returns: the wait status, or -1. */
static int
spawn_and_wait (const char *const *argv, const int *fds, PbBuffer *output, bool both)
{
  int pipe_fds[2] = { -1, -1 };
  int status = -1;
  pid_t pid;

  if (output != NULL && pipe2 (pipe_fds, O_CLOEXEC) < 0)
    return -1;
  pid = vfork ();
  if (pid == 0)
    child_exec (argv, fds, pipe_fds[1], both);
  if (output != NULL)
    {
      close (pipe_fds[1]);
      if (pid > 0)
        read_output (pipe_fds[0], output);
      close (pipe_fds[0]);
    }
  if (pid < 0)
    return -1;
  while (waitpid (pid, &status, 0) < 0)
    if (errno != EINTR)
      return -1;
  return status;
}

/* The whole command line, with a log of the given name in the bundle. @argv: MAX_ARGV; @log: MAX_LOG_PATH
 * bytes. */
static void
make_argv (const Container *container, const char *const *args, const char *log_name, const char **argv,
           char *log)
{
  size_t n = 0;

  snprintf (log, MAX_LOG_PATH, "%s/%s", container->bundle, log_name);
  unlink (log);
  argv[n++] = container->options.runtime;
  argv[n++] = "--root";
  argv[n++] = container->options.root;
  argv[n++] = "--log";
  argv[n++] = log;
  argv[n++] = "--log-format";
  argv[n++] = "json";
  if (container->options.systemd_cgroup)
    argv[n++] = "--systemd-cgroup";
  if (container->options.criu != NULL)
    {
      argv[n++] = "--criu";
      argv[n++] = container->options.criu;
    }
  for (size_t i = 0; args[i] != NULL && i < MAX_ARGS; i++)
    argv[n++] = args[i];
  argv[n] = NULL;
}

bool
runc_run (Container *container, const char *const *args, const int *fds, PbBuffer *output, Error *error)
{
  const char *argv[MAX_ARGV];
  char log[MAX_LOG_PATH];
  int status;

  make_argv (container, args, "log.json", argv, log);
  status = spawn_and_wait (argv, fds, output, false);
  if (status == 0)
    return true;
  if (status < 0)
    return fail_errno (error, "starting the OCI runtime %s", container->options.runtime);
  if (WIFEXITED (status) && WEXITSTATUS (status) == 127)
    return fail (error, CODE_NOT_FOUND, "OCI runtime %s is not installed", container->options.runtime);
  return take_log (log, error, args[0], WIFEXITED (status) ? WEXITSTATUS (status) : 128 + WTERMSIG (status));
}

bool
runc_features (const Options *options, PbBuffer *output, Error *error)
{
  const char *const argv[] = { options->runtime, "features", NULL };
  int status = spawn_and_wait (argv, NULL, output, false);

  if (status < 0)
    return fail_errno (error, "starting the OCI runtime %s", options->runtime);
  if (WIFEXITED (status) && WEXITSTATUS (status) == 127)
    return fail (error, CODE_NOT_FOUND, "OCI runtime %s is not installed", options->runtime);
  if (status != 0)
    pb_clear (output);
  return true;
}

static bool
read_pid (const char *path, pid_t *ret_pid, Error *error)
{
  char *text = read_file (path, 32, NULL);
  long pid = text != NULL ? strtol (text, NULL, 10) : 0;

  free (text);
  unlink (path);
  if (pid <= 0)
    return fail (error, CODE_INTERNAL, "the OCI runtime wrote no pid into %s", path);
  *ret_pid = (pid_t)pid;
  return true;
}

/* Runs a verb that makes a process: with its streams, or with a console that is taken over. */
static bool
run_with_stdio (Process *process, const char *const *args, size_t n_args, const char *pid_file, Error *error)
{
  Container *container = process->container;
  const char *argv[MAX_ARGS];
  char socket_path[MAX_ERROR];
  int fds[3] = { -1, -1, -1 };
  int listener = -1;
  size_t n = 0;
  bool ok;

  if (process->stdio.terminal && (listener = console_listen (container, socket_path, error)) < 0)
    return false;
  if (!stdio_open (process, fds, error))
    {
      if (listener >= 0)
        close (listener);
      return false;
    }
  argv[n++] = args[0];
  if (process->stdio.terminal)
    {
      argv[n++] = "--console-socket";
      argv[n++] = socket_path;
    }
  for (size_t i = 1; i < n_args; i++)
    argv[n++] = args[i];
  argv[n] = NULL;
  ok = runc_run (container, argv, fds, NULL, error);
  stdio_close (fds);
  if (ok && listener >= 0)
    {
      int master = console_receive (listener, error);

      ok = master >= 0 && stdio_take_console (process, master, error);
    }
  if (listener >= 0)
    {
      close (listener);
      unlink (socket_path);
    }
  return ok && read_pid (pid_file, &process->pid, error);
}

bool
runc_create (Container *container, Error *error)
{
  const char *args[MAX_ARGS];
  char pid_file[4096];
  size_t n = 0;

  snprintf (pid_file, sizeof pid_file, "%s/init.pid", container->bundle);
  args[n++] = "create";
  args[n++] = "--bundle";
  args[n++] = container->bundle;
  args[n++] = "--pid-file";
  args[n++] = pid_file;
  if (container->options.no_pivot)
    args[n++] = "--no-pivot";
  if (container->options.no_new_keyring)
    args[n++] = "--no-new-keyring";
  args[n++] = container->id;
  return run_with_stdio (&container->init, args, n, pid_file, error);
}

bool
runc_restore (Container *container, Error *error)
{
  const char *args[MAX_ARGS];
  char pid_file[4096];
  size_t n = 0;

  snprintf (pid_file, sizeof pid_file, "%s/init.pid", container->bundle);
  args[n++] = "restore";
  args[n++] = "--detach";
  args[n++] = "--image-path";
  args[n++] = container->checkpoint;
  if (container->options.criu_work_path != NULL)
    {
      args[n++] = "--work-path";
      args[n++] = container->options.criu_work_path;
    }
  args[n++] = "--bundle";
  args[n++] = container->bundle;
  args[n++] = "--pid-file";
  args[n++] = pid_file;
  if (container->options.no_pivot)
    args[n++] = "--no-pivot";
  args[n++] = container->id;
  return run_with_stdio (&container->init, args, n, pid_file, error);
}

/* Whether the init process, our child, is still there. */
static bool
init_lives (const Container *container)
{
  siginfo_t info = { 0 };

  return waitid (P_PID, (id_t)container->init.pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0
         && info.si_pid == 0;
}

/* What "runc start" does, without the time of another program: init waits until somebody opens
 * <root>/<id>/exec.fifo for reading, writes a byte and goes on; the FIFO is then removed. Returns: false if
 * it is not there or was not taken: then runc itself is asked. */
static bool
release_init (const Container *container)
{
  char path[4096], byte;
  struct pollfd fd = { -1, POLLIN, 0 };
  struct stat st;
  bool ok = false;

  if (container->start_hooks || strcmp (basename (container->options.runtime), "runc") != 0)
    return false;
  snprintf (path, sizeof path, "%s/%s/exec.fifo", container->options.root, container->id);
  fd.fd = open (path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
  if (fd.fd < 0 || fstat (fd.fd, &st) < 0 || !S_ISFIFO (st.st_mode))
    {
      if (fd.fd >= 0)
        close (fd.fd);
      return false;
    }
  do
    ok = poll (&fd, 1, 100) > 0 && read (fd.fd, &byte, 1) == 1;
  while (!ok && init_lives (container));
  close (fd.fd);
  return ok && unlink (path) == 0;
}

bool
runc_start (Container *container, Error *error)
{
  const char *args[] = { "start", container->id, NULL };

  return release_init (container) || runc_run (container, args, NULL, NULL, error);
}

/* The exec's process object, with the size of its console if one was told before it has one (runtime-spec,
 * config.md, "consoleSize"). */
static bool
write_process (const Process *process, const char *path)
{
  char *text = NULL;
  bool ok;
  Json spec, unused;

  if (process->rows == 0 || !json_parse (process->spec, process->spec_length, &spec) || *spec.at != '{'
      || json_member (spec, "consoleSize", &unused))
    return write_file (path, process->spec, process->spec_length);
  ok = asprintf (&text, "{\"consoleSize\":{\"height\":%u,\"width\":%u},%.*s", process->rows, process->columns,
                 (int)(spec.end - spec.at - 1), spec.at + 1)
       >= 0;
  ok = ok && write_file (path, text, strlen (text));
  free (text);
  return ok;
}

bool
runc_exec (Process *process, Error *error)
{
  Container *container = process->container;
  char spec_file[4096], pid_file[4096];
  const char *args[] = { "exec", "--process", spec_file, "--detach", "--pid-file", pid_file, container->id };
  bool ok;

  snprintf (spec_file, sizeof spec_file, "%s/%s-process.json", container->bundle, process->exec_id);
  snprintf (pid_file, sizeof pid_file, "%s/%s.pid", container->bundle, process->exec_id);
  ok = write_process (process, spec_file) || fail_errno (error, "writing %s", spec_file);
  ok = ok && run_with_stdio (process, args, sizeof args / sizeof args[0], pid_file, error);
  unlink (spec_file);
  return ok;
}

bool
runc_delete (Container *container, bool force, Error *error)
{
  const char *args[] = { "delete", force ? "--force" : container->id, force ? container->id : NULL, NULL };
  int status = -1;

  if (container->deleter > 0 && waitpid (container->deleter, &status, 0) == container->deleter)
    runc_deleted (container, status);
  return container->deleted || runc_run (container, args, NULL, NULL, error);
}

void
runc_delete_early (Container *container)
{
  const char *args[] = { "delete", container->id, NULL }, *argv[MAX_ARGV];
  char log[MAX_LOG_PATH];
  pid_t pid;

  if (container->stop_hooks || container->deleted || container->deleter > 0)
    return;
  container->deleted = state_remove (container);
  if (container->deleted)
    return;
  make_argv (container, args, "log-delete.json", argv, log);
  pid = vfork ();
  if (pid == 0)
    child_exec (argv, NULL, -1, false);
  container->deleter = pid > 0 ? pid : 0;
}

void
runc_deleted (Container *container, int wait_status)
{
  container->deleter = 0;
  container->deleted = wait_status == 0;
}

bool
runc_kill (Container *container, int signal, bool all, Error *error)
{
  char number[16];
  const char *args[]
      = { "kill", all ? "--all" : container->id, all ? container->id : number, all ? number : NULL, NULL };

  snprintf (number, sizeof number, "%d", signal);
  return runc_run (container, args, NULL, NULL, error);
}

/* A line of criu's log that tells an error: "(00.01) Error (file.c:12): …". The first is what went wrong, the
 * last what it could not do. */
static bool
criu_error (const char *text, bool first, char *message, size_t size)
{
  const char *found = NULL;

  for (const char *at = text;
       at != NULL && (at = strstr (at, "Error (")) != NULL && (found == NULL || !first); at++)
    found = at;
  if (found == NULL)
    return false;
  snprintf (message, size, "%.*s", (int)strcspn (found, "\n"), found);
  return true;
}

void
runc_explain_criu (Container *container, const char *work_path, Error *error)
{
  const char *criu = container->options.criu != NULL ? container->options.criu : "criu";
  const char *const check[] = { criu, "check", NULL };
  char path[4096], message[MAX_ERROR - 128], *log;
  PbBuffer output = { 0 };
  int status = spawn_and_wait (check, NULL, &output, true);

  pb_append (&output, "", 1);
  if (WIFEXITED (status) && WEXITSTATUS (status) == 127)
    fail (error, CODE_UNIMPLEMENTED, "criu, which makes and restores checkpoints, is not installed");
  else if (status != 0)
    {
      if (output.failed || !criu_error ((const char *)output.data, false, message, sizeof message))
        snprintf (message, sizeof message, "criu check failed with status %d", status);
      fail (error, CODE_UNIMPLEMENTED, "criu cannot run on this machine: %s", message);
    }
  else if (work_path != NULL)
    {
      snprintf (path, sizeof path, "%s/%s", work_path, container->init.started ? "dump.log" : "restore.log");
      log = read_file (path, 1024 * 1024, NULL);
      if (criu_error (log, true, message, sizeof message))
        fail (error, CODE_UNKNOWN, "criu failed: %s", message);
      free (log);
    }
  pb_clear (&output);
}
