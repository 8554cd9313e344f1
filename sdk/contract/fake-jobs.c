/* SPDX-License-Identifier: MIT */
#include "fake-jobs.h"

#include <string.h>

#define MAX_JOBS    256
#define MAX_TOKEN   64
#define INTERVAL_MS 100

typedef struct
{
  GMutex lock; /* of everything, the jobs' contents included */
  gatomicrefcount refs;
  GPtrArray *jobs; /* (element-type Job): all there ever were */
  GArray *watches; /* (element-type Watch) */
  guint64 last_watch;
} Shared;

typedef struct
{
  GantryJobs jobs;
  Shared *shared;
} FakeJobs;

typedef struct
{
  GantryJob job;
  gint holders; /* outside the list; with lock */
  gatomicrefcount refs;
  Shared *shared;
  guint64 id;
  guint32 uid;
  char *token;
  GCancellable *cancellable;
  GCancellable *parent;
  gulong chained;
  GHashTable *properties; /* name -> GVariant */
  GVariantDict *changes;  /* (nullable): what watchers have not heard of */
  gboolean announced;
  gboolean finished;
  gboolean scheduled;
} Job;

typedef struct
{
  guint64 id;
  GantryJobFunc func;
  gpointer user_data;
} Watch;

static void
shared_unref (Shared *self)
{
  if (!g_atomic_ref_count_dec (&self->refs))
    return;
  g_array_unref (self->watches);
  g_mutex_clear (&self->lock);
  g_free (self);
}

static void
job_release (gpointer data)
{
  Job *self = data;

  if (!g_atomic_ref_count_dec (&self->refs))
    return;
  if (self->parent != NULL)
    g_cancellable_disconnect (self->parent, self->chained);
  g_clear_object (&self->parent);
  g_object_unref (self->cancellable);
  g_hash_table_unref (self->properties);
  g_clear_pointer (&self->changes, g_variant_dict_unref);
  g_free (self->token);
  shared_unref (self->shared);
  g_free (self);
}

static GVariant *
to_variant (GHashTable *properties)
{
  GVariantBuilder builder;
  GHashTableIter iter;
  gpointer name, value;

  g_variant_builder_init (&builder, G_VARIANT_TYPE_VARDICT);
  g_hash_table_iter_init (&iter, properties);
  while (g_hash_table_iter_next (&iter, &name, &value))
    g_variant_builder_add (&builder, "{sv}", name, value);
  return gantry_variant_keep (g_variant_builder_end (&builder));
}

static void
emit (Job *self, GantryJobSignal signal, GVariant *changes)
{
  g_autoptr (GArray) watches = NULL;

  g_mutex_lock (&self->shared->lock);
  watches = g_array_copy (self->shared->watches);
  g_mutex_unlock (&self->shared->lock);
  for (guint i = 0; i < watches->len; i++)
    g_array_index (watches, Watch, i)
        .func (&self->job, signal, changes, g_array_index (watches, Watch, i).user_data);
}

static gboolean
tell (gpointer data)
{
  Job *self = data;
  g_autoptr (GVariant) all = NULL;
  g_autoptr (GVariant) changes = NULL;
  gboolean first, finished;

  g_mutex_lock (&self->shared->lock);
  self->scheduled = FALSE;
  first = !self->announced;
  self->announced = TRUE;
  finished = self->finished;
  all = to_variant (self->properties);
  if (self->changes != NULL)
    changes = gantry_variant_keep (g_variant_dict_end (self->changes));
  g_clear_pointer (&self->changes, g_variant_dict_unref);
  g_mutex_unlock (&self->shared->lock);
  if (first)
    emit (self, GANTRY_JOB_ADDED, all);
  if (changes != NULL)
    emit (self, finished ? GANTRY_JOB_FINISHED : GANTRY_JOB_CHANGED, changes);
  return G_SOURCE_REMOVE;
}

