/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Archives with images: OCI image layout (image-spec, image-layout.md) and `docker save` (Docker image spec
 * v1.2). Blobs go into the content store while the tar is read; documents, which may stand anywhere in it,
 * are kept until the end. */
#include "import-names.h"
#include "layers.h"
#include "archive-lib.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_ENTRIES   100000
#define MAX_DOCUMENTS (64 * 1024 * 1024)
#define CHUNK         (256 * 1024)

typedef struct archive Archive;
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Archive, archive_read_free)

/* A file of a docker archive that has become a blob. */
typedef struct
{
  char *digest;
  guint64 size;
  gboolean gzip;
} Blob;

/* A manifest of the archive that refers to another one. */
typedef struct
{
  char *subject;
  GantryDescriptor *target;
} Referrer;

typedef struct
{
  TransferLocal *self;
  GantryJob *job;
  Progress *progress;
  const char *ns;
  GantryContent *content;
  const char *lease;
  char **platforms;      /* (nullable): what is kept of an index; NULL: everything */
  GHashTable *documents; /* name -> GBytes */
  GHashTable *blobs;     /* name -> Blob, of docker archives */
  GHashTable *links;     /* name -> target */
  GPtrArray *referrers;  /* of Referrer */
  gboolean compress;     /* layers of docker archives */
  gsize document_bytes;
  guint64 bytes;
  int fd;
  guint8 *buffer;     /* of CHUNK bytes */
  GError *read_error; /* (nullable): what the archive's error is, too */
  GCancellable *cancellable;
} Import;

static void
blob_free (gpointer data)
{
  Blob *blob = data;

  g_free (blob->digest);
  g_free (blob);
}

static void
referrer_free (gpointer data)
{
  Referrer *referrer = data;

  g_free (referrer->subject);
  gantry_descriptor_unref (referrer->target);
  g_free (referrer);
}

static gboolean
throw_archive (Archive *archive, GError **error)
{
  const char *text = archive_error_string (archive);

  return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the image archive is broken: %s",
                       text != NULL ? text : "unexpected end");
}

static void
report_bytes (Import *import, guint64 n)
{
  GVariantDict changes;

  import->bytes += n;
  g_variant_dict_init (&changes, NULL);
  g_variant_dict_insert (&changes, "bytes", "t", import->bytes);
  gantry_job_update (import->job, g_variant_dict_end (&changes));
}

/* Copies the current entry into @ingest. */
static gboolean
copy_entry (Import *import, Archive *archive, GantryIngest *ingest, guint8 first[4], GError **error)
{
  g_autofree guint8 *buffer = g_malloc (CHUNK);
  gboolean began = FALSE;
  la_ssize_t n;

  while ((n = archive_read_data (archive, buffer, CHUNK)) > 0)
    {
      if (!began)
        memcpy (first, buffer, MIN ((gsize)n, 4));
      began = TRUE;
      if (!gantry_ingest_write (ingest, buffer, (gsize)n, import->cancellable, error))
        return FALSE;
    }
  return n == 0 || throw_archive (archive, error);
}

