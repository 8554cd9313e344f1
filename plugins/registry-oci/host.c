/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One request at one host: credentials when it asks for them, redirects, another try. */
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "registry-oci.h"

#define MAX_REDIRECTS 10
#define MAX_RENEWALS  2
#define MAX_SHOWN     300

/* URLs. */

static int
port_of (GUri *uri)
{
  int port = g_uri_get_port (uri);

  return port > 0 ? port : strcmp (g_uri_get_scheme (uri), "https") == 0 ? 443 : 80;
}

gboolean
url_same_origin (const char *a, const char *b)
{
  g_autoptr (GUri) one = g_uri_parse (a, SOUP_HTTP_URI_FLAGS, NULL);
  g_autoptr (GUri) other = g_uri_parse (b, SOUP_HTTP_URI_FLAGS, NULL);

  return one != NULL && other != NULL && strcmp (g_uri_get_scheme (one), g_uri_get_scheme (other)) == 0
         && g_ascii_strcasecmp (g_uri_get_host (one), g_uri_get_host (other)) == 0
         && port_of (one) == port_of (other);
}

gboolean
url_is_loopback (const char *url)
{
  g_autoptr (GUri) uri = g_uri_parse (url, SOUP_HTTP_URI_FLAGS, NULL);
  const char *host = uri != NULL ? g_uri_get_host (uri) : NULL;
  g_autoptr (GInetAddress) address = host != NULL ? g_inet_address_new_from_string (host) : NULL;

  if (address != NULL)
    return g_inet_address_get_is_loopback (address);
  return host != NULL
         && (g_ascii_strcasecmp (host, "localhost") == 0 || g_str_has_suffix (host, ".localhost"));
}

static gboolean
is_plain (const char *url)
{
  return g_ascii_strncasecmp (url, "http:", 5) == 0;
}

/* Where a redirect may lead: not from TLS into the open, and not from elsewhere to this machine's own
 * services. */
gboolean
host_allows_url (RegistryHost *host, const char *from, const char *to, GError **error)
{
  g_autoptr (GUri) uri = g_uri_parse (to, SOUP_HTTP_URI_FLAGS, NULL);
  const char *scheme = uri != NULL ? g_uri_get_scheme (uri) : "";

  if (uri == NULL || g_uri_get_host (uri) == NULL || g_uri_get_userinfo (uri) != NULL
      || (strcmp (scheme, "https") != 0 && strcmp (scheme, "http") != 0))
    return gantry_throw (error, GANTRY_ERROR_UNAVAILABLE, "it redirects to something that is no HTTP URL");
  if (is_plain (to) && !host->plain_http && !(is_plain (from) && url_is_loopback (to)))
    return gantry_throw (error, GANTRY_ERROR_PERMISSION_DENIED,
                         "it redirects to plain HTTP at %s, which is not allowed", g_uri_get_host (uri));
  if (url_is_loopback (to) && !url_is_loopback (host->base))
    return gantry_throw (error, GANTRY_ERROR_PERMISSION_DENIED, "it redirects to this machine (%s)",
                         g_uri_get_host (uri));
  return TRUE;
}

/* Errors. */

void
host_prefix (OciRepository *self, guint index, GError **error)
{
  RegistryHost *host = g_ptr_array_index (self->hosts, index);

  g_prefix_error (error, "%s: %s: ", host->name, self->name);
}

gboolean
host_error_moves_on (const GError *error)
{
  return !gantry_error_is (error, GANTRY_ERROR_CANCELLED);
}

static GantryErrorCode
status_to_code (guint status)
{
  switch (status)
    {
    case 400:
      return GANTRY_ERROR_INVALID_ARGUMENT;
    case 401:
      return GANTRY_ERROR_UNAUTHENTICATED;
    case 403:
      return GANTRY_ERROR_PERMISSION_DENIED;
    case 404:
    case 410:
      return GANTRY_ERROR_NOT_FOUND;
    case 405:
    case 501:
      return GANTRY_ERROR_NOT_IMPLEMENTED;
    case 409:
      return GANTRY_ERROR_CONFLICT;
    case 413:
    case 429:
      return GANTRY_ERROR_RESOURCE_EXHAUSTED;
    case 416:
      return GANTRY_ERROR_OUT_OF_RANGE;
    default:
      return GANTRY_ERROR_UNAVAILABLE;
    }
}

