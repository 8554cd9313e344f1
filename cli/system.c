/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * system, check, gc: the daemon as a whole. */
#include "cli.h"

#include <string.h>

static int
system_info (int argc, char **argv)
{
  g_autoptr (GPtrArray) rows = cli_new_table ();
  g_autoptr (GVariant) server = NULL;
  GError *error = NULL;
  GVariantIter iter;
  const char *key;
  GVariant *value;

  if (!cli_parse (&argc, &argv, "system info", "", "Shows what the daemon is.", NULL, FALSE))
    return CLI_USAGE;
  if (cli_client () == NULL)
    return 1;
  server = gantry_client_get_server (cli_client (), NULL, &error);
  if (server == NULL)
    return cli_fail_error (error);
  if (cli.json)
    {
      cli_print_json (server);
      return 0;
    }
  g_variant_iter_init (&iter, server);
  while (g_variant_iter_loop (&iter, "{&sv}", &key, &value))
    {
      g_autofree char *text = g_variant_is_of_type (value, G_VARIANT_TYPE_STRING)
                                  ? g_variant_dup_string (value, NULL)
                              : strcmp (key, "StartedAt") == 0 ? cli_ago (g_variant_get_int64 (value))
                                                               : g_variant_print (value, FALSE);

      cli_add_row (rows, "%s\t%s", key, text);
    }
  cli_print_table (rows);
  return 0;
}

int
cli_system (int argc, char **argv)
{
  static const CliVerb verbs[] = {
    { "info", system_info, "Show what the daemon is" },
  };

  return cli_dispatch ("system", "Asks about the daemon.", verbs, G_N_ELEMENTS (verbs), argc, argv);
}

int
cli_check (int argc, char **argv)
{
  gboolean repair = FALSE;
  const GOptionEntry entries[] = { { "repair", 0, 0, G_OPTION_ARG_NONE, &repair,
                                     "Remove what nothing names, forget what is not there", NULL },
                                   { NULL } };
  g_auto (GStrv) problems = NULL;
  GError *error = NULL;

  if (!cli_parse (&argc, &argv, "check", "",
                  "Compares the daemon's database with the disk, the mounts and the shims; one line a "
                  "problem, and the status 1 if there is one.",
                  entries, FALSE))
    return CLI_USAGE;
  if (cli_client () == NULL)
    return 1;
  problems = gantry_client_check (cli_client (), repair, NULL, &error);
  if (problems == NULL)
    return cli_fail_error (error);
  for (gsize i = 0; problems[i] != NULL; i++)
    g_print ("%s\n", problems[i]);
  return problems[0] != NULL && !repair ? 1 : 0;
}

static int
gc_why (int argc, char **argv)
{
  g_auto (GStrv) path = NULL;
  GError *error = NULL;
  const char *kind;

  if (!cli_parse (&argc, &argv, "gc why", "DIGEST | IMAGE | SNAPSHOTTER/KEY",
                  "Prints the path from a root to a thing: what keeps it alive.", NULL, FALSE))
    return CLI_USAGE;
  if (argc != 2)
    return cli_usage ("gc why", "why needs a digest, an image or a snapshot");
  if (cli_client () == NULL)
    return 1;
  kind = g_str_has_prefix (argv[1], "sha256:")                                             ? "content"
         : g_str_has_prefix (argv[1], "overlay/") || g_str_has_prefix (argv[1], "native/") ? "snapshot"
                                                                                           : "image";
  path = gantry_client_why_kept (cli_client (), kind, cli.ns, argv[1], NULL, &error);
  if (path == NULL)
    return cli_fail_error (error);
  for (gsize i = 0; path[i] != NULL; i++)
    g_print ("%*s%s\n", (int)i * 2, "", path[i]);
  if (path[0] == NULL)
    g_print ("nothing keeps %s; it goes with the next collection\n", argv[1]);
  return 0;
}

static int
gc_run (int argc, char **argv)
{
  gboolean dry_run = FALSE;
  const GOptionEntry entries[]
      = { { "dry-run", 0, 0, G_OPTION_ARG_NONE, &dry_run, "Only say what would go", NULL }, { NULL } };
  g_autoptr (GPtrArray) rows = cli_new_table ();
  g_autoptr (GVariant) garbage = NULL;
  g_autofree char *size = NULL;
  GError *error = NULL;
  GVariantIter iter;
  const char *kind, *id;
  guint64 bytes, total = 0;

  if (!cli_parse (&argc, &argv, "gc run", "",
                  "Collects what nothing holds any more, and lists it.\n\n"
                  "  gantry gc --dry-run                  what would go, and how many bytes come back\n"
                  "  gantry gc why sha256:…               what keeps it",
                  entries, FALSE))
    return CLI_USAGE;
  if (cli_client () == NULL)
    return 1;
  garbage = gantry_client_collect_garbage (cli_client (), dry_run, NULL, &error);
  if (garbage == NULL)
    return cli_fail_error (error);
  if (cli.json)
    {
      cli_print_json (garbage);
      return 0;
    }
  g_variant_iter_init (&iter, garbage);
  while (g_variant_iter_next (&iter, "(&s&st)", &kind, &id, &bytes))
    {
      g_autofree char *text = bytes > 0 ? g_format_size (bytes) : g_strdup ("-");

      cli_add_row (rows, "%s\t%s\t%s", kind, id, text);
      total += bytes;
    }
  cli_print_table (rows);
  size = g_format_size (total);
  if (rows->len > 0)
    g_print ("%u objects, %s%s\n", rows->len, size, dry_run ? " would come back" : " of blobs");
  return 0;
}

int
cli_gc (int argc, char **argv)
{
  static const CliVerb verbs[] = {
    { "run", gc_run, "Collect now, or with --dry-run say what would go" },
    { "why", gc_why, "What keeps a thing alive" },
  };

  if (argc < 2 || strcmp (argv[1], "--dry-run") == 0)
    return gc_run (argc, argv);
  return cli_dispatch ("gc", "Garbage collection, which otherwise happens by itself.", verbs,
                       G_N_ELEMENTS (verbs), argc, argv);
}