/* With the lock held. */
static void
schedule (Job *self, guint delay_ms)
{
  g_autoptr (GSource) source = g_timeout_source_new (delay_ms);

  if (self->scheduled && delay_ms > 0)
    return;
  self->scheduled = TRUE;
  g_atomic_ref_count_inc (&self->refs);
  g_source_set_callback (source, tell, self, job_release);
  g_source_attach (source, NULL);
}

/* @items with those of @changed in their place. */
static GVariant *
merge_items (GVariant *items, GVariant *changed)
{
  g_auto (GVariantDict) merged = G_VARIANT_DICT_INIT (NULL);
  GVariantBuilder builder;
  GVariantIter iter;
  const char *name;
  GVariant *item;

  for (int i = 0; i < 2; i++)
    {
      if ((i == 0 ? items : changed) == NULL)
        continue;
      g_variant_iter_init (&iter, i == 0 ? items : changed);
      while (g_variant_iter_loop (&iter, "{&s@a{sv}}", &name, &item))
        g_variant_dict_insert_value (&merged, name, item);
    }
  g_variant_builder_init (&builder, G_VARIANT_TYPE ("a{sa{sv}}"));
  {
    g_autoptr (GVariant) flat = g_variant_ref_sink (g_variant_dict_end (&merged));

    g_variant_iter_init (&iter, flat);
    while (g_variant_iter_loop (&iter, "{&sv}", &name, &item))
      g_variant_builder_add (&builder, "{s@a{sv}}", name, item);
  }
  return g_variant_builder_end (&builder);
}

/* With the lock held. */
static void
set (Job *self, const char *name, GVariant *value)
{
  GVariant *kept = gantry_variant_keep (value);

  if (self->changes == NULL)
    self->changes = g_variant_dict_new (NULL);
  g_variant_dict_insert_value (self->changes, name, kept);
  g_hash_table_replace (self->properties, g_strdup (name), kept);
}

static GantryJob *
job_ref (GantryJob *job)
{
  Job *self = (Job *)job;

  g_mutex_lock (&self->shared->lock);
  self->holders++;
  g_mutex_unlock (&self->shared->lock);
  g_atomic_ref_count_inc (&self->refs);
  return job;
}

