/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The user's side of a call and its events.
 */
#include "call.h"

#include <string.h>

#include "conn.h"
#include "metadata.h"

/* How many events a worker runs before others have their turn. */
#define MAX_EVENTS_A_TURN 32

static void
run_kick (GrpcTask *task)
{
  GrpcCall *self = (GrpcCall *)((char *)task - G_STRUCT_OFFSET (GrpcCall, kick));

  g_mutex_lock (&self->lock);
  self->kicked = FALSE;
  g_mutex_unlock (&self->lock);
  grpc_call_pump (self);
  grpc_call_unref (self);
}

GrpcCall *
grpc_call_new (GrpcShared *shared, gboolean server)
{
  GrpcCall *self = g_new0 (GrpcCall, 1);

  self->refs = 1;
  g_atomic_int_inc (&shared->n_calls);
  self->shared = grpc_shared_ref (shared);
  self->server = server;
  self->deadline = G_MAXINT64;
  self->timeout = -1;
  self->metadata = grpc_metadata_new ();
  self->kick.run = run_kick;
  self->conn_link.data = self;
  g_mutex_init (&self->lock);
  return self;
}

GrpcCall *
grpc_call_ref (GrpcCall *self)
{
  g_atomic_int_inc (&self->refs);
  return self;
}

static void
give_message (GrpcCall *self, GBytes *message)
{
  grpc_shared_give (self->shared, g_bytes_get_size (message));
  g_bytes_unref (message);
}

/* What came before an end that nobody expected is not delivered. Under lock. */
static void
drop_events (GrpcCall *self)
{
  GBytes *message;

  while ((message = g_queue_pop_head (&self->messages)) != NULL)
    give_message (self, message);
  if (self->request != NULL)
    give_message (self, g_steal_pointer (&self->request));
  self->start = FALSE;
  self->ended = FALSE;
  self->writable = FALSE;
}

void
grpc_call_unref (GrpcCall *self)
{
  if (self == NULL || !g_atomic_int_dec_and_test (&self->refs))
    return;
  g_queue_clear_full (&self->out, (GDestroyNotify)g_bytes_unref);
  g_queue_clear_full (&self->messages, (GDestroyNotify)g_bytes_unref);
  g_clear_pointer (&self->request, g_bytes_unref);
  g_clear_pointer (&self->details, g_bytes_unref);
  g_clear_pointer (&self->metadata, grpc_metadata_unref);
  g_clear_pointer (&self->headers, grpc_metadata_unref);
  g_clear_pointer (&self->trailers, grpc_metadata_unref);
  g_clear_pointer (&self->in.stash, g_byte_array_unref);
  g_free (self->in.body);
  grpc_shared_give (self->shared, self->in.counted);
  g_clear_object (&self->cancellable);
  g_clear_error (&self->error);
  g_clear_error (&self->lost_error);
  g_free (self->message);
  g_free (self->path);
  g_mutex_clear (&self->lock);
  grpc_shared_unref (self->shared);
  g_free (self);
}

void
grpc_call_kick (GrpcCall *self)
{
  /* While the call is not over the I/O thread still is. */
  if (self->kicked || self->over)
    return;
  self->kicked = TRUE;
  grpc_call_ref (self);
  grpc_loop_post (self->shared->loop, &self->kick);
}

/* Events */

static void
call_method (GrpcCall *self, GBytes *request)
{
  g_autoptr (GBytes) reply = NULL;
  g_autoptr (GError) error = NULL;

  if (self->method.open != NULL)
    self->method.open (self, self->method_data);
  else if (self->method.start != NULL)
    self->method.start (self, request, self->method_data);
  else
    {
      reply = self->method.unary (self, request, self->method_data, &error);
      if (reply != NULL)
        grpc_call_reply (self, reply);
      else if (error != NULL)
        grpc_call_finish (self, error);
      else
        grpc_call_finish_status (self, GRPC_STATUS_INTERNAL, "the method gave neither a reply nor an error");
    }
}

