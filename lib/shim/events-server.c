/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Where shims that are not our own send events: a ttrpc server with the one method
 * containerd.services.events.ttrpc.v1.Events/Forward { envelope = 1 } (containerd
 * api/services/ttrpc/events/v1/events.proto). It lives in the reader's context and never blocks it; a peer
 * that breaks the protocol is dropped. */
#include "shim-runtime.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <glib-unix.h>

#include <fdio.h>

#define SOCKET_NAME        "events"
#define CODE_UNIMPLEMENTED 12

typedef struct
{
  ShimRuntime *runtime;
  int fd;
  GByteArray *in;
} Peer;

static void
peer_free (gpointer data)
{
  Peer *peer = data;

  gantry_fd_clear (&peer->fd);
  g_byte_array_unref (peer->in);
  g_free (peer);
}

/* An empty answer, or a status. Small enough that a socket without room for it belongs to nobody who reads.
 */
static gboolean
answer (Peer *peer, guint32 stream, int code)
{
  PbBuffer response = { 0 }, frame = { 0 };
  TtrpcHeader header = { 0, stream, TTRPC_RESPONSE, 0 };
  guint8 bytes[TTRPC_HEADER];
  gsize status;
  gboolean ok;

  if (code == 0)
    pb_put_bytes (&response, 2, "", 0);
  else
    {
      status = pb_begin (&response, 1);
      pb_put_varint (&response, 1, (guint64)code);
      pb_put_string (&response, 2, "only Events/Forward is served here");
      pb_end (&response, status);
    }
  header.length = (guint32)response.length;
  ttrpc_header_write (&header, bytes);
  pb_append (&frame, bytes, sizeof bytes);
  pb_append (&frame, response.data, response.length);
  ok = !frame.failed
       && send (peer->fd, frame.data, frame.length, MSG_NOSIGNAL | MSG_DONTWAIT) == (gssize)frame.length;
  pb_clear (&response);
  pb_clear (&frame);
  return ok;
}

static gboolean
field_is (const PbField *field, const char *text)
{
  return field->length == strlen (text) && memcmp (field->data, text, field->length) == 0;
}

static gboolean
handle_request (Peer *peer, guint32 stream, const guint8 *data, gsize length)
{
  PbReader reader = pb_reader (data, length), payload = pb_reader ("", 0);
  gboolean forward = FALSE;
  PbField field;

  while (pb_next (&reader, &field) > 0)
    if (field.number == 2 && field.wire == 2)
      forward = field_is (&field, "Forward");
    else if (field.number == 3 && field.wire == 2)
      payload = pb_reader (field.data, field.length);
  while (forward && pb_next (&payload, &field) > 0)
    {
      g_auto (ShimEvent) event = { 0 };

      if (field.number == 1 && field.wire == 2
          && shim_event_read (&event, pb_reader (field.data, field.length)))
        shim_runtime_on_event (peer->runtime, &event);
    }
  return answer (peer, stream, forward ? 0 : CODE_UNIMPLEMENTED);
}

static gboolean
handle_frames (Peer *peer)
{
  gsize at = 0;

  while (peer->in->len - at >= TTRPC_HEADER)
    {
      const guint8 *frame = peer->in->data + at;
      TtrpcHeader header;

      ttrpc_header_read (frame, &header);
      if (header.length > TTRPC_MAX_PAYLOAD)
        return FALSE;
      if (peer->in->len - at - TTRPC_HEADER < header.length)
        break;
      if (header.type == TTRPC_REQUEST
          && !handle_request (peer, header.stream, frame + TTRPC_HEADER, header.length))
        return FALSE;
      at += TTRPC_HEADER + header.length;
    }
  if (at > 0)
    g_byte_array_remove_range (peer->in, 0, (guint)at);
  return TRUE;
}

static gboolean
on_peer (int fd, GIOCondition condition, gpointer data)
{
  Peer *peer = data;
  guint8 chunk[4096];
  gssize n = recv (fd, chunk, sizeof chunk, MSG_DONTWAIT);

  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return G_SOURCE_CONTINUE;
  if (n <= 0)
    return G_SOURCE_REMOVE;
  g_byte_array_append (peer->in, chunk, (guint)n);
  return handle_frames (peer);
}

static gboolean
on_connection (int fd, GIOCondition condition, gpointer data)
{
  ShimRuntime *self = data;
  g_autoptr (GSource) source = NULL;
  int client = accept4 (fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  Peer *peer;

  if (client < 0)
    return G_SOURCE_CONTINUE;
  peer = g_new (Peer, 1);
  *peer = (Peer){ self, client, g_byte_array_new () };
  source = g_unix_fd_source_new (client, G_IO_IN | G_IO_HUP | G_IO_ERR);
  g_source_set_callback (source, G_SOURCE_FUNC (on_peer), peer, peer_free);
  g_source_attach (source, self->context);
  return G_SOURCE_CONTINUE;
}

gboolean
events_server_start (ShimRuntime *self, GError **error)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  g_autofree char *path = g_build_filename (self->path, SOCKET_NAME, NULL);
  gantry_autofd int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

  if (strlen (path) >= sizeof address.sun_path)
    return gantry_throw (
        error, GANTRY_ERROR_FAILED_PRECONDITION,
        "shims cannot be told the address %s: it has more than %zu bytes; choose a shorter --state", path,
        sizeof address.sun_path - 1);
  memcpy (address.sun_path, path, strlen (path) + 1);
  unlink (path);
  if (fd < 0 || bind (fd, (struct sockaddr *)&address, sizeof address) < 0 || chmod (path, 0600) < 0
      || listen (fd, SOMAXCONN) < 0)
    return gantry_throw_errno (error, errno, "listening on %s", path);
  self->events_address = g_steal_pointer (&path);
  self->events_source = g_unix_fd_source_new (fd, G_IO_IN);
  self->events_fd = gantry_fd_steal (&fd);
  g_source_set_callback (self->events_source, G_SOURCE_FUNC (on_connection), self, NULL);
  g_source_attach (self->events_source, self->context);
  return TRUE;
}

void
events_server_stop (ShimRuntime *self)
{
  if (self->events_source == NULL)
    return;
  g_source_destroy (self->events_source);
  g_source_unref (self->events_source);
  gantry_fd_clear (&self->events_fd);
}
