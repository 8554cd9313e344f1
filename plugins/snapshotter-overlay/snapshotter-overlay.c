/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Snapshots by overlayfs: a snapshot's own files are its upper directory, its ancestors' are the lower ones.
 * Nothing is copied and nothing is mounted here. */
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
  GPtrArray *mounts = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_mount_unref);

  g_ptr_array_add (options, NULL);
  g_ptr_array_add (mounts, gantry_mount_new (type, source, NULL, (const char *const *)options->pdata));
  return mounts;
}

/* Whoever mounts maps the owners of what is below; what is written above belongs to the mapped ones as it is.
 */
static void
add_mapping (GPtrArray *options, GVariant *labels)
{
  const char *uids = gantry_labels_lookup (labels, SNAP_UIDMAPPING),
             *gids = gantry_labels_lookup (labels, SNAP_GIDMAPPING);

  if (uids == NULL || gids == NULL)
    return;
  add_option (options, g_strconcat ("uidmap=", uids, NULL));
  add_option (options, g_strconcat ("gidmap=", gids, NULL));
}

/* @labels: (nullable): with a mapping. */
static GPtrArray *
bind_mount (SnapDirs *self, guint64 number, gboolean writable, GVariant *labels)
{
  g_autoptr (GPtrArray) options = g_ptr_array_new_with_free_func (g_free);
  g_autofree char *path = snap_dirs_fs_path (self, number);

  add_mapping (options, labels);
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
    return bind_mount (self, entry->number, active, NULL);
  if (!active && entry->ancestors->len == 1)
    return bind_mount (self, g_array_index (entry->ancestors, guint64, 0), FALSE, entry->info->labels);
  options = g_ptr_array_new_with_free_func (g_free);
  add_mapping (options, entry->info->labels);
  for (gsize i = 0; self->mount_options != NULL && self->mount_options[i] != NULL; i++)
    add_option (options, g_strdup (self->mount_options[i]));
  if (active)
    {
      add_option (options,
                  g_strdup_printf ("workdir=%s/%" G_GUINT64_FORMAT "/work", self->path, entry->number));
      add_option (options,
                  g_strdup_printf ("upperdir=%s/%" G_GUINT64_FORMAT "/fs", self->path, entry->number));
    }
  lower = g_string_new ("lowerdir=");
  for (guint i = 0; i < entry->ancestors->len; i++)
    g_string_append_printf (lower, "%s%s/%" G_GUINT64_FORMAT "/fs", i > 0 ? ":" : "", self->path,
                            g_array_index (entry->ancestors, guint64, i));
  add_option (options, g_string_free (g_steal_pointer (&lower), FALSE));
  return one_mount ("overlay", "overlay", options);
}

/* The root directory's owner and mode come from the upper directory, so it takes those of the nearest parent,
 * mapped. */
static gboolean
overlay_fill (SnapDirs *self, int dir_fd, GantrySnapshotKind kind, GArray *ancestors,
              const SnapMapping *mapping, GCancellable *cancellable, GError **error)
{
  g_autofree char *parent = NULL;
  guint32 uid, gid;
  struct stat st;

  if (kind == GANTRY_SNAPSHOT_ACTIVE && mkdirat (dir_fd, "work", 0711) < 0)
    return gantry_throw_errno (error, errno, "making an overlay work directory");
  if (ancestors->len == 0 && mapping == NULL)
    return TRUE;
  if (ancestors->len > 0)
    parent = g_strdup_printf ("%" G_GUINT64_FORMAT "/fs", g_array_index (ancestors, guint64, 0));
  if (fstatat (parent != NULL ? self->fd : dir_fd, parent != NULL ? parent : "fs", &st, AT_SYMLINK_NOFOLLOW)
      < 0)
    return gantry_throw_errno (error, errno, "reading the status of the parent snapshot %s",
                               parent != NULL ? parent : "");
  uid = st.st_uid;
  gid = st.st_gid;
  if (mapping != NULL && !snap_mapping_apply (mapping, uid, gid, &uid, &gid, error))
    return FALSE;
  if (fchownat (dir_fd, "fs", uid, gid, 0) < 0 || fchmodat (dir_fd, "fs", st.st_mode & 07777, 0) < 0)
    return gantry_throw_errno (error, errno, "setting owner and mode of a snapshot");
  return TRUE;
}

