/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gantry/gantry-object.h>

G_BEGIN_DECLS

#define GANTRY_TYPE_SANDBOX (gantry_sandbox_get_type ())
G_DECLARE_FINAL_TYPE (GantrySandbox, gantry_sandbox, GANTRY, SANDBOX, GantryObject)

GVariant *gantry_sandbox_get_info (GantrySandbox *self);

gint64 gantry_sandbox_create_task (GantrySandbox *self, GVariant *options, GCancellable *cancellable,
                                   GError **error);
void gantry_sandbox_create_task_async (GantrySandbox *self, GVariant *options, GCancellable *cancellable,
                                       GAsyncReadyCallback callback, gpointer user_data);
gint64 gantry_sandbox_create_task_finish (GantrySandbox *self, GAsyncResult *result, GError **error);

gint64 gantry_sandbox_start (GantrySandbox *self, GCancellable *cancellable, GError **error);
void gantry_sandbox_start_async (GantrySandbox *self, GCancellable *cancellable, GAsyncReadyCallback callback,
                                 gpointer user_data);
gint64 gantry_sandbox_start_finish (GantrySandbox *self, GAsyncResult *result, GError **error);

gboolean gantry_sandbox_stop (GantrySandbox *self, guint timeout, GCancellable *cancellable, GError **error);
void gantry_sandbox_stop_async (GantrySandbox *self, guint timeout, GCancellable *cancellable,
                                GAsyncReadyCallback callback, gpointer user_data);
gboolean gantry_sandbox_stop_finish (GantrySandbox *self, GAsyncResult *result, GError **error);

gint64 gantry_sandbox_wait (GantrySandbox *self, GCancellable *cancellable, GError **error);
void gantry_sandbox_wait_async (GantrySandbox *self, GCancellable *cancellable, GAsyncReadyCallback callback,
                                gpointer user_data);
gint64 gantry_sandbox_wait_finish (GantrySandbox *self, GAsyncResult *result, GError **error);

GVariant *gantry_sandbox_get_status (GantrySandbox *self, GCancellable *cancellable, GError **error);
void gantry_sandbox_get_status_async (GantrySandbox *self, GCancellable *cancellable,
                                      GAsyncReadyCallback callback, gpointer user_data);
GVariant *gantry_sandbox_get_status_finish (GantrySandbox *self, GAsyncResult *result, GError **error);

GVariant *gantry_sandbox_get_platform (GantrySandbox *self, GCancellable *cancellable, GError **error);
void gantry_sandbox_get_platform_async (GantrySandbox *self, GCancellable *cancellable,
                                        GAsyncReadyCallback callback, gpointer user_data);
GVariant *gantry_sandbox_get_platform_finish (GantrySandbox *self, GAsyncResult *result, GError **error);

GVariant *gantry_sandbox_get_stats (GantrySandbox *self, GCancellable *cancellable, GError **error);
void gantry_sandbox_get_stats_async (GantrySandbox *self, GCancellable *cancellable,
                                     GAsyncReadyCallback callback, gpointer user_data);
GVariant *gantry_sandbox_get_stats_finish (GantrySandbox *self, GAsyncResult *result, GError **error);

GVariant *gantry_sandbox_inspect (GantrySandbox *self, GCancellable *cancellable, GError **error);
void gantry_sandbox_inspect_async (GantrySandbox *self, GCancellable *cancellable,
                                   GAsyncReadyCallback callback, gpointer user_data);
GVariant *gantry_sandbox_inspect_finish (GantrySandbox *self, GAsyncResult *result, GError **error);

gboolean gantry_sandbox_update (GantrySandbox *self, GVariant *fields, GCancellable *cancellable,
                                GError **error);
void gantry_sandbox_update_async (GantrySandbox *self, GVariant *fields, GCancellable *cancellable,
                                  GAsyncReadyCallback callback, gpointer user_data);
gboolean gantry_sandbox_update_finish (GantrySandbox *self, GAsyncResult *result, GError **error);

gboolean gantry_sandbox_set_labels (GantrySandbox *self, GVariant *labels, GCancellable *cancellable,
                                    GError **error);
void gantry_sandbox_set_labels_async (GantrySandbox *self, GVariant *labels, GCancellable *cancellable,
                                      GAsyncReadyCallback callback, gpointer user_data);
gboolean gantry_sandbox_set_labels_finish (GantrySandbox *self, GAsyncResult *result, GError **error);

gboolean gantry_sandbox_shutdown (GantrySandbox *self, GCancellable *cancellable, GError **error);
void gantry_sandbox_shutdown_async (GantrySandbox *self, GCancellable *cancellable,
                                    GAsyncReadyCallback callback, gpointer user_data);
gboolean gantry_sandbox_shutdown_finish (GantrySandbox *self, GAsyncResult *result, GError **error);

gboolean gantry_sandbox_delete (GantrySandbox *self, gboolean force, GCancellable *cancellable,
                                GError **error);
void gantry_sandbox_delete_async (GantrySandbox *self, gboolean force, GCancellable *cancellable,
                                  GAsyncReadyCallback callback, gpointer user_data);
gboolean gantry_sandbox_delete_finish (GantrySandbox *self, GAsyncResult *result, GError **error);

G_END_DECLS
