/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What an image takes: its blobs that are here, and the snapshots that its configs hold. */
#include <string.h>

#include "tree.h"

#define SNAPSHOT_LABEL "containerd.io/gc.ref.snapshot."
#define MAX_LINEAGE    1024

typedef struct
{
  TransferLocal *self;
  const char *ns;
  GantryContent *content;
  GHashTable *seen; /* digests, and "snapshotter/name" */
  GVariantBuilder blobs;
  GVariantBuilder snapshots;
  guint64 blob_bytes;
  guint64 snapshot_bytes;
  GCancellable *cancellable;
} Usage;

/* Notes the blob if it is here and was not seen. *@ret_labels: (optional) (transfer full) (nullable).
 * Returns: whether it is new. */
static gboolean
add_blob (Usage *usage, const char *digest, GVariant **ret_labels)
{
  g_autoptr (GantryContentInfo) info = NULL;

  if (g_hash_table_contains (usage->seen, digest)
      || !gantry_content_info (usage->content, digest, &info, usage->cancellable, NULL))
    return FALSE;
  g_hash_table_add (usage->seen, g_strdup (digest));
  g_variant_builder_add (&usage->blobs, "(st)", digest, info->blob_size);
  usage->blob_bytes += info->blob_size;
  if (ret_labels != NULL && info->labels != NULL)
    *ret_labels = g_variant_ref (info->labels);
  return TRUE;
}

/* The snapshot @name and its ancestors. */
static gboolean
add_snapshots (Usage *usage, const char *id, const char *name, GError **error)
{
  g_autoptr (GantrySnapshotter) snapshotter = NULL;
  g_autofree char *plugin = NULL, *next = g_strdup (name);

  if (!gantry_store_open_snapshotter (usage->self->store, usage->ns, NULL, id, &snapshotter, &plugin,
                                      usage->cancellable, error))
    return FALSE;
  for (guint depth = 0; next != NULL && depth < MAX_LINEAGE; depth++)
    {
      g_autofree char *key = g_strconcat (plugin, "/", next, NULL);
      g_autoptr (GantrySnapshotInfo) info = NULL;
      guint64 bytes, inodes;

      if (!g_hash_table_add (usage->seen, g_steal_pointer (&key))
          || !gantry_snapshotter_stat (snapshotter, next, &info, usage->cancellable, NULL))
        return TRUE;
      if (!gantry_snapshotter_usage (snapshotter, next, &bytes, &inodes, usage->cancellable, error))
        return FALSE;
      g_variant_builder_add (&usage->snapshots, "(sstt)", plugin, next, bytes, inodes);
      usage->snapshot_bytes += bytes;
      g_free (next);
      next = g_strdup (info->parent);
    }
  return TRUE;
}

static gboolean
add_config (Usage *usage, const char *digest, GError **error)
{
  g_autoptr (GVariant) labels = NULL;
  GVariantIter iter;
  const char *key, *value;

  if (!add_blob (usage, digest, &labels) || labels == NULL)
    return TRUE;
  g_variant_iter_init (&iter, labels);
  while (g_variant_iter_next (&iter, "{&s&s}", &key, &value))
    if (g_str_has_prefix (key, SNAPSHOT_LABEL)
        && !add_snapshots (usage, key + strlen (SNAPSHOT_LABEL), value, error))
      return FALSE;
  return TRUE;
}

static gboolean
add_manifest (Usage *usage, JsonObject *object, GError **error)
{
  JsonObject *config = oci_object (object, "config");
  JsonArray *layers = oci_array (object, "layers");

  if (config != NULL && oci_string (config, "digest") != NULL
      && !add_config (usage, oci_string (config, "digest"), error))
    return FALSE;
  for (guint i = 0; layers != NULL && i < json_array_get_length (layers); i++)
    {
      JsonNode *element = json_array_get_element (layers, i);
      const char *digest
          = JSON_NODE_HOLDS_OBJECT (element) ? oci_string (json_node_get_object (element), "digest") : NULL;

      if (digest != NULL)
        add_blob (usage, digest, NULL);
    }
  return TRUE;
}

static gboolean add_tree (Usage *usage, GantryDescriptor *target, guint depth, GError **error);

static gboolean
add_trees (Usage *usage, GPtrArray *targets, guint depth, GError **error)
{
  for (guint i = 0; i < targets->len; i++)
    if (!add_tree (usage, g_ptr_array_index (targets, i), depth, error))
      return FALSE;
  return TRUE;
}

static gboolean
add_tree (Usage *usage, GantryDescriptor *target, guint depth, GError **error)
{
  g_autoptr (GPtrArray) children = NULL, referrers = NULL;
  g_autoptr (JsonNode) node = NULL;

  if (depth > OCI_MAX_INDEX_DEPTH || !add_blob (usage, target->digest, NULL)
      || (!oci_is_index (target->media_type) && !oci_is_manifest (target->media_type)))
    return TRUE;
  referrers = tree_referrers (usage->content, target->digest, usage->cancellable, error);
  if (referrers == NULL || !add_trees (usage, referrers, depth + 1, error))
    return FALSE;
  node = oci_read (usage->content, target->digest, usage->cancellable, error);
  if (node == NULL)
    return FALSE;
  if (!oci_is_index (target->media_type))
    return !JSON_NODE_HOLDS_OBJECT (node) || add_manifest (usage, json_node_get_object (node), error);
  children = oci_select_manifests (node, NULL, error);
  return children != NULL && add_trees (usage, children, depth + 1, error);
}

gboolean
usage_image (GantryTransfer *transfer, const char *ns, const char *name, GVariant **ret_usage,
             GCancellable *cancellable, GError **error)
{
  TransferLocal *self = (TransferLocal *)transfer;
  g_autoptr (GHashTable) seen = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GantryContent) content = NULL;
  g_autoptr (GantryDescriptor) target = NULL;
  Usage usage = { .self = self, .ns = ns, .seen = seen, .cancellable = cancellable };
  GVariantDict result;

  if (!gantry_metadata_get (self->metadata, GANTRY_KIND_IMAGE, ns, name, &record, cancellable, error)
      || !gantry_store_open_content (self->store, ns, NULL, NULL, &content, cancellable, error))
    return FALSE;
  target = gantry_record_get_target (record);
  if (target == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "image %s has no target", name);
  usage.content = content;
  g_variant_builder_init (&usage.blobs, G_VARIANT_TYPE ("a(st)"));
  g_variant_builder_init (&usage.snapshots, G_VARIANT_TYPE ("a(sstt)"));
  if (!add_tree (&usage, target, 0, error))
    {
      g_variant_builder_clear (&usage.blobs);
      g_variant_builder_clear (&usage.snapshots);
      return FALSE;
    }
  g_variant_dict_init (&result, NULL);
  g_variant_dict_insert_value (&result, "blobs", g_variant_builder_end (&usage.blobs));
  g_variant_dict_insert (&result, "blob-bytes", "t", usage.blob_bytes);
  g_variant_dict_insert_value (&result, "snapshots", g_variant_builder_end (&usage.snapshots));
  g_variant_dict_insert (&result, "snapshot-bytes", "t", usage.snapshot_bytes);
  *ret_usage = g_variant_ref_sink (g_variant_dict_end (&result));
  return TRUE;
}
