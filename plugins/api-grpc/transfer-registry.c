/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Registries as sources and destinations; credentials are asked for on the client's stream. */
#include "transfer.h"

#include <string.h>

/* How long a person may think about a password. */
#define ANSWER_TIMEOUT 300

typedef struct
{
  Stream *stream;
} Asker;

static void
asker_free (gpointer data)
{
  stream_unref (((Asker *)data)->stream);
  g_free (data);
}

static GantryCredentials *
credentials_of (const TYPES (AuthResponse) * answer)
{
  static const GantryCredentialsKind kinds[]
      = { GANTRY_CREDENTIALS_NONE, GANTRY_CREDENTIALS_PASSWORD, GANTRY_CREDENTIALS_IDENTITY_TOKEN,
          GANTRY_CREDENTIALS_HEADER };
  GantryCredentials *credentials;

  if (answer->authtype == CONTAINERD__TYPES__TRANSFER__AUTH_TYPE__NONE
      || answer->authtype >= (int)G_N_ELEMENTS (kinds))
    return NULL;
  credentials = gantry_credentials_new (kinds[answer->authtype], non_empty (answer->username), answer->secret,
                                        "the client's stream");
  credentials->expires_ns = timestamp_to_ns (answer->expire_at);
  return credentials;
}

static gboolean
ask (const char *host, const char *reference, const char *const *challenges,
     GantryCredentials **ret_credentials, gpointer user_data, GCancellable *cancellable, GError **error)
{
  Asker *asker = user_data;
  TYPES (AuthRequest) request = CONTAINERD__TYPES__TRANSFER__AUTH_REQUEST__INIT;
  g_auto (Arena) arena;
  g_autoptr (GBytes) answer = NULL, inner = NULL;
  TYPES (AuthResponse) * response;
  Any *any;

  arena_init (&arena);
  request.host = TEXT (host);
  request.reference = TEXT (reference);
  request.wwwauthenticate = (char **)challenges;
  request.n_wwwauthenticate = challenges != NULL ? g_strv_length ((char **)challenges) : 0;
  if (!stream_send (asker->stream, &request.base, error)
      || (answer = stream_receive (asker->stream, ANSWER_TIMEOUT, cancellable, error)) == NULL
      || (any = (Any *)message_unpack (&google__protobuf__any__descriptor, answer, &arena, error)) == NULL)
    return FALSE;
  if (!g_str_has_suffix (any->type_url, "containerd.types.transfer.AuthResponse"))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "the client answered \"%s\" when asked for credentials of %s", any->type_url, host);
  inner = g_bytes_new_static (any->value.data, any->value.len);
  response = (TYPES (AuthResponse) *)message_unpack (&TYPES_DESCRIPTOR (auth_response), inner, &arena, error);
  if (response == NULL)
    return FALSE;
  *ret_credentials = credentials_of (response);
  return TRUE;
}

/* What would be left out is refused, with the field's name. */
static gboolean
check_resolver (const TYPES (RegistryResolver) * resolver, GError **error)
{
  const char *scheme = resolver->default_scheme;

  if (resolver->http_debug != CONTAINERD__TYPES__TRANSFER__HTTPDEBUG__DISABLED)
    return gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED,
                         "resolver.http_debug is not implemented; `gantry registry explain` tells what hosts "
                         "answer");
  if (scheme[0] != '\0' && strcmp (scheme, "http") != 0 && strcmp (scheme, "https") != 0)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "resolver.default_scheme is \"%s\"; it can be \"http\" or \"https\"", scheme);
  return TRUE;
}

