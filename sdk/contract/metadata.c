/* SPDX-License-Identifier: MIT
 *
 * The contract of org.gantry.metadata.v1: records, transactions, lists. Garbage collection is in
 * metadata-garbage.c. */
#include <gantry/metadata.h>

#include <string.h>

#include "metadata-cases.h"

#define N_THREADS 4
#define N_OF_EACH 10
#define N_MANY    2000
#define N_TIMES   5

typedef struct
{
  GPtrArray *ids;
  GantryMetadata *metadata;
  guint stop_after;
} Listing;

/* Calls back into the store, which must hold no lock. */
static gboolean
on_record (GantryRecord *record, gpointer user_data)
{
  Listing *self = user_data;
  g_autoptr (GantryRecord) same = NULL;

  CONTRACT_OK (
      gantry_metadata_get (self->metadata, record->kind, record->ns, record->id, &same, NULL, &error));
  g_assert_cmpuint (same->revision, ==, record->revision);
  g_ptr_array_add (self->ids, g_strdup (record->id));
  return self->ids->len != self->stop_after;
}

/* The ids of what a list gives, joined by spaces. Returns: (transfer full). */
static char *
list_ids (GantryContractFixture *fixture, const char *kind, const char *ns, const char *const *filters,
          const char *after, guint limit, guint stop_after)
{
  g_autoptr (GPtrArray) ids = g_ptr_array_new_with_free_func (g_free);
  Listing listing = { ids, metadata_of (fixture), stop_after };

  CONTRACT_OK (gantry_metadata_list (listing.metadata, kind, ns, filters, after, limit, on_record, &listing,
                                     NULL, &error));
  g_ptr_array_add (ids, NULL);
  return g_strjoinv (" ", (char **)ids->pdata);
}

static void
assert_filtered (GantryContractFixture *fixture, const char *kind, const char *filter, const char *expected)
{
  const char *const filters[] = { filter, NULL };
  g_autofree char *ids = list_ids (fixture, kind, "default", filters, NULL, 0, 0);

  g_assert_cmpstr (ids, ==, expected);
}

static void
test_create (GantryContractFixture *fixture)
{
  GantryMetadata *metadata = metadata_of (fixture);
  gint64 before = gantry_now_ns () - 2 * (gint64)1000000000;
  g_autoptr (GantryRecord) given
      = gantry_record_new (GANTRY_KIND_CONTAINER, "default", "web", g_variant_new_parsed ("{'a': '1'}"),
                           g_variant_new_parsed ("{'image': <'x'>, 'spec': <('url', [byte 0x00, 0xff])>}"));
  g_autoptr (GantryRecord) made = make_change (fixture, GANTRY_CHANGE_CREATE, given, NULL);
  g_autoptr (GantryRecord) got = must_get (fixture, GANTRY_KIND_CONTAINER, "default", "web");
  g_autoptr (GantryRecord) ns G_GNUC_UNUSED = must_get (fixture, GANTRY_KIND_NAMESPACE, "", "default");
  g_autoptr (GVariant) spec = gantry_record_get_field (got, "spec", G_VARIANT_TYPE (GANTRY_ANY_TYPE));
  GantryRecord *none = GANTRY_CONTRACT_UNTOUCHED;

  g_assert_cmpstr (made->id, ==, "web");
  g_assert_cmpint (made->created_ns, >, before);
  g_assert_cmpint (made->updated_ns, >, before);
  g_assert_cmpuint (made->revision, >, 0);
  g_assert_cmpstr (got->kind, ==, GANTRY_KIND_CONTAINER);
  g_assert_cmpstr (got->ns, ==, "default");
  g_assert_cmpint (got->created_ns, ==, made->created_ns);
  g_assert_cmpuint (got->revision, ==, made->revision);
  g_assert_true (gantry_contract_same_labels (got->labels, given->labels));
  g_assert_true (g_variant_equal (got->fields, given->fields));
  g_assert_nonnull (spec);
  /* What is in another namespace, or of another kind, is another record. */
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_NOT_FOUND, "container \"web\" in namespace \"other\"",
                         gantry_metadata_get (metadata, GANTRY_KIND_CONTAINER, "other", "web", &none, NULL,
                                              &error));
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_NOT_FOUND, "web",
                         gantry_metadata_get (metadata, GANTRY_KIND_IMAGE, "default", "web", &none, NULL,
                                              &error));
  g_assert_true (none == GANTRY_CONTRACT_UNTOUCHED);
  fail_change (fixture, GANTRY_CHANGE_CREATE, given, NULL, GANTRY_ERROR_ALREADY_EXISTS);
}

