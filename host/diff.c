/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * containerd.services.diff.v1.Diff over one differ. Requests name blobs by their digests: they are read from
 * and written to the content store at --content, as the caller would: in its namespace and under its lease.
 */
#include "host.h"

#include <string.h>

#include <beyond.h>
#include <content-client.h>
#include <gantry/differ.h>

#define PB(name)         Containerd__Services__Diff__V1__##name
#define DESCRIPTOR(name) (&containerd__services__diff__v1__##name##__descriptor)

/* Of a call to the store. */
#define TIMEOUT_SECONDS 30

/* The store at @hosted's address, as the caller of @call sees it. A connection of its own: a layer takes
 * longer than that, and another caller's may be broken. */
static ContentClient *
open_content (const Hosted *hosted, GrpcCall *call, GError **error)
{
  static const char *const passed_on[] = { "containerd-namespace", "containerd-lease" };
  g_autoptr (GrpcMetadata) metadata = grpc_metadata_new ();
  Peer *peer;

  for (gsize i = 0; i < G_N_ELEMENTS (passed_on); i++)
    {
      const char *value = grpc_call_get_metadata (call, passed_on[i]);

      if (value != NULL)
        grpc_metadata_append (metadata, passed_on[i], value);
    }
  peer = peer_new_at (hosted->host, hosted->content_address, metadata, TIMEOUT_SECONDS, error);
  return peer != NULL ? content_client_new (hosted->host, peer) : NULL;
}

/* Returns: (transfer full): a{sv}, or NULL with @error. */
static GVariant *
read_options (const PB (ApplyRequest) * request, GError **error)
{
  g_auto (GVariantDict) options = G_VARIANT_DICT_INIT (NULL);

  for (size_t i = 0; i < request->n_payloads; i++)
    {
      const PB (ApplyRequest__PayloadsEntry) *entry = request->payloads[i];
      g_autoptr (GVariant) given = NULL;
      g_autoptr (GBytes) bytes = NULL;
      GVariantIter iter;
      const char *key;
      GVariant *value;

      if (strcmp (entry->key, WIRE_OPTIONS_KEY) != 0 || entry->value == NULL)
        continue;
      if (strcmp (entry->value->type_url, WIRE_OPTIONS_TYPE) != 0
          || entry->value->value.len > WIRE_MAX_OPTIONS)
        {
          gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the payload %s is not of type %s",
                        WIRE_OPTIONS_KEY, WIRE_OPTIONS_TYPE);
          return NULL;
        }
      bytes = g_bytes_new (entry->value->value.data, entry->value->value.len);
      given = g_variant_ref_sink (g_variant_new_from_bytes (G_VARIANT_TYPE_VARDICT, bytes, FALSE));
      if (!g_variant_is_normal_form (given))
        {
          gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the payload %s is broken", WIRE_OPTIONS_KEY);
          return NULL;
        }
      g_variant_iter_init (&iter, given);
      while (g_variant_iter_loop (&iter, "{&sv}", &key, &value))
        g_variant_dict_insert_value (&options, key, value);
    }
  g_variant_dict_insert (&options, "sync", "b", request->sync_fs);
  return g_variant_ref_sink (g_variant_dict_end (&options));
}

static gboolean
apply_layer (const Hosted *hosted, const PB (ApplyRequest) * request, GrpcCall *call,
             GantryDescriptor **ret_diff, GError **error)
{
  g_autoptr (GVariant) options = read_options (request, error);
  g_autoptr (ContentClient) content = options != NULL ? open_content (hosted, call, error) : NULL;
  g_autoptr (GantryDescriptor) layer = NULL;
  g_autoptr (GPtrArray) mounts = NULL;

  if (content == NULL)
    return FALSE;
  if (request->diff == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the request names no layer");
  layer = wire_descriptor_in (request->diff);
  mounts = wire_mounts_in (request->n_mounts, request->mounts);
  return gantry_differ_apply (hosted->instance, layer, &content->content, mounts, options, NULL, NULL,
                              ret_diff, grpc_call_get_cancellable (call), error);
}

static GBytes *
apply (GrpcCall *call, GBytes *bytes, gpointer data, GError **error)
{
  PB (ApplyRequest) *request = wire_unpack (DESCRIPTOR (apply_request), bytes, error);
  PB (ApplyResponse) reply = CONTAINERD__SERVICES__DIFF__V1__APPLY_RESPONSE__INIT;
  g_autoptr (Scratch) scratch = scratch_new ();
  g_autoptr (GantryDescriptor) diff = NULL;
  gboolean ok = request != NULL && apply_layer (data, request, call, &diff, error);

  wire_message_free (request);
  if (!ok)
    return NULL;
  reply.applied = wire_descriptor_out (scratch, diff);
  return wire_pack (&reply.base);
}

static gboolean
make_layer (const Hosted *hosted, const PB (DiffRequest) * request, GrpcCall *call,
            GantryDescriptor **ret_layer, GError **error)
{
  g_autoptr (ContentClient) content = open_content (hosted, call, error);
  g_autoptr (GPtrArray) lower = wire_mounts_in (request->n_left, request->left);
  g_autoptr (GPtrArray) upper = wire_mounts_in (request->n_right, request->right);
  g_autofree char *made_up = NULL;
  const char *ref = wire_text_or_null (request->ref);
  g_auto (GVariantDict) options = G_VARIANT_DICT_INIT (NULL);

  if (content == NULL)
    return FALSE;
  if (ref == NULL) /* as containerd: whoever does not care */
    ref = made_up = g_uuid_string_random ();
  if (request->source_date_epoch != NULL)
    g_variant_dict_insert (&options, "source-date-epoch", "x", request->source_date_epoch->seconds);
  return gantry_differ_compare (hosted->instance, lower, upper, request->media_type, &content->content, ref,
                                wire_labels_in (request->n_labels, request->labels),
                                g_variant_dict_end (&options), ret_layer, grpc_call_get_cancellable (call),
                                error);
}

static GBytes *
diff (GrpcCall *call, GBytes *bytes, gpointer data, GError **error)
{
  PB (DiffRequest) *request = wire_unpack (DESCRIPTOR (diff_request), bytes, error);
  PB (DiffResponse) reply = CONTAINERD__SERVICES__DIFF__V1__DIFF_RESPONSE__INIT;
  g_autoptr (Scratch) scratch = scratch_new ();
  g_autoptr (GantryDescriptor) layer = NULL;
  gboolean ok = request != NULL && make_layer (data, request, call, &layer, error);

  wire_message_free (request);
  if (!ok)
    return NULL;
  reply.diff = wire_descriptor_out (scratch, layer);
  return wire_pack (&reply.base);
}

static const GrpcMethod methods[] = {
  { .name = "Apply", .unary = apply, .flags = GRPC_METHOD_LONG },
  { .name = "Diff", .unary = diff, .flags = GRPC_METHOD_LONG },
};

gboolean
host_serve_differ (GrpcServer *server, const Hosted *hosted, GError **error)
{
  if (hosted->content_address == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "a differ needs --content, the socket of the content store that its layers are in");
  return grpc_server_add_service (server, "containerd.services.diff.v1.Diff", methods, G_N_ELEMENTS (methods),
                                  (gpointer)hosted, NULL, error);
}

void
host_differ_capabilities (gpointer instance, GPtrArray *names)
{
  g_ptr_array_add (names, (gpointer)WIRE_CAPABILITY_OPTIONS);
}
