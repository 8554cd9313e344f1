/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * WWW-Authenticate: values separated by new lines. */
#include <stdint.h>
#include <string.h>

#include "challenge.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  g_autofree char *text = g_strndup ((const char *)data, size);
  g_auto (GStrv) values = g_strsplit (text, "\n", 20);
  g_autoptr (GPtrArray) challenges = challenge_parse ((const char *const *)values);

  if (challenges->len > 16)
    g_error ("there are %u challenges", challenges->len);
  for (guint i = 0; i < challenges->len; i++)
    {
      Challenge *challenge = g_ptr_array_index (challenges, i);
      const char *realm = challenge_get (challenge, "realm");

      if (strpbrk (challenge->scheme, " ,=\"" G_CSET_A_2_Z) != NULL
          || (realm != NULL && strlen (realm) > 4097))
        g_error ("scheme \"%s\", realm \"%s\"", challenge->scheme, realm);
    }
  return 0;
}
