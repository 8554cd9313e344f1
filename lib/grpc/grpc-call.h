/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Calls
 * -----
 * A *call* is one gRPC request as either end sees it (github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md): a path
 * "/package.Service/Method", metadata, messages in both directions, and a status. A *message* is a GBytes;
 * what it means is nobody's business here.
 *
 * Threads. The bytes of every connection are moved by one I/O thread, which never runs anybody's code but
 * methods marked GRPC_METHOD_QUICK and `cancelled` handlers of a call's GCancellable. Everything else that is
 * called back runs on a bounded pool of workers. The callbacks of one call never overlap and keep their
 * order; those of different calls run side by side. A callback may block on local work that ends by itself.
 * It must not wait for a peer or an event: it returns, and whoever sees the event continues with the
 * functions below, all of which may be called from any thread, never block and never call back before they
 * return. So a waiting call costs memory and no thread.
 *
 * Ownership. A GrpcCall is counted. The transport holds a reference until on_closed has returned; who keeps
 * the call longer than that, or uses it outside of its callbacks, takes one.
 *
 * Back-pressure. Messages come in only when asked for with grpc_call_request (): what the peer sends beyond
 * that stays in its HTTP/2 window (256 KiB unless set), then the peer waits. What goes out is queued up to
 * max_send_queue bytes (1 MiB unless set): while grpc_call_is_writable () one more message is taken, of
 * whatever size; past that grpc_call_send () fails with RESOURCE_EXHAUSTED and changes nothing, and
 * on_writable tells when half of the queue is gone. A sender of a large blob is a loop "while writable: read,
 * send" that on_writable enters again.
 *
 * End. Exactly one on_closed ends every call that was given handlers, whatever happens: finished by either
 * end, cancelled, deadline over, connection lost, server stopped. After it nothing is called back, and
 * sending fails with CANCELLED.
 *
 * A server-streaming method, whole:
 *
 *     static void
 *     more (GrpcCall *call, gpointer data)
 *     {
 *       while (grpc_call_is_writable (call))
 *         {
 *           g_autoptr (GBytes) next = my_next (data);
 *
 *           if (next == NULL)
 *             {
 *               grpc_call_finish (call, NULL);
 *               return;
 *             }
 *           if (!grpc_call_send (call, next, NULL))
 *             return; (the call is over; on_closed follows)
 *         }
 *     }
 *
 *     static const GrpcCallHandlers handlers = { .on_writable = more, .on_closed = my_closed };
 *
 *     static void
 *     read_start (GrpcCall *call, GBytes *request, gpointer data)
 *     {
 *       MyRead *my = my_read_new (request);
 *
 *       grpc_call_set_handlers (call, &handlers, my, my_read_free);
 *       more (call, my);
 *     }
 */
#pragma once

#include <gio/gio.h>
#include <gantry/error.h>

G_BEGIN_DECLS

/** Status codes (doc/statuscodes.md) for those who need them without a GError. */
enum
{
  GRPC_STATUS_OK = 0,
  GRPC_STATUS_CANCELLED = 1,
  GRPC_STATUS_UNKNOWN = 2,
  GRPC_STATUS_DEADLINE_EXCEEDED = 4,
  GRPC_STATUS_RESOURCE_EXHAUSTED = 8,
  GRPC_STATUS_UNIMPLEMENTED = 12,
  GRPC_STATUS_INTERNAL = 13,
  GRPC_STATUS_UNAVAILABLE = 14,
};

/* Metadata: an ordered list of lower-case names and values; a name may occur more than once. Immutable once
 * it is with a call. */

typedef struct _GrpcMetadata GrpcMetadata;

