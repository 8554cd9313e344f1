/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Each thread takes the next range, reads it into memory, and writes it when everything before it is written:
 * the ingest always holds the blob's beginning, so that it can be resumed, and is hashed in order. Memory:
 * one range a thread. */
#include "fetch-private.h"

#define RANGE (4 * 1024 * 1024)

struct _Ranges
{
  gint refs; /* (atomic) */
  GantryRepository *repository;
  GantryDescriptor *blob;
  const char *const *urls;
  GantryIngest *ingest;
  FetchReport report, grew;
  gpointer user_data;
  GCancellable *cancellable;

  GMutex lock;
  GCond cond;
  guint64 next;    /* the first byte that nobody has taken */
  guint64 written; /* the ingest's offset */
  guint64 read;    /* what has arrived, in order or not */
  guint active;    /* threads in it */
  gboolean closed; /* nobody may enter any more */
  gboolean unsupported;
  GError *error;
};

Ranges *
ranges_new (GantryRepository *repository, GantryDescriptor *blob, const char *const *urls,
            GantryIngest *ingest, guint64 offset, FetchReport report, FetchReport grew, gpointer user_data,
            GCancellable *cancellable)
{
  Ranges *self = g_new0 (Ranges, 1);

  *self = (Ranges){ .refs = 1,
                    .repository = repository,
                    .blob = blob,
                    .urls = urls,
                    .ingest = ingest,
                    .report = report,
                    .grew = grew,
                    .user_data = user_data,
                    .cancellable = cancellable,
                    .next = offset,
                    .written = offset,
                    .read = offset };
  g_mutex_init (&self->lock);
  g_cond_init (&self->cond);
  return self;
}

Ranges *
ranges_ref (Ranges *self)
{
  g_atomic_int_inc (&self->refs);
  return self;
}

void
ranges_unref (Ranges *self)
{
  if (!g_atomic_int_dec_and_test (&self->refs))
    return;
  g_clear_error (&self->error);
  g_mutex_clear (&self->lock);
  g_cond_clear (&self->cond);
  g_free (self);
}

static gboolean
read_range (Ranges *self, guint8 *buffer, guint64 start, gsize length, GError **error)
{
  g_autoptr (GInputStream) stream = NULL;
  gsize done = 0;

  if (!gantry_repository_fetch (self->repository, self->blob, self->urls, start, length, &stream,
                                self->cancellable, error))
    return FALSE;
  while (done < length)
    {
      gssize n = g_input_stream_read (stream, buffer + done, MIN (length - done, 256 * 1024),
                                      self->cancellable, error);
      guint64 read;

      if (n < 0)
        return FALSE;
      if (n == 0)
        return gantry_throw (error, GANTRY_ERROR_DATA_LOSS, "the registry sent less than was asked for");
      done += (gsize)n;
      g_mutex_lock (&self->lock);
      self->read += (gsize)n;
      read = self->read;
      g_mutex_unlock (&self->lock);
      self->report (read, self->user_data);
    }
  return TRUE;
}

/* Waits for the turn of the range at @start and writes it. */
static gboolean
write_range (Ranges *self, const guint8 *buffer, guint64 start, gsize length, GError **error)
{
  gboolean turn;

  g_mutex_lock (&self->lock);
  while (self->written != start && self->error == NULL && !self->unsupported)
    g_cond_wait (&self->cond, &self->lock);
  turn = self->written == start && self->error == NULL;
  g_mutex_unlock (&self->lock);
  if (!turn)
    return TRUE;
  if (!gantry_ingest_write (self->ingest, buffer, length, self->cancellable, error))
    return FALSE;
  self->grew (start + length, self->user_data);
  g_mutex_lock (&self->lock);
  self->written = start + length;
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->lock);
  return TRUE;
}

/* Takes the next range. Returns: FALSE if there is none. */
static gboolean
take (Ranges *self, guint64 *ret_start, gsize *ret_length)
{
  gboolean ok;

  g_mutex_lock (&self->lock);
  ok = self->error == NULL && !self->unsupported && self->next < self->blob->blob_size;
  if (ok)
    {
      *ret_start = self->next;
      *ret_length = (gsize)MIN (RANGE, self->blob->blob_size - self->next);
      self->next += *ret_length;
    }
  g_mutex_unlock (&self->lock);
  return ok;
}

static void
fail (Ranges *self, GError *error)
{
  g_mutex_lock (&self->lock);
  if (gantry_error_is (error, GANTRY_ERROR_NOT_IMPLEMENTED))
    self->unsupported = TRUE;
  else if (self->error == NULL)
    self->error = g_error_copy (error);
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->lock);
}

static void
work (Ranges *self)
{
  g_autofree guint8 *buffer = g_malloc (RANGE);
  guint64 start;
  gsize length;

  while (take (self, &start, &length))
    {
      g_autoptr (GError) error = NULL;

      if (!read_range (self, buffer, start, length, &error)
          || !write_range (self, buffer, start, length, &error))
        {
          fail (self, error);
          return;
        }
    }
}

void
ranges_help (Ranges *self)
{
  gboolean enter;

  g_mutex_lock (&self->lock);
  enter = !self->closed;
  self->active += enter ? 1 : 0;
  g_mutex_unlock (&self->lock);
  if (!enter)
    return;
  work (self);
  g_mutex_lock (&self->lock);
  self->active--;
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->lock);
}

gboolean
ranges_run (Ranges *self, gboolean *ret_unsupported, guint64 *ret_offset, GError **error)
{
  work (self);
  g_mutex_lock (&self->lock);
  self->closed = TRUE;
  while (self->active > 0)
    g_cond_wait (&self->cond, &self->lock);
  g_mutex_unlock (&self->lock);
  *ret_unsupported = self->unsupported;
  *ret_offset = self->written;
  if (self->error != NULL)
    g_propagate_error (error, g_steal_pointer (&self->error));
  else
    return TRUE;
  return FALSE;
}
