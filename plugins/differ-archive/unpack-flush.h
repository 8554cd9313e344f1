/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Makes a file system durable while it is still being written to: a thread syncs it whenever enough has come
 * together, so that the disk works while the processor does, and the sync at the end finds little left to do.
 */
#pragma once

#include <glib.h>

typedef struct _UnpackFlush UnpackFlush;

/** Begins for the file system of @fd (borrowed). */
UnpackFlush *unpack_flush_new (int fd);

/** Says that @bytes more were written. Does not block. */
void unpack_flush_add (UnpackFlush *self, guint64 bytes);

/** Everything written so far is durable when this returns. Errors: of any sync, this one's or an earlier
 * one's. */
gboolean unpack_flush_finish (UnpackFlush *self, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** Ends the thread. Accepts NULL. */
void unpack_flush_free (UnpackFlush *self);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (UnpackFlush, unpack_flush_free)
