/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "session.h"

#include <string.h>

/* Frames a second that ask for work and bring none: PING, SETTINGS, RST_STREAM, PRIORITY, empty DATA,
 * unknown ones. DATA makes good for two of them: grpc-go sends a PING with every message to measure the line.
 */
#define MAX_COSTLY    5000
#define COSTLY_PERIOD 1000000
#define DATA_CREDIT   2

/* nghttp2's own brakes: streams reset by the peer, a burst and then so many a second. */
#define RESET_BURST 5000
#define RESET_RATE  1000

/* The window of a whole connection: it is only there because it must; what is held back is held back on
 * streams. */
#define CONNECTION_WINDOW (16 * 1024 * 1024)

static GrpcCall *
get_call (nghttp2_session *session, gint32 stream)
{
  return nghttp2_session_get_stream_user_data (session, stream);
}

static ssize_t
on_send (nghttp2_session *session, const uint8_t *data, size_t length, int flags, void *user_data)
{
  GrpcConn *conn = user_data;
  gsize room = GRPC_TURN - conn->built, n = MIN (length, room);

  if (n == 0)
    return NGHTTP2_ERR_WOULDBLOCK;
  memcpy (grpc_loop_get_out (conn->shared->loop) + conn->built, data, n);
  conn->built += n;
  return (ssize_t)n;
}

static int
on_send_data (nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t length,
              nghttp2_data_source *source, void *user_data)
{
  GrpcConn *conn = user_data;
  guint8 *out = grpc_loop_get_out (conn->shared->loop) + conn->built;

  if (GRPC_TURN - conn->built < length + 9)
    return NGHTTP2_ERR_WOULDBLOCK;
  memcpy (out, head, 9);
  grpc_call_copy_output (source->ptr, out + 9, length);
  conn->built += length + 9;
  return 0;
}

