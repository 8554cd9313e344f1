/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gantry/store.h>

typedef struct {
  GantryStore store;
  const GantryHost *host;
  GantryMetadata *metadata;
  gboolean isolated; /* blobs of other namespaces must be sent again */

  /* Shared while a blob and its record are being joined, exclusive while a blob is removed: else a blob could go between the
   * moment its writer finds that it exists and the moment its record says so. */
  GRWLock blobs_lock;

  GMutex lock;
  GSource *timer;       /* with lock: the next collection */
  gboolean collecting;  /* with lock */
  gboolean closing;     /* with lock */
  GCond cond;
  guint64 seen_hint;
  gint serial; /* (atomic): makes backend keys unique in this life of the daemon */
  gint64 started_ns;
} StoreLocal;

/* content-view.c */
gboolean content_view_open (GantryStore *store, const char *ns, const char *lease, const char *content_id,
                            GantryContent **ret_content, GCancellable *cancellable, GError **error);

/* snapshot-view.c */
gboolean snapshot_view_open (GantryStore *store, const char *ns, const char *lease, const char *snapshotter,
                             GantrySnapshotter **ret_snapshotter, char **ret_id, GCancellable *cancellable, GError **error);

/* collector.c */
gboolean collector_collect (GantryStore *store, gboolean dry_run, GPtrArray **ret_garbage, GCancellable *cancellable,
                            GError **error);
gboolean collector_check (GantryStore *store, gboolean repair, char ***ret_problems, GCancellable *cancellable,
                          GError **error);
/** Removes from the backends what metadata has given up. */
gboolean collector_drain (StoreLocal *self, GCancellable *cancellable, GError **error);
/** Looks soon whether something is garbage. */
void collector_schedule (StoreLocal *self, guint seconds);
void collector_stop (StoreLocal *self);

/* The content backend @id, NULL: the one that ranks highest; or NULL with UNAVAILABLE. */
GantryContent *store_local_content (StoreLocal *self, const char *id, GError **error);
/* The snapshotter backend @id. */
GantrySnapshotter *store_local_snapshotter (StoreLocal *self, const char *id, char **ret_id, GError **error);
