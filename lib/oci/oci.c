/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "oci.h"

#include <math.h>
#include <string.h>

#include <fdio.h>

#define MAX_DEPTH 64

/* Rejects deep nesting before the parser recurses into it. */
static gboolean
depth_is_sane (const char *text, gsize length)
{
  gboolean quoted = FALSE;
  guint depth = 0;

  for (gsize i = 0; i < length; i++)
    {
      if (quoted)
        {
          if (text[i] == '\\')
            i++;
          else if (text[i] == '"')
            quoted = FALSE;
        }
      else if (text[i] == '"')
        quoted = TRUE;
      else if (text[i] == '{' || text[i] == '[')
        {
          if (++depth > MAX_DEPTH)
            return FALSE;
        }
      else if ((text[i] == '}' || text[i] == ']') && depth > 0)
        depth--;
    }
  return TRUE;
}

static void check_member (JsonObject *object, const char *name, JsonNode *node, gpointer ok);
static void check_element (JsonArray *array, guint index, JsonNode *node, gpointer ok);

/* Whether what was read can be written again: a number beyond what a double holds is read as infinite, for
 * which JSON has no word, and half of a surrogate pair, escaped, as what is no UTF-8. */
static gboolean
can_be_written (JsonNode *node)
{
  gboolean ok = TRUE;

  if (JSON_NODE_HOLDS_OBJECT (node))
    json_object_foreach_member (json_node_get_object (node), check_member, &ok);
  else if (JSON_NODE_HOLDS_ARRAY (node))
    json_array_foreach_element (json_node_get_array (node), check_element, &ok);
  else if (JSON_NODE_HOLDS_VALUE (node) && json_node_get_value_type (node) == G_TYPE_DOUBLE)
    ok = isfinite (json_node_get_double (node));
  else if (JSON_NODE_HOLDS_VALUE (node) && json_node_get_value_type (node) == G_TYPE_STRING)
    ok = g_utf8_validate (json_node_get_string (node), -1, NULL);
  return ok;
}

static void
check_member (JsonObject *object, const char *name, JsonNode *node, gpointer ok)
{
  *(gboolean *)ok = *(gboolean *)ok && g_utf8_validate (name, -1, NULL) && can_be_written (node);
}

static void
check_element (JsonArray *array, guint index, JsonNode *node, gpointer ok)
{
  *(gboolean *)ok = *(gboolean *)ok && can_be_written (node);
}

JsonNode *
oci_parse (const void *data, gsize length, GError **error)
{
  g_autoptr (JsonParser) parser = json_parser_new_immutable ();
  g_autoptr (GError) local = NULL;
  JsonNode *root;

  if (length == 0)
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the document is empty");
      return NULL;
    }
  if (length > OCI_MAX_DOCUMENT || !depth_is_sane (data, length) || !g_utf8_validate_len (data, length, NULL))
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                    "the document is not UTF-8, is nested more than %d deep or has more than %d bytes",
                    MAX_DEPTH, OCI_MAX_DOCUMENT);
      return NULL;
    }
  if (!json_parser_load_from_data (parser, data, (gssize)length, &local))
    {
      /* It may name what an octal escape made, which need not be UTF-8. */
      g_autofree char *said = g_utf8_make_valid (local->message, -1);

      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the document is not JSON: %s", said);
      return NULL;
    }
  root = json_parser_get_root (parser);
  if (root == NULL || !(JSON_NODE_HOLDS_OBJECT (root) || JSON_NODE_HOLDS_ARRAY (root)))
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the document is no JSON object");
      return NULL;
    }
  if (!can_be_written (root))
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                    "the document has a number beyond all range or half of a surrogate pair");
      return NULL;
    }
  return json_node_ref (root);
}

GBytes *
oci_read_bytes (GantryContent *content, const char *digest, GCancellable *cancellable, GError **error)
{
  gantry_autofd int fd = -1;

  if (!gantry_content_open_blob (content, digest, &fd, NULL, cancellable, error))
    return NULL;
  return gantry_read_all (fd, OCI_MAX_DOCUMENT, error);
}

JsonNode *
oci_read (GantryContent *content, const char *digest, GCancellable *cancellable, GError **error)
{
  g_autoptr (GBytes) bytes = oci_read_bytes (content, digest, cancellable, error);
  JsonNode *node;

  if (bytes == NULL)
    return NULL;
  node = oci_parse (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), error);
  if (node == NULL)
    g_prefix_error (error, "content %s: ", digest);
  return node;
}

static JsonNode *
member (JsonObject *object, const char *name)
{
  return object != NULL ? json_object_get_member (object, name) : NULL;
}

const char *
oci_string (JsonObject *object, const char *name)
{
  JsonNode *node = member (object, name);

  return node != NULL && JSON_NODE_HOLDS_VALUE (node) ? json_node_get_string (node) : NULL;
}

