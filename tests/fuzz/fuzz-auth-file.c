/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * config.json and containers-auth.json: found or refused with a reason, and no helper with a path in its name
 * is run. */
#include <stdint.h>
#include <string.h>

#include "auth-file.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  static const char *const hosts[] = { "docker.io", "quay.io", "localhost:5000" };
  g_autoptr (GBytes) bytes = g_bytes_new (data, size);

  for (gsize i = 0; i < G_N_ELEMENTS (hosts); i++)
    {
      g_autoptr (GError) error = NULL;
      g_autoptr (AuthFile) file = auth_file_new (bytes, "the file", &error);
      g_autoptr (GantryCredentials) found = NULL;
      g_autofree char *key = NULL;

      if (file == NULL)
        {
          if (error == NULL || !g_utf8_validate (error->message, -1, NULL))
            g_error ("it is refused without a readable reason");
          return 0;
        }
      auth_file_get_helper (file, hosts[i], "a/b", &key);
      if (auth_file_find (file, hosts[i], "a/b", &found, &error) != (error == NULL))
        g_error ("it fails without a reason");
      if (found != NULL && (found->secret == NULL || found->secret[0] == '\0'))
        g_error ("it has credentials without a secret");
    }
  return 0;
}
