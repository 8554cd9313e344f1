/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Blobs that are being written. Order of a commit: the data is synced, then renamed to its digest, then the
 * notes go, then the directory is synced; a crash in between leaves an ingest that can be resumed, or a whole
 * blob and stale notes. */
#include "content-local.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include <fdio.h>
#include <filter.h>

#include "digest.h"

#define MAX_META     8192
#define REHASH_CHUNK (1024 * 1024)
#define WRITE_BACK   (8 * 1024 * 1024)

static GantryPart digest_part = GANTRY_PART ("content-local-digest");

typedef struct
{
  GantryIngest ingest;
  gint refs; /* (atomic) */
  ContentLocal *content;
  char *ref;
  char *data_name;
  char *meta_name;
  char *algorithm;
  char *expected;
  guint64 total;
  guint64 offset;
  guint64 written_back; /* what the disk has been told to begin with */
  gint64 started_ns;
  const Hashing *hashing;
  Hash *hash;
  int fd;
  gint aborted; /* (atomic): its files and its ref may be another's */
} Ingest;

static char *
name_of (const char *ref, const char *suffix)
{
  g_autofree char *hash = g_compute_checksum_for_string (G_CHECKSUM_SHA256, ref, -1);

  return g_strconcat (hash, suffix, NULL);
}

/* Makes @self the writer of its ref. */
static gboolean
claim (Ingest *self, GError **error)
{
  ContentLocal *content = self->content;
  gboolean taken;

  g_mutex_lock (&content->lock);
  taken = g_hash_table_contains (content->writers, self->ref);
  if (!taken)
    g_hash_table_insert (content->writers, g_strdup (self->ref), self);
  g_mutex_unlock (&content->lock);
  return !taken || gantry_throw (error, GANTRY_ERROR_UNAVAILABLE, "ref %s locked: unavailable", self->ref);
}

static void
release (Ingest *self)
{
  g_mutex_lock (&self->content->lock);
  if (g_hash_table_lookup (self->content->writers, self->ref) == self)
    g_hash_table_remove (self->content->writers, self->ref);
  g_mutex_unlock (&self->content->lock);
}

static gboolean
check_aborted (Ingest *self, GError **error)
{
  return !g_atomic_int_get (&self->aborted)
         || gantry_throw (error, GANTRY_ERROR_ABORTED, "ingest %s was aborted by somebody else: aborted",
                          self->ref);
}

static void
discard_files (Ingest *self)
{
  g_mutex_lock (&self->content->lock);
  if (!g_atomic_int_get (&self->aborted))
    {
      unlinkat (self->content->ingest_fd, self->data_name, 0);
      unlinkat (self->content->ingest_fd, self->meta_name, 0);
    }
  g_mutex_unlock (&self->content->lock);
}

static GantryIngest *
ingest_ref (GantryIngest *ingest)
{
  g_atomic_int_inc (&((Ingest *)ingest)->refs);
  return ingest;
}

static void
ingest_unref (GantryIngest *ingest)
{
  Ingest *self = (Ingest *)ingest;

  if (!g_atomic_int_dec_and_test (&self->refs))
    return;
  gantry_fd_clear (&self->fd);
  if (self->hashing != NULL)
    self->hashing->free (self->hash);
  release (self);
  g_free (self->ref);
  g_free (self->data_name);
  g_free (self->meta_name);
  g_free (self->algorithm);
  g_free (self->expected);
  g_free (self);
}

/* Lets the disk begin with what has come, so that little is left for the sync of the commit. */
static void
write_back (Ingest *self)
{
  if (self->offset - self->written_back < WRITE_BACK)
    return;
  sync_file_range (self->fd, (off_t)self->written_back, (off_t)(self->offset - self->written_back),
                   SYNC_FILE_RANGE_WRITE);
  self->written_back = self->offset;
}

