/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gantry plugin: what the daemon is made of, asked of a running one, or with --offline read from the files alone. */
#include "cli.h"

#include <string.h>

static const char *
member (JsonObject *object, const char *name)
{
  return json_object_get_string_member_with_default (object, name, "");
}

/* What gantryd prints for @argument. Returns: (transfer full), or NULL after a message. */
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
  g_ptr_array_add (argv, (gpointer) "--inspect");
  g_ptr_array_add (argv, (gpointer) what);
  for (gsize i = 0; dirs != NULL && dirs[i] != NULL; i++)
    {
      g_ptr_array_add (argv, (gpointer) "--plugins-dir");
      g_ptr_array_add (argv, dirs[i]);
    }
  if (dirs == NULL && manifests != NULL)
    {
      g_ptr_array_add (argv, (gpointer) "--plugins-dir");
      g_ptr_array_add (argv, manifests);
    }
  g_ptr_array_add (argv, NULL);
  if (!g_spawn_sync (NULL, (char **) argv->pdata, NULL, G_SPAWN_CLOEXEC_PIPES, NULL, NULL, &output, &errors, &status, &error))
    {
      cli_fail ("%s", error->message);
      return NULL;
    }
  if (!g_spawn_check_wait_status (status, NULL))
    {
      cli_fail ("%s", g_strstrip (errors));
      return NULL;
    }
  node = json_from_string (output, &error);
  if (node == NULL)
    cli_fail ("%s said what is no JSON: %s", daemon, error->message);
  return node;
}

typedef struct {
  gboolean offline;
  char **dirs;
} Source;

#define SOURCE_ENTRIES(source)                                                                                      \
  { "offline", 0, 0, G_OPTION_ARG_NONE, &(source).offline, "Read the files; ask no daemon", NULL },                 \
  { "plugins-dir", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &(source).dirs, "Read manifests there (implies --offline)", "DIR" }

/* Every plugin, as an array. Returns: (transfer full), or NULL after a message. */
static JsonNode *
load_plugins (Source *source)
{
  g_autoptr (GVariant) plugins = NULL;
  GError *error = NULL;

  if (source->offline || source->dirs != NULL)
    return ask_files ("plugins", source->dirs);
  if (cli_client () == NULL)
    return NULL;
  plugins = gantry_client_list_plugins (cli_client (), NULL, &error);
  if (plugins == NULL)
    {
      cli_fail_error (error);
      return NULL;
    }
  return json_gvariant_serialize (plugins);
}

static JsonObject *
find_plugin (JsonArray *plugins, const char *name)
{
  for (guint i = 0; i < json_array_get_length (plugins); i++)
    if (strcmp (member (json_array_get_object_element (plugins, i), "name"), name) == 0)
      return json_array_get_object_element (plugins, i);
  return NULL;
}

static int
plugin_list (int argc, char **argv)
{
  Source source = { FALSE, NULL };
  const GOptionEntry entries[] = { SOURCE_ENTRIES (source), { NULL } };
  g_autoptr (GPtrArray) rows = cli_new_table ();
  g_autoptr (JsonNode) node = NULL;
  JsonArray *plugins;

  if (!cli_parse (&argc, &argv, "plugin list", "", "Lists plugins: type, id, version, ABI it has and needs, state, time of its init, reason.", entries,
                  FALSE))
    return CLI_USAGE;
  node = load_plugins (&source);
  g_strfreev (source.dirs);
  if (node == NULL)
    return 1;
  if (cli.json)
    {
      cli_print_node (node);
      return 0;
    }
  plugins = json_node_get_array (node);
  cli_add_row (rows, "PLUGIN\tTYPE\tID\tVERSION\tABI\tSTATE\tINIT\tREASON");
  for (guint i = 0; i < json_array_get_length (plugins); i++)
    {
      JsonObject *one = json_array_get_object_element (plugins, i);
      const char *reason = member (one, "reason")[0] != '\0' ? member (one, "reason") : member (one, "status");

      cli_add_row (rows, "%s\t%s\t%s\t%s\t%d of %d\t%s\t%.1f ms\t%s", member (one, "name"), member (one, "type"), member (one, "id"),
                   member (one, "version"), (int) json_object_get_int_member_with_default (one, "abi", 0),
                   (int) json_object_get_int_member_with_default (one, "needs-abi", 0), member (one, "state"),
                   (double) json_object_get_int_member_with_default (one, "init-time-us", 0) / 1000, reason);
    }
  cli_print_table (rows);
  return 0;
}

