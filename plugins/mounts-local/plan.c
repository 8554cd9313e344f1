/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What of a list of mounts is for us, and what a mount is once its transforms are done. */
#include "mounts-local.h"

#include <stdlib.h>
#include <string.h>

#include <fdio.h>

#define MKDIR      "X-containerd.mkdir."
#define MKDIR_PATH MKDIR "path="

static gboolean
is_transform (const char *type)
{
  return g_str_has_prefix (type, "format/") || g_str_has_prefix (type, "mkdir/")
         || g_str_has_prefix (type, "mkfs/");
}

/* The type behind all transforms. Errors: NOT_IMPLEMENTED. */
static const char *
kernel_type (const char *type, GError **error)
{
  const char *rest = type;

  while (is_transform (rest))
    rest = strchr (rest, '/') + 1;
  if (strchr (rest, '/') == NULL)
    return rest;
  gantry_throw (
      error, GANTRY_ERROR_NOT_IMPLEMENTED,
      "mount type \"%s\": the transform \"%.*s\" is not implemented, only format, mkdir and mkfs are", type,
      (int)strcspn (rest, "/"), rest);
  return NULL;
}

gboolean
plan_make (GPtrArray *mounts, gboolean temporary, Plan *ret_plan, GError **error)
{
  gboolean needed = FALSE;
  guint n = 0;

  if (mounts->len == 0 || mounts->len > MAX_MOUNTS)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "an activation has 1 to %d mounts, not %u: invalid argument", MAX_MOUNTS,
                         mounts->len);
  for (guint i = 0; i < mounts->len; i++)
    {
      GantryMount *mount = g_ptr_array_index (mounts, i);
      const char *type = kernel_type (mount->type, error);

      if (type == NULL)
        return FALSE;
      /* A transform needs what is before it; a loop device is nothing that is mounted. */
      if (type != mount->type)
        {
          needed = TRUE;
          n = i;
        }
      if (temporary || strcmp (type, "loop") == 0)
        {
          needed = TRUE;
          n = i + 1;
        }
    }
  if (!needed)
    return gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED,
                         "these mounts need nobody but the system: not implemented");
  ret_plan->n_ours = n;
  return TRUE;
}

static GantryMount *
expand (GantryMount *mount, GPtrArray *active, GError **error)
{
  g_autofree char *source = format_expand (mount->source != NULL ? mount->source : "", active, error);
  g_autofree char *target
      = source != NULL && mount->target != NULL ? format_expand (mount->target, active, error) : NULL;
  g_autoptr (GPtrArray) options = g_ptr_array_new_with_free_func (g_free);

  if (source == NULL || (mount->target != NULL && target == NULL))
    return NULL;
  for (gsize i = 0; mount->options != NULL && mount->options[i] != NULL; i++)
    {
      char *option = format_expand (mount->options[i], active, error);

      if (option == NULL)
        return NULL;
      g_ptr_array_add (options, option);
    }
  g_ptr_array_add (options, NULL);
  return gantry_mount_new (mount->type, source, target, (const char *const *)options->pdata);
}

static gboolean
read_mode (const char *text, guint64 *ret_mode)
{
  char *end;

  *ret_mode = strtoul (text, &end, 8);
  return text[0] >= '0' && text[0] <= '7' && *end == '\0' && *ret_mode <= 0777;
}

/* Directories and images are made below --root, where a snapshotter's are, and in what we have mounted.
 * *@ret_fd: of that directory. Returns: what of @path is below it, or NULL. */
