/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * An open repository: the reference, who asks, and the hosts that are asked one after the other. */
#include <string.h>

#include "registry-oci.h"

static GantryRepository *
repository_ref (GantryRepository *repository)
{
  OciRepository *self = (OciRepository *)repository;

  g_atomic_ref_count_inc (&self->refs);
  return repository;
}

void
repository_unref (GantryRepository *repository)
{
  OciRepository *self = (OciRepository *)repository;

  if (self == NULL || !g_atomic_ref_count_dec (&self->refs))
    return;
  for (guint i = 0; self->auths != NULL && i < self->hosts->len; i++)
    host_auth_clear (&self->auths[i]);
  g_free (self->auths);
  g_clear_pointer (&self->hosts, g_ptr_array_unref);
  gantry_registry_access_unref (self->access);
  gantry_reference_unref (self->reference);
  g_free (self->name);
  g_free (self);
}

static const GantryRepositoryVtable vtable = {
  .size = sizeof (GantryRepositoryVtable),
  .ref = repository_ref,
  .unref = repository_unref,
  .resolve = repository_resolve,
  .fetch_manifest = repository_fetch_manifest,
  .fetch = repository_fetch,
  .has_blob = repository_has_blob,
  .push_blob = repository_push_blob,
  .push_manifest = repository_push_manifest,
  .list_referrers = repository_list_referrers,
  .list_tags = repository_list_tags,
};

OciRepository *
repository_new (RegistryOci *registry, GantryReference *reference, GantryRegistryAccess *access,
                GPtrArray *hosts)
{
  OciRepository *self = g_new0 (OciRepository, 1);

  self->repository.vtable = &vtable;
  g_atomic_ref_count_init (&self->refs);
  self->registry = registry;
  self->reference = gantry_reference_ref (reference);
  self->name = gantry_reference_to_string (reference);
  self->access = gantry_registry_access_ref (access);
  self->hosts = g_ptr_array_ref (hosts);
  self->auths = g_new0 (HostAuth, hosts->len);
  for (guint i = 0; i < hosts->len; i++)
    host_auth_init (&self->auths[i]);
  if (access != NULL && access->options != NULL)
    g_variant_lookup (access->options, "schema1", "b", &self->schema1);
  return self;
}

/* Refuses options that nobody knows, and values that would end up in a header as something else. */
static gboolean
check_access (GantryRegistryAccess *access, GError **error)
{
  static const struct
  {
    const char *name, *type;
  } known[] = { { "plain-http", "b" },
                { "skip-verify", "b" },
                { "hosts-dir", "s" },
                { "headers", "a{ss}" },
                { "schema1", "b" } };
  GVariantIter iter;
  const char *name;
  GVariant *value;
  gboolean good = TRUE;

  if (access == NULL || access->options == NULL)
    return TRUE;
  g_variant_iter_init (&iter, access->options);
  while (good && g_variant_iter_next (&iter, "{&sv}", &name, &value))
    {
      good = FALSE;
      for (gsize i = 0; i < G_N_ELEMENTS (known) && !good; i++)
        good = strcmp (known[i].name, name) == 0
               && g_variant_is_of_type (value, G_VARIANT_TYPE (known[i].type));
      if (!good)
        gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "registry option \"%s\" of type %s is not known",
                      name, g_variant_get_type_string (value));
      g_variant_unref (value);
    }
  return good;
}

gboolean
header_is_valid (const char *name, const char *value)
{
  return name[0] != '\0' && strspn (name, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "-_") == strlen (name)
         && strpbrk (value, "\r\n") == NULL && strlen (value) <= 8192;
}

static gboolean
check_headers (GantryRegistryAccess *access, GError **error)
{
  g_autoptr (GVariantIter) iter = NULL;
  const char *name, *value;

  if (access == NULL || access->options == NULL
      || !g_variant_lookup (access->options, "headers", "a{ss}", &iter))
    return TRUE;
  while (g_variant_iter_next (iter, "{&s&s}", &name, &value))
    if (!header_is_valid (name, value))
      return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                           "registry option \"headers\": a name or value has letters that can't be sent");
  return TRUE;
}

gboolean
repository_open (GantryRegistry *registry, const char *text, GantryRegistryAccess *access,
                 GantryRepository **ret_repository, GCancellable *cancellable, GError **error)
{
  RegistryOci *self = (RegistryOci *)registry;
  g_autoptr (GantryReference) reference = gantry_reference_parse (text, error);
  g_autoptr (GPtrArray) hosts = NULL;

  if (reference == NULL || !check_access (access, error) || !check_headers (access, error))
    return FALSE;
  hosts = hosts_find (self, reference->server, access, error);
  if (hosts == NULL)
    return FALSE;
  *ret_repository = &repository_new (self, reference, access, hosts)->repository;
  return TRUE;
}

/* Adds what an earlier host said to what the last one says. */
static void
append_failure (GString *all, const GError *error)
{
  if (all->len < 2000)
    g_string_append_printf (all, "%s%s", all->len > 0 ? "; before that: " : "", error->message);
}

gboolean
repository_try (OciRepository *self, guint capabilities, HostFunc func, gpointer data,
                GCancellable *cancellable, GError **error)
{
  g_autoptr (GError) last = NULL;
  g_autoptr (GString) earlier = g_string_new (NULL);

  for (guint i = 0; i < self->hosts->len; i++)
    {
      RegistryHost *host = g_ptr_array_index (self->hosts, i);
      g_autoptr (GError) local = NULL;

      if ((host->capabilities & capabilities) != capabilities)
        continue;
      if (func (self, i, data, cancellable, &local))
        return TRUE;
      if (last != NULL)
        append_failure (earlier, last);
      g_clear_error (&last);
      last = g_steal_pointer (&local);
      if (!host_error_moves_on (last))
        break;
    }
  if (last == NULL)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "%s: no host of %s is configured for this",
                         self->name, self->reference->server);
  if (earlier->len > 0)
    g_set_error (error, last->domain, last->code, "%s (before that: %s)", last->message, earlier->str);
  else
    g_propagate_error (error, g_steal_pointer (&last));
  return FALSE;
}

char *
repository_path (OciRepository *self, const char *kind, const char *name)
{
  /* A valid reference has no letter that a path would have to escape but the ":" of digests, which may stand
   * there. */
  return g_strconcat ("/", self->reference->repository, "/", kind, "/", name, NULL);
}
