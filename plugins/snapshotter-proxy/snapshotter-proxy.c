/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshotter-proxy.h"

#include <string.h>

#include <beyond.h>
#include <gantry/snapshotter.h>

#define PB(name)         Containerd__Services__Snapshots__V1__##name
#define DESCRIPTOR(name) (&containerd__services__snapshots__v1__##name##__descriptor)
#define PATH(method)     "/containerd.services.snapshots.v1.Snapshots/" method

/* How many times Timeout= what works through a whole snapshot may take. */
#define LONG 20

struct _SnapshotterProxy
{
  GantrySnapshotter snapshotter;
  Peer *peer;
  unsigned capabilities; /* as configured, besides what the peer tells */
};

static const struct
{
  const char *name;
  const char *wire_name;
  GantrySnapshotterCapabilities bit;
} capability_names[] = {
  { "remap", WIRE_CAPABILITY_REMAP, GANTRY_SNAPSHOTTER_REMAP },
  { "parallel-unpack", WIRE_CAPABILITY_PARALLEL_UNPACK, GANTRY_SNAPSHOTTER_PARALLEL_UNPACK },
  { "fast-usage", WIRE_CAPABILITY_FAST_USAGE, GANTRY_SNAPSHOTTER_FAST_USAGE },
};

static Peer *
peer_of (GantrySnapshotter *self)
{
  return ((SnapshotterProxy *)self)->peer;
}

static char *
name_of (GantrySnapshotter *self)
{
  return (char *)peer_get_name (peer_of (self));
}

/* A call about the snapshot @key (nullable). What other snapshotters say does not always name it: "snapshot
 * does not exist". */
static gpointer
call_about (GantrySnapshotter *self, const char *key, const char *path, const ProtobufCMessage *request,
            const ProtobufCMessageDescriptor *descriptor, guint factor, GCancellable *cancellable,
            GError **error)
{
  GError *why = NULL;
  gpointer reply = peer_call (peer_of (self), path, request, descriptor, factor, cancellable, &why);

  if (reply != NULL)
    return reply;
  if (key != NULL && strstr (why->message, key) == NULL)
    g_prefix_error (&why, "snapshot \"%s\": ", key);
  g_propagate_error (error, why);
  return NULL;
}

/* A call whose answer says nothing. */
static gboolean
call_empty (GantrySnapshotter *self, const char *key, const char *path, const ProtobufCMessage *request,
            guint factor, GCancellable *cancellable, GError **error)
{
  gpointer reply = call_about (self, key, path, request, &google__protobuf__empty__descriptor, factor,
                               cancellable, error);

  wire_message_free (reply);
  return reply != NULL;
}

static GantrySnapshotInfo *
info_in (const PB (Info) * info)
{
  return gantry_snapshot_info_new ((GantrySnapshotKind)info->kind, info->name,
                                   wire_text_or_null (info->parent),
                                   wire_labels_in (info->n_labels, info->labels),
                                   wire_time_in (info->created_at), wire_time_in (info->updated_at));
}

static gboolean
no_info (const char *key, GError **error)
{
  return gantry_throw (error, GANTRY_ERROR_INTERNAL, "the answer about snapshot %s has no info", key);
}

static unsigned
proxy_get_capabilities (GantrySnapshotter *self)
{
  unsigned bits = ((SnapshotterProxy *)self)->capabilities;

  for (gsize i = 0; i < G_N_ELEMENTS (capability_names); i++)
    if (peer_has_capability (peer_of (self), WIRE_SNAPSHOTTER_TYPE, name_of (self),
                             capability_names[i].wire_name))
      bits |= capability_names[i].bit;
  return bits;
}

static gboolean
proxy_stat (GantrySnapshotter *self, const char *key, GantrySnapshotInfo **ret_info,
            GCancellable *cancellable, GError **error)
{
  PB (StatSnapshotRequest) request = CONTAINERD__SERVICES__SNAPSHOTS__V1__STAT_SNAPSHOT_REQUEST__INIT;
  PB (StatSnapshotResponse) * reply;
  gboolean ok;

  request.snapshotter = name_of (self);
  request.key = (char *)key;
  reply = call_about (self, key, PATH ("Stat"), &request.base, DESCRIPTOR (stat_snapshot_response), 1,
                      cancellable, error);
  if (reply == NULL)
    return FALSE;
  ok = reply->info != NULL || no_info (key, error);
  if (ok)
    *ret_info = info_in (reply->info);
  wire_message_free (reply);
  return ok;
}

