/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * pull and push, also as image pull and image push. */
#include "cli.h"

/* Begins the pull and follows it. */
static int
pull (const char *reference, GVariant *options, gboolean quiet, GVariant **ret_result)
{
  GError *error = NULL;
  GantryJob *job;

  if (cli_namespace () == NULL)
    {
      g_variant_unref (g_variant_ref_sink (options));
      return 1;
    }
  job = gantry_namespace_pull_image (cli_namespace (), reference, options, NULL, &error);
  if (job == NULL)
    return cli_fail_error (error);
  return cli_follow_items (job, quiet, ret_result);
}

int
cli_pull_missing (const char *reference, const char *platform, const char *snapshotter)
{
  const char *const platforms[] = { platform, NULL };
  GVariantDict options;

  g_variant_dict_init (&options, NULL);
  if (platform != NULL)
    g_variant_dict_insert_value (&options, "platforms", g_variant_new_strv (platforms, -1));
  if (snapshotter != NULL)
    g_variant_dict_insert (&options, "snapshotter", "s", snapshotter);
  return pull (reference, g_variant_dict_end (&options), FALSE, NULL) == 0 ? 0 : 1;
}

int
cli_pull (int argc, char **argv)
{
  g_auto (CliAccess) access = { NULL };
  g_autofree char *name = NULL, *snapshotter = NULL;
  g_auto (GStrv) platforms = NULL, labels = NULL, types = NULL;
  gboolean all = FALSE, metadata = FALSE, no_unpack = FALSE, quiet = FALSE, referrers = FALSE,
           schema1 = FALSE;
  const GOptionEntry entries[]
      = { { "platform", 0, 0, G_OPTION_ARG_STRING_ARRAY, &platforms,
            "This platform [this machine's]; repeatable", "OS/ARCH" },
          { "all-platforms", 0, 0, G_OPTION_ARG_NONE, &all, "Every platform", NULL },
          { "all-metadata", 0, 0, G_OPTION_ARG_NONE, &metadata, "Manifests and configs of every platform",
            NULL },
          { "name", 0, 0, G_OPTION_ARG_STRING, &name, "Name the image so", "NAME" },
          { "label", 'l', 0, G_OPTION_ARG_STRING_ARRAY, &labels, "Label the image", "K=V" },
          { "snapshotter", 0, 0, G_OPTION_ARG_STRING, &snapshotter, "Unpack for this one", "ID" },
          { "no-unpack", 0, 0, G_OPTION_ARG_NONE, &no_unpack, "Fetch only", NULL },
          { "referrers", 0, 0, G_OPTION_ARG_NONE, &referrers,
            "Also what refers to it: signatures and the like", NULL },
          { "referrer-type", 0, 0, G_OPTION_ARG_STRING_ARRAY, &types,
            "Of those only this artifact type; repeatable", "TYPE" },
          { "convert-schema1", 0, 0, G_OPTION_ARG_NONE, &schema1,
            "Make an OCI image of Docker's oldest format", NULL },
          { "quiet", 'q', 0, G_OPTION_ARG_NONE, &quiet, "Show no progress", NULL },
          CLI_ACCESS_ENTRIES (access),
          { NULL } };
  g_autoptr (GVariant) result = NULL;
  g_auto (GVariantDict) options = G_VARIANT_DICT_INIT (NULL);
  int status;

  if (!cli_parse (&argc, &argv, "pull", "REFERENCE",
                  "Fetches an image from its registry, unpacks it and prints its name.\n\n"
                  "  gantry pull busybox\n  gantry pull --platform linux/arm64 --no-unpack "
                  "registry.example:5000/team/app:1.2",
                  entries, FALSE))
    return CLI_USAGE;
  if (argc != 2)
    return cli_usage ("pull", "pull needs a reference");
  if (platforms != NULL)
    g_variant_dict_insert (&options, "platforms", "^as", platforms);
  if (all)
    g_variant_dict_insert (&options, "all-platforms", "b", TRUE);
  if (metadata)
    g_variant_dict_insert (&options, "all-metadata", "b", TRUE);
  if (name != NULL)
    g_variant_dict_insert (&options, "name", "s", name);
  if (labels != NULL)
    g_variant_dict_insert_value (&options, "labels", cli_pairs (labels));
  if (snapshotter != NULL)
    g_variant_dict_insert (&options, "snapshotter", "s", snapshotter);
  if (no_unpack)
    g_variant_dict_insert (&options, "unpack", "b", FALSE);
  if (referrers)
    g_variant_dict_insert (&options, "referrers", "b", TRUE);
  if (schema1)
    g_variant_dict_insert (&options, "convert-schema1", "b", TRUE);
  if (types != NULL)
    g_variant_dict_insert (&options, "referrer-types", "^as", types);
  if (!cli_access_add (&options, &access))
    return CLI_USAGE;
  status = pull (argv[1], g_variant_dict_end (&options), quiet, &result);
  if (status != 0)
    return status;
  if (cli.json)
    cli_print_json (result);
  else
    g_print ("%s\n", cli_string (result, "name"));
  return 0;
}

