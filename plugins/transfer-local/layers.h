/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The layers of one image into snapshots. A committed snapshot is named by the chain ID of the layers up to
 * it, so images that share layers share snapshots. Where the snapshotter can rebase, layers are unpacked as
 * they arrive, several at once, and only committed in order; elsewhere one after the other. A chain that is
 * wanted by several at once is unpacked by one of them. */
#pragma once

#include "progress.h"
#include "transfer-local.h"

typedef struct _Layers Layers;

/** Prepares to unpack @image for the namespace @ns. Everything is borrowed until layers_free (),
 * @snapshotter_id too. */
Layers *layers_new (TransferLocal *transfer, Progress *progress, const char *ns, GantryContent *content,
                    GantrySnapshotter *snapshotter, const char *snapshotter_id, OciImage *image);
/** The blob of the layer @index is in the content store. MT-safe. */
void layers_arrived (Layers *self, guint index);
/** @ingest, of the layer @index, has @bytes now, and more may come: a large layer is unpacked meanwhile.
 * MT-safe. */
void layers_grew (Layers *self, guint index, GantryIngest *ingest, guint64 bytes);
/** Ends run () with @error: some layer will not arrive. MT-safe. */
void layers_fail (Layers *self, const GError *error);
/** Unpacks them all; returns when the topmost is committed. @cancellable: (nullable). Errors: those of
 * differ, snapshotter and metadata; DATA_LOSS (a DiffID differs). */
gboolean layers_run (Layers *self, GCancellable *cancellable, GError **error);
/** Waits for what still runs; call it after run (), or instead of it. */
void layers_free (Layers *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Layers, layers_free)
