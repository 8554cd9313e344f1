/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One exchange, shared by the caller's thread and the HTTP thread. The caller waits for the lock's condition;
 * its cancellable cancels the exchange, which then ends on the HTTP thread like after any failure, so there
 * is one way out.
 *
 * Members below "thread" belong to the HTTP thread, those below "lock" to whoever has the lock. The body goes
 * through a ring. */
#include "http-private.h"

#include <string.h>

#define MAX_HEADERS      200
#define MAX_HEADER_BYTES (64 * 1024)
#define MAX_READ_AT_ONCE (1024 * 1024)

struct _HttpReply
{
  gatomicrefcount refs;
  Http *http;
  GCancellable *stop;
  char *host;
  gboolean head_only;

  /* thread */
  SoupMessage *message;
  SoupSession *session;
  HttpTls *tls;
  GInputStream *stream;
  GInputStream *upload;
  GSource *readable;
  GSource *watch;
  guint connect_ms;
  gboolean bulk;
  const char *watching;  /* what takes too long if the watch fires */
  const char *timed_out; /* what did */
  guint64 seen, seen_before;

  /* lock */
  GMutex lock;
  GCond cond;
  gboolean answered, finished, paused;
  GError *failure;
  guint status;
  SoupMessageHeaders *headers;
  char *protocol;
  guint8 *ring;
  gsize head, fill;
};

static HttpReply *
reply_ref (HttpReply *self)
{
  g_atomic_ref_count_inc (&self->refs);
  return self;
}

static void
reply_unref (gpointer data)
{
  HttpReply *self = data;

  if (!g_atomic_ref_count_dec (&self->refs))
    return;
  g_object_unref (self->stop);
  g_clear_error (&self->failure);
  g_clear_pointer (&self->headers, soup_message_headers_unref);
  http_tls_unref (self->tls);
  g_free (self->protocol);
  g_free (self->host);
  g_free (self->ring);
  g_mutex_clear (&self->lock);
  g_cond_clear (&self->cond);
  g_free (self);
}

static void
clear_source (GSource **source)
{
  if (*source != NULL)
    g_source_destroy (*source);
  g_clear_pointer (source, g_source_unref);
}

/* Lets go of everything that lives on the thread. */
static void
drop_thread_side (HttpReply *self)
{
  clear_source (&self->readable);
  clear_source (&self->watch);
  if (self->upload != NULL)
    http_fd_stream_detach (self->upload);
  g_clear_object (&self->upload);
  if (self->stream != NULL)
    g_input_stream_close_async (self->stream, G_PRIORITY_DEFAULT, NULL, NULL, NULL);
  g_clear_object (&self->stream);
  if (self->message != NULL)
    g_signal_handlers_disconnect_by_data (self->message, self);
  g_clear_object (&self->message);
  g_clear_object (&self->session);
}

/* Says what libsoup, TLS and sockets say in our classes. */
static GError *
translate (HttpReply *self, const GError *error)
{
  int code = GANTRY_ERROR_UNAVAILABLE;

  if (self->timed_out != NULL)
    return g_error_new (GANTRY_ERROR, GANTRY_ERROR_DEADLINE_EXCEEDED, "%s", self->timed_out);
  if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    code = GANTRY_ERROR_CANCELLED;
  else if (g_error_matches (error, G_TLS_ERROR, G_TLS_ERROR_BAD_CERTIFICATE)
           || g_error_matches (error, G_TLS_ERROR, G_TLS_ERROR_CERTIFICATE_REQUIRED))
    code = GANTRY_ERROR_FAILED_PRECONDITION;
  else if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED) || error->domain == G_URI_ERROR)
    code = GANTRY_ERROR_NOT_IMPLEMENTED;
  return g_error_new (GANTRY_ERROR, code, "%s", error->message);
}

/* Ends the exchange: @error is NULL if all is there. */
static void
finish (HttpReply *self, const GError *error)
{
  drop_thread_side (self);
  g_mutex_lock (&self->lock);
  if (!self->finished && error != NULL)
    self->failure = translate (self, error);
  self->finished = TRUE;
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->lock);
}

/* Deadlines. */

static gboolean
on_late (gpointer data)
{
  HttpReply *self = data;

  g_autoptr (GError) late = g_error_new_literal (G_IO_ERROR, G_IO_ERROR_CANCELLED, "it took too long");

  self->timed_out = self->watching;
  clear_source (&self->watch);
  g_cancellable_cancel (self->stop);
  /* libsoup 3.2 may never end a send whose TLS handshake the peer has broken off, not even a cancelled one.
   */
  if (self->stream == NULL)
    finish (self, late);
  return G_SOURCE_REMOVE;
}

