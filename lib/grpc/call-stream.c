/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The stream's side of a call: what comes from HTTP/2 and what goes to it. Everything here runs on the I/O
 * thread.
 */
#include <string.h>

#include "conn.h"
#include "metadata.h"

/* Ends */

static void
fire_deadline (GrpcTimer *timer)
{
  GrpcCall *self = (GrpcCall *)((char *)timer - G_STRUCT_OFFSET (GrpcCall, timer));
  GError *error
      = g_error_new (GANTRY_ERROR, GANTRY_ERROR_DEADLINE_EXCEEDED, "the deadline of %s is over", self->path);

  grpc_call_abort (self, GANTRY_ERROR_DEADLINE_EXCEEDED, error);
}

void
grpc_call_set_deadline (GrpcCall *self, gint64 deadline)
{
  self->deadline = deadline;
  self->timer.fire = fire_deadline;
  if (deadline != G_MAXINT64)
    grpc_loop_set_timer (self->shared->loop, &self->timer, deadline);
}

void
grpc_call_attach (GrpcCall *self, GrpcConn *conn)
{
  self->conn = conn;
  g_queue_push_tail_link (&conn->calls, &self->conn_link);
  self->has_peer = conn->has_peer;
  self->pid = conn->pid;
  self->uid = conn->uid;
  self->gid = conn->gid;
  grpc_call_ref (self);
}

/* Nothing can be sent or received any more. Drops the connection's reference. */
static void
leave (GrpcCall *self)
{
  GrpcConn *conn = g_steal_pointer (&self->conn);

  g_queue_unlink (&conn->calls, &self->conn_link);
  grpc_loop_clear_timer (self->shared->loop, &self->timer);
  g_mutex_lock (&self->lock);
  g_queue_clear_full (&self->out, (GDestroyNotify)g_bytes_unref);
  self->out_bytes = 0;
  g_mutex_unlock (&self->lock);
  grpc_call_unref (self);
  grpc_conn_call_left (conn);
}

static void
reset_stream (GrpcCall *self, guint32 error_code)
{
  if (self->conn == NULL || self->stream <= 0)
    return;
  nghttp2_submit_rst_stream (self->conn->session, NGHTTP2_FLAG_NONE, self->stream, error_code);
  grpc_conn_touch (self->conn);
}

void
grpc_call_abort (GrpcCall *self, GantryErrorCode reason, GError *error)
{
  gboolean within_message = FALSE, finished;

  self->refused = TRUE;
  g_mutex_lock (&self->lock);
  finished = self->finished && self->trailers_sent;
  if (!finished && self->server)
    {
      within_message = self->out_offset > 0 || self->packed > 0;
      if (!within_message)
        {
          g_queue_clear_full (&self->out, (GDestroyNotify)g_bytes_unref);
          self->out_bytes = 0;
        }
      self->finished = TRUE;
      self->status = gantry_error_code_to_grpc (error->code);
      g_free (self->message);
      self->message = g_strdup (error->message);
    }
  g_mutex_unlock (&self->lock);
  grpc_call_over (self, reason, error);
  if (!self->server || within_message)
    reset_stream (self, NGHTTP2_CANCEL);
  else
    grpc_call_pump (self);
}

void
grpc_call_refuse (GrpcCall *self, int status, const char *format, ...)
{
  va_list args;

  self->refused = TRUE;
  g_mutex_lock (&self->lock);
  self->finished = TRUE;
  self->status = status;
  va_start (args, format);
  self->message = g_strdup_vprintf (format, args);
  va_end (args);
  g_mutex_unlock (&self->lock);
  grpc_call_pump (self);
}

/* Output */

static nghttp2_nv
make_nv (const char *name, const char *value)
{
  return (nghttp2_nv){ (guint8 *)name, (guint8 *)value, strlen (name), strlen (value), NGHTTP2_NV_FLAG_NONE };
}

static void
add_nv (GArray *nvs, const char *name, const char *value)
{
  nghttp2_nv nv = make_nv (name, value);

  g_array_append_val (nvs, nv);
}

static void
add_metadata (GArray *nvs, const GrpcMetadata *metadata)
{
  const char *name, *value;

  for (guint i = 0; metadata != NULL && i < grpc_metadata_get_n (metadata); i++)
    {
      grpc_metadata_get_pair (metadata, i, &name, &value);
      add_nv (nvs, name, value);
    }
}

/* The strings that a status is made of, for as long as it takes to submit them. */
typedef struct
{
  char code[12];
  char *message;
  char *details;
} StatusText;

