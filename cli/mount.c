/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gantry mount. */
#include "cli.h"

#include <string.h>

static void
add_listed (GPtrArray *rows, GVariant *info, gboolean quiet)
{
  g_autoptr (GVariant) labels = g_variant_lookup_value (info, "labels", G_VARIANT_TYPE ("a{ss}")),
                       active = g_variant_lookup_value (info, "active", G_VARIANT_TYPE ("aa{sv}")),
                       left = g_variant_lookup_value (info, "system", G_VARIANT_TYPE ("aa{sv}"));
  g_autofree char *text = cli_labels (labels), *ago = NULL;
  gint64 created = 0;

  g_variant_lookup (info, "created", "x", &created);
  ago = cli_ago (created);
  if (quiet)
    cli_add_row (rows, "%s", cli_string (info, "name"));
  else
    cli_add_row (rows, "%s\t%" G_GSIZE_FORMAT "\t%" G_GSIZE_FORMAT "\t%s\t%s", cli_string (info, "name"),
                 active != NULL ? g_variant_n_children (active) : 0,
                 left != NULL ? g_variant_n_children (left) : 0, ago, text);
}

static GVariant *
get_info (gpointer mount)
{
  return gantry_mount_get_info (mount);
}

static int
mount_ls (int argc, char **argv)
{
  gboolean quiet = FALSE;
  g_auto (GStrv) filters = NULL;
  const GOptionEntry entries[] = { { "quiet", 'q', 0, G_OPTION_ARG_NONE, &quiet, "Names only", NULL },
                                   { "filter", 'f', 0, G_OPTION_ARG_STRING_ARRAY, &filters,
                                     "Only those that match, as labels.a==b", "FILTER" },
                                   { NULL } };
  g_autoptr (GPtrArray) mounts = NULL;
  GError *error = NULL;

  if (!cli_parse (
          &argc, &argv, "mount ls", "",
          "Lists what the daemon keeps mounted: by name, how many mounts it has made, and how many are "
          "left for whoever wants the file system.",
          entries, FALSE))
    return CLI_USAGE;
  if (cli_namespace () == NULL)
    return 1;
  mounts = gantry_namespace_list_mounts (cli_namespace (), (const char *const *)filters, NULL, &error);
  if (mounts == NULL)
    return cli_fail_error (error);
  cli_print_list (mounts, get_info, "NAME\tMOUNTED\tLEFT\tCREATED\tLABELS", add_listed, quiet);
  return 0;
}

/* "type=format/ext4,source={{ mount 0 }},ro" as a{sv} (floating), or NULL after a message. */
static GVariant *
parse_mount (const char *text)
{
  static const struct
  {
    const char *prefix, *key;
  } known[] = {
    { "type=", "type" },     { "source=", "source" },      { "src=", "source" },
    { "target=", "target" }, { "destination=", "target" }, { "dst=", "target" },
  };
  g_auto (GStrv) parts = g_strsplit (text, ",", -1);
  g_autoptr (GPtrArray) options = g_ptr_array_new ();
  g_auto (GVariantDict) dict = G_VARIANT_DICT_INIT (NULL);

  for (gsize i = 0; parts[i] != NULL; i++)
    {
      gboolean taken = FALSE;

      for (gsize j = 0; !taken && j < G_N_ELEMENTS (known); j++)
        {
          taken = g_str_has_prefix (parts[i], known[j].prefix);
          if (taken)
            g_variant_dict_insert (&dict, known[j].key, "s", parts[i] + strlen (known[j].prefix));
        }
      if (!taken && parts[i][0] != '\0')
        g_ptr_array_add (options, parts[i]);
    }
  if (!g_variant_dict_contains (&dict, "type"))
    {
      cli_fail ("mount \"%s\" has no type=; see gantry mount activate --help", text);
      return NULL;
    }
  g_variant_dict_insert_value (&dict, "options",
                               g_variant_new_strv ((const char *const *)options->pdata, options->len));
  return g_variant_dict_end (&dict);
}

