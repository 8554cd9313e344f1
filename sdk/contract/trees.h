/* SPDX-License-Identifier: MIT
 *
 * Files behind mounts
 * -------------------
 * Suites write and read files in what snapshotters describe by mounts. Mounts of the type "fake" are trees in
 * memory, made by the fakes; all others are mounted for a moment, which takes root, in the mount namespace of
 * this process.
 */
#pragma once

#include <gantry/types.h>

G_BEGIN_DECLS

/** Gives this process a mount namespace of its own. To be called before there are threads. */
void gantry_trees_init (void);

/** Whether @mounts can be looked into here; if not, the case is marked as skipped and shall return. */
gboolean gantry_trees_can_mount (GPtrArray *mounts);

/** What is at @path: "file:<contents>", "dir", "link:<target>", or NULL if nothing is. @point: a directory to
 * mount on, made if it is absent. Returns: (transfer full) (nullable). */
char *gantry_trees_look (GPtrArray *mounts, const char *point, const char *path);

/** Writes the file @path, whose directories are made. Returns: FALSE if the file system is read-only. */
gboolean gantry_trees_write (GPtrArray *mounts, const char *point, const char *path, const char *text);

/** Removes the file @path. */
void gantry_trees_remove (GPtrArray *mounts, const char *point, const char *path);

/* Trees in memory. A tree is a table of path to "file:…", "dir" or "link:…". */

/** Makes a tree, as a copy of the one named @lower (nullable: empty). Returns: (transfer full): its name. */
char *gantry_fake_tree_new (const char *lower);

/** Forgets the tree @name. */
void gantry_fake_tree_remove (const char *name);

/** Bytes and files of the tree @name. */
void gantry_fake_tree_usage (const char *name, guint64 *ret_bytes, guint64 *ret_inodes);

/** The mounts of the tree @name. Returns: (transfer full) (element-type GantryMount). */
GPtrArray *gantry_fake_tree_mounts (const char *name, gboolean writable);

/** Holds all trees while one is worked on. */
void gantry_fake_trees_lock (void);
void gantry_fake_trees_unlock (void);

/** The tree of @mounts, with the lock held. Returns: (transfer none) (nullable). */
GHashTable *gantry_fake_tree_get (GPtrArray *mounts);

G_END_DECLS