static gboolean
ingest_write (GantryIngest *ingest, gconstpointer data, gsize length, GCancellable *cancellable,
              GError **error)
{
  Ingest *self = (Ingest *)ingest;

  if (g_cancellable_set_error_if_cancelled (cancellable, error))
    return FALSE;
  if (!check_aborted (self, error))
    return FALSE;
  if (self->fd < 0)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "ingest %s is closed", self->ref);
  if (self->total != 0 && length > self->total - self->offset)
    return gantry_throw (error, GANTRY_ERROR_OUT_OF_RANGE,
                         "ingest %s gets more than the %" G_GUINT64_FORMAT " bytes that were announced",
                         self->ref, self->total);
  if (!gantry_write_all (self->fd, data, length, error))
    {
      g_prefix_error (error, "ingest %s: ", self->ref);
      return FALSE;
    }
  if (!self->hashing->update (self->hash, data, length))
    return gantry_throw (error, GANTRY_ERROR_INTERNAL, "ingest %s: hashing failed", self->ref);
  self->offset += length;
  write_back (self);
  return TRUE;
}

static gint64
mtime_ns (int fd)
{
  struct stat st;

  return fd >= 0 && fstat (fd, &st) == 0 ? (gint64)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec : 0;
}

static gboolean
ingest_get_status (GantryIngest *ingest, GantryIngestStatus **ret_status, GCancellable *cancellable,
                   GError **error)
{
  Ingest *self = (Ingest *)ingest;

  *ret_status = gantry_ingest_status_new (self->ref, self->offset, self->total, self->expected,
                                          self->started_ns, mtime_ns (self->fd));
  return TRUE;
}

/* Hashes the first @length bytes of the data anew and leaves the file there. */
static gboolean
rehash (Ingest *self, guint64 length, GCancellable *cancellable, GError **error)
{
  g_autofree guint8 *buffer = g_malloc (REHASH_CHUNK);
  guint64 done = 0;

  self->hashing->free (self->hash);
  self->hash = self->hashing->start (self->algorithm, error);
  if (self->hash == NULL)
    {
      g_prefix_error (error, "ingest %s: ", self->ref);
      return FALSE;
    }
  while (done < length)
    {
      ssize_t n = pread (self->fd, buffer, (gsize)MIN (length - done, REHASH_CHUNK), (off_t)done);

      if (g_cancellable_set_error_if_cancelled (cancellable, error))
        return FALSE;
      if (n < 0 && errno == EINTR)
        continue;
      if (n <= 0)
        return gantry_throw_errno (error, n < 0 ? errno : EIO, "ingest %s: reading it again", self->ref);
      self->hashing->update (self->hash, buffer, (gsize)n);
      done += (guint64)n;
    }
  if (lseek (self->fd, (off_t)length, SEEK_SET) < 0)
    return gantry_throw_errno (error, errno, "ingest %s", self->ref);
  self->offset = length;
  self->written_back = length;
  return TRUE;
}

static gboolean
ingest_truncate (GantryIngest *ingest, guint64 offset, GCancellable *cancellable, GError **error)
{
  Ingest *self = (Ingest *)ingest;

  if (!check_aborted (self, error))
    return FALSE;
  if (offset > self->offset)
    return gantry_throw (error, GANTRY_ERROR_OUT_OF_RANGE, "ingest %s has only %" G_GUINT64_FORMAT " bytes",
                         self->ref, self->offset);
  if (ftruncate (self->fd, (off_t)offset) < 0)
    return gantry_throw_errno (error, errno, "ingest %s: cutting it back", self->ref);
  return rehash (self, offset, cancellable, error);
}

static char *
current_digest (Ingest *self)
{
  g_autofree char *hex = self->hashing->to_hex (self->hash);

  return g_strconcat (self->algorithm, ":", hex, NULL);
}

static gboolean
ingest_get_digest (GantryIngest *ingest, char **ret_digest, GCancellable *cancellable, GError **error)
{
  *ret_digest = current_digest ((Ingest *)ingest);
  return TRUE;
}

