/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "reference.h"

#include <arpa/inet.h>
#include <string.h>

#define MAX_REPOSITORY 255
#define MAX_SERVER     255
#define MAX_TAG        128
#define DOCKER         "docker.io"
#define LOWER_ALNUM    "abcdefghijklmnopqrstuvwxyz" G_CSET_DIGITS
#define ALNUM          G_CSET_A_2_Z LOWER_ALNUM

static void
clear_reference (gpointer data)
{
  GantryReference *self = data;

  g_free (self->server);
  g_free (self->repository);
  g_free (self->tag);
  g_free (self->digest);
}

/* Says what is wrong with @what. The text of it is shown escaped: it may come from anywhere. */
static gboolean
refuse (GError **error, const char *what, const char *text, const char *reason)
{
  g_autofree char *shown = g_strescape (text, NULL);

  return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "%s \"%.300s\" %s", what, shown, reason);
}

gboolean
gantry_reference_check_digest (const char *digest, GError **error)
{
  static const struct
  {
    const char *prefix;
    gsize n_digits;
  } algorithms[] = { { "sha256:", 64 }, { "sha384:", 96 }, { "sha512:", 128 } };

  for (gsize i = 0; i < G_N_ELEMENTS (algorithms); i++)
    {
      const char *hex = digest + strlen (algorithms[i].prefix);

      if (!g_str_has_prefix (digest, algorithms[i].prefix))
        continue;
      if (strspn (hex, "0123456789abcdef") != strlen (hex))
        return refuse (error, "digest", digest, "has something else than 0-9 and a-f behind its algorithm");
      if (strlen (hex) != algorithms[i].n_digits)
        return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                             "digest \"%.200s\" has %zu digits instead of %zu", digest, strlen (hex),
                             algorithms[i].n_digits);
      return TRUE;
    }
  if (strchr (digest, ':') == NULL)
    return refuse (error, "digest", digest, "has no algorithm in front, such as sha256:");
  return refuse (error, "digest", digest,
                 "is of an algorithm that is not known; sha256, sha384 and sha512 are");
}

gboolean
gantry_reference_check_tag (const char *tag, GError **error)
{
  if (tag[0] == '\0')
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the tag is empty");
  if (strlen (tag) > MAX_TAG)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the tag has more than %d characters",
                         MAX_TAG);
  if (strspn (tag, ALNUM "_.-") != strlen (tag))
    return refuse (error, "tag", tag, "has something else than letters, digits, \"_\", \".\" and \"-\"");
  if (tag[0] == '.' || tag[0] == '-')
    return refuse (error, "tag", tag, "begins with \".\" or \"-\"");
  return TRUE;
}

static gboolean
check_host_name (const char *host, GError **error)
{
  g_auto (GStrv) labels = g_strsplit (host, ".", -1);

  for (gsize i = 0; labels[i] != NULL; i++)
    {
      const char *label = labels[i];

      if (label[0] == '\0')
        return refuse (error, "server", host, "has an empty part between its dots");
      if (strspn (label, ALNUM "-") != strlen (label))
        return refuse (error, "server", host, "has something else than letters, digits, \"-\" and \".\"");
      if (label[0] == '-' || label[strlen (label) - 1] == '-')
        return refuse (error, "server", host, "has a part that begins or ends with \"-\"");
    }
  return TRUE;
}

gboolean
gantry_reference_split_server (const char *server, char **ret_host, guint *ret_port, GError **error)
{
  g_autofree char *host = NULL;
  const char *rest;
  guint64 port = 0;
  struct in6_addr address;

  if (server[0] == '\0')
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the server is empty");
  if (strlen (server) > MAX_SERVER)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the server has more than %d characters",
                         MAX_SERVER);
  if (server[0] == '[')
    {
      rest = strchr (server, ']');
      if (rest == NULL)
        return refuse (error, "server", server, "has no \"]\" behind its IPv6 address");
      host = g_strndup (server + 1, (gsize)(rest - server - 1));
      if (inet_pton (AF_INET6, host, &address) != 1)
        return refuse (error, "server", server, "has no IPv6 address between its brackets");
      rest++;
      if (rest[0] != '\0' && rest[0] != ':')
        return refuse (error, "server", server, "has something else than a port behind its IPv6 address");
    }
  else
    {
      gsize length = strcspn (server, ":");

      host = g_strndup (server, length);
      rest = server + length;
      if (length == 0)
        return refuse (error, "server", server, "has no host in front of its port");
      if (strchr (rest + (rest[0] == ':'), ':') != NULL)
        return refuse (error, "server", server, "has several \":\"; write an IPv6 address in brackets");
      if (!check_host_name (host, error))
        return FALSE;
    }
  if (rest[0] == ':' && (!g_ascii_string_to_unsigned (rest + 1, 10, 1, 65535, &port, NULL) || rest[1] == '+'))
    return refuse (error, "server", server, "has a port that is no number from 1 to 65535");
  if (ret_host != NULL)
    *ret_host = g_steal_pointer (&host);
  if (ret_port != NULL)
    *ret_port = (guint)port;
  return TRUE;
}

