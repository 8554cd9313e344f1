/* SPDX-License-Identifier: MIT */
#include "fake-content.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fake-support.h"

typedef struct
{
  GBytes *bytes;
  GVariant *labels; /* (nullable) */
  gint64 created_ns;
  gint64 updated_ns;
} Blob;

/* An ingest that somebody began. */
typedef struct
{
  GByteArray *data;
  guint64 total;
  char *expected_digest;
  gint64 started_ns;
  gint64 updated_ns;
  gboolean open;
} Draft;

typedef struct
{
  GantryContent content;
  GMutex lock;
  GHashTable *blobs;  /* digest -> Blob */
  GHashTable *drafts; /* ref -> Draft */
} FakeContent;

typedef struct
{
  GantryIngest ingest;
  gatomicrefcount refs;
  FakeContent *store;
  char *ref;
  gboolean committed;
} FakeIngest;

static void
blob_free (gpointer data)
{
  Blob *self = data;

  g_bytes_unref (self->bytes);
  g_clear_pointer (&self->labels, g_variant_unref);
  g_free (self);
}

static void
draft_free (gpointer data)
{
  Draft *self = data;

  g_byte_array_unref (self->data);
  g_free (self->expected_digest);
  g_free (self);
}

static char *
digest_of (const guint8 *data, gsize length)
{
  g_autofree char *hex = g_compute_checksum_for_data (G_CHECKSUM_SHA256, data, length);

  return g_strconcat ("sha256:", hex, NULL);
}

/* Ingests. The draft of an open ingest stays until it is committed or aborted, which needs it closed. */

static Draft *
get_draft (FakeIngest *self)
{
  return g_hash_table_lookup (self->store->drafts, self->ref);
}

static GantryIngest *
ingest_ref (GantryIngest *ingest)
{
  g_atomic_ref_count_inc (&((FakeIngest *)ingest)->refs);
  return ingest;
}

static void
ingest_unref (GantryIngest *ingest)
{
  FakeIngest *self = (FakeIngest *)ingest;

  if (!g_atomic_ref_count_dec (&self->refs))
    return;
  g_mutex_lock (&self->store->lock);
  if (!self->committed)
    get_draft (self)->open = FALSE;
  g_mutex_unlock (&self->store->lock);
  g_free (self->ref);
  g_free (self);
}

static gboolean
ingest_write (GantryIngest *ingest, gconstpointer data, gsize length, GCancellable *cancellable,
              GError **error)
{
  FakeIngest *self = (FakeIngest *)ingest;
  gboolean fits;

  if (!gantry_fake_check_cancelled (cancellable, error))
    return FALSE;
  g_mutex_lock (&self->store->lock);
  fits = get_draft (self)->total == 0 || get_draft (self)->data->len + length <= get_draft (self)->total;
  if (fits)
    g_byte_array_append (get_draft (self)->data, data, (guint)length);
  get_draft (self)->updated_ns = gantry_now_ns ();
  g_mutex_unlock (&self->store->lock);
  return fits
         || gantry_throw (error, GANTRY_ERROR_OUT_OF_RANGE, "ingest %s would become longer than expected",
                          self->ref);
}

static GantryIngestStatus *
make_status (const char *ref, const Draft *draft)
{
  return gantry_ingest_status_new (ref, draft->data->len, draft->total, draft->expected_digest,
                                   draft->started_ns, draft->updated_ns);
}

static gboolean
ingest_get_status (GantryIngest *ingest, GantryIngestStatus **ret_status, GCancellable *cancellable,
                   GError **error)
{
  FakeIngest *self = (FakeIngest *)ingest;

  g_mutex_lock (&self->store->lock);
  *ret_status = make_status (self->ref, get_draft (self));
  g_mutex_unlock (&self->store->lock);
  return TRUE;
}

