/* SPDX-License-Identifier: MIT */
#include "fake-mounts.h"

#include <string.h>

#include "fake-support.h"

typedef struct
{
  GantryMounts mounts;
  GMutex lock;
  GHashTable *activations; /* "ns/name" -> GantryActivation */
} FakeMounts;

static char *
key_of (const char *ns, const char *name)
{
  return g_strconcat (ns, "/", name, NULL);
}

static gboolean
throw_absent (const char *name, GError **error)
{
  return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "mount \"%s\": not found", name);
}

/* As a fake that mounts nothing can: only that everything is mounted is known. */
static gboolean
check_mounts (GPtrArray *mounts, gboolean temporary, GError **error)
{
  if (mounts->len == 0)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "an activation has mounts");
  for (guint i = 0; i < mounts->len; i++)
    {
      const GantryMount *mount = g_ptr_array_index (mounts, i);
      const char *slash = strchr (mount->type, '/');

      if (slash != NULL && !g_str_has_prefix (mount->type, "format/"))
        return gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED,
                             "the transform of \"%s\" is not implemented", mount->type);
      if (slash != NULL && strstr (mount->source, "{{") != NULL)
        return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "\"%s\" is not known", mount->source);
    }
  return temporary
         || gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED, "these mounts need nobody but the system");
}

static GantryActivation *
make_activation (const char *ns, const char *name, GPtrArray *mounts, GVariant *labels)
{
  static const char *const options[] = { "rbind", NULL };
  GantryActivation *activation = gantry_activation_new (name, labels);

  activation->ns = g_strdup (ns);
  activation->created_ns = activation->updated_ns = gantry_now_ns ();
  for (guint i = 0; i < mounts->len; i++)
    {
      g_autofree char *point = g_strdup_printf ("/fake/%s/%u", name, i);

      g_ptr_array_add (activation->active,
                       gantry_active_mount_new (g_ptr_array_index (mounts, i), point, gantry_now_ns ()));
      if (i + 1 == mounts->len)
        g_ptr_array_add (activation->system, gantry_mount_new ("bind", point, NULL, options));
    }
  return activation;
}

static gboolean
fake_activate (GantryMounts *mounts, const char *ns, const char *name, GPtrArray *list, GVariant *options,
               GantryActivation **ret_activation, GCancellable *cancellable, GError **error)
{
  FakeMounts *self = (FakeMounts *)mounts;
  g_autoptr (GVariant) held = options != NULL ? g_variant_ref_sink (options) : NULL;
  g_autoptr (GVariant) labels
      = held != NULL ? g_variant_lookup_value (held, "labels", G_VARIANT_TYPE ("a{ss}")) : NULL;
  g_autofree char *key = key_of (ns, name);
  gboolean temporary = FALSE, taken;

  if (held != NULL)
    g_variant_lookup (held, "temporary", "b", &temporary);
  if (!check_mounts (list, temporary, error))
    return FALSE;
  g_mutex_lock (&self->lock);
  taken = g_hash_table_contains (self->activations, key);
  if (!taken)
    {
      *ret_activation = make_activation (ns, name, list, labels);
      g_hash_table_insert (self->activations, g_steal_pointer (&key),
                           gantry_activation_ref (*ret_activation));
    }
  g_mutex_unlock (&self->lock);
  return !taken || gantry_throw (error, GANTRY_ERROR_ALREADY_EXISTS, "mount \"%s\": already exists", name);
}

static gboolean
fake_deactivate (GantryMounts *mounts, const char *ns, const char *name, GCancellable *cancellable,
                 GError **error)
{
  FakeMounts *self = (FakeMounts *)mounts;
  g_autofree char *key = key_of (ns, name);
  gboolean there;

  g_mutex_lock (&self->lock);
  there = g_hash_table_remove (self->activations, key);
  g_mutex_unlock (&self->lock);
  return there || throw_absent (name, error);
}

