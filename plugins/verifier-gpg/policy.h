/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * policy.json: what an image must have to be used. Source of the format: containers-policy.json(5). The file
 * is read strictly: a member that is unknown, doubled or of the wrong type makes the whole file invalid,
 * since a policy that is half understood protects nobody. */
#pragma once

#include <json-glib/json-glib.h>
#include <reference.h>

typedef enum
{
  REQUIRE_NOTHING = 0, /**< insecureAcceptAnything */
  REQUIRE_REJECT = 1,
  REQUIRE_SIGNED_BY = 2, /**< by a key of a keyring */
  REQUIRE_SIGSTORE = 3,  /**< read, and never fulfilled: this verifier knows no such signatures */
} RequirementType;

typedef enum
{
  MATCH_REPO_DIGEST_OR_EXACT = 0, /**< the same tag, or, for a reference by digest, the same repository */
  MATCH_EXACT = 1,
  MATCH_REPOSITORY = 2,
  MATCH_EXACT_REFERENCE = 3,  /**< the one in reference */
  MATCH_EXACT_REPOSITORY = 4, /**< the one in reference */
  MATCH_REMAP = 5,            /**< as MATCH_REPO_DIGEST_OR_EXACT, after prefix became signed_prefix */
} IdentityMatch;

/** One thing that must hold. */
typedef struct
{
  RequirementType type;
  char **key_paths; /* (nullable): keyrings */
  GBytes *key_data; /* (nullable): a keyring */
  IdentityMatch match;
  char *reference;     /* of MATCH_EXACT_REFERENCE: a whole reference; of MATCH_EXACT_REPOSITORY:
                          "server/repository" */
  char *prefix;        /* of MATCH_REMAP */
  char *signed_prefix; /* of MATCH_REMAP */
} Requirement;

/** A whole policy. Immutable. */
typedef struct _Policy Policy;

/** Errors: FAILED_PRECONDITION, saying where. Returns: (transfer full). */
Policy *policy_parse (const void *data, gsize length, GError **error);
void policy_free (Policy *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Policy, policy_free)

/** The requirements (element-type Requirement) of the narrowest scope for @reference. *@ret_scope: (transfer
 * full): "docker:docker.io/library", "docker", "default". Returns: (transfer none). */
GPtrArray *policy_find (Policy *self, const char *transport, const GantryReference *reference,
                        char **ret_scope);

/** Whether a signature for @signed_name (a reference as the signer wrote it) is one for @reference. Errors:
 * PERMISSION_DENIED with the reason. */
gboolean policy_identity_matches (const Requirement *requirement, const GantryReference *reference,
                                  const char *signed_name, GError **error);

/** "signedBy, matchRepository". Returns: (transfer full). */
char *requirement_describe (const Requirement *self);

/** Parses @data strictly: UTF-8 JSON without doubled members, nested at most 16 deep. Errors:
 * INVALID_ARGUMENT. Returns: (transfer full). */
JsonNode *strict_json_parse (const void *data, gsize length, GError **error);

/** The next wider scope than @scope ("server/a/b:tag", "server/a/b", "server/a", "server", "*.domain", …), or
 * NULL after the last. Returns: (transfer full). */
char *scope_widen (const char *scope);
/** The narrowest scope of @reference. Returns: (transfer full). */
char *scope_of (const GantryReference *reference);
