/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * containerd.services.streaming.v1.Streaming, and what Transfer does with streams. */
#include "streams.h"
#include "convert.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <string.h>
#include <unistd.h>

/* Streams that may be open at once, over all namespaces. */
#define MAX_STREAMS 4096
/* How much a writer may send before it hears from us; what it sends is at most this much in our memory. */
#define WINDOW (256 * 1024)
/* The most of one outgoing message. */
#define PIECE  (32 * 1024)
#define MAX_ID 256

struct _Stream
{
  gint refs; /* (atomic) */
  ApiGrpc *api;
  GrpcCall *grpc;
  char *key; /* (nullable): until it has a name */

  GMutex lock;
  GCond cond;
  GQueue received;     /* of GBytes: for stream_receive () */
  gboolean ended;      /* nothing more comes */
  int in_fd;           /* -1: none */
  GByteArray *pending; /* what in_fd has not taken yet */
  gsize pending_at;
  gint64 in_window; /* what the writer may still send */
  int out_fd;
  gint64 out_window;
  GSource *in_source;  /* while in_fd is full */
  GSource *out_source; /* while there is room to send */
};

static Stream *
stream_ref (Stream *self)
{
  g_atomic_int_inc (&self->refs);
  return self;
}

static void
drop_source (GSource **source)
{
  if (*source == NULL)
    return;
  g_source_destroy (*source);
  g_clear_pointer (source, g_source_unref);
}

static void
close_fd (int *fd)
{
  if (*fd >= 0)
    close (*fd);
  *fd = -1;
}

void
stream_unref (Stream *self)
{
  if (self == NULL || !g_atomic_int_dec_and_test (&self->refs))
    return;
  close_fd (&self->in_fd);
  close_fd (&self->out_fd);
  g_queue_clear_full (&self->received, (GDestroyNotify)g_bytes_unref);
  g_clear_pointer (&self->pending, g_byte_array_unref);
  grpc_call_unref (self->grpc);
  g_mutex_clear (&self->lock);
  g_cond_clear (&self->cond);
  g_free (self->key);
  g_free (self);
}

static void
stream_destroy (gpointer data)
{
  stream_unref (data);
}

GHashTable *
streams_new (void)
{
  return g_hash_table_new_full (g_str_hash, g_str_equal, g_free, stream_destroy);
}

static char *
key_of (const char *ns, const char *id)
{
  return g_strconcat (ns, "/", id, NULL);
}

Stream *
streams_find (ApiGrpc *api, const char *ns, const char *id, GError **error)
{
  g_autofree char *key = key_of (ns, id);
  Stream *found;

  g_mutex_lock (&api->streams_lock);
  found = g_hash_table_lookup (api->streams, key);
  if (found != NULL)
    stream_ref (found);
  g_mutex_unlock (&api->streams_lock);
  if (found == NULL)
    gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "stream \"%s\": not found", id);
  return found;
}

/* An Any with @message in it, packed. */
static GBytes *
pack_any (const ProtobufCMessage *message)
{
  g_auto (Arena) arena;
  Call call = { .arena = &arena };

  arena_init (&arena);
  return message_pack (&any_of_message (&call, message)->base);
}

gboolean
stream_send (Stream *self, const ProtobufCMessage *message, GError **error)
{
  g_autoptr (GBytes) packed = pack_any (message);

  return grpc_call_send (self->grpc, packed, error);
}

void
stream_end (Stream *self, const GError *error)
{
  g_autoptr (GError) normal = error != NULL ? g_error_copy (error) : NULL;

  gantry_error_normalize (&normal);
  grpc_call_finish (self->grpc, normal);
}

/* Coming in. With the lock in all of it. */

static gboolean on_in_writable (gint fd, GIOCondition condition, gpointer data);

/* Lets the writer go on once what it sent has been taken. */
static void
open_window (Stream *self)
{
  Containerd__Types__Transfer__WindowUpdate update = CONTAINERD__TYPES__TRANSFER__WINDOW_UPDATE__INIT;

  if (self->in_window >= WINDOW / 2)
    return;
  update.update = (gint32)(WINDOW - self->in_window);
  if (stream_send (self, &update.base, NULL))
    self->in_window = WINDOW;
}

static void
finish_input (Stream *self)
{
  drop_source (&self->in_source);
  close_fd (&self->in_fd);
  g_byte_array_set_size (self->pending, 0);
  self->pending_at = 0;
}

