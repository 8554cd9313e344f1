/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "import-names.h"

#include <string.h>

void
import_name_free (gpointer data)
{
  ImportName *name = data;

  g_free (name->name);
  gantry_descriptor_unref (name->target);
  g_free (name);
}

gboolean
import_add_name (GPtrArray *images, const char *name, GantryDescriptor *target, gboolean by_reference,
                 GError **error)
{
  ImportName *found;

  if (images->len >= IMPORT_MAX_IMAGES)
    return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "the archive has more than %d images",
                         IMPORT_MAX_IMAGES);
  found = g_new0 (ImportName, 1);
  found->name = gantry_reference_normalize (name, error);
  found->target = gantry_descriptor_ref (target);
  found->by_reference = by_reference;
  g_ptr_array_add (images, found);
  return found->name != NULL;
}

/* By the options "name" and "prefix", or as the archive says. */
static gboolean
add_named (GPtrArray *images, const char *name, GantryDescriptor *target, GVariant *options, GError **error)
{
  const char *prefix = NULL, *given = NULL;
  g_autofree char *full = NULL;

  g_variant_lookup (options, "prefix", "&s", &prefix);
  g_variant_lookup (options, "name", "&s", &given);
  if (given != NULL)
    name = given;
  else if (name != NULL && prefix != NULL && strpbrk (name, ":/@") == NULL)
    name = full = g_strconcat (prefix, ":", name, NULL);
  if (name == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "the archive does not name its image; give the option \"name\"");
  return import_add_name (images, name, target, FALSE, error);
}

static gboolean
add_by_digest (GPtrArray *images, const char *prefix, GantryDescriptor *target, gboolean by_reference,
               GError **error)
{
  g_autofree char *name = g_strconcat (prefix, "@", target->digest, NULL);

  return import_add_name (images, name, target, by_reference, error);
}

static gboolean
is_below (const char *name, const char *prefix)
{
  gsize length = strlen (prefix);

  return strncmp (name, prefix, length) == 0
         && (name[length] == '\0' || strchr (":/@", name[length]) != NULL);
}

/* A tag becomes one of @prefix, and a whole name stays, if it is of @prefix or any will do. */
static gboolean
add_by_reference (GPtrArray *images, const char *name, GantryDescriptor *target, GVariant *reference,
                  GError **error)
{
  gboolean overwrite, digest, skip_named;
  g_autofree char *full = NULL;
  const char *prefix;

  g_variant_get (reference, "(&sbbb)", &prefix, &overwrite, &digest, &skip_named);
  if (name != NULL && strpbrk (name, ":/@") == NULL)
    name = full = g_strconcat (prefix, ":", name, NULL);
  else if (name != NULL && !overwrite && !is_below (name, prefix))
    name = NULL;
  if (name != NULL && !import_add_name (images, name, target, TRUE, error))
    return FALSE;
  return !digest || (name != NULL && skip_named) || add_by_digest (images, prefix, target, TRUE, error);
}

gboolean
import_has_references (GVariant *options)
{
  g_autoptr (GVariant) value = g_variant_lookup_value (options, "references", G_VARIANT_TYPE ("a(sbbb)"));

  return value != NULL;
}

gboolean
import_name_image (GPtrArray *images, const char *name, GantryDescriptor *target, GVariant *options,
                   GError **error)
{
  g_autoptr (GVariant) references
      = g_variant_lookup_value (options, "references", G_VARIANT_TYPE ("a(sbbb)"));
  const char *prefix = NULL;
  gboolean digests = FALSE;

  for (gsize i = 0; references != NULL && i < g_variant_n_children (references); i++)
    {
      g_autoptr (GVariant) reference = g_variant_get_child_value (references, i);

      if (!add_by_reference (images, name, target, reference, error))
        return FALSE;
    }
  if (references != NULL)
    return TRUE;
  g_variant_lookup (options, "digests", "b", &digests);
  g_variant_lookup (options, "prefix", "&s", &prefix);
  if (!digests)
    return add_named (images, name, target, options, error);
  if (prefix == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "the option \"digests\" needs the option \"prefix\"");
  /* An image without a name is named by its digest alone. */
  if ((name != NULL || g_variant_lookup (options, "name", "&s", &name))
      && !add_named (images, name, target, options, error))
    return FALSE;
  return add_by_digest (images, prefix, target, FALSE, error);
}

gboolean
import_names_differ (GPtrArray *images, GError **error)
{
  g_autoptr (GHashTable) targets = g_hash_table_new (g_str_hash, g_str_equal);

  for (guint i = 0; i < images->len; i++)
    {
      const ImportName *found = g_ptr_array_index (images, i);
      const char *other = g_hash_table_lookup (targets, found->name);

      if (other != NULL && strcmp (other, found->target->digest) != 0)
        return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                             "the archive has several images, and more than one would be named %s",
                             found->name);
      g_hash_table_insert (targets, found->name, found->target->digest);
    }
  return TRUE;
}
