/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pack-layer.h"

#include <string.h>
#include <sys/sysmacros.h>

#include <archive.h>
#include <archive_entry.h>

#include "fdio.h"
#include "pack-changes.h"
#include "unpack-whiteout.h"
#include "unpack-xattr.h"

#define READ_SIZE (256 * 1024)

typedef struct
{
  int root_fd;
  gint64 epoch;
  PackEncoder *encoder;
  GError *error; /* of the encoder, which is called through libarchive */
  struct archive *archive;
  struct archive_entry *entry;
  GHashTable *links; /* inode -> the name under which it was written */
  guint8 *buffer;
} Layer;

static la_ssize_t
write_out (struct archive *archive, void *user_data, const void *data, size_t length)
{
  Layer *self = user_data;

  if (self->error != NULL || !pack_encoder_write (self->encoder, data, length, &self->error))
    {
      archive_set_error (archive, EIO, "%s", self->error->message);
      return -1;
    }
  return (la_ssize_t)length;
}

static gboolean
throw_archive (Layer *self, GError **error)
{
  const char *text = archive_error_string (self->archive);

  if (self->error == NULL)
    return gantry_throw (error, GANTRY_ERROR_INTERNAL, "writing the tar archive: %s",
                         text != NULL ? text : "?");
  g_propagate_error (error, g_steal_pointer (&self->error));
  return FALSE;
}

static gboolean
write_header (Layer *self, GError **error)
{
  /* A warning is about names that are not UTF-8, which are written as the bytes that they are. */
  return archive_write_header (self->archive, self->entry) >= ARCHIVE_WARN || throw_archive (self, error);
}

static void
set_time (Layer *self, gint64 seconds)
{
  archive_entry_set_mtime (self->entry, self->epoch >= 0 ? MIN (seconds, self->epoch) : seconds, 0);
}

static gboolean
add_attribute (const char *name, const void *value, gsize length, gpointer user_data, GError **error)
{
  Layer *self = user_data;

  if (unpack_xattr_is_portable (name))
    archive_entry_xattr_add_entry (self->entry, name, value, length);
  return TRUE;
}

static gboolean
write_data (Layer *self, int fd, gint64 size, GError **error)
{
  while (size > 0)
    {
      gsize want = (gsize)MIN (size, READ_SIZE);
      ssize_t n = read (fd, self->buffer, want);

      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0)
        return gantry_throw_errno (error, errno, "reading it");
      /* It shrank while it was read: the header has promised its size. */
      if (n == 0)
        {
          memset (self->buffer, 0, want);
          n = (ssize_t)want;
        }
      if (archive_write_data (self->archive, self->buffer, (gsize)n) < 0)
        return throw_archive (self, error);
      size -= n;
    }
  return TRUE;
}

/* Returns: TRUE if the file was written before under another name, which the entry now links to. */
static gboolean
link_to_earlier (Layer *self, const struct stat *st, const char *path)
{
  gint64 key = unpack_inode_key (st);
  const char *earlier;

  if (S_ISDIR (st->st_mode) || st->st_nlink < 2)
    return FALSE;
  earlier = g_hash_table_lookup (self->links, &key);
  if (earlier == NULL)
    {
      g_hash_table_insert (self->links, g_memdup2 (&key, sizeof key), g_strdup (path));
      return FALSE;
    }
  archive_entry_set_size (self->entry, 0);
  archive_entry_copy_hardlink (self->entry, earlier);
  return TRUE;
}

static gboolean
set_link_target (Layer *self, int fd, GError **error)
{
  g_autofree char *target = g_malloc (PATH_MAX + 1);
  ssize_t n = readlinkat (fd, "", target, PATH_MAX);

  if (n < 0)
    return gantry_throw_errno (error, errno, "reading the link");
  target[n] = '\0';
  archive_entry_copy_symlink (self->entry, target);
  return TRUE;
}

static void
set_status (Layer *self, const struct stat *st, const char *path)
{
  g_autofree char *with_slash = S_ISDIR (st->st_mode) ? g_strconcat (path, "/", NULL) : NULL;

  archive_entry_clear (self->entry);
  archive_entry_copy_pathname (self->entry, with_slash != NULL ? with_slash : path);
  archive_entry_set_filetype (self->entry, st->st_mode & S_IFMT);
  archive_entry_set_perm (self->entry, st->st_mode & 07777);
  archive_entry_set_uid (self->entry, st->st_uid);
  archive_entry_set_gid (self->entry, st->st_gid);
  archive_entry_set_size (self->entry, S_ISREG (st->st_mode) ? st->st_size : 0);
  set_time (self, st->st_mtim.tv_sec);
  if (S_ISCHR (st->st_mode) || S_ISBLK (st->st_mode))
    {
      archive_entry_set_rdevmajor (self->entry, major (st->st_rdev));
      archive_entry_set_rdevminor (self->entry, minor (st->st_rdev));
    }
}