static void
add_mounts (GPtrArray *rows, GVariant *details, const char *key, const char *who)
{
  g_autoptr (GVariant) mounts = g_variant_lookup_value (details, key, G_VARIANT_TYPE ("aa{sv}"));

  for (gsize i = 0; mounts != NULL && i < g_variant_n_children (mounts); i++)
    {
      g_autoptr (GVariant) mount = g_variant_get_child_value (mounts, i);
      const char *where = cli_string (mount, strcmp (key, "active") == 0 ? "mount-point" : "target");
      g_autofree const char **options = NULL;
      g_autofree char *joined = NULL;

      if (g_variant_lookup (mount, "options", "^a&s", &options))
        joined = g_strjoinv (",", (char **)options);
      cli_add_row (rows, "%s\t%s\t%s\t%s\t%s", who, cli_string (mount, "type"), cli_string (mount, "source"),
                   where[0] != '\0' ? where : "-", joined != NULL && joined[0] != '\0' ? joined : "-");
    }
}

static int
print_activated (GantryMount *mount)
{
  g_autoptr (GPtrArray) rows = cli_new_table ();
  GError *error = NULL;
  g_autoptr (GVariant) details = gantry_mount_inspect (mount, NULL, &error);

  if (details == NULL)
    return cli_fail_error (error);
  if (cli.json)
    {
      cli_print_json (details);
      return 0;
    }
  cli_add_row (rows, "BY\tTYPE\tSOURCE\tAT\tOPTIONS");
  add_mounts (rows, details, "active", "daemon");
  add_mounts (rows, details, "system", "you");
  cli_print_table (rows);
  return 0;
}

/* Who holds it, as labels. Returns: (transfer floating). */
static GVariant *
labels_of (char **pairs, char **owners)
{
  GVariantBuilder builder;
  GVariantIter iter;
  const char *key, *value;
  g_autoptr (GVariant) given = g_variant_ref_sink (cli_pairs (pairs));

  g_variant_builder_init (&builder, G_VARIANT_TYPE ("a{ss}"));
  g_variant_iter_init (&iter, given);
  while (g_variant_iter_next (&iter, "{&s&s}", &key, &value))
    g_variant_builder_add (&builder, "{ss}", key, value);
  for (gsize i = 0; owners != NULL && owners[i] != NULL; i++)
    {
      g_autofree char *label = g_strdup_printf ("containerd.io/gc.bref.container.%" G_GSIZE_FORMAT, i);

      g_variant_builder_add (&builder, "{ss}", label, owners[i]);
    }
  return g_variant_builder_end (&builder);
}

static int
mount_activate (int argc, char **argv)
{
  gboolean temporary = FALSE;
  g_autofree char *lease = NULL;
  g_auto (GStrv) labels = NULL, owners = NULL;
  const GOptionEntry entries[]
      = { { "temporary", 't', 0, G_OPTION_ARG_NONE, &temporary, "Have the daemon mount all of it", NULL },
          { "owner", 'o', 0, G_OPTION_ARG_STRING_ARRAY, &owners, "Unmount it when this container is gone",
            "CONTAINER" },
          { "lease", 0, 0, G_OPTION_ARG_STRING, &lease, "Unmount it when this lease is gone", "LEASE" },
          { "label", 'l', 0, G_OPTION_ARG_STRING_ARRAY, &labels, "Label", "K=V" },
          { NULL } };
  g_autoptr (GantryMount) mount = NULL;
  GVariantBuilder list;
  GVariantDict options;
  GError *error = NULL;

  if (!cli_parse (
          &argc, &argv, "mount activate", "NAME MOUNT …",
          "Has the daemon mount what the system can't mount by itself, keeps it under NAME, and says what is "
          "left to be mounted by whoever wants the file system. It stays until gantry mount deactivate, or "
          "as long as its --owner or --lease does; not over a boot.\n\n"
          "A MOUNT is type=TYPE[,source=SOURCE][,target=PATH][,OPTION …]. Transforms before the type, with "
          "slashes: format/ puts in what was mounted before (\"{{ mount 0 }}\"), mkdir/ makes a directory, "
          "mkfs/ a file system in a new file.\n\n"
          "  gantry mount activate disk type=loop,source=/srv/a.ext4 'type=format/ext4,source={{ mount 0 "
          "}}'\n"
          "  gantry mount activate --temporary scratch type=tmpfs,source=tmpfs,size=64m",
          entries, FALSE))
    return CLI_USAGE;
  if (argc < 3)
    return cli_usage ("mount activate", "activate needs a name and mounts");
  g_variant_builder_init (&list, G_VARIANT_TYPE ("aa{sv}"));
  for (int i = 2; i < argc; i++)
    {
      GVariant *one = parse_mount (argv[i]);

      if (one == NULL)
        {
          g_variant_builder_clear (&list);
          return CLI_USAGE;
        }
      g_variant_builder_add_value (&list, one);
    }
  if (cli_namespace () == NULL)
    {
      g_variant_builder_clear (&list);
      return 1;
    }
  g_variant_dict_init (&options, NULL);
  g_variant_dict_insert (&options, "temporary", "b", temporary);
  g_variant_dict_insert_value (&options, "labels", labels_of (labels, owners));
  if (lease != NULL)
    g_variant_dict_insert (&options, "lease", "s", lease);
  mount = gantry_namespace_activate_mounts (cli_namespace (), argv[1], g_variant_builder_end (&list),
                                            g_variant_dict_end (&options), NULL, &error);
  return mount != NULL ? print_activated (mount) : cli_fail_error (error);
}

