/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gantry plugin: what the daemon is made of. */
#include "plugin.h"

#include <string.h>
#include <unistd.h>

static int
get_int (JsonObject *object, const char *name)
{
  return (int)json_object_get_int_member_with_default (object, name, 0);
}

/* Whether @plugin provides @type, which may be its noun alone. */
static gboolean
provides (JsonObject *plugin, const char *type)
{
  JsonArray *types = plugin_get_array (plugin, "types");
  g_autofree char *word = g_strdup_printf (".%s.", type);

  for (guint i = 0; i < json_array_get_length (types); i++)
    if (strcmp (json_array_get_string_element (types, i), type) == 0
        || strstr (json_array_get_string_element (types, i), word) != NULL)
      return TRUE;
  return FALSE;
}

/* A reason on one line: the first one of what went wrong, of what it says of itself. */
static char *
one_line (JsonObject *plugin)
{
  const char *reason = plugin_get (plugin, "reason");
  char *text = g_strdup (reason[0] != '\0' ? reason : plugin_get (plugin, "status"));

  return g_strdelimit (text, "\n\r\t", ' ');
}

static void
add_plugin_row (GPtrArray *rows, JsonObject *plugin)
{
  g_autofree char *reason = one_line (plugin);
  g_autofree char *abi = get_int (plugin, "abi") == 0 ? g_strdup ("-")
                                                      : g_strdup_printf ("%d of %d", get_int (plugin, "abi"),
                                                                         get_int (plugin, "needs-abi"));
  g_autofree char *init = get_int (plugin, "attempts") == 0
                              ? g_strdup ("-")
                              : g_strdup_printf ("%.1f ms", (double)get_int (plugin, "init-time-us") / 1000);
  const char *version = plugin_get (plugin, "version"), *file = plugin_get (plugin, "file");

  cli_add_row (rows, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s", plugin_get (plugin, "name"),
               plugin_get (plugin, "type"), plugin_get (plugin, "id"), version[0] != '\0' ? version : "-",
               abi, plugin_get (plugin, "state"), init, file[0] != '\0' ? file : "-", reason);
}

/* "12 plugins: 10 ok, 1 skipped, 1 failed", for a person. */
static void
print_summary (JsonArray *plugins)
{
  static const char *const states[] = { "ok", "pending", "starting", "skipped", "failed" };
  g_autoptr (GString) text = g_string_new (NULL);

  for (gsize i = 0; i < G_N_ELEMENTS (states); i++)
    {
      guint n = 0;

      for (guint j = 0; j < json_array_get_length (plugins); j++)
        n += strcmp (plugin_get (json_array_get_object_element (plugins, j), "state"), states[i]) == 0;
      if (n > 0)
        {
          g_autofree char *painted = plugin_paint (states[i]);

          g_string_append_printf (text, "%s%u %s", text->len > 0 ? ", " : "", n, painted);
        }
    }
  g_print ("\n%u plugins: %s. `gantry plugin inspect NAME` tells all of one.\n",
           json_array_get_length (plugins), text->str);
}

static int
plugin_list (int argc, char **argv)
{
  g_auto (PluginSource) source = { FALSE, NULL };
  g_autofree char *state = NULL, *type = NULL;
  const GOptionEntry entries[]
      = { PLUGIN_SOURCE_ENTRIES (source),
          { "state", 0, 0, G_OPTION_ARG_STRING, &state, "Only those that are: ok, skipped, failed, pending",
            "STATE" },
          { "type", 0, 0, G_OPTION_ARG_STRING, &type, "Only those that provide this: content", "TYPE" },
          { NULL } };
  g_autoptr (GPtrArray) rows = cli_new_table ();
  g_autoptr (JsonNode) node = NULL;
  g_autoptr (JsonNode) filtered = json_node_new (JSON_NODE_ARRAY);
  JsonArray *shown = json_array_new ();

  json_node_take_array (filtered, shown);
  if (!cli_parse (&argc, &argv, "plugin list", "",
                  "Lists plugins: type, id, version, ABI it has and the daemon needs, state, time of its "
                  "init, file, reason.\n"
                  "Without a daemon it reads the files.\n\n  gantry plugin list --state failed",
                  entries, FALSE))
    return CLI_USAGE;
  if (argc > 1)
    return cli_usage ("plugin list", "list takes no arguments");
  node = plugin_load_all (&source);
  if (node == NULL)
    return 1;
  cli_add_row (rows, "PLUGIN\tTYPE\tID\tVERSION\tABI\tSTATE\tINIT\tFILE\tREASON");
  for (guint i = 0; i < json_array_get_length (json_node_get_array (node)); i++)
    {
      JsonObject *one = json_array_get_object_element (json_node_get_array (node), i);

      if ((state != NULL && strcmp (plugin_get (one, "state"), state) != 0)
          || (type != NULL && !provides (one, type)))
        continue;
      json_array_add_object_element (shown, json_object_ref (one));
      add_plugin_row (rows, one);
    }
  if (cli.json)
    cli_print_node (filtered);
  else
    cli_print_table (rows);
  if (!cli.json && isatty (STDOUT_FILENO))
    print_summary (shown);
  return 0;
}

static char *
join_strings (JsonArray *array)
{
  g_autoptr (GString) text = g_string_new (NULL);

  for (guint i = 0; i < json_array_get_length (array); i++)
    g_string_append_printf (text, "%s%s", i > 0 ? ", " : "", json_array_get_string_element (array, i));
  return g_string_free (g_steal_pointer (&text), FALSE);
}

