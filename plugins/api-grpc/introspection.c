/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * containerd.services.introspection.v1.Introspection. Our plugins are shown under the types and ids that
 * containerd's clients look for; the services of this frontend, which are one plugin here and many there, are
 * shown one by one. */
#include "convert.h"
#include "platform.h"

#include <filter.h>
#include <string.h>
#include <sys/stat.h>

#define PB(name)         Containerd__Services__Introspection__V1__##name
#define DESCRIPTOR(name) containerd__services__introspection__v1__##name##__descriptor

/* What stands for a plugin of ours there. */
typedef struct
{
  const char *type;    /* ours */
  const char *id;      /* (nullable): any */
  const char *as_type; /* theirs */
  const char *as_id;   /* (nullable): ours */
} Alias;

static const Alias aliases[] = {
  { GANTRY_CONTENT_TYPE, "local", "io.containerd.content.v1", "content" },
  { GANTRY_CONTENT_TYPE, NULL, "io.containerd.content.v1", NULL },
  { GANTRY_SNAPSHOTTER_TYPE, "overlay", "io.containerd.snapshotter.v1", "overlayfs" },
  { GANTRY_SNAPSHOTTER_TYPE, NULL, "io.containerd.snapshotter.v1", NULL },
  { GANTRY_DIFFER_TYPE, "archive", "io.containerd.differ.v1", "walking" },
  { GANTRY_DIFFER_TYPE, NULL, "io.containerd.differ.v1", NULL },
  { GANTRY_METADATA_TYPE, NULL, "io.containerd.metadata.v1", "bolt" },
  { GANTRY_EVENTS_TYPE, NULL, "io.containerd.event.v1", "exchange" },
  { GANTRY_STORE_TYPE, NULL, "io.containerd.gc.v1", "scheduler" },
  { GANTRY_RUNTIME_TYPE, "runc", "io.containerd.runtime.v2", "task" },
  { GANTRY_TRANSFER_TYPE, NULL, "io.containerd.transfer.v1", "local" },
  { GANTRY_MOUNTS_TYPE, NULL, "io.containerd.mount-manager.v1", "bolt" },
};

/* What this frontend serves: as "grpc" plugins, and those that containerd has a "service" plugin for. */
static const char *const served[] = { "containers",
                                      "content",
                                      "diff",
                                      "events",
                                      "healthcheck",
                                      "images",
                                      "introspection",
                                      "leases",
                                      "mounts",
                                      "namespaces",
                                      "sandbox-controllers",
                                      "sandboxes",
                                      "snapshots",
                                      "streaming",
                                      "tasks",
                                      "transfer",
                                      "version",
                                      NULL };
static const char *const backed[] = { "containers", "content",    "diff",      "images", "introspection",
                                      "leases",     "namespaces", "snapshots", "tasks",  NULL };

static void
add_platform (Call *call, PB (Plugin) * plugin)
{
  plugin->n_platforms = 1;
  plugin->platforms = arena_new (call->arena, Containerd__Types__Platform *, 1);
  plugin->platforms[0] = own_platform (call);
}

static void
add_error (Call *call, PB (Plugin) * plugin, GVariant *ours)
{
  const char *state = "ok", *reason = "";

  g_variant_lookup (ours, "state", "&s", &state);
  g_variant_lookup (ours, "reason", "&s", &reason);
  if (strcmp (state, "ok") == 0)
    return;
  plugin->init_err = message_new (call, &google__rpc__status__descriptor);
  plugin->init_err->code = GRPC_STATUS_UNKNOWN;
  /* The words by which clients tell a plugin that is not wanted from one that failed. */
  plugin->init_err->message = strcmp (state, "skipped") == 0
                                  ? arena_printf (call->arena, "%s: skip plugin", reason)
                                  : TEXT (reason);
}

