/* SPDX-License-Identifier: MIT
 *
 * A verifier in memory: it allows everything but what it was told to refuse, and signs with the one key that
 * it has. */
#pragma once

#include <gantry/verifier.h>

G_BEGIN_DECLS

/** The key that it signs with. */
#define GANTRY_FAKE_VERIFIER_KEY "0123456789ABCDEF0123456789ABCDEF01234567"

/** Makes a verifier. Returns: (transfer full). */
GantryVerifier *gantry_fake_verifier_new (void);

/** Accepts NULL. */
void gantry_fake_verifier_free (GantryVerifier *verifier);

/** From now on images with @digest are refused. */
void gantry_fake_verifier_refuse (GantryVerifier *verifier, const char *digest);

/** How often it was asked. */
guint gantry_fake_verifier_get_n_asked (GantryVerifier *verifier);

G_END_DECLS