static gboolean
ingest_truncate (GantryIngest *ingest, guint64 offset, GCancellable *cancellable, GError **error)
{
  FakeIngest *self = (FakeIngest *)ingest;
  gboolean fits;

  g_mutex_lock (&self->store->lock);
  fits = offset <= get_draft (self)->data->len;
  if (fits)
    g_byte_array_set_size (get_draft (self)->data, (guint)offset);
  g_mutex_unlock (&self->store->lock);
  return fits || gantry_throw (error, GANTRY_ERROR_OUT_OF_RANGE, "ingest %s is not that long", self->ref);
}

static gboolean
fits_size (const Draft *draft, guint64 expected)
{
  return expected == 0 || expected == draft->data->len;
}

static gboolean
fits_digest (const char *digest, const char *expected)
{
  return expected == NULL || strcmp (digest, expected) == 0;
}

/* With the lock held. */
static gboolean
commit_draft (FakeIngest *self, guint64 expected_size, const char *expected_digest, GVariant *labels,
              char **ret_digest, GError **error)
{
  Draft *draft = get_draft (self);
  g_autofree char *digest = digest_of (draft->data->data, draft->data->len);
  gboolean wrong = !fits_size (draft, expected_size) || !fits_size (draft, draft->total)
                   || !fits_digest (digest, expected_digest) || !fits_digest (digest, draft->expected_digest);
  Blob *blob;

  self->committed = TRUE;
  if (wrong)
    {
      g_hash_table_remove (self->store->drafts, self->ref);
      return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                           "ingest %s is not what was expected but %s", self->ref, digest);
    }
  if (g_hash_table_contains (self->store->blobs, digest))
    {
      g_hash_table_remove (self->store->drafts, self->ref);
      gantry_throw (error, GANTRY_ERROR_ALREADY_EXISTS, "content %s: already exists", digest);
      if (ret_digest != NULL)
        *ret_digest = g_steal_pointer (&digest);
      return FALSE;
    }
  blob = g_new0 (Blob, 1);
  blob->bytes = g_bytes_new (draft->data->data, draft->data->len);
  blob->labels = labels != NULL ? g_variant_ref (labels) : NULL;
  blob->created_ns = blob->updated_ns = gantry_now_ns ();
  g_hash_table_insert (self->store->blobs, g_strdup (digest), blob);
  g_hash_table_remove (self->store->drafts, self->ref);
  if (ret_digest != NULL)
    *ret_digest = g_steal_pointer (&digest);
  return TRUE;
}

static gboolean
ingest_commit (GantryIngest *ingest, guint64 expected_size, const char *expected_digest, GVariant *labels,
               char **ret_digest, GCancellable *cancellable, GError **error)
{
  FakeIngest *self = (FakeIngest *)ingest;
  g_autoptr (GVariant) held = labels != NULL ? g_variant_ref_sink (labels) : NULL;
  gboolean ok;

  if (!gantry_fake_check_cancelled (cancellable, error) || !gantry_fake_labels_check (held, NULL, error))
    return FALSE;
  g_mutex_lock (&self->store->lock);
  ok = commit_draft (self, expected_size, expected_digest, held, ret_digest, error);
  g_mutex_unlock (&self->store->lock);
  return ok;
}

static gboolean
ingest_get_digest (GantryIngest *ingest, char **ret_digest, GCancellable *cancellable, GError **error)
{
  FakeIngest *self = (FakeIngest *)ingest;

  g_mutex_lock (&self->store->lock);
  *ret_digest = digest_of (get_draft (self)->data->data, get_draft (self)->data->len);
  g_mutex_unlock (&self->store->lock);
  return TRUE;
}

static const GantryIngestVtable ingest_vtable = {
  .size = sizeof ingest_vtable,
  .ref = ingest_ref,
  .unref = ingest_unref,
  .write = ingest_write,
  .get_status = ingest_get_status,
  .truncate = ingest_truncate,
  .commit = ingest_commit,
  .get_digest = ingest_get_digest,
};

/* The store. */

