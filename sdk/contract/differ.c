/* SPDX-License-Identifier: MIT
 *
 * The contract of org.gantry.differ.v1. Trees are made as snapshotters would describe them: on plain
 * directories, where what is below is copied, and on overlays. A differ in memory gets trees in memory. */
#include <gantry/differ.h>
#include <gantry/store.h>

#include <string.h>
#include <unistd.h>

#include "suites.h"
#include "trees.h"

#define TAR       "application/vnd.oci.image.layer.v1.tar"
#define BLOCK     512
#define N_THREADS 4
#define NAMESPACE "contract"
#define N_ZEROS   (64 * 1024 * 1024)

typedef struct
{
  GantryContractFixture *contract;
  GantryDiffer *differ;
  GantryContent *content; /* blobs are put here, compare () writes here */
  gboolean overlay;
  int n_trees; /* (atomic) */
} Fixture;

/* Trees. */

static gboolean
in_memory (Fixture *self)
{
  return self->contract->restart == NULL;
}

static char *
subdirectory (Fixture *self, int tree, const char *name)
{
  char *path = g_strdup_printf ("%s/%d/%s", self->contract->scratch, tree, name);

  g_assert_cmpint (g_mkdir_with_parents (path, 0755), ==, 0);
  return path;
}

static const char *
get_option (GPtrArray *mounts, const char *key)
{
  const GantryMount *mount = g_ptr_array_index (mounts, 0);

  for (gsize i = 0; mount->options[i] != NULL; i++)
    if (g_str_has_prefix (mount->options[i], key))
      return mount->options[i] + strlen (key);
  return NULL;
}

/* What an overlay snapshotter would give: an overlay on top of anything. */
static GPtrArray *
make_overlay (Fixture *self, int tree, GPtrArray *lower)
{
  const GantryMount *below = g_ptr_array_index (lower, 0);
  g_autofree char *upper = subdirectory (self, tree, "fs");
  g_autofree char *work = subdirectory (self, tree, "work");
  const char *upperdir = get_option (lower, "upperdir=");
  g_autofree char *lowers = upperdir != NULL
                                ? g_strconcat (upperdir, ":", get_option (lower, "lowerdir="), NULL)
                                : g_strdup (below->source);
  g_autofree char *lower_option = g_strconcat ("lowerdir=", lowers, NULL);
  g_autofree char *upper_option = g_strconcat ("upperdir=", upper, NULL);
  g_autofree char *work_option = g_strconcat ("workdir=", work, NULL);
  const char *const options[] = { lower_option, upper_option, work_option, NULL };
  GPtrArray *mounts = g_ptr_array_new_with_free_func (gantry_value_unref);

  g_ptr_array_add (mounts, gantry_mount_new ("overlay", "overlay", NULL, options));
  return mounts;
}

/* An empty tree, on top of @lower (nullable). Returns: (transfer full) (element-type GantryMount). */
static GPtrArray *
make_tree (Fixture *self, GPtrArray *lower)
{
  static const char *const options[] = { "rbind", "rw", NULL };
  const char *below = lower != NULL ? ((GantryMount *)g_ptr_array_index (lower, 0))->source : NULL;
  int tree = g_atomic_int_add (&self->n_trees, 1);
  g_autofree char *path = NULL;
  GPtrArray *mounts;

  if (in_memory (self))
    {
      path = gantry_fake_tree_new (below);
      return gantry_fake_tree_mounts (path, TRUE);
    }
  if (self->overlay && lower != NULL)
    return make_overlay (self, tree, lower);
  path = subdirectory (self, tree, "fs");
  if (lower != NULL)
    {
      g_autofree char *from = g_strconcat (below, "/.", NULL);
      const char *argv[] = { "cp", "-a", from, path, NULL };
      int status;

      g_assert_true (g_spawn_sync (NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL,
                                   &status, NULL));
      g_assert_cmpint (status, ==, 0);
    }
  mounts = g_ptr_array_new_with_free_func (gantry_value_unref);
  g_ptr_array_add (mounts, gantry_mount_new ("bind", path, NULL, options));
  return mounts;
}

