/* SPDX-License-Identifier: MIT
 *
 * A snapshot index in memory, for tests of snapshotters. */
#pragma once

#include <gantry/snapshot-index.h>

/** Makes an empty index. Returns: (transfer full). */
GantrySnapshotIndex *gantry_fake_snapshot_index_new (void);

/** Accepts NULL. */
void gantry_fake_snapshot_index_free (GantrySnapshotIndex *index);
