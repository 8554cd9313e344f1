/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the daemon says of itself (sdk/gantry/introspection.h). */
#include "core.h"

#include <elf.h>
#include <link.h>
#include <string.h>
#include <unistd.h>

typedef struct
{
  guint64 id;
  GFunc func;
  gpointer user_data;
} Watch;

static Core *
core_of (GantryIntrospection *introspection)
{
  return (Core *)((guint8 *)introspection - G_STRUCT_OFFSET (Core, introspection));
}

static const char *
state_to_string (State state)
{
  static const char *const names[] = { "pending", "starting", "ok", "skipped", "failed", "ended" };

  return names[state];
}

static gboolean
has_setting (GPtrArray *settings, const char *key)
{
  for (guint i = 0; i < settings->len; i++)
    if (strcmp (((Setting *)g_ptr_array_index (settings, i))->key, key) == 0)
      return TRUE;
  return FALSE;
}

const char *
introspection_get_default (Plugin *plugin, const char *key)
{
  const GantryPluginDesc *desc = plugin->desc;
  gsize length = strlen (key);

  if (!GANTRY_HAS (desc, GantryPluginDesc, config_defaults))
    return NULL;
  for (gsize i = 0; desc->config_defaults[i] != NULL; i++)
    {
      const char *text = desc->config_defaults[i];

      if (strncmp (text, key, length) == 0 && text[length] == '=')
        return strcmp (text + length, "=%i") == 0 ? plugin->manifest->id : text + length + 1;
    }
  return NULL;
}

/* @value: (nullable): nobody has set it. */
static void
add_setting (GVariantBuilder *builder, const char *key, const char *value, const char *origin, gboolean known,
             const char *preset)
{
  if (value == NULL)
    value = preset != NULL ? preset : "";
  g_variant_builder_open (builder, G_VARIANT_TYPE_VARDICT);
  g_variant_builder_add (builder, "{sv}", "key", g_variant_new_string (key));
  g_variant_builder_add (builder, "{sv}", "value", g_variant_new_string (value));
  g_variant_builder_add (builder, "{sv}", "origin", g_variant_new_string (origin));
  g_variant_builder_add (builder, "{sv}", "known", g_variant_new_boolean (known));
  if (preset != NULL)
    g_variant_builder_add (builder, "{sv}", "default", g_variant_new_string (preset));
  g_variant_builder_close (builder);
}

/* The daemon's own, which are all there. */
static GVariant *
settings_to_variant (GPtrArray *settings)
{
  GVariantBuilder builder;

  g_variant_builder_init (&builder, G_VARIANT_TYPE ("aa{sv}"));
  for (guint i = 0; i < settings->len; i++)
    {
      Setting *setting = g_ptr_array_index (settings, i);

      add_setting (&builder, setting->key, setting->value, setting->origin, TRUE, NULL);
    }
  return g_variant_builder_end (&builder);
}

/* Also keys that nobody has set, so that a person sees what could be. */
static GVariant *
describe_config (Plugin *plugin)
{
  const char *const *known
      = GANTRY_HAS (plugin->desc, GantryPluginDesc, config_keys) ? plugin->desc->config_keys : NULL;
  GPtrArray *settings = plugin->manifest->config;
  GVariantBuilder builder;

  g_variant_builder_init (&builder, G_VARIANT_TYPE ("aa{sv}"));
  for (guint i = 0; i < settings->len; i++)
    {
      Setting *setting = g_ptr_array_index (settings, i);

      add_setting (&builder, setting->key, setting->value, setting->origin,
                   known == NULL || g_strv_contains (known, setting->key),
                   introspection_get_default (plugin, setting->key));
    }
  for (gsize i = 0; known != NULL && known[i] != NULL; i++)
    if (!has_setting (settings, known[i]))
      add_setting (&builder, known[i], NULL, "default", TRUE, introspection_get_default (plugin, known[i]));
  return g_variant_builder_end (&builder);
}

