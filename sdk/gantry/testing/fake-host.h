/* SPDX-License-Identifier: MIT
 *
 * A host for tests
 * ----------------
 * Loads one module the way the daemon does, without the daemon: scratch directories, configuration, providers
 * that the test registers, real worker threads (or none), captured log, and faults on request. Header-only;
 * link nothing but GLib.
 *
 *     g_autoptr (GantryFakeHost) fake = gantry_fake_host_new (scratch, NULL);
 *     const GantryPluginDesc *desc;
 *     gpointer instance;
 *
 *     gantry_fake_host_set_id (fake, "local");
 *     gantry_fake_host_provide (fake, GANTRY_EVENTS_TYPE, "local", my_events);
 *     g_assert_true (gantry_fake_host_load (fake, "/…/content-local.so", &desc, &instance, &error));
 *     GantryContent *content = gantry_fake_host_get (fake, GANTRY_CONTENT_TYPE);
 *     …
 *     gantry_fake_host_unload (fake);            (gantry_fake_host_free () does it too)
 *
 * One fake is one plugin. To wire several modules together, make a fake for each and provide one's interfaces
 * to the next; to see a plugin survive a restart, unload it and load it again in the same scratch directory.
 *
 * A test that waits for something in the main context iterates g_main_context_default (), which is what the
 * plugin is given.
 */
#pragma once

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gantry/plugin.h>

G_BEGIN_DECLS

/** The host's slots that can fail, for gantry_fake_host_fail (). */
typedef enum
{
  GANTRY_FAKE_SLOT_NONE = 0,
  GANTRY_FAKE_SLOT_LOOKUP = 1,
  GANTRY_FAKE_SLOT_LOOKUP_ALL = 2,
  GANTRY_FAKE_SLOT_GET_DIR_FD = 3,
  GANTRY_FAKE_SLOT_GET_DIR_PATH = 4,
  GANTRY_FAKE_SLOT_SUBMIT = 5,
  GANTRY_FAKE_N_SLOTS = 6,
} GantryFakeSlot;

/** A plugin's world in a test. Read its members freely; set them by the functions below. */
typedef struct
{
  GantryHost host; /**< what the plugin gets: pass &fake->host */
  GMutex lock;
  char *base[2]; /**< "<dir>/root" and "<dir>/state" */
  char *id;
  char *noun; /**< what the plugin's own directories are named by, before the id */
  char *own_path[2];
  int own_fd[2];
  GVariant *config;
  GPtrArray *providers; /**< (element-type GantryBinding) */
  GPtrArray *log;       /**< (element-type utf8): "<level> <message>" */
  char *status;         /**< what the plugin reported last */
  int holds;
  gboolean quit;
  gboolean verbose;     /**< also print the log to stderr, as TAP comments */
  gboolean inline_jobs; /**< run submitted work at once, on the caller's thread */
  GThreadPool *pools[2];
  GantryFakeSlot fail_slot;
  guint fail_after; /**< calls of fail_slot that still succeed */
  guint n_calls[GANTRY_FAKE_N_SLOTS];
  const GantryPluginDesc *desc;
  gpointer instance;
  gboolean loaded;
  gboolean ending; /**< submit () takes nothing more */
  guint n_jobs;    /**< submitted and not done */
  GCond job_done;
} GantryFakeHost;

typedef struct
{
  GantryFakeHost *host;
  GFunc func;
  gpointer data;
  GDestroyNotify destroy;
} GantryFakeJob;

static inline GantryFakeHost *
gantry_fake_host_from_host (const GantryHost *host)
{
  return (GantryFakeHost *)host;
}

/* Whether this call of @slot is to fail. */
static inline gboolean
gantry_fake_host_trip (GantryFakeHost *self, GantryFakeSlot slot, GError **error)
{
  gboolean trip;

  g_mutex_lock (&self->lock);
  trip = self->fail_slot == slot && self->n_calls[slot] >= self->fail_after;
  self->n_calls[slot]++;
  g_mutex_unlock (&self->lock);
  if (trip)
    gantry_throw (error,
                  slot == GANTRY_FAKE_SLOT_SUBMIT ? GANTRY_ERROR_RESOURCE_EXHAUSTED : GANTRY_ERROR_INTERNAL,
                  "injected failure of a host slot");
  return trip;
}

