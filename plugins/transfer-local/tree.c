/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tree.h"

#include <string.h>

/* Gives @digest @labels, which hold its children. */
static gboolean
set_labels (Tree *self, const char *digest, GVariantBuilder *labels, GError **error)
{
  g_autoptr (GPtrArray) mask = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GVariant) held = g_variant_ref_sink (g_variant_builder_end (labels));
  g_autoptr (GantryContentInfo) info = NULL;
  GVariantIter iter;
  const char *key, *value;

  if (!gantry_content_info (self->content, digest, &info, self->cancellable, error))
    return FALSE;
  g_variant_iter_init (&iter, held);
  while (g_variant_iter_next (&iter, "{&s&s}", &key, &value))
    if (g_strcmp0 (gantry_labels_lookup (info->labels, key), value) != 0)
      g_ptr_array_add (mask, g_strconcat ("labels.", key, NULL));
  if (mask->len == 0)
    return TRUE;
  g_ptr_array_add (mask, NULL);
  return gantry_content_update (self->content, digest, held, (const char *const *)mask->pdata, NULL,
                                self->cancellable, error);
}

static gboolean
is_here (Tree *self, const char *digest)
{
  g_autoptr (GantryContentInfo) info = NULL;

  return gantry_content_info (self->content, digest, &info, self->cancellable, NULL);
}

static gboolean label_one (Tree *self, GantryDescriptor *target, guint depth, GError **error);

/* What nobody asked for gets no label, and so is collected when the lease that brought it ends. */
static gboolean
label_index (Tree *self, JsonNode *node, GantryDescriptor *target, guint depth, GError **error)
{
  g_autoptr (GPtrArray) all = oci_select_manifests (node, NULL, error);
  g_autoptr (GPtrArray) wanted = NULL;
  g_autoptr (GHashTable) chosen = g_hash_table_new (g_str_hash, g_str_equal);
  g_auto (GVariantBuilder) labels = G_VARIANT_BUILDER_INIT (G_VARIANT_TYPE ("a{ss}"));
  guint n = 0;

  wanted = all != NULL ? oci_select_manifests (node, (const char *const *)self->platforms, error) : NULL;
  if (wanted == NULL)
    {
      g_prefix_error (error, "index %s: ", target->digest);
      return FALSE;
    }
  for (guint i = 0; i < wanted->len; i++)
    g_hash_table_add (chosen, ((GantryDescriptor *)g_ptr_array_index (wanted, i))->digest);
  for (guint i = 0; self->unnamed && i < all->len; i++)
    if (((GantryDescriptor *)g_ptr_array_index (all, i))->platform == NULL)
      g_hash_table_add (chosen, ((GantryDescriptor *)g_ptr_array_index (all, i))->digest);
  for (guint i = 0; i < all->len; i++)
    {
      GantryDescriptor *child = g_ptr_array_index (all, i);
      g_autofree char *key = g_strdup_printf ("containerd.io/gc.ref.content.m.%u", i);

      /* An archive need not have every platform, and one may want the metadata of all. */
      if ((!self->lenient && !g_hash_table_contains (chosen, child->digest))
          || !is_here (self, child->digest))
        continue;
      n++;
      g_variant_builder_add (&labels, "{ss}", key, child->digest);
      if (!label_one (self, child, depth + 1, error))
        return FALSE;
    }
  if (n == 0)
    return gantry_throw (error, GANTRY_ERROR_NOT_FOUND,
                         "index %s has nothing here for the platforms wanted; name others or ask for all",
                         target->digest);
  return set_labels (self, target->digest, &labels, error);
}

static gboolean
label_manifest (Tree *self, JsonObject *object, GantryDescriptor *target, GError **error)
{
  JsonArray *layers = oci_array (object, "layers");
  JsonObject *config = oci_object (object, "config");
  g_auto (GVariantBuilder) labels = G_VARIANT_BUILDER_INIT (G_VARIANT_TYPE ("a{ss}"));
  g_autoptr (GantryDescriptor) descriptor = config != NULL ? oci_descriptor (config, error) : NULL;

  if (descriptor == NULL)
    return config != NULL ? FALSE
                          : gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "manifest %s has no config",
                                          target->digest);
  g_variant_builder_add (&labels, "{ss}", "containerd.io/gc.ref.content.config", descriptor->digest);
  for (guint i = 0; layers != NULL && i < json_array_get_length (layers); i++)
    {
      JsonNode *element = json_array_get_element (layers, i);
      g_autofree char *key = g_strdup_printf ("containerd.io/gc.ref.content.l.%u", i);
      g_autoptr (GantryDescriptor) layer = NULL;

      if (!JSON_NODE_HOLDS_OBJECT (element)
          || (layer = oci_descriptor (json_node_get_object (element), error)) == NULL)
        return FALSE;
      if (!is_here (self, layer->digest))
        {
          if (self->lenient || oci_is_foreign (layer->media_type))
            continue;
          return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "manifest %s lacks its layer %s here",
                               target->digest, layer->digest);
        }
      g_variant_builder_add (&labels, "{ss}", key, layer->digest);
    }
  return set_labels (self, target->digest, &labels, error);
}

