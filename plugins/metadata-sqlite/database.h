/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The SQLite file: one connection that writes and a few that read, each used by one thread at a time.
 *
 * Writes are functions run inside one transaction that many callers share (group commit): each has a
 * savepoint of its own, so one that fails takes nothing else with it, and all return after the commit they
 * were part of. A batch with no durable write in it is committed without a sync; the next durable batch makes
 * it durable, too, since the log is written in order.
 */
#pragma once

#include <gantry/events.h>
#include <sqlite3.h>

typedef struct _Database Database;
typedef struct _Connection Connection;

/** A write: runs inside a transaction, one at a time, on the thread that asked for it or on one of another
 * writer; it must not wait for a write. */
typedef gboolean (*WriteFunc) (Connection *connection, gpointer data, GError **error);

/** Opens (or makes) "<dir>/metadata.db" and migrates it. Errors: DATA_LOSS (corrupt), FAILED_PRECONDITION
 * (written by a newer version). */
Database *database_open (const char *path, guint64 max_events, GError **error);
void database_close (Database *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Database, database_close)

/** Runs @func in a transaction and waits for its commit; with @durable, for its sync. */
gboolean database_write (Database *self, gboolean durable, WriteFunc func, gpointer data,
                         GCancellable *cancellable, GError **error);

/** Queues @func and does not wait; failures are logged. Errors: RESOURCE_EXHAUSTED. */
gboolean database_write_later (Database *self, WriteFunc func, gpointer data, GDestroyNotify destroy,
                               GError **error);

/** Borrows a reading connection. */
Connection *database_borrow (Database *self, GError **error);
void database_return (Database *self, Connection *connection);

/** The prepared statement of @sql, reset and without bindings; @sql must be a string literal. Owned by the
 * connection. */
sqlite3_stmt *connection_prepare (Connection *self, const char *sql, GError **error);

/** Sets @error from the connection's last failure. Returns: FALSE. */
gboolean connection_throw (Connection *self, const char *what, GError **error);

/** Steps @stmt to its end, expecting no rows. */
gboolean connection_run (Connection *self, sqlite3_stmt *stmt, GError **error);

/** Runs statements that have no parameters and whose rows nobody wants. */
gboolean connection_exec (Connection *self, const char *sql, GError **error);

/** A number that is greater than all that were given before, within a write. */
gint64 connection_next_position (Connection *self);

/** How many rows the last statement changed. */
int connection_changes (Connection *self);

/** Notes, within a write, that the running transaction announces @event; it gets its number here. */
gboolean connection_announce (Connection *self, GantryEvent *event, GError **error);

void database_set_sink (Database *self, GantryEventLogSink sink, gpointer user_data);
guint64 database_get_last_event (Database *self);

/* Binding and reading values. */
void bind_text (sqlite3_stmt *stmt, int at, const char *text);
void bind_variant (sqlite3_stmt *stmt, int at, GVariant *value);
GVariant *column_variant (sqlite3_stmt *stmt, int at, const GVariantType *type);
const char *column_text (sqlite3_stmt *stmt, int at);
