/* SPDX-License-Identifier: MIT
 *
 * The contract of org.gantry.registry.v1. The suite writes what it reads: it needs a registry that takes
 * pushes from anybody, named by GANTRY_CONTRACT_REGISTRY ("localhost:5000"). The fake needs none. */
#include <gantry/registry.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "suites.h"

#define MANIFEST  "application/vnd.oci.image.manifest.v1+json"
#define CONFIG    "application/vnd.oci.image.config.v1+json"
#define N_THREADS 8
#define BLOB_SIZE (3 * 1000 * 1000 + 7)

/* A repository of this case's own. Returns: (transfer full) (nullable): NULL if there is no registry to write
 * to; the case is then marked as skipped. */
static char *
make_name (GantryContractFixture *fixture, const char *what)
{
  const char *server = g_getenv ("GANTRY_CONTRACT_REGISTRY");
  g_autofree char *unique = g_uuid_string_random ();

  if (server == NULL && fixture->restart != NULL)
    {
      g_test_skip ("GANTRY_CONTRACT_REGISTRY names no registry that may be written to");
      return NULL;
    }
  return g_strdup_printf ("%s/contract/%s-%s", server != NULL ? server : "registry.test", what, unique);
}

static GantryRepository *
open_repository (GantryContractFixture *fixture, const char *name)
{
  GantryRepository *repository = NULL;

  CONTRACT_OK (gantry_registry_open (fixture->instance, name, NULL, &repository, NULL, &error));
  return repository;
}

/* Bytes that differ from place to place. */
static GBytes *
make_bytes (gsize size, guint seed)
{
  guint8 *data = g_malloc (size);
  g_autoptr (GRand) rand = g_rand_new_with_seed (seed);

  for (gsize i = 0; i < size; i++)
    data[i] = (guint8)g_rand_int (rand);
  return g_bytes_new_take (data, size);
}

static char *
digest_of (GBytes *bytes)
{
  gsize size;
  const void *data = g_bytes_get_data (bytes, &size);

  return gantry_contract_digest (data, size);
}

static GantryDescriptor *
describe (GBytes *bytes)
{
  g_autofree char *digest = digest_of (bytes);

  return gantry_descriptor_new ("application/octet-stream", digest, g_bytes_get_size (bytes), NULL);
}

/* A file with @bytes, to push from. */
static int
make_file (GantryContractFixture *fixture, GBytes *bytes)
{
  g_autofree char *path = g_build_filename (fixture->scratch, "blob", NULL);
  gsize size;
  const char *data = g_bytes_get_data (bytes, &size);
  g_autoptr (GError) error = NULL;
  int fd;

  g_assert_true (g_file_set_contents (path, size > 0 ? data : "", (gssize)size, &error));
  fd = open (path, O_RDONLY | O_CLOEXEC);
  g_assert_cmpint (fd, >=, 0);
  return fd;
}

static void
note_progress (guint64 bytes, gpointer user_data)
{
  guint64 *most = user_data;

  *most = MAX (*most, bytes);
}

static GantryPushed
push (GantryContractFixture *fixture, GantryRepository *repository, GBytes *bytes,
      const char *const *mount_from, guint64 chunk)
{
  g_autoptr (GantryDescriptor) blob = describe (bytes);
  g_autofree char *text = g_strdup_printf ("{'chunk-size': <uint64 %" G_GUINT64_FORMAT ">}", chunk);
  g_autoptr (GVariant) options = gantry_contract_parse (text);
  int fd = make_file (fixture, bytes);
  GantryPushed how = GANTRY_PUSHED_EXISTS;
  guint64 sent = 0;

  CONTRACT_OK (gantry_repository_push_blob (repository, blob, fd, mount_from, options, note_progress, &sent,
                                            &how, NULL, &error));
  g_assert_cmpuint (sent, ==, how == GANTRY_PUSHED_UPLOADED ? blob->blob_size : 0);
  close (fd);
  return how;
}

