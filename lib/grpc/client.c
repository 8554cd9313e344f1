/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "grpc-client.h"

#include <string.h>

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "conn.h"

#define FIRST_BACKOFF_US 100000
#define LAST_BACKOFF_US  5000000

struct _GrpcChannel
{
  GrpcShared *shared;
  char *address;
  char *authority;
  struct sockaddr_storage peer;
  socklen_t peer_size;
  guint timeout_ms;
  guint connect_ms;
  GrpcChannelState state;
  gpointer state_data;

  /* On the I/O thread. */
  GQueue conns;   /* of GrpcConn: the one that takes calls and those that are going away */
  GrpcConn *conn; /* the one that takes calls, or is becoming so */
  GQueue waiting; /* of GrpcCall, counted: for the connection that is being made */
  gint64 retry_at;
  gint64 backoff;
  char *trouble; /* why there is no connection */
  gboolean closing;

  GrpcTask close_task;
};

/* A call on its way to the I/O thread. */
typedef struct
{
  GrpcTask task;
  GrpcChannel *channel;
  GrpcCall *call;
} Opening;

/* Addresses */

static gboolean
parse_unix (GrpcChannel *self, const char *path, GError **error)
{
  struct sockaddr_un *peer = (struct sockaddr_un *)&self->peer;

  if (strlen (path) >= sizeof peer->sun_path)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the socket path %s is longer than %zu bytes",
                         path, sizeof peer->sun_path - 1);
  peer->sun_family = AF_UNIX;
  g_strlcpy (peer->sun_path, path, sizeof peer->sun_path);
  self->peer_size = sizeof *peer;
  self->authority = g_strdup ("localhost");
  return TRUE;
}

static gboolean
parse_tcp (GrpcChannel *self, const char *address, GError **error)
{
  struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
  struct addrinfo *info = NULL;
  const char *colon = strrchr (address, ':');
  g_autofree char *host = colon != NULL ? g_strndup (address, (gsize)(colon - address)) : NULL;

  if (host != NULL && host[0] == '[' && g_str_has_suffix (host, "]"))
    {
      host[strlen (host) - 1] = '\0';
      memmove (host, host + 1, strlen (host));
    }
  if (host == NULL
      || getaddrinfo (strcmp (host, "localhost") == 0 ? "127.0.0.1" : host, colon + 1, &hints, &info) != 0)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "\"%s\" is not an address: it is unix:/path, /path or IP:port", address);
  memcpy (&self->peer, info->ai_addr, info->ai_addrlen);
  self->peer_size = info->ai_addrlen;
  freeaddrinfo (info);
  self->authority = g_strdup (address);
  return TRUE;
}

static gboolean
parse_address (GrpcChannel *self, const char *address, GError **error)
{
  if (g_str_has_prefix (address, "unix://"))
    return parse_unix (self, address + 7, error);
  if (g_str_has_prefix (address, "unix:"))
    return parse_unix (self, address + 5, error);
  if (address[0] == '/')
    return parse_unix (self, address, error);
  return parse_tcp (self, address, error);
}

/* Connections */

static void
end_unavailable (GrpcChannel *self, GrpcCall *call)
{
  grpc_call_over (call, GANTRY_ERROR_UNAVAILABLE,
                  g_error_new (GANTRY_ERROR, GANTRY_ERROR_UNAVAILABLE, "no answer from %s: %s", self->address,
                               self->trouble));
}

static void
put_on (GrpcChannel *self, GrpcConn *conn, GrpcCall *call)
{
  if (grpc_call_is_over (call))
    return;
  grpc_call_attach (call, conn);
  grpc_call_submit (call, self->authority);
}

static void
on_conn_ready (GrpcConn *conn)
{
  GrpcChannel *self = conn->owner;
  GrpcCall *call;

  if (self->state != NULL)
    self->state (TRUE, self->state_data);
  while ((call = g_queue_pop_head (&self->waiting)) != NULL)
    {
      put_on (self, conn, call);
      grpc_call_unref (call);
    }
}

static void
on_conn_going_away (GrpcConn *conn)
{
  GrpcChannel *self = conn->owner;

  if (self->conn == conn)
    self->conn = NULL;
  grpc_conn_drain (conn);
}

static void
set_trouble (GrpcChannel *self, const char *reason)
{
  g_free (self->trouble);
  self->trouble = g_strdup (reason);
}

/* After a connection that never worked the next waits for a while. */
static void
back_off (GrpcChannel *self)
{
  self->retry_at = grpc_loop_now (self->shared->loop) + self->backoff;
  self->backoff = MIN (self->backoff * 2, LAST_BACKOFF_US);
}

static void
fail_waiting (GrpcChannel *self)
{
  GrpcCall *call;

  while ((call = g_queue_pop_head (&self->waiting)) != NULL)
    {
      end_unavailable (self, call);
      grpc_call_unref (call);
    }
}

