/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "peer.h"

#include "child.h"

#include <string.h>

#define PROBE_MS         1000
#define PROBE_TIMEOUT_MS 5000
#define MAX_FAILURES     3

/* Any answer is a sign of life, and every gRPC server has one to this. */
#define PROBE "/grpc.health.v1.Health/Check"

#define PLUGINS "/containerd.services.introspection.v1.Introspection/Plugins"

struct _Peer
{
  Peer *of; /* or NULL: whose connection this uses; then it has but metadata of its own */
  const GantryHost *host;
  char *address;
  const char *name;
  guint timeout_ms;
  GrpcChannel *channel;
  GrpcMetadata *metadata;
  PeerChild *child;   /* or NULL: somebody else starts it */
  gboolean unwatched; /* never counts as down */

  GMutex lock;
  guint failures;    /* under lock: in a row */
  gboolean down;     /* under lock */
  gboolean ending;   /* under lock */
  gboolean probing;  /* under lock: a probe is under way or its timer set */
  GSource *timer;    /* under lock */
  gint64 down_since; /* under lock */
  Containerd__Services__Introspection__V1__PluginsResponse *plugins; /* under lock: NULL until it told */
};

struct _PeerStream
{
  Peer *peer;
  GrpcCall *call;
  const ProtobufCMessageDescriptor *reply;
  const char *path;

  GMutex lock;
  GCond cond;
  GQueue messages; /* under lock, of GBytes */
  gboolean over;   /* under lock */
  GError *error;   /* under lock */
};

/* The one that has the connection. */
static Peer *
base_of (Peer *self)
{
  return self->of != NULL ? self->of : self;
}

/* Whether it answers */

static void probe (Peer *self);

static gboolean
on_probe_timer (gpointer data)
{
  Peer *self = data;

  g_mutex_lock (&self->lock);
  g_clear_pointer (&self->timer, g_source_unref);
  if (!self->ending)
    probe (self);
  g_mutex_unlock (&self->lock);
  return G_SOURCE_REMOVE;
}

/* Under lock. */
static void
set_probe_timer (Peer *self)
{
  self->timer = g_timeout_source_new (PROBE_MS);
  g_source_set_callback (self->timer, on_probe_timer, self, NULL);
  g_source_attach (self->timer, self->host->get_main_context (self->host));
}

static gboolean
is_silence (const GError *error)
{
  return error != NULL
         && (error->code == GANTRY_ERROR_UNAVAILABLE || error->code == GANTRY_ERROR_DEADLINE_EXCEEDED);
}

/* Under lock. */
static void
set_down (Peer *self, const GError *error)
{
  g_autofree char *status = g_strdup_printf ("no answer from %s: %s", self->address, error->message);

  if (self->down || self->unwatched)
    return;
  self->down = TRUE;
  self->down_since = g_get_monotonic_time ();
  if (GANTRY_HAS (self->host, GantryHost, report))
    self->host->report (self->host, status);
  if (!self->probing && !self->ending)
    {
      self->probing = TRUE;
      set_probe_timer (self);
    }
}

/* Under lock. */
static void
set_up (Peer *self)
{
  self->failures = 0;
  if (!self->down)
    return;
  self->down = FALSE;
  if (GANTRY_HAS (self->host, GantryHost, report))
    self->host->report (self->host, NULL);
  gantry_host_log (self->host, GANTRY_LOG_NOTICE, "%s answers again", self->address);
}

static void
on_probed (GBytes *reply, const GError *error, gpointer data)
{
  Peer *self = data;

  g_mutex_lock (&self->lock);
  if (self->ending)
    ;
  else if (is_silence (error))
    {
      set_down (self, error);
      set_probe_timer (self);
    }
  else
    {
      self->probing = FALSE;
      set_up (self);
    }
  g_mutex_unlock (&self->lock);
}

/* Under lock. */
static void
probe (Peer *self)
{
  g_autoptr (GBytes) empty = g_bytes_new (NULL, 0);

  grpc_channel_call_async (self->channel, PROBE, NULL, empty, PROBE_TIMEOUT_MS, NULL, on_probed, self);
}

/* What a call's end says of the peer. */
static void
note_end (Peer *self, const GError *error, gboolean answered)
{
  g_mutex_lock (&self->lock);
  if (answered || !is_silence (error))
    {
      if (answered || error == NULL || error->code != GANTRY_ERROR_CANCELLED)
        set_up (self);
    }
  else if (++self->failures >= MAX_FAILURES || error->code == GANTRY_ERROR_UNAVAILABLE)
    set_down (self, error);
  g_mutex_unlock (&self->lock);
}

