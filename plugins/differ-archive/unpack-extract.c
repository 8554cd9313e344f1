/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "unpack-extract.h"

#include <string.h>
#include <sys/sysmacros.h>

#include <archive.h>
#include <archive_entry.h>

#include "fdio.h"
#include "unpack-acl.h"
#include "unpack-flush.h"
#include "unpack-whiteout.h"
#include "unpack-xattr.h"

/* Files from this size on are sent to the disk at once, so that the sync at the end finds little left to do.
 */
#define EARLY_WRITE_SIZE (16 * 1024)
/* Of a large file, every so many bytes. */
#define EARLY_WRITE_STEP (8 * 1024 * 1024)

#define TAR_BLOCK 512

typedef struct
{
  const UnpackTarget *target;
  UnpackStream *stream;
  UnpackTree *tree;
  UnpackTree *link_tree; /* finds targets of hard links, so that tree stays where it is */
  UnpackFlush *flush;    /* or NULL: nothing need be durable */
  struct archive *archive;
  guint64 n_entries;
  guint64 n_devices;
  guint64 n_bytes;
  char primer[TAR_BLOCK]; /* a tar header */
  gboolean primed;
  gboolean between;    /* an entry was read whole, the next was not begun */
  guint64 n_read;      /* of the stream, with what was added at its end */
  gboolean root_entry; /* the layer has one for its root directory */
} Extraction;

/* One entry of the archive, cleaned. */
typedef struct
{
  struct archive_entry *ae;
  char *path;       /* "a/b" */
  char *dir;        /* "a" */
  const char *base; /* "b", points into path */
  int dfd;          /* of dir, borrowed from the tree */
  mode_t type;
  mode_t mode;
  guint32 uid, gid;
  struct timespec times[2];
} Entry;

static void
entry_clear (Entry *entry)
{
  g_free (entry->path);
  g_free (entry->dir);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Entry, entry_clear)

/* Makes room for the entry: what is there was made by a lower layer, or by an earlier entry of the same name.
 */
