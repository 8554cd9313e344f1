/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gantry/gantry-object.h>
#include <gantry/gantry-stdio.h>

G_BEGIN_DECLS

#define GANTRY_TYPE_PROCESS (gantry_process_get_type ())
G_DECLARE_FINAL_TYPE (GantryProcess, gantry_process, GANTRY, PROCESS, GantryObject)

const char *gantry_process_get_exec_id (GantryProcess *self);

gint64 gantry_process_start (GantryProcess *self, GCancellable *cancellable, GError **error);
void gantry_process_start_async (GantryProcess *self, GCancellable *cancellable, GAsyncReadyCallback callback,
                                 gpointer user_data);
gint64 gantry_process_start_finish (GantryProcess *self, GAsyncResult *result, GError **error);

gint64 gantry_process_wait (GantryProcess *self, GCancellable *cancellable, GError **error);
void gantry_process_wait_async (GantryProcess *self, GCancellable *cancellable, GAsyncReadyCallback callback,
                                gpointer user_data);
gint64 gantry_process_wait_finish (GantryProcess *self, GAsyncResult *result, GError **error);

gboolean gantry_process_kill (GantryProcess *self, guint signal, gboolean all, GCancellable *cancellable,
                              GError **error);
void gantry_process_kill_async (GantryProcess *self, guint signal, gboolean all, GCancellable *cancellable,
                                GAsyncReadyCallback callback, gpointer user_data);
gboolean gantry_process_kill_finish (GantryProcess *self, GAsyncResult *result, GError **error);

gboolean gantry_process_resize (GantryProcess *self, guint width, guint height, GCancellable *cancellable,
                                GError **error);
void gantry_process_resize_async (GantryProcess *self, guint width, guint height, GCancellable *cancellable,
                                  GAsyncReadyCallback callback, gpointer user_data);
gboolean gantry_process_resize_finish (GantryProcess *self, GAsyncResult *result, GError **error);

gboolean gantry_process_close_stdin (GantryProcess *self, GCancellable *cancellable, GError **error);
void gantry_process_close_stdin_async (GantryProcess *self, GCancellable *cancellable,
                                       GAsyncReadyCallback callback, gpointer user_data);
gboolean gantry_process_close_stdin_finish (GantryProcess *self, GAsyncResult *result, GError **error);

gboolean gantry_process_attach (GantryProcess *self, GantryStdio *stdio, GCancellable *cancellable,
                                GError **error);
void gantry_process_attach_async (GantryProcess *self, GantryStdio *stdio, GCancellable *cancellable,
                                  GAsyncReadyCallback callback, gpointer user_data);
gboolean gantry_process_attach_finish (GantryProcess *self, GAsyncResult *result, GError **error);

gint64 gantry_process_delete (GantryProcess *self, GCancellable *cancellable, GError **error);
void gantry_process_delete_async (GantryProcess *self, GCancellable *cancellable,
                                  GAsyncReadyCallback callback, gpointer user_data);
gint64 gantry_process_delete_finish (GantryProcess *self, GAsyncResult *result, GError **error);

G_END_DECLS
