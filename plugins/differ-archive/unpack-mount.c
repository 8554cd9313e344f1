/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "unpack-mount.h"

#include <sched.h>
#include <string.h>
#include <sys/mount.h>

#include "fdio.h"
#include "unpack-common.h"

#define MAX_DATA     4095 /* of mount(2): a page with its NUL */
#define MAX_FSCONFIG 255

static const struct
{
  const char *name;
  unsigned long set, clear;
} mount_flags[] = {
  { "ro", MS_RDONLY, 0 },
  { "rw", 0, MS_RDONLY },
  { "nosuid", MS_NOSUID, 0 },
  { "suid", 0, MS_NOSUID },
  { "nodev", MS_NODEV, 0 },
  { "dev", 0, MS_NODEV },
  { "noexec", MS_NOEXEC, 0 },
  { "exec", 0, MS_NOEXEC },
  { "bind", MS_BIND, 0 },
  { "rbind", MS_BIND | MS_REC, 0 },
  { "noatime", MS_NOATIME, 0 },
  { "nodiratime", MS_NODIRATIME, 0 },
  { "relatime", MS_RELATIME, 0 },
  { "sync", MS_SYNCHRONOUS, 0 },
  { "dirsync", MS_DIRSYNC, 0 },
  { "defaults", 0, 0 },
  { "strictatime", MS_STRICTATIME, 0 },
};

void
unpack_mount_free (UnpackMount *self)
{
  if (self == NULL)
    return;
  g_free (self->type);
  g_free (self->source);
  g_free (self->target);
  g_strfreev (self->options);
  g_free (self);
}

GPtrArray *
unpack_mounts_from_variant (GVariant *variant)
{
  GPtrArray *mounts = g_ptr_array_new_with_free_func ((GDestroyNotify)unpack_mount_free);
  GVariantIter iter;
  UnpackMount mount = { 0 };

  g_variant_iter_init (&iter, variant);
  while (g_variant_iter_next (&iter, "(^ay^ay^ay^aay)", &mount.type, &mount.source, &mount.target,
                              &mount.options))
    g_ptr_array_add (mounts, g_memdup2 (&mount, sizeof mount));
  return mounts;
}

const char *
unpack_mount_get_option (const UnpackMount *mount, const char *key)
{
  gsize length = strlen (key);

  for (gsize i = 0; mount->options[i] != NULL; i++)
    if (strncmp (mount->options[i], key, length) == 0)
      {
        if (mount->options[i][length] == '=')
          return mount->options[i] + length + 1;
        if (mount->options[i][length] == '\0')
          return "";
      }
  return NULL;
}

gboolean
unpack_mounts_are_overlay (GPtrArray *mounts)
{
  UnpackMount *mount = mounts->len == 1 ? g_ptr_array_index (mounts, 0) : NULL;

  return mount != NULL && strcmp (mount->type, "overlay") == 0 && mount->target[0] == '\0'
         && unpack_mount_get_option (mount, "upperdir") != NULL
         && unpack_mount_get_option (mount, "lowerdir") != NULL;
}

static gboolean
parse_flag (const char *option, unsigned long *flags)
{
  for (gsize i = 0; i < G_N_ELEMENTS (mount_flags); i++)
    if (strcmp (option, mount_flags[i].name) == 0)
      {
        *flags = (*flags & ~mount_flags[i].clear) | mount_flags[i].set;
        return TRUE;
      }
  return FALSE;
}

/* Options that tell the caller of mount(8) something, and not the file system. */
static gboolean
is_user_option (const char *option)
{
  return g_str_has_prefix (option, "uidmap=") || g_str_has_prefix (option, "gidmap=")
         || g_str_has_prefix (option, "x-") || g_str_has_prefix (option, "X-")
         || strcmp (option, "loop") == 0;
}

