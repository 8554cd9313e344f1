/* SPDX-License-Identifier: MIT
 *
 * The contract of org.gantry.event-log.v1. */
#include <gantry/events.h>

#include <string.h>

#include "suites.h"

#define N_THREADS 4
#define N_OF_EACH 50
#define N_TRIM    1500

/* What the sink was told; it is called on the log's own thread. */
typedef struct
{
  GMutex lock;
  GCond told;
  GPtrArray *events; /* (element-type GantryEvent); with lock */
} Ledger;

static GantryEventLog *
log_of (GantryContractFixture *fixture)
{
  return fixture->instance;
}

static void
sink (GPtrArray *events, gpointer user_data)
{
  Ledger *self = user_data;

  g_mutex_lock (&self->lock);
  for (guint i = 0; i < events->len; i++)
    g_ptr_array_add (self->events, gantry_event_ref (g_ptr_array_index (events, i)));
  g_cond_broadcast (&self->told);
  g_mutex_unlock (&self->lock);
}

static Ledger *
ledger_new (GantryContractFixture *fixture)
{
  Ledger *self = g_new0 (Ledger, 1);

  g_mutex_init (&self->lock);
  g_cond_init (&self->told);
  self->events = g_ptr_array_new_with_free_func (gantry_value_unref);
  gantry_event_log_set_sink (log_of (fixture), sink, self);
  return self;
}

static void
ledger_wait (Ledger *self, guint n)
{
  gint64 deadline = g_get_monotonic_time () + 180 * G_USEC_PER_SEC;

  g_mutex_lock (&self->lock);
  while (self->events->len < n)
    if (!g_cond_wait_until (&self->told, &self->lock, deadline))
      g_error ("waited in vain for %u events; %u came", n, self->events->len);
  g_mutex_unlock (&self->lock);
}

static void
ledger_free (GantryContractFixture *fixture, Ledger *self)
{
  gantry_event_log_set_sink (log_of (fixture), NULL, NULL);
  g_ptr_array_unref (self->events);
  g_mutex_clear (&self->lock);
  g_cond_clear (&self->told);
  g_free (self);
}

static void
append (GantryContractFixture *fixture, const char *topic, gint64 time_ns)
{
  g_autoptr (GantryEvent) event
      = gantry_event_new (0, time_ns, "default", topic, g_variant_new_parsed ("{'name': <'x'>}"));

  CONTRACT_OK (gantry_event_log_append (log_of (fixture), event, NULL, &error));
}

static GPtrArray *
read_after (GantryContractFixture *fixture, guint64 cursor, guint limit, guint64 *ret_trimmed)
{
  GPtrArray *events = NULL;

  CONTRACT_OK (gantry_event_log_read (log_of (fixture), cursor, limit, &events, ret_trimmed, NULL, &error));
  g_assert_nonnull (events);
  g_assert_cmpuint (events->len, <=, limit);
  return events;
}

static GantryEvent *
at (GPtrArray *events, guint i)
{
  g_assert_cmpuint (i, <, events->len);
  return g_ptr_array_index (events, i);
}

static void
test_append (GantryContractFixture *fixture)
{
  Ledger *ledger = ledger_new (fixture);
  guint64 last = gantry_event_log_get_last (log_of (fixture)), trimmed = 77;
  g_autoptr (GPtrArray) events = NULL;

  append (fixture, "/a", 1);
  append (fixture, "/b", 2);
  append (fixture, "/c", 3);
  ledger_wait (ledger, 3);
  g_assert_cmpuint (gantry_event_log_get_last (log_of (fixture)), ==, at (ledger->events, 2)->seq);
  events = read_after (fixture, last, 10, &trimmed);
  g_assert_cmpuint (trimmed, ==, 0);
  g_assert_cmpuint (events->len, ==, 3);
  for (guint i = 0; i < 3; i++)
    {
      static const char *const topics[] = { "/a", "/b", "/c" };

      g_assert_cmpuint (at (events, i)->seq, ==, last + 1 + i);
      g_assert_cmpuint (at (ledger->events, i)->seq, ==, last + 1 + i);
      g_assert_cmpstr (at (events, i)->topic, ==, topics[i]);
      g_assert_cmpstr (at (ledger->events, i)->topic, ==, topics[i]);
      g_assert_cmpstr (at (events, i)->ns, ==, "default");
      g_assert_cmpint (at (events, i)->time_ns, ==, i + 1);
      g_assert_true (g_variant_equal (at (events, i)->payload, at (ledger->events, i)->payload));
    }
  ledger_free (fixture, ledger);
}

