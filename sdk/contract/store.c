/* SPDX-License-Identifier: MIT
 *
 * The contract of org.gantry.store.v1. The views' own contracts are those of content and snapshotters: main.c
 * runs these suites on views, too. */
#include <gantry/store.h>

#include <string.h>
#include <unistd.h>

#include "suites.h"

static GantryStore *
store_of (GantryContractFixture *fixture)
{
  return fixture->instance;
}

static GantryContent *
open_content (GantryContractFixture *fixture, const char *ns, const char *lease)
{
  GantryContent *content = NULL;

  CONTRACT_OK (gantry_store_open_content (store_of (fixture), ns, lease, NULL, &content, NULL, &error));
  g_assert_nonnull (content);
  return content;
}

static GantrySnapshotter *
open_snapshotter (GantryContractFixture *fixture, const char *ns)
{
  GantrySnapshotter *snapshotter = NULL;

  CONTRACT_OK (
      gantry_store_open_snapshotter (store_of (fixture), ns, NULL, NULL, &snapshotter, NULL, NULL, &error));
  g_assert_nonnull (snapshotter);
  return snapshotter;
}

/* Returns: (transfer full): the digest. */
static char *
put (GantryContent *content, const char *text)
{
  g_autoptr (GantryIngest) ingest = NULL;
  char *digest = NULL;

  CONTRACT_OK (gantry_content_open_ingest (content, text, 0, NULL, &ingest, NULL, &error));
  CONTRACT_OK (gantry_ingest_write (ingest, text, strlen (text), NULL, &error));
  CONTRACT_OK (gantry_ingest_commit (ingest, 0, NULL, NULL, &digest, NULL, &error));
  return digest;
}

static gboolean
has (GantryContent *content, const char *digest)
{
  g_autoptr (GantryContentInfo) info = NULL;
  g_autoptr (GError) local = NULL;
  int fd = -1;

  if (!gantry_content_info (content, digest, &info, NULL, &local))
    {
      g_assert_true (gantry_error_is (local, GANTRY_ERROR_NOT_FOUND));
      return FALSE;
    }
  CONTRACT_OK (gantry_content_open_blob (content, digest, &fd, NULL, NULL, &error));
  close (fd);
  return TRUE;
}

static void
make_lease (GantryContractFixture *fixture, const char *ns, const char *id)
{
  GantryMetadata *metadata = fixture->get (fixture, GANTRY_METADATA_TYPE);
  g_autoptr (GantryRecord) record = gantry_record_new (GANTRY_KIND_LEASE, ns, id, NULL, NULL);
  g_autoptr (GantryChange) change = gantry_change_new (GANTRY_CHANGE_CREATE, record);

  CONTRACT_OK (gantry_metadata_apply_one (metadata, change, NULL, NULL, &error));
}

static void
test_open (GantryContractFixture *fixture)
{
  GantryContent *content = GANTRY_CONTRACT_UNTOUCHED;
  GantrySnapshotter *snapshotter = GANTRY_CONTRACT_UNTOUCHED;
  g_autoptr (GantrySnapshotter) first = NULL;
  g_autoptr (GantrySnapshotter) named = NULL;
  g_autofree char *id = NULL;
  g_autofree char *same = NULL;

  CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                  gantry_store_open_content (store_of (fixture), "not a name", NULL, NULL, &content, NULL,
                                             &error));
  CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                  gantry_store_open_content (store_of (fixture), "", NULL, NULL, &content, NULL, &error));
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_UNAVAILABLE, "absent",
                         gantry_store_open_content (store_of (fixture), "default", NULL, "absent", &content,
                                                    NULL, &error));
  g_assert_true (content == GANTRY_CONTRACT_UNTOUCHED);
  CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                  gantry_store_open_snapshotter (store_of (fixture), "../x", NULL, NULL, &snapshotter, NULL,
                                                 NULL, &error));
  CONTRACT_OK (
      gantry_store_open_snapshotter (store_of (fixture), "default", NULL, NULL, &first, &id, NULL, &error));
  g_assert_nonnull (id);
  /* An error names those there are. */
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_NOT_FOUND, id,
                         gantry_store_open_snapshotter (store_of (fixture), "default", NULL, "absent",
                                                        &snapshotter, NULL, NULL, &error));
  g_assert_true (snapshotter == GANTRY_CONTRACT_UNTOUCHED);
  CONTRACT_OK (
      gantry_store_open_snapshotter (store_of (fixture), "default", NULL, id, &named, &same, NULL, &error));
  g_assert_cmpstr (same, ==, id);
}

/* What one namespace has, another does not see, and does not lose. */
static void
test_content (GantryContractFixture *fixture)
{
  g_autoptr (GantryContent) one = open_content (fixture, "one", NULL);
  g_autoptr (GantryContent) two = open_content (fixture, "two", NULL);
  g_autoptr (GantryContent) same = open_content (fixture, "one", NULL);
  g_autofree char *digest = put (one, "blob");
  g_autofree char *again = NULL;

  g_assert_true (has (one, digest));
  g_assert_true (has (same, digest));
  g_assert_false (has (two, digest));
  again = put (two, "blob");
  g_assert_cmpstr (again, ==, digest);
  CONTRACT_OK (gantry_content_remove (one, digest, NULL, &error));
  g_assert_false (has (one, digest));
  g_assert_true (has (two, digest));
}

