/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * https://www.sqlite.org/vfs.html; the log's format: https://www.sqlite.org/walformat.html */
#include "log-file.h"

#include <sqlite3.h>
#include <string.h>

#define FRAME_HEAD 24
#define CAPACITY   (64 * 1024)

typedef struct
{
  sqlite3_file base;
  sqlite3_file *real; /* behind this struct */
  guint8 *held;
  gsize n_held;
  sqlite3_int64 start; /* where what is held belongs */
  gboolean page_next;  /* a head came, its page has not yet */
  gboolean commits;    /* and that frame commits */
} LogFile;

#define REAL_OFFSET ((sizeof (LogFile) + 15) & ~(gsize)15)

static sqlite3_vfs *
real_vfs (sqlite3_vfs *vfs)
{
  return vfs->pAppData;
}

/* What is held is written or lost: SQLite hears of it either way and gives up the transaction. */
static int
write_held (LogFile *self)
{
  gsize n = self->n_held;

  self->n_held = 0;
  self->page_next = self->commits = FALSE;
  return n > 0 ? self->real->pMethods->xWrite (self->real, self->held, (int)n, self->start) : SQLITE_OK;
}

static void
hold (LogFile *self, const void *data, gsize n, sqlite3_int64 offset)
{
  if (self->n_held == 0)
    self->start = offset;
  memcpy (self->held + self->n_held, data, n);
  self->n_held += n;
}

/* The size of the database after a commit is in the head of the frame that commits, else zero. */
static gboolean
head_commits (const guint8 *head)
{
  return (head[4] | head[5] | head[6] | head[7]) != 0;
}

static int
log_write (sqlite3_file *file, const void *data, int length, sqlite3_int64 offset)
{
  LogFile *self = (LogFile *)file;
  gsize n = (gsize)length;
  gboolean follows = self->n_held == 0 || offset == self->start + (sqlite3_int64)self->n_held;
  int code;

  if (n == FRAME_HEAD && follows && !self->page_next && self->n_held + n <= CAPACITY)
    {
      hold (self, data, n, offset);
      self->page_next = TRUE;
      self->commits = head_commits (data);
      return SQLITE_OK;
    }
  if (self->page_next && follows && n > FRAME_HEAD && self->n_held + n <= CAPACITY)
    {
      hold (self, data, n, offset);
      self->page_next = FALSE;
      return self->commits ? write_held (self) : SQLITE_OK;
    }
  code = write_held (self);
  return code == SQLITE_OK ? self->real->pMethods->xWrite (self->real, data, length, offset) : code;
}

static int
log_read (sqlite3_file *file, void *data, int length, sqlite3_int64 offset)
{
  LogFile *self = (LogFile *)file;
  int code = write_held (self);

  return code == SQLITE_OK ? self->real->pMethods->xRead (self->real, data, length, offset) : code;
}

static int
log_truncate (sqlite3_file *file, sqlite3_int64 size)
{
  LogFile *self = (LogFile *)file;
  int code = write_held (self);

  return code == SQLITE_OK ? self->real->pMethods->xTruncate (self->real, size) : code;
}

static int
log_sync (sqlite3_file *file, int flags)
{
  LogFile *self = (LogFile *)file;
  int code = write_held (self);

  return code == SQLITE_OK ? self->real->pMethods->xSync (self->real, flags) : code;
}

static int
log_size (sqlite3_file *file, sqlite3_int64 *ret_size)
{
  LogFile *self = (LogFile *)file;
  int code = write_held (self);

  return code == SQLITE_OK ? self->real->pMethods->xFileSize (self->real, ret_size) : code;
}

static int
log_close (sqlite3_file *file)
{
  LogFile *self = (LogFile *)file;
  int held = write_held (self), code = self->real->pMethods->xClose (self->real);

  g_free (self->held);
  return held == SQLITE_OK ? code : held;
}

static int
log_lock (sqlite3_file *file, int level)
{
  LogFile *self = (LogFile *)file;

  return self->real->pMethods->xLock (self->real, level);
}

static int
log_unlock (sqlite3_file *file, int level)
{
  LogFile *self = (LogFile *)file;

  return self->real->pMethods->xUnlock (self->real, level);
}

static int
log_check_lock (sqlite3_file *file, int *ret_locked)
{
  LogFile *self = (LogFile *)file;

  return self->real->pMethods->xCheckReservedLock (self->real, ret_locked);
}