static gboolean
make_room (Extraction *self, Entry *entry, GError **error)
{
  struct stat st;

  if (fstatat (entry->dfd, entry->base, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return errno == ENOENT || gantry_throw_errno (error, errno, "reading its status");
  if (!S_ISDIR (st.st_mode))
    return unlinkat (entry->dfd, entry->base, 0) == 0 || gantry_throw_errno (error, errno, "replacing it");
  if (!gantry_remove_tree_at (entry->dfd, entry->base, error) || !unpack_tree_forget (self->tree, error)
      || !unpack_tree_forget (self->link_tree, error))
    return FALSE;
  entry->dfd = unpack_tree_enter (self->tree, entry->dir, TRUE, error);
  return entry->dfd >= 0;
}

/* Owner, mode, attributes and times, as far as they are not right already. */

static gboolean
set_xattrs (Extraction *self, Entry *entry, int fd, GError **error)
{
  const char *name;
  const void *value;
  size_t length;
  guint64 total = 0;

  /* Symlinks and devices have none here. */
  if (fd >= 0 && !unpack_acl_set (entry->ae, fd, self->target->uid_map, self->target->gid_map, error))
    return FALSE;
  if (archive_entry_xattr_reset (entry->ae) == 0)
    return TRUE;
  while (archive_entry_xattr_next (entry->ae, &name, &value, &length) == ARCHIVE_OK)
    {
      g_autofree guint8 *remapped = NULL;

      total += strlen (name) + length;
      if (total > self->target->limits.max_xattrs)
        return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED,
                             "its extended attributes are longer than %" G_GUINT64_FORMAT " bytes",
                             self->target->limits.max_xattrs);
      if (!unpack_xattr_is_content (name))
        continue;
      if (strcmp (name, "security.capability") == 0)
        {
          remapped = unpack_capability_remap (value, &length, self->target->uid_map, error);
          if (remapped == NULL)
            return FALSE;
          value = remapped;
        }
      if (!unpack_xattr_set (entry->dfd, entry->base, fd, name, value, length, error))
        return FALSE;
    }
  return TRUE;
}

/* For what has no fd: links and devices. */
static gboolean
finish_special (Extraction *self, Entry *entry, GError **error)
{
  if ((entry->uid != 0 || entry->gid != unpack_tree_get_default_group (self->tree))
      && fchownat (entry->dfd, entry->base, entry->uid, entry->gid, AT_SYMLINK_NOFOLLOW) < 0)
    return gantry_throw_errno (error, errno, "setting its owner");
  /* Changing the owner takes set-id bits away. Not for links, which have no mode. */
  if (entry->type != S_IFLNK && (entry->mode & 07000) != 0
      && fchmodat (entry->dfd, entry->base, entry->mode, 0) < 0)
    return gantry_throw_errno (error, errno, "setting its mode");
  if (!set_xattrs (self, entry, -1, error))
    return FALSE;
  if (utimensat (entry->dfd, entry->base, entry->times, AT_SYMLINK_NOFOLLOW) < 0)
    return gantry_throw_errno (error, errno, "setting its times");
  return unpack_tree_claim (self->tree, entry->dfd, entry->base, error);
}

static gboolean
finish_file (Extraction *self, Entry *entry, int fd, GError **error)
{
  gboolean owned = entry->uid == 0 && entry->gid == unpack_tree_get_default_group (self->tree);

  if (!owned && fchown (fd, entry->uid, entry->gid) < 0)
    return gantry_throw_errno (error, errno, "setting its owner");
  if ((entry->mode & 07000) != 0 && fchmod (fd, entry->mode) < 0)
    return gantry_throw_errno (error, errno, "setting its mode");
  if (!set_xattrs (self, entry, fd, error))
    return FALSE;
  if (futimens (fd, entry->times) < 0)
    return gantry_throw_errno (error, errno, "setting its times");
  return TRUE;
}

static gboolean
extract_dir (Extraction *self, Entry *entry, GError **error)
{
  gboolean replaces_whiteout = FALSE;
  int fd;

  if (entry->base[0] == '\0')
    {
      fd = entry->dfd;
      self->root_entry = TRUE;
    }
  else
    {
      if (mkdirat (entry->dfd, entry->base, entry->mode & 0777) < 0)
        {
          struct stat st;

          if (errno != EEXIST || fstatat (entry->dfd, entry->base, &st, AT_SYMLINK_NOFOLLOW) < 0)
            return gantry_throw_errno (error, errno, "making it");
          replaces_whiteout = unpack_is_whiteout (self->target, &st);
          if (!S_ISDIR (st.st_mode)
              && (!make_room (self, entry, error)
                  || (mkdirat (entry->dfd, entry->base, entry->mode & 0777) < 0
                      && !gantry_throw_errno (error, errno, "making it"))))
            return FALSE;
        }
      if (!unpack_tree_claim (self->tree, entry->dfd, entry->base, error))
        return FALSE;
      fd = unpack_tree_enter_child (self->tree, entry->base, error);
      if (fd < 0)
        return FALSE;
    }
  unpack_tree_set_explicit (self->tree);
  if (replaces_whiteout && !unpack_mark_opaque (self->target, fd, error))
    return FALSE;
  if (fchown (fd, entry->uid, entry->gid) < 0 || fchmod (fd, entry->mode) < 0)
    return gantry_throw_errno (error, errno, "setting its owner and mode");
  unpack_tree_set_default_group (self->tree, entry->mode, entry->gid);
  unpack_tree_set_times (self->tree, entry->times);
  return set_xattrs (self, entry, fd, error);
}

static gboolean
write_block (int fd, const guint8 *data, gsize length, gint64 offset, GError **error)
{
  while (length > 0)
    {
      ssize_t n = pwrite (fd, data, length, offset);

      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0)
        return gantry_throw_errno (error, errno, "writing it");
      data += n;
      offset += n;
      length -= (gsize)n;
    }
  return TRUE;
}

static gboolean throw_archive (Extraction *self, GError **error);

