/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Whiteouts: how a layer says that something of the layers below is gone. OCI image-spec 1.1, layer.md,
 * "Whiteouts". A whiteout never hides what its own layer brings.
 */
#pragma once

#include "unpack-extract.h"

#define UNPACK_WHITEOUT_PREFIX ".wh."
#define UNPACK_WHITEOUT_OPAQUE ".wh..wh..opq"
#define UNPACK_WHITEOUT_META   ".wh..wh." /* AUFS's own files, which early Docker put into layers */

/** Whether an entry of this (last part of a) name is a whiteout. */
gboolean unpack_is_whiteout_name (const char *base);

/** Whether the entry is, or is below, AUFS's bookkeeping. */
gboolean unpack_in_aufs_metadata (const char *path);

/** Whether this is how an overlay writes a whiteout. */
gboolean unpack_is_whiteout (const UnpackTarget *target, const struct stat *st);

/** Lets the directory @fd of an upperdir hide all of the same name below it. */
gboolean unpack_mark_opaque (const UnpackTarget *target, int fd, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** Carries out the whiteout entry @base of the directory @dfd. Errors: INVALID_ARGUMENT (names nothing). */
gboolean unpack_whiteout (const UnpackTarget *target, UnpackTree *tree, int dfd, const char *base,
                          GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** The "security.capability" value @value for files whose owners @uid_map maps: bound to the user that root
 * becomes.
 * *@length becomes the result's. Returns: (transfer full): or NULL with INVALID_ARGUMENT. */
guint8 *unpack_capability_remap (const void *value, size_t *length, GArray *uid_map, GError **error);
