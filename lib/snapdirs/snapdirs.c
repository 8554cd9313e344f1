/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapdirs.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include <fdio.h>

/* Before the number of a directory that is being filled. */
#define MAKING "new-"

char *
snap_dirs_fs_path (SnapDirs *self, guint64 number)
{
  return g_strdup_printf ("%s/%" G_GUINT64_FORMAT "/fs", self->path, number);
}

static void
number_name (guint64 number, char name[32])
{
  g_snprintf (name, 32, "%" G_GUINT64_FORMAT, number);
}

gboolean
snap_dirs_remove_at (SnapDirs *self, const char *name, GError **error)
{
  gantry_autofd int fd = -1;

  if (self->ops->empty != NULL)
    {
      fd = openat (self->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
      if (fd >= 0 && !self->ops->empty (self, fd, error))
        return FALSE;
    }
  return gantry_remove_tree_at (self->fd, name, error);
}

static void
remove_directory (SnapDirs *self, const char *name)
{
  g_autoptr (GError) error = NULL;

  if (!snap_dirs_remove_at (self, name, &error))
    gantry_host_log (self->host, GANTRY_LOG_WARNING,
                     "snapshot directory %s/%s stays for the next cleanup: %s", self->path, name,
                     error->message);
}

static void
remove_numbered (SnapDirs *self, guint64 number)
{
  char name[32];

  number_name (number, name);
  remove_directory (self, name);
}

static gboolean
fill_directory (SnapDirs *self, const char *name, GantrySnapshotKind kind, GArray *ancestors,
                const SnapMapping *mapping, GCancellable *cancellable, GError **error)
{
  gantry_autofd int fd = -1;

  if (mkdirat (self->fd, name, 0700) < 0)
    return gantry_throw_errno (error, errno, "making the directory of a snapshot");
  fd = openat (self->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0 || mkdirat (fd, "fs", 0755) < 0)
    return gantry_throw_errno (error, errno, "making the directory of a snapshot");
  return self->ops->fill (self, fd, kind, ancestors, mapping, cancellable, error);
}

/* File systems keep the order of names, so one that is there after a power cut is whole. */
static gboolean
make_directory (SnapDirs *self, guint64 number, GantrySnapshotKind kind, GArray *ancestors,
                const SnapMapping *mapping, GCancellable *cancellable, GError **error)
{
  char name[32], making[40];

  number_name (number, name);
  g_snprintf (making, sizeof making, MAKING "%s", name);
  if (fill_directory (self, making, kind, ancestors, mapping, cancellable, error)
      && (renameat (self->fd, making, self->fd, name) == 0
          || gantry_throw_errno (error, errno, "naming the directory of a snapshot")))
    return TRUE;
  remove_directory (self, making);
  return FALSE;
}

/* The numbers of @parent and its ancestors. Returns: (transfer full), or NULL with @error. */
static GArray *
lineage_of (SnapDirs *self, const char *parent, GCancellable *cancellable, GError **error)
{
  g_autoptr (GantrySnapshotEntry) entry = NULL;
  g_autoptr (GArray) lineage = g_array_new (FALSE, FALSE, sizeof (guint64));

  if (parent == NULL)
    return g_steal_pointer (&lineage);
  if (!gantry_snapshot_index_get (self->index, self->id, parent, &entry, cancellable, error))
    {
      g_prefix_error (error, "parent ");
      return NULL;
    }
  if (entry->info->kind != GANTRY_SNAPSHOT_COMMITTED)
    {
      gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "parent snapshot %s is not committed", parent);
      return NULL;
    }
  g_array_append_val (lineage, entry->number);
  g_array_append_vals (lineage, entry->ancestors->data, entry->ancestors->len);
  return g_steal_pointer (&lineage);
}

/* Takes a number and notes that its directory is not in the index yet. Numbers are noted in order. */
static gboolean
begin (SnapDirs *self, guint64 *ret_number, GCancellable *cancellable, GError **error)
{
  gboolean ok;

  g_mutex_lock (&self->lock);
  ok = gantry_snapshot_index_allocate (self->index, self->id, ret_number, cancellable, error);
  if (ok)
    g_array_append_val (self->pending, *ret_number);
  g_mutex_unlock (&self->lock);
  return ok;
}

