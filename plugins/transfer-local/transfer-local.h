/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gantry/differ.h>
#include <gantry/store.h>
#include <gantry/transfer.h>
#include <oci.h>
#include <reference.h>

typedef struct {
  GantryTransfer transfer;
  const GantryHost *host;
  GantryMetadata *metadata;
  GantryStore *store;

  GMutex lock; /* one unpack of a snapshotter's chain at a time */
  GCond cond;
  GHashTable *unpacking; /* "ns/snapshotter/chain" under way; with lock */
} TransferLocal;

/** A lease that protects what an operation has made until it ends. */
typedef struct {
  TransferLocal *transfer;
  char *ns;
  char *id;
} Lease;

gboolean lease_begin (TransferLocal *self, const char *ns, Lease *lease, GCancellable *cancellable, GError **error);
void lease_end (Lease *lease);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Lease, lease_end)

/* stream.c */

/** Reads at most @size bytes. Returns: 0 at the end, -1 after a failure. */
gssize stream_read (int fd, void *buffer, gsize size, GCancellable *cancellable, GError **error);
/** Writes all of @data. */
gboolean stream_write (int fd, const void *data, gsize size, GCancellable *cancellable, GError **error);
/* export.c */
gboolean export_archive (GantryTransfer *transfer, GantryJob *job, const char *ns, const char *const *names, int fd,
                         GVariant *options, GCancellable *cancellable, GError **error);
/* import.c */
gboolean import_archive (GantryTransfer *transfer, GantryJob *job, const char *ns, int fd, GVariant *options,
                         char ***ret_names, GCancellable *cancellable, GError **error);
/* unpack.c */
gboolean unpack_image (GantryTransfer *transfer, GantryJob *job, const char *ns, const char *name, GVariant *options,
                       char **ret_chain_id, GCancellable *cancellable, GError **error);
gboolean unpack_target (TransferLocal *self, GantryJob *job, const char *ns, const char *lease, GantryDescriptor *target,
                        const char *snapshotter, const char *platform, char **ret_chain_id, GCancellable *cancellable,
                        GError **error);
void job_phase (GantryJob *job, const char *phase);
