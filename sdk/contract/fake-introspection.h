/* SPDX-License-Identifier: MIT
 *
 * Introspection of a daemon that consists of one plugin, for tests of frontends. */
#pragma once

#include <gantry/introspection.h>

/** Makes one. Returns: (transfer full). */
GantryIntrospection *gantry_fake_introspection_new (void);

/** Accepts NULL. */
void gantry_fake_introspection_free (GantryIntrospection *introspection);