static void
print_interfaces (JsonArray *interfaces)
{
  g_print ("provides\n");
  for (guint i = 0; i < json_array_get_length (interfaces); i++)
    {
      JsonObject *one = json_array_get_object_element (interfaces, i);
      int size = get_int (one, "size");

      if (size > 0)
        g_print ("  %s  (a vtable of %d bytes)\n", plugin_get (one, "type"), size);
      else
        g_print ("  %s\n", plugin_get (one, "type"));
    }
}

static void
print_needs (JsonArray *needs)
{
  g_print ("needs\n");
  for (guint i = 0; i < json_array_get_length (needs); i++)
    {
      JsonObject *need = json_array_get_object_element (needs, i);
      g_autofree char *providers = join_strings (plugin_get_array (need, "providers"));
      const char *id = plugin_get (need, "id");

      g_print ("  %s%s%s (%s): %s\n", plugin_get (need, "type"), id[0] != '\0' ? ":" : "", id,
               plugin_get (need, "kind"), providers[0] != '\0' ? providers : "nobody");
    }
}

static void
print_users (JsonArray *plugins, const char *name)
{
  g_print ("serves\n");
  for (guint i = 0; i < json_array_get_length (plugins); i++)
    {
      JsonObject *one = json_array_get_object_element (plugins, i), *need;

      if (plugin_uses (one, name, &need))
        g_print ("  %s: %s (%s)\n", plugin_get (one, "name"), plugin_get (need, "type"),
                 plugin_get (need, "kind"));
    }
}

static void
print_config (JsonArray *config)
{
  g_print ("config\n");
  for (guint i = 0; i < json_array_get_length (config); i++)
    {
      JsonObject *setting = json_array_get_object_element (config, i);
      gboolean known = json_object_get_boolean_member_with_default (setting, "known", TRUE);

      g_print ("  %s=%s  (%s%s)\n", plugin_get (setting, "key"), plugin_get (setting, "value"),
               plugin_get (setting, "origin"), known ? "" : "; unknown to the module");
    }
}

static void
print_plugin (JsonArray *plugins, JsonObject *one)
{
  static const char *const plain[]
      = { "description", "id", "version", "license", "file", "build-id", "manifest", "on-failure" };
  static const char *const troubles[] = { "reason", "status", "last-error" };
  g_autofree char *state = plugin_paint (plugin_get (one, "state"));

  g_print ("%s\n", plugin_get (one, "name"));
  for (gsize i = 0; i < G_N_ELEMENTS (plain); i++)
    if (plugin_get (one, plain[i])[0] != '\0')
      g_print ("  %-12s %s\n", plain[i], plugin_get (one, plain[i]));
  g_print ("  %-12s %d\n", "rank", get_int (one, "rank"));
  if (get_int (one, "abi") != 0)
    g_print ("  %-12s %d, the daemon has %d\n", "abi", get_int (one, "abi"), get_int (one, "needs-abi"));
  g_print ("  %-12s %s\n", "state", state);
  for (gsize i = 0; i < G_N_ELEMENTS (troubles); i++)
    if (plugin_get (one, troubles[i])[0] != '\0'
        && (i == 0 || strcmp (plugin_get (one, troubles[i]), plugin_get (one, "reason")) != 0))
      g_print ("  %-12s %s\n", troubles[i], plugin_get (one, troubles[i]));
  if (get_int (one, "attempts") > 0)
    g_print ("  %-12s %.1f ms, %d time%s\n", "init", (double)get_int (one, "init-time-us") / 1000,
             get_int (one, "attempts"), get_int (one, "attempts") == 1 ? "" : "s");
  print_interfaces (plugin_get_array (one, "interfaces"));
  print_needs (plugin_get_array (one, "needs"));
  print_users (plugins, plugin_get (one, "name"));
  print_config (plugin_get_array (one, "config"));
}

static int
plugin_inspect (int argc, char **argv)
{
  g_auto (PluginSource) source = { FALSE, NULL };
  const GOptionEntry entries[] = { PLUGIN_SOURCE_ENTRIES (source), { NULL } };
  g_autoptr (JsonNode) node = NULL;
  JsonObject *one;

  if (!cli_parse (&argc, &argv, "plugin inspect", "NAME",
                  "Shows a plugin: its interfaces, its needs and who serves them, whom it serves, and its "
                  "configuration with the file\n"
                  "and line of each value.",
                  entries, FALSE))
    return CLI_USAGE;
  if (argc != 2)
    return cli_usage ("plugin inspect", "inspect needs a plugin");
  node = plugin_load_all (&source);
  one = node != NULL ? plugin_need (json_node_get_array (node), argv[1]) : NULL;
  if (one == NULL)
    return 1;
  if (cli.json)
    {
      g_autoptr (JsonNode) alone = json_node_new (JSON_NODE_OBJECT);

      json_node_set_object (alone, one);
      cli_print_node (alone);
    }
  else
    print_plugin (json_node_get_array (node), one);
  return 0;
}

int
cli_plugin (int argc, char **argv)
{
  static const CliVerb verbs[] = {
    { "list", plugin_list, "List plugins and how they are" },
    { "inspect", plugin_inspect, "Show one: interfaces, needs, configuration" },
    { "graph", plugin_graph, "Who needs whom; what stops if one goes" },
    { "check", plugin_check, "Check manifests and modules: an author's test bench" },
    { "trace", plugin_trace, "Why each was taken or refused" },
  };

  return cli_dispatch ("plugin", "Shows what the daemon is made of.", verbs, G_N_ELEMENTS (verbs), argc,
                       argv);
}
