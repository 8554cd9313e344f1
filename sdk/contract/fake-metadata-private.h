/* SPDX-License-Identifier: MIT
 *
 * What the two files of the fake of metadata share. */
#pragma once

#include "fake-metadata.h"

/** Everything at one moment. */
typedef struct
{
  GHashTable *records; /* key of kind, ns and id -> GantryRecord */
  GHashTable *held;    /* key of ns and lease -> set of keys of what it holds */
} FakeState;

typedef struct
{
  GantryMetadata metadata;
  GantryEventLog *log;
  GMutex lock;
  FakeState state;    /* with lock */
  GPtrArray *pending; /* (element-type GantryGarbage); with lock */
  guint64 hint;       /* with lock */
} FakeMetadata;

/** The key of a record. Returns: (transfer full). */
char *fake_record_key (const char *kind, const char *ns, const char *id);

/** Whether a label of @record says a time that is over; -1: there is no such label. */
int fake_record_expired (GantryRecord *record);

gboolean fake_metadata_collect (GantryMetadata *metadata, gboolean dry_run, GPtrArray **ret_garbage,
                                GCancellable *cancellable, GError **error);
gboolean fake_metadata_pending (GantryMetadata *metadata, GPtrArray **ret_garbage, GCancellable *cancellable,
                                GError **error);
gboolean fake_metadata_collected (GantryMetadata *metadata, GPtrArray *garbage, GCancellable *cancellable,
                                  GError **error);
gboolean fake_metadata_why (GantryMetadata *metadata, const char *kind, const char *ns, const char *id,
                            char ***ret_path, GCancellable *cancellable, GError **error);

/** Sets NOT_FOUND. Returns: FALSE. */
gboolean fake_metadata_throw_absent (const char *kind, const char *ns, const char *id, GError **error);
