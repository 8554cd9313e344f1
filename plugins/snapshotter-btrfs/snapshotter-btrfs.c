/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Snapshots as btrfs has them: "fs" of each is a subvolume, one on a parent a snapshot of the parent's, which
 * is made at once however big that is. */
#include "snapshotter-btrfs.h"

#include <btrfsutil.h>
#include <fdio.h>
#include <linux/magic.h>
#include <sys/vfs.h>

static gboolean
throw_btrfs (GError **error, enum btrfs_util_error code, const char *what)
{
  int saved = errno;

  return gantry_throw_errno (error, saved, "%s: %s", what, btrfs_util_strerror (code));
}

static int
open_files (SnapDirs *self, guint64 number, GError **error)
{
  g_autofree char *name = g_strdup_printf ("%" G_GUINT64_FORMAT "/fs", number);
  int fd = openat (self->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

  if (fd < 0)
    gantry_throw_errno (error, errno, "opening snapshot directory %s/%s", self->path, name);
  return fd;
}

static gboolean
btrfs_fill (SnapDirs *self, int dir_fd, GantrySnapshotKind kind, GArray *ancestors,
            const SnapMapping *mapping, GCancellable *cancellable, GError **error)
{
  gantry_autofd int from = -1;
  enum btrfs_util_error code;

  /* The subvolume takes the place of the directory. */
  if (unlinkat (dir_fd, "fs", AT_REMOVEDIR) < 0)
    return gantry_throw_errno (error, errno, "making the subvolume of a snapshot");
  if (ancestors->len == 0)
    {
      code = btrfs_util_create_subvolume_fd (dir_fd, "fs", 0, NULL, NULL);
      return code == BTRFS_UTIL_OK || throw_btrfs (error, code, "making the subvolume of a snapshot");
    }
  from = open_files (self, g_array_index (ancestors, guint64, 0), error);
  if (from < 0)
    return FALSE;
  /* A view is mounted read-only; a read-only subvolume could not be removed by rm (1). */
  code = btrfs_util_create_snapshot_fd2 (from, dir_fd, "fs", 0, NULL, NULL);
  return code == BTRFS_UTIL_OK || throw_btrfs (error, code, "making a snapshot of the parent's subvolume");
}

/* Subvolumes that a container has made within go with it. */
static gboolean
btrfs_empty (SnapDirs *self, int dir_fd, GError **error)
{
  enum btrfs_util_error code
      = btrfs_util_delete_subvolume_fd (dir_fd, "fs", BTRFS_UTIL_DELETE_SUBVOLUME_RECURSIVE);

  /* A crash can have left a plain directory, or nothing. */
  return code == BTRFS_UTIL_OK || code == BTRFS_UTIL_ERROR_NOT_SUBVOLUME || errno == ENOENT
         || throw_btrfs (error, code, "removing the subvolume of a snapshot");
}

static GPtrArray *
btrfs_mounts (SnapDirs *self, GantrySnapshotEntry *entry)
{
  const char *const options[] = { "rbind", entry->info->kind == GANTRY_SNAPSHOT_ACTIVE ? "rw" : "ro", NULL };
  g_autofree char *path = snap_dirs_fs_path (self, entry->number);
  GPtrArray *mounts = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_mount_unref);

  g_ptr_array_add (mounts, gantry_mount_new ("bind", path, NULL, options));
  return mounts;
}

static gboolean
btrfs_measure (SnapDirs *self, GantrySnapshotEntry *entry, guint64 *ret_bytes, guint64 *ret_inodes,
               GCancellable *cancellable, GError **error)
{
  gantry_autofd int fd = open_files (self, entry->number, error), parent = -1;

  if (fd < 0)
    return FALSE;
  if (entry->ancestors->len > 0)
    {
      parent = open_files (self, g_array_index (entry->ancestors, guint64, 0), error);
      if (parent < 0)
        return FALSE;
    }
  return btrfs_usage (fd, parent, ret_bytes, ret_inodes, cancellable, error);
}

static const SnapDirsOps ops = {
  .fill = btrfs_fill,
  .mounts = btrfs_mounts,
  .empty = btrfs_empty,
  .usage = btrfs_measure,
};

static gboolean
is_on_btrfs (const GantryHost *host, GError **error)
{
  int fd = gantry_host_get_dir_fd (host, GANTRY_DIR_PERSISTENT, error);
  const char *path;
  struct statfs fs;

  if (fd < 0)
    return FALSE;
  if (fstatfs (fd, &fs) == 0 && fs.f_type == BTRFS_SUPER_MAGIC)
    return TRUE;
  path = gantry_host_get_dir_path (host, GANTRY_DIR_PERSISTENT, NULL);
  return gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED, "%s is not on btrfs", path);
}

SnapDirs *
snapshotter_btrfs_new (const GantryHost *host, GError **error)
{
  SnapDirs *self = NULL;

  if (!is_on_btrfs (host, error))
    return NULL;
  self = g_new0 (SnapDirs, 1);
  if (!snap_dirs_init (self, host, &ops, 0, error))
    {
      snapshotter_btrfs_free (self);
      return NULL;
    }
  return self;
}

void
snapshotter_btrfs_free (SnapDirs *self)
{
  if (self == NULL)
    return;
  snap_dirs_clear (self);
  g_free (self);
}
