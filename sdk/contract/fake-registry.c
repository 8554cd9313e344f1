/* SPDX-License-Identifier: MIT */
#include "fake-registry.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "fake-support.h"

#define NAME_PATTERN                                                                                         \
  "^([a-z0-9.-]+(:[0-9]+)?)/([a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*)"                    \
  "(:([A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(@(sha256:[0-9a-f]{64}))?$"
#define SHORT_PATTERN  "^[a-z0-9]+([._-]+[a-z0-9]+)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?$"
#define TAG_PATTERN    "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$"
#define DIGEST_PATTERN "^sha256:[0-9a-f]{64}$"

typedef struct
{
  GantryRegistry registry;
  GMutex lock;
  GHashTable *blobs;     /* "server/repository@digest" -> GBytes */
  GHashTable *manifests; /* "server/repository:tag" or "…@digest" -> Manifest */
  guint64 n_fetched;
  guint n_breaks;
  guint64 break_after;
} FakeRegistry;

typedef struct
{
  char *media_type;
  GBytes *bytes;
} Manifest;

typedef struct
{
  GantryRepository repository;
  gatomicrefcount refs;
  FakeRegistry *registry;
  char *place;     /* "server/repository" */
  char *name;      /* the whole reference */
  char *reference; /* a tag or a digest */
} FakeRepository;

static void
manifest_free (gpointer data)
{
  Manifest *self = data;

  g_free (self->media_type);
  g_bytes_unref (self->bytes);
  g_free (self);
}

static gboolean
check_digest (const char *digest, GError **error)
{
  return g_regex_match_simple (DIGEST_PATTERN, digest, 0, 0)
         || gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "\"%s\" is no digest", digest);
}

static gboolean
check_tag (const char *tag, GError **error)
{
  return g_regex_match_simple (TAG_PATTERN, tag, 0, 0)
         || gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "\"%s\" is no tag", tag);
}

static char *
key_of (FakeRepository *self, const char *reference)
{
  return g_strconcat (self->place, strchr (reference, ':') != NULL ? "@" : ":", reference, NULL);
}

static GantryRepository *
repository_ref (GantryRepository *repository)
{
  g_atomic_ref_count_inc (&((FakeRepository *)repository)->refs);
  return repository;
}

static void
repository_unref (GantryRepository *repository)
{
  FakeRepository *self = (FakeRepository *)repository;

  if (!g_atomic_ref_count_dec (&self->refs))
    return;
  g_free (self->place);
  g_free (self->name);
  g_free (self->reference);
  g_free (self);
}

static char *
digest_of (GBytes *bytes)
{
  gsize size;
  const void *data = g_bytes_get_data (bytes, &size);

  return gantry_fake_digest (data, size);
}

static gboolean
fetch_manifest (GantryRepository *repository, const char *reference, GantryDescriptor **ret_descriptor,
                GBytes **ret_bytes, GCancellable *cancellable, GError **error)
{
  FakeRepository *self = (FakeRepository *)repository;
  g_autofree char *key = NULL, *digest = NULL;
  Manifest *found;

  if (reference == NULL)
    reference = self->reference;
  if (!gantry_fake_check_cancelled (cancellable, error)
      || !(strchr (reference, ':') != NULL ? check_digest (reference, error) : check_tag (reference, error)))
    return FALSE;
  key = key_of (self, reference);
  g_mutex_lock (&self->registry->lock);
  found = g_hash_table_lookup (self->registry->manifests, key);
  if (found != NULL)
    {
      digest = digest_of (found->bytes);
      if (ret_descriptor != NULL)
        *ret_descriptor
            = gantry_descriptor_new (found->media_type, digest, g_bytes_get_size (found->bytes), NULL);
      if (ret_bytes != NULL)
        *ret_bytes = g_bytes_ref (found->bytes);
    }
  g_mutex_unlock (&self->registry->lock);
  return found != NULL
         || gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "%s: there is no manifest %s", self->name,
                          reference);
}

static gboolean
resolve (GantryRepository *repository, const char *reference, GantryDescriptor **ret_descriptor,
         GCancellable *cancellable, GError **error)
{
  return fetch_manifest (repository, reference, ret_descriptor, NULL, cancellable, error);
}

static GBytes *
find_blob (FakeRepository *self, const char *digest, GError **error)
{
  g_autofree char *key = key_of (self, digest);
  GBytes *found;

  g_mutex_lock (&self->registry->lock);
  found = g_hash_table_lookup (self->registry->blobs, key);
  if (found != NULL)
    g_bytes_ref (found);
  g_mutex_unlock (&self->registry->lock);
  if (found == NULL)
    gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "%s: there is no blob %s", self->name, digest);
  return found;
}

