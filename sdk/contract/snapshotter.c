/* SPDX-License-Identifier: MIT
 *
 * The contract of org.gantry.snapshotter.v1. */
#include <gantry/snapshotter.h>

#include <string.h>

#include "suites.h"
#include "trees.h"

#define N_THREADS 8
#define DEPTH     12
#define MIB       (1024 * 1024)

static GantrySnapshotter *
snapshotter_of (GantryContractFixture *fixture)
{
  return fixture->instance;
}

static char *
mount_point (GantryContractFixture *fixture)
{
  return g_build_filename (fixture->scratch, "point", NULL);
}

static GPtrArray *
prepare (GantryContractFixture *fixture, const char *key, const char *parent)
{
  GPtrArray *mounts = NULL;

  CONTRACT_OK (
      gantry_snapshotter_prepare (snapshotter_of (fixture), key, parent, NULL, &mounts, NULL, &error));
  g_assert_nonnull (mounts);
  g_assert_cmpuint (mounts->len, >, 0);
  return mounts;
}

static GPtrArray *
view (GantryContractFixture *fixture, const char *key, const char *parent)
{
  GPtrArray *mounts = NULL;

  CONTRACT_OK (gantry_snapshotter_view (snapshotter_of (fixture), key, parent, NULL, &mounts, NULL, &error));
  g_assert_nonnull (mounts);
  return mounts;
}

static void
commit (GantryContractFixture *fixture, const char *name, const char *key)
{
  CONTRACT_OK (gantry_snapshotter_commit (snapshotter_of (fixture), name, key, NULL, NULL, NULL, &error));
}

static GantrySnapshotInfo *
stat_key (GantryContractFixture *fixture, const char *key)
{
  GantrySnapshotInfo *info = NULL;

  CONTRACT_OK (gantry_snapshotter_stat (snapshotter_of (fixture), key, &info, NULL, &error));
  g_assert_cmpstr (info->name, ==, key);
  return info;
}

static void
assert_absent (GantryContractFixture *fixture, const char *key)
{
  GantrySnapshotInfo *info = GANTRY_CONTRACT_UNTOUCHED;

  CONTRACT_FAILS_NAMING (GANTRY_ERROR_NOT_FOUND, key,
                         gantry_snapshotter_stat (snapshotter_of (fixture), key, &info, NULL, &error));
  g_assert_true (info == GANTRY_CONTRACT_UNTOUCHED);
}

static void
put (GantryContractFixture *fixture, GPtrArray *mounts, const char *path, const char *text)
{
  g_autofree char *point = mount_point (fixture);

  g_assert_true (gantry_trees_write (mounts, point, path, text));
}

static void
assert_look (GantryContractFixture *fixture, GPtrArray *mounts, const char *path, const char *expected)
{
  g_autofree char *point = mount_point (fixture);
  g_autofree char *seen = gantry_trees_look (mounts, point, path);

  g_assert_cmpstr (seen, ==, expected);
}

/* A committed snapshot @name on @parent with one file. */
static void
make_committed (GantryContractFixture *fixture, const char *name, const char *parent, const char *path,
                const char *text)
{
  g_autofree char *key = g_strconcat ("making ", name, NULL);
  g_autoptr (GPtrArray) mounts = prepare (fixture, key, parent);

  if (path != NULL)
    put (fixture, mounts, path, text);
  commit (fixture, name, key);
}

static gboolean
can_mount (GantryContractFixture *fixture)
{
  g_autoptr (GPtrArray) mounts = prepare (fixture, "probe", NULL);

  CONTRACT_OK (gantry_snapshotter_remove (snapshotter_of (fixture), "probe", NULL, &error));
  return gantry_trees_can_mount (mounts);
}

