/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A proxy's module is thin: what speaks to the peer is a part (part.h) that is opened when there is a peer to
 * speak to, so that the proxies that nobody has set up cost nothing. */
#pragma once

#include <gantry/plugin.h>
#include <part.h>

/** Configuration keys that a peer reads (peer.h). */
#define PEER_CONFIG_KEYS     "Address", "Exec", "Timeout", "Namespace", "Name"
#define PEER_CONFIG_DEFAULTS "Address=", "Exec=", "Timeout=30", "Namespace=default", "Name=%i"

/** A part's table. */
typedef struct
{
  /** As GantryPluginDesc.init. */
  gboolean (*init) (const GantryHost *host, gpointer *ret_instance, GError **error);
  void (*fini) (gpointer instance);
} Proxy;

/** What the module has of a proxy that was started. */
typedef struct
{
  const Proxy *proxy;
  gpointer instance; /* its first member is what the plugin provides */
} ProxyInstance;

/** As GantryPluginDesc.init, by @part. Errors: NOT_IMPLEMENTED (no Address=), INVALID_ARGUMENT
 * (configuration), of opening the part. */
static inline gboolean
proxy_init (GantryPart *part, const GantryHost *host, gpointer *ret_instance, GError **error)
{
  const Proxy *proxy;
  ProxyInstance *self;
  gpointer instance = NULL;

  if (gantry_host_get_config_string (host, "Address", NULL) == NULL)
    return gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED,
                         "no Address= is set: the socket of the plugin to speak to");
  proxy = gantry_part_open (part, error);
  if (proxy == NULL || !proxy->init (host, &instance, error))
    return FALSE;
  self = g_new (ProxyInstance, 1);
  *self = (ProxyInstance){ proxy, instance };
  *ret_instance = self;
  return TRUE;
}

/** As GantryPluginDesc.get. */
static inline gpointer
proxy_get (gpointer instance, const char *type)
{
  return ((ProxyInstance *)instance)->instance;
}

/** As GantryPluginDesc.fini. */
static inline void
proxy_fini (gpointer instance)
{
  ProxyInstance *self = instance;

  if (self != NULL)
    self->proxy->fini (self->instance);
  g_free (self);
}
