/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * containerd.services.events.v1.Events. A subscriber gets the events of all namespaces, as containerd has it,
 * and filters. */
#include "convert.h"
#include "event-messages.h"

#include <filter.h>
#include <string.h>

#define PB(name)         Containerd__Services__Events__V1__##name
#define DESCRIPTOR(name) containerd__services__events__v1__##name##__descriptor

/* What waits for a slow subscriber beyond what the transport queues. Past it the stream ends with an error,
 * so that none is missed unnoticed. */
#define MAX_BACKLOG_BYTES (8 * 1024 * 1024)

typedef struct
{
  gint refs; /* (atomic): the call and the subscription */
  ApiGrpc *api;
  GrpcCall *grpc;
  guint64 id;
  GantryFilter *filter;

  GMutex lock;
  GQueue backlog; /* of GBytes */
  gsize backlog_bytes;
  gboolean over;
} Subscription;

static void
subscription_unref (gpointer data)
{
  Subscription *self = data;

  if (!g_atomic_int_dec_and_test (&self->refs))
    return;
  grpc_call_unref (self->grpc);
  g_clear_pointer (&self->filter, gantry_filter_free);
  g_queue_clear_full (&self->backlog, (GDestroyNotify)g_bytes_unref);
  g_mutex_clear (&self->lock);
  g_free (self);
}

/* An event with its message unpacked, for filters on "event.<field>". */
typedef struct
{
  const Containerd__Types__Envelope *envelope;
  const ProtobufCMessage *message; /* (nullable) */
} Candidate;

static const char *
message_field (const ProtobufCMessage *message, const char *const *path, guint n_path)
{
  const ProtobufCFieldDescriptor *field
      = protobuf_c_message_descriptor_get_field_by_name (message->descriptor, path[0]);
  const char *at;

  if (field == NULL)
    return NULL;
  at = (const char *)message + field->offset;
  if (field->type == PROTOBUF_C_TYPE_STRING && field->label == PROTOBUF_C_LABEL_NONE)
    return n_path == 1 && (*(char *const *)at)[0] != '\0' ? *(char *const *)at : NULL;
  if (field->type != PROTOBUF_C_TYPE_MESSAGE || n_path < 2)
    return NULL;
  if (field->label != PROTOBUF_C_LABEL_REPEATED)
    return *(ProtobufCMessage *const *)at != NULL
               ? message_field (*(ProtobufCMessage *const *)at, path + 1, n_path - 1)
               : NULL;
  if (strcmp (field->name, "labels") != 0)
    return NULL;
  for (gsize i = 0; i < *(const size_t *)((const char *)message + field->quantifier_offset); i++)
    {
      MapEntry *entry = (*(MapEntry *const *const *)at)[i];

      if (strcmp (entry->key, path[1]) == 0)
        return entry->value;
    }
  return NULL;
}

static const char *
candidate_field (const char *const *path, guint n_path, gpointer object)
{
  Candidate *candidate = object;

  if (n_path == 1 && strcmp (path[0], "topic") == 0)
    return candidate->envelope->topic;
  if (n_path == 1 && strcmp (path[0], "namespace") == 0)
    return candidate->envelope->namespace_;
  return n_path > 1 && strcmp (path[0], "event") == 0 && candidate->message != NULL
             ? message_field (candidate->message, path + 1, n_path - 1)
             : NULL;
}

static gboolean
matches (Subscription *self, Call *call, const Containerd__Types__Envelope *envelope)
{
  Candidate candidate = { envelope, NULL };
  const ProtobufCMessageDescriptor *descriptor;

  if (gantry_filter_is_all (self->filter))
    return TRUE;
  descriptor = envelope->event != NULL ? event_descriptor (envelope->event->type_url) : NULL;
  if (descriptor != NULL)
    {
      g_autoptr (GBytes) bytes = g_bytes_new_static (envelope->event->value.data, envelope->event->value.len);

      candidate.message = message_unpack (descriptor, bytes, call->arena, NULL);
    }
  return gantry_filter_match (self->filter, candidate_field, &candidate);
}

/* With the lock: sends what is taken. */
static void
flush (Subscription *self)
{
  while (!g_queue_is_empty (&self->backlog) && grpc_call_is_writable (self->grpc))
    {
      g_autoptr (GBytes) message = g_queue_pop_head (&self->backlog);

      self->backlog_bytes -= g_bytes_get_size (message);
      if (!grpc_call_send (self->grpc, message, NULL))
        return;
    }
}

static void
end_with_loss (Subscription *self, guint64 lost)
{
  g_autoptr (GError) error = NULL;

  self->over = TRUE;
  gantry_throw (&error, GANTRY_ERROR_RESOURCE_EXHAUSTED,
                "the subscriber is too slow and has lost events (%" G_GUINT64_FORMAT
                " or more); subscribe again and list what there is",
                lost);
  grpc_call_finish (self->grpc, error);
}

/* An event as containerd's clients get it: made once for all that it goes to. */
typedef struct _Rendered
{
  GantryEvent *event;
  Arena arena;
  const Containerd__Types__Envelope *envelope; /* (nullable): containerd has no such event */
  GBytes *packed;                              /* (nullable) */
} Rendered;

static void
rendered_free (Rendered *self)
{
  if (self == NULL)
    return;
  g_clear_pointer (&self->packed, g_bytes_unref);
  arena_clear (&self->arena);
  gantry_event_unref (self->event);
  g_free (self);
}

void
events_clear (ApiGrpc *self)
{
  for (guint i = 0; i < MAX_RENDERED; i++)
    g_clear_pointer (&self->rendered[i], rendered_free);
}

