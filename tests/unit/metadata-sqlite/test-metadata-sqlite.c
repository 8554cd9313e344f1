/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The database: migrations from every older version, files that can't be read, garbage collection by what
 * holds what, and costs that do not grow with the store. */
#include "populate.h"

#include <gantry/events.h>
#include <gantry/testing/fake-host.h>
#include <glib/gstdio.h>
#include <sqlite3.h>
#include <string.h>

typedef struct
{
  char *dir;
  char *path;
  GantryFakeHost *fake;
  GantryMetadata *metadata;
  GantrySnapshotIndex *index;
} Fixture;

static gboolean
open_database (Fixture *self, GError **error)
{
  const GantryPluginDesc *desc;
  gpointer instance;

  if (!gantry_fake_host_load (self->fake, g_getenv ("GANTRY_TEST_MODULE"), &desc, &instance, error))
    return FALSE;
  self->metadata = gantry_fake_host_get (self->fake, GANTRY_METADATA_TYPE);
  self->index = gantry_fake_host_get (self->fake, GANTRY_SNAPSHOT_INDEX_TYPE);
  return TRUE;
}

static void
set_up (Fixture *self, gconstpointer data)
{
  self->dir = g_dir_make_tmp ("gantry-metadata.XXXXXX", NULL);
  self->fake = gantry_fake_host_new (self->dir, NULL);
  self->path = g_build_filename (self->dir, "root", "metadata.db", NULL);
  gantry_fake_host_set_id (self->fake, "sqlite");
}

static void
tear_down (Fixture *self, gconstpointer data)
{
  static const char *const names[]
      = { "root/metadata.db", "root/metadata.db-wal", "root/metadata.db-shm", "root", "state", "." };

  gantry_fake_host_free (self->fake);
  for (gsize i = 0; i < G_N_ELEMENTS (names); i++)
    {
      g_autofree char *path = g_build_filename (self->dir, names[i], NULL);

      g_remove (path);
    }
  g_rmdir (self->dir);
  g_free (self->dir);
  g_free (self->path);
}

static void
must_open (Fixture *self)
{
  g_autoptr (GError) error = NULL;

  open_database (self, &error);
  g_assert_no_error (error);
}

static void
run_sql (Fixture *self, const char *sql)
{
  sqlite3 *database;
  char *message = NULL;

  g_assert_cmpint (sqlite3_open (self->path, &database), ==, SQLITE_OK);
  sqlite3_busy_timeout (database, 10000);
  sqlite3_exec (database, sql, NULL, NULL, &message);
  g_assert_cmpstr (message, ==, NULL);
  sqlite3_close (database);
}

/* What a collection takes, as sorted ids in one string. */
static char *
collect (Fixture *self, gboolean dry_run)
{
  g_autoptr (GPtrArray) garbage = NULL;
  g_autoptr (GError) error = NULL;
  g_autoptr (GString) ids = g_string_new (NULL);

  gantry_metadata_collect (self->metadata, dry_run, &garbage, NULL, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < garbage->len; i++)
    g_string_append_printf (ids, "%s%s", ids->len > 0 ? " " : "",
                            ((GantryGarbage *)g_ptr_array_index (garbage, i))->id);
  return g_string_free (g_steal_pointer (&ids), FALSE);
}

static void
assert_same_words (const char *found, const char *wanted)
{
  g_auto (GStrv) a = g_strsplit (found, " ", -1), b = g_strsplit (wanted, " ", -1);

  for (gsize i = 0; b[i] != NULL; i++)
    if (!g_strv_contains ((const char *const *)a, b[i]))
      g_error ("\"%s\" lacks %s", found, b[i]);
  if (g_strv_length (a) != g_strv_length (b))
    g_error ("\"%s\" is more than \"%s\"", found, wanted);
}

static void
assert_collects (Fixture *self, const char *wanted)
{
  g_autofree char *would = collect (self, TRUE), *did = collect (self, FALSE), *again = collect (self, FALSE);

  assert_same_words (would, wanted);
  g_assert_cmpstr (would, ==, did);
  g_assert_cmpstr (again, ==, "");
}

static gboolean
has (Fixture *self, const char *kind, const char *ns, const char *id)
{
  g_autoptr (GantryRecord) record = NULL;

  return gantry_metadata_get (self->metadata, kind, ns, id, &record, NULL, NULL);
}

