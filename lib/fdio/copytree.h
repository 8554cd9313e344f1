/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>

/** Maps an owner. Errors: FAILED_PRECONDITION. */
typedef gboolean (*GantryOwnerFunc) (gconstpointer data, guint32 uid, guint32 gid, guint32 *ret_uid,
                                     guint32 *ret_gid, GError **error);

/** Copies all that is in the directory @from into the directory @to: contents (by reflink where the file
 * system can), owners, modes, times, extended attributes, hard links, devices, sparse areas; the directory's
 * own attributes, too. Symlinks are copied, never followed. Both are directory fds that stay the caller's.
 * @owner: (nullable): by which owners are mapped. Blocks: on local I/O. Errors: of it, CANCELLED. */
gboolean gantry_copy_tree (int from, int to, GantryOwnerFunc owner, gconstpointer data,
                           GCancellable *cancellable, GError **error) G_GNUC_WARN_UNUSED_RESULT;
