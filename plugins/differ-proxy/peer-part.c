/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "differ-proxy.h"

#include <proxy.h>

static gboolean
init (const GantryHost *host, gpointer *ret_instance, GError **error)
{
  DifferProxy *self = differ_proxy_new (host, error);

  if (self == NULL)
    return FALSE;
  *ret_instance = self;
  return TRUE;
}

static void
fini (gpointer instance)
{
  differ_proxy_free (instance);
}

static const Proxy proxy = { init, fini };

gconstpointer
gantry_part_get_table (void)
{
  return &proxy;
}
