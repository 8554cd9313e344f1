/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "reference.h"

#include <string.h>

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define SHA "sha256:" HEX

static void
test_whole (void)
{
  static const struct
  {
    const char *text, *server, *repository, *tag, *digest, *familiar;
  } cases[] = {
    { "busybox", "docker.io", "library/busybox", "latest", NULL, "busybox:latest" },
    { "busybox:1.36", "docker.io", "library/busybox", "1.36", NULL, "busybox:1.36" },
    { "busybox@" SHA, "docker.io", "library/busybox", NULL, SHA, "busybox@" SHA },
    { "busybox:1@" SHA, "docker.io", "library/busybox", "1", SHA, "busybox:1@" SHA },
    { "user/app", "docker.io", "user/app", "latest", NULL, "user/app:latest" },
    { "docker.io/busybox", "docker.io", "library/busybox", "latest", NULL, "busybox:latest" },
    { "index.docker.io/busybox", "docker.io", "library/busybox", "latest", NULL, "busybox:latest" },
    { "docker.io/library/busybox", "docker.io", "library/busybox", "latest", NULL, "busybox:latest" },
    { "docker.io/a/b/c:x", "docker.io", "a/b/c", "x", NULL, "a/b/c:x" },
    { "docker.io/localhost/x", "docker.io", "localhost/x", "latest", NULL, "docker.io/localhost/x:latest" },
    { "localhost/x", "localhost", "x", "latest", NULL, "localhost/x:latest" },
    { "localhost:5000/x:2", "localhost:5000", "x", "2", NULL, "localhost:5000/x:2" },
    { "Registry/x", "Registry", "x", "latest", NULL, "Registry/x:latest" },
    { "quay.io/a-b/c__d.e_f---g", "quay.io", "a-b/c__d.e_f---g", "latest", NULL,
      "quay.io/a-b/c__d.e_f---g:latest" },
    { "127.0.0.1:5000/a/b:t", "127.0.0.1:5000", "a/b", "t", NULL, "127.0.0.1:5000/a/b:t" },
    { "[::1]/a", "[::1]", "a", "latest", NULL, "[::1]/a:latest" },
    { "[2001:db8::1]:5000/a@" SHA, "[2001:db8::1]:5000", "a", NULL, SHA, "[2001:db8::1]:5000/a@" SHA },
    { "x.example/a:_under-score.TAG", "x.example", "a", "_under-score.TAG", NULL,
      "x.example/a:_under-score.TAG" },
    { "x.example/" HEX, "x.example", HEX, "latest", NULL, "x.example/" HEX ":latest" },
  };

  for (gsize i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autoptr (GError) error = NULL;
      g_autoptr (GantryReference) reference = gantry_reference_parse (cases[i].text, &error);
      g_autoptr (GantryReference) again = NULL;
      g_autofree char *text = NULL, *familiar = NULL, *text_again = NULL;

      g_assert_no_error (error);
      g_assert_cmpstr (reference->server, ==, cases[i].server);
      g_assert_cmpstr (reference->repository, ==, cases[i].repository);
      g_assert_cmpstr (reference->tag, ==, cases[i].tag);
      g_assert_cmpstr (reference->digest, ==, cases[i].digest);
      text = gantry_reference_to_string (reference);
      familiar = gantry_reference_to_familiar (reference);
      g_assert_cmpstr (familiar, ==, cases[i].familiar);
      again = gantry_reference_parse (familiar, &error);
      g_assert_no_error (error);
      text_again = gantry_reference_to_string (again);
      g_assert_cmpstr (text, ==, text_again);
    }
}