/* Stores the current entry as a blob. @expected: (nullable). */
static gboolean
store_entry (Import *import, Archive *archive, const char *name, const char *expected, GError **error)
{
  g_autofree char *hash = g_compute_checksum_for_string (G_CHECKSUM_SHA256, name, -1);
  g_autofree char *short_ref = g_strdup_printf ("import-%s-%s", import->lease, hash);
  g_autoptr (GantryIngest) ingest = NULL;
  g_autoptr (GantryIngestStatus) status = NULL;
  g_autoptr (GError) local = NULL;
  g_autofree char *digest = NULL;
  guint8 first[4] = { 0 };
  Blob *blob;

  if (!gantry_content_open_ingest (import->content, short_ref, 0, expected, &ingest, import->cancellable,
                                   &local))
    {
      if (expected == NULL || !gantry_error_is (local, GANTRY_ERROR_ALREADY_EXISTS))
        {
          g_propagate_error (error, g_steal_pointer (&local));
          return FALSE;
        }
      return TRUE;
    }
  if (!copy_entry (import, archive, ingest, first, error)
      || !gantry_ingest_get_status (ingest, &status, import->cancellable, error))
    {
      g_clear_pointer (&ingest, gantry_ingest_unref);
      gantry_content_abort_ingest (import->content, short_ref, NULL, NULL);
      return FALSE;
    }
  if (!gantry_ingest_commit (ingest, 0, expected, NULL, &digest, import->cancellable, &local)
      && !gantry_error_is (local, GANTRY_ERROR_ALREADY_EXISTS))
    {
      g_propagate_prefixed_error (error, g_steal_pointer (&local), "archive entry %s: ", name);
      return FALSE;
    }
  blob = g_new0 (Blob, 1);
  blob->digest = g_steal_pointer (&digest);
  blob->size = status->offset;
  blob->gzip = first[0] == 0x1f && first[1] == 0x8b;
  g_hash_table_insert (import->blobs, g_strdup (name), blob);
  return TRUE;
}

static gboolean
keep_document (Import *import, Archive *archive, const char *name, gint64 size, GError **error)
{
  g_autofree guint8 *data = NULL;
  la_ssize_t n;

  if (size < 0 || size > OCI_MAX_DOCUMENT || import->document_bytes + (gsize)size > MAX_DOCUMENTS)
    return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "archive entry %s is larger than %d bytes",
                         name, OCI_MAX_DOCUMENT);
  data = g_malloc ((gsize)size + 1);
  n = archive_read_data (archive, data, (gsize)size);
  if (n != size)
    return throw_archive (archive, error);
  import->document_bytes += (gsize)size;
  g_hash_table_insert (import->documents, g_strdup (name),
                       g_bytes_new_take (g_steal_pointer (&data), (gsize)size));
  return TRUE;
}

static const char *
clean_name (const char *name)
{
  while (g_str_has_prefix (name, "./"))
    name += 2;
  return name;
}

/* "blobs/sha256/<hex>" as a digest, or NULL. */
static char *
blob_digest (const char *name)
{
  const char *hex = g_str_has_prefix (name, "blobs/sha256/") ? name + strlen ("blobs/sha256/") : NULL;

  return hex != NULL && strlen (hex) == 64 && strspn (hex, "0123456789abcdef") == 64
             ? g_strconcat ("sha256:", hex, NULL)
             : NULL;
}

static gboolean
read_entry (Import *import, Archive *archive, struct archive_entry *entry, GError **error)
{
  const char *path = archive_entry_pathname (entry);
  const char *name = path != NULL ? clean_name (path) : NULL;
  const char *target = archive_entry_filetype (entry) == AE_IFLNK ? archive_entry_symlink (entry)
                                                                  : archive_entry_hardlink (entry);
  g_autofree char *digest = NULL;

  if (name == NULL || strlen (name) > 1024 || !g_utf8_validate (name, -1, NULL))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "the image archive has an entry without a proper name");
  if (target != NULL)
    {
      g_autofree char *dir = g_path_get_dirname (name);
      g_autofree char *base = g_strconcat ("/", dir, NULL);
      g_autofree char *joined = archive_entry_filetype (entry) == AE_IFLNK
                                    ? g_canonicalize_filename (target, base)
                                    : g_strdup (target);
      const char *clean = joined;

      while (*clean == '/')
        clean++;
      g_hash_table_insert (import->links, g_strdup (name), g_strdup (clean));
      return TRUE;
    }
  if (archive_entry_filetype (entry) != AE_IFREG)
    return TRUE;
  digest = blob_digest (name);
  if (digest != NULL)
    return store_entry (import, archive, name, digest, error);
  if (strcmp (name, "index.json") == 0 || strcmp (name, "manifest.json") == 0
      || strcmp (name, "oci-layout") == 0)
    return keep_document (import, archive, name, archive_entry_size (entry), error);
  /* docker: "<id>/layer.tar", "<hash>.tar", "<hash>.json". */
  if (g_str_has_suffix (name, ".tar") || g_str_has_suffix (name, ".json"))
    return store_entry (import, archive, name, NULL, error);
  return TRUE;
}