static void
job_unref (GantryJob *job)
{
  Job *self = (Job *)job;
  gboolean given_up;

  g_mutex_lock (&self->shared->lock);
  given_up = --self->holders == 0 && !self->finished;
  g_mutex_unlock (&self->shared->lock);
  if (given_up)
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

static GVariant *
job_get_properties (GantryJob *job)
{
  Job *self = (Job *)job;
  GVariant *properties;

  g_mutex_lock (&self->shared->lock);
  properties = to_variant (self->properties);
  g_mutex_unlock (&self->shared->lock);
  return properties;
}

static GCancellable *
job_get_cancellable (GantryJob *job)
{
  return ((Job *)job)->cancellable;
}

static void
job_update (GantryJob *job, GVariant *changes)
{
  Job *self = (Job *)job;
  g_autoptr (GVariant) held = gantry_variant_keep (changes);
  GVariantIter iter;
  const char *name;
  GVariant *value;

  g_mutex_lock (&self->shared->lock);
  g_variant_iter_init (&iter, held);
  while (!self->finished && g_variant_iter_loop (&iter, "{&sv}", &name, &value))
    if (strcmp (name, "items") == 0)
      set (self, name, merge_items (g_hash_table_lookup (self->properties, name), value));
    else
      set (self, name, value);
  if (!self->finished)
    schedule (self, INTERVAL_MS);
  g_mutex_unlock (&self->shared->lock);
}

static void
job_finish (GantryJob *job, GVariant *result, const GError *failure)
{
  Job *self = (Job *)job;
  g_autoptr (GVariant) held = gantry_variant_keep (result != NULL ? result : g_variant_new ("a{sv}", NULL));

  g_mutex_lock (&self->shared->lock);
  if (!self->finished)
    {
      set (self, "finished", g_variant_new_boolean (TRUE));
      set (self, "phase", g_variant_new_string ("done"));
      if (failure == NULL)
        set (self, "result", held);
      else
        {
          set (self, "error-code", g_variant_new_int32 (gantry_error_classify (failure)));
          set (self, "error-message", g_variant_new_string (failure->message));
        }
      self->finished = TRUE;
      schedule (self, 0);
    }
  g_mutex_unlock (&self->shared->lock);
}

static const GantryJobVtable job_vtable = {
  .size = sizeof job_vtable,
  .ref = job_ref,
  .unref = job_unref,
  .get_id = job_get_id,
  .get_properties = job_get_properties,
  .get_cancellable = job_get_cancellable,
  .update = job_update,
  .finish = job_finish,
};

static void
on_parent_cancelled (GCancellable *parent, gpointer cancellable)
{
  (void)parent;
  g_cancellable_cancel (cancellable);
}

static Job *
job_new (Shared *shared, const char *operation, const char *ns, const char *token, guint32 uid)
{
  Job *self = g_new0 (Job, 1);

  self->job.vtable = &job_vtable;
  self->holders = 1;
  g_atomic_ref_count_init (&self->refs);
  g_atomic_ref_count_inc (&self->refs); /* the list's */
  self->shared = shared;
  g_atomic_ref_count_inc (&shared->refs);
  self->uid = uid;
  self->token = g_strdup (token);
  self->cancellable = g_cancellable_new ();
  self->properties = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_variant_unref);
  set (self, "operation", g_variant_new_string (operation));
  set (self, "namespace", g_variant_new_string (ns != NULL ? ns : ""));
  set (self, "token", g_variant_new_string (token != NULL ? token : ""));
  set (self, "started-by-uid", g_variant_new_uint32 (uid));
  set (self, "started-at", g_variant_new_int64 (gantry_now_ns ()));
  set (self, "cancelable", g_variant_new_boolean (TRUE));
  set (self, "phase", g_variant_new_string ("waiting"));
  set (self, "finished", g_variant_new_boolean (FALSE));
  set (self, "rate", g_variant_new_uint64 (0));
  set (self, "expected-end-time", g_variant_new_int64 (0));
  g_clear_pointer (&self->changes, g_variant_dict_unref);
  return self;
}

static gboolean
is_token (const char *token)
{
  gsize length = strlen (token);

  return length > 0 && length <= MAX_TOKEN
         && strspn (token, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "_") == length;
}

/* With the lock held. */
static gboolean
check_new (Shared *self, const char *token, guint32 uid, GError **error)
{
  guint n_running = 0;

  for (guint i = 0; i < self->jobs->len; i++)
    {
      const Job *job = g_ptr_array_index (self->jobs, i);

      n_running += job->finished ? 0 : 1;
      if (token != NULL && !job->finished && job->uid == uid && g_strcmp0 (job->token, token) == 0)
        return gantry_throw (error, GANTRY_ERROR_ALREADY_EXISTS, "a job with the token %s runs already",
                             token);
    }
  return n_running < MAX_JOBS
         || gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "there are %d jobs already", MAX_JOBS);
}

static gboolean
jobs_create (GantryJobs *jobs, const char *operation, const char *ns, const char *token, guint32 uid,
             GantryJob **ret_job, GCancellable *cancellable, GError **error)
{
  Shared *self = ((FakeJobs *)jobs)->shared;
  Job *job;

  if (token != NULL && !is_token (token))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "\"%s\" is not a token", token);
  g_mutex_lock (&self->lock);
  if (!check_new (self, token, uid, error))
    {
      g_mutex_unlock (&self->lock);
      return FALSE;
    }
  job = job_new (self, operation, ns, token, uid);
  g_ptr_array_add (self->jobs, job);
  job->id = self->jobs->len;
  set (job, "id", g_variant_new_uint64 (job->id));
  g_clear_pointer (&job->changes, g_variant_dict_unref);
  schedule (job, 0);
  g_mutex_unlock (&self->lock);
  if (cancellable != NULL)
    {
      job->parent = g_object_ref (cancellable);
      job->chained = g_cancellable_connect (cancellable, G_CALLBACK (on_parent_cancelled),
                                            g_object_ref (job->cancellable), g_object_unref);
    }
  *ret_job = &job->job;
  return TRUE;
}

