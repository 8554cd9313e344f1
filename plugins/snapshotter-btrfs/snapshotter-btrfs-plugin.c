/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshotter-btrfs.h"

static gboolean
plugin_init (const GantryHost *host, gpointer *ret_instance, GError **error)
{
  SnapDirs *self = snapshotter_btrfs_new (host, error);

  if (self == NULL)
    return FALSE;
  *ret_instance = self;
  return TRUE;
}

static gpointer
plugin_get (gpointer instance, const char *type)
{
  return &((SnapDirs *)instance)->snapshotter;
}

static void
plugin_fini (gpointer instance)
{
  snapshotter_btrfs_free (instance);
}

static const GantryNeed index_need = GANTRY_NEED_INIT (GANTRY_SNAPSHOT_INDEX_TYPE, NULL,
                                                       sizeof (GantrySnapshotIndexVtable), GANTRY_NEED_ONE);
static const GantryNeed *const needs[] = { &index_need, NULL };
static const GantryProvide provide = { sizeof (GantryProvide), GANTRY_SNAPSHOTTER_TYPE };
static const GantryProvide *const provides[] = { &provide, NULL };
static const char *const config_keys[] = { NULL };

static const GantryPluginDesc desc = {
  .size = sizeof (GantryPluginDesc),
  .abi_major = GANTRY_ABI_MAJOR,
  .name = GANTRY_PLUGIN_NAME,
  .version = GANTRY_VERSION,
  .license = "LGPL-2.1-or-later",
  .description = "Snapshots as subvolumes of btrfs",
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