/* Sends what was written from *@begun to @end to the disk, if it is much or the file is @whole. */
static void
write_early (Extraction *self, int fd, gint64 *begun, gint64 end, gboolean whole)
{
  if (self->flush == NULL || end - *begun < (whole && *begun == 0 ? EARLY_WRITE_SIZE : EARLY_WRITE_STEP))
    return;
  sync_file_range (fd, *begun, end - *begun, SYNC_FILE_RANGE_WRITE);
  *begun = end;
}

static gboolean
write_data (Extraction *self, Entry *entry, int fd, GError **error)
{
  gint64 size = archive_entry_size (entry->ae);
  gint64 begun = 0, end = 0;

  while (size > 0)
    {
      const void *data;
      size_t length;
      la_int64_t offset;
      int r = archive_read_data_block (self->archive, &data, &length, &offset);

      if (r == ARCHIVE_EOF)
        break;
      if (r != ARCHIVE_OK)
        return throw_archive (self, error);
      if (offset < 0 || offset > size || (gint64)length > size - offset)
        return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "its data goes beyond its size");
      if (!write_block (fd, data, length, offset, error))
        return FALSE;
      end = MAX (end, offset + (gint64)length);
      write_early (self, fd, &begun, end, FALSE);
      /* From here on only the padding is read. */
      self->between = end == size;
    }
  if (end < size && ftruncate (fd, size) < 0)
    return gantry_throw_errno (error, errno, "setting its size");
  write_early (self, fd, &begun, end, TRUE);
  if (self->flush != NULL)
    unpack_flush_add (self->flush, (guint64)end);
  return TRUE;
}

static gboolean
extract_file (Extraction *self, Entry *entry, GError **error)
{
  const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  gantry_autofd int fd = -1;

  /* The mode is right from the start, but for the bits that writing takes away again. */
  fd = openat (entry->dfd, entry->base, flags, entry->mode & 0777);
  if (fd < 0 && errno == EEXIST)
    {
      if (!make_room (self, entry, error))
        return FALSE;
      fd = openat (entry->dfd, entry->base, flags, entry->mode & 0777);
    }
  if (fd < 0)
    return gantry_throw_errno (error, errno, "creating it");
  return unpack_tree_claim (self->tree, entry->dfd, entry->base, error) && write_data (self, entry, fd, error)
         && finish_file (self, entry, fd, error);
}

static gboolean
extract_symlink (Extraction *self, Entry *entry, GError **error)
{
  const char *target = archive_entry_symlink (entry->ae);

  if (target == NULL || target[0] == '\0')
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "it is a symlink to nothing");
  if (symlinkat (target, entry->dfd, entry->base) < 0)
    {
      if (errno != EEXIST)
        return gantry_throw_errno (error, errno, "making the symlink");
      if (!make_room (self, entry, error))
        return FALSE;
      if (symlinkat (target, entry->dfd, entry->base) < 0)
        return gantry_throw_errno (error, errno, "making the symlink");
    }
  return finish_special (self, entry, error);
}

static gboolean
extract_special (Extraction *self, Entry *entry, GError **error)
{
  dev_t device = entry->type == S_IFIFO
                     ? 0
                     : makedev (archive_entry_rdevmajor (entry->ae), archive_entry_rdevminor (entry->ae));
  mode_t mode = entry->type | (entry->mode & 0777);

  if (entry->type != S_IFIFO && ++self->n_devices > self->target->limits.max_devices)
    return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED,
                         "the layer has more than %" G_GUINT64_FORMAT
                         " devices; raise MaxDevices if it is to be trusted",
                         self->target->limits.max_devices);
  if (mknodat (entry->dfd, entry->base, mode, device) < 0)
    {
      if (errno != EEXIST)
        return gantry_throw_errno (error, errno, "making the device");
      if (!make_room (self, entry, error))
        return FALSE;
      if (mknodat (entry->dfd, entry->base, mode, device) < 0)
        return gantry_throw_errno (error, errno, "making the device");
    }
  return finish_special (self, entry, error);
}

static gboolean
same_file (int a_dfd, const char *a, int b_dfd, const char *b)
{
  struct stat sa, sb;

  return fstatat (a_dfd, a, &sa, AT_SYMLINK_NOFOLLOW) == 0
         && fstatat (b_dfd, b, &sb, AT_SYMLINK_NOFOLLOW) == 0 && sa.st_ino == sb.st_ino
         && sa.st_dev == sb.st_dev;
}

