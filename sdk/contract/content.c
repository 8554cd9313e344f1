/* SPDX-License-Identifier: MIT
 *
 * The contract of org.gantry.content.v1. */
#include <gantry/content.h>

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "content-cases.h"

#define N_THREADS 8

static guint64
offset_of (GantryContractFixture *fixture, const char *ref)
{
  g_autoptr (GantryIngestStatus) status = NULL;

  CONTRACT_OK (gantry_content_ingest_status (content_of (fixture), ref, &status, NULL, &error));
  g_assert_cmpstr (status->ref, ==, ref);
  return status->offset;
}

static void
assert_no_ingest (GantryContractFixture *fixture, const char *ref)
{
  GantryIngestStatus *status = GANTRY_CONTRACT_UNTOUCHED;

  CONTRACT_FAILS_NAMING (GANTRY_ERROR_NOT_FOUND, ref,
                         gantry_content_ingest_status (content_of (fixture), ref, &status, NULL, &error));
  g_assert_true (status == GANTRY_CONTRACT_UNTOUCHED);
}

static void
test_write (GantryContractFixture *fixture)
{
  g_autoptr (GantryIngest) ingest = content_open_ref (fixture, "write");
  g_autoptr (GantryIngestStatus) empty = NULL;
  g_autoptr (GantryIngestStatus) status = NULL;
  g_autoptr (GantryContentInfo) info = NULL;
  g_autofree char *expected = gantry_contract_digest ("hello, world", 12);
  g_autofree char *so_far = NULL;
  g_autofree char *digest = NULL;
  gint64 before = gantry_now_ns () - 2 * (gint64)1000000000;

  CONTRACT_OK (gantry_ingest_get_status (ingest, &empty, NULL, &error));
  g_assert_cmpuint (empty->offset, ==, 0);
  content_write_text (ingest, "hello, ");
  CONTRACT_OK (gantry_ingest_write (ingest, "", 0, NULL, &error));
  content_write_text (ingest, "world");
  CONTRACT_OK (gantry_ingest_get_status (ingest, &status, NULL, &error));
  g_assert_cmpstr (status->ref, ==, "write");
  g_assert_cmpuint (status->offset, ==, 12);
  g_assert_cmpuint (status->total, ==, 0);
  g_assert_null (status->expected_digest);
  g_assert_cmpint (status->started_ns, >, before);
  g_assert_cmpint (status->updated_ns, >, before);
  CONTRACT_OK (gantry_ingest_get_digest (ingest, &so_far, NULL, &error));
  g_assert_cmpstr (so_far, ==, expected);
  CONTRACT_OK (gantry_ingest_commit (ingest, 12, expected, NULL, &digest, NULL, &error));
  g_assert_cmpstr (digest, ==, expected);
  assert_no_ingest (fixture, "write");
  CONTRACT_OK (gantry_content_info (content_of (fixture), digest, &info, NULL, &error));
  g_assert_cmpstr (info->digest, ==, digest);
  g_assert_cmpuint (info->blob_size, ==, 12);
  g_assert_cmpint (info->created_ns, >, before);
  g_assert_cmpint (info->updated_ns, >, before);
  content_assert_blob (fixture, digest, "hello, world");
}

static void
test_empty (GantryContractFixture *fixture)
{
  g_autofree char *digest = content_put (fixture, "empty", "");

  content_assert_blob (fixture, digest, "");
}

/* Some megabytes in pieces that fit no buffer. */
static void
test_large (GantryContractFixture *fixture)
{
  gsize length = 5 * 1024 * 1024 + 17;
  g_autofree guint8 *data = g_malloc (length);
  g_autofree guint8 *seen = g_malloc (length);
  g_autofree char *expected = NULL;
  g_autofree char *digest = NULL;
  g_autoptr (GantryIngest) ingest = content_open_ref (fixture, "large");
  guint64 size;
  int fd = -1;

  for (gsize i = 0; i < length; i++)
    data[i] = (guint8)(i * 2654435761u >> 13);
  expected = gantry_contract_digest (data, length);
  for (gsize at = 0; at < length;)
    {
      gsize n = MIN (length - at, 65537);

      CONTRACT_OK (gantry_ingest_write (ingest, data + at, n, NULL, &error));
      at += n;
    }
  CONTRACT_OK (gantry_ingest_commit (ingest, length, expected, NULL, &digest, NULL, &error));
  CONTRACT_OK (gantry_content_open_blob (content_of (fixture), digest, &fd, &size, NULL, &error));
  g_assert_cmpuint (size, ==, length);
  for (gsize at = 0; at < length;)
    {
      gssize n = pread (fd, seen + at, length - at, (off_t)at);

      g_assert_cmpint (n, >, 0);
      at += (gsize)n;
    }
  g_assert_cmpmem (seen, length, data, length);
  close (fd);
}

