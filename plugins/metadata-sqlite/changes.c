/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Writing records: a list of changes in one transaction, with their labels, edges, lease and events. */
#include "metadata-sqlite.h"

#include <string.h>

#define MAX_CHANGES    4096
#define MAX_IDENTIFIER 76
#define MAX_FIELDS     (16 * 1024 * 1024)

typedef struct
{
  MetadataSqlite *self;
  GPtrArray *changes;
  GPtrArray *records; /* what each became */
  gboolean garbage;
} Apply;

/* containerd's identifiers: words of letters and digits, joined by single dots, dashes or underscores. */
static gboolean
is_identifier (const char *id)
{
  gboolean word = FALSE;

  for (; *id != '\0'; id++)
    {
      if (g_ascii_isalnum (*id))
        word = TRUE;
      else if (!word || strchr ("._-", *id) == NULL)
        return FALSE;
      else
        word = FALSE;
    }
  return word;
}

static gboolean
validate_id (const char *kind, const char *id, GError **error)
{
  gboolean identifier = g_strcmp0 (kind, GANTRY_KIND_NAMESPACE) == 0
                        || g_strcmp0 (kind, GANTRY_KIND_CONTAINER) == 0
                        || g_strcmp0 (kind, GANTRY_KIND_SANDBOX) == 0;
  gsize max = identifier ? MAX_IDENTIFIER : 2 * GANTRY_MAX_NAME;

  if (id == NULL || id[0] == '\0')
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "identifier must not be empty: invalid argument");
  if (strlen (id) > max)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "identifier \"%s\" greater than maximum length (%" G_GSIZE_FORMAT
                         " characters): invalid argument",
                         id, max);
  if (identifier && !is_identifier (id))
    return gantry_throw (
        error, GANTRY_ERROR_INVALID_ARGUMENT,
        "identifier \"%s\" must match ^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$: invalid argument", id);
  if (!g_utf8_validate (id, -1, NULL))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "an identifier of kind %s is not UTF-8", kind);
  return TRUE;
}

gboolean
changes_validate_labels (GVariant *labels, GError **error)
{
  GVariantIter iter;
  const char *key, *value;

  if (labels == NULL)
    return TRUE;
  g_variant_iter_init (&iter, labels);
  while (g_variant_iter_next (&iter, "{&s&s}", &key, &value))
    if (strlen (key) + strlen (value) > GANTRY_MAX_LABEL)
      return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                           "label key and value length (%" G_GSIZE_FORMAT
                           " bytes) greater than maximum size (%d bytes), key: %.10s:"
                           " invalid argument",
                           strlen (key) + strlen (value), GANTRY_MAX_LABEL, key);
  return TRUE;
}

static gboolean
validate_mask (GantryChange *change, GError **error)
{
  for (gsize i = 0; change->mask != NULL && change->mask[i] != NULL; i++)
    {
      const char *path = change->mask[i];

      if (strcmp (path, "labels") != 0 && strcmp (path, "fields") != 0 && !g_str_has_prefix (path, "labels.")
          && !g_str_has_prefix (path, "fields."))
        return gantry_throw (
            error, GANTRY_ERROR_INVALID_ARGUMENT,
            "cannot update \"%s\" field of %s \"%s\", only labels and fields: invalid argument", path,
            change->record->kind, change->record->id);
    }
  return TRUE;
}

static gboolean
validate_change (GantryChange *change, GError **error)
{
  GantryRecord *record = change->record;

  if (record == NULL || record->kind == NULL || record->ns == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "a change names no record");
  if (!validate_id (record->kind, record->id, error)
      || (change->change == GANTRY_CHANGE_RENAME && !validate_id (record->kind, change->new_id, error)))
    return FALSE;
  if (strcmp (record->kind, GANTRY_KIND_NAMESPACE) != 0 && strcmp (record->kind, GANTRY_KIND_INTENT) != 0
      && !validate_id (GANTRY_KIND_NAMESPACE, record->ns, error))
    {
      g_prefix_error (error, "namespace: ");
      return FALSE;
    }
  if (record->fields != NULL && g_variant_get_size (record->fields) > MAX_FIELDS)
    return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "%s \"%s\" has more than %d bytes of fields",
                         record->kind, record->id, MAX_FIELDS);
  return validate_mask (change, error) && changes_validate_labels (record->labels, error);
}

