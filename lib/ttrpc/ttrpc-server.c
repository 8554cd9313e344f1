/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ttrpc-server.h"

#include <string.h>

#include <glib-unix.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire.h"

#define MAX_CONNECTIONS 1024
#define WORKERS         4
#define READ_SIZE       (64 * 1024)
#define REST_MS         100

typedef struct
{
  TtrpcMethod func;
  gpointer data;
} Method;

struct _TtrpcServer
{
  GMainContext *context;
  guint max_connections;
  GHashTable *methods; /* "service/method" -> Method */
  GThreadPool *workers;
  int fd;
  GSource *listener;
  GHashTable *connections; /* a set of Connection */
};

typedef struct
{
  gint refs; /* atomic */
  TtrpcServer *server;
  int fd; /* -1: closed */
  GSource *source;
  GByteArray *in;
  GByteArray *out;
  gboolean busy; /* a call runs */
  pid_t pid;
  uid_t uid;
} Connection;

/* One call on its way through a worker. */
typedef struct
{
  Connection *connection;
  guint32 stream;
  TtrpcRequest request;
  char *service, *method;
  GBytes *payload;
  GByteArray *frame; /* the answer */
} Call;

static void connection_watch (Connection *self);

/* Answers */

static void
append_frame (GByteArray *out, guint32 stream, GBytes *payload, const GError *error)
{
  PbBuffer body = { 0 };
  TtrpcHeader header = { .stream = stream, .type = TTRPC_RESPONSE };
  guint8 bytes[TTRPC_HEADER];

  if (error != NULL)
    {
      size_t status = pb_begin (&body, 1);

      pb_put_varint (&body, 1, (guint64)gantry_error_code_to_grpc (error->code));
      pb_put_string (&body, 2, error->message);
      pb_end (&body, status);
    }
  else
    pb_put_bytes (&body, 2, g_bytes_get_data (payload, NULL), g_bytes_get_size (payload));
  header.length = (guint32)body.length;
  ttrpc_header_write (&header, bytes);
  g_byte_array_append (out, bytes, sizeof bytes);
  g_byte_array_append (out, body.data, (guint)body.length);
  pb_clear (&body);
}

static void
append_error (GByteArray *out, guint32 stream, GantryErrorCode code, const char *message)
{
  g_autoptr (GError) error = g_error_new_literal (GANTRY_ERROR, (int)code, message);

  append_frame (out, stream, NULL, error);
}

/* Connections */

static void
connection_unref (Connection *self)
{
  if (!g_atomic_int_dec_and_test (&self->refs))
    return;
  g_byte_array_unref (self->in);
  g_byte_array_unref (self->out);
  g_free (self);
}

static void
unwatch (Connection *self)
{
  if (self->source == NULL)
    return;
  g_source_destroy (self->source);
  g_clear_pointer (&self->source, g_source_unref);
}

static void
connection_close (Connection *self)
{
  if (self->fd < 0)
    return;
  unwatch (self);
  close (self->fd);
  self->fd = -1;
  g_hash_table_remove (self->server->connections, self);
}

/* Returns: FALSE: it is closed. */
static gboolean
write_out (Connection *self)
{
  while (self->out->len > 0)
    {
      ssize_t n = send (self->fd, self->out->data, self->out->len, MSG_NOSIGNAL);

      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0 && errno == EAGAIN)
        break;
      if (n <= 0)
        {
          connection_close (self);
          return FALSE;
        }
      g_byte_array_remove_range (self->out, 0, (guint)n);
    }
  return TRUE;
}

/* Requests */

static void
call_free (gpointer data)
{
  Call *self = data;

  g_clear_pointer (&self->request.metadata, g_hash_table_unref);
  g_clear_pointer (&self->payload, g_bytes_unref);
  g_clear_pointer (&self->frame, g_byte_array_unref);
  g_free (self->service);
  g_free (self->method);
  connection_unref (self->connection);
  g_free (self);
}

static char *
take_text (const PbField *field)
{
  return g_strndup ((const char *)field->data, field->length);
}

static gboolean
read_metadata (Call *self, const PbField *pair)
{
  PbReader reader = pb_reader (pair->data, pair->length);
  g_autofree char *key = NULL, *value = NULL;
  PbField field;
  int status;

  while ((status = pb_next (&reader, &field)) > 0)
    if (field.wire == 2 && (field.number == 1 || field.number == 2))
      {
        char **text = field.number == 1 ? &key : &value;

        g_free (*text);
        *text = take_text (&field);
      }
  if (key != NULL && !g_hash_table_contains (self->request.metadata, key))
    {
      g_hash_table_insert (self->request.metadata, key, value != NULL ? value : g_strdup (""));
      key = value = NULL;
    }
  return status == 0;
}

