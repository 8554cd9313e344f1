/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * How the library calls: every operation is one method of one interface, in a blocking form and in an
 * asynchronous one. */
#pragma once

#include "gantry-object.h"

#include <gio/gunixfdlist.h>

/** How a call's reply is handed out. */
typedef enum
{
  GANTRY_REPLY_NOTHING,
  GANTRY_REPLY_VALUE, /* the first of the reply */
} GantryReply;

/** @interface: without "org.gantry1.", or the whole name of another; @parameters is sunk; @fds: (nullable).
 * Returns: (transfer full): the reply. */
GVariant *_gantry_object_call (gpointer self, const char *interface, const char *method, GVariant *parameters,
                               GUnixFDList *fds, GCancellable *cancellable, GError **error);
gboolean _gantry_object_call_nothing (gpointer self, const char *interface, const char *method,
                                      GVariant *parameters, GUnixFDList *fds, GCancellable *cancellable,
                                      GError **error);
/** Returns: (transfer full): the first value of the reply. */
GVariant *_gantry_object_call_value (gpointer self, const char *interface, const char *method,
                                     GVariant *parameters, GUnixFDList *fds, GCancellable *cancellable,
                                     GError **error);
/** Returns: (transfer full): the descriptor that comes with the reply, or -1. */
int _gantry_object_call_fd (gpointer self, const char *interface, const char *method, GVariant *parameters,
                            GCancellable *cancellable, GError **error);
/** The same of a call by _gantry_object_call_async (). */
int _gantry_object_finish_fd (gpointer self, gpointer tag, GAsyncResult *result, GError **error);
/** @tag: the public async function, for checks. */
void _gantry_object_call_async (gpointer self, const char *interface, const char *method,
                                GVariant *parameters, GUnixFDList *fds, gpointer tag,
                                GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data);
gboolean _gantry_object_finish_nothing (gpointer self, gpointer tag, GAsyncResult *result, GError **error);
GVariant *_gantry_object_finish_value (gpointer self, gpointer tag, GAsyncResult *result, GError **error);
/** The string (or object path) in @value (transfer full), or NULL for NULL. Returns: (transfer full). */
char *_gantry_take_string (GVariant *value);
/** @value (transfer full, nullable) as strings. Returns: (transfer full) (nullable). */
char **_gantry_take_strv (GVariant *value);
/** @options or an empty a{sv}. */
GVariant *_gantry_options (GVariant *options);
/** [0, 1, …] for the descriptors of @fds (nullable). */
GVariant *_gantry_handles (GUnixFDList *fds);
