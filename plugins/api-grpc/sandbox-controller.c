/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * containerd.services.sandbox.v1.Controller: a sandbox of the store, held by a task of its id. Both names
 * that containerd has for controllers mean this one. */
#include "sandbox-controller.h"

#include "platform.h"

#include <string.h>

gboolean
controller_check (const char *sandboxer, GError **error)
{
  if (sandboxer[0] == '\0')
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "sandbox controller name can not be empty: invalid argument");
  return strcmp (sandboxer, "shim") == 0 || strcmp (sandboxer, "podsandbox") == 0
         || gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "failed to get sandbox controller by %s: not found",
                          sandboxer);
}

static const ProtobufCMessage *
create (Call *call, gconstpointer data, GError **error)
{
  const PB (ControllerCreateRequest) *request = data;
  PB (ControllerCreateResponse) *reply = message_new (call, &DESCRIPTOR (controller_create_response));
  g_autoptr (GPtrArray) mounts
      = request->n_rootfs > 0 ? mounts_from_messages (request->n_rootfs, request->rootfs) : NULL;
  const char *id = request->sandbox != NULL && request->sandbox_id[0] == '\0' ? request->sandbox->sandbox_id
                                                                              : request->sandbox_id;
  GVariantDict options;

  if (!controller_check (request->sandboxer, error))
    return NULL;
  g_variant_dict_init (&options, NULL);
  if (request->netns_path[0] != '\0')
    g_variant_dict_insert (&options, "netns", "s", request->netns_path);
  if (request->n_annotations > 0)
    g_variant_dict_insert_value (&options, "annotations",
                                 labels_from_entries (request->n_annotations, request->annotations));
  if (!gantry_tasks_create_sandbox (call->api->tasks, call->ns, id, g_variant_dict_end (&options), mounts,
                                    NULL, call->cancellable, error))
    return NULL;
  reply->sandbox_id = TEXT (id);
  return &reply->base;
}

/* The sandbox's record. Returns: (transfer none): the call keeps it. */
static GantryRecord *
read_record (Call *call, const char *id, GError **error)
{
  GantryRecord *record = NULL;

  if (!gantry_metadata_get (call->api->metadata, GANTRY_KIND_SANDBOX, call->ns, id, &record,
                            call->cancellable, error))
    return NULL;
  return call_keep (call, record, (GDestroyNotify)gantry_record_unref);
}

gboolean
controller_check_sandbox (Call *call, const char *sandboxer, const char *id, GError **error)
{
  return controller_check (sandboxer, error) && read_record (call, id, error) != NULL;
}

static const ProtobufCMessage *
start (Call *call, gconstpointer data, GError **error)
{
  const PB (ControllerStartRequest) *request = data;
  PB (ControllerStartResponse) *reply = message_new (call, &DESCRIPTOR (controller_start_response));
  g_autoptr (GantryProcess) process = NULL;
  GantryRecord *record;

  if (!controller_check (request->sandboxer, error))
    return NULL;
  record = read_record (call, request->sandbox_id, error);
  if (record == NULL)
    return NULL;
  if (!gantry_tasks_start (call->api->tasks, call->ns, record->id, "", &process, call->cancellable, error))
    {
      g_prefix_error (error, "failed to start sandbox \"%s\": ", record->id);
      return NULL;
    }
  reply->sandbox_id = record->id;
  reply->pid = process->pid;
  reply->created_at = timestamp_new (call, record->created_ns);
  labels_to_entries (call, record->labels, &DESCRIPTOR (controller_start_response__labels_entry),
                     &reply->n_labels, &reply->labels);
  reply->spec
      = any_from_variant (call,
                          call_keep (call, gantry_record_get_field (record, "spec", G_VARIANT_TYPE ("(say)")),
                                     (GDestroyNotify)g_variant_unref));
  return &reply->base;
}

static const ProtobufCMessage *
platform (Call *call, gconstpointer data, GError **error)
{
  PB (ControllerPlatformResponse) *reply = message_new (call, &DESCRIPTOR (controller_platform_response));

  reply->platform = own_platform (call);
  return &reply->base;
}

static void
add_info (Call *call, PB (ControllerStatusResponse) * reply, GantryProcess *process)
{
  PB (ControllerStatusResponse__InfoEntry) *entry
      = message_new (call, &DESCRIPTOR (controller_status_response__info_entry));

  entry->key = TEXT ("bundle");
  entry->value = process->bundle != NULL ? arena_strdup (call->arena, process->bundle) : TEXT ("");
  reply->info = arena_new (call->arena, PB (ControllerStatusResponse__InfoEntry) *, 1);
  reply->info[reply->n_info++] = entry;
}

