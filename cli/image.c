/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gantry image. */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void
set_string (GVariantDict *dict, const char *key, const char *value)
{
  if (value != NULL)
    g_variant_dict_insert (dict, key, "s", value);
}

static void
set_strv (GVariantDict *dict, const char *key, char **value)
{
  if (value != NULL)
    g_variant_dict_insert (dict, key, "^as", value);
}

static void
set_true (GVariantDict *dict, const char *key, gboolean value)
{
  if (value)
    g_variant_dict_insert (dict, key, "b", TRUE);
}

static void
print_names (GVariant *result)
{
  g_autofree const char **names = NULL;

  if (cli.json)
    {
      cli_print_json (result);
      return;
    }
  if (g_variant_lookup (result, "names", "^a&s", &names))
    for (gsize i = 0; names[i] != NULL; i++)
      g_print ("%s\n", names[i]);
}

static int
import_file (const char *file, GVariant *options)
{
  int fd = strcmp (file, "-") == 0 ? dup (STDIN_FILENO) : open (file, O_RDONLY | O_CLOEXEC);
  g_autoptr (GVariant) held = g_variant_ref_sink (options);
  g_autoptr (GVariant) result = NULL;
  GError *error = NULL;
  GantryJob *job;
  int status;

  if (fd < 0)
    return cli_fail ("%s: %s", file, g_strerror (errno));
  job = cli_namespace () != NULL ? gantry_namespace_import_images (cli_namespace (), fd, held, NULL, &error)
                                 : NULL;
  close (fd);
  if (job == NULL)
    return error != NULL ? cli_fail_error (error) : 1;
  status = cli_follow_job (job, &result);
  if (status == 0)
    print_names (result);
  return status;
}

static int
image_import (int argc, char **argv)
{
  g_autofree char *name = NULL, *prefix = NULL, *index_name = NULL, *snapshotter = NULL;
  g_auto (GStrv) platforms = NULL, labels = NULL;
  gboolean all = FALSE, digests = FALSE, no_unpack = FALSE;
  const GOptionEntry entries[]
      = { { "name", 0, 0, G_OPTION_ARG_STRING, &name, "Name for an archive's only image", "NAME" },
          { "index-name", 0, 0, G_OPTION_ARG_STRING, &index_name, "Make an image of the archive's index, too",
            "NAME" },
          { "prefix", 0, 0, G_OPTION_ARG_STRING, &prefix, "Name for images that have only a tag", "NAME" },
          { "platform", 0, 0, G_OPTION_ARG_STRING_ARRAY, &platforms, "Keep this platform [this machine's]",
            "OS/ARCH" },
          { "all-platforms", 0, 0, G_OPTION_ARG_NONE, &all, "Keep every platform", NULL },
          { "digests", 0, 0, G_OPTION_ARG_NONE, &digests, "Also name images by digest", NULL },
          { "label", 'l', 0, G_OPTION_ARG_STRING_ARRAY, &labels, "Label the images", "K=V" },
          { "snapshotter", 0, 0, G_OPTION_ARG_STRING, &snapshotter, "Unpack for this one", "ID" },
          { "no-unpack", 0, 0, G_OPTION_ARG_NONE, &no_unpack, "Import only", NULL },
          { NULL } };
  GVariantDict options;

  if (!cli_parse (
          &argc, &argv, "image import", "FILE",
          "Reads images from an OCI or `docker save` archive, plain or compressed; - is standard input.\n\n"
          "  skopeo copy docker://example.com/x:1 oci-archive:x.tar && gantry image import x.tar",
          entries, FALSE))
    return CLI_USAGE;
  if (argc != 2)
    return cli_usage ("image import", "import needs a file, or - for standard input");
  g_variant_dict_init (&options, NULL);
  set_string (&options, "name", name);
  set_string (&options, "prefix", prefix);
  set_string (&options, "index-name", index_name);
  set_string (&options, "snapshotter", snapshotter);
  set_strv (&options, "platforms", platforms);
  set_true (&options, "all-platforms", all);
  set_true (&options, "digests", digests);
  if (labels != NULL)
    g_variant_dict_insert_value (&options, "labels", cli_pairs (labels));
  if (no_unpack)
    g_variant_dict_insert (&options, "unpack", "b", FALSE);
  return import_file (argv[1], g_variant_dict_end (&options));
}

