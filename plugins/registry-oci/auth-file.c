/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "auth-file.h"

#include <string.h>

#include <oci.h>

#define DOCKER           "docker.io"
#define DOCKER_INDEX_URL "https://index.docker.io/v1/"

struct _AuthFile
{
  JsonNode *node;     /* (nullable): of an empty file */
  JsonObject *object; /* (nullable) */
  char *path;
};

void
auth_file_free (AuthFile *self)
{
  if (self == NULL)
    return;
  g_clear_pointer (&self->node, json_node_unref);
  g_free (self->path);
  g_free (self);
}

AuthFile *
auth_file_new (GBytes *bytes, const char *path, GError **error)
{
  g_autoptr (AuthFile) self = g_new0 (AuthFile, 1);

  self->path = g_strdup (path);
  /* `docker logout` leaves an empty file behind now and then. */
  if (g_bytes_get_size (bytes) == 0)
    return g_steal_pointer (&self);
  self->node = oci_parse (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), error);
  if (self->node == NULL || !JSON_NODE_HOLDS_OBJECT (self->node))
    {
      if (self->node != NULL)
        gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "it is no JSON object");
      g_prefix_error (error, "credentials in %s: ", path);
      return NULL;
    }
  self->object = json_node_get_object (self->node);
  return g_steal_pointer (&self);
}

JsonObject *
auth_file_get_auths (AuthFile *self)
{
  return self->object != NULL ? oci_object (self->object, "auths") : NULL;
}

char *
auth_file_canonical (const char *key)
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
      g_autofree char *name = auth_file_canonical (key);

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

const char *
auth_file_get_helper (AuthFile *self, const char *host, const char *repository, char **ret_key)
{
  JsonNode *node
      = self->object != NULL ? find_entry (oci_object (self->object, "credHelpers"), host, repository) : NULL;
  const char *name = node != NULL && JSON_NODE_HOLDS_VALUE (node) ? json_node_get_string (node) : NULL;
  const char *key = NULL;

  if (name == NULL && self->object != NULL)
    name = oci_string (self->object, "credsStore");
  if (name == NULL || name[0] == '\0')
    return NULL;
  /* A store is asked by the key that `docker login` wrote. */
  find_key (auth_file_get_auths (self), host, &key);
  if (key == NULL)
    key = strcmp (host, DOCKER) == 0 ? DOCKER_INDEX_URL : host;
  *ret_key = g_strdup (key);
  return name;
}

gboolean
auth_file_find (AuthFile *self, const char *host, const char *repository, GantryCredentials **ret_credentials,
                GError **error)
{
  JsonNode *node = find_entry (auth_file_get_auths (self), host, repository);
  g_autoptr (GError) local = NULL;

  if (node == NULL || !JSON_NODE_HOLDS_OBJECT (node))
    return TRUE;
  *ret_credentials = read_entry (self->path, host, json_node_get_object (node), &local);
  if (local == NULL)
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&local));
  return FALSE;
}
