/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * On disk, below the plugin's directory:
 *     blobs/<algorithm>/<hex>     a whole, verified blob: a file that has its name is complete
 *     ingest/<hash of ref>.data   what was written so far
 *     ingest/<hash of ref>.meta   a key file: ref, total, expected digest, when it began
 */
#pragma once

#include <gantry/content.h>

typedef struct
{
  GantryContent content;
  const GantryHost *host;
  int blobs_fd;
  int ingest_fd;

  GMutex lock;
  GHashTable *writers; /* with lock: ref to its writer (not owned) */
} ContentLocal;

ContentLocal *content_local_new (const GantryHost *host, GError **error);
void content_local_free (ContentLocal *self);

/** For init (): takes the files of what is opened later. */
gboolean content_local_find_parts (GError **error);

/* ingest.c */
gboolean ingest_open (GantryContent *content, const char *ref, guint64 total, const char *expected_digest,
                      GantryIngest **ret_ingest, GCancellable *cancellable, GError **error);
gboolean ingest_list (GantryContent *content, const char *const *filters, GPtrArray **ret_statuses,
                      GCancellable *cancellable, GError **error);
gboolean ingest_status (GantryContent *content, const char *ref, GantryIngestStatus **ret_status,
                        GCancellable *cancellable, GError **error);
/** Finds what a crash left of an ingest: data without notes, notes without data. @problems: (nullable): gets
 * a line for each. Does nothing while something is being written. */
gboolean ingest_sweep (ContentLocal *self, gboolean remove, GPtrArray *problems, GError **error);
gboolean ingest_abort (GantryContent *content, const char *ref, GCancellable *cancellable, GError **error);

/** Checks the form of @digest and gives "<algorithm>/<hex>" in @path. */
gboolean content_local_path (const char *digest, char **ret_path, GError **error);
gboolean content_local_has (ContentLocal *self, const char *digest);
