/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The contract of org.gantry.differ.v1, as tests for every implementation. Uses the SDK and GLib only.
 *
 * A test program makes a fixture of its differ and adds the suite:
 *
 *     g_test_init (&argc, &argv, NULL);
 *     gantry_contract_differ_add ("/differ/mine", my_fixture_open, my_fixture_close);
 *     return g_test_run ();
 */
#pragma once

#include <gantry/differ.h>

/** What the suite needs of an implementation. */
typedef struct _GantryDifferFixture GantryDifferFixture;
struct _GantryDifferFixture
{
  size_t size;
  GantryDiffer *differ;
  GantryContent *content; /**< of the fixture: blobs are put here, compare () writes here */

  /** Makes an empty tree on top of @lower (nullable: on nothing). Returns: (transfer full) (element-type
   * GantryMount): how a snapshotter would describe it. */
  GPtrArray *(*make_tree) (GantryDifferFixture *self, GPtrArray *lower);

  /** What is at @path in the tree: "file:<contents>", "dir", "link:<target>", or NULL if nothing is. Returns:
   * (transfer full). */
  char *(*look) (GantryDifferFixture *self, GPtrArray *mounts, const char *path);

  /** (nullable): why the suite can't run here: it is then skipped. */
  const char *skip;
};

/** Opens a fixture for one test. */
typedef GantryDifferFixture *(*GantryDifferFixtureOpen) (void);
/** Ends it and everything that it made. */
typedef void (*GantryDifferFixtureClose) (GantryDifferFixture *self);

/** Adds the suite's tests below @prefix. */
void gantry_contract_differ_add (const char *prefix, GantryDifferFixtureOpen open,
                                 GantryDifferFixtureClose close);
