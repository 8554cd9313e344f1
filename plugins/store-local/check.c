/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Records held against what the backends have, after each backend was held against its own disk. A record of
 * what is not there any more goes with a repair, so that it can be pulled or imported again; what no record
 * names goes, too. */
#include "store-local.h"

#include <string.h>

typedef struct
{
  StoreLocal *self;
  gboolean repair;
  gboolean sweep; /* only what no record names is looked at */
  GPtrArray *problems;
  GHashTable *known;  /* of backend names that records have */
  GPtrArray *broken;  /* of GantryRecord: their backend lacks them */
  GPtrArray *unknown; /* of utf8: digests without a record */
} Check;

static void
append (Check *check, char **more)
{
  for (gsize i = 0; more != NULL && more[i] != NULL; i++)
    g_ptr_array_add (check->problems, g_strdup (more[i]));
}

/* A backend that can't check itself is not wrong. */
static gboolean
append_own (Check *check, gboolean ok, char **more, GError *local, GError **error)
{
  append (check, more);
  if (ok || gantry_error_is (local, GANTRY_ERROR_NOT_IMPLEMENTED))
    {
      g_clear_error (&local);
      return TRUE;
    }
  g_propagate_error (error, local);
  return FALSE;
}

/* Forgets the record. Returns: what to say of it. */
static const char *
forget (Check *check, GantryRecord *record)
{
  g_autoptr (GantryRecord) bare = gantry_record_new (record->kind, record->ns, record->id, NULL, NULL);
  g_autoptr (GantryChange) change = gantry_change_new (GANTRY_CHANGE_DELETE, bare);

  if (!check->repair)
    return "";
  return gantry_metadata_apply_one (check->self->metadata, change, NULL, NULL, NULL) ? " (forgotten)"
                                                                                     : " (others need it)";
}

static gboolean
check_blob_record (GantryRecord *record, gpointer user_data)
{
  Check *check = user_data;
  g_autoptr (GantryContentInfo) info = NULL;
  g_autoptr (GVariant) size = gantry_record_get_field (record, "size", G_VARIANT_TYPE_UINT64);
  GantryContent *content = store_local_content (check->self, NULL, NULL);

  g_hash_table_add (check->known, g_strdup (record->id));
  if (content == NULL || !gantry_content_info (content, record->id, &info, NULL, NULL)
      || (size != NULL && g_variant_get_uint64 (size) != info->blob_size))
    g_ptr_array_add (check->broken, gantry_record_ref (record));
  return TRUE;
}

static gboolean
check_blob (GantryContentInfo *info, gpointer user_data)
{
  Check *check = user_data;

  if (!g_hash_table_contains (check->known, info->digest))
    g_ptr_array_add (check->unknown, g_strdup (info->digest));
  return TRUE;
}

static void
report_blob (Check *check, GantryContent *content, GantryRecord *record)
{
  g_autoptr (GantryContentInfo) info = NULL;
  const char *outcome = forget (check, record);

  if (!gantry_content_info (content, record->id, &info, NULL, NULL))
    {
      g_ptr_array_add (
          check->problems,
          g_strdup_printf ("namespace %s has content %s, but the blob is missing; pull or import it again%s",
                           record->ns, record->id, outcome));
      return;
    }
  /* Of a wrong size: it is not what its name says. */
  if (check->repair)
    gantry_content_remove (content, record->id, NULL, NULL);
  g_ptr_array_add (check->problems,
                   g_strdup_printf ("content %s in namespace %s is damaged: it has %" G_GUINT64_FORMAT
                                    " bytes; pull or import it again%s",
                                    record->id, record->ns, info->blob_size, outcome));
}

