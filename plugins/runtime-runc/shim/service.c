/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One request: its arguments, and which method it is. */
#include "service.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool
read_arguments (Request *request, Arguments *arguments, Error *error)
{
  PbReader reader = request->body;
  PbField field;
  int more;

  while ((more = pb_next (&reader, &field)) > 0)
    {
      if (field.number >= MAX_FIELDS)
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
  for (int i = 0; i < MAX_FIELDS; i++)
    free (arguments->strings[i]);
}

Container *
need_container (Arguments *arguments, Error *error)
{
  Container *container = container_find (arguments->strings[1]);

  if (container == NULL)
    fail (error, CODE_NOT_FOUND, "container %s not found",
          arguments->strings[1] != NULL ? arguments->strings[1] : "\"\"");
  return container;
}

Process *
need_process (Arguments *arguments, Error *error)
{
  Container *container = need_container (arguments, error);
  Process *process = container != NULL ? process_find (container, arguments->strings[2]) : NULL;

  if (container != NULL && process == NULL)
    fail (error, CODE_NOT_FOUND, "process %s does not exist", arguments->strings[2]);
  return process;
}

bool
is_name (const char *name)
{
  size_t length = name != NULL ? strlen (name) : 0;

  return length > 0 && length <= MAX_ID && name[0] != '.'
         && strspn (name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == length;
}

bool
any_value (const PbField *any, PbReader *ret_value)
{
  PbReader reader = pb_reader (any->data, any->length);
  bool found = false;
  PbField field;

  while (any->data != NULL && pb_next (&reader, &field) > 0)
    if (field.number == 2 && field.wire == 2)
      {
        *ret_value = pb_reader (field.data, field.length);
        found = true;
      }
  return found;
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

void
put_state (PbBuffer *reply, const Process *process)
{
  pb_put_string (reply, 1, process->container->id);
  pb_put_string (reply, 2, process->container->bundle);
  pb_put_varint (reply, 3, (uint64_t)process->pid);
  pb_put_varint (reply, 4, status_of (process));
  for (unsigned i = 0; i < 3; i++)
    pb_put_string (reply, 5 + i, process->stdio.uri[i]);
  pb_put_varint (reply, 8, process->stdio.terminal);
  pb_put_varint (reply, 9, process->status);
  pb_put_timestamp (reply, 10, process->exited_ns);
  pb_put_string (reply, 11, process->exec_id);
}

static bool
do_state (Request *request, Arguments *arguments, Error *error)
{
  Process *process = need_process (arguments, error);

  if (process != NULL)
    put_state (&request->reply, process);
  return process != NULL;
}

static bool
do_connect (Request *request, Arguments *arguments, Error *error)
{
  Container *container = container_find (arguments->strings[1]);

  (void)error;
  pb_put_varint (&request->reply, 1, (uint64_t)getpid ());
  if (container != NULL)
    pb_put_varint (&request->reply, 2, (uint64_t)container->init.pid);
  pb_put_string (&request->reply, 3, "gantry-shim-runc " GANTRY_VERSION);
  return true;
}

static bool
do_shutdown (Request *request, Arguments *arguments, Error *error)
{
  (void)request;
  (void)arguments;
  (void)error;
  /* As containerd's own shims have it: whoever still has a container here keeps the shim. */
  shim_shutdown |= containers == NULL;
  return true;
}

static const struct
{
  const char *name;
  Method *call;
} task_methods[] = {
  { "State", do_state },      { "Create", do_create },
  { "Start", do_start },      { "Delete", do_delete },
  { "Pids", do_pids },        { "Pause", do_pause },
  { "Resume", do_pause },     { "Checkpoint", do_checkpoint },
  { "Kill", do_kill },        { "Exec", do_exec },
  { "ResizePty", do_resize }, { "CloseIO", do_close_io },
  { "Update", do_update },    { "Wait", do_wait },
  { "Connect", do_connect },  { "Shutdown", do_shutdown },
  { "Stats", do_stats },
};

/* gantry.shim.v1.Shim: what the daemon needs beyond containerd's service. Attach { id = 1, exec_id = 2 }
 * connects the passed fds; Watch answers with a list and then sends every event as a data frame of its
 * stream; the list is State messages in field 1. */
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
put_listed (PbBuffer *reply, const Process *process)
{
  size_t state = pb_begin (reply, 1);

  put_state (reply, process);
  pb_end (reply, state);
}

static bool
do_watch (Request *request, Arguments *arguments, Error *error)
{
  (void)arguments;
  (void)error;
  for (Container *container = containers; container != NULL; container = container->next)
    {
      put_listed (&request->reply, &container->init);
      for (Process *exec = container->execs; exec != NULL; exec = exec->next)
        put_listed (&request->reply, exec);
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
  else if (strcmp (service, "containerd.task.v2.Task") == 0
           || strcmp (service, "containerd.task.v3.Task") == 0)
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
