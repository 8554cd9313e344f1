/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The database held against itself. */
#include "metadata-sqlite.h"

#include <string.h>

gboolean
garbage_verify (GantryMetadata *self, char ***ret_problems, GCancellable *cancellable, GError **error)
{
  static const char *const queries[] = {
    "SELECT 'database: ' || integrity_check FROM pragma_integrity_check WHERE integrity_check <> 'ok'",
    "SELECT 'label without a record: ' || kind || ' ' || id FROM label l WHERE NOT EXISTS (SELECT 1 FROM "
    "record r"
    " WHERE r.kind=l.kind AND r.ns=l.ns AND r.id=l.id)",
    "SELECT 'edge without its owner: ' || owner_kind || ' ' || owner_id FROM edge e WHERE NOT EXISTS (SELECT "
    "1 FROM record r"
    " WHERE r.kind=e.owner_kind AND r.ns=e.ns AND r.id=e.owner_id)",
    "SELECT 'expiry without its record: ' || kind || ' ' || id FROM expiry e WHERE NOT EXISTS (SELECT 1 FROM "
    "record r"
    " WHERE r.kind=e.kind AND r.ns=e.ns AND r.id=e.id)",
    "SELECT 'lease item without its lease: ' || lease FROM lease_item i WHERE NOT EXISTS (SELECT 1 FROM "
    "record r"
    " WHERE r.kind='lease' AND r.ns=i.ns AND r.id=i.lease)",
    "SELECT 'image ' || r.id || ' names content ' || e.to_id || ' that namespace ' || r.ns || ' does not "
    "have' FROM record r"
    " JOIN edge e ON e.ns=r.ns AND e.from_kind='image' AND e.from_id=r.id AND e.to_kind='content'"
    " WHERE r.kind='image' AND NOT EXISTS (SELECT 1 FROM record c WHERE c.kind='content' AND c.ns=r.ns AND "
    "c.id=e.to_id)",
    "SELECT 'container ' || r.id || ' names snapshot ' || e.to_id || ' that does not exist' FROM record r"
    " JOIN edge e ON e.ns=r.ns AND e.from_kind='container' AND e.from_id=r.id AND e.to_kind='snapshot'"
    " WHERE r.kind='container' AND NOT EXISTS (SELECT 1 FROM record c WHERE c.kind='snapshot' AND c.ns=r.ns "
    "AND c.id=e.to_id)",
    "SELECT 'snapshot ' || s.snapshotter || '/' || s.key || ' has no parent ' || s.parent FROM snapshot s"
    " WHERE s.parent IS NOT NULL AND NOT EXISTS (SELECT 1 FROM snapshot p WHERE p.snapshotter=s.snapshotter "
    "AND p.key=s.parent)",
  };
  Database *database = METADATA_SQLITE_FROM (self, metadata)->database;
  g_autoptr (GPtrArray) problems = g_ptr_array_new_with_free_func (g_free);
  Connection *connection = database_borrow (database, error);
  gboolean ok = TRUE;

  if (connection == NULL)
    return FALSE;
  for (gsize i = 0; ok && i < G_N_ELEMENTS (queries); i++)
    {
      sqlite3_stmt *stmt = connection_prepare (connection, queries[i], error);
      int code = SQLITE_ERROR;

      ok = stmt != NULL;
      if (!ok)
        break;
      while ((code = sqlite3_step (stmt)) == SQLITE_ROW)
        g_ptr_array_add (problems, g_strdup (column_text (stmt, 0)));
      sqlite3_reset (stmt);
      ok = code == SQLITE_DONE || connection_throw (connection, "checking", error);
    }
  database_return (database, connection);
  if (!ok)
    return FALSE;
  g_ptr_array_add (problems, NULL);
  *ret_problems = (char **)g_ptr_array_free (g_steal_pointer (&problems), FALSE);
  return TRUE;
}

static gboolean
repair (Connection *connection, gpointer data, GError **error)
{
  static const char *const statements[] = {
    "DELETE FROM label WHERE NOT EXISTS (SELECT 1 FROM record r WHERE r.kind=label.kind AND r.ns=label.ns "
    "AND r.id=label.id)",
    "DELETE FROM edge WHERE NOT EXISTS (SELECT 1 FROM record r WHERE r.kind=edge.owner_kind AND r.ns=edge.ns "
    "AND r.id=edge.owner_id)",
    "DELETE FROM expiry WHERE NOT EXISTS (SELECT 1 FROM record r WHERE r.kind=expiry.kind AND r.ns=expiry.ns "
    "AND r.id=expiry.id)",
    ("DELETE FROM lease_item WHERE NOT EXISTS (SELECT 1 FROM record r WHERE r.kind='lease' AND "
     "r.ns=lease_item.ns"
     " AND r.id=lease_item.lease)"),
    /* What these held may be garbage now, and what was forgotten by mistake is looked at again. */
    "INSERT OR IGNORE INTO candidate (ns, kind, id) SELECT ns, kind, id FROM record WHERE kind IN "
    "('content', 'snapshot')",
  };

  for (gsize i = 0; i < G_N_ELEMENTS (statements); i++)
    if (!connection_exec (connection, statements[i], error))
      return FALSE;
  return TRUE;
}

gboolean
garbage_repair (GantryMetadata *self, char ***ret_problems, GCancellable *cancellable, GError **error)
{
  g_auto (GStrv) problems = NULL;

  if (!garbage_verify (self, &problems, cancellable, error)
      || !database_write (METADATA_SQLITE_FROM (self, metadata)->database, TRUE, repair, NULL, cancellable,
                          error))
    return FALSE;
  for (gsize i = 0; problems[i] != NULL; i++)
    if (strstr (problems[i], " without ") != NULL)
      {
        char *repaired = g_strconcat (problems[i], " (removed)", NULL);

        g_free (problems[i]);
        problems[i] = repaired;
      }
  *ret_problems = g_steal_pointer (&problems);
  return TRUE;
}
