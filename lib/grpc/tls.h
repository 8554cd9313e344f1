/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * TLS of a server's connection. The server knows it by its operations only; grpc_tls, by OpenSSL on a
 * non-blocking socket, is a library of its own, so that who needs no TLS has no OpenSSL. ALPN "h2" is
 * demanded, TLS 1.2 is the oldest. */
#pragma once

#include "grpc-server.h"

/** What is the same for all connections of a listener. */
typedef struct
{
  const GrpcTlsOps *ops;
} GrpcTlsContext;

typedef struct
{
  const GrpcTlsOps *ops;
} GrpcTlsSession;

struct _GrpcTlsOps
{
  /** Errors: INVALID_ARGUMENT, naming the file. Returns: (transfer full). */
  GrpcTlsContext *(*context_new) (const GrpcTls *files, GError **error);
  void (*context_free) (GrpcTlsContext *self);
  GrpcTlsSession *(*session_new) (GrpcTlsContext *context, int fd);
  void (*session_free) (GrpcTlsSession *self);
  /** As read () and send (): bytes, 0 at the end, -1 with errno (EAGAIN). */
  gssize (*read) (GrpcTlsSession *self, void *data, gsize length);
  gssize (*write) (GrpcTlsSession *self, const void *data, gsize length);
  /** Whether input is left that the socket does not show any more. */
  gboolean (*has_pending) (GrpcTlsSession *self);
  /** Whether the last EAGAIN of a read waits for the socket to take output. */
  gboolean (*wants_write) (GrpcTlsSession *self);
};
