/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The root file system: mounts given in Create are made at <bundle>/rootfs, by the new mount API, whose
 * options have no page-sized limit (a long lowerdir= of many layers). */
#include "mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Not in every libc's headers. */
#define DETACH   2 /* MNT_DETACH */
#define NOFOLLOW 8 /* UMOUNT_NOFOLLOW */

int mount (const char *, const char *, const char *, unsigned long, const void *);
int umount2 (const char *, int);

/* Options that are attributes of the mount rather than of the file system. */
static const struct
{
  const char *name;
  uint64_t set;
  uint64_t clear;
} attributes[] = {
  { "ro", MOUNT_ATTR_RDONLY, 0 },
  { "rw", 0, MOUNT_ATTR_RDONLY },
  { "nosuid", MOUNT_ATTR_NOSUID, 0 },
  { "suid", 0, MOUNT_ATTR_NOSUID },
  { "nodev", MOUNT_ATTR_NODEV, 0 },
  { "dev", 0, MOUNT_ATTR_NODEV },
  { "noexec", MOUNT_ATTR_NOEXEC, 0 },
  { "exec", 0, MOUNT_ATTR_NOEXEC },
  { "noatime", MOUNT_ATTR_NOATIME, 0 },
  { "relatime", 0, 0 },
  { "bind", 0, 0 },
  { "rbind", 0, 0 },
};

/* The mappings of ids are for whoever mounts, not for the file system. */
static void
add_option (Mount *mount, char *option)
{
  char **mapping = strncmp (option, "uidmap=", 7) == 0   ? &mount->uids
                   : strncmp (option, "gidmap=", 7) == 0 ? &mount->gids
                                                         : NULL;

  if (mapping != NULL)
    {
      free (*mapping);
      *mapping = strdup (option + 7);
    }
  if (mapping == NULL && mount->n_options < MAX_OPTIONS)
    mount->options[mount->n_options++] = option;
  else
    free (option);
}

static bool
read_mount (const PbField *field, Mount *mount)
{
  PbReader reader = pb_reader (field->data, field->length);
  PbField part;
  int more;

  while ((more = pb_next (&reader, &part)) > 0)
    {
      if (part.wire != 2)
        continue;
      if (part.number == 1)
        mount->type = pb_dup (&part);
      else if (part.number == 2)
        mount->source = pb_dup (&part);
      else if (part.number == 3)
        mount->target = pb_dup (&part);
      else if (part.number == 4)
        add_option (mount, pb_dup (&part));
    }
  return more == 0 && mount->type != NULL && mount->source != NULL;
}

static void
clear_mount (Mount *mount)
{
  free (mount->type);
  free (mount->source);
  free (mount->target);
  free (mount->uids);
  free (mount->gids);
  for (size_t i = 0; i < mount->n_options; i++)
    free (mount->options[i]);
}

static bool
find_attribute (const char *option, uint64_t *set, uint64_t *clear)
{
  for (size_t i = 0; i < sizeof attributes / sizeof attributes[0]; i++)
    if (strcmp (attributes[i].name, option) == 0)
      {
        *set |= attributes[i].set;
        *set &= ~attributes[i].clear;
        *clear |= attributes[i].clear;
        return true;
      }
  return false;
}

static bool
is_bind (const Mount *mount)
{
  for (size_t i = 0; i < mount->n_options; i++)
    if (strcmp (mount->options[i], "bind") == 0 || strcmp (mount->options[i], "rbind") == 0)
      return true;
  return strcmp (mount->type, "bind") == 0;
}

