/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * WWW-Authenticate (RFC 9110, section 11.6.1). */
#pragma once

#include <glib.h>

typedef struct
{
  char *scheme;       /* lower case: "bearer", "basic" */
  GHashTable *params; /* lower-case name -> value */
} Challenge;

void challenge_free (Challenge *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Challenge, challenge_free)

/** Reads the values of all WWW-Authenticate headers of an answer. What can't be read ends that value; what
 * stands before it counts. Returns: (transfer full) (element-type Challenge): at most 16. */
GPtrArray *challenge_parse (const char *const *values);

/** The first one of @scheme. Returns: (transfer none) (nullable). */
Challenge *challenge_find (GPtrArray *challenges, const char *scheme);
/** Returns: (transfer none) (nullable). */
const char *challenge_get (Challenge *self, const char *name);