static void
test_life (GantryContractFixture *fixture)
{
  gint64 before = gantry_now_ns () - 2 * (gint64)1000000000;
  g_autoptr (GPtrArray) mounts G_GNUC_UNUSED = prepare (fixture, "key", NULL);
  g_autoptr (GantrySnapshotInfo) active = stat_key (fixture, "key");
  g_autoptr (GantrySnapshotInfo) committed = NULL;
  g_autoptr (GantrySnapshotInfo) child = NULL;
  g_autoptr (GPtrArray) child_mounts = NULL;

  g_assert_cmpint (active->kind, ==, GANTRY_SNAPSHOT_ACTIVE);
  g_assert_null (active->parent);
  g_assert_cmpint (active->created_ns, >, before);
  g_assert_cmpint (active->updated_ns, >, before);
  commit (fixture, "name", "key");
  assert_absent (fixture, "key");
  committed = stat_key (fixture, "name");
  g_assert_cmpint (committed->kind, ==, GANTRY_SNAPSHOT_COMMITTED);
  g_assert_null (committed->parent);
  child_mounts = view (fixture, "child", "name");
  child = stat_key (fixture, "child");
  g_assert_cmpint (child->kind, ==, GANTRY_SNAPSHOT_VIEW);
  g_assert_cmpstr (child->parent, ==, "name");
  CONTRACT_OK (gantry_snapshotter_remove (snapshotter_of (fixture), "child", NULL, &error));
  assert_absent (fixture, "child");
  CONTRACT_OK (gantry_snapshotter_remove (snapshotter_of (fixture), "name", NULL, &error));
  assert_absent (fixture, "name");
}

/* Children see their parents' files and change only their own. */
static void
test_files (GantryContractFixture *fixture)
{
  g_autofree char *point = mount_point (fixture);
  g_autoptr (GPtrArray) one = NULL;
  g_autoptr (GPtrArray) two = NULL;
  g_autoptr (GPtrArray) seen = NULL;

  if (!can_mount (fixture))
    return;
  make_committed (fixture, "base", NULL, "etc/hosts", "base");
  make_committed (fixture, "next", "base", "etc/name", "next");
  one = prepare (fixture, "one", "next");
  two = prepare (fixture, "two", "next");
  assert_look (fixture, one, "etc", "dir");
  assert_look (fixture, one, "etc/hosts", "file:base");
  assert_look (fixture, one, "etc/name", "file:next");
  put (fixture, one, "etc/hosts", "one");
  put (fixture, one, "new", "one");
  gantry_trees_remove (one, point, "etc/name");
  assert_look (fixture, one, "etc/hosts", "file:one");
  assert_look (fixture, one, "etc/name", NULL);
  assert_look (fixture, two, "etc/hosts", "file:base");
  assert_look (fixture, two, "etc/name", "file:next");
  assert_look (fixture, two, "new", NULL);
  commit (fixture, "last", "one");
  seen = view (fixture, "seen", "last");
  assert_look (fixture, seen, "etc/hosts", "file:one");
  assert_look (fixture, seen, "etc/name", NULL);
  assert_look (fixture, seen, "new", "file:one");
}

static void
test_view (GantryContractFixture *fixture)
{
  g_autofree char *point = mount_point (fixture);
  g_autoptr (GPtrArray) one = NULL;
  g_autoptr (GPtrArray) deep = NULL;
  g_autoptr (GPtrArray) empty = NULL;

  if (!can_mount (fixture))
    return;
  make_committed (fixture, "base", NULL, "a", "1");
  make_committed (fixture, "next", "base", "b", "2");
  one = view (fixture, "one", "base");
  deep = view (fixture, "deep", "next");
  empty = view (fixture, "empty", NULL);
  assert_look (fixture, one, "a", "file:1");
  assert_look (fixture, deep, "a", "file:1");
  assert_look (fixture, deep, "b", "file:2");
  assert_look (fixture, empty, "a", NULL);
  g_assert_false (gantry_trees_write (one, point, "c", "3"));
  g_assert_false (gantry_trees_write (deep, point, "c", "3"));
  g_assert_false (gantry_trees_write (empty, point, "c", "3"));
  CONTRACT_FAILS (GANTRY_ERROR_FAILED_PRECONDITION,
                  gantry_snapshotter_commit (snapshotter_of (fixture), "from-view", "one", NULL, NULL, NULL,
                                             &error));
  assert_absent (fixture, "from-view");
}

static gboolean
same_mounts (GPtrArray *a, GPtrArray *b)
{
  gboolean same = a->len == b->len;

  for (guint i = 0; same && i < a->len; i++)
    {
      const GantryMount *one = g_ptr_array_index (a, i);
      const GantryMount *two = g_ptr_array_index (b, i);

      same = g_strcmp0 (one->type, two->type) == 0 && g_strcmp0 (one->source, two->source) == 0
             && g_strcmp0 (one->target, two->target) == 0
             && g_strv_equal ((const char *const *)one->options, (const char *const *)two->options);
    }
  return same;
}

