/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The protocol names blobs by digest alone: the other end has them from its own store, from ours over gRPC,
 * or, with ContentAddress=, from what the caller gave (back-channel.h).
 */
#include "differ-proxy.h"
#include "back-channel.h"
#include "media-types.h"

#include <string.h>

#include <beyond.h>
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
  BackChannel *back; /* (nullable) */
  char **media_types;
};

/* The peer as one call sees it. */
typedef struct
{
  BackChannel *back;
  char *ns;
  Peer *peer;
} Session;

static gboolean
proxy_can_apply (GantryDiffer *self, const char *media_type)
{
  return g_strv_contains ((const char *const *)((DifferProxy *)self)->media_types, media_type);
}

static gboolean
session_open (DifferProxy *self, GantryContent *content, GantryDifferProgressFunc progress,
              gpointer user_data, Session *session, GError **error)
{
  g_autoptr (GrpcMetadata) metadata = NULL;

  *session = (Session){ self->back, NULL, self->peer };
  if (self->back == NULL)
    return TRUE;
  session->ns = back_channel_open (self->back, content, progress, user_data, error);
  if (session->ns == NULL)
    return FALSE;
  metadata = grpc_metadata_new ();
  grpc_metadata_append (metadata, "containerd-namespace", session->ns);
  session->peer = peer_with_metadata (self->peer, metadata);
  return TRUE;
}

static void
session_clear (Session *session)
{
  if (session->ns == NULL)
    return;
  back_channel_close (session->back, session->ns);
  peer_free (session->peer);
  g_clear_pointer (&session->ns, g_free);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Session, session_clear)

/* Those that the protocol has a field for, and those that only a host of ours takes. */
static const struct
{
  const char *key;
  const char *type;
  gboolean beyond;
} apply_options[] = {
  { "sync", "b", FALSE },   { "rebase", "b", FALSE }, { "stream", "b", FALSE },
  { "uid-map", "s", TRUE }, { "gid-map", "s", TRUE }, { "only", "as", TRUE },
};

static gboolean
check_option (DifferProxy *self, const char *key, GVariant *value, GVariantDict *beyond, GError **error)
{
  gsize i = 0;

  while (i < G_N_ELEMENTS (apply_options) && strcmp (apply_options[i].key, key) != 0)
    i++;
  if (i == G_N_ELEMENTS (apply_options))
    return TRUE; /* of no differ that is known */
  if (!g_variant_is_of_type (value, G_VARIANT_TYPE (apply_options[i].type)))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the option %s of a differ is not of type %s",
                         key, apply_options[i].type);
  if (!apply_options[i].beyond)
    return TRUE;
  if (!peer_has_capability (self->peer, WIRE_DIFFER_TYPE, NULL, WIRE_CAPABILITY_OPTIONS))
    return gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED, "a proxied differ has no option %s", key);
  g_variant_dict_insert_value (beyond, key, value);
  return TRUE;
}

/* What the protocol has no word for is refused, not left out. *@ret_beyond: what goes as payload. */
static gboolean
check_options (DifferProxy *self, GVariant *options, gboolean *ret_sync, GVariant **ret_beyond,
               GError **error)
{
  g_auto (GVariantDict) beyond = G_VARIANT_DICT_INIT (NULL);
  gboolean rebase = FALSE, stream = FALSE;

  *ret_sync = TRUE;
  for (gsize i = 0; options != NULL && i < g_variant_n_children (options); i++)
    {
      g_autoptr (GVariant) value = NULL;
      const char *key;

      g_variant_get_child (options, i, "{&sv}", &key, &value);
      if (!check_option (self, key, value, &beyond, error))
        return FALSE;
    }
  if (options != NULL)
    {
      g_variant_lookup (options, "sync", "b", ret_sync);
      g_variant_lookup (options, "rebase", "b", &rebase);
      g_variant_lookup (options, "stream", "b", &stream);
    }
  if (rebase)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                         "a proxied differ applies no layer without those below it");
  if (stream)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                         "a proxied differ applies no layer that is still to come");
  *ret_beyond = g_variant_ref_sink (g_variant_dict_end (&beyond));
  return TRUE;
}

