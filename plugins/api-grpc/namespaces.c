/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * containerd.services.namespaces.v1.Namespaces */
#include "convert.h"

#include <string.h>

#define PB(name)         Containerd__Services__Namespaces__V1__##name
#define DESCRIPTOR(name) containerd__services__namespaces__v1__##name##__descriptor

static PB (Namespace) * to_message (Call *call, GantryRecord *record)
{
  PB (Namespace) *message = message_new (call, &DESCRIPTOR (namespace));

  message->name = record->id;
  labels_to_entries (call, record->labels, &DESCRIPTOR (namespace__labels_entry), &message->n_labels,
                     &message->labels);
  return message;
}

static const ProtobufCMessage *
get (Call *call, gconstpointer data, GError **error)
{
  const PB (GetNamespaceRequest) *request = data;
  PB (GetNamespaceResponse) *reply = message_new (call, &DESCRIPTOR (get_namespace_response));
  GantryRecord *record = NULL;
  g_autoptr (GError) local = NULL;

  /* As in containerd, a namespace that nobody has made yet is one without labels. */
  if (!gantry_metadata_get (call->api->metadata, GANTRY_KIND_NAMESPACE, "", request->name, &record,
                            call->cancellable, &local))
    {
      if (!gantry_error_is (local, GANTRY_ERROR_NOT_FOUND))
        {
          g_propagate_error (error, g_steal_pointer (&local));
          return NULL;
        }
      record = gantry_record_new (GANTRY_KIND_NAMESPACE, "", request->name, NULL, NULL);
    }
  reply->namespace_ = to_message (call, call_keep (call, record, (GDestroyNotify)gantry_record_unref));
  return &reply->base;
}

static const ProtobufCMessage *
list_item (Call *call, GantryRecord *record)
{
  return &to_message (call, record)->base;
}

static const ProtobufCMessage *
list (Call *call, gconstpointer data, GError **error)
{
  return list_records (call, GANTRY_KIND_NAMESPACE, "", NULL, 1, list_item, NULL, error);
}

static GantryRecord *
apply (Call *call, GantryChangeKind kind, const PB (Namespace) * given, const char *const *mask,
       GError **error)
{
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GantryChange) change = NULL;
  GantryRecord *applied = NULL;

  if (given == NULL)
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "a namespace is required: invalid argument");
      return NULL;
    }
  record = gantry_record_new (GANTRY_KIND_NAMESPACE, "", given->name,
                              labels_from_entries (given->n_labels, given->labels), NULL);
  change = gantry_change_new (kind, record);
  change->mask = g_strdupv ((char **)mask);
  if (!gantry_metadata_apply_one (call->api->metadata, change, &applied, call->cancellable, error))
    return NULL;
  return call_keep (call, applied, (GDestroyNotify)gantry_record_unref);
}

static const ProtobufCMessage *
create (Call *call, gconstpointer data, GError **error)
{
  const PB (CreateNamespaceRequest) *request = data;
  PB (CreateNamespaceResponse) *reply = message_new (call, &DESCRIPTOR (create_namespace_response));
  GantryRecord *record = apply (call, GANTRY_CHANGE_CREATE, request->namespace_, NULL, error);

  if (record == NULL)
    return NULL;
  reply->namespace_ = to_message (call, record);
  return &reply->base;
}

static const ProtobufCMessage *
update (Call *call, gconstpointer data, GError **error)
{
  static const char *const all[] = { "labels", NULL };
  const PB (UpdateNamespaceRequest) *request = data;
  PB (UpdateNamespaceResponse) *reply = message_new (call, &DESCRIPTOR (update_namespace_response));
  const char *const *mask = mask_paths (call, request->update_mask);
  GantryRecord *record;

  for (gsize i = 0; mask != NULL && mask[i] != NULL; i++)
    if (!g_str_has_prefix (mask[i], "labels."))
      {
        gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "cannot update \"%s\" field", mask[i]);
        return NULL;
      }
  record = apply (call, GANTRY_CHANGE_UPDATE, request->namespace_, mask != NULL ? mask : all, error);
  if (record == NULL)
    return NULL;
  reply->namespace_ = to_message (call, record);
  return &reply->base;
}

static const ProtobufCMessage *delete (Call *call, gconstpointer data, GError **error)
{
  const PB (DeleteNamespaceRequest) *request = data;
  PB (Namespace) given = CONTAINERD__SERVICES__NAMESPACES__V1__NAMESPACE__INIT;

  given.name = request->name;
  return apply (call, GANTRY_CHANGE_DELETE, &given, NULL, error) != NULL ? reply_empty (call) : NULL;
}

static const Method methods[] = {
  { "Get", GRPC_METHOD_NORMAL, &DESCRIPTOR (get_namespace_request), get },
  { "List", GRPC_METHOD_NORMAL, &DESCRIPTOR (list_namespaces_request), list },
  { "Create", GRPC_METHOD_NORMAL, &DESCRIPTOR (create_namespace_request), create },
  { "Update", GRPC_METHOD_NORMAL, &DESCRIPTOR (update_namespace_request), update },
  { "Delete", GRPC_METHOD_NORMAL, &DESCRIPTOR (delete_namespace_request), delete },
};

const Service namespaces_service
    = { "containerd.services.namespaces.v1.Namespaces", FALSE, methods, G_N_ELEMENTS (methods) };
