/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tasks-local.h"

#include <gantry/differ.h>
#include <gantry/verifier.h>

static gboolean
plugin_init (const GantryHost *host, gpointer *ret_instance, GError **error)
{
  TasksLocal *self = tasks_local_new (host, error);

  if (self == NULL)
    return FALSE;
  *ret_instance = self;
  return TRUE;
}

static gpointer
plugin_get (gpointer instance, const char *type)
{
  return &((TasksLocal *)instance)->tasks;
}

static void
plugin_fini (gpointer instance)
{
  tasks_local_free (instance);
}

static const GantryNeed metadata_need
    = GANTRY_NEED_INIT (GANTRY_METADATA_TYPE, NULL, sizeof (GantryMetadataVtable), GANTRY_NEED_ONE);
static const GantryNeed store_need
    = GANTRY_NEED_INIT (GANTRY_STORE_TYPE, NULL, sizeof (GantryStoreVtable), GANTRY_NEED_ONE);
static const GantryNeed events_need
    = GANTRY_NEED_INIT (GANTRY_EVENTS_TYPE, NULL, sizeof (GantryEventsVtable), GANTRY_NEED_ONE);
static const GantryNeed transfer_need = GANTRY_NEED_INIT (GANTRY_TRANSFER_TYPE, NULL, 0, GANTRY_NEED_ONE);
static const GantryNeed runtime_need = GANTRY_NEED_INIT (GANTRY_RUNTIME_TYPE, NULL, 0, GANTRY_NEED_MANY);
static const GantryNeed verifier_need = GANTRY_NEED_INIT (GANTRY_VERIFIER_TYPE, NULL, 0, GANTRY_NEED_MANY);
static const GantryNeed differ_need = GANTRY_NEED_INIT (GANTRY_DIFFER_TYPE, NULL, 0, GANTRY_NEED_MANY);
static const GantryNeed mounts_need = GANTRY_NEED_INIT (GANTRY_MOUNTS_TYPE, NULL, 0, GANTRY_NEED_OPTIONAL);
static const GantryNeed *const needs[]
    = { &metadata_need, &store_need,  &events_need, &transfer_need, &runtime_need, &verifier_need,
        &differ_need,   &mounts_need, NULL };
static const GantryProvide provide = { sizeof (GantryProvide), GANTRY_TASKS_TYPE };
static const GantryProvide *const provides[] = { &provide, NULL };
static const char *const config_keys[] = { NULL };

static const GantryPluginDesc desc = {
  .size = sizeof (GantryPluginDesc),
  .abi_major = GANTRY_ABI_MAJOR,
  .name = GANTRY_PLUGIN_NAME,
  .version = GANTRY_VERSION,
  .license = "LGPL-2.1-or-later",
  .description = "Containers as records, snapshots and running tasks",
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
