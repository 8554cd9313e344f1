/* SPDX-License-Identifier: MIT */
#include "fake-store.h"

#include <string.h>

#include "fake-content.h"
#include "fake-snapshotter.h"

#define SNAPSHOTTER_ID "fake"

typedef struct
{
  GantryContent *content;
  GantrySnapshotter *snapshotter;
} Space;

typedef struct
{
  GantryStore store;
  GMutex lock;
  GHashTable *spaces; /* namespace -> Space; with lock */
} FakeStore;

static void
space_free (gpointer data)
{
  Space *self = data;

  gantry_fake_content_free (self->content);
  gantry_fake_snapshotter_free (self->snapshotter);
  g_free (self);
}

/* Returns: (transfer none). */
static Space *
get_space (FakeStore *self, const char *ns)
{
  Space *space;

  g_mutex_lock (&self->lock);
  space = g_hash_table_lookup (self->spaces, ns);
  if (space == NULL)
    {
      space = g_new (Space, 1);
      *space = (Space){ gantry_fake_content_new (), gantry_fake_snapshotter_new () };
      g_hash_table_insert (self->spaces, g_strdup (ns), space);
    }
  g_mutex_unlock (&self->lock);
  return space;
}

static gboolean
check_namespace (const char *ns, GError **error)
{
  return g_regex_match_simple ("\\A[A-Za-z0-9]+([._-][A-Za-z0-9]+)*\\z", ns, 0, 0)
         || gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "\"%s\" is not a namespace", ns);
}

static gboolean
open_content (GantryStore *store, const char *ns, const char *lease, const char *content_id,
              GantryContent **ret_content, GCancellable *cancellable, GError **error)
{
  (void)lease;
  (void)cancellable;
  if (!check_namespace (ns, error))
    return FALSE;
  if (content_id != NULL)
    return gantry_throw (error, GANTRY_ERROR_UNAVAILABLE, "there is no content store %s", content_id);
  *ret_content = get_space ((FakeStore *)store, ns)->content;
  return TRUE;
}

static gboolean
open_snapshotter (GantryStore *store, const char *ns, const char *lease, const char *snapshotter,
                  GantrySnapshotter **ret_snapshotter, char **ret_id, GCancellable *cancellable,
                  GError **error)
{
  (void)lease;
  (void)cancellable;
  if (!check_namespace (ns, error))
    return FALSE;
  if (snapshotter != NULL && strcmp (snapshotter, SNAPSHOTTER_ID) != 0)
    return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "there is no snapshotter %s; there is %s",
                         snapshotter, SNAPSHOTTER_ID);
  *ret_snapshotter = get_space ((FakeStore *)store, ns)->snapshotter;
  if (ret_id != NULL)
    *ret_id = g_strdup (SNAPSHOTTER_ID);
  return TRUE;
}

static gboolean
collect (GantryStore *store, gboolean dry_run, GPtrArray **ret_garbage, GCancellable *cancellable,
         GError **error)
{
  (void)store;
  (void)dry_run;
  (void)cancellable;
  (void)error;
  if (ret_garbage != NULL)
    *ret_garbage = g_ptr_array_new_with_free_func (gantry_value_unref);
  return TRUE;
}

static gboolean
check (GantryStore *store, gboolean repair, char ***ret_problems, GCancellable *cancellable, GError **error)
{
  (void)store;
  (void)repair;
  (void)cancellable;
  (void)error;
  *ret_problems = g_new0 (char *, 1);
  return TRUE;
}

/* Nothing waits here. */
static gboolean
relax (GantryStore *store, GantryContent *content, GantrySnapshotter *snapshotter, GCancellable *cancellable,
       GError **error)
{
  (void)store;
  (void)content;
  (void)snapshotter;
  (void)cancellable;
  (void)error;
  return TRUE;
}

static const GantryStoreVtable vtable = {
  .size = sizeof vtable,
  .open_content = open_content,
  .open_snapshotter = open_snapshotter,
  .collect = collect,
  .check = check,
  .relax = relax,
};

GantryStore *
gantry_fake_store_new (void)
{
  FakeStore *self = g_new0 (FakeStore, 1);

  self->store.vtable = &vtable;
  g_mutex_init (&self->lock);
  self->spaces = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, space_free);
  return &self->store;
}

void
gantry_fake_store_free (GantryStore *store)
{
  FakeStore *self = (FakeStore *)store;

  if (self == NULL)
    return;
  g_hash_table_unref (self->spaces);
  g_mutex_clear (&self->lock);
  g_free (self);
}
