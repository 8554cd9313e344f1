/* SPDX-License-Identifier: MIT
 *
 * The contract of org.gantry.snapshot-index.v1. */
#include <gantry/snapshot-index.h>

#include <string.h>

#include "suites.h"

#define N_THREADS 4
#define N_OF_EACH 25
#define SELF      "overlay"

static GantrySnapshotIndex *
index_of (GantryContractFixture *fixture)
{
  return fixture->instance;
}

static guint64
allocate (GantryContractFixture *fixture, const char *snapshotter)
{
  guint64 number = 0;

  CONTRACT_OK (gantry_snapshot_index_allocate (index_of (fixture), snapshotter, &number, NULL, &error));
  g_assert_cmpuint (number, >, 0);
  return number;
}

/* Returns: the new entry's number. */
static guint64
insert (GantryContractFixture *fixture, GantrySnapshotKind kind, const char *key, const char *parent)
{
  guint64 number = allocate (fixture, SELF);

  CONTRACT_OK (gantry_snapshot_index_insert (index_of (fixture), SELF, number, kind, key, parent, NULL, NULL,
                                             NULL, &error));
  return number;
}

static guint64
insert_committed (GantryContractFixture *fixture, const char *name, const char *parent)
{
  g_autofree char *key = g_strconcat ("making ", name, NULL);
  guint64 number = insert (fixture, GANTRY_SNAPSHOT_ACTIVE, key, parent);

  CONTRACT_OK (
      gantry_snapshot_index_commit (index_of (fixture), SELF, name, key, NULL, NULL, 100, 7, NULL, &error));
  return number;
}

static GantrySnapshotEntry *
get (GantryContractFixture *fixture, const char *key)
{
  GantrySnapshotEntry *entry = NULL;

  CONTRACT_OK (gantry_snapshot_index_get (index_of (fixture), SELF, key, &entry, NULL, &error));
  g_assert_cmpstr (entry->info->name, ==, key);
  g_assert_nonnull (entry->ancestors);
  return entry;
}

static void
assert_absent (GantryContractFixture *fixture, const char *key)
{
  GantrySnapshotEntry *entry = GANTRY_CONTRACT_UNTOUCHED;

  CONTRACT_FAILS_NAMING (GANTRY_ERROR_NOT_FOUND, key,
                         gantry_snapshot_index_get (index_of (fixture), SELF, key, &entry, NULL, &error));
  g_assert_true (entry == GANTRY_CONTRACT_UNTOUCHED);
}

static void
test_life (GantryContractFixture *fixture)
{
  guint64 base = insert_committed (fixture, "base", NULL);
  guint64 next = insert_committed (fixture, "next", "base");
  guint64 number = allocate (fixture, SELF), removed = 0;
  g_autoptr (GVariant) labels = gantry_contract_parse ("{'a': '1'}");
  g_autoptr (GantrySnapshotEntry) inserted = NULL;
  g_autoptr (GantrySnapshotEntry) got = NULL;
  g_autoptr (GantrySnapshotEntry) committed = NULL;

  CONTRACT_OK (gantry_snapshot_index_insert (index_of (fixture), SELF, number, GANTRY_SNAPSHOT_ACTIVE, "key",
                                             "next", labels, &inserted, NULL, &error));
  got = get (fixture, "key");
  g_assert_cmpuint (inserted->number, ==, number);
  g_assert_cmpuint (got->number, ==, number);
  g_assert_cmpint (got->info->kind, ==, GANTRY_SNAPSHOT_ACTIVE);
  g_assert_cmpstr (got->info->parent, ==, "next");
  g_assert_true (gantry_contract_same_labels (got->info->labels, labels));
  g_assert_cmpuint (got->ancestors->len, ==, 2);
  g_assert_cmpuint (g_array_index (got->ancestors, guint64, 0), ==, next);
  g_assert_cmpuint (g_array_index (got->ancestors, guint64, 1), ==, base);
  committed = get (fixture, "base");
  g_assert_cmpint (committed->info->kind, ==, GANTRY_SNAPSHOT_COMMITTED);
  g_assert_cmpuint (committed->usage_bytes, ==, 100);
  g_assert_cmpuint (committed->usage_inodes, ==, 7);
  g_assert_cmpuint (committed->number, ==, base);
  CONTRACT_OK (gantry_snapshot_index_remove (index_of (fixture), SELF, "key", &removed, NULL, &error));
  g_assert_cmpuint (removed, ==, number);
  assert_absent (fixture, "key");
}