static void
on_conn_closed (GrpcConn *conn, const char *reason)
{
  GrpcChannel *self = conn->owner;

  g_queue_unlink (&self->conns, &conn->link);
  if (self->conn != conn)
    return;
  self->conn = NULL;
  set_trouble (self, reason);
  if (conn->handshaken)
    self->backoff = FIRST_BACKOFF_US;
  else
    back_off (self);
  fail_waiting (self);
  if (!conn->connecting && self->state != NULL)
    self->state (FALSE, self->state_data);
}

static const GrpcConnOps ops = {
  .ready = on_conn_ready,
  .going_away = on_conn_going_away,
  .closed = on_conn_closed,
};

/* Returns: FALSE with the trouble set. */
static gboolean
open_connection (GrpcChannel *self)
{
  g_autoptr (GError) error = NULL;
  int yes = 1, status = 0, fd = socket (self->peer.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  gboolean connecting;

  if (fd < 0 || connect (fd, (struct sockaddr *)&self->peer, self->peer_size) < 0)
    status = errno;
  connecting = fd >= 0 && status == EINPROGRESS;
  if (status != 0 && !connecting)
    {
      set_trouble (self, g_strerror (status));
      if (fd >= 0)
        close (fd);
      return FALSE;
    }
  if (self->peer.ss_family != AF_UNIX)
    setsockopt (fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  self->conn
      = grpc_conn_new (self->shared, &ops, self, fd, NULL, FALSE, connecting, self->connect_ms, &error);
  if (self->conn == NULL)
    {
      set_trouble (self, error->message);
      return FALSE;
    }
  g_queue_push_tail_link (&self->conns, &self->conn->link);
  if (!connecting)
    on_conn_ready (self->conn);
  return TRUE;
}

/* Returns: whether there is a connection or one is being made. */
static gboolean
want_connection (GrpcChannel *self)
{
  if (self->conn != NULL && self->conn->broken == NULL)
    return TRUE;
  if (self->conn != NULL || grpc_loop_now (self->shared->loop) < self->retry_at)
    return FALSE;
  if (open_connection (self))
    return TRUE;
  back_off (self);
  return FALSE;
}

static void
run_opening (GrpcTask *task)
{
  Opening *opening = (Opening *)task;
  GrpcChannel *self = opening->channel;
  GrpcCall *call = opening->call;

  g_mutex_lock (&call->lock);
  call->kicked = FALSE;
  g_mutex_unlock (&call->lock);
  if (self->closing)
    grpc_call_over (call, GANTRY_ERROR_CANCELLED,
                    g_error_new (GANTRY_ERROR, GANTRY_ERROR_CANCELLED, "the channel to %s is closed",
                                 self->address));
  else if (g_atomic_int_get (&self->shared->n_calls) > (gint)self->shared->max_calls)
    grpc_call_over (call, GANTRY_ERROR_RESOURCE_EXHAUSTED,
                    g_error_new (GANTRY_ERROR, GANTRY_ERROR_RESOURCE_EXHAUSTED,
                                 "more than %u calls to %s at once", self->shared->max_calls, self->address));
  else if (!want_connection (self))
    end_unavailable (self, call);
  else if (self->conn->connecting)
    g_queue_push_tail (&self->waiting, grpc_call_ref (call));
  else
    put_on (self, self->conn, call);
  if (!grpc_call_is_over (call))
    {
      grpc_call_set_deadline (call, call->deadline);
      grpc_call_pump (call);
    }
  grpc_call_unref (call);
  g_free (opening);
}

/* Calls */

static GrpcCall *
new_call (GrpcChannel *self, const char *path, const GrpcMetadata *metadata, guint timeout_ms,
          const GrpcCallHandlers *handlers, gpointer data, GDestroyNotify destroy)
{
  GrpcCall *call = grpc_call_new (self->shared, FALSE);

  call->path = g_strdup (path);
  call->headers = metadata != NULL ? grpc_metadata_ref ((GrpcMetadata *)metadata) : NULL;
  call->handlers = handlers;
  call->data = data;
  call->destroy = destroy;
  call->kicked = TRUE; /* what is done to it before it is opened is seen when it is */
  if (timeout_ms != G_MAXUINT)
    call->deadline
        = g_get_monotonic_time () + (gint64)(timeout_ms != 0 ? timeout_ms : self->timeout_ms) * 1000;
  return call;
}

static void
post_call (GrpcChannel *self, GrpcCall *call)
{
  Opening *opening = g_new0 (Opening, 1);

  opening->task.run = run_opening;
  opening->channel = self;
  opening->call = grpc_call_ref (call);
  grpc_loop_post (self->shared->loop, &opening->task);
}

GrpcCall *
grpc_channel_open (GrpcChannel *self, const char *path, const GrpcMetadata *metadata, guint timeout_ms,
                   const GrpcCallHandlers *handlers, gpointer data, GDestroyNotify destroy)
{
  GrpcCall *call = new_call (self, path, metadata, timeout_ms, handlers, data, destroy);

  post_call (self, call);
  return call;
}

/* Unary calls */

typedef struct
{
  GBytes *reply;
  gboolean too_many;
  GrpcReply done; /* or NULL: somebody waits */
  gpointer data;
  GCancellable *cancellable;
  gulong cancel_id;

  GMutex lock;
  GCond cond;
  gboolean answered;
  gboolean over; /* under lock */
  GError *error; /* under lock */
} Unary;

static void
unary_message (GrpcCall *call, GBytes *message, gpointer data)
{
  Unary *unary = data;

  if (unary->reply != NULL)
    unary->too_many = TRUE;
  else
    unary->reply = g_bytes_ref (message);
}

static GError *
make_unary_error (GrpcCall *call, Unary *unary, const GError *error)
{
  if (error != NULL)
    return g_error_copy (error);
  if (unary->reply == NULL || unary->too_many)
    return g_error_new (GANTRY_ERROR, GANTRY_ERROR_INTERNAL, "%s answered with %s", grpc_call_get_path (call),
                        unary->too_many ? "more than one message" : "no message");
  return NULL;
}

static void
unary_closed_sync (GrpcCall *call, const GError *error, gpointer data)
{
  Unary *unary = data;

  g_mutex_lock (&unary->lock);
  unary->error = make_unary_error (call, unary, error);
  unary->answered = grpc_call_is_answered (call);
  unary->over = TRUE;
  g_cond_signal (&unary->cond);
  g_mutex_unlock (&unary->lock);
}

static void
unary_closed_async (GrpcCall *call, const GError *error, gpointer data)
{
  Unary *unary = data;
  g_autoptr (GError) own = make_unary_error (call, unary, error);

  if (unary->cancellable != NULL)
    g_cancellable_disconnect (unary->cancellable, unary->cancel_id);
  unary->done (own == NULL ? unary->reply : NULL, own, unary->data);
}

static void
unary_free (gpointer data)
{
  Unary *unary = data;

  g_clear_pointer (&unary->reply, g_bytes_unref);
  g_clear_object (&unary->cancellable);
  g_free (unary);
}

static const GrpcCallHandlers sync_handlers = { .on_message = unary_message, .on_closed = unary_closed_sync };
static const GrpcCallHandlers async_handlers
    = { .on_message = unary_message, .on_closed = unary_closed_async };

/* The request is queued before the call is seen by the I/O thread. */
static void
fill_unary (GrpcCall *call, GBytes *request)
{
  g_queue_push_tail (&call->out, g_bytes_ref (request));
  call->out_bytes = g_bytes_get_size (request) + GRPC_PREFIX;
  call->finished = TRUE;
  call->demand = 2;
}

static void
cancel_call (GCancellable *cancellable, gpointer data)
{
  grpc_call_cancel (data);
}

GBytes *
grpc_channel_call_full (GrpcChannel *self, const char *path, const GrpcMetadata *metadata, GBytes *request,
                        guint timeout_ms, GCancellable *cancellable, gboolean *ret_answered, GError **error)
{
  Unary unary = { 0 };
  g_autoptr (GrpcCall) call = NULL;
  gulong cancel_id = 0;

  /* The answer must not win. */
  if (g_cancellable_is_cancelled (cancellable))
    {
      *ret_answered = FALSE;
      gantry_throw (error, GANTRY_ERROR_CANCELLED, "%s was cancelled", path);
      return NULL;
    }
  call = new_call (self, path, metadata, timeout_ms, &sync_handlers, &unary, NULL);
  g_mutex_init (&unary.lock);
  g_cond_init (&unary.cond);
  fill_unary (call, request);
  call->inline_events = TRUE;
  post_call (self, call);
  if (cancellable != NULL)
    cancel_id = g_cancellable_connect (cancellable, G_CALLBACK (cancel_call), call, NULL);
  g_mutex_lock (&unary.lock);
  while (!unary.over)
    g_cond_wait (&unary.cond, &unary.lock);
  g_mutex_unlock (&unary.lock);
  if (cancellable != NULL)
    g_cancellable_disconnect (cancellable, cancel_id);
  g_mutex_clear (&unary.lock);
  g_cond_clear (&unary.cond);
  *ret_answered = unary.answered;
  if (unary.error == NULL)
    return unary.reply;
  g_clear_pointer (&unary.reply, g_bytes_unref);
  g_propagate_error (error, unary.error);
  return NULL;
}

GBytes *
grpc_channel_call (GrpcChannel *self, const char *path, const GrpcMetadata *metadata, GBytes *request,
                   guint timeout_ms, GCancellable *cancellable, GError **error)
{
  gboolean answered;

  return grpc_channel_call_full (self, path, metadata, request, timeout_ms, cancellable, &answered, error);
}

void
grpc_channel_call_async (GrpcChannel *self, const char *path, const GrpcMetadata *metadata, GBytes *request,
                         guint timeout_ms, GCancellable *cancellable, GrpcReply done, gpointer data)
{
  Unary *unary = g_new0 (Unary, 1);
  g_autoptr (GrpcCall) call = new_call (self, path, metadata, timeout_ms, &async_handlers, unary, unary_free);

  unary->done = done;
  unary->data = data;
  fill_unary (call, request);
  if (cancellable != NULL)
    {
      /* Before the call is under way, so that its end finds the id. */
      unary->cancellable = g_object_ref (cancellable);
      unary->cancel_id = g_cancellable_connect (cancellable, G_CALLBACK (cancel_call), grpc_call_ref (call),
                                                (GDestroyNotify)grpc_call_unref);
    }
  post_call (self, call);
}

/* The channel */

static gsize
or_default (gsize value, gsize fallback)
{
  return value != 0 ? value : fallback;
}

static void
apply_settings (GrpcChannel *self, const GrpcChannelSettings *settings)
{
  GrpcShared *shared = self->shared;

  self->timeout_ms = (guint)or_default (settings->timeout_ms, 60000);
  self->connect_ms = (guint)or_default (settings->connect_ms, 5000);
  shared->max_message = or_default (settings->max_message, 16 * 1024 * 1024);
  shared->max_send_message = 16 * 1024 * 1024;
  shared->max_metadata = or_default (settings->max_metadata, 64 * 1024);
  shared->max_send_queue = or_default (settings->max_send_queue, 1024 * 1024);
  shared->max_calls = (guint)MIN (or_default (settings->max_calls, 4096), G_MAXINT / 2);
  shared->max_buffered = G_MAXSSIZE; /* bounded by calls and messages: we have asked for them */
  shared->max_queued = G_MAXINT;
  shared->max_streams = 0; /* a server opens none */
  shared->window = (guint)MIN (or_default (settings->window, 256 * 1024), G_MAXINT32);
  shared->keepalive_ms = settings->keepalive_ms;
  shared->keepalive_timeout_ms = (guint)or_default (settings->keepalive_timeout_ms, 20000);
}

static void
run_close (GrpcTask *task)
{
  GrpcChannel *self = (GrpcChannel *)((char *)task - G_STRUCT_OFFSET (GrpcChannel, close_task));
  GrpcCall *call;

  self->closing = TRUE;
  set_trouble (self, "the channel is closed");
  while ((call = g_queue_pop_head (&self->waiting)) != NULL)
    {
      grpc_call_over (call, GANTRY_ERROR_CANCELLED,
                      g_error_new (GANTRY_ERROR, GANTRY_ERROR_CANCELLED, "the channel to %s is closed",
                                   self->address));
      grpc_call_unref (call);
    }
  for (GList *l = self->conns.head; l != NULL; l = l->next)
    {
      GrpcConn *conn = l->data;

      for (GList *c = conn->calls.head; c != NULL; c = c->next)
        grpc_call_over (c->data, GANTRY_ERROR_CANCELLED,
                        g_error_new (GANTRY_ERROR, GANTRY_ERROR_CANCELLED, "the channel to %s is closed",
                                     self->address));
      grpc_conn_close (conn, "the channel is closed");
    }
}

GrpcChannel *
grpc_channel_new (const char *address, const GrpcChannelSettings *settings, GError **error)
{
  static const GrpcChannelSettings defaults;
  g_autoptr (GrpcChannel) self = g_new0 (GrpcChannel, 1);

  if (settings == NULL)
    settings = &defaults;
  self->shared = grpc_shared_new ((guint)or_default (settings->workers, 8), 0);
  self->address = g_strdup (address);
  self->backoff = FIRST_BACKOFF_US;
  self->close_task.run = run_close;
  apply_settings (self, settings);
  if (!parse_address (self, address, error) || !grpc_loop_open (self->shared->loop, error)
      || !grpc_loop_start (self->shared->loop, "grpc-client", error))
    return NULL;
  return g_steal_pointer (&self);
}

void
grpc_channel_set_state_callback (GrpcChannel *self, GrpcChannelState state, gpointer data)
{
  self->state = state;
  self->state_data = data;
}

void
grpc_channel_free (GrpcChannel *self)
{
  if (self == NULL)
    return;
  grpc_loop_post (self->shared->loop, &self->close_task);
  grpc_shared_stop (self->shared);
  grpc_shared_unref (self->shared);
  g_free (self->trouble);
  g_free (self->authority);
  g_free (self->address);
  g_free (self);
}
