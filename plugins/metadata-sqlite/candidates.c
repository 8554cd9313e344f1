/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What may have lost its last holder. Whoever takes away an edge, a lease's hold or a root notes what it led
 * to, in the same transaction, so that garbage collection need not look at anything else. */
#include "metadata-sqlite.h"

#include <string.h>

#define EXPIRE_LABEL "containerd.io/gc.expire"

static gboolean
run (Connection *connection, const char *sql, const char *ns, const char *kind, const char *id,
     GError **error)
{
  sqlite3_stmt *stmt = connection_prepare (connection, sql, error);

  if (stmt == NULL)
    return FALSE;
  bind_text (stmt, 1, ns);
  bind_text (stmt, 2, kind);
  bind_text (stmt, 3, id);
  return connection_run (connection, stmt, error);
}

gboolean
candidates_add (Connection *connection, const char *ns, const char *kind, const char *id, GError **error)
{
  return run (connection, "INSERT OR IGNORE INTO candidate (ns, kind, id) VALUES (?1, ?2, ?3)", ns, kind, id,
              error);
}

gboolean
candidates_add_owned (Connection *connection, const char *ns, const char *kind, const char *id,
                      GError **error)
{
  return run (connection,
              "INSERT OR IGNORE INTO candidate (ns, kind, id) SELECT ns, to_kind, to_id FROM edge"
              " WHERE ns=?1 AND owner_kind=?2 AND owner_id=?3",
              ns, kind, id, error);
}

gboolean
candidates_add_held (Connection *connection, const char *ns, const char *kind, const char *id, GError **error)
{
  /* Those whose edge says so by itself, and those that name it as their holder. */
  return candidates_add_owned (connection, ns, kind, id, error)
         && run (connection,
                 "INSERT OR IGNORE INTO candidate (ns, kind, id) SELECT ns, to_kind, to_id FROM edge"
                 " WHERE ns=?1 AND from_kind=?2 AND from_id=?3",
                 ns, kind, id, error)
         && (strcmp (kind, GANTRY_KIND_LEASE) != 0
             || run (connection,
                     "INSERT OR IGNORE INTO candidate (ns, kind, id) SELECT ns, kind, id FROM lease_item "
                     "WHERE ns=?1 AND ?2='lease'"
                     " AND lease=?3",
                     ns, kind, id, error));
}

gboolean
expiry_write (Connection *connection, GantryRecord *record, GError **error)
{
  const char *text = gantry_labels_lookup (record->labels, EXPIRE_LABEL);
  g_autoptr (GDateTime) time = text != NULL ? g_date_time_new_from_iso8601 (text, NULL) : NULL;
  sqlite3_stmt *stmt;

  if (time == NULL)
    return TRUE;
  stmt = connection_prepare (connection,
                             "INSERT OR REPLACE INTO expiry (kind, ns, id, time, due) VALUES (?, ?, ?, ?, 0)",
                             error);
  if (stmt == NULL)
    return FALSE;
  bind_text (stmt, 1, record->kind);
  bind_text (stmt, 2, record->ns);
  bind_text (stmt, 3, record->id);
  sqlite3_bind_int64 (stmt, 4,
                      g_date_time_to_unix (time) * G_USEC_PER_SEC + g_date_time_get_microsecond (time));
  return connection_run (connection, stmt, error);
}

gboolean
expiry_remove (Connection *connection, const char *ns, const char *kind, const char *id, GError **error)
{
  return run (connection, "DELETE FROM expiry WHERE ns=?1 AND kind=?2 AND id=?3", ns, kind, id, error);
}