static void
test_update (GantryContractFixture *fixture)
{
  static const char *const one_label[] = { "labels.b", "labels.c", NULL };
  static const char *const one_field[] = { "fields.image", NULL };
  static const char *const labels_only[] = { "labels", NULL };
  static const char *const unknown[] = { "spec", NULL };
  g_autoptr (GantryRecord) first = make (fixture, GANTRY_KIND_CONTAINER, "default", "c",
                                         "{'a': '1', 'b': '2'}", "{'image': <'x'>, 'runtime': <'r'>}");
  g_autoptr (GantryRecord) second
      = gantry_record_new (GANTRY_KIND_CONTAINER, "default", "c",
                           g_variant_new_parsed ("{'a': '9', 'b': '', 'c': '3'}"),
                           g_variant_new_parsed ("{'image': <'y'>, 'runtime': <'s'>}"));
  g_autoptr (GantryRecord) absent
      = gantry_record_new (GANTRY_KIND_CONTAINER, "default", "absent", NULL, NULL);
  g_autoptr (GantryRecord) masked = NULL;
  g_autoptr (GantryRecord) field = NULL;
  g_autoptr (GantryRecord) labels = NULL;
  g_autoptr (GantryRecord) whole = NULL;

  fail_change (fixture, GANTRY_CHANGE_UPDATE, absent, NULL, GANTRY_ERROR_NOT_FOUND);
  fail_change (fixture, GANTRY_CHANGE_UPDATE, second, unknown, GANTRY_ERROR_INVALID_ARGUMENT);
  masked = make_change (fixture, GANTRY_CHANGE_UPDATE, second, one_label);
  assert_labels (masked, "{'a': '1', 'c': '3'}");
  g_assert_cmpstr (gantry_record_get_string (masked, "image"), ==, "x");
  g_assert_cmpint (masked->created_ns, ==, first->created_ns);
  g_assert_cmpint (masked->updated_ns, >=, first->updated_ns);
  g_assert_cmpuint (masked->revision, >, first->revision);
  field = make_change (fixture, GANTRY_CHANGE_UPDATE, second, one_field);
  g_assert_cmpstr (gantry_record_get_string (field, "image"), ==, "y");
  g_assert_cmpstr (gantry_record_get_string (field, "runtime"), ==, "r");
  assert_labels (field, "{'a': '1', 'c': '3'}");
  labels = make_change (fixture, GANTRY_CHANGE_UPDATE, second, labels_only);
  assert_labels (labels, "{'a': '9', 'b': '', 'c': '3'}");
  g_assert_cmpstr (gantry_record_get_string (labels, "runtime"), ==, "r");
  whole = make_change (fixture, GANTRY_CHANGE_UPDATE, second, NULL);
  g_assert_cmpstr (gantry_record_get_string (whole, "runtime"), ==, "s");
}

