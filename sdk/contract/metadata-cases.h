/* SPDX-License-Identifier: MIT
 *
 * What the two files of the metadata suite share. */
#pragma once

#include <gantry/metadata.h>

#include "suites.h"

#define A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define C "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
#define D "sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
#define E "sha256:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"
#define F "sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"

/* The fields of an image whose manifest is @digest. */
#define IMAGE_OF(digest)                                                                                     \
  "{'target': <('application/vnd.oci.image.manifest.v1+json', '" digest "', @t 1, @a{ss} {})>}"

static inline GantryMetadata *
metadata_of (GantryContractFixture *fixture)
{
  return fixture->instance;
}

/** The record that must be there. Returns: (transfer full). */
GantryRecord *must_get (GantryContractFixture *fixture, const char *kind, const char *ns, const char *id);

/** Makes one change. Returns: (transfer full): what the record became. */
GantryRecord *make_change (GantryContractFixture *fixture, GantryChangeKind kind, GantryRecord *record,
                           const char *const *mask);

/** Makes a change that must be refused. */
void fail_change (GantryContractFixture *fixture, GantryChangeKind kind, GantryRecord *record,
                  const char *const *mask, GantryErrorCode code);

/** Creates a record; @labels and @fields (nullable) are in GVariant's text format. Returns: (transfer full).
 */
GantryRecord *make (GantryContractFixture *fixture, const char *kind, const char *ns, const char *id,
                    const char *labels, const char *fields);

/** Adds the record to the lease @lease of "default", or takes it away. */
void hold (GantryContractFixture *fixture, const char *lease, const char *kind, const char *id, gboolean add);

void assert_labels (GantryRecord *record, const char *text);
void assert_same_labels (GantryRecord *a, GantryRecord *b);

void metadata_test_leases (GantryContractFixture *fixture);
void metadata_test_events (GantryContractFixture *fixture);
void metadata_test_events_of_kinds (GantryContractFixture *fixture);
void metadata_test_collect (GantryContractFixture *fixture);
void metadata_test_collect_expired (GantryContractFixture *fixture);
void metadata_test_collect_snapshots (GantryContractFixture *fixture);
void metadata_test_collect_namespaces (GantryContractFixture *fixture);
void metadata_test_collect_dry (GantryContractFixture *fixture);
void metadata_test_why (GantryContractFixture *fixture);