static void
test_mounts (GantryContractFixture *fixture)
{
  GantrySnapshotter *snapshotter = snapshotter_of (fixture);
  GPtrArray *none = GANTRY_CONTRACT_UNTOUCHED;
  g_autoptr (GPtrArray) active = NULL;
  g_autoptr (GPtrArray) active_again = NULL;
  g_autoptr (GPtrArray) seen = NULL;
  g_autoptr (GPtrArray) seen_again = NULL;

  make_committed (fixture, "base", NULL, NULL, NULL);
  active = prepare (fixture, "active", "base");
  seen = view (fixture, "seen", "base");
  CONTRACT_OK (gantry_snapshotter_mounts (snapshotter, "active", &active_again, NULL, &error));
  CONTRACT_OK (gantry_snapshotter_mounts (snapshotter, "seen", &seen_again, NULL, &error));
  g_assert_true (same_mounts (active, active_again));
  g_assert_true (same_mounts (seen, seen_again));
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_FAILED_PRECONDITION, "base",
                         gantry_snapshotter_mounts (snapshotter, "base", &none, NULL, &error));
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_NOT_FOUND, "absent",
                         gantry_snapshotter_mounts (snapshotter, "absent", &none, NULL, &error));
  g_assert_true (none == GANTRY_CONTRACT_UNTOUCHED);
}

static void
test_exists (GantryContractFixture *fixture)
{
  GantrySnapshotter *snapshotter = snapshotter_of (fixture);
  GPtrArray *none = GANTRY_CONTRACT_UNTOUCHED;
  g_autoptr (GPtrArray) mounts = NULL;
  g_autoptr (GantrySnapshotInfo) info = NULL;

  make_committed (fixture, "name", NULL, NULL, NULL);
  mounts = prepare (fixture, "key", "name");
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_ALREADY_EXISTS, "key",
                         gantry_snapshotter_prepare (snapshotter, "key", NULL, NULL, &none, NULL, &error));
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_ALREADY_EXISTS, "name",
                         gantry_snapshotter_prepare (snapshotter, "name", NULL, NULL, &none, NULL, &error));
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_ALREADY_EXISTS, "key",
                         gantry_snapshotter_view (snapshotter, "key", "name", NULL, &none, NULL, &error));
  g_assert_true (none == GANTRY_CONTRACT_UNTOUCHED);
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_ALREADY_EXISTS, "name",
                         gantry_snapshotter_commit (snapshotter, "name", "key", NULL, NULL, NULL, &error));
  info = stat_key (fixture, "key");
  g_assert_cmpint (info->kind, ==, GANTRY_SNAPSHOT_ACTIVE);
  g_assert_cmpstr (info->parent, ==, "name");
}

static void
test_parents (GantryContractFixture *fixture)
{
  GantrySnapshotter *snapshotter = snapshotter_of (fixture);
  GPtrArray *none = GANTRY_CONTRACT_UNTOUCHED;
  g_autoptr (GPtrArray) active G_GNUC_UNUSED = prepare (fixture, "active", NULL);
  g_autoptr (GPtrArray) seen G_GNUC_UNUSED = view (fixture, "seen", NULL);

  CONTRACT_FAILS_NAMING (GANTRY_ERROR_NOT_FOUND, "absent",
                         gantry_snapshotter_prepare (snapshotter, "key", "absent", NULL, &none, NULL,
                                                     &error));
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_NOT_FOUND, "absent",
                         gantry_snapshotter_view (snapshotter, "key", "absent", NULL, &none, NULL, &error));
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_FAILED_PRECONDITION, "active",
                         gantry_snapshotter_prepare (snapshotter, "key", "active", NULL, &none, NULL,
                                                     &error));
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_FAILED_PRECONDITION, "seen",
                         gantry_snapshotter_view (snapshotter, "key", "seen", NULL, &none, NULL, &error));
  g_assert_true (none == GANTRY_CONTRACT_UNTOUCHED);
  assert_absent (fixture, "key");
}

static void
test_bad_commit (GantryContractFixture *fixture)
{
  GantrySnapshotter *snapshotter = snapshotter_of (fixture);

  make_committed (fixture, "name", NULL, NULL, NULL);
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_NOT_FOUND, "absent",
                         gantry_snapshotter_commit (snapshotter, "new", "absent", NULL, NULL, NULL, &error));
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_FAILED_PRECONDITION, "name",
                         gantry_snapshotter_commit (snapshotter, "new", "name", NULL, NULL, NULL, &error));
  assert_absent (fixture, "new");
}