/* The last event. Without lock; nobody else runs events of this call. */
static void
close_call (GrpcCall *self)
{
  if (self->handlers != NULL && self->handlers->on_closed != NULL)
    self->handlers->on_closed (self, self->error, self->data);
  if (self->destroy != NULL)
    self->destroy (self->data);
  self->data = NULL;
  self->destroy = NULL;
  grpc_shared_end_call (self->shared);
}

/* Returns: FALSE if there was none; then nobody runs this call's events any more. */
static gboolean
run_one_event (GrpcCall *self)
{
  GBytes *message = NULL;
  enum
  {
    NONE,
    START,
    MESSAGE,
    END,
    WRITABLE,
    CLOSE
  } event
      = NONE;
  const GrpcCallHandlers *handlers;

  g_mutex_lock (&self->lock);
  handlers = self->handlers;
  if (self->start)
    {
      event = START;
      self->start = FALSE;
      message = g_steal_pointer (&self->request);
    }
  else if (self->messages.length > 0)
    {
      event = MESSAGE;
      message = g_queue_pop_head (&self->messages);
    }
  else if (self->ended)
    {
      event = END;
      self->ended = FALSE;
    }
  else if (self->writable && !self->over)
    {
      event = WRITABLE;
      self->writable = FALSE;
    }
  else if (self->over && !self->closed)
    {
      event = CLOSE;
      self->closed = TRUE;
    }
  else
    self->running = FALSE;
  g_mutex_unlock (&self->lock);

  if (event == START)
    call_method (self, message);
  else if (event == MESSAGE && handlers != NULL && handlers->on_message != NULL)
    handlers->on_message (self, message, self->data);
  else if (event == END && handlers != NULL && handlers->on_end != NULL)
    handlers->on_end (self, self->data);
  else if (event == WRITABLE && handlers != NULL && handlers->on_writable != NULL)
    handlers->on_writable (self, self->data);
  else if (event == CLOSE)
    close_call (self);
  if (message != NULL)
    give_message (self, message);
  return event != NONE;
}

static void
push_to_worker (GrpcCall *self)
{
  GThreadPool *pool = self->shared->workers[(self->method.flags & GRPC_METHOD_LONG) != 0 ? 1 : 0];
  g_autoptr (GError) error = NULL;

  g_atomic_int_inc (&self->shared->n_queued);
  if (!g_thread_pool_push (pool, self, &error))
    g_warning ("starting a worker: %s", error->message); /* it is queued all the same */
}

void
grpc_call_run_events (GrpcCall *self)
{
  for (guint n = 0; n < MAX_EVENTS_A_TURN || self->inline_events; n++)
    if (!run_one_event (self))
      {
        grpc_call_unref (self);
        return;
      }
  push_to_worker (self);
}

void
grpc_call_wake (GrpcCall *self)
{
  gboolean run;

  g_mutex_lock (&self->lock);
  run = !self->running
        && (self->start || self->messages.length > 0 || self->ended || self->writable
            || (self->over && !self->closed));
  self->running |= run;
  g_mutex_unlock (&self->lock);
  if (!run)
    return;
  grpc_call_ref (self);
  if (self->inline_events)
    grpc_call_run_events (self);
  else
    push_to_worker (self);
}

void
grpc_call_over (GrpcCall *self, GantryErrorCode reason, GError *error)
{
  g_autoptr (GCancellable) cancellable = NULL;
  gboolean close_here;

  grpc_loop_clear_timer (self->shared->loop, &self->timer);
  g_mutex_lock (&self->lock);
  if (self->over)
    {
      g_mutex_unlock (&self->lock);
      g_clear_error (&error);
      return;
    }
  self->over = TRUE;
  self->error = error;
  self->reason = reason;
  if (reason != 0)
    {
      drop_events (self);
      if (self->cancellable != NULL)
        cancellable = g_object_ref (self->cancellable);
    }
  /* Without handlers there is nothing to run: it needs no worker. */
  close_here = !self->running && self->handlers == NULL && self->messages.length == 0;
  if (close_here)
    self->closed = TRUE;
  g_mutex_unlock (&self->lock);
  if (cancellable != NULL)
    g_cancellable_cancel (cancellable);
  if (close_here)
    close_call (self);
  else
    grpc_call_wake (self);
}

