/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "shared.h"

#include "call.h"

static void
work (gpointer data, gpointer user_data)
{
  GrpcShared *self = user_data;

  g_atomic_int_add (&self->n_queued, -1);
  grpc_call_run_events (data);
}

GrpcShared *
grpc_shared_new (guint workers, guint long_workers)
{
  guint counts[2] = { workers, long_workers };
  GrpcShared *self = g_new0 (GrpcShared, 1);

  self->refs = 1;
  g_mutex_init (&self->idle_lock);
  g_cond_init (&self->idle);
  self->loop = grpc_loop_new ();
  for (guint i = 0; i < 2 && counts[i] > 0; i++)
    self->workers[i] = g_thread_pool_new (work, self, (gint)counts[i], FALSE, NULL);
  return self;
}

GrpcShared *
grpc_shared_ref (GrpcShared *self)
{
  g_atomic_int_inc (&self->refs);
  return self;
}

void
grpc_shared_unref (GrpcShared *self)
{
  if (self == NULL || !g_atomic_int_dec_and_test (&self->refs))
    return;
  grpc_loop_free (self->loop);
  g_mutex_clear (&self->idle_lock);
  g_cond_clear (&self->idle);
  g_free (self);
}

gboolean
grpc_shared_begin_call (GrpcShared *self)
{
  if (g_atomic_int_add (&self->n_calls, 1) < (gint)self->max_calls)
    return TRUE;
  grpc_shared_end_call (self);
  return FALSE;
}

void
grpc_shared_end_call (GrpcShared *self)
{
  /* A wake-up for nobody is a system call all the same. */
  if (!g_atomic_int_dec_and_test (&self->n_calls) || g_atomic_int_get (&self->n_waiting) == 0)
    return;
  g_mutex_lock (&self->idle_lock);
  g_cond_broadcast (&self->idle);
  g_mutex_unlock (&self->idle_lock);
}

gboolean
grpc_shared_wait_idle (GrpcShared *self, gint64 until)
{
  gboolean in_time = TRUE;

  g_atomic_int_inc (&self->n_waiting);
  g_mutex_lock (&self->idle_lock);
  while (in_time && g_atomic_int_get (&self->n_calls) > 0)
    in_time = g_cond_wait_until (&self->idle, &self->idle_lock, until);
  g_mutex_unlock (&self->idle_lock);
  g_atomic_int_add (&self->n_waiting, -1);
  return g_atomic_int_get (&self->n_calls) == 0;
}

gboolean
grpc_shared_take (GrpcShared *self, gsize bytes)
{
  if ((gsize)g_atomic_pointer_add (&self->buffered, (gssize)bytes) + bytes <= self->max_buffered)
    return TRUE;
  grpc_shared_give (self, bytes);
  return FALSE;
}

void
grpc_shared_give (GrpcShared *self, gsize bytes)
{
  g_atomic_pointer_add (&self->buffered, -(gssize)bytes);
}

void
grpc_shared_stop (GrpcShared *self)
{
  grpc_loop_stop (self->loop);
  for (guint i = 0; i < 2; i++)
    if (self->workers[i] != NULL)
      g_thread_pool_free (g_steal_pointer (&self->workers[i]), FALSE, TRUE);
}
