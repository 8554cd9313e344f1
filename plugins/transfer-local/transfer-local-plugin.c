/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <gantry/verifier.h>

#include "archive-lib.h"
#include "fetch.h"
#include "transfer-local.h"

static const GantryTransferVtable vtable = {
  .size = sizeof (GantryTransferVtable),
  .import = import_archive,
  .do_export = export_archive,
  .unpack = unpack_image,
  .inspect = inspect_image,
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
  if (self->followers != NULL)
    g_thread_pool_free (self->followers, FALSE, TRUE);
  if (self->unpackers != NULL)
    g_thread_pool_free (self->unpackers, FALSE, TRUE);
  if (self->pushers != NULL)
    g_thread_pool_free (self->pushers, FALSE, TRUE);
  fetch_pool_free (self->fetchers);
  claims_free (self->claims);
  g_hash_table_unref (self->below);
  g_hash_table_unref (self->shared_leases);
  g_mutex_clear (&self->lock);
  g_free (self);
}

static guint
default_unpacks (void)
{
  return CLAMP (g_get_num_processors (), 2, 8);
}

static gboolean
read_config (TransferLocal *self, GError **error)
{
  guint64 unpacks, fetches, per_pull, pushes;

  if (!gantry_host_get_config_uint64 (self->host, "MaxUnpacks", default_unpacks (), 1, 64, &unpacks, error)
      || !gantry_host_get_config_uint64 (self->host, "MaxDownloads", 12, 1, 256, &fetches, error)
      || !gantry_host_get_config_uint64 (self->host, "MaxDownloadsPerPull", 4, 1, 256, &per_pull, error)
      || !gantry_host_get_config_uint64 (self->host, "MaxUploads", 4, 1, 64, &pushes, error)
      || !gantry_host_get_config_boolean (self->host, "ConvertSchema1", FALSE, &self->convert_schema1, error))
    return FALSE;
  self->unpackers = g_thread_pool_new (layers_work, NULL, (int)unpacks, FALSE, NULL);
  self->followers = g_thread_pool_new (layers_follow, NULL, TRANSFER_MAX_FOLLOWING, FALSE, NULL);
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
  self->below = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  self->shared_leases = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  self->claims = claims_new ();
  self->metadata = gantry_host_lookup (host, GANTRY_METADATA_TYPE, NULL, error);
  if (self->metadata != NULL)
    self->store = gantry_host_lookup (host, GANTRY_STORE_TYPE, NULL, error);
  if (self->store == NULL || !archive_lib_find (error) || !read_config (self, error)
      || !lease_end_stale (self, error))
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
static const char *const config_keys[] = { "MaxUnpacks", "MaxDownloads",     "MaxDownloadsPerPull",
                                           "MaxUploads", "InstallDirectory", "ConvertSchema1",
                                           NULL };
static const char *config_defaults[] = { "MaxDownloads=12",
                                         "MaxDownloadsPerPull=4",
                                         "MaxUploads=4",
                                         "InstallDirectory=" GANTRY_INSTALL_DIRECTORY,
                                         "ConvertSchema1=no",
                                         NULL /* MaxUnpacks= */,
                                         NULL };

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
  .config_defaults = config_defaults,
};

const GantryPluginDesc *
gantry_plugin_get_desc (void)
{
  if (config_defaults[5] == NULL)
    config_defaults[5] = g_strdup_printf ("MaxUnpacks=%u", default_unpacks ());
  return &desc;
}
