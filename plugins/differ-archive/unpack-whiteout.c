/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "unpack-whiteout.h"

#include <dirent.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <linux/capability.h>

#include "fdio.h"

gboolean
unpack_is_whiteout_name (const char *base)
{
  return g_str_has_prefix (base, UNPACK_WHITEOUT_PREFIX);
}

gboolean
unpack_in_aufs_metadata (const char *path)
{
  const char *part = path;

  for (;;)
    {
      gsize length = strcspn (part, "/");

      if (g_str_has_prefix (part, UNPACK_WHITEOUT_META)
          && (length != strlen (UNPACK_WHITEOUT_OPAQUE)
              || strncmp (part, UNPACK_WHITEOUT_OPAQUE, length) != 0))
        return TRUE;
      if (part[length] == '\0')
        return FALSE;
      part += length + 1;
    }
}

gboolean
unpack_is_whiteout (const UnpackTarget *target, const struct stat *st)
{
  return target->flavor == UNPACK_OVERLAY && S_ISCHR (st->st_mode) && st->st_rdev == makedev (0, 0);
}

gboolean
unpack_mark_opaque (const UnpackTarget *target, int fd, GError **error)
{
  return fsetxattr (fd, target->opaque_xattr, "y", 1, 0) == 0
         || gantry_throw_errno (error, errno, "marking the directory opaque");
}

static gboolean remove_lower (UnpackTree *tree, int dfd, const char *name, guint depth, GError **error);

/* Removes what the layers below have in the directory @fd (taken over). */
static gboolean
clear_lower (UnpackTree *tree, int fd, guint depth, GError **error)
{
  DIR *dir = fdopendir (fd);
  struct dirent *entry;
  gboolean ok = TRUE;

  if (dir == NULL)
    {
      close (fd);
      return gantry_throw_errno (error, errno, "reading a directory");
    }
  while (ok && (entry = readdir (dir)) != NULL)
    if (strcmp (entry->d_name, ".") != 0 && strcmp (entry->d_name, "..") != 0)
      ok = remove_lower (tree, dirfd (dir), entry->d_name, depth, error);
  closedir (dir);
  return ok;
}

static gboolean
remove_lower (UnpackTree *tree, int dfd, const char *name, guint depth, GError **error)
{
  struct stat st;
  int fd;

  if (fstatat (dfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return errno == ENOENT || gantry_throw_errno (error, errno, "reading the status of %s", name);
  if (!unpack_tree_is_claimed (tree, &st))
    return gantry_remove_tree_at (dfd, name, error);
  if (!S_ISDIR (st.st_mode))
    return TRUE;
  if (depth == 0)
    return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "directories are nested too deep");
  fd = openat (dfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0)
    return gantry_throw_errno (error, errno, "opening directory %s", name);
  return clear_lower (tree, fd, depth - 1, error);
}

static gboolean
hide_in_overlay (const UnpackTarget *target, UnpackTree *tree, int dfd, const char *name, GError **error)
{
  gantry_autofd int fd = -1;
  struct stat st;

  /* A whiteout in a directory that has nothing below it would show as a name that can't be opened. */
  if (!unpack_tree_is_in_lower (tree, name))
    return TRUE;
  if (mknodat (dfd, name, S_IFCHR, makedev (0, 0)) == 0)
    return TRUE;
  if (errno != EEXIST || fstatat (dfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return gantry_throw_errno (error, errno, "making the whiteout");
  if (!S_ISDIR (st.st_mode))
    return TRUE;
  fd = openat (dfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0)
    return gantry_throw_errno (error, errno, "opening directory %s", name);
  return unpack_mark_opaque (target, fd, error);
}

gboolean
unpack_whiteout (const UnpackTarget *target, UnpackTree *tree, int dfd, const char *base, GError **error)
{
  guint depth = (guint)target->limits.max_depth;
  const char *name = base + strlen (UNPACK_WHITEOUT_PREFIX);

  if (strcmp (base, UNPACK_WHITEOUT_OPAQUE) == 0)
    {
      int fd;

      if (target->flavor == UNPACK_OVERLAY)
        return unpack_mark_opaque (target, dfd, error);
      fd = openat (dfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      if (fd < 0)
        return gantry_throw_errno (error, errno, "opening its directory");
      return clear_lower (tree, fd, depth, error);
    }
  if (name[0] == '\0' || strcmp (name, ".") == 0 || strcmp (name, "..") == 0)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "it is a whiteout of nothing");
  if (target->flavor == UNPACK_OVERLAY)
    return hide_in_overlay (target, tree, dfd, name, error);
  return remove_lower (tree, dfd, name, depth, error);
}

guint8 *
unpack_capability_remap (const void *value, size_t *length, GArray *uid_map, GError **error)
{
  struct vfs_ns_cap_data data;
  guint32 magic, root;

  if (uid_map == NULL || uid_map->len == 0)
    return g_memdup2 (value, *length);
  memset (&data, 0, sizeof data);
  memcpy (&data, value, MIN (*length, sizeof data));
  magic = GUINT32_FROM_LE (data.magic_etc);
  /* Revision 2 means the root of the whole system, 3 that of a user namespace, seen from where the layer was
   * made. */
  if (*length != ((magic & VFS_CAP_REVISION_MASK) == VFS_CAP_REVISION_3 ? XATTR_CAPS_SZ_3 : XATTR_CAPS_SZ_2))
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "its capabilities are of no known revision");
      return NULL;
    }
  if (!unpack_id_map_lookup (uid_map, GUINT32_FROM_LE (data.rootid), &root, error))
    return NULL;
  data.magic_etc = GUINT32_TO_LE (VFS_CAP_REVISION_3 | (magic & VFS_CAP_FLAGS_MASK));
  data.rootid = GUINT32_TO_LE (root);
  *length = XATTR_CAPS_SZ_3;
  return g_memdup2 (&data, sizeof data);
}
