/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The event log: appended events get their numbers in the next transaction, like those of changes. */
#include "metadata-sqlite.h"

#define MAX_READ 4096

static gboolean
append_event (Connection *connection, gpointer data, GError **error)
{
  return connection_announce (connection, data, error);
}

static gboolean
log_append (GantryEventLog *self, GantryEvent *event, GCancellable *cancellable, GError **error)
{
  GantryEvent *held = gantry_event_ref (event);

  if (database_write_later (METADATA_SQLITE_FROM (self, log)->database, append_event, held,
                            (GDestroyNotify)gantry_event_unref, error))
    return TRUE;
  gantry_event_unref (held);
  return FALSE;
}

static gboolean
read_events (Connection *connection, guint64 cursor, guint limit, GPtrArray *events, guint64 *trimmed,
             GError **error)
{
  sqlite3_stmt *stmt;
  int code;

  stmt = connection_prepare (connection, "SELECT min(seq) FROM event", error);
  if (stmt == NULL)
    return FALSE;
  if (sqlite3_step (stmt) == SQLITE_ROW && sqlite3_column_type (stmt, 0) != SQLITE_NULL
      && (guint64)sqlite3_column_int64 (stmt, 0) > cursor + 1)
    *trimmed = (guint64)sqlite3_column_int64 (stmt, 0) - cursor - 1;
  sqlite3_reset (stmt);
  stmt = connection_prepare (
      connection, "SELECT seq, time, ns, topic, payload FROM event WHERE seq>? ORDER BY seq LIMIT ?", error);
  if (stmt == NULL)
    return FALSE;
  sqlite3_bind_int64 (stmt, 1, (sqlite3_int64)cursor);
  sqlite3_bind_int (stmt, 2, (int)limit);
  while ((code = sqlite3_step (stmt)) == SQLITE_ROW)
    {
      g_autoptr (GVariant) payload = column_variant (stmt, 4, G_VARIANT_TYPE_VARDICT);

      g_ptr_array_add (events, gantry_event_new ((guint64)sqlite3_column_int64 (stmt, 0),
                                                 sqlite3_column_int64 (stmt, 1), column_text (stmt, 2),
                                                 column_text (stmt, 3), payload));
    }
  sqlite3_reset (stmt);
  return code == SQLITE_DONE || connection_throw (connection, "reading events", error);
}

static gboolean
log_read (GantryEventLog *self, guint64 cursor, guint limit, GPtrArray **ret_events, guint64 *ret_trimmed,
          GCancellable *cancellable, GError **error)
{
  Database *database = METADATA_SQLITE_FROM (self, log)->database;
  g_autoptr (GPtrArray) events = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_event_unref);
  Connection *connection = database_borrow (database, error);
  guint64 trimmed = 0;
  gboolean ok;

  if (connection == NULL)
    return FALSE;
  ok = read_events (connection, MIN (cursor, (guint64)G_MAXINT64 - 1), MIN (limit, MAX_READ), events,
                    &trimmed, error);
  database_return (database, connection);
  if (!ok)
    return FALSE;
  *ret_events = g_steal_pointer (&events);
  *ret_trimmed = trimmed;
  return TRUE;
}

static void
log_set_sink (GantryEventLog *self, GantryEventLogSink sink, gpointer user_data)
{
  database_set_sink (METADATA_SQLITE_FROM (self, log)->database, sink, user_data);
}

static guint64
log_get_last (GantryEventLog *self)
{
  return database_get_last_event (METADATA_SQLITE_FROM (self, log)->database);
}

const GantryEventLogVtable metadata_sqlite_log_vtable = {
  .size = sizeof (GantryEventLogVtable),
  .append = log_append,
  .read = log_read,
  .set_sink = log_set_sink,
  .get_last = log_get_last,
};
