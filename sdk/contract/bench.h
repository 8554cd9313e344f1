/* SPDX-License-Identifier: MIT
 *
 * A bench: one plugin with all that it needs, in directories of its own. What it needs comes from other
 * modules where a directory of manifests was named, else from the fakes. */
#pragma once

#include <gantry/testing/fake-host.h>

#include "contract.h"

G_BEGIN_DECLS

/** A module as a manifest declares it. */
typedef struct
{
  char *path; /**< of the shared object */
  char *id;
  int rank;
  GVariant *config; /**< a{ss} */
  char **provides;  /**< types */
  gboolean
      in_memory; /**< X-InMemory in its manifest: it keeps nothing over a restart, and is not restarted */
} BenchModule;

/** Reads a manifest, or takes the shared object @path itself, with the id "test". @module_dir: (nullable):
 * where modules named without a directory are. Returns: (transfer full). Errors: INVALID_ARGUMENT, NOT_FOUND.
 */
BenchModule *bench_module_new (const char *path, const char *module_dir, GError **error);
void bench_module_free (BenchModule *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (BenchModule, bench_module_free)

/** Opens the module. Returns: (transfer none) (nullable): its descriptor. Errors: INVALID_ARGUMENT. */
const GantryPluginDesc *bench_module_get_desc (const BenchModule *self, GError **error);

/** Sets one key of its configuration. */
void bench_module_configure (BenchModule *self, const char *key, const char *value);

typedef struct
{
  BenchModule *subject; /**< (nullable): the fake of the suite's type */
  GPtrArray
      *others; /**< (element-type BenchModule): what the subject's needs are served by, before the fakes */
  gboolean verbose; /**< print the plugins' log */
} BenchPlan;

/** GantryContractOpen for a BenchPlan. */
GantryContractFixture *bench_open (const GantryContractSuite *suite, gpointer plan);
void bench_close (GantryContractFixture *fixture);

G_END_DECLS
