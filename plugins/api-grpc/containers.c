/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * containerd.services.containers.v1.Containers: records of kind "container". */
#include "convert.h"
#include "names.h"

#include <string.h>

#define PB(name)         Containerd__Services__Containers__V1__##name
#define DESCRIPTOR(name) containerd__services__containers__v1__##name##__descriptor

/* Records that a page of ListStream reads. */
#define PAGE 128
/* A mask with "extensions.<key>" is a change of what was read before: so often is it read again when somebody
 * else was faster. */
#define MAX_ATTEMPTS 16

static void
fill_field (Call *call, const char *name, Span type, Span value, gpointer data)
{
  PB (Container) *message = data;
  const char *text = span_is (type, "s") ? span_string (value) : NULL;
  gboolean any = span_is (type, "(say)");

  if (any && strcmp (name, "spec") == 0)
    message->spec = any_from_span (call, value);
  else if (any && strcmp (name, "runtime-options") == 0)
    message->runtime->options = any_from_span (call, value);
  else if (span_is (type, "a{s(say)}") && strcmp (name, "extensions") == 0)
    anys_to_entries (call, value, &DESCRIPTOR (container__extensions_entry), &message->n_extensions,
                     &message->extensions);
  else if (text == NULL)
    return;
  else if (strcmp (name, "image") == 0)
    message->image = TEXT (text);
  else if (strcmp (name, "runtime") == 0)
    message->runtime->name = TEXT (name_of_runtime (text));
  else if (strcmp (name, "snapshotter") == 0)
    message->snapshotter = TEXT (name_of_snapshotter (text));
  else if (strcmp (name, "snapshot-key") == 0)
    message->snapshot_key = TEXT (text);
  else if (strcmp (name, "sandbox-id") == 0)
    message->sandbox = TEXT (text);
}

static PB (Container) * to_message (Call *call, GantryRecord *record)
{
  PB (Container) *message = message_new (call, &DESCRIPTOR (container));

  message->id = record->id;
  message->runtime = message_new (call, &DESCRIPTOR (container__runtime));
  labels_to_entries (call, record->labels, &DESCRIPTOR (container__labels_entry), &message->n_labels,
                     &message->labels);
  message->created_at = timestamp_new (call, record->created_ns);
  message->updated_at = timestamp_new (call, record->updated_ns);
  fields_visit (call, record->fields, fill_field, message);
  return message;
}

static gboolean
validate (const PB (Container) * given, GError **error)
{
  for (gsize i = 0; i < given->n_extensions; i++)
    if (given->extensions[i]->key[0] == '\0')
      return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                           "container.Extension keys must not be zero-length: invalid argument");
  if (given->runtime == NULL || given->runtime->name[0] == '\0')
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "container.Runtime.Name must be set: invalid argument");
  if (given->spec == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "container.Spec must be set: invalid argument");
  if (given->snapshot_key[0] != '\0' && given->snapshotter[0] == '\0')
    return gantry_throw (
        error, GANTRY_ERROR_INVALID_ARGUMENT,
        "container.Snapshotter must be set if container.SnapshotKey is set: invalid argument");
  return TRUE;
}

/* What containerd says before the words about an id or a label. */
static void
prefix_validation (GError **error, const char *what)
{
  if (error == NULL || !gantry_error_is (*error, GANTRY_ERROR_INVALID_ARGUMENT))
    return;
  if (g_str_has_prefix ((*error)->message, "identifier "))
    g_prefix_error (error, "%s: container.ID: ", what);
  else if (g_str_has_prefix ((*error)->message, "label "))
    g_prefix_error (error, "%s: containers.Labels: ", what);
}

static void
insert_any (GVariantDict *fields, const char *name, const Any *any)
{
  if (any != NULL)
    g_variant_dict_insert_value (fields, name, any_to_variant (any));
}

static void
insert_text (GVariantDict *fields, const char *name, const char *text)
{
  if (non_empty (text) != NULL)
    g_variant_dict_insert (fields, name, "s", text);
}