/* This store knows sha256 only. */
static gboolean
check_digest (const char *digest, GError **error)
{
  const char *hex = g_str_has_prefix (digest, "sha256:") ? digest + strlen ("sha256:") : "";

  return (strlen (hex) == 64 && strspn (hex, "0123456789abcdef") == 64)
         || gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "\"%s\" is not a sha256 digest", digest);
}

static gboolean
throw_absent (const char *digest, GError **error)
{
  return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "content %s: not found", digest);
}

static GantryContentInfo *
make_info (const char *digest, const Blob *blob)
{
  return gantry_content_info_new (digest, g_bytes_get_size (blob->bytes), blob->created_ns, blob->updated_ns,
                                  blob->labels);
}

static gboolean
content_info (GantryContent *content, const char *digest, GantryContentInfo **ret_info,
              GCancellable *cancellable, GError **error)
{
  FakeContent *self = (FakeContent *)content;
  const Blob *blob;

  if (!check_digest (digest, error))
    return FALSE;
  g_mutex_lock (&self->lock);
  blob = g_hash_table_lookup (self->blobs, digest);
  if (blob != NULL)
    *ret_info = make_info (digest, blob);
  g_mutex_unlock (&self->lock);
  return blob != NULL || throw_absent (digest, error);
}

/* A listed blob, and its size as filters compare it. */
typedef struct
{
  GantryContentInfo *info;
  char size[32];
} Listed;

static const char *
info_field (char **path, gpointer object)
{
  Listed *listed = object;

  if (strcmp (path[0], "labels") == 0 && path[1] != NULL)
    return gantry_labels_lookup (listed->info->labels, path[1]);
  if (strcmp (path[0], "size") == 0)
    return listed->size;
  return strcmp (path[0], "digest") == 0 ? listed->info->digest : NULL;
}

static gboolean
info_matches (GantryFakeFilter *filter, GantryContentInfo *info)
{
  Listed listed = { info, "" };

  g_snprintf (listed.size, sizeof listed.size, "%" G_GUINT64_FORMAT, info->blob_size);
  return gantry_fake_filter_match (filter, info_field, &listed);
}

static gboolean
content_walk (GantryContent *content, const char *const *filters, GantryContentFunc func, gpointer user_data,
              GCancellable *cancellable, GError **error)
{
  FakeContent *self = (FakeContent *)content;
  g_autoptr (GantryFakeFilter) filter = gantry_fake_filter_new (filters, error);
  g_autoptr (GPtrArray) infos = g_ptr_array_new_with_free_func (gantry_value_unref);
  GHashTableIter iter;
  gpointer digest, blob;

  if (filter == NULL || !gantry_fake_check_cancelled (cancellable, error))
    return FALSE;
  g_mutex_lock (&self->lock);
  g_hash_table_iter_init (&iter, self->blobs);
  while (g_hash_table_iter_next (&iter, &digest, &blob))
    g_ptr_array_add (infos, make_info (digest, blob));
  g_mutex_unlock (&self->lock);
  for (guint i = 0; i < infos->len; i++)
    if (info_matches (filter, g_ptr_array_index (infos, i))
        && !func (g_ptr_array_index (infos, i), user_data))
      break;
  return TRUE;
}

static gboolean
content_update (GantryContent *content, const char *digest, GVariant *labels, const char *const *mask,
                GantryContentInfo **ret_info, GCancellable *cancellable, GError **error)
{
  FakeContent *self = (FakeContent *)content;
  g_autoptr (GVariant) held = labels != NULL ? g_variant_ref_sink (labels) : NULL;
  Blob *blob;

  if (!check_digest (digest, error) || !gantry_fake_labels_check (held, mask, error))
    return FALSE;
  g_mutex_lock (&self->lock);
  blob = g_hash_table_lookup (self->blobs, digest);
  if (blob != NULL)
    {
      GVariant *merged = gantry_fake_labels_merge (blob->labels, held, mask);

      g_clear_pointer (&blob->labels, g_variant_unref);
      blob->labels = merged;
      blob->updated_ns = gantry_now_ns ();
      if (ret_info != NULL)
        *ret_info = make_info (digest, blob);
    }
  g_mutex_unlock (&self->lock);
  return blob != NULL || throw_absent (digest, error);
}