static char *
look (Fixture *self, GPtrArray *mounts, const char *path)
{
  g_autofree char *point
      = g_strdup_printf ("%s/point-%d", self->contract->scratch, g_atomic_int_add (&self->n_trees, 1));

  return gantry_trees_look (mounts, point, path);
}

/* Tar archives, ustar only. */

static void
append_entry (GByteArray *tar, const char *name, char type, const char *text)
{
  gsize length = type == '0' ? strlen (text) : 0;
  char header[BLOCK] = { 0 };
  unsigned sum = 8 * ' ';
  guint padded;

  g_strlcpy (header, name, 100);
  memcpy (header + 100, type == '5' ? "0000755" : "0000644", 8);
  memcpy (header + 108, "0000000", 8);
  memcpy (header + 116, "0000000", 8);
  g_snprintf (header + 124, 12, "%011" G_GINT64_MODIFIER "o", (guint64)length);
  g_snprintf (header + 136, 12, "%011o", 1000000000);
  header[156] = type;
  if (type != '0')
    g_strlcpy (header + 157, text, 100);
  memcpy (header + 257,
          "ustar\0"
          "00",
          8);
  for (gsize i = 0; i < BLOCK; i++)
    sum += (guint8)header[i];
  g_snprintf (header + 148, 8, "%06o", sum);
  g_byte_array_append (tar, (const guint8 *)header, BLOCK);
  g_byte_array_append (tar, (const guint8 *)text, (guint)length);
  padded = (tar->len + BLOCK - 1) / BLOCK * BLOCK;
  while (tar->len < padded)
    g_byte_array_append (tar, (const guint8 *)"", 1);
}

/* Of (name, type, text) up to a NULL name. */
static GBytes *make_tar (const char *name, ...) G_GNUC_NULL_TERMINATED;

static GBytes *
make_tar (const char *name, ...)
{
  GByteArray *tar = g_byte_array_new ();
  static const guint8 end[2 * BLOCK];
  va_list args;

  va_start (args, name);
  while (name != NULL)
    {
      int type = va_arg (args, int);

      append_entry (tar, name, (char)type, va_arg (args, const char *));
      name = va_arg (args, const char *);
    }
  va_end (args);
  g_byte_array_append (tar, end, sizeof end);
  return g_byte_array_free_to_bytes (tar);
}

static char *
digest_of (GBytes *bytes)
{
  g_autofree char *hex = g_compute_checksum_for_bytes (G_CHECKSUM_SHA256, bytes);

  return g_strconcat ("sha256:", hex, NULL);
}

/* Puts @bytes into the fixture's store. Returns: (transfer full). */
static GantryDescriptor *
put (Fixture *fixture, GBytes *bytes, const char *media_type)
{
  static int n_refs;
  g_autofree char *ref = g_strdup_printf ("contract-%d", g_atomic_int_add (&n_refs, 1));
  g_autofree char *digest = digest_of (bytes);
  g_autofree char *committed = NULL;
  g_autoptr (GantryIngest) ingest = NULL;
  g_autoptr (GError) error = NULL;
  gsize size;
  const void *data = g_bytes_get_data (bytes, &size);

  if (gantry_content_open_ingest (fixture->content, ref, size, digest, &ingest, NULL, &error))
    {
      g_assert_true (gantry_ingest_write (ingest, data, size, NULL, &error));
      g_assert_true (gantry_ingest_commit (ingest, size, digest, NULL, &committed, NULL, &error));
    }
  else
    g_assert_true (gantry_error_is (error, GANTRY_ERROR_ALREADY_EXISTS));
  return gantry_descriptor_new (media_type, digest, size, NULL);
}