static void
test_put_and_rename (GantryContractFixture *fixture)
{
  g_autoptr (GantryRecord) given
      = gantry_record_new (GANTRY_KIND_SNAPSHOT, "default", "s/key", g_variant_new_parsed ("{'a': '1'}"),
                           g_variant_new_parsed ("{'kind': <@u 2>, 'backend': <'b'>}"));
  g_autoptr (GantryRecord) replacement = gantry_record_new (GANTRY_KIND_SNAPSHOT, "default", "s/key", NULL,
                                                            g_variant_new_parsed ("{'kind': <@u 3>}"));
  g_autoptr (GantryRecord) first = make_change (fixture, GANTRY_CHANGE_PUT, given, NULL);
  g_autoptr (GantryRecord) second = make_change (fixture, GANTRY_CHANGE_PUT, replacement, NULL);
  g_autoptr (GantryRecord) renamed = NULL;
  g_autoptr (GantryChange) rename = gantry_change_new (GANTRY_CHANGE_RENAME, given);
  g_autoptr (GantryChange) again = gantry_change_new (GANTRY_CHANGE_RENAME, given);
  g_autoptr (GantryRecord) other = NULL;
  GantryRecord *none = NULL;

  assert_labels (second, "@a{ss} {}");
  g_assert_null (gantry_record_get_string (second, "backend"));
  g_assert_cmpint (second->created_ns, ==, first->created_ns);
  rename->new_id = g_strdup ("s/name");
  CONTRACT_OK (gantry_metadata_apply_one (metadata_of (fixture), rename, &renamed, NULL, &error));
  g_assert_cmpstr (renamed->id, ==, "s/name");
  assert_labels (renamed, "{'a': '1'}");
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND, gantry_metadata_get (metadata_of (fixture), GANTRY_KIND_SNAPSHOT,
                                                               "default", "s/key", &none, NULL, &error));
  again->new_id = g_strdup ("s/third");
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND,
                  gantry_metadata_apply_one (metadata_of (fixture), again, NULL, NULL, &error));
  other = make (fixture, GANTRY_KIND_SNAPSHOT, "default", "s/key", NULL, NULL);
  g_clear_pointer (&again, gantry_change_unref);
  again = gantry_change_new (GANTRY_CHANGE_RENAME, given);
  again->new_id = g_strdup ("s/name");
  CONTRACT_FAILS (GANTRY_ERROR_ALREADY_EXISTS,
                  gantry_metadata_apply_one (metadata_of (fixture), again, NULL, NULL, &error));
}

static void
test_delete (GantryContractFixture *fixture)
{
  g_autoptr (GantryRecord) record
      = make (fixture, GANTRY_KIND_IMAGE, "default", "docker.io/library/x:1", "{'a': '1'}", IMAGE_OF (A));
  g_autoptr (GantryRecord) was = NULL;
  g_autoptr (GantryRecord) ns = gantry_record_new (GANTRY_KIND_NAMESPACE, "", "default", NULL, NULL);
  g_autoptr (GantryRecord) gone_ns = NULL;
  GantryRecord *none = NULL;

  fail_change (fixture, GANTRY_CHANGE_DELETE, ns, NULL, GANTRY_ERROR_FAILED_PRECONDITION);
  was = make_change (fixture, GANTRY_CHANGE_DELETE, record, NULL);
  assert_labels (was, "{'a': '1'}");
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_NOT_FOUND, "docker.io/library/x:1",
                         gantry_metadata_get (metadata_of (fixture), GANTRY_KIND_IMAGE, "default",
                                              "docker.io/library/x:1", &none, NULL, &error));
  fail_change (fixture, GANTRY_CHANGE_DELETE, record, NULL, GANTRY_ERROR_NOT_FOUND);
  assert_filtered (fixture, GANTRY_KIND_IMAGE, "labels.a==1", "");
  gone_ns = make_change (fixture, GANTRY_CHANGE_DELETE, ns, NULL);
  fail_change (fixture, GANTRY_CHANGE_DELETE, ns, NULL, GANTRY_ERROR_NOT_FOUND);
}

static void
test_revisions (GantryContractFixture *fixture)
{
  g_autoptr (GantryRecord) record = make (fixture, GANTRY_KIND_CONTAINER, "default", "c", NULL, NULL);
  g_autoptr (GantryChange) stale = gantry_change_new (GANTRY_CHANGE_UPDATE, record);
  g_autoptr (GantryChange) fresh = gantry_change_new (GANTRY_CHANGE_UPDATE, record);
  g_autoptr (GantryRecord) updated = NULL;

  fresh->if_revision = record->revision;
  CONTRACT_OK (gantry_metadata_apply_one (metadata_of (fixture), fresh, &updated, NULL, &error));
  stale->if_revision = record->revision;
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_ABORTED, "c",
                         gantry_metadata_apply_one (metadata_of (fixture), stale, NULL, NULL, &error));
}

