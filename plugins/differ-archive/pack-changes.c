/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pack-changes.h"

#include <dirent.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "fdio.h"
#include "unpack-xattr.h"

#define COMPARE_SIZE (64 * 1024)

typedef struct
{
  const UnpackLimits *limits;
  GPtrArray *changes;
  GPtrArray *parents; /* paths of unchanged directories on the way here that are not in changes yet */
  GString *path;
  guint depth;
  gboolean unsure;
} Comparison;

static void
change_free (PackChange *change)
{
  g_free (change->path);
  g_free (change);
}

static void
append (Comparison *self, PackChangeKind kind, const char *path)
{
  PackChange *change = g_new0 (PackChange, 1);

  change->kind = kind;
  change->path = g_strdup (path);
  g_ptr_array_add (self->changes, change);
}

/* A change is reported with all the directories that lead to it. */
static gboolean
report (Comparison *self, PackChangeKind kind, GError **error)
{
  for (guint i = 0; i < self->parents->len; i++)
    append (self, PACK_ADD, g_ptr_array_index (self->parents, i));
  g_ptr_array_set_size (self->parents, 0);
  append (self, kind, self->path->str);
  if (self->changes->len > self->limits->max_entries)
    return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED,
                         "the layer would have more than %" G_GUINT64_FORMAT " entries",
                         self->limits->max_entries);
  return TRUE;
}

/* Going down and up. */

static gsize
enter (Comparison *self, const char *name)
{
  gsize length = self->path->len;

  if (length > 0)
    g_string_append_c (self->path, '/');
  g_string_append (self->path, name);
  return length;
}

static void
leave (Comparison *self, gsize length)
{
  g_string_truncate (self->path, length);
}

static int
compare_strings (gconstpointer a, gconstpointer b)
{
  return strcmp (*(const char *const *)a, *(const char *const *)b);
}

/* The names in the directory @dfd, sorted; an empty list for -1. */
static GPtrArray *
list_names (Comparison *self, int dfd, GError **error)
{
  g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);
  struct dirent *entry;
  DIR *dir;
  int fd;

  if (dfd < 0)
    return g_steal_pointer (&names);
  fd = openat (dfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  dir = fd >= 0 ? fdopendir (fd) : NULL;
  if (dir == NULL)
    {
      gantry_throw_errno (error, errno, "reading directory %s", self->path->str);
      gantry_fd_clear (&fd);
      return NULL;
    }
  while ((entry = readdir (dir)) != NULL && names->len <= self->limits->max_entries)
    if (strcmp (entry->d_name, ".") != 0 && strcmp (entry->d_name, "..") != 0)
      g_ptr_array_add (names, g_strdup (entry->d_name));
  closedir (dir);
  g_ptr_array_sort (names, compare_strings);
  return g_steal_pointer (&names);
}

static int
open_dir (Comparison *self, int dfd, const char *name, GError **error)
{
  int fd = -1;

  if (self->depth >= self->limits->max_depth)
    {
      gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "%s is nested deeper than %" G_GUINT64_FORMAT,
                    self->path->str, self->limits->max_depth);
      return -1;
    }
  fd = gantry_open_beneath (dfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
  if (fd < 0)
    gantry_throw_errno (error, errno, "opening directory %s", self->path->str);
  return fd;
}

/* Whether two files are the same. */

