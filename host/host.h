/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What gantry-plugin-host serves: one interface of one plugin, as containerd's services of proxy plugins. The names of snapshotters and
 * namespaces in requests are not looked at: there is one of each here.
 */
#pragma once

#include <grpc-server.h>

/** Adds the service for @instance, which is a GantrySnapshotter. */
gboolean host_serve_snapshotter (GrpcServer *server, gpointer instance, GError **error);

/** Adds the service for @instance, which is a GantryContent. */
gboolean host_serve_content (GrpcServer *server, gpointer instance, GError **error);

/** Content's Write. */
void host_write_content (GrpcCall *call, gpointer content);

/** Sends @messages (element-type GBytes; taken over) as the peer reads them, then ends @call with OK. */
void host_send_all (GrpcCall *call, GPtrArray *messages);
