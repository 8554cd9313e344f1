/* SPDX-License-Identifier: MIT
 *
 * Events
 * ------
 * Whatever changes is announced as an *event*: a topic as containerd spells it ("/tasks/exit",
 * "/images/create"), a namespace, a running number and a payload of documented keys. Numbers only grow and
 * survive restarts where an event log is there, so a subscriber that remembers the last number it saw (its
 * *cursor*) goes on from it after anything.
 *
 *     id = gantry_events_subscribe (events, filters, cursor, context, on_event, data, …)
 *       on_event (event, 0, data)          the next one
 *       on_event (event, 17, data)         17 before this one were lost: the subscriber was too slow, or the
 * log was trimmed gantry_events_unsubscribe (events, id)
 *
 * A slow subscriber never stalls a publisher: what does not fit its backlog is dropped, oldest first, and
 * counted.
 *
 * Payload: a{sv}. Keys by topic; a frontend translates them into containerd's event messages (api/events/ of
 * containerd): /namespaces/create|update|delete   "name" s, "labels" a{ss} /images/create|update|delete
 * "name" s, "labels" a{ss} /containers/create|update|delete   "id" s, "image" s, "runtime" s,
 * "runtime-options" (say), "labels" a{ss}, "snapshot-key" s /content/create|delete             "digest" s,
 * "size" t /snapshot/prepare|commit|remove    "key" s, "parent" s, "name" s, "snapshotter" s
 *     /mounts/create                     "name" s, "labels" a{ss}, "active" aa{sv}, "system" aa{sv}
 * (gantry_activation_describe ())
 *     /mounts/update|delete              "name" s, "labels" a{ss}
 *     /sandbox-records/create|update|delete   "id" s, "runtime" s, "sandboxer" s, "labels" a{ss}: of the
 * record /sandboxes/create|start            "id" s: of what holds the sandbox's namespaces /sandboxes/exit
 * "id" s, "exit-status" u, "exited-at" x (ns) /tasks/create                      "container-id" s, "bundle"
 * s, "pid" u, "checkpoint" s, "stdin" s, "stdout" s, "stderr" s, "terminal" b, "rootfs" aa{sv}: "type" s,
 * "source" s, "target" s, "options" as
 *     /tasks/start|delete|oom|paused|resumed|checkpointed|exec-added|exec-started|exit
 *                                        "container-id" s, "exec-id" s, "pid" u, "exit-status" u, "exited-at"
 * x (ns); of all of them also "sandbox" b: TRUE of the task that holds a sandbox
 *     anything else (published by a client)  "any" (say): type URL and bytes, as given
 */
#pragma once

#include <gantry/types.h>

G_BEGIN_DECLS

#define GANTRY_EVENTS_TYPE    "org.gantry.events.v1"
#define GANTRY_EVENT_LOG_TYPE "org.gantry.event-log.v1"

typedef struct
{
  GANTRY_VALUE;
  guint64 seq; /**< the running number; 0 until it is published */
  gint64 time_ns;
  char *ns; /**< the namespace, or "" */
  char *topic;
  GVariant *payload; /**< a{sv} */
} GantryEvent;

static inline void
gantry_event_clear (gpointer data)
{
  GantryEvent *self = (GantryEvent *)data;

  g_free (self->ns);
  g_free (self->topic);
  g_clear_pointer (&self->payload, g_variant_unref);
}

GANTRY_DEFINE_VALUE (GantryEvent, gantry_event)

/** Makes an event; strings are copied, @payload (a{sv}) is sunk. Returns: (transfer full). */
static inline GantryEvent *
gantry_event_new (guint64 seq, gint64 time_ns, const char *ns, const char *topic, GVariant *payload)
{
  GantryEvent *self = GANTRY_VALUE_ALLOC (GantryEvent, gantry_event_clear);

  self->seq = seq;
  self->time_ns = time_ns;
  self->ns = g_strdup (ns);
  self->topic = g_strdup (topic);
  self->payload = gantry_variant_keep (payload);
  return self;
}

/** One event, after @lost others that this subscriber will not get. Called in the subscriber's context. */
typedef void (*GantryEventFunc) (GantryEvent *event, guint64 lost, gpointer user_data);

/** The cursor for "from now on". */
#define GANTRY_EVENTS_NOW G_MAXUINT64

typedef struct _GantryEvents GantryEvents;

