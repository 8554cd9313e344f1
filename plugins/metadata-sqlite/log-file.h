/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The write-ahead log of a connection, written in larger pieces: SQLite writes each frame's head and page by
 * themselves, some thirty small writes for a transaction of a few records. A VFS in front of the system's
 * keeps frames until the one that commits (or a sync, or anything else that looks at the file) and writes
 * them at once. Nothing is held back beyond a commit, so what readers, other processes and a crash find is
 * the same.
 */
#pragma once

#include <glib.h>

/** The name of the VFS for sqlite3_open_v2 (); registered by the first call. Returns: NULL, which stands for
 * the system's own, if there is none to stand in front of. */
const char *log_file_vfs (void);
