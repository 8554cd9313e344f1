/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "toml.h"

#include <string.h>

static TomlValue *
parse (const char *text)
{
  g_autoptr (GError) error = NULL;
  TomlValue *root = toml_parse (text, strlen (text), &error);

  g_assert_no_error (error);
  return root;
}

/* The tree as text: tables in braces, in the order of the file. */
static void
print (GString *out, const TomlValue *value)
{
  switch (value->kind)
    {
    case TOML_STRING:
      g_string_append_printf (out, "'%s'", value->string);
      break;
    case TOML_INTEGER:
      g_string_append_printf (out, "%" G_GINT64_FORMAT, value->integer);
      break;
    case TOML_FLOAT:
      g_string_append_printf (out, "%g", value->number);
      break;
    case TOML_BOOLEAN:
      g_string_append (out, value->integer != 0 ? "true" : "false");
      break;
    case TOML_DATE:
      g_string_append_printf (out, "<%s>", value->string);
      break;
    case TOML_ARRAY:
    case TOML_TABLE:
      g_string_append_c (out, value->kind == TOML_ARRAY ? '[' : '{');
      for (guint i = 0; i < value->items->len; i++)
        {
          const TomlValue *item = g_ptr_array_index (value->items, i);

          g_string_append_printf (out, "%s%s%s", i > 0 ? " " : "", item->key != NULL ? item->key : "",
                                  item->key != NULL ? "=" : "");
          print (out, item);
        }
      g_string_append_c (out, value->kind == TOML_ARRAY ? ']' : '}');
    }
}

static void
test_values (void)
{
  static const struct
  {
    const char *text, *tree;
  } cases[] = {
    { "", "{}" },
    { "# nothing\r\n\r\n", "{}" },
    { "a = 1 # one\nb = -1_000\nc = 0xFF\nd = 0o17\ne = 0b11\nf = +9", "{a=1 b=-1000 c=255 d=15 e=3 f=9}" },
    { "a = 1.5\nb = -2e3\nc = 6.5E-1", "{a=1.5 b=-2000 c=0.65}" },
    { "a = true\nb = false", "{a=true b=false}" },
    { "a = \"x\\t\\\"y\\u00e9\\U0001F600\"", "{a='x\t\"y\303\251\360\237\230\200'}" },
    { "a = 'C:\\x'", "{a='C:\\x'}" },
    { "a = \"\"\"\nx\n  \\\n   y\"\"\"\"\"", "{a='x\n  y\"\"'}" },
    { "a = '''\nx'y'''", "{a='x'y'}" },
    { "a = [1, [2, 3], [], \"x\",]", "{a=[1 [2 3] [] 'x']}" },
    { "a = [ # first\n 1,\n 2 # last\n]", "{a=[1 2]}" },
    { "a = {b = 1, c.d = 'x'}", "{a={b=1 c={d='x'}}}" },
    { "a.b.c = 1\na.\"d e\" = 2\n'' = 3", "{a={b={c=1} d e=2} =3}" },
    { "[a]\nx = 1\n[b.c]\ny = 2\n[b]\nz = 3", "{a={x=1} b={c={y=2} z=3}}" },
    { "[[a]]\nx = 1\n[[a]]\nx = 2\n[a.b]\ny = 3", "{a=[{x=1} {x=2 b={y=3}}]}" },
    { "[host.\"https://m:5000\"]\nca = 'c'\n[host.\"https://m:5000\".header]\nX = ['1']",
      "{host={https://m:5000={ca='c' header={X=['1']}}}}" },
    { "\357\273\277a = 1", "{a=1}" },
    { "a = 2024-02-29\nb = 23:59:60.125", "{a=<2024-02-29> b=<23:59:60.125>}" },
    { "a = [1979-05-27T07:32:00Z, 1979-05-27 00:32:00.5-07:00 ]#x",
      "{a=[<1979-05-27T07:32:00Z> <1979-05-27 00:32:00.5-07:00>]}" },
    { "a = {b = 0001-01-01t00:00:00}\n2020-01-01 = 1", "{a={b=<0001-01-01t00:00:00>} 2020-01-01=1}" },
    { "a = 2020-01-01 # date\nb = 2020-01-01 \n", "{a=<2020-01-01> b=<2020-01-01>}" },
  };

  for (gsize i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autoptr (TomlValue) root = parse (cases[i].text);
      g_autoptr (GString) out = g_string_new (NULL);

      print (out, root);
      g_assert_cmpstr (out->str, ==, cases[i].tree);
    }
}