/* Returns: (transfer floating). */
static GVariant *
make_fields (const PB (Container) * given, GVariant *extensions)
{
  g_autoptr (GVariant) held = g_variant_ref_sink (extensions);
  GVariantDict fields;

  g_variant_dict_init (&fields, NULL);
  insert_text (&fields, "image", given->image);
  insert_text (&fields, "snapshotter", our_snapshotter (given->snapshotter));
  insert_text (&fields, "snapshot-key", given->snapshot_key);
  insert_text (&fields, "sandbox-id", given->sandbox);
  if (given->runtime != NULL)
    {
      insert_text (&fields, "runtime", given->runtime->name);
      insert_any (&fields, "runtime-options", given->runtime->options);
    }
  insert_any (&fields, "spec", given->spec);
  if (g_variant_n_children (held) > 0)
    g_variant_dict_insert_value (&fields, "extensions", held);
  return g_variant_dict_end (&fields);
}

static const ProtobufCMessage *
get (Call *call, gconstpointer data, GError **error)
{
  const PB (GetContainerRequest) *request = data;
  PB (GetContainerResponse) *reply = message_new (call, &DESCRIPTOR (get_container_response));
  GantryRecord *record = NULL;

  if (!gantry_metadata_get (call->api->metadata, GANTRY_KIND_CONTAINER, call->ns, request->id, &record,
                            call->cancellable, error))
    return NULL;
  reply->container = to_message (call, call_keep (call, record, (GDestroyNotify)gantry_record_unref));
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
  const PB (ListContainersRequest) *request = data;

  return list_records (call, GANTRY_KIND_CONTAINER, call->ns,
                       strings (call, request->n_filters, request->filters), 1, list_item,
                       "Containers.ListStream", error);
}

/* ListStream: a page of records at a time, as fast as the client takes them. */
typedef struct
{
  ApiGrpc *api;
  char *ns;
  char **filters;
  char *after;
  GPtrArray *page; /* of GBytes */
  guint next;
  gboolean last; /* the page is */
} ListStream;

static void
list_stream_free (gpointer data)
{
  ListStream *stream = data;

  g_free (stream->ns);
  g_strfreev (stream->filters);
  g_free (stream->after);
  g_ptr_array_unref (stream->page);
  g_free (stream);
}

static gboolean
on_page_record (GantryRecord *record, gpointer user_data)
{
  ListStream *stream = user_data;
  g_auto (Arena) arena;
  Call item = { .arena = &arena };
  PB (ListContainerMessage) * message;

  arena_init (&arena);
  message = message_new (&item, &DESCRIPTOR (list_container_message));
  message->container = to_message (&item, record);
  g_ptr_array_add (stream->page, message_pack (&message->base));
  g_free (stream->after);
  stream->after = g_strdup (record->id);
  return TRUE;
}

static void
list_stream_more (GrpcCall *grpc, gpointer data)
{
  ListStream *stream = data;
  g_autoptr (GError) error = NULL;

  while (grpc_call_is_writable (grpc))
    {
      if (stream->next < stream->page->len)
        {
          if (!grpc_call_send (grpc, g_ptr_array_index (stream->page, stream->next++), &error))
            break;
          continue;
        }
      if (stream->last)
        {
          grpc_call_finish (grpc, NULL);
          return;
        }
      g_ptr_array_set_size (stream->page, 0);
      stream->next = 0;
      if (!gantry_metadata_list (stream->api->metadata, GANTRY_KIND_CONTAINER, stream->ns,
                                 (const char *const *)stream->filters, stream->after, PAGE, on_page_record,
                                 stream, grpc_call_get_cancellable (grpc), &error))
        break;
      stream->last = stream->page->len < PAGE;
    }
  if (error == NULL)
    return;
  gantry_error_normalize (&error);
  grpc_call_finish (grpc, error);
}

static gboolean
list_stream (Call *call, gconstpointer data, GError **error)
{
  static const GrpcCallHandlers handlers = { .on_writable = list_stream_more };
  const PB (ListContainersRequest) *request = data;
  ListStream *stream = g_new0 (ListStream, 1);

  stream->api = call->api;
  stream->ns = g_strdup (call->ns);
  stream->filters = g_strdupv ((char **)strings (call, request->n_filters, request->filters));
  stream->page = g_ptr_array_new_with_free_func ((GDestroyNotify)g_bytes_unref);
  grpc_call_set_handlers (call->grpc, &handlers, stream, list_stream_free);
  list_stream_more (call->grpc, stream);
  return TRUE;
}