/* Under lock. */
static void
add_status (GrpcCall *self, GArray *nvs, StatusText *text)
{
  g_snprintf (text->code, sizeof text->code, "%d", self->status);
  add_nv (nvs, "grpc-status", text->code);
  if (self->message != NULL && self->message[0] != '\0')
    {
      text->message = grpc_wire_encode_message (self->message);
      add_nv (nvs, "grpc-message", text->message);
    }
  if (self->details != NULL)
    {
      text->details = grpc_wire_encode_base64 (self->details);
      add_nv (nvs, "grpc-status-details-bin", text->details);
    }
  add_metadata (nvs, self->trailers);
}

static void
status_text_clear (StatusText *text)
{
  g_free (text->message);
  g_free (text->details);
}

void
grpc_call_refuse_http (GrpcCall *self, int http_status)
{
  char status[12];
  nghttp2_nv nv;

  g_snprintf (status, sizeof status, "%d", http_status);
  nv = make_nv (":status", status);
  self->refused = TRUE;
  self->submitted = TRUE;
  self->trailers_sent = TRUE;
  nghttp2_submit_response (self->conn->session, self->stream, &nv, 1, NULL);
  grpc_conn_touch (self->conn);
}

/* A response without messages is one block of headers. Under lock. */
static void
submit_status_only (GrpcCall *self)
{
  g_autoptr (GArray) nvs = g_array_sized_new (FALSE, FALSE, sizeof (nghttp2_nv), 8);
  StatusText text = { 0 };

  add_nv (nvs, ":status", "200");
  add_nv (nvs, "content-type", "application/grpc");
  if (self->is_compressed)
    add_nv (nvs, "grpc-accept-encoding", "identity");
  add_status (self, nvs, &text);
  self->submitted = TRUE;
  self->trailers_sent = TRUE;
  nghttp2_submit_response (self->conn->session, self->stream, (nghttp2_nv *)nvs->data, nvs->len, NULL);
  status_text_clear (&text);
}

/* Under lock. */
static void
submit_trailers (GrpcCall *self)
{
  g_autoptr (GArray) nvs = g_array_sized_new (FALSE, FALSE, sizeof (nghttp2_nv), 8);
  StatusText text = { 0 };

  add_status (self, nvs, &text);
  self->trailers_sent = TRUE;
  nghttp2_submit_trailer (self->conn->session, self->stream, (nghttp2_nv *)nvs->data, nvs->len);
  status_text_clear (&text);
}

/* How much of the queue fits into @length. Under lock. */
static gsize
measure_output (GrpcCall *self, gsize length, gboolean *ret_all)
{
  gsize total = self->out_bytes - self->out_offset;

  *ret_all = total <= length;
  return MIN (total, length);
}

static ssize_t
read_output (nghttp2_session *session, int32_t stream, uint8_t *buffer, size_t length, uint32_t *flags,
             nghttp2_data_source *source, void *user_data)
{
  GrpcCall *self = source->ptr;
  gboolean all;
  gsize n;

  g_mutex_lock (&self->lock);
  n = measure_output (self, length, &all);
  if (n == 0 && !self->finished)
    {
      self->deferred = TRUE;
      g_mutex_unlock (&self->lock);
      return NGHTTP2_ERR_DEFERRED;
    }
  self->packed = n;
  *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  if (all && self->finished)
    {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
      if (self->server)
        {
          *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
          submit_trailers (self);
        }
    }
  g_mutex_unlock (&self->lock);
  return (ssize_t)n;
}

/* Copies what read_output () measured; the queue's front may be taken in parts. */
void
grpc_call_copy_output (GrpcCall *self, guint8 *out, gsize length)
{
  gboolean writable = FALSE;

  g_mutex_lock (&self->lock);
  self->packed = 0;
  while (length > 0)
    {
      GBytes *front = g_queue_peek_head (&self->out);
      gsize size, n;
      const guint8 *data = g_bytes_get_data (front, &size);

      if (self->out_offset < GRPC_PREFIX)
        {
          guint8 prefix[GRPC_PREFIX];

          grpc_wire_write_prefix (prefix, size);
          n = MIN (length, GRPC_PREFIX - self->out_offset);
          memcpy (out, prefix + self->out_offset, n);
        }
      else
        {
          n = MIN (length, size + GRPC_PREFIX - self->out_offset);
          memcpy (out, data + self->out_offset - GRPC_PREFIX, n);
        }
      out += n;
      length -= n;
      self->out_offset += n;
      if (self->out_offset == size + GRPC_PREFIX)
        {
          self->out_offset = 0;
          self->out_bytes -= size + GRPC_PREFIX;
          g_bytes_unref (g_queue_pop_head (&self->out));
        }
    }
  if (self->want_writable && self->out_bytes <= self->shared->max_send_queue / 2)
    {
      self->want_writable = FALSE;
      self->writable = writable = !self->over;
    }
  g_mutex_unlock (&self->lock);
  if (writable)
    grpc_call_wake (self);
}

