/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * containerd.services.content.v1.Content over content stores of ours: for gantry-plugin-host, which serves
 * one, and for differ-proxy, which serves each call's to the differ that works on it.
 */
#pragma once

#include <gantry/content.h>
#include <grpc-server.h>

typedef struct
{
  /** The store that @call is about. On a worker. Returns: (transfer full), or NULL with @error. */
  GantryContent *(*find) (GrpcCall *call, gpointer data, GError **error);

  /** (nullable): as much as @offset of a blob was read by @call. On a worker. */
  void (*did_read) (GrpcCall *call, guint64 offset, gpointer data);
} ContentServiceOps;

/** Adds the service. @ops and @data live as long as @server. Errors: ALREADY_EXISTS. */
gboolean content_service_add (GrpcServer *server, const ContentServiceOps *ops, gpointer data,
                              GError **error);
