/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "conn.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "session.h"

/* While more control frames than this wait for a peer that does not read, nothing is read from it. */
#define MAX_WAITING_FRAMES 1000

/* Turns of output in a row before others get theirs. */
#define MAX_TURNS 8

#define FINAL_GOAWAY_MS 50

/* What the kernel holds of a local connection's output (it doubles the number): enough for both sides to work
 * at once instead of by turns. */
#define SEND_BUFFER (256 * 1024)

/* From run_flush () alone: its mark keeps what follows from being put off to a later turn. */
static void
free_conn (GrpcConn *self)
{
  GrpcCall *call;
  g_autofree char *reason = g_steal_pointer (&self->broken);

  grpc_loop_clear_timer (self->shared->loop, &self->timer);
  grpc_loop_unwatch (self->shared->loop, &self->watch);
  close (self->watch.fd);
  while ((call = g_queue_peek_head (&self->calls)) != NULL)
    grpc_call_lost (call, reason);
  self->ops->closed (self, reason);
  nghttp2_session_del (self->session);
  if (self->tls != NULL)
    self->tls->ops->session_free (self->tls);
  g_free (self->left);
  grpc_shared_unref (self->shared);
  g_free (self);
}

void
grpc_conn_touch (GrpcConn *self)
{
  if (self->flush_set)
    return;
  self->flush_set = TRUE;
  grpc_loop_defer (self->shared->loop, &self->flush);
}

void
grpc_conn_break (GrpcConn *self, const char *reason)
{
  if (self->broken != NULL)
    return;
  self->broken = g_strdup (reason);
  grpc_conn_touch (self);
}

/* Sockets */

static gssize
read_socket (GrpcConn *self, void *data, gsize length)
{
  return self->tls != NULL ? self->tls->ops->read (self->tls, data, length)
                           : recv (self->watch.fd, data, length, 0);
}

static gssize
write_socket (GrpcConn *self, const void *data, gsize length)
{
  return self->tls != NULL ? self->tls->ops->write (self->tls, data, length)
                           : send (self->watch.fd, data, length, MSG_NOSIGNAL);
}

/* Writes from @data. Returns: how much; what is left is for later. */
static gsize
write_some (GrpcConn *self, const guint8 *data, gsize length)
{
  gsize done = 0;

  while (done < length)
    {
      gssize n = write_socket (self, data + done, length - done);

      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0 && errno == EAGAIN)
        break;
      if (n <= 0)
        {
          grpc_conn_break (self, n < 0 ? g_strerror (errno) : "the peer has closed the connection");
          break;
        }
      done += (gsize)n;
    }
  return done;
}

/* Returns: whether the socket takes more. */
static gboolean
write_left (GrpcConn *self)
{
  gsize n;

  if (self->left == NULL)
    return TRUE;
  n = write_some (self, self->left + self->left_start, self->left_length);
  self->left_start += n;
  self->left_length -= n;
  if (self->left_length > 0)
    return FALSE;
  g_clear_pointer (&self->left, g_free);
  self->left_start = 0;
  return TRUE;
}

/* One turn: as much as the buffer holds. Returns: whether there may be more and the socket takes it. */
static gboolean
write_turn (GrpcConn *self)
{
  const guint8 *data = grpc_loop_get_out (self->shared->loop);
  gsize n;
  int status;

  self->built = 0;
  status = nghttp2_session_send (self->session);
  if (status < 0)
    grpc_conn_break (self, nghttp2_strerror (status));
  if (self->built == 0)
    return FALSE;
  n = write_some (self, data, self->built);
  if (n < self->built)
    {
      self->left_length = self->built - n;
      self->left = g_memdup2 (data + n, self->left_length);
      return FALSE;
    }
  return TRUE;
}

static void
watch_for (GrpcConn *self, gboolean output)
{
  gboolean input
      = self->left == NULL || nghttp2_session_get_outbound_queue_size (self->session) < MAX_WAITING_FRAMES;

  if (self->tls != NULL && self->tls->ops->wants_write (self->tls))
    output = TRUE;
  grpc_loop_rewatch (self->shared->loop, &self->watch, (input ? EPOLLIN : 0u) | (output ? EPOLLOUT : 0u));
}

