/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Listening, and the end of it. */
#include "api-grpc.h"
#include "address.h"
#include "streams.h"

#include <string.h>

static const Service *const services[] = {
  &version_service,       &namespaces_service,
  &introspection_service, &health_service,
  &content_service,       &images_service,
  &leases_service,        &snapshots_service,
  &diff_service,          &containers_service,
  &tasks_service,         &events_service,
  &sandbox_store_service, &sandbox_controller_service,
  &mounts_service,        &streaming_service,
  &transfer_service,
};

/* On the I/O thread. */
static void
on_busy (gboolean busy, gpointer data)
{
  ApiGrpc *self = data;

  self->host->hold (self->host, busy ? 1 : -1);
}

static gboolean
listen_all (ApiGrpc *self, GError **error)
{
  const char *state = self->host->get_base_path (self->host, GANTRY_DIR_RUN);
  g_autofree char *own = g_strconcat ("unix:path=", state, "/grpc.sock", NULL);
  g_auto (GStrv) more = g_strsplit (gantry_host_get_config_string (self->host, "Addresses", ""), ";", -1);
  char *shown;

  if (!address_listen (self->server, own, &shown, error))
    return FALSE;
  g_ptr_array_add (self->addresses, shown);
  for (gsize i = 0; more[i] != NULL; i++)
    {
      if (*g_strstrip (more[i]) == '\0')
        continue;
      if (!address_listen (self->server, more[i], &shown, error))
        return FALSE;
      g_ptr_array_add (self->addresses, shown);
    }
  return TRUE;
}

static gboolean
serve (GantryFrontend *frontend, GCancellable *cancellable, GError **error)
{
  ApiGrpc *self = (ApiGrpc *)frontend;

  return listen_all (self, error) && grpc_server_start (self->server, error);
}

typedef struct
{
  ApiGrpc *self;
  guint drain_ms;
  GDestroyNotify done;
  gpointer user_data;
} Stop;

static gboolean
stopped (gpointer data)
{
  Stop *stop = data;

  stop->done (stop->user_data);
  return G_SOURCE_REMOVE;
}

static gpointer
run_stop (gpointer data)
{
  Stop *stop = data;

  grpc_server_stop (stop->self->server, stop->drain_ms);
  g_main_context_invoke_full (stop->self->host->get_main_context (stop->self->host), G_PRIORITY_DEFAULT,
                              stopped, stop, g_free);
  return NULL;
}

/* On a thread of its own: calls that end need the main context. */
static void
stop (GantryFrontend *frontend, guint drain_ms, GDestroyNotify done, gpointer user_data)
{
  Stop *stop = g_new (Stop, 1);

  *stop = (Stop){ (ApiGrpc *)frontend, drain_ms, done, user_data };
  g_thread_unref (g_thread_new ("grpc-stop", run_stop, stop));
}

static char **
get_addresses (GantryFrontend *frontend)
{
  GPtrArray *addresses = ((ApiGrpc *)frontend)->addresses;
  char **ret = g_new0 (char *, addresses->len + 1);

  for (guint i = 0; i < addresses->len; i++)
    ret[i] = g_strdup (g_ptr_array_index (addresses, i));
  return ret;
}

static const GantryFrontendVtable vtable = { sizeof (GantryFrontendVtable), serve, stop, get_addresses };

static void
plugin_fini (gpointer instance)
{
  ApiGrpc *self = instance;

  if (self == NULL)
    return;
  g_clear_pointer (&self->server, grpc_server_free);
  g_clear_pointer (&self->addresses, g_ptr_array_unref);
  events_clear (self);
  g_clear_pointer (&self->streams, g_hash_table_unref);
  g_mutex_clear (&self->streams_lock);
  g_free (self);
}

