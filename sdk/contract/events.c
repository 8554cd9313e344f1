/* SPDX-License-Identifier: MIT
 *
 * The contract of org.gantry.events.v1. */
#include <gantry/events.h>

#include <string.h>

#include "suites.h"

#define N_THREADS       4
#define N_OF_EACH       50
#define MAX_PAYLOAD     (1024 * 1024)
#define MAX_SUBSCRIBERS 65536
/* More than any backlog that is a sensible default. */
#define N_FLOOD 20000

/* A subscriber and what it heard. */
typedef struct
{
  GantryEvents *events;
  guint64 id;
  GPtrArray *heard; /* (element-type GantryEvent) */
  guint64 lost;
  guint want;
  gboolean destroyed;
  GThread *thread; /* (nullable): where it must be called */
  guint end_after; /* 0, or unsubscribes itself then */
} Ear;

static GantryEvents *
events_of (GantryContractFixture *fixture)
{
  return fixture->instance;
}

static void
on_event (GantryEvent *event, guint64 lost, gpointer user_data)
{
  Ear *self = user_data;

  g_assert_false (self->destroyed);
  if (self->thread != NULL)
    g_assert_true (self->thread == g_thread_self ());
  self->lost += lost;
  g_ptr_array_add (self->heard, gantry_event_ref (event));
  if (self->end_after != 0 && self->heard->len == self->end_after)
    gantry_events_unsubscribe (self->events, self->id);
}

static void
on_destroy (gpointer user_data)
{
  Ear *self = user_data;

  g_assert_false (self->destroyed);
  if (self->thread != NULL)
    g_assert_true (self->thread == g_thread_self ());
  self->destroyed = TRUE;
}

static Ear *
ear_new (GantryContractFixture *fixture, const char *filter, guint64 cursor, GMainContext *context)
{
  const char *const filters[] = { filter, NULL };
  Ear *self = g_new0 (Ear, 1);

  self->events = events_of (fixture);
  self->heard = g_ptr_array_new_with_free_func (gantry_value_unref);
  CONTRACT_OK (gantry_events_subscribe (self->events, filters, cursor, context, on_event, self, on_destroy,
                                        &self->id, NULL, &error));
  g_assert_cmpuint (self->id, !=, 0);
  return self;
}

static gboolean
has_enough (gpointer data)
{
  Ear *self = data;

  return self->heard->len >= self->want;
}

static void
ear_wait (Ear *self, guint want)
{
  self->want = want;
  gantry_contract_wait (has_enough, self, "events");
}

static gboolean
is_destroyed (gpointer data)
{
  return ((Ear *)data)->destroyed;
}

