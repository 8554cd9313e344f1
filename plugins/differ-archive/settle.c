/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Directories that a layer implies, when the layers below are known: each takes its owner, mode, attributes
 * and times from the topmost layer that has it, as if the layer had been unpacked there. The layers are read
 * as overlayfs reads them, but not mounted.
 *
 * No name is followed: every part of a path is opened by itself and must be a directory. */
#include "differ.h"

#include <dirent.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "fdio.h"
#include "unpack-xattr.h"

#define REDIRECT_XATTR "trusted.overlay.redirect"

/* The same directory in all layers that have it, topmost first; of int. */
typedef GArray Stack;

static void
close_fd (gpointer fd)
{
  gantry_fd_clear (fd);
}

static Stack *
stack_new (void)
{
  Stack *self = g_array_new (FALSE, FALSE, sizeof (int));

  g_array_set_clear_func (self, close_fd);
  return self;
}

static const char *
get_option (const GantryMount *mount, const char *prefix)
{
  for (gsize i = 0; mount->options != NULL && mount->options[i] != NULL; i++)
    if (g_str_has_prefix (mount->options[i], prefix))
      return mount->options[i] + strlen (prefix);
  return NULL;
}

static const GantryMount *
only_mount (GPtrArray *mounts, GError **error)
{
  const GantryMount *mount = mounts->len == 1 ? g_ptr_array_index (mounts, 0) : NULL;

  if (mount == NULL || (mount->target != NULL && mount->target[0] != '\0')
      || (g_strcmp0 (mount->type, "bind") != 0 && g_strcmp0 (mount->type, "overlay") != 0))
    {
      gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                    "only one overlay or bind mount can be read without mounting it");
      return NULL;
    }
  return mount;
}

