/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Jobs in memory. Updates come from any thread and are merged; watchers hear of them in the main context, at
 * most ten times a second for each job. */
#include "jobs-local.h"

#include <string.h>

#define UPDATE_INTERVAL_MS 100
#define KEEP_SECONDS       60
#define MAX_JOBS           1024
#define MAX_TOKEN          64

typedef struct
{
  GantryJob job;
  gint refs;   /* (atomic) */
  gint owners; /* (atomic): references outside the table */
  JobsLocal *jobs;
  guint64 id;
  guint32 uid;
  char *token;
  GCancellable *cancellable;
  gulong chained;       /* handler on parent */
  GCancellable *parent; /* (nullable) */

  GMutex lock;
  GVariantDict *properties;
  GHashTable *changed; /* names of properties that watchers have not heard of */
  gboolean announced;
  gboolean scheduled;
  gboolean finished;
  gboolean end_told; /* main context */
  gint64 started_us;
  GSource *removal; /* (nullable); main context */
} Job;

typedef struct
{
  guint64 id;
  GantryJobFunc func;
  gpointer user_data;
} Watch;

static void
job_free (Job *self)
{
  if (self->parent != NULL)
    {
      g_cancellable_disconnect (self->parent, self->chained);
      g_object_unref (self->parent);
    }
  g_object_unref (self->cancellable);
  g_variant_dict_unref (self->properties);
  g_hash_table_unref (self->changed);
  g_mutex_clear (&self->lock);
  g_free (self->token);
  g_free (self);
}

static void
job_release (gpointer data)
{
  Job *self = data;

  if (g_atomic_int_dec_and_test (&self->refs))
    job_free (self);
}

static Job *
job_acquire (Job *self)
{
  g_atomic_int_inc (&self->refs);
  return self;
}

static gboolean
is_finished (Job *self)
{
  gboolean finished;

  g_mutex_lock (&self->lock);
  finished = self->finished;
  g_mutex_unlock (&self->lock);
  return finished;
}

static GantryJob *
job_ref (GantryJob *job)
{
  Job *self = (Job *)job;

  g_atomic_int_inc (&self->owners);
  return &job_acquire (self)->job;
}

static void
job_unref (GantryJob *job)
{
  Job *self = (Job *)job;

  if (g_atomic_int_dec_and_test (&self->owners) && !is_finished (self))
    {
      g_autoptr (GError) error = g_error_new (GANTRY_ERROR, GANTRY_ERROR_INTERNAL, "the work was given up");

      gantry_job_finish (job, NULL, error);
    }
  job_release (self);
}

static guint64
job_get_id (GantryJob *job)
{
  return ((Job *)job)->id;
}

static guint64
lookup_uint64 (Job *self, const char *name)
{
  guint64 value = 0;

  g_variant_dict_lookup (self->properties, name, "t", &value);
  return value;
}

/* With the lock: brings rate and end time up to date. */
static void
estimate (Job *self)
{
  gint64 elapsed = MAX (g_get_monotonic_time () - self->started_us, 1);
  guint64 bytes = lookup_uint64 (self, "bytes");
  guint64 total = lookup_uint64 (self, "total-bytes");
  guint64 rate = (guint64)((double)bytes * G_USEC_PER_SEC / (double)elapsed);
  gint64 end = 0;

  if (rate > 0 && total > bytes)
    end = gantry_now_ns () + (gint64)((double)(total - bytes) / (double)rate * 1e9);
  g_variant_dict_insert (self->properties, "rate", "t", rate);
  g_variant_dict_insert (self->properties, "expected-end-time", "x", end);
  g_hash_table_add (self->changed, g_strdup ("rate"));
  g_hash_table_add (self->changed, g_strdup ("expected-end-time"));
}

static GVariant *
job_get_properties (GantryJob *job)
{
  Job *self = (Job *)job;
  GVariant *copy;

  g_mutex_lock (&self->lock);
  copy = g_variant_ref_sink (g_variant_dict_end (self->properties));
  g_variant_dict_unref (self->properties);
  self->properties = g_variant_dict_new (copy);
  g_mutex_unlock (&self->lock);
  return copy;
}

static GCancellable *
job_get_cancellable (GantryJob *job)
{
  return ((Job *)job)->cancellable;
}