static gboolean
is_done (GrpcConn *self)
{
  if (self->left != NULL || nghttp2_session_want_write (self->session))
    return FALSE;
  if (self->draining && self->goaway_sent && self->calls.length == 0)
    return TRUE;
  return !nghttp2_session_want_read (self->session);
}

static void
run_flush (GrpcTask *task)
{
  GrpcConn *self = (GrpcConn *)((char *)task - G_STRUCT_OFFSET (GrpcConn, flush));
  gboolean more = FALSE;

  if (self->connecting && self->broken == NULL)
    {
      self->flush_set = FALSE;
      return;
    }
  /* The mark stays for so long: whatever is touched here is done here. */
  if (self->broken == NULL && write_left (self))
    {
      more = TRUE;
      for (guint turn = 0; more && turn < MAX_TURNS; turn++)
        more = write_turn (self);
    }
  if (self->broken == NULL && is_done (self))
    grpc_conn_break (self, "the connection was closed");
  if (self->broken != NULL)
    {
      free_conn (self);
      return;
    }
  self->flush_set = FALSE;
  watch_for (self, more || self->left != NULL);
}

void
grpc_conn_close (GrpcConn *self, const char *reason)
{
  if (self->broken == NULL && self->handshaken && !self->connecting)
    {
      nghttp2_session_terminate_session (self->session, NGHTTP2_NO_ERROR);
      if (write_left (self))
        write_turn (self);
    }
  grpc_conn_break (self, reason);
}

static void
read_input (GrpcConn *self)
{
  guint8 *data = grpc_loop_get_in (self->shared->loop);
  gssize n;

  do
    {
      n = read_socket (self, data, GRPC_TURN);
      if (n > 0)
        grpc_session_receive (self, data, (gsize)n);
    }
  while (n > 0 && self->broken == NULL && self->tls != NULL && self->tls->ops->has_pending (self->tls));
  if (n == 0)
    grpc_conn_break (self, "the peer has closed the connection");
  else if (n < 0 && errno != EAGAIN && errno != EINTR)
    grpc_conn_break (self, g_strerror (errno));
}

static void
end_connecting (GrpcConn *self)
{
  int status = 0;
  socklen_t size = sizeof status;

  getsockopt (self->watch.fd, SOL_SOCKET, SO_ERROR, &status, &size);
  if (status != 0)
    {
      grpc_conn_break (self, g_strerror (status));
      return;
    }
  self->connecting = FALSE;
  grpc_conn_touch (self);
  self->ops->ready (self);
}

static void
on_ready (GrpcWatch *watch, guint32 events)
{
  GrpcConn *self = (GrpcConn *)((char *)watch - G_STRUCT_OFFSET (GrpcConn, watch));

  if (self->connecting)
    {
      end_connecting (self);
      return;
    }
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
    read_input (self);
  grpc_conn_touch (self);
}

/* Timers */

static void
set_keepalive (GrpcConn *self, guint ms)
{
  if (self->shared->keepalive_ms > 0)
    grpc_loop_set_timer (self->shared->loop, &self->timer,
                         grpc_loop_now (self->shared->loop) + (gint64)ms * 1000);
}

static void
keep_alive (GrpcConn *self)
{
  gint64 now = grpc_loop_now (self->shared->loop), silence = (gint64)self->shared->keepalive_ms * 1000;
  gint64 timeout = (gint64)self->shared->keepalive_timeout_ms * 1000;

  if (self->pinged && now - self->heard >= silence + timeout)
    grpc_conn_break (self, "the peer has given no sign of life");
  else if (self->pinged && now - self->heard >= silence)
    set_keepalive (self, (guint)((self->heard + silence + timeout - now) / 1000) + 1);
  else if (now - self->heard >= silence)
    {
      self->pinged = TRUE;
      nghttp2_submit_ping (self->session, NGHTTP2_FLAG_NONE, NULL);
      grpc_conn_touch (self);
      set_keepalive (self, self->shared->keepalive_timeout_ms);
    }
  else
    {
      self->pinged = FALSE;
      set_keepalive (self, (guint)((self->heard + silence - now) / 1000) + 1);
    }
}

