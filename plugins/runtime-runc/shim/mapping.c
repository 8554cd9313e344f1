/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Root file systems whose files have mapped owners. An overlay can't be mapped as a whole, but its layers can
 * be mapped mounts: the directory that they have in common is mounted, mapped, in the bundle, until the
 * overlay has them. */
#include "mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DETACH   2 /* MNT_DETACH */
#define LOWERDIR "lowerdir="

int umount2 (const char *, int);

static void
lowers_path (const char *bundle, char path[4096])
{
  snprintf (path, 4096, "%s/lower", bundle);
}

/* The length of the directory that all of @lowers, separated by colons, are in; without its final slash. */
static size_t
common_length (const char *lowers)
{
  size_t common = strcspn (lowers, ":");

  for (const char *lower = lowers; *lower != '\0'; lower += strcspn (lower, ":"), lower += *lower == ':')
    {
      size_t length = strcspn (lower, ":"), i = 0;

      while (i < common && i < length && lower[i] == lowers[i])
        i++;
      common = i;
    }
  while (common > 0 && lowers[common] != '/')
    common--;
  return common;
}

/* "lowerdir=" with @at in place of the first @common characters of each directory. Returns: (transfer full)
 * (nullable). */
static char *
moved_lowers (const char *lowers, size_t common, const char *at)
{
  char *option = NULL;
  size_t size = 0;
  FILE *stream = open_memstream (&option, &size);

  if (stream == NULL)
    return NULL;
  fputs (LOWERDIR, stream);
  while (*lowers != '\0')
    {
      size_t length = strcspn (lowers, ":");

      fprintf (stream, "%s%.*s", at, (int)(length - common), lowers + common);
      lowers += length;
      if (*lowers == ':')
        fputc (*lowers++, stream);
    }
  if (fclose (stream) == 0)
    return option;
  free (option);
  return NULL;
}

static bool
mount_mapped (const char *directory, const char *at, int userns)
{
  int fd = idmap_clone (directory, userns, MOUNT_ATTR_RDONLY);
  bool ok = fd >= 0 && (mkdir (at, 0700) == 0 || errno == EEXIST)
            && syscall (SYS_move_mount, fd, "", AT_FDCWD, at, MOVE_MOUNT_F_EMPTY_PATH) == 0;

  if (fd >= 0)
    {
      int saved_errno = errno;

      close (fd);
      errno = saved_errno;
    }
  return ok;
}

static bool
map_lowers (Mount *mount, char **option, const char *bundle)
{
  const char *lowers = *option + strlen (LOWERDIR);
  size_t common = common_length (lowers);
  char at[4096], *directory = common > 0 ? strndup (lowers, common) : strdup ("/"), *moved;
  bool ok;

  lowers_path (bundle, at);
  mount->maps_lowers = true;
  ok = directory != NULL && mount_mapped (directory, at, mount->userns);
  free (directory);
  moved = ok ? moved_lowers (lowers, common, at) : NULL;
  if (moved == NULL)
    return false;
  free (*option);
  *option = moved;
  return true;
}

bool
mapping_begin (Mount *mount, const char *bundle)
{
  if (mount->uids == NULL && mount->gids == NULL)
    return true;
  mount->userns = idmap_open (mount->uids, mount->gids);
  if (mount->userns < 0)
    return false;
  if (strcmp (mount->type, "overlay") != 0)
    return true;
  for (size_t i = 0; i < mount->n_options; i++)
    if (strncmp (mount->options[i], LOWERDIR, strlen (LOWERDIR)) == 0)
      return map_lowers (mount, &mount->options[i], bundle);
  errno = EINVAL;
  return false;
}

void
mapping_end (Mount *mount, const char *bundle)
{
  int saved_errno = errno;
  char at[4096];

  if (mount->userns > 0)
    close (mount->userns);
  mount->userns = 0;
  if (mount->maps_lowers)
    {
      lowers_path (bundle, at);
      umount2 (at, DETACH);
      rmdir (at);
    }
  errno = saved_errno;
}