static void
test_read (GantryContractFixture *fixture)
{
  Ledger *ledger = ledger_new (fixture);
  guint64 trimmed = 0, last;
  g_autoptr (GPtrArray) two = NULL;
  g_autoptr (GPtrArray) rest = NULL;
  g_autoptr (GPtrArray) none = NULL;
  g_autoptr (GPtrArray) beyond = NULL;

  for (guint i = 0; i < 5; i++)
    append (fixture, "/a", i);
  ledger_wait (ledger, 5);
  last = at (ledger->events, 4)->seq;
  two = read_after (fixture, last - 5, 2, &trimmed);
  g_assert_cmpuint (two->len, ==, 2);
  g_assert_cmpuint (at (two, 0)->seq, ==, last - 4);
  rest = read_after (fixture, at (two, 1)->seq, 10, &trimmed);
  g_assert_cmpuint (rest->len, ==, 3);
  g_assert_cmpuint (at (rest, 2)->seq, ==, last);
  none = read_after (fixture, last, 10, &trimmed);
  g_assert_cmpuint (none->len, ==, 0);
  beyond = read_after (fixture, G_MAXUINT64, 10, &trimmed);
  g_assert_cmpuint (beyond->len, ==, 0);
  g_assert_cmpuint (trimmed, ==, 0);
  ledger_free (fixture, ledger);
}

/* What was trimmed is counted: all that is missing between the cursor and the oldest that is kept. */
static void
test_trim (GantryContractFixture *fixture)
{
  Ledger *ledger = ledger_new (fixture);
  guint64 first = gantry_event_log_get_last (log_of (fixture)), trimmed = 0, ignored, cursor;
  guint n = 0;

  for (guint i = 0; i < N_TRIM; i++)
    append (fixture, "/a", i);
  ledger_wait (ledger, N_TRIM);
  cursor = first;
  for (gboolean begun = FALSE;; begun = TRUE)
    {
      g_autoptr (GPtrArray) page = read_after (fixture, cursor, 100, begun ? &ignored : &trimmed);

      if (page->len == 0)
        break;
      if (!begun)
        g_assert_cmpuint (at (page, 0)->seq, ==, cursor + trimmed + 1);
      n += page->len;
      cursor = at (page, page->len - 1)->seq;
    }
  g_assert_cmpuint (n + trimmed, ==, N_TRIM);
  g_assert_cmpuint (n, >, 0);
  ledger_free (fixture, ledger);
}

static void
test_sink (GantryContractFixture *fixture)
{
  Ledger *first = ledger_new (fixture), *second;

  append (fixture, "/a", 1);
  ledger_wait (first, 1);
  second = ledger_new (fixture);
  append (fixture, "/a", 2);
  ledger_wait (second, 1);
  /* The first one is not called any more. */
  g_assert_cmpuint (first->events->len, ==, 1);
  ledger_free (fixture, second);
  append (fixture, "/a", 3);
  g_assert_cmpuint (first->events->len, ==, 1);
  ledger_free (fixture, first);
}

static void
append_many (guint i, gpointer data)
{
  g_autofree char *topic = g_strdup_printf ("/thread/%u", i);

  for (guint j = 0; j < N_OF_EACH; j++)
    append (data, topic, j);
}

static void
test_threads (GantryContractFixture *fixture)
{
  Ledger *ledger = ledger_new (fixture);
  gint64 next[N_THREADS] = { 0 };

  gantry_contract_race (N_THREADS, append_many, fixture);
  ledger_wait (ledger, N_THREADS * N_OF_EACH);
  for (guint i = 0; i < ledger->events->len; i++)
    {
      guint thread = (guint)g_ascii_strtoull (at (ledger->events, i)->topic + strlen ("/thread/"), NULL, 10);

      g_assert_cmpuint (thread, <, N_THREADS);
      g_assert_cmpint (at (ledger->events, i)->time_ns, ==, next[thread]++);
      if (i > 0)
        g_assert_cmpuint (at (ledger->events, i)->seq, ==, at (ledger->events, i - 1)->seq + 1);
    }
  ledger_free (fixture, ledger);
}

static void
test_restart (GantryContractFixture *fixture)
{
  guint64 last, trimmed;
  g_autoptr (GPtrArray) events = NULL;
  Ledger *ledger;

  if (!gantry_contract_can_restart (fixture))
    return;
  ledger = ledger_new (fixture);
  append (fixture, "/a", 1);
  append (fixture, "/b", 2);
  ledger_wait (ledger, 2);
  last = gantry_event_log_get_last (log_of (fixture));
  ledger_free (fixture, ledger);
  fixture->restart (fixture);
  g_assert_cmpuint (gantry_event_log_get_last (log_of (fixture)), ==, last);
  events = read_after (fixture, last - 1, 10, &trimmed);
  g_assert_cmpuint (events->len, ==, 1);
  g_assert_cmpstr (at (events, 0)->topic, ==, "/b");
  ledger = ledger_new (fixture);
  append (fixture, "/c", 3);
  ledger_wait (ledger, 1);
  g_assert_cmpuint (at (ledger->events, 0)->seq, ==, last + 1);
  ledger_free (fixture, ledger);
}

static const GantryContractCase cases[] = {
  { "append", test_append },   { "read", test_read },       { "trim", test_trim }, { "sink", test_sink },
  { "threads", test_threads }, { "restart", test_restart }, { NULL, NULL },
};

const GantryContractSuite gantry_contract_event_log = { GANTRY_EVENT_LOG_TYPE, cases };
