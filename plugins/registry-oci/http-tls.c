/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include <glib/gstdio.h>

#include "http.h"

static void
clear_tls (gpointer data)
{
  HttpTls *self = data;

  g_free (self->key);
  g_clear_pointer (&self->authorities, g_ptr_array_unref);
  g_clear_pointer (&self->clients, g_ptr_array_unref);
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
  GTlsCertificate *client = key[0] != '\0' ? g_tls_certificate_new_from_files (cert, key, &local)
                                           : g_tls_certificate_new_from_file (cert, &local);

  if (client == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "client certificate %s: %s", cert,
                         local->message);
  g_ptr_array_add (self->clients, client);
  return TRUE;
}

HttpTls *
http_tls_new (gboolean skip_verify, const char *const *ca_files, const char *const *clients, GError **error)
{
  g_autoptr (HttpTls) self = GANTRY_VALUE_ALLOC (HttpTls, clear_tls);
  g_autoptr (GString) key = g_string_new (skip_verify ? "skip" : "verify");

  self->skip_verify = skip_verify;
  self->authorities = g_ptr_array_new_with_free_func (g_object_unref);
  self->clients = g_ptr_array_new_with_free_func (g_object_unref);
  for (gsize i = 0; ca_files != NULL && ca_files[i] != NULL; i++)
    {
      add_to_key (key, ca_files[i]);
      if (!add_authority (self, ca_files[i], error))
        return NULL;
    }
  for (gsize i = 0; clients != NULL && clients[i] != NULL; i += 2)
    {
      g_string_append (key, "|client");
      add_to_key (key, clients[i]);
      add_to_key (key, clients[i + 1]);
      if (!load_client (self, clients[i], clients[i + 1], error))
        return NULL;
    }
  self->key = g_string_free (g_steal_pointer (&key), FALSE);
  return g_steal_pointer (&self);
}

/* Reads the head of the DER value of the type @tag at the start of @rest (X.690, 8.1) and moves past it.
 * Returns: FALSE if there is none. */
static gboolean
take_der (GByteArray *bytes, gsize *at, gsize end, guint8 tag, gsize *ret_end)
{
  gsize length, n;

  if (end - *at < 2 || bytes->data[*at] != tag)
    return FALSE;
  length = bytes->data[*at + 1];
  *at += 2;
  if (length >= 0x80)
    {
      n = length & 0x7f;
      if (n == 0 || n > 4 || end - *at < n)
        return FALSE;
      for (length = 0; n > 0; n--)
        length = length << 8 | bytes->data[(*at)++];
    }
  if (length > end - *at)
    return FALSE;
  *ret_end = *at + length;
  return TRUE;
}

/* The issuer's name as it stands in the certificate (RFC 5280, 4.1). Returns: (transfer full) (nullable). */
static GBytes *
issuer_of (GTlsCertificate *certificate)
{
  g_autoptr (GByteArray) bytes = NULL;
  gsize at = 0, end, start;

  g_object_get (certificate, "certificate", &bytes, NULL);
  /* Certificate, TBSCertificate, [0] version, serialNumber, signature, issuer. */
  if (bytes == NULL || !take_der (bytes, &at, bytes->len, 0x30, &end)
      || !take_der (bytes, &at, end, 0x30, &end))
    return NULL;
  for (gsize i = 0, next; i < 3; i++)
    {
      static const guint8 tags[] = { 0xa0, 0x02, 0x30 };

      if (take_der (bytes, &at, end, tags[i], &next))
        at = next;
      else if (i > 0)
        return NULL;
    }
  start = at;
  return take_der (bytes, &at, end, 0x30, &end) ? g_bytes_new (bytes->data + start, end - start) : NULL;
}

/* Whether the certificate, or one of those that come with it, is signed by one of @names. */
static gboolean
is_signed_by (GTlsCertificate *certificate, GList *names)
{
  for (; certificate != NULL; certificate = g_tls_certificate_get_issuer (certificate))
    {
      g_autoptr (GBytes) issuer = issuer_of (certificate);

      for (GList *name = names; issuer != NULL && name != NULL; name = name->next)
        {
          GByteArray *wanted = name->data;

          if (wanted->len == g_bytes_get_size (issuer)
              && memcmp (wanted->data, g_bytes_get_data (issuer, NULL), wanted->len) == 0)
            return TRUE;
        }
    }
  return FALSE;
}

static void
free_names (GList *names)
{
  g_list_free_full (names, (GDestroyNotify)g_byte_array_unref);
}

GTlsCertificate *
http_tls_choose (HttpTls *self, GTlsClientConnection *connection)
{
  GList *names = g_tls_client_connection_get_accepted_cas (connection);
  GTlsCertificate *chosen = NULL;

  for (guint i = 0; chosen == NULL && i < self->clients->len; i++)
    if (is_signed_by (g_ptr_array_index (self->clients, i), names))
      chosen = g_ptr_array_index (self->clients, i);
  free_names (names);
  /* Not none: a handshake that is left without one may never end (libsoup 3.2 with glib-networking 2.74). */
  return chosen != NULL ? chosen : g_ptr_array_index (self->clients, 0);
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
