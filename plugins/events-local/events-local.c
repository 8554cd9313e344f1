/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Fan-out of events. Numbers come from the event log where there is one (whoever has committed them then
 * calls sink ()), else from a counter that starts anew with the daemon. */
#include "events-local.h"

#include <string.h>

#include <filter.h>

#define MAX_SUBSCRIBERS 4096
#define MAX_PAYLOAD     (1024 * 1024)
#define REPLAY_PAGE     512

typedef struct
{
  gint refs; /* (atomic): the table's and each scheduled dispatch's */
  EventsLocal *events;
  guint64 id;
  GantryFilter *filter;
  GMainContext *context;
  GantryEventFunc func;
  gpointer user_data;
  GDestroyNotify destroy;

  GMutex lock;
  GQueue queue; /* of GantryEvent */
  guint64 lost; /* since the last delivery */
  gboolean scheduled;
  gboolean replaying; /* the queue waits for older events */
  gboolean ended;
} Subscriber;

static void
subscriber_unref (gpointer data)
{
  Subscriber *self = data;

  if (!g_atomic_int_dec_and_test (&self->refs))
    return;
  g_queue_clear_full (&self->queue, (GDestroyNotify)gantry_event_unref);
  gantry_filter_free (self->filter);
  g_main_context_unref (self->context);
  g_mutex_clear (&self->lock);
  g_free (self);
}

static Subscriber *
subscriber_ref (Subscriber *self)
{
  g_atomic_int_inc (&self->refs);
  return self;
}

static const char *
event_field (const char *const *path, guint n_path, gpointer object)
{
  GantryEvent *event = object;
  const char *text = NULL;

  if (n_path == 1 && strcmp (path[0], "topic") == 0)
    return event->topic;
  if (n_path == 1 && strcmp (path[0], "namespace") == 0)
    return event->ns;
  if (n_path == 2 && strcmp (path[0], "event") == 0
      && g_variant_lookup (event->payload, path[1], "&s", &text))
    return text;
  return NULL;
}

/* In the subscriber's context: hands over what is queued. */
static gboolean
dispatch (gpointer data)
{
  Subscriber *self = data;

  for (;;)
    {
      g_autoptr (GantryEvent) event = NULL;
      guint64 lost = 0;

      g_mutex_lock (&self->lock);
      if (!self->ended && !self->replaying)
        event = g_queue_pop_head (&self->queue);
      if (event == NULL)
        self->scheduled = FALSE;
      else
        {
          lost = self->lost;
          self->lost = 0;
        }
      g_mutex_unlock (&self->lock);
      if (event == NULL)
        return G_SOURCE_REMOVE;
      self->func (event, lost, self->user_data);
    }
}

static void
schedule (Subscriber *self)
{
  g_autoptr (GSource) source = g_idle_source_new ();

  g_source_set_priority (source, G_PRIORITY_DEFAULT);
  g_source_set_callback (source, dispatch, subscriber_ref (self), subscriber_unref);
  g_source_attach (source, self->context);
}

static gboolean
dispatch_all (gpointer data)
{
  GPtrArray *subscribers = data;

  for (guint i = 0; i < subscribers->len; i++)
    dispatch (g_ptr_array_index (subscribers, i));
  return G_SOURCE_REMOVE;
}

static void
array_unref (gpointer array)
{
  g_ptr_array_unref (array);
}

/* The same for many: one source a context instead of one each, which would wake it as often. Empties @woken
 * (element-type Subscriber). */
static void
schedule_all (GPtrArray *woken)
{
  while (woken->len > 0)
    {
      GMainContext *context = ((Subscriber *)g_ptr_array_index (woken, 0))->context;
      GPtrArray *together = g_ptr_array_new_with_free_func (subscriber_unref);
      g_autoptr (GSource) source = g_idle_source_new ();

      for (guint i = woken->len; i > 0; i--)
        if (((Subscriber *)g_ptr_array_index (woken, i - 1))->context == context)
          g_ptr_array_add (together, g_ptr_array_remove_index_fast (woken, i - 1));
      g_source_set_priority (source, G_PRIORITY_DEFAULT);
      g_source_set_callback (source, dispatch_all, together, array_unref);
      g_source_attach (source, context);
    }
}

