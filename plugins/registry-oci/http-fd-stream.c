/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A part of a file as the body of a request. It is pollable and always ready, so that libsoup reads it
 * without a thread. */
#include <errno.h>
#include <unistd.h>

#include "http-private.h"

typedef struct
{
  GInputStream parent;
  int fd; /* not ours */
  guint64 start, position, end;
  void (*progress) (guint64 bytes, gpointer user_data);
  gpointer user_data;
} GantryHttpFdStream;

typedef struct
{
  GInputStreamClass parent_class;
} GantryHttpFdStreamClass;

static void fd_stream_pollable_init (GPollableInputStreamInterface *iface);
static GType fd_stream_get_type (void);

G_DEFINE_TYPE_WITH_CODE (GantryHttpFdStream, fd_stream, G_TYPE_INPUT_STREAM,
                         G_IMPLEMENT_INTERFACE (G_TYPE_POLLABLE_INPUT_STREAM, fd_stream_pollable_init))

static gssize
read_fd (GInputStream *stream, void *buffer, gsize size, GCancellable *cancellable, GError **error)
{
  GantryHttpFdStream *self = (GantryHttpFdStream *)stream;
  gssize n;

  if (g_cancellable_set_error_if_cancelled (cancellable, error))
    return -1;
  if (self->fd < 0)
    {
      g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_CLOSED, "the request is over");
      return -1;
    }
  size = MIN (size, self->end - self->position);
  if (size == 0)
    return 0;
  do
    n = pread (self->fd, buffer, size, (off_t)self->position);
  while (n < 0 && errno == EINTR);
  if (n <= 0)
    {
      g_set_error (error, G_IO_ERROR,
                   n < 0 ? (int)g_io_error_from_errno (errno) : (int)G_IO_ERROR_PARTIAL_INPUT,
                   "reading what is to be sent: %s",
                   n < 0 ? g_strerror (errno) : "it is shorter than it was said to be");
      return -1;
    }
  self->position += (guint64)n;
  if (self->progress != NULL)
    self->progress (self->position - self->start, self->user_data);
  return n;
}

static gboolean
is_readable (GPollableInputStream *stream)
{
  return TRUE;
}

static gssize
read_nonblocking (GPollableInputStream *stream, void *buffer, gsize size, GError **error)
{
  return read_fd (G_INPUT_STREAM (stream), buffer, size, NULL, error);
}

static GSource *
create_source (GPollableInputStream *stream, GCancellable *cancellable)
{
  GSource *source = g_pollable_source_new_full (stream, NULL, cancellable);
  g_autoptr (GSource) ready = g_timeout_source_new (0);

  g_source_set_dummy_callback (ready);
  g_source_add_child_source (source, ready);
  return source;
}

static void
fd_stream_pollable_init (GPollableInputStreamInterface *iface)
{
  iface->is_readable = is_readable;
  iface->read_nonblocking = read_nonblocking;
  iface->create_source = create_source;
}

static void
fd_stream_class_init (GantryHttpFdStreamClass *class)
{
  class->parent_class.read_fn = read_fd;
}

static void
fd_stream_init (GantryHttpFdStream *self)
{
}

GInputStream *
http_fd_stream_new (int fd, guint64 offset, guint64 length, void (*progress) (guint64, gpointer),
                    gpointer user_data)
{
  GantryHttpFdStream *self = g_object_new (fd_stream_get_type (), NULL);

  self->fd = fd;
  self->start = self->position = offset;
  self->end = offset + length;
  self->progress = progress;
  self->user_data = user_data;
  return G_INPUT_STREAM (self);
}

void
http_fd_stream_detach (GInputStream *stream)
{
  GantryHttpFdStream *self = (GantryHttpFdStream *)stream;

  self->fd = -1;
  self->progress = NULL;
}
