/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One datagram to $NOTIFY_SOCKET. libsystemd would do it too, and be a fifteenth of the daemon's memory with
 * the libraries that it needs for the journal. */
#include "notify.h"

#include <errno.h>
#include <glib.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static gboolean
send_datagram (const char *path, const char *text)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  gsize length = strlen (path);
  gboolean ok;
  int fd;

  if ((path[0] != '/' && path[0] != '@') || length >= sizeof address.sun_path)
    {
      errno = EAFNOSUPPORT;
      return FALSE;
    }
  memcpy (address.sun_path, path, length);
  if (path[0] == '@')
    address.sun_path[0] = '\0'; /* of the abstract namespace */
  fd = socket (AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return FALSE;
  ok = sendto (fd, text, strlen (text), MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&address,
               (socklen_t)(offsetof (struct sockaddr_un, sun_path) + length))
       >= 0;
  close (fd);
  return ok;
}

void
notify_manager (const char *state)
{
  const char *path = g_getenv ("NOTIFY_SOCKET");

  if (path != NULL && path[0] != '\0' && !send_datagram (path, state))
    g_warning ("%s could not be told to the service manager at %s: %s", state, path, g_strerror (errno));
}
