/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Write is in content-service-write.c.
 */
#include "content-service-private.h"

#include <unistd.h>

#include "liststream.h"
#include "wireconv.h"

#define PB(name)         Containerd__Services__Content__V1__##name
#define DESCRIPTOR(name) (&containerd__services__content__v1__##name##__descriptor)

#define CHUNK (512 * 1024)

static PB (Info) * info_out (Scratch *scratch, GantryContentInfo *info)
{
  PB (Info) *message = scratch_message (scratch, DESCRIPTOR (info));

  message->digest = WIRE_TEXT (info->digest);
  message->size = (gint64)info->blob_size;
  message->created_at = wire_time_out (scratch, info->created_ns);
  message->updated_at = wire_time_out (scratch, info->updated_ns);
  wire_labels_out (scratch, info->labels, DESCRIPTOR (info__labels_entry), &message->n_labels,
                   &message->labels);
  return message;
}

/* The answers of Info and Update have the same single field. */
static GBytes *
reply_info (GantryContentInfo *info)
{
  g_autoptr (Scratch) scratch = scratch_new ();
  PB (InfoResponse) reply = CONTAINERD__SERVICES__CONTENT__V1__INFO_RESPONSE__INIT;

  reply.info = info_out (scratch, info);
  return wire_pack (&reply.base);
}

GantryContent *
content_service_find (ContentService *self, GrpcCall *call, GError **error)
{
  return self->ops->find (call, self->data, error);
}

/* A NULL-terminated list of the strings of a message. Returns: (transfer container). */
static GPtrArray *
list_in (size_t n, char **texts)
{
  GPtrArray *list = g_ptr_array_new ();

  for (size_t i = 0; i < n; i++)
    g_ptr_array_add (list, texts[i]);
  g_ptr_array_add (list, NULL);
  return list;
}

static const char *const *
list_or_null (GPtrArray *list)
{
  return list->len > 1 ? (const char *const *)list->pdata : NULL;
}

static GBytes *
get_info (GrpcCall *call, GBytes *bytes, gpointer data, GError **error)
{
  g_autoptr (GantryContent) content = content_service_find (data, call, error);
  PB (InfoRequest) *request = content != NULL ? wire_unpack (DESCRIPTOR (info_request), bytes, error) : NULL;
  g_autoptr (GantryContentInfo) info = NULL;
  gboolean ok
      = request != NULL
        && gantry_content_info (content, request->digest, &info, grpc_call_get_cancellable (call), error);

  wire_message_free (request);
  return ok ? reply_info (info) : NULL;
}

static GBytes *
update (GrpcCall *call, GBytes *bytes, gpointer data, GError **error)
{
  g_autoptr (GantryContent) content = content_service_find (data, call, error);
  PB (UpdateRequest) *request
      = content != NULL ? wire_unpack (DESCRIPTOR (update_request), bytes, error) : NULL;
  g_autoptr (GantryContentInfo) info = NULL;
  g_autoptr (GPtrArray) mask = NULL;
  gboolean ok = FALSE;

  if (request != NULL && request->info == NULL)
    gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "an update names no blob");
  else if (request != NULL)
    {
      mask = list_in (request->update_mask != NULL ? request->update_mask->n_paths : 0,
                      request->update_mask != NULL ? request->update_mask->paths : NULL);
      ok = gantry_content_update (content, request->info->digest,
                                  wire_labels_in (request->info->n_labels, request->info->labels),
                                  list_or_null (mask), &info, grpc_call_get_cancellable (call), error);
    }
  wire_message_free (request);
  return ok ? reply_info (info) : NULL;
}

static GBytes *
delete_one (GrpcCall *call, GBytes *bytes, gpointer data, GError **error)
{
  g_autoptr (GantryContent) content = content_service_find (data, call, error);
  PB (DeleteContentRequest) *request
      = content != NULL ? wire_unpack (DESCRIPTOR (delete_content_request), bytes, error) : NULL;
  gboolean ok = request != NULL
                && gantry_content_remove (content, request->digest, grpc_call_get_cancellable (call), error);

  wire_message_free (request);
  return ok ? g_bytes_new (NULL, 0) : NULL;
}

