/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Who serves whom. A need is served by the highest-ranking candidate that has not ended SKIPPED or FAILED;
 * diagnostics name the whole path. */
#include "core.h"

#include <string.h>

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
const char *
graph_need_id (Plugin *plugin, const GantryNeed *need)
{
  for (guint i = 0; need->id == NULL && i < plugin->manifest->needs->len; i++)
    {
      ManifestNeed *declared = g_ptr_array_index (plugin->manifest->needs, i);

      if (strcmp (declared->type, need->type) == 0)
        return declared->id;
    }
  return need->id;
}

/* "content-proxy, which failed: …" */
static char *
why_down (Plugin *plugin)
{
  const char *name = plugin->manifest->name;

  if (plugin->manifest->masked_by != NULL)
    return g_strdup_printf ("%s, which is masked by %s", name, plugin->manifest->masked_by);
  if (plugin->state == STATE_SKIPPED && plugin->lacks_need)
    return g_strdup_printf ("%s, which %s", name, plugin->reason);
  return g_strdup_printf ("%s, which %s: %s", name,
                          plugin->state == STATE_FAILED ? "failed"
                          : plugin->retrying            ? "is not ready yet"
                                                        : "was skipped",
                          plugin->reason);
}

/* The ids under which @type is provided, for a person who looks for another one. */
static char *
list_ids (Core *core, const char *type)
{
  g_autoptr (GPtrArray) candidates = graph_candidates (core, type, NULL);
  g_autoptr (GString) text = g_string_new (NULL);

  for (guint i = 0; i < candidates->len; i++)
    g_string_append_printf (text, "%s%s", i > 0 ? ", " : "",
                            ((Plugin *)g_ptr_array_index (candidates, i))->manifest->id);
  return g_string_free (g_steal_pointer (&text), FALSE);
}

/* Why nobody serves @type: the whole path, since the reasons of others are in it. */
static char *
why_absent (Core *core, const char *type, const char *id)
{
  g_autoptr (GPtrArray) candidates = graph_candidates (core, type, id);
  g_autofree char *ids = candidates->len == 0 ? list_ids (core, type) : NULL;
  g_autoptr (GString) text = g_string_new (type);

  if (id != NULL)
    g_string_append_printf (text, ":%s", id);
  if (candidates->len == 0 && ids[0] != '\0')
    g_string_append_printf (text, ", which no plugin provides under that id (there is %s)", ids);
  else if (candidates->len == 0)
    g_string_append (text, ", which no plugin provides");
  for (guint i = 0; i < candidates->len; i++)
    {
      g_autofree char *down = why_down (g_ptr_array_index (candidates, i));

      g_string_append_printf (text, "%s%s", i > 0 ? "; and by " : ", offered by ", down);
    }
  return g_string_free (g_steal_pointer (&text), FALSE);
}

size_t
plugin_vtable_size (Plugin *provider, const char *type)
{
  gpointer instance = provider->desc->get (provider->instance, type);

  /* Every instance struct begins with a pointer to its vtable, every vtable with its size. */
  return instance != NULL ? **(size_t *const *)instance : 0;
}

gboolean
graph_is_big_enough (Plugin *provider, const GantryNeed *need)
{
  return need->min_size == 0 || plugin_vtable_size (provider, need->type) >= need->min_size;
}

static gboolean
down (Plugin *plugin)
{
  return plugin->state == STATE_SKIPPED || plugin->state == STATE_FAILED || plugin->state == STATE_ENDED;
}

