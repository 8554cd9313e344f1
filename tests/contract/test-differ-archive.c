/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * differ-archive, loaded as the daemon loads it, on bind mounts and on overlays.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include <gantry/testing/fake-host.h>

#include "differ.h"
#include "fake-content.h"
#include "fdio.h"

typedef struct
{
  GantryDifferFixture fixture;
  GantryFakeHost *host;
  char *directory;
  gboolean overlay;
  int n_trees; /* atomic */
} ArchiveFixture;

static char *
subdirectory (ArchiveFixture *self, int tree, const char *name)
{
  char *path = g_strdup_printf ("%s/%d/%s", self->directory, tree, name);

  g_assert_cmpint (g_mkdir_with_parents (path, 0755), ==, 0);
  return path;
}

static const char *
get_option (GPtrArray *mounts, const char *key)
{
  const GantryMount *mount = g_ptr_array_index (mounts, 0);

  for (gsize i = 0; mount->options[i] != NULL; i++)
    if (g_str_has_prefix (mount->options[i], key))
      return mount->options[i] + strlen (key);
  return NULL;
}

/* What an overlay snapshotter would give: a bind mount for a root, an overlay on top of anything. */
static GPtrArray *
make_overlay (ArchiveFixture *self, int tree, GPtrArray *lower)
{
  const GantryMount *below = g_ptr_array_index (lower, 0);
  g_autofree char *upper = subdirectory (self, tree, "fs");
  g_autofree char *work = subdirectory (self, tree, "work");
  const char *upperdir = get_option (lower, "upperdir=");
  g_autofree char *lowers = upperdir != NULL
                                ? g_strconcat (upperdir, ":", get_option (lower, "lowerdir="), NULL)
                                : g_strdup (below->source);
  g_autofree char *lower_option = g_strconcat ("lowerdir=", lowers, NULL);
  g_autofree char *upper_option = g_strconcat ("upperdir=", upper, NULL);
  g_autofree char *work_option = g_strconcat ("workdir=", work, NULL);
  const char *const options[] = { lower_option, upper_option, work_option, NULL };
  GPtrArray *mounts = g_ptr_array_new_with_free_func (gantry_value_unref);

  g_ptr_array_add (mounts, gantry_mount_new ("overlay", "overlay", NULL, options));
  return mounts;
}

static GPtrArray *
make_tree (GantryDifferFixture *fixture, GPtrArray *lower)
{
  static const char *const options[] = { "rbind", "rw", NULL };
  ArchiveFixture *self = (ArchiveFixture *)fixture;
  int tree = g_atomic_int_add (&self->n_trees, 1);
  g_autofree char *path = subdirectory (self, tree, "fs");
  GPtrArray *mounts;

  if (self->overlay && lower != NULL)
    return make_overlay (self, tree, lower);
  if (lower != NULL)
    {
      g_autofree char *from = g_strconcat (((GantryMount *)g_ptr_array_index (lower, 0))->source, "/.", NULL);
      const char *argv[] = { "cp", "-a", from, path, NULL };
      int status;

      g_assert_true (g_spawn_sync (NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL,
                                   &status, NULL));
      g_assert_cmpint (status, ==, 0);
    }
  mounts = g_ptr_array_new_with_free_func (gantry_value_unref);
  g_ptr_array_add (mounts, gantry_mount_new ("bind", path, NULL, options));
  return mounts;
}

static char *
look_at (int dfd, const char *path)
{
  gantry_autofd int fd = -1;
  g_autoptr (GBytes) bytes = NULL;
  char target[PATH_MAX] = "";
  struct stat st;

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
  bytes = gantry_read_all (fd, 1024 * 1024, NULL);
  g_assert_nonnull (bytes);
  return g_strdup_printf ("file:%.*s", (int)g_bytes_get_size (bytes),
                          (const char *)g_bytes_get_data (bytes, NULL));
}

