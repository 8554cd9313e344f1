/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "unpack-tree.h"

#include <dirent.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "fdio.h"
#include "unpack-common.h"
#include "unpack-copyup.h"
#include "unpack-xattr.h"

#define MAX_LINKS 40 /* the kernel's own limit */

/* An open directory on the way from the root to the current one. */
typedef struct
{
  int fd;
  gsize path_length; /* of the tree's path up to and with this directory */
  gboolean dirty;    /* something was made in it, so its times are off */
  gid_t group;       /* that new files in it get */
} Level;

typedef struct
{
  struct timespec times[2];
} Times;

struct _UnpackTree
{
  int root_fd;
  int lower_fd;
  UnpackFlavor flavor;
  char *opaque_xattr;
  guint64 max_depth;

  GArray *levels;      /* of Level; the first is the root */
  GString *path;       /* of the current directory, as it really is */
  char *asked;         /* the name that led here, which differs from path behind a symlink */
  GHashTable *times;   /* path of a directory -> Times */
  GHashTable *claimed; /* (nullable): inodes made by this layer */
  GHashTable *implied; /* (nullable): borrowed: paths */
};

#define LEVEL(self, i) (&g_array_index ((self)->levels, Level, (i)))
#define TOP(self)      LEVEL (self, (self)->levels->len - 1)

static gboolean
is_empty_dir (int dfd)
{
  int fd = openat (dfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *dir = fd >= 0 ? fdopendir (fd) : NULL;
  struct dirent *entry;
  gboolean empty = dir != NULL;

  while (empty && (entry = readdir (dir)) != NULL)
    empty = strcmp (entry->d_name, ".") == 0 || strcmp (entry->d_name, "..") == 0;
  if (dir != NULL)
    closedir (dir);
  return empty;
}

UnpackTree *
unpack_tree_new (int root_fd, int lower_fd, UnpackFlavor flavor, const char *opaque_xattr, guint64 max_depth)
{
  UnpackTree *self = g_new0 (UnpackTree, 1);
  Level root = { .fd = root_fd };
  struct stat st;

  self->root_fd = root_fd;
  self->lower_fd = lower_fd;
  self->flavor = flavor;
  self->opaque_xattr = g_strdup (opaque_xattr);
  self->max_depth = max_depth;
  self->levels = g_array_new (FALSE, FALSE, sizeof (Level));
  if (fstat (root_fd, &st) == 0 && (st.st_mode & S_ISGID) != 0)
    root.group = st.st_gid;
  g_array_append_val (self->levels, root);
  self->path = g_string_new (NULL);
  self->asked = g_strdup ("");
  self->times = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  /* In an upperdir all there is comes from this layer, and in an empty directory there is nothing to hide. */
  if (flavor == UNPACK_PLAIN && !is_empty_dir (root_fd))
    self->claimed = g_hash_table_new_full (g_int64_hash, g_int64_equal, g_free, NULL);
  return self;
}

void
unpack_tree_note_implied (UnpackTree *self, GHashTable *implied)
{
  self->implied = implied;
}

void
unpack_tree_set_explicit (UnpackTree *self)
{
  if (self->implied != NULL)
    g_hash_table_remove (self->implied, self->path->str);
}

/* The stack of open directories. */

static gboolean
leave (UnpackTree *self, GError **error)
{
  Level *top = TOP (self);
  gboolean is_root = self->levels->len == 1;
  const Times *times;

  g_string_truncate (self->path, top->path_length);
  times = top->dirty ? g_hash_table_lookup (self->times, self->path->str) : NULL;
  if (times != NULL && futimens (top->fd, times->times) < 0)
    return gantry_throw_errno (error, errno, "setting the times of directory %s", self->path->str);
  top->dirty = FALSE;
  if (is_root)
    return TRUE;
  close (top->fd);
  g_array_set_size (self->levels, self->levels->len - 1);
  g_string_truncate (self->path, TOP (self)->path_length);
  return TRUE;
}

static gboolean
leave_to_root (UnpackTree *self, GError **error)
{
  while (self->levels->len > 1)
    if (!leave (self, error))
      return FALSE;
  return TRUE;
}

static gboolean
push (UnpackTree *self, int fd, const char *name, GError **error)
{
  Level level = { .fd = fd };
  struct stat st;

  if (self->levels->len > self->max_depth)
    {
      close (fd);
      return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED,
                           "its directories are nested deeper than %" G_GUINT64_FORMAT, self->max_depth);
    }
  if (fstat (fd, &st) < 0)
    {
      int saved_errno = errno;

      close (fd);
      return gantry_throw_errno (error, saved_errno, "reading the status of directory %s", name);
    }
  level.group = (st.st_mode & S_ISGID) != 0 ? st.st_gid : 0;
  if (self->path->len > 0)
    g_string_append_c (self->path, '/');
  g_string_append (self->path, name);
  level.path_length = self->path->len;
  g_array_append_val (self->levels, level);
  return TRUE;
}

