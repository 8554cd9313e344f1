/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * containerd.services.mounts.v1.Mounts: activations of the mounts service. Mounts that the system can make by
 * itself, as those of our own snapshotters, are answered with NOT_IMPLEMENTED, on which containerd's clients
 * make them. */
#include "convert.h"

#include <string.h>

#define PB(name)         Containerd__Services__Mounts__V1__##name
#define DESCRIPTOR(name) containerd__services__mounts__v1__##name##__descriptor

typedef Containerd__Types__ActivationInfo Info;
typedef Containerd__Types__ActiveMount ActiveMount;

static GantryMounts *
service (Call *call, GError **error)
{
  if (call->api->mounts == NULL)
    gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED,
                  "there is no mounts service; see `gantry plugin list`");
  return call->api->mounts;
}

static Info *
to_message (Call *call, GantryActivation *activation)
{
  Info *message = message_new (call, &containerd__types__activation_info__descriptor);

  message->name = activation->name;
  message->active = arena_new (call->arena, ActiveMount *, activation->active->len + 1);
  for (guint i = 0; i < activation->active->len; i++)
    {
      GantryActiveMount *one = g_ptr_array_index (activation->active, i);
      ActiveMount *active = message_new (call, &containerd__types__active_mount__descriptor);

      active->mount = mount_to_message (call, one->mount);
      active->mount_point = one->mount_point;
      active->mounted_at = timestamp_new (call, one->mounted_ns);
      message->active[message->n_active++] = active;
    }
  message->system = mounts_to_messages (call, activation->system, &message->n_system);
  labels_to_entries (call, activation->labels, &containerd__types__activation_info__labels_entry__descriptor,
                     &message->n_labels, &message->labels);
  return message;
}

/* @activation: (transfer full). */
static Info *
keep_message (Call *call, GantryActivation *activation)
{
  return to_message (call, call_keep (call, activation, (GDestroyNotify)gantry_activation_unref));
}

static const ProtobufCMessage *
activate (Call *call, gconstpointer data, GError **error)
{
  const PB (ActivateRequest) *request = data;
  PB (ActivateResponse) *reply = message_new (call, &DESCRIPTOR (activate_response));
  g_autoptr (GPtrArray) mounts = mounts_from_messages (request->n_mounts, request->mounts);
  GantryMounts *self = service (call, error);
  GantryActivation *activation = NULL;
  GVariantDict options;

  if (self == NULL)
    return NULL;
  g_variant_dict_init (&options, NULL);
  if (request->n_labels > 0)
    g_variant_dict_insert_value (&options, "labels",
                                 labels_from_entries (request->n_labels, request->labels));
  if (call->lease != NULL)
    g_variant_dict_insert (&options, "lease", "s", call->lease);
  g_variant_dict_insert (&options, "temporary", "b", request->temporary != 0);
  if (!gantry_mounts_activate (self, call->ns, request->name, mounts, g_variant_dict_end (&options),
                               &activation, call->cancellable, error))
    return NULL;
  reply->info = keep_message (call, activation);
  return &reply->base;
}

static const ProtobufCMessage *
deactivate (Call *call, gconstpointer data, GError **error)
{
  GantryMounts *self = service (call, error);

  return self != NULL
                 && gantry_mounts_deactivate (self, call->ns, ((const PB (DeactivateRequest) *)data)->name,
                                              call->cancellable, error)
             ? reply_empty (call)
             : NULL;
}

static const ProtobufCMessage *
info (Call *call, gconstpointer data, GError **error)
{
  const PB (InfoRequest) *request = data;
  PB (InfoResponse) *reply = message_new (call, &DESCRIPTOR (info_response));
  GantryMounts *self = service (call, error);
  GantryActivation *activation = NULL;

  if (self == NULL
      || !gantry_mounts_get (self, call->ns, request->name, &activation, call->cancellable, error))
    return NULL;
  reply->info = keep_message (call, activation);
  return &reply->base;
}

static const ProtobufCMessage *
update (Call *call, gconstpointer data, GError **error)
{
  const PB (UpdateRequest) *request = data;
  PB (UpdateResponse) *reply = message_new (call, &DESCRIPTOR (update_response));
  const char *const *mask = mask_paths (call, request->update_mask);
  GantryMounts *self = service (call, error);
  GantryActivation *activation = NULL;

  if (self == NULL)
    return NULL;
  if (request->info == NULL || request->info->name[0] == '\0')
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                    "an activation's name is required: invalid argument");
      return NULL;
    }
  if (!gantry_mounts_update (self, call->ns, request->info->name,
                             labels_from_entries (request->info->n_labels, request->info->labels), mask,
                             &activation, call->cancellable, error))
    return NULL;
  reply->info = keep_message (call, activation);
  return &reply->base;
}

static gboolean
on_activation (GantryActivation *activation, gpointer user_data)
{
  g_auto (Arena) arena;
  Call item = { .arena = &arena };
  PB (ListMessage) message = CONTAINERD__SERVICES__MOUNTS__V1__LIST_MESSAGE__INIT;

  arena_init (&arena);
  message.info = to_message (&item, activation);
  g_ptr_array_add (user_data, message_pack (&message.base));
  return TRUE;
}

static gboolean
list (Call *call, gconstpointer data, GError **error)
{
  const PB (ListRequest) *request = data;
  g_autoptr (GPtrArray) messages = g_ptr_array_new_with_free_func ((GDestroyNotify)g_bytes_unref);
  GantryMounts *self = service (call, error);

  if (self == NULL
      || !gantry_mounts_list (self, call->ns, strings (call, request->n_filters, request->filters),
                              on_activation, messages, call->cancellable, error))
    return FALSE;
  stream_messages (call->grpc, g_steal_pointer (&messages));
  return TRUE;
}

static const Method methods[] = {
  { "Activate", GRPC_METHOD_LONG, &DESCRIPTOR (activate_request), activate },
  { "Deactivate", GRPC_METHOD_LONG, &DESCRIPTOR (deactivate_request), deactivate },
  { "Info", GRPC_METHOD_NORMAL, &DESCRIPTOR (info_request), info },
  { "Update", GRPC_METHOD_NORMAL, &DESCRIPTOR (update_request), update },
  { "List", GRPC_METHOD_NORMAL, &DESCRIPTOR (list_request), NULL, list },
};

const Service mounts_service
    = { "containerd.services.mounts.v1.Mounts", TRUE, methods, G_N_ELEMENTS (methods) };
