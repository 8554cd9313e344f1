/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Garbage collection. Candidates (candidates.c) that no root reaches (reach.c) are erased, what they held
 * become candidates in turn, and what the backends have to remove is remembered. So it costs what changed,
 * not what exists. Long collections are done in batches, between which writers have their turn. */
#include "metadata-sqlite.h"

#include "reach.h"

#include <string.h>

/* Candidates looked at in one transaction. */
#define BATCH 512
#define PAGE  64

typedef struct
{
  gboolean dry_run;
  GPtrArray *garbage; /* what came of it */
  gboolean more;      /* there are candidates left */
} Collect;

static gboolean
content_elsewhere (Connection *connection, const char *digest)
{
  sqlite3_stmt *stmt
      = connection_prepare (connection, "SELECT 1 FROM record WHERE kind='content' AND id=? LIMIT 1", NULL);
  gboolean found;

  if (stmt == NULL)
    return TRUE;
  bind_text (stmt, 1, digest);
  found = sqlite3_step (stmt) == SQLITE_ROW;
  sqlite3_reset (stmt);
  return found;
}

/* Erases a record of which only kind, ns and id are looked at; what it held becomes a candidate. */
static gboolean
erase (Connection *connection, GantryRecord *record, GError **error)
{
  static const char *const statements[] = {
    "DELETE FROM record WHERE kind=?1 AND ns=?2 AND id=?3",
    "DELETE FROM label WHERE kind=?1 AND ns=?2 AND id=?3",
    "DELETE FROM edge WHERE owner_kind=?1 AND ns=?2 AND owner_id=?3",
    "DELETE FROM lease_item WHERE ?1='lease' AND ns=?2 AND lease=?3",
    "DELETE FROM lease_item WHERE kind=?1 AND ns=?2 AND id=?3",
    "DELETE FROM expiry WHERE kind=?1 AND ns=?2 AND id=?3",
  };

  if (!candidates_add_held (connection, record->ns, record->kind, record->id, error))
    return FALSE;
  for (gsize i = 0; i < G_N_ELEMENTS (statements); i++)
    {
      sqlite3_stmt *stmt = connection_prepare (connection, statements[i], error);

      if (stmt == NULL)
        return FALSE;
      bind_text (stmt, 1, record->kind);
      bind_text (stmt, 2, record->ns);
      bind_text (stmt, 3, record->id);
      if (!connection_run (connection, stmt, error))
        return FALSE;
    }
  return TRUE;
}

static GantryGarbage *
garbage_of (GantryRecord *record)
{
  if (strcmp (record->kind, GANTRY_KIND_SNAPSHOT) == 0)
    {
      g_autofree char *snapshotter = g_strndup (record->id, strcspn (record->id, "/"));
      const char *backend = gantry_record_get_string (record, "backend");

      return gantry_garbage_new (record->kind, backend != NULL ? backend : "", snapshotter, record->ns,
                                 record->id, 0);
    }
  if (strcmp (record->kind, GANTRY_KIND_CONTENT) == 0)
    {
      g_autoptr (GVariant) size = gantry_record_get_field (record, "size", G_VARIANT_TYPE_UINT64);

      return gantry_garbage_new (record->kind, record->id, NULL, record->ns, record->id,
                                 size != NULL ? g_variant_get_uint64 (size) : 0);
    }
  if (strcmp (record->kind, GANTRY_KIND_MOUNT) == 0 && gantry_record_get_string (record, "backend") != NULL)
    return gantry_garbage_new (record->kind, gantry_record_get_string (record, "backend"), NULL, record->ns,
                               record->id, 0);
  return NULL;
}

