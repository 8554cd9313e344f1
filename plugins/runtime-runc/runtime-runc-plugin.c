/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dlfcn.h>

#include <shim-runtime.h>

/* The shim beside this module in a build tree, else the installed one. */
static char *
find_shim (void)
{
  g_autofree char *dir = NULL;
  g_autofree char *path = NULL;
  Dl_info info;

  if (dladdr (&find_shim, &info) != 0 && info.dli_fname != NULL)
    {
      dir = g_path_get_dirname (info.dli_fname);
      path = g_build_filename (dir, "runtime-runc", "shim", "gantry-shim-runc", NULL);
      if (g_file_test (path, G_FILE_TEST_IS_EXECUTABLE))
        return g_steal_pointer (&path);
    }
  return g_strdup (GANTRY_LIBEXECDIR "/gantry-shim-runc");
}

static gboolean
plugin_init (const GantryHost *host, gpointer *ret_instance, GError **error)
{
  g_autofree char *found = find_shim ();
  const char *shim = gantry_host_get_config_string (host, "Shim", found);
  gboolean checkpointable;
  const char *oci_runtime;
  ShimRuntime *self;

  if (!g_file_test (shim, G_FILE_TEST_IS_EXECUTABLE))
    return gantry_throw (error, GANTRY_ERROR_NOT_FOUND,
                         "the shim %s is not there; install it or set Shim=", shim);
  if (!gantry_host_get_config_boolean (host, "Checkpointable", FALSE, &checkpointable, error))
    return FALSE;
  self = shim_runtime_new (host, shim, TRUE, error);
  if (self == NULL)
    return FALSE;
  oci_runtime = gantry_host_get_config_string (host, "Runtime", "runc");
  /* Looked for once, not for every call; while it is not installed, by its name. */
  self->oci_runtime = g_find_program_in_path (oci_runtime);
  if (self->oci_runtime == NULL)
    self->oci_runtime = g_strdup (oci_runtime);
  self->checkpointable = checkpointable;
  if (!shim_runtime_recover (self, error))
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
static const char *const config_keys[] = { "Shim", "Runtime", "Checkpointable", "ClientAddresses", NULL };
static const char *config_defaults[]
    = { "Runtime=runc", "Checkpointable=no", "ClientAddresses=", NULL /* Shim= */, NULL };

static const GantryPluginDesc desc = {
  .size = sizeof (GantryPluginDesc),
  .abi_major = GANTRY_ABI_MAJOR,
  .name = GANTRY_PLUGIN_NAME,
  .version = GANTRY_VERSION,
  .license = "LGPL-2.1-or-later",
  .description = "Tasks by an OCI runtime, each held by a small shim",
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
  if (config_defaults[3] == NULL)
    {
      g_autofree char *shim = find_shim ();

      config_defaults[3] = g_strconcat ("Shim=", shim, NULL);
    }
  return &desc;
}
