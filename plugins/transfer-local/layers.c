/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One thread, the caller of run (), commits layer after layer; the unpackers' pool works ahead of it. The
 * first layer that is missing is unpacked on its real parent, those above it on nothing, and settled and
 * rebased when they are committed. What can't be unpacked so (differ.h, "rebase") is unpacked again in its
 * turn. */
#include "layers.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <fdio.h>

#include "follow.h"

/* Layers below this are made durable together, as many as are ready: of an image with many small ones, syncs
 * would take most of the time. */
#define SYNC_ALONE (8 * 1024 * 1024)

/* From this size on a layer is unpacked while it comes. */
#define FOLLOW_FROM (32 * 1024 * 1024)

typedef enum
{
  LAYER_WAITING = 0, /* for its blob, or for its turn */
  LAYER_QUEUED,
  LAYER_APPLIED,
  LAYER_FAILED,
} LayerState;

typedef struct
{
  Layers *layers;
  guint index;
  char *chain;
  char *claim;    /* the key; NULL: not ours */
  gboolean there; /* somebody was faster */
  gboolean arrived;
  gboolean on_parent; /* unpacked on the layers below, not to be rebased */
  gboolean whole;     /* nothing but its commit is missing */
  gboolean told;      /* others know from us what is below the next one */
  char *unsynced;     /* (nullable): where its files are that are not durable yet */
  LayerState state;   /* of the work ahead */
  char *key;          /* (nullable): the active snapshot */
  GPtrArray *mounts;  /* its mounts */
  Follow *follow;     /* (nullable): unpacked while it comes; with lock */
  gboolean followed;  /* that was tried */
  GantryDescriptor *diff;
  GError *error;
} Layer;

struct _Layers
{
  TransferLocal *transfer;
  Progress *progress;
  const char *ns;
  GantryContent *content;
  GantrySnapshotter *snapshotter;
  const char *snapshotter_id;
  OciImage *image;
  GCancellable *cancellable; /* of everything that works for us */
  gboolean ahead;            /* the snapshotter can rebase */

  GMutex lock;
  GCond cond;
  Layer *layers;
  guint n;
  guint first; /* the lowest that is missing; n: none */
  gboolean running;
  guint n_queued;
  char *below;     /* (nullable): not known: directories of what is whole, as of an overlay's "lowerdir=" */
  GError *failure; /* why a layer does not arrive */
};

static char *
claim_key (Layers *self, const char *chain)
{
  return g_strconcat ("unpack/", self->ns, "/", self->snapshotter_id, "/", chain, NULL);
}

static GantryDescriptor *
descriptor_of (Layer *layer)
{
  return g_ptr_array_index (layer->layers->image->layers, layer->index);
}

Layers *
layers_new (TransferLocal *transfer, Progress *progress, const char *ns, GantryContent *content,
            GantrySnapshotter *snapshotter, const char *snapshotter_id, OciImage *image)
{
  Layers *self = g_new0 (Layers, 1);

  *self = (Layers){ .transfer = transfer,
                    .progress = progress,
                    .ns = ns,
                    .content = content,
                    .snapshotter = snapshotter,
                    .snapshotter_id = snapshotter_id,
                    .image = image,
                    .n = image->layers->len,
                    .first = image->layers->len };
  g_mutex_init (&self->lock);
  g_cond_init (&self->cond);
  self->cancellable = g_cancellable_new ();
  self->ahead = (gantry_snapshotter_get_capabilities (snapshotter) & GANTRY_SNAPSHOTTER_PARALLEL_UNPACK) != 0;
  self->layers = g_new0 (Layer, self->n);
  for (guint i = 0; i < self->n; i++)
    {
      self->layers[i] = (Layer){ .layers = self, .index = i };
      self->layers[i].chain
          = oci_next_chain_id (i > 0 ? self->layers[i - 1].chain : NULL, image->diff_ids[i]);
    }
  return self;
}

