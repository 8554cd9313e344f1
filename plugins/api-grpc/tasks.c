/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * containerd.services.tasks.v1.Tasks. Wait is in tasks-wait.c. */
#include "convert.h"
#include "tasks.h"

#include <filter.h>
#include <string.h>

typedef Containerd__V1__Types__Process Process;

static Process *
to_message (Call *call, GantryProcess *process)
{
  Process *message = message_new (call, &containerd__v1__types__process__descriptor);
  gboolean init = process->exec_id == NULL || process->exec_id[0] == '\0';

  message->container_id = TEXT (process->id);
  message->id = init ? process->id : process->exec_id;
  message->pid = process->pid;
  message->status = (Containerd__V1__Types__Status)process->status;
  if (process->stdio != NULL)
    {
      message->stdin = TEXT (process->stdio->stdin_uri);
      message->stdout = TEXT (process->stdio->stdout_uri);
      message->stderr = TEXT (process->stdio->stderr_uri);
      message->terminal = process->stdio->terminal;
    }
  message->exit_status = process->exit_status;
  message->exited_at = timestamp_new (call, process->exited_ns);
  return message;
}

static GantryStdio *
make_stdio (const char *in, const char *out, const char *err, gboolean terminal)
{
  return gantry_stdio_new (non_empty (in), non_empty (out), non_empty (err), terminal, NULL);
}

static const ProtobufCMessage *
create (Call *call, gconstpointer data, GError **error)
{
  const PB (CreateTaskRequest) *request = data;
  PB (CreateTaskResponse) *reply = message_new (call, &DESCRIPTOR (create_task_response));
  g_autoptr (GantryStdio) stdio
      = make_stdio (request->stdin, request->stdout, request->stderr, request->terminal);
  g_autoptr (GPtrArray) mounts
      = request->n_rootfs > 0 ? mounts_from_messages (request->n_rootfs, request->rootfs) : NULL;
  g_autoptr (GVariant) options = NULL;
  g_autoptr (GantryProcess) process = NULL;

  if (request->checkpoint != NULL && !tasks_check_checkpoint (request->checkpoint, error))
    return NULL;
  if (request->options != NULL)
    options = g_variant_ref_sink (any_to_variant (request->options));
  if (!gantry_tasks_create_task (call->api->tasks, call->ns, request->container_id, stdio, mounts, options,
                                 request->checkpoint != NULL ? request->checkpoint->digest : NULL, &process,
                                 call->cancellable, error))
    return NULL;
  reply->container_id = request->container_id;
  reply->pid = process->pid;
  return &reply->base;
}

static const ProtobufCMessage *
start (Call *call, gconstpointer data, GError **error)
{
  const PB (StartRequest) *request = data;
  PB (StartResponse) *reply = message_new (call, &DESCRIPTOR (start_response));
  g_autoptr (GantryProcess) process = NULL;

  if (!gantry_tasks_start (call->api->tasks, call->ns, request->container_id, request->exec_id, &process,
                           call->cancellable, error))
    return NULL;
  reply->pid = process->pid;
  return &reply->base;
}

static const ProtobufCMessage *
delete_process (Call *call, const char *id, const char *exec_id, GError **error)
{
  PB (DeleteResponse) *reply = message_new (call, &DESCRIPTOR (delete_response));
  GantryProcess *process = NULL;

  if (!gantry_tasks_delete_task (call->api->tasks, call->ns, id, exec_id, &process, call->cancellable, error))
    return NULL;
  call_keep (call, process, (GDestroyNotify)gantry_process_unref);
  reply->id = TEXT (process->exec_id);
  reply->pid = process->pid;
  reply->exit_status = process->exit_status;
  reply->exited_at = timestamp_new (call, process->exited_ns);
  return &reply->base;
}

static const ProtobufCMessage *delete (Call *call, gconstpointer data, GError **error)
{
  const PB (DeleteTaskRequest) *request = data;

  return delete_process (call, request->container_id, "", error);
}

static const ProtobufCMessage *
delete_exec (Call *call, gconstpointer data, GError **error)
{
  const PB (DeleteProcessRequest) *request = data;

  return delete_process (call, request->container_id, request->exec_id, error);
}

static const ProtobufCMessage *
get (Call *call, gconstpointer data, GError **error)
{
  const PB (GetRequest) *request = data;
  PB (GetResponse) *reply = message_new (call, &DESCRIPTOR (get_response));
  GantryProcess *process = NULL;

  if (!gantry_tasks_get (call->api->tasks, call->ns, request->container_id, request->exec_id, &process,
                         call->cancellable, error))
    return NULL;
  reply->process = to_message (call, call_keep (call, process, (GDestroyNotify)gantry_process_unref));
  return &reply->base;
}