GrpcMetadata *grpc_metadata_new (void);
GrpcMetadata *grpc_metadata_ref (GrpcMetadata *self);
void grpc_metadata_unref (GrpcMetadata *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (GrpcMetadata, grpc_metadata_unref)

/** Appends an ASCII pair. Returns: FALSE, and nothing is appended, if @name is not [0-9a-z_.-]+ or is one of
 * the protocol's own
 * ("grpc-…", "content-type", "te", ":…"), or @value is not printable ASCII; "-bin" names take bytes by
 * append_binary. */
gboolean grpc_metadata_append (GrpcMetadata *self, const char *name, const char *value);

/** Appends bytes under a name that ends in "-bin". */
gboolean grpc_metadata_append_binary (GrpcMetadata *self, const char *name, GBytes *value);

/** The first value of @name, or NULL. Binary values are in base64, as they travel. Returns: (transfer none).
 */
const char *grpc_metadata_get (const GrpcMetadata *self, const char *name);

/** The first value of the "-bin" name @name, decoded. Returns: (transfer full) (nullable). */
GBytes *grpc_metadata_dup_binary (const GrpcMetadata *self, const char *name);

guint grpc_metadata_get_n (const GrpcMetadata *self);

/** The pair at @index < n. @ret_name, @ret_value: (transfer none). */
void grpc_metadata_get_pair (const GrpcMetadata *self, guint index, const char **ret_name,
                             const char **ret_value);

/* Calls */

typedef struct _GrpcCall GrpcCall;

GrpcCall *grpc_call_ref (GrpcCall *self);
void grpc_call_unref (GrpcCall *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (GrpcCall, grpc_call_unref)

/** What is called back on a worker. Any may be NULL. @data is the call's (grpc_call_set_handlers). */
typedef struct
{
  /** A message that grpc_call_request () asked for. @message: (transfer none). */
  void (*on_message) (GrpcCall *call, GBytes *message, gpointer data);

  /** The peer will send no more messages: on a server the client has half-closed, on a client nothing yet
   * follows from it (on_closed brings the status). Comes after the last on_message, so not before everything
   * was asked for. */
  void (*on_end) (GrpcCall *call, gpointer data);

  /** The queue has room again after a send made it full. */
  void (*on_writable) (GrpcCall *call, gpointer data);

  /** The end. @error: (nullable) (transfer none): NULL if the status was OK; CANCELLED, DEADLINE_EXCEEDED and
   * UNAVAILABLE as it happened; on a client the server's status otherwise. */
  void (*on_closed) (GrpcCall *call, const GError *error, gpointer data);
} GrpcCallHandlers;

/** Sets what is called back; once, from the callback or function that gave the call. @handlers lives as long
 * as the call. @destroy (@data) runs after on_closed, on the same worker. */
void grpc_call_set_handlers (GrpcCall *self, const GrpcCallHandlers *handlers, gpointer data,
                             GDestroyNotify destroy);

/** Asks for @n more messages. */
void grpc_call_request (GrpcCall *self, guint n);

/** Queues @message (transfer none: a reference is taken). Errors: RESOURCE_EXHAUSTED: the queue is full, or
 * the message is larger than max_send_message; CANCELLED: the call is over. */
gboolean grpc_call_send (GrpcCall *self, GBytes *message, GError **error);

/** Whether grpc_call_send () takes one more message now. FALSE once the call is over. */
gboolean grpc_call_is_writable (GrpcCall *self);

/** Fires when the peer has cancelled or gone, the deadline is over, or the server stops. Not by a normal end.
 * Returns: (transfer none): as long as the call. */
GCancellable *grpc_call_get_cancellable (GrpcCall *self);

/** Why the cancellable fired: CANCELLED, DEADLINE_EXCEEDED or UNAVAILABLE; 0 (UNKNOWN) while it has not. */
GantryErrorCode grpc_call_get_cancel_reason (GrpcCall *self);

/** "/package.Service/Method". Returns: (transfer none). */
const char *grpc_call_get_path (GrpcCall *self);

/** The monotonic time in µs at which the call is over, or G_MAXINT64. */
gint64 grpc_call_get_deadline (GrpcCall *self);

/* Calls, server side */

/** The first value of the request metadata @name ("containerd-namespace"), or NULL. Returns: (transfer none).
 */
const char *grpc_call_get_metadata (GrpcCall *self, const char *name);

/** All of it. Returns: (transfer none). */
const GrpcMetadata *grpc_call_get_request_metadata (GrpcCall *self);

/** The peer's credentials when it connected (SO_PEERCRED). Returns: FALSE on anything but a unix socket. */
gboolean grpc_call_get_peer (GrpcCall *self, pid_t *ret_pid, uid_t *ret_uid, gid_t *ret_gid);

/** Adds a pair to what is sent before the first message. FALSE if that has gone, or as grpc_metadata_append
 * (). */
gboolean grpc_call_add_header (GrpcCall *self, const char *name, const char *value);

/** Sends the headers now, for a stream whose client waits for them before anything happens. They go by
 * themselves with the first message. */
void grpc_call_send_headers (GrpcCall *self);

/** Adds a pair to what is sent with the status. */
gboolean grpc_call_add_trailer (GrpcCall *self, const char *name, const char *value);

/** Sends @details, a packed google.rpc.Status, as grpc-status-details-bin. */
void grpc_call_set_status_details (GrpcCall *self, GBytes *details);

/** Ends the call after what is queued: OK if @error is NULL, otherwise with its class as gRPC code
 * (gantry_error_code_to_grpc) and its message.
 * @error: (transfer none). The first call counts; it is harmless on a call that is over. */
void grpc_call_finish (GrpcCall *self, const GError *error);

/** The same with a status code as it is, for statuses that no GError stands for. */
void grpc_call_finish_status (GrpcCall *self, int status, const char *message);

/** Sends @reply and ends the call with OK: the answer of a unary method that answers later. Sends whatever
 * the queue holds. */
void grpc_call_reply (GrpcCall *self, GBytes *reply);

/* Calls, client side */

/** Says that no more messages follow; those queued still go. */
void grpc_call_close_send (GrpcCall *self);

/** Gives the call up: on_closed comes with CANCELLED. Harmless on a call that is over. */
void grpc_call_cancel (GrpcCall *self);

/** What came with the status, once on_closed runs. Returns: (transfer none) (nullable). */
const GrpcMetadata *grpc_call_get_trailers (GrpcCall *self);

/** Whether the server sent a status, once on_closed runs: otherwise the end was made here. */
gboolean grpc_call_is_answered (GrpcCall *self);

/** The status code as it came, once on_closed runs. */
int grpc_call_get_status (GrpcCall *self);

G_END_DECLS
