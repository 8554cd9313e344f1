/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What "runc delete" does for a container that has ended, without the time of another program: its state.json
 * names the container's cgroups, which go, and then the directory of its state. Whatever is out of the
 * ordinary is left to runc, which finishes what was begun here: the state goes last. */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_STATE (16 * 1024 * 1024)
#define CGROUPS   "/sys/fs/cgroup/"

/* An empty cgroup goes; one with processes or cgroups in it is left to runc, and so is a path that is none of
 * a cgroup. */
static bool
remove_cgroup (Json value)
{
  char *path = json_string (value);
  bool ok = path != NULL && strncmp (path, CGROUPS, strlen (CGROUPS)) == 0 && strstr (path, "/..") == NULL
            && (rmdir (path) == 0 || errno == ENOENT);

  free (path);
  return ok;
}

static bool
remove_cgroups (Json state)
{
  Json paths, one;
  char *rdt = json_member_string (state, "intel_rdt_path");
  bool ok = (rdt == NULL || rdt[0] == '\0') && json_member (state, "cgroup_paths", &paths);

  free (rdt);
  while (ok && json_next_member (&paths, &one))
    ok = remove_cgroup (one);
  return ok;
}

bool
state_remove (const Container *container)
{
  char directory[4096], path[4096 + 16], *text;
  size_t length;
  Json state;
  bool ok;

  /* runc's own way is needed for hooks, for processes that outlive init, for units of systemd, and for what
   * was never started. */
  if (!container->init.started || container->stop_hooks || container->shares_pids
      || container->options.systemd_cgroup || strcmp (basename (container->options.runtime), "runc") != 0)
    return false;
  snprintf (directory, sizeof directory, "%s/%s", container->options.root, container->id);
  snprintf (path, sizeof path, "%s/state.json", directory);
  text = read_file (path, MAX_STATE, &length);
  ok = text != NULL && json_parse (text, length, &state) && remove_cgroups (state);
  free (text);
  /* A directory without its state is what an aborted start leaves: "runc delete" removes it too. */
  return ok && unlink (path) == 0 && rmdir (directory) == 0;
}
