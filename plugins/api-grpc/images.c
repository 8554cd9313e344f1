/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * containerd.services.images.v1.Images: records of kind "image". */
#include "convert.h"

#include <string.h>

#define PB(name)         Containerd__Services__Images__V1__##name
#define DESCRIPTOR(name) containerd__services__images__v1__##name##__descriptor

#define MAX_ATTEMPTS 16

static PB (Image) * to_message (Call *call, GantryRecord *record)
{
  PB (Image) *message = message_new (call, &DESCRIPTOR (image));
  GantryDescriptor *target
      = call_keep (call, gantry_record_get_target (record), (GDestroyNotify)gantry_descriptor_unref);

  message->name = record->id;
  labels_to_entries (call, record->labels, &DESCRIPTOR (image__labels_entry), &message->n_labels,
                     &message->labels);
  if (target != NULL)
    message->target = descriptor_to_message (call, target);
  message->created_at = timestamp_new (call, record->created_ns);
  message->updated_at = timestamp_new (call, record->updated_ns);
  return message;
}

static gboolean
is_digest (const char *text)
{
  const char *colon = strchr (text, ':');

  return colon != NULL && colon > text && strspn (colon + 1, "0123456789abcdef") == strlen (colon + 1)
         && (g_str_has_prefix (text, "sha256:")   ? strlen (colon + 1) == 64
             : g_str_has_prefix (text, "sha512:") ? strlen (colon + 1) == 128
             : g_str_has_prefix (text, "sha384:") ? strlen (colon + 1) == 96
                                                  : FALSE);
}

static gboolean
validate (const PB (Image) * given, GError **error)
{
  const Containerd__Types__Descriptor *target = given->target;

  if (target == NULL || !is_digest (target->digest))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "Target.Digest \"%s\" invalid: invalid checksum digest format: invalid argument",
                         target != NULL ? target->digest : "");
  if (target->size <= 0)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "Target.Size must be greater than zero: invalid argument");
  if (target->media_type[0] == '\0')
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "Target.MediaType must be set: invalid argument");
  return TRUE;
}

/* Returns: (transfer floating). */
static GVariant *
make_fields (GantryDescriptor *target)
{
  GVariantDict fields;

  g_variant_dict_init (&fields, NULL);
  g_variant_dict_insert_value (&fields, "target", gantry_descriptor_to_variant (target));
  return g_variant_dict_end (&fields);
}

static const ProtobufCMessage *
get (Call *call, gconstpointer data, GError **error)
{
  const PB (GetImageRequest) *request = data;
  PB (GetImageResponse) *reply = message_new (call, &DESCRIPTOR (get_image_response));
  GantryRecord *record = NULL;

  if (!gantry_metadata_get (call->api->metadata, GANTRY_KIND_IMAGE, call->ns, request->name, &record,
                            call->cancellable, error))
    return NULL;
  reply->image = to_message (call, call_keep (call, record, (GDestroyNotify)gantry_record_unref));
  return &reply->base;
}

static const ProtobufCMessage *
list_item (Call *call, GantryRecord *record)
{
  return &to_message (call, record)->base;
}

static const ProtobufCMessage *
list (Call *call, gconstpointer data, GError **error)
{
  const PB (ListImagesRequest) *request = data;

  return list_records (call, GANTRY_KIND_IMAGE, call->ns,
                       strings (call, request->n_filters, request->filters), 1, list_item, NULL, error);
}

static gboolean
check_named (const PB (Image) * given, GError **error)
{
  if (given == NULL || given->name[0] == '\0')
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "Image.Name required");
  return TRUE;
}

