/* SPDX-License-Identifier: MIT
 *
 * The snapshot index
 * ------------------
 * The tree that every snapshotter has to remember (keys, parents, kinds, labels, usage), kept for it, so that
 * none writes a database of its own. The snapshotter keeps only directories, named by the number that the
 * index gives:
 *
 *     allocate () -> 42                          never given twice, even after a crash
 *       … the snapshotter makes directory 42 …
 *     insert (42, ACTIVE, "redis", "sha256:aa")  now it exists
 *       … a crash before this leaves a directory that no entry names; the snapshotter removes such ones at
 * its start … remove ("redis") -> 42                     now it does not exist … the snapshotter removes
 * directory 42, now or later …
 *
 * Writes are ordered with all other writes of the same database and become durable with the next durable one
 * (such as the metadata record that makes the snapshot visible), or by sync ().
 */
#pragma once

#include <gantry/snapshotter.h>

G_BEGIN_DECLS

#define GANTRY_SNAPSHOT_INDEX_TYPE "org.gantry.snapshot-index.v1"

/** One entry, with its ancestors. */
typedef struct
{
  GANTRY_VALUE;
  guint64 number;           /**< names the directory */
  GantrySnapshotInfo *info; /**< never NULL */
  GArray *ancestors;        /**< (element-type guint64): numbers of its parents, nearest first */
  guint64 usage_bytes;      /**< of a committed one */
  guint64 usage_inodes;
} GantrySnapshotEntry;

static inline void
gantry_snapshot_entry_clear (gpointer data)
{
  GantrySnapshotEntry *self = (GantrySnapshotEntry *)data;

  gantry_snapshot_info_unref (self->info);
  g_clear_pointer (&self->ancestors, g_array_unref);
}

GANTRY_DEFINE_VALUE (GantrySnapshotEntry, gantry_snapshot_entry)

/** Makes an entry; a reference to @info is taken, @ancestors (nullable: none) is taken over. Returns:
 * (transfer full). */
static inline GantrySnapshotEntry *
gantry_snapshot_entry_new (guint64 number, GantrySnapshotInfo *info, GArray *ancestors, guint64 usage_bytes,
                           guint64 usage_inodes)
{
  GantrySnapshotEntry *self = GANTRY_VALUE_ALLOC (GantrySnapshotEntry, gantry_snapshot_entry_clear);

  self->number = number;
  self->info = gantry_snapshot_info_ref (info);
  self->ancestors = ancestors != NULL ? ancestors : g_array_new (FALSE, FALSE, sizeof (guint64));
  self->usage_bytes = usage_bytes;
  self->usage_inodes = usage_inodes;
  return self;
}

/** Called for each entry, with no lock held. Returns: FALSE to stop (a success). */
typedef gboolean (*GantrySnapshotEntryFunc) (GantrySnapshotEntry *entry, gpointer user_data);

typedef struct _GantrySnapshotIndex GantrySnapshotIndex;

typedef struct
{
  size_t size;

  /** A number that was never given before to @snapshotter (its plugin id). Blocks: rarely, on local metadata.
   * Errors: of the database. Since: 1.0 */
  gboolean (*allocate) (GantrySnapshotIndex *self, const char *snapshotter, guint64 *ret_number,
                        GCancellable *cancellable, GError **error);

  /** Adds the active snapshot or view @key on @parent (nullable). *@ret_entry: (optional) (transfer full).
   * Blocks: on local metadata. Errors: ALREADY_EXISTS (@key), NOT_FOUND (@parent), FAILED_PRECONDITION
   * (@parent is not committed), INVALID_ARGUMENT. Since: 1.0 */
  gboolean (*insert) (GantrySnapshotIndex *self, const char *snapshotter, guint64 number,
                      GantrySnapshotKind kind, const char *key, const char *parent, GVariant *labels,
                      GantrySnapshotEntry **ret_entry, GCancellable *cancellable, GError **error);

  /** The entry of @key. *@ret_entry: (transfer full). Blocks: on local metadata. Errors: NOT_FOUND.
   * Since: 1.0 */
  gboolean (*get) (GantrySnapshotIndex *self, const char *snapshotter, const char *key,
                   GantrySnapshotEntry **ret_entry, GCancellable *cancellable, GError **error);

  /** Sets labels as GantrySnapshotter.update. *@ret_entry: (optional) (transfer full). Blocks: on local
   * metadata. Errors: NOT_FOUND, INVALID_ARGUMENT (mask, labels). Since: 1.0 */
  gboolean (*update) (GantrySnapshotIndex *self, const char *snapshotter, const char *key, GVariant *labels,
                      const char *const *mask, GantrySnapshotEntry **ret_entry, GCancellable *cancellable,
                      GError **error);

  /** Turns the active @key into the committed @name with @labels (nullable) and its usage. @parent:
   * (nullable): the parent that it gets if it was inserted without one. Blocks: on local metadata. Errors:
   * ALREADY_EXISTS, NOT_FOUND, FAILED_PRECONDITION
   * (@key is not active). Since: 1.0 */
  gboolean (*commit) (GantrySnapshotIndex *self, const char *snapshotter, const char *name, const char *key,
                      const char *parent, GVariant *labels, guint64 usage_bytes, guint64 usage_inodes,
                      GCancellable *cancellable, GError **error);

  /** Removes @key. *@ret_number: its number. Blocks: on local metadata. Errors: NOT_FOUND,
   * FAILED_PRECONDITION (it has children). Since: 1.0 */
  gboolean (*remove) (GantrySnapshotIndex *self, const char *snapshotter, const char *key,
                      guint64 *ret_number, GCancellable *cancellable, GError **error);

  /** Calls @func for the entries of @snapshotter that match @filters (nullable; name, parent, kind, labels).
   * Blocks: on local metadata. Errors: INVALID_ARGUMENT. Since: 1.0 */
  gboolean (*walk) (GantrySnapshotIndex *self, const char *snapshotter, const char *const *filters,
                    GantrySnapshotEntryFunc func, gpointer user_data, GCancellable *cancellable,
                    GError **error);

  /** Makes everything written before this durable. Blocks: one sync. Errors: of the database. Since: 1.0 */
  gboolean (*sync) (GantrySnapshotIndex *self, GCancellable *cancellable, GError **error);
} GantrySnapshotIndexVtable;