static int
clone_bind (const Mount *mount, uint64_t set)
{
  int fd;
  struct mount_attr attr = { .attr_set = set };

  if (mount->userns > 0)
    return idmap_clone (mount->source, mount->userns, set);
  fd = (int)syscall (SYS_open_tree, AT_FDCWD, mount->source,
                     OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
  if (fd >= 0 && set != 0 && syscall (SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attr, sizeof attr) < 0)
    {
      close (fd);
      return -1;
    }
  return fd;
}

#define MAX_FSCONFIG 256

/* overlay's lowerdir may be longer than fsconfig's 256 bytes a value: then the layers are given one by one
 * (kernel 6.5: "lowerdir+"), or, on older kernels, in one page by mount (2). */
static bool
configure (int fs, const char *option)
{
  const char *equals = strchr (option, '=');
  char key[64];

  if (equals == NULL)
    return syscall (SYS_fsconfig, fs, FSCONFIG_SET_FLAG, option, NULL, 0) == 0;
  if ((size_t)(equals - option) >= sizeof key)
    {
      errno = EINVAL;
      return false;
    }
  memcpy (key, option, (size_t)(equals - option));
  key[equals - option] = '\0';
  if (strcmp (key, "lowerdir") == 0 && strlen (equals + 1) >= MAX_FSCONFIG)
    {
      char *copy = strdup (equals + 1), *rest = copy, *layer;
      bool ok = copy != NULL;

      while (ok && (layer = strsep (&rest, ":")) != NULL)
        ok = syscall (SYS_fsconfig, fs, FSCONFIG_SET_STRING, "lowerdir+", layer, 0) == 0;
      free (copy);
      return ok;
    }
  return syscall (SYS_fsconfig, fs, FSCONFIG_SET_STRING, key, equals + 1, 0) == 0;
}

static int
make_filesystem (const Mount *mount, uint64_t set)
{
  int fs = (int)syscall (SYS_fsopen, mount->type, FSOPEN_CLOEXEC);
  uint64_t ignored_set = 0, ignored_clear = 0;
  int fd = -1;
  bool ok = fs >= 0 && syscall (SYS_fsconfig, fs, FSCONFIG_SET_STRING, "source", mount->source, 0) == 0;

  for (size_t i = 0; ok && i < mount->n_options; i++)
    if (!find_attribute (mount->options[i], &ignored_set, &ignored_clear))
      ok = configure (fs, mount->options[i]);
  if (ok && syscall (SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
    fd = (int)syscall (SYS_fsmount, fs, FSMOUNT_CLOEXEC, set);
  if (fs >= 0)
    {
      int saved_errno = errno;

      close (fs);
      errno = saved_errno;
    }
  return fd;
}

static bool
legacy_mount (const Mount *m, const char *target, uint64_t set)
{
  char data[4096];
  size_t n = 0;
  uint64_t ignored_set = 0, ignored_clear = 0;

  data[0] = '\0';
  for (size_t i = 0; i < m->n_options; i++)
    if (!find_attribute (m->options[i], &ignored_set, &ignored_clear))
      {
        int written = snprintf (data + n, sizeof data - n, "%s%s", n > 0 ? "," : "", m->options[i]);

        if (written < 0 || (size_t)written >= sizeof data - n)
          {
            errno = E2BIG;
            return false;
          }
        n += (size_t)written;
      }
  return mount (m->source, target, m->type, (set & MOUNT_ATTR_RDONLY) != 0 ? 1 : 0, data) == 0;
}

/* A target is below what was mounted before, whose links lead nowhere else. Returns: an fd of it, or -1. */
static int
open_target (const char *root, const char *target)
{
  struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT };
  int root_fd = open (root, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), fd, saved_errno;

  if (root_fd < 0 || target == NULL || target[0] == '\0')
    return root_fd;
  fd = (int)syscall (SYS_openat2, root_fd, target, &how, sizeof how);
  saved_errno = errno;
  close (root_fd);
  errno = saved_errno;
  return fd;
}

static bool
attach (const Mount *m, int target)
{
  uint64_t set = 0, clear = 0;
  char path[64];
  bool ok;
  int fd;

  for (size_t i = 0; i < m->n_options; i++)
    find_attribute (m->options[i], &set, &clear);
  fd = is_bind (m) ? clone_bind (m, set) : make_filesystem (m, set);
  if (fd < 0)
    {
      snprintf (path, sizeof path, "/proc/self/fd/%d", target);
      return !is_bind (m) && legacy_mount (m, path, set);
    }
  ok = syscall (SYS_move_mount, fd, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) == 0;
  close (fd);
  return ok;
}

static bool
do_mount (Mount *mount, const Container *container, const char *root, Error *error)
{
  int target = open_target (root, mount->target);
  bool ok = target >= 0 && mapping_begin (mount, container->bundle) && attach (mount, target);

  if (!ok)
    fail_errno (error, "mounting %s of %s at %s%s", mount->type, mount->source, root,
                mount->target != NULL ? mount->target : "");
  mapping_end (mount, container->bundle);
  if (target >= 0)
    close (target);
  return ok;
}

bool
rootfs_mount (Container *container, const PbField *mounts, size_t n_mounts, Error *error)
{
  char target[4096];

  snprintf (target, sizeof target, "%s/rootfs", container->bundle);
  if (mkdir (target, 0711) < 0 && errno != EEXIST)
    return fail_errno (error, "making %s", target);
  for (size_t i = 0; i < n_mounts; i++)
    {
      Mount mount = { 0 };
      bool ok
          = read_mount (&mounts[i], &mount) || fail (error, CODE_INVALID_ARGUMENT, "a mount is malformed");

      ok = ok && do_mount (&mount, container, target, error);
      clear_mount (&mount);
      if (!ok)
        {
          rootfs_unmount (container->bundle);
          return false;
        }
      container->mounted = true;
    }
  return true;
}

void
rootfs_unmount (const char *bundle)
{
  char target[4096];

  snprintf (target, sizeof target, "%s/rootfs", bundle);
  while (umount2 (target, NOFOLLOW | DETACH) == 0)
    ;
  /* What a crash while mounting has left. */
  snprintf (target, sizeof target, "%s/lower", bundle);
  umount2 (target, NOFOLLOW | DETACH);
}