static gboolean
check_link_target (Extraction *self, int dfd, const char *base, const char *shown, GError **error)
{
  struct stat st;

  if (base[0] == '\0' || fstatat (dfd, base, &st, AT_SYMLINK_NOFOLLOW) < 0
      || unpack_is_whiteout (self->target, &st))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "it is a hard link to %s, which the layer has not", shown);
  if (S_ISDIR (st.st_mode))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "it is a hard link to the directory %s",
                         shown);
  return TRUE;
}

static int
enter_link_dir (Extraction *self, const char *dir, const char *shown, GError **error)
{
  g_autoptr (GError) local = NULL;
  int dfd = unpack_tree_enter (self->link_tree, dir, FALSE, &local);

  /* What the layer has not is the layer's fault, not something that the caller could find elsewhere. */
  if (dfd < 0)
    gantry_throw (error,
                  gantry_error_is (local, GANTRY_ERROR_NOT_FOUND)
                      ? GANTRY_ERROR_INVALID_ARGUMENT
                      : (GantryErrorCode)gantry_error_classify (local),
                  "it is a hard link to %s: %s", shown, local->message);
  return dfd;
}

/* Whether the layer itself has the target, or can't have it: then there is nothing to bring. */
static gboolean
has_link_target (Extraction *self, const char *dir, const char *base)
{
  g_autoptr (GError) local = NULL;
  int dfd = unpack_tree_enter (self->link_tree, dir, FALSE, &local);
  struct stat st;

  if (dfd < 0)
    return !gantry_error_is (local, GANTRY_ERROR_NOT_FOUND);
  return base[0] == '\0' || fstatat (dfd, base, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* A link to a file of the layers below is one to its copy up here, as it is when an overlay makes it. */
static gboolean
bring_link_target (Extraction *self, Entry *entry, const char *dir, const char *base, const char *shown,
                   GError **error)
{
  guint64 room = self->target->limits.max_bytes - self->n_bytes;
  guint64 before = room;
  gboolean found;

  if (self->target->flavor != UNPACK_OVERLAY || self->target->lower_fd == -1
      || has_link_target (self, dir, base))
    return TRUE;
  if (self->target->lower_fd == UNPACK_LOWER_UNKNOWN)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                         "it is a hard link to %s, which the layer has not; unpack it on top of the layers "
                         "below",
                         shown);
  /* The tree of the entries makes the directories, since it knows which times they get. */
  if (unpack_tree_enter (self->tree, dir, TRUE, error) < 0
      || !unpack_tree_copy_up (self->tree, base, &room, &found, error))
    {
      g_prefix_error (error, "it is a hard link to %s: ", shown);
      return FALSE;
    }
  self->n_bytes += before - room;
  entry->dfd = unpack_tree_enter (self->tree, entry->dir, TRUE, error);
  return entry->dfd >= 0;
}

static gboolean
extract_hardlink (Extraction *self, Entry *entry, const char *target, GError **error)
{
  g_autofree char *path = unpack_clean_name (target, &self->target->limits, error);
  g_autofree char *shown = unpack_show_name (target);
  g_autofree char *dir = NULL;
  const char *slash, *base;
  int dfd;

  if (path == NULL)
    {
      g_prefix_error (error, "it is a hard link to \"%s\": ", shown);
      return FALSE;
    }
  slash = strrchr (path, '/');
  dir = slash != NULL ? g_strndup (path, (gsize)(slash - path)) : g_strdup ("");
  base = slash != NULL ? slash + 1 : path;
  if (!bring_link_target (self, entry, dir, base, shown, error))
    return FALSE;
  dfd = enter_link_dir (self, dir, shown, error);
  if (dfd < 0)
    return FALSE;
  if (!check_link_target (self, dfd, base, shown, error))
    return FALSE;
  if (linkat (dfd, base, entry->dfd, entry->base, 0) == 0 || same_file (dfd, base, entry->dfd, entry->base))
    return TRUE;
  if (errno != EEXIST)
    return gantry_throw_errno (error, errno, "linking it to %s", shown);
  if (!make_room (self, entry, error))
    return FALSE;
  /* What made room may have been the directory of the target. */
  dfd = unpack_tree_enter (self->link_tree, dir, FALSE, error);
  if (dfd < 0)
    return FALSE;
  if (linkat (dfd, base, entry->dfd, entry->base, 0) < 0)
    return gantry_throw_errno (error, errno, "linking it to %s", shown);
  return TRUE;
}

/* Reading. */

static gboolean
throw_archive (Extraction *self, GError **error)
{
  const char *text = archive_error_string (self->archive);

  return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the tar archive is broken: %s",
                       text != NULL ? text : "?");
}

