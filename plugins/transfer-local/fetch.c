/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fetch-private.h"

#include <string.h>

#define CHUNK (256 * 1024)
/* Below this a second request costs more than it brings. */
#define RANGES_FROM   (32 * 1024 * 1024)
#define RANGE_HELPERS 2
/* Bytes a second: what comes faster comes by one connection. */
#define RANGES_BELOW (32 * 1024 * 1024)
#define RATE_USEC    (G_USEC_PER_SEC / 2)
/* How often an ingest that another writer has is looked at again. */
#define BUSY_MS 250

typedef struct
{
  Fetches *fetches;
  GantryDescriptor *blob;
  char **urls;
  Ranges *ranges;       /* (nullable): not a blob of its own: help there */
  GantryIngest *ingest; /* (nullable): of the attempt under way; borrowed */
} Fetch;

/* A blob on its way, with those who wait for it. */
typedef struct
{
  GPtrArray *waiting; /* of Fetch, borrowed */
} Flight;

struct _FetchPool
{
  GThreadPool *threads;
  guint max_per_pull;
  GMutex lock;
  GHashTable *flights; /* digest -> Flight */
};

struct _Fetches
{
  FetchPool *pool;
  Progress *progress;
  GantryContent *content;
  GantryRepository *repository;
  GVariant *labels;
  FetchFunc func;
  FetchGrewFunc grew;
  gpointer user_data;
  GCancellable *cancellable; /* of our own */
  GCancellable *parent;
  gulong handler;

  GMutex lock;
  GCond cond;
  GQueue queue;        /* of Fetch, for a place */
  GHashTable *digests; /* what was asked for */
  guint running;       /* tasks in the pool */
  guint pending;       /* blobs that have not ended */
  GError *error;       /* the first */
};

static void
fetch_free (Fetch *self)
{
  gantry_descriptor_unref (self->blob);
  g_strfreev (self->urls);
  g_clear_pointer (&self->ranges, ranges_unref);
  g_free (self);
}

static void
flight_free (gpointer data)
{
  Flight *flight = data;

  g_ptr_array_unref (flight->waiting);
  g_free (flight);
}

/* With the lock. */
static void
schedule (Fetches *self)
{
  while (self->running < self->pool->max_per_pull && !g_queue_is_empty (&self->queue))
    {
      self->running++;
      g_thread_pool_push (self->pool->threads, g_queue_pop_head (&self->queue), NULL);
    }
}

static void
queue (Fetch *fetch, gboolean first)
{
  Fetches *self = fetch->fetches;

  g_mutex_lock (&self->lock);
  if (first)
    g_queue_push_head (&self->queue, fetch);
  else
    g_queue_push_tail (&self->queue, fetch);
  schedule (self);
  g_mutex_unlock (&self->lock);
}

/* The blob is there, or will not be. Consumes @fetch. */
static void
finish (Fetch *fetch, const GError *error)
{
  Fetches *self = fetch->fetches;
  gboolean first;

  progress_item (self->progress, fetch->blob->digest, error != NULL ? "failed" : "done", 0, FALSE);
  self->func (fetch->blob, error, self->user_data);
  g_mutex_lock (&self->lock);
  first = error != NULL && self->error == NULL;
  if (first)
    self->error = g_error_copy (error);
  g_mutex_unlock (&self->lock);
  if (first)
    fetches_cancel (self);
  fetch_free (fetch);
  g_mutex_lock (&self->lock);
  self->pending--;
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->lock);
}

/* Tells everybody who waits for the blob how far it is. */
static void
report (guint64 bytes, gpointer user_data)
{
  Fetch *fetch = user_data;
  FetchPool *pool = fetch->fetches->pool;
  Flight *flight;

  progress_bytes (fetch->fetches->progress, fetch->blob->digest, bytes);
  g_mutex_lock (&pool->lock);
  flight = g_hash_table_lookup (pool->flights, fetch->blob->digest);
  for (guint i = 0; flight != NULL && i < flight->waiting->len; i++)
    {
      Fetch *other = g_ptr_array_index (flight->waiting, i);

      progress_bytes (other->fetches->progress, other->blob->digest, bytes);
    }
  g_mutex_unlock (&pool->lock);
}

