/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Manifests that refer to another one (image-spec 1.1, manifest.md, "subject"), as they are kept here: the
 * subject holds each by a label, so that what came with an image goes with it. */
#include <string.h>

#include "tree.h"

/* containerd's; after it come twelve digits of the digest. */
#define REFERRER_LABEL "containerd.io/gc.ref.content.referrer."
#define HEX_DIGITS     12

gboolean
tree_add_referrer (GantryContent *content, const char *subject, const char *referrer,
                   GCancellable *cancellable, GError **error)
{
  const char *hex = strchr (referrer, ':') + 1;
  g_autofree char *key
      = g_strdup_printf (REFERRER_LABEL "%.*s.%.*s", (int)(hex - referrer - 1), referrer, HEX_DIGITS, hex);
  g_autofree char *path = g_strconcat ("labels.", key, NULL);
  const char *const mask[] = { path, NULL };
  g_autoptr (GantryContentInfo) info = NULL;
  GVariantBuilder labels;

  if (!gantry_content_info (content, subject, &info, cancellable, error))
    return FALSE;
  if (g_strcmp0 (gantry_labels_lookup (info->labels, key), referrer) == 0)
    return TRUE;
  g_variant_builder_init (&labels, G_VARIANT_TYPE ("a{ss}"));
  g_variant_builder_add (&labels, "{ss}", key, referrer);
  return gantry_content_update (content, subject, g_variant_builder_end (&labels), mask, NULL, cancellable,
                                error);
}

static const char *
media_type_of (JsonObject *document)
{
  const char *own = oci_string (document, "mediaType");

  if (own != NULL)
    return own;
  return oci_array (document, "manifests") != NULL ? OCI_INDEX : OCI_MANIFEST;
}

/* Returns: (transfer full) (nullable): NULL without an error: it is not here. */
static GantryDescriptor *
describe (GantryContent *content, const char *digest, GCancellable *cancellable, GError **error)
{
  g_autoptr (GantryContentInfo) info = NULL;
  g_autoptr (JsonNode) node = NULL;
  GantryDescriptor *descriptor;
  JsonObject *document;
  const char *type;

  if (!gantry_content_info (content, digest, &info, cancellable, NULL))
    return NULL;
  node = oci_read (content, digest, cancellable, error);
  if (node == NULL)
    return NULL;
  if (!JSON_NODE_HOLDS_OBJECT (node))
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "referrer %s is no JSON object", digest);
      return NULL;
    }
  document = json_node_get_object (node);
  descriptor = gantry_descriptor_new (media_type_of (document), digest, info->blob_size, NULL);
  type = oci_string (document, "artifactType");
  if (type == NULL)
    type = oci_string (oci_object (document, "config"), "mediaType");
  descriptor->artifact_type = g_strdup (type);
  return descriptor;
}

GPtrArray *
tree_referrers (GantryContent *content, const char *subject, GCancellable *cancellable, GError **error)
{
  g_autoptr (GPtrArray) found = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_descriptor_unref);
  g_autoptr (GantryContentInfo) info = NULL;
  GVariantIter iter;
  const char *key, *value;

  if (!gantry_content_info (content, subject, &info, cancellable, error))
    return NULL;
  if (info->labels == NULL)
    return g_steal_pointer (&found);
  g_variant_iter_init (&iter, info->labels);
  while (g_variant_iter_next (&iter, "{&s&s}", &key, &value))
    {
      g_autoptr (GError) local = NULL;
      GantryDescriptor *one;

      if (!g_str_has_prefix (key, REFERRER_LABEL) || !gantry_reference_check_digest (value, NULL))
        continue;
      one = describe (content, value, cancellable, &local);
      if (local != NULL)
        {
          g_propagate_error (error, g_steal_pointer (&local));
          return NULL;
        }
      if (one != NULL)
        g_ptr_array_add (found, one);
    }
  return g_steal_pointer (&found);
}
