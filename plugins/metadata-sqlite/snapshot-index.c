/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The snapshot index over the same database: its writes are ordered with those of metadata and synced with
 * them. */
#include "metadata-sqlite.h"

#include <string.h>

#include <filter.h>

#define MAX_ANCESTORS 512

typedef struct
{
  const char *snapshotter;
  const char *key;
  const char *name;
  const char *parent;
  guint64 number;
  GantrySnapshotKind kind;
  GVariant *labels;
  const char *const *mask;
  guint64 bytes;
  guint64 inodes;
  GantrySnapshotEntry *entry; /* result */
} Request;

static gboolean
throw_not_found (const char *key, GError **error)
{
  return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "snapshot %s does not exist: not found", key);
}

static GantrySnapshotEntry *
entry_from_row (sqlite3_stmt *stmt)
{
  g_autoptr (GVariant) labels = column_variant (stmt, 4, G_VARIANT_TYPE ("a{ss}"));
  g_autoptr (GantrySnapshotInfo) info
      = gantry_snapshot_info_new ((GantrySnapshotKind)sqlite3_column_int (stmt, 3), column_text (stmt, 0),
                                  column_text (stmt, 2), labels, sqlite3_column_int64 (stmt, 5),
                                  sqlite3_column_int64 (stmt, 6));

  return gantry_snapshot_entry_new ((guint64)sqlite3_column_int64 (stmt, 1), info, NULL,
                                    (guint64)sqlite3_column_int64 (stmt, 7),
                                    (guint64)sqlite3_column_int64 (stmt, 8));
}

/* The entry without its ancestors; NULL without an error if there is none. */
static gboolean
find_row (Connection *connection, const char *snapshotter, const char *key, GantrySnapshotEntry **ret_entry,
          GError **error)
{
  sqlite3_stmt *stmt
      = connection_prepare (connection,
                            "SELECT key, number, parent, kind, labels, created, updated, bytes, inodes"
                            " FROM snapshot WHERE snapshotter=? AND key=?",
                            error);
  int code;

  if (stmt == NULL)
    return FALSE;
  bind_text (stmt, 1, snapshotter);
  bind_text (stmt, 2, key);
  code = sqlite3_step (stmt);
  *ret_entry = code == SQLITE_ROW ? entry_from_row (stmt) : NULL;
  sqlite3_reset (stmt);
  return code == SQLITE_ROW || code == SQLITE_DONE
         || connection_throw (connection, "reading the snapshot index", error);
}

static gboolean
read_ancestors (Connection *connection, const char *snapshotter, GantrySnapshotEntry *entry, GError **error)
{
  sqlite3_stmt *stmt;
  int code;

  if (entry->info->parent == NULL)
    return TRUE;
  stmt = connection_prepare (connection,
                             "WITH RECURSIVE up (depth, key, number, parent) AS ("
                             "SELECT 1, key, number, parent FROM snapshot WHERE snapshotter=?1 AND key=?2"
                             " UNION ALL SELECT depth+1, s.key, s.number, s.parent FROM up JOIN snapshot s"
                             " ON s.snapshotter=?1 AND s.key=up.parent WHERE depth < ?3)"
                             " SELECT number FROM up ORDER BY depth",
                             error);
  if (stmt == NULL)
    return FALSE;
  bind_text (stmt, 1, snapshotter);
  bind_text (stmt, 2, entry->info->parent);
  sqlite3_bind_int (stmt, 3, MAX_ANCESTORS);
  while ((code = sqlite3_step (stmt)) == SQLITE_ROW)
    {
      guint64 number = (guint64)sqlite3_column_int64 (stmt, 0);

      g_array_append_val (entry->ancestors, number);
    }
  sqlite3_reset (stmt);
  return code == SQLITE_DONE || connection_throw (connection, "reading the snapshot index", error);
}

