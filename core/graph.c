/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Who serves whom. A need is served by the highest-ranking candidate that has not ended SKIPPED or FAILED;
 * diagnostics name the whole path. */
#include "core.h"

#include <string.h>

#define MAX_PATH 16

gboolean
plugin_provides (Plugin *plugin, const char *type)
{
  return plugin->manifest->provides != NULL
         && g_strv_contains ((const char *const *)plugin->manifest->provides, type);
}

static int
compare_rank (gconstpointer a, gconstpointer b)
{
  const Manifest *x = (*(Plugin *const *)a)->manifest, *y = (*(Plugin *const *)b)->manifest;

  return x->rank != y->rank ? (x->rank < y->rank ? 1 : -1) : strcmp (x->name, y->name);
}

GPtrArray *
graph_candidates (Core *core, const char *type, const char *id)
{
  GPtrArray *found = g_ptr_array_new ();

  for (guint i = 0; i < core->plugins->len; i++)
    {
      Plugin *plugin = g_ptr_array_index (core->plugins, i);

      if (plugin_provides (plugin, type) && (id == NULL || g_strcmp0 (plugin->manifest->id, id) == 0))
        g_ptr_array_add (found, plugin);
    }
  g_ptr_array_sort (found, compare_rank);
  return found;
}

/* The id that the manifest pins for a need, or the descriptor's own. */
static const char *
need_id (Plugin *plugin, const GantryNeed *need)
{
  for (guint i = 0; need->id == NULL && i < plugin->manifest->needs->len; i++)
    {
      ManifestNeed *declared = g_ptr_array_index (plugin->manifest->needs, i);

      if (strcmp (declared->type, need->type) == 0)
        return declared->id;
    }
  return need->id;
}

static char *why_absent (Core *core, const char *type, const char *id, guint depth);

static char *
why_down (Plugin *plugin, guint depth)
{
  if (plugin->state == STATE_FAILED || plugin->reason != NULL)
    return g_strdup_printf ("%s %s: %s", plugin->manifest->name,
                            plugin->state == STATE_FAILED ? "failed" : "was skipped", plugin->reason);
  for (guint i = 0; depth < MAX_PATH && i < plugin->manifest->needs->len; i++)
    {
      ManifestNeed *need = g_ptr_array_index (plugin->manifest->needs, i);

      if (need->kind == GANTRY_NEED_ONE)
        {
          g_autofree char *deeper = why_absent (plugin->core, need->type, need->id, depth + 1);

          if (deeper != NULL)
            return g_strdup_printf ("%s, which needs %s", plugin->manifest->name, deeper);
        }
    }
  return g_strdup_printf ("%s, which is not ready", plugin->manifest->name);
}

/* Why nobody serves @type, or NULL if somebody does (or may yet). */
static char *
why_absent (Core *core, const char *type, const char *id, guint depth)
{
  g_autoptr (GPtrArray) candidates = graph_candidates (core, type, id);
  const char *colon = id != NULL ? ":" : "";

  if (candidates->len == 0)
    return g_strdup_printf ("%s%s%s, which no plugin provides", type, colon, id != NULL ? id : "");
  for (guint i = 0; i < candidates->len; i++)
    {
      Plugin *plugin = g_ptr_array_index (candidates, i);

      if (plugin->manifest->masked_by != NULL)
        return g_strdup_printf ("%s%s%s: %s is masked by %s", type, colon, id != NULL ? id : "",
                                plugin->manifest->name, plugin->manifest->masked_by);
      if (plugin->state == STATE_OK || plugin->state == STATE_STARTING || plugin->state == STATE_PENDING)
        return NULL;
    }
  {
    g_autofree char *down = why_down (g_ptr_array_index (candidates, 0), depth);

    return g_strdup_printf ("%s%s%s, offered by %s", type, colon, id != NULL ? id : "", down);
  }
}

static size_t
vtable_size (Plugin *provider, const char *type)
{
  gpointer instance = provider->desc->get (provider->instance, type);

  /* Every instance struct begins with a pointer to its vtable, every vtable with its size. */
  return instance != NULL ? **(size_t *const *)instance : 0;
}

static gboolean
down (Plugin *plugin)
{
  return plugin->state == STATE_SKIPPED || plugin->state == STATE_FAILED;
}