static gboolean
fake_get (GantryMounts *mounts, const char *ns, const char *name, GantryActivation **ret_activation,
          GCancellable *cancellable, GError **error)
{
  FakeMounts *self = (FakeMounts *)mounts;
  g_autofree char *key = key_of (ns, name);
  GantryActivation *found;

  g_mutex_lock (&self->lock);
  found = g_hash_table_lookup (self->activations, key);
  if (found != NULL)
    *ret_activation = gantry_activation_ref (found);
  g_mutex_unlock (&self->lock);
  return found != NULL || throw_absent (name, error);
}

static gboolean
fake_update (GantryMounts *mounts, const char *ns, const char *name, GVariant *labels,
             const char *const *mask, GantryActivation **ret_activation, GCancellable *cancellable,
             GError **error)
{
  FakeMounts *self = (FakeMounts *)mounts;
  g_autoptr (GVariant) held = labels != NULL ? g_variant_ref_sink (labels) : NULL;
  g_autoptr (GantryActivation) found = NULL, updated = NULL;
  g_autoptr (GVariant) merged = NULL;

  if (!gantry_fake_labels_check (held, mask, error)
      || !fake_get (mounts, ns, name, &found, cancellable, error))
    return FALSE;
  merged = gantry_fake_labels_merge (found->labels, held, mask);
  updated = gantry_activation_new (name, merged);
  updated->ns = g_strdup (ns);
  updated->created_ns = found->created_ns;
  updated->updated_ns = gantry_now_ns ();
  for (guint i = 0; i < found->active->len; i++)
    g_ptr_array_add (updated->active, gantry_active_mount_ref (g_ptr_array_index (found->active, i)));
  for (guint i = 0; i < found->system->len; i++)
    g_ptr_array_add (updated->system, gantry_mount_ref (g_ptr_array_index (found->system, i)));
  g_mutex_lock (&self->lock);
  g_hash_table_insert (self->activations, key_of (ns, name), gantry_activation_ref (updated));
  g_mutex_unlock (&self->lock);
  if (ret_activation != NULL)
    *ret_activation = g_steal_pointer (&updated);
  return TRUE;
}

static const char *
field_of (char **path, gpointer object)
{
  GantryActivation *activation = object;

  if (strcmp (path[0], "labels") == 0 && path[1] != NULL)
    return gantry_labels_lookup (activation->labels, path[1]);
  return strcmp (path[0], "name") == 0 ? activation->name : NULL;
}

static gboolean
fake_list (GantryMounts *mounts, const char *ns, const char *const *filters, GantryActivationFunc func,
           gpointer user_data, GCancellable *cancellable, GError **error)
{
  FakeMounts *self = (FakeMounts *)mounts;
  g_autoptr (GantryFakeFilter) filter = gantry_fake_filter_new (filters, error);
  g_autoptr (GPtrArray) found = g_ptr_array_new_with_free_func (gantry_value_unref);
  g_autofree char *prefix = ns != NULL ? key_of (ns, "") : g_strdup ("");
  GHashTableIter iter;
  gpointer key, value;

  if (filter == NULL)
    return FALSE;
  g_mutex_lock (&self->lock);
  g_hash_table_iter_init (&iter, self->activations);
  while (g_hash_table_iter_next (&iter, &key, &value))
    if (g_str_has_prefix (key, prefix) && gantry_fake_filter_match (filter, field_of, value))
      g_ptr_array_add (found, gantry_activation_ref (value));
  g_mutex_unlock (&self->lock);
  for (guint i = 0; i < found->len && func (g_ptr_array_index (found, i), user_data); i++)
    ;
  return TRUE;
}

static const GantryMountsVtable vtable = {
  .size = sizeof vtable,
  .activate = fake_activate,
  .deactivate = fake_deactivate,
  .get = fake_get,
  .update = fake_update,
  .list = fake_list,
};

GantryMounts *
gantry_fake_mounts_new (void)
{
  FakeMounts *self = g_new0 (FakeMounts, 1);

  self->mounts.vtable = &vtable;
  g_mutex_init (&self->lock);
  self->activations = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, gantry_value_unref);
  return &self->mounts;
}

void
gantry_fake_mounts_free (GantryMounts *mounts)
{
  FakeMounts *self = (FakeMounts *)mounts;

  if (self == NULL)
    return;
  g_hash_table_unref (self->activations);
  g_mutex_clear (&self->lock);
  g_free (self);
}