static gboolean
read_request (Call *self, const guint8 *data, gsize length)
{
  PbReader reader = pb_reader (data, length);
  PbField field;
  int status;

  while ((status = pb_next (&reader, &field)) > 0)
    if (field.number == 4 && field.wire == 0 && field.value > 0)
      self->request.deadline
          = g_get_monotonic_time () + (gint64)MIN (field.value / 1000, G_MAXINT32 * (guint64)1000000);
    else if (field.wire == 2 && field.number == 5 && !read_metadata (self, &field))
      return FALSE;
    else if (field.wire == 2 && field.number == 3)
      {
        g_clear_pointer (&self->payload, g_bytes_unref);
        self->payload = g_bytes_new (field.data, field.length);
      }
    else if (field.wire == 2 && (field.number == 1 || field.number == 2))
      {
        char **text = field.number == 1 ? &self->service : &self->method;

        g_free (*text);
        *text = take_text (&field);
      }
  return status == 0 && self->service != NULL && self->method != NULL;
}

static gboolean
finish_call (gpointer data)
{
  Call *self = data;
  Connection *connection = self->connection;

  connection->busy = FALSE;
  if (connection->fd >= 0)
    {
      g_byte_array_append (connection->out, self->frame->data, self->frame->len);
      if (write_out (connection))
        connection_watch (connection);
    }
  return G_SOURCE_REMOVE;
}

static void
run_call (gpointer data, gpointer user_data)
{
  Call *self = data;
  TtrpcServer *server = user_data;
  g_autofree char *name = g_strconcat (self->service, "/", self->method, NULL);
  const Method *method = g_hash_table_lookup (server->methods, name);
  g_autoptr (GBytes) reply = NULL;
  g_autoptr (GError) error = NULL;

  if (method == NULL)
    gantry_throw (&error, GANTRY_ERROR_NOT_IMPLEMENTED, "method %s", name);
  else
    reply = method->func (&self->request, self->payload, method->data, &error);
  if (reply == NULL && error == NULL)
    gantry_throw (&error, GANTRY_ERROR_INTERNAL, "%s gave neither a reply nor an error", name);
  gantry_error_normalize (&error);
  if (reply != NULL && g_bytes_get_size (reply) > TTRPC_MAX_PAYLOAD - 64)
    gantry_throw (&error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "the answer of %s is larger than 4 MiB", name);
  append_frame (self->frame, self->stream, reply, error);
  g_main_context_invoke_full (server->context, G_PRIORITY_DEFAULT, finish_call, self, call_free);
}

/* Begins the call of one request. Returns: FALSE: an answer was queued instead. */
static gboolean
begin_call (Connection *self, const TtrpcHeader *header, const guint8 *data)
{
  Call *call = g_new0 (Call, 1);

  g_atomic_int_inc (&self->refs);
  call->connection = self;
  call->stream = header->stream;
  call->frame = g_byte_array_new ();
  call->request.metadata = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  call->request.deadline = G_MAXINT64;
  call->request.pid = self->pid;
  call->request.uid = self->uid;
  if (!read_request (call, data, header->length))
    append_error (self->out, header->stream, GANTRY_ERROR_INVALID_ARGUMENT, "the request is no message");
  else if (header->stream % 2 == 0)
    append_error (self->out, header->stream, GANTRY_ERROR_INVALID_ARGUMENT, "a client's stream ids are odd");
  else if ((header->flags & TTRPC_REMOTE_OPEN) != 0)
    append_error (self->out, header->stream, GANTRY_ERROR_NOT_IMPLEMENTED, "streams are not served here");
  else
    {
      if (call->payload == NULL)
        call->payload = g_bytes_new (NULL, 0);
      call->request.service = call->service;
      call->request.method = call->method;
      self->busy = TRUE;
      g_thread_pool_push (self->server->workers, call, NULL);
      return TRUE;
    }
  call_free (call);
  return FALSE;
}

/* Takes whole frames from what has come. Returns: FALSE: the connection is closed. */
static gboolean
take_frames (Connection *self)
{
  gsize at = 0;

  while (!self->busy && self->in->len - at >= TTRPC_HEADER)
    {
      TtrpcHeader header;

      ttrpc_header_read (self->in->data + at, &header);
      if (header.length > TTRPC_MAX_PAYLOAD || header.type < TTRPC_REQUEST || header.type > TTRPC_DATA)
        {
          connection_close (self);
          return FALSE;
        }
      if (self->in->len - at - TTRPC_HEADER < header.length)
        break;
      if (header.type == TTRPC_REQUEST)
        begin_call (self, &header, self->in->data + at + TTRPC_HEADER);
      at += TTRPC_HEADER + header.length;
    }
  g_byte_array_remove_range (self->in, 0, (guint)at);
  return TRUE;
}

/* Returns: FALSE: the connection is closed. */
static gboolean
read_in (Connection *self)
{
  guint have = self->in->len;
  ssize_t n;

  g_byte_array_set_size (self->in, have + READ_SIZE);
  n = recv (self->fd, self->in->data + have, READ_SIZE, 0);
  g_byte_array_set_size (self->in, have + (guint)MAX (n, 0));
  if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
    return TRUE;
  connection_close (self);
  return FALSE;
}