static const char *
open_root (MountsLocal *self, const char *what, const char *path, int *ret_fd, GError **error)
{
  const char *const roots[] = { self->path, self->host->get_base_path (self->host, GANTRY_DIR_PERSISTENT) };

  for (gsize i = 0; i < G_N_ELEMENTS (roots); i++)
    if (g_str_has_prefix (path, roots[i]) && path[strlen (roots[i])] == '/')
      {
        *ret_fd = open (roots[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (*ret_fd < 0)
          gantry_throw_errno (error, errno, "opening %s", roots[i]);
        return *ret_fd >= 0 ? path + strlen (roots[i]) + 1 : NULL;
      }
  gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                "%s: %s is neither below %s nor below %s: invalid argument", what, path, roots[0], roots[1]);
  return NULL;
}

int
plan_open_parent (MountsLocal *self, const char *what, const char *path, char **ret_name, GError **error)
{
  gantry_autofd int root_fd = -1;
  const char *below = open_root (self, what, path, &root_fd, error);
  g_autofree char *parent = below != NULL ? g_path_get_dirname (below) : NULL;
  int fd;

  if (below == NULL)
    return -1;
  fd = gantry_open_beneath (root_fd, parent, O_RDONLY | O_DIRECTORY, 0);
  if (fd < 0 && (errno == EXDEV || errno == ELOOP))
    gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "%s: %s leads elsewhere: invalid argument", what,
                  path);
  else if (fd < 0)
    gantry_throw_errno (error, errno, "opening the directory of %s", path);
  else
    *ret_name = g_path_get_basename (below);
  return fd;
}

static gboolean
make_directory (MountsLocal *self, const char *path, mode_t mode, gboolean owned, guint32 uid, guint32 gid,
                GError **error)
{
  g_autofree char *name = NULL;
  gantry_autofd int parent_fd = plan_open_parent (self, "mkdir", path, &name, error), fd = -1;

  if (parent_fd < 0)
    return FALSE;
  if (mkdirat (parent_fd, name, mode) < 0 && errno != EEXIST)
    return gantry_throw_errno (error, errno, "making the directory %s", path);
  fd = openat (parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0 || fchmod (fd, mode) < 0 || (owned && fchown (fd, uid, gid) < 0))
    return gantry_throw_errno (error, errno, "making the directory %s", path);
  return TRUE;
}

/* "PATH[:MODE[:UID:GID]]" */
static gboolean
make_directory_of (MountsLocal *self, const char *value, GError **error)
{
  g_auto (GStrv) parts = g_strsplit (value, ":", 4);
  guint n = g_strv_length (parts);
  guint64 mode = 0700, uid = 0, gid = 0;

  if (n == 0 || n == 3 || parts[0][0] != '/' || (n > 1 && !read_mode (parts[1], &mode))
      || (n > 3
          && (!g_ascii_string_to_unsigned (parts[2], 10, 0, G_MAXUINT32 - 1, &uid, NULL)
              || !g_ascii_string_to_unsigned (parts[3], 10, 0, G_MAXUINT32 - 1, &gid, NULL))))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "invalid mkdir option \"%s\": it is PATH[:MODE[:UID:GID]]: invalid argument", value);
  return make_directory (self, parts[0], (mode_t)mode, n > 3, (guint32)uid, (guint32)gid, error);
}

static GantryMount *
make_directories (MountsLocal *self, GantryMount *mount, GError **error)
{
  g_autoptr (GPtrArray) options = g_ptr_array_new ();

  for (gsize i = 0; mount->options != NULL && mount->options[i] != NULL; i++)
    {
      const char *option = mount->options[i];

      if (!g_str_has_prefix (option, MKDIR))
        g_ptr_array_add (options, (gpointer)option);
      else if (!g_str_has_prefix (option, MKDIR_PATH))
        {
          gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "invalid mkdir option \"%s\": invalid argument",
                        option);
          return NULL;
        }
      else if (!make_directory_of (self, option + strlen (MKDIR_PATH), error))
        return NULL;
    }
  g_ptr_array_add (options, NULL);
  return gantry_mount_new (mount->type, mount->source, mount->target, (const char *const *)options->pdata);
}

GantryMount *
plan_transform (MountsLocal *self, GantryMount *mount, GPtrArray *active, GError **error)
{
  g_autoptr (GantryMount) current = gantry_mount_ref (mount);

  while (is_transform (current->type))
    {
      g_autoptr (GantryMount) next
          = gantry_mount_new (strchr (current->type, '/') + 1, current->source, current->target,
                              (const char *const *)current->options);
      GantryMount *done = g_str_has_prefix (current->type, "format/")  ? expand (next, active, error)
                          : g_str_has_prefix (current->type, "mkdir/") ? make_directories (self, next, error)
                                                                       : mkfs_transform (self, next, error);

      if (done == NULL)
        return NULL;
      gantry_mount_unref (current);
      current = done;
    }
  return g_steal_pointer (&current);
}