static gboolean
is_watching (JobsLocal *self, guint64 id)
{
  gboolean found = FALSE;

  g_mutex_lock (&self->lock);
  for (guint i = 0; i < self->watches->len && !found; i++)
    found = g_array_index (self->watches, Watch, i).id == id;
  g_mutex_unlock (&self->lock);
  return found;
}

static void
emit (JobsLocal *jobs, Job *job, GantryJobSignal signal, GVariant *changes)
{
  g_autoptr (GVariant) held = g_variant_ref_sink (changes);
  g_autoptr (GArray) watches = NULL;

  g_mutex_lock (&jobs->lock);
  watches = g_array_copy (jobs->watches);
  g_mutex_unlock (&jobs->lock);
  for (guint i = 0; i < watches->len; i++)
    {
      Watch *watch = &g_array_index (watches, Watch, i);

      /* An earlier one may have ended a later one. */
      if (!is_watching (jobs, watch->id))
        continue;
      watch->func (&job->job, signal, held, watch->user_data);
    }
}

static GVariant *
take_changes (Job *self)
{
  GVariantDict changes;
  GHashTableIter iter;
  gpointer name;

  g_variant_dict_init (&changes, NULL);
  g_mutex_lock (&self->lock);
  if (!self->finished)
    estimate (self);
  g_hash_table_iter_init (&iter, self->changed);
  while (g_hash_table_iter_next (&iter, &name, NULL))
    {
      g_autoptr (GVariant) value = g_variant_dict_lookup_value (self->properties, name, NULL);

      if (value != NULL)
        g_variant_dict_insert_value (&changes, name, value);
    }
  g_hash_table_remove_all (self->changed);
  self->scheduled = FALSE;
  g_mutex_unlock (&self->lock);
  return g_variant_dict_end (&changes);
}

static gboolean
on_removal (gpointer data)
{
  Job *self = data;
  JobsLocal *jobs = self->jobs;

  emit (jobs, self, GANTRY_JOB_REMOVED, g_variant_new_array (G_VARIANT_TYPE ("{sv}"), NULL, 0));
  g_mutex_lock (&jobs->lock);
  g_clear_pointer (&self->removal, g_source_unref);
  g_hash_table_remove (jobs->by_id, &self->id);
  g_mutex_unlock (&jobs->lock);
  return G_SOURCE_REMOVE;
}

/* In the main context: tells the watchers what has happened since the last time. */
static gboolean
on_tell (gpointer data)
{
  Job *self = data;
  JobsLocal *jobs = self->jobs;
  gboolean first, finished;
  g_autoptr (GVariant) changes = NULL;

  g_mutex_lock (&jobs->lock);
  g_hash_table_remove (jobs->tells, g_main_current_source ());
  g_mutex_unlock (&jobs->lock);
  /* A change that waited for its interval when the job ended was told with the end. */
  if (self->end_told)
    return G_SOURCE_REMOVE;
  changes = g_variant_ref_sink (take_changes (self));
  g_mutex_lock (&self->lock);
  first = !self->announced;
  self->announced = TRUE;
  finished = self->end_told = self->finished;
  g_mutex_unlock (&self->lock);
  if (first)
    {
      g_autoptr (GVariant) properties = job_get_properties (&self->job);

      emit (jobs, self, GANTRY_JOB_ADDED, properties);
    }
  emit (jobs, self, finished ? GANTRY_JOB_FINISHED : GANTRY_JOB_CHANGED, changes);
  if (finished)
    {
      g_mutex_lock (&jobs->lock);
      self->removal = g_timeout_source_new_seconds (KEEP_SECONDS);
      g_source_set_callback (self->removal, on_removal, job_acquire (self), job_release);
      g_source_attach (self->removal, jobs->host->get_main_context (jobs->host));
      g_mutex_unlock (&jobs->lock);
      jobs->host->hold (jobs->host, -1);
    }
  return G_SOURCE_REMOVE;
}

static void
schedule (Job *self, guint delay_ms)
{
  g_autoptr (GSource) source = delay_ms > 0 ? g_timeout_source_new (delay_ms) : g_idle_source_new ();

  g_source_set_priority (source, G_PRIORITY_DEFAULT);
  g_source_set_callback (source, on_tell, job_acquire (self), job_release);
  g_mutex_lock (&self->jobs->lock);
  g_hash_table_add (self->jobs->tells, g_source_ref (source));
  g_source_attach (source, self->jobs->host->get_main_context (self->jobs->host));
  g_mutex_unlock (&self->jobs->lock);
}

