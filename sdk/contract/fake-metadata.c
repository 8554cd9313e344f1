/* SPDX-License-Identifier: MIT */
#include "fake-metadata-private.h"

#include <string.h>

#include "fake-support.h"

#define MAX_IDENTIFIER 76

char *
fake_record_key (const char *kind, const char *ns, const char *id)
{
  return g_strjoin ("\001", kind, ns, id, NULL);
}

static GHashTable *
copy_records (GHashTable *of)
{
  GHashTable *copy = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, gantry_value_unref);
  GHashTableIter iter;
  gpointer key, value;

  g_hash_table_iter_init (&iter, of);
  while (g_hash_table_iter_next (&iter, &key, &value))
    g_hash_table_insert (copy, g_strdup (key), gantry_value_ref (value));
  return copy;
}

static GHashTable *
copy_held (GHashTable *of)
{
  GHashTable *copy
      = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_hash_table_unref);
  GHashTableIter iter, inner;
  gpointer key, value, item;

  g_hash_table_iter_init (&iter, of);
  while (g_hash_table_iter_next (&iter, &key, &value))
    {
      GHashTable *set = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);

      g_hash_table_iter_init (&inner, value);
      while (g_hash_table_iter_next (&inner, &item, NULL))
        g_hash_table_add (set, g_strdup (item));
      g_hash_table_insert (copy, g_strdup (key), set);
    }
  return copy;
}

static void
state_clear (FakeState *self)
{
  g_clear_pointer (&self->records, g_hash_table_unref);
  g_clear_pointer (&self->held, g_hash_table_unref);
}

gboolean
fake_metadata_throw_absent (const char *kind, const char *ns, const char *id, GError **error)
{
  return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "%s \"%s\" in namespace \"%s\": not found", kind, id,
                       ns);
}

/* Returns: (transfer none) (nullable). */
static GantryRecord *
find (const FakeState *state, const char *kind, const char *ns, const char *id)
{
  g_autofree char *key = fake_record_key (kind, ns, id);

  return g_hash_table_lookup (state->records, key);
}

static void
put (FakeState *state, GantryRecord *record)
{
  g_hash_table_replace (state->records, fake_record_key (record->kind, record->ns, record->id),
                        gantry_record_ref (record));
}

static void
erase (FakeState *state, GantryRecord *record)
{
  g_autofree char *key = fake_record_key (record->kind, record->ns, record->id);
  g_autofree char *lease = fake_record_key ("", record->ns, record->id);

  if (strcmp (record->kind, GANTRY_KIND_LEASE) == 0)
    g_hash_table_remove (state->held, lease);
  g_hash_table_remove (state->records, key);
}

/* Checks. */

/* Words of letters and digits, joined by single dots, dashes or underscores. */
static gboolean
is_identifier (const char *id)
{
  return strlen (id) <= MAX_IDENTIFIER
         && g_regex_match_simple ("\\A[A-Za-z0-9]+([._-][A-Za-z0-9]+)*\\z", id, 0, 0);
}

static gboolean
check_name (const char *kind, const char *id, GError **error)
{
  if ((strcmp (kind, GANTRY_KIND_CONTAINER) == 0 || strcmp (kind, GANTRY_KIND_NAMESPACE) == 0
       || strcmp (kind, GANTRY_KIND_SANDBOX) == 0)
      && !is_identifier (id))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "\"%s\" is not an identifier", id);
  return gantry_fake_name_check ("an id", id, error);
}

static gboolean
check_mask (const char *const *mask, GError **error)
{
  for (gsize i = 0; mask != NULL && mask[i] != NULL; i++)
    if (strcmp (mask[i], "labels") != 0 && strcmp (mask[i], "fields") != 0
        && !g_str_has_prefix (mask[i], "labels.") && !g_str_has_prefix (mask[i], "fields."))
      return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "\"%s\" can't be updated", mask[i]);
  return TRUE;
}

static gboolean
check_change (GantryChange *change, GError **error)
{
  GantryRecord *record = change->record;

  return check_name (record->kind, record->id, error)
         && (change->new_id == NULL || check_name (record->kind, change->new_id, error))
         && (strcmp (record->kind, GANTRY_KIND_NAMESPACE) == 0
             || strcmp (record->kind, GANTRY_KIND_INTENT) == 0
             || check_name (GANTRY_KIND_NAMESPACE, record->ns, error))
         && check_mask ((const char *const *)change->mask, error)
         && gantry_fake_labels_check (record->labels, NULL, error);
}

/* Changes. */

