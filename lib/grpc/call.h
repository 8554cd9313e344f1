/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Calls inside. A call has three sides: the user's (any thread, under lock), its events (a worker at a time:
 * see run_events) and its stream (the I/O thread: conn, in, …). The user's side changes queues and flags and
 * *kicks* the I/O thread, which does what has become possible.
 *
 * A call is *over* when its end is decided and on_closed is due; its stream may still have a status to send.
 * It has *left* when the stream is gone too.
 */
#pragma once

#include "grpc-server.h"
#include "shared.h"
#include "wire.h"

typedef struct _GrpcConn GrpcConn;

/** Incoming bytes on their way to become messages. */
typedef struct
{
  guint8 prefix[GRPC_PREFIX];
  guint n_prefix;
  guint8 *body; /* of the message that is coming in; grows with it */
  gsize length; /* as its prefix says */
  gsize have, room;
  GByteArray *stash; /* what came beyond the demand; still counts in the stream's window */
  gsize counted;     /* bytes counted in shared->buffered: room and stash */
} GrpcInput;

struct _GrpcCall
{
  gint refs; /* atomic */
  GrpcShared *shared;
  gboolean server;
  gboolean inline_events; /* the handlers are ours and quick: they run on the I/O thread */
  char *path;
  GrpcMetadata *metadata; /* the request's; on a client the response's headers, then its trailers */
  gint64 deadline;
  GrpcMethod method; /* on a server */
  gpointer method_data;
  gboolean has_peer;
  pid_t pid;
  uid_t uid;
  gid_t gid;

  GMutex lock;
  /* All of these under lock. */
  const GrpcCallHandlers *handlers;
  gpointer data;
  GDestroyNotify destroy;
  GQueue out; /* of GBytes, prefix not included */
  gsize out_bytes;
  gboolean want_writable;
  GrpcMetadata *headers, *trailers; /* to send; on a client @trailers are what came */
  gboolean headers_wanted;
  gboolean finished; /* a server has its status, a client has closed its side */
  int status;
  char *message;
  GBytes *details;
  gboolean cancelled; /* a client has given up */
  gboolean kicked;
  GrpcTask kick;
  guint demand;      /* messages asked for that have not come */
  GBytes *request;   /* of a unary or start method */
  gboolean start;    /* event: the method is to be called */
  GQueue messages;   /* event: of GBytes */
  gboolean ended;    /* event: half-closed */
  gboolean writable; /* event */
  gboolean over;     /* event, the last */
  gboolean closed;   /* the last event has run */
  gboolean running;  /* with a worker */
  GError *error;     /* of the end */
  GantryErrorCode reason;
  GCancellable *cancellable;

  /* These on the I/O thread. */
  GrpcConn *conn;
  GList conn_link;
  gint32 stream;
  GrpcTimer timer;
  GrpcInput in;
  gsize out_offset; /* sent of the first in @out, prefix included */
  gsize header_bytes;
  guint n_header_blocks;                                            /* that have begun */
  gboolean is_post, is_grpc, is_compressed, is_garbled, is_too_big; /* what the request's headers say */
  gint64 timeout;
  int http_status; /* a client's, of the response */
  gboolean has_status;
  GError *lost_error; /* a client's, while messages are still to be asked for */
  gboolean submitted; /* headers are on their way */
  gboolean deferred;  /* nghttp2 waits for more to send */
  gsize packed;       /* bytes of @out that are in a frame that waits for the socket */
  gboolean trailers_sent;
  gboolean refused; /* nothing more is passed to the user */
  gboolean remote_closed;
  gboolean ended_told;
  gboolean gone; /* a client's stream is closed */
  guint n_messages;
};

GrpcCall *grpc_call_new (GrpcShared *shared, gboolean server);

/** Marks @self as something to be done by the I/O thread. Under lock. */
void grpc_call_kick (GrpcCall *self);

/** Lets a worker run what is to be called back, if there is anything and none does. Without lock. */
void grpc_call_wake (GrpcCall *self);

/** Runs it. The worker's reference is dropped. */
void grpc_call_run_events (GrpcCall *self);

/** Ends the user's side, on the I/O thread. @error: (transfer full) (nullable). @reason: 0 for an end that is
 * not a cancellation. */
void grpc_call_over (GrpcCall *self, GantryErrorCode reason, GError *error);

gboolean grpc_call_is_over (GrpcCall *self);

/* The stream's side (call-stream.c), on the I/O thread: */

/** The call is on @conn. Takes a reference. */
void grpc_call_attach (GrpcCall *self, GrpcConn *conn);
void grpc_call_set_deadline (GrpcCall *self, gint64 deadline);

/** A server has found the method: calls it, or lets its message come. */
void grpc_call_begin (GrpcCall *self);

/** Ends a server's call before its method was called. */
void grpc_call_refuse (GrpcCall *self, int status, const char *format, ...) G_GNUC_PRINTF (3, 4);
void grpc_call_refuse_http (GrpcCall *self, int http_status);

/** Ends it for both: the peer gets the status (of a server) or RST_STREAM. @error: (transfer full). */
void grpc_call_abort (GrpcCall *self, GantryErrorCode reason, GError *error);

/** Puts a client's call on its connection. */
void grpc_call_submit (GrpcCall *self, const char *authority);

/** Does what has become possible. */
void grpc_call_pump (GrpcCall *self);

/** The same for what has come. */
void grpc_call_pump_input (GrpcCall *self);

/* nghttp2 says: */
void grpc_call_header (GrpcCall *self, const char *name, gsize name_length, const char *value,
                       gsize value_length);
void grpc_call_headers_done (GrpcCall *self, gboolean end);
void grpc_call_feed (GrpcCall *self, const guint8 *data, gsize length);
void grpc_call_remote_close (GrpcCall *self);
void grpc_call_stream_closed (GrpcCall *self, guint32 error_code);
void grpc_call_copy_output (GrpcCall *self, guint8 *out, gsize length);

/** The connection is gone. */
void grpc_call_lost (GrpcCall *self, const char *reason);