/* Text of a peer, fit for a log: one line, printable, not long. */
static char *
make_shown (const char *text)
{
  g_autofree char *valid = g_utf8_make_valid (text, (gssize)strnlen (text, MAX_SHOWN));

  for (char *letter = valid; *letter != '\0'; letter++)
    if (g_ascii_iscntrl (*letter))
      *letter = ' ';
  return g_strstrip (g_steal_pointer (&valid));
}

/* "MANIFEST_UNKNOWN: manifest unknown" from distribution-spec's error document. Returns: (transfer full)
 * (nullable). */
static char *
read_error_document (GBytes *body)
{
  g_autoptr (JsonNode) root = oci_parse (g_bytes_get_data (body, NULL), g_bytes_get_size (body), NULL);
  JsonArray *errors;
  JsonObject *first;
  const char *code, *message;
  g_autofree char *both = NULL;

  if (root == NULL || !JSON_NODE_HOLDS_OBJECT (root))
    return NULL;
  errors = oci_array (json_node_get_object (root), "errors");
  if (errors == NULL || json_array_get_length (errors) == 0
      || !JSON_NODE_HOLDS_OBJECT (json_array_get_element (errors, 0)))
    return NULL;
  first = json_array_get_object_element (errors, 0);
  code = oci_string (first, "code");
  message = oci_string (first, "message");
  both = g_strjoin (": ", code != NULL ? code : "error", message, NULL);
  return make_shown (both);
}

gboolean
host_throw (OciRepository *self, guint index, const char *what, HttpReply *reply, GCancellable *cancellable,
            GError **error)
{
  guint status = http_reply_get_status (reply);
  g_autoptr (GBytes) body = http_reply_read_all (reply, MAX_ERROR_BODY, cancellable, NULL);
  g_autofree char *said = body != NULL ? read_error_document (body) : NULL;
  const char *phrase = soup_status_get_phrase (status);

  gantry_throw (error, status_to_code (status), "%s: %s (%u %s)", what,
                said != NULL    ? said
                : status == 404 ? "it is not there"
                                : "it does not say why",
                status, phrase);
  host_prefix (self, index, error);
  return FALSE;
}

/* Trying again. */

gboolean
pause_ms (guint milliseconds, GCancellable *cancellable, GError **error)
{
  GPollFD fd;
  gboolean pollable = cancellable != NULL && g_cancellable_make_pollfd (cancellable, &fd);

  if (pollable)
    {
      g_poll (&fd, 1, (int)milliseconds);
      g_cancellable_release_fd (cancellable);
    }
  else
    g_usleep ((gulong)milliseconds * 1000);
  return !g_cancellable_set_error_if_cancelled (cancellable, error);
}

static gboolean
status_is_passing (guint status)
{
  return status == 408 || status == 429 || status == 500 || status == 502 || status == 503 || status == 504;
}

/* Retry-After as seconds or as a date, in milliseconds. Returns: FALSE if there is none. */
static gboolean
read_retry_after (HttpReply *reply, guint64 *ret_ms)
{
  const char *text = http_reply_get_header (reply, "Retry-After");
  g_autoptr (GDateTime) date = NULL;
  guint64 seconds;

  if (text == NULL)
    return FALSE;
  if (g_ascii_string_to_unsigned (text, 10, 0, G_MAXINT32, &seconds, NULL))
    {
      *ret_ms = seconds * 1000;
      return TRUE;
    }
  date = soup_date_time_new_from_http_string (text);
  if (date == NULL)
    return FALSE;
  *ret_ms = (guint64)MAX (g_date_time_to_unix (date) - g_get_real_time () / G_USEC_PER_SEC, 0) * 1000;
  return TRUE;
}

/* Doubled each time, give or take a quarter, so that many clients do not come back at once. */
static guint
backoff (RegistryOci *registry, guint attempt)
{
  guint base = registry->backoff_ms << MIN (attempt, 5);

  return base - base / 4 + (guint)g_random_int_range (0, (gint32)(base / 2 + 1));
}

/* Requests. */

