/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * How a caller wants to reach a registry, out of a method's options. Nothing of it goes into a job's
 * properties or a log. */
#include "api-dbus.h"

/* The secret that @options name, of whichever kind. *@ret_secret stays NULL without one. */
static gboolean
find_secret (GVariant *options, GantryCredentialsKind *ret_kind, const char **ret_secret, GError **error)
{
  static const struct
  {
    const char *key;
    GantryCredentialsKind kind;
  } kinds[] = {
    { "password", GANTRY_CREDENTIALS_PASSWORD },
    { "identity-token", GANTRY_CREDENTIALS_IDENTITY_TOKEN },
    { "bearer-token", GANTRY_CREDENTIALS_BEARER },
    { "authorization", GANTRY_CREDENTIALS_HEADER },
  };

  for (gsize i = 0; i < G_N_ELEMENTS (kinds); i++)
    {
      const char *secret;

      if (!g_variant_lookup (options, kinds[i].key, "&s", &secret))
        continue;
      if (*ret_secret != NULL)
        return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                             "give one of password, identity-token, bearer-token and authorization");
      *ret_kind = kinds[i].kind;
      *ret_secret = secret;
    }
  return TRUE;
}

static gboolean
make_credentials (GVariant *options, GantryCredentials **ret_credentials, GError **error)
{
  GantryCredentialsKind kind = GANTRY_CREDENTIALS_NONE;
  const char *secret = NULL, *username = NULL;
  gboolean anonymous = FALSE;

  if (!find_secret (options, &kind, &secret, error))
    return FALSE;
  g_variant_lookup (options, "username", "&s", &username);
  g_variant_lookup (options, "anonymous", "b", &anonymous);
  if (username != NULL && secret == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "the option username needs a password or an identity-token");
  if (anonymous && secret != NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "the option anonymous goes with no credentials");
  if (secret != NULL || anonymous)
    *ret_credentials = gantry_credentials_new (kind, username, secret, "the call");
  return TRUE;
}

gboolean
registry_access_take (GVariant *options, GantryRegistryAccess **ret_access, GVariant **ret_rest,
                      GError **error)
{
  static const char *const credentials_keys[]
      = { "username", "password", "identity-token", "bearer-token", "authorization", "anonymous", NULL };
  static const char *const registry_keys[] = { "plain-http", "skip-verify", "hosts-dir", "headers", NULL };
  g_autoptr (GantryCredentials) credentials = NULL;
  g_auto (GVariantDict) rest = G_VARIANT_DICT_INIT (options);
  g_auto (GVariantDict) access = G_VARIANT_DICT_INIT (NULL);
  gboolean any = FALSE;

  if (!make_credentials (options, &credentials, error))
    return FALSE;
  for (gsize i = 0; credentials_keys[i] != NULL; i++)
    g_variant_dict_remove (&rest, credentials_keys[i]);
  for (gsize i = 0; registry_keys[i] != NULL; i++)
    {
      g_autoptr (GVariant) value = g_variant_lookup_value (options, registry_keys[i], NULL);

      if (value == NULL)
        continue;
      any = TRUE;
      g_variant_dict_insert_value (&access, registry_keys[i], value);
      g_variant_dict_remove (&rest, registry_keys[i]);
    }
  if (any || credentials != NULL)
    *ret_access = gantry_registry_access_new (credentials, g_variant_dict_end (&access));
  *ret_rest = g_variant_ref_sink (g_variant_dict_end (&rest));
  return TRUE;
}