static gboolean
is_prefix (const GString *prefix, const char *path)
{
  return prefix->len == 0
         || (strncmp (prefix->str, path, prefix->len) == 0
             && (path[prefix->len] == '/' || path[prefix->len] == '\0'));
}

/* What is below, where an overlay shows it. */

static gboolean
hides_lower (UnpackTree *self)
{
  for (guint i = 0; i < self->levels->len; i++)
    {
      char value[2];

      if (fgetxattr (LEVEL (self, i)->fd, self->opaque_xattr, value, sizeof value) > 0)
        return TRUE;
    }
  return FALSE;
}

/* Opens @name of the current directory in the lower tree without following it. Returns: an O_PATH fd or -1.
 */
static int
open_in_lower (UnpackTree *self, const char *name)
{
  g_autofree char *path = NULL;

  if (self->lower_fd < 0 || hides_lower (self))
    return -1;
  path = self->path->len > 0 ? g_strconcat (self->path->str, "/", name, NULL) : g_strdup (name);
  return gantry_open_no_links (self->lower_fd, path, O_PATH | O_NOFOLLOW, 0);
}

gboolean
unpack_tree_is_in_lower (UnpackTree *self, const char *name)
{
  gantry_autofd int fd = -1;

  if (self->lower_fd < 0)
    return TRUE;
  fd = open_in_lower (self, name);
  return fd >= 0;
}

gboolean
unpack_tree_copy_up (UnpackTree *self, const char *name, guint64 *room, gboolean *ret_found, GError **error)
{
  gantry_autofd int fd = open_in_lower (self, name);
  g_autofree char *path = NULL;

  *ret_found = fd >= 0;
  if (fd < 0)
    return TRUE;
  path = self->path->len > 0 ? g_strconcat (self->path->str, "/", name, NULL) : g_strdup (name);
  TOP (self)->dirty = TRUE;
  return unpack_copy_up (fd, self->lower_fd, path, TOP (self)->fd, name, room, error);
}

/* Gives the new directory @fd what the one at @lower_fd has, as an overlay's copy-up does. */
static gboolean
copy_up_attributes (UnpackTree *self, int lower_fd, int fd, GError **error)
{
  gantry_autofd int readable = openat (lower_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  struct stat st;
  struct timespec times[2];

  if (readable < 0 || fstat (readable, &st) < 0)
    return gantry_throw_errno (error, errno, "opening the lower directory %s", self->path->str);
  if (fchown (fd, st.st_uid, st.st_gid) < 0 || fchmod (fd, st.st_mode & 07777) < 0)
    return gantry_throw_errno (error, errno, "copying up directory %s", self->path->str);
  if (!unpack_xattr_copy (readable, fd, error))
    return FALSE;
  times[0] = st.st_atim;
  times[1] = st.st_mtim;
  if (!g_hash_table_contains (self->times, self->path->str))
    unpack_tree_set_times (self, times);
  unpack_tree_set_default_group (self, st.st_mode, st.st_gid);
  return TRUE;
}

/* Walking. */

static gboolean
make_child (UnpackTree *self, const char *name, int lower_fd, gboolean opaque, GError **error)
{
  int dfd = TOP (self)->fd;
  int fd;

  if (mkdirat (dfd, name, 0755) < 0)
    return gantry_throw_errno (error, errno, "making directory %s", name);
  TOP (self)->dirty = TRUE;
  if (!unpack_tree_claim (self, dfd, name, error))
    return FALSE;
  fd = openat (dfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0)
    return gantry_throw_errno (error, errno, "opening directory %s", name);
  if (!push (self, fd, name, error))
    return FALSE;
  if (opaque && fsetxattr (fd, self->opaque_xattr, "y", 1, 0) < 0)
    return gantry_throw_errno (error, errno, "marking directory %s opaque", name);
  return lower_fd < 0 || copy_up_attributes (self, lower_fd, fd, error);
}

static char *
read_link (int dfd, const char *name, GError **error)
{
  g_autofree char *target = g_malloc (PATH_MAX + 1);
  ssize_t n = readlinkat (dfd, name, target, PATH_MAX + 1);

  if (n < 0)
    {
      gantry_throw_errno (error, errno, "reading the link %s", name);
      return NULL;
    }
  if (n > PATH_MAX)
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the link %s is too long", name);
      return NULL;
    }
  target[n] = '\0';
  return g_steal_pointer (&target);
}

