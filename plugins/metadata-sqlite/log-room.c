/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "log-room.h"

/* How many frames a log must have before room is made: a daemon at rest needs none. */
#define FIRST_FRAMES 64
/* How much is added at a time, and how little may be left before that. */
#define ROOM              (1024 * 1024)
#define LEAST             (128 * 1024)
#define CHECKPOINT_FRAMES 8192
/* Of a file in write-ahead mode: the database file format, section 4.1. */
#define LOG_HEADER   32
#define FRAME_HEADER 24

struct _LogRoom
{
  sqlite3 *handle;
  gint64 page_size;
  gint64 used; /* by the frames up to the last commit, when a log has enough of them; else 0 */
  gint64 size; /* what the log had when last looked at; it is not cut off while the database is open */
};

static int
committed (void *data, sqlite3 *handle, const char *name, int frames)
{
  LogRoom *self = data;

  self->used = frames < FIRST_FRAMES ? 0 : LOG_HEADER + frames * (FRAME_HEADER + self->page_size);
  if (frames >= CHECKPOINT_FRAMES)
    {
      sqlite3_wal_checkpoint_v2 (handle, name, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
      self->used = 0;
    }
  return SQLITE_OK;
}

LogRoom *
log_room_new (sqlite3 *handle)
{
  LogRoom *self = g_new0 (LogRoom, 1);
  sqlite3_stmt *stmt = NULL;

  self->handle = handle;
  self->page_size = 4096;
  if (sqlite3_prepare_v2 (handle, "PRAGMA page_size", -1, &stmt, NULL) == SQLITE_OK
      && sqlite3_step (stmt) == SQLITE_ROW)
    self->page_size = sqlite3_column_int64 (stmt, 0);
  sqlite3_finalize (stmt);
  sqlite3_wal_hook (handle, committed, self);
  return self;
}

void
log_room_make (LogRoom *self)
{
  static const char zeros[64 * 1024];
  sqlite3_file *file = NULL;
  sqlite3_int64 size;

  if (self->used == 0 || self->size >= self->used + LEAST)
    return;
  if (sqlite3_file_control (self->handle, NULL, SQLITE_FCNTL_JOURNAL_POINTER, &file) != SQLITE_OK
      || file == NULL || file->pMethods == NULL || file->pMethods->xFileSize (file, &size) != SQLITE_OK)
    return;
  /* Where the disk has no room nothing is lost yet: the write that needs it says so. */
  if (size < self->used + LEAST)
    for (gint64 end = size + ROOM; size < end; size += (gint64)sizeof zeros)
      if (file->pMethods->xWrite (file, zeros, sizeof zeros, size) != SQLITE_OK)
        break;
  self->size = size;
}
