/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "reach.h"

#include <string.h>

#define MAX_PATH_STEPS 64

/* Of a lease "i.lease" in the statements below. ?4: now. */
#define LEASE_LIVES                                                                                          \
  "EXISTS (SELECT 1 FROM record l WHERE l.kind='lease' AND l.ns=i.ns AND l.id=i.lease)"                      \
  " AND NOT EXISTS (SELECT 1 FROM expiry e WHERE e.kind='lease' AND e.ns=i.ns AND e.id=i.lease AND "         \
  "e.time<=?4)"
#define LEASE_IS_FLAT                                                                                        \
  "EXISTS (SELECT 1 FROM label f WHERE f.kind='lease' AND f.ns=i.ns AND f.id=i.lease AND "                   \
  "f.key='containerd.io/gc.flat')"

/* Why (?1 ns, ?2 kind, ?3 id) is a root; no row: it is none. */
#define ROOT_REASON                                                                                          \
  "SELECT ?2 || ' ' || ?3 WHERE ?2 IN ('container', 'sandbox')"                                              \
  " AND EXISTS (SELECT 1 FROM record WHERE kind=?2 AND ns=?1 AND id=?3)"                                     \
  " UNION ALL SELECT 'image ' || ?3 WHERE ?2='image' AND EXISTS (SELECT 1 FROM record WHERE kind='image' "   \
  "AND ns=?1 AND id=?3)"                                                                                     \
  " AND NOT EXISTS (SELECT 1 FROM expiry WHERE kind='image' AND ns=?1 AND id=?3 AND time<=?4)"               \
  " UNION ALL SELECT 'lease ' || i.lease FROM lease_item i WHERE i.ns=?1 AND i.kind=?2 AND i.id=?3 "         \
  "AND " LEASE_LIVES " AND NOT " LEASE_IS_FLAT " UNION ALL SELECT 'label ' || key FROM label WHERE ?2 IN "   \
  "('content', 'snapshot', 'mount') AND kind=?2 AND ns=?1 AND id=?3"                                         \
  " AND key='containerd.io/gc.root'"                                                                         \
  " UNION ALL SELECT 'label containerd.io/gc.expire' FROM expiry WHERE ?2 IN ('content', 'snapshot', "       \
  "'mount') AND kind=?2 AND ns=?1"                                                                           \
  " AND id=?3 AND time>?4 LIMIT 1"

#define FLAT_HOLD                                                                                            \
  "SELECT i.lease FROM lease_item i WHERE i.ns=?1 AND i.kind=?2 AND i.id=?3 AND " LEASE_LIVES                \
  " AND " LEASE_IS_FLAT " LIMIT 1"

/* Any snapshot that holds another one is taken as its child: a label that says so may keep too much, never
 * too little. */
#define CHILDREN                                                                                             \
  "SELECT from_kind, from_id FROM edge WHERE ns=?1 AND to_kind=?2 AND to_id=?3 AND from_kind='snapshot'"
#define HOLDERS "SELECT from_kind, from_id FROM edge WHERE ns=?1 AND to_kind=?2 AND to_id=?3"

typedef enum
{
  UNKNOWN = 0,
  DEAD,
  LIVE
} Verdict;

struct _Reach
{
  Connection *connection;
  gint64 now;
  GHashTable *verdicts; /* node key -> Verdict */
};

typedef struct
{
  char *kind;
  char *id;
  char *key;
  guint from; /* the index of the node it was reached from; G_MAXUINT: the start */
} Node;

static void
node_free (gpointer data)
{
  Node *node = data;

  g_free (node->kind);
  g_free (node->id);
  g_free (node->key);
  g_free (node);
}

static Node *
node_new (const char *ns, const char *kind, const char *id, guint from)
{
  Node *node = g_new (Node, 1);

  node->kind = g_strdup (kind);
  node->id = g_strdup (id);
  node->key = g_strconcat (ns, " ", kind, " ", id, NULL);
  node->from = from;
  return node;
}

Reach *
reach_new (Connection *connection)
{
  Reach *self = g_new0 (Reach, 1);

  self->connection = connection;
  self->now = g_get_real_time ();
  self->verdicts = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  return self;
}

void
reach_free (Reach *self)
{
  if (self == NULL)
    return;
  g_hash_table_unref (self->verdicts);
  g_free (self);
}

static sqlite3_stmt *
prepare (Reach *self, const char *sql, const char *ns, const char *kind, const char *id, GError **error)
{
  sqlite3_stmt *stmt = connection_prepare (self->connection, sql, error);

  if (stmt == NULL)
    return NULL;
  bind_text (stmt, 1, ns);
  bind_text (stmt, 2, kind);
  bind_text (stmt, 3, id);
  if (sqlite3_bind_parameter_count (stmt) >= 4)
    sqlite3_bind_int64 (stmt, 4, self->now);
  return stmt;
}

/* The first column of the first row of @sql. *@ret_text: (transfer full) (nullable): there is no row. */
static gboolean
look_up (Reach *self, const char *sql, const char *ns, const char *kind, const char *id, char **ret_text,
         GError **error)
{
  sqlite3_stmt *stmt = prepare (self, sql, ns, kind, id, error);
  int code;

  if (stmt == NULL)
    return FALSE;
  code = sqlite3_step (stmt);
  *ret_text = code == SQLITE_ROW ? g_strdup (column_text (stmt, 0)) : NULL;
  if (code != SQLITE_ROW && code != SQLITE_DONE)
    connection_throw (self->connection, "looking for roots", error);
  sqlite3_reset (stmt);
  return code == SQLITE_ROW || code == SQLITE_DONE;
}