static la_ssize_t
on_read (Archive *archive, void *data, const void **ret_buffer)
{
  Import *import = data;
  gssize n = stream_read (import->fd, import->buffer, CHUNK, import->cancellable, &import->read_error);

  *ret_buffer = import->buffer;
  if (n < 0)
    archive_set_error (archive, EIO, "%s", import->read_error->message);
  else
    report_bytes (import, (guint64)n);
  return n;
}

static gboolean
read_entries (Import *import, GError **error)
{
  g_autoptr (Archive) archive = archive_read_new ();
  struct archive_entry *entry;
  guint n = 0;
  int code;

  archive_read_support_filter_all (archive);
  archive_read_support_format_tar (archive);
  if (archive_read_open (archive, import, NULL, on_read, NULL) != ARCHIVE_OK)
    return throw_archive (archive, error);
  while ((code = archive_read_next_header (archive, &entry)) == ARCHIVE_OK)
    {
      if (++n > MAX_ENTRIES)
        return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED,
                             "the image archive has more than %d entries", MAX_ENTRIES);
      if (g_cancellable_set_error_if_cancelled (import->cancellable, error)
          || !read_entry (import, archive, entry, error))
        return FALSE;
    }
  return code == ARCHIVE_EOF || throw_archive (archive, error);
}

static gboolean
read_archive (Import *import, int fd, GError **error)
{
  g_autofree guint8 *buffer = g_malloc (CHUNK);
  gboolean ok;

  import->fd = fd;
  import->buffer = buffer;
  ok = read_entries (import, error);
  if (import->read_error == NULL)
    return ok;
  /* The reason stands in our own error: libarchive's only repeats its words. */
  g_clear_error (error);
  g_propagate_error (error, g_steal_pointer (&import->read_error));
  return FALSE;
}

/* Stores @data as a blob. *@ret_digest: (transfer full). */
static gboolean
store_bytes (Import *import, const char *ref, const void *data, gsize length, char **ret_digest,
             GError **error)
{
  g_autoptr (GantryIngest) ingest = NULL;
  g_autoptr (GError) local = NULL;

  if (!gantry_content_open_ingest (import->content, ref, 0, NULL, &ingest, import->cancellable, error)
      || !gantry_ingest_write (ingest, data, length, import->cancellable, error))
    return FALSE;
  if (!gantry_ingest_commit (ingest, length, NULL, NULL, ret_digest, import->cancellable, &local)
      && !gantry_error_is (local, GANTRY_ERROR_ALREADY_EXISTS))
    {
      g_propagate_error (error, g_steal_pointer (&local));
      return FALSE;
    }
  return TRUE;
}

/* Makes an image of the index @bytes. */
static gboolean
add_whole_index (Import *import, GBytes *bytes, const char *name, GPtrArray *images, GError **error)
{
  g_autoptr (GantryDescriptor) target = NULL;
  g_autofree char *ref = g_strdup_printf ("index-%s", import->lease);
  g_autofree char *digest = NULL;

  if (!store_bytes (import, ref, g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), &digest, error))
    return FALSE;
  target = gantry_descriptor_new (OCI_INDEX, digest, g_bytes_get_size (bytes), NULL);
  return import_add_name (images, name, target, FALSE, error);
}

/* The subject of @target if that is a referrer of something that is here: then it is kept with its subject,
 * and needs no name. Returns: (transfer full) (nullable). */
static char *
find_subject (Import *import, GantryDescriptor *target)
{
  g_autoptr (JsonNode) node = NULL;
  g_autoptr (GantryDescriptor) subject = NULL;
  g_autoptr (GantryContentInfo) info = NULL;
  JsonObject *object;

  if (!oci_is_manifest (target->media_type) && !oci_is_index (target->media_type))
    return NULL;
  /* What can't be read is told where the image is looked at. */
  node = oci_read (import->content, target->digest, import->cancellable, NULL);
  object = node != NULL && JSON_NODE_HOLDS_OBJECT (node) ? oci_object (json_node_get_object (node), "subject")
                                                         : NULL;
  subject = object != NULL ? oci_descriptor (object, NULL) : NULL;
  if (subject == NULL
      || !gantry_content_info (import->content, subject->digest, &info, import->cancellable, NULL))
    return NULL;
  return g_strdup (subject->digest);
}

