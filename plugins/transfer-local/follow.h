/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A blob that is read while it comes, so that a large layer need not be whole before it is unpacked. What is
 * read is not verified: whoever uses it must wait for the blob before it counts. */
#pragma once

#include <gantry/content.h>

typedef struct _Follow Follow;

/** Follows an ingest by @ingest_fd (taken over), with a thread of its own. Returns: (transfer full): NULL
 * with @error. */
Follow *follow_new (int ingest_fd, guint64 blob_size, GError **error);
/** A store that has the one blob, once: a pipe. Returns: (transfer none). */
GantryContent *follow_get_content (Follow *self);
/** The ingest has @available bytes now; fewer than before: it began anew, and what was read is void. MT-safe.
 */
void follow_grew (Follow *self, guint64 available);
/** Ends it. Whoever reads sees the end of the pipe, and must have closed it by itself. Accepts NULL. */
void follow_free (Follow *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Follow, follow_free)