/* Each reader has a descriptor with a position of its own, which cannot write and does not leak into
 * programs. */
static void
test_descriptors (GantryContractFixture *fixture)
{
  g_autofree char *digest = content_put (fixture, "descriptors", "abcdef");
  int one = -1, two = -1;
  char c = 0;

  CONTRACT_OK (gantry_content_open_blob (content_of (fixture), digest, &one, NULL, NULL, &error));
  CONTRACT_OK (gantry_content_open_blob (content_of (fixture), digest, &two, NULL, NULL, &error));
  g_assert_true (fcntl (one, F_GETFD) & FD_CLOEXEC);
  g_assert_cmpint (fcntl (one, F_GETFL) & O_ACCMODE, ==, O_RDONLY);
  g_assert_cmpint (write (one, "x", 1), ==, -1);
  g_assert_cmpint (lseek (one, 3, SEEK_SET), ==, 3);
  g_assert_cmpint (read (one, &c, 1), ==, 1);
  g_assert_cmpint (c, ==, 'd');
  g_assert_cmpint (read (two, &c, 1), ==, 1);
  g_assert_cmpint (c, ==, 'a');
  close (one);
  close (two);
}

static void
test_absent (GantryContractFixture *fixture)
{
  GantryContent *content = content_of (fixture);
  GantryContentInfo *info = GANTRY_CONTRACT_UNTOUCHED;
  guint64 size = 77;
  int fd = 77;

  CONTRACT_FAILS_NAMING (GANTRY_ERROR_NOT_FOUND, ABSENT,
                         gantry_content_info (content, ABSENT, &info, NULL, &error));
  g_assert_true (info == GANTRY_CONTRACT_UNTOUCHED);
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_NOT_FOUND, ABSENT,
                         gantry_content_open_blob (content, ABSENT, &fd, &size, NULL, &error));
  g_assert_cmpint (fd, ==, 77);
  g_assert_cmpuint (size, ==, 77);
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_NOT_FOUND, ABSENT,
                         gantry_content_remove (content, ABSENT, NULL, &error));
  assert_no_ingest (fixture, "absent");
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_NOT_FOUND, "absent",
                         gantry_content_abort_ingest (content, "absent", NULL, &error));
}

/* Whatever is no digest is refused before it becomes a path. */
static void
test_not_a_digest (GantryContractFixture *fixture)
{
  static const char *const names[] = {
    "",
    "sha256",
    "sha256:",
    "sha256:abc",
    "sha256:../../../../../../../../../../../../../../../../../../../../../../etc",
    "sha256:0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef",
    "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdeg",
    "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0",
    "../sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "rot13:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
  };
  GantryContent *content = content_of (fixture);

  for (gsize i = 0; i < G_N_ELEMENTS (names); i++)
    {
      GantryContentInfo *info = GANTRY_CONTRACT_UNTOUCHED;
      GantryIngest *ingest = GANTRY_CONTRACT_UNTOUCHED;
      int fd = 77;

      CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                      gantry_content_info (content, names[i], &info, NULL, &error));
      CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                      gantry_content_open_blob (content, names[i], &fd, NULL, NULL, &error));
      CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT, gantry_content_remove (content, names[i], NULL, &error));
      CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                      gantry_content_open_ingest (content, "bad", 0, names[i], &ingest, NULL, &error));
      g_assert_true (ingest == GANTRY_CONTRACT_UNTOUCHED);
      g_assert_cmpint (fd, ==, 77);
      assert_no_ingest (fixture, "bad");
    }
}