static void
test_snapshots (GantryContractFixture *fixture)
{
  g_autoptr (GantrySnapshotter) one = open_snapshotter (fixture, "one");
  g_autoptr (GantrySnapshotter) two = open_snapshotter (fixture, "two");
  g_autoptr (GantrySnapshotInfo) info = NULL;

  CONTRACT_OK (gantry_snapshotter_prepare (one, "key", NULL, NULL, NULL, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND, gantry_snapshotter_stat (two, "key", &info, NULL, &error));
  CONTRACT_OK (gantry_snapshotter_prepare (two, "key", NULL, NULL, NULL, NULL, &error));
  CONTRACT_OK (gantry_snapshotter_commit (one, "name", "key", NULL, NULL, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND,
                  gantry_snapshotter_prepare (two, "child", "name", NULL, NULL, NULL, &error));
  CONTRACT_OK (gantry_snapshotter_stat (two, "key", &info, NULL, &error));
  g_assert_cmpint (info->kind, ==, GANTRY_SNAPSHOT_ACTIVE);
}

static gboolean
collects (GantryContractFixture *fixture)
{
  if (fixture->restart == NULL)
    g_test_skip ("it lives in memory and collects nothing");
  return fixture->restart != NULL;
}

/* A lease holds what was committed through it, and nothing else stays without a reason. */
static void
test_leases (GantryContractFixture *fixture)
{
  g_autoptr (GantryContent) content = NULL;
  g_autoptr (GantryContent) leased = NULL;
  g_autofree char *kept = NULL;
  g_autofree char *lost = NULL;
  g_autoptr (GPtrArray) would = NULL;
  g_autoptr (GPtrArray) went = NULL;
  GantryContentInfo *none = NULL;

  if (!collects (fixture))
    return;
  make_lease (fixture, "default", "l");
  content = open_content (fixture, "default", NULL);
  leased = open_content (fixture, "default", "l");
  kept = put (leased, "kept");
  lost = put (content, "lost");
  CONTRACT_OK (gantry_store_collect (store_of (fixture), TRUE, &would, NULL, &error));
  CONTRACT_OK (gantry_store_collect (store_of (fixture), FALSE, &went, NULL, &error));
  g_assert_cmpuint (would->len, <=, 1);
  g_assert_true (has (content, kept));
  g_assert_false (has (content, lost));
  /* The backend has let it go as well. */
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND, gantry_content_info (fixture->get (fixture, GANTRY_CONTENT_TYPE),
                                                               lost, &none, NULL, &error));
}

static void
test_check (GantryContractFixture *fixture)
{
  g_autoptr (GantryContent) content = NULL;
  g_autofree char *digest = NULL;
  g_auto (GStrv) sound = NULL;
  g_auto (GStrv) problems = NULL;

  if (!collects (fixture))
    return;
  make_lease (fixture, "default", "l");
  content = open_content (fixture, "default", "l");
  digest = put (content, "blob");
  CONTRACT_OK (gantry_store_check (store_of (fixture), FALSE, &sound, NULL, &error));
  for (gsize i = 0; sound[i] != NULL; i++)
    g_error ("a sound store has the problem \"%s\"", sound[i]);
  /* Behind its back, the blob disappears. */
  CONTRACT_OK (gantry_content_remove (fixture->get (fixture, GANTRY_CONTENT_TYPE), digest, NULL, &error));
  CONTRACT_OK (gantry_store_check (store_of (fixture), FALSE, &problems, NULL, &error));
  g_assert_cmpuint (g_strv_length (problems), >, 0);
  g_assert_nonnull (strstr (problems[0], digest));
}

static void
test_references (GantryContractFixture *fixture)
{
  GantryContent *content = open_content (fixture, "default", NULL);
  GantrySnapshotter *snapshotter = open_snapshotter (fixture, "default");
  g_autofree char *digest = NULL;

  g_assert_true (gantry_content_ref (content) == content);
  g_assert_true (gantry_snapshotter_ref (snapshotter) == snapshotter);
  gantry_content_unref (content);
  gantry_snapshotter_unref (snapshotter);
  digest = put (content, "blob");
  CONTRACT_OK (gantry_snapshotter_prepare (snapshotter, "key", NULL, NULL, NULL, NULL, &error));
  gantry_content_unref (content);
  gantry_snapshotter_unref (snapshotter);
}

static void
work (guint i, gpointer data)
{
  GantryContractFixture *fixture = data;
  g_autofree char *ns = g_strdup_printf ("ns%u", i % 2);
  g_autofree char *text = g_strdup_printf ("text %u", i);
  g_autoptr (GantryContent) content = open_content (fixture, ns, "l");
  g_autoptr (GantrySnapshotter) snapshotter = open_snapshotter (fixture, ns);
  g_autofree char *digest = put (content, text);

  CONTRACT_OK (gantry_store_collect (store_of (fixture), FALSE, NULL, NULL, &error));
  g_assert_true (has (content, digest));
  CONTRACT_OK (gantry_snapshotter_prepare (snapshotter, text, NULL, NULL, NULL, NULL, &error));
}

static void
test_threads (GantryContractFixture *fixture)
{
  make_lease (fixture, "ns0", "l");
  make_lease (fixture, "ns1", "l");
  gantry_contract_race (6, work, fixture);
}

static const GantryContractCase cases[] = {
  { "open", test_open },           { "content", test_content },
  { "snapshots", test_snapshots }, { "leases", test_leases },
  { "check", test_check },         { "references", test_references },
  { "threads", test_threads },     { NULL, NULL },
};

const GantryContractSuite gantry_contract_store = { GANTRY_STORE_TYPE, cases };
