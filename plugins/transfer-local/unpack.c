/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Layers into snapshots. Each committed snapshot is named by the chain ID of the layers below and including it, so images that share
 * layers share snapshots. The same chain wanted by several at once is unpacked by one, and the others wait. */
#include "transfer-local.h"

#include <string.h>

void
job_phase (GantryJob *job, const char *phase)
{
  GVariantDict changes;

  g_variant_dict_init (&changes, NULL);
  g_variant_dict_insert (&changes, "phase", "s", phase);
  gantry_job_update (job, g_variant_dict_end (&changes));
}

static void
job_step (GantryJob *job, guint steps, guint total)
{
  GVariantDict changes;

  g_variant_dict_init (&changes, NULL);
  g_variant_dict_insert (&changes, "steps", "u", steps);
  g_variant_dict_insert (&changes, "total-steps", "u", total);
  gantry_job_update (job, g_variant_dict_end (&changes));
}

typedef struct {
  TransferLocal *self;
  char *key;
} Claim;

static void
on_cancelled (GCancellable *cancellable, gpointer data)
{
  TransferLocal *self = data;

  g_mutex_lock (&self->lock);
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->lock);
}

static gboolean
claim (TransferLocal *self, char *key, Claim *ret_claim, GCancellable *cancellable, GError **error)
{
  gulong handler
      = cancellable != NULL ? g_cancellable_connect (cancellable, G_CALLBACK (on_cancelled), self, NULL) : 0;
  gboolean ok = TRUE;

  g_mutex_lock (&self->lock);
  while (ok && g_hash_table_contains (self->unpacking, key))
    {
      ok = !g_cancellable_set_error_if_cancelled (cancellable, error);
      if (ok)
        g_cond_wait (&self->cond, &self->lock);
    }
  if (ok)
    g_hash_table_add (self->unpacking, key);
  g_mutex_unlock (&self->lock);
  if (handler != 0)
    g_cancellable_disconnect (cancellable, handler);
  if (ok)
    *ret_claim = (Claim){ self, key };
  else
    g_free (key);
  return ok;
}

static void
claim_release (Claim *claim)
{
  if (claim->self == NULL)
    return;
  g_mutex_lock (&claim->self->lock);
  g_hash_table_remove (claim->self->unpacking, claim->key);
  g_cond_broadcast (&claim->self->cond);
  g_mutex_unlock (&claim->self->lock);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Claim, claim_release)

static GantryDiffer *
find_differ (TransferLocal *self, const char *media_type, GError **error)
{
  g_autoptr (GPtrArray) differs = gantry_host_lookup_all (self->host, GANTRY_DIFFER_TYPE, error);

  for (guint i = 0; differs != NULL && i < differs->len; i++)
    {
      GantryBinding *binding = g_ptr_array_index (differs, i);

      if (gantry_differ_can_apply (binding->instance, media_type))
        return binding->instance;
    }
  if (differs != NULL)
    gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED, "no differ can unpack layers of type %s", media_type);
  return NULL;
}

static gboolean
apply_into (TransferLocal *self, GantryContent *content, GantrySnapshotter *snapshotter, GantryDescriptor *layer,
            const char *diff_id, const char *chain, const char *parent, GPtrArray *mounts, const char *key,
            GCancellable *cancellable, GError **error)
{
  GantryDiffer *differ = find_differ (self, layer->media_type, error);
  g_autoptr (GantryDescriptor) diff = NULL;

  if (differ == NULL
      || !gantry_differ_apply (differ, layer, content, mounts, NULL, NULL, NULL, &diff, cancellable, error))
    return FALSE;
  if (strcmp (diff->digest, diff_id) != 0)
    return gantry_throw (error, GANTRY_ERROR_DATA_LOSS, "layer %s unpacks to %s, but the image's config says %s", layer->digest,
                         diff->digest, diff_id);
  return gantry_snapshotter_commit (snapshotter, chain, key, parent, NULL, cancellable, error);
}

static gboolean
unpack_layer (TransferLocal *self, GantryContent *content, GantrySnapshotter *snapshotter, GantryDescriptor *layer,
              const char *diff_id, const char *chain, const char *parent, GCancellable *cancellable, GError **error)
{
  g_autofree char *key = g_strdup_printf ("extract-%08x %s", g_random_int (), chain);
  g_autoptr (GPtrArray) mounts = NULL;
  g_autoptr (GError) local = NULL;

  if (!gantry_snapshotter_prepare (snapshotter, key, parent, NULL, &mounts, cancellable, error))
    return FALSE;
  if (apply_into (self, content, snapshotter, layer, diff_id, chain, parent, mounts, key, cancellable, &local))
    return TRUE;
  gantry_snapshotter_remove (snapshotter, key, NULL, NULL);
  if (gantry_error_is (local, GANTRY_ERROR_ALREADY_EXISTS))
    return TRUE;
  g_propagate_prefixed_error (error, g_steal_pointer (&local), "layer %s: ", layer->digest);
  return FALSE;
}