static void
grew (guint64 bytes, gpointer user_data)
{
  Fetch *fetch = user_data;

  if (fetch->fetches->grew != NULL)
    fetch->fetches->grew (fetch->blob, fetch->ingest, bytes, fetch->fetches->user_data);
}

/* How fast a stream is, looked at now and then. */
typedef struct
{
  gint64 since;
  guint64 from; /* where it was then */
} Rate;

/* Whether @offset shows that the stream has been slow since the last look. */
static gboolean
rate_is_low (Rate *self, guint64 offset)
{
  gint64 now = g_get_monotonic_time (), elapsed = now - self->since;
  gboolean low = (offset - self->from) * G_USEC_PER_SEC < (guint64)elapsed * RANGES_BELOW;

  if (elapsed < RATE_USEC)
    return FALSE;
  *self = (Rate){ now, offset };
  return low;
}

/* Asked before a stream is given up: a host that serves no ranges would send all that is here once more. */
static gboolean
serves_ranges (Fetch *fetch, guint64 offset)
{
  Fetches *self = fetch->fetches;
  g_autoptr (GInputStream) stream = NULL;

  return gantry_repository_fetch (self->repository, fetch->blob, (const char *const *)fetch->urls, offset, 1,
                                  &stream, self->cancellable, NULL);
}

/* Appends what is missing, from *@offset on; @may_turn: or, if that is slow and the rest is long, only some
 * of it. */
static gboolean
copy_stream (Fetch *fetch, GantryIngest *ingest, guint64 *offset, gboolean may_turn, GError **error)
{
  Fetches *self = fetch->fetches;
  g_autofree guint8 *buffer = g_malloc (CHUNK);
  g_autoptr (GInputStream) stream = NULL;
  Rate rate = { g_get_monotonic_time (), *offset };
  gssize n;

  if (!gantry_repository_fetch (self->repository, fetch->blob, (const char *const *)fetch->urls, *offset, 0,
                                &stream, self->cancellable, error))
    return FALSE;
  while ((n = g_input_stream_read (stream, buffer, CHUNK, self->cancellable, error)) > 0)
    {
      if (!gantry_ingest_write (ingest, buffer, (gsize)n, self->cancellable, error))
        return FALSE;
      *offset += (guint64)n;
      report (*offset, fetch);
      grew (*offset, fetch);
      if (!may_turn || !rate_is_low (&rate, *offset) || fetch->blob->blob_size - *offset < RANGES_FROM)
        continue;
      if (serves_ranges (fetch, *offset))
        return TRUE;
      may_turn = FALSE;
    }
  return n == 0;
}

static gboolean
copy_ranges (Fetch *fetch, GantryIngest *ingest, guint64 offset, GError **error)
{
  Fetches *self = fetch->fetches;
  Ranges *ranges = ranges_new (self->repository, fetch->blob, (const char *const *)fetch->urls, ingest,
                               offset, report, grew, fetch, self->cancellable);
  gboolean unsupported = FALSE, ok;

  /* Behind every blob that waits: they help only if there is a place for nothing better. */
  for (guint i = 0; i < RANGE_HELPERS; i++)
    {
      Fetch *helper = g_new0 (Fetch, 1);

      helper->fetches = self;
      helper->ranges = ranges_ref (ranges);
      queue (helper, FALSE);
    }
  ok = ranges_run (ranges, &unsupported, &offset, error);
  ranges_unref (ranges);
  return ok && (!unsupported || copy_stream (fetch, ingest, &offset, FALSE, error));
}

/* A connection that is fast costs less than several: both ends, for one may be this machine too, have less to
 * do. */
static gboolean
copy_large (Fetch *fetch, GantryIngest *ingest, guint64 offset, GError **error)
{
  return copy_stream (fetch, ingest, &offset, TRUE, error)
         && (offset == fetch->blob->blob_size || copy_ranges (fetch, ingest, offset, error));
}