static gboolean
verify (Ingest *self, guint64 expected_size, const char *expected_digest, const char *digest, GError **error)
{
  if (expected_size != 0 && expected_size != self->offset)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                         "unexpected commit size %" G_GUINT64_FORMAT ", expected %" G_GUINT64_FORMAT
                         ": failed precondition",
                         self->offset, expected_size);
  if (expected_digest != NULL && strcmp (expected_digest, digest) != 0)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                         "unexpected commit digest %s, expected %s: failed precondition", digest,
                         expected_digest);
  return TRUE;
}

/* What commit () was told and what open_ingest () was told both count. */
static gboolean
verify_all (Ingest *self, guint64 expected_size, const char *expected_digest, const char *digest,
            GError **error)
{
  return verify (self, expected_size, expected_digest, digest, error)
         && verify (self, self->total, self->expected, digest, error);
}

/* Names the data by its digest, unless it was aborted: then a file of this name may be another writer's. */
static gboolean
name_blob (Ingest *self, const char *path, const char *digest, GError **error)
{
  ContentLocal *content = self->content;
  gboolean ok;

  g_mutex_lock (&content->lock);
  ok = check_aborted (self, error);
  if (ok && renameat2 (content->ingest_fd, self->data_name, content->blobs_fd, path, RENAME_NOREPLACE) < 0)
    ok = gantry_throw_errno (error, errno, "publishing content %s", digest);
  if (ok)
    unlinkat (content->ingest_fd, self->meta_name, 0);
  g_mutex_unlock (&content->lock);
  return ok;
}

static gboolean
publish (Ingest *self, const char *path, const char *digest, GError **error)
{
  ContentLocal *content = self->content;
  gantry_autofd int dir_fd = -1;

  if (fchmod (self->fd, 0444) < 0 || fdatasync (self->fd) < 0)
    return gantry_throw_errno (error, errno, "syncing content %s", digest);
  dir_fd = gantry_open_beneath (content->blobs_fd, self->algorithm, O_RDONLY | O_DIRECTORY, 0);
  if (dir_fd < 0)
    return gantry_throw_errno (error, errno, "publishing content %s", digest);
  if (!name_blob (self, path, digest, error))
    return FALSE;
  if (fsync (dir_fd) < 0)
    return gantry_throw_errno (error, errno, "syncing the directory of content %s", digest);
  return TRUE;
}

static gboolean
ingest_commit (GantryIngest *ingest, guint64 expected_size, const char *expected_digest, GVariant *labels,
               char **ret_digest, GCancellable *cancellable, GError **error)
{
  Ingest *self = (Ingest *)ingest;
  g_autofree char *digest = NULL;
  g_autofree char *path = NULL;
  g_autoptr (GError) local = NULL;
  gboolean ok;

  if (g_cancellable_set_error_if_cancelled (cancellable, error))
    return FALSE;
  if (!check_aborted (self, error))
    return FALSE;
  if (self->fd < 0)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "ingest %s is closed", self->ref);
  if (labels != NULL && g_variant_n_children (labels) > 0)
    return gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED,
                         "ingest %s can't get labels here: the store of a namespace keeps those", self->ref);
  digest = current_digest (self);
  if (!verify_all (self, expected_size, expected_digest, digest, error)
      || !content_local_path (digest, &path, error))
    {
      discard_files (self);
      gantry_fd_clear (&self->fd);
      return FALSE;
    }
  ok = publish (self, path, digest, &local);
  if (gantry_error_is (local, GANTRY_ERROR_ALREADY_EXISTS))
    {
      discard_files (self);
      g_clear_error (&local);
      gantry_throw (&local, GANTRY_ERROR_ALREADY_EXISTS, "content %s: already exists", digest);
    }
  if (ok || gantry_error_is (local, GANTRY_ERROR_ALREADY_EXISTS))
    {
      gantry_fd_clear (&self->fd);
      if (ret_digest != NULL)
        *ret_digest = g_steal_pointer (&digest);
    }
  if (!ok)
    g_propagate_error (error, g_steal_pointer (&local));
  return ok;
}