GantryDiffer *
layers_find_differ (TransferLocal *transfer, const char *media_type, gboolean recompress, GError **error)
{
  g_autoptr (GPtrArray) differs = gantry_host_lookup_all (transfer->host, GANTRY_DIFFER_TYPE, error);

  for (guint i = 0; differs != NULL && i < differs->len; i++)
    {
      GantryBinding *binding = g_ptr_array_index (differs, i);
      GantryDiffer *differ = binding->instance;

      if (gantry_differ_can_apply (differ, media_type)
          && (!recompress || GANTRY_HAS (differ->vtable, GantryDifferVtable, recompress)))
        return differ;
    }
  if (differs != NULL)
    gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED,
                  recompress ? "no differ can read layers of type %s and write them anew"
                             : "no differ can unpack layers of type %s",
                  media_type);
  return NULL;
}

static void
on_progress (guint64 bytes, gpointer user_data)
{
  Layer *layer = user_data;

  progress_bytes (layer->layers->progress, descriptor_of (layer)->digest, bytes);
}

static const char *
mount_option (const GantryMount *mount, const char *prefix)
{
  for (gsize i = 0; mount->options != NULL && mount->options[i] != NULL; i++)
    if (g_str_has_prefix (mount->options[i], prefix))
      return mount->options[i] + strlen (prefix);
  return NULL;
}

/* The directory that is written through @mounts, or NULL if they do not tell. */
static const char *
written_directory (GPtrArray *mounts)
{
  GantryMount *mount = mounts->len == 1 ? g_ptr_array_index (mounts, 0) : NULL;

  if (mount != NULL && strcmp (mount->type, "bind") == 0)
    return mount->source;
  return mount != NULL ? mount_option (mount, "upperdir=") : NULL;
}

/* What is below the layers to come, now that this one is whole. */
static void
note_below (Layer *layer)
{
  Layers *self = layer->layers;
  const char *own = layer->mounts != NULL ? written_directory (layer->mounts) : NULL;
  const char *lower = own != NULL && layer->on_parent
                          ? mount_option (g_ptr_array_index (layer->mounts, 0), "lowerdir=")
                          : self->below;
  char *below = NULL;

  if (own != NULL && (lower != NULL || layer->index == 0))
    below = lower != NULL ? g_strconcat (own, ":", lower, NULL) : g_strdup (own);
  g_free (self->below);
  self->below = below;
  layer->told = below != NULL;
  if (below == NULL)
    return;
  g_mutex_lock (&self->transfer->lock);
  g_hash_table_replace (self->transfer->below, claim_key (self, layer->chain), g_strdup (below));
  g_mutex_unlock (&self->transfer->lock);
}

/* The same after a layer that somebody else has made, if it was one of us who is still at work. */
static void
ask_below (Layer *layer)
{
  Layers *self = layer->layers;
  g_autofree char *key = claim_key (self, layer->chain);

  g_free (self->below);
  g_mutex_lock (&self->transfer->lock);
  self->below = g_strdup (g_hash_table_lookup (self->transfer->below, key));
  g_mutex_unlock (&self->transfer->lock);
}

static void
forget_below (Layer *layer)
{
  Layers *self = layer->layers;
  g_autofree char *key = claim_key (self, layer->chain);

  g_mutex_lock (&self->transfer->lock);
  g_hash_table_remove (self->transfer->below, key);
  g_mutex_unlock (&self->transfer->lock);
}

/* Applies the layer to the new snapshot @layer->key. */
static gboolean
apply_to (Layer *layer, GPtrArray *mounts, gboolean rebase, Follow *follow, GCancellable *cancellable,
          GError **error)
{
  Layers *self = layer->layers;
  GantryDescriptor *descriptor = descriptor_of (layer);
  GantryDiffer *differ = layers_find_differ (self->transfer, descriptor->media_type, FALSE, error);
  const char *diff_id = self->image->diff_ids[layer->index];
  GVariantDict options;

  if (differ == NULL)
    return FALSE;
  g_variant_dict_init (&options, NULL);
  if (rebase)
    g_variant_dict_insert (&options, "rebase", "b", TRUE);
  g_clear_pointer (&layer->unsynced, g_free);
  if (descriptor->blob_size < SYNC_ALONE)
    layer->unsynced = g_strdup (written_directory (mounts));
  if (layer->unsynced != NULL)
    g_variant_dict_insert (&options, "sync", "b", FALSE);
  /* What is shown of a layer that still comes is how it comes. */
  if (follow != NULL)
    g_variant_dict_insert (&options, "stream", "b", TRUE);
  else
    progress_item (self->progress, descriptor->digest, "unpacking", descriptor->blob_size, FALSE);
  if (!gantry_differ_apply (differ, descriptor, follow != NULL ? follow_get_content (follow) : self->content,
                            mounts, g_variant_dict_end (&options), follow == NULL ? on_progress : NULL, layer,
                            &layer->diff, cancellable, error))
    return FALSE;
  if (strcmp (layer->diff->digest, diff_id) == 0)
    return TRUE;
  return gantry_throw (error, GANTRY_ERROR_DATA_LOSS, "it unpacks to %s, but the image's config says %s",
                       layer->diff->digest, diff_id);
}