static gboolean
content_remove (GantryContent *content, const char *digest, GCancellable *cancellable, GError **error)
{
  FakeContent *self = (FakeContent *)content;
  gboolean removed;

  if (!check_digest (digest, error))
    return FALSE;
  g_mutex_lock (&self->lock);
  removed = g_hash_table_remove (self->blobs, digest);
  g_mutex_unlock (&self->lock);
  return removed || throw_absent (digest, error);
}

/* A file that has @bytes and can only be read. Returns: -1 with errno. */
static int
make_file (GBytes *bytes)
{
  gsize size = g_bytes_get_size (bytes);
  char path[64];
  int fd = memfd_create ("blob", MFD_CLOEXEC), ret = -1;

  if (fd < 0)
    return -1;
  g_snprintf (path, sizeof path, "/proc/self/fd/%d", fd);
  if (size == 0 || pwrite (fd, g_bytes_get_data (bytes, NULL), size, 0) == (gssize)size)
    ret = open (path, O_RDONLY | O_CLOEXEC);
  close (fd);
  return ret;
}

static gboolean
content_open_blob (GantryContent *content, const char *digest, int *ret_fd, guint64 *ret_size,
                   GCancellable *cancellable, GError **error)
{
  FakeContent *self = (FakeContent *)content;
  g_autoptr (GBytes) bytes = NULL;
  const Blob *blob;
  int fd;

  if (!check_digest (digest, error))
    return FALSE;
  g_mutex_lock (&self->lock);
  blob = g_hash_table_lookup (self->blobs, digest);
  bytes = blob != NULL ? g_bytes_ref (blob->bytes) : NULL;
  g_mutex_unlock (&self->lock);
  if (bytes == NULL)
    return throw_absent (digest, error);
  fd = make_file (bytes);
  if (fd < 0)
    return gantry_throw_errno (error, errno, "making a file of content %s", digest);
  *ret_fd = fd;
  if (ret_size != NULL)
    *ret_size = g_bytes_get_size (bytes);
  return TRUE;
}

/* With the lock held. */
static gboolean
open_draft (FakeContent *self, const char *ref, guint64 total, const char *expected_digest, GError **error)
{
  Draft *draft = g_hash_table_lookup (self->drafts, ref);

  if (expected_digest != NULL && g_hash_table_contains (self->blobs, expected_digest))
    return gantry_throw (error, GANTRY_ERROR_ALREADY_EXISTS, "content %s: already exists", expected_digest);
  if (draft != NULL && draft->open)
    return gantry_throw (error, GANTRY_ERROR_UNAVAILABLE, "ref %s locked: unavailable", ref);
  if (draft != NULL
      && ((total != 0 && draft->total != 0 && draft->total != total)
          || (expected_digest != NULL && draft->expected_digest != NULL
              && strcmp (expected_digest, draft->expected_digest) != 0)))
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                         "ingest %s was begun for another size or digest", ref);
  if (draft == NULL)
    {
      draft = g_new0 (Draft, 1);
      draft->data = g_byte_array_new ();
      draft->started_ns = draft->updated_ns = gantry_now_ns ();
      g_hash_table_insert (self->drafts, g_strdup (ref), draft);
    }
  if (draft->total == 0)
    draft->total = total;
  if (draft->expected_digest == NULL)
    draft->expected_digest = g_strdup (expected_digest);
  draft->open = TRUE;
  return TRUE;
}