static void
fire_timer (GrpcTimer *timer)
{
  GrpcConn *self = (GrpcConn *)((char *)timer - G_STRUCT_OFFSET (GrpcConn, timer));

  if (!self->handshaken || self->connecting)
    grpc_conn_break (self, self->connecting ? "connecting takes too long"
                                            : "the peer does not begin to speak HTTP/2");
  else if (self->draining)
    {
      nghttp2_submit_goaway (self->session, NGHTTP2_FLAG_NONE,
                             nghttp2_session_get_last_proc_stream_id (self->session), NGHTTP2_NO_ERROR, NULL,
                             0);
      self->goaway_sent = TRUE;
      grpc_conn_touch (self);
    }
  else
    keep_alive (self);
}

void
grpc_conn_handshaken (GrpcConn *self)
{
  if (self->handshaken)
    return;
  self->handshaken = TRUE;
  grpc_loop_clear_timer (self->shared->loop, &self->timer);
  if (self->draining)
    {
      self->draining = FALSE;
      grpc_conn_drain (self);
    }
  else
    set_keepalive (self, self->shared->keepalive_ms);
}

void
grpc_conn_drain (GrpcConn *self)
{
  if (self->draining || self->broken != NULL)
    return;
  self->draining = TRUE;
  if (!self->handshaken || self->connecting)
    {
      grpc_conn_break (self, "the server stops");
      return;
    }
  self->going_away = !self->server;
  if (self->server)
    {
      /* What the client has sent meanwhile is still served: the last stream is named a moment later. */
      nghttp2_submit_shutdown_notice (self->session);
      grpc_loop_set_timer (self->shared->loop, &self->timer,
                           grpc_loop_now (self->shared->loop) + FINAL_GOAWAY_MS * 1000);
    }
  else
    self->goaway_sent = TRUE;
  grpc_conn_touch (self);
}

void
grpc_conn_call_left (GrpcConn *self)
{
  if (self->draining)
    grpc_conn_touch (self);
}

GrpcConn *
grpc_conn_new (GrpcShared *shared, const GrpcConnOps *ops, gpointer owner, int fd, GrpcTlsSession *tls,
               gboolean server, gboolean connecting, guint begin_ms, GError **error)
{
  GrpcConn *self = g_new0 (GrpcConn, 1);
  struct ucred peer;
  socklen_t size = sizeof peer;

  self->shared = grpc_shared_ref (shared);
  self->ops = ops;
  self->owner = owner;
  self->tls = tls;
  self->server = server;
  self->connecting = connecting;
  self->link.data = self;
  self->watch = (GrpcWatch){ fd, EPOLLIN | (connecting ? EPOLLOUT : 0u), on_ready };
  self->flush.run = run_flush;
  self->timer.fire = fire_timer;
  self->heard = grpc_loop_now (shared->loop);
  if (getsockopt (fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid > 0)
    {
      const int buffer = SEND_BUFFER;

      /* Without the privilege the system's limit holds. */
      if (setsockopt (fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof buffer) < 0)
        setsockopt (fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
      self->has_peer = TRUE;
      self->pid = peer.pid;
      self->uid = peer.uid;
      self->gid = peer.gid;
    }
  self->session = grpc_session_new (self);
  if (!grpc_loop_watch (shared->loop, &self->watch, error))
    {
      close (fd);
      nghttp2_session_del (self->session);
      if (tls != NULL)
        tls->ops->session_free (tls);
      grpc_shared_unref (shared);
      g_free (self);
      return NULL;
    }
  grpc_loop_set_timer (shared->loop, &self->timer, self->heard + (gint64)begin_ms * 1000);
  grpc_conn_touch (self);
  return self;
}
