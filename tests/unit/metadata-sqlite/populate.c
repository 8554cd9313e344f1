/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Fills a database with one thing of each kind that a migration must carry over. Run as `make-fixture MODULE
 * DIRECTORY` it makes the fixture of the module's schema version: sqlite3 DIRECTORY/root/metadata.db .dump.
 */
#include "populate.h"

#include <string.h>

static GantryRecord *
record (const char *kind, const char *ns, const char *id, const char *const *labels, GVariant *fields)
{
  GVariantBuilder builder;

  g_variant_builder_init (&builder, G_VARIANT_TYPE ("a{ss}"));
  for (gsize i = 0; labels != NULL && labels[i] != NULL; i += 2)
    g_variant_builder_add (&builder, "{ss}", labels[i], labels[i + 1]);
  return gantry_record_new (kind, ns, id, g_variant_builder_end (&builder), fields);
}

void
populate_put (GantryMetadata *metadata, const char *kind, const char *ns, const char *id,
              const char *const *labels, GVariant *fields)
{
  g_autoptr (GantryRecord) one = record (kind, ns, id, labels, fields);
  g_autoptr (GantryChange) change = gantry_change_new (GANTRY_CHANGE_PUT, one);
  g_autoptr (GError) error = NULL;

  gantry_metadata_apply_one (metadata, change, NULL, NULL, &error);
  g_assert_no_error (error);
}

void
populate_delete (GantryMetadata *metadata, const char *kind, const char *ns, const char *id)
{
  g_autoptr (GantryRecord) one = gantry_record_new (kind, ns, id, NULL, NULL);
  g_autoptr (GantryChange) change = gantry_change_new (GANTRY_CHANGE_DELETE, one);
  g_autoptr (GError) error = NULL;

  gantry_metadata_apply_one (metadata, change, NULL, NULL, &error);
  g_assert_no_error (error);
}

void
populate_lease (GantryMetadata *metadata, const char *ns, const char *lease, const char *kind, const char *id,
                gboolean add)
{
  g_autoptr (GantryRecord) one = gantry_record_new (kind, ns, id, NULL, NULL);
  g_autoptr (GantryChange) change
      = gantry_change_new (add ? GANTRY_CHANGE_LEASE_ADD : GANTRY_CHANGE_LEASE_REMOVE, one);
  g_autoptr (GError) error = NULL;

  change->lease = g_strdup (lease);
  gantry_metadata_apply_one (metadata, change, NULL, NULL, &error);
  g_assert_no_error (error);
}

GVariant *
populate_target (const char *digest)
{
  g_autoptr (GantryDescriptor) target
      = gantry_descriptor_new ("application/vnd.oci.image.manifest.v1+json", digest, 7, NULL);
  GVariantDict fields;

  g_variant_dict_init (&fields, NULL);
  g_variant_dict_insert_value (&fields, "target", gantry_descriptor_to_variant (target));
  return g_variant_dict_end (&fields);
}

GVariant *
populate_size (guint64 size)
{
  GVariantDict fields;

  g_variant_dict_init (&fields, NULL);
  g_variant_dict_insert (&fields, "size", "t", size);
  return g_variant_dict_end (&fields);
}

GVariant *
populate_snapshot (GantrySnapshotKind kind, const char *parent, const char *backend)
{
  GVariantDict fields;

  g_variant_dict_init (&fields, NULL);
  g_variant_dict_insert (&fields, "kind", "u", (guint32)kind);
  g_variant_dict_insert (&fields, "parent", "s", parent != NULL ? parent : "");
  g_variant_dict_insert (&fields, "backend", "s", backend);
  return g_variant_dict_end (&fields);
}

static GVariant *
container_fields (void)
{
  GVariantDict fields;

  g_variant_dict_init (&fields, NULL);
  g_variant_dict_insert (&fields, "image", "s", "example.com/one:1");
  g_variant_dict_insert (&fields, "runtime", "s", "runc");
  g_variant_dict_insert (&fields, "snapshotter", "s", "overlay");
  g_variant_dict_insert (&fields, "snapshot-key", "s", "web");
  return g_variant_dict_end (&fields);
}

