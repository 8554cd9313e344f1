/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Images into one tar: an OCI image layout (image-spec, image-layout.md) with a manifest.json beside it, so
 * that `docker load` reads it too. Blobs are copied as they are, so digests stay; the same images give the
 * same archive, byte for byte. */
#include "tree.h"
#include "archive-lib.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define CHUNK      (256 * 1024)
#define MAX_DEPTH  8
#define MAX_IMAGES 1024

typedef struct archive Archive;
typedef struct archive_entry Entry;
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Archive, archive_write_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Entry, archive_entry_free)

typedef struct
{
  GantryContent *content;
  GantryJob *job;
  char **platforms;     /* (nullable): what is wanted; NULL: whatever is there */
  GHashTable *wanted;   /* digest -> index into blobs, + 1 */
  GPtrArray *blobs;     /* of GantryDescriptor, in order of the archive */
  GPtrArray *referrers; /* of GantryDescriptor: what refers to them */
  gboolean docker;      /* manifest.json, too */
  gboolean with_referrers;
  gboolean no_foreign; /* without layers that may not be handed on */
  guint64 bytes;
  guint64 total;
  int fd;
  GError *write_error; /* (nullable): what the archive's error is, too */
  GCancellable *cancellable;
} Export;

/* An image of the archive. */
typedef struct
{
  char *name;
  GantryDescriptor *target;
  GantryDescriptor *config; /* of the manifest that `docker load` takes; (nullable) */
  GPtrArray *layers;        /* of utf8: digests */
} Image;

static void
image_free (gpointer data)
{
  Image *image = data;

  g_free (image->name);
  gantry_descriptor_unref (image->target);
  gantry_descriptor_unref (image->config);
  g_clear_pointer (&image->layers, g_ptr_array_unref);
  g_free (image);
}

static gboolean
is_there (Export *export, const char *digest)
{
  g_autoptr (GantryContentInfo) info = NULL;

  return gantry_content_info (export->content, digest, &info, export->cancellable, NULL);
}

static void
add_blob (Export *export, GantryDescriptor *blob)
{
  if (!g_hash_table_add (export->wanted, g_strdup (blob->digest)))
    return;
  g_ptr_array_add (export->blobs, gantry_descriptor_ref (blob));
  export->total += blob->blob_size;
}

/* The blobs of a manifest, or NOT_FOUND if it is not whole here. Returns: (transfer full): config first. */
static GPtrArray *
read_manifest (Export *export, GantryDescriptor *target, GError **error)
{
  g_autoptr (GPtrArray) blobs = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_descriptor_unref);
  g_autoptr (JsonNode) node = oci_read (export->content, target->digest, export->cancellable, error);
  JsonObject *object = node != NULL && JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
  JsonObject *config = object != NULL ? oci_object (object, "config") : NULL;
  JsonArray *layers = object != NULL ? oci_array (object, "layers") : NULL;
  GantryDescriptor *blob;

  if (node == NULL)
    return NULL;
  if (config == NULL)
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "manifest %s has no config", target->digest);
      return NULL;
    }
  blob = oci_descriptor (config, error);
  if (blob == NULL)
    return NULL;
  g_ptr_array_add (blobs, blob);
  for (guint i = 0; layers != NULL && i < json_array_get_length (layers); i++)
    {
      JsonNode *element = json_array_get_element (layers, i);

      blob = JSON_NODE_HOLDS_OBJECT (element) ? oci_descriptor (json_node_get_object (element), error) : NULL;
      if (blob == NULL)
        return NULL;
      g_ptr_array_add (blobs, blob);
    }
  for (guint i = 0; i < blobs->len; i++)
    {
      blob = g_ptr_array_index (blobs, i);
      if (!oci_is_foreign (blob->media_type) && !is_there (export, blob->digest))
        {
          gantry_throw (error, GANTRY_ERROR_NOT_FOUND,
                        "manifest %s lacks its blob %s here; pull or import it again", target->digest,
                        blob->digest);
          return NULL;
        }
    }
  return g_steal_pointer (&blobs);
}

