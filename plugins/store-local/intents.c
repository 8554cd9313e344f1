/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What is about to be done to a backend is noted as a record before it is done, and the note goes in the
 * transaction that makes the result visible. Notes that are there at the start are those that a crash
 * interrupted: what the backend did is undone, or, where undoing it would lose what was there before (a
 * commit), completed. Notes are not synced on their own: they are ordered with the writes of the snapshot
 * index, and a blob that a power failure leaves without its note is found by the sweep of each boot. */
#include "store-local.h"

#include <string.h>

#define BLOB     "blob"
#define SNAPSHOT "snapshot"
#define COMMIT   "commit"

static GantryRecord *
begin (StoreLocal *self, const char *what, GVariantDict *fields, GCancellable *cancellable, GError **error)
{
  g_autofree char *id = g_strdup_printf ("%s/%" G_GINT64_MODIFIER "x.%x", what, self->started_ns,
                                         (unsigned)g_atomic_int_add (&self->serial, 1));
  g_autoptr (GantryRecord) record
      = gantry_record_new (GANTRY_KIND_INTENT, "", id, NULL, g_variant_dict_end (fields));
  g_autoptr (GantryChange) change = gantry_change_new (GANTRY_CHANGE_CREATE, record);

  return gantry_metadata_apply_one (self->metadata, change, NULL, cancellable, error)
             ? g_steal_pointer (&record)
             : NULL;
}

GantryRecord *
intent_of_blob (StoreLocal *self, const char *ns, const char *digest, GCancellable *cancellable,
                GError **error)
{
  GVariantDict fields;

  g_variant_dict_init (&fields, NULL);
  g_variant_dict_insert (&fields, "ns", "s", ns);
  g_variant_dict_insert (&fields, "digest", "s", digest);
  return begin (self, BLOB, &fields, cancellable, error);
}

GantryRecord *
intent_of_snapshot (StoreLocal *self, const char *snapshotter, const char *backend, GCancellable *cancellable,
                    GError **error)
{
  GVariantDict fields;

  g_variant_dict_init (&fields, NULL);
  g_variant_dict_insert (&fields, "snapshotter", "s", snapshotter);
  g_variant_dict_insert (&fields, "backend", "s", backend);
  return begin (self, SNAPSHOT, &fields, cancellable, error);
}

GantryRecord *
intent_of_commit (StoreLocal *self, const char *snapshotter, const char *backend, GantryChange *rename,
                  GCancellable *cancellable, GError **error)
{
  GantryRecord *record = rename->record;
  GVariantDict fields;

  g_variant_dict_init (&fields, NULL);
  g_variant_dict_insert (&fields, "snapshotter", "s", snapshotter);
  g_variant_dict_insert (&fields, "backend", "s", backend);
  g_variant_dict_insert (&fields, "ns", "s", record->ns);
  g_variant_dict_insert (&fields, "id", "s", record->id);
  g_variant_dict_insert (&fields, "new-id", "s", rename->new_id);
  if (rename->lease != NULL)
    g_variant_dict_insert (&fields, "lease", "s", rename->lease);
  if (record->labels != NULL)
    g_variant_dict_insert_value (&fields, "labels", record->labels);
  g_variant_dict_insert_value (&fields, "fields", record->fields);
  return begin (self, COMMIT, &fields, cancellable, error);
}

gboolean
intent_fulfil (StoreLocal *self, GantryRecord *intent, GantryChange *change, GCancellable *cancellable,
               GError **error)
{
  g_autoptr (GPtrArray) changes = g_ptr_array_new ();
  g_autoptr (GantryChange) end = gantry_change_new (GANTRY_CHANGE_DELETE, intent);

  g_ptr_array_add (changes, change);
  g_ptr_array_add (changes, end);
  return gantry_metadata_apply (self->metadata, changes, NULL, cancellable, error);
}

void
intent_drop (StoreLocal *self, GantryRecord *intent)
{
  g_autoptr (GantryChange) end = gantry_change_new (GANTRY_CHANGE_DELETE, intent);
  g_autoptr (GError) error = NULL;

  if (!gantry_metadata_apply_one (self->metadata, end, NULL, NULL, &error))
    gantry_host_log (self->host, GANTRY_LOG_WARNING, "%s stays until the next start: %s", intent->id,
                     error->message);
}

/* A blob that may be there without a record: becomes garbage unless some namespace has it. */
static gboolean
undo_blob (StoreLocal *self, GantryRecord *intent, GError **error)
{
  const char *ns = gantry_record_get_string (intent, "ns"),
             *digest = gantry_record_get_string (intent, "digest");
  g_autoptr (GPtrArray) changes = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_change_unref);
  g_autoptr (GantryRecord) record = NULL, existing = NULL;

  if (ns == NULL || digest == NULL
      || gantry_metadata_get (self->metadata, GANTRY_KIND_CONTENT, ns, digest, &existing, NULL, NULL))
    return TRUE;
  /* Metadata knows whether another namespace has it, and remembers it as garbage if none does. */
  record = gantry_record_new (GANTRY_KIND_CONTENT, ns, digest, NULL, NULL);
  for (int i = 0; i < 2; i++)
    {
      GantryChange *change = gantry_change_new (i == 0 ? GANTRY_CHANGE_CREATE : GANTRY_CHANGE_DELETE, record);

      change->topic = g_strdup ("");
      g_ptr_array_add (changes, change);
    }
  return gantry_metadata_apply (self->metadata, changes, NULL, NULL, error);
}

