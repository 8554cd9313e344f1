/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dlfcn.h>
#include <unistd.h>

#include "differ.h"

static const GantryProvide provide_differ = { sizeof provide_differ, GANTRY_DIFFER_TYPE };
static const GantryProvide *const provides[] = { &provide_differ, NULL };
static const char *const config_keys[] = {
  "Worker",     "MaxEntries", "MaxBytes",  "MaxPath",       "MaxDepth",
  "MaxDevices", "MaxXattrs",  "MaxMemory", "MaxCpuSeconds", NULL,
};
/* Filled in by gantry_plugin_get_desc (). */
static const char *config_defaults[G_N_ELEMENTS (config_keys)];

/* In the build tree the worker lies next to the module, in a folder of the module's name. */
static char *
find_worker (void)
{
  g_autofree char *directory = NULL;
  g_autofree char *beside = NULL;
  Dl_info info;

  if (dladdr (provides, &info) != 0 && info.dli_fname != NULL)
    {
      directory = g_path_get_dirname (info.dli_fname);
      beside = g_build_filename (directory, GANTRY_PLUGIN_NAME, "gantry-unpack", NULL);
      if (access (beside, X_OK) == 0)
        return g_steal_pointer (&beside);
    }
  return g_strdup (GANTRY_LIBEXECDIR "/gantry-unpack");
}

static gboolean
differ_archive_init (const GantryHost *host, gpointer *ret_instance, GError **error)
{
  UnpackLimits limits = UNPACK_LIMITS_INIT;
  g_autofree char *found = find_worker ();
  const char *worker = gantry_host_get_config_string (host, "Worker", found);

  for (const UnpackLimitName *entry = unpack_limit_names; entry->name != NULL; entry++)
    {
      guint64 *value = &UNPACK_LIMIT (&limits, entry);

      if (!gantry_host_get_config_uint64 (host, entry->name, *value, entry->min, entry->max, value, error))
        return FALSE;
    }
  if (access (worker, X_OK) < 0)
    return gantry_throw_errno (error, errno, "the unpack worker %s can't be run; set Worker to where it is",
                               worker);
  *ret_instance = differ_archive_new (worker, &limits, gantry_host_get_main_context (host));
  return TRUE;
}

static gpointer
differ_archive_get (gpointer instance, const char *type)
{
  return instance;
}

static void
differ_archive_fini (gpointer instance)
{
  differ_archive_free (instance);
}

static const GantryPluginDesc desc = {
  .size = sizeof desc,
  .abi_major = GANTRY_ABI_MAJOR,
  .name = GANTRY_PLUGIN_NAME,
  .version = GANTRY_VERSION,
  .license = "LGPL-2.1-or-later",
  .description = "Unpacks and makes tar layers, in a sandboxed process",
  .provides = provides,
  .needs = NULL,
  .init = differ_archive_init,
  .get = differ_archive_get,
  .fini = differ_archive_fini,
  .config_keys = config_keys,
  .config_defaults = config_defaults,
};

static void
fill_in_defaults (void)
{
  UnpackLimits limits = UNPACK_LIMITS_INIT;
  g_autofree char *worker = find_worker ();
  gsize n = 0;

  config_defaults[n++] = g_strconcat ("Worker=", worker, NULL);
  for (const UnpackLimitName *entry = unpack_limit_names; entry->name != NULL; entry++)
    config_defaults[n++]
        = g_strdup_printf ("%s=%" G_GUINT64_FORMAT, entry->name, UNPACK_LIMIT (&limits, entry));
  g_assert (n < G_N_ELEMENTS (config_defaults));
}

const GantryPluginDesc *
gantry_plugin_get_desc (void)
{
  if (config_defaults[0] == NULL)
    fill_in_defaults ();
  return &desc;
}
