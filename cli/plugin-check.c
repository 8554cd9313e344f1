/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gantry plugin check and trace. */
#include "plugin.h"

#include <string.h>

/* The manifest of the plugin NAME, or @target itself if it is a path. Returns: (transfer full), or NULL after
 * a message. */
static char *
find_target (const char *target, PluginSource *source)
{
  g_autoptr (JsonNode) node = NULL;
  JsonObject *one;

  if (strchr (target, '/') != NULL || g_str_has_suffix (target, ".plugin")
      || g_file_test (target, G_FILE_TEST_EXISTS))
    {
      if (!g_file_test (target, G_FILE_TEST_EXISTS))
        cli_fail ("there is no %s", target);
      return g_file_test (target, G_FILE_TEST_EXISTS) ? g_strdup (target) : NULL;
    }
  node = plugin_load_all (source);
  one = node != NULL ? plugin_need (json_node_get_array (node), target) : NULL;
  return one != NULL ? g_strdup (plugin_get (one, "manifest")) : NULL;
}

/* "ok   NAME: ASPECT: DETAIL" as an object. */
static void
add_finding (JsonArray *findings, const char *line)
{
  g_auto (GStrv) words = g_strsplit (line, " ", 2);
  g_auto (GStrv) parts = NULL;
  JsonObject *finding = json_object_new ();

  json_object_set_string_member (finding, "result", words[0]);
  parts = g_strsplit (words[1] != NULL ? g_strstrip (words[1]) : "", ": ", 3);
  if (g_strv_length (parts) == 3)
    {
      json_object_set_string_member (finding, "plugin", parts[0]);
      json_object_set_string_member (finding, "aspect", parts[1]);
    }
  json_object_set_string_member (finding, "detail",
                                 g_strv_length (parts) == 3 ? parts[2]
                                 : words[1] != NULL         ? words[1]
                                                            : "");
  json_array_add_object_element (findings, finding);
}

/* Returns: 0 if all is well, 1 if not or after a message. With @findings (nullable) the lines go there
 * instead of to stdout. */
static int
check_target (const char *target, PluginSource *source, JsonArray *findings)
{
  g_autofree char *manifests = NULL, *output = NULL;
  g_autofree char *daemon = cli_find_daemon (&manifests);
  g_autoptr (GPtrArray) child = g_ptr_array_new ();
  g_autoptr (GError) error = NULL;
  int status;

  g_ptr_array_add (child, daemon);
  g_ptr_array_add (child, (gpointer) "--check");
  g_ptr_array_add (child, (gpointer)target);
  for (gsize i = 0; source->dirs != NULL && source->dirs[i] != NULL; i++)
    {
      g_ptr_array_add (child, (gpointer) "--plugins-dir");
      g_ptr_array_add (child, source->dirs[i]);
    }
  if (source->dirs == NULL && manifests != NULL)
    {
      g_ptr_array_add (child, (gpointer) "--plugins-dir");
      g_ptr_array_add (child, manifests);
    }
  g_ptr_array_add (child, NULL);
  if (!g_spawn_sync (NULL, (char **)child->pdata, NULL, G_SPAWN_CHILD_INHERITS_STDIN, NULL, NULL,
                     findings != NULL ? &output : NULL, NULL, &status, &error))
    return cli_fail ("%s", error->message);
  if (findings != NULL)
    {
      g_auto (GStrv) lines = g_strsplit (output, "\n", -1);

      for (gsize i = 0; lines[i] != NULL; i++)
        if (lines[i][0] != '\0')
          add_finding (findings, lines[i]);
    }
  return !g_spawn_check_wait_status (status, NULL);
}

int
plugin_check (int argc, char **argv)
{
  g_auto (PluginSource) source = { TRUE, NULL };
  const GOptionEntry entries[] = { { "plugins-dir", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &source.dirs,
                                     "Serve what it needs from the manifests there (repeatable)", "DIR" },
                                   { NULL } };
  g_autofree char *manifests = NULL;
  g_autoptr (JsonNode) node = json_node_new (JSON_NODE_ARRAY);
  JsonArray *findings = json_array_new ();
  int worst = 0;

  json_node_take_array (node, findings);
  if (!cli_parse (&argc, &argv, "plugin check", "[NAME | FILE.plugin | DIR …]",
                  "Checks manifests and their modules, each in a process of its own: manifest against "
                  "descriptor, ABI, exported symbols,\n"
                  "ownership, init and fini as they are and with every call of the host failing once, and "
                  "the contract suite of each\n"
                  "interface. Without an argument: all plugins of this machine. Exit status: 1 if anything "
                  "failed.\n\n"
                  "  gantry plugin check ./content-mine.plugin",
                  entries, FALSE))
    return CLI_USAGE;
  g_free (cli_find_daemon (&manifests));
  if (argc < 2)
    worst = check_target (source.dirs != NULL ? source.dirs[0]
                          : manifests != NULL ? manifests
                                              : GANTRY_MANIFESTDIR,
                          &source, cli.json ? findings : NULL);
  for (int i = 1; i < argc; i++)
    {
      g_autofree char *target = find_target (argv[i], &source);

      worst |= target == NULL || check_target (target, &source, cli.json ? findings : NULL);
    }
  if (cli.json)
    cli_print_node (node);
  return worst;
}

int
plugin_trace (int argc, char **argv)
{
  g_auto (PluginSource) source = { FALSE, NULL };
  const GOptionEntry entries[] = { PLUGIN_SOURCE_ENTRIES (source), { NULL } };
  g_autoptr (JsonNode) node = NULL, filtered = json_node_new (JSON_NODE_ARRAY);
  JsonArray *lines, *shown = json_array_new ();
  g_autofree char *prefix = NULL;

  json_node_take_array (filtered, shown);
  if (!cli_parse (&argc, &argv, "plugin trace", "[NAME]",
                  "Tells why each candidate was taken or refused, in order. GANTRY_DEBUG=plugins gantryd "
                  "prints the same as it happens.",
                  entries, FALSE))
    return CLI_USAGE;
  if (argc > 2)
    return cli_usage ("plugin trace", "trace takes one plugin, or none");
  prefix = argc == 2 ? g_strconcat (argv[1], ": ", NULL) : g_strdup ("");
  node = plugin_load_trace (&source);
  if (node == NULL)
    return 1;
  lines = json_node_get_array (node);
  for (guint i = 0; i < json_array_get_length (lines); i++)
    if (g_str_has_prefix (json_array_get_string_element (lines, i), prefix))
      json_array_add_string_element (shown, json_array_get_string_element (lines, i));
  if (json_array_get_length (shown) == 0)
    return cli_fail ("nothing is known of a plugin %s; see gantry plugin list", argc == 2 ? argv[1] : "");
  if (cli.json)
    cli_print_node (filtered);
  for (guint i = 0; !cli.json && i < json_array_get_length (shown); i++)
    g_print ("%s\n", json_array_get_string_element (shown, i));
  return 0;
}
