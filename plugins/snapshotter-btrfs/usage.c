/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A snapshot shares with its parent what has not been touched since: such a file has its parent's inode
 * number and time of change. What has, is counted whole. */
#include "snapshotter-btrfs.h"

#include <dirent.h>
#include <string.h>

#include <fdio.h>

#define MAX_DEPTH 1024

typedef struct
{
  guint64 bytes, inodes;
  GHashTable *links; /* inode numbers of files with several names that were counted */
  GCancellable *cancellable;
} Count;

static gboolean
is_shared (const struct stat *st, int parent_fd, const char *name)
{
  struct stat old;

  return parent_fd >= 0 && fstatat (parent_fd, name, &old, AT_SYMLINK_NOFOLLOW) == 0
         && old.st_ino == st->st_ino && old.st_mode == st->st_mode && old.st_size == st->st_size
         && old.st_ctim.tv_sec == st->st_ctim.tv_sec && old.st_ctim.tv_nsec == st->st_ctim.tv_nsec;
}

static void
count_inode (Count *count, const struct stat *st)
{
  if (!S_ISDIR (st->st_mode) && st->st_nlink > 1
      && !g_hash_table_add (count->links, g_memdup2 (&st->st_ino, sizeof st->st_ino)))
    return;
  count->inodes++;
  count->bytes += (guint64)st->st_blocks * 512;
}

static gboolean count_directory (Count *count, int fd, int parent_fd, guint depth, GError **error);

static gboolean
count_child (Count *count, int fd, int parent_fd, const char *name, guint depth, GError **error)
{
  gantry_autofd int child = -1, parent = -1;
  struct stat st;

  if (fstatat (fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return errno == ENOENT || gantry_throw_errno (error, errno, "looking at %s", name);
  if (!is_shared (&st, parent_fd, name))
    count_inode (count, &st);
  if (!S_ISDIR (st.st_mode))
    return TRUE;
  child = openat (fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (child < 0)
    return errno == ENOENT || gantry_throw_errno (error, errno, "opening %s", name);
  if (parent_fd >= 0)
    parent = openat (parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  return count_directory (count, child, parent, depth + 1, error);
}

static gboolean
count_directory (Count *count, int fd, int parent_fd, guint depth, GError **error)
{
  int again = openat (fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *dir = again >= 0 ? fdopendir (again) : NULL;
  struct dirent *entry;
  gboolean ok = TRUE;

  if (dir == NULL)
    {
      gantry_throw_errno (error, errno, "reading a directory");
      gantry_fd_clear (&again);
      return FALSE;
    }
  if (depth > MAX_DEPTH)
    ok = gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "directories are more than %d deep",
                       MAX_DEPTH);
  while (ok && (entry = readdir (dir)) != NULL)
    if (strcmp (entry->d_name, ".") != 0 && strcmp (entry->d_name, "..") != 0)
      ok = !g_cancellable_set_error_if_cancelled (count->cancellable, error)
           && count_child (count, fd, parent_fd, entry->d_name, depth, error);
  closedir (dir);
  return ok;
}

gboolean
btrfs_usage (int fd, int parent_fd, guint64 *ret_bytes, guint64 *ret_inodes, GCancellable *cancellable,
             GError **error)
{
  g_autoptr (GHashTable) links = g_hash_table_new_full (g_int64_hash, g_int64_equal, g_free, NULL);
  Count count = { 0, 0, links, cancellable };
  struct stat st;

  if (fstat (fd, &st) < 0)
    return gantry_throw_errno (error, errno, "looking at a snapshot");
  if (!is_shared (&st, parent_fd, "."))
    count_inode (&count, &st);
  if (!count_directory (&count, fd, parent_fd, 0, error))
    {
      g_prefix_error (error, "disk usage: ");
      return FALSE;
    }
  *ret_bytes = count.bytes;
  *ret_inodes = count.inodes;
  return TRUE;
}
