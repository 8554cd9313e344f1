/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Unpacking of an image that is in the content store. */
#include <string.h>

#include "layers.h"

gboolean
unpack_label_config (GantryContent *content, OciImage *image, const char *snapshotter, const char *chain,
                     GCancellable *cancellable, GError **error)
{
  g_autofree char *key = g_strconcat ("containerd.io/gc.ref.snapshot.",
                                      strcmp (snapshotter, "overlay") == 0 ? "overlayfs" : snapshotter, NULL);
  g_autofree char *path = g_strconcat ("labels.", key, NULL);
  const char *const mask[] = { path, NULL };
  g_auto (GVariantBuilder) labels = G_VARIANT_BUILDER_INIT (G_VARIANT_TYPE ("a{ss}"));
  g_autoptr (GVariant) held = NULL;

  g_variant_builder_add (&labels, "{ss}", key, chain);
  held = g_variant_ref_sink (g_variant_builder_end (&labels));
  return gantry_content_update (content, image->config_descriptor->digest, held, mask, NULL, cancellable,
                                error);
}

gboolean
unpack_target (TransferLocal *self, Progress *progress, const char *ns, const char *lease,
               GantryDescriptor *target, const char *snapshotter_name, const char *platform,
               char **ret_chain_id, GCancellable *cancellable, GError **error)
{
  g_autoptr (GantryContent) content = NULL;
  g_autoptr (GantrySnapshotter) snapshotter = NULL;
  g_autoptr (OciImage) image = NULL;
  g_autofree char *id = NULL, *chain = NULL;
  /* Goes first: it borrows the others. */
  g_autoptr (Layers) layers = NULL;

  if (!gantry_store_open_content (self->store, ns, lease, NULL, &content, cancellable, error)
      || !gantry_store_open_snapshotter (self->store, ns, lease, snapshotter_name, &snapshotter, &id,
                                         cancellable, error)
      /* The label of the config, which comes last, is durable. */
      || !gantry_store_relax (self->store, NULL, snapshotter, cancellable, error)
      || (image = oci_image_load (content, target, platform, cancellable, error)) == NULL)
    return FALSE;
  chain = oci_chain_id (image->diff_ids, g_strv_length (image->diff_ids));
  if (chain == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "image config %s has no layers",
                         image->config_descriptor->digest);
  progress_phase (progress, "unpacking");
  layers = layers_new (self, progress, ns, content, snapshotter, id, image);
  for (guint i = 0; i < image->layers->len; i++)
    layers_arrived (layers, i);
  if (!layers_run (layers, cancellable, error)
      || !unpack_label_config (content, image, id, chain, cancellable, error))
    return FALSE;
  if (ret_chain_id != NULL)
    *ret_chain_id = g_steal_pointer (&chain);
  return TRUE;
}

static gboolean
check_options (GVariant *options, GError **error)
{
  static const char *const known[] = { "snapshotter", "platform", NULL };
  GVariantIter iter;
  const char *key;

  if (options == NULL)
    return TRUE;
  g_variant_iter_init (&iter, options);
  while (g_variant_iter_next (&iter, "{&sv}", &key, NULL))
    if (!g_strv_contains (known, key))
      return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "unknown option \"%s\"", key);
  return TRUE;
}

gboolean
unpack_image (GantryTransfer *transfer, GantryJob *job, const char *ns, const char *name, GVariant *options,
              char **ret_chain_id, GCancellable *cancellable, GError **error)
{
  TransferLocal *self = (TransferLocal *)transfer;
  g_autoptr (GVariant) held = options != NULL ? g_variant_ref_sink (options) : NULL;
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GantryDescriptor) target = NULL;
  g_autoptr (Progress) progress = progress_new (job);
  g_auto (Lease) lease = { NULL };
  const char *snapshotter = NULL, *platform = NULL;

  if (held != NULL)
    {
      g_variant_lookup (held, "snapshotter", "&s", &snapshotter);
      g_variant_lookup (held, "platform", "&s", &platform);
    }
  if (!check_options (held, error)
      || !gantry_metadata_get (self->metadata, GANTRY_KIND_IMAGE, ns, name, &record, cancellable, error))
    return FALSE;
  target = gantry_record_get_target (record);
  if (target == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "image %s has no target", name);
  return lease_begin (self, ns, &lease, cancellable, error)
         && unpack_target (self, progress, ns, lease.id, target, snapshotter, platform, ret_chain_id,
                           cancellable, error);
}
