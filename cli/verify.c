/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gantry image verify, sign: does the policy allow it, and saying that it is what it is. */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define MAX_PASSPHRASE 4096

static void
print_report (GVariant *answer)
{
  g_autoptr (GVariant) report = g_variant_lookup_value (answer, "report", G_VARIANT_TYPE ("aa{sv}"));

  for (gsize i = 0; report != NULL && i < g_variant_n_children (report); i++)
    {
      g_autoptr (GVariant) step = g_variant_get_child_value (report, i);
      gboolean ok = FALSE;

      g_variant_lookup (step, "ok", "b", &ok);
      g_print ("  %s %s\n", ok ? "ok " : "no ", cli_string (step, "step"));
    }
}

int
cli_image_verify (int argc, char **argv)
{
  g_autofree char *platform = NULL;
  gboolean offline = FALSE, allowed = FALSE;
  const GOptionEntry entries[] = { { "platform", 0, 0, G_OPTION_ARG_STRING, &platform,
                                     "Of an image for several [this machine's]", "OS/ARCH" },
                                   { "offline", 0, 0, G_OPTION_ARG_NONE, &offline,
                                     "Ask no network: what was learnt earlier counts", NULL },
                                   { NULL } };
  g_autoptr (GantryImage) image = NULL;
  g_autoptr (GVariant) answer = NULL;
  GVariantDict options;
  GError *error = NULL;

  if (!cli_parse (&argc, &argv, "image verify", "IMAGE",
                  "Says whether policy.json allows an image to be used, step by step. Exit status 0 if it "
                  "does, 1 if not.",
                  entries, FALSE))
    return CLI_USAGE;
  if (argc != 2)
    return cli_usage ("image verify", "verify needs an image");
  image = cli_image_object (argv[1]);
  if (image == NULL)
    return 1;
  g_variant_dict_init (&options, NULL);
  if (platform != NULL)
    g_variant_dict_insert (&options, "platform", "s", platform);
  g_variant_dict_insert (&options, "offline", "b", offline);
  answer = gantry_image_verify (image, g_variant_dict_end (&options), NULL, &error);
  if (answer == NULL)
    return cli_fail_error (error);
  g_variant_lookup (answer, "allowed", "b", &allowed);
  if (cli.json)
    cli_print_json (g_variant_ref (answer));
  else
    {
      print_report (answer);
      if (allowed)
        g_print ("%s may be used\n", argv[1]);
      else
        return cli_fail ("%s", cli_string (answer, "reason"));
    }
  return allowed ? 0 : 1;
}

/* The first line of @path. Returns: (transfer full), or NULL after a message. */
static char *
read_passphrase (const char *path)
{
  char buffer[MAX_PASSPHRASE + 1] = "";
  int fd = strcmp (path, "-") == 0 ? STDIN_FILENO : open (path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd >= 0 ? read (fd, buffer, MAX_PASSPHRASE) : -1;
  char *line;

  if (fd > STDIN_FILENO)
    close (fd);
  if (n < 0)
    {
      cli_fail ("%s: %s", path, g_strerror (errno));
      return NULL;
    }
  buffer[strcspn (buffer, "\n")] = '\0';
  line = g_strdup (buffer);
  explicit_bzero (buffer, sizeof buffer);
  return line;
}

static int
write_signature (const char *path, GVariant *answer)
{
  g_autoptr (GVariant) signature = g_variant_lookup_value (answer, "signature", G_VARIANT_TYPE_BYTESTRING);
  gsize length = 0;
  const char *data = signature != NULL ? g_variant_get_fixed_array (signature, &length, 1) : NULL;
  GError *error = NULL;

  return cli_done (data != NULL
                       && g_file_set_contents_full (path, data, (gssize)length,
                                                    G_FILE_SET_CONTENTS_CONSISTENT, 0644, &error),
                   &error);
}

int
cli_image_sign (int argc, char **argv)
{
  g_autofree char *key = NULL, *home = g_strdup (g_getenv ("GNUPGHOME")), *passphrase_file = NULL,
                  *passphrase = NULL, *output = NULL;
  gboolean no_store = FALSE;
  const GOptionEntry entries[]
      = { { "key", 'k', 0, G_OPTION_ARG_STRING, &key, "Sign with this key", "FINGERPRINT" },
          { "gnupg-home", 0, 0, G_OPTION_ARG_FILENAME, &home, "Where the secret key is [GNUPGHOME]", "DIR" },
          { "passphrase-file", 0, 0, G_OPTION_ARG_FILENAME, &passphrase_file,
            "Read the key's passphrase there; - is standard input", "FILE" },
          { "output", 'o', 0, G_OPTION_ARG_FILENAME, &output, "Write the signature there, too", "FILE" },
          { "no-store", 0, 0, G_OPTION_ARG_NONE, &no_store, "Do not put it into the signature store", NULL },
          { NULL } };
  g_autoptr (GantryImage) image = NULL;
  g_autoptr (GVariant) answer = NULL;
  GVariantDict options;
  GError *error = NULL;

  if (!cli_parse (&argc, &argv, "image sign", "IMAGE",
                  "Signs that this name is this image (\"simple signing\", as skopeo does), and prints where "
                  "the signature was stored.\n\n"
                  "  gantry image sign --key 6A1C… registry.example/app:1",
                  entries, FALSE))
    return CLI_USAGE;
  if (argc != 2 || key == NULL)
    return cli_usage ("image sign", "sign needs an image and --key");
  if (passphrase_file != NULL && (passphrase = read_passphrase (passphrase_file)) == NULL)
    return 1;
  image = cli_image_object (argv[1]);
  if (image == NULL)
    return 1;
  g_variant_dict_init (&options, NULL);
  g_variant_dict_insert (&options, "key", "s", key);
  if (home != NULL)
    g_variant_dict_insert (&options, "home", "s", home);
  if (passphrase != NULL)
    g_variant_dict_insert (&options, "passphrase", "s", passphrase);
  g_variant_dict_insert (&options, "store", "b", !no_store);
  answer = gantry_image_sign (image, g_variant_dict_end (&options), NULL, &error);
  if (answer == NULL)
    return cli_fail_error (error);
  if (output != NULL && write_signature (output, answer) != 0)
    return 1;
  if (cli_string (answer, "location")[0] != '\0')
    g_print ("%s\n", cli_string (answer, "location"));
  return 0;
}