static void
end (SnapDirs *self, guint64 number)
{
  g_mutex_lock (&self->lock);
  for (guint i = 0; i < self->pending->len; i++)
    if (g_array_index (self->pending, guint64, i) == number)
      {
        g_array_remove_index (self->pending, i);
        break;
      }
  g_mutex_unlock (&self->lock);
}

static unsigned
snap_capabilities (GantrySnapshotter *snapshotter)
{
  SnapDirs *self = (SnapDirs *)snapshotter;

  if (g_once_init_enter (&self->probed))
    {
      if (self->ops->probe_remap != NULL && self->ops->probe_remap (self))
        self->capabilities |= GANTRY_SNAPSHOTTER_REMAP;
      g_once_init_leave (&self->probed, 1);
    }
  return self->capabilities;
}

gboolean
snap_mapping_apply (const SnapMapping *mapping, guint32 uid, guint32 gid, guint32 *ret_uid, guint32 *ret_gid,
                    GError **error)
{
  gint64 mapped_uid = idmap_outside (mapping->uids, mapping->n_uids, uid);
  gint64 mapped_gid = idmap_outside (mapping->gids, mapping->n_gids, gid);

  if (mapped_uid < 0 || mapped_gid < 0)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                         "a file belongs to %u:%u, which the snapshot's mapping does not have; map more ids",
                         uid, gid);
  *ret_uid = (guint32)mapped_uid;
  *ret_gid = (guint32)mapped_gid;
  return TRUE;
}

/* What the labels say of owners. *@ret_mapping: (transfer full): NULL if nothing. */
static gboolean
read_mapping (SnapDirs *self, GVariant *labels, SnapMapping **ret_mapping, GError **error)
{
  const char *uids = gantry_labels_lookup (labels, SNAP_UIDMAPPING),
             *gids = gantry_labels_lookup (labels, SNAP_GIDMAPPING);
  g_autofree SnapMapping *mapping = NULL;

  if (uids == NULL && gids == NULL)
    return TRUE;
  mapping = g_new (SnapMapping, 1);
  mapping->n_uids = uids != NULL ? idmap_parse (uids, mapping->uids) : 0;
  mapping->n_gids = gids != NULL ? idmap_parse (gids, mapping->gids) : 0;
  if (mapping->n_uids == 0 || mapping->n_gids == 0)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "the labels " SNAP_UIDMAPPING " and " SNAP_GIDMAPPING
                         " must both be \"container-id:host-id:size\", not \"%s\" and "
                         "\"%s\": invalid argument",
                         uids != NULL ? uids : "", gids != NULL ? gids : "");
  if ((snap_capabilities (&self->snapshotter) & GANTRY_SNAPSHOTTER_REMAP) == 0)
    return gantry_throw (
        error, GANTRY_ERROR_NOT_IMPLEMENTED,
        "mounts with mapped owners do not work on %s; use the native snapshotter, which copies", self->path);
  *ret_mapping = g_steal_pointer (&mapping);
  return TRUE;
}

static gboolean
create (SnapDirs *self, GantrySnapshotKind kind, const char *key, const char *parent, GVariant *labels,
        GPtrArray **ret_mounts, GCancellable *cancellable, GError **error)
{
  g_autoptr (GArray) lineage = NULL;
  g_autoptr (GantrySnapshotEntry) entry = NULL;
  g_autofree SnapMapping *mapping = NULL;
  guint64 number;
  gboolean ok;

  if (g_cancellable_set_error_if_cancelled (cancellable, error))
    return FALSE;
  if (parent != NULL && parent[0] == '\0')
    parent = NULL;
  /* Seen early, so that a losing prepare of a big native snapshot copies nothing; the index decides for good.
   */
  if (gantry_snapshot_index_get (self->index, self->id, key, &entry, cancellable, NULL))
    return gantry_throw (error, GANTRY_ERROR_ALREADY_EXISTS, "snapshot \"%s\": already exists", key);
  if (!read_mapping (self, labels, &mapping, error))
    return FALSE;
  lineage = lineage_of (self, parent, cancellable, error);
  if (lineage == NULL || !begin (self, &number, cancellable, error))
    return FALSE;
  ok = make_directory (self, number, kind, lineage, mapping, cancellable, error);
  if (ok
      && !gantry_snapshot_index_insert (self->index, self->id, number, kind, key, parent, labels, &entry,
                                        cancellable, error))
    {
      ok = FALSE;
      remove_numbered (self, number);
    }
  end (self, number);
  if (!ok)
    return FALSE;
  if (ret_mounts != NULL)
    *ret_mounts = self->ops->mounts (self, entry);
  return TRUE;
}

