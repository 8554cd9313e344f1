/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * login, logout, search-tags, image referrers, registry explain. */
#include "cli.h"

#include <stdio.h>
#include <termios.h>
#include <unistd.h>

/* Asks on the terminal. @secret: what is typed is not shown. Returns: (transfer full). */
static char *
ask (const char *question, gboolean secret)
{
  struct termios shown, hidden;
  gboolean hide = secret && tcgetattr (STDIN_FILENO, &shown) == 0;
  char *line;

  fprintf (stderr, "%s: ", question);
  fflush (stderr);
  if (hide)
    {
      hidden = shown;
      hidden.c_lflag &= ~(tcflag_t)ECHO;
      tcsetattr (STDIN_FILENO, TCSAFLUSH, &hidden);
    }
  line = cli_read_line ();
  if (hide)
    {
      tcsetattr (STDIN_FILENO, TCSAFLUSH, &shown);
      fputc ('\n', stderr);
    }
  return line;
}

int
cli_login (int argc, char **argv)
{
  g_auto (CliAccess) access = { NULL };
  g_autofree char *username = NULL, *password = NULL;
  gboolean no_store = FALSE;
  const GOptionEntry entries[] = {
    { "username", 'u', 0, G_OPTION_ARG_STRING, &username, "The user [asked for]", "USER" },
    { "password-stdin", 0, 0, G_OPTION_ARG_NONE, &access.password_stdin,
      "Read the password from standard input", NULL },
    { "no-store", 0, 0, G_OPTION_ARG_NONE, &no_store, "Only check", NULL },
    { "plain-http", 0, 0, G_OPTION_ARG_NONE, &access.plain_http, "Allow HTTP beyond this machine", NULL },
    { "skip-verify", 'k', 0, G_OPTION_ARG_NONE, &access.skip_verify, "Accept any TLS certificate", NULL },
    { "hosts-dir", 0, 0, G_OPTION_ARG_FILENAME, &access.hosts_dir, "Directory with hosts.toml files", "DIR" },
    { NULL },
  };
  g_auto (GVariantDict) options = G_VARIANT_DICT_INIT (NULL);
  g_autoptr (GVariant) details = NULL;
  GantryClient *client;
  GError *error = NULL;
  const char *server;

  if (!cli_parse (&argc, &argv, "login", "[SERVER]",
                  "Checks a user's credentials at a registry [docker.io] and keeps them with the daemon, "
                  "readable by root only.\n\n"
                  "  gantry login -u maria registry.example:5000",
                  entries, FALSE))
    return CLI_USAGE;
  if (argc > 2)
    return cli_usage ("login", "login takes one server");
  server = argc == 2 ? argv[1] : "docker.io";
  if (username == NULL)
    username = ask ("Username", FALSE);
  password = access.password_stdin ? cli_read_line () : ask ("Password", TRUE);
  access.password_stdin = FALSE;
  if (!cli_access_add (&options, &access))
    return CLI_USAGE;
  g_variant_dict_insert (&options, "username", "s", username);
  g_variant_dict_insert (&options, "password", "s", password);
  g_variant_dict_insert (&options, "store", "b", !no_store);
  client = cli_client ();
  if (client == NULL)
    return 1;
  details = gantry_client_login (client, server, g_variant_dict_end (&options), NULL, &error);
  if (details == NULL)
    return cli_fail_error (error);
  if (cli.json)
    cli_print_json (details);
  else if (no_store)
    g_print ("%s takes the credentials of %s\n", server, username);
  else
    g_print ("Logged in to %s as %s; the %s is in %s\n", server, username, cli_string (details, "kind"),
             cli_string (details, "file"));
  return 0;
}

int
cli_logout (int argc, char **argv)
{
  GantryClient *client;
  GError *error = NULL;

  if (!cli_parse (&argc, &argv, "logout", "[SERVER]",
                  "Forgets what login has stored for a registry [docker.io].", NULL, FALSE))
    return CLI_USAGE;
  if (argc > 2)
    return cli_usage ("logout", "logout takes one server");
  client = cli_client ();
  return client == NULL
             ? 1
             : cli_done (gantry_client_logout (client, argc == 2 ? argv[1] : "docker.io", NULL, &error),
                         &error);
}