static void
ear_free (Ear *self)
{
  gantry_events_unsubscribe (self->events, self->id);
  gantry_contract_wait (is_destroyed, self, "the end of a subscription");
  g_ptr_array_unref (self->heard);
  g_free (self);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC (Ear, ear_free)

static GantryEvent *
heard (Ear *self, guint i)
{
  g_assert_cmpuint (i, <, self->heard->len);
  return g_ptr_array_index (self->heard, i);
}

static const char *
text_of (GantryEvent *event, const char *key)
{
  const char *text = NULL;

  g_assert_true (g_variant_lookup (event->payload, key, "&s", &text));
  return text;
}

static void
publish (GantryContractFixture *fixture, const char *ns, const char *topic, const char *name)
{
  g_autoptr (GVariantDict) payload = g_variant_dict_new (NULL);

  g_variant_dict_insert (payload, "name", "s", name);
  CONTRACT_OK (
      gantry_events_publish (events_of (fixture), ns, topic, g_variant_dict_end (payload), NULL, &error));
}

static void
test_publish (GantryContractFixture *fixture)
{
  g_autoptr (Ear) ear = ear_new (fixture, NULL, GANTRY_EVENTS_NOW, NULL);
  gint64 before = gantry_now_ns () - 2 * (gint64)1000000000;
  guint64 cursor = gantry_events_get_cursor (events_of (fixture));

  publish (fixture, "default", "/images/create", "one");
  publish (fixture, "", "/mine", "two");
  publish (fixture, "other", "/images/delete", "three");
  ear_wait (ear, 3);
  g_assert_cmpstr (heard (ear, 0)->ns, ==, "default");
  g_assert_cmpstr (heard (ear, 0)->topic, ==, "/images/create");
  g_assert_cmpstr (text_of (heard (ear, 0), "name"), ==, "one");
  g_assert_cmpstr (heard (ear, 1)->ns, ==, "");
  g_assert_cmpstr (text_of (heard (ear, 1), "name"), ==, "two");
  g_assert_cmpstr (text_of (heard (ear, 2), "name"), ==, "three");
  g_assert_cmpuint (heard (ear, 0)->seq, >, cursor);
  for (guint i = 0; i < 3; i++)
    {
      g_assert_cmpint (heard (ear, i)->time_ns, >, before);
      g_assert_true (g_variant_is_of_type (heard (ear, i)->payload, G_VARIANT_TYPE_VARDICT));
      if (i > 0)
        g_assert_cmpuint (heard (ear, i)->seq, >, heard (ear, i - 1)->seq);
    }
  g_assert_cmpuint (ear->lost, ==, 0);
  g_assert_cmpuint (gantry_events_get_cursor (events_of (fixture)), ==, heard (ear, 2)->seq);
}

static void
test_now (GantryContractFixture *fixture)
{
  g_autoptr (Ear) first = ear_new (fixture, NULL, GANTRY_EVENTS_NOW, NULL);
  g_autoptr (Ear) second = NULL;

  publish (fixture, "default", "/a", "old");
  ear_wait (first, 1);
  second = ear_new (fixture, NULL, GANTRY_EVENTS_NOW, NULL);
  publish (fixture, "default", "/a", "new");
  ear_wait (second, 1);
  g_assert_cmpstr (text_of (heard (second, 0), "name"), ==, "new");
  g_assert_cmpuint (second->lost, ==, 0);
}

static void
test_filters (GantryContractFixture *fixture)
{
  static const char *const bad[] = { "topic=/a", NULL };
  static const char *const either[] = { "topic==/b", "namespace==two", NULL };
  g_autoptr (Ear) all = ear_new (fixture, NULL, GANTRY_EVENTS_NOW, NULL);
  g_autoptr (Ear) by_topic = ear_new (fixture, "topic==/a", GANTRY_EVENTS_NOW, NULL);
  g_autoptr (Ear) by_regex = ear_new (fixture, "topic~=^/a,namespace==one", GANTRY_EVENTS_NOW, NULL);
  g_autoptr (Ear) by_payload = ear_new (fixture, "event.name==z", GANTRY_EVENTS_NOW, NULL);
  g_autoptr (Ear) by_either = g_new0 (Ear, 1);
  guint64 id = 77;

  by_either->events = events_of (fixture);
  by_either->heard = g_ptr_array_new_with_free_func (gantry_value_unref);
  CONTRACT_OK (gantry_events_subscribe (by_either->events, either, GANTRY_EVENTS_NOW, NULL, on_event,
                                        by_either, on_destroy, &by_either->id, NULL, &error));
  publish (fixture, "one", "/a", "x");
  publish (fixture, "two", "/a", "y");
  publish (fixture, "one", "/b", "z");
  ear_wait (all, 3);
  ear_wait (by_topic, 2);
  ear_wait (by_regex, 1);
  ear_wait (by_payload, 1);
  ear_wait (by_either, 2);
  gantry_contract_spin ();
  g_assert_cmpuint (by_topic->heard->len, ==, 2);
  g_assert_cmpuint (by_regex->heard->len, ==, 1);
  g_assert_cmpstr (text_of (heard (by_regex, 0), "name"), ==, "x");
  g_assert_cmpuint (by_payload->heard->len, ==, 1);
  g_assert_cmpstr (heard (by_payload, 0)->topic, ==, "/b");
  g_assert_cmpuint (by_either->heard->len, ==, 2);
  CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                  gantry_events_subscribe (events_of (fixture), bad, GANTRY_EVENTS_NOW, NULL, on_event, NULL,
                                           NULL, &id, NULL, &error));
  g_assert_cmpuint (id, ==, 77);
}

