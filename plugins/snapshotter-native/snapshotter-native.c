/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Snapshots by plain copies: works on every file system, and shares blocks where the file system can
 * (reflinks). Since all is copied, owners can be mapped on the way. */
#include "snapshotter-native.h"

#include <copytree.h>
#include <fdio.h>

static gboolean
map_owner (gconstpointer data, guint32 uid, guint32 gid, guint32 *ret_uid, guint32 *ret_gid, GError **error)
{
  return snap_mapping_apply (data, uid, gid, ret_uid, ret_gid, error);
}

/* The root directory of a snapshot on none is the mapped root's. */
static gboolean
own_root (int dir_fd, const SnapMapping *mapping, GError **error)
{
  guint32 uid, gid;

  if (!snap_mapping_apply (mapping, 0, 0, &uid, &gid, error))
    return FALSE;
  return fchownat (dir_fd, "fs", uid, gid, 0) == 0
         || gantry_throw_errno (error, errno, "setting the owner of a snapshot");
}

static gboolean
native_fill (SnapDirs *self, int dir_fd, GantrySnapshotKind kind, GArray *ancestors,
             const SnapMapping *mapping, GCancellable *cancellable, GError **error)
{
  gantry_autofd int from = -1, to = -1;
  g_autofree char *parent = NULL;

  if (ancestors->len == 0)
    return mapping == NULL || own_root (dir_fd, mapping, error);
  parent = g_strdup_printf ("%" G_GUINT64_FORMAT "/fs", g_array_index (ancestors, guint64, 0));
  from = openat (self->fd, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  to = openat (dir_fd, "fs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (from < 0 || to < 0)
    return gantry_throw_errno (error, errno, "opening the parent snapshot %s", parent);
  if (!gantry_copy_tree (from, to, mapping != NULL ? map_owner : NULL, mapping, cancellable, error))
    return FALSE;
  /* One sync a snapshot: a commit promises that the files are there after a power cut. */
  if (syncfs (to) < 0)
    return gantry_throw_errno (error, errno, "syncing a snapshot");
  return TRUE;
}

static GPtrArray *
native_mounts (SnapDirs *self, GantrySnapshotEntry *entry)
{
  const char *const options[] = { "rbind", entry->info->kind == GANTRY_SNAPSHOT_ACTIVE ? "rw" : "ro", NULL };
  g_autofree char *path = snap_dirs_fs_path (self, entry->number);
  GPtrArray *mounts = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_mount_unref);

  g_ptr_array_add (mounts, gantry_mount_new ("bind", path, NULL, options));
  return mounts;
}

static const SnapDirsOps ops = { native_fill, native_mounts, NULL };

SnapDirs *
snapshotter_native_new (const GantryHost *host, GError **error)
{
  SnapDirs *self = g_new0 (SnapDirs, 1);

  if (!snap_dirs_init (self, host, &ops, GANTRY_SNAPSHOTTER_REMAP, error))
    {
      snapshotter_native_free (self);
      return NULL;
    }
  return self;
}

void
snapshotter_native_free (SnapDirs *self)
{
  if (self == NULL)
    return;
  snap_dirs_clear (self);
  g_free (self);
}