static void
assert_sound (Fixture *self)
{
  g_auto (GStrv) problems = NULL;
  g_autoptr (GError) error = NULL;

  gantry_metadata_verify (self->metadata, &problems, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (problems[0], ==, NULL);
}

static void
assert_populated (Fixture *self)
{
  g_autoptr (GantryRecord) container = NULL;
  g_autoptr (GantrySnapshotEntry) entry = NULL;
  g_autoptr (GError) error = NULL;

  g_assert_true (
      gantry_metadata_get (self->metadata, GANTRY_KIND_CONTAINER, "default", "web", &container, NULL, NULL));
  g_assert_cmpstr (gantry_labels_lookup (container->labels, "colour"), ==, "green");
  g_assert_cmpstr (gantry_record_get_string (container, "snapshot-key"), ==, "web");
  g_assert_true (has (self, GANTRY_KIND_NAMESPACE, "", "other"));
  g_assert_true (gantry_snapshot_index_get (self->index, "overlay", "default/1/done", &entry, NULL, &error));
  g_assert_cmpuint (entry->usage_bytes, ==, 11);
  assert_collects (self, "sha256:lapsed sha256:past sha256:orphan");
  g_assert_true (has (self, GANTRY_KIND_LEASE, "default", "alive")
                 && !has (self, GANTRY_KIND_LEASE, "default", "over"));
  g_assert_true (has (self, GANTRY_KIND_SNAPSHOT, "default", "overlay/base"));
  assert_sound (self);
  /* The other namespace's layer had nobody, but as long as this one has it, too, there is nothing for the
   * backend to remove. */
  g_assert_false (has (self, GANTRY_KIND_CONTENT, "other", "sha256:layer"));
  populate_delete (self->metadata, GANTRY_KIND_IMAGE, "default", "example.com/one:1");
  assert_collects (self, "sha256:manifest sha256:config sha256:layer");
  g_assert_false (has (self, GANTRY_KIND_CONTENT, "default", "sha256:layer"));
  populate_delete (self->metadata, GANTRY_KIND_CONTAINER, "default", "web");
  assert_collects (self, "overlay/web overlay/chain overlay/base");
  assert_sound (self);
}

static void
test_migration (Fixture *self, gconstpointer data)
{
  g_autofree char *sql = NULL;
  g_autofree char *fixture = g_test_build_filename (G_TEST_DIST, "db", data, NULL);

  g_assert_true (g_file_get_contents (fixture, &sql, NULL, NULL));
  run_sql (self, sql);
  must_open (self);
  g_assert_true (has (self, GANTRY_KIND_CONTENT, "other", "sha256:layer"));
  assert_populated (self);
  gantry_fake_host_unload (self->fake);
  must_open (self);
  assert_sound (self);
}

static void
test_new (Fixture *self, gconstpointer data)
{
  must_open (self);
  populate (self->metadata, self->index);
  assert_populated (self);
}

static void
test_newer (Fixture *self, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  must_open (self);
  gantry_fake_host_unload (self->fake);
  run_sql (self, "PRAGMA user_version=99");
  g_assert_false (open_database (self, &error));
  g_assert_error (error, GANTRY_ERROR, GANTRY_ERROR_FAILED_PRECONDITION);
  g_assert_nonnull (strstr (error->message, self->path));
  g_assert_nonnull (strstr (error->message, "schema version 99"));
}

static void
test_not_a_database (Fixture *self, gconstpointer data)
{
  g_autofree char *bytes = g_strnfill (8192, 'x'), *after = NULL;
  g_autoptr (GError) error = NULL;
  gsize length;

  g_assert_true (g_file_set_contents (self->path, bytes, 8192, NULL));
  g_assert_false (open_database (self, &error));
  g_assert_error (error, GANTRY_ERROR, GANTRY_ERROR_DATA_LOSS);
  g_assert_nonnull (strstr (error->message, self->path));
  g_assert_nonnull (strstr (error->message, "backup"));
  /* It is left as it was, for whoever can repair it. */
  g_assert_true (g_file_get_contents (self->path, &after, &length, NULL));
  g_assert_cmpmem (after, length, bytes, 8192);
}

static void
test_damaged (Fixture *self, gconstpointer data)
{
  g_autofree char *bytes = NULL;
  g_auto (GStrv) problems = NULL;
  g_autoptr (GError) error = NULL;
  gsize length;

  must_open (self);
  populate (self->metadata, self->index);
  gantry_fake_host_unload (self->fake);
  g_assert_true (g_file_get_contents (self->path, &bytes, &length, NULL));
  /* All pages but the first, which has the schema. */
  memset (bytes + 4096, 0xa5, length - 4096);
  g_assert_true (g_file_set_contents (self->path, bytes, (gssize)length, NULL));
  if (!open_database (self, &error))
    {
      g_assert_error (error, GANTRY_ERROR, GANTRY_ERROR_DATA_LOSS);
      return;
    }
  if (gantry_metadata_verify (self->metadata, &problems, NULL, &error))
    g_assert_cmpuint (g_strv_length (problems), >, 0);
  else
    g_assert_error (error, GANTRY_ERROR, GANTRY_ERROR_DATA_LOSS);
}

static void
test_chains (Fixture *self, gconstpointer data)
{
  static const char *const flat[] = { "containerd.io/gc.flat", "2020-01-01T00:00:00Z", NULL };
  static const char *const root[] = { "containerd.io/gc.root", "2020-01-01T00:00:00Z", NULL };
  static const char *const to_b[] = { "containerd.io/gc.ref.content", "sha256:b", NULL };
  static const char *const to_a[] = { "containerd.io/gc.ref.content.1", "sha256:a", NULL };
  static const char *const by_c[] = { "containerd.io/gc.bref.container", "one", NULL };
  GVariantDict none;

  must_open (self);
  /* Two that hold each other are held by nobody. */
  populate_put (self->metadata, GANTRY_KIND_CONTENT, "ns", "sha256:a", to_b, populate_size (1));
  populate_put (self->metadata, GANTRY_KIND_CONTENT, "ns", "sha256:b", to_a, populate_size (1));
  assert_collects (self, "sha256:a sha256:b");
  /* A root label holds both until it goes. */
  populate_put (self->metadata, GANTRY_KIND_CONTENT, "ns", "sha256:root", root, populate_size (1));
  populate_put (self->metadata, GANTRY_KIND_CONTENT, "ns", "sha256:a", to_b, populate_size (1));
  populate_put (self->metadata, GANTRY_KIND_CONTENT, "ns", "sha256:b", NULL, populate_size (1));
  populate_put (self->metadata, GANTRY_KIND_CONTENT, "ns", "sha256:root",
                (const char *const[]){ root[0], root[1], to_a[0], to_a[1], NULL }, populate_size (1));
  assert_collects (self, "");
  populate_put (self->metadata, GANTRY_KIND_CONTENT, "ns", "sha256:root", to_a, populate_size (1));
  assert_collects (self, "sha256:root sha256:a sha256:b");
  /* A back reference holds as long as the container that it names is there, be it made later. */
  g_variant_dict_init (&none, NULL);
  populate_put (self->metadata, GANTRY_KIND_CONTAINER, "ns", "one", NULL, g_variant_dict_end (&none));
  populate_put (self->metadata, GANTRY_KIND_CONTENT, "ns", "sha256:log", by_c, populate_size (1));
  assert_collects (self, "");
  populate_delete (self->metadata, GANTRY_KIND_CONTAINER, "ns", "one");
  assert_collects (self, "sha256:log");
  /* A flat lease holds a blob alone, and a snapshot with those below it. */
  populate_put (self->metadata, GANTRY_KIND_LEASE, "ns", "flat", flat, NULL);
  populate_put (self->metadata, GANTRY_KIND_CONTENT, "ns", "sha256:a", to_b, populate_size (1));
  populate_put (self->metadata, GANTRY_KIND_CONTENT, "ns", "sha256:b", NULL, populate_size (1));
  populate_put (self->metadata, GANTRY_KIND_SNAPSHOT, "ns", "overlay/p", NULL,
                populate_snapshot (GANTRY_SNAPSHOT_COMMITTED, NULL, "p"));
  populate_put (self->metadata, GANTRY_KIND_SNAPSHOT, "ns", "overlay/c", NULL,
                populate_snapshot (GANTRY_SNAPSHOT_ACTIVE, "p", "c"));
  populate_lease (self->metadata, "ns", "flat", GANTRY_KIND_CONTENT, "sha256:a", TRUE);
  populate_lease (self->metadata, "ns", "flat", GANTRY_KIND_SNAPSHOT, "overlay/c", TRUE);
  assert_collects (self, "sha256:b");
  populate_lease (self->metadata, "ns", "flat", GANTRY_KIND_CONTENT, "sha256:a", FALSE);
  assert_collects (self, "sha256:a");
  populate_delete (self->metadata, GANTRY_KIND_LEASE, "ns", "flat");
  assert_collects (self, "overlay/c overlay/p");
  assert_sound (self);
}

/* Children go before their parents, also when a collection is longer than a batch. */
static void
test_long_chain (Fixture *self, gconstpointer data)
{
  g_autoptr (GPtrArray) garbage = NULL;
  g_autoptr (GError) error = NULL;

  must_open (self);
  populate_put (self->metadata, GANTRY_KIND_LEASE, "ns", "l", NULL, NULL);
  populate_lease (self->metadata, "ns", "l", GANTRY_KIND_SNAPSHOT, "overlay/599", TRUE);
  for (int i = 0; i < 600; i++)
    {
      g_autofree char *id = g_strdup_printf ("overlay/%d", i), *parent = g_strdup_printf ("%d", i - 1);

      populate_put (self->metadata, GANTRY_KIND_SNAPSHOT, "ns", id, NULL,
                    populate_snapshot (GANTRY_SNAPSHOT_COMMITTED, i > 0 ? parent : NULL, id));
    }
  assert_collects (self, "");
  populate_delete (self->metadata, GANTRY_KIND_LEASE, "ns", "l");
  gantry_metadata_collect (self->metadata, FALSE, &garbage, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (garbage->len, ==, 600);
  g_clear_pointer (&garbage, g_ptr_array_unref);
  gantry_metadata_pending_garbage (self->metadata, &garbage, NULL, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < garbage->len; i++)
    {
      g_autofree char *id = g_strdup_printf ("overlay/%u", 599 - i);

      g_assert_cmpstr (((GantryGarbage *)g_ptr_array_index (garbage, i))->id, ==, id);
    }
}

/* An image with a blob a record, all live, none of them new. */
static void
fill (Fixture *self, guint n)
{
  g_autofree char *sql = g_strdup_printf (
      "BEGIN; CREATE TEMP TABLE n (i INTEGER PRIMARY KEY);"
      "WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<%u) INSERT INTO n SELECT i FROM "
      "c;"
      "INSERT INTO record (kind, ns, id, created, updated, revision) SELECT 'image', 'ns', 'image' || i, 1, "
      "1, 1 FROM n;"
      "INSERT INTO record (kind, ns, id, created, updated, revision) SELECT 'content', 'ns', 'sha256:' || i, "
      "1, 1, 1 FROM n;"
      "INSERT INTO label (kind, ns, id, key, value) SELECT 'image', 'ns', 'image' || i, 'colour', 'c' || i "
      "FROM n;"
      "INSERT INTO edge (ns, from_kind, from_id, to_kind, to_id, owner_kind, owner_id)"
      " SELECT 'ns', 'image', 'image' || i, 'content', 'sha256:' || i, 'image', 'image' || i FROM n; COMMIT;",
      n);

  run_sql (self, sql);
}

static gboolean
count_one (GantryRecord *record, gpointer user_data)
{
  ++*(guint *)user_data;
  return TRUE;
}

static void
list_by (Fixture *self, const char *filter)
{
  const char *const filters[] = { filter, NULL };
  g_autoptr (GError) error = NULL;
  guint n = 0;

  gantry_metadata_list (self->metadata, GANTRY_KIND_IMAGE, "ns", filters, NULL, 0, count_one, &n, NULL,
                        &error);
  g_assert_no_error (error);
  g_assert_cmpuint (n, ==, 1);
}

static void
collect_one (Fixture *self)
{
  g_autofree char *ids = NULL;

  populate_put (self->metadata, GANTRY_KIND_CONTENT, "ns", "sha256:new", NULL, populate_size (1));
  ids = collect (self, FALSE);
  g_assert_cmpstr (ids, ==, "sha256:new");
}

/* What SQLite's machine does for the statements of all connections of this process: a measure that no load of
 * the machine changes. */
static gint steps; /* (atomic) */

static int
count_steps (unsigned event, void *data, void *stmt, void *time)
{
  g_atomic_int_add (&steps, sqlite3_stmt_status (stmt, SQLITE_STMTSTATUS_VM_STEP, 1));
  return 0;
}

static int
watch_connection (sqlite3 *database, char **message, const struct sqlite3_api_routines *api)
{
  return sqlite3_trace_v2 (database, SQLITE_TRACE_PROFILE, count_steps, NULL);
}

/* Steps, the least of some: what the daemon does now and then of its own only adds to it. */
static guint
measure (Fixture *self, int what)
{
  guint least = G_MAXUINT;

  for (int i = 0; i < 10; i++)
    {
      g_atomic_int_set (&steps, 0);
      if (what == 0)
        collect_one (self);
      else if (what == 1)
        list_by (self, "id==image7");
      else
        list_by (self, "labels.colour==c7");
      least = MIN (least, (guint)g_atomic_int_get (&steps));
    }
  return least;
}

static void
test_flat (Fixture *self, gconstpointer data)
{
  static const char *const names[] = { "collect one of", "list by id of", "list by label of" };
  static const char *const colour[] = { "colour", "c7", NULL };
  static const guint sizes[] = { 10, 1000, 100000 };
  guint first[3] = { 0 };
  guint have = 0;

  sqlite3_auto_extension ((void (*) (void))watch_connection);
  for (gsize i = 0; i < G_N_ELEMENTS (sizes); i++)
    {
      must_open (self);
      if (have > 0)
        run_sql (self, "DELETE FROM record WHERE ns='ns'; DELETE FROM label WHERE ns='ns'; DELETE FROM edge "
                       "WHERE ns='ns'");
      fill (self, sizes[i]);
      populate_put (self->metadata, GANTRY_KIND_IMAGE, "ns", "image7", colour, populate_target ("sha256:7"));
      have = sizes[i];
      for (int what = 0; what < 3; what++)
        {
          guint done = measure (self, what);

          g_test_message ("%s %u: %u steps", names[what], sizes[i], done);
          g_assert_cmpuint (done, >, 0);
          if (i == 0)
            first[what] = done;
          else if (done > 4 * first[what])
            g_error ("%s %u records takes %u steps, of 10 records %u", names[what], sizes[i], done,
                     first[what]);
        }
      gantry_fake_host_unload (self->fake);
    }
  sqlite3_cancel_auto_extension ((void (*) (void))watch_connection);
}

static guint
steps_of_list (Fixture *self, const char *kind, const char *ns, const char *const *filters, guint wanted)
{
  g_autoptr (GError) error = NULL;
  guint n = 0;

  g_atomic_int_set (&steps, 0);
  gantry_metadata_list (self->metadata, kind, ns, filters, NULL, 0, count_one, &n, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (n, ==, wanted);
  return (guint)g_atomic_int_get (&steps);
}

static void
fill_kind (Fixture *self, const char *kind, guint n)
{
  g_autofree char *sql = g_strdup_printf ("BEGIN; CREATE TEMP TABLE n (i INTEGER PRIMARY KEY);"
                                          "WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c "
                                          "WHERE i<%u) INSERT INTO n SELECT i FROM c;"
                                          "INSERT OR IGNORE INTO record (kind, ns, id, created, updated, "
                                          "revision) VALUES ('namespace', '', 'ns', 1, 1, 1);"
                                          "INSERT OR IGNORE INTO record (kind, ns, id, created, updated, "
                                          "revision) SELECT '%s', 'ns', 'id' || i, 1, 1, 1 FROM n;"
                                          "INSERT OR IGNORE INTO label (kind, ns, id, key, value) SELECT "
                                          "'%s', 'ns', 'id' || i, 'colour', 'c' || i FROM n; COMMIT;",
                                          n, kind, kind);

  run_sql (self, sql);
}

#define MAX_STEPS 400

/* Equality of ids, names and labels is answered by an index, whatever stands beside it: what it costs does
 * not depend on how many records there are. What no index answers looks at each record once. */
static void
test_filters (Fixture *self, gconstpointer data)
{
  static const char *const kinds[] = { GANTRY_KIND_CONTAINER, GANTRY_KIND_IMAGE,    GANTRY_KIND_CONTENT,
                                       GANTRY_KIND_LEASE,     GANTRY_KIND_SNAPSHOT, GANTRY_KIND_SANDBOX };
  static const struct
  {
    const char *filters[3];
    guint wanted;
    gboolean indexed;
  } cases[] = {
    { { "id==id7" }, 1, TRUE },
    { { "name==id7" }, 1, TRUE },
    { { "labels.colour==c7" }, 1, TRUE },
    { { "labels.\"a.b/c\"==d" }, 1, TRUE },
    { { "labels.colour~=^c,id==id7" }, 1, TRUE },
    { { "id==id7,labels.colour==c8" }, 0, TRUE },
    { { "id==none" }, 0, TRUE },
    { { "id==id7", "labels.colour==c8" }, 2, TRUE },
    { { "id~=^id7$" }, 1, FALSE },
    { { "id==id7", "id~=^id8$" }, 2, FALSE },
    { { "labels.colour" }, 2, FALSE }, /* of those that were written through the interface */
  };
  static const char *const labels[] = { "a.b/c", "d", "colour", "c7", NULL }, *const other[]
                                                                              = { "colour", "c8", NULL };
  const guint many = 10000;

  sqlite3_auto_extension ((void (*) (void))watch_connection);
  must_open (self);
  for (gsize i = 0; i < G_N_ELEMENTS (kinds); i++)
    {
      fill_kind (self, kinds[i], many);
      populate_put (self->metadata, kinds[i], "ns", "id7", labels, NULL);
      populate_put (self->metadata, kinds[i], "ns", "id8", other, NULL);
    }
  for (gsize i = 0; i < G_N_ELEMENTS (kinds); i++)
    for (gsize j = 0; j < G_N_ELEMENTS (cases); j++)
      for (int all = 0; all < 2; all++)
        {
          guint done = steps_of_list (self, kinds[i], all ? NULL : "ns",
                                      (const char *const *)cases[j].filters, cases[j].wanted);

          if (cases[j].indexed && done > MAX_STEPS)
            g_error ("%s of %u %s: %u steps", cases[j].filters[0], many, kinds[i], done);
          if (!cases[j].indexed)
            g_assert_cmpuint (done, >, many);
        }
  sqlite3_cancel_auto_extension ((void (*) (void))watch_connection);
}

#define WRITERS 16
#define WRITES  4

typedef struct
{
  Fixture *fixture;
  int number;
} Writer;

static gpointer
write_some (gpointer data)
{
  Writer *writer = data;

  for (int i = 0; i < WRITES; i++)
    {
      g_autofree char *id = g_strdup_printf ("sha256:%d.%d", writer->number, i);

      populate_put (writer->fixture->metadata, GANTRY_KIND_CONTENT, "ns", id, NULL, populate_size (1));
    }
  return NULL;
}

/* The transactions in the log: frames that end one have the database's size in them (sqlite.org, fileformat2,
 * "WAL Frame Header"). */
static guint
count_commits (Fixture *self)
{
  g_autofree char *path = g_strconcat (self->path, "-wal", NULL), *bytes = NULL;
  gsize length, frame = 24 + 4096;
  guint n = 0;

  g_assert_true (g_file_get_contents (path, &bytes, &length, NULL));
  for (gsize at = 32; at + frame <= length && memcmp (bytes + 16, bytes + at + 8, 8) == 0; at += frame)
    n += bytes[at + 4] != 0 || bytes[at + 5] != 0 || bytes[at + 6] != 0 || bytes[at + 7] != 0;
  return n;
}

static void
test_group_commit (Fixture *self, gconstpointer data)
{
  Writer writers[WRITERS];
  GThread *threads[WRITERS];
  guint before, alone, together;
  gint64 begun, alone_us, together_us;

  must_open (self);
  before = count_commits (self);
  begun = g_get_monotonic_time ();
  for (int i = 0; i < WRITERS; i++)
    {
      writers[i] = (Writer){ self, 100 + i };
      write_some (&writers[i]);
    }
  alone_us = g_get_monotonic_time () - begun;
  alone = count_commits (self) - before;
  g_assert_cmpuint (alone, ==, WRITERS * WRITES);
  begun = g_get_monotonic_time ();
  for (int i = 0; i < WRITERS; i++)
    {
      writers[i].number = i;
      threads[i] = g_thread_new ("writer", write_some, &writers[i]);
    }
  for (int i = 0; i < WRITERS; i++)
    g_thread_join (threads[i]);
  together_us = g_get_monotonic_time () - begun;
  together = count_commits (self) - before - alone;
  g_test_message ("%d durable writes: %u syncs and %" G_GINT64_FORMAT
                  " us one after the other, %u syncs and %" G_GINT64_FORMAT " us by %d threads",
                  WRITERS * WRITES, alone, alone_us, together, together_us, WRITERS);
  g_assert_cmpuint (together, <, alone * 3 / 4);
}

/* Reads while others write, and what is written is there for the next read of whoever wrote it. */
static gpointer
write_and_read (gpointer data)
{
  Writer *writer = data;

  for (int i = 0; i < 40; i++)
    {
      g_autofree char *id = g_strdup_printf ("sha256:%d.%d", writer->number, i);

      g_assert_false (has (writer->fixture, GANTRY_KIND_CONTENT, "ns", id));
      populate_put (writer->fixture->metadata, GANTRY_KIND_CONTENT, "ns", id, NULL, populate_size (1));
      g_assert_true (has (writer->fixture, GANTRY_KIND_CONTENT, "ns", id));
      populate_delete (writer->fixture->metadata, GANTRY_KIND_CONTENT, "ns", id);
      g_assert_false (has (writer->fixture, GANTRY_KIND_CONTENT, "ns", id));
    }
  return NULL;
}

static void
test_read_after_write (Fixture *self, gconstpointer data)
{
  Writer writers[WRITERS];
  GThread *threads[WRITERS];

  must_open (self);
  for (int i = 0; i < WRITERS; i++)
    {
      writers[i] = (Writer){ self, i };
      threads[i] = g_thread_new ("writer", write_and_read, &writers[i]);
    }
  for (int i = 0; i < WRITERS; i++)
    g_thread_join (threads[i]);
}

/* The log has room ahead of what is written, and who finds it as a power cut leaves it reads all of it. */
static void
test_log_room (Fixture *self, gconstpointer data)
{
  g_autofree char *log = g_strconcat (self->path, "-wal", NULL), *bytes = NULL, *log_bytes = NULL;
  g_autoptr (GError) error = NULL;
  gsize size, log_size;

  must_open (self);
  for (int i = 0; i < 100; i++)
    {
      g_autofree char *id = g_strdup_printf ("made-%d", i);

      populate_put (self->metadata, GANTRY_KIND_CONTENT, "ns", id, NULL, populate_size (1));
    }
  g_file_get_contents (self->path, &bytes, &size, &error);
  g_assert_no_error (error);
  g_file_get_contents (log, &log_bytes, &log_size, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (log_size, >=, 1024 * 1024);
  g_assert_cmpint (log_bytes[log_size - 1], ==, 0);

  gantry_fake_host_free (self->fake);
  g_file_set_contents (self->path, bytes, (gssize)size, &error);
  g_assert_no_error (error);
  g_file_set_contents (log, log_bytes, (gssize)log_size, &error);
  g_assert_no_error (error);
  self->fake = gantry_fake_host_new (self->dir, NULL);
  gantry_fake_host_set_id (self->fake, "sqlite");
  must_open (self);
  for (int i = 0; i < 100; i++)
    {
      g_autofree char *id = g_strdup_printf ("made-%d", i);

      g_assert_true (has (self, GANTRY_KIND_CONTENT, "ns", id));
    }
  assert_sound (self);
}

/* Write calls of this process so far (proc_pid_io(5)). */
static guint64
count_write_calls (void)
{
  g_autofree char *text = NULL;
  const char *at;

  g_assert_true (g_file_get_contents ("/proc/self/io", &text, NULL, NULL));
  at = strstr (text, "syscw: ");
  g_assert_nonnull (at);
  return g_ascii_strtoull (at + strlen ("syscw: "), NULL, 10);
}

/* A transaction goes to the log in one piece, not by two writes a page, and who reads it afterwards finds it
 * whole, synced or not. */
static void
test_log_writes (Fixture *self, gconstpointer data)
{
  const guint n = 100;
  guint64 before;

  if (!g_file_test ("/proc/self/io", G_FILE_TEST_EXISTS))
    {
      g_test_skip ("this kernel does not count write calls");
      return;
    }
  must_open (self);
  populate_put (self->metadata, GANTRY_KIND_CONTENT, "ns", "first", NULL, populate_size (1));
  before = count_write_calls ();
  for (guint i = 0; i < n; i++)
    {
      g_autofree char *id = g_strdup_printf ("made-%u", i);
      g_autoptr (GantryRecord) record
          = gantry_record_new (GANTRY_KIND_CONTENT, "ns", id, NULL, populate_size (1));
      g_autoptr (GantryChange) change = gantry_change_new (GANTRY_CHANGE_CREATE, record);
      g_autoptr (GError) error = NULL;

      change->relaxed = i % 2 == 0;
      gantry_metadata_apply_one (self->metadata, change, NULL, NULL, &error);
      g_assert_no_error (error);
      g_assert_true (has (self, GANTRY_KIND_CONTENT, "ns", id));
    }
  /* Beside one a transaction there are those that make room in the log. */
  g_assert_cmpuint (count_write_calls () - before, <, 2 * n);
}

/* Events that nobody waits for, between writes that somebody waits for. */
static gpointer
write_and_append (gpointer data)
{
  Writer *writer = data;
  GantryEventLog *log = gantry_fake_host_get (writer->fixture->fake, GANTRY_EVENT_LOG_TYPE);

  for (int i = 0; i < 10; i++)
    {
      g_autofree char *id = g_strdup_printf ("sha256:%d.%d", writer->number, i);
      GVariantDict payload;
      g_autoptr (GantryEvent) event = NULL;
      g_autoptr (GError) error = NULL;

      g_variant_dict_init (&payload, NULL);
      event = gantry_event_new (0, 1, "ns", "/test/appended", g_variant_dict_end (&payload));
      gantry_event_log_append (log, event, NULL, &error);
      g_assert_no_error (error);
      if (i % 2 == 0)
        populate_put (writer->fixture->metadata, GANTRY_KIND_CONTENT, "ns", id, NULL, populate_size (1));
    }
  return NULL;
}

static void
test_hand_over (Fixture *self, gconstpointer data)
{
  Writer writers[WRITERS];
  GThread *threads[WRITERS];
  guint appended = 0;
  guint64 cursor = 0;

  must_open (self);
  for (int i = 0; i < WRITERS; i++)
    {
      writers[i] = (Writer){ self, i };
      threads[i] = g_thread_new ("writer", write_and_append, &writers[i]);
    }
  for (int i = 0; i < WRITERS; i++)
    g_thread_join (threads[i]);
  /* What is queued when the database is closed is still written. */
  gantry_fake_host_unload (self->fake);
  must_open (self);
  for (;;)
    {
      g_autoptr (GPtrArray) events = NULL;
      guint64 trimmed = 0;
      g_autoptr (GError) error = NULL;

      gantry_event_log_read (gantry_fake_host_get (self->fake, GANTRY_EVENT_LOG_TYPE), cursor, 64, &events,
                             &trimmed, NULL, &error);
      g_assert_no_error (error);
      g_assert_cmpuint (trimmed, ==, 0);
      if (events->len == 0)
        break;
      for (guint i = 0; i < events->len; i++)
        {
          GantryEvent *event = g_ptr_array_index (events, i);

          g_assert_cmpuint (event->seq, ==, ++cursor);
          appended += strcmp (event->topic, "/test/appended") == 0;
        }
    }
  g_assert_cmpuint (appended, ==, WRITERS * 10);
  for (int i = 0; i < WRITERS * 10; i += 2)
    {
      g_autofree char *id = g_strdup_printf ("sha256:%d.%d", i / 10, i % 10);

      g_assert_true (has (self, GANTRY_KIND_CONTENT, "ns", id));
    }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add ("/metadata-sqlite/migration/1", Fixture, "v1.sql", set_up, test_migration, tear_down);
  g_test_add ("/metadata-sqlite/migration/2", Fixture, "v2.sql", set_up, test_migration, tear_down);
  g_test_add ("/metadata-sqlite/new", Fixture, NULL, set_up, test_new, tear_down);
  g_test_add ("/metadata-sqlite/newer", Fixture, NULL, set_up, test_newer, tear_down);
  g_test_add ("/metadata-sqlite/not-a-database", Fixture, NULL, set_up, test_not_a_database, tear_down);
  g_test_add ("/metadata-sqlite/damaged", Fixture, NULL, set_up, test_damaged, tear_down);
  g_test_add ("/metadata-sqlite/chains", Fixture, NULL, set_up, test_chains, tear_down);
  g_test_add ("/metadata-sqlite/long-chain", Fixture, NULL, set_up, test_long_chain, tear_down);
  g_test_add ("/metadata-sqlite/flat", Fixture, NULL, set_up, test_flat, tear_down);
  g_test_add ("/metadata-sqlite/filters", Fixture, NULL, set_up, test_filters, tear_down);
  g_test_add ("/metadata-sqlite/read-after-write", Fixture, NULL, set_up, test_read_after_write, tear_down);
  g_test_add ("/metadata-sqlite/log-room", Fixture, NULL, set_up, test_log_room, tear_down);
  g_test_add ("/metadata-sqlite/log-writes", Fixture, NULL, set_up, test_log_writes, tear_down);
  g_test_add ("/metadata-sqlite/hand-over", Fixture, NULL, set_up, test_hand_over, tear_down);
  g_test_add ("/metadata-sqlite/group-commit", Fixture, NULL, set_up, test_group_commit, tear_down);
  return g_test_run ();
}
