/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Tells ThreadSanitizer of GLib's locks. They are built on futexes inside of a library that is not
 * instrumented, so without this every use of them looks like a race. Linked into tests when they are built
 * with -Db_sanitize=thread: its functions stand before GLib's.
 */
#include <dlfcn.h>
#include <glib.h>
#include <sanitizer/tsan_interface.h>

/* What GLib does inside, such as freeing the nodes of its queues, is not looked at. */
const char *__tsan_default_options (void);

const char *
__tsan_default_options (void)
{
  return "ignore_noninstrumented_modules=1";
}

#define REAL(type, name)                                                                                     \
  static type found = NULL;                                                                                  \
  type real = __atomic_load_n (&found, __ATOMIC_ACQUIRE);                                                    \
                                                                                                             \
  if (real == NULL)                                                                                          \
    {                                                                                                        \
      real = (type)dlsym (RTLD_NEXT, name);                                                                  \
      __atomic_store_n (&found, real, __ATOMIC_RELEASE);                                                     \
    }

typedef void (*LockFunc) (gpointer);
typedef gboolean (*TryFunc) (gpointer);
typedef void (*WaitFunc) (GCond *, GMutex *);
typedef gboolean (*WaitUntilFunc) (GCond *, GMutex *, gint64);

void
g_mutex_lock (GMutex *mutex)
{
  REAL (LockFunc, "g_mutex_lock");
  real (mutex);
  __tsan_acquire (mutex);
}

gboolean
g_mutex_trylock (GMutex *mutex)
{
  REAL (TryFunc, "g_mutex_trylock");
  gboolean locked = real (mutex);

  if (locked)
    __tsan_acquire (mutex);
  return locked;
}

void
g_mutex_unlock (GMutex *mutex)
{
  REAL (LockFunc, "g_mutex_unlock");
  __tsan_release (mutex);
  real (mutex);
}

void
g_cond_wait (GCond *cond, GMutex *mutex)
{
  REAL (WaitFunc, "g_cond_wait");
  __tsan_release (mutex);
  real (cond, mutex);
  __tsan_acquire (mutex);
}

gboolean
g_cond_wait_until (GCond *cond, GMutex *mutex, gint64 until)
{
  REAL (WaitUntilFunc, "g_cond_wait_until");
  gboolean in_time;

  __tsan_release (mutex);
  in_time = real (cond, mutex, until);
  __tsan_acquire (mutex);
  return in_time;
}

/* Counted by atomics that are not instrumented either: what was done before a reference went is before the
 * end. */
void
g_bytes_unref (GBytes *bytes)
{
  REAL (LockFunc, "g_bytes_unref");
  if (bytes != NULL)
    {
      __tsan_release (bytes);
      __tsan_acquire (bytes);
    }
  real (bytes);
}

/* Work is handed to threads that may be older than it, through a queue of GLib's. */

typedef struct
{
  GFunc func;
  gpointer data;
} Work;

typedef GThreadPool *(*PoolFunc) (GFunc, gpointer, gint, gboolean, GError **);
typedef gboolean (*PushFunc) (GThreadPool *, gpointer, GError **);

static void
run_work (gpointer item, gpointer data)
{
  Work *work = data;

  __tsan_acquire (work);
  __tsan_acquire (item);
  work->func (item, work->data);
}

GThreadPool *
g_thread_pool_new (GFunc func, gpointer data, gint max_threads, gboolean exclusive, GError **error)
{
  REAL (PoolFunc, "g_thread_pool_new");
  Work *work = g_new (Work, 1); /* for as long as the test lasts */

  *work = (Work){ func, data };
  return real (run_work, work, max_threads, exclusive, error);
}

gboolean
g_thread_pool_push (GThreadPool *pool, gpointer item, GError **error)
{
  REAL (PushFunc, "g_thread_pool_push");
  __tsan_release (pool->user_data);
  __tsan_release (item);
  return real (pool, item, error);
}

/* Counted boxes: what was written to one before its last reference went is seen by whoever frees it. */

typedef void (*ReleaseFunc) (gpointer box, GDestroyNotify clear);

static __thread GDestroyNotify clear_of_box;

static void
clear_box (gpointer box)
{
  GDestroyNotify clear = clear_of_box;

  __tsan_acquire (box);
  if (clear != NULL)
    clear (box);
}

void
g_atomic_rc_box_release_full (gpointer box, GDestroyNotify clear)
{
  REAL (ReleaseFunc, "g_atomic_rc_box_release_full");

  __tsan_release (box);
  clear_of_box = clear;
  real (box, clear_box);
}