static void
add_string (GVariantBuilder *builder, const char *key, const char *value)
{
  g_variant_builder_add (builder, "{sv}", key, g_variant_new_string (value != NULL ? value : ""));
}

/* With the lock. */
static void
add_needs (Plugin *plugin, GVariantBuilder *builder)
{
  GVariantBuilder needs;

  g_variant_builder_init (&needs, G_VARIANT_TYPE ("aa{sv}"));
  for (guint i = 0; i < plugin->manifest->needs->len; i++)
    {
      ManifestNeed *need = g_ptr_array_index (plugin->manifest->needs, i);
      g_autoptr (GPtrArray) candidates = graph_candidates (plugin->core, need->type, need->id);
      g_autoptr (GPtrArray) names = g_ptr_array_new ();

      for (guint j = 0; j < candidates->len; j++)
        {
          Plugin *candidate = g_ptr_array_index (candidates, j);

          /* Also one that has not started: from the files alone this tells who would serve. */
          if (candidate->state != STATE_SKIPPED && candidate->state != STATE_FAILED
              && (need->kind == GANTRY_NEED_MANY || names->len == 0))
            g_ptr_array_add (names, candidate->manifest->name);
        }
      if (strcmp (need->type, GANTRY_INTROSPECTION_TYPE) == 0)
        g_ptr_array_add (names, (gpointer) "core");
      g_variant_builder_open (&needs, G_VARIANT_TYPE_VARDICT);
      add_string (&needs, "type", need->type);
      add_string (&needs, "id", need->id);
      add_string (&needs, "kind", need_kind_to_string (need->kind));
      g_variant_builder_add (&needs, "{sv}", "providers",
                             g_variant_new_strv ((const char *const *)names->pdata, (gssize)names->len));
      g_variant_builder_close (&needs);
    }
  g_variant_builder_add (builder, "{sv}", "needs", g_variant_builder_end (&needs));
}

/* What it provides, and how big each vtable is: the slots that it has. With the lock. */
static void
add_interfaces (Plugin *plugin, GVariantBuilder *builder)
{
  char **provides = plugin->manifest->provides;
  GVariantBuilder interfaces;

  g_variant_builder_init (&interfaces, G_VARIANT_TYPE ("aa{sv}"));
  for (gsize i = 0; provides != NULL && provides[i] != NULL; i++)
    {
      g_variant_builder_open (&interfaces, G_VARIANT_TYPE_VARDICT);
      add_string (&interfaces, "type", provides[i]);
      g_variant_builder_add (&interfaces, "{sv}", "size",
                             g_variant_new_uint64 (
                                 plugin->state == STATE_OK ? plugin_vtable_size (plugin, provides[i]) : 0));
      g_variant_builder_close (&interfaces);
    }
  g_variant_builder_add (builder, "{sv}", "interfaces", g_variant_builder_end (&interfaces));
}

static int
find_build_id (struct dl_phdr_info *info, size_t size, void *data)
{
  Plugin *plugin = data;

  if (strcmp (info->dlpi_name, plugin->file) != 0)
    return 0;
  for (int i = 0; i < info->dlpi_phnum; i++)
    {
      const ElfW (Phdr) *segment = &info->dlpi_phdr[i];
      const guint8 *at = (const guint8 *)info->dlpi_addr + segment->p_vaddr, *end = at + segment->p_memsz;

      while (segment->p_type == PT_NOTE && at + sizeof (ElfW (Nhdr)) <= end)
        {
          const ElfW (Nhdr) *note = (const ElfW (Nhdr) *)at;
          const guint8 *name = at + sizeof *note, *desc = name + ((note->n_namesz + 3) & ~3u);

          if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 && memcmp (name, "GNU", 4) == 0)
            {
              GString *hex = g_string_new (NULL);

              for (guint j = 0; j < note->n_descsz; j++)
                g_string_append_printf (hex, "%02x", desc[j]);
              plugin->build_id = g_string_free (hex, FALSE);
              return 1;
            }
          at = desc + ((note->n_descsz + 3) & ~3u);
        }
    }
  return 1;
}

