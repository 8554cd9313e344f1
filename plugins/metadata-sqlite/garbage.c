/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Garbage collection: marks from the roots along the edges, removes the content, snapshot and expired lease records that were not
 * reached, and remembers what the backends still have to remove. */
#include "metadata-sqlite.h"

#include <string.h>

#define MAX_PATH_STEPS 64

/* ?1: now, as RFC 3339 in UTC, compared as text: all who write gc.expire write it in UTC or are a few hours off. */
#define LIVE_LEASES                                                                                   \
  " lease AS (SELECT r.ns, r.id, EXISTS (SELECT 1 FROM label f WHERE f.kind='lease' AND f.ns=r.ns AND f.id=r.id" \
  " AND f.key='containerd.io/gc.flat') AS flat FROM record r WHERE r.kind='lease'"                    \
  " AND NOT EXISTS (SELECT 1 FROM label l WHERE l.kind='lease' AND l.ns=r.ns AND l.id=r.id"           \
  " AND l.key='containerd.io/gc.expire' AND julianday(l.value)<=julianday(?1)))"

#define ROOTS                                                                                              \
  " root (ns, kind, id) AS (SELECT ns, kind, id FROM record WHERE kind IN ('container', 'sandbox')"        \
  " UNION SELECT ns, kind, id FROM record r WHERE kind='image' AND NOT EXISTS (SELECT 1 FROM label l"      \
  " WHERE l.kind='image' AND l.ns=r.ns AND l.id=r.id AND l.key='containerd.io/gc.expire'"                  \
  " AND julianday(l.value)<=julianday(?1))"                                                                \
  " UNION SELECT i.ns, i.kind, i.id FROM lease_item i JOIN lease ON lease.ns=i.ns AND lease.id=i.lease WHERE NOT lease.flat" \
  " UNION SELECT ns, kind, id FROM label WHERE key='containerd.io/gc.root' AND kind IN ('content', 'snapshot')"              \
  " UNION SELECT ns, kind, id FROM label WHERE key='containerd.io/gc.expire' AND kind IN ('content', 'snapshot')"            \
  " AND julianday(value)>julianday(?1))"

#define REACHED                                                                                            \
  " reached (ns, kind, id) AS (SELECT ns, kind, id FROM root UNION SELECT e.ns, e.to_kind, e.to_id"        \
  " FROM reached r JOIN edge e ON e.ns=r.ns AND e.from_kind=r.kind AND e.from_id=r.id)"

#define DEAD                                                                                               \
  "WITH RECURSIVE" LIVE_LEASES "," ROOTS "," REACHED                                                       \
  " SELECT d.kind, d.ns, d.id, d.labels, d.fields FROM record d WHERE d.kind IN ('content', 'snapshot', 'lease', 'image')" \
  " AND CASE d.kind WHEN 'lease' THEN NOT EXISTS (SELECT 1 FROM lease WHERE lease.ns=d.ns AND lease.id=d.id)"             \
  " WHEN 'image' THEN NOT EXISTS (SELECT 1 FROM root WHERE root.ns=d.ns AND root.kind='image' AND root.id=d.id)"           \
  " AND NOT EXISTS (SELECT 1 FROM reached x WHERE x.ns=d.ns AND x.kind='image' AND x.id=d.id)"                            \
  " ELSE NOT EXISTS (SELECT 1 FROM reached x WHERE x.ns=d.ns AND x.kind=d.kind AND x.id=d.id)"                            \
  " AND NOT EXISTS (SELECT 1 FROM lease_item i JOIN lease ON lease.ns=i.ns AND lease.id=i.lease"                          \
  " WHERE lease.flat AND i.ns=d.ns AND i.kind=d.kind AND i.id=d.id) END"

typedef struct {
  MetadataSqlite *self;
  gboolean dry_run;
  GPtrArray *garbage;
} Collect;

static char *
now_text (void)
{
  g_autoptr (GDateTime) now = g_date_time_new_now_utc ();

  return g_date_time_format (now, "%Y-%m-%dT%H:%M:%SZ");
}

static gboolean
find_dead (Connection *connection, GPtrArray *dead, GError **error)
{
  sqlite3_stmt *stmt = connection_prepare (connection, DEAD, error);
  g_autofree char *now = now_text ();
  int code;

  if (stmt == NULL)
    return FALSE;
  bind_text (stmt, 1, now);
  while ((code = sqlite3_step (stmt)) == SQLITE_ROW)
    {
      g_autoptr (GVariant) labels = column_variant (stmt, 3, G_VARIANT_TYPE ("a{ss}"));
      g_autoptr (GVariant) fields = column_variant (stmt, 4, G_VARIANT_TYPE_VARDICT);

      g_ptr_array_add (dead, gantry_record_new (column_text (stmt, 0), column_text (stmt, 1), column_text (stmt, 2), labels,
                                                fields));
    }
  sqlite3_reset (stmt);
  return code == SQLITE_DONE || connection_throw (connection, "looking for garbage", error);
}

