/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "database.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log-file.h"
#include "log-room.h"
#include "schema.h"
#include "writes.h"

#define MAX_READERS 4
/* Events are trimmed in strides, so that most commits do not touch the old end of the table. */
#define TRIM_STRIDE 512
/* How long a read transaction may last: what another process changes (a repair by hand) is seen after it. */
#define MAX_READ_US 10000

struct _Connection
{
  Database *database;
  sqlite3 *handle;
  GHashTable *statements; /* of SQL literal (by address) to sqlite3_stmt */
  gboolean roomy; /* the reader that is taken first keeps more pages, so that lists asked for again and again
                     are not read again */
  gint seen;      /* a reader's: the number of commits when its transaction began */
  gint64 begun;   /* and the time */
  LogRoom *log_room; /* the writer's */
};

struct _Database
{
  char *path;
  guint64 max_events;

  Writes *writes;

  /* For whoever leads a batch. */
  Connection *writer;
  gboolean synced;      /* the writer's current synchronous setting */
  GPtrArray *announced; /* events of the running transaction */
  guint64 next_event;
  gint64 last_position;

  GMutex lock;
  guint64 last_event; /* with lock */

  GMutex sink_lock;
  GantryEventLogSink sink;
  gpointer sink_data;

  gint commits; /* (atomic) */

  GMutex readers_lock;
  GCond readers_cond;
  GPtrArray *idle;
  guint n_readers;
  guint n_waiting;
};

void
bind_text (sqlite3_stmt *stmt, int at, const char *text)
{
  if (text == NULL)
    sqlite3_bind_null (stmt, at);
  else
    sqlite3_bind_text (stmt, at, text, -1, SQLITE_TRANSIENT);
}

void
bind_variant (sqlite3_stmt *stmt, int at, GVariant *value)
{
  if (value == NULL)
    sqlite3_bind_null (stmt, at);
  else
    sqlite3_bind_blob64 (stmt, at, g_variant_get_data (value), g_variant_get_size (value), SQLITE_TRANSIENT);
}

GVariant *
column_variant (sqlite3_stmt *stmt, int at, const GVariantType *type)
{
  gsize size;
  char *copy;

  if (sqlite3_column_type (stmt, at) == SQLITE_NULL)
    return NULL;
  /* Trusted: we wrote it, and looking whether every byte of every spec is normal costs more than reading it.
   * Should the file be damaged, GVariant still checks its frame, and the byte behind the end stops a string
   * that has lost its own. */
  size = (gsize)sqlite3_column_bytes (stmt, at);
  copy = g_malloc (size + 1);
  if (size > 0)
    memcpy (copy, sqlite3_column_blob (stmt, at), size);
  copy[size] = '\0';
  return g_variant_ref_sink (g_variant_new_from_data (type, copy, size, TRUE, g_free, copy));
}

const char *
column_text (sqlite3_stmt *stmt, int at)
{
  return (const char *)sqlite3_column_text (stmt, at);
}

gboolean
connection_throw (Connection *self, const char *what, GError **error)
{
  int code = sqlite3_errcode (self->handle);
  GantryErrorCode class = GANTRY_ERROR_INTERNAL;

  if (code == SQLITE_FULL || code == SQLITE_NOMEM || code == SQLITE_TOOBIG)
    class = GANTRY_ERROR_RESOURCE_EXHAUSTED;
  else if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB)
    class = GANTRY_ERROR_DATA_LOSS;
  else if (code == SQLITE_BUSY || code == SQLITE_LOCKED)
    class = GANTRY_ERROR_ABORTED;
  return gantry_throw (error, class, "metadata database %s: %s: %s%s", self->database->path, what,
                       sqlite3_errmsg (self->handle),
                       class == GANTRY_ERROR_DATA_LOSS
                           ? "; restore it from a backup, or move it away and begin anew"
                           : "");
}

sqlite3_stmt *
connection_prepare (Connection *self, const char *sql, GError **error)
{
  sqlite3_stmt *stmt = g_hash_table_lookup (self->statements, sql);

  if (stmt != NULL)
    {
      sqlite3_reset (stmt);
      sqlite3_clear_bindings (stmt);
      return stmt;
    }
  if (sqlite3_prepare_v3 (self->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL) != SQLITE_OK)
    {
      connection_throw (self, "preparing a statement", error);
      return NULL;
    }
  g_hash_table_insert (self->statements, (gpointer)sql, stmt);
  return stmt;
}

