/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Where a server's repositories are: directories as containerd has them ("certs.d": a directory a server with
 * a hosts.toml, or with certificates only, as docker has them), else the server itself. Source: containerd
 * docs/hosts.md. */
#include <errno.h>
#include <string.h>

#include <fdio.h>
#include <toml.h>

#include "registry-oci.h"

#define MAX_FILE    (1024 * 1024)
#define MAX_HOSTS   32
#define MAX_CLIENTS 16
#define DOCKER      "docker.io"
#define DOCKER_API  "registry-1.docker.io"

/* What is said of one host, or of the server. */
typedef struct
{
  const char *directory; /* relative names start there */
  const char *origin;
  const char *server;
  GVariant *options;
  guint line;
} Source;

static void
clear_host (gpointer data)
{
  RegistryHost *self = data;

  g_free (self->base);
  g_free (self->name);
  g_free (self->origin);
  g_free (self->server);
  g_strfreev (self->headers);
  g_strfreev (self->ca_files);
  http_tls_unref (self->tls);
  http_tls_unref (self->tls_elsewhere);
}

static gboolean
get_option (GVariant *options, const char *name, gboolean fallback)
{
  gboolean value = fallback;

  if (options != NULL)
    g_variant_lookup (options, name, "b", &value);
  return value;
}

/* "https://host:port/path" in the form that requests start with. */
static gboolean
set_url (RegistryHost *self, const char *url, gboolean override_path, GError **error)
{
  g_autofree char *whole = strstr (url, "://") != NULL ? g_strdup (url) : g_strconcat ("https://", url, NULL);
  g_autoptr (GUri) uri = g_uri_parse (whole, SOUP_HTTP_URI_FLAGS, NULL);
  const char *host = uri != NULL ? g_uri_get_host (uri) : NULL;
  gboolean plain = uri != NULL && strcmp (g_uri_get_scheme (uri), "http") == 0;
  g_autofree char *path = NULL, *authority = NULL, *shown = NULL;

  if (host == NULL || host[0] == '\0' || (!plain && strcmp (g_uri_get_scheme (uri), "https") != 0)
      || g_uri_get_userinfo (uri) != NULL || g_uri_get_query (uri) != NULL
      || g_uri_get_fragment (uri) != NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "\"%.200s\" is no URL of a registry: http or https, host, port and path", url);
  if (strcmp (host, DOCKER) == 0)
    host = DOCKER_API;
  path = g_strdup (g_uri_get_path (uri));
  while (path[0] != '\0' && path[strlen (path) - 1] == '/')
    path[strlen (path) - 1] = '\0';
  shown = strchr (host, ':') != NULL ? g_strconcat ("[", host, "]", NULL) : g_strdup (host);
  authority = g_uri_get_port (uri) > 0 && g_uri_get_port (uri) != (plain ? 80 : 443)
                  ? g_strdup_printf ("%s:%d", shown, g_uri_get_port (uri))
                  : g_strdup (shown);
  g_free (self->base);
  g_free (self->name);
  self->name = g_strdup (authority);
  self->base = g_strconcat (plain ? "http://" : "https://", authority, path,
                            override_path || g_str_has_suffix (path, "/v2") ? "" : "/v2", NULL);
  return TRUE;
}

/* The server itself, when no file says otherwise. */
static char *
default_url (const char *server, GVariant *options, gboolean has_certificates)
{
  g_autofree char *plain = g_strconcat ("http://", server, NULL);
  gboolean loopback = url_is_loopback (plain) && !g_str_has_suffix (server, ":443") && !has_certificates;

  return get_option (options, "plain-http", loopback) ? g_steal_pointer (&plain)
                                                      : g_strconcat ("https://", server, NULL);
}

/* Values of hosts.toml. */

static gboolean
wrong_kind (const Source *source, const TomlValue *value, const char *wanted, GError **error)
{
  return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "%s: line %u: %s must be %s, not %s",
                       source->origin, value->line, value->key != NULL ? value->key : "a value", wanted,
                       toml_kind_name (value->kind));
}

static gboolean
get_boolean (const Source *source, const TomlValue *table, const char *key, gboolean *ret_value,
             GError **error)
{
  const TomlValue *value = toml_get (table, key);

  if (value == NULL)
    return TRUE;
  if (value->kind != TOML_BOOLEAN)
    return wrong_kind (source, value, "true or false", error);
  *ret_value = value->integer != 0;
  return TRUE;
}