static void
add_export (Call *call, PB (Plugin) * plugin, const char *key, const char *value)
{
  PB (Plugin__ExportsEntry) *entry = message_new (call, &DESCRIPTOR (plugin__exports_entry));

  entry->key = TEXT (key);
  entry->value = TEXT (value);
  plugin->exports = arena_new (call->arena, PB (Plugin__ExportsEntry) *, 1);
  plugin->exports[plugin->n_exports++] = entry;
}

/* Where a plugin keeps what it has. */
static void
add_root (Call *call, PB (Plugin) * plugin, const char *noun, const char *own_id)
{
  add_export (call, plugin, "root",
              arena_printf (call->arena, "%s/%s-%s",
                            call->api->host->get_base_path (call->api->host, GANTRY_DIR_PERSISTENT), noun,
                            own_id));
}

static void
add_capabilities (Call *call, PB (Plugin) * plugin, const char *own_id)
{
  static const struct
  {
    unsigned bit;
    const char *name;
  } names[] = { { GANTRY_SNAPSHOTTER_REMAP, "remap-ids" }, { GANTRY_SNAPSHOTTER_PARALLEL_UNPACK, "rebase" } };
  g_autoptr (GantrySnapshotter) snapshotter = NULL;
  unsigned bits;

  if (!gantry_store_open_snapshotter (call->api->store, "default", NULL, own_id, &snapshotter, NULL,
                                      call->cancellable, NULL))
    return;
  bits = gantry_snapshotter_get_capabilities (snapshotter);
  plugin->capabilities = arena_new (call->arena, char *, G_N_ELEMENTS (names));
  for (gsize i = 0; i < G_N_ELEMENTS (names); i++)
    if (bits & names[i].bit)
      plugin->capabilities[plugin->n_capabilities++] = TEXT (names[i].name);
}

static PB (Plugin)
    * add_plugin (Call *call, GPtrArray *plugins, const char *type, const char *id, const char *own_id,
                  GVariant *ours)
{
  PB (Plugin) *plugin = message_new (call, &DESCRIPTOR (plugin));

  plugin->type = (char *)type;
  plugin->id = (char *)id;
  if (strcmp (type, "io.containerd.snapshotter.v1") == 0 || strcmp (type, "io.containerd.differ.v1") == 0
      || strcmp (type, "io.containerd.runtime.v2") == 0)
    add_platform (call, plugin);
  if (ours != NULL)
    add_error (call, plugin, ours);
  if (plugin->init_err == NULL && strcmp (type, "io.containerd.snapshotter.v1") == 0)
    {
      add_root (call, plugin, "snapshotter", own_id);
      add_capabilities (call, plugin, own_id);
    }
  if (strcmp (type, "io.containerd.content.v1") == 0)
    add_root (call, plugin, "content", own_id);
  g_ptr_array_add (plugins, plugin);
  return plugin;
}

/* Where the transfer plugin @ours installs images: containerd's clients look for it as the path of the plugin
 * "opt". */
static void
add_opt (Call *call, GPtrArray *plugins, GVariant *ours)
{
  g_autoptr (GVariant) config = g_variant_lookup_value (ours, "config", G_VARIANT_TYPE ("aa{sv}"));
  const char *path = GANTRY_INSTALL_DIRECTORY;

  for (gsize i = 0; config != NULL && i < g_variant_n_children (config); i++)
    {
      GVariant *setting
          = call_keep (call, g_variant_get_child_value (config, i), (GDestroyNotify)g_variant_unref);
      const char *key = "", *value = "";

      g_variant_lookup (setting, "key", "&s", &key);
      g_variant_lookup (setting, "value", "&s", &value);
      if (strcmp (key, "InstallDirectory") == 0 && value[0] != '\0')
        path = value;
    }
  add_export (call, add_plugin (call, plugins, "io.containerd.internal.v1", "opt", NULL, NULL), "path", path);
}