/* With the lock. Items are merged one level deeper: an update names only the items that changed. */
static void
merge (Job *self, const char *name, GVariant *value)
{
  if (strcmp (name, "items") == 0 && g_variant_is_of_type (value, G_VARIANT_TYPE ("a{sa{sv}}")))
    {
      g_autoptr (GVariant) old
          = g_variant_dict_lookup_value (self->properties, "items", G_VARIANT_TYPE ("a{sa{sv}}"));
      g_auto (GVariantBuilder) builder = G_VARIANT_BUILDER_INIT (G_VARIANT_TYPE ("a{sa{sv}}"));
      g_autoptr (GHashTable) given = g_hash_table_new (g_str_hash, g_str_equal);
      GVariantIter iter;
      const char *key;
      GVariant *item;

      g_variant_iter_init (&iter, value);
      while (g_variant_iter_loop (&iter, "{&s@a{sv}}", &key, &item))
        {
          g_hash_table_add (given, (gpointer)key);
          g_variant_builder_add (&builder, "{s@a{sv}}", key, item);
        }
      if (old != NULL)
        {
          g_variant_iter_init (&iter, old);
          while (g_variant_iter_loop (&iter, "{&s@a{sv}}", &key, &item))
            if (!g_hash_table_contains (given, key))
              g_variant_builder_add (&builder, "{s@a{sv}}", key, item);
        }
      g_variant_dict_insert_value (self->properties, name, g_variant_builder_end (&builder));
    }
  else
    g_variant_dict_insert_value (self->properties, name, value);
  g_hash_table_add (self->changed, g_strdup (name));
}

static void
job_update (GantryJob *job, GVariant *changes)
{
  Job *self = (Job *)job;
  g_autoptr (GVariant) held = g_variant_ref_sink (changes);
  gboolean wake = FALSE;
  GVariantIter iter;
  const char *name;
  GVariant *value;

  g_mutex_lock (&self->lock);
  if (!self->finished)
    {
      g_variant_iter_init (&iter, held);
      while (g_variant_iter_loop (&iter, "{&sv}", &name, &value))
        merge (self, name, value);
      wake = !self->scheduled;
      self->scheduled = TRUE;
    }
  g_mutex_unlock (&self->lock);
  if (wake)
    schedule (self, UPDATE_INTERVAL_MS);
}

static void
job_finish (GantryJob *job, GVariant *result, const GError *failure)
{
  Job *self = (Job *)job;
  g_autoptr (GVariant) held = result != NULL ? g_variant_ref_sink (result) : NULL;
  g_autoptr (GError) copy = failure != NULL ? g_error_copy (failure) : NULL;

  gantry_error_normalize (&copy);
  g_mutex_lock (&self->lock);
  if (self->finished)
    {
      g_mutex_unlock (&self->lock);
      return;
    }
  estimate (self);
  merge (self, "finished", g_variant_new_boolean (TRUE));
  merge (self, "phase", g_variant_new_string ("done"));
  if (copy != NULL)
    {
      merge (self, "error-code", g_variant_new_int32 (copy->code));
      merge (self, "error-message", g_variant_new_string (copy->message));
    }
  else
    merge (self, "result", held != NULL ? held : g_variant_new_array (G_VARIANT_TYPE ("{sv}"), NULL, 0));
  self->finished = TRUE;
  g_mutex_unlock (&self->lock);
  schedule (self, 0);
}

static const GantryJobVtable job_vtable = {
  .size = sizeof (GantryJobVtable),
  .ref = job_ref,
  .unref = job_unref,
  .get_id = job_get_id,
  .get_properties = job_get_properties,
  .get_cancellable = job_get_cancellable,
  .update = job_update,
  .finish = job_finish,
};

static gboolean
validate_token (const char *token, GError **error)
{
  gsize length = token != NULL ? strlen (token) : 1;

  if (token != NULL
      && (length == 0 || length > MAX_TOKEN
          || strspn (token, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "_") != length))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "job token \"%s\" must have 1 to %d characters of A-Z, a-z, 0-9 and _", token,
                         MAX_TOKEN);
  return TRUE;
}