gboolean
connection_run (Connection *self, sqlite3_stmt *stmt, GError **error)
{
  int code = sqlite3_step (stmt);

  if (code != SQLITE_DONE && code != SQLITE_ROW)
    {
      connection_throw (self, "writing", error);
      sqlite3_reset (stmt);
      return FALSE;
    }
  sqlite3_reset (stmt);
  return TRUE;
}

int
connection_changes (Connection *self)
{
  return sqlite3_changes (self->handle);
}

gboolean
connection_exec (Connection *self, const char *sql, GError **error)
{
  if (sqlite3_exec (self->handle, sql, NULL, NULL, NULL) != SQLITE_OK)
    return connection_throw (self, g_str_has_prefix (sql, "PRAGMA") ? "opening" : sql, error);
  return TRUE;
}

/* The same for what runs with every write: prepared once. @sql: a literal. */
static gboolean
run_literal (Connection *self, const char *sql, GError **error)
{
  sqlite3_stmt *stmt = connection_prepare (self, sql, error);

  return stmt != NULL && connection_run (self, stmt, error);
}

gint64
connection_next_position (Connection *self)
{
  Database *database = self->database;

  database->last_position = MAX (database->last_position + 1, gantry_now_ns ());
  return database->last_position;
}

static void
connection_free (Connection *self)
{
  if (self == NULL)
    return;
  g_clear_pointer (&self->statements, g_hash_table_unref);
  sqlite3_close (self->handle);
  g_free (self->log_room);
  g_free (self);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC (Connection, connection_free)

static void
finalize_statement (gpointer stmt)
{
  sqlite3_finalize (stmt);
}

static const char for_reading[] = "PRAGMA cache_size=-1024";
static const char for_writing[] = "PRAGMA synchronous=FULL; PRAGMA journal_mode=WAL; PRAGMA cache_size=-4096";
static const char for_drafting[]
    = "PRAGMA synchronous=OFF; PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL";

/* @settings: one of the above. */
static Connection *
connection_new (Database *database, const char *path, const char *settings, GError **error)
{
  g_autoptr (Connection) self = g_new0 (Connection, 1);
  gboolean reader = settings == for_reading;
  int flags
      = SQLITE_OPEN_NOMUTEX | (reader ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);

  self->database = database;
  self->statements = g_hash_table_new_full (NULL, NULL, NULL, finalize_statement);
  if (sqlite3_open_v2 (path, &self->handle, flags, settings == for_writing ? log_file_vfs () : NULL)
      != SQLITE_OK)
    {
      connection_throw (self, "opening", error);
      return NULL;
    }
  sqlite3_busy_timeout (self->handle, 10000);
  /* Without it a statement is planned anew whenever a range is bound to another value. */
  sqlite3_db_config (self->handle, SQLITE_DBCONFIG_ENABLE_QPSG, 1, NULL);
  if (!connection_exec (self, settings, error))
    return NULL;
  if (settings == for_writing)
    self->log_room = log_room_new (self->handle);
  return g_steal_pointer (&self);
}

gboolean
connection_announce (Connection *self, GantryEvent *event, GError **error)
{
  Database *database = self->database;
  sqlite3_stmt *stmt
      = connection_prepare (self, "INSERT INTO event (seq, time, ns, topic, payload) VALUES (?, ?, ?, ?, ?)",
                            error);

  if (stmt == NULL)
    return FALSE;
  event->seq = database->next_event;
  sqlite3_bind_int64 (stmt, 1, (sqlite3_int64)event->seq);
  sqlite3_bind_int64 (stmt, 2, event->time_ns);
  bind_text (stmt, 3, event->ns);
  bind_text (stmt, 4, event->topic);
  bind_variant (stmt, 5, event->payload);
  if (!connection_run (self, stmt, error))
    return FALSE;
  database->next_event++;
  g_ptr_array_add (database->announced, gantry_event_ref (event));
  return TRUE;
}

static void
end_read (Connection *self)
{
  g_autoptr (GError) error = NULL;

  if (!sqlite3_get_autocommit (self->handle) && !run_literal (self, "COMMIT", &error))
    g_warning ("%s", error->message);
}

/* A read transaction lasts over many reads, until something has been committed since: to begin and end one
 * costs more than a look-up. */
static gboolean
begin_read (Connection *self, GError **error)
{
  gint commits = g_atomic_int_get (&self->database->commits);
  gint64 now = g_get_monotonic_time ();

  if (self->seen != commits || now - self->begun > MAX_READ_US)
    end_read (self);
  if (!sqlite3_get_autocommit (self->handle))
    return TRUE;
  self->seen = commits;
  self->begun = now;
  return run_literal (self, "BEGIN", error);
}

static gboolean
trim_events (Connection *self, GError **error)
{
  Database *database = self->database;
  sqlite3_stmt *stmt;

  if (database->next_event <= database->max_events
      || database->next_event % TRIM_STRIDE >= database->announced->len)
    return TRUE;
  stmt = connection_prepare (self, "DELETE FROM event WHERE seq < ?", error);
  if (stmt == NULL)
    return FALSE;
  sqlite3_bind_int64 (stmt, 1, (sqlite3_int64)(database->next_event - database->max_events));
  return connection_run (self, stmt, error);
}

static void
run_one (Connection *self, Write *write)
{
  guint announced = self->database->announced->len;
  guint64 next_event = self->database->next_event;

  if (!run_literal (self, "SAVEPOINT one", &write->error))
    return;
  write->ok = write->func (self, write->data, &write->error);
  if (!write->ok)
    {
      g_autoptr (GError) rollback = NULL;

      /* A failed statement may have ended the whole transaction (disk full): then there is nothing to roll
       * back to. */
      if (!run_literal (self, "ROLLBACK TO one", &rollback))
        g_warning ("%s", rollback->message);
      g_ptr_array_set_size (self->database->announced, (gint)announced);
      self->database->next_event = next_event;
    }
  if (!run_literal (self, "RELEASE one", write->ok ? &write->error : NULL))
    write->ok = FALSE;
}

/* What readers keep open must not keep the log from being written back and begun anew. */
static void
end_idle_reads (Database *self)
{
  g_mutex_lock (&self->readers_lock);
  for (guint i = 0; i < self->idle->len; i++)
    end_read (g_ptr_array_index (self->idle, i));
  g_mutex_unlock (&self->readers_lock);
}

static gboolean
run_batch (Database *self, GPtrArray *batch, gboolean durable, GError **error)
{
  Connection *connection = self->writer;

  if (durable != self->synced)
    {
      if (!connection_exec (connection, durable ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL",
                            error))
        return FALSE;
      self->synced = durable;
    }
  end_idle_reads (self);
  if (!run_literal (connection, "BEGIN IMMEDIATE", error))
    return FALSE;
  log_room_make (connection->log_room);
  for (guint i = 0; i < batch->len; i++)
    run_one (connection, g_ptr_array_index (batch, i));
  if (trim_events (connection, error) && run_literal (connection, "COMMIT", error))
    {
      g_atomic_int_inc (&self->commits);
      return TRUE;
    }
  connection_exec (connection, "ROLLBACK", NULL);
  return FALSE;
}

static void
tell_sink (Database *self)
{
  if (self->announced->len == 0)
    return;
  g_mutex_lock (&self->lock);
  self->last_event = self->next_event - 1;
  g_mutex_unlock (&self->lock);
  g_mutex_lock (&self->sink_lock);
  if (self->sink != NULL)
    self->sink (self->announced, self->sink_data);
  g_mutex_unlock (&self->sink_lock);
  g_ptr_array_set_size (self->announced, 0);
}

/* Fails every write of a batch whose transaction did not commit; with its own error where it has one. */
static void
fail_batch (Database *self, GPtrArray *batch, const GError *failure, guint64 next_event)
{
  for (guint i = 0; i < batch->len; i++)
    {
      Write *write = g_ptr_array_index (batch, i);

      write->ok = FALSE;
      if (write->error == NULL)
        write->error = g_error_copy (failure);
    }
  g_ptr_array_set_size (self->announced, 0);
  self->next_event = next_event;
}

static void
run_writes (GPtrArray *batch, gboolean durable, gpointer data)
{
  Database *self = data;
  guint64 next_event = self->next_event;
  g_autoptr (GError) error = NULL;

  if (run_batch (self, batch, durable, &error))
    tell_sink (self);
  else
    fail_batch (self, batch, error, next_event);
}

gboolean
database_write (Database *self, gboolean durable, WriteFunc func, gpointer data, GCancellable *cancellable,
                GError **error)
{
  Write write = { .func = func, .data = data, .durable = durable };

  /* Once it is queued it is quick and its outcome must be known, so only the way in can be cancelled. */
  if (g_cancellable_set_error_if_cancelled (cancellable, error) || !writes_run (self->writes, &write, error))
    return FALSE;
  if (!write.ok)
    g_propagate_error (error, write.error);
  return write.ok;
}

gboolean
database_write_later (Database *self, WriteFunc func, gpointer data, GDestroyNotify destroy, GError **error)
{
  Write *write = g_new0 (Write, 1);

  write->func = func;
  write->data = data;
  write->destroy = destroy;
  if (writes_queue (self->writes, write, error))
    return TRUE;
  g_free (write);
  return FALSE;
}

/* With the lock. */
static Connection *
take_idle (Database *self)
{
  guint index = self->idle->len - 1;

  if (self->idle->len == 0)
    return NULL;
  for (guint i = 0; i < self->idle->len; i++)
    if (((Connection *)g_ptr_array_index (self->idle, i))->roomy)
      index = i;
  return g_ptr_array_steal_index_fast (self->idle, index);
}

static Connection *
take_reader (Database *self, GError **error)
{
  Connection *connection;
  gboolean roomy = FALSE;

  g_mutex_lock (&self->readers_lock);
  self->n_waiting++;
  while (self->idle->len == 0 && self->n_readers >= MAX_READERS)
    g_cond_wait (&self->readers_cond, &self->readers_lock);
  self->n_waiting--;
  connection = take_idle (self);
  if (connection == NULL)
    roomy = self->n_readers++ == 0;
  g_mutex_unlock (&self->readers_lock);
  if (connection != NULL)
    return connection;
  connection = connection_new (self, self->path, for_reading, error);
  if (connection != NULL && roomy)
    connection->roomy = connection_exec (connection, "PRAGMA cache_size=-8192", NULL);
  if (connection == NULL)
    {
      g_mutex_lock (&self->readers_lock);
      self->n_readers--;
      g_cond_signal (&self->readers_cond);
      g_mutex_unlock (&self->readers_lock);
    }
  return connection;
}

Connection *
database_borrow (Database *self, GError **error)
{
  Connection *connection = take_reader (self, error);

  if (connection == NULL || begin_read (connection, error))
    return connection;
  database_return (self, connection);
  return NULL;
}

void
database_return (Database *self, Connection *connection)
{
  g_mutex_lock (&self->readers_lock);
  g_ptr_array_add (self->idle, connection);
  if (self->n_waiting > 0)
    g_cond_signal (&self->readers_cond);
  g_mutex_unlock (&self->readers_lock);
}

void
database_set_sink (Database *self, GantryEventLogSink sink, gpointer user_data)
{
  g_mutex_lock (&self->sink_lock);
  self->sink = sink;
  self->sink_data = user_data;
  g_mutex_unlock (&self->sink_lock);
}

guint64
database_get_last_event (Database *self)
{
  guint64 last;

  g_mutex_lock (&self->lock);
  last = self->last_event;
  g_mutex_unlock (&self->lock);
  return last;
}

static gint64
query_int (Connection *self, const char *sql, gint64 fallback)
{
  sqlite3_stmt *stmt = connection_prepare (self, sql, NULL);
  gint64 value = fallback;

  if (stmt != NULL && sqlite3_step (stmt) == SQLITE_ROW)
    value = sqlite3_column_int64 (stmt, 0);
  if (stmt != NULL)
    sqlite3_reset (stmt);
  return value;
}

static gboolean
migrate (Connection *self, GError **error)
{
  gint64 version = query_int (self, "PRAGMA user_version", 0);

  if (version > (gint64)SCHEMA_VERSION)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                         "%s has schema version %" G_GINT64_FORMAT
                         ", newer than this Gantry's %d; install the newer Gantry again",
                         self->database->path, version, (int)SCHEMA_VERSION);
  for (; version < (gint64)SCHEMA_VERSION; version++)
    {
      g_autofree char *done
          = g_strdup_printf ("PRAGMA user_version=%" G_GINT64_FORMAT "; COMMIT", version + 1);

      if (!connection_exec (self, "BEGIN EXCLUSIVE", error)
          || !connection_exec (self, schema_migrations[version], error)
          || !connection_exec (self, done, error))
        {
          connection_exec (self, "ROLLBACK", NULL);
          return FALSE;
        }
    }
  return TRUE;
}

