/* SPDX-License-Identifier: MIT
 *
 * The contract of org.gantry.frontend.v1: what all doors have in common. */
#include <gantry/frontend.h>

#include <string.h>

#include <gio/gunixsocketaddress.h>

#include "suites.h"

#define DRAIN_MS 1000

static GantryFrontend *
frontend_of (GantryContractFixture *fixture)
{
  return fixture->instance;
}

static gboolean
is_set (gpointer data)
{
  return *(gboolean *)data;
}

static void
on_stopped (gpointer data)
{
  gboolean *stopped = data;

  g_assert_false (*stopped);
  *stopped = TRUE;
}

/* The path of a unix address as people write it ("unix:path=/x"); NULL for any other. Returns: (transfer
 * full) (nullable). */
static char *
unix_path (const char *address)
{
  const char *path = strstr (address, "path=");

  if (g_str_has_prefix (address, "unix:/"))
    return g_strdup (address + strlen ("unix:"));
  if (!g_str_has_prefix (address, "unix:") || path == NULL)
    return NULL;
  return g_strndup (path + strlen ("path="), strcspn (path + strlen ("path="), ",;"));
}

static gboolean
can_connect (const char *path)
{
  g_autoptr (GSocketClient) client = g_socket_client_new ();
  g_autoptr (GSocketAddress) address = g_unix_socket_address_new (path);
  g_autoptr (GSocketConnection) connection
      = g_socket_client_connect (client, G_SOCKET_CONNECTABLE (address), NULL, NULL);

  return connection != NULL;
}

static void
stop (GantryContractFixture *fixture)
{
  gboolean stopped = FALSE;

  gantry_frontend_stop (frontend_of (fixture), DRAIN_MS, on_stopped, &stopped);
  gantry_contract_wait (is_set, &stopped, "the end of the frontend");
  gantry_contract_spin ();
}

/* It listens where it says once serve () returns, and nowhere any more when it has stopped. */
static void
test_serve (GantryContractFixture *fixture)
{
  g_auto (GStrv) addresses = NULL;

  CONTRACT_OK (gantry_frontend_serve (frontend_of (fixture), NULL, &error));
  addresses = gantry_frontend_get_addresses (frontend_of (fixture));
  g_assert_nonnull (addresses);
  g_assert_cmpuint (g_strv_length (addresses), >, 0);
  for (gsize i = 0; addresses[i] != NULL; i++)
    {
      g_autofree char *path = unix_path (addresses[i]);

      g_assert_nonnull (strchr (addresses[i], ':'));
      if (path != NULL)
        g_assert_true (can_connect (path));
    }
  stop (fixture);
  for (gsize i = 0; addresses[i] != NULL; i++)
    {
      g_autofree char *path = unix_path (addresses[i]);

      if (path != NULL)
        g_assert_false (can_connect (path));
    }
}

/* A client that says nothing does not hold up the end. */
static void
test_stop_with_client (GantryContractFixture *fixture)
{
  g_autoptr (GSocketClient) client = g_socket_client_new ();
  g_autoptr (GPtrArray) connections = g_ptr_array_new_with_free_func (g_object_unref);
  g_auto (GStrv) addresses = NULL;

  CONTRACT_OK (gantry_frontend_serve (frontend_of (fixture), NULL, &error));
  addresses = gantry_frontend_get_addresses (frontend_of (fixture));
  for (gsize i = 0; addresses[i] != NULL; i++)
    {
      g_autofree char *path = unix_path (addresses[i]);
      g_autoptr (GSocketAddress) address = path != NULL ? g_unix_socket_address_new (path) : NULL;

      if (address != NULL)
        g_ptr_array_add (connections,
                         g_socket_client_connect (client, G_SOCKET_CONNECTABLE (address), NULL, NULL));
    }
  gantry_contract_spin ();
  stop (fixture);
}

/* Ending one that never served, and one that still serves, is in order. */
static void
test_stop_unserved (GantryContractFixture *fixture)
{
  stop (fixture);
}

static void
test_serve_again (GantryContractFixture *fixture)
{
  if (!gantry_contract_can_restart (fixture))
    return;
  CONTRACT_OK (gantry_frontend_serve (frontend_of (fixture), NULL, &error));
  stop (fixture);
  fixture->restart (fixture);
  CONTRACT_OK (gantry_frontend_serve (frontend_of (fixture), NULL, &error));
  stop (fixture);
}

static const GantryContractCase cases[] = {
  { "serve", test_serve },
  { "stop-with-client", test_stop_with_client },
  { "stop-unserved", test_stop_unserved },
  { "serve-again", test_serve_again },
  { NULL, NULL },
};

const GantryContractSuite gantry_contract_frontend = { GANTRY_FRONTEND_TYPE, cases };