static gboolean
content_elsewhere (Connection *connection, const char *digest)
{
  sqlite3_stmt *stmt = connection_prepare (connection, "SELECT 1 FROM record WHERE kind='content' AND id=? LIMIT 1", NULL);
  gboolean found;

  if (stmt == NULL)
    return TRUE;
  bind_text (stmt, 1, digest);
  found = sqlite3_step (stmt) == SQLITE_ROW;
  sqlite3_reset (stmt);
  return found;
}

static gboolean
erase (Connection *connection, GantryRecord *record, GError **error)
{
  static const char *const statements[] = {
    "DELETE FROM record WHERE kind=?1 AND ns=?2 AND id=?3",
    "DELETE FROM label WHERE kind=?1 AND ns=?2 AND id=?3",
    "DELETE FROM edge WHERE owner_kind=?1 AND ns=?2 AND owner_id=?3",
    "DELETE FROM lease_item WHERE ?1='lease' AND ns=?2 AND lease=?3",
    "DELETE FROM lease_item WHERE kind=?1 AND ns=?2 AND id=?3",
  };

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

      return gantry_garbage_new (record->kind, backend != NULL ? backend : "", snapshotter, record->ns, record->id, 0);
    }
  if (strcmp (record->kind, GANTRY_KIND_CONTENT) == 0)
    {
      g_autoptr (GVariant) size = gantry_record_get_field (record, "size", G_VARIANT_TYPE_UINT64);

      return gantry_garbage_new (record->kind, record->id, NULL, record->ns, record->id,
                                 size != NULL ? g_variant_get_uint64 (size) : 0);
    }
  return NULL;
}

