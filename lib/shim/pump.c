/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pump.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <glib-unix.h>

#include <fdio.h>

#define BUFFER    16384
#define MAX_SINKS 8

typedef struct
{
  int fd; /* -1: free */
  gboolean shut_down;
  gsize offset; /* into the buffer: what it has taken */
  GSource *room;
} Sink;

struct _Pump
{
  gint refs; /* (atomic) */
  GMainContext *context;
  PumpEndFunc ended;
  gpointer user_data;
  GDestroyNotify destroy;

  GMutex lock; /* for all below */
  int source_fd;
  GSource *source; /* NULL: not begun, over, or waiting for sinks */
  gboolean started;
  gboolean over;
  Sink sinks[MAX_SINKS];
  gsize length;
  char buffer[BUFFER];
};

Pump *
pump_new (GMainContext *context, int source, PumpEndFunc ended, gpointer user_data, GDestroyNotify destroy)
{
  Pump *self = g_new0 (Pump, 1);

  self->refs = 1;
  self->context = g_main_context_ref (context);
  self->ended = ended;
  self->user_data = user_data;
  self->destroy = destroy;
  g_mutex_init (&self->lock);
  self->source_fd = source;
  for (int i = 0; i < MAX_SINKS; i++)
    self->sinks[i].fd = -1;
  return self;
}

Pump *
pump_ref (Pump *self)
{
  g_atomic_int_inc (&self->refs);
  return self;
}

static void
unwatch (GSource **source)
{
  if (*source == NULL)
    return;
  g_source_destroy (*source);
  g_source_unref (*source);
  *source = NULL;
}

static void
sink_close (Sink *sink)
{
  unwatch (&sink->room);
  if (sink->fd >= 0 && sink->shut_down)
    shutdown (sink->fd, SHUT_WR);
  gantry_fd_clear (&sink->fd);
}

/* With the lock. */
static void
finish (Pump *self)
{
  self->over = TRUE;
  unwatch (&self->source);
  for (int i = 0; i < MAX_SINKS; i++)
    sink_close (&self->sinks[i]);
  gantry_fd_clear (&self->source_fd);
}

void
pump_unref (Pump *self)
{
  if (self == NULL || !g_atomic_int_dec_and_test (&self->refs))
    return;
  finish (self);
  if (self->destroy != NULL)
    self->destroy (self->user_data);
  g_main_context_unref (self->context);
  g_mutex_clear (&self->lock);
  g_free (self);
}

static void
release (gpointer pump)
{
  pump_unref (pump);
}

/* With the lock. Each source has a reference. */
static GSource *
watch (Pump *self, int fd, GIOCondition condition, GUnixFDSourceFunc func)
{
  GSource *source = g_unix_fd_source_new (fd, condition);

  g_source_set_callback (source, G_SOURCE_FUNC (func), pump_ref (self), release);
  g_source_attach (source, self->context);
  return source;
}

static gboolean on_room (int fd, GIOCondition condition, gpointer data);

/* Gives @sink what it has not taken. Returns: TRUE if it has taken all, or is gone. */
static gboolean
sink_flush (Pump *self, Sink *sink)
{
  while (sink->fd >= 0 && sink->offset < self->length)
    {
      struct pollfd ready = { sink->fd, POLLOUT, 0 };
      gsize rest = self->length - sink->offset;
      gssize n = -1;

      if (poll (&ready, 1, 0) > 0)
        n = write (sink->fd, self->buffer + sink->offset, MIN (rest, PIPE_BUF));
      else
        errno = EAGAIN;
      if (n > 0)
        sink->offset += (gsize)n;
      else if (errno == EAGAIN)
        {
          if (sink->room == NULL)
            sink->room = watch (self, sink->fd, G_IO_OUT | G_IO_ERR | G_IO_HUP, on_room);
          return FALSE;
        }
      else if (errno != EINTR)
        sink_close (sink);
    }
  unwatch (&sink->room);
  return TRUE;
}