static gboolean
remember (Connection *connection, GantryGarbage *garbage, GError **error)
{
  sqlite3_stmt *stmt = connection_prepare (
      connection,
      "INSERT OR REPLACE INTO garbage (kind, backend, snapshotter, ns, id, bytes, position)"
      " VALUES (?, ?, ?, ?, ?, ?, ?)",
      error);

  if (stmt == NULL)
    return FALSE;
  bind_text (stmt, 1, garbage->kind);
  bind_text (stmt, 2, garbage->backend);
  bind_text (stmt, 3, garbage->snapshotter != NULL ? garbage->snapshotter : "");
  bind_text (stmt, 4, garbage->ns);
  bind_text (stmt, 5, garbage->id);
  sqlite3_bind_int64 (stmt, 6, (sqlite3_int64)garbage->bytes);
  /* In this order they go: children were erased before their parents. */
  sqlite3_bind_int64 (stmt, 7, connection_next_position (connection));
  return connection_run (connection, stmt, error);
}

gboolean
garbage_remember_record (Connection *connection, GantryRecord *record, GError **error)
{
  g_autoptr (GantryGarbage) garbage = garbage_of (record);

  if (garbage == NULL
      || (strcmp (garbage->kind, GANTRY_KIND_CONTENT) == 0 && content_elsewhere (connection, record->id)))
    return TRUE;
  return remember (connection, garbage, error);
}

static gboolean
announce_removal (Connection *connection, GantryRecord *record, GError **error)
{
  g_autoptr (GantryEvent) event = NULL;
  g_auto (GVariantBuilder) payload = G_VARIANT_BUILDER_INIT (G_VARIANT_TYPE_VARDICT);
  const char *topic;

  if (strcmp (record->kind, GANTRY_KIND_SNAPSHOT) == 0)
    {
      g_autofree char *snapshotter = g_strndup (record->id, strcspn (record->id, "/"));

      topic = "/snapshot/remove";
      g_variant_builder_add (&payload, "{sv}", "key", g_variant_new_string (strchr (record->id, '/') + 1));
      g_variant_builder_add (&payload, "{sv}", "snapshotter", g_variant_new_string (snapshotter));
    }
  else if (strcmp (record->kind, GANTRY_KIND_CONTENT) == 0)
    {
      topic = "/content/delete";
      g_variant_builder_add (&payload, "{sv}", "digest", g_variant_new_string (record->id));
    }
  else if (strcmp (record->kind, GANTRY_KIND_IMAGE) == 0)
    {
      topic = "/images/delete";
      g_variant_builder_add (&payload, "{sv}", "name", g_variant_new_string (record->id));
    }
  else if (strcmp (record->kind, GANTRY_KIND_MOUNT) == 0)
    {
      topic = "/mounts/delete";
      g_variant_builder_add (&payload, "{sv}", "name", g_variant_new_string (record->id));
    }
  else
    return TRUE;
  event = gantry_event_new (0, gantry_now_ns (), record->ns, topic, g_variant_builder_end (&payload));
  return connection_announce (connection, event, error);
}

/* Erases one record and remembers what its backend has to remove. */
static gboolean
erase_dead (Connection *connection, Collect *state, GantryRecord *record, GError **error)
{
  g_autoptr (GantryGarbage) garbage = garbage_of (record);

  if (!erase (connection, record, error)
      || (!state->dry_run && !announce_removal (connection, record, error)))
    return FALSE;
  /* A blob that another namespace has stays where it is. */
  if (garbage == NULL
      || (strcmp (garbage->kind, GANTRY_KIND_CONTENT) == 0 && content_elsewhere (connection, record->id)))
    return TRUE;
  g_ptr_array_add (state->garbage, gantry_garbage_ref (garbage));
  return state->dry_run || remember (connection, garbage, error);
}