static gboolean
check_up (Peer *self, GError **error)
{
  gboolean down;
  gint64 since;

  g_mutex_lock (&self->lock);
  down = self->down;
  since = self->down_since;
  g_mutex_unlock (&self->lock);
  if (!down)
    return TRUE;
  return gantry_throw (error, GANTRY_ERROR_UNAVAILABLE,
                       "%s has not answered for %.0f s; it is asked every second, look after it",
                       self->address, (double)(g_get_monotonic_time () - since) / 1e6);
}

/* Making */

static Peer *
make (const GantryHost *host, const char *address, guint seconds, GError **error)
{
  g_autoptr (Peer) self = g_new0 (Peer, 1);
  GrpcChannelSettings settings = { 0 };

  g_mutex_init (&self->lock);
  self->host = host;
  self->address = g_strdup (address);
  self->name = host->get_id (host);
  self->timeout_ms = seconds * 1000;
  settings.timeout_ms = self->timeout_ms;
  self->channel = grpc_channel_new (address, &settings, error);
  return self->channel != NULL ? g_steal_pointer (&self) : NULL;
}

Peer *
peer_new_at (const GantryHost *host, const char *address, GrpcMetadata *metadata, guint seconds,
             GError **error)
{
  Peer *self = make (host, address, seconds, error);

  if (self == NULL)
    return NULL;
  self->metadata = grpc_metadata_ref (metadata);
  self->unwatched = TRUE;
  return self;
}

Peer *
peer_new (const GantryHost *host, GError **error)
{
  g_autoptr (Peer) self = NULL;
  guint64 seconds;
  const char *exec = gantry_host_get_config_string (host, "Exec", NULL);

  if (!gantry_host_get_config_uint64 (host, "Timeout", 30, 1, 3600, &seconds, error))
    return NULL;
  self = make (host, gantry_host_get_config_string (host, "Address", NULL), (guint)seconds, error);
  if (self == NULL)
    return NULL;
  self->name = gantry_host_get_config_string (host, "Name", host->get_id (host));
  self->metadata = grpc_metadata_new ();
  if (!grpc_metadata_append (self->metadata, "containerd-namespace",
                             gantry_host_get_config_string (host, "Namespace", "default")))
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "Namespace= is not printable ASCII");
      return NULL;
    }
  if (exec != NULL && (self->child = peer_child_new (host, exec, error)) == NULL)
    return NULL;
  g_mutex_lock (&self->lock);
  self->probing = TRUE;
  probe (self);
  g_mutex_unlock (&self->lock);
  return g_steal_pointer (&self);
}

Peer *
peer_with_metadata (Peer *of, GrpcMetadata *metadata)
{
  Peer *self = g_new0 (Peer, 1);

  self->of = base_of (of);
  self->name = of->name;
  self->metadata = grpc_metadata_ref (metadata);
  return self;
}

static void
end (Peer *self)
{
  g_mutex_lock (&self->lock);
  self->ending = TRUE;
  if (self->timer != NULL)
    {
      g_source_destroy (self->timer);
      g_clear_pointer (&self->timer, g_source_unref);
    }
  g_mutex_unlock (&self->lock);
  grpc_channel_free (self->channel);
  peer_child_free (self->child);
  wire_message_free (self->plugins);
  g_mutex_clear (&self->lock);
  g_free (self->address);
}

void
peer_free (Peer *self)
{
  if (self == NULL)
    return;
  if (self->of == NULL)
    end (self);
  g_clear_pointer (&self->metadata, grpc_metadata_unref);
  g_free (self);
}

const char *
peer_get_name (Peer *self)
{
  return self->name;
}

/* Calls */

gpointer
peer_call (Peer *self, const char *path, const ProtobufCMessage *request,
           const ProtobufCMessageDescriptor *reply, guint timeout_factor, GCancellable *cancellable,
           GError **error)
{
  Peer *base = base_of (self);
  g_autoptr (GBytes) bytes = wire_pack (request);
  g_autoptr (GBytes) answer = NULL;
  g_autoptr (GError) local = NULL;
  gboolean answered;

  if (!check_up (base, error))
    return NULL;
  answer = grpc_channel_call_full (base->channel, path, self->metadata, bytes,
                                   base->timeout_ms * timeout_factor, cancellable, &answered, &local);
  note_end (base, local, answered);
  if (answer != NULL)
    return wire_unpack (reply, answer, error);
  g_propagate_error (error, g_steal_pointer (&local));
  return NULL;
}

