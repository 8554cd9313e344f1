/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Pulls of Docker's manifests of schema 1. Those tell neither how large their layers are nor what they unpack
 * to: the registry is asked for the one, and the layers themselves, once they are here, say the other. */
#include <string.h>
#include <unistd.h>

#include "fetch.h"
#include "schema1.h"
#include "tree.h"

typedef struct
{
  TransferLocal *self;
  Progress *progress;
  GantryContent *content;
  GantryRepository *repository;
  GVariant *source; /* (nullable) */
  Schema1 *manifest;
  GHashTable *layers;   /* digest of a blob -> GantryDescriptor */
  GHashTable *diff_ids; /* digest of a blob -> DiffID */
  const char *current;  /* the blob that is worked on */
  GCancellable *cancellable;
} Conversion;

/* Which kind of layer the blob is: its first bytes tell. */
static const char *
sniff (int fd)
{
  guint8 first[4] = { 0 };
  ssize_t n = pread (fd, first, sizeof first, 0);

  if (n >= 2 && first[0] == 0x1f && first[1] == 0x8b)
    return OCI_LAYER "+gzip";
  if (n == 4 && memcmp (first, "\x28\xb5\x2f\xfd", 4) == 0)
    return OCI_LAYER "+zstd";
  return OCI_LAYER;
}

static void
on_fetched (GantryDescriptor *blob, const GError *error, gpointer user_data)
{
}

static gboolean
fetch_layers (Conversion *conversion, GError **error)
{
  const char *const *blobs = schema1_get_blobs (conversion->manifest);
  g_autoptr (Fetches) fetches = fetches_new (conversion->self->fetchers, conversion->progress,
                                             conversion->content, conversion->repository, conversion->source,
                                             on_fetched, NULL, NULL, conversion->cancellable);

  progress_phase (conversion->progress, "downloading");
  for (gsize i = 0; blobs[i] != NULL; i++)
    {
      g_autoptr (GantryDescriptor) blob = NULL;
      guint64 size;

      if (g_hash_table_contains (conversion->layers, blobs[i]))
        continue;
      if (!gantry_repository_has_blob (conversion->repository, blobs[i], &size, conversion->cancellable,
                                       error))
        return FALSE;
      blob = gantry_descriptor_new (OCI_LAYER "+gzip", blobs[i], size, NULL);
      g_hash_table_insert (conversion->layers, g_strdup (blobs[i]), gantry_descriptor_ref (blob));
      fetches_add (fetches, blob, NULL);
    }
  return fetches_wait (fetches, error);
}

static void
on_progress (guint64 bytes, gpointer user_data)
{
  Conversion *conversion = user_data;

  progress_bytes (conversion->progress, conversion->current, bytes);
}

/* Reads the layer once, in the differ's sandbox. */
static gboolean
find_diff_id (Conversion *conversion, GantryDescriptor *blob, GError **error)
{
  GantryDiffer *differ = layers_find_differ (conversion->self, OCI_LAYER "+gzip", TRUE, error);
  g_autoptr (GantryDescriptor) layer = NULL, none = NULL;
  g_autofree char *diff_id = NULL;
  int fd;

  if (differ == NULL
      || !gantry_content_open_blob (conversion->content, blob->digest, &fd, NULL, conversion->cancellable,
                                    error))
    return FALSE;
  layer = gantry_descriptor_new (sniff (fd), blob->digest, blob->blob_size, NULL);
  close (fd);
  conversion->current = layer->digest;
  progress_item (conversion->progress, layer->digest, "converting", layer->blob_size, TRUE);
  if (!gantry_differ_recompress (differ, layer, conversion->content, NULL, NULL, on_progress, conversion,
                                 &none, &diff_id, conversion->cancellable, error))
    return FALSE;
  progress_item (conversion->progress, layer->digest, "done", layer->blob_size, TRUE);
  g_hash_table_insert (conversion->diff_ids, g_strdup (layer->digest), g_steal_pointer (&diff_id));
  g_hash_table_insert (conversion->layers, g_strdup (layer->digest), gantry_descriptor_ref (layer));
  return TRUE;
}

static gboolean
find_diff_ids (Conversion *conversion, GError **error)
{
  const char *const *blobs = schema1_get_blobs (conversion->manifest);

  progress_phase (conversion->progress, "converting");
  for (gsize i = 0; blobs[i] != NULL; i++)
    if (!g_hash_table_contains (conversion->diff_ids, blobs[i])
        && !find_diff_id (conversion, g_hash_table_lookup (conversion->layers, blobs[i]), error))
      {
        g_prefix_error (error, "layer %s: ", blobs[i]);
        return FALSE;
      }
  return TRUE;
}

