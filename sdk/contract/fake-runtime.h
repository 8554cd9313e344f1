/* SPDX-License-Identifier: MIT
 *
 * A runtime in memory, for tests of what runs tasks. It plays a few programs: "true", "sleep" (until it is
 * killed), "cat" (until it is killed or its stdin, if that is a descriptor, ends), and "sh" with "-c" and
 * "exit N". Any other is not found. */
#pragma once

#include <gantry/runtime.h>

/** Makes one without tasks. Returns: (transfer full). */
GantryRuntime *gantry_fake_runtime_new (void);

/** Accepts NULL. */
void gantry_fake_runtime_free (GantryRuntime *runtime);