static gboolean
snap_prepare (GantrySnapshotter *snapshotter, const char *key, const char *parent, GVariant *labels,
              GPtrArray **ret_mounts, GCancellable *cancellable, GError **error)
{
  return create ((SnapDirs *)snapshotter, GANTRY_SNAPSHOT_ACTIVE, key, parent, labels, ret_mounts,
                 cancellable, error);
}

static gboolean
snap_view (GantrySnapshotter *snapshotter, const char *key, const char *parent, GVariant *labels,
           GPtrArray **ret_mounts, GCancellable *cancellable, GError **error)
{
  return create ((SnapDirs *)snapshotter, GANTRY_SNAPSHOT_VIEW, key, parent, labels, ret_mounts, cancellable,
                 error);
}

static gboolean
snap_stat (GantrySnapshotter *snapshotter, const char *key, GantrySnapshotInfo **ret_info,
           GCancellable *cancellable, GError **error)
{
  SnapDirs *self = (SnapDirs *)snapshotter;
  g_autoptr (GantrySnapshotEntry) entry = NULL;

  if (!gantry_snapshot_index_get (self->index, self->id, key, &entry, cancellable, error))
    return FALSE;
  *ret_info = gantry_snapshot_info_ref (entry->info);
  return TRUE;
}

static gboolean
snap_update (GantrySnapshotter *snapshotter, const char *key, GVariant *labels, const char *const *mask,
             GantrySnapshotInfo **ret_info, GCancellable *cancellable, GError **error)
{
  SnapDirs *self = (SnapDirs *)snapshotter;
  g_autoptr (GantrySnapshotEntry) entry = NULL;

  if (!gantry_snapshot_index_update (self->index, self->id, key, labels, mask, &entry, cancellable, error)
      || !gantry_snapshot_index_sync (self->index, cancellable, error))
    return FALSE;
  if (ret_info != NULL)
    *ret_info = gantry_snapshot_info_ref (entry->info);
  return TRUE;
}

static gboolean
snap_usage (GantrySnapshotter *snapshotter, const char *key, guint64 *ret_bytes, guint64 *ret_inodes,
            GCancellable *cancellable, GError **error)
{
  SnapDirs *self = (SnapDirs *)snapshotter;
  g_autoptr (GantrySnapshotEntry) entry = NULL;
  g_autofree char *name = NULL;

  if (!gantry_snapshot_index_get (self->index, self->id, key, &entry, cancellable, error))
    return FALSE;
  if (self->ops->usage != NULL)
    return self->ops->usage (self, entry, ret_bytes, ret_inodes, cancellable, error);
  name = g_strdup_printf ("%" G_GUINT64_FORMAT "/fs", entry->number);
  return gantry_disk_usage_at (self->fd, name, ret_bytes, ret_inodes, error);
}

static gboolean
snap_mounts (GantrySnapshotter *snapshotter, const char *key, GPtrArray **ret_mounts,
             GCancellable *cancellable, GError **error)
{
  SnapDirs *self = (SnapDirs *)snapshotter;
  g_autoptr (GantrySnapshotEntry) entry = NULL;

  if (!gantry_snapshot_index_get (self->index, self->id, key, &entry, cancellable, error))
    return FALSE;
  if (entry->info->kind == GANTRY_SNAPSHOT_COMMITTED)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                         "snapshot %s is committed and can't be mounted; make a view of it", key);
  *ret_mounts = self->ops->mounts (self, entry);
  return TRUE;
}

/* Where a snapshot's files are whole without its parent's, a parent that comes later would be one in name
 * only. */
static gboolean
check_rebase (SnapDirs *self, const char *key, const char *parent, GCancellable *cancellable, GError **error)
{
  g_autoptr (GantrySnapshotEntry) entry = NULL;

  if ((self->capabilities & GANTRY_SNAPSHOTTER_PARALLEL_UNPACK) != 0)
    return TRUE;
  if (!gantry_snapshot_index_get (self->index, self->id, key, &entry, cancellable, error))
    return FALSE;
  return entry->info->parent != NULL
         || gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                          "snapshot %s was prepared on none and this snapshotter can't put it on %s", key,
                          parent);
}

