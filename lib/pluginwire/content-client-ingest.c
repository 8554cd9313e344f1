/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * An ingest at the other end: a stream of Write as long as somebody writes. A stream that failed is opened
 * again by the next call, where the ingest then is.
 */
#include "content-client.h"

#define PB(name)         Containerd__Services__Content__V1__##name
#define DESCRIPTOR(name) (&containerd__services__content__v1__##name##__descriptor)
#define ACTION(name)     CONTAINERD__SERVICES__CONTENT__V1__WRITE_ACTION__##name
#define WRITE            "/containerd.services.content.v1.Content/Write"

#define CHUNK (1024 * 1024)

typedef struct
{
  GantryIngest ingest;
  gint refs; /* atomic */
  Peer *peer;
  PeerStream *stream; /* or NULL: it has ended */
  char *ref;
  guint64 total;
  char *expected;
  guint64 offset;
  char *digest; /* of what is written so far */
  gint64 started_ns, updated_ns;
} Ingest;

static PB (WriteContentRequest) make_request (Ingest *self, PB (WriteAction) action)
{
  PB (WriteContentRequest) request = CONTAINERD__SERVICES__CONTENT__V1__WRITE_CONTENT_REQUEST__INIT;

  request.action = action;
  request.ref = self->ref;
  request.total = (gint64)self->total;
  request.expected = WIRE_TEXT (self->expected);
  request.offset = (gint64)self->offset;
  return request;
}

static void
end_stream (Ingest *self)
{
  if (self->stream == NULL)
    return;
  peer_stream_close (self->stream);
  g_clear_pointer (&self->stream, peer_stream_free);
}

static gboolean
exchange (Ingest *self, const PB (WriteContentRequest) * request, GCancellable *cancellable, GError **error)
{
  PB (WriteContentResponse) *reply = peer_stream_exchange (self->stream, &request->base, cancellable, error);

  if (reply == NULL)
    {
      g_clear_pointer (&self->stream, peer_stream_free);
      return FALSE;
    }
  self->offset = (guint64)MAX (reply->offset, 0);
  if (reply->total > 0)
    self->total = (guint64)reply->total;
  if (reply->started_at != NULL)
    self->started_ns = wire_time_in (reply->started_at);
  if (reply->updated_at != NULL)
    self->updated_ns = wire_time_in (reply->updated_at);
  if (reply->digest[0] != '\0')
    {
      g_free (self->digest);
      self->digest = g_strdup (reply->digest);
    }
  wire_message_free (reply);
  return TRUE;
}

/* The stream, begun by a STAT if it is not there. */
static gboolean
ensure_stream (Ingest *self, GCancellable *cancellable, GError **error)
{
  PB (WriteContentRequest) request = make_request (self, ACTION (STAT));

  if (self->stream != NULL)
    return TRUE;
  request.offset = 0;
  self->stream = peer_open (self->peer, WRITE, DESCRIPTOR (write_content_response), error);
  return self->stream != NULL && exchange (self, &request, cancellable, error);
}

static GantryIngest *
ingest_ref (GantryIngest *ingest)
{
  g_atomic_int_inc (&((Ingest *)ingest)->refs);
  return ingest;
}

static void
ingest_unref (GantryIngest *ingest)
{
  Ingest *self = (Ingest *)ingest;

  if (!g_atomic_int_dec_and_test (&self->refs))
    return;
  end_stream (self);
  g_free (self->ref);
  g_free (self->expected);
  g_free (self->digest);
  g_free (self);
}

static gboolean
ingest_write (GantryIngest *ingest, gconstpointer data, gsize length, GCancellable *cancellable,
              GError **error)
{
  Ingest *self = (Ingest *)ingest;
  const guint8 *at = data;

  while (length > 0)
    {
      PB (WriteContentRequest) request;
      gsize n = MIN (length, CHUNK);

      if (g_cancellable_set_error_if_cancelled (cancellable, error)
          || !ensure_stream (self, cancellable, error))
        return FALSE;
      request = make_request (self, ACTION (WRITE));
      request.data.data = (guint8 *)at;
      request.data.len = n;
      if (!exchange (self, &request, cancellable, error))
        return FALSE;
      at += n;
      length -= n;
    }
  return TRUE;
}