static gboolean
content_open_ingest (GantryContent *content, const char *ref, guint64 total, const char *expected_digest,
                     GantryIngest **ret_ingest, GCancellable *cancellable, GError **error)
{
  FakeContent *self = (FakeContent *)content;
  FakeIngest *ingest;
  gboolean ok;

  if (!gantry_fake_check_cancelled (cancellable, error)
      || !gantry_fake_name_check ("an ingest ref", ref, error)
      || (expected_digest != NULL && !check_digest (expected_digest, error)))
    return FALSE;
  g_mutex_lock (&self->lock);
  ok = open_draft (self, ref, total, expected_digest, error);
  g_mutex_unlock (&self->lock);
  if (!ok)
    return FALSE;
  ingest = g_new0 (FakeIngest, 1);
  ingest->ingest.vtable = &ingest_vtable;
  g_atomic_ref_count_init (&ingest->refs);
  ingest->store = self;
  ingest->ref = g_strdup (ref);
  *ret_ingest = &ingest->ingest;
  return TRUE;
}

static const char *
status_field (char **path, gpointer object)
{
  return strcmp (path[0], "ref") == 0 ? ((GantryIngestStatus *)object)->ref : NULL;
}

static gboolean
content_list_ingests (GantryContent *content, const char *const *filters, GPtrArray **ret_statuses,
                      GCancellable *cancellable, GError **error)
{
  FakeContent *self = (FakeContent *)content;
  g_autoptr (GantryFakeFilter) filter = gantry_fake_filter_new (filters, error);
  GPtrArray *statuses;
  GHashTableIter iter;
  gpointer ref, draft;

  if (filter == NULL)
    return FALSE;
  statuses = g_ptr_array_new_with_free_func (gantry_value_unref);
  g_mutex_lock (&self->lock);
  g_hash_table_iter_init (&iter, self->drafts);
  while (g_hash_table_iter_next (&iter, &ref, &draft))
    {
      g_autoptr (GantryIngestStatus) status = make_status (ref, draft);

      if (gantry_fake_filter_match (filter, status_field, status))
        g_ptr_array_add (statuses, g_steal_pointer (&status));
    }
  g_mutex_unlock (&self->lock);
  *ret_statuses = statuses;
  return TRUE;
}

static gboolean
content_ingest_status (GantryContent *content, const char *ref, GantryIngestStatus **ret_status,
                       GCancellable *cancellable, GError **error)
{
  FakeContent *self = (FakeContent *)content;
  const Draft *draft;

  g_mutex_lock (&self->lock);
  draft = g_hash_table_lookup (self->drafts, ref);
  if (draft != NULL)
    *ret_status = make_status (ref, draft);
  g_mutex_unlock (&self->lock);
  return draft != NULL || gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "ingest %s: not found", ref);
}

static gboolean
content_abort_ingest (GantryContent *content, const char *ref, GCancellable *cancellable, GError **error)
{
  FakeContent *self = (FakeContent *)content;
  gboolean there, open;

  g_mutex_lock (&self->lock);
  there = g_hash_table_contains (self->drafts, ref);
  open = there && ((Draft *)g_hash_table_lookup (self->drafts, ref))->open;
  if (there && !open)
    g_hash_table_remove (self->drafts, ref);
  g_mutex_unlock (&self->lock);
  if (!there)
    return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "ingest %s: not found", ref);
  return !open || gantry_throw (error, GANTRY_ERROR_UNAVAILABLE, "ref %s locked: unavailable", ref);
}

static const GantryContentVtable content_vtable = {
  .size = sizeof content_vtable,
  .info = content_info,
  .walk = content_walk,
  .update = content_update,
  .remove = content_remove,
  .open_blob = content_open_blob,
  .open_ingest = content_open_ingest,
  .list_ingests = content_list_ingests,
  .ingest_status = content_ingest_status,
  .abort_ingest = content_abort_ingest,
};

GantryContent *
gantry_fake_content_new (void)
{
  FakeContent *self = g_new0 (FakeContent, 1);

  self->content.vtable = &content_vtable;
  g_mutex_init (&self->lock);
  self->blobs = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, blob_free);
  self->drafts = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, draft_free);
  return &self->content;
}

void
gantry_fake_content_free (GantryContent *content)
{
  FakeContent *self = (FakeContent *)content;

  if (self == NULL)
    return;
  g_hash_table_unref (self->blobs);
  g_hash_table_unref (self->drafts);
  g_mutex_clear (&self->lock);
  g_free (self);
}
