/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "registry-oci.h"

gboolean
credentials_find (RegistryOci *self, const char *host, const char *repository,
                  GantryCredentials **ret_credentials, GCancellable *cancellable, GError **error)
{
  return TRUE;
}
