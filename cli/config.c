/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gantry config: the daemon's settings and its plugins'. */
#include "plugin.h"

#include <string.h>

typedef struct
{
  gboolean effective;
  gboolean origin;
} Shown;

static gboolean
is_default (JsonObject *setting)
{
  const char *origin = plugin_get (setting, "origin");

  return strcmp (origin, "default") == 0 || strcmp (origin, "built in") == 0;
}

/* The settings of a section that are to be shown. Returns: (transfer full). */
static JsonArray *
choose (JsonArray *settings, const Shown *shown)
{
  JsonArray *chosen = json_array_new ();

  for (guint i = 0; i < json_array_get_length (settings); i++)
    if (shown->effective || !is_default (json_array_get_object_element (settings, i)))
      json_array_add_object_element (chosen, json_object_ref (json_array_get_object_element (settings, i)));
  return chosen;
}

/* As a key file: what nobody has set is a comment, as in the manifests that are shipped. */
static void
print_section (const char *name, JsonArray *settings, const Shown *shown)
{
  if (json_array_get_length (settings) > 0)
    g_print ("[%s]\n", name);
  for (guint i = 0; i < json_array_get_length (settings); i++)
    {
      JsonObject *setting = json_array_get_object_element (settings, i);

      g_print ("%s%s=%s", strcmp (plugin_get (setting, "origin"), "default") == 0 ? "#" : "",
               plugin_get (setting, "key"), plugin_get (setting, "value"));
      if (shown->origin)
        g_print ("  # %s", plugin_get (setting, "origin"));
      g_print ("\n");
    }
  if (json_array_get_length (settings) > 0)
    g_print ("\n");
}

static void
show_section (JsonObject *all, const char *name, JsonArray *settings, const Shown *shown)
{
  g_autoptr (JsonArray) chosen = choose (settings, shown);

  if (cli.json)
    json_object_set_array_member (all, name, g_steal_pointer (&chosen));
  else
    print_section (name, chosen, shown);
}

static int
config_show (int argc, char **argv)
{
  g_auto (PluginSource) source = { FALSE, NULL };
  Shown shown = { FALSE, FALSE };
  const GOptionEntry entries[]
      = { PLUGIN_SOURCE_ENTRIES (source),
          { "effective", 0, 0, G_OPTION_ARG_NONE, &shown.effective,
            "Also what is built in, and keys that nobody has set", NULL },
          { "origin", 0, 0, G_OPTION_ARG_NONE, &shown.origin, "Also the file and line of each", NULL },
          { NULL } };
  g_autoptr (JsonNode) settings = NULL, plugins = NULL, node = json_node_new (JSON_NODE_OBJECT);
  JsonObject *all = json_object_new ();

  json_node_take_object (node, all);
  if (!cli_parse (
          &argc, &argv, "config show", "[PLUGIN]",
          "Shows the daemon's settings and its plugins'.\n\n  gantry config show --effective --origin",
          entries, FALSE))
    return CLI_USAGE;
  if (argc > 2)
    return cli_usage ("config show", "show takes one plugin, or none");
  settings = plugin_load_settings (&source);
  plugins = settings != NULL ? plugin_load_all (&source) : NULL;
  if (plugins == NULL || (argc == 2 && plugin_need (json_node_get_array (plugins), argv[1]) == NULL))
    return 1;
  if (argc == 1)
    show_section (all, "Daemon", json_node_get_array (settings), &shown);
  for (guint i = 0; i < json_array_get_length (json_node_get_array (plugins)); i++)
    {
      JsonObject *one = json_array_get_object_element (json_node_get_array (plugins), i);

      if (argc == 1 || strcmp (argv[1], plugin_get (one, "name")) == 0)
        show_section (all, plugin_get (one, "name"), plugin_get_array (one, "config"), &shown);
    }
  if (cli.json)
    cli_print_node (node);
  return 0;
}

int
cli_config (int argc, char **argv)
{
  static const CliVerb verbs[]
      = { { "show", config_show, "Show settings, their origin and what is effective" } };

  return cli_dispatch ("config", "Shows configuration.", verbs, G_N_ELEMENTS (verbs), argc, argv);
}