/* Removes the active snapshot, if there is one. */
static void
discard (Layer *layer)
{
  g_autoptr (GError) error = NULL;

  if (layer->key != NULL && !gantry_snapshotter_remove (layer->layers->snapshotter, layer->key, NULL, &error))
    gantry_host_log (layer->layers->transfer->host, GANTRY_LOG_WARNING,
                     "snapshot %s stays until garbage is collected: %s", layer->key, error->message);
  g_clear_pointer (&layer->key, g_free);
  g_clear_pointer (&layer->mounts, g_ptr_array_unref);
  g_clear_pointer (&layer->diff, gantry_descriptor_unref);
}

static gboolean
unpack_on (Layer *layer, const char *parent, gboolean rebase, Follow *follow, GCancellable *cancellable,
           GError **error)
{
  Layers *self = layer->layers;
  g_autoptr (GPtrArray) mounts = NULL;
  g_autofree char *key
      = g_strdup_printf ("extract-%08x%08x %s", g_random_int (), g_random_int (), layer->chain);

  if (!gantry_snapshotter_prepare (self->snapshotter, key, parent, NULL, &mounts, cancellable, error))
    return FALSE;
  layer->key = g_steal_pointer (&key);
  layer->mounts = g_steal_pointer (&mounts);
  layer->on_parent = !rebase;
  if (apply_to (layer, layer->mounts, rebase, follow, cancellable, error))
    return TRUE;
  discard (layer);
  return FALSE;
}

/* The work ahead, on a thread of the unpackers. */
void
layers_work (gpointer data, gpointer unused)
{
  Layer *layer = data;
  Layers *self = layer->layers;
  gboolean lowest = layer->index == self->first;
  const char *parent = lowest && layer->index > 0 ? self->layers[layer->index - 1].chain : NULL;
  g_autoptr (GError) error = NULL;
  gboolean ok = !g_cancellable_set_error_if_cancelled (self->cancellable, &error)
                && unpack_on (layer, parent, !lowest, NULL, self->cancellable, &error);

  g_mutex_lock (&self->lock);
  layer->state = ok ? LAYER_APPLIED : LAYER_FAILED;
  layer->error = g_steal_pointer (&error);
  self->n_queued--;
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->lock);
}

/* With the lock. */
static void
queue_if_ready (Layer *layer)
{
  Layers *self = layer->layers;

  if (!self->running || !self->ahead || layer->claim == NULL || !layer->arrived
      || layer->state != LAYER_WAITING)
    return;
  layer->state = LAYER_QUEUED;
  self->n_queued++;
  g_thread_pool_push (self->transfer->unpackers, layer, NULL);
}

/* Unpacks a layer while it comes, on a thread for that. What goes wrong may be due to what has come, which is
 * not verified: it is tried again when the layer is whole. */
void
layers_follow (gpointer data, gpointer unused)
{
  Layer *layer = data;
  Layers *self = layer->layers;
  TransferLocal *transfer = self->transfer;
  gboolean lowest = layer->index == self->first;
  const char *parent = lowest && layer->index > 0 ? self->layers[layer->index - 1].chain : NULL;
  g_autoptr (GError) error = NULL;
  g_autoptr (Follow) follow = NULL;
  gboolean ok = !g_cancellable_set_error_if_cancelled (self->cancellable, &error)
                && unpack_on (layer, parent, !lowest, layer->follow, self->cancellable, &error);

  g_mutex_lock (&self->lock);
  follow = g_steal_pointer (&layer->follow);
  layer->followed = TRUE;
  layer->state = ok ? LAYER_APPLIED : LAYER_WAITING;
  queue_if_ready (layer);
  self->n_queued--;
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->lock);
  g_atomic_int_add (&transfer->following, -1);
}

