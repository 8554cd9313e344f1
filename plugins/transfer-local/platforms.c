/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * An index for some of the platforms of another one. */
#include <string.h>

#include "tree.h"

/* The digests of what @index has for @platforms, which must all be there. Returns: (transfer full). */
static GHashTable *
choose (JsonNode *index, const char *const *platforms, GError **error)
{
  g_autoptr (GHashTable) chosen = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);

  for (gsize i = 0; platforms[i] != NULL; i++)
    {
      const char *const one[] = { platforms[i], NULL };
      g_autoptr (GPtrArray) found = oci_select_manifests (index, one, error);

      if (found == NULL)
        return NULL;
      if (found->len == 0)
        {
          gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "there is no manifest for platform %s", platforms[i]);
          return NULL;
        }
      for (guint n = 0; n < found->len; n++)
        g_hash_table_add (chosen, g_strdup (((GantryDescriptor *)g_ptr_array_index (found, n))->digest));
    }
  return g_steal_pointer (&chosen);
}

static gboolean
is_chosen (GHashTable *chosen, JsonNode *entry)
{
  const char *digest
      = JSON_NODE_HOLDS_OBJECT (entry) ? oci_string (json_node_get_object (entry), "digest") : NULL;

  return digest != NULL && g_hash_table_contains (chosen, digest);
}

/* @index with only those entries. */
static GBytes *
write_index (JsonObject *index, JsonArray *entries)
{
  JsonObject *copy = json_object_new ();
  g_autoptr (JsonNode) root = json_node_init_object (json_node_alloc (), copy);
  g_autoptr (JsonGenerator) generator = json_generator_new ();
  g_autoptr (GList) names = json_object_get_members (index);
  gsize length;
  char *text;

  for (GList *name = names; name != NULL; name = name->next)
    json_object_set_member (copy, name->data, json_node_copy (json_object_get_member (index, name->data)));
  json_object_set_array_member (copy, "manifests", json_array_ref (entries));
  json_object_unref (copy);
  json_generator_set_root (generator, root);
  text = json_generator_to_data (generator, &length);
  return g_bytes_new_take (text, length);
}

gboolean
tree_reduce_index (JsonNode *index, const char *const *platforms, GBytes **ret_bytes, GError **error)
{
  g_autoptr (GHashTable) chosen = choose (index, platforms, error);
  g_autoptr (JsonArray) kept = json_array_new ();
  JsonObject *object;
  JsonArray *entries;

  if (chosen == NULL)
    return FALSE;
  object = json_node_get_object (index);
  entries = oci_array (object, "manifests");
  for (guint i = 0; i < json_array_get_length (entries); i++)
    if (is_chosen (chosen, json_array_get_element (entries, i)))
      json_array_add_element (kept, json_node_copy (json_array_get_element (entries, i)));
  *ret_bytes
      = json_array_get_length (kept) < json_array_get_length (entries) ? write_index (object, kept) : NULL;
  return TRUE;
}
