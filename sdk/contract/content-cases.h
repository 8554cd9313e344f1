/* SPDX-License-Identifier: MIT
 *
 * What the two files of the content suite share. */
#pragma once

#include <gantry/content.h>

#include "suites.h"

#define ABSENT "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static inline GantryContent *
content_of (GantryContractFixture *fixture)
{
  return fixture->instance;
}

/** Opens the ingest @ref of a blob of any size. Returns: (transfer full). */
GantryIngest *content_open_ref (GantryContractFixture *fixture, const char *ref);
void content_write_text (GantryIngest *ingest, const char *text);
/** Makes @text a blob. Returns: (transfer full): its digest. */
char *content_put (GantryContractFixture *fixture, const char *ref, const char *text);
void content_assert_blob (GantryContractFixture *fixture, const char *digest, const char *text);
/** Walks over what @filter (nullable) takes, and ends after @stop_after (0: never). Returns: how many there
 * were. */
guint content_count (GantryContractFixture *fixture, const char *filter, guint stop_after);

void content_test_walk (GantryContractFixture *fixture);
void content_test_remove (GantryContractFixture *fixture);
void content_test_labels (GantryContractFixture *fixture);
