/* SPDX-License-Identifier: MIT */
#include "fake-snapshot-index.h"

#include <string.h>

#include "fake-support.h"

typedef struct
{
  GantrySnapshotIndex index;
  GMutex lock;
  GHashTable *trees;   /* snapshotter -> key -> GantrySnapshotEntry without ancestors */
  GHashTable *numbers; /* snapshotter -> the last number */
} FakeIndex;

/* The snapshots of @snapshotter, with the lock held. Returns: (transfer none). */
static GHashTable *
get_tree (FakeIndex *self, const char *snapshotter)
{
  GHashTable *tree = g_hash_table_lookup (self->trees, snapshotter);

  if (tree == NULL)
    {
      tree = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, gantry_value_unref);
      g_hash_table_insert (self->trees, g_strdup (snapshotter), tree);
    }
  return tree;
}

static gboolean
throw_absent (const char *key, GError **error)
{
  return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "snapshot %s does not exist: not found", key);
}

/* A copy of the entry of @key with its ancestors. Returns: (transfer full). */
static GantrySnapshotEntry *
with_ancestors (GHashTable *tree, const char *key)
{
  GantrySnapshotEntry *entry = g_hash_table_lookup (tree, key);
  GArray *ancestors = g_array_new (FALSE, FALSE, sizeof (guint64));
  const char *parent = entry->info->parent;

  while (parent != NULL)
    {
      GantrySnapshotEntry *above = g_hash_table_lookup (tree, parent);

      g_array_append_val (ancestors, above->number);
      parent = above->info->parent;
    }
  return gantry_snapshot_entry_new (entry->number, entry->info, ancestors, entry->usage_bytes,
                                    entry->usage_inodes);
}

static void
put (GHashTable *tree, guint64 number, GantrySnapshotInfo *info, guint64 bytes, guint64 inodes)
{
  g_hash_table_replace (tree, g_strdup (info->name),
                        gantry_snapshot_entry_new (number, info, NULL, bytes, inodes));
}

static gboolean
index_allocate (GantrySnapshotIndex *index, const char *snapshotter, guint64 *ret_number,
                GCancellable *cancellable, GError **error)
{
  FakeIndex *self = (FakeIndex *)index;
  gsize number;

  if (!gantry_fake_check_cancelled (cancellable, error))
    return FALSE;
  g_mutex_lock (&self->lock);
  number = GPOINTER_TO_SIZE (g_hash_table_lookup (self->numbers, snapshotter)) + 1;
  g_hash_table_replace (self->numbers, g_strdup (snapshotter), GSIZE_TO_POINTER (number));
  g_mutex_unlock (&self->lock);
  *ret_number = number;
  return TRUE;
}

static gboolean
check_parent (GHashTable *tree, const char *parent, GError **error)
{
  GantrySnapshotEntry *entry = parent != NULL ? g_hash_table_lookup (tree, parent) : NULL;

  if (parent != NULL && entry == NULL)
    return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "parent snapshot %s does not exist: not found",
                         parent);
  if (entry != NULL && entry->info->kind != GANTRY_SNAPSHOT_COMMITTED)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "parent snapshot %s is not committed",
                         parent);
  return TRUE;
}

static gboolean
insert_locked (GHashTable *tree, guint64 number, GantrySnapshotKind kind, const char *key, const char *parent,
               GVariant *labels, GError **error)
{
  g_autoptr (GantrySnapshotInfo) info = NULL;
  gint64 now = gantry_now_ns ();

  if (g_hash_table_contains (tree, key))
    return gantry_throw (error, GANTRY_ERROR_ALREADY_EXISTS, "snapshot %s: already exists", key);
  if (!check_parent (tree, parent, error))
    return FALSE;
  info = gantry_snapshot_info_new (kind, key, parent, labels, now, now);
  put (tree, number, info, 0, 0);
  return TRUE;
}

