/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gantry/gantry-job.h>
#include <gantry/gantry-namespace.h>
#include <gantry/gantry-object.h>

G_BEGIN_DECLS

#define GANTRY_TYPE_CLIENT (gantry_client_get_type ())
G_DECLARE_FINAL_TYPE (GantryClient, gantry_client, GANTRY, CLIENT, GantryObject)

GantryClient *gantry_client_new (const char *address, GCancellable *cancellable, GError **error);
void gantry_client_new_async (const char *address, GCancellable *cancellable, GAsyncReadyCallback callback,
                              gpointer user_data);
GantryClient *gantry_client_new_finish (GAsyncResult *result, GError **error);
GantryClient *gantry_client_new_for_connection (GDBusConnection *connection);

GVariant *gantry_client_get_server (GantryClient *self, GCancellable *cancellable, GError **error);

GVariant *gantry_client_list_plugins (GantryClient *self, GCancellable *cancellable, GError **error);
void gantry_client_list_plugins_async (GantryClient *self, GCancellable *cancellable,
                                       GAsyncReadyCallback callback, gpointer user_data);
GVariant *gantry_client_list_plugins_finish (GantryClient *self, GAsyncResult *result, GError **error);

char **gantry_client_get_trace (GantryClient *self, GCancellable *cancellable, GError **error);
void gantry_client_get_trace_async (GantryClient *self, GCancellable *cancellable,
                                    GAsyncReadyCallback callback, gpointer user_data);
char **gantry_client_get_trace_finish (GantryClient *self, GAsyncResult *result, GError **error);

GVariant *gantry_client_get_config (GantryClient *self, GCancellable *cancellable, GError **error);
void gantry_client_get_config_async (GantryClient *self, GCancellable *cancellable,
                                     GAsyncReadyCallback callback, gpointer user_data);
GVariant *gantry_client_get_config_finish (GantryClient *self, GAsyncResult *result, GError **error);

GVariant *gantry_client_list_namespaces (GantryClient *self, GCancellable *cancellable, GError **error);
void gantry_client_list_namespaces_async (GantryClient *self, GCancellable *cancellable,
                                          GAsyncReadyCallback callback, gpointer user_data);
GVariant *gantry_client_list_namespaces_finish (GantryClient *self, GAsyncResult *result, GError **error);

gboolean gantry_client_create_namespace (GantryClient *self, const char *name, GVariant *labels,
                                         GCancellable *cancellable, GError **error);
void gantry_client_create_namespace_async (GantryClient *self, const char *name, GVariant *labels,
                                           GCancellable *cancellable, GAsyncReadyCallback callback,
                                           gpointer user_data);
gboolean gantry_client_create_namespace_finish (GantryClient *self, GAsyncResult *result, GError **error);

gboolean gantry_client_delete_namespace (GantryClient *self, const char *name, GCancellable *cancellable,
                                         GError **error);
void gantry_client_delete_namespace_async (GantryClient *self, const char *name, GCancellable *cancellable,
                                           GAsyncReadyCallback callback, gpointer user_data);
gboolean gantry_client_delete_namespace_finish (GantryClient *self, GAsyncResult *result, GError **error);

GPtrArray *gantry_client_list_jobs (GantryClient *self, GCancellable *cancellable, GError **error);
void gantry_client_list_jobs_async (GantryClient *self, GCancellable *cancellable,
                                    GAsyncReadyCallback callback, gpointer user_data);
GPtrArray *gantry_client_list_jobs_finish (GantryClient *self, GAsyncResult *result, GError **error);

GVariant *gantry_client_collect_garbage (GantryClient *self, gboolean dry_run, GCancellable *cancellable,
                                         GError **error);
void gantry_client_collect_garbage_async (GantryClient *self, gboolean dry_run, GCancellable *cancellable,
                                          GAsyncReadyCallback callback, gpointer user_data);
GVariant *gantry_client_collect_garbage_finish (GantryClient *self, GAsyncResult *result, GError **error);

char **gantry_client_why_kept (GantryClient *self, const char *kind, const char *ns, const char *id,
                               GCancellable *cancellable, GError **error);
void gantry_client_why_kept_async (GantryClient *self, const char *kind, const char *ns, const char *id,
                                   GCancellable *cancellable, GAsyncReadyCallback callback,
                                   gpointer user_data);
char **gantry_client_why_kept_finish (GantryClient *self, GAsyncResult *result, GError **error);

char **gantry_client_check (GantryClient *self, gboolean repair, GCancellable *cancellable, GError **error);
void gantry_client_check_async (GantryClient *self, gboolean repair, GCancellable *cancellable,
                                GAsyncReadyCallback callback, gpointer user_data);
char **gantry_client_check_finish (GantryClient *self, GAsyncResult *result, GError **error);

GantryNamespace *gantry_client_get_namespace (GantryClient *self, const char *name, GCancellable *cancellable,
                                              GError **error);
void gantry_client_get_namespace_async (GantryClient *self, const char *name, GCancellable *cancellable,
                                        GAsyncReadyCallback callback, gpointer user_data);
GantryNamespace *gantry_client_get_namespace_finish (GantryClient *self, GAsyncResult *result,
                                                     GError **error);

G_END_DECLS
