/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gantry/gantry-object.h>

G_BEGIN_DECLS

#define GANTRY_TYPE_MOUNT (gantry_mount_get_type ())
G_DECLARE_FINAL_TYPE (GantryMount, gantry_mount, GANTRY, MOUNT, GantryObject)

GVariant *gantry_mount_get_info (GantryMount *self);

GVariant *gantry_mount_inspect (GantryMount *self, GCancellable *cancellable, GError **error);
void gantry_mount_inspect_async (GantryMount *self, GCancellable *cancellable, GAsyncReadyCallback callback,
                                 gpointer user_data);
GVariant *gantry_mount_inspect_finish (GantryMount *self, GAsyncResult *result, GError **error);

gboolean gantry_mount_set_labels (GantryMount *self, GVariant *labels, GCancellable *cancellable,
                                  GError **error);
void gantry_mount_set_labels_async (GantryMount *self, GVariant *labels, GCancellable *cancellable,
                                    GAsyncReadyCallback callback, gpointer user_data);
gboolean gantry_mount_set_labels_finish (GantryMount *self, GAsyncResult *result, GError **error);

gboolean gantry_mount_deactivate (GantryMount *self, GCancellable *cancellable, GError **error);
void gantry_mount_deactivate_async (GantryMount *self, GCancellable *cancellable,
                                    GAsyncReadyCallback callback, gpointer user_data);
gboolean gantry_mount_deactivate_finish (GantryMount *self, GAsyncResult *result, GError **error);

G_END_DECLS
