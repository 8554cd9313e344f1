/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "payload.h"
#include "policy.h"

#include <string.h>

#define SIGNATURE_TYPE "atomic container signature"

void
payload_clear (Payload *self)
{
  g_clear_pointer (&self->reference, g_free);
  g_clear_pointer (&self->digest, g_free);
}

/* The member @name of @object, which must be an object with just @n members. */
static JsonObject *
object_member (JsonObject *object, const char *name, guint n, GError **error)
{
  JsonNode *node = json_object_get_member (object, name);
  JsonObject *member = node != NULL && JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;

  if (member != NULL && (n == 0 || json_object_get_size (member) == n))
    return member;
  gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                "the signature's payload has no \"%s\" of the known form", name);
  return NULL;
}

static const char *
string_member (JsonObject *object, const char *name, GError **error)
{
  JsonNode *node = json_object_get_member (object, name);

  if (node != NULL && JSON_NODE_HOLDS_VALUE (node) && json_node_get_value_type (node) == G_TYPE_STRING)
    return json_node_get_string (node);
  gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the signature's payload has no string \"%s\"", name);
  return NULL;
}

gboolean
payload_parse (const void *data, gsize length, Payload *ret_payload, GError **error)
{
  g_autoptr (JsonNode) root = strict_json_parse (data, length, error);
  JsonObject *critical, *image, *identity;
  const char *type, *digest, *reference;

  if (root == NULL)
    return FALSE;
  if (json_object_get_size (json_node_get_object (root)) != 2)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "the signature's payload must have \"critical\" and \"optional\" only");
  if (object_member (json_node_get_object (root), "optional", 0, error) == NULL
      || (critical = object_member (json_node_get_object (root), "critical", 3, error)) == NULL
      || (image = object_member (critical, "image", 1, error)) == NULL
      || (identity = object_member (critical, "identity", 1, error)) == NULL
      || (type = string_member (critical, "type", error)) == NULL
      || (digest = string_member (image, "docker-manifest-digest", error)) == NULL
      || (reference = string_member (identity, "docker-reference", error)) == NULL)
    return FALSE;
  if (strcmp (type, SIGNATURE_TYPE) != 0)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "the signature is a \"%s\", not an \"" SIGNATURE_TYPE "\"", type);
  if (!gantry_reference_check_digest (digest, error))
    return FALSE;
  *ret_payload = (Payload){ g_strdup (reference), g_strdup (digest) };
  return TRUE;
}

static void
add_string (JsonBuilder *builder, const char *name, const char *value)
{
  json_builder_set_member_name (builder, name);
  json_builder_add_string_value (builder, value);
}

GBytes *
payload_new (const char *reference, const char *digest)
{
  g_autoptr (JsonBuilder) builder = json_builder_new ();
  g_autoptr (JsonNode) root = NULL;
  char *text;

  json_builder_begin_object (builder);
  json_builder_set_member_name (builder, "critical");
  json_builder_begin_object (builder);
  json_builder_set_member_name (builder, "identity");
  json_builder_begin_object (builder);
  add_string (builder, "docker-reference", reference);
  json_builder_end_object (builder);
  json_builder_set_member_name (builder, "image");
  json_builder_begin_object (builder);
  add_string (builder, "docker-manifest-digest", digest);
  json_builder_end_object (builder);
  add_string (builder, "type", SIGNATURE_TYPE);
  json_builder_end_object (builder);
  json_builder_set_member_name (builder, "optional");
  json_builder_begin_object (builder);
  add_string (builder, "creator", "gantry " GANTRY_VERSION);
  json_builder_set_member_name (builder, "timestamp");
  json_builder_add_int_value (builder, g_get_real_time () / G_USEC_PER_SEC);
  json_builder_end_object (builder);
  json_builder_end_object (builder);
  root = json_builder_get_root (builder);
  text = json_to_string (root, FALSE);
  return g_bytes_new_take (text, strlen (text));
}
