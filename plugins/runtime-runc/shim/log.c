/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAX_LOG (8 * 1024 * 1024)
#define BUFFER  8192

struct Log
{
  unsigned refs;
  int fd;
  char *path;
  off_t length;
};

/* There is one thread. */
static char buffer[BUFFER];
static size_t filled;

static int
open_at (const char *path, int flags)
{
  return open (path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
}

Log *
log_open (const char *path)
{
  Log *log = calloc (1, sizeof *log);
  struct stat st;

  if (log == NULL)
    return NULL;
  log->refs = 1;
  log->path = strdup (path);
  log->fd = open_at (path, 0);
  if (log->path == NULL || log->fd < 0 || fstat (log->fd, &st) < 0)
    {
      int saved_errno = errno;

      log_unref (log);
      errno = saved_errno;
      return NULL;
    }
  log->length = st.st_size;
  return log;
}

Log *
log_ref (Log *log)
{
  log->refs++;
  return log;
}

void
log_unref (Log *log)
{
  if (log == NULL || --log->refs > 0)
    return;
  if (log->fd >= 0)
    close (log->fd);
  free (log->path);
  free (log);
}

const char *
log_path (const Log *log)
{
  return log->path;
}

static void
rotate (Log *log)
{
  char old[4096];

  snprintf (old, sizeof old, "%s.1", log->path);
  rename (log->path, old);
  if (log->fd >= 0)
    close (log->fd);
  log->fd = open_at (log->path, O_TRUNC);
  log->length = 0;
}

static void
flush (Log *log)
{
  if (filled > 0 && log->fd >= 0 && write (log->fd, buffer, filled) > 0)
    log->length += (off_t)filled;
  filled = 0;
}

static void
put (Log *log, const char *data, size_t length)
{
  while (length > 0)
    {
      size_t n = length < sizeof buffer - filled ? length : sizeof buffer - filled;

      memcpy (buffer + filled, data, n);
      filled += n;
      data += n;
      length -= n;
      if (filled == sizeof buffer)
        flush (log);
    }
}

/* "2026-01-31T23:59:59.123456789Z stdout " */
static int
make_head (char *head, size_t size, const char *stream)
{
  struct timespec now;
  struct tm tm;

  clock_gettime (CLOCK_REALTIME, &now);
  gmtime_r (&now.tv_sec, &tm);
  return snprintf (head, size, "%04d-%02d-%02dT%02d:%02d:%02d.%09ldZ %s ", tm.tm_year + 1900, tm.tm_mon + 1,
                   tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, now.tv_nsec, stream);
}

void
log_write (Log *log, const char *stream, const char *data, size_t length)
{
  char head[128];
  int head_length = make_head (head, sizeof head, stream);

  if (log->length > MAX_LOG)
    rotate (log);
  while (length > 0)
    {
      const char *end = memchr (data, '\n', length);
      size_t n = end != NULL ? (size_t)(end - data) : length;

      put (log, head, (size_t)head_length);
      put (log, end != NULL ? "F " : "P ", 2);
      put (log, data, n);
      put (log, "\n", 1);
      n += end != NULL;
      data += n;
      length -= n;
    }
  flush (log);
}
