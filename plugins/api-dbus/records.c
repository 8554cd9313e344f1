/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What namespaces, images and containers share. */
#include "api-dbus.h"

#include <reference.h>

gboolean
set_labels (Call *call, const char *kind, const char *ns, const char *id, GError **error)
{
  g_autoptr (GVariant) labels = NULL;
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GantryChange) change = NULL;
  g_autoptr (GPtrArray) mask = g_ptr_array_new ();
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
  record = gantry_record_new (kind, ns, id, g_variant_builder_end (&kept), NULL);
  change = gantry_change_new (GANTRY_CHANGE_UPDATE, record);
  change->mask = (char **)g_ptr_array_free (g_steal_pointer (&mask), FALSE);
  return gantry_metadata_apply_one (call->self->metadata, change, NULL, NULL, error);
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