/* A string or an array of strings. */
static gboolean
get_strings (const Source *source, const TomlValue *value, GPtrArray *strings, GError **error)
{
  if (value == NULL)
    return TRUE;
  if (value->kind == TOML_STRING)
    {
      g_ptr_array_add (strings, g_strdup (value->string));
      return TRUE;
    }
  if (value->kind != TOML_ARRAY)
    return wrong_kind (source, value, "a string or an array of strings", error);
  for (guint i = 0; i < value->items->len; i++)
    {
      const TomlValue *item = g_ptr_array_index (value->items, i);

      if (item->kind != TOML_STRING)
        return wrong_kind (source, value, "a string or an array of strings", error);
      g_ptr_array_add (strings, g_strdup (item->string));
    }
  return TRUE;
}

static gboolean
get_capabilities (const Source *source, const TomlValue *table, RegistryHost *host, GError **error)
{
  static const char *const names[] = { "pull", "resolve", "push", "referrers" };
  g_autoptr (GPtrArray) words = g_ptr_array_new_with_free_func (g_free);
  const TomlValue *value = toml_get (table, "capabilities");

  host->capabilities = value == NULL || (value->items != NULL && value->items->len == 0) ? CAN_ALL : 0;
  if (!get_strings (source, value, words, error))
    return FALSE;
  for (guint i = 0; i < words->len; i++)
    {
      gsize j = 0;

      while (j < G_N_ELEMENTS (names) && strcmp (names[j], g_ptr_array_index (words, i)) != 0)
        j++;
      if (j == G_N_ELEMENTS (names))
        return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                             "%s: line %u: capability \"%.50s\" is none of pull, resolve, push, referrers",
                             source->origin, value->line, (char *)g_ptr_array_index (words, i));
      host->capabilities |= 1U << j;
    }
  return TRUE;
}

static gboolean
get_headers (const Source *source, const TomlValue *table, RegistryHost *host, GError **error)
{
  const TomlValue *headers = toml_get (table, "header");
  g_autoptr (GPtrArray) pairs = g_ptr_array_new_with_free_func (g_free);

  if (headers == NULL)
    return TRUE;
  if (headers->kind != TOML_TABLE)
    return wrong_kind (source, headers, "a table", error);
  for (guint i = 0; i < headers->items->len; i++)
    {
      const TomlValue *header = g_ptr_array_index (headers->items, i);
      g_autoptr (GPtrArray) values = g_ptr_array_new_with_free_func (g_free);

      if (!get_strings (source, header, values, error))
        return FALSE;
      for (guint j = 0; j < values->len; j++)
        {
          if (!header_is_valid (header->key, g_ptr_array_index (values, j)))
            return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                                 "%s: line %u: a header's name or value has letters that can't be sent",
                                 source->origin, header->line);
          g_ptr_array_add (pairs, g_strdup (header->key));
          g_ptr_array_add (pairs, g_strdup (g_ptr_array_index (values, j)));
        }
    }
  g_ptr_array_add (pairs, NULL);
  host->headers = (char **)g_ptr_array_free (g_steal_pointer (&pairs), FALSE);
  return TRUE;
}

static char *
absolute (const Source *source, const char *path)
{
  return g_path_is_absolute (path) ? g_strdup (path) : g_build_filename (source->directory, path, NULL);
}

/* A file with a certificate, and with its key unless that has a file of its own. */
static void
add_client (const Source *source, GPtrArray *clients, const char *cert, const char *key)
{
  g_ptr_array_add (clients, absolute (source, cert));
  g_ptr_array_add (clients, key != NULL ? absolute (source, key) : g_strdup (""));
}

static gboolean
get_client (const Source *source, const TomlValue *value, GPtrArray *clients, GError **error)
{
  g_autoptr (GPtrArray) files = g_ptr_array_new_with_free_func (g_free);

  if (!get_strings (source, value, files, NULL) || files->len < 1 || files->len > 2)
    return wrong_kind (source, value, "a file, files or pairs of files", error);
  add_client (source, clients, g_ptr_array_index (files, 0),
              files->len == 2 ? g_ptr_array_index (files, 1) : NULL);
  return TRUE;
}