static void
test_bad_events (GantryContractFixture *fixture)
{
  g_autofree char *long_topic = g_strconcat ("/", "", NULL);
  g_autofree char *text = gantry_contract_long_name (MAX_PAYLOAD);
  GantryEvents *events = events_of (fixture);

  g_free (long_topic);
  long_topic = gantry_contract_long_name (GANTRY_MAX_NAME + 1);
  long_topic[0] = '/';
  CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                  gantry_events_publish (events, "default", "", g_variant_new_parsed ("@a{sv} {}"), NULL,
                                         &error));
  CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                  gantry_events_publish (events, "default", "a", g_variant_new_parsed ("@a{sv} {}"), NULL,
                                         &error));
  CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                  gantry_events_publish (events, "default", long_topic, g_variant_new_parsed ("@a{sv} {}"),
                                         NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                  gantry_events_publish (events, "default", "/a", g_variant_new_string ("no dictionary"),
                                         NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_RESOURCE_EXHAUSTED,
                  gantry_events_publish (events, "default", "/a", g_variant_new_parsed ("{'x': <%s>}", text),
                                         NULL, &error));
}

static void
test_cursor (GantryContractFixture *fixture)
{
  g_autoptr (Ear) first = ear_new (fixture, NULL, GANTRY_EVENTS_NOW, NULL);
  g_autoptr (Ear) later = NULL;
  guint64 at;

  for (guint i = 0; i < 5; i++)
    publish (fixture, "default", "/a", "x");
  ear_wait (first, 5);
  at = heard (first, 2)->seq;
  later = ear_new (fixture, NULL, at, NULL);
  publish (fixture, "default", "/a", "last");
  ear_wait (first, 6);
  ear_wait (later, 1);
  /* What it does not get it is told of; nothing comes twice, and nothing out of order. */
  while (heard (later, later->heard->len - 1)->seq < heard (first, 5)->seq)
    ear_wait (later, later->heard->len + 1);
  g_assert_cmpuint (later->heard->len + later->lost, ==, 3);
  for (guint i = 0; i < later->heard->len; i++)
    g_assert_cmpuint (heard (later, i)->seq, ==, heard (first, 6 - later->heard->len + i)->seq);
}

/* A slow subscriber loses the oldest and learns how many; the publisher goes on. */
static void
test_slow (GantryContractFixture *fixture)
{
  g_autoptr (GMainContext) context = g_main_context_new ();
  g_autoptr (Ear) slow = ear_new (fixture, "topic==/flood", GANTRY_EVENTS_NOW, context);
  g_autoptr (Ear) marker = ear_new (fixture, "topic==/marker", GANTRY_EVENTS_NOW, NULL);
  g_autofree char *last = g_strdup_printf ("%u", N_FLOOD - 1);

  for (guint i = 0; i < N_FLOOD; i++)
    {
      g_autofree char *name = g_strdup_printf ("%u", i);

      publish (fixture, "default", "/flood", name);
      if (i % 1000 == 0)
        gantry_contract_spin ();
    }
  publish (fixture, "default", "/marker", "end");
  ear_wait (marker, 1);
  while (slow->heard->len == 0 || strcmp (text_of (heard (slow, slow->heard->len - 1), "name"), last) != 0)
    g_main_context_iteration (context, TRUE);
  g_assert_cmpuint (slow->lost, >, 0);
  g_assert_cmpuint (slow->heard->len + slow->lost, ==, N_FLOOD);
  gantry_events_unsubscribe (slow->events, slow->id);
  while (!slow->destroyed)
    g_main_context_iteration (context, TRUE);
}