static gboolean
token_taken (JobsLocal *self, const char *token, guint32 uid)
{
  GHashTableIter iter;
  gpointer value;

  if (token == NULL)
    return FALSE;
  g_hash_table_iter_init (&iter, self->by_id);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    {
      Job *job = value;

      if (job->uid == uid && g_strcmp0 (job->token, token) == 0 && !is_finished (job))
        return TRUE;
    }
  return FALSE;
}

static void
on_parent_cancelled (GCancellable *parent, gpointer data)
{
  g_cancellable_cancel (data);
}

static Job *
job_new (JobsLocal *self, const char *operation, const char *ns, const char *token, guint32 uid,
         GCancellable *cancellable)
{
  Job *job = g_new0 (Job, 1);

  job->job.vtable = &job_vtable;
  job->refs = 2; /* the table's and the caller's */
  job->owners = 1;
  job->jobs = self;
  job->uid = uid;
  job->token = g_strdup (token);
  job->cancellable = g_cancellable_new ();
  job->changed = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  job->properties = g_variant_dict_new (NULL);
  job->started_us = g_get_monotonic_time ();
  job->scheduled = TRUE;
  g_mutex_init (&job->lock);
  g_variant_dict_insert (job->properties, "operation", "s", operation);
  g_variant_dict_insert (job->properties, "namespace", "s", ns != NULL ? ns : "");
  g_variant_dict_insert (job->properties, "token", "s", token != NULL ? token : "");
  g_variant_dict_insert (job->properties, "started-by-uid", "u", uid);
  g_variant_dict_insert (job->properties, "started-at", "x", gantry_now_ns ());
  g_variant_dict_insert (job->properties, "cancelable", "b", TRUE);
  g_variant_dict_insert (job->properties, "phase", "s", "waiting");
  g_variant_dict_insert (job->properties, "bytes", "t", (guint64)0);
  g_variant_dict_insert (job->properties, "total-bytes", "t", (guint64)0);
  g_variant_dict_insert (job->properties, "steps", "u", (guint32)0);
  g_variant_dict_insert (job->properties, "total-steps", "u", (guint32)0);
  g_variant_dict_insert (job->properties, "finished", "b", FALSE);
  if (cancellable != NULL)
    {
      job->parent = g_object_ref (cancellable);
      job->chained = g_cancellable_connect (cancellable, G_CALLBACK (on_parent_cancelled),
                                            g_object_ref (job->cancellable), g_object_unref);
    }
  return job;
}

static gboolean
jobs_create (GantryJobs *jobs, const char *operation, const char *ns, const char *token, guint32 uid,
             GantryJob **ret_job, GCancellable *cancellable, GError **error)
{
  JobsLocal *self = (JobsLocal *)jobs;
  Job *job;

  if (!validate_token (token, error))
    return FALSE;
  g_mutex_lock (&self->lock);
  if (token_taken (self, token, uid))
    {
      g_mutex_unlock (&self->lock);
      return gantry_throw (error, GANTRY_ERROR_ALREADY_EXISTS, "a job with the token \"%s\" is running",
                           token);
    }
  if (g_hash_table_size (self->by_id) >= MAX_JOBS)
    {
      g_mutex_unlock (&self->lock);
      return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED,
                           "there are %d jobs already; wait for some to end", MAX_JOBS);
    }
  job = job_new (self, operation, ns, token, uid, cancellable);
  job->id = ++self->last_id;
  g_variant_dict_insert (job->properties, "id", "t", job->id);
  g_hash_table_insert (self->by_id, &job->id, job);
  g_mutex_unlock (&self->lock);
  self->host->hold (self->host, 1);
  schedule (job, 0);
  *ret_job = &job->job;
  return TRUE;
}

static gboolean
jobs_get (GantryJobs *jobs, guint64 id, GantryJob **ret_job, GCancellable *cancellable, GError **error)
{
  JobsLocal *self = (JobsLocal *)jobs;
  Job *job;

  g_mutex_lock (&self->lock);
  job = g_hash_table_lookup (self->by_id, &id);
  if (job != NULL)
    job_ref (&job->job);
  g_mutex_unlock (&self->lock);
  if (job == NULL)
    return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "there is no job %" G_GUINT64_FORMAT, id);
  *ret_job = &job->job;
  return TRUE;
}

