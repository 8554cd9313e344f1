/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Listening sockets.
 */
#pragma once

#include <gio/gio.h>
#include <sys/types.h>

/** Binds and listens on the unix socket @path, as grpc_server_listen_unix () says. Returns: a non-blocking
 * fd, or -1. */
int grpc_listen_unix (const char *path, mode_t mode, gid_t gid, GError **error);

/** The same for TCP. */
int grpc_listen_tcp (const char *host, guint16 port, guint16 *ret_port, GError **error);
