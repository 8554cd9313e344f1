/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * containerd.services.snapshots.v1.Snapshots: a snapshotter's view of the namespace and lease of the call. */
#include "convert.h"

#include <string.h>

#define PB(name)         Containerd__Services__Snapshots__V1__##name
#define DESCRIPTOR(name) containerd__services__snapshots__v1__##name##__descriptor

/* Infos in a message of List, as containerd has it. */
/* Returns: (transfer none): the call keeps it. */
static GantrySnapshotter *
open_snapshotter (Call *call, const char *name, GError **error)
{
  g_autoptr (GError) local = NULL;
  GantrySnapshotter *snapshotter = NULL;

  if (name[0] == '\0')
    gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "snapshotter argument missing: invalid argument");
  else if (gantry_store_open_snapshotter (call->api->store, call->ns, call->lease, name, &snapshotter, NULL,
                                          call->cancellable, &local))
    return call_keep (call, snapshotter, (GDestroyNotify)gantry_snapshotter_unref);
  else if (gantry_error_is (local, GANTRY_ERROR_NOT_FOUND))
    gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "snapshotter not loaded: %s: invalid argument", name);
  else
    g_propagate_error (error, g_steal_pointer (&local));
  return NULL;
}

static PB (Info) * info_to_message (Call *call, GantrySnapshotInfo *info)
{
  PB (Info) *message = message_new (call, &DESCRIPTOR (info));

  message->name = TEXT (info->name);
  message->parent = TEXT (info->parent);
  message->kind = (PB (Kind))info->kind;
  message->created_at = timestamp_new (call, info->created_ns);
  message->updated_at = timestamp_new (call, info->updated_ns);
  labels_to_entries (call, info->labels, &DESCRIPTOR (info__labels_entry), &message->n_labels,
                     &message->labels);
  return message;
}

static GVariant *
labels_or_null (gsize n, gpointer entries)
{
  return n > 0 ? labels_from_entries (n, entries) : NULL;
}

static const ProtobufCMessage *
prepare (Call *call, gconstpointer data, GError **error)
{
  const PB (PrepareSnapshotRequest) *request = data;
  PB (PrepareSnapshotResponse) *reply = message_new (call, &DESCRIPTOR (prepare_snapshot_response));
  GantrySnapshotter *snapshotter = open_snapshotter (call, request->snapshotter, error);
  GPtrArray *mounts = NULL;

  if (snapshotter == NULL
      || !gantry_snapshotter_prepare (snapshotter, request->key, non_empty (request->parent),
                                      labels_or_null (request->n_labels, request->labels), &mounts,
                                      call->cancellable, error))
    return NULL;
  call_keep (call, mounts, (GDestroyNotify)g_ptr_array_unref);
  reply->mounts = mounts_to_messages (call, mounts, &reply->n_mounts);
  return &reply->base;
}

static const ProtobufCMessage *
view (Call *call, gconstpointer data, GError **error)
{
  const PB (ViewSnapshotRequest) *request = data;
  PB (ViewSnapshotResponse) *reply = message_new (call, &DESCRIPTOR (view_snapshot_response));
  GantrySnapshotter *snapshotter = open_snapshotter (call, request->snapshotter, error);
  GPtrArray *mounts = NULL;

  if (snapshotter == NULL
      || !gantry_snapshotter_view (snapshotter, request->key, non_empty (request->parent),
                                   labels_or_null (request->n_labels, request->labels), &mounts,
                                   call->cancellable, error))
    return NULL;
  call_keep (call, mounts, (GDestroyNotify)g_ptr_array_unref);
  reply->mounts = mounts_to_messages (call, mounts, &reply->n_mounts);
  return &reply->base;
}

static const ProtobufCMessage *
mounts (Call *call, gconstpointer data, GError **error)
{
  const PB (MountsRequest) *request = data;
  PB (MountsResponse) *reply = message_new (call, &DESCRIPTOR (mounts_response));
  GantrySnapshotter *snapshotter = open_snapshotter (call, request->snapshotter, error);
  GPtrArray *found = NULL;

  if (snapshotter == NULL
      || !gantry_snapshotter_mounts (snapshotter, request->key, &found, call->cancellable, error))
    return NULL;
  call_keep (call, found, (GDestroyNotify)g_ptr_array_unref);
  reply->mounts = mounts_to_messages (call, found, &reply->n_mounts);
  return &reply->base;
}

static const ProtobufCMessage *
commit (Call *call, gconstpointer data, GError **error)
{
  const PB (CommitSnapshotRequest) *request = data;
  GantrySnapshotter *snapshotter = open_snapshotter (call, request->snapshotter, error);

  if (snapshotter == NULL
      || !gantry_snapshotter_commit (snapshotter, request->name, request->key, non_empty (request->parent),
                                     labels_or_null (request->n_labels, request->labels), call->cancellable,
                                     error))
    return NULL;
  return reply_empty (call);
}

static const ProtobufCMessage *
remove_one (Call *call, gconstpointer data, GError **error)
{
  const PB (RemoveSnapshotRequest) *request = data;
  GantrySnapshotter *snapshotter = open_snapshotter (call, request->snapshotter, error);

  if (snapshotter == NULL || !gantry_snapshotter_remove (snapshotter, request->key, call->cancellable, error))
    return NULL;
  return reply_empty (call);
}