/* Returns: (transfer full), or NULL after a message. */
static GantryMount *
find_mount (const char *name)
{
  GError *error = NULL;
  GantryMount *mount
      = cli_namespace () != NULL ? gantry_namespace_get_mount (cli_namespace (), name, NULL, &error) : NULL;

  if (error != NULL)
    cli_fail_error (error);
  return mount;
}

static int
mount_inspect (int argc, char **argv)
{
  g_autoptr (GantryMount) mount = NULL;
  g_autoptr (GVariant) details = NULL;
  GError *error = NULL;

  if (!cli_parse (&argc, &argv, "mount inspect", "NAME", "Shows all that is known of it, as JSON.", NULL,
                  FALSE))
    return CLI_USAGE;
  if (argc != 2)
    return cli_usage ("mount inspect", "inspect needs a name");
  mount = find_mount (argv[1]);
  if (mount == NULL)
    return 1;
  details = gantry_mount_inspect (mount, NULL, &error);
  if (details == NULL)
    return cli_fail_error (error);
  cli_print_json (details);
  return 0;
}

static int
mount_label (int argc, char **argv)
{
  g_autoptr (GantryMount) mount = NULL;
  GError *error = NULL;

  if (!cli_parse (&argc, &argv, "mount label", "NAME K=V …", "Sets labels; K= removes one.", NULL, FALSE))
    return CLI_USAGE;
  if (argc < 3)
    return cli_usage ("mount label", "label needs a name and labels");
  mount = find_mount (argv[1]);
  if (mount == NULL)
    return 1;
  return cli_done (gantry_mount_set_labels (mount, cli_pairs (argv + 2), NULL, &error), &error);
}

static int
mount_deactivate (int argc, char **argv)
{
  int status = 0;

  if (!cli_parse (&argc, &argv, "mount deactivate", "NAME …",
                  "Unmounts what the daemon has mounted under these names, and forgets it.", NULL, FALSE))
    return CLI_USAGE;
  if (argc < 2)
    return cli_usage ("mount deactivate", "deactivate needs a name");
  for (int i = 1; i < argc; i++)
    {
      g_autoptr (GantryMount) mount = find_mount (argv[i]);
      GError *error = NULL;

      status |= mount == NULL ? 1 : cli_done (gantry_mount_deactivate (mount, NULL, &error), &error);
    }
  return status;
}

int
cli_mount (int argc, char **argv)
{
  static const CliVerb verbs[] = {
    { "ls", mount_ls, "List what is kept mounted" },
    { "activate", mount_activate, "Mount what the system can't mount by itself" },
    { "inspect", mount_inspect, "Show all that is known of it" },
    { "label", mount_label, "Set labels" },
    { "deactivate", mount_deactivate, "Unmount it" },
  };

  return cli_dispatch ("mount", "Works on mounts that the daemon keeps for others.", verbs,
                       G_N_ELEMENTS (verbs), argc, argv);
}
