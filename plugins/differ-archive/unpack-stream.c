/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "unpack-stream.h"

#include <openssl/evp.h>

#include "unpack-decode.h"
#include "unpack-digest.h"
#include <gantry/error.h>

/* Small enough to stay in the cache between the threads, enough of them to even out their speeds. */
#define BLOCK_SIZE     (256 * 1024)
#define N_BLOCKS       16
#define PROGRESS_BYTES (2 * 1024 * 1024)

typedef enum
{
  READER_HASH,
  READER_TAR,
  N_READERS
} Reader;

struct _UnpackStream
{
  int fd;
  guint64 max_bytes;
  UnpackProgressFunc progress;
  gpointer user_data;

  GMutex lock;
  GCond changed;
  guint8 *data;
  gsize lengths[N_BLOCKS];
  guint64 written;         /* blocks */
  guint64 read[N_READERS]; /* blocks given back */
  gboolean end;            /* no block follows */
  gboolean stop;           /* nobody wants more */
  GError *error;

  gboolean holds_block; /* the tar reader has one */
  guint64 size;
  EVP_MD_CTX *hash;
  GThread *decode_thread;
  GThread *hash_thread;
};

static guint64
slowest (UnpackStream *self)
{
  return MIN (self->read[READER_HASH], self->read[READER_TAR]);
}

static gboolean
wait_for_space (UnpackStream *self)
{
  gboolean go_on;

  g_mutex_lock (&self->lock);
  while (!self->stop && self->written - slowest (self) >= N_BLOCKS)
    g_cond_wait (&self->changed, &self->lock);
  go_on = !self->stop;
  g_mutex_unlock (&self->lock);
  return go_on;
}

static void
publish (UnpackStream *self, gsize length, GError *error)
{
  g_mutex_lock (&self->lock);
  if (length > 0)
    self->lengths[self->written++ % N_BLOCKS] = length;
  self->size += length;
  self->end = length < BLOCK_SIZE || error != NULL;
  self->error = error;
  g_cond_broadcast (&self->changed);
  g_mutex_unlock (&self->lock);
}

static gboolean
decode_block (UnpackStream *self, UnpackDecoder *decoder, gsize *ret_length, GError **error)
{
  guint8 *block = self->data + (self->written % N_BLOCKS) * BLOCK_SIZE;

  if (!unpack_decoder_read (decoder, block, BLOCK_SIZE, ret_length, error))
    return FALSE;
  if (self->size + *ret_length > self->max_bytes)
    return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED,
                         "the layer is larger than %" G_GUINT64_FORMAT
                         " bytes when unpacked; raise MaxBytes if it "
                         "is to be trusted",
                         self->max_bytes);
  return TRUE;
}

static gpointer
decode_main (gpointer data)
{
  UnpackStream *self = data;
  g_autoptr (GError) error = NULL;
  g_autoptr (UnpackDecoder) decoder = unpack_decoder_new (self->fd, &error);
  guint64 told = 0;
  gsize length = 0;

  if (decoder == NULL)
    {
      publish (self, 0, g_steal_pointer (&error));
      return NULL;
    }
  do
    {
      guint64 position;

      if (!wait_for_space (self))
        return NULL;
      if (!decode_block (self, decoder, &length, &error))
        length = 0;
      position = unpack_decoder_get_position (decoder);
      publish (self, length, g_steal_pointer (&error));
      if (self->progress != NULL && (position - told >= PROGRESS_BYTES || length < BLOCK_SIZE))
        {
          self->progress (position, self->user_data);
          told = position;
        }
    }
  while (length == BLOCK_SIZE);
  return NULL;
}

/* The next block for @reader. Returns: FALSE when there is none any more. */
static gboolean
take (UnpackStream *self, Reader reader, const guint8 **ret_data, gsize *ret_length)
{
  guint64 next;
  gboolean there;

  g_mutex_lock (&self->lock);
  next = self->read[reader];
  while (next == self->written && !self->end && !self->stop)
    g_cond_wait (&self->changed, &self->lock);
  there = next < self->written && !self->stop;
  if (there)
    {
      *ret_data = self->data + (next % N_BLOCKS) * BLOCK_SIZE;
      *ret_length = self->lengths[next % N_BLOCKS];
    }
  g_mutex_unlock (&self->lock);
  return there;
}

static void
give_back (UnpackStream *self, Reader reader)
{
  g_mutex_lock (&self->lock);
  self->read[reader]++;
  g_cond_broadcast (&self->changed);
  g_mutex_unlock (&self->lock);
}

static gpointer
hash_main (gpointer data)
{
  UnpackStream *self = data;
  const guint8 *block;
  gsize length;

  while (take (self, READER_HASH, &block, &length))
    {
      EVP_DigestUpdate (self->hash, block, length);
      give_back (self, READER_HASH);
    }
  return NULL;
}

UnpackStream *
unpack_stream_new (int fd, guint64 max_bytes, UnpackProgressFunc progress, gpointer user_data)
{
  UnpackStream *self = g_new0 (UnpackStream, 1);

  self->fd = fd;
  self->max_bytes = max_bytes;
  self->progress = progress;
  self->user_data = user_data;
  g_mutex_init (&self->lock);
  g_cond_init (&self->changed);
  self->data = g_malloc (BLOCK_SIZE * N_BLOCKS);
  self->hash = EVP_MD_CTX_new ();
  EVP_DigestInit_ex (self->hash, EVP_sha256 (), NULL);
  self->decode_thread = g_thread_new ("decode", decode_main, self);
  self->hash_thread = g_thread_new ("hash", hash_main, self);
  return self;
}

gboolean
unpack_stream_next (UnpackStream *self, const guint8 **ret_data, gsize *ret_length, GError **error)
{
  if (self->holds_block)
    give_back (self, READER_TAR);
  self->holds_block = take (self, READER_TAR, ret_data, ret_length);
  if (self->holds_block)
    return TRUE;
  if (self->error != NULL)
    {
      if (error != NULL)
        *error = g_error_copy (self->error);
      return FALSE;
    }
  *ret_length = 0;
  return TRUE;
}

GError *
unpack_stream_dup_error (UnpackStream *self)
{
  GError *copy;

  g_mutex_lock (&self->lock);
  copy = self->error != NULL ? g_error_copy (self->error) : NULL;
  g_mutex_unlock (&self->lock);
  return copy;
}

static void
join (UnpackStream *self)
{
  g_clear_pointer (&self->decode_thread, g_thread_join);
  g_clear_pointer (&self->hash_thread, g_thread_join);
}

gboolean
unpack_stream_finish (UnpackStream *self, char **ret_digest, guint64 *ret_size, GError **error)
{
  const guint8 *block;
  gsize length;

  do
    if (!unpack_stream_next (self, &block, &length, error))
      return FALSE;
  while (length > 0);
  join (self);
  *ret_digest = unpack_digest_finish (self->hash);
  *ret_size = self->size;
  return TRUE;
}

void
unpack_stream_free (UnpackStream *self)
{
  if (self == NULL)
    return;
  g_mutex_lock (&self->lock);
  self->stop = TRUE;
  g_cond_broadcast (&self->changed);
  g_mutex_unlock (&self->lock);
  join (self);
  EVP_MD_CTX_free (self->hash);
  g_clear_error (&self->error);
  g_mutex_clear (&self->lock);
  g_cond_clear (&self->changed);
  g_free (self->data);
  g_free (self);
}
