/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Verifies images by the operator's policy.json, and signs them. Source of the formats:
 * containers-policy.json(5), containers-registries.d(5), containers-signature(5). */
#pragma once

#include <gantry/verifier.h>

#define VERIFIER_DEFAULT_POLICY       "/etc/containers/policy.json"
#define VERIFIER_DEFAULT_REGISTRIES_D "/etc/containers/registries.d"

typedef struct
{
  GantryVerifier verifier;
  const GantryHost *host;
  const char *policy;          /* a path */
  gboolean policy_is_optional; /* nobody named it: a missing one accepts everything */
  const char *registries_d;    /* a path */
  const char *run_dir;         /* for GnuPG homes */
  int cache_fd;                /* of signatures that were fetched */
} VerifierGpg;

extern const GantryVerifierVtable verifier_gpg_vtable;

/** For init (): takes the files of what is opened later. */
gboolean verifier_gpg_find_parts (GError **error);

/* cache.c: signatures that were fetched once, so that a later run needs no network */

/** Adds to @signatures (element-type Signature) those that are kept for @digest. */
void cache_read (VerifierGpg *self, const char *digest, GPtrArray *signatures);
/** Keeps @data for @digest. A cache that cannot be written is logged, no more: the answer does not depend on
 * it. */
void cache_write (VerifierGpg *self, const char *digest, GBytes *data);