/* Has the store hold @bytes. Returns: (transfer full). */
static GantryDescriptor *
store (Conversion *conversion, const char *media_type, GBytes *bytes, GError **error)
{
  g_autofree char *hex = g_compute_checksum_for_bytes (G_CHECKSUM_SHA256, bytes);
  g_autofree char *digest = g_strconcat ("sha256:", hex, NULL), *ref = g_strconcat ("schema1-", hex, NULL);
  gsize size = g_bytes_get_size (bytes);
  g_autoptr (GantryIngest) ingest = NULL;
  g_autoptr (GError) local = NULL;

  if ((gantry_content_open_ingest (conversion->content, ref, size, digest, &ingest, conversion->cancellable,
                                   &local)
       && gantry_ingest_truncate (ingest, 0, conversion->cancellable, &local)
       && gantry_ingest_write (ingest, g_bytes_get_data (bytes, NULL), size, conversion->cancellable, &local)
       && gantry_ingest_commit (ingest, size, digest, NULL, NULL, conversion->cancellable, &local))
      || gantry_error_is (local, GANTRY_ERROR_ALREADY_EXISTS))
    return gantry_descriptor_new (media_type, digest, size, NULL);
  g_propagate_error (error, g_steal_pointer (&local));
  return NULL;
}

static GantryDescriptor *
store_config (Conversion *conversion, GError **error)
{
  const char *const *blobs = schema1_get_blobs (conversion->manifest);
  g_autoptr (GPtrArray) diff_ids = g_ptr_array_new ();
  g_autoptr (GBytes) config = NULL;

  for (gsize i = 0; blobs[i] != NULL; i++)
    g_ptr_array_add (diff_ids, g_hash_table_lookup (conversion->diff_ids, blobs[i]));
  g_ptr_array_add (diff_ids, NULL);
  config = schema1_make_config (conversion->manifest, (const char *const *)diff_ids->pdata);
  return store (conversion, OCI_CONFIG, config, error);
}

static JsonObject *
describe (GantryDescriptor *descriptor)
{
  JsonObject *object = json_object_new ();

  json_object_set_string_member (object, "mediaType", descriptor->media_type);
  json_object_set_string_member (object, "digest", descriptor->digest);
  json_object_set_int_member (object, "size", (gint64)descriptor->blob_size);
  return object;
}

static GantryDescriptor *
store_manifest (Conversion *conversion, GantryDescriptor *config, GError **error)
{
  const char *const *blobs = schema1_get_blobs (conversion->manifest);
  g_autoptr (JsonGenerator) generator = json_generator_new ();
  JsonObject *manifest = json_object_new ();
  g_autoptr (JsonNode) root = json_node_init_object (json_node_alloc (), manifest);
  JsonArray *layers = json_array_new ();
  g_autoptr (GBytes) bytes = NULL;
  gsize length;
  char *text;

  for (gsize i = 0; blobs[i] != NULL; i++)
    json_array_add_object_element (layers, describe (g_hash_table_lookup (conversion->layers, blobs[i])));
  json_object_set_int_member (manifest, "schemaVersion", 2);
  json_object_set_string_member (manifest, "mediaType", OCI_MANIFEST);
  json_object_set_object_member (manifest, "config", describe (config));
  json_object_set_array_member (manifest, "layers", layers);
  json_object_unref (manifest);
  json_generator_set_root (generator, root);
  text = json_generator_to_data (generator, &length);
  bytes = g_bytes_new_take (text, length);
  return store (conversion, OCI_MANIFEST, bytes, error);
}

GantryDescriptor *
schema1_convert (TransferLocal *self, Progress *progress, GantryContent *content,
                 GantryRepository *repository, GantryDescriptor *target, GVariant *source,
                 GCancellable *cancellable, GError **error)
{
  g_autoptr (Schema1) manifest = NULL;
  g_autoptr (GHashTable) layers
      = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify)gantry_descriptor_unref);
  g_autoptr (GHashTable) diff_ids = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  Conversion conversion = { .self = self,
                            .progress = progress,
                            .content = content,
                            .repository = repository,
                            .source = source,
                            .layers = layers,
                            .diff_ids = diff_ids,
                            .cancellable = cancellable };
  g_autoptr (GantryDescriptor) config = NULL;
  g_autoptr (GBytes) bytes = NULL;

  if (!gantry_repository_fetch_manifest (repository, target->digest, NULL, &bytes, cancellable, error)
      || (manifest = schema1_parse (bytes, error)) == NULL)
    return NULL;
  conversion.manifest = manifest;
  if (!fetch_layers (&conversion, error) || !find_diff_ids (&conversion, error)
      || (config = store_config (&conversion, error)) == NULL)
    return NULL;
  return store_manifest (&conversion, config, error);
}