static GantrySnapshotEntry *
read_entry (Connection *connection, const char *snapshotter, const char *key, GError **error)
{
  g_autoptr (GantrySnapshotEntry) entry = NULL;

  if (!find_row (connection, snapshotter, key, &entry, error))
    return NULL;
  if (entry == NULL)
    {
      throw_not_found (key, error);
      return NULL;
    }
  return read_ancestors (connection, snapshotter, entry, error) ? g_steal_pointer (&entry) : NULL;
}

static gboolean
do_allocate (Connection *connection, gpointer data, GError **error)
{
  Request *request = data;
  sqlite3_stmt *stmt
      = connection_prepare (connection,
                            "INSERT INTO number (snapshotter, last) VALUES (?, 1)"
                            " ON CONFLICT (snapshotter) DO UPDATE SET last=last+1 RETURNING last",
                            error);

  if (stmt == NULL)
    return FALSE;
  bind_text (stmt, 1, request->snapshotter);
  if (sqlite3_step (stmt) != SQLITE_ROW)
    {
      connection_throw (connection, "numbering a snapshot", error);
      sqlite3_reset (stmt);
      return FALSE;
    }
  request->number = (guint64)sqlite3_column_int64 (stmt, 0);
  sqlite3_reset (stmt);
  return TRUE;
}

static gboolean
index_allocate (GantrySnapshotIndex *self, const char *snapshotter, guint64 *ret_number,
                GCancellable *cancellable, GError **error)
{
  Request request = { .snapshotter = snapshotter };

  if (!database_write (METADATA_SQLITE_FROM (self, index)->database, FALSE, do_allocate, &request,
                       cancellable, error))
    return FALSE;
  *ret_number = request.number;
  return TRUE;
}

/* Checks that @parent (nullable) is a committed snapshot. */
static gboolean
check_parent (Connection *connection, const char *snapshotter, const char *parent, GError **error)
{
  g_autoptr (GantrySnapshotEntry) entry = NULL;

  if (parent == NULL)
    return TRUE;
  if (!find_row (connection, snapshotter, parent, &entry, error))
    return FALSE;
  if (entry == NULL)
    return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "parent snapshot %s does not exist: not found",
                         parent);
  if (entry->info->kind != GANTRY_SNAPSHOT_COMMITTED)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "parent snapshot %s is not committed",
                         parent);
  return TRUE;
}

static gboolean
do_insert (Connection *connection, gpointer data, GError **error)
{
  Request *request = data;
  g_autoptr (GantrySnapshotEntry) existing = NULL;
  sqlite3_stmt *stmt;

  if (!find_row (connection, request->snapshotter, request->key, &existing, error))
    return FALSE;
  if (existing != NULL)
    return gantry_throw (error, GANTRY_ERROR_ALREADY_EXISTS, "snapshot \"%s\": already exists", request->key);
  if (!check_parent (connection, request->snapshotter, request->parent, error))
    return FALSE;
  stmt = connection_prepare (
      connection,
      "INSERT INTO snapshot (snapshotter, key, number, parent, kind, labels, created, updated, bytes,"
      " inodes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, 0, 0)",
      error);
  if (stmt == NULL)
    return FALSE;
  bind_text (stmt, 1, request->snapshotter);
  bind_text (stmt, 2, request->key);
  sqlite3_bind_int64 (stmt, 3, (sqlite3_int64)request->number);
  bind_text (stmt, 4, request->parent);
  sqlite3_bind_int (stmt, 5, request->kind);
  bind_variant (stmt, 6, request->labels);
  sqlite3_bind_int64 (stmt, 7, gantry_now_ns ());
  if (!connection_run (connection, stmt, error))
    return FALSE;
  request->entry = read_entry (connection, request->snapshotter, request->key, error);
  return request->entry != NULL;
}

