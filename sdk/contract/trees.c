/* SPDX-License-Identifier: MIT */
#include "trees.h"

#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static gboolean private_namespace;

void
gantry_trees_init (void)
{
  private_namespace = geteuid () == 0 && unshare (CLONE_NEWNS) == 0
                      && mount (NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
  gantry_fake_trees_lock ();
  gantry_fake_trees_unlock ();
}

static gboolean
is_fake (GPtrArray *mounts)
{
  g_assert_cmpuint (mounts->len, >, 0);
  return g_strcmp0 (((GantryMount *)g_ptr_array_index (mounts, 0))->type, "fake") == 0;
}

gboolean
gantry_trees_can_mount (GPtrArray *mounts)
{
  if (is_fake (mounts) || private_namespace)
    return TRUE;
  g_test_skip ("mounting takes root and a mount namespace");
  return FALSE;
}

/* mount(8)'s options as mount(2) wants them. */
static void
mount_one (const GantryMount *self, const char *point)
{
  g_autoptr (GString) data = g_string_new (NULL);
  g_autofree char *target
      = self->target != NULL ? g_build_filename (point, self->target, NULL) : g_strdup (point);
  unsigned long flags = 0;

  for (gsize i = 0; self->options != NULL && self->options[i] != NULL; i++)
    {
      const char *option = self->options[i];

      if (strcmp (option, "ro") == 0)
        flags |= MS_RDONLY;
      else if (strcmp (option, "bind") == 0)
        flags |= MS_BIND;
      else if (strcmp (option, "rbind") == 0)
        flags |= MS_BIND | MS_REC;
      else if (strcmp (option, "rw") != 0)
        g_string_append_printf (data, "%s%s", data->len > 0 ? "," : "", option);
    }
  if (mount (self->source, target, self->type, flags, data->str) < 0)
    g_error ("mounting %s of type %s with %s: %s", self->source, self->type, data->str, g_strerror (errno));
  if ((flags & MS_BIND) != 0 && (flags & MS_RDONLY) != 0
      && mount (NULL, target, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) < 0)
    g_error ("making %s read-only: %s", target, g_strerror (errno));
}

/* Returns: an fd of the mounted root. */
static int
enter (GPtrArray *mounts, const char *point)
{
  int fd;

  g_assert_cmpint (g_mkdir_with_parents (point, 0700), ==, 0);
  for (guint i = 0; i < mounts->len; i++)
    mount_one (g_ptr_array_index (mounts, i), point);
  fd = open (point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  g_assert_cmpint (fd, >=, 0);
  return fd;
}

static void
leave (int fd, GPtrArray *mounts, const char *point)
{
  close (fd);
  for (guint i = 0; i < mounts->len; i++)
    g_assert_cmpint (umount2 (point, MNT_DETACH), ==, 0);
}

static char *
look_at (int dfd, const char *path)
{
  char target[4096] = "";
  g_autoptr (GString) text = NULL;
  struct stat st;
  char buffer[4096];
  gssize n;
  int fd;

  if (fstatat (dfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return NULL;
  if (S_ISDIR (st.st_mode))
    return g_strdup ("dir");
  if (S_ISLNK (st.st_mode))
    {
      g_assert_cmpint (readlinkat (dfd, path, target, sizeof target - 1), >, 0);
      return g_strconcat ("link:", target, NULL);
    }
  fd = openat (dfd, path, O_RDONLY | O_CLOEXEC);
  g_assert_cmpint (fd, >=, 0);
  text = g_string_new ("file:");
  while ((n = read (fd, buffer, sizeof buffer)) > 0)
    g_string_append_len (text, buffer, n);
  g_assert_cmpint (n, ==, 0);
  close (fd);
  return g_string_free (g_steal_pointer (&text), FALSE);
}

char *
gantry_trees_look (GPtrArray *mounts, const char *point, const char *path)
{
  GHashTable *tree;
  char *seen;
  int dfd;

  if (is_fake (mounts))
    {
      gantry_fake_trees_lock ();
      tree = gantry_fake_tree_get (mounts);
      seen = tree != NULL ? g_strdup (g_hash_table_lookup (tree, path)) : NULL;
      gantry_fake_trees_unlock ();
      return seen;
    }
  dfd = enter (mounts, point);
  seen = look_at (dfd, path);
  leave (dfd, mounts, point);
  return seen;
}

static gboolean
write_at (int dfd, const char *path, const char *text)
{
  gsize length = strlen (text);
  gboolean ok;
  int fd;

  for (const char *slash = strchr (path, '/'); slash != NULL; slash = strchr (slash + 1, '/'))
    {
      g_autofree char *parent = g_strndup (path, (gsize)(slash - path));

      if (mkdirat (dfd, parent, 0755) < 0 && errno == EROFS)
        return FALSE;
    }
  fd = openat (dfd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0)
    {
      g_assert_cmpint (errno, ==, EROFS);
      return FALSE;
    }
  ok = write (fd, text, length) == (gssize)length;
  close (fd);
  return ok;
}

static gboolean
write_fake (GPtrArray *mounts, const char *path, const char *text)
{
  const GantryMount *mount = g_ptr_array_index (mounts, 0);
  GHashTable *tree;

  if (g_strv_contains ((const char *const *)mount->options, "ro"))
    return FALSE;
  gantry_fake_trees_lock ();
  tree = gantry_fake_tree_get (mounts);
  g_assert_nonnull (tree);
  for (const char *slash = strchr (path, '/'); slash != NULL; slash = strchr (slash + 1, '/'))
    g_hash_table_replace (tree, g_strndup (path, (gsize)(slash - path)), g_strdup ("dir"));
  g_hash_table_replace (tree, g_strdup (path), g_strconcat ("file:", text, NULL));
  gantry_fake_trees_unlock ();
  return TRUE;
}

gboolean
gantry_trees_write (GPtrArray *mounts, const char *point, const char *path, const char *text)
{
  gboolean ok;
  int dfd;

  if (is_fake (mounts))
    return write_fake (mounts, path, text);
  dfd = enter (mounts, point);
  ok = write_at (dfd, path, text);
  leave (dfd, mounts, point);
  return ok;
}

void
gantry_trees_remove (GPtrArray *mounts, const char *point, const char *path)
{
  int dfd;

  if (is_fake (mounts))
    {
      gantry_fake_trees_lock ();
      g_assert_true (g_hash_table_remove (gantry_fake_tree_get (mounts), path));
      gantry_fake_trees_unlock ();
      return;
    }
  dfd = enter (mounts, point);
  g_assert_cmpint (unlinkat (dfd, path, 0), ==, 0);
  leave (dfd, mounts, point);
}
