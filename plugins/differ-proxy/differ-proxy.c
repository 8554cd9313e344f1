/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The protocol names blobs by digest alone: the other end has them from its own store or from ours, over
 * gRPC.
 */
#include "differ-proxy.h"
#include "media-types.h"

#include <string.h>

#include <gantry/differ.h>

#define PB(name)         Containerd__Services__Diff__V1__##name
#define DESCRIPTOR(name) (&containerd__services__diff__v1__##name##__descriptor)
#define PATH(method)     "/containerd.services.diff.v1.Diff/" method

/* How many times Timeout= a layer may take. */
#define LONG 120

struct _DifferProxy
{
  GantryDiffer differ;
  Peer *peer;
  char **media_types;
};

static Peer *
peer_of (GantryDiffer *self)
{
  return ((DifferProxy *)self)->peer;
}

static gboolean
proxy_can_apply (GantryDiffer *self, const char *media_type)
{
  return g_strv_contains ((const char *const *)((DifferProxy *)self)->media_types, media_type);
}

/* What the protocol has no word for is refused, not left out. */
static gboolean
check_options (GVariant *options, gboolean *ret_sync, GError **error)
{
  gboolean rebase = FALSE, stream = FALSE;

  *ret_sync = TRUE;
  if (options == NULL)
    return TRUE;
  g_variant_lookup (options, "sync", "b", ret_sync);
  if (g_variant_lookup (options, "rebase", "b", &rebase) && rebase)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                         "a proxied differ applies no layer without those below it");
  if (g_variant_lookup (options, "stream", "b", &stream) && stream)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                         "a proxied differ applies no layer that is still to come");
  for (gsize i = 0; i < g_variant_n_children (options); i++)
    {
      const char *key;

      g_variant_get_child (options, i, "{&sv}", &key, NULL);
      if (g_str_has_suffix (key, "-map") || strcmp (key, "only") == 0)
        return gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED, "a proxied differ has no option %s", key);
    }
  return TRUE;
}

static gboolean
take_descriptor (const Containerd__Types__Descriptor *message, const char *what, GantryDescriptor **ret,
                 GError **error)
{
  if (message == NULL || message->digest[0] == '\0')
    return gantry_throw (error, GANTRY_ERROR_INTERNAL, "the answer of %s names no layer", what);
  *ret = wire_descriptor_in (message);
  return TRUE;
}

static gboolean
proxy_apply (GantryDiffer *self, GantryDescriptor *layer, GantryContent *content, GPtrArray *mounts,
             GVariant *options, GantryDifferProgressFunc progress, gpointer user_data,
             GantryDescriptor **ret_diff, GCancellable *cancellable, GError **error)
{
  g_autoptr (GVariant) kept = gantry_variant_keep (options);
  g_autoptr (Scratch) scratch = scratch_new ();
  PB (ApplyRequest) request = CONTAINERD__SERVICES__DIFF__V1__APPLY_REQUEST__INIT;
  PB (ApplyResponse) * reply;
  gboolean sync, ok;

  if (!proxy_can_apply (self, layer->media_type))
    return gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED, "%s is not applied by %s", layer->media_type,
                         peer_get_name (peer_of (self)));
  if (!check_options (kept, &sync, error))
    return FALSE;
  request.diff = wire_descriptor_out (scratch, layer);
  request.mounts = wire_mounts_out (scratch, mounts, &request.n_mounts);
  request.sync_fs = sync;
  reply = peer_call (peer_of (self), PATH ("Apply"), &request.base, DESCRIPTOR (apply_response), LONG,
                     cancellable, error);
  if (reply == NULL)
    return FALSE;
  ok = take_descriptor (reply->applied, "Apply", ret_diff, error);
  wire_message_free (reply);
  return ok;
}

/* The layer lies where the other end put it; @content takes note of it, if that is where it looks, too. */
static gboolean
adopt_layer (GantryContent *content, const char *ref, GantryDescriptor *layer, GVariant *labels,
             GCancellable *cancellable, GError **error)
{
  g_autoptr (GantryIngest) ingest = NULL;
  g_autoptr (GError) local = NULL;

  if (gantry_content_open_ingest (content, ref, layer->blob_size, layer->digest, &ingest, cancellable,
                                  &local))
    {
      g_clear_pointer (&ingest, gantry_ingest_unref);
      gantry_content_abort_ingest (content, ref, NULL, NULL);
      return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                           "layer %s was made, but in a content store that is not ours; both must use one",
                           layer->digest);
    }
  if (!gantry_error_is (local, GANTRY_ERROR_ALREADY_EXISTS))
    {
      g_propagate_error (error, g_steal_pointer (&local));
      return FALSE;
    }
  return labels == NULL || g_variant_n_children (labels) == 0
         || gantry_content_update (content, layer->digest, labels, NULL, NULL, cancellable, error);
}

static gboolean
proxy_compare (GantryDiffer *self, GPtrArray *lower, GPtrArray *upper, const char *media_type,
               GantryContent *content, const char *ref, GVariant *labels, GVariant *options,
               GantryDescriptor **ret_layer, GCancellable *cancellable, GError **error)
{
  g_autoptr (GVariant) kept = gantry_variant_keep (labels);
  g_autoptr (GVariant) kept_options = gantry_variant_keep (options);
  g_autoptr (Scratch) scratch = scratch_new ();
  PB (DiffRequest) request = CONTAINERD__SERVICES__DIFF__V1__DIFF_REQUEST__INIT;
  g_autoptr (GantryDescriptor) layer = NULL;
  PB (DiffResponse) * reply;
  gint64 epoch;
  gboolean ok;

  request.left = wire_mounts_out (scratch, lower, &request.n_left);
  request.right = wire_mounts_out (scratch, upper, &request.n_right);
  request.media_type = WIRE_TEXT (media_type);
  request.ref = WIRE_TEXT (ref);
  wire_labels_out (scratch, kept, DESCRIPTOR (diff_request__labels_entry), &request.n_labels,
                   &request.labels);
  if (kept_options != NULL && g_variant_lookup (kept_options, "source-date-epoch", "x", &epoch))
    {
      request.source_date_epoch = scratch_message (scratch, &google__protobuf__timestamp__descriptor);
      request.source_date_epoch->seconds = epoch;
    }
  reply = peer_call (peer_of (self), PATH ("Diff"), &request.base, DESCRIPTOR (diff_response), LONG,
                     cancellable, error);
  if (reply == NULL)
    return FALSE;
  ok = take_descriptor (reply->diff, "Diff", &layer, error);
  wire_message_free (reply);
  if (!ok || !adopt_layer (content, ref, layer, kept, cancellable, error))
    return FALSE;
  *ret_layer = g_steal_pointer (&layer);
  return TRUE;
}

static const GantryDifferVtable vtable = {
  .size = sizeof (GantryDifferVtable),
  .can_apply = proxy_can_apply,
  .apply = proxy_apply,
  .compare = proxy_compare,
};

DifferProxy *
differ_proxy_new (const GantryHost *host, GError **error)
{
  DifferProxy *self;
  Peer *peer = peer_new (host, error);

  if (peer == NULL)
    return NULL;
  self = g_new0 (DifferProxy, 1);
  self->differ.vtable = &vtable;
  self->peer = peer;
  self->media_types
      = g_strsplit (gantry_host_get_config_string (host, "MediaTypes", DIFFER_PROXY_MEDIA_TYPES), ";", -1);
  return self;
}

void
differ_proxy_free (DifferProxy *self)
{
  if (self == NULL)
    return;
  peer_free (self->peer);
  g_strfreev (self->media_types);
  g_free (self);
}
