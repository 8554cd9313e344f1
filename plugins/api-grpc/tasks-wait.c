/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Tasks.Wait: an exit that comes later. It holds a small struct and no thread. */
#include "tasks.h"

/* Shared by the call, which goes on a worker, and by the wait, which ends in the main context. */
typedef struct
{
  gint refs; /* (atomic) */
  ApiGrpc *api;
  GrpcCall *grpc;
  guint64 id;     /* of the wait */
  gboolean ended; /* main context */
} Wait;

static void
wait_unref (gpointer data)
{
  Wait *self = data;

  if (!g_atomic_int_dec_and_test (&self->refs))
    return;
  grpc_call_unref (self->grpc);
  g_free (self);
}

static GBytes *
make_reply (GantryProcess *process)
{
  g_auto (Arena) arena;
  Call call = { .arena = &arena };
  PB (WaitResponse) * reply;

  arena_init (&arena);
  reply = message_new (&call, &DESCRIPTOR (wait_response));
  reply->exit_status = process->exit_status;
  reply->exited_at = timestamp_new (&call, process->exited_ns);
  return message_pack (&reply->base);
}

static void
on_exit_of (GantryProcess *process, const GError *failure, gpointer user_data)
{
  Wait *self = user_data;

  self->ended = TRUE;
  if (failure != NULL)
    {
      GError *error = g_error_copy (failure);

      gantry_error_normalize (&error);
      grpc_call_finish (self->grpc, error);
      g_error_free (error);
    }
  else
    {
      g_autoptr (GBytes) reply = make_reply (process);

      grpc_call_reply (self->grpc, reply);
    }
  wait_unref (self);
}

/* Main context: the client has gone before the exit came. */
static gboolean
give_up (gpointer data)
{
  Wait *self = data;

  if (!self->ended)
    {
      self->ended = TRUE;
      gantry_tasks_unwait (self->api->tasks, self->id);
      wait_unref (self);
    }
  return G_SOURCE_REMOVE;
}

static void
on_closed (GrpcCall *grpc, const GError *error, gpointer data)
{
  Wait *self = data;

  /* With the error the exit is not what ended it. */
  if (error == NULL)
    return;
  g_atomic_int_inc (&self->refs);
  g_main_context_invoke_full (self->api->host->get_main_context (self->api->host), G_PRIORITY_DEFAULT,
                              give_up, self, wait_unref);
}

gboolean
tasks_wait (Call *call, gconstpointer data, GError **error)
{
  static const GrpcCallHandlers handlers = { .on_closed = on_closed };
  const PB (WaitRequest) *request = data;
  Wait *self = g_new0 (Wait, 1);

  self->refs = 2;
  self->api = call->api;
  self->grpc = grpc_call_ref (call->grpc);
  grpc_call_set_handlers (call->grpc, &handlers, self, wait_unref);
  if (gantry_tasks_wait (call->api->tasks, call->ns, request->container_id, request->exec_id, on_exit_of,
                         self, &self->id, call->cancellable, error))
    return TRUE;
  self->ended = TRUE;
  wait_unref (self);
  return FALSE;
}
