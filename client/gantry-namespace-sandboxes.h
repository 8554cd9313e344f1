/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gantry/gantry-namespace.h>
#include <gantry/gantry-sandbox.h>

G_BEGIN_DECLS

GantrySandbox *gantry_namespace_create_sandbox (GantryNamespace *self, const char *id, GVariant *fields,
                                                GCancellable *cancellable, GError **error);
void gantry_namespace_create_sandbox_async (GantryNamespace *self, const char *id, GVariant *fields,
                                            GCancellable *cancellable, GAsyncReadyCallback callback,
                                            gpointer user_data);
GantrySandbox *gantry_namespace_create_sandbox_finish (GantryNamespace *self, GAsyncResult *result,
                                                       GError **error);

GPtrArray *gantry_namespace_list_sandboxes (GantryNamespace *self, const char *const *filters,
                                            GCancellable *cancellable, GError **error);
void gantry_namespace_list_sandboxes_async (GantryNamespace *self, const char *const *filters,
                                            GCancellable *cancellable, GAsyncReadyCallback callback,
                                            gpointer user_data);
GPtrArray *gantry_namespace_list_sandboxes_finish (GantryNamespace *self, GAsyncResult *result,
                                                   GError **error);

GantrySandbox *gantry_namespace_get_sandbox (GantryNamespace *self, const char *id, GCancellable *cancellable,
                                             GError **error);
void gantry_namespace_get_sandbox_async (GantryNamespace *self, const char *id, GCancellable *cancellable,
                                         GAsyncReadyCallback callback, gpointer user_data);
GantrySandbox *gantry_namespace_get_sandbox_finish (GantryNamespace *self, GAsyncResult *result,
                                                    GError **error);

G_END_DECLS