/* One of ours: under each of its types that has a counterpart, or as it is. */
static void
add_ours (Call *call, GPtrArray *plugins, GVariant *ours)
{
  g_autoptr (GVariant) types = g_variant_lookup_value (ours, "types", G_VARIANT_TYPE_STRING_ARRAY);
  const char *own_id = "";

  g_variant_lookup (ours, "id", "&s", &own_id);
  for (gsize i = 0; types != NULL && i < g_variant_n_children (types); i++)
    {
      const Alias *alias = NULL;
      const char *type;

      g_variant_get_child (types, i, "&s", &type);
      for (gsize j = 0; alias == NULL && j < G_N_ELEMENTS (aliases); j++)
        if (strcmp (aliases[j].type, type) == 0
            && (aliases[j].id == NULL || strcmp (aliases[j].id, own_id) == 0))
          alias = &aliases[j];
      type = arena_strdup (call->arena, type);
      add_plugin (call, plugins, alias != NULL ? alias->as_type : type,
                  alias != NULL && alias->as_id != NULL ? alias->as_id : arena_strdup (call->arena, own_id),
                  own_id, ours);
      if (strcmp (type, "io.containerd.transfer.v1") == 0 || strcmp (type, GANTRY_TRANSFER_TYPE) == 0)
        add_opt (call, plugins, ours);
    }
}

/* Who asks for that one alone is about to install something, and expects the directory to be there. */
static void
make_opt (const PB (Plugin) * plugin)
{
  if (strcmp (plugin->id, "opt") == 0 && g_mkdir_with_parents (plugin->exports[0]->value, 0711) < 0)
    g_warning ("making the directory for installed images %s: %s", plugin->exports[0]->value,
               g_strerror (errno));
}

static const char *
plugin_field (const char *const *path, guint n_path, gpointer object)
{
  PB (Plugin) *plugin = object;

  if (n_path == 1 && strcmp (path[0], "type") == 0)
    return plugin->type;
  return n_path == 1 && strcmp (path[0], "id") == 0 ? plugin->id : NULL;
}

static int
compare_plugins (gconstpointer a, gconstpointer b)
{
  const PB (Plugin) *one = *(PB (Plugin) *const *)a, *other = *(PB (Plugin) *const *)b;
  int order = strcmp (one->type, other->type);

  return order != 0 ? order : strcmp (one->id, other->id);
}

static GPtrArray *
all_plugins (Call *call)
{
  GPtrArray *plugins = call_keep (call, g_ptr_array_new (), (GDestroyNotify)g_ptr_array_unref);
  GVariant *ours = call_keep (call, gantry_introspection_list_plugins (call->api->introspection),
                              (GDestroyNotify)g_variant_unref);

  for (gsize i = 0; i < g_variant_n_children (ours); i++)
    {
      GVariant *one = call_keep (call, g_variant_get_child_value (ours, i), (GDestroyNotify)g_variant_unref);

      add_ours (call, plugins, one);
    }
  for (gsize i = 0; served[i] != NULL; i++)
    add_plugin (call, plugins, "io.containerd.grpc.v1", served[i], NULL, NULL);
  for (gsize i = 0; backed[i] != NULL; i++)
    add_plugin (call, plugins, "io.containerd.service.v1",
                arena_printf (call->arena, "%s-service", backed[i]), NULL, NULL);
  g_ptr_array_sort (plugins, compare_plugins);
  return plugins;
}

static const ProtobufCMessage *
plugins (Call *call, gconstpointer data, GError **error)
{
  const PB (PluginsRequest) *request = data;
  PB (PluginsResponse) *reply = message_new (call, &DESCRIPTOR (plugins_response));
  g_autoptr (GantryFilter) filter
      = gantry_filter_new (strings (call, request->n_filters, request->filters), error);
  GPtrArray *all;

  if (filter == NULL)
    return NULL;
  all = all_plugins (call);
  reply->plugins = arena_new (call->arena, PB (Plugin) *, all->len);
  for (guint i = 0; i < all->len; i++)
    if (gantry_filter_match (filter, plugin_field, g_ptr_array_index (all, i)))
      reply->plugins[reply->n_plugins++] = g_ptr_array_index (all, i);
  if (reply->n_plugins == 1)
    make_opt (reply->plugins[0]);
  return &reply->base;
}