/* What the peer tells of its plugins, or NULL. What was told stays as long as @self. */
static const Containerd__Services__Introspection__V1__PluginsResponse *
ask_plugins (Peer *self)
{
  Containerd__Services__Introspection__V1__PluginsRequest request
      = CONTAINERD__SERVICES__INTROSPECTION__V1__PLUGINS_REQUEST__INIT;
  const ProtobufCMessageDescriptor *descriptor
      = &containerd__services__introspection__v1__plugins_response__descriptor;
  g_autoptr (GError) error = NULL;
  gpointer told = peer_call (self, PLUGINS, &request.base, descriptor, 1, NULL, &error);
  const Containerd__Services__Introspection__V1__PluginsResponse *plugins;

  if (told == NULL && gantry_error_is (error, GANTRY_ERROR_NOT_IMPLEMENTED))
    {
      g_autoptr (GBytes) none = g_bytes_new (NULL, 0);

      told = wire_unpack (descriptor, none, NULL);
    }
  g_mutex_lock (&self->lock);
  if (self->plugins == NULL)
    self->plugins = g_steal_pointer (&told);
  plugins = self->plugins;
  g_mutex_unlock (&self->lock);
  wire_message_free (told);
  return plugins;
}

gboolean
peer_has_capability (Peer *peer, const char *type, const char *id, const char *capability)
{
  Peer *self = base_of (peer);
  const Containerd__Services__Introspection__V1__PluginsResponse *plugins;

  g_mutex_lock (&self->lock);
  plugins = self->plugins;
  g_mutex_unlock (&self->lock);
  if (plugins == NULL)
    plugins = ask_plugins (self);
  for (size_t i = 0; plugins != NULL && i < plugins->n_plugins; i++)
    {
      const Containerd__Services__Introspection__V1__Plugin *plugin = plugins->plugins[i];

      for (size_t j = 0; strcmp (plugin->type, type) == 0 && (id == NULL || strcmp (plugin->id, id) == 0)
                         && j < plugin->n_capabilities;
           j++)
        if (strcmp (plugin->capabilities[j], capability) == 0)
          return TRUE;
    }
  return FALSE;
}

static void
stream_message (GrpcCall *call, GBytes *message, gpointer data)
{
  PeerStream *self = data;

  g_mutex_lock (&self->lock);
  g_queue_push_tail (&self->messages, g_bytes_ref (message));
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->lock);
}

static void
stream_closed (GrpcCall *call, const GError *error, gpointer data)
{
  PeerStream *self = data;

  g_mutex_lock (&self->lock);
  self->error = error != NULL ? g_error_copy (error) : NULL;
  self->over = TRUE;
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->lock);
}

static const GrpcCallHandlers stream_handlers = { .on_message = stream_message, .on_closed = stream_closed };

/* @timeout_ms: of the whole stream. */
static PeerStream *
open_stream (Peer *self, const char *path, const ProtobufCMessageDescriptor *reply, guint timeout_ms,
             GError **error)
{
  Peer *base = base_of (self);
  PeerStream *stream;

  if (!check_up (base, error))
    return NULL;
  stream = g_new0 (PeerStream, 1);
  stream->peer = base;
  stream->reply = reply;
  stream->path = path;
  g_mutex_init (&stream->lock);
  g_cond_init (&stream->cond);
  stream->call
      = grpc_channel_open (base->channel, path, self->metadata, timeout_ms, &stream_handlers, stream, NULL);
  return stream;
}

PeerStream *
peer_open (Peer *self, const char *path, const ProtobufCMessageDescriptor *reply, GError **error)
{
  return open_stream (self, path, reply, G_MAXUINT, error);
}

void
peer_stream_close (PeerStream *self)
{
  gint64 until = g_get_monotonic_time () + (gint64)self->peer->timeout_ms * 1000;
  gboolean in_time = TRUE;

  grpc_call_close_send (self->call);
  grpc_call_request (self->call, 1); /* so that nothing stands before the end */
  g_mutex_lock (&self->lock);
  while (!self->over && in_time)
    in_time = g_cond_wait_until (&self->cond, &self->lock, until);
  g_mutex_unlock (&self->lock);
}