/* Runs a request whose result is an entry that the caller may not want. */
static gboolean
write_entry (GantrySnapshotIndex *self, WriteFunc func, Request *request, GantrySnapshotEntry **ret_entry,
             GCancellable *cancellable, GError **error)
{
  if (!database_write (METADATA_SQLITE_FROM (self, index)->database, FALSE, func, request, cancellable,
                       error))
    {
      g_clear_pointer (&request->entry, gantry_snapshot_entry_unref);
      return FALSE;
    }
  if (ret_entry != NULL)
    *ret_entry = g_steal_pointer (&request->entry);
  g_clear_pointer (&request->entry, gantry_snapshot_entry_unref);
  return TRUE;
}

static gboolean
validate_key (const char *key, GError **error)
{
  if (key == NULL || key[0] == '\0' || strlen (key) > 2 * GANTRY_MAX_NAME || !g_utf8_validate (key, -1, NULL))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "a snapshot key must have 1 to %d characters of UTF-8: invalid argument",
                         2 * GANTRY_MAX_NAME);
  return TRUE;
}

static gboolean
index_insert (GantrySnapshotIndex *self, const char *snapshotter, guint64 number, GantrySnapshotKind kind,
              const char *key, const char *parent, GVariant *labels, GantrySnapshotEntry **ret_entry,
              GCancellable *cancellable, GError **error)
{
  Request request = {
    .snapshotter = snapshotter,
    .key = key,
    .parent = parent,
    .number = number,
    .kind = kind,
    .labels = labels,
  };

  if (kind != GANTRY_SNAPSHOT_ACTIVE && kind != GANTRY_SNAPSHOT_VIEW)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "snapshot %s can be inserted as active or view only", key);
  return validate_key (key, error) && changes_validate_labels (labels, error)
         && write_entry (self, do_insert, &request, ret_entry, cancellable, error);
}

static gboolean
index_get (GantrySnapshotIndex *self, const char *snapshotter, const char *key,
           GantrySnapshotEntry **ret_entry, GCancellable *cancellable, GError **error)
{
  Database *database = METADATA_SQLITE_FROM (self, index)->database;
  Connection *connection = database_borrow (database, error);
  GantrySnapshotEntry *entry;

  if (connection == NULL)
    return FALSE;
  entry = read_entry (connection, snapshotter, key, error);
  database_return (database, connection);
  if (entry == NULL)
    return FALSE;
  *ret_entry = entry;
  return TRUE;
}

static gboolean
do_update (Connection *connection, gpointer data, GError **error)
{
  Request *request = data;
  g_autoptr (GantrySnapshotEntry) entry = NULL;
  g_autoptr (GVariant) labels = NULL;
  sqlite3_stmt *stmt;

  if (!find_row (connection, request->snapshotter, request->key, &entry, error))
    return FALSE;
  if (entry == NULL)
    return throw_not_found (request->key, error);
  labels = g_variant_ref_sink (changes_merge_labels (entry->info->labels, request->labels, request->mask));
  stmt = connection_prepare (connection,
                             "UPDATE snapshot SET labels=?, updated=? WHERE snapshotter=? AND key=?", error);
  if (stmt == NULL)
    return FALSE;
  bind_variant (stmt, 1, labels);
  sqlite3_bind_int64 (stmt, 2, gantry_now_ns ());
  bind_text (stmt, 3, request->snapshotter);
  bind_text (stmt, 4, request->key);
  if (!connection_run (connection, stmt, error))
    return FALSE;
  request->entry = read_entry (connection, request->snapshotter, request->key, error);
  return request->entry != NULL;
}

static gboolean
validate_mask (const char *const *mask, GError **error)
{
  for (gsize i = 0; mask != NULL && mask[i] != NULL; i++)
    if (strcmp (mask[i], "labels") != 0 && !g_str_has_prefix (mask[i], "labels."))
      return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                           "cannot update \"%s\" of a snapshot, only labels: invalid argument", mask[i]);
  return TRUE;
}

