/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The ttrpc server: connections, frames, answers, and the streams that get events. A peer that breaks the
 * protocol is dropped. */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_CONNECTIONS 64
#define MAX_BACKLOG     (8 * 1024 * 1024)
#define CHUNK           16384

typedef struct Connection Connection;
struct Connection
{
  Connection *next;
  Watch watch;
  PbBuffer in;
  PbBuffer out;
  size_t sent; /* of out */
  int fds[MAX_FDS];
  int n_fds;
  uint32_t watch_stream; /* gets events, or 0 */
  bool broken;
};

bool shim_shutdown;

static Connection *connections;
static unsigned n_connections;
static Watch listener;

static void
drop_fds (Connection *connection)
{
  for (int i = 0; i < connection->n_fds; i++)
    close (connection->fds[i]);
  connection->n_fds = 0;
}

static void
connection_free (Connection *connection)
{
  for (Connection **at = &connections; *at != NULL; at = &(*at)->next)
    if (*at == connection)
      {
        *at = connection->next;
        break;
      }
  waiters_drop (connection);
  watch_remove (&connection->watch);
  close (connection->watch.fd);
  drop_fds (connection);
  pb_clear (&connection->in);
  pb_clear (&connection->out);
  free (connection);
  n_connections--;
}

static void
connection_flush (Connection *connection)
{
  while (connection->sent < connection->out.length)
    {
      ssize_t n = send (connection->watch.fd, connection->out.data + connection->sent,
                        connection->out.length - connection->sent, MSG_NOSIGNAL | MSG_DONTWAIT);

      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0 && errno == EAGAIN)
        {
          watch_change (&connection->watch, EPOLLIN | EPOLLOUT);
          return;
        }
      if (n < 0)
        {
          connection->broken = true;
          return;
        }
      connection->sent += (size_t)n;
    }
  pb_clear (&connection->out);
  connection->sent = 0;
  watch_change (&connection->watch, EPOLLIN);
}

void
server_put_frame (PbBuffer *out, uint32_t stream, uint8_t type, const PbBuffer *payload)
{
  TtrpcHeader header = { (uint32_t)payload->length, stream, type, 0 };
  uint8_t bytes[TTRPC_HEADER];

  ttrpc_header_write (&header, bytes);
  pb_append (out, bytes, sizeof bytes);
  pb_append (out, payload->data, payload->length);
}

static void
send_frame (Connection *connection, uint32_t stream, uint8_t type, const PbBuffer *payload)
{
  if (connection->out.length - connection->sent > MAX_BACKLOG)
    {
      connection->broken = true;
      return;
    }
  server_put_frame (&connection->out, stream, type, payload);
  if (connection->out.failed)
    connection->broken = true;
  else
    connection_flush (connection);
}

static void
send_response (Connection *connection, uint32_t stream, const PbBuffer *reply, const Error *error)
{
  PbBuffer response = { 0 };

  if (error != NULL)
    {
      size_t status = pb_begin (&response, 1);

      pb_put_varint (&response, 1, (uint64_t)error->code);
      pb_put_string (&response, 2, error->message);
      pb_end (&response, status);
    }
  else
    pb_put_bytes (&response, 2, reply->data, reply->length);
  send_frame (connection, stream, TTRPC_RESPONSE, &response);
  pb_clear (&response);
}

static bool
read_request (PbReader reader, char **service, char **method, PbReader *body)
{
  PbField field;
  int more;

  *body = pb_reader ("", 0);
  while ((more = pb_next (&reader, &field)) > 0)
    {
      if (field.wire != 2)
        continue;
      if (field.number == 1 && *service == NULL)
        *service = pb_dup (&field);
      else if (field.number == 2 && *method == NULL)
        *method = pb_dup (&field);
      else if (field.number == 3)
        *body = pb_reader (field.data, field.length);
    }
  return more == 0 && *service != NULL && *method != NULL;
}

static void
handle_request (Connection *connection, uint32_t stream, const uint8_t *data, size_t length)
{
  Request request = { .connection = connection, .stream = stream };
  char *service = NULL, *method = NULL;
  Error error = { 0 };
  bool ok;

  if (!read_request (pb_reader (data, length), &service, &method, &request.body))
    ok = fail (&error, CODE_INVALID_ARGUMENT, "the request is malformed");
  else
    {
      request.method = method;
      memcpy (request.fds, connection->fds, sizeof request.fds);
      request.n_fds = connection->n_fds;
      ok = service_call (&request, service, &error);
      /* Descriptors that the method has taken are its own now. */
      connection->n_fds = request.n_fds;
    }
  if (!ok || !request.deferred)
    send_response (connection, stream, &request.reply, ok ? NULL : &error);
  if (ok && request.watch)
    connection->watch_stream = stream;
  pb_clear (&request.reply);
  free (service);
  free (method);
}