static int
push (const char *name, const char *reference, GVariant *options, gboolean quiet)
{
  g_autoptr (GVariant) result = NULL, target = NULL;
  GError *error = NULL;
  GantryJob *job;
  const char *digest;
  int status;

  if (cli_namespace () == NULL)
    {
      g_variant_unref (g_variant_ref_sink (options));
      return 1;
    }
  job = gantry_namespace_push_image (cli_namespace (), name, reference, options, NULL, &error);
  if (job == NULL)
    return cli_fail_error (error);
  status = cli_follow_items (job, quiet, &result);
  if (status != 0)
    return status;
  if (cli.json)
    cli_print_json (result);
  else if ((target = g_variant_lookup_value (result, "target", G_VARIANT_TYPE ("(ssta{ss})"))) != NULL)
    {
      g_variant_get_child (target, 1, "&s", &digest);
      g_print ("%s\n", digest);
    }
  return 0;
}

int
cli_push (int argc, char **argv)
{
  g_auto (CliAccess) access = { NULL };
  g_auto (GStrv) platforms = NULL;
  gboolean quiet = FALSE, referrers = FALSE;
  const GOptionEntry entries[] = {
    { "platform", 0, 0, G_OPTION_ARG_STRING_ARRAY, &platforms, "Only this platform of an index; repeatable",
      "OS/ARCH" },
    { "referrers", 0, 0, G_OPTION_ARG_NONE, &referrers, "Also what refers to it and is here", NULL },
    { "quiet", 'q', 0, G_OPTION_ARG_NONE, &quiet, "Show no progress", NULL },
    CLI_ACCESS_ENTRIES (access),
    { NULL },
  };
  g_auto (GVariantDict) options = G_VARIANT_DICT_INIT (NULL);

  if (!cli_parse (&argc, &argv, "push", "IMAGE [REFERENCE]",
                  "Sends an image to a registry, to REFERENCE or to where its name says, and prints the "
                  "digest. Of an index with one\n"
                  "platform named that manifest is sent, with several an index of those.\n\n"
                  "  gantry push busybox registry.example:5000/team/busybox:1",
                  entries, FALSE))
    return CLI_USAGE;
  if (argc != 2 && argc != 3)
    return cli_usage ("push", "push needs an image, and perhaps where to");
  if (platforms != NULL)
    g_variant_dict_insert (&options, "platforms", "^as", platforms);
  if (referrers)
    g_variant_dict_insert (&options, "referrers", "b", TRUE);
  if (!cli_access_add (&options, &access))
    return CLI_USAGE;
  return push (argv[1], argc == 3 ? argv[2] : NULL, g_variant_dict_end (&options), quiet);
}
