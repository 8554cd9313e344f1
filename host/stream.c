/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host.h"

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

void
host_send_all (GrpcCall *call, GPtrArray *messages)
{
  List *self = g_new0 (List, 1);

  self->messages = messages;
  grpc_call_set_handlers (call, &handlers, self, list_free);
  send_more (call, self);
}
