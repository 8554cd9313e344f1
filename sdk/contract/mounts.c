/* SPDX-License-Identifier: MIT
 *
 * The contract of org.gantry.mounts.v1. What is mounted are temporary file systems, where that can be. */
#include <gantry/mounts.h>

#include <string.h>

#include "suites.h"

static GantryMounts *
mounts_of (GantryContractFixture *fixture)
{
  return fixture->instance;
}

static GPtrArray *
list_new (const char *type, const char *source, const char *option)
{
  const char *const options[] = { option, NULL };
  GPtrArray *mounts = g_ptr_array_new_with_free_func (gantry_value_unref);

  g_ptr_array_add (mounts, gantry_mount_new (type, source, NULL, options));
  return mounts;
}

static GVariant *
temporary (void)
{
  return gantry_contract_parse ("{'temporary': <true>, 'labels': <{'a': 'b'}>}");
}

/* Returns: (transfer full) (nullable): it can't be mounted here. */
static GantryActivation *
activate (GantryContractFixture *fixture, const char *name)
{
  g_autoptr (GPtrArray) mounts = list_new ("tmpfs", "tmpfs", "size=64k");
  g_autoptr (GError) error = NULL;
  GantryActivation *activation = NULL;

  if (gantry_mounts_activate (mounts_of (fixture), "default", name, mounts, temporary (), &activation, NULL,
                              &error))
    return activation;
  g_assert_true (gantry_error_is (error, GANTRY_ERROR_PERMISSION_DENIED));
  g_test_skip ("mounting takes root");
  return NULL;
}

static void
assert_activation (GantryActivation *activation, const char *name)
{
  GantryActiveMount *active;
  GantryMount *system;

  g_assert_cmpstr (activation->name, ==, name);
  g_assert_cmpuint (activation->active->len, ==, 1);
  g_assert_cmpuint (activation->system->len, ==, 1);
  active = g_ptr_array_index (activation->active, 0);
  system = g_ptr_array_index (activation->system, 0);
  g_assert_cmpstr (active->mount->type, ==, "tmpfs");
  g_assert_cmpint (active->mounted_ns, >, 0);
  /* What is left is to show what is mounted. */
  g_assert_cmpstr (system->type, ==, "bind");
  g_assert_cmpstr (system->source, ==, active->mount_point);
  g_assert_cmpstr (gantry_labels_lookup (activation->labels, "a"), ==, "b");
  g_assert_cmpstr (activation->ns, ==, "default");
  g_assert_cmpint (activation->created_ns, >, 0);
  g_assert_cmpint (activation->updated_ns, >=, activation->created_ns);
}

static void
test_life (GantryContractFixture *fixture)
{
  g_autoptr (GantryActivation) activation = activate (fixture, "one/name");
  g_autoptr (GPtrArray) mounts = list_new ("tmpfs", "tmpfs", "size=64k");
  GantryActivation *again = GANTRY_CONTRACT_UNTOUCHED, *got = NULL;

  if (activation == NULL)
    return;
  assert_activation (activation, "one/name");
  CONTRACT_OK (gantry_mounts_get (mounts_of (fixture), "default", "one/name", &got, NULL, &error));
  assert_activation (got, "one/name");
  gantry_activation_unref (got);
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_ALREADY_EXISTS, "one/name",
                         gantry_mounts_activate (mounts_of (fixture), "default", "one/name", mounts,
                                                 temporary (), &again, NULL, &error));
  g_assert_true (again == GANTRY_CONTRACT_UNTOUCHED);
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND,
                  gantry_mounts_get (mounts_of (fixture), "other", "one/name", &again, NULL, &error));
  CONTRACT_OK (gantry_mounts_deactivate (mounts_of (fixture), "default", "one/name", NULL, &error));
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_NOT_FOUND, "one/name",
                         gantry_mounts_deactivate (mounts_of (fixture), "default", "one/name", NULL, &error));
}