static gboolean
undo_snapshot (StoreLocal *self, GantryRecord *intent, GError **error)
{
  const char *backend = gantry_record_get_string (intent, "backend");
  GantrySnapshotter *snapshotter
      = store_local_snapshotter (self, gantry_record_get_string (intent, "snapshotter"), NULL, error);
  g_autoptr (GError) local = NULL;

  if (snapshotter == NULL)
    return FALSE;
  if (backend == NULL || gantry_snapshotter_remove (snapshotter, backend, NULL, &local)
      || gantry_error_is (local, GANTRY_ERROR_NOT_FOUND))
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&local));
  return FALSE;
}

static GantryChange *
read_rename (StoreLocal *self, GantryRecord *intent)
{
  const char *ns = gantry_record_get_string (intent, "ns"), *id = gantry_record_get_string (intent, "id");
  const char *new_id = gantry_record_get_string (intent, "new-id"),
             *lease = gantry_record_get_string (intent, "lease");
  g_autoptr (GVariant) labels = gantry_record_get_field (intent, "labels", G_VARIANT_TYPE ("a{ss}"));
  g_autoptr (GVariant) fields = gantry_record_get_field (intent, "fields", G_VARIANT_TYPE_VARDICT);
  g_autoptr (GantryRecord) record = NULL, holder = NULL;
  GantryChange *change;

  if (ns == NULL || id == NULL || new_id == NULL)
    return NULL;
  record = gantry_record_new (GANTRY_KIND_SNAPSHOT, ns, id, labels, fields);
  change = gantry_change_new (GANTRY_CHANGE_RENAME, record);
  change->new_id = g_strdup (new_id);
  change->topic = g_strdup ("");
  if (lease != NULL
      && gantry_metadata_get (self->metadata, GANTRY_KIND_LEASE, ns, lease, &holder, NULL, NULL))
    change->lease = g_strdup (lease);
  return change;
}

/* A commit whose backend has done its part can't be undone: its record follows, unless the name has been
 * taken. */
static gboolean
complete_commit (StoreLocal *self, GantryRecord *intent, GError **error)
{
  const char *backend = gantry_record_get_string (intent, "backend");
  GantrySnapshotter *snapshotter
      = store_local_snapshotter (self, gantry_record_get_string (intent, "snapshotter"), NULL, error);
  g_autoptr (GantryChange) rename = read_rename (self, intent);
  g_autoptr (GantrySnapshotInfo) info = NULL;
  g_autoptr (GantryChange) remove = NULL;
  g_autoptr (GError) local = NULL;

  if (snapshotter == NULL)
    return FALSE;
  if (backend == NULL || rename == NULL || !gantry_snapshotter_stat (snapshotter, backend, &info, NULL, NULL)
      || gantry_metadata_apply_one (self->metadata, rename, NULL, NULL, &local))
    return TRUE;
  if (!gantry_error_is (local, GANTRY_ERROR_ALREADY_EXISTS)
      && !gantry_error_is (local, GANTRY_ERROR_NOT_FOUND))
    {
      g_propagate_error (error, g_steal_pointer (&local));
      return FALSE;
    }
  remove = gantry_change_new (GANTRY_CHANGE_DELETE, rename->record);
  gantry_metadata_apply_one (self->metadata, remove, NULL, NULL, NULL);
  return undo_snapshot (self, intent, error);
}

static gboolean
add_intent (GantryRecord *record, gpointer user_data)
{
  g_ptr_array_add (user_data, gantry_record_ref (record));
  return TRUE;
}

gboolean
intents_resolve (StoreLocal *self, GError **error)
{
  g_autoptr (GPtrArray) intents = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_record_unref);

  if (!gantry_metadata_list (self->metadata, GANTRY_KIND_INTENT, "", NULL, NULL, 0, add_intent, intents, NULL,
                             error))
    return FALSE;
  if (intents->len > 0)
    gantry_host_log_about (self->host, GANTRY_LOG_NOTICE, GANTRY_MESSAGE_RECOVERED, NULL, NULL,
                           "%u changes that a crash interrupted are settled", intents->len);
  for (guint i = 0; i < intents->len; i++)
    {
      GantryRecord *intent = g_ptr_array_index (intents, i);
      g_autoptr (GError) local = NULL;
      gboolean ok;

      if (g_str_has_prefix (intent->id, BLOB "/"))
        ok = undo_blob (self, intent, &local);
      else if (g_str_has_prefix (intent->id, COMMIT "/"))
        ok = complete_commit (self, intent, &local);
      else
        ok = undo_snapshot (self, intent, &local);
      if (ok)
        intent_drop (self, intent);
      else
        gantry_host_log (self->host, GANTRY_LOG_WARNING,
                         "what a crash interrupted (%s) is settled at the next start: %s", intent->id,
                         local->message);
    }
  return TRUE;
}
