/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Starts workers by a process that is a gantry-unpack already, linked and initialized, and forks a fresh one
 * for each: that costs a tenth of an exec. The process is started with the first worker and ends when there
 * was none for a while, or with this one. It reads nothing but requests for workers.
 */
#pragma once

#include <glib.h>

typedef struct _ForkServer ForkServer;

/** @program (copied) is what is run. @context: (nullable): where the end of an unused server is waited for;
 * without one it ends in fork_server_free (). Returns: (transfer full). */
ForkServer *fork_server_new (const char *program, GMainContext *context);

/** Starts a worker whose descriptors from UNPACK_SOCKET_FD on are the @n_fds of @fds. *@ret_life: (transfer
 * full): a hold of its life; to be given to fork_server_wait (). Blocks: on the start of a process. */
gboolean fork_server_start (ForkServer *self, const int *fds, guint n_fds, int *ret_life,
                            GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** Waits until the worker behind @life (transfer full) has ended; if @end, ends it. *@ret_status: as of
 * waitpid (). Errors: INTERNAL (the server has died, and its workers with it), or the worker could not be
 * forked. */
gboolean fork_server_wait (ForkServer *self, int life, gboolean end, int *ret_status,
                           GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** Ends the server. All workers must have ended. Accepts NULL. */
void fork_server_free (ForkServer *self);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (ForkServer, fork_server_free)
