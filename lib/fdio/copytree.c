/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "copytree.h"

#include "fdio.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <gantry/error.h>

#define MAX_DEPTH  4096
#define MAX_XATTRS (64 * 1024)
#define MAX_CHUNK  (1 << 30)

typedef struct
{
  GHashTable *links; /* "dev:inode" of files with several names -> first copy's path */
  int root;          /* of the copy, for links */
  GString *path;     /* of the current directory in the copy, with a final slash */
  GantryOwnerFunc owner;
  gconstpointer owner_data;
  GCancellable *cancellable;
} Copy;

static gboolean copy_directory (Copy *copy, int from, int to, guint depth, GError **error);

static gboolean
copy_xattrs (int from, int to, GError **error)
{
  g_autofree char *names = g_malloc (MAX_XATTRS);
  g_autofree char *value = g_malloc (MAX_XATTRS);
  ssize_t length = flistxattr (from, names, MAX_XATTRS);

  if (length < 0)
    return errno == ENOTSUP || gantry_throw_errno (error, errno, "listing extended attributes");
  for (ssize_t i = 0; i < length; i += (ssize_t)strlen (names + i) + 1)
    {
      ssize_t n = fgetxattr (from, names + i, value, MAX_XATTRS);

      if (n < 0 && errno == ENODATA)
        continue;
      if (n < 0 || fsetxattr (to, names + i, value, (size_t)n, 0) < 0)
        return gantry_throw_errno (error, errno, "copying the extended attribute %s", names + i);
    }
  return TRUE;
}

static gboolean
owner_of (Copy *copy, const struct stat *st, guint32 *ret_uid, guint32 *ret_gid, GError **error)
{
  *ret_uid = st->st_uid;
  *ret_gid = st->st_gid;
  return copy->owner == NULL
         || copy->owner (copy->owner_data, st->st_uid, st->st_gid, ret_uid, ret_gid, error);
}

static gboolean
copy_attributes (Copy *copy, int from, int to, const struct stat *st, GError **error)
{
  const struct timespec times[2] = { st->st_atim, st->st_mtim };
  guint32 uid, gid;

  if (!owner_of (copy, st, &uid, &gid, error))
    return FALSE;
  if (fchown (to, uid, gid) < 0 || fchmod (to, st->st_mode & 07777) < 0)
    return gantry_throw_errno (error, errno, "setting owner and mode");
  /* After the owner: changing it drops security.capability. */
  if (!copy_xattrs (from, to, error))
    return FALSE;
  if (futimens (to, times) < 0)
    return gantry_throw_errno (error, errno, "setting times");
  return TRUE;
}

static gboolean
copy_data (int from, int to, off_t size, GError **error)
{
  off_t data = 0;

  if (size == 0 || ioctl (to, FICLONE, from) == 0)
    return TRUE;
  while (data < size)
    {
      off_t start = lseek (from, data, SEEK_DATA);
      off_t end = start < 0 ? start : lseek (from, start, SEEK_HOLE);

      if (start < 0 && errno == ENXIO)
        break;
      if (start < 0 || end < 0)
        return gantry_throw_errno (error, errno, "finding data");
      while (start < end)
        {
          off_t in = start, out = start;
          ssize_t n = copy_file_range (from, &in, to, &out, (size_t)MIN (end - start, MAX_CHUNK), 0);

          if (n < 0 && errno == EINTR)
            continue;
          if (n <= 0)
            return gantry_throw_errno (error, n < 0 ? errno : EIO, "copying data");
          start += n;
        }
      data = end;
    }
  if (ftruncate (to, size) < 0)
    return gantry_throw_errno (error, errno, "setting the size");
  return TRUE;
}

