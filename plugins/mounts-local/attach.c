/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Mounting and unmounting: by libmount, which knows mount (8)'s options; loop devices by their own calls. */
#include "mounts-local.h"

#include <dirent.h>
#include <linux/loop.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>

#include <fdio.h>
#include <libmount.h>

/* A free device may be taken by somebody else before it is ours. */
#define LOOP_TRIES 16

static gboolean
has_option (GantryMount *mount, const char *option)
{
  return mount->options != NULL && g_strv_contains ((const char *const *)mount->options, option);
}

/* Returns: an fd of the device, or -1 with errno. */
static int
try_loop (int control, int image, const char *tag, gboolean read_only, char device[64])
{
  struct loop_config config = { .fd = (__u32)image, .info.lo_flags = read_only ? LO_FLAGS_READ_ONLY : 0 };
  int number = ioctl (control, LOOP_CTL_GET_FREE), fd;

  if (number < 0)
    return -1;
  g_snprintf (device, 64, "/dev/loop%d", number);
  g_strlcpy ((char *)config.info.lo_file_name, tag, LO_NAME_SIZE);
  fd = open (device, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
  if (fd >= 0 && ioctl (fd, LOOP_CONFIGURE, &config) < 0)
    gantry_fd_clear (&fd);
  return fd;
}

/* What a device of ours is called, so that nobody else's is cleared. */
static void
loop_tag (const char *path, char tag[LO_NAME_SIZE])
{
  gsize length = strlen (path);

  g_strlcpy (tag, path + (length >= LO_NAME_SIZE ? length - LO_NAME_SIZE + 1 : 0), LO_NAME_SIZE);
}

static gboolean
attach_loop (GantryMount *mount, const char *path, GError **error)
{
  gboolean read_only = has_option (mount, "ro");
  gantry_autofd int control = open ("/dev/loop-control", O_RDWR | O_CLOEXEC);
  gantry_autofd int image = open (mount->source, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK);
  gantry_autofd int fd = -1;
  char device[64], tag[LO_NAME_SIZE];

  if (image < 0)
    return gantry_throw_errno (error, errno, "opening the image %s", mount->source);
  if (control < 0)
    return gantry_throw_errno (error, errno, "opening /dev/loop-control");
  loop_tag (path, tag);
  for (guint i = 0; fd < 0 && i < LOOP_TRIES; i++)
    {
      fd = try_loop (control, image, tag, read_only, device);
      if (fd < 0 && errno != EBUSY)
        break;
    }
  if (fd < 0)
    return gantry_throw_errno (error, errno, "making a loop device of %s", mount->source);
  if (symlink (device, path) == 0)
    return TRUE;
  gantry_throw_errno (error, errno, "making %s", path);
  ioctl (fd, LOOP_CLR_FD);
  return FALSE;
}

static void
detach_loop (const char *path, const char *device)
{
  gantry_autofd int fd = open (device, O_RDONLY | O_CLOEXEC);
  struct loop_info64 info;
  char tag[LO_NAME_SIZE];

  loop_tag (path, tag);
  if (fd >= 0 && ioctl (fd, LOOP_GET_STATUS64, &info) == 0
      && strcmp ((const char *)info.lo_file_name, tag) == 0)
    ioctl (fd, LOOP_CLR_FD);
}

static gboolean
mount_it (struct libmnt_context *context, GantryMount *mount, const char *path, GError **error)
{
  g_autofree char *options = mount->options != NULL ? g_strjoinv (",", mount->options) : NULL;
  gboolean bind = strcmp (mount->type, "bind") == 0 || strcmp (mount->type, "rbind") == 0;
  g_autofree char *all = bind && !has_option (mount, "bind") && !has_option (mount, "rbind")
                             ? g_strjoin (",", mount->type, options, NULL)
                             : g_strdup (options);
  int code;

  mnt_context_disable_mtab (context, TRUE);
  mnt_context_disable_helpers (context, TRUE);
  mnt_context_disable_canonicalize (context, TRUE);
  code = mnt_context_set_fstype (context, bind ? "none" : mount->type);
  code = code != 0 ? code : mnt_context_set_source (context, mount->source);
  code = code != 0 ? code : mnt_context_set_target (context, path);
  code = code != 0 || all == NULL ? code : mnt_context_set_options (context, all);
  if (code != 0)
    return gantry_throw_errno (error, -code, "mounting %s of %s", mount->type, mount->source);
  code = mnt_context_mount (context);
  if (code == 0 && mnt_context_get_status (context) == 1)
    return TRUE;
  if (mnt_context_syscall_called (context))
    return gantry_throw_errno (error, mnt_context_get_syscall_errno (context), "mounting %s of %s",
                               mount->type, mount->source);
  return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                       "mounting %s of %s: the options \"%s\" are not mount's: invalid argument", mount->type,
                       mount->source, all != NULL ? all : "");
}

gboolean
attach_mount (GantryMount *mount, const char *path, GError **error)
{
  struct libmnt_context *context;
  gboolean ok;

  if (strcmp (mount->type, "loop") == 0)
    return attach_loop (mount, path, error);
  if (mkdir (path, 0700) < 0)
    return gantry_throw_errno (error, errno, "making %s", path);
  context = mnt_new_context ();
  ok = mount_it (context, mount, path, error);
  mnt_free_context (context);
  return ok;
}

static gboolean
undo_one (int dfd, const char *dir_path, const char *name, GError **error)
{
  g_autofree char *path = g_build_filename (dir_path, name, NULL);
  char device[64];
  ssize_t n = readlinkat (dfd, name, device, sizeof device - 1);

  if (n > 0)
    {
      device[n] = '\0';
      detach_loop (path, device);
      return unlinkat (dfd, name, 0) == 0 || errno == ENOENT
             || gantry_throw_errno (error, errno, "removing %s", path);
    }
  while (umount2 (path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
    ;
  if (errno != EINVAL && errno != ENOENT)
    return gantry_throw_errno (error, errno, "unmounting %s", path);
  return unlinkat (dfd, name, AT_REMOVEDIR) == 0 || errno == ENOENT
         || gantry_throw_errno (error, errno, "removing %s", path);
}

static int
last_first (gconstpointer a, gconstpointer b)
{
  return strcmp (*(const char *const *)b, *(const char *const *)a);
}

gboolean
attach_undo (int dfd, const char *dir_path, const char *name, GError **error)
{
  g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);
  g_autofree char *path = g_build_filename (dir_path, name, NULL);
  int fd = openat (dfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  DIR *dir = fd >= 0 ? fdopendir (fd) : NULL;
  gboolean ok = TRUE;
  struct dirent *entry;

  if (dir == NULL)
    return (fd < 0 && errno == ENOENT) || gantry_throw_errno (error, errno, "reading %s", path);
  while ((entry = readdir (dir)) != NULL)
    if (strcmp (entry->d_name, ".") != 0 && strcmp (entry->d_name, "..") != 0)
      g_ptr_array_add (names, g_strdup (entry->d_name));
  g_ptr_array_sort (names, last_first);
  for (guint i = 0; ok && i < names->len; i++)
    ok = undo_one (fd, path, g_ptr_array_index (names, i), error);
  closedir (dir);
  return ok
         && (unlinkat (dfd, name, AT_REMOVEDIR) == 0 || errno == ENOENT
             || gantry_throw_errno (error, errno, "removing %s", path));
}