/* The id of a snapshot whose parent is @id. *@ret_child: (transfer full) (nullable). */
static gboolean
find_child (Connection *connection, const char *ns, const char *id, char **ret_child, GError **error)
{
  sqlite3_stmt *stmt = connection_prepare (
      connection,
      "SELECT owner_id FROM edge WHERE ns=?1 AND to_kind='snapshot' AND to_id=?2"
      " AND owner_kind='snapshot' AND from_kind='snapshot' AND from_id=owner_id LIMIT 1",
      error);
  int code;

  if (stmt == NULL)
    return FALSE;
  bind_text (stmt, 1, ns);
  bind_text (stmt, 2, id);
  code = sqlite3_step (stmt);
  *ret_child = code == SQLITE_ROW ? g_strdup (column_text (stmt, 0)) : NULL;
  if (code != SQLITE_ROW && code != SQLITE_DONE)
    connection_throw (connection, "looking for children", error);
  sqlite3_reset (stmt);
  return code == SQLITE_ROW || code == SQLITE_DONE;
}

static gboolean
erase_snapshot (Connection *connection, Collect *state, const char *ns, const char *id, GError **error)
{
  g_autoptr (GantryRecord) record = records_read (connection, GANTRY_KIND_SNAPSHOT, ns, id, error);

  return record != NULL && erase_dead (connection, state, record, error);
}

/* A snapshot goes after those on top of it, which are dead, too: they hold it. */
static gboolean
erase_snapshots (Connection *connection, Collect *state, const char *ns, const char *id, GError **error)
{
  g_autoptr (GPtrArray) stack = g_ptr_array_new_with_free_func (g_free);

  g_ptr_array_add (stack, g_strdup (id));
  while (stack->len > 0)
    {
      const char *top = g_ptr_array_index (stack, stack->len - 1);
      char *child;

      if (!find_child (connection, ns, top, &child, error))
        return FALSE;
      if (child != NULL)
        g_ptr_array_add (stack, child);
      else if (erase_snapshot (connection, state, ns, top, error))
        g_ptr_array_set_size (stack, (gint)stack->len - 1);
      else
        return FALSE;
    }
  return TRUE;
}

static gboolean
judge (Connection *connection, Collect *state, Reach *reach, GHashTable *done, GantryRecord *candidate,
       GError **error)
{
  g_autofree char *key = g_strjoin (" ", candidate->ns, candidate->kind, candidate->id, NULL);
  g_autoptr (GantryRecord) record = NULL;
  gboolean live, flat;

  if (!reach_is_live (reach, candidate->ns, candidate->kind, candidate->id, &live, error))
    return FALSE;
  if (live || !g_hash_table_add (done, g_steal_pointer (&key)))
    return TRUE;
  if (!reach_is_held_flat (reach, candidate->ns, candidate->kind, candidate->id, &flat, error))
    return FALSE;
  record = records_read (connection, candidate->kind, candidate->ns, candidate->id, NULL);
  /* What stays, or never was, holds nothing either. */
  if (flat || record == NULL
      || (strcmp (record->kind, GANTRY_KIND_CONTENT) != 0 && strcmp (record->kind, GANTRY_KIND_SNAPSHOT) != 0
          && strcmp (record->kind, GANTRY_KIND_IMAGE) != 0 && strcmp (record->kind, GANTRY_KIND_MOUNT) != 0))
    return candidates_add_held (connection, candidate->ns, candidate->kind, candidate->id, error);
  if (strcmp (record->kind, GANTRY_KIND_SNAPSHOT) == 0)
    return erase_snapshots (connection, state, record->ns, record->id, error);
  return erase_dead (connection, state, record, error);
}

/* Up to PAGE rows of @sql (kind, ns, id) as records without labels and fields. */
static GPtrArray *
read_page (Connection *connection, const char *sql, GError **error)
{
  g_autoptr (GPtrArray) page = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_record_unref);
  sqlite3_stmt *stmt = connection_prepare (connection, sql, error);
  int code;

  if (stmt == NULL)
    return NULL;
  sqlite3_bind_int (stmt, 1, PAGE);
  if (sqlite3_bind_parameter_count (stmt) >= 2)
    sqlite3_bind_int64 (stmt, 2, g_get_real_time ());
  while ((code = sqlite3_step (stmt)) == SQLITE_ROW)
    g_ptr_array_add (page, gantry_record_new (column_text (stmt, 0), column_text (stmt, 1),
                                              column_text (stmt, 2), NULL, NULL));
  sqlite3_reset (stmt);
  if (code == SQLITE_DONE)
    return g_steal_pointer (&page);
  connection_throw (connection, "looking for garbage", error);
  return NULL;
}

