/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "content-local.h"

static gboolean
plugin_init (const GantryHost *host, gpointer *ret_instance, GError **error)
{
  ContentLocal *self = content_local_find_parts (error) ? content_local_new (host, error) : NULL;

  if (self == NULL)
    return FALSE;
  *ret_instance = self;
  return TRUE;
}

static gpointer
plugin_get (gpointer instance, const char *type)
{
  return &((ContentLocal *)instance)->content;
}

static void
plugin_fini (gpointer instance)
{
  content_local_free (instance);
}

static const GantryProvide provide = { sizeof (GantryProvide), GANTRY_CONTENT_TYPE };
static const GantryProvide *const provides[] = { &provide, NULL };
static const char *const config_keys[] = { NULL };

static const GantryPluginDesc desc = {
  .size = sizeof (GantryPluginDesc),
  .abi_major = GANTRY_ABI_MAJOR,
  .name = GANTRY_PLUGIN_NAME,
  .version = GANTRY_VERSION,
  .license = "LGPL-2.1-or-later",
  .description = "Blobs as files named by their digest",
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
