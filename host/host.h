/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What gantry-plugin-host serves: one interface of one plugin, as containerd's services of proxy plugins. The
 * names of snapshotters and namespaces in requests are not looked at: there is one of each here.
 */
#pragma once

#include <grpc-server.h>

/** Adds the service for @instance, which is a GantrySnapshotter. */
gboolean host_serve_snapshotter (GrpcServer *server, gpointer instance, GError **error);

/** Adds the service for @instance, which is a GantryContent. */
gboolean host_serve_content (GrpcServer *server, gpointer instance, GError **error);

/** Content's Write. */
void host_write_content (GrpcCall *call, gpointer content);

/** The message that has @infos (of value types). Returns: (transfer full). */
typedef GBytes *(*HostPackFunc) (GPtrArray *infos);

/** A list that is sent in messages of some infos each. */
typedef struct
{
  HostPackFunc pack;
  GPtrArray *messages;
  GPtrArray *infos; /* of the message that is being filled */
} HostList;

HostList host_list_new (HostPackFunc pack);
/** Takes a reference to @info. */
void host_list_add (HostList *self, gpointer info);
/** Sends all of it as the peer reads it, then ends @call with OK; with @error (nullable) only ends it. Frees
 * what @self has. */
void host_list_send (HostList *self, GrpcCall *call, const GError *error);
