/* SPDX-License-Identifier: MIT
 *
 * The contract of org.gantry.differ.v1: applying layers. */
#include "differ-cases.h"

#include <string.h>
#include <unistd.h>

#define N_THREADS 4
#define NAMESPACE "contract"
#define N_ZEROS   (64 * 1024 * 1024)

static void
test_can_apply (DifferFixture *fixture)
{
  g_assert_true (gantry_differ_can_apply (fixture->differ, TAR));
  g_assert_true (gantry_differ_can_apply (fixture->differ, TAR "+gzip"));
  g_assert_true (
      gantry_differ_can_apply (fixture->differ, "application/vnd.docker.image.rootfs.diff.tar.gzip"));
  g_assert_false (gantry_differ_can_apply (fixture->differ, "application/vnd.oci.image.manifest.v1+json"));
  g_assert_false (gantry_differ_can_apply (fixture->differ, "text/plain"));
  g_assert_false (gantry_differ_can_apply (fixture->differ, ""));
}

static void
test_apply (DifferFixture *fixture)
{
  g_autoptr (GPtrArray) mounts = differ_make_tree (fixture, NULL);
  g_autoptr (GBytes) tar
      = differ_make_tar ("etc/", '5', "", "etc/hosts", '0', "127.0.0.1", "link", '2', "etc/hosts", NULL);
  g_autofree char *digest = differ_digest_of (tar);
  g_autoptr (GantryDescriptor) diff = differ_apply_bytes (fixture, tar, mounts);

  g_assert_cmpstr (diff->digest, ==, digest);
  g_assert_cmpuint (diff->blob_size, ==, g_bytes_get_size (tar));
  g_assert_cmpstr (diff->media_type, ==, TAR);
  differ_assert_look (fixture, mounts, "etc", "dir");
  differ_assert_look (fixture, mounts, "etc/hosts", "file:127.0.0.1");
  differ_assert_look (fixture, mounts, "link", "link:etc/hosts");
  differ_assert_look (fixture, mounts, "absent", NULL);
}

static void
test_apply_empty (DifferFixture *fixture)
{
  g_autoptr (GPtrArray) mounts = differ_make_tree (fixture, NULL);
  g_autoptr (GBytes) tar = differ_make_tar (NULL, NULL);
  g_autoptr (GantryDescriptor) diff = differ_apply_bytes (fixture, tar, mounts);

  g_assert_cmpuint (diff->blob_size, ==, g_bytes_get_size (tar));
}

static void
test_apply_on_parent (DifferFixture *fixture)
{
  g_autoptr (GBytes) first = differ_make_tar ("a", '0', "1", "b", '0', "1", "d/", '5', "", "d/x", '0', "x",
                                              "o/", '5', "", "o/x", '0', "x", NULL);
  g_autoptr (GBytes) second = differ_make_tar ("b", '0', "2", ".wh.a", '0', "", "d/.wh.x", '0', "", "d/y",
                                               '0', "y", "o/.wh..wh..opq", '0', "", "o/y", '0', "y", NULL);
  g_autoptr (GPtrArray) lower = differ_make_filled_tree (fixture, NULL, first);
  g_autoptr (GPtrArray) upper = differ_make_filled_tree (fixture, lower, second);

  differ_assert_look (fixture, upper, "a", NULL);
  differ_assert_look (fixture, upper, "b", "file:2");
  differ_assert_look (fixture, upper, "d/x", NULL);
  differ_assert_look (fixture, upper, "d/y", "file:y");
  differ_assert_look (fixture, upper, "o/x", NULL);
  differ_assert_look (fixture, upper, "o/y", "file:y");
  /* The parent is as it was. */
  differ_assert_look (fixture, lower, "a", "file:1");
  differ_assert_look (fixture, lower, "b", "file:1");
  differ_assert_look (fixture, lower, "d/x", "file:x");
}

