/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "unpack-copyup.h"

#include <string.h>

#include "fdio.h"
#include "unpack-common.h"
#include "unpack-xattr.h"

#define PIECE (256 * 1024)

static gboolean
write_piece (int fd, const char *data, gsize length, GError **error)
{
  while (length > 0)
    {
      ssize_t n = write (fd, data, length);

      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0)
        return gantry_throw_errno (error, errno, "writing the copy");
      data += n;
      length -= (gsize)n;
    }
  return TRUE;
}

static gboolean
copy_data (int from, int to, GError **error)
{
  g_autofree char *buffer = g_malloc (PIECE);

  for (;;)
    {
      ssize_t n = read (from, buffer, PIECE);

      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0)
        return gantry_throw_errno (error, errno, "reading it");
      if (n == 0)
        return TRUE;
      if (!write_piece (to, buffer, (gsize)n, error))
        return FALSE;
    }
}

static gboolean
copy_file (int from, const struct stat *st, int dfd, const char *name, GError **error)
{
  const struct timespec times[2] = { st->st_atim, st->st_mtim };
  gantry_autofd int to = openat (dfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

  if (to < 0)
    return gantry_throw_errno (error, errno, "creating the copy");
  if (!copy_data (from, to, error))
    return FALSE;
  if (fchown (to, st->st_uid, st->st_gid) < 0 || fchmod (to, st->st_mode & 07777) < 0)
    return gantry_throw_errno (error, errno, "setting owner and mode of the copy");
  if (!unpack_xattr_copy (from, to, error))
    return FALSE;
  return futimens (to, times) == 0 || gantry_throw_errno (error, errno, "setting the times of the copy");
}

static gboolean
copy_symlink (int from_fd, const struct stat *st, int dfd, const char *name, GError **error)
{
  const struct timespec times[2] = { st->st_atim, st->st_mtim };
  g_autofree char *target = g_malloc (PATH_MAX + 1);
  ssize_t n = readlinkat (from_fd, "", target, PATH_MAX);

  if (n < 0)
    return gantry_throw_errno (error, errno, "reading the link");
  target[n] = '\0';
  if (symlinkat (target, dfd, name) < 0
      || fchownat (dfd, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0
      || utimensat (dfd, name, times, AT_SYMLINK_NOFOLLOW) < 0)
    return gantry_throw_errno (error, errno, "copying the link");
  return TRUE;
}

gboolean
unpack_copy_up (int from_fd, int lower_fd, const char *path, int dfd, const char *name, guint64 *room,
                GError **error)
{
  gantry_autofd int fd = -1;
  struct stat st;

  if (fstat (from_fd, &st) < 0)
    return gantry_throw_errno (error, errno, "reading the status of %s below", path);
  if (S_ISLNK (st.st_mode))
    return copy_symlink (from_fd, &st, dfd, name, error);
  if (!S_ISREG (st.st_mode))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "%s, which a layer below has, is neither a file nor a symlink", path);
  if ((guint64)st.st_size > *room)
    return gantry_throw (
        error, GANTRY_ERROR_RESOURCE_EXHAUSTED,
        "with the copy of %s, which a layer below has, the layer's files are too large; raise "
        "MaxBytes if it is to be trusted",
        path);
  *room -= (guint64)st.st_size;
  fd = gantry_open_no_links (lower_fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
  if (fd < 0)
    return gantry_throw_errno (error, errno, "opening %s below", path);
  return copy_file (fd, &st, dfd, name, error);
}