static gboolean
has_blob (GantryRepository *repository, const char *digest, guint64 *ret_size, GCancellable *cancellable,
          GError **error)
{
  g_autoptr (GBytes) found = NULL;

  if (!gantry_fake_check_cancelled (cancellable, error) || !check_digest (digest, error)
      || (found = find_blob ((FakeRepository *)repository, digest, error)) == NULL)
    return FALSE;
  if (ret_size != NULL)
    *ret_size = g_bytes_get_size (found);
  return TRUE;
}

/* A stream that ends with an error where it was told to break. */
typedef struct
{
  GMemoryInputStream parent;
  guint64 left;
  gboolean breaks;
} GantryFakeBlobStream;

typedef struct
{
  GMemoryInputStreamClass parent_class;
} GantryFakeBlobStreamClass;

static GType gantry_fake_blob_stream_get_type (void);

G_DEFINE_TYPE (GantryFakeBlobStream, gantry_fake_blob_stream, G_TYPE_MEMORY_INPUT_STREAM)

static gssize
blob_stream_read (GInputStream *stream, void *buffer, gsize size, GCancellable *cancellable, GError **error)
{
  GantryFakeBlobStream *self = (GantryFakeBlobStream *)stream;
  gssize n;

  if (!gantry_fake_check_cancelled (cancellable, error))
    return -1;
  if (self->breaks && self->left == 0)
    {
      gantry_throw (error, GANTRY_ERROR_UNAVAILABLE, "the transfer broke, as it was told to");
      return -1;
    }
  n = G_INPUT_STREAM_CLASS (gantry_fake_blob_stream_parent_class)
          ->read_fn (stream, buffer, self->breaks ? MIN (size, self->left) : size, NULL, error);
  self->left -= self->breaks && n > 0 ? (guint64)n : 0;
  return n;
}

static void
gantry_fake_blob_stream_class_init (GantryFakeBlobStreamClass *class_)
{
  G_INPUT_STREAM_CLASS (class_)->read_fn = blob_stream_read;
}

static void
gantry_fake_blob_stream_init (GantryFakeBlobStream *self)
{
  (void)self;
}

static gboolean
fetch (GantryRepository *repository, GantryDescriptor *blob, const char *const *urls, guint64 offset,
       guint64 length, GInputStream **ret_stream, GCancellable *cancellable, GError **error)
{
  FakeRepository *self = (FakeRepository *)repository;
  g_autoptr (GBytes) whole = NULL, part = NULL;
  GantryFakeBlobStream *stream;

  (void)urls;
  if (!gantry_fake_check_cancelled (cancellable, error) || !check_digest (blob->digest, error))
    return FALSE;
  if (offset > blob->blob_size || length > blob->blob_size - offset)
    return gantry_throw (error, GANTRY_ERROR_OUT_OF_RANGE, "blob %s has %" G_GUINT64_FORMAT " bytes",
                         blob->digest, blob->blob_size);
  whole = find_blob (self, blob->digest, error);
  if (whole == NULL)
    return FALSE;
  if (g_bytes_get_size (whole) != blob->blob_size)
    return gantry_throw (error, GANTRY_ERROR_DATA_LOSS, "%s: blob %s has another size", self->name,
                         blob->digest);
  part = g_bytes_new_from_bytes (whole, offset, length != 0 ? length : blob->blob_size - offset);
  stream = g_object_new (gantry_fake_blob_stream_get_type (), NULL);
  g_memory_input_stream_add_bytes ((GMemoryInputStream *)stream, part);
  g_mutex_lock (&self->registry->lock);
  self->registry->n_fetched += g_bytes_get_size (part);
  stream->breaks = self->registry->n_breaks > 0;
  stream->left = self->registry->break_after;
  self->registry->n_breaks -= stream->breaks ? 1 : 0;
  g_mutex_unlock (&self->registry->lock);
  *ret_stream = (GInputStream *)stream;
  return TRUE;
}

/* Whether @digest is at one of @mount_from on the same server. */
static GBytes *
find_mount (FakeRepository *self, const char *digest, const char *const *mount_from)
{
  g_autofree char *server = g_strndup (self->place, (gsize)(strchr (self->place, '/') - self->place));
  GBytes *found = NULL;

  g_mutex_lock (&self->registry->lock);
  for (gsize i = 0; found == NULL && mount_from != NULL && mount_from[i] != NULL; i++)
    {
      g_autofree char *key = g_strconcat (server, "/", mount_from[i], "@", digest, NULL);

      found = g_hash_table_lookup (self->registry->blobs, key);
    }
  if (found != NULL)
    g_bytes_ref (found);
  g_mutex_unlock (&self->registry->lock);
  return found;
}

