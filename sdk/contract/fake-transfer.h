/* SPDX-License-Identifier: MIT
 *
 * Transfer in memory, for tests of frontends. Its archives are a line "fake image <name>", which imports as
 * an image of that name; there are no layers, and no registries. */
#pragma once

#include <gantry/transfer.h>

/** Makes one whose images are in @metadata, which outlives it. Returns: (transfer full). */
GantryTransfer *gantry_fake_transfer_new (GantryMetadata *metadata);

/** Accepts NULL. */
void gantry_fake_transfer_free (GantryTransfer *transfer);
