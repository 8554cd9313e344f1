/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <gantry/verifier.h>

#include "fetch.h"
#include "transfer-local.h"

static void
add_platform_details (GVariantDict *details, GantryContent *content, OciImage *image)
{
  g_autoptr (JsonGenerator) generator = json_generator_new ();
  g_autofree char *config = NULL, *chain = NULL;
  GVariantBuilder layers;
  guint64 size = image->manifest->blob_size + image->config_descriptor->blob_size;

  json_generator_set_root (generator, image->config);
  config = json_generator_to_data (generator, NULL);
  chain = oci_chain_id (image->diff_ids, g_strv_length (image->diff_ids));
  g_variant_builder_init (&layers, G_VARIANT_TYPE ("a(sst)"));
  for (guint i = 0; i < image->layers->len; i++)
    {
      GantryDescriptor *layer = g_ptr_array_index (image->layers, i);

      size += layer->blob_size;
      g_variant_builder_add (&layers, "(sst)", layer->media_type, layer->digest, layer->blob_size);
    }
  g_variant_dict_insert (details, "manifest-digest", "s", image->manifest->digest);
  g_variant_dict_insert (details, "config-digest", "s", image->config_descriptor->digest);
  g_variant_dict_insert (details, "config", "s", config);
  g_variant_dict_insert (details, "platform", "s", image->platform);
  g_variant_dict_insert (details, "chain-id", "s", chain != NULL ? chain : "");
  g_variant_dict_insert (details, "size", "t", size);
  g_variant_dict_insert_value (details, "layers", g_variant_builder_end (&layers));
  g_variant_dict_insert_value (details, "diff-ids",
                               g_variant_new_strv ((const char *const *)image->diff_ids, -1));
}

static gboolean
inspect (GantryTransfer *transfer, const char *ns, const char *name, const char *platform,
         GVariant **ret_details, GCancellable *cancellable, GError **error)
{
  TransferLocal *self = (TransferLocal *)transfer;
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GantryDescriptor) target = NULL;
  g_autoptr (GantryContent) content = NULL;
  g_autoptr (OciImage) image = NULL;
  g_autoptr (GVariantDict) details = g_variant_dict_new (NULL);

  if (!gantry_metadata_get (self->metadata, GANTRY_KIND_IMAGE, ns, name, &record, cancellable, error)
      || !gantry_store_open_content (self->store, ns, NULL, NULL, &content, cancellable, error))
    return FALSE;
  target = gantry_record_get_target (record);
  if (target == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "image %s has no target", name);
  image = oci_image_load (content, target, platform, cancellable, error);
  if (image == NULL)
    return FALSE;
  g_variant_dict_insert (details, "name", "s", name);
  g_variant_dict_insert_value (details, "target", gantry_descriptor_to_variant (target));
  add_platform_details (details, content, image);
  *ret_details = g_variant_ref_sink (g_variant_dict_end (details));
  return TRUE;
}

static const GantryTransferVtable vtable = {
  .size = sizeof (GantryTransferVtable),
  .import = import_archive,
  .do_export = export_archive,
  .unpack = unpack_image,
  .inspect = inspect,
  .pull = pull_image,
  .push = push_image,
  .usage = usage_image,
  .convert = convert_image,
  .install = install_image,
};

static void
plugin_fini (gpointer instance)
{
  TransferLocal *self = instance;

  if (self == NULL)
    return;
  if (self->unpackers != NULL)
    g_thread_pool_free (self->unpackers, FALSE, TRUE);
  if (self->pushers != NULL)
    g_thread_pool_free (self->pushers, FALSE, TRUE);
  fetch_pool_free (self->fetchers);
  claims_free (self->claims);
  g_hash_table_unref (self->shared_leases);
  g_mutex_clear (&self->lock);
  g_free (self);
}

