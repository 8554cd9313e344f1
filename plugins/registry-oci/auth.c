/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Credentials of one open repository at one host: looked up when the host first asks for them, turned into
 * Authorization values. */
#include <string.h>

#include "challenge.h"
#include "registry-oci.h"

void
host_auth_init (HostAuth *self)
{
  g_mutex_init (&self->lock);
  g_cond_init (&self->cond);
  self->authorizations = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
}

void
host_auth_clear (HostAuth *self)
{
  g_hash_table_unref (self->authorizations);
  gantry_credentials_unref (self->credentials);
  g_mutex_clear (&self->lock);
  g_cond_clear (&self->cond);
}

/* What the caller gave for the server itself, or NULL. */
static GantryCredentials *
given_credentials (OciRepository *self, guint index)
{
  RegistryHost *host = g_ptr_array_index (self->hosts, index);

  return self->access != NULL && !host->mirror ? self->access->credentials : NULL;
}

/* Those that are sent as they are, before anybody asks. */
static char *
ready_made (GantryCredentials *credentials)
{
  if (credentials == NULL || credentials->secret == NULL)
    return NULL;
  if (credentials->kind == GANTRY_CREDENTIALS_HEADER)
    return g_strdup (credentials->secret);
  if (credentials->kind == GANTRY_CREDENTIALS_BEARER)
    return g_strconcat ("Bearer ", credentials->secret, NULL);
  return NULL;
}

char *
host_auth_get (OciRepository *self, guint index, const char *scope)
{
  HostAuth *auth = &self->auths[index];
  char *value;

  g_mutex_lock (&auth->lock);
  value = g_strdup (g_hash_table_lookup (auth->authorizations, scope));
  /* Basic credentials are for every scope. */
  if (value == NULL)
    value = g_strdup (g_hash_table_lookup (auth->authorizations, "basic"));
  g_mutex_unlock (&auth->lock);
  return value != NULL ? value : ready_made (given_credentials (self, index));
}

static gboolean
ask_caller (OciRepository *self, RegistryHost *host, HttpReply *reply, GantryCredentials **ret_credentials,
            GCancellable *cancellable, GError **error)
{
  g_auto (GStrv) challenges = http_reply_get_headers (reply, "WWW-Authenticate");
  const char *name = host->mirror ? host->name : host->server;

  if (self->access == NULL || self->access->ask == NULL)
    return TRUE;
  return self->access->ask (name, self->name, (const char *const *)challenges, ret_credentials,
                            self->access->ask_data, cancellable, error);
}

/* The caller's, then what the caller is asked for, then the operator's. A mirror is looked up by its own
 * name. */
static gboolean
find_credentials (OciRepository *self, guint index, HttpReply *reply, GCancellable *cancellable,
                  GError **error)
{
  RegistryHost *host = g_ptr_array_index (self->hosts, index);
  HostAuth *auth = &self->auths[index];
  GantryCredentials *found = gantry_credentials_ref (given_credentials (self, index));

  if (found == NULL && !ask_caller (self, host, reply, &found, cancellable, error))
    return FALSE;
  if (found == NULL
      && !credentials_find (self->registry, host->mirror ? host->name : host->server,
                            self->reference->repository, &found, cancellable, error))
    return FALSE;
  if (found != NULL && found->kind == GANTRY_CREDENTIALS_NONE)
    g_clear_pointer (&found, gantry_credentials_unref);
  auth->credentials = found;
  auth->known = TRUE;
  return TRUE;
}

/* One thread at a time renews. */
static void
wake (GCancellable *cancellable, gpointer data)
{
  HostAuth *auth = data;

  g_mutex_lock (&auth->lock);
  g_cond_broadcast (&auth->cond);
  g_mutex_unlock (&auth->lock);
}

static gboolean
begin (HostAuth *auth, GCancellable *cancellable, GError **error)
{
  gulong id = cancellable != NULL ? g_cancellable_connect (cancellable, G_CALLBACK (wake), auth, NULL) : 0;
  gboolean mine;

  g_mutex_lock (&auth->lock);
  while (auth->busy && !g_cancellable_is_cancelled (cancellable))
    g_cond_wait (&auth->cond, &auth->lock);
  mine = !auth->busy && !g_cancellable_is_cancelled (cancellable);
  auth->busy |= mine;
  g_mutex_unlock (&auth->lock);
  if (id != 0)
    g_cancellable_disconnect (cancellable, id);
  return mine || !g_cancellable_set_error_if_cancelled (cancellable, error);
}

static void
end (HostAuth *auth)
{
  g_mutex_lock (&auth->lock);
  auth->busy = FALSE;
  g_cond_broadcast (&auth->cond);
  g_mutex_unlock (&auth->lock);
}

static char *
make_basic (GantryCredentials *credentials)
{
  g_autofree char *both = g_strconcat (credentials->username != NULL ? credentials->username : "", ":",
                                       credentials->secret, NULL);
  g_autofree char *encoded = g_base64_encode ((const guchar *)both, strlen (both));

  return g_strconcat ("Basic ", encoded, NULL);
}