static gboolean
add_manifest (Export *export, Image *image, GantryDescriptor *target, GError **error)
{
  g_autoptr (GPtrArray) blobs = read_manifest (export, target, error);
  GantryDescriptor *config;

  if (blobs == NULL)
    return FALSE;
  for (guint i = 0; i < blobs->len; i++)
    {
      GantryDescriptor *blob = g_ptr_array_index (blobs, i);

      if (is_there (export, blob->digest) && !(export->no_foreign && oci_is_foreign (blob->media_type)))
        add_blob (export, blob);
    }
  add_blob (export, target);
  if (image == NULL)
    return TRUE;
  config = g_ptr_array_index (blobs, 0);
  /* docker knows one manifest an image: this machine's, or else the first. */
  if (strcmp (config->media_type, OCI_CONFIG) != 0 && strcmp (config->media_type, DOCKER_CONFIG) != 0)
    return TRUE;
  if (image->config != NULL
      && !(target->platform != NULL && oci_platform_matches (oci_host_platform (), target->platform)))
    return TRUE;
  gantry_descriptor_unref (image->config);
  image->config = gantry_descriptor_ref (config);
  g_ptr_array_set_size (image->layers, 0);
  for (guint i = 1; i < blobs->len; i++)
    g_ptr_array_add (image->layers, g_strdup (((GantryDescriptor *)g_ptr_array_index (blobs, i))->digest));
  return TRUE;
}

static gboolean
is_wanted (Export *export, GantryDescriptor *target)
{
  if (export->platforms == NULL || target->platform == NULL)
    return TRUE;
  for (gsize i = 0; export->platforms[i] != NULL; i++)
    if (oci_platform_matches (export->platforms[i], target->platform))
      return TRUE;
  return FALSE;
}

static gboolean add_tree (Export *export, Image *image, GantryDescriptor *target, guint depth,
                          GError **error);

/* What an index has that is wanted; without a wish, what is here. */
static gboolean
add_index (Export *export, Image *image, GantryDescriptor *target, guint depth, GError **error)
{
  g_autoptr (JsonNode) node = oci_read (export->content, target->digest, export->cancellable, error);
  JsonArray *manifests = node != NULL && JSON_NODE_HOLDS_OBJECT (node)
                             ? oci_array (json_node_get_object (node), "manifests")
                             : NULL;
  g_autoptr (GError) first = NULL;
  guint n = 0;

  if (node == NULL)
    return FALSE;
  for (guint i = 0; manifests != NULL && i < json_array_get_length (manifests); i++)
    {
      JsonNode *element = json_array_get_element (manifests, i);
      g_autoptr (GantryDescriptor) child
          = JSON_NODE_HOLDS_OBJECT (element) ? oci_descriptor (json_node_get_object (element), error) : NULL;
      g_autoptr (GError) local = NULL;

      if (child == NULL)
        {
          gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "index %s has an entry that is no descriptor",
                        target->digest);
          return FALSE;
        }
      if (!is_wanted (export, child))
        continue;
      if (add_tree (export, image, child, depth + 1, &local))
        n++;
      else if (export->platforms != NULL || !gantry_error_is (local, GANTRY_ERROR_NOT_FOUND))
        {
          g_propagate_error (error, g_steal_pointer (&local));
          return FALSE;
        }
      else if (first == NULL)
        first = g_steal_pointer (&local);
    }
  if (n == 0 && first != NULL)
    {
      g_propagate_error (error, g_steal_pointer (&first));
      return FALSE;
    }
  if (n == 0)
    return gantry_throw (error, GANTRY_ERROR_NOT_FOUND,
                         "index %s has nothing for the platforms that were asked for", target->digest);
  add_blob (export, target);
  return TRUE;
}

