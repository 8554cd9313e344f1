/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gantry image convert. */
#include "cli.h"

int
cli_image_convert (int argc, char **argv)
{
  g_autofree char *compression = NULL;
  g_auto (GStrv) platforms = NULL;
  const GOptionEntry entries[] = { { "compression", 0, 0, G_OPTION_ARG_STRING, &compression,
                                     "Compress the layers so [as they are]", "zstd|gzip|none" },
                                   { "platform", 0, 0, G_OPTION_ARG_STRING_ARRAY, &platforms,
                                     "Only this platform [all that are here]", "OS/ARCH" },
                                   { NULL } };
  g_autoptr (GantryImage) image = NULL;
  g_autoptr (GVariant) result = NULL;
  GVariantDict options;
  GError *error = NULL;
  GantryJob *job;

  if (!cli_parse (&argc, &argv, "image convert", "IMAGE NAME",
                  "Makes an OCI image of one of Docker's, and compresses layers anew if asked to; NAME may "
                  "be IMAGE.\n\n"
                  "  gantry image convert --compression zstd busybox busybox:zstd",
                  entries, FALSE))
    return CLI_USAGE;
  if (argc != 3)
    return cli_usage ("image convert", "convert needs an image and a name");
  image = cli_image_object (argv[1]);
  if (image == NULL)
    return 1;
  g_variant_dict_init (&options, NULL);
  if (compression != NULL)
    g_variant_dict_insert (&options, "compression", "s", compression);
  if (platforms != NULL)
    g_variant_dict_insert (&options, "platforms", "^as", platforms);
  job = gantry_image_convert (image, argv[2], g_variant_dict_end (&options), NULL, &error);
  if (job == NULL)
    return cli_fail_error (error);
  if (cli_follow_job (job, &result) != 0)
    return 1;
  if (cli.json)
    cli_print_json (g_variant_ref (result));
  else
    g_print ("%s\n", cli_string (result, "name"));
  return 0;
}