static gboolean
check_content (Check *check, GCancellable *cancellable, GError **error)
{
  GantryContent *content = store_local_content (check->self, NULL, error);
  g_auto (GStrv) own = NULL;
  GError *local = NULL;
  gboolean ok;

  if (content == NULL)
    return FALSE;
  g_rw_lock_writer_lock (&check->self->blobs_lock);
  ok = check->sweep || gantry_content_check (content, check->repair, &own, cancellable, &local);
  ok = append_own (check, ok, own, local, error)
       && gantry_metadata_list (check->self->metadata, GANTRY_KIND_CONTENT, NULL, NULL, NULL, 0,
                                check_blob_record, check, cancellable, error)
       && gantry_content_walk (content, NULL, check_blob, check, cancellable, error);
  for (guint i = 0; ok && !check->sweep && i < check->broken->len; i++)
    report_blob (check, content, g_ptr_array_index (check->broken, i));
  for (guint i = 0; ok && i < check->unknown->len; i++)
    {
      const char *digest = g_ptr_array_index (check->unknown, i);

      g_ptr_array_add (check->problems,
                       g_strdup_printf ("blob %s belongs to no namespace%s", digest,
                                        check->repair && gantry_content_remove (content, digest, NULL, NULL)
                                            ? " (removed)"
                                            : ""));
    }
  g_rw_lock_writer_unlock (&check->self->blobs_lock);
  g_ptr_array_set_size (check->broken, 0);
  return ok;
}

static gboolean
check_snapshot_record (GantryRecord *record, gpointer user_data)
{
  Check *check = user_data;
  g_autoptr (GantrySnapshotInfo) info = NULL;
  g_autofree char *id = g_strndup (record->id, strcspn (record->id, "/"));
  const char *backend = gantry_record_get_string (record, "backend");
  GantrySnapshotter *snapshotter = store_local_snapshotter (check->self, id, NULL, NULL);

  if (backend == NULL)
    return TRUE;
  g_hash_table_add (check->known, g_strconcat (id, "/", backend, NULL));
  if (snapshotter != NULL && !gantry_snapshotter_stat (snapshotter, backend, &info, NULL, NULL))
    g_ptr_array_add (check->broken, gantry_record_ref (record));
  return TRUE;
}

static gboolean
add_snapshot (GantrySnapshotInfo *info, gpointer user_data)
{
  g_ptr_array_add (user_data, gantry_snapshot_info_ref (info));
  return TRUE;
}

static gboolean
check_unknown_snapshots (Check *check, GantryBinding *binding, GPtrArray *infos)
{
  GantrySnapshotter *snapshotter = binding->instance;

  for (guint i = 0; i < infos->len; i++)
    {
      GantrySnapshotInfo *info = g_ptr_array_index (infos, i);
      g_autofree char *name = g_strconcat (binding->id, "/", info->name, NULL);
      g_autoptr (GantrySnapshotInfo) still = NULL;

      /* One that goes while we look is not a problem. */
      if (g_hash_table_contains (check->known, name)
          || !gantry_snapshotter_stat (snapshotter, info->name, &still, NULL, NULL))
        continue;
      g_ptr_array_add (
          check->problems,
          g_strdup_printf ("snapshot %s belongs to no namespace%s", name,
                           check->repair && gantry_snapshotter_remove (snapshotter, info->name, NULL, NULL)
                               ? " (removed)"
                               : ""));
    }
  return TRUE;
}

/* What is being made has an intent and no record yet. */
static gboolean
add_intent (GantryRecord *record, gpointer user_data)
{
  const char *snapshotter = gantry_record_get_string (record, "snapshotter"),
             *backend = gantry_record_get_string (record, "backend");

  if (snapshotter != NULL && backend != NULL)
    g_hash_table_add (user_data, g_strconcat (snapshotter, "/", backend, NULL));
  return TRUE;
}

/* The backends' lists are taken first, then the intents, then the records: so whatever is made meanwhile is
 * known by one of the two. */
