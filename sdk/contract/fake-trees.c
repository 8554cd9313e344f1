/* SPDX-License-Identifier: MIT */
#include "trees.h"

#include <string.h>

/* What all copies of this file in a process share: a module that began as a fake has one of its own, and
 * whoever mounts its trees has another. */
typedef struct
{
  GMutex lock;
  GHashTable *trees; /* name -> path -> "file:…", "dir" or "link:…"; with lock */
  guint n_trees;     /* ever; with lock */
} Shared;

/* GLib keeps it, under a name. Two copies that ask for the first time at once could each make one: the
 * programs that mount trees ask before there are threads (gantry_trees_init). */
static Shared *
get_shared (void)
{
  static gsize found;

  if (g_once_init_enter (&found))
    {
      const char *name = g_intern_static_string ("gantry-fake-trees");
      Shared *shared = g_dataset_get_data (name, "shared");

      if (shared == NULL)
        {
          shared = g_new0 (Shared, 1);
          g_mutex_init (&shared->lock);
          g_dataset_set_data (name, "shared", shared);
        }
      g_once_init_leave (&found, (gsize)shared);
    }
  return (Shared *)found;
}

void
gantry_fake_trees_lock (void)
{
  Shared *shared = get_shared ();

  g_mutex_lock (&shared->lock);
  if (shared->trees == NULL)
    shared->trees
        = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_hash_table_unref);
}

void
gantry_fake_trees_unlock (void)
{
  Shared *shared = get_shared ();

  /* The last tree takes the table with it, so that nothing is left for a leak check. */
  if (g_hash_table_size (shared->trees) == 0)
    g_clear_pointer (&shared->trees, g_hash_table_unref);
  g_mutex_unlock (&shared->lock);
}

GHashTable *
gantry_fake_tree_get (GPtrArray *mounts)
{
  const GantryMount *mount = mounts->len == 1 ? g_ptr_array_index (mounts, 0) : NULL;

  return mount != NULL && g_strcmp0 (mount->type, "fake") == 0
             ? g_hash_table_lookup (get_shared ()->trees, mount->source)
             : NULL;
}

char *
gantry_fake_tree_new (const char *lower)
{
  GHashTable *tree = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  GHashTable *below;
  char *name;

  gantry_fake_trees_lock ();
  below = lower != NULL ? g_hash_table_lookup (get_shared ()->trees, lower) : NULL;
  if (below != NULL)
    {
      GHashTableIter iter;
      gpointer path, what;

      g_hash_table_iter_init (&iter, below);
      while (g_hash_table_iter_next (&iter, &path, &what))
        g_hash_table_insert (tree, g_strdup (path), g_strdup (what));
    }
  name = g_strdup_printf ("tree-%u", ++get_shared ()->n_trees);
  g_hash_table_insert (get_shared ()->trees, g_strdup (name), tree);
  gantry_fake_trees_unlock ();
  return name;
}

void
gantry_fake_tree_remove (const char *name)
{
  if (name == NULL)
    return;
  gantry_fake_trees_lock ();
  g_hash_table_remove (get_shared ()->trees, name);
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
  tree = name != NULL ? g_hash_table_lookup (get_shared ()->trees, name) : NULL;
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
