/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fdio.h"

#include <dirent.h>
#include <errno.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include <gantry/error.h>

/* Deep enough for any image; an attacker's chain of directories ends here instead of in our stack. */
#define MAX_DEPTH 4096

/* Of directories that are open at once while a tree is removed. */
#define MAX_OPEN_DEPTH    32
#define MAX_MOVE_ATTEMPTS 8

G_DEFINE_AUTOPTR_CLEANUP_FUNC (DIR, closedir)

static int
open_resolved (int dfd, const char *path, int flags, mode_t mode, guint64 resolve)
{
  struct open_how how = {
    .flags = (guint64)(unsigned)(flags | O_CLOEXEC),
    .mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? mode : 0,
    .resolve = resolve,
  };
  int fd;

  do
    fd = (int)syscall (SYS_openat2, dfd, path, &how, sizeof how);
  while (fd < 0 && (errno == EINTR || errno == EAGAIN));
  return fd;
}

int
gantry_open_beneath (int dfd, const char *path, int flags, mode_t mode)
{
  return open_resolved (dfd, path, flags, mode, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
}

int
gantry_open_in_root (int dfd, const char *path, int flags, mode_t mode)
{
  return open_resolved (dfd, path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

int
gantry_open_no_links (int dfd, const char *path, int flags, mode_t mode)
{
  return open_resolved (dfd, path, flags, mode, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
}

int
gantry_open_dir_at (int dfd, const char *path, mode_t mode, GError **error)
{
  gantry_autofd int fd = -1;
  g_auto (GStrv) parts = NULL;

  fd = gantry_open_beneath (dfd, path, O_RDONLY | O_DIRECTORY, 0);
  if (fd >= 0)
    return gantry_fd_steal (&fd);
  fd = fcntl (dfd, F_DUPFD_CLOEXEC, 3);
  if (fd < 0)
    {
      gantry_throw_errno (error, errno, "opening directory %s", path);
      return -1;
    }
  parts = g_strsplit (path, "/", -1);
  for (gsize i = 0; parts[i] != NULL; i++)
    {
      int next;

      if (parts[i][0] == '\0')
        continue;
      if (mkdirat (fd, parts[i], mode) < 0 && errno != EEXIST)
        {
          gantry_throw_errno (error, errno, "making directory %s", path);
          return -1;
        }
      next = gantry_open_beneath (fd, parts[i], O_RDONLY | O_DIRECTORY, 0);
      if (next < 0)
        {
          gantry_throw_errno (error, errno, "opening directory %s", path);
          return -1;
        }
      close (fd);
      fd = next;
    }
  return gantry_fd_steal (&fd);
}

gboolean
gantry_write_all (int fd, gconstpointer data, gsize length, GError **error)
{
  const guint8 *at = data;

  while (length > 0)
    {
      ssize_t n = write (fd, at, length);

      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0)
        return gantry_throw_errno (error, errno, "writing %" G_GSIZE_FORMAT " bytes", length);
      at += n;
      length -= (gsize)n;
    }
  return TRUE;
}

GBytes *
gantry_read_all (int fd, gsize limit, GError **error)
{
  g_autoptr (GByteArray) array = g_byte_array_new ();
  struct stat st;
  gsize chunk = 4096;

  if (fstat (fd, &st) == 0 && S_ISREG (st.st_mode) && st.st_size > 0 && (guint64)st.st_size < limit)
    chunk = (gsize)st.st_size + 1;
  for (;;)
    {
      gsize used = array->len;
      ssize_t n;

      g_byte_array_set_size (array, (guint)(used + chunk));
      do
        n = read (fd, array->data + used, chunk);
      while (n < 0 && errno == EINTR);
      if (n < 0)
        {
          gantry_throw_errno (error, errno, "reading");
          return NULL;
        }
      if (n == 0)
        {
          g_byte_array_set_size (array, (guint)used);
          return g_byte_array_free_to_bytes (g_steal_pointer (&array));
        }
      g_byte_array_set_size (array, (guint)(used + (gsize)n));
      if (array->len > limit)
        {
          gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED,
                        "more than the limit of %" G_GSIZE_FORMAT " bytes", limit);
          return NULL;
        }
      chunk = CLAMP (array->len, 4096, 1024 * 1024);
    }
}

GBytes *
gantry_read_file_at (int dfd, const char *name, gsize limit, GError **error)
{
  /* O_NONBLOCK: a FIFO in place of the file must not stop us. */
  gantry_autofd int fd = gantry_open_beneath (dfd, name, O_RDONLY | O_NONBLOCK, 0);
  struct stat st;
  GBytes *bytes;

  if (fd < 0 || fstat (fd, &st) < 0)
    {
      gantry_throw_errno (error, errno, "opening %s", name);
      return NULL;
    }
  if (!S_ISREG (st.st_mode))
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "%s is not a regular file", name);
      return NULL;
    }
  bytes = gantry_read_all (fd, limit, error);
  if (bytes == NULL)
    g_prefix_error (error, "%s: ", name);
  return bytes;
}

