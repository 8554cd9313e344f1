/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * containerd.services.version.v1.Version */
#include "convert.h"

/* Clients compare versions of containerd: this is the one whose API is served, and whose it is stands behind
 * the "+". */
#define API_VERSION "2.3.0"

static const ProtobufCMessage *
version (Call *call, gconstpointer request, GError **error)
{
  Containerd__Services__Version__V1__VersionResponse *reply
      = message_new (call, &containerd__services__version__v1__version_response__descriptor);

  reply->version = TEXT ("v" API_VERSION "+gantry." GANTRY_VERSION);
  reply->revision = TEXT ("gantry-" GANTRY_VERSION);
  return &reply->base;
}

static const Method methods[]
    = { { "Version", GRPC_METHOD_QUICK, &google__protobuf__empty__descriptor, version } };

const Service version_service
    = { "containerd.services.version.v1.Version", FALSE, methods, G_N_ELEMENTS (methods) };