static gboolean
write_file (Layer *self, const struct stat *st, const char *path, GError **error)
{
  gantry_autofd int fd = gantry_open_no_links (self->root_fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
  struct stat now;

  if (fd < 0 || fstat (fd, &now) < 0)
    return gantry_throw_errno (error, errno, "opening it");
  if (!S_ISREG (now.st_mode))
    return gantry_throw (error, GANTRY_ERROR_ABORTED, "it was replaced while the layer was made");
  if (!unpack_xattr_foreach_fd (fd, add_attribute, self, error))
    return FALSE;
  return write_header (self, error) && write_data (self, fd, st->st_size, error);
}

static gboolean
write_dir (Layer *self, const char *path, GError **error)
{
  gantry_autofd int fd = gantry_open_no_links (self->root_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);

  if (fd < 0)
    return gantry_throw_errno (error, errno, "opening it");
  return unpack_xattr_foreach_fd (fd, add_attribute, self, error) && write_header (self, error);
}

static gboolean
write_root (Layer *self, GError **error)
{
  struct stat st;

  if (fstat (self->root_fd, &st) < 0)
    return gantry_throw_errno (error, errno, "reading the status of the root directory");
  set_status (self, &st, ".");
  return write_dir (self, ".", error);
}

static gboolean
write_added (Layer *self, const char *path, GError **error)
{
  gantry_autofd int fd = gantry_open_no_links (self->root_fd, path, O_PATH | O_NOFOLLOW, 0);
  struct stat st;

  if (fd < 0 || fstat (fd, &st) < 0)
    return gantry_throw_errno (error, errno, "reading its status");
  /* A socket is of no use without the program that listens. */
  if (S_ISSOCK (st.st_mode))
    return TRUE;
  set_status (self, &st, path);
  if (link_to_earlier (self, &st, path))
    return write_header (self, error);
  if (S_ISREG (st.st_mode))
    return write_file (self, &st, path, error);
  if (S_ISDIR (st.st_mode))
    return write_dir (self, path, error);
  if (S_ISLNK (st.st_mode) && !set_link_target (self, fd, error))
    return FALSE;
  return write_header (self, error);
}

static gboolean
write_mark (Layer *self, const char *directory, const char *name, GError **error)
{
  g_autofree char *path = directory[0] != '\0' ? g_strconcat (directory, "/", name, NULL) : g_strdup (name);

  archive_entry_clear (self->entry);
  archive_entry_copy_pathname (self->entry, path);
  archive_entry_set_filetype (self->entry, AE_IFREG);
  archive_entry_set_perm (self->entry, 0);
  archive_entry_set_size (self->entry, 0);
  /* When it was deleted is not known; any other time would differ from run to run. */
  archive_entry_set_mtime (self->entry, MAX (self->epoch, 0), 0);
  return write_header (self, error);
}

static gboolean
write_whiteout (Layer *self, const char *path, GError **error)
{
  const char *slash = strrchr (path, '/');
  g_autofree char *directory = slash != NULL ? g_strndup (path, (gsize)(slash - path)) : g_strdup ("");
  g_autofree char *name = g_strconcat (UNPACK_WHITEOUT_PREFIX, slash != NULL ? slash + 1 : path, NULL);

  return write_mark (self, directory, name, error);
}

static gboolean
write_change (Layer *self, const PackChange *change, GError **error)
{
  switch (change->kind)
    {
    case PACK_WHITEOUT:
      return write_whiteout (self, change->path, error);
    case PACK_OPAQUE:
      return write_mark (self, change->path, UNPACK_WHITEOUT_OPAQUE, error);
    case PACK_ADD:
    default:
      return change->path[0] == '\0' ? write_root (self, error) : write_added (self, change->path, error);
    }
}

static gboolean
write_all (Layer *self, GPtrArray *changes, GError **error)
{
  for (guint i = 0; i < changes->len; i++)
    {
      const PackChange *change = g_ptr_array_index (changes, i);

      if (!write_change (self, change, error))
        {
          g_autofree char *shown = unpack_show_name (change->path);

          g_prefix_error (error, "layer entry \"%s\": ", shown);
          return FALSE;
        }
    }
  return archive_write_close (self->archive) == ARCHIVE_OK || throw_archive (self, error);
}

gboolean
pack_layer_write (int root_fd, GPtrArray *changes, gint64 epoch, const UnpackLimits *limits,
                  PackEncoder *encoder, GError **error)
{
  g_autoptr (GHashTable) links = g_hash_table_new_full (g_int64_hash, g_int64_equal, g_free, g_free);
  g_autofree guint8 *buffer = g_malloc (READ_SIZE);
  Layer self = { .root_fd = root_fd, .epoch = epoch, .encoder = encoder, .links = links, .buffer = buffer };
  gboolean ok;

  self.archive = archive_write_new ();
  self.entry = archive_entry_new ();
  ok = archive_write_set_format_pax_restricted (self.archive) == ARCHIVE_OK
       && archive_write_set_format_option (self.archive, "pax", "xattrheader", "SCHILY") == ARCHIVE_OK
       && archive_write_set_bytes_per_block (self.archive, READ_SIZE) == ARCHIVE_OK
       && archive_write_set_bytes_in_last_block (self.archive, 1) == ARCHIVE_OK
       && archive_write_open (self.archive, &self, NULL, write_out, NULL) == ARCHIVE_OK;
  ok = ok ? write_all (&self, changes, error) : throw_archive (&self, error);
  archive_entry_free (self.entry);
  archive_write_free (self.archive);
  g_clear_error (&self.error);
  return ok;
}
