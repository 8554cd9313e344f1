/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * ThreadSanitizer sees what compiled code and libc do. GLib's own locks are futexes of a library that is not
 * instrumented, so it would take everything that they guard for a race. In builds with -Db_sanitize=thread
 * this file stands in the daemon before GLib's functions and tells what each of them orders: nothing else
 * about them is changed, and nothing is left out of the check. */
#include <dlfcn.h>

#include <glib.h>
#include <gio/gio.h>

void __tsan_acquire (void *address);
void __tsan_release (void *address);

/* Handing work to a main context, a pool or a thread is ordered by locks inside GLib. One address a kind of
 * hand-over is coarser than what GLib does: it may hide a race between two that are handed over at once, and
 * shows all others. */
static char handed_over;

#define REAL(name)                                                                                           \
  ({                                                                                                         \
    static __typeof__ (&name) real;                                                                          \
    if (real == NULL)                                                                                        \
      real = (__typeof__ (&name))dlsym (RTLD_NEXT, #name);                                                   \
    real;                                                                                                    \
  })

#define EXPORT __attribute__ ((visibility ("default"), no_sanitize_thread))

EXPORT void
g_mutex_lock (GMutex *mutex)
{
  REAL (g_mutex_lock) (mutex);
  __tsan_acquire (mutex);
}

EXPORT gboolean
g_mutex_trylock (GMutex *mutex)
{
  gboolean locked = REAL (g_mutex_trylock) (mutex);

  if (locked)
    __tsan_acquire (mutex);
  return locked;
}

EXPORT void
g_mutex_unlock (GMutex *mutex)
{
  __tsan_release (mutex);
  REAL (g_mutex_unlock) (mutex);
}

EXPORT void
g_cond_wait (GCond *cond, GMutex *mutex)
{
  __tsan_release (mutex);
  REAL (g_cond_wait) (cond, mutex);
  __tsan_acquire (mutex);
}

EXPORT gboolean
g_cond_wait_until (GCond *cond, GMutex *mutex, gint64 end_time)
{
  gboolean signalled;

  __tsan_release (mutex);
  signalled = REAL (g_cond_wait_until) (cond, mutex, end_time);
  __tsan_acquire (mutex);
  return signalled;
}

EXPORT void
g_rw_lock_reader_lock (GRWLock *lock)
{
  REAL (g_rw_lock_reader_lock) (lock);
  __tsan_acquire (lock);
}

EXPORT void
g_rw_lock_reader_unlock (GRWLock *lock)
{
  __tsan_release (lock);
  REAL (g_rw_lock_reader_unlock) (lock);
}

EXPORT void
g_rw_lock_writer_lock (GRWLock *lock)
{
  REAL (g_rw_lock_writer_lock) (lock);
  __tsan_acquire (lock);
}

EXPORT void
g_rw_lock_writer_unlock (GRWLock *lock)
{
  __tsan_release (lock);
  REAL (g_rw_lock_writer_unlock) (lock);
}

EXPORT
gboolean (g_once_init_enter) (volatile void *location)
{
  gboolean first = REAL (g_once_init_enter) (location);

  if (!first)
    __tsan_acquire ((void *)location);
  return first;
}

EXPORT void (g_once_init_leave) (volatile void *location, gsize result)
{
  __tsan_release ((void *)location);
  REAL (g_once_init_leave) (location, result);
}

/* References are counted with a full barrier: who drops the last one sees what all others did. Which one is
 * the last is known where the block is cleared. */
static __thread GDestroyNotify clearing;

static void
clear_last (gpointer block)
{
  __tsan_acquire (block);
  if (clearing != NULL)
    clearing (block);
}

EXPORT void
g_atomic_rc_box_release_full (gpointer block, GDestroyNotify clear)
{
  GDestroyNotify outer = clearing;

  __tsan_release (block);
  clearing = clear;
  REAL (g_atomic_rc_box_release_full) (block, clear_last);
  clearing = outer;
}

EXPORT
gboolean (g_atomic_ref_count_dec) (gatomicrefcount *count)
{
  gboolean last;

  __tsan_release (count);
  last = REAL (g_atomic_ref_count_dec) (count);
  if (last)
    __tsan_acquire (count);
  return last;
}

EXPORT void
g_object_unref (gpointer object)
{
  __tsan_release (object);
  __tsan_acquire (object);
  REAL (g_object_unref) (object);
}

EXPORT void
g_variant_unref (GVariant *value)
{
  __tsan_release (value);
  __tsan_acquire (value);
  REAL (g_variant_unref) (value);
}

EXPORT void
g_bytes_unref (GBytes *bytes)
{
  if (bytes != NULL)
    {
      __tsan_release (bytes);
      __tsan_acquire (bytes);
    }
  REAL (g_bytes_unref) (bytes);
}

EXPORT void
g_ptr_array_unref (GPtrArray *array)
{
  __tsan_release (array);
  __tsan_acquire (array);
  REAL (g_ptr_array_unref) (array);
}

EXPORT void
g_hash_table_unref (GHashTable *table)
{
  __tsan_release (table);
  __tsan_acquire (table);
  REAL (g_hash_table_unref) (table);
}

/* Sources: what was written before one was attached is seen when it is dispatched (poll_and_see). */
typedef struct
{
  GSourceFunc func;
  gpointer data;
  GDestroyNotify notify;
} Invocation;

static gboolean
run_invocation (gpointer data)
{
  Invocation *self = data;

  __tsan_acquire (&handed_over);
  return self->func (self->data);
}

static void
free_invocation (gpointer data)
{
  Invocation *self = data;

  if (self->notify != NULL)
    self->notify (self->data);
  g_free (self);
}

EXPORT void
g_source_set_callback (GSource *source, GSourceFunc func, gpointer data, GDestroyNotify notify)
{
  Invocation *self;

  __tsan_release (&handed_over);
  /* Other kinds of sources pass more to their callbacks, and are woken by the poll. */
  if (func == NULL || (source->source_funcs != &g_idle_funcs && source->source_funcs != &g_timeout_funcs))
    {
      REAL (g_source_set_callback) (source, func, data, notify);
      return;
    }
  self = g_new (Invocation, 1);
  *self = (Invocation){ func, data, notify };
  REAL (g_source_set_callback) (source, run_invocation, self, free_invocation);
}

EXPORT guint
g_source_attach (GSource *source, GMainContext *context)
{
  __tsan_release (&handed_over);
  return REAL (g_source_attach) (source, context);
}

EXPORT void
g_source_destroy (GSource *source)
{
  __tsan_release (&handed_over);
  REAL (g_source_destroy) (source);
  __tsan_acquire (&handed_over);
}

EXPORT void
g_source_unref (GSource *source)
{
  __tsan_release (&handed_over);
  REAL (g_source_unref) (source);
}

EXPORT void
g_source_set_ready_time (GSource *source, gint64 ready_time)
{
  __tsan_release (&handed_over);
  REAL (g_source_set_ready_time) (source, ready_time);
}

typedef struct
{
  GFunc func;
  gpointer user_data;
} PoolWork;

static void
run_in_pool (gpointer data, gpointer user_data)
{
  PoolWork *work = user_data;

  __tsan_acquire (&handed_over);
  work->func (data, work->user_data);
  __tsan_release (&handed_over);
}

EXPORT GThreadPool *
g_thread_pool_new (GFunc func, gpointer user_data, gint max_threads, gboolean exclusive, GError **error)
{
  PoolWork *work = g_new (PoolWork, 1); /* as long as the process */

  *work = (PoolWork){ func, user_data };
  return REAL (g_thread_pool_new) (run_in_pool, work, max_threads, exclusive, error);
}

EXPORT gboolean
g_thread_pool_push (GThreadPool *pool, gpointer data, GError **error)
{
  __tsan_release (&handed_over);
  return REAL (g_thread_pool_push) (pool, data, error);
}

EXPORT void
g_thread_pool_free (GThreadPool *pool, gboolean immediate, gboolean wait)
{
  REAL (g_thread_pool_free) (pool, immediate, wait);
  __tsan_acquire (&handed_over);
}

EXPORT void
g_async_queue_push (GAsyncQueue *queue, gpointer data)
{
  __tsan_release (&handed_over);
  REAL (g_async_queue_push) (queue, data);
}

EXPORT gpointer
g_async_queue_pop (GAsyncQueue *queue)
{
  gpointer data = REAL (g_async_queue_pop) (queue);

  __tsan_acquire (&handed_over);
  return data;
}

/* The main loop's poll is the one place by which every dispatch comes, and GLib calls it by pointer: wherever
 * a loop wakes up, it has seen what was handed over. */
static gint
poll_and_see (GPollFD *fds, guint n, gint timeout)
{
  gint ready;

  __tsan_release (&handed_over);
  ready = g_poll (fds, n, timeout);
  __tsan_acquire (&handed_over);
  return ready;
}

EXPORT GMainContext *
g_main_context_new (void)
{
  GMainContext *context = REAL (g_main_context_new) ();

  g_main_context_set_poll_func (context, poll_and_see);
  return context;
}

EXPORT GMainLoop *
g_main_loop_new (GMainContext *context, gboolean is_running)
{
  g_main_context_set_poll_func (context, poll_and_see);
  return REAL (g_main_loop_new) (context, is_running);
}

EXPORT void
g_main_context_invoke_full (GMainContext *context, gint priority, GSourceFunc func, gpointer data,
                            GDestroyNotify notify)
{
  Invocation *self = g_new (Invocation, 1);

  *self = (Invocation){ func, data, notify };
  __tsan_release (&handed_over);
  REAL (g_main_context_invoke_full) (context, priority, run_invocation, self, free_invocation);
}

EXPORT void
g_main_context_invoke (GMainContext *context, GSourceFunc func, gpointer data)
{
  g_main_context_invoke_full (context, G_PRIORITY_DEFAULT, func, data, NULL);
}
