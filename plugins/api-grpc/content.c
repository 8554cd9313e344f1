/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * containerd.services.content.v1.Content: the view of content of the namespace and lease of the call. Write
 * is in content-write.c, Read in content-read.c. */
#include "content.h"

#include <string.h>

GantryContent *
content_open (Call *call, GError **error)
{
  GantryContent *content = NULL;

  if (!gantry_store_open_content (call->api->store, call->ns, call->lease, NULL, &content, call->cancellable,
                                  error))
    return NULL;
  return call_keep (call, content, (GDestroyNotify)gantry_content_unref);
}

gboolean
content_check_digest (const char *digest, const char *format, GError **error)
{
  const char *colon = strchr (digest, ':');
  gsize length = colon != NULL ? strlen (colon + 1) : 0;

  if (colon != NULL && strspn (colon + 1, "0123456789abcdef") == length
      && ((g_str_has_prefix (digest, "sha256:") && length == 64)
          || (g_str_has_prefix (digest, "sha384:") && length == 96)
          || (g_str_has_prefix (digest, "sha512:") && length == 128)))
    return TRUE;
  return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, format, digest);
}

static PB (Info) * info_to_message (Call *call, GantryContentInfo *info)
{
  PB (Info) *message = message_new (call, &DESCRIPTOR (info));

  message->digest = TEXT (info->digest);
  message->size = (gint64)info->blob_size;
  message->created_at = timestamp_new (call, info->created_ns);
  message->updated_at = timestamp_new (call, info->updated_ns);
  labels_to_entries (call, info->labels, &DESCRIPTOR (info__labels_entry), &message->n_labels,
                     &message->labels);
  return message;
}

static const ProtobufCMessage *
info (Call *call, gconstpointer data, GError **error)
{
  const PB (InfoRequest) *request = data;
  PB (InfoResponse) *reply = message_new (call, &DESCRIPTOR (info_response));
  GantryContent *content = content_open (call, error);
  GantryContentInfo *found = NULL;

  if (content == NULL || !content_check_digest (request->digest, "\"%s\" failed validation", error)
      || !gantry_content_info (content, request->digest, &found, call->cancellable, error))
    return NULL;
  reply->info = info_to_message (call, call_keep (call, found, (GDestroyNotify)gantry_content_info_unref));
  return &reply->base;
}

static const ProtobufCMessage *
update (Call *call, gconstpointer data, GError **error)
{
  const PB (UpdateRequest) *request = data;
  PB (UpdateResponse) *reply = message_new (call, &DESCRIPTOR (update_response));
  const char *const *mask = mask_paths (call, request->update_mask);
  GantryContent *content = content_open (call, error);
  GantryContentInfo *updated = NULL;

  if (content == NULL
      || !content_check_digest (request->info != NULL ? request->info->digest : "",
                                "\"%s\" failed validation", error))
    return NULL;
  for (gsize i = 0; mask != NULL && mask[i] != NULL; i++)
    if (strcmp (mask[i], "labels") != 0 && !g_str_has_prefix (mask[i], "labels."))
      {
        gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                      "cannot update \"%s\" field on content info \"%s\": invalid argument", mask[i],
                      request->info->digest);
        return NULL;
      }
  if (!gantry_content_update (content, request->info->digest,
                              labels_from_entries (request->info->n_labels, request->info->labels), mask,
                              &updated, call->cancellable, error))
    return NULL;
  reply->info = info_to_message (call, call_keep (call, updated, (GDestroyNotify)gantry_content_info_unref));
  return &reply->base;
}

static gboolean
on_blob (GantryContentInfo *found, gpointer user_data)
{
  g_auto (Arena) arena;
  Call item = { .arena = &arena };

  arena_init (&arena);
  blocks_add (user_data, &info_to_message (&item, found)->base);
  return TRUE;
}

static gboolean
list (Call *call, gconstpointer data, GError **error)
{
  const PB (ListContentRequest) *request = data;
  GantryContent *content = content_open (call, error);
  Blocks blocks;

  blocks_init (&blocks);
  return blocks_end (&blocks, call,
                     content != NULL
                         && gantry_content_walk (content,
                                                 strings (call, request->n_filters, request->filters),
                                                 on_blob, &blocks, call->cancellable, error));
}

