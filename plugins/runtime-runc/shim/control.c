/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The methods that act on, or tell about, what runs. */
#include "service.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#define MAX_PIDS     (1024 * 1024)
#define DETAILS_TYPE "containerd.runc.v1.ProcessDetails"

bool
do_kill (Request *request, Arguments *arguments, Error *error)
{
  Process *process = need_process (arguments, error);
  int signal = (int)arguments->numbers[3];

  (void)request;
  if (process == NULL)
    return false;
  if (signal < 0 || signal > 64)
    return fail (error, CODE_INVALID_ARGUMENT, "%d is not a signal", signal);
  if (arguments->numbers[4] != 0 && process->exec_id[0] == '\0' && !process->ended)
    return runc_kill (process->container, signal, true, error);
  if (process->ended)
    return fail (error, CODE_NOT_FOUND, "process already finished");
  if (process->pid <= 0)
    return fail (error, CODE_FAILED_PRECONDITION, "process %s has not been started", process->exec_id);
  /* It is our child: its pid can't be somebody else's until we have reaped it. */
  if (kill (process->pid, signal) == 0)
    return true;
  return errno == ESRCH ? fail (error, CODE_NOT_FOUND, "process already finished")
                        : fail_errno (error, "sending signal %d", signal);
}

bool
do_wait (Request *request, Arguments *arguments, Error *error)
{
  Process *process = need_process (arguments, error);

  if (process == NULL)
    return false;
  if (!process->exited)
    return waiter_add (process, request, error);
  pb_put_varint (&request->reply, 1, process->status);
  pb_put_timestamp (&request->reply, 2, process->exited_ns);
  return true;
}

static const Process *
exec_of_pid (const Container *container, pid_t pid)
{
  for (const Process *exec = container->execs; exec != NULL; exec = exec->next)
    if (exec->pid == pid && exec->started && !exec->ended)
      return exec;
  return NULL;
}

/* ProcessInfo { pid = 1, info = 2 }: for an exec, an Any with ProcessDetails { exec_id = 1 }. */
static void
put_pid (PbBuffer *reply, const Container *container, pid_t pid)
{
  const Process *exec = exec_of_pid (container, pid);
  size_t process = pb_begin (reply, 1);

  pb_put_varint (reply, 1, (uint64_t)pid);
  if (exec != NULL)
    {
      PbBuffer details = { 0 };
      size_t any = pb_begin (reply, 2);

      pb_put_string (&details, 1, exec->exec_id);
      pb_put_string (reply, 1, DETAILS_TYPE);
      pb_put_bytes (reply, 2, details.data, details.length);
      pb_end (reply, any);
      pb_clear (&details);
    }
  pb_end (reply, process);
}

bool
do_pids (Request *request, Arguments *arguments, Error *error)
{
  Container *container = need_container (arguments, error);
  const char *args[] = { "ps", "--format", "json", NULL, NULL };
  PbBuffer output = { 0 };
  Json pids, pid;

  if (container == NULL)
    return false;
  args[3] = container->id;
  if (!runc_run (container, args, NULL, &output, error))
    {
      pb_clear (&output);
      return false;
    }
  if (!output.failed && json_parse ((const char *)output.data, output.length, &pids))
    while (json_next (&pids, &pid))
      put_pid (&request->reply, container, (pid_t)strtol (pid.at, NULL, 10));
  pb_clear (&output);
  return true;
}

bool
do_stats (Request *request, Arguments *arguments, Error *error)
{
  Container *container = need_container (arguments, error);

  return container != NULL && stats_put (&request->reply, container, error);
}

bool
do_pause (Request *request, Arguments *arguments, Error *error)
{
  Container *container = need_container (arguments, error);
  bool pause = strcmp (request->method, "Pause") == 0;
  const char *args[] = { pause ? "pause" : "resume", NULL, NULL };

  if (container == NULL)
    return false;
  if (container->paused == pause)
    return fail (error, CODE_FAILED_PRECONDITION, "container %s is %s", container->id,
                 pause ? "paused" : "not paused");
  args[1] = container->id;
  if (!runc_run (container, args, NULL, NULL, error))
    return false;
  container->paused = pause;
  announce_paused (container, pause);
  return true;
}

bool
do_resize (Request *request, Arguments *arguments, Error *error)
{
  Process *process = need_process (arguments, error);
  struct winsize size
      = { .ws_row = (unsigned short)arguments->numbers[4], .ws_col = (unsigned short)arguments->numbers[3] };

  (void)request;
  if (process == NULL)
    return false;
  if (process->console < 0 && process->stdio.terminal && !process->started)
    {
      process->rows = size.ws_row;
      process->columns = size.ws_col;
      return true;
    }
  if (process->console < 0)
    return fail (error, CODE_FAILED_PRECONDITION, "the process has no console");
  return ioctl (process->console, TIOCSWINSZ, &size) == 0 || fail_errno (error, "resizing the console");
}

