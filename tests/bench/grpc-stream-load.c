/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Streams of containerd's API under load: how long a blob takes either way, and how late events reach many
 * subscribers.
 *
 *     grpc-stream-load ADDRESS write MIB                  writes and commits a new blob; prints "seconds
 * DIGEST" grpc-stream-load ADDRESS read DIGEST MIB            reads it; prints "seconds" grpc-stream-load
 * ADDRESS fan-out SUBSCRIBERS EVENTS PACE-µs    prints "seconds p50-µs p99-µs": until every subscriber has
 * all events, published one after the other, so far apart; and how late each came to each
 *
 * A blob goes in messages of 1 MiB, each answered before the next is sent, as containerd's own client does.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <grpc-client.h>
#include <protos.h>

#define CONTENT(name) Containerd__Services__Content__V1__##name
#define EVENTS(name)  Containerd__Services__Events__V1__##name
#define CONTENT_PATH  "/containerd.services.content.v1.Content/"
#define EVENTS_PATH   "/containerd.services.events.v1.Events/"
#define PIECE         (1 << 20)
/* Subscribers share connections, so that the figures are not those of this program's threads. */
#define STREAMS_A_CONNECTION 10
/* Goes before the events that are counted. */
#define WARM_UP 0

static const GrpcChannelSettings settings
    = { .max_message = 64 << 20, .max_send_queue = 4 << 20, .workers = 1, .window = 1 << 20 };

static GBytes *
pack (const ProtobufCMessage *message)
{
  gsize size = protobuf_c_message_get_packed_size (message);
  guint8 *data = g_malloc (size + 1);

  protobuf_c_message_pack (message, data);
  return g_bytes_new_take (data, size);
}

static GrpcChannel *
connect_to (const char *address)
{
  g_autoptr (GError) error = NULL;
  GrpcChannel *channel = grpc_channel_new (address, &settings, &error);

  if (channel == NULL)
    g_error ("%s", error->message);
  return channel;
}

static GrpcMetadata *
namespace_metadata (void)
{
  GrpcMetadata *metadata = grpc_metadata_new ();

  grpc_metadata_append (metadata, "containerd-namespace", "bench");
  return metadata;
}

/* One stream whose messages the main thread waits for. */
typedef struct
{
  GMutex lock;
  GCond cond;
  GrpcCall *call;
  guint64 bytes; /* of content that came */
  guint answers;
  char *digest;
  gboolean over;
} Waited;

static void
on_write_reply (GrpcCall *call, GBytes *message, gpointer data)
{
  Waited *waited = data;
  CONTENT (WriteContentResponse) *reply
      = containerd__services__content__v1__write_content_response__unpack (NULL, g_bytes_get_size (message),
                                                                           g_bytes_get_data (message, NULL));

  if (reply == NULL)
    g_error ("an answer that is none");
  g_mutex_lock (&waited->lock);
  waited->answers++;
  g_free (waited->digest);
  waited->digest = g_strdup (reply->digest);
  g_cond_signal (&waited->cond);
  g_mutex_unlock (&waited->lock);
  containerd__services__content__v1__write_content_response__free_unpacked (reply, NULL);
  grpc_call_request (call, 1);
}

static void
on_read_reply (GrpcCall *call, GBytes *message, gpointer data)
{
  Waited *waited = data;

  /* But for a few bytes of framing it is data; what is wanted is its amount. */
  g_mutex_lock (&waited->lock);
  waited->bytes += g_bytes_get_size (message);
  g_mutex_unlock (&waited->lock);
  grpc_call_request (call, 1);
}

static void
on_stream_closed (GrpcCall *call, const GError *error, gpointer data)
{
  Waited *waited = data;

  if (error != NULL)
    g_error ("%s: %s", grpc_call_get_path (call), error->message);
  g_mutex_lock (&waited->lock);
  waited->over = TRUE;
  g_cond_signal (&waited->cond);
  g_mutex_unlock (&waited->lock);
}

static void
open_stream (Waited *waited, GrpcChannel *channel, const char *path, const GrpcCallHandlers *handlers)
{
  g_autoptr (GrpcMetadata) metadata = namespace_metadata ();

  g_mutex_init (&waited->lock);
  g_cond_init (&waited->cond);
  waited->call = grpc_channel_open (channel, path, metadata, G_MAXUINT, handlers, waited, NULL);
  grpc_call_request (waited->call, 4);
}

static void
wait_for_answers (Waited *waited, guint n)
{
  g_mutex_lock (&waited->lock);
  while (waited->answers < n && !waited->over)
    g_cond_wait (&waited->cond, &waited->lock);
  g_mutex_unlock (&waited->lock);
}

static void
wait_for_end (Waited *waited)
{
  g_mutex_lock (&waited->lock);
  while (!waited->over)
    g_cond_wait (&waited->cond, &waited->lock);
  g_mutex_unlock (&waited->lock);
}