static gboolean
read_metadata (Extraction *self, Entry *entry, GError **error)
{
  struct archive_entry *ae = entry->ae;

  entry->type = archive_entry_filetype (ae);
  entry->mode = archive_entry_perm (ae) & 07777;
  entry->times[1].tv_sec = archive_entry_mtime (ae);
  entry->times[1].tv_nsec = CLAMP (archive_entry_mtime_nsec (ae), 0, 999999999);
  entry->times[0] = entry->times[1];
  return unpack_id_map_lookup (self->target->uid_map, archive_entry_uid (ae), &entry->uid, error)
         && unpack_id_map_lookup (self->target->gid_map, archive_entry_gid (ae), &entry->gid, error);
}

static gboolean
count_bytes (Extraction *self, Entry *entry, GError **error)
{
  gint64 size = entry->type == S_IFREG && archive_entry_hardlink (entry->ae) == NULL
                    ? archive_entry_size (entry->ae)
                    : 0;

  if (size < 0)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "it has no valid size");
  if ((guint64)size > self->target->limits.max_bytes - self->n_bytes)
    return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED,
                         "with its %" G_GINT64_FORMAT
                         " bytes the layer's files are larger than %" G_GUINT64_FORMAT
                         " bytes; raise MaxBytes if it is to be trusted",
                         size, self->target->limits.max_bytes);
  self->n_bytes += (guint64)size;
  return TRUE;
}

static gboolean
extract_kind (Extraction *self, Entry *entry, GError **error)
{
  const char *hardlink = archive_entry_hardlink (entry->ae);

  if (entry->base[0] == '\0' && (hardlink != NULL || entry->type != S_IFDIR))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "it would replace the root directory");
  if (hardlink != NULL)
    return extract_hardlink (self, entry, hardlink, error);
  switch (entry->type)
    {
    case S_IFREG:
      return extract_file (self, entry, error);
    case S_IFDIR:
      return extract_dir (self, entry, error);
    case S_IFLNK:
      return extract_symlink (self, entry, error);
    case S_IFBLK:
    case S_IFCHR:
    case S_IFIFO:
      return extract_special (self, entry, error);
    default:
      return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "it is of no known type");
    }
}

static gboolean
extract_whiteout (Extraction *self, Entry *entry, GError **error)
{
  gboolean in_overlay = self->target->flavor == UNPACK_OVERLAY;
  g_autoptr (GError) local = NULL;

  entry->dfd = unpack_tree_enter (self->tree, entry->dir, in_overlay, &local);
  if (entry->dfd < 0 && !in_overlay && gantry_error_is (local, GANTRY_ERROR_NOT_FOUND))
    return TRUE;
  if (entry->dfd < 0)
    {
      g_propagate_error (error, g_steal_pointer (&local));
      return FALSE;
    }
  if (!unpack_whiteout (self->target, self->tree, entry->dfd, entry->base, error))
    return FALSE;
  return in_overlay
         || (unpack_tree_forget (self->tree, error) && unpack_tree_forget (self->link_tree, error));
}

/* Whether the entry is at or below one of the names that are wanted. */
static gboolean
is_wanted (Extraction *self, Entry *entry)
{
  g_autofree char *first = g_strndup (entry->path, strcspn (entry->path, "/"));

  return g_strv_contains ((const char *const *)self->target->only, first);
}

