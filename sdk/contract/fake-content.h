/* SPDX-License-Identifier: MIT
 *
 * A content store in memory, for tests of what needs one. Blobs are handed out as memfds.
 */
#pragma once

#include <gantry/content.h>

/** Makes an empty store. Returns: (transfer full). */
GantryContent *gantry_fake_content_new (void);

/** Accepts NULL. */
void gantry_fake_content_free (GantryContent *content);