/* A ref is any name; none becomes a path. */
static void
test_refs (GantryContractFixture *fixture)
{
  static const char *const refs[]
      = { "a/b", "../../../escape", "/", ".", "with space", "zwei\nzeilen", "\xc3\xa4", "a=b;c#d" };
  g_autofree char *longest = gantry_contract_long_name (GANTRY_MAX_NAME);
  g_autofree char *longer = gantry_contract_long_name (4096);
  GantryContent *content = content_of (fixture);
  GantryIngest *ingest = NULL;

  for (gsize i = 0; i < G_N_ELEMENTS (refs); i++)
    {
      ingest = content_open_ref (fixture, refs[i]);
      content_write_text (ingest, refs[i]);
      g_clear_pointer (&ingest, gantry_ingest_unref);
    }
  for (gsize i = 0; i < G_N_ELEMENTS (refs); i++)
    g_assert_cmpuint (offset_of (fixture, refs[i]), ==, strlen (refs[i]));
  gantry_ingest_unref (content_open_ref (fixture, longest));
  g_assert_cmpuint (offset_of (fixture, longest), ==, 0);
  CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                  gantry_content_open_ingest (content, "", 0, NULL, &ingest, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                  gantry_content_open_ingest (content, longer, 0, NULL, &ingest, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                  gantry_content_open_ingest (content, "\xff\xfe", 0, NULL, &ingest, NULL, &error));
  g_assert_null (ingest);
}

static void
test_wrong_size (GantryContractFixture *fixture)
{
  g_autoptr (GantryIngest) ingest = content_open_ref (fixture, "wrong-size");
  GantryContentInfo *info = NULL;
  g_autofree char *real = gantry_contract_digest ("four", 4);
  char *digest = GANTRY_CONTRACT_UNTOUCHED;

  content_write_text (ingest, "four");
  CONTRACT_FAILS (GANTRY_ERROR_FAILED_PRECONDITION,
                  gantry_ingest_commit (ingest, 5, NULL, NULL, &digest, NULL, &error));
  g_assert_true (digest == GANTRY_CONTRACT_UNTOUCHED);
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND,
                  gantry_content_info (content_of (fixture), real, &info, NULL, &error));
  g_clear_pointer (&ingest, gantry_ingest_unref);
  assert_no_ingest (fixture, "wrong-size");
  ingest = content_open_ref (fixture, "wrong-size");
  g_assert_cmpuint (offset_of (fixture, "wrong-size"), ==, 0);
}

static void
test_wrong_digest (GantryContractFixture *fixture)
{
  g_autoptr (GantryIngest) ingest = content_open_ref (fixture, "wrong-digest");
  GantryContentInfo *info = NULL;
  g_autofree char *real = gantry_contract_digest ("four", 4);
  char *digest = GANTRY_CONTRACT_UNTOUCHED;

  content_write_text (ingest, "four");
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_FAILED_PRECONDITION, real,
                         gantry_ingest_commit (ingest, 0, ABSENT, NULL, &digest, NULL, &error));
  g_assert_true (digest == GANTRY_CONTRACT_UNTOUCHED);
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND,
                  gantry_content_info (content_of (fixture), real, &info, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND,
                  gantry_content_info (content_of (fixture), ABSENT, &info, NULL, &error));
  g_clear_pointer (&ingest, gantry_ingest_unref);
  assert_no_ingest (fixture, "wrong-digest");
}

/* What open_ingest () was told counts as much as what commit () is told. */
static void
test_expected_at_open (GantryContractFixture *fixture)
{
  GantryContent *content = content_of (fixture);
  g_autofree char *expected = gantry_contract_digest ("right", 5);
  g_autoptr (GantryIngest) ingest = NULL;
  g_autoptr (GantryIngestStatus) status = NULL;
  g_autofree char *digest = NULL;

  CONTRACT_OK (gantry_content_open_ingest (content, "expected", 5, expected, &ingest, NULL, &error));
  CONTRACT_OK (gantry_ingest_get_status (ingest, &status, NULL, &error));
  g_assert_cmpuint (status->total, ==, 5);
  g_assert_cmpstr (status->expected_digest, ==, expected);
  content_write_text (ingest, "wrong");
  CONTRACT_FAILS (GANTRY_ERROR_FAILED_PRECONDITION,
                  gantry_ingest_commit (ingest, 0, NULL, NULL, &digest, NULL, &error));
  g_clear_pointer (&ingest, gantry_ingest_unref);
  CONTRACT_OK (gantry_content_open_ingest (content, "short", 5, NULL, &ingest, NULL, &error));
  content_write_text (ingest, "righ");
  CONTRACT_FAILS (GANTRY_ERROR_FAILED_PRECONDITION,
                  gantry_ingest_commit (ingest, 0, NULL, NULL, &digest, NULL, &error));
  g_clear_pointer (&ingest, gantry_ingest_unref);
  CONTRACT_OK (gantry_content_open_ingest (content, "expected", 5, expected, &ingest, NULL, &error));
  content_write_text (ingest, "right");
  CONTRACT_OK (gantry_ingest_commit (ingest, 0, NULL, NULL, &digest, NULL, &error));
  g_assert_cmpstr (digest, ==, expected);
}

