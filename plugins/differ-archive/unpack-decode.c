/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "unpack-decode.h"

#include <string.h>

#include <zstd.h>

#include "fdio.h"
#include <gantry/error.h>

typedef enum
{
  DECODE_PLAIN,
  DECODE_GZIP,
  DECODE_ZSTD
} DecodeKind;

struct _UnpackDecoder
{
  UnpackInput input;
  DecodeKind kind;
  UnpackGzip *gzip;
  ZSTD_DStream *zstd;
  gboolean in_frame; /* zstd: between the first byte of a frame and its last */
};

gboolean
unpack_input_fill (UnpackInput *self, GError **error)
{
  ssize_t n;

  if (self->at < self->end || self->eof)
    return TRUE;
  do
    n = read (self->fd, self->data, UNPACK_INPUT_SIZE);
  while (n < 0 && errno == EINTR);
  if (n < 0)
    return gantry_throw_errno (error, errno, "reading the layer");
  self->at = 0;
  self->end = (gsize)n;
  self->eof = n == 0;
  self->total += (guint64)n;
  return TRUE;
}

static DecodeKind
detect (const guint8 *data, gsize length)
{
  if (length >= 3 && data[0] == 0x1f && data[1] == 0x8b && data[2] == 8)
    return DECODE_GZIP;
  if (length >= 4 && data[0] == 0x28 && data[1] == 0xb5 && data[2] == 0x2f && data[3] == 0xfd)
    return DECODE_ZSTD;
  /* A skippable frame, such as zstd:chunked's, may come first. */
  if (length >= 4 && (data[0] & 0xf0) == 0x50 && data[1] == 0x2a && data[2] == 0x4d && data[3] == 0x18)
    return DECODE_ZSTD;
  return DECODE_PLAIN;
}

/* A pipe may give less than four bytes at once. */
static gboolean
fill_head (UnpackInput *input, GError **error)
{
  while (!input->eof && input->end < 4)
    {
      ssize_t n = read (input->fd, input->data + input->end, UNPACK_INPUT_SIZE - input->end);

      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0)
        return gantry_throw_errno (error, errno, "reading the layer");
      input->eof = n == 0;
      input->end += (gsize)n;
      input->total += (guint64)n;
    }
  return TRUE;
}

UnpackDecoder *
unpack_decoder_new (int fd, GError **error)
{
  g_autoptr (UnpackDecoder) self = g_new0 (UnpackDecoder, 1);

  self->input.fd = fd;
  self->input.data = g_malloc (UNPACK_INPUT_SIZE);
  if (!fill_head (&self->input, error))
    return NULL;
  self->kind = detect (self->input.data, self->input.end);
  if (self->kind == DECODE_GZIP)
    self->gzip = unpack_gzip_new ();
  if (self->kind == DECODE_ZSTD)
    self->zstd = ZSTD_createDStream ();
  return g_steal_pointer (&self);
}

static gboolean
read_plain (UnpackDecoder *self, guint8 *out, gsize size, gsize *ret_length, GError **error)
{
  UnpackInput *input = &self->input;
  gsize length = MIN (size, input->end - input->at);
  ssize_t n;

  if (length > 0)
    {
      memcpy (out, input->data + input->at, length);
      input->at += length;
      *ret_length = length;
      return TRUE;
    }
  do
    n = read (input->fd, out, size);
  while (n < 0 && errno == EINTR);
  if (n < 0)
    return gantry_throw_errno (error, errno, "reading the layer");
  input->total += (guint64)n;
  *ret_length = (gsize)n;
  return TRUE;
}

static gboolean
read_zstd (UnpackDecoder *self, guint8 *out, gsize size, gsize *ret_length, GError **error)
{
  UnpackInput *input = &self->input;
  ZSTD_outBuffer output = { out, size, 0 };

  while (output.pos == 0)
    {
      ZSTD_inBuffer in;
      size_t hint;

      if (!unpack_input_fill (input, error))
        return FALSE;
      if (input->eof && !self->in_frame)
        break;
      in = (ZSTD_inBuffer){ input->data, input->end, input->at };
      hint = ZSTD_decompressStream (self->zstd, &output, &in);
      if (ZSTD_isError (hint))
        return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the layer's zstd data is broken: %s",
                             ZSTD_getErrorName (hint));
      if (input->eof && output.pos == 0 && hint != 0)
        return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the layer's zstd data is truncated");
      input->at = in.pos;
      self->in_frame = hint != 0;
    }
  *ret_length = output.pos;
  return TRUE;
}

static gboolean
read_some (UnpackDecoder *self, guint8 *out, gsize size, gsize *ret_length, GError **error)
{
  switch (self->kind)
    {
    case DECODE_GZIP:
      return unpack_gzip_read (self->gzip, &self->input, out, size, ret_length, error);
    case DECODE_ZSTD:
      return read_zstd (self, out, size, ret_length, error);
    case DECODE_PLAIN:
    default:
      return read_plain (self, out, size, ret_length, error);
    }
}

gboolean
unpack_decoder_read (UnpackDecoder *self, guint8 *out, gsize size, gsize *ret_length, GError **error)
{
  gsize done = 0;

  while (done < size)
    {
      gsize n = 0;

      if (!read_some (self, out + done, size - done, &n, error))
        return FALSE;
      if (n == 0)
        break;
      done += n;
    }
  *ret_length = done;
  return TRUE;
}

guint64
unpack_decoder_get_position (UnpackDecoder *self)
{
  return self->input.total;
}

void
unpack_decoder_free (UnpackDecoder *self)
{
  if (self == NULL)
    return;
  g_free (self->input.data);
  unpack_gzip_free (self->gzip);
  ZSTD_freeDStream (self->zstd);
  g_free (self);
}
