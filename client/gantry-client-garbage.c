/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a client asks of the daemon's store: what goes, what stays and why, and whether all is in order. */
#include "gantry-client.h"
#include "gantry-object-private.h"

/**
 * gantry_client_collect_garbage:
 * @self: the client
 * @dry_run: only say what would go
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Collects what nothing holds any more.
 *
 * Returns: (transfer full): a(sst): kind, id and bytes of what goes; bytes are 0 where they are not known
 */
GVariant *
gantry_client_collect_garbage (GantryClient *self, gboolean dry_run, GCancellable *cancellable,
                               GError **error)
{
  return _gantry_object_call_value (self, "Manager", "CollectGarbage", g_variant_new ("(b)", dry_run), NULL,
                                    cancellable, error);
}

/**
 * gantry_client_collect_garbage_async:
 * @self: the client
 * @dry_run: only say what would go
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_client_collect_garbage(), without blocking.
 */
void
gantry_client_collect_garbage_async (GantryClient *self, gboolean dry_run, GCancellable *cancellable,
                                     GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Manager", "CollectGarbage", g_variant_new ("(b)", dry_run), NULL,
                             gantry_client_collect_garbage_async, cancellable, callback, user_data);
}

/**
 * gantry_client_collect_garbage_finish:
 * @self: the client
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): a(sst): kind, id and bytes of what goes; bytes are 0 where they are not known
 */
GVariant *
gantry_client_collect_garbage_finish (GantryClient *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_value (self, gantry_client_collect_garbage_async, result, error);
}

/**
 * gantry_client_why_kept:
 * @self: the client
 * @kind: "content", "snapshot", "image"
 * @ns: its namespace
 * @id: its id
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Asks what keeps something alive.
 *
 * Returns: (transfer full): lines from a root to it; empty if nothing holds it
 */
char **
gantry_client_why_kept (GantryClient *self, const char *kind, const char *ns, const char *id,
                        GCancellable *cancellable, GError **error)
{
  return _gantry_take_strv (_gantry_object_call_value (self, "Manager", "WhyKept",
                                                       g_variant_new ("(sss)", kind, ns, id), NULL,
                                                       cancellable, error));
}

/**
 * gantry_client_why_kept_async:
 * @self: the client
 * @kind: "content", "snapshot", "image"
 * @ns: its namespace
 * @id: its id
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_client_why_kept(), without blocking.
 */
void
gantry_client_why_kept_async (GantryClient *self, const char *kind, const char *ns, const char *id,
                              GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Manager", "WhyKept", g_variant_new ("(sss)", kind, ns, id), NULL,
                             gantry_client_why_kept_async, cancellable, callback, user_data);
}

/**
 * gantry_client_why_kept_finish:
 * @self: the client
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): lines from a root to it; empty if nothing holds it
 */
char **
gantry_client_why_kept_finish (GantryClient *self, GAsyncResult *result, GError **error)
{
  return _gantry_take_strv (_gantry_object_finish_value (self, gantry_client_why_kept_async, result, error));
}

/**
 * gantry_client_check:
 * @self: the client
 * @repair: remove what nothing names
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Compares the daemon's database with the disk.
 *
 * Returns: (transfer full): one line a problem
 */
char **
gantry_client_check (GantryClient *self, gboolean repair, GCancellable *cancellable, GError **error)
{
  return _gantry_take_strv (_gantry_object_call_value (self, "Manager", "Check",
                                                       g_variant_new ("(b)", repair), NULL, cancellable,
                                                       error));
}

/**
 * gantry_client_check_async:
 * @self: the client
 * @repair: remove what nothing names
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_client_check(), without blocking.
 */
void
gantry_client_check_async (GantryClient *self, gboolean repair, GCancellable *cancellable,
                           GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Manager", "Check", g_variant_new ("(b)", repair), NULL,
                             gantry_client_check_async, cancellable, callback, user_data);
}

/**
 * gantry_client_check_finish:
 * @self: the client
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): one line a problem
 */
char **
gantry_client_check_finish (GantryClient *self, GAsyncResult *result, GError **error)
{
  return _gantry_take_strv (_gantry_object_finish_value (self, gantry_client_check_async, result, error));
}
