/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Who holds whom. The edges of a record are derived from its labels and fields whenever it is written, so
 * that garbage collection need not read records. Label names: containerd docs/garbage-collection.md. */
#include "metadata-sqlite.h"

#include <string.h>

#define REF_CONTENT    "containerd.io/gc.ref.content"
#define REF_SNAPSHOT   "containerd.io/gc.ref.snapshot."
#define REF_IMAGE      "containerd.io/gc.ref.image"
#define REF_MOUNT      "containerd.io/gc.ref.mount"
#define BREF_CONTENT   "containerd.io/gc.bref.content"
#define BREF_IMAGE     "containerd.io/gc.bref.image"
#define BREF_CONTAINER "containerd.io/gc.bref.container"
#define BREF_SNAPSHOT  "containerd.io/gc.bref.snapshot."

typedef struct
{
  Connection *connection;
  GantryRecord *owner;
} Edges;

static gboolean
add_edge (Edges *edges, const char *from_kind, const char *from_id, const char *to_kind, const char *to_id,
          GError **error)
{
  sqlite3_stmt *stmt
      = connection_prepare (edges->connection,
                            "INSERT OR IGNORE INTO edge (ns, from_kind, from_id, to_kind, to_id, owner_kind,"
                            " owner_id) VALUES (?, ?, ?, ?, ?, ?, ?)",
                            error);

  if (stmt == NULL)
    return FALSE;
  bind_text (stmt, 1, edges->owner->ns);
  bind_text (stmt, 2, from_kind);
  bind_text (stmt, 3, from_id);
  bind_text (stmt, 4, to_kind);
  bind_text (stmt, 5, to_id);
  bind_text (stmt, 6, edges->owner->kind);
  bind_text (stmt, 7, edges->owner->id);
  return connection_run (edges->connection, stmt, error);
}

static gboolean
add_reference (Edges *edges, const char *to_kind, const char *to_id, GError **error)
{
  return add_edge (edges, edges->owner->kind, edges->owner->id, to_kind, to_id, error);
}

static gboolean
add_back_reference (Edges *edges, const char *from_kind, const char *from_id, GError **error)
{
  return add_edge (edges, from_kind, from_id, edges->owner->kind, edges->owner->id, error);
}

/* Whether @key is @name alone, or @name with a "." or "/" and more behind it. */
static gboolean
key_is (const char *key, const char *name)
{
  gsize length = strlen (name);

  return strncmp (key, name, length) == 0
         && (key[length] == '\0' || key[length] == '.' || key[length] == '/');
}

/* The record id of the snapshot @name of the snapshotter that a label names: "overlayfs[/x]" is our
 * "overlay". */
static char *
snapshot_id (const char *snapshotter, const char *name)
{
  g_autofree char *id = g_strndup (snapshotter, strcspn (snapshotter, "/"));

  return g_strconcat (strcmp (id, "overlayfs") == 0 ? "overlay" : id, "/", name, NULL);
}

static gboolean
label_edges (Edges *edges, const char *key, const char *value, GError **error)
{
  g_autofree char *id = NULL;

  if (key_is (key, REF_CONTENT))
    return add_reference (edges, GANTRY_KIND_CONTENT, value, error);
  if (key_is (key, REF_IMAGE))
    return add_reference (edges, GANTRY_KIND_IMAGE, value, error);
  if (key_is (key, REF_MOUNT))
    return add_reference (edges, GANTRY_KIND_MOUNT, value, error);
  if (key_is (key, BREF_CONTENT))
    return add_back_reference (edges, GANTRY_KIND_CONTENT, value, error);
  if (key_is (key, BREF_IMAGE))
    return add_back_reference (edges, GANTRY_KIND_IMAGE, value, error);
  if (key_is (key, BREF_CONTAINER))
    return add_back_reference (edges, GANTRY_KIND_CONTAINER, value, error);
  if (g_str_has_prefix (key, REF_SNAPSHOT))
    {
      id = snapshot_id (key + strlen (REF_SNAPSHOT), value);
      return add_reference (edges, GANTRY_KIND_SNAPSHOT, id, error);
    }
  if (g_str_has_prefix (key, BREF_SNAPSHOT))
    {
      id = snapshot_id (key + strlen (BREF_SNAPSHOT), value);
      return add_back_reference (edges, GANTRY_KIND_SNAPSHOT, id, error);
    }
  return TRUE;
}

static gboolean
field_edges (Edges *edges, GantryRecord *record, GError **error)
{
  g_autofree char *id = NULL;

  if (strcmp (record->kind, GANTRY_KIND_IMAGE) == 0)
    {
      g_autoptr (GantryDescriptor) target = gantry_record_get_target (record);

      return target == NULL || add_reference (edges, GANTRY_KIND_CONTENT, target->digest, error);
    }
  if (strcmp (record->kind, GANTRY_KIND_CONTAINER) == 0)
    {
      const char *snapshotter = gantry_record_get_string (record, "snapshotter");
      const char *key = gantry_record_get_string (record, "snapshot-key");

      if (snapshotter == NULL || key == NULL || key[0] == '\0')
        return TRUE;
      id = snapshot_id (snapshotter, key);
      return add_reference (edges, GANTRY_KIND_SNAPSHOT, id, error);
    }
  if (strcmp (record->kind, GANTRY_KIND_SNAPSHOT) == 0)
    {
      const char *parent = gantry_record_get_string (record, "parent");

      if (parent == NULL || parent[0] == '\0')
        return TRUE;
      id = g_strdup_printf ("%.*s/%s", (int)strcspn (record->id, "/"), record->id, parent);
      return add_reference (edges, GANTRY_KIND_SNAPSHOT, id, error);
    }
  return TRUE;
}

gboolean
edges_remove (Connection *connection, const char *ns, const char *kind, const char *id, GError **error)
{
  sqlite3_stmt *stmt
      = connection_prepare (connection, "DELETE FROM edge WHERE ns=? AND owner_kind=? AND owner_id=?", error);

  if (stmt == NULL)
    return FALSE;
  bind_text (stmt, 1, ns);
  bind_text (stmt, 2, kind);
  bind_text (stmt, 3, id);
  return connection_run (connection, stmt, error);
}

gboolean
edges_write (Connection *connection, GantryRecord *record, GError **error)
{
  Edges edges = { connection, record };
  GVariantIter iter;
  const char *key, *value;

  if (record->revision > 1
      && (!candidates_add_owned (connection, record->ns, record->kind, record->id, error)
          || !edges_remove (connection, record->ns, record->kind, record->id, error)))
    return FALSE;
  if (!field_edges (&edges, record, error))
    return FALSE;
  if (record->labels == NULL)
    return TRUE;
  g_variant_iter_init (&iter, record->labels);
  while (g_variant_iter_next (&iter, "{&s&s}", &key, &value))
    if (g_str_has_prefix (key, "containerd.io/gc.") && !label_edges (&edges, key, value, error))
      return FALSE;
  return TRUE;
}