static gboolean
on_rate (gpointer data)
{
  HttpReply *self = data;
  guint64 wanted = self->http->settings.minimum_rate * self->http->settings.stall_ms / 1000;

  if (self->seen - self->seen_before < MAX (wanted, 1))
    return on_late (data);
  self->seen_before = self->seen;
  return G_SOURCE_CONTINUE;
}

static void
start_watch (HttpReply *self, guint milliseconds, GSourceFunc func, const char *what)
{
  clear_source (&self->watch);
  self->watching = what;
  self->seen_before = self->seen;
  self->watch = g_timeout_source_new (milliseconds);
  g_source_set_callback (self->watch, func, self, NULL);
  g_source_attach (self->watch, self->http->context);
}

static void
watch_rate (HttpReply *self)
{
  start_watch (self, self->http->settings.stall_ms, on_rate,
               "the transfer is slower than the configured minimum");
}

/* What libsoup tells on the way. */

static void
on_network_event (SoupMessage *message, GSocketClientEvent event, GIOStream *connection, gpointer data)
{
  static const char *const http1[] = { "http/1.1", NULL };
  HttpReply *self = data;

  if (event == G_SOCKET_CLIENT_RESOLVING)
    start_watch (self, self->connect_ms, on_late, "no connection came about in time");
  else if (event == G_SOCKET_CLIENT_TLS_HANDSHAKING && self->bulk && G_IS_TLS_CONNECTION (connection))
    g_tls_connection_set_advertised_protocols (G_TLS_CONNECTION (connection), http1);
}

static void
on_starting (SoupMessage *message, gpointer data)
{
  HttpReply *self = data;

  if (self->upload != NULL)
    watch_rate (self);
  else
    start_watch (self, self->http->settings.answer_ms, on_late, "no answer came in time");
}

static void
on_wrote_data (SoupMessage *message, guint size, gpointer data)
{
  ((HttpReply *)data)->seen += size;
}

static void
on_wrote_body (SoupMessage *message, gpointer data)
{
  HttpReply *self = data;

  start_watch (self, self->http->settings.answer_ms, on_late, "no answer came in time");
}

static gboolean
on_certificate (SoupMessage *message, GTlsCertificate *certificate, GTlsCertificateFlags errors,
                gpointer data)
{
  HttpReply *self = data;

  return http_tls_accepts (self->tls, certificate, self->host);
}

/* The body. */

static void pump (HttpReply *self);

static gboolean
on_readable (GObject *stream, gpointer data)
{
  HttpReply *self = data;

  clear_source (&self->readable);
  pump (self);
  return G_SOURCE_REMOVE;
}

/* The free part of the ring that lies in one piece. */
static guint8 *
get_room (HttpReply *self, gsize *ret_size)
{
  gsize tail;

  g_mutex_lock (&self->lock);
  tail = (self->head + self->fill) % HTTP_BUFFER;
  *ret_size = MIN (HTTP_BUFFER - self->fill, HTTP_BUFFER - tail);
  self->paused = *ret_size == 0;
  g_mutex_unlock (&self->lock);
  return self->ring + tail;
}

static void
put (HttpReply *self, gsize size)
{
  self->seen += size;
  g_mutex_lock (&self->lock);
  self->fill += size;
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->lock);
}

static void
wait_readable (HttpReply *self)
{
  clear_source (&self->readable);
  self->readable = g_pollable_input_stream_create_source (G_POLLABLE_INPUT_STREAM (self->stream), self->stop);
  g_source_set_callback (self->readable, G_SOURCE_FUNC (on_readable), reply_ref (self), reply_unref);
  g_source_attach (self->readable, self->http->context);
}

static gboolean
on_turn (gpointer data)
{
  HttpReply *self = data;

  clear_source (&self->readable);
  pump (self);
  return G_SOURCE_REMOVE;
}

static void
read_on_later (HttpReply *self)
{
  clear_source (&self->readable);
  self->readable = g_idle_source_new ();
  g_source_set_priority (self->readable, G_PRIORITY_DEFAULT);
  g_source_set_callback (self->readable, on_turn, reply_ref (self), reply_unref);
  g_source_attach (self->readable, self->http->context);
}