static const ProtobufCMessage *
create (Call *call, gconstpointer data, GError **error)
{
  const PB (CreateContainerRequest) *request = data;
  const PB (Container) *given = request->container;
  PB (CreateContainerResponse) *reply = message_new (call, &DESCRIPTOR (create_container_response));
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GantryChange) change = NULL;
  GantryRecord *created = NULL;

  if (given == NULL)
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "a container is required: invalid argument");
      return NULL;
    }
  if (!validate (given, error))
    {
      g_prefix_error (error, "create container failed validation: ");
      return NULL;
    }
  record
      = gantry_record_new (GANTRY_KIND_CONTAINER, call->ns, given->id,
                           labels_from_entries (given->n_labels, given->labels),
                           make_fields (given, anys_from_entries (given->n_extensions, given->extensions)));
  change = gantry_change_new (GANTRY_CHANGE_CREATE, record);
  if (!gantry_metadata_apply_one (call->api->metadata, change, &created, call->cancellable, error))
    {
      prefix_validation (error, "create container failed validation");
      return NULL;
    }
  reply->container = to_message (call, call_keep (call, created, (GDestroyNotify)gantry_record_unref));
  return &reply->base;
}

/* Without a mask everything that may change is replaced; what may not must be as it is. */
static gboolean
check_immutable (GantryRecord *old, const PB (Container) * given, GError **error)
{
  const char *runtime = name_of_runtime (gantry_record_get_string (old, "runtime"));

  if (g_strcmp0 (non_empty (gantry_record_get_string (old, "snapshotter")),
                 non_empty (our_snapshotter (given->snapshotter)))
      != 0)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "container.Snapshotter field is immutable: invalid argument");
  if (g_strcmp0 (runtime, given->runtime != NULL ? given->runtime->name : NULL) != 0)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "container.Runtime.Name field is immutable: invalid argument");
  return TRUE;
}

/* The record's mask for one path of a client's. Returns: NULL with an error. */
static const char *
translate_path (Call *call, const char *path, const char *id, GError **error)
{
  static const char *const paths[][2] = { { "labels", "labels" },
                                          { "spec", "fields.spec" },
                                          { "extensions", "fields.extensions" },
                                          { "image", "fields.image" },
                                          { "snapshotkey", "fields.snapshot-key" } };

  if (g_str_has_prefix (path, "labels."))
    return path;
  if (g_str_has_prefix (path, "extensions."))
    return "fields.extensions";
  for (gsize i = 0; i < G_N_ELEMENTS (paths); i++)
    if (strcmp (paths[i][0], path) == 0)
      return paths[i][1];
  gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                "cannot update \"%s\" field on \"%s\": invalid argument", path, id);
  return NULL;
}

/* The extensions of @old with those of @given that the mask names one by one. Returns: (transfer floating).
 */
static GVariant *
merge_extensions (GantryRecord *old, const PB (Container) * given, const char *const *mask)
{
  g_autoptr (GVariant) before = gantry_record_get_field (old, "extensions", G_VARIANT_TYPE ("a{s(say)}"));
  GVariantDict merged;
  GVariantBuilder builder;
  GVariantIter iter;
  g_autoptr (GVariant) all = NULL;
  GVariant *any;
  const char *key;

  if (mask == NULL || g_strv_contains (mask, "extensions"))
    return anys_from_entries (given->n_extensions, given->extensions);
  g_variant_dict_init (&merged, NULL);
  for (gsize i = 0; before != NULL && i < g_variant_n_children (before); i++)
    {
      g_autoptr (GVariant) kept = NULL;

      g_variant_get_child (before, i, "{&s@(say)}", &key, &kept);
      g_variant_dict_insert_value (&merged, key, kept);
    }
  for (gsize i = 0; i < given->n_extensions; i++)
    {
      g_autofree char *path = g_strconcat ("extensions.", given->extensions[i]->key, NULL);

      if (g_strv_contains (mask, path) && given->extensions[i]->value != NULL)
        g_variant_dict_insert_value (&merged, given->extensions[i]->key,
                                     any_to_variant (given->extensions[i]->value));
    }
  all = g_variant_ref_sink (g_variant_dict_end (&merged));
  g_variant_builder_init (&builder, G_VARIANT_TYPE ("a{s(say)}"));
  g_variant_iter_init (&iter, all);
  while (g_variant_iter_next (&iter, "{&sv}", &key, &any))
    {
      g_variant_builder_add (&builder, "{s@(say)}", key, any);
      g_variant_unref (any);
    }
  return g_variant_builder_end (&builder);
}