static char *
look (GantryDifferFixture *fixture, GPtrArray *mounts, const char *path)
{
  ArchiveFixture *self = (ArchiveFixture *)fixture;
  const GantryMount *first = g_ptr_array_index (mounts, 0);
  g_autofree char *point = NULL;
  g_autofree char *options = NULL;
  gantry_autofd int fd = -1;
  char *seen;

  if (strcmp (first->type, "bind") == 0)
    {
      fd = open (first->source, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      return look_at (fd, path);
    }
  point = subdirectory (self, g_atomic_int_add (&self->n_trees, 1), "view");
  options = g_strjoinv (",", first->options);
  g_assert_cmpint (mount ("overlay", point, "overlay", 0, options), ==, 0);
  fd = open (point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  seen = look_at (fd, path);
  gantry_fd_clear (&fd);
  g_assert_cmpint (umount2 (point, MNT_DETACH), ==, 0);
  return seen;
}

static GantryDifferFixture *
open_fixture (gboolean overlay)
{
  ArchiveFixture *self = g_new0 (ArchiveFixture, 1);
  const GantryPluginDesc *desc;
  gpointer instance;
  GError *error = NULL;

  self->fixture.size = sizeof self->fixture;
  self->overlay = overlay;
  if (geteuid () != 0)
    {
      self->fixture.skip = "needs root";
      return &self->fixture;
    }
  self->directory = g_dir_make_tmp ("gantry-differ-XXXXXX", &error);
  g_assert_no_error (error);
  self->host = gantry_fake_host_new (self->directory, NULL);
  g_assert_true (
      gantry_fake_host_load (self->host, g_getenv ("GANTRY_TEST_MODULE"), &desc, &instance, &error));
  g_assert_no_error (error);
  self->fixture.differ = gantry_fake_host_get (self->host, GANTRY_DIFFER_TYPE);
  self->fixture.content = gantry_fake_content_new ();
  self->fixture.make_tree = make_tree;
  self->fixture.look = look;
  return &self->fixture;
}

static GantryDifferFixture *
open_plain (void)
{
  return open_fixture (FALSE);
}

static GantryDifferFixture *
open_overlay (void)
{
  return open_fixture (TRUE);
}

static void
close_fixture (GantryDifferFixture *fixture)
{
  ArchiveFixture *self = (ArchiveFixture *)fixture;
  GError *error = NULL;

  g_clear_pointer (&self->host, gantry_fake_host_free);
  gantry_fake_content_free (fixture->content);
  if (self->directory != NULL)
    {
      gantry_autofd int dfd = open (g_get_tmp_dir (), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      g_autofree char *name = g_path_get_basename (self->directory);

      g_assert_true (gantry_remove_tree_at (dfd, name, &error));
      g_assert_no_error (error);
    }
  g_free (self->directory);
  g_free (self);
}

/* A large layer is being unpacked when the caller loses patience. */
static void
cancel_on_progress (guint64 bytes, gpointer user_data)
{
  g_cancellable_cancel (user_data);
}

static void
test_cancel_while_unpacking (void)
{
  GantryDifferFixture *fixture = open_plain ();
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GPtrArray) mounts = NULL;
  g_autoptr (GantryIngest) ingest = NULL;
  g_autoptr (GantryDescriptor) layer = NULL;
  g_autoptr (GError) error = NULL;
  g_autofree char *zeros = g_malloc0 (64 * 1024 * 1024);
  g_autofree char *digest = NULL;
  GantryDescriptor *diff = NULL;

  if (fixture->skip != NULL)
    {
      g_test_skip (fixture->skip);
      close_fixture (fixture);
      return;
    }
  /* Zeros are an archive's end followed by padding, all of which is read for the DiffID. */
  g_assert_true (gantry_content_open_ingest (fixture->content, "zeros", 0, NULL, &ingest, NULL, &error));
  g_assert_true (gantry_ingest_write (ingest, zeros, 64 * 1024 * 1024, NULL, &error));
  g_assert_true (gantry_ingest_commit (ingest, 0, NULL, NULL, &digest, NULL, &error));
  layer = gantry_descriptor_new ("application/vnd.oci.image.layer.v1.tar", digest, 64 * 1024 * 1024, NULL);
  mounts = fixture->make_tree (fixture, NULL);
  g_assert_false (gantry_differ_apply (fixture->differ, layer, fixture->content, mounts, NULL,
                                       cancel_on_progress, cancellable, &diff, cancellable, &error));
  g_assert_true (gantry_error_is (error, GANTRY_ERROR_CANCELLED));
  g_assert_null (diff);
  g_clear_pointer (&ingest, gantry_ingest_unref);
  close_fixture (fixture);
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  gantry_contract_differ_add ("/contract/differ/archive/plain", open_plain, close_fixture);
  gantry_contract_differ_add ("/contract/differ/archive/overlay", open_overlay, close_fixture);
  g_test_add_func ("/differ/archive/cancel-while-unpacking", test_cancel_while_unpacking);
  return g_test_run ();
}
