/* SPDX-License-Identifier: MIT
 *
 * The contract of org.gantry.jobs.v1. */
#include <gantry/jobs.h>

#include <string.h>

#include "suites.h"

#define N_THREADS 8
#define MAX_JOBS  100000
#define N_UPDATES 500

/* What a watch heard of one job. */
typedef struct
{
  GantryJobs *jobs;
  guint64 watch;
  guint64 id; /* of the job; 0: of every job */
  guint n_added, n_changed, n_finished;
  guint32 last_steps;
  gboolean wrong_order;
} Ear;

static GantryJobs *
jobs_of (GantryContractFixture *fixture)
{
  return fixture->instance;
}

static GantryJob *
create (GantryContractFixture *fixture, const char *token)
{
  GantryJob *job = NULL;

  CONTRACT_OK (gantry_jobs_create (jobs_of (fixture), "import", "default", token, 1000, &job, NULL, &error));
  g_assert_nonnull (job);
  g_assert_cmpuint (gantry_job_get_id (job), !=, 0);
  return job;
}

static void
on_job (GantryJob *job, GantryJobSignal signal, GVariant *changes, gpointer user_data)
{
  Ear *self = user_data;

  g_assert_true (g_variant_is_of_type (changes, G_VARIANT_TYPE_VARDICT));
  if (self->id != 0 && gantry_job_get_id (job) != self->id)
    return;
  if (signal == GANTRY_JOB_ADDED)
    self->n_added++;
  else if (signal == GANTRY_JOB_CHANGED)
    self->n_changed++;
  else if (signal == GANTRY_JOB_FINISHED)
    self->n_finished++;
  self->wrong_order |= (signal == GANTRY_JOB_CHANGED && (self->n_added == 0 || self->n_finished > 0));
  g_variant_lookup (changes, "steps", "u", &self->last_steps);
}

static gboolean
has_finished (gpointer data)
{
  return ((Ear *)data)->n_finished > 0;
}

static void
listen (Ear *self, GantryContractFixture *fixture)
{
  *self = (Ear){ .jobs = jobs_of (fixture) };
  self->watch = gantry_jobs_watch (self->jobs, on_job, self);
  g_assert_cmpuint (self->watch, !=, 0);
}

static guint64
number_of (GantryJob *job, const char *key)
{
  g_autoptr (GVariant) properties = gantry_job_get_properties (job);
  g_autoptr (GVariant) value = g_variant_lookup_value (properties, key, NULL);

  if (value == NULL)
    return G_MAXUINT64;
  if (g_variant_is_of_type (value, G_VARIANT_TYPE_BOOLEAN))
    return g_variant_get_boolean (value);
  if (g_variant_is_of_type (value, G_VARIANT_TYPE_UINT32))
    return g_variant_get_uint32 (value);
  if (g_variant_is_of_type (value, G_VARIANT_TYPE_INT32))
    return (guint64)g_variant_get_int32 (value);
  if (g_variant_is_of_type (value, G_VARIANT_TYPE_INT64))
    return (guint64)g_variant_get_int64 (value);
  return g_variant_get_uint64 (value);
}

static char *
text_of (GantryJob *job, const char *key)
{
  g_autoptr (GVariant) properties = gantry_job_get_properties (job);
  char *text = NULL;

  g_variant_lookup (properties, key, "s", &text);
  return text;
}

