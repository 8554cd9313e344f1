/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * HTTP/2 and gRPC input: what a client sends, to a server with a method of every shape. The first byte says
 * how the rest is cut into writes; a preface and SETTINGS go before it unless its highest bit is set.
 */
#include <stdint.h>

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "grpc-server.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static GBytes *
echo (GrpcCall *call, GBytes *request, gpointer data, GError **error)
{
  return g_bytes_ref (request);
}

static void
answer (GrpcCall *call, GBytes *request, gpointer data)
{
  grpc_call_reply (call, request);
}

static void
both_message (GrpcCall *call, GBytes *message, gpointer data)
{
  if (grpc_call_send (call, message, NULL))
    grpc_call_request (call, 1);
}

static void
both_end (GrpcCall *call, gpointer data)
{
  grpc_call_finish (call, NULL);
}

static const GrpcCallHandlers handlers = { .on_message = both_message, .on_end = both_end };

static void
both (GrpcCall *call, gpointer data)
{
  grpc_call_set_handlers (call, &handlers, NULL, NULL);
  grpc_call_request (call, 1);
}

static const GrpcMethod methods[] = { { .name = "U", .unary = echo, .flags = GRPC_METHOD_QUICK },
                                      { .name = "W", .unary = echo },
                                      { .name = "S", .start = answer },
                                      { .name = "B", .open = both } };

static GrpcServer *server;
static struct sockaddr_un address = { .sun_family = AF_UNIX };

static void
start (void)
{
  g_autoptr (GError) error = NULL;
  GrpcServerSettings settings = { .max_message = 100000, .max_buffered = 1000000 };

  g_snprintf (address.sun_path, sizeof address.sun_path, "/tmp/gantry-fuzz-grpc.%d", (int)getpid ());
  server = grpc_server_new (&settings);
  if (!grpc_server_add_service (server, "t", methods, G_N_ELEMENTS (methods), NULL, NULL, &error)
      || !grpc_server_listen_unix (server, address.sun_path, 0600, (gid_t)-1, &error)
      || !grpc_server_start (server, &error))
    g_error ("%s", error->message);
}

/* What the server says is not looked at, but taken, so that it can go on. */
static void
send_all (int fd, const void *data, size_t size)
{
  const char *at = data;
  char sink[4096];

  while (size > 0)
    {
      struct pollfd poller = { fd, POLLIN | POLLOUT, 0 };
      ssize_t n;

      poll (&poller, 1, -1);
      if ((poller.revents & POLLIN) != 0 && recv (fd, sink, sizeof sink, MSG_DONTWAIT) == 0)
        return;
      n = send (fd, at, size, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n < 0 && errno != EAGAIN)
        return;
      at += MAX (n, 0);
      size -= (size_t)MAX (n, 0);
    }
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
  guint connections = 1, calls = 1;
  size_t step;
  int fd;

  if (size == 0)
    return 0;
  if (server == NULL)
    start ();
  fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect (fd, (struct sockaddr *)&address, sizeof address) < 0)
    g_error ("connecting: %s", g_strerror (errno));
  step = (data[0] & 0x7f) != 0 ? (size_t)(data[0] & 0x7f) * 8 : size;
  if ((data[0] & 0x80) == 0)
    send_all (fd, preface, sizeof preface - 1);
  for (size_t at = 1; at < size; at += step)
    send_all (fd, data + at, MIN (step, size - at));
  close (fd);
  /* Nothing is left of it. */
  for (guint i = 0; connections + calls > 0; i++)
    {
      grpc_server_get_counts (server, &connections, &calls, NULL);
      if (connections + calls > 0)
        g_usleep (i < 100 ? 50 : 10000);
    }
  return 0;
}