/* A key is any name up to a length; none becomes a path. */
static void
test_names (GantryContractFixture *fixture)
{
  static const char *const keys[]
      = { "a/b", "../../escape", ".", "/", "with space", "\xc3\xa4", "sha256:aa", "1", "zwei\nzeilen" };
  GantrySnapshotter *snapshotter = snapshotter_of (fixture);
  g_autofree char *longest = gantry_contract_long_name (GANTRY_MAX_NAME);
  g_autofree char *longer = gantry_contract_long_name (4096);
  GPtrArray *none = GANTRY_CONTRACT_UNTOUCHED;

  for (gsize i = 0; i < G_N_ELEMENTS (keys); i++)
    g_ptr_array_unref (prepare (fixture, keys[i], NULL));
  for (gsize i = 0; i < G_N_ELEMENTS (keys); i++)
    gantry_snapshot_info_unref (stat_key (fixture, keys[i]));
  g_ptr_array_unref (prepare (fixture, longest, NULL));
  CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                  gantry_snapshotter_prepare (snapshotter, "", NULL, NULL, &none, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                  gantry_snapshotter_prepare (snapshotter, longer, NULL, NULL, &none, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                  gantry_snapshotter_prepare (snapshotter, "\xff\xfe", NULL, NULL, &none, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                  gantry_snapshotter_commit (snapshotter, "", "a/b", NULL, NULL, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                  gantry_snapshotter_commit (snapshotter, longer, "a/b", NULL, NULL, NULL, &error));
  g_assert_true (none == GANTRY_CONTRACT_UNTOUCHED);
  gantry_snapshot_info_unref (stat_key (fixture, "a/b"));
}

static void
test_remove (GantryContractFixture *fixture)
{
  GantrySnapshotter *snapshotter = snapshotter_of (fixture);
  g_autoptr (GPtrArray) mounts = NULL;
  g_autoptr (GPtrArray) again = NULL;

  make_committed (fixture, "base", NULL, NULL, NULL);
  mounts = prepare (fixture, "child", "base");
  CONTRACT_FAILS (GANTRY_ERROR_FAILED_PRECONDITION,
                  gantry_snapshotter_remove (snapshotter, "base", NULL, &error));
  gantry_snapshot_info_unref (stat_key (fixture, "base"));
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_NOT_FOUND, "absent",
                         gantry_snapshotter_remove (snapshotter, "absent", NULL, &error));
  if (gantry_trees_can_mount (mounts))
    put (fixture, mounts, "left", "over");
  CONTRACT_OK (gantry_snapshotter_remove (snapshotter, "child", NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND, gantry_snapshotter_remove (snapshotter, "child", NULL, &error));
  /* The key is free at once, and what comes under it is empty. */
  again = prepare (fixture, "child", "base");
  if (gantry_trees_can_mount (again))
    assert_look (fixture, again, "left", NULL);
  CONTRACT_OK (gantry_snapshotter_remove (snapshotter, "child", NULL, &error));
  CONTRACT_OK (gantry_snapshotter_remove (snapshotter, "base", NULL, &error));
  CONTRACT_OK (gantry_snapshotter_cleanup (snapshotter, NULL, &error));
  CONTRACT_OK (gantry_snapshotter_cleanup (snapshotter, NULL, &error));
}

/* A cleanup takes nothing that is in use. */
static void
test_cleanup (GantryContractFixture *fixture)
{
  g_autoptr (GPtrArray) mounts = NULL;
  g_autoptr (GPtrArray) seen G_GNUC_UNUSED = NULL;

  if (!can_mount (fixture))
    return;
  make_committed (fixture, "base", NULL, "a", "1");
  mounts = prepare (fixture, "active", "base");
  put (fixture, mounts, "b", "2");
  CONTRACT_OK (gantry_snapshotter_cleanup (snapshotter_of (fixture), NULL, &error));
  assert_look (fixture, mounts, "a", "file:1");
  assert_look (fixture, mounts, "b", "file:2");
}

static void
test_usage (GantryContractFixture *fixture)
{
  GantrySnapshotter *snapshotter = snapshotter_of (fixture);
  g_autofree char *text = g_strnfill (MIB, 'x');
  guint64 before = 0, after = 0, committed = 0, inodes = 0, inodes_after = 0;
  g_autoptr (GPtrArray) mounts = NULL;

  CONTRACT_FAILS_NAMING (GANTRY_ERROR_NOT_FOUND, "absent",
                         gantry_snapshotter_usage (snapshotter, "absent", &before, &inodes, NULL, &error));
  if (!can_mount (fixture))
    return;
  mounts = prepare (fixture, "key", NULL);
  CONTRACT_OK (gantry_snapshotter_usage (snapshotter, "key", &before, &inodes, NULL, &error));
  put (fixture, mounts, "d/file", text);
  CONTRACT_OK (gantry_snapshotter_usage (snapshotter, "key", &after, &inodes_after, NULL, &error));
  g_assert_cmpuint (after, >=, before + MIB);
  g_assert_cmpuint (inodes_after, ==, inodes + 2);
  commit (fixture, "name", "key");
  for (int i = 0; i < 2; i++)
    {
      CONTRACT_OK (gantry_snapshotter_usage (snapshotter, "name", &committed, &inodes, NULL, &error));
      g_assert_cmpuint (committed, ==, after);
      g_assert_cmpuint (inodes, ==, inodes_after);
    }
}

static void
test_labels (GantryContractFixture *fixture)
{
  static const char *const one_label[] = { "labels.b", "labels.c", NULL };
  static const char *const all_labels[] = { "labels", NULL };
  static const char *const bad_mask[] = { "kind", NULL };
  GantrySnapshotter *snapshotter = snapshotter_of (fixture);
  g_autofree char *long_value = gantry_contract_long_name (GANTRY_MAX_LABEL);
  g_autoptr (GVariant) first = gantry_contract_parse ("{'a': '1', 'b': '2'}");
  g_autoptr (GVariant) second = gantry_contract_parse ("{'a': '9', 'c': '3'}");
  g_autoptr (GVariant) merged = gantry_contract_parse ("{'a': '1', 'c': '3'}");
  g_autofree char *too_long_text = g_strdup_printf ("{'key': '%s'}", long_value);
  g_autoptr (GVariant) too_long = gantry_contract_parse (too_long_text);
  g_autoptr (GantrySnapshotInfo) info = NULL;
  g_autoptr (GantrySnapshotInfo) partial = NULL;
  g_autoptr (GantrySnapshotInfo) whole = NULL;
  g_autoptr (GantrySnapshotInfo) committed = NULL;

  CONTRACT_OK (gantry_snapshotter_prepare (snapshotter, "key", NULL, first, NULL, NULL, &error));
  info = stat_key (fixture, "key");
  g_assert_true (gantry_contract_same_labels (info->labels, first));
  CONTRACT_OK (gantry_snapshotter_update (snapshotter, "key", second, one_label, &partial, NULL, &error));
  g_assert_true (gantry_contract_same_labels (partial->labels, merged));
  g_assert_cmpint (partial->created_ns, ==, info->created_ns);
  g_assert_cmpint (partial->updated_ns, >=, info->updated_ns);
  CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                  gantry_snapshotter_update (snapshotter, "key", second, bad_mask, NULL, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                  gantry_snapshotter_update (snapshotter, "key", too_long, NULL, NULL, NULL, &error));
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_NOT_FOUND, "absent",
                         gantry_snapshotter_update (snapshotter, "absent", first, NULL, NULL, NULL, &error));
  CONTRACT_OK (gantry_snapshotter_update (snapshotter, "key", second, all_labels, NULL, NULL, &error));
  CONTRACT_OK (gantry_snapshotter_update (snapshotter, "key", first, NULL, NULL, NULL, &error));
  whole = stat_key (fixture, "key");
  g_assert_true (gantry_contract_same_labels (whole->labels, first));
  /* A commit's labels replace those of the key. */
  CONTRACT_OK (gantry_snapshotter_commit (snapshotter, "name", "key", NULL, second, NULL, &error));
  committed = stat_key (fixture, "name");
  g_assert_true (gantry_contract_same_labels (committed->labels, second));
  CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                  gantry_snapshotter_prepare (snapshotter, "other", NULL, too_long, NULL, NULL, &error));
  assert_absent (fixture, "other");
}

typedef struct
{
  GantrySnapshotter *snapshotter;
  guint n;
  guint stop_after;
} Walk;

/* Calls back into the snapshotter, which must hold no lock. */
static gboolean
on_info (GantrySnapshotInfo *info, gpointer user_data)
{
  Walk *walk = user_data;
  g_autoptr (GantrySnapshotInfo) same = NULL;

  CONTRACT_OK (gantry_snapshotter_stat (walk->snapshotter, info->name, &same, NULL, &error));
  g_assert_cmpint (same->kind, ==, info->kind);
  g_assert_cmpstr (same->parent, ==, info->parent);
  walk->n++;
  return walk->n != walk->stop_after;
}

static guint
count (GantryContractFixture *fixture, const char *filter, guint stop_after)
{
  const char *const filters[] = { filter, NULL };
  Walk walk = { snapshotter_of (fixture), 0, stop_after };

  CONTRACT_OK (gantry_snapshotter_walk (walk.snapshotter, filters, on_info, &walk, NULL, &error));
  return walk.n;
}

static void
test_walk (GantryContractFixture *fixture)
{
  static const char *const bad[] = { "name=x", NULL };
  g_autoptr (GVariant) labels = gantry_contract_parse ("{'a.b/c': 'yes'}");
  Walk walk = { snapshotter_of (fixture), 0, 0 };

  make_committed (fixture, "base", NULL, NULL, NULL);
  make_committed (fixture, "next", "base", NULL, NULL);
  g_ptr_array_unref (prepare (fixture, "active", "next"));
  CONTRACT_OK (gantry_snapshotter_view (walk.snapshotter, "seen", "next", labels, NULL, NULL, &error));
  g_assert_cmpuint (count (fixture, NULL, 0), ==, 4);
  g_assert_cmpuint (count (fixture, NULL, 1), ==, 1);
  g_assert_cmpuint (count (fixture, "name==next", 0), ==, 1);
  g_assert_cmpuint (count (fixture, "parent==next", 0), ==, 2);
  g_assert_cmpuint (count (fixture, "kind==committed", 0), ==, 2);
  g_assert_cmpuint (count (fixture, "kind==active", 0), ==, 1);
  g_assert_cmpuint (count (fixture, "kind==view,parent==next", 0), ==, 1);
  g_assert_cmpuint (count (fixture, "labels.\"a.b/c\"==yes", 0), ==, 1);
  g_assert_cmpuint (count (fixture, "labels.\"a.b/c\"", 0), ==, 1);
  CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                  gantry_snapshotter_walk (walk.snapshotter, bad, on_info, &walk, NULL, &error));
  g_assert_cmpuint (walk.n, ==, 0);
}

