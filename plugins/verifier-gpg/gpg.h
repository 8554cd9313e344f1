/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * OpenPGP by gpgme. Every operation has a GnuPG home of its own (or the one that is named), so that no key
 * but the ones that are meant counts; gpg runs as a child process of gpgme. Blocking; from any thread. */
#pragma once

#include <gio/gio.h>

/** Once, before the other calls. That gpg is not installed is told when it is needed: a policy without keys
 * needs none. */
void gpg_init (void);

/** Checks that @signed_message is an OpenPGP signed message of exactly one good signature by a key of
 * @keyrings (element-type GBytes).
 * *@ret_payload: (transfer full): what was signed. *@ret_key: (transfer full): the signer's fingerprint.
 * @directory: where a temporary home may be made. Errors: PERMISSION_DENIED with the reason; INVALID_ARGUMENT
 * (a keyring), UNAVAILABLE (gpg is not installed), INTERNAL. */
gboolean gpg_verify (const char *directory, GPtrArray *keyrings, GBytes *signed_message, GBytes **ret_payload,
                     char **ret_key, GError **error);

/** Signs @payload with the secret key @key of the GnuPG home @home (nullable: the default one). @passphrase:
 * (nullable). Returns: (transfer full). Errors: NOT_FOUND (key), PERMISSION_DENIED (passphrase), INTERNAL. */
GBytes *gpg_sign (const char *home, const char *key, const char *passphrase, GBytes *payload, GError **error);