gboolean
gantry_replace_file_at (int dfd, const char *name, gconstpointer data, gsize length, mode_t mode,
                        gboolean durable, GError **error)
{
  g_autofree char *temporary = g_strdup_printf (".%s.%08x", name, g_random_int ());
  gantry_autofd int fd = openat (dfd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);

  if (fd < 0)
    return gantry_throw_errno (error, errno, "creating %s", name);
  if (!gantry_write_all (fd, data, length, error))
    {
      g_prefix_error (error, "%s: ", name);
      unlinkat (dfd, temporary, 0);
      return FALSE;
    }
  if ((durable && fdatasync (fd) < 0) || renameat (dfd, temporary, dfd, name) < 0
      || (durable && fsync (dfd) < 0))
    {
      gantry_throw_errno (error, errno, "writing %s", name);
      unlinkat (dfd, temporary, 0);
      return FALSE;
    }
  return TRUE;
}

/* A removal on its way. Whoever made the tree may have nested it deeper than we have descriptors: what is
 * deeper than MAX_OPEN_DEPTH is moved up to the top, and its turn comes later. */
typedef struct
{
  int top_fd;
  guint n_moved; /* since the top was read last */
} Removal;

static gboolean remove_children (Removal *self, int dir_fd, const char *name, guint depth, GError **error);

static gboolean
move_to_top (Removal *self, int dfd, const char *name, GError **error)
{
  for (guint attempt = 0; attempt < MAX_MOVE_ATTEMPTS; attempt++)
    {
      char unique[32];

      g_snprintf (unique, sizeof unique, ".removed-%08x%08x", g_random_int (), g_random_int ());
      if (renameat2 (dfd, name, self->top_fd, unique, RENAME_NOREPLACE) == 0)
        {
          self->n_moved++;
          return TRUE;
        }
      if (errno != EEXIST)
        break;
    }
  return errno == ENOENT || gantry_throw_errno (error, errno, "moving %s to remove it", name);
}

