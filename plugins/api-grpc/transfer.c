/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * containerd.services.transfer.v1.Transfer: which source goes to which destination. */
#include "transfer.h"
#include "platform.h"

#include <string.h>

#define PB(name) Containerd__Services__Transfer__V1__##name

char **
transfer_platforms (gsize n, Containerd__Types__Platform *const *platforms)
{
  char **texts = g_new0 (char *, n + 1);

  for (gsize i = 0; i < n; i++)
    texts[i] = platform_to_text (platforms[i]);
  return texts;
}

static gboolean
put_image (Call *call, const char *name, GantryDescriptor *target, GVariant *labels, GError **error)
{
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GantryChange) change = NULL;
  GVariantDict fields;

  g_variant_dict_init (&fields, NULL);
  g_variant_dict_insert_value (&fields, "target", gantry_descriptor_to_variant (target));
  record = gantry_record_new (GANTRY_KIND_IMAGE, call->ns, name, labels, g_variant_dict_end (&fields));
  change = gantry_change_new (GANTRY_CHANGE_PUT, record);
  return gantry_metadata_apply_one (call->api->metadata, change, NULL, call->cancellable, error);
}

/* The target of the image @name. Returns: (transfer full). */
static GantryDescriptor *
target_of (Call *call, const char *name, GError **error)
{
  g_autoptr (GantryRecord) record = NULL;
  GantryDescriptor *target;

  if (!gantry_metadata_get (call->api->metadata, GANTRY_KIND_IMAGE, call->ns, name, &record,
                            call->cancellable, error))
    return NULL;
  target = gantry_record_get_target (record);
  if (target == NULL)
    gantry_throw (error, GANTRY_ERROR_DATA_LOSS, "image \"%s\" has no target; run `gantry check`", name);
  return target;
}

GVariant *
transfer_extra_labels (const TYPES (ImageStore) * store)
{
  g_autoptr (GVariant) given = g_variant_ref_sink (labels_from_entries (store->n_labels, store->labels));
  g_autoptr (GDateTime) now = g_date_time_new_now_utc ();
  g_autofree char *expire = g_date_time_format (now, "%Y-%m-%dT%H:%M:%SZ");
  GVariantBuilder all;
  GVariantIter iter;
  const char *key, *value;

  g_variant_builder_init (&all, G_VARIANT_TYPE ("a{ss}"));
  g_variant_iter_init (&iter, given);
  while (g_variant_iter_next (&iter, "{&s&s}", &key, &value))
    g_variant_builder_add (&all, "{ss}", key, value);
  if (store->name[0] != '\0')
    {
      g_variant_builder_add (&all, "{ss}", "containerd.io/gc.bref.image", store->name);
      g_variant_builder_add (&all, "{ss}", "containerd.io/gc.expire", expire);
    }
  return g_variant_builder_end (&all);
}

gboolean
transfer_name_more (Call *call, const char *name, const TYPES (ImageStore) * store, GError **error)
{
  g_autoptr (GantryDescriptor) target = store->n_extra_references > 0 ? target_of (call, name, error) : NULL;

  if (target == NULL)
    return store->n_extra_references == 0;
  for (gsize i = 0; i < store->n_extra_references; i++)
    {
      const TYPES (ImageReference) *one = store->extra_references[i];
      g_autofree char *full
          = one->add_digest ? g_strconcat (one->name, "@", target->digest, NULL) : g_strdup (one->name);

      if ((one->is_prefix && !one->add_digest) || strcmp (full, name) == 0)
        continue;
      if (!put_image (call, full, target, transfer_extra_labels (store), error))
        return FALSE;
    }
  return TRUE;
}

/* One manifest a platform is what is taken anyway. */
gboolean
transfer_check_store (const TYPES (ImageStore) * store, GError **error)
{
  if (store->manifest_limit == 0 || (store->n_platforms > 0 && store->manifest_limit >= store->n_platforms))
    return TRUE;
  return gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED,
                       "manifest_limit %u is not implemented for %" G_GSIZE_FORMAT
                       " platforms; name as many platforms as there should be manifests",
                       store->manifest_limit, store->n_platforms);
}

