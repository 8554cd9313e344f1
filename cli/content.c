/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gantry content. */
#include "cli.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define CHUNK (256 * 1024)

static void
print_blob (GVariant *blob, gboolean quiet, GPtrArray *rows)
{
  g_autoptr (GVariant) labels = g_variant_lookup_value (blob, "labels", G_VARIANT_TYPE ("a{ss}"));
  g_autofree char *text = cli_labels (labels), *size = NULL, *ago = NULL;
  gint64 created = 0;
  guint64 bytes = 0;

  g_variant_lookup (blob, "size", "t", &bytes);
  g_variant_lookup (blob, "created", "x", &created);
  size = g_format_size (bytes);
  ago = cli_ago (created);
  if (quiet)
    cli_add_row (rows, "%s", cli_string (blob, "digest"));
  else
    cli_add_row (rows, "%s\t%s\t%s\t%s", cli_string (blob, "digest"), size, ago, text);
}

static int
content_ls (int argc, char **argv)
{
  gboolean quiet = FALSE;
  g_auto (GStrv) filters = NULL;
  const GOptionEntry entries[] = { { "quiet", 'q', 0, G_OPTION_ARG_NONE, &quiet, "Digests only", NULL },
                                   { "filter", 'f', 0, G_OPTION_ARG_STRING_ARRAY, &filters,
                                     "Only those that match, as labels.a==b", "FILTER" },
                                   { NULL } };
  g_autoptr (GPtrArray) rows = cli_new_table ();
  g_autoptr (GVariant) list = NULL;
  GError *error = NULL;

  if (!cli_parse (&argc, &argv, "content ls", "", "Lists the blobs of the namespace.", entries, FALSE))
    return CLI_USAGE;
  if (cli_namespace () == NULL)
    return 1;
  list = gantry_namespace_list_content (cli_namespace (), (const char *const *)filters, NULL, &error);
  if (list == NULL)
    return cli_fail_error (error);
  if (cli.json)
    {
      cli_print_json (list);
      return 0;
    }
  if (!quiet)
    cli_add_row (rows, "DIGEST\tSIZE\tCREATED\tLABELS");
  for (gsize i = 0; i < g_variant_n_children (list); i++)
    {
      g_autoptr (GVariant) blob = g_variant_get_child_value (list, i);

      print_blob (blob, quiet, rows);
    }
  cli_print_table (rows);
  return 0;
}

static gboolean
write_all (const char *data, gsize length)
{
  while (length > 0)
    {
      gssize n = write (STDOUT_FILENO, data, length);

      if (n < 0 && errno != EINTR)
        return FALSE;
      if (n > 0)
        {
          data += n;
          length -= (gsize)n;
        }
    }
  return TRUE;
}

static int
copy_out (int fd, const char *digest)
{
  g_autofree char *buffer = g_malloc (CHUNK);
  gssize n;

  while ((n = read (fd, buffer, CHUNK)) != 0)
    {
      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0)
        return cli_fail ("%s: %s", digest, g_strerror (errno));
      if (!write_all (buffer, (gsize)n))
        return cli_fail ("standard output: %s", g_strerror (errno));
    }
  return 0;
}

static int
content_get (int argc, char **argv)
{
  GError *error = NULL;
  int fd, status;

  if (!cli_parse (&argc, &argv, "content get", "DIGEST", "Writes a blob to standard output.", NULL, FALSE))
    return CLI_USAGE;
  if (argc != 2)
    return cli_usage ("content get", "get needs a digest");
  if (cli_namespace () == NULL)
    return 1;
  fd = gantry_namespace_open_content (cli_namespace (), argv[1], NULL, &error);
  if (fd < 0)
    return cli_fail_error (error);
  status = copy_out (fd, argv[1]);
  close (fd);
  return status;
}

static int
content_inspect (int argc, char **argv)
{
  g_autoptr (GVariant) blob = NULL;
  GError *error = NULL;

  if (!cli_parse (&argc, &argv, "content inspect", "DIGEST", "Shows all that is known of a blob, as JSON.",
                  NULL, FALSE))
    return CLI_USAGE;
  if (argc != 2)
    return cli_usage ("content inspect", "inspect needs a digest");
  if (cli_namespace () == NULL)
    return 1;
  blob = gantry_namespace_inspect_content (cli_namespace (), argv[1], NULL, &error);
  if (blob == NULL)
    return cli_fail_error (error);
  cli_print_json (blob);
  return 0;
}

static int
content_rm (int argc, char **argv)
{
  gboolean force = FALSE;
  const GOptionEntry entries[]
      = { { "force", 'f', 0, G_OPTION_ARG_NONE, &force, "Even if something holds it", NULL }, { NULL } };
  int status = 0;

  if (!cli_parse (&argc, &argv, "content rm", "DIGEST …", "Forgets blobs that nothing holds.", entries,
                  FALSE))
    return CLI_USAGE;
  if (argc < 2)
    return cli_usage ("content rm", "rm needs a digest");
  if (cli_namespace () == NULL)
    return 1;
  for (int i = 1; i < argc; i++)
    {
      GError *error = NULL;

      status |= cli_done (gantry_namespace_remove_content (cli_namespace (), argv[i], force, NULL, &error),
                          &error);
    }
  return status;
}

static int
content_prune (int argc, char **argv)
{
  gboolean dry_run = FALSE;
  const GOptionEntry entries[]
      = { { "dry-run", 0, 0, G_OPTION_ARG_NONE, &dry_run, "Only say what would go", NULL }, { NULL } };
  g_autoptr (GVariant) garbage = NULL;
  GError *error = NULL;
  GVariantIter iter;
  const char *kind, *id;

  if (!cli_parse (&argc, &argv, "content prune", "",
                  "Collects what nothing holds any more, of every namespace, and prints the blobs among it.",
                  entries, FALSE))
    return CLI_USAGE;
  if (cli_client () == NULL)
    return 1;
  garbage = gantry_client_collect_garbage (cli_client (), dry_run, NULL, &error);
  if (garbage == NULL)
    return cli_fail_error (error);
  g_variant_iter_init (&iter, garbage);
  while (g_variant_iter_next (&iter, "(&s&st)", &kind, &id, NULL))
    if (strcmp (kind, "content") == 0)
      g_print ("%s\n", id);
  return 0;
}

int
cli_content (int argc, char **argv)
{
  static const CliVerb verbs[] = {
    { "ls", content_ls, "List blobs" },
    { "get", content_get, "Write one to standard output" },
    { "inspect", content_inspect, "Show all that is known of one" },
    { "rm", content_rm, "Forget some that nothing holds" },
    { "prune", content_prune, "Collect what nothing holds" },
  };

  return cli_dispatch ("content", "Works on the blobs that images are made of.", verbs, G_N_ELEMENTS (verbs),
                       argc, argv);
}
