/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The sandboxes of a namespace. */
#include "gantry-namespace-sandboxes.h"
#include "gantry-namespace-private.h"
#include "gantry-object-private.h"
#include "gantry-sandbox-private.h"

static GantrySandbox *
take_sandbox (GantryNamespace *self, GVariant *value)
{
  g_autofree char *path = _gantry_take_string (value);

  return path != NULL ? _gantry_sandbox_new (gantry_object_get_connection (GANTRY_OBJECT (self)), path, NULL)
                      : NULL;
}

/**
 * gantry_namespace_create_sandbox:
 * @self: the namespace
 * @id: a new id
 * @fields: (nullable): a{sv}: "labels" a{ss}, "runtime" s, "runtime-options" (say), "spec" s (JSON, or
 * (say)), "sandboxer" s, "extensions" a{s(say)}; sunk if floating
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Makes the record of a sandbox; gantry_sandbox_create_task() makes what holds it.
 *
 * Returns: (transfer full): the sandbox
 */
GantrySandbox *
gantry_namespace_create_sandbox (GantryNamespace *self, const char *id, GVariant *fields,
                                 GCancellable *cancellable, GError **error)
{
  return take_sandbox (self,
                       _gantry_object_call_value (self, "Namespace", "CreateSandbox",
                                                  g_variant_new ("(s@a{sv})", id, _gantry_options (fields)),
                                                  NULL, cancellable, error));
}

/**
 * gantry_namespace_create_sandbox_async:
 * @self: the namespace
 * @id: a new id
 * @fields: (nullable): a{sv}: "labels" a{ss}, "runtime" s, "runtime-options" (say), "spec" s (JSON, or
 * (say)), "sandboxer" s, "extensions" a{s(say)}; sunk if floating
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_namespace_create_sandbox(), without blocking.
 */
void
gantry_namespace_create_sandbox_async (GantryNamespace *self, const char *id, GVariant *fields,
                                       GCancellable *cancellable, GAsyncReadyCallback callback,
                                       gpointer user_data)
{
  _gantry_object_call_async (self, "Namespace", "CreateSandbox",
                             g_variant_new ("(s@a{sv})", id, _gantry_options (fields)), NULL,
                             gantry_namespace_create_sandbox_async, cancellable, callback, user_data);
}

/**
 * gantry_namespace_create_sandbox_finish:
 * @self: the namespace
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): the sandbox
 */
GantrySandbox *
gantry_namespace_create_sandbox_finish (GantryNamespace *self, GAsyncResult *result, GError **error)
{
  return take_sandbox (self, _gantry_object_finish_value (self, gantry_namespace_create_sandbox_async, result,
                                                          error));
}

/**
 * gantry_namespace_list_sandboxes:
 * @self: the namespace
 * @filters: (nullable) (array zero-terminated=1): as "labels.a==b"; %NULL: all
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Asks which sandboxes there are.
 *
 * Returns: (transfer container) (element-type GantrySandbox): sandboxes, in order of id
 */
GPtrArray *
gantry_namespace_list_sandboxes (GantryNamespace *self, const char *const *filters, GCancellable *cancellable,
                                 GError **error)
{
  return _gantry_namespace_take_list (self,
                                      _gantry_object_call_value (self, "Namespace", "ListSandboxes",
                                                                 _gantry_list_options (filters), NULL,
                                                                 cancellable, error),
                                      (GantryMakeFunc)_gantry_sandbox_new);
}

/**
 * gantry_namespace_list_sandboxes_async:
 * @self: the namespace
 * @filters: (nullable) (array zero-terminated=1): as "labels.a==b"; %NULL: all
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_namespace_list_sandboxes(), without blocking.
 */
void
gantry_namespace_list_sandboxes_async (GantryNamespace *self, const char *const *filters,
                                       GCancellable *cancellable, GAsyncReadyCallback callback,
                                       gpointer user_data)
{
  _gantry_object_call_async (self, "Namespace", "ListSandboxes", _gantry_list_options (filters), NULL,
                             gantry_namespace_list_sandboxes_async, cancellable, callback, user_data);
}

/**
 * gantry_namespace_list_sandboxes_finish:
 * @self: the namespace
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer container) (element-type GantrySandbox): sandboxes, in order of id
 */
GPtrArray *
gantry_namespace_list_sandboxes_finish (GantryNamespace *self, GAsyncResult *result, GError **error)
{
  return _gantry_namespace_take_list (
      self, _gantry_object_finish_value (self, gantry_namespace_list_sandboxes_async, result, error),
      (GantryMakeFunc)_gantry_sandbox_new);
}

/**
 * gantry_namespace_get_sandbox:
 * @self: the namespace
 * @id: of a sandbox
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Finds a sandbox.
 *
 * Returns: (transfer full): the sandbox of that id, whether there is one or not
 */
GantrySandbox *
gantry_namespace_get_sandbox (GantryNamespace *self, const char *id, GCancellable *cancellable,
                              GError **error)
{
  return take_sandbox (self, _gantry_object_call_value (self, "Namespace", "GetSandbox",
                                                        g_variant_new ("(s)", id), NULL, cancellable, error));
}

/**
 * gantry_namespace_get_sandbox_async:
 * @self: the namespace
 * @id: of a sandbox
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_namespace_get_sandbox(), without blocking.
 */
void
gantry_namespace_get_sandbox_async (GantryNamespace *self, const char *id, GCancellable *cancellable,
                                    GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Namespace", "GetSandbox", g_variant_new ("(s)", id), NULL,
                             gantry_namespace_get_sandbox_async, cancellable, callback, user_data);
}

/**
 * gantry_namespace_get_sandbox_finish:
 * @self: the namespace
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): the sandbox of that id, whether there is one or not
 */
GantrySandbox *
gantry_namespace_get_sandbox_finish (GantryNamespace *self, GAsyncResult *result, GError **error)
{
  return take_sandbox (self,
                       _gantry_object_finish_value (self, gantry_namespace_get_sandbox_async, result, error));
}
