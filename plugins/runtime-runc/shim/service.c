/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The methods. Messages and field numbers: containerd api/runtime/task/v2/shim.proto (v3 has the same messages). */
#include "shim.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define MAX_MOUNTS 64
#define MAX_WAITERS 1024
#define MAX_EXECS 1024
#define MAX_SPEC (4 * 1024 * 1024)

static unsigned n_waiters;

/* The fields that most requests have. Strings are malloc ()ed. */
typedef struct {
  char *strings[16]; /* by field number */
  uint64_t numbers[16];
  PbField bytes[16]; /* the last of each number */
  PbField mounts[MAX_MOUNTS];
  size_t n_mounts;
} Arguments;

static bool
read_arguments (Request *request, Arguments *arguments, Error *error)
{
  PbReader reader = request->body;
  PbField field;
  int more;

  while ((more = pb_next (&reader, &field)) > 0)
    {
      if (field.number >= 16)
        continue;
      if (field.wire == 0)
        arguments->numbers[field.number] = field.value;
      else if (field.wire == 2)
        {
          arguments->bytes[field.number] = field;
          if (field.number == 3 && arguments->n_mounts < MAX_MOUNTS)
            arguments->mounts[arguments->n_mounts++] = field;
          free (arguments->strings[field.number]);
          arguments->strings[field.number] = pb_dup (&field);
        }
    }
  return more == 0 || fail (error, CODE_INVALID_ARGUMENT, "the message of %s is malformed", request->method);
}

static void
clear_arguments (Arguments *arguments)
{
  for (int i = 0; i < 16; i++)
    free (arguments->strings[i]);
}

/* Field 1 of every request is the container, field 2 of most the exec. */
static Container *
need_container (Arguments *arguments, Error *error)
{
  Container *container = container_find (arguments->strings[1]);

  if (container == NULL)
    fail (error, CODE_NOT_FOUND, "container %s not found",
          arguments->strings[1] != NULL ? arguments->strings[1] : "\"\"");
  return container;
}

static Process *
need_process (Arguments *arguments, Error *error)
{
  Container *container = need_container (arguments, error);
  Process *process = container != NULL ? process_find (container, arguments->strings[2]) : NULL;

  if (container != NULL && process == NULL)
    fail (error, CODE_NOT_FOUND, "process %s does not exist", arguments->strings[2]);
  return process;
}