/* Returns: whether it has to be scheduled. */
static gboolean
offer (Subscriber *self, GantryEvent *event)
{
  gboolean wake = FALSE;

  if (!gantry_filter_match (self->filter, event_field, event))
    return FALSE;
  g_mutex_lock (&self->lock);
  if (!self->ended)
    {
      if (g_queue_get_length (&self->queue) >= self->events->backlog)
        {
          gantry_event_unref (g_queue_pop_head (&self->queue));
          self->lost++;
        }
      g_queue_push_tail (&self->queue, gantry_event_ref (event));
      wake = !self->scheduled && !self->replaying;
      self->scheduled |= wake;
    }
  g_mutex_unlock (&self->lock);
  return wake;
}

static void
distribute (EventsLocal *self, GantryEvent *event)
{
  GHashTableIter iter;
  gpointer subscriber;
  g_autoptr (GPtrArray) woken = g_ptr_array_new ();

  g_mutex_lock (&self->lock);
  self->last = event->seq;
  g_hash_table_iter_init (&iter, self->subscribers);
  while (g_hash_table_iter_next (&iter, NULL, &subscriber))
    if (offer (subscriber, event))
      g_ptr_array_add (woken, subscriber_ref (subscriber));
  g_mutex_unlock (&self->lock);
  schedule_all (woken);
}

static void
sink (GPtrArray *events, gpointer user_data)
{
  for (guint i = 0; i < events->len; i++)
    distribute (user_data, g_ptr_array_index (events, i));
}

static gboolean
events_publish (GantryEvents *events, const char *ns, const char *topic, GVariant *payload,
                GCancellable *cancellable, GError **error)
{
  EventsLocal *self = (EventsLocal *)events;
  g_autoptr (GVariant) held = g_variant_ref_sink (payload);
  g_autoptr (GantryEvent) event = NULL;

  if (topic == NULL || topic[0] != '/' || topic[1] == '\0' || strlen (topic) > GANTRY_MAX_NAME)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "topic \"%s\" must begin with \"/\": invalid argument", topic != NULL ? topic : "");
  if (!g_variant_is_of_type (held, G_VARIANT_TYPE_VARDICT))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the payload of %s is not a{sv}", topic);
  if (g_variant_get_size (held) > MAX_PAYLOAD)
    return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "the payload of %s has more than %d bytes",
                         topic, MAX_PAYLOAD);
  event = gantry_event_new (0, gantry_now_ns (), ns, topic, held);
  if (self->log != NULL)
    return gantry_event_log_append (self->log, event, cancellable, error);
  g_mutex_lock (&self->number_lock);
  event->seq = self->last + 1;
  distribute (self, event);
  g_mutex_unlock (&self->number_lock);
  return TRUE;
}

/* Queues what the log has after @cursor and up to @until in front of what has arrived meanwhile. */
static gboolean
replay (EventsLocal *self, Subscriber *subscriber, guint64 cursor, guint64 until, GError **error)
{
  g_autoptr (GPtrArray) older = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_event_unref);
  guint64 lost = 0;

  while (self->log != NULL && cursor < until)
    {
      g_autoptr (GPtrArray) page = NULL;
      guint64 trimmed = 0;

      if (!gantry_event_log_read (self->log, cursor, REPLAY_PAGE, &page, &trimmed, NULL, error))
        return FALSE;
      lost += trimmed;
      for (guint i = 0; i < page->len; i++)
        {
          GantryEvent *event = g_ptr_array_index (page, i);

          cursor = event->seq;
          if (cursor <= until && gantry_filter_match (subscriber->filter, event_field, event))
            g_ptr_array_add (older, gantry_event_ref (event));
        }
      if (page->len == 0)
        break;
    }
  g_mutex_lock (&subscriber->lock);
  for (guint i = older->len; i > 0; i--)
    g_queue_push_head (&subscriber->queue, gantry_event_ref (g_ptr_array_index (older, i - 1)));
  subscriber->lost += lost;
  subscriber->replaying = FALSE;
  subscriber->scheduled = TRUE;
  g_mutex_unlock (&subscriber->lock);
  schedule (subscriber);
  return TRUE;
}

