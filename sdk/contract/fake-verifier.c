/* SPDX-License-Identifier: MIT */
#include "fake-verifier.h"

#include <string.h>

#include "fake-support.h"

#define NAME_PATTERN                                                                                         \
  "^[a-z0-9.-]+(:[0-9]+)?(/"                                                                                 \
  "[a-z0-9]+([._-]+[a-z0-9]+)*)+(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?(@sha256:[0-9a-f]{64})?$"

typedef struct
{
  GantryVerifier verifier;
  GMutex lock;
  GHashTable *refused; /* digests */
  guint n_asked;
} FakeVerifier;

static gboolean
check_question (const char *name, const char *digest, GError **error)
{
  if (!g_regex_match_simple (NAME_PATTERN, name, 0, 0))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "\"%s\" is no whole reference", name);
  if (!g_regex_match_simple ("^sha256:[0-9a-f]{64}$", digest, 0, 0))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "\"%s\" is no digest", digest);
  return TRUE;
}

/* Whether @options has only what @types (NULL-terminated pairs of key and type) names. */
static gboolean
check_options (GVariant *options, const char *const *types, GError **error)
{
  GVariantIter iter;
  GVariant *value;
  const char *key;

  if (options == NULL)
    return TRUE;
  g_variant_iter_init (&iter, options);
  while (g_variant_iter_next (&iter, "{&sv}", &key, &value))
    {
      gsize i = 0;
      gboolean ok;

      while (types[i] != NULL && strcmp (types[i], key) != 0)
        i += 2;
      ok = types[i] != NULL && strcmp (g_variant_get_type_string (value), types[i + 1]) == 0;
      g_variant_unref (value);
      if (!ok)
        return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "there is no option \"%s\" of this type",
                             key);
    }
  return TRUE;
}

/* Whether one of @digest and the option "digests" is refused, with the lock held. Errors: INVALID_ARGUMENT.
 */
static gboolean
find_refused (FakeVerifier *self, const char *name, const char *digest, GVariant *options,
              gboolean *ret_refused, GError **error)
{
  g_autofree const char **more = NULL;
  gboolean refused = g_hash_table_contains (self->refused, digest);

  if (options != NULL)
    g_variant_lookup (options, "digests", "^a&s", &more);
  for (gsize i = 0; more != NULL && more[i] != NULL; i++)
    {
      if (!check_question (name, more[i], error))
        return FALSE;
      refused = refused || g_hash_table_contains (self->refused, more[i]);
    }
  *ret_refused = refused;
  return TRUE;
}

static gboolean
fake_verify (GantryVerifier *verifier, const char *name, const char *digest, GVariant *options,
             GVariant **ret_report, GCancellable *cancellable, GError **error)
{
  static const char *const types[] = { "transport", "s", "offline", "b", "digests", "as", NULL };
  FakeVerifier *self = (FakeVerifier *)verifier;
  GVariantBuilder report;
  gboolean refused = FALSE, ok;

  if (!gantry_fake_check_cancelled (cancellable, error) || !check_question (name, digest, error)
      || !check_options (options, types, error))
    return FALSE;
  g_mutex_lock (&self->lock);
  self->n_asked++;
  ok = find_refused (self, name, digest, options, &refused, error);
  g_mutex_unlock (&self->lock);
  if (!ok)
    return FALSE;
  g_variant_builder_init (&report, G_VARIANT_TYPE ("aa{sv}"));
  g_variant_builder_open (&report, G_VARIANT_TYPE_VARDICT);
  g_variant_builder_add (&report, "{sv}", "step",
                         g_variant_new_string (refused ? "this digest is refused"
                                                       : "this digest is not refused"));
  g_variant_builder_add (&report, "{sv}", "ok", g_variant_new_boolean (!refused));
  g_variant_builder_close (&report);
  if (ret_report != NULL)
    *ret_report = g_variant_ref_sink (g_variant_builder_end (&report));
  else
    g_variant_builder_clear (&report);
  return !refused
         || gantry_throw (error, GANTRY_ERROR_PERMISSION_DENIED,
                          "image %s may not be used: its digest is refused", name);
}

static gboolean
fake_sign (GantryVerifier *verifier, const char *name, const char *digest, GVariant *options,
           GBytes **ret_signature, char **ret_location, GCancellable *cancellable, GError **error)
{
  static const char *const types[] = { "key", "s", "home", "s", "passphrase", "s", "store", "b", NULL };
  const char *key = NULL;

  (void)verifier;
  if (!gantry_fake_check_cancelled (cancellable, error) || !check_question (name, digest, error)
      || !check_options (options, types, error))
    return FALSE;
  if (options == NULL || !g_variant_lookup (options, "key", "&s", &key))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "image %s: no key is named", name);
  if (strcmp (key, GANTRY_FAKE_VERIFIER_KEY) != 0)
    return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "there is no secret key \"%s\"", key);
  if (ret_signature != NULL)
    {
      char *text = g_strdup_printf ("%s is %s, says %s", name, digest, key);

      *ret_signature = g_bytes_new_take (text, strlen (text));
    }
  if (ret_location != NULL)
    *ret_location = NULL;
  return TRUE;
}

static const GantryVerifierVtable vtable = { sizeof (GantryVerifierVtable), fake_verify, fake_sign };

GantryVerifier *
gantry_fake_verifier_new (void)
{
  FakeVerifier *self = g_new0 (FakeVerifier, 1);

  self->verifier.vtable = &vtable;
  g_mutex_init (&self->lock);
  self->refused = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  return &self->verifier;
}

void
gantry_fake_verifier_free (GantryVerifier *verifier)
{
  FakeVerifier *self = (FakeVerifier *)verifier;

  if (self == NULL)
    return;
  g_hash_table_unref (self->refused);
  g_mutex_clear (&self->lock);
  g_free (self);
}

void
gantry_fake_verifier_refuse (GantryVerifier *verifier, const char *digest)
{
  FakeVerifier *self = (FakeVerifier *)verifier;

  g_mutex_lock (&self->lock);
  g_hash_table_add (self->refused, g_strdup (digest));
  g_mutex_unlock (&self->lock);
}

guint
gantry_fake_verifier_get_n_asked (GantryVerifier *verifier)
{
  FakeVerifier *self = (FakeVerifier *)verifier;
  guint n;

  g_mutex_lock (&self->lock);
  n = self->n_asked;
  g_mutex_unlock (&self->lock);
  return n;
}
