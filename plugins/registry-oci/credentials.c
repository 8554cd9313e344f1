/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Credentials of the operator, in the format that docker's config.json (docker/cli, "credential store") and
 * containers-auth.json(5) share: "auths" by server, "credHelpers" by server, "credsStore" for all. Sources in
 * order: systemd's credential "gantry.registry-auth", what login () stored, the configured files. In each,
 * helpers come before what stands in the file. */
#include <errno.h>
#include <string.h>

#include <fdio.h>

#include "auth-file.h"
#include "registry-oci.h"

#define MAX_FILE     (1024 * 1024)
#define SYSTEMD_NAME "gantry.registry-auth"
#define STORED_NAME  "auth.json"

/* Somebody else's file would decide who we are, and which helpers run. */
static gboolean
check_owner (int fd, const char *path, GError **error)
{
  struct stat st;

  if (fstat (fd, &st) < 0)
    return gantry_throw_errno (error, errno, "credentials in %s", path);
  if (!S_ISREG (st.st_mode) || (st.st_uid != 0 && st.st_uid != geteuid ()) || (st.st_mode & 022) != 0)
    return gantry_throw (error, GANTRY_ERROR_PERMISSION_DENIED,
                         "credentials in %s: others may write it; make it root's with mode 0600", path);
  return TRUE;
}

/* Reads what @fd (taken) has. Returns: (transfer full). */
static AuthFile *
read_auth_file (int own_fd, const char *path, GError **error)
{
  gantry_autofd int fd = own_fd;
  g_autoptr (GBytes) bytes = NULL;

  if (!check_owner (fd, path, error) || (bytes = gantry_read_all (fd, MAX_FILE, error)) == NULL)
    return NULL;
  return auth_file_new (bytes, path, error);
}

/* Looks in the file that @own_fd (taken; -1: there is none) is of. */
static gboolean
look_in_fd (RegistryOci *self, int own_fd, const char *path, const char *host, const char *repository,
            GantryCredentials **ret_credentials, GCancellable *cancellable, GError **error)
{
  g_autoptr (AuthFile) file = NULL;
  g_autofree char *key = NULL;
  const char *helper;

  if (own_fd < 0)
    return errno == ENOENT || errno == ENOTDIR
           || gantry_throw_errno (error, errno, "credentials in %s", path);
  file = read_auth_file (own_fd, path, error);
  if (file == NULL)
    return FALSE;
  helper = auth_file_get_helper (file, host, repository, &key);
  if (helper != NULL && !helper_get (self, helper, key, path, ret_credentials, cancellable, error))
    return FALSE;
  return *ret_credentials != NULL || auth_file_find (file, host, repository, ret_credentials, error);
}

static int
open_stored (RegistryOci *self, int flags, GError **error)
{
  int dfd = gantry_host_get_dir_fd (self->host, GANTRY_DIR_PERSISTENT, error);

  return dfd >= 0 ? openat (dfd, STORED_NAME, flags | O_CLOEXEC | O_NOFOLLOW) : -2;
}

gboolean
credentials_find (RegistryOci *self, const char *server, const char *repository,
                  GantryCredentials **ret_credentials, GCancellable *cancellable, GError **error)
{
  const char *directory = g_getenv ("CREDENTIALS_DIRECTORY");
  g_autofree char *host = auth_file_canonical (server);
  g_autoptr (GantryCredentials) found = NULL;
  int fd;

  if (directory != NULL)
    {
      g_autofree char *path = g_build_filename (directory, SYSTEMD_NAME, NULL);

      if (!look_in_fd (self, open (path, O_RDONLY | O_CLOEXEC), "systemd's credential " SYSTEMD_NAME, host,
                       repository, &found, cancellable, error))
        return FALSE;
    }
  if (found == NULL)
    {
      fd = open_stored (self, O_RDONLY, error);
      if (fd == -2 || !look_in_fd (self, fd, "gantry login", host, repository, &found, cancellable, error))
        return FALSE;
    }
  for (gsize i = 0; found == NULL && self->auth_files[i] != NULL; i++)
    if (!look_in_fd (self, open (self->auth_files[i], O_RDONLY | O_CLOEXEC), self->auth_files[i], host,
                     repository, &found, cancellable, error))
      return FALSE;
  *ret_credentials = g_steal_pointer (&found);
  return TRUE;
}

