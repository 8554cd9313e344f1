/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Starting and stopping. Everything here runs in the main context but run_init (), which is a plugin's init
 * () on a worker thread. */
#include "core.h"
#include "rest.h"

#include <string.h>

#define INIT_THREADS   4
#define FIRST_RETRY_MS 100
#define LAST_RETRY_MS  30000
#define DRAIN_MS       2000
#define SLOW_SECONDS   10
#define MAX_TRACE      4096

static void core_advance (Core *self);

void
core_trace (Core *self, const char *format, ...)
{
  va_list args;
  char *line;

  va_start (args, format);
  line = g_strdup_vprintf (format, args);
  va_end (args);
  if (self->debug)
    g_message ("%s", line);
  g_mutex_lock (&self->trace_lock);
  /* How the daemon came up stays, and what happened last; what goes is from the middle. */
  if (self->trace->len == MAX_TRACE)
    g_ptr_array_remove_index (self->trace, MAX_TRACE / 2);
  g_ptr_array_add (self->trace, line);
  g_mutex_unlock (&self->trace_lock);
}

void
core_post (Core *self, GSourceFunc func, gpointer data)
{
  g_autoptr (GSource) source = g_idle_source_new ();

  /* Not g_main_context_invoke (): that may call @func at once, within whatever its caller holds. */
  g_source_set_priority (source, G_PRIORITY_DEFAULT);
  g_source_set_callback (source, func, data, NULL);
  g_source_attach (source, self->context);
}

static void
clear_source (GSource **source)
{
  if (*source != NULL)
    g_source_destroy (*source);
  g_clear_pointer (source, g_source_unref);
}

static void
plugin_free (gpointer data)
{
  Plugin *self = data;

  clear_source (&self->retry);
  host_clear (self);
  g_clear_pointer (&self->config, g_variant_unref);
  g_free (self->file);
  g_free (self->reason);
  g_free (self->status);
  g_free (self->last_error);
  g_free (self->providers);
  g_free (self->build_id);
  manifest_free (self->manifest);
  g_free (self);
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
    g_log_structured (G_LOG_DOMAIN, G_LOG_LEVEL_WARNING, "MESSAGE_ID", GANTRY_MESSAGE_PLUGIN_FAILED,
                      "GANTRY_PLUGIN", name, "CODE_FUNC", __func__, "MESSAGE", "plugin %s failed: %s", name,
                      plugin->reason);
}

static gboolean
on_fatal (gpointer data)
{
  core_stop (data, "a required plugin did not start");
  return G_SOURCE_REMOVE;
}

/* The daemon dies for a plugin that it can't do without, but not for one that will come later. */
static void
check_fatal (Plugin *plugin)
{
  if (plugin->manifest->on_failure != ON_FAILURE_FAIL || plugin->core->stopping || plugin->core->fatal
      || plugin->core->options->checking || plugin->manifest->masked_by != NULL || plugin->state == STATE_OK
      || (plugin->state == STATE_SKIPPED && (plugin->retrying || (plugin->lacks_need && plugin->awaits))))
    return;
  g_log_structured (G_LOG_DOMAIN, G_LOG_LEVEL_CRITICAL, "MESSAGE_ID", GANTRY_MESSAGE_PLUGIN_REQUIRED,
                    "GANTRY_PLUGIN", plugin->manifest->name, "MESSAGE",
                    "plugin %s is required (OnFailure=fail): %s", plugin->manifest->name, plugin->reason);
  plugin->core->fatal = TRUE;
  plugin->core->exit_status = 1;
  core_post (plugin->core, on_fatal, plugin->core); /* not now: the lock is held */
}

