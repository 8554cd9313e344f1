/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Content.Write: an ingest, driven message by message. The ingest outlives the call unless it is committed.
 */
#include "content.h"

#include <string.h>

typedef struct
{
  ApiGrpc *api;
  char *ns;
  char *lease; /* (nullable) */
  char *ref;   /* (nullable): until the first message */
  GantryContent *content;
  GantryIngest *ingest;
  guint64 total;
  char *expected; /* (nullable) */
} Write;

static void
write_free (gpointer data)
{
  Write *self = data;

  gantry_ingest_unref (self->ingest);
  gantry_content_unref (self->content);
  g_free (self->ns);
  g_free (self->lease);
  g_free (self->ref);
  g_free (self->expected);
  g_free (self);
}

static gboolean
begin (Write *self, Call *call, const PB (WriteContentRequest) * request, GError **error)
{
  if (request->ref[0] == '\0')
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "first message must have a reference");
  if (request->expected[0] != '\0'
      && !content_check_digest (request->expected, "%s: invalid checksum digest format", error))
    return FALSE;
  self->ref = g_strdup (request->ref);
  self->total = (guint64)MAX (request->total, 0);
  self->expected = g_strdup (non_empty (request->expected));
  return gantry_store_open_content (self->api->store, self->ns, self->lease, NULL, &self->content,
                                    call->cancellable, error)
         && gantry_content_open_ingest (self->content, self->ref, self->total, self->expected, &self->ingest,
                                        call->cancellable, error);
}

/* What a later message says of size and digest. */
static gboolean
note_expectations (Write *self, Call *call, const PB (WriteContentRequest) * request, GError **error)
{
  g_autoptr (GantryContentInfo) info = NULL;

  if (request->total > 0)
    self->total = (guint64)request->total;
  if (request->expected[0] == '\0' || g_strcmp0 (self->expected, request->expected) == 0)
    return TRUE;
  if (!content_check_digest (request->expected, "%s: invalid checksum digest format", error))
    return FALSE;
  g_free (self->expected);
  self->expected = g_strdup (request->expected);
  if (!gantry_content_info (self->content, self->expected, &info, call->cancellable, NULL))
    return TRUE;
  g_clear_pointer (&self->ingest, gantry_ingest_unref);
  gantry_content_abort_ingest (self->content, self->ref, NULL, NULL);
  return gantry_throw (error, GANTRY_ERROR_ALREADY_EXISTS, "blob with expected digest %s exists",
                       self->expected);
}

static gboolean
append (Write *self, Call *call, const PB (WriteContentRequest) * request, GantryIngestStatus *status,
        GError **error)
{
  if (request->offset > 0 && (guint64)request->offset != status->offset)
    return gantry_throw (error, GANTRY_ERROR_OUT_OF_RANGE,
                         "write @%" G_GINT64_FORMAT " must occur at current offset %" G_GUINT64_FORMAT,
                         request->offset, status->offset);
  if (request->offset == 0 && status->offset > 0
      && !gantry_ingest_truncate (self->ingest, 0, call->cancellable, error))
    return FALSE;
  return request->data.len == 0
         || gantry_ingest_write (self->ingest, request->data.data, request->data.len, call->cancellable,
                                 error);
}

static gboolean
step (Write *self, Call *call, const PB (WriteContentRequest) * request, PB (WriteContentResponse) * reply,
      GError **error)
{
  g_autoptr (GantryIngestStatus) before = NULL;
  GantryIngestStatus *after = NULL;
  char *digest = NULL;
  gboolean ok;

  if ((self->ingest == NULL && !begin (self, call, request, error))
      || !note_expectations (self, call, request, error)
      || !gantry_ingest_get_status (self->ingest, &before, call->cancellable, error))
    return FALSE;
  reply->action = request->action;
  if (request->action != CONTAINERD__SERVICES__CONTENT__V1__WRITE_ACTION__STAT
      && !append (self, call, request, before, error))
    return FALSE;
  if (!gantry_ingest_get_status (self->ingest, &after, call->cancellable, error))
    return FALSE;
  call_keep (call, after, (GDestroyNotify)gantry_ingest_status_unref);
  reply->offset = (gint64)after->offset;
  if (request->action == CONTAINERD__SERVICES__CONTENT__V1__WRITE_ACTION__STAT)
    {
      reply->started_at = timestamp_new (call, after->started_ns);
      reply->updated_at = timestamp_new (call, after->updated_ns);
      reply->total = (gint64)self->total;
    }
  if (request->action == CONTAINERD__SERVICES__CONTENT__V1__WRITE_ACTION__COMMIT)
    ok = gantry_ingest_commit (self->ingest, self->total, self->expected,
                               labels_from_entries (request->n_labels, request->labels), &digest,
                               call->cancellable, error);
  else
    ok = gantry_ingest_get_digest (self->ingest, &digest, call->cancellable, error);
  call_keep (call, digest, g_free);
  reply->digest = TEXT (digest);
  return ok;
}

/* Lets go of the ingest before the client hears of the end, so that it can go on with it at once. */
static void
finish (Write *self, GrpcCall *grpc, GError *error)
{
  g_clear_pointer (&self->ingest, gantry_ingest_unref);
  gantry_error_normalize (&error);
  grpc_call_finish (grpc, error);
}

static void
on_message (GrpcCall *grpc, GBytes *bytes, gpointer data)
{
  Write *self = data;
  g_autoptr (GError) error = NULL;
  g_auto (Arena) arena;
  Call call = { .api = self->api, .grpc = grpc, .ns = self->ns, .lease = self->lease, .arena = &arena };
  const PB (WriteContentRequest) * request;
  PB (WriteContentResponse) * reply;
  g_autoptr (GBytes) packed = NULL;

  arena_init (&arena);
  call.cancellable = grpc_call_get_cancellable (grpc);
  request = (const PB (WriteContentRequest) *)message_unpack (&DESCRIPTOR (write_content_request), bytes,
                                                              &arena, &error);
  reply = message_new (&call, &DESCRIPTOR (write_content_response));
  if (request == NULL || !step (self, &call, request, reply, &error))
    {
      finish (self, grpc, error);
      return;
    }
  packed = message_pack (&reply->base);
  if (!grpc_call_send (grpc, packed, &error)
      || request->action == CONTAINERD__SERVICES__CONTENT__V1__WRITE_ACTION__COMMIT)
    finish (self, grpc, error);
  else
    grpc_call_request (grpc, 1);
}

static void
on_end (GrpcCall *grpc, gpointer data)
{
  finish (data, grpc, NULL);
}

gboolean
content_write (Call *call, GError **error)
{
  static const GrpcCallHandlers handlers = { .on_message = on_message, .on_end = on_end };
  Write *self = g_new0 (Write, 1);

  self->api = call->api;
  self->ns = g_strdup (call->ns);
  self->lease = g_strdup (call->lease);
  grpc_call_set_handlers (call->grpc, &handlers, self, write_free);
  grpc_call_request (call->grpc, 1);
  return TRUE;
}
