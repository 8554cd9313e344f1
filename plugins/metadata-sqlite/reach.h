/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What keeps a thing alive, found by walking from it to its holders until one is a root. What was found is
 * kept for as long as nothing changes but what was found dead: one Reach is for one transaction. */
#pragma once

#include "metadata-sqlite.h"

typedef struct _Reach Reach;

Reach *reach_new (Connection *connection);
void reach_free (Reach *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Reach, reach_free)

/** Whether a root holds the thing. Cost: of the walk up, which ends at the first root. */
gboolean reach_is_live (Reach *self, const char *ns, const char *kind, const char *id, gboolean *ret_live,
                        GError **error);

/** Whether a flat lease holds it: itself, or, of a snapshot, one on top of it. */
gboolean reach_is_held_flat (Reach *self, const char *ns, const char *kind, const char *id,
                             gboolean *ret_held, GError **error);

/** Appends the path from a root to the thing, as lines; nothing if there is none. */
gboolean reach_explain (Reach *self, const char *ns, const char *kind, const char *id, GPtrArray *lines,
                        GError **error);
