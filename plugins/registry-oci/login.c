/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Checking credentials at a registry, and keeping them if asked. */
#include <string.h>

#include "challenge.h"
#include "registry-oci.h"

/* A repository handle that stands for the whole server: requests need one. */
static OciRepository *
open_server (RegistryOci *self, const char *server, GantryRegistryAccess *access, GError **error)
{
  gboolean is_server = strpbrk (server, ".:[") != NULL || strcmp (server, "localhost") == 0;
  g_autofree char *name = g_strconcat (server, "/login", NULL);
  g_autoptr (GantryReference) reference = NULL;
  g_autoptr (GPtrArray) hosts = NULL, own = NULL;

  if (!gantry_reference_split_server (server, NULL, NULL, error))
    return NULL;
  reference = is_server ? gantry_reference_parse (name, error) : NULL;
  if (!is_server)
    gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                  "\"%s\" is no server, such as docker.io or localhost:5000", server);
  hosts = reference != NULL ? hosts_find (self, reference->server, access, error) : NULL;
  if (hosts == NULL)
    return NULL;
  /* Mirrors have credentials of their own: the server is the last. */
  own = g_ptr_array_new_with_free_func ((GDestroyNotify)registry_host_unref);
  g_ptr_array_add (own, registry_host_ref (g_ptr_array_index (hosts, hosts->len - 1)));
  return repository_new (self, reference, access, own);
}

/* Where the service gives identity tokens, one is kept instead of the password. */
static GantryCredentials *
get_identity (OciRepository *self, GantryCredentials *credentials, GCancellable *cancellable)
{
  RegistryHost *host = g_ptr_array_index (self->hosts, 0);
  Ask ask = { .method = "GET", .path = (char *)"/" };
  HttpRequest request = { .method = "GET", .tls = host->tls };
  g_autofree char *url = g_strconcat (host->base, ask.path, NULL), *identity = NULL, *token = NULL;
  g_autoptr (HttpReply) reply = NULL;
  g_auto (GStrv) values = NULL;
  g_autoptr (GPtrArray) challenges = NULL;
  Challenge *bearer;
  TokenRequest wanted = { .scope = "", .credentials = credentials, .offline = TRUE };

  request.url = url;
  reply = http_send (self->registry->http, &request, cancellable, NULL);
  values = reply != NULL ? http_reply_get_headers (reply, "WWW-Authenticate") : NULL;
  challenges = challenge_parse ((const char *const *)values);
  bearer = challenge_find (challenges, "bearer");
  if (bearer == NULL || credentials->kind != GANTRY_CREDENTIALS_PASSWORD
      || challenge_get (bearer, "realm") == NULL)
    return gantry_credentials_ref (credentials);
  wanted.realm = challenge_get (bearer, "realm");
  wanted.service = challenge_get (bearer, "service");
  token = token_get (self->registry, host->tls_elsewhere, &wanted, NULL, &identity, cancellable, NULL);
  return identity != NULL ? gantry_credentials_new (GANTRY_CREDENTIALS_IDENTITY_TOKEN, credentials->username,
                                                    identity, NULL)
                          : gantry_credentials_ref (credentials);
}

static gboolean
check (OciRepository *self, GCancellable *cancellable, GError **error)
{
  Ask ask = { .method = "GET", .path = (char *)"/" };
  g_autoptr (HttpReply) reply = host_ask (self, 0, &ask, cancellable, error);

  if (reply == NULL)
    return FALSE;
  return http_reply_get_status (reply) == 200 || host_throw (self, 0, "login", reply, cancellable, error);
}

gboolean
registry_login (GantryRegistry *registry, const char *server, GantryRegistryAccess *access, gboolean store,
                GVariant **ret_details, GCancellable *cancellable, GError **error)
{
  RegistryOci *self = (RegistryOci *)registry;
  GantryRepository *repository = NULL;
  g_autoptr (GantryRepository) handle = NULL;
  g_autoptr (GantryCredentials) kept = NULL;
  g_autofree char *file = NULL;
  GVariantDict details;

  if (access == NULL || access->credentials == NULL || access->credentials->secret == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "login at %s needs credentials", server);
  repository = (GantryRepository *)open_server (self, server, access, error);
  handle = repository;
  if (repository == NULL || !check ((OciRepository *)repository, cancellable, error))
    return FALSE;
  if (store && access->credentials->kind != GANTRY_CREDENTIALS_PASSWORD
      && access->credentials->kind != GANTRY_CREDENTIALS_IDENTITY_TOKEN)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "only a password or an identity token can be stored");
  kept = get_identity ((OciRepository *)repository, access->credentials, cancellable);
  if (store
      && !credentials_store (self, ((OciRepository *)repository)->reference->server, kept, &file, error))
    return FALSE;
  if (ret_details == NULL)
    return TRUE;
  g_variant_dict_init (&details, NULL);
  g_variant_dict_insert (&details, "user", "s",
                         access->credentials->username != NULL ? access->credentials->username : "");
  g_variant_dict_insert (&details, "stored", "b", store);
  g_variant_dict_insert (&details, "kind", "s",
                         kept->kind == GANTRY_CREDENTIALS_IDENTITY_TOKEN ? "identity-token" : "password");
  if (file != NULL)
    g_variant_dict_insert (&details, "file", "s", file);
  *ret_details = g_variant_ref_sink (g_variant_dict_end (&details));
  return TRUE;
}

gboolean
registry_logout (GantryRegistry *registry, const char *server, GCancellable *cancellable, GError **error)
{
  RegistryOci *self = (RegistryOci *)registry;

  return gantry_reference_split_server (server, NULL, NULL, error)
         && credentials_forget (self, server, error);
}
