/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gantry/gantry-object.h>

G_BEGIN_DECLS

#define GANTRY_TYPE_JOB (gantry_job_get_type ())
G_DECLARE_FINAL_TYPE (GantryJob, gantry_job, GANTRY, JOB, GantryObject)

char *gantry_job_get_phase (GantryJob *self);
guint64 gantry_job_get_bytes (GantryJob *self);
guint64 gantry_job_get_total_bytes (GantryJob *self);
guint gantry_job_get_steps (GantryJob *self);
guint gantry_job_get_total_steps (GantryJob *self);
guint64 gantry_job_get_rate (GantryJob *self);
GVariant *gantry_job_get_items (GantryJob *self);

GVariant *gantry_job_get_info (GantryJob *self, GCancellable *cancellable, GError **error);
void gantry_job_get_info_async (GantryJob *self, GCancellable *cancellable, GAsyncReadyCallback callback,
                                gpointer user_data);
GVariant *gantry_job_get_info_finish (GantryJob *self, GAsyncResult *result, GError **error);

GVariant *gantry_job_wait (GantryJob *self, GCancellable *cancellable, GError **error);
void gantry_job_wait_async (GantryJob *self, GCancellable *cancellable, GAsyncReadyCallback callback,
                            gpointer user_data);
GVariant *gantry_job_wait_finish (GantryJob *self, GAsyncResult *result, GError **error);

gboolean gantry_job_cancel (GantryJob *self, GCancellable *cancellable, GError **error);
void gantry_job_cancel_async (GantryJob *self, GCancellable *cancellable, GAsyncReadyCallback callback,
                              gpointer user_data);
gboolean gantry_job_cancel_finish (GantryJob *self, GAsyncResult *result, GError **error);

G_END_DECLS
