/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Room in the write-ahead log before it is needed. To sync a file that grew is to commit the file system's
 * journal too, which takes twice as long as to sync bytes of a file that has its size and blocks. So the log
 * is lengthened by written zeros, a MiB at a time; a reader of the log ends at the first frame of page 0, as
 * at one of an earlier turn.
 */
#pragma once

#include <glib.h>
#include <sqlite3.h>

G_BEGIN_DECLS

typedef struct _LogRoom LogRoom;

/* Of a connection that writes. It checkpoints the log as it grows, since it takes the hook that SQLite's own
 * checkpoints use. g_free() it when the connection is closed. */
LogRoom *log_room_new (sqlite3 *handle);

/* Lengthens the log if little is left. Called at the beginning of a write transaction: its lock keeps whoever
 * else has the database open from appending to the log meanwhile. */
void log_room_make (LogRoom *self);

G_END_DECLS
