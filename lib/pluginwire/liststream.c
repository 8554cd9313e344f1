/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "liststream.h"

#include <gantry/plugin.h>

#define PER_MESSAGE 100

typedef struct
{
  GPtrArray *messages;
  guint next;
} List;

static void
list_free (gpointer data)
{
  List *self = data;

  g_ptr_array_unref (self->messages);
  g_free (self);
}

static void
send_more (GrpcCall *call, gpointer data)
{
  List *self = data;

  while (self->next < self->messages->len && grpc_call_is_writable (call))
    if (!grpc_call_send (call, g_ptr_array_index (self->messages, self->next++), NULL))
      return; /* it is over */
  if (self->next == self->messages->len)
    grpc_call_finish (call, NULL);
}

static const GrpcCallHandlers handlers = { .on_writable = send_more };

static void
end_message (ListStream *self)
{
  if (self->infos->len == 0)
    return;
  g_ptr_array_add (self->messages, self->pack (self->infos));
  g_ptr_array_set_size (self->infos, 0);
}

ListStream
list_stream_new (ListStreamPack pack)
{
  return (ListStream){ pack, g_ptr_array_new_with_free_func ((GDestroyNotify)g_bytes_unref),
                       g_ptr_array_new_with_free_func (gantry_value_unref) };
}

void
list_stream_add (ListStream *self, gpointer info)
{
  g_ptr_array_add (self->infos, gantry_value_ref (info));
  if (self->infos->len == PER_MESSAGE)
    end_message (self);
}

void
list_stream_send (ListStream *self, GrpcCall *call, const GError *error)
{
  List *list;

  if (error == NULL)
    end_message (self);
  g_ptr_array_unref (self->infos);
  if (error != NULL)
    {
      g_ptr_array_unref (self->messages);
      grpc_call_finish (call, error);
      return;
    }
  list = g_new0 (List, 1);
  list->messages = self->messages;
  grpc_call_set_handlers (call, &handlers, list, list_free);
  send_more (call, list);
}