static bool
is_name (const char *name)
{
  size_t length = name != NULL ? strlen (name) : 0;

  return length > 0 && length <= MAX_ID && name[0] != '.'
         && strspn (name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == length;
}

static unsigned
status_of (const Process *process)
{
  if (process->exited)
    return 3;
  if (!process->started)
    return 1;
  return process->container->paused && process->exec_id[0] == '\0' ? 4 : 2;
}

/* Moves the streams of a request into @stdio, with the passed fds if one of them names any. */
static void
take_stdio (Request *request, Arguments *arguments, int first, int terminal, Stdio *stdio)
{
  bool named = false;

  stdio->terminal = arguments->numbers[terminal] != 0;
  for (int i = 0; i < 3; i++)
    {
      stdio->uri[i] = arguments->strings[first + i];
      arguments->strings[first + i] = NULL;
      named |= stdio->uri[i] != NULL && strncmp (stdio->uri[i], "fd:", 3) == 0;
    }
  if (!named)
    return;
  memcpy (stdio->fds, request->fds, sizeof stdio->fds);
  stdio->n_fds = request->n_fds;
  request->n_fds = 0;
}

/* The process has its own copies now; ours would keep pipes open. */
static void
drop_passed (Stdio *stdio)
{
  for (int i = 0; i < stdio->n_fds; i++)
    close (stdio->fds[i]);
  stdio->n_fds = 0;
}

/* containerd.runc.v1.Options, in an Any. */
static void
read_options (Container *container, const PbField *any)
{
  PbReader reader = pb_reader (any->data, any->length);
  PbReader options = pb_reader ("", 0);
  PbField field;

  while (any->data != NULL && pb_next (&reader, &field) > 0)
    if (field.number == 2 && field.wire == 2)
      options = pb_reader (field.data, field.length);
  while (pb_next (&options, &field) > 0)
    {
      if (field.number == 1 && field.wire == 0)
        container->no_pivot = field.value != 0;
      else if (field.number == 2 && field.wire == 0)
        container->no_new_keyring = field.value != 0;
      else if (field.number == 4 && field.wire == 0)
        container->io_uid = (uint32_t) field.value;
      else if (field.number == 5 && field.wire == 0)
        container->io_gid = (uint32_t) field.value;
      else if (field.number == 6 && field.wire == 2 && field.length > 0)
        {
          free (container->runtime);
          container->runtime = pb_dup (&field);
        }
      else if (field.number == 7 && field.wire == 2 && field.length > 0)
        {
          free (container->root);
          container->root = pb_dup (&field);
        }
      else if (field.number == 9 && field.wire == 0)
        container->systemd_cgroup = field.value != 0;
    }
}

static bool
set_root (Container *container)
{
  char *root = malloc (4096);
  const char *base = container->root != NULL ? container->root : "/run/containerd/runc";

  if (root == NULL)
    return false;
  snprintf (root, 4096, "%s/%s", base, shim_namespace);
  free (container->root);
  container->root = root;
  if (container->runtime == NULL)
    container->runtime = strdup ("runc");
  return container->runtime != NULL;
}

static bool
do_create (Request *request, Arguments *arguments, Error *error)
{
  Container *container;
  const char *checkpoint = arguments->strings[8];

  if (!is_name (arguments->strings[1]) || arguments->strings[2] == NULL || arguments->strings[2][0] != '/')
    return fail (error, CODE_INVALID_ARGUMENT, "create needs an id and an absolute bundle");
  if (container_find (arguments->strings[1]) != NULL)
    return fail (error, CODE_ALREADY_EXISTS, "container %s exists already", arguments->strings[1]);
  container = calloc (1, sizeof *container);
  if (container == NULL)
    return fail (error, CODE_INTERNAL, "no memory");
  process_init (&container->init, container, "");
  container->id = strdup (arguments->strings[1]);
  container->bundle = strdup (arguments->strings[2]);
  container->next = containers;
  containers = container;
  if (checkpoint != NULL && checkpoint[0] == '\0')
    checkpoint = NULL;
  read_options (container, &arguments->bytes[10]);
  take_stdio (request, arguments, 5, 4, &container->init.stdio);
  if (!set_root (container) || !rootfs_mount (container, arguments->mounts, arguments->n_mounts, error)
      || !runc_create (container, checkpoint, error))
    {
      Error ignored;

      /* Nothing of a task that failed is left. */
      runc_delete (container, true, &ignored);
      if (container->mounted)
        rootfs_unmount (container->bundle);
      container_free (container);
      return false;
    }
  drop_passed (&container->init.stdio);
  container->init.started = checkpoint != NULL;
  pb_put_varint (&request->reply, 1, (uint64_t) container->init.pid);
  announce_create (container, checkpoint);
  return true;
}

static bool
do_start (Request *request, Arguments *arguments, Error *error)
{
  Process *process = need_process (arguments, error);

  if (process == NULL)
    return false;
  if (process->started || process->exited)
    return fail (error, CODE_FAILED_PRECONDITION, "process was started already");
  if (process->exec_id[0] == '\0' ? !runc_start (process->container, error) : !runc_exec (process, error))
    return false;
  process->started = true;
  free (process->spec);
  process->spec = NULL;
  drop_passed (&process->stdio);
  pb_put_varint (&request->reply, 1, (uint64_t) process->pid);
  announce_start (process);
  return true;
}

static bool
do_exec (Request *request, Arguments *arguments, Error *error)
{
  Container *container = need_container (arguments, error);
  PbReader any = pb_reader (arguments->bytes[7].data, arguments->bytes[7].length);
  PbField field;
  Process *exec;
  unsigned n = 0;

  if (container == NULL)
    return false;
  if (!is_name (arguments->strings[2]))
    return fail (error, CODE_INVALID_ARGUMENT, "exec needs an id of letters, digits, dots, dashes and underscores");
  if (process_find (container, arguments->strings[2]) != NULL)
    return fail (error, CODE_ALREADY_EXISTS, "id %s: already exists", arguments->strings[2]);
  if (container->init.exited)
    return fail (error, CODE_FAILED_PRECONDITION, "cannot exec in a stopped container");
  for (Process *at = container->execs; at != NULL; at = at->next)
    if (++n >= MAX_EXECS)
      return fail (error, CODE_FAILED_PRECONDITION, "the container has %d execs already", MAX_EXECS);
  exec = calloc (1, sizeof *exec);
  if (exec == NULL)
    return fail (error, CODE_INTERNAL, "no memory");
  process_init (exec, container, arguments->strings[2]);
  while (arguments->bytes[7].data != NULL && pb_next (&any, &field) > 0)
    if (field.number == 2 && field.wire == 2 && field.length <= MAX_SPEC)
      {
        free (exec->spec);
        exec->spec = pb_dup (&field);
        exec->spec_length = field.length;
      }
  take_stdio (request, arguments, 4, 3, &exec->stdio);
  if (exec->spec == NULL)
    {
      process_clear (exec);
      free (exec);
      return fail (error, CODE_INVALID_ARGUMENT, "exec needs a process spec");
    }
  exec->next = container->execs;
  container->execs = exec;
  announce_exec_added (exec);
  return true;
}

static void
put_exit (PbBuffer *reply, const Process *process)
{
  pb_put_varint (reply, 1, (uint64_t) process->pid);
  pb_put_varint (reply, 2, process->status);
  pb_put_timestamp (reply, 3, process->exited_ns);
}

static void
delete_exec (Process *process)
{
  Container *container = process->container;
  char path[4096];

  for (Process **at = &container->execs; *at != NULL; at = &(*at)->next)
    if (*at == process)
      {
        *at = process->next;
        break;
      }
  snprintf (path, sizeof path, "%s/exit.%s", container->bundle, process->exec_id);
  unlink (path);
  waiters_complete (process);
  process_clear (process);
  free (process);
}

static bool
do_delete (Request *request, Arguments *arguments, Error *error)
{
  Process *process = need_process (arguments, error);
  Container *container;

  if (process == NULL)
    return false;
  container = process->container;
  if (process->started && !process->exited)
    return fail (error, CODE_FAILED_PRECONDITION, "cannot delete a running process");
  if (process->exec_id[0] != '\0')
    {
      put_exit (&request->reply, process);
      delete_exec (process);
      return true;
    }
  /* A task that was created and never started is killed by the forced delete. */
  if (!runc_delete (container, !process->started, error) && error->code != CODE_NOT_FOUND
      && !runc_delete (container, true, error))
    return false;
  if (!process->exited)
    {
      int status;

      if (waitpid (process->pid, &status, 0) == process->pid)
        process_reap (process->pid, status);
    }
  if (container->mounted)
    rootfs_unmount (container->bundle);
  put_exit (&request->reply, process);
  announce_delete (process);
  waiters_complete (process);
  container_free (container);
  return true;
}

static bool
do_state (Request *request, Arguments *arguments, Error *error)
{
  Process *process = need_process (arguments, error);
  PbBuffer *reply = &request->reply;

  if (process == NULL)
    return false;
  pb_put_string (reply, 1, process->container->id);
  pb_put_string (reply, 2, process->container->bundle);
  pb_put_varint (reply, 3, (uint64_t) process->pid);
  pb_put_varint (reply, 4, status_of (process));
  for (unsigned i = 0; i < 3; i++)
    pb_put_string (reply, 5 + i, process->stdio.uri[i]);
  pb_put_varint (reply, 8, process->stdio.terminal);
  pb_put_varint (reply, 9, process->status);
  pb_put_timestamp (reply, 10, process->exited_ns);
  pb_put_string (reply, 11, process->exec_id);
  return true;
}

static bool
do_kill (Request *request, Arguments *arguments, Error *error)
{
  Process *process = need_process (arguments, error);
  int signal = (int) arguments->numbers[3];

  (void) request;
  if (process == NULL)
    return false;
  if (signal < 0 || signal > 64)
    return fail (error, CODE_INVALID_ARGUMENT, "%d is not a signal", signal);
  if (arguments->numbers[4] != 0 && process->exec_id[0] == '\0')
    return runc_kill (process->container, signal, true, error);
  if (process->exited)
    return fail (error, CODE_NOT_FOUND, "process already finished");
  if (process->pid <= 0)
    return fail (error, CODE_FAILED_PRECONDITION, "process %s has not been started", process->exec_id);
  /* It is our child: its pid can't be somebody else's until we have reaped it. */
  if (kill (process->pid, signal) == 0)
    return true;
  return errno == ESRCH ? fail (error, CODE_NOT_FOUND, "process already finished")
                        : fail_errno (error, "sending signal %d", signal);
}

static bool
do_wait (Request *request, Arguments *arguments, Error *error)
{
  Process *process = need_process (arguments, error);

  if (process == NULL)
    return false;
  if (process->exited)
    {
      pb_put_varint (&request->reply, 1, process->status);
      pb_put_timestamp (&request->reply, 2, process->exited_ns);
      return true;
    }
  if (n_waiters >= MAX_WAITERS)
    return fail (error, CODE_FAILED_PRECONDITION, "there are %d waiters already", MAX_WAITERS);
  waiter_add (process, request);
  request->deferred = true;
  return true;
}

static bool
do_pids (Request *request, Arguments *arguments, Error *error)
{
  Container *container = need_container (arguments, error);
  const char *args[] = { "ps", "--format", "json", NULL, NULL };
  PbBuffer output = { 0 };
  char *at;

  if (container == NULL)
    return false;
  args[3] = container->id;
  if (!runc_run (container, args, NULL, &output, error))
    {
      pb_clear (&output);
      return false;
    }
  pb_append (&output, "", 1);
  /* An array of numbers, and nothing else. */
  for (at = output.failed ? NULL : (char *) output.data; at != NULL && *at != '\0';)
    {
      size_t process;

      if (*at < '0' || *at > '9')
        {
          at++;
          continue;
        }
      process = pb_begin (&request->reply, 1);
      pb_put_varint (&request->reply, 1, strtoul (at, &at, 10));
      pb_end (&request->reply, process);
    }
  pb_clear (&output);
  return true;
}

static bool
do_pause (Request *request, Arguments *arguments, Error *error)
{
  Container *container = need_container (arguments, error);
  bool pause = strcmp (request->method, "Pause") == 0;
  const char *args[] = { pause ? "pause" : "resume", NULL, NULL };

  if (container == NULL)
    return false;
  if (container->paused == pause)
    return fail (error, CODE_FAILED_PRECONDITION, "container %s is %s", container->id, pause ? "paused" : "not paused");
  args[1] = container->id;
  if (!runc_run (container, args, NULL, NULL, error))
    return false;
  container->paused = pause;
  announce_paused (container, pause);
  return true;
}

static bool
do_resize (Request *request, Arguments *arguments, Error *error)
{
  Process *process = need_process (arguments, error);
  struct winsize size = { .ws_row = (unsigned short) arguments->numbers[4], .ws_col = (unsigned short) arguments->numbers[3] };

  (void) request;
  if (process == NULL)
    return false;
  if (process->console < 0)
    return fail (error, CODE_FAILED_PRECONDITION, "the process has no console");
  return ioctl (process->console, TIOCSWINSZ, &size) == 0 || fail_errno (error, "resizing the console");
}

static bool
do_close_io (Request *request, Arguments *arguments, Error *error)
{
  Process *process = need_process (arguments, error);

  (void) request;
  return process != NULL && (arguments->numbers[3] == 0 || stdio_close_stdin (process, error));
}

static bool
do_update (Request *request, Arguments *arguments, Error *error)
{
  Container *container = need_container (arguments, error);
  PbReader any = pb_reader (arguments->bytes[2].data, arguments->bytes[2].length);
  const char *args[] = { "update", "--resources", NULL, NULL, NULL };
  char path[4096];
  PbField field;
  FILE *file;
  bool ok = false;

  (void) request;
  if (container == NULL)
    return false;
  snprintf (path, sizeof path, "%s/resources.json", container->bundle);
  file = fopen (path, "we");
  while (file != NULL && arguments->bytes[2].data != NULL && pb_next (&any, &field) > 0)
    if (field.number == 2 && field.wire == 2)
      ok = fwrite (field.data, 1, field.length, file) == field.length;
  if (file == NULL || fclose (file) != 0 || !ok)
    return fail (error, CODE_INVALID_ARGUMENT, "update needs resources");
  args[2] = path;
  args[3] = container->id;
  ok = runc_run (container, args, NULL, NULL, error);
  unlink (path);
  return ok;
}

static bool
do_checkpoint (Request *request, Arguments *arguments, Error *error)
{
  Container *container = need_container (arguments, error);
  const char *args[] = { "checkpoint", "--leave-running", "--image-path", arguments->strings[2], NULL, NULL };

  (void) request;
  if (container == NULL)
    return false;
  if (arguments->strings[2] == NULL)
    return fail (error, CODE_INVALID_ARGUMENT, "checkpoint needs a path");
  args[4] = container->id;
  return runc_run (container, args, NULL, NULL, error);
}

static bool
do_connect (Request *request, Arguments *arguments, Error *error)
{
  Container *container = container_find (arguments->strings[1]);

  (void) error;
  pb_put_varint (&request->reply, 1, (uint64_t) getpid ());
  if (container != NULL)
    pb_put_varint (&request->reply, 2, (uint64_t) container->init.pid);
  pb_put_string (&request->reply, 3, "gantry-shim-runc " GANTRY_VERSION);
  return true;
}

static bool
do_shutdown (Request *request, Arguments *arguments, Error *error)
{
  (void) request;
  (void) error;
  if (containers == NULL || arguments->numbers[2] != 0)
    shim_shutdown = true;
  return true;
}

static const struct {
  const char *name;
  bool (*call) (Request *, Arguments *, Error *);
} task_methods[] = {
  { "State", do_state },       { "Create", do_create },         { "Start", do_start },     { "Delete", do_delete },
  { "Pids", do_pids },         { "Pause", do_pause },           { "Resume", do_pause },    { "Checkpoint", do_checkpoint },
  { "Kill", do_kill },         { "Exec", do_exec },             { "ResizePty", do_resize }, { "CloseIO", do_close_io },
  { "Update", do_update },     { "Wait", do_wait },             { "Connect", do_connect }, { "Shutdown", do_shutdown },
};

/* gantry.shim.v1.Shim: what the daemon needs beyond containerd's service. Attach { id = 1, exec_id = 2 } connects the passed fds;
 * Watch answers with a list and then sends every event as a data frame of its stream; the list is State messages in field 1. */
static bool
do_attach (Request *request, Arguments *arguments, Error *error)
{
  Process *process = need_process (arguments, error);
  bool ok;

  if (process == NULL)
    return false;
  ok = stdio_attach (process, request->fds, request->n_fds, error);
  for (int i = 0; i < request->n_fds; i++)
    close (request->fds[i]);
  request->n_fds = 0;
  return ok;
}

static void
put_state (PbBuffer *reply, const Process *process)
{
  size_t state = pb_begin (reply, 1);

  pb_put_string (reply, 1, process->container->id);
  pb_put_string (reply, 2, process->container->bundle);
  pb_put_varint (reply, 3, (uint64_t) process->pid);
  pb_put_varint (reply, 4, status_of (process));
  for (unsigned i = 0; i < 3; i++)
    pb_put_string (reply, 5 + i, process->stdio.uri[i]);
  pb_put_varint (reply, 8, process->stdio.terminal);
  pb_put_varint (reply, 9, process->status);
  pb_put_timestamp (reply, 10, process->exited_ns);
  pb_put_string (reply, 11, process->exec_id);
  pb_end (reply, state);
}

static bool
do_watch (Request *request, Arguments *arguments, Error *error)
{
  (void) arguments;
  (void) error;
  for (Container *container = containers; container != NULL; container = container->next)
    {
      put_state (&request->reply, &container->init);
      for (Process *exec = container->execs; exec != NULL; exec = exec->next)
        put_state (&request->reply, exec);
    }
  request->watch = true;
  return true;
}

static bool
call_task (Request *request, Arguments *arguments, Error *error)
{
  for (size_t i = 0; i < sizeof task_methods / sizeof task_methods[0]; i++)
    if (strcmp (task_methods[i].name, request->method) == 0)
      return task_methods[i].call (request, arguments, error);
  return fail (error, CODE_UNIMPLEMENTED, "method %s is not implemented", request->method);
}

bool
service_call (Request *request, const char *service, Error *error)
{
  Arguments arguments = { 0 };
  bool ok = read_arguments (request, &arguments, error);

  if (!ok)
    ;
  else if (strcmp (service, "containerd.task.v2.Task") == 0 || strcmp (service, "containerd.task.v3.Task") == 0)
    ok = call_task (request, &arguments, error);
  else if (strcmp (service, "gantry.shim.v1.Shim") == 0 && strcmp (request->method, "Watch") == 0)
    ok = do_watch (request, &arguments, error);
  else if (strcmp (service, "gantry.shim.v1.Shim") == 0 && strcmp (request->method, "Attach") == 0)
    ok = do_attach (request, &arguments, error);
  else
    ok = fail (error, CODE_UNIMPLEMENTED, "service %s has no method %s here", service, request->method);
  clear_arguments (&arguments);
  return ok;
}

void
waiter_add (Process *process, Request *request)
{
  struct Waiter *waiter = malloc (sizeof *waiter);

  if (waiter == NULL)
    return;
  *waiter = (struct Waiter){ request->connection, request->stream, process->waiters };
  process->waiters = waiter;
  n_waiters++;
}

void
waiters_complete (Process *process)
{
  while (process->waiters != NULL)
    {
      struct Waiter *waiter = process->waiters;

      process->waiters = waiter->next;
      server_complete_wait (waiter, process);
      free (waiter);
      n_waiters--;
    }
}

static void
drop_from (Process *process, const void *connection)
{
  for (struct Waiter **at = &process->waiters; *at != NULL;)
    {
      struct Waiter *waiter = *at;

      if (waiter->connection != connection)
        {
          at = &waiter->next;
          continue;
        }
      *at = waiter->next;
      free (waiter);
      n_waiters--;
    }
}

void
waiters_drop (void *connection)
{
  for (Container *container = containers; container != NULL; container = container->next)
    {
      drop_from (&container->init, connection);
      for (Process *exec = container->execs; exec != NULL; exec = exec->next)
        drop_from (exec, connection);
    }
}