static int
on_begin_headers (nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
  GrpcConn *conn = user_data;
  GrpcCall *call;

  if (conn->server && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
    {
      call = conn->ops->begin (conn);
      if (call == NULL)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
      call->stream = frame->hd.stream_id;
      nghttp2_session_set_stream_user_data (session, call->stream, call);
      grpc_call_attach (call, conn);
      grpc_call_unref (call);
    }
  return 0;
}

static int
on_header (nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_length,
           const uint8_t *value, size_t value_length, uint8_t flags, void *user_data)
{
  GrpcConn *conn = user_data;
  GrpcCall *call = get_call (session, frame->hd.stream_id);

  if (call != NULL && (!conn->server || frame->headers.cat == NGHTTP2_HCAT_REQUEST))
    grpc_call_header (call, (const char *)name, name_length, (const char *)value, value_length);
  return conn->broken != NULL ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static gboolean
is_costly (const nghttp2_frame_hd *head)
{
  switch (head->type)
    {
    case NGHTTP2_DATA:
      return head->length == 0 && (head->flags & NGHTTP2_FLAG_END_STREAM) == 0;
    case NGHTTP2_HEADERS:
    case NGHTTP2_CONTINUATION:
    case NGHTTP2_WINDOW_UPDATE:
      return FALSE;
    default:
      return (head->flags & NGHTTP2_FLAG_ACK) == 0;
    }
}

static gboolean
count_costly (GrpcConn *conn)
{
  gint64 now = grpc_loop_now (conn->shared->loop);

  if (now - conn->costly_since > COSTLY_PERIOD)
    {
      conn->costly_since = now;
      conn->costly = 0;
    }
  return ++conn->costly <= MAX_COSTLY;
}

static int
on_begin_frame (nghttp2_session *session, const nghttp2_frame_hd *head, void *user_data)
{
  GrpcConn *conn = user_data;

  if (head->type == NGHTTP2_DATA && head->length > 0)
    conn->costly -= MIN (conn->costly, DATA_CREDIT);
  if (is_costly (head) && !count_costly (conn))
    nghttp2_session_terminate_session (session, NGHTTP2_ENHANCE_YOUR_CALM);
  return 0;
}

static int
on_frame (nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
  GrpcConn *conn = user_data;
  GrpcCall *call = get_call (session, frame->hd.stream_id);
  gboolean end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;

  if (frame->hd.type == NGHTTP2_SETTINGS)
    grpc_conn_handshaken (conn);
  else if (frame->hd.type == NGHTTP2_GOAWAY && !conn->going_away)
    {
      conn->going_away = TRUE;
      conn->ops->going_away (conn);
    }
  else if (frame->hd.type == NGHTTP2_HEADERS && call != NULL)
    {
      if (conn->server && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        conn->ops->requested (conn, call);
      else if (!conn->server)
        grpc_call_headers_done (call, end);
    }
  if (end && call != NULL && (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA))
    grpc_call_remote_close (call);
  return 0;
}

static int
on_data (nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data, size_t length,
         void *user_data)
{
  GrpcCall *call = get_call (session, stream);

  nghttp2_session_consume_connection (session, length);
  if (call != NULL)
    grpc_call_feed (call, data, length);
  else
    nghttp2_session_consume_stream (session, stream, length);
  return 0;
}

/* A server that has answered wants no more of the request (RFC 9113, section 8.1). */
static int
on_sent (nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
  GrpcConn *conn = user_data;
  GrpcCall *call;

  if (!conn->server || frame->hd.type != NGHTTP2_HEADERS || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0)
    return 0;
  call = get_call (session, frame->hd.stream_id);
  if (call != NULL && !call->remote_closed)
    nghttp2_submit_rst_stream (session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
  return 0;
}

static int
on_stream_close (nghttp2_session *session, int32_t stream, uint32_t error_code, void *user_data)
{
  GrpcCall *call = get_call (session, stream);

  if (call != NULL)
    grpc_call_stream_closed (call, error_code);
  return 0;
}

static nghttp2_session_callbacks *
make_callbacks (void)
{
  nghttp2_session_callbacks *callbacks = NULL;

  nghttp2_session_callbacks_new (&callbacks);
  nghttp2_session_callbacks_set_send_callback (callbacks, on_send);
  nghttp2_session_callbacks_set_send_data_callback (callbacks, on_send_data);
  nghttp2_session_callbacks_set_on_begin_frame_callback (callbacks, on_begin_frame);
  nghttp2_session_callbacks_set_on_begin_headers_callback (callbacks, on_begin_headers);
  nghttp2_session_callbacks_set_on_header_callback (callbacks, on_header);
  nghttp2_session_callbacks_set_on_frame_recv_callback (callbacks, on_frame);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback (callbacks, on_data);
  nghttp2_session_callbacks_set_on_frame_send_callback (callbacks, on_sent);
  nghttp2_session_callbacks_set_on_stream_close_callback (callbacks, on_stream_close);
  return callbacks;
}

nghttp2_session *
grpc_session_new (GrpcConn *conn)
{
  nghttp2_session_callbacks *callbacks = make_callbacks ();
  nghttp2_option *option = NULL;
  nghttp2_session *session = NULL;
  nghttp2_settings_entry settings[] = {
    { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, conn->shared->window },
    { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (guint32)MIN (conn->shared->max_metadata, G_MAXUINT32) },
    { NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1 },
    { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, conn->shared->max_streams },
    { NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
  };

  nghttp2_option_new (&option);
  nghttp2_option_set_no_auto_window_update (option, 1);
  nghttp2_option_set_no_closed_streams (option, 1);
  nghttp2_option_set_stream_reset_rate_limit (option, RESET_BURST, RESET_RATE);
  if (conn->server)
    nghttp2_session_server_new2 (&session, callbacks, conn, option);
  else
    nghttp2_session_client_new2 (&session, callbacks, conn, option);
  nghttp2_option_del (option);
  nghttp2_session_callbacks_del (callbacks);
  /* ENABLE_PUSH is a client's to say. */
  nghttp2_submit_settings (session, NGHTTP2_FLAG_NONE, settings, conn->server ? 4 : 5);
  nghttp2_session_set_local_window_size (session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW);
  return session;
}

void
grpc_session_receive (GrpcConn *conn, const guint8 *data, gsize length)
{
  gssize n = nghttp2_session_mem_recv (conn->session, data, length);

  conn->heard = grpc_loop_now (conn->shared->loop);
  conn->pinged = FALSE;
  if (n == NGHTTP2_ERR_BAD_CLIENT_MAGIC)
    grpc_conn_break (conn, "the peer does not speak HTTP/2");
  else if (n < 0)
    grpc_conn_break (conn, nghttp2_strerror ((int)n));
}