static gboolean
mask_has (const char *const *mask, const char *prefix, const char *key)
{
  g_autofree char *path = g_strconcat (prefix, ".", key, NULL);

  return g_strv_contains (mask, path);
}

static GVariant *
merge_fields (GVariant *old, GVariant *fields, const char *const *mask)
{
  GVariantBuilder builder;
  GVariantIter iter;
  GVariant *value;
  const char *key;

  if (g_strv_contains (mask, "fields"))
    return fields != NULL ? fields : g_variant_new ("a{sv}", NULL);
  g_variant_builder_init (&builder, G_VARIANT_TYPE_VARDICT);
  if (old != NULL)
    {
      g_variant_iter_init (&iter, old);
      while (g_variant_iter_loop (&iter, "{&sv}", &key, &value))
        if (!mask_has (mask, "fields", key))
          g_variant_builder_add (&builder, "{sv}", key, value);
    }
  if (fields != NULL)
    {
      g_variant_iter_init (&iter, fields);
      while (g_variant_iter_loop (&iter, "{&sv}", &key, &value))
        if (mask_has (mask, "fields", key))
          g_variant_builder_add (&builder, "{sv}", key, value);
    }
  return g_variant_builder_end (&builder);
}

static gboolean
touches_labels (const char *const *mask)
{
  for (gsize i = 0; mask[i] != NULL; i++)
    if (g_str_has_prefix (mask[i], "labels"))
      return TRUE;
  return FALSE;
}

/* What @old (nullable) becomes. Returns: (transfer full). */
static GantryRecord *
merge (GantryChange *change, GantryRecord *old)
{
  GantryRecord *given = change->record;
  const char *const *mask = (const char *const *)change->mask;
  gboolean update = change->change == GANTRY_CHANGE_UPDATE;
  g_autoptr (GVariant) labels = NULL;
  GVariant *fields = given->fields;
  GantryRecord *record;

  if (update && mask != NULL)
    {
      labels = touches_labels (mask) ? gantry_fake_labels_merge (old->labels, given->labels, mask)
               : old->labels != NULL ? g_variant_ref (old->labels)
                                     : NULL;
      fields = merge_fields (old->fields, given->fields, mask);
    }
  else
    {
      GVariant *from = update && given->labels == NULL ? old->labels : given->labels;

      labels = from != NULL ? g_variant_ref (from) : NULL;
      fields = update && given->fields == NULL ? old->fields : given->fields;
    }
  record = gantry_record_new (given->kind, given->ns,
                              change->change == GANTRY_CHANGE_RENAME ? change->new_id : given->id, labels,
                              fields);
  record->updated_ns = gantry_now_ns ();
  record->created_ns = old != NULL ? old->created_ns : record->updated_ns;
  record->revision = old != NULL ? old->revision + 1 : 1;
  return record;
}

static gboolean
namespace_is_empty (FakeState *state, const char *ns)
{
  GHashTableIter iter;
  gpointer value;

  g_hash_table_iter_init (&iter, state->records);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    if (strcmp (((GantryRecord *)value)->ns, ns) == 0
        && strcmp (((GantryRecord *)value)->kind, GANTRY_KIND_LEASE) != 0)
      return FALSE;
  return TRUE;
}

/* Whether a snapshot stands on the snapshot @parent: "<snapshotter>/<name>". */
static gboolean
has_children (FakeState *state, GantryRecord *parent)
{
  gsize length = strcspn (parent->id, "/");
  GHashTableIter iter;
  gpointer value;

  g_hash_table_iter_init (&iter, state->records);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    {
      GantryRecord *record = value;

      if (strcmp (record->kind, GANTRY_KIND_SNAPSHOT) == 0 && strcmp (record->ns, parent->ns) == 0
          && strncmp (record->id, parent->id, length + 1) == 0 && parent->id[length] == '/'
          && g_strcmp0 (gantry_record_get_string (record, "parent"), parent->id + length + 1) == 0)
        return TRUE;
    }
  return FALSE;
}

static gboolean
change_lease (FakeState *state, const char *ns, const char *lease, GantryRecord *record, gboolean add,
              GError **error)
{
  g_autofree char *key = fake_record_key ("", ns, lease);
  GHashTable *set = g_hash_table_lookup (state->held, key);

  if (find (state, GANTRY_KIND_LEASE, ns, lease) == NULL)
    return fake_metadata_throw_absent (GANTRY_KIND_LEASE, ns, lease, error);
  if (set == NULL)
    {
      set = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
      g_hash_table_insert (state->held, g_steal_pointer (&key), set);
    }
  if (add)
    g_hash_table_add (set, fake_record_key (record->kind, ns, record->id));
  else
    {
      g_autofree char *item = fake_record_key (record->kind, ns, record->id);

      g_hash_table_remove (set, item);
    }
  return TRUE;
}