static gboolean
on_ready (int fd, GIOCondition condition, gpointer data)
{
  Connection *self = data;
  gboolean open = TRUE;

  g_atomic_int_inc (&self->refs);
  if ((condition & G_IO_OUT) != 0)
    open = write_out (self);
  if (open && (condition & (G_IO_IN | G_IO_HUP | G_IO_ERR)) != 0)
    open = read_in (self);
  if (open)
    connection_watch (self);
  connection_unref (self);
  return G_SOURCE_CONTINUE; /* its source is another by now */
}

/* Goes on with what has come, and watches for what is wanted next. While a call runs nothing is. */
static void
connection_watch (Connection *self)
{
  GIOCondition condition = 0;

  if (!take_frames (self) || !write_out (self))
    return;
  if (!self->busy && self->out->len == 0)
    condition |= G_IO_IN;
  if (self->out->len > 0)
    condition |= G_IO_OUT;
  unwatch (self);
  if (condition == 0)
    return;
  self->source = g_unix_fd_source_new (self->fd, condition);
  g_source_set_callback (self->source, (GSourceFunc)on_ready, self, NULL);
  g_source_attach (self->source, self->server->context);
}

/* The listener */

static void watch_listener (TtrpcServer *self);

static gboolean
end_rest (gpointer data)
{
  watch_listener (data);
  return G_SOURCE_REMOVE;
}

static void
take_connection (TtrpcServer *self, int fd)
{
  Connection *connection;
  struct ucred peer = { 0 };
  socklen_t size = sizeof peer;

  if (g_hash_table_size (self->connections) >= self->max_connections)
    {
      close (fd);
      return;
    }
  connection = g_new0 (Connection, 1);
  connection->refs = 1;
  connection->server = self;
  connection->fd = fd;
  connection->in = g_byte_array_new ();
  connection->out = g_byte_array_new ();
  getsockopt (fd, SOL_SOCKET, SO_PEERCRED, &peer, &size);
  connection->pid = peer.pid;
  connection->uid = peer.uid;
  g_hash_table_add (self->connections, connection);
  connection_watch (connection);
}

static gboolean
on_connection (int listener, GIOCondition condition, gpointer data)
{
  TtrpcServer *self = data;
  int fd = accept4 (listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

  if (fd >= 0)
    take_connection (self, fd);
  else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
    {
      g_warning ("accepting a connection: %s", g_strerror (errno));
      g_source_destroy (self->listener);
      g_source_unref (self->listener);
      self->listener = g_timeout_source_new (REST_MS);
      g_source_set_callback (self->listener, end_rest, self, NULL);
      g_source_attach (self->listener, self->context);
    }
  return G_SOURCE_CONTINUE;
}

static void
watch_listener (TtrpcServer *self)
{
  if (self->listener != NULL)
    {
      g_source_destroy (self->listener);
      g_source_unref (self->listener);
    }
  self->listener = g_unix_fd_source_new (self->fd, G_IO_IN);
  g_source_set_callback (self->listener, (GSourceFunc)on_connection, self, NULL);
  g_source_attach (self->listener, self->context);
}

/* The server */

TtrpcServer *
ttrpc_server_new (GMainContext *context, guint max_connections)
{
  TtrpcServer *self = g_new0 (TtrpcServer, 1);

  self->context = g_main_context_ref (context);
  self->max_connections = max_connections != 0 ? max_connections : MAX_CONNECTIONS;
  self->methods = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  self->workers = g_thread_pool_new (run_call, self, WORKERS, FALSE, NULL);
  self->connections = g_hash_table_new_full (NULL, NULL, (GDestroyNotify)connection_unref, NULL);
  self->fd = -1;
  return self;
}

void
ttrpc_server_add (TtrpcServer *self, const char *service, const char *method, TtrpcMethod func, gpointer data)
{
  Method *entry = g_new (Method, 1);

  *entry = (Method){ func, data };
  g_hash_table_insert (self->methods, g_strconcat (service, "/", method, NULL), entry);
}

void
ttrpc_server_listen (TtrpcServer *self, int fd)
{
  g_return_if_fail (self->fd < 0);
  self->fd = fd;
  watch_listener (self);
}

void
ttrpc_server_free (TtrpcServer *self)
{
  GHashTableIter iter;
  gpointer connection;

  if (self == NULL)
    return;
  if (self->listener != NULL)
    {
      g_source_destroy (self->listener);
      g_source_unref (self->listener);
    }
  if (self->fd >= 0)
    close (self->fd);
  g_thread_pool_free (self->workers, FALSE, TRUE);
  g_hash_table_iter_init (&iter, self->connections);
  while (g_hash_table_iter_next (&iter, &connection, NULL))
    {
      unwatch (connection);
      close (((Connection *)connection)->fd);
      ((Connection *)connection)->fd = -1;
      g_hash_table_iter_remove (&iter);
    }
  g_hash_table_unref (self->connections);
  g_hash_table_unref (self->methods);
  g_main_context_unref (self->context);
  g_free (self);
}
