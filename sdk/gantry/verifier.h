/* SPDX-License-Identifier: MIT
 *
 * Verifiers
 * ---------
 * A verifier answers one question: may this image be used here? It is asked with the name that was asked for
 * and the digest that will be used, so that nothing can change between the answer and the use. Every verifier
 * of the daemon is asked; one refusal is enough.
 *
 *     manifest = the bytes that were fetched for "registry.example/app:1"; digest = their digest
 *     gantry_verifier_verify (v, "registry.example/app:1", manifest, options, &report, …)       FALSE:
 * PERMISSION_DENIED … content and image are recorded by that digest, and no tag is resolved again
 *
 * A *report* says how the answer came about, step by step: aa{sv}, each with "step" s (a sentence), "ok" b,
 * and where it fits "scope" s, "requirement" s, "source" s (where a signature came from), "key" s (the
 * signer's fingerprint).
 *
 * Formats: containers-policy.json(5), containers-registries.d(5), the "simple signing" payload of
 * containers/image (docs/containers-signature.5.md) and its store of detached signatures ("lookaside").
 */
#pragma once

#include <gantry/plugin.h>

G_BEGIN_DECLS

#define GANTRY_VERIFIER_TYPE "org.gantry.verifier.v1"

typedef struct _GantryVerifier GantryVerifier;

typedef struct
{
  size_t size;

  /** Whether the image @name (a whole reference, with host, and with tag or digest) may be used, if its
   * manifest or index has the digest
   * @digest ("sha256:<hex>"). @options: (nullable): a{sv}: "transport" s (the policy's word for where it
   * comes from, default "docker"), "digests" as (more digests that stand for the same image, as the index
   * that was asked for and the manifest of the platform: a signature of either is enough, since the index
   * holds the manifest's digest), "offline" b (ask no network; what was learnt earlier counts). *@ret_report:
   * (optional) (transfer full): see above; set after a refusal, too. Blocks: on local I/O and, not offline,
   * on the network. Errors: PERMISSION_DENIED (the policy does not allow it; says which requirement of which
   * scope), INVALID_ARGUMENT (@name, @digest, an option), FAILED_PRECONDITION (the policy itself is broken:
   * nothing is allowed then; says where), UNAVAILABLE (signatures could not be asked for), CANCELLED.
   * Since: 1.0 */
  gboolean (*verify) (GantryVerifier *self, const char *name, const char *digest, GVariant *options,
                      GVariant **ret_report, GCancellable *cancellable, GError **error);

  /** Signs that @name is @digest, and stores the signature where readers of this host's configuration find
   * it. @options: a{sv}: "key" s (required: a fingerprint, or what gpg takes for one), "home" s (the GnuPG
   * home with the secret key, default root's), "passphrase" s (never logged nor stored), "store" b (default
   * TRUE). *@ret_signature: (optional) (transfer full): the signature.
   * *@ret_location: (optional) (transfer full) (nullable): where it was stored. Blocks: on gpg and local I/O.
   * Errors: NOT_FOUND (key), PERMISSION_DENIED (passphrase), INVALID_ARGUMENT, FAILED_PRECONDITION (the place
   * for signatures is not a local directory; says which). Since: 1.0 */
  gboolean (*sign) (GantryVerifier *self, const char *name, const char *digest, GVariant *options,
                    GBytes **ret_signature, char **ret_location, GCancellable *cancellable, GError **error);
} GantryVerifierVtable;

/** An instance. An implementation embeds it as its first member; it will never grow. */
struct _GantryVerifier
{
  const GantryVerifierVtable *vtable;
};

static inline gboolean
gantry_verifier_verify (GantryVerifier *self, const char *name, const char *digest, GVariant *options,
                        GVariant **ret_report, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryVerifierVtable, verify, FALSE);
  return self->vtable->verify (self, name, digest, options, ret_report, cancellable, error);
}

static inline gboolean
gantry_verifier_sign (GantryVerifier *self, const char *name, const char *digest, GVariant *options,
                      GBytes **ret_signature, char **ret_location, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryVerifierVtable, sign, FALSE);
  return self->vtable->sign (self, name, digest, options, ret_signature, ret_location, cancellable, error);
}

/** Asks every verifier of @host, which must have a MANY need for them: all must allow the image; none allows
 * everything. Otherwise as gantry_verifier_verify (); the report is that of all that were asked. */
static inline gboolean
gantry_verifiers_verify (const GantryHost *host, const char *name, const char *digest, GVariant *options,
                         GVariant **ret_report, GCancellable *cancellable, GError **error)
{
  GPtrArray *bindings = gantry_host_lookup_all (host, GANTRY_VERIFIER_TYPE, error);
  GVariantBuilder all;
  gboolean ok = bindings != NULL;
  guint i;

  if (options != NULL)
    g_variant_ref_sink (options);
  g_variant_builder_init (&all, G_VARIANT_TYPE ("aa{sv}"));
  for (i = 0; ok && i < bindings->len; i++)
    {
      GantryBinding *binding = (GantryBinding *)g_ptr_array_index (bindings, i);
      GVariant *report = NULL;
      gsize step;

      ok = gantry_verifier_verify ((GantryVerifier *)binding->instance, name, digest, options, &report,
                                   cancellable, error);
      for (step = 0; report != NULL && step < g_variant_n_children (report); step++)
        {
          GVariant *one = g_variant_get_child_value (report, step);

          g_variant_builder_add_value (&all, one);
          g_variant_unref (one);
        }
      g_clear_pointer (&report, g_variant_unref);
    }
  if (ret_report != NULL)
    *ret_report = g_variant_ref_sink (g_variant_builder_end (&all));
  else
    g_variant_builder_clear (&all);
  g_clear_pointer (&bindings, g_ptr_array_unref);
  g_clear_pointer (&options, g_variant_unref);
  return ok;
}

G_END_DECLS