/* Storing. */

/* The stored file's entries without that of @host. *@ret_had: whether it had one. Returns: (transfer full): a
 * builder inside "auths". */
static JsonBuilder *
copy_without (AuthFile *file, const char *host, gboolean *ret_had)
{
  JsonBuilder *builder = json_builder_new ();
  JsonObject *auths = file != NULL ? auth_file_get_auths (file) : NULL;
  JsonObjectIter iter;
  const char *key;
  JsonNode *node;

  json_builder_begin_object (builder);
  json_builder_set_member_name (builder, "auths");
  json_builder_begin_object (builder);
  *ret_had = FALSE;
  if (auths == NULL)
    return builder;
  json_object_iter_init (&iter, auths);
  while (json_object_iter_next (&iter, &key, &node))
    {
      if (strcmp (key, host) == 0)
        *ret_had = TRUE;
      else
        {
          json_builder_set_member_name (builder, key);
          json_builder_add_value (builder, json_node_copy (node));
        }
    }
  return builder;
}

static void
add_entry (JsonBuilder *builder, const char *host, GantryCredentials *credentials)
{
  const char *user = credentials->username != NULL ? credentials->username : "";
  gboolean identity = credentials->kind == GANTRY_CREDENTIALS_IDENTITY_TOKEN;
  g_autofree char *both = g_strconcat (user, ":", identity ? "" : credentials->secret, NULL);
  g_autofree char *encoded = g_base64_encode ((const guchar *)both, strlen (both));

  json_builder_set_member_name (builder, host);
  json_builder_begin_object (builder);
  json_builder_set_member_name (builder, "auth");
  json_builder_add_string_value (builder, encoded);
  if (identity)
    {
      json_builder_set_member_name (builder, "identitytoken");
      json_builder_add_string_value (builder, credentials->secret);
    }
  json_builder_end_object (builder);
}

/* Rewrites the stored file: @credentials NULL: without @server. With auth_lock. */
static gboolean
rewrite (RegistryOci *self, const char *server, GantryCredentials *credentials, GError **error)
{
  g_autofree char *host = auth_file_canonical (server), *text = NULL;
  g_autoptr (AuthFile) file = NULL;
  g_autoptr (JsonBuilder) builder = NULL;
  g_autoptr (JsonGenerator) generator = json_generator_new ();
  g_autoptr (JsonNode) root = NULL;
  int fd = open_stored (self, O_RDONLY, error);
  gboolean had;
  gsize length;

  if (fd == -2
      || (fd < 0 && errno != ENOENT && !gantry_throw_errno (error, errno, "opening what login has stored"))
      || (fd >= 0 && (file = read_auth_file (fd, "gantry login", error)) == NULL))
    return FALSE;
  builder = copy_without (file, host, &had);
  if (credentials != NULL)
    add_entry (builder, host, credentials);
  else if (!had)
    return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "no credentials for %s are stored", server);
  json_builder_end_object (builder);
  json_builder_end_object (builder);
  root = json_builder_get_root (builder);
  json_generator_set_root (generator, root);
  text = json_generator_to_data (generator, &length);
  return gantry_replace_file_at (gantry_host_get_dir_fd (self->host, GANTRY_DIR_PERSISTENT, NULL),
                                 STORED_NAME, text, length, 0600, TRUE, error);
}

gboolean
credentials_store (RegistryOci *self, const char *server, GantryCredentials *credentials, char **ret_file,
                   GError **error)
{
  const char *directory = gantry_host_get_dir_path (self->host, GANTRY_DIR_PERSISTENT, error);
  gboolean stored;

  if (directory == NULL)
    return FALSE;
  g_mutex_lock (&self->auth_lock);
  stored = rewrite (self, server, credentials, error);
  g_mutex_unlock (&self->auth_lock);
  if (stored)
    *ret_file = g_build_filename (directory, STORED_NAME, NULL);
  return stored;
}

gboolean
credentials_forget (RegistryOci *self, const char *server, GError **error)
{
  gboolean gone;

  g_mutex_lock (&self->auth_lock);
  gone = rewrite (self, server, NULL, error);
  g_mutex_unlock (&self->auth_lock);
  return gone;
}
