/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * containerd.services.mounts.v1.Mounts: for snapshotters whose mounts the system can't make by itself. Those of ours all can, and for
 * such mounts containerd too answers NOT_IMPLEMENTED, on which its clients mount by themselves. So there is never an activation. */
#include "convert.h"

#include <filter.h>
#include <string.h>

#define PB(name) Containerd__Services__Mounts__V1__##name
#define DESCRIPTOR(name) containerd__services__mounts__v1__##name##__descriptor

static const ProtobufCMessage *
activate (Call *call, gconstpointer data, GError **error)
{
  const PB (ActivateRequest) *request = data;

  for (gsize i = 0; i < request->n_mounts; i++)
    if (strchr (request->mounts[i]->type, '/') != NULL)
      {
        gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED, "mounts of type %s are not implemented", request->mounts[i]->type);
        return NULL;
      }
  gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED, "not implemented");
  return NULL;
}

static const ProtobufCMessage *
throw_none (const char *name, GError **error)
{
  gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "mount \"%s\": not found", name);
  return NULL;
}

static const ProtobufCMessage *
deactivate (Call *call, gconstpointer data, GError **error)
{
  return throw_none (((const PB (DeactivateRequest) *) data)->name, error);
}

static const ProtobufCMessage *
info (Call *call, gconstpointer data, GError **error)
{
  return throw_none (((const PB (InfoRequest) *) data)->name, error);
}

static const ProtobufCMessage *
update (Call *call, gconstpointer data, GError **error)
{
  const PB (UpdateRequest) *request = data;

  return throw_none (request->info != NULL ? request->info->name : "", error);
}

static gboolean
list (Call *call, gconstpointer data, GError **error)
{
  const PB (ListRequest) *request = data;
  g_autoptr (GantryFilter) filter = gantry_filter_new (strings (call, request->n_filters, request->filters), error);

  if (filter == NULL)
    return FALSE;
  stream_messages (call->grpc, g_ptr_array_new ());
  return TRUE;
}

static const Method methods[] = {
  { "Activate", GRPC_METHOD_NORMAL, &DESCRIPTOR (activate_request), activate },
  { "Deactivate", GRPC_METHOD_NORMAL, &DESCRIPTOR (deactivate_request), deactivate },
  { "Info", GRPC_METHOD_NORMAL, &DESCRIPTOR (info_request), info },
  { "Update", GRPC_METHOD_NORMAL, &DESCRIPTOR (update_request), update },
  { "List", GRPC_METHOD_NORMAL, &DESCRIPTOR (list_request), NULL, list },
};

const Service mounts_service = { "containerd.services.mounts.v1.Mounts", TRUE, methods, G_N_ELEMENTS (methods) };
