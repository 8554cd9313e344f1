/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Where containerd's clients look for the shim of a container: the socket /run/containerd/s/<SHA-256 of
 * "<address of the daemon>/<namespace>/<id>">, by which "ctr shim" asks it without the daemon (containerd
 * 1.6, runtime/v2/shim, SocketAddress). Ours are symbolic links to the shims' own sockets, so that nothing
 * else is theirs. Each is made after its bundle and removed before it: what a kill leaves is found by the
 * bundle. The address is part of the name, so neither another daemon's links nor containerd's sockets are
 * met; what is no link is left alone. */
#include "shim-runtime.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include <fdio.h>

#define DIRECTORY "/run/containerd"

/* The directory of the sockets, made if @make. Returns: an fd, or -1: without it no client looks for any. */
static int
open_sockets (gboolean make)
{
  if (make)
    {
      mkdir (DIRECTORY, 0711);
      mkdir (DIRECTORY "/s", 0700);
    }
  return open (DIRECTORY "/s", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static char *
link_name (Task *self, const char *address)
{
  g_autofree char *path = g_build_filename (address, self->ns, self->id, NULL);

  return g_compute_checksum_for_string (G_CHECKSUM_SHA256, path, -1);
}

static gboolean
is_link (int dir_fd, const char *name)
{
  struct stat st;

  return fstatat (dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK (st.st_mode);
}

void
task_link_for_clients (Task *self, const char *socket)
{
  char *const *addresses = self->runtime->client_addresses;
  gantry_autofd int dir_fd = open_sockets (TRUE);

  for (; dir_fd >= 0 && *addresses != NULL; addresses++)
    {
      g_autofree char *name = link_name (self, *addresses);

      if (is_link (dir_fd, name))
        unlinkat (dir_fd, name, 0);
      if (symlinkat (socket, dir_fd, name) < 0)
        gantry_host_log (self->runtime->host, GANTRY_LOG_DEBUG,
                         "\"ctr shim\" will not find container %s: %s/s/%s: %s", self->id, DIRECTORY, name,
                         g_strerror (errno));
    }
}

void
task_unlink_for_clients (Task *self)
{
  char *const *addresses = self->runtime->client_addresses;
  gantry_autofd int dir_fd = open_sockets (FALSE);

  for (; dir_fd >= 0 && *addresses != NULL; addresses++)
    {
      g_autofree char *name = link_name (self, *addresses);

      if (is_link (dir_fd, name))
        unlinkat (dir_fd, name, 0);
    }
}
