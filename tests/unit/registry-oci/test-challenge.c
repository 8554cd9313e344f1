/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "challenge.h"

#include <string.h>

/* "scheme name=value …; …" in order of the names. */
static char *
show (const char *value)
{
  const char *values[] = { value, NULL };
  g_autoptr (GPtrArray) challenges = challenge_parse (values);
  GString *out = g_string_new (NULL);

  for (guint i = 0; i < challenges->len; i++)
    {
      Challenge *challenge = g_ptr_array_index (challenges, i);
      g_autoptr (GList) names = g_list_sort (g_hash_table_get_keys (challenge->params), (GCompareFunc)strcmp);

      g_string_append_printf (out, "%s%s", i > 0 ? "; " : "", challenge->scheme);
      for (GList *name = names; name != NULL; name = name->next)
        g_string_append_printf (out, " %s=%s", (char *)name->data, challenge_get (challenge, name->data));
    }
  return g_string_free (out, FALSE);
}

static void
test_parse (void)
{
  static const struct
  {
    const char *value, *shown;
  } cases[] = {
    { "", "" },
    { "Basic", "basic" },
    { "Basic realm=x", "basic realm=x" },
    { "Bearer realm=\"https://a/token\",service=\"s\",scope=\"repository:a/b:pull,push\"",
      "bearer realm=https://a/token scope=repository:a/b:pull,push service=s" },
    { "Bearer realm = \"a\" , Service = b", "bearer realm=a service=b" },
    { "Basic realm=\"a \\\"b\\\\\", Bearer realm=c", "basic realm=a \"b\\; bearer realm=c" },
    { "Negotiate, Basic realm=x", "negotiate; basic realm=x" },
    { "Negotiate dG9rZW4=, Basic realm=x", "negotiate; basic realm=x" },
    { "Bearer realm=a, realm=b", "bearer realm=a" },
    { "Bearer realm=\"never ends", "bearer" },
    { "Bearer realm=", "bearer" },
    { "=, Basic", "" },
    { ", ,, Basic ,", "basic" },
  };

  for (gsize i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autofree char *shown = show (cases[i].value);

      g_assert_cmpstr (shown, ==, cases[i].shown);
    }
}

static void
test_limits (void)
{
  g_autoptr (GString) many = g_string_new (NULL), params = g_string_new ("Basic ");
  const char *values[] = { NULL, NULL };
  g_autoptr (GPtrArray) challenges = NULL, one = NULL;

  for (guint i = 0; i < 1000; i++)
    {
      g_string_append (many, "Basic, ");
      g_string_append_printf (params, "p%u=x, ", i);
    }
  values[0] = many->str;
  challenges = challenge_parse (values);
  g_assert_cmpuint (challenges->len, ==, 16);
  values[0] = params->str;
  one = challenge_parse (values);
  g_assert_cmpuint (one->len, ==, 1);
  g_assert_cmpuint (g_hash_table_size (((Challenge *)one->pdata[0])->params), ==, 32);
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/registry-oci/challenge/parse", test_parse);
  g_test_add_func ("/registry-oci/challenge/limits", test_limits);
  return g_test_run ();
}
