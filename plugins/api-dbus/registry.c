/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * org.gantry1.Manager's methods that ask registries. */
#include "api-dbus.h"

/* The registry client; without one there is nothing to ask. */
static GantryRegistry *
get_registry (Call *call, GError **error)
{
  g_autoptr (GError) local = NULL;
  GantryRegistry *registry = gantry_host_lookup (call->self->host, GANTRY_REGISTRY_TYPE, NULL, &local);

  if (registry == NULL)
    gantry_throw (error, GANTRY_ERROR_UNAVAILABLE, "no plugin provides %s; see `gantry plugin list`",
                  GANTRY_REGISTRY_TYPE);
  return registry;
}

/* Splits the options into how the registry is reached and what @known (pairs of name and type) names; any
 * other is an error. */
static gboolean
take_options (GVariant *options, const char *const *known, GantryRegistryAccess **ret_access,
              GVariant **ret_rest, GError **error)
{
  g_autoptr (GVariant) rest = NULL;
  g_autoptr (GantryRegistryAccess) access = NULL;
  GVariantIter iter;
  const char *key;
  GVariant *value;

  if (!registry_access_take (options, &access, &rest, error))
    return FALSE;
  g_variant_iter_init (&iter, rest);
  while (g_variant_iter_next (&iter, "{&sv}", &key, &value))
    {
      gboolean good = FALSE;

      for (gsize i = 0; known[i] != NULL && !good; i += 2)
        good = g_strcmp0 (known[i], key) == 0 && g_variant_is_of_type (value, G_VARIANT_TYPE (known[i + 1]));
      g_variant_unref (value);
      if (!good)
        return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                             "the option \"%s\" is not known, or of another type", key);
    }
  *ret_access = g_steal_pointer (&access);
  *ret_rest = g_steal_pointer (&rest);
  return TRUE;
}

/* The first whole name that @name may stand for. */
static char *
complete (GantryRegistry *registry, const char *name, GError **error)
{
  g_auto (GStrv) names = NULL;

  return gantry_registry_complete (registry, name, &names, NULL, error) ? g_strdup (names[0]) : NULL;
}

gboolean
registry_explain (Call *call, GVariant **ret_reply, GError **error)
{
  static const char *const known[] = { "push", "b", NULL };
  GantryRegistry *registry = get_registry (call, error);
  g_autoptr (GVariant) options = NULL, rest = NULL, hosts = NULL;
  g_autoptr (GantryRegistryAccess) access = NULL;
  g_autofree char *whole = NULL;
  gboolean push = FALSE;
  const char *name;

  g_variant_get (call->parameters, "(&s@a{sv})", &name, &options);
  if (registry == NULL || !take_options (options, known, &access, &rest, error)
      || (whole = complete (registry, name, error)) == NULL)
    return FALSE;
  g_variant_lookup (rest, "push", "b", &push);
  if (!gantry_registry_explain (registry, whole, push, access, &hosts, NULL, error))
    return FALSE;
  *ret_reply = g_variant_new ("(@aa{sv})", hosts);
  return TRUE;
}

gboolean
registry_login (Call *call, GVariant **ret_reply, GError **error)
{
  static const char *const known[] = { "store", "b", NULL };
  GantryRegistry *registry = get_registry (call, error);
  g_autoptr (GVariant) options = NULL, rest = NULL, details = NULL;
  g_autoptr (GantryRegistryAccess) access = NULL;
  gboolean store = TRUE;
  const char *server;

  g_variant_get (call->parameters, "(&s@a{sv})", &server, &options);
  if (registry == NULL || !take_options (options, known, &access, &rest, error))
    return FALSE;
  g_variant_lookup (rest, "store", "b", &store);
  if (!gantry_registry_login (registry, server, access, store, &details, NULL, error))
    return FALSE;
  *ret_reply = g_variant_new ("(@a{sv})", details);
  return TRUE;
}

