/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Starting and stopping. Everything here runs in the main context but run_init (), which is a plugin's init
 * () on a worker thread. */
#include "core.h"

#include <string.h>

#define INIT_THREADS   4
#define FIRST_RETRY_MS 100
#define LAST_RETRY_MS  30000
#define DRAIN_MS       2000

static void core_advance (Core *self);

void
core_trace (Core *self, const char *format, ...)
{
  va_list args;
  char *line;

  va_start (args, format);
  line = g_strdup_vprintf (format, args);
  va_end (args);
  if (g_strcmp0 (g_getenv ("GANTRY_DEBUG"), "plugins") == 0)
    g_message ("%s", line);
  g_ptr_array_add (self->trace, line);
}

static void
plugin_free (gpointer data)
{
  Plugin *self = data;

  if (self->retry != NULL)
    g_source_destroy (self->retry);
  g_clear_pointer (&self->retry, g_source_unref);
  host_clear (self);
  g_clear_pointer (&self->config, g_variant_unref);
  g_free (self->file);
  g_free (self->reason);
  g_free (self->status);
  g_free (self->providers);
  g_free (self->build_id);
  manifest_free (self->manifest);
  g_free (self);
}

static void
set_outcome (Plugin *plugin, State state, const char *reason)
{
  plugin->state = state;
  g_free (plugin->reason);
  plugin->reason = g_strdup (reason);
}

/* An outcome that a person should hear of. */
static void
tell_outcome (Plugin *plugin)
{
  const char *name = plugin->manifest->name;

  core_trace (plugin->core, "%s: %s%s%s", name,
              plugin->state == STATE_OK        ? "ok"
              : plugin->state == STATE_SKIPPED ? "skipped"
                                               : "failed",
              plugin->reason != NULL ? ": " : "", plugin->reason != NULL ? plugin->reason : "");
  if (plugin->state == STATE_OK)
    return;
  if (plugin->manifest->masked_by != NULL || plugin->manifest->on_failure == ON_FAILURE_IGNORE)
    g_debug ("plugin %s: %s", name, plugin->reason);
  else if (plugin->state == STATE_SKIPPED)
    g_info ("plugin %s was skipped: %s", name, plugin->reason);
  else
    g_warning ("plugin %s failed: %s", name, plugin->reason);
}

/* The daemon dies for a plugin that it can't do without. */
static void
check_fatal (Plugin *plugin)
{
  if (plugin->manifest->on_failure != ON_FAILURE_FAIL || plugin->core->stopping
      || plugin->manifest->masked_by != NULL || (plugin->state == STATE_SKIPPED && plugin->retrying)
      || plugin->state == STATE_OK)
    return;
  g_critical ("plugin %s is required (OnFailure=fail): %s", plugin->manifest->name, plugin->reason);
  plugin->core->exit_status = 1;
  core_stop (plugin->core, "a required plugin did not start");
}

static void
conclude (Plugin *plugin, State state, const char *reason)
{
  set_outcome (plugin, state, reason);
  tell_outcome (plugin);
  check_fatal (plugin);
}

static gboolean
on_retry (gpointer data)
{
  Plugin *plugin = data;

  g_clear_pointer (&plugin->retry, g_source_unref);
  g_mutex_lock (&plugin->core->lock);
  plugin->state = STATE_PENDING;
  g_mutex_unlock (&plugin->core->lock);
  core_advance (plugin->core);
  return G_SOURCE_REMOVE;
}

static void
schedule_retry (Plugin *plugin)
{
  plugin->retry_ms = plugin->retry_ms == 0 ? FIRST_RETRY_MS : MIN (plugin->retry_ms * 2, LAST_RETRY_MS);
  plugin->retry = g_timeout_source_new (plugin->retry_ms);
  g_source_set_callback (plugin->retry, on_retry, plugin, NULL);
  g_source_attach (plugin->retry, plugin->core->context);
}

static void
serve_frontend (Plugin *plugin)
{
  g_autoptr (GError) error = NULL;

  if (plugin->serving || !plugin_provides (plugin, GANTRY_FRONTEND_TYPE))
    return;
  plugin->serving
      = gantry_frontend_serve (plugin->desc->get (plugin->instance, GANTRY_FRONTEND_TYPE), NULL, &error);
  if (plugin->serving)
    return;
  g_mutex_lock (&plugin->core->lock);
  conclude (plugin, STATE_FAILED, error->message);
  g_mutex_unlock (&plugin->core->lock);
}

typedef struct
{
  Plugin *plugin;
  gpointer instance;
  gboolean ok;
  GError *error;
} Outcome;