void
core_conclude (Plugin *plugin, State state, const char *reason)
{
  char *old = plugin->reason; /* @reason may be of it */

  plugin->state = state;
  plugin->reason = g_strdup (reason);
  g_free (old);
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
schedule_retry (Plugin *plugin, GSourceFunc func)
{
  plugin->retry_ms = plugin->retry_ms == 0 ? FIRST_RETRY_MS : MIN (plugin->retry_ms * 2, LAST_RETRY_MS);
  plugin->retry = g_timeout_source_new (plugin->retry_ms);
  g_source_set_callback (plugin->retry, func, plugin, NULL);
  g_source_attach (plugin->retry, plugin->core->context);
}

static void serve_frontend (Plugin *plugin);

static gboolean
on_serve_retry (gpointer data)
{
  Plugin *plugin = data;

  g_clear_pointer (&plugin->retry, g_source_unref);
  if (!plugin->core->stopping)
    serve_frontend (plugin);
  introspection_changed (plugin->core);
  return G_SOURCE_REMOVE;
}

/* With the lock. */
static void
set_status (Plugin *plugin, const char *status)
{
  g_free (plugin->status);
  plugin->status = g_strdup (status);
}

static void
on_not_serving (Plugin *plugin, const GError *error)
{
  const char *message
      = error != NULL ? error->message : "serve () failed without an error; that is a bug of it";

  g_mutex_lock (&plugin->core->lock);
  if (gantry_error_is (error, GANTRY_ERROR_UNAVAILABLE))
    {
      core_trace (plugin->core, "%s: does not listen yet: %s", plugin->manifest->name, message);
      set_status (plugin, message);
      schedule_retry (plugin, on_serve_retry);
    }
  else
    {
      plugin->not_serving = TRUE;
      core_conclude (plugin, STATE_FAILED, message);
    }
  g_mutex_unlock (&plugin->core->lock);
}

static void
serve_frontend (Plugin *plugin)
{
  g_autoptr (GError) error = NULL;

  if (plugin->serving || plugin->not_serving || plugin->retry != NULL || plugin->core->options->checking
      || !plugin_provides (plugin, GANTRY_FRONTEND_TYPE))
    return;
  plugin->serving
      = gantry_frontend_serve (plugin->desc->get (plugin->instance, GANTRY_FRONTEND_TYPE), NULL, &error);
  if (!plugin->serving)
    {
      on_not_serving (plugin, error);
      return;
    }
  core_trace (plugin->core, "%s: listens", plugin->manifest->name);
  if (plugin->retry_ms != 0)
    {
      plugin->retry_ms = 0;
      g_mutex_lock (&plugin->core->lock);
      set_status (plugin, NULL);
      g_mutex_unlock (&plugin->core->lock);
    }
}

typedef struct
{
  Plugin *plugin;
  gpointer instance;
  gboolean ok;
  gint64 took_us;
  GError *error;
} Outcome;

/* With the lock. */
static void
conclude_init (Plugin *plugin, const Outcome *outcome)
{
  const char *message = outcome->error != NULL ? outcome->error->message
                                               : "init () failed without an error; that is a bug of it";

  plugin->init_us = outcome->took_us;
  plugin->retrying = FALSE;
  if (outcome->ok)
    {
      plugin->instance = outcome->instance;
      plugin->waiting = FALSE;
      plugin->retry_ms = 0;
      g_ptr_array_add (plugin->core->started, plugin);
      core_conclude (plugin, STATE_OK, NULL);
      return;
    }
  g_free (plugin->last_error);
  plugin->last_error = g_strdup (message);
  if (gantry_error_is (outcome->error, GANTRY_ERROR_UNAVAILABLE))
    {
      plugin->waiting = plugin->retrying = TRUE;
      schedule_retry (plugin, on_retry);
      core_conclude (plugin, STATE_SKIPPED, message);
    }
  else if (gantry_error_is (outcome->error, GANTRY_ERROR_NOT_IMPLEMENTED))
    core_conclude (plugin, STATE_SKIPPED, message);
  else
    core_conclude (plugin, STATE_FAILED, message);
}

/* In the main context: what init () came to. */
static gboolean
on_init_done (gpointer data)
{
  g_autofree Outcome *outcome = data;
  Core *core = outcome->plugin->core;

  g_mutex_lock (&core->lock);
  core->starting--;
  conclude_init (outcome->plugin, outcome);
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
  gint64 begin = g_get_monotonic_time ();

  outcome->plugin = plugin;
  outcome->ok = plugin->desc->init (&plugin->host, &outcome->instance, &outcome->error);
  outcome->took_us = g_get_monotonic_time () - begin;
  core_post (plugin->core, on_init_done, outcome);
}

static void
begin_init (Plugin *plugin)
{
  graph_trace (plugin);
  core_trace (plugin->core, "%s: starting", plugin->manifest->name);
  plugin->state = STATE_STARTING;
  plugin->lacks_need = FALSE;
  plugin->attempts++;
  plugin->core->starting++;
  g_thread_pool_push (plugin->core->init_pool, plugin, NULL);
}

/* A need of @plugin is not served. Returns: whether that is news. */
static gboolean
skip_for_need (Plugin *plugin, const char *reason)
{
  if (plugin->state == STATE_SKIPPED && g_strcmp0 (plugin->reason, reason) == 0)
    return FALSE;
  graph_trace (plugin);
  plugin->waiting = plugin->lacks_need = TRUE;
  core_conclude (plugin, STATE_SKIPPED, reason);
  return TRUE;
}

/* Starts what is ready (if @start) and skips what can't be. Returns: whether anything changed. With the
 * lock. */
static gboolean
advance_once (Core *self, gboolean start)
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
      if (readiness == READY_NEVER)
        changed |= skip_for_need (plugin, reason);
      else if (readiness == READY_YES && start)
        {
          begin_init (plugin);
          changed = TRUE;
        }
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
  if (first)
    core_trace (self, "everything that can start has started");
  if (first && !self->stopping && self->on_settled != NULL)
    self->on_settled (self);
  introspection_changed (self);
}

