/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * grpc.health.v1.Health: while it listens, it serves. */
#include "convert.h"

#define PB(name)     Grpc__Health__V1__##name
#define STATUS(name) GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name

static const ProtobufCMessage *
reply_status (Call *call, PB (HealthCheckResponse__ServingStatus) status)
{
  PB (HealthCheckResponse) *reply = message_new (call, &grpc__health__v1__health_check_response__descriptor);

  reply->status = status;
  return &reply->base;
}

static const ProtobufCMessage *
check (Call *call, gconstpointer data, GError **error)
{
  const PB (HealthCheckRequest) *request = data;

  if (request->service[0] != '\0')
    {
      gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "unknown service");
      return NULL;
    }
  return reply_status (call, STATUS (SERVING));
}

/* The call stays open until its client or the server ends it: nothing changes before. */
static gboolean
watch (Call *call, gconstpointer data, GError **error)
{
  static const GrpcCallHandlers handlers = { NULL };
  const PB (HealthCheckRequest) *request = data;
  g_autoptr (GBytes) message = message_pack (
      reply_status (call, request->service[0] == '\0' ? STATUS (SERVING) : STATUS (SERVICE_UNKNOWN)));

  grpc_call_set_handlers (call->grpc, &handlers, NULL, NULL);
  return grpc_call_send (call->grpc, message, error);
}

static const Method methods[] = {
  { "Check", GRPC_METHOD_QUICK, &grpc__health__v1__health_check_request__descriptor, check },
  { "Watch", GRPC_METHOD_NORMAL, &grpc__health__v1__health_check_request__descriptor, NULL, watch },
};

const Service health_service = { "grpc.health.v1.Health", FALSE, methods, G_N_ELEMENTS (methods) };