static void
test_refused (void)
{
  static const struct
  {
    const char *text, *reason;
  } cases[] = {
    { "a", "line 1: a \"=\" is expected" },
    { "a =", "line 1: \"\" is no value" },
    { "a = b", "is no value; strings stand in quotes" },
    { "\na = 1 b = 2", "line 2: the line goes on" },
    { "a = 1\na = 2", "line 2: \"a\" is there twice" },
    { "[a]\n[a]", "line 2: table \"a\" is there twice" },
    { "a = 1\n[a]", "is a number (line 1) and can't have members" },
    { "a.b = 1\n[a]", "is there twice" },
    { "[a.b]\n[a]\nb.c = 1", "is complete" },
    { "a = {}\n[a.b]", "is complete" },
    { "a = []\n[[a]]", "is no array of tables" },
    { "[a", "does not end with \"]\"" },
    { "[[a]", "does not end with \"]]\"" },
    { "a = \"x", "does not end" },
    { "a = \"x\ny\"", "does not end" },
    { "a = \"\\x\"", "unknown escape" },
    { "a = \"\\u12\"", "4 hexadecimal digits" },
    { "a = \"\\uD800\"", "stands for no character" },
    { "a = \"\\u0000\"", "stands for no character" },
    { "a = '\001'", "control character" },
    { "a = 01", "is no value" },
    { "a = 1__0", "is no value" },
    { "a = 0x", "is no value" },
    { "a = 9223372036854775808", "is no value" },
    { "a = 1.", "is no value" },
    { "a = 2023-02-29", "is no date or time" },
    { "a = 2023-13-01", "is no date or time" },
    { "a = 2023-00-10", "is no date or time" },
    { "a = 2023-1-1", "is no date or time" },
    { "a = 2023-01-01T", "is no date or time" },
    { "a = 2023-01-01T24:00:00", "is no date or time" },
    { "a = 2023-01-01T10:00", "is no date or time" },
    { "a = 2023-01-01T10:00:00.", "is no date or time" },
    { "a = 2023-01-01T10:00:00+1:00", "is no date or time" },
    { "a = 10:00:00Z", "is no date or time" },
    { "a = 2023-01-01x", "is no date or time" },
    { "a = 2023-01-01 x", "the line goes on" },
    { "a = [1 2]", "\",\" or \"]\"" },
    { "a = {b = 1,}", "ends with a \",\"" },
    { "a = \"\377\"", "UTF-8" },
  };

  for (gsize i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autoptr (GError) error = NULL;

      if (toml_parse (cases[i].text, strlen (cases[i].text), &error) != NULL)
        g_error ("\"%s\" is taken", cases[i].text);
      g_assert_error (error, GANTRY_ERROR, GANTRY_ERROR_INVALID_ARGUMENT);
      if (strstr (error->message, cases[i].reason) == NULL)
        g_error ("\"%s\" is refused by \"%s\", which does not say \"%s\"", cases[i].text, error->message,
                 cases[i].reason);
    }
  g_assert_null (toml_parse ("a\0b", 3, NULL));
}

static void
test_limits (void)
{
  g_autofree char *large = g_strnfill (1024 * 1024 + 1, ' ');
  g_autoptr (GString) deep = g_string_new ("a = "), wide = g_string_new ("a = [");
  g_autoptr (GError) error = NULL;

  g_assert_null (toml_parse (large, strlen (large), &error));
  g_assert_error (error, GANTRY_ERROR, GANTRY_ERROR_RESOURCE_EXHAUSTED);
  g_clear_error (&error);
  for (guint i = 0; i < 100000; i++)
    g_string_append_c (deep, '[');
  g_assert_null (toml_parse (deep->str, deep->len, &error));
  g_assert_nonnull (strstr (error->message, "deeper than"));
  g_clear_error (&error);
  for (guint i = 0; i < 20000; i++)
    g_string_append (wide, "1,");
  g_string_append_c (wide, ']');
  g_assert_null (toml_parse (wide->str, wide->len, &error));
  g_assert_error (error, GANTRY_ERROR, GANTRY_ERROR_RESOURCE_EXHAUSTED);
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/toml/values", test_values);
  g_test_add_func ("/toml/refused", test_refused);
  g_test_add_func ("/toml/limits", test_limits);
  return g_test_run ();
}
