/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pack-encode.h"

#include <openssl/evp.h>
#include <zstd.h>

#ifdef GANTRY_HAVE_ISAL
#include <isa-l.h>
#else
#include <zlib.h>
#endif

#include "fdio.h"
#include "unpack-common.h"
#include "unpack-digest.h"

#define OUTPUT_SIZE (256 * 1024)
#define ZSTD_LEVEL  3
#define ZLIB_LEVEL  6

struct _PackEncoder
{
  int fd;
  PackCompression compression;
  guint64 max_bytes;
  guint64 size;
  EVP_MD_CTX *hash;
  guint8 *output;
  ZSTD_CStream *zstd;
#ifdef GANTRY_HAVE_ISAL
  struct isal_zstream *gzip;
  guint8 *level_buffer;
#else
  z_stream gzip;
#endif
};

#ifdef GANTRY_HAVE_ISAL

static gboolean
gzip_begin (PackEncoder *self)
{
  self->gzip = g_new0 (struct isal_zstream, 1);
  self->level_buffer = g_malloc (ISAL_DEF_LVL2_DEFAULT);
  isal_deflate_init (self->gzip);
  self->gzip->level = 2;
  self->gzip->level_buf = self->level_buffer;
  self->gzip->level_buf_size = ISAL_DEF_LVL2_DEFAULT;
  self->gzip->gzip_flag = IGZIP_GZIP;
  return TRUE;
}

static void
gzip_end (PackEncoder *self)
{
  g_free (self->gzip);
  g_free (self->level_buffer);
}

static gboolean
gzip_write (PackEncoder *self, const void *data, gsize length, gboolean end, GError **error)
{
  self->gzip->next_in = (guint8 *)data;
  self->gzip->avail_in = (guint32)length;
  self->gzip->end_of_stream = end;
  do
    {
      self->gzip->next_out = self->output;
      self->gzip->avail_out = OUTPUT_SIZE;
      if (isal_deflate (self->gzip) != COMP_OK)
        return gantry_throw (error, GANTRY_ERROR_INTERNAL, "compressing the layer failed");
      if (!gantry_write_all (self->fd, self->output, OUTPUT_SIZE - self->gzip->avail_out, error))
        return FALSE;
    }
  while (self->gzip->avail_out == 0 || self->gzip->avail_in > 0
         || (end && self->gzip->internal_state.state != ZSTATE_END));
  return TRUE;
}

#else

static gboolean
gzip_begin (PackEncoder *self)
{
  return deflateInit2 (&self->gzip, ZLIB_LEVEL, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK;
}

static void
gzip_end (PackEncoder *self)
{
  if (self->compression == PACK_GZIP)
    deflateEnd (&self->gzip);
}

static gboolean
gzip_write (PackEncoder *self, const void *data, gsize length, gboolean end, GError **error)
{
  self->gzip.next_in = (Bytef *)data;
  self->gzip.avail_in = (uInt)length;
  do
    {
      self->gzip.next_out = self->output;
      self->gzip.avail_out = OUTPUT_SIZE;
      if (deflate (&self->gzip, end ? Z_FINISH : Z_NO_FLUSH) == Z_STREAM_ERROR)
        return gantry_throw (error, GANTRY_ERROR_INTERNAL, "compressing the layer failed");
      if (!gantry_write_all (self->fd, self->output, OUTPUT_SIZE - self->gzip.avail_out, error))
        return FALSE;
    }
  while (self->gzip.avail_out == 0);
  return TRUE;
}

#endif

static gboolean
zstd_write (PackEncoder *self, const void *data, gsize length, gboolean end, GError **error)
{
  ZSTD_inBuffer input = { data, length, 0 };
  size_t left;

  do
    {
      ZSTD_outBuffer output = { self->output, OUTPUT_SIZE, 0 };

      left = ZSTD_compressStream2 (self->zstd, &output, &input, end ? ZSTD_e_end : ZSTD_e_continue);
      if (ZSTD_isError (left))
        return gantry_throw (error, GANTRY_ERROR_INTERNAL, "compressing the layer failed: %s",
                             ZSTD_getErrorName (left));
      if (!gantry_write_all (self->fd, self->output, output.pos, error))
        return FALSE;
    }
  while (input.pos < input.size || (end && left > 0));
  return TRUE;
}

PackEncoder *
pack_encoder_new (int fd, PackCompression compression, guint64 max_bytes, GError **error)
{
  g_autoptr (PackEncoder) self = g_new0 (PackEncoder, 1);

  self->fd = fd;
  self->compression = compression;
  self->max_bytes = max_bytes;
  self->output = g_malloc (OUTPUT_SIZE);
  self->hash = EVP_MD_CTX_new ();
  EVP_DigestInit_ex (self->hash, EVP_sha256 (), NULL);
  if (compression == PACK_GZIP && !gzip_begin (self))
    {
      gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "there is no memory to compress the layer");
      return NULL;
    }
  if (compression == PACK_ZSTD)
    {
      self->zstd = ZSTD_createCStream ();
      ZSTD_CCtx_setParameter (self->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL);
      ZSTD_CCtx_setParameter (self->zstd, ZSTD_c_checksumFlag, 1);
    }
  return g_steal_pointer (&self);
}

static gboolean
encode (PackEncoder *self, const void *data, gsize length, gboolean end, GError **error)
{
  switch (self->compression)
    {
    case PACK_GZIP:
      return gzip_write (self, data, length, end, error);
    case PACK_ZSTD:
      return zstd_write (self, data, length, end, error);
    case PACK_PLAIN:
    default:
      return gantry_write_all (self->fd, data, length, error);
    }
}

gboolean
pack_encoder_write (PackEncoder *self, const void *data, gsize length, GError **error)
{
  self->size += length;
  if (self->size > self->max_bytes)
    return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED,
                         "the layer would be larger than %" G_GUINT64_FORMAT " bytes; raise MaxBytes",
                         self->max_bytes);
  EVP_DigestUpdate (self->hash, data, length);
  return encode (self, data, length, FALSE, error);
}

gboolean
pack_encoder_finish (PackEncoder *self, char **ret_digest, guint64 *ret_size, GError **error)
{
  if (!encode (self, "", 0, TRUE, error))
    return FALSE;
  *ret_digest = unpack_digest_finish (self->hash);
  *ret_size = self->size;
  return TRUE;
}

void
pack_encoder_free (PackEncoder *self)
{
  if (self == NULL)
    return;
  gzip_end (self);
  ZSTD_freeCStream (self->zstd);
  EVP_MD_CTX_free (self->hash);
  g_free (self->output);
  g_free (self);
}