gint64
oci_int (JsonObject *object, const char *name, gint64 fallback)
{
  JsonNode *node = member (object, name);

  return node != NULL && JSON_NODE_HOLDS_VALUE (node) && json_node_get_value_type (node) == G_TYPE_INT64
             ? json_node_get_int (node)
             : fallback;
}

JsonObject *
oci_object (JsonObject *object, const char *name)
{
  JsonNode *node = member (object, name);

  return node != NULL && JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
}

JsonArray *
oci_array (JsonObject *object, const char *name)
{
  JsonNode *node = member (object, name);

  return node != NULL && JSON_NODE_HOLDS_ARRAY (node) ? json_node_get_array (node) : NULL;
}

char **
oci_strv (JsonObject *object, const char *name)
{
  JsonArray *array = oci_array (object, name);
  GPtrArray *strings = g_ptr_array_new ();

  for (guint i = 0; array != NULL && i < json_array_get_length (array); i++)
    {
      JsonNode *node = json_array_get_element (array, i);

      if (JSON_NODE_HOLDS_VALUE (node) && json_node_get_string (node) != NULL)
        g_ptr_array_add (strings, json_node_dup_string (node));
    }
  g_ptr_array_add (strings, NULL);
  return (char **)g_ptr_array_free (strings, FALSE);
}

static GVariant *
string_map (JsonObject *object)
{
  GVariantBuilder builder;
  JsonObjectIter iter;
  const char *name;
  JsonNode *node;

  g_variant_builder_init (&builder, G_VARIANT_TYPE ("a{ss}"));
  json_object_iter_init (&iter, object);
  while (json_object_iter_next (&iter, &name, &node))
    if (JSON_NODE_HOLDS_VALUE (node) && json_node_get_string (node) != NULL)
      g_variant_builder_add (&builder, "{ss}", name, json_node_get_string (node));
  return g_variant_builder_end (&builder);
}

static gboolean
is_digest (const char *digest)
{
  return digest != NULL && g_str_has_prefix (digest, "sha256:") && strlen (digest) == 71
         && strspn (digest + 7, "0123456789abcdef") == 64;
}

GantryDescriptor *
oci_descriptor (JsonObject *object, GError **error)
{
  const char *digest = oci_string (object, "digest"), *media_type = oci_string (object, "mediaType");
  JsonNode *size = member (object, "size");
  JsonObject *annotations = oci_object (object, "annotations"), *platform = oci_object (object, "platform");
  GantryDescriptor *descriptor;

  if (!is_digest (digest) || media_type == NULL || size == NULL || !JSON_NODE_HOLDS_VALUE (size)
      || json_node_get_int (size) < 0)
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                    "a descriptor has no mediaType, no size or no sha256 digest");
      return NULL;
    }
  descriptor = gantry_descriptor_new (media_type, digest, (guint64)json_node_get_int (size),
                                      annotations != NULL ? string_map (annotations) : NULL);
  if (platform != NULL && oci_string (platform, "os") != NULL
      && oci_string (platform, "architecture") != NULL)
    {
      const char *variant = oci_string (platform, "variant");

      descriptor->platform
          = g_strconcat (oci_string (platform, "os"), "/", oci_string (platform, "architecture"),
                         variant != NULL ? "/" : NULL, variant, NULL);
    }
  return descriptor;
}

gboolean
oci_is_index (const char *media_type)
{
  return g_strcmp0 (media_type, OCI_INDEX) == 0 || g_strcmp0 (media_type, DOCKER_INDEX) == 0;
}

gboolean
oci_is_manifest (const char *media_type)
{
  return g_strcmp0 (media_type, OCI_MANIFEST) == 0 || g_strcmp0 (media_type, DOCKER_MANIFEST) == 0;
}

gboolean
oci_is_foreign (const char *media_type)
{
  return strstr (media_type, ".nondistributable.") != NULL || strstr (media_type, ".foreign.") != NULL;
}

char *
oci_next_chain_id (const char *parent, const char *diff_id)
{
  g_autofree char *both = NULL, *hash = NULL;

  if (parent == NULL)
    return g_strdup (diff_id);
  both = g_strconcat (parent, " ", diff_id, NULL);
  hash = g_compute_checksum_for_string (G_CHECKSUM_SHA256, both, -1);
  return g_strconcat ("sha256:", hash, NULL);
}

char *
oci_chain_id (char **diff_ids, guint n)
{
  char *chain = NULL;

  for (guint i = 0; i < n; i++)
    {
      char *next = oci_next_chain_id (chain, diff_ids[i]);

      g_free (chain);
      chain = next;
    }
  return chain;
}

void
oci_image_free (OciImage *self)
{
  if (self == NULL)
    return;
  gantry_descriptor_unref (self->manifest);
  gantry_descriptor_unref (self->config_descriptor);
  g_clear_pointer (&self->config, json_node_unref);
  g_clear_pointer (&self->layers, g_ptr_array_unref);
  g_strfreev (self->diff_ids);
  g_free (self->platform);
  g_free (self);
}