/* Client certificates: "both.pem", ["both.pem", …] or [["cert.pem", "key.pem"], …]. */
static gboolean
get_clients (const Source *source, const TomlValue *table, GPtrArray *clients, GError **error)
{
  const TomlValue *value = toml_get (table, "client");

  if (value == NULL)
    return TRUE;
  if (value->kind != TOML_ARRAY)
    return get_client (source, value, clients, error);
  if (value->items->len > MAX_CLIENTS)
    return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED,
                         "%s: line %u: there are more than %d client certificates", source->origin,
                         value->line, MAX_CLIENTS);
  for (guint i = 0; i < value->items->len; i++)
    if (!get_client (source, g_ptr_array_index (value->items, i), clients, error))
      return FALSE;
  return TRUE;
}

/* "1s", "1m30s", "500ms". */
static gboolean
get_timeout (const Source *source, const TomlValue *table, RegistryHost *host, GError **error)
{
  const TomlValue *value = toml_get (table, "dial_timeout");
  guint64 total = 0;
  char *at;

  if (value == NULL)
    return TRUE;
  if (value->kind != TOML_STRING)
    return wrong_kind (source, value, "a duration such as \"3s\"", error);
  for (at = value->string; g_ascii_isdigit (*at);)
    {
      guint64 number = g_ascii_strtoull (at, &at, 10);
      gsize unit = strspn (at, "hms");
      guint64 factor = strncmp (at, "ms", 2) == 0 ? 1
                       : *at == 's'               ? 1000
                       : *at == 'm'               ? 60 * 1000
                       : *at == 'h'               ? 3600 * 1000
                                                  : 0;

      if (factor == 0 || number > 100000 || unit > 2)
        break;
      total += number * factor;
      at += factor == 1 ? 2 : 1;
    }
  if (*at != '\0' || total == 0 || total > G_MAXINT32)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "%s: line %u: \"%.50s\" is no duration such as \"3s\"", source->origin, value->line,
                         value->string);
  host->connect_ms = (guint)total;
  return TRUE;
}

/* TLS: what the file says, unless the call asks not to verify. */
static gboolean
set_tls (const Source *source, RegistryHost *host, gboolean skip_verify, GPtrArray *ca_files,
         GPtrArray *clients, GError **error)
{
  g_autoptr (GPtrArray) files = g_ptr_array_new ();

  for (guint i = 0; i < ca_files->len; i++)
    g_ptr_array_add (files, absolute (source, g_ptr_array_index (ca_files, i)));
  g_ptr_array_add (files, NULL);
  host->ca_files = (char **)g_ptr_array_free (g_steal_pointer (&files), FALSE);
  skip_verify |= get_option (source->options, "skip-verify", FALSE);
  g_ptr_array_add (clients, NULL);
  host->tls = http_tls_new (skip_verify, (const char *const *)host->ca_files,
                            (const char *const *)clients->pdata, error);
  if (host->tls != NULL)
    host->tls_elsewhere = clients->len == 1
                              ? http_tls_ref (host->tls)
                              : http_tls_new (skip_verify, (const char *const *)host->ca_files, NULL, error);
  if (host->tls_elsewhere != NULL)
    return TRUE;
  g_prefix_error (error, "%s: ", source->origin);
  return FALSE;
}

/* One table of hosts.toml: a mirror's, or the file's own for the server. */
static RegistryHost *
read_host (const Source *source, const TomlValue *table, const char *url, gboolean mirror, GError **error)
{
  g_autoptr (RegistryHost) host = GANTRY_VALUE_ALLOC (RegistryHost, clear_host);
  g_autoptr (GPtrArray) ca_files = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GPtrArray) clients = g_ptr_array_new_with_free_func (g_free);
  gboolean skip_verify = FALSE, override_path = FALSE;

  host->mirror = mirror;
  host->server = g_strdup (source->server);
  host->origin = g_strdup_printf ("%s, line %u", source->origin, table->line);
  /* Whoever writes http:// has asked for it. */
  host->plain_http = g_str_has_prefix (url, "http://") || get_option (source->options, "plain-http", FALSE);
  if (!get_boolean (source, table, "skip_verify", &skip_verify, error)
      || !get_boolean (source, table, "override_path", &override_path, error)
      || !get_capabilities (source, table, host, error)
      || !get_strings (source, toml_get (table, "ca"), ca_files, error)
      || !get_clients (source, table, clients, error) || !get_headers (source, table, host, error)
      || !get_timeout (source, table, host, error))
    return NULL;
  if (!set_url (host, url, override_path, error))
    {
      g_prefix_error (error, "%s: line %u: ", source->origin, table->line);
      return NULL;
    }
  return set_tls (source, host, skip_verify, ca_files, clients, error) ? g_steal_pointer (&host) : NULL;
}

