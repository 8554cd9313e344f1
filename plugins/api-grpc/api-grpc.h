/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * containerd's services over gRPC. A service is a table of methods; a method gets its request unpacked and
 * returns a reply, and everything that either points to lives as long as the Call. Nothing here owns state:
 * what a call does, services of the SDK do. */
#pragma once

#include <gantry/frontend.h>
#include <gantry/introspection.h>
#include <gantry/mounts.h>
#include <gantry/store.h>
#include <gantry/tasks.h>
#include <gantry/transfer.h>
#include <gantry/differ.h>

#include <grpc-server.h>
#include <protos.h>

#include "arena.h"

/** Bytes of a message that a client takes unless it was told otherwise; containerd's own limit. */
#define MAX_MESSAGE (16 * 1024 * 1024)

/** How many of the last events are kept as messages, for all subscribers together. */
#define MAX_RENDERED 4

typedef struct
{
  GantryFrontend frontend;
  const GantryHost *host;
  GantryIntrospection *introspection;
  GantryMetadata *metadata;
  GantryEvents *events;
  GantryStore *store;
  GantryTransfer *transfer;
  GantryTasks *tasks;
  GantryJobs *jobs;
  GantryMounts *mounts; /* (nullable) */
  GrpcServer *server;
  GPtrArray *addresses; /* of char *: where it listens */
  GMutex streams_lock;
  GHashTable *streams; /* "<namespace>/<id>" to Stream: calls of Streaming that are open */
  struct _Rendered *rendered[MAX_RENDERED]; /* (nullable): the main context's */
  guint next_rendered;
} ApiGrpc;

/** One call while its method runs. */
typedef struct
{
  ApiGrpc *api;
  GrpcCall *grpc;
  const char *ns;    /**< "" where the service has none */
  const char *lease; /**< (nullable) */
  GCancellable *cancellable;
  Arena *arena;
  GBytes *packed; /**< (nullable): a reply that is packed already */
} Call;

/** Returns: the reply, in the call's arena, or NULL with @error. */
typedef const ProtobufCMessage *(*UnaryFunc) (Call *call, gconstpointer request, GError **error);

/** Begins a call that is answered later, by the functions of grpc-call.h. @request and @call are gone
 * afterwards. Returns: FALSE with @error: the call ends so. */
typedef gboolean (*StartFunc) (Call *call, gconstpointer request, GError **error);

/** The same before there is any request. */
typedef gboolean (*OpenFunc) (Call *call, GError **error);

typedef struct
{
  const char *name;
  GrpcMethodFlags flags;
  const ProtobufCMessageDescriptor *request;
  UnaryFunc unary;
  StartFunc start;
  OpenFunc open;
} Method;

typedef struct
{
  const char *name; /**< "containerd.services.version.v1.Version" */
  gboolean needs_namespace;
  const Method *methods;
  gsize n_methods;
} Service;

/* dispatch.c */
gboolean dispatch_add (ApiGrpc *self, const Service *service, GError **error);
/** google.protobuf.Empty. */
const ProtobufCMessage *reply_empty (Call *call);
/** Keeps @object until the call's arena is freed. Returns: @object. */
gpointer call_keep (Call *call, gpointer object, GDestroyNotify unref);
/** @message packed. */
GBytes *message_pack (const ProtobufCMessage *message);
/** Unpacks @bytes into @arena after checking it. Returns: NULL with the words of grpc-go. */
ProtobufCMessage *message_unpack (const ProtobufCMessageDescriptor *descriptor, GBytes *bytes, Arena *arena,
                                  GError **error);
/** Makes an empty message in the call's arena. */
gpointer message_new (Call *call, const ProtobufCMessageDescriptor *descriptor);

/* events.c */
void events_clear (ApiGrpc *self);

/** Services: one file each. */
extern const Service version_service, namespaces_service, introspection_service, health_service,
    content_service, images_service, leases_service, snapshots_service, diff_service, containers_service,
    tasks_service, events_service, sandbox_store_service, sandbox_controller_service, mounts_service,
    transfer_service;

/* lists.c */

typedef const ProtobufCMessage *(*RecordMessage) (Call *call, GantryRecord *record);

/** Answers with the records of @kind in @ns that match @filters, each as an item of the repeated field @field
 * of the reply. @instead: (nullable): what to call when they are too many for a message. */
const ProtobufCMessage *list_records (Call *call, const char *kind, const char *ns,
                                      const char *const *filters, unsigned field, RecordMessage to_message,
                                      const char *instead, GError **error);
/** Appends @item to a packed message. Returns: FALSE if it is too much for one. */
gboolean append_item (GByteArray *packed, unsigned field, const ProtobufCMessage *item);

/* blocks.c */

typedef struct
{
  GPtrArray *messages; /* of GBytes */
  GByteArray *block;
  guint in_block;
} Blocks;

void blocks_init (Blocks *self);
/** Packs @item as field 1 of the message at hand. */
void blocks_add (Blocks *self, const ProtobufCMessage *item);
/** Streams what was added, if @ok, and ends @self. Returns: @ok. */
gboolean blocks_end (Blocks *self, Call *call, gboolean ok);
gboolean throw_too_long (GError **error, const char *instead);
/** Sends @messages (transfer full) (element-type GBytes) as fast as the client takes them, and ends the call.
 */
void stream_messages (GrpcCall *grpc, GPtrArray *messages);
