/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gantry/metadata.h>
#include <gantry/snapshot-index.h>

/** Puts one thing of each kind into an empty database. */
void populate (GantryMetadata *metadata, GantrySnapshotIndex *index);

/* @labels: (nullable): names and values by turns, NULL-terminated. Any failure ends the program. */
void populate_put (GantryMetadata *metadata, const char *kind, const char *ns, const char *id,
                   const char *const *labels, GVariant *fields);
void populate_delete (GantryMetadata *metadata, const char *kind, const char *ns, const char *id);
void populate_lease (GantryMetadata *metadata, const char *ns, const char *lease, const char *kind,
                     const char *id, gboolean add);

/* The fields of an image, a blob and a snapshot. */
GVariant *populate_target (const char *digest);
GVariant *populate_size (guint64 size);
GVariant *populate_snapshot (GantrySnapshotKind kind, const char *parent, const char *backend);