int
cli_search_tags (int argc, char **argv)
{
  g_auto (CliAccess) access = { NULL };
  g_autofree char *last = NULL;
  int limit = 1000;
  const GOptionEntry entries[] = {
    { "limit", 0, 0, G_OPTION_ARG_INT, &limit, "At most so many [1000]", "N" },
    { "after", 0, 0, G_OPTION_ARG_STRING, &last, "Only what comes after this one", "TAG" },
    CLI_ACCESS_ENTRIES (access),
    { NULL },
  };
  g_auto (GVariantDict) options = G_VARIANT_DICT_INIT (NULL);
  g_auto (GStrv) tags = NULL;
  GantryClient *client;
  GError *error = NULL;

  if (!cli_parse (&argc, &argv, "search-tags", "REPOSITORY",
                  "Lists the tags of a repository, in the registry's order.\n\n  gantry search-tags "
                  "quay.io/podman/hello",
                  entries, FALSE))
    return CLI_USAGE;
  if (argc != 2)
    return cli_usage ("search-tags", "search-tags needs a repository");
  if (limit < 1)
    return cli_usage ("search-tags", "--limit is at least 1");
  g_variant_dict_insert (&options, "limit", "u", (guint32)limit);
  if (last != NULL)
    g_variant_dict_insert (&options, "last", "s", last);
  if (!cli_access_add (&options, &access))
    return CLI_USAGE;
  client = cli_client ();
  if (client == NULL)
    return 1;
  tags = gantry_client_search_tags (client, argv[1], g_variant_dict_end (&options), NULL, &error);
  if (tags == NULL)
    return cli_fail_error (error);
  if (cli.json)
    cli_print_json (g_variant_new_strv ((const char *const *)tags, -1));
  else
    for (gsize i = 0; tags[i] != NULL; i++)
      g_print ("%s\n", tags[i]);
  return 0;
}

static void
print_referrers (GVariant *referrers)
{
  g_autoptr (GPtrArray) rows = cli_new_table ();

  cli_add_row (rows, "DIGEST\tARTIFACT TYPE\tSIZE\tCREATED");
  for (gsize i = 0; i < g_variant_n_children (referrers); i++)
    {
      g_autoptr (GVariant) one = g_variant_get_child_value (referrers, i);
      g_autoptr (GVariant) annotations
          = g_variant_lookup_value (one, "annotations", G_VARIANT_TYPE ("a{ss}"));
      const char *created = NULL;
      guint64 size = 0;

      g_variant_lookup (one, "size", "t", &size);
      if (annotations != NULL)
        g_variant_lookup (annotations, "org.opencontainers.image.created", "&s", &created);
      cli_add_row (rows, "%s\t%s\t%" G_GUINT64_FORMAT "\t%s", cli_string (one, "digest"),
                   cli_string (one, "artifact-type"), size, created != NULL ? created : "");
    }
  cli_print_table (rows);
}

int
cli_referrers (int argc, char **argv)
{
  g_auto (CliAccess) access = { NULL };
  g_autofree char *type = NULL;
  const GOptionEntry entries[] = {
    { "type", 0, 0, G_OPTION_ARG_STRING, &type, "Only of this artifact type", "TYPE" },
    CLI_ACCESS_ENTRIES (access),
    { NULL },
  };
  g_auto (GVariantDict) options = G_VARIANT_DICT_INIT (NULL);
  g_autoptr (GVariant) referrers = NULL;
  GantryClient *client;
  GError *error = NULL;

  if (!cli_parse (&argc, &argv, "image referrers", "REFERENCE",
                  "Lists the manifests at a registry that refer to an image there, as signatures and bills "
                  "of materials do.\n\n"
                  "  gantry image referrers --type application/spdx+json registry.example:5000/team/app:1.2",
                  entries, FALSE))
    return CLI_USAGE;
  if (argc != 2)
    return cli_usage ("image referrers", "referrers needs a reference");
  if (type != NULL)
    g_variant_dict_insert (&options, "type", "s", type);
  if (!cli_access_add (&options, &access))
    return CLI_USAGE;
  client = cli_client ();
  if (client == NULL)
    return 1;
  referrers = gantry_client_list_referrers (client, argv[1], g_variant_dict_end (&options), NULL, &error);
  if (referrers == NULL)
    return cli_fail_error (error);
  if (cli.json)
    cli_print_json (referrers);
  else
    print_referrers (referrers);
  return 0;
}