/* Of an entry that is wanted: what is put among the host's own files may be no more than plain files. */
static gboolean
make_plain (Entry *entry, const char *name, GError **error)
{
  gboolean top = strchr (entry->path, '/') == NULL;

  if (name[0] == '/')
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "its name is absolute");
  if (archive_entry_hardlink (entry->ae) != NULL
      || (entry->type != S_IFDIR && (top || entry->type != S_IFREG)))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "only directories and regular files below them are taken, and it is neither");
  entry->mode &= entry->type == S_IFDIR ? 0755 : 0777;
  entry->uid = entry->gid = 0;
  archive_entry_xattr_clear (entry->ae);
  archive_entry_acl_clear (entry->ae);
  return TRUE;
}

static gboolean
extract_named (Extraction *self, Entry *entry, const char *name, GError **error)
{
  char *slash;

  entry->path = unpack_clean_name (name, &self->target->limits, error);
  if (entry->path == NULL)
    return FALSE;
  if (self->target->only != NULL && !is_wanted (self, entry))
    return TRUE;
  slash = strrchr (entry->path, '/');
  entry->dir = slash != NULL ? g_strndup (entry->path, (gsize)(slash - entry->path)) : g_strdup ("");
  entry->base = slash != NULL ? slash + 1 : entry->path;
  if (!read_metadata (self, entry, error) || !count_bytes (self, entry, error))
    return FALSE;
  if (unpack_in_aufs_metadata (entry->path))
    return TRUE;
  if (unpack_is_whiteout_name (entry->base))
    return extract_whiteout (self, entry, error);
  if (self->target->only != NULL && !make_plain (entry, name, error))
    return FALSE;
  entry->dfd = unpack_tree_enter (self->tree, entry->dir, TRUE, error);
  return entry->dfd >= 0 && extract_kind (self, entry, error);
}

static gboolean
extract_entry (Extraction *self, struct archive_entry *ae, GError **error)
{
  g_auto (Entry) entry = { .ae = ae, .dfd = -1 };
  const char *name = archive_entry_pathname (ae);

  if (name == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "entry %" G_GUINT64_FORMAT " of the layer has no name", self->n_entries);
  if (!extract_named (self, &entry, name, error))
    {
      g_autofree char *shown = unpack_show_name (name);

      g_prefix_error (error, "layer entry \"%s\": ", shown);
      return FALSE;
    }
  return TRUE;
}

/* A warning says that something of the entry was left out, which is as bad as an error, but for names that
 * are not UTF-8: those come as the bytes that they are. */
static gboolean
is_about_charset (struct archive *archive)
{
  const char *text = archive_error_string (archive);

  return text == NULL || strstr (text, "can't be converted") != NULL;
}

static gboolean
extract_all (Extraction *self, GError **error)
{
  for (;;)
    {
      struct archive_entry *ae;
      int r;

      self->between = TRUE;
      r = archive_read_next_header (self->archive, &ae);
      self->between = FALSE;
      if (r == ARCHIVE_EOF)
        return unpack_tree_finish (self->tree, error);
      if (r != ARCHIVE_OK && !(r == ARCHIVE_WARN && is_about_charset (self->archive)))
        {
          throw_archive (self, error);
          g_prefix_error (error, "after %" G_GUINT64_FORMAT " entries: ", self->n_entries);
          return FALSE;
        }
      if (++self->n_entries > self->target->limits.max_entries)
        return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED,
                             "the layer has more than %" G_GUINT64_FORMAT
                             " entries; raise MaxEntries if it is to be trusted",
                             self->target->limits.max_entries);
      if (!extract_entry (self, ae, error))
        return FALSE;
    }
}

/* libarchive (3.6) loses a PAX "linkpath" if neither this header nor one before it has a link name of its
 * own, as Go writes links to names that have no ASCII letter. So it is given a header with one before the
 * layer begins. */
static void
make_primer (Extraction *self)
{
  unsigned sum = 8 * ' ';

  memset (self->primer, 0, sizeof self->primer);
  self->primer[0] = '.';
  memcpy (self->primer + 100, "0000755", 8);
  memcpy (self->primer + 108, "0000000", 8);
  memcpy (self->primer + 116, "0000000", 8);
  memcpy (self->primer + 124, "00000000000", 12);
  memcpy (self->primer + 136, "00000000000", 12);
  self->primer[156] = '2';
  self->primer[157] = '.';
  memcpy (self->primer + 257, "ustar\00000", 8);
  for (gsize i = 0; i < sizeof self->primer; i++)
    sum += (guint8)self->primer[i];
  g_snprintf (self->primer + 148, 8, "%06o", sum);
}