static gboolean
mask_has (const char *const *mask, const char *path)
{
  return mask == NULL || g_strv_contains (mask, path);
}

/* Takes those entries of @mask that begin with @prefix from @new_dict (or removes them) and keeps the others
 * of @old. */
static GVariant *
merge_dict (GVariant *old, GVariant *new_dict, const GVariantType *type, const char *const *mask,
            const char *prefix)
{
  g_autoptr (GVariantBuilder) builder = g_variant_builder_new (type);
  GVariantIter iter;
  GVariant *entry;

  if (old != NULL)
    {
      g_variant_iter_init (&iter, old);
      while ((entry = g_variant_iter_next_value (&iter)) != NULL)
        {
          g_autoptr (GVariant) key = g_variant_get_child_value (entry, 0);
          g_autofree char *path = g_strconcat (prefix, g_variant_get_string (key, NULL), NULL);

          if (!g_strv_contains (mask, path))
            g_variant_builder_add_value (builder, entry);
          g_variant_unref (entry);
        }
    }
  if (new_dict != NULL)
    {
      g_variant_iter_init (&iter, new_dict);
      while ((entry = g_variant_iter_next_value (&iter)) != NULL)
        {
          g_autoptr (GVariant) key = g_variant_get_child_value (entry, 0);
          g_autoptr (GVariant) value = g_variant_get_child_value (entry, 1);
          g_autofree char *path = g_strconcat (prefix, g_variant_get_string (key, NULL), NULL);
          /* As in containerd, an empty label value in an update removes the label. */
          gboolean removes = g_variant_is_of_type (value, G_VARIANT_TYPE_STRING)
                             && g_variant_get_string (value, NULL)[0] == '\0';

          if (g_strv_contains (mask, path) && !removes)
            g_variant_builder_add_value (builder, entry);
          g_variant_unref (entry);
        }
    }
  return g_variant_builder_end (builder);
}

static GVariant *
copy_or_empty (GVariant *value, const GVariantType *type)
{
  return value != NULL ? value : g_variant_new_array (g_variant_type_element (type), NULL, 0);
}

GVariant *
changes_merge_labels (GVariant *old, GVariant *new_labels, const char *const *mask)
{
  if (mask == NULL || g_strv_contains (mask, "labels"))
    return copy_or_empty (new_labels, G_VARIANT_TYPE ("a{ss}"));
  return merge_dict (old, new_labels, G_VARIANT_TYPE ("a{ss}"), mask, "labels.");
}

static GVariant *
merge_fields (GVariant *old, GVariant *new_fields, const char *const *mask)
{
  if (mask_has (mask, "fields"))
    return copy_or_empty (new_fields, G_VARIANT_TYPE_VARDICT);
  return merge_dict (old, new_fields, G_VARIANT_TYPE_VARDICT, mask, "fields.");
}

static gboolean
write_labels (Connection *connection, GantryRecord *record, GError **error)
{
  GVariantIter iter;
  const char *key, *value;

  if (record->labels == NULL)
    return TRUE;
  g_variant_iter_init (&iter, record->labels);
  while (g_variant_iter_next (&iter, "{&s&s}", &key, &value))
    {
      sqlite3_stmt *stmt = connection_prepare (
          connection, "INSERT OR IGNORE INTO label (kind, ns, id, key, value) VALUES (?, ?, ?, ?, ?)", error);

      if (stmt == NULL)
        return FALSE;
      bind_text (stmt, 1, record->kind);
      bind_text (stmt, 2, record->ns);
      bind_text (stmt, 3, record->id);
      bind_text (stmt, 4, key);
      bind_text (stmt, 5, value);
      if (!connection_run (connection, stmt, error))
        return FALSE;
    }
  return TRUE;
}

static gboolean
run_keyed (Connection *connection, const char *sql, const char *a, const char *b, const char *c,
           GError **error)
{
  sqlite3_stmt *stmt = connection_prepare (connection, sql, error);

  if (stmt == NULL)
    return FALSE;
  bind_text (stmt, 1, a);
  bind_text (stmt, 2, b);
  if (c != NULL)
    bind_text (stmt, 3, c);
  return connection_run (connection, stmt, error);
}

/* A blob, snapshot or activation may have nobody who holds it, from the beginning or since its labels
 * changed; a lease may hold less than before. */
