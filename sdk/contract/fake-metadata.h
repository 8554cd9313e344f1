/* SPDX-License-Identifier: MIT
 *
 * Metadata in memory, for tests of services. Every transaction works on a copy of everything. */
#pragma once

#include <gantry/metadata.h>

/** Makes an empty store that announces its changes in @log, which outlives it. Returns: (transfer full). */
GantryMetadata *gantry_fake_metadata_new (GantryEventLog *log);

/** Accepts NULL. */
void gantry_fake_metadata_free (GantryMetadata *metadata);