/* Some writers (umoci insert) end an archive right behind the data of its last file, without what fills the
 * last block up, and readers of tar in Go take that. Anything else that is missing is an error. */
static la_ssize_t
add_padding (Extraction *self, const void **ret_data)
{
  static const char zeros[TAR_BLOCK];
  guint64 rest = self->n_read % TAR_BLOCK;

  if (!self->between || rest == 0
      || (guint64)archive_filter_bytes (self->archive, 0) != sizeof self->primer + self->n_read)
    return 0;
  self->n_read += TAR_BLOCK - rest;
  *ret_data = zeros;
  return (la_ssize_t)(TAR_BLOCK - rest);
}

static la_ssize_t
read_stream (struct archive *archive, void *user_data, const void **ret_data)
{
  Extraction *self = user_data;
  g_autoptr (GError) error = NULL;
  const guint8 *data;
  gsize length;

  if (!self->primed)
    {
      self->primed = TRUE;
      *ret_data = self->primer;
      return sizeof self->primer;
    }
  if (!unpack_stream_next (self->stream, &data, &length, &error))
    {
      archive_set_error (archive, EIO, "%s", error->message);
      return ARCHIVE_FATAL;
    }
  self->n_read += length;
  if (length == 0)
    return add_padding (self, ret_data);
  *ret_data = data;
  return (la_ssize_t)length;
}

static struct archive *
open_archive (Extraction *self, GError **error)
{
  struct archive *archive = archive_read_new ();
  struct archive_entry *primer;

  make_primer (self);
  if (archive_read_support_format_tar (archive) != ARCHIVE_OK
      || archive_read_open (archive, self, NULL, read_stream, NULL) != ARCHIVE_OK
      || archive_read_next_header (archive, &primer) != ARCHIVE_OK)
    {
      const char *text = archive_error_string (archive);

      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the layer is not a tar archive: %s",
                    text != NULL ? text : "?");
      archive_read_free (archive);
      return NULL;
    }
  return archive;
}

/* An error of the stream is the cause of whatever the archive complains about. */
static gboolean
prefer_stream_error (UnpackStream *stream, GError **error)
{
  g_autoptr (GError) cause = unpack_stream_dup_error (stream);

  if (cause != NULL && error != NULL)
    {
      g_clear_error (error);
      *error = g_steal_pointer (&cause);
    }
  return FALSE;
}

gboolean
unpack_extract (const UnpackTarget *target, UnpackStream *stream, char **ret_digest, guint64 *ret_size,
                gboolean *ret_root_entry, GError **error)
{
  g_autoptr (UnpackTree) tree = unpack_tree_new (target->root_fd, target->lower_fd, target->flavor,
                                                 target->opaque_xattr, target->limits.max_depth);
  g_autoptr (UnpackTree) link_tree = unpack_tree_new (target->root_fd, target->lower_fd, UNPACK_OVERLAY,
                                                      target->opaque_xattr, target->limits.max_depth);
  g_autoptr (UnpackFlush) flush = target->sync ? unpack_flush_new (target->root_fd) : NULL;
  Extraction self
      = { .target = target, .stream = stream, .tree = tree, .link_tree = link_tree, .flush = flush };
  mode_t saved_umask = umask (0);
  gboolean ok;

  unpack_tree_note_implied (tree, target->implied);
  self.archive = open_archive (&self, error);
  ok = self.archive != NULL && extract_all (&self, error);
  umask (saved_umask);
  archive_read_free (self.archive);
  *ret_root_entry = self.root_entry;
  if (!ok)
    return prefer_stream_error (stream, error);
  if (!unpack_stream_finish (stream, ret_digest, ret_size, error))
    return FALSE;
  return flush == NULL || unpack_flush_finish (flush, error);
}
