/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <part.h>

#include "registry-oci.h"

static const RegistryClient client = {
  .http_new = http_new,
  .http_free = http_free,
  .vtable = {
    .size = sizeof (GantryRegistryVtable),
    .open = repository_open,
    .explain = registry_explain,
    .login = registry_login,
    .logout = registry_logout,
  },
};

gconstpointer
gantry_part_get_table (void)
{
  return &client;
}
