/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "jobs-local.h"

static gboolean
jobs_local_init (const GantryHost *host, gpointer *ret_instance, GError **error)
{
  *ret_instance = jobs_local_new (host);
  return TRUE;
}

static gpointer
jobs_local_get (gpointer instance, const char *type)
{
  return &((JobsLocal *)instance)->jobs;
}

static void
jobs_local_fini (gpointer instance)
{
  jobs_local_free (instance);
}

static const GantryProvide provide = { sizeof (GantryProvide), GANTRY_JOBS_TYPE };
static const GantryProvide *const provides[] = { &provide, NULL };
static const char *const config_keys[] = { NULL };

static const GantryPluginDesc desc = {
  .size = sizeof (GantryPluginDesc),
  .abi_major = GANTRY_ABI_MAJOR,
  .name = GANTRY_PLUGIN_NAME,
  .version = GANTRY_VERSION,
  .license = "LGPL-2.1-or-later",
  .description = "The daemon's long tasks, with progress and cancel",
  .provides = provides,
  .init = jobs_local_init,
  .get = jobs_local_get,
  .fini = jobs_local_fini,
  .config_keys = config_keys,
};

const GantryPluginDesc *
gantry_plugin_get_desc (void)
{
  return &desc;
}