/* A list of changes happens whole or not at all, in order. */
static void
test_transaction (GantryContractFixture *fixture)
{
  GantryMetadata *metadata = metadata_of (fixture);
  g_autoptr (GPtrArray) changes = g_ptr_array_new_with_free_func (gantry_value_unref);
  g_autoptr (GPtrArray) records = NULL;
  g_autoptr (GPtrArray) nothing = g_ptr_array_new ();
  g_autoptr (GantryRecord) one = gantry_record_new (GANTRY_KIND_CONTAINER, "default", "one", NULL, NULL);
  g_autoptr (GantryRecord) labelled = gantry_record_new (GANTRY_KIND_CONTAINER, "default", "one",
                                                         g_variant_new_parsed ("{'a': '1'}"), NULL);
  g_autoptr (GantryRecord) two = gantry_record_new (GANTRY_KIND_CONTAINER, "fresh", "two", NULL, NULL);
  GPtrArray *none = GANTRY_CONTRACT_UNTOUCHED;
  GantryRecord *absent = NULL;

  g_ptr_array_add (changes, gantry_change_new (GANTRY_CHANGE_CREATE, one));
  g_ptr_array_add (changes, gantry_change_new (GANTRY_CHANGE_UPDATE, labelled));
  g_ptr_array_add (changes, gantry_change_new (GANTRY_CHANGE_CREATE, two));
  g_ptr_array_add (changes, gantry_change_new (GANTRY_CHANGE_CREATE, one));
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_ALREADY_EXISTS, "one",
                         gantry_metadata_apply (metadata, changes, &none, NULL, &error));
  g_assert_true (none == GANTRY_CONTRACT_UNTOUCHED);
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND, gantry_metadata_get (metadata, GANTRY_KIND_CONTAINER, "default",
                                                               "one", &absent, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND,
                  gantry_metadata_get (metadata, GANTRY_KIND_NAMESPACE, "", "fresh", &absent, NULL, &error));
  g_ptr_array_set_size (changes, 3);
  CONTRACT_OK (gantry_metadata_apply (metadata, changes, &records, NULL, &error));
  g_assert_cmpuint (records->len, ==, 3);
  assert_labels (g_ptr_array_index (records, 1), "{'a': '1'}");
  g_assert_cmpstr (((GantryRecord *)g_ptr_array_index (records, 2))->ns, ==, "fresh");
  CONTRACT_OK (gantry_metadata_apply (metadata, nothing, NULL, NULL, &error));
}

static void
test_names (GantryContractFixture *fixture)
{
  static const char *const bad[] = { "", "a b", "a/b", "../x", ".a", "a.", "a--b", "\xc3\xa4", "a;b" };
  static const char *const bad_images[] = { "", "\xff\xfe" };
  static const char *const good[] = { "a", "a.b-c_d", "0", "A9" };
  g_autofree char *longest = gantry_contract_long_name (76);
  g_autofree char *longer = gantry_contract_long_name (77);
  g_autofree char *long_image = gantry_contract_long_name (GANTRY_MAX_NAME);
  g_autofree char *longer_image = gantry_contract_long_name (4096);

  for (gsize i = 0; i < G_N_ELEMENTS (bad); i++)
    {
      g_autoptr (GantryRecord) record
          = gantry_record_new (GANTRY_KIND_CONTAINER, "default", bad[i], NULL, NULL);
      g_autoptr (GantryRecord) elsewhere = gantry_record_new (GANTRY_KIND_IMAGE, bad[i], "x", NULL, NULL);

      fail_change (fixture, GANTRY_CHANGE_CREATE, record, NULL, GANTRY_ERROR_INVALID_ARGUMENT);
      fail_change (fixture, GANTRY_CHANGE_CREATE, elsewhere, NULL, GANTRY_ERROR_INVALID_ARGUMENT);
    }
  for (gsize i = 0; i < G_N_ELEMENTS (bad_images); i++)
    {
      g_autoptr (GantryRecord) record
          = gantry_record_new (GANTRY_KIND_IMAGE, "default", bad_images[i], NULL, NULL);

      fail_change (fixture, GANTRY_CHANGE_CREATE, record, NULL, GANTRY_ERROR_INVALID_ARGUMENT);
    }
  for (gsize i = 0; i < G_N_ELEMENTS (good); i++)
    gantry_record_unref (make (fixture, GANTRY_KIND_CONTAINER, "default", good[i], NULL, NULL));
  gantry_record_unref (make (fixture, GANTRY_KIND_CONTAINER, "default", longest, NULL, NULL));
  gantry_record_unref (make (fixture, GANTRY_KIND_IMAGE, "default", "h:5000/a/b:c@sha256:d", NULL, NULL));
  gantry_record_unref (make (fixture, GANTRY_KIND_IMAGE, "default", long_image, NULL, NULL));
  for (gsize i = 0; i < 2; i++)
    {
      g_autoptr (GantryRecord) record
          = gantry_record_new (i == 0 ? GANTRY_KIND_CONTAINER : GANTRY_KIND_IMAGE, "default",
                               i == 0 ? longer : longer_image, NULL, NULL);

      fail_change (fixture, GANTRY_CHANGE_CREATE, record, NULL, GANTRY_ERROR_INVALID_ARGUMENT);
    }
}