void
populate (GantryMetadata *metadata, GantrySnapshotIndex *index)
{
  static const char *const manifest[] = { "containerd.io/gc.ref.content.config", "sha256:config",
                                          "containerd.io/gc.ref.content.l.0", "sha256:layer", NULL };
  static const char *const config[] = { "containerd.io/gc.ref.snapshot.overlayfs", "chain", NULL };
  static const char *const past[] = { "containerd.io/gc.expire", "2001-02-03T04:05:06Z", NULL };
  static const char *const future[] = { "containerd.io/gc.expire", "2101-02-03T04:05:06+01:00", NULL };
  static const char *const plain[] = { "colour", "green", NULL };
  g_autoptr (GError) error = NULL;
  guint64 number;

  populate_put (metadata, GANTRY_KIND_NAMESPACE, "", "other", plain, NULL);
  populate_put (metadata, GANTRY_KIND_CONTENT, "default", "sha256:layer", NULL, populate_size (100));
  populate_put (metadata, GANTRY_KIND_CONTENT, "default", "sha256:config", config, populate_size (20));
  populate_put (metadata, GANTRY_KIND_CONTENT, "default", "sha256:manifest", manifest, populate_size (7));
  populate_put (metadata, GANTRY_KIND_IMAGE, "default", "example.com/one:1", plain,
                populate_target ("sha256:manifest"));
  populate_put (metadata, GANTRY_KIND_SNAPSHOT, "default", "overlay/base", NULL,
                populate_snapshot (GANTRY_SNAPSHOT_COMMITTED, NULL, "default/1/base"));
  populate_put (metadata, GANTRY_KIND_SNAPSHOT, "default", "overlay/chain", NULL,
                populate_snapshot (GANTRY_SNAPSHOT_COMMITTED, "base", "default/2/chain"));
  populate_put (metadata, GANTRY_KIND_SNAPSHOT, "default", "overlay/web", NULL,
                populate_snapshot (GANTRY_SNAPSHOT_ACTIVE, "chain", "default/3/web"));
  populate_put (metadata, GANTRY_KIND_CONTAINER, "default", "web", plain, container_fields ());
  /* Held by a lease that lives, by one that has expired, by their own labels, by nothing. */
  populate_put (metadata, GANTRY_KIND_CONTENT, "default", "sha256:leased", NULL, populate_size (1));
  populate_put (metadata, GANTRY_KIND_CONTENT, "default", "sha256:lapsed", NULL, populate_size (2));
  populate_put (metadata, GANTRY_KIND_CONTENT, "default", "sha256:future", future, populate_size (3));
  populate_put (metadata, GANTRY_KIND_CONTENT, "default", "sha256:past", past, populate_size (4));
  populate_put (metadata, GANTRY_KIND_CONTENT, "default", "sha256:orphan", NULL, populate_size (5));
  populate_put (metadata, GANTRY_KIND_CONTENT, "other", "sha256:layer", NULL, populate_size (100));
  populate_put (metadata, GANTRY_KIND_LEASE, "default", "alive", future, NULL);
  populate_put (metadata, GANTRY_KIND_LEASE, "default", "over", past, NULL);
  populate_lease (metadata, "default", "alive", GANTRY_KIND_CONTENT, "sha256:leased", TRUE);
  populate_lease (metadata, "default", "over", GANTRY_KIND_CONTENT, "sha256:lapsed", TRUE);

  g_assert_true (gantry_snapshot_index_allocate (index, "overlay", &number, NULL, &error));
  g_assert_true (gantry_snapshot_index_insert (index, "overlay", number, GANTRY_SNAPSHOT_ACTIVE,
                                               "default/1/base", NULL, NULL, NULL, NULL, &error));
  g_assert_true (gantry_snapshot_index_commit (index, "overlay", "default/1/done", "default/1/base", NULL,
                                               NULL, 11, 2, NULL, &error));
}
