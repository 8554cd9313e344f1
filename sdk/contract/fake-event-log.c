/* SPDX-License-Identifier: MIT */
#include "fake-events.h"

#include "fake-support.h"

#define MAX_EVENTS 1024

typedef struct
{
  GantryEventLog log;
  GMutex lock;   /* of what follows */
  GQueue events; /* of GantryEvent, oldest first */
  guint64 last;
  GMutex sink_lock; /* taken before lock; held while the sink is called */
  GantryEventLogSink sink;
  gpointer sink_data;
} FakeLog;

static gboolean
log_append (GantryEventLog *log, GantryEvent *event, GCancellable *cancellable, GError **error)
{
  FakeLog *self = (FakeLog *)log;
  g_autoptr (GPtrArray) told = g_ptr_array_new ();

  if (!gantry_fake_check_cancelled (cancellable, error))
    return FALSE;
  g_mutex_lock (&self->sink_lock);
  g_mutex_lock (&self->lock);
  event->seq = ++self->last;
  g_queue_push_tail (&self->events, gantry_event_ref (event));
  if (g_queue_get_length (&self->events) > MAX_EVENTS)
    gantry_event_unref (g_queue_pop_head (&self->events));
  g_mutex_unlock (&self->lock);
  g_ptr_array_add (told, event);
  if (self->sink != NULL)
    self->sink (told, self->sink_data);
  g_mutex_unlock (&self->sink_lock);
  return TRUE;
}

static gboolean
log_read (GantryEventLog *log, guint64 cursor, guint limit, GPtrArray **ret_events, guint64 *ret_trimmed,
          GCancellable *cancellable, GError **error)
{
  FakeLog *self = (FakeLog *)log;
  GPtrArray *events;
  guint64 oldest;

  if (!gantry_fake_check_cancelled (cancellable, error))
    return FALSE;
  events = g_ptr_array_new_with_free_func (gantry_value_unref);
  g_mutex_lock (&self->lock);
  oldest = self->last - g_queue_get_length (&self->events) + 1;
  *ret_trimmed = cursor < oldest - 1 ? oldest - 1 - cursor : 0;
  for (GList *link = self->events.head; link != NULL && events->len < limit; link = link->next)
    if (((GantryEvent *)link->data)->seq > cursor)
      g_ptr_array_add (events, gantry_event_ref (link->data));
  g_mutex_unlock (&self->lock);
  *ret_events = events;
  return TRUE;
}

static void
log_set_sink (GantryEventLog *log, GantryEventLogSink sink, gpointer user_data)
{
  FakeLog *self = (FakeLog *)log;

  g_mutex_lock (&self->sink_lock);
  self->sink = sink;
  self->sink_data = user_data;
  g_mutex_unlock (&self->sink_lock);
}

static guint64
log_get_last (GantryEventLog *log)
{
  FakeLog *self = (FakeLog *)log;
  guint64 last;

  g_mutex_lock (&self->lock);
  last = self->last;
  g_mutex_unlock (&self->lock);
  return last;
}

static const GantryEventLogVtable vtable = {
  .size = sizeof vtable,
  .append = log_append,
  .read = log_read,
  .set_sink = log_set_sink,
  .get_last = log_get_last,
};

GantryEventLog *
gantry_fake_event_log_new (void)
{
  FakeLog *self = g_new0 (FakeLog, 1);

  self->log.vtable = &vtable;
  g_mutex_init (&self->lock);
  g_mutex_init (&self->sink_lock);
  g_queue_init (&self->events);
  return &self->log;
}

void
gantry_fake_event_log_free (GantryEventLog *log)
{
  FakeLog *self = (FakeLog *)log;

  if (self == NULL)
    return;
  g_queue_clear_full (&self->events, gantry_value_unref);
  g_mutex_clear (&self->lock);
  g_mutex_clear (&self->sink_lock);
  g_free (self);
}