void
peer_stream_free (PeerStream *self)
{
  if (self == NULL)
    return;
  grpc_call_cancel (self->call);
  g_mutex_lock (&self->lock);
  while (!self->over)
    g_cond_wait (&self->cond, &self->lock);
  g_mutex_unlock (&self->lock);
  grpc_call_unref (self->call);
  g_queue_clear_full (&self->messages, (GDestroyNotify)g_bytes_unref);
  g_clear_error (&self->error);
  g_mutex_clear (&self->lock);
  g_cond_clear (&self->cond);
  g_free (self);
}

static void
cancel_stream (GCancellable *cancellable, gpointer data)
{
  grpc_call_cancel (((PeerStream *)data)->call);
}

static gboolean
is_answered (PeerStream *self)
{
  gboolean over;

  g_mutex_lock (&self->lock);
  over = self->over;
  g_mutex_unlock (&self->lock);
  return over && grpc_call_is_answered (self->call);
}

/* Waits for the next message, at most one deadline. Returns: NULL at the end, with @error or without. */
static GBytes *
next_message (PeerStream *self, GCancellable *cancellable, GError **error)
{
  gint64 until = g_get_monotonic_time () + (gint64)self->peer->timeout_ms * 1000;
  gboolean in_time = TRUE;
  GBytes *message;
  gulong id = 0;

  if (g_cancellable_is_cancelled (cancellable))
    {
      gantry_throw (error, GANTRY_ERROR_CANCELLED, "%s was cancelled", self->path);
      return NULL;
    }
  if (cancellable != NULL)
    id = g_cancellable_connect (cancellable, G_CALLBACK (cancel_stream), self, NULL);
  grpc_call_request (self->call, 1);
  g_mutex_lock (&self->lock);
  while (self->messages.length == 0 && !self->over && in_time)
    in_time = g_cond_wait_until (&self->cond, &self->lock, until);
  message = g_queue_pop_head (&self->messages);
  if (message == NULL && self->error != NULL)
    g_propagate_error (error, g_error_copy (self->error));
  else if (message == NULL && !self->over)
    gantry_throw (error, GANTRY_ERROR_DEADLINE_EXCEEDED, "%s gave nothing for %u s", self->path,
                  self->peer->timeout_ms / 1000);
  g_mutex_unlock (&self->lock);
  if (cancellable != NULL)
    g_cancellable_disconnect (cancellable, id);
  return message;
}

gboolean
peer_read (Peer *self, const char *path, const ProtobufCMessage *request,
           const ProtobufCMessageDescriptor *reply, PeerMessage func, gpointer user_data,
           GCancellable *cancellable, GError **error)
{
  g_autoptr (PeerStream) stream = open_stream (self, path, reply, G_MAXUINT, error);
  g_autoptr (GBytes) bytes = wire_pack (request);
  g_autoptr (GError) local = NULL;
  gboolean more = TRUE;

  if (stream == NULL)
    return FALSE;
  grpc_call_send (stream->call, bytes, NULL); /* if it is over, next_message () says why */
  grpc_call_close_send (stream->call);
  while (more && local == NULL)
    {
      g_autoptr (GBytes) message = next_message (stream, cancellable, &local);
      gpointer unpacked;

      note_end (stream->peer, local, local != NULL && is_answered (stream));
      if (message == NULL)
        break;
      unpacked = wire_unpack (reply, message, &local);
      more = unpacked != NULL && func (unpacked, user_data, &local);
      wire_message_free (unpacked);
    }
  if (local == NULL)
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&local));
  return FALSE;
}

gpointer
peer_stream_exchange (PeerStream *self, const ProtobufCMessage *request, GCancellable *cancellable,
                      GError **error)
{
  g_autoptr (GBytes) bytes = wire_pack (request);
  g_autoptr (GBytes) message = NULL;
  g_autoptr (GError) local = NULL;

  grpc_call_send (self->call, bytes, NULL); /* if it is over, next_message () says why */
  message = next_message (self, cancellable, &local);
  note_end (self->peer, local, local != NULL && is_answered (self));
  if (message != NULL)
    return wire_unpack (self->reply, message, error);
  if (local != NULL)
    g_propagate_error (error, g_steal_pointer (&local));
  else
    gantry_throw (error, GANTRY_ERROR_UNAVAILABLE, "%s ended before its answer", self->path);
  return NULL;
}