static void
test_label_size (GantryContractFixture *fixture)
{
  g_autofree char *fits = gantry_contract_long_name (GANTRY_MAX_LABEL - 1);
  g_autofree char *too_long = gantry_contract_long_name (GANTRY_MAX_LABEL);
  g_autoptr (GantryRecord) good = gantry_record_new (GANTRY_KIND_LEASE, "default", "good",
                                                     g_variant_new_parsed ("{'k': %s}", fits), NULL);
  g_autoptr (GantryRecord) bad = gantry_record_new (GANTRY_KIND_LEASE, "default", "bad",
                                                    g_variant_new_parsed ("{'k': %s}", too_long), NULL);
  g_autoptr (GantryRecord) made = make_change (fixture, GANTRY_CHANGE_CREATE, good, NULL);

  assert_same_labels (made, good);
  fail_change (fixture, GANTRY_CHANGE_CREATE, bad, NULL, GANTRY_ERROR_INVALID_ARGUMENT);
}

static void
test_list (GantryContractFixture *fixture)
{
  static const char *const bad[] = { "id=x", NULL };
  g_autofree char *all = NULL;
  g_autofree char *after = NULL;
  g_autofree char *limited = NULL;
  g_autofree char *stopped = NULL;
  g_autofree char *everywhere = NULL;
  g_autofree char *everywhere_after = NULL;
  Listing listing = { NULL, metadata_of (fixture), 0 };

  gantry_record_unref (make (fixture, GANTRY_KIND_CONTAINER, "default", "b", NULL, NULL));
  gantry_record_unref (make (fixture, GANTRY_KIND_CONTAINER, "default", "a", NULL, NULL));
  gantry_record_unref (make (fixture, GANTRY_KIND_CONTAINER, "default", "d", NULL, NULL));
  gantry_record_unref (make (fixture, GANTRY_KIND_CONTAINER, "default", "c", NULL, NULL));
  gantry_record_unref (make (fixture, GANTRY_KIND_CONTAINER, "other", "e", NULL, NULL));
  gantry_record_unref (make (fixture, GANTRY_KIND_LEASE, "default", "f", NULL, NULL));
  all = list_ids (fixture, GANTRY_KIND_CONTAINER, "default", NULL, NULL, 0, 0);
  g_assert_cmpstr (all, ==, "a b c d");
  after = list_ids (fixture, GANTRY_KIND_CONTAINER, "default", NULL, "b", 0, 0);
  g_assert_cmpstr (after, ==, "c d");
  limited = list_ids (fixture, GANTRY_KIND_CONTAINER, "default", NULL, "a", 2, 0);
  g_assert_cmpstr (limited, ==, "b c");
  stopped = list_ids (fixture, GANTRY_KIND_CONTAINER, "default", NULL, NULL, 0, 1);
  g_assert_cmpstr (stopped, ==, "a");
  everywhere = list_ids (fixture, GANTRY_KIND_CONTAINER, NULL, NULL, NULL, 0, 0);
  g_assert_cmpstr (everywhere, ==, "a b c d e");
  everywhere_after = list_ids (fixture, GANTRY_KIND_CONTAINER, NULL, NULL, "c", 0, 0);
  g_assert_cmpstr (everywhere_after, ==, "d e");
  CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                  gantry_metadata_list (listing.metadata, GANTRY_KIND_CONTAINER, "default", bad, NULL, 0,
                                        on_record, &listing, NULL, &error));
}

