/* SPDX-License-Identifier: MIT */
#include "fake-snapshotter.h"

#include <string.h>

#include "fake-snapshot-index.h"
#include "fake-support.h"
#include "trees.h"

#define SELF "fake" /* the snapshotter's name in its index */

typedef struct
{
  GantrySnapshotter snapshotter;
  GantrySnapshotIndex *index;
  GMutex lock;
  GHashTable *trees; /* number -> name of a tree */
} FakeSnapshotter;

/* Returns: (transfer full) (nullable): NULL if it was removed in between. */
static char *
tree_of (FakeSnapshotter *self, guint64 number)
{
  char *name;

  g_mutex_lock (&self->lock);
  name = g_strdup (g_hash_table_lookup (self->trees, &number));
  g_mutex_unlock (&self->lock);
  return name;
}

static void
set_tree (FakeSnapshotter *self, guint64 number, char *name)
{
  g_mutex_lock (&self->lock);
  g_hash_table_replace (self->trees, g_memdup2 (&number, sizeof number), name);
  g_mutex_unlock (&self->lock);
}

static void
drop_tree (FakeSnapshotter *self, guint64 number)
{
  g_autofree char *name = NULL;
  gpointer key = NULL;

  g_mutex_lock (&self->lock);
  g_hash_table_steal_extended (self->trees, &number, &key, (gpointer *)&name);
  g_mutex_unlock (&self->lock);
  g_free (key);
  gantry_fake_tree_remove (name);
}

static GPtrArray *
mounts_of (FakeSnapshotter *self, GantrySnapshotEntry *entry)
{
  g_autofree char *tree = tree_of (self, entry->number);

  return gantry_fake_tree_mounts (tree, entry->info->kind == GANTRY_SNAPSHOT_ACTIVE);
}

static gboolean
create (FakeSnapshotter *self, GantrySnapshotKind kind, const char *key, const char *parent, GVariant *labels,
        GPtrArray **ret_mounts, GCancellable *cancellable, GError **error)
{
  g_autoptr (GantrySnapshotEntry) lower = NULL;
  g_autoptr (GantrySnapshotEntry) entry = NULL;
  g_autofree char *below = NULL;
  guint64 number;

  if ((parent != NULL && !gantry_snapshot_index_get (self->index, SELF, parent, &lower, cancellable, error))
      || !gantry_snapshot_index_allocate (self->index, SELF, &number, cancellable, error))
    return FALSE;
  /* The tree is there before its entry is. */
  below = lower != NULL ? tree_of (self, lower->number) : NULL;
  set_tree (self, number, gantry_fake_tree_new (below));
  if (!gantry_snapshot_index_insert (self->index, SELF, number, kind, key, parent, labels, &entry,
                                     cancellable, error))
    {
      drop_tree (self, number);
      return FALSE;
    }
  if (ret_mounts != NULL)
    *ret_mounts = mounts_of (self, entry);
  return TRUE;
}

static gboolean
snap_prepare (GantrySnapshotter *snapshotter, const char *key, const char *parent, GVariant *labels,
              GPtrArray **ret_mounts, GCancellable *cancellable, GError **error)
{
  return create ((FakeSnapshotter *)snapshotter, GANTRY_SNAPSHOT_ACTIVE, key, parent, labels, ret_mounts,
                 cancellable, error);
}

static gboolean
snap_view (GantrySnapshotter *snapshotter, const char *key, const char *parent, GVariant *labels,
           GPtrArray **ret_mounts, GCancellable *cancellable, GError **error)
{
  return create ((FakeSnapshotter *)snapshotter, GANTRY_SNAPSHOT_VIEW, key, parent, labels, ret_mounts,
                 cancellable, error);
}

static gboolean
snap_stat (GantrySnapshotter *snapshotter, const char *key, GantrySnapshotInfo **ret_info,
           GCancellable *cancellable, GError **error)
{
  g_autoptr (GantrySnapshotEntry) entry = NULL;

  if (!gantry_snapshot_index_get (((FakeSnapshotter *)snapshotter)->index, SELF, key, &entry, cancellable,
                                  error))
    return FALSE;
  *ret_info = gantry_snapshot_info_ref (entry->info);
  return TRUE;
}

static gboolean
snap_update (GantrySnapshotter *snapshotter, const char *key, GVariant *labels, const char *const *mask,
             GantrySnapshotInfo **ret_info, GCancellable *cancellable, GError **error)
{
  FakeSnapshotter *self = (FakeSnapshotter *)snapshotter;
  g_autoptr (GantrySnapshotEntry) entry = NULL;

  if (!gantry_snapshot_index_update (self->index, SELF, key, labels, mask, &entry, cancellable, error))
    return FALSE;
  if (ret_info != NULL)
    *ret_info = gantry_snapshot_info_ref (entry->info);
  return TRUE;
}