/* Reads what is there, as long as there is room. */
static void
pump (HttpReply *self)
{
  gsize total = 0;

  while (self->stream != NULL)
    {
      g_autoptr (GError) error = NULL;
      gsize size;
      guint8 *room = get_room (self, &size);
      gssize n;

      if (size == 0)
        {
          /* Whoever takes the data goes on; the peer is not slow meanwhile. */
          clear_source (&self->watch);
          return;
        }
      n = g_pollable_input_stream_read_nonblocking (G_POLLABLE_INPUT_STREAM (self->stream), room, size,
                                                    self->stop, &error);
      if (n == 0 || (n < 0 && !g_error_matches (error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK)))
        {
          finish (self, error);
          return;
        }
      if (n > 0)
        put (self, (gsize)n);
      total += n > 0 ? (gsize)n : 0;
      if (n < 0)
        {
          wait_readable (self);
          return;
        }
      /* Others have their turn too. Not by waiting for more: what has been read may be all, and the end comes
       * with no more bytes. */
      if (total >= MAX_READ_AT_ONCE)
        {
          read_on_later (self);
          return;
        }
    }
}

static gboolean
resume (gpointer data)
{
  HttpReply *self = data;

  if (self->stream != NULL && self->readable == NULL)
    {
      if (self->watch == NULL)
        watch_rate (self);
      pump (self);
    }
  return G_SOURCE_REMOVE;
}

/* The answer. */

static SoupMessageHeaders *
copy_headers (SoupMessageHeaders *from, GError **error)
{
  g_autoptr (SoupMessageHeaders) copy = soup_message_headers_new (SOUP_MESSAGE_HEADERS_RESPONSE);
  SoupMessageHeadersIter iter;
  const char *name, *value;
  gsize bytes = 0, n = 0;

  soup_message_headers_iter_init (&iter, from);
  while (soup_message_headers_iter_next (&iter, &name, &value))
    {
      bytes += strlen (name) + strlen (value);
      if (++n > MAX_HEADERS || bytes > MAX_HEADER_BYTES)
        {
          g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                       "the header of the answer has more than %d lines or %d bytes", MAX_HEADERS,
                       MAX_HEADER_BYTES);
          return NULL;
        }
      soup_message_headers_append (copy, name, value);
    }
  return g_steal_pointer (&copy);
}

static const char *
tls_name (SoupMessage *message)
{
  switch (soup_message_get_tls_protocol_version (message))
    {
    case G_TLS_PROTOCOL_VERSION_TLS_1_3:
      return "TLS 1.3, ";
    case G_TLS_PROTOCOL_VERSION_TLS_1_2:
      return "TLS 1.2, ";
    case G_TLS_PROTOCOL_VERSION_UNKNOWN:
      return "";
    default:
      return "TLS, ";
    }
}

static void
on_sent (GObject *source, GAsyncResult *result, gpointer data)
{
  g_autoptr (GError) error = NULL;
  HttpReply *self = data;
  g_autoptr (SoupMessageHeaders) headers = NULL;
  SoupHTTPVersion version;

  self->stream = soup_session_send_finish (SOUP_SESSION (source), result, &error);
  clear_source (&self->watch);
  if (self->message == NULL)
    {
      /* It was given up meanwhile. */
      drop_thread_side (self);
      reply_unref (self);
      return;
    }
  if (self->upload != NULL)
    http_fd_stream_detach (self->upload);
  if (self->stream != NULL)
    headers = copy_headers (soup_message_get_response_headers (self->message), &error);
  if (headers == NULL)
    {
      finish (self, error);
      reply_unref (self);
      return;
    }
  version = soup_message_get_http_version (self->message);
  g_mutex_lock (&self->lock);
  self->status = soup_message_get_status (self->message);
  self->headers = g_steal_pointer (&headers);
  self->protocol = g_strconcat (tls_name (self->message),
                                version == SOUP_HTTP_2_0   ? "HTTP/2"
                                : version == SOUP_HTTP_1_1 ? "HTTP/1.1"
                                                           : "HTTP/1.0",
                                NULL);
  self->answered = TRUE;
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->lock);
  if (!G_IS_POLLABLE_INPUT_STREAM (self->stream)
      || !g_pollable_input_stream_can_poll (G_POLLABLE_INPUT_STREAM (self->stream)))
    {
      error = g_error_new_literal (G_IO_ERROR, G_IO_ERROR_FAILED, "the body's stream can't be polled");
      finish (self, error);
    }
  else
    {
      self->ring = g_malloc (HTTP_BUFFER);
      watch_rate (self);
      pump (self);
    }
  reply_unref (self);
}