bool
do_close_io (Request *request, Arguments *arguments, Error *error)
{
  Process *process = need_process (arguments, error);

  (void)request;
  return process != NULL && (arguments->numbers[3] == 0 || stdio_close_stdin (process, error));
}

bool
do_update (Request *request, Arguments *arguments, Error *error)
{
  Container *container = need_container (arguments, error);
  PbReader resources;
  const char *args[] = { "update", "--resources", NULL, NULL, NULL };
  char path[4096];
  bool ok;

  (void)request;
  if (container == NULL)
    return false;
  if (!any_value (&arguments->bytes[2], &resources))
    return fail (error, CODE_INVALID_ARGUMENT, "update needs resources");
  snprintf (path, sizeof path, "%s/resources.json", container->bundle);
  if (!write_file (path, resources.at, (size_t)(resources.end - resources.at)))
    return fail_errno (error, "writing %s", path);
  args[2] = path;
  args[3] = container->id;
  ok = runc_run (container, args, NULL, NULL, error);
  unlink (path);
  return ok;
}

/* containerd.runc.v1.CheckpointOptions. */
typedef struct
{
  bool exit;
  const char *flags[8];
  size_t n_flags;
  char *empty_namespaces[8];
  size_t n_namespaces;
  char *cgroups_mode;
  char *image_path;
  char *work_path;
} CheckpointOptions;

static void
read_checkpoint_text (CheckpointOptions *options, const PbField *field)
{
  char **const texts[] = { &options->cgroups_mode, &options->image_path, &options->work_path };

  if (field->number == 6 && options->n_namespaces < 8)
    options->empty_namespaces[options->n_namespaces++] = pb_dup (field);
  else if (field->number >= 7 && field->number <= 9 && field->length > 0)
    {
      free (*texts[field->number - 7]);
      *texts[field->number - 7] = pb_dup (field);
    }
}

static void
read_checkpoint_options (CheckpointOptions *options, PbReader reader)
{
  static const char *const flags[]
      = { [2] = "--tcp-established", [3] = "--ext-unix-sk", [4] = "--shell-job", [5] = "--file-locks" };
  PbField field;

  while (pb_next (&reader, &field) > 0)
    if (field.wire == 2)
      read_checkpoint_text (options, &field);
    else if (field.wire == 0 && field.value != 0 && field.number == 1)
      options->exit = true;
    else if (field.wire == 0 && field.value != 0 && field.number < 6 && options->n_flags < 8)
      options->flags[options->n_flags++] = flags[field.number];
}

static void
clear_checkpoint_options (CheckpointOptions *options)
{
  for (size_t i = 0; i < options->n_namespaces; i++)
    free (options->empty_namespaces[i]);
  free (options->cgroups_mode);
  free (options->image_path);
  free (options->work_path);
}

static bool
run_checkpoint (Container *container, const CheckpointOptions *options, const char *image_path, Error *error)
{
  const char *work_path = options->work_path != NULL ? options->work_path : container->options.criu_work_path;
  const char *args[32] = { "checkpoint", "--image-path", image_path }, *fifo;
  size_t n = 3;

  if (work_path != NULL)
    {
      args[n++] = "--work-path";
      args[n++] = work_path;
    }
  if (!options->exit)
    args[n++] = "--leave-running";
  for (size_t i = 0; i < options->n_flags; i++)
    args[n++] = options->flags[i];
  for (size_t i = 0; i < options->n_namespaces && options->empty_namespaces[i] != NULL; i++)
    {
      args[n++] = "--empty-ns";
      args[n++] = options->empty_namespaces[i];
    }
  if (options->cgroups_mode != NULL)
    {
      args[n++] = "--manage-cgroups-mode";
      args[n++] = options->cgroups_mode;
    }
  args[n++] = container->id;
  if (runc_run (container, args, NULL, NULL, error))
    return true;
  runc_explain_criu (container, work_path != NULL ? work_path : image_path, error);
  fifo = stdio_unsavable (&container->init);
  if (error->code != CODE_UNIMPLEMENTED && fifo != NULL)
    fail (error, CODE_FAILED_PRECONDITION,
          "container %s has the FIFO %.400s itself for a stream, which criu cannot save; set "
          "Checkpointable=yes for runtime-runc, or CriuPath in the container's runtime options, and make its "
          "task anew",
          container->id, fifo);
  return false;
}

bool
do_checkpoint (Request *request, Arguments *arguments, Error *error)
{
  Container *container = need_container (arguments, error);
  CheckpointOptions options = { 0 };
  const char *path = arguments->strings[2];
  PbReader reader;
  bool ok = false;

  (void)request;
  if (container == NULL)
    return false;
  if (any_value (&arguments->bytes[3], &reader))
    read_checkpoint_options (&options, reader);
  if (path == NULL || path[0] == '\0')
    path = options.image_path;
  if (path == NULL || path[0] != '/')
    fail (error, CODE_INVALID_ARGUMENT, "checkpoint needs an absolute path");
  else
    ok = run_checkpoint (container, &options, path, error);
  if (ok)
    announce_checkpointed (container, path);
  clear_checkpoint_options (&options);
  return ok;
}
