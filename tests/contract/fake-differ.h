/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A differ in memory, for tests of what needs one: its trees are tables of names, and a mount is of type
 * "fake" with the tree's name as its source. It reads and writes plain ustar archives of files, directories
 * and symlinks.
 */
#pragma once

#include <gantry/differ.h>

/** Makes a differ. Returns: (transfer full). */
GantryDiffer *gantry_fake_differ_new (void);

/** Accepts NULL. */
void gantry_fake_differ_free (GantryDiffer *differ);

/** Makes an empty tree, or one with all that is in the one at @lower (nullable). Returns: (transfer full)
 * (element-type GantryMount). */
GPtrArray *gantry_fake_differ_make_tree (GantryDiffer *differ, GPtrArray *lower);

/** What is at @path of the tree: "file:<contents>", "dir", "link:<target>" or NULL. Returns: (transfer full)
 * (nullable). */
char *gantry_fake_differ_look (GantryDiffer *differ, GPtrArray *mounts, const char *path);
