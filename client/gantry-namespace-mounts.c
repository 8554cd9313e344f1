/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The mounts that the daemon keeps in a namespace. */
#include "gantry-namespace-mounts.h"
#include "gantry-mount-private.h"
#include "gantry-namespace-private.h"
#include "gantry-object-private.h"

static GantryMount *
take_mount (GantryNamespace *self, GVariant *value)
{
  g_autofree char *path = _gantry_take_string (value);

  return path != NULL ? _gantry_mount_new (gantry_object_get_connection (GANTRY_OBJECT (self)), path, NULL)
                      : NULL;
}

/**
 * gantry_namespace_activate_mounts:
 * @self: the namespace
 * @name: a new name
 * @mounts: aa{sv}: "type" s, "source" s, "target" s, "options" as; sunk if floating
 * @options: (nullable): a{sv}: "temporary" b, "labels" a{ss}, "lease" s; sunk if floating
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Has the daemon mount what of @mounts the caller can't (sdk/gantry/mounts.h), and keep it.
 * Without "lease" and without labels that say otherwise it stays until it is deactivated.
 * %GANTRY_ERROR_NOT_IMPLEMENTED: nothing of it needs the daemon.
 *
 * Returns: (transfer full): what is kept under @name
 */
GantryMount *
gantry_namespace_activate_mounts (GantryNamespace *self, const char *name, GVariant *mounts,
                                  GVariant *options, GCancellable *cancellable, GError **error)
{
  return take_mount (self, _gantry_object_call_value (self, "Namespace", "ActivateMounts",
                                                      g_variant_new ("(s@aa{sv}@a{sv})", name, mounts,
                                                                     _gantry_options (options)),
                                                      NULL, cancellable, error));
}

/**
 * gantry_namespace_activate_mounts_async:
 * @self: the namespace
 * @name: a new name
 * @mounts: aa{sv}: "type" s, "source" s, "target" s, "options" as; sunk if floating
 * @options: (nullable): a{sv}: "temporary" b, "labels" a{ss}, "lease" s; sunk if floating
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_namespace_activate_mounts(), without blocking.
 */
void
gantry_namespace_activate_mounts_async (GantryNamespace *self, const char *name, GVariant *mounts,
                                        GVariant *options, GCancellable *cancellable,
                                        GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Namespace", "ActivateMounts",
                             g_variant_new ("(s@aa{sv}@a{sv})", name, mounts, _gantry_options (options)),
                             NULL, gantry_namespace_activate_mounts_async, cancellable, callback, user_data);
}

/**
 * gantry_namespace_activate_mounts_finish:
 * @self: the namespace
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): what is kept under @name
 */
GantryMount *
gantry_namespace_activate_mounts_finish (GantryNamespace *self, GAsyncResult *result, GError **error)
{
  return take_mount (self, _gantry_object_finish_value (self, gantry_namespace_activate_mounts_async, result,
                                                        error));
}

/**
 * gantry_namespace_list_mounts:
 * @self: the namespace
 * @filters: (nullable) (array zero-terminated=1): as "labels.a==b", fields name and labels; %NULL: all
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Asks which mounts the daemon keeps.
 *
 * Returns: (transfer container) (element-type GantryMount): mounts
 */
GPtrArray *
gantry_namespace_list_mounts (GantryNamespace *self, const char *const *filters, GCancellable *cancellable,
                              GError **error)
{
  return _gantry_namespace_take_list (self,
                                      _gantry_object_call_value (self, "Namespace", "ListMounts",
                                                                 _gantry_list_options (filters), NULL,
                                                                 cancellable, error),
                                      (GantryMakeFunc)_gantry_mount_new);
}

/**
 * gantry_namespace_list_mounts_async:
 * @self: the namespace
 * @filters: (nullable) (array zero-terminated=1): as "labels.a==b", fields name and labels; %NULL: all
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_namespace_list_mounts(), without blocking.
 */
void
gantry_namespace_list_mounts_async (GantryNamespace *self, const char *const *filters,
                                    GCancellable *cancellable, GAsyncReadyCallback callback,
                                    gpointer user_data)
{
  _gantry_object_call_async (self, "Namespace", "ListMounts", _gantry_list_options (filters), NULL,
                             gantry_namespace_list_mounts_async, cancellable, callback, user_data);
}

/**
 * gantry_namespace_list_mounts_finish:
 * @self: the namespace
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer container) (element-type GantryMount): mounts
 */
GPtrArray *
gantry_namespace_list_mounts_finish (GantryNamespace *self, GAsyncResult *result, GError **error)
{
  return _gantry_namespace_take_list (self,
                                      _gantry_object_finish_value (self, gantry_namespace_list_mounts_async,
                                                                   result, error),
                                      (GantryMakeFunc)_gantry_mount_new);
}

/**
 * gantry_namespace_get_mount:
 * @self: the namespace
 * @name: of an activation
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Finds mounts by their name.
 *
 * Returns: (transfer full): what is kept under that name, whether there is anything or not
 */
GantryMount *
gantry_namespace_get_mount (GantryNamespace *self, const char *name, GCancellable *cancellable,
                            GError **error)
{
  return take_mount (self, _gantry_object_call_value (self, "Namespace", "GetMount",
                                                      g_variant_new ("(s)", name), NULL, cancellable, error));
}

/**
 * gantry_namespace_get_mount_async:
 * @self: the namespace
 * @name: of an activation
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_namespace_get_mount(), without blocking.
 */
void
gantry_namespace_get_mount_async (GantryNamespace *self, const char *name, GCancellable *cancellable,
                                  GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Namespace", "GetMount", g_variant_new ("(s)", name), NULL,
                             gantry_namespace_get_mount_async, cancellable, callback, user_data);
}

/**
 * gantry_namespace_get_mount_finish:
 * @self: the namespace
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): what is kept under that name, whether there is anything or not
 */
GantryMount *
gantry_namespace_get_mount_finish (GantryNamespace *self, GAsyncResult *result, GError **error)
{
  return take_mount (self,
                     _gantry_object_finish_value (self, gantry_namespace_get_mount_async, result, error));
}