static gboolean
add_payload (Scratch *scratch, GVariant *beyond, PB (ApplyRequest) * request, GError **error)
{
  PB (ApplyRequest__PayloadsEntry) * entry;

  if (g_variant_n_children (beyond) == 0)
    return TRUE;
  if (g_variant_get_size (beyond) > WIRE_MAX_OPTIONS)
    return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED,
                         "the options of a proxied differ may have %d bytes", WIRE_MAX_OPTIONS);
  entry = scratch_message (scratch, DESCRIPTOR (apply_request__payloads_entry));
  entry->key = (char *)WIRE_OPTIONS_KEY;
  entry->value = scratch_message (scratch, &google__protobuf__any__descriptor);
  entry->value->type_url = (char *)WIRE_OPTIONS_TYPE;
  entry->value->value.len = g_variant_get_size (beyond);
  entry->value->value.data = (guint8 *)g_variant_get_data (beyond);
  request->payloads = scratch_alloc (scratch, sizeof entry);
  request->payloads[0] = entry;
  request->n_payloads = 1;
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
proxy_apply (GantryDiffer *differ, GantryDescriptor *layer, GantryContent *content, GPtrArray *mounts,
             GVariant *options, GantryDifferProgressFunc progress, gpointer user_data,
             GantryDescriptor **ret_diff, GCancellable *cancellable, GError **error)
{
  DifferProxy *self = (DifferProxy *)differ;
  g_autoptr (GVariant) kept = gantry_variant_keep (options);
  g_autoptr (GVariant) beyond = NULL;
  g_autoptr (Scratch) scratch = scratch_new ();
  g_auto (Session) session = { 0 };
  PB (ApplyRequest) request = CONTAINERD__SERVICES__DIFF__V1__APPLY_REQUEST__INIT;
  PB (ApplyResponse) * reply;
  gboolean sync, ok;

  if (!proxy_can_apply (differ, layer->media_type))
    return gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED, "%s is not applied by %s", layer->media_type,
                         peer_get_name (self->peer));
  if (!check_options (self, kept, &sync, &beyond, error) || !add_payload (scratch, beyond, &request, error)
      || !session_open (self, content, progress, user_data, &session, error))
    return FALSE;
  request.diff = wire_descriptor_out (scratch, layer);
  request.mounts = wire_mounts_out (scratch, mounts, &request.n_mounts);
  request.sync_fs = sync;
  reply = peer_call (session.peer, PATH ("Apply"), &request.base, DESCRIPTOR (apply_response), LONG,
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

static void
fill_diff_request (Scratch *scratch, GPtrArray *lower, GPtrArray *upper, GVariant *labels, GVariant *options,
                   PB (DiffRequest) * request)
{
  gint64 epoch;

  request->left = wire_mounts_out (scratch, lower, &request->n_left);
  request->right = wire_mounts_out (scratch, upper, &request->n_right);
  wire_labels_out (scratch, labels, DESCRIPTOR (diff_request__labels_entry), &request->n_labels,
                   &request->labels);
  if (options != NULL && g_variant_lookup (options, "source-date-epoch", "x", &epoch))
    {
      request->source_date_epoch = scratch_message (scratch, &google__protobuf__timestamp__descriptor);
      request->source_date_epoch->seconds = epoch;
    }
}

static gboolean
proxy_compare (GantryDiffer *differ, GPtrArray *lower, GPtrArray *upper, const char *media_type,
               GantryContent *content, const char *ref, GVariant *labels, GVariant *options,
               GantryDescriptor **ret_layer, GCancellable *cancellable, GError **error)
{
  DifferProxy *self = (DifferProxy *)differ;
  g_autoptr (GVariant) kept = gantry_variant_keep (labels);
  g_autoptr (GVariant) kept_options = gantry_variant_keep (options);
  g_autoptr (Scratch) scratch = scratch_new ();
  g_auto (Session) session = { 0 };
  PB (DiffRequest) request = CONTAINERD__SERVICES__DIFF__V1__DIFF_REQUEST__INIT;
  g_autoptr (GantryDescriptor) layer = NULL;
  PB (DiffResponse) * reply;
  gboolean ok;

  if (!session_open (self, content, NULL, NULL, &session, error))
    return FALSE;
  request.media_type = WIRE_TEXT (media_type);
  request.ref = WIRE_TEXT (ref);
  fill_diff_request (scratch, lower, upper, kept, kept_options, &request);
  reply = peer_call (session.peer, PATH ("Diff"), &request.base, DESCRIPTOR (diff_response), LONG,
                     cancellable, error);
  if (reply == NULL)
    {
      /* It may not come to do so itself: the way back ends with this call. */
      if (self->back != NULL)
        gantry_content_abort_ingest (content, ref, NULL, NULL);
      return FALSE;
    }
  ok = take_descriptor (reply->diff, "Diff", &layer, error);
  wire_message_free (reply);
  if (!ok || (self->back == NULL && !adopt_layer (content, ref, layer, kept, cancellable, error)))
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
  const char *back_address = gantry_host_get_config_string (host, "ContentAddress", NULL);
  BackChannel *back = NULL;
  DifferProxy *self;
  Peer *peer;

  if (back_address != NULL && (back = back_channel_new (back_address, error)) == NULL)
    return NULL;
  peer = peer_new (host, error);
  if (peer == NULL)
    {
      back_channel_free (back);
      return NULL;
    }
  self = g_new0 (DifferProxy, 1);
  self->differ.vtable = &vtable;
  self->peer = peer;
  self->back = back;
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
  back_channel_free (self->back);
  g_strfreev (self->media_types);
  g_free (self);
}
