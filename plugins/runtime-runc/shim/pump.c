/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pump.h"

#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER    16384
#define MAX_SINKS 8

typedef struct
{
  Watch watch;
  Pump *pump;
  size_t offset; /* into the buffer: what it has taken */
  bool open;
  bool waiting; /* for EPOLLOUT */
} Sink;

struct Pump
{
  Watch source;
  Pump **owner;
  bool reading;
  size_t owed; /* what was in the source when pump_drain () was called, and is not read yet */
  Sink sinks[MAX_SINKS];
  Log *log; /* or NULL */
  const char *log_name;
  size_t length;
  char buffer[BUFFER];
};

static unsigned n_pumps;

unsigned
pump_count (void)
{
  return n_pumps;
}

static void
sink_close (Sink *sink)
{
  if (!sink->open)
    return;
  if (sink->waiting)
    watch_remove (&sink->watch);
  /* The peer must see the end even while another duplicate of its socket is open here. */
  shutdown (sink->watch.fd, SHUT_WR);
  close (sink->watch.fd);
  sink->open = false;
  sink->waiting = false;
}

void
pump_free (Pump *pump)
{
  if (pump == NULL)
    return;
  for (int i = 0; i < MAX_SINKS; i++)
    sink_close (&pump->sinks[i]);
  if (pump->reading)
    watch_remove (&pump->source);
  close (pump->source.fd);
  log_unref (pump->log);
  if (pump->owner != NULL)
    *pump->owner = NULL;
  free (pump);
  n_pumps--;
}

/* Gives @sink what it has not taken. Returns: true if it has taken all (or is gone). */
static bool
sink_flush (Sink *sink)
{
  Pump *pump = sink->pump;

  while (sink->open && sink->offset < pump->length)
    {
      ssize_t n = write (sink->watch.fd, pump->buffer + sink->offset, pump->length - sink->offset);

      if (n > 0)
        sink->offset += (size_t)n;
      else if (n < 0 && errno == EAGAIN)
        {
          /* A file can't be watched, and never blocks either. */
          if (!sink->waiting)
            sink->waiting = watch_add (&sink->watch, EPOLLOUT);
          if (sink->waiting)
            return false;
          sink_close (sink);
        }
      else if (!(n < 0 && errno == EINTR))
        sink_close (sink);
    }
  if (sink->waiting)
    {
      watch_remove (&sink->watch);
      sink->waiting = false;
    }
  return true;
}

static bool
flush_all (Pump *pump)
{
  bool done = true;

  for (int i = 0; i < MAX_SINKS; i++)
    if (pump->sinks[i].open)
      done &= sink_flush (&pump->sinks[i]);
  return done;
}

static void
set_reading (Pump *pump, bool reading)
{
  if (reading == pump->reading)
    return;
  if (reading)
    pump->reading = watch_add (&pump->source, EPOLLIN);
  else
    {
      watch_remove (&pump->source);
      pump->reading = false;
    }
}

static void
on_source (Watch *watch, uint32_t events)
{
  Pump *pump = watch->data;
  ssize_t n = read (watch->fd, pump->buffer, sizeof pump->buffer);

  (void)events;
  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  /* A console gives EIO when its last user is gone. */
  if (n <= 0)
    {
      pump_free (pump);
      return;
    }
  pump->length = (size_t)n;
  pump->owed -= pump->owed < pump->length ? pump->owed : pump->length;
  for (int i = 0; i < MAX_SINKS; i++)
    pump->sinks[i].offset = 0;
  if (pump->log != NULL)
    log_write (pump->log, pump->log_name, pump->buffer, pump->length);
  set_reading (pump, flush_all (pump));
}

static void
on_sink (Watch *watch, uint32_t events)
{
  Sink *sink = watch->data;
  Pump *pump = sink->pump;

  (void)events;
  if (flush_all (pump))
    set_reading (pump, true);
}

static void
set_nonblocking (int fd)
{
  int flags = fcntl (fd, F_GETFL);

  if (flags >= 0)
    fcntl (fd, F_SETFL, flags | O_NONBLOCK);
}

Pump *
pump_new (int source, Pump **owner)
{
  Pump *pump = calloc (1, sizeof *pump);

  if (pump == NULL)
    {
      close (source);
      return NULL;
    }
  n_pumps++;
  set_nonblocking (source);
  pump->source = (Watch){ source, on_source, pump };
  set_reading (pump, true);
  if (!pump->reading)
    {
      pump_free (pump);
      return NULL;
    }
  pump->owner = owner;
  if (owner != NULL)
    *owner = pump;
  return pump;
}

bool
pump_add_sink (Pump *pump, int fd)
{
  for (int i = 0; i < MAX_SINKS; i++)
    if (!pump->sinks[i].open)
      {
        set_nonblocking (fd);
        pump->sinks[i] = (Sink){ { fd, on_sink, &pump->sinks[i] }, pump, pump->length, true, false };
        return true;
      }
  close (fd);
  return false;
}

void
pump_set_log (Pump *pump, Log *log, const char *name)
{
  log_unref (pump->log);
  pump->log = log_ref (log);
  pump->log_name = name;
}

void
pump_drain (Pump *pump)
{
  Pump **owner = pump->owner;
  int unread = 0;

  if (ioctl (pump->source.fd, FIONREAD, &unread) == 0 && unread > 0)
    pump->owed = (size_t)unread;
  /* Once more than there is to read: the end, if nobody else can write. */
  for (bool last = false; *owner == pump && pump->reading && !last;)
    {
      last = pump->owed == 0;
      on_source (&pump->source, EPOLLIN);
    }
}

bool
pump_owes (const Pump *pump)
{
  return pump->owed > 0 || !pump->reading;
}

void
pump_disown (Pump *pump)
{
  pump->owner = NULL;
}
