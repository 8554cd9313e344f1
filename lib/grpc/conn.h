/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One HTTP/2 connection, of a server or of a client: a socket (plain or TLS), an nghttp2 session, the calls
 * on it. Lives on the I/O thread alone.
 *
 * Input is read in turns of GRPC_TURN bytes. Output is made by nghttp2 only as the socket takes it, so what
 * waits for a slow peer is at most one turn, the queues of its calls and nghttp2's own control frames; when
 * those pile up nothing is read until they are gone.
 */
#pragma once

#include <nghttp2/nghttp2.h>

#include "call.h"
#include "shared.h"
#include "tls.h"

typedef struct
{
  /** A server's new stream. Returns: (transfer full) (nullable): NULL refuses it. */
  GrpcCall *(*begin) (GrpcConn *conn);

  /** The request of a server's call is complete up to its messages. */
  void (*requested) (GrpcConn *conn, GrpcCall *call);

  /** A client's connection is up, or no new calls may go on it (GOAWAY). */
  void (*ready) (GrpcConn *conn);
  void (*going_away) (GrpcConn *conn);

  /** The connection is over, its calls are lost; @conn is freed after this. */
  void (*closed) (GrpcConn *conn, const char *reason);
} GrpcConnOps;

struct _GrpcConn
{
  GrpcShared *shared;
  const GrpcConnOps *ops;
  gpointer owner;
  gboolean server;
  GrpcWatch watch;
  GrpcTlsSession *tls; /* or NULL */
  nghttp2_session *session;
  GList link;   /* in the owner's list */
  GQueue calls; /* of GrpcCall, by their conn_link */

  gboolean connecting; /* a client's connect () is under way */
  gboolean handshaken; /* TLS is up and the peer's SETTINGS have come */
  gboolean going_away; /* no new calls */
  gboolean draining;   /* closes when the last call has ended */
  gboolean goaway_sent;
  char *broken; /* why it ends, as soon as nghttp2 is off the stack */

  guint8 *left; /* output that the socket did not take */
  gsize left_start, left_length;
  gsize built; /* of the loop's output buffer */

  GrpcTask flush;
  gboolean flush_set;
  GrpcTimer timer; /* handshake, then keepalive, then the final GOAWAY */
  gint64 heard;    /* when something last came */
  gboolean pinged;

  gint64 costly_since; /* a second of frames that ask for work and bring none */
  guint costly;

  gboolean has_peer;
  pid_t pid;
  uid_t uid;
  gid_t gid;
};

/** @begin_ms: how long connecting and the peer's first SETTINGS may take. @fd: (transfer full), non-blocking.
 * @tls: (transfer full) (nullable). Returns: (transfer full), freed by itself after ops->closed; NULL if it
 * cannot be watched. */
GrpcConn *grpc_conn_new (GrpcShared *shared, const GrpcConnOps *ops, gpointer owner, int fd,
                         GrpcTlsSession *tls, gboolean server, gboolean connecting, guint begin_ms,
                         GError **error);

/** Writes what there is at the end of this turn. */
void grpc_conn_touch (GrpcConn *self);

/** Ends it at the end of this turn. */
void grpc_conn_break (GrpcConn *self, const char *reason);

/** The same, with a GOAWAY if the socket takes one now. */
void grpc_conn_close (GrpcConn *self, const char *reason);

/** Takes no new calls, tells the peer, and closes when the last call has ended. */
void grpc_conn_drain (GrpcConn *self);

/** The peer's SETTINGS have come. */
void grpc_conn_handshaken (GrpcConn *self);

/** Called by a call that has left. */
void grpc_conn_call_left (GrpcConn *self);