static void
test_refused (void)
{
  static const struct
  {
    const char *text, *reason;
  } cases[] = {
    { "", "is empty" },
    { "https://quay.io/x", "scheme" },
    { "busy box", "blank" },
    { "busybox\n", "blank" },
    { "Busybox", "upper-case" },
    { "user/App", "upper-case" },
    { "busybox:", "the tag is empty" },
    { "busybox:.x", "begins with" },
    { "busybox:a b", "blank" },
    { "busybox:a$b", "something else than letters" },
    { "busybox@", "no algorithm" },
    { "busybox@sha256:abc", "3 digits instead of 64" },
    { "busybox@sha256:" HEX "0", "65 digits instead of 64" },
    { "busybox@sha256:X" HEX, "something else than 0-9" },
    { "busybox@md5:abc", "not known" },
    { "busybox@" SHA ":tag", "something else than 0-9" },
    { "a//b", "empty part" },
    { "/a", "empty part" },
    { "a/", "empty part" },
    { "localhost:5000/", "it has no path" },
    { "a..b/c/..", "server" },
    { "x/..", "begins or ends with" },
    { "x/a..b", "joins words" },
    { "x/a___b", "joins words" },
    { "x/a._b", "joins words" },
    { "-a", "begins or ends with" },
    { "a-", "begins or ends with" },
    { "h\303\251", "something else than lower-case" },
    { "localhost:0/x", "port" },
    { "localhost:65536/x", "port" },
    { "localhost:+1/x", "port" },
    { "localhost:x/x", "port" },
    { ":5000/x", "no host" },
    { "::1/x", "no host" },
    { "fe80::1/x", "several" },
    { "[::1/x", "no \"]\"" },
    { "[::g]/x", "no IPv6 address" },
    { "[::1]x/x", "something else than a port" },
    { "[::1]", "something else than lower-case" },
    { "a_b.example/x", "something else than letters" },
    { "-a.example/x", "begins or ends with" },
    { HEX, "would be an id" },
  };

  for (gsize i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autoptr (GError) error = NULL;

      g_assert_null (gantry_reference_parse (cases[i].text, &error));
      g_assert_error (error, GANTRY_ERROR, GANTRY_ERROR_INVALID_ARGUMENT);
      if (strstr (error->message, cases[i].reason) == NULL)
        g_error ("\"%s\" is refused by \"%s\", which does not say \"%s\"", cases[i].text, error->message,
                 cases[i].reason);
    }
}

static void
test_lengths (void)
{
  g_autofree char *path = g_strnfill (255, 'a'), *longer = g_strnfill (256, 'a');
  g_autofree char *tag = g_strnfill (128, 't'), *endless = g_strnfill (100000, 'a');
  g_autofree char *fits = g_strconcat ("x.example/", path, ":", tag, NULL);
  g_autofree char *long_path = g_strconcat ("x.example/", longer, NULL);
  g_autofree char *long_tag = g_strconcat ("x:", tag, "t", NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (GantryReference) reference G_GNUC_UNUSED = gantry_reference_parse (fits, &error);

  g_assert_no_error (error);
  g_assert_null (gantry_reference_parse (long_path, NULL));
  g_assert_null (gantry_reference_parse (path, NULL)); /* as library/aaa… */
  g_assert_null (gantry_reference_parse (long_tag, NULL));
  g_assert_null (gantry_reference_parse (endless, &error));
  g_assert_cmpuint (strlen (error->message), <, 500);
}

static void
assert_completes (const char *text, const char *const *prefixes, const char *expected)
{
  g_autoptr (GError) error = NULL;
  g_auto (GStrv) names = gantry_reference_complete (text, prefixes, &error);
  g_autofree char *joined = NULL;

  g_assert_no_error (error);
  joined = g_strjoinv (" ", names);
  g_assert_cmpstr (joined, ==, expected);
}

static void
test_complete (void)
{
  static const char *const several[] = { "docker.io/library", "quay.io", "r.example:5000/team", NULL };
  static const char *const twice[] = { "docker.io", "docker.io/library", NULL };

  assert_completes ("x", NULL, "docker.io/library/x:latest");
  assert_completes ("x:1", several, "docker.io/library/x:1 quay.io/x:1 r.example:5000/team/x:1");
  assert_completes ("u/x@" SHA, several,
                    "docker.io/u/x@" SHA " quay.io/u/x@" SHA " r.example:5000/team/u/x@" SHA);
  assert_completes ("ghcr.io/x", several, "ghcr.io/x:latest");
  assert_completes ("x", twice, "docker.io/library/x:latest");
  g_assert_null (gantry_reference_complete ("X", several, NULL));
  g_assert_true (gantry_reference_check_prefix ("quay.io", NULL));
  g_assert_true (gantry_reference_check_prefix ("[::1]:5000/a/b", NULL));
  g_assert_false (gantry_reference_check_prefix ("library", NULL));
  g_assert_false (gantry_reference_check_prefix ("quay.io/", NULL));
  g_assert_false (gantry_reference_check_prefix ("quay.io/A", NULL));
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/reference/whole", test_whole);
  g_test_add_func ("/reference/refused", test_refused);
  g_test_add_func ("/reference/lengths", test_lengths);
  g_test_add_func ("/reference/complete", test_complete);
  return g_test_run ();
}