static void
test_filters (GantryContractFixture *fixture)
{
  static const char *const either[] = { "id==b", "labels.\"a.b/c\"==1", NULL };
  static const char *const either_after[] = { "labels.x==9", "id==c", "id==b", NULL };
  static const char *const by_id[] = { "id==b", NULL };
  g_autofree char *both = NULL;
  g_autofree char *both_after = NULL;
  g_autofree char *everywhere = NULL;

  gantry_record_unref (
      make (fixture, GANTRY_KIND_CONTAINER, "default", "a", "{'a.b/c': '1', 'x': '9'}", "{'image': <'i1'>}"));
  gantry_record_unref (
      make (fixture, GANTRY_KIND_CONTAINER, "default", "b", "{'a.b/c': '2', 'x': '9'}", "{'image': <'i1'>}"));
  gantry_record_unref (make (fixture, GANTRY_KIND_CONTAINER, "default", "c", NULL, "{'image': <'i2'>}"));
  gantry_record_unref (make (fixture, GANTRY_KIND_CONTAINER, "other", "b", "{'a.b/c': '1'}", NULL));
  gantry_record_unref (make (fixture, GANTRY_KIND_IMAGE, "default", "i1", NULL, IMAGE_OF (A)));
  gantry_record_unref (make (fixture, GANTRY_KIND_IMAGE, "default", "i2", NULL, IMAGE_OF (B)));
  assert_filtered (fixture, GANTRY_KIND_CONTAINER, "id==b", "b");
  assert_filtered (fixture, GANTRY_KIND_CONTAINER, "id==absent", "");
  assert_filtered (fixture, GANTRY_KIND_CONTAINER, "id!=b", "a c");
  assert_filtered (fixture, GANTRY_KIND_CONTAINER, "id~=^[ab]$", "a b");
  assert_filtered (fixture, GANTRY_KIND_CONTAINER, "labels.\"a.b/c\"==1", "a");
  assert_filtered (fixture, GANTRY_KIND_CONTAINER, "labels.\"a.b/c\"", "a b");
  assert_filtered (fixture, GANTRY_KIND_CONTAINER, "labels.x==9", "a b");
  assert_filtered (fixture, GANTRY_KIND_CONTAINER, "labels.x==9,id==b", "b");
  assert_filtered (fixture, GANTRY_KIND_CONTAINER, "id==a,labels.x==8", "");
  assert_filtered (fixture, GANTRY_KIND_CONTAINER, "image==i2", "c");
  assert_filtered (fixture, GANTRY_KIND_CONTAINER, "image==i1,labels.\"a.b/c\"!=1", "b");
  assert_filtered (fixture, GANTRY_KIND_IMAGE, "name==i2", "i2");
  assert_filtered (fixture, GANTRY_KIND_IMAGE, "target.digest==" A, "i1");
  assert_filtered (fixture, GANTRY_KIND_IMAGE, "target.mediatype~=manifest", "i1 i2");
  both = list_ids (fixture, GANTRY_KIND_CONTAINER, "default", either, NULL, 0, 0);
  g_assert_cmpstr (both, ==, "a b");
  both_after = list_ids (fixture, GANTRY_KIND_CONTAINER, "default", either_after, "a", 2, 0);
  g_assert_cmpstr (both_after, ==, "b c");
  everywhere = list_ids (fixture, GANTRY_KIND_CONTAINER, NULL, by_id, NULL, 0, 0);
  g_assert_cmpstr (everywhere, ==, "b b");
}

static gboolean
count_record (GantryRecord *record, gpointer user_data)
{
  (void)record;
  ++*(guint *)user_data;
  return TRUE;
}

