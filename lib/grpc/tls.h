/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * TLS of a server's connection, by OpenSSL on a non-blocking socket; ALPN "h2" is demanded, TLS 1.2 is the oldest.
 */
#pragma once

#include "grpc-server.h"

typedef struct _GrpcTlsContext GrpcTlsContext;
typedef struct _GrpcTlsSession GrpcTlsSession;

GrpcTlsContext *grpc_tls_context_new (const GrpcTls *files, GError **error);
void grpc_tls_context_free (GrpcTlsContext *self);

GrpcTlsSession *grpc_tls_session_new (GrpcTlsContext *context, int fd);
void grpc_tls_session_free (GrpcTlsSession *self);

/** As read () and send (): bytes, 0 at the end, -1 with errno (EAGAIN). */
gssize grpc_tls_session_read (GrpcTlsSession *self, void *data, gsize length);
gssize grpc_tls_session_write (GrpcTlsSession *self, const void *data, gsize length);

/** Whether input is left that the socket does not show any more. */
gboolean grpc_tls_session_has_pending (GrpcTlsSession *self);

/** Whether the last EAGAIN of a read waits for the socket to take output. */
gboolean grpc_tls_session_wants_write (GrpcTlsSession *self);