static GantryDescriptor *
apply_bytes (Fixture *fixture, GBytes *tar, GPtrArray *mounts)
{
  g_autoptr (GantryDescriptor) layer = put (fixture, tar, TAR);
  GantryDescriptor *diff = NULL;
  GError *error = NULL;

  gantry_differ_apply (fixture->differ, layer, fixture->content, mounts, NULL, NULL, NULL, &diff, NULL,
                       &error);
  g_assert_no_error (error);
  g_assert_nonnull (diff);
  return diff;
}

/* A tree on top of @lower (nullable) with what @tar has. Returns: (transfer full). */
static GPtrArray *
make_filled_tree (Fixture *fixture, GPtrArray *lower, GBytes *tar)
{
  GPtrArray *mounts = make_tree (fixture, lower);
  GantryDescriptor *diff = apply_bytes (fixture, tar, mounts);

  gantry_descriptor_unref (diff);
  return mounts;
}

/* Applies what must be refused with @code. Returns: (transfer full): the message. */
static char *
refuse (Fixture *fixture, GantryDescriptor *layer, GPtrArray *mounts, GVariant *options,
        GCancellable *cancellable, GantryErrorCode code)
{
  g_autoptr (GVariant) held = options != NULL ? g_variant_ref_sink (options) : NULL;
  GantryDescriptor *const untouched = (GantryDescriptor *)fixture;
  GantryDescriptor *diff = untouched;
  g_autoptr (GError) error = NULL;

  g_assert_false (gantry_differ_apply (fixture->differ, layer, fixture->content, mounts, held, NULL, NULL,
                                       &diff, cancellable, &error));
  g_assert_nonnull (error);
  g_assert_cmpstr (gantry_error_code_to_name (gantry_error_classify (error)), ==,
                   gantry_error_code_to_name (code));
  g_assert_true (diff == untouched);
  return g_strdup (error->message);
}

static void
assert_look (Fixture *fixture, GPtrArray *mounts, const char *path, const char *expected)
{
  g_autofree char *seen = look (fixture, mounts, path);

  g_assert_cmpstr (seen, ==, expected);
}

/* The tests. */

static void
test_can_apply (Fixture *fixture)
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
test_apply (Fixture *fixture)
{
  g_autoptr (GPtrArray) mounts = make_tree (fixture, NULL);
  g_autoptr (GBytes) tar
      = make_tar ("etc/", '5', "", "etc/hosts", '0', "127.0.0.1", "link", '2', "etc/hosts", NULL);
  g_autofree char *digest = digest_of (tar);
  g_autoptr (GantryDescriptor) diff = apply_bytes (fixture, tar, mounts);

  g_assert_cmpstr (diff->digest, ==, digest);
  g_assert_cmpuint (diff->blob_size, ==, g_bytes_get_size (tar));
  g_assert_cmpstr (diff->media_type, ==, TAR);
  assert_look (fixture, mounts, "etc", "dir");
  assert_look (fixture, mounts, "etc/hosts", "file:127.0.0.1");
  assert_look (fixture, mounts, "link", "link:etc/hosts");
  assert_look (fixture, mounts, "absent", NULL);
}

static void
test_apply_empty (Fixture *fixture)
{
  g_autoptr (GPtrArray) mounts = make_tree (fixture, NULL);
  g_autoptr (GBytes) tar = make_tar (NULL, NULL);
  g_autoptr (GantryDescriptor) diff = apply_bytes (fixture, tar, mounts);

  g_assert_cmpuint (diff->blob_size, ==, g_bytes_get_size (tar));
}

