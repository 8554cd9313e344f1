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

/* A directory of the layers below: the same one in each layer that has it, topmost first. They are looked for
 * only as far as somebody asks, since most often the topmost layer says it all. */
typedef struct _Node
{
  struct _Node *parent; /* (nullable): of the root */
  char *name;
  GArray *fds;    /* of int: found so far */
  guint next;     /* where to look next: in the parent's directories */
  gboolean ended; /* there are no more */
} Node;

static Node *
node_new (Node *parent, const char *name)
{
  Node *self = g_new0 (Node, 1);

  self->parent = parent;
  self->name = g_strdup (name);
  self->fds = g_array_new (FALSE, FALSE, sizeof (int));
  return self;
}

static void
node_free (gpointer data)
{
  Node *self = data;

  if (self == NULL)
    return;
  for (guint i = 0; i < self->fds->len; i++)
    close (g_array_index (self->fds, int, i));
  g_array_unref (self->fds);
  g_free (self->name);
  g_free (self);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC (Node, node_free)

/* Settling of one layer. */
typedef struct
{
  int root_fd; /* of the layer; borrowed */
  const char *opaque;
  GPtrArray *path; /* of Node: the way from the root to the directory that was settled last */
} Settling;

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
add_directory (Node *root, const char *path, GError **error)
{
  int fd = open (path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

  if (fd < 0 && errno == ENOENT)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "the layer %s is gone", path);
  if (fd < 0)
    return gantry_throw_errno (error, errno, "opening the layer %s", path);
  g_array_append_val (root->fds, fd);
  return TRUE;
}

/* The root directories of all layers of @mounts. */
static Node *
open_layers (GPtrArray *mounts, GError **error)
{
  const GantryMount *mount = only_mount (mounts, error);
  g_autoptr (Node) root = node_new (NULL, "");
  g_auto (GStrv) lowers = NULL;
  const char *upper;

  if (mount == NULL)
    return NULL;
  root->ended = TRUE;
  if (strcmp (mount->type, "bind") == 0)
    return add_directory (root, mount->source, error) ? g_steal_pointer (&root) : NULL;
  upper = get_option (mount, "upperdir=");
  if (upper != NULL && !add_directory (root, upper, error))
    return NULL;
  lowers
      = g_strsplit (get_option (mount, "lowerdir=") != NULL ? get_option (mount, "lowerdir=") : "", ":", -1);
  for (gsize i = 0; lowers[i] != NULL; i++)
    if (!add_directory (root, lowers[i], error))
      return NULL;
  if (root->fds->len > 0)
    return g_steal_pointer (&root);
  gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "an overlay has no directories");
  return NULL;
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

/* Most directories have no attribute at all. */
static gboolean
has_any_xattr (int fd)
{
  return flistxattr (fd, NULL, 0) != 0;
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

/* Looks for @self's name in the directory @dfd of the layer that is next. */
static gboolean
look_in (Node *self, int dfd, const char *opaque, GError **error)
{
  int fd = openat (dfd, self->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

  if (fd >= 0)
    {
      g_array_append_val (self->fds, fd);
      if (!has_any_xattr (fd))
        return TRUE;
      self->ended = has_xattr (fd, opaque);
      return !has_xattr (fd, REDIRECT_XATTR) || throw_other (self->name, error);
    }
  if (errno == ENOENT)
    return TRUE;
  if (errno != ENOTDIR && errno != ELOOP)
    return gantry_throw_errno (error, errno, "opening the directory %s of a layer", self->name);
  self->ended = TRUE;
  /* Below a directory it is hidden; on top it is what the layers show. */
  return self->fds->len > 0 || is_whiteout (dfd, self->name) || throw_other (self->name, error);
}

/* *@ret_fd: (transfer none): the directory in the @index'th of the layers that have it, or -1 if they are
 * fewer. */
static gboolean
node_get (Node *self, guint index, const char *opaque, int *ret_fd, GError **error)
{
  while (index >= self->fds->len && !self->ended)
    {
      int dfd;

      if (!node_get (self->parent, self->next, opaque, &dfd, error))
        return FALSE;
      self->next++;
      if (dfd < 0)
        self->ended = TRUE;
      else if (!look_in (self, dfd, opaque, error))
        return FALSE;
    }
  *ret_fd = index < self->fds->len ? g_array_index (self->fds, int, index) : -1;
  return TRUE;
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

/* Goes to the node of @names, from the one that was settled last. Returns: (transfer none). */
static Node *
go_to (Settling *self, char **names)
{
  guint depth = 0;

  while (names[depth] != NULL && depth + 1 < self->path->len
         && strcmp (((Node *)g_ptr_array_index (self->path, depth + 1))->name, names[depth]) == 0)
    depth++;
  g_ptr_array_set_size (self->path, (gint)depth + 1);
  for (; names[depth] != NULL; depth++)
    g_ptr_array_add (self->path, node_new (g_ptr_array_index (self->path, depth), names[depth]));
  return g_ptr_array_index (self->path, depth);
}

/* Opens the layer's own directory. *@ret_hidden: the layer hides what is below it. Returns: (transfer full):
 * -1 with @error. */
static int
open_own (Settling *self, char **names, gboolean *ret_hidden, GError **error)
{
  int fd = openat (self->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

  *ret_hidden = FALSE;
  for (gsize i = 0; fd >= 0 && names[i] != NULL; i++)
    {
      int child;

      /* A layer that hides what is below a directory hides it below that directory's own, too. */
      *ret_hidden |= has_xattr (fd, self->opaque);
      child = openat (fd, names[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
      close (fd);
      fd = child;
    }
  if (fd < 0)
    gantry_throw_errno (error, errno, "opening an unpacked directory");
  return fd;
}

/* Settles the directory @path, "." for the root. */
static gboolean
settle_one (Settling *self, const char *path, GError **error)
{
  g_auto (GStrv) names = g_strsplit (strcmp (path, ".") == 0 ? "" : path, "/", -1);
  gantry_autofd int fd = -1;
  gboolean hidden;
  int below;

  /* The names come from the worker, which a layer may have taken over. */
  if (g_strv_contains ((const char *const *)names, ".."))
    return gantry_throw (error, GANTRY_ERROR_INTERNAL, "the unpack worker named a directory outside: %s",
                         path);
  fd = open_own (self, names, &hidden, error);
  if (fd < 0 || !node_get (go_to (self, names), 0, self->opaque, &below, error))
    return FALSE;
  return hidden || below < 0 ? drop_whiteouts (fd, path, error) : copy_attributes (below, fd, path, error);
}

static int
compare_paths (gconstpointer a, gconstpointer b)
{
  return strcmp (*(const char *const *)a, *(const char *const *)b);
}

gboolean
differ_archive_settle (GantryDiffer *differ, GantryDescriptor *diff, GPtrArray *below, GPtrArray *mounts,
                       GCancellable *cancellable, GError **error)
{
  const char *text = gantry_labels_lookup (diff->annotations, GANTRY_DIFF_IMPLIED);
  g_auto (GStrv) paths = g_strsplit (text != NULL ? text : "", "\n", -1);
  g_autoptr (GPtrArray) way = g_ptr_array_new_with_free_func (node_free);
  g_autoptr (Node) own = NULL;
  Settling self = { .path = way };
  Node *root;

  if (text == NULL)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "layer %s was not applied to be settled",
                         diff->digest);
  if (text[0] == '\0')
    return TRUE;
  root = open_layers (below, error);
  if (root == NULL)
    return FALSE;
  g_ptr_array_add (way, root);
  own = open_layers (mounts, error);
  if (own == NULL)
    return FALSE;
  /* The topmost of an overlay is its upperdir. */
  self.root_fd = g_array_index (own->fds, int, 0);
  self.opaque = opaque_xattr (below);
  /* Neighbours share most of their way. */
  qsort (paths, g_strv_length (paths), sizeof *paths, compare_paths);
  for (gsize i = 0; paths[i] != NULL; i++)
    if (g_cancellable_set_error_if_cancelled (cancellable, error)
        || (paths[i][0] != '\0' && !settle_one (&self, paths[i], error)))
      return FALSE;
  return TRUE;
}
