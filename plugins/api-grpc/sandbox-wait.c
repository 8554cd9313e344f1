/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Controller.Wait and Controller.Stop: both are answered by the end of the sandbox's process, and hold no
 * thread until then. */
#include "sandbox-controller.h"

#define TERM 15
#define KILL 9
/* For a client that names no time. */
#define DEFAULT_SECONDS 10
#define MAX_SECONDS     86400

typedef struct
{
  gint refs; /* (atomic): the call, the wait, the timer, work under way */
  ApiGrpc *api;
  GrpcCall *grpc;
  char *ns;
  char *id;
  gboolean stop; /* else wait */
  guint64 wait;
  guint32 exit_status;
  gint64 exited_ns;
  gboolean ended; /* main context, as the rest */
  GSource *timer;
} Pending;

static void
pending_unref (gpointer data)
{
  Pending *self = data;

  if (!g_atomic_int_dec_and_test (&self->refs))
    return;
  grpc_call_unref (self->grpc);
  g_free (self->ns);
  g_free (self->id);
  g_free (self);
}

static Pending *
pending_ref (Pending *self)
{
  g_atomic_int_inc (&self->refs);
  return self;
}

static GBytes *
make_reply (Pending *self)
{
  g_auto (Arena) arena;
  Call call = { .arena = &arena };
  PB (ControllerWaitResponse) * reply;

  arena_init (&arena);
  reply = message_new (&call, &DESCRIPTOR (controller_wait_response));
  reply->exit_status = self->exit_status;
  reply->exited_at = timestamp_new (&call, self->exited_ns);
  return message_pack (&reply->base);
}

static gboolean
publish_exit (Pending *self, GError **error)
{
  GVariantDict payload;

  g_variant_dict_init (&payload, NULL);
  g_variant_dict_insert (&payload, "id", "s", self->id);
  g_variant_dict_insert (&payload, "exit-status", "u", self->exit_status);
  g_variant_dict_insert (&payload, "exited-at", "x", self->exited_ns);
  return gantry_events_publish (self->api->events, self->ns, "/sandboxes/exit", g_variant_dict_end (&payload),
                                NULL, error);
}

/* On a worker thread: the event is written before the answer is sent. */
static void
answer (gpointer data, gpointer unused)
{
  Pending *self = data;
  g_autoptr (GBytes) reply = self->stop ? g_bytes_new_static ("", 0) : make_reply (self);
  g_autoptr (GError) error = NULL;

  if (self->stop || publish_exit (self, &error))
    {
      grpc_call_reply (self->grpc, reply);
      return;
    }
  gantry_error_normalize (&error);
  grpc_call_finish (self->grpc, error);
}

/* Main context: nothing more is waited for. */
static void
end (Pending *self)
{
  self->ended = TRUE;
  if (self->timer != NULL)
    g_source_destroy (self->timer);
  g_clear_pointer (&self->timer, g_source_unref);
}

static void
on_exit_of (GantryProcess *process, const GError *failure, gpointer user_data)
{
  Pending *self = user_data;
  g_autoptr (GError) error = failure != NULL ? g_error_copy (failure) : NULL;

  end (self);
  self->exit_status = process->exit_status;
  self->exited_ns = process->exited_ns;
  /* It takes over the wait's reference. */
  if (error == NULL
      && gantry_host_submit (self->api->host, GANTRY_POOL_IO, answer, self, pending_unref, &error))
    return;
  gantry_error_normalize (&error);
  grpc_call_finish (self->grpc, error);
  pending_unref (self);
}

static gboolean
give_up (gpointer data)
{
  Pending *self = data;

  if (!self->ended)
    {
      end (self);
      gantry_tasks_unwait (self->api->tasks, self->wait);
      pending_unref (self);
    }
  return G_SOURCE_REMOVE;
}

static void
on_closed (GrpcCall *grpc, const GError *error, gpointer data)
{
  Pending *self = data;

  if (error != NULL)
    g_main_context_invoke_full (self->api->host->get_main_context (self->api->host), G_PRIORITY_DEFAULT,
                                give_up, pending_ref (self), pending_unref);
}

