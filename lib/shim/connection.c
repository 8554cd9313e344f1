/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "connection.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <glib-unix.h>

#include <fdio.h>
#include <gantry/error.h>

#define MAX_FDS 8

typedef struct
{
  ConnectionReplyFunc func;
  gpointer user_data;
} Call;

struct _Connection
{
  gint refs; /* (atomic) */
  int fd;
  GMainContext *context;
  GSource *source;
  ConnectionEventFunc func;
  gpointer user_data;
  GByteArray *in; /* the context's */

  GMutex send_lock;
  GMutex lock;
  GHashTable *calls; /* by stream id; with lock */
  guint32 next_stream;
  gboolean closed;
};

Connection *
connection_ref (Connection *self)
{
  g_atomic_int_inc (&self->refs);
  return self;
}

void
connection_unref (Connection *self)
{
  if (self == NULL || !g_atomic_int_dec_and_test (&self->refs))
    return;
  gantry_fd_clear (&self->fd);
  g_source_unref (self->source);
  g_main_context_unref (self->context);
  g_byte_array_unref (self->in);
  g_hash_table_unref (self->calls);
  g_mutex_clear (&self->send_lock);
  g_mutex_clear (&self->lock);
  g_free (self);
}

/* Takes a call off the table. Returns: FALSE if there is none: its caller has been told already. */
static gboolean
take_call (Connection *self, guint32 stream, Call *ret_call)
{
  Call *call;

  g_mutex_lock (&self->lock);
  call = g_hash_table_lookup (self->calls, GUINT_TO_POINTER (stream));
  if (call != NULL)
    {
      *ret_call = *call;
      g_hash_table_remove (self->calls, GUINT_TO_POINTER (stream));
    }
  g_mutex_unlock (&self->lock);
  return call != NULL;
}

static void
fail_calls (Connection *self)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GList) calls = NULL;

  gantry_throw (&error, GANTRY_ERROR_UNAVAILABLE, "the shim is gone");
  g_mutex_lock (&self->lock);
  self->closed = TRUE;
  calls = g_hash_table_get_values (self->calls);
  g_hash_table_steal_all (self->calls);
  g_mutex_unlock (&self->lock);
  for (GList *at = calls; at != NULL; at = at->next)
    {
      Call *call = at->data;

      call->func (NULL, error, call->user_data);
      g_free (call);
    }
}

/* google.rpc.Status { code = 1, message = 2 } */
static GError *
read_status (const PbField *field)
{
  PbReader reader = pb_reader (field->data, field->length);
  PbField part;
  int code = 2;
  g_autofree char *message = NULL;
  g_autofree char *valid = NULL;

  while (pb_next (&reader, &part) > 0)
    {
      if (part.number == 1 && part.wire == 0)
        code = (int)part.value;
      else if (part.number == 2 && part.wire == 2 && message == NULL)
        message = g_strndup ((const char *)part.data, part.length);
    }
  if (code == 0)
    return NULL;
  valid = g_utf8_make_valid (message != NULL ? message : "the shim gave no reason", -1);
  return g_error_new_literal (GANTRY_ERROR, gantry_error_code_from_grpc (code), valid);
}

static void
on_response (Connection *self, guint32 stream, const guint8 *data, gsize length)
{
  PbReader reader = pb_reader (data, length);
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) reply = NULL;
  PbField field;
  Call call;

  while (pb_next (&reader, &field) > 0)
    {
      if (field.number == 1 && field.wire == 2 && error == NULL)
        error = read_status (&field);
      else if (field.number == 2 && field.wire == 2 && reply == NULL)
        reply = g_bytes_new (field.data, field.length);
    }
  if (reply == NULL)
    reply = g_bytes_new (NULL, 0);
  if (take_call (self, stream, &call))
    call.func (error == NULL ? reply : NULL, error, call.user_data);
}

static void
on_envelope (Connection *self, const guint8 *data, gsize length)
{
  g_auto (ShimEvent) event = { 0 };

  if (shim_event_read (&event, pb_reader (data, length)))
    self->func (self, &event, self->user_data);
}

static gboolean
handle_frames (Connection *self)
{
  gsize at = 0;

  while (self->in->len - at >= TTRPC_HEADER)
    {
      const guint8 *frame = self->in->data + at;
      TtrpcHeader header;

      ttrpc_header_read (frame, &header);
      if (header.length > TTRPC_MAX_PAYLOAD)
        return FALSE;
      if (self->in->len - at - TTRPC_HEADER < header.length)
        break;
      if (header.type == TTRPC_RESPONSE)
        on_response (self, header.stream, frame + TTRPC_HEADER, header.length);
      else if (header.type == TTRPC_DATA)
        on_envelope (self, frame + TTRPC_HEADER, header.length);
      at += TTRPC_HEADER + header.length;
    }
  if (at > 0)
    g_byte_array_remove_range (self->in, 0, (guint)at);
  return TRUE;
}

