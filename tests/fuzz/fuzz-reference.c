/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * References: whatever is taken is written the same way and read back as the same thing, also as docker shows
 * it.
 */
#include <stdint.h>
#include <string.h>

#include "reference.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void
check_same (const char *text, const char *expected)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *again = gantry_reference_normalize (text, &error);

  if (g_strcmp0 (again, expected) != 0)
    g_error ("\"%s\" reads as \"%s\", not as \"%s\"", text, again, expected);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  static const char *const prefixes[] = { "docker.io/library", "quay.io", "r.example:5000/team", NULL };
  g_autofree char *text = g_strndup ((const char *)data, size);
  g_autoptr (GError) error = NULL;
  g_autoptr (GantryReference) reference = gantry_reference_parse (text, &error);
  g_auto (GStrv) names = gantry_reference_complete (text, prefixes, NULL);

  if (reference != NULL)
    {
      g_autofree char *whole = gantry_reference_to_string (reference);
      g_autofree char *familiar = gantry_reference_to_familiar (reference);

      check_same (whole, whole);
      check_same (familiar, whole);
      for (gsize i = 0; names != NULL && names[i] != NULL; i++)
        check_same (names[i], names[i]);
    }
  else if (error == NULL || !g_utf8_validate (error->message, -1, NULL))
    g_error ("it is refused without a readable reason");
  return 0;
}