/* With the lock. */
static gboolean
may_follow (Layer *layer)
{
  Layers *self = layer->layers;
  TransferLocal *transfer = self->transfer;

  if (!self->running || !self->ahead || layer->claim == NULL || layer->arrived || layer->followed
      || layer->state != LAYER_WAITING || descriptor_of (layer)->blob_size < FOLLOW_FROM)
    return FALSE;
  /* One that comes slowly keeps its place for long; the others wait until they are whole, and then for
   * nobody. */
  if (g_atomic_int_add (&transfer->following, 1) < TRANSFER_MAX_FOLLOWING)
    return TRUE;
  g_atomic_int_add (&transfer->following, -1);
  return FALSE;
}

/* With the lock. */
static void
begin_to_follow (Layer *layer, GantryIngest *ingest)
{
  Layers *self = layer->layers;
  g_autoptr (GError) error = NULL;
  int fd;

  if (gantry_ingest_open_reader (ingest, &fd, self->cancellable, &error))
    layer->follow = follow_new (fd, descriptor_of (layer)->blob_size, &error);
  layer->followed = layer->follow == NULL;
  if (layer->follow == NULL)
    {
      g_atomic_int_add (&self->transfer->following, -1);
      return;
    }
  layer->state = LAYER_QUEUED;
  self->n_queued++;
  g_thread_pool_push (self->transfer->followers, layer, NULL);
}

void
layers_grew (Layers *self, guint index, GantryIngest *ingest, guint64 bytes)
{
  Layer *layer = &self->layers[index];

  g_mutex_lock (&self->lock);
  if (layer->follow == NULL && may_follow (layer))
    begin_to_follow (layer, ingest);
  if (layer->follow != NULL)
    follow_grew (layer->follow, bytes);
  g_mutex_unlock (&self->lock);
}

void
layers_arrived (Layers *self, guint index)
{
  g_mutex_lock (&self->lock);
  self->layers[index].arrived = TRUE;
  if (self->layers[index].follow != NULL)
    {
      GantryDescriptor *descriptor = descriptor_of (&self->layers[index]);

      progress_item (self->progress, descriptor->digest, "unpacking", 0, FALSE);
      follow_grew (self->layers[index].follow, descriptor->blob_size);
    }
  queue_if_ready (&self->layers[index]);
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->lock);
}

void
layers_fail (Layers *self, const GError *error)
{
  g_mutex_lock (&self->lock);
  if (self->failure == NULL)
    self->failure = g_error_copy (error);
  g_mutex_unlock (&self->lock);
  g_cancellable_cancel (self->cancellable);
  g_mutex_lock (&self->lock);
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->lock);
}

static gboolean
exists (Layer *layer, GCancellable *cancellable)
{
  g_autoptr (GantrySnapshotInfo) info = NULL;

  return gantry_snapshotter_stat (layer->layers->snapshotter, layer->chain, &info, cancellable, NULL);
}

/* Waits for the work ahead, or, where there is none, for the blob. */
static gboolean
wait_for (Layer *layer, GError **error)
{
  Layers *self = layer->layers;
  gboolean ok = TRUE;

  g_mutex_lock (&self->lock);
  while (ok && (layer->state == LAYER_QUEUED || !layer->arrived))
    {
      ok = !g_cancellable_set_error_if_cancelled (self->cancellable, error);
      if (ok)
        g_cond_wait (&self->cond, &self->lock);
    }
  g_mutex_unlock (&self->lock);
  return ok;
}

/* Makes what was unpacked on nothing what it would be on the layers below. Errors: FAILED_PRECONDITION: it
 * must be unpacked there. */
static gboolean
settle (Layer *layer, GError **error)
{
  Layers *self = layer->layers;
  const char *implied = gantry_labels_lookup (layer->diff->annotations, GANTRY_DIFF_IMPLIED);
  g_autoptr (GPtrArray) below = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_mount_unref);
  g_autofree char *lower = NULL;
  GantryDiffer *differ;

  if (layer->on_parent || g_strcmp0 (implied, "") == 0)
    return TRUE;
  if (self->below == NULL || implied == NULL)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "the layers below are not known");
  differ = layers_find_differ (self->transfer, descriptor_of (layer)->media_type, FALSE, error);
  lower = g_strconcat ("lowerdir=", self->below, NULL);
  g_ptr_array_add (below,
                   gantry_mount_new ("overlay", "overlay", NULL, (const char *const[]){ lower, NULL }));
  if (differ == NULL
      || !gantry_differ_settle (differ, layer->diff, below, layer->mounts, self->cancellable, error))
    return FALSE;
  if (layer->unsynced == NULL)
    layer->unsynced = g_strdup (written_directory (layer->mounts));
  return TRUE;
}

