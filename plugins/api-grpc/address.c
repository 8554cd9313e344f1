/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "address.h"

#include <gantry/error.h>
#include <part.h>
#include <string.h>

static GantryPart tls_part = GANTRY_PART ("api-grpc-tls");

/* The keys of @address after its scheme. Returns: (transfer full): NULL with an error. */
static GHashTable *
parse (const char *address, const char *const *known, GError **error)
{
  g_autoptr (GHashTable) keys = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  g_auto (GStrv) pairs = g_strsplit (strchr (address, ':') + 1, ",", -1);

  for (gsize i = 0; pairs[i] != NULL; i++)
    {
      char *equals = strchr (pairs[i], '=');

      if (equals != NULL)
        *equals = '\0';
      if (equals == NULL || equals[1] == '\0' || !g_strv_contains (known, pairs[i])
          || g_hash_table_contains (keys, pairs[i]))
        {
          gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                        "address %s: \"%s\" is not a key that it may have once", address, pairs[i]);
          return NULL;
        }
      g_hash_table_insert (keys, g_strdup (pairs[i]), g_strdup (equals + 1));
    }
  return g_steal_pointer (&keys);
}

static gboolean
number (GHashTable *keys, const char *address, const char *key, guint base, guint64 max, guint64 fallback,
        guint64 *ret_value, GError **error)
{
  const char *text = g_hash_table_lookup (keys, key);

  *ret_value = fallback;
  if (text == NULL || g_ascii_string_to_unsigned (text, base, 0, max, ret_value, NULL))
    return TRUE;
  return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                       "address %s: %s=%s is not a number below %" G_GUINT64_FORMAT, address, key, text, max);
}

static gboolean
listen_unix (GrpcServer *server, const char *address, char **ret_shown, GError **error)
{
  static const char *const known[] = { "path", "mode", "gid", NULL };
  g_autoptr (GHashTable) keys = parse (address, known, error);
  const char *path;
  guint64 mode, gid;

  if (keys == NULL)
    return FALSE;
  path = g_hash_table_lookup (keys, "path");
  if (path == NULL || path[0] != '/')
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "address %s needs an absolute path=", address);
  if (!number (keys, address, "mode", 8, 0777, 0660, &mode, error)
      || !number (keys, address, "gid", 10, G_MAXINT32, 0, &gid, error)
      || !grpc_server_listen_unix (server, path, (mode_t)mode, (gid_t)gid, error))
    return FALSE;
  *ret_shown = g_strconcat ("unix:path=", path, NULL);
  return TRUE;
}

static gboolean
listen_tcp (GrpcServer *server, const char *address, char **ret_shown, GError **error)
{
  static const char *const known[] = { "host", "port", "certificate", "key", "client-ca", NULL };
  g_autoptr (GHashTable) keys = parse (address, known, error);
  GrpcTls tls = { 0 };
  const char *host;
  guint64 port;
  guint16 bound;

  if (keys == NULL)
    return FALSE;
  host = g_hash_table_lookup (keys, "host");
  tls.certificate = g_hash_table_lookup (keys, "certificate");
  tls.key = g_hash_table_lookup (keys, "key");
  tls.client_ca = g_hash_table_lookup (keys, "client-ca");
  if (host == NULL || (tls.certificate == NULL) != (tls.key == NULL)
      || (tls.client_ca != NULL && tls.key == NULL))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "address %s needs host=, and certificate= and key= both or neither", address);
  if (!number (keys, address, "port", 10, G_MAXUINT16, 0, &port, error)
      || (tls.key != NULL && (tls.ops = gantry_part_open (&tls_part, error)) == NULL)
      || !grpc_server_listen_tcp (server, host, (guint16)port, tls.key != NULL ? &tls : NULL, &bound, error))
    return FALSE;
  *ret_shown = g_strdup_printf ("tcp:host=%s,port=%u", host, bound);
  return TRUE;
}

gboolean
address_listen (GrpcServer *server, const char *address, char **ret_shown, GError **error)
{
  if (g_str_has_prefix (address, "unix:"))
    return listen_unix (server, address, ret_shown, error);
  if (g_str_has_prefix (address, "tcp:"))
    return listen_tcp (server, address, ret_shown, error);
  return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                       "address %s begins with neither unix: nor tcp:", address);
}