static void
test_rebase (GantryContractFixture *fixture)
{
  GantrySnapshotter *snapshotter = snapshotter_of (fixture);
  g_autoptr (GPtrArray) upper = NULL;
  g_autoptr (GPtrArray) seen = NULL;
  g_autoptr (GantrySnapshotInfo) info = NULL;

  /* Naming the parent that it has anyway is no rebase and always allowed; another one never is. */
  make_committed (fixture, "base", NULL, NULL, NULL);
  make_committed (fixture, "other", NULL, NULL, NULL);
  g_ptr_array_unref (prepare (fixture, "child", "base"));
  CONTRACT_FAILS (GANTRY_ERROR_FAILED_PRECONDITION,
                  gantry_snapshotter_commit (snapshotter, "next", "child", "other", NULL, NULL, &error));
  CONTRACT_OK (gantry_snapshotter_commit (snapshotter, "next", "child", "base", NULL, NULL, &error));
  upper = prepare (fixture, "upper", NULL);
  if ((gantry_snapshotter_get_capabilities (snapshotter) & GANTRY_SNAPSHOTTER_PARALLEL_UNPACK) == 0)
    {
      CONTRACT_FAILS (GANTRY_ERROR_FAILED_PRECONDITION,
                      gantry_snapshotter_commit (snapshotter, "rebased", "upper", "base", NULL, NULL,
                                                 &error));
      return;
    }
  if (!gantry_trees_can_mount (upper))
    return;
  make_committed (fixture, "lower", NULL, "a", "1");
  put (fixture, upper, "b", "2");
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_NOT_FOUND, "absent",
                         gantry_snapshotter_commit (snapshotter, "rebased", "upper", "absent", NULL, NULL,
                                                    &error));
  CONTRACT_OK (gantry_snapshotter_commit (snapshotter, "rebased", "upper", "lower", NULL, NULL, &error));
  info = stat_key (fixture, "rebased");
  g_assert_cmpstr (info->parent, ==, "lower");
  seen = view (fixture, "seen", "rebased");
  assert_look (fixture, seen, "a", "file:1");
  assert_look (fixture, seen, "b", "file:2");
}