static gboolean
proxy_update (GantrySnapshotter *self, const char *key, GVariant *labels, const char *const *mask,
              GantrySnapshotInfo **ret_info, GCancellable *cancellable, GError **error)
{
  g_autoptr (GVariant) kept = gantry_variant_keep (labels);
  g_autoptr (Scratch) scratch = scratch_new ();
  PB (UpdateSnapshotRequest) request = CONTAINERD__SERVICES__SNAPSHOTS__V1__UPDATE_SNAPSHOT_REQUEST__INIT;
  PB (Info) info = CONTAINERD__SERVICES__SNAPSHOTS__V1__INFO__INIT;
  Google__Protobuf__FieldMask paths = GOOGLE__PROTOBUF__FIELD_MASK__INIT;
  static const char *const all[] = { "labels", NULL };
  PB (UpdateSnapshotResponse) * reply;
  gboolean ok;

  mask = mask != NULL ? mask : all;
  info.name = (char *)key;
  wire_labels_out (scratch, kept, DESCRIPTOR (info__labels_entry), &info.n_labels, &info.labels);
  paths.n_paths = g_strv_length ((char **)mask);
  paths.paths = (char **)mask;
  request.snapshotter = name_of (self);
  request.info = &info;
  request.update_mask = &paths;
  reply = call_about (self, key, PATH ("Update"), &request.base, DESCRIPTOR (update_snapshot_response), 1,
                      cancellable, error);
  if (reply == NULL)
    return FALSE;
  ok = reply->info != NULL || no_info (key, error);
  if (ok && ret_info != NULL)
    *ret_info = info_in (reply->info);
  wire_message_free (reply);
  return ok;
}

static gboolean
proxy_usage (GantrySnapshotter *self, const char *key, guint64 *ret_bytes, guint64 *ret_inodes,
             GCancellable *cancellable, GError **error)
{
  PB (UsageRequest) request = CONTAINERD__SERVICES__SNAPSHOTS__V1__USAGE_REQUEST__INIT;
  PB (UsageResponse) * reply;

  request.snapshotter = name_of (self);
  request.key = (char *)key;
  reply = call_about (self, key, PATH ("Usage"), &request.base, DESCRIPTOR (usage_response), LONG,
                      cancellable, error);
  if (reply == NULL)
    return FALSE;
  *ret_bytes = (guint64)MAX (reply->size, 0);
  *ret_inodes = (guint64)MAX (reply->inodes, 0);
  wire_message_free (reply);
  return TRUE;
}

static gboolean
proxy_mounts (GantrySnapshotter *self, const char *key, GPtrArray **ret_mounts, GCancellable *cancellable,
              GError **error)
{
  PB (MountsRequest) request = CONTAINERD__SERVICES__SNAPSHOTS__V1__MOUNTS_REQUEST__INIT;
  PB (MountsResponse) * reply;

  request.snapshotter = name_of (self);
  request.key = (char *)key;
  reply = call_about (self, key, PATH ("Mounts"), &request.base, DESCRIPTOR (mounts_response), 1, cancellable,
                      error);
  if (reply == NULL)
    return FALSE;
  *ret_mounts = wire_mounts_in (reply->n_mounts, reply->mounts);
  wire_message_free (reply);
  return TRUE;
}