static const ProtobufCMessage *
create (Call *call, gconstpointer data, GError **error)
{
  const PB (CreateImageRequest) *request = data;
  const PB (Image) *given = request->image;
  PB (CreateImageResponse) *reply = message_new (call, &DESCRIPTOR (create_image_response));
  g_autoptr (GantryDescriptor) target = NULL;
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GantryChange) change = NULL;
  GantryRecord *created = NULL;

  if (!check_named (given, error) || !validate (given, error))
    return NULL;
  target = descriptor_from_message (given->target);
  record = gantry_record_new (GANTRY_KIND_IMAGE, call->ns, given->name,
                              labels_from_entries (given->n_labels, given->labels), make_fields (target));
  /* For images that are the same whenever they are made. */
  record->created_ns = timestamp_to_ns (request->source_date_epoch);
  change = gantry_change_new (GANTRY_CHANGE_CREATE, record);
  if (!gantry_metadata_apply_one (call->api->metadata, change, &created, call->cancellable, error))
    return NULL;
  reply->image = to_message (call, call_keep (call, created, (GDestroyNotify)gantry_record_unref));
  return &reply->base;
}

/* What the mask (nullable: all) makes of @old's target. Returns: (transfer full). */
static GantryDescriptor *
merge_target (GantryRecord *old, const PB (Image) * given, const char *const *mask)
{
  g_autoptr (GantryDescriptor) before = gantry_record_get_target (old);
  g_autoptr (GantryDescriptor) after = NULL;
  g_autoptr (GVariant) annotations = NULL;
  GVariantDict merged;
  GVariantBuilder builder;

  if (given->target == NULL)
    return g_steal_pointer (&before);
  after = descriptor_from_message (given->target);
  if (mask == NULL || g_strv_contains (mask, "target") || before == NULL)
    return g_steal_pointer (&after);
  g_variant_dict_init (&merged, NULL);
  if (!g_strv_contains (mask, "annotations"))
    for (gsize i = 0; before->annotations != NULL && i < g_variant_n_children (before->annotations); i++)
      {
        const char *key, *value;

        g_variant_get_child (before->annotations, i, "{&s&s}", &key, &value);
        g_variant_dict_insert (&merged, key, "s", value);
      }
  for (gsize i = 0; i < given->target->n_annotations; i++)
    {
      const char *key = given->target->annotations[i]->key;
      g_autofree char *path = g_strconcat ("annotations.", key, NULL);

      if (g_strv_contains (mask, "annotations") || g_strv_contains (mask, path))
        g_variant_dict_insert (&merged, key, "s", given->target->annotations[i]->value);
    }
  annotations = g_variant_ref_sink (g_variant_dict_end (&merged));
  g_variant_builder_init (&builder, G_VARIANT_TYPE ("a{ss}"));
  for (gsize i = 0; i < g_variant_n_children (annotations); i++)
    {
      g_autoptr (GVariant) value = NULL;
      const char *key;

      g_variant_get_child (annotations, i, "{&sv}", &key, &value);
      g_variant_builder_add (&builder, "{ss}", key, g_variant_get_string (value, NULL));
    }
  return gantry_descriptor_new (before->media_type, before->digest, before->blob_size,
                                g_variant_builder_end (&builder));
}

static GantryRecord *
try_update (Call *call, const PB (Image) * given, const char *const *given_mask, const char *const *mask,
            GError **error)
{
  g_autoptr (GantryRecord) old = NULL;
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GantryChange) change = NULL;
  g_autoptr (GantryDescriptor) target = NULL;
  GantryRecord *updated = NULL;

  if (!gantry_metadata_get (call->api->metadata, GANTRY_KIND_IMAGE, call->ns, given->name, &old,
                            call->cancellable, error))
    return NULL;
  target = merge_target (old, given, given_mask);
  record = gantry_record_new (GANTRY_KIND_IMAGE, call->ns, given->name,
                              labels_from_entries (given->n_labels, given->labels), make_fields (target));
  change = gantry_change_new (GANTRY_CHANGE_UPDATE, record);
  change->mask = g_strdupv ((char **)mask);
  if (given_mask != NULL && g_strv_contains (mask, "fields.target"))
    change->if_revision = old->revision;
  return gantry_metadata_apply_one (call->api->metadata, change, &updated, call->cancellable, error) ? updated
                                                                                                     : NULL;
}

