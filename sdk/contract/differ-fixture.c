/* SPDX-License-Identifier: MIT
 *
 * Trees as snapshotters would describe them: on plain directories, where what is below is copied, and on
 * overlays. A differ in memory gets trees in memory. */
#include "differ-cases.h"

#include <string.h>

#include "trees.h"

gboolean
differ_in_memory (DifferFixture *self)
{
  return self->contract->restart == NULL;
}

static char *
subdirectory (DifferFixture *self, int tree, const char *name)
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
make_overlay (DifferFixture *self, int tree, GPtrArray *lower)
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
GPtrArray *
differ_make_tree (DifferFixture *self, GPtrArray *lower)
{
  static const char *const options[] = { "rbind", "rw", NULL };
  const char *below = lower != NULL ? ((GantryMount *)g_ptr_array_index (lower, 0))->source : NULL;
  int tree = g_atomic_int_add (&self->n_trees, 1);
  g_autofree char *path = NULL;
  GPtrArray *mounts;

  if (differ_in_memory (self))
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
look (DifferFixture *self, GPtrArray *mounts, const char *path)
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

GBytes *
differ_make_tar (const char *name, ...)
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

char *
differ_digest_of (GBytes *bytes)
{
  g_autofree char *hex = g_compute_checksum_for_bytes (G_CHECKSUM_SHA256, bytes);

  return g_strconcat ("sha256:", hex, NULL);
}

GantryDescriptor *
differ_put (DifferFixture *fixture, GBytes *bytes, const char *media_type)
{
  static int n_refs;
  g_autofree char *ref = g_strdup_printf ("contract-%d", g_atomic_int_add (&n_refs, 1));
  g_autofree char *digest = differ_digest_of (bytes);
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

GantryDescriptor *
differ_apply_bytes (DifferFixture *fixture, GBytes *tar, GPtrArray *mounts)
{
  g_autoptr (GantryDescriptor) layer = differ_put (fixture, tar, TAR);
  GantryDescriptor *diff = NULL;
  GError *error = NULL;

  gantry_differ_apply (fixture->differ, layer, fixture->content, mounts, NULL, NULL, NULL, &diff, NULL,
                       &error);
  g_assert_no_error (error);
  g_assert_nonnull (diff);
  return diff;
}

GPtrArray *
differ_make_filled_tree (DifferFixture *fixture, GPtrArray *lower, GBytes *tar)
{
  GPtrArray *mounts = differ_make_tree (fixture, lower);
  GantryDescriptor *diff = differ_apply_bytes (fixture, tar, mounts);

  gantry_descriptor_unref (diff);
  return mounts;
}

char *
differ_refuse (DifferFixture *fixture, GantryDescriptor *layer, GPtrArray *mounts, GVariant *options,
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

void
differ_assert_look (DifferFixture *fixture, GPtrArray *mounts, const char *path, const char *expected)
{
  g_autofree char *seen = look (fixture, mounts, path);

  g_assert_cmpstr (seen, ==, expected);
}
