/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gantry image install. */
#include "cli.h"

static void
print_files (GVariant *result)
{
  g_autofree const char **files = NULL;

  if (cli.json)
    {
      cli_print_json (g_variant_ref (result));
      return;
    }
  if (g_variant_lookup (result, "files", "^a&s", &files))
    for (gsize i = 0; files[i] != NULL; i++)
      g_print ("%s/%s\n", cli_string (result, "path"), files[i]);
}

int
cli_image_install (int argc, char **argv)
{
  g_autofree char *path = NULL, *platform = NULL;
  gboolean lib = FALSE, replace = FALSE;
  const GOptionEntry entries[]
      = { { "path", 0, 0, G_OPTION_ARG_FILENAME, &path, "Install there [/opt/gantry]", "DIR" },
          { "libs", 'l', 0, G_OPTION_ARG_NONE, &lib, "Also what is in lib", NULL },
          { "replace", 'r', 0, G_OPTION_ARG_NONE, &replace, "Replace files that are there", NULL },
          { "platform", 0, 0, G_OPTION_ARG_STRING, &platform, "Which one [this machine's]", "OS/ARCH" },
          { NULL } };
  g_autoptr (GantryImage) image = NULL;
  g_autoptr (GVariant) result = NULL;
  GVariantDict options;
  GError *error = NULL;
  GantryJob *job;

  if (!cli_parse (&argc, &argv, "image install", "IMAGE",
                  "Puts the files in an image's bin into a directory of this machine, and prints their "
                  "names. An image with other things\n"
                  "than files and directories there is refused.\n\n"
                  "  gantry image install --path /usr/local example.com/tools:1",
                  entries, FALSE))
    return CLI_USAGE;
  if (argc != 2)
    return cli_usage ("image install", "install needs an image");
  image = cli_image_object (argv[1]);
  if (image == NULL)
    return 1;
  g_variant_dict_init (&options, NULL);
  if (path != NULL)
    g_variant_dict_insert_value (&options, "path",
                                 g_variant_new_take_string (g_canonicalize_filename (path, NULL)));
  if (platform != NULL)
    g_variant_dict_insert (&options, "platform", "s", platform);
  if (lib)
    g_variant_dict_insert (&options, "lib", "b", TRUE);
  if (replace)
    g_variant_dict_insert (&options, "replace", "b", TRUE);
  job = gantry_image_install (image, g_variant_dict_end (&options), NULL, &error);
  if (job == NULL)
    return cli_fail_error (error);
  if (cli_follow_job (job, &result) != 0)
    return 1;
  print_files (result);
  return 0;
}