static void
test_create (GantryContractFixture *fixture)
{
  g_autoptr (GantryJob) job = create (fixture, "mine");
  g_autoptr (GantryJob) other = create (fixture, NULL);
  g_autoptr (GantryJob) same = NULL;
  GantryJob *none = GANTRY_CONTRACT_UNTOUCHED;
  g_autofree char *operation = text_of (job, "operation");
  g_autofree char *ns = text_of (job, "namespace");
  g_autofree char *token = text_of (job, "token");
  g_autofree char *phase = text_of (job, "phase");

  g_assert_cmpuint (gantry_job_get_id (job), !=, gantry_job_get_id (other));
  g_assert_cmpstr (operation, ==, "import");
  g_assert_cmpstr (ns, ==, "default");
  g_assert_cmpstr (token, ==, "mine");
  g_assert_nonnull (phase);
  g_assert_cmpuint (number_of (job, "started-by-uid"), ==, 1000);
  g_assert_cmpuint (number_of (job, "id"), ==, gantry_job_get_id (job));
  g_assert_cmpint ((gint64)number_of (job, "started-at"), >, gantry_now_ns () - 60 * (gint64)1000000000);
  g_assert_cmpuint (number_of (job, "finished"), ==, FALSE);
  g_assert_cmpuint (number_of (job, "cancelable"), ==, TRUE);
  CONTRACT_OK (gantry_jobs_get (jobs_of (fixture), gantry_job_get_id (job), &same, NULL, &error));
  g_assert_true (same == job);
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND,
                  gantry_jobs_get (jobs_of (fixture), G_MAXUINT64 - 3, &none, NULL, &error));
  g_assert_true (none == GANTRY_CONTRACT_UNTOUCHED);
  gantry_job_finish (job, NULL, NULL);
  gantry_job_finish (other, NULL, NULL);
}

static void
test_tokens (GantryContractFixture *fixture)
{
  static const char *const bad[] = { "", "a b", "a-b", "\xc3\xa4", "a/b" };
  GantryJobs *jobs = jobs_of (fixture);
  g_autofree char *longest = gantry_contract_long_name (64);
  g_autofree char *longer = gantry_contract_long_name (65);
  g_autoptr (GantryJob) job = create (fixture, "twice");
  g_autoptr (GantryJob) by_other = NULL;
  g_autoptr (GantryJob) again = NULL;
  g_autoptr (GantryJob) with_longest = create (fixture, longest);
  GantryJob *none = GANTRY_CONTRACT_UNTOUCHED;

  for (gsize i = 0; i < G_N_ELEMENTS (bad); i++)
    CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                    gantry_jobs_create (jobs, "import", "default", bad[i], 1000, &none, NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_INVALID_ARGUMENT,
                  gantry_jobs_create (jobs, "import", "default", longer, 1000, &none, NULL, &error));
  CONTRACT_FAILS_NAMING (GANTRY_ERROR_ALREADY_EXISTS, "twice",
                         gantry_jobs_create (jobs, "import", "default", "twice", 1000, &none, NULL, &error));
  g_assert_true (none == GANTRY_CONTRACT_UNTOUCHED);
  CONTRACT_OK (gantry_jobs_create (jobs, "import", "default", "twice", 1001, &by_other, NULL, &error));
  /* Once the job has ended, the name is free. */
  gantry_job_finish (job, NULL, NULL);
  CONTRACT_OK (gantry_jobs_create (jobs, "import", "default", "twice", 1000, &again, NULL, &error));
  gantry_job_finish (by_other, NULL, NULL);
  gantry_job_finish (again, NULL, NULL);
  gantry_job_finish (with_longest, NULL, NULL);
}

static void
test_update (GantryContractFixture *fixture)
{
  g_autoptr (GantryJob) job = create (fixture, NULL);
  g_autoptr (GVariant) properties = NULL;
  g_autoptr (GVariant) items = NULL;
  g_autoptr (GVariant) one = NULL;
  g_autoptr (GVariant) two = NULL;
  const char *state = NULL;
  guint64 rate = G_MAXUINT64;
  gint64 end = 0;

  gantry_job_update (job, g_variant_new_parsed (
                              "{'phase': <'importing'>, 'bytes': <@t 5>, 'total-bytes': <@t 50>,"
                              " 'items': <{'one': {'state': <'waiting'>}, 'two': {'state': <'waiting'>}}>}"));
  gantry_job_update (job,
                     g_variant_new_parsed ("{'bytes': <@t 7>, 'items': <{'two': {'state': <'done'>}}>}"));
  properties = gantry_job_get_properties (job);
  g_assert_cmpuint (number_of (job, "bytes"), ==, 7);
  g_assert_cmpuint (number_of (job, "total-bytes"), ==, 50);
  items = g_variant_lookup_value (properties, "items", G_VARIANT_TYPE ("a{sa{sv}}"));
  g_assert_nonnull (items);
  one = g_variant_lookup_value (items, "one", G_VARIANT_TYPE_VARDICT);
  two = g_variant_lookup_value (items, "two", G_VARIANT_TYPE_VARDICT);
  g_assert_nonnull (one);
  g_assert_true (g_variant_lookup (one, "state", "&s", &state));
  g_assert_cmpstr (state, ==, "waiting");
  g_assert_true (g_variant_lookup (two, "state", "&s", &state));
  g_assert_cmpstr (state, ==, "done");
  gantry_job_finish (job, g_variant_new_parsed ("{'names': <['x']>}"), NULL);
  gantry_contract_spin ();
  g_clear_pointer (&properties, g_variant_unref);
  properties = gantry_job_get_properties (job);
  g_assert_true (g_variant_lookup (properties, "rate", "t", &rate));
  g_assert_true (g_variant_lookup (properties, "expected-end-time", "x", &end));
}