static gboolean
add_tree (Export *export, Image *image, GantryDescriptor *target, guint depth, GError **error)
{
  if (depth > MAX_DEPTH)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "indexes are nested more than %d deep",
                         MAX_DEPTH);
  if (oci_is_index (target->media_type))
    return add_index (export, image, target, depth, error);
  if (oci_is_manifest (target->media_type))
    return add_manifest (export, image, target, error);
  if (!is_there (export, target->digest))
    return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "content %s is not here", target->digest);
  add_blob (export, target);
  return TRUE;
}

static gboolean
is_listed (GPtrArray *list, const char *digest)
{
  for (guint i = 0; i < list->len; i++)
    if (strcmp (((GantryDescriptor *)g_ptr_array_index (list, i))->digest, digest) == 0)
      return TRUE;
  return FALSE;
}

static gboolean
add_referrers_of (Export *export, const char *subject, GError **error)
{
  g_autoptr (GPtrArray) found = tree_referrers (export->content, subject, export->cancellable, error);

  for (guint i = 0; found != NULL && i < found->len; i++)
    {
      GantryDescriptor *one = g_ptr_array_index (found, i);

      if (export->referrers->len >= MAX_IMAGES)
        return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "more than %d referrers in one archive",
                             MAX_IMAGES);
      if (is_listed (export->referrers, one->digest))
        continue;
      if (!add_tree (export, NULL, one, 0, error))
        {
          g_prefix_error (error, "referrer %s of %s: ", one->digest, subject);
          return FALSE;
        }
      g_ptr_array_add (export->referrers, gantry_descriptor_ref (one));
    }
  return found != NULL;
}

/* What refers to that which is written, and to these in turn: they stand in the list that is gone through. */
static gboolean
add_referrers (Export *export, GError **error)
{
  for (guint i = 0; i < export->blobs->len; i++)
    {
      GantryDescriptor *blob = g_ptr_array_index (export->blobs, i);

      if ((oci_is_manifest (blob->media_type) || oci_is_index (blob->media_type))
          && !add_referrers_of (export, blob->digest, error))
        return FALSE;
    }
  return TRUE;
}

static gboolean
throw_write (Archive *archive, GError **error)
{
  const char *text = archive_error_string (archive);

  return gantry_throw_errno (error, archive_errno (archive) != 0 ? archive_errno (archive) : EIO,
                             "writing the archive: %s", text != NULL ? text : "unknown");
}

static gboolean
begin_entry (Archive *archive, const char *path, mode_t type, guint64 size, GError **error)
{
  g_autoptr (Entry) entry = archive_entry_new ();

  archive_entry_set_pathname (entry, path);
  archive_entry_set_filetype (entry, type);
  archive_entry_set_perm (entry, type == AE_IFDIR ? 0755 : 0644);
  archive_entry_set_size (entry, (la_int64_t)size);
  archive_entry_set_mtime (entry, 0, 0);
  return archive_write_header (archive, entry) == ARCHIVE_OK || throw_write (archive, error);
}

static gboolean
write_bytes (Archive *archive, const void *data, gsize length, GError **error)
{
  return archive_write_data (archive, data, length) == (la_ssize_t)length || throw_write (archive, error);
}

static gboolean
copy_blob (Export *export, Archive *archive, int fd, guint64 size, GError **error)
{
  g_autofree char *buffer = g_malloc (CHUNK);

  for (guint64 at = 0; at < size;)
    {
      ssize_t n = pread (fd, buffer, MIN (CHUNK, size - at), (off_t)at);
      GVariantDict changes;

      if (g_cancellable_set_error_if_cancelled (export->cancellable, error))
        return FALSE;
      if (n < 0 && errno == EINTR)
        continue;
      if (n <= 0)
        return gantry_throw (error, GANTRY_ERROR_DATA_LOSS,
                             "it has %" G_GUINT64_FORMAT " bytes instead of %" G_GUINT64_FORMAT, at, size);
      if (!write_bytes (archive, buffer, (gsize)n, error))
        return FALSE;
      at += (guint64)n;
      export->bytes += (guint64)n;
      g_variant_dict_init (&changes, NULL);
      g_variant_dict_insert (&changes, "bytes", "t", export->bytes);
      gantry_job_update (export->job, g_variant_dict_end (&changes));
    }
  return TRUE;
}

