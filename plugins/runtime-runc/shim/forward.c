/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Events for a daemon that has an address for them, containerd's way: calls of
 * containerd.services.events.ttrpc.v1.Events/Forward at TTRPC_ADDRESS. One at a time: a daemon may handle
 * calls in any order, and a start that came after its exit would be believed. If nobody is there for a while,
 * what waits is dropped; the daemon learns the state when it is back. */
#include "shim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_EVENTS   1024
#define MAX_ANSWER   65536
#define MAX_ATTEMPTS 20
#define RETRY_MS     250

typedef struct Event Event;
struct Event
{
  Event *next;
  PbBuffer envelope;
};

static Event *first, **last = &first;
static unsigned n_events;
static Watch peer = { .fd = -1 };
static PbBuffer out, in;
static size_t sent;
static uint32_t stream = 1;
static bool waiting; /* for the answer to the first event */
static unsigned attempts;
static int64_t retry_at; /* 0: not at all */

static void
pop (void)
{
  Event *event = first;

  first = event->next;
  if (first == NULL)
    last = &first;
  pb_clear (&event->envelope);
  free (event);
  n_events--;
}

static void
hang_up (void)
{
  if (peer.fd >= 0)
    {
      watch_remove (&peer);
      close (peer.fd);
    }
  peer.fd = -1;
  pb_clear (&out);
  pb_clear (&in);
  sent = 0;
  waiting = false;
  if (first == NULL)
    return;
  if (++attempts < MAX_ATTEMPTS)
    retry_at = now_ns () + (int64_t)RETRY_MS * 1000000;
  else
    while (first != NULL)
      pop ();
}

static bool
flush (void)
{
  while (sent < out.length)
    {
      ssize_t n = send (peer.fd, out.data + sent, out.length - sent, MSG_NOSIGNAL | MSG_DONTWAIT);

      if (n > 0)
        sent += (size_t)n;
      else if (n < 0 && errno == EAGAIN)
        break;
      else if (n < 0 && errno != EINTR)
        return false;
    }
  watch_change (&peer, EPOLLIN | (sent < out.length ? EPOLLOUT : 0));
  return true;
}

static bool
send_first (void)
{
  PbBuffer body = { 0 }, request = { 0 };

  pb_put_bytes (&body, 1, first->envelope.data, first->envelope.length);
  pb_put_string (&request, 1, "containerd.services.events.ttrpc.v1.Events");
  pb_put_string (&request, 2, "Forward");
  pb_put_bytes (&request, 3, body.data, body.length);
  pb_clear (&out);
  sent = 0;
  server_put_frame (&out, stream, TTRPC_REQUEST, &request);
  stream += 2;
  waiting = true;
  pb_clear (&body);
  pb_clear (&request);
  return !out.failed && flush ();
}

/* Takes whole frames off what has come. Returns: whether the answer was among them. */
static bool
take_answer (void)
{
  bool answered = false;
  TtrpcHeader header;

  while (in.length >= TTRPC_HEADER)
    {
      size_t whole;

      ttrpc_header_read (in.data, &header);
      whole = TTRPC_HEADER + (size_t)header.length;
      if (in.length < whole)
        break;
      answered |= header.type == TTRPC_RESPONSE && header.stream == stream - 2;
      memmove (in.data, in.data + whole, in.length - whole);
      in.length -= whole;
    }
  if (in.length == 0)
    pb_clear (&in);
  return answered;
}

static void go_on (void);

static void
on_peer (Watch *watch, uint32_t events)
{
  uint8_t chunk[4096];
  ssize_t n = recv (watch->fd, chunk, sizeof chunk, MSG_DONTWAIT);

  if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR) || in.length > MAX_ANSWER
      || ((events & EPOLLOUT) != 0 && !flush ()))
    {
      hang_up ();
      return;
    }
  if (n > 0)
    pb_append (&in, chunk, (size_t)n);
  if (waiting && take_answer ())
    {
      waiting = false;
      attempts = 0;
      pop ();
      go_on ();
    }
}

static bool
dial (void)
{
  const char *path = getenv ("TTRPC_ADDRESS");
  struct sockaddr_un address = { .sun_family = AF_UNIX };

  if (strncmp (path, "unix://", 7) == 0)
    path += 7;
  if (strlen (path) >= sizeof address.sun_path)
    return false;
  memcpy (address.sun_path, path, strlen (path) + 1);
  peer = (Watch){ socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on_peer, NULL };
  if (peer.fd < 0)
    return false;
  if (connect (peer.fd, (struct sockaddr *)&address, sizeof address) < 0 || !watch_add (&peer, EPOLLIN))
    {
      close (peer.fd);
      peer.fd = -1;
      return false;
    }
  return true;
}

static void
go_on (void)
{
  if (first == NULL || waiting || retry_at != 0)
    return;
  if ((peer.fd < 0 && !dial ()) || !send_first ())
    hang_up ();
}

void
forward_push (PbBuffer *envelope)
{
  const char *address = getenv ("TTRPC_ADDRESS");
  Event *event
      = address != NULL && address[0] != '\0' && n_events < MAX_EVENTS ? malloc (sizeof *event) : NULL;

  if (event == NULL)
    {
      pb_clear (envelope);
      return;
    }
  *event = (Event){ NULL, *envelope };
  *envelope = (PbBuffer){ 0 };
  *last = event;
  last = &event->next;
  n_events++;
  go_on ();
}

bool
forward_busy (void)
{
  return first != NULL;
}

int
forward_timeout (void)
{
  int64_t rest = (retry_at - now_ns ()) / 1000000 + 1;

  return retry_at == 0 ? -1 : rest > 0 ? (int)rest : 0;
}

void
forward_retry (void)
{
  if (retry_at == 0 || now_ns () < retry_at)
    return;
  retry_at = 0;
  attempts = first != NULL ? attempts : 0;
  go_on ();
}
