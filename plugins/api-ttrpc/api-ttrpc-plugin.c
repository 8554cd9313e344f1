/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * containerd.services.events.ttrpc.v1.Events over ttrpc: where shims send what happens to their tasks.
 */
#include <gantry/events.h>
#include <gantry/frontend.h>
#include <listener.h>
#include <protos.h>
#include <ttrpc-server.h>
#include <unistd.h>

typedef struct
{
  GantryFrontend frontend;
  const GantryHost *host;
  GantryEvents *events;
  TtrpcServer *server;
  char *path;
} ApiTtrpc;

/* The event as it came: a frontend's business is not to understand it. */
static gboolean
publish (ApiTtrpc *self, const Containerd__Types__Envelope *envelope, GError **error)
{
  GVariantDict payload;
  GVariant *bytes;

  if (envelope == NULL || envelope->namespace_[0] == '\0' || envelope->topic[0] == '\0'
      || envelope->event == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "an envelope needs a namespace, a topic and an event");
  bytes = g_variant_new_fixed_array (G_VARIANT_TYPE_BYTE, envelope->event->value.data,
                                     envelope->event->value.len, 1);
  g_variant_dict_init (&payload, NULL);
  g_variant_dict_insert (&payload, "any", "(s@ay)", envelope->event->type_url, bytes);
  return gantry_events_publish (self->events, envelope->namespace_, envelope->topic,
                                g_variant_dict_end (&payload), NULL, error);
}

static GBytes *
forward (const TtrpcRequest *request, GBytes *payload, gpointer data, GError **error)
{
  gsize length;
  const guint8 *bytes = g_bytes_get_data (payload, &length);
  Containerd__Services__Events__Ttrpc__V1__ForwardRequest *message
      = containerd__services__events__ttrpc__v1__forward_request__unpack (NULL, length, bytes);
  gboolean ok;

  if (message == NULL)
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the request is no ForwardRequest");
      return NULL;
    }
  ok = publish (data, message->envelope, error);
  containerd__services__events__ttrpc__v1__forward_request__free_unpacked (message, NULL);
  return ok ? g_bytes_new (NULL, 0) : NULL;
}

static gboolean
serve (GantryFrontend *frontend, GCancellable *cancellable, GError **error)
{
  ApiTtrpc *self = (ApiTtrpc *)frontend;
  int fd = grpc_listen_unix (self->path, 0600, (gid_t)-1, error);

  if (fd < 0)
    return FALSE;
  ttrpc_server_listen (self->server, fd);
  return TRUE;
}

static void
stop (GantryFrontend *frontend, guint drain_ms, GDestroyNotify done, gpointer user_data)
{
  ApiTtrpc *self = (ApiTtrpc *)frontend;

  unlink (self->path);
  g_clear_pointer (&self->server, ttrpc_server_free);
  done (user_data);
}

static char **
get_addresses (GantryFrontend *frontend)
{
  char **ret = g_new0 (char *, 2);

  ret[0] = g_strconcat ("unix:path=", ((ApiTtrpc *)frontend)->path, NULL);
  return ret;
}

static const GantryFrontendVtable vtable = { sizeof (GantryFrontendVtable), serve, stop, get_addresses };

static void
plugin_fini (gpointer instance)
{
  ApiTtrpc *self = instance;

  if (self == NULL)
    return;
  ttrpc_server_free (self->server);
  g_free (self->path);
  g_free (self);
}

static gboolean
plugin_init (const GantryHost *host, gpointer *ret_instance, GError **error)
{
  GantryEvents *events = gantry_host_lookup (host, GANTRY_EVENTS_TYPE, NULL, error);
  ApiTtrpc *self;

  if (events == NULL)
    return FALSE;
  self = g_new0 (ApiTtrpc, 1);
  self->frontend.vtable = &vtable;
  self->host = host;
  self->events = events;
  self->path = g_build_filename (host->get_base_path (host, GANTRY_DIR_RUN), "ttrpc.sock", NULL);
  self->server = ttrpc_server_new (host->get_main_context (host), 0);
  ttrpc_server_add (self->server, "containerd.services.events.ttrpc.v1.Events", "Forward", forward, self);
  *ret_instance = self;
  return TRUE;
}

static gpointer
plugin_get (gpointer instance, const char *type)
{
  return &((ApiTtrpc *)instance)->frontend;
}

static const GantryNeed events_need = GANTRY_NEED_INIT (GANTRY_EVENTS_TYPE, NULL, 0, GANTRY_NEED_ONE);
static const GantryNeed *const needs[] = { &events_need, NULL };
static const GantryProvide provide = { sizeof (GantryProvide), GANTRY_FRONTEND_TYPE };
static const GantryProvide *const provides[] = { &provide, NULL };
static const char *const config_keys[] = { NULL };

static const GantryPluginDesc desc = {
  .size = sizeof (GantryPluginDesc),
  .abi_major = GANTRY_ABI_MAJOR,
  .name = GANTRY_PLUGIN_NAME,
  .version = GANTRY_VERSION,
  .license = "LGPL-2.1-or-later",
  .description = "Where shims send their events, over ttrpc",
  .provides = provides,
  .needs = needs,
  .init = plugin_init,
  .get = plugin_get,
  .fini = plugin_fini,
  .config_keys = config_keys,
};

const GantryPluginDesc *
gantry_plugin_get_desc (void)
{
  return &desc;
}
