/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store-local.h"

#include <string.h>

#define MAX_NAMESPACE 76

gboolean
store_local_check_namespace (const char *ns, GError **error)
{
  gboolean word = FALSE, good = TRUE;

  if (ns == NULL || ns[0] == '\0')
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "a namespace is required: invalid argument");
  for (const char *at = ns; good && *at != '\0'; at++)
    {
      good = g_ascii_isalnum (*at) || (word && strchr ("._-", *at) != NULL);
      word = g_ascii_isalnum (*at);
    }
  if (!good || !word || strlen (ns) > MAX_NAMESPACE)
    return gantry_throw (
        error, GANTRY_ERROR_INVALID_ARGUMENT,
        "namespace \"%s\" must be words of letters and digits joined by \".\", \"_\" or \"-\", of at most %d"
        " characters: invalid argument",
        ns, MAX_NAMESPACE);
  return TRUE;
}

GantryContent *
store_local_content (StoreLocal *self, const char *id, GError **error)
{
  g_autoptr (GPtrArray) bindings = gantry_host_lookup_all (self->host, GANTRY_CONTENT_TYPE, error);

  if (bindings == NULL)
    return NULL;
  for (guint i = 0; i < bindings->len; i++)
    {
      GantryBinding *binding = g_ptr_array_index (bindings, i);

      if (id == NULL || strcmp (binding->id, id) == 0)
        return binding->instance;
    }
  gantry_throw (error, GANTRY_ERROR_UNAVAILABLE, "there is no content store%s%s; see `gantry plugin list`",
                id != NULL ? " " : "", id != NULL ? id : "");
  return NULL;
}

GantrySnapshotter *
store_local_snapshotter (StoreLocal *self, const char *id, char **ret_id, GError **error)
{
  g_autoptr (GPtrArray) bindings = gantry_host_lookup_all (self->host, GANTRY_SNAPSHOTTER_TYPE, error);
  g_autoptr (GString) names = g_string_new (NULL);

  if (bindings == NULL)
    return NULL;
  if (id != NULL && strcmp (id, "overlayfs") == 0)
    id = "overlay";
  for (guint i = 0; i < bindings->len; i++)
    {
      GantryBinding *binding = g_ptr_array_index (bindings, i);

      if (id == NULL || id[0] == '\0' || strcmp (binding->id, id) == 0)
        {
          if (ret_id != NULL)
            *ret_id = g_strdup (binding->id);
          return binding->instance;
        }
      g_string_append_printf (names, "%s%s", names->len > 0 ? ", " : "", binding->id);
    }
  gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "snapshotter not loaded: %s: not found; there is %s",
                id != NULL ? id : "", names->len > 0 ? names->str : "none");
  return NULL;
}

static gboolean
relax (GantryStore *store, GantryContent *content, GantrySnapshotter *snapshotter, GCancellable *cancellable,
       GError **error)
{
  if (content != NULL)
    content_view_relax (content);
  if (snapshotter != NULL)
    snapshot_view_relax (snapshotter);
  return TRUE;
}

static const GantryStoreVtable vtable = {
  .size = sizeof (GantryStoreVtable),
  .open_content = content_view_open,
  .open_snapshotter = snapshot_view_open,
  .collect = collector_collect,
  .check = store_check,
  .relax = relax,
};

static void
store_local_fini (gpointer instance)
{
  StoreLocal *self = instance;

  if (self == NULL)
    return;
  collector_stop (self);
  g_mutex_clear (&self->sweep_lock);
  g_rw_lock_clear (&self->blobs_lock);
  g_mutex_clear (&self->lock);
  g_cond_clear (&self->cond);
  g_free (self);
}

static gboolean
read_policy (StoreLocal *self, GError **error)
{
  const char *policy = gantry_host_get_config_string (self->host, "ContentSharing", "shared");

  self->isolated = strcmp (policy, "isolated") == 0;
  if (!self->isolated && strcmp (policy, "shared") != 0)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "configuration key ContentSharing: \"%s\" is neither shared nor isolated", policy);
  return TRUE;
}

static gboolean
store_local_init (const GantryHost *host, gpointer *ret_instance, GError **error)
{
  StoreLocal *self = g_new0 (StoreLocal, 1);

  self->store.vtable = &vtable;
  self->host = host;
  self->started_ns = gantry_now_ns ();
  g_rw_lock_init (&self->blobs_lock);
  g_mutex_init (&self->sweep_lock);
  g_mutex_init (&self->lock);
  g_cond_init (&self->cond);
  self->metadata = gantry_host_lookup (host, GANTRY_METADATA_TYPE, NULL, error);
  if (self->metadata == NULL || !read_policy (self, error) || !intents_resolve (self, error))
    {
      store_local_fini (self);
      return FALSE;
    }
  collector_schedule (self, 1);
  *ret_instance = self;
  return TRUE;
}

static gpointer
store_local_get (gpointer instance, const char *type)
{
  return &((StoreLocal *)instance)->store;
}

static const GantryNeed metadata_need
    = GANTRY_NEED_INIT (GANTRY_METADATA_TYPE, NULL, sizeof (GantryMetadataVtable), GANTRY_NEED_ONE);
static const GantryNeed content_need = GANTRY_NEED_INIT (GANTRY_CONTENT_TYPE, NULL, 0, GANTRY_NEED_MANY);
static const GantryNeed snapshotter_need
    = GANTRY_NEED_INIT (GANTRY_SNAPSHOTTER_TYPE, NULL, 0, GANTRY_NEED_MANY);
static const GantryNeed mounts_need = GANTRY_NEED_INIT (GANTRY_MOUNTS_TYPE, NULL, 0, GANTRY_NEED_OPTIONAL);
static const GantryNeed *const needs[]
    = { &metadata_need, &content_need, &snapshotter_need, &mounts_need, NULL };
static const GantryProvide provide = { sizeof (GantryProvide), GANTRY_STORE_TYPE };
static const GantryProvide *const provides[] = { &provide, NULL };
static const char *const config_keys[] = { "ContentSharing", NULL };
static const char *const config_defaults[] = { "ContentSharing=shared", NULL };

static const GantryPluginDesc desc = {
  .size = sizeof (GantryPluginDesc),
  .abi_major = GANTRY_ABI_MAJOR,
  .name = GANTRY_PLUGIN_NAME,
  .version = GANTRY_VERSION,
  .license = "LGPL-2.1-or-later",
  .description = "Content and snapshots by namespace, and garbage collection",
  .provides = provides,
  .needs = needs,
  .init = store_local_init,
  .get = store_local_get,
  .fini = store_local_fini,
  .config_keys = config_keys,
  .config_defaults = config_defaults,
};

const GantryPluginDesc *
gantry_plugin_get_desc (void)
{
  return &desc;
}