static gboolean
read_config (TransferLocal *self, GError **error)
{
  guint64 unpacks, fetches, per_pull, pushes;

  if (!gantry_host_get_config_uint64 (self->host, "MaxUnpacks", CLAMP (g_get_num_processors (), 2, 8), 1, 64,
                                      &unpacks, error)
      || !gantry_host_get_config_uint64 (self->host, "MaxDownloads", 12, 1, 256, &fetches, error)
      || !gantry_host_get_config_uint64 (self->host, "MaxDownloadsPerPull", 4, 1, 256, &per_pull, error)
      || !gantry_host_get_config_uint64 (self->host, "MaxUploads", 4, 1, 64, &pushes, error))
    return FALSE;
  self->unpackers = g_thread_pool_new (layers_work, NULL, (int)unpacks, FALSE, NULL);
  self->fetchers = fetch_pool_new ((guint)fetches, (guint)per_pull);
  self->pushers = g_thread_pool_new (push_work, NULL, (int)pushes, FALSE, NULL);
  return TRUE;
}

static gboolean
plugin_init (const GantryHost *host, gpointer *ret_instance, GError **error)
{
  TransferLocal *self = g_new0 (TransferLocal, 1);

  self->transfer.vtable = &vtable;
  self->host = host;
  g_mutex_init (&self->lock);
  self->shared_leases = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  self->claims = claims_new ();
  self->metadata = gantry_host_lookup (host, GANTRY_METADATA_TYPE, NULL, error);
  if (self->metadata != NULL)
    self->store = gantry_host_lookup (host, GANTRY_STORE_TYPE, NULL, error);
  if (self->store == NULL || !read_config (self, error) || !lease_end_stale (self, error))
    {
      plugin_fini (self);
      return FALSE;
    }
  *ret_instance = self;
  return TRUE;
}

static gpointer
plugin_get (gpointer instance, const char *type)
{
  return &((TransferLocal *)instance)->transfer;
}

static const GantryNeed metadata_need
    = GANTRY_NEED_INIT (GANTRY_METADATA_TYPE, NULL, sizeof (GantryMetadataVtable), GANTRY_NEED_ONE);
static const GantryNeed store_need
    = GANTRY_NEED_INIT (GANTRY_STORE_TYPE, NULL, sizeof (GantryStoreVtable), GANTRY_NEED_ONE);
static const GantryNeed differ_need = GANTRY_NEED_INIT (GANTRY_DIFFER_TYPE, NULL, 0, GANTRY_NEED_MANY);
static const GantryNeed registry_need
    = GANTRY_NEED_INIT (GANTRY_REGISTRY_TYPE, NULL, sizeof (GantryRegistryVtable), GANTRY_NEED_OPTIONAL);
static const GantryNeed verifier_need = GANTRY_NEED_INIT (GANTRY_VERIFIER_TYPE, NULL, 0, GANTRY_NEED_MANY);
static const GantryNeed *const needs[]
    = { &metadata_need, &store_need, &differ_need, &registry_need, &verifier_need, NULL };
static const GantryProvide provide = { sizeof (GantryProvide), GANTRY_TRANSFER_TYPE };
static const GantryProvide *const provides[] = { &provide, NULL };
static const char *const config_keys[]
    = { "MaxUnpacks", "MaxDownloads", "MaxDownloadsPerPull", "MaxUploads", "InstallDirectory", NULL };

static const GantryPluginDesc desc = {
  .size = sizeof (GantryPluginDesc),
  .abi_major = GANTRY_ABI_MAJOR,
  .name = GANTRY_PLUGIN_NAME,
  .version = GANTRY_VERSION,
  .license = "LGPL-2.1-or-later",
  .description = "Moves images between archives, content and snapshots",
  .provides = provides,
  .needs = needs,
  .init = plugin_init,
  .get = plugin_get,
  .fini = plugin_fini,
  .config_keys = config_keys,
};

const GantryPluginDesc *
gantry_plugin_get_desc (void)
{
  return &desc;
}