static SoupMessageHeaders *
make_headers (RegistryHost *host, const Ask *ask, GVariant *extra, const char *authorization,
              gboolean same_origin)
{
  SoupMessageHeaders *headers = soup_message_headers_new (SOUP_MESSAGE_HEADERS_REQUEST);
  GVariantIter iter;
  const char *name, *value;

  if (ask->accept != NULL)
    soup_message_headers_append (headers, "Accept", ask->accept);
  soup_message_headers_append (headers, "Accept-Encoding", "identity");
  if (ask->range != NULL)
    soup_message_headers_append (headers, "Range", ask->range);
  if (ask->content_range != NULL)
    soup_message_headers_append (headers, "Content-Range", ask->content_range);
  if (!same_origin)
    return headers;
  for (gsize i = 0; host->headers != NULL && host->headers[i] != NULL; i += 2)
    soup_message_headers_append (headers, host->headers[i], host->headers[i + 1]);
  if (extra != NULL)
    {
      g_variant_iter_init (&iter, extra);
      while (g_variant_iter_next (&iter, "{&s&s}", &name, &value))
        soup_message_headers_replace (headers, name, value);
    }
  if (authorization != NULL)
    soup_message_headers_replace (headers, "Authorization", authorization);
  return headers;
}

static gboolean
is_reading (const Ask *ask)
{
  return strcmp (ask->method, "GET") == 0 || strcmp (ask->method, "HEAD") == 0;
}

static char *
make_url (RegistryHost *host, const Ask *ask)
{
  gboolean whole = strstr (ask->path, "://") != NULL;
  g_autofree char *url = whole ? g_strdup (ask->path) : g_strconcat (host->base, ask->path, NULL);
  g_autofree char *ns = NULL;

  /* A mirror of several servers is told which one is meant, as containerd does. */
  if (whole || !host->mirror || host->foreign || !is_reading (ask))
    return g_steal_pointer (&url);
  ns = g_uri_escape_string (host->server, NULL, FALSE);
  return g_strconcat (url, strchr (url, '?') != NULL ? "&" : "?", "ns=", ns, NULL);
}

static gboolean
is_redirect (const Ask *ask, guint status)
{
  if (status == 307 || status == 308)
    return TRUE;
  return (status == 301 || status == 302 || status == 303) && is_reading (ask);
}

/* The next URL, or NULL with @error. */
static char *
resolve_redirect (RegistryHost *host, const char *url, HttpReply *reply, GError **error)
{
  const char *location = http_reply_get_header (reply, "Location");
  g_autofree char *next
      = location != NULL ? g_uri_resolve_relative (url, location, SOUP_HTTP_URI_FLAGS, NULL) : NULL;

  if (next == NULL)
    {
      gantry_throw (error, GANTRY_ERROR_UNAVAILABLE, "it redirects without saying where to");
      return NULL;
    }
  return host_allows_url (host, url, next, error) ? g_steal_pointer (&next) : NULL;
}

/* Sends and follows redirects. *@ret_at_home: whether the answer is the host's own. Only there it is given
 * credentials and headers. */
static HttpReply *
send_and_follow (OciRepository *self, RegistryHost *host, const Ask *ask, const char *authorization,
                 gboolean *ret_at_home, GCancellable *cancellable, GError **error)
{
  g_autofree char *url = make_url (host, ask);
  g_autoptr (GVariant) extra = NULL;

  if (self->access != NULL && self->access->options != NULL)
    extra = g_variant_lookup_value (self->access->options, "headers", G_VARIANT_TYPE ("a{ss}"));
  for (guint hop = 0; hop <= MAX_REDIRECTS; hop++)
    {
      gboolean at_home = url_same_origin (url, host->base);
      g_autoptr (SoupMessageHeaders) headers = make_headers (host, ask, extra, authorization, at_home);
      HttpRequest request = {
        .method = ask->method,
        .url = url,
        .headers = headers,
        .tls = at_home ? host->tls : host->tls_elsewhere,
        .bulk = ask->bulk,
        .connect_ms = at_home ? host->connect_ms : 0,
        .content_type = ask->content_type,
        .body = ask->body,
        .has_fd = ask->has_fd,
        .fd = ask->fd,
        .offset = ask->offset,
        .length = ask->length,
        .progress = ask->progress,
        .user_data = ask->user_data,
      };
      g_autoptr (HttpReply) reply = http_send (self->registry->http, &request, cancellable, error);
      char *next;

      if (reply == NULL || !is_redirect (ask, http_reply_get_status (reply)))
        {
          *ret_at_home = at_home;
          return g_steal_pointer (&reply);
        }
      next = resolve_redirect (host, url, reply, error);
      if (next == NULL)
        return NULL;
      g_free (url);
      url = next;
    }
  gantry_throw (error, GANTRY_ERROR_UNAVAILABLE, "it redirects more than %d times", MAX_REDIRECTS);
  return NULL;
}

