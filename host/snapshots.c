/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * containerd.services.snapshots.v1.Snapshots over one snapshotter.
 */
#include "host.h"

#include <beyond.h>
#include <gantry/snapshotter.h>
#include <liststream.h>
#include <wireconv.h>

#define PB(name)         Containerd__Services__Snapshots__V1__##name
#define DESCRIPTOR(name) (&containerd__services__snapshots__v1__##name##__descriptor)

static GBytes *
reply_empty (gboolean ok)
{
  return ok ? g_bytes_new (NULL, 0) : NULL;
}

/* The messages of Prepare, View and Mounts have the same single field. */
static GBytes *
reply_mounts (GPtrArray *mounts)
{
  g_autoptr (Scratch) scratch = scratch_new ();
  PB (MountsResponse) reply = CONTAINERD__SERVICES__SNAPSHOTS__V1__MOUNTS_RESPONSE__INIT;

  reply.mounts = wire_mounts_out (scratch, mounts, &reply.n_mounts);
  return wire_pack (&reply.base);
}

static PB (Info) * info_out (Scratch *scratch, GantrySnapshotInfo *info)
{
  PB (Info) *message = scratch_message (scratch, DESCRIPTOR (info));

  message->name = WIRE_TEXT (info->name);
  message->parent = WIRE_TEXT (info->parent);
  message->kind = (PB (Kind))info->kind;
  message->created_at = wire_time_out (scratch, info->created_ns);
  message->updated_at = wire_time_out (scratch, info->updated_ns);
  wire_labels_out (scratch, info->labels, DESCRIPTOR (info__labels_entry), &message->n_labels,
                   &message->labels);
  return message;
}

/* So have those of Stat and Update. */
static GBytes *
reply_info (GantrySnapshotInfo *info)
{
  g_autoptr (Scratch) scratch = scratch_new ();
  PB (StatSnapshotResponse) reply = CONTAINERD__SERVICES__SNAPSHOTS__V1__STAT_SNAPSHOT_RESPONSE__INIT;

  reply.info = info_out (scratch, info);
  return wire_pack (&reply.base);
}

static GBytes *
prepare (GrpcCall *call, GBytes *bytes, gpointer data, GError **error)
{
  PB (PrepareSnapshotRequest) *request = wire_unpack (DESCRIPTOR (prepare_snapshot_request), bytes, error);
  g_autoptr (GPtrArray) mounts = NULL;
  gboolean ok = request != NULL
                && gantry_snapshotter_prepare (data, request->key, wire_text_or_null (request->parent),
                                               wire_labels_in (request->n_labels, request->labels), &mounts,
                                               grpc_call_get_cancellable (call), error);

  wire_message_free (request);
  return ok ? reply_mounts (mounts) : NULL;
}

static GBytes *
view (GrpcCall *call, GBytes *bytes, gpointer data, GError **error)
{
  PB (ViewSnapshotRequest) *request = wire_unpack (DESCRIPTOR (view_snapshot_request), bytes, error);
  g_autoptr (GPtrArray) mounts = NULL;
  gboolean ok = request != NULL
                && gantry_snapshotter_view (data, request->key, wire_text_or_null (request->parent),
                                            wire_labels_in (request->n_labels, request->labels), &mounts,
                                            grpc_call_get_cancellable (call), error);

  wire_message_free (request);
  return ok ? reply_mounts (mounts) : NULL;
}

static GBytes *
get_mounts (GrpcCall *call, GBytes *bytes, gpointer data, GError **error)
{
  PB (MountsRequest) *request = wire_unpack (DESCRIPTOR (mounts_request), bytes, error);
  g_autoptr (GPtrArray) mounts = NULL;
  gboolean ok
      = request != NULL
        && gantry_snapshotter_mounts (data, request->key, &mounts, grpc_call_get_cancellable (call), error);

  wire_message_free (request);
  return ok ? reply_mounts (mounts) : NULL;
}

static GBytes *
commit (GrpcCall *call, GBytes *bytes, gpointer data, GError **error)
{
  PB (CommitSnapshotRequest) *request = wire_unpack (DESCRIPTOR (commit_snapshot_request), bytes, error);
  gboolean ok
      = request != NULL
        && gantry_snapshotter_commit (data, request->name, request->key, wire_text_or_null (request->parent),
                                      wire_labels_in (request->n_labels, request->labels),
                                      grpc_call_get_cancellable (call), error);

  wire_message_free (request);
  return reply_empty (ok);
}

static GBytes *
remove_one (GrpcCall *call, GBytes *bytes, gpointer data, GError **error)
{
  PB (RemoveSnapshotRequest) *request = wire_unpack (DESCRIPTOR (remove_snapshot_request), bytes, error);
  gboolean ok = request != NULL
                && gantry_snapshotter_remove (data, request->key, grpc_call_get_cancellable (call), error);

  wire_message_free (request);
  return reply_empty (ok);
}

static GBytes *
get_stat (GrpcCall *call, GBytes *bytes, gpointer data, GError **error)
{
  PB (StatSnapshotRequest) *request = wire_unpack (DESCRIPTOR (stat_snapshot_request), bytes, error);
  g_autoptr (GantrySnapshotInfo) info = NULL;
  gboolean ok
      = request != NULL
        && gantry_snapshotter_stat (data, request->key, &info, grpc_call_get_cancellable (call), error);

  wire_message_free (request);
  return ok ? reply_info (info) : NULL;
}

