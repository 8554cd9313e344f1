/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Credentials of the operator, in the format that docker's config.json (docker/cli, "credential store") and
 * containers-auth.json(5) share: "auths" by server, "credHelpers" by server, "credsStore" for all. Sources in
 * order: systemd's credential "gantry.registry-auth", what login () stored, the configured files. In each,
 * helpers come before what stands in the file. */
#include <errno.h>
#include <string.h>

#include <fdio.h>

#include "registry-oci.h"

#define MAX_FILE         (1024 * 1024)
#define SYSTEMD_NAME     "gantry.registry-auth"
#define STORED_NAME      "auth.json"
#define DOCKER           "docker.io"
#define DOCKER_INDEX_URL "https://index.docker.io/v1/"

/* A file of credentials. */
typedef struct
{
  JsonNode *node;
  JsonObject *object;
  char *path;
} AuthFile;

static void
auth_file_clear (AuthFile *self)
{
  g_clear_pointer (&self->node, json_node_unref);
  g_clear_pointer (&self->path, g_free);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (AuthFile, auth_file_clear)

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

/* Reads what @fd (taken) has. */
static gboolean
read_auth_file (int own_fd, const char *path, AuthFile *ret_file, GError **error)
{
  gantry_autofd int fd = own_fd;
  g_autoptr (GBytes) bytes = NULL;
  g_auto (AuthFile) file = { 0 };

  if (!check_owner (fd, path, error) || (bytes = gantry_read_all (fd, MAX_FILE, error)) == NULL)
    return FALSE;
  /* `docker logout` leaves an empty file behind now and then. */
  if (g_bytes_get_size (bytes) == 0)
    return TRUE;
  file.node = oci_parse (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), error);
  if (file.node == NULL || !JSON_NODE_HOLDS_OBJECT (file.node))
    {
      if (error != NULL && *error == NULL)
        gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "it is no JSON object");
      g_prefix_error (error, "credentials in %s: ", path);
      return FALSE;
    }
  file.object = json_node_get_object (file.node);
  file.path = g_strdup (path);
  *ret_file = file;
  file = (AuthFile){ 0 };
  return TRUE;
}

/* "https://index.docker.io/v1/" and "docker.io" name the same. Returns: (transfer full). */
static char *
canonical (const char *key)
{
  const char *start = strstr (key, "://") != NULL ? strstr (key, "://") + 3 : key;
  g_autofree char *rest = g_strdup (start);
  gsize length = strlen (rest);

  while (length > 0 && rest[length - 1] == '/')
    rest[--length] = '\0';
  if (start != key && (g_str_has_suffix (rest, "/v1") || g_str_has_suffix (rest, "/v2")))
    rest[length - 3] = '\0';
  if (strcmp (rest, "index.docker.io") == 0 || strcmp (rest, "registry-1.docker.io") == 0)
    return g_strdup (DOCKER);
  return g_steal_pointer (&rest);
}

/* The member of @map whose key names @wanted. Returns: (transfer none) (nullable). */
static JsonNode *
find_key (JsonObject *map, const char *wanted, const char **ret_key)
{
  JsonObjectIter iter;
  const char *key;
  JsonNode *node;

  if (map == NULL)
    return NULL;
  json_object_iter_init (&iter, map);
  while (json_object_iter_next (&iter, &key, &node))
    {
      g_autofree char *name = canonical (key);

      if (strcmp (name, wanted) == 0)
        {
          if (ret_key != NULL)
            *ret_key = key;
          return node;
        }
    }
  return NULL;
}

/* containers-auth.json: the longest key of "server/a/b", "server/a", "server" counts. */
static JsonNode *
find_entry (JsonObject *map, const char *host, const char *repository)
{
  g_autofree char *key = g_strconcat (host, "/", repository, NULL);

  for (;;)
    {
      JsonNode *node = find_key (map, key, NULL);
      char *slash = strrchr (key, '/');

      if (node != NULL || slash == NULL)
        return node;
      *slash = '\0';
    }
}

/* {"auth": base64 of "user:password", "identitytoken": …, "registrytoken": …}, or username and password in
 * the clear. */