/** An instance. An implementation embeds it as its first member; it will never grow. */
struct _GantrySnapshotIndex
{
  const GantrySnapshotIndexVtable *vtable;
};

static inline gboolean
gantry_snapshot_index_allocate (GantrySnapshotIndex *self, const char *snapshotter, guint64 *ret_number,
                                GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantrySnapshotIndexVtable, allocate, FALSE);
  return self->vtable->allocate (self, snapshotter, ret_number, cancellable, error);
}

static inline gboolean
gantry_snapshot_index_insert (GantrySnapshotIndex *self, const char *snapshotter, guint64 number,
                              GantrySnapshotKind kind, const char *key, const char *parent, GVariant *labels,
                              GantrySnapshotEntry **ret_entry, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantrySnapshotIndexVtable, insert, FALSE);
  return self->vtable->insert (self, snapshotter, number, kind, key, parent, labels, ret_entry, cancellable,
                               error);
}

static inline gboolean
gantry_snapshot_index_get (GantrySnapshotIndex *self, const char *snapshotter, const char *key,
                           GantrySnapshotEntry **ret_entry, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantrySnapshotIndexVtable, get, FALSE);
  return self->vtable->get (self, snapshotter, key, ret_entry, cancellable, error);
}

static inline gboolean
gantry_snapshot_index_update (GantrySnapshotIndex *self, const char *snapshotter, const char *key,
                              GVariant *labels, const char *const *mask, GantrySnapshotEntry **ret_entry,
                              GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantrySnapshotIndexVtable, update, FALSE);
  return self->vtable->update (self, snapshotter, key, labels, mask, ret_entry, cancellable, error);
}

static inline gboolean
gantry_snapshot_index_commit (GantrySnapshotIndex *self, const char *snapshotter, const char *name,
                              const char *key, const char *parent, GVariant *labels, guint64 usage_bytes,
                              guint64 usage_inodes, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantrySnapshotIndexVtable, commit, FALSE);
  return self->vtable->commit (self, snapshotter, name, key, parent, labels, usage_bytes, usage_inodes,
                               cancellable, error);
}

static inline gboolean
gantry_snapshot_index_remove (GantrySnapshotIndex *self, const char *snapshotter, const char *key,
                              guint64 *ret_number, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantrySnapshotIndexVtable, remove, FALSE);
  return self->vtable->remove (self, snapshotter, key, ret_number, cancellable, error);
}

static inline gboolean
gantry_snapshot_index_walk (GantrySnapshotIndex *self, const char *snapshotter, const char *const *filters,
                            GantrySnapshotEntryFunc func, gpointer user_data, GCancellable *cancellable,
                            GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantrySnapshotIndexVtable, walk, FALSE);
  return self->vtable->walk (self, snapshotter, filters, func, user_data, cancellable, error);
}

static inline gboolean
gantry_snapshot_index_sync (GantrySnapshotIndex *self, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantrySnapshotIndexVtable, sync, FALSE);
  return self->vtable->sync (self, cancellable, error);
}

G_END_DECLS