static gboolean
write_blob (Export *export, Archive *archive, GantryDescriptor *blob, GError **error)
{
  g_autofree char *path = g_strdup_printf ("blobs/sha256/%s", strchr (blob->digest, ':') + 1);
  guint64 size;
  gboolean ok;
  int fd;

  if (!gantry_content_open_blob (export->content, blob->digest, &fd, &size, export->cancellable, error))
    return FALSE;
  ok = begin_entry (archive, path, AE_IFREG, size, error) && copy_blob (export, archive, fd, size, error);
  close (fd);
  if (!ok)
    g_prefix_error (error, "blob %s: ", blob->digest);
  return ok;
}

static gboolean
write_document (Archive *archive, const char *path, JsonBuilder *builder, GError **error)
{
  g_autoptr (JsonNode) root = json_builder_get_root (builder);
  g_autoptr (JsonGenerator) generator = json_generator_new ();
  g_autofree char *text = NULL;
  gsize length;

  json_generator_set_root (generator, root);
  text = json_generator_to_data (generator, &length);
  return begin_entry (archive, path, AE_IFREG, length, error) && write_bytes (archive, text, length, error);
}

static void
set_string (JsonBuilder *builder, const char *name, const char *value)
{
  json_builder_set_member_name (builder, name);
  json_builder_add_string_value (builder, value);
}

/* "docker.io/library/busybox:1" is "busybox:1" to docker. A name that is no reference stays as it is.
 * Returns: (transfer full). */
static char *
familiar_name (const char *name)
{
  g_autoptr (GantryReference) reference = gantry_reference_parse (name, NULL);

  return reference != NULL ? gantry_reference_to_familiar (reference) : g_strdup (name);
}

/* Annotations by which importers name the image again: containerd's own key, and OCI's with the tag. */
static void
add_annotations (JsonBuilder *builder, Image *image)
{
  const char *at = strchr (image->name, '@');
  const char *tag = at == NULL ? strrchr (image->name, ':') : NULL;
  const char *key, *value;
  GVariantIter iter;

  json_builder_set_member_name (builder, "annotations");
  json_builder_begin_object (builder);
  if (image->target->annotations != NULL)
    {
      g_variant_iter_init (&iter, image->target->annotations);
      while (g_variant_iter_next (&iter, "{&s&s}", &key, &value))
        if (strcmp (key, "io.containerd.image.name") != 0
            && strcmp (key, "org.opencontainers.image.ref.name") != 0)
          set_string (builder, key, value);
    }
  set_string (builder, "io.containerd.image.name", image->name);
  if (tag != NULL && strchr (tag, '/') == NULL)
    set_string (builder, "org.opencontainers.image.ref.name", tag + 1);
  json_builder_end_object (builder);
}

static void
add_target (JsonBuilder *builder, GantryDescriptor *target)
{
  set_string (builder, "mediaType", target->media_type);
  set_string (builder, "digest", target->digest);
  json_builder_set_member_name (builder, "size");
  json_builder_add_int_value (builder, (gint64)target->blob_size);
  if (target->artifact_type != NULL)
    set_string (builder, "artifactType", target->artifact_type);
}