static void
core_advance (Core *self)
{
  gboolean idle;

  if (self->stopping || self->fatal)
    return;
  g_mutex_lock (&self->lock);
  do
    {
      while (advance_once (self, TRUE))
        ;
      idle = self->starting == 0;
      /* Whoever still waits now waits for one that waits for it: a provider that would have done has failed.
       */
    }
  while (idle && graph_refuse_circles (self));
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
      if (plugin->manifest->isolate && plugin->manifest->masked_by == NULL && plugin->manifest->error == NULL
          && !self->options->hosting)
        isolate_plugin (self, plugin->manifest, &plugin->manifest->error);
      plugin->config = manifest_get_config (plugin->manifest);
      host_init (plugin);
      g_ptr_array_add (self->plugins, plugin);
      core_trace (self, "%s: declared by %s", plugin->manifest->name, plugin->manifest->path);
      if (plugin->manifest->masked_by != NULL)
        {
          g_autofree char *reason = g_strdup_printf ("masked by %s", plugin->manifest->masked_by);

          core_conclude (plugin, STATE_SKIPPED, reason);
        }
      else if (plugin->manifest->error != NULL)
        core_conclude (plugin, STATE_FAILED, plugin->manifest->error->message);
      else if (!loader_open (plugin, self->options->plugindir, &local))
        core_conclude (plugin, STATE_FAILED, local->message);
    }
  graph_refuse_duplicates (self);
  graph_refuse_circles (self);
  for (guint i = 0; i < self->options->warnings->len; i++)
    g_ptr_array_add (self->warnings, g_strdup (g_ptr_array_index (self->options->warnings, i)));
  for (guint i = 0; i < self->warnings->len; i++)
    g_log_structured (G_LOG_DOMAIN, G_LOG_LEVEL_WARNING, "MESSAGE_ID", GANTRY_MESSAGE_CONFIGURATION,
                      "MESSAGE", "%s", (const char *)g_ptr_array_index (self->warnings, i));
  return TRUE;
}

void
core_resolve (Core *self)
{
  g_mutex_lock (&self->lock);
  do
    while (advance_once (self, FALSE))
      ;
  while (graph_refuse_circles (self));
  g_mutex_unlock (&self->lock);
}