/* The digest's algorithm is that of the expected one, where the store knows it. */
static void
test_sha512 (GantryContractFixture *fixture)
{
  g_autofree char *hex = g_compute_checksum_for_string (G_CHECKSUM_SHA512, "long", 4);
  g_autofree char *expected = g_strconcat ("sha512:", hex, NULL);
  g_autoptr (GantryIngest) ingest = NULL;
  g_autoptr (GError) local = NULL;
  g_autofree char *digest = NULL;

  if (!gantry_content_open_ingest (content_of (fixture), "sha512", 0, expected, &ingest, NULL, &local))
    {
      g_assert_true (gantry_error_is (local, GANTRY_ERROR_INVALID_ARGUMENT));
      g_test_skip ("this store knows no sha512");
      return;
    }
  content_write_text (ingest, "long");
  CONTRACT_OK (gantry_ingest_commit (ingest, 4, NULL, NULL, &digest, NULL, &error));
  g_assert_cmpstr (digest, ==, expected);
  content_assert_blob (fixture, expected, "long");
}

static void
test_exists (GantryContractFixture *fixture)
{
  GantryContent *content = content_of (fixture);
  g_autofree char *digest = content_put (fixture, "exists", "twice");
  g_autofree char *again = NULL;
  GantryIngest *refused = GANTRY_CONTRACT_UNTOUCHED;
  g_autoptr (GantryIngest) ingest = NULL;

  CONTRACT_FAILS_NAMING (GANTRY_ERROR_ALREADY_EXISTS, digest,
                         gantry_content_open_ingest (content, "exists", 5, digest, &refused, NULL, &error));
  g_assert_true (refused == GANTRY_CONTRACT_UNTOUCHED);
  assert_no_ingest (fixture, "exists");
  ingest = content_open_ref (fixture, "exists");
  content_write_text (ingest, "twice");
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_ALREADY_EXISTS, digest,
                         gantry_ingest_commit (ingest, 5, digest, NULL, &again, NULL, &error));
  g_assert_cmpstr (again, ==, digest);
  g_clear_pointer (&ingest, gantry_ingest_unref);
  assert_no_ingest (fixture, "exists");
  content_assert_blob (fixture, digest, "twice");
}

static void
finish_resumed (GantryContractFixture *fixture, GantryIngest *ingest)
{
  g_autofree char *expected = gantry_contract_digest ("first second", 12);
  g_autoptr (GantryIngestStatus) status = NULL;
  g_autofree char *digest = NULL;

  CONTRACT_OK (gantry_ingest_get_status (ingest, &status, NULL, &error));
  g_assert_cmpuint (status->offset, ==, 6);
  g_assert_cmpuint (status->total, ==, 12);
  g_assert_cmpstr (status->expected_digest, ==, expected);
  content_write_text (ingest, "second");
  CONTRACT_OK (gantry_ingest_commit (ingest, 0, NULL, NULL, &digest, NULL, &error));
  g_assert_cmpstr (digest, ==, expected);
  content_assert_blob (fixture, digest, "first second");
}

static void
begin_resumable (GantryContractFixture *fixture)
{
  g_autofree char *expected = gantry_contract_digest ("first second", 12);
  g_autoptr (GantryIngest) ingest = NULL;

  CONTRACT_OK (
      gantry_content_open_ingest (content_of (fixture), "resume", 12, expected, &ingest, NULL, &error));
  content_write_text (ingest, "first ");
}

static void
test_resume (GantryContractFixture *fixture)
{
  g_autoptr (GantryIngest) ingest = NULL;

  begin_resumable (fixture);
  g_assert_cmpuint (offset_of (fixture, "resume"), ==, 6);
  ingest = content_open_ref (fixture, "resume");
  finish_resumed (fixture, ingest);
}