static gboolean
events_subscribe (GantryEvents *events, const char *const *filters, guint64 cursor, GMainContext *context,
                  GantryEventFunc func, gpointer user_data, GDestroyNotify destroy, guint64 *ret_id,
                  GCancellable *cancellable, GError **error)
{
  EventsLocal *self = (EventsLocal *)events;
  GantryFilter *filter = gantry_filter_new (filters, error);
  Subscriber *subscriber;
  guint64 until;

  if (filter == NULL)
    return FALSE;
  subscriber = g_new0 (Subscriber, 1);
  subscriber->refs = 1;
  subscriber->events = self;
  subscriber->filter = filter;
  subscriber->context
      = g_main_context_ref (context != NULL ? context : self->host->get_main_context (self->host));
  subscriber->func = func;
  subscriber->user_data = user_data;
  subscriber->replaying = cursor != GANTRY_EVENTS_NOW;
  g_mutex_init (&subscriber->lock);
  g_queue_init (&subscriber->queue);

  g_mutex_lock (&self->lock);
  if (g_hash_table_size (self->subscribers) >= MAX_SUBSCRIBERS)
    {
      g_mutex_unlock (&self->lock);
      subscriber_unref (subscriber);
      return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED,
                           "there are %d subscribers to events already", MAX_SUBSCRIBERS);
    }
  subscriber->id = ++self->last_id;
  until = self->last;
  subscriber_ref (subscriber);
  g_hash_table_insert (self->subscribers, &subscriber->id, subscriber);
  g_mutex_unlock (&self->lock);

  if (cursor != GANTRY_EVENTS_NOW && !replay (self, subscriber, cursor, until, error))
    {
      gantry_events_unsubscribe (events, subscriber->id);
      subscriber_unref (subscriber);
      return FALSE;
    }
  subscriber->destroy = destroy;
  *ret_id = subscriber->id;
  subscriber_unref (subscriber);
  return TRUE;
}

static gboolean
call_destroy (gpointer data)
{
  Subscriber *self = data;

  self->destroy (self->user_data);
  return G_SOURCE_REMOVE;
}

static void
end_subscriber (Subscriber *self)
{
  g_mutex_lock (&self->lock);
  self->ended = TRUE;
  g_mutex_unlock (&self->lock);
  if (self->destroy != NULL)
    {
      g_autoptr (GSource) source = g_idle_source_new ();

      g_source_set_callback (source, call_destroy, subscriber_ref (self), subscriber_unref);
      g_source_attach (source, self->context);
    }
  subscriber_unref (self);
}

static void
events_unsubscribe (GantryEvents *events, guint64 id)
{
  EventsLocal *self = (EventsLocal *)events;
  Subscriber *subscriber;

  g_mutex_lock (&self->lock);
  subscriber = g_hash_table_lookup (self->subscribers, &id);
  if (subscriber != NULL)
    g_hash_table_remove (self->subscribers, &id);
  g_mutex_unlock (&self->lock);
  if (subscriber != NULL)
    end_subscriber (subscriber);
}

static guint64
events_get_cursor (GantryEvents *events)
{
  EventsLocal *self = (EventsLocal *)events;
  guint64 last;

  g_mutex_lock (&self->lock);
  last = self->last;
  g_mutex_unlock (&self->lock);
  return last;
}

static const GantryEventsVtable vtable = {
  .size = sizeof (GantryEventsVtable),
  .publish = events_publish,
  .subscribe = events_subscribe,
  .unsubscribe = events_unsubscribe,
  .get_cursor = events_get_cursor,
};

EventsLocal *
events_local_new (const GantryHost *host, GantryEventLog *log, guint64 backlog)
{
  EventsLocal *self = g_new0 (EventsLocal, 1);

  self->events.vtable = &vtable;
  self->host = host;
  self->log = log;
  self->backlog = (guint)backlog;
  g_mutex_init (&self->lock);
  g_mutex_init (&self->number_lock);
  self->subscribers = g_hash_table_new (g_int64_hash, g_int64_equal);
  if (log != NULL)
    {
      self->last = gantry_event_log_get_last (log);
      gantry_event_log_set_sink (log, sink, self);
    }
  return self;
}

void
events_local_free (EventsLocal *self)
{
  GHashTableIter iter;
  gpointer subscriber;

  if (self == NULL)
    return;
  if (self->log != NULL)
    gantry_event_log_set_sink (self->log, NULL, NULL);
  g_hash_table_iter_init (&iter, self->subscribers);
  while (g_hash_table_iter_next (&iter, NULL, &subscriber))
    end_subscriber (subscriber);
  g_hash_table_unref (self->subscribers);
  g_mutex_clear (&self->lock);
  g_mutex_clear (&self->number_lock);
  g_free (self);
}