static gboolean
note_candidates (Connection *connection, GantryRecord *record, GError **error)
{
  if (strcmp (record->kind, GANTRY_KIND_CONTENT) == 0 || strcmp (record->kind, GANTRY_KIND_SNAPSHOT) == 0
      || strcmp (record->kind, GANTRY_KIND_MOUNT) == 0)
    return candidates_add (connection, record->ns, record->kind, record->id, error);
  if (strcmp (record->kind, GANTRY_KIND_LEASE) == 0 && record->revision > 1)
    return candidates_add_held (connection, record->ns, record->kind, record->id, error);
  return TRUE;
}

static gboolean
write_record (Connection *connection, GantryRecord *record, GError **error)
{
  sqlite3_stmt *stmt
      = connection_prepare (connection,
                            "INSERT INTO record (kind, ns, id, labels, fields, created, updated, revision)"
                            " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (kind, ns, id) DO UPDATE SET"
                            " labels=excluded.labels, fields=excluded.fields, created=excluded.created,"
                            " updated=excluded.updated, revision=excluded.revision",
                            error);

  if (stmt == NULL)
    return FALSE;
  bind_text (stmt, 1, record->kind);
  bind_text (stmt, 2, record->ns);
  bind_text (stmt, 3, record->id);
  bind_variant (stmt, 4, record->labels);
  bind_variant (stmt, 5, record->fields);
  sqlite3_bind_int64 (stmt, 6, record->created_ns);
  sqlite3_bind_int64 (stmt, 7, record->updated_ns);
  sqlite3_bind_int64 (stmt, 8, (sqlite3_int64)record->revision);
  return connection_run (connection, stmt, error)
         && (record->revision == 1
             || (run_keyed (connection, "DELETE FROM label WHERE kind=? AND ns=? AND id=?", record->kind,
                            record->ns, record->id, error)
                 && expiry_remove (connection, record->ns, record->kind, record->id, error)))
         && write_labels (connection, record, error) && expiry_write (connection, record, error)
         && edges_write (connection, record, error) && note_candidates (connection, record, error);
}

static gboolean
erase_record (Connection *connection, GantryRecord *record, GError **error)
{
  return candidates_add_held (connection, record->ns, record->kind, record->id, error)
         && run_keyed (connection, "DELETE FROM record WHERE kind=? AND ns=? AND id=?", record->kind,
                       record->ns, record->id, error)
         && run_keyed (connection, "DELETE FROM label WHERE kind=? AND ns=? AND id=?", record->kind,
                       record->ns, record->id, error)
         && edges_remove (connection, record->ns, record->kind, record->id, error)
         && expiry_remove (connection, record->ns, record->kind, record->id, error)
         && (strcmp (record->kind, GANTRY_KIND_LEASE) != 0
             || run_keyed (connection, "DELETE FROM lease_item WHERE ns=? AND lease=?", record->ns,
                           record->id, NULL, error));
}

static gboolean
ensure_namespace (Connection *connection, const char *ns, GError **error)
{
  sqlite3_stmt *stmt
      = connection_prepare (connection,
                            "INSERT OR IGNORE INTO record (kind, ns, id, created, updated, revision)"
                            " VALUES ('namespace', '', ?1, ?2, ?2, 1)",
                            error);

  if (stmt == NULL)
    return FALSE;
  bind_text (stmt, 1, ns);
  sqlite3_bind_int64 (stmt, 2, gantry_now_ns ());
  return connection_run (connection, stmt, error);
}

