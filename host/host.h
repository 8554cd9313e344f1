/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What gantry-plugin-host serves: one interface of one plugin, as containerd's services of proxy plugins. The
 * names of snapshotters in requests are not looked at, there is one; nor are namespaces, but by a differ,
 * which asks for blobs in the namespace (and under the lease) of its caller.
 */
#pragma once

#include <gantry/plugin.h>
#include <grpc-server.h>

/** Adds the names of what @instance can do beyond the protocol (beyond.h). */
typedef void (*HostCapabilities) (gpointer instance, GPtrArray *names);

/** One interface of the plugin. */
typedef struct
{
  const GantryHost *host; /**< the plugin's */
  gpointer instance;
  const char *content_address;   /**< (nullable): --content */
  const char *type;              /**< as containerd spells it */
  HostCapabilities capabilities; /**< (nullable) */
} Hosted;

/** Adds the service for a GantrySnapshotter. */
gboolean host_serve_snapshotter (GrpcServer *server, const Hosted *hosted, GError **error);

/** Adds the service for a GantryContent. */
gboolean host_serve_content (GrpcServer *server, const Hosted *hosted, GError **error);

/** Adds the service for a GantryDiffer. Errors: INVALID_ARGUMENT: no --content. */
gboolean host_serve_differ (GrpcServer *server, const Hosted *hosted, GError **error);

/** Adds the introspection service, which tells of @hosted (of Hosted) as plugins. */
gboolean host_serve_introspection (GrpcServer *server, GPtrArray *hosted, GError **error);

/** HostCapabilities of a GantrySnapshotter and of a GantryDiffer. */
void host_snapshotter_capabilities (gpointer instance, GPtrArray *names);
void host_differ_capabilities (gpointer instance, GPtrArray *names);