static Rendered *
render (ApiGrpc *api, GantryEvent *event)
{
  Rendered **place;
  Call call = { .api = api };

  for (guint i = 0; i < MAX_RENDERED; i++)
    if (api->rendered[i] != NULL && api->rendered[i]->event == event)
      return api->rendered[i];
  place = &api->rendered[api->next_rendered++ % MAX_RENDERED];
  rendered_free (*place);
  *place = g_new0 (Rendered, 1);
  (*place)->event = gantry_event_ref (event);
  arena_init (&(*place)->arena);
  call.arena = &(*place)->arena;
  (*place)->envelope = event_to_envelope (&call, event);
  if ((*place)->envelope != NULL)
    (*place)->packed = message_pack (&(*place)->envelope->base);
  return *place;
}

/* In the main context: never blocks. */
static void
on_event (GantryEvent *event, guint64 lost, gpointer user_data)
{
  Subscription *self = user_data;
  Rendered *rendered = render (self->api, event);
  g_auto (Arena) arena;
  Call call = { .api = self->api, .arena = &arena };

  arena_init (&arena);
  g_mutex_lock (&self->lock);
  if (!self->over && lost > 0)
    end_with_loss (self, lost);
  if (!self->over && rendered->packed != NULL && matches (self, &call, rendered->envelope))
    {
      g_queue_push_tail (&self->backlog, g_bytes_ref (rendered->packed));
      self->backlog_bytes += g_bytes_get_size (rendered->packed);
      flush (self);
      if (self->backlog_bytes > MAX_BACKLOG_BYTES)
        end_with_loss (self, 1);
    }
  g_mutex_unlock (&self->lock);
}

static void
on_writable (GrpcCall *grpc, gpointer data)
{
  Subscription *self = data;

  g_mutex_lock (&self->lock);
  if (!self->over)
    flush (self);
  g_mutex_unlock (&self->lock);
}

static gboolean
unsubscribe (gpointer data)
{
  Subscription *self = data;

  gantry_events_unsubscribe (self->api->events, self->id);
  return G_SOURCE_REMOVE;
}

static void
on_closed (GrpcCall *grpc, const GError *error, gpointer data)
{
  Subscription *self = data;

  g_mutex_lock (&self->lock);
  self->over = TRUE;
  g_mutex_unlock (&self->lock);
  g_atomic_int_inc (&self->refs);
  g_main_context_invoke_full (self->api->host->get_main_context (self->api->host), G_PRIORITY_DEFAULT,
                              unsubscribe, self, subscription_unref);
}

static gboolean
subscribe (Call *call, gconstpointer data, GError **error)
{
  static const GrpcCallHandlers handlers = { .on_writable = on_writable, .on_closed = on_closed };
  const PB (SubscribeRequest) *request = data;
  GantryFilter *filter = gantry_filter_new (strings (call, request->n_filters, request->filters), error);
  Subscription *self;

  if (filter == NULL)
    return FALSE;
  self = g_new0 (Subscription, 1);
  self->refs = 2;
  self->api = call->api;
  self->grpc = grpc_call_ref (call->grpc);
  self->filter = filter;
  g_mutex_init (&self->lock);
  g_queue_init (&self->backlog);
  grpc_call_set_handlers (call->grpc, &handlers, self, subscription_unref);
  if (!gantry_events_subscribe (call->api->events, NULL, GANTRY_EVENTS_NOW, NULL, on_event, self,
                                subscription_unref, &self->id, call->cancellable, error))
    {
      subscription_unref (self);
      return FALSE;
    }
  /* From here on nothing is missed: clients that wait for the headers know it. */
  grpc_call_send_headers (call->grpc);
  return TRUE;
}

/* Publishes @any as it is. */
static gboolean
publish_any (ApiGrpc *api, const char *ns, const char *topic, const Any *any, GCancellable *cancellable,
             GError **error)
{
  GVariantDict payload;

  if (any == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "an event is required: invalid argument");
  g_variant_dict_init (&payload, NULL);
  g_variant_dict_insert_value (&payload, "any", any_to_variant (any));
  return gantry_events_publish (api->events, ns, topic, g_variant_dict_end (&payload), cancellable, error);
}

static const ProtobufCMessage *
publish (Call *call, gconstpointer data, GError **error)
{
  const PB (PublishRequest) *request = data;

  if (call->ns[0] == '\0')
    {
      gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "namespace is required: failed precondition");
      return NULL;
    }
  return publish_any (call->api, call->ns, request->topic, request->event, call->cancellable, error)
             ? reply_empty (call)
             : NULL;
}

static const ProtobufCMessage *
forward (Call *call, gconstpointer data, GError **error)
{
  const PB (ForwardRequest) *request = data;
  const Containerd__Types__Envelope *envelope = request->envelope;

  if (envelope == NULL || envelope->namespace_[0] == '\0' || envelope->timestamp == NULL)
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                    "an envelope needs a namespace and a timestamp: invalid argument");
      return NULL;
    }
  return publish_any (call->api, envelope->namespace_, envelope->topic, envelope->event, call->cancellable,
                      error)
             ? reply_empty (call)
             : NULL;
}

static const Method methods[] = {
  { "Publish", GRPC_METHOD_NORMAL, &DESCRIPTOR (publish_request), publish },
  { "Forward", GRPC_METHOD_NORMAL, &DESCRIPTOR (forward_request), forward },
  { "Subscribe", GRPC_METHOD_NORMAL, &DESCRIPTOR (subscribe_request), NULL, subscribe },
};

const Service events_service
    = { "containerd.services.events.v1.Events", FALSE, methods, G_N_ELEMENTS (methods) };