static gboolean
check_namespace_empty (Connection *connection, const char *ns, GError **error)
{
  sqlite3_stmt *stmt
      = connection_prepare (connection,
                            "SELECT DISTINCT kind FROM record WHERE kind IN ('image', 'content', 'snapshot',"
                            " 'container', 'sandbox') AND ns=? ORDER BY kind",
                            error);
  /* What an empty namespace may still have. */
  static const char *const leftovers[] = {
    "DELETE FROM lease_item WHERE ns=?1 AND ?2=''",
    "DELETE FROM candidate WHERE ns=?1 AND ?2=''",
    "DELETE FROM record WHERE kind IN ('lease', 'ingest') AND ns=?1 AND ?2=''",
    "DELETE FROM label WHERE kind IN ('lease', 'ingest') AND ns=?1 AND ?2=''",
    "DELETE FROM expiry WHERE kind IN ('lease', 'ingest') AND ns=?1 AND ?2=''",
    "DELETE FROM edge WHERE ns=?1 AND ?2=''",
  };
  g_autoptr (GString) kinds = g_string_new (NULL);

  if (stmt == NULL)
    return FALSE;
  bind_text (stmt, 1, ns);
  while (sqlite3_step (stmt) == SQLITE_ROW)
    g_string_append_printf (kinds, "%s%s", kinds->len > 0 ? ", " : "",
                            strcmp (column_text (stmt, 0), "content") == 0 ? "blobs" : column_text (stmt, 0));
  sqlite3_reset (stmt);
  if (kinds->len > 0)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                         "namespace \"%s\" must be empty, but it still has %s: failed precondition", ns,
                         kinds->str);
  for (gsize i = 0; i < G_N_ELEMENTS (leftovers); i++)
    if (!run_keyed (connection, leftovers[i], ns, "", NULL, error))
      return FALSE;
  return TRUE;
}

static gboolean
check_no_children (Connection *connection, GantryRecord *record, GError **error)
{
  sqlite3_stmt *stmt = connection_prepare (connection,
                                           "SELECT 1 FROM edge WHERE ns=? AND to_kind='snapshot' AND to_id=?"
                                           " AND from_kind='snapshot' AND owner_kind='snapshot' LIMIT 1",
                                           error);
  gboolean children;

  if (stmt == NULL)
    return FALSE;
  bind_text (stmt, 1, record->ns);
  bind_text (stmt, 2, record->id);
  children = sqlite3_step (stmt) == SQLITE_ROW;
  sqlite3_reset (stmt);
  return !children
         || gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                          "cannot remove snapshot with child: failed precondition");
}

static gboolean
lease_change (Connection *connection, const char *ns, const char *lease, const char *kind, const char *id,
              gboolean add, GError **error)
{
  g_autoptr (GantryRecord) record = records_read (connection, GANTRY_KIND_LEASE, ns, lease, error);
  sqlite3_stmt *stmt;

  if (record == NULL)
    return FALSE;
  stmt
      = connection_prepare (connection,
                            add ? "INSERT OR IGNORE INTO lease_item (ns, lease, kind, id) VALUES (?, ?, ?, ?)"
                                : "DELETE FROM lease_item WHERE ns=? AND lease=? AND kind=? AND id=?",
                            error);
  if (stmt == NULL)
    return FALSE;
  bind_text (stmt, 1, ns);
  bind_text (stmt, 2, lease);
  bind_text (stmt, 3, kind);
  bind_text (stmt, 4, id);
  return connection_run (connection, stmt, error)
         && (add || candidates_add (connection, ns, kind, id, error));
}

static void
add_field (GVariantBuilder *builder, const char *key, GantryRecord *record, const char *field)
{
  const char *value = gantry_record_get_string (record, field);

  g_variant_builder_add (builder, "{sv}", key, g_variant_new_string (value != NULL ? value : ""));
}

static void
add_any (GVariantBuilder *builder, const char *key, GantryRecord *record)
{
  g_autoptr (GVariant) value = gantry_record_get_field (record, key, G_VARIANT_TYPE ("(say)"));

  if (value != NULL)
    g_variant_builder_add (builder, "{sv}", key, value);
}

/* The payload of the kind's own event (events.h). */
static GVariant *
make_payload (GantryRecord *record)
{
  g_auto (GVariantBuilder) builder = G_VARIANT_BUILDER_INIT (G_VARIANT_TYPE_VARDICT);
  gboolean named = strcmp (record->kind, GANTRY_KIND_IMAGE) == 0
                   || strcmp (record->kind, GANTRY_KIND_NAMESPACE) == 0
                   || strcmp (record->kind, GANTRY_KIND_MOUNT) == 0;
  const char *key = strcmp (record->kind, GANTRY_KIND_CONTENT) == 0 ? "digest" : named ? "name" : "id";

  g_variant_builder_add (&builder, "{sv}", key, g_variant_new_string (record->id));
  if (record->labels != NULL)
    g_variant_builder_add (&builder, "{sv}", "labels", record->labels);
  if (strcmp (record->kind, GANTRY_KIND_CONTAINER) == 0)
    {
      add_field (&builder, "image", record, "image");
      add_field (&builder, "runtime", record, "runtime");
      add_field (&builder, "snapshot-key", record, "snapshot-key");
      add_any (&builder, "runtime-options", record);
    }
  if (strcmp (record->kind, GANTRY_KIND_SANDBOX) == 0)
    {
      add_field (&builder, "runtime", record, "runtime");
      add_field (&builder, "sandboxer", record, "sandboxer");
    }
  if (strcmp (record->kind, GANTRY_KIND_CONTENT) == 0)
    {
      g_autoptr (GVariant) size = gantry_record_get_field (record, "size", G_VARIANT_TYPE_UINT64);

      if (size != NULL)
        g_variant_builder_add (&builder, "{sv}", "size", size);
    }
  return g_variant_builder_end (&builder);
}

