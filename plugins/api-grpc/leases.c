/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * containerd.services.leases.v1.Leases: records of kind "lease" and what they hold. */
#include "convert.h"
#include "names.h"

#include <string.h>

#define PB(name)         Containerd__Services__Leases__V1__##name
#define DESCRIPTOR(name) containerd__services__leases__v1__##name##__descriptor

static PB (Lease) * to_message (Call *call, GantryRecord *record)
{
  PB (Lease) *message = message_new (call, &DESCRIPTOR (lease));

  message->id = record->id;
  message->created_at = timestamp_new (call, record->created_ns);
  labels_to_entries (call, record->labels, &DESCRIPTOR (lease__labels_entry), &message->n_labels,
                     &message->labels);
  return message;
}

static char *
random_id (Call *call)
{
  return arena_printf (call->arena, "%09" G_GINT64_FORMAT "-%06x", gantry_now_ns () % 1000000000,
                       g_random_int () & 0xffffff);
}

static const ProtobufCMessage *
create (Call *call, gconstpointer data, GError **error)
{
  const PB (CreateRequest) *request = data;
  PB (CreateResponse) *reply = message_new (call, &DESCRIPTOR (create_response));
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GantryChange) change = NULL;
  GantryRecord *created = NULL;

  record = gantry_record_new (GANTRY_KIND_LEASE, call->ns,
                              request->id[0] != '\0' ? request->id : random_id (call),
                              labels_from_entries (request->n_labels, request->labels), NULL);
  change = gantry_change_new (GANTRY_CHANGE_CREATE, record);
  if (!gantry_metadata_apply_one (call->api->metadata, change, &created, call->cancellable, error))
    return NULL;
  reply->lease = to_message (call, call_keep (call, created, (GDestroyNotify)gantry_record_unref));
  return &reply->base;
}

static const ProtobufCMessage *delete (Call *call, gconstpointer data, GError **error)
{
  const PB (DeleteRequest) *request = data;
  g_autoptr (GantryRecord) record = gantry_record_new (GANTRY_KIND_LEASE, call->ns, request->id, NULL, NULL);
  g_autoptr (GantryChange) change = gantry_change_new (GANTRY_CHANGE_DELETE, record);

  if (!gantry_metadata_apply_one (call->api->metadata, change, NULL, call->cancellable, error)
      || (request->sync && !gantry_store_collect (call->api->store, FALSE, NULL, call->cancellable, error)))
    return NULL;
  return reply_empty (call);
}

static const ProtobufCMessage *
list_item (Call *call, GantryRecord *record)
{
  return &to_message (call, record)->base;
}

static const ProtobufCMessage *
list (Call *call, gconstpointer data, GError **error)
{
  const PB (ListRequest) *request = data;

  return list_records (call, GANTRY_KIND_LEASE, call->ns,
                       strings (call, request->n_filters, request->filters), 1, list_item, NULL, error);
}

/* The record that @resource names. Returns: (transfer full). */
static GantryRecord *
find_resource (Call *call, const PB (Resource) * resource, GError **error)
{
  const char *type = resource != NULL ? resource->type : "";
  g_autofree char *id = NULL;

  if (strcmp (type, "content") == 0 || strcmp (type, "ingests") == 0 || strcmp (type, "images") == 0)
    return gantry_record_new (type[0] == 'c'   ? GANTRY_KIND_CONTENT
                              : type[1] == 'n' ? GANTRY_KIND_INGEST
                                               : GANTRY_KIND_IMAGE,
                              call->ns, resource->id, NULL, NULL);
  if (g_str_has_prefix (type, "snapshots/") && strchr (type + strlen ("snapshots/"), '/') == NULL
      && type[strlen ("snapshots/")] != '\0')
    {
      id = g_strconcat (our_snapshotter (type + strlen ("snapshots/")), "/", resource->id, NULL);
      return gantry_record_new (GANTRY_KIND_SNAPSHOT, call->ns, id, NULL, NULL);
    }
  if (g_str_has_prefix (type, "snapshots"))
    gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "invalid snapshot resource type %s: invalid argument",
                  type);
  else if (g_str_has_prefix (type, "content") || g_str_has_prefix (type, "ingests"))
    gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "invalid resource type %s: invalid argument", type);
  else
    gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED, "resource type %s not supported yet: not implemented",
                  type);
  return NULL;
}

