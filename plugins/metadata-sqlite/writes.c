/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "writes.h"

#define MAX_QUEUE 65536
#define MAX_BATCH 512
/* For how long at most a batch waits for writers that were there a moment ago, and how many batches do not
 * after one waited for nobody. */
#define MAX_PAUSE_US      2000
#define IMPATIENT_BATCHES 16

/* What is known of those who write: when many wait for one commit they come back together a moment after it,
 * and a batch that waits for all of them saves the sync of another. */
typedef struct
{
  guint
      expected; /* writes that are under way, by the last batch: those in it and those that came meanwhile */
  gint64 pause; /* half of what the last commit took, µs */
  guint impatient;
} Rhythm;

struct _Writes
{
  WritesRun run;
  gpointer data;

  GMutex lock;
  GQueue queue;
  gboolean led;  /* somebody leads, or has been told to */
  guint wanted;  /* how many must be queued before a leader that gathers is woken; 0: none does */
  GCond arrived; /* as many were queued */
  gboolean closing;

  GThread *thread;
  gboolean thread_leads;
  GCond thread_turn;

  /* The leader's. */
  GPtrArray *batch;
  Rhythm rhythm;
};

static void
write_free (Write *write)
{
  if (write->error != NULL)
    g_warning ("a queued write failed: %s", write->error->message);
  if (write->destroy != NULL)
    write->destroy (write->data);
  g_clear_error (&write->error);
  g_free (write);
}

/* All that follows is with the lock, which lead () lets go while a batch runs. */

static void
gather (Writes *self)
{
  Rhythm *rhythm = &self->rhythm;
  guint before = g_queue_get_length (&self->queue);
  gint64 until;

  if (rhythm->impatient > 0)
    {
      rhythm->impatient--;
      return;
    }
  if (before >= rhythm->expected)
    return;
  until = g_get_monotonic_time () + rhythm->pause;
  self->wanted = rhythm->expected;
  while (g_queue_get_length (&self->queue) < self->wanted && !self->closing)
    if (!g_cond_wait_until (&self->arrived, &self->lock, until))
      break;
  self->wanted = 0;
  if (g_queue_get_length (&self->queue) == before)
    rhythm->impatient = IMPATIENT_BATCHES;
}

static gboolean
take_batch (Writes *self)
{
  gboolean durable = FALSE;

  while (self->batch->len < MAX_BATCH && !g_queue_is_empty (&self->queue))
    {
      Write *write = g_queue_pop_head (&self->queue);

      durable |= write->durable;
      g_ptr_array_add (self->batch, write);
    }
  return durable;
}

/* @own: (nullable): the leader's. */
static void
end_batch (Writes *self, Write *own)
{
  for (guint i = 0; i < self->batch->len; i++)
    {
      Write *write = g_ptr_array_index (self->batch, i);

      write->done = TRUE;
      if (!write->waited)
        write_free (write);
      else if (write != own)
        g_cond_signal (&write->turn);
    }
  g_ptr_array_set_size (self->batch, 0);
}

static void
hand_over (Writes *self)
{
  Write *next = g_queue_peek_head (&self->queue);

  if (next != NULL && next->waited)
    {
      next->leads = TRUE;
      g_cond_signal (&next->turn);
      return;
    }
  self->led = self->thread_leads = next != NULL;
  if (next != NULL || self->closing)
    g_cond_signal (&self->thread_turn);
}

/* Runs batches until @own is done; one, if it is NULL. */
static void
lead (Writes *self, Write *own)
{
  do
    {
      gint64 begun;
      gboolean durable;

      gather (self);
      durable = take_batch (self);
      g_mutex_unlock (&self->lock);
      begun = g_get_monotonic_time ();
      self->run (self->batch, durable, self->data);
      self->rhythm.pause = MIN ((g_get_monotonic_time () - begun) / 2, MAX_PAUSE_US);
      g_mutex_lock (&self->lock);
      self->rhythm.expected
          = durable ? MIN (self->batch->len + g_queue_get_length (&self->queue), MAX_BATCH) : 1;
      end_batch (self, own);
    }
  while (own != NULL && !own->done);
  hand_over (self);
}

static gpointer
thread_main (gpointer data)
{
  Writes *self = data;

  g_mutex_lock (&self->lock);
  for (;;)
    {
      while (!self->thread_leads && (self->led || !self->closing))
        g_cond_wait (&self->thread_turn, &self->lock);
      if (!self->thread_leads)
        break;
      self->thread_leads = FALSE;
      lead (self, NULL);
    }
  g_mutex_unlock (&self->lock);
  return NULL;
}

static gboolean
enqueue (Writes *self, Write *write, GError **error)
{
  if (self->closing)
    return gantry_throw (error, GANTRY_ERROR_UNAVAILABLE, "the metadata database is closing");
  if (g_queue_get_length (&self->queue) >= MAX_QUEUE)
    return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED,
                         "more than %d writes are waiting for the metadata database", MAX_QUEUE);
  g_queue_push_tail (&self->queue, write);
  if (self->wanted > 0 && g_queue_get_length (&self->queue) >= self->wanted)
    g_cond_signal (&self->arrived);
  return TRUE;
}

gboolean
writes_run (Writes *self, Write *write, GError **error)
{
  gboolean queued;

  write->waited = TRUE;
  g_cond_init (&write->turn);
  g_mutex_lock (&self->lock);
  queued = enqueue (self, write, error);
  if (queued && !self->led)
    self->led = write->leads = TRUE;
  while (queued && !write->done && !write->leads)
    g_cond_wait (&write->turn, &self->lock);
  if (queued && !write->done)
    lead (self, write);
  g_mutex_unlock (&self->lock);
  g_cond_clear (&write->turn);
  return queued;
}

gboolean
writes_queue (Writes *self, Write *write, GError **error)
{
  gboolean queued;

  g_mutex_lock (&self->lock);
  queued = enqueue (self, write, error);
  if (queued && !self->led)
    {
      self->led = self->thread_leads = TRUE;
      g_cond_signal (&self->thread_turn);
    }
  g_mutex_unlock (&self->lock);
  return queued;
}

Writes *
writes_new (WritesRun run, gpointer data)
{
  Writes *self = g_new0 (Writes, 1);

  self->run = run;
  self->data = data;
  g_mutex_init (&self->lock);
  g_cond_init (&self->arrived);
  g_cond_init (&self->thread_turn);
  g_queue_init (&self->queue);
  self->batch = g_ptr_array_new ();
  self->thread = g_thread_new ("metadata", thread_main, self);
  return self;
}

void
writes_free (Writes *self)
{
  if (self == NULL)
    return;
  g_mutex_lock (&self->lock);
  self->closing = TRUE;
  g_cond_signal (&self->arrived);
  g_cond_signal (&self->thread_turn);
  g_mutex_unlock (&self->lock);
  g_thread_join (self->thread);
  g_ptr_array_unref (self->batch);
  g_cond_clear (&self->arrived);
  g_cond_clear (&self->thread_turn);
  g_mutex_clear (&self->lock);
  g_free (self);
}