GVariant *
introspection_describe (Plugin *plugin)
{
  Manifest *manifest = plugin->manifest;
  const GantryPluginDesc *desc = plugin->desc;
  const char *const none[] = { NULL };
  GVariantBuilder builder;

  if (plugin->build_id == NULL && desc != NULL)
    {
      dl_iterate_phdr (find_build_id, plugin);
      if (plugin->build_id == NULL)
        plugin->build_id = g_strdup ("");
    }
  g_variant_builder_init (&builder, G_VARIANT_TYPE_VARDICT);
  add_string (&builder, "name", manifest->name);
  add_string (&builder, "type", manifest->provides != NULL ? manifest->provides[0] : NULL);
  g_variant_builder_add (
      &builder, "{sv}", "types",
      g_variant_new_strv (manifest->provides != NULL ? (const char *const *)manifest->provides : none, -1));
  add_string (&builder, "id", manifest->id);
  add_string (&builder, "module", manifest->module);
  add_string (&builder, "manifest", manifest->path);
  add_string (&builder, "file", plugin->file);
  add_string (&builder, "on-failure", on_failure_to_string (manifest->on_failure));
  g_variant_builder_add (&builder, "{sv}", "rank", g_variant_new_int32 (manifest->rank));
  add_string (&builder, "version", desc != NULL ? desc->version : NULL);
  add_string (&builder, "license", desc != NULL ? desc->license : NULL);
  add_string (&builder, "description", desc != NULL ? desc->description : NULL);
  add_string (&builder, "build-id", plugin->build_id);
  g_variant_builder_add (&builder, "{sv}", "abi", g_variant_new_uint32 (desc != NULL ? desc->abi_major : 0));
  g_variant_builder_add (&builder, "{sv}", "needs-abi", g_variant_new_uint32 (GANTRY_ABI_MAJOR));
  add_string (&builder, "state", state_to_string (plugin->state));
  add_string (&builder, "reason", plugin->reason);
  add_string (&builder, "status", plugin->status);
  add_string (&builder, "last-error", plugin->last_error);
  g_variant_builder_add (&builder, "{sv}", "attempts", g_variant_new_uint32 (plugin->attempts));
  g_variant_builder_add (&builder, "{sv}", "masked", g_variant_new_boolean (manifest->masked_by != NULL));
  g_variant_builder_add (&builder, "{sv}", "init-time-us", g_variant_new_uint64 ((guint64)plugin->init_us));
  g_variant_builder_add (&builder, "{sv}", "config", describe_config (plugin));
  add_interfaces (plugin, &builder);
  add_needs (plugin, &builder);
  return g_variant_builder_end (&builder);
}

static GVariant *
get_server (GantryIntrospection *introspection)
{
  Core *core = core_of (introspection);
  GVariantDict dict;

  g_variant_dict_init (&dict, NULL);
  g_variant_dict_insert (&dict, "version", "s", GANTRY_VERSION);
  g_variant_dict_insert (&dict, "uuid", "s", core->uuid != NULL ? core->uuid : "");
  g_variant_dict_insert (&dict, "pid", "u", (guint32)getpid ());
  g_variant_dict_insert (&dict, "started-at", "x", core->started_ns);
  g_variant_dict_insert (&dict, "root", "s", core->options->root);
  g_variant_dict_insert (&dict, "state", "s", core->options->state);
  g_variant_dict_insert (&dict, "abi", "u", (guint32)GANTRY_ABI_MAJOR);
  return g_variant_ref_sink (g_variant_dict_end (&dict));
}