static gboolean
check_old (FakeState *state, GantryChange *change, GantryRecord *old, GError **error)
{
  GantryRecord *given = change->record;

  if (old == NULL && change->change != GANTRY_CHANGE_CREATE && change->change != GANTRY_CHANGE_PUT)
    return fake_metadata_throw_absent (given->kind, given->ns, given->id, error);
  if (old != NULL && change->change == GANTRY_CHANGE_CREATE)
    return gantry_throw (error, GANTRY_ERROR_ALREADY_EXISTS, "%s \"%s\": already exists", given->kind,
                         given->id);
  if (change->if_revision != 0 && (old == NULL || old->revision != change->if_revision))
    return gantry_throw (error, GANTRY_ERROR_ABORTED, "%s \"%s\" was changed by somebody else", given->kind,
                         given->id);
  if (change->change == GANTRY_CHANGE_RENAME && find (state, given->kind, given->ns, change->new_id) != NULL)
    return gantry_throw (error, GANTRY_ERROR_ALREADY_EXISTS, "%s \"%s\": already exists", given->kind,
                         change->new_id);
  if (change->change == GANTRY_CHANGE_DELETE && strcmp (given->kind, GANTRY_KIND_NAMESPACE) == 0
      && !namespace_is_empty (state, given->id))
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "namespace \"%s\" must be empty",
                         given->id);
  if (change->change == GANTRY_CHANGE_DELETE && strcmp (given->kind, GANTRY_KIND_SNAPSHOT) == 0
      && has_children (state, given))
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                         "cannot remove snapshot with child: failed precondition");
  return TRUE;
}

static void
ensure_namespace (FakeState *state, const char *ns)
{
  g_autoptr (GantryRecord) record = NULL;

  if (ns[0] == '\0' || find (state, GANTRY_KIND_NAMESPACE, "", ns) != NULL)
    return;
  record = gantry_record_new (GANTRY_KIND_NAMESPACE, "", ns, NULL, NULL);
  record->created_ns = record->updated_ns = gantry_now_ns ();
  record->revision = 1;
  put (state, record);
}

/* The event of @change, if it has one. Returns: (transfer full) (nullable). */
static GantryEvent *
make_event (GantryChange *change, GantryRecord *record, gboolean existed)
{
  g_autofree char *topic = g_strdup (change->topic);
  const char *verb = change->change == GANTRY_CHANGE_DELETE ? "delete" : existed ? "update" : "create";
  const char *image = gantry_record_get_string (record, "image");
  gboolean container = strcmp (record->kind, GANTRY_KIND_CONTAINER) == 0;
  gboolean sandbox = strcmp (record->kind, GANTRY_KIND_SANDBOX) == 0;
  g_auto (GVariantDict) payload = G_VARIANT_DICT_INIT (NULL);

  if (topic == NULL
      && (container || strcmp (record->kind, GANTRY_KIND_IMAGE) == 0
          || strcmp (record->kind, GANTRY_KIND_NAMESPACE) == 0
          || strcmp (record->kind, GANTRY_KIND_MOUNT) == 0))
    topic = g_strdup_printf ("/%ss/%s", record->kind, verb);
  if (topic == NULL && sandbox)
    topic = g_strdup_printf ("/sandbox-records/%s", verb);
  if (topic == NULL || topic[0] == '\0')
    return NULL;
  g_variant_dict_insert (&payload, container || sandbox ? "id" : "name", "s", record->id);
  g_variant_dict_insert (&payload, "image", "s", image != NULL ? image : "");
  return gantry_event_new (0, gantry_now_ns (), record->ns, topic,
                           change->payload != NULL ? change->payload : g_variant_dict_end (&payload));
}

