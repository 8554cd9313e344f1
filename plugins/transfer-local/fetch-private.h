/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "fetch.h"

typedef struct _Ranges Ranges;

/** Where a fetch says how far it is. */
typedef void (*FetchReport) (guint64 bytes, gpointer user_data);

/* fetch-ranges.c */

/** @report: told what has come; @grew: told what @ingest has. A large blob that comes by parallel ranges into
 * @ingest, which has @offset bytes. Everything is borrowed until ranges_run () returns. Returns: (transfer
 * full). */
Ranges *ranges_new (GantryRepository *repository, GantryDescriptor *blob, const char *const *urls,
                    GantryIngest *ingest, guint64 offset, FetchReport report, FetchReport grew,
                    gpointer user_data, GCancellable *cancellable);
Ranges *ranges_ref (Ranges *self);
void ranges_unref (Ranges *self);
/** Fetches what nobody else does, until all is there or it failed. *@ret_unsupported: no host serves ranges;
 * the rest, from *@ret_offset on, must come in one. Called by the owner; returns when no helper is left in
 * it. */
gboolean ranges_run (Ranges *self, gboolean *ret_unsupported, guint64 *ret_offset, GError **error);
/** Helps, on another thread, if there is something to do. */
void ranges_help (Ranges *self);
