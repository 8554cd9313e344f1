/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * How a registry is reached, as options of the verbs that ask one. */
#include "cli.h"

#include <stdio.h>
#include <string.h>

void
cli_access_clear (CliAccess *access)
{
  g_free (access->creds);
  g_free (access->hosts_dir);
}

char *
cli_read_line (void)
{
  char line[4096];

  if (fgets (line, sizeof line, stdin) == NULL)
    return g_strdup ("");
  line[strcspn (line, "\r\n")] = '\0';
  return g_strdup (line);
}

gboolean
cli_access_add (GVariantDict *options, const CliAccess *access)
{
  g_auto (GStrv) parts = access->creds != NULL ? g_strsplit (access->creds, ":", 2) : NULL;
  g_autofree char *typed = access->password_stdin ? cli_read_line () : NULL;
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