static gboolean
index_update (GantrySnapshotIndex *self, const char *snapshotter, const char *key, GVariant *labels,
              const char *const *mask, GantrySnapshotEntry **ret_entry, GCancellable *cancellable,
              GError **error)
{
  Request request = { .snapshotter = snapshotter, .key = key, .labels = labels, .mask = mask };

  return validate_mask (mask, error) && changes_validate_labels (labels, error)
         && write_entry (self, do_update, &request, ret_entry, cancellable, error);
}

static gboolean
do_commit (Connection *connection, gpointer data, GError **error)
{
  Request *request = data;
  g_autoptr (GantrySnapshotEntry) entry = NULL;
  g_autoptr (GantrySnapshotEntry) taken = NULL;
  sqlite3_stmt *stmt;

  if (!find_row (connection, request->snapshotter, request->key, &entry, error)
      || !find_row (connection, request->snapshotter, request->name, &taken, error))
    return FALSE;
  if (entry == NULL)
    return throw_not_found (request->key, error);
  if (taken != NULL)
    return gantry_throw (error, GANTRY_ERROR_ALREADY_EXISTS, "snapshot \"%s\": already exists",
                         request->name);
  if (entry->info->kind != GANTRY_SNAPSHOT_ACTIVE)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                         "snapshot %s is not active: failed precondition", request->key);
  if (request->parent != NULL && entry->info->parent != NULL
      && strcmp (request->parent, entry->info->parent) != 0)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "snapshot %s has the parent %s already",
                         request->key, entry->info->parent);
  if (!check_parent (connection, request->snapshotter, request->parent, error))
    return FALSE;
  stmt = connection_prepare (connection,
                             "UPDATE snapshot SET key=?1, kind=3, labels=?2, updated=?3, bytes=?4, inodes=?5,"
                             " parent=coalesce(?6, parent) WHERE snapshotter=?7 AND key=?8",
                             error);
  if (stmt == NULL)
    return FALSE;
  bind_text (stmt, 1, request->name);
  bind_variant (stmt, 2, request->labels);
  sqlite3_bind_int64 (stmt, 3, gantry_now_ns ());
  sqlite3_bind_int64 (stmt, 4, (sqlite3_int64)request->bytes);
  sqlite3_bind_int64 (stmt, 5, (sqlite3_int64)request->inodes);
  bind_text (stmt, 6, request->parent);
  bind_text (stmt, 7, request->snapshotter);
  bind_text (stmt, 8, request->key);
  return connection_run (connection, stmt, error);
}

static gboolean
index_commit (GantrySnapshotIndex *self, const char *snapshotter, const char *name, const char *key,
              const char *parent, GVariant *labels, guint64 usage_bytes, guint64 usage_inodes,
              GCancellable *cancellable, GError **error)
{
  Request request = {
    .snapshotter = snapshotter,
    .name = name,
    .key = key,
    .parent = parent,
    .labels = labels,
    .bytes = usage_bytes,
    .inodes = usage_inodes,
  };

  return validate_key (name, error) && changes_validate_labels (labels, error)
         && database_write (METADATA_SQLITE_FROM (self, index)->database, FALSE, do_commit, &request,
                            cancellable, error);
}

static gboolean
do_remove (Connection *connection, gpointer data, GError **error)
{
  Request *request = data;
  g_autoptr (GantrySnapshotEntry) entry = NULL;
  sqlite3_stmt *stmt;
  gboolean children;

  if (!find_row (connection, request->snapshotter, request->key, &entry, error))
    return FALSE;
  if (entry == NULL)
    return throw_not_found (request->key, error);
  stmt = connection_prepare (connection, "SELECT 1 FROM snapshot WHERE snapshotter=? AND parent=? LIMIT 1",
                             error);
  if (stmt == NULL)
    return FALSE;
  bind_text (stmt, 1, request->snapshotter);
  bind_text (stmt, 2, request->key);
  children = sqlite3_step (stmt) == SQLITE_ROW;
  sqlite3_reset (stmt);
  if (children)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                         "cannot remove snapshot with child: failed precondition");
  stmt = connection_prepare (connection, "DELETE FROM snapshot WHERE snapshotter=? AND key=?", error);
  if (stmt == NULL)
    return FALSE;
  bind_text (stmt, 1, request->snapshotter);
  bind_text (stmt, 2, request->key);
  request->number = entry->number;
  return connection_run (connection, stmt, error);
}

