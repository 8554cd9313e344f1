/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gantry ns. */
#include "cli.h"

static int
ns_ls (int argc, char **argv)
{
  gboolean quiet = FALSE;
  const GOptionEntry entries[]
      = { { "quiet", 'q', 0, G_OPTION_ARG_NONE, &quiet, "Names only", NULL }, { NULL } };
  g_autoptr (GPtrArray) rows = cli_new_table ();
  g_autoptr (GVariant) list = NULL;
  GError *error = NULL;

  if (!cli_parse (&argc, &argv, "ns ls", "", "Lists namespaces.", entries, FALSE))
    return CLI_USAGE;
  if (cli_client () == NULL)
    return 1;
  list = gantry_client_list_namespaces (cli_client (), NULL, &error);
  if (list == NULL)
    return cli_fail_error (error);
  if (cli.json)
    {
      cli_print_json (list);
      return 0;
    }
  if (!quiet)
    cli_add_row (rows, "NAMESPACE\tLABELS");
  for (gsize i = 0; i < g_variant_n_children (list); i++)
    {
      g_autoptr (GVariant) one = g_variant_get_child_value (list, i);
      g_autoptr (GVariant) labels = g_variant_lookup_value (one, "labels", G_VARIANT_TYPE ("a{ss}"));
      g_autofree char *text = cli_labels (labels);

      if (quiet)
        cli_add_row (rows, "%s", cli_string (one, "name"));
      else
        cli_add_row (rows, "%s\t%s", cli_string (one, "name"), text);
    }
  cli_print_table (rows);
  return 0;
}

static int
ns_create (int argc, char **argv)
{
  GError *error = NULL;

  if (!cli_parse (&argc, &argv, "ns create", "NAME [K=V …]",
                  "Makes a namespace. One is also made by whatever is first put in it.", NULL, FALSE))
    return CLI_USAGE;
  if (argc < 2)
    return cli_usage ("ns create", "create needs a name");
  if (cli_client () == NULL)
    return 1;
  return cli_done (gantry_client_create_namespace (cli_client (), argv[1], cli_pairs (argv + 2), NULL,
                                                   &error),
                   &error);
}

static int
ns_rm (int argc, char **argv)
{
  int status = 0;

  if (!cli_parse (&argc, &argv, "ns rm", "NAME …", "Removes namespaces that are empty.", NULL, FALSE))
    return CLI_USAGE;
  if (argc < 2)
    return cli_usage ("ns rm", "rm needs a name");
  if (cli_client () == NULL)
    return 1;
  for (int i = 1; i < argc; i++)
    {
      GError *error = NULL;

      status |= cli_done (gantry_client_delete_namespace (cli_client (), argv[i], NULL, &error), &error);
    }
  return status;
}

static int
ns_label (int argc, char **argv)
{
  g_autoptr (GantryNamespace) ns = NULL;
  GError *error = NULL;

  if (!cli_parse (&argc, &argv, "ns label", "NAME K=V …", "Sets labels; K= removes one.", NULL, FALSE))
    return CLI_USAGE;
  if (argc < 3)
    return cli_usage ("ns label", "label needs a name and labels");
  if (cli_client () == NULL)
    return 1;
  ns = gantry_client_get_namespace (cli_client (), argv[1], NULL, &error);
  if (ns == NULL)
    return cli_fail_error (error);
  return cli_done (gantry_namespace_set_labels (ns, cli_pairs (argv + 2), NULL, &error), &error);
}

int
cli_ns (int argc, char **argv)
{
  static const CliVerb verbs[] = {
    { "ls", ns_ls, "List namespaces" },
    { "create", ns_create, "Make one" },
    { "label", ns_label, "Set labels" },
    { "rm", ns_rm, "Remove empty ones" },
  };

  return cli_dispatch ("ns", "Works on namespaces.", verbs, G_N_ELEMENTS (verbs), argc, argv);
}