static gboolean
snap_commit (GantrySnapshotter *snapshotter, const char *name, const char *key, const char *parent,
             GVariant *labels, GCancellable *cancellable, GError **error)
{
  SnapDirs *self = (SnapDirs *)snapshotter;

  if (parent != NULL && parent[0] == '\0')
    parent = NULL;
  if (parent != NULL && !check_rebase (self, key, parent, cancellable, error))
    return FALSE;
  return gantry_snapshot_index_commit (self->index, self->id, name, key, parent, labels, 0, 0, cancellable,
                                       error);
}

typedef struct
{
  SnapDirs *self;
  guint64 number;
} Removal;

static void
run_removal (gpointer data, gpointer unused)
{
  Removal *removal = data;
  SnapDirs *self = removal->self;

  remove_numbered (self, removal->number);
  g_mutex_lock (&self->lock);
  g_hash_table_remove (self->going, &removal->number);
  g_mutex_unlock (&self->lock);
}

static gboolean
snap_remove (GantrySnapshotter *snapshotter, const char *key, GCancellable *cancellable, GError **error)
{
  SnapDirs *self = (SnapDirs *)snapshotter;
  Removal *removal;
  guint64 number;

  if (!gantry_snapshot_index_remove (self->index, self->id, key, &number, cancellable, error))
    return FALSE;
  g_mutex_lock (&self->lock);
  g_hash_table_add (self->going, g_memdup2 (&number, sizeof number));
  g_mutex_unlock (&self->lock);
  removal = g_new (Removal, 1);
  removal->self = self;
  removal->number = number;
  if (!gantry_host_submit (self->host, GANTRY_POOL_IO, run_removal, removal, g_free, NULL))
    {
      run_removal (removal, NULL);
      g_free (removal);
    }
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
  SnapDirs *self = (SnapDirs *)snapshotter;
  Walk walk = { func, user_data };

  return gantry_snapshot_index_walk (self->index, self->id, filters, on_entry, &walk, cancellable, error);
}

static gboolean
collect_number (GantrySnapshotEntry *entry, gpointer user_data)
{
  g_hash_table_add (user_data, g_memdup2 (&entry->number, sizeof entry->number));
  return TRUE;
}

gboolean
snap_dirs_number_of (const char *name, guint64 *ret_number)
{
  const char *digits = g_str_has_prefix (name, MAKING) ? name + strlen (MAKING) : name;

  return g_ascii_string_to_unsigned (digits, 10, 1, G_MAXINT64, ret_number, NULL);
}

/* Removes the directories up to @last that no number in @known names. Those above may belong to a prepare
 * under way. Leaves in @known what has no directory. */