static void
test_media_type (DifferFixture *fixture)
{
  g_autoptr (GPtrArray) mounts = differ_make_tree (fixture, NULL);
  g_autoptr (GBytes) tar = differ_make_tar ("a", '0', "1", NULL);
  g_autoptr (GantryDescriptor) layer = differ_put (fixture, tar, "application/x-unheard-of");
  g_autofree char *message = differ_refuse (fixture, layer, mounts, NULL, NULL, GANTRY_ERROR_NOT_IMPLEMENTED);

  g_assert_nonnull (strstr (message, "application/x-unheard-of"));
  differ_assert_look (fixture, mounts, "a", NULL);
}

static void
test_absent_blob (DifferFixture *fixture)
{
  g_autoptr (GPtrArray) mounts = differ_make_tree (fixture, NULL);
  g_autoptr (GantryDescriptor) layer
      = gantry_descriptor_new (TAR, "sha256:0000000000000000000000000000000000000000000000000000000000000000",
                               5, NULL);
  g_autofree char *message = differ_refuse (fixture, layer, mounts, NULL, NULL, GANTRY_ERROR_NOT_FOUND);

  g_assert_nonnull (strstr (message, layer->digest));
}

static void
test_broken (DifferFixture *fixture)
{
  g_autoptr (GPtrArray) mounts = differ_make_tree (fixture, NULL);
  g_autofree char *garbage = g_strnfill (5000, '?');
  g_autoptr (GBytes) bytes = g_bytes_new (garbage, 5000);
  g_autoptr (GantryDescriptor) layer = differ_put (fixture, bytes, TAR);
  g_autofree char *message
      = differ_refuse (fixture, layer, mounts, NULL, NULL, GANTRY_ERROR_INVALID_ARGUMENT);
  g_autoptr (GBytes) whole = differ_make_tar ("long", '0', garbage, NULL);
  g_autoptr (GBytes) cut = g_bytes_new_from_bytes (whole, 0, 2 * BLOCK);
  g_autoptr (GantryDescriptor) truncated = differ_put (fixture, cut, TAR);
  g_autofree char *truncated_message = NULL;

  g_assert_nonnull (message);
  truncated_message = differ_refuse (fixture, truncated, mounts, NULL, NULL, GANTRY_ERROR_INVALID_ARGUMENT);
  g_assert_nonnull (truncated_message);
}

static void
test_hostile (DifferFixture *fixture)
{
  static const char *const names[] = { "../evil", "a/../../evil" };

  for (gsize i = 0; i < G_N_ELEMENTS (names); i++)
    {
      g_autoptr (GPtrArray) mounts = differ_make_tree (fixture, NULL);
      g_autoptr (GBytes) tar = differ_make_tar (names[i], '0', "x", NULL);
      g_autoptr (GantryDescriptor) layer = differ_put (fixture, tar, TAR);
      g_autofree char *message
          = differ_refuse (fixture, layer, mounts, NULL, NULL, GANTRY_ERROR_INVALID_ARGUMENT);

      g_assert_nonnull (strstr (message, names[i]));
    }
}

static void
test_no_mounts (DifferFixture *fixture)
{
  g_autoptr (GPtrArray) mounts = g_ptr_array_new ();
  g_autoptr (GBytes) tar = differ_make_tar ("a", '0', "1", NULL);
  g_autoptr (GantryDescriptor) layer = differ_put (fixture, tar, TAR);
  g_autofree char *message
      = differ_refuse (fixture, layer, mounts, NULL, NULL, GANTRY_ERROR_INVALID_ARGUMENT);

  g_assert_nonnull (message);
}

/* The names come from what has read the layer, so a layer may have had a say in them. */
static void
test_settle_outside (DifferFixture *fixture)
{
  static const char *const implied[] = { "..\n", "d/../..\n", "../../d\n" };
  g_autoptr (GBytes) tar = differ_make_tar ("d/", '5', "", NULL);
  g_autoptr (GPtrArray) below = differ_make_filled_tree (fixture, NULL, tar);
  g_autoptr (GPtrArray) mounts = differ_make_filled_tree (fixture, NULL, tar);
  g_autofree char *digest = differ_digest_of (tar);

  if (!GANTRY_CONTRACT_HAS (fixture->differ, GantryDifferVtable, settle))
    return;
  for (gsize i = 0; i < G_N_ELEMENTS (implied); i++)
    {
      g_autoptr (GVariant) annotations
          = g_variant_ref_sink (g_variant_new_parsed ("{%s: %s}", GANTRY_DIFF_IMPLIED, implied[i]));
      g_autoptr (GantryDescriptor) diff
          = gantry_descriptor_new (TAR, digest, g_bytes_get_size (tar), annotations);
      g_autoptr (GError) error = NULL;

      g_assert_false (gantry_differ_settle (fixture->differ, diff, below, mounts, NULL, &error));
      g_assert_true (gantry_error_is (error, GANTRY_ERROR_INTERNAL));
    }
}

