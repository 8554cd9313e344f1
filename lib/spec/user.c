/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Users and groups by an image's own files, opened beneath its root. */
#include "spec-private.h"

#include <string.h>

#include <fdio.h>

#define MAX_FILE (1024 * 1024)

void
spec_user_clear (SpecUser *user)
{
  g_clear_pointer (&user->groups, g_array_unref);
  g_clear_pointer (&user->home, g_free);
}

/* The file @path in the directory @dir, as if that were the root. */
static char *
read_in (const char *dir, const char *path)
{
  gantry_autofd int root = open (dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  gantry_autofd int fd = root >= 0 ? gantry_open_in_root (root, path, O_RDONLY | O_NONBLOCK, 0) : -1;
  g_autoptr (GBytes) bytes = fd >= 0 ? gantry_read_all (fd, MAX_FILE, NULL) : NULL;

  return bytes != NULL ? g_strndup (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes)) : NULL;
}

static char *
read_overlay (GantryMount *mount, const char *path)
{
  char *text = NULL;

  for (gsize i = 0; mount->options != NULL && mount->options[i] != NULL && text == NULL; i++)
    if (g_str_has_prefix (mount->options[i], "upperdir="))
      text = read_in (mount->options[i] + strlen ("upperdir="), path);
  for (gsize i = 0; mount->options != NULL && mount->options[i] != NULL && text == NULL; i++)
    if (g_str_has_prefix (mount->options[i], "lowerdir="))
      {
        g_auto (GStrv) layers = g_strsplit (mount->options[i] + strlen ("lowerdir="), ":", -1);

        for (gsize j = 0; layers[j] != NULL && text == NULL; j++)
          text = read_in (layers[j], path);
      }
  return text;
}

/* Without mounting: the topmost layer that has the file has the one that counts. */
static char *
read_file (GPtrArray *mounts, const char *path)
{
  GantryMount *mount;

  if (mounts == NULL || mounts->len == 0)
    return NULL;
  mount = g_ptr_array_index (mounts, mounts->len - 1);
  return strcmp (mount->type, "overlay") == 0 ? read_overlay (mount, path) : read_in (mount->source, path);
}

static gboolean
dir_has (const char *dir, const char *path)
{
  gantry_autofd int root = open (dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  gantry_autofd int fd = root >= 0 ? gantry_open_in_root (root, path, O_PATH | O_NOFOLLOW, 0) : -1;

  return fd >= 0;
}

gboolean
spec_root_has (GPtrArray *mounts, const char *path)
{
  GantryMount *mount = mounts != NULL && mounts->len > 0 ? g_ptr_array_index (mounts, mounts->len - 1) : NULL;
  gboolean found = mount != NULL && strcmp (mount->type, "overlay") != 0 && dir_has (mount->source, path);

  for (gsize i = 0; mount != NULL && mount->options != NULL && mount->options[i] != NULL && !found; i++)
    if (g_str_has_prefix (mount->options[i], "lowerdir="))
      {
        g_auto (GStrv) layers = g_strsplit (mount->options[i] + strlen ("lowerdir="), ":", -1);

        for (gsize j = 0; layers[j] != NULL && !found; j++)
          found = dir_has (layers[j], path);
      }
  return found;
}

static gboolean
parse_id (const char *text, guint32 *ret_id)
{
  guint64 value;

  if (!g_ascii_string_to_unsigned (text, 10, 0, G_MAXUINT32 - 1, &value, NULL))
    return FALSE;
  *ret_id = (guint32)value;
  return TRUE;
}

/* The fields of the line whose first field is @name, or whose third is @id. */
static char **
find_line (const char *text, const char *name, const guint32 *id)
{
  g_auto (GStrv) lines = g_strsplit (text != NULL ? text : "", "\n", -1);

  for (gsize i = 0; lines[i] != NULL; i++)
    {
      g_auto (GStrv) fields = g_strsplit (lines[i], ":", 8);
      guint32 have;

      if (g_strv_length (fields) >= 3 && parse_id (fields[2], &have)
          && (name != NULL ? strcmp (fields[0], name) == 0 : have == *id))
        return g_steal_pointer (&fields);
    }
  return NULL;
}

static void
add_groups (SpecUser *user, const char *group_file, const char *name)
{
  g_auto (GStrv) lines = g_strsplit (group_file != NULL ? group_file : "", "\n", -1);

  for (gsize i = 0; name != NULL && lines[i] != NULL && user->groups->len < 1024; i++)
    {
      g_auto (GStrv) fields = g_strsplit (lines[i], ":", 4);
      g_auto (GStrv) members = g_strv_length (fields) == 4 ? g_strsplit (fields[3], ",", -1) : NULL;
      guint32 gid;

      if (members != NULL && g_strv_contains ((const char *const *)members, name)
          && parse_id (fields[2], &gid))
        g_array_append_val (user->groups, gid);
    }
}

gboolean
spec_user_lookup (const char *text, GPtrArray *mounts, SpecUser *ret_user, GError **error)
{
  g_auto (GStrv) parts = g_strsplit (text != NULL ? text : "", ":", 2);
  g_autofree char *passwd = read_file (mounts, "etc/passwd");
  g_autofree char *group = read_file (mounts, "etc/group");
  g_auto (GStrv) entry = NULL;
  const char *name = parts[0] != NULL && parts[0][0] != '\0' ? parts[0] : "0";

  *ret_user = (SpecUser){ .groups = g_array_new (FALSE, FALSE, sizeof (guint32)) };
  if (parse_id (name, &ret_user->uid))
    entry = find_line (passwd, NULL, &ret_user->uid);
  else if ((entry = find_line (passwd, name, NULL)) == NULL)
    return gantry_throw (error, GANTRY_ERROR_NOT_FOUND,
                         "user %s is not in the image's /etc/passwd; give a number", name);
  if (entry != NULL)
    {
      parse_id (entry[2], &ret_user->uid);
      if (entry[3] != NULL)
        parse_id (entry[3], &ret_user->gid);
      if (g_strv_length (entry) > 5)
        ret_user->home = g_strdup (entry[5]);
    }
  if (parts[0] != NULL && parts[1] != NULL && parts[1][0] != '\0')
    {
      g_auto (GStrv) group_entry = NULL;

      if (parse_id (parts[1], &ret_user->gid))
        return TRUE;
      group_entry = find_line (group, parts[1], NULL);
      if (group_entry == NULL)
        return gantry_throw (error, GANTRY_ERROR_NOT_FOUND,
                             "group %s is not in the image's /etc/group; give a number", parts[1]);
      return parse_id (group_entry[2], &ret_user->gid);
    }
  add_groups (ret_user, group, entry != NULL ? entry[0] : NULL);
  return TRUE;
}
