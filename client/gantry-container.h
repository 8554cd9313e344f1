/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gantry/gantry-object.h>
#include <gantry/gantry-process.h>
#include <gantry/gantry-stdio.h>

G_BEGIN_DECLS

#define GANTRY_TYPE_CONTAINER (gantry_container_get_type ())
G_DECLARE_FINAL_TYPE (GantryContainer, gantry_container, GANTRY, CONTAINER, GantryObject)

GVariant *gantry_container_get_info (GantryContainer *self);
GantryProcess *gantry_container_get_init (GantryContainer *self);
GantryProcess *gantry_container_get_exec (GantryContainer *self, const char *exec_id);

GantryProcess *gantry_container_exec (GantryContainer *self, const char *exec_id, GVariant *options,
                                      GantryStdio *stdio, GCancellable *cancellable, GError **error);
void gantry_container_exec_async (GantryContainer *self, const char *exec_id, GVariant *options,
                                  GantryStdio *stdio, GCancellable *cancellable, GAsyncReadyCallback callback,
                                  gpointer user_data);
gboolean gantry_container_exec_finish (GantryContainer *self, GAsyncResult *result, GError **error);

GVariant *gantry_container_inspect (GantryContainer *self, GCancellable *cancellable, GError **error);
void gantry_container_inspect_async (GantryContainer *self, GCancellable *cancellable,
                                     GAsyncReadyCallback callback, gpointer user_data);
GVariant *gantry_container_inspect_finish (GantryContainer *self, GAsyncResult *result, GError **error);

gboolean gantry_container_delete (GantryContainer *self, gboolean force, GCancellable *cancellable,
                                  GError **error);
void gantry_container_delete_async (GantryContainer *self, gboolean force, GCancellable *cancellable,
                                    GAsyncReadyCallback callback, gpointer user_data);
gboolean gantry_container_delete_finish (GantryContainer *self, GAsyncResult *result, GError **error);

gboolean gantry_container_set_labels (GantryContainer *self, GVariant *labels, GCancellable *cancellable,
                                      GError **error);
void gantry_container_set_labels_async (GantryContainer *self, GVariant *labels, GCancellable *cancellable,
                                        GAsyncReadyCallback callback, gpointer user_data);
gboolean gantry_container_set_labels_finish (GantryContainer *self, GAsyncResult *result, GError **error);

int gantry_container_open_log (GantryContainer *self, gboolean previous, GCancellable *cancellable,
                               GError **error);
void gantry_container_open_log_async (GantryContainer *self, gboolean previous, GCancellable *cancellable,
                                      GAsyncReadyCallback callback, gpointer user_data);
int gantry_container_open_log_finish (GantryContainer *self, GAsyncResult *result, GError **error);
GantryProcess *gantry_container_create_task (GantryContainer *self, GantryStdio *stdio,
                                             GCancellable *cancellable, GError **error);
void gantry_container_create_task_async (GantryContainer *self, GantryStdio *stdio, GCancellable *cancellable,
                                         GAsyncReadyCallback callback, gpointer user_data);
GantryProcess *gantry_container_create_task_finish (GantryContainer *self, GAsyncResult *result,
                                                    GError **error);

gboolean gantry_container_pause (GantryContainer *self, GCancellable *cancellable, GError **error);
void gantry_container_pause_async (GantryContainer *self, GCancellable *cancellable,
                                   GAsyncReadyCallback callback, gpointer user_data);
gboolean gantry_container_pause_finish (GantryContainer *self, GAsyncResult *result, GError **error);

gboolean gantry_container_resume (GantryContainer *self, GCancellable *cancellable, GError **error);
void gantry_container_resume_async (GantryContainer *self, GCancellable *cancellable,
                                    GAsyncReadyCallback callback, gpointer user_data);
gboolean gantry_container_resume_finish (GantryContainer *self, GAsyncResult *result, GError **error);

GVariant *gantry_container_list_pids (GantryContainer *self, GCancellable *cancellable, GError **error);
void gantry_container_list_pids_async (GantryContainer *self, GCancellable *cancellable,
                                       GAsyncReadyCallback callback, gpointer user_data);
GVariant *gantry_container_list_pids_finish (GantryContainer *self, GAsyncResult *result, GError **error);

GVariant *gantry_container_get_stats (GantryContainer *self, GCancellable *cancellable, GError **error);
void gantry_container_get_stats_async (GantryContainer *self, GCancellable *cancellable,
                                       GAsyncReadyCallback callback, gpointer user_data);
GVariant *gantry_container_get_stats_finish (GantryContainer *self, GAsyncResult *result, GError **error);

G_END_DECLS
