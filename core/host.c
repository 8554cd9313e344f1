/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a plugin gets from the core. */
#include "core.h"
#include "rest.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PLUGIN_OF(host) ((Plugin *)(host)) /* the host is its first member */

static const GantryNeed *
find_need (Plugin *plugin, const char *type, const char *id, gsize *ret_index)
{
  const GantryNeed *const *needs = plugin->desc->needs;

  for (gsize i = 0; needs != NULL && needs[i] != NULL; i++)
    if (strcmp (needs[i]->type, type) == 0 && (id == NULL || g_strcmp0 (needs[i]->id, id) == 0))
      {
        *ret_index = i;
        return needs[i];
      }
  return NULL;
}

static void
throw_undeclared (Plugin *plugin, const char *type, GError **error)
{
  g_critical ("plugin %s looked up %s, which it does not declare as a need", plugin->manifest->name, type);
  gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "%s is not among the declared needs of %s", type,
                plugin->manifest->name);
}

static gpointer
host_lookup (const GantryHost *host, const char *type, const char *id, GError **error)
{
  Plugin *plugin = PLUGIN_OF (host);
  gsize index;
  const GantryNeed *need = find_need (plugin, type, id, &index);
  gpointer instance = NULL;
  Plugin *provider;

  if (need == NULL || need->kind == GANTRY_NEED_MANY)
    {
      throw_undeclared (plugin, type, error);
      return NULL;
    }
  if (strcmp (type, GANTRY_INTROSPECTION_TYPE) == 0)
    return &plugin->core->introspection;
  g_mutex_lock (&plugin->core->lock);
  provider = plugin->providers[index];
  if (provider == NULL && need->kind == GANTRY_NEED_OPTIONAL)
    provider = plugin->providers[index] = graph_find_late (plugin, need);
  if (provider != NULL && provider->state == STATE_OK)
    instance = provider->desc->get (provider->instance, type);
  g_mutex_unlock (&plugin->core->lock);
  if (instance != NULL)
    return instance;
  if (need->kind == GANTRY_NEED_ONE)
    gantry_throw (error, GANTRY_ERROR_UNAVAILABLE, "nothing provides %s", type);
  return NULL;
}

static GPtrArray *
host_lookup_all (const GantryHost *host, const char *type, GError **error)
{
  Plugin *plugin = PLUGIN_OF (host);
  g_autoptr (GPtrArray) candidates = NULL;
  GPtrArray *bindings;
  gsize index;
  const GantryNeed *need = find_need (plugin, type, NULL, &index);

  if (need == NULL || need->kind != GANTRY_NEED_MANY)
    {
      throw_undeclared (plugin, type, error);
      return NULL;
    }
  bindings = g_ptr_array_new_with_free_func (g_free);
  g_mutex_lock (&plugin->core->lock);
  candidates = graph_candidates (plugin->core, type, graph_need_id (plugin, need));
  for (guint i = 0; i < candidates->len; i++)
    {
      Plugin *provider = g_ptr_array_index (candidates, i);
      GantryBinding *binding;

      if (provider->state != STATE_OK || !graph_is_big_enough (provider, need))
        continue;
      binding = g_new0 (GantryBinding, 1);
      binding->size = sizeof *binding;
      binding->type = type;
      binding->id = provider->manifest->id;
      binding->rank = provider->manifest->rank;
      binding->instance = provider->desc->get (provider->instance, type);
      g_ptr_array_add (bindings, binding);
    }
  g_mutex_unlock (&plugin->core->lock);
  return bindings;
}

static GVariant *
host_get_config (const GantryHost *host)
{
  return PLUGIN_OF (host)->config;
}

static const char *
host_get_id (const GantryHost *host)
{
  return PLUGIN_OF (host)->manifest->id;
}

static const char *
host_get_base_path (const GantryHost *host, GantryDir dir)
{
  Options *options = PLUGIN_OF (host)->core->options;

  return dir == GANTRY_DIR_RUN ? options->state : options->root;
}