static gboolean
label_one (Tree *self, GantryDescriptor *target, guint depth, GError **error)
{
  g_autoptr (JsonNode) node = NULL;

  if (depth > OCI_MAX_INDEX_DEPTH)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "indexes are nested more than %d deep",
                         OCI_MAX_INDEX_DEPTH);
  if (!oci_is_index (target->media_type) && !oci_is_manifest (target->media_type))
    return TRUE;
  node = oci_read (self->content, target->digest, self->cancellable, error);
  if (node == NULL)
    return FALSE;
  if (!JSON_NODE_HOLDS_OBJECT (node))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "content %s is no JSON object",
                         target->digest);
  return oci_is_index (target->media_type)
             ? label_index (self, node, target, depth, error)
             : label_manifest (self, json_node_get_object (node), target, error);
}

gboolean
tree_label (Tree *self, GantryDescriptor *target, GError **error)
{
  return label_one (self, target, 0, error);
}

char **
tree_wanted_platforms (GVariant *options)
{
  char **platforms = NULL;
  gboolean all = FALSE;

  g_variant_lookup (options, "all-platforms", "b", &all);
  if (!all && g_variant_lookup (options, "platforms", "^as", &platforms))
    {
      if (platforms[0] == NULL)
        g_clear_pointer (&platforms, g_strfreev);
      return platforms;
    }
  return all ? NULL : g_strsplit (oci_host_match (), " ", 1);
}

const char *
tree_unpack_platform (char **platforms)
{
  for (gsize i = 0; platforms != NULL && platforms[i] != NULL; i++)
    if (oci_platform_matches (platforms[i], oci_host_platform ())
        || oci_platform_matches (oci_host_match (), platforms[i]))
      return NULL;
  return platforms != NULL ? platforms[0] : NULL;
}

gboolean
tree_put_image (TransferLocal *self, const char *ns, const char *name, GantryDescriptor *target,
                GVariant *labels, GCancellable *cancellable, GError **error)
{
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GantryChange) change = NULL;
  GVariantDict fields;

  g_variant_dict_init (&fields, NULL);
  g_variant_dict_insert_value (&fields, "target", gantry_descriptor_to_variant (target));
  record = gantry_record_new (GANTRY_KIND_IMAGE, ns, name, labels, g_variant_dict_end (&fields));
  change = gantry_change_new (GANTRY_CHANGE_PUT, record);
  return gantry_metadata_apply_one (self->metadata, change, NULL, cancellable, error);
}

static char *
source_key (GantryReference *reference)
{
  return g_strconcat ("containerd.io/distribution.source.", reference->server, NULL);
}

GVariant *
tree_source_labels (GantryReference *reference)
{
  g_autofree char *key = source_key (reference);
  GVariantBuilder labels;

  g_variant_builder_init (&labels, G_VARIANT_TYPE ("a{ss}"));
  g_variant_builder_add (&labels, "{ss}", key, reference->repository);
  return g_variant_ref_sink (g_variant_builder_end (&labels));
}

gboolean
tree_note_source (GantryContent *content, GantryReference *reference, const char *digest,
                  GCancellable *cancellable, GError **error)
{
  g_autofree char *key = source_key (reference);
  g_autofree char *path = g_strconcat ("labels.", key, NULL);
  const char *const mask[] = { path, NULL };
  g_autoptr (GantryContentInfo) info = NULL;
  g_autofree char *joined = NULL;
  g_auto (GStrv) known = NULL;
  GVariantBuilder labels;
  const char *value;

  if (!gantry_content_info (content, digest, &info, cancellable, error))
    return FALSE;
  value = gantry_labels_lookup (info->labels, key);
  known = g_strsplit (value != NULL ? value : "", ",", -1);
  if (g_strv_contains ((const char *const *)known, reference->repository))
    return TRUE;
  joined = value != NULL && value[0] != '\0' ? g_strconcat (value, ",", reference->repository, NULL)
                                             : g_strdup (reference->repository);
  /* More sources than a label holds are no reason to fail. */
  if (strlen (key) + strlen (joined) > GANTRY_MAX_LABEL)
    return TRUE;
  g_variant_builder_init (&labels, G_VARIANT_TYPE ("a{ss}"));
  g_variant_builder_add (&labels, "{ss}", key, joined);
  return gantry_content_update (content, digest, g_variant_builder_end (&labels), mask, NULL, cancellable,
                                error);
}

char **
tree_other_sources (GantryContent *content, GantryReference *reference, const char *digest,
                    GCancellable *cancellable)
{
  g_autofree char *key = source_key (reference);
  g_autoptr (GantryContentInfo) info = NULL;
  GPtrArray *others = g_ptr_array_new ();
  g_auto (GStrv) known = NULL;
  const char *value = NULL;

  if (gantry_content_info (content, digest, &info, cancellable, NULL))
    value = gantry_labels_lookup (info->labels, key);
  known = g_strsplit (value != NULL ? value : "", ",", -1);
  for (gsize i = 0; known[i] != NULL; i++)
    if (known[i][0] != '\0' && strcmp (known[i], reference->repository) != 0)
      g_ptr_array_add (others, g_strdup (known[i]));
  g_ptr_array_add (others, NULL);
  return (char **)g_ptr_array_free (others, FALSE);
}
