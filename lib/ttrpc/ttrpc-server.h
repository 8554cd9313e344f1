/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A ttrpc server
 * --------------
 * Serves unary ttrpc methods on a unix socket (github.com/containerd/ttrpc, PROTOCOL.md): what shims tell
 * their events to.
 *
 * Threads: sockets are watched in the context given to ttrpc_server_new (), which never blocks; methods run
 * on a bounded pool of workers. The calls of one connection run one after the other, in their order, and no
 * more is read from it while one runs: so a client that floods waits.
 *
 * Refused without a method's knowledge: unknown methods and streams (UNIMPLEMENTED), messages that are none
 * and even stream ids (INVALID_ARGUMENT). A frame larger than 4 MiB, or one of an unknown type, ends the
 * connection.
 */
#pragma once

#include <gantry/error.h>

typedef struct _TtrpcServer TtrpcServer;

/** What comes with a request. */
typedef struct
{
  const char *service;
  const char *method;
  GHashTable *metadata; /**< utf8 to utf8: of each key the first value */
  gint64 deadline;      /**< monotonic, µs; G_MAXINT64: none */
  pid_t pid;            /**< of the peer when it connected */
  uid_t uid;
} TtrpcRequest;

/** On a worker. @payload: (transfer none). Returns: (transfer full): the reply, or NULL with @error. */
typedef GBytes *(*TtrpcMethod) (const TtrpcRequest *request, GBytes *payload, gpointer data, GError **error);

/** Makes a server that does not listen yet. @max_connections: 0 is 1024. */
TtrpcServer *ttrpc_server_new (GMainContext *context, guint max_connections);

/** Adds a method; before listen. @service, @method: copied. */
void ttrpc_server_add (TtrpcServer *self, const char *service, const char *method, TtrpcMethod func,
                       gpointer data);

/** Listens on @fd (transfer full), a non-blocking listening socket. */
void ttrpc_server_listen (TtrpcServer *self, int fd);

/** Stops and frees @self. No method runs any more. Accepts NULL. Blocks: until the methods under way have
 * returned. In the context's thread. */
void ttrpc_server_free (TtrpcServer *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (TtrpcServer, ttrpc_server_free)
