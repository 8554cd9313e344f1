/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Isolate=process: the plugin runs in gantry-plugin-host, and a proxy, which starts that program, stands in
 * its place. The proxy has the plugin's name, id and rank, and none of its needs: those are served in the
 * other process, by plugins of its own.
 */
#include "core.h"

#include <string.h>

static const struct
{
  const char *type;
  const char *proxy;
  gboolean serves_content; /* the proxy does, to the plugin: what its callers give it */
} proxies[] = {
  { "org.gantry.content.v1", "content-proxy", FALSE },
  { "org.gantry.differ.v1", "differ-proxy", TRUE },
  { "org.gantry.snapshotter.v1", "snapshotter-proxy", FALSE },
};

/* Returns: G_N_ELEMENTS (proxies): there is none. */
static gsize
find_proxy (Manifest *manifest)
{
  gsize i = 0;

  if (manifest->provides[1] != NULL)
    return G_N_ELEMENTS (proxies);
  while (i < G_N_ELEMENTS (proxies) && strcmp (proxies[i].type, manifest->provides[0]) != 0)
    i++;
  return i;
}

/* Beside this program, as installed, or where the build tree has it. */
static char *
find_host (GError **error)
{
  g_autofree char *self = g_file_read_link ("/proc/self/exe", error);
  g_autofree char *dir = NULL;
  const char *const places[] = { "gantry-plugin-host", "../host/gantry-plugin-host" };

  if (self == NULL)
    return NULL;
  dir = g_path_get_dirname (self);
  for (gsize i = 0; i < G_N_ELEMENTS (places); i++)
    {
      g_autofree char *path = g_build_filename (dir, places[i], NULL);

      if (g_file_test (path, G_FILE_TEST_IS_EXECUTABLE))
        return g_canonicalize_filename (path, NULL);
    }
  gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "gantry-plugin-host is not beside %s", self);
  return NULL;
}

static void
add_word (GString *command, const char *option, const char *value)
{
  g_autofree char *quoted = g_shell_quote (value);

  if (option != NULL)
    g_string_append_printf (command, " %s", option);
  g_string_append_printf (command, "%s%s", command->len > 0 ? " " : "", quoted);
}

static char *
make_command (Core *core, Manifest *manifest, const char *host, const char *address, const char *content)
{
  g_autofree char *root = g_build_filename (core->options->root, "isolated", manifest->name, NULL);
  g_autofree char *state = g_build_filename (core->options->state, "isolated", manifest->name, NULL);
  GString *command = g_string_new (NULL);

  add_word (command, NULL, host);
  g_string_append (command, " --with-parent");
  add_word (command, "--plugin", manifest->name);
  add_word (command, "--address", address);
  if (content != NULL)
    add_word (command, "--content", content);
  add_word (command, "--root", root);
  add_word (command, "--state", state);
  for (gsize i = 0; core->options->plugins_dirs[i] != NULL; i++)
    add_word (command, "--plugins-dir", core->options->plugins_dirs[i]);
  for (gsize i = 0; core->options->overrides != NULL && core->options->overrides[i] != NULL; i++)
    add_word (command, "--set", core->options->overrides[i]);
  return g_string_free (command, FALSE);
}

/* Module=/dir/x.so becomes /dir/<proxy>.so, and a name becomes a name. */
static char *
module_beside (const char *module, const char *proxy)
{
  g_autofree char *dir = NULL;

  if (!g_path_is_absolute (module))
    return g_strdup (proxy);
  dir = g_path_get_dirname (module);
  return g_strdup_printf ("%s/%s.so", dir, proxy);
}

gboolean
isolate_plugin (Core *core, Manifest *manifest, GError **error)
{
  gsize proxy = find_proxy (manifest);
  g_autofree char *host = NULL;
  g_autofree char *address = NULL;
  g_autofree char *content = NULL;
  g_autofree char *command = NULL;
  char *module;

  if (proxy == G_N_ELEMENTS (proxies))
    return gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED,
                         "%s: Isolate=process is there for snapshotters, content stores and differs, and for "
                         "one interface alone",
                         manifest->path);
  host = find_host (error);
  if (host == NULL)
    {
      g_prefix_error (error, "%s: Isolate=process: ", manifest->path);
      return FALSE;
    }
  address = g_strdup_printf ("%s/isolated/%s.sock", core->options->state, manifest->name);
  if (proxies[proxy].serves_content)
    content = g_strdup_printf ("%s/isolated/%s.content.sock", core->options->state, manifest->name);
  command = make_command (core, manifest, host, address, content);
  module = module_beside (manifest->module, proxies[proxy].proxy);
  g_free (manifest->module);
  manifest->module = module;
  g_ptr_array_set_size (manifest->needs, 0);
  g_ptr_array_set_size (manifest->config, 0);
  manifest_set_config (manifest, "Address", address, "Isolate=process");
  manifest_set_config (manifest, "Exec", command, "Isolate=process");
  if (content != NULL)
    manifest_set_config (manifest, "ContentAddress", content, "Isolate=process");
  return TRUE;
}
