/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What decides over trust: the same bytes as policy.json, as a signature's payload and as a file of
 * registries.d. */
#include "lookaside.h"
#include "payload.h"
#include "policy.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void
try_policy (const uint8_t *data, size_t size)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Policy) policy = policy_parse (data, size, &error);
  g_autoptr (GantryReference) reference = gantry_reference_parse ("registry.example:5000/team/app:1", NULL);
  g_autofree char *scope = NULL;
  GPtrArray *requirements;

  if (policy == NULL)
    {
      if (error == NULL || error->code != GANTRY_ERROR_FAILED_PRECONDITION)
        g_error ("a broken policy has no reason");
      return;
    }
  requirements = policy_find (policy, "docker", reference, &scope);
  for (guint i = 0; i < requirements->len; i++)
    {
      g_autofree char *text G_GNUC_UNUSED = requirement_describe (g_ptr_array_index (requirements, i));

      policy_identity_matches (g_ptr_array_index (requirements, i), reference, "vendor.example/app:1", NULL);
    }
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  g_autoptr (GBytes) bytes = g_bytes_new (data, size);
  g_autoptr (GHashTable) sections = registries_d_new_sections ();
  g_auto (Payload) payload = { NULL, NULL };

  try_policy (data, size);
  payload_parse (data, size, &payload, NULL);
  registries_d_parse (sections, "fuzz.yaml", bytes, NULL);
  return 0;
}
