/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mounts-local.h"

static gboolean
plugin_init (const GantryHost *host, gpointer *ret_instance, GError **error)
{
  MountsLocal *self = mounts_local_new (host, error);

  if (self == NULL)
    return FALSE;
  *ret_instance = self;
  return TRUE;
}

static gpointer
plugin_get (gpointer instance, const char *type)
{
  return &((MountsLocal *)instance)->mounts;
}

static void
plugin_fini (gpointer instance)
{
  mounts_local_free (instance);
}

static const GantryNeed metadata_need
    = GANTRY_NEED_INIT (GANTRY_METADATA_TYPE, NULL, sizeof (GantryMetadataVtable), GANTRY_NEED_ONE);
static const GantryNeed *const needs[] = { &metadata_need, NULL };
static const GantryProvide provide = { sizeof (GantryProvide), GANTRY_MOUNTS_TYPE };
static const GantryProvide *const provides[] = { &provide, NULL };
static const char *const config_keys[] = { NULL };

static const GantryPluginDesc desc = {
  .size = sizeof (GantryPluginDesc),
  .abi_major = GANTRY_ABI_MAJOR,
  .name = GANTRY_PLUGIN_NAME,
  .version = GANTRY_VERSION,
  .license = "LGPL-2.1-or-later",
  .description = "Mounts that are kept for clients",
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
