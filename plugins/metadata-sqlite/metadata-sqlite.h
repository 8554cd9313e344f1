/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "database.h"

#include <gantry/metadata.h>
#include <gantry/snapshot-index.h>

/** One instance: three interfaces over one database. */
typedef struct
{
  GantryMetadata metadata;
  GantrySnapshotIndex index;
  GantryEventLog log;
  const GantryHost *host;
  Database *database;
  gint garbage_hint; /* (atomic) */
} MetadataSqlite;

#define METADATA_SQLITE_FROM(pointer, member)                                                                \
  ((MetadataSqlite *)((guint8 *)(pointer)-G_STRUCT_OFFSET (MetadataSqlite, member)))

extern const GantryMetadataVtable metadata_sqlite_metadata_vtable;
extern const GantrySnapshotIndexVtable metadata_sqlite_index_vtable;
extern const GantryEventLogVtable metadata_sqlite_log_vtable;

/* records.c */

/** The record, or NULL with NOT_FOUND in containerd's words. */
GantryRecord *records_read (Connection *connection, const char *kind, const char *ns, const char *id,
                            GError **error);
gboolean records_get (GantryMetadata *self, const char *kind, const char *ns, const char *id,
                      GantryRecord **ret_record, GCancellable *cancellable, GError **error);
gboolean records_list (GantryMetadata *self, const char *kind, const char *ns, const char *const *filters,
                       const char *after, guint limit, GantryRecordFunc func, gpointer user_data,
                       GCancellable *cancellable, GError **error);
gboolean records_list_lease (GantryMetadata *self, const char *ns, const char *lease, GPtrArray **ret_records,
                             GCancellable *cancellable, GError **error);

/** Sets NOT_FOUND or ALREADY_EXISTS with the text that containerd's clients know. Returns: FALSE. */
gboolean records_throw_not_found (const char *kind, const char *ns, const char *id, GError **error);
gboolean records_throw_exists (const char *kind, const char *ns, const char *id, GError **error);

/* changes.c */
gboolean changes_apply (GantryMetadata *self, GPtrArray *changes, GPtrArray **ret_records,
                        GCancellable *cancellable, GError **error);
/** @old with what @mask names taken from @new (a{ss}). Returns: (transfer floating). */
GVariant *changes_merge_labels (GVariant *old, GVariant *new_labels, const char *const *mask);
gboolean changes_validate_labels (GVariant *labels, GError **error);

/* edges.c */
gboolean edges_write (Connection *connection, GantryRecord *record, GError **error);
gboolean edges_remove (Connection *connection, const char *ns, const char *kind, const char *id,
                       GError **error);

/* candidates.c */

/** Has the next collection look at one thing. */
gboolean candidates_add (Connection *connection, const char *ns, const char *kind, const char *id,
                         GError **error);
/** At all that an edge of the record leads to. */
gboolean candidates_add_owned (Connection *connection, const char *ns, const char *kind, const char *id,
                               GError **error);
/** At all that it holds, whoever says so, and what it holds as a lease. */
gboolean candidates_add_held (Connection *connection, const char *ns, const char *kind, const char *id,
                              GError **error);
/** Keeps the time of the label containerd.io/gc.expire. */
gboolean expiry_write (Connection *connection, GantryRecord *record, GError **error);
gboolean expiry_remove (Connection *connection, const char *ns, const char *kind, const char *id,
                        GError **error);

/* garbage.c */

/** Notes that the backend has to remove what the content or snapshot record @record, just erased, stood for.
 */
gboolean garbage_remember_record (Connection *connection, GantryRecord *record, GError **error);
gboolean garbage_collect (GantryMetadata *self, gboolean dry_run, GPtrArray **ret_garbage,
                          GCancellable *cancellable, GError **error);
gboolean garbage_pending (GantryMetadata *self, GPtrArray **ret_garbage, GCancellable *cancellable,
                          GError **error);
gboolean garbage_collected (GantryMetadata *self, GPtrArray *garbage, GCancellable *cancellable,
                            GError **error);
gboolean garbage_why (GantryMetadata *self, const char *kind, const char *ns, const char *id,
                      char ***ret_path, GCancellable *cancellable, GError **error);

/* verify.c */
gboolean garbage_repair (GantryMetadata *self, char ***ret_problems, GCancellable *cancellable,
                         GError **error);
gboolean garbage_verify (GantryMetadata *self, char ***ret_problems, GCancellable *cancellable,
                         GError **error);