static void
send_message (Waited *waited, const ProtobufCMessage *message)
{
  g_autoptr (GBytes) packed = pack (message);
  g_autoptr (GError) error = NULL;

  if (!grpc_call_send (waited->call, packed, &error))
    g_error ("%s", error->message);
}

static void
write_blob (GrpcChannel *channel, guint n)
{
  static const GrpcCallHandlers handlers = { .on_message = on_write_reply, .on_closed = on_stream_closed };
  g_autofree guint32 *piece = g_malloc (PIECE);
  g_autofree char *ref = g_strdup_printf ("bench-%u", g_random_int ());
  CONTENT (WriteContentRequest) request = CONTAINERD__SERVICES__CONTENT__V1__WRITE_CONTENT_REQUEST__INIT;
  Waited waited = { 0 };
  gint64 begun;

  for (gsize i = 0; i < PIECE / sizeof *piece; i++)
    piece[i] = g_random_int ();
  begun = g_get_monotonic_time ();
  open_stream (&waited, channel, CONTENT_PATH "Write", &handlers);
  request.ref = ref;
  request.action = CONTAINERD__SERVICES__CONTENT__V1__WRITE_ACTION__WRITE;
  request.total = (gint64)n * PIECE;
  for (guint i = 0; i < n; i++)
    {
      piece[0] = i;
      request.offset = (gint64)i * PIECE;
      request.data.data = (guint8 *)piece;
      request.data.len = PIECE;
      send_message (&waited, &request.base);
      wait_for_answers (&waited, i + 1);
    }
  request.action = CONTAINERD__SERVICES__CONTENT__V1__WRITE_ACTION__COMMIT;
  request.offset = (gint64)n * PIECE;
  request.data.len = 0;
  send_message (&waited, &request.base);
  wait_for_answers (&waited, n + 1);
  grpc_call_close_send (waited.call);
  wait_for_end (&waited);
  printf ("%.6f %s\n", (double)(g_get_monotonic_time () - begun) / G_USEC_PER_SEC, waited.digest);
  grpc_call_unref (waited.call);
  g_free (waited.digest);
}

static void
read_blob (GrpcChannel *channel, const char *digest, guint n)
{
  static const GrpcCallHandlers handlers = { .on_message = on_read_reply, .on_closed = on_stream_closed };
  CONTENT (ReadContentRequest) request = CONTAINERD__SERVICES__CONTENT__V1__READ_CONTENT_REQUEST__INIT;
  Waited waited = { 0 };
  gint64 begun = g_get_monotonic_time ();

  open_stream (&waited, channel, CONTENT_PATH "Read", &handlers);
  request.digest = (char *)digest;
  send_message (&waited, &request.base);
  grpc_call_close_send (waited.call);
  wait_for_end (&waited);
  if (waited.bytes < (guint64)n * PIECE)
    g_error ("%" G_GUINT64_FORMAT " bytes came of %u MiB", waited.bytes, n);
  printf ("%.6f\n", (double)(g_get_monotonic_time () - begun) / G_USEC_PER_SEC);
  grpc_call_unref (waited.call);
}

/* Events */

typedef struct
{
  GMutex lock;
  GCond cond;
  guint warm;    /* subscribers that have had an event */
  guint64 got;   /* counted events that came, over all subscribers */
  GArray *times; /* of gint32: µs */
} FanOut;

typedef struct
{
  FanOut *fan;
  GrpcCall *call;
  gboolean warm;
} Subscriber;

static void
on_event (GrpcCall *call, GBytes *message, gpointer data)
{
  Subscriber *self = data;
  FanOut *fan = self->fan;
  Containerd__Types__Envelope *envelope
      = containerd__types__envelope__unpack (NULL, g_bytes_get_size (message),
                                             g_bytes_get_data (message, NULL));
  gint64 sent;

  if (envelope == NULL || envelope->event == NULL || envelope->event->value.len != sizeof sent)
    g_error ("an event that is not ours");
  memcpy (&sent, envelope->event->value.data, sizeof sent);
  g_mutex_lock (&fan->lock);
  if (sent == WARM_UP && !self->warm)
    {
      self->warm = TRUE;
      fan->warm++;
    }
  else if (sent != WARM_UP)
    {
      gint32 taken = (gint32)(g_get_monotonic_time () - sent);

      g_array_append_val (fan->times, taken);
      fan->got++;
    }
  g_cond_signal (&fan->cond);
  g_mutex_unlock (&fan->lock);
  containerd__types__envelope__free_unpacked (envelope, NULL);
  grpc_call_request (call, 1);
}

