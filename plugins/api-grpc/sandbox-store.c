/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * containerd.services.sandbox.v1.Store: records of kind "sandbox". */
#include "convert.h"
#include "names.h"

#include <string.h>

#define PB(name)         Containerd__Services__Sandbox__V1__##name
#define DESCRIPTOR(name) containerd__services__sandbox__v1__##name##__descriptor

typedef Containerd__Types__Sandbox Sandbox;

static Any *
any_field (Call *call, GantryRecord *record, const char *name)
{
  return any_from_variant (call,
                           call_keep (call, gantry_record_get_field (record, name, G_VARIANT_TYPE ("(say)")),
                                      (GDestroyNotify)g_variant_unref));
}

static Sandbox *
to_message (Call *call, GantryRecord *record)
{
  Sandbox *message = message_new (call, &containerd__types__sandbox__descriptor);
  GVariant *extensions
      = call_keep (call, gantry_record_get_field (record, "extensions", G_VARIANT_TYPE ("a{s(say)}")),
                   (GDestroyNotify)g_variant_unref);

  message->sandbox_id = record->id;
  message->runtime = message_new (call, &containerd__types__sandbox__runtime__descriptor);
  message->runtime->name = TEXT (name_of_runtime (gantry_record_get_string (record, "runtime")));
  message->runtime->options = any_field (call, record, "runtime-options");
  message->spec = any_field (call, record, "spec");
  labels_to_entries (call, record->labels, &containerd__types__sandbox__labels_entry__descriptor,
                     &message->n_labels, &message->labels);
  message->created_at = timestamp_new (call, record->created_ns);
  message->updated_at = timestamp_new (call, record->updated_ns);
  anys_to_entries (call, span_of (extensions), &containerd__types__sandbox__extensions_entry__descriptor,
                   &message->n_extensions, &message->extensions);
  message->sandboxer = TEXT (gantry_record_get_string (record, "sandboxer"));
  return message;
}

static GantryRecord *
from_message (Call *call, const Sandbox *given)
{
  GVariantDict fields;

  g_variant_dict_init (&fields, NULL);
  if (given->runtime != NULL && given->runtime->name[0] != '\0')
    g_variant_dict_insert (&fields, "runtime", "s", given->runtime->name);
  if (given->runtime != NULL && given->runtime->options != NULL)
    g_variant_dict_insert_value (&fields, "runtime-options", any_to_variant (given->runtime->options));
  if (given->spec != NULL)
    g_variant_dict_insert_value (&fields, "spec", any_to_variant (given->spec));
  if (given->sandboxer[0] != '\0')
    g_variant_dict_insert (&fields, "sandboxer", "s", given->sandboxer);
  if (given->n_extensions > 0)
    g_variant_dict_insert_value (&fields, "extensions",
                                 anys_from_entries (given->n_extensions, given->extensions));
  return gantry_record_new (GANTRY_KIND_SANDBOX, call->ns, given->sandbox_id,
                            labels_from_entries (given->n_labels, given->labels),
                            g_variant_dict_end (&fields));
}

static gboolean
check_given (const Sandbox *given, GError **error)
{
  if (given == NULL || given->sandbox_id[0] == '\0')
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "a sandbox with an id is required: invalid argument");
  return TRUE;
}

static const ProtobufCMessage *
create (Call *call, gconstpointer data, GError **error)
{
  const PB (StoreCreateRequest) *request = data;
  PB (StoreCreateResponse) *reply = message_new (call, &DESCRIPTOR (store_create_response));
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GantryChange) change = NULL;
  GantryRecord *created = NULL;

  if (!check_given (request->sandbox, error))
    return NULL;
  record = from_message (call, request->sandbox);
  change = gantry_change_new (GANTRY_CHANGE_CREATE, record);
  if (!gantry_metadata_apply_one (call->api->metadata, change, &created, call->cancellable, error))
    return NULL;
  reply->sandbox = to_message (call, call_keep (call, created, (GDestroyNotify)gantry_record_unref));
  return &reply->base;
}