/* A manifest whose only blob is its config, which is pushed. @extra: more members, each with a comma in
 * front. */
static GBytes *
make_manifest (GantryContractFixture *fixture, GantryRepository *repository, const char *extra)
{
  g_autoptr (GBytes) config = g_bytes_new_static ("{}", 2);
  g_autofree char *digest = digest_of (config);
  char *text = g_strdup_printf ("{\"schemaVersion\":2,\"mediaType\":\"" MANIFEST
                                "\",\"config\":{\"mediaType\":\"" CONFIG
                                "\",\"digest\":\"%s\",\"size\":2},\"layers\":[]%s}",
                                digest, extra);

  push (fixture, repository, config, NULL, 0);
  return g_bytes_new_take (text, strlen (text));
}

static GBytes *
fetch (GantryRepository *repository, GantryDescriptor *blob, guint64 offset, guint64 length)
{
  g_autoptr (GInputStream) stream = NULL;
  g_autoptr (GByteArray) all = g_byte_array_new ();
  g_autoptr (GError) read_error = NULL;
  guint8 chunk[10000];
  gssize n;

  CONTRACT_OK (gantry_repository_fetch (repository, blob, NULL, offset, length, &stream, NULL, &error));
  while ((n = g_input_stream_read (stream, chunk, sizeof chunk, NULL, &read_error)) > 0)
    g_byte_array_append (all, chunk, (guint)n);
  g_assert_no_error (read_error);
  return g_byte_array_free_to_bytes (g_steal_pointer (&all));
}

static void
assert_part (GantryRepository *repository, GBytes *whole, GantryDescriptor *blob, guint64 offset,
             guint64 length)
{
  g_autoptr (GBytes) got = fetch (repository, blob, offset, length);
  g_autoptr (GBytes) expected
      = g_bytes_new_from_bytes (whole, offset, length != 0 ? length : g_bytes_get_size (whole) - offset);

  g_assert_true (g_bytes_equal (got, expected));
}

static void
test_complete (GantryContractFixture *fixture)
{
  static const char *const bad[] = { "", "UPPER", "a b", "x:", "x@sha256:12", "https://x.example/y" };
  char **names = NULL;

  CONTRACT_OK (gantry_registry_complete (fixture->instance, "x", &names, NULL, &error));
  g_assert_cmpuint (g_strv_length (names), >, 0);
  for (gsize i = 0; names[i] != NULL; i++)
    g_assert_true (strchr (names[i], '/') != NULL && g_str_has_suffix (names[i], "/x:latest"));
  g_strfreev (names);
  CONTRACT_OK (gantry_registry_complete (fixture->instance, "r.example:5000/a/b:1", &names, NULL, &error));
  g_assert_cmpuint (g_strv_length (names), ==, 1);
  g_assert_cmpstr (names[0], ==, "r.example:5000/a/b:1");
  g_strfreev (names);
  names = GANTRY_CONTRACT_UNTOUCHED;
  for (gsize i = 0; i < G_N_ELEMENTS (bad); i++)
    CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                    gantry_registry_complete (fixture->instance, bad[i], &names, NULL, &error));
  g_assert_true (names == GANTRY_CONTRACT_UNTOUCHED);
}

