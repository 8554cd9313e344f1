/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Takes a wait out of a container's start. Whoever moves a process into a cgroup, as the OCI runtime soon
 * will, waits for a grace period of RCU (the writer's side of cgroup_threadgroup_rwsem): 5 to 15 ms on an
 * idle machine. Moves within the next period do not wait again. So this process is moved to where it is while
 * the shim and the OCI runtime are only starting, and theirs come after that wait, not before it. */
#include "shim-runtime.h"

#include <string.h>
#include <unistd.h>

#include <fdio.h>

#define MAX_TEXT 65536

/* "4:memory:/a/b" or "0::/a/b" (cgroups (7), /proc/PID/cgroup). Returns: an fd of the cgroup's cgroup.procs,
 * or -1. */
static int
open_procs (const char *line)
{
  g_auto (GStrv) fields = g_strsplit (line, ":", 3);
  g_autofree char *path = NULL;

  if (g_strv_length (fields) != 3)
    return -1;
  path = g_build_filename ("/sys/fs/cgroup",
                           g_str_has_prefix (fields[1], "name=") ? fields[1] + strlen ("name=") : fields[1],
                           fields[2], "cgroup.procs", NULL);
  return open (path, O_WRONLY | O_CLOEXEC);
}

/* Nothing depends on it: where it fails, the OCI runtime waits. */
static void
move (gpointer data, gpointer user_data)
{
  ShimRuntime *self = data;
  g_autofree char *text = NULL;
  g_auto (GStrv) lines = NULL;
  gantry_autofd int fd = -1;
  gsize length = 0;

  if (g_file_get_contents ("/proc/self/cgroup", &text, &length, NULL) && length < MAX_TEXT)
    lines = g_strsplit (text, "\n", -1);
  for (gsize i = 0; lines != NULL && lines[i] != NULL && fd < 0; i++)
    fd = open_procs (lines[i]);
  if (fd >= 0 && write (fd, "0", 1) < 0)
    gantry_host_log (self->host, GANTRY_LOG_DEBUG, "moving to our own cgroup: %s", g_strerror (errno));
  g_atomic_int_set (&self->moving, 0);
}

void
shim_runtime_expect_move (ShimRuntime *self)
{
  if (g_atomic_int_compare_and_exchange (&self->moving, 0, 1)
      && !gantry_host_submit (self->host, GANTRY_POOL_IO, move, self, NULL, NULL))
    g_atomic_int_set (&self->moving, 0);
}