static const char *
translate_path (const char *path, const char *name, GError **error)
{
  if (g_str_has_prefix (path, "labels.") || strcmp (path, "labels") == 0)
    return path;
  if (g_str_has_prefix (path, "annotations.") || strcmp (path, "annotations") == 0
      || strcmp (path, "target") == 0)
    return "fields.target";
  gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                "cannot update \"%s\" field on image \"%s\": invalid argument", path, name);
  return NULL;
}

static const ProtobufCMessage *
update (Call *call, gconstpointer data, GError **error)
{
  static const char *const all[] = { "labels", "fields.target", NULL };
  const PB (UpdateImageRequest) *request = data;
  const PB (Image) *given = request->image;
  PB (UpdateImageResponse) *reply = message_new (call, &DESCRIPTOR (update_image_response));
  const char *const *given_mask = mask_paths (call, request->update_mask);
  const char **mask = (const char **)all;
  GantryRecord *updated = NULL;

  if (!check_named (given, error))
    return NULL;
  if ((given_mask == NULL || g_strv_contains (given_mask, "target")) && !validate (given, error))
    return NULL;
  if (given_mask != NULL)
    mask = arena_new (call->arena, const char *, request->update_mask->n_paths + 1);
  for (gsize i = 0; given_mask != NULL && given_mask[i] != NULL; i++)
    if ((mask[i] = translate_path (given_mask[i], given->name, error)) == NULL)
      return NULL;
  for (guint attempt = 0; updated == NULL; attempt++)
    {
      g_autoptr (GError) local = NULL;

      updated = try_update (call, given, given_mask, mask, &local);
      if (updated == NULL && (attempt == MAX_ATTEMPTS || !gantry_error_is (local, GANTRY_ERROR_ABORTED)))
        {
          g_propagate_error (error, g_steal_pointer (&local));
          return NULL;
        }
    }
  reply->image = to_message (call, call_keep (call, updated, (GDestroyNotify)gantry_record_unref));
  return &reply->base;
}

/* 2.x: deletes only if the image still is what the caller thinks. Returns: the revision that is meant, 0 for
 * any. */
static gboolean
check_target (Call *call, const PB (DeleteImageRequest) * request, guint64 *ret_revision, GError **error)
{
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GantryDescriptor) target = NULL;

  if (request->target == NULL)
    return TRUE;
  if (!gantry_metadata_get (call->api->metadata, GANTRY_KIND_IMAGE, call->ns, request->name, &record,
                            call->cancellable, error))
    return FALSE;
  target = gantry_record_get_target (record);
  if (target == NULL || strcmp (target->digest, request->target->digest) != 0)
    return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "image \"%s\" has target %s, not %s: not found",
                         request->name, target != NULL ? target->digest : "none", request->target->digest);
  *ret_revision = record->revision;
  return TRUE;
}

static const ProtobufCMessage *delete (Call *call, gconstpointer data, GError **error)
{
  const PB (DeleteImageRequest) *request = data;
  g_autoptr (GantryRecord) record
      = gantry_record_new (GANTRY_KIND_IMAGE, call->ns, request->name, NULL, NULL);
  g_autoptr (GantryChange) change = gantry_change_new (GANTRY_CHANGE_DELETE, record);

  if (!check_target (call, request, &change->if_revision, error)
      || !gantry_metadata_apply_one (call->api->metadata, change, NULL, call->cancellable, error)
      || (request->sync && !gantry_store_collect (call->api->store, FALSE, NULL, call->cancellable, error)))
    return NULL;
  return reply_empty (call);
}

static const Method methods[] = {
  { "Get", GRPC_METHOD_NORMAL, &DESCRIPTOR (get_image_request), get },
  { "List", GRPC_METHOD_NORMAL, &DESCRIPTOR (list_images_request), list },
  { "Create", GRPC_METHOD_NORMAL, &DESCRIPTOR (create_image_request), create },
  { "Update", GRPC_METHOD_NORMAL, &DESCRIPTOR (update_image_request), update },
  { "Delete", GRPC_METHOD_NORMAL, &DESCRIPTOR (delete_image_request), delete },
};

const Service images_service
    = { "containerd.services.images.v1.Images", TRUE, methods, G_N_ELEMENTS (methods) };