/* Returns: (transfer full): what the record became, or NULL. */
static GantryRecord *
apply_one (FakeState *state, GantryChange *change, GPtrArray *events, GError **error)
{
  GantryRecord *given = change->record;
  g_autoptr (GantryRecord) old = NULL;
  GantryRecord *record;
  GantryEvent *event;

  if (!check_change (change, error))
    return NULL;
  if (change->change == GANTRY_CHANGE_LEASE_ADD || change->change == GANTRY_CHANGE_LEASE_REMOVE)
    return change_lease (state, given->ns, change->lease, given, change->change == GANTRY_CHANGE_LEASE_ADD,
                         error)
               ? gantry_record_ref (given)
               : NULL;
  old = gantry_record_ref (find (state, given->kind, given->ns, given->id));
  if (!check_old (state, change, old, error))
    return NULL;
  if (change->change == GANTRY_CHANGE_DELETE)
    record = gantry_record_ref (old);
  else
    record = merge (change, old);
  if (old != NULL)
    erase (state, old);
  if (change->change != GANTRY_CHANGE_DELETE)
    {
      ensure_namespace (state, record->ns);
      put (state, record);
    }
  if (change->lease != NULL && !change_lease (state, record->ns, change->lease, record, TRUE, error))
    {
      gantry_record_unref (record);
      return NULL;
    }
  event = make_event (change, record, old != NULL);
  if (event != NULL)
    g_ptr_array_add (events, event);
  return record;
}

static gboolean
apply_locked (FakeMetadata *self, GPtrArray *changes, GPtrArray *records, GError **error)
{
  g_autoptr (GPtrArray) events = g_ptr_array_new_with_free_func (gantry_value_unref);
  FakeState next = { copy_records (self->state.records), copy_held (self->state.held) };

  for (guint i = 0; i < changes->len; i++)
    {
      GantryRecord *record = apply_one (&next, g_ptr_array_index (changes, i), events, error);

      if (record == NULL)
        {
          state_clear (&next);
          return FALSE;
        }
      g_ptr_array_add (records, record);
    }
  state_clear (&self->state);
  self->state = next;
  self->hint++;
  for (guint i = 0; i < events->len; i++)
    gantry_event_log_append (self->log, g_ptr_array_index (events, i), NULL, NULL);
  return TRUE;
}

static gboolean
metadata_apply (GantryMetadata *metadata, GPtrArray *changes, GPtrArray **ret_records,
                GCancellable *cancellable, GError **error)
{
  FakeMetadata *self = (FakeMetadata *)metadata;
  g_autoptr (GPtrArray) records = g_ptr_array_new_with_free_func (gantry_value_unref);
  gboolean ok;

  if (!gantry_fake_check_cancelled (cancellable, error))
    return FALSE;
  g_mutex_lock (&self->lock);
  ok = apply_locked (self, changes, records, error);
  g_mutex_unlock (&self->lock);
  if (ok && ret_records != NULL)
    *ret_records = g_steal_pointer (&records);
  return ok;
}

/* Reading. */

static gboolean
metadata_get (GantryMetadata *metadata, const char *kind, const char *ns, const char *id,
              GantryRecord **ret_record, GCancellable *cancellable, GError **error)
{
  FakeMetadata *self = (FakeMetadata *)metadata;
  GantryRecord *record;

  (void)cancellable;
  g_mutex_lock (&self->lock);
  record = gantry_record_ref (find (&self->state, kind, ns, id));
  g_mutex_unlock (&self->lock);
  if (record == NULL)
    return fake_metadata_throw_absent (kind, ns, id, error);
  *ret_record = record;
  return TRUE;
}

/* The size of a blob as a filter compares it: valid until the next call of this thread. */
static const char *
size_text (GantryRecord *record)
{
  static __thread char text[32];
  guint64 size = 0;

  if (record->fields == NULL || !g_variant_lookup (record->fields, "size", "t", &size))
    return NULL;
  g_snprintf (text, sizeof text, "%" G_GUINT64_FORMAT, size);
  return text;
}

static const char *
record_field (char **path, gpointer object)
{
  GantryRecord *record = object;
  g_autoptr (GVariant) target = NULL;
  const char *text = NULL;

  if (strcmp (path[0], "labels") == 0 && path[1] != NULL)
    return gantry_labels_lookup (record->labels, path[1]);
  if (strcmp (path[0], "id") == 0 || strcmp (path[0], "name") == 0 || strcmp (path[0], "digest") == 0)
    return record->id;
  if (strcmp (path[0], "size") == 0)
    return size_text (record);
  if (strcmp (path[0], "target") != 0 || path[1] == NULL)
    return gantry_record_get_string (record, path[0]);
  /* The strings belong to the record's fields. */
  target = gantry_record_get_field (record, "target", G_VARIANT_TYPE ("(ssta{ss})"));
  if (target != NULL)
    g_variant_get_child (target, strcmp (path[1], "mediatype") == 0 ? 0 : 1, "&s", &text);
  return text;
}

static gint
by_id (gconstpointer a, gconstpointer b)
{
  const GantryRecord *one = *(GantryRecord *const *)a, *two = *(GantryRecord *const *)b;
  int order = strcmp (one->ns, two->ns);

  return order != 0 ? order : strcmp (one->id, two->id);
}