static const ProtobufCMessage *
server (Call *call, gconstpointer data, GError **error)
{
  PB (ServerResponse) *reply = message_new (call, &DESCRIPTOR (server_response));
  GVariant *own = call_keep (call, gantry_introspection_get_server (call->api->introspection),
                             (GDestroyNotify)g_variant_unref);
  guint32 pid = 0;
  struct stat ns;

  g_variant_lookup (own, "uuid", "&s", &reply->uuid);
  g_variant_lookup (own, "pid", "u", &pid);
  reply->pid = pid;
  if (stat ("/proc/self/ns/pid", &ns) == 0)
    reply->pidns = ns.st_ino;
  return &reply->base;
}

/* What options ask for: only of the runtime, with a RuntimeRequest. */
static gboolean
add_extra (Call *call, const PB (PluginInfoRequest) * request, PB (PluginInfoResponse) * reply,
           GError **error)
{
  const ProtobufCMessageDescriptor *descriptor = &containerd__types__runtime_request__descriptor;
  g_autoptr (GBytes) bytes = g_bytes_new_static (request->options->value.data, request->options->value.len);
  const Containerd__Types__RuntimeRequest *wanted;
  GBytes *info = NULL;

  if (reply->plugin->init_err != NULL)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                         "cannot get extra info, plugin not successfully loaded: failed precondition");
  if (strcmp (request->type, "io.containerd.runtime.v2") != 0)
    return gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED,
                         "plugin does not provided extra information: not implemented");
  if (strcmp (request->options->type_url, descriptor->name) != 0)
    return gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED, "unknown request type %s: not implemented",
                         request->options->type_url);
  wanted = (const Containerd__Types__RuntimeRequest *)message_unpack (descriptor, bytes, call->arena, error);
  if (wanted == NULL
      || !gantry_tasks_runtime_info (call->api->tasks, wanted->runtime_path,
                                     wanted->options != NULL ? any_to_variant (wanted->options) : NULL, &info,
                                     call->cancellable, error))
    return FALSE;
  call_keep (call, info, (GDestroyNotify)g_bytes_unref);
  reply->extra = message_new (call, &google__protobuf__any__descriptor);
  reply->extra->type_url = TEXT (containerd__types__runtime_info__descriptor.name);
  reply->extra->value.data = (uint8_t *)g_bytes_get_data (info, &reply->extra->value.len);
  return TRUE;
}

static const ProtobufCMessage *
plugin_info (Call *call, gconstpointer data, GError **error)
{
  const PB (PluginInfoRequest) *request = data;
  PB (PluginInfoResponse) *reply = message_new (call, &DESCRIPTOR (plugin_info_response));
  GPtrArray *all = all_plugins (call);

  for (guint i = 0; i < all->len && reply->plugin == NULL; i++)
    {
      PB (Plugin) *plugin = g_ptr_array_index (all, i);

      if (strcmp (plugin->type, request->type) == 0 && strcmp (plugin->id, request->id) == 0)
        reply->plugin = plugin;
    }
  if (reply->plugin == NULL)
    {
      gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "plugin %s.%s not found: not found", request->type,
                    request->id);
      return NULL;
    }
  return request->options == NULL || add_extra (call, request, reply, error) ? &reply->base : NULL;
}

static const Method methods[] = {
  { "Plugins", GRPC_METHOD_NORMAL, &DESCRIPTOR (plugins_request), plugins },
  { "Server", GRPC_METHOD_NORMAL, &google__protobuf__empty__descriptor, server },
  { "PluginInfo", GRPC_METHOD_LONG, &DESCRIPTOR (plugin_info_request), plugin_info },
};

const Service introspection_service
    = { "containerd.services.introspection.v1.Introspection", FALSE, methods, G_N_ELEMENTS (methods) };