static gboolean
flush (Pump *self)
{
  gboolean done = TRUE;

  for (int i = 0; i < MAX_SINKS; i++)
    done &= sink_flush (self, &self->sinks[i]);
  return done;
}

/* With the lock. Returns: FALSE if the source has ended. */
static gboolean
read_once (Pump *self)
{
  gssize n = read (self->source_fd, self->buffer, sizeof self->buffer);

  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return TRUE;
  if (n <= 0)
    return FALSE;
  self->length = (gsize)n;
  for (int i = 0; i < MAX_SINKS; i++)
    self->sinks[i].offset = 0;
  if (!flush (self))
    unwatch (&self->source);
  return TRUE;
}

static gboolean
on_source (int fd, GIOCondition condition, gpointer data)
{
  Pump *self = data;
  gboolean ended = FALSE;

  g_mutex_lock (&self->lock);
  if (self->source != NULL && !read_once (self))
    {
      finish (self);
      ended = TRUE;
    }
  g_mutex_unlock (&self->lock);
  /* Not with the lock: it may want to stop others. */
  if (ended && self->ended != NULL)
    self->ended (self->user_data);
  return G_SOURCE_CONTINUE; /* or it has been destroyed */
}

static void
begin_reading (Pump *self)
{
  if (!self->over && self->source == NULL)
    self->source = watch (self, self->source_fd, G_IO_IN | G_IO_HUP | G_IO_ERR, on_source);
}

static gboolean
on_room (int fd, GIOCondition condition, gpointer data)
{
  Pump *self = data;

  g_mutex_lock (&self->lock);
  if (!self->over && flush (self))
    begin_reading (self);
  g_mutex_unlock (&self->lock);
  return G_SOURCE_CONTINUE; /* or it has been destroyed */
}

static Sink *
free_sink (Pump *self)
{
  for (int i = 0; i < MAX_SINKS; i++)
    {
      Sink *sink = &self->sinks[i];
      struct pollfd state = { sink->fd, 0, 0 };

      /* Whoever left without anything being written since has not been noticed yet. */
      if (sink->fd >= 0 && sink->room == NULL && poll (&state, 1, 0) > 0
          && (state.revents & (POLLERR | POLLHUP)) != 0)
        sink_close (sink);
      if (sink->fd < 0)
        return sink;
    }
  return NULL;
}

gboolean
pump_add_sink (Pump *self, int fd, gboolean shut_down)
{
  Sink *sink;

  g_mutex_lock (&self->lock);
  sink = self->over ? NULL : free_sink (self);
  if (sink != NULL)
    *sink = (Sink){ fd, shut_down, self->length, NULL };
  else
    close (fd);
  g_mutex_unlock (&self->lock);
  return sink != NULL || pump_is_over (self);
}

void
pump_start (Pump *self)
{
  g_mutex_lock (&self->lock);
  if (!self->started)
    begin_reading (self);
  self->started = TRUE;
  g_mutex_unlock (&self->lock);
}

gboolean
pump_has_started (Pump *self)
{
  gboolean started;

  g_mutex_lock (&self->lock);
  started = self->started;
  g_mutex_unlock (&self->lock);
  return started;
}

gboolean
pump_is_over (Pump *self)
{
  gboolean over;

  g_mutex_lock (&self->lock);
  over = self->over;
  g_mutex_unlock (&self->lock);
  return over;
}

static gboolean
on_look (gpointer data)
{
  on_source (-1, 0, data);
  return G_SOURCE_REMOVE;
}

void
pump_look (Pump *self)
{
  g_autoptr (GSource) source = g_idle_source_new ();

  g_source_set_priority (source, G_PRIORITY_DEFAULT);
  g_source_set_callback (source, on_look, pump_ref (self), release);
  g_source_attach (source, self->context);
}

void
pump_stop (Pump *self)
{
  g_mutex_lock (&self->lock);
  finish (self);
  g_mutex_unlock (&self->lock);
}
