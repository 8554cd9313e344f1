/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gzip, one member after the other, by ISA-L or, in builds without it, by zlib.
 */
#include "unpack-decode.h"

#include <gantry/error.h>

#ifdef GANTRY_HAVE_ISAL
#include <isa-l.h>
typedef struct inflate_state Inflate;
#else
#include <zlib.h>
typedef z_stream Inflate;
#endif

struct _UnpackGzip
{
  Inflate inflate;
  gboolean in_member;
  gboolean first;
};

#ifdef GANTRY_HAVE_ISAL

static gboolean
inflate_start (Inflate *self, gboolean first)
{
  isal_inflate_init (self);
  self->crc_flag = ISAL_GZIP;
  return TRUE;
}

static void
inflate_stop (Inflate *self)
{
}

/* One step. Returns: NULL, or what is wrong. */
static const char *
inflate_step (Inflate *self, UnpackInput *input, guint8 *out, gsize size, gsize *ret_length,
              gboolean *ret_end)
{
  int r;

  self->next_in = input->data + input->at;
  self->avail_in = (guint32)(input->end - input->at);
  self->next_out = out;
  self->avail_out = (guint32)size;
  r = isal_inflate (self);
  if (r == ISAL_INCORRECT_CHECKSUM)
    return "wrong checksum";
  if (r != ISAL_DECOMP_OK && r != ISAL_END_INPUT)
    return "invalid block or header";
  input->at = input->end - self->avail_in;
  *ret_length = size - self->avail_out;
  *ret_end = self->block_state == ISAL_BLOCK_FINISH;
  return NULL;
}

#else

static gboolean
inflate_start (Inflate *self, gboolean first)
{
  return (first ? inflateInit2 (self, 15 + 16) : inflateReset (self)) == Z_OK;
}

static void
inflate_stop (Inflate *self)
{
  inflateEnd (self);
}

static const char *
inflate_step (Inflate *self, UnpackInput *input, guint8 *out, gsize size, gsize *ret_length,
              gboolean *ret_end)
{
  int r;

  self->next_in = input->data + input->at;
  self->avail_in = (uInt)(input->end - input->at);
  self->next_out = out;
  self->avail_out = (uInt)size;
  r = inflate (self, Z_NO_FLUSH);
  if (r != Z_OK && r != Z_STREAM_END && r != Z_BUF_ERROR)
    return self->msg != NULL ? self->msg : "invalid block or header";
  input->at = input->end - self->avail_in;
  *ret_length = size - self->avail_out;
  *ret_end = r == Z_STREAM_END;
  return NULL;
}

#endif

UnpackGzip *
unpack_gzip_new (void)
{
  UnpackGzip *self = g_new0 (UnpackGzip, 1);

  self->first = TRUE;
  return self;
}

/* Zeros after the last member are padding, as gzip(1) has it. */
static gboolean
skip_padding (UnpackInput *input, GError **error)
{
  while (unpack_input_fill (input, error))
    {
      if (input->eof)
        return TRUE;
      while (input->at < input->end && input->data[input->at] == 0)
        input->at++;
      if (input->at < input->end)
        return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                             "the layer has garbage after its gzip data");
    }
  return FALSE;
}

static gboolean
read_member (UnpackGzip *self, UnpackInput *input, guint8 *out, gsize size, gsize *ret_length, GError **error)
{
  gsize before = input->at;
  gboolean end = FALSE;
  const char *wrong = inflate_step (&self->inflate, input, out, size, ret_length, &end);

  if (wrong != NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the layer's gzip data is broken (%s)", wrong);
  if (end)
    self->in_member = FALSE;
  else if (input->eof && *ret_length == 0 && input->at == before)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the layer's gzip data is truncated");
  return TRUE;
}

gboolean
unpack_gzip_read (UnpackGzip *self, UnpackInput *input, guint8 *out, gsize size, gsize *ret_length,
                  GError **error)
{
  gsize length = 0;

  size = MIN (size, G_MAXINT32);
  while (length == 0)
    {
      if (!unpack_input_fill (input, error))
        return FALSE;
      if (!self->in_member && input->eof)
        break;
      if (!self->in_member && !self->first && input->data[input->at] == 0)
        {
          if (!skip_padding (input, error))
            return FALSE;
          continue;
        }
      if (!self->in_member)
        {
          if (!inflate_start (&self->inflate, self->first))
            return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED,
                                 "there is no memory to decompress the layer");
          self->in_member = TRUE;
          self->first = FALSE;
        }
      if (!read_member (self, input, out, size, &length, error))
        return FALSE;
    }
  *ret_length = length;
  return TRUE;
}

void
unpack_gzip_free (UnpackGzip *self)
{
  if (self == NULL)
    return;
  if (!self->first)
    inflate_stop (&self->inflate);
  g_free (self);
}
