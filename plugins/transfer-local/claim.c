/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "claim.h"

#include <gantry/error.h>

struct _Claims
{
  GMutex lock;
  GCond cond;
  GHashTable *keys;
};

Claims *
claims_new (void)
{
  Claims *self = g_new0 (Claims, 1);

  g_mutex_init (&self->lock);
  g_cond_init (&self->cond);
  self->keys = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  return self;
}

void
claims_free (Claims *self)
{
  if (self == NULL)
    return;
  g_hash_table_unref (self->keys);
  g_mutex_clear (&self->lock);
  g_cond_clear (&self->cond);
  g_free (self);
}

gboolean
claims_try (Claims *self, const char *key)
{
  gboolean ours;

  g_mutex_lock (&self->lock);
  ours = !g_hash_table_contains (self->keys, key) && g_hash_table_add (self->keys, g_strdup (key));
  g_mutex_unlock (&self->lock);
  return ours;
}

static void
on_cancelled (GCancellable *cancellable, gpointer data)
{
  Claims *self = data;

  g_mutex_lock (&self->lock);
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->lock);
}

gboolean
claims_wait (Claims *self, const char *key, GCancellable *cancellable, GError **error)
{
  gulong handler
      = cancellable != NULL ? g_cancellable_connect (cancellable, G_CALLBACK (on_cancelled), self, NULL) : 0;
  gboolean ok = TRUE;

  g_mutex_lock (&self->lock);
  while (ok && g_hash_table_contains (self->keys, key))
    {
      ok = !g_cancellable_set_error_if_cancelled (cancellable, error);
      if (ok)
        g_cond_wait (&self->cond, &self->lock);
    }
  if (ok)
    g_hash_table_add (self->keys, g_strdup (key));
  g_mutex_unlock (&self->lock);
  if (handler != 0)
    g_cancellable_disconnect (cancellable, handler);
  return ok;
}

void
claims_release (Claims *self, const char *key)
{
  g_mutex_lock (&self->lock);
  g_hash_table_remove (self->keys, key);
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->lock);
}
