/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "content-service.h"

typedef struct
{
  const ContentServiceOps *ops;
  gpointer data;
} ContentService;

/** Returns: (transfer full): the store that @call is about, or NULL with @error. */
GantryContent *content_service_find (ContentService *self, GrpcCall *call, GError **error);

/** Content's Write. @service: the ContentService. */
void content_service_write (GrpcCall *call, gpointer service);
