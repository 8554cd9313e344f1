/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * containerd.services.sandbox.v1.Controller. No runtime here runs sandboxes yet, so what would need one says so; what a client
 * asks before it makes a sandbox is answered. */
#include "convert.h"
#include "platform.h"

#define PB(name) Containerd__Services__Sandbox__V1__##name
#define DESCRIPTOR(name) containerd__services__sandbox__v1__##name##__descriptor

static const ProtobufCMessage *
refuse (Call *call, gconstpointer request, GError **error)
{
  gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED,
                "no runtime of this daemon runs sandboxes; run the containers of a pod with one sandbox id instead: not implemented");
  return NULL;
}

static const ProtobufCMessage *
platform (Call *call, gconstpointer request, GError **error)
{
  PB (ControllerPlatformResponse) *reply = message_new (call, &DESCRIPTOR (controller_platform_response));

  reply->platform = own_platform (call);
  return &reply->base;
}

static const Method methods[] = {
  { "Create", GRPC_METHOD_NORMAL, &DESCRIPTOR (controller_create_request), refuse },
  { "Start", GRPC_METHOD_NORMAL, &DESCRIPTOR (controller_start_request), refuse },
  { "Platform", GRPC_METHOD_NORMAL, &DESCRIPTOR (controller_platform_request), platform },
  { "Stop", GRPC_METHOD_NORMAL, &DESCRIPTOR (controller_stop_request), refuse },
  { "Wait", GRPC_METHOD_NORMAL, &DESCRIPTOR (controller_wait_request), refuse },
  { "Status", GRPC_METHOD_NORMAL, &DESCRIPTOR (controller_status_request), refuse },
  { "Shutdown", GRPC_METHOD_NORMAL, &DESCRIPTOR (controller_shutdown_request), refuse },
  { "Metrics", GRPC_METHOD_NORMAL, &DESCRIPTOR (controller_metrics_request), refuse },
  { "Update", GRPC_METHOD_NORMAL, &DESCRIPTOR (controller_update_request), refuse },
};

const Service sandbox_controller_service
    = { "containerd.services.sandbox.v1.Controller", TRUE, methods, G_N_ELEMENTS (methods) };
