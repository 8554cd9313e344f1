/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Opening modules, and holding the descriptor against the manifest. */
#include "core.h"
#include "module-file.h"

#include <string.h>

typedef const GantryPluginDesc *(*GetDesc) (void);

static gboolean
is_set (const char *text)
{
  return text != NULL && text[0] != '\0';
}

gboolean
loader_check_desc (const GantryPluginDesc *desc, const char *file, GError **error)
{
  const char *missing;

  if (desc == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "%s: gantry_plugin_get_desc () returned NULL",
                         file);
  if (desc->size < GANTRY_SIZE_UP_TO (GantryPluginDesc, fini))
    return gantry_throw (
        error, GANTRY_ERROR_INVALID_ARGUMENT,
        "%s: its descriptor has %zu bytes, fewer than the %zu that ABI %d begins with; rebuild it", file,
        desc->size, GANTRY_SIZE_UP_TO (GantryPluginDesc, fini), GANTRY_ABI_MAJOR);
  if (desc->abi_major != GANTRY_ABI_MAJOR)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                         "%s was built for ABI %u, this gantryd has ABI %d; rebuild it", file,
                         desc->abi_major, GANTRY_ABI_MAJOR);
  missing = !is_set (desc->name)                                  ? "name"
            : !is_set (desc->version)                             ? "version"
            : !is_set (desc->license)                             ? "license"
            : !is_set (desc->description)                         ? "description"
            : desc->provides == NULL || desc->provides[0] == NULL ? "provides"
            : desc->init == NULL                                  ? "init"
            : desc->get == NULL                                   ? "get"
            : desc->fini == NULL                                  ? "fini"
                                                                  : NULL;
  return missing == NULL
         || gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "%s: its descriptor has no %s", file,
                          missing);
}

static gboolean
check_provides (Plugin *plugin, GError **error)
{
  Manifest *manifest = plugin->manifest;
  const GantryProvide *const *provides = plugin->desc->provides;
  guint n = 0;

  for (; provides[n] != NULL; n++)
    if (!plugin_provides (plugin, provides[n]->type))
      return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                           "%s does not say that %s provides %s; add it to Provides=", manifest->path,
                           plugin->file, provides[n]->type);
  for (gsize i = 0; manifest->provides[i] != NULL; i++)
    {
      gboolean found = FALSE;

      for (guint j = 0; j < n; j++)
        found |= strcmp (provides[j]->type, manifest->provides[i]) == 0;
      if (!found)
        return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                             "%s says that %s provides %s, but its descriptor does not", manifest->path,
                             plugin->file, manifest->provides[i]);
    }
  return TRUE;
}

static gboolean
check_needs (Plugin *plugin, GError **error)
{
  Manifest *manifest = plugin->manifest;
  const GantryNeed *const *needs = plugin->desc->needs;
  guint n = 0;

  for (; needs != NULL && needs[n] != NULL; n++)
    {
      gboolean found = FALSE;

      for (guint i = 0; i < manifest->needs->len; i++)
        {
          ManifestNeed *declared = g_ptr_array_index (manifest->needs, i);

          found |= strcmp (declared->type, needs[n]->type) == 0 && declared->kind == needs[n]->kind
                   && (needs[n]->id == NULL || g_strcmp0 (declared->id, needs[n]->id) == 0);
        }
      if (!found)
        return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                             "%s does not say that %s needs %s (%s); add it to Needs=", manifest->path,
                             plugin->file, needs[n]->type, need_kind_to_string (needs[n]->kind));
    }
  for (guint i = 0; i < manifest->needs->len; i++)
    {
      ManifestNeed *declared = g_ptr_array_index (manifest->needs, i);
      gboolean found = FALSE;

      for (guint j = 0; j < n; j++)
        found |= strcmp (declared->type, needs[j]->type) == 0;
      if (!found)
        return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                             "%s says that %s needs %s, but its descriptor does not", manifest->path,
                             plugin->file, declared->type);
    }
  return TRUE;
}

static void
check_config (Plugin *plugin)
{
  if (!GANTRY_HAS (plugin->desc, GantryPluginDesc, config_keys))
    return;
  for (guint i = 0; i < plugin->manifest->config->len; i++)
    {
      Setting *setting = g_ptr_array_index (plugin->manifest->config, i);

      if (!g_strv_contains (plugin->desc->config_keys, setting->key))
        g_ptr_array_add (plugin->core->warnings,
                         g_strdup_printf ("%s: %s does not know the key %s", setting->origin,
                                          plugin->manifest->name, setting->key));
    }
}

static gboolean
has_entry (const ElfFacts *facts)
{
  for (guint i = 0; i < facts->symbols->len; i++)
    if (strcmp (g_ptr_array_index (facts->symbols, i), "gantry_plugin_get_desc") == 0)
      return TRUE;
  return FALSE;
}

gboolean
loader_open (Plugin *plugin, const char *plugindir, GError **error)
{
  g_autoptr (ElfFacts) facts = NULL;
  GModule *module;
  gpointer symbol;
  guint n = 0;

  plugin->file = manifest_resolve_module (plugin->manifest, plugindir, error);
  if (plugin->file == NULL)
    return FALSE;
  facts = elf_read (plugin->file, error);
  if (facts == NULL)
    return FALSE;
  /* What is no module is not opened: its constructors would run. */
  if (!has_entry (facts))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "%s is no Gantry module: it has no symbol gantry_plugin_get_desc", plugin->file);
  module = g_module_open (plugin->file, G_MODULE_BIND_LOCAL);
  if (module == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "opening module %s: %s", plugin->file,
                         g_module_error ());
  /* GTypes and quarks of a module can't be unloaded. */
  g_module_make_resident (module);
  if (!g_module_symbol (module, "gantry_plugin_get_desc", &symbol))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "opening module %s: %s", plugin->file,
                         g_module_error ());
  plugin->desc = ((GetDesc)symbol) ();
  if (!loader_check_desc (plugin->desc, plugin->file, error) || !check_provides (plugin, error)
      || !check_needs (plugin, error))
    {
      plugin->desc = NULL;
      return FALSE;
    }
  check_config (plugin);
  while (plugin->desc->needs != NULL && plugin->desc->needs[n] != NULL)
    n++;
  plugin->providers = g_new0 (Plugin *, n + 1);
  return TRUE;
}