static PB (Status) * status_out (Scratch *scratch, GantryIngestStatus *status)
{
  PB (Status) *message = scratch_message (scratch, DESCRIPTOR (status));

  message->ref = WIRE_TEXT (status->ref);
  message->offset = (gint64)status->offset;
  message->total = (gint64)status->total;
  message->expected = WIRE_TEXT (status->expected_digest);
  message->started_at = wire_time_out (scratch, status->started_ns);
  message->updated_at = wire_time_out (scratch, status->updated_ns);
  return message;
}

static GBytes *
get_status (GrpcCall *call, GBytes *bytes, gpointer data, GError **error)
{
  g_autoptr (GantryContent) content = content_service_find (data, call, error);
  PB (StatusRequest) *request
      = content != NULL ? wire_unpack (DESCRIPTOR (status_request), bytes, error) : NULL;
  PB (StatusResponse) reply = CONTAINERD__SERVICES__CONTENT__V1__STATUS_RESPONSE__INIT;
  g_autoptr (Scratch) scratch = scratch_new ();
  g_autoptr (GantryIngestStatus) status = NULL;
  gboolean ok = request != NULL
                && gantry_content_ingest_status (content, request->ref, &status,
                                                 grpc_call_get_cancellable (call), error);

  wire_message_free (request);
  if (!ok)
    return NULL;
  reply.status = status_out (scratch, status);
  return wire_pack (&reply.base);
}

static GBytes *
list_statuses (GrpcCall *call, GBytes *bytes, gpointer data, GError **error)
{
  g_autoptr (GantryContent) content = content_service_find (data, call, error);
  PB (ListStatusesRequest) *request
      = content != NULL ? wire_unpack (DESCRIPTOR (list_statuses_request), bytes, error) : NULL;
  PB (ListStatusesResponse) reply = CONTAINERD__SERVICES__CONTENT__V1__LIST_STATUSES_RESPONSE__INIT;
  g_autoptr (Scratch) scratch = scratch_new ();
  g_autoptr (GPtrArray) statuses = NULL;
  g_autoptr (GPtrArray) filters = request != NULL ? list_in (request->n_filters, request->filters) : NULL;
  gboolean ok = request != NULL
                && gantry_content_list_ingests (content, list_or_null (filters), &statuses,
                                                grpc_call_get_cancellable (call), error);

  wire_message_free (request);
  if (!ok)
    return NULL;
  reply.n_statuses = statuses->len;
  reply.statuses = scratch_alloc (scratch, sizeof (gpointer) * (statuses->len + 1));
  for (guint i = 0; i < statuses->len; i++)
    reply.statuses[i] = status_out (scratch, g_ptr_array_index (statuses, i));
  return wire_pack (&reply.base);
}

static GBytes *
abort_one (GrpcCall *call, GBytes *bytes, gpointer data, GError **error)
{
  g_autoptr (GantryContent) content = content_service_find (data, call, error);
  PB (AbortRequest) *request
      = content != NULL ? wire_unpack (DESCRIPTOR (abort_request), bytes, error) : NULL;
  gboolean ok
      = request != NULL
        && gantry_content_abort_ingest (content, request->ref, grpc_call_get_cancellable (call), error);

  wire_message_free (request);
  return ok ? g_bytes_new (NULL, 0) : NULL;
}

/* List */

static GBytes *
pack_infos (GPtrArray *infos)
{
  g_autoptr (Scratch) scratch = scratch_new ();
  PB (ListContentResponse) reply = CONTAINERD__SERVICES__CONTENT__V1__LIST_CONTENT_RESPONSE__INIT;

  reply.n_info = infos->len;
  reply.info = scratch_alloc (scratch, sizeof (gpointer) * reply.n_info);
  for (guint i = 0; i < infos->len; i++)
    reply.info[i] = info_out (scratch, g_ptr_array_index (infos, i));
  return wire_pack (&reply.base);
}

static gboolean
on_blob (GantryContentInfo *info, gpointer data)
{
  list_stream_add (data, info);
  return TRUE;
}

static void
list (GrpcCall *call, GBytes *bytes, gpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GantryContent) content = content_service_find (data, call, &error);
  PB (ListContentRequest) *request
      = content != NULL ? wire_unpack (DESCRIPTOR (list_content_request), bytes, &error) : NULL;
  g_autoptr (GPtrArray) filters = request != NULL ? list_in (request->n_filters, request->filters) : NULL;
  ListStream self = list_stream_new (pack_infos);

  if (request != NULL)
    gantry_content_walk (content, list_or_null (filters), on_blob, &self, grpc_call_get_cancellable (call),
                         &error);
  wire_message_free (request);
  list_stream_send (&self, call, error);
}