static void
add_referrer (Import *import, char *subject, GantryDescriptor *target)
{
  Referrer *referrer = g_new0 (Referrer, 1);

  referrer->subject = subject;
  referrer->target = gantry_descriptor_ref (target);
  g_ptr_array_add (import->referrers, referrer);
}

/* @options: index_name: (nullable): it names what has no name of its own. */
static gboolean
add_oci_entry (Import *import, GantryDescriptor *target, GVariant *options, const char *index_name,
               GPtrArray *images, GError **error)
{
  const char *name = gantry_labels_lookup (target->annotations, "io.containerd.image.name");
  char *subject = find_subject (import, target);
  const char *given;

  if (import->referrers->len >= IMPORT_MAX_IMAGES)
    {
      g_free (subject);
      return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "the archive has more than %d referrers",
                           IMPORT_MAX_IMAGES);
    }
  if (name == NULL)
    name = gantry_labels_lookup (target->annotations, "org.opencontainers.image.ref.name");
  if (subject != NULL)
    add_referrer (import, subject, target);
  if (subject != NULL && name == NULL)
    return TRUE;
  if (index_name != NULL && name == NULL && !g_variant_lookup (options, "name", "&s", &given)
      && !import_has_references (options))
    return TRUE;
  return import_name_image (images, name, target, options, error);
}

static gboolean
find_oci_images (Import *import, GVariant *options, GPtrArray *images, GError **error)
{
  const char *index_name = NULL;
  GBytes *bytes = g_hash_table_lookup (import->documents, "index.json");
  g_autoptr (JsonNode) node = oci_parse (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), error);
  JsonArray *manifests;

  if (node == NULL)
    {
      g_prefix_error (error, "index.json: ");
      return FALSE;
    }
  g_variant_lookup (options, "index-name", "&s", &index_name);
  manifests = JSON_NODE_HOLDS_OBJECT (node) ? oci_array (json_node_get_object (node), "manifests") : NULL;
  for (guint i = 0; manifests != NULL && i < json_array_get_length (manifests); i++)
    {
      JsonNode *element = json_array_get_element (manifests, i);
      g_autoptr (GantryDescriptor) target = NULL;

      if (!JSON_NODE_HOLDS_OBJECT (element)
          || (target = oci_descriptor (json_node_get_object (element), error)) == NULL)
        {
          g_prefix_error (error, "index.json: ");
          return FALSE;
        }
      if (!add_oci_entry (import, target, options, index_name, images, error))
        return FALSE;
    }
  return index_name == NULL || add_whole_index (import, bytes, index_name, images, error);
}

static const Blob *
find_blob (Import *import, const char *name)
{
  for (guint i = 0; name != NULL && i < 8; i++)
    {
      const Blob *blob = g_hash_table_lookup (import->blobs, clean_name (name));

      if (blob != NULL)
        return blob;
      name = g_hash_table_lookup (import->links, clean_name (name));
    }
  return NULL;
}

static void
add_descriptor (JsonBuilder *builder, const char *media_type, const char *digest, guint64 size)
{
  json_builder_begin_object (builder);
  json_builder_set_member_name (builder, "mediaType");
  json_builder_add_string_value (builder, media_type);
  json_builder_set_member_name (builder, "size");
  json_builder_add_int_value (builder, (gint64)size);
  json_builder_set_member_name (builder, "digest");
  json_builder_add_string_value (builder, digest);
  json_builder_end_object (builder);
}