/* As containerd's clients name them, so that people find them. */
static char *
ref_of (GantryDescriptor *blob)
{
  const char *what
      = oci_is_index (blob->media_type)      ? "index"
        : oci_is_manifest (blob->media_type) ? "manifest"
        : strstr (blob->media_type, "config") != NULL || strstr (blob->media_type, "container.image") != NULL
            ? "config"
            : "layer";

  return g_strconcat (what, "-", blob->digest, NULL);
}

/* Opens the ingest, waiting while another writer, such as a client of its own, has it. Returns: FALSE without
 * an error: it exists. */
static gboolean
open_ingest (Fetch *fetch, const char *ref, GantryIngest **ret_ingest, GError **error)
{
  Fetches *self = fetch->fetches;

  for (;;)
    {
      g_autoptr (GError) local = NULL;
      GPollFD cancel = { -1, 0, 0 };

      if (gantry_content_open_ingest (self->content, ref, fetch->blob->blob_size, fetch->blob->digest,
                                      ret_ingest, self->cancellable, &local))
        return TRUE;
      if (gantry_error_is (local, GANTRY_ERROR_ALREADY_EXISTS))
        return FALSE;
      if (gantry_error_is (local, GANTRY_ERROR_FAILED_PRECONDITION))
        {
          /* Left by somebody who thought it had another size. */
          if (!gantry_content_abort_ingest (self->content, ref, self->cancellable, error))
            return FALSE;
          continue;
        }
      if (!gantry_error_is (local, GANTRY_ERROR_UNAVAILABLE))
        {
          g_propagate_error (error, g_steal_pointer (&local));
          return FALSE;
        }
      if (g_cancellable_make_pollfd (self->cancellable, &cancel))
        {
          g_poll (&cancel, 1, BUSY_MS);
          g_cancellable_release_fd (self->cancellable);
        }
      if (g_cancellable_set_error_if_cancelled (self->cancellable, error))
        return FALSE;
    }
}

static gboolean
commit (Fetch *fetch, GantryIngest *ingest, GError **error)
{
  Fetches *self = fetch->fetches;
  g_autoptr (GError) local = NULL;

  progress_item (self->progress, fetch->blob->digest, "verifying", 0, FALSE);
  if (gantry_ingest_commit (ingest, fetch->blob->blob_size, fetch->blob->digest, self->labels, NULL,
                            self->cancellable, &local)
      || gantry_error_is (local, GANTRY_ERROR_ALREADY_EXISTS))
    return TRUE;
  if (gantry_error_is (local, GANTRY_ERROR_FAILED_PRECONDITION))
    return gantry_throw (error, GANTRY_ERROR_DATA_LOSS, "what the registry sent is something else: %s",
                         local->message);
  g_propagate_error (error, g_steal_pointer (&local));
  return FALSE;
}

/* One attempt. *@ret_resumed: it went on where an earlier one had ended. */
static gboolean
attempt (Fetch *fetch, gboolean *ret_resumed, GError **error)
{
  Fetches *self = fetch->fetches;
  g_autofree char *ref = ref_of (fetch->blob);
  g_autoptr (GantryIngest) ingest = NULL;
  g_autoptr (GantryIngestStatus) status = NULL;
  g_autoptr (GError) local = NULL;
  guint64 offset;

  *ret_resumed = FALSE;
  if (!open_ingest (fetch, ref, &ingest, &local))
    {
      if (local == NULL)
        {
          progress_item (self->progress, fetch->blob->digest, "exists", 0, FALSE);
          return TRUE;
        }
      g_propagate_error (error, g_steal_pointer (&local));
      return FALSE;
    }
  if (!gantry_ingest_get_status (ingest, &status, self->cancellable, error))
    return FALSE;
  offset = status->offset;
  *ret_resumed = offset > 0;
  progress_item (self->progress, fetch->blob->digest, "downloading", 0, FALSE);
  report (offset, fetch);
  fetch->ingest = ingest;
  grew (offset, fetch);
  if (offset < fetch->blob->blob_size && !copy_large (fetch, ingest, offset, error))
    return FALSE;
  return commit (fetch, ingest, error);
}