/* Read */

typedef struct
{
  ContentService *service;
  int fd;
  gint64 at, end;
  guint8 *buffer;
} Read;

static void
read_free (gpointer data)
{
  Read *self = data;

  close (self->fd);
  g_free (self->buffer);
  g_free (self);
}

static gboolean
read_chunk (Read *self, GBytes **ret_message, GError **error)
{
  PB (ReadContentResponse) reply = CONTAINERD__SERVICES__CONTENT__V1__READ_CONTENT_RESPONSE__INIT;
  gssize n = pread (self->fd, self->buffer, (gsize)MIN (CHUNK, self->end - self->at), self->at);

  if (n < 0)
    return gantry_throw_errno (error, errno, "reading a blob");
  if (n == 0)
    return gantry_throw (error, GANTRY_ERROR_DATA_LOSS, "the blob is shorter than it was");
  reply.offset = self->at;
  reply.data.data = self->buffer;
  reply.data.len = (gsize)n;
  self->at += n;
  *ret_message = wire_pack (&reply.base);
  return TRUE;
}

static void
read_more (GrpcCall *call, gpointer data)
{
  Read *self = data;
  g_autoptr (GError) error = NULL;

  while (self->at < self->end && grpc_call_is_writable (call))
    {
      g_autoptr (GBytes) message = NULL;

      if (!read_chunk (self, &message, &error))
        {
          grpc_call_finish (call, error);
          return;
        }
      if (!grpc_call_send (call, message, NULL))
        return; /* it is over */
      if (self->service->ops->did_read != NULL)
        self->service->ops->did_read (call, (guint64)self->at, self->service->data);
    }
  if (self->at == self->end)
    grpc_call_finish (call, NULL);
}

static const GrpcCallHandlers read_handlers = { .on_writable = read_more };

static gboolean
open_read (Read *self, GantryContent *content, const PB (ReadContentRequest) * request,
           GCancellable *cancellable, GError **error)
{
  guint64 size;

  if (!gantry_content_open_blob (content, request->digest, &self->fd, &size, cancellable, error))
    return FALSE;
  if (request->offset < 0 || request->size < 0 || (guint64)request->offset > size)
    return gantry_throw (error, GANTRY_ERROR_OUT_OF_RANGE,
                         "offset %" G_GINT64_FORMAT " is past the end of %s", request->offset,
                         request->digest);
  self->at = request->offset;
  self->end = (gint64)size;
  if (request->size > 0 && request->size < self->end - self->at)
    self->end = self->at + request->size;
  self->buffer = g_malloc (CHUNK);
  return TRUE;
}

static void
read_blob (GrpcCall *call, GBytes *bytes, gpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GantryContent) content = content_service_find (data, call, &error);
  PB (ReadContentRequest) *request
      = content != NULL ? wire_unpack (DESCRIPTOR (read_content_request), bytes, &error) : NULL;
  Read *self = g_new0 (Read, 1);
  gboolean ok;

  self->service = data;
  self->fd = -1;
  ok = request != NULL && open_read (self, content, request, grpc_call_get_cancellable (call), &error);
  wire_message_free (request);
  if (!ok)
    {
      read_free (self);
      grpc_call_finish (call, error);
      return;
    }
  grpc_call_set_handlers (call, &read_handlers, self, read_free);
  read_more (call, self);
}

static const GrpcMethod methods[] = {
  { .name = "Info", .unary = get_info },
  { .name = "Update", .unary = update },
  { .name = "List", .start = list },
  { .name = "Delete", .unary = delete_one },
  { .name = "Read", .start = read_blob },
  { .name = "Status", .unary = get_status },
  { .name = "ListStatuses", .unary = list_statuses },
  { .name = "Write", .open = content_service_write },
  { .name = "Abort", .unary = abort_one },
};

gboolean
content_service_add (GrpcServer *server, const ContentServiceOps *ops, gpointer data, GError **error)
{
  ContentService *self = g_new (ContentService, 1);

  *self = (ContentService){ ops, data };
  return grpc_server_add_service (server, "containerd.services.content.v1.Content", methods,
                                  G_N_ELEMENTS (methods), self, g_free, error);
}
