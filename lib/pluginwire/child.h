/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The program that serves a peer, when it is ours to start: Exec= of a proxy. It is started again, a second
 * later, whenever it ends.
 */
#pragma once

#include <gantry/plugin.h>

typedef struct _PeerChild PeerChild;

/** @command: quoted as for a shell. It is started from the main context, soon. Errors: INVALID_ARGUMENT
 * (quotes). */
PeerChild *peer_child_new (const GantryHost *host, const char *command, GError **error);

/** Ends it, by force after 10 s. Accepts NULL. Blocks: so long. */
void peer_child_free (PeerChild *self);
