/* SPDX-License-Identifier: MIT
 *
 * A snapshotter in memory, for tests of what needs one. Its mounts are of the type "fake" (trees.h), which
 * the fake differ unpacks onto. A snapshot is a copy of its parent. */
#pragma once

#include <gantry/snapshotter.h>

/** Makes an empty one. Returns: (transfer full). */
GantrySnapshotter *gantry_fake_snapshotter_new (void);

/** Accepts NULL. */
void gantry_fake_snapshotter_free (GantrySnapshotter *snapshotter);