static void
test_insert_errors (GantryContractFixture *fixture)
{
  GantrySnapshotIndex *index = index_of (fixture);
  g_autofree char *longer = gantry_contract_long_name (4096);
  g_autofree char *longest = gantry_contract_long_name (GANTRY_MAX_NAME);
  GantrySnapshotEntry *none = GANTRY_CONTRACT_UNTOUCHED;

  insert_committed (fixture, "base", NULL);
  insert (fixture, GANTRY_SNAPSHOT_ACTIVE, "active", "base");
  insert (fixture, GANTRY_SNAPSHOT_VIEW, longest, "base");
#define REFUSED(code, kind, key, parent)                                                                     \
  CONTRACT_FAILS (code, gantry_snapshot_index_insert (index, SELF, allocate (fixture, SELF), kind, key,      \
                                                      parent, NULL, &none, NULL, &error))
  REFUSED (GANTRY_ERROR_ALREADY_EXISTS, GANTRY_SNAPSHOT_ACTIVE, "active", NULL);
  REFUSED (GANTRY_ERROR_ALREADY_EXISTS, GANTRY_SNAPSHOT_VIEW, "base", NULL);
  REFUSED (GANTRY_ERROR_NOT_FOUND, GANTRY_SNAPSHOT_ACTIVE, "new", "absent");
  REFUSED (GANTRY_ERROR_FAILED_PRECONDITION, GANTRY_SNAPSHOT_ACTIVE, "new", "active");
  REFUSED (GANTRY_ERROR_INVALID_ARGUMENT, GANTRY_SNAPSHOT_ACTIVE, "", NULL);
  REFUSED (GANTRY_ERROR_INVALID_ARGUMENT, GANTRY_SNAPSHOT_ACTIVE, longer, NULL);
  REFUSED (GANTRY_ERROR_INVALID_ARGUMENT, GANTRY_SNAPSHOT_ACTIVE, "\xff\xfe", NULL);
  REFUSED (GANTRY_ERROR_INVALID_ARGUMENT, GANTRY_SNAPSHOT_COMMITTED, "new", NULL);
  REFUSED (GANTRY_ERROR_INVALID_ARGUMENT, GANTRY_SNAPSHOT_UNKNOWN, "new", NULL);
#undef REFUSED
  g_assert_true (none == GANTRY_CONTRACT_UNTOUCHED);
  assert_absent (fixture, "new");
}