static void
test_manifests (GantryContractFixture *fixture)
{
  g_autofree char *name = make_name (fixture, "manifests");
  g_autoptr (GantryRepository) repository = name != NULL ? open_repository (fixture, name) : NULL;
  g_autoptr (GBytes) manifest = NULL, bytes = NULL, again = NULL;
  g_autoptr (GantryDescriptor) pushed = NULL, resolved = NULL, fetched = NULL, by_digest = NULL;

  if (repository == NULL)
    return;
  manifest = make_manifest (fixture, repository, "");
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_NOT_FOUND, name,
                         gantry_repository_resolve (repository, "1", &resolved, NULL, &error));
  CONTRACT_OK (gantry_repository_push_manifest (repository, "1", MANIFEST, manifest, &pushed, NULL, &error));
  CONTRACT_OK (gantry_repository_resolve (repository, "1", &resolved, NULL, &error));
  g_assert_cmpstr (resolved->digest, ==, pushed->digest);
  g_assert_cmpstr (resolved->media_type, ==, MANIFEST);
  g_assert_cmpuint (resolved->blob_size, ==, g_bytes_get_size (manifest));
  CONTRACT_OK (gantry_repository_fetch_manifest (repository, "1", &fetched, &bytes, NULL, &error));
  g_assert_true (g_bytes_equal (bytes, manifest));
  g_assert_cmpstr (fetched->digest, ==, pushed->digest);
  CONTRACT_OK (gantry_repository_fetch_manifest (repository, pushed->digest, NULL, &again, NULL, &error));
  g_assert_true (g_bytes_equal (again, manifest));
  CONTRACT_OK (gantry_repository_resolve (repository, pushed->digest, &by_digest, NULL, &error));
  g_assert_cmpstr (by_digest->media_type, ==, MANIFEST);
}

static void
test_blobs (GantryContractFixture *fixture)
{
  g_autofree char *name = make_name (fixture, "blobs");
  g_autoptr (GantryRepository) repository = name != NULL ? open_repository (fixture, name) : NULL;
  g_autoptr (GBytes) bytes = make_bytes (BLOB_SIZE, 1), other = make_bytes (10, 2);
  g_autoptr (GantryDescriptor) blob = describe (bytes), absent = describe (other);
  GInputStream *stream = GANTRY_CONTRACT_UNTOUCHED;
  guint64 size = 0;

  if (repository == NULL)
    return;
  g_assert_cmpint (push (fixture, repository, bytes, NULL, 0), ==, GANTRY_PUSHED_UPLOADED);
  g_assert_cmpint (push (fixture, repository, bytes, NULL, 0), ==, GANTRY_PUSHED_EXISTS);
  CONTRACT_OK (gantry_repository_has_blob (repository, blob->digest, &size, NULL, &error));
  g_assert_cmpuint (size, ==, BLOB_SIZE);
  assert_part (repository, bytes, blob, 0, 0);
  assert_part (repository, bytes, blob, 1, 0);
  assert_part (repository, bytes, blob, 1234567, 0);
  assert_part (repository, bytes, blob, BLOB_SIZE, 0);
  assert_part (repository, bytes, blob, 0, 1);
  assert_part (repository, bytes, blob, 999, 1000000);
  assert_part (repository, bytes, blob, BLOB_SIZE - 1, 1);
  CONTRACT_FAILS (GANTRY_ERROR_OUT_OF_RANGE,
                  gantry_repository_fetch (repository, blob, NULL, BLOB_SIZE + 1, 0, &stream, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_OUT_OF_RANGE,
                  gantry_repository_fetch (repository, blob, NULL, BLOB_SIZE - 1, 2, &stream, NULL, &error));
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_NOT_FOUND, absent->digest,
                         gantry_repository_fetch (repository, absent, NULL, 0, 0, &stream, NULL, &error));
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_NOT_FOUND, name,
                         gantry_repository_has_blob (repository, absent->digest, &size, NULL, &error));
  g_assert_true (stream == GANTRY_CONTRACT_UNTOUCHED && size == BLOB_SIZE);
}

static void
test_chunks_and_mounts (GantryContractFixture *fixture)
{
  g_autofree char *name = make_name (fixture, "one"), *other_name = make_name (fixture, "two");
  g_autoptr (GantryRepository) repository = name != NULL ? open_repository (fixture, name) : NULL;
  g_autoptr (GantryRepository) other = name != NULL ? open_repository (fixture, other_name) : NULL;
  const char *const from[] = { "contract/nothing", name != NULL ? strchr (name, '/') + 1 : NULL, NULL };
  g_autoptr (GBytes) bytes = make_bytes (100000, 3);
  g_autoptr (GantryDescriptor) blob = describe (bytes);
  GantryPushed how;

  if (repository == NULL)
    return;
  g_assert_cmpint (push (fixture, repository, bytes, NULL, 30000), ==, GANTRY_PUSHED_UPLOADED);
  assert_part (repository, bytes, blob, 0, 0);
  /* A registry may refuse to mount; then it is sent. */
  how = push (fixture, other, bytes, from, 0);
  g_assert_cmpint (how, !=, GANTRY_PUSHED_EXISTS);
  assert_part (other, bytes, blob, 0, 0);
}