static const ProtobufCMessage *delete (Call *call, gconstpointer data, GError **error)
{
  const PB (DeleteContentRequest) *request = data;
  GantryContent *content = content_open (call, error);

  if (content == NULL || !content_check_digest (request->digest, "invalid checksum digest format: %s", error)
      || !gantry_content_remove (content, request->digest, call->cancellable, error))
    return NULL;
  return reply_empty (call);
}

static PB (Status) * status_to_message (Call *call, GantryIngestStatus *status)
{
  PB (Status) *message = message_new (call, &DESCRIPTOR (status));

  message->started_at = timestamp_new (call, status->started_ns);
  message->updated_at = timestamp_new (call, status->updated_ns);
  message->ref = TEXT (status->ref);
  message->offset = (gint64)status->offset;
  message->total = (gint64)status->total;
  message->expected = TEXT (status->expected_digest);
  return message;
}

static const ProtobufCMessage *
status (Call *call, gconstpointer data, GError **error)
{
  const PB (StatusRequest) *request = data;
  PB (StatusResponse) *reply = message_new (call, &DESCRIPTOR (status_response));
  GantryContent *content = content_open (call, error);
  GantryIngestStatus *found = NULL;

  if (content == NULL)
    return NULL;
  if (!gantry_content_ingest_status (content, request->ref, &found, call->cancellable, error))
    {
      g_prefix_error (error, "could not get status for ref \"%s\": ", request->ref);
      return NULL;
    }
  reply->status
      = status_to_message (call, call_keep (call, found, (GDestroyNotify)gantry_ingest_status_unref));
  return &reply->base;
}

static const ProtobufCMessage *
list_statuses (Call *call, gconstpointer data, GError **error)
{
  const PB (ListStatusesRequest) *request = data;
  PB (ListStatusesResponse) *reply = message_new (call, &DESCRIPTOR (list_statuses_response));
  GantryContent *content = content_open (call, error);
  GPtrArray *found = NULL;

  if (content == NULL
      || !gantry_content_list_ingests (content, strings (call, request->n_filters, request->filters), &found,
                                       call->cancellable, error))
    return NULL;
  call_keep (call, found, (GDestroyNotify)g_ptr_array_unref);
  reply->statuses = arena_new (call->arena, PB (Status) *, found->len + 1);
  for (guint i = 0; i < found->len; i++)
    reply->statuses[reply->n_statuses++] = status_to_message (call, g_ptr_array_index (found, i));
  return &reply->base;
}

static const ProtobufCMessage *
abort_one (Call *call, gconstpointer data, GError **error)
{
  const PB (AbortRequest) *request = data;
  GantryContent *content = content_open (call, error);

  if (content == NULL || !gantry_content_abort_ingest (content, request->ref, call->cancellable, error))
    return NULL;
  return reply_empty (call);
}

static const Method methods[] = {
  { "Info", GRPC_METHOD_NORMAL, &DESCRIPTOR (info_request), info },
  { "Update", GRPC_METHOD_NORMAL, &DESCRIPTOR (update_request), update },
  { "List", GRPC_METHOD_NORMAL, &DESCRIPTOR (list_content_request), NULL, list },
  { "Delete", GRPC_METHOD_NORMAL, &DESCRIPTOR (delete_content_request), delete },
  { "Read", GRPC_METHOD_NORMAL, &DESCRIPTOR (read_content_request), NULL, content_read },
  { "Status", GRPC_METHOD_NORMAL, &DESCRIPTOR (status_request), status },
  { "ListStatuses", GRPC_METHOD_NORMAL, &DESCRIPTOR (list_statuses_request), list_statuses },
  { "Write", GRPC_METHOD_NORMAL, &DESCRIPTOR (write_content_request), NULL, NULL, content_write },
  { "Abort", GRPC_METHOD_NORMAL, &DESCRIPTOR (abort_request), abort_one },
};

const Service content_service
    = { "containerd.services.content.v1.Content", TRUE, methods, G_N_ELEMENTS (methods) };