/* One need: YES with *@ret_provider (perhaps NULL), or WAIT, or NEVER with a reason. */
static Readiness
check_need (Plugin *plugin, const GantryNeed *need, Plugin **ret_provider, char **ret_reason)
{
  const char *id = graph_need_id (plugin, need);
  g_autoptr (GPtrArray) candidates = NULL;
  g_autofree char *too_small = NULL;
  g_autofree char *absent = NULL;

  plugin->awaits = FALSE;
  if (strcmp (need->type, GANTRY_INTROSPECTION_TYPE) == 0)
    return READY_YES;
  candidates = graph_candidates (plugin->core, need->type, id);
  for (guint i = 0; i < candidates->len; i++)
    {
      Plugin *provider = g_ptr_array_index (candidates, i);

      if (down (provider))
        {
          plugin->awaits |= provider->retrying || (provider->lacks_need && provider->awaits);
          continue;
        }
      if (provider->state != STATE_OK)
        return READY_WAIT;
      if (need->kind == GANTRY_NEED_MANY)
        continue;
      if (!graph_is_big_enough (provider, need))
        {
          g_free (too_small);
          too_small
              = g_strdup_printf ("needs %s of at least %zu bytes, but that of %s has %zu; install a newer %s",
                                 need->type, need->min_size, provider->manifest->name,
                                 plugin_vtable_size (provider, need->type), provider->manifest->name);
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
  absent = why_absent (plugin->core, need->type, id);
  *ret_reason = g_strdup_printf ("needs %s", absent);
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

/* Reserves @key for @plugin. Returns: who had it before. */
static Plugin *
reserve (GHashTable *taken, char *key, Plugin *plugin)
{
  Plugin *first = g_hash_table_lookup (taken, key);

  if (first != NULL)
    g_free (key);
  else
    g_hash_table_insert (taken, key, plugin);
  return first;
}

/* Why @plugin can't be beside those that have reserved their names, or NULL. */
static char *
find_duplicate (Plugin *plugin, GHashTable *taken)
{
  Manifest *manifest = plugin->manifest;
  g_autofree char *dir = plugin_dir_name (plugin);
  Plugin *first;

  for (gsize i = 0; manifest->provides[i] != NULL; i++)
    {
      first = reserve (taken, g_strconcat (manifest->provides[i], ":", manifest->id, NULL), plugin);
      if (first != NULL && first != plugin)
        return g_strdup_printf ("%s with the id %s is already provided by %s; give it another Id=",
                                manifest->provides[i], manifest->id, first->manifest->name);
    }
  first = reserve (taken, g_strconcat ("/", dir, NULL), plugin);
  if (first != NULL)
    return g_strdup_printf ("the directory %s is already that of %s; give it another Id=", dir,
                            first->manifest->name);
  return NULL;
}

void
graph_refuse_duplicates (Core *core)
{
  g_autoptr (GHashTable) taken = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);

  for (guint i = 0; i < core->plugins->len; i++)
    {
      Plugin *plugin = g_ptr_array_index (core->plugins, i);
      g_autofree char *reason = plugin->state == STATE_PENDING ? find_duplicate (plugin, taken) : NULL;

      if (reason != NULL)
        core_conclude (plugin, STATE_FAILED, reason);
    }
}

/* Those that @need of @plugin waits for: all for a MANY need, else the first that may still come. */
static GPtrArray *
awaited (Plugin *plugin, const ManifestNeed *need)
{
  g_autoptr (GPtrArray) candidates = graph_candidates (plugin->core, need->type, need->id);

  for (guint i = 0; i < candidates->len;)
    if (down (g_ptr_array_index (candidates, i)))
      g_ptr_array_remove_index (candidates, i);
    else
      i++;
  if (need->kind != GANTRY_NEED_MANY && candidates->len > 1)
    g_ptr_array_set_size (candidates, 1);
  return g_steal_pointer (&candidates);
}

/* "a needs T, offered by b, which needs U, offered by a" */
static char *
describe_circle (GPtrArray *path, guint at)
{
  const char *first = ((Plugin *)g_ptr_array_index (path, at))->manifest->name;
  g_autoptr (GString) text = g_string_new (first);

  for (guint i = at; i < path->len; i += 2)
    g_string_append_printf (text, "%s needs %s, offered by %s", i > at ? ", which" : "",
                            (const char *)g_ptr_array_index (path, i + 1),
                            i + 2 < path->len ? ((Plugin *)g_ptr_array_index (path, i + 2))->manifest->name
                                              : first);
  return g_string_free (g_steal_pointer (&text), FALSE);
}

static void
refuse_circle (GPtrArray *path, guint at)
{
  g_autofree char *circle = describe_circle (path, at);
  g_autofree char *reason = g_strdup_printf (
      "its needs go round in a circle: %s; name another provider in one's Needs= (TYPE:ID), or mask one",
      circle);

  for (guint i = at; i < path->len; i += 2)
    core_conclude (g_ptr_array_index (path, i), STATE_FAILED, reason);
}

/* Depth first along what is waited for; @path holds the plugins on the way and, between them, the types.
 * Returns: FALSE if a circle was found and refused. */
static gboolean
visit (Plugin *plugin, GPtrArray *path, GHashTable *done)
{
  guint at;

  if (g_hash_table_contains (done, plugin) || plugin->state != STATE_PENDING)
    return TRUE;
  if (g_ptr_array_find (path, plugin, &at))
    {
      refuse_circle (path, at);
      return FALSE;
    }
  for (guint i = 0; i < plugin->manifest->needs->len; i++)
    {
      ManifestNeed *need = g_ptr_array_index (plugin->manifest->needs, i);
      g_autoptr (GPtrArray) candidates = awaited (plugin, need);

      for (guint j = 0; j < candidates->len; j++)
        {
          gboolean ok;

          g_ptr_array_add (path, plugin);
          g_ptr_array_add (path, need->type);
          ok = visit (g_ptr_array_index (candidates, j), path, done);
          g_ptr_array_set_size (path, (int)path->len - 2);
          if (!ok)
            return FALSE;
        }
    }
  g_hash_table_add (done, plugin);
  return TRUE;
}

gboolean
graph_refuse_circles (Core *core)
{
  gboolean any = FALSE, found;

  /* Without one circle another provider may be first, so all is looked at again. */
  do
    {
      g_autoptr (GHashTable) done = g_hash_table_new (NULL, NULL);

      found = FALSE;
      for (guint i = 0; i < core->plugins->len && !found; i++)
        {
          g_autoptr (GPtrArray) path = g_ptr_array_new ();

          found = !visit (g_ptr_array_index (core->plugins, i), path, done);
        }
      any |= found;
    }
  while (found);
  return any;
}

Plugin *
graph_find_late (Plugin *plugin, const GantryNeed *need)
{
  g_autoptr (GPtrArray) candidates
      = graph_candidates (plugin->core, need->type, graph_need_id (plugin, need));

  for (guint i = 0; i < candidates->len; i++)
    {
      Plugin *provider = g_ptr_array_index (candidates, i);

      if (provider->state == STATE_OK && graph_is_big_enough (provider, need))
        return provider;
    }
  return NULL;
}

static gboolean
uses (Plugin *user, Plugin *provider)
{
  const GantryNeed *const *needs = user->desc->needs;

  for (gsize i = 0; needs != NULL && needs[i] != NULL; i++)
    if (user->providers[i] == provider
        || (needs[i]->kind == GANTRY_NEED_MANY && plugin_provides (provider, needs[i]->type)))
      return TRUE;
  return FALSE;
}

gboolean
graph_is_used (Plugin *provider)
{
  GPtrArray *started = provider->core->started;

  for (guint i = 0; i < started->len; i++)
    {
      Plugin *user = g_ptr_array_index (started, i);

      if (user != provider && uses (user, provider))
        return TRUE;
    }
  return FALSE;
}

/* "content-local (rank 100) serves it", or why not. */
static void
trace_candidate (Plugin *plugin, const GantryNeed *need, gsize index, Plugin *candidate)
{
  g_autofree char *why = down (candidate) ? why_down (candidate) : NULL;
  const char *verdict = need->kind == GANTRY_NEED_MANY           ? "is one of those that serve it"
                        : plugin->providers[index] == candidate  ? "serves it"
                        : candidate->state != STATE_OK           ? "is awaited"
                        : !graph_is_big_enough (candidate, need) ? "is refused: its vtable is too small"
                                                                 : "is passed over: another ranks higher";

  if (why != NULL)
    core_trace (plugin->core, "%s: need %s: refused %s", plugin->manifest->name, need->type, why);
  else
    core_trace (plugin->core, "%s: need %s: %s (rank %d) %s", plugin->manifest->name, need->type,
                candidate->manifest->name, candidate->manifest->rank, verdict);
}

void
graph_trace (Plugin *plugin)
{
  const GantryNeed *const *needs = plugin->desc->needs;

  for (gsize i = 0; needs != NULL && needs[i] != NULL; i++)
    {
      const char *id = graph_need_id (plugin, needs[i]);
      g_autoptr (GPtrArray) candidates = graph_candidates (plugin->core, needs[i]->type, id);

      for (guint j = 0; j < candidates->len; j++)
        trace_candidate (plugin, needs[i], i, g_ptr_array_index (candidates, j));
      if (candidates->len == 0)
        core_trace (plugin->core, "%s: need %s%s%s (%s): %s", plugin->manifest->name, needs[i]->type,
                    id != NULL ? ":" : "", id != NULL ? id : "", need_kind_to_string (needs[i]->kind),
                    strcmp (needs[i]->type, GANTRY_INTROSPECTION_TYPE) == 0 ? "the core serves it"
                                                                            : "nobody offers it");
    }
}
