/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "unpack-flush.h"

#include <unistd.h>

#include <gantry/error.h>

/* Less makes more commits of the file system's journal than the overlap is worth. */
#define FLUSH_BYTES (8 * 1024 * 1024)

struct _UnpackFlush
{
  int fd;
  GMutex lock;
  GCond changed;
  guint64 pending;
  gboolean stop;
  int saved_errno; /* the kernel tells each error once, so it is kept */
  GThread *thread;
};

static gpointer
flush_main (gpointer data)
{
  UnpackFlush *self = data;

  g_mutex_lock (&self->lock);
  while (!self->stop)
    {
      int saved_errno;

      if (self->pending < FLUSH_BYTES)
        {
          g_cond_wait (&self->changed, &self->lock);
          continue;
        }
      self->pending = 0;
      g_mutex_unlock (&self->lock);
      saved_errno = syncfs (self->fd) < 0 ? errno : 0;
      g_mutex_lock (&self->lock);
      if (saved_errno != 0)
        self->saved_errno = saved_errno;
    }
  g_mutex_unlock (&self->lock);
  return NULL;
}

UnpackFlush *
unpack_flush_new (int fd)
{
  UnpackFlush *self = g_new0 (UnpackFlush, 1);

  self->fd = fd;
  g_mutex_init (&self->lock);
  g_cond_init (&self->changed);
  self->thread = g_thread_new ("flush", flush_main, self);
  return self;
}

void
unpack_flush_add (UnpackFlush *self, guint64 bytes)
{
  g_mutex_lock (&self->lock);
  self->pending += bytes;
  if (self->pending >= FLUSH_BYTES)
    g_cond_signal (&self->changed);
  g_mutex_unlock (&self->lock);
}

static void
stop (UnpackFlush *self)
{
  g_mutex_lock (&self->lock);
  self->stop = TRUE;
  g_cond_signal (&self->changed);
  g_mutex_unlock (&self->lock);
  g_clear_pointer (&self->thread, g_thread_join);
}

gboolean
unpack_flush_finish (UnpackFlush *self, GError **error)
{
  stop (self);
  if (self->saved_errno == 0 && syncfs (self->fd) < 0)
    self->saved_errno = errno;
  return self->saved_errno == 0
         || gantry_throw_errno (error, self->saved_errno, "syncing the unpacked layer");
}

void
unpack_flush_free (UnpackFlush *self)
{
  if (self == NULL)
    return;
  stop (self);
  g_mutex_clear (&self->lock);
  g_cond_clear (&self->changed);
  g_free (self);
}