/* A new file is written beside and renamed, so that one of that name is whole; a device or a pipe is written
 * to as it is. */
static gboolean
is_stream (const char *file)
{
  struct stat st;

  return stat (file, &st) == 0 && !S_ISREG (st.st_mode);
}

static int
export_to (const char *file, char **names, GVariant *options)
{
  g_autofree char *temporary = g_strdup_printf ("%s.XXXXXX", file);
  g_autoptr (GVariant) held = g_variant_ref_sink (options);
  gboolean standard = strcmp (file, "-") == 0, stream = standard || is_stream (file);
  GError *error = NULL;
  GantryJob *job;
  int fd = standard ? dup (STDOUT_FILENO)
           : stream ? open (file, O_WRONLY | O_CLOEXEC)
                    : g_mkstemp_full (temporary, O_RDWR | O_CLOEXEC, 0644);
  int status;

  if (fd < 0)
    return cli_fail ("%s: %s", file, g_strerror (errno));
  job = cli_namespace () != NULL
            ? gantry_namespace_export_images (cli_namespace (), (const char *const *)names, fd, held, NULL,
                                              &error)
            : NULL;
  if (job == NULL)
    status = error != NULL ? cli_fail_error (error) : 1;
  else
    status = cli_follow_job (job, NULL);
  if (status == 0 && !stream && (fsync (fd) < 0 || rename (temporary, file) < 0))
    status = cli_fail ("%s: %s", file, g_strerror (errno));
  close (fd);
  if (status != 0 && !stream)
    unlink (temporary);
  return status;
}

static int
image_export (int argc, char **argv)
{
  g_autofree char *output = NULL;
  g_auto (GStrv) platforms = NULL;
  gboolean no_docker = FALSE, referrers = FALSE;
  const GOptionEntry entries[]
      = { { "output", 'o', 0, G_OPTION_ARG_FILENAME, &output, "Write there [standard output]", "FILE" },
          { "platform", 0, 0, G_OPTION_ARG_STRING_ARRAY, &platforms, "Only this platform [all that are here]",
            "OS/ARCH" },
          { "referrers", 0, 0, G_OPTION_ARG_NONE, &referrers, "Also what refers to them: signatures and more",
            NULL },
          { "skip-manifest-json", 0, 0, G_OPTION_ARG_NONE, &no_docker, "Without what docker load needs",
            NULL },
          { NULL } };
  GVariantDict options;

  if (!cli_parse (&argc, &argv, "image export", "IMAGE …",
                  "Writes images as one OCI archive, which docker load reads too.\n\n"
                  "  gantry image export -o x.tar busybox && skopeo inspect oci-archive:x.tar",
                  entries, FALSE))
    return CLI_USAGE;
  if (argc < 2)
    return cli_usage ("image export", "export needs an image");
  if (output == NULL && isatty (STDOUT_FILENO))
    return cli_usage ("image export", "an archive is nothing for a terminal; give --output FILE");
  g_variant_dict_init (&options, NULL);
  set_strv (&options, "platforms", platforms);
  set_true (&options, "referrers", referrers);
  if (no_docker)
    g_variant_dict_insert (&options, "docker", "b", FALSE);
  return export_to (output != NULL ? output : "-", argv + 1, g_variant_dict_end (&options));
}