static gboolean
read_blob (GantryDescriptor *blob, int fd, GBytes **ret_bytes, GError **error)
{
  g_autofree guint8 *data = g_malloc (blob->blob_size + 1);
  gssize n = pread (fd, data, blob->blob_size + 1, 0);
  g_autofree char *digest = n >= 0 ? gantry_fake_digest (data, (gsize)n) : NULL;

  if (n < 0)
    return gantry_throw_errno (error, errno, "reading blob %s", blob->digest);
  if ((guint64)n != blob->blob_size || strcmp (digest, blob->digest) != 0)
    return gantry_throw (error, GANTRY_ERROR_DATA_LOSS, "blob %s: what is to be sent is %s", blob->digest,
                         digest);
  *ret_bytes = g_bytes_new_take (g_steal_pointer (&data), (gsize)n);
  return TRUE;
}

static gboolean
push_blob (GantryRepository *repository, GantryDescriptor *blob, int fd, const char *const *mount_from,
           GVariant *options, GantryPushProgressFunc progress, gpointer user_data, GantryPushed *ret_how,
           GCancellable *cancellable, GError **error)
{
  FakeRepository *self = (FakeRepository *)repository;
  g_autoptr (GBytes) there = NULL, bytes = NULL;
  GantryPushed how = GANTRY_PUSHED_EXISTS;

  (void)options;
  if (!gantry_fake_check_cancelled (cancellable, error) || !check_digest (blob->digest, error))
    return FALSE;
  there = find_blob (self, blob->digest, NULL);
  if (there == NULL)
    {
      bytes = find_mount (self, blob->digest, mount_from);
      how = bytes != NULL ? GANTRY_PUSHED_MOUNTED : GANTRY_PUSHED_UPLOADED;
      if (bytes == NULL && !read_blob (blob, fd, &bytes, error))
        return FALSE;
      g_mutex_lock (&self->registry->lock);
      g_hash_table_replace (self->registry->blobs, key_of (self, blob->digest), g_bytes_ref (bytes));
      g_mutex_unlock (&self->registry->lock);
      if (progress != NULL && how == GANTRY_PUSHED_UPLOADED)
        progress (blob->blob_size, user_data);
    }
  if (ret_how != NULL)
    *ret_how = how;
  return TRUE;
}

static gboolean
push_manifest (GantryRepository *repository, const char *reference, const char *media_type, GBytes *bytes,
               GantryDescriptor **ret_descriptor, GCancellable *cancellable, GError **error)
{
  FakeRepository *self = (FakeRepository *)repository;
  g_autofree char *digest = digest_of (bytes);
  const char *names[] = { digest, reference };

  if (!gantry_fake_check_cancelled (cancellable, error)
      || (reference != NULL && !check_tag (reference, error)))
    return FALSE;
  g_mutex_lock (&self->registry->lock);
  for (gsize i = 0; i < G_N_ELEMENTS (names) && names[i] != NULL; i++)
    {
      Manifest *manifest = g_new0 (Manifest, 1);

      manifest->media_type = g_strdup (media_type);
      manifest->bytes = g_bytes_ref (bytes);
      g_hash_table_replace (self->registry->manifests, key_of (self, names[i]), manifest);
    }
  g_mutex_unlock (&self->registry->lock);
  if (ret_descriptor != NULL)
    *ret_descriptor = gantry_descriptor_new (media_type, digest, g_bytes_get_size (bytes), NULL);
  return TRUE;
}

static int
compare_strings (gconstpointer a, gconstpointer b)
{
  return strcmp (*(const char *const *)a, *(const char *const *)b);
}

static gboolean
list_tags (GantryRepository *repository, const char *last, guint limit, char ***ret_tags,
           GCancellable *cancellable, GError **error)
{
  FakeRepository *self = (FakeRepository *)repository;
  g_autofree char *prefix = g_strconcat (self->place, ":", NULL);
  g_autoptr (GPtrArray) tags = g_ptr_array_new_with_free_func (g_free);
  GHashTableIter iter;
  gpointer key;

  if (!gantry_fake_check_cancelled (cancellable, error) || (last != NULL && !check_tag (last, error)))
    return FALSE;
  if (limit < 1 || limit > 10000)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the limit of tags is from 1 to 10000");
  g_mutex_lock (&self->registry->lock);
  g_hash_table_iter_init (&iter, self->registry->manifests);
  while (g_hash_table_iter_next (&iter, &key, NULL))
    if (g_str_has_prefix (key, prefix) && (last == NULL || strcmp ((char *)key + strlen (prefix), last) > 0))
      g_ptr_array_add (tags, g_strdup ((char *)key + strlen (prefix)));
  g_mutex_unlock (&self->registry->lock);
  g_ptr_array_sort (tags, compare_strings);
  if (tags->len > limit)
    g_ptr_array_set_size (tags, (int)limit);
  g_ptr_array_add (tags, NULL);
  *ret_tags = (char **)g_ptr_array_free (g_steal_pointer (&tags), FALSE);
  return TRUE;
}