typedef struct
{
  size_t size;

  /** Publishes an event of @ns; @payload (a{sv}, see above) is sunk if floating. The number is given and
   * subscribers are told as soon as the event log, if any, has it; this call does not wait for that. Blocks:
   * no. Cost: linear in the subscribers. Errors: INVALID_ARGUMENT (topic), RESOURCE_EXHAUSTED (payload over 1
   * MiB). Since: 1.0 */
  gboolean (*publish) (GantryEvents *self, const char *ns, const char *topic, GVariant *payload,
                       GCancellable *cancellable, GError **error);

  /** Calls @func in @context (NULL: the daemon's main context) for every event after @cursor (0: all that are
   * kept; GANTRY_EVENTS_NOW: from now on) that matches @filters (nullable; fields: topic, namespace,
   * event.<payload key>).
   * @destroy (@user_data) is called in @context after the last @func. *@ret_id: for unsubscribe. Blocks: no.
   * Errors: INVALID_ARGUMENT (filter), RESOURCE_EXHAUSTED (subscribers). Since: 1.0 */
  gboolean (*subscribe) (GantryEvents *self, const char *const *filters, guint64 cursor,
                         GMainContext *context, GantryEventFunc func, gpointer user_data,
                         GDestroyNotify destroy, guint64 *ret_id, GCancellable *cancellable, GError **error);

  /** Ends a subscription. In its context no @func is called after this returns. Unknown ids are ignored.
   * Blocks: no. Errors: none. Since: 1.0 */
  void (*unsubscribe) (GantryEvents *self, guint64 id);

  /** The number of the newest event. Blocks: no. Errors: none. Since: 1.0 */
  guint64 (*get_cursor) (GantryEvents *self);
} GantryEventsVtable;

/** An instance. An implementation embeds it as its first member; it will never grow. */
struct _GantryEvents
{
  const GantryEventsVtable *vtable;
};

static inline gboolean
gantry_events_publish (GantryEvents *self, const char *ns, const char *topic, GVariant *payload,
                       GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryEventsVtable, publish, FALSE);
  return self->vtable->publish (self, ns, topic, payload, cancellable, error);
}

static inline gboolean
gantry_events_subscribe (GantryEvents *self, const char *const *filters, guint64 cursor,
                         GMainContext *context, GantryEventFunc func, gpointer user_data,
                         GDestroyNotify destroy, guint64 *ret_id, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryEventsVtable, subscribe, FALSE);
  return self->vtable->subscribe (self, filters, cursor, context, func, user_data, destroy, ret_id,
                                  cancellable, error);
}

static inline void
gantry_events_unsubscribe (GantryEvents *self, guint64 id)
{
  if (GANTRY_HAS (self->vtable, GantryEventsVtable, unsubscribe))
    self->vtable->unsubscribe (self, id);
}

static inline guint64
gantry_events_get_cursor (GantryEvents *self)
{
  return GANTRY_HAS (self->vtable, GantryEventsVtable, get_cursor) ? self->vtable->get_cursor (self) : 0;
}

/* The event log: where events get their numbers and are kept, provided by the metadata database. Changes of
 * metadata write their events in the transaction that makes the change (an outbox); other events are
 * appended. All of them reach the sink in the order of their numbers, once they are committed. */

typedef struct _GantryEventLog GantryEventLog;

/** Committed events, in order. From whichever thread has committed them, one at a time, before their writers
 * return; must be quick. @events: (element-type GantryEvent). */
typedef void (*GantryEventLogSink) (GPtrArray *events, gpointer user_data);

typedef struct
{
  size_t size;

  /** Queues @event for the next transaction. Blocks: no. Errors: RESOURCE_EXHAUSTED (queue). Since: 1.0 */
  gboolean (*append) (GantryEventLog *self, GantryEvent *event, GCancellable *cancellable, GError **error);

  /** At most @limit events after @cursor, oldest first. *@ret_events: (transfer full) (element-type
   * GantryEvent).
   * *@ret_trimmed: how many after @cursor are no longer kept. Blocks: on local metadata. Errors: of it.
   * Since: 1.0 */
  gboolean (*read) (GantryEventLog *self, guint64 cursor, guint limit, GPtrArray **ret_events,
                    guint64 *ret_trimmed, GCancellable *cancellable, GError **error);

  /** Sets the one sink, or none (NULL); the old one is not called after this returns. Blocks: for a sink call
   * under way. Errors: none. Since: 1.0 */
  void (*set_sink) (GantryEventLog *self, GantryEventLogSink sink, gpointer user_data);

  /** The number of the newest event. Blocks: no. Errors: none. Since: 1.0 */
  guint64 (*get_last) (GantryEventLog *self);
} GantryEventLogVtable;

/** An instance. An implementation embeds it as its first member; it will never grow. */
struct _GantryEventLog
{
  const GantryEventLogVtable *vtable;
};

static inline gboolean
gantry_event_log_append (GantryEventLog *self, GantryEvent *event, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryEventLogVtable, append, FALSE);
  return self->vtable->append (self, event, cancellable, error);
}

static inline gboolean
gantry_event_log_read (GantryEventLog *self, guint64 cursor, guint limit, GPtrArray **ret_events,
                       guint64 *ret_trimmed, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryEventLogVtable, read, FALSE);
  return self->vtable->read (self, cursor, limit, ret_events, ret_trimmed, cancellable, error);
}

static inline void
gantry_event_log_set_sink (GantryEventLog *self, GantryEventLogSink sink, gpointer user_data)
{
  if (GANTRY_HAS (self->vtable, GantryEventLogVtable, set_sink))
    self->vtable->set_sink (self, sink, user_data);
}

static inline guint64
gantry_event_log_get_last (GantryEventLog *self)
{
  return GANTRY_HAS (self->vtable, GantryEventLogVtable, get_last) ? self->vtable->get_last (self) : 0;
}

G_END_DECLS
