/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Decompression: gzip (several members, as pigz and eStargz write), zstd (several frames) or none, told apart
 * by the first bytes.
 */
#pragma once

#include <glib.h>

#define UNPACK_INPUT_SIZE (256 * 1024)

/* A piece of the compressed file. */
typedef struct
{
  int fd;
  guint8 *data;
  gsize at, end;
  gboolean eof;
  guint64 total;
} UnpackInput;

/** Makes sure that there are unread bytes unless the file has ended. */
gboolean unpack_input_fill (UnpackInput *self, GError **error) G_GNUC_WARN_UNUSED_RESULT;

typedef struct _UnpackDecoder UnpackDecoder;

/** Begins to decode @fd (borrowed). */
UnpackDecoder *unpack_decoder_new (int fd, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** Fills @out as far as the input reaches. *@ret_length: less than @size only at the end.
 * Errors: INVALID_ARGUMENT (broken or truncated). */
gboolean unpack_decoder_read (UnpackDecoder *self, guint8 *out, gsize size, gsize *ret_length,
                              GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** Bytes of the blob read so far. */
guint64 unpack_decoder_get_position (UnpackDecoder *self);

void unpack_decoder_free (UnpackDecoder *self);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (UnpackDecoder, unpack_decoder_free)

/* One gzip decoder is built in: by ISA-L or by zlib. */
typedef struct _UnpackGzip UnpackGzip;

UnpackGzip *unpack_gzip_new (void);

/** As unpack_decoder_read (); it may return early, but with at least one byte unless the input ends. */
gboolean unpack_gzip_read (UnpackGzip *self, UnpackInput *input, guint8 *out, gsize size, gsize *ret_length,
                           GError **error) G_GNUC_WARN_UNUSED_RESULT;

void unpack_gzip_free (UnpackGzip *self);
