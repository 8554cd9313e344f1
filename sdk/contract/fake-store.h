/* SPDX-License-Identifier: MIT
 *
 * A store in memory: each namespace has a fake of content and of a snapshotter of its own, and nothing is
 * ever garbage. */
#pragma once

#include <gantry/store.h>

/** Makes an empty one. Returns: (transfer full). */
GantryStore *gantry_fake_store_new (void);

/** Accepts NULL. */
void gantry_fake_store_free (GantryStore *store);