/* In the main context: what init () came to. */
static gboolean
on_init_done (gpointer data)
{
  g_autofree Outcome *outcome = data;
  Plugin *plugin = outcome->plugin;
  Core *core = plugin->core;

  g_mutex_lock (&core->lock);
  core->starting--;
  plugin->init_us = g_get_monotonic_time () - plugin->started_at;
  plugin->retrying = FALSE;
  if (outcome->ok)
    {
      plugin->instance = outcome->instance;
      plugin->waiting = FALSE;
      plugin->retry_ms = 0;
      g_ptr_array_add (core->started, plugin);
      conclude (plugin, STATE_OK, NULL);
    }
  else if (gantry_error_is (outcome->error, GANTRY_ERROR_UNAVAILABLE))
    {
      plugin->waiting = plugin->retrying = TRUE;
      schedule_retry (plugin);
      conclude (plugin, STATE_SKIPPED, outcome->error->message);
    }
  else if (gantry_error_is (outcome->error, GANTRY_ERROR_NOT_IMPLEMENTED))
    conclude (plugin, STATE_SKIPPED, outcome->error->message);
  else
    conclude (plugin, STATE_FAILED,
              outcome->error != NULL ? outcome->error->message
                                     : "init () failed without an error; that is a bug of it");
  g_mutex_unlock (&core->lock);
  g_clear_error (&outcome->error);
  core_advance (core);
  introspection_changed (core);
  return G_SOURCE_REMOVE;
}

static void
run_init (gpointer data, gpointer user_data)
{
  Plugin *plugin = data;
  Outcome *outcome = g_new0 (Outcome, 1);

  outcome->plugin = plugin;
  outcome->ok = plugin->desc->init (&plugin->host, &outcome->instance, &outcome->error);
  g_main_context_invoke (plugin->core->context, on_init_done, outcome);
}

static void
begin_init (Plugin *plugin)
{
  core_trace (plugin->core, "%s: starting", plugin->manifest->name);
  plugin->state = STATE_STARTING;
  plugin->started_at = g_get_monotonic_time ();
  plugin->core->starting++;
  g_thread_pool_push (plugin->core->init_pool, plugin, NULL);
}

/* Starts what is ready and skips what can never be. Returns: whether anything changed. With the lock. */
static gboolean
advance_once (Core *self)
{
  gboolean changed = FALSE;

  for (guint i = 0; i < self->plugins->len; i++)
    {
      Plugin *plugin = g_ptr_array_index (self->plugins, i);
      g_autofree char *reason = NULL;
      Readiness readiness;

      /* One that was skipped for want of a provider is looked at again: the provider may have come. */
      if (plugin->desc == NULL
          || !(plugin->state == STATE_PENDING
               || (plugin->state == STATE_SKIPPED && plugin->waiting && !plugin->retrying)))
        continue;
      readiness = graph_check (plugin, &reason);
      if (readiness == READY_YES)
        begin_init (plugin);
      else if (readiness == READY_NEVER && plugin->state == STATE_PENDING)
        {
          plugin->waiting = TRUE;
          conclude (plugin, STATE_SKIPPED, reason);
        }
      else
        continue;
      changed = TRUE;
    }
  return changed;
}

static void
core_settle (Core *self)
{
  gboolean first = !self->settled;

  self->settled = TRUE;
  for (guint i = 0; i < self->started->len && !self->stopping; i++)
    serve_frontend (g_ptr_array_index (self->started, i));
  if (first && !self->stopping)
    g_main_context_wakeup (self->context);
  introspection_changed (self);
}

static void
core_advance (Core *self)
{
  gboolean idle;

  if (self->stopping)
    return;
  g_mutex_lock (&self->lock);
  while (advance_once (self))
    ;
  idle = self->starting == 0;
  g_mutex_unlock (&self->lock);
  if (idle)
    core_settle (self);
}

gboolean
core_load (Core *self, GError **error)
{
  g_autoptr (GPtrArray) manifests
      = manifests_load ((const char *const *)self->options->plugins_dirs,
                        (const char *const *)self->options->overrides, self->warnings, error);

  if (manifests == NULL)
    return FALSE;
  while (manifests->len > 0)
    {
      Plugin *plugin = g_new0 (Plugin, 1);
      g_autoptr (GError) local = NULL;

      plugin->core = self;
      plugin->manifest = g_ptr_array_steal_index (manifests, 0);
      plugin->config = manifest_get_config (plugin->manifest);
      host_init (plugin);
      g_ptr_array_add (self->plugins, plugin);
      core_trace (self, "%s: declared by %s", plugin->manifest->name, plugin->manifest->path);
      if (plugin->manifest->masked_by != NULL)
        {
          g_autofree char *reason = g_strdup_printf ("masked by %s", plugin->manifest->masked_by);

          conclude (plugin, STATE_SKIPPED, reason);
        }
      else if (plugin->manifest->error != NULL)
        conclude (plugin, STATE_FAILED, plugin->manifest->error->message);
      else if (!loader_open (plugin, self->options->plugindir, &local))
        conclude (plugin, STATE_FAILED, local->message);
    }
  graph_refuse_impossible (self);
  for (guint i = 0; i < self->plugins->len; i++)
    if (((Plugin *)g_ptr_array_index (self->plugins, i))->state == STATE_FAILED)
      check_fatal (g_ptr_array_index (self->plugins, i));
  for (guint i = 0; i < self->warnings->len; i++)
    g_warning ("%s", (const char *)g_ptr_array_index (self->warnings, i));
  return TRUE;
}