static const char *const scratch[] = { "probe", "ids", NULL };
static const SnapDirsOps ops = { overlay_fill, overlay_mounts, overlay_probe_remap, scratch };

static void
remove_probe (gpointer data, gpointer user_data)
{
  g_autoptr (GError) error = NULL;

  if (!gantry_remove_tree_at (GPOINTER_TO_INT (data), "probe", &error))
    g_warning ("what a look at overlayfs has left: %s", error->message);
}

static void
close_fd (gpointer data)
{
  close (GPOINTER_TO_INT (data));
}

/* Removes what probe () has made, and does not wait for it: file systems take their time for it, and the next
 * start would do it. */
static void
remove_probe_later (SnapDirs *self)
{
  int fd = fcntl (self->fd, F_DUPFD_CLOEXEC, 3);

  if (fd >= 0
      && !gantry_host_submit (self->host, GANTRY_POOL_IO, remove_probe, GINT_TO_POINTER (fd), close_fd, NULL))
    close (fd);
}

/* What a crash amid a probe has left mounted. */
static void
detach_probes (SnapDirs *self)
{
  static const char *const names[] = { "probe/merged", "ids/merged", "ids/mapped" };

  for (gsize i = 0; i < G_N_ELEMENTS (names); i++)
    {
      g_autofree char *path = g_strconcat (self->path, "/", names[i], NULL);

      /* It fails where nothing is mounted, which is the rule. */
      umount2 (path, MNT_DETACH | UMOUNT_NOFOLLOW);
    }
}

/* Mounts a small overlay in the plugin's directory once, which tells more than the list of file systems. */
static gboolean
probe (SnapDirs *self, GError **error)
{
  static const char *const names[] = { "probe", "probe/lower", "probe/upper", "probe/work", "probe/merged" };
  g_autofree char *options
      = g_strdup_printf ("lowerdir=%s/probe/lower,upperdir=%s/probe/upper,workdir=%s/probe/work", self->path,
                         self->path, self->path);
  /* Without it the unmount would write all that is dirty on the file system below, and the start would wait
   * for that. */
  g_autofree char *quick = g_strconcat (options, ",volatile", NULL);
  g_autofree char *target = g_strconcat (self->path, "/probe/merged", NULL);
  int saved_errno = 0;

  /* They separate mount options and layers, and not every kernel and shim reads them escaped. */
  if (strpbrk (self->path, ":,\\") != NULL)
    return gantry_throw (
        error, GANTRY_ERROR_NOT_IMPLEMENTED,
        "overlayfs takes no path with \":\", \",\" or \"\\\" in it, as %s has; choose another root, or "
        "use the native snapshotter",
        self->path);
  detach_probes (self);
  if (!gantry_remove_tree_at (self->fd, "probe", error) || !gantry_remove_tree_at (self->fd, "ids", error))
    return FALSE;
  for (gsize i = 0; i < G_N_ELEMENTS (names); i++)
    if (mkdirat (self->fd, names[i], 0700) < 0)
      return gantry_throw_errno (error, errno, "making %s/%s", self->path, names[i]);
  if (mount ("overlay", target, "overlay", 0, quick) < 0
      && mount ("overlay", target, "overlay", 0, options) < 0)
    saved_errno = errno;
  else
    umount2 (target, MNT_DETACH);
  remove_probe_later (self);
  if (saved_errno != 0)
    return gantry_throw (
        error, GANTRY_ERROR_NOT_IMPLEMENTED,
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