static void
test_apply_on_parent (Fixture *fixture)
{
  g_autoptr (GBytes) first = make_tar ("a", '0', "1", "b", '0', "1", "d/", '5', "", "d/x", '0', "x", "o/",
                                       '5', "", "o/x", '0', "x", NULL);
  g_autoptr (GBytes) second = make_tar ("b", '0', "2", ".wh.a", '0', "", "d/.wh.x", '0', "", "d/y", '0', "y",
                                        "o/.wh..wh..opq", '0', "", "o/y", '0', "y", NULL);
  g_autoptr (GPtrArray) lower = make_filled_tree (fixture, NULL, first);
  g_autoptr (GPtrArray) upper = make_filled_tree (fixture, lower, second);

  assert_look (fixture, upper, "a", NULL);
  assert_look (fixture, upper, "b", "file:2");
  assert_look (fixture, upper, "d/x", NULL);
  assert_look (fixture, upper, "d/y", "file:y");
  assert_look (fixture, upper, "o/x", NULL);
  assert_look (fixture, upper, "o/y", "file:y");
  /* The parent is as it was. */
  assert_look (fixture, lower, "a", "file:1");
  assert_look (fixture, lower, "b", "file:1");
  assert_look (fixture, lower, "d/x", "file:x");
}

static void
test_media_type (Fixture *fixture)
{
  g_autoptr (GPtrArray) mounts = make_tree (fixture, NULL);
  g_autoptr (GBytes) tar = make_tar ("a", '0', "1", NULL);
  g_autoptr (GantryDescriptor) layer = put (fixture, tar, "application/x-unheard-of");
  g_autofree char *message = refuse (fixture, layer, mounts, NULL, NULL, GANTRY_ERROR_NOT_IMPLEMENTED);

  g_assert_nonnull (strstr (message, "application/x-unheard-of"));
  assert_look (fixture, mounts, "a", NULL);
}

static void
test_absent_blob (Fixture *fixture)
{
  g_autoptr (GPtrArray) mounts = make_tree (fixture, NULL);
  g_autoptr (GantryDescriptor) layer
      = gantry_descriptor_new (TAR, "sha256:0000000000000000000000000000000000000000000000000000000000000000",
                               5, NULL);
  g_autofree char *message = refuse (fixture, layer, mounts, NULL, NULL, GANTRY_ERROR_NOT_FOUND);

  g_assert_nonnull (strstr (message, layer->digest));
}

static void
test_broken (Fixture *fixture)
{
  g_autoptr (GPtrArray) mounts = make_tree (fixture, NULL);
  g_autofree char *garbage = g_strnfill (5000, '?');
  g_autoptr (GBytes) bytes = g_bytes_new (garbage, 5000);
  g_autoptr (GantryDescriptor) layer = put (fixture, bytes, TAR);
  g_autofree char *message = refuse (fixture, layer, mounts, NULL, NULL, GANTRY_ERROR_INVALID_ARGUMENT);
  g_autoptr (GBytes) whole = make_tar ("long", '0', garbage, NULL);
  g_autoptr (GBytes) cut = g_bytes_new_from_bytes (whole, 0, 2 * BLOCK);
  g_autoptr (GantryDescriptor) truncated = put (fixture, cut, TAR);
  g_autofree char *truncated_message = NULL;

  g_assert_nonnull (message);
  truncated_message = refuse (fixture, truncated, mounts, NULL, NULL, GANTRY_ERROR_INVALID_ARGUMENT);
  g_assert_nonnull (truncated_message);
}

static void
test_hostile (Fixture *fixture)
{
  static const char *const names[] = { "../evil", "a/../../evil" };

  for (gsize i = 0; i < G_N_ELEMENTS (names); i++)
    {
      g_autoptr (GPtrArray) mounts = make_tree (fixture, NULL);
      g_autoptr (GBytes) tar = make_tar (names[i], '0', "x", NULL);
      g_autoptr (GantryDescriptor) layer = put (fixture, tar, TAR);
      g_autofree char *message = refuse (fixture, layer, mounts, NULL, NULL, GANTRY_ERROR_INVALID_ARGUMENT);

      g_assert_nonnull (strstr (message, names[i]));
    }
}

static void
test_no_mounts (Fixture *fixture)
{
  g_autoptr (GPtrArray) mounts = g_ptr_array_new ();
  g_autoptr (GBytes) tar = make_tar ("a", '0', "1", NULL);
  g_autoptr (GantryDescriptor) layer = put (fixture, tar, TAR);
  g_autofree char *message = refuse (fixture, layer, mounts, NULL, NULL, GANTRY_ERROR_INVALID_ARGUMENT);

  g_assert_nonnull (message);
}

