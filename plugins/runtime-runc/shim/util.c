/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Errors, time and whole files. */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_STDIN 65536

bool
fail (Error *error, int code, const char *format, ...)
{
  va_list args;

  error->code = code;
  va_start (args, format);
  vsnprintf (error->message, sizeof error->message, format, args);
  va_end (args);
  return false;
}

bool
fail_errno (Error *error, const char *format, ...)
{
  int saved_errno = errno;
  va_list args;
  int n;

  error->code = saved_errno == ENOENT   ? CODE_NOT_FOUND
                : saved_errno == EEXIST ? CODE_ALREADY_EXISTS
                                        : CODE_INTERNAL;
  va_start (args, format);
  n = vsnprintf (error->message, sizeof error->message, format, args);
  va_end (args);
  if (n >= 0 && (size_t)n < sizeof error->message)
    snprintf (error->message + n, sizeof error->message - (size_t)n, ": %s", strerror (saved_errno));
  return false;
}

int64_t
now_ns (void)
{
  struct timespec now;

  clock_gettime (CLOCK_REALTIME, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t
uptime_ns (void)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

char *
read_file (const char *path, size_t limit, size_t *ret_length)
{
  int fd = open (path, O_RDONLY | O_CLOEXEC);
  char *text = NULL;
  size_t length = 0;
  ssize_t n = 0;

  if (fd < 0)
    return NULL;
  text = malloc (limit + 1);
  while (text != NULL && length < limit && (n = read (fd, text + length, limit - length)) > 0)
    length += (size_t)n;
  close (fd);
  if (text == NULL)
    return NULL;
  text[length] = '\0';
  /* What is kept is kept small. */
  if (length < limit / 2)
    {
      char *smaller = realloc (text, length + 1);

      text = smaller != NULL ? smaller : text;
    }
  if (ret_length != NULL)
    *ret_length = length;
  return text;
}

bool
write_file (const char *path, const void *data, size_t length)
{
  int fd = open (path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  bool ok;

  if (fd < 0)
    return false;
  ok = write (fd, data, length) == (ssize_t)length;
  return close (fd) == 0 && ok;
}

void
read_stdin (PbBuffer *buffer)
{
  char chunk[4096];
  ssize_t n;

  while (!isatty (0) && buffer->length < MAX_STDIN && (n = read (0, chunk, sizeof chunk)) > 0)
    pb_append (buffer, chunk, (size_t)n);
}
