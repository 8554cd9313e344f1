/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "differ-proxy.h"

#include <gantry/differ.h>

static gboolean
plugin_init (const GantryHost *host, gpointer *ret_instance, GError **error)
{
  DifferProxy *self = differ_proxy_new (host, error);

  if (self == NULL)
    return FALSE;
  *ret_instance = self;
  return TRUE;
}

static gpointer
plugin_get (gpointer instance, const char *type)
{
  return instance; /* its first member */
}

static void
plugin_fini (gpointer instance)
{
  differ_proxy_free (instance);
}

static const GantryProvide provide = { sizeof (GantryProvide), GANTRY_DIFFER_TYPE };
static const GantryProvide *const provides[] = { &provide, NULL };
static const char *const config_keys[] = { PEER_CONFIG_KEYS, "MediaTypes", NULL };

static const GantryPluginDesc desc = {
  .size = sizeof (GantryPluginDesc),
  .abi_major = GANTRY_ABI_MAJOR,
  .name = GANTRY_PLUGIN_NAME,
  .version = GANTRY_VERSION,
  .license = "LGPL-2.1-or-later",
  .description = "A differ that another program serves",
  .provides = provides,
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