/* Referrers stand there without a name, as ORAS writes them. */
static gboolean
write_index (Archive *archive, GPtrArray *images, GPtrArray *referrers, GError **error)
{
  g_autoptr (JsonBuilder) builder = json_builder_new ();

  json_builder_begin_object (builder);
  json_builder_set_member_name (builder, "schemaVersion");
  json_builder_add_int_value (builder, 2);
  set_string (builder, "mediaType", OCI_INDEX);
  json_builder_set_member_name (builder, "manifests");
  json_builder_begin_array (builder);
  for (guint i = 0; i < images->len; i++)
    {
      Image *image = g_ptr_array_index (images, i);

      json_builder_begin_object (builder);
      add_target (builder, image->target);
      add_annotations (builder, image);
      json_builder_end_object (builder);
    }
  for (guint i = 0; i < referrers->len; i++)
    {
      json_builder_begin_object (builder);
      add_target (builder, g_ptr_array_index (referrers, i));
      json_builder_end_object (builder);
    }
  json_builder_end_array (builder);
  json_builder_end_object (builder);
  return write_document (archive, "index.json", builder, error);
}

static void
add_path (JsonBuilder *builder, const char *digest)
{
  g_autofree char *path = g_strdup_printf ("blobs/sha256/%s", strchr (digest, ':') + 1);

  json_builder_add_string_value (builder, path);
}

/* Docker image spec v1.2, "Combined Image JSON + Filesystem Changeset Format". */
static gboolean
write_docker (Archive *archive, GPtrArray *images, GError **error)
{
  g_autoptr (JsonBuilder) builder = json_builder_new ();

  json_builder_begin_array (builder);
  for (guint i = 0; i < images->len; i++)
    {
      Image *image = g_ptr_array_index (images, i);

      if (image->config == NULL)
        continue;
      json_builder_begin_object (builder);
      json_builder_set_member_name (builder, "Config");
      add_path (builder, image->config->digest);
      json_builder_set_member_name (builder, "RepoTags");
      json_builder_begin_array (builder);
      if (strchr (image->name, '@') == NULL)
        {
          g_autofree char *name = familiar_name (image->name);

          json_builder_add_string_value (builder, name);
        }
      json_builder_end_array (builder);
      json_builder_set_member_name (builder, "Layers");
      json_builder_begin_array (builder);
      for (guint j = 0; j < image->layers->len; j++)
        add_path (builder, g_ptr_array_index (image->layers, j));
      json_builder_end_array (builder);
      json_builder_end_object (builder);
    }
  json_builder_end_array (builder);
  return write_document (archive, "manifest.json", builder, error);
}

static la_ssize_t
on_write (Archive *archive, void *data, const void *buffer, size_t length)
{
  Export *export = data;

  if (stream_write (export->fd, buffer, length, export->cancellable, &export->write_error))
    return (la_ssize_t)length;
  archive_set_error (archive, EIO, "%s", export->write_error->message);
  return -1;
}

