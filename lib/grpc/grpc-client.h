/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A gRPC client
 * -------------
 * A *channel* is one peer. It connects when the first call is made, sends all calls over one connection and
 * connects again, when a call wants it, after that was lost (at the earliest a moment later, at the latest
 * every 5 s). While there is no connection a call fails at once with UNAVAILABLE, unless it waits for one
 * being made. One I/O thread serves a channel; callbacks run on a bounded pool (see grpc-call.h, "Threads").
 *
 * Every call has a deadline: that of the caller or the channel's. What hangs at the other end costs its
 * callers their deadline, nobody else anything.
 */
#pragma once

#include "grpc-call.h"

G_BEGIN_DECLS

/** Zero means the default that stands behind it. */
typedef struct
{
  guint timeout_ms;           /**< of a call that names none: 60,000 */
  guint connect_ms;           /**< how long connecting may take: 5,000 */
  gsize max_message;          /**< bytes of an incoming message: 16 MiB */
  gsize max_metadata;         /**< bytes of headers and of trailers: 64 KiB */
  gsize max_send_queue;       /**< bytes queued on a call before it is not writable: 1 MiB */
  guint max_calls;            /**< at once: 4096 */
  guint window;               /**< the HTTP/2 window of a stream, bytes: 256 KiB */
  guint workers;              /**< threads for callbacks: 8 */
  guint keepalive_ms;         /**< silence after which the peer is asked for a sign of life: 0 is never */
  guint keepalive_timeout_ms; /**< 20,000 */
} GrpcChannelSettings;

typedef struct _GrpcChannel GrpcChannel;

/** Makes a channel to @address: "unix:/path", "/path" or "IP:port" (plain text). Does not connect. @settings:
 * (nullable). Errors: INVALID_ARGUMENT. Returns: (transfer full). */
GrpcChannel *grpc_channel_new (const char *address, const GrpcChannelSettings *settings,
                               GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** Ends every call with CANCELLED and frees @self. Accepts NULL. Blocks until no callback runs any more;
 * never from one. */
void grpc_channel_free (GrpcChannel *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (GrpcChannel, grpc_channel_free)

/** Calls a unary method and waits for its reply. @metadata: (nullable). @timeout_ms: 0 is the channel's.
 * Blocks: until the reply, the deadline or
 * @cancellable; never from a callback or the main context. Errors: the server's status; DEADLINE_EXCEEDED;
 * CANCELLED; UNAVAILABLE: no connection. Returns: (transfer full). */
GBytes *grpc_channel_call (GrpcChannel *self, const char *path, const GrpcMetadata *metadata, GBytes *request,
                           guint timeout_ms, GCancellable *cancellable,
                           GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** The same, and *@ret_answered (out): whether an error is the server's status and not for want of one. */
GBytes *grpc_channel_call_full (GrpcChannel *self, const char *path, const GrpcMetadata *metadata,
                                GBytes *request, guint timeout_ms, GCancellable *cancellable,
                                gboolean *ret_answered, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** The end of grpc_channel_call_async (), on a worker. @reply: (nullable) (transfer none): with @error NULL.
 */
typedef void (*GrpcReply) (GBytes *reply, const GError *error, gpointer data);

/** The same without waiting. @done is called exactly once. Blocks: no. */
void grpc_channel_call_async (GrpcChannel *self, const char *path, const GrpcMetadata *metadata,
                              GBytes *request, guint timeout_ms, GCancellable *cancellable, GrpcReply done,
                              gpointer data);

/** Opens a call of any shape; the rest is done with grpc-call.h (send, request, close_send, cancel).
 * @handlers as in grpc_call_set_handlers ().
 * @timeout_ms: 0 is the channel's, G_MAXUINT none: for streams that live long. Blocks: no. Never fails: what
 * goes wrong comes by on_closed. Returns: (transfer full). */
GrpcCall *grpc_channel_open (GrpcChannel *self, const char *path, const GrpcMetadata *metadata,
                             guint timeout_ms, const GrpcCallHandlers *handlers, gpointer data,
                             GDestroyNotify destroy) G_GNUC_WARN_UNUSED_RESULT;

/** Called on the I/O thread whenever the connection comes or goes; before the first call. */
typedef void (*GrpcChannelState) (gboolean connected, gpointer data);
void grpc_channel_set_state_callback (GrpcChannel *self, GrpcChannelState state, gpointer data);

G_END_DECLS