/* One part of a path: lower-case letters and digits, joined by one ".", one or two "_", or any number of "-".
 */
static gboolean
check_part (const char *part, GError **error)
{
  const char *end = part;

  if (part[0] == '\0')
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the path has an empty part");
  if (strpbrk (part, G_CSET_A_2_Z) != NULL)
    return refuse (error, "path", part, "has an upper-case letter");
  if (strspn (part, LOWER_ALNUM "._-") != strlen (part))
    return refuse (error, "path", part,
                   "has something else than lower-case letters, digits, \".\", \"_\" and \"-\"");
  while (end[0] != '\0')
    {
      gsize word = strspn (end, LOWER_ALNUM);
      gsize joint = strspn (end + word, "._-");
      const char *separator = end + word;

      if (word == 0 || (joint > 0 && separator[joint] == '\0'))
        return refuse (error, "path", part, "begins or ends with \".\", \"_\" or \"-\"");
      if (joint > 1 && strspn (separator, "-") < joint && !(joint == 2 && g_str_has_prefix (separator, "__")))
        return refuse (error, "path", part,
                       "joins words by something else than \".\", \"_\", \"__\" or dashes");
      end = separator + joint;
    }
  return TRUE;
}

static gboolean
check_path (const char *path, GError **error)
{
  g_auto (GStrv) parts = g_strsplit (path, "/", -1);

  if (parts[0] == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "it has no path");
  if (strlen (path) > MAX_REPOSITORY)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the path has more than %d characters",
                         MAX_REPOSITORY);
  for (gsize i = 0; parts[i] != NULL; i++)
    if (!check_part (parts[i], error))
      return FALSE;
  return TRUE;
}

/* Whether the first @length letters of @text are a server. */
static gboolean
is_server (const char *text, gsize length)
{
  g_autofree char *first = g_strndup (text, length);

  return strpbrk (first, ".:[" G_CSET_A_2_Z) != NULL || strcmp (first, "localhost") == 0;
}

static gboolean
check_letters (const char *text, GError **error)
{
  if (text[0] == '\0')
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "it is empty");
  if (strlen (text) > GANTRY_REFERENCE_MAX)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "it has more than %d characters",
                         GANTRY_REFERENCE_MAX);
  if (strstr (text, "://") != NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "it begins with a scheme; leave out what stands up to \"://\"");
  for (const char *letter = text; *letter != '\0'; letter++)
    if (g_ascii_isspace (*letter))
      return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "it has a blank");
  return TRUE;
}

/* Splits @text; the server is NULL for a short name. Errors have no context yet. */
static GantryReference *
split (const char *text, GError **error)
{
  g_autoptr (GantryReference) self = GANTRY_VALUE_ALLOC (GantryReference, clear_reference);
  g_autofree char *rest = NULL;
  const char *path;
  char *mark, *slash;

  if (!check_letters (text, error))
    return NULL;
  rest = g_strdup (text);
  mark = strchr (rest, '@');
  if (mark != NULL)
    {
      *mark = '\0';
      self->digest = g_strdup (mark + 1);
      if (!gantry_reference_check_digest (self->digest, error))
        return NULL;
    }
  slash = strrchr (rest, '/');
  mark = strchr (slash != NULL ? slash : rest, ':');
  /* "[::1]" and "localhost:" alone have no path, and say so below. */
  if (mark != NULL && (slash != NULL || rest[0] != '['))
    {
      *mark = '\0';
      self->tag = g_strdup (mark + 1);
      if (!gantry_reference_check_tag (self->tag, error))
        return NULL;
    }
  slash = strchr (rest, '/');
  path = rest;
  if (slash != NULL && is_server (rest, (gsize)(slash - rest)))
    {
      self->server = g_strndup (rest, (gsize)(slash - rest));
      path = slash + 1;
      if (!gantry_reference_split_server (self->server, NULL, NULL, error))
        return NULL;
    }
  if (!check_path (path, error))
    return NULL;
  self->repository = g_strdup (path);
  return g_steal_pointer (&self);
}

/* Puts a server, "library" and "latest" where they are missing. */
static GantryReference *
fill (const GantryReference *parts, const char *server, const char *path, GError **error)
{
  g_autoptr (GantryReference) self = GANTRY_VALUE_ALLOC (GantryReference, clear_reference);
  gboolean docker = strcmp (server, DOCKER) == 0 || strcmp (server, "index." DOCKER) == 0;
  gboolean short_name = strchr (parts->repository, '/') == NULL;

  if (docker && path != NULL && strcmp (path, "library") == 0)
    path = NULL;
  if (docker && path == NULL && short_name)
    path = "library";
  self->server = g_strdup (docker ? DOCKER : server);
  self->repository
      = path != NULL ? g_strconcat (path, "/", parts->repository, NULL) : g_strdup (parts->repository);
  self->tag = g_strdup (parts->tag != NULL || parts->digest != NULL ? parts->tag : "latest");
  self->digest = g_strdup (parts->digest);
  if (strlen (self->repository) > MAX_REPOSITORY)
    {
      gantry_throw (
          error, GANTRY_ERROR_INVALID_ARGUMENT,
          "\"%.300s\" is no image reference: completed for %s, the path has more than %d characters",
          parts->repository, server, MAX_REPOSITORY);
      return NULL;
    }
  return g_steal_pointer (&self);
}

