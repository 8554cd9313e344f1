/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What namespaces, images and containers share. */
#include "api-dbus.h"

#include <reference.h>

void
take_labels (Call *call, GVariant **ret_labels, char ***ret_mask)
{
  g_autoptr (GVariant) labels = NULL;
  GPtrArray *mask = g_ptr_array_new ();
  GVariantBuilder kept;
  GVariantIter iter;
  const char *key, *value;

  g_variant_get (call->parameters, "(@a{ss})", &labels);
  g_variant_builder_init (&kept, G_VARIANT_TYPE ("a{ss}"));
  g_variant_iter_init (&iter, labels);
  while (g_variant_iter_next (&iter, "{&s&s}", &key, &value))
    {
      g_ptr_array_add (mask, g_strconcat ("labels.", key, NULL));
      if (value[0] != '\0')
        g_variant_builder_add (&kept, "{ss}", key, value);
    }
  g_ptr_array_add (mask, NULL);
  *ret_labels = g_variant_builder_end (&kept);
  *ret_mask = (char **)g_ptr_array_free (mask, FALSE);
}

gboolean
set_labels (Call *call, const char *kind, const char *ns, const char *id, GError **error)
{
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GantryChange) change = NULL;
  g_auto (GStrv) mask = NULL;
  GVariant *labels;

  take_labels (call, &labels, &mask);
  record = gantry_record_new (kind, ns, id, labels, NULL);
  change = gantry_change_new (GANTRY_CHANGE_UPDATE, record);
  change->mask = g_steal_pointer (&mask);
  return gantry_metadata_apply_one (call->self->metadata, change, NULL, NULL, error);
}

GVariant *
take_option (GVariantDict *options, const char *key, const char *type)
{
  GVariant *value = g_variant_dict_lookup_value (options, key, G_VARIANT_TYPE (type));

  if (value != NULL)
    g_variant_dict_remove (options, key);
  return value;
}

static GantryMount *
take_mount (GVariant *given, GError **error)
{
  g_auto (GVariantDict) dict = G_VARIANT_DICT_INIT (given);
  g_autoptr (GVariant) type = take_option (&dict, "type", "s"), source = take_option (&dict, "source", "s"),
                       target = take_option (&dict, "target", "s"),
                       options = take_option (&dict, "options", "as");
  g_autofree const char **strv = options != NULL ? g_variant_get_strv (options, NULL) : NULL;

  if (!options_are_empty (&dict, "a mount", error))
    return NULL;
  if (type == NULL)
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "a mount must have a \"type\"");
      return NULL;
    }
  return gantry_mount_new (g_variant_get_string (type, NULL),
                           source != NULL ? g_variant_get_string (source, NULL) : "",
                           target != NULL ? g_variant_get_string (target, NULL) : NULL, strv);
}

GPtrArray *
take_mounts (GVariant *list, GError **error)
{
  g_autoptr (GPtrArray) mounts = g_ptr_array_new_with_free_func (gantry_value_unref);

  for (gsize i = 0; i < g_variant_n_children (list); i++)
    {
      g_autoptr (GVariant) given = g_variant_get_child_value (list, i);
      GantryMount *mount = take_mount (given, error);

      if (mount == NULL)
        return NULL;
      g_ptr_array_add (mounts, mount);
    }
  return g_steal_pointer (&mounts);
}

char *
find_image_name (Call *call, const char *name, GError **error)
{
  GantryRegistry *registry = gantry_host_lookup (call->self->host, GANTRY_REGISTRY_TYPE, NULL, NULL);
  g_autoptr (GantryRecord) record = NULL;
  g_auto (GStrv) names = NULL;

  if (gantry_metadata_get (call->self->metadata, GANTRY_KIND_IMAGE, call->ns, name, &record, NULL, NULL))
    return g_strdup (name);
  /* The registry client knows what short names stand for here. */
  if (registry == NULL)
    return gantry_reference_normalize (name, error);
  if (!gantry_registry_complete (registry, name, &names, NULL, error))
    return NULL;
  for (gsize i = 0; names[i] != NULL; i++)
    if (gantry_metadata_get (call->self->metadata, GANTRY_KIND_IMAGE, call->ns, names[i], &record, NULL,
                             NULL))
      return g_strdup (names[i]);
  return g_strdup (names[0]);
}

GantryRecord *
get_image_record (Call *call, GError **error)
{
  GantryRecord *record = NULL;

  gantry_metadata_get (call->self->metadata, GANTRY_KIND_IMAGE, call->ns, call->id, &record, NULL, error);
  return record;
}

gboolean
options_are_empty (GVariantDict *options, const char *method, GError **error)
{
  g_autoptr (GVariant) rest = g_variant_ref_sink (g_variant_dict_end (options));
  g_autofree char *key = NULL;

  if (g_variant_n_children (rest) == 0)
    return TRUE;
  g_variant_get_child (rest, 0, "{sv}", &key, NULL);
  return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "%s has no option \"%s\" of this type", method,
                       key);
}