static gboolean
remove_directory (Removal *self, int dfd, const char *name, guint depth, GError **error)
{
  int fd;

  if (unlinkat (dfd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
    return TRUE;
  if (depth >= MAX_OPEN_DEPTH)
    return move_to_top (self, dfd, name, error);
  fd = open_resolved (dfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, RESOLVE_BENEATH | RESOLVE_NO_XDEV);
  if (fd < 0)
    return gantry_throw_errno (error, errno, "removing %s", name);
  if (!remove_children (self, fd, name, depth + 1, error))
    return FALSE;
  return unlinkat (dfd, name, AT_REMOVEDIR) == 0 || errno == ENOENT
         || gantry_throw_errno (error, errno, "removing %s", name);
}

static gboolean
remove_children (Removal *self, int dir_fd, const char *name, guint depth, GError **error)
{
  g_autoptr (DIR) dir = fdopendir (dir_fd);
  struct dirent *entry;

  if (dir == NULL)
    {
      close (dir_fd);
      return gantry_throw_errno (error, errno, "reading directory %s", name);
    }
  while ((entry = readdir (dir)) != NULL)
    {
      if (strcmp (entry->d_name, ".") == 0 || strcmp (entry->d_name, "..") == 0)
        continue;
      if (entry->d_type != DT_DIR && (unlinkat (dirfd (dir), entry->d_name, 0) == 0 || errno == ENOENT))
        continue; /* or somebody else was quicker */
      if (!remove_directory (self, dirfd (dir), entry->d_name, depth, error))
        {
          g_prefix_error (error, "%s: ", name);
          return FALSE;
        }
    }
  return TRUE;
}

static gboolean
remove_all (int dfd, const char *name, GError **error)
{
  for (;;)
    {
      gantry_autofd int fd = open_resolved (dfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0,
                                            RESOLVE_BENEATH | RESOLVE_NO_XDEV);
      Removal removal = { .top_fd = fd };
      int copy;

      if (fd < 0)
        return errno == ENOENT || gantry_throw_errno (error, errno, "removing %s", name);
      copy = fcntl (fd, F_DUPFD_CLOEXEC, 3);
      if (copy < 0)
        return gantry_throw_errno (error, errno, "removing %s", name);
      if (!remove_children (&removal, copy, name, 0, error))
        return FALSE;
      if (unlinkat (dfd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return TRUE;
      if (errno != ENOTEMPTY || removal.n_moved == 0)
        return gantry_throw_errno (error, errno, "removing %s", name);
    }
}

gboolean
gantry_remove_tree_at (int dfd, const char *name, GError **error)
{
  if (unlinkat (dfd, name, 0) == 0 || errno == ENOENT)
    return TRUE;
  if (errno != EISDIR && errno != EPERM)
    return gantry_throw_errno (error, errno, "removing %s", name);
  return remove_all (dfd, name, error);
}

typedef struct
{
  guint64 bytes;
  guint64 inodes;
  GHashTable *links; /* of inode numbers with several names */
} Usage;

static void
count_inode (Usage *usage, const struct stat *st)
{
  if (!S_ISDIR (st->st_mode) && st->st_nlink > 1
      && !g_hash_table_add (usage->links, g_memdup2 (&st->st_ino, sizeof st->st_ino)))
    return;
  usage->bytes += (guint64)st->st_blocks * 512;
  usage->inodes++;
}

static gboolean
count_children (int dir_fd, Usage *usage, guint depth, GError **error)
{
  g_autoptr (DIR) dir = fdopendir (dir_fd);
  struct dirent *entry;

  if (dir == NULL)
    {
      close (dir_fd);
      return gantry_throw_errno (error, errno, "reading a directory");
    }
  if (depth > MAX_DEPTH)
    return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "directories are nested too deep");
  while ((entry = readdir (dir)) != NULL)
    {
      struct stat st;
      int fd;

      if (strcmp (entry->d_name, ".") == 0 || strcmp (entry->d_name, "..") == 0)
        continue;
      if (fstatat (dirfd (dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        {
          if (errno == ENOENT)
            continue;
          return gantry_throw_errno (error, errno, "reading the status of %s", entry->d_name);
        }
      count_inode (usage, &st);
      if (!S_ISDIR (st.st_mode))
        continue;
      fd = openat (dirfd (dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
      if (fd < 0 && errno == ENOENT)
        continue;
      if (fd < 0)
        return gantry_throw_errno (error, errno, "opening %s", entry->d_name);
      if (!count_children (fd, usage, depth + 1, error))
        return FALSE;
    }
  return TRUE;
}

gboolean
gantry_disk_usage_at (int dfd, const char *name, guint64 *ret_bytes, guint64 *ret_inodes, GError **error)
{
  g_autoptr (GHashTable) links = g_hash_table_new_full (g_int64_hash, g_int64_equal, g_free, NULL);
  Usage usage = { .links = links };
  struct stat st;
  int fd;

  fd = openat (dfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0 || fstat (fd, &st) < 0)
    return gantry_throw_errno (error, errno, "opening %s", name);
  count_inode (&usage, &st);
  if (!count_children (fd, &usage, 0, error))
    {
      g_prefix_error (error, "disk usage of %s: ", name);
      return FALSE;
    }
  *ret_bytes = usage.bytes;
  *ret_inodes = usage.inodes;
  return TRUE;
}