static gboolean
read_mirrors (const Source *source, const TomlValue *root, GPtrArray *hosts, GError **error)
{
  const TomlValue *mirrors = toml_get (root, "host");

  if (mirrors == NULL)
    return TRUE;
  if (mirrors->kind != TOML_TABLE)
    return wrong_kind (source, mirrors, "a table", error);
  for (guint i = 0; i < mirrors->items->len; i++)
    {
      const TomlValue *table = g_ptr_array_index (mirrors->items, i);
      RegistryHost *host;

      if (table->kind != TOML_TABLE)
        return wrong_kind (source, table, "a table", error);
      if (hosts->len >= MAX_HOSTS)
        return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "%s: it has more than %d hosts",
                             source->origin, MAX_HOSTS);
      host = read_host (source, table, table->key, TRUE, error);
      if (host == NULL)
        return FALSE;
      g_ptr_array_add (hosts, host);
    }
  return TRUE;
}

static gboolean
read_hosts_toml (Source *source, GBytes *bytes, GPtrArray *hosts, GError **error)
{
  g_autoptr (TomlValue) root = toml_parse (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), error);
  g_autofree char *url = NULL;
  const TomlValue *server;
  RegistryHost *host;

  if (root == NULL)
    {
      g_prefix_error (error, "%s: ", source->origin);
      return FALSE;
    }
  server = toml_get (root, "server");
  if (server != NULL && server->kind != TOML_STRING)
    return wrong_kind (source, server, "a string", error);
  if (!read_mirrors (source, root, hosts, error))
    return FALSE;
  url = server != NULL && server->string[0] != '\0' ? g_strdup (server->string)
                                                    : default_url (source->server, source->options, FALSE);
  host = read_host (source, root, url, FALSE, error);
  if (host == NULL)
    return FALSE;
  /* The default for loopback is nothing that somebody wrote. */
  host->plain_http = get_option (source->options, "plain-http",
                                 server != NULL && g_str_has_prefix (server->string, "http://"));
  g_ptr_array_add (hosts, host);
  return TRUE;
}

static int
compare_names (gconstpointer a, gconstpointer b)
{
  return strcmp (*(const char *const *)a, *(const char *const *)b);
}

/* Files of docker's layout: *.crt are authorities, *.cert and *.key the client's. */
static void
read_certificates (const Source *source, GPtrArray *ca_files, GPtrArray *clients)
{
  g_autoptr (GDir) dir = g_dir_open (source->directory, 0, NULL);
  g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);
  const char *name;

  while (dir != NULL && (name = g_dir_read_name (dir)) != NULL)
    g_ptr_array_add (names, g_strdup (name));
  g_ptr_array_sort (names, compare_names);
  for (guint i = 0; i < names->len; i++)
    {
      name = g_ptr_array_index (names, i);
      if (g_str_has_suffix (name, ".crt"))
        g_ptr_array_add (ca_files, absolute (source, name));
      else if (g_str_has_suffix (name, ".cert") && clients->len < 2 * MAX_CLIENTS)
        {
          g_autofree char *key = g_strdup_printf ("%.*s.key", (int)(strlen (name) - strlen (".cert")), name);

          add_client (source, clients, name, key);
        }
    }
}

/* The server without a hosts.toml; @source's directory may be NULL. */
static RegistryHost *
make_default (const Source *source, GError **error)
{
  g_autoptr (RegistryHost) host = GANTRY_VALUE_ALLOC (RegistryHost, clear_host);
  g_autoptr (GPtrArray) ca_files = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GPtrArray) clients = g_ptr_array_new_with_free_func (g_free);
  g_autofree char *url = NULL;
  gboolean certificates;

  if (source->directory != NULL)
    read_certificates (source, ca_files, clients);
  certificates = ca_files->len > 0 || clients->len > 0;
  url = default_url (source->server, source->options, certificates);
  host->server = g_strdup (source->server);
  host->origin = g_strdup (certificates ? source->origin : "the default");
  host->capabilities = CAN_ALL;
  host->plain_http = get_option (source->options, "plain-http", FALSE);
  if (!set_url (host, url, FALSE, error) || !set_tls (source, host, FALSE, ca_files, clients, error))
    return NULL;
  return g_steal_pointer (&host);
}

