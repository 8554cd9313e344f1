/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Command lines. */
#include "cli.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

gboolean
cli_parse (int *argc, char ***argv, const char *verb, const char *arguments, const char *help,
           const GOptionEntry *entries, gboolean strict)
{
  g_autoptr (GOptionContext) context = g_option_context_new (arguments);
  g_autofree char *name = g_strconcat ("gantry ", verb, NULL);
  g_autoptr (GError) error = NULL;

  g_set_prgname (name);
  g_option_context_set_summary (context, help);
  g_option_context_set_strict_posix (context, strict);
  if (entries != NULL)
    g_option_context_add_main_entries (context, entries, NULL);
  if (g_option_context_parse (context, argc, argv, &error))
    {
      /* What follows "--" is the container's. */
      if (*argc > 1 && strcmp ((*argv)[1], "--") == 0)
        {
          memmove (*argv + 1, *argv + 2, sizeof (char *) * (gsize)(*argc - 1));
          (*argc)--;
        }
      return TRUE;
    }
  cli_usage (verb, "%s", error->message);
  return FALSE;
}

GVariant *
cli_pairs (char **pairs)
{
  GVariantBuilder builder;

  g_variant_builder_init (&builder, G_VARIANT_TYPE ("a{ss}"));
  for (gsize i = 0; pairs != NULL && pairs[i] != NULL; i++)
    {
      g_auto (GStrv) parts = g_strsplit (pairs[i], "=", 2);

      g_variant_builder_add (&builder, "{ss}", parts[0], parts[1] != NULL ? parts[1] : "");
    }
  return g_variant_builder_end (&builder);
}

int
cli_parse_signal (const char *text)
{
  guint64 number;

  if (g_ascii_string_to_unsigned (text, 10, 1, 64, &number, NULL))
    return (int)number;
  if (g_ascii_strncasecmp (text, "SIG", 3) == 0)
    text += 3;
  for (int i = 1; i < NSIG; i++)
    {
      const char *name = sigabbrev_np (i);

      if (name != NULL && g_ascii_strcasecmp (name, text) == 0)
        return i;
    }
  return -1;
}

static int
print_noun_help (const char *noun, const char *summary, const CliVerb *verbs, gsize n)
{
  g_print ("Usage: gantry %s VERB …\n\n%s\n\n", noun, summary);
  for (gsize i = 0; i < n; i++)
    g_print ("  %-10s %s\n", verbs[i].name, verbs[i].summary);
  g_print ("\nEach has its own --help: gantry %s %s --help\n", noun, verbs[0].name);
  return 0;
}

int
cli_dispatch (const char *noun, const char *summary, const CliVerb *verbs, gsize n, int argc, char **argv)
{
  if (argc < 2 || strcmp (argv[1], "--help") == 0 || strcmp (argv[1], "-h") == 0
      || strcmp (argv[1], "help") == 0)
    return print_noun_help (noun, summary, verbs, n) + (argc < 2 ? CLI_USAGE : 0);
  for (gsize i = 0; i < n; i++)
    if (strcmp (verbs[i].name, argv[1]) == 0)
      return verbs[i].func (argc - 1, argv + 1);
  return cli_usage (noun, "there is no \"gantry %s %s\"", noun, argv[1]);
}