static void
force (gpointer data, gpointer unused)
{
  Pending *self = data;

  gantry_tasks_kill (self->api->tasks, self->ns, self->id, "", KILL, TRUE, NULL, NULL);
}

static gboolean
on_timeout (gpointer data)
{
  Pending *self = data;

  if (!gantry_host_submit (self->api->host, GANTRY_POOL_RUNTIME, force, pending_ref (self), pending_unref,
                           NULL))
    pending_unref (self);
  return G_SOURCE_REMOVE;
}

typedef struct
{
  Pending *pending;
  guint seconds;
} Arm;

static gboolean
arm (gpointer data)
{
  Arm *self = data;

  if (!self->pending->ended)
    {
      self->pending->timer = g_timeout_source_new (self->seconds * 1000);
      g_source_set_callback (self->pending->timer, on_timeout, pending_ref (self->pending), pending_unref);
      g_source_attach (self->pending->timer,
                       self->pending->api->host->get_main_context (self->pending->api->host));
    }
  pending_unref (self->pending);
  return G_SOURCE_REMOVE;
}

/* Returns: (transfer full): it may be answered by now. */
static Pending *
begin (Call *call, const char *id, gboolean stop, GError **error)
{
  static const GrpcCallHandlers handlers = { .on_closed = on_closed };
  Pending *self = g_new0 (Pending, 1);

  self->refs = 3;
  self->api = call->api;
  self->grpc = grpc_call_ref (call->grpc);
  self->ns = g_strdup (call->ns);
  self->id = g_strdup (id);
  self->stop = stop;
  grpc_call_set_handlers (call->grpc, &handlers, self, pending_unref);
  if (gantry_tasks_wait (call->api->tasks, call->ns, id, "", on_exit_of, self, &self->wait, call->cancellable,
                         error))
    return self;
  self->ended = TRUE;
  pending_unref (self);
  pending_unref (self);
  return NULL;
}

gboolean
controller_wait (Call *call, gconstpointer data, GError **error)
{
  const PB (ControllerWaitRequest) *request = data;

  Pending *self;

  if (!controller_check_sandbox (call, request->sandboxer, request->sandbox_id, error))
    return FALSE;
  self = begin (call, request->sandbox_id, FALSE, error);
  if (self != NULL)
    pending_unref (self);
  return self != NULL;
}

/* What has ended, or was never there, is stopped. */
static gboolean
is_stopped (Call *call, const char *id)
{
  g_autoptr (GantryProcess) process = NULL;

  return !gantry_tasks_get (call->api->tasks, call->ns, id, "", &process, call->cancellable, NULL)
         || process->status == GANTRY_TASK_STOPPED;
}

gboolean
controller_stop (Call *call, gconstpointer data, GError **error)
{
  const PB (ControllerStopRequest) *request = data;
  g_autoptr (GError) local = NULL;
  Pending *self;
  Arm *timer;

  if (!controller_check (request->sandboxer, error))
    return FALSE;
  if (is_stopped (call, request->sandbox_id))
    {
      g_autoptr (GBytes) reply = g_bytes_new_static ("", 0);

      grpc_call_reply (call->grpc, reply);
      return TRUE;
    }
  self = begin (call, request->sandbox_id, TRUE, error);
  if (self == NULL)
    return FALSE;
  timer = g_new (Arm, 1);
  *timer = (Arm){ pending_ref (self),
                  request->timeout_secs > 0 ? MIN (request->timeout_secs, MAX_SECONDS) : DEFAULT_SECONDS };
  g_main_context_invoke_full (call->api->host->get_main_context (call->api->host), G_PRIORITY_DEFAULT, arm,
                              timer, g_free);
  /* If it can't be told, it is ended when the time has come. */
  if (!gantry_tasks_kill (call->api->tasks, call->ns, request->sandbox_id, "", TERM, FALSE, call->cancellable,
                          &local))
    g_debug ("stopping sandbox %s: %s", request->sandbox_id, local->message);
  pending_unref (self);
  return TRUE;
}
