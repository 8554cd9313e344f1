/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Token services (Docker registry v2 token authentication: GET with basic authentication; OAuth2: POST with a
 * refresh token), and the tokens that are still good, for the whole daemon. */
#include <string.h>

#include "registry-oci.h"

#define MAX_TOKENS      1024
#define MAX_ANSWER      (256 * 1024)
#define MAX_TOKEN       (64 * 1024)
#define DEFAULT_SECONDS 60
#define EARLY_SECONDS   10
#define MAX_SECONDS     (24 * 60 * 60)

typedef struct
{
  char *token;
  gint64 expires; /* g_get_monotonic_time () */
} Cached;

static void
cached_free (gpointer data)
{
  Cached *self = data;

  g_free (self->token);
  g_free (self);
}

static gboolean
is_expired (gpointer key, gpointer value, gpointer now)
{
  return ((Cached *)value)->expires <= *(gint64 *)now;
}

/* Hashed, because it has the secret in it. */
static char *
make_key (const TokenRequest *request)
{
  g_autoptr (GChecksum) sum = g_checksum_new (G_CHECKSUM_SHA256);
  const char *parts[] = { request->realm, request->service, request->scope,
                          request->credentials != NULL ? request->credentials->username : NULL,
                          request->credentials != NULL ? request->credentials->secret : NULL };

  for (gsize i = 0; i < G_N_ELEMENTS (parts); i++)
    g_checksum_update (sum, (const guchar *)(parts[i] != NULL ? parts[i] : ""),
                       parts[i] != NULL ? (gssize)strlen (parts[i]) + 1 : 1);
  return g_strdup (g_checksum_get_string (sum));
}

static char *
get_cached (RegistryOci *self, const char *key, const char *stale)
{
  gint64 now = g_get_monotonic_time ();
  Cached *cached;
  char *token = NULL;

  g_mutex_lock (&self->lock);
  cached = self->tokens != NULL ? g_hash_table_lookup (self->tokens, key) : NULL;
  if (cached != NULL && (cached->expires <= now || g_strcmp0 (cached->token, stale) == 0))
    g_hash_table_remove (self->tokens, key);
  else if (cached != NULL)
    token = g_strdup (cached->token);
  g_mutex_unlock (&self->lock);
  return token;
}

static void
put_cached (RegistryOci *self, const char *key, const char *token, gint64 seconds)
{
  gint64 now = g_get_monotonic_time ();
  Cached *cached = g_new0 (Cached, 1);

  cached->token = g_strdup (token);
  cached->expires = now + MAX (seconds - EARLY_SECONDS, 1) * G_USEC_PER_SEC;
  g_mutex_lock (&self->lock);
  if (self->tokens == NULL)
    self->tokens = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, cached_free);
  if (g_hash_table_size (self->tokens) >= MAX_TOKENS)
    g_hash_table_foreach_remove (self->tokens, is_expired, &now);
  if (g_hash_table_size (self->tokens) >= MAX_TOKENS)
    g_hash_table_remove_all (self->tokens);
  g_hash_table_replace (self->tokens, g_strdup (key), cached);
  g_mutex_unlock (&self->lock);
}

static void
add_field (GString *form, const char *name, const char *value)
{
  if (value == NULL || value[0] == '\0')
    return;
  g_string_append_printf (form, "%s%s=", form->len > 0 ? "&" : "", name);
  g_string_append_uri_escaped (form, value, NULL, FALSE);
}

/* Each scope is a field of its own in a GET, one field with spaces in a POST. */
static void
add_scopes (GString *form, const char *scope)
{
  g_auto (GStrv) scopes = g_strsplit (scope, " ", -1);

  for (gsize i = 0; scopes[i] != NULL; i++)
    add_field (form, "scope", scopes[i]);
}

static HttpReply *
send_get (RegistryOci *self, HttpTls *tls, const TokenRequest *request, GCancellable *cancellable,
          GError **error)
{
  g_autoptr (GString) query = g_string_new (NULL);
  g_autofree char *url = NULL, *basic = NULL;
  g_autoptr (SoupMessageHeaders) headers = soup_message_headers_new (SOUP_MESSAGE_HEADERS_REQUEST);
  HttpRequest http = { .method = "GET", .headers = headers, .tls = tls };

  add_field (query, "service", request->service);
  add_scopes (query, request->scope);
  if (request->credentials != NULL)
    {
      g_autofree char *both
          = g_strconcat (request->credentials->username != NULL ? request->credentials->username : "", ":",
                         request->credentials->secret, NULL);
      g_autofree char *encoded = g_base64_encode ((const guchar *)both, strlen (both));

      basic = g_strconcat ("Basic ", encoded, NULL);
      soup_message_headers_append (headers, "Authorization", basic);
      add_field (query, "account", request->credentials->username);
    }
  if (request->offline)
    {
      add_field (query, "offline_token", "true");
      add_field (query, "client_id", "gantry");
    }
  url = g_strconcat (request->realm, strchr (request->realm, '?') != NULL ? "&" : "?", query->str, NULL);
  http.url = url;
  return http_send (self->http, &http, cancellable, error);
}