static gboolean
metadata_list (GantryMetadata *metadata, const char *kind, const char *ns, const char *const *filters,
               const char *after, guint limit, GantryRecordFunc func, gpointer user_data,
               GCancellable *cancellable, GError **error)
{
  FakeMetadata *self = (FakeMetadata *)metadata;
  g_autoptr (GantryFakeFilter) filter = gantry_fake_filter_new (filters, error);
  g_autoptr (GPtrArray) records = g_ptr_array_new_with_free_func (gantry_value_unref);
  GHashTableIter iter;
  gpointer value;

  if (filter == NULL || !gantry_fake_check_cancelled (cancellable, error))
    return FALSE;
  g_mutex_lock (&self->lock);
  g_hash_table_iter_init (&iter, self->state.records);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    {
      GantryRecord *record = value;

      if (strcmp (record->kind, kind) == 0 && (ns == NULL || strcmp (record->ns, ns) == 0)
          && (after == NULL || strcmp (record->id, after) > 0))
        g_ptr_array_add (records, gantry_record_ref (record));
    }
  g_mutex_unlock (&self->lock);
  g_ptr_array_sort (records, by_id);
  for (guint i = 0, n = 0; i < records->len; i++)
    if (gantry_fake_filter_match (filter, record_field, g_ptr_array_index (records, i))
        && (!func (g_ptr_array_index (records, i), user_data) || ++n == limit))
      break;
  return TRUE;
}

static gboolean
metadata_list_lease (GantryMetadata *metadata, const char *ns, const char *lease, GPtrArray **ret_records,
                     GCancellable *cancellable, GError **error)
{
  FakeMetadata *self = (FakeMetadata *)metadata;
  g_autofree char *key = fake_record_key ("", ns, lease);
  GPtrArray *records;
  GHashTableIter iter;
  GHashTable *set;
  gpointer item;

  (void)cancellable;
  g_mutex_lock (&self->lock);
  if (find (&self->state, GANTRY_KIND_LEASE, ns, lease) == NULL)
    {
      g_mutex_unlock (&self->lock);
      return fake_metadata_throw_absent (GANTRY_KIND_LEASE, ns, lease, error);
    }
  records = g_ptr_array_new_with_free_func (gantry_value_unref);
  set = g_hash_table_lookup (self->state.held, key);
  if (set != NULL)
    g_hash_table_iter_init (&iter, set);
  while (set != NULL && g_hash_table_iter_next (&iter, &item, NULL))
    {
      g_auto (GStrv) parts = g_strsplit (item, "\001", 3);

      g_ptr_array_add (records, gantry_record_new (parts[0], parts[1], parts[2], NULL, NULL));
    }
  g_mutex_unlock (&self->lock);
  *ret_records = records;
  return TRUE;
}

static guint64
metadata_get_hint (GantryMetadata *metadata)
{
  FakeMetadata *self = (FakeMetadata *)metadata;
  guint64 hint;

  g_mutex_lock (&self->lock);
  hint = self->hint;
  g_mutex_unlock (&self->lock);
  return hint;
}

static gboolean
metadata_verify (GantryMetadata *metadata, char ***ret_problems, GCancellable *cancellable, GError **error)
{
  (void)metadata;
  (void)cancellable;
  (void)error;
  *ret_problems = g_new0 (char *, 1);
  return TRUE;
}

static const GantryMetadataVtable vtable = {
  .size = sizeof vtable,
  .get = metadata_get,
  .list = metadata_list,
  .apply = metadata_apply,
  .list_lease = metadata_list_lease,
  .collect = fake_metadata_collect,
  .pending_garbage = fake_metadata_pending,
  .collected = fake_metadata_collected,
  .why = fake_metadata_why,
  .get_garbage_hint = metadata_get_hint,
  .verify = metadata_verify,
};

GantryMetadata *
gantry_fake_metadata_new (GantryEventLog *log)
{
  FakeMetadata *self = g_new0 (FakeMetadata, 1);

  self->metadata.vtable = &vtable;
  self->log = log;
  g_mutex_init (&self->lock);
  self->state.records = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, gantry_value_unref);
  self->state.held
      = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_hash_table_unref);
  self->pending = g_ptr_array_new_with_free_func (gantry_value_unref);
  return &self->metadata;
}

void
gantry_fake_metadata_free (GantryMetadata *metadata)
{
  FakeMetadata *self = (FakeMetadata *)metadata;

  if (self == NULL)
    return;
  state_clear (&self->state);
  g_ptr_array_unref (self->pending);
  g_mutex_clear (&self->lock);
  g_free (self);
}
