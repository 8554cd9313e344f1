/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "listener.h"

#include <string.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <gantry/error.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 512

/* Whether the socket file of @address has nobody behind it. */
static gboolean
is_abandoned (const struct sockaddr_un *address)
{
  int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), status;

  if (fd < 0)
    return FALSE;
  status = connect (fd, (const struct sockaddr *)address, sizeof *address) < 0 ? errno : 0;
  close (fd);
  return status == ECONNREFUSED;
}

static gboolean
remove_abandoned (const struct sockaddr_un *address, GError **error)
{
  struct stat st;

  if (lstat (address->sun_path, &st) < 0)
    return errno == ENOENT || gantry_throw_errno (error, errno, "looking at %s", address->sun_path);
  if (!S_ISSOCK (st.st_mode))
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "%s is there and is no socket; remove it",
                         address->sun_path);
  if (!is_abandoned (address))
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "another program listens on %s",
                         address->sun_path);
  if (unlink (address->sun_path) < 0 && errno != ENOENT)
    return gantry_throw_errno (error, errno, "removing the old socket %s", address->sun_path);
  return TRUE;
}

/* Bound without any permission, given to its owner, then opened to others: nobody connects in between. */
static gboolean
bind_unix (int fd, const struct sockaddr_un *address, mode_t mode, gid_t gid, GError **error)
{
  if (fchmod (fd, 0) < 0)
    return gantry_throw_errno (error, errno, "preparing the socket %s", address->sun_path);
  if (bind (fd, (const struct sockaddr *)address, sizeof *address) < 0)
    return gantry_throw_errno (error, errno, "binding %s", address->sun_path);
  if (chown (address->sun_path, (uid_t)-1, gid) < 0 || chmod (address->sun_path, mode) < 0
      || listen (fd, BACKLOG) < 0)
    {
      gantry_throw_errno (error, errno, "setting up the socket %s", address->sun_path);
      unlink (address->sun_path);
      return FALSE;
    }
  return TRUE;
}

int
grpc_listen_unix (const char *path, mode_t mode, gid_t gid, GError **error)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  int fd;

  if (strlen (path) >= sizeof address.sun_path)
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the socket path %s is longer than %zu bytes", path,
                    sizeof address.sun_path - 1);
      return -1;
    }
  g_strlcpy (address.sun_path, path, sizeof address.sun_path);
  if (!remove_abandoned (&address, error))
    return -1;
  fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0)
    {
      gantry_throw_errno (error, errno, "making a socket");
      return -1;
    }
  if (!bind_unix (fd, &address, mode, gid, error))
    {
      close (fd);
      return -1;
    }
  return fd;
}

static gboolean
bind_tcp (int fd, const struct addrinfo *info, guint16 *ret_port, GError **error)
{
  struct sockaddr_storage bound;
  socklen_t size = sizeof bound;
  int yes = 1;

  if (setsockopt (fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) < 0
      || bind (fd, info->ai_addr, info->ai_addrlen) < 0 || listen (fd, BACKLOG) < 0
      || getsockname (fd, (struct sockaddr *)&bound, &size) < 0)
    return gantry_throw_errno (error, errno, "listening");
  if (ret_port != NULL)
    *ret_port = ntohs (bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
                                                   : ((struct sockaddr_in *)&bound)->sin_port);
  return TRUE;
}

int
grpc_listen_tcp (const char *host, guint16 port, guint16 *ret_port, GError **error)
{
  struct addrinfo hints
      = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_PASSIVE };
  struct addrinfo *info = NULL;
  char service[8];
  int fd;

  g_snprintf (service, sizeof service, "%u", port);
  if (getaddrinfo (host, service, &hints, &info) != 0)
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "%s is not an IP address to listen on", host);
      return -1;
    }
  fd = socket (info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0)
    gantry_throw_errno (error, errno, "making a socket");
  else if (!bind_tcp (fd, info, ret_port, error))
    {
      g_prefix_error (error, "%s port %u: ", host, port);
      close (fd);
      fd = -1;
    }
  freeaddrinfo (info);
  return fd;
}
