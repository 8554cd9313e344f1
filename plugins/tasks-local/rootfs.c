/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Root file systems that a runtime can't mount by itself: the mounts service does its part, under the
 * container's id, and lets go of it when the task is removed, or the container. */
#include "tasks-local.h"

#include <string.h>

#define HOLDER_LABEL "containerd.io/gc.bref.container"

/* A transform, or a loop device. */
static gboolean
needs_service (GPtrArray *mounts)
{
  for (guint i = 0; i < mounts->len; i++)
    {
      const char *type = ((GantryMount *)g_ptr_array_index (mounts, i))->type;

      if (strchr (type, '/') != NULL || strcmp (type, "loop") == 0)
        return TRUE;
    }
  return FALSE;
}

GPtrArray *
rootfs_activate (TasksLocal *self, const char *ns, const char *id, GPtrArray *mounts,
                 GCancellable *cancellable, GError **error)
{
  g_autoptr (GantryActivation) activation = NULL;
  g_autoptr (GError) local = NULL;
  GVariantBuilder labels;
  GVariantDict options;
  GantryMounts *service;

  if (mounts == NULL || !needs_service (mounts))
    return mounts != NULL ? g_ptr_array_ref (mounts) : NULL;
  service = gantry_host_lookup (self->host, GANTRY_MOUNTS_TYPE, NULL, NULL);
  if (service == NULL)
    {
      gantry_throw (
          error, GANTRY_ERROR_UNAVAILABLE,
          "container %s has mounts for which the mounts service is needed; see `gantry plugin list`", id);
      return NULL;
    }
  g_variant_builder_init (&labels, G_VARIANT_TYPE ("a{ss}"));
  g_variant_builder_add (&labels, "{ss}", HOLDER_LABEL, id);
  g_variant_dict_init (&options, NULL);
  g_variant_dict_insert_value (&options, "labels", g_variant_builder_end (&labels));
  g_mutex_lock (&self->lock);
  g_hash_table_add (self->activated, g_strconcat (ns, "/", id, NULL));
  g_mutex_unlock (&self->lock);
  if (gantry_mounts_activate (service, ns, id, mounts, g_variant_dict_end (&options), &activation,
                              cancellable, &local)
      /* By an earlier try, or by the client itself. */
      || (gantry_error_is (local, GANTRY_ERROR_ALREADY_EXISTS)
          && gantry_mounts_get (service, ns, id, &activation, cancellable, error)))
    return g_ptr_array_ref (activation->system);
  if (error == NULL || *error == NULL)
    g_propagate_prefixed_error (error, g_steal_pointer (&local), "container %s: ", id);
  return NULL;
}

typedef struct
{
  TasksLocal *self;
  char *ns;
  char *id;
} Release;

static void
release_free (gpointer data)
{
  Release *release = data;

  g_free (release->ns);
  g_free (release->id);
  g_free (release);
}

static void
run_release (gpointer data, gpointer unused)
{
  Release *release = data;
  GantryMounts *service = gantry_host_lookup (release->self->host, GANTRY_MOUNTS_TYPE, NULL, NULL);
  g_autoptr (GError) error = NULL;

  if (service != NULL && !gantry_mounts_deactivate (service, release->ns, release->id, NULL, &error)
      && !gantry_error_is (error, GANTRY_ERROR_NOT_FOUND))
    gantry_host_log (release->self->host, GANTRY_LOG_WARNING, "the mounts of container %s stay: %s",
                     release->id, error->message);
}

void
rootfs_release (TasksLocal *self, const char *ns, const char *id)
{
  g_autofree char *key = g_strconcat (ns, "/", id, NULL);
  Release *release;
  gboolean known;

  g_mutex_lock (&self->lock);
  known = g_hash_table_remove (self->activated, key);
  g_mutex_unlock (&self->lock);
  if (!known)
    return;
  release = g_new (Release, 1);
  *release = (Release){ self, g_strdup (ns), g_strdup (id) };
  if (!gantry_host_submit (self->host, GANTRY_POOL_IO, run_release, release, release_free, NULL))
    release_free (release);
}