/* The manifest for @platform at or below @target. */
static GantryDescriptor *
find_manifest (GantryContent *content, GantryDescriptor *target, const char *platform, guint depth,
               GCancellable *cancellable, GError **error)
{
  const char *const platforms[] = { platform, NULL };
  g_autoptr (GPtrArray) manifests = NULL;
  g_autoptr (JsonNode) node = NULL;

  if (!oci_is_index (target->media_type))
    return gantry_descriptor_ref (target);
  if (depth > OCI_MAX_INDEX_DEPTH)
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "indexes are nested more than %d deep",
                    OCI_MAX_INDEX_DEPTH);
      return NULL;
    }
  node = oci_read (content, target->digest, cancellable, error);
  manifests = node != NULL ? oci_select_manifests (node, platforms, error) : NULL;
  if (manifests == NULL)
    return NULL;
  if (manifests->len > 0)
    return find_manifest (content, g_ptr_array_index (manifests, 0), platform, depth + 1, cancellable, error);
  gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "index %s has no manifest for platform %s", target->digest,
                platform);
  return NULL;
}

GantryDescriptor *
oci_find_manifest (GantryContent *content, GantryDescriptor *target, const char *platform,
                   GCancellable *cancellable, GError **error)
{
  return find_manifest (content, target, platform != NULL ? platform : oci_host_match (), 0, cancellable,
                        error);
}

GantryDescriptor *
oci_find_config (GantryContent *content, GantryDescriptor *target, const char *platform,
                 GCancellable *cancellable, GError **error)
{
  g_autoptr (GantryDescriptor) manifest = oci_find_manifest (content, target, platform, cancellable, error);
  g_autoptr (JsonNode) node
      = manifest != NULL ? oci_read (content, manifest->digest, cancellable, error) : NULL;
  JsonObject *config = node != NULL && JSON_NODE_HOLDS_OBJECT (node)
                           ? oci_object (json_node_get_object (node), "config")
                           : NULL;

  if (node == NULL)
    return NULL;
  if (config != NULL)
    return oci_descriptor (config, error);
  gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "manifest %s has no config", manifest->digest);
  return NULL;
}

static gboolean
read_layers (OciImage *self, JsonObject *manifest, GError **error)
{
  JsonArray *layers = oci_array (manifest, "layers");
  guint n = layers != NULL ? json_array_get_length (layers) : 0;

  if (n > OCI_MAX_LAYERS)
    return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "manifest %s has %u layers; the limit is %d",
                         self->manifest->digest, n, OCI_MAX_LAYERS);
  for (guint i = 0; i < n; i++)
    {
      JsonNode *element = json_array_get_element (layers, i);
      GantryDescriptor *layer
          = JSON_NODE_HOLDS_OBJECT (element) ? oci_descriptor (json_node_get_object (element), error) : NULL;

      if (layer == NULL)
        {
          g_prefix_error (error, "manifest %s: ", self->manifest->digest);
          return FALSE;
        }
      g_ptr_array_add (self->layers, layer);
    }
  return TRUE;
}

OciImage *
oci_image_load (GantryContent *content, GantryDescriptor *target, const char *platform,
                GCancellable *cancellable, GError **error)
{
  g_autoptr (OciImage) self = g_new0 (OciImage, 1);
  g_autoptr (JsonNode) node = NULL;
  JsonObject *manifest, *config;

  self->layers = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_descriptor_unref);
  self->manifest = find_manifest (content, target, platform != NULL ? platform : oci_host_match (), 0,
                                  cancellable, error);
  if (self->manifest == NULL
      || (node = oci_read (content, self->manifest->digest, cancellable, error)) == NULL)
    return NULL;
  manifest = JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
  config = oci_object (manifest, "config");
  if (config == NULL)
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "manifest %s has no config",
                    self->manifest->digest);
      return NULL;
    }
  self->config_descriptor = oci_descriptor (config, error);
  if (self->config_descriptor == NULL || !read_layers (self, manifest, error)
      || (self->config = oci_read (content, self->config_descriptor->digest, cancellable, error)) == NULL)
    return NULL;
  config = JSON_NODE_HOLDS_OBJECT (self->config) ? json_node_get_object (self->config) : NULL;
  self->diff_ids = oci_strv (oci_object (config, "rootfs"), "diff_ids");
  if (g_strv_length (self->diff_ids) != self->layers->len)
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "image config %s has %u diff_ids for %u layers",
                    self->config_descriptor->digest, g_strv_length (self->diff_ids), self->layers->len);
      return NULL;
    }
  self->platform
      = g_strdup_printf ("%s/%s", oci_string (config, "os") != NULL ? oci_string (config, "os") : "linux",
                         oci_string (config, "architecture") != NULL ? oci_string (config, "architecture")
                                                                     : "");
  return g_steal_pointer (&self);
}
