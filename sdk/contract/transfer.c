/* SPDX-License-Identifier: MIT
 *
 * The contract of org.gantry.transfer.v1, as far as it needs no archive: what is refused, and that nothing of
 * it is seen. */
#include <gantry/transfer.h>

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "suites.h"

#define NS     "contract"
#define ABSENT "example.com/absent:1"

static GantryTransfer *
transfer_of (GantryContractFixture *fixture)
{
  return fixture->instance;
}

static GantryJob *
make_job (GantryContractFixture *fixture)
{
  GantryJob *job = NULL;

  CONTRACT_OK (
      gantry_jobs_create (fixture->get (fixture, GANTRY_JOBS_TYPE), "test", NS, NULL, 0, &job, NULL, &error));
  return job;
}

/* A file that has @text. */
static int
make_file (const char *text)
{
  int fd = memfd_create ("archive", MFD_CLOEXEC);

  g_assert_cmpint (fd, >=, 0);
  g_assert_cmpint (write (fd, text, strlen (text)), ==, (gssize)strlen (text));
  g_assert_cmpint (lseek (fd, 0, SEEK_SET), ==, 0);
  return fd;
}

static gboolean
on_image (GantryRecord *record, gpointer user_data)
{
  (void)record;
  ++*(guint *)user_data;
  return TRUE;
}

static void
assert_no_image (GantryContractFixture *fixture)
{
  guint n = 0;

  CONTRACT_OK (gantry_metadata_list (fixture->get (fixture, GANTRY_METADATA_TYPE), GANTRY_KIND_IMAGE, NS,
                                     NULL, NULL, 0, on_image, &n, NULL, &error));
  g_assert_cmpuint (n, ==, 0);
}

static void
test_absent (GantryContractFixture *fixture)
{
  static const char *const names[] = { ABSENT, NULL };
  GantryTransfer *transfer = transfer_of (fixture);
  g_autoptr (GantryJob) job = make_job (fixture);
  GVariant *details = GANTRY_CONTRACT_UNTOUCHED;
  GantryDescriptor *target = GANTRY_CONTRACT_UNTOUCHED;
  char *chain_id = GANTRY_CONTRACT_UNTOUCHED;
  int fd = make_file ("");

  CONTRACT_FAILS_NAMING (GANTRY_ERROR_NOT_FOUND, ABSENT,
                         gantry_transfer_inspect (transfer, NS, ABSENT, NULL, &details, NULL, &error));
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_NOT_FOUND, ABSENT,
                         gantry_transfer_unpack (transfer, job, NS, ABSENT, NULL, &chain_id, NULL, &error));
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_NOT_FOUND, ABSENT,
                         gantry_transfer_export (transfer, job, NS, names, fd, NULL, NULL, &error));
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_NOT_FOUND, ABSENT,
                         gantry_transfer_convert (transfer, job, NS, ABSENT, "example.com/new:1", NULL,
                                                  &target, NULL, &error));
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_NOT_FOUND, ABSENT,
                         gantry_transfer_install (transfer, job, NS, ABSENT, NULL, &details, NULL, &error));
  assert_no_image (fixture);
  g_assert_true (target == GANTRY_CONTRACT_UNTOUCHED);
  g_assert_true (details == GANTRY_CONTRACT_UNTOUCHED);
  g_assert_true (chain_id == GANTRY_CONTRACT_UNTOUCHED);
  gantry_job_finish (job, NULL, NULL);
  close (fd);
}

static void
test_garbage (GantryContractFixture *fixture)
{
  g_autofree char *rubbish = g_strnfill (100000, '?');
  const char *const texts[] = { "", "short", rubbish };

  for (gsize i = 0; i < G_N_ELEMENTS (texts); i++)
    {
      g_autoptr (GantryJob) job = make_job (fixture);
      char **names = GANTRY_CONTRACT_UNTOUCHED;
      int fd = make_file (texts[i]);

      CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT, gantry_transfer_import (transfer_of (fixture), job, NS,
                                                                             fd, NULL, &names, NULL, &error));
      g_assert_true (names == GANTRY_CONTRACT_UNTOUCHED);
      assert_no_image (fixture);
      gantry_job_finish (job, NULL, NULL);
      close (fd);
    }
}

static void
test_options (GantryContractFixture *fixture)
{
  g_autoptr (GantryJob) job = make_job (fixture);
  g_autoptr (GVariant) unknown = gantry_contract_parse ("{'no-such-option': <1>}");
  char **names = GANTRY_CONTRACT_UNTOUCHED;
  int fd = make_file ("");

  CONTRACT_FAILS_NAMING (GANTRY_ERROR_INVALID_ARGUMENT, "no-such-option",
                         gantry_transfer_import (transfer_of (fixture), job, NS, fd, unknown, &names, NULL,
                                                 &error));
  g_assert_true (names == GANTRY_CONTRACT_UNTOUCHED);
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_INVALID_ARGUMENT, "no-such-option",
                         gantry_transfer_convert (transfer_of (fixture), job, NS, ABSENT, ABSENT, unknown,
                                                  NULL, NULL, &error));
  gantry_job_finish (job, NULL, NULL);
  close (fd);
}

/* An archive of nothing, and options that are unknown: nothing is written. */
static void
test_export_refused (GantryContractFixture *fixture)
{
  static const char *const none[] = { NULL };
  static const char *const names[] = { ABSENT, NULL };
  g_autoptr (GantryJob) job = make_job (fixture);
  g_autoptr (GVariant) unknown = gantry_contract_parse ("{'no-such-option': <1>}");
  int fd = make_file ("");

  CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                  gantry_transfer_export (transfer_of (fixture), job, NS, none, fd, NULL, NULL, &error));
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_INVALID_ARGUMENT, "no-such-option",
                         gantry_transfer_export (transfer_of (fixture), job, NS, names, fd, unknown, NULL,
                                                 &error));
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_INVALID_ARGUMENT, "no-such-option",
                         gantry_transfer_unpack (transfer_of (fixture), job, NS, ABSENT, unknown, NULL, NULL,
                                                 &error));
  g_assert_cmpint (lseek (fd, 0, SEEK_END), ==, 0);
  gantry_job_finish (job, NULL, NULL);
  close (fd);
}

/* Cancelling the job ends its work. */
static void
test_cancelled (GantryContractFixture *fixture)
{
  g_autoptr (GantryJob) job = make_job (fixture);
  char **names = GANTRY_CONTRACT_UNTOUCHED;
  int fd = make_file ("");

  CONTRACT_OK (
      gantry_jobs_cancel (fixture->get (fixture, GANTRY_JOBS_TYPE), gantry_job_get_id (job), NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_CANCELLED,
                  gantry_transfer_import (transfer_of (fixture), job, NS, fd, NULL, &names,
                                          gantry_job_get_cancellable (job), &error));
  g_assert_true (names == GANTRY_CONTRACT_UNTOUCHED);
  assert_no_image (fixture);
  gantry_job_finish (job, NULL, NULL);
  close (fd);
}

static const GantryContractCase cases[] = {
  { "absent", test_absent },       { "garbage", test_garbage },
  { "options", test_options },     { "export-refused", test_export_refused },
  { "cancelled", test_cancelled }, { NULL, NULL },
};

const GantryContractSuite gantry_contract_transfer = { GANTRY_TRANSFER_TYPE, cases };