static char *
join_strings (JsonArray *array)
{
  g_autoptr (GString) text = g_string_new (NULL);

  for (guint i = 0; array != NULL && i < json_array_get_length (array); i++)
    g_string_append_printf (text, "%s%s", i > 0 ? ", " : "", json_array_get_string_element (array, i));
  return g_string_free (g_steal_pointer (&text), FALSE);
}

static void
print_needs (JsonArray *needs)
{
  for (guint i = 0; needs != NULL && i < json_array_get_length (needs); i++)
    {
      JsonObject *need = json_array_get_object_element (needs, i);
      g_autofree char *providers = join_strings (json_object_get_array_member (need, "providers"));
      const char *id = member (need, "id");

      g_print ("  %s%s%s (%s): %s\n", member (need, "type"), id[0] != '\0' ? ":" : "", id, member (need, "kind"),
               providers[0] != '\0' ? providers : "nobody");
    }
}

static void
print_config (JsonArray *config)
{
  for (guint i = 0; config != NULL && i < json_array_get_length (config); i++)
    {
      JsonObject *setting = json_array_get_object_element (config, i);
      gboolean known = json_object_get_boolean_member_with_default (setting, "known", TRUE);

      g_print ("  %s=%s  (%s%s)\n", member (setting, "key"), member (setting, "value"), member (setting, "origin"),
               known ? "" : "; unknown to the module");
    }
}

static int
plugin_inspect (int argc, char **argv)
{
  static const char *const plain[]
      = { "description", "version", "license", "module", "file", "build-id", "manifest", "on-failure", "state", "reason", "status" };
  Source source = { FALSE, NULL };
  const GOptionEntry entries[] = { SOURCE_ENTRIES (source), { NULL } };
  g_autoptr (JsonNode) node = NULL;
  g_autofree char *types = NULL;
  JsonObject *one;

  if (!cli_parse (&argc, &argv, "plugin inspect", "NAME",
                  "Shows a plugin: its interfaces, its needs and who serves them, its configuration and where each value comes from.",
                  entries, FALSE))
    return CLI_USAGE;
  if (argc != 2)
    return cli_usage ("plugin inspect", "inspect needs a plugin");
  node = load_plugins (&source);
  g_strfreev (source.dirs);
  if (node == NULL)
    return 1;
  one = find_plugin (json_node_get_array (node), argv[1]);
  if (one == NULL)
    return cli_fail ("there is no plugin %s; see gantry plugin list", argv[1]);
  if (cli.json)
    {
      g_autoptr (JsonNode) alone = json_node_new (JSON_NODE_OBJECT);

      json_node_set_object (alone, one);
      cli_print_node (alone);
      return 0;
    }
  types = join_strings (json_object_get_array_member (one, "types"));
  g_print ("%s\n  id           %s\n  provides     %s\n", member (one, "name"), member (one, "id"), types);
  for (gsize i = 0; i < G_N_ELEMENTS (plain); i++)
    if (member (one, plain[i])[0] != '\0')
      g_print ("  %-12s %s\n", plain[i], member (one, plain[i]));
  g_print ("  %-12s %d, the daemon has %d\n", "abi", (int) json_object_get_int_member_with_default (one, "abi", 0),
           (int) json_object_get_int_member_with_default (one, "needs-abi", 0));
  g_print ("  %-12s %d\n  %-12s %.1f ms\n", "rank", (int) json_object_get_int_member_with_default (one, "rank", 0), "init",
           (double) json_object_get_int_member_with_default (one, "init-time-us", 0) / 1000);
  g_print ("needs\n");
  print_needs (json_object_get_array_member (one, "needs"));
  g_print ("config\n");
  print_config (json_object_get_array_member (one, "config"));
  return 0;
}

