/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gantry/differ.h>
#include <gantry/store.h>
#include <gantry/transfer.h>
#include <oci.h>
#include <reference.h>

#include "claim.h"
#include "progress.h"

/* Layers that are unpacked while they come, in the whole daemon. */
#define TRANSFER_MAX_FOLLOWING 2

typedef struct
{
  GantryTransfer transfer;
  const GantryHost *host;
  GantryMetadata *metadata;
  GantryStore *store;

  Claims *claims;         /* of what is unpacked or fetched now */
  GThreadPool *unpackers; /* of layers.c */
  GThreadPool *followers; /* the same, for layers that still come */
  gint following;         /* (atomic): how many of them there are */
  struct _FetchPool *fetchers;
  GThreadPool *pushers; /* of push.c */
  gboolean convert_schema1;
  GMutex lock;
  GHashTable *
      below; /* of layers.c: a claim's key -> directories from that layer down, of those at work; with lock */
  GHashTable *shared_leases; /* "ns/id" -> how many use it, as pointer; with lock */
} TransferLocal;

/** A lease that protects what an operation has made until it ends. */
typedef struct
{
  TransferLocal *transfer;
  char *ns;
  char *id;
  gboolean shared;
} Lease;

/* lease.c */
gboolean lease_begin (TransferLocal *self, const char *ns, Lease *lease, GCancellable *cancellable,
                      GError **error);
void lease_end (Lease *lease);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Lease, lease_end)
/** Ends what transfers of the daemon's last life began: their leases and their ingests. */
gboolean lease_end_stale (TransferLocal *self, GError **error);

/** As lease_begin, but with a lease that is named by @id and may be there from an earlier attempt, or be in
 * use by another one. */
gboolean lease_share (TransferLocal *self, const char *ns, const char *id, Lease *lease,
                      GCancellable *cancellable, GError **error);
/** Keeps what the shared lease holds until it expires. lease_end () may follow. */
void lease_keep (Lease *lease);

/* stream.c */

/** Reads at most @size bytes. Returns: 0 at the end, -1 after a failure. */
gssize stream_read (int fd, void *buffer, gsize size, GCancellable *cancellable, GError **error);
/** Writes all of @data. */
gboolean stream_write (int fd, const void *data, gsize size, GCancellable *cancellable, GError **error);
/* export.c */
gboolean export_archive (GantryTransfer *transfer, GantryJob *job, const char *ns, const char *const *names,
                         int fd, GVariant *options, GCancellable *cancellable, GError **error);
/* import.c */
gboolean import_archive (GantryTransfer *transfer, GantryJob *job, const char *ns, int fd, GVariant *options,
                         char ***ret_names, GCancellable *cancellable, GError **error);
/* unpack.c */
gboolean unpack_image (GantryTransfer *transfer, GantryJob *job, const char *ns, const char *name,
                       GVariant *options, char **ret_chain_id, GCancellable *cancellable, GError **error);
gboolean unpack_target (TransferLocal *self, Progress *progress, const char *ns, const char *lease,
                        GantryDescriptor *target, const char *snapshotter, const char *platform,
                        char **ret_chain_id, GCancellable *cancellable, GError **error);
/** Has the config of @image hold its topmost snapshot @chain (containerd's label), so that it lives as long
 * as the image. */
gboolean unpack_label_config (GantryContent *content, OciImage *image, const char *snapshotter,
                              const char *chain, GCancellable *cancellable, GError **error);

/* pull.c */
gboolean pull_image (GantryTransfer *transfer, GantryJob *job, const char *ns, const char *reference,
                     GantryRegistryAccess *access, GVariant *options, char **ret_name,
                     GantryDescriptor **ret_target, GCancellable *cancellable, GError **error);
/* inspect.c */
gboolean inspect_image (GantryTransfer *transfer, const char *ns, const char *name, const char *platform,
                        GVariant **ret_details, GCancellable *cancellable, GError **error);
/* usage.c */
gboolean usage_image (GantryTransfer *transfer, const char *ns, const char *name, GVariant **ret_usage,
                      GCancellable *cancellable, GError **error);
/* convert.c */
gboolean convert_image (GantryTransfer *transfer, GantryJob *job, const char *ns, const char *name,
                        const char *new_name, GVariant *options, GantryDescriptor **ret_target,
                        GCancellable *cancellable, GError **error);
/* push.c */
gboolean push_image (GantryTransfer *transfer, GantryJob *job, const char *ns, const char *name,
                     const char *reference, GantryRegistryAccess *access, GVariant *options,
                     GantryDescriptor **ret_target, GCancellable *cancellable, GError **error);
void push_work (gpointer task, gpointer unused);

/** The registry client. Errors: UNAVAILABLE. Returns: (transfer none). */
GantryRegistry *pull_find_registry (TransferLocal *self, GError **error);

/* install.c */
gboolean install_image (GantryTransfer *transfer, GantryJob *job, const char *ns, const char *name,
                        GVariant *options, GVariant **ret_result, GCancellable *cancellable, GError **error);

/* layers.c */

/** Who unpacks layers of @media_type, and with @recompress also writes them anew and finds their DiffIDs.
 * Errors: NOT_IMPLEMENTED. Returns: (transfer none). */
GantryDiffer *layers_find_differ (TransferLocal *transfer, const char *media_type, gboolean recompress,
                                  GError **error);
void layers_work (gpointer layer, gpointer unused);
void layers_follow (gpointer layer, gpointer unused);
