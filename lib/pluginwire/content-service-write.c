/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Write of containerd.services.content.v1.Content: an ingest as long as the stream.
 */
#include "content-service-private.h"
#include "wireconv.h"

#define PB(name)         Containerd__Services__Content__V1__##name
#define DESCRIPTOR(name) (&containerd__services__content__v1__##name##__descriptor)
#define ACTION(name)     CONTAINERD__SERVICES__CONTENT__V1__WRITE_ACTION__##name

typedef struct
{
  GantryContent *content;
  GantryIngest *ingest;
  guint64 total;
  char *expected;
} Write;

static void
write_free (gpointer data)
{
  Write *self = data;

  gantry_ingest_unref (self->ingest);
  gantry_content_unref (self->content);
  g_free (self->expected);
  g_free (self);
}

static gboolean
open_ingest (Write *self, const PB (WriteContentRequest) * request, GCancellable *cancellable, GError **error)
{
  if (request->total > 0)
    self->total = (guint64)request->total;
  if (request->expected[0] != '\0')
    {
      g_free (self->expected);
      self->expected = g_strdup (request->expected);
    }
  return self->ingest != NULL
         || gantry_content_open_ingest (self->content, request->ref, self->total, self->expected,
                                        &self->ingest, cancellable, error);
}

/* A smaller offset cuts back to it; 0 does so too, as containerd has it. */
static gboolean
append (Write *self, const PB (WriteContentRequest) * request, GCancellable *cancellable, GError **error)
{
  g_autoptr (GantryIngestStatus) status = NULL;
  guint64 offset = (guint64)MAX (request->offset, 0);

  if (!gantry_ingest_get_status (self->ingest, &status, cancellable, error))
    return FALSE;
  if (offset != status->offset && !gantry_ingest_truncate (self->ingest, offset, cancellable, error))
    return FALSE;
  return request->data.len == 0
         || gantry_ingest_write (self->ingest, request->data.data, request->data.len, cancellable, error);
}

static GBytes *
answer (Write *self, const PB (WriteContentRequest) * request, GCancellable *cancellable, GError **error)
{
  g_autoptr (Scratch) scratch = scratch_new ();
  PB (WriteContentResponse) reply = CONTAINERD__SERVICES__CONTENT__V1__WRITE_CONTENT_RESPONSE__INIT;
  g_autoptr (GantryIngestStatus) status = NULL;
  g_autofree char *digest = NULL;

  if (!open_ingest (self, request, cancellable, error)
      || (request->action != ACTION (STAT) && !append (self, request, cancellable, error))
      || !gantry_ingest_get_status (self->ingest, &status, cancellable, error))
    return NULL;
  if (request->action == ACTION (COMMIT)
          ? !gantry_ingest_commit (self->ingest, (guint64)MAX (request->total, 0),
                                   wire_text_or_null (request->expected),
                                   wire_labels_in (request->n_labels, request->labels), &digest, cancellable,
                                   error)
          : !gantry_ingest_get_digest (self->ingest, &digest, cancellable, error))
    return NULL;
  reply.action = request->action;
  reply.offset = (gint64)status->offset;
  reply.total = (gint64)status->total;
  reply.started_at = wire_time_out (scratch, status->started_ns);
  reply.updated_at = wire_time_out (scratch, status->updated_ns);
  reply.digest = WIRE_TEXT (digest);
  return wire_pack (&reply.base);
}

/* Lets go of the ingest before the client hears of the end, so that it can go on with it at once. */
static void
finish (Write *self, GrpcCall *call, const GError *error)
{
  g_clear_pointer (&self->ingest, gantry_ingest_unref);
  grpc_call_finish (call, error);
}

static void
on_message (GrpcCall *call, GBytes *bytes, gpointer data)
{
  Write *self = data;
  g_autoptr (GError) error = NULL;
  PB (WriteContentRequest) *request = wire_unpack (DESCRIPTOR (write_content_request), bytes, &error);
  g_autoptr (GBytes) reply = NULL;
  gboolean committed = request != NULL && request->action == ACTION (COMMIT);

  if (request != NULL)
    reply = answer (self, request, grpc_call_get_cancellable (call), &error);
  wire_message_free (request);
  if (reply == NULL || !grpc_call_send (call, reply, &error) || committed)
    finish (self, call, error);
  else
    grpc_call_request (call, 1);
}

static void
on_end (GrpcCall *call, gpointer data)
{
  finish (data, call, NULL);
}

static const GrpcCallHandlers handlers = { .on_message = on_message, .on_end = on_end };

void
content_service_write (GrpcCall *call, gpointer service)
{
  g_autoptr (GError) error = NULL;
  GantryContent *content = content_service_find (service, call, &error);
  Write *self;

  if (content == NULL)
    {
      grpc_call_finish (call, error);
      return;
    }
  self = g_new0 (Write, 1);
  self->content = content;
  grpc_call_set_handlers (call, &handlers, self, write_free);
  grpc_call_request (call, 1);
}