/* Whether @plugin is served by @provider; with @only_one by a need that it can't do without. */
static gboolean
needs_plugin (JsonObject *plugin, const char *provider, gboolean only_one)
{
  JsonArray *needs = json_object_get_array_member (plugin, "needs");

  for (guint i = 0; needs != NULL && i < json_array_get_length (needs); i++)
    {
      JsonObject *need = json_array_get_object_element (needs, i);
      JsonArray *providers = json_object_get_array_member (need, "providers");

      for (guint j = 0; providers != NULL && j < json_array_get_length (providers); j++)
        if (strcmp (json_array_get_string_element (providers, j), provider) == 0
            && (!only_one || strcmp (member (need, "kind"), "one") == 0))
          return TRUE;
    }
  return FALSE;
}

static void
print_tree (JsonArray *plugins, const char *name, guint depth, GHashTable *shown)
{
  JsonObject *one = find_plugin (plugins, name);
  JsonArray *needs = one != NULL ? json_object_get_array_member (one, "needs") : NULL;
  gboolean again = g_hash_table_contains (shown, name);
  const char *state = one != NULL ? member (one, "state") : "ok";

  g_print ("%*s%s%s%s%s%s\n", (int) depth * 2, "", name, strcmp (state, "ok") != 0 && strcmp (state, "pending") != 0 ? " (" : "",
           strcmp (state, "ok") != 0 && strcmp (state, "pending") != 0 ? state : "",
           strcmp (state, "ok") != 0 && strcmp (state, "pending") != 0 ? ")" : "",
           again && needs != NULL && json_array_get_length (needs) > 0 ? " …" : "");
  if (again)
    return;
  g_hash_table_add (shown, g_strdup (name));
  for (guint i = 0; needs != NULL && i < json_array_get_length (needs); i++)
    {
      JsonObject *need = json_array_get_object_element (needs, i);
      JsonArray *providers = json_object_get_array_member (need, "providers");

      for (guint j = 0; j < json_array_get_length (providers); j++)
        print_tree (plugins, json_array_get_string_element (providers, j), depth + 1, shown);
      if (json_array_get_length (providers) == 0 && strcmp (member (need, "kind"), "one") == 0)
        g_print ("%*s(nobody provides %s)\n", (int) (depth + 1) * 2, "", member (need, "type"));
    }
}

static void
print_forest (JsonArray *plugins)
{
  g_autoptr (GHashTable) shown = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);

  for (guint i = 0; i < json_array_get_length (plugins); i++)
    {
      const char *name = member (json_array_get_object_element (plugins, i), "name");
      gboolean needed = FALSE;

      for (guint j = 0; j < json_array_get_length (plugins) && !needed; j++)
        needed = needs_plugin (json_array_get_object_element (plugins, j), name, FALSE);
      if (!needed)
        print_tree (plugins, name, 0, shown);
    }
}

static void
print_dot (JsonArray *plugins)
{
  g_print ("digraph plugins {\n  rankdir=LR;\n  node [shape=box];\n");
  for (guint i = 0; i < json_array_get_length (plugins); i++)
    {
      JsonObject *one = json_array_get_object_element (plugins, i);
      JsonArray *needs = json_object_get_array_member (one, "needs");

      g_print ("  \"%s\" [label=\"%s\\n%s\"];\n", member (one, "name"), member (one, "name"), member (one, "state"));
      for (guint j = 0; needs != NULL && j < json_array_get_length (needs); j++)
        {
          JsonObject *need = json_array_get_object_element (needs, j);
          JsonArray *providers = json_object_get_array_member (need, "providers");

          for (guint k = 0; k < json_array_get_length (providers); k++)
            g_print ("  \"%s\" -> \"%s\" [label=\"%s\"%s];\n", member (one, "name"), json_array_get_string_element (providers, k),
                     member (need, "type"), strcmp (member (need, "kind"), "one") == 0 ? "" : " style=dashed");
        }
    }
  g_print ("}\n");
}

