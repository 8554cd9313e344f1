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
    return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "container \"%s\" in namespace \"%s\": not found", id,
                         ns);
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
  GantryRecord *record
      = gantry_record_new (kind, column_text (stmt, 0), column_text (stmt, 1), labels, fields);

  record->created_ns = sqlite3_column_int64 (stmt, 4);
  record->updated_ns = sqlite3_column_int64 (stmt, 5);
  record->revision = (guint64)sqlite3_column_int64 (stmt, 6);
  return record;
}

GantryRecord *
records_read (Connection *connection, const char *kind, const char *ns, const char *id, GError **error)
{
  sqlite3_stmt *stmt
      = connection_prepare (connection,
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
records_get (GantryMetadata *self, const char *kind, const char *ns, const char *id,
             GantryRecord **ret_record, GCancellable *cancellable, GError **error)
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

static gboolean
is_id_field (const char *field)
{
  return strcmp (field, "id") == 0 || strcmp (field, "name") == 0 || strcmp (field, "digest") == 0;
}

/* The size of a blob as a filter compares it: valid until the next call of this thread. */
static const char *
size_text (GantryRecord *record)
{
  static __thread char text[32];
  guint64 size = 0;

  if (record->fields != NULL)
    g_variant_lookup (record->fields, "size", "t", &size);
  g_snprintf (text, sizeof text, "%" G_GUINT64_FORMAT, size);
  return text;
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
  if (is_id_field (path[0]))
    return record->id;
  if (strcmp (record->kind, GANTRY_KIND_CONTENT) == 0 && strcmp (path[0], "size") == 0)
    return size_text (record);
  return gantry_record_get_string (record, path[0]);
}

typedef struct
{
  Database *database;
  const char *kind;
  const char *ns; /* (nullable) */
  GantryFilter *filter;
  guint limit;
  guint count;
  const char *after; /* (nullable) */
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
                               " WHERE kind=?1 AND (ns, id)>(?2, ?3) AND id>?5 ORDER BY ns, id LIMIT ?4",
                               error);
  if (stmt != NULL)
    {
      bind_text (stmt, 1, list->kind);
      bind_text (stmt, 2, list->ns != NULL ? list->ns : after_ns);
      bind_text (stmt, 3, after_id);
      sqlite3_bind_int (stmt, 4, PAGE);
      if (list->ns == NULL)
        bind_text (stmt, 5, list->after != NULL ? list->after : "");
      ok = read_rows (connection, stmt, list->kind, records, error);
    }
  database_return (list->database, connection);
  return ok;
}

static gboolean
list_scan (List *list, GError **error)
{
  g_autofree char *after_ns = g_strdup ("");
  g_autofree char *after_id = g_strdup (list->ns != NULL && list->after != NULL ? list->after : "");

  for (;;)
    {
      g_autoptr (GPtrArray) records = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_record_unref);
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

/* Whether an index knows the field: ids, by any of their names, and labels. */
static gboolean
is_indexed (const char *const *path, guint n_path)
{
  return n_path == 1 ? is_id_field (path[0]) : n_path == 2 && strcmp (path[0], "labels") == 0;
}

/* A record that the indexes found. */
typedef struct
{
  char *ns;
  char *id;
} Found;

static void
found_free (gpointer data)
{
  Found *self = data;

  g_free (self->ns);
  g_free (self->id);
  g_free (self);
}

static int
compare_found (gconstpointer a, gconstpointer b)
{
  const Found *one = *(const Found *const *)a, *two = *(const Found *const *)b;
  int order = strcmp (one->ns, two->ns);

  return order != 0 ? order : strcmp (one->id, two->id);
}

static void
add_found (GPtrArray *found, const char *ns, const char *id)
{
  Found *item = g_new (Found, 1);

  item->ns = g_strdup (ns);
  item->id = g_strdup (id);
  g_ptr_array_add (found, item);
}

static sqlite3_stmt *
prepare_find (List *list, Connection *connection, gboolean label, GError **error)
{
  if (label && list->ns != NULL)
    return connection_prepare (
        connection, "SELECT ns, id FROM label WHERE kind=?1 AND key=?4 AND value=?3 AND ns=?2 AND id>?5",
        error);
  if (label)
    return connection_prepare (connection,
                               "SELECT ns, id FROM label WHERE kind=?1 AND key=?4 AND value=?3 AND id>?5",
                               error);
  if (list->ns != NULL)
    return connection_prepare (connection,
                               "SELECT ns, id FROM record WHERE kind=?1 AND ns=?2 AND id=?3 AND id>?5",
                               error);
  return connection_prepare (connection,
                             "SELECT ns, id FROM record WHERE kind=?1 AND id=?3 AND id>?5 AND ns IN"
                             " (SELECT '' UNION SELECT id FROM record WHERE kind='namespace' AND ns='')",
                             error);
}

/* Asks the index for @equal. */
static gboolean
find_equal (List *list, Connection *connection, const GantryFilterEqual *equal, GPtrArray *found,
            GError **error)
{
  gboolean label = equal->n_path == 2;
  sqlite3_stmt *stmt = prepare_find (list, connection, label, error);
  int code;

  if (stmt == NULL)
    return FALSE;
  bind_text (stmt, 1, list->kind);
  if (list->ns != NULL)
    bind_text (stmt, 2, list->ns);
  bind_text (stmt, 3, equal->value);
  if (label)
    bind_text (stmt, 4, equal->path[1]);
  bind_text (stmt, 5, list->after != NULL ? list->after : "");
  while ((code = sqlite3_step (stmt)) == SQLITE_ROW)
    add_found (found, column_text (stmt, 0), column_text (stmt, 1));
  sqlite3_reset (stmt);
  return code == SQLITE_DONE || connection_throw (connection, "looking up records", error);
}

/* Reads the records from number @from on, a page of them; one that has gone since is left out. */
static gboolean
read_found (List *list, GPtrArray *found, guint from, GPtrArray *records, GError **error)
{
  Connection *connection = database_borrow (list->database, error);

  if (connection == NULL)
    return FALSE;
  for (guint i = from; i < found->len && i < from + PAGE; i++)
    {
      const Found *item = g_ptr_array_index (found, i);
      GantryRecord *record;

      if (i > 0 && compare_found (&found->pdata[i - 1], &found->pdata[i]) == 0)
        continue;
      record = records_read (connection, list->kind, item->ns, item->id, NULL);
      if (record != NULL)
        g_ptr_array_add (records, record);
    }
  database_return (list->database, connection);
  return TRUE;
}

/* Answers a filter from indexes: what each alternative names, put together and in order. */
static gboolean
list_lookup (List *list, GArray *equals, GError **error)
{
  g_autoptr (GPtrArray) found = g_ptr_array_new_with_free_func (found_free);
  Connection *connection = database_borrow (list->database, error);
  gboolean ok = connection != NULL;

  if (!ok)
    return FALSE;
  for (guint i = 0; ok && i < equals->len; i++)
    ok = find_equal (list, connection, &g_array_index (equals, GantryFilterEqual, i), found, error);
  database_return (list->database, connection);
  if (!ok)
    return FALSE;
  g_ptr_array_sort (found, compare_found);
  for (guint i = 0; i < found->len; i += PAGE)
    {
      g_autoptr (GPtrArray) records = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_record_unref);

      if (g_cancellable_set_error_if_cancelled (list->cancellable, error)
          || !read_found (list, found, i, records, error))
        return FALSE;
      if (!list_emit (list, records))
        return TRUE;
    }
  return TRUE;
}

gboolean
records_list (GantryMetadata *self, const char *kind, const char *ns, const char *const *filters,
              const char *after, guint limit, GantryRecordFunc func, gpointer user_data,
              GCancellable *cancellable, GError **error)
{
  g_autoptr (GantryFilter) filter = gantry_filter_new (filters, error);
  g_autoptr (GArray) equals = NULL;
  List list = {
    .database = METADATA_SQLITE_FROM (self, metadata)->database,
    .kind = kind,
    .ns = ns,
    .filter = filter,
    .limit = limit,
    .after = after,
    .func = func,
    .user_data = user_data,
    .cancellable = cancellable,
  };

  if (filter == NULL)
    return FALSE;
  equals = gantry_filter_get_equals (filter, is_indexed);
  return equals != NULL ? list_lookup (&list, equals, error) : list_scan (&list, error);
}

gboolean
records_list_lease (GantryMetadata *self, const char *ns, const char *lease, GPtrArray **ret_records,
                    GCancellable *cancellable, GError **error)
{
  Database *database = METADATA_SQLITE_FROM (self, metadata)->database;
  g_autoptr (GPtrArray) records = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_record_unref);
  g_autoptr (GantryRecord) record = NULL;
  Connection *connection;
  sqlite3_stmt *stmt = NULL;
  int code = SQLITE_ERROR;

  if (!records_get (self, GANTRY_KIND_LEASE, ns, lease, &record, cancellable, error))
    return FALSE;
  connection = database_borrow (database, error);
  if (connection == NULL)
    return FALSE;
  stmt = connection_prepare (connection,
                             "SELECT kind, id FROM lease_item WHERE ns=? AND lease=? ORDER BY kind, id",
                             error);
  if (stmt != NULL)
    {
      bind_text (stmt, 1, ns);
      bind_text (stmt, 2, lease);
      while ((code = sqlite3_step (stmt)) == SQLITE_ROW)
        g_ptr_array_add (records,
                         gantry_record_new (column_text (stmt, 0), ns, column_text (stmt, 1), NULL, NULL));
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
