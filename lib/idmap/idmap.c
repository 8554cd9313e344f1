/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "idmap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_MAP (IDMAP_MAX_RANGES * 40)

static bool
read_number (const char **text, char end, uint32_t *ret_number)
{
  char *rest;
  unsigned long long number;

  if (**text < '0' || **text > '9')
    return false;
  errno = 0;
  number = strtoull (*text, &rest, 10);
  /* (uid_t) -1 means "none". */
  if (errno != 0 || number >= UINT32_MAX || (end != '\0' && *rest != end))
    return false;
  *ret_number = (uint32_t)number;
  *text = rest + (end != '\0' ? 1 : 0);
  return true;
}

size_t
idmap_parse (const char *text, IdmapRange *ranges)
{
  size_t n = 0;

  while (n < IDMAP_MAX_RANGES)
    {
      IdmapRange *range = &ranges[n];

      if (!read_number (&text, ':', &range->inside) || !read_number (&text, ':', &range->outside)
          || !read_number (&text, '\0', &range->count) || range->count == 0
          || range->count > UINT32_MAX - range->inside || range->count > UINT32_MAX - range->outside)
        return 0;
      n++;
      if (*text == '\0')
        return n;
      if (*text++ != ',')
        return 0;
    }
  return 0;
}

int64_t
idmap_outside (const IdmapRange *ranges, size_t n, uint32_t inside)
{
  for (size_t i = 0; i < n; i++)
    if (inside >= ranges[i].inside && inside - ranges[i].inside < ranges[i].count)
      return (int64_t)ranges[i].outside + (inside - ranges[i].inside);
  return -1;
}

/* The child has a namespace of its own, says so, and waits until the other end of @wait_fd is closed. After
 * fork () in a process of several threads only system calls are made. */
static void
run_child (int ready_fd, int wait_fd)
{
  char c = 0;

  if (unshare (CLONE_NEWUSER) < 0)
    c = (char)errno;
  if (write (ready_fd, &c, 1) == 1 && c == 0)
    while (read (wait_fd, &c, 1) < 0 && errno == EINTR)
      ;
  _exit (0);
}

static bool
write_map (pid_t pid, const char *name, const char *mapping)
{
  IdmapRange ranges[IDMAP_MAX_RANGES];
  size_t n = idmap_parse (mapping, ranges);
  char path[64], *map;
  int length = 0, fd;
  bool ok;

  snprintf (path, sizeof path, "/proc/%d/%s", (int)pid, name);
  map = malloc (MAX_MAP);
  fd = map != NULL ? open (path, O_WRONLY | O_CLOEXEC) : -1;
  for (size_t i = 0; fd >= 0 && i < n; i++)
    length += snprintf (map + length, (size_t)(MAX_MAP - length), "%u %u %u\n", ranges[i].inside,
                        ranges[i].outside, ranges[i].count);
  ok = fd >= 0 && write (fd, map, (size_t)length) == length;
  if (fd >= 0)
    {
      int saved_errno = errno;

      close (fd);
      errno = saved_errno;
    }
  free (map);
  return ok;
}

static int
open_namespace (pid_t pid, int ready_fd, const char *uids, const char *gids)
{
  char path[64], c = 0;
  ssize_t n;

  do
    n = read (ready_fd, &c, 1);
  while (n < 0 && errno == EINTR);
  if (n != 1 || c != 0)
    {
      errno = c != 0 ? c : EIO;
      return -1;
    }
  if (!write_map (pid, "uid_map", uids) || !write_map (pid, "gid_map", gids))
    return -1;
  snprintf (path, sizeof path, "/proc/%d/ns/user", (int)pid);
  return open (path, O_RDONLY | O_CLOEXEC);
}

static bool
are_mappings (const char *uids, const char *gids)
{
  IdmapRange ranges[IDMAP_MAX_RANGES];

  return uids != NULL && gids != NULL && idmap_parse (uids, ranges) > 0 && idmap_parse (gids, ranges) > 0;
}

int
idmap_open (const char *uids, const char *gids)
{
  int ready[2], hold[2], fd, saved_errno;
  pid_t pid;

  if (!are_mappings (uids, gids))
    {
      errno = EINVAL;
      return -1;
    }
  if (pipe2 (ready, O_CLOEXEC) < 0)
    return -1;
  if (pipe2 (hold, O_CLOEXEC) < 0)
    {
      close (ready[0]);
      close (ready[1]);
      return -1;
    }
  pid = fork ();
  if (pid == 0)
    {
      close (hold[1]);
      run_child (ready[1], hold[0]);
    }
  close (ready[1]);
  close (hold[0]);
  fd = pid > 0 ? open_namespace (pid, ready[0], uids, gids) : -1;
  saved_errno = errno;
  close (hold[1]);
  close (ready[0]);
  while (pid > 0 && waitpid (pid, NULL, 0) < 0 && errno == EINTR)
    ;
  errno = saved_errno;
  return fd;
}

int
idmap_clone (const char *path, int userns, uint64_t set)
{
  struct mount_attr attr = { .attr_set = set | MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)userns };
  int fd = (int)syscall (SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

  if (fd >= 0 && syscall (SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attr, sizeof attr) < 0)
    {
      int saved_errno = errno;

      close (fd);
      errno = saved_errno;
      return -1;
    }
  return fd;
}