/* One need: YES with *@ret_provider (perhaps NULL), or WAIT, or NEVER with a reason. */
static Readiness
check_need (Plugin *plugin, const GantryNeed *need, Plugin **ret_provider, char **ret_reason)
{
  const char *id = need_id (plugin, need);
  g_autoptr (GPtrArray) candidates = NULL;
  g_autofree char *too_small = NULL;
  g_autofree char *absent = NULL;

  if (strcmp (need->type, GANTRY_INTROSPECTION_TYPE) == 0)
    return READY_YES;
  candidates = graph_candidates (plugin->core, need->type, id);
  for (guint i = 0; i < candidates->len; i++)
    {
      Plugin *provider = g_ptr_array_index (candidates, i);

      if (down (provider))
        continue;
      if (provider->state != STATE_OK)
        return READY_WAIT;
      if (need->kind == GANTRY_NEED_MANY)
        continue;
      if (need->min_size > 0 && vtable_size (provider, need->type) < need->min_size)
        {
          g_free (too_small);
          too_small
              = g_strdup_printf ("needs %s of at least %zu bytes, but that of %s has %zu; install a newer %s",
                                 need->type, need->min_size, provider->manifest->name,
                                 vtable_size (provider, need->type), provider->manifest->name);
          continue;
        }
      *ret_provider = provider;
      return READY_YES;
    }
  if (need->kind != GANTRY_NEED_ONE)
    return READY_YES;
  if (too_small != NULL)
    {
      *ret_reason = g_steal_pointer (&too_small);
      return READY_NEVER;
    }
  absent = why_absent (plugin->core, need->type, id, 0);
  *ret_reason = g_strdup_printf ("needs %s", absent != NULL ? absent : need->type);
  return READY_NEVER;
}

Readiness
graph_check (Plugin *plugin, char **ret_reason)
{
  const GantryNeed *const *needs = plugin->desc->needs;
  Readiness all = READY_YES;

  for (gsize i = 0; needs != NULL && needs[i] != NULL; i++)
    {
      Plugin *provider = NULL;
      Readiness one = check_need (plugin, needs[i], &provider, ret_reason);

      if (one == READY_NEVER)
        return READY_NEVER;
      if (one == READY_WAIT)
        all = READY_WAIT;
      plugin->providers[i] = provider;
    }
  return all;
}

static void
refuse (Plugin *plugin, char *reason)
{
  g_free (plugin->reason);
  plugin->reason = reason;
  plugin->state = STATE_FAILED;
  core_trace (plugin->core, "%s: refused: %s", plugin->manifest->name, reason);
}

static void
refuse_duplicates (Core *core)
{
  g_autoptr (GHashTable) taken = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);

  for (guint i = 0; i < core->plugins->len; i++)
    {
      Plugin *plugin = g_ptr_array_index (core->plugins, i);

      for (gsize j = 0; plugin->state == STATE_PENDING && plugin->manifest->provides[j] != NULL; j++)
        {
          char *key = g_strconcat (plugin->manifest->provides[j], "/", plugin->manifest->id, NULL);
          Plugin *first = g_hash_table_lookup (taken, key);

          if (first != NULL)
            {
              refuse (plugin,
                      g_strdup_printf ("%s with the id %s is already provided by %s; give it another Id=",
                                       plugin->manifest->provides[j], plugin->manifest->id,
                                       first->manifest->name));
              g_free (key);
              break;
            }
          g_hash_table_insert (taken, key, plugin);
        }
    }
}

/* Depth first along ONE and OPTIONAL and MANY needs; @path holds the plugins on the way and, between them,
 * the types. */
static gboolean
visit (Plugin *plugin, GPtrArray *path, GHashTable *done)
{
  guint at;

  if (g_hash_table_contains (done, plugin) || plugin->state != STATE_PENDING)
    return TRUE;
  if (g_ptr_array_find (path, plugin, &at))
    {
      g_autoptr (GString) text = g_string_new ("its needs go round in a circle: ");

      for (guint i = at; i < path->len; i += 2)
        g_string_append_printf (text, "%s needs %s, offered by ",
                                ((Plugin *)g_ptr_array_index (path, i))->manifest->name,
                                (const char *)g_ptr_array_index (path, i + 1));
      g_string_append (text, plugin->manifest->name);
      for (guint i = at; i < path->len; i += 2)
        refuse (g_ptr_array_index (path, i), g_strdup (text->str));
      return FALSE;
    }
  for (guint i = 0; i < plugin->manifest->needs->len; i++)
    {
      ManifestNeed *need = g_ptr_array_index (plugin->manifest->needs, i);
      g_autoptr (GPtrArray) candidates = graph_candidates (plugin->core, need->type, need->id);

      for (guint j = 0; j < candidates->len; j++)
        {
          g_ptr_array_add (path, plugin);
          g_ptr_array_add (path, need->type);
          visit (g_ptr_array_index (candidates, j), path, done);
          g_ptr_array_set_size (path, (int)path->len - 2);
          if (plugin->state != STATE_PENDING)
            return FALSE;
        }
    }
  g_hash_table_add (done, plugin);
  return TRUE;
}

void
graph_refuse_impossible (Core *core)
{
  g_autoptr (GHashTable) done = g_hash_table_new (NULL, NULL);

  refuse_duplicates (core);
  for (guint i = 0; i < core->plugins->len; i++)
    {
      g_autoptr (GPtrArray) path = g_ptr_array_new ();

      visit (g_ptr_array_index (core->plugins, i), path, done);
    }
}