static int
image_ls (int argc, char **argv)
{
  gboolean quiet = FALSE;
  g_auto (GStrv) filters = NULL;
  const GOptionEntry entries[] = { { "quiet", 'q', 0, G_OPTION_ARG_NONE, &quiet, "Names only", NULL },
                                   { "filter", 'f', 0, G_OPTION_ARG_STRING_ARRAY, &filters,
                                     "Only those that match, as name~=busybox", "FILTER" },
                                   { NULL } };
  g_autoptr (GPtrArray) rows = cli_new_table ();
  g_autoptr (GPtrArray) images = NULL;
  GVariantBuilder all;
  GError *error = NULL;

  if (!cli_parse (&argc, &argv, "image ls", "", "Lists images.", entries, FALSE))
    return CLI_USAGE;
  if (cli_namespace () == NULL)
    return 1;
  images = gantry_namespace_list_images (cli_namespace (), (const char *const *)filters, NULL, &error);
  if (images == NULL)
    return cli_fail_error (error);
  if (!quiet)
    cli_add_row (rows, "IMAGE\tDIGEST\tTYPE\tCREATED");
  g_variant_builder_init (&all, G_VARIANT_TYPE ("aa{sv}"));
  for (guint i = 0; i < images->len; i++)
    {
      GVariant *info = gantry_image_get_info (g_ptr_array_index (images, i));
      g_autoptr (GVariant) target = g_variant_lookup_value (info, "target", G_VARIANT_TYPE ("(ssta{ss})"));
      g_autofree char *ago = NULL;
      const char *type = "", *digest = "";
      gint64 created = 0;

      if (target != NULL)
        g_variant_get (target, "(&s&sta{ss})", &type, &digest, NULL, NULL);
      g_variant_lookup (info, "created", "x", &created);
      ago = cli_ago (created);
      g_variant_builder_add_value (&all, info);
      if (quiet)
        cli_add_row (rows, "%s", cli_string (info, "name"));
      else
        cli_add_row (rows, "%s\t%.19s\t%s\t%s", cli_string (info, "name"), digest,
                     strstr (type, "index") != NULL || strstr (type, "list") != NULL ? "index" : "manifest",
                     ago);
    }
  if (cli.json)
    cli_print_json (g_variant_builder_end (&all));
  else
    {
      g_variant_builder_clear (&all);
      cli_print_table (rows);
    }
  return 0;
}

static int
image_inspect (int argc, char **argv)
{
  g_autofree char *platform = NULL;
  const GOptionEntry entries[]
      = { { "platform", 0, 0, G_OPTION_ARG_STRING, &platform, "Which one [this machine's]", "OS/ARCH" },
          { NULL } };
  g_autoptr (GantryImage) image = NULL;
  g_autoptr (GVariant) details = NULL;
  g_autoptr (JsonNode) node = NULL, config = NULL;
  GError *error = NULL;

  if (!cli_parse (&argc, &argv, "image inspect", "IMAGE", "Shows all that is known of an image, as JSON.",
                  entries, FALSE))
    return CLI_USAGE;
  if (argc != 2)
    return cli_usage ("image inspect", "inspect needs an image");
  image = cli_image_object (argv[1]);
  if (image == NULL)
    return 1;
  details = gantry_image_inspect (image, platform, NULL, &error);
  if (details == NULL)
    return cli_fail_error (error);
  node = json_gvariant_serialize (details);
  config = json_from_string (cli_string (details, "config"), NULL);
  if (config != NULL && JSON_NODE_HOLDS_OBJECT (config))
    json_object_set_member (json_node_get_object (node), "config", g_steal_pointer (&config));
  cli_print_node (node);
  return 0;
}

static int
image_unpack (int argc, char **argv)
{
  g_autofree char *snapshotter = NULL, *platform = NULL;
  const GOptionEntry entries[]
      = { { "snapshotter", 0, 0, G_OPTION_ARG_STRING, &snapshotter, "For this one", "ID" },
          { "platform", 0, 0, G_OPTION_ARG_STRING, &platform, "Which one [this machine's]", "OS/ARCH" },
          { NULL } };
  g_autoptr (GantryImage) image = NULL;
  g_autoptr (GVariant) result = NULL;
  GVariantDict options;
  GError *error = NULL;
  GantryJob *job;

  if (!cli_parse (&argc, &argv, "image unpack", "IMAGE",
                  "Makes an image's layers into snapshots and prints the topmost's name.", entries, FALSE))
    return CLI_USAGE;
  if (argc != 2)
    return cli_usage ("image unpack", "unpack needs an image");
  image = cli_image_object (argv[1]);
  if (image == NULL)
    return 1;
  g_variant_dict_init (&options, NULL);
  set_string (&options, "snapshotter", snapshotter);
  set_string (&options, "platform", platform);
  job = gantry_image_unpack (image, g_variant_dict_end (&options), NULL, &error);
  if (job == NULL)
    return cli_fail_error (error);
  if (cli_follow_job (job, &result) != 0)
    return 1;
  g_print ("%s\n", cli_string (result, "chain-id"));
  return 0;
}