static void
test_cancelled (GantryContractFixture *fixture)
{
  GantrySnapshotter *snapshotter = snapshotter_of (fixture);
  g_autoptr (GCancellable) cancellable = gantry_contract_cancelled ();
  GPtrArray *none = GANTRY_CONTRACT_UNTOUCHED;

  CONTRACT_FAILS (GANTRY_ERROR_CANCELLED,
                  gantry_snapshotter_prepare (snapshotter, "key", NULL, NULL, &none, cancellable, &error));
  CONTRACT_FAILS (GANTRY_ERROR_CANCELLED,
                  gantry_snapshotter_view (snapshotter, "key", NULL, NULL, &none, cancellable, &error));
  g_assert_true (none == GANTRY_CONTRACT_UNTOUCHED);
  assert_absent (fixture, "key");
}

static void
test_deep (GantryContractFixture *fixture)
{
  g_autoptr (GPtrArray) mounts = NULL;
  g_autofree char *parent = NULL;

  if (!can_mount (fixture))
    return;
  for (guint i = 0; i < DEPTH; i++)
    {
      g_autofree char *name = g_strdup_printf ("layer-%u", i);

      make_committed (fixture, name, parent, name, name);
      g_free (parent);
      parent = g_steal_pointer (&name);
    }
  mounts = prepare (fixture, "top", parent);
  for (guint i = 0; i < DEPTH; i++)
    {
      g_autofree char *path = g_strdup_printf ("layer-%u", i);
      g_autofree char *expected = g_strconcat ("file:", path, NULL);

      assert_look (fixture, mounts, path, expected);
    }
}

