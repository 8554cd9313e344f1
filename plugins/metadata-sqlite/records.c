/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Reading records. */
#include "metadata-sqlite.h"

#include <string.h>

#include <filter.h>

/* Rows are handed over in pages, so that no statement stays open while a callback runs. */
#define PAGE 256

gboolean
records_throw_not_found (const char *kind, const char *ns, const char *id, GError **error)
{
  const char *slash;

  if (strcmp (kind, GANTRY_KIND_CONTENT) == 0)
    return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "content digest %s: not found", id);
  if (strcmp (kind, GANTRY_KIND_SNAPSHOT) == 0 && (slash = strchr (id, '/')) != NULL)
    return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "snapshot %s does not exist: not found", slash + 1);
  if (strcmp (kind, GANTRY_KIND_CONTAINER) == 0)
    return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "container \"%s\" in namespace \"%s\": not found", id, ns);
  return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "%s \"%s\": not found", kind, id);
}

gboolean
records_throw_exists (const char *kind, const char *ns, const char *id, GError **error)
{
  const char *slash;

  if (strcmp (kind, GANTRY_KIND_CONTENT) == 0)
    return gantry_throw (error, GANTRY_ERROR_ALREADY_EXISTS, "content %s: already exists", id);
  if (strcmp (kind, GANTRY_KIND_SNAPSHOT) == 0 && (slash = strchr (id, '/')) != NULL)
    return gantry_throw (error, GANTRY_ERROR_ALREADY_EXISTS, "snapshot \"%s\": already exists", slash + 1);
  return gantry_throw (error, GANTRY_ERROR_ALREADY_EXISTS, "%s \"%s\": already exists", kind, id);
}

static GantryRecord *
record_from_row (sqlite3_stmt *stmt, const char *kind)
{
  g_autoptr (GVariant) labels = column_variant (stmt, 2, G_VARIANT_TYPE ("a{ss}"));
  g_autoptr (GVariant) fields = column_variant (stmt, 3, G_VARIANT_TYPE_VARDICT);
  GantryRecord *record = gantry_record_new (kind, column_text (stmt, 0), column_text (stmt, 1), labels, fields);

  record->created_ns = sqlite3_column_int64 (stmt, 4);
  record->updated_ns = sqlite3_column_int64 (stmt, 5);
  record->revision = (guint64) sqlite3_column_int64 (stmt, 6);
  return record;
}

GantryRecord *
records_read (Connection *connection, const char *kind, const char *ns, const char *id, GError **error)
{
  sqlite3_stmt *stmt = connection_prepare (connection,
                                           "SELECT ns, id, labels, fields, created, updated, revision FROM record"
                                           " WHERE kind=? AND ns=? AND id=?",
                                           error);
  GantryRecord *record = NULL;
  int code;

  if (stmt == NULL)
    return NULL;
  bind_text (stmt, 1, kind);
  bind_text (stmt, 2, ns);
  bind_text (stmt, 3, id);
  code = sqlite3_step (stmt);
  if (code == SQLITE_ROW)
    record = record_from_row (stmt, kind);
  else if (code == SQLITE_DONE)
    records_throw_not_found (kind, ns, id, error);
  else
    connection_throw (connection, "reading a record", error);
  sqlite3_reset (stmt);
  return record;
}

gboolean
records_get (GantryMetadata *self, const char *kind, const char *ns, const char *id, GantryRecord **ret_record,
             GCancellable *cancellable, GError **error)
{
  Database *database = METADATA_SQLITE_FROM (self, metadata)->database;
  Connection *connection = database_borrow (database, error);
  GantryRecord *record;

  if (connection == NULL)
    return FALSE;
  record = records_read (connection, kind, ns, id, error);
  database_return (database, connection);
  if (record == NULL)
    return FALSE;
  *ret_record = record;
  return TRUE;
}

static const char *
record_field (const char *const *path, guint n_path, gpointer object)
{
  GantryRecord *record = object;
  const char *text = NULL;

  if (n_path == 2 && strcmp (path[0], "labels") == 0)
    return gantry_labels_lookup (record->labels, path[1]);
  if (n_path == 2 && strcmp (path[0], "runtime") == 0 && strcmp (path[1], "name") == 0)
    return gantry_record_get_string (record, "runtime");
  if (n_path == 2 && strcmp (path[0], "target") == 0)
    {
      g_autoptr (GVariant) target = gantry_record_get_field (record, "target", G_VARIANT_TYPE ("(ssta{ss})"));

      /* The strings belong to the record's fields, which outlive this look-up. */
      if (target != NULL && strcmp (path[1], "mediatype") == 0)
        g_variant_get_child (target, 0, "&s", &text);
      else if (target != NULL && strcmp (path[1], "digest") == 0)
        g_variant_get_child (target, 1, "&s", &text);
      return text;
    }
  if (n_path != 1)
    return NULL;
  if (strcmp (path[0], "id") == 0 || strcmp (path[0], "name") == 0 || strcmp (path[0], "digest") == 0)
    return record->id;
  return gantry_record_get_string (record, path[0]);
}