/* Handles every whole frame that has arrived. */
static void
handle_frames (Connection *connection)
{
  size_t at = 0;

  while (!connection->broken && connection->in.length - at >= TTRPC_HEADER)
    {
      TtrpcHeader header;

      ttrpc_header_read (connection->in.data + at, &header);
      if (header.length > TTRPC_MAX_PAYLOAD)
        {
          connection->broken = true;
          break;
        }
      if (connection->in.length - at - TTRPC_HEADER < header.length)
        break;
      /* Streams other than ours are opened by requests only; data from a client means nothing here. */
      if (header.type == TTRPC_REQUEST)
        handle_request (connection, header.stream, connection->in.data + at + TTRPC_HEADER, header.length);
      at += TTRPC_HEADER + header.length;
    }
  if (at == connection->in.length)
    pb_clear (&connection->in);
  else if (at > 0)
    {
      memmove (connection->in.data, connection->in.data + at, connection->in.length - at);
      connection->in.length -= at;
    }
}

static void
take_fds (Connection *connection, struct msghdr *message)
{
  for (struct cmsghdr *header = CMSG_FIRSTHDR (message); header != NULL;
       header = CMSG_NXTHDR (message, header))
    {
      size_t n = (header->cmsg_len - CMSG_LEN (0)) / sizeof (int);

      if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
        continue;
      drop_fds (connection);
      for (size_t i = 0; i < n; i++)
        {
          int fd;

          memcpy (&fd, CMSG_DATA (header) + i * sizeof fd, sizeof fd);
          if (connection->n_fds < MAX_FDS)
            connection->fds[connection->n_fds++] = fd;
          else
            close (fd);
        }
    }
}

static void
on_readable (Connection *connection)
{
  union
  {
    char space[CMSG_SPACE (sizeof (int) * MAX_FDS)];
    struct cmsghdr align;
  } control;
  uint8_t chunk[CHUNK];
  struct iovec iov = { chunk, sizeof chunk };
  struct msghdr message
      = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
  ssize_t n = recvmsg (connection->watch.fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  if (n <= 0)
    {
      connection->broken = true;
      return;
    }
  take_fds (connection, &message);
  pb_append (&connection->in, chunk, (size_t)n);
  if (connection->in.failed)
    connection->broken = true;
  else
    handle_frames (connection);
}

static void
on_connection (Watch *watch, uint32_t events)
{
  Connection *connection = watch->data;

  if ((events & EPOLLOUT) != 0)
    connection_flush (connection);
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
    on_readable (connection);
  if (connection->broken)
    connection_free (connection);
}

static void
on_listener (Watch *watch, uint32_t events)
{
  int fd = accept4 (watch->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  Connection *connection;

  (void)events;
  if (fd < 0)
    return;
  connection = n_connections < MAX_CONNECTIONS ? calloc (1, sizeof *connection) : NULL;
  if (connection == NULL)
    {
      close (fd);
      return;
    }
  connection->watch = (Watch){ fd, on_connection, connection };
  connection->next = connections;
  connections = connection;
  n_connections++;
  if (!watch_add (&connection->watch, EPOLLIN))
    connection_free (connection);
}

bool
server_start (int fd)
{
  listener = (Watch){ fd, on_listener, NULL };
  return watch_add (&listener, EPOLLIN);
}

void
server_stop_listening (void)
{
  watch_remove (&listener);
  close (listener.fd);
}

bool
server_busy (void)
{
  return connections != NULL;
}

void
server_complete_wait (struct Waiter *waiter, const Process *process)
{
  Connection *connection = waiter->connection;
  PbBuffer reply = { 0 };

  pb_put_varint (&reply, 1, process->status);
  pb_put_timestamp (&reply, 2, process->exited_ns);
  send_response (connection, waiter->stream, &reply, NULL);
  pb_clear (&reply);
}

void
server_announce (const char *topic, const char *type, const PbBuffer *event)
{
  PbBuffer envelope = { 0 };
  size_t any;

  pb_put_timestamp (&envelope, 1, now_ns ());
  pb_put_string (&envelope, 2, shim_namespace);
  pb_put_string (&envelope, 3, topic);
  any = pb_begin (&envelope, 4);
  pb_put_string (&envelope, 1, type);
  pb_put_bytes (&envelope, 2, event->data, event->length);
  pb_end (&envelope, any);
  for (Connection *connection = connections; connection != NULL; connection = connection->next)
    if (connection->watch_stream != 0 && !connection->broken)
      send_frame (connection, connection->watch_stream, TTRPC_DATA, &envelope);
  forward_push (&envelope);
}