static void
write_pending (Stream *self)
{
  while (self->in_fd >= 0 && self->pending_at < self->pending->len)
    {
      gssize n = write (self->in_fd, self->pending->data + self->pending_at,
                        self->pending->len - self->pending_at);

      if (n >= 0)
        self->pending_at += (gsize)n;
      else if (errno == EAGAIN)
        {
          if (self->in_source == NULL)
            {
              self->in_source = g_unix_fd_source_new (self->in_fd, G_IO_OUT);
              g_source_set_callback (self->in_source, G_SOURCE_FUNC (on_in_writable), stream_ref (self),
                                     stream_destroy);
              g_source_attach (self->in_source, self->api->host->get_main_context (self->api->host));
            }
          return;
        }
      else if (errno != EINTR)
        {
          /* Whoever read it has given up, and says why elsewhere. */
          finish_input (self);
          stream_end (self, NULL);
          return;
        }
    }
  g_byte_array_set_size (self->pending, 0);
  self->pending_at = 0;
  if (self->in_fd < 0)
    return;
  if (self->ended)
    finish_input (self);
  else
    {
      open_window (self);
      grpc_call_request (self->grpc, 1);
    }
}

static gboolean
on_in_writable (gint fd, GIOCondition condition, gpointer data)
{
  Stream *self = data;

  g_mutex_lock (&self->lock);
  if (self->in_source != NULL)
    {
      /* A new one is made if it is full again. */
      g_clear_pointer (&self->in_source, g_source_unref);
      write_pending (self);
    }
  g_mutex_unlock (&self->lock);
  return G_SOURCE_REMOVE;
}

static void
take_data (Stream *self, GBytes *message)
{
  g_auto (Arena) arena;
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) inner = NULL;
  Any *any;
  Containerd__Types__Transfer__Data *data = NULL;

  arena_init (&arena);
  any = (Any *)message_unpack (&google__protobuf__any__descriptor, message, &arena, &error);
  if (any != NULL && g_str_has_suffix (any->type_url, "containerd.types.transfer.Data"))
    {
      inner = g_bytes_new_static (any->value.data, any->value.len);
      data = (Containerd__Types__Transfer__Data *)
          message_unpack (&containerd__types__transfer__data__descriptor, inner, &arena, &error);
    }
  if (error == NULL && data != NULL && (gint64)data->data.len > self->in_window)
    gantry_throw (&error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "more data than the window of the stream allows");
  if (error != NULL)
    {
      stream_end (self, error);
      return;
    }
  if (data != NULL)
    {
      self->in_window -= (gint64)data->data.len;
      g_byte_array_append (self->pending, data->data.data, (guint)data->data.len);
    }
  write_pending (self);
}

gboolean
stream_read_into (Stream *self, int fd, GError **error)
{
  gboolean ok;

  g_mutex_lock (&self->lock);
  ok = self->in_fd < 0 && self->out_fd < 0;
  if (ok)
    {
      g_unix_set_fd_nonblocking (fd, TRUE, NULL);
      self->in_fd = fd;
      write_pending (self);
    }
  g_mutex_unlock (&self->lock);
  if (ok)
    return TRUE;
  close (fd);
  return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "the stream is used already");
}

/* Going out. With the lock in all of it. */

static gboolean on_out_readable (gint fd, GIOCondition condition, gpointer data);

static void
watch_output (Stream *self)
{
  if (self->out_fd < 0 || self->out_source != NULL || self->out_window <= 0
      || !grpc_call_is_writable (self->grpc))
    return;
  self->out_source = g_unix_fd_source_new (self->out_fd, G_IO_IN | G_IO_HUP);
  g_source_set_callback (self->out_source, G_SOURCE_FUNC (on_out_readable), stream_ref (self),
                         stream_destroy);
  g_source_attach (self->out_source, self->api->host->get_main_context (self->api->host));
}

static gboolean
send_piece (Stream *self)
{
  guint8 piece[PIECE];
  Containerd__Types__Transfer__Data data = CONTAINERD__TYPES__TRANSFER__DATA__INIT;
  gssize n = read (self->out_fd, piece, (gsize)MIN (self->out_window, (gint64)sizeof piece));

  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return TRUE;
  if (n <= 0)
    {
      close_fd (&self->out_fd);
      stream_end (self, NULL);
      return FALSE;
    }
  data.data.data = piece;
  data.data.len = (gsize)n;
  self->out_window -= n;
  if (stream_send (self, &data.base, NULL))
    return TRUE;
  close_fd (&self->out_fd);
  return FALSE;
}

