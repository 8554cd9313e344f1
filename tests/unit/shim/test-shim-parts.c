/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The shim's reader of JSON, and of the files of a version 2 cgroup, which not every machine has. */
#include "shim.h"

#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>

static void
test_json_values (void)
{
  static const char text[]
      = " {\"a\": [1, -2.5e3, \"x\\\"]\", {\"b\": null}, []], \"é\\u00e9\": true,\n"
        "\"s\": \"tab\\t \\u20ac \\ud83d\\ude00 \\/\", \"o\": {\"s\": \"inner\", \"o\": {}}} ";
  Json value, list, item, object;
  g_autofree char *string = NULL, *inner = NULL;
  unsigned n = 0;

  g_assert_true (json_parse (text, strlen (text), &value));
  g_assert_true (json_member (value, "a", &list));
  while (json_next (&list, &item))
    n++;
  g_assert_cmpuint (n, ==, 5);
  string = json_member_string (value, "s");
  g_assert_cmpstr (string, ==, "tab\t € 😀 /");
  g_assert_true (json_member (value, "o", &object));
  inner = json_member_string (object, "s");
  g_assert_cmpstr (inner, ==, "inner");
  for (n = 0; json_next_member (&value, &item);)
    n++;
  g_assert_cmpuint (n, ==, 4);
  g_assert_false (json_next_member (&list, &item));
  g_assert_false (json_member (object, "a", &item));
  g_assert_null (json_member_string (value, "a"));
}

static void
test_json_malformed (void)
{
  static const char *const texts[]
      = { "",         " ",          "{",    "[",     "\"",    "\"\\",  "\"\\u12\"x", "{\"a\"}",
          "{\"a\":}", "{\"a\":1,}", "[1,]", "[1 2]", "{a:1}", "{} {}", "{\"a\":1]" };
  g_autoptr (GString) deep = g_string_new (NULL);
  Json value, item;

  for (gsize i = 0; i < G_N_ELEMENTS (texts); i++)
    g_assert_false (json_parse (texts[i], strlen (texts[i]), &value));
  for (int i = 0; i < 100000; i++)
    g_string_append_c (deep, '[');
  g_assert_false (json_parse (deep->str, deep->len, &value));
  /* Every prefix of a text is read without reading behind it. */
  for (const char *text = "{\"a\": [\"\\u00e9\", {\"b\": -1.5}], \"c\": null}", *end = text + 1; *end != '\0';
       end++)
    {
      g_autofree char *copy = g_memdup2 (text, (gsize)(end - text));

      g_assert_false (json_parse (copy, (gsize)(end - text), &value));
      value = (Json){ copy, copy + (end - text) };
      json_member (value, "c", &item);
    }
}

static void
write_control (const char *directory, const char *name, const char *text)
{
  g_autofree char *path = g_build_filename (directory, name, NULL);

  g_assert_true (g_file_set_contents (path, text, -1, NULL));
}

/* The number at a path of field numbers that ends with 0. */
static uint64_t
number_at (PbReader reader, const uint32_t *path)
{
  PbField field;

  while (pb_next (&reader, &field) > 0)
    if (field.number == path[0])
      return path[1] == 0 ? field.value : number_at (pb_reader (field.data, field.length), path + 1);
  return 0;
}

#define NUMBER(...) number_at (pb_reader (out.data, out.length), (const uint32_t[]){ __VA_ARGS__, 0 })

static void
test_stats_v2 (void)
{
  static const char *const files[][2] = {
    { "cpu.stat",
      "usage_usec 300\nuser_usec 200\nsystem_usec 100\nnr_periods 5\nnr_throttled 4\nthrottled_usec 3\n" },
    { "memory.stat", "anon 1000\nfile 2000\nkernel_stack 3\npgfault 77\nanon_thp 11\nfile_thp 5\n" },
    { "memory.current", "4096\n" },
    { "memory.max", "max\n" },
    { "memory.peak", "8192\n" },
    { "memory.events", "low 0\nhigh 1\nmax 2\noom 3\noom_kill 4\noom_group_kill 9\n" },
    { "pids.current", "7\n" },
    { "pids.max", "max\n" },
    { "io.stat", "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n253:0 \n" },
  };
  g_autofree char *directory = g_dir_make_tmp ("gantry-cgroup.XXXXXX", NULL);
  PbBuffer out = { 0 };

  for (gsize i = 0; i < G_N_ELEMENTS (files); i++)
    write_control (directory, files[i][0], files[i][1]);
  stats_put_v2 (&out, directory);
  g_assert_cmpuint (NUMBER (1, 1), ==, 7);
  g_assert_cmpuint (NUMBER (1, 2), ==, 0);
  g_assert_cmpuint (NUMBER (2, 1), ==, 300);
  g_assert_cmpuint (NUMBER (2, 6), ==, 3);
  g_assert_cmpuint (NUMBER (4, 1), ==, 1000);
  g_assert_cmpuint (NUMBER (4, 10), ==, 11);
  g_assert_cmpuint (NUMBER (4, 18), ==, 77);
  g_assert_cmpuint (NUMBER (4, 32), ==, 4096);
  g_assert_cmpuint (NUMBER (4, 33), ==, UINT64_MAX);
  g_assert_cmpuint (NUMBER (4, 36), ==, 8192);
  g_assert_cmpuint (NUMBER (8, 5), ==, 4);
  g_assert_cmpuint (NUMBER (6, 1, 1), ==, 8);
  g_assert_cmpuint (NUMBER (6, 1, 4), ==, 20);
  pb_clear (&out);
  for (gsize i = 0; i < G_N_ELEMENTS (files); i++)
    {
      g_autofree char *path = g_build_filename (directory, files[i][0], NULL);

      g_unlink (path);
    }
  g_rmdir (directory);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/shim/json/values", test_json_values);
  g_test_add_func ("/shim/json/malformed", test_json_malformed);
  g_test_add_func ("/shim/stats/v2", test_stats_v2);
  return g_test_run ();
}
