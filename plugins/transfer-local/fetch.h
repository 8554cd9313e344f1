/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Fetches blobs from a registry into the content store: as many at once as the daemon and the pull may, each
 * verified as it arrives, each going on where an earlier attempt ended. A blob that several pulls want is
 * fetched by one of them; the others, in whichever namespace, take it when it is there. Large blobs come by
 * parallel ranges when there are places left. */
#pragma once

#include "progress.h"
#include "transfer-local.h"

typedef struct _FetchPool FetchPool;

/** @max_fetches: requests at once in the daemon, @max_per_pull: of one pull. Returns: (transfer full). */
FetchPool *fetch_pool_new (guint max_fetches, guint max_per_pull);
/** All Fetches are gone by then. */
void fetch_pool_free (FetchPool *self);

typedef struct _Fetches Fetches;

/** @ingest, of @blob, has @bytes now, in order and not verified. On a thread of the pool. */
typedef void (*FetchGrewFunc) (GantryDescriptor *blob, GantryIngest *ingest, guint64 bytes,
                               gpointer user_data);

/** @blob is in the namespace (@error NULL) or will not be. Called once for each, on a thread of the pool. */
typedef void (*FetchFunc) (GantryDescriptor *blob, const GError *error, gpointer user_data);

/** The fetches of one pull. Everything is borrowed until fetches_free (). @grew: (nullable). @labels:
 * (nullable): a{ss}: of every new blob. */
Fetches *fetches_new (FetchPool *pool, Progress *progress, GantryContent *content,
                      GantryRepository *repository, GVariant *labels, FetchFunc func, FetchGrewFunc grew,
                      gpointer user_data, GCancellable *cancellable);
/** Fetches @blob, once. @urls: (nullable): where else it may be had. Blocks: no. */
void fetches_add (Fetches *self, GantryDescriptor *blob, const char *const *urls);
/** Ends what is under way; func hears of it. */
void fetches_cancel (Fetches *self);
/** Waits for all. Errors: the first one. */
gboolean fetches_wait (Fetches *self, GError **error);
/** Ends what is under way and waits for it. */
void fetches_free (Fetches *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Fetches, fetches_free)