static char *
join (GVariant *dict, const char *key)
{
  g_auto (GStrv) words = NULL;

  return g_variant_lookup (dict, key, "^as", &words) ? g_strjoinv (", ", words) : g_strdup ("");
}

static void
print_field (const char *name, const char *value)
{
  if (value != NULL && value[0] != '\0')
    g_print ("   %-12s %s\n", name, value);
}

static void
print_host (guint number, GVariant *host)
{
  g_autofree char *capabilities = join (host, "capabilities"), *ca = join (host, "ca");
  gboolean mirror = FALSE;
  guint32 milliseconds = 0;

  g_variant_lookup (host, "mirror", "b", &mirror);
  g_variant_lookup (host, "milliseconds", "u", &milliseconds);
  g_print ("%u. %s%s\n", number, cli_string (host, "url"), mirror ? " (mirror)" : "");
  print_field ("from", cli_string (host, "origin"));
  print_field ("for", capabilities);
  print_field ("TLS", cli_string (host, "tls"));
  print_field ("authorities", ca);
  print_field ("proxy", cli_string (host, "proxy"));
  print_field ("credentials",
               cli_string (host, "credentials")[0] != '\0' ? cli_string (host, "credentials") : "none");
  if (cli_string (host, "skipped")[0] != '\0')
    print_field ("not asked", cli_string (host, "skipped"));
  else
    g_print ("   %-12s %s (%u ms)\n", "answer", cli_string (host, "answer"), milliseconds);
  print_field ("digest", cli_string (host, "digest"));
}

static int
explain (int argc, char **argv)
{
  g_auto (CliAccess) access = { NULL };
  gboolean push = FALSE;
  const GOptionEntry entries[] = {
    { "push", 0, 0, G_OPTION_ARG_NONE, &push, "As for a push", NULL },
    CLI_ACCESS_ENTRIES (access),
    { NULL },
  };
  g_auto (GVariantDict) options = G_VARIANT_DICT_INIT (NULL);
  g_autoptr (GVariant) hosts = NULL;
  GantryClient *client;
  GError *error = NULL;

  if (!cli_parse (&argc, &argv, "registry explain", "REFERENCE",
                  "Says which hosts would be asked for an image, in which order and why, with whose "
                  "credentials, and what each answers now.\n\n"
                  "  gantry registry explain busybox",
                  entries, FALSE))
    return CLI_USAGE;
  if (argc != 2)
    return cli_usage ("registry explain", "explain needs a reference");
  if (push)
    g_variant_dict_insert (&options, "push", "b", TRUE);
  if (!cli_access_add (&options, &access))
    return CLI_USAGE;
  client = cli_client ();
  if (client == NULL)
    return 1;
  hosts = gantry_client_explain_registry (client, argv[1], g_variant_dict_end (&options), NULL, &error);
  if (hosts == NULL)
    return cli_fail_error (error);
  if (cli.json)
    {
      cli_print_json (hosts);
      return 0;
    }
  for (gsize i = 0; i < g_variant_n_children (hosts); i++)
    {
      g_autoptr (GVariant) host = g_variant_get_child_value (hosts, i);

      if (i == 0)
        g_print ("%s\n", cli_string (host, "reference"));
      print_host ((guint)i + 1, host);
    }
  return 0;
}

int
cli_registry (int argc, char **argv)
{
  static const CliVerb verbs[] = {
    { "explain", explain, "Say which hosts would be asked for an image, and what they answer" },
    { "login", cli_login, "Keep credentials for a registry" },
    { "logout", cli_logout, "Forget them" },
    { "search-tags", cli_search_tags, "List the tags of a repository" },
  };

  return cli_dispatch ("registry", "Works on registries.", verbs, G_N_ELEMENTS (verbs), argc, argv);
}
