/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * From the transport's calls to methods of services and back. */
#include "api-grpc.h"
#include "check.h"

#include <string.h>

/* What add_service () keeps for a service. */
typedef struct
{
  ApiGrpc *api;
  const Service *service;
} Bound;

static const Method *
find_method (const Service *service, const char *path)
{
  const char *name = strrchr (path, '/') + 1;

  for (gsize i = 0; i < service->n_methods; i++)
    if (strcmp (service->methods[i].name, name) == 0)
      return &service->methods[i];
  g_assert_not_reached ();
}

static gboolean
call_init (Call *call, Bound *bound, GrpcCall *grpc, Arena *arena, GError **error)
{
  const char *ns = grpc_call_get_metadata (grpc, "containerd-namespace");

  call->api = bound->api;
  call->grpc = grpc;
  call->ns = ns != NULL ? ns : "";
  call->lease = grpc_call_get_metadata (grpc, "containerd-lease");
  call->cancellable = grpc_call_get_cancellable (grpc);
  call->arena = arena;
  if (bound->service->needs_namespace && call->ns[0] == '\0')
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                         "namespace is required: failed precondition");
  return TRUE;
}

ProtobufCMessage *
message_unpack (const ProtobufCMessageDescriptor *descriptor, GBytes *bytes, Arena *arena, GError **error)
{
  gsize length;
  gconstpointer data = g_bytes_get_data (bytes, &length);
  ProtobufCMessage *message;

  /* A message of mostly one large field (16 MiB at most) is copied once. */
  if (!check_message (descriptor, data, length, ARENA_MAX, error))
    return NULL;
  message = protobuf_c_message_unpack (descriptor, &arena->allocator, length, data);
  if (message == NULL)
    gantry_throw (error, GANTRY_ERROR_INTERNAL,
                  "grpc: error unmarshalling request: proto: cannot parse invalid wire-format data");
  return message;
}

GBytes *
message_pack (const ProtobufCMessage *message)
{
  gsize size = protobuf_c_message_get_packed_size (message);
  guint8 *packed = g_malloc (MAX (size, 1));

  protobuf_c_message_pack (message, packed);
  return g_bytes_new_take (packed, size);
}

static GBytes *
pack_reply (const Method *method, const ProtobufCMessage *reply, GError **error)
{
  gsize size = protobuf_c_message_get_packed_size (reply);

  if (size > MAX_MESSAGE)
    {
      gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED,
                    "the answer of %s has %" G_GSIZE_FORMAT " bytes, more than %d", method->name, size,
                    MAX_MESSAGE);
      return NULL;
    }
  return message_pack (reply);
}

static GBytes *
run_unary (GrpcCall *grpc, GBytes *request, gpointer data, GError **error)
{
  Bound *bound = data;
  const Method *method = find_method (bound->service, grpc_call_get_path (grpc));
  g_auto (Arena) arena;
  ProtobufCMessage *message;
  const ProtobufCMessage *reply;
  GBytes *packed = NULL;
  Call call = { 0 };

  arena_init (&arena);
  if (call_init (&call, bound, grpc, &arena, error)
      && (message = message_unpack (method->request, request, &arena, error)) != NULL
      && (reply = method->unary (&call, message, error)) != NULL)
    packed = call.packed != NULL ? g_steal_pointer (&call.packed) : pack_reply (method, reply, error);
  g_clear_pointer (&call.packed, g_bytes_unref);
  if (packed == NULL)
    gantry_error_normalize (error);
  return packed;
}

static void
run_start (GrpcCall *grpc, GBytes *request, gpointer data)
{
  Bound *bound = data;
  const Method *method = find_method (bound->service, grpc_call_get_path (grpc));
  g_autoptr (GError) error = NULL;
  g_auto (Arena) arena;
  ProtobufCMessage *message;
  Call call = { 0 };

  arena_init (&arena);
  if (call_init (&call, bound, grpc, &arena, &error)
      && (message = message_unpack (method->request, request, &arena, &error)) != NULL
      && method->start (&call, message, &error))
    return;
  gantry_error_normalize (&error);
  grpc_call_finish (grpc, error);
}

static void
run_open (GrpcCall *grpc, gpointer data)
{
  Bound *bound = data;
  const Method *method = find_method (bound->service, grpc_call_get_path (grpc));
  g_autoptr (GError) error = NULL;
  g_auto (Arena) arena;
  Call call = { 0 };

  arena_init (&arena);
  if (call_init (&call, bound, grpc, &arena, &error) && method->open (&call, &error))
    return;
  gantry_error_normalize (&error);
  grpc_call_finish (grpc, error);
}

gboolean
dispatch_add (ApiGrpc *self, const Service *service, GError **error)
{
  g_autofree GrpcMethod *methods = g_new0 (GrpcMethod, service->n_methods);
  Bound *bound = g_new (Bound, 1);

  for (gsize i = 0; i < service->n_methods; i++)
    {
      const Method *method = &service->methods[i];

      methods[i].name = method->name;
      methods[i].flags = method->flags;
      if (method->unary != NULL)
        methods[i].unary = run_unary;
      else if (method->start != NULL)
        methods[i].start = run_start;
      else
        methods[i].open = run_open;
    }
  *bound = (Bound){ self, service };
  return grpc_server_add_service (self->server, service->name, methods, service->n_methods, bound, g_free,
                                  error);
}

gpointer
call_keep (Call *call, gpointer object, GDestroyNotify unref)
{
  if (object != NULL)
    arena_keep (call->arena, object, unref);
  return object;
}

gpointer
message_new (Call *call, const ProtobufCMessageDescriptor *descriptor)
{
  ProtobufCMessage *message = arena_alloc (call->arena, descriptor->sizeof_message);

  protobuf_c_message_init (descriptor, message);
  return message;
}

const ProtobufCMessage *
reply_empty (Call *call)
{
  return message_new (call, &google__protobuf__empty__descriptor);
}