static const ProtobufCMessage *
list (Call *call, gconstpointer data, GError **error)
{
  PB (ListTasksResponse) *reply = message_new (call, &DESCRIPTOR (list_tasks_response));
  GPtrArray *processes = NULL;

  if (!gantry_tasks_list (call->api->tasks, call->ns, &processes, call->cancellable, error))
    return NULL;
  call_keep (call, processes, (GDestroyNotify)g_ptr_array_unref);
  reply->tasks = arena_new (call->arena, Process *, processes->len + 1);
  for (guint i = 0; i < processes->len; i++)
    reply->tasks[reply->n_tasks++] = to_message (call, g_ptr_array_index (processes, i));
  return &reply->base;
}

static const ProtobufCMessage *
kill_one (Call *call, gconstpointer data, GError **error)
{
  const PB (KillRequest) *request = data;

  return gantry_tasks_kill (call->api->tasks, call->ns, request->container_id, request->exec_id,
                            request->signal, request->all, call->cancellable, error)
             ? reply_empty (call)
             : NULL;
}

static const ProtobufCMessage *
exec (Call *call, gconstpointer data, GError **error)
{
  const PB (ExecProcessRequest) *request = data;
  g_autoptr (GantryStdio) stdio
      = make_stdio (request->stdin, request->stdout, request->stderr, request->terminal);
  g_autoptr (GBytes) spec = NULL;

  if (request->exec_id[0] == '\0')
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "exec id cannot be empty");
      return NULL;
    }
  if (request->spec == NULL)
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "exec %s has no process: invalid argument",
                    request->exec_id);
      return NULL;
    }
  spec = g_bytes_new (request->spec->value.data, request->spec->value.len);
  return gantry_tasks_exec (call->api->tasks, call->ns, request->container_id, request->exec_id, spec, NULL,
                            stdio, call->cancellable, error)
             ? reply_empty (call)
             : NULL;
}

static const ProtobufCMessage *
resize (Call *call, gconstpointer data, GError **error)
{
  const PB (ResizePtyRequest) *request = data;

  return gantry_tasks_resize (call->api->tasks, call->ns, request->container_id, request->exec_id,
                              request->width, request->height, call->cancellable, error)
             ? reply_empty (call)
             : NULL;
}

static const ProtobufCMessage *
close_io (Call *call, gconstpointer data, GError **error)
{
  const PB (CloseIORequest) *request = data;

  return !request->stdin
                 || gantry_tasks_close_stdin (call->api->tasks, call->ns, request->container_id,
                                              request->exec_id, call->cancellable, error)
             ? reply_empty (call)
             : NULL;
}

static const ProtobufCMessage *
pause_task (Call *call, gconstpointer data, GError **error)
{
  const PB (PauseTaskRequest) *request = data;

  return gantry_tasks_pause (call->api->tasks, call->ns, request->container_id, call->cancellable, error)
             ? reply_empty (call)
             : NULL;
}

static const ProtobufCMessage *
resume (Call *call, gconstpointer data, GError **error)
{
  const PB (ResumeTaskRequest) *request = data;

  return gantry_tasks_resume (call->api->tasks, call->ns, request->container_id, call->cancellable, error)
             ? reply_empty (call)
             : NULL;
}

static Any *
process_details (Call *call, const char *exec_id)
{
  Containerd__Runc__V1__ProcessDetails *details;

  if (exec_id[0] == '\0')
    return NULL;
  details = message_new (call, &containerd__runc__v1__process_details__descriptor);
  details->exec_id = (char *)exec_id;
  return any_of_message (call, &details->base);
}

static const ProtobufCMessage *
list_pids (Call *call, gconstpointer data, GError **error)
{
  const PB (ListPidsRequest) *request = data;
  PB (ListPidsResponse) *reply = message_new (call, &DESCRIPTOR (list_pids_response));
  GVariant *pids = NULL;

  if (!gantry_tasks_pids (call->api->tasks, call->ns, request->container_id, &pids, call->cancellable, error))
    return NULL;
  call_keep (call, pids, (GDestroyNotify)g_variant_unref);
  reply->processes
      = arena_new (call->arena, Containerd__V1__Types__ProcessInfo *, g_variant_n_children (pids) + 1);
  for (gsize i = 0; i < g_variant_n_children (pids); i++)
    {
      Containerd__V1__Types__ProcessInfo *info
          = message_new (call, &containerd__v1__types__process_info__descriptor);
      const char *exec_id;

      g_variant_get_child (pids, i, "(u&s)", &info->pid, &exec_id);
      info->info = process_details (call, exec_id);
      reply->processes[reply->n_processes++] = info;
    }
  return &reply->base;
}

static GVariant *
string_map (gsize n, gpointer entries)
{
  return g_variant_ref_sink (labels_from_entries (n, entries));
}

static const ProtobufCMessage *
update (Call *call, gconstpointer data, GError **error)
{
  const PB (UpdateTaskRequest) *request = data;
  g_autoptr (GVariant) resources = NULL,
                       annotations = string_map (request->n_annotations, request->annotations);

  if (request->resources == NULL)
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                    "an update of task %s needs resources: invalid argument", request->container_id);
      return NULL;
    }
  resources = g_variant_ref_sink (any_to_variant (request->resources));
  return gantry_tasks_update (call->api->tasks, call->ns, request->container_id, resources, annotations,
                              call->cancellable, error)
             ? reply_empty (call)
             : NULL;
}

