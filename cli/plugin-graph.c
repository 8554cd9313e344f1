/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gantry plugin graph: who needs whom, and what stops if one goes. */
#include "plugin.h"

#include <string.h>

/* What becomes of the others if some go. */
typedef struct
{
  JsonArray *plugins;
  GHashTable *gone;   /* names, the first one included */
  JsonArray *stops;   /* {name, need, provider} */
  JsonArray *loses;   /* the same: it goes on without */
  JsonArray *changes; /* {name, need, provider, instead} */
} Loss;

static void
print_node (JsonObject *one, const char *name, const char *indent, const char *branch, gboolean again)
{
  const char *state = one != NULL ? plugin_get (one, "state") : "ok";
  g_autofree char *painted = plugin_paint (state);
  gboolean plain = strcmp (state, "ok") == 0 || strcmp (state, "pending") == 0;

  g_print ("%s%s%s%s%s%s%s\n", indent, branch, name, plain ? "" : " (", plain ? "" : painted,
           plain ? "" : ")", again ? " …" : "");
}

/* One line for each provider, and one for each need that nobody serves. Returns: (element-type utf8). */
static GPtrArray *
list_children (JsonObject *one)
{
  JsonArray *needs = plugin_get_array (one, "needs");
  GPtrArray *children = g_ptr_array_new_with_free_func (g_free);

  for (guint i = 0; i < json_array_get_length (needs); i++)
    {
      JsonObject *need = json_array_get_object_element (needs, i);
      JsonArray *providers = plugin_get_array (need, "providers");

      for (guint j = 0; j < json_array_get_length (providers); j++)
        g_ptr_array_add (children, g_strdup (json_array_get_string_element (providers, j)));
      if (json_array_get_length (providers) == 0 && strcmp (plugin_get (need, "kind"), "one") == 0)
        g_ptr_array_add (children, g_strdup_printf ("(nobody serves %s)", plugin_get (need, "type")));
    }
  return children;
}

static void
print_tree (JsonArray *plugins, const char *name, const char *indent, const char *branch, GHashTable *shown)
{
  JsonObject *one = plugin_find (plugins, name);
  g_autoptr (GPtrArray) children = one != NULL ? list_children (one) : g_ptr_array_new ();
  gboolean again = g_hash_table_contains (shown, name) && children->len > 0;
  g_autofree char *deeper = NULL;

  print_node (one, name, indent, branch, again);
  if (again)
    return;
  g_hash_table_add (shown, g_strdup (name));
  deeper = g_strdup_printf ("%s%s", indent,
                            branch[0] == '\0'                ? ""
                            : g_str_has_prefix (branch, "├") ? "│  "
                                                             : "   ");
  for (guint i = 0; i < children->len; i++)
    print_tree (plugins, g_ptr_array_index (children, i), deeper, i + 1 < children->len ? "├─ " : "└─ ",
                shown);
}

static gboolean
is_needed (JsonArray *plugins, const char *name)
{
  for (guint i = 0; i < json_array_get_length (plugins); i++)
    if (plugin_uses (json_array_get_object_element (plugins, i), name, NULL))
      return TRUE;
  return FALSE;
}

static void
print_forest (JsonArray *plugins)
{
  g_autoptr (GHashTable) shown = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);

  for (guint i = 0; i < json_array_get_length (plugins); i++)
    {
      const char *name = plugin_get (json_array_get_object_element (plugins, i), "name");

      if (!is_needed (plugins, name))
        print_tree (plugins, name, "", "", shown);
    }
}

static void
print_dot (JsonArray *plugins)
{
  g_print ("digraph plugins {\n  rankdir=LR;\n  node [shape=box];\n");
  for (guint i = 0; i < json_array_get_length (plugins); i++)
    {
      JsonObject *one = json_array_get_object_element (plugins, i);
      JsonArray *needs = plugin_get_array (one, "needs");

      g_print ("  \"%s\" [label=\"%s\\n%s\"];\n", plugin_get (one, "name"), plugin_get (one, "name"),
               plugin_get (one, "state"));
      for (guint j = 0; j < json_array_get_length (needs); j++)
        {
          JsonObject *need = json_array_get_object_element (needs, j);
          JsonArray *providers = plugin_get_array (need, "providers");

          for (guint k = 0; k < json_array_get_length (providers); k++)
            g_print ("  \"%s\" -> \"%s\" [label=\"%s\"%s];\n", plugin_get (one, "name"),
                     json_array_get_string_element (providers, k), plugin_get (need, "type"),
                     strcmp (plugin_get (need, "kind"), "one") == 0 ? "" : " style=dashed");
        }
    }
  g_print ("}\n");
}

/* Who else provides what @need asks for, or NULL. */
static const char *
find_other (Loss *loss, JsonObject *need)
{
  const char *type = plugin_get (need, "type"), *id = plugin_get (need, "id"), *state;

  for (guint i = 0; i < json_array_get_length (loss->plugins); i++)
    {
      JsonObject *one = json_array_get_object_element (loss->plugins, i);
      JsonArray *types = plugin_get_array (one, "types");

      state = plugin_get (one, "state");
      if (g_hash_table_contains (loss->gone, plugin_get (one, "name"))
          || (strcmp (state, "ok") != 0 && strcmp (state, "pending") != 0)
          || (id[0] != '\0' && strcmp (plugin_get (one, "id"), id) != 0))
        continue;
      for (guint j = 0; j < json_array_get_length (types); j++)
        if (strcmp (json_array_get_string_element (types, j), type) == 0)
          return plugin_get (one, "name");
    }
  return NULL;
}

