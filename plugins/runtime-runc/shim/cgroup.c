/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Where a container's cgroups are. The kernel says where its init process is (cgroups (7), /proc/PID/cgroup)
 * and where each hierarchy is mounted (proc (5), mountinfo); a machine whose /sys/fs/cgroup is itself of
 * version 2 has no other. */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#define CGROUP2_MAGIC   0x63677270
#define MAX_CGROUP_TEXT 16384
#define MAX_CONTROLLERS 24

static struct
{
  char *controller;
  char *mount;
} hierarchies[MAX_CONTROLLERS];
static size_t n_hierarchies;

bool
cgroup_unified (void)
{
  struct statfs st;

  return statfs ("/sys/fs/cgroup", &st) == 0 && (unsigned long)st.f_type == CGROUP2_MAGIC;
}

/* "a,b": whether @name is one of them. */
static bool
list_has (const char *list, size_t length, const char *name)
{
  size_t n = strlen (name);

  while (length >= n)
    {
      const char *comma = memchr (list, ',', length);
      size_t part = comma != NULL ? (size_t)(comma - list) : length;

      if (part == n && memcmp (list, name, n) == 0)
        return true;
      if (comma == NULL)
        return false;
      list += part + 1;
      length -= part + 1;
    }
  return false;
}

/* One line of mountinfo: "… root mountpoint … - type source superoptions". */
static bool
matches (char *line, const char *controller, char **ret_mount)
{
  char *separator = strstr (line, " - "), *at = line, *mount = NULL, *options;

  if (separator == NULL || strncmp (separator + 3, "cgroup ", 7) != 0)
    return false;
  *separator = '\0';
  options = strrchr (separator + 3, ' ');
  for (int i = 0; i < 5 && at != NULL; i++)
    mount = strsep (&at, " ");
  if (mount == NULL || options == NULL || !list_has (options + 1, strlen (options + 1), controller))
    return false;
  *ret_mount = mount;
  return true;
}

/* The mount point of a version 1 hierarchy; looked for once. */
static const char *
find_mount (const char *controller)
{
  char *line = NULL, *mount = NULL;
  size_t size = 0;
  FILE *file;

  for (size_t i = 0; i < n_hierarchies; i++)
    if (strcmp (hierarchies[i].controller, controller) == 0)
      return hierarchies[i].mount;
  file = fopen ("/proc/self/mountinfo", "re");
  while (file != NULL && mount == NULL && getline (&line, &size, file) > 0)
    {
      line[strcspn (line, "\n")] = '\0';
      if (matches (line, controller, &mount))
        mount = strdup (mount);
    }
  free (line);
  if (file != NULL)
    fclose (file);
  if (mount == NULL || n_hierarchies == MAX_CONTROLLERS)
    return mount;
  hierarchies[n_hierarchies].controller = strdup (controller);
  hierarchies[n_hierarchies].mount = mount;
  return hierarchies[n_hierarchies].controller != NULL ? hierarchies[n_hierarchies++].mount : mount;
}

void
cgroup_note (Container *container)
{
  char path[64];

  free (container->cgroups);
  snprintf (path, sizeof path, "/proc/%d/cgroup", (int)container->init.pid);
  container->cgroups = read_file (path, MAX_CGROUP_TEXT, NULL);
}

/* The container's path in the hierarchy of @controller (NULL: of version 2): "N:controllers:path". */
static bool
find_path (const Container *container, const char *controller, const char **ret_path, size_t *ret_length)
{
  for (const char *line = container->cgroups; line != NULL && *line != '\0';)
    {
      const char *end = strchr (line, '\n'), *list = strchr (line, ':');
      const char *path = list != NULL ? strchr (list + 1, ':') : NULL;

      if (end == NULL)
        end = line + strlen (line);
      if (path == NULL || path > end)
        return false;
      if (controller != NULL ? list_has (list + 1, (size_t)(path - list - 1), controller) : path == list + 1)
        {
          *ret_path = path + 1;
          *ret_length = (size_t)(end - path - 1);
          return true;
        }
      line = *end != '\0' ? end + 1 : end;
    }
  return false;
}

bool
cgroup_path (const Container *container, const char *controller, char *ret_path, size_t size)
{
  bool unified = cgroup_unified ();
  const char *mount = unified ? "/sys/fs/cgroup" : find_mount (controller), *path;
  size_t length;

  /* The root is nobody's own: its numbers would be the machine's. */
  if (mount == NULL || !find_path (container, unified ? NULL : controller, &path, &length) || length <= 1)
    return false;
  return snprintf (ret_path, size, "%s%.*s", mount, (int)length, path) < (int)size;
}

bool
cgroup_join (const char *path, Error *error)
{
  static const char *const v1[]
      = { "cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids" };
  bool unified = cgroup_unified (), joined = false;
  char procs[4096];

  if (path[0] != '/' || strstr (path, "/..") != NULL)
    return fail (error, CODE_INVALID_ARGUMENT, "the shim's cgroup \"%.200s\" is not an absolute path", path);
  for (size_t i = 0; i < (unified ? 1 : sizeof v1 / sizeof v1[0]); i++)
    {
      const char *mount = unified ? "/sys/fs/cgroup" : find_mount (v1[i]);
      int fd;

      if (mount == NULL
          || snprintf (procs, sizeof procs, "%s%s/cgroup.procs", mount, path) >= (int)sizeof procs)
        continue;
      fd = open (procs, O_WRONLY | O_CLOEXEC);
      if (fd < 0)
        continue;
      joined |= write (fd, "0", 1) == 1;
      close (fd);
    }
  return joined || fail (error, CODE_NOT_FOUND, "the shim's cgroup %.200s does not exist", path);
}
