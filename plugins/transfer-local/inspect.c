/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What an image is. */
#include <string.h>

#include "tree.h"

#define SNAPSHOT_LABEL "containerd.io/gc.ref.snapshot."

typedef struct
{
  GantryContent *content;
  OciImage *image; /* for the platform asked for */
  GVariantDict *details;
  GCancellable *cancellable;
} Inspection;

static void
add_config (Inspection *self)
{
  g_autoptr (JsonGenerator) generator = json_generator_new ();
  g_autofree char *config = NULL;

  json_generator_set_root (generator, self->image->config);
  config = json_generator_to_data (generator, NULL);
  g_variant_dict_insert (self->details, "config-digest", "s", self->image->config_descriptor->digest);
  g_variant_dict_insert (self->details, "config", "s", config);
}

static gboolean
is_here (Inspection *self, const char *digest)
{
  g_autoptr (GantryContentInfo) info = NULL;

  return gantry_content_info (self->content, digest, &info, self->cancellable, NULL);
}

static void
add_layers (Inspection *self)
{
  OciImage *image = self->image;
  g_autofree char *chain = oci_chain_id (image->diff_ids, g_strv_length (image->diff_ids));
  guint64 size = image->manifest->blob_size + image->config_descriptor->blob_size;
  GVariantBuilder layers, missing;

  g_variant_builder_init (&layers, G_VARIANT_TYPE ("a(sst)"));
  g_variant_builder_init (&missing, G_VARIANT_TYPE ("as"));
  for (guint i = 0; i < image->layers->len; i++)
    {
      GantryDescriptor *layer = g_ptr_array_index (image->layers, i);

      size += layer->blob_size;
      g_variant_builder_add (&layers, "(sst)", layer->media_type, layer->digest, layer->blob_size);
      if (!is_here (self, layer->digest))
        g_variant_builder_add (&missing, "s", layer->digest);
    }
  g_variant_dict_insert (self->details, "chain-id", "s", chain != NULL ? chain : "");
  g_variant_dict_insert (self->details, "size", "t", size);
  g_variant_dict_insert_value (self->details, "layers", g_variant_builder_end (&layers));
  g_variant_dict_insert_value (self->details, "missing", g_variant_builder_end (&missing));
  g_variant_dict_insert_value (self->details, "diff-ids",
                               g_variant_new_strv ((const char *const *)image->diff_ids, -1));
}

/* The config holds the topmost snapshot of each snapshotter that has the image. */
static gboolean
add_unpacked (Inspection *self, GError **error)
{
  g_autoptr (GantryContentInfo) info = NULL;
  GVariantBuilder unpacked;
  GVariantIter iter;
  const char *key;

  if (!gantry_content_info (self->content, self->image->config_descriptor->digest, &info, self->cancellable,
                            error))
    return FALSE;
  g_variant_builder_init (&unpacked, G_VARIANT_TYPE ("as"));
  if (info->labels != NULL)
    {
      g_variant_iter_init (&iter, info->labels);
      while (g_variant_iter_next (&iter, "{&s&s}", &key, NULL))
        if (g_str_has_prefix (key, SNAPSHOT_LABEL))
          g_variant_builder_add (&unpacked, "s", key + strlen (SNAPSHOT_LABEL));
    }
  g_variant_dict_insert_value (self->details, "unpacked", g_variant_builder_end (&unpacked));
  return TRUE;
}

/* The platforms of what is here. */
static gboolean
add_platforms (Inspection *self, GantryDescriptor *target, GError **error)
{
  g_autoptr (JsonNode) node = NULL;
  g_autoptr (GPtrArray) all = NULL;
  GVariantBuilder platforms;

  if (!oci_is_index (target->media_type))
    {
      const char *const own[] = { self->image->platform, NULL };

      g_variant_dict_insert_value (self->details, "platforms", g_variant_new_strv (own, -1));
      return TRUE;
    }
  node = oci_read (self->content, target->digest, self->cancellable, error);
  all = node != NULL ? oci_select_manifests (node, NULL, error) : NULL;
  if (all == NULL)
    return FALSE;
  g_variant_builder_init (&platforms, G_VARIANT_TYPE ("as"));
  for (guint i = 0; i < all->len; i++)
    {
      GantryDescriptor *child = g_ptr_array_index (all, i);

      if (child->platform != NULL && is_here (self, child->digest))
        g_variant_builder_add (&platforms, "s", child->platform);
    }
  g_variant_dict_insert_value (self->details, "platforms", g_variant_builder_end (&platforms));
  return TRUE;
}

static gboolean
add_referrers_of (Inspection *self, const char *subject, GVariantBuilder *list, GError **error)
{
  g_autoptr (GPtrArray) referrers = tree_referrers (self->content, subject, self->cancellable, error);

  for (guint i = 0; referrers != NULL && i < referrers->len; i++)
    {
      GantryDescriptor *one = g_ptr_array_index (referrers, i);

      g_variant_builder_add (list, "(ssst)", one->digest,
                             one->artifact_type != NULL ? one->artifact_type : "", one->media_type,
                             one->blob_size);
    }
  return referrers != NULL;
}

static gboolean
add_referrers (Inspection *self, GantryDescriptor *target, GError **error)
{
  const char *manifest = self->image->manifest->digest;
  g_auto (GVariantBuilder) list = G_VARIANT_BUILDER_INIT (G_VARIANT_TYPE ("a(ssst)"));

  if (!add_referrers_of (self, target->digest, &list, error)
      || (strcmp (manifest, target->digest) != 0 && !add_referrers_of (self, manifest, &list, error)))
    return FALSE;
  g_variant_dict_insert_value (self->details, "referrers", g_variant_builder_end (&list));
  return TRUE;
}

gboolean
inspect_image (GantryTransfer *transfer, const char *ns, const char *name, const char *platform,
               GVariant **ret_details, GCancellable *cancellable, GError **error)
{
  TransferLocal *self = (TransferLocal *)transfer;
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GantryDescriptor) target = NULL;
  g_autoptr (GantryContent) content = NULL;
  g_autoptr (OciImage) image = NULL;
  g_autoptr (GVariantDict) details = g_variant_dict_new (NULL);
  Inspection inspection = { .details = details, .cancellable = cancellable };

  if (!gantry_metadata_get (self->metadata, GANTRY_KIND_IMAGE, ns, name, &record, cancellable, error)
      || !gantry_store_open_content (self->store, ns, NULL, NULL, &content, cancellable, error))
    return FALSE;
  target = gantry_record_get_target (record);
  if (target == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "image %s has no target", name);
  image = oci_image_load (content, target, platform, cancellable, error);
  if (image == NULL)
    return FALSE;
  inspection.content = content;
  inspection.image = image;
  g_variant_dict_insert (details, "name", "s", name);
  g_variant_dict_insert_value (details, "target", gantry_descriptor_to_variant (target));
  g_variant_dict_insert (details, "manifest-digest", "s", image->manifest->digest);
  g_variant_dict_insert (details, "platform", "s", image->platform);
  add_config (&inspection);
  add_layers (&inspection);
  if (!add_unpacked (&inspection, error) || !add_platforms (&inspection, target, error)
      || !add_referrers (&inspection, target, error))
    return FALSE;
  *ret_details = g_variant_ref_sink (g_variant_dict_end (details));
  return TRUE;
}