static gboolean
add_layer (Import *import, JsonBuilder *builder, const Blob *blob, GError **error)
{
  g_autoptr (GantryDescriptor) plain = NULL, packed = NULL;
  g_autofree char *ref = NULL, *diff_id = NULL;
  GantryDiffer *differ;

  if (blob->gzip || !import->compress)
    {
      add_descriptor (builder, blob->gzip ? DOCKER_LAYER ".gzip" : DOCKER_LAYER, blob->digest, blob->size);
      return TRUE;
    }
  plain = gantry_descriptor_new (DOCKER_LAYER, blob->digest, blob->size, NULL);
  ref = g_strdup_printf ("compress-%s-%s", import->lease, blob->digest);
  differ = layers_find_differ (import->self, DOCKER_LAYER, TRUE, error);
  if (differ == NULL
      || !gantry_differ_recompress (differ, plain, import->content, DOCKER_LAYER ".gzip", ref, NULL, NULL,
                                    &packed, &diff_id, import->cancellable, error))
    return FALSE;
  add_descriptor (builder, packed->media_type, packed->digest, packed->blob_size);
  return TRUE;
}

/* Writes a schema 2 manifest for one entry of a docker archive. Returns: (transfer full). */
static GantryDescriptor *
make_manifest (Import *import, JsonObject *entry, GError **error)
{
  g_autoptr (JsonBuilder) builder = json_builder_new ();
  g_autoptr (JsonGenerator) generator = json_generator_new ();
  g_autoptr (JsonNode) root = NULL;
  g_auto (GStrv) layers = oci_strv (entry, "Layers");
  g_autofree char *text = NULL, *digest = NULL, *ref = NULL;
  const Blob *config = find_blob (import, oci_string (entry, "Config"));
  gsize length;

  if (config == NULL)
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                    "manifest.json names a config that the archive does not have");
      return NULL;
    }
  json_builder_begin_object (builder);
  json_builder_set_member_name (builder, "schemaVersion");
  json_builder_add_int_value (builder, 2);
  json_builder_set_member_name (builder, "mediaType");
  json_builder_add_string_value (builder, DOCKER_MANIFEST);
  json_builder_set_member_name (builder, "config");
  add_descriptor (builder, DOCKER_CONFIG, config->digest, config->size);
  json_builder_set_member_name (builder, "layers");
  json_builder_begin_array (builder);
  for (gsize i = 0; layers[i] != NULL; i++)
    {
      const Blob *layer = find_blob (import, layers[i]);

      if (layer == NULL)
        {
          gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                        "manifest.json names a layer %s that the archive does not have", layers[i]);
          return NULL;
        }
      if (!add_layer (import, builder, layer, error))
        return NULL;
    }
  json_builder_end_array (builder);
  json_builder_end_object (builder);
  root = json_builder_get_root (builder);
  json_generator_set_root (generator, root);
  text = json_generator_to_data (generator, &length);
  ref = g_strdup_printf ("manifest-%s-%s", import->lease, config->digest);
  if (!store_bytes (import, ref, text, length, &digest, error))
    return NULL;
  return gantry_descriptor_new (DOCKER_MANIFEST, digest, length, NULL);
}

/* An archive of docker save has no index; one that is asked for is made of its images. */
static void
begin_index (JsonBuilder *builder)
{
  json_builder_begin_object (builder);
  json_builder_set_member_name (builder, "schemaVersion");
  json_builder_add_int_value (builder, 2);
  json_builder_set_member_name (builder, "mediaType");
  json_builder_add_string_value (builder, OCI_INDEX);
  json_builder_set_member_name (builder, "manifests");
  json_builder_begin_array (builder);
}

static gboolean
add_made_index (Import *import, JsonBuilder *builder, const char *name, GPtrArray *images, GError **error)
{
  g_autoptr (JsonGenerator) generator = json_generator_new ();
  g_autoptr (JsonNode) root = NULL;
  g_autoptr (GBytes) bytes = NULL;
  gsize length;
  char *text;

  json_builder_end_array (builder);
  json_builder_end_object (builder);
  root = json_builder_get_root (builder);
  json_generator_set_root (generator, root);
  text = json_generator_to_data (generator, &length);
  bytes = g_bytes_new_take (text, length);
  return add_whole_index (import, bytes, name, images, error);
}