static void
test_cancelled (DifferFixture *fixture)
{
  g_autoptr (GPtrArray) mounts = differ_make_tree (fixture, NULL);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GBytes) tar = differ_make_tar ("a", '0', "1", NULL);
  g_autoptr (GantryDescriptor) layer = differ_put (fixture, tar, TAR);
  g_autofree char *message = NULL;

  g_cancellable_cancel (cancellable);
  message = differ_refuse (fixture, layer, mounts, NULL, cancellable, GANTRY_ERROR_CANCELLED);
  g_assert_nonnull (message);
}

static void
test_options (DifferFixture *fixture)
{
  g_autoptr (GPtrArray) mounts = differ_make_tree (fixture, NULL);
  g_autoptr (GBytes) tar = differ_make_tar ("a", '0', "1", NULL);
  g_autoptr (GantryDescriptor) layer = differ_put (fixture, tar, TAR);
  g_autofree char *message
      = differ_refuse (fixture, layer, mounts, g_variant_new_parsed ("{'uid-map': <'nonsense'>}"), NULL,
                       GANTRY_ERROR_INVALID_ARGUMENT);
  g_autofree char *typed = differ_refuse (fixture, layer, mounts, g_variant_new_parsed ("{'sync': <'yes'>}"),
                                          NULL, GANTRY_ERROR_INVALID_ARGUMENT);

  g_assert_nonnull (strstr (message, "nonsense"));
  g_assert_nonnull (strstr (typed, "sync"));
}

static GVariant *
only_bin (void)
{
  return g_variant_new_parsed ("{'only': <['bin']>}");
}

/* A part of a layer: what is not asked for is not even looked at, and the DiffID is that of the whole. */
static void
test_only (DifferFixture *fixture)
{
  g_autoptr (GPtrArray) mounts = differ_make_tree (fixture, NULL);
  g_autoptr (GBytes) tar = differ_make_tar ("bin/", '5', "", "bin/tool", '0', "1", "binary", '0', "2",
                                            "etc/link", '2', "../bin", "bin/sub/more", '0', "3", NULL);
  g_autofree char *digest = differ_digest_of (tar);
  g_autoptr (GantryDescriptor) layer = differ_put (fixture, tar, TAR);
  GantryDescriptor *diff = NULL;

  CONTRACT_OK (gantry_differ_apply (fixture->differ, layer, fixture->content, mounts, only_bin (), NULL, NULL,
                                    &diff, NULL, &error));
  g_assert_cmpstr (diff->digest, ==, digest);
  differ_assert_look (fixture, mounts, "bin/tool", "file:1");
  differ_assert_look (fixture, mounts, "bin/sub/more", "file:3");
  differ_assert_look (fixture, mounts, "binary", NULL);
  differ_assert_look (fixture, mounts, "etc", NULL);
  gantry_descriptor_unref (diff);
}

static void
test_only_refuses (DifferFixture *fixture)
{
  GBytes *tars[] = { differ_make_tar ("bin", '0', "1", NULL), differ_make_tar ("bin/link", '2', "tool", NULL),
                     differ_make_tar ("/bin/tool", '0', "1", NULL) };

  for (gsize i = 0; i < G_N_ELEMENTS (tars); i++)
    {
      g_autoptr (GPtrArray) mounts = differ_make_tree (fixture, NULL);
      g_autoptr (GantryDescriptor) layer = differ_put (fixture, tars[i], TAR);
      g_autofree char *message
          = differ_refuse (fixture, layer, mounts, only_bin (), NULL, GANTRY_ERROR_INVALID_ARGUMENT);

      g_assert_nonnull (strstr (message, "bin"));
      g_bytes_unref (tars[i]);
    }
}

