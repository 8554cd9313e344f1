/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Specs: the first line is a dictionary of options in GVariant's text, the rest an image's config. What comes
 * out is JSON that an exec can be made from.
 */
#include <stdint.h>
#include <string.h>

#include "spec.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void
check_spec (GBytes *spec, GVariant *options)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_autoptr (GBytes) process = NULL;
  gsize length;
  const char *text = g_bytes_get_data (spec, &length);

  if (!json_parser_load_from_data (parser, text, (gssize)length, &error))
    g_error ("a spec that is no JSON: %s", error->message);
  process = spec_exec (spec, NULL, options, NULL);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  const uint8_t *end = memchr (data, '\n', size);
  gsize length = end != NULL ? (gsize)(end - data) : size;
  g_autofree char *text = g_strndup ((const char *)data, length);
  g_autoptr (GVariant) parsed = NULL, options = NULL;
  g_autoptr (JsonNode) config = end != NULL ? oci_parse (end + 1, size - length - 1, NULL) : NULL;
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) spec = NULL;

  /* GVariant's reader of text is for trusted text: deep nesting is not what is tried here. */
  if (length > 4096 || !g_utf8_validate (text, -1, NULL))
    return 0;
  parsed = g_variant_parse (G_VARIANT_TYPE_VARDICT, text, NULL, NULL, NULL);
  options = parsed != NULL ? g_variant_ref (parsed)
                           : g_variant_ref_sink (g_variant_new_array (G_VARIANT_TYPE ("{sv}"), NULL, 0));
  if (!spec_check_options (options, NULL))
    return 0;
  spec = spec_generate ("ns", "id",
                        config != NULL && JSON_NODE_HOLDS_OBJECT (config) ? json_node_get_object (config)
                                                                          : NULL,
                        NULL, options, &error);
  if ((spec == NULL) != (error != NULL))
    g_error ("a spec, or why there is none");
  if (spec != NULL)
    check_spec (spec, options);
  return 0;
}
