/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a transfer makes is held by a lease until an image holds it. A crash leaves the lease; at the next start it is ended, and the
 * garbage collection takes what it held. */
#include "transfer-local.h"

#include <string.h>

#define LEASE_HOURS 24
#define TRANSFER_LABEL "org.gantry.transfer"

gboolean
lease_begin (TransferLocal *self, const char *ns, Lease *lease, GCancellable *cancellable, GError **error)
{
  g_autoptr (GDateTime) now = g_date_time_new_now_utc ();
  g_autoptr (GDateTime) end = g_date_time_add_hours (now, LEASE_HOURS);
  g_autofree char *expires = g_date_time_format (end, "%Y-%m-%dT%H:%M:%SZ");
  g_autofree char *uuid = g_uuid_string_random ();
  g_autofree char *id = g_strconcat ("transfer-", uuid, NULL);
  GVariantBuilder labels;
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GantryChange) change = NULL;

  g_variant_builder_init (&labels, G_VARIANT_TYPE ("a{ss}"));
  g_variant_builder_add (&labels, "{ss}", "containerd.io/gc.expire", expires);
  g_variant_builder_add (&labels, "{ss}", TRANSFER_LABEL, "yes");
  record = gantry_record_new (GANTRY_KIND_LEASE, ns, id, g_variant_builder_end (&labels), NULL);
  change = gantry_change_new (GANTRY_CHANGE_CREATE, record);
  if (!gantry_metadata_apply_one (self->metadata, change, NULL, cancellable, error))
    return FALSE;
  *lease = (Lease){ self, g_strdup (ns), g_steal_pointer (&id) };
  return TRUE;
}

void
lease_end (Lease *lease)
{
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GantryChange) change = NULL;
  g_autoptr (GError) error = NULL;

  if (lease->transfer == NULL)
    return;
  record = gantry_record_new (GANTRY_KIND_LEASE, lease->ns, lease->id, NULL, NULL);
  change = gantry_change_new (GANTRY_CHANGE_DELETE, record);
  /* One that stays ends by itself. */
  if (!gantry_metadata_apply_one (lease->transfer->metadata, change, NULL, NULL, &error))
    gantry_host_log (lease->transfer->host, GANTRY_LOG_WARNING, "lease %s stays until it expires: %s", lease->id,
                     error->message);
  g_free (lease->ns);
  g_free (lease->id);
  lease->transfer = NULL;
}

static gboolean
add_lease (GantryRecord *record, gpointer user_data)
{
  g_ptr_array_add (user_data, gantry_record_ref (record));
  return TRUE;
}

/* The ingests of a transfer have its lease in their refs. */
static gboolean
abort_ingests (TransferLocal *self, GantryRecord *lease, GError **error)
{
  g_autoptr (GantryContent) content = NULL;
  g_autoptr (GPtrArray) statuses = NULL;

  if (!gantry_store_open_content (self->store, lease->ns, NULL, NULL, &content, NULL, error)
      || !gantry_content_list_ingests (content, NULL, &statuses, NULL, error))
    return FALSE;
  for (guint i = 0; i < statuses->len; i++)
    {
      GantryIngestStatus *status = g_ptr_array_index (statuses, i);

      if (strstr (status->ref, lease->id) != NULL && !gantry_content_abort_ingest (content, status->ref, NULL, error))
        return FALSE;
    }
  return TRUE;
}

gboolean
lease_end_stale (TransferLocal *self, GError **error)
{
  static const char *const filters[] = { "labels.\"" TRANSFER_LABEL "\"==yes", NULL };
  g_autoptr (GPtrArray) leases = g_ptr_array_new_with_free_func ((GDestroyNotify) gantry_record_unref);

  if (!gantry_metadata_list (self->metadata, GANTRY_KIND_LEASE, NULL, filters, NULL, 0, add_lease, leases, NULL, error))
    return FALSE;
  for (guint i = 0; i < leases->len; i++)
    {
      GantryRecord *record = g_ptr_array_index (leases, i);
      g_auto (Lease) lease = { self, g_strdup (record->ns), g_strdup (record->id) };
      g_autoptr (GError) local = NULL;

      if (!abort_ingests (self, record, &local))
        gantry_host_log (self->host, GANTRY_LOG_WARNING, "ingests of the interrupted transfer %s stay: %s", record->id,
                         local->message);
    }
  return TRUE;
}
