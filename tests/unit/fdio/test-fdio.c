/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <sys/resource.h>

#include "fdio.h"
#include <gantry/error.h>

typedef struct
{
  char *path;
  int fd;
} Scratch;

static void
set_up (Scratch *self, gconstpointer data)
{
  self->path = g_dir_make_tmp ("gantry-fdio-XXXXXX", NULL);
  self->fd = open (self->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  g_assert_cmpint (self->fd, >=, 0);
}

static void
tear_down (Scratch *self, gconstpointer data)
{
  gantry_autofd int parent = open (g_get_tmp_dir (), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  g_autofree char *name = g_path_get_basename (self->path);
  g_autoptr (GError) error = NULL;

  g_assert_true (gantry_remove_tree_at (parent, name, &error));
  g_assert_no_error (error);
  g_assert_cmpint (access (self->path, F_OK), <, 0);
  close (self->fd);
  g_free (self->path);
}

static void
put (int dfd, const char *name, const char *text)
{
  gantry_autofd int fd = openat (dfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  g_autoptr (GError) error = NULL;

  g_assert_true (gantry_write_all (fd, text, strlen (text), &error));
}

static void
assert_file (int dfd, const char *name, const char *expected)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) bytes = gantry_read_file_at (dfd, name, 4096, &error);

  g_assert_no_error (error);
  g_assert_cmpmem (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), expected, strlen (expected));
}

static void
assert_refused (int fd, int expected_errno)
{
  int saved_errno = errno;

  g_assert_cmpint (fd, <, 0);
  g_assert_cmpint (saved_errno, ==, expected_errno);
}

static void
test_resolve (Scratch *self, gconstpointer data)
{
  gantry_autofd int dir = -1;
  gantry_autofd int inside = -1;
  gantry_autofd int linked = -1;

  g_assert_cmpint (mkdirat (self->fd, "d", 0755), ==, 0);
  dir = openat (self->fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  put (self->fd, "secret", "out");
  put (dir, "secret", "in");
  g_assert_cmpint (symlinkat ("../secret", dir, "up"), ==, 0);
  g_assert_cmpint (symlinkat ("/secret", dir, "absolute"), ==, 0);
  g_assert_cmpint (symlinkat ("secret", dir, "beside"), ==, 0);

  assert_refused (gantry_open_beneath (dir, "../secret", O_RDONLY, 0), EXDEV);
  assert_refused (gantry_open_beneath (dir, "/etc/passwd", O_RDONLY, 0), EXDEV);
  assert_refused (gantry_open_beneath (dir, "up", O_RDONLY, 0), EXDEV);
  assert_refused (gantry_open_beneath (dir, "absolute", O_RDONLY, 0), EXDEV);
  inside = gantry_open_beneath (dir, "beside", O_RDONLY, 0);
  g_assert_cmpint (inside, >=, 0);
  g_assert_cmpint (fcntl (inside, F_GETFD) & FD_CLOEXEC, ==, FD_CLOEXEC);

  assert_refused (gantry_open_no_links (dir, "beside", O_RDONLY, 0), ELOOP);
  linked = gantry_open_no_links (dir, "beside", O_PATH | O_NOFOLLOW, 0);
  g_assert_cmpint (linked, >=, 0);

  /* As a root directory, all of them are the one inside. */
  for (gsize i = 0; i < 3; i++)
    {
      const char *names[] = { "up", "absolute", "../../secret" };
      gantry_autofd int fd = gantry_open_in_root (dir, names[i], O_RDONLY, 0);
      g_autoptr (GBytes) bytes = gantry_read_all (fd, 10, NULL);

      g_assert_cmpmem (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), "in", 2);
    }
}

static void
test_open_dir (Scratch *self, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  gantry_autofd int made G_GNUC_UNUSED = gantry_open_dir_at (self->fd, "a/b//c", 0750, &error);
  gantry_autofd int again = gantry_open_dir_at (self->fd, "a/b/c", 0700, &error);
  struct stat st;

  g_assert_no_error (error);
  g_assert_cmpint (fstat (again, &st), ==, 0);
  g_assert_cmpint (st.st_mode & 0777, ==, 0750);
  put (self->fd, "file", "");
  g_assert_cmpint (gantry_open_dir_at (self->fd, "file/x", 0700, &error), ==, -1);
  g_assert_nonnull (error);
  g_clear_error (&error);
  g_assert_cmpint (gantry_open_dir_at (self->fd, "../x", 0700, &error), ==, -1);
  g_assert_nonnull (error);
}