/* What stops if @name goes: all that can't do without it, and what can't do without those. */
static void
print_reverse (JsonArray *plugins, const char *name, guint depth, GHashTable *shown)
{
  g_print ("%*s%s\n", (int) depth * 2, "", name);
  for (guint i = 0; i < json_array_get_length (plugins); i++)
    {
      JsonObject *one = json_array_get_object_element (plugins, i);

      if (needs_plugin (one, name, TRUE) && g_hash_table_add (shown, g_strdup (member (one, "name"))))
        print_reverse (plugins, member (one, "name"), depth + 1, shown);
    }
}

static int
plugin_graph (int argc, char **argv)
{
  Source source = { FALSE, NULL };
  gboolean dot = FALSE;
  g_autofree char *reverse = NULL;
  const GOptionEntry entries[] = { SOURCE_ENTRIES (source),
                                   { "dot", 0, 0, G_OPTION_ARG_NONE, &dot, "As input for dot (1)", NULL },
                                   { "reverse", 0, 0, G_OPTION_ARG_STRING, &reverse, "What stops if this one goes", "NAME" },
                                   { NULL } };
  g_autoptr (GHashTable) shown = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  g_autoptr (JsonNode) node = NULL;

  if (!cli_parse (&argc, &argv, "plugin graph", "", "Draws who needs whom.\n\n  gantry plugin graph --dot | dot -Tsvg > plugins.svg",
                  entries, FALSE))
    return CLI_USAGE;
  node = load_plugins (&source);
  g_strfreev (source.dirs);
  if (node == NULL)
    return 1;
  if (reverse != NULL && find_plugin (json_node_get_array (node), reverse) == NULL)
    return cli_fail ("there is no plugin %s; see gantry plugin list", reverse);
  if (reverse != NULL)
    print_reverse (json_node_get_array (node), reverse, 0, shown);
  else if (dot)
    print_dot (json_node_get_array (node));
  else
    print_forest (json_node_get_array (node));
  return 0;
}

static int
plugin_trace (int argc, char **argv)
{
  Source source = { FALSE, NULL };
  const GOptionEntry entries[] = { SOURCE_ENTRIES (source), { NULL } };
  g_autoptr (JsonNode) node = NULL;
  g_auto (GStrv) lines = NULL;
  GError *error = NULL;

  if (!cli_parse (&argc, &argv, "plugin trace", "", "Tells why each plugin was taken or refused, in order.", entries, FALSE))
    return CLI_USAGE;
  if (source.offline || source.dirs != NULL)
    {
      node = ask_files ("trace", source.dirs);
      g_strfreev (source.dirs);
      for (guint i = 0; node != NULL && i < json_array_get_length (json_node_get_array (node)); i++)
        g_print ("%s\n", json_array_get_string_element (json_node_get_array (node), i));
      return node == NULL;
    }
  if (cli_client () == NULL)
    return 1;
  lines = gantry_client_get_trace (cli_client (), NULL, &error);
  if (lines == NULL)
    return cli_fail_error (error);
  for (gsize i = 0; lines[i] != NULL; i++)
    g_print ("%s\n", lines[i]);
  return 0;
}

