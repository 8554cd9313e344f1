/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Content.Read: a blob in pieces, as fast as the client takes them. */
#include "content.h"

#include <errno.h>
#include <unistd.h>

/* A reader that stalls costs what the transport queues and one piece. */
#define PIECE    (256 * 1024)
#define MAX_HEAD 32

typedef struct
{
  int fd;
  guint64 offset;
  guint64 end;
  char *digest;
} Read;

static void
read_free (gpointer data)
{
  Read *self = data;

  close (self->fd);
  g_free (self->digest);
  g_free (self);
}

static gsize
put_varint (guint8 *out, guint64 value)
{
  gsize n = 0;

  for (; value >= 0x80; value >>= 7)
    out[n++] = (guint8)(value | 0x80);
  out[n++] = (guint8)value;
  return n;
}

/* The next piece as a ReadContentResponse, read to where it is sent from. */
static GBytes *
next_piece (Read *self, GError **error)
{
  gsize length = (gsize)MIN (self->end - self->offset, (guint64)PIECE), n = 0, got = 0;
  guint8 *message = g_malloc (MAX_HEAD + length);

  if (self->offset > 0)
    {
      message[n++] = 1 << 3 | 0; /* offset */
      n += put_varint (message + n, self->offset);
    }
  message[n++] = 2 << 3 | 2; /* data */
  n += put_varint (message + n, length);
  while (got < length)
    {
      gssize some = pread (self->fd, message + n + got, length - got, (off_t)(self->offset + got));

      if (some < 0 && errno == EINTR)
        continue;
      if (some <= 0)
        {
          if (some < 0)
            gantry_throw_errno (error, errno, "reading content %s", self->digest);
          else
            gantry_throw (error, GANTRY_ERROR_DATA_LOSS,
                          "content %s is shorter than its record says; run `gantry check`", self->digest);
          g_free (message);
          return NULL;
        }
      got += (gsize)some;
    }
  self->offset += length;
  return g_bytes_new_take (message, n + length);
}

static void
more (GrpcCall *grpc, gpointer data)
{
  Read *self = data;
  g_autoptr (GError) error = NULL;

  while (self->offset < self->end && grpc_call_is_writable (grpc))
    {
      g_autoptr (GBytes) piece = next_piece (self, &error);

      if (piece == NULL || !grpc_call_send (grpc, piece, &error))
        break;
    }
  gantry_error_normalize (&error);
  if (error != NULL || self->offset == self->end)
    grpc_call_finish (grpc, error);
}

gboolean
content_read (Call *call, gconstpointer data, GError **error)
{
  static const GrpcCallHandlers handlers = { .on_writable = more };
  const PB (ReadContentRequest) *request = data;
  GantryContent *content = content_open (call, error);
  guint64 size, offset = (guint64)MAX (request->offset, 0);
  Read *self;
  int fd;

  if (content == NULL || !content_check_digest (request->digest, "%s: invalid checksum digest format", error)
      || !gantry_content_open_blob (content, request->digest, &fd, &size, call->cancellable, error))
    return FALSE;
  if (offset > size)
    {
      close (fd);
      return gantry_throw (error, GANTRY_ERROR_OUT_OF_RANGE,
                           "read past object length %" G_GUINT64_FORMAT " bytes", size);
    }
  self = g_new0 (Read, 1);
  self->fd = fd;
  self->offset = offset;
  self->end = request->size > 0 ? offset + MIN ((guint64)request->size, size - offset) : size;
  self->digest = g_strdup (request->digest);
  grpc_call_set_handlers (call->grpc, &handlers, self, read_free);
  more (call->grpc, self);
  return TRUE;
}
