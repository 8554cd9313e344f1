/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "loop.h"

#include <gantry/error.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MAX_EVENTS 64

struct _GrpcLoop
{
  int epoll;
  GrpcWatch wake; /* an eventfd */
  GThread *thread;
  gint64 now;

  struct epoll_event events[MAX_EVENTS]; /* of this turn */
  int n_events;

  GPtrArray *heap; /* of GrpcTimer, the earliest first; a timer's index is its place + 1 */
  GrpcTask *deferred, **deferred_end;

  guint8 *in, *out;

  GMutex lock;
  GrpcTask *posted, **posted_end; /* under lock */
  gboolean sleeping;              /* under lock */
  gboolean quit;                  /* under lock */
};

static void
drain_wake (GrpcWatch *watch, guint32 events)
{
  guint64 count;

  if (read (watch->fd, &count, sizeof count) < 0)
    return; /* somebody woke us twice */
}

GrpcLoop *
grpc_loop_new (void)
{
  GrpcLoop *self = g_new0 (GrpcLoop, 1);

  self->epoll = -1;
  self->wake = (GrpcWatch){ -1, EPOLLIN, drain_wake };
  self->heap = g_ptr_array_new ();
  self->deferred_end = &self->deferred;
  self->posted_end = &self->posted;
  self->in = g_malloc (GRPC_TURN);
  self->out = g_malloc (GRPC_TURN);
  self->now = g_get_monotonic_time ();
  g_mutex_init (&self->lock);
  return self;
}

gboolean
grpc_loop_open (GrpcLoop *self, GError **error)
{
  self->epoll = epoll_create1 (EPOLL_CLOEXEC);
  self->wake.fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (self->epoll < 0 || self->wake.fd < 0)
    return gantry_throw_errno (error, errno, "making an I/O loop");
  return grpc_loop_watch (self, &self->wake, error);
}

void
grpc_loop_free (GrpcLoop *self)
{
  if (self == NULL)
    return;
  grpc_loop_stop (self);
  if (self->epoll >= 0)
    close (self->epoll);
  if (self->wake.fd >= 0)
    close (self->wake.fd);
  g_ptr_array_unref (self->heap);
  g_free (self->in);
  g_free (self->out);
  g_mutex_clear (&self->lock);
  g_free (self);
}

/* Tasks */

void
grpc_loop_post (GrpcLoop *self, GrpcTask *task)
{
  gboolean wake;

  task->next = NULL;
  g_mutex_lock (&self->lock);
  wake = self->sleeping && self->posted == NULL;
  *self->posted_end = task;
  self->posted_end = &task->next;
  g_mutex_unlock (&self->lock);
  if (wake)
    {
      guint64 one = 1;

      if (write (self->wake.fd, &one, sizeof one) < 0 && errno != EAGAIN)
        g_critical ("waking the I/O thread: %s", g_strerror (errno));
    }
}

void
grpc_loop_defer (GrpcLoop *self, GrpcTask *task)
{
  task->next = NULL;
  *self->deferred_end = task;
  self->deferred_end = &task->next;
}

static gboolean
run_tasks (GrpcTask *task)
{
  gboolean any = task != NULL;

  while (task != NULL)
    {
      GrpcTask *next = task->next;

      task->run (task);
      task = next;
    }
  return any;
}

/* Posted tasks first, so that what they change goes out in one write with the rest. */
static void
run_queues (GrpcLoop *self)
{
  gboolean any;

  do
    {
      GrpcTask *tasks;

      g_mutex_lock (&self->lock);
      tasks = self->posted;
      self->posted = NULL;
      self->posted_end = &self->posted;
      g_mutex_unlock (&self->lock);
      any = run_tasks (tasks);
      if (!any)
        {
          tasks = self->deferred;
          self->deferred = NULL;
          self->deferred_end = &self->deferred;
          any = run_tasks (tasks);
        }
    }
  while (any);
}

/* Timers */

static GrpcTimer *
heap_at (GrpcLoop *self, guint index)
{
  return g_ptr_array_index (self->heap, index - 1);
}

static void
heap_put (GrpcLoop *self, guint index, GrpcTimer *timer)
{
  g_ptr_array_index (self->heap, index - 1) = timer;
  timer->index = index;
}

static void
heap_settle (GrpcLoop *self, guint index)
{
  GrpcTimer *timer = heap_at (self, index);

  for (; index > 1 && heap_at (self, index / 2)->when > timer->when; index /= 2)
    heap_put (self, index, heap_at (self, index / 2));
  for (;;)
    {
      guint child = 2 * index;

      if (child > self->heap->len)
        break;
      if (child < self->heap->len && heap_at (self, child + 1)->when < heap_at (self, child)->when)
        child++;
      if (heap_at (self, child)->when >= timer->when)
        break;
      heap_put (self, index, heap_at (self, child));
      index = child;
    }
  heap_put (self, index, timer);
}

