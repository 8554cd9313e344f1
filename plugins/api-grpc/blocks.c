/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Lists that are streamed: a message has a block of items, packed as they are found, so that one costs its
 * wire form and no more. */
#include "api-grpc.h"

/* As many as containerd puts into one message. */
#define PER_BLOCK 100

void
blocks_init (Blocks *self)
{
  self->messages = g_ptr_array_new_with_free_func ((GDestroyNotify)g_bytes_unref);
  self->block = g_byte_array_new ();
  self->in_block = 0;
}

static void
end_block (Blocks *self)
{
  if (self->in_block == 0)
    return;
  g_ptr_array_add (self->messages, g_byte_array_free_to_bytes (self->block));
  self->block = g_byte_array_new ();
  self->in_block = 0;
}

void
blocks_add (Blocks *self, const ProtobufCMessage *item)
{
  append_item (self->block, 1, item);
  if (++self->in_block == PER_BLOCK)
    end_block (self);
}

gboolean
blocks_end (Blocks *self, Call *call, gboolean ok)
{
  if (ok)
    end_block (self);
  g_byte_array_unref (self->block);
  if (ok)
    stream_messages (call->grpc, self->messages);
  else
    g_ptr_array_unref (self->messages);
  return ok;
}
