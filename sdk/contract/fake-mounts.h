/* SPDX-License-Identifier: MIT
 *
 * Activations in memory: nothing is mounted. */
#pragma once

#include <gantry/mounts.h>

G_BEGIN_DECLS

/** Makes one. Returns: (transfer full). */
GantryMounts *gantry_fake_mounts_new (void);

/** Frees it. */
void gantry_fake_mounts_free (GantryMounts *mounts);

G_END_DECLS
