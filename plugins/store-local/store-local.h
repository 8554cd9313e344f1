/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gantry/messages.h>
#include <gantry/mounts.h>
#include <gantry/store.h>

typedef struct
{
  GantryStore store;
  const GantryHost *host;
  GantryMetadata *metadata;
  gboolean isolated; /* blobs of other namespaces must be sent again */

  /* Shared while a blob and its record are being joined, exclusive while a blob is removed: else a blob could
   * go between the moment its writer finds that it exists and the moment its record says so. */
  GRWLock blobs_lock;

  GMutex sweep_lock;
  GMutex lock;
  GSource *timer;      /* with lock: the next collection */
  gboolean collecting; /* with lock */
  gboolean closing;    /* with lock */
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
                             GantrySnapshotter **ret_snapshotter, char **ret_id, GCancellable *cancellable,
                             GError **error);

/* See store.h, relax. */
void content_view_relax (GantryContent *content);
void snapshot_view_relax (GantrySnapshotter *snapshotter);

/* intents.c */

/** Notes that @digest is about to be published for @ns. Returns: (transfer full): for intent_fulfil or
 * intent_drop. */
GantryRecord *intent_of_blob (StoreLocal *self, const char *ns, const char *digest, GCancellable *cancellable,
                              GError **error);
/** Notes that @snapshotter is about to make @backend. */
GantryRecord *intent_of_snapshot (StoreLocal *self, const char *snapshotter, const char *backend,
                                  GCancellable *cancellable, GError **error);
/** Notes that @snapshotter is about to commit @backend, after which @rename follows. */
GantryRecord *intent_of_commit (StoreLocal *self, const char *snapshotter, const char *backend,
                                GantryChange *rename, GCancellable *cancellable, GError **error);
/** Makes @change and ends @intent, in one transaction. */
gboolean intent_fulfil (StoreLocal *self, GantryRecord *intent, GantryChange *change,
                        GCancellable *cancellable, GError **error);
/** Ends @intent: the backend has nothing of it. */
void intent_drop (StoreLocal *self, GantryRecord *intent);
/** Settles what a crash interrupted; before anything else is done. */
gboolean intents_resolve (StoreLocal *self, GError **error);

/* check.c */
gboolean store_check (GantryStore *store, gboolean repair, char ***ret_problems, GCancellable *cancellable,
                      GError **error);

/** Removes what no record names, as a power failure may leave it. */
gboolean store_sweep (StoreLocal *self, GError **error);

/* collector.c */
gboolean collector_collect (GantryStore *store, gboolean dry_run, GPtrArray **ret_garbage,
                            GCancellable *cancellable, GError **error);
/** Removes from the backends what metadata has given up. */
gboolean collector_drain (StoreLocal *self, GCancellable *cancellable, GError **error);
/** Removes what a power failure left, once a boot, which the state directory does not outlive. */
gboolean collector_sweep (StoreLocal *self, GError **error);
/** Looks soon whether something is garbage. */
void collector_schedule (StoreLocal *self, guint seconds);
void collector_stop (StoreLocal *self);

/* The content backend @id, NULL: the one that ranks highest; or NULL with UNAVAILABLE. */
/* Whether @ns is a name that a namespace can have; metadata has the same rule. Errors: INVALID_ARGUMENT. */
gboolean store_local_check_namespace (const char *ns, GError **error);
GantryContent *store_local_content (StoreLocal *self, const char *id, GError **error);
/* The snapshotter backend @id. */
GantrySnapshotter *store_local_snapshotter (StoreLocal *self, const char *id, char **ret_id, GError **error);