static void
test_cancelled (Fixture *fixture)
{
  g_autoptr (GPtrArray) mounts = make_tree (fixture, NULL);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GBytes) tar = make_tar ("a", '0', "1", NULL);
  g_autoptr (GantryDescriptor) layer = put (fixture, tar, TAR);
  g_autofree char *message = NULL;

  g_cancellable_cancel (cancellable);
  message = refuse (fixture, layer, mounts, NULL, cancellable, GANTRY_ERROR_CANCELLED);
  g_assert_nonnull (message);
}

static void
test_options (Fixture *fixture)
{
  g_autoptr (GPtrArray) mounts = make_tree (fixture, NULL);
  g_autoptr (GBytes) tar = make_tar ("a", '0', "1", NULL);
  g_autoptr (GantryDescriptor) layer = put (fixture, tar, TAR);
  g_autofree char *message
      = refuse (fixture, layer, mounts, g_variant_new_parsed ("{'uid-map': <'nonsense'>}"), NULL,
                GANTRY_ERROR_INVALID_ARGUMENT);
  g_autofree char *typed = refuse (fixture, layer, mounts, g_variant_new_parsed ("{'sync': <'yes'>}"), NULL,
                                   GANTRY_ERROR_INVALID_ARGUMENT);

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
test_only (Fixture *fixture)
{
  g_autoptr (GPtrArray) mounts = make_tree (fixture, NULL);
  g_autoptr (GBytes) tar = make_tar ("bin/", '5', "", "bin/tool", '0', "1", "binary", '0', "2", "etc/link",
                                     '2', "../bin", "bin/sub/more", '0', "3", NULL);
  g_autofree char *digest = digest_of (tar);
  g_autoptr (GantryDescriptor) layer = put (fixture, tar, TAR);
  GantryDescriptor *diff = NULL;

  CONTRACT_OK (gantry_differ_apply (fixture->differ, layer, fixture->content, mounts, only_bin (), NULL, NULL,
                                    &diff, NULL, &error));
  g_assert_cmpstr (diff->digest, ==, digest);
  assert_look (fixture, mounts, "bin/tool", "file:1");
  assert_look (fixture, mounts, "bin/sub/more", "file:3");
  assert_look (fixture, mounts, "binary", NULL);
  assert_look (fixture, mounts, "etc", NULL);
  gantry_descriptor_unref (diff);
}

static void
test_only_refuses (Fixture *fixture)
{
  GBytes *tars[] = { make_tar ("bin", '0', "1", NULL), make_tar ("bin/link", '2', "tool", NULL),
                     make_tar ("/bin/tool", '0', "1", NULL) };

  for (gsize i = 0; i < G_N_ELEMENTS (tars); i++)
    {
      g_autoptr (GPtrArray) mounts = make_tree (fixture, NULL);
      g_autoptr (GantryDescriptor) layer = put (fixture, tars[i], TAR);
      g_autofree char *message
          = refuse (fixture, layer, mounts, only_bin (), NULL, GANTRY_ERROR_INVALID_ARGUMENT);

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
test_floating_options (Fixture *fixture)
{
  static const char *const types[] = { TAR, "text/plain" };
  g_autoptr (GBytes) tar = make_tar ("a", '0', "x", NULL);

  for (gsize i = 0; i < G_N_ELEMENTS (types); i++)
    {
      g_autoptr (GPtrArray) mounts = make_tree (fixture, NULL);
      g_autoptr (GantryDescriptor) layer = put (fixture, tar, types[i]);
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
test_progress (Fixture *fixture)
{
  g_autoptr (GPtrArray) mounts = make_tree (fixture, NULL);
  g_autofree char *text = g_strnfill (100000, 'x');
  g_autoptr (GBytes) tar = make_tar ("a", '0', text, NULL);
  g_autoptr (GantryDescriptor) layer = put (fixture, tar, TAR);
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
  Fixture *fixture;
  GPtrArray *mounts;
  GBytes *tar;
} Racer;

static gpointer
race (gpointer data)
{
  Racer *self = data;

  for (int i = 0; i < 2; i++)
    {
      GantryDescriptor *diff = apply_bytes (self->fixture, self->tar, self->mounts);

      gantry_descriptor_unref (diff);
    }
  return NULL;
}

static void
test_threads (Fixture *fixture)
{
  GThread *threads[N_THREADS];
  Racer racers[N_THREADS];

  for (int i = 0; i < N_THREADS; i++)
    {
      g_autofree char *text = g_strdup_printf ("%d", i);

      racers[i] = (Racer){ fixture, make_tree (fixture, NULL), make_tar ("a", '0', text, NULL) };
    }
  for (int i = 0; i < N_THREADS; i++)
    threads[i] = g_thread_new ("apply", race, &racers[i]);
  for (int i = 0; i < N_THREADS; i++)
    {
      g_autofree char *expected = g_strdup_printf ("file:%d", i);

      g_thread_join (threads[i]);
      assert_look (fixture, racers[i].mounts, "a", expected);
      g_ptr_array_unref (racers[i].mounts);
      g_bytes_unref (racers[i].tar);
    }
}

static gboolean
can_compare (Fixture *fixture)
{
  if (GANTRY_HAS (fixture->differ->vtable, GantryDifferVtable, compare))
    return TRUE;
  g_test_skip ("this differ makes no layers");
  return FALSE;
}

static GantryDescriptor *
compare_trees (Fixture *fixture, GPtrArray *lower, GPtrArray *upper, const char *media_type, const char *ref)
{
  g_autoptr (GVariant) labels = g_variant_ref_sink (g_variant_new_parsed ("{'mine': 'yes'}"));
  GantryDescriptor *layer = NULL;
  GError *error = NULL;

  gantry_differ_compare (fixture->differ, lower, upper, media_type, fixture->content, ref, labels, NULL,
                         &layer, NULL, &error);
  g_assert_no_error (error);
  g_assert_nonnull (layer);
  g_assert_cmpstr (layer->media_type, ==, media_type);
  return layer;
}

/* Applying what compare () found to the lower tree gives the upper one. */
static void
test_compare (Fixture *fixture)
{
  g_autoptr (GBytes) first
      = make_tar ("a", '0', "1", "b", '0', "1", "c", '0', "1", "d/", '5', "", "d/x", '0', "x", NULL);
  g_autoptr (GBytes) second
      = make_tar ("b", '0', "22", ".wh.a", '0', "", "d/.wh.x", '0', "", "d/y", '0', "y", "l", '2', "b", NULL);
  g_autoptr (GPtrArray) lower = make_filled_tree (fixture, NULL, first);
  g_autoptr (GPtrArray) copy = make_tree (fixture, lower);
  g_autoptr (GPtrArray) upper = make_filled_tree (fixture, lower, second);
  g_autoptr (GantryDescriptor) layer = NULL;
  g_autoptr (GantryDescriptor) diff = NULL;
  g_autoptr (GantryContentInfo) info = NULL;
  GError *error = NULL;

  if (!can_compare (fixture))
    return;
  layer = compare_trees (fixture, lower, upper, TAR, "compare-1");
  gantry_differ_apply (fixture->differ, layer, fixture->content, copy, NULL, NULL, NULL, &diff, NULL, &error);
  g_assert_no_error (error);
  assert_look (fixture, copy, "a", NULL);
  assert_look (fixture, copy, "b", "file:22");
  assert_look (fixture, copy, "c", "file:1");
  assert_look (fixture, copy, "d/x", NULL);
  assert_look (fixture, copy, "d/y", "file:y");
  assert_look (fixture, copy, "l", "link:b");
  gantry_content_info (fixture->content, layer->digest, &info, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (info->blob_size, ==, layer->blob_size);
  g_assert_cmpstr (gantry_labels_lookup (info->labels, "containerd.io/uncompressed"), ==, diff->digest);
  g_assert_cmpstr (gantry_labels_lookup (info->labels, "mine"), ==, "yes");
}

static void
test_compare_again (Fixture *fixture)
{
  g_autoptr (GPtrArray) lower = make_tree (fixture, NULL);
  g_autoptr (GBytes) tar = make_tar ("a", '0', "1", "b/", '5', "", NULL);
  g_autoptr (GPtrArray) upper = make_filled_tree (fixture, lower, tar);
  g_autoptr (GantryDescriptor) one = NULL;
  g_autoptr (GantryDescriptor) two = NULL;
  g_autoptr (GPtrArray) statuses = NULL;
  g_autoptr (GError) error = NULL;

  if (!can_compare (fixture))
    return;
  one = compare_trees (fixture, lower, upper, TAR, "compare-2");
  two = compare_trees (fixture, lower, upper, TAR, "compare-2");
  g_assert_cmpstr (one->digest, ==, two->digest);
  g_assert_true (gantry_content_list_ingests (fixture->content, NULL, &statuses, NULL, &error));
  g_assert_cmpuint (statuses->len, ==, 0);
}

static void
test_compare_media_type (Fixture *fixture)
{
  g_autoptr (GPtrArray) lower = make_tree (fixture, NULL);
  g_autoptr (GPtrArray) upper = make_tree (fixture, lower);
  g_autoptr (GPtrArray) statuses = NULL;
  g_autoptr (GError) error = NULL;
  g_autoptr (GError) list_error = NULL;
  GantryDescriptor *layer = NULL;

  if (!can_compare (fixture))
    return;
  g_assert_false (gantry_differ_compare (fixture->differ, lower, upper, "text/plain", fixture->content,
                                         "compare-3", NULL, NULL, &layer, NULL, &error));
  g_assert_true (gantry_error_is (error, GANTRY_ERROR_NOT_IMPLEMENTED));
  g_assert_null (layer);
  g_assert_true (gantry_content_list_ingests (fixture->content, NULL, &statuses, NULL, &list_error));
  g_assert_cmpuint (statuses->len, ==, 0);
}

static void
test_compare_cancelled (Fixture *fixture)
{
  g_autoptr (GPtrArray) lower = make_tree (fixture, NULL);
  g_autoptr (GPtrArray) upper = make_tree (fixture, lower);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;
  GantryDescriptor *layer = NULL;

  if (!can_compare (fixture))
    return;
  g_cancellable_cancel (cancellable);
  g_assert_false (gantry_differ_compare (fixture->differ, lower, upper, TAR, fixture->content, "compare-4",
                                         NULL, NULL, &layer, cancellable, &error));
  g_assert_true (gantry_error_is (error, GANTRY_ERROR_CANCELLED));
  g_assert_null (layer);
}

static void
cancel_on_progress (guint64 bytes, gpointer user_data)
{
  (void)bytes;
  g_cancellable_cancel (user_data);
}

/* A large layer is being unpacked when the caller loses patience. */
static void
test_cancel_while_applying (Fixture *fixture)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GPtrArray) mounts = make_tree (fixture, NULL);
  /* Zeros are an archive's end followed by padding, all of which is read for the DiffID. */
  g_autoptr (GBytes) zeros = g_bytes_new_take (g_malloc0 (N_ZEROS), N_ZEROS);
  g_autoptr (GantryDescriptor) layer = put (fixture, zeros, TAR);
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
run (GantryContractFixture *contract, gboolean overlay, void (*test) (Fixture *fixture))
{
  Fixture fixture = { contract, contract->instance, NULL, overlay, 0 };

  if (!in_memory (&fixture) && geteuid () != 0)
    {
      g_test_skip ("mounting takes root");
      return;
    }
  fixture.content = open_content (contract);
  test (&fixture);
  gantry_content_unref (fixture.content);
}

/* A layer in another compression is the same tar, and without a ref only its DiffID is found. */
static void
test_recompress (Fixture *fixture)
{
  g_autoptr (GBytes) tar = make_tar ("a", '0', "1", "d/", '5', "", NULL);
  g_autoptr (GantryDescriptor) layer = put (fixture, tar, TAR);
  g_autoptr (GantryDescriptor) packed = NULL, again = NULL;
  GantryDescriptor *none = NULL;
  g_autofree char *digest = digest_of (tar), *first = NULL, *second = NULL, *third = NULL;
  g_autoptr (GPtrArray) statuses = NULL;
  GError *error = NULL;

  if (!GANTRY_CONTRACT_HAS (fixture->differ, GantryDifferVtable, recompress))
    return;
  gantry_differ_recompress (fixture->differ, layer, fixture->content, TAR "+gzip", "recompress-1", NULL, NULL,
                            &packed, &first, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (first, ==, digest);
  g_assert_cmpstr (packed->media_type, ==, TAR "+gzip");
  g_assert_cmpstr (packed->digest, !=, digest);
  gantry_differ_recompress (fixture->differ, packed, fixture->content, TAR, "recompress-2", NULL, NULL,
                            &again, &second, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (again->digest, ==, digest);
  g_assert_cmpstr (second, ==, digest);
  gantry_differ_recompress (fixture->differ, packed, fixture->content, NULL, NULL, NULL, NULL, &none, &third,
                            NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (third, ==, digest);
  g_assert_null (none);
  g_assert_true (gantry_content_list_ingests (fixture->content, NULL, &statuses, NULL, &error));
  g_assert_cmpuint (statuses->len, ==, 0);
}

static void
test_recompress_refused (Fixture *fixture)
{
  g_autoptr (GBytes) rubbish = g_bytes_new_static ("\x1f\x8b\x08 and no more", 15);
  g_autoptr (GantryDescriptor) broken = put (fixture, rubbish, TAR "+gzip");
  const char *const types[] = { "text/plain", TAR "+gzip" };
  const GantryErrorCode codes[] = { GANTRY_ERROR_NOT_IMPLEMENTED, GANTRY_ERROR_INVALID_ARGUMENT };

  if (!GANTRY_CONTRACT_HAS (fixture->differ, GantryDifferVtable, recompress))
    return;
  for (gsize i = 0; i < G_N_ELEMENTS (types); i++)
    {
      g_autoptr (GPtrArray) statuses = NULL;
      GantryDescriptor *made = NULL;
      char *diff_id = NULL;
      g_autoptr (GError) error = NULL, list_error = NULL;

      g_assert_false (gantry_differ_recompress (fixture->differ, broken, fixture->content, types[i],
                                                "recompress-3", NULL, NULL, &made, &diff_id, NULL, &error));
      g_assert_true (gantry_error_is (error, codes[i]));
      g_assert_true (made == NULL && diff_id == NULL);
      g_assert_true (gantry_content_list_ingests (fixture->content, NULL, &statuses, NULL, &list_error));
      g_assert_cmpuint (statuses->len, ==, 0);
    }
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
  X ("cancelled", test_cancelled)                                                                            \
  X ("options", test_options)                                                                                \
  X ("floating-options", test_floating_options)                                                              \
  X ("only", test_only)                                                                                      \
  X ("only-refuses", test_only_refuses)                                                                      \
  X ("progress", test_progress)                                                                              \
  X ("threads", test_threads)                                                                                \
  X ("compare", test_compare)                                                                                \
  X ("compare-again", test_compare_again)                                                                    \
  X ("compare-media-type", test_compare_media_type)                                                          \
  X ("compare-cancelled", test_compare_cancelled)                                                            \
  X ("recompress", test_recompress)                                                                          \
  X ("recompress-refused", test_recompress_refused)                                                          \
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
