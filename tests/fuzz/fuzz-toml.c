/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * TOML: whatever is taken is a tree of tables whose keys are there once; whatever is refused says why on one
 * line. */
#include <stdint.h>
#include <string.h>

#include "toml.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void
check (const TomlValue *value)
{
  if (value->kind == TOML_STRING && (value->string == NULL || !g_utf8_validate (value->string, -1, NULL)))
    g_error ("line %u has a string that is not UTF-8", value->line);
  for (guint i = 0; value->items != NULL && i < value->items->len; i++)
    {
      const TomlValue *item = g_ptr_array_index (value->items, i);

      if (value->kind == TOML_TABLE && toml_get (value, item->key) != item)
        g_error ("line %u has the key \"%s\" twice", item->line, item->key);
      check (item);
    }
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (TomlValue) root = toml_parse ((const char *)data, size, &error);

  if (root != NULL)
    check (root);
  else if (error == NULL || !g_utf8_validate (error->message, -1, NULL)
           || strchr (error->message, '\n') != NULL)
    g_error ("it is refused without a readable reason");
  return 0;
}
