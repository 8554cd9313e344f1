/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gantry/gantry-namespace.h>

G_BEGIN_DECLS

GVariant *gantry_namespace_list_content (GantryNamespace *self, const char *const *filters,
                                         GCancellable *cancellable, GError **error);
void gantry_namespace_list_content_async (GantryNamespace *self, const char *const *filters,
                                          GCancellable *cancellable, GAsyncReadyCallback callback,
                                          gpointer user_data);
GVariant *gantry_namespace_list_content_finish (GantryNamespace *self, GAsyncResult *result, GError **error);

GVariant *gantry_namespace_inspect_content (GantryNamespace *self, const char *digest,
                                            GCancellable *cancellable, GError **error);
void gantry_namespace_inspect_content_async (GantryNamespace *self, const char *digest,
                                             GCancellable *cancellable, GAsyncReadyCallback callback,
                                             gpointer user_data);
GVariant *gantry_namespace_inspect_content_finish (GantryNamespace *self, GAsyncResult *result,
                                                   GError **error);

int gantry_namespace_open_content (GantryNamespace *self, const char *digest, GCancellable *cancellable,
                                   GError **error);
void gantry_namespace_open_content_async (GantryNamespace *self, const char *digest,
                                          GCancellable *cancellable, GAsyncReadyCallback callback,
                                          gpointer user_data);
int gantry_namespace_open_content_finish (GantryNamespace *self, GAsyncResult *result, GError **error);

gboolean gantry_namespace_remove_content (GantryNamespace *self, const char *digest, gboolean force,
                                          GCancellable *cancellable, GError **error);
void gantry_namespace_remove_content_async (GantryNamespace *self, const char *digest, gboolean force,
                                            GCancellable *cancellable, GAsyncReadyCallback callback,
                                            gpointer user_data);
gboolean gantry_namespace_remove_content_finish (GantryNamespace *self, GAsyncResult *result, GError **error);

G_END_DECLS
