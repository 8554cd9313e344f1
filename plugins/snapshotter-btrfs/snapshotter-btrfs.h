/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <snapdirs.h>

/** Errors: NOT_IMPLEMENTED (the plugin's directory is not on btrfs). */
SnapDirs *snapshotter_btrfs_new (const GantryHost *host, GError **error);
void snapshotter_btrfs_free (SnapDirs *self);

/* usage.c */

/** What the tree @fd has that the tree @parent_fd (or -1), of which it is a snapshot, has not. Blocks: on
 * local I/O. */
gboolean btrfs_usage (int fd, int parent_fd, guint64 *ret_bytes, guint64 *ret_inodes,
                      GCancellable *cancellable, GError **error);
