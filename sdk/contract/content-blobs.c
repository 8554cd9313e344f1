/* SPDX-License-Identifier: MIT
 *
 * The contract of org.gantry.content.v1: what blobs that are there can be asked, and what both files use. */
#include "content-cases.h"

#include <string.h>
#include <unistd.h>

GantryIngest *
content_open_ref (GantryContractFixture *fixture, const char *ref)
{
  GantryIngest *ingest = NULL;

  CONTRACT_OK (gantry_content_open_ingest (content_of (fixture), ref, 0, NULL, &ingest, NULL, &error));
  g_assert_nonnull (ingest);
  return ingest;
}

void
content_write_text (GantryIngest *ingest, const char *text)
{
  CONTRACT_OK (gantry_ingest_write (ingest, text, strlen (text), NULL, &error));
}

char *
content_put (GantryContractFixture *fixture, const char *ref, const char *text)
{
  g_autoptr (GantryIngest) ingest = content_open_ref (fixture, ref);
  g_autofree char *expected = gantry_contract_digest (text, strlen (text));
  char *digest = NULL;

  content_write_text (ingest, text);
  CONTRACT_OK (gantry_ingest_commit (ingest, strlen (text), expected, NULL, &digest, NULL, &error));
  g_assert_cmpstr (digest, ==, expected);
  return digest;
}

void
content_assert_blob (GantryContractFixture *fixture, const char *digest, const char *text)
{
  gsize length = strlen (text);
  g_autofree char *seen = g_malloc0 (length + 2);
  guint64 size = 0;
  int fd = -1;

  CONTRACT_OK (gantry_content_open_blob (content_of (fixture), digest, &fd, &size, NULL, &error));
  g_assert_cmpuint (size, ==, length);
  g_assert_cmpint (pread (fd, seen, length + 1, 0), ==, (gssize)length);
  g_assert_cmpmem (seen, length, text, length);
  close (fd);
}

typedef struct
{
  GantryContent *content;
  guint n;
  guint stop_after;
} Walk;

/* Calls back into the store, which must hold no lock. */
static gboolean
on_info (GantryContentInfo *info, gpointer user_data)
{
  Walk *walk = user_data;
  g_autoptr (GantryContentInfo) same = NULL;

  CONTRACT_OK (gantry_content_info (walk->content, info->digest, &same, NULL, &error));
  g_assert_cmpuint (same->blob_size, ==, info->blob_size);
  walk->n++;
  return walk->n != walk->stop_after;
}

guint
content_count (GantryContractFixture *fixture, const char *filter, guint stop_after)
{
  const char *const filters[] = { filter, NULL };
  Walk walk = { content_of (fixture), 0, stop_after };

  CONTRACT_OK (gantry_content_walk (walk.content, filters, on_info, &walk, NULL, &error));
  return walk.n;
}

void
content_test_walk (GantryContractFixture *fixture)
{
  static const char *const bad[] = { "digest=x", NULL };
  g_autofree char *one G_GNUC_UNUSED = content_put (fixture, "one", "1");
  g_autofree char *two = content_put (fixture, "two", "22");
  g_autofree char *three G_GNUC_UNUSED = content_put (fixture, "three", "333");
  g_autofree char *by_digest = g_strconcat ("digest==", two, NULL);
  g_autofree char *by_other = g_strconcat ("digest!=", two, NULL);
  Walk walk = { content_of (fixture), 0, 0 };

  /* An ingest is no blob. */
  gantry_ingest_unref (content_open_ref (fixture, "four"));
  g_assert_cmpuint (content_count (fixture, NULL, 0), ==, 3);
  g_assert_cmpuint (content_count (fixture, NULL, 2), ==, 2);
  g_assert_cmpuint (content_count (fixture, by_digest, 0), ==, 1);
  g_assert_cmpuint (content_count (fixture, by_other, 0), ==, 2);
  g_assert_cmpuint (content_count (fixture, "size==3", 0), ==, 1);
  g_assert_cmpuint (content_count (fixture, "digest~=^sha256:", 0), ==, 3);
  g_assert_cmpuint (content_count (fixture, "labels.absent", 0), ==, 0);
  CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                  gantry_content_walk (walk.content, bad, on_info, &walk, NULL, &error));
  g_assert_cmpuint (walk.n, ==, 0);
}

void
content_test_remove (GantryContractFixture *fixture)
{
  GantryContent *content = content_of (fixture);
  g_autofree char *digest = content_put (fixture, "remove", "going");
  g_autofree char *again = NULL;
  GantryContentInfo *info = NULL;
  char seen[5];
  int fd = -1;

  CONTRACT_OK (gantry_content_open_blob (content, digest, &fd, NULL, NULL, &error));
  CONTRACT_OK (gantry_content_remove (content, digest, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND, gantry_content_info (content, digest, &info, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND, gantry_content_remove (content, digest, NULL, &error));
  g_assert_cmpuint (content_count (fixture, NULL, 0), ==, 0);
  /* Whoever has it open reads on. */
  g_assert_cmpint (pread (fd, seen, 5, 0), ==, 5);
  g_assert_cmpmem (seen, 5, "going", 5);
  close (fd);
  again = content_put (fixture, "remove", "going");
  content_assert_blob (fixture, again, "going");
}

/* A backend keeps labels or says that it does not; it never drops them in silence. */
void
content_test_labels (GantryContractFixture *fixture)
{
  static const char *const mask[] = { "labels.b", "labels.c", NULL };
  GantryContent *content = content_of (fixture);
  g_autoptr (GVariant) first = gantry_contract_parse ("{'a': '1', 'b': '2'}");
  g_autoptr (GVariant) second = gantry_contract_parse ("{'a': '9', 'b': '8', 'c': '3'}");
  g_autoptr (GVariant) merged = gantry_contract_parse ("{'a': '1', 'b': '8', 'c': '3'}");
  g_autoptr (GantryIngest) ingest = content_open_ref (fixture, "labels");
  g_autoptr (GantryContentInfo) info = NULL;
  g_autoptr (GantryContentInfo) updated = NULL;
  g_autofree char *digest = NULL;
  g_autoptr (GError) local = NULL;

  content_write_text (ingest, "labelled");
  if (!gantry_ingest_commit (ingest, 8, NULL, first, &digest, NULL, &local))
    {
      g_assert_true (gantry_error_is (local, GANTRY_ERROR_NOT_IMPLEMENTED));
      CONTRACT_OK (gantry_ingest_commit (ingest, 8, NULL, NULL, &digest, NULL, &error));
      CONTRACT_FAILS (GANTRY_ERROR_NOT_IMPLEMENTED,
                      gantry_content_update (content, digest, first, NULL, NULL, NULL, &error));
      return;
    }
  CONTRACT_OK (gantry_content_info (content, digest, &info, NULL, &error));
  g_assert_true (gantry_contract_same_labels (info->labels, first));
  g_assert_cmpuint (content_count (fixture, "labels.a==1", 0), ==, 1);
  g_assert_cmpuint (content_count (fixture, "labels.a==2", 0), ==, 0);
  CONTRACT_OK (gantry_content_update (content, digest, second, mask, &updated, NULL, &error));
  g_assert_true (gantry_contract_same_labels (updated->labels, merged));
  g_clear_pointer (&info, gantry_content_info_unref);
  CONTRACT_OK (gantry_content_update (content, digest, second, NULL, NULL, NULL, &error));
  CONTRACT_OK (gantry_content_info (content, digest, &info, NULL, &error));
  g_assert_true (gantry_contract_same_labels (info->labels, second));
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND,
                  gantry_content_update (content, ABSENT, first, NULL, NULL, NULL, &error));
}
