/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Transfer in parts: what each kind of source and destination does. */
#pragma once

#include "convert.h"
#include "streams.h"

#define TYPES(name)            Containerd__Types__Transfer__##name
#define TYPES_DESCRIPTOR(name) containerd__types__transfer__##name##__descriptor

/** One transfer: a job, and perhaps a stream that hears of it. */
typedef struct _Progress Progress;

/** Makes the job @operation. @options: (nullable): may name a stream for progress. Returns: (transfer full).
 */
Progress *progress_new (Call *call, const char *operation,
                        const Containerd__Services__Transfer__V1__TransferOptions *options, GError **error);
GantryJob *progress_job (Progress *self);
/** Tells the client one event about @name (nullable). */
void progress_tell (Progress *self, const char *event, const char *name);
/** Ends the job, well or with @failure (nullable), and frees @self. */
void progress_end (Progress *self, const GError *failure);

/* transfer-registry.c: @source and @destination are messages of types.transfer: OCIRegistry, ImageStore */
gboolean transfer_pull (Call *call, Progress *progress, gconstpointer source, gconstpointer destination,
                        GError **error);
gboolean transfer_push (Call *call, Progress *progress, gconstpointer source, gconstpointer destination,
                        GError **error);

/* transfer-archives.c: ImageImportStream, ImageExportStream, ImageStore */
gboolean transfer_import (Call *call, Progress *progress, gconstpointer source, gconstpointer destination,
                          GError **error);
gboolean transfer_export (Call *call, Progress *progress, gconstpointer source, gconstpointer destination,
                          GError **error);

/* transfer.c */

/** The platforms as strings, NULL-terminated. Returns: (transfer full). */
char **transfer_platforms (gsize n, Containerd__Types__Platform *const *platforms);
/** Errors: NOT_IMPLEMENTED: @store asks for what is not there; it names the field. */
gboolean transfer_check_store (const TYPES (ImageStore) * store, GError **error);
/** The labels of what @store names beside its own name: with that they go. Returns: (transfer floating):
 * a{ss}.
 */
GVariant *transfer_extra_labels (const TYPES (ImageStore) * store);
/** Gives the image @name more names: those of @store that are no prefixes, and "prefix@digest" of those that
 * want one. */
gboolean transfer_name_more (Call *call, const char *name, const TYPES (ImageStore) * store, GError **error);
/** Unpacks the image @name as @store wants. */
gboolean transfer_unpack (Call *call, Progress *progress, const char *name, const TYPES (ImageStore) * store,
                          GError **error);
