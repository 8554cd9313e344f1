/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Watches a container's cgroup for processes killed for want of memory: by an eventfd in version 1
 * (memory.oom_control), by a watch of memory.events in version 2. The watch ends with the container. */
#include "shim.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#define MAX_PATH 4096

struct Oom
{
  Watch watch;
  uint64_t kills; /* version 2: told so far */
  char path[];    /* of memory.oom_control or memory.events */
};

static uint64_t
count_kills (const char *path)
{
  char *text = read_file (path, 4096, NULL);
  const char *line = text != NULL ? strstr (text, "oom_kill ") : NULL;
  uint64_t kills = line != NULL ? strtoull (line + strlen ("oom_kill "), NULL, 10) : 0;

  free (text);
  return kills;
}

void
oom_check (Container *container)
{
  Oom *oom = container->oom;
  char scrap[4096];
  uint64_t kills;

  if (oom == NULL || read (oom->watch.fd, scrap, sizeof scrap) <= 0)
    return;
  if (!cgroup_unified ())
    {
      /* The removal of the cgroup signals it, too. */
      if (access (oom->path, F_OK) == 0)
        announce_simple (container, "/tasks/oom", "containerd.events.TaskOOM");
      return;
    }
  kills = count_kills (oom->path);
  if (kills > oom->kills)
    announce_simple (container, "/tasks/oom", "containerd.events.TaskOOM");
  oom->kills = kills;
}

static void
on_oom (Watch *watch, uint32_t events)
{
  (void)events;
  oom_check (watch->data);
}

/* Writes "<eventfd> <fd of memory.oom_control>" into cgroup.event_control. */
static int
watch_v1 (const char *directory, const char *path)
{
  char control_path[MAX_PATH + 32], line[32];
  int event = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK), oom, control;
  bool ok;

  snprintf (control_path, sizeof control_path, "%s/cgroup.event_control", directory);
  oom = open (path, O_RDONLY | O_CLOEXEC);
  control = open (control_path, O_WRONLY | O_CLOEXEC);
  snprintf (line, sizeof line, "%d %d", event, oom);
  ok = event >= 0 && oom >= 0 && control >= 0 && write (control, line, strlen (line)) > 0;
  if (oom >= 0)
    close (oom);
  if (control >= 0)
    close (control);
  if (!ok && event >= 0)
    close (event);
  return ok ? event : -1;
}

static int
watch_v2 (const char *path)
{
  int fd = inotify_init1 (IN_CLOEXEC | IN_NONBLOCK);

  if (fd >= 0 && inotify_add_watch (fd, path, IN_MODIFY) < 0)
    {
      close (fd);
      return -1;
    }
  return fd;
}

void
oom_watch (Container *container)
{
  bool unified = cgroup_unified ();
  char directory[MAX_PATH], path[MAX_PATH + 32];
  Oom *oom;
  int fd;

  if (!cgroup_path (container, "memory", directory, sizeof directory))
    return;
  snprintf (path, sizeof path, "%s/%s", directory, unified ? "memory.events" : "memory.oom_control");
  fd = unified ? watch_v2 (path) : watch_v1 (directory, path);
  oom = fd >= 0 ? malloc (sizeof *oom + strlen (path) + 1) : NULL;
  if (oom == NULL)
    {
      if (fd >= 0)
        close (fd);
      return;
    }
  *oom = (Oom){ { fd, on_oom, container }, unified ? count_kills (path) : 0 };
  memcpy (oom->path, path, strlen (path) + 1);
  container->oom = oom;
  watch_add (&oom->watch, EPOLLIN);
}

void
oom_unwatch (Container *container)
{
  if (container->oom == NULL)
    return;
  watch_remove (&container->oom->watch);
  close (container->oom->watch.fd);
  free (container->oom);
  container->oom = NULL;
}