static nghttp2_data_provider
output_of (GrpcCall *self)
{
  return (nghttp2_data_provider){ .source.ptr = self, .read_callback = read_output };
}

/* Under lock. */
static void
submit_response (GrpcCall *self)
{
  g_autoptr (GArray) nvs = g_array_sized_new (FALSE, FALSE, sizeof (nghttp2_nv), 4);
  nghttp2_data_provider provider = output_of (self);

  add_nv (nvs, ":status", "200");
  add_nv (nvs, "content-type", "application/grpc");
  add_metadata (nvs, self->headers);
  self->headers_wanted = TRUE; /* nothing can be added any more */
  self->submitted = TRUE;
  nghttp2_submit_response (self->conn->session, self->stream, (nghttp2_nv *)nvs->data, nvs->len, &provider);
}

static void
pump_output (GrpcCall *self)
{
  gboolean something;

  g_mutex_lock (&self->lock);
  something = self->out_bytes > 0 || self->finished;
  if (self->server && !self->submitted)
    {
      if (self->finished && self->out_bytes == 0 && !self->headers_wanted && self->headers == NULL)
        submit_status_only (self);
      else if (something || self->headers_wanted)
        submit_response (self);
    }
  else if (self->deferred && something)
    {
      self->deferred = FALSE;
      nghttp2_session_resume_data (self->conn->session, self->stream);
    }
  g_mutex_unlock (&self->lock);
  grpc_conn_touch (self->conn);
}

void
grpc_call_submit (GrpcCall *self, const char *authority)
{
  g_autoptr (GArray) nvs = g_array_sized_new (FALSE, FALSE, sizeof (nghttp2_nv), 12);
  nghttp2_data_provider provider = output_of (self);
  char timeout[16];

  add_nv (nvs, ":method", "POST");
  add_nv (nvs, ":scheme", "http");
  add_nv (nvs, ":path", self->path);
  add_nv (nvs, ":authority", authority);
  add_nv (nvs, "te", "trailers");
  add_nv (nvs, "content-type", "application/grpc");
  add_nv (nvs, "user-agent", "gantry/" GANTRY_VERSION);
  if (self->deadline != G_MAXINT64)
    {
      grpc_wire_format_timeout (self->deadline - grpc_loop_now (self->shared->loop), timeout);
      add_nv (nvs, "grpc-timeout", timeout);
    }
  add_metadata (nvs, self->headers);
  self->submitted = TRUE;
  self->stream = nghttp2_submit_request (self->conn->session, NULL, (nghttp2_nv *)nvs->data, nvs->len,
                                         &provider, self);
  if (self->stream < 0)
    grpc_call_abort (self, GANTRY_ERROR_UNAVAILABLE,
                     g_error_new (GANTRY_ERROR, GANTRY_ERROR_UNAVAILABLE,
                                  "the connection takes no more calls: %s", nghttp2_strerror (self->stream)));
  grpc_conn_touch (self->conn);
}

void
grpc_call_begin (GrpcCall *self)
{
  if (self->timeout >= 0)
    grpc_call_set_deadline (self, g_get_monotonic_time () + self->timeout);
  if (g_atomic_int_get (&self->shared->n_queued) >= (gint)self->shared->max_queued)
    {
      grpc_call_refuse (self, GRPC_STATUS_RESOURCE_EXHAUSTED, "too many calls wait; try again later");
      return;
    }
  self->inline_events = (self->method.flags & GRPC_METHOD_QUICK) != 0;
  g_mutex_lock (&self->lock);
  if (self->method.open != NULL)
    self->start = TRUE;
  else
    self->demand = 2; /* so that a second one is noticed */
  g_mutex_unlock (&self->lock);
  if (self->method.open != NULL)
    grpc_call_wake (self);
}

/* A client's end of the stream */

static GantryErrorCode
code_of_reset (guint32 error_code)
{
  switch (error_code)
    {
    case NGHTTP2_REFUSED_STREAM:
      return GANTRY_ERROR_UNAVAILABLE;
    case NGHTTP2_CANCEL:
      return GANTRY_ERROR_CANCELLED;
    case NGHTTP2_ENHANCE_YOUR_CALM:
      return GANTRY_ERROR_RESOURCE_EXHAUSTED;
    case NGHTTP2_INADEQUATE_SECURITY:
      return GANTRY_ERROR_PERMISSION_DENIED;
    default:
      return GANTRY_ERROR_INTERNAL;
    }
}