gboolean
transfer_unpack (Call *call, Progress *progress, const char *name, const TYPES (ImageStore) * store,
                 GError **error)
{
  for (gsize i = 0; i < store->n_unpacks; i++)
    {
      const TYPES (UnpackConfiguration) *unpack = store->unpacks[i];
      GVariantDict options;

      g_variant_dict_init (&options, NULL);
      if (unpack->snapshotter[0] != '\0')
        g_variant_dict_insert (&options, "snapshotter", "s", unpack->snapshotter);
      if (unpack->platform != NULL && unpack->platform->os[0] != '\0')
        g_variant_dict_insert_value (&options, "platform",
                                     g_variant_new_take_string (platform_to_text (unpack->platform)));
      if (!gantry_transfer_unpack (call->api->transfer, progress_job (progress), call->ns, name,
                                   g_variant_dict_end (&options), NULL, call->cancellable, error))
        return FALSE;
    }
  return TRUE;
}

/* Another name for an image. */
static gboolean
tag (Call *call, Progress *progress, gconstpointer source, gconstpointer destination, GError **error)
{
  const TYPES (ImageStore) *from = source;
  const TYPES (ImageStore) *to = destination;
  g_autoptr (GantryDescriptor) target = target_of (call, from->name, error);

  if (target == NULL)
    return FALSE;
  if (to->name[0] != '\0'
      && !put_image (call, to->name, target, labels_from_entries (to->n_labels, to->labels), error))
    return FALSE;
  return transfer_name_more (call, to->name[0] != '\0' ? to->name : from->name, to, error);
}

typedef gboolean (*RunFunc) (Call *call, Progress *progress, gconstpointer from, gconstpointer to,
                             GError **error);

static const struct
{
  const ProtobufCMessageDescriptor *from;
  const ProtobufCMessageDescriptor *to;
  const char *operation;
  RunFunc run;
} pairs[] = {
  { &TYPES_DESCRIPTOR (ociregistry), &TYPES_DESCRIPTOR (image_store), "pull", transfer_pull },
  { &TYPES_DESCRIPTOR (image_store), &TYPES_DESCRIPTOR (ociregistry), "push", transfer_push },
  { &TYPES_DESCRIPTOR (image_import_stream), &TYPES_DESCRIPTOR (image_store), "import", transfer_import },
  { &TYPES_DESCRIPTOR (image_store), &TYPES_DESCRIPTOR (image_export_stream), "export", transfer_export },
  { &TYPES_DESCRIPTOR (image_store), &TYPES_DESCRIPTOR (image_store), "tag", tag },
};

static const char *
type_of (const Any *any)
{
  const char *slash = any != NULL ? strrchr (any->type_url, '/') : NULL;

  return any == NULL ? "nothing" : slash != NULL ? slash + 1 : any->type_url;
}

static ProtobufCMessage *
unpack_any (Call *call, const ProtobufCMessageDescriptor *descriptor, const Any *any, GError **error)
{
  g_autoptr (GBytes) bytes = g_bytes_new_static (any->value.data, any->value.len);

  return message_unpack (descriptor, bytes, call->arena, error);
}

static const ProtobufCMessage *
transfer (Call *call, gconstpointer data, GError **error)
{
  const PB (TransferRequest) *request = data;
  const char *from_type = type_of (request->source), *to_type = type_of (request->destination);

  for (gsize i = 0; i < G_N_ELEMENTS (pairs); i++)
    if (strcmp (pairs[i].from->name, from_type) == 0 && strcmp (pairs[i].to->name, to_type) == 0)
      {
        ProtobufCMessage *from = unpack_any (call, pairs[i].from, request->source, error);
        ProtobufCMessage *to
            = from != NULL ? unpack_any (call, pairs[i].to, request->destination, error) : NULL;
        Progress *progress
            = to != NULL ? progress_new (call, pairs[i].operation, request->options, error) : NULL;
        g_autoptr (GError) local = NULL;
        gboolean ok;

        if (progress == NULL)
          return NULL;
        ok = pairs[i].run (call, progress, from, to, &local);
        progress_end (progress, local);
        if (!ok)
          g_propagate_error (error, g_steal_pointer (&local));
        return ok ? reply_empty (call) : NULL;
      }
  gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED, "unable to transfer from %s to %s: not implemented",
                from_type, to_type);
  return NULL;
}

static const Method methods[]
    = { { "Transfer", GRPC_METHOD_LONG, &containerd__services__transfer__v1__transfer_request__descriptor,
          transfer } };

const Service transfer_service
    = { "containerd.services.transfer.v1.Transfer", TRUE, methods, G_N_ELEMENTS (methods) };