static gboolean
find_docker_images (Import *import, GVariant *options, GPtrArray *images, GError **error)
{
  GBytes *bytes = g_hash_table_lookup (import->documents, "manifest.json");
  g_autoptr (JsonNode) node = oci_parse (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), error);
  g_autoptr (JsonBuilder) index = json_builder_new ();
  const char *index_name = NULL;
  JsonArray *entries = node != NULL && JSON_NODE_HOLDS_ARRAY (node) ? json_node_get_array (node) : NULL;

  g_variant_lookup (options, "index-name", "&s", &index_name);
  if (entries == NULL)
    {
      if (node != NULL)
        gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "it is no array");
      g_prefix_error (error, "manifest.json: ");
      return FALSE;
    }
  begin_index (index);
  for (guint i = 0; i < json_array_get_length (entries); i++)
    {
      JsonNode *element = json_array_get_element (entries, i);
      g_autoptr (GantryDescriptor) target = NULL;
      g_auto (GStrv) tags = NULL;

      if (!JSON_NODE_HOLDS_OBJECT (element)
          || (target = make_manifest (import, json_node_get_object (element), error)) == NULL)
        return FALSE;
      tags = oci_strv (json_node_get_object (element), "RepoTags");
      add_descriptor (index, target->media_type, target->digest, target->blob_size);
      if (tags[0] == NULL && (index_name == NULL || import_has_references (options))
          && !import_name_image (images, NULL, target, options, error))
        return FALSE;
      for (gsize j = 0; tags[j] != NULL; j++)
        if (!import_name_image (images, tags[j], target, options, error))
          return FALSE;
    }
  return index_name == NULL || add_made_index (import, index, index_name, images, error);
}

/* What refers to something that is kept is kept with it. */
static gboolean
keep_referrers (Import *import, GError **error)
{
  Tree tree = { import->content, NULL, FALSE, import->cancellable, TRUE };

  for (guint i = 0; i < import->referrers->len; i++)
    {
      Referrer *referrer = g_ptr_array_index (import->referrers, i);

      if (!tree_label (&tree, referrer->target, error)
          || !tree_add_referrer (import->content, referrer->subject, referrer->target->digest,
                                 import->cancellable, error))
        {
          g_prefix_error (error, "referrer %s: ", referrer->target->digest);
          return FALSE;
        }
    }
  return TRUE;
}

/* Everything is whole and, if wanted, unpacked before the first image is visible. */
static gboolean
finish (Import *import, GVariant *options, GPtrArray *images, GError **error)
{
  g_autoptr (GVariant) labels = g_variant_lookup_value (options, "labels", G_VARIANT_TYPE ("a{ss}"));
  g_autoptr (GVariant) other = g_variant_lookup_value (options, "reference-labels", G_VARIANT_TYPE ("a{ss}"));
  const char *snapshotter = NULL, *platform = tree_unpack_platform (import->platforms);
  Tree tree = { import->content, import->platforms, FALSE, import->cancellable, TRUE };
  gboolean unpack = TRUE;

  g_variant_lookup (options, "unpack", "b", &unpack);
  g_variant_lookup (options, "snapshotter", "&s", &snapshotter);
  for (guint i = 0; i < images->len; i++)
    {
      const ImportName *found = g_ptr_array_index (images, i);

      if (!tree_label (&tree, found->target, error)
          || (unpack
              && !unpack_target (import->self, import->progress, import->ns, import->lease, found->target,
                                 snapshotter, platform, NULL, import->cancellable, error)))
        return FALSE;
    }
  if (!keep_referrers (import, error))
    return FALSE;
  for (guint i = 0; i < images->len; i++)
    {
      const ImportName *found = g_ptr_array_index (images, i);

      if (!tree_put_image (import->self, import->ns, found->name, found->target,
                           found->by_reference && other != NULL ? other : labels, import->cancellable, error))
        return FALSE;
    }
  return TRUE;
}

