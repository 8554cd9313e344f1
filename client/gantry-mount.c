/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gantry-mount-private.h"
#include "gantry-object-private.h"

/**
 * GantryMount:
 *
 * Mounts that the daemon keeps under a name: those that it has made, and those that are left for whoever
 * wants the file system.
 */
struct _GantryMount
{
  GantryObject parent_instance;
  GVariant *info; /* (nullable): as listed */
};

G_DEFINE_FINAL_TYPE (GantryMount, gantry_mount, GANTRY_TYPE_OBJECT)

static void
gantry_mount_finalize (GObject *object)
{
  GantryMount *self = GANTRY_MOUNT (object);

  g_clear_pointer (&self->info, g_variant_unref);
  G_OBJECT_CLASS (gantry_mount_parent_class)->finalize (object);
}

static void
gantry_mount_class_init (GantryMountClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = gantry_mount_finalize;
}

static void
gantry_mount_init (GantryMount *self)
{
}

GantryMount *
_gantry_mount_new (GDBusConnection *connection, const char *path, GVariant *info)
{
  GantryMount *self = g_object_new (GANTRY_TYPE_MOUNT, "connection", connection, "path", path, NULL);

  self->info = info != NULL ? g_variant_ref (info) : NULL;
  return self;
}

/**
 * gantry_mount_get_info:
 * @self: mounts
 *
 * Returns: (transfer none) (nullable): a{sv}: "name" s, "labels" a{ss}, "created" x, "updated" x, "active"
 * aa{sv} and "system" aa{sv}: "type" s, "source" s, "target" s, "options" as, and of the active ones
 * "mount-point" s, "mounted-at" x; as they were when they were listed; %NULL if they were not
 */
GVariant *
gantry_mount_get_info (GantryMount *self)
{
  g_return_val_if_fail (GANTRY_IS_MOUNT (self), NULL);
  return self->info;
}

/**
 * gantry_mount_inspect:
 * @self: mounts
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Asks what is known of them.
 *
 * Returns: (transfer full): a{sv}, as gantry_mount_get_info() has it
 */
GVariant *
gantry_mount_inspect (GantryMount *self, GCancellable *cancellable, GError **error)
{
  return _gantry_object_call_value (self, "Mount", "Inspect", NULL, NULL, cancellable, error);
}

/**
 * gantry_mount_inspect_async:
 * @self: mounts
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_mount_inspect(), without blocking.
 */
void
gantry_mount_inspect_async (GantryMount *self, GCancellable *cancellable, GAsyncReadyCallback callback,
                            gpointer user_data)
{
  _gantry_object_call_async (self, "Mount", "Inspect", NULL, NULL, gantry_mount_inspect_async, cancellable,
                             callback, user_data);
}

/**
 * gantry_mount_inspect_finish:
 * @self: mounts
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): a{sv}, as gantry_mount_get_info() has it
 */
GVariant *
gantry_mount_inspect_finish (GantryMount *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_value (self, gantry_mount_inspect_async, result, error);
}

/**
 * gantry_mount_set_labels:
 * @self: mounts
 * @labels: a{ss}; an empty value removes that label
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Sets labels.
 *
 * Returns: whether it was done
 */
gboolean
gantry_mount_set_labels (GantryMount *self, GVariant *labels, GCancellable *cancellable, GError **error)
{
  return _gantry_object_call_nothing (self, "Mount", "SetLabels", g_variant_new ("(@a{ss})", labels), NULL,
                                      cancellable, error);
}

/**
 * gantry_mount_set_labels_async:
 * @self: mounts
 * @labels: a{ss}; an empty value removes that label
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_mount_set_labels(), without blocking.
 */
void
gantry_mount_set_labels_async (GantryMount *self, GVariant *labels, GCancellable *cancellable,
                               GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Mount", "SetLabels", g_variant_new ("(@a{ss})", labels), NULL,
                             gantry_mount_set_labels_async, cancellable, callback, user_data);
}

/**
 * gantry_mount_set_labels_finish:
 * @self: mounts
 * @result: the callback's
 * @error: why not
 *
 * Returns: whether it was done
 */
gboolean
gantry_mount_set_labels_finish (GantryMount *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_nothing (self, gantry_mount_set_labels_async, result, error);
}

/**
 * gantry_mount_deactivate:
 * @self: mounts
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Unmounts what the daemon has mounted and forgets it.
 *
 * Returns: whether it was done
 */
gboolean
gantry_mount_deactivate (GantryMount *self, GCancellable *cancellable, GError **error)
{
  return _gantry_object_call_nothing (self, "Mount", "Deactivate", NULL, NULL, cancellable, error);
}

/**
 * gantry_mount_deactivate_async:
 * @self: mounts
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_mount_deactivate(), without blocking.
 */
void
gantry_mount_deactivate_async (GantryMount *self, GCancellable *cancellable, GAsyncReadyCallback callback,
                               gpointer user_data)
{
  _gantry_object_call_async (self, "Mount", "Deactivate", NULL, NULL, gantry_mount_deactivate_async,
                             cancellable, callback, user_data);
}

/**
 * gantry_mount_deactivate_finish:
 * @self: mounts
 * @result: the callback's
 * @error: why not
 *
 * Returns: whether it was done
 */
gboolean
gantry_mount_deactivate_finish (GantryMount *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_nothing (self, gantry_mount_deactivate_async, result, error);
}
