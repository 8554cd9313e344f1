/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib/gstdio.h>

#include "http.h"

static void
clear_tls (gpointer data)
{
  HttpTls *self = data;

  g_free (self->key);
  g_clear_pointer (&self->authorities, g_ptr_array_unref);
  g_clear_object (&self->client);
}

/* Adds the file @path as it is now to the key. */
static void
add_to_key (GString *key, const char *path)
{
  GStatBuf st;

  g_string_append_printf (key, "|%s", path);
  if (g_stat (path, &st) == 0)
    g_string_append_printf (key, ":%" G_GUINT64_FORMAT ":%" G_GINT64_FORMAT, (guint64)st.st_ino,
                            (gint64)st.st_mtime);
}

static gboolean
add_authority (HttpTls *self, const char *path, GError **error)
{
  g_autoptr (GError) local = NULL;
  g_autoptr (GTlsDatabase) database = g_tls_file_database_new (path, &local);

  if (database == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "certificate authority %s: %s", path,
                         local->message);
  g_ptr_array_add (self->authorities, g_steal_pointer (&database));
  return TRUE;
}

static gboolean
load_client (HttpTls *self, const char *cert, const char *key, GError **error)
{
  g_autoptr (GError) local = NULL;

  self->client = key != NULL ? g_tls_certificate_new_from_files (cert, key, &local)
                             : g_tls_certificate_new_from_file (cert, &local);
  if (self->client == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "client certificate %s: %s", cert,
                         local->message);
  return TRUE;
}

HttpTls *
http_tls_new (gboolean skip_verify, const char *const *ca_files, const char *client_cert,
              const char *client_key, GError **error)
{
  g_autoptr (HttpTls) self = GANTRY_VALUE_ALLOC (HttpTls, clear_tls);
  g_autoptr (GString) key = g_string_new (skip_verify ? "skip" : "verify");

  self->skip_verify = skip_verify;
  self->authorities = g_ptr_array_new_with_free_func (g_object_unref);
  for (gsize i = 0; ca_files != NULL && ca_files[i] != NULL; i++)
    {
      add_to_key (key, ca_files[i]);
      if (!add_authority (self, ca_files[i], error))
        return NULL;
    }
  if (client_cert != NULL)
    {
      g_string_append (key, "|client");
      add_to_key (key, client_cert);
      if (client_key != NULL)
        add_to_key (key, client_key);
      if (!load_client (self, client_cert, client_key, error))
        return NULL;
    }
  self->key = g_string_free (g_steal_pointer (&key), FALSE);
  return g_steal_pointer (&self);
}

gboolean
http_tls_accepts (HttpTls *self, GTlsCertificate *peer, const char *host)
{
  g_autoptr (GSocketConnectable) identity = g_network_address_new (host, 443);

  for (guint i = 0; i < self->authorities->len; i++)
    if (g_tls_database_verify_chain (g_ptr_array_index (self->authorities, i), peer,
                                     G_TLS_DATABASE_PURPOSE_AUTHENTICATE_SERVER, identity, NULL,
                                     G_TLS_DATABASE_VERIFY_NONE, NULL, NULL)
        == 0)
      return TRUE;
  return self->skip_verify;
}