static gboolean
check_options (GVariant *options, GError **error)
{
  static const char *const known[]
      = { "name",   "prefix",     "platforms",  "all-platforms",    "digests",  "unpack", "snapshotter",
          "labels", "index-name", "references", "reference-labels", "compress", NULL };
  GVariantIter iter;
  const char *key;
  GVariant *value;

  g_variant_iter_init (&iter, options);
  while (g_variant_iter_loop (&iter, "{&sv}", &key, &value))
    if (!g_strv_contains (known, key))
      {
        g_variant_unref (value);
        return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "unknown option \"%s\"", key);
      }
  return TRUE;
}

/* A file's size is known; of a compressed one it is at least a measure. */
static void
report_total (GantryJob *job, int fd)
{
  struct stat st;
  GVariantDict changes;

  if (fstat (fd, &st) < 0 || !S_ISREG (st.st_mode))
    return;
  g_variant_dict_init (&changes, NULL);
  g_variant_dict_insert (&changes, "total-bytes", "t", (guint64)st.st_size);
  gantry_job_update (job, g_variant_dict_end (&changes));
}

gboolean
import_archive (GantryTransfer *transfer, GantryJob *job, const char *ns, int fd, GVariant *options,
                char ***ret_names, GCancellable *cancellable, GError **error)
{
  TransferLocal *self = (TransferLocal *)transfer;
  g_autoptr (GVariant) held = g_variant_ref_sink (
      options != NULL ? options : g_variant_new_array (G_VARIANT_TYPE ("{sv}"), NULL, 0));
  g_auto (Lease) lease = { NULL };
  g_autoptr (GantryContent) content = NULL;
  g_autoptr (GHashTable) documents
      = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_bytes_unref);
  g_autoptr (GHashTable) blobs = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, blob_free);
  g_autoptr (GHashTable) links = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  g_autoptr (GPtrArray) images = g_ptr_array_new_with_free_func (import_name_free);
  g_autoptr (GPtrArray) referrers = g_ptr_array_new_with_free_func (referrer_free);
  g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (Progress) progress = progress_new (job);
  g_auto (GStrv) platforms = tree_wanted_platforms (held);
  Import import = { .self = self,
                    .job = job,
                    .progress = progress,
                    .ns = ns,
                    .documents = documents,
                    .blobs = blobs,
                    .links = links,
                    .referrers = referrers,
                    .platforms = platforms,
                    .cancellable = cancellable };
  gboolean ok;

  if (g_cancellable_set_error_if_cancelled (cancellable, error))
    return FALSE;
  if (!check_options (held, error) || !archive_lib_load (error)
      || !lease_begin (self, ns, &lease, cancellable, error)
      || !gantry_store_open_content (self->store, ns, lease.id, NULL, &content, cancellable, error)
      /* The images' records, which come last, are durable. */
      || !gantry_store_relax (self->store, content, NULL, cancellable, error))
    return FALSE;
  import.content = content;
  import.lease = lease.id;
  g_variant_lookup (held, "compress", "b", &import.compress);
  progress_phase (progress, "importing");
  report_total (job, fd);
  if (!read_archive (&import, fd, error))
    return FALSE;
  if (g_hash_table_contains (documents, "index.json"))
    ok = find_oci_images (&import, held, images, error);
  else if (g_hash_table_contains (documents, "manifest.json"))
    ok = find_docker_images (&import, held, images, error);
  else
    ok = gantry_throw (
        error, GANTRY_ERROR_INVALID_ARGUMENT,
        "the archive is no image: it has neither an index.json (OCI) nor a manifest.json (docker save)");
  if (!ok || !import_names_differ (images, error) || !finish (&import, held, images, error))
    return FALSE;
  for (guint i = 0; i < images->len; i++)
    g_ptr_array_add (names, g_strdup (((const ImportName *)g_ptr_array_index (images, i))->name));
  g_ptr_array_add (names, NULL);
  if (ret_names != NULL)
    *ret_names = (char **)g_ptr_array_free (g_steal_pointer (&names), FALSE);
  return TRUE;
}
