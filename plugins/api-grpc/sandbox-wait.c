/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Controller.Wait and Controller.Stop: both are answered by the end of the sandbox's process, and hold no
 * thread until then. */
#include "sandbox-controller.h"

/* Shared by the call, which goes on a worker, and by the wait, which ends in the main context. */
typedef struct
{
  gint refs; /* (atomic) */
  ApiGrpc *api;
  GrpcCall *grpc;
  gboolean stop; /* else wait */
  guint64 wait;
  gboolean ended; /* main context */
} Pending;

static void
pending_unref (gpointer data)
{
  Pending *self = data;

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
  PB (ControllerWaitResponse) * reply;

  arena_init (&arena);
  reply = message_new (&call, &DESCRIPTOR (controller_wait_response));
  reply->exit_status = process->exit_status;
  reply->exited_at = timestamp_new (&call, process->exited_ns);
  return message_pack (&reply->base);
}

static void
on_exit_of (GantryProcess *process, const GError *failure, gpointer user_data)
{
  Pending *self = user_data;

  self->ended = TRUE;
  if (failure != NULL)
    {
      g_autoptr (GError) error = g_error_copy (failure);

      gantry_error_normalize (&error);
      grpc_call_finish (self->grpc, error);
    }
  else
    {
      g_autoptr (GBytes) reply = self->stop ? g_bytes_new_static ("", 0) : make_reply (process);

      grpc_call_reply (self->grpc, reply);
    }
  pending_unref (self);
}

/* Main context: the client has gone before the end came. A stop goes on without it. */
static gboolean
give_up (gpointer data)
{
  Pending *self = data;

  if (!self->ended)
    {
      self->ended = TRUE;
      gantry_tasks_unwait (self->api->tasks, self->wait);
      pending_unref (self);
    }
  return G_SOURCE_REMOVE;
}

static void
on_closed (GrpcCall *grpc, const GError *error, gpointer data)
{
  Pending *self = data;

  if (error == NULL)
    return;
  g_atomic_int_inc (&self->refs);
  g_main_context_invoke_full (self->api->host->get_main_context (self->api->host), G_PRIORITY_DEFAULT,
                              give_up, self, pending_unref);
}

/* One that the wait owns, too. Returns: (transfer none). */
static Pending *
pending_new (Call *call, gboolean stop)
{
  static const GrpcCallHandlers handlers = { .on_closed = on_closed };
  Pending *self = g_new0 (Pending, 1);

  self->refs = 2;
  self->api = call->api;
  self->grpc = grpc_call_ref (call->grpc);
  self->stop = stop;
  grpc_call_set_handlers (call->grpc, &handlers, self, pending_unref);
  return self;
}

/* It could not be begun. */
static void
pending_drop (Pending *self)
{
  self->ended = TRUE;
  pending_unref (self);
}

gboolean
controller_wait (Call *call, gconstpointer data, GError **error)
{
  const PB (ControllerWaitRequest) *request = data;
  Pending *self;

  if (!controller_check_sandbox (call, request->sandboxer, request->sandbox_id, error))
    return FALSE;
  self = pending_new (call, FALSE);
  if (gantry_tasks_wait (call->api->tasks, call->ns, request->sandbox_id, "", on_exit_of, self, &self->wait,
                         call->cancellable, error))
    return TRUE;
  pending_drop (self);
  return FALSE;
}

gboolean
controller_stop (Call *call, gconstpointer data, GError **error)
{
  const PB (ControllerStopRequest) *request = data;
  g_autoptr (GError) local = NULL;
  g_autoptr (GBytes) reply = g_bytes_new_static ("", 0);
  Pending *self;

  if (!controller_check (request->sandboxer, error))
    return FALSE;
  self = pending_new (call, TRUE);
  if (gantry_tasks_stop_sandbox (call->api->tasks, call->ns, request->sandbox_id, request->timeout_secs,
                                 on_exit_of, self, &self->wait, call->cancellable, &local))
    return TRUE;
  pending_drop (self);
  if (!gantry_error_is (local, GANTRY_ERROR_NOT_FOUND))
    {
      g_propagate_error (error, g_steal_pointer (&local));
      return FALSE;
    }
  /* What was never there is stopped. */
  grpc_call_reply (call->grpc, reply);
  return TRUE;
}
