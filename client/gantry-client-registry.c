/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a client asks of registries through its daemon. Options that say how a registry is reached are
 * PullImage's. */
#include "gantry-client-registry.h"
#include "gantry-object-private.h"

/**
 * gantry_client_explain_registry:
 * @self: the client
 * @reference: what is asked for; a short name is completed
 * @options: (nullable): a dictionary; sunk
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Asks which hosts would be tried for a reference, and what each answers.
 *
 * Returns: (transfer full): an array of dictionaries, a host each, in order (sdk/gantry/registry.h, explain)
 */
GVariant *
gantry_client_explain_registry (GantryClient *self, const char *reference, GVariant *options,
                                GCancellable *cancellable, GError **error)
{
  return _gantry_object_call_value (self, "Manager", "ExplainRegistry",
                                    g_variant_new ("(s@a{sv})", reference, _gantry_options (options)), NULL,
                                    cancellable, error);
}

/**
 * gantry_client_explain_registry_async:
 * @self: the client
 * @reference: what is asked for; a short name is completed
 * @options: (nullable): a dictionary; sunk
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_client_explain_registry(), without blocking.
 */
void
gantry_client_explain_registry_async (GantryClient *self, const char *reference, GVariant *options,
                                      GCancellable *cancellable, GAsyncReadyCallback callback,
                                      gpointer user_data)
{
  _gantry_object_call_async (self, "Manager", "ExplainRegistry",
                             g_variant_new ("(s@a{sv})", reference, _gantry_options (options)), NULL,
                             gantry_client_explain_registry_async, cancellable, callback, user_data);
}

/**
 * gantry_client_explain_registry_finish:
 * @self: the client
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): an array of dictionaries, a host each, in order (sdk/gantry/registry.h, explain)
 */
GVariant *
gantry_client_explain_registry_finish (GantryClient *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_value (self, gantry_client_explain_registry_async, result, error);
}

/**
 * gantry_client_login:
 * @self: the client
 * @server: the registry
 * @options: (nullable): a dictionary; sunk
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Checks credentials at a registry, and keeps them unless "store" is FALSE.
 *
 * Returns: (transfer full): what is kept (sdk/gantry/registry.h, login)
 */
GVariant *
gantry_client_login (GantryClient *self, const char *server, GVariant *options, GCancellable *cancellable,
                     GError **error)
{
  return _gantry_object_call_value (self, "Manager", "Login",
                                    g_variant_new ("(s@a{sv})", server, _gantry_options (options)), NULL,
                                    cancellable, error);
}

/**
 * gantry_client_login_async:
 * @self: the client
 * @server: the registry
 * @options: (nullable): a dictionary; sunk
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_client_login(), without blocking.
 */
void
gantry_client_login_async (GantryClient *self, const char *server, GVariant *options,
                           GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Manager", "Login",
                             g_variant_new ("(s@a{sv})", server, _gantry_options (options)), NULL,
                             gantry_client_login_async, cancellable, callback, user_data);
}

/**
 * gantry_client_login_finish:
 * @self: the client
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): what is kept (sdk/gantry/registry.h, login)
 */
GVariant *
gantry_client_login_finish (GantryClient *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_value (self, gantry_client_login_async, result, error);
}

/**
 * gantry_client_logout:
 * @self: the client
 * @server: the registry
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Forgets what login has kept.
 *
 * Returns: whether it was there
 */
gboolean
gantry_client_logout (GantryClient *self, const char *server, GCancellable *cancellable, GError **error)
{
  return _gantry_object_call_nothing (self, "Manager", "Logout", g_variant_new ("(s)", server), NULL,
                                      cancellable, error);
}

/**
 * gantry_client_logout_async:
 * @self: the client
 * @server: the registry
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_client_logout(), without blocking.
 */
void
gantry_client_logout_async (GantryClient *self, const char *server, GCancellable *cancellable,
                            GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Manager", "Logout", g_variant_new ("(s)", server), NULL,
                             gantry_client_logout_async, cancellable, callback, user_data);
}

/**
 * gantry_client_logout_finish:
 * @self: the client
 * @result: the callback's
 * @error: why not
 *
 * Returns: whether it was there
 */
gboolean
gantry_client_logout_finish (GantryClient *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_nothing (self, gantry_client_logout_async, result, error);
}

/**
 * gantry_client_search_tags:
 * @self: the client
 * @reference: the repository
 * @options: (nullable): a dictionary; sunk
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Lists the tags of a repository.
 *
 * Returns: (transfer full): the tags, in the registry's order
 */
char **
gantry_client_search_tags (GantryClient *self, const char *reference, GVariant *options,
                           GCancellable *cancellable, GError **error)
{
  return _gantry_take_strv (
      _gantry_object_call_value (self, "Manager", "SearchTags",
                                 g_variant_new ("(s@a{sv})", reference, _gantry_options (options)), NULL,
                                 cancellable, error));
}

/**
 * gantry_client_search_tags_async:
 * @self: the client
 * @reference: the repository
 * @options: (nullable): a dictionary; sunk
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_client_search_tags(), without blocking.
 */
void
gantry_client_search_tags_async (GantryClient *self, const char *reference, GVariant *options,
                                 GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Manager", "SearchTags",
                             g_variant_new ("(s@a{sv})", reference, _gantry_options (options)), NULL,
                             gantry_client_search_tags_async, cancellable, callback, user_data);
}

/**
 * gantry_client_search_tags_finish:
 * @self: the client
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): the tags, in the registry's order
 */
char **
gantry_client_search_tags_finish (GantryClient *self, GAsyncResult *result, GError **error)
{
  return _gantry_take_strv (
      _gantry_object_finish_value (self, gantry_client_search_tags_async, result, error));
}

/**
 * gantry_client_list_referrers:
 * @self: the client
 * @reference: the subject
 * @options: (nullable): a dictionary; sunk
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Lists the manifests at a registry that refer to another one, as signatures and bills of materials do.
 *
 * Returns: (transfer full): an array of dictionaries, a manifest each (data/dbus, ListReferrers)
 */
GVariant *
gantry_client_list_referrers (GantryClient *self, const char *reference, GVariant *options,
                              GCancellable *cancellable, GError **error)
{
  return _gantry_object_call_value (self, "Manager", "ListReferrers",
                                    g_variant_new ("(s@a{sv})", reference, _gantry_options (options)), NULL,
                                    cancellable, error);
}

/**
 * gantry_client_list_referrers_async:
 * @self: the client
 * @reference: the subject
 * @options: (nullable): a dictionary; sunk
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_client_list_referrers(), without blocking.
 */
void
gantry_client_list_referrers_async (GantryClient *self, const char *reference, GVariant *options,
                                    GCancellable *cancellable, GAsyncReadyCallback callback,
                                    gpointer user_data)
{
  _gantry_object_call_async (self, "Manager", "ListReferrers",
                             g_variant_new ("(s@a{sv})", reference, _gantry_options (options)), NULL,
                             gantry_client_list_referrers_async, cancellable, callback, user_data);
}

/**
 * gantry_client_list_referrers_finish:
 * @self: the client
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): an array of dictionaries, a manifest each (data/dbus, ListReferrers)
 */
GVariant *
gantry_client_list_referrers_finish (GantryClient *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_value (self, gantry_client_list_referrers_async, result, error);
}