static void
test_unsubscribe (GantryContractFixture *fixture)
{
  g_autoptr (Ear) witness = ear_new (fixture, NULL, GANTRY_EVENTS_NOW, NULL);
  Ear *ear = ear_new (fixture, NULL, GANTRY_EVENTS_NOW, NULL);
  guint64 id = ear->id;

  publish (fixture, "default", "/a", "1");
  ear_wait (ear, 1);
  publish (fixture, "default", "/a", "2");
  gantry_events_unsubscribe (events_of (fixture), id);
  publish (fixture, "default", "/a", "3");
  ear_wait (witness, 3);
  gantry_contract_wait (is_destroyed, ear, "the end of a subscription");
  g_assert_cmpuint (ear->heard->len, ==, 1);
  /* An unknown id and one that has ended are ignored. */
  gantry_events_unsubscribe (events_of (fixture), id);
  gantry_events_unsubscribe (events_of (fixture), G_MAXUINT64 - 5);
  ear_free (ear);
}

static void
test_unsubscribe_inside (GantryContractFixture *fixture)
{
  g_autoptr (Ear) witness = ear_new (fixture, NULL, GANTRY_EVENTS_NOW, NULL);
  g_autoptr (Ear) ear = ear_new (fixture, NULL, GANTRY_EVENTS_NOW, NULL);

  ear->end_after = 2;
  for (guint i = 0; i < 4; i++)
    publish (fixture, "default", "/a", "x");
  ear_wait (witness, 4);
  gantry_contract_wait (is_destroyed, ear, "the end of a subscription");
  g_assert_cmpuint (ear->heard->len, ==, 2);
}

typedef struct
{
  GMainLoop *loop;
  GThread *thread;
} Listener;

static gpointer
listen (gpointer data)
{
  Listener *self = data;

  g_main_loop_run (self->loop);
  return NULL;
}

static gboolean
quit_when_heard (gpointer data)
{
  gpointer *args = data;
  Ear *ear = args[0];

  if (ear->heard->len < N_OF_EACH)
    return G_SOURCE_CONTINUE;
  gantry_events_unsubscribe (ear->events, ear->id);
  if (!ear->destroyed)
    return G_SOURCE_CONTINUE;
  g_main_loop_quit (args[1]);
  return G_SOURCE_REMOVE;
}

/* Events come in the subscriber's own context, whichever thread runs that. */
static void
test_context (GantryContractFixture *fixture)
{
  g_autoptr (GMainContext) context = g_main_context_new ();
  g_autoptr (GMainLoop) loop = g_main_loop_new (context, FALSE);
  Ear *ear = ear_new (fixture, NULL, GANTRY_EVENTS_NOW, context);
  Listener listener = { loop, NULL };
  gpointer args[] = { ear, loop };
  g_autoptr (GSource) poll = g_timeout_source_new (5);

  g_source_set_callback (poll, quit_when_heard, args, NULL);
  g_source_attach (poll, context);
  listener.thread = g_thread_new ("listener", listen, &listener);
  ear->thread = listener.thread;
  for (guint i = 0; i < N_OF_EACH; i++)
    publish (fixture, "default", "/a", "x");
  g_thread_join (listener.thread);
  g_assert_cmpuint (ear->heard->len, ==, N_OF_EACH);
  g_ptr_array_unref (ear->heard);
  g_free (ear);
}

static void
publish_many (guint i, gpointer data)
{
  g_autofree char *topic = g_strdup_printf ("/thread/%u", i);

  for (guint j = 0; j < N_OF_EACH; j++)
    {
      g_autofree char *name = g_strdup_printf ("%u", j);

      publish (data, "default", topic, name);
    }
}

static void
test_threads (GantryContractFixture *fixture)
{
  g_autoptr (Ear) ear = ear_new (fixture, NULL, GANTRY_EVENTS_NOW, NULL);
  guint next[N_THREADS] = { 0 };

  gantry_contract_race (N_THREADS, publish_many, fixture);
  ear_wait (ear, N_THREADS * N_OF_EACH);
  for (guint i = 0; i < ear->heard->len; i++)
    {
      guint thread = (guint)g_ascii_strtoull (heard (ear, i)->topic + strlen ("/thread/"), NULL, 10);

      g_assert_cmpuint (thread, <, N_THREADS);
      g_assert_cmpuint (g_ascii_strtoull (text_of (heard (ear, i), "name"), NULL, 10), ==, next[thread]++);
      if (i > 0)
        g_assert_cmpuint (heard (ear, i)->seq, >, heard (ear, i - 1)->seq);
    }
}