static void
test_resume_other (GantryContractFixture *fixture)
{
  GantryContent *content = content_of (fixture);
  GantryIngest *ingest = GANTRY_CONTRACT_UNTOUCHED;

  begin_resumable (fixture);
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_FAILED_PRECONDITION, "resume",
                         gantry_content_open_ingest (content, "resume", 13, NULL, &ingest, NULL, &error));
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_FAILED_PRECONDITION, "resume",
                         gantry_content_open_ingest (content, "resume", 0, ABSENT, &ingest, NULL, &error));
  g_assert_true (ingest == GANTRY_CONTRACT_UNTOUCHED);
  g_assert_cmpuint (offset_of (fixture, "resume"), ==, 6);
}

static void
test_restart (GantryContractFixture *fixture)
{
  g_autofree char *digest = NULL;
  g_autoptr (GantryIngest) ingest = NULL;

  if (!gantry_contract_can_restart (fixture))
    return;
  digest = content_put (fixture, "kept", "kept");
  begin_resumable (fixture);
  fixture->restart (fixture);
  content_assert_blob (fixture, digest, "kept");
  ingest = content_open_ref (fixture, "resume");
  finish_resumed (fixture, ingest);
}

static void
test_one_writer (GantryContractFixture *fixture)
{
  GantryContent *content = content_of (fixture);
  GantryIngest *ingest = content_open_ref (fixture, "busy");
  GantryIngest *second = GANTRY_CONTRACT_UNTOUCHED;

  content_write_text (ingest, "abc");
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_UNAVAILABLE, "busy",
                         gantry_content_open_ingest (content, "busy", 0, NULL, &second, NULL, &error));
  g_assert_true (second == GANTRY_CONTRACT_UNTOUCHED);
  /* A counted reference keeps the writer open. */
  g_assert_true (gantry_ingest_ref (ingest) == ingest);
  gantry_ingest_unref (ingest);
  CONTRACT_FAILS (GANTRY_ERROR_UNAVAILABLE,
                  gantry_content_open_ingest (content, "busy", 0, NULL, &second, NULL, &error));
  content_write_text (ingest, "def");
  gantry_ingest_unref (ingest);
  ingest = content_open_ref (fixture, "busy");
  g_assert_cmpuint (offset_of (fixture, "busy"), ==, 6);
  gantry_ingest_unref (ingest);
}

/* Where an abort takes the ingest from its writer, that one hears of it, and what comes after is another
 * ingest. */
static void
test_abort_under_a_writer (GantryContractFixture *fixture)
{
  GantryContent *content = content_of (fixture);
  GantryIngest *ingest = content_open_ref (fixture, "taken"), *next;
  g_autoptr (GError) local = NULL;
  g_autofree char *digest = NULL;

  content_write_text (ingest, "abc");
  if (!gantry_content_abort_ingest (content, "taken", NULL, &local))
    {
      g_assert_true (gantry_error_is (local, GANTRY_ERROR_UNAVAILABLE));
      gantry_ingest_unref (ingest);
      return;
    }
  next = content_open_ref (fixture, "taken");
  g_assert_cmpuint (offset_of (fixture, "taken"), ==, 0);
  content_write_text (next, "other");
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_ABORTED, "taken",
                         gantry_ingest_commit (ingest, 0, NULL, NULL, &digest, NULL, &error));
  gantry_ingest_unref (ingest);
  g_assert_cmpuint (offset_of (fixture, "taken"), ==, 5);
  CONTRACT_OK (gantry_ingest_commit (next, 5, NULL, NULL, &digest, NULL, &error));
  gantry_ingest_unref (next);
  content_assert_blob (fixture, digest, "other");
}