/* The label that every alternative of the filter fixes, if any: then the label table has the answer. */
static char *
find_label_key (const char *const *filters)
{
  const char *start, *end;

  if (filters == NULL || filters[0] == NULL || !g_str_has_prefix (filters[0], "labels."))
    return NULL;
  start = filters[0] + strlen ("labels.");
  if (*start == '"')
    {
      start++;
      end = strchr (start, '"');
    }
  else
    end = strstr (start, "==");
  return end != NULL ? g_strndup (start, (gsize) (end - start)) : NULL;
}

static int
compare_text (gconstpointer a, gconstpointer b)
{
  return strcmp (*(const char *const *) a, *(const char *const *) b);
}

typedef struct {
  Database *database;
  const char *kind;
  const char *ns; /* (nullable) */
  GantryFilter *filter;
  guint limit;
  guint count;
  GantryRecordFunc func;
  gpointer user_data;
  GCancellable *cancellable;
} List;

/* Hands over what matches. Returns: FALSE to stop. */
static gboolean
list_emit (List *list, GPtrArray *records)
{
  for (guint i = 0; i < records->len; i++)
    {
      GantryRecord *record = g_ptr_array_index (records, i);

      if (!gantry_filter_match (list->filter, record_field, record))
        continue;
      if (!list->func (record, list->user_data) || ++list->count == list->limit)
        return FALSE;
    }
  return TRUE;
}

static gboolean
read_rows (Connection *connection, sqlite3_stmt *stmt, const char *kind, GPtrArray *records, GError **error)
{
  int code;

  while ((code = sqlite3_step (stmt)) == SQLITE_ROW)
    g_ptr_array_add (records, record_from_row (stmt, kind));
  sqlite3_reset (stmt);
  return code == SQLITE_DONE || connection_throw (connection, "listing records", error);
}

static gboolean
list_page (List *list, const char *after_ns, const char *after_id, GPtrArray *records, GError **error)
{
  Connection *connection = database_borrow (list->database, error);
  sqlite3_stmt *stmt;
  gboolean ok = FALSE;

  if (connection == NULL)
    return FALSE;
  if (list->ns != NULL)
    stmt = connection_prepare (connection,
                               "SELECT ns, id, labels, fields, created, updated, revision FROM record"
                               " WHERE kind=?1 AND ns=?2 AND id>?3 ORDER BY id LIMIT ?4",
                               error);
  else
    stmt = connection_prepare (connection,
                               "SELECT ns, id, labels, fields, created, updated, revision FROM record"
                               " WHERE kind=?1 AND (ns, id)>(?2, ?3) ORDER BY ns, id LIMIT ?4",
                               error);
  if (stmt != NULL)
    {
      bind_text (stmt, 1, list->kind);
      bind_text (stmt, 2, list->ns != NULL ? list->ns : after_ns);
      bind_text (stmt, 3, after_id);
      sqlite3_bind_int (stmt, 4, PAGE);
      ok = read_rows (connection, stmt, list->kind, records, error);
    }
  database_return (list->database, connection);
  return ok;
}

static gboolean
list_scan (List *list, const char *after, GError **error)
{
  g_autofree char *after_ns = g_strdup ("");
  g_autofree char *after_id = g_strdup (after != NULL ? after : "");

  for (;;)
    {
      g_autoptr (GPtrArray) records = g_ptr_array_new_with_free_func ((GDestroyNotify) gantry_record_unref);
      GantryRecord *last;

      if (g_cancellable_set_error_if_cancelled (list->cancellable, error)
          || !list_page (list, after_ns, after_id, records, error))
        return FALSE;
      if (records->len == 0 || !list_emit (list, records) || records->len < PAGE)
        return TRUE;
      last = g_ptr_array_index (records, records->len - 1);
      g_free (after_ns);
      after_ns = g_strdup (last->ns);
      g_free (after_id);
      after_id = g_strdup (last->id);
    }
}