static gboolean
copy_file (Copy *copy, int from_dir, int to_dir, const char *name, const struct stat *st, GError **error)
{
  gantry_autofd int from = openat (from_dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
  gantry_autofd int to = -1;

  if (from < 0)
    return gantry_throw_errno (error, errno, "opening");
  to = openat (to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (to < 0)
    return gantry_throw_errno (error, errno, "creating");
  return copy_data (from, to, st->st_size, error) && copy_attributes (copy, from, to, st, error);
}

static gboolean
copy_special (Copy *copy, int from_dir, int to_dir, const char *name, const struct stat *st, GError **error)
{
  const struct timespec times[2] = { st->st_atim, st->st_mtim };
  char target[PATH_MAX];
  guint32 uid, gid;

  if (!owner_of (copy, st, &uid, &gid, error))
    return FALSE;
  if (S_ISLNK (st->st_mode))
    {
      ssize_t n = readlinkat (from_dir, name, target, sizeof target - 1);

      if (n < 0)
        return gantry_throw_errno (error, errno, "reading the link");
      target[n] = '\0';
      if (symlinkat (target, to_dir, name) < 0)
        return gantry_throw_errno (error, errno, "making the link");
    }
  else if (mknodat (to_dir, name, st->st_mode, st->st_rdev) < 0)
    return gantry_throw_errno (error, errno, "making the node");
  if (fchownat (to_dir, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0
      || (!S_ISLNK (st->st_mode) && fchmodat (to_dir, name, st->st_mode & 07777, 0) < 0)
      || utimensat (to_dir, name, times, AT_SYMLINK_NOFOLLOW) < 0)
    return gantry_throw_errno (error, errno, "setting attributes");
  return TRUE;
}

static gboolean
copy_subdirectory (Copy *copy, int from_dir, int to_dir, const char *name, guint depth, GError **error)
{
  gantry_autofd int from = openat (from_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  gantry_autofd int to = -1;
  gsize length = copy->path->len;
  gboolean ok;

  if (from < 0)
    return gantry_throw_errno (error, errno, "opening");
  if (mkdirat (to_dir, name, 0700) < 0)
    return gantry_throw_errno (error, errno, "making the directory");
  to = openat (to_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (to < 0)
    return gantry_throw_errno (error, errno, "opening the copy");
  g_string_append_printf (copy->path, "%s/", name);
  ok = copy_directory (copy, from, to, depth + 1, error);
  g_string_truncate (copy->path, length);
  return ok;
}

static gboolean
copy_entry (Copy *copy, int from, int to, const char *name, guint depth, GError **error)
{
  g_autofree char *key = NULL;
  const char *first = NULL;
  struct stat st;

  if (fstatat (from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return gantry_throw_errno (error, errno, "reading the status");
  if (S_ISDIR (st.st_mode))
    return copy_subdirectory (copy, from, to, name, depth, error);
  if (st.st_nlink > 1)
    {
      key = g_strdup_printf ("%lx:%lx", (unsigned long)st.st_dev, (unsigned long)st.st_ino);
      first = g_hash_table_lookup (copy->links, key);
    }
  if (first != NULL)
    return linkat (copy->root, first, to, name, 0) == 0
           || gantry_throw_errno (error, errno, "linking to %s", first);
  if (S_ISREG (st.st_mode) ? !copy_file (copy, from, to, name, &st, error)
                           : !copy_special (copy, from, to, name, &st, error))
    {
      g_prefix_error (error, "copying /%s%s: ", copy->path->str, name);
      return FALSE;
    }
  if (key != NULL)
    g_hash_table_insert (copy->links, g_steal_pointer (&key), g_strconcat (copy->path->str, name, NULL));
  return TRUE;
}

static gboolean
copy_directory (Copy *copy, int from, int to, guint depth, GError **error)
{
  int fd = openat (from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *dir = fd >= 0 ? fdopendir (fd) : NULL;
  gboolean ok = TRUE;
  struct dirent *entry;
  struct stat st;

  if (dir == NULL)
    {
      gantry_fd_clear (&fd);
      return gantry_throw_errno (error, errno, "reading directory /%s", copy->path->str);
    }
  if (depth > MAX_DEPTH)
    ok = gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "directories are nested too deep");
  while (ok && (entry = readdir (dir)) != NULL)
    {
      if (strcmp (entry->d_name, ".") == 0 || strcmp (entry->d_name, "..") == 0)
        continue;
      ok = !g_cancellable_set_error_if_cancelled (copy->cancellable, error);
      ok = ok && copy_entry (copy, from, to, entry->d_name, depth, error);
    }
  closedir (dir);
  /* Last, so that the directory's times are those of the original. */
  if (ok && fstat (from, &st) < 0)
    return gantry_throw_errno (error, errno, "reading the status of /%s", copy->path->str);
  return ok && copy_attributes (copy, from, to, &st, error);
}

gboolean
gantry_copy_tree (int from, int to, GantryOwnerFunc owner, gconstpointer data, GCancellable *cancellable,
                  GError **error)
{
  g_autoptr (GHashTable) links = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  g_autoptr (GString) path = g_string_new (NULL);
  Copy copy = { links, to, path, owner, data, cancellable };

  return copy_directory (&copy, from, to, 0, error);
}