static void
test_commit (GantryContractFixture *fixture)
{
  GantrySnapshotIndex *index = index_of (fixture);
  g_autoptr (GVariant) labels = gantry_contract_parse ("{'a': '1'}");
  g_autoptr (GantrySnapshotEntry) entry = NULL;
  guint64 base = insert_committed (fixture, "base", NULL);

  insert_committed (fixture, "other", NULL);
  insert (fixture, GANTRY_SNAPSHOT_VIEW, "view", "base");
  insert (fixture, GANTRY_SNAPSHOT_ACTIVE, "child", "base");
  insert (fixture, GANTRY_SNAPSHOT_ACTIVE, "loose", NULL);
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND, gantry_snapshot_index_commit (index, SELF, "new", "absent", NULL,
                                                                        NULL, 0, 0, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_ALREADY_EXISTS, gantry_snapshot_index_commit (index, SELF, "base", "child",
                                                                             NULL, NULL, 0, 0, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_FAILED_PRECONDITION,
                  gantry_snapshot_index_commit (index, SELF, "new", "view", NULL, NULL, 0, 0, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_FAILED_PRECONDITION,
                  gantry_snapshot_index_commit (index, SELF, "new", "base", NULL, NULL, 0, 0, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_FAILED_PRECONDITION,
                  gantry_snapshot_index_commit (index, SELF, "new", "child", "other", NULL, 0, 0, NULL,
                                                &error));
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND, gantry_snapshot_index_commit (index, SELF, "new", "loose", "absent",
                                                                        NULL, 0, 0, NULL, &error));
  assert_absent (fixture, "new");
  /* One that was inserted without a parent may get one now. */
  CONTRACT_OK (
      gantry_snapshot_index_commit (index, SELF, "new", "loose", "base", labels, 5, 6, NULL, &error));
  assert_absent (fixture, "loose");
  entry = get (fixture, "new");
  g_assert_cmpstr (entry->info->parent, ==, "base");
  g_assert_cmpuint (g_array_index (entry->ancestors, guint64, 0), ==, base);
  g_assert_true (gantry_contract_same_labels (entry->info->labels, labels));
  g_assert_cmpuint (entry->usage_bytes, ==, 5);
  g_assert_cmpuint (entry->usage_inodes, ==, 6);
}

static void
test_remove (GantryContractFixture *fixture)
{
  guint64 number = 77;

  insert_committed (fixture, "base", NULL);
  insert (fixture, GANTRY_SNAPSHOT_ACTIVE, "child", "base");
  CONTRACT_FAILS (GANTRY_ERROR_FAILED_PRECONDITION,
                  gantry_snapshot_index_remove (index_of (fixture), SELF, "base", &number, NULL, &error));
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_NOT_FOUND, "absent",
                         gantry_snapshot_index_remove (index_of (fixture), SELF, "absent", &number, NULL,
                                                       &error));
  g_assert_cmpuint (number, ==, 77);
  gantry_snapshot_entry_unref (get (fixture, "base"));
}

static void
test_update (GantryContractFixture *fixture)
{
  static const char *const mask[] = { "labels.b", NULL };
  static const char *const bad_mask[] = { "parent", NULL };
  g_autoptr (GVariant) first = gantry_contract_parse ("{'a': '1', 'b': '2'}");
  g_autoptr (GVariant) second = gantry_contract_parse ("{'a': '9', 'b': '3'}");
  g_autoptr (GVariant) merged = gantry_contract_parse ("{'a': '1', 'b': '3'}");
  g_autoptr (GantrySnapshotEntry) entry = NULL;

  insert (fixture, GANTRY_SNAPSHOT_ACTIVE, "key", NULL);
  CONTRACT_OK (
      gantry_snapshot_index_update (index_of (fixture), SELF, "key", first, NULL, NULL, NULL, &error));
  CONTRACT_OK (
      gantry_snapshot_index_update (index_of (fixture), SELF, "key", second, mask, &entry, NULL, &error));
  g_assert_true (gantry_contract_same_labels (entry->info->labels, merged));
  CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                  gantry_snapshot_index_update (index_of (fixture), SELF, "key", second, bad_mask, NULL, NULL,
                                                &error));
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_NOT_FOUND, "absent",
                         gantry_snapshot_index_update (index_of (fixture), SELF, "absent", first, NULL, NULL,
                                                       NULL, &error));
}

typedef struct
{
  GantryContractFixture *fixture;
  guint n;
  guint stop_after;
} Walk;

/* Calls back into the index, which must hold no lock. */
static gboolean
on_entry (GantrySnapshotEntry *entry, gpointer user_data)
{
  Walk *walk = user_data;
  g_autoptr (GantrySnapshotEntry) same = get (walk->fixture, entry->info->name);

  g_assert_cmpuint (same->number, ==, entry->number);
  walk->n++;
  return walk->n != walk->stop_after;
}

static guint
count (GantryContractFixture *fixture, const char *snapshotter, const char *filter, guint stop_after)
{
  const char *const filters[] = { filter, NULL };
  Walk walk = { fixture, 0, stop_after };

  CONTRACT_OK (
      gantry_snapshot_index_walk (index_of (fixture), snapshotter, filters, on_entry, &walk, NULL, &error));
  return walk.n;
}

static void
test_walk (GantryContractFixture *fixture)
{
  static const char *const bad[] = { "name=x", NULL };
  Walk walk = { fixture, 0, 0 };

  insert_committed (fixture, "base", NULL);
  insert (fixture, GANTRY_SNAPSHOT_ACTIVE, "active", "base");
  insert (fixture, GANTRY_SNAPSHOT_VIEW, "view", "base");
  g_assert_cmpuint (count (fixture, SELF, NULL, 0), ==, 3);
  g_assert_cmpuint (count (fixture, SELF, NULL, 2), ==, 2);
  g_assert_cmpuint (count (fixture, SELF, "parent==base", 0), ==, 2);
  g_assert_cmpuint (count (fixture, SELF, "kind==view", 0), ==, 1);
  g_assert_cmpuint (count (fixture, SELF, "name==base", 0), ==, 1);
  CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                  gantry_snapshot_index_walk (index_of (fixture), SELF, bad, on_entry, &walk, NULL, &error));
}