static gboolean
check_snapshotters (Check *check, GPtrArray *bindings, GCancellable *cancellable, GError **error)
{
  g_autoptr (GPtrArray) lists = g_ptr_array_new_with_free_func ((GDestroyNotify)g_ptr_array_unref);

  for (guint i = 0; i < bindings->len; i++)
    {
      GantryBinding *binding = g_ptr_array_index (bindings, i);
      GPtrArray *infos = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_snapshot_info_unref);
      g_auto (GStrv) own = NULL;
      GError *local = NULL;
      gboolean ok = check->sweep
                    || gantry_snapshotter_check (binding->instance, check->repair, &own, cancellable, &local);

      g_ptr_array_add (lists, infos);
      if (!append_own (check, ok, own, local, error)
          || !gantry_snapshotter_walk (binding->instance, NULL, add_snapshot, infos, cancellable, error))
        return FALSE;
    }
  if (!gantry_metadata_list (check->self->metadata, GANTRY_KIND_INTENT, "", NULL, NULL, 0, add_intent,
                             check->known, cancellable, error)
      || !gantry_metadata_list (check->self->metadata, GANTRY_KIND_SNAPSHOT, NULL, NULL, NULL, 0,
                                check_snapshot_record, check, cancellable, error))
    return FALSE;
  for (guint i = 0; !check->sweep && i < check->broken->len; i++)
    {
      GantryRecord *record = g_ptr_array_index (check->broken, i);
      g_autoptr (GantryRecord) still = NULL;

      if (gantry_metadata_get (check->self->metadata, record->kind, record->ns, record->id, &still, NULL,
                               NULL))
        g_ptr_array_add (check->problems,
                         g_strdup_printf ("namespace %s has snapshot %s, but the snapshotter has not%s",
                                          record->ns, record->id, forget (check, record)));
    }
  for (guint i = 0; i < bindings->len; i++)
    check_unknown_snapshots (check, g_ptr_array_index (bindings, i), g_ptr_array_index (lists, i));
  return TRUE;
}

static gboolean
run (Check *check, GCancellable *cancellable, GError **error)
{
  g_autoptr (GPtrArray) unknown = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GPtrArray) broken = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_record_unref);
  g_autoptr (GHashTable) known = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  g_autoptr (GPtrArray) snapshotters
      = gantry_host_lookup_all (check->self->host, GANTRY_SNAPSHOTTER_TYPE, error);

  check->unknown = unknown;
  check->broken = broken;
  check->known = known;
  return snapshotters != NULL && check_snapshotters (check, snapshotters, cancellable, error)
         && check_content (check, cancellable, error);
}

gboolean
store_check (GantryStore *store, gboolean repair, char ***ret_problems, GCancellable *cancellable,
             GError **error)
{
  StoreLocal *self = (StoreLocal *)store;
  g_auto (GStrv) database = NULL;
  g_autoptr (GPtrArray) problems = g_ptr_array_new_with_free_func (g_free);
  Check check = { .self = self, .repair = repair, .problems = problems };

  if (!collector_drain (self, cancellable, error) || !run (&check, cancellable, error)
      || !(repair ? gantry_metadata_repair : gantry_metadata_verify) (self->metadata, &database, cancellable,
                                                                      error))
    return FALSE;
  append (&check, database);
  g_ptr_array_add (problems, NULL);
  *ret_problems = (char **)g_ptr_array_free (g_steal_pointer (&problems), FALSE);
  return TRUE;
}

gboolean
store_sweep (StoreLocal *self, GError **error)
{
  g_autoptr (GPtrArray) removed = g_ptr_array_new_with_free_func (g_free);
  Check check = { .self = self, .repair = TRUE, .sweep = TRUE, .problems = removed };
  gboolean ok = run (&check, NULL, error);

  for (guint i = 0; i < removed->len; i++)
    gantry_host_log (self->host, GANTRY_LOG_INFO, "after the boot: %s",
                     (const char *)g_ptr_array_index (removed, i));
  return ok;
}