gboolean
registry_logout (Call *call, GVariant **ret_reply, GError **error)
{
  GantryRegistry *registry = get_registry (call, error);
  const char *server;

  g_variant_get (call->parameters, "(&s)", &server);
  return registry != NULL && gantry_registry_logout (registry, server, NULL, error);
}

gboolean
registry_search_tags (Call *call, GVariant **ret_reply, GError **error)
{
  static const char *const known[] = { "last", "s", "limit", "u", NULL };
  GantryRegistry *registry = get_registry (call, error);
  g_autoptr (GantryRepository) repository = NULL;
  g_autoptr (GVariant) options = NULL, rest = NULL;
  g_autoptr (GantryRegistryAccess) access = NULL;
  g_auto (GStrv) tags = NULL;
  g_autofree char *whole = NULL;
  const char *name, *last = NULL;
  guint limit = 1000;

  g_variant_get (call->parameters, "(&s@a{sv})", &name, &options);
  if (registry == NULL || !take_options (options, known, &access, &rest, error)
      || (whole = complete (registry, name, error)) == NULL)
    return FALSE;
  g_variant_lookup (rest, "last", "&s", &last);
  g_variant_lookup (rest, "limit", "u", &limit);
  if (!gantry_registry_open (registry, whole, access, &repository, NULL, error)
      || !gantry_repository_list_tags (repository, last, limit, &tags, NULL, error))
    return FALSE;
  *ret_reply = g_variant_new ("(^as)", tags);
  return TRUE;
}

static GVariant *
referrer_to_variant (GantryDescriptor *referrer)
{
  GVariantDict dict;

  g_variant_dict_init (&dict, NULL);
  g_variant_dict_insert (&dict, "digest", "s", referrer->digest);
  g_variant_dict_insert (&dict, "media-type", "s", referrer->media_type);
  g_variant_dict_insert (&dict, "size", "t", referrer->blob_size);
  g_variant_dict_insert (&dict, "artifact-type", "s",
                         referrer->artifact_type != NULL ? referrer->artifact_type : "");
  g_variant_dict_insert_value (&dict, "annotations",
                               referrer->annotations != NULL
                                   ? referrer->annotations
                                   : g_variant_new_array (G_VARIANT_TYPE ("{ss}"), NULL, 0));
  return g_variant_dict_end (&dict);
}

gboolean
registry_list_referrers (Call *call, GVariant **ret_reply, GError **error)
{
  static const char *const known[] = { "type", "s", NULL };
  GantryRegistry *registry = get_registry (call, error);
  g_autoptr (GantryRepository) repository = NULL;
  g_autoptr (GVariant) options = NULL, rest = NULL;
  g_autoptr (GantryRegistryAccess) access = NULL;
  g_autoptr (GantryDescriptor) subject = NULL;
  g_autoptr (GPtrArray) referrers = NULL;
  g_autofree char *whole = NULL;
  const char *name, *type = NULL;
  GVariantBuilder list;

  g_variant_get (call->parameters, "(&s@a{sv})", &name, &options);
  if (registry == NULL || !take_options (options, known, &access, &rest, error)
      || (whole = complete (registry, name, error)) == NULL)
    return FALSE;
  g_variant_lookup (rest, "type", "&s", &type);
  if (!gantry_registry_open (registry, whole, access, &repository, NULL, error)
      || !gantry_repository_resolve (repository, NULL, &subject, NULL, error)
      || !gantry_repository_list_referrers (repository, subject->digest, type, &referrers, NULL, error))
    return FALSE;
  g_variant_builder_init (&list, G_VARIANT_TYPE ("aa{sv}"));
  for (guint i = 0; i < referrers->len; i++)
    g_variant_builder_add_value (&list, referrer_to_variant (g_ptr_array_index (referrers, i)));
  *ret_reply = g_variant_new ("(aa{sv})", &list);
  return TRUE;
}