static gboolean
ingest_open_reader (GantryIngest *ingest, int *ret_fd, GCancellable *cancellable, GError **error)
{
  Ingest *self = (Ingest *)ingest;
  int fd;

  if (self->fd < 0)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "ingest %s is closed", self->ref);
  fd = gantry_open_beneath (self->content->ingest_fd, self->data_name, O_RDONLY | O_NOFOLLOW, 0);
  if (fd < 0)
    return gantry_throw_errno (error, errno, "reading ingest %s", self->ref);
  *ret_fd = fd;
  return TRUE;
}

static const GantryIngestVtable ingest_vtable = {
  .size = sizeof (GantryIngestVtable),
  .ref = ingest_ref,
  .unref = ingest_unref,
  .write = ingest_write,
  .get_status = ingest_get_status,
  .truncate = ingest_truncate,
  .commit = ingest_commit,
  .get_digest = ingest_get_digest,
  .open_reader = ingest_open_reader,
};

/* Reads the notes. *@ret_status has no offset. Returns: FALSE without an error if there are none. */
static gboolean
read_meta (ContentLocal *self, const char *meta_name, char **ret_ref, guint64 *ret_total, char **ret_expected,
           gint64 *ret_started)
{
  g_autoptr (GKeyFile) file = g_key_file_new ();
  g_autoptr (GBytes) bytes = gantry_read_file_at (self->ingest_fd, meta_name, MAX_META, NULL);

  if (bytes == NULL || !g_key_file_load_from_bytes (file, bytes, G_KEY_FILE_NONE, NULL))
    return FALSE;
  *ret_ref = g_key_file_get_string (file, "Ingest", "Ref", NULL);
  if (*ret_ref == NULL)
    return FALSE;
  *ret_total = g_key_file_get_uint64 (file, "Ingest", "Total", NULL);
  *ret_expected = g_key_file_get_string (file, "Ingest", "Expected", NULL);
  *ret_started = g_key_file_get_int64 (file, "Ingest", "Started", NULL);
  return TRUE;
}

static gboolean
write_meta (Ingest *self, GError **error)
{
  g_autoptr (GKeyFile) file = g_key_file_new ();
  g_autofree char *text = NULL;
  gsize length;

  g_key_file_set_string (file, "Ingest", "Ref", self->ref);
  g_key_file_set_uint64 (file, "Ingest", "Total", self->total);
  g_key_file_set_int64 (file, "Ingest", "Started", self->started_ns);
  if (self->expected != NULL)
    g_key_file_set_string (file, "Ingest", "Expected", self->expected);
  text = g_key_file_to_data (file, &length, NULL);
  return gantry_replace_file_at (self->content->ingest_fd, self->meta_name, text, length, 0600, FALSE, error);
}

static gboolean
open_files (Ingest *self, GCancellable *cancellable, GError **error)
{
  g_autofree char *old_ref = NULL, *old_expected = NULL;
  gint64 old_started = 0;
  guint64 old_total = 0;
  struct stat st;
  gboolean resumed
      = read_meta (self->content, self->meta_name, &old_ref, &old_total, &old_expected, &old_started);

  if (resumed && self->total != 0 && old_total != 0 && self->total != old_total)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                         "ingest %s was begun for %" G_GUINT64_FORMAT " bytes; abort it first", self->ref,
                         old_total);
  if (resumed && self->expected != NULL && old_expected != NULL && strcmp (self->expected, old_expected) != 0)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                         "ingest %s was begun for %s; abort it first", self->ref, old_expected);
  self->fd = openat (self->content->ingest_fd, self->data_name,
                     O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | (resumed ? 0 : O_TRUNC), 0600);
  if (self->fd < 0 || fstat (self->fd, &st) < 0)
    return gantry_throw_errno (error, errno, "opening ingest %s", self->ref);
  self->started_ns = resumed ? old_started : gantry_now_ns ();
  if (self->total == 0)
    self->total = old_total;
  if (self->expected == NULL)
    self->expected = g_steal_pointer (&old_expected);
  return (resumed || write_meta (self, error)) && rehash (self, (guint64)st.st_size, cancellable, error);
}

