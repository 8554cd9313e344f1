/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The events of tasks. Messages and field numbers: containerd api/events/task.proto. */
#include "shim.h"

#include <string.h>

static const char *
id_of (const Process *process)
{
  return process->exec_id[0] != '\0' ? process->exec_id : process->container->id;
}

static void
send_event (const char *topic, const char *type, PbBuffer *event)
{
  server_announce (topic, type, event);
  pb_clear (event);
}

void
announce_create (const Container *container)
{
  PbBuffer event = { 0 };
  const Stdio *stdio = &container->init.stdio;
  size_t io;

  pb_put_string (&event, 1, container->id);
  pb_put_string (&event, 2, container->bundle);
  io = pb_begin (&event, 4);
  for (unsigned i = 0; i < 3; i++)
    pb_put_string (&event, i + 1, stdio->uri[i]);
  pb_put_varint (&event, 4, stdio->terminal);
  pb_end (&event, io);
  pb_put_string (&event, 5, container->checkpoint);
  pb_put_varint (&event, 6, (uint64_t)container->init.pid);
  send_event ("/tasks/create", "containerd.events.TaskCreate", &event);
}

void
announce_start (const Process *process)
{
  PbBuffer event = { 0 };
  bool exec = process->exec_id[0] != '\0';

  pb_put_string (&event, 1, process->container->id);
  if (exec)
    pb_put_string (&event, 2, process->exec_id);
  pb_put_varint (&event, exec ? 3 : 2, (uint64_t)process->pid);
  if (exec)
    send_event ("/tasks/exec-started", "containerd.events.TaskExecStarted", &event);
  else
    send_event ("/tasks/start", "containerd.events.TaskStart", &event);
}

void
announce_exec_added (const Process *process)
{
  PbBuffer event = { 0 };

  pb_put_string (&event, 1, process->container->id);
  pb_put_string (&event, 2, process->exec_id);
  send_event ("/tasks/exec-added", "containerd.events.TaskExecAdded", &event);
}

void
announce_exit (const Process *process)
{
  PbBuffer event = { 0 };

  pb_put_string (&event, 1, process->container->id);
  pb_put_string (&event, 2, id_of (process));
  pb_put_varint (&event, 3, (uint64_t)process->pid);
  pb_put_varint (&event, 4, process->status);
  pb_put_timestamp (&event, 5, process->exited_ns);
  send_event ("/tasks/exit", "containerd.events.TaskExit", &event);
}

void
announce_delete (const Process *process)
{
  PbBuffer event = { 0 };

  pb_put_string (&event, 1, process->container->id);
  pb_put_varint (&event, 2, (uint64_t)process->pid);
  pb_put_varint (&event, 3, process->status);
  pb_put_timestamp (&event, 4, process->exited_ns);
  pb_put_string (&event, 5, process->exec_id);
  send_event ("/tasks/delete", "containerd.events.TaskDelete", &event);
}

void
announce_checkpointed (const Container *container, const char *path)
{
  PbBuffer event = { 0 };

  pb_put_string (&event, 1, container->id);
  pb_put_string (&event, 2, path);
  send_event ("/tasks/checkpointed", "containerd.events.TaskCheckpointed", &event);
}

void
announce_simple (const Container *container, const char *topic, const char *type)
{
  PbBuffer event = { 0 };

  pb_put_string (&event, 1, container->id);
  send_event (topic, type, &event);
}

void
announce_paused (const Container *container, bool paused)
{
  if (paused)
    announce_simple (container, "/tasks/paused", "containerd.events.TaskPaused");
  else
    announce_simple (container, "/tasks/resumed", "containerd.events.TaskResumed");
}
