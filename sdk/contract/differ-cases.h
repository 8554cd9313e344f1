/* SPDX-License-Identifier: MIT
 *
 * What the files of the differ suite share. */
#pragma once

#include <gantry/differ.h>
#include <gantry/store.h>

#include "suites.h"

#define TAR   "application/vnd.oci.image.layer.v1.tar"
#define BLOCK 512

typedef struct
{
  GantryContractFixture *contract;
  GantryDiffer *differ;
  GantryContent *content; /* blobs are put here, compare () writes here */
  gboolean overlay;
  int n_trees; /* (atomic) */
} DifferFixture;

/** Whether the trees are a fake's. */
gboolean differ_in_memory (DifferFixture *self);
/** An empty tree on top of @lower (nullable). Returns: (transfer full): its mounts. */
GPtrArray *differ_make_tree (DifferFixture *self, GPtrArray *lower);
/** A tree on top of @lower (nullable) with what @tar has. Returns: (transfer full). */
GPtrArray *differ_make_filled_tree (DifferFixture *fixture, GPtrArray *lower, GBytes *tar);
/** Holds what is at @path against @expected: "file:text", "link:target", …; NULL: nothing. */
void differ_assert_look (DifferFixture *fixture, GPtrArray *mounts, const char *path, const char *expected);

/** A ustar archive of (name, type, text) up to a NULL name. Returns: (transfer full). */
GBytes *differ_make_tar (const char *name, ...) G_GNUC_NULL_TERMINATED;
char *differ_digest_of (GBytes *bytes);
/** Puts @bytes into the fixture's store. Returns: (transfer full). */
GantryDescriptor *differ_put (DifferFixture *fixture, GBytes *bytes, const char *media_type);
/** Applies @tar. Returns: (transfer full): of the uncompressed archive. */
GantryDescriptor *differ_apply_bytes (DifferFixture *fixture, GBytes *tar, GPtrArray *mounts);
/** Applies what must be refused with @code. Returns: (transfer full): the message. */
char *differ_refuse (DifferFixture *fixture, GantryDescriptor *layer, GPtrArray *mounts, GVariant *options,
                     GCancellable *cancellable, GantryErrorCode code);

void differ_test_compare (DifferFixture *fixture);
void differ_test_compare_again (DifferFixture *fixture);
void differ_test_compare_media_type (DifferFixture *fixture);
void differ_test_compare_cancelled (DifferFixture *fixture);
void differ_test_recompress (DifferFixture *fixture);
void differ_test_recompress_refused (DifferFixture *fixture);
