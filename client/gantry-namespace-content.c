/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The blobs of a namespace. */
#include "gantry-namespace-content.h"
#include "gantry-namespace-private.h"
#include "gantry-object-private.h"

/**
 * gantry_namespace_list_content:
 * @self: the namespace
 * @filters: (nullable) (array zero-terminated=1): as "labels.a==b"; %NULL: all
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Lists the blobs of the namespace.
 *
 * Returns: (transfer full): aa{sv}: "digest" s, "size" t, "labels" a{ss}, "created" x, "updated" x
 */
GVariant *
gantry_namespace_list_content (GantryNamespace *self, const char *const *filters, GCancellable *cancellable,
                               GError **error)
{
  return _gantry_object_call_value (self, "Namespace", "ListContent", _gantry_list_options (filters), NULL,
                                    cancellable, error);
}

/**
 * gantry_namespace_list_content_async:
 * @self: the namespace
 * @filters: (nullable) (array zero-terminated=1): as "labels.a==b"; %NULL: all
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_namespace_list_content(), without blocking.
 */
void
gantry_namespace_list_content_async (GantryNamespace *self, const char *const *filters,
                                     GCancellable *cancellable, GAsyncReadyCallback callback,
                                     gpointer user_data)
{
  _gantry_object_call_async (self, "Namespace", "ListContent", _gantry_list_options (filters), NULL,
                             gantry_namespace_list_content_async, cancellable, callback, user_data);
}

/**
 * gantry_namespace_list_content_finish:
 * @self: the namespace
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): aa{sv}: "digest" s, "size" t, "labels" a{ss}, "created" x, "updated" x
 */
GVariant *
gantry_namespace_list_content_finish (GantryNamespace *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_value (self, gantry_namespace_list_content_async, result, error);
}

/**
 * gantry_namespace_inspect_content:
 * @self: the namespace
 * @digest: of the blob
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Asks what is known of a blob.
 *
 * Returns: (transfer full): a{sv}, as gantry_namespace_list_content() has it
 */
GVariant *
gantry_namespace_inspect_content (GantryNamespace *self, const char *digest, GCancellable *cancellable,
                                  GError **error)
{
  return _gantry_object_call_value (self, "Namespace", "InspectContent", g_variant_new ("(s)", digest), NULL,
                                    cancellable, error);
}

/**
 * gantry_namespace_inspect_content_async:
 * @self: the namespace
 * @digest: of the blob
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_namespace_inspect_content(), without blocking.
 */
void
gantry_namespace_inspect_content_async (GantryNamespace *self, const char *digest, GCancellable *cancellable,
                                        GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Namespace", "InspectContent", g_variant_new ("(s)", digest), NULL,
                             gantry_namespace_inspect_content_async, cancellable, callback, user_data);
}

/**
 * gantry_namespace_inspect_content_finish:
 * @self: the namespace
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): a{sv}, as gantry_namespace_list_content() has it
 */
GVariant *
gantry_namespace_inspect_content_finish (GantryNamespace *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_value (self, gantry_namespace_inspect_content_async, result, error);
}

/**
 * gantry_namespace_open_content:
 * @self: the namespace
 * @digest: of the blob
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Opens the data of a blob.
 *
 * Returns: a descriptor to read from and to seek in, which the caller closes; -1 with @error set
 */
int
gantry_namespace_open_content (GantryNamespace *self, const char *digest, GCancellable *cancellable,
                               GError **error)
{
  return _gantry_object_call_fd (self, "Namespace", "OpenContent", g_variant_new ("(s)", digest), cancellable,
                                 error);
}

/**
 * gantry_namespace_open_content_async:
 * @self: the namespace
 * @digest: of the blob
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_namespace_open_content(), without blocking.
 */
void
gantry_namespace_open_content_async (GantryNamespace *self, const char *digest, GCancellable *cancellable,
                                     GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Namespace", "OpenContent", g_variant_new ("(s)", digest), NULL,
                             gantry_namespace_open_content_async, cancellable, callback, user_data);
}

/**
 * gantry_namespace_open_content_finish:
 * @self: the namespace
 * @result: the callback's
 * @error: why not
 *
 * Returns: a descriptor to read from and to seek in, which the caller closes; -1 with @error set
 */
int
gantry_namespace_open_content_finish (GantryNamespace *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_fd (self, gantry_namespace_open_content_async, result, error);
}

/**
 * gantry_namespace_remove_content:
 * @self: the namespace
 * @digest: of the blob
 * @force: even if something holds it
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Forgets a blob.
 *
 * Returns: whether it was forgotten
 */
gboolean
gantry_namespace_remove_content (GantryNamespace *self, const char *digest, gboolean force,
                                 GCancellable *cancellable, GError **error)
{
  return _gantry_object_call_nothing (self, "Namespace", "RemoveContent",
                                      g_variant_new ("(sb)", digest, force), NULL, cancellable, error);
}

/**
 * gantry_namespace_remove_content_async:
 * @self: the namespace
 * @digest: of the blob
 * @force: even if something holds it
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_namespace_remove_content(), without blocking.
 */
void
gantry_namespace_remove_content_async (GantryNamespace *self, const char *digest, gboolean force,
                                       GCancellable *cancellable, GAsyncReadyCallback callback,
                                       gpointer user_data)
{
  _gantry_object_call_async (self, "Namespace", "RemoveContent", g_variant_new ("(sb)", digest, force), NULL,
                             gantry_namespace_remove_content_async, cancellable, callback, user_data);
}

/**
 * gantry_namespace_remove_content_finish:
 * @self: the namespace
 * @result: the callback's
 * @error: why not
 *
 * Returns: whether it was forgotten
 */
gboolean
gantry_namespace_remove_content_finish (GantryNamespace *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_nothing (self, gantry_namespace_remove_content_async, result, error);
}