/* One attempt. ABORTED: the record changed meanwhile. */
static GantryRecord *
try_update (Call *call, const PB (Container) * given, const char *const *given_mask, const char *const *mask,
            GError **error)
{
  g_autoptr (GantryRecord) old = NULL;
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GantryChange) change = NULL;
  GantryRecord *updated = NULL;

  if (!gantry_metadata_get (call->api->metadata, GANTRY_KIND_CONTAINER, call->ns, given->id, &old,
                            call->cancellable, error)
      || (given_mask == NULL && !check_immutable (old, given, error)))
    return NULL;
  record = gantry_record_new (GANTRY_KIND_CONTAINER, call->ns, given->id,
                              labels_from_entries (given->n_labels, given->labels),
                              make_fields (given, merge_extensions (old, given, given_mask)));
  change = gantry_change_new (GANTRY_CHANGE_UPDATE, record);
  change->mask = g_strdupv ((char **)mask);
  if (g_strv_contains (mask, "fields.extensions"))
    change->if_revision = old->revision;
  return gantry_metadata_apply_one (call->api->metadata, change, &updated, call->cancellable, error) ? updated
                                                                                                     : NULL;
}

static const ProtobufCMessage *
update (Call *call, gconstpointer data, GError **error)
{
  static const char *const all[]
      = { "labels", "fields.spec", "fields.extensions", "fields.image", "fields.snapshot-key", NULL };
  const PB (UpdateContainerRequest) *request = data;
  const PB (Container) *given = request->container;
  PB (UpdateContainerResponse) *reply = message_new (call, &DESCRIPTOR (update_container_response));
  const char *const *given_mask = mask_paths (call, request->update_mask);
  const char **mask = (const char **)all;
  GantryRecord *updated = NULL;

  if (given == NULL || given->id[0] == '\0')
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "Container.ID required");
      return NULL;
    }
  if (given_mask == NULL && !validate (given, error))
    {
      g_prefix_error (error, "update failed validation: ");
      return NULL;
    }
  if (given_mask != NULL)
    mask = arena_new (call->arena, const char *, request->update_mask->n_paths + 1);
  for (gsize i = 0; given_mask != NULL && given_mask[i] != NULL; i++)
    if ((mask[i] = translate_path (call, given_mask[i], given->id, error)) == NULL)
      return NULL;
  for (guint attempt = 0; updated == NULL; attempt++)
    {
      g_autoptr (GError) local = NULL;

      updated = try_update (call, given, given_mask, mask, &local);
      if (updated == NULL && (attempt == MAX_ATTEMPTS || !gantry_error_is (local, GANTRY_ERROR_ABORTED)))
        {
          prefix_validation (&local, "update failed validation");
          g_propagate_error (error, g_steal_pointer (&local));
          return NULL;
        }
    }
  reply->container = to_message (call, call_keep (call, updated, (GDestroyNotify)gantry_record_unref));
  return &reply->base;
}

static const ProtobufCMessage *delete (Call *call, gconstpointer data, GError **error)
{
  const PB (DeleteContainerRequest) *request = data;
  g_autoptr (GantryRecord) record
      = gantry_record_new (GANTRY_KIND_CONTAINER, call->ns, request->id, NULL, NULL);
  g_autoptr (GantryChange) change = gantry_change_new (GANTRY_CHANGE_DELETE, record);

  return gantry_metadata_apply_one (call->api->metadata, change, NULL, call->cancellable, error)
             ? reply_empty (call)
             : NULL;
}

static const Method methods[] = {
  { "Get", GRPC_METHOD_NORMAL, &DESCRIPTOR (get_container_request), get },
  { "List", GRPC_METHOD_NORMAL, &DESCRIPTOR (list_containers_request), list },
  { "ListStream", GRPC_METHOD_NORMAL, &DESCRIPTOR (list_containers_request), NULL, list_stream },
  { "Create", GRPC_METHOD_NORMAL, &DESCRIPTOR (create_container_request), create },
  { "Update", GRPC_METHOD_NORMAL, &DESCRIPTOR (update_container_request), update },
  { "Delete", GRPC_METHOD_NORMAL, &DESCRIPTOR (delete_container_request), delete },
};

const Service containers_service
    = { "containerd.services.containers.v1.Containers", TRUE, methods, G_N_ELEMENTS (methods) };
