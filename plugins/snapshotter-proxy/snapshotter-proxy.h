/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <peer.h>

typedef struct _SnapshotterProxy SnapshotterProxy;

SnapshotterProxy *snapshotter_proxy_new (const GantryHost *host, GError **error);
void snapshotter_proxy_free (SnapshotterProxy *self);