/* The shortest time of several that a list takes, and how many it gave. */
static gint64
time_list (GantryContractFixture *fixture, const char *filter, const char *other, guint *ret_n)
{
  const char *const filters[] = { filter, other, NULL };
  gint64 best = G_MAXINT64;

  for (guint i = 0; i < N_TIMES; i++)
    {
      gint64 start = g_get_monotonic_time ();

      *ret_n = 0;
      CONTRACT_OK (gantry_metadata_list (metadata_of (fixture), GANTRY_KIND_CONTAINER, "default", filters,
                                         NULL, 0, count_record, ret_n, NULL, &error));
      best = MIN (best, g_get_monotonic_time () - start);
    }
  return best;
}

/* Looking for ids or labels by == costs what the answer does, not what the store does: a small part of
 * reading it all. */
static void
test_cost (GantryContractFixture *fixture)
{
  static const char *const filters[][2] = {
    { "id==c-1234", NULL },
    { "name==c-1234", NULL },
    { "labels.\"a.b/c\"==1234", NULL },
    { "image==i,labels.\"a.b/c\"==1234", NULL },
    { "id==c-1234", "labels.\"a.b/c\"==1234" },
  };
  g_autoptr (GPtrArray) changes = g_ptr_array_new_with_free_func (gantry_value_unref);
  gint64 scan;
  guint n = 0;

  if (fixture->restart == NULL)
    {
      g_test_skip ("it lives in memory: costs do not matter");
      return;
    }
  for (guint i = 0; i < N_MANY; i++)
    {
      g_autofree char *id = g_strdup_printf ("c-%u", i);
      g_autofree char *value = g_strdup_printf ("%u", i);
      g_autoptr (GantryRecord) record = gantry_record_new (GANTRY_KIND_CONTAINER, "default", id,
                                                           g_variant_new_parsed ("{'a.b/c': %s}", value),
                                                           g_variant_new_parsed ("{'image': <'i'>}"));

      g_ptr_array_add (changes, gantry_change_new (GANTRY_CHANGE_CREATE, record));
    }
  CONTRACT_OK (gantry_metadata_apply (metadata_of (fixture), changes, NULL, NULL, &error));
  scan = time_list (fixture, "image==none", NULL, &n);
  g_assert_cmpuint (n, ==, 0);
  for (gsize i = 0; i < G_N_ELEMENTS (filters); i++)
    {
      gint64 look_up = time_list (fixture, filters[i][0], filters[i][1], &n);

      g_test_message ("%s: %" G_GINT64_FORMAT " us, reading all %u: %" G_GINT64_FORMAT " us", filters[i][0],
                      look_up, N_MANY, scan);
      g_assert_cmpuint (n, ==, 1);
      g_assert_cmpint (look_up, <, scan / 5);
    }
}

static void
increment (guint i, gpointer data)
{
  GantryContractFixture *fixture = data;

  (void)i;
  for (guint done = 0; done < N_OF_EACH;)
    {
      g_autoptr (GantryRecord) old = must_get (fixture, GANTRY_KIND_CONTAINER, "default", "counter");
      g_autofree char *value
          = g_strdup_printf ("%" G_GUINT64_FORMAT,
                             g_ascii_strtoull (gantry_labels_lookup (old->labels, "n"), NULL, 10) + 1);
      g_autoptr (GantryRecord) next = gantry_record_new (GANTRY_KIND_CONTAINER, "default", "counter",
                                                         g_variant_new_parsed ("{'n': %s}", value), NULL);
      g_autoptr (GantryChange) change = gantry_change_new (GANTRY_CHANGE_UPDATE, next);
      g_autoptr (GError) local = NULL;

      change->if_revision = old->revision;
      if (gantry_metadata_apply_one (metadata_of (fixture), change, NULL, NULL, &local))
        done++;
      else
        g_assert_true (gantry_error_is (local, GANTRY_ERROR_ABORTED));
    }
}

static void
create_own (guint i, gpointer data)
{
  for (guint j = 0; j < N_OF_EACH; j++)
    {
      g_autofree char *id = g_strdup_printf ("t%u-%u", i, j);

      gantry_record_unref (make (data, GANTRY_KIND_CONTAINER, "default", id, NULL, NULL));
    }
}