static gboolean
start (gpointer data)
{
  HttpReply *self = data;

  g_signal_connect (self->message, "network-event", G_CALLBACK (on_network_event), self);
  g_signal_connect (self->message, "starting", G_CALLBACK (on_starting), self);
  g_signal_connect (self->message, "wrote-body-data", G_CALLBACK (on_wrote_data), self);
  g_signal_connect (self->message, "wrote-body", G_CALLBACK (on_wrote_body), self);
  g_signal_connect (self->message, "accept-certificate", G_CALLBACK (on_certificate), self);
  self->session = g_object_ref (http_get_session (self->http, self->tls, self->bulk));
  soup_session_send_async (self->session, self->message, G_PRIORITY_DEFAULT, self->stop, on_sent,
                           reply_ref (self));
  return G_SOURCE_REMOVE;
}

static gboolean
abandon (gpointer data)
{
  HttpReply *self = data;

  g_autoptr (GError) given_up = g_error_new_literal (G_IO_ERROR, G_IO_ERROR_CANCELLED, "it was cancelled");

  g_cancellable_cancel (self->stop);
  /* As for on_late. */
  finish (self, self->stream != NULL ? NULL : given_up);
  return G_SOURCE_REMOVE;
}

static void
invoke (HttpReply *self, GSourceFunc func)
{
  g_autoptr (GSource) source = g_idle_source_new ();

  g_source_set_priority (source, G_PRIORITY_DEFAULT);
  g_source_set_callback (source, func, reply_ref (self), reply_unref);
  g_source_attach (source, self->http->context);
}

static void
add_header (const char *name, const char *value, gpointer data)
{
  soup_message_headers_append (data, name, value);
}

/* The peer wants to know who we are. */
static gboolean
on_request_certificate (SoupMessage *message, GTlsClientConnection *connection, gpointer user_data)
{
  soup_message_set_tls_client_certificate (message, http_tls_choose (user_data, connection));
  return TRUE;
}

static HttpReply *
reply_new (Http *http, const HttpRequest *request, GError **error)
{
  g_autoptr (GUri) uri = g_uri_parse (request->url, SOUP_HTTP_URI_FLAGS, NULL);
  HttpReply *self;

  if (uri == NULL || g_uri_get_host (uri) == NULL)
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "\"%.300s\" is no URL", request->url);
      return NULL;
    }
  self = g_new0 (HttpReply, 1);
  g_atomic_ref_count_init (&self->refs);
  g_mutex_init (&self->lock);
  g_cond_init (&self->cond);
  self->http = http;
  self->stop = g_cancellable_new ();
  self->host = g_strdup (g_uri_get_host (uri));
  self->tls = http_tls_ref (request->tls);
  self->bulk = request->bulk;
  self->connect_ms = request->connect_ms != 0 ? request->connect_ms : http->settings.connect_ms;
  self->head_only = strcmp (request->method, "HEAD") == 0;
  self->message = soup_message_new_from_uri (request->method, uri);
  soup_message_set_flags (self->message, SOUP_MESSAGE_NO_REDIRECT | SOUP_MESSAGE_DO_NOT_USE_AUTH_CACHE);
  if (self->tls->clients->len > 0)
    g_signal_connect (self->message, "request-certificate", G_CALLBACK (on_request_certificate), self->tls);
  if (request->headers != NULL)
    soup_message_headers_foreach (request->headers, add_header,
                                  soup_message_get_request_headers (self->message));
  if (request->body != NULL)
    soup_message_set_request_body_from_bytes (self->message, request->content_type, request->body);
  else if (request->has_fd)
    {
      self->upload = http_fd_stream_new (request->fd, request->offset, request->length, request->progress,
                                         request->user_data);
      soup_message_set_request_body (self->message, request->content_type, self->upload,
                                     (gssize)request->length);
    }
  return self;
}

static gboolean
stop (gpointer data)
{
  g_cancellable_cancel (((HttpReply *)data)->stop);
  return G_SOURCE_REMOVE;
}

/* Not here: GIO's sources that wait for a cancellable are not safe (GLib 2.74) from one that is cancelled on
 * another thread while they end. */
static void
on_cancelled (GCancellable *cancellable, gpointer data)
{
  invoke (data, stop);
}

/* Waits for what @ready tells; the caller's cancellable stops the exchange, which then is finished. With the
 * lock. */
static void
wait_for (HttpReply *self, gboolean (*ready) (HttpReply *self), GCancellable *cancellable)
{
  gulong id;

  if (ready (self))
    return;
  g_mutex_unlock (&self->lock);
  id = cancellable != NULL
           ? g_cancellable_connect (cancellable, G_CALLBACK (on_cancelled), reply_ref (self), reply_unref)
           : 0;
  g_mutex_lock (&self->lock);
  while (!ready (self))
    g_cond_wait (&self->cond, &self->lock);
  g_mutex_unlock (&self->lock);
  if (id != 0)
    g_cancellable_disconnect (cancellable, id);
  g_mutex_lock (&self->lock);
}