/* Writes the whole schema to the file @path, without a sync. */
static gboolean
write_schema (Database *self, const char *path, GError **error)
{
  g_autofree char *version = g_strdup_printf ("PRAGMA user_version=%d; COMMIT", (int)SCHEMA_VERSION);
  g_autoptr (Connection) connection = connection_new (self, path, for_drafting, error);
  gboolean ok = connection != NULL && connection_exec (connection, "BEGIN EXCLUSIVE", error);

  for (gsize i = 0; ok && i < SCHEMA_VERSION; i++)
    ok = connection_exec (connection, schema_migrations[i], error);
  return ok && connection_exec (connection, version, error);
}

static gboolean
sync_file (const char *path, GError **error)
{
  int fd = open (path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  gboolean ok = fd >= 0 && fdatasync (fd) == 0;

  if (!ok)
    gantry_throw_errno (error, errno, "syncing %s", path);
  if (fd >= 0)
    close (fd);
  return ok;
}

static void
remove_files (const char *path)
{
  static const char *const suffixes[] = { "", "-wal", "-shm", "-journal" };

  for (gsize i = 0; i < G_N_ELEMENTS (suffixes); i++)
    {
      g_autofree char *name = g_strconcat (path, suffixes[i], NULL);

      unlink (name);
    }
}

/* If there is no database yet: makes one under another name, syncs that once (SQLite would, nine times) and
 * names it. The name is durable with the first durable write, which makes the log, whose name is synced. */
static gboolean
make_if_absent (Database *self, GError **error)
{
  g_autofree char *draft = NULL;
  struct stat st;

  if (lstat (self->path, &st) == 0 || errno != ENOENT)
    return TRUE; /* what is there is SQLite's to judge */
  draft = g_strconcat (self->path, ".new", NULL);
  remove_files (draft);
  remove_files (self->path);
  if (!write_schema (self, draft, error) || !sync_file (draft, error))
    return FALSE;
  return rename (draft, self->path) == 0 || gantry_throw_errno (error, errno, "naming %s", self->path);
}

/* Once, before the first connection. By default each has 87 KiB of pages and 48 KiB of small blocks at once
 * and uses a tenth of it: pages come one by one now, up to cache_size, and statements, which are prepared
 * once, get along with fewer small blocks. */
static void
configure (void)
{
  static gsize once;

  if (!g_once_init_enter (&once))
    return;
  /* These fail if the library has been used in this process, and then it stays as it is. */
  sqlite3_config (SQLITE_CONFIG_PAGECACHE, NULL, 0, 0);
  sqlite3_config (SQLITE_CONFIG_LOOKASIDE, 256, 48);
  g_once_init_leave (&once, 1);
}

Database *
database_open (const char *path, guint64 max_events, GError **error)
{
  g_autoptr (Database) self = g_new0 (Database, 1);

  self->path = g_strdup (path);
  self->max_events = max_events;
  self->synced = TRUE;
  g_mutex_init (&self->lock);
  g_mutex_init (&self->sink_lock);
  g_mutex_init (&self->readers_lock);
  g_cond_init (&self->readers_cond);
  self->announced = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_event_unref);
  self->idle = g_ptr_array_new_with_free_func ((GDestroyNotify)connection_free);
  configure ();
  if (!make_if_absent (self, error))
    return NULL;
  self->writer = connection_new (self, self->path, for_writing, error);
  if (self->writer == NULL || !migrate (self->writer, error))
    return NULL;
  /* sqlite_sequence remembers the highest number even if all events were trimmed. */
  self->last_event
      = (guint64)query_int (self->writer, "SELECT seq FROM sqlite_sequence WHERE name='event'", 0);
  self->next_event = self->last_event + 1;
  self->writes = writes_new (run_writes, self);
  return g_steal_pointer (&self);
}

void
database_close (Database *self)
{
  if (self == NULL)
    return;
  g_clear_pointer (&self->writes, writes_free);
  g_clear_pointer (&self->idle, g_ptr_array_unref);
  g_clear_pointer (&self->writer, connection_free);
  g_clear_pointer (&self->announced, g_ptr_array_unref);
  g_mutex_clear (&self->lock);
  g_mutex_clear (&self->sink_lock);
  g_mutex_clear (&self->readers_lock);
  g_cond_clear (&self->readers_cond);
  g_free (self->path);
  g_free (self);
}
