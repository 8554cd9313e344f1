/* SPDX-License-Identifier: MIT
 *
 * The contract of org.gantry.differ.v1: making layers, and layers of layers. */
#include "differ-cases.h"

static gboolean
can_compare (DifferFixture *fixture)
{
  if (GANTRY_HAS (fixture->differ->vtable, GantryDifferVtable, compare))
    return TRUE;
  g_test_skip ("this differ makes no layers");
  return FALSE;
}

static GantryDescriptor *
compare_trees (DifferFixture *fixture, GPtrArray *lower, GPtrArray *upper, const char *media_type,
               const char *ref)
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
void
differ_test_compare (DifferFixture *fixture)
{
  g_autoptr (GBytes) first
      = differ_make_tar ("a", '0', "1", "b", '0', "1", "c", '0', "1", "d/", '5', "", "d/x", '0', "x", NULL);
  g_autoptr (GBytes) second = differ_make_tar ("b", '0', "22", ".wh.a", '0', "", "d/.wh.x", '0', "", "d/y",
                                               '0', "y", "l", '2', "b", NULL);
  g_autoptr (GPtrArray) lower = differ_make_filled_tree (fixture, NULL, first);
  g_autoptr (GPtrArray) copy = differ_make_tree (fixture, lower);
  g_autoptr (GPtrArray) upper = differ_make_filled_tree (fixture, lower, second);
  g_autoptr (GantryDescriptor) layer = NULL;
  g_autoptr (GantryDescriptor) diff = NULL;
  g_autoptr (GantryContentInfo) info = NULL;
  GError *error = NULL;

  if (!can_compare (fixture))
    return;
  layer = compare_trees (fixture, lower, upper, TAR, "compare-1");
  gantry_differ_apply (fixture->differ, layer, fixture->content, copy, NULL, NULL, NULL, &diff, NULL, &error);
  g_assert_no_error (error);
  differ_assert_look (fixture, copy, "a", NULL);
  differ_assert_look (fixture, copy, "b", "file:22");
  differ_assert_look (fixture, copy, "c", "file:1");
  differ_assert_look (fixture, copy, "d/x", NULL);
  differ_assert_look (fixture, copy, "d/y", "file:y");
  differ_assert_look (fixture, copy, "l", "link:b");
  gantry_content_info (fixture->content, layer->digest, &info, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (info->blob_size, ==, layer->blob_size);
  g_assert_cmpstr (gantry_labels_lookup (info->labels, "containerd.io/uncompressed"), ==, diff->digest);
  g_assert_cmpstr (gantry_labels_lookup (info->labels, "mine"), ==, "yes");
}

void
differ_test_compare_again (DifferFixture *fixture)
{
  g_autoptr (GPtrArray) lower = differ_make_tree (fixture, NULL);
  g_autoptr (GBytes) tar = differ_make_tar ("a", '0', "1", "b/", '5', "", NULL);
  g_autoptr (GPtrArray) upper = differ_make_filled_tree (fixture, lower, tar);
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

void
differ_test_compare_media_type (DifferFixture *fixture)
{
  g_autoptr (GPtrArray) lower = differ_make_tree (fixture, NULL);
  g_autoptr (GPtrArray) upper = differ_make_tree (fixture, lower);
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

void
differ_test_compare_cancelled (DifferFixture *fixture)
{
  g_autoptr (GPtrArray) lower = differ_make_tree (fixture, NULL);
  g_autoptr (GPtrArray) upper = differ_make_tree (fixture, lower);
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

/* A layer in another compression is the same tar, and without a ref only its DiffID is found. */
void
differ_test_recompress (DifferFixture *fixture)
{
  g_autoptr (GBytes) tar = differ_make_tar ("a", '0', "1", "d/", '5', "", NULL);
  g_autoptr (GantryDescriptor) layer = differ_put (fixture, tar, TAR);
  g_autoptr (GantryDescriptor) packed = NULL, again = NULL;
  GantryDescriptor *none = NULL;
  g_autofree char *digest = differ_digest_of (tar), *first = NULL, *second = NULL, *third = NULL;
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

void
differ_test_recompress_refused (DifferFixture *fixture)
{
  g_autoptr (GBytes) rubbish = g_bytes_new_static ("\x1f\x8b\x08 and no more", 15);
  g_autoptr (GantryDescriptor) broken = differ_put (fixture, rubbish, TAR "+gzip");
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