static int
image_tag (int argc, char **argv)
{
  gboolean force = FALSE;
  const GOptionEntry entries[]
      = { { "force", 'f', 0, G_OPTION_ARG_NONE, &force, "Even if the name is another image's", NULL },
          { NULL } };
  g_autoptr (GantryImage) image = NULL, tagged = NULL;
  GError *error = NULL;

  if (!cli_parse (&argc, &argv, "image tag", "IMAGE NAME", "Gives an image one more name.", entries, FALSE))
    return CLI_USAGE;
  if (argc != 3)
    return cli_usage ("image tag", "tag needs an image and a name");
  image = cli_image_object (argv[1]);
  if (image == NULL)
    return 1;
  tagged = gantry_image_tag (image, argv[2], force, NULL, &error);
  return cli_done (tagged != NULL, &error);
}

static int
image_label (int argc, char **argv)
{
  g_autoptr (GantryImage) image = NULL;
  GError *error = NULL;

  if (!cli_parse (&argc, &argv, "image label", "IMAGE K=V …", "Sets labels; K= removes one.", NULL, FALSE))
    return CLI_USAGE;
  if (argc < 3)
    return cli_usage ("image label", "label needs an image and labels");
  image = cli_image_object (argv[1]);
  return image == NULL
             ? 1
             : cli_done (gantry_image_set_labels (image, cli_pairs (argv + 2), NULL, &error), &error);
}

static int
image_rm (int argc, char **argv)
{
  int status = 0;

  if (!cli_parse (&argc, &argv, "image rm", "IMAGE …", "Forgets images; what only they held is collected.",
                  NULL, FALSE))
    return CLI_USAGE;
  if (argc < 2)
    return cli_usage ("image rm", "rm needs an image");
  for (int i = 1; i < argc; i++)
    {
      g_autoptr (GantryImage) image = cli_image_object (argv[i]);
      GError *error = NULL;

      status |= image == NULL ? 1 : cli_done (gantry_image_remove (image, NULL, &error), &error);
    }
  return status;
}

int
cli_image (int argc, char **argv)
{
  static const CliVerb verbs[] = {
    { "pull", cli_pull, "Fetch an image from a registry" },
    { "push", cli_push, "Send an image to a registry" },
    { "login", cli_login, "Keep credentials for a registry" },
    { "logout", cli_logout, "Forget them" },
    { "search-tags", cli_search_tags, "List the tags of a repository" },
    { "referrers", cli_referrers, "List what refers to an image at its registry: signatures and the like" },
    { "import", image_import, "Read images from an archive" },
    { "export", image_export, "Write images as an archive" },
    { "ls", image_ls, "List images" },
    { "inspect", image_inspect, "Show all that is known of an image" },
    { "unpack", image_unpack, "Make its layers into snapshots" },
    { "tag", image_tag, "Give it one more name" },
    { "label", image_label, "Set labels" },
    { "convert", cli_image_convert, "Make it an OCI image, or compress its layers anew" },
    { "install", cli_image_install, "Put its programs into a directory of this machine" },
    { "verify", cli_image_verify, "Say whether the policy allows it" },
    { "sign", cli_image_sign, "Sign it" },
    { "usage", cli_image_usage, "What images take on disk" },
    { "prune", cli_image_prune, "Forget those that no container uses" },
    { "rm", image_rm, "Forget it" },
  };

  return cli_dispatch ("image", "Works on images.", verbs, G_N_ELEMENTS (verbs), argc, argv);
}