static gboolean
remember (Connection *connection, GantryGarbage *garbage, guint position, GError **error)
{
  sqlite3_stmt *stmt = connection_prepare (connection,
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
  sqlite3_bind_int64 (stmt, 6, (sqlite3_int64) garbage->bytes);
  sqlite3_bind_int64 (stmt, 7, position);
  return connection_run (connection, stmt, error);
}

gboolean
garbage_remember_record (Connection *connection, GantryRecord *record, GError **error)
{
  g_autoptr (GantryGarbage) garbage = garbage_of (record);

  if (garbage == NULL || (garbage->snapshotter == NULL && content_elsewhere (connection, record->id)))
    return TRUE;
  return remember (connection, garbage, 0, error);
}

/* Children first: a snapshot goes after all dead ones that name it as their parent. */
static void
sort_children_first (GPtrArray *dead)
{
  g_autoptr (GHashTable) by_id = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  g_autoptr (GPtrArray) sorted = g_ptr_array_new ();
  g_autoptr (GHashTable) placed = g_hash_table_new (NULL, NULL);

  for (guint i = 0; i < dead->len; i++)
    {
      GantryRecord *record = g_ptr_array_index (dead, i);

      if (strcmp (record->kind, GANTRY_KIND_SNAPSHOT) == 0)
        g_hash_table_insert (by_id, g_strconcat (record->ns, "/", record->id, NULL), record);
    }
  for (guint i = 0; i < dead->len; i++)
    {
      g_autoptr (GPtrArray) chain = g_ptr_array_new ();
      GantryRecord *record = g_ptr_array_index (dead, i);

      while (record != NULL && g_hash_table_add (placed, record))
        {
          const char *parent = gantry_record_get_string (record, "parent");
          g_autofree char *id = NULL;

          g_ptr_array_add (chain, record);
          if (strcmp (record->kind, GANTRY_KIND_SNAPSHOT) != 0 || parent == NULL)
            break;
          id = g_strdup_printf ("%s/%.*s/%s", record->ns, (int) strcspn (record->id, "/"), record->id, parent);
          record = g_hash_table_lookup (by_id, id);
        }
      /* Parents first here; the whole is turned round below. */
      while (chain->len > 0)
        g_ptr_array_add (sorted, g_ptr_array_steal_index (chain, chain->len - 1));
    }
  for (guint i = 0; i < dead->len; i++)
    dead->pdata[i] = sorted->pdata[sorted->len - 1 - i];
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
  else
    return TRUE;
  event = gantry_event_new (0, gantry_now_ns (), record->ns, topic, g_variant_builder_end (&payload));
  return connection_announce (connection, event, error);
}

static gboolean
collect (Connection *connection, gpointer data, GError **error)
{
  Collect *state = data;
  g_autoptr (GPtrArray) dead = g_ptr_array_new_with_free_func ((GDestroyNotify) gantry_record_unref);

  if (!find_dead (connection, dead, error))
    return FALSE;
  sort_children_first (dead);
  if (!state->dry_run)
    for (guint i = 0; i < dead->len; i++)
      if (!erase (connection, g_ptr_array_index (dead, i), error)
          || !announce_removal (connection, g_ptr_array_index (dead, i), error))
        return FALSE;
  for (guint i = 0; i < dead->len; i++)
    {
      GantryRecord *record = g_ptr_array_index (dead, i);
      GantryGarbage *garbage = garbage_of (record);

      if (garbage == NULL)
        continue;
      g_ptr_array_add (state->garbage, garbage);
      if (!state->dry_run && !(garbage->snapshotter == NULL && content_elsewhere (connection, record->id))
          && !remember (connection, garbage, i, error))
        return FALSE;
    }
  return TRUE;
}

gboolean
garbage_collect (GantryMetadata *self, gboolean dry_run, GPtrArray **ret_garbage, GCancellable *cancellable, GError **error)
{
  MetadataSqlite *instance = METADATA_SQLITE_FROM (self, metadata);
  g_autoptr (GPtrArray) garbage = g_ptr_array_new_with_free_func ((GDestroyNotify) gantry_garbage_unref);
  Collect state = { instance, dry_run, garbage };

  /* Synced before the backends remove anything: a blob must not go before its record. */
  if (!database_write (instance->database, !dry_run, collect, &state, cancellable, error))
    return FALSE;
  *ret_garbage = g_steal_pointer (&garbage);
  return TRUE;
}

gboolean
garbage_pending (GantryMetadata *self, GPtrArray **ret_garbage, GCancellable *cancellable, GError **error)
{
  Database *database = METADATA_SQLITE_FROM (self, metadata)->database;
  g_autoptr (GPtrArray) garbage = g_ptr_array_new_with_free_func ((GDestroyNotify) gantry_garbage_unref);
  Connection *connection = database_borrow (database, error);
  sqlite3_stmt *stmt;
  int code = SQLITE_ERROR;

  if (connection == NULL)
    return FALSE;
  /* A blob that came back since it was condemned is not garbage any more. */
  stmt = connection_prepare (connection,
                             "SELECT kind, backend, snapshotter, ns, id, bytes FROM garbage g WHERE NOT (kind='content' AND EXISTS"
                             " (SELECT 1 FROM record r WHERE r.kind='content' AND r.id=g.backend)) ORDER BY position",
                             error);
  if (stmt != NULL)
    {
      while ((code = sqlite3_step (stmt)) == SQLITE_ROW)
        {
          const char *snapshotter = column_text (stmt, 2);

          g_ptr_array_add (garbage, gantry_garbage_new (column_text (stmt, 0), column_text (stmt, 1),
                                                        snapshotter[0] != '\0' ? snapshotter : NULL, column_text (stmt, 3),
                                                        column_text (stmt, 4), (guint64) sqlite3_column_int64 (stmt, 5)));
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
          = connection_prepare (connection, "DELETE FROM garbage WHERE kind=? AND snapshotter=? AND backend=?", error);

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
  return database_write (METADATA_SQLITE_FROM (self, metadata)->database, FALSE, forget, garbage, cancellable, error);
}

/* Whether (kind, id) is a root, and why. */
static char *
root_reason (Connection *connection, const char *ns, const char *kind, const char *id)
{
  sqlite3_stmt *stmt;
  char *reason = NULL;

  if (strcmp (kind, GANTRY_KIND_CONTAINER) == 0 || strcmp (kind, GANTRY_KIND_SANDBOX) == 0
      || strcmp (kind, GANTRY_KIND_IMAGE) == 0)
    return g_strdup_printf ("%s %s (root)", kind, id);
  stmt = connection_prepare (connection,
                             "SELECT 'lease ' || lease FROM lease_item WHERE ns=?1 AND kind=?2 AND id=?3"
                             " UNION ALL SELECT 'label ' || key FROM label WHERE ns=?1 AND kind=?2 AND id=?3"
                             " AND key IN ('containerd.io/gc.root', 'containerd.io/gc.expire') LIMIT 1",
                             NULL);
  if (stmt == NULL)
    return NULL;
  bind_text (stmt, 1, ns);
  bind_text (stmt, 2, kind);
  bind_text (stmt, 3, id);
  if (sqlite3_step (stmt) == SQLITE_ROW)
    reason = g_strdup_printf ("%s (root)", column_text (stmt, 0));
  sqlite3_reset (stmt);
  return reason;
}

/* Walks upward, breadth first, until a root; @lines gets the path, root first. */
static gboolean
find_path (Connection *connection, const char *ns, const char *kind, const char *id, GPtrArray *lines, GError **error)
{
  g_autoptr (GPtrArray) queue = g_ptr_array_new_with_free_func ((GDestroyNotify) gantry_record_unref);
  g_autoptr (GArray) came_from = g_array_new (FALSE, FALSE, sizeof (guint));
  g_autoptr (GHashTable) seen = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  guint none = G_MAXUINT;

  g_ptr_array_add (queue, gantry_record_new (kind, ns, id, NULL, NULL));
  g_array_append_val (came_from, none);
  for (guint i = 0; i < queue->len; i++)
    {
      GantryRecord *record = g_ptr_array_index (queue, i);
      g_autofree char *reason = root_reason (connection, ns, record->kind, record->id);
      sqlite3_stmt *stmt;

      if (reason != NULL)
        {
          g_ptr_array_add (lines, g_steal_pointer (&reason));
          for (guint at = i, steps = 0; at != G_MAXUINT && steps < MAX_PATH_STEPS; at = g_array_index (came_from, guint, at), steps++)
            {
              GantryRecord *step = g_ptr_array_index (queue, at);

              g_ptr_array_add (lines, g_strdup_printf ("%s %s", step->kind, step->id));
            }
          return TRUE;
        }
      stmt = connection_prepare (connection, "SELECT from_kind, from_id FROM edge WHERE ns=? AND to_kind=? AND to_id=?", error);
      if (stmt == NULL)
        return FALSE;
      bind_text (stmt, 1, ns);
      bind_text (stmt, 2, record->kind);
      bind_text (stmt, 3, record->id);
      while (sqlite3_step (stmt) == SQLITE_ROW)
        {
          char *key = g_strconcat (column_text (stmt, 0), " ", column_text (stmt, 1), NULL);

          if (!g_hash_table_add (seen, key))
            continue;
          g_ptr_array_add (queue, gantry_record_new (column_text (stmt, 0), ns, column_text (stmt, 1), NULL, NULL));
          g_array_append_val (came_from, i);
        }
      sqlite3_reset (stmt);
    }
  return TRUE;
}

gboolean
garbage_why (GantryMetadata *self, const char *kind, const char *ns, const char *id, char ***ret_path,
             GCancellable *cancellable, GError **error)
{
  Database *database = METADATA_SQLITE_FROM (self, metadata)->database;
  g_autoptr (GPtrArray) lines = g_ptr_array_new_with_free_func (g_free);
  Connection *connection = database_borrow (database, error);
  g_autoptr (GantryRecord) record = NULL;
  gboolean ok;

  if (connection == NULL)
    return FALSE;
  record = records_read (connection, kind, ns, id, error);
  ok = record != NULL && find_path (connection, ns, kind, id, lines, error);
  database_return (database, connection);
  if (!ok)
    return FALSE;
  g_ptr_array_add (lines, NULL);
  *ret_path = (char **) g_ptr_array_free (g_steal_pointer (&lines), FALSE);
  return TRUE;
}

gboolean
garbage_verify (GantryMetadata *self, char ***ret_problems, GCancellable *cancellable, GError **error)
{
  static const char *const queries[] = {
    "SELECT 'database: ' || integrity_check FROM pragma_integrity_check WHERE integrity_check <> 'ok'",
    "SELECT 'label without a record: ' || kind || ' ' || id FROM label l WHERE NOT EXISTS (SELECT 1 FROM record r"
    " WHERE r.kind=l.kind AND r.ns=l.ns AND r.id=l.id)",
    "SELECT 'edge without its owner: ' || owner_kind || ' ' || owner_id FROM edge e WHERE NOT EXISTS (SELECT 1 FROM record r"
    " WHERE r.kind=e.owner_kind AND r.ns=e.ns AND r.id=e.owner_id)",
    "SELECT 'image ' || r.id || ' names content ' || e.to_id || ' that namespace ' || r.ns || ' does not have' FROM record r"
    " JOIN edge e ON e.ns=r.ns AND e.from_kind='image' AND e.from_id=r.id AND e.to_kind='content'"
    " WHERE r.kind='image' AND NOT EXISTS (SELECT 1 FROM record c WHERE c.kind='content' AND c.ns=r.ns AND c.id=e.to_id)",
    "SELECT 'container ' || r.id || ' names snapshot ' || e.to_id || ' that does not exist' FROM record r"
    " JOIN edge e ON e.ns=r.ns AND e.from_kind='container' AND e.from_id=r.id AND e.to_kind='snapshot'"
    " WHERE r.kind='container' AND NOT EXISTS (SELECT 1 FROM record c WHERE c.kind='snapshot' AND c.ns=r.ns AND c.id=e.to_id)",
    "SELECT 'snapshot ' || s.snapshotter || '/' || s.key || ' has no parent ' || s.parent FROM snapshot s"
    " WHERE s.parent IS NOT NULL AND NOT EXISTS (SELECT 1 FROM snapshot p WHERE p.snapshotter=s.snapshotter AND p.key=s.parent)",
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
  *ret_problems = (char **) g_ptr_array_free (g_steal_pointer (&problems), FALSE);
  return TRUE;
}