static gboolean
index_remove (GantrySnapshotIndex *self, const char *snapshotter, const char *key, guint64 *ret_number,
              GCancellable *cancellable, GError **error)
{
  Request request = { .snapshotter = snapshotter, .key = key };

  if (!database_write (METADATA_SQLITE_FROM (self, index)->database, FALSE, do_remove, &request, cancellable,
                       error))
    return FALSE;
  *ret_number = request.number;
  return TRUE;
}

static const char *
entry_field (const char *const *path, guint n_path, gpointer object)
{
  static const char *const kinds[] = { "unknown", "view", "active", "committed" };
  GantrySnapshotInfo *info = ((GantrySnapshotEntry *)object)->info;

  if (n_path == 2 && strcmp (path[0], "labels") == 0)
    return gantry_labels_lookup (info->labels, path[1]);
  if (n_path != 1)
    return NULL;
  if (strcmp (path[0], "name") == 0)
    return info->name;
  if (strcmp (path[0], "parent") == 0)
    return info->parent;
  if (strcmp (path[0], "kind") == 0)
    return kinds[info->kind];
  return NULL;
}

static gboolean
read_all (Connection *connection, const char *snapshotter, GPtrArray *entries, GError **error)
{
  sqlite3_stmt *stmt
      = connection_prepare (connection,
                            "SELECT key, number, parent, kind, labels, created, updated, bytes, inodes"
                            " FROM snapshot WHERE snapshotter=? ORDER BY key",
                            error);
  int code;

  if (stmt == NULL)
    return FALSE;
  bind_text (stmt, 1, snapshotter);
  while ((code = sqlite3_step (stmt)) == SQLITE_ROW)
    g_ptr_array_add (entries, entry_from_row (stmt));
  sqlite3_reset (stmt);
  return code == SQLITE_DONE || connection_throw (connection, "listing snapshots", error);
}

static gboolean
index_walk (GantrySnapshotIndex *self, const char *snapshotter, const char *const *filters,
            GantrySnapshotEntryFunc func, gpointer user_data, GCancellable *cancellable, GError **error)
{
  Database *database = METADATA_SQLITE_FROM (self, index)->database;
  g_autoptr (GantryFilter) filter = gantry_filter_new (filters, error);
  g_autoptr (GPtrArray) entries
      = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_snapshot_entry_unref);
  Connection *connection;
  gboolean ok;

  if (filter == NULL)
    return FALSE;
  connection = database_borrow (database, error);
  if (connection == NULL)
    return FALSE;
  ok = read_all (connection, snapshotter, entries, error);
  database_return (database, connection);
  for (guint i = 0; ok && i < entries->len; i++)
    {
      GantrySnapshotEntry *entry = g_ptr_array_index (entries, i);

      if (gantry_filter_match (filter, entry_field, entry) && !func (entry, user_data))
        break;
    }
  return ok;
}

static gboolean
index_sync (GantrySnapshotIndex *self, GCancellable *cancellable, GError **error)
{
  Request request = { .snapshotter = "" };

  /* A commit that writes nothing syncs nothing, so the sync rides on a number that nobody uses. */
  return database_write (METADATA_SQLITE_FROM (self, index)->database, TRUE, do_allocate, &request,
                         cancellable, error);
}

const GantrySnapshotIndexVtable metadata_sqlite_index_vtable = {
  .size = sizeof (GantrySnapshotIndexVtable),
  .allocate = index_allocate,
  .insert = index_insert,
  .get = index_get,
  .update = index_update,
  .commit = index_commit,
  .remove = index_remove,
  .walk = index_walk,
  .sync = index_sync,
};