static void
test_restart (GantryContractFixture *fixture)
{
  g_autoptr (GVariant) labels = gantry_contract_parse ("{'a': '1'}");
  g_autoptr (GPtrArray) mounts = NULL;
  g_autoptr (GPtrArray) again = NULL;
  g_autoptr (GPtrArray) seen = NULL;
  g_autoptr (GantrySnapshotInfo) info = NULL;

  if (!gantry_contract_can_restart (fixture) || !can_mount (fixture))
    return;
  make_committed (fixture, "base", NULL, "a", "1");
  mounts = prepare (fixture, "active", "base");
  put (fixture, mounts, "b", "2");
  CONTRACT_OK (
      gantry_snapshotter_update (snapshotter_of (fixture), "active", labels, NULL, NULL, NULL, &error));
  g_ptr_array_unref (prepare (fixture, "going", "base"));
  CONTRACT_OK (gantry_snapshotter_remove (snapshotter_of (fixture), "going", NULL, &error));
  fixture->restart (fixture);
  assert_absent (fixture, "going");
  info = stat_key (fixture, "active");
  g_assert_cmpint (info->kind, ==, GANTRY_SNAPSHOT_ACTIVE);
  g_assert_true (gantry_contract_same_labels (info->labels, labels));
  CONTRACT_OK (gantry_snapshotter_mounts (snapshotter_of (fixture), "active", &again, NULL, &error));
  g_assert_true (same_mounts (mounts, again));
  assert_look (fixture, again, "b", "file:2");
  seen = view (fixture, "seen", "base");
  assert_look (fixture, seen, "a", "file:1");
  /* A new one has nothing of an old one. */
  g_clear_pointer (&again, g_ptr_array_unref);
  again = prepare (fixture, "fresh", NULL);
  assert_look (fixture, again, "a", NULL);
  assert_look (fixture, again, "b", NULL);
}

typedef struct
{
  GantryContractFixture *fixture;
  int n_won;
} Race;

static void
prepare_same (guint i, gpointer data)
{
  Race *race = data;
  g_autoptr (GError) error = NULL;

  (void)i;
  if (gantry_snapshotter_prepare (snapshotter_of (race->fixture), "same", NULL, NULL, NULL, NULL, &error))
    g_atomic_int_inc (&race->n_won);
  else
    g_assert_true (gantry_error_is (error, GANTRY_ERROR_ALREADY_EXISTS));
}

static void
commit_same (guint i, gpointer data)
{
  Race *race = data;
  g_autofree char *key = g_strdup_printf ("key-%u", i);
  g_autoptr (GError) error = NULL;

  g_ptr_array_unref (prepare (race->fixture, key, NULL));
  if (gantry_snapshotter_commit (snapshotter_of (race->fixture), "committed", key, NULL, NULL, NULL, &error))
    g_atomic_int_inc (&race->n_won);
  else
    g_assert_true (gantry_error_is (error, GANTRY_ERROR_ALREADY_EXISTS));
}