/* Puts the target of the link @name in front of what is still to be walked. */
static gboolean
follow (UnpackTree *self, int dfd, const char *name, GString *pending, guint *links, GError **error)
{
  g_autofree char *target = NULL;

  if (++*links > MAX_LINKS)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "its directory leads through more than %d links", MAX_LINKS);
  target = read_link (dfd, name, error);
  if (target == NULL)
    return FALSE;
  if (pending->len + strlen (target) > 2 * PATH_MAX)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "its directory's links make a path that is too long");
  g_string_prepend_c (pending, '/');
  g_string_prepend (pending, target);
  return target[0] != '/' || leave_to_root (self, error);
}

/* Makes a directory that the layers below may have: what it has there is not known. */
static gboolean
make_implied (UnpackTree *self, const char *name, GError **error)
{
  if (self->implied == NULL || g_hash_table_size (self->implied) >= UNPACK_MAX_IMPLIED
      || strchr (name, '\n') != NULL || !g_utf8_validate (name, -1, NULL))
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                         "the layer has no entry for its directory %s; unpack it on top of the layers below",
                         name);
  if (!make_child (self, name, -1, FALSE, error))
    return FALSE;
  g_hash_table_add (self->implied, g_strdup (self->path->str));
  return TRUE;
}

/* @name is not in the tree. */
static gboolean
step_missing (UnpackTree *self, const char *name, gboolean create, GString *pending, guint *links,
              GError **error)
{
  gantry_autofd int lower = open_in_lower (self, name);
  struct stat st;

  if (lower >= 0 && fstat (lower, &st) == 0)
    {
      if (S_ISLNK (st.st_mode))
        return follow (self, lower, "", pending, links, error);
      if (!S_ISDIR (st.st_mode))
        return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "%s in its path is not a directory", name);
      if (create)
        return make_child (self, name, lower, FALSE, error);
    }
  if (!create)
    return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "directory %s is not there", name);
  if (self->lower_fd == UNPACK_LOWER_UNKNOWN)
    return make_implied (self, name, error);
  return make_child (self, name, -1, FALSE, error);
}

/* @name is there, but is no directory. */
static gboolean
step_other (UnpackTree *self, const char *name, gboolean create, GString *pending, guint *links,
            GError **error)
{
  int dfd = TOP (self)->fd;
  struct stat st;

  if (fstatat (dfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return gantry_throw_errno (error, errno, "reading the status of %s", name);
  if (S_ISLNK (st.st_mode))
    return follow (self, dfd, name, pending, links, error);
  if (self->flavor == UNPACK_OVERLAY && S_ISCHR (st.st_mode) && st.st_rdev == makedev (0, 0))
    {
      if (!create)
        return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "directory %s is not there", name);
      if (unlinkat (dfd, name, 0) < 0)
        return gantry_throw_errno (error, errno, "replacing the whiteout %s", name);
      return make_child (self, name, -1, TRUE, error);
    }
  return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "%s in its path is not a directory", name);
}