static gboolean
on_out_readable (gint fd, GIOCondition condition, gpointer data)
{
  Stream *self = data;
  gboolean more;

  g_mutex_lock (&self->lock);
  more = self->out_source != NULL && self->out_fd >= 0 && send_piece (self) && self->out_window > 0
         && grpc_call_is_writable (self->grpc);
  if (!more)
    g_clear_pointer (&self->out_source, g_source_unref);
  g_mutex_unlock (&self->lock);
  return more;
}

static void
take_update (Stream *self, GBytes *message)
{
  g_auto (Arena) arena;
  g_autoptr (GBytes) inner = NULL;
  Any *any;
  Containerd__Types__Transfer__WindowUpdate *update;

  arena_init (&arena);
  any = (Any *)message_unpack (&google__protobuf__any__descriptor, message, &arena, NULL);
  if (any != NULL && g_str_has_suffix (any->type_url, "containerd.types.transfer.WindowUpdate"))
    {
      inner = g_bytes_new_static (any->value.data, any->value.len);
      update = (Containerd__Types__Transfer__WindowUpdate *)
          message_unpack (&containerd__types__transfer__window_update__descriptor, inner, &arena, NULL);
      if (update != NULL && update->update > 0)
        self->out_window = MIN (self->out_window + update->update, G_MAXINT32);
    }
  watch_output (self);
  grpc_call_request (self->grpc, 1);
}

gboolean
stream_write_from (Stream *self, int fd, GError **error)
{
  gboolean ok;

  g_mutex_lock (&self->lock);
  ok = self->in_fd < 0 && self->out_fd < 0 && !self->ended;
  if (ok)
    {
      g_unix_set_fd_nonblocking (fd, TRUE, NULL);
      self->out_fd = fd;
      grpc_call_request (self->grpc, 1);
    }
  g_mutex_unlock (&self->lock);
  if (ok)
    return TRUE;
  close (fd);
  return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "the stream is used already, or has ended");
}

/* Waiting for a message. */

static void
on_cancelled (GCancellable *cancellable, gpointer data)
{
  Stream *self = data;

  g_mutex_lock (&self->lock);
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->lock);
}

GBytes *
stream_receive (Stream *self, guint timeout_s, GCancellable *cancellable, GError **error)
{
  gint64 deadline = g_get_monotonic_time () + (gint64)timeout_s * G_USEC_PER_SEC;
  gulong handler
      = cancellable != NULL ? g_cancellable_connect (cancellable, G_CALLBACK (on_cancelled), self, NULL) : 0;
  GBytes *message;
  gboolean ended, waited = TRUE;

  grpc_call_request (self->grpc, 1);
  g_mutex_lock (&self->lock);
  while (waited && g_queue_is_empty (&self->received) && !self->ended
         && !g_cancellable_is_cancelled (cancellable))
    waited = g_cond_wait_until (&self->cond, &self->lock, deadline);
  message = g_queue_pop_head (&self->received);
  ended = self->ended;
  g_mutex_unlock (&self->lock);
  if (cancellable != NULL)
    g_cancellable_disconnect (cancellable, handler);
  if (message == NULL && !g_cancellable_set_error_if_cancelled (cancellable, error))
    gantry_throw (error, ended ? GANTRY_ERROR_UNAVAILABLE : GANTRY_ERROR_DEADLINE_EXCEEDED,
                  ended ? "the client has closed the stream that it was to answer on"
                        : "the client did not answer on its stream in time");
  return message;
}

/* The call. */

static gboolean
register_stream (Stream *self, const char *ns, const char *id, GError **error)
{
  gboolean ok;
  guint n;

  if (id[0] == '\0' || strlen (id) > MAX_ID)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "a stream's id has 1 to %d characters: invalid argument", MAX_ID);
  self->key = key_of (ns, id);
  g_mutex_lock (&self->api->streams_lock);
  n = g_hash_table_size (self->api->streams);
  ok = n < MAX_STREAMS && !g_hash_table_contains (self->api->streams, self->key);
  if (ok)
    g_hash_table_insert (self->api->streams, g_strdup (self->key), stream_ref (self));
  g_mutex_unlock (&self->api->streams_lock);
  if (ok)
    return TRUE;
  g_clear_pointer (&self->key, g_free);
  return n >= MAX_STREAMS
             ? gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "there are %d streams already",
                             MAX_STREAMS)
             : gantry_throw (error, GANTRY_ERROR_ALREADY_EXISTS, "stream \"%s\": already exists", id);
}