typedef struct
{
  GantryRepository *repository;
  GBytes *bytes;
  GantryDescriptor *blob;
} Shared;

static void
fetch_one (guint i, gpointer data)
{
  Shared *shared = data;
  guint64 step = BLOB_SIZE / N_THREADS;

  assert_part (shared->repository, shared->bytes, shared->blob, i * step, i % 2 == 0 ? step : 0);
}

static void
test_threads (GantryContractFixture *fixture)
{
  g_autofree char *name = make_name (fixture, "threads");
  g_autoptr (GantryRepository) repository = name != NULL ? open_repository (fixture, name) : NULL;
  g_autoptr (GBytes) bytes = make_bytes (BLOB_SIZE, 4);
  g_autoptr (GantryDescriptor) blob = describe (bytes);
  Shared shared = { repository, bytes, blob };

  if (repository == NULL)
    return;
  push (fixture, repository, bytes, NULL, 0);
  gantry_contract_race (N_THREADS, fetch_one, &shared);
}

/* A stream goes on without the handle that it came from, and may be dropped in the middle. */
static void
test_streams (GantryContractFixture *fixture)
{
  g_autofree char *name = make_name (fixture, "streams");
  GantryRepository *repository = name != NULL ? open_repository (fixture, name) : NULL;
  g_autoptr (GBytes) bytes = make_bytes (BLOB_SIZE, 5);
  g_autoptr (GantryDescriptor) blob = describe (bytes);
  g_autoptr (GInputStream) stream = NULL;
  g_autoptr (GCancellable) cancelled = gantry_contract_cancelled ();
  g_autofree guint8 *data = g_malloc (BLOB_SIZE);
  g_autoptr (GError) read_error = NULL;
  gsize n;

  if (repository == NULL)
    return;
  push (fixture, repository, bytes, NULL, 0);
  CONTRACT_OK (gantry_repository_fetch (repository, blob, NULL, 0, 0, &stream, NULL, &error));
  gantry_repository_unref (repository);
  g_assert_cmpint (g_input_stream_read (stream, data, 10, cancelled, &read_error), ==, -1);
  g_assert_true (gantry_error_is (read_error, GANTRY_ERROR_CANCELLED));
  g_clear_error (&read_error);
  g_assert_true (g_input_stream_read_all (stream, data, BLOB_SIZE / 2, &n, NULL, &read_error));
  g_assert_cmpmem (data, n, g_bytes_get_data (bytes, NULL), BLOB_SIZE / 2);
  g_assert_true (g_input_stream_close (stream, NULL, &read_error));
}

static int
compare_strings (gconstpointer a, gconstpointer b)
{
  return strcmp (*(const char *const *)a, *(const char *const *)b);
}

static void
test_tags (GantryContractFixture *fixture)
{
  static const char *const tags[] = { "a", "b", "c", "d", "e" };
  g_autofree char *name = make_name (fixture, "tags");
  g_autoptr (GantryRepository) repository = name != NULL ? open_repository (fixture, name) : NULL;
  g_autoptr (GBytes) manifest = NULL;
  g_auto (GStrv) all = NULL, some = NULL;
  char **untouched = GANTRY_CONTRACT_UNTOUCHED;

  if (repository == NULL)
    return;
  manifest = make_manifest (fixture, repository, "");
  for (gsize i = 0; i < G_N_ELEMENTS (tags); i++)
    CONTRACT_OK (
        gantry_repository_push_manifest (repository, tags[i], MANIFEST, manifest, NULL, NULL, &error));
  CONTRACT_OK (gantry_repository_list_tags (repository, NULL, 100, &all, NULL, &error));
  qsort (all, g_strv_length (all), sizeof (char *), compare_strings);
  g_assert_cmpuint (g_strv_length (all), ==, G_N_ELEMENTS (tags));
  for (gsize i = 0; i < G_N_ELEMENTS (tags); i++)
    g_assert_cmpstr (all[i], ==, tags[i]);
  CONTRACT_OK (gantry_repository_list_tags (repository, NULL, 2, &some, NULL, &error));
  g_assert_cmpuint (g_strv_length (some), ==, 2);
  CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                  gantry_repository_list_tags (repository, NULL, 0, &untouched, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                  gantry_repository_list_tags (repository, "a b", 1, &untouched, NULL, &error));
  g_assert_true (untouched == GANTRY_CONTRACT_UNTOUCHED);
}

