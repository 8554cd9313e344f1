/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Docker's manifests of schema 1 (Docker registry HTTP API v2, "Image Manifest Version 2, Schema 1"). A
 * signed one is a JSON object to which "signatures" was added; each says in its protected header how many
 * bytes of the text, and what after them, make the object as it was. That is what the digest is of. The
 * signatures are by keys that they bring along themselves, and so say nothing of who made the image: they are
 * not checked. */
#include <string.h>

#include "registry-oci.h"

#define MAX_SIGNATURES 16

/* base64url (RFC 4648, section 5) without padding. Returns: (transfer full) (nullable). */
static guchar *
decode (const char *text, gsize *ret_length)
{
  g_autoptr (GString) padded = g_string_new (text);

  if (text == NULL || text[0] == '\0')
    return NULL;
  g_strdelimit (padded->str, "-", '+');
  g_strdelimit (padded->str, "_", '/');
  while (padded->len % 4 != 0)
    g_string_append_c (padded, '=');
  return g_base64_decode (padded->str, ret_length);
}

/* What one signature says the text was. */
static GBytes *
read_signature (GBytes *bytes, JsonNode *signature, GError **error)
{
  gsize length, size = g_bytes_get_size (bytes), tail_length;
  g_autofree guchar *text = NULL, *tail = NULL;
  g_autoptr (JsonNode) node = NULL;
  g_autoptr (GByteArray) payload = g_byte_array_new ();
  JsonObject *header;
  gint64 kept;

  if (JSON_NODE_HOLDS_OBJECT (signature))
    text = decode (oci_string (json_node_get_object (signature), "protected"), &length);
  node = text != NULL ? oci_parse (text, length, NULL) : NULL;
  header = node != NULL && JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
  tail = header != NULL ? decode (oci_string (header, "formatTail"), &tail_length) : NULL;
  kept = header != NULL ? oci_int (header, "formatLength", -1) : -1;
  if (tail == NULL || kept < 0 || (guint64)kept > size)
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                    "its signature does not say what it signs: the protected header has no formatLength "
                    "within the document or no formatTail");
      return NULL;
    }
  g_byte_array_append (payload, g_bytes_get_data (bytes, NULL), (guint)kept);
  g_byte_array_append (payload, tail, (guint)tail_length);
  return g_byte_array_free_to_bytes (g_steal_pointer (&payload));
}

gboolean
schema1_payload (GBytes *bytes, GBytes **ret_payload, GError **error)
{
  g_autoptr (JsonNode) node = oci_parse (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), NULL);
  JsonObject *object = node != NULL && JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
  JsonArray *signatures;
  g_autoptr (GBytes) payload = NULL;

  *ret_payload = NULL;
  if (object == NULL || oci_int (object, "schemaVersion", 0) != 1)
    return TRUE;
  signatures = oci_array (object, "signatures");
  if (signatures == NULL || json_array_get_length (signatures) == 0)
    {
      *ret_payload = g_bytes_ref (bytes);
      return TRUE;
    }
  if (json_array_get_length (signatures) > MAX_SIGNATURES)
    return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "it has more than %d signatures",
                         MAX_SIGNATURES);
  for (guint i = 0; i < json_array_get_length (signatures); i++)
    {
      g_autoptr (GBytes) other = read_signature (bytes, json_array_get_element (signatures, i), error);

      if (other == NULL)
        return FALSE;
      if (payload != NULL && !g_bytes_equal (payload, other))
        return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "its signatures are of different texts");
      if (payload == NULL)
        payload = g_steal_pointer (&other);
    }
  *ret_payload = g_steal_pointer (&payload);
  return TRUE;
}