/* Returns: (transfer container) (nullable): NULL for an empty mask: everything. */
static GPtrArray *
mask_in (const Google__Protobuf__FieldMask *mask)
{
  GPtrArray *paths;

  if (mask == NULL || mask->n_paths == 0)
    return NULL;
  paths = g_ptr_array_new ();
  for (size_t i = 0; i < mask->n_paths; i++)
    g_ptr_array_add (paths, mask->paths[i]);
  g_ptr_array_add (paths, NULL);
  return paths;
}

static GBytes *
update (GrpcCall *call, GBytes *bytes, gpointer data, GError **error)
{
  PB (UpdateSnapshotRequest) *request = wire_unpack (DESCRIPTOR (update_snapshot_request), bytes, error);
  g_autoptr (GantrySnapshotInfo) info = NULL;
  g_autoptr (GPtrArray) mask = request != NULL ? mask_in (request->update_mask) : NULL;
  gboolean ok = FALSE;

  if (request != NULL && request->info == NULL)
    gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "an update names no snapshot");
  else if (request != NULL)
    ok = gantry_snapshotter_update (data, request->info->name,
                                    wire_labels_in (request->info->n_labels, request->info->labels),
                                    mask != NULL ? (const char *const *)mask->pdata : NULL, &info,
                                    grpc_call_get_cancellable (call), error);
  wire_message_free (request);
  return ok ? reply_info (info) : NULL;
}

static GBytes *
usage (GrpcCall *call, GBytes *bytes, gpointer data, GError **error)
{
  PB (UsageRequest) *request = wire_unpack (DESCRIPTOR (usage_request), bytes, error);
  PB (UsageResponse) reply = CONTAINERD__SERVICES__SNAPSHOTS__V1__USAGE_RESPONSE__INIT;
  guint64 size = 0, inodes = 0;
  gboolean ok = request != NULL
                && gantry_snapshotter_usage (data, request->key, &size, &inodes,
                                             grpc_call_get_cancellable (call), error);

  wire_message_free (request);
  reply.size = (gint64)size;
  reply.inodes = (gint64)inodes;
  return ok ? wire_pack (&reply.base) : NULL;
}

static GBytes *
cleanup (GrpcCall *call, GBytes *bytes, gpointer data, GError **error)
{
  return reply_empty (gantry_snapshotter_cleanup (data, grpc_call_get_cancellable (call), error));
}

/* List */

static GBytes *
pack_infos (GPtrArray *infos)
{
  g_autoptr (Scratch) scratch = scratch_new ();
  PB (ListSnapshotsResponse) reply = CONTAINERD__SERVICES__SNAPSHOTS__V1__LIST_SNAPSHOTS_RESPONSE__INIT;

  reply.n_info = infos->len;
  reply.info = scratch_alloc (scratch, sizeof (gpointer) * reply.n_info);
  for (guint i = 0; i < infos->len; i++)
    reply.info[i] = info_out (scratch, g_ptr_array_index (infos, i));
  return wire_pack (&reply.base);
}

static gboolean
on_snapshot (GantrySnapshotInfo *info, gpointer data)
{
  list_stream_add (data, info);
  return TRUE;
}

static void
list (GrpcCall *call, GBytes *bytes, gpointer data)
{
  g_autoptr (GError) error = NULL;
  PB (ListSnapshotsRequest) *request = wire_unpack (DESCRIPTOR (list_snapshots_request), bytes, &error);
  g_autoptr (GPtrArray) filters = g_ptr_array_new ();
  ListStream self = list_stream_new (pack_infos);

  for (size_t i = 0; request != NULL && i < request->n_filters; i++)
    g_ptr_array_add (filters, request->filters[i]);
  g_ptr_array_add (filters, NULL);
  if (request != NULL)
    gantry_snapshotter_walk (data, filters->len > 1 ? (const char *const *)filters->pdata : NULL, on_snapshot,
                             &self, grpc_call_get_cancellable (call), &error);
  wire_message_free (request);
  list_stream_send (&self, call, error);
}

static const GrpcMethod methods[] = {
  { .name = "Prepare", .unary = prepare },
  { .name = "View", .unary = view },
  { .name = "Mounts", .unary = get_mounts },
  { .name = "Commit", .unary = commit },
  { .name = "Remove", .unary = remove_one },
  { .name = "Stat", .unary = get_stat },
  { .name = "Update", .unary = update },
  { .name = "List", .start = list },
  { .name = "Usage", .unary = usage, .flags = GRPC_METHOD_LONG },
  { .name = "Cleanup", .unary = cleanup, .flags = GRPC_METHOD_LONG },
};

gboolean
host_serve_snapshotter (GrpcServer *server, const Hosted *hosted, GError **error)
{
  return grpc_server_add_service (server, "containerd.services.snapshots.v1.Snapshots", methods,
                                  G_N_ELEMENTS (methods), hosted->instance, NULL, error);
}

void
host_snapshotter_capabilities (gpointer instance, GPtrArray *names)
{
  unsigned bits = gantry_snapshotter_get_capabilities (instance);

  if ((bits & GANTRY_SNAPSHOTTER_REMAP) != 0)
    g_ptr_array_add (names, (gpointer)WIRE_CAPABILITY_REMAP);
  if ((bits & GANTRY_SNAPSHOTTER_PARALLEL_UNPACK) != 0)
    g_ptr_array_add (names, (gpointer)WIRE_CAPABILITY_PARALLEL_UNPACK);
  if ((bits & GANTRY_SNAPSHOTTER_FAST_USAGE) != 0)
    g_ptr_array_add (names, (gpointer)WIRE_CAPABILITY_FAST_USAGE);
}