static void
test_finish (GantryContractFixture *fixture)
{
  g_autoptr (GantryJob) good = create (fixture, NULL);
  g_autoptr (GantryJob) bad = create (fixture, NULL);
  g_autoptr (GError) failure = g_error_new (GANTRY_ERROR, GANTRY_ERROR_DATA_LOSS, "it broke");
  g_autoptr (GVariant) properties = NULL;
  g_autoptr (GVariant) result = NULL;
  g_autofree char *message = NULL;
  g_autofree char *phase = NULL;

  gantry_job_finish (good, g_variant_new_parsed ("{'n': <1>}"), NULL);
  properties = gantry_job_get_properties (good);
  result = g_variant_lookup_value (properties, "result", G_VARIANT_TYPE_VARDICT);
  g_assert_nonnull (result);
  g_assert_cmpuint (g_variant_n_children (result), ==, 1);
  g_assert_cmpuint (number_of (good, "finished"), ==, TRUE);
  g_assert_cmpuint (number_of (good, "error-code"), ==, G_MAXUINT64);
  gantry_job_finish (bad, NULL, failure);
  g_assert_cmpuint (number_of (bad, "finished"), ==, TRUE);
  g_assert_cmpuint (number_of (bad, "error-code"), ==, GANTRY_ERROR_DATA_LOSS);
  message = text_of (bad, "error-message");
  g_assert_cmpstr (message, ==, "it broke");
  /* What comes after the end is dropped. */
  gantry_job_finish (bad, NULL, NULL);
  gantry_job_update (bad, g_variant_new_parsed ("{'phase': <'importing'>}"));
  g_assert_cmpuint (number_of (bad, "error-code"), ==, GANTRY_ERROR_DATA_LOSS);
  phase = text_of (bad, "phase");
  g_assert_cmpstr (phase, ==, "done");
}

static void
test_given_up (GantryContractFixture *fixture)
{
  GantryJob *job = create (fixture, NULL);
  g_autoptr (GantryJob) same = NULL;
  guint64 id = gantry_job_get_id (job);

  g_assert_true (gantry_job_ref (job) == job);
  gantry_job_unref (job);
  g_assert_cmpuint (number_of (job, "finished"), ==, FALSE);
  gantry_job_unref (job);
  CONTRACT_OK (gantry_jobs_get (jobs_of (fixture), id, &same, NULL, &error));
  g_assert_cmpuint (number_of (same, "finished"), ==, TRUE);
  g_assert_cmpuint (number_of (same, "error-code"), ==, GANTRY_ERROR_INTERNAL);
}

static void
test_watch (GantryContractFixture *fixture)
{
  Ear ear;
  g_autoptr (GantryJob) job = NULL;
  gint64 start = g_get_monotonic_time (), elapsed;

  listen (&ear, fixture);
  job = create (fixture, NULL);
  ear.id = gantry_job_get_id (job);
  for (guint i = 1; i <= N_UPDATES; i++)
    {
      g_autoptr (GVariantDict) changes = g_variant_dict_new (NULL);

      g_variant_dict_insert (changes, "steps", "u", i);
      gantry_job_update (job, g_variant_dict_end (changes));
      gantry_contract_spin ();
    }
  gantry_job_finish (job, NULL, NULL);
  gantry_contract_wait (has_finished, &ear, "the end of a job");
  elapsed = g_get_monotonic_time () - start;
  g_assert_cmpuint (ear.n_added, ==, 1);
  g_assert_cmpuint (ear.n_finished, ==, 1);
  g_assert_false (ear.wrong_order);
  g_assert_cmpuint (ear.last_steps, ==, N_UPDATES);
  g_assert_cmpuint (ear.n_changed, <=, (guint)(elapsed / 100000) + 2);
  gantry_jobs_unwatch (ear.jobs, ear.watch);
}