/* doc/http-grpc-status-mapping.md */
static GantryErrorCode
code_of_http (int status)
{
  switch (status)
    {
    case 400:
      return GANTRY_ERROR_INTERNAL;
    case 401:
      return GANTRY_ERROR_UNAUTHENTICATED;
    case 403:
      return GANTRY_ERROR_PERMISSION_DENIED;
    case 404:
      return GANTRY_ERROR_NOT_IMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
      return GANTRY_ERROR_UNAVAILABLE;
    default:
      return GANTRY_ERROR_UNKNOWN;
    }
}

static GError *
make_client_error (GrpcCall *self, guint32 error_code)
{
  if (self->has_status && self->status == GRPC_STATUS_OK && self->in.n_prefix == 0)
    return NULL;
  if (self->has_status && self->status == GRPC_STATUS_OK)
    return g_error_new (GANTRY_ERROR, GANTRY_ERROR_INTERNAL, "the answer of %s ends within a message",
                        self->path);
  if (self->has_status)
    return g_error_new (GANTRY_ERROR, (int)gantry_error_code_from_grpc (self->status), "%s",
                        self->message != NULL ? self->message : "the server gave no message");
  if (self->http_status != 0 && self->http_status != 200)
    return g_error_new (GANTRY_ERROR, (int)code_of_http (self->http_status),
                        "the server answers %s with HTTP status %d", self->path, self->http_status);
  return g_error_new (GANTRY_ERROR, (int)code_of_reset (error_code),
                      "the server ended %s without a status (%s)", self->path,
                      nghttp2_http2_strerror (error_code));
}

/* An end that is none of failure waits until the messages before it were asked for. */
static void
try_end_client (GrpcCall *self)
{
  if (!self->gone || (self->in.stash != NULL && self->lost_error == NULL))
    return;
  grpc_call_over (self, 0, g_steal_pointer (&self->lost_error));
}

void
grpc_call_stream_closed (GrpcCall *self, guint32 error_code)
{
  GError *error = NULL;

  grpc_call_ref (self);
  leave (self);
  if (!self->server)
    {
      self->gone = TRUE;
      self->lost_error = make_client_error (self, error_code);
      if (self->lost_error != NULL && !self->has_status)
        self->status = gantry_error_code_to_grpc (self->lost_error->code);
      try_end_client (self);
    }
  else if (self->trailers_sent)
    {
      if (self->status != GRPC_STATUS_OK)
        error = g_error_new (GANTRY_ERROR, (int)gantry_error_code_from_grpc (self->status), "%s",
                             self->message != NULL ? self->message : "");
      grpc_call_over (self, 0, error);
    }
  else
    grpc_call_over (self, GANTRY_ERROR_CANCELLED,
                    g_error_new (GANTRY_ERROR, GANTRY_ERROR_CANCELLED, "the client has given up %s",
                                 self->path));
  grpc_call_unref (self);
}

void
grpc_call_lost (GrpcCall *self, const char *reason)
{
  GantryErrorCode code = self->server ? GANTRY_ERROR_CANCELLED : GANTRY_ERROR_UNAVAILABLE;

  grpc_call_ref (self);
  if (self->conn != NULL)
    leave (self);
  self->gone = TRUE;
  self->status = self->server ? self->status : GRPC_STATUS_UNAVAILABLE;
  grpc_call_over (self, code, g_error_new (GANTRY_ERROR, (int)code, "%s: %s", self->path, reason));
  grpc_call_unref (self);
}

void
grpc_call_pump (GrpcCall *self)
{
  gboolean cancelled;

  g_mutex_lock (&self->lock);
  cancelled = self->cancelled && !self->over;
  g_mutex_unlock (&self->lock);
  if (cancelled)
    {
      grpc_call_abort (self, GANTRY_ERROR_CANCELLED,
                       g_error_new (GANTRY_ERROR, GANTRY_ERROR_CANCELLED, "%s was cancelled", self->path));
      return;
    }
  grpc_call_pump_input (self);
  if (self->gone)
    try_end_client (self);
  if (self->conn != NULL && !self->trailers_sent && (self->server || self->submitted))
    pump_output (self);
  else if (self->conn != NULL)
    grpc_conn_touch (self->conn); /* for the window */
}