gboolean
unpack_mount_isolate (GError **error)
{
  gantry_autofd int fs_fd = -1;
  gantry_autofd int root_fd = -1;

  if (unshare (CLONE_NEWNS | CLONE_NEWIPC) < 0)
    return gantry_throw_errno (error, errno, "making a mount namespace for the unpack worker");
  if (mount (NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
    return gantry_throw_errno (error, errno, "making the unpack worker's mounts private");
  fs_fd = fsopen ("tmpfs", FSOPEN_CLOEXEC);
  if (fs_fd < 0 || fsconfig (fs_fd, FSCONFIG_SET_STRING, "size", "64k", 0) < 0
      || fsconfig (fs_fd, FSCONFIG_SET_STRING, "mode", "0700", 0) < 0
      || fsconfig (fs_fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
    return gantry_throw_errno (error, errno, "making the unpack worker's root");
  root_fd = fsmount (fs_fd, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
  if (root_fd < 0 || move_mount (root_fd, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0
      || fchdir (root_fd) < 0)
    return gantry_throw_errno (error, errno, "mounting the unpack worker's root");
  return TRUE;
}

gboolean
unpack_mount_enter (GError **error)
{
  if (chroot (".") < 0 || chdir ("/") < 0)
    return gantry_throw_errno (error, errno, "entering the unpack worker's root");
  return TRUE;
}

static gboolean
mount_bind (const char *source, const char *at, unsigned long flags, GError **error)
{
  unsigned long lock = MS_BIND | MS_REMOUNT | MS_NOSUID | MS_NODEV | MS_NOEXEC | (flags & MS_RDONLY);

  if (mount (source, at, NULL, MS_BIND | (flags & MS_REC), NULL) < 0)
    return gantry_throw_errno (error, errno, "mounting %s", source);
  if (mount (NULL, at, NULL, lock, NULL) < 0)
    return gantry_throw_errno (error, errno, "protecting the mount of %s", source);
  return TRUE;
}

/* Old kernels take all of an overlay's lower directories as one string of at most a page; since 6.5 they can
 * be given one by one. */
static gboolean
mount_long_overlay (const char *at, char **lowers, const char *upper, const char *work, GError **error)
{
  gantry_autofd int fs_fd = fsopen ("overlay", FSOPEN_CLOEXEC);
  gantry_autofd int fd = -1;
  unsigned attr
      = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | (upper == NULL ? MOUNT_ATTR_RDONLY : 0);

  if (fs_fd < 0)
    return gantry_throw_errno (error, errno, "opening the overlay file system");
  for (gsize i = 0; lowers[i] != NULL; i++)
    if (strlen (lowers[i]) > MAX_FSCONFIG
        || fsconfig (fs_fd, FSCONFIG_SET_STRING, "lowerdir+", lowers[i], 0) < 0)
      return gantry_throw_errno (error, errno, "adding the lower directory %s", lowers[i]);
  if (upper != NULL
      && (fsconfig (fs_fd, FSCONFIG_SET_STRING, "upperdir", upper, 0) < 0
          || fsconfig (fs_fd, FSCONFIG_SET_STRING, "workdir", work, 0) < 0))
    return gantry_throw_errno (error, errno, "adding the upper directory %s", upper);
  if (fsconfig (fs_fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
    return gantry_throw_errno (error, errno, "making an overlay of %u directories", g_strv_length (lowers));
  fd = fsmount (fs_fd, FSMOUNT_CLOEXEC, attr);
  if (fd < 0 || move_mount (fd, "", AT_FDCWD, at, MOVE_MOUNT_F_EMPTY_PATH) < 0)
    return gantry_throw_errno (error, errno, "mounting an overlay");
  return TRUE;
}

/* Options that change how an overlay's directories are read. */
static const char *const reading_options[] = { "userxattr", "redirect_dir", "metacopy" };

/* All directories of an overlay as lower ones: to read from it while it may be mounted elsewhere, as by a
 * running container, which has its upperdir for itself. */
static gboolean
mount_overlay_to_read (const UnpackMount *self, gboolean with_upper, const char *at, GError **error)
{
  const char *lower = unpack_mount_get_option (self, "lowerdir");
  const char *upper = with_upper ? unpack_mount_get_option (self, "upperdir") : NULL;
  g_autofree char *all = upper != NULL ? g_strconcat (upper, ":", lower, NULL) : g_strdup (lower);
  g_autoptr (GString) data = g_string_new ("lowerdir=");
  g_auto (GStrv) lowers = g_strsplit (all, ":", -1);

  if (g_strv_length (lowers) == 1)
    return mount_bind (all, at, MS_RDONLY, error);
  g_string_append (data, all);
  for (gsize i = 0; i < G_N_ELEMENTS (reading_options); i++)
    {
      const char *value = unpack_mount_get_option (self, reading_options[i]);

      if (value != NULL)
        g_string_append_printf (data, ",%s%s%s", reading_options[i], value[0] != '\0' ? "=" : "", value);
    }
  if (data->len > MAX_DATA)
    return mount_long_overlay (at, lowers, NULL, NULL, error);
  return mount ("overlay", at, "overlay", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, data->str) == 0
         || gantry_throw_errno (error, errno, "mounting an overlay of %u directories",
                                g_strv_length (lowers));
}

static gboolean
mount_one (const UnpackMount *self, const char *at, gboolean read_only, GError **error)
{
  g_autoptr (GString) data = g_string_new (NULL);
  unsigned long flags = 0;

  if (read_only && strcmp (self->type, "overlay") == 0 && unpack_mount_get_option (self, "lowerdir") != NULL)
    return mount_overlay_to_read (self, TRUE, at, error);
  for (gsize i = 0; self->options[i] != NULL; i++)
    if (!parse_flag (self->options[i], &flags) && !is_user_option (self->options[i]))
      g_string_append_printf (data, "%s%s", data->len > 0 ? "," : "", self->options[i]);
  if (read_only)
    flags |= MS_RDONLY;
  if ((flags & MS_BIND) != 0 || strcmp (self->type, "bind") == 0 || strcmp (self->type, "rbind") == 0)
    return mount_bind (self->source, at, flags, error);
  if (data->len > MAX_DATA && strcmp (self->type, "overlay") == 0)
    {
      const char *lower = unpack_mount_get_option (self, "lowerdir");
      g_auto (GStrv) lowers = g_strsplit (lower != NULL ? lower : "", ":", -1);

      return mount_long_overlay (at, lowers, unpack_mount_get_option (self, "upperdir"),
                                 unpack_mount_get_option (self, "workdir"), error);
    }
  if (mount (self->source, at, self->type, flags | MS_NOSUID | MS_NODEV | MS_NOEXEC, data->str) < 0)
    return gantry_throw_errno (error, errno, "mounting %s %s", self->type, self->source);
  return TRUE;
}

static int
open_tree_root (const char *name, GError **error)
{
  int fd = open (name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

  if (fd < 0)
    gantry_throw_errno (error, errno, "opening the mount for the unpack worker");
  return fd;
}

static gboolean
make_mount_point (const char *name, GError **error)
{
  return mkdir (name, 0700) == 0 || gantry_throw_errno (error, errno, "making a mount point");
}

int
unpack_mount_all (const char *name, GPtrArray *mounts, gboolean read_only, GError **error)
{
  if (!make_mount_point (name, error))
    return -1;
  for (guint i = 0; i < mounts->len; i++)
    {
      const UnpackMount *mount = g_ptr_array_index (mounts, i);
      g_autofree char *at = NULL;

      /* A target lies in what was mounted before it, which may hold links: only plain names are taken. */
      if (strstr (mount->target, "..") != NULL)
        {
          gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the mount target %s is not below the root",
                        mount->target);
          return -1;
        }
      at = g_build_filename (name, mount->target, NULL);
      if (!mount_one (mount, at, read_only, error))
        return -1;
    }
  return open_tree_root (name, error);
}

int
unpack_mount_upper (const char *name, const UnpackMount *mount, gboolean read_only, GError **error)
{
  const char *upper = unpack_mount_get_option (mount, "upperdir");

  if (!make_mount_point (name, error) || !mount_bind (upper, name, read_only ? MS_RDONLY : 0, error))
    return -1;
  return open_tree_root (name, error);
}

int
unpack_mount_lower (const char *name, const UnpackMount *mount, GError **error)
{
  if (!make_mount_point (name, error) || !mount_overlay_to_read (mount, FALSE, name, error))
    return -1;
  return open_tree_root (name, error);
}
