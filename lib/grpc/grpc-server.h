/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A gRPC server
 * -------------
 * Serves gRPC over HTTP/2 (libnghttp2) on any number of sockets: unix ones and, when asked, TCP with or
 * without TLS. Sequence: new, add services, listen, start; stop when done. One server has one I/O thread and
 * its own bounded pools of workers (see grpc-call.h, "Threads").
 *
 * Three shapes of methods:
 *  - unary: the request is there, the function returns the reply or an error, on a worker;
 *  - start: the request is there, the answer comes later, as one message or many, by the functions of
 * grpc-call.h: server streaming, and unary methods that wait for something;
 *  - open: nothing is there yet: client streaming and both ways. The function sets handlers and asks for
 * messages.
 *
 * What is refused without a method's knowledge: another content type (HTTP 415), another HTTP method (405),
 * an unknown path (UNIMPLEMENTED, with the words of grpc-go, which clients show), compressed messages
 * (UNIMPLEMENTED; "identity" is what is accepted), messages larger than max_message, more metadata than
 * max_metadata, more calls than max_calls (RESOURCE_EXHAUSTED), and connections beyond max_connections
 * (closed at once). A peer that breaks HTTP/2 or floods it with frames that ask for work (PING, SETTINGS,
 * RST_STREAM, empty DATA) loses its connection by GOAWAY. Each connection gets its turn of at most 64 KiB of
 * input, so a flood costs others little.
 */
#pragma once

#include "grpc-call.h"

G_BEGIN_DECLS

typedef enum
{
  GRPC_METHOD_NORMAL = 0,
  GRPC_METHOD_QUICK
  = 1, /**< unary only: runs on the I/O thread; it neither blocks nor takes longer than some 50 µs */
  GRPC_METHOD_LONG = 2, /**< works for seconds or minutes (unpack, pull): has workers of its own, so that it
                           starves no others */
} GrpcMethodFlags;

/** One of unary, start, open is set. @data is add_service's. */
typedef struct
{
  const char *name; /**< "Version" */
  GrpcMethodFlags flags;

  /** Returns: (transfer full): the reply, or NULL with @error set. The call's cancellable is to be honoured.
   */
  GBytes *(*unary) (GrpcCall *call, GBytes *request, gpointer data, GError **error);

  /** @request: (transfer none). The call goes on until it is finished by grpc_call_finish () or _reply (). */
  void (*start) (GrpcCall *call, GBytes *request, gpointer data);

  void (*open) (GrpcCall *call, gpointer data);
} GrpcMethod;

/** Zero means the default that stands behind it. */
typedef struct
{
  guint max_connections; /**< 1024 */
  guint max_streams;     /**< calls at once on one connection: 16384 */
  guint max_calls;       /**< calls at once on all connections, those included whose client has gone but whose
                            method still runs: 32768 */
  guint max_queued;      /**< calls and callbacks that wait for a worker: 8192 */
  gsize max_message;     /**< bytes of an incoming message: 16 MiB */
  gsize max_send_message; /**< bytes of an outgoing message: 16 MiB */
  gsize max_metadata; /**< bytes of a request's headers, counted as HPACK does (name + value + 32): 64 KiB */
  gsize max_send_queue; /**< bytes queued on a call before it is not writable: 1 MiB */
  gsize max_buffered;   /**< bytes of incoming messages that no method has yet, over all calls: 256 MiB */
  guint window;         /**< the HTTP/2 window of a stream, bytes: 256 KiB */
  guint workers;        /**< threads for normal methods: 16; made when needed, gone when idle */
  guint long_workers;   /**< threads for GRPC_METHOD_LONG: 16 */
  guint keepalive_ms;   /**< silence after which a peer is asked for a sign of life: 7,200,000 */
  guint keepalive_timeout_ms; /**< and how long it has to answer: 20,000 */
  guint handshake_ms;         /**< how long a new connection may take to begin HTTP/2 (and TLS): 10,000 */
} GrpcServerSettings;

typedef struct _GrpcServer GrpcServer;

/** Makes a server that does nothing yet. @settings: (nullable). Returns: (transfer full). */
GrpcServer *grpc_server_new (const GrpcServerSettings *settings);

/** Stops and frees @self. Accepts NULL. Blocks as grpc_server_stop () with 0. */
void grpc_server_free (GrpcServer *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (GrpcServer, grpc_server_free)

/** Adds the service @name ("package.Service"); @methods is copied, its strings and functions live as long as
 * the server; so does @data, which
 * @destroy frees after the last call has ended. May be called at any time. Errors: ALREADY_EXISTS. */
gboolean grpc_server_add_service (GrpcServer *self, const char *name, const GrpcMethod *methods,
                                  gsize n_methods, gpointer data, GDestroyNotify destroy, GError **error);

/** Called on the I/O thread before every method: may the call go on? It must not block. One only, before
 * start. */
typedef gboolean (*GrpcAuthorize) (GrpcCall *call, gpointer data, GError **error);
void grpc_server_set_authorize (GrpcServer *self, GrpcAuthorize authorize, gpointer data);

/** Called whenever the number of connections changes between none and some, on the I/O thread; before start.
 */
typedef void (*GrpcBusy) (gboolean busy, gpointer data);
void grpc_server_set_busy_callback (GrpcServer *self, GrpcBusy busy, gpointer data);

/** Listens on the unix socket @path, replacing a socket that nobody listens on any more; mode and group are
 * set before anybody can connect. The file is removed by stop. Blocks: on local I/O. Errors:
 * FAILED_PRECONDITION: somebody listens there; INVALID_ARGUMENT: too long; of the calls. */
gboolean grpc_server_listen_unix (GrpcServer *self, const char *path, mode_t mode, gid_t gid, GError **error);

typedef struct _GrpcTlsOps GrpcTlsOps;

/** TLS by OpenSSL; of the library that grpc_tls_dep links, not of this one. */
extern const GrpcTlsOps grpc_tls;

/** Where TLS finds its files, in PEM. Without @client_ca clients need no certificate. */
typedef struct
{
  const GrpcTlsOps *ops;   /**< who does it: &grpc_tls */
  const char *certificate; /**< with its chain */
  const char *key;
  const char *client_ca;
} GrpcTls;

/** Listens on @host:@port (an IP address; port 0: any). @tls: (nullable): NULL is plain text. @ret_port:
 * (out) (optional). Errors: INVALID_ARGUMENT; of the calls. */
gboolean grpc_server_listen_tcp (GrpcServer *self, const char *host, guint16 port, const GrpcTls *tls,
                                 guint16 *ret_port, GError **error);

/** Listens on @fd (transfer full), a listening stream socket that somebody else has made (socket activation).
 */
gboolean grpc_server_listen_fd (GrpcServer *self, int fd, GError **error);

/** Begins to accept. Blocks: no. Errors: of the thread and epoll. */
gboolean grpc_server_start (GrpcServer *self, GError **error);

/** Stops: no new connections and calls; clients get GOAWAY; calls have @drain_ms to end, then they are
 * cancelled; then connections are closed. Returns when no callback runs any more. Blocks. Idempotent; never
 * from a callback. */
void grpc_server_stop (GrpcServer *self, guint drain_ms);

/** For tests and metrics; any may be NULL. */
void grpc_server_get_counts (GrpcServer *self, guint *ret_connections, guint *ret_calls, gsize *ret_buffered);

G_END_DECLS
