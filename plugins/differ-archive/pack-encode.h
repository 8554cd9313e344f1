/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Compression on the way out: takes a tar, writes the blob and hashes the tar. Whoever stores the blob hashes
 * that.
 */
#pragma once

#include "unpack-common.h"

typedef struct _PackEncoder PackEncoder;

/** Begins to write to @fd (borrowed). */
PackEncoder *pack_encoder_new (int fd, PackCompression compression, guint64 max_bytes, GError **error);

gboolean pack_encoder_write (PackEncoder *self, const void *data, gsize length,
                             GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** Writes what is left. *@ret_digest: (transfer full): "sha256:…" of the tar, *@ret_size its size. */
gboolean pack_encoder_finish (PackEncoder *self, char **ret_digest, guint64 *ret_size,
                              GError **error) G_GNUC_WARN_UNUSED_RESULT;

void pack_encoder_free (PackEncoder *self);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (PackEncoder, pack_encoder_free)