void
core_start (Core *self)
{
  core_advance (self);
}

static void
on_frontend_stopped (gpointer data)
{
  Core *self = data;

  if (--self->frontends_stopping == 0)
    g_main_loop_quit (self->loop);
}

void
core_stop (Core *self, const char *reason)
{
  if (self->stopping)
    return;
  self->stopping = TRUE;
  g_info ("stopping: %s", reason);
  self->frontends_stopping = 1; /* this function's own */
  for (guint i = 0; i < self->started->len; i++)
    {
      Plugin *plugin = g_ptr_array_index (self->started, i);

      if (!plugin->serving)
        continue;
      plugin->serving = FALSE;
      self->frontends_stopping++;
      gantry_frontend_stop (plugin->desc->get (plugin->instance, GANTRY_FRONTEND_TYPE), DRAIN_MS,
                            on_frontend_stopped, self);
    }
  on_frontend_stopped (self);
}

void
core_finish (Core *self)
{
  /* An init () that still runs is waited for: its plugin must be ended, too. */
  while (self->starting > 0)
    g_main_context_iteration (self->context, TRUE);
  /* Work that plugins have submitted ends before what it uses is freed; from now on submit () refuses. */
  for (gsize i = 0; i < G_N_ELEMENTS (self->pools); i++)
    {
      GThreadPool *pool;

      g_mutex_lock (&self->pools_lock);
      pool = g_steal_pointer (&self->pools[i]);
      g_mutex_unlock (&self->pools_lock);
      g_thread_pool_free (pool, FALSE, TRUE);
    }
  for (guint i = self->started->len; i > 0; i--)
    {
      Plugin *plugin = g_ptr_array_index (self->started, i - 1);

      core_trace (self, "%s: ending", plugin->manifest->name);
      plugin->desc->fini (plugin->instance);
      plugin->instance = NULL;
    }
}

static void
run_job (gpointer data, gpointer user_data)
{
  Job *job = data;

  job->func (job->data, NULL);
  if (job->destroy != NULL)
    job->destroy (job->data);
  g_free (job);
}

Core *
core_new (Options *options)
{
  Core *self = g_new0 (Core, 1);

  self->options = options;
  self->context = g_main_context_ref (g_main_context_default ());
  self->loop = g_main_loop_new (self->context, FALSE);
  g_mutex_init (&self->lock);
  g_mutex_init (&self->pools_lock);
  self->plugins = g_ptr_array_new_with_free_func (plugin_free);
  self->started = g_ptr_array_new ();
  self->trace = g_ptr_array_new_with_free_func (g_free);
  self->warnings = g_ptr_array_new_with_free_func (g_free);
  self->watches = NULL;
  self->started_ns = g_get_real_time () * 1000;
  self->init_pool = g_thread_pool_new (run_init, self, INIT_THREADS, FALSE, NULL);
  self->pools[GANTRY_POOL_IO] = g_thread_pool_new (run_job, self, (int)options->io_threads, FALSE, NULL);
  self->pools[GANTRY_POOL_RUNTIME]
      = g_thread_pool_new (run_job, self, (int)options->runtime_threads, FALSE, NULL);
  introspection_init (self);
  return self;
}

void
core_free (Core *self)
{
  if (self == NULL)
    return;
  g_thread_pool_free (self->init_pool, FALSE, TRUE);
  for (gsize i = 0; i < G_N_ELEMENTS (self->pools); i++)
    if (self->pools[i] != NULL)
      g_thread_pool_free (self->pools[i], TRUE, TRUE);
  if (self->idle != NULL)
    g_source_destroy (self->idle);
  g_clear_pointer (&self->idle, g_source_unref);
  g_clear_pointer (&self->started, g_ptr_array_unref);
  g_clear_pointer (&self->plugins, g_ptr_array_unref);
  g_clear_pointer (&self->trace, g_ptr_array_unref);
  g_clear_pointer (&self->warnings, g_ptr_array_unref);
  g_clear_pointer (&self->watches, g_array_unref);
  g_main_loop_unref (self->loop);
  g_main_context_unref (self->context);
  g_mutex_clear (&self->lock);
  g_mutex_clear (&self->pools_lock);
  g_free (self->uuid);
  g_free (self);
}