static gboolean
on_readable (int fd, GIOCondition condition, gpointer data)
{
  Connection *self = data;
  guint8 chunk[16384];
  ssize_t n = recv (fd, chunk, sizeof chunk, MSG_DONTWAIT);

  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return G_SOURCE_CONTINUE;
  if (n > 0)
    {
      g_byte_array_append (self->in, chunk, (guint)n);
      if (handle_frames (self))
        return G_SOURCE_CONTINUE;
    }
  fail_calls (self);
  self->func (self, NULL, self->user_data);
  return G_SOURCE_REMOVE;
}

/* By an fd of the directory: its path may be longer than sun_path. */
static int
connect_to (const char *path, GError **error)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  g_autofree char *directory = g_path_get_dirname (path), *name = g_path_get_basename (path);
  gantry_autofd int dir_fd = open (directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
  gantry_autofd int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

  g_snprintf (address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", dir_fd, name);
  if (dir_fd >= 0 && fd >= 0 && connect (fd, (struct sockaddr *)&address, sizeof address) == 0)
    return gantry_fd_steal (&fd);
  gantry_throw_errno (error, errno, "connecting to the shim at %s", path);
  return -1;
}

Connection *
connection_new (const char *path, GMainContext *context, ConnectionEventFunc func, gpointer user_data,
                GError **error)
{
  gantry_autofd int fd = connect_to (path, error);
  Connection *self;

  if (fd < 0)
    return NULL;
  self = g_new0 (Connection, 1);
  self->refs = 2; /* the source's, too */
  self->fd = gantry_fd_steal (&fd);
  self->context = g_main_context_ref (context);
  self->func = func;
  self->user_data = user_data;
  self->in = g_byte_array_new ();
  self->calls = g_hash_table_new_full (NULL, NULL, NULL, g_free);
  self->next_stream = 1;
  g_mutex_init (&self->send_lock);
  g_mutex_init (&self->lock);
  self->source = g_unix_fd_source_new (self->fd, G_IO_IN | G_IO_HUP | G_IO_ERR);
  g_source_set_callback (self->source, G_SOURCE_FUNC (on_readable), self, (GDestroyNotify)connection_unref);
  g_source_attach (self->source, context);
  return self;
}

void
connection_close (Connection *self)
{
  fail_calls (self);
  /* Ours to destroy even if the peer's end has already ended it: we hold a reference. */
  g_source_destroy (self->source);
  shutdown (self->fd, SHUT_RDWR);
}

/* Sends @frame with @fds beside its first byte. */
static gboolean
send_frame (Connection *self, PbBuffer *frame, GUnixFDList *fds, GError **error)
{
  union
  {
    char space[CMSG_SPACE (sizeof (int) * MAX_FDS)];
    struct cmsghdr align;
  } control = { { 0 } };
  gsize sent = 0;
  int n_fds = 0;
  const int *list = fds != NULL ? g_unix_fd_list_peek_fds (fds, &n_fds) : NULL;

  if (n_fds > MAX_FDS)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "more than %d descriptors", MAX_FDS);
  while (sent < frame->length)
    {
      struct iovec iov = { frame->data + sent, frame->length - sent };
      struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
      ssize_t n;

      if (sent == 0 && n_fds > 0)
        {
          struct cmsghdr *header;

          message.msg_control = &control;
          message.msg_controllen = CMSG_SPACE (sizeof (int) * (gsize)n_fds);
          header = CMSG_FIRSTHDR (&message);
          header->cmsg_level = SOL_SOCKET;
          header->cmsg_type = SCM_RIGHTS;
          header->cmsg_len = CMSG_LEN (sizeof (int) * (gsize)n_fds);
          memcpy (CMSG_DATA (header), list, sizeof (int) * (gsize)n_fds);
        }
      n = sendmsg (self->fd, &message, MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0)
        return gantry_throw (error, GANTRY_ERROR_UNAVAILABLE, "the shim is gone: %s", g_strerror (errno));
      sent += (gsize)n;
    }
  return TRUE;
}

static void
make_frame (PbBuffer *frame, guint32 stream, const char *service, const char *method, PbBuffer *body)
{
  PbBuffer request = { 0 };
  TtrpcHeader header = { 0, stream, TTRPC_REQUEST, 0 };
  guint8 bytes[TTRPC_HEADER];

  pb_put_string (&request, 1, service);
  pb_put_string (&request, 2, method);
  pb_put_bytes (&request, 3, body->data, body->length);
  request.failed |= body->failed;
  header.length = (guint32)request.length;
  ttrpc_header_write (&header, bytes);
  pb_append (frame, bytes, sizeof bytes);
  pb_append (frame, request.data, request.length);
  frame->failed |= request.failed;
  pb_clear (&request);
  pb_clear (body);
}