static gboolean
transfer (Fetch *fetch, GError **error)
{
  g_autoptr (GError) local = NULL;
  gboolean resumed;

  if (attempt (fetch, &resumed, &local))
    return TRUE;
  /* What an earlier attempt left may be spoilt, as by a power cut; then it is gone now, and once more is
   * worth it. */
  if (resumed && gantry_error_is (local, GANTRY_ERROR_DATA_LOSS))
    {
      g_clear_error (&local);
      if (attempt (fetch, &resumed, &local))
        return TRUE;
    }
  g_propagate_prefixed_error (error, g_steal_pointer (&local), "blob %s: ", fetch->blob->digest);
  return FALSE;
}

/* Returns: FALSE if somebody else is at it, and @fetch then waits for that, or with an error: it was
 * cancelled. */
static gboolean
take_off (Fetch *fetch, GError **error)
{
  FetchPool *pool = fetch->fetches->pool;
  Flight *flight;

  g_mutex_lock (&pool->lock);
  flight = g_hash_table_lookup (pool->flights, fetch->blob->digest);
  /* Asked with the lock: whoever cancels looks for those who wait after that. */
  if (g_cancellable_set_error_if_cancelled (fetch->fetches->cancellable, error))
    flight = NULL;
  else if (flight != NULL)
    g_ptr_array_add (flight->waiting, fetch);
  else
    {
      Flight *own = g_new0 (Flight, 1);

      own->waiting = g_ptr_array_new ();
      g_hash_table_insert (pool->flights, g_strdup (fetch->blob->digest), own);
    }
  g_mutex_unlock (&pool->lock);
  return flight == NULL && (error == NULL || *error == NULL);
}

/* Returns: (transfer full): those who waited; each looks for itself now. */
static GPtrArray *
land (Fetch *fetch)
{
  FetchPool *pool = fetch->fetches->pool;
  GPtrArray *waiting;
  Flight *flight;

  g_mutex_lock (&pool->lock);
  flight = g_hash_table_lookup (pool->flights, fetch->blob->digest);
  waiting = g_ptr_array_ref (flight->waiting);
  g_hash_table_remove (pool->flights, fetch->blob->digest);
  g_mutex_unlock (&pool->lock);
  return waiting;
}

static void
run (Fetch *fetch)
{
  g_autoptr (GPtrArray) waiting = NULL;
  g_autoptr (GError) error = NULL;

  if (!take_off (fetch, &error))
    {
      if (error != NULL)
        finish (fetch, error);
      return;
    }
  transfer (fetch, &error);
  waiting = land (fetch);
  finish (fetch, error);
  for (guint i = 0; i < waiting->len; i++)
    queue (g_ptr_array_index (waiting, i), TRUE);
}

static void
work (gpointer data, gpointer unused)
{
  Fetch *fetch = data;
  Fetches *self = fetch->fetches;

  if (fetch->ranges != NULL)
    {
      ranges_help (fetch->ranges);
      fetch_free (fetch);
    }
  else
    run (fetch);
  g_mutex_lock (&self->lock);
  self->running--;
  schedule (self);
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->lock);
}

FetchPool *
fetch_pool_new (guint max_fetches, guint max_per_pull)
{
  FetchPool *self = g_new0 (FetchPool, 1);

  g_mutex_init (&self->lock);
  self->threads = g_thread_pool_new (work, NULL, (int)max_fetches, FALSE, NULL);
  self->max_per_pull = max_per_pull;
  self->flights = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, flight_free);
  return self;
}

void
fetch_pool_free (FetchPool *self)
{
  if (self == NULL)
    return;
  g_thread_pool_free (self->threads, FALSE, TRUE);
  g_hash_table_unref (self->flights);
  g_mutex_clear (&self->lock);
  g_free (self);
}