static gboolean
index_insert (GantrySnapshotIndex *index, const char *snapshotter, guint64 number, GantrySnapshotKind kind,
              const char *key, const char *parent, GVariant *labels, GantrySnapshotEntry **ret_entry,
              GCancellable *cancellable, GError **error)
{
  FakeIndex *self = (FakeIndex *)index;
  gboolean ok;

  if (kind != GANTRY_SNAPSHOT_ACTIVE && kind != GANTRY_SNAPSHOT_VIEW)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "snapshot %s is inserted as neither active nor view", key);
  if (!gantry_fake_check_cancelled (cancellable, error)
      || !gantry_fake_name_check ("a snapshot key", key, error)
      || !gantry_fake_labels_check (labels, NULL, error))
    return FALSE;
  g_mutex_lock (&self->lock);
  ok = insert_locked (get_tree (self, snapshotter), number, kind, key, parent, labels, error);
  if (ok && ret_entry != NULL)
    *ret_entry = with_ancestors (get_tree (self, snapshotter), key);
  g_mutex_unlock (&self->lock);
  return ok;
}

static gboolean
index_get (GantrySnapshotIndex *index, const char *snapshotter, const char *key,
           GantrySnapshotEntry **ret_entry, GCancellable *cancellable, GError **error)
{
  FakeIndex *self = (FakeIndex *)index;
  gboolean found;

  g_mutex_lock (&self->lock);
  found = g_hash_table_contains (get_tree (self, snapshotter), key);
  if (found)
    *ret_entry = with_ancestors (get_tree (self, snapshotter), key);
  g_mutex_unlock (&self->lock);
  return found || throw_absent (key, error);
}

static gboolean
index_update (GantrySnapshotIndex *index, const char *snapshotter, const char *key, GVariant *labels,
              const char *const *mask, GantrySnapshotEntry **ret_entry, GCancellable *cancellable,
              GError **error)
{
  FakeIndex *self = (FakeIndex *)index;
  GantrySnapshotEntry *old;
  gboolean found;

  if (!gantry_fake_check_cancelled (cancellable, error) || !gantry_fake_labels_check (labels, mask, error))
    return FALSE;
  g_mutex_lock (&self->lock);
  old = g_hash_table_lookup (get_tree (self, snapshotter), key);
  found = old != NULL;
  if (found)
    {
      g_autoptr (GVariant) merged = gantry_fake_labels_merge (old->info->labels, labels, mask);
      g_autoptr (GantrySnapshotInfo) info
          = gantry_snapshot_info_new (old->info->kind, key, old->info->parent, merged, old->info->created_ns,
                                      gantry_now_ns ());

      put (get_tree (self, snapshotter), old->number, info, old->usage_bytes, old->usage_inodes);
      if (ret_entry != NULL)
        *ret_entry = with_ancestors (get_tree (self, snapshotter), key);
    }
  g_mutex_unlock (&self->lock);
  return found || throw_absent (key, error);
}

static gboolean
commit_locked (GHashTable *tree, const char *name, const char *key, const char *parent, GVariant *labels,
               guint64 bytes, guint64 inodes, GError **error)
{
  GantrySnapshotEntry *old = g_hash_table_lookup (tree, key);
  g_autoptr (GantrySnapshotInfo) info = NULL;

  if (old == NULL)
    return throw_absent (key, error);
  if (g_hash_table_contains (tree, name))
    return gantry_throw (error, GANTRY_ERROR_ALREADY_EXISTS, "snapshot %s: already exists", name);
  if (old->info->kind != GANTRY_SNAPSHOT_ACTIVE)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "snapshot %s is not active", key);
  if (parent != NULL && old->info->parent != NULL && strcmp (parent, old->info->parent) != 0)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "snapshot %s has another parent", key);
  if (!check_parent (tree, parent, error))
    return FALSE;
  info = gantry_snapshot_info_new (GANTRY_SNAPSHOT_COMMITTED, name,
                                   parent != NULL ? parent : old->info->parent, labels, old->info->created_ns,
                                   gantry_now_ns ());
  put (tree, old->number, info, bytes, inodes);
  g_hash_table_remove (tree, key);
  return TRUE;
}

static gboolean
index_commit (GantrySnapshotIndex *index, const char *snapshotter, const char *name, const char *key,
              const char *parent, GVariant *labels, guint64 usage_bytes, guint64 usage_inodes,
              GCancellable *cancellable, GError **error)
{
  FakeIndex *self = (FakeIndex *)index;
  gboolean ok;

  if (!gantry_fake_check_cancelled (cancellable, error)
      || !gantry_fake_name_check ("a snapshot name", name, error)
      || !gantry_fake_labels_check (labels, NULL, error))
    return FALSE;
  g_mutex_lock (&self->lock);
  ok = commit_locked (get_tree (self, snapshotter), name, key, parent, labels, usage_bytes, usage_inodes,
                      error);
  g_mutex_unlock (&self->lock);
  return ok;
}

