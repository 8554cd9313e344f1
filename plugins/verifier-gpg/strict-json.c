/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * JSON that is signed or that decides over trust: read by a well-kept parser, but without its forbearance. */
#include "policy.h"

#include <string.h>

#define MAX_DEPTH 16
#define MAX_BYTES (1024 * 1024)

/* How many members the parser has told of each object; a doubled one makes the object smaller than that, and
 * lets go of the object that the first may have been. */
static void
on_member (JsonParser *parser, JsonObject *object, const char *name, gpointer user_data)
{
  GHashTable *counts = user_data;
  guint count = GPOINTER_TO_UINT (g_hash_table_lookup (counts, object)) + 1;

  g_hash_table_insert (counts, json_object_ref (object), GUINT_TO_POINTER (count));
}

static gboolean
no_member_twice (GHashTable *counts, GError **error)
{
  GHashTableIter iter;
  gpointer object, count;

  g_hash_table_iter_init (&iter, counts);
  while (g_hash_table_iter_next (&iter, &object, &count))
    if (json_object_get_size (object) != GPOINTER_TO_UINT (count))
      return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "an object has the same member twice");
  return TRUE;
}

/* The parser recurses, so depth is bounded before it runs. */
static gboolean
is_shallow (const char *text, gsize length)
{
  guint depth = 0;
  gboolean quoted = FALSE;

  for (gsize i = 0; i < length; i++)
    {
      if (quoted && text[i] == '\\')
        i++;
      else if (text[i] == '"')
        quoted = !quoted;
      else if (!quoted && (text[i] == '{' || text[i] == '[') && ++depth > MAX_DEPTH)
        return FALSE;
      else if (!quoted && (text[i] == '}' || text[i] == ']') && depth > 0)
        depth--;
    }
  return TRUE;
}

JsonNode *
strict_json_parse (const void *data, gsize length, GError **error)
{
  g_autoptr (GHashTable) counts = g_hash_table_new_full (NULL, NULL, (GDestroyNotify)json_object_unref, NULL);
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_autoptr (GError) local = NULL;

  if (length > MAX_BYTES || !g_utf8_validate_len (data, length, NULL) || !is_shallow (data, length))
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                    "it is not UTF-8, nested more than %d deep or larger than %d bytes", MAX_DEPTH,
                    MAX_BYTES);
      return NULL;
    }
  g_signal_connect (parser, "object-member", G_CALLBACK (on_member), counts);
  if (!json_parser_load_from_data (parser, data, (gssize)length, &local))
    {
      /* It may name what an octal escape made, which need not be UTF-8. */
      g_autofree char *said = g_utf8_make_valid (local->message, -1);

      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "it is not JSON: %s", said);
      return NULL;
    }
  if (json_parser_get_root (parser) == NULL || !JSON_NODE_HOLDS_OBJECT (json_parser_get_root (parser)))
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "it is no JSON object");
      return NULL;
    }
  if (!no_member_twice (counts, error))
    return NULL;
  return json_parser_steal_root (parser);
}