static gboolean
write_archive (Export *export, GPtrArray *images, GError **error)
{
  static const char layout[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
  g_autoptr (Archive) archive = archive_write_new ();

  archive_write_set_format_pax_restricted (archive);
  archive_write_set_bytes_per_block (archive, CHUNK);
  archive_write_set_bytes_in_last_block (archive, 1);
  if (archive_write_open (archive, export, NULL, on_write, NULL) != ARCHIVE_OK)
    return throw_write (archive, error);
  if (!begin_entry (archive, "oci-layout", AE_IFREG, strlen (layout), error)
      || !write_bytes (archive, layout, strlen (layout), error)
      || !begin_entry (archive, "blobs/", AE_IFDIR, 0, error)
      || !begin_entry (archive, "blobs/sha256/", AE_IFDIR, 0, error))
    return FALSE;
  for (guint i = 0; i < export->blobs->len; i++)
    if (!write_blob (export, archive, g_ptr_array_index (export->blobs, i), error))
      return FALSE;
  return write_index (archive, images, export->referrers, error)
         && (!export->docker || write_docker (archive, images, error))
         && (archive_write_close (archive) == ARCHIVE_OK || throw_write (archive, error));
}

static gboolean
add_image (TransferLocal *self, Export *export, const char *ns, const char *name, GPtrArray *images,
           GError **error)
{
  g_autoptr (GantryRecord) record = NULL;
  Image *image;

  if (!gantry_metadata_get (self->metadata, GANTRY_KIND_IMAGE, ns, name, &record, export->cancellable, error))
    return FALSE;
  image = g_new0 (Image, 1);
  image->name = g_strdup (name);
  image->layers = g_ptr_array_new_with_free_func (g_free);
  image->target = gantry_record_get_target (record);
  g_ptr_array_add (images, image);
  if (image->target == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "image %s has no target", name);
  if (add_tree (export, image, image->target, 0, error))
    return TRUE;
  g_prefix_error (error, "image %s: ", name);
  return FALSE;
}

static gboolean
check_options (GVariant *options, Export *export, GError **error)
{
  static const char *const known[] = { "platforms", "docker", "referrers", "non-distributable", NULL };
  gboolean foreign = TRUE;
  GVariantIter iter;
  const char *key;

  if (options == NULL)
    return TRUE;
  g_variant_iter_init (&iter, options);
  while (g_variant_iter_next (&iter, "{&sv}", &key, NULL))
    if (!g_strv_contains (known, key))
      return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "unknown option \"%s\"", key);
  g_variant_lookup (options, "platforms", "^as", &export->platforms);
  g_variant_lookup (options, "docker", "b", &export->docker);
  g_variant_lookup (options, "referrers", "b", &export->with_referrers);
  g_variant_lookup (options, "non-distributable", "b", &foreign);
  export->no_foreign = !foreign;
  if (export->platforms != NULL && export->platforms[0] == NULL)
    g_clear_pointer (&export->platforms, g_strfreev);
  return TRUE;
}

static gboolean
export_named (TransferLocal *self, Export *export, const char *ns, const char *const *names, GError **error)
{
  g_autoptr (GPtrArray) images = g_ptr_array_new_with_free_func (image_free);
  GVariantDict changes;

  for (gsize i = 0; names[i] != NULL; i++)
    {
      if (i >= MAX_IMAGES)
        return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "more than %d images in one archive",
                             MAX_IMAGES);
      if (!add_image (self, export, ns, names[i], images, error))
        return FALSE;
    }
  if (export->with_referrers && !add_referrers (export, error))
    return FALSE;
  g_variant_dict_init (&changes, NULL);
  g_variant_dict_insert (&changes, "total-bytes", "t", export->total);
  gantry_job_update (export->job, g_variant_dict_end (&changes));
  return write_archive (export, images, error);
}

gboolean
export_archive (GantryTransfer *transfer, GantryJob *job, const char *ns, const char *const *names, int fd,
                GVariant *options, GCancellable *cancellable, GError **error)
{
  TransferLocal *self = (TransferLocal *)transfer;
  g_autoptr (GVariant) held = options != NULL ? g_variant_ref_sink (options) : NULL;
  g_autoptr (GHashTable) wanted = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  g_autoptr (GPtrArray) blobs = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_descriptor_unref);
  g_autoptr (GantryContent) content = NULL;
  g_autoptr (GPtrArray) referrers = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_descriptor_unref);
  Export export = { .job = job,
                    .wanted = wanted,
                    .blobs = blobs,
                    .referrers = referrers,
                    .docker = TRUE,
                    .cancellable = cancellable };
  g_autoptr (Progress) progress = progress_new (job);
  gboolean ok;

  if (names[0] == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "name at least one image to export");
  ok = check_options (held, &export, error) && archive_lib_load (error)
       && gantry_store_open_content (self->store, ns, NULL, NULL, &content, cancellable, error);
  if (ok)
    {
      export.content = content;
      progress_phase (progress, "exporting");
      export.fd = fd;
      ok = export_named (self, &export, ns, names, error);
      if (export.write_error != NULL)
        {
          g_clear_error (error);
          g_propagate_error (error, g_steal_pointer (&export.write_error));
          ok = FALSE;
        }
    }
  g_strfreev (export.platforms);
  return ok;
}