static HttpReply *
send_post (RegistryOci *self, HttpTls *tls, const TokenRequest *request, GCancellable *cancellable,
           GError **error)
{
  g_autoptr (GString) form = g_string_new (NULL);
  g_autoptr (GBytes) body = NULL;
  HttpRequest http = {
    .method = "POST", .url = request->realm, .tls = tls, .content_type = "application/x-www-form-urlencoded"
  };

  add_field (form, "grant_type", "refresh_token");
  add_field (form, "refresh_token", request->credentials->secret);
  add_field (form, "service", request->service);
  add_field (form, "client_id", "gantry");
  add_field (form, "scope", request->scope);
  body = g_bytes_new (form->str, form->len);
  http.body = body;
  return http_send (self->http, &http, cancellable, error);
}

/* A token goes into a header: nothing else than what RFC 6750 has in one. */
static gboolean
is_token (const char *text)
{
  gsize length = text != NULL ? strlen (text) : 0;

  return length > 0 && length <= MAX_TOKEN
         && strspn (text, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "-._~+/=:|!@#$%^&*()") == length;
}

static gint64
get_seconds (JsonObject *object)
{
  JsonNode *node = json_object_get_member (object, "expires_in");
  gint64 seconds = node != NULL && JSON_NODE_HOLDS_VALUE (node) ? json_node_get_int (node) : 0;

  return seconds > 0 ? MIN (seconds, MAX_SECONDS) : DEFAULT_SECONDS;
}

static char *
read_answer (RegistryOci *self, const char *key, HttpReply *reply, char **ret_identity,
             GCancellable *cancellable, GError **error)
{
  g_autoptr (GBytes) body = http_reply_read_all (reply, MAX_ANSWER, cancellable, error);
  g_autoptr (GError) local = NULL;
  g_autoptr (JsonNode) node = NULL;
  JsonObject *object;
  const char *token;

  if (body == NULL)
    return NULL;
  node = oci_parse (g_bytes_get_data (body, NULL), g_bytes_get_size (body), &local);
  object = node != NULL && JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
  token = oci_string (object, "token");
  if (token == NULL)
    token = oci_string (object, "access_token");
  if (!is_token (token))
    {
      gantry_throw (error, GANTRY_ERROR_UNAUTHENTICATED, "its answer has no usable token");
      return NULL;
    }
  if (ret_identity != NULL)
    *ret_identity = g_strdup (oci_string (object, "refresh_token"));
  put_cached (self, key, token, get_seconds (object));
  return g_strdup (token);
}

/* A refusal, told by whose credentials. */
static void
throw_status (const TokenRequest *request, guint status, GError **error)
{
  gboolean refused = status == 401 || status == 403 || status == 400;

  if (refused && request->credentials != NULL)
    gantry_throw (error, GANTRY_ERROR_UNAUTHENTICATED, "it does not take the credentials from %s (%u)",
                  request->credentials->origin != NULL ? request->credentials->origin : "the call", status);
  else
    gantry_throw (error, refused ? GANTRY_ERROR_UNAUTHENTICATED : GANTRY_ERROR_UNAVAILABLE,
                  "it answers %u %s%s", status, soup_status_get_phrase (status),
                  refused ? " to a caller without credentials" : "");
}

/* The realm without what may be secret in it. */
static char *
show_realm (const char *realm)
{
  g_autoptr (GUri) uri = g_uri_parse (realm, SOUP_HTTP_URI_FLAGS, NULL);

  return uri != NULL ? g_uri_to_string_partial (uri, G_URI_HIDE_USERINFO | G_URI_HIDE_QUERY) : g_strdup ("?");
}

char *
token_get (RegistryOci *self, HttpTls *tls, const TokenRequest *request, const char *stale,
           char **ret_identity, GCancellable *cancellable, GError **error)
{
  g_autofree char *key = make_key (request), *shown = show_realm (request->realm);
  char *token = ret_identity == NULL ? get_cached (self, key, stale) : NULL;
  gboolean refresh
      = request->credentials != NULL && request->credentials->kind == GANTRY_CREDENTIALS_IDENTITY_TOKEN;

  for (guint attempt = 0; token == NULL; attempt++)
    {
      g_autoptr (GError) local = NULL;
      g_autoptr (HttpReply) reply = refresh ? send_post (self, tls, request, cancellable, &local)
                                            : send_get (self, tls, request, cancellable, &local);
      guint status = reply != NULL ? http_reply_get_status (reply) : 0;
      gboolean passing = status == 429 || status >= 500 || gantry_error_is (local, GANTRY_ERROR_UNAVAILABLE);

      if (passing && attempt + 1 < self->attempts)
        {
          if (!pause_ms (self->backoff_ms << MIN (attempt, 5), cancellable, error))
            return NULL;
          continue;
        }
      if (status == 200)
        token = read_answer (self, key, reply, ret_identity, cancellable, error);
      else if (reply != NULL)
        throw_status (request, status, error);
      else
        g_propagate_error (error, g_steal_pointer (&local));
      if (token == NULL)
        {
          g_prefix_error (error, "token service %s: ", shown);
          return NULL;
        }
    }
  return token;
}