static gboolean
add_directory (Stack *stack, const char *path, GError **error)
{
  int fd = open (path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

  if (fd < 0)
    return gantry_throw_errno (error, errno, "opening the layer %s", path);
  g_array_append_val (stack, fd);
  return TRUE;
}

/* The root directories of all layers of @mounts. */
static Stack *
open_layers (GPtrArray *mounts, GError **error)
{
  const GantryMount *mount = only_mount (mounts, error);
  g_autoptr (GArray) stack = stack_new ();
  g_auto (GStrv) lowers = NULL;
  const char *upper;

  if (mount == NULL)
    return NULL;
  if (strcmp (mount->type, "bind") == 0)
    return add_directory (stack, mount->source, error) ? g_steal_pointer (&stack) : NULL;
  upper = get_option (mount, "upperdir=");
  if (upper != NULL && !add_directory (stack, upper, error))
    return NULL;
  lowers
      = g_strsplit (get_option (mount, "lowerdir=") != NULL ? get_option (mount, "lowerdir=") : "", ":", -1);
  for (gsize i = 0; lowers[i] != NULL; i++)
    if (!add_directory (stack, lowers[i], error))
      return NULL;
  return g_steal_pointer (&stack);
}

static const char *
opaque_xattr (GPtrArray *mounts)
{
  return get_option (g_ptr_array_index (mounts, 0), "userxattr") != NULL ? "user.overlay.opaque"
                                                                         : "trusted.overlay.opaque";
}

static gboolean
has_xattr (int fd, const char *name)
{
  return fgetxattr (fd, name, NULL, 0) > 0;
}

static gboolean
is_whiteout (int dfd, const char *name)
{
  struct stat st;

  return fstatat (dfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISCHR (st.st_mode)
         && st.st_rdev == makedev (0, 0);
}

static gboolean
throw_other (const char *name, GError **error)
{
  return gantry_throw (
      error, GANTRY_ERROR_FAILED_PRECONDITION,
      "the layer has no entry for its directory %s, which is something else below; unpack it on top of "
      "the layers below",
      name);
}

/* What the directory @name of @stack is made of; empty if the layers below do not show it. */
static Stack *
descend (Stack *stack, const char *name, const char *opaque, GError **error)
{
  g_autoptr (GArray) next = stack_new ();
  gboolean ended = FALSE;

  for (guint i = 0; i < stack->len && !ended; i++)
    {
      int dfd = g_array_index (stack, int, i);
      int fd = openat (dfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

      if (fd >= 0)
        {
          g_array_append_val (next, fd);
          ended = has_xattr (fd, opaque);
          if (has_xattr (fd, REDIRECT_XATTR))
            {
              throw_other (name, error);
              return NULL;
            }
        }
      else if (errno == ENOTDIR || errno == ELOOP)
        {
          /* Below a directory it is hidden; on top it is what the layers show. */
          if (next->len == 0 && !is_whiteout (dfd, name))
            {
              throw_other (name, error);
              return NULL;
            }
          ended = TRUE;
        }
      else if (errno != ENOENT)
        {
          gantry_throw_errno (error, errno, "opening the directory %s of a layer", name);
          return NULL;
        }
    }
  return g_steal_pointer (&next);
}

static gboolean
copy_attributes (int from, int to, const char *path, GError **error)
{
  struct timespec times[2];
  struct stat st;

  if (fstat (from, &st) < 0 || fchown (to, st.st_uid, st.st_gid) < 0 || fchmod (to, st.st_mode & 07777) < 0)
    return gantry_throw_errno (error, errno, "copying up directory %s", path);
  if (!unpack_xattr_copy (from, to, error))
    return FALSE;
  times[0] = st.st_atim;
  times[1] = st.st_mtim;
  return futimens (to, times) == 0
         || gantry_throw_errno (error, errno, "setting the times of directory %s", path);
}

/* A whiteout in a directory that has nothing below it would show as a name that can't be opened. */
static gboolean
drop_whiteouts (int dfd, const char *path, GError **error)
{
  int fd = openat (dfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *dir = fd >= 0 ? fdopendir (fd) : NULL;
  struct dirent *entry;
  gboolean ok = TRUE;

  if (dir == NULL)
    {
      gantry_fd_clear (&fd);
      return gantry_throw_errno (error, errno, "reading directory %s", path);
    }
  while (ok && (entry = readdir (dir)) != NULL)
    if (entry->d_type == DT_CHR && is_whiteout (dfd, entry->d_name))
      ok = unlinkat (dfd, entry->d_name, 0) == 0
           || gantry_throw_errno (error, errno, "removing the whiteout %s in %s", entry->d_name, path);
  closedir (dir);
  return ok;
}

/* Settles the directory @path, "." for the root. */
static gboolean
settle_one (int root_fd, Stack *layers, const char *opaque, const char *path, GError **error)
{
  gantry_autofd int fd = openat (root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  g_auto (GStrv) names = g_strsplit (strcmp (path, ".") == 0 ? "" : path, "/", -1);
  g_autoptr (GArray) below = g_array_ref (layers);
  gboolean hidden = FALSE;

  for (gsize i = 0; names[i] != NULL; i++)
    {
      GArray *next;
      int child;

      /* A layer that hides what is below a directory hides it below that directory's own, too. */
      hidden |= has_xattr (fd, opaque);
      child = openat (fd, names[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
      if (child < 0)
        return gantry_throw_errno (error, errno, "opening the unpacked directory %s", path);
      gantry_fd_clear (&fd);
      fd = child;
      next = descend (below, names[i], opaque, error);
      if (next == NULL)
        return FALSE;
      g_array_unref (below);
      below = next;
    }
  if (hidden || below->len == 0)
    return drop_whiteouts (fd, path, error);
  return copy_attributes (g_array_index (below, int, 0), fd, path, error);
}

gboolean
differ_archive_settle (GantryDiffer *differ, GantryDescriptor *diff, GPtrArray *below, GPtrArray *mounts,
                       GCancellable *cancellable, GError **error)
{
  const char *text = gantry_labels_lookup (diff->annotations, GANTRY_DIFF_IMPLIED);
  g_auto (GStrv) paths = g_strsplit (text != NULL ? text : "", "\n", -1);
  g_autoptr (GArray) layers = NULL, own = NULL;
  int root_fd;

  if (text == NULL)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "layer %s was not applied to be settled",
                         diff->digest);
  if (text[0] == '\0')
    return TRUE;
  layers = open_layers (below, error);
  own = layers != NULL ? open_layers (mounts, error) : NULL;
  if (own == NULL)
    return FALSE;
  /* The topmost of an overlay is its upperdir. */
  root_fd = g_array_index (own, int, 0);
  for (gsize i = 0; paths[i] != NULL && paths[i][0] != '\0'; i++)
    if (g_cancellable_set_error_if_cancelled (cancellable, error)
        || !settle_one (root_fd, layers, opaque_xattr (below), paths[i], error))
      return FALSE;
  return TRUE;
}
