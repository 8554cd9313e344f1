/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Converts images: Docker schema 2 to OCI (image-spec 1.1, media-types.md, "Compatibility Matrix"), and
 * layers to another compression. A config blob stays as it is, since the two kinds differ in their media
 * types only: so the image's id, its DiffIDs and what is unpacked of it stay, too. */
#include <string.h>

#include "tree.h"

#define ZSTD_CHUNKED "io.github.containers.zstd-chunked."
#define STARGZ       "containerd.io/snapshot/stargz/"
#define STARGZ_STORE "io.containers.estargz."

typedef struct
{
  TransferLocal *self;
  Progress *progress;
  GantryContent *content;
  const char *lease;
  char **platforms;        /* (nullable): what is kept of an index; NULL: everything that is here */
  const char *compression; /* (nullable): "", "+gzip" or "+zstd"; NULL: as it is */
  const char *layer;       /* the digest that is worked on */
  guint n;                 /* documents and layers written */
  GCancellable *cancellable;
} Convert;

static const struct
{
  const char *docker, *oci;
} types[] = {
  { DOCKER_INDEX, OCI_INDEX },
  { DOCKER_MANIFEST, OCI_MANIFEST },
  { DOCKER_CONFIG, OCI_CONFIG },
  { DOCKER_LAYER, OCI_LAYER },
  { DOCKER_LAYER ".gzip", OCI_LAYER "+gzip" },
  { DOCKER_LAYER ".zstd", OCI_LAYER "+zstd" },
  { "application/vnd.docker.image.rootfs.foreign.diff.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar" },
  { "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip" },
};

/* What @media_type is in OCI's terms: itself if it is not Docker's. */
static const char *
oci_type (const char *media_type)
{
  for (gsize i = 0; i < G_N_ELEMENTS (types); i++)
    if (strcmp (media_type, types[i].docker) == 0)
      return types[i].oci;
  return media_type;
}

static gboolean
is_layer (const char *media_type)
{
  return strcmp (media_type, OCI_LAYER) == 0 || strcmp (media_type, OCI_LAYER "+gzip") == 0
         || strcmp (media_type, OCI_LAYER "+zstd") == 0;
}

static gboolean
is_here (Convert *self, const char *digest)
{
  g_autoptr (GantryContentInfo) info = NULL;

  return gantry_content_info (self->content, digest, &info, self->cancellable, NULL);
}

static void
set_member (JsonObject *object, const char *name, JsonObject *source)
{
  json_object_set_member (object, name, json_node_copy (json_object_get_member (source, name)));
}

/* A copy of @source whose members can be changed. Returns: (transfer full). */
static JsonObject *
copy_object (JsonObject *source)
{
  JsonObject *copy = json_object_new ();
  g_autoptr (GList) names = json_object_get_members (source);

  for (GList *name = names; name != NULL; name = name->next)
    set_member (copy, name->data, source);
  return copy;
}

/* Annotations that tell where things are in the compressed blob. */
static gboolean
describes_bytes (const char *key)
{
  return g_str_has_prefix (key, ZSTD_CHUNKED) || g_str_has_prefix (key, STARGZ)
         || g_str_has_prefix (key, STARGZ_STORE);
}

/* @entry (a descriptor) for the blob @is instead. Returns: (transfer full). */
static JsonObject *
redirect (JsonObject *entry, GantryDescriptor *was, GantryDescriptor *is)
{
  JsonObject *copy = copy_object (entry);
  JsonObject *annotations = oci_object (entry, "annotations");

  json_object_set_string_member (copy, "mediaType", is->media_type);
  json_object_set_string_member (copy, "digest", is->digest);
  json_object_set_int_member (copy, "size", (gint64)is->blob_size);
  if (annotations != NULL && strcmp (was->digest, is->digest) != 0)
    {
      JsonObject *kept = copy_object (annotations);
      g_autoptr (GList) names = json_object_get_members (annotations);

      for (GList *name = names; name != NULL; name = name->next)
        if (describes_bytes (name->data))
          json_object_remove_member (kept, name->data);
      json_object_set_object_member (copy, "annotations", kept);
    }
  return copy;
}