static int
log_control (sqlite3_file *file, int operation, void *argument)
{
  LogFile *self = (LogFile *)file;

  return self->real->pMethods->xFileControl (self->real, operation, argument);
}

static int
log_sector_size (sqlite3_file *file)
{
  LogFile *self = (LogFile *)file;

  return self->real->pMethods->xSectorSize (self->real);
}

static int
log_characteristics (sqlite3_file *file)
{
  LogFile *self = (LogFile *)file;

  return self->real->pMethods->xDeviceCharacteristics (self->real);
}

static const sqlite3_io_methods methods = {
  .iVersion = 1, /* a log is neither mapped nor has it shared memory of its own */
  .xClose = log_close,
  .xRead = log_read,
  .xWrite = log_write,
  .xTruncate = log_truncate,
  .xSync = log_sync,
  .xFileSize = log_size,
  .xLock = log_lock,
  .xUnlock = log_unlock,
  .xCheckReservedLock = log_check_lock,
  .xFileControl = log_control,
  .xSectorSize = log_sector_size,
  .xDeviceCharacteristics = log_characteristics,
};

/* Other files than logs are the system's own. */
static int
open_file (sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret_flags)
{
  sqlite3_vfs *real = real_vfs (vfs);
  LogFile *self = (LogFile *)file;
  int code;

  if ((flags & SQLITE_OPEN_WAL) == 0)
    return real->xOpen (real, name, file, flags, ret_flags);
  memset (self, 0, sizeof *self);
  self->real = (sqlite3_file *)((guint8 *)self + REAL_OFFSET);
  code = real->xOpen (real, name, self->real, flags, ret_flags);
  if (code != SQLITE_OK)
    return code; /* without methods nobody closes it */
  self->held = g_malloc (CAPACITY);
  self->base.pMethods = &methods;
  return SQLITE_OK;
}

static int
delete_file (sqlite3_vfs *vfs, const char *name, int sync)
{
  return real_vfs (vfs)->xDelete (real_vfs (vfs), name, sync);
}

static int
access_file (sqlite3_vfs *vfs, const char *name, int flags, int *ret_ok)
{
  return real_vfs (vfs)->xAccess (real_vfs (vfs), name, flags, ret_ok);
}

static int
full_path (sqlite3_vfs *vfs, const char *name, int size, char *ret_path)
{
  return real_vfs (vfs)->xFullPathname (real_vfs (vfs), name, size, ret_path);
}

static int
randomness (sqlite3_vfs *vfs, int n, char *ret_bytes)
{
  return real_vfs (vfs)->xRandomness (real_vfs (vfs), n, ret_bytes);
}

static int
nap (sqlite3_vfs *vfs, int us)
{
  return real_vfs (vfs)->xSleep (real_vfs (vfs), us);
}

static int
current_time (sqlite3_vfs *vfs, double *ret_days)
{
  return real_vfs (vfs)->xCurrentTime (real_vfs (vfs), ret_days);
}

static int
last_error (sqlite3_vfs *vfs, int size, char *ret_text)
{
  return real_vfs (vfs)->xGetLastError (real_vfs (vfs), size, ret_text);
}

/* Extensions are not loaded through it. */
static sqlite3_vfs log_vfs = {
  .iVersion = 1,
  .zName = "gantry-log",
  .xOpen = open_file,
  .xDelete = delete_file,
  .xAccess = access_file,
  .xFullPathname = full_path,
  .xRandomness = randomness,
  .xSleep = nap,
  .xCurrentTime = current_time,
  .xGetLastError = last_error,
};

const char *
log_file_vfs (void)
{
  static gsize once;

  if (g_once_init_enter (&once))
    {
      sqlite3_vfs *real = sqlite3_vfs_find (NULL);
      gboolean ok = real != NULL;

      if (ok)
        {
          log_vfs.pAppData = real;
          log_vfs.mxPathname = real->mxPathname;
          log_vfs.szOsFile = (int)REAL_OFFSET + real->szOsFile;
          ok = sqlite3_vfs_register (&log_vfs, 0) == SQLITE_OK;
        }
      g_once_init_leave (&once, ok ? 1 : 2);
    }
  return once == 1 ? log_vfs.zName : NULL;
}
