/* SPDX-License-Identifier: MIT
 *
 * A registry in memory. Every server and repository exists and is empty at first; whoever asks may read and
 * write. Short names are completed with "registry.test/library". */
#pragma once

#include <gantry/registry.h>

G_BEGIN_DECLS

/** Makes an empty one. Returns: (transfer full). */
GantryRegistry *gantry_fake_registry_new (void);

/** Frees it; no repository handle may be left. Accepts NULL. */
void gantry_fake_registry_free (GantryRegistry *self);

/** How many bytes of blobs it has handed out. */
guint64 gantry_fake_registry_get_n_fetched (GantryRegistry *self);

/** The next @n fetches break with UNAVAILABLE after @bytes bytes. */
void gantry_fake_registry_break (GantryRegistry *self, guint n, guint64 bytes);

G_END_DECLS