/* 64 hexadecimal digits are an image's id to docker and would be a trap as a name. */
static gboolean
check_no_id (const GantryReference *parts, GError **error)
{
  const char *path = parts->repository;
  gboolean bare = parts->server == NULL && parts->tag == NULL && parts->digest == NULL;

  if (bare && strlen (path) == 64 && strspn (path, "0123456789abcdef") == 64)
    return gantry_throw (
        error, GANTRY_ERROR_INVALID_ARGUMENT,
        "it is 64 hexadecimal digits, which would be an id; write NAME@sha256:… for a digest");
  return TRUE;
}

static GantryReference *
split_and_check (const char *text, GError **error)
{
  g_autoptr (GantryReference) parts = split (text, error);

  if (parts == NULL || !check_no_id (parts, error))
    {
      g_autofree char *shown = g_strescape (text, NULL);

      g_prefix_error (error, "\"%.300s\" is no image reference: ", shown);
      return NULL;
    }
  return g_steal_pointer (&parts);
}

GantryReference *
gantry_reference_parse (const char *text, GError **error)
{
  g_autoptr (GantryReference) parts = split_and_check (text, error);

  return parts != NULL ? fill (parts, parts->server != NULL ? parts->server : DOCKER, NULL, error) : NULL;
}

gboolean
gantry_reference_check_prefix (const char *prefix, GError **error)
{
  gsize length = strcspn (prefix, "/");
  g_autofree char *server = g_strndup (prefix, length);

  if (!is_server (prefix, length))
    return refuse (error, "prefix", prefix, "does not begin with a server, such as docker.io/library");
  if (!gantry_reference_split_server (server, NULL, NULL, error)
      || (prefix[length] == '/' && !check_path (prefix + length + 1, error)))
    {
      g_prefix_error (error, "prefix \"%.300s\": ", prefix);
      return FALSE;
    }
  return TRUE;
}

char **
gantry_reference_complete (const char *text, const char *const *prefixes, GError **error)
{
  static const char *const docker[] = { DOCKER, NULL };
  g_autoptr (GantryReference) parts = split_and_check (text, error);
  g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);

  if (parts == NULL)
    return NULL;
  if (prefixes == NULL || prefixes[0] == NULL)
    prefixes = docker;
  for (gsize i = 0; prefixes[i] != NULL && (parts->server == NULL || i == 0); i++)
    {
      gsize length = strcspn (prefixes[i], "/");
      g_autofree char *server = g_strndup (prefixes[i], length);
      const char *path = prefixes[i][length] == '/' ? prefixes[i] + length + 1 : NULL;
      g_autoptr (GantryReference) whole = parts->server != NULL ? fill (parts, parts->server, NULL, error)
                                                                : fill (parts, server, path, error);
      g_autofree char *name = NULL;

      if (whole == NULL)
        return NULL;
      name = gantry_reference_to_string (whole);
      if (!g_ptr_array_find_with_equal_func (names, name, g_str_equal, NULL))
        g_ptr_array_add (names, g_steal_pointer (&name));
    }
  g_ptr_array_add (names, NULL);
  return (char **)g_ptr_array_free (g_steal_pointer (&names), FALSE);
}

static char *
join (const GantryReference *self, const char *server, const char *path)
{
  return g_strconcat (server, path, self->tag != NULL ? ":" : "", self->tag != NULL ? self->tag : "",
                      self->digest != NULL ? "@" : "", self->digest, NULL);
}

char *
gantry_reference_to_string (const GantryReference *self)
{
  g_autofree char *server = g_strconcat (self->server, "/", NULL);

  return join (self, server, self->repository);
}

char *
gantry_reference_to_familiar (const GantryReference *self)
{
  gboolean library
      = g_str_has_prefix (self->repository, "library/") && strchr (self->repository + 8, '/') == NULL;
  const char *path = self->repository + (library ? 8 : 0);
  gsize length = strcspn (path, "/");

  /* "docker.io/localhost/x" stays whole: as "localhost/x" it would be somewhere else. */
  if (strcmp (self->server, DOCKER) != 0 || (path[length] == '/' && is_server (path, length)))
    return gantry_reference_to_string (self);
  return join (self, "", path);
}

char *
gantry_reference_normalize (const char *text, GError **error)
{
  g_autoptr (GantryReference) self = gantry_reference_parse (text, error);

  return self != NULL ? gantry_reference_to_string (self) : NULL;
}