/* The record's mask for a path. */
static const char *
translate_path (const char *path, const char *id, GError **error)
{
  if (g_str_has_prefix (path, "labels.") || strcmp (path, "labels") == 0)
    return path;
  if (g_str_has_prefix (path, "extensions.") || strcmp (path, "extensions") == 0)
    return "fields.extensions";
  if (strcmp (path, "runtime") == 0)
    return "fields.runtime";
  if (strcmp (path, "spec") == 0)
    return "fields.spec";
  gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                "cannot update \"%s\" field on sandbox \"%s\": invalid argument", path, id);
  return NULL;
}

static const ProtobufCMessage *
update (Call *call, gconstpointer data, GError **error)
{
  static const char *const all[] = { "labels", "fields.extensions", "fields.spec", NULL };
  const PB (StoreUpdateRequest) *request = data;
  PB (StoreUpdateResponse) *reply = message_new (call, &DESCRIPTOR (store_update_response));
  const char **mask = (const char **)all;
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GantryChange) change = NULL;
  GantryRecord *updated = NULL;

  if (!check_given (request->sandbox, error))
    return NULL;
  if (request->n_fields > 0)
    mask = arena_new (call->arena, const char *, request->n_fields + 1);
  for (gsize i = 0; i < request->n_fields; i++)
    {
      if (g_str_has_prefix (request->fields[i], "extensions."))
        {
          gantry_throw (
              error, GANTRY_ERROR_NOT_IMPLEMENTED,
              "updating one extension of a sandbox is not implemented; give all and name \"extensions\"");
          return NULL;
        }
      if ((mask[i] = translate_path (request->fields[i], request->sandbox->sandbox_id, error)) == NULL)
        return NULL;
    }
  record = from_message (call, request->sandbox);
  change = gantry_change_new (GANTRY_CHANGE_UPDATE, record);
  change->mask = g_strdupv ((char **)mask);
  if (!gantry_metadata_apply_one (call->api->metadata, change, &updated, call->cancellable, error))
    return NULL;
  reply->sandbox = to_message (call, call_keep (call, updated, (GDestroyNotify)gantry_record_unref));
  return &reply->base;
}

static const ProtobufCMessage *delete (Call *call, gconstpointer data, GError **error)
{
  const PB (StoreDeleteRequest) *request = data;
  g_autoptr (GantryRecord) record
      = gantry_record_new (GANTRY_KIND_SANDBOX, call->ns, request->sandbox_id, NULL, NULL);
  g_autoptr (GantryChange) change = gantry_change_new (GANTRY_CHANGE_DELETE, record);

  if (!gantry_metadata_apply_one (call->api->metadata, change, NULL, call->cancellable, error))
    return NULL;
  return message_new (call, &DESCRIPTOR (store_delete_response));
}

static const ProtobufCMessage *
list_item (Call *call, GantryRecord *record)
{
  return &to_message (call, record)->base;
}

static const ProtobufCMessage *
list (Call *call, gconstpointer data, GError **error)
{
  const PB (StoreListRequest) *request = data;

  return list_records (call, GANTRY_KIND_SANDBOX, call->ns,
                       strings (call, request->n_filters, request->filters), 1, list_item, NULL, error);
}

static const ProtobufCMessage *
get (Call *call, gconstpointer data, GError **error)
{
  const PB (StoreGetRequest) *request = data;
  PB (StoreGetResponse) *reply = message_new (call, &DESCRIPTOR (store_get_response));
  GantryRecord *record = NULL;

  if (!gantry_metadata_get (call->api->metadata, GANTRY_KIND_SANDBOX, call->ns, request->sandbox_id, &record,
                            call->cancellable, error))
    return NULL;
  reply->sandbox = to_message (call, call_keep (call, record, (GDestroyNotify)gantry_record_unref));
  return &reply->base;
}

static const Method methods[] = {
  { "Create", GRPC_METHOD_NORMAL, &DESCRIPTOR (store_create_request), create },
  { "Update", GRPC_METHOD_NORMAL, &DESCRIPTOR (store_update_request), update },
  { "Delete", GRPC_METHOD_NORMAL, &DESCRIPTOR (store_delete_request), delete },
  { "List", GRPC_METHOD_NORMAL, &DESCRIPTOR (store_list_request), list },
  { "Get", GRPC_METHOD_NORMAL, &DESCRIPTOR (store_get_request), get },
};

const Service sandbox_store_service
    = { "containerd.services.sandbox.v1.Store", TRUE, methods, G_N_ELEMENTS (methods) };