static void
test_bounds (GantryContractFixture *fixture)
{
  g_autofree char *expected = gantry_contract_digest ("abXY", 4);
  g_autoptr (GantryIngest) ingest = NULL;
  g_autofree char *so_far = NULL;
  g_autofree char *digest = NULL;

  CONTRACT_OK (gantry_content_open_ingest (content_of (fixture), "bounds", 4, NULL, &ingest, NULL, &error));
  content_write_text (ingest, "abc");
  CONTRACT_FAILS (GANTRY_ERROR_OUT_OF_RANGE, gantry_ingest_write (ingest, "de", 2, NULL, &error));
  g_assert_cmpuint (offset_of (fixture, "bounds"), ==, 3);
  CONTRACT_FAILS (GANTRY_ERROR_OUT_OF_RANGE, gantry_ingest_truncate (ingest, 4, NULL, &error));
  CONTRACT_OK (gantry_ingest_truncate (ingest, 3, NULL, &error));
  CONTRACT_OK (gantry_ingest_truncate (ingest, 2, NULL, &error));
  g_assert_cmpuint (offset_of (fixture, "bounds"), ==, 2);
  content_write_text (ingest, "XY");
  CONTRACT_OK (gantry_ingest_get_digest (ingest, &so_far, NULL, &error));
  g_assert_cmpstr (so_far, ==, expected);
  CONTRACT_OK (gantry_ingest_commit (ingest, 4, NULL, NULL, &digest, NULL, &error));
  g_assert_cmpstr (digest, ==, expected);
  content_assert_blob (fixture, digest, "abXY");
}

static void
test_truncate_all (GantryContractFixture *fixture)
{
  g_autoptr (GantryIngest) ingest = content_open_ref (fixture, "cut");
  g_autofree char *expected = gantry_contract_digest ("new", 3);
  g_autofree char *digest = NULL;

  content_write_text (ingest, "something longer");
  CONTRACT_OK (gantry_ingest_truncate (ingest, 0, NULL, &error));
  content_write_text (ingest, "new");
  CONTRACT_OK (gantry_ingest_commit (ingest, 3, expected, NULL, &digest, NULL, &error));
  content_assert_blob (fixture, digest, "new");
}

static void
test_abort (GantryContractFixture *fixture)
{
  GantryIngest *ingest = content_open_ref (fixture, "abort");

  content_write_text (ingest, "abc");
  gantry_ingest_unref (ingest);
  CONTRACT_OK (gantry_content_abort_ingest (content_of (fixture), "abort", NULL, &error));
  assert_no_ingest (fixture, "abort");
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND,
                  gantry_content_abort_ingest (content_of (fixture), "abort", NULL, &error));
  ingest = content_open_ref (fixture, "abort");
  g_assert_cmpuint (offset_of (fixture, "abort"), ==, 0);
  gantry_ingest_unref (ingest);
}

static void
test_list_ingests (GantryContractFixture *fixture)
{
  static const char *const one[] = { "ref==list-b", NULL };
  static const char *const regex[] = { "ref~=^list-", NULL };
  static const char *const either[] = { "ref==list-a", "ref==other", NULL };
  static const char *const bad[] = { "ref=", NULL };
  GantryContent *content = content_of (fixture);
  g_autoptr (GPtrArray) all = NULL;
  g_autoptr (GPtrArray) only = NULL;
  g_autoptr (GPtrArray) matched = NULL;
  g_autoptr (GPtrArray) both = NULL;
  GPtrArray *none = GANTRY_CONTRACT_UNTOUCHED;

  gantry_ingest_unref (content_open_ref (fixture, "list-a"));
  gantry_ingest_unref (content_open_ref (fixture, "list-b"));
  gantry_ingest_unref (content_open_ref (fixture, "other"));
  CONTRACT_OK (gantry_content_list_ingests (content, NULL, &all, NULL, &error));
  g_assert_cmpuint (all->len, ==, 3);
  CONTRACT_OK (gantry_content_list_ingests (content, one, &only, NULL, &error));
  g_assert_cmpuint (only->len, ==, 1);
  g_assert_cmpstr (((GantryIngestStatus *)g_ptr_array_index (only, 0))->ref, ==, "list-b");
  CONTRACT_OK (gantry_content_list_ingests (content, regex, &matched, NULL, &error));
  g_assert_cmpuint (matched->len, ==, 2);
  CONTRACT_OK (gantry_content_list_ingests (content, either, &both, NULL, &error));
  g_assert_cmpuint (both->len, ==, 2);
  CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                  gantry_content_list_ingests (content, bad, &none, NULL, &error));
  g_assert_true (none == GANTRY_CONTRACT_UNTOUCHED);
}