/* Whether the loaded descriptor declares @type/@id; a lookup during load () is checked too. */
static inline gboolean
gantry_fake_host_declared (GantryFakeHost *self, const char *type, const char *id)
{
  gsize i;

  if (self->desc == NULL)
    return TRUE;
  for (i = 0; self->desc->needs != NULL && self->desc->needs[i] != NULL; i++)
    {
      const GantryNeed *need = self->desc->needs[i];

      if (g_strcmp0 (need->type, type) == 0
          && (id == NULL || need->id == NULL || need->kind == GANTRY_NEED_MANY || strcmp (need->id, id) == 0))
        return TRUE;
    }
  return FALSE;
}

static inline gpointer
gantry_fake_host_lookup_cb (const GantryHost *host, const char *type, const char *id, GError **error)
{
  GantryFakeHost *self = gantry_fake_host_from_host (host);
  gboolean optional = FALSE;
  gsize i;

  if (gantry_fake_host_trip (self, GANTRY_FAKE_SLOT_LOOKUP, error))
    return NULL;
  if (!gantry_fake_host_declared (self, type, id))
    {
      g_critical ("lookup of %s, which is not among the plugin's needs", type);
      gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "%s is not among the plugin's needs", type);
      return NULL;
    }
  for (i = 0; i < self->providers->len; i++)
    {
      GantryBinding *binding = (GantryBinding *)g_ptr_array_index (self->providers, i);

      if (strcmp (binding->type, type) == 0 && (id == NULL || strcmp (binding->id, id) == 0))
        return binding->instance;
    }
  for (i = 0; self->desc != NULL && self->desc->needs != NULL && self->desc->needs[i] != NULL; i++)
    if (strcmp (self->desc->needs[i]->type, type) == 0 && self->desc->needs[i]->kind != GANTRY_NEED_ONE)
      optional = TRUE;
  if (!optional)
    gantry_throw (error, GANTRY_ERROR_UNAVAILABLE, "the test provides no %s%s%s", type, id != NULL ? ":" : "",
                  id != NULL ? id : "");
  return NULL;
}

static inline GPtrArray *
gantry_fake_host_lookup_all_cb (const GantryHost *host, const char *type, GError **error)
{
  GantryFakeHost *self = gantry_fake_host_from_host (host);
  GPtrArray *ret;
  gsize i;

  if (gantry_fake_host_trip (self, GANTRY_FAKE_SLOT_LOOKUP_ALL, error))
    return NULL;
  if (!gantry_fake_host_declared (self, type, NULL))
    {
      g_critical ("lookup of %s, which is not among the plugin's needs", type);
      gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "%s is not among the plugin's needs", type);
      return NULL;
    }
  ret = g_ptr_array_new ();
  for (i = 0; i < self->providers->len; i++)
    {
      GantryBinding *binding = (GantryBinding *)g_ptr_array_index (self->providers, i);

      if (strcmp (binding->type, type) == 0)
        g_ptr_array_add (ret, binding);
    }
  return ret;
}

static inline GVariant *
gantry_fake_host_get_config_cb (const GantryHost *host)
{
  return gantry_fake_host_from_host (host)->config;
}

static inline const char *
gantry_fake_host_get_id_cb (const GantryHost *host)
{
  return gantry_fake_host_from_host (host)->id;
}

/* Makes the plugin's own directory once and opens it. */
static inline gboolean
gantry_fake_host_ensure_dir (GantryFakeHost *self, GantryDir dir, GError **error)
{
  gboolean ok = TRUE;

  g_mutex_lock (&self->lock);
  if (self->own_fd[dir] < 0)
    {
      g_free (self->own_path[dir]);
      self->own_path[dir] = g_strdup_printf ("%s/%s-%s", self->base[dir], self->noun, self->id);
      if (g_mkdir_with_parents (self->own_path[dir], 0700) == 0)
        self->own_fd[dir] = open (self->own_path[dir], O_RDONLY);
      if (self->own_fd[dir] >= 0)
        fcntl (self->own_fd[dir], F_SETFD, FD_CLOEXEC);
      if (self->own_fd[dir] < 0)
        ok = gantry_throw_errno (error, errno, "opening %s", self->own_path[dir]);
    }
  g_mutex_unlock (&self->lock);
  return ok;
}