char *
plugin_dir_name (Plugin *plugin)
{
  g_auto (GStrv) words = g_strsplit (plugin->manifest->provides[0], ".", -1);
  guint n = g_strv_length (words);

  /* The noun is the word before the version; a manifest is refused unless both are there. */
  return g_strdup_printf ("%s-%s", words[n - 2], plugin->manifest->id);
}

/* With the directories' lock. */
static gboolean
ensure_dir (Plugin *plugin, GantryDir dir, GError **error)
{
  g_autofree char *name = plugin_dir_name (plugin);
  int fd;

  if (plugin->dir_fd[dir] >= 0)
    return TRUE;
  if (plugin->dir_path[dir] == NULL)
    plugin->dir_path[dir] = g_build_filename (host_get_base_path (&plugin->host, dir), name, NULL);
  if (mkdir (plugin->dir_path[dir], 0700) < 0 && errno != EEXIST)
    return gantry_throw_errno (error, errno, "making %s", plugin->dir_path[dir]);
  fd = open (plugin->dir_path[dir], O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0)
    return gantry_throw_errno (error, errno, "opening %s", plugin->dir_path[dir]);
  plugin->dir_fd[dir] = fd;
  return TRUE;
}

static int
host_get_dir_fd (const GantryHost *host, GantryDir dir, GError **error)
{
  Plugin *plugin = PLUGIN_OF (host);
  gboolean ok;

  g_mutex_lock (&plugin->dirs_lock);
  ok = ensure_dir (plugin, dir, error);
  g_mutex_unlock (&plugin->dirs_lock);
  return ok ? plugin->dir_fd[dir] : -1;
}

static const char *
host_get_dir_path (const GantryHost *host, GantryDir dir, GError **error)
{
  return host_get_dir_fd (host, dir, error) >= 0 ? PLUGIN_OF (host)->dir_path[dir] : NULL;
}

static GMainContext *
host_get_main_context (const GantryHost *host)
{
  return PLUGIN_OF (host)->core->context;
}

static gboolean
host_submit (const GantryHost *host, GantryPool pool, GFunc func, gpointer data, GDestroyNotify destroy,
             GError **error)
{
  Core *core = PLUGIN_OF (host)->core;
  gboolean ok = FALSE, ending;

  if (pool >= G_N_ELEMENTS (core->pools))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "there is no pool %u", pool);
  g_mutex_lock (&core->pools_lock);
  ending = core->pools[pool] == NULL;
  if (!ending && g_thread_pool_unprocessed (core->pools[pool]) < core->options->max_queue)
    {
      Job *job = g_new (Job, 1);

      *job = (Job){ func, data, destroy };
      ok = g_thread_pool_push (core->pools[pool], job, NULL);
    }
  g_mutex_unlock (&core->pools_lock);
  if (ok)
    return TRUE;
  return ending ? gantry_throw (error, GANTRY_ERROR_UNAVAILABLE, "the daemon is ending")
                : gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED,
                                "the daemon is busy (%u jobs wait for a thread already); try again later, or "
                                "raise MaxQueue",
                                core->options->max_queue);
}

static void
host_log (const GantryHost *host, GantryLogLevel level, const char *message_id, GVariant *fields,
          const char *message)
{
  static const GLogLevelFlags flags[] = {
    [GANTRY_LOG_ERROR] = G_LOG_LEVEL_CRITICAL, [GANTRY_LOG_WARNING] = G_LOG_LEVEL_WARNING,
    [GANTRY_LOG_NOTICE] = G_LOG_LEVEL_MESSAGE, [GANTRY_LOG_INFO] = G_LOG_LEVEL_INFO,
    [GANTRY_LOG_DEBUG] = G_LOG_LEVEL_DEBUG,
  };
  g_autoptr (GVariant) held = fields != NULL ? g_variant_ref_sink (fields) : NULL;
  g_autoptr (GVariantDict) dict = g_variant_dict_new (held);
  g_autoptr (GVariant) all = NULL;

  g_variant_dict_insert (dict, "GANTRY_PLUGIN", "s", PLUGIN_OF (host)->manifest->name);
  g_variant_dict_insert (dict, "MESSAGE", "s", message);
  if (message_id != NULL)
    g_variant_dict_insert (dict, "MESSAGE_ID", "s", message_id);
  all = g_variant_ref_sink (g_variant_dict_end (dict));
  g_log_variant (PLUGIN_OF (host)->manifest->name, flags[CLAMP (level, GANTRY_LOG_ERROR, GANTRY_LOG_DEBUG)],
                 all);
}