static const GantryRepositoryVtable repository_vtable = {
  .size = sizeof (GantryRepositoryVtable),
  .ref = repository_ref,
  .unref = repository_unref,
  .resolve = resolve,
  .fetch_manifest = fetch_manifest,
  .fetch = fetch,
  .has_blob = has_blob,
  .push_blob = push_blob,
  .push_manifest = push_manifest,
  .list_tags = list_tags,
};

static gboolean
complete (GantryRegistry *registry, const char *name, char ***ret_names, GCancellable *cancellable,
          GError **error)
{
  gboolean is_short = g_regex_match_simple (SHORT_PATTERN, name, 0, 0);
  gboolean tagged = strchr (name, '@') != NULL
                    || (strrchr (name, ':') != NULL && strchr (strrchr (name, ':'), '/') == NULL);
  char **names;

  (void)registry;
  if (!gantry_fake_check_cancelled (cancellable, error))
    return FALSE;
  if (!is_short && !g_regex_match_simple (NAME_PATTERN, name, 0, 0))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "\"%s\" is no reference", name);
  names = g_new0 (char *, 2);
  names[0] = g_strconcat (is_short ? "registry.test/library/" : "", name, tagged ? "" : ":latest", NULL);
  *ret_names = names;
  return TRUE;
}

static gboolean
check_access (GantryRegistryAccess *access, GError **error)
{
  static const char *const known[] = { "plain-http", "skip-verify", "hosts-dir", "headers", "schema1", NULL };
  GVariantIter iter;
  const char *key;

  if (access == NULL || access->options == NULL)
    return TRUE;
  g_variant_iter_init (&iter, access->options);
  while (g_variant_iter_next (&iter, "{&sv}", &key, NULL))
    if (!g_strv_contains (known, key))
      return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "there is no option \"%s\"", key);
  return TRUE;
}

static gboolean
open_repository (GantryRegistry *registry, const char *reference, GantryRegistryAccess *access,
                 GantryRepository **ret_repository, GCancellable *cancellable, GError **error)
{
  g_autoptr (GRegex) regex = g_regex_new (NAME_PATTERN, 0, 0, NULL);
  g_autoptr (GMatchInfo) match = NULL;
  g_autofree char *server = NULL, *path = NULL, *tag = NULL, *digest = NULL;
  FakeRepository *self;

  if (!gantry_fake_check_cancelled (cancellable, error) || !check_access (access, error))
    return FALSE;
  if (!g_regex_match (regex, reference, 0, &match))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "\"%s\" is no whole reference", reference);
  server = g_match_info_fetch (match, 1);
  path = g_match_info_fetch (match, 3);
  tag = g_match_info_fetch (match, 8);
  digest = g_match_info_fetch (match, 10);
  self = g_new0 (FakeRepository, 1);
  self->repository.vtable = &repository_vtable;
  g_atomic_ref_count_init (&self->refs);
  self->registry = (FakeRegistry *)registry;
  self->place = g_strconcat (server, "/", path, NULL);
  self->name = g_strdup (reference);
  self->reference = g_strdup (digest != NULL && digest[0] != '\0' ? digest
                              : tag != NULL && tag[0] != '\0'     ? tag
                                                                  : "latest");
  *ret_repository = &self->repository;
  return TRUE;
}

static const GantryRegistryVtable vtable = {
  .size = sizeof (GantryRegistryVtable),
  .complete = complete,
  .open = open_repository,
};

GantryRegistry *
gantry_fake_registry_new (void)
{
  FakeRegistry *self = g_new0 (FakeRegistry, 1);

  self->registry.vtable = &vtable;
  g_mutex_init (&self->lock);
  self->blobs = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_bytes_unref);
  self->manifests = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, manifest_free);
  return &self->registry;
}

void
gantry_fake_registry_free (GantryRegistry *registry)
{
  FakeRegistry *self = (FakeRegistry *)registry;

  if (self == NULL)
    return;
  g_hash_table_unref (self->blobs);
  g_hash_table_unref (self->manifests);
  g_mutex_clear (&self->lock);
  g_free (self);
}

guint64
gantry_fake_registry_get_n_fetched (GantryRegistry *registry)
{
  FakeRegistry *self = (FakeRegistry *)registry;
  guint64 n;

  g_mutex_lock (&self->lock);
  n = self->n_fetched;
  g_mutex_unlock (&self->lock);
  return n;
}

void
gantry_fake_registry_break (GantryRegistry *registry, guint n, guint64 bytes)
{
  FakeRegistry *self = (FakeRegistry *)registry;

  g_mutex_lock (&self->lock);
  self->n_breaks = n;
  self->break_after = bytes;
  g_mutex_unlock (&self->lock);
}