/* Has the layer whole but for its commit: as the work ahead left it, or unpacked on its parent now. */
static gboolean
make_whole (Layer *layer, const char *parent, GError **error)
{
  Layers *self = layer->layers;
  g_autoptr (GError) local = NULL;

  if (layer->state == LAYER_FAILED)
    local = g_steal_pointer (&layer->error);
  else if (layer->state == LAYER_APPLIED)
    settle (layer, &local);
  if (local != NULL && !gantry_error_is (local, GANTRY_ERROR_FAILED_PRECONDITION))
    {
      g_propagate_error (error, g_steal_pointer (&local));
      return FALSE;
    }
  if (local != NULL)
    discard (layer);
  if (layer->key == NULL && !unpack_on (layer, parent, FALSE, NULL, self->cancellable, error))
    return FALSE;
  layer->whole = TRUE;
  note_below (layer);
  return TRUE;
}

/* Settles the layers above @layer that the work ahead has done. Returns: the last one that is whole. */
static guint
settle_ahead (Layer *layer)
{
  Layers *self = layer->layers;
  guint last = layer->index;

  for (guint i = last + 1; i < self->n; i++)
    {
      Layer *next = &self->layers[i];
      gboolean ready;

      g_mutex_lock (&self->lock);
      ready = next->claim != NULL && next->state == LAYER_APPLIED;
      g_mutex_unlock (&self->lock);
      if (!ready)
        break;
      if (!settle (next, &next->error))
        {
          next->state = LAYER_FAILED;
          break;
        }
      next->whole = TRUE;
      note_below (next);
      last = i;
    }
  return last;
}

/* Makes the files of the layers from @first to @last durable at once: they are on one file system. */
static gboolean
sync_files (Layers *self, guint first, guint last, GError **error)
{
  const char *path = NULL;
  gantry_autofd int fd = -1;

  for (guint i = first; i <= last && path == NULL; i++)
    path = self->layers[i].unsynced;
  if (path == NULL)
    return TRUE;
  fd = open (path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0 || syncfs (fd) < 0)
    return gantry_throw_errno (error, errno, "syncing the files in %s", path);
  for (guint i = first; i <= last; i++)
    g_clear_pointer (&self->layers[i].unsynced, g_free);
  return TRUE;
}

static gboolean
commit (Layer *layer, const char *parent, GCancellable *cancellable, GError **error)
{
  Layers *self = layer->layers;
  g_autoptr (GError) local = NULL;

  if (gantry_snapshotter_commit (self->snapshotter, layer->chain, layer->key, parent, NULL, cancellable,
                                 &local))
    {
      g_clear_pointer (&layer->key, g_free);
      return TRUE;
    }
  if (gantry_error_is (local, GANTRY_ERROR_ALREADY_EXISTS))
    {
      discard (layer);
      forget_below (layer);
      g_clear_pointer (&self->below, g_free);
      return TRUE;
    }
  g_propagate_error (error, g_steal_pointer (&local));
  return FALSE;
}

/* Makes the snapshot of a layer whose claim is ours. */
static gboolean
finish_own (Layer *layer, const char *parent, GError **error)
{
  Layers *self = layer->layers;

  if (!layer->whole
      && (!wait_for (layer, error) || !make_whole (layer, parent, error)
          || !sync_files (self, layer->index, settle_ahead (layer), error)))
    return FALSE;
  return commit (layer, parent, self->cancellable, error);
}

/* Somebody else is at it: waits until it is done or given up. */
static gboolean
finish_other (Layer *layer, const char *parent, GError **error)
{
  Layers *self = layer->layers;
  char *claim = claim_key (self, layer->chain);

  progress_item (self->progress, descriptor_of (layer)->digest, "waiting", 0, FALSE);
  if (!claims_wait (self->transfer->claims, claim, self->cancellable, error))
    {
      g_free (claim);
      return FALSE;
    }
  layer->claim = claim;
  return exists (layer, self->cancellable) || finish_own (layer, parent, error);
}