static gboolean
announce (Connection *connection, GantryChange *change, GantryRecord *record, gboolean existed,
          GError **error)
{
  static const char *const plurals[][2] = {
    { GANTRY_KIND_NAMESPACE, "namespaces" },
    { GANTRY_KIND_IMAGE, "images" },
    { GANTRY_KIND_CONTAINER, "containers" },
    { GANTRY_KIND_CONTENT, "content" },
    { GANTRY_KIND_MOUNT, "mounts" },
    /* "/sandboxes/create" is of what holds its namespaces. */
    { GANTRY_KIND_SANDBOX, "sandbox-records" },
  };
  g_autoptr (GantryEvent) event = NULL;
  g_autofree char *topic = g_strdup (change->topic);
  const char *verb = change->change == GANTRY_CHANGE_DELETE ? "delete" : existed ? "update" : "create";
  /* containerd announces no update of content */
  gboolean silent = strcmp (record->kind, GANTRY_KIND_CONTENT) == 0 && strcmp (verb, "update") == 0;

  for (gsize i = 0; topic == NULL && i < G_N_ELEMENTS (plurals); i++)
    if (strcmp (record->kind, plurals[i][0]) == 0 && !silent)
      topic = g_strconcat ("/", plurals[i][1], "/", verb, NULL);
  if (topic == NULL || topic[0] == '\0')
    return TRUE;
  event = gantry_event_new (0, gantry_now_ns (),
                            strcmp (record->kind, GANTRY_KIND_NAMESPACE) == 0 ? record->id : record->ns,
                            topic, change->payload != NULL ? change->payload : make_payload (record));
  return connection_announce (connection, event, error);
}

static GantryRecord *
merged_record (GantryChange *change, GantryRecord *old)
{
  GantryRecord *given = change->record;
  const char *const *mask = (const char *const *)change->mask;
  gboolean whole
      = old == NULL || change->change == GANTRY_CHANGE_PUT || change->change == GANTRY_CHANGE_RENAME;
  GVariant *labels = given->labels, *fields = given->fields;
  GantryRecord *record;

  if (!whole && mask == NULL)
    {
      /* Without a mask what is given replaces, and what is not given stays. */
      labels = given->labels != NULL ? given->labels : old->labels;
      fields = given->fields != NULL ? given->fields : old->fields;
    }
  else if (!whole)
    {
      labels = changes_merge_labels (old->labels, given->labels, mask);
      fields = merge_fields (old->fields, given->fields, mask);
    }
  record = gantry_record_new (given->kind, given->ns,
                              change->change == GANTRY_CHANGE_RENAME ? change->new_id : given->id, labels,
                              fields);
  record->updated_ns = gantry_now_ns ();
  record->created_ns = old != NULL              ? old->created_ns
                       : given->created_ns != 0 ? given->created_ns
                                                : record->updated_ns;
  record->revision = old != NULL ? old->revision + 1 : 1;
  return record;
}

static gboolean
check_preconditions (Connection *connection, GantryChange *change, GantryRecord *old, GError **error)
{
  GantryRecord *given = change->record;

  if (old == NULL && change->change != GANTRY_CHANGE_CREATE && change->change != GANTRY_CHANGE_PUT)
    return records_throw_not_found (given->kind, given->ns, given->id, error);
  if (old != NULL && change->change == GANTRY_CHANGE_CREATE)
    return records_throw_exists (given->kind, given->ns, given->id, error);
  if (change->if_revision != 0 && (old == NULL || old->revision != change->if_revision))
    return gantry_throw (error, GANTRY_ERROR_ABORTED, "%s \"%s\" was changed by somebody else; read it again",
                         given->kind, given->id);
  if (change->change == GANTRY_CHANGE_RENAME && strcmp (change->new_id, given->id) != 0)
    {
      g_autoptr (GantryRecord) taken
          = records_read (connection, given->kind, given->ns, change->new_id, NULL);

      if (taken != NULL)
        return records_throw_exists (given->kind, given->ns, change->new_id, error);
    }
  return TRUE;
}