static void
test_read_limit (Scratch *self, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  put (self->fd, "f", "0123456789");
  assert_file (self->fd, "f", "0123456789");
  g_assert_null (gantry_read_file_at (self->fd, "f", 9, &error));
  g_assert_true (gantry_error_is (error, GANTRY_ERROR_RESOURCE_EXHAUSTED));
  g_clear_error (&error);
  g_assert_null (gantry_read_file_at (self->fd, "absent", 9, &error));
  g_assert_true (gantry_error_is (error, GANTRY_ERROR_NOT_FOUND));
  g_clear_error (&error);
  g_assert_cmpint (mkfifoat (self->fd, "fifo", 0600), ==, 0);
  g_assert_null (gantry_read_file_at (self->fd, "fifo", 9, &error));
  g_assert_true (gantry_error_is (error, GANTRY_ERROR_INVALID_ARGUMENT));
}

static void
test_replace (Scratch *self, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  for (int durable = 0; durable < 2; durable++)
    {
      g_assert_true (gantry_replace_file_at (self->fd, "f", "one", 3, 0600, durable, &error));
      assert_file (self->fd, "f", "one");
      g_assert_true (gantry_replace_file_at (self->fd, "f", "", 0, 0600, durable, &error));
      assert_file (self->fd, "f", "");
    }
  g_assert_cmpint (mkdirat (self->fd, "d", 0755), ==, 0);
  g_assert_false (gantry_replace_file_at (self->fd, "d", "x", 1, 0600, FALSE, &error));
  g_assert_nonnull (error);
}

static void
test_remove (Scratch *self, gconstpointer data)
{
  gantry_autofd int dir = -1;
  g_autoptr (GError) error = NULL;

  g_assert_cmpint (mkdirat (self->fd, "keep", 0755), ==, 0);
  put (self->fd, "keep/f", "x");
  g_assert_cmpint (mkdirat (self->fd, "d", 0755), ==, 0);
  dir = openat (self->fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  g_assert_cmpint (symlinkat ("../keep", dir, "link"), ==, 0);
  g_assert_cmpint (mkdirat (dir, "sub", 0), ==, 0);
  g_assert_cmpint (mkfifoat (dir, "fifo", 0), ==, 0);
  g_assert_true (gantry_remove_tree_at (self->fd, "d", &error));
  g_assert_no_error (error);
  assert_file (self->fd, "keep/f", "x");
  g_assert_true (gantry_remove_tree_at (self->fd, "d", &error));
  g_assert_cmpint (symlinkat ("keep", self->fd, "l"), ==, 0);
  g_assert_true (gantry_remove_tree_at (self->fd, "l", &error));
  assert_file (self->fd, "keep/f", "x");
}

/* Deeper than there are descriptors, and longer than a path may be. */
static void
test_remove_deep (Scratch *self, gconstpointer data)
{
  const int depth = 3000;
  gantry_autofd int fd = fcntl (self->fd, F_DUPFD_CLOEXEC, 3);
  g_autoptr (GError) error = NULL;
  struct rlimit saved, few = { 100, 100 };

  for (int i = 0; i < depth; i++)
    {
      int next;

      g_assert_cmpint (mkdirat (fd, "deep", 0755), ==, 0);
      if (i % 500 == 0)
        put (fd, "file", "x");
      next = openat (fd, "deep", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      g_assert_cmpint (next, >=, 0);
      close (fd);
      fd = next;
    }
  g_assert_cmpint (getrlimit (RLIMIT_NOFILE, &saved), ==, 0);
  few.rlim_max = saved.rlim_max;
  g_assert_cmpint (setrlimit (RLIMIT_NOFILE, &few), ==, 0);
  g_assert_true (gantry_remove_tree_at (self->fd, "deep", &error));
  g_assert_no_error (error);
  g_assert_cmpint (setrlimit (RLIMIT_NOFILE, &saved), ==, 0);
  g_assert_cmpint (faccessat (self->fd, "deep", F_OK, 0), <, 0);
}

static void
test_usage (Scratch *self, gconstpointer data)
{
  g_autofree char *text = g_strnfill (100000, 'x');
  g_autoptr (GError) error = NULL;
  guint64 bytes = 0, inodes = 0;

  g_assert_cmpint (mkdirat (self->fd, "d", 0755), ==, 0);
  put (self->fd, "d/a", text);
  g_assert_cmpint (linkat (self->fd, "d/a", self->fd, "d/b", 0), ==, 0);
  g_assert_true (gantry_disk_usage_at (self->fd, "d", &bytes, &inodes, &error));
  g_assert_cmpuint (inodes, ==, 2);
  g_assert_cmpuint (bytes, >=, 100000);
  g_assert_cmpuint (bytes, <, 200000);
}

#define ADD(name, func) g_test_add ("/fdio/" name, Scratch, NULL, set_up, func, tear_down)

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  ADD ("resolve", test_resolve);
  ADD ("open-dir", test_open_dir);
  ADD ("read-limit", test_read_limit);
  ADD ("replace", test_replace);
  ADD ("remove", test_remove);
  ADD ("remove-deep", test_remove_deep);
  ADD ("usage", test_usage);
  return g_test_run ();
}