static const char *
look_up_sql (const char *label, const char *ns)
{
  if (label == NULL && ns == NULL)
    return "SELECT ns, id, labels, fields, created, updated, revision FROM record WHERE kind=?1 AND id=?3 AND id>?4 ORDER BY ns";
  if (label == NULL)
    return "SELECT ns, id, labels, fields, created, updated, revision FROM record WHERE kind=?1 AND ns=?2 AND id=?3 AND id>?4";
  if (ns == NULL)
    return "SELECT r.ns, r.id, r.labels, r.fields, r.created, r.updated, r.revision"
           " FROM label l JOIN record r ON r.kind=l.kind AND r.ns=l.ns AND r.id=l.id"
           " WHERE l.kind=?1 AND l.value=?3 AND l.id>?4 AND l.key=?5 ORDER BY l.ns, l.id";
  return "SELECT r.ns, r.id, r.labels, r.fields, r.created, r.updated, r.revision"
         " FROM label l JOIN record r ON r.kind=l.kind AND r.ns=l.ns AND r.id=l.id"
         " WHERE l.kind=?1 AND l.ns=?2 AND l.value=?3 AND l.id>?4 AND l.key=?5 ORDER BY l.id";
}

/* Answers a filter that fixes ids, or one label, from an index, in one namespace or in all. */
static gboolean
list_lookup (List *list, GPtrArray *values, const char *label, const char *after, GError **error)
{
  g_autoptr (GPtrArray) records = g_ptr_array_new_with_free_func ((GDestroyNotify) gantry_record_unref);
  Connection *connection = database_borrow (list->database, error);
  const char *previous = NULL;
  gboolean ok = TRUE;

  if (connection == NULL)
    return FALSE;
  g_ptr_array_sort (values, compare_text);
  for (guint i = 0; ok && i < values->len; i++)
    {
      const char *value = g_ptr_array_index (values, i);
      sqlite3_stmt *stmt;

      if (g_strcmp0 (previous, value) == 0)
        continue;
      previous = value;
      stmt = connection_prepare (connection, look_up_sql (label, list->ns), error);
      ok = stmt != NULL;
      if (!ok)
        break;
      bind_text (stmt, 1, list->kind);
      if (list->ns != NULL)
        bind_text (stmt, 2, list->ns);
      bind_text (stmt, 3, value);
      bind_text (stmt, 4, after != NULL ? after : "");
      if (label != NULL)
        bind_text (stmt, 5, label);
      ok = read_rows (connection, stmt, list->kind, records, error);
    }
  database_return (list->database, connection);
  if (ok)
    list_emit (list, records);
  return ok;
}

gboolean
records_list (GantryMetadata *self, const char *kind, const char *ns, const char *const *filters, const char *after,
              guint limit, GantryRecordFunc func, gpointer user_data, GCancellable *cancellable, GError **error)
{
  g_autoptr (GantryFilter) filter = gantry_filter_new (filters, error);
  g_autoptr (GPtrArray) values = NULL;
  g_autofree char *label = NULL;
  List list = {
    .database = METADATA_SQLITE_FROM (self, metadata)->database,
    .kind = kind,
    .ns = ns,
    .filter = filter,
    .limit = limit,
    .func = func,
    .user_data = user_data,
    .cancellable = cancellable,
  };

  if (filter == NULL)
    return FALSE;
  values = gantry_filter_get_equals (filter, "id", NULL);
  if (values == NULL)
    values = gantry_filter_get_equals (filter, "name", NULL);
  if (values != NULL)
    return list_lookup (&list, values, NULL, after, error);
  label = find_label_key (filters);
  if (label != NULL && (values = gantry_filter_get_equals (filter, "labels", label)) != NULL)
    return list_lookup (&list, values, label, after, error);
  return list_scan (&list, after, error);
}

gboolean
records_list_lease (GantryMetadata *self, const char *ns, const char *lease, GPtrArray **ret_records,
                    GCancellable *cancellable, GError **error)
{
  Database *database = METADATA_SQLITE_FROM (self, metadata)->database;
  g_autoptr (GPtrArray) records = g_ptr_array_new_with_free_func ((GDestroyNotify) gantry_record_unref);
  g_autoptr (GantryRecord) record = NULL;
  Connection *connection;
  sqlite3_stmt *stmt = NULL;
  int code = SQLITE_ERROR;

  if (!records_get (self, GANTRY_KIND_LEASE, ns, lease, &record, cancellable, error))
    return FALSE;
  connection = database_borrow (database, error);
  if (connection == NULL)
    return FALSE;
  stmt = connection_prepare (connection, "SELECT kind, id FROM lease_item WHERE ns=? AND lease=? ORDER BY kind, id", error);
  if (stmt != NULL)
    {
      bind_text (stmt, 1, ns);
      bind_text (stmt, 2, lease);
      while ((code = sqlite3_step (stmt)) == SQLITE_ROW)
        g_ptr_array_add (records, gantry_record_new (column_text (stmt, 0), ns, column_text (stmt, 1), NULL, NULL));
      sqlite3_reset (stmt);
      if (code != SQLITE_DONE)
        connection_throw (connection, "listing a lease", error);
    }
  database_return (database, connection);
  if (code != SQLITE_DONE)
    return FALSE;
  *ret_records = g_steal_pointer (&records);
  return TRUE;
}