static void
remember_progress (guint64 bytes, gpointer user_data)
{
  guint64 *last = user_data;

  g_assert_cmpuint (bytes, >=, *last);
  *last = bytes;
}

static void
note_end (gpointer data)
{
  *(gboolean *)data = TRUE;
}

/* Options that nobody else holds are gone after the call, whether it does anything or not. */
static void
test_floating_options (DifferFixture *fixture)
{
  static const char *const types[] = { TAR, "text/plain" };
  g_autoptr (GBytes) tar = differ_make_tar ("a", '0', "x", NULL);

  for (gsize i = 0; i < G_N_ELEMENTS (types); i++)
    {
      g_autoptr (GPtrArray) mounts = differ_make_tree (fixture, NULL);
      g_autoptr (GantryDescriptor) layer = differ_put (fixture, tar, types[i]);
      g_autoptr (GantryDescriptor) diff = NULL;
      g_autoptr (GError) error = NULL;
      gboolean ended = FALSE;

      gantry_differ_apply (fixture->differ, layer, fixture->content, mounts,
                           g_variant_new_from_data (G_VARIANT_TYPE_VARDICT, "", 0, TRUE, note_end, &ended),
                           NULL, NULL, &diff, NULL, &error);
      g_assert_true (ended);
      g_assert_true ((diff != NULL) == (i == 0));
    }
}

static void
test_progress (DifferFixture *fixture)
{
  g_autoptr (GPtrArray) mounts = differ_make_tree (fixture, NULL);
  g_autofree char *text = g_strnfill (100000, 'x');
  g_autoptr (GBytes) tar = differ_make_tar ("a", '0', text, NULL);
  g_autoptr (GantryDescriptor) layer = differ_put (fixture, tar, TAR);
  g_autoptr (GantryDescriptor) diff = NULL;
  GError *error = NULL;
  guint64 last = 0;

  gantry_differ_apply (fixture->differ, layer, fixture->content, mounts, NULL, remember_progress, &last,
                       &diff, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (last, <=, g_bytes_get_size (tar));
}

typedef struct
{
  DifferFixture *fixture;
  GPtrArray *mounts;
  GBytes *tar;
} Racer;

static gpointer
race (gpointer data)
{
  Racer *self = data;

  for (int i = 0; i < 2; i++)
    {
      GantryDescriptor *diff = differ_apply_bytes (self->fixture, self->tar, self->mounts);

      gantry_descriptor_unref (diff);
    }
  return NULL;
}

static void
test_threads (DifferFixture *fixture)
{
  GThread *threads[N_THREADS];
  Racer racers[N_THREADS];

  for (int i = 0; i < N_THREADS; i++)
    {
      g_autofree char *text = g_strdup_printf ("%d", i);

      racers[i]
          = (Racer){ fixture, differ_make_tree (fixture, NULL), differ_make_tar ("a", '0', text, NULL) };
    }
  for (int i = 0; i < N_THREADS; i++)
    threads[i] = g_thread_new ("apply", race, &racers[i]);
  for (int i = 0; i < N_THREADS; i++)
    {
      g_autofree char *expected = g_strdup_printf ("file:%d", i);

      g_thread_join (threads[i]);
      differ_assert_look (fixture, racers[i].mounts, "a", expected);
      g_ptr_array_unref (racers[i].mounts);
      g_bytes_unref (racers[i].tar);
    }
}

static void
cancel_on_progress (guint64 bytes, gpointer user_data)
{
  (void)bytes;
  g_cancellable_cancel (user_data);
}

/* A large layer is being unpacked when the caller loses patience. */
static void
test_cancel_while_applying (DifferFixture *fixture)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GPtrArray) mounts = differ_make_tree (fixture, NULL);
  /* Zeros are an archive's end followed by padding, all of which is read for the DiffID. */
  g_autoptr (GBytes) zeros = g_bytes_new_take (g_malloc0 (N_ZEROS), N_ZEROS);
  g_autoptr (GantryDescriptor) layer = differ_put (fixture, zeros, TAR);
  GantryDescriptor *diff = NULL;
  g_autoptr (GError) error = NULL;

  g_assert_false (gantry_differ_apply (fixture->differ, layer, fixture->content, mounts, NULL,
                                       cancel_on_progress, cancellable, &diff, cancellable, &error));
  g_assert_true (gantry_error_is (error, GANTRY_ERROR_CANCELLED));
  g_assert_null (diff);
}

