/* SPDX-License-Identifier: MIT
 *
 * The fakes
 * ---------
 * For each interface there is an implementation in memory: clear rather than fast, for tests of what needs
 * one. Those that need others take them from the same set.
 *
 *     g_autoptr (GantryFakes) fakes = gantry_fakes_new ();
 *     GantryContent *content = gantry_fakes_get (fakes, GANTRY_CONTENT_TYPE);
 */
#pragma once

#include <gantry/plugin.h>

G_BEGIN_DECLS

typedef struct _GantryFakes GantryFakes;

/** Makes an empty set. Returns: (transfer full). */
GantryFakes *gantry_fakes_new (void);

/** Frees every fake of the set. Accepts NULL. */
void gantry_fakes_free (GantryFakes *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (GantryFakes, gantry_fakes_free)

/** The set's fake of @type, made when it is first asked for. From one thread at a time. Returns: (transfer
 * none) (nullable): NULL if there is no fake of it. */
gpointer gantry_fakes_get (GantryFakes *self, const char *type);

G_END_DECLS