static gboolean
jobs_get (GantryJobs *jobs, guint64 id, GantryJob **ret_job, GCancellable *cancellable, GError **error)
{
  Shared *self = ((FakeJobs *)jobs)->shared;
  Job *job = NULL;

  (void)cancellable;
  g_mutex_lock (&self->lock);
  if (id > 0 && id <= self->jobs->len)
    {
      job = g_ptr_array_index (self->jobs, id - 1);
      job->holders++;
      g_atomic_ref_count_inc (&job->refs);
    }
  g_mutex_unlock (&self->lock);
  if (job == NULL)
    return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "there is no job %" G_GUINT64_FORMAT, id);
  *ret_job = &job->job;
  return TRUE;
}

static void
unref_job (gpointer job)
{
  gantry_job_unref (job);
}

static GPtrArray *
jobs_list (GantryJobs *jobs)
{
  Shared *self = ((FakeJobs *)jobs)->shared;
  GPtrArray *list = g_ptr_array_new_with_free_func (unref_job);

  g_mutex_lock (&self->lock);
  for (guint i = 0; i < self->jobs->len; i++)
    {
      Job *job = g_ptr_array_index (self->jobs, i);

      job->holders++;
      g_atomic_ref_count_inc (&job->refs);
      g_ptr_array_add (list, job);
    }
  g_mutex_unlock (&self->lock);
  return list;
}

static gboolean
jobs_cancel (GantryJobs *jobs, guint64 id, GCancellable *cancellable, GError **error)
{
  g_autoptr (GantryJob) job = NULL;
  g_autoptr (GVariant) properties = NULL;
  gboolean cancelable = TRUE, finished = FALSE;

  if (!gantry_jobs_get (jobs, id, &job, cancellable, error))
    return FALSE;
  properties = gantry_job_get_properties (job);
  g_variant_lookup (properties, "cancelable", "b", &cancelable);
  g_variant_lookup (properties, "finished", "b", &finished);
  if (!cancelable || finished)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                         "job %" G_GUINT64_FORMAT " can't be cancelled", id);
  g_cancellable_cancel (gantry_job_get_cancellable (job));
  return TRUE;
}

static guint64
jobs_watch (GantryJobs *jobs, GantryJobFunc func, gpointer user_data)
{
  Shared *self = ((FakeJobs *)jobs)->shared;
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
  Shared *self = ((FakeJobs *)jobs)->shared;

  g_mutex_lock (&self->lock);
  for (guint i = self->watches->len; i > 0; i--)
    if (g_array_index (self->watches, Watch, i - 1).id == id)
      g_array_remove_index (self->watches, i - 1);
  g_mutex_unlock (&self->lock);
}

static const GantryJobsVtable vtable = {
  .size = sizeof vtable,
  .create = jobs_create,
  .get = jobs_get,
  .list = jobs_list,
  .cancel = jobs_cancel,
  .watch = jobs_watch,
  .unwatch = jobs_unwatch,
};

GantryJobs *
gantry_fake_jobs_new (void)
{
  FakeJobs *self = g_new0 (FakeJobs, 1);

  self->jobs.vtable = &vtable;
  self->shared = g_new0 (Shared, 1);
  g_mutex_init (&self->shared->lock);
  g_atomic_ref_count_init (&self->shared->refs);
  self->shared->jobs = g_ptr_array_new_with_free_func (job_release);
  self->shared->watches = g_array_new (FALSE, FALSE, sizeof (Watch));
  return &self->jobs;
}

void
gantry_fake_jobs_free (GantryJobs *jobs)
{
  FakeJobs *self = (FakeJobs *)jobs;

  if (self == NULL)
    return;
  g_clear_pointer (&self->shared->jobs, g_ptr_array_unref);
  shared_unref (self->shared);
  g_free (self);
}
