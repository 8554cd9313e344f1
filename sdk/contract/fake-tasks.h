/* SPDX-License-Identifier: MIT
 *
 * Containers and tasks in memory, for tests of frontends. Containers need a "spec"; there are no images. */
#pragma once

#include <gantry/tasks.h>

/** Makes one whose records are in @metadata and whose tasks run by @runtime; both outlive it. Returns:
 * (transfer full). */
GantryTasks *gantry_fake_tasks_new (GantryMetadata *metadata, GantryRuntime *runtime);

/** Accepts NULL. */
void gantry_fake_tasks_free (GantryTasks *tasks);