static gboolean
ingest_get_status (GantryIngest *ingest, GantryIngestStatus **ret_status, GCancellable *cancellable,
                   GError **error)
{
  Ingest *self = (Ingest *)ingest;

  *ret_status = gantry_ingest_status_new (self->ref, self->offset, self->total, self->expected,
                                          self->started_ns, self->updated_ns);
  return TRUE;
}

static gboolean
ingest_truncate (GantryIngest *ingest, guint64 offset, GCancellable *cancellable, GError **error)
{
  Ingest *self = (Ingest *)ingest;
  PB (WriteContentRequest) request;

  if (!ensure_stream (self, cancellable, error))
    return FALSE;
  if (offset > self->offset)
    return gantry_throw (error, GANTRY_ERROR_OUT_OF_RANGE,
                         "ingest %s is at %" G_GUINT64_FORMAT " and cannot be cut back to %" G_GUINT64_FORMAT,
                         self->ref, self->offset, offset);
  if (offset == self->offset)
    return TRUE;
  request = make_request (self, ACTION (WRITE));
  request.offset = (gint64)offset;
  return exchange (self, &request, cancellable, error);
}

static gboolean
ingest_commit (GantryIngest *ingest, guint64 expected_size, const char *expected_digest, GVariant *labels,
               char **ret_digest, GCancellable *cancellable, GError **error)
{
  g_autoptr (GVariant) kept = gantry_variant_keep (labels);
  g_autoptr (Scratch) scratch = scratch_new ();
  g_autoptr (GError) local = NULL;
  Ingest *self = (Ingest *)ingest;
  PB (WriteContentRequest) request;

  if (g_cancellable_set_error_if_cancelled (cancellable, error) || !ensure_stream (self, cancellable, error))
    return FALSE;
  request = make_request (self, ACTION (COMMIT));
  if (expected_size > 0)
    request.total = (gint64)expected_size;
  if (expected_digest != NULL)
    request.expected = (char *)expected_digest;
  wire_labels_out (scratch, kept, DESCRIPTOR (write_content_request__labels_entry), &request.n_labels,
                   &request.labels);
  if (exchange (self, &request, cancellable, &local))
    {
      end_stream (self);
      *ret_digest = g_strdup (self->digest);
      return TRUE;
    }
  if (gantry_error_is (local, GANTRY_ERROR_ALREADY_EXISTS))
    *ret_digest = g_strdup (self->digest);
  g_propagate_error (error, g_steal_pointer (&local));
  return FALSE;
}

static gboolean
ingest_get_digest (GantryIngest *ingest, char **ret_digest, GCancellable *cancellable, GError **error)
{
  Ingest *self = (Ingest *)ingest;

  if (!ensure_stream (self, cancellable, error))
    return FALSE;
  *ret_digest = g_strdup (self->digest);
  return TRUE;
}

static const GantryIngestVtable vtable = {
  .size = sizeof (GantryIngestVtable),
  .ref = ingest_ref,
  .unref = ingest_unref,
  .write = ingest_write,
  .get_status = ingest_get_status,
  .truncate = ingest_truncate,
  .commit = ingest_commit,
  .get_digest = ingest_get_digest,
};

/* What an ingest that was begun before was begun for: the answers of Write do not say all of it. */
static void
learn_expectations (Ingest *self, GantryContent *content, GCancellable *cancellable)
{
  g_autoptr (GantryIngestStatus) status = NULL;

  if (self->expected != NULL || self->offset == 0
      || !gantry_content_ingest_status (content, self->ref, &status, cancellable, NULL))
    return;
  self->expected = g_strdup (status->expected_digest);
}

gboolean
content_client_open_ingest (GantryContent *content, const char *ref, guint64 total,
                            const char *expected_digest, GantryIngest **ret_ingest, GCancellable *cancellable,
                            GError **error)
{
  Ingest *self;

  /* The protocol has no other word for "none". */
  if (expected_digest != NULL && expected_digest[0] == '\0')
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "\"\" is not a digest");
  self = g_new0 (Ingest, 1);
  self->ingest.vtable = &vtable;
  self->refs = 1;
  self->peer = ((ContentClient *)content)->peer;
  self->ref = g_strdup (ref);
  self->total = total;
  self->expected = g_strdup (expected_digest);
  if (!ensure_stream (self, cancellable, error))
    {
      ingest_unref (&self->ingest);
      return FALSE;
    }
  learn_expectations (self, content, cancellable);
  *ret_ingest = &self->ingest;
  return TRUE;
}