static const ProtobufCMessage *
status (Call *call, gconstpointer data, GError **error)
{
  const PB (ControllerStatusRequest) *request = data;
  PB (ControllerStatusResponse) *reply = message_new (call, &DESCRIPTOR (controller_status_response));
  g_autoptr (GantryProcess) process = NULL;
  GantryRecord *record;

  if (!controller_check (request->sandboxer, error))
    return NULL;
  record = read_record (call, request->sandbox_id, NULL);
  reply->sandbox_id = request->sandbox_id;
  /* As in containerd, a sandbox that is not there has ended. */
  if (record == NULL
      || !gantry_tasks_get (call->api->tasks, call->ns, record->id, "", &process, call->cancellable, NULL))
    {
      reply->exited_at = timestamp_new (call, gantry_now_ns ());
      return &reply->base;
    }
  reply->pid = process->pid;
  reply->state = TEXT (process->status == GANTRY_TASK_RUNNING || process->status == GANTRY_TASK_PAUSED
                           ? "SANDBOX_READY"
                           : "SANDBOX_NOTREADY");
  reply->created_at = timestamp_new (call, record->created_ns);
  reply->exited_at = timestamp_new (call, process->exited_ns);
  if (request->verbose)
    add_info (call, reply, process);
  return &reply->base;
}

/* Whether @local says that there is nothing to be done. */
static gboolean
is_gone (const GError *local)
{
  return gantry_error_is (local, GANTRY_ERROR_NOT_FOUND);
}

static const ProtobufCMessage *
shutdown_one (Call *call, gconstpointer data, GError **error)
{
  const PB (ControllerShutdownRequest) *request = data;
  g_autoptr (GError) local = NULL;

  if (!controller_check_sandbox (call, request->sandboxer, request->sandbox_id, error))
    return NULL;
  if (!gantry_tasks_delete_sandbox (call->api->tasks, call->ns, request->sandbox_id, call->cancellable,
                                    &local)
      && !is_gone (local))
    {
      g_propagate_prefixed_error (error, g_steal_pointer (&local), "failed to shutdown sandbox: ");
      return NULL;
    }
  return message_new (call, &DESCRIPTOR (controller_shutdown_response));
}

static const ProtobufCMessage *
metrics (Call *call, gconstpointer data, GError **error)
{
  const PB (ControllerMetricsRequest) *request = data;
  PB (ControllerMetricsResponse) *reply = message_new (call, &DESCRIPTOR (controller_metrics_response));
  GVariant *stats = NULL, *any;

  if (!controller_check_sandbox (call, request->sandboxer, request->sandbox_id, error)
      || !gantry_tasks_stats (call->api->tasks, call->ns, request->sandbox_id, &stats, call->cancellable,
                              error))
    return NULL;
  call_keep (call, stats, (GDestroyNotify)g_variant_unref);
  any = call_keep (call, g_variant_lookup_value (stats, "any", G_VARIANT_TYPE ("(say)")),
                   (GDestroyNotify)g_variant_unref);
  reply->metrics = message_new (call, &containerd__types__metric__descriptor);
  reply->metrics->timestamp = timestamp_new (call, gantry_now_ns ());
  reply->metrics->id = request->sandbox_id;
  reply->metrics->data = any_from_variant (call, any);
  return &reply->base;
}

/* What the store keeps of a sandbox is changed there; nothing of it changes the process that holds it. */
static const ProtobufCMessage *
update (Call *call, gconstpointer data, GError **error)
{
  const PB (ControllerUpdateRequest) *request = data;

  if (!controller_check_sandbox (call, request->sandboxer, request->sandbox_id, error))
    return NULL;
  if (request->sandbox == NULL)
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "sandbox can not be nil: invalid argument");
      return NULL;
    }
  return message_new (call, &DESCRIPTOR (controller_update_response));
}

static const Method methods[] = {
  { "Create", GRPC_METHOD_NORMAL, &DESCRIPTOR (controller_create_request), create },
  { "Start", GRPC_METHOD_NORMAL, &DESCRIPTOR (controller_start_request), start },
  { "Platform", GRPC_METHOD_NORMAL, &DESCRIPTOR (controller_platform_request), platform },
  { "Stop", GRPC_METHOD_NORMAL, &DESCRIPTOR (controller_stop_request), NULL, controller_stop },
  { "Wait", GRPC_METHOD_NORMAL, &DESCRIPTOR (controller_wait_request), NULL, controller_wait },
  { "Status", GRPC_METHOD_NORMAL, &DESCRIPTOR (controller_status_request), status },
  { "Shutdown", GRPC_METHOD_LONG, &DESCRIPTOR (controller_shutdown_request), shutdown_one },
  { "Metrics", GRPC_METHOD_NORMAL, &DESCRIPTOR (controller_metrics_request), metrics },
  { "Update", GRPC_METHOD_NORMAL, &DESCRIPTOR (controller_update_request), update },
};

const Service sandbox_controller_service
    = { "containerd.services.sandbox.v1.Controller", TRUE, methods, G_N_ELEMENTS (methods) };