static void
publish (GrpcChannel *channel, gint64 sent)
{
  EVENTS (PublishRequest) request = CONTAINERD__SERVICES__EVENTS__V1__PUBLISH_REQUEST__INIT;
  Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
  g_autoptr (GrpcMetadata) metadata = namespace_metadata ();
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) packed = NULL;
  g_autoptr (GBytes) reply = NULL;

  any.type_url = (char *)"example.com/Bench";
  any.value.data = (guint8 *)&sent;
  any.value.len = sizeof sent;
  request.topic = (char *)"/bench/tick";
  request.event = &any;
  packed = pack (&request.base);
  reply = grpc_channel_call (channel, EVENTS_PATH "Publish", metadata, packed, 0, NULL, &error);
  if (reply == NULL)
    g_error ("%s", error->message);
}

static void
subscribe (Subscriber *self, GrpcChannel *channel)
{
  static const GrpcCallHandlers handlers = { .on_message = on_event };
  EVENTS (SubscribeRequest) request = CONTAINERD__SERVICES__EVENTS__V1__SUBSCRIBE_REQUEST__INIT;
  char *filters[] = { (char *)"topic==\"/bench/tick\"" };
  g_autoptr (GBytes) packed = NULL;

  self->call = grpc_channel_open (channel, EVENTS_PATH "Subscribe", NULL, G_MAXUINT, &handlers, self, NULL);
  request.n_filters = 1;
  request.filters = filters;
  packed = pack (&request.base);
  grpc_call_send (self->call, packed, NULL);
  grpc_call_close_send (self->call);
  grpc_call_request (self->call, 1024);
}

/* A server need not say when a subscription has begun: events are published until each subscriber has had
 * one. */
static void
warm_up (FanOut *fan, GrpcChannel *channel, guint n)
{
  gboolean all = FALSE;

  while (!all)
    {
      gint64 until = g_get_monotonic_time () + 50 * G_TIME_SPAN_MILLISECOND;

      publish (channel, WARM_UP);
      g_mutex_lock (&fan->lock);
      while (fan->warm < n && g_cond_wait_until (&fan->cond, &fan->lock, until))
        continue;
      all = fan->warm == n;
      g_mutex_unlock (&fan->lock);
    }
}

static int
compare (gconstpointer a, gconstpointer b)
{
  return *(const gint32 *)a - *(const gint32 *)b;
}

static void
fan_out (GrpcChannel *channel, const char *address, guint n_subscribers, guint n_events, guint pace)
{
  FanOut fan = { .times = g_array_new (FALSE, FALSE, sizeof (gint32)) };
  g_autofree Subscriber *subscribers = g_new0 (Subscriber, n_subscribers);
  g_autoptr (GPtrArray) channels = g_ptr_array_new_with_free_func ((GDestroyNotify)grpc_channel_free);
  gint64 begun, taken;

  g_mutex_init (&fan.lock);
  g_cond_init (&fan.cond);
  for (guint i = 0; i < n_subscribers; i++)
    {
      if (i % STREAMS_A_CONNECTION == 0)
        g_ptr_array_add (channels, connect_to (address));
      subscribers[i].fan = &fan;
      subscribe (&subscribers[i], g_ptr_array_index (channels, i / STREAMS_A_CONNECTION));
    }
  warm_up (&fan, channel, n_subscribers);
  begun = g_get_monotonic_time ();
  for (guint i = 0; i < n_events; i++)
    {
      gint64 due = begun + (gint64)i * pace, now = g_get_monotonic_time ();

      if (due > now)
        g_usleep ((gulong)(due - now));
      publish (channel, g_get_monotonic_time ());
    }
  g_mutex_lock (&fan.lock);
  while (fan.got < (guint64)n_subscribers * n_events)
    g_cond_wait (&fan.cond, &fan.lock);
  g_mutex_unlock (&fan.lock);
  taken = g_get_monotonic_time () - begun;
  g_ptr_array_set_size (channels, 0);
  for (guint i = 0; i < n_subscribers; i++)
    grpc_call_unref (subscribers[i].call);
  g_array_sort (fan.times, compare);
  printf ("%.6f %d %d\n", (double)taken / G_USEC_PER_SEC,
          g_array_index (fan.times, gint32, fan.times->len / 2),
          g_array_index (fan.times, gint32, fan.times->len * 99 / 100));
  g_array_unref (fan.times);
}

int
main (int argc, char *argv[])
{
  g_autoptr (GrpcChannel) channel = NULL;

  if (argc < 4)
    {
      fprintf (
          stderr,
          "usage: grpc-stream-load ADDRESS write MIB | read DIGEST MIB | fan-out SUBSCRIBERS EVENTS PACE\n");
      return 2;
    }
  channel = connect_to (argv[1]);
  if (strcmp (argv[2], "write") == 0)
    write_blob (channel, (guint)atoi (argv[3]));
  else if (strcmp (argv[2], "read") == 0 && argc == 5)
    read_blob (channel, argv[3], (guint)atoi (argv[4]));
  else if (strcmp (argv[2], "fan-out") == 0 && argc == 6)
    fan_out (channel, argv[1], (guint)atoi (argv[3]), (guint)atoi (argv[4]), (guint)atoi (argv[5]));
  else
    return 2;
  return 0;
}
