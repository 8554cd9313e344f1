/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * File I/O that starts from a directory's fd. Names that come from outside are resolved by the kernel beneath
 * that directory (openat2), never by building paths. All functions may be called from any thread and block on
 * local I/O.
 */
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib.h>

/** Closes an fd at the end of its scope: gantry_autofd int fd = -1; */
#define gantry_autofd __attribute__ ((cleanup (gantry_fd_clear)))

static inline void
gantry_fd_clear (int *fd)
{
  if (*fd >= 0)
    close (*fd);
  *fd = -1;
}

static inline int
gantry_fd_steal (int *fd)
{
  int ret = *fd;

  *fd = -1;
  return ret;
}

/** Opens @path, which may not leave @dfd by "..", an absolute name or a symlink (RESOLVE_BENEATH). @flags get
 * O_CLOEXEC. Returns: (transfer full): an fd, or -1 with errno set. */
int gantry_open_beneath (int dfd, const char *path, int flags, mode_t mode);

/** Opens @path as if @dfd were the root directory (RESOLVE_IN_ROOT, no magic links). Otherwise as
 * gantry_open_beneath (). */
int gantry_open_in_root (int dfd, const char *path, int flags, mode_t mode);

/** Opens @path beneath @dfd, following no symlink at all. Otherwise as gantry_open_beneath (). */
int gantry_open_no_links (int dfd, const char *path, int flags, mode_t mode);

/** Opens the directory @path below @dfd, making what is missing of it with @mode. Returns: (transfer full):
 * an fd, or -1 with @error. */
int gantry_open_dir_at (int dfd, const char *path, mode_t mode, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** Writes all of @data, whatever the kernel takes at a time. */
gboolean gantry_write_all (int fd, gconstpointer data, gsize length,
                           GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** Reads @fd to its end. Errors: RESOURCE_EXHAUSTED past @limit bytes. Returns: (transfer full). */
GBytes *gantry_read_all (int fd, gsize limit, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** Reads the regular file @name beneath @dfd. Errors: as gantry_read_all (), NOT_FOUND. Returns: (transfer
 * full). */
GBytes *gantry_read_file_at (int dfd, const char *name, gsize limit,
                             GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** Gives @name in @dfd the content @data at once: a reader sees the old file or the new one. With @durable
 * both survive a power cut from the return on. */
gboolean gantry_replace_file_at (int dfd, const char *name, gconstpointer data, gsize length, mode_t mode,
                                 gboolean durable, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** Removes @name in @dfd and all below it, following no symlink and entering no mount. A missing one is a
 * success. */
gboolean gantry_remove_tree_at (int dfd, const char *name, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** Adds up what @name in @dfd and all below it use on disk: bytes in blocks, hard links once. */
gboolean gantry_disk_usage_at (int dfd, const char *name, guint64 *ret_bytes, guint64 *ret_inodes,
                               GError **error) G_GNUC_WARN_UNUSED_RESULT;