/* Content that keeps labels: a store's view, with a lease against its collections. Returns: (transfer full).
 */
static GantryContent *
open_content (GantryContractFixture *contract)
{
  GantryMetadata *metadata = contract->get (contract, GANTRY_METADATA_TYPE);
  GantryStore *store = contract->get (contract, GANTRY_STORE_TYPE);
  g_autoptr (GantryRecord) lease = gantry_record_new (GANTRY_KIND_LEASE, NAMESPACE, "lease", NULL, NULL);
  g_autoptr (GantryChange) change = gantry_change_new (GANTRY_CHANGE_CREATE, lease);
  GantryContent *content = NULL;

  CONTRACT_OK (gantry_metadata_apply_one (metadata, change, NULL, NULL, &error));
  CONTRACT_OK (gantry_store_open_content (store, NAMESPACE, "lease", NULL, &content, NULL, &error));
  return content;
}

static void
run (GantryContractFixture *contract, gboolean overlay, void (*test) (DifferFixture *fixture))
{
  DifferFixture fixture = { contract, contract->instance, NULL, overlay, 0 };

  if (!differ_in_memory (&fixture) && geteuid () != 0)
    {
      g_test_skip ("mounting takes root");
      return;
    }
  fixture.content = open_content (contract);
  test (&fixture);
  gantry_content_unref (fixture.content);
}

/* Each case, on plain directories and on overlays. */
#define CASES(X)                                                                                             \
  X ("can-apply", test_can_apply)                                                                            \
  X ("apply", test_apply)                                                                                    \
  X ("apply-empty", test_apply_empty)                                                                        \
  X ("apply-on-parent", test_apply_on_parent)                                                                \
  X ("media-type", test_media_type)                                                                          \
  X ("absent-blob", test_absent_blob)                                                                        \
  X ("broken", test_broken)                                                                                  \
  X ("hostile", test_hostile)                                                                                \
  X ("no-mounts", test_no_mounts)                                                                            \
  X ("settle-outside", test_settle_outside)                                                                  \
  X ("cancelled", test_cancelled)                                                                            \
  X ("options", test_options)                                                                                \
  X ("floating-options", test_floating_options)                                                              \
  X ("only", test_only)                                                                                      \
  X ("only-refuses", test_only_refuses)                                                                      \
  X ("progress", test_progress)                                                                              \
  X ("threads", test_threads)                                                                                \
  X ("compare", differ_test_compare)                                                                         \
  X ("compare-again", differ_test_compare_again)                                                             \
  X ("compare-media-type", differ_test_compare_media_type)                                                   \
  X ("compare-cancelled", differ_test_compare_cancelled)                                                     \
  X ("recompress", differ_test_recompress)                                                                   \
  X ("recompress-refused", differ_test_recompress_refused)                                                   \
  X ("cancel-while-applying", test_cancel_while_applying)

#define DEFINE_RUNNERS(name, func)                                                                           \
  static void plain_##func (GantryContractFixture *contract)                                                 \
  {                                                                                                          \
    run (contract, FALSE, func);                                                                             \
  }                                                                                                          \
  static void overlay_##func (GantryContractFixture *contract)                                               \
  {                                                                                                          \
    run (contract, TRUE, func);                                                                              \
  }
CASES (DEFINE_RUNNERS)

#define LIST_CASES(name, func) { "plain/" name, plain_##func }, { "overlay/" name, overlay_##func },
static const GantryContractCase cases[] = { CASES (LIST_CASES){ NULL, NULL } };

const GantryContractSuite gantry_contract_differ = { GANTRY_DIFFER_TYPE, cases };