static gboolean
has_children (GHashTable *tree, const char *key)
{
  GHashTableIter iter;
  gpointer entry;

  g_hash_table_iter_init (&iter, tree);
  while (g_hash_table_iter_next (&iter, NULL, &entry))
    if (g_strcmp0 (((GantrySnapshotEntry *)entry)->info->parent, key) == 0)
      return TRUE;
  return FALSE;
}

static gboolean
remove_locked (GHashTable *tree, const char *key, guint64 *ret_number, GError **error)
{
  GantrySnapshotEntry *entry = g_hash_table_lookup (tree, key);

  if (entry == NULL)
    return throw_absent (key, error);
  if (has_children (tree, key))
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "cannot remove snapshot %s with child",
                         key);
  *ret_number = entry->number;
  g_hash_table_remove (tree, key);
  return TRUE;
}

static gboolean
index_remove (GantrySnapshotIndex *index, const char *snapshotter, const char *key, guint64 *ret_number,
              GCancellable *cancellable, GError **error)
{
  FakeIndex *self = (FakeIndex *)index;
  gboolean ok;

  if (!gantry_fake_check_cancelled (cancellable, error))
    return FALSE;
  g_mutex_lock (&self->lock);
  ok = remove_locked (get_tree (self, snapshotter), key, ret_number, error);
  g_mutex_unlock (&self->lock);
  return ok;
}

static const char *
entry_field (char **path, gpointer object)
{
  static const char *const kinds[] = { "unknown", "view", "active", "committed" };
  GantrySnapshotInfo *info = ((GantrySnapshotEntry *)object)->info;

  if (strcmp (path[0], "labels") == 0 && path[1] != NULL)
    return gantry_labels_lookup (info->labels, path[1]);
  if (strcmp (path[0], "name") == 0)
    return info->name;
  if (strcmp (path[0], "parent") == 0)
    return info->parent;
  return strcmp (path[0], "kind") == 0 ? kinds[info->kind] : NULL;
}

static gboolean
index_walk (GantrySnapshotIndex *index, const char *snapshotter, const char *const *filters,
            GantrySnapshotEntryFunc func, gpointer user_data, GCancellable *cancellable, GError **error)
{
  FakeIndex *self = (FakeIndex *)index;
  g_autoptr (GantryFakeFilter) filter = gantry_fake_filter_new (filters, error);
  g_autoptr (GPtrArray) entries = g_ptr_array_new_with_free_func (gantry_value_unref);
  GHashTableIter iter;
  gpointer key;

  if (filter == NULL || !gantry_fake_check_cancelled (cancellable, error))
    return FALSE;
  g_mutex_lock (&self->lock);
  g_hash_table_iter_init (&iter, get_tree (self, snapshotter));
  while (g_hash_table_iter_next (&iter, &key, NULL))
    g_ptr_array_add (entries, with_ancestors (get_tree (self, snapshotter), key));
  g_mutex_unlock (&self->lock);
  for (guint i = 0; i < entries->len; i++)
    if (gantry_fake_filter_match (filter, entry_field, g_ptr_array_index (entries, i))
        && !func (g_ptr_array_index (entries, i), user_data))
      break;
  return TRUE;
}

static gboolean
index_sync (GantrySnapshotIndex *index, GCancellable *cancellable, GError **error)
{
  (void)index;
  return gantry_fake_check_cancelled (cancellable, error);
}

static const GantrySnapshotIndexVtable vtable = {
  .size = sizeof vtable,
  .allocate = index_allocate,
  .insert = index_insert,
  .get = index_get,
  .update = index_update,
  .commit = index_commit,
  .remove = index_remove,
  .walk = index_walk,
  .sync = index_sync,
};

GantrySnapshotIndex *
gantry_fake_snapshot_index_new (void)
{
  FakeIndex *self = g_new0 (FakeIndex, 1);

  self->index.vtable = &vtable;
  g_mutex_init (&self->lock);
  self->trees = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_hash_table_unref);
  self->numbers = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  return &self->index;
}

void
gantry_fake_snapshot_index_free (GantrySnapshotIndex *index)
{
  FakeIndex *self = (FakeIndex *)index;

  if (self == NULL)
    return;
  g_hash_table_unref (self->trees);
  g_hash_table_unref (self->numbers);
  g_mutex_clear (&self->lock);
  g_free (self);
}