static void
grow_chain (guint i, gpointer data)
{
  Race *race = data;
  g_autofree char *parent = NULL;

  for (guint j = 0; j < 4; j++)
    {
      g_autofree char *name = g_strdup_printf ("chain-%u-%u", i, j);

      make_committed (race->fixture, name, parent, NULL, NULL);
      CONTRACT_OK (gantry_snapshotter_cleanup (snapshotter_of (race->fixture), NULL, &error));
      g_free (parent);
      parent = g_steal_pointer (&name);
    }
}

static void
test_threads (GantryContractFixture *fixture)
{
  Race race = { fixture, 0 };

  gantry_contract_race (N_THREADS, prepare_same, &race);
  g_assert_cmpint (race.n_won, ==, 1);
  race.n_won = 0;
  gantry_contract_race (N_THREADS, commit_same, &race);
  g_assert_cmpint (race.n_won, ==, 1);
  gantry_contract_race (N_THREADS, grow_chain, &race);
  g_assert_cmpuint (count (fixture, "name~=^chain-", 0), ==, 4 * N_THREADS);
}

static GVariant *
mapping_labels (const char *uids, const char *gids)
{
  GVariantBuilder labels;

  g_variant_builder_init (&labels, G_VARIANT_TYPE ("a{ss}"));
  g_variant_builder_add (&labels, "{ss}", "containerd.io/snapshot/uidmapping", uids);
  if (gids != NULL)
    g_variant_builder_add (&labels, "{ss}", "containerd.io/snapshot/gidmapping", gids);
  return g_variant_builder_end (&labels);
}

static gboolean
has_option (GPtrArray *mounts, const char *option)
{
  const GantryMount *mount = g_ptr_array_index (mounts, 0);

  return mount->options != NULL && g_strv_contains ((const char *const *)mount->options, option);
}

/* Owners are mapped by the mounts' options, or by the files themselves; and what is no mapping makes nothing.
 */
static void
test_remap (GantryContractFixture *fixture)
{
  GPtrArray *mounts = GANTRY_CONTRACT_UNTOUCHED;
  unsigned capabilities = gantry_snapshotter_get_capabilities (snapshotter_of (fixture));

  if ((capabilities & GANTRY_SNAPSHOTTER_REMAP) == 0)
    {
      g_test_skip ("this snapshotter does not map owners here");
      return;
    }
  make_committed (fixture, "base", NULL, NULL, NULL);
  CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                  gantry_snapshotter_prepare (snapshotter_of (fixture), "key", "base",
                                              mapping_labels ("0:100000:1000000", "nonsense"), &mounts, NULL,
                                              &error));
  CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                  gantry_snapshotter_prepare (snapshotter_of (fixture), "key", "base",
                                              mapping_labels ("0:100000:1000000", NULL), &mounts, NULL,
                                              &error));
  g_assert_true (mounts == GANTRY_CONTRACT_UNTOUCHED);
  assert_absent (fixture, "key");
  CONTRACT_OK (gantry_snapshotter_prepare (snapshotter_of (fixture), "key", "base",
                                           mapping_labels ("0:100000:1000000", "0:200000:1000000"), &mounts,
                                           NULL, &error));
  g_assert_true (has_option (mounts, "uidmap=0:100000:1000000")
                 == has_option (mounts, "gidmap=0:200000:1000000"));
  g_ptr_array_unref (mounts);
}

static const GantryContractCase cases[] = {
  { "life", test_life },
  { "files", test_files },
  { "view", test_view },
  { "mounts", test_mounts },
  { "exists", test_exists },
  { "parents", test_parents },
  { "bad-commit", test_bad_commit },
  { "names", test_names },
  { "remove", test_remove },
  { "cleanup", test_cleanup },
  { "usage", test_usage },
  { "labels", test_labels },
  { "walk", test_walk },
  { "rebase", test_rebase },
  { "remap", test_remap },
  { "cancelled", test_cancelled },
  { "deep", test_deep },
  { "restart", test_restart },
  { "threads", test_threads },
  { NULL, NULL },
};

const GantryContractSuite gantry_contract_snapshotter = { GANTRY_SNAPSHOTTER_TYPE, cases };