/* Stores @object (transfer full) as a document. Returns: (transfer full). */
static GantryDescriptor *
write_document (Convert *self, JsonObject *object, const char *media_type, GError **error)
{
  g_autoptr (JsonNode) node = json_node_init_object (json_node_alloc (), object);
  g_autoptr (JsonGenerator) generator = json_generator_new ();
  g_autoptr (GantryIngest) ingest = NULL;
  g_autoptr (GError) local = NULL;
  g_autofree char *ref = g_strdup_printf ("convert-%s-%u", self->lease, self->n++);
  g_autofree char *text = NULL, *digest = NULL;
  gsize length;

  json_object_unref (object);
  json_generator_set_root (generator, node);
  text = json_generator_to_data (generator, &length);
  if (!gantry_content_open_ingest (self->content, ref, 0, NULL, &ingest, self->cancellable, error)
      || !gantry_ingest_write (ingest, text, length, self->cancellable, error))
    return NULL;
  if (!gantry_ingest_commit (ingest, length, NULL, NULL, &digest, self->cancellable, &local)
      && !gantry_error_is (local, GANTRY_ERROR_ALREADY_EXISTS))
    {
      g_propagate_error (error, g_steal_pointer (&local));
      return NULL;
    }
  return gantry_descriptor_new (media_type, digest, length, NULL);
}

static void
on_progress (guint64 bytes, gpointer user_data)
{
  Convert *self = user_data;

  progress_bytes (self->progress, self->layer, bytes);
}

/* @diff_id: (nullable): what the tar must be. */
static GantryDescriptor *
recompress (Convert *self, GantryDescriptor *layer, const char *media_type, const char *diff_id,
            GError **error)
{
  GantryDiffer *differ = layers_find_differ (self->self, layer->media_type, TRUE, error);
  g_autofree char *ref = g_strdup_printf ("convert-%s-%u", self->lease, self->n++);
  g_autofree char *found = NULL;
  g_autoptr (GantryDescriptor) made = NULL;

  if (differ == NULL)
    return NULL;
  self->layer = layer->digest;
  progress_item (self->progress, layer->digest, "converting", layer->blob_size, TRUE);
  if (!gantry_differ_recompress (differ, layer, self->content, media_type, ref, on_progress, self, &made,
                                 &found, self->cancellable, error))
    {
      g_prefix_error (error, "layer %s: ", layer->digest);
      return NULL;
    }
  if (diff_id != NULL && strcmp (found, diff_id) != 0)
    {
      gantry_throw (error, GANTRY_ERROR_DATA_LOSS, "layer %s unpacks to %s, but the image's config says %s",
                    layer->digest, found, diff_id);
      return NULL;
    }
  progress_item (self->progress, layer->digest, "done", layer->blob_size, TRUE);
  return g_steal_pointer (&made);
}

/* Whether the layer has, or should have, other bytes. */
static gboolean
needs_recompress (Convert *self, const char *oci, char **ret_wanted)
{
  g_autofree char *wanted = NULL;

  if (self->compression == NULL || !is_layer (oci))
    return FALSE;
  wanted = g_strconcat (OCI_LAYER, self->compression, NULL);
  if (strcmp (wanted, oci) == 0)
    return FALSE;
  *ret_wanted = g_steal_pointer (&wanted);
  return TRUE;
}

/* @entry as it is in the new manifest. Returns: (transfer full). */
static JsonObject *
convert_entry (Convert *self, JsonObject *entry, const char *diff_id, GError **error)
{
  g_autoptr (GantryDescriptor) was = oci_descriptor (entry, error);
  g_autoptr (GantryDescriptor) is = NULL;
  g_autofree char *wanted = NULL;
  const char *oci;

  if (was == NULL)
    return NULL;
  oci = oci_type (was->media_type);
  if (!needs_recompress (self, oci, &wanted))
    is = gantry_descriptor_new (oci, was->digest, was->blob_size, NULL);
  else if ((is = recompress (self, was, wanted, diff_id, error)) == NULL)
    return NULL;
  return redirect (entry, was, is);
}

/* The DiffIDs of an image config. Returns: (transfer full): empty if the manifest has none. */
static char **
read_diff_ids (Convert *self, JsonObject *config, GError **error)
{
  g_autoptr (GantryDescriptor) descriptor = oci_descriptor (config, error);
  g_autoptr (JsonNode) node = NULL;
  JsonObject *rootfs;

  if (descriptor == NULL)
    return NULL;
  if (strcmp (oci_type (descriptor->media_type), OCI_CONFIG) != 0)
    return g_new0 (char *, 1);
  node = oci_read (self->content, descriptor->digest, self->cancellable, error);
  if (node == NULL)
    return NULL;
  rootfs = JSON_NODE_HOLDS_OBJECT (node) ? oci_object (json_node_get_object (node), "rootfs") : NULL;
  return rootfs != NULL ? oci_strv (rootfs, "diff_ids") : g_new0 (char *, 1);
}