static gboolean
on_slow (gpointer data)
{
  Core *self = data;

  g_mutex_lock (&self->lock);
  for (guint i = 0; i < self->plugins->len; i++)
    {
      Plugin *plugin = g_ptr_array_index (self->plugins, i);

      if (plugin->state == STATE_STARTING)
        g_warning ("init () of plugin %s takes more than %d seconds; what needs it waits",
                   plugin->manifest->name, SLOW_SECONDS);
    }
  g_mutex_unlock (&self->lock);
  return G_SOURCE_REMOVE;
}

void
core_start (Core *self)
{
  self->slow = g_timeout_source_new_seconds (SLOW_SECONDS);
  g_source_set_callback (self->slow, on_slow, self, NULL);
  g_source_attach (self->slow, self->context);
  core_advance (self);
}

static gboolean
on_stopped (gpointer data)
{
  g_main_loop_quit (((Core *)data)->loop);
  return G_SOURCE_REMOVE;
}

static void
on_frontend_stopped (gpointer data)
{
  Core *self = data;

  /* Not now: what stops it may happen in core_start (), and a loop that does not run yet forgets it. */
  if (--self->frontends_stopping == 0)
    core_post (self, on_stopped, self);
}

void
core_stop (Core *self, const char *reason)
{
  if (self->stopping)
    return;
  self->stopping = TRUE;
  g_log_structured (G_LOG_DOMAIN, G_LOG_LEVEL_INFO, "MESSAGE_ID", GANTRY_MESSAGE_STOPPING, "MESSAGE",
                    "stopping: %s", reason);
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

/* The last one that has started and that nobody who still runs uses: one that came late may have users that
 * started before it. From now on nobody finds it. */
static Plugin *
steal_next_to_end (Core *self)
{
  guint at = self->started->len - 1;
  Plugin *plugin;

  g_mutex_lock (&self->lock);
  while (at > 0 && graph_is_used (g_ptr_array_index (self->started, at)))
    at--;
  plugin = g_ptr_array_steal_index (self->started, at);
  plugin->state = STATE_ENDED;
  g_mutex_unlock (&self->lock);
  return plugin;
}

#define MAX_LAST_ITERATIONS 1000

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
  /* What that work has left for the main context is done while the plugins are there; a source that never
   * ends is not waited for. */
  for (guint i = 0; i < MAX_LAST_ITERATIONS && g_main_context_iteration (self->context, FALSE); i++)
    ;
  while (self->started->len > 0)
    {
      Plugin *plugin = steal_next_to_end (self);

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
  const GDebugKey debug_keys[] = { { "plugins", 1 } };
  Core *self = g_new0 (Core, 1);

  self->options = options;
  self->debug = g_parse_debug_string (g_getenv ("GANTRY_DEBUG"), debug_keys, 1) != 0;
  self->context = g_main_context_ref (g_main_context_default ());
  /* This thread is the main one from now on: nobody else runs what is sent to the context. */
  g_main_context_acquire (self->context);
  self->loop = g_main_loop_new (self->context, FALSE);
  g_mutex_init (&self->lock);
  g_mutex_init (&self->pools_lock);
  g_mutex_init (&self->trace_lock);
  self->plugins = g_ptr_array_new_with_free_func (plugin_free);
  self->started = g_ptr_array_new ();
  self->trace = g_ptr_array_new_with_free_func (g_free);
  self->warnings = g_ptr_array_new_with_free_func (g_free);
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
  clear_source (&self->idle);
  rest_end (self);
  clear_source (&self->slow);
  clear_source (&self->changed);
  g_clear_pointer (&self->started, g_ptr_array_unref);
  g_clear_pointer (&self->plugins, g_ptr_array_unref);
  g_clear_pointer (&self->trace, g_ptr_array_unref);
  g_clear_pointer (&self->warnings, g_ptr_array_unref);
  g_clear_pointer (&self->watches, g_array_unref);
  g_main_loop_unref (self->loop);
  g_main_context_release (self->context);
  g_main_context_unref (self->context);
  g_mutex_clear (&self->lock);
  g_mutex_clear (&self->pools_lock);
  g_mutex_clear (&self->trace_lock);
  g_free (self->uuid);
  g_free (self);
}