static gboolean
remove_orphans (SnapDirs *self, guint64 last, GHashTable *known, GError **error)
{
  int fd = openat (self->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *dir = fd >= 0 ? fdopendir (fd) : NULL;
  struct dirent *entry;

  if (dir == NULL)
    {
      gantry_fd_clear (&fd);
      return gantry_throw_errno (error, errno, "reading %s", self->path);
    }
  while ((entry = readdir (dir)) != NULL)
    {
      guint64 number;

      if (!snap_dirs_number_of (entry->d_name, &number) || number > last)
        continue;
      if (!g_ascii_isdigit (entry->d_name[0]) || !g_hash_table_remove (known, &number))
        remove_directory (self, entry->d_name);
    }
  closedir (dir);
  return TRUE;
}

gboolean
snap_dirs_last_settled (SnapDirs *self, guint64 *ret_last, GCancellable *cancellable, GError **error)
{
  gboolean ok = TRUE;

  g_mutex_lock (&self->lock);
  if (self->pending->len > 0)
    *ret_last = g_array_index (self->pending, guint64, 0) - 1;
  else
    ok = gantry_snapshot_index_allocate (self->index, self->id, ret_last, cancellable, error);
  g_mutex_unlock (&self->lock);
  return ok;
}

gboolean
snap_dirs_is_going (SnapDirs *self, guint64 number)
{
  gboolean going;

  g_mutex_lock (&self->lock);
  going = g_hash_table_contains (self->going, &number);
  g_mutex_unlock (&self->lock);
  return going;
}

static gboolean
snap_cleanup (GantrySnapshotter *snapshotter, GCancellable *cancellable, GError **error)
{
  SnapDirs *self = (SnapDirs *)snapshotter;
  g_autoptr (GHashTable) known = g_hash_table_new_full (g_int64_hash, g_int64_equal, g_free, NULL);
  guint64 last;

  return snap_dirs_last_settled (self, &last, cancellable, error)
         && gantry_snapshot_index_walk (self->index, self->id, NULL, collect_number, known, cancellable,
                                        error)
         && remove_orphans (self, last, known, error);
}

static const GantrySnapshotterVtable vtable = {
  .size = sizeof (GantrySnapshotterVtable),
  .get_capabilities = snap_capabilities,
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
  .check = snap_dirs_check,
};

typedef struct
{
  SnapDirs *self;
  GHashTable *lost; /* numbers */
} Restore;

/* A committed snapshot is left to check: what it had can't be made again. */
static gboolean
restore_entry (GantrySnapshotEntry *entry, gpointer user_data)
{
  Restore *restore = user_data;
  SnapDirs *self = restore->self;
  g_autofree SnapMapping *mapping = NULL;
  g_autoptr (GError) error = NULL;

  if (entry->info->kind == GANTRY_SNAPSHOT_COMMITTED
      || !g_hash_table_contains (restore->lost, &entry->number))
    return TRUE;
  if (read_mapping (self, entry->info->labels, &mapping, &error)
      && make_directory (self, entry->number, entry->info->kind, entry->ancestors, mapping, NULL, &error))
    gantry_host_log (self->host, GANTRY_LOG_WARNING,
                     "what was written to snapshot %s before the power was lost is gone; it is empty again",
                     entry->info->name);
  else
    gantry_host_log (self->host, GANTRY_LOG_WARNING,
                     "snapshot %s lost its directory with the power; remove it: %s", entry->info->name,
                     error->message);
  return TRUE;
}

/* Nothing is under way yet: every directory without an entry is from an earlier life, whatever number a power
 * failure forgot. And since a prepare syncs nothing, a power failure can take the directory and leave the
 * entry, for the database is written before the file system's journal. */
static gboolean
take_up (SnapDirs *self, GError **error)
{
  g_autoptr (GHashTable) known = g_hash_table_new_full (g_int64_hash, g_int64_equal, g_free, NULL);
  Restore restore = { self, known };

  return gantry_snapshot_index_walk (self->index, self->id, NULL, collect_number, known, NULL, error)
         && remove_orphans (self, G_MAXINT64, known, error)
         && (g_hash_table_size (known) == 0
             || gantry_snapshot_index_walk (self->index, self->id, NULL, restore_entry, &restore, NULL,
                                            error));
}

gboolean
snap_dirs_init (SnapDirs *self, const GantryHost *host, const SnapDirsOps *ops, unsigned capabilities,
                GError **error)
{
  self->snapshotter.vtable = &vtable;
  self->host = host;
  self->ops = ops;
  self->capabilities = capabilities;
  self->id = host->get_id (host);
  g_mutex_init (&self->lock);
  self->pending = g_array_new (FALSE, FALSE, sizeof (guint64));
  self->going = g_hash_table_new_full (g_int64_hash, g_int64_equal, g_free, NULL);
  self->index = gantry_host_lookup (host, GANTRY_SNAPSHOT_INDEX_TYPE, NULL, error);
  if (self->index == NULL)
    return FALSE;
  self->fd = gantry_host_get_dir_fd (host, GANTRY_DIR_PERSISTENT, error);
  if (self->fd < 0)
    return FALSE;
  self->path = gantry_host_get_dir_path (host, GANTRY_DIR_PERSISTENT, error);
  return self->path != NULL && take_up (self, error);
}

void
snap_dirs_clear (SnapDirs *self)
{
  g_mutex_clear (&self->lock);
  g_clear_pointer (&self->pending, g_array_unref);
  g_clear_pointer (&self->going, g_hash_table_unref);
  g_strfreev (self->mount_options);
}