static gboolean
step (UnpackTree *self, const char *name, gboolean create, GString *pending, guint *links, GError **error)
{
  int fd;

  if (strcmp (name, ".") == 0)
    return TRUE;
  if (strcmp (name, "..") == 0)
    return self->levels->len == 1 || leave (self, error);
  fd = gantry_open_beneath (TOP (self)->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
  if (fd >= 0)
    return push (self, fd, name, error);
  if (errno == ENOENT)
    return step_missing (self, name, create, pending, links, error);
  if (errno == ELOOP || errno == ENOTDIR)
    return step_other (self, name, create, pending, links, error);
  return gantry_throw_errno (error, errno, "opening directory %s", name);
}

static gboolean
walk (UnpackTree *self, const char *path, gboolean create, GError **error)
{
  g_autoptr (GString) pending = g_string_new (path);
  guint links = 0;

  for (;;)
    {
      gsize skip = strspn (pending->str, "/");
      gsize length = strcspn (pending->str + skip, "/");
      g_autofree char *name = g_strndup (pending->str + skip, length);

      if (length == 0)
        return TRUE;
      g_string_erase (pending, 0, (gssize)(skip + length));
      if (!step (self, name, create, pending, &links, error))
        return FALSE;
    }
}

static void
set_asked (UnpackTree *self, const char *path)
{
  g_free (self->asked);
  self->asked = g_strdup (path);
}

int
unpack_tree_enter (UnpackTree *self, const char *path, gboolean create, GError **error)
{
  if (strcmp (path, self->asked) == 0)
    {
      TOP (self)->dirty = TRUE;
      return TOP (self)->fd;
    }
  if (strcmp (self->asked, self->path->str) != 0 && !leave_to_root (self, error))
    return -1;
  while (!is_prefix (self->path, path))
    if (!leave (self, error))
      return -1;
  /* Until the walk has ended well, no name but the real one leads here. */
  set_asked (self, self->path->str);
  if (!walk (self, path + self->path->len, create, error))
    {
      set_asked (self, self->path->str);
      return -1;
    }
  set_asked (self, path);
  TOP (self)->dirty = TRUE;
  return TOP (self)->fd;
}

int
unpack_tree_enter_child (UnpackTree *self, const char *name, GError **error)
{
  g_autofree char *asked
      = self->asked[0] != '\0' ? g_strconcat (self->asked, "/", name, NULL) : g_strdup (name);
  int fd = gantry_open_beneath (TOP (self)->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);

  if (fd < 0)
    {
      gantry_throw_errno (error, errno, "opening directory %s", name);
      return -1;
    }
  if (!push (self, fd, name, error))
    return -1;
  set_asked (self, asked);
  return fd;
}

gid_t
unpack_tree_get_default_group (UnpackTree *self)
{
  return TOP (self)->group;
}

void
unpack_tree_set_default_group (UnpackTree *self, mode_t mode, gid_t gid)
{
  TOP (self)->group = (mode & S_ISGID) != 0 ? gid : 0;
}

void
unpack_tree_set_times (UnpackTree *self, const struct timespec times[2])
{
  Times *value = g_new (Times, 1);

  memcpy (value->times, times, sizeof value->times);
  g_hash_table_replace (self->times, g_strdup (self->path->str), value);
  TOP (self)->dirty = TRUE;
}

gboolean
unpack_tree_forget (UnpackTree *self, GError **error)
{
  /* A removed directory's times may be set once more: its fd is open, so nothing else is meant. */
  if (!leave_to_root (self, error))
    return FALSE;
  set_asked (self, "");
  return TRUE;
}

gboolean
unpack_tree_claim (UnpackTree *self, int dfd, const char *name, GError **error)
{
  struct stat st;
  gint64 key;

  if (self->claimed == NULL)
    return TRUE;
  if (fstatat (dfd, name, &st, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) < 0)
    return gantry_throw_errno (error, errno, "reading the status of %s", name);
  key = unpack_inode_key (&st);
  g_hash_table_add (self->claimed, g_memdup2 (&key, sizeof key));
  return TRUE;
}

gboolean
unpack_tree_is_claimed (UnpackTree *self, const struct stat *st)
{
  gint64 key = unpack_inode_key (st);

  return self->claimed == NULL || g_hash_table_contains (self->claimed, &key);
}

gboolean
unpack_tree_finish (UnpackTree *self, GError **error)
{
  return leave_to_root (self, error) && leave (self, error);
}

void
unpack_tree_free (UnpackTree *self)
{
  if (self == NULL)
    return;
  for (guint i = 1; i < self->levels->len; i++)
    close (LEVEL (self, i)->fd);
  g_array_unref (self->levels);
  g_string_free (self->path, TRUE);
  g_free (self->asked);
  g_free (self->opaque_xattr);
  g_hash_table_unref (self->times);
  g_clear_pointer (&self->claimed, g_hash_table_unref);
  g_free (self);
}