static GVariant *
list_plugins (GantryIntrospection *introspection)
{
  Core *core = core_of (introspection);
  GVariantBuilder builder;

  g_variant_builder_init (&builder, G_VARIANT_TYPE ("aa{sv}"));
  g_mutex_lock (&core->lock);
  for (guint i = 0; i < core->plugins->len; i++)
    g_variant_builder_add_value (&builder, introspection_describe (g_ptr_array_index (core->plugins, i)));
  g_mutex_unlock (&core->lock);
  return g_variant_ref_sink (g_variant_builder_end (&builder));
}

static char **
get_trace (GantryIntrospection *introspection)
{
  Core *core = core_of (introspection);
  GPtrArray *lines = g_ptr_array_new ();

  g_mutex_lock (&core->trace_lock);
  for (guint i = 0; i < core->trace->len; i++)
    g_ptr_array_add (lines, g_strdup (g_ptr_array_index (core->trace, i)));
  g_mutex_unlock (&core->trace_lock);
  g_ptr_array_add (lines, NULL);
  return (char **)g_ptr_array_free (lines, FALSE);
}

static GVariant *
get_config (GantryIntrospection *introspection)
{
  return g_variant_ref_sink (settings_to_variant (core_of (introspection)->options->settings));
}

static guint64
watch (GantryIntrospection *introspection, GFunc func, gpointer user_data)
{
  Core *core = core_of (introspection);
  Watch entry = { 0, func, user_data };

  g_mutex_lock (&core->lock);
  entry.id = ++core->last_watch;
  g_array_append_val (core->watches, entry);
  g_mutex_unlock (&core->lock);
  return entry.id;
}

static void
unwatch (GantryIntrospection *introspection, guint64 id)
{
  Core *core = core_of (introspection);

  g_mutex_lock (&core->lock);
  for (guint i = 0; i < core->watches->len; i++)
    if (g_array_index (core->watches, Watch, i).id == id)
      {
        g_array_remove_index (core->watches, i);
        break;
      }
  g_mutex_unlock (&core->lock);
}

/* The watch @id, unless an earlier one's function has ended it. */
static gboolean
find_watch (Core *core, guint64 id, Watch *ret_watch)
{
  gboolean found = FALSE;

  g_mutex_lock (&core->lock);
  for (guint i = 0; i < core->watches->len && !found; i++)
    {
      *ret_watch = g_array_index (core->watches, Watch, i);
      found = ret_watch->id == id;
    }
  g_mutex_unlock (&core->lock);
  return found;
}

static gboolean
tell_watches (gpointer data)
{
  Core *core = data;
  g_autoptr (GArray) watches = NULL;

  g_mutex_lock (&core->lock);
  g_clear_pointer (&core->changed, g_source_unref);
  watches = g_array_copy (core->watches);
  g_mutex_unlock (&core->lock);
  for (guint i = 0; i < watches->len; i++)
    {
      Watch entry;

      if (find_watch (core, g_array_index (watches, Watch, i).id, &entry))
        entry.func (&core->introspection, entry.user_data);
    }
  return G_SOURCE_REMOVE;
}

/* Many changes are told at once. */
void
introspection_changed (Core *core)
{
  g_mutex_lock (&core->lock);
  if (core->changed == NULL)
    {
      core->changed = g_idle_source_new ();
      g_source_set_priority (core->changed, G_PRIORITY_DEFAULT);
      g_source_set_callback (core->changed, tell_watches, core, NULL);
      g_source_attach (core->changed, core->context);
    }
  g_mutex_unlock (&core->lock);
}

static const GantryIntrospectionVtable vtable = {
  .size = sizeof (GantryIntrospectionVtable),
  .get_server = get_server,
  .list_plugins = list_plugins,
  .get_trace = get_trace,
  .get_config = get_config,
  .watch = watch,
  .unwatch = unwatch,
};

void
introspection_init (Core *core)
{
  core->introspection.vtable = &vtable;
  core->watches = g_array_new (FALSE, FALSE, sizeof (Watch));
}
