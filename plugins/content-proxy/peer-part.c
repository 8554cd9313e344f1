/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <content-client.h>
#include <proxy.h>

static gboolean
init (const GantryHost *host, gpointer *ret_instance, GError **error)
{
  Peer *peer = peer_new (host, error);

  if (peer == NULL)
    return FALSE;
  *ret_instance = content_client_new (host, peer);
  return TRUE;
}

static void
fini (gpointer instance)
{
  content_client_free (instance);
}

static const Proxy proxy = { init, fini };

gconstpointer
gantry_part_get_table (void)
{
  return &proxy;
}