/* Those of ours that wait for somebody else's. */
static GPtrArray *
leave_flights (Fetches *self)
{
  GPtrArray *left = g_ptr_array_new ();
  GHashTableIter iter;
  gpointer value;

  g_mutex_lock (&self->pool->lock);
  g_hash_table_iter_init (&iter, self->pool->flights);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    {
      Flight *flight = value;

      for (guint i = flight->waiting->len; i > 0; i--)
        if (((Fetch *)g_ptr_array_index (flight->waiting, i - 1))->fetches == self)
          g_ptr_array_add (left, g_ptr_array_remove_index (flight->waiting, i - 1));
    }
  g_mutex_unlock (&self->pool->lock);
  return left;
}

void
fetches_cancel (Fetches *self)
{
  g_autoptr (GPtrArray) left = NULL;
  g_autoptr (GError) error = NULL;

  g_cancellable_cancel (self->cancellable);
  g_cancellable_set_error_if_cancelled (self->cancellable, &error);
  left = leave_flights (self);
  for (guint i = 0; i < left->len; i++)
    finish (g_ptr_array_index (left, i), error);
}

static void
on_parent_cancelled (GCancellable *parent, gpointer data)
{
  fetches_cancel (data);
}

Fetches *
fetches_new (FetchPool *pool, Progress *progress, GantryContent *content, GantryRepository *repository,
             GVariant *labels, FetchFunc func, FetchGrewFunc grew_func, gpointer user_data,
             GCancellable *cancellable)
{
  Fetches *self = g_new0 (Fetches, 1);

  *self = (Fetches){ .pool = pool,
                     .progress = progress,
                     .content = content,
                     .repository = repository,
                     .labels = labels,
                     .func = func,
                     .grew = grew_func,
                     .user_data = user_data,
                     .parent = cancellable };
  g_mutex_init (&self->lock);
  g_cond_init (&self->cond);
  g_queue_init (&self->queue);
  self->digests = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  self->cancellable = g_cancellable_new ();
  if (cancellable != NULL)
    self->handler = g_cancellable_connect (cancellable, G_CALLBACK (on_parent_cancelled), self, NULL);
  return self;
}

void
fetches_add (Fetches *self, GantryDescriptor *blob, const char *const *urls)
{
  Fetch *fetch;

  g_mutex_lock (&self->lock);
  if (!g_hash_table_add (self->digests, g_strdup (blob->digest)))
    {
      g_mutex_unlock (&self->lock);
      return;
    }
  self->pending++;
  g_mutex_unlock (&self->lock);
  fetch = g_new0 (Fetch, 1);
  fetch->fetches = self;
  fetch->blob = gantry_descriptor_ref (blob);
  fetch->urls = g_strdupv ((char **)urls);
  progress_item (self->progress, blob->digest, "waiting", blob->blob_size, TRUE);
  queue (fetch, FALSE);
}

gboolean
fetches_wait (Fetches *self, GError **error)
{
  gboolean ok;

  g_mutex_lock (&self->lock);
  while (self->pending > 0)
    g_cond_wait (&self->cond, &self->lock);
  ok = self->error == NULL;
  if (!ok && error != NULL)
    *error = g_error_copy (self->error);
  g_mutex_unlock (&self->lock);
  return ok;
}

void
fetches_free (Fetches *self)
{
  if (self == NULL)
    return;
  fetches_cancel (self);
  g_mutex_lock (&self->lock);
  while (self->pending > 0 || self->running > 0)
    g_cond_wait (&self->cond, &self->lock);
  g_mutex_unlock (&self->lock);
  if (self->handler != 0)
    g_cancellable_disconnect (self->parent, self->handler);
  while (!g_queue_is_empty (&self->queue))
    fetch_free (g_queue_pop_head (&self->queue));
  g_clear_error (&self->error);
  g_hash_table_unref (self->digests);
  g_object_unref (self->cancellable);
  g_mutex_clear (&self->lock);
  g_cond_clear (&self->cond);
  g_free (self);
}
