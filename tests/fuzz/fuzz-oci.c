/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * OCI documents: any bytes as an index, a manifest and a config. Descriptors that are taken have a digest and
 * a type.
 */
#include <stdint.h>
#include <string.h>

#include "oci.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void
check_descriptor (JsonNode *node)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GantryDescriptor) descriptor = NULL;

  if (node == NULL || !JSON_NODE_HOLDS_OBJECT (node))
    return;
  descriptor = oci_descriptor (json_node_get_object (node), &error);
  if ((descriptor == NULL) != (error != NULL))
    g_error ("a descriptor, or why there is none");
  if (descriptor == NULL)
    return;
  if (strchr (descriptor->digest, ':') == NULL || strchr (descriptor->digest, '/') != NULL)
    g_error ("\"%s\" was taken for a digest", descriptor->digest);
  oci_is_index (descriptor->media_type);
  oci_is_manifest (descriptor->media_type);
  oci_is_foreign (descriptor->media_type);
  if (descriptor->platform != NULL)
    {
      oci_platform_score (oci_host_match (), descriptor->platform);
      oci_platform_score (descriptor->platform, descriptor->platform);
    }
}

static void
check_array (JsonArray *array)
{
  for (guint i = 0; array != NULL && i < json_array_get_length (array); i++)
    check_descriptor (json_array_get_element (array, i));
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  const char *const platforms[] = { "linux/amd64", "linux/arm64/v8", NULL };
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonNode) node = oci_parse (data, size, &error);
  g_autoptr (GPtrArray) selected = NULL;
  JsonObject *object, *rootfs;

  if ((node == NULL) != (error != NULL))
    g_error ("a document, or why there is none");
  if (node == NULL)
    return 0;
  if (JSON_NODE_HOLDS_ARRAY (node))
    check_array (json_node_get_array (node));
  if (!JSON_NODE_HOLDS_OBJECT (node))
    return 0;
  object = json_node_get_object (node);
  check_descriptor (node);
  check_descriptor (json_object_get_member (object, "config"));
  check_descriptor (json_object_get_member (object, "subject"));
  check_array (oci_array (object, "layers"));
  check_array (oci_array (object, "manifests"));
  selected = oci_select_manifests (node, platforms, NULL);
  rootfs = oci_object (object, "rootfs");
  if (rootfs != NULL)
    {
      g_auto (GStrv) diff_ids = oci_strv (rootfs, "diff_ids");
      g_autofree char *chain G_GNUC_UNUSED = oci_chain_id (diff_ids, g_strv_length (diff_ids));
    }
  return 0;
}
