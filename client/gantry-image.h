/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gantry/gantry-job.h>
#include <gantry/gantry-object.h>

G_BEGIN_DECLS

#define GANTRY_TYPE_IMAGE (gantry_image_get_type ())
G_DECLARE_FINAL_TYPE (GantryImage, gantry_image, GANTRY, IMAGE, GantryObject)

GVariant *gantry_image_get_info (GantryImage *self);

GVariant *gantry_image_inspect (GantryImage *self, const char *platform, GCancellable *cancellable,
                                GError **error);
void gantry_image_inspect_async (GantryImage *self, const char *platform, GCancellable *cancellable,
                                 GAsyncReadyCallback callback, gpointer user_data);
GVariant *gantry_image_inspect_finish (GantryImage *self, GAsyncResult *result, GError **error);

GVariant *gantry_image_get_usage (GantryImage *self, GCancellable *cancellable, GError **error);
void gantry_image_get_usage_async (GantryImage *self, GCancellable *cancellable, GAsyncReadyCallback callback,
                                   gpointer user_data);
GVariant *gantry_image_get_usage_finish (GantryImage *self, GAsyncResult *result, GError **error);
GantryJob *gantry_image_unpack (GantryImage *self, GVariant *options, GCancellable *cancellable,
                                GError **error);
void gantry_image_unpack_async (GantryImage *self, GVariant *options, GCancellable *cancellable,
                                GAsyncReadyCallback callback, gpointer user_data);
GantryJob *gantry_image_unpack_finish (GantryImage *self, GAsyncResult *result, GError **error);

GantryImage *gantry_image_tag (GantryImage *self, const char *name, gboolean force, GCancellable *cancellable,
                               GError **error);
void gantry_image_tag_async (GantryImage *self, const char *name, gboolean force, GCancellable *cancellable,
                             GAsyncReadyCallback callback, gpointer user_data);
GantryImage *gantry_image_tag_finish (GantryImage *self, GAsyncResult *result, GError **error);

gboolean gantry_image_set_labels (GantryImage *self, GVariant *labels, GCancellable *cancellable,
                                  GError **error);
void gantry_image_set_labels_async (GantryImage *self, GVariant *labels, GCancellable *cancellable,
                                    GAsyncReadyCallback callback, gpointer user_data);
gboolean gantry_image_set_labels_finish (GantryImage *self, GAsyncResult *result, GError **error);

gboolean gantry_image_remove (GantryImage *self, GCancellable *cancellable, GError **error);
void gantry_image_remove_async (GantryImage *self, GCancellable *cancellable, GAsyncReadyCallback callback,
                                gpointer user_data);
gboolean gantry_image_remove_finish (GantryImage *self, GAsyncResult *result, GError **error);

GVariant *gantry_image_verify (GantryImage *self, GVariant *options, GCancellable *cancellable,
                               GError **error);
void gantry_image_verify_async (GantryImage *self, GVariant *options, GCancellable *cancellable,
                                GAsyncReadyCallback callback, gpointer user_data);
GVariant *gantry_image_verify_finish (GantryImage *self, GAsyncResult *result, GError **error);

GVariant *gantry_image_sign (GantryImage *self, GVariant *options, GCancellable *cancellable, GError **error);
void gantry_image_sign_async (GantryImage *self, GVariant *options, GCancellable *cancellable,
                              GAsyncReadyCallback callback, gpointer user_data);
GVariant *gantry_image_sign_finish (GantryImage *self, GAsyncResult *result, GError **error);

GantryJob *gantry_image_convert (GantryImage *self, const char *name, GVariant *options,
                                 GCancellable *cancellable, GError **error);
void gantry_image_convert_async (GantryImage *self, const char *name, GVariant *options,
                                 GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data);
GantryJob *gantry_image_convert_finish (GantryImage *self, GAsyncResult *result, GError **error);

GantryJob *gantry_image_install (GantryImage *self, GVariant *options, GCancellable *cancellable,
                                 GError **error);
void gantry_image_install_async (GantryImage *self, GVariant *options, GCancellable *cancellable,
                                 GAsyncReadyCallback callback, gpointer user_data);
GantryJob *gantry_image_install_finish (GantryImage *self, GAsyncResult *result, GError **error);

G_END_DECLS
