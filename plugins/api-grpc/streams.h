/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Streams
 * -------
 * A stream is one call of Streaming, which a client opens and names, and which another call (Transfer) then
 * uses: for bytes in either direction, for progress, to ask for credentials. Bytes travel as
 * types.transfer.Data against a window that the reader opens by WindowUpdate (containerd
 * core/transfer/streaming).
 *
 * A stream that waits holds no thread: what comes in goes to a pipe as far as it takes it, what goes out is
 * read from a pipe when the window and the transport have room; both in the main context. */
#pragma once

#include "api-grpc.h"

typedef struct _Stream Stream;

/** The stream @id of the namespace. Returns: (transfer full), or NULL with NOT_FOUND. */
Stream *streams_find (ApiGrpc *api, const char *ns, const char *id, GError **error);
void stream_unref (Stream *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Stream, stream_unref)

/** Sends @message as an Any. Fails if the stream is over or its client too slow. Blocks: no. */
gboolean stream_send (Stream *self, const ProtobufCMessage *message, GError **error);

/** Waits for the next message. Blocks: at most @timeout_s; for workers that may. Returns: (transfer full): an
 * Any, packed. */
GBytes *stream_receive (Stream *self, guint timeout_s, GCancellable *cancellable, GError **error);

/** From now on what comes in is written to the pipe @fd (transfer full), which is closed at its end. Once. */
gboolean stream_read_into (Stream *self, int fd, GError **error);

/** From now on what can be read from the pipe @fd (transfer full) is sent; the stream ends at its end. Once.
 */
gboolean stream_write_from (Stream *self, int fd, GError **error);

/** Ends the stream: well, or with @error (nullable). Harmless if it has ended. */
void stream_end (Stream *self, const GError *error);

GHashTable *streams_new (void);

extern const Service streaming_service;
