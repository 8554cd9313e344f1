/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Addresses to listen on, as a setting spells them:
 *
 *     unix:path=/run/containerd/containerd.sock[,mode=0660][,gid=999]
 *     tcp:host=127.0.0.1,port=2376[,certificate=/x.pem,key=/x.key[,client-ca=/ca.pem]] */
#pragma once

#include <grpc-server.h>

/** Listens on @address. *@ret_shown: (transfer full): the address without its details. Errors:
 * INVALID_ARGUMENT; of listening. */
gboolean address_listen (GrpcServer *server, const char *address, char **ret_shown, GError **error);