static gboolean
same_contents (int lower_dfd, int upper_dfd, const char *name)
{
  gantry_autofd int a = gantry_open_beneath (lower_dfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
  gantry_autofd int b = gantry_open_beneath (upper_dfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
  g_autofree char *a_data = g_malloc (COMPARE_SIZE);
  g_autofree char *b_data = g_malloc (COMPARE_SIZE);
  gint64 offset = 0;

  if (a < 0 || b < 0)
    return FALSE;
  for (;;)
    {
      ssize_t a_length = pread (a, a_data, COMPARE_SIZE, offset);
      ssize_t b_length = pread (b, b_data, COMPARE_SIZE, offset);

      if (a_length < 0 || a_length != b_length || memcmp (a_data, b_data, (gsize)a_length) != 0)
        return FALSE;
      if (a_length == 0)
        return TRUE;
      offset += a_length;
    }
}

static gboolean
same_links (int lower_dfd, int upper_dfd, const char *name)
{
  char a[PATH_MAX], b[PATH_MAX];
  ssize_t a_length = readlinkat (lower_dfd, name, a, sizeof a);
  ssize_t b_length = readlinkat (upper_dfd, name, b, sizeof b);

  return a_length >= 0 && a_length == b_length && memcmp (a, b, (gsize)a_length) == 0;
}

static gboolean
add_attribute (const char *name, const void *value, gsize length, gpointer user_data, GError **error)
{
  GByteArray *all = user_data;

  if (unpack_xattr_is_portable (name))
    {
      g_byte_array_append (all, (const guint8 *)name, (guint)strlen (name) + 1);
      g_byte_array_append (all, (const guint8 *)&length, sizeof length);
      g_byte_array_append (all, value, (guint)length);
    }
  return TRUE;
}

static gboolean
same_attributes (int lower_dfd, int upper_dfd, const char *name, gboolean *ret_same, GError **error)
{
  g_autoptr (GByteArray) a = g_byte_array_new ();
  g_autoptr (GByteArray) b = g_byte_array_new ();

  if (!unpack_xattr_foreach (lower_dfd, name, add_attribute, a, error)
      || !unpack_xattr_foreach (upper_dfd, name, add_attribute, b, error))
    return FALSE;
  *ret_same = a->len == b->len && (a->len == 0 || memcmp (a->data, b->data, a->len) == 0);
  return TRUE;
}

static gboolean
same_status (const struct stat *a, const struct stat *b)
{
  if (a->st_mode != b->st_mode || a->st_uid != b->st_uid || a->st_gid != b->st_gid)
    return FALSE;
  if (S_ISDIR (a->st_mode))
    return TRUE;
  if ((S_ISCHR (a->st_mode) || S_ISBLK (a->st_mode)) && a->st_rdev != b->st_rdev)
    return FALSE;
  return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec
         && (a->st_mtim.tv_nsec == b->st_mtim.tv_nsec || a->st_mtim.tv_nsec == 0 || b->st_mtim.tv_nsec == 0);
}

static gboolean
is_same (int lower_dfd, int upper_dfd, const char *name, const struct stat *lower, const struct stat *upper,
         gboolean *ret_same, GError **error)
{
  *ret_same = FALSE;
  if (!same_status (lower, upper))
    return TRUE;
  if (S_ISLNK (upper->st_mode) && !same_links (lower_dfd, upper_dfd, name))
    return TRUE;
  /* A time without nanoseconds may have come from an archive that has none: then it proves nothing. */
  if (S_ISREG (upper->st_mode) && (lower->st_mtim.tv_nsec == 0 || upper->st_mtim.tv_nsec == 0)
      && !same_contents (lower_dfd, upper_dfd, name))
    return TRUE;
  return same_attributes (lower_dfd, upper_dfd, name, ret_same, error);
}

/* Two trees. */

static gboolean compare_dirs (Comparison *self, int lower_dfd, int upper_dfd, GError **error);

static gboolean
compare_children (Comparison *self, int lower_dfd, int upper_dfd, const char *name, GError **error)
{
  gantry_autofd int lower = -1;
  gantry_autofd int upper = open_dir (self, upper_dfd, name, error);
  gboolean ok;

  if (upper < 0)
    return FALSE;
  if (lower_dfd >= 0)
    {
      lower = open_dir (self, lower_dfd, name, error);
      if (lower < 0)
        return FALSE;
    }
  self->depth++;
  ok = compare_dirs (self, lower, upper, error);
  self->depth--;
  return ok;
}

/* @lower: (nullable): NULL if the lower tree has no such name. */
static gboolean
compare_entry (Comparison *self, int lower_dfd, int upper_dfd, const char *name, const struct stat *lower,
               const struct stat *upper, GError **error)
{
  gboolean both_dirs = lower != NULL && S_ISDIR (lower->st_mode) && S_ISDIR (upper->st_mode);
  gboolean same = FALSE;
  guint n_parents;

  if (lower != NULL && !is_same (lower_dfd, upper_dfd, name, lower, upper, &same, error))
    return FALSE;
  if (!same && !report (self, PACK_ADD, error))
    return FALSE;
  if (!S_ISDIR (upper->st_mode))
    return TRUE;
  if (same)
    g_ptr_array_add (self->parents, g_strdup (self->path->str));
  n_parents = self->parents->len;
  if (!compare_children (self, both_dirs ? lower_dfd : -1, upper_dfd, name, error))
    return FALSE;
  /* Nothing in it has changed: it is nobody's parent. */
  if (same && self->parents->len == n_parents)
    g_ptr_array_set_size (self->parents, (gint)n_parents - 1);
  return TRUE;
}

static gboolean
compare_name (Comparison *self, int lower_dfd, int upper_dfd, const char *name, gboolean in_lower,
              gboolean in_upper, GError **error)
{
  struct stat lower, upper;

  if (!in_upper)
    return report (self, PACK_WHITEOUT, error);
  if (fstatat (upper_dfd, name, &upper, AT_SYMLINK_NOFOLLOW) < 0
      || (in_lower && fstatat (lower_dfd, name, &lower, AT_SYMLINK_NOFOLLOW) < 0))
    return gantry_throw_errno (error, errno, "reading the status of %s", self->path->str);
  return compare_entry (self, lower_dfd, upper_dfd, name, in_lower ? &lower : NULL, &upper, error);
}

static gboolean
compare_dirs (Comparison *self, int lower_dfd, int upper_dfd, GError **error)
{
  g_autoptr (GPtrArray) lower = list_names (self, lower_dfd, error);
  g_autoptr (GPtrArray) upper = lower != NULL ? list_names (self, upper_dfd, error) : NULL;
  guint i = 0, j = 0;

  if (upper == NULL)
    return FALSE;
  while (i < lower->len || j < upper->len)
    {
      int order = i >= lower->len   ? 1
                  : j >= upper->len ? -1
                                    : strcmp (g_ptr_array_index (lower, i), g_ptr_array_index (upper, j));
      const char *name = order <= 0 ? g_ptr_array_index (lower, i) : g_ptr_array_index (upper, j);
      gsize length = enter (self, name);
      gboolean ok = compare_name (self, lower_dfd, upper_dfd, name, order <= 0, order >= 0, error);

      leave (self, length);
      if (!ok)
        return FALSE;
      i += order <= 0;
      j += order >= 0;
    }
  return TRUE;
}

/* An upperdir. */

static gboolean
has_attribute (int dfd, const char *overlay, const char *key)
{
  g_autofree char *name = g_strconcat (overlay, key, NULL);

  return fgetxattr (dfd, name, NULL, 0) >= 0;
}

static gboolean read_upper (Comparison *self, int dfd, GError **error);

static gboolean
read_upper_dir (Comparison *self, int dfd, const char *name, GError **error)
{
  gantry_autofd int fd = open_dir (self, dfd, name, error);
  gboolean opaque, ok;

  if (fd < 0)
    return FALSE;
  self->unsure |= has_attribute (fd, "trusted.overlay.", "redirect")
                  || has_attribute (fd, "user.overlay.", "redirect");
  opaque = has_attribute (fd, "trusted.overlay.", "opaque") || has_attribute (fd, "user.overlay.", "opaque");
  if (opaque && !report (self, PACK_OPAQUE, error))
    return FALSE;
  self->depth++;
  ok = read_upper (self, fd, error);
  self->depth--;
  return ok;
}

static gboolean
read_upper_entry (Comparison *self, int dfd, const char *name, GError **error)
{
  struct stat st;

  if (fstatat (dfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return gantry_throw_errno (error, errno, "reading the status of %s", self->path->str);
  if (S_ISCHR (st.st_mode) && st.st_rdev == makedev (0, 0))
    return report (self, PACK_WHITEOUT, error);
  if (S_ISREG (st.st_mode))
    {
      gantry_autofd int fd = gantry_open_beneath (dfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);

      self->unsure |= fd < 0 || has_attribute (fd, "trusted.overlay.", "metacopy")
                      || has_attribute (fd, "user.overlay.", "metacopy")
                      || has_attribute (fd, "user.overlay.", "whiteout");
    }
  return report (self, PACK_ADD, error) && (!S_ISDIR (st.st_mode) || read_upper_dir (self, dfd, name, error));
}

static gboolean
read_upper (Comparison *self, int dfd, GError **error)
{
  g_autoptr (GPtrArray) names = list_names (self, dfd, error);

  if (names == NULL)
    return FALSE;
  for (guint i = 0; i < names->len && !self->unsure; i++)
    {
      gsize length = enter (self, g_ptr_array_index (names, i));
      gboolean ok = read_upper_entry (self, dfd, g_ptr_array_index (names, i), error);

      leave (self, length);
      if (!ok)
        return FALSE;
    }
  return TRUE;
}

static GPtrArray *
run (int lower_fd, int upper_fd, gboolean is_upper, const UnpackLimits *limits, gboolean *ret_unsure,
     GError **error)
{
  g_autoptr (GPtrArray) changes = g_ptr_array_new_with_free_func ((GDestroyNotify)change_free);
  g_autoptr (GPtrArray) parents = g_ptr_array_new_with_free_func (g_free);
  Comparison self = { .limits = limits, .changes = changes, .parents = parents, .path = g_string_new (NULL) };
  gboolean ok
      = is_upper ? read_upper (&self, upper_fd, error) : compare_dirs (&self, lower_fd, upper_fd, error);

  g_string_free (self.path, TRUE);
  if (ret_unsure != NULL)
    *ret_unsure = ok && self.unsure;
  return ok && !self.unsure ? g_steal_pointer (&changes) : NULL;
}

GPtrArray *
pack_changes_compare (int lower_fd, int upper_fd, const UnpackLimits *limits, GError **error)
{
  return run (lower_fd, upper_fd, FALSE, limits, NULL, error);
}

GPtrArray *
pack_changes_of_upper (int upper_fd, const UnpackLimits *limits, gboolean *ret_unsure, GError **error)
{
  return run (-1, upper_fd, TRUE, limits, ret_unsure, error);
}

static gboolean
same_root (int lower_fd, int upper_fd, gboolean *ret_same, GError **error)
{
  struct stat lower = { .st_mode = S_IFDIR | 0755 }, upper;
  g_autoptr (GByteArray) attributes = g_byte_array_new ();

  if (fstat (upper_fd, &upper) < 0 || (lower_fd >= 0 && fstat (lower_fd, &lower) < 0))
    return gantry_throw_errno (error, errno, "reading the status of the root directory");
  *ret_same = same_status (&lower, &upper);
  if (!*ret_same)
    return TRUE;
  if (lower_fd >= 0)
    return same_attributes (lower_fd, upper_fd, ".", ret_same, error);
  if (!unpack_xattr_foreach (upper_fd, ".", add_attribute, attributes, error))
    return FALSE;
  *ret_same = attributes->len == 0;
  return TRUE;
}

gboolean
pack_changes_add_root (int lower_fd, int upper_fd, GPtrArray *changes, GError **error)
{
  PackChange *change;
  gboolean same;

  if (!same_root (lower_fd, upper_fd, &same, error))
    return FALSE;
  if (same)
    return TRUE;
  change = g_new0 (PackChange, 1);
  change->kind = PACK_ADD;
  change->path = g_strdup ("");
  g_ptr_array_insert (changes, 0, change);
  return TRUE;
}
