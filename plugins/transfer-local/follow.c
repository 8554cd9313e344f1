/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A blob that is read while it comes: what the ingest has is passed on through a pipe, as far as it is there.
 */
#include "follow.h"

#include <fcntl.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include <fdio.h>

#define PIPE_SIZE (1024 * 1024)
#define CHUNK     (1024 * 1024)

struct _Follow
{
  GantryContent content; /* whose only blob is this */
  guint64 blob_size;
  int ingest_fd;
  int read_fd, write_fd;
  GThread *thread;

  GMutex lock;
  GCond cond;
  guint64 available;
  gboolean stop;
};

/* Waits for more than @sent bytes. Returns: how many there are; @sent if no more will come. */
static guint64
wait_for_more (Follow *self, guint64 sent)
{
  guint64 available;

  g_mutex_lock (&self->lock);
  while (self->available == sent && !self->stop)
    g_cond_wait (&self->cond, &self->lock);
  available = self->stop ? sent : self->available;
  g_mutex_unlock (&self->lock);
  return available;
}

/* Passes on what is there. Returns: FALSE if nobody reads any more, or the ingest was cut. */
static gboolean
pass_on (Follow *self, guint64 *sent, guint64 available)
{
  while (*sent < available)
    {
      off_t offset = (off_t)*sent;
      ssize_t n = sendfile (self->write_fd, self->ingest_fd, &offset, (size_t)MIN (available - *sent, CHUNK));

      if (n < 0 && errno == EINTR)
        continue;
      if (n <= 0)
        return FALSE;
      *sent += (guint64)n;
    }
  return TRUE;
}

static gpointer
follow_main (gpointer data)
{
  Follow *self = data;
  guint64 sent = 0, available;

  while (sent < self->blob_size && (available = wait_for_more (self, sent)) > sent
         && pass_on (self, &sent, available))
    ;
  gantry_fd_clear (&self->write_fd);
  return NULL;
}

static gboolean
open_blob (GantryContent *content, const char *digest, int *ret_fd, guint64 *ret_size,
           GCancellable *cancellable, GError **error)
{
  Follow *self = (Follow *)content;

  if (self->read_fd < 0)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                         "blob %s, which is still to come, can be read only once", digest);
  *ret_fd = gantry_fd_steal (&self->read_fd);
  if (ret_size != NULL)
    *ret_size = self->blob_size;
  return TRUE;
}

static const GantryContentVtable vtable = {
  .size = sizeof vtable,
  .open_blob = open_blob,
};

Follow *
follow_new (int ingest_fd, guint64 blob_size, GError **error)
{
  Follow *self = g_new0 (Follow, 1);
  int fds[2];

  *self = (Follow){
    .content.vtable = &vtable, .blob_size = blob_size, .ingest_fd = ingest_fd, .read_fd = -1, .write_fd = -1
  };
  g_mutex_init (&self->lock);
  g_cond_init (&self->cond);
  if (pipe2 (fds, O_CLOEXEC) < 0)
    {
      gantry_throw_errno (error, errno, "making a pipe for a layer");
      follow_free (self);
      return NULL;
    }
  self->read_fd = fds[0];
  self->write_fd = fds[1];
  /* Only how often the two ends wait for each other depends on it. */
  fcntl (self->write_fd, F_SETPIPE_SZ, PIPE_SIZE);
  self->thread = g_thread_new ("follow", follow_main, self);
  return self;
}

GantryContent *
follow_get_content (Follow *self)
{
  return &self->content;
}

void
follow_grew (Follow *self, guint64 available)
{
  g_mutex_lock (&self->lock);
  self->available = MIN (available, self->blob_size);
  g_cond_signal (&self->cond);
  g_mutex_unlock (&self->lock);
}

void
follow_free (Follow *self)
{
  if (self == NULL)
    return;
  g_mutex_lock (&self->lock);
  self->stop = TRUE;
  g_cond_signal (&self->cond);
  g_mutex_unlock (&self->lock);
  gantry_fd_clear (&self->read_fd);
  g_clear_pointer (&self->thread, g_thread_join);
  gantry_fd_clear (&self->write_fd);
  gantry_fd_clear (&self->ingest_fd);
  g_mutex_clear (&self->lock);
  g_cond_clear (&self->cond);
  g_free (self);
}