/* Appends to @queue what @sql finds for node @at and what is not in @seen yet. */
static gboolean
follow (Reach *self, const char *sql, const char *ns, GPtrArray *queue, guint at, GHashTable *seen,
        GError **error)
{
  Node *node = g_ptr_array_index (queue, at);
  sqlite3_stmt *stmt = prepare (self, sql, ns, node->kind, node->id, error);
  int code;

  if (stmt == NULL)
    return FALSE;
  while ((code = sqlite3_step (stmt)) == SQLITE_ROW)
    {
      Node *next = node_new (ns, column_text (stmt, 0), column_text (stmt, 1), at);

      if (g_hash_table_contains (seen, next->key))
        node_free (next);
      else
        {
          g_hash_table_add (seen, next->key);
          g_ptr_array_add (queue, next);
        }
    }
  if (code != SQLITE_DONE)
    connection_throw (self->connection, "looking for holders", error);
  sqlite3_reset (stmt);
  return code == SQLITE_DONE;
}

/* Walks up from the thing, breadth first. *@ret_found: the index in @queue of a root or of what is known to
 * be live; -1: none.
 * *@ret_reason: (nullable) (optional): the root's, if it is one. */
static gboolean
walk_up (Reach *self, const char *ns, const char *kind, const char *id, GPtrArray *queue, int *ret_found,
         char **ret_reason, GError **error)
{
  g_autoptr (GHashTable) seen = g_hash_table_new (g_str_hash, g_str_equal);

  g_ptr_array_add (queue, node_new (ns, kind, id, G_MAXUINT));
  g_hash_table_add (seen, ((Node *)g_ptr_array_index (queue, 0))->key);
  *ret_found = -1;
  for (guint i = 0; i < queue->len; i++)
    {
      Node *node = g_ptr_array_index (queue, i);
      Verdict known = GPOINTER_TO_INT (g_hash_table_lookup (self->verdicts, node->key));
      g_autofree char *reason = NULL;

      if (known == DEAD)
        continue;
      if (known != LIVE && !look_up (self, ROOT_REASON, ns, node->kind, node->id, &reason, error))
        return FALSE;
      if (known == LIVE || reason != NULL)
        {
          *ret_found = (int)i;
          if (ret_reason != NULL)
            *ret_reason = g_steal_pointer (&reason);
          return TRUE;
        }
      if (!follow (self, HOLDERS, ns, queue, i, seen, error))
        return FALSE;
    }
  return TRUE;
}

static void
note (Reach *self, Node *node, Verdict verdict)
{
  g_hash_table_insert (self->verdicts, g_strdup (node->key), GINT_TO_POINTER (verdict));
}

gboolean
reach_is_live (Reach *self, const char *ns, const char *kind, const char *id, gboolean *ret_live,
               GError **error)
{
  g_autoptr (GPtrArray) queue = g_ptr_array_new_with_free_func (node_free);
  int found;

  if (!walk_up (self, ns, kind, id, queue, &found, NULL, error))
    return FALSE;
  *ret_live = found >= 0;
  if (found < 0)
    {
      /* All holders of all of them were seen, and none is a root. */
      for (guint i = 0; i < queue->len; i++)
        note (self, g_ptr_array_index (queue, i), DEAD);
      return TRUE;
    }
  for (guint at = (guint)found; at != G_MAXUINT; at = ((Node *)g_ptr_array_index (queue, at))->from)
    note (self, g_ptr_array_index (queue, at), LIVE);
  return TRUE;
}

gboolean
reach_is_held_flat (Reach *self, const char *ns, const char *kind, const char *id, gboolean *ret_held,
                    GError **error)
{
  g_autoptr (GPtrArray) queue = g_ptr_array_new_with_free_func (node_free);
  g_autoptr (GHashTable) seen = g_hash_table_new (g_str_hash, g_str_equal);

  g_ptr_array_add (queue, node_new (ns, kind, id, G_MAXUINT));
  g_hash_table_add (seen, ((Node *)g_ptr_array_index (queue, 0))->key);
  *ret_held = FALSE;
  for (guint i = 0; i < queue->len && !*ret_held; i++)
    {
      Node *node = g_ptr_array_index (queue, i);
      g_autofree char *lease = NULL;

      if (!look_up (self, FLAT_HOLD, ns, node->kind, node->id, &lease, error)
          || (strcmp (node->kind, GANTRY_KIND_SNAPSHOT) == 0
              && !follow (self, CHILDREN, ns, queue, i, seen, error)))
        return FALSE;
      *ret_held = lease != NULL;
    }
  return TRUE;
}

gboolean
reach_explain (Reach *self, const char *ns, const char *kind, const char *id, GPtrArray *lines,
               GError **error)
{
  g_autoptr (GPtrArray) queue = g_ptr_array_new_with_free_func (node_free);
  g_autofree char *reason = NULL;
  guint steps = 0;
  int found;

  if (!walk_up (self, ns, kind, id, queue, &found, &reason, error))
    return FALSE;
  if (found < 0)
    {
      if (!look_up (self, FLAT_HOLD, ns, kind, id, &reason, error))
        return FALSE;
      if (reason != NULL)
        {
          g_ptr_array_add (lines, g_strdup_printf ("lease %s (root, flat)", reason));
          g_ptr_array_add (lines, g_strdup_printf ("%s %s", kind, id));
        }
      return TRUE;
    }
  g_ptr_array_add (lines, g_strdup_printf ("%s (root)", reason != NULL ? reason : "something live"));
  for (guint at = (guint)found; at != G_MAXUINT && steps++ < MAX_PATH_STEPS;
       at = ((Node *)g_ptr_array_index (queue, at))->from)
    {
      Node *node = g_ptr_array_index (queue, at);

      g_ptr_array_add (lines, g_strdup_printf ("%s %s", node->kind, node->id));
    }
  return TRUE;
}
