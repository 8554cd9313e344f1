/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * pull and push, also as image pull and image push. */
#include "cli.h"

#include <stdio.h>
#include <string.h>

/* How the registry is reached. */
typedef struct {
  char *creds, *username, *hosts_dir, *identity_token;
  gboolean password_stdin, anonymous, plain_http, skip_verify;
} Access;

#define ACCESS_ENTRIES(access)                                                                                                    \
  { "creds", 'u', 0, G_OPTION_ARG_STRING, &(access).creds, "Log in as, for this call only", "USER[:PASSWORD]" },                  \
  { "password-stdin", 0, 0, G_OPTION_ARG_NONE, &(access).password_stdin, "Read the password from standard input", NULL },         \
  { "anonymous", 0, 0, G_OPTION_ARG_NONE, &(access).anonymous, "Use no stored credentials", NULL },                               \
  { "plain-http", 0, 0, G_OPTION_ARG_NONE, &(access).plain_http, "Allow HTTP beyond this machine", NULL },                        \
  { "skip-verify", 'k', 0, G_OPTION_ARG_NONE, &(access).skip_verify, "Accept any TLS certificate", NULL },                        \
  { "hosts-dir", 0, 0, G_OPTION_ARG_FILENAME, &(access).hosts_dir, "Directory with hosts.toml files", "DIR" }

static void
access_clear (Access *access)
{
  g_free (access->creds);
  g_free (access->username);
  g_free (access->hosts_dir);
  g_free (access->identity_token);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Access, access_clear)

/* One line, without its end. */
static char *
read_password (void)
{
  char line[4096];

  if (fgets (line, sizeof line, stdin) == NULL)
    return g_strdup ("");
  line[strcspn (line, "\r\n")] = '\0';
  return g_strdup (line);
}

/* Returns: FALSE after a message. */
static gboolean
add_access (GVariantDict *options, const Access *access)
{
  g_auto (GStrv) parts = access->creds != NULL ? g_strsplit (access->creds, ":", 2) : NULL;
  g_autofree char *typed = access->password_stdin ? read_password () : NULL;
  const char *password = typed != NULL ? typed : parts != NULL && parts[0] != NULL ? parts[1] : NULL;

  if (parts != NULL && password == NULL)
    {
      cli_fail ("--creds without a password needs --password-stdin");
      return FALSE;
    }
  if (parts != NULL)
    g_variant_dict_insert (options, "username", "s", parts[0]);
  if (password != NULL)
    g_variant_dict_insert (options, "password", "s", password);
  if (access->anonymous)
    g_variant_dict_insert (options, "anonymous", "b", TRUE);
  if (access->plain_http)
    g_variant_dict_insert (options, "plain-http", "b", TRUE);
  if (access->skip_verify)
    g_variant_dict_insert (options, "skip-verify", "b", TRUE);
  if (access->hosts_dir != NULL)
    g_variant_dict_insert (options, "hosts-dir", "s", access->hosts_dir);
  return TRUE;
}

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
  g_auto (Access) access = { NULL };
  g_autofree char *name = NULL, *snapshotter = NULL;
  g_auto (GStrv) platforms = NULL, labels = NULL;
  gboolean all = FALSE, metadata = FALSE, no_unpack = FALSE, quiet = FALSE;
  const GOptionEntry entries[]
      = { { "platform", 0, 0, G_OPTION_ARG_STRING_ARRAY, &platforms, "This platform [this machine's]; repeatable", "OS/ARCH" },
          { "all-platforms", 0, 0, G_OPTION_ARG_NONE, &all, "Every platform", NULL },
          { "all-metadata", 0, 0, G_OPTION_ARG_NONE, &metadata, "Manifests and configs of every platform", NULL },
          { "name", 0, 0, G_OPTION_ARG_STRING, &name, "Name the image so", "NAME" },
          { "label", 'l', 0, G_OPTION_ARG_STRING_ARRAY, &labels, "Label the image", "K=V" },
          { "snapshotter", 0, 0, G_OPTION_ARG_STRING, &snapshotter, "Unpack for this one", "ID" },
          { "no-unpack", 0, 0, G_OPTION_ARG_NONE, &no_unpack, "Fetch only", NULL },
          { "quiet", 'q', 0, G_OPTION_ARG_NONE, &quiet, "Show no progress", NULL },
          ACCESS_ENTRIES (access),
          { NULL } };
  g_autoptr (GVariant) result = NULL;
  g_auto (GVariantDict) options = G_VARIANT_DICT_INIT (NULL);
  int status;

  if (!cli_parse (&argc, &argv, "pull", "REFERENCE",
                  "Fetches an image from its registry, unpacks it and prints its name.\n\n"
                  "  gantry pull busybox\n  gantry pull --platform linux/arm64 --no-unpack registry.example:5000/team/app:1.2",
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
  if (!add_access (&options, &access))
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
  g_auto (Access) access = { NULL };
  g_auto (GStrv) platforms = NULL;
  gboolean quiet = FALSE;
  const GOptionEntry entries[] = {
    { "platform", 0, 0, G_OPTION_ARG_STRING_ARRAY, &platforms, "Only this platform of an index", "OS/ARCH" },
    { "quiet", 'q', 0, G_OPTION_ARG_NONE, &quiet, "Show no progress", NULL },
    ACCESS_ENTRIES (access),
    { NULL },
  };
  g_auto (GVariantDict) options = G_VARIANT_DICT_INIT (NULL);

  if (!cli_parse (&argc, &argv, "push", "IMAGE [REFERENCE]",
                  "Sends an image to a registry, to REFERENCE or to where its name says, and prints the digest.\n\n"
                  "  gantry push busybox registry.example:5000/team/busybox:1",
                  entries, FALSE))
    return CLI_USAGE;
  if (argc != 2 && argc != 3)
    return cli_usage ("push", "push needs an image, and perhaps where to");
  if (platforms != NULL)
    g_variant_dict_insert (&options, "platforms", "^as", platforms);
  if (!add_access (&options, &access))
    return CLI_USAGE;
  return push (argv[1], argc == 3 ? argv[2] : NULL, g_variant_dict_end (&options), quiet);
}
