/* SPDX-License-Identifier: MIT */
#include "fake-events.h"

#include <string.h>

#include "fake-support.h"

#define BACKLOG         1024
#define MAX_SUBSCRIBERS 1000
#define MAX_PAYLOAD     (1024 * 1024)

typedef struct _FakeEvents FakeEvents;

typedef struct
{
  gatomicrefcount refs; /* the table's and each source's */
  FakeEvents *events;
  guint64 id;
  GantryFakeFilter *filter;
  GMainContext *context;
  GantryEventFunc func;
  gpointer user_data;
  GDestroyNotify destroy;
  GMutex lock;
  GQueue queue;   /* of GantryEvent; with lock */
  guint64 lost;   /* with lock */
  guint64 seen;   /* the newest number that was offered; with lock */
  gboolean ended; /* with lock */
} Subscriber;

struct _FakeEvents
{
  GantryEvents events;
  GantryEventLog *log;
  GMutex lock;
  GHashTable *subscribers; /* id -> Subscriber; with lock */
  guint64 last_id;         /* with lock */
};

static void
subscriber_unref (gpointer data)
{
  Subscriber *self = data;

  if (!g_atomic_ref_count_dec (&self->refs))
    return;
  g_queue_clear_full (&self->queue, gantry_value_unref);
  gantry_fake_filter_free (self->filter);
  g_main_context_unref (self->context);
  g_mutex_clear (&self->lock);
  g_free (self);
}

static void
run_in_context (Subscriber *self, GSourceFunc func)
{
  g_autoptr (GSource) source = g_idle_source_new ();

  g_atomic_ref_count_inc (&self->refs);
  g_source_set_priority (source, G_PRIORITY_DEFAULT);
  g_source_set_callback (source, func, self, subscriber_unref);
  g_source_attach (source, self->context);
}

/* One event a turn. */
static gboolean
deliver (gpointer data)
{
  Subscriber *self = data;
  g_autoptr (GantryEvent) event = NULL;
  guint64 lost;

  g_mutex_lock (&self->lock);
  if (!self->ended)
    event = g_queue_pop_head (&self->queue);
  lost = self->lost;
  if (event != NULL)
    self->lost = 0;
  g_mutex_unlock (&self->lock);
  if (event != NULL)
    self->func (event, lost, self->user_data);
  return G_SOURCE_REMOVE;
}

static gboolean
end (gpointer data)
{
  Subscriber *self = data;

  if (self->destroy != NULL)
    self->destroy (self->user_data);
  return G_SOURCE_REMOVE;
}

static const char *
event_field (char **path, gpointer object)
{
  GantryEvent *event = object;
  const char *text = NULL;

  if (strcmp (path[0], "topic") == 0)
    return event->topic;
  if (strcmp (path[0], "namespace") == 0)
    return event->ns;
  if (strcmp (path[0], "event") == 0 && path[1] != NULL
      && g_variant_lookup (event->payload, path[1], "&s", &text))
    return text;
  return NULL;
}

static void
offer (Subscriber *self, GantryEvent *event)
{
  if (!gantry_fake_filter_match (self->filter, event_field, event))
    return;
  g_mutex_lock (&self->lock);
  if (event->seq <= self->seen)
    {
      g_mutex_unlock (&self->lock);
      return;
    }
  self->seen = event->seq;
  g_queue_push_tail (&self->queue, gantry_event_ref (event));
  if (g_queue_get_length (&self->queue) > BACKLOG)
    {
      gantry_event_unref (g_queue_pop_head (&self->queue));
      self->lost++;
    }
  else
    run_in_context (self, deliver);
  g_mutex_unlock (&self->lock);
}

static void
on_logged (GPtrArray *logged, gpointer user_data)
{
  FakeEvents *self = user_data;
  GHashTableIter iter;
  gpointer subscriber;

  g_mutex_lock (&self->lock);
  g_hash_table_iter_init (&iter, self->subscribers);
  while (g_hash_table_iter_next (&iter, NULL, &subscriber))
    for (guint i = 0; i < logged->len; i++)
      offer (subscriber, g_ptr_array_index (logged, i));
  g_mutex_unlock (&self->lock);
}

static gboolean
events_publish (GantryEvents *events, const char *ns, const char *topic, GVariant *payload,
                GCancellable *cancellable, GError **error)
{
  FakeEvents *self = (FakeEvents *)events;
  g_autoptr (GVariant) held = gantry_variant_keep (payload);
  g_autoptr (GantryEvent) event = NULL;

  if (topic[0] != '/' || topic[1] == '\0' || strlen (topic) > GANTRY_MAX_NAME)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "\"%s\" is not a topic", topic);
  if (!g_variant_is_of_type (held, G_VARIANT_TYPE_VARDICT))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the payload of %s is not a{sv}", topic);
  if (g_variant_get_size (held) > MAX_PAYLOAD)
    return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "the payload of %s is too large", topic);
  event = gantry_event_new (0, gantry_now_ns (), ns, topic, held);
  return gantry_event_log_append (self->log, event, cancellable, error);
}

