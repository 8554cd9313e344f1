/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host.h"

#include <content-service.h>

static GantryContent *
find (GrpcCall *call, gpointer data, GError **error)
{
  return gantry_content_ref (data);
}

static const ContentServiceOps ops = { .find = find };

gboolean
host_serve_content (GrpcServer *server, const Hosted *hosted, GError **error)
{
  return content_service_add (server, &ops, hosted->instance, error);
}
