/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "progress.h"

#include <string.h>

/* The jobs service tells its watchers no more than ten times a second. */
#define INTERVAL_US 50000
/* A hostile manifest has no more items than this in the daemon's messages. */
#define MAX_ITEMS 1000

typedef struct
{
  const char *state;
  guint64 bytes;
  guint64 total;
  guint64 in_whole; /* what of it is counted in the whole's bytes */
  gboolean counted;
  gboolean changed;
} Item;

struct _Progress
{
  GMutex lock;
  GantryJob *job;
  GHashTable *items; /* name -> Item */
  GPtrArray *objects;
  guint64 bytes; /* of all counted items */
  guint64 total;
  gboolean counts; /* there are counted items: else the whole's bytes are somebody else's to tell */
  gint64 told_us;
};

Progress *
progress_new (GantryJob *job)
{
  Progress *self = g_new0 (Progress, 1);

  g_mutex_init (&self->lock);
  self->job = job != NULL ? gantry_job_ref (job) : NULL;
  self->items = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  self->objects = g_ptr_array_new_with_free_func (g_free);
  return self;
}

static GVariant *
changed_items (Progress *self)
{
  GVariantBuilder items;
  GHashTableIter iter;
  gpointer name, value;

  g_variant_builder_init (&items, G_VARIANT_TYPE ("a{sa{sv}}"));
  g_hash_table_iter_init (&iter, self->items);
  while (g_hash_table_iter_next (&iter, &name, &value))
    {
      Item *item = value;
      GVariantDict dict;

      if (!item->changed)
        continue;
      item->changed = FALSE;
      g_variant_dict_init (&dict, NULL);
      g_variant_dict_insert (&dict, "state", "s", item->state);
      g_variant_dict_insert (&dict, "bytes", "t", item->bytes);
      g_variant_dict_insert (&dict, "total-bytes", "t", item->total);
      g_variant_builder_add (&items, "{s@a{sv}}", name, g_variant_dict_end (&dict));
    }
  return g_variant_builder_end (&items);
}

/* With the lock. */
static void
tell (Progress *self, gboolean now)
{
  gint64 at = g_get_monotonic_time ();
  GVariantDict changes;

  if (self->job == NULL || (!now && at - self->told_us < INTERVAL_US))
    return;
  self->told_us = at;
  g_variant_dict_init (&changes, NULL);
  if (self->counts)
    {
      g_variant_dict_insert (&changes, "bytes", "t", self->bytes);
      g_variant_dict_insert (&changes, "total-bytes", "t", self->total);
    }
  g_variant_dict_insert_value (&changes, "items", changed_items (self));
  gantry_job_update (self->job, g_variant_dict_end (&changes));
}

void
progress_free (Progress *self)
{
  if (self == NULL)
    return;
  g_mutex_lock (&self->lock);
  tell (self, TRUE);
  g_mutex_unlock (&self->lock);
  gantry_job_unref (self->job);
  g_hash_table_unref (self->items);
  g_ptr_array_unref (self->objects);
  g_mutex_clear (&self->lock);
  g_free (self);
}

void
progress_phase (Progress *self, const char *phase)
{
  GVariantDict changes;

  g_variant_dict_init (&changes, NULL);
  g_variant_dict_insert (&changes, "phase", "s", phase);
  gantry_job_update (self->job, g_variant_dict_end (&changes));
}

void
progress_steps (Progress *self, guint steps, guint total)
{
  GVariantDict changes;

  g_variant_dict_init (&changes, NULL);
  g_variant_dict_insert (&changes, "steps", "u", steps);
  g_variant_dict_insert (&changes, "total-steps", "u", total);
  gantry_job_update (self->job, g_variant_dict_end (&changes));
}

void
progress_object (Progress *self, const char *object)
{
  GVariantDict changes;

  g_variant_dict_init (&changes, NULL);
  g_mutex_lock (&self->lock);
  g_ptr_array_add (self->objects, g_strdup (object));
  g_variant_dict_insert_value (&changes, "objects",
                               g_variant_new_strv ((const char *const *)self->objects->pdata,
                                                   (gssize)self->objects->len));
  g_mutex_unlock (&self->lock);
  gantry_job_update (self->job, g_variant_dict_end (&changes));
}

/* With the lock. */
static void
set_bytes (Progress *self, Item *item, guint64 bytes)
{
  item->bytes = bytes;
  if (!item->counted)
    return;
  self->bytes += bytes - item->in_whole;
  item->in_whole = bytes;
}

void
progress_item (Progress *self, const char *name, const char *state, guint64 total, gboolean counted)
{
  Item *item;

  g_mutex_lock (&self->lock);
  item = g_hash_table_lookup (self->items, name);
  if (item == NULL && g_hash_table_size (self->items) < MAX_ITEMS)
    {
      item = g_new0 (Item, 1);
      g_hash_table_insert (self->items, g_strdup (name), item);
    }
  if (item != NULL)
    {
      if (counted && !item->counted)
        {
          item->counted = self->counts = TRUE;
          self->total += total;
        }
      if (total != 0)
        item->total = total;
      item->state = g_intern_string (state);
      if (strcmp (state, "unpacking") == 0)
        item->bytes = 0;
      else if (strcmp (state, "exists") == 0 || strcmp (state, "done") == 0)
        set_bytes (self, item, item->total);
      item->changed = TRUE;
      tell (self, TRUE);
    }
  g_mutex_unlock (&self->lock);
}

void
progress_bytes (Progress *self, const char *name, guint64 bytes)
{
  Item *item;

  g_mutex_lock (&self->lock);
  item = g_hash_table_lookup (self->items, name);
  if (item != NULL)
    {
      /* What is unpacked was counted when it came. */
      if (strcmp (item->state, "unpacking") != 0)
        set_bytes (self, item, bytes);
      item->bytes = bytes;
      item->changed = TRUE;
      tell (self, FALSE);
    }
  g_mutex_unlock (&self->lock);
}
