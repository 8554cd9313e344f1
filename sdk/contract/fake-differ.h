/* SPDX-License-Identifier: MIT
 *
 * A differ in memory, for tests of what needs one. It works on trees in memory (trees.h), such as the fake
 * snapshotter's, and reads and writes plain ustar archives of files, directories and symlinks. */
#pragma once

#include <gantry/differ.h>

/** Makes a differ. Returns: (transfer full). */
GantryDiffer *gantry_fake_differ_new (void);

/** Accepts NULL. */
void gantry_fake_differ_free (GantryDiffer *differ);