static gboolean
look_up (ApiGrpc *self, GError **error)
{
  const GantryHost *host = self->host;

  self->mounts = gantry_host_lookup (host, GANTRY_MOUNTS_TYPE, NULL, NULL);
  return (self->introspection = gantry_host_lookup (host, GANTRY_INTROSPECTION_TYPE, NULL, error)) != NULL
         && (self->metadata = gantry_host_lookup (host, GANTRY_METADATA_TYPE, NULL, error)) != NULL
         && (self->events = gantry_host_lookup (host, GANTRY_EVENTS_TYPE, NULL, error)) != NULL
         && (self->store = gantry_host_lookup (host, GANTRY_STORE_TYPE, NULL, error)) != NULL
         && (self->transfer = gantry_host_lookup (host, GANTRY_TRANSFER_TYPE, NULL, error)) != NULL
         && (self->tasks = gantry_host_lookup (host, GANTRY_TASKS_TYPE, NULL, error)) != NULL
         && (self->jobs = gantry_host_lookup (host, GANTRY_JOBS_TYPE, NULL, error)) != NULL;
}

static gboolean
plugin_init (const GantryHost *host, gpointer *ret_instance, GError **error)
{
  ApiGrpc *self = g_new0 (ApiGrpc, 1);
  gboolean ok;

  self->frontend.vtable = &vtable;
  self->host = host;
  self->addresses = g_ptr_array_new_with_free_func (g_free);
  self->streams = streams_new ();
  g_mutex_init (&self->streams_lock);
  self->server = grpc_server_new (NULL);
  grpc_server_set_busy_callback (self->server, on_busy, self);
  ok = look_up (self, error);
  for (gsize i = 0; ok && i < G_N_ELEMENTS (services); i++)
    ok = dispatch_add (self, services[i], error);
  if (ok)
    *ret_instance = self;
  else
    plugin_fini (self);
  return ok;
}

static gpointer
plugin_get (gpointer instance, const char *type)
{
  return &((ApiGrpc *)instance)->frontend;
}

static const GantryNeed introspection_need
    = GANTRY_NEED_INIT (GANTRY_INTROSPECTION_TYPE, NULL, 0, GANTRY_NEED_ONE);
static const GantryNeed metadata_need = GANTRY_NEED_INIT (GANTRY_METADATA_TYPE, NULL, 0, GANTRY_NEED_ONE);
static const GantryNeed events_need = GANTRY_NEED_INIT (GANTRY_EVENTS_TYPE, NULL, 0, GANTRY_NEED_ONE);
static const GantryNeed store_need = GANTRY_NEED_INIT (GANTRY_STORE_TYPE, NULL, 0, GANTRY_NEED_ONE);
static const GantryNeed transfer_need = GANTRY_NEED_INIT (GANTRY_TRANSFER_TYPE, NULL, 0, GANTRY_NEED_ONE);
static const GantryNeed tasks_need = GANTRY_NEED_INIT (GANTRY_TASKS_TYPE, NULL, 0, GANTRY_NEED_ONE);
static const GantryNeed jobs_need = GANTRY_NEED_INIT (GANTRY_JOBS_TYPE, NULL, 0, GANTRY_NEED_ONE);
static const GantryNeed differ_need = GANTRY_NEED_INIT (GANTRY_DIFFER_TYPE, NULL, 0, GANTRY_NEED_MANY);
static const GantryNeed mounts_need = GANTRY_NEED_INIT (GANTRY_MOUNTS_TYPE, NULL, 0, GANTRY_NEED_OPTIONAL);
static const GantryNeed *const needs[]
    = { &introspection_need, &metadata_need, &events_need, &store_need,  &transfer_need,
        &tasks_need,         &jobs_need,     &differ_need, &mounts_need, NULL };
static const GantryProvide provide = { sizeof (GantryProvide), GANTRY_FRONTEND_TYPE };
static const GantryProvide *const provides[] = { &provide, NULL };
static const char *const config_keys[] = { "Addresses", NULL };
static const char *const config_defaults[] = { "Addresses=", NULL };

static const GantryPluginDesc desc = {
  .size = sizeof (GantryPluginDesc),
  .abi_major = GANTRY_ABI_MAJOR,
  .name = GANTRY_PLUGIN_NAME,
  .version = GANTRY_VERSION,
  .license = "LGPL-2.1-or-later",
  .description = "containerd's API, over gRPC",
  .provides = provides,
  .needs = needs,
  .init = plugin_init,
  .get = plugin_get,
  .fini = plugin_fini,
  .config_keys = config_keys,
  .config_defaults = config_defaults,
};

const GantryPluginDesc *
gantry_plugin_get_desc (void)
{
  return &desc;
}