/* Reads @directory if it is there. *@ret_found: whether it was. */
static gboolean
try_directory (Source *source, const char *directory, GPtrArray *hosts, gboolean *ret_found, GError **error)
{
  gantry_autofd int dfd = open (directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  g_autofree char *path = g_build_filename (directory, "hosts.toml", NULL);
  gantry_autofd int fd = -1;
  g_autoptr (GBytes) bytes = NULL;
  RegistryHost *host;

  *ret_found = dfd >= 0;
  if (dfd < 0)
    return errno == ENOENT || errno == ENOTDIR || gantry_throw_errno (error, errno, "opening %s", directory);
  source->directory = directory;
  fd = openat (dfd, "hosts.toml", O_RDONLY | O_CLOEXEC);
  if (fd < 0 && errno != ENOENT)
    return gantry_throw_errno (error, errno, "opening %s", path);
  source->origin = fd >= 0 ? path : directory;
  if (fd >= 0)
    return (bytes = gantry_read_all (fd, MAX_FILE, error)) != NULL
           && read_hosts_toml (source, bytes, hosts, error);
  host = make_default (source, error);
  if (host != NULL)
    g_ptr_array_add (hosts, host);
  return host != NULL;
}

/* "host_5000_" is for file systems without ":", "_default" for every server. */
static char **
directory_names (const char *server)
{
  GPtrArray *names = g_ptr_array_new ();
  const char *colon = strrchr (server, ':');

  if (colon != NULL && strchr (colon, ']') == NULL)
    g_ptr_array_add (names, g_strdup_printf ("%.*s_%s_", (int)(colon - server), server, colon + 1));
  g_ptr_array_add (names, g_strdup (server));
  g_ptr_array_add (names, g_strdup ("_default"));
  g_ptr_array_add (names, NULL);
  return (char **)g_ptr_array_free (names, FALSE);
}

GPtrArray *
hosts_find (RegistryOci *self, const char *server, GantryRegistryAccess *access, GError **error)
{
  g_autoptr (GPtrArray) hosts = g_ptr_array_new_with_free_func ((GDestroyNotify)registry_host_unref);
  g_auto (GStrv) names = directory_names (server);
  Source source = { .server = server, .options = access != NULL ? access->options : NULL };
  const char *given[] = { NULL, NULL };
  const char *const *dirs = (const char *const *)self->hosts_dirs;
  RegistryHost *host;

  if (source.options != NULL && g_variant_lookup (source.options, "hosts-dir", "&s", &given[0]))
    dirs = given;
  for (gsize i = 0; dirs[i] != NULL; i++)
    for (gsize j = 0; names[j] != NULL; j++)
      {
        g_autofree char *directory = g_build_filename (dirs[i], names[j], NULL);
        gboolean found = FALSE;

        if (!try_directory (&source, directory, hosts, &found, error))
          return NULL;
        if (found)
          return g_steal_pointer (&hosts);
      }
  source.directory = NULL;
  source.origin = "the default";
  host = make_default (&source, error);
  if (host == NULL)
    return NULL;
  g_ptr_array_add (hosts, host);
  return g_steal_pointer (&hosts);
}

RegistryHost *
hosts_new_foreign (const char *url, GError **error)
{
  g_autoptr (RegistryHost) host = GANTRY_VALUE_ALLOC (RegistryHost, clear_host);
  g_autoptr (GUri) uri = g_uri_parse (url, SOUP_HTTP_URI_FLAGS, NULL);
  gboolean plain = uri != NULL && strcmp (g_uri_get_scheme (uri), "http") == 0;

  if (uri == NULL || g_uri_get_host (uri) == NULL || g_uri_get_userinfo (uri) != NULL
      || (!plain && strcmp (g_uri_get_scheme (uri), "https") != 0) || (plain && !url_is_loopback (url)))
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "\"%.200s\" is no URL from which a layer is taken",
                    url);
      return NULL;
    }
  host->base = g_strdup (url);
  host->name = g_strdup (g_uri_get_host (uri));
  host->server = g_strdup (host->name);
  host->origin = g_strdup ("the layer's own URL");
  host->capabilities = CAN_PULL;
  host->mirror = host->foreign = TRUE;
  host->tls = http_tls_new (FALSE, NULL, NULL, error);
  host->tls_elsewhere = http_tls_ref (host->tls);
  return g_steal_pointer (&host);
}
