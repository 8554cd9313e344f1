/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gantry/content.h>
#include <peer.h>

typedef struct
{
  GantryContent content;
  Peer *peer;
  const GantryHost *host;
} ContentProxy;

ContentProxy *content_proxy_new (const GantryHost *host, GError **error);
void content_proxy_free (ContentProxy *self);

/** GantryContent.open_ingest. */
gboolean content_proxy_open_ingest (GantryContent *content, const char *ref, guint64 total,
                                    const char *expected_digest, GantryIngest **ret_ingest,
                                    GCancellable *cancellable, GError **error);