gboolean
grpc_call_is_over (GrpcCall *self)
{
  gboolean over;

  g_mutex_lock (&self->lock);
  over = self->over;
  g_mutex_unlock (&self->lock);
  return over;
}

/* The user's side */

void
grpc_call_set_handlers (GrpcCall *self, const GrpcCallHandlers *handlers, gpointer data,
                        GDestroyNotify destroy)
{
  g_mutex_lock (&self->lock);
  g_warn_if_fail (self->handlers == NULL);
  self->handlers = handlers;
  self->data = data;
  self->destroy = destroy;
  g_mutex_unlock (&self->lock);
}

void
grpc_call_request (GrpcCall *self, guint n)
{
  g_mutex_lock (&self->lock);
  self->demand += MIN (n, G_MAXUINT - self->demand);
  grpc_call_kick (self);
  g_mutex_unlock (&self->lock);
}

gboolean
grpc_call_send (GrpcCall *self, GBytes *message, GError **error)
{
  gsize length = g_bytes_get_size (message);
  gboolean full = FALSE, over, sent = FALSE;

  g_mutex_lock (&self->lock);
  over = self->over || self->finished || self->cancelled;
  full = self->out_bytes >= self->shared->max_send_queue;
  if (full)
    self->want_writable = TRUE;
  if (!over && !full && length <= self->shared->max_send_message)
    {
      g_queue_push_tail (&self->out, g_bytes_ref (message));
      self->out_bytes += length + GRPC_PREFIX;
      grpc_call_kick (self);
      sent = TRUE;
    }
  g_mutex_unlock (&self->lock);
  if (sent)
    return TRUE;
  if (over)
    return gantry_throw (error, GANTRY_ERROR_CANCELLED, "the call of %s is over", self->path);
  if (full)
    return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED,
                         "the peer does not read what %s sends fast enough", self->path);
  return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED,
                       "trying to send message larger than max (%zu vs. %zu)", length,
                       self->shared->max_send_message);
}

gboolean
grpc_call_is_writable (GrpcCall *self)
{
  gboolean writable;

  g_mutex_lock (&self->lock);
  writable
      = !self->over && !self->finished && !self->cancelled && self->out_bytes < self->shared->max_send_queue;
  if (!writable)
    self->want_writable = TRUE;
  g_mutex_unlock (&self->lock);
  return writable;
}

GCancellable *
grpc_call_get_cancellable (GrpcCall *self)
{
  gboolean fire = FALSE;

  g_mutex_lock (&self->lock);
  if (self->cancellable == NULL)
    {
      self->cancellable = g_cancellable_new ();
      fire = self->over && self->reason != 0;
    }
  g_mutex_unlock (&self->lock);
  if (fire)
    g_cancellable_cancel (self->cancellable);
  return self->cancellable;
}

GantryErrorCode
grpc_call_get_cancel_reason (GrpcCall *self)
{
  GantryErrorCode reason;

  g_mutex_lock (&self->lock);
  reason = self->reason;
  g_mutex_unlock (&self->lock);
  return reason;
}

const char *
grpc_call_get_path (GrpcCall *self)
{
  return self->path;
}

gint64
grpc_call_get_deadline (GrpcCall *self)
{
  return self->deadline;
}

const char *
grpc_call_get_metadata (GrpcCall *self, const char *name)
{
  return grpc_metadata_get (self->metadata, name);
}

const GrpcMetadata *
grpc_call_get_request_metadata (GrpcCall *self)
{
  return self->metadata;
}

gboolean
grpc_call_get_peer (GrpcCall *self, pid_t *ret_pid, uid_t *ret_uid, gid_t *ret_gid)
{
  if (!self->has_peer)
    return FALSE;
  *ret_pid = self->pid;
  *ret_uid = self->uid;
  *ret_gid = self->gid;
  return TRUE;
}

