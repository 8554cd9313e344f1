/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The transform "mkfs": the image that a mount names is made, with an empty file system, if it is not there
 * yet. It has no name before it is whole, so a crash leaves nothing. Options, as containerd 2.2 and later
 * have them (docs/mounts.md): "X-containerd.mkfs.size=" bytes, or with KiB to TiB; ".fs=" ext2, ext3, ext4
 * (default) or xfs; ".uuid=". */
#include "mounts-local.h"

#include <string.h>
#include <sys/stat.h>

#include <fdio.h>

#define MKFS "X-containerd.mkfs."
/* Images are sparse. */
#define MIN_SIZE ((guint64)64 << 10)
#define MAX_SIZE ((guint64)16 << 40)
/* The descriptor that the program has the image at. */
#define IMAGE_FD 3

typedef struct
{
  const char *fs;
  const char *uuid; /* (nullable) */
  guint64 size;     /* 0: not said */
} Format;

static gboolean
read_size (const char *text, guint64 *ret_size)
{
  static const char *const units[] = { "", "KiB", "MiB", "GiB", "TiB" };
  char *end;
  guint64 number = g_ascii_strtoull (text, &end, 10);

  if (!g_ascii_isdigit (text[0]) || number > MAX_SIZE)
    return FALSE;
  for (gsize i = 0; i < G_N_ELEMENTS (units); i++)
    if (strcmp (end, units[i]) == 0)
      {
        *ret_size = number << (10 * i);
        return *ret_size >> (10 * i) == number && *ret_size >= MIN_SIZE && *ret_size <= MAX_SIZE;
      }
  return FALSE;
}

static gboolean
read_option (const char *option, Format *format, GError **error)
{
  static const char *const known[] = { "ext2", "ext3", "ext4", "xfs", NULL };
  const char *value = strchr (option, '=') != NULL ? strchr (option, '=') + 1 : "";

  if (g_str_has_prefix (option, "size=") && read_size (value, &format->size))
    return TRUE;
  if (g_str_has_prefix (option, "fs=") && g_strv_contains (known, value))
    {
      format->fs = value;
      return TRUE;
    }
  if (g_str_has_prefix (option, "uuid=") && g_uuid_string_is_valid (value))
    {
      format->uuid = value;
      return TRUE;
    }
  return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                       "invalid mkfs option \"%s\": there are size=BYTES (64 KiB to 16 TiB), "
                       "fs=ext2|ext3|ext4|xfs and uuid=UUID: invalid argument",
                       option);
}

static gboolean
run_mkfs (int image_fd, const Format *format, const char *path, GError **error)
{
  g_autofree char *name = g_strconcat ("mkfs.", format->fs, NULL);
  g_autofree char *program = g_find_program_in_path (name);
  g_autofree char *uuid = NULL, *output = NULL;
  g_autoptr (GSubprocessLauncher) launcher = NULL;
  g_autoptr (GSubprocess) process = NULL;
  gboolean xfs = strcmp (format->fs, "xfs") == 0;
  const char *argv[8] = { program, "-q", xfs ? "-f" : "-F" };
  gsize n = 3;
  int fd;

  if (program == NULL)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                         "making %s: %s is not installed; install %s", path, name,
                         xfs ? "xfsprogs" : "e2fsprogs");
  if (format->uuid != NULL)
    {
      uuid = g_strconcat (xfs ? "uuid=" : "", format->uuid, NULL);
      argv[n++] = xfs ? "-m" : "-U";
      argv[n++] = uuid;
    }
  argv[n++] = "/proc/self/fd/" G_STRINGIFY (IMAGE_FD);
  launcher = g_subprocess_launcher_new (G_SUBPROCESS_FLAGS_STDOUT_SILENCE | G_SUBPROCESS_FLAGS_STDERR_PIPE);
  fd = fcntl (image_fd, F_DUPFD_CLOEXEC, IMAGE_FD + 1);
  if (fd < 0)
    return gantry_throw_errno (error, errno, "making %s", path);
  g_subprocess_launcher_take_fd (launcher, fd, IMAGE_FD);
  process = g_subprocess_launcher_spawnv (launcher, argv, error);
  if (process == NULL || !g_subprocess_communicate_utf8 (process, NULL, NULL, NULL, &output, error))
    {
      g_prefix_error (error, "making %s: %s: ", path, name);
      return FALSE;
    }
  if (g_subprocess_get_successful (process))
    return TRUE;
  return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "making %s: %s: %.500s", path, name,
                       output != NULL ? g_strstrip (output) : "it failed");
}

static gboolean
make_image (int parent_fd, const char *name, const Format *format, const char *path, GError **error)
{
  gantry_autofd int fd = openat (parent_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  char by_fd[64];

  if (fd < 0 || ftruncate (fd, (off_t)format->size) < 0)
    return gantry_throw_errno (error, errno, "making %s", path);
  if (!run_mkfs (fd, format, path, error))
    return FALSE;
  g_snprintf (by_fd, sizeof by_fd, "/proc/self/fd/%d", fd);
  if (fsync (fd) < 0 || (linkat (AT_FDCWD, by_fd, parent_fd, name, AT_SYMLINK_FOLLOW) < 0 && errno != EEXIST)
      || fsync (parent_fd) < 0)
    return gantry_throw_errno (error, errno, "making %s", path);
  return TRUE;
}

static gboolean
ensure_image (MountsLocal *self, const char *path, const Format *format, GError **error)
{
  gantry_autofd int parent_fd = -1;
  g_autofree char *name = NULL;
  struct stat st;

  parent_fd = plan_open_parent (self, "mkfs", path, &name, error);
  if (parent_fd < 0)
    return FALSE;
  if (fstatat (parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
    return S_ISREG (st.st_mode)
           || gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                            "mkfs: %s is there and no file: invalid argument", path);
  if (errno != ENOENT)
    return gantry_throw_errno (error, errno, "looking at %s", path);
  if (format->size == 0)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "mkfs: %s is not there, and no " MKFS
                         "size= says how big to make it: invalid argument",
                         path);
  return make_image (parent_fd, name, format, path, error);
}

GantryMount *
mkfs_transform (MountsLocal *self, GantryMount *mount, GError **error)
{
  g_autoptr (GPtrArray) options = g_ptr_array_new ();
  Format format = { "ext4", NULL, 0 };

  for (gsize i = 0; mount->options != NULL && mount->options[i] != NULL; i++)
    if (!g_str_has_prefix (mount->options[i], MKFS))
      g_ptr_array_add (options, mount->options[i]);
    else if (!read_option (mount->options[i] + strlen (MKFS), &format, error))
      return NULL;
  g_ptr_array_add (options, NULL);
  if (!ensure_image (self, mount->source != NULL ? mount->source : "", &format, error))
    return NULL;
  return gantry_mount_new (mount->type, mount->source, mount->target, (const char *const *)options->pdata);
}
