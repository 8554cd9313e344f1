/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gantry/gantry-container.h>
#include <gantry/gantry-image.h>
#include <gantry/gantry-job.h>
#include <gantry/gantry-object.h>

G_BEGIN_DECLS

#define GANTRY_TYPE_NAMESPACE (gantry_namespace_get_type ())
G_DECLARE_FINAL_TYPE (GantryNamespace, gantry_namespace, GANTRY, NAMESPACE, GantryObject)

GantryJob *gantry_namespace_import_images (GantryNamespace *self, int fd, GVariant *options,
                                           GCancellable *cancellable, GError **error);
void gantry_namespace_import_images_async (GantryNamespace *self, int fd, GVariant *options,
                                           GCancellable *cancellable, GAsyncReadyCallback callback,
                                           gpointer user_data);
GantryJob *gantry_namespace_import_images_finish (GantryNamespace *self, GAsyncResult *result,
                                                  GError **error);

GantryJob *gantry_namespace_pull_image (GantryNamespace *self, const char *reference, GVariant *options,
                                        GCancellable *cancellable, GError **error);
void gantry_namespace_pull_image_async (GantryNamespace *self, const char *reference, GVariant *options,
                                        GCancellable *cancellable, GAsyncReadyCallback callback,
                                        gpointer user_data);
GantryJob *gantry_namespace_pull_image_finish (GantryNamespace *self, GAsyncResult *result, GError **error);
GantryJob *gantry_namespace_push_image (GantryNamespace *self, const char *name, const char *reference,
                                        GVariant *options, GCancellable *cancellable, GError **error);
void gantry_namespace_push_image_async (GantryNamespace *self, const char *name, const char *reference,
                                        GVariant *options, GCancellable *cancellable,
                                        GAsyncReadyCallback callback, gpointer user_data);
GantryJob *gantry_namespace_push_image_finish (GantryNamespace *self, GAsyncResult *result, GError **error);
GantryJob *gantry_namespace_export_images (GantryNamespace *self, const char *const *names, int fd,
                                           GVariant *options, GCancellable *cancellable, GError **error);
void gantry_namespace_export_images_async (GantryNamespace *self, const char *const *names, int fd,
                                           GVariant *options, GCancellable *cancellable,
                                           GAsyncReadyCallback callback, gpointer user_data);
GantryJob *gantry_namespace_export_images_finish (GantryNamespace *self, GAsyncResult *result,
                                                  GError **error);

GPtrArray *gantry_namespace_list_images (GantryNamespace *self, const char *const *filters,
                                         GCancellable *cancellable, GError **error);
void gantry_namespace_list_images_async (GantryNamespace *self, const char *const *filters,
                                         GCancellable *cancellable, GAsyncReadyCallback callback,
                                         gpointer user_data);
GPtrArray *gantry_namespace_list_images_finish (GantryNamespace *self, GAsyncResult *result, GError **error);

GantryImage *gantry_namespace_get_image (GantryNamespace *self, const char *name, GCancellable *cancellable,
                                         GError **error);
void gantry_namespace_get_image_async (GantryNamespace *self, const char *name, GCancellable *cancellable,
                                       GAsyncReadyCallback callback, gpointer user_data);
GantryImage *gantry_namespace_get_image_finish (GantryNamespace *self, GAsyncResult *result, GError **error);

void gantry_namespace_set_page_size (GantryNamespace *self, guint page_size);
GPtrArray *gantry_namespace_list_containers (GantryNamespace *self, const char *const *filters,
                                             GCancellable *cancellable, GError **error);
void gantry_namespace_list_containers_async (GantryNamespace *self, const char *const *filters,
                                             GCancellable *cancellable, GAsyncReadyCallback callback,
                                             gpointer user_data);
GPtrArray *gantry_namespace_list_containers_finish (GantryNamespace *self, GAsyncResult *result,
                                                    GError **error);

GantryContainer *gantry_namespace_get_container (GantryNamespace *self, const char *id,
                                                 GCancellable *cancellable, GError **error);
void gantry_namespace_get_container_async (GantryNamespace *self, const char *id, GCancellable *cancellable,
                                           GAsyncReadyCallback callback, gpointer user_data);
GantryContainer *gantry_namespace_get_container_finish (GantryNamespace *self, GAsyncResult *result,
                                                        GError **error);

GantryContainer *gantry_namespace_create_container (GantryNamespace *self, const char *id, const char *image,
                                                    GVariant *options, GCancellable *cancellable,
                                                    GError **error);
void gantry_namespace_create_container_async (GantryNamespace *self, const char *id, const char *image,
                                              GVariant *options, GCancellable *cancellable,
                                              GAsyncReadyCallback callback, gpointer user_data);
GantryContainer *gantry_namespace_create_container_finish (GantryNamespace *self, GAsyncResult *result,
                                                           GError **error);

gboolean gantry_namespace_set_labels (GantryNamespace *self, GVariant *labels, GCancellable *cancellable,
                                      GError **error);
void gantry_namespace_set_labels_async (GantryNamespace *self, GVariant *labels, GCancellable *cancellable,
                                        GAsyncReadyCallback callback, gpointer user_data);
gboolean gantry_namespace_set_labels_finish (GantryNamespace *self, GAsyncResult *result, GError **error);

G_END_DECLS
