/* SPDX-License-Identifier: MIT */
#include "trees.h"

#include <string.h>

static GMutex lock;
static GHashTable *trees; /* name -> path -> "file:…", "dir" or "link:…"; with lock */
static guint n_trees;     /* ever; with lock */

void
gantry_fake_trees_lock (void)
{
  g_mutex_lock (&lock);
  if (trees == NULL)
    trees = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_hash_table_unref);
}

void
gantry_fake_trees_unlock (void)
{
  /* The last tree takes the table with it, so that nothing is left for a leak check. */
  if (g_hash_table_size (trees) == 0)
    g_clear_pointer (&trees, g_hash_table_unref);
  g_mutex_unlock (&lock);
}

GHashTable *
gantry_fake_tree_get (GPtrArray *mounts)
{
  const GantryMount *mount = mounts->len == 1 ? g_ptr_array_index (mounts, 0) : NULL;

  return mount != NULL && g_strcmp0 (mount->type, "fake") == 0 ? g_hash_table_lookup (trees, mount->source)
                                                               : NULL;
}

char *
gantry_fake_tree_new (const char *lower)
{
  GHashTable *tree = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  GHashTable *below;
  char *name;

  gantry_fake_trees_lock ();
  below = lower != NULL ? g_hash_table_lookup (trees, lower) : NULL;
  if (below != NULL)
    {
      GHashTableIter iter;
      gpointer path, what;

      g_hash_table_iter_init (&iter, below);
      while (g_hash_table_iter_next (&iter, &path, &what))
        g_hash_table_insert (tree, g_strdup (path), g_strdup (what));
    }
  name = g_strdup_printf ("tree-%u", ++n_trees);
  g_hash_table_insert (trees, g_strdup (name), tree);
  gantry_fake_trees_unlock ();
  return name;
}

void
gantry_fake_tree_remove (const char *name)
{
  if (name == NULL)
    return;
  gantry_fake_trees_lock ();
  g_hash_table_remove (trees, name);
  gantry_fake_trees_unlock ();
}

void
gantry_fake_tree_usage (const char *name, guint64 *ret_bytes, guint64 *ret_inodes)
{
  GHashTableIter iter;
  GHashTable *tree;
  gpointer what;

  *ret_bytes = 0;
  *ret_inodes = 1;
  gantry_fake_trees_lock ();
  tree = name != NULL ? g_hash_table_lookup (trees, name) : NULL;
  if (tree != NULL)
    g_hash_table_iter_init (&iter, tree);
  while (tree != NULL && g_hash_table_iter_next (&iter, NULL, &what))
    {
      *ret_bytes += strlen (what);
      *ret_inodes += 1;
    }
  gantry_fake_trees_unlock ();
}

GPtrArray *
gantry_fake_tree_mounts (const char *name, gboolean writable)
{
  const char *const options[] = { writable ? "rw" : "ro", NULL };
  GPtrArray *mounts = g_ptr_array_new_with_free_func (gantry_value_unref);

  g_ptr_array_add (mounts, gantry_mount_new ("fake", name, NULL, options));
  return mounts;
}
