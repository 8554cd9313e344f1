/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Snapshots by overlayfs: a snapshot's own files are its upper directory, its ancestors' are the lower ones. Nothing is copied and
 * nothing is mounted here. */
#include "snapshotter-overlay.h"

#include <string.h>
#include <sys/mount.h>

#include <fdio.h>

static void
add_option (GPtrArray *options, char *option)
{
  g_ptr_array_add (options, option);
}

static GPtrArray *
one_mount (const char *type, const char *source, GPtrArray *options)
{
  GPtrArray *mounts = g_ptr_array_new_with_free_func ((GDestroyNotify) gantry_mount_unref);

  g_ptr_array_add (options, NULL);
  g_ptr_array_add (mounts, gantry_mount_new (type, source, NULL, (const char *const *) options->pdata));
  return mounts;
}

static GPtrArray *
bind_mount (SnapDirs *self, guint64 number, gboolean writable)
{
  g_autoptr (GPtrArray) options = g_ptr_array_new_with_free_func (g_free);
  g_autofree char *path = snap_dirs_fs_path (self, number);

  add_option (options, g_strdup (writable ? "rw" : "ro"));
  add_option (options, g_strdup ("rbind"));
  return one_mount ("bind", path, options);
}

static GPtrArray *
overlay_mounts (SnapDirs *self, GantrySnapshotEntry *entry)
{
  g_autoptr (GPtrArray) options = NULL;
  g_autoptr (GString) lower = NULL;
  gboolean active = entry->info->kind == GANTRY_SNAPSHOT_ACTIVE;

  if (entry->ancestors->len == 0)
    return bind_mount (self, entry->number, active);
  if (!active && entry->ancestors->len == 1)
    return bind_mount (self, g_array_index (entry->ancestors, guint64, 0), FALSE);
  options = g_ptr_array_new_with_free_func (g_free);
  for (gsize i = 0; self->mount_options != NULL && self->mount_options[i] != NULL; i++)
    add_option (options, g_strdup (self->mount_options[i]));
  if (active)
    {
      add_option (options, g_strdup_printf ("workdir=%s/%" G_GUINT64_FORMAT "/work", self->path, entry->number));
      add_option (options, g_strdup_printf ("upperdir=%s/%" G_GUINT64_FORMAT "/fs", self->path, entry->number));
    }
  lower = g_string_new ("lowerdir=");
  for (guint i = 0; i < entry->ancestors->len; i++)
    g_string_append_printf (lower, "%s%s/%" G_GUINT64_FORMAT "/fs", i > 0 ? ":" : "", self->path,
                            g_array_index (entry->ancestors, guint64, i));
  add_option (options, g_string_free (g_steal_pointer (&lower), FALSE));
  return one_mount ("overlay", "overlay", options);
}

/* The root directory's owner and mode come from the upper directory, so it takes those of the nearest parent. */
static gboolean
overlay_fill (SnapDirs *self, int dir_fd, GantrySnapshotKind kind, GArray *ancestors, GCancellable *cancellable,
              GError **error)
{
  g_autofree char *parent = NULL;
  struct stat st;

  if (kind == GANTRY_SNAPSHOT_ACTIVE && mkdirat (dir_fd, "work", 0711) < 0)
    return gantry_throw_errno (error, errno, "making an overlay work directory");
  if (ancestors->len == 0)
    return TRUE;
  parent = g_strdup_printf ("%" G_GUINT64_FORMAT "/fs", g_array_index (ancestors, guint64, 0));
  if (fstatat (self->fd, parent, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return gantry_throw_errno (error, errno, "reading the status of the parent snapshot %s", parent);
  if (fchownat (dir_fd, "fs", st.st_uid, st.st_gid, 0) < 0 || fchmodat (dir_fd, "fs", st.st_mode & 07777, 0) < 0)
    return gantry_throw_errno (error, errno, "setting owner and mode of a snapshot");
  return TRUE;
}

static const SnapDirsOps ops = { overlay_fill, overlay_mounts };

/* Mounts a small overlay in the plugin's directory once, which tells more than the list of file systems. */
static gboolean
probe (SnapDirs *self, GError **error)
{
  static const char *const names[] = { "probe", "probe/lower", "probe/upper", "probe/work", "probe/merged" };
  g_autofree char *options = g_strdup_printf ("lowerdir=%s/probe/lower,upperdir=%s/probe/upper,workdir=%s/probe/work",
                                              self->path, self->path, self->path);
  /* Without it the unmount would write all that is dirty on the file system below, and the start would wait for that. */
  g_autofree char *quick = g_strconcat (options, ",volatile", NULL);
  g_autofree char *target = g_strconcat (self->path, "/probe/merged", NULL);
  int saved_errno = 0;

  if (!gantry_remove_tree_at (self->fd, "probe", error))
    return FALSE;
  for (gsize i = 0; i < G_N_ELEMENTS (names); i++)
    if (mkdirat (self->fd, names[i], 0700) < 0)
      return gantry_throw_errno (error, errno, "making %s/%s", self->path, names[i]);
  if (mount ("overlay", target, "overlay", 0, quick) < 0 && mount ("overlay", target, "overlay", 0, options) < 0)
    saved_errno = errno;
  else
    umount2 (target, MNT_DETACH);
  if (!gantry_remove_tree_at (self->fd, "probe", error))
    return FALSE;
  if (saved_errno != 0)
    return gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED,
                         "overlayfs does not work on %s (%s); use another file system or the native snapshotter", self->path,
                         g_strerror (saved_errno));
  return TRUE;
}

SnapDirs *
snapshotter_overlay_new (const GantryHost *host, GError **error)
{
  SnapDirs *self = g_new0 (SnapDirs, 1);
  const char *options = gantry_host_get_config_string (host, "MountOptions", "index=off");

  if (!snap_dirs_init (self, host, &ops, GANTRY_SNAPSHOTTER_PARALLEL_UNPACK, error) || !probe (self, error))
    {
      snapshotter_overlay_free (self);
      return NULL;
    }
  if (options[0] != '\0')
    self->mount_options = g_strsplit (options, ",", 64);
  return self;
}

void
snapshotter_overlay_free (SnapDirs *self)
{
  if (self == NULL)
    return;
  snap_dirs_clear (self);
  g_free (self);
}