static GantryCredentials *
read_entry (const char *path, const char *host, JsonObject *entry, GError **error)
{
  const char *auth = oci_string (entry, "auth"), *identity = oci_string (entry, "identitytoken");
  const char *registry = oci_string (entry, "registrytoken"), *user = oci_string (entry, "username");
  const char *password = oci_string (entry, "password");
  g_autofree char *decoded = NULL;
  gsize length = 0;
  char *colon;

  if (auth != NULL && auth[0] != '\0')
    {
      g_autofree guchar *raw = g_base64_decode (auth, &length);

      decoded = g_strndup ((const char *)raw, length);
      colon = strchr (decoded, ':');
      if (colon == NULL || strlen (decoded) != length)
        {
          gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                        "credentials in %s: \"auth\" of %s is not base64 of USER:PASSWORD", path, host);
          return NULL;
        }
      *colon = '\0';
      user = decoded;
      password = colon + 1;
    }
  if (registry != NULL && registry[0] != '\0')
    return gantry_credentials_new (GANTRY_CREDENTIALS_BEARER, user, registry, path);
  if (identity != NULL && identity[0] != '\0')
    return gantry_credentials_new (GANTRY_CREDENTIALS_IDENTITY_TOKEN, user, identity, path);
  if (password != NULL && password[0] != '\0')
    return gantry_credentials_new (GANTRY_CREDENTIALS_PASSWORD, user, password, path);
  return NULL;
}

/* Asks the helper that the file names for the host, if any. */
static gboolean
ask_helper (RegistryOci *self, AuthFile *file, const char *host, const char *repository,
            GantryCredentials **ret_credentials, GCancellable *cancellable, GError **error)
{
  JsonNode *node = find_entry (oci_object (file->object, "credHelpers"), host, repository);
  const char *name = node != NULL && JSON_NODE_HOLDS_VALUE (node) ? json_node_get_string (node) : NULL;
  const char *key = NULL;

  if (name == NULL)
    name = oci_string (file->object, "credsStore");
  if (name == NULL || name[0] == '\0')
    return TRUE;
  /* A store is asked by the key that `docker login` wrote. */
  find_key (oci_object (file->object, "auths"), host, &key);
  if (key == NULL)
    key = strcmp (host, DOCKER) == 0 ? DOCKER_INDEX_URL : host;
  return helper_get (self, name, key, file->path, ret_credentials, cancellable, error);
}

static gboolean
look_in (RegistryOci *self, AuthFile *file, const char *host, const char *repository,
         GantryCredentials **ret_credentials, GCancellable *cancellable, GError **error)
{
  g_autoptr (GError) local = NULL;
  JsonNode *node;

  if (file->object == NULL)
    return TRUE;
  if (!ask_helper (self, file, host, repository, ret_credentials, cancellable, error))
    return FALSE;
  if (*ret_credentials != NULL)
    return TRUE;
  node = find_entry (oci_object (file->object, "auths"), host, repository);
  if (node == NULL || !JSON_NODE_HOLDS_OBJECT (node))
    return TRUE;
  *ret_credentials = read_entry (file->path, host, json_node_get_object (node), &local);
  if (local == NULL)
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&local));
  return FALSE;
}

/* Looks in the file that @fd (taken; -1: there is none) is of. */
static gboolean
look_in_fd (RegistryOci *self, int fd, const char *path, const char *host, const char *repository,
            GantryCredentials **ret_credentials, GCancellable *cancellable, GError **error)
{
  g_auto (AuthFile) file = { 0 };

  if (fd < 0)
    return errno == ENOENT || errno == ENOTDIR
           || gantry_throw_errno (error, errno, "credentials in %s", path);
  return read_auth_file (fd, path, &file, error)
         && look_in (self, &file, host, repository, ret_credentials, cancellable, error);
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
  g_autofree char *host = canonical (server);
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
  JsonObject *auths = file->object != NULL ? oci_object (file->object, "auths") : NULL;
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
  g_autofree char *host = canonical (server), *text = NULL;
  g_auto (AuthFile) file = { 0 };
  g_autoptr (JsonBuilder) builder = NULL;
  g_autoptr (JsonGenerator) generator = json_generator_new ();
  g_autoptr (JsonNode) root = NULL;
  int fd = open_stored (self, O_RDONLY, error);
  gboolean had;
  gsize length;

  if (fd == -2
      || (fd < 0 && errno != ENOENT && !gantry_throw_errno (error, errno, "opening what login has stored"))
      || (fd >= 0 && !read_auth_file (fd, "gantry login", &file, error)))
    return FALSE;
  builder = copy_without (&file, host, &had);
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
