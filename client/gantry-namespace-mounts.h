/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gantry/gantry-mount.h>
#include <gantry/gantry-namespace.h>

G_BEGIN_DECLS

GantryMount *gantry_namespace_activate_mounts (GantryNamespace *self, const char *name, GVariant *mounts,
                                               GVariant *options, GCancellable *cancellable, GError **error);
void gantry_namespace_activate_mounts_async (GantryNamespace *self, const char *name, GVariant *mounts,
                                             GVariant *options, GCancellable *cancellable,
                                             GAsyncReadyCallback callback, gpointer user_data);
GantryMount *gantry_namespace_activate_mounts_finish (GantryNamespace *self, GAsyncResult *result,
                                                      GError **error);

GPtrArray *gantry_namespace_list_mounts (GantryNamespace *self, const char *const *filters,
                                         GCancellable *cancellable, GError **error);
void gantry_namespace_list_mounts_async (GantryNamespace *self, const char *const *filters,
                                         GCancellable *cancellable, GAsyncReadyCallback callback,
                                         gpointer user_data);
GPtrArray *gantry_namespace_list_mounts_finish (GantryNamespace *self, GAsyncResult *result, GError **error);

GantryMount *gantry_namespace_get_mount (GantryNamespace *self, const char *name, GCancellable *cancellable,
                                         GError **error);
void gantry_namespace_get_mount_async (GantryNamespace *self, const char *name, GCancellable *cancellable,
                                       GAsyncReadyCallback callback, gpointer user_data);
GantryMount *gantry_namespace_get_mount_finish (GantryNamespace *self, GAsyncResult *result, GError **error);

G_END_DECLS