gboolean
ingest_open (GantryContent *content, const char *ref, guint64 total, const char *expected_digest,
             GantryIngest **ret_ingest, GCancellable *cancellable, GError **error)
{
  ContentLocal *self = (ContentLocal *)content;
  g_autofree char *path = NULL;
  Ingest *ingest;

  if (ref == NULL || ref[0] == '\0' || strlen (ref) > 2 * GANTRY_MAX_NAME || !g_utf8_validate (ref, -1, NULL))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "an ingest ref must have 1 to %d characters of UTF-8: invalid argument",
                         2 * GANTRY_MAX_NAME);
  if (expected_digest != NULL && !content_local_path (expected_digest, &path, error))
    return FALSE;
  if (expected_digest != NULL && content_local_has (self, expected_digest))
    return gantry_throw (error, GANTRY_ERROR_ALREADY_EXISTS, "content %s: already exists", expected_digest);
  ingest = g_new0 (Ingest, 1);
  ingest->ingest.vtable = &ingest_vtable;
  ingest->refs = 1;
  ingest->content = self;
  ingest->fd = -1;
  ingest->ref = g_strdup (ref);
  ingest->data_name = name_of (ref, ".data");
  ingest->meta_name = name_of (ref, ".meta");
  ingest->algorithm = path != NULL ? g_strndup (path, strcspn (path, "/")) : g_strdup ("sha256");
  ingest->expected = g_strdup (expected_digest);
  ingest->total = total;
  ingest->hashing = gantry_part_open (&digest_part, error);
  if (ingest->hashing == NULL || !claim (ingest, error) || !open_files (ingest, cancellable, error))
    {
      ingest_unref (&ingest->ingest);
      return FALSE;
    }
  *ret_ingest = &ingest->ingest;
  return TRUE;
}