static inline int
gantry_fake_host_get_dir_fd_cb (const GantryHost *host, GantryDir dir, GError **error)
{
  GantryFakeHost *self = gantry_fake_host_from_host (host);

  if (gantry_fake_host_trip (self, GANTRY_FAKE_SLOT_GET_DIR_FD, error))
    return -1;
  return gantry_fake_host_ensure_dir (self, dir, error) ? self->own_fd[dir] : -1;
}

static inline const char *
gantry_fake_host_get_dir_path_cb (const GantryHost *host, GantryDir dir, GError **error)
{
  GantryFakeHost *self = gantry_fake_host_from_host (host);

  if (gantry_fake_host_trip (self, GANTRY_FAKE_SLOT_GET_DIR_PATH, error))
    return NULL;
  return gantry_fake_host_ensure_dir (self, dir, error) ? self->own_path[dir] : NULL;
}

static inline const char *
gantry_fake_host_get_base_path_cb (const GantryHost *host, GantryDir dir)
{
  return gantry_fake_host_from_host (host)->base[dir];
}

static inline GMainContext *
gantry_fake_host_get_main_context_cb (const GantryHost *host)
{
  (void)host;
  return g_main_context_default ();
}

static inline void
gantry_fake_job_run (gpointer data, gpointer user_data)
{
  GantryFakeJob *job = (GantryFakeJob *)data;

  (void)user_data;
  job->func (job->data, NULL);
  if (job->destroy != NULL)
    job->destroy (job->data);
  g_mutex_lock (&job->host->lock);
  job->host->n_jobs--;
  g_cond_broadcast (&job->host->job_done);
  g_mutex_unlock (&job->host->lock);
  g_free (job);
}

static inline gboolean
gantry_fake_host_submit_cb (const GantryHost *host, GantryPool pool, GFunc func, gpointer data,
                            GDestroyNotify destroy, GError **error)
{
  GantryFakeHost *self = gantry_fake_host_from_host (host);
  GantryFakeJob *job;
  gboolean ending;

  if (gantry_fake_host_trip (self, GANTRY_FAKE_SLOT_SUBMIT, error))
    return FALSE;
  g_mutex_lock (&self->lock);
  ending = self->ending;
  self->n_jobs += ending ? 0 : 1;
  g_mutex_unlock (&self->lock);
  if (ending)
    return gantry_throw (error, GANTRY_ERROR_UNAVAILABLE, "the daemon ends and takes no more work");
  job = g_new0 (GantryFakeJob, 1);
  job->host = self;
  job->func = func;
  job->data = data;
  job->destroy = destroy;
  if (self->inline_jobs)
    gantry_fake_job_run (job, NULL);
  else
    g_thread_pool_push (self->pools[pool == GANTRY_POOL_RUNTIME ? 1 : 0], job, NULL);
  return TRUE;
}

static inline void
gantry_fake_host_log_cb (const GantryHost *host, GantryLogLevel level, const char *message_id,
                         GVariant *fields, const char *message)
{
  GantryFakeHost *self = gantry_fake_host_from_host (host);

  (void)message_id;
  if (fields != NULL)
    g_variant_unref (g_variant_ref_sink (fields));
  g_mutex_lock (&self->lock);
  g_ptr_array_add (self->log, g_strdup_printf ("%d %s", (int)level, message));
  g_mutex_unlock (&self->lock);
  if (self->verbose)
    g_printerr ("# %s: %d %s\n", self->id, (int)level, message);
}

static inline void
gantry_fake_host_report_cb (const GantryHost *host, const char *status)
{
  GantryFakeHost *self = gantry_fake_host_from_host (host);

  g_mutex_lock (&self->lock);
  g_free (self->status);
  self->status = g_strdup (status);
  g_mutex_unlock (&self->lock);
}

static inline void
gantry_fake_host_hold_cb (const GantryHost *host, int delta)
{
  g_atomic_int_add (&gantry_fake_host_from_host (host)->holds, delta);
}

static inline void
gantry_fake_host_quit_cb (const GantryHost *host, const char *reason)
{
  GantryFakeHost *self = gantry_fake_host_from_host (host);

  (void)reason;
  g_atomic_int_set (&self->quit, TRUE);
  g_main_context_wakeup (g_main_context_default ());
}