static const ProtobufCMessage *
change_resource (Call *call, GantryChangeKind kind, const char *lease, const PB (Resource) * resource,
                 GError **error)
{
  g_autoptr (GantryRecord) record = find_resource (call, resource, error);
  g_autoptr (GantryChange) change = NULL;

  if (record == NULL)
    return NULL;
  change = gantry_change_new (kind, record);
  change->lease = g_strdup (lease);
  return gantry_metadata_apply_one (call->api->metadata, change, NULL, call->cancellable, error)
             ? reply_empty (call)
             : NULL;
}

static const ProtobufCMessage *
add_resource (Call *call, gconstpointer data, GError **error)
{
  const PB (AddResourceRequest) *request = data;

  return change_resource (call, GANTRY_CHANGE_LEASE_ADD, request->id, request->resource, error);
}

static const ProtobufCMessage *
delete_resource (Call *call, gconstpointer data, GError **error)
{
  const PB (DeleteResourceRequest) *request = data;

  return change_resource (call, GANTRY_CHANGE_LEASE_REMOVE, request->id, request->resource, error);
}

static PB (Resource) * resource_to_message (Call *call, GantryRecord *record)
{
  PB (Resource) *message = message_new (call, &DESCRIPTOR (resource));
  const char *slash = strchr (record->id, '/');

  message->id = record->id;
  if (strcmp (record->kind, GANTRY_KIND_SNAPSHOT) == 0 && slash != NULL)
    {
      g_autofree char *snapshotter = g_strndup (record->id, (gsize)(slash - record->id));

      message->id = (char *)slash + 1;
      message->type = arena_printf (call->arena, "snapshots/%s", name_of_snapshotter (snapshotter));
    }
  else
    message->type = strcmp (record->kind, GANTRY_KIND_CONTENT) == 0  ? TEXT ("content")
                    : strcmp (record->kind, GANTRY_KIND_INGEST) == 0 ? TEXT ("ingests")
                                                                     : TEXT ("images");
  return message;
}

static const ProtobufCMessage *
list_resources (Call *call, gconstpointer data, GError **error)
{
  const PB (ListResourcesRequest) *request = data;
  PB (ListResourcesResponse) *reply = message_new (call, &DESCRIPTOR (list_resources_response));
  GPtrArray *records = NULL;

  if (!gantry_metadata_list_lease (call->api->metadata, call->ns, request->id, &records, call->cancellable,
                                   error))
    return NULL;
  call_keep (call, records, (GDestroyNotify)g_ptr_array_unref);
  reply->resources = arena_new (call->arena, PB (Resource) *, records->len + 1);
  for (guint i = 0; i < records->len; i++)
    reply->resources[reply->n_resources++] = resource_to_message (call, g_ptr_array_index (records, i));
  return &reply->base;
}

static const Method methods[] = {
  { "Create", GRPC_METHOD_NORMAL, &DESCRIPTOR (create_request), create },
  { "Delete", GRPC_METHOD_NORMAL, &DESCRIPTOR (delete_request), delete },
  { "List", GRPC_METHOD_NORMAL, &DESCRIPTOR (list_request), list },
  { "AddResource", GRPC_METHOD_NORMAL, &DESCRIPTOR (add_resource_request), add_resource },
  { "DeleteResource", GRPC_METHOD_NORMAL, &DESCRIPTOR (delete_resource_request), delete_resource },
  { "ListResources", GRPC_METHOD_NORMAL, &DESCRIPTOR (list_resources_request), list_resources },
};

const Service leases_service
    = { "containerd.services.leases.v1.Leases", TRUE, methods, G_N_ELEMENTS (methods) };
