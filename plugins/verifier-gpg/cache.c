/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * <digest's algorithm>=<hex>/<SHA-256 of the signature>. A signature proves itself, so nothing here is
 * trusted more than what the network says. */
#include "lookaside.h"
#include "verifier-gpg.h"

#include <dirent.h>
#include <string.h>

#include <fdio.h>

#define MAX_DIGESTS 4096

void
signature_free (gpointer data)
{
  Signature *signature = data;

  g_bytes_unref (signature->data);
  g_free (signature->source);
  g_free (signature);
}

static char *
directory_of (const char *digest)
{
  char *name = g_strdup (digest);

  return g_strdelimit (name, ":", '=');
}

void
cache_read (VerifierGpg *self, const char *digest, GPtrArray *signatures)
{
  g_autofree char *name = directory_of (digest);
  int dfd = gantry_open_no_links (self->cache_fd, name, O_RDONLY | O_DIRECTORY, 0);
  DIR *dir = dfd >= 0 ? fdopendir (dfd) : NULL;
  struct dirent *entry;
  guint n = 0;

  while (dir != NULL && n < LOOKASIDE_MAX_SIGNATURES && (entry = readdir (dir)) != NULL)
    {
      Signature *signature;
      GBytes *data = entry->d_name[0] != '.'
                         ? gantry_read_file_at (dfd, entry->d_name, LOOKASIDE_MAX_BYTES, NULL)
                         : NULL;

      if (data == NULL)
        continue;
      signature = g_new0 (Signature, 1);
      signature->data = data;
      signature->source = g_strdup_printf ("kept from an earlier verification (%.12s)", entry->d_name);
      g_ptr_array_add (signatures, signature);
      n++;
    }
  if (dir != NULL)
    closedir (dir);
  else if (dfd >= 0)
    close (dfd);
}

/* Whether there is room for one more digest; when the cache is full, it begins anew. */
static void
make_room (VerifierGpg *self)
{
  int fd = openat (self->cache_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *dir = fd >= 0 ? fdopendir (fd) : NULL;
  struct dirent *entry;
  guint n = 0;

  while (dir != NULL && readdir (dir) != NULL)
    n++;
  if (dir != NULL && n > MAX_DIGESTS)
    {
      rewinddir (dir);
      while ((entry = readdir (dir)) != NULL)
        if (entry->d_name[0] != '.' && !gantry_remove_tree_at (self->cache_fd, entry->d_name, NULL))
          break;
    }
  if (dir != NULL)
    closedir (dir);
}

void
cache_write (VerifierGpg *self, const char *digest, GBytes *data)
{
  g_autofree char *directory = directory_of (digest);
  g_autofree char *name = g_compute_checksum_for_bytes (G_CHECKSUM_SHA256, data);
  g_autoptr (GError) error = NULL;
  gantry_autofd int dfd = -1;

  make_room (self);
  dfd = gantry_open_dir_at (self->cache_fd, directory, 0700, &error);
  if (dfd < 0
      || !gantry_replace_file_at (dfd, name, g_bytes_get_data (data, NULL), g_bytes_get_size (data), 0600,
                                  FALSE, &error))
    gantry_host_log (self->host, GANTRY_LOG_WARNING, "a signature of %s could not be kept: %s", digest,
                     error->message);
}