/* A remote snapshotter may fetch in here what it mounts: it has longer. */
static gboolean
proxy_prepare (GantrySnapshotter *self, const char *key, const char *parent, GVariant *labels,
               GPtrArray **ret_mounts, GCancellable *cancellable, GError **error)
{
  g_autoptr (GVariant) kept = gantry_variant_keep (labels);
  g_autoptr (Scratch) scratch = scratch_new ();
  PB (PrepareSnapshotRequest) request = CONTAINERD__SERVICES__SNAPSHOTS__V1__PREPARE_SNAPSHOT_REQUEST__INIT;
  PB (PrepareSnapshotResponse) * reply;

  request.snapshotter = name_of (self);
  request.key = (char *)key;
  request.parent = WIRE_TEXT (parent);
  wire_labels_out (scratch, kept, DESCRIPTOR (prepare_snapshot_request__labels_entry), &request.n_labels,
                   &request.labels);
  reply = call_about (self, key, PATH ("Prepare"), &request.base, DESCRIPTOR (prepare_snapshot_response),
                      LONG, cancellable, error);
  if (reply == NULL)
    return FALSE;
  if (ret_mounts != NULL)
    *ret_mounts = wire_mounts_in (reply->n_mounts, reply->mounts);
  wire_message_free (reply);
  return TRUE;
}

static gboolean
proxy_view (GantrySnapshotter *self, const char *key, const char *parent, GVariant *labels,
            GPtrArray **ret_mounts, GCancellable *cancellable, GError **error)
{
  g_autoptr (GVariant) kept = gantry_variant_keep (labels);
  g_autoptr (Scratch) scratch = scratch_new ();
  PB (ViewSnapshotRequest) request = CONTAINERD__SERVICES__SNAPSHOTS__V1__VIEW_SNAPSHOT_REQUEST__INIT;
  PB (ViewSnapshotResponse) * reply;

  request.snapshotter = name_of (self);
  request.key = (char *)key;
  request.parent = WIRE_TEXT (parent);
  wire_labels_out (scratch, kept, DESCRIPTOR (view_snapshot_request__labels_entry), &request.n_labels,
                   &request.labels);
  reply = call_about (self, key, PATH ("View"), &request.base, DESCRIPTOR (view_snapshot_response), LONG,
                      cancellable, error);
  if (reply == NULL)
    return FALSE;
  if (ret_mounts != NULL)
    *ret_mounts = wire_mounts_in (reply->n_mounts, reply->mounts);
  wire_message_free (reply);
  return TRUE;
}

/* Whether @key has the parent that a commit without a rebase may name. */
static gboolean
check_parent (GantrySnapshotter *self, const char *key, const char *parent, GCancellable *cancellable,
              GError **error)
{
  g_autoptr (GantrySnapshotInfo) info = NULL;

  if (!proxy_stat (self, key, &info, cancellable, error))
    return FALSE;
  return g_strcmp0 (info->parent, parent) == 0
         || gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                          "snapshot %s has another parent than %s, and %s is not known to rebase", key,
                          parent, name_of (self));
}

static gboolean
proxy_commit (GantrySnapshotter *self, const char *name, const char *key, const char *parent,
              GVariant *labels, GCancellable *cancellable, GError **error)
{
  g_autoptr (GVariant) kept = gantry_variant_keep (labels);
  g_autoptr (Scratch) scratch = scratch_new ();
  PB (CommitSnapshotRequest) request = CONTAINERD__SERVICES__SNAPSHOTS__V1__COMMIT_SNAPSHOT_REQUEST__INIT;

  if (parent != NULL && (proxy_get_capabilities (self) & GANTRY_SNAPSHOTTER_PARALLEL_UNPACK) == 0)
    {
      if (!check_parent (self, key, parent, cancellable, error))
        return FALSE;
      parent = NULL;
    }
  request.snapshotter = name_of (self);
  request.name = (char *)name;
  request.key = (char *)key;
  request.parent = WIRE_TEXT (parent);
  wire_labels_out (scratch, kept, DESCRIPTOR (commit_snapshot_request__labels_entry), &request.n_labels,
                   &request.labels);
  return call_empty (self, key, PATH ("Commit"), &request.base, LONG, cancellable, error);
}

static gboolean
proxy_remove (GantrySnapshotter *self, const char *key, GCancellable *cancellable, GError **error)
{
  PB (RemoveSnapshotRequest) request = CONTAINERD__SERVICES__SNAPSHOTS__V1__REMOVE_SNAPSHOT_REQUEST__INIT;

  request.snapshotter = name_of (self);
  request.key = (char *)key;
  return call_empty (self, key, PATH ("Remove"), &request.base, 1, cancellable, error);
}

