/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What comes on the stream of a call: bytes become messages as they are asked for. On the I/O thread.
 */
#include <string.h>

#include "conn.h"

#define FIRST_ROOM 4096

static void
consume (GrpcCall *self, gsize length)
{
  if (self->conn != NULL && self->stream > 0 && length > 0)
    nghttp2_session_consume_stream (self->conn->session, self->stream, length);
}

static void fail_input (GrpcCall *self, GantryErrorCode code, const char *format, ...) G_GNUC_PRINTF (3, 4);

static void
fail_input (GrpcCall *self, GantryErrorCode code, const char *format, ...)
{
  va_list args;
  GError *error;

  va_start (args, format);
  error = g_error_new_valist (GANTRY_ERROR, (int)code, format, args);
  va_end (args);
  grpc_call_abort (self, GANTRY_ERROR_CANCELLED, error);
}

static gboolean
takes_one_message (GrpcCall *self)
{
  return self->server && self->method.open == NULL;
}

static guint
get_demand (GrpcCall *self)
{
  guint demand;

  g_mutex_lock (&self->lock);
  demand = self->demand;
  g_mutex_unlock (&self->lock);
  return demand;
}

static gboolean
account (GrpcCall *self, gsize bytes)
{
  if (!grpc_shared_take (self->shared, bytes))
    {
      fail_input (self, GANTRY_ERROR_RESOURCE_EXHAUSTED,
                  "too many bytes of messages wait to be handled; try again later");
      return FALSE;
    }
  self->in.counted += bytes;
  return TRUE;
}

static gboolean
begin_message (GrpcCall *self)
{
  GrpcInput *in = &self->in;
  const guint8 *p = in->prefix;

  in->length = (gsize)p[1] << 24 | (gsize)p[2] << 16 | (gsize)p[3] << 8 | p[4];
  in->have = in->room = 0;
  if (p[0] > 1)
    fail_input (self, GANTRY_ERROR_INTERNAL, "grpc: received unexpected payload format %u", p[0]);
  else if (p[0] == 1)
    {
      self->is_compressed = TRUE;
      fail_input (self, GANTRY_ERROR_NOT_IMPLEMENTED,
                  "grpc: compressed messages are not accepted, only identity is");
    }
  else if (in->length > self->shared->max_message)
    fail_input (self, GANTRY_ERROR_RESOURCE_EXHAUSTED, "grpc: received message larger than max (%zu vs. %zu)",
                in->length, self->shared->max_message);
  else if (takes_one_message (self) && self->n_messages > 0)
    fail_input (self, GANTRY_ERROR_INTERNAL, "a second request on a method that takes one");
  return !self->refused;
}

static void
deliver (GrpcCall *self)
{
  GrpcInput *in = &self->in;
  GBytes *message;
  gboolean wake = !takes_one_message (self);

  in->counted -= in->length; /* from here on by the event */
  if (in->room > in->length)
    {
      grpc_shared_give (self->shared, in->room - in->length);
      in->counted -= in->room - in->length;
      in->body = g_realloc (in->body, in->length);
    }
  message = g_bytes_new_take (g_steal_pointer (&in->body), in->length);
  in->n_prefix = 0;
  self->n_messages++;
  g_mutex_lock (&self->lock);
  self->demand--;
  if (takes_one_message (self))
    self->request = message;
  else
    g_queue_push_tail (&self->messages, message);
  g_mutex_unlock (&self->lock);
  if (wake)
    grpc_call_wake (self);
}

/* The body grows as bytes come, not as a prefix promises. */
static gboolean
make_room (GrpcCall *self, gsize wanted)
{
  GrpcInput *in = &self->in;
  gsize room = MIN (in->length, MAX (MAX (in->room * 2, FIRST_ROOM), in->have + wanted));

  if (in->have + wanted <= in->room)
    return TRUE;
  if (!account (self, room - in->room))
    return FALSE;
  in->body = g_realloc (in->body, room);
  in->room = room;
  return TRUE;
}

/* Turns bytes into messages while messages are asked for. Returns: how many were used. */
static gsize
parse (GrpcCall *self, const guint8 *data, gsize length)
{
  GrpcInput *in = &self->in;
  gsize used = 0;

  while (get_demand (self) > 0 && !self->refused)
    {
      gsize n;

      if (in->n_prefix < GRPC_PREFIX)
        {
          n = MIN (GRPC_PREFIX - in->n_prefix, length - used);
          memcpy (in->prefix + in->n_prefix, data + used, n);
          in->n_prefix += (guint)n;
          used += n;
          if (in->n_prefix < GRPC_PREFIX || !begin_message (self))
            break;
        }
      n = MIN (in->length - in->have, length - used);
      if (!make_room (self, n))
        break;
      if (n > 0)
        memcpy (in->body + in->have, data + used, n);
      in->have += n;
      used += n;
      if (in->have < in->length)
        break;
      deliver (self);
    }
  return self->refused ? length : used;
}

static void
stash (GrpcCall *self, const guint8 *data, gsize length)
{
  if (length == 0 || !account (self, length))
    return;
  if (self->in.stash == NULL)
    self->in.stash = g_byte_array_new ();
  g_byte_array_append (self->in.stash, data, (guint)length);
}

void
grpc_call_feed (GrpcCall *self, const guint8 *data, gsize length)
{
  gsize used = 0;

  if (self->in.stash == NULL || self->refused)
    {
      used = self->refused ? length : parse (self, data, length);
      consume (self, used);
    }
  stash (self, data + used, length - used);
}

static void
pump_stash (GrpcCall *self)
{
  g_autoptr (GByteArray) bytes = NULL;
  gsize used, rest;

  if (self->in.stash == NULL || get_demand (self) == 0)
    return;
  bytes = g_steal_pointer (&self->in.stash);
  self->in.counted -= bytes->len;
  grpc_shared_give (self->shared, bytes->len);
  used = parse (self, bytes->data, bytes->len);
  consume (self, used);
  rest = bytes->len - used;
  stash (self, bytes->data + used, rest);
}

/* The request is whole. */
static void
start_method (GrpcCall *self)
{
  if (self->n_messages == 0)
    {
      fail_input (self, GANTRY_ERROR_INTERNAL, "%s came without a request", self->path);
      return;
    }
  g_mutex_lock (&self->lock);
  self->start = TRUE;
  g_mutex_unlock (&self->lock);
  grpc_call_wake (self);
}

static void
tell_end (GrpcCall *self)
{
  if (!self->remote_closed || self->ended_told || self->refused || self->in.stash != NULL)
    return;
  if (self->in.n_prefix > 0)
    {
      fail_input (self, GANTRY_ERROR_INTERNAL, "the stream of %s ends within a message", self->path);
      return;
    }
  self->ended_told = TRUE;
  if (takes_one_message (self))
    {
      start_method (self);
      return;
    }
  g_mutex_lock (&self->lock);
  self->ended = TRUE;
  g_mutex_unlock (&self->lock);
  grpc_call_wake (self);
}

void
grpc_call_remote_close (GrpcCall *self)
{
  self->remote_closed = TRUE;
  tell_end (self);
}

void
grpc_call_pump_input (GrpcCall *self)
{
  if (self->refused)
    return;
  pump_stash (self);
  tell_end (self);
}