gboolean
connection_send (Connection *self, const char *service, const char *method, PbBuffer *body, GUnixFDList *fds,
                 ConnectionReplyFunc func, gpointer user_data, GError **error)
{
  PbBuffer frame = { 0 };
  guint32 stream;
  gboolean ok, known;
  Call unused;

  g_mutex_lock (&self->send_lock);
  g_mutex_lock (&self->lock);
  stream = self->next_stream;
  self->next_stream += 2;
  ok = known = !self->closed;
  if (known)
    {
      Call *call = g_new (Call, 1);

      *call = (Call){ func, user_data };
      g_hash_table_insert (self->calls, GUINT_TO_POINTER (stream), call);
    }
  g_mutex_unlock (&self->lock);
  make_frame (&frame, stream, service, method, body);
  if (!ok)
    gantry_throw (error, GANTRY_ERROR_UNAVAILABLE, "the shim is gone");
  else if (frame.failed || frame.length > TTRPC_MAX_PAYLOAD)
    ok = gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "the request %s has more than %d bytes",
                       method, TTRPC_MAX_PAYLOAD);
  else
    ok = send_frame (self, &frame, fds, error);
  g_mutex_unlock (&self->send_lock);
  pb_clear (&frame);
  if (ok || !known || take_call (self, stream, &unused))
    return ok;
  /* The connection broke meanwhile, and the call has been told so. */
  g_clear_error (error);
  return TRUE;
}

/* A call that a thread waits for. Shared with the context that answers: whoever comes last frees it. */
typedef struct
{
  gint refs; /* (atomic) */
  GMutex lock;
  GCond cond;
  gboolean done;
  GBytes *reply;
  GError *error;
} Waiting;

static void
waiting_unref (Waiting *waiting)
{
  if (!g_atomic_int_dec_and_test (&waiting->refs))
    return;
  g_mutex_clear (&waiting->lock);
  g_cond_clear (&waiting->cond);
  g_clear_pointer (&waiting->reply, g_bytes_unref);
  g_clear_error (&waiting->error);
  g_free (waiting);
}

static void
on_waited (GBytes *reply, const GError *error, gpointer user_data)
{
  Waiting *waiting = user_data;

  g_mutex_lock (&waiting->lock);
  waiting->done = TRUE;
  waiting->reply = reply != NULL ? g_bytes_ref (reply) : NULL;
  waiting->error = error != NULL ? g_error_copy (error) : NULL;
  g_cond_signal (&waiting->cond);
  g_mutex_unlock (&waiting->lock);
  waiting_unref (waiting);
}

static void
on_cancelled (GCancellable *cancellable, gpointer data)
{
  Waiting *waiting = data;

  g_mutex_lock (&waiting->lock);
  g_cond_signal (&waiting->cond);
  g_mutex_unlock (&waiting->lock);
}

static gboolean
wait_for (Waiting *waiting, GBytes **ret_reply, GCancellable *cancellable, GError **error)
{
  gulong handler = cancellable != NULL
                       ? g_cancellable_connect (cancellable, G_CALLBACK (on_cancelled), waiting, NULL)
                       : 0;
  gboolean done;

  g_mutex_lock (&waiting->lock);
  while (!waiting->done && !g_cancellable_is_cancelled (cancellable))
    g_cond_wait (&waiting->cond, &waiting->lock);
  done = waiting->done;
  g_mutex_unlock (&waiting->lock);
  if (handler != 0)
    g_cancellable_disconnect (cancellable, handler);
  if (!done)
    return !g_cancellable_set_error_if_cancelled (cancellable, error);
  if (waiting->error != NULL)
    {
      g_propagate_error (error, g_steal_pointer (&waiting->error));
      return FALSE;
    }
  if (ret_reply != NULL)
    *ret_reply = g_steal_pointer (&waiting->reply);
  return TRUE;
}

gboolean
connection_call (Connection *self, const char *service, const char *method, PbBuffer *body, GUnixFDList *fds,
                 GBytes **ret_reply, GCancellable *cancellable, GError **error)
{
  Waiting *waiting = g_new0 (Waiting, 1);
  gboolean ok;

  waiting->refs = 2;
  g_mutex_init (&waiting->lock);
  g_cond_init (&waiting->cond);
  ok = connection_send (self, service, method, body, fds, on_waited, waiting, error);
  if (!ok)
    waiting_unref (waiting); /* on_waited () does not follow */
  else
    ok = wait_for (waiting, ret_reply, cancellable, error);
  waiting_unref (waiting);
  return ok;
}
