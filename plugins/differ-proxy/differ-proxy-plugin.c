/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <gantry/differ.h>
#include <proxy.h>

#include "media-types.h"

static GantryPart part = GANTRY_PART ("differ-proxy-peer");

static gboolean
plugin_init (const GantryHost *host, gpointer *ret_instance, GError **error)
{
  return proxy_init (&part, host, ret_instance, error);
}

static const GantryProvide provide = { sizeof (GantryProvide), GANTRY_DIFFER_TYPE };
static const GantryProvide *const provides[] = { &provide, NULL };
static const char *const config_keys[] = { PEER_CONFIG_KEYS, "MediaTypes", "ContentAddress", NULL };
static const char *const config_defaults[]
    = { PEER_CONFIG_DEFAULTS, "MediaTypes=" DIFFER_PROXY_MEDIA_TYPES, "ContentAddress=", NULL };

static const GantryPluginDesc desc = {
  .size = sizeof (GantryPluginDesc),
  .abi_major = GANTRY_ABI_MAJOR,
  .name = GANTRY_PLUGIN_NAME,
  .version = GANTRY_VERSION,
  .license = "LGPL-2.1-or-later",
  .description = "A differ that another program serves",
  .provides = provides,
  .init = plugin_init,
  .get = proxy_get,
  .fini = proxy_fini,
  .config_keys = config_keys,
  .config_defaults = config_defaults,
};

const GantryPluginDesc *
gantry_plugin_get_desc (void)
{
  return &desc;
}