static char *
make_scope (OciRepository *self, const Ask *ask)
{
  if (ask->actions == NULL)
    return g_strdup ("");
  if (ask->mount_from != NULL)
    return g_strdup_printf ("repository:%s:%s repository:%s:pull", self->reference->repository, ask->actions,
                            ask->mount_from);
  return g_strdup_printf ("repository:%s:%s", self->reference->repository, ask->actions);
}

static HttpReply *
send_with_credentials (OciRepository *self, guint index, const Ask *ask, GCancellable *cancellable,
                       GError **error)
{
  RegistryHost *host = g_ptr_array_index (self->hosts, index);
  g_autofree char *scope = make_scope (self, ask);
  g_autofree char *authorization = host_auth_get (self, index, scope);

  for (guint round = 0;; round++)
    {
      gboolean at_home;
      g_autoptr (HttpReply) reply
          = send_and_follow (self, host, ask, authorization, &at_home, cancellable, error);
      char *renewed;

      if (reply == NULL || http_reply_get_status (reply) != 401 || !at_home || round == MAX_RENEWALS)
        return g_steal_pointer (&reply);
      renewed = host_auth_renew (self, index, scope, authorization, reply, cancellable, error);
      if (renewed == NULL)
        return NULL;
      g_free (authorization);
      authorization = renewed;
    }
}

/* Whether a failure to get any answer may pass. */
static gboolean
is_passing (const GError *error)
{
  return gantry_error_is (error, GANTRY_ERROR_UNAVAILABLE);
}

/* How long to wait before another try. Returns: FALSE with @error if it is too long. */
static gboolean
get_pause (OciRepository *self, guint attempt, HttpReply *reply, guint *ret_ms, GError **error)
{
  guint64 asked;

  *ret_ms = backoff (self->registry, attempt);
  if (reply == NULL || !read_retry_after (reply, &asked))
    return TRUE;
  if (asked > self->registry->max_wait_ms)
    return gantry_throw (error,
                         http_reply_get_status (reply) == 429 ? GANTRY_ERROR_RESOURCE_EXHAUSTED
                                                              : GANTRY_ERROR_UNAVAILABLE,
                         "it answers %u and asks to come again in %" G_GUINT64_FORMAT " s",
                         http_reply_get_status (reply), asked / 1000);
  *ret_ms = (guint)asked;
  return TRUE;
}

HttpReply *
host_ask (OciRepository *self, guint index, const Ask *ask, GCancellable *cancellable, GError **error)
{
  guint attempts = ask->once ? 1 : self->registry->attempts;

  for (guint attempt = 0;; attempt++)
    {
      g_autoptr (GError) local = NULL;
      g_autoptr (HttpReply) reply = send_with_credentials (self, index, ask, cancellable, &local);
      gboolean passing
          = reply != NULL ? status_is_passing (http_reply_get_status (reply)) : is_passing (local);
      guint milliseconds;

      if (reply != NULL && (!passing || attempt + 1 >= attempts))
        return g_steal_pointer (&reply);
      if (reply == NULL && (!passing || attempt + 1 >= attempts))
        {
          g_propagate_error (error, g_steal_pointer (&local));
          host_prefix (self, index, error);
          return NULL;
        }
      if (!get_pause (self, attempt, reply, &milliseconds, error))
        {
          host_prefix (self, index, error);
          return NULL;
        }
      g_clear_pointer (&reply, http_reply_free);
      if (!pause_ms (milliseconds, cancellable, error))
        return NULL;
    }
}
