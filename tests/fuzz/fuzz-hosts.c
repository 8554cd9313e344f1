/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a hosts.toml means: hosts that can be asked, in the order of the file and the server last, or a reason
 * on one line that names the file. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <glib/gstdio.h>

#include "registry-oci.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static char *dir, *server_dir, *path;

static void
remove_all (void)
{
  g_remove (path);
  g_rmdir (server_dir);
  g_rmdir (dir);
}

static void
make_directories (void)
{
  dir = g_dir_make_tmp ("gantry-fuzz-XXXXXX", NULL);
  server_dir = g_build_filename (dir, "registry.example", NULL);
  path = g_build_filename (server_dir, "hosts.toml", NULL);
  if (g_mkdir (server_dir, 0700) < 0)
    g_error ("making %s failed", server_dir);
  atexit (remove_all);
}

static void
check_host (RegistryHost *host, gboolean last)
{
  g_autoptr (GUri) uri = g_uri_parse (host->base, SOUP_HTTP_URI_FLAGS, NULL);

  if (uri == NULL || g_uri_get_host (uri) == NULL || g_uri_get_userinfo (uri) != NULL
      || (!g_str_has_prefix (host->base, "https://") && !g_str_has_prefix (host->base, "http://"))
      || g_str_has_suffix (host->base, "/"))
    g_error ("\"%s\" is no base of requests", host->base);
  if (host->capabilities == 0 || (host->capabilities & ~(guint)CAN_ALL) != 0 || host->mirror == last
      || host->tls == NULL || host->tls_elsewhere == NULL || host->tls_elsewhere->clients->len != 0)
    g_error ("%s has no capability, or others, or is no mirror or no server as its place says", host->base);
  if (g_str_has_prefix (host->base, "http://") && !host->plain_http && !url_is_loopback (host->base))
    g_error ("%s would be asked by plain HTTP though nobody says so", host->base);
  for (gsize i = 0; host->headers != NULL && host->headers[i] != NULL; i += 2)
    if (host->headers[i + 1] == NULL || !header_is_valid (host->headers[i], host->headers[i + 1]))
      g_error ("%s has a header that can't be sent", host->base);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  g_autoptr (GPtrArray) hosts = NULL;
  g_autoptr (GError) error = NULL;
  RegistryOci registry = { 0 };
  char *dirs[] = { NULL, NULL };

  if (dir == NULL)
    make_directories ();
  dirs[0] = dir;
  registry.hosts_dirs = dirs;
  if (!g_file_set_contents (path, (const char *)data, (gssize)size, NULL))
    g_error ("writing %s failed", path);
  hosts = hosts_find (&registry, "registry.example", NULL, &error);
  if (hosts == NULL)
    {
      if (error == NULL || !g_utf8_validate (error->message, -1, NULL)
          || strchr (error->message, '\n') != NULL || strstr (error->message, "hosts.toml") == NULL)
        g_error ("it is refused without a readable reason: %s", error != NULL ? error->message : "none");
      return 0;
    }
  if (hosts->len == 0 || hosts->len > 33)
    g_error ("there are %u hosts", hosts->len);
  for (guint i = 0; i < hosts->len; i++)
    check_host (g_ptr_array_index (hosts, i), i + 1 == hosts->len);
  return 0;
}