static JsonArray *
convert_layers (Convert *self, JsonArray *layers, char **diff_ids, GError **error)
{
  g_autoptr (JsonArray) converted = json_array_new ();
  guint n = json_array_get_length (layers), n_ids = g_strv_length (diff_ids);

  if (n > OCI_MAX_LAYERS)
    {
      gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "it has more than %d layers", OCI_MAX_LAYERS);
      return NULL;
    }
  for (guint i = 0; i < n; i++)
    {
      JsonNode *element = json_array_get_element (layers, i);
      JsonObject *entry;

      if (!JSON_NODE_HOLDS_OBJECT (element))
        {
          gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "its layer %u is no descriptor", i);
          return NULL;
        }
      entry = convert_entry (self, json_node_get_object (element), n == n_ids ? diff_ids[i] : NULL, error);
      if (entry == NULL)
        return NULL;
      json_array_add_object_element (converted, entry);
    }
  return g_steal_pointer (&converted);
}

static GantryDescriptor *
convert_manifest (Convert *self, JsonObject *object, GantryDescriptor *target, GError **error)
{
  JsonObject *config = oci_object (object, "config"), *entry;
  JsonArray *layers = oci_array (object, "layers");
  g_auto (GStrv) diff_ids = NULL;
  g_autoptr (JsonObject) copy = NULL;

  if (config == NULL || layers == NULL)
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "it has no config or no layers");
      return NULL;
    }
  diff_ids = read_diff_ids (self, config, error);
  if (diff_ids == NULL)
    return NULL;
  layers = convert_layers (self, layers, diff_ids, error);
  if (layers == NULL)
    return NULL;
  copy = copy_object (object);
  json_object_set_array_member (copy, "layers", layers);
  entry = convert_entry (self, config, NULL, error);
  if (entry == NULL)
    return NULL;
  json_object_set_object_member (copy, "config", entry);
  json_object_set_string_member (copy, "mediaType", OCI_MANIFEST);
  return write_document (self, g_steal_pointer (&copy), oci_type (target->media_type), error);
}

static GantryDescriptor *convert_target (Convert *self, GantryDescriptor *target, guint depth,
                                         GError **error);

/* Which manifests of the index are converted. Returns: (transfer full): a set of digests. */
static GHashTable *
choose (Convert *self, JsonNode *index, GError **error)
{
  g_autoptr (GPtrArray) wanted = oci_select_manifests (index, (const char *const *)self->platforms, error);
  g_autoptr (GHashTable) chosen = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);

  if (wanted == NULL)
    return NULL;
  for (guint i = 0; i < wanted->len; i++)
    {
      GantryDescriptor *one = g_ptr_array_index (wanted, i);

      if (is_here (self, one->digest))
        g_hash_table_add (chosen, g_strdup (one->digest));
    }
  if (g_hash_table_size (chosen) > 0)
    return g_steal_pointer (&chosen);
  gantry_throw (error, GANTRY_ERROR_NOT_FOUND,
                "nothing of it is here for the platforms wanted; pull those, or name others");
  return NULL;
}

static GantryDescriptor *
convert_index (Convert *self, JsonNode *node, GantryDescriptor *target, guint depth, GError **error)
{
  g_autoptr (GHashTable) chosen = choose (self, node, error);
  g_autoptr (JsonArray) converted = json_array_new ();
  g_autoptr (JsonObject) copy = NULL;
  JsonArray *manifests;

  if (chosen == NULL)
    return NULL;
  manifests = oci_array (json_node_get_object (node), "manifests");
  for (guint i = 0; i < json_array_get_length (manifests); i++)
    {
      JsonObject *entry = json_array_get_object_element (manifests, i);
      g_autoptr (GantryDescriptor) was = oci_descriptor (entry, error);
      g_autoptr (GantryDescriptor) is = NULL;

      if (was == NULL)
        return NULL;
      if (!g_hash_table_contains (chosen, was->digest))
        continue;
      is = convert_target (self, was, depth + 1, error);
      if (is == NULL)
        return NULL;
      json_array_add_object_element (converted, redirect (entry, was, is));
    }
  copy = copy_object (json_node_get_object (node));
  json_object_set_string_member (copy, "mediaType", OCI_INDEX);
  json_object_set_array_member (copy, "manifests", g_steal_pointer (&converted));
  return write_document (self, g_steal_pointer (&copy), oci_type (target->media_type), error);
}

