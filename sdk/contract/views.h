/* SPDX-License-Identifier: MIT
 *
 * The store's views are held to the contracts of content and snapshotters. */
#pragma once

#include "contract.h"

/** Adds the suites of content and of snapshotters below @prefix, on views of the store that @open opens. */
void gantry_views_add (const char *prefix, GantryContractOpen open, GantryContractClose close,
                       gpointer user_data);
