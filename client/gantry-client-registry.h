/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gantry/gantry-client.h>

G_BEGIN_DECLS

GVariant *gantry_client_explain_registry (GantryClient *self, const char *reference, GVariant *options,
                                          GCancellable *cancellable, GError **error);
void gantry_client_explain_registry_async (GantryClient *self, const char *reference, GVariant *options,
                                           GCancellable *cancellable, GAsyncReadyCallback callback,
                                           gpointer user_data);
GVariant *gantry_client_explain_registry_finish (GantryClient *self, GAsyncResult *result, GError **error);

GVariant *gantry_client_login (GantryClient *self, const char *server, GVariant *options,
                               GCancellable *cancellable, GError **error);
void gantry_client_login_async (GantryClient *self, const char *server, GVariant *options,
                                GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data);
GVariant *gantry_client_login_finish (GantryClient *self, GAsyncResult *result, GError **error);

gboolean gantry_client_logout (GantryClient *self, const char *server, GCancellable *cancellable,
                               GError **error);
void gantry_client_logout_async (GantryClient *self, const char *server, GCancellable *cancellable,
                                 GAsyncReadyCallback callback, gpointer user_data);
gboolean gantry_client_logout_finish (GantryClient *self, GAsyncResult *result, GError **error);

char **gantry_client_search_tags (GantryClient *self, const char *reference, GVariant *options,
                                  GCancellable *cancellable, GError **error);
void gantry_client_search_tags_async (GantryClient *self, const char *reference, GVariant *options,
                                      GCancellable *cancellable, GAsyncReadyCallback callback,
                                      gpointer user_data);
char **gantry_client_search_tags_finish (GantryClient *self, GAsyncResult *result, GError **error);

GVariant *gantry_client_list_referrers (GantryClient *self, const char *reference, GVariant *options,
                                        GCancellable *cancellable, GError **error);
void gantry_client_list_referrers_async (GantryClient *self, const char *reference, GVariant *options,
                                         GCancellable *cancellable, GAsyncReadyCallback callback,
                                         gpointer user_data);
GVariant *gantry_client_list_referrers_finish (GantryClient *self, GAsyncResult *result, GError **error);

G_END_DECLS
