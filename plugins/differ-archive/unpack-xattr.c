/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "unpack-xattr.h"

#include <string.h>
#include <sys/xattr.h>

#include "fdio.h"
#include <gantry/error.h>

#define MAX_LIST  65536 /* the kernel's own limits */
#define MAX_VALUE 65536

gboolean
unpack_xattr_is_content (const char *name)
{
  return !g_str_has_prefix (name, "trusted.overlay.") && !g_str_has_prefix (name, "user.overlay.");
}

gboolean
unpack_xattr_is_portable (const char *name)
{
  return unpack_xattr_is_content (name)
         && (strcmp (name, "security.capability") == 0 || g_str_has_prefix (name, "user."));
}

static int
compare_names (gconstpointer a, gconstpointer b)
{
  return strcmp (*(const char *const *)a, *(const char *const *)b);
}

/* Splits the list that listxattr(2) gives. The names point into @list. */
static GPtrArray *
split_list (const char *list, gsize length)
{
  GPtrArray *names = g_ptr_array_new ();

  for (const char *at = list; at < list + length; at += strlen (at) + 1)
    g_ptr_array_add (names, (gpointer)at);
  g_ptr_array_sort (names, compare_names);
  return names;
}

/* Attributes of what can't be opened are reached by name from the current directory, for there is no call
 * that starts from a directory's fd. Only this process's one thread of extraction or comparison does so, and
 * nothing else here depends on it. */
static gboolean
go_to (int dfd, GError **error)
{
  return fchdir (dfd) == 0 || gantry_throw_errno (error, errno, "entering a directory");
}

/* @fd: or -1: the file @name of the current directory. */
static gboolean
foreach_attribute (int fd, const char *name, UnpackXattrFunc func, gpointer user_data, GError **error)
{
  g_autofree char *list = g_malloc (MAX_LIST);
  g_autofree char *value = NULL;
  g_autoptr (GPtrArray) names = NULL;
  ssize_t length = fd >= 0 ? flistxattr (fd, list, MAX_LIST) : llistxattr (name, list, MAX_LIST);

  if (length < 0 && errno != ENOTSUP)
    return gantry_throw_errno (error, errno, "listing extended attributes");
  if (length <= 0)
    return TRUE;
  value = g_malloc (MAX_VALUE);
  names = split_list (list, (gsize)length);
  for (guint i = 0; i < names->len; i++)
    {
      const char *attribute = g_ptr_array_index (names, i);
      ssize_t n = fd >= 0 ? fgetxattr (fd, attribute, value, MAX_VALUE)
                          : lgetxattr (name, attribute, value, MAX_VALUE);

      if (n < 0 && errno != ENODATA)
        return gantry_throw_errno (error, errno, "reading the extended attribute %s", attribute);
      if (n >= 0 && !func (attribute, value, (gsize)n, user_data, error))
        return FALSE;
    }
  return TRUE;
}

gboolean
unpack_xattr_foreach (int dfd, const char *name, UnpackXattrFunc func, gpointer user_data, GError **error)
{
  return go_to (dfd, error) && foreach_attribute (-1, name, func, user_data, error);
}

gboolean
unpack_xattr_foreach_fd (int fd, UnpackXattrFunc func, gpointer user_data, GError **error)
{
  return foreach_attribute (fd, NULL, func, user_data, error);
}

gboolean
unpack_xattr_set (int dfd, const char *name, int fd, const char *attribute, const void *value, gsize length,
                  GError **error)
{
  int r;

  if (fd < 0 && !go_to (dfd, error))
    return FALSE;
  r = fd >= 0 ? fsetxattr (fd, attribute, value, length, 0) : lsetxattr (name, attribute, value, length, 0);
  /* A label of another machine's SELinux policy means nothing to this one. */
  if (r == 0 || errno == ENOTSUP || (errno == EINVAL && strcmp (attribute, "security.selinux") == 0))
    return TRUE;
  /* user.* is for files and directories only; a layer from elsewhere may not know. */
  if (errno == EPERM && fd < 0 && g_str_has_prefix (attribute, "user."))
    return TRUE;
  return gantry_throw_errno (error, errno, "setting the extended attribute %s", attribute);
}

static gboolean
copy_attribute (const char *name, const void *value, gsize length, gpointer user_data, GError **error)
{
  return !unpack_xattr_is_content (name)
         || unpack_xattr_set (-1, NULL, *(int *)user_data, name, value, length, error);
}

gboolean
unpack_xattr_copy (int from, int to, GError **error)
{
  return unpack_xattr_foreach_fd (from, copy_attribute, &to, error);
}
