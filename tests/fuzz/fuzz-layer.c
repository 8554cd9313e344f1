/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Layers: the first byte says how the tree is made, the rest is a blob of any compression. Whatever it is,
 * what lies next to the tree stays as it was.
 */
#include <locale.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "fdio.h"
#include "unpack-extract.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static char *scratch;
static int scratch_fd = -1;

static void
remove_scratch (void)
{
  gantry_autofd int dfd = open (g_get_tmp_dir (), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  g_autofree char *name = g_path_get_basename (scratch);

  if (!gantry_remove_tree_at (dfd, name, NULL))
    g_warning ("%s could not be removed", scratch);
}

static void
make_file (const char *name, const char *text)
{
  gantry_autofd int fd = openat (scratch_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

  if (fd < 0 || !gantry_write_all (fd, text, strlen (text), NULL))
    g_error ("making %s failed", name);
}

static void
set_up (void)
{
  setlocale (LC_CTYPE, "C.UTF-8");
  scratch = g_dir_make_tmp ("gantry-fuzz-XXXXXX", NULL);
  scratch_fd = open (scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (scratch_fd < 0 || mkdirat (scratch_fd, "lower", 0755) < 0 || mkdirat (scratch_fd, "lower/d", 0755) < 0
      || symlinkat ("../../secret", scratch_fd, "lower/out") < 0
      || symlinkat ("d", scratch_fd, "lower/l") < 0)
    g_error ("making a scratch directory failed");
  make_file ("secret", "secret");
  make_file ("lower/f", "f");
  make_file ("lower/d/f", "f");
  atexit (remove_scratch);
}

static void
check_secret (void)
{
  g_autoptr (GBytes) bytes = gantry_read_file_at (scratch_fd, "secret", 100, NULL);
  struct stat st;

  if (bytes == NULL || g_bytes_get_size (bytes) != 6
      || memcmp (g_bytes_get_data (bytes, NULL), "secret", 6) != 0
      || fstatat (scratch_fd, "secret", &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_nlink != 1)
    g_error ("the layer reached out of its tree");
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  UnpackTarget target
      = { .lower_fd = -1, .opaque_xattr = "trusted.overlay.opaque", .limits = UNPACK_LIMITS_INIT };
  gantry_autofd int blob = memfd_create ("layer", MFD_CLOEXEC);
  gantry_autofd int root = -1;
  gantry_autofd int lower = -1;
  g_autoptr (UnpackStream) stream = NULL;
  g_autoptr (GError) error = NULL;
  g_autofree char *digest = NULL;
  gboolean root_entry;
  guint64 length;

  if (scratch == NULL)
    set_up ();
  if (size == 0)
    return 0;
  if (mkdirat (scratch_fd, "tree", 0755) < 0)
    g_error ("the tree of the last input is still there");
  root = openat (scratch_fd, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  lower = openat (scratch_fd, "lower", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  target.root_fd = root;
  target.flavor = (data[0] & 1) != 0 ? UNPACK_OVERLAY : UNPACK_PLAIN;
  target.lower_fd = (data[0] & 2) != 0 ? lower : -1;
  target.limits.max_bytes = 4 * 1024 * 1024;
  target.limits.max_entries = 200;
  target.limits.max_depth = 32;
  target.limits.max_devices = 10;
  if (!gantry_write_all (blob, data + 1, size - 1, NULL) || lseek (blob, 0, SEEK_SET) < 0)
    g_error ("writing the layer failed");
  stream = unpack_stream_new (blob, target.limits.max_bytes, NULL, NULL);
  if (unpack_extract (&target, stream, &digest, &length, &root_entry, &error) == (error != NULL))
    g_error ("success and error at once");
  check_secret ();
  if (!gantry_remove_tree_at (scratch_fd, "tree", NULL))
    g_error ("the tree can't be removed");
  return 0;
}
