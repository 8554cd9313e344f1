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

gboolean
unpack_xattr_copy (int from, int to, GError **error)
{
  g_autofree char *list = g_malloc (MAX_LIST);
  g_autofree char *value = g_malloc (MAX_VALUE);
  g_autoptr (GPtrArray) names = NULL;
  ssize_t length = flistxattr (from, list, MAX_LIST);

  if (length < 0 && errno != ENOTSUP)
    return gantry_throw_errno (error, errno, "listing extended attributes");
  names = split_list (list, (gsize)MAX (length, 0));
  for (guint i = 0; i < names->len; i++)
    {
      const char *name = g_ptr_array_index (names, i);
      ssize_t n;

      if (!unpack_xattr_is_content (name))
        continue;
      n = fgetxattr (from, name, value, MAX_VALUE);
      if (n >= 0 && !unpack_xattr_set (-1, NULL, to, name, value, (gsize)n, error))
        return FALSE;
    }
  return TRUE;
}

/* Attributes of what can't be opened are reached by name from the current directory, for there is no call
 * that starts from a directory's fd. Only this process's one thread of extraction or comparison does so, and
 * nothing else here depends on it. */
static gboolean
go_to (int dfd, GError **error)
{
  return fchdir (dfd) == 0 || gantry_throw_errno (error, errno, "entering a directory");
}

gboolean
unpack_xattr_foreach (int dfd, const char *name, UnpackXattrFunc func, gpointer user_data, GError **error)
{
  g_autofree char *list = g_malloc (MAX_LIST);
  g_autofree char *value = g_malloc (MAX_VALUE);
  g_autoptr (GPtrArray) names = NULL;
  ssize_t length;

  if (!go_to (dfd, error))
    return FALSE;
  length = llistxattr (name, list, MAX_LIST);
  if (length < 0 && errno != ENOTSUP)
    return gantry_throw_errno (error, errno, "listing extended attributes");
  names = split_list (list, (gsize)MAX (length, 0));
  for (guint i = 0; i < names->len; i++)
    {
      const char *attribute = g_ptr_array_index (names, i);
      ssize_t n = lgetxattr (name, attribute, value, MAX_VALUE);

      if (n < 0 && errno != ENODATA)
        return gantry_throw_errno (error, errno, "reading the extended attribute %s", attribute);
      if (n >= 0 && !func (attribute, value, (gsize)n, user_data, error))
        return FALSE;
    }
  return TRUE;
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