/* The config of an image holds its topmost snapshot (containerd's label), so that it lives as long as the image. */
static gboolean
label_config (GantryContent *content, OciImage *image, const char *snapshotter, const char *chain, GCancellable *cancellable,
              GError **error)
{
  g_autofree char *key
      = g_strconcat ("containerd.io/gc.ref.snapshot.", strcmp (snapshotter, "overlay") == 0 ? "overlayfs" : snapshotter, NULL);
  g_autofree char *path = g_strconcat ("labels.", key, NULL);
  const char *const mask[] = { path, NULL };
  g_auto (GVariantBuilder) labels = G_VARIANT_BUILDER_INIT (G_VARIANT_TYPE ("a{ss}"));
  g_autoptr (GVariant) held = NULL;

  g_variant_builder_add (&labels, "{ss}", key, chain);
  held = g_variant_ref_sink (g_variant_builder_end (&labels));
  return gantry_content_update (content, image->config_descriptor->digest, held, mask, NULL, cancellable, error);
}

static gboolean
unpack_layers (TransferLocal *self, GantryJob *job, GantryContent *content, GantrySnapshotter *snapshotter, OciImage *image,
               GCancellable *cancellable, GError **error)
{
  g_autofree char *parent = NULL;
  guint n = image->layers->len, first = n;

  /* The layers that are there already are skipped from the top: one look-up for an image that is unpacked. */
  for (; first > 0; first--)
    {
      g_autoptr (GantrySnapshotInfo) info = NULL;
      g_autofree char *chain = oci_chain_id (image->diff_ids, first);

      if (gantry_snapshotter_stat (snapshotter, chain, &info, cancellable, NULL))
        {
          parent = g_steal_pointer (&chain);
          break;
        }
    }
  for (guint i = first; i < n; i++)
    {
      char *chain = oci_chain_id (image->diff_ids, i + 1);

      job_step (job, i, n);
      if (!unpack_layer (self, content, snapshotter, g_ptr_array_index (image->layers, i), image->diff_ids[i], chain, parent,
                         cancellable, error))
        {
          g_free (chain);
          return FALSE;
        }
      g_free (parent);
      parent = chain;
    }
  job_step (job, n, n);
  return TRUE;
}

gboolean
unpack_target (TransferLocal *self, GantryJob *job, const char *ns, const char *lease, GantryDescriptor *target,
               const char *snapshotter_name, const char *platform, char **ret_chain_id, GCancellable *cancellable,
               GError **error)
{
  g_autoptr (GantryContent) content = NULL;
  g_autoptr (GantrySnapshotter) snapshotter = NULL;
  g_autoptr (OciImage) image = NULL;
  g_autofree char *id = NULL, *chain = NULL;
  g_auto (Claim) claimed = { NULL };

  if (!gantry_store_open_content (self->store, ns, lease, NULL, &content, cancellable, error)
      || !gantry_store_open_snapshotter (self->store, ns, lease, snapshotter_name, &snapshotter, &id, cancellable, error)
      || (image = oci_image_load (content, target, platform, cancellable, error)) == NULL)
    return FALSE;
  chain = oci_chain_id (image->diff_ids, g_strv_length (image->diff_ids));
  if (chain == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "image config %s has no layers", image->config_descriptor->digest);
  job_phase (job, "unpacking");
  if (!claim (self, g_strconcat (ns, "/", id, "/", chain, NULL), &claimed, cancellable, error)
      || !unpack_layers (self, job, content, snapshotter, image, cancellable, error)
      || !label_config (content, image, id, chain, cancellable, error))
    return FALSE;
  if (ret_chain_id != NULL)
    *ret_chain_id = g_steal_pointer (&chain);
  return TRUE;
}

gboolean
unpack_image (GantryTransfer *transfer, GantryJob *job, const char *ns, const char *name, GVariant *options,
              char **ret_chain_id, GCancellable *cancellable, GError **error)
{
  TransferLocal *self = (TransferLocal *) transfer;
  g_autoptr (GVariant) held = options != NULL ? g_variant_ref_sink (options) : NULL;
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GantryDescriptor) target = NULL;
  g_auto (Lease) lease = { NULL };
  const char *snapshotter = NULL, *platform = NULL;

  if (held != NULL)
    {
      g_variant_lookup (held, "snapshotter", "&s", &snapshotter);
      g_variant_lookup (held, "platform", "&s", &platform);
    }
  if (!gantry_metadata_get (self->metadata, GANTRY_KIND_IMAGE, ns, name, &record, cancellable, error))
    return FALSE;
  target = gantry_record_get_target (record);
  if (target == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "image %s has no target", name);
  return lease_begin (self, ns, &lease, cancellable, error)
         && unpack_target (self, job, ns, lease.id, target, snapshotter, platform, ret_chain_id, cancellable, error);
}