static GantryRecord *
apply_one (Connection *connection, Apply *apply, GantryChange *change, GError **error)
{
  GantryRecord *given = change->record;
  g_autoptr (GantryRecord) old = NULL;
  g_autoptr (GantryRecord) record = NULL;

  if (!validate_change (change, error))
    return NULL;
  if (change->change == GANTRY_CHANGE_LEASE_ADD || change->change == GANTRY_CHANGE_LEASE_REMOVE)
    {
      gboolean add = change->change == GANTRY_CHANGE_LEASE_ADD;

      apply->garbage |= !add;
      return lease_change (connection, given->ns, change->lease, given->kind, given->id, add, error)
                 ? gantry_record_ref (given)
                 : NULL;
    }
  old = records_read (connection, given->kind, given->ns, given->id, NULL);
  if (!check_preconditions (connection, change, old, error))
    return NULL;
  if (change->change == GANTRY_CHANGE_DELETE)
    {
      apply->garbage |= strcmp (given->kind, GANTRY_KIND_INTENT) != 0;
      if ((strcmp (given->kind, GANTRY_KIND_NAMESPACE) == 0
           && !check_namespace_empty (connection, given->id, error))
          || (strcmp (given->kind, GANTRY_KIND_SNAPSHOT) == 0 && !check_no_children (connection, old, error))
          || !erase_record (connection, old, error) || !garbage_remember_record (connection, old, error)
          || !announce (connection, change, old, TRUE, error))
        return NULL;
      return g_steal_pointer (&old);
    }
  record = merged_record (change, old);
  apply->garbage |= old != NULL;
  if ((old == NULL && given->ns[0] != '\0' && !ensure_namespace (connection, given->ns, error))
      || (change->change == GANTRY_CHANGE_RENAME && !erase_record (connection, old, error))
      || !write_record (connection, record, error)
      || (change->lease != NULL
          && !lease_change (connection, record->ns, change->lease, record->kind, record->id, TRUE, error))
      || !announce (connection, change, record, old != NULL, error))
    return NULL;
  return g_steal_pointer (&record);
}

static gboolean
apply_all (Connection *connection, gpointer data, GError **error)
{
  Apply *apply = data;

  for (guint i = 0; i < apply->changes->len; i++)
    {
      GantryRecord *record = apply_one (connection, apply, g_ptr_array_index (apply->changes, i), error);

      if (record == NULL)
        return FALSE;
      g_ptr_array_add (apply->records, record);
    }
  return TRUE;
}

static gboolean
is_relaxed (GantryChange *change)
{
  return change->size > offsetof (GantryChange, relaxed) && change->relaxed;
}

/* Whether anything but intents and what is relaxed changes. */
static gboolean
needs_sync (GPtrArray *changes)
{
  for (guint i = 0; i < changes->len; i++)
    {
      GantryChange *change = g_ptr_array_index (changes, i);

      if (!is_relaxed (change)
          && (change->record == NULL || g_strcmp0 (change->record->kind, GANTRY_KIND_INTENT) != 0))
        return TRUE;
    }
  return FALSE;
}

gboolean
changes_apply (GantryMetadata *self, GPtrArray *changes, GPtrArray **ret_records, GCancellable *cancellable,
               GError **error)
{
  MetadataSqlite *instance = METADATA_SQLITE_FROM (self, metadata);
  g_autoptr (GPtrArray) records = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_record_unref);
  Apply apply = { .self = instance, .changes = changes, .records = records };

  if (changes->len > MAX_CHANGES)
    return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "more than %d changes in one transaction",
                         MAX_CHANGES);
  if (!database_write (instance->database, needs_sync (changes), apply_all, &apply, cancellable, error))
    return FALSE;
  if (apply.garbage)
    g_atomic_int_inc (&instance->garbage_hint);
  if (ret_records != NULL)
    *ret_records = g_steal_pointer (&records);
  return TRUE;
}
