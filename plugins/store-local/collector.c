/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Garbage collection: metadata says what no root reaches, the backends remove it. What metadata has given up
 * is remembered there until the backend has removed it, so a crash in between loses nothing. */
#include "store-local.h"

#include <string.h>
#include <sys/stat.h>

#include <fdio.h>

#define BATCH 64
/* Leases and images may expire without anybody changing anything. */
#define INTERVAL_SECONDS 300
/* As long as containerd keeps one that no lease holds. */
#define INGEST_HOURS 24
#define SWEPT        "swept"

static gboolean
remove_one (StoreLocal *self, GantryGarbage *garbage, GCancellable *cancellable, GError **error)
{
  g_autoptr (GError) local = NULL;
  gboolean ok;

  if (strcmp (garbage->kind, GANTRY_KIND_CONTENT) == 0)
    {
      GantryContent *content = store_local_content (self, NULL, error);

      if (content == NULL)
        return FALSE;
      ok = gantry_content_remove (content, garbage->backend, cancellable, &local);
    }
  else if (strcmp (garbage->kind, GANTRY_KIND_MOUNT) == 0)
    {
      GantryMounts *mounts = gantry_host_lookup (self->host, GANTRY_MOUNTS_TYPE, NULL, NULL);

      if (mounts == NULL)
        return gantry_throw (error, GANTRY_ERROR_UNAVAILABLE,
                             "there is no mounts service; see `gantry plugin list`");
      ok = gantry_mounts_collect (mounts, garbage->backend, cancellable, &local);
    }
  else
    {
      GantrySnapshotter *snapshotter = store_local_snapshotter (self, garbage->snapshotter, NULL, error);

      if (snapshotter == NULL)
        return FALSE;
      ok = gantry_snapshotter_remove (snapshotter, garbage->backend, cancellable, &local);
    }
  if (ok || gantry_error_is (local, GANTRY_ERROR_NOT_FOUND))
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&local));
  return FALSE;
}

static gboolean
found_one (GantryRecord *record, gpointer user_data)
{
  *(gboolean *)user_data = TRUE;
  return FALSE;
}

/* Whether some namespace has taken the blob up since it was condemned. With the blobs lock. */
static gboolean
is_wanted_again (StoreLocal *self, GantryGarbage *garbage)
{
  g_autofree char *filter = g_strdup_printf ("id==%s", garbage->backend);
  const char *const filters[] = { filter, NULL };
  gboolean found = FALSE;

  /* If it can't be found out, it stays. */
  return strcmp (garbage->kind, GANTRY_KIND_CONTENT) == 0
         && (!gantry_metadata_list (self->metadata, GANTRY_KIND_CONTENT, NULL, filters, NULL, 1, found_one,
                                    &found, NULL, NULL)
             || found);
}

static gboolean
drain_batch (StoreLocal *self, GPtrArray *pending, guint first, GCancellable *cancellable, GError **error)
{
  g_autoptr (GPtrArray) done = g_ptr_array_new ();

  for (guint i = first; i < pending->len && i < first + BATCH; i++)
    {
      g_autoptr (GError) local = NULL;
      GantryGarbage *garbage = g_ptr_array_index (pending, i);

      if (is_wanted_again (self, garbage) || remove_one (self, garbage, cancellable, &local))
        g_ptr_array_add (done, garbage);
      else if (!gantry_error_is (local, GANTRY_ERROR_FAILED_PRECONDITION))
        gantry_host_log (self->host, GANTRY_LOG_WARNING, "garbage %s %s stays for now: %s", garbage->kind,
                         garbage->backend, local->message);
    }
  return done->len == 0 || gantry_metadata_collected (self->metadata, done, cancellable, error);
}

gboolean
collector_drain (StoreLocal *self, GCancellable *cancellable, GError **error)
{
  g_autoptr (GPtrArray) pending = NULL;
  gboolean ok = gantry_metadata_pending_garbage (self->metadata, &pending, cancellable, error);

  for (guint i = 0; ok && i < pending->len; i += BATCH)
    {
      g_rw_lock_writer_lock (&self->blobs_lock);
      ok = drain_batch (self, pending, i, cancellable, error);
      g_rw_lock_writer_unlock (&self->blobs_lock);
    }
  return ok;
}

/* What a snapshot takes on the disk; metadata does not know. */
static void
measure (StoreLocal *self, GantryGarbage *garbage, GCancellable *cancellable)
{
  GantrySnapshotter *snapshotter = garbage->snapshotter != NULL
                                       ? store_local_snapshotter (self, garbage->snapshotter, NULL, NULL)
                                       : NULL;
  guint64 inodes;

  if (snapshotter != NULL)
    gantry_snapshotter_usage (snapshotter, garbage->backend, &garbage->bytes, &inodes, cancellable, NULL);
}

