/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What finds, checks and makes signatures, as the module has it: a part (part.h), since most images are used
 * under a policy that wants none, and gpgme, libyaml and libsoup are then not needed at all. */
#pragma once

#include "gpg.h"
#include "lookaside.h"

typedef struct
{
  gboolean (*verify) (const char *directory, GPtrArray *keyrings, GBytes *signed_message,
                      GBytes **ret_payload, char **ret_key, GError **error);
  GBytes *(*sign) (const char *home, const char *key, const char *passphrase, GBytes *payload,
                   GError **error);
  gboolean (*find_store) (const char *directory, const GantryReference *reference, char **ret_read,
                          char **ret_write, GError **error);
  gboolean (*read_store) (const char *url, const GantryReference *reference, const char *digest,
                          GPtrArray *signatures, GCancellable *cancellable, GError **error);
  gboolean (*write_store) (const char *url, const GantryReference *reference, const char *digest,
                           GBytes *signature, char **ret_location, GError **error);
} SignatureTools;