/* Returns: (transfer full), or NULL with an error. */
static GantryRegistryAccess *
make_access (Call *call, const TYPES (RegistryResolver) * resolver, GError **error)
{
  g_autoptr (Stream) stream = NULL;
  GantryRegistryAccess *access;
  GVariantDict options;

  if (resolver != NULL && !check_resolver (resolver, error))
    return NULL;
  g_variant_dict_init (&options, NULL);
  if (resolver != NULL)
    {
      if (resolver->auth_stream[0] != '\0'
          && (stream = streams_find (call->api, call->ns, resolver->auth_stream, error)) == NULL)
        {
          g_variant_dict_clear (&options);
          return NULL;
        }
      if (strcmp (resolver->default_scheme, "http") == 0)
        g_variant_dict_insert (&options, "plain-http", "b", TRUE);
      if (resolver->host_dir[0] != '\0')
        g_variant_dict_insert (&options, "hosts-dir", "s", resolver->host_dir);
      if (resolver->n_headers > 0)
        g_variant_dict_insert_value (&options, "headers",
                                     labels_from_entries (resolver->n_headers, resolver->headers));
    }
  access = gantry_registry_access_new (NULL, g_variant_dict_end (&options));
  if (stream != NULL)
    {
      Asker *asker = g_new0 (Asker, 1);

      asker->stream = g_steal_pointer (&stream);
      access->ask = ask;
      access->ask_data = asker;
      access->ask_destroy = asker_free;
    }
  return access;
}

gboolean
transfer_pull (Call *call, Progress *progress, gconstpointer source, gconstpointer destination,
               GError **error)
{
  const TYPES (OCIRegistry) *from = source;
  const TYPES (ImageStore) *to = destination;
  g_autoptr (GantryRegistryAccess) access = make_access (call, from->resolver, error);
  g_auto (GStrv) platforms = transfer_platforms (to->n_platforms, to->platforms);
  g_autofree char *where = g_strdup_printf ("OCI Registry (%s)", from->reference);
  g_autofree char *begin = g_strdup_printf ("Pulling from %s", where);
  g_autofree char *end = g_strdup_printf ("Completed pull from %s", where);
  g_autofree char *name = NULL;
  GVariantDict options;

  if (access == NULL || !transfer_check_store (to, error))
    return FALSE;
  progress_tell (progress, begin, NULL);
  g_variant_dict_init (&options, NULL);
  if (to->name[0] != '\0')
    g_variant_dict_insert (&options, "name", "s", to->name);
  g_variant_dict_insert (&options, "platforms", "^as", platforms);
  g_variant_dict_insert (&options, "all-metadata", "b", (gboolean)to->all_metadata);
  if (to->n_labels > 0)
    g_variant_dict_insert_value (&options, "labels", labels_from_entries (to->n_labels, to->labels));
  g_variant_dict_insert (&options, "unpack", "b", to->n_unpacks > 0);
  if (to->n_unpacks > 0 && to->unpacks[0]->snapshotter[0] != '\0')
    g_variant_dict_insert (&options, "snapshotter", "s", to->unpacks[0]->snapshotter);
  if (!gantry_transfer_pull (call->api->transfer, progress_job (progress), call->ns, from->reference, access,
                             g_variant_dict_end (&options), &name, NULL, call->cancellable, error)
      || !transfer_name_more (call, name, to, error) || !transfer_unpack (call, progress, name, to, error))
    return FALSE;
  progress_tell (progress, "saved", name);
  progress_tell (progress, end, NULL);
  return TRUE;
}

gboolean
transfer_push (Call *call, Progress *progress, gconstpointer source, gconstpointer destination,
               GError **error)
{
  const TYPES (ImageStore) *from = source;
  const TYPES (OCIRegistry) *to = destination;
  g_autoptr (GantryRegistryAccess) access = make_access (call, to->resolver, error);
  g_auto (GStrv) platforms = transfer_platforms (from->n_platforms, from->platforms);
  g_autofree char *begin = g_strdup_printf ("Pushing to OCI Registry (%s)", to->reference);
  g_autofree char *end = g_strdup_printf ("Completed push to OCI Registry (%s)", to->reference);
  GVariantDict options;

  if (access == NULL)
    return FALSE;
  progress_tell (progress, begin, NULL);
  g_variant_dict_init (&options, NULL);
  if (platforms[0] != NULL)
    g_variant_dict_insert (&options, "platforms", "^as", platforms);
  if (!gantry_transfer_push (call->api->transfer, progress_job (progress), call->ns, from->name,
                             to->reference, access, g_variant_dict_end (&options), NULL, call->cancellable,
                             error))
    return FALSE;
  progress_tell (progress, end, NULL);
  return TRUE;
}