static const char *
process_field (const char *const *path, guint n_path, gpointer object)
{
  GantryProcess *process = object;

  if (n_path == 1 && strcmp (path[0], "id") == 0)
    return process->id;
  return n_path == 1 && strcmp (path[0], "namespace") == 0 ? process->ns : NULL;
}

/* Returns: NULL if @process has gone meanwhile, or with an error. */
static Containerd__Types__Metric *
measure (Call *call, GantryProcess *process, GError **error)
{
  Containerd__Types__Metric *metric = message_new (call, &containerd__types__metric__descriptor);
  g_autoptr (GError) local = NULL;
  GVariant *stats = NULL, *any;

  if (!gantry_tasks_stats (call->api->tasks, process->ns, process->id, &stats, call->cancellable, &local))
    {
      if (!gantry_error_is (local, GANTRY_ERROR_NOT_FOUND)
          && !gantry_error_is (local, GANTRY_ERROR_FAILED_PRECONDITION))
        g_propagate_error (error, g_steal_pointer (&local));
      return NULL;
    }
  call_keep (call, stats, (GDestroyNotify)g_variant_unref);
  any = call_keep (call, g_variant_lookup_value (stats, "any", G_VARIANT_TYPE ("(say)")),
                   (GDestroyNotify)g_variant_unref);
  metric->timestamp = timestamp_new (call, gantry_now_ns ());
  metric->id = process->id;
  metric->data = any_from_variant (call, any);
  return metric;
}

static const ProtobufCMessage *
metrics (Call *call, gconstpointer data, GError **error)
{
  const PB (MetricsRequest) *request = data;
  PB (MetricsResponse) *reply = message_new (call, &DESCRIPTOR (metrics_response));
  g_autoptr (GantryFilter) filter
      = gantry_filter_new (strings (call, request->n_filters, request->filters), error);
  GPtrArray *processes = NULL;

  if (filter == NULL || !gantry_tasks_list (call->api->tasks, call->ns, &processes, call->cancellable, error))
    return NULL;
  call_keep (call, processes, (GDestroyNotify)g_ptr_array_unref);
  reply->metrics = arena_new (call->arena, Containerd__Types__Metric *, processes->len + 1);
  for (guint i = 0; i < processes->len; i++)
    {
      GantryProcess *process = g_ptr_array_index (processes, i);
      g_autoptr (GError) local = NULL;
      Containerd__Types__Metric *metric;

      if (!gantry_filter_match (filter, process_field, process))
        continue;
      metric = measure (call, process, &local);
      if (local != NULL)
        {
          g_propagate_error (error, g_steal_pointer (&local));
          return NULL;
        }
      if (metric != NULL)
        reply->metrics[reply->n_metrics++] = metric;
    }
  return &reply->base;
}

static const Method methods[] = {
  { "Create", GRPC_METHOD_NORMAL, &DESCRIPTOR (create_task_request), create },
  { "Start", GRPC_METHOD_NORMAL, &DESCRIPTOR (start_request), start },
  { "Delete", GRPC_METHOD_NORMAL, &DESCRIPTOR (delete_task_request), delete },
  { "DeleteProcess", GRPC_METHOD_NORMAL, &DESCRIPTOR (delete_process_request), delete_exec },
  { "Get", GRPC_METHOD_NORMAL, &DESCRIPTOR (get_request), get },
  { "List", GRPC_METHOD_NORMAL, &DESCRIPTOR (list_tasks_request), list },
  { "Kill", GRPC_METHOD_NORMAL, &DESCRIPTOR (kill_request), kill_one },
  { "Exec", GRPC_METHOD_NORMAL, &DESCRIPTOR (exec_process_request), exec },
  { "ResizePty", GRPC_METHOD_NORMAL, &DESCRIPTOR (resize_pty_request), resize },
  { "CloseIO", GRPC_METHOD_NORMAL, &DESCRIPTOR (close_iorequest), close_io },
  { "Pause", GRPC_METHOD_NORMAL, &DESCRIPTOR (pause_task_request), pause_task },
  { "Resume", GRPC_METHOD_NORMAL, &DESCRIPTOR (resume_task_request), resume },
  { "ListPids", GRPC_METHOD_NORMAL, &DESCRIPTOR (list_pids_request), list_pids },
  { "Checkpoint", GRPC_METHOD_LONG, &DESCRIPTOR (checkpoint_task_request), tasks_checkpoint },
  { "Update", GRPC_METHOD_NORMAL, &DESCRIPTOR (update_task_request), update },
  { "Metrics", GRPC_METHOD_NORMAL, &DESCRIPTOR (metrics_request), metrics },
  { "Wait", GRPC_METHOD_NORMAL, &DESCRIPTOR (wait_request), NULL, tasks_wait },
};

const Service tasks_service = { "containerd.services.tasks.v1.Tasks", TRUE, methods, G_N_ELEMENTS (methods) };