/* The realm is where credentials go: it must be as safe as the host is. */
static gboolean
check_realm (RegistryHost *host, const char *realm, GError **error)
{
  g_autoptr (GUri) uri = realm != NULL ? g_uri_parse (realm, SOUP_HTTP_URI_FLAGS, NULL) : NULL;
  const char *scheme = uri != NULL ? g_uri_get_scheme (uri) : "";

  if (strcmp (scheme, "https") == 0)
    return TRUE;
  if (strcmp (scheme, "http") != 0)
    return gantry_throw (error, GANTRY_ERROR_UNAUTHENTICATED,
                         "it asks for a token without saying where to get one");
  if (!host->plain_http && !(g_str_has_prefix (host->base, "http:") && url_is_loopback (realm)))
    return gantry_throw (error, GANTRY_ERROR_PERMISSION_DENIED,
                         "its token service %s speaks plain HTTP, which is not allowed",
                         g_uri_get_host (uri));
  return TRUE;
}

static char *
get_bearer (OciRepository *self, guint index, Challenge *challenge, const char *scope, const char *sent,
            GCancellable *cancellable, GError **error)
{
  RegistryHost *host = g_ptr_array_index (self->hosts, index);
  TokenRequest request = {
    .realm = challenge_get (challenge, "realm"),
    .service = challenge_get (challenge, "service"),
    .scope = scope,
    .credentials = self->auths[index].credentials,
  };
  const char *stale = sent != NULL && g_str_has_prefix (sent, "Bearer ") ? sent + 7 : NULL;
  g_autofree char *token = NULL;

  if (!check_realm (host, request.realm, error))
    return NULL;
  token = token_get (self->registry,
                     url_same_origin (request.realm, host->base) ? host->tls : host->tls_elsewhere, &request,
                     stale, NULL, cancellable, error);
  return token != NULL ? g_strconcat ("Bearer ", token, NULL) : NULL;
}

static char *
answer_challenge (OciRepository *self, guint index, const char *scope, const char *sent, HttpReply *reply,
                  const char **ret_key, GCancellable *cancellable, GError **error)
{
  g_auto (GStrv) values = http_reply_get_headers (reply, "WWW-Authenticate");
  g_autoptr (GPtrArray) challenges = challenge_parse ((const char *const *)values);
  GantryCredentials *credentials = self->auths[index].credentials;
  Challenge *bearer = challenge_find (challenges, "bearer");
  const char *origin = credentials != NULL && credentials->origin != NULL ? credentials->origin : "the call";

  *ret_key = scope;
  if (credentials != NULL
      && (credentials->kind == GANTRY_CREDENTIALS_HEADER || credentials->kind == GANTRY_CREDENTIALS_BEARER))
    {
      g_autofree char *value = ready_made (credentials);

      if (g_strcmp0 (value, sent) != 0)
        return g_steal_pointer (&value);
    }
  else if (bearer != NULL)
    return get_bearer (self, index, bearer, scope, sent, cancellable, error);
  else if (challenge_find (challenges, "basic") != NULL && credentials != NULL
           && credentials->kind == GANTRY_CREDENTIALS_PASSWORD && credentials->secret != NULL)
    {
      g_autofree char *value = make_basic (credentials);

      *ret_key = "basic";
      if (g_strcmp0 (value, sent) != 0)
        return g_steal_pointer (&value);
    }
  else if (credentials == NULL)
    {
      gantry_throw (error, GANTRY_ERROR_UNAUTHENTICATED,
                    "it wants credentials (401) and there are none for it; run `gantry login %s`",
                    ((RegistryHost *)g_ptr_array_index (self->hosts, index))->server);
      return NULL;
    }
  gantry_throw (error, GANTRY_ERROR_UNAUTHENTICATED, "it does not take the credentials%s%s from %s (401)",
                credentials->username != NULL ? " of " : "",
                credentials->username != NULL ? credentials->username : "", origin);
  return NULL;
}

char *
host_auth_renew (OciRepository *self, guint index, const char *scope, const char *sent, HttpReply *reply,
                 GCancellable *cancellable, GError **error)
{
  HostAuth *auth = &self->auths[index];
  g_autofree char *value = NULL;
  const char *key;

  if (!begin (auth, cancellable, error))
    return NULL;
  /* Somebody else may have got it meanwhile. */
  value = host_auth_get (self, index, scope);
  if (value == NULL || g_strcmp0 (value, sent) == 0)
    {
      g_clear_pointer (&value, g_free);
      if (auth->known || find_credentials (self, index, reply, cancellable, error))
        value = answer_challenge (self, index, scope, sent, reply, &key, cancellable, error);
      if (value != NULL)
        {
          g_mutex_lock (&auth->lock);
          g_hash_table_replace (auth->authorizations, g_strdup (key), g_strdup (value));
          g_mutex_unlock (&auth->lock);
        }
    }
  end (auth);
  return g_steal_pointer (&value);
}