static const ProtobufCMessage *
stat (Call *call, gconstpointer data, GError **error)
{
  const PB (StatSnapshotRequest) *request = data;
  PB (StatSnapshotResponse) *reply = message_new (call, &DESCRIPTOR (stat_snapshot_response));
  GantrySnapshotter *snapshotter = open_snapshotter (call, request->snapshotter, error);
  GantrySnapshotInfo *info = NULL;

  if (snapshotter == NULL
      || !gantry_snapshotter_stat (snapshotter, request->key, &info, call->cancellable, error))
    return NULL;
  reply->info = info_to_message (call, call_keep (call, info, (GDestroyNotify)gantry_snapshot_info_unref));
  return &reply->base;
}

static gboolean
check_mask (const char *const *mask, const char *what, GError **error)
{
  for (gsize i = 0; mask != NULL && mask[i] != NULL; i++)
    if (strcmp (mask[i], "labels") != 0 && !g_str_has_prefix (mask[i], "labels."))
      return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                           "cannot update \"%s\" field on snapshot \"%s\": invalid argument", mask[i], what);
  return TRUE;
}

static const ProtobufCMessage *
update (Call *call, gconstpointer data, GError **error)
{
  const PB (UpdateSnapshotRequest) *request = data;
  PB (UpdateSnapshotResponse) *reply = message_new (call, &DESCRIPTOR (update_snapshot_response));
  const char *const *mask = mask_paths (call, request->update_mask);
  GantrySnapshotter *snapshotter = open_snapshotter (call, request->snapshotter, error);
  GantrySnapshotInfo *info = NULL;

  if (snapshotter == NULL)
    return NULL;
  if (request->info == NULL || request->info->name[0] == '\0')
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "a snapshot's name is required: invalid argument");
      return NULL;
    }
  if (!check_mask (mask, request->info->name, error)
      || !gantry_snapshotter_update (snapshotter, request->info->name,
                                     labels_from_entries (request->info->n_labels, request->info->labels),
                                     mask, &info, call->cancellable, error))
    return NULL;
  reply->info = info_to_message (call, call_keep (call, info, (GDestroyNotify)gantry_snapshot_info_unref));
  return &reply->base;
}

static gboolean
on_snapshot (GantrySnapshotInfo *info, gpointer user_data)
{
  g_auto (Arena) arena;
  Call item = { .arena = &arena };

  arena_init (&arena);
  blocks_add (user_data, &info_to_message (&item, info)->base);
  return TRUE;
}

static gboolean
list (Call *call, gconstpointer data, GError **error)
{
  const PB (ListSnapshotsRequest) *request = data;
  GantrySnapshotter *snapshotter = open_snapshotter (call, request->snapshotter, error);
  Blocks blocks;

  blocks_init (&blocks);
  return blocks_end (&blocks, call,
                     snapshotter != NULL
                         && gantry_snapshotter_walk (snapshotter,
                                                     strings (call, request->n_filters, request->filters),
                                                     on_snapshot, &blocks, call->cancellable, error));
}

static const ProtobufCMessage *
usage (Call *call, gconstpointer data, GError **error)
{
  const PB (UsageRequest) *request = data;
  PB (UsageResponse) *reply = message_new (call, &DESCRIPTOR (usage_response));
  GantrySnapshotter *snapshotter = open_snapshotter (call, request->snapshotter, error);
  guint64 bytes, inodes;

  if (snapshotter == NULL
      || !gantry_snapshotter_usage (snapshotter, request->key, &bytes, &inodes, call->cancellable, error))
    return NULL;
  reply->size = (gint64)bytes;
  reply->inodes = (gint64)inodes;
  return &reply->base;
}

static const ProtobufCMessage *
cleanup (Call *call, gconstpointer data, GError **error)
{
  const PB (CleanupRequest) *request = data;
  GantrySnapshotter *snapshotter = open_snapshotter (call, request->snapshotter, error);

  return snapshotter != NULL && gantry_snapshotter_cleanup (snapshotter, call->cancellable, error)
             ? reply_empty (call)
             : NULL;
}

static const Method methods[] = {
  { "Prepare", GRPC_METHOD_NORMAL, &DESCRIPTOR (prepare_snapshot_request), prepare },
  { "View", GRPC_METHOD_NORMAL, &DESCRIPTOR (view_snapshot_request), view },
  { "Mounts", GRPC_METHOD_NORMAL, &DESCRIPTOR (mounts_request), mounts },
  { "Commit", GRPC_METHOD_NORMAL, &DESCRIPTOR (commit_snapshot_request), commit },
  { "Remove", GRPC_METHOD_NORMAL, &DESCRIPTOR (remove_snapshot_request), remove_one },
  { "Stat", GRPC_METHOD_NORMAL, &DESCRIPTOR (stat_snapshot_request), stat },
  { "Update", GRPC_METHOD_NORMAL, &DESCRIPTOR (update_snapshot_request), update },
  { "List", GRPC_METHOD_NORMAL, &DESCRIPTOR (list_snapshots_request), NULL, list },
  { "Usage", GRPC_METHOD_LONG, &DESCRIPTOR (usage_request), usage },
  { "Cleanup", GRPC_METHOD_LONG, &DESCRIPTOR (cleanup_request), cleanup },
};

const Service snapshots_service
    = { "containerd.services.snapshots.v1.Snapshots", TRUE, methods, G_N_ELEMENTS (methods) };
