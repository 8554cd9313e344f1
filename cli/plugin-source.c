/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Plugins as a running daemon tells of them, or as the files alone do: then gantryd --inspect reads them,
 * which opens modules in a child of its own. */
#include "plugin.h"

#include <string.h>
#include <unistd.h>

void
plugin_source_clear (PluginSource *self)
{
  g_clear_pointer (&self->dirs, g_strfreev);
}

const char *
plugin_get (JsonObject *object, const char *name)
{
  return json_object_get_string_member_with_default (object, name, "");
}

JsonArray *
plugin_get_array (JsonObject *object, const char *name)
{
  static JsonArray *empty;

  if (json_object_has_member (object, name))
    return json_object_get_array_member (object, name);
  if (empty == NULL)
    empty = json_array_new ();
  return empty;
}

static void
add_option (GPtrArray *argv, const char *option, const char *value)
{
  if (value == NULL)
    return;
  g_ptr_array_add (argv, (gpointer)option);
  g_ptr_array_add (argv, (gpointer)value);
}

/* What gantryd prints for @what. Returns: (transfer full), or NULL after a message. */
static JsonNode *
ask_files (const char *what, char **dirs)
{
  g_autofree char *manifests = NULL, *output = NULL, *errors = NULL;
  g_autofree char *daemon = cli_find_daemon (&manifests);
  g_autoptr (GPtrArray) argv = g_ptr_array_new ();
  g_autoptr (GError) error = NULL;
  JsonNode *node;
  int status;

  g_ptr_array_add (argv, daemon);
  add_option (argv, "--inspect", what);
  for (gsize i = 0; dirs != NULL && dirs[i] != NULL; i++)
    add_option (argv, "--plugins-dir", dirs[i]);
  if (dirs == NULL)
    add_option (argv, "--plugins-dir", manifests);
  add_option (argv, "--root", g_getenv ("GANTRY_ROOT"));
  add_option (argv, "--state", g_getenv ("GANTRY_STATE"));
  g_ptr_array_add (argv, NULL);
  if (!g_spawn_sync (NULL, (char **)argv->pdata, NULL, G_SPAWN_CLOEXEC_PIPES, NULL, NULL, &output, &errors,
                     &status, &error))
    {
      cli_fail ("%s", error->message);
      return NULL;
    }
  if (!g_spawn_check_wait_status (status, NULL))
    {
      const char *message = g_str_has_prefix (errors, "gantryd: ") ? errors + strlen ("gantryd: ") : errors;

      cli_fail ("%s", message[0] != '\0' ? g_strchomp ((char *)message) : "gantryd --inspect failed");
      return NULL;
    }
  g_printerr ("%s", errors); /* its warnings */
  node = json_from_string (output, &error);
  if (node == NULL)
    cli_fail ("%s said what is no JSON: %s", daemon, error->message);
  return node;
}

/* The daemon that is to be asked, or NULL: then *@ret_node is what the files say of @what, or NULL after a
 * message. */
static GantryClient *
ask (PluginSource *source, const char *what, JsonNode **ret_node)
{
  GantryClient *client = NULL;

  if (!source->offline && source->dirs == NULL)
    {
      client = cli_running_client ();
      if (client == NULL && cli.address != NULL)
        return NULL;
      if (client == NULL)
        {
          if (!source->offline)
            g_printerr ("gantry: no daemon runs; this is what the files say\n");
          source->offline = TRUE; /* also for what is asked next */
        }
    }
  if (client == NULL)
    *ret_node = ask_files (what, source->dirs);
  return client;
}

static JsonNode *
take_answer (GVariant *answer, GError *error)
{
  g_autoptr (GVariant) held = answer;

  if (held != NULL)
    return json_gvariant_serialize (held);
  cli_fail_error (error);
  return NULL;
}

JsonNode *
plugin_load_all (PluginSource *source)
{
  JsonNode *node = NULL;
  GantryClient *client = ask (source, "plugins", &node);
  GError *error = NULL;
  GVariant *plugins;

  if (client == NULL)
    return node;
  plugins = gantry_client_list_plugins (client, NULL, &error);
  return take_answer (plugins, error);
}

JsonNode *
plugin_load_settings (PluginSource *source)
{
  JsonNode *node = NULL;
  GantryClient *client = ask (source, "config", &node);
  GError *error = NULL;
  GVariant *settings;

  if (client == NULL)
    return node;
  settings = gantry_client_get_config (client, NULL, &error);
  return take_answer (settings, error);
}

JsonNode *
plugin_load_trace (PluginSource *source)
{
  JsonNode *node = NULL;
  GantryClient *client = ask (source, "trace", &node);
  g_auto (GStrv) lines = NULL;
  GError *error = NULL;

  if (client == NULL)
    return node;
  lines = gantry_client_get_trace (client, NULL, &error);
  return take_answer (lines != NULL ? g_variant_ref_sink (g_variant_new_strv ((const char *const *)lines, -1))
                                    : NULL,
                      error);
}

JsonObject *
plugin_find (JsonArray *plugins, const char *name)
{
  for (guint i = 0; i < json_array_get_length (plugins); i++)
    if (strcmp (plugin_get (json_array_get_object_element (plugins, i), "name"), name) == 0)
      return json_array_get_object_element (plugins, i);
  return NULL;
}

JsonObject *
plugin_need (JsonArray *plugins, const char *name)
{
  JsonObject *found = plugin_find (plugins, name);
  g_autoptr (GString) near = g_string_new (NULL);

  if (found != NULL)
    return found;
  /* "overlay" or "snapshotter" instead of "snapshotter-overlay". */
  for (guint i = 0; name[0] != '\0' && i < json_array_get_length (plugins); i++)
    {
      const char *other = plugin_get (json_array_get_object_element (plugins, i), "name");

      if (strstr (other, name) != NULL)
        g_string_append_printf (near, "%s%s", near->len > 0 ? ", " : "", other);
    }
  if (near->len > 0)
    cli_fail ("there is no plugin %s, but %s", name, near->str);
  else
    cli_fail ("there is no plugin %s; see gantry plugin list", name);
  return NULL;
}

gboolean
plugin_uses (JsonObject *plugin, const char *provider, JsonObject **ret_need)
{
  JsonArray *needs = plugin_get_array (plugin, "needs");

  for (guint i = 0; i < json_array_get_length (needs); i++)
    {
      JsonObject *need = json_array_get_object_element (needs, i);
      JsonArray *providers = plugin_get_array (need, "providers");

      for (guint j = 0; j < json_array_get_length (providers); j++)
        if (strcmp (json_array_get_string_element (providers, j), provider) == 0)
          {
            if (ret_need != NULL)
              *ret_need = need;
            return TRUE;
          }
    }
  return FALSE;
}

char *
plugin_paint (const char *state)
{
  const char *colour = strcmp (state, "ok") == 0        ? "32"
                       : strcmp (state, "failed") == 0  ? "1;31"
                       : strcmp (state, "skipped") == 0 ? "33"
                                                        : "0";

  if (!isatty (STDOUT_FILENO) || g_getenv ("NO_COLOR") != NULL)
    return g_strdup (state);
  return g_strdup_printf ("\033[%sm%s\033[0m", colour, state);
}