static void
note (JsonArray *array, JsonObject *one, JsonObject *need, const char *provider, const char *instead)
{
  JsonObject *entry = json_object_new ();

  json_object_set_string_member (entry, "name", plugin_get (one, "name"));
  json_object_set_string_member (entry, "need", plugin_get (need, "type"));
  json_object_set_string_member (entry, "provider", provider);
  if (instead != NULL)
    json_object_set_string_member (entry, "instead", instead);
  json_array_add_object_element (array, entry);
}

static void lose (Loss *loss, const char *name);

/* What @one does when its @need is no longer served by @provider. */
static void
lose_need (Loss *loss, JsonObject *one, JsonObject *need, const char *provider)
{
  const char *kind = plugin_get (need, "kind");
  const char *other = strcmp (kind, "many") != 0 ? find_other (loss, need) : NULL;

  if (other != NULL)
    note (loss->changes, one, need, provider, other);
  else if (strcmp (kind, "one") != 0)
    note (loss->loses, one, need, provider, NULL);
  else
    {
      note (loss->stops, one, need, provider, NULL);
      lose (loss, plugin_get (one, "name"));
    }
}

static gboolean
is_served_by (JsonObject *need, const char *provider)
{
  JsonArray *providers = plugin_get_array (need, "providers");

  for (guint i = 0; i < json_array_get_length (providers); i++)
    if (strcmp (json_array_get_string_element (providers, i), provider) == 0)
      return TRUE;
  return FALSE;
}

static void
lose (Loss *loss, const char *name)
{
  g_hash_table_add (loss->gone, g_strdup (name));
  for (guint i = 0; i < json_array_get_length (loss->plugins); i++)
    {
      JsonObject *one = json_array_get_object_element (loss->plugins, i);
      JsonArray *needs = plugin_get_array (one, "needs");

      for (guint j = 0; j < json_array_get_length (needs); j++)
        if (!g_hash_table_contains (loss->gone, plugin_get (one, "name"))
            && is_served_by (json_array_get_object_element (needs, j), name))
          lose_need (loss, one, json_array_get_object_element (needs, j), name);
    }
}

/* What stops in the end does not also go on without something. */
static void
print_loss (Loss *loss, JsonArray *array, const char *title, gboolean stops)
{
  gboolean any = FALSE;

  for (guint i = 0; i < json_array_get_length (array); i++)
    {
      JsonObject *entry = json_array_get_object_element (array, i);
      const char *instead = plugin_get (entry, "instead");

      if (!stops && g_hash_table_contains (loss->gone, plugin_get (entry, "name")))
        continue;
      if (!any)
        g_print ("%s", title);
      any = TRUE;
      g_print ("  %s: %s of %s%s%s\n", plugin_get (entry, "name"), plugin_get (entry, "need"),
               plugin_get (entry, "provider"), instead[0] != '\0' ? ", then of " : "", instead);
    }
}

static int
show_reverse (JsonArray *plugins, const char *name)
{
  g_autoptr (GHashTable) gone = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  g_autoptr (JsonNode) node = json_node_new (JSON_NODE_OBJECT);
  JsonObject *object = json_object_new ();
  Loss loss = { plugins, gone, json_array_new (), json_array_new (), json_array_new () };

  json_node_take_object (node, object);
  json_object_set_string_member (object, "name", name);
  json_object_set_array_member (object, "stops", loss.stops);
  json_object_set_array_member (object, "loses", loss.loses);
  json_object_set_array_member (object, "changes", loss.changes);
  if (plugin_need (plugins, name) == NULL)
    return 1;
  lose (&loss, name);
  if (cli.json)
    {
      cli_print_node (node);
      return 0;
    }
  g_print ("If %s goes, %s\n", name,
           json_array_get_length (loss.stops) > 0 ? "these stop:" : "nothing stops.");
  print_loss (&loss, loss.stops, "", TRUE);
  print_loss (&loss, loss.loses, "These go on without what they can do without:\n", FALSE);
  print_loss (&loss, loss.changes, "These go on with another:\n", FALSE);
  return 0;
}

int
plugin_graph (int argc, char **argv)
{
  g_auto (PluginSource) source = { FALSE, NULL };
  gboolean dot = FALSE;
  g_autofree char *reverse = NULL;
  const GOptionEntry entries[]
      = { PLUGIN_SOURCE_ENTRIES (source),
          { "dot", 0, 0, G_OPTION_ARG_NONE, &dot, "As input for dot (1)", NULL },
          { "reverse", 0, 0, G_OPTION_ARG_STRING, &reverse, "What stops if this one goes", "NAME" },
          { NULL } };
  g_autoptr (JsonNode) node = NULL;

  if (!cli_parse (&argc, &argv, "plugin graph", "",
                  "Draws who needs whom.\n\n  gantry plugin graph --dot | dot -Tsvg > plugins.svg\n  gantry "
                  "plugin graph --reverse store-local",
                  entries, FALSE))
    return CLI_USAGE;
  if (argc > 1 || (dot && reverse != NULL))
    return cli_usage ("plugin graph", "graph takes --dot, or --reverse NAME, or nothing");
  node = plugin_load_all (&source);
  if (node == NULL)
    return 1;
  if (reverse != NULL)
    return show_reverse (json_node_get_array (node), reverse);
  if (dot)
    print_dot (json_node_get_array (node));
  else if (cli.json)
    cli_print_node (node);
  else
    print_forest (json_node_get_array (node));
  return 0;
}