static void
test_referrers (GantryContractFixture *fixture)
{
  g_autofree char *name = make_name (fixture, "referrers"), *extra = NULL;
  g_autoptr (GantryRepository) repository = name != NULL ? open_repository (fixture, name) : NULL;
  g_autoptr (GBytes) subject = NULL, artifact = NULL;
  g_autoptr (GantryDescriptor) pushed = NULL, referrer = NULL;
  g_autoptr (GPtrArray) none = NULL, found = NULL, others = NULL;

  if (repository == NULL || !GANTRY_CONTRACT_HAS (repository, GantryRepositoryVtable, list_referrers))
    return;
  subject = make_manifest (fixture, repository, "");
  CONTRACT_OK (gantry_repository_push_manifest (repository, "1", MANIFEST, subject, &pushed, NULL, &error));
  CONTRACT_OK (gantry_repository_list_referrers (repository, pushed->digest, NULL, &none, NULL, &error));
  g_assert_cmpuint (none->len, ==, 0);
  extra = g_strdup_printf (
      ",\"artifactType\":\"x/a\",\"annotations\":{\"k\":\"v\"},\"subject\":{\"mediaType\":\"" MANIFEST
      "\",\"digest\":\"%s\",\"size\":%" G_GUINT64_FORMAT "}",
      pushed->digest, pushed->blob_size);
  artifact = make_manifest (fixture, repository, extra);
  for (guint i = 0; i < 2; i++)
    CONTRACT_OK (gantry_repository_push_manifest (repository, NULL, MANIFEST, artifact,
                                                  i == 0 ? &referrer : NULL, NULL, &error));
  CONTRACT_OK (gantry_repository_list_referrers (repository, pushed->digest, "x/a", &found, NULL, &error));
  g_assert_cmpuint (found->len, ==, 1);
  g_assert_cmpstr (((GantryDescriptor *)found->pdata[0])->digest, ==, referrer->digest);
  g_assert_cmpstr (((GantryDescriptor *)found->pdata[0])->artifact_type, ==, "x/a");
  g_assert_cmpstr (gantry_labels_lookup (((GantryDescriptor *)found->pdata[0])->annotations, "k"), ==, "v");
  CONTRACT_OK (gantry_repository_list_referrers (repository, pushed->digest, "x/b", &others, NULL, &error));
  g_assert_cmpuint (others->len, ==, 0);
}

static void
test_bad_arguments (GantryContractFixture *fixture)
{
  static const char *const digests[] = { "", "1", "sha256:12", "md5:0123", "sha256:../../x" };
  g_autofree char *name = make_name (fixture, "bad");
  g_autoptr (GantryRepository) repository = name != NULL ? open_repository (fixture, name) : NULL;
  g_autoptr (GVariant) unknown = gantry_contract_parse ("{'unknown': <1>}");
  g_autoptr (GantryRegistryAccess) access = gantry_registry_access_new (NULL, unknown);
  GantryRepository *untouched = GANTRY_CONTRACT_UNTOUCHED;
  GantryDescriptor *descriptor = GANTRY_CONTRACT_UNTOUCHED;

  if (repository == NULL)
    return;
  CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                  gantry_registry_open (fixture->instance, "UPPER", NULL, &untouched, NULL, &error));
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_INVALID_ARGUMENT, "unknown",
                         gantry_registry_open (fixture->instance, name, access, &untouched, NULL, &error));
  for (gsize i = 0; i < G_N_ELEMENTS (digests); i++)
    CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                    gantry_repository_has_blob (repository, digests[i], NULL, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                  gantry_repository_resolve (repository, "not a tag", &descriptor, NULL, &error));
  g_assert_true (untouched == GANTRY_CONTRACT_UNTOUCHED && descriptor == GANTRY_CONTRACT_UNTOUCHED);
}