static inline void
gantry_fake_binding_free (gpointer data)
{
  GantryBinding *binding = (GantryBinding *)data;

  g_free ((char *)binding->type);
  g_free ((char *)binding->id);
  g_free (binding);
}

/** Makes a host whose root and state directories are "<dir>/root" and "<dir>/state", made here. @config:
 * (nullable): a{ss}; floating is consumed. The test removes @dir. Returns: (transfer full). */
static inline GantryFakeHost *
gantry_fake_host_new (const char *dir, GVariant *config)
{
  static const char *const names[2] = { "root", "state" };
  GantryFakeHost *self = g_new0 (GantryFakeHost, 1);
  gsize i;

  g_mutex_init (&self->lock);
  g_cond_init (&self->job_done);
  for (i = 0; i < 2; i++)
    {
      self->base[i] = g_build_filename (dir, names[i], (char *)NULL);
      if (g_mkdir_with_parents (self->base[i], 0700) != 0)
        g_error ("cannot make %s: %s", self->base[i], g_strerror (errno));
      self->own_fd[i] = -1;
      self->pools[i] = g_thread_pool_new (gantry_fake_job_run, NULL, 4, FALSE, NULL);
    }
  self->id = g_strdup ("test");
  self->noun = g_strdup ("plugin");
  self->config
      = g_variant_ref_sink (config != NULL ? config : g_variant_new_array (G_VARIANT_TYPE ("{ss}"), NULL, 0));
  self->providers = g_ptr_array_new_with_free_func (gantry_fake_binding_free);
  self->log = g_ptr_array_new_with_free_func (g_free);
  self->host.size = sizeof self->host;
  self->host.lookup = gantry_fake_host_lookup_cb;
  self->host.lookup_all = gantry_fake_host_lookup_all_cb;
  self->host.get_config = gantry_fake_host_get_config_cb;
  self->host.get_id = gantry_fake_host_get_id_cb;
  self->host.get_dir_fd = gantry_fake_host_get_dir_fd_cb;
  self->host.get_dir_path = gantry_fake_host_get_dir_path_cb;
  self->host.get_base_path = gantry_fake_host_get_base_path_cb;
  self->host.get_main_context = gantry_fake_host_get_main_context_cb;
  self->host.submit = gantry_fake_host_submit_cb;
  self->host.log = gantry_fake_host_log_cb;
  self->host.report = gantry_fake_host_report_cb;
  self->host.hold = gantry_fake_host_hold_cb;
  self->host.quit = gantry_fake_host_quit_cb;
  return self;
}

/** Sets the manifest's Id, before load (). The default is "test". */
static inline void
gantry_fake_host_set_id (GantryFakeHost *self, const char *id)
{
  g_free (self->id);
  self->id = g_strdup (id);
}

/** Serves @instance to lookups of @type. The first that was provided ranks highest. */
static inline void
gantry_fake_host_provide (GantryFakeHost *self, const char *type, const char *id, gpointer instance)
{
  GantryBinding *binding = g_new0 (GantryBinding, 1);

  binding->size = sizeof *binding;
  binding->type = g_strdup (type);
  binding->id = g_strdup (id);
  binding->rank = 1000 - (int)self->providers->len;
  binding->instance = instance;
  g_ptr_array_add (self->providers, binding);
}

/** Lets @slot fail from its call number @after on (0: the next). GANTRY_FAKE_SLOT_NONE ends it. Counts begin
 * anew. */
static inline void
gantry_fake_host_fail (GantryFakeHost *self, GantryFakeSlot slot, guint after)
{
  g_mutex_lock (&self->lock);
  self->fail_slot = slot;
  self->fail_after = after;
  memset (self->n_calls, 0, sizeof self->n_calls);
  g_mutex_unlock (&self->lock);
}

/** Waits until all submitted work is done. Not from a worker. */
static inline void
gantry_fake_host_drain (GantryFakeHost *self)
{
  g_mutex_lock (&self->lock);
  while (self->n_jobs > 0)
    g_cond_wait (&self->job_done, &self->lock);
  g_mutex_unlock (&self->lock);
}

