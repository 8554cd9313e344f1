/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * containerd.services.introspection.v1.Introspection: how a proxy learns what the services of proxy plugins
 * have no word for. Filters are not looked at: there is one plugin, which seldom has
 * more than one interface.
 */
#include "host.h"

#include <wireconv.h>

#define PB(name) Containerd__Services__Introspection__V1__##name

static PB (Plugin) * plugin_out (Scratch *scratch, const Hosted *hosted)
{
  PB (Plugin) *plugin
      = scratch_message (scratch, &containerd__services__introspection__v1__plugin__descriptor);
  g_autoptr (GPtrArray) names = g_ptr_array_new ();

  if (hosted->capabilities != NULL)
    hosted->capabilities (hosted->instance, names);
  plugin->type = WIRE_TEXT (hosted->type);
  plugin->id = WIRE_TEXT (hosted->host->get_id (hosted->host));
  plugin->n_capabilities = names->len;
  plugin->capabilities = scratch_alloc (scratch, sizeof (char *) * (names->len + 1));
  for (guint i = 0; i < names->len; i++)
    plugin->capabilities[i] = g_ptr_array_index (names, i);
  return plugin;
}

static GBytes *
plugins (GrpcCall *call, GBytes *bytes, gpointer data, GError **error)
{
  GPtrArray *hosted = data;
  g_autoptr (Scratch) scratch = scratch_new ();
  PB (PluginsResponse) reply = CONTAINERD__SERVICES__INTROSPECTION__V1__PLUGINS_RESPONSE__INIT;

  reply.n_plugins = hosted->len;
  reply.plugins = scratch_alloc (scratch, sizeof (gpointer) * (hosted->len + 1));
  for (guint i = 0; i < hosted->len; i++)
    reply.plugins[i] = plugin_out (scratch, g_ptr_array_index (hosted, i));
  return wire_pack (&reply.base);
}

static const GrpcMethod methods[] = { { .name = "Plugins", .unary = plugins } };

gboolean
host_serve_introspection (GrpcServer *server, GPtrArray *hosted, GError **error)
{
  return grpc_server_add_service (server, "containerd.services.introspection.v1.Introspection", methods,
                                  G_N_ELEMENTS (methods), hosted, NULL, error);
}