static void
host_report (const GantryHost *host, const char *status)
{
  Plugin *plugin = PLUGIN_OF (host);

  g_mutex_lock (&plugin->core->lock);
  g_free (plugin->status);
  plugin->status = g_strdup (status);
  g_mutex_unlock (&plugin->core->lock);
  introspection_changed (plugin->core);
}

static gboolean
on_idle (gpointer data)
{
  Core *core = data;

  g_clear_pointer (&core->idle, g_source_unref);
  if (g_atomic_int_get (&core->holds) == 0)
    core_stop (core, "unused for its idle time");
  return G_SOURCE_REMOVE;
}

/* In the main context: begins or ends the idle time. */
static gboolean
update_idle (gpointer data)
{
  Core *core = data;

  if (g_atomic_int_get (&core->holds) == 0)
    rest_unused (core);
  if (core->options->idle_seconds == 0)
    return G_SOURCE_REMOVE;
  if (core->idle != NULL)
    g_source_destroy (core->idle);
  g_clear_pointer (&core->idle, g_source_unref);
  if (g_atomic_int_get (&core->holds) > 0)
    return G_SOURCE_REMOVE;
  core->idle = g_timeout_source_new_seconds (core->options->idle_seconds);
  g_source_set_callback (core->idle, on_idle, core, NULL);
  g_source_attach (core->idle, core->context);
  return G_SOURCE_REMOVE;
}

void
core_hold (Core *core, int delta)
{
  g_atomic_int_add (&core->holds, delta);
  g_main_context_invoke (core->context, update_idle, core);
}

static void
host_hold (const GantryHost *host, int delta)
{
  core_hold (PLUGIN_OF (host)->core, delta);
}

typedef struct
{
  Core *core;
  char *reason;
} Quit;

static gboolean
on_quit (gpointer data)
{
  g_autofree Quit *quit = data;

  core_stop (quit->core, quit->reason);
  g_free (quit->reason);
  return G_SOURCE_REMOVE;
}

static void
host_quit (const GantryHost *host, const char *reason)
{
  Quit *quit = g_new (Quit, 1);

  *quit = (Quit){ PLUGIN_OF (host)->core, g_strdup (reason) };
  core_post (quit->core, on_quit, quit);
}

void
host_init (Plugin *plugin)
{
  plugin->host = (GantryHost){
    .size = sizeof (GantryHost),
    .lookup = host_lookup,
    .lookup_all = host_lookup_all,
    .get_config = host_get_config,
    .get_id = host_get_id,
    .get_dir_fd = host_get_dir_fd,
    .get_dir_path = host_get_dir_path,
    .get_base_path = host_get_base_path,
    .get_main_context = host_get_main_context,
    .submit = host_submit,
    .log = host_log,
    .report = host_report,
    .hold = host_hold,
    .quit = host_quit,
  };
  g_mutex_init (&plugin->dirs_lock);
  plugin->dir_fd[0] = plugin->dir_fd[1] = -1;
}

void
host_clear_dirs (Plugin *plugin)
{
  for (gsize i = 0; i < G_N_ELEMENTS (plugin->dir_fd); i++)
    {
      if (plugin->dir_fd[i] >= 0)
        close (plugin->dir_fd[i]);
      plugin->dir_fd[i] = -1;
      g_clear_pointer (&plugin->dir_path[i], g_free);
    }
}

void
host_clear (Plugin *plugin)
{
  host_clear_dirs (plugin);
  g_mutex_clear (&plugin->dirs_lock);
}
