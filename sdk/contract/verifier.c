/* SPDX-License-Identifier: MIT
 *
 * The contract of org.gantry.verifier.v1. Whether an image is allowed is the operator's business, so the
 * cases take either answer, but only those two. */
#include <gantry/verifier.h>

#include <string.h>

#include "suites.h"

#define NAME      "registry.example/team/app:1"
#define DIGEST    "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define N_THREADS 8

static GantryVerifier *
verifier_of (GantryContractFixture *fixture)
{
  return fixture->instance;
}

/* Every step has a sentence, and says whether it went well. */
static void
assert_report (GVariant *report)
{
  g_assert_nonnull (report);
  g_assert_true (g_variant_is_of_type (report, G_VARIANT_TYPE ("aa{sv}")));
  g_assert_cmpuint (g_variant_n_children (report), >, 0);
  for (gsize i = 0; i < g_variant_n_children (report); i++)
    {
      g_autoptr (GVariant) step = g_variant_get_child_value (report, i);
      const char *sentence = NULL;
      gboolean ok;

      g_assert_true (g_variant_lookup (step, "step", "&s", &sentence));
      g_assert_cmpstr (sentence, !=, "");
      g_assert_true (g_variant_lookup (step, "ok", "b", &ok));
    }
}

/* Asks, and accepts just the two answers. Returns: whether it is allowed. */
static gboolean
ask (GantryContractFixture *fixture, const char *options)
{
  g_autoptr (GVariant) report = NULL;
  g_autoptr (GVariant) parsed = options != NULL ? gantry_contract_parse (options) : NULL;
  g_autoptr (GError) error = NULL;
  gboolean allowed
      = gantry_verifier_verify (verifier_of (fixture), NAME, DIGEST, parsed, &report, NULL, &error);

  assert_report (report);
  g_assert_true (allowed == (error == NULL));
  if (error != NULL)
    {
      g_assert_error (error, GANTRY_ERROR, GANTRY_ERROR_PERMISSION_DENIED);
      g_assert_nonnull (strstr (error->message, NAME));
    }
  return allowed;
}

static void
test_answer (GantryContractFixture *fixture)
{
  gboolean allowed = ask (fixture, "{'offline': <true>}");

  g_assert_cmpint (ask (fixture, "{'offline': <true>}"), ==, allowed);
  g_assert_cmpint (ask (fixture, "{'offline': <true>, 'digests': <['" DIGEST "']>}"), ==, allowed);
  ask (fixture, "{'offline': <true>, 'transport': <'oci-archive'>}");
}

static void
test_report_is_optional (GantryContractFixture *fixture)
{
  g_autoptr (GVariant) offline = gantry_contract_parse ("{'offline': <true>}");
  g_autoptr (GError) error = NULL;

  g_assert_cmpint (gantry_verifier_verify (verifier_of (fixture), NAME, DIGEST, offline, NULL, NULL, &error),
                   ==, ask (fixture, "{'offline': <true>}"));
}

static void
test_bad_questions (GantryContractFixture *fixture)
{
  static const char *const names[]
      = { "", "registry.example/UPPER:1", "x:1:2", "registry.example/../x:1", "x@sha256:12", "a b:1" };
  static const char *const digests[]
      = { "", "sha256:", "sha256:0123", "sha256:../../../../etc/passwd", "md5:0123" };
  static const char *const options[]
      = { "{'unknown': <1>}", "{'offline': <'yes'>}", "{'digests': <['sha256:1']>}", "{'transport': <1>}" };
  GVariant *report = GANTRY_CONTRACT_UNTOUCHED;

  for (gsize i = 0; i < G_N_ELEMENTS (names); i++)
    CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                    gantry_verifier_verify (verifier_of (fixture), names[i], DIGEST, NULL, &report, NULL,
                                            &error));
  for (gsize i = 0; i < G_N_ELEMENTS (digests); i++)
    CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                    gantry_verifier_verify (verifier_of (fixture), NAME, digests[i], NULL, &report, NULL,
                                            &error));
  for (gsize i = 0; i < G_N_ELEMENTS (options); i++)
    {
      g_autoptr (GVariant) parsed = gantry_contract_parse (options[i]);

      CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                      gantry_verifier_verify (verifier_of (fixture), NAME, DIGEST, parsed, &report, NULL,
                                              &error));
    }
  g_assert_true (report == GANTRY_CONTRACT_UNTOUCHED);
}

static void
test_sign_asks_for_a_key (GantryContractFixture *fixture)
{
  GBytes *signature = GANTRY_CONTRACT_UNTOUCHED;
  char *location = GANTRY_CONTRACT_UNTOUCHED;
  g_autoptr (GVariant) none = gantry_contract_parse ("@a{sv} {}");
  g_autoptr (GVariant) strange = gantry_contract_parse ("{'key': <'x'>, 'unknown': <1>}");
  g_autofree char *home = g_build_filename (fixture->scratch, "gnupg", NULL);
  g_autofree char *absent = g_strdup_printf ("{'key': <'%040d'>, 'home': <'%s'>, 'store': <false>}", 0, home);
  g_autoptr (GVariant) no_such_key = gantry_contract_parse (absent);

  if (!GANTRY_CONTRACT_HAS (verifier_of (fixture), GantryVerifierVtable, sign))
    return;
  g_assert_cmpint (g_mkdir_with_parents (home, 0700), ==, 0);
  CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                  gantry_verifier_sign (verifier_of (fixture), NAME, DIGEST, none, &signature, &location,
                                        NULL, &error));
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_INVALID_ARGUMENT, "unknown",
                         gantry_verifier_sign (verifier_of (fixture), NAME, DIGEST, strange, &signature,
                                               &location, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND,
                  gantry_verifier_sign (verifier_of (fixture), NAME, DIGEST, no_such_key, &signature,
                                        &location, NULL, &error));
  g_assert_true (signature == GANTRY_CONTRACT_UNTOUCHED && location == GANTRY_CONTRACT_UNTOUCHED);
}

typedef struct
{
  GantryContractFixture *fixture;
  gboolean allowed;
} Race;

static void
ask_again (guint i, gpointer data)
{
  Race *race = data;

  (void)i;
  for (guint n = 0; n < 8; n++)
    g_assert_cmpint (ask (race->fixture, "{'offline': <true>}"), ==, race->allowed);
}

static void
test_threads (GantryContractFixture *fixture)
{
  Race race = { fixture, ask (fixture, "{'offline': <true>}") };

  gantry_contract_race (N_THREADS, ask_again, &race);
}

static const GantryContractCase cases[] = {
  { "answer", test_answer },
  { "report-is-optional", test_report_is_optional },
  { "bad-questions", test_bad_questions },
  { "sign-asks-for-a-key", test_sign_asks_for_a_key },
  { "threads", test_threads },
  { NULL, NULL },
};

const GantryContractSuite gantry_contract_verifier = { GANTRY_VERIFIER_TYPE, cases };