static void
test_threads (GantryContractFixture *fixture)
{
  static const char *const own[] = { "id~=^t", NULL };
  g_autoptr (GantryRecord) counter G_GNUC_UNUSED
      = make (fixture, GANTRY_KIND_CONTAINER, "default", "counter", "{'n': '0'}", NULL);
  g_autoptr (GantryRecord) end = NULL;
  g_autofree char *expected = g_strdup_printf ("%d", N_THREADS * N_OF_EACH);
  g_autofree char *ids = NULL;
  g_auto (GStrv) each = NULL;

  gantry_contract_race (N_THREADS, increment, fixture);
  end = must_get (fixture, GANTRY_KIND_CONTAINER, "default", "counter");
  g_assert_cmpstr (gantry_labels_lookup (end->labels, "n"), ==, expected);
  gantry_contract_race (N_THREADS, create_own, fixture);
  ids = list_ids (fixture, GANTRY_KIND_CONTAINER, "default", own, NULL, 0, 0);
  each = g_strsplit (ids, " ", -1);
  g_assert_cmpuint (g_strv_length (each), ==, N_THREADS * N_OF_EACH);
}

static void
test_cancelled (GantryContractFixture *fixture)
{
  g_autoptr (GCancellable) cancellable = gantry_contract_cancelled ();
  g_autoptr (GantryRecord) record = gantry_record_new (GANTRY_KIND_CONTAINER, "default", "c", NULL, NULL);
  g_autoptr (GantryChange) change = gantry_change_new (GANTRY_CHANGE_CREATE, record);
  GantryRecord *none = NULL;

  CONTRACT_FAILS (GANTRY_ERROR_CANCELLED,
                  gantry_metadata_apply_one (metadata_of (fixture), change, NULL, cancellable, &error));
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND, gantry_metadata_get (metadata_of (fixture), GANTRY_KIND_CONTAINER,
                                                               "default", "c", &none, NULL, &error));
}

static void
test_restart (GantryContractFixture *fixture)
{
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GantryRecord) again = NULL;
  g_autoptr (GPtrArray) held = NULL;

  if (!gantry_contract_can_restart (fixture))
    return;
  record = make (fixture, GANTRY_KIND_CONTAINER, "default", "c", "{'a': '1'}", "{'image': <'x'>}");
  gantry_record_unref (make (fixture, GANTRY_KIND_LEASE, "default", "l", NULL, NULL));
  hold (fixture, "l", GANTRY_KIND_CONTENT, A, TRUE);
  fixture->restart (fixture);
  again = must_get (fixture, GANTRY_KIND_CONTAINER, "default", "c");
  g_assert_cmpuint (again->revision, ==, record->revision);
  g_assert_cmpint (again->created_ns, ==, record->created_ns);
  assert_same_labels (again, record);
  g_assert_cmpstr (gantry_record_get_string (again, "image"), ==, "x");
  CONTRACT_OK (gantry_metadata_list_lease (metadata_of (fixture), "default", "l", &held, NULL, &error));
  g_assert_cmpuint (held->len, ==, 1);
}

static const GantryContractCase cases[] = {
  { "create", test_create },
  { "update", test_update },
  { "put-and-rename", test_put_and_rename },
  { "delete", test_delete },
  { "revisions", test_revisions },
  { "transaction", test_transaction },
  { "names", test_names },
  { "label-size", test_label_size },
  { "list", test_list },
  { "filters", test_filters },
  { "cost", test_cost },
  { "threads", test_threads },
  { "cancelled", test_cancelled },
  { "restart", test_restart },
  { "leases", metadata_test_leases },
  { "events", metadata_test_events },
  { "events-of-kinds", metadata_test_events_of_kinds },
  { "collect", metadata_test_collect },
  { "collect-expired", metadata_test_collect_expired },
  { "collect-snapshots", metadata_test_collect_snapshots },
  { "collect-namespaces", metadata_test_collect_namespaces },
  { "collect-dry", metadata_test_collect_dry },
  { "why", metadata_test_why },
  { NULL, NULL },
};

const GantryContractSuite gantry_contract_metadata = { GANTRY_METADATA_TYPE, cases };
