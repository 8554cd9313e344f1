/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "digest.h"

#include <gantry/error.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

G_DEFINE_AUTOPTR_CLEANUP_FUNC (EVP_MD_CTX, EVP_MD_CTX_free)

static void
hash_free (Hash *self)
{
  EVP_MD_CTX_free ((EVP_MD_CTX *)self);
}

static Hash *
hash_start (const char *algorithm, GError **error)
{
  g_autoptr (EVP_MD_CTX) context = EVP_MD_CTX_new ();

  if (context != NULL && EVP_DigestInit_ex (context, EVP_get_digestbyname (algorithm), NULL) == 1)
    return (Hash *)g_steal_pointer (&context);
  gantry_throw (error, GANTRY_ERROR_INTERNAL, "hashing by %s failed", algorithm);
  return NULL;
}

static gboolean
hash_update (Hash *self, gconstpointer data, gsize length)
{
  return EVP_DigestUpdate ((EVP_MD_CTX *)self, data, length) == 1;
}

static char *
hash_to_hex (Hash *self)
{
  g_autoptr (EVP_MD_CTX) copy = EVP_MD_CTX_new ();
  guint8 raw[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  GString *text = g_string_new (NULL);

  if (copy != NULL && EVP_MD_CTX_copy_ex (copy, (EVP_MD_CTX *)self) == 1
      && EVP_DigestFinal_ex (copy, raw, &length) == 1)
    for (unsigned i = 0; i < length; i++)
      g_string_append_printf (text, "%02x", raw[i]);
  return g_string_free (text, FALSE);
}

static const Hashing hashing = { hash_start, hash_update, hash_to_hex, hash_free };

gconstpointer
gantry_part_get_table (void)
{
  /* Threads of pools may still end while the process does; what OpenSSL keeps for each is then freed by them,
   * not lost by it. */
  OPENSSL_init_crypto (OPENSSL_INIT_NO_ATEXIT, NULL);
  return &hashing;
}