static gboolean
finish (Layer *layer, GError **error)
{
  Layers *self = layer->layers;
  const char *parent = layer->index > 0 ? self->layers[layer->index - 1].chain : NULL;
  gboolean ok = layer->there || (layer->claim != NULL ? finish_own : finish_other) (layer, parent, error);

  if (layer->claim != NULL)
    claims_release (self->transfer->claims, layer->claim);
  g_clear_pointer (&layer->claim, g_free);
  if (!ok)
    {
      g_prefix_error (error, "layer %s: ", descriptor_of (layer)->digest);
      return FALSE;
    }
  if (!layer->whole)
    ask_below (layer);
  progress_item (self->progress, descriptor_of (layer)->digest, "done", 0, FALSE);
  return TRUE;
}

/* Finds what is missing, and claims as much of it as is free. */
static void
begin (Layers *self, GCancellable *cancellable)
{
  guint first = self->n;

  /* From the top: one look-up for an image that is unpacked. */
  while (first > 0 && !exists (&self->layers[first - 1], cancellable))
    first--;
  for (guint i = 0; i < first; i++)
    progress_item (self->progress, descriptor_of (&self->layers[i])->digest, "exists", 0, FALSE);
  g_mutex_lock (&self->lock);
  self->first = first;
  self->running = TRUE;
  for (guint i = first; i < self->n; i++)
    {
      Layer *layer = &self->layers[i];
      char *key = claim_key (self, layer->chain);

      if (!claims_try (self->transfer->claims, key))
        g_free (key);
      else if (exists (layer, cancellable))
        {
          layer->there = TRUE;
          claims_release (self->transfer->claims, key);
          g_free (key);
        }
      else
        layer->claim = key;
      queue_if_ready (layer);
    }
  g_mutex_unlock (&self->lock);
}

/* Ends the work ahead and waits until it has ended. */
static void
end (Layers *self)
{
  g_mutex_lock (&self->lock);
  self->running = FALSE;
  while (self->n_queued > 0)
    g_cond_wait (&self->cond, &self->lock);
  g_mutex_unlock (&self->lock);
  for (guint i = 0; i < self->n; i++)
    {
      Layer *layer = &self->layers[i];

      discard (layer);
      if (layer->claim != NULL)
        claims_release (self->transfer->claims, layer->claim);
      g_clear_pointer (&layer->claim, g_free);
    }
}

static void
on_cancelled (GCancellable *cancellable, gpointer data)
{
  Layers *self = data;

  g_cancellable_cancel (self->cancellable);
  g_mutex_lock (&self->lock);
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->lock);
}

gboolean
layers_run (Layers *self, GCancellable *cancellable, GError **error)
{
  gulong handler
      = cancellable != NULL ? g_cancellable_connect (cancellable, G_CALLBACK (on_cancelled), self, NULL) : 0;
  gboolean ok = TRUE;

  begin (self, cancellable);
  for (guint i = self->first; ok && i < self->n; i++)
    {
      progress_steps (self->progress, i, self->n);
      ok = finish (&self->layers[i], error);
    }
  if (ok)
    progress_steps (self->progress, self->n, self->n);
  else
    g_cancellable_cancel (self->cancellable);
  if (handler != 0)
    g_cancellable_disconnect (cancellable, handler);
  end (self);
  if (!ok && self->failure != NULL)
    {
      g_clear_error (error);
      g_propagate_error (error, g_error_copy (self->failure));
    }
  return ok;
}

void
layers_free (Layers *self)
{
  if (self == NULL)
    return;
  g_cancellable_cancel (self->cancellable);
  end (self);
  for (guint i = 0; i < self->n; i++)
    {
      if (self->layers[i].told)
        forget_below (&self->layers[i]);
      g_free (self->layers[i].chain);
      g_free (self->layers[i].unsynced);
      g_clear_pointer (&self->layers[i].mounts, g_ptr_array_unref);
      g_clear_error (&self->layers[i].error);
    }
  g_free (self->layers);
  g_free (self->below);
  g_clear_error (&self->failure);
  g_object_unref (self->cancellable);
  g_mutex_clear (&self->lock);
  g_cond_clear (&self->cond);
  g_free (self);
}