static gboolean
snap_usage (GantrySnapshotter *snapshotter, const char *key, guint64 *ret_bytes, guint64 *ret_inodes,
            GCancellable *cancellable, GError **error)
{
  FakeSnapshotter *self = (FakeSnapshotter *)snapshotter;
  g_autoptr (GantrySnapshotEntry) entry = NULL;
  g_autofree char *tree = NULL;

  if (!gantry_snapshot_index_get (self->index, SELF, key, &entry, cancellable, error))
    return FALSE;
  tree = tree_of (self, entry->number);
  gantry_fake_tree_usage (tree, ret_bytes, ret_inodes);
  return TRUE;
}

static gboolean
snap_mounts (GantrySnapshotter *snapshotter, const char *key, GPtrArray **ret_mounts,
             GCancellable *cancellable, GError **error)
{
  FakeSnapshotter *self = (FakeSnapshotter *)snapshotter;
  g_autoptr (GantrySnapshotEntry) entry = NULL;

  if (!gantry_snapshot_index_get (self->index, SELF, key, &entry, cancellable, error))
    return FALSE;
  if (entry->info->kind == GANTRY_SNAPSHOT_COMMITTED)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                         "snapshot %s is committed; make a view of it", key);
  *ret_mounts = mounts_of (self, entry);
  return TRUE;
}

static gboolean
snap_commit (GantrySnapshotter *snapshotter, const char *name, const char *key, const char *parent,
             GVariant *labels, GCancellable *cancellable, GError **error)
{
  FakeSnapshotter *self = (FakeSnapshotter *)snapshotter;
  g_autoptr (GantrySnapshotEntry) entry = NULL;

  if (!gantry_snapshot_index_get (self->index, SELF, key, &entry, cancellable, error))
    return FALSE;
  if (parent != NULL && entry->info->parent == NULL)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                         "snapshot %s has no parent, and can't get one", key);
  return gantry_snapshot_index_commit (self->index, SELF, name, key, parent, labels, 0, 0, cancellable,
                                       error);
}

static gboolean
snap_remove (GantrySnapshotter *snapshotter, const char *key, GCancellable *cancellable, GError **error)
{
  FakeSnapshotter *self = (FakeSnapshotter *)snapshotter;
  guint64 number;

  if (!gantry_snapshot_index_remove (self->index, SELF, key, &number, cancellable, error))
    return FALSE;
  drop_tree (self, number);
  return TRUE;
}

typedef struct
{
  GantrySnapshotFunc func;
  gpointer user_data;
} Walk;

static gboolean
on_entry (GantrySnapshotEntry *entry, gpointer user_data)
{
  Walk *walk = user_data;

  return walk->func (entry->info, walk->user_data);
}

static gboolean
snap_walk (GantrySnapshotter *snapshotter, const char *const *filters, GantrySnapshotFunc func,
           gpointer user_data, GCancellable *cancellable, GError **error)
{
  Walk walk = { func, user_data };

  return gantry_snapshot_index_walk (((FakeSnapshotter *)snapshotter)->index, SELF, filters, on_entry, &walk,
                                     cancellable, error);
}

static gboolean
snap_cleanup (GantrySnapshotter *snapshotter, GCancellable *cancellable, GError **error)
{
  (void)snapshotter;
  return gantry_fake_check_cancelled (cancellable, error);
}

static const GantrySnapshotterVtable vtable = {
  .size = sizeof vtable,
  .stat = snap_stat,
  .update = snap_update,
  .usage = snap_usage,
  .mounts = snap_mounts,
  .prepare = snap_prepare,
  .view = snap_view,
  .commit = snap_commit,
  .remove = snap_remove,
  .walk = snap_walk,
  .cleanup = snap_cleanup,
};

GantrySnapshotter *
gantry_fake_snapshotter_new (void)
{
  FakeSnapshotter *self = g_new0 (FakeSnapshotter, 1);

  self->snapshotter.vtable = &vtable;
  self->index = gantry_fake_snapshot_index_new ();
  g_mutex_init (&self->lock);
  self->trees = g_hash_table_new_full (g_int64_hash, g_int64_equal, g_free, g_free);
  return &self->snapshotter;
}

void
gantry_fake_snapshotter_free (GantrySnapshotter *snapshotter)
{
  FakeSnapshotter *self = (FakeSnapshotter *)snapshotter;
  GHashTableIter iter;
  gpointer name;

  if (self == NULL)
    return;
  g_hash_table_iter_init (&iter, self->trees);
  while (g_hash_table_iter_next (&iter, NULL, &name))
    gantry_fake_tree_remove (name);
  g_hash_table_unref (self->trees);
  gantry_fake_snapshot_index_free (self->index);
  g_mutex_clear (&self->lock);
  g_free (self);
}