static gboolean
has_answer (HttpReply *self)
{
  return self->answered || self->finished;
}

static gboolean
has_data (HttpReply *self)
{
  return self->fill > 0 || self->finished;
}

HttpReply *
http_send (Http *http, const HttpRequest *request, GCancellable *cancellable, GError **error)
{
  g_autoptr (HttpReply) self = NULL;
  gboolean answered;

  if (g_cancellable_set_error_if_cancelled (cancellable, error))
    return NULL;
  self = reply_new (http, request, error);
  if (self == NULL)
    return NULL;
  http_start_thread (http);
  invoke (self, start);
  g_mutex_lock (&self->lock);
  wait_for (self, has_answer, cancellable);
  answered = self->answered;
  if (!answered)
    g_propagate_error (error, g_error_copy (self->failure));
  g_mutex_unlock (&self->lock);
  return answered ? g_steal_pointer (&self) : NULL;
}

/* Takes from the ring, which has something. With the lock. */
static gsize
take (HttpReply *self, guint8 *buffer, gsize size)
{
  gsize done = 0;

  while (done < size && self->fill > 0)
    {
      gsize n = MIN (MIN (size - done, self->fill), HTTP_BUFFER - self->head);

      memcpy (buffer + done, self->ring + self->head, n);
      self->head = (self->head + n) % HTTP_BUFFER;
      self->fill -= n;
      done += n;
    }
  return done;
}

gssize
http_reply_read (HttpReply *self, void *buffer, gsize size, GCancellable *cancellable, GError **error)
{
  gssize n = 0;
  gboolean wake = FALSE;

  if (g_cancellable_set_error_if_cancelled (cancellable, error))
    return -1;
  g_mutex_lock (&self->lock);
  wait_for (self, has_data, cancellable);
  if (self->fill > 0)
    n = (gssize)take (self, buffer, size);
  else if (self->failure != NULL)
    {
      g_propagate_error (error, g_error_copy (self->failure));
      n = -1;
    }
  if (self->paused && !self->finished && self->fill <= HTTP_BUFFER / 2)
    {
      self->paused = FALSE;
      wake = TRUE;
    }
  g_mutex_unlock (&self->lock);
  if (wake)
    invoke (self, resume);
  return n;
}

GBytes *
http_reply_read_all (HttpReply *self, gsize limit, GCancellable *cancellable, GError **error)
{
  g_autoptr (GByteArray) all = g_byte_array_new ();
  g_autofree guint8 *chunk = g_malloc (64 * 1024);
  gssize n;

  while ((n = http_reply_read (self, chunk, 64 * 1024, cancellable, error)) > 0)
    {
      if (all->len + (gsize)n > limit)
        {
          gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED,
                        "the answer is larger than %" G_GSIZE_FORMAT " bytes", limit);
          return NULL;
        }
      g_byte_array_append (all, chunk, (guint)n);
    }
  return n == 0 ? g_byte_array_free_to_bytes (g_steal_pointer (&all)) : NULL;
}

void
http_reply_free (HttpReply *self)
{
  if (self == NULL)
    return;
  /* What has ended took its connection's side down already. */
  invoke (self, abandon);
  reply_unref (self);
}

guint
http_reply_get_status (HttpReply *self)
{
  return self->status;
}

const char *
http_reply_get_header (HttpReply *self, const char *name)
{
  return soup_message_headers_get_one (self->headers, name);
}

char **
http_reply_get_headers (HttpReply *self, const char *wanted)
{
  GPtrArray *values = g_ptr_array_new ();
  SoupMessageHeadersIter iter;
  const char *name, *value;

  soup_message_headers_iter_init (&iter, self->headers);
  while (soup_message_headers_iter_next (&iter, &name, &value))
    if (g_ascii_strcasecmp (name, wanted) == 0)
      g_ptr_array_add (values, g_strdup (value));
  g_ptr_array_add (values, NULL);
  return (char **)g_ptr_array_free (values, FALSE);
}

gboolean
http_reply_get_length (HttpReply *self, guint64 *ret_length)
{
  const char *text = http_reply_get_header (self, "Content-Length");

  return text != NULL && g_ascii_string_to_unsigned (text, 10, 0, G_MAXINT64, ret_length, NULL);
}

const char *
http_reply_get_protocol (HttpReply *self)
{
  return self->protocol;
}
