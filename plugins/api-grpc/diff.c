/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * containerd.services.diff.v1.Diff: the differs, asked in the order of their ranks. */
#include "convert.h"

#define PB(name)         Containerd__Services__Diff__V1__##name
#define DESCRIPTOR(name) containerd__services__diff__v1__##name##__descriptor

#define DEFAULT_LAYER "application/vnd.oci.image.layer.v1.tar+gzip"

/* Returns: (transfer none): the call keeps it. */
static GantryContent *
open_content (Call *call, GError **error)
{
  GantryContent *content = NULL;

  if (!gantry_store_open_content (call->api->store, call->ns, call->lease, NULL, &content, call->cancellable,
                                  error))
    return NULL;
  return call_keep (call, content, (GDestroyNotify)gantry_content_unref);
}

/* Returns: (transfer full): NULL with an error if there is none at all. */
static GPtrArray *
differs (Call *call, GError **error)
{
  g_autoptr (GPtrArray) bindings = gantry_host_lookup_all (call->api->host, GANTRY_DIFFER_TYPE, error);

  if (bindings == NULL || bindings->len > 0)
    return g_steal_pointer (&bindings);
  gantry_throw (error, GANTRY_ERROR_UNAVAILABLE, "there is no differ; see `gantry plugin list`");
  return NULL;
}

static const ProtobufCMessage *
apply (Call *call, gconstpointer data, GError **error)
{
  const PB (ApplyRequest) *request = data;
  PB (ApplyResponse) *reply = message_new (call, &DESCRIPTOR (apply_response));
  GantryContent *content = open_content (call, error);
  g_autoptr (GPtrArray) bindings = content != NULL ? differs (call, error) : NULL;
  g_autoptr (GantryDescriptor) layer = NULL;
  g_autoptr (GPtrArray) mounts = NULL;
  g_autoptr (GError) local = NULL;
  GantryDescriptor *applied = NULL;

  if (bindings == NULL)
    return NULL;
  if (request->diff == NULL)
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                    "a descriptor of a layer is required: invalid argument");
      return NULL;
    }
  layer = descriptor_from_message (request->diff);
  mounts = mounts_from_messages (request->n_mounts, request->mounts);
  for (guint i = 0; applied == NULL && i < bindings->len; i++)
    {
      GantryDiffer *differ = ((GantryBinding *)g_ptr_array_index (bindings, i))->instance;

      g_clear_error (&local);
      if (!gantry_differ_apply (differ, layer, content, mounts, NULL, NULL, NULL, &applied, call->cancellable,
                                &local)
          && !gantry_error_is (local, GANTRY_ERROR_NOT_IMPLEMENTED))
        break;
    }
  if (applied == NULL)
    {
      g_propagate_error (error, g_steal_pointer (&local));
      return NULL;
    }
  reply->applied
      = descriptor_to_message (call, call_keep (call, applied, (GDestroyNotify)gantry_descriptor_unref));
  return &reply->base;
}

static const ProtobufCMessage *
diff (Call *call, gconstpointer data, GError **error)
{
  const PB (DiffRequest) *request = data;
  PB (DiffResponse) *reply = message_new (call, &DESCRIPTOR (diff_response));
  GantryContent *content = open_content (call, error);
  g_autoptr (GPtrArray) bindings = content != NULL ? differs (call, error) : NULL;
  g_autoptr (GPtrArray) lower = NULL, upper = NULL;
  g_autoptr (GVariant) labels = NULL, options = NULL;
  g_autoptr (GError) local = NULL;
  GantryDescriptor *layer = NULL;
  const char *ref = non_empty (request->ref);
  GVariantDict dict;

  if (bindings == NULL)
    return NULL;
  if (ref == NULL)
    ref = arena_printf (call->arena, "diff-%" G_GINT64_FORMAT "-%08x", gantry_now_ns (), g_random_int ());
  lower = mounts_from_messages (request->n_left, request->left);
  upper = mounts_from_messages (request->n_right, request->right);
  labels = g_variant_ref_sink (labels_from_entries (request->n_labels, request->labels));
  g_variant_dict_init (&dict, NULL);
  if (request->source_date_epoch != NULL)
    g_variant_dict_insert (&dict, "source-date-epoch", "x", request->source_date_epoch->seconds);
  options = g_variant_ref_sink (g_variant_dict_end (&dict));
  for (guint i = 0; layer == NULL && i < bindings->len; i++)
    {
      GantryDiffer *differ = ((GantryBinding *)g_ptr_array_index (bindings, i))->instance;

      g_clear_error (&local);
      if (!gantry_differ_compare (differ, lower, upper,
                                  request->media_type[0] != '\0' ? request->media_type : DEFAULT_LAYER,
                                  content, ref, labels, options, &layer, call->cancellable, &local)
          && !gantry_error_is (local, GANTRY_ERROR_NOT_IMPLEMENTED))
        break;
    }
  if (layer == NULL)
    {
      g_propagate_error (error, g_steal_pointer (&local));
      return NULL;
    }
  reply->diff
      = descriptor_to_message (call, call_keep (call, layer, (GDestroyNotify)gantry_descriptor_unref));
  return &reply->base;
}

static const Method methods[] = {
  { "Apply", GRPC_METHOD_LONG, &DESCRIPTOR (apply_request), apply },
  { "Diff", GRPC_METHOD_LONG, &DESCRIPTOR (diff_request), diff },
};

const Service diff_service = { "containerd.services.diff.v1.Diff", TRUE, methods, G_N_ELEMENTS (methods) };
