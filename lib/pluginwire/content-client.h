/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A content store at the other end of a peer, over containerd.services.content.v1.Content.
 */
#pragma once

#include <gantry/content.h>

#include "peer.h"

typedef struct
{
  GantryContent content;
  Peer *peer;
  const GantryHost *host;
} ContentClient;

/** @host: in whose directory blobs that are open are kept. @peer: (transfer full). */
ContentClient *content_client_new (const GantryHost *host, Peer *peer);
void content_client_free (ContentClient *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (ContentClient, content_client_free)

/** GantryContent.open_ingest. */
gboolean content_client_open_ingest (GantryContent *content, const char *ref, guint64 total,
                                     const char *expected_digest, GantryIngest **ret_ingest,
                                     GCancellable *cancellable, GError **error);