static int
plugin_check (int argc, char **argv)
{
  g_autofree char *manifests = NULL;
  g_autofree char *daemon = cli_find_daemon (&manifests);
  g_autoptr (GError) error = NULL;
  int status, worst = 0;

  if (!cli_parse (&argc, &argv, "plugin check", "[FILE | DIR …]",
                  "Checks manifests and their modules, each in a process of its own: manifest against descriptor, ABI, symbols,\n"
                  "ownership, and init and fini with failures injected. Without a file: those of this machine's daemon.",
                  NULL, FALSE))
    return CLI_USAGE;
  if (argc < 2 && manifests == NULL)
    manifests = g_strdup (GANTRY_MANIFESTDIR);
  for (int i = 1; i < MAX (argc, 2); i++)
    {
      char *child[] = { daemon, (char *) "--check", argc > 1 ? argv[i] : manifests, NULL };

      if (!g_spawn_sync (NULL, child, NULL, G_SPAWN_CHILD_INHERITS_STDIN, NULL, NULL, NULL, NULL, &status, &error))
        return cli_fail ("%s", error->message);
      worst |= !g_spawn_check_wait_status (status, NULL);
    }
  return worst;
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

  return cli_dispatch ("plugin", "Shows what the daemon is made of.", verbs, G_N_ELEMENTS (verbs), argc, argv);
}

/* Prints the settings of one section. */
static void
print_section (const char *name, JsonArray *settings, gboolean effective, gboolean origin)
{
  gboolean any = FALSE;

  for (guint i = 0; settings != NULL && i < json_array_get_length (settings); i++)
    {
      JsonObject *setting = json_array_get_object_element (settings, i);
      const char *from = member (setting, "origin");
      gboolean builtin = strcmp (from, "default") == 0 || strcmp (from, "built in") == 0;

      if (builtin && !effective)
        continue;
      if (!any)
        g_print ("[%s]\n", name);
      any = TRUE;
      g_print ("%s%s=%s", strcmp (from, "default") == 0 ? "#" : "", member (setting, "key"), member (setting, "value"));
      if (origin)
        g_print ("  # %s", from);
      g_print ("\n");
    }
  if (any)
    g_print ("\n");
}

static JsonNode *
load_settings (Source *source)
{
  g_autoptr (GVariant) settings = NULL;
  GError *error = NULL;

  if (source->offline || source->dirs != NULL)
    return ask_files ("config", source->dirs);
  if (cli_client () == NULL)
    return NULL;
  settings = gantry_client_get_config (cli_client (), NULL, &error);
  if (settings == NULL)
    cli_fail_error (error);
  return settings != NULL ? json_gvariant_serialize (settings) : NULL;
}

static int
config_show (int argc, char **argv)
{
  Source source = { FALSE, NULL };
  gboolean effective = FALSE, origin = FALSE;
  const GOptionEntry entries[]
      = { SOURCE_ENTRIES (source),
          { "effective", 0, 0, G_OPTION_ARG_NONE, &effective, "Also what is built in, and keys that nobody has set", NULL },
          { "origin", 0, 0, G_OPTION_ARG_NONE, &origin, "Also the file and line of each", NULL },
          { NULL } };
  g_autoptr (JsonNode) settings = NULL, plugins = NULL;
  JsonArray *array;

  if (!cli_parse (&argc, &argv, "config show", "", "Shows the daemon's settings and its plugins'.", entries, FALSE))
    return CLI_USAGE;
  settings = load_settings (&source);
  plugins = settings != NULL ? load_plugins (&source) : NULL;
  g_strfreev (source.dirs);
  if (plugins == NULL)
    return 1;
  print_section ("Daemon", json_node_get_array (settings), effective, origin);
  array = json_node_get_array (plugins);
  for (guint i = 0; i < json_array_get_length (array); i++)
    {
      JsonObject *one = json_array_get_object_element (array, i);

      print_section (member (one, "name"), json_object_get_array_member (one, "config"), effective, origin);
    }
  return 0;
}

int
cli_config (int argc, char **argv)
{
  static const CliVerb verbs[] = { { "show", config_show, "Show settings, their origin and what is effective" } };

  return cli_dispatch ("config", "Shows configuration.", verbs, G_N_ELEMENTS (verbs), argc, argv);
}