/** Whether a message that contains @text was logged. */
static inline gboolean
gantry_fake_host_has_logged (GantryFakeHost *self, const char *text)
{
  gboolean found = FALSE;
  gsize i;

  g_mutex_lock (&self->lock);
  for (i = 0; i < self->log->len && !found; i++)
    found = strstr ((const char *)g_ptr_array_index (self->log, i), text) != NULL;
  g_mutex_unlock (&self->lock);
  return found;
}

/* The noun of "org.gantry.<noun>.v<major>". */
static inline char *
gantry_fake_host_noun (const char *type)
{
  char **parts = g_strsplit (type, ".", -1);
  guint n = g_strv_length (parts);
  char *noun = g_strdup (n >= 2 ? parts[n - 2] : type);

  g_strfreev (parts);
  return noun;
}

/** Calls init () of @desc, which may be linked into the test itself.
 * *@ret_instance: (out) (optional) (transfer none): the fake keeps it until unload (). */
static inline gboolean
gantry_fake_host_start (GantryFakeHost *self, const GantryPluginDesc *desc, gpointer *ret_instance,
                        GError **error)
{
  gpointer instance = NULL;

  g_return_val_if_fail (!self->loaded, FALSE);
  g_free (self->noun);
  self->noun = gantry_fake_host_noun (desc->provides[0]->type);
  self->desc = desc;
  if (!desc->init (&self->host, &instance, error))
    return FALSE;
  self->instance = instance;
  self->loaded = TRUE;
  if (ret_instance != NULL)
    *ret_instance = instance;
  return TRUE;
}

/** Opens the module @so_path and calls its init (), on this thread.
 * *@ret_desc, *@ret_instance: (out) (optional) (transfer none): the fake keeps the instance until unload ().
 */
static inline gboolean
gantry_fake_host_load (GantryFakeHost *self, const char *so_path, const GantryPluginDesc **ret_desc,
                       gpointer *ret_instance, GError **error)
{
  const GantryPluginDesc *(*get_desc) (void) = NULL;
  void *module = dlopen (so_path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);

  if (module == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "%s", dlerror ());
  *(void **)&get_desc = dlsym (module, "gantry_plugin_get_desc");
  dlclose (module);
  if (get_desc == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "%s exports no gantry_plugin_get_desc",
                         so_path);
  if (ret_desc != NULL)
    *ret_desc = get_desc ();
  return gantry_fake_host_start (self, get_desc (), ret_instance, error);
}

/** The interface @type of the loaded plugin. Returns: (transfer none). */
static inline gpointer
gantry_fake_host_get (GantryFakeHost *self, const char *type)
{
  return self->loaded ? self->desc->get (self->instance, type) : NULL;
}

/** Ends the plugin as the daemon does: takes no more work, waits for what was submitted, and calls fini ().
 * Forgets the directories, so that load () may follow. */
static inline void
gantry_fake_host_unload (GantryFakeHost *self)
{
  gsize i;

  g_mutex_lock (&self->lock);
  self->ending = TRUE;
  g_mutex_unlock (&self->lock);
  gantry_fake_host_drain (self);
  if (self->loaded)
    self->desc->fini (self->instance);
  self->loaded = FALSE;
  self->instance = NULL;
  self->desc = NULL;
  self->ending = FALSE;
  for (i = 0; i < 2; i++)
    {
      if (self->own_fd[i] >= 0)
        close (self->own_fd[i]);
      self->own_fd[i] = -1;
      g_clear_pointer (&self->own_path[i], g_free);
    }
}

/** Unloads the plugin and frees the fake. Accepts NULL. */
static inline void
gantry_fake_host_free (GantryFakeHost *self)
{
  gsize i;

  if (self == NULL)
    return;
  gantry_fake_host_unload (self);
  for (i = 0; i < 2; i++)
    {
      g_thread_pool_free (self->pools[i], FALSE, TRUE);
      g_free (self->base[i]);
    }
  g_free (self->id);
  g_free (self->noun);
  g_free (self->status);
  g_variant_unref (self->config);
  g_ptr_array_unref (self->providers);
  g_ptr_array_unref (self->log);
  g_mutex_clear (&self->lock);
  g_cond_clear (&self->job_done);
  g_free (self);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (GantryFakeHost, gantry_fake_host_free)

G_END_DECLS
