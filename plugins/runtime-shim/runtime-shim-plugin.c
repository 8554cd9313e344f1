/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <shim-runtime.h>

static gboolean
plugin_init (const GantryHost *host, gpointer *ret_instance, GError **error)
{
  const char *name = gantry_host_get_config_string (host, "Shim", "containerd-shim-runc-v2");
  g_autofree char *shim = g_find_program_in_path (name);
  ShimRuntime *self;

  if (shim == NULL)
    return gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED,
                         "the shim %s is not installed; install it or set Shim=", name);
  self = shim_runtime_new (host, shim, FALSE, error);
  if (self == NULL)
    return FALSE;
  if (!events_server_start (self, error) || !shim_runtime_recover (self, error))
    {
      shim_runtime_free (self);
      return FALSE;
    }
  *ret_instance = self;
  return TRUE;
}

static gpointer
plugin_get (gpointer instance, const char *type)
{
  return &((ShimRuntime *)instance)->runtime;
}

static void
plugin_fini (gpointer instance)
{
  shim_runtime_free (instance);
}

static const GantryProvide provide = { sizeof (GantryProvide), GANTRY_RUNTIME_TYPE };
static const GantryProvide *const provides[] = { &provide, NULL };
static const char *const config_keys[] = { "Shim", "ClientAddresses", NULL };
static const char *const config_defaults[] = { "Shim=containerd-shim-runc-v2", "ClientAddresses=", NULL };

static const GantryPluginDesc desc = {
  .size = sizeof (GantryPluginDesc),
  .abi_major = GANTRY_ABI_MAJOR,
  .name = GANTRY_PLUGIN_NAME,
  .version = GANTRY_VERSION,
  .license = "LGPL-2.1-or-later",
  .description = "Tasks by any shim of containerd's",
  .provides = provides,
  .init = plugin_init,
  .get = plugin_get,
  .fini = plugin_fini,
  .config_keys = config_keys,
  .config_defaults = config_defaults,
};

const GantryPluginDesc *
gantry_plugin_get_desc (void)
{
  return &desc;
}
