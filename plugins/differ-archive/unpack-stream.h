/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The bytes of a layer's tar: one thread reads and decompresses the blob into a ring of blocks, a second one
 * hashes them, and the caller takes them in the same order without a copy.
 */
#pragma once

#include <glib.h>

/** Told how many bytes of the blob were read, now and then, from the reading thread. */
typedef void (*UnpackProgressFunc) (guint64 bytes, gpointer user_data);

typedef struct _UnpackStream UnpackStream;

/** Starts to read @fd (borrowed), whatever its compression. @max_bytes: of the tar. */
UnpackStream *unpack_stream_new (int fd, guint64 max_bytes, UnpackProgressFunc progress, gpointer user_data);

/** The next block, valid until the next call. Blocks until there is one. Returns: FALSE with @error;
 * *@ret_length is 0 at the end. */
gboolean unpack_stream_next (UnpackStream *self, const guint8 **ret_data, gsize *ret_length,
                             GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** Reads what is left and waits for the threads. *@ret_digest: (transfer full): "sha256:…" of the tar. */
gboolean unpack_stream_finish (UnpackStream *self, char **ret_digest, guint64 *ret_size,
                               GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** What went wrong with the stream itself. Returns: (transfer full) (nullable). */
GError *unpack_stream_dup_error (UnpackStream *self);

/** Stops the threads wherever they are. Accepts NULL. */
void unpack_stream_free (UnpackStream *self);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (UnpackStream, unpack_stream_free)