void
grpc_loop_set_timer (GrpcLoop *self, GrpcTimer *timer, gint64 when)
{
  timer->when = when;
  if (timer->index == 0)
    {
      g_ptr_array_add (self->heap, timer);
      timer->index = self->heap->len;
    }
  heap_settle (self, timer->index);
}

void
grpc_loop_clear_timer (GrpcLoop *self, GrpcTimer *timer)
{
  guint index = timer->index;
  GrpcTimer *last;

  if (index == 0)
    return;
  timer->index = 0;
  last = heap_at (self, self->heap->len);
  g_ptr_array_set_size (self->heap, (gint)self->heap->len - 1);
  if (last == timer)
    return;
  heap_put (self, index, last);
  heap_settle (self, index);
}

static void
run_timers (GrpcLoop *self)
{
  while (self->heap->len > 0 && heap_at (self, 1)->when <= self->now)
    {
      GrpcTimer *timer = heap_at (self, 1);

      grpc_loop_clear_timer (self, timer);
      timer->fire (timer);
    }
}

static int
next_timeout (GrpcLoop *self)
{
  gint64 left;

  if (self->heap->len == 0)
    return -1;
  left = heap_at (self, 1)->when - g_get_monotonic_time ();
  return (int)CLAMP ((left + 999) / 1000, 0, 3600 * 1000);
}

/* Watches */

gboolean
grpc_loop_watch (GrpcLoop *self, GrpcWatch *watch, GError **error)
{
  struct epoll_event event = { .events = watch->events, .data.ptr = watch };

  if (epoll_ctl (self->epoll, EPOLL_CTL_ADD, watch->fd, &event) < 0)
    return gantry_throw_errno (error, errno, "watching a socket");
  return TRUE;
}

void
grpc_loop_rewatch (GrpcLoop *self, GrpcWatch *watch, guint32 events)
{
  struct epoll_event event = { .events = events, .data.ptr = watch };

  if (watch->events == events)
    return;
  watch->events = events;
  if (epoll_ctl (self->epoll, EPOLL_CTL_MOD, watch->fd, &event) < 0)
    g_critical ("watching a socket: %s", g_strerror (errno));
}

void
grpc_loop_unwatch (GrpcLoop *self, GrpcWatch *watch)
{
  epoll_ctl (self->epoll, EPOLL_CTL_DEL, watch->fd, NULL);
  for (int i = 0; i < self->n_events; i++)
    if (self->events[i].data.ptr == watch)
      self->events[i].data.ptr = NULL; /* what this turn has for it */
}

/* The thread */

static gboolean
wait_for_events (GrpcLoop *self)
{
  int timeout = next_timeout (self), n;

  g_mutex_lock (&self->lock);
  if (self->quit && self->posted == NULL)
    {
      g_mutex_unlock (&self->lock);
      return FALSE;
    }
  if (self->posted != NULL)
    timeout = 0;
  else
    self->sleeping = TRUE;
  g_mutex_unlock (&self->lock);
  n = epoll_wait (self->epoll, self->events, MAX_EVENTS, timeout);
  g_mutex_lock (&self->lock);
  self->sleeping = FALSE;
  g_mutex_unlock (&self->lock);
  if (n < 0 && errno != EINTR)
    g_critical ("waiting for sockets: %s", g_strerror (errno));
  self->n_events = MAX (n, 0);
  self->now = g_get_monotonic_time ();
  return TRUE;
}

static gpointer
run (gpointer data)
{
  GrpcLoop *self = data;

  while (wait_for_events (self))
    {
      for (int i = 0; i < self->n_events; i++)
        {
          GrpcWatch *watch = self->events[i].data.ptr;

          if (watch != NULL)
            watch->ready (watch, self->events[i].events);
        }
      self->n_events = 0;
      run_timers (self);
      run_queues (self);
    }
  return NULL;
}

gboolean
grpc_loop_start (GrpcLoop *self, const char *name, GError **error)
{
  self->thread = g_thread_try_new (name, run, self, error);
  return self->thread != NULL;
}

static void
do_nothing (GrpcTask *task)
{
}

void
grpc_loop_stop (GrpcLoop *self)
{
  GrpcTask task = { .run = do_nothing };

  if (self->thread == NULL)
    return;
  g_mutex_lock (&self->lock);
  self->quit = TRUE;
  g_mutex_unlock (&self->lock);
  grpc_loop_post (self, &task);
  g_thread_join (self->thread);
  self->thread = NULL;
}

gint64
grpc_loop_now (GrpcLoop *self)
{
  return self->now;
}

guint8 *
grpc_loop_get_in (GrpcLoop *self)
{
  return self->in;
}

guint8 *
grpc_loop_get_out (GrpcLoop *self)
{
  return self->out;
}