static gboolean
has_changed_again (gpointer data)
{
  return ((Ear *)data)->last_steps == 2;
}

/* A change that waits to be told when the job ends is told with the end, not by a second one. */
static void
test_ends_once (GantryContractFixture *fixture)
{
  Ear ear, later;
  g_autoptr (GantryJob) job = create (fixture, NULL);
  g_autoptr (GantryJob) other = create (fixture, NULL);

  listen (&ear, fixture);
  listen (&later, fixture);
  ear.id = gantry_job_get_id (job);
  later.id = gantry_job_get_id (other);
  gantry_contract_spin ();
  gantry_job_update (job, g_variant_new_parsed ("{'steps': <@u 1>}"));
  gantry_job_update (other, g_variant_new_parsed ("{'steps': <@u 2>}"));
  gantry_job_finish (job, NULL, NULL);
  gantry_contract_wait (has_finished, &ear, "the end of a job");
  gantry_contract_wait (has_changed_again, &later, "a change of another job");
  g_assert_cmpuint (ear.n_finished, ==, 1);
  g_assert_cmpuint (ear.last_steps, ==, 1);
  gantry_job_finish (other, NULL, NULL);
  gantry_jobs_unwatch (ear.jobs, ear.watch);
  gantry_jobs_unwatch (later.jobs, later.watch);
}

static void
test_unwatch (GantryContractFixture *fixture)
{
  Ear gone, witness;
  g_autoptr (GantryJob) job = NULL;

  listen (&gone, fixture);
  listen (&witness, fixture);
  job = create (fixture, NULL);
  gantry_jobs_unwatch (gone.jobs, gone.watch);
  gantry_job_finish (job, NULL, NULL);
  witness.id = gantry_job_get_id (job);
  gantry_contract_wait (has_finished, &witness, "the end of a job");
  g_assert_cmpuint (gone.n_added + gone.n_changed + gone.n_finished, ==, 0);
  gantry_jobs_unwatch (witness.jobs, witness.watch);
}

static void
test_list (GantryContractFixture *fixture)
{
  g_autoptr (GantryJob) first = create (fixture, NULL);
  g_autoptr (GantryJob) second = create (fixture, NULL);
  g_autoptr (GPtrArray) list = NULL;

  gantry_job_finish (first, NULL, NULL);
  gantry_contract_spin ();
  list = gantry_jobs_list (jobs_of (fixture));
  g_assert_cmpuint (list->len, ==, 2);
  g_assert_true (g_ptr_array_index (list, 0) == first);
  g_assert_true (g_ptr_array_index (list, 1) == second);
  gantry_job_finish (second, NULL, NULL);
}

static void
test_cancel (GantryContractFixture *fixture)
{
  GantryJobs *jobs = jobs_of (fixture);
  g_autoptr (GantryJob) job = create (fixture, NULL);
  g_autoptr (GantryJob) stubborn = create (fixture, NULL);
  g_autoptr (GantryJob) child = NULL;
  g_autoptr (GantryJob) born_cancelled = NULL;
  g_autoptr (GCancellable) parent = g_cancellable_new ();
  g_autoptr (GCancellable) cancelled = gantry_contract_cancelled ();

  g_assert_false (g_cancellable_is_cancelled (gantry_job_get_cancellable (job)));
  CONTRACT_OK (gantry_jobs_cancel (jobs, gantry_job_get_id (job), NULL, &error));
  g_assert_true (g_cancellable_is_cancelled (gantry_job_get_cancellable (job)));
  gantry_job_finish (job, NULL, NULL);
  CONTRACT_FAILS (GANTRY_ERROR_FAILED_PRECONDITION,
                  gantry_jobs_cancel (jobs, gantry_job_get_id (job), NULL, &error));
  CONTRACT_FAILS (GANTRY_ERROR_NOT_FOUND, gantry_jobs_cancel (jobs, G_MAXUINT64 - 3, NULL, &error));
  gantry_job_update (stubborn, g_variant_new_parsed ("{'cancelable': <false>}"));
  CONTRACT_FAILS (GANTRY_ERROR_FAILED_PRECONDITION,
                  gantry_jobs_cancel (jobs, gantry_job_get_id (stubborn), NULL, &error));
  g_assert_false (g_cancellable_is_cancelled (gantry_job_get_cancellable (stubborn)));
  gantry_job_finish (stubborn, NULL, NULL);
  CONTRACT_OK (gantry_jobs_create (jobs, "import", "default", NULL, 0, &child, parent, &error));
  g_cancellable_cancel (parent);
  g_assert_true (g_cancellable_is_cancelled (gantry_job_get_cancellable (child)));
  gantry_job_finish (child, NULL, NULL);
  CONTRACT_OK (gantry_jobs_create (jobs, "import", "default", NULL, 0, &born_cancelled, cancelled, &error));
  g_assert_true (g_cancellable_is_cancelled (gantry_job_get_cancellable (born_cancelled)));
  gantry_job_finish (born_cancelled, NULL, NULL);
}