static gboolean
run_on (Connection *connection, const char *sql, GantryRecord *record, GError **error)
{
  sqlite3_stmt *stmt = connection_prepare (connection, sql, error);

  if (stmt == NULL)
    return FALSE;
  bind_text (stmt, 1, record->kind);
  bind_text (stmt, 2, record->ns);
  bind_text (stmt, 3, record->id);
  return connection_run (connection, stmt, error);
}

/* Leases whose time has come go, and what they held is looked at; so is everything else whose time has come.
 */
static gboolean
expire (Connection *connection, GError **error)
{
  for (;;)
    {
      g_autoptr (GPtrArray) page
          = read_page (connection, "SELECT kind, ns, id FROM expiry WHERE due=0 AND time<=?2 LIMIT ?1",
                       error);

      if (page == NULL)
        return FALSE;
      for (guint i = 0; i < page->len; i++)
        {
          GantryRecord *record = g_ptr_array_index (page, i);

          if (!run_on (connection, "UPDATE expiry SET due=1 WHERE kind=?1 AND ns=?2 AND id=?3", record, error)
              || !(strcmp (record->kind, GANTRY_KIND_LEASE) == 0
                       ? erase (connection, record, error)
                       : candidates_add (connection, record->ns, record->kind, record->id, error)))
            return FALSE;
        }
      if (page->len < PAGE)
        return TRUE;
    }
}

/* Looks at candidates until there are none, or, unless @whole, until they are a batch. */
static gboolean
collect_batch (Connection *connection, Collect *state, gboolean whole, GError **error)
{
  g_autoptr (Reach) reach = reach_new (connection);
  g_autoptr (GHashTable) done = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);

  state->more = TRUE;
  for (guint n = 0; state->more && (whole || n < BATCH); n += PAGE)
    {
      g_autoptr (GPtrArray) page
          = read_page (connection, "SELECT kind, ns, id FROM candidate LIMIT ?1", error);

      if (page == NULL)
        return FALSE;
      for (guint i = 0; i < page->len; i++)
        {
          GantryRecord *candidate = g_ptr_array_index (page, i);

          if (!run_on (connection, "DELETE FROM candidate WHERE kind=?1 AND ns=?2 AND id=?3", candidate,
                       error)
              || !judge (connection, state, reach, done, candidate, error))
            return FALSE;
        }
      state->more = page->len > 0;
    }
  return TRUE;
}

static gboolean
collect (Connection *connection, gpointer data, GError **error)
{
  Collect *state = data;
  gboolean ok;

  if (!state->dry_run)
    return expire (connection, error) && collect_batch (connection, state, FALSE, error);
  /* The real thing, undone. */
  if (!connection_exec (connection, "SAVEPOINT dry_run", error))
    return FALSE;
  ok = expire (connection, error) && collect_batch (connection, state, TRUE, error);
  return connection_exec (connection, "ROLLBACK TO dry_run; RELEASE dry_run", ok ? error : NULL) && ok;
}

gboolean
garbage_collect (GantryMetadata *self, gboolean dry_run, GPtrArray **ret_garbage, GCancellable *cancellable,
                 GError **error)
{
  MetadataSqlite *instance = METADATA_SQLITE_FROM (self, metadata);
  g_autoptr (GPtrArray) garbage = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_garbage_unref);
  Collect state = { .dry_run = dry_run, .garbage = garbage, .more = TRUE };

  while (state.more)
    {
      /* What a batch that did not commit found is not garbage. */
      guint before = garbage->len;

      /* Synced before the backends remove anything: a blob must not go before its record. */
      if (!database_write (instance->database, !dry_run, collect, &state, cancellable, error))
        {
          g_ptr_array_set_size (garbage, (gint)before);
          return FALSE;
        }
    }
  *ret_garbage = g_steal_pointer (&garbage);
  return TRUE;
}