static void
test_cancelled (GantryContractFixture *fixture)
{
  g_autoptr (GCancellable) cancellable = gantry_contract_cancelled ();
  g_autoptr (GantryIngest) ingest = content_open_ref (fixture, "cancelled");
  g_autofree char *digest = NULL;

  content_write_text (ingest, "ab");
  CONTRACT_FAILS (GANTRY_ERROR_CANCELLED, gantry_ingest_write (ingest, "c", 1, cancellable, &error));
  g_assert_cmpuint (offset_of (fixture, "cancelled"), ==, 2);
  CONTRACT_FAILS (GANTRY_ERROR_CANCELLED,
                  gantry_ingest_commit (ingest, 2, NULL, NULL, &digest, cancellable, &error));
  g_assert_null (digest);
  /* Nothing has happened, and all of it can be done again. */
  CONTRACT_OK (gantry_ingest_commit (ingest, 2, NULL, NULL, &digest, NULL, &error));
  content_assert_blob (fixture, digest, "ab");
}

typedef struct
{
  GantryContractFixture *fixture;
  int n_won;
  GantryIngest *ingest; /* the winner's */
} Race;

static void
write_own_and_common (guint i, gpointer data)
{
  Race *race = data;
  g_autofree char *ref = g_strdup_printf ("thread-%u", i);
  g_autofree char *common_ref = g_strdup_printf ("common-%u", i);
  g_autofree char *digest = content_put (race->fixture, ref, ref);
  g_autoptr (GantryIngest) ingest = content_open_ref (race->fixture, common_ref);
  g_autoptr (GError) error = NULL;
  g_autofree char *common = NULL;

  content_assert_blob (race->fixture, digest, ref);
  content_write_text (ingest, "common");
  if (gantry_ingest_commit (ingest, 6, NULL, NULL, &common, NULL, &error))
    g_atomic_int_inc (&race->n_won);
  else
    g_assert_true (gantry_error_is (error, GANTRY_ERROR_ALREADY_EXISTS));
  content_assert_blob (race->fixture, common, "common");
}

static void
test_threads (GantryContractFixture *fixture)
{
  Race race = { fixture, 0, NULL };

  gantry_contract_race (N_THREADS, write_own_and_common, &race);
  g_assert_cmpint (race.n_won, ==, 1);
  g_assert_cmpuint (content_count (fixture, NULL, 0), ==, N_THREADS + 1);
}

static void
open_same (guint i, gpointer data)
{
  Race *race = data;
  GantryIngest *ingest = NULL;
  g_autoptr (GError) error = NULL;

  (void)i;
  if (!gantry_content_open_ingest (content_of (race->fixture), "same", 0, NULL, &ingest, NULL, &error))
    {
      g_assert_true (gantry_error_is (error, GANTRY_ERROR_UNAVAILABLE));
      return;
    }
  g_atomic_int_inc (&race->n_won);
  g_assert_true (g_atomic_pointer_compare_and_exchange (&race->ingest, NULL, ingest));
}

static void
test_one_writer_of_many (GantryContractFixture *fixture)
{
  Race race = { fixture, 0, NULL };

  gantry_contract_race (N_THREADS, open_same, &race);
  g_assert_cmpint (race.n_won, ==, 1);
  gantry_ingest_unref (race.ingest);
}

static const GantryContractCase cases[] = {
  { "write", test_write },
  { "empty", test_empty },
  { "large", test_large },
  { "descriptors", test_descriptors },
  { "absent", test_absent },
  { "not-a-digest", test_not_a_digest },
  { "refs", test_refs },
  { "wrong-size", test_wrong_size },
  { "wrong-digest", test_wrong_digest },
  { "expected-at-open", test_expected_at_open },
  { "sha512", test_sha512 },
  { "exists", test_exists },
  { "resume", test_resume },
  { "resume-other", test_resume_other },
  { "restart", test_restart },
  { "one-writer", test_one_writer },
  { "bounds", test_bounds },
  { "truncate-all", test_truncate_all },
  { "abort", test_abort },
  { "abort-under-a-writer", test_abort_under_a_writer },
  { "list-ingests", test_list_ingests },
  { "walk", content_test_walk },
  { "remove", content_test_remove },
  { "labels", content_test_labels },
  { "cancelled", test_cancelled },
  { "threads", test_threads },
  { "one-writer-of-many", test_one_writer_of_many },
  { NULL, NULL },
};

const GantryContractSuite gantry_contract_content = { GANTRY_CONTENT_TYPE, cases };