gboolean
collector_collect (GantryStore *store, gboolean dry_run, GPtrArray **ret_garbage, GCancellable *cancellable,
                   GError **error)
{
  StoreLocal *self = (StoreLocal *)store;
  g_autoptr (GPtrArray) garbage = NULL;

  if ((!dry_run && !collector_sweep (self, error))
      || !gantry_metadata_collect (self->metadata, dry_run, &garbage, cancellable, error)
      || (!dry_run && !collector_drain (self, cancellable, error)))
    return FALSE;
  for (guint i = 0; dry_run && i < garbage->len; i++)
    measure (self, g_ptr_array_index (garbage, i), cancellable);
  if (ret_garbage != NULL)
    *ret_garbage = g_steal_pointer (&garbage);
  return TRUE;
}

gboolean
collector_sweep (StoreLocal *self, GError **error)
{
  int dir_fd = gantry_host_get_dir_fd (self->host, GANTRY_DIR_RUN, error);
  struct stat st;
  gboolean ok;

  if (dir_fd < 0)
    return FALSE;
  g_mutex_lock (&self->sweep_lock);
  ok = fstatat (dir_fd, SWEPT, &st, AT_SYMLINK_NOFOLLOW) == 0
       || (store_sweep (self, error) && gantry_replace_file_at (dir_fd, SWEPT, "", 0, 0600, FALSE, error));
  g_mutex_unlock (&self->sweep_lock);
  return ok;
}

/* Ingests that nobody has gone on with. One that has a writer stays. */
static gboolean
abort_abandoned (StoreLocal *self, GError **error)
{
  GantryContent *content = store_local_content (self, NULL, error);
  g_autoptr (GPtrArray) statuses = NULL;
  gint64 oldest = gantry_now_ns () - INGEST_HOURS * 3600 * (gint64)1000000000;

  if (content == NULL || !gantry_content_list_ingests (content, NULL, &statuses, NULL, error))
    return FALSE;
  for (guint i = 0; i < statuses->len; i++)
    {
      GantryIngestStatus *status = g_ptr_array_index (statuses, i);

      if (status->updated_ns < oldest)
        gantry_content_abort_ingest (content, status->ref, NULL, NULL);
    }
  return TRUE;
}

static void
run_collection (gpointer data, gpointer unused)
{
  StoreLocal *self = data;
  g_autoptr (GError) error = NULL, local = NULL;
  guint64 hint = gantry_metadata_get_garbage_hint (self->metadata);

  if (!collector_sweep (self, &local) || !abort_abandoned (self, &local))
    gantry_host_log_about (self->host, GANTRY_LOG_WARNING, GANTRY_MESSAGE_GARBAGE_STAYS, NULL, NULL,
                           "cleaning up failed and will be tried again: %s", local->message);
  if (!collector_collect (&self->store, FALSE, NULL, NULL, &error))
    gantry_host_log_about (self->host, GANTRY_LOG_WARNING, GANTRY_MESSAGE_GARBAGE_STAYS, NULL, NULL,
                           "collecting garbage failed and will be tried again: %s", error->message);
  g_mutex_lock (&self->lock);
  self->seen_hint = hint;
  self->collecting = FALSE;
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->lock);
  collector_schedule (self, INTERVAL_SECONDS);
}

static gboolean
on_timer (gpointer data)
{
  StoreLocal *self = data;
  gboolean start;

  g_mutex_lock (&self->lock);
  g_clear_pointer (&self->timer, g_source_unref);
  start = !self->collecting && !self->closing;
  self->collecting |= start;
  g_mutex_unlock (&self->lock);
  if (!start)
    return G_SOURCE_REMOVE;
  if (!gantry_host_submit (self->host, GANTRY_POOL_IO, run_collection, self, NULL, NULL))
    {
      g_mutex_lock (&self->lock);
      self->collecting = FALSE;
      g_mutex_unlock (&self->lock);
      collector_schedule (self, 1);
    }
  return G_SOURCE_REMOVE;
}

void
collector_schedule (StoreLocal *self, guint seconds)
{
  g_mutex_lock (&self->lock);
  if (!self->closing)
    {
      gint64 at = g_get_monotonic_time () + (gint64)seconds * G_USEC_PER_SEC;

      if (self->timer != NULL && g_source_get_ready_time (self->timer) > at)
        {
          g_source_destroy (self->timer);
          g_clear_pointer (&self->timer, g_source_unref);
        }
      if (self->timer == NULL)
        {
          self->timer = g_timeout_source_new (seconds * 1000);
          g_source_set_callback (self->timer, on_timer, self, NULL);
          g_source_attach (self->timer, self->host->get_main_context (self->host));
        }
    }
  g_mutex_unlock (&self->lock);
}

void
collector_stop (StoreLocal *self)
{
  g_mutex_lock (&self->lock);
  self->closing = TRUE;
  if (self->timer != NULL)
    g_source_destroy (self->timer);
  g_clear_pointer (&self->timer, g_source_unref);
  while (self->collecting)
    g_cond_wait (&self->cond, &self->lock);
  g_mutex_unlock (&self->lock);
}