/* Each snapshotter has a tree of its own. */
static void
test_snapshotters (GantryContractFixture *fixture)
{
  GantrySnapshotEntry *none = GANTRY_CONTRACT_UNTOUCHED;

  insert_committed (fixture, "base", NULL);
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND,
                  gantry_snapshot_index_get (index_of (fixture), "native", "base", &none, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND,
                  gantry_snapshot_index_insert (index_of (fixture), "native", allocate (fixture, "native"),
                                                GANTRY_SNAPSHOT_ACTIVE, "key", "base", NULL, NULL, NULL,
                                                &error));
  g_assert_cmpuint (count (fixture, "native", NULL, 0), ==, 0);
  CONTRACT_OK (gantry_snapshot_index_insert (index_of (fixture), "native", allocate (fixture, "native"),
                                             GANTRY_SNAPSHOT_ACTIVE, "base", NULL, NULL, NULL, NULL, &error));
}

typedef struct
{
  GantryContractFixture *fixture;
  GMutex lock;
  GHashTable *numbers;
  int n_won;
} Race;

static void
allocate_and_insert (guint i, gpointer data)
{
  Race *race = data;

  for (guint j = 0; j < N_OF_EACH; j++)
    {
      g_autofree char *key = g_strdup_printf ("%u-%u", i, j);
      guint64 number = insert (race->fixture, GANTRY_SNAPSHOT_ACTIVE, key, NULL);
      gboolean fresh;

      g_mutex_lock (&race->lock);
      fresh = g_hash_table_add (race->numbers, g_memdup2 (&number, sizeof number));
      g_mutex_unlock (&race->lock);
      g_assert_true (fresh);
    }
}

static void
insert_same (guint i, gpointer data)
{
  Race *race = data;
  g_autoptr (GError) local = NULL;

  (void)i;
  if (gantry_snapshot_index_insert (index_of (race->fixture), SELF, allocate (race->fixture, SELF),
                                    GANTRY_SNAPSHOT_ACTIVE, "same", NULL, NULL, NULL, NULL, &local))
    g_atomic_int_inc (&race->n_won);
  else
    g_assert_true (gantry_error_is (local, GANTRY_ERROR_ALREADY_EXISTS));
}

static void
test_threads (GantryContractFixture *fixture)
{
  Race race = { .fixture = fixture };

  g_mutex_init (&race.lock);
  race.numbers = g_hash_table_new_full (g_int64_hash, g_int64_equal, g_free, NULL);
  gantry_contract_race (N_THREADS, allocate_and_insert, &race);
  gantry_contract_race (N_THREADS, insert_same, &race);
  g_assert_cmpint (race.n_won, ==, 1);
  g_assert_cmpuint (count (fixture, SELF, NULL, 0), ==, N_THREADS * N_OF_EACH + 1);
  g_hash_table_unref (race.numbers);
  g_mutex_clear (&race.lock);
}

/* Numbers that were given are not given again, whether anything came of them or not. */
static void
test_restart (GantryContractFixture *fixture)
{
  guint64 kept, unused;
  g_autoptr (GantrySnapshotEntry) entry = NULL;

  if (!gantry_contract_can_restart (fixture))
    return;
  kept = insert_committed (fixture, "base", NULL);
  unused = allocate (fixture, SELF);
  CONTRACT_OK (gantry_snapshot_index_sync (index_of (fixture), NULL, &error));
  fixture->restart (fixture);
  entry = get (fixture, "base");
  g_assert_cmpuint (entry->number, ==, kept);
  g_assert_cmpuint (allocate (fixture, SELF), >, unused);
}

static void
test_cancelled (GantryContractFixture *fixture)
{
  g_autoptr (GCancellable) cancellable = gantry_contract_cancelled ();

  CONTRACT_FAILS (GANTRY_ERROR_CANCELLED,
                  gantry_snapshot_index_insert (index_of (fixture), SELF, allocate (fixture, SELF),
                                                GANTRY_SNAPSHOT_ACTIVE, "key", NULL, NULL, NULL, cancellable,
                                                &error));
  assert_absent (fixture, "key");
}

static const GantryContractCase cases[] = {
  { "life", test_life },
  { "insert-errors", test_insert_errors },
  { "commit", test_commit },
  { "remove", test_remove },
  { "update", test_update },
  { "walk", test_walk },
  { "snapshotters", test_snapshotters },
  { "threads", test_threads },
  { "restart", test_restart },
  { "cancelled", test_cancelled },
  { NULL, NULL },
};

const GantryContractSuite gantry_contract_snapshot_index = { GANTRY_SNAPSHOT_INDEX_TYPE, cases };
