/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The headers of a call as they come: a request's on a server, a response's and its trailers on a client.
 */
#include <string.h>

#include "conn.h"
#include "metadata.h"

/* Beyond this many times the limit the peer means harm. */
#define MAX_EXCESS 16

typedef struct
{
  const char *data;
  gsize length;
} Text;

static gboolean
equals (Text text, const char *other)
{
  return text.length == strlen (other) && memcmp (text.data, other, text.length) == 0;
}

static gboolean
is_hidden (Text name)
{
  return name.data[0] == ':' || equals (name, "te") || equals (name, "grpc-accept-encoding")
         || equals (name, "accept-encoding");
}

static void
take_request_header (GrpcCall *self, Text name, Text value)
{
  if (equals (name, ":path"))
    {
      g_free (self->path);
      self->path = g_strndup (value.data, value.length);
    }
  else if (equals (name, ":method"))
    self->is_post = equals (value, "POST");
  else if (equals (name, "content-type"))
    self->is_grpc = grpc_wire_is_grpc (value.data, value.length);
  else if (equals (name, "grpc-encoding"))
    self->is_compressed = !equals (value, "identity");
  else if (equals (name, "grpc-timeout"))
    {
      self->timeout = grpc_wire_parse_timeout (value.data, value.length);
      self->is_garbled |= self->timeout < 0;
    }
  else if (!is_hidden (name))
    grpc_metadata_append_raw (self->metadata, name.data, name.length, value.data, value.length);
}

static void
take_response_header (GrpcCall *self, Text name, Text value)
{
  g_autofree char *text = g_strndup (value.data, value.length);
  guint64 status;

  if (equals (name, ":status"))
    self->http_status = (int)g_ascii_strtoull (text, NULL, 10);
  else if (equals (name, "content-type"))
    self->is_grpc = grpc_wire_is_grpc (value.data, value.length);
  else if (equals (name, "grpc-status"))
    {
      self->has_status = TRUE;
      self->status
          = g_ascii_string_to_unsigned (text, 10, 0, 16, &status, NULL) ? (int)status : GRPC_STATUS_UNKNOWN;
    }
  else if (equals (name, "grpc-message"))
    {
      g_free (self->message);
      self->message = grpc_wire_decode_message (value.data, value.length);
    }
  else if (!is_hidden (name))
    grpc_metadata_append_raw (self->metadata, name.data, name.length, value.data, value.length);
}

void
grpc_call_header (GrpcCall *self, const char *name, gsize name_length, const char *value, gsize value_length)
{
  self->header_bytes += name_length + value_length + 32; /* as SETTINGS_MAX_HEADER_LIST_SIZE counts */
  if (self->header_bytes > self->shared->max_metadata)
    {
      self->is_too_big = TRUE;
      if (self->header_bytes > self->shared->max_metadata * MAX_EXCESS && self->conn != NULL)
        grpc_conn_break (self->conn, "it sends headers without end");
      return;
    }
  if (self->server)
    take_request_header (self, (Text){ name, name_length }, (Text){ value, value_length });
  else
    take_response_header (self, (Text){ name, name_length }, (Text){ value, value_length });
}

void
grpc_call_headers_done (GrpcCall *self, gboolean end)
{
  if (self->is_too_big)
    grpc_call_abort (self, GANTRY_ERROR_RESOURCE_EXHAUSTED,
                     g_error_new (GANTRY_ERROR, GANTRY_ERROR_RESOURCE_EXHAUSTED,
                                  "the metadata of %s's answer is larger than %zu bytes", self->path,
                                  self->shared->max_metadata));
  else if (!end && self->http_status == 200 && !self->is_grpc)
    grpc_call_abort (self, GANTRY_ERROR_CANCELLED,
                     g_error_new (GANTRY_ERROR, GANTRY_ERROR_UNKNOWN,
                                  "the server does not answer %s with gRPC", self->path));
  if (end)
    {
      g_mutex_lock (&self->lock);
      self->trailers = grpc_metadata_ref (self->metadata);
      g_mutex_unlock (&self->lock);
    }
}