static void
ignore_event (GantryEvent *event, guint64 lost, gpointer user_data)
{
  (void)event;
  (void)lost;
  (void)user_data;
}

static void
come_and_go (guint i, gpointer data)
{
  GantryContractFixture *fixture = data;

  for (guint j = 0; j < N_OF_EACH; j++)
    {
      guint64 id = 0;

      CONTRACT_OK (gantry_events_subscribe (events_of (fixture), NULL, i % 2 == 0 ? 0 : GANTRY_EVENTS_NOW,
                                            NULL, ignore_event, NULL, NULL, &id, NULL, &error));
      publish (fixture, "default", "/a", "x");
      gantry_events_unsubscribe (events_of (fixture), id);
    }
}

static void
test_come_and_go (GantryContractFixture *fixture)
{
  gantry_contract_race (N_THREADS, come_and_go, fixture);
  gantry_contract_spin ();
}

/* The number of subscribers has a limit, which costs nobody else anything. */
static void
test_subscribers (GantryContractFixture *fixture)
{
  g_autoptr (Ear) ear = ear_new (fixture, NULL, GANTRY_EVENTS_NOW, NULL);
  g_autoptr (GArray) ids = g_array_new (FALSE, FALSE, sizeof (guint64));
  g_autoptr (GError) local = NULL;
  guint64 id = 0;

  while (ids->len < MAX_SUBSCRIBERS
         && gantry_events_subscribe (events_of (fixture), NULL, GANTRY_EVENTS_NOW, NULL, ignore_event, NULL,
                                     NULL, &id, NULL, &local))
    g_array_append_val (ids, id);
  g_assert_true (gantry_error_is (local, GANTRY_ERROR_RESOURCE_EXHAUSTED));
  for (guint i = 0; i < ids->len; i++)
    gantry_events_unsubscribe (events_of (fixture), g_array_index (ids, guint64, i));
  publish (fixture, "default", "/a", "x");
  ear_wait (ear, 1);
}

/* Numbers go on where they were, and so does a subscriber with its cursor. */
static void
test_restart (GantryContractFixture *fixture)
{
  Ear *first;
  g_autoptr (Ear) later = NULL;
  guint64 at, last;

  if (!gantry_contract_can_restart (fixture))
    return;
  if (fixture->get (fixture, GANTRY_EVENT_LOG_TYPE) == NULL)
    {
      g_test_skip ("there is no event log");
      return;
    }
  first = ear_new (fixture, NULL, GANTRY_EVENTS_NOW, NULL);
  for (guint i = 0; i < 3; i++)
    publish (fixture, "default", "/a", "x");
  ear_wait (first, 3);
  at = heard (first, 0)->seq;
  last = heard (first, 2)->seq;
  ear_free (first);
  fixture->restart (fixture);
  g_assert_cmpuint (gantry_events_get_cursor (events_of (fixture)), ==, last);
  later = ear_new (fixture, NULL, at, NULL);
  publish (fixture, "default", "/a", "y");
  ear_wait (later, 3);
  g_assert_cmpuint (heard (later, 1)->seq, ==, last);
  g_assert_cmpuint (heard (later, 2)->seq, >, last);
  g_assert_cmpstr (text_of (heard (later, 2), "name"), ==, "y");
  g_assert_cmpuint (later->lost, ==, 0);
}

static const GantryContractCase cases[] = {
  { "publish", test_publish },         { "now", test_now },
  { "filters", test_filters },         { "bad-events", test_bad_events },
  { "cursor", test_cursor },           { "slow", test_slow },
  { "unsubscribe", test_unsubscribe }, { "unsubscribe-inside", test_unsubscribe_inside },
  { "context", test_context },         { "threads", test_threads },
  { "come-and-go", test_come_and_go }, { "subscribers", test_subscribers },
  { "restart", test_restart },         { NULL, NULL },
};

const GantryContractSuite gantry_contract_events = { GANTRY_EVENTS_TYPE, cases };