static void
test_limit (GantryContractFixture *fixture)
{
  g_autoptr (GPtrArray) held = g_ptr_array_new ();
  g_autoptr (GError) local = NULL;
  GantryJob *job = NULL;

  while (held->len < MAX_JOBS
         && gantry_jobs_create (jobs_of (fixture), "import", "default", NULL, 0, &job, NULL, &local))
    g_ptr_array_add (held, job);
  g_assert_true (gantry_error_is (local, GANTRY_ERROR_RESOURCE_EXHAUSTED));
  for (guint i = 0; i < held->len; i++)
    {
      gantry_job_finish (g_ptr_array_index (held, i), NULL, NULL);
      gantry_job_unref (g_ptr_array_index (held, i));
    }
}

typedef struct
{
  GantryContractFixture *fixture;
  GantryJob *shared;
} Work;

static void
work (guint i, gpointer data)
{
  Work *self = data;

  for (guint j = 0; j < 20; j++)
    {
      g_autoptr (GantryJob) job = create (self->fixture, NULL);
      g_autofree char *name = g_strdup_printf ("%u", i);
      g_autoptr (GVariant) properties = NULL;
      g_autoptr (GPtrArray) list = NULL;

      gantry_job_update (job, g_variant_new_parsed ("{'bytes': <@t 1>}"));
      gantry_job_update (self->shared, g_variant_new_parsed ("{'items': <{%s: {'state': <'done'>}}>}", name));
      properties = gantry_job_get_properties (self->shared);
      list = gantry_jobs_list (jobs_of (self->fixture));
      g_assert_cmpuint (list->len, >=, 2);
      gantry_job_finish (job, NULL, NULL);
    }
}

static void
test_threads (GantryContractFixture *fixture)
{
  Ear ear;
  Work shared_work = { fixture, NULL };
  g_autoptr (GVariant) properties = NULL;
  g_autoptr (GVariant) items = NULL;

  listen (&ear, fixture);
  shared_work.shared = create (fixture, NULL);
  ear.id = gantry_job_get_id (shared_work.shared);
  gantry_contract_race (N_THREADS, work, &shared_work);
  gantry_job_finish (shared_work.shared, NULL, NULL);
  gantry_contract_wait (has_finished, &ear, "the end of a job");
  properties = gantry_job_get_properties (shared_work.shared);
  items = g_variant_lookup_value (properties, "items", G_VARIANT_TYPE ("a{sa{sv}}"));
  g_assert_cmpuint (g_variant_n_children (items), ==, N_THREADS);
  gantry_job_unref (shared_work.shared);
  gantry_jobs_unwatch (ear.jobs, ear.watch);
}

static const GantryContractCase cases[] = {
  { "create", test_create },
  { "tokens", test_tokens },
  { "update", test_update },
  { "finish", test_finish },
  { "given-up", test_given_up },
  { "watch", test_watch },
  { "ends-once", test_ends_once },
  { "unwatch", test_unwatch },
  { "list", test_list },
  { "cancel", test_cancel },
  { "limit", test_limit },
  { "threads", test_threads },
  { NULL, NULL },
};

const GantryContractSuite gantry_contract_jobs = { GANTRY_JOBS_TYPE, cases };