typedef struct
{
  GantrySnapshotFunc func;
  gpointer user_data;
} Walk;

static gboolean
on_list (gconstpointer message, gpointer user_data, GError **error)
{
  const PB (ListSnapshotsResponse) *reply = message;
  Walk *walk = user_data;

  for (size_t i = 0; i < reply->n_info; i++)
    {
      g_autoptr (GantrySnapshotInfo) info = info_in (reply->info[i]);

      if (!walk->func (info, walk->user_data))
        return FALSE;
    }
  return TRUE;
}

static gboolean
proxy_walk (GantrySnapshotter *self, const char *const *filters, GantrySnapshotFunc func, gpointer user_data,
            GCancellable *cancellable, GError **error)
{
  PB (ListSnapshotsRequest) request = CONTAINERD__SERVICES__SNAPSHOTS__V1__LIST_SNAPSHOTS_REQUEST__INIT;
  Walk walk = { func, user_data };

  request.snapshotter = name_of (self);
  request.n_filters = filters != NULL ? g_strv_length ((char **)filters) : 0;
  request.filters = (char **)filters;
  return peer_read (peer_of (self), PATH ("List"), &request.base, DESCRIPTOR (list_snapshots_response),
                    on_list, &walk, cancellable, error);
}

static gboolean
proxy_cleanup (GantrySnapshotter *self, GCancellable *cancellable, GError **error)
{
  PB (CleanupRequest) request = CONTAINERD__SERVICES__SNAPSHOTS__V1__CLEANUP_REQUEST__INIT;
  g_autoptr (GError) local = NULL;

  request.snapshotter = name_of (self);
  if (call_empty (self, NULL, PATH ("Cleanup"), &request.base, LONG, cancellable, &local)
      || gantry_error_is (local, GANTRY_ERROR_NOT_IMPLEMENTED)) /* it has nothing to clean up */
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&local));
  return FALSE;
}

static const GantrySnapshotterVtable vtable = {
  .size = sizeof (GantrySnapshotterVtable),
  .get_capabilities = proxy_get_capabilities,
  .stat = proxy_stat,
  .update = proxy_update,
  .usage = proxy_usage,
  .mounts = proxy_mounts,
  .prepare = proxy_prepare,
  .view = proxy_view,
  .commit = proxy_commit,
  .remove = proxy_remove,
  .walk = proxy_walk,
  .cleanup = proxy_cleanup,
};

static gboolean
read_capabilities (const GantryHost *host, unsigned *ret_bits, GError **error)
{
  g_auto (GStrv) words = g_strsplit (gantry_host_get_config_string (host, "Capabilities", ""), ";", -1);

  *ret_bits = 0;
  for (gsize i = 0; words[i] != NULL; i++)
    {
      gsize k = 0;

      if (*g_strstrip (words[i]) == '\0')
        continue;
      while (k < G_N_ELEMENTS (capability_names) && strcmp (capability_names[k].name, words[i]) != 0)
        k++;
      if (k == G_N_ELEMENTS (capability_names))
        return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                             "Capabilities=%s is none of remap, parallel-unpack, fast-usage", words[i]);
      *ret_bits |= capability_names[k].bit;
    }
  return TRUE;
}

SnapshotterProxy *
snapshotter_proxy_new (const GantryHost *host, GError **error)
{
  SnapshotterProxy *self;
  unsigned capabilities;
  Peer *peer;

  if (!read_capabilities (host, &capabilities, error) || (peer = peer_new (host, error)) == NULL)
    return NULL;
  self = g_new0 (SnapshotterProxy, 1);
  self->snapshotter.vtable = &vtable;
  self->peer = peer;
  self->capabilities = capabilities;
  return self;
}

void
snapshotter_proxy_free (SnapshotterProxy *self)
{
  if (self == NULL)
    return;
  peer_free (self->peer);
  g_free (self);
}
