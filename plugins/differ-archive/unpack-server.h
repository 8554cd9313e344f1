/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The process that workers are forked from. It stays as it was when it had been linked: it never reads a
 * request of a worker, nor a byte of a layer, so that each worker begins in the same pristine state.
 */
#pragma once

/** Forks workers until the other end of UNPACK_SERVER_FD is closed, and then ends the process, and thereby
 * all workers. Must have one thread. Returns: in each worker. */
void unpack_server_run (void);