/* A file that is not what its descriptor says. */
static void
test_wrong_digest (GantryContractFixture *fixture)
{
  g_autofree char *name = make_name (fixture, "wrong");
  g_autoptr (GantryRepository) repository = name != NULL ? open_repository (fixture, name) : NULL;
  g_autoptr (GBytes) bytes = make_bytes (100, 6), others = make_bytes (100, 7);
  g_autoptr (GantryDescriptor) blob = describe (bytes);
  GantryPushed how = GANTRY_PUSHED_EXISTS;
  int fd;

  if (repository == NULL)
    return;
  fd = make_file (fixture, others);
  CONTRACT_FAILS (GANTRY_ERROR_DATA_LOSS, gantry_repository_push_blob (repository, blob, fd, NULL, NULL, NULL,
                                                                       NULL, &how, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND,
                  gantry_repository_has_blob (repository, blob->digest, NULL, NULL, &error));
  close (fd);
}

static void
test_cancelled (GantryContractFixture *fixture)
{
  g_autofree char *name = make_name (fixture, "cancelled");
  g_autoptr (GantryRepository) repository = name != NULL ? open_repository (fixture, name) : NULL;
  g_autoptr (GCancellable) cancelled = gantry_contract_cancelled ();
  g_autoptr (GBytes) bytes = make_bytes (10, 8);
  g_autoptr (GantryDescriptor) blob = describe (bytes);
  GantryDescriptor *descriptor = GANTRY_CONTRACT_UNTOUCHED;
  GInputStream *stream = GANTRY_CONTRACT_UNTOUCHED;
  char **tags = GANTRY_CONTRACT_UNTOUCHED;
  int fd;

  if (repository == NULL)
    return;
  fd = make_file (fixture, bytes);
  CONTRACT_FAILS (GANTRY_ERROR_CANCELLED,
                  gantry_repository_resolve (repository, "1", &descriptor, cancelled, &error));
  CONTRACT_FAILS (GANTRY_ERROR_CANCELLED,
                  gantry_repository_fetch (repository, blob, NULL, 0, 0, &stream, cancelled, &error));
  CONTRACT_FAILS (GANTRY_ERROR_CANCELLED, gantry_repository_push_blob (repository, blob, fd, NULL, NULL, NULL,
                                                                       NULL, NULL, cancelled, &error));
  CONTRACT_FAILS (GANTRY_ERROR_CANCELLED,
                  gantry_repository_list_tags (repository, NULL, 1, &tags, cancelled, &error));
  g_assert_true (descriptor == GANTRY_CONTRACT_UNTOUCHED && stream == GANTRY_CONTRACT_UNTOUCHED
                 && tags == GANTRY_CONTRACT_UNTOUCHED);
  close (fd);
}

static const GantryContractCase cases[] = {
  { "complete", test_complete },
  { "manifests", test_manifests },
  { "blobs", test_blobs },
  { "chunks-and-mounts", test_chunks_and_mounts },
  { "threads", test_threads },
  { "streams", test_streams },
  { "tags", test_tags },
  { "referrers", test_referrers },
  { "bad-arguments", test_bad_arguments },
  { "wrong-digest", test_wrong_digest },
  { "cancelled", test_cancelled },
  { NULL, NULL },
};

const GantryContractSuite gantry_contract_registry = { GANTRY_REGISTRY_TYPE, cases };