gboolean
garbage_pending (GantryMetadata *self, GPtrArray **ret_garbage, GCancellable *cancellable, GError **error)
{
  Database *database = METADATA_SQLITE_FROM (self, metadata)->database;
  g_autoptr (GPtrArray) garbage = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_garbage_unref);
  Connection *connection = database_borrow (database, error);
  sqlite3_stmt *stmt;
  int code = SQLITE_ERROR;

  if (connection == NULL)
    return FALSE;
  /* A blob that came back since it was condemned is not garbage any more. */
  stmt = connection_prepare (
      connection,
      "SELECT kind, backend, snapshotter, ns, id, bytes FROM garbage g WHERE NOT (kind='content' AND EXISTS"
      " (SELECT 1 FROM record r WHERE r.kind='content' AND r.id=g.backend)) ORDER BY position",
      error);
  if (stmt != NULL)
    {
      while ((code = sqlite3_step (stmt)) == SQLITE_ROW)
        {
          const char *snapshotter = column_text (stmt, 2);

          g_ptr_array_add (garbage, gantry_garbage_new (column_text (stmt, 0), column_text (stmt, 1),
                                                        snapshotter[0] != '\0' ? snapshotter : NULL,
                                                        column_text (stmt, 3), column_text (stmt, 4),
                                                        (guint64)sqlite3_column_int64 (stmt, 5)));
        }
      sqlite3_reset (stmt);
      if (code != SQLITE_DONE)
        connection_throw (connection, "reading pending garbage", error);
    }
  database_return (database, connection);
  if (code != SQLITE_DONE)
    return FALSE;
  *ret_garbage = g_steal_pointer (&garbage);
  return TRUE;
}

static gboolean
forget (Connection *connection, gpointer data, GError **error)
{
  GPtrArray *garbage = data;

  for (guint i = 0; i < garbage->len; i++)
    {
      GantryGarbage *item = g_ptr_array_index (garbage, i);
      sqlite3_stmt *stmt
          = connection_prepare (connection,
                                "DELETE FROM garbage WHERE kind=? AND snapshotter=? AND backend=?", error);

      if (stmt == NULL)
        return FALSE;
      bind_text (stmt, 1, item->kind);
      bind_text (stmt, 2, item->snapshotter != NULL ? item->snapshotter : "");
      bind_text (stmt, 3, item->backend);
      if (!connection_run (connection, stmt, error))
        return FALSE;
    }
  return TRUE;
}

gboolean
garbage_collected (GantryMetadata *self, GPtrArray *garbage, GCancellable *cancellable, GError **error)
{
  return database_write (METADATA_SQLITE_FROM (self, metadata)->database, FALSE, forget, garbage, cancellable,
                         error);
}

gboolean
garbage_why (GantryMetadata *self, const char *kind, const char *ns, const char *id, char ***ret_path,
             GCancellable *cancellable, GError **error)
{
  Database *database = METADATA_SQLITE_FROM (self, metadata)->database;
  g_autoptr (GPtrArray) lines = g_ptr_array_new_with_free_func (g_free);
  Connection *connection = database_borrow (database, error);
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (Reach) reach = NULL;
  gboolean ok;

  if (connection == NULL)
    return FALSE;
  record = records_read (connection, kind, ns, id, error);
  if (record != NULL)
    reach = reach_new (connection);
  ok = reach != NULL && reach_explain (reach, ns, kind, id, lines, error);
  database_return (database, connection);
  if (!ok)
    return FALSE;
  g_ptr_array_add (lines, NULL);
  *ret_path = (char **)g_ptr_array_free (g_steal_pointer (&lines), FALSE);
  return TRUE;
}