/* Everything after @cursor that is kept, with the lock of the events held, so that nothing comes twice or not
 * at all. */
static gboolean
replay (FakeEvents *self, Subscriber *subscriber, guint64 cursor, GError **error)
{
  g_autoptr (GPtrArray) older = NULL;

  if (!gantry_event_log_read (self->log, cursor, G_MAXUINT, &older, &subscriber->lost, NULL, error))
    return FALSE;
  for (guint i = 0; i < older->len; i++)
    offer (subscriber, g_ptr_array_index (older, i));
  return TRUE;
}

static gboolean
subscribe_locked (FakeEvents *self, Subscriber *subscriber, guint64 cursor, GError **error)
{
  if (g_hash_table_size (self->subscribers) >= MAX_SUBSCRIBERS)
    return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "there are %d subscribers already",
                         MAX_SUBSCRIBERS);
  if (cursor == GANTRY_EVENTS_NOW)
    subscriber->seen = gantry_event_log_get_last (self->log);
  else if (!replay (self, subscriber, cursor, error))
    return FALSE;
  subscriber->id = ++self->last_id;
  g_hash_table_insert (self->subscribers, &subscriber->id, subscriber);
  return TRUE;
}

static gboolean
events_subscribe (GantryEvents *events, const char *const *filters, guint64 cursor, GMainContext *context,
                  GantryEventFunc func, gpointer user_data, GDestroyNotify destroy, guint64 *ret_id,
                  GCancellable *cancellable, GError **error)
{
  FakeEvents *self = (FakeEvents *)events;
  GantryFakeFilter *filter = gantry_fake_filter_new (filters, error);
  Subscriber *subscriber;
  gboolean ok;

  (void)cancellable;
  if (filter == NULL)
    return FALSE;
  subscriber = g_new0 (Subscriber, 1);
  g_atomic_ref_count_init (&subscriber->refs);
  subscriber->events = self;
  subscriber->filter = filter;
  subscriber->context = g_main_context_ref (context != NULL ? context : g_main_context_default ());
  subscriber->func = func;
  subscriber->user_data = user_data;
  subscriber->destroy = destroy;
  g_mutex_init (&subscriber->lock);
  g_queue_init (&subscriber->queue);
  g_mutex_lock (&self->lock);
  ok = subscribe_locked (self, subscriber, cursor, error);
  if (ok)
    *ret_id = subscriber->id;
  g_mutex_unlock (&self->lock);
  if (!ok)
    subscriber_unref (subscriber);
  return ok;
}

static void
end_subscriber (Subscriber *self)
{
  g_mutex_lock (&self->lock);
  self->ended = TRUE;
  g_mutex_unlock (&self->lock);
  run_in_context (self, end);
  subscriber_unref (self);
}

static void
events_unsubscribe (GantryEvents *events, guint64 id)
{
  FakeEvents *self = (FakeEvents *)events;
  Subscriber *subscriber;

  g_mutex_lock (&self->lock);
  subscriber = g_hash_table_lookup (self->subscribers, &id);
  g_hash_table_remove (self->subscribers, &id);
  g_mutex_unlock (&self->lock);
  if (subscriber != NULL)
    end_subscriber (subscriber);
}

static guint64
events_get_cursor (GantryEvents *events)
{
  return gantry_event_log_get_last (((FakeEvents *)events)->log);
}

static const GantryEventsVtable vtable = {
  .size = sizeof vtable,
  .publish = events_publish,
  .subscribe = events_subscribe,
  .unsubscribe = events_unsubscribe,
  .get_cursor = events_get_cursor,
};

GantryEvents *
gantry_fake_events_new (GantryEventLog *log)
{
  FakeEvents *self = g_new0 (FakeEvents, 1);

  self->events.vtable = &vtable;
  self->log = log;
  g_mutex_init (&self->lock);
  self->subscribers = g_hash_table_new (g_int64_hash, g_int64_equal);
  gantry_event_log_set_sink (log, on_logged, self);
  return &self->events;
}

void
gantry_fake_events_free (GantryEvents *events)
{
  FakeEvents *self = (FakeEvents *)events;
  GHashTableIter iter;
  gpointer subscriber;

  if (self == NULL)
    return;
  gantry_event_log_set_sink (self->log, NULL, NULL);
  g_hash_table_iter_init (&iter, self->subscribers);
  while (g_hash_table_iter_next (&iter, NULL, &subscriber))
    end_subscriber (subscriber);
  g_hash_table_unref (self->subscribers);
  g_mutex_clear (&self->lock);
  g_free (self);
}