static void
begin (Stream *self, GrpcCall *grpc, GBytes *message)
{
  Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;
  Containerd__Services__Streaming__V1__StreamInit *init = NULL;
  g_auto (Arena) arena;
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) inner = NULL;
  Any *any;

  arena_init (&arena);
  any = (Any *)message_unpack (&google__protobuf__any__descriptor, message, &arena, &error);
  if (any != NULL && g_str_has_suffix (any->type_url, "containerd.services.streaming.v1.StreamInit"))
    {
      inner = g_bytes_new_static (any->value.data, any->value.len);
      init = (Containerd__Services__Streaming__V1__StreamInit *)message_unpack (
          &containerd__services__streaming__v1__stream_init__descriptor, inner, &arena, &error);
    }
  if (error == NULL && init == NULL)
    gantry_throw (&error, GANTRY_ERROR_INVALID_ARGUMENT,
                  "a stream begins with a StreamInit: invalid argument");
  if (error != NULL
      || !register_stream (self, grpc_call_get_metadata (grpc, "containerd-namespace"), init->id, &error)
      || !stream_send (self, &empty.base, &error))
    stream_end (self, error);
}

static void
on_message (GrpcCall *grpc, GBytes *message, gpointer data)
{
  Stream *self = data;

  if (self->key == NULL)
    {
      begin (self, grpc, message);
      return;
    }
  g_mutex_lock (&self->lock);
  if (self->in_fd >= 0)
    take_data (self, message);
  else if (self->out_window > 0 || self->out_fd >= 0)
    take_update (self, message);
  else
    {
      g_queue_push_tail (&self->received, g_bytes_ref (message));
      g_cond_broadcast (&self->cond);
    }
  g_mutex_unlock (&self->lock);
}

static void
note_end (Stream *self)
{
  g_mutex_lock (&self->lock);
  self->ended = TRUE;
  if (self->in_fd >= 0 && self->pending_at == self->pending->len)
    finish_input (self);
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->lock);
}

static void
on_end (GrpcCall *grpc, gpointer data)
{
  Stream *self = data;

  note_end (self);
  /* A client that has said all it had to say hears that it was heard; one that is being written to still
   * listens. */
  if (self->out_fd < 0)
    grpc_call_finish (grpc, NULL);
}

static void
on_writable (GrpcCall *grpc, gpointer data)
{
  Stream *self = data;

  g_mutex_lock (&self->lock);
  watch_output (self);
  g_mutex_unlock (&self->lock);
}

static void
on_closed (GrpcCall *grpc, const GError *error, gpointer data)
{
  Stream *self = data;

  if (self->key != NULL)
    {
      g_mutex_lock (&self->api->streams_lock);
      g_hash_table_remove (self->api->streams, self->key);
      g_mutex_unlock (&self->api->streams_lock);
    }
  note_end (self);
  g_mutex_lock (&self->lock);
  drop_source (&self->out_source);
  close_fd (&self->out_fd);
  g_mutex_unlock (&self->lock);
}

static gboolean
stream (Call *call, GError **error)
{
  static const GrpcCallHandlers handlers
      = { .on_message = on_message, .on_end = on_end, .on_writable = on_writable, .on_closed = on_closed };
  Stream *self = g_new0 (Stream, 1);

  self->refs = 1;
  self->api = call->api;
  self->grpc = grpc_call_ref (call->grpc);
  self->in_fd = self->out_fd = -1;
  self->pending = g_byte_array_new ();
  g_queue_init (&self->received);
  g_mutex_init (&self->lock);
  g_cond_init (&self->cond);
  grpc_call_set_handlers (call->grpc, &handlers, self, stream_destroy);
  grpc_call_request (call->grpc, 1);
  return TRUE;
}

static const Method methods[]
    = { { "Stream", GRPC_METHOD_NORMAL, &google__protobuf__any__descriptor, NULL, NULL, stream } };

const Service streaming_service
    = { "containerd.services.streaming.v1.Streaming", TRUE, methods, G_N_ELEMENTS (methods) };
