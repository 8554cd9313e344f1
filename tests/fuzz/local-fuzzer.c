/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Runs a fuzz harness over the files and directories of files that it is given, for builds without libFuzzer:
 * so that a corpus is a test. Reports as TAP.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "fdio.h"

#define MAX_FILE_SIZE (16 * 1024 * 1024)

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static int n_inputs;

static void
run_file (int dfd, const char *name)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) bytes = NULL;
  gantry_autofd int fd = openat (dfd, name, O_RDONLY | O_CLOEXEC);

  bytes = gantry_read_all (fd, MAX_FILE_SIZE, &error);
  if (bytes == NULL)
    g_error ("reading %s: %s", name, error->message);
  LLVMFuzzerTestOneInput (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes));
  n_inputs++;
  printf ("ok %d - %s\n", n_inputs, name);
  fflush (stdout);
}

static void
run_directory (const char *path)
{
  DIR *dir = opendir (path);
  struct dirent *entry;

  while ((entry = readdir (dir)) != NULL)
    if (entry->d_name[0] != '.')
      run_file (dirfd (dir), entry->d_name);
  closedir (dir);
}

int
main (int argc, char *argv[])
{
  /* What GLib calls critical is a bug, whatever the input. */
  g_log_set_always_fatal (G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL);
  for (int i = 1; i < argc; i++)
    {
      struct stat st;

      if (stat (argv[i], &st) == 0 && S_ISDIR (st.st_mode))
        run_directory (argv[i]);
      else
        run_file (AT_FDCWD, argv[i]);
    }
  printf ("1..%d\n", n_inputs);
  return n_inputs > 0 ? 0 : 1;
}