static int
compare_ids (gconstpointer a, gconstpointer b)
{
  guint64 x = (*(Job *const *)a)->id, y = (*(Job *const *)b)->id;

  return (x > y) - (x < y);
}

static GPtrArray *
jobs_list (GantryJobs *jobs)
{
  JobsLocal *self = (JobsLocal *)jobs;
  GPtrArray *list = g_ptr_array_new_with_free_func ((GDestroyNotify)job_unref);
  GHashTableIter iter;
  gpointer job;

  g_mutex_lock (&self->lock);
  g_hash_table_iter_init (&iter, self->by_id);
  while (g_hash_table_iter_next (&iter, NULL, &job))
    g_ptr_array_add (list, job_ref (job));
  g_mutex_unlock (&self->lock);
  g_ptr_array_sort (list, compare_ids);
  return list;
}

static gboolean
jobs_cancel (GantryJobs *jobs, guint64 id, GCancellable *cancellable, GError **error)
{
  g_autoptr (GantryJob) job = NULL;
  g_autoptr (GVariant) properties = NULL;
  gboolean cancelable = TRUE;

  if (!jobs_get (jobs, id, &job, cancellable, error))
    return FALSE;
  if (is_finished ((Job *)job))
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "job %" G_GUINT64_FORMAT " has ended", id);
  properties = gantry_job_get_properties (job);
  if (g_variant_lookup (properties, "cancelable", "b", &cancelable) && !cancelable)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                         "job %" G_GUINT64_FORMAT " can't be cancelled", id);
  g_cancellable_cancel (gantry_job_get_cancellable (job));
  return TRUE;
}

static guint64
jobs_watch (GantryJobs *jobs, GantryJobFunc func, gpointer user_data)
{
  JobsLocal *self = (JobsLocal *)jobs;
  Watch watch = { 0, func, user_data };

  g_mutex_lock (&self->lock);
  watch.id = ++self->last_watch;
  g_array_append_val (self->watches, watch);
  g_mutex_unlock (&self->lock);
  return watch.id;
}

static void
jobs_unwatch (GantryJobs *jobs, guint64 id)
{
  JobsLocal *self = (JobsLocal *)jobs;

  g_mutex_lock (&self->lock);
  for (guint i = 0; i < self->watches->len; i++)
    if (g_array_index (self->watches, Watch, i).id == id)
      {
        g_array_remove_index (self->watches, i);
        break;
      }
  g_mutex_unlock (&self->lock);
}

static const GantryJobsVtable vtable = {
  .size = sizeof (GantryJobsVtable),
  .create = jobs_create,
  .get = jobs_get,
  .list = jobs_list,
  .cancel = jobs_cancel,
  .watch = jobs_watch,
  .unwatch = jobs_unwatch,
};

JobsLocal *
jobs_local_new (const GantryHost *host)
{
  JobsLocal *self = g_new0 (JobsLocal, 1);

  self->jobs.vtable = &vtable;
  self->host = host;
  g_mutex_init (&self->lock);
  self->by_id = g_hash_table_new_full (g_int64_hash, g_int64_equal, NULL, job_release);
  self->tells = g_hash_table_new_full (NULL, NULL, (GDestroyNotify)g_source_unref, NULL);
  self->watches = g_array_new (FALSE, FALSE, sizeof (Watch));
  return self;
}

void
jobs_local_free (JobsLocal *self)
{
  GHashTableIter iter;
  gpointer value;

  if (self == NULL)
    return;
  g_hash_table_iter_init (&iter, self->tells);
  while (g_hash_table_iter_next (&iter, &value, NULL))
    g_source_destroy (value);
  g_hash_table_unref (self->tells);
  g_hash_table_iter_init (&iter, self->by_id);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    {
      Job *job = value;

      if (job->removal != NULL)
        g_source_destroy (job->removal);
      g_clear_pointer (&job->removal, g_source_unref);
    }
  g_hash_table_unref (self->by_id);
  g_array_unref (self->watches);
  g_mutex_clear (&self->lock);
  g_free (self);
}
