/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gpg.h"

#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include <fdio.h>
#include <gantry/error.h>
#include <gpgme.h>

G_DEFINE_AUTO_CLEANUP_FREE_FUNC (gpgme_ctx_t, gpgme_release, NULL)
G_DEFINE_AUTO_CLEANUP_FREE_FUNC (gpgme_data_t, gpgme_data_release, NULL)
G_DEFINE_AUTO_CLEANUP_FREE_FUNC (gpgme_key_t, gpgme_key_unref, NULL)

#define MAX_PAYLOAD (1024 * 1024)

static gboolean
throw_gpgme (GError **error, GantryErrorCode code, gpgme_error_t cause, const char *what)
{
  char text[256];

  gpgme_strerror_r (cause, text, sizeof text);
  return gantry_throw (error, code, "%s: %s", what, text);
}

void
gpg_init (void)
{
  gpgme_check_version (NULL);
}

static gboolean
new_context (const char *home, gpgme_ctx_t *ret_context, GError **error)
{
  gpgme_error_t cause = gpgme_engine_check_version (GPGME_PROTOCOL_OpenPGP);

  if (cause != 0)
    return throw_gpgme (error, GANTRY_ERROR_UNAVAILABLE, cause, "gpg cannot be used; install gnupg");
  cause = gpgme_new (ret_context);
  if (cause == 0)
    cause = gpgme_ctx_set_engine_info (*ret_context, GPGME_PROTOCOL_OpenPGP, NULL, home);
  return cause == 0 || throw_gpgme (error, GANTRY_ERROR_INTERNAL, cause, "gpgme");
}

static gboolean
data_of (GBytes *bytes, gpgme_data_t *ret_data, GError **error)
{
  gpgme_error_t cause
      = gpgme_data_new_from_mem (ret_data, g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), 0);

  return cause == 0 || throw_gpgme (error, GANTRY_ERROR_INTERNAL, cause, "gpgme");
}

/* All that was written to @data. Returns: (transfer full). */
static GBytes *
bytes_of (gpgme_data_t data, GError **error)
{
  g_autoptr (GByteArray) array = g_byte_array_new ();
  char buffer[8192];
  gssize n;

  if (gpgme_data_seek (data, 0, SEEK_SET) < 0)
    {
      gantry_throw_errno (error, errno, "gpgme");
      return NULL;
    }
  while ((n = gpgme_data_read (data, buffer, sizeof buffer)) > 0)
    {
      g_byte_array_append (array, (const guint8 *)buffer, (guint)n);
      if (array->len > MAX_PAYLOAD)
        {
          gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "the signed text has more than %d bytes",
                        MAX_PAYLOAD);
          return NULL;
        }
    }
  if (n < 0)
    {
      gantry_throw_errno (error, errno, "gpgme");
      return NULL;
    }
  return g_byte_array_free_to_bytes (g_steal_pointer (&array));
}

static gboolean
import_keys (gpgme_ctx_t context, GPtrArray *keyrings, GError **error)
{
  guint n = 0;

  for (guint i = 0; i < keyrings->len; i++)
    {
      g_auto (gpgme_data_t) data = NULL;
      gpgme_error_t cause;
      gpgme_import_result_t result;

      if (!data_of (g_ptr_array_index (keyrings, i), &data, error))
        return FALSE;
      cause = gpgme_op_import (context, data);
      if (cause != 0)
        return throw_gpgme (error, GANTRY_ERROR_INVALID_ARGUMENT, cause, "the keyring cannot be read");
      result = gpgme_op_import_result (context);
      n += (guint)(result->imported + result->unchanged);
    }
  return n > 0 || gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the keyring has no public key");
}

/* Just one signature, and nothing to say against it. */
static gboolean
judge (gpgme_ctx_t context, char **ret_key, GError **error)
{
  gpgme_verify_result_t result = gpgme_op_verify_result (context);
  gpgme_signature_t signature = result != NULL ? result->signatures : NULL;

  if (signature == NULL || signature->next != NULL)
    return gantry_throw (error, GANTRY_ERROR_PERMISSION_DENIED,
                         "it is not a message with just one signature");
  if (gpgme_err_code (signature->status) == GPG_ERR_NO_PUBKEY)
    return gantry_throw (error, GANTRY_ERROR_PERMISSION_DENIED,
                         "it is signed by the key %s, which the policy does not trust",
                         signature->fpr != NULL ? signature->fpr : "?");
  if (signature->status != 0)
    return throw_gpgme (error, GANTRY_ERROR_PERMISSION_DENIED, signature->status,
                        "the signature is not good");
  if (signature->wrong_key_usage || signature->validity == GPGME_VALIDITY_NEVER
      || signature->validity_reason != 0
      || (signature->summary
          & (GPGME_SIGSUM_RED | GPGME_SIGSUM_KEY_REVOKED | GPGME_SIGSUM_KEY_EXPIRED
             | GPGME_SIGSUM_SIG_EXPIRED))
             != 0)
    return gantry_throw (error, GANTRY_ERROR_PERMISSION_DENIED,
                         "the key %s is expired, revoked or not for signing", signature->fpr);
  *ret_key = g_strdup (signature->fpr);
  return TRUE;
}