static GantryIngestStatus *
read_status (ContentLocal *self, const char *meta_name)
{
  g_autofree char *ref = NULL, *expected = NULL, *data_name = NULL;
  struct stat st = { 0 };
  guint64 total;
  gint64 started;

  if (!read_meta (self, meta_name, &ref, &total, &expected, &started))
    return NULL;
  data_name = name_of (ref, ".data");
  if (fstatat (self->ingest_fd, data_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return NULL;
  return gantry_ingest_status_new (ref, (guint64)st.st_size, total, expected, started,
                                   (gint64)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec);
}

gboolean
ingest_status (GantryContent *content, const char *ref, GantryIngestStatus **ret_status,
               GCancellable *cancellable, GError **error)
{
  g_autofree char *meta_name = name_of (ref, ".meta");
  GantryIngestStatus *status = read_status ((ContentLocal *)content, meta_name);

  if (status == NULL)
    return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "ingest ref \"%s\": not found", ref);
  *ret_status = status;
  return TRUE;
}

static const char *
status_field (const char *const *path, guint n_path, gpointer object)
{
  return n_path == 1 && strcmp (path[0], "ref") == 0 ? ((GantryIngestStatus *)object)->ref : NULL;
}

gboolean
ingest_list (GantryContent *content, const char *const *filters, GPtrArray **ret_statuses,
             GCancellable *cancellable, GError **error)
{
  ContentLocal *self = (ContentLocal *)content;
  g_autoptr (GantryFilter) filter = gantry_filter_new (filters, error);
  g_autoptr (GPtrArray) statuses
      = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_ingest_status_unref);
  struct dirent *entry;
  DIR *dir;
  int fd;

  if (filter == NULL)
    return FALSE;
  fd = openat (self->ingest_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  dir = fd >= 0 ? fdopendir (fd) : NULL;
  if (dir == NULL)
    {
      gantry_fd_clear (&fd);
      return gantry_throw_errno (error, errno, "listing ingests");
    }
  while ((entry = readdir (dir)) != NULL)
    {
      GantryIngestStatus *status = NULL;

      if (g_str_has_suffix (entry->d_name, ".meta") && entry->d_name[0] != '.')
        status = read_status (self, entry->d_name);
      if (status != NULL && gantry_filter_match (filter, status_field, status))
        g_ptr_array_add (statuses, status);
      else
        gantry_ingest_status_unref (status);
    }
  closedir (dir);
  *ret_statuses = g_steal_pointer (&statuses);
  return TRUE;
}

gboolean
ingest_abort (GantryContent *content, const char *ref, GCancellable *cancellable, GError **error)
{
  ContentLocal *self = (ContentLocal *)content;
  g_autofree char *meta_name = name_of (ref, ".meta"), *data_name = name_of (ref, ".data");
  gboolean found;
  Ingest *writer;

  g_mutex_lock (&self->lock);
  found = unlinkat (self->ingest_fd, meta_name, 0) == 0;
  found |= unlinkat (self->ingest_fd, data_name, 0) == 0;
  writer = g_hash_table_lookup (self->writers, ref);
  if (writer != NULL)
    {
      g_atomic_int_set (&writer->aborted, TRUE);
      g_hash_table_remove (self->writers, ref);
    }
  g_mutex_unlock (&self->lock);
  if (!found)
    return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "ingest ref \"%s\": not found", ref);
  return TRUE;
}

/* Whether @name belongs to an ingest that has both of its files. */
static gboolean
is_whole (ContentLocal *self, const char *name)
{
  g_autofree char *stem = g_strndup (name, strcspn (name, "."));
  g_autofree char *meta_name = g_strconcat (stem, ".meta", NULL);
  g_autoptr (GantryIngestStatus) status = NULL;

  if (!g_str_has_suffix (name, ".meta") && !g_str_has_suffix (name, ".data"))
    return FALSE;
  status = read_status (self, meta_name);
  return status != NULL;
}

/* Removes from @name, if it is half an ingest, and says so to @problems (nullable). */
static void
sweep_one (ContentLocal *self, const char *name, gboolean remove, GPtrArray *problems)
{
  gboolean removed;

  if (strcmp (name, ".") == 0 || strcmp (name, "..") == 0 || is_whole (self, name))
    return;
  removed = remove && unlinkat (self->ingest_fd, name, 0) == 0;
  if (problems != NULL)
    g_ptr_array_add (problems,
                     g_strdup_printf ("ingest/%s belongs to no ingest%s", name, removed ? " (removed)" : ""));
}

gboolean
ingest_sweep (ContentLocal *self, gboolean remove, GPtrArray *problems, GError **error)
{
  int fd = openat (self->ingest_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *dir = fd >= 0 ? fdopendir (fd) : NULL;
  struct dirent *entry;

  if (dir == NULL)
    {
      gantry_fd_clear (&fd);
      return gantry_throw_errno (error, errno, "reading the ingests");
    }
  /* A writer is between its two files for a moment; while there is one, nothing is judged. */
  g_mutex_lock (&self->lock);
  while (g_hash_table_size (self->writers) == 0 && (entry = readdir (dir)) != NULL)
    sweep_one (self, entry->d_name, remove, problems);
  g_mutex_unlock (&self->lock);
  closedir (dir);
  return TRUE;
}

gboolean
content_local_find_parts (GError **error)
{
  return gantry_part_find (&digest_part, error);
}