static gboolean
count_one (GantryActivation *activation, gpointer user_data)
{
  ++*(guint *)user_data;
  return TRUE;
}

static void
test_labels (GantryContractFixture *fixture)
{
  static const char *const mask[] = { "labels.c", NULL }, *const bad[] = { "active", NULL };
  static const char *const matching[] = { "labels.c==d", NULL }, *const others[] = { "labels.c==e", NULL };
  g_autoptr (GantryActivation) activation = activate (fixture, "labelled"), updated = NULL;
  guint n = 0;

  if (activation == NULL)
    return;
  CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                  gantry_mounts_update (mounts_of (fixture), "default", "labelled", NULL, bad, NULL, NULL,
                                        &error));
  CONTRACT_OK (gantry_mounts_update (mounts_of (fixture), "default", "labelled",
                                     g_variant_new_parsed ("@a{ss} {'c': 'd'}"), mask, &updated, NULL,
                                     &error));
  g_assert_cmpstr (gantry_labels_lookup (updated->labels, "c"), ==, "d");
  g_assert_cmpstr (gantry_labels_lookup (updated->labels, "a"), ==, "b");
  CONTRACT_OK (gantry_mounts_list (mounts_of (fixture), "default", matching, count_one, &n, NULL, &error));
  g_assert_cmpuint (n, ==, 1);
  CONTRACT_OK (gantry_mounts_list (mounts_of (fixture), "default", others, count_one, &n, NULL, &error));
  CONTRACT_OK (gantry_mounts_list (mounts_of (fixture), "other", matching, count_one, &n, NULL, &error));
  g_assert_cmpuint (n, ==, 1);
  CONTRACT_OK (gantry_mounts_list (mounts_of (fixture), NULL, matching, count_one, &n, NULL, &error));
  g_assert_cmpuint (n, ==, 2);
  CONTRACT_OK (gantry_mounts_deactivate (mounts_of (fixture), "default", "labelled", NULL, &error));
}

static void
test_refused (GantryContractFixture *fixture)
{
  static const struct
  {
    const char *type;
    const char *source;
    GantryErrorCode code;
    const char *word;
  } cases[] = {
    { "ext4", "/dev/none", GANTRY_ERROR_NOT_IMPLEMENTED, "system" },
    { "magic/ext4", "/dev/none", GANTRY_ERROR_NOT_IMPLEMENTED, "magic" },
    { "format/bind", "{{ mount 0 }}", GANTRY_ERROR_INVALID_ARGUMENT, "0" },
    { "format/bind", "{{ nonsense 0 }}", GANTRY_ERROR_INVALID_ARGUMENT, "nonsense" },
  };
  g_autoptr (GPtrArray) none = g_ptr_array_new ();
  GantryActivation *activation = GANTRY_CONTRACT_UNTOUCHED;
  guint n = 0;

  for (gsize i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autoptr (GPtrArray) mounts = list_new (cases[i].type, cases[i].source, "rw");

      CONTRACT_FAILS_NAMING (cases[i].code, cases[i].word,
                             gantry_mounts_activate (mounts_of (fixture), "default", "x", mounts, NULL,
                                                     &activation, NULL, &error));
    }
  CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                  gantry_mounts_activate (mounts_of (fixture), "default", "x", none, NULL, &activation, NULL,
                                          &error));
  g_assert_true (activation == GANTRY_CONTRACT_UNTOUCHED);
  CONTRACT_OK (gantry_mounts_list (mounts_of (fixture), "default", NULL, count_one, &n, NULL, &error));
  g_assert_cmpuint (n, ==, 0);
}

static const GantryContractCase cases[] = {
  { "life", test_life },
  { "labels", test_labels },
  { "refused", test_refused },
  { NULL, NULL },
};

const GantryContractSuite gantry_contract_mounts = { GANTRY_MOUNTS_TYPE, cases };