/* Returns: (transfer full): what @target has become. */
static GantryDescriptor *
convert_target (Convert *self, GantryDescriptor *target, guint depth, GError **error)
{
  g_autoptr (JsonNode) node = NULL;
  GantryDescriptor *converted = NULL;

  if (depth > OCI_MAX_INDEX_DEPTH)
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "indexes are nested more than %d deep",
                    OCI_MAX_INDEX_DEPTH);
      return NULL;
    }
  if (!oci_is_index (target->media_type) && !oci_is_manifest (target->media_type))
    return gantry_descriptor_ref (target);
  node = oci_read (self->content, target->digest, self->cancellable, error);
  if (node == NULL)
    return NULL;
  if (!JSON_NODE_HOLDS_OBJECT (node))
    gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "it is no JSON object");
  else if (oci_is_index (target->media_type))
    converted = convert_index (self, node, target, depth, error);
  else
    converted = convert_manifest (self, json_node_get_object (node), target, error);
  if (converted == NULL)
    g_prefix_error (error, "converting %s: ", target->digest);
  return converted;
}

static gboolean
read_compression (GVariant *options, const char **ret_compression, GError **error)
{
  static const struct
  {
    const char *name, *suffix;
  } known[] = { { "none", "" }, { "gzip", "+gzip" }, { "zstd", "+zstd" } };
  const char *name = NULL;

  if (!g_variant_lookup (options, "compression", "&s", &name))
    return TRUE;
  for (gsize i = 0; i < G_N_ELEMENTS (known); i++)
    if (strcmp (known[i].name, name) == 0)
      {
        *ret_compression = known[i].suffix;
        return TRUE;
      }
  return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                       "layers can't be compressed by \"%s\"; say zstd, gzip or none", name);
}

static gboolean
check_options (GVariant *options, GError **error)
{
  static const struct
  {
    const char *name, *type;
  } known[] = { { "compression", "s" }, { "platforms", "as" } };
  GVariantIter iter;
  const char *key;
  GVariant *value;

  g_variant_iter_init (&iter, options);
  while (g_variant_iter_next (&iter, "{&sv}", &key, &value))
    {
      g_autoptr (GVariant) held = value;
      gboolean ok = FALSE;

      for (gsize i = 0; i < G_N_ELEMENTS (known); i++)
        ok |= strcmp (known[i].name, key) == 0
              && strcmp (known[i].type, g_variant_get_type_string (held)) == 0;
      if (!ok)
        return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                             "unknown option \"%s\", or one of another type", key);
    }
  return TRUE;
}

static gboolean
convert_record (Convert *self, const char *ns, GantryRecord *record, const char *new_name,
                GantryDescriptor **ret_target, GError **error)
{
  g_autoptr (GantryDescriptor) target = gantry_record_get_target (record);
  g_autoptr (GantryDescriptor) converted = NULL, annotated = NULL;
  Tree tree = { self->content, NULL, FALSE, self->cancellable };

  if (target == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "image %s has no target", record->id);
  converted = convert_target (self, target, 0, error);
  if (converted == NULL || !tree_label (&tree, converted, error))
    return FALSE;
  annotated = gantry_descriptor_new (converted->media_type, converted->digest, converted->blob_size,
                                     target->annotations);
  if (!tree_put_image (self->self, ns, new_name, annotated, record->labels, self->cancellable, error))
    return FALSE;
  if (ret_target != NULL)
    *ret_target = g_steal_pointer (&annotated);
  return TRUE;
}

gboolean
convert_image (GantryTransfer *transfer, GantryJob *job, const char *ns, const char *name,
               const char *new_name, GVariant *options, GantryDescriptor **ret_target,
               GCancellable *cancellable, GError **error)
{
  TransferLocal *self = (TransferLocal *)transfer;
  g_autoptr (GVariant) held = g_variant_ref_sink (
      options != NULL ? options : g_variant_new_array (G_VARIANT_TYPE ("{sv}"), NULL, 0));
  g_autoptr (Progress) progress = progress_new (job);
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GantryContent) content = NULL;
  g_auto (GStrv) platforms = NULL;
  g_auto (Lease) lease = { NULL };
  Convert convert = { .self = self, .progress = progress, .cancellable = cancellable };

  if (!check_options (held, error) || !read_compression (held, &convert.compression, error)
      || !gantry_metadata_get (self->metadata, GANTRY_KIND_IMAGE, ns, name, &record, cancellable, error)
      || !lease_begin (self, ns, &lease, cancellable, error)
      || !gantry_store_open_content (self->store, ns, lease.id, NULL, &content, cancellable, error))
    return FALSE;
  if (g_variant_lookup (held, "platforms", "^as", &platforms) && platforms[0] != NULL)
    convert.platforms = platforms;
  convert.content = content;
  convert.lease = lease.id;
  progress_phase (progress, "converting");
  return convert_record (&convert, ns, record, new_name, ret_target, error);
}
