/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>
#include <openssl/evp.h>

/** Ends @hash, of SHA-256. Returns: (transfer full): "sha256:…". */
static inline char *
unpack_digest_finish (EVP_MD_CTX *hash)
{
  guint8 digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  GString *text = g_string_new ("sha256:");

  EVP_DigestFinal_ex (hash, digest, &length);
  for (unsigned i = 0; i < length; i++)
    g_string_append_printf (text, "%02x", digest[i]);
  return g_string_free (text, FALSE);
}
