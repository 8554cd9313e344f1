/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A container's snapshot is made before its record. Until the record is there, labels tell it from others. */
#include "tasks-local.h"

#include <string.h>

#define EXPIRE_LABEL     "containerd.io/gc.expire"
#define UNFINISHED_LABEL "org.gantry.unfinished"

/* Labels that keep garbage collection off a snapshot until the container's record holds it. A crash before
 * that leaves a snapshot with UNFINISHED_LABEL, which goes at the next start. */
GVariant *
unfinished_labels (void)
{
  g_autoptr (GDateTime) now = g_date_time_new_now_utc ();
  g_autoptr (GDateTime) end = g_date_time_add_hours (now, 1);
  g_autofree char *expires = g_date_time_format (end, "%Y-%m-%dT%H:%M:%SZ");
  GVariantBuilder labels;

  g_variant_builder_init (&labels, G_VARIANT_TYPE ("a{ss}"));
  g_variant_builder_add (&labels, "{ss}", EXPIRE_LABEL, expires);
  g_variant_builder_add (&labels, "{ss}", UNFINISHED_LABEL, "yes");
  return g_variant_builder_end (&labels);
}

gboolean
unfinished_end (TasksLocal *self, GantryRecord *container, const char *snapshotter_id,
                GantryRecord **ret_record, GCancellable *cancellable, GError **error)
{
  static const char *const mask[] = { "labels." EXPIRE_LABEL, "labels." UNFINISHED_LABEL, NULL };
  g_autoptr (GPtrArray) changes = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_change_unref);
  g_autoptr (GPtrArray) records = NULL;

  g_ptr_array_add (changes, gantry_change_new (GANTRY_CHANGE_CREATE, container));
  if (snapshotter_id != NULL)
    {
      g_autofree char *id = g_strconcat (snapshotter_id, "/", container->id, NULL);
      g_autoptr (GantryRecord) snapshot
          = gantry_record_new (GANTRY_KIND_SNAPSHOT, container->ns, id, NULL, NULL);
      GantryChange *change = gantry_change_new (GANTRY_CHANGE_UPDATE, snapshot);

      change->mask = g_strdupv ((char **)mask);
      change->topic = g_strdup ("");
      g_ptr_array_add (changes, change);
    }
  if (!gantry_metadata_apply (self->metadata, changes, &records, cancellable, error))
    return FALSE;
  if (ret_record != NULL)
    *ret_record = gantry_record_ref (g_ptr_array_index (records, 0));
  return TRUE;
}

static gboolean
add_record (GantryRecord *record, gpointer user_data)
{
  g_ptr_array_add (user_data, gantry_record_ref (record));
  return TRUE;
}

gboolean
unfinished_remove (TasksLocal *self, GError **error)
{
  static const char *const filters[] = { "labels.\"" UNFINISHED_LABEL "\"==yes", NULL };
  g_autoptr (GPtrArray) records = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_record_unref);

  if (!gantry_metadata_list (self->metadata, GANTRY_KIND_SNAPSHOT, NULL, filters, NULL, 0, add_record,
                             records, NULL, error))
    return FALSE;
  for (guint i = 0; i < records->len; i++)
    {
      GantryRecord *record = g_ptr_array_index (records, i);
      g_autofree char *snapshotter_id = g_strndup (record->id, strcspn (record->id, "/"));
      g_autoptr (GantrySnapshotter) snapshotter = NULL;
      g_autoptr (GError) local = NULL;

      if (!gantry_store_open_snapshotter (self->store, record->ns, NULL, snapshotter_id, &snapshotter, NULL,
                                          NULL, &local)
          || !gantry_snapshotter_remove (snapshotter, record->id + strlen (snapshotter_id) + 1, NULL, &local))
        gantry_host_log (self->host, GANTRY_LOG_WARNING,
                         "the unfinished snapshot %s in namespace %s stays: %s", record->id, record->ns,
                         local->message);
    }
  return TRUE;
}