static gboolean
add_pair (GrpcCall *self, gboolean trailer, const char *name, const char *value)
{
  GrpcMetadata **list = trailer ? &self->trailers : &self->headers;
  gboolean added = FALSE;

  g_mutex_lock (&self->lock);
  if (!self->over && !self->finished && (trailer || !self->headers_wanted))
    {
      if (*list == NULL)
        *list = grpc_metadata_new ();
      added = grpc_metadata_append (*list, name, value);
    }
  g_mutex_unlock (&self->lock);
  return added;
}

gboolean
grpc_call_add_header (GrpcCall *self, const char *name, const char *value)
{
  return add_pair (self, FALSE, name, value);
}

gboolean
grpc_call_add_trailer (GrpcCall *self, const char *name, const char *value)
{
  return add_pair (self, TRUE, name, value);
}

void
grpc_call_send_headers (GrpcCall *self)
{
  g_mutex_lock (&self->lock);
  self->headers_wanted = TRUE;
  grpc_call_kick (self);
  g_mutex_unlock (&self->lock);
}

void
grpc_call_set_status_details (GrpcCall *self, GBytes *details)
{
  g_mutex_lock (&self->lock);
  if (!self->finished)
    {
      g_clear_pointer (&self->details, g_bytes_unref);
      self->details = g_bytes_ref (details);
    }
  g_mutex_unlock (&self->lock);
}

/* Under lock. */
static void
finish_locked (GrpcCall *self, int status, const char *message)
{
  if (self->over || self->finished || !self->server)
    return;
  self->finished = TRUE;
  self->status = status;
  self->message = g_strdup (message);
  grpc_call_kick (self);
}

void
grpc_call_finish_status (GrpcCall *self, int status, const char *message)
{
  g_mutex_lock (&self->lock);
  finish_locked (self, status, message);
  g_mutex_unlock (&self->lock);
}

void
grpc_call_finish (GrpcCall *self, const GError *error)
{
  g_autoptr (GError) normal = NULL;

  if (error == NULL)
    {
      grpc_call_finish_status (self, GRPC_STATUS_OK, NULL);
      return;
    }
  normal = g_error_copy (error);
  gantry_error_normalize (&normal);
  grpc_call_finish_status (self, gantry_error_code_to_grpc (normal->code), normal->message);
}

void
grpc_call_reply (GrpcCall *self, GBytes *reply)
{
  gsize length = g_bytes_get_size (reply);

  if (length > self->shared->max_send_message)
    {
      g_autofree char *message = g_strdup_printf ("trying to send message larger than max (%zu vs. %zu)",
                                                  length, self->shared->max_send_message);

      grpc_call_finish_status (self, GRPC_STATUS_RESOURCE_EXHAUSTED, message);
      return;
    }
  g_mutex_lock (&self->lock);
  if (!self->over && !self->finished)
    {
      g_queue_push_tail (&self->out, g_bytes_ref (reply));
      self->out_bytes += length + GRPC_PREFIX;
      finish_locked (self, GRPC_STATUS_OK, NULL);
    }
  g_mutex_unlock (&self->lock);
}

void
grpc_call_close_send (GrpcCall *self)
{
  g_mutex_lock (&self->lock);
  if (!self->server && !self->finished)
    {
      self->finished = TRUE;
      grpc_call_kick (self);
    }
  g_mutex_unlock (&self->lock);
}

void
grpc_call_cancel (GrpcCall *self)
{
  g_mutex_lock (&self->lock);
  self->cancelled = TRUE;
  grpc_call_kick (self);
  g_mutex_unlock (&self->lock);
}

const GrpcMetadata *
grpc_call_get_trailers (GrpcCall *self)
{
  return self->trailers;
}

int
grpc_call_get_status (GrpcCall *self)
{
  return self->status;
}

gboolean
grpc_call_is_answered (GrpcCall *self)
{
  return self->has_status;
}