static gboolean
verify_in (const char *home, GPtrArray *keyrings, GBytes *signed_message, GBytes **ret_payload,
           char **ret_key, GError **error)
{
  g_auto (gpgme_ctx_t) context = NULL;
  g_auto (gpgme_data_t) message = NULL, plain = NULL;
  g_autofree char *key = NULL;
  GBytes *payload;
  gpgme_error_t cause;

  if (!new_context (home, &context, error) || !import_keys (context, keyrings, error)
      || !data_of (signed_message, &message, error))
    return FALSE;
  cause = gpgme_data_new (&plain);
  if (cause == 0)
    cause = gpgme_op_verify (context, message, NULL, plain);
  if (cause != 0)
    return throw_gpgme (error, GANTRY_ERROR_PERMISSION_DENIED, cause, "it is not a signed message");
  if (!judge (context, &key, error) || (payload = bytes_of (plain, error)) == NULL)
    return FALSE;
  *ret_payload = payload;
  *ret_key = g_steal_pointer (&key);
  return TRUE;
}

gboolean
gpg_verify (const char *directory, GPtrArray *keyrings, GBytes *signed_message, GBytes **ret_payload,
            char **ret_key, GError **error)
{
  g_autofree char *home = g_build_filename (directory, "gnupg-XXXXXX", NULL);
  g_autofree char *name = NULL;
  g_autoptr (GError) local = NULL;
  gantry_autofd int dfd = open (directory, O_DIRECTORY | O_CLOEXEC);
  gboolean ok;

  if (dfd < 0 || g_mkdtemp_full (home, 0700) == NULL)
    return gantry_throw_errno (error, errno, "making a GnuPG home below %s", directory);
  ok = verify_in (home, keyrings, signed_message, ret_payload, ret_key, error);
  name = g_path_get_basename (home);
  if (!gantry_remove_tree_at (dfd, name, &local))
    g_warning ("the GnuPG home %s was left behind: %s", home, local->message);
  return ok;
}

static gpgme_error_t
give_passphrase (void *hook, const char *hint, const char *info, int was_bad, int fd)
{
  const char *passphrase = hook;

  if (was_bad)
    return gpgme_error (GPG_ERR_BAD_PASSPHRASE);
  if (gpgme_io_writen (fd, passphrase, strlen (passphrase)) < 0 || gpgme_io_writen (fd, "\n", 1) < 0)
    return gpgme_error_from_errno (errno);
  return 0;
}

static GantryErrorCode
class_of (gpgme_error_t cause)
{
  switch (gpgme_err_code (cause))
    {
    case GPG_ERR_BAD_PASSPHRASE:
    case GPG_ERR_NO_PASSPHRASE:
    case GPG_ERR_CANCELED:
    case GPG_ERR_NO_PIN_ENTRY:
      return GANTRY_ERROR_PERMISSION_DENIED;
    case GPG_ERR_NO_SECKEY:
    case GPG_ERR_UNUSABLE_SECKEY:
    case GPG_ERR_EOF:
    case GPG_ERR_AMBIGUOUS_NAME:
      return GANTRY_ERROR_NOT_FOUND;
    default:
      return GANTRY_ERROR_INTERNAL;
    }
}

GBytes *
gpg_sign (const char *home, const char *key, const char *passphrase, GBytes *payload, GError **error)
{
  g_auto (gpgme_ctx_t) context = NULL;
  g_auto (gpgme_key_t) signer = NULL;
  g_auto (gpgme_data_t) plain = NULL, message = NULL;
  g_autofree char *what = g_strdup_printf ("signing with the key \"%s\"", key);
  gpgme_error_t cause;

  if (!new_context (home, &context, error) || !data_of (payload, &plain, error))
    return NULL;
  gpgme_set_pinentry_mode (context,
                           passphrase != NULL ? GPGME_PINENTRY_MODE_LOOPBACK : GPGME_PINENTRY_MODE_ERROR);
  if (passphrase != NULL)
    gpgme_set_passphrase_cb (context, give_passphrase, (void *)passphrase);
  cause = gpgme_get_key (context, key, &signer, 1);
  if (cause == 0)
    cause = gpgme_signers_add (context, signer);
  if (cause == 0)
    cause = gpgme_data_new (&message);
  if (cause == 0)
    cause = gpgme_op_sign (context, plain, message, GPGME_SIG_MODE_NORMAL);
  if (cause != 0)
    {
      throw_gpgme (error, class_of (cause), cause, what);
      return NULL;
    }
  return bytes_of (message, error);
}
