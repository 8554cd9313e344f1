/* SPDX-License-Identifier: MIT
 *
 * A frontend that listens nowhere, for tests of what starts and stops frontends. */
#pragma once

#include <gantry/frontend.h>

/** Makes one. Returns: (transfer full). */
GantryFrontend *gantry_fake_frontend_new (void);

/** Accepts NULL. */
void gantry_fake_frontend_free (GantryFrontend *frontend);

/** Whether it serves now. */
gboolean gantry_fake_frontend_is_serving (GantryFrontend *frontend);
