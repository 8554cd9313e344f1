/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a transfer makes is held by a lease until an image holds it. A crash leaves the lease: at the next
 * start it is ended, and the garbage collection takes what it held; but what can be taken up again is kept
 * until the lease expires. */
#include "transfer-local.h"

#include <string.h>

#define LEASE_HOURS    24
#define EXPIRE_LABEL   "containerd.io/gc.expire"
#define TRANSFER_LABEL "org.gantry.transfer" /* of leases that end with the daemon */

static GantryRecord *
make_record (const char *ns, const char *id, gboolean shared)
{
  g_autoptr (GDateTime) now = g_date_time_new_now_utc ();
  g_autoptr (GDateTime) end = g_date_time_add_hours (now, LEASE_HOURS);
  g_autofree char *expires = g_date_time_format (end, "%Y-%m-%dT%H:%M:%SZ");
  GVariantBuilder labels;

  g_variant_builder_init (&labels, G_VARIANT_TYPE ("a{ss}"));
  g_variant_builder_add (&labels, "{ss}", EXPIRE_LABEL, expires);
  if (!shared)
    g_variant_builder_add (&labels, "{ss}", TRANSFER_LABEL, "yes");
  return gantry_record_new (GANTRY_KIND_LEASE, ns, id, g_variant_builder_end (&labels), NULL);
}

gboolean
lease_begin (TransferLocal *self, const char *ns, Lease *lease, GCancellable *cancellable, GError **error)
{
  g_autofree char *uuid = g_uuid_string_random ();
  g_autofree char *id = g_strconcat ("transfer-", uuid, NULL);
  g_autoptr (GantryRecord) record = make_record (ns, id, FALSE);
  g_autoptr (GantryChange) change = gantry_change_new (GANTRY_CHANGE_CREATE, record);

  if (!gantry_metadata_apply_one (self->metadata, change, NULL, cancellable, error))
    return FALSE;
  *lease = (Lease){ self, g_strdup (ns), g_steal_pointer (&id), FALSE };
  return TRUE;
}

/* Counts the users of a shared lease. Returns: how many there are now. */
static int
count_users (TransferLocal *self, const char *ns, const char *id, int delta)
{
  g_autofree char *key = g_strconcat (ns, "/", id, NULL);
  int n;

  g_mutex_lock (&self->lock);
  n = GPOINTER_TO_INT (g_hash_table_lookup (self->shared_leases, key)) + delta;
  if (n > 0)
    g_hash_table_insert (self->shared_leases, g_steal_pointer (&key), GINT_TO_POINTER (n));
  else
    g_hash_table_remove (self->shared_leases, key);
  g_mutex_unlock (&self->lock);
  return n;
}

gboolean
lease_share (TransferLocal *self, const char *ns, const char *id, Lease *lease, GCancellable *cancellable,
             GError **error)
{
  static const char *const mask[] = { "labels." EXPIRE_LABEL, NULL };
  g_autoptr (GantryRecord) record = make_record (ns, id, TRUE);
  g_autoptr (GantryChange) create = gantry_change_new (GANTRY_CHANGE_CREATE, record);
  g_autoptr (GantryChange) extend = gantry_change_new (GANTRY_CHANGE_UPDATE, record);
  g_autoptr (GError) local = NULL;

  extend->mask = g_strdupv ((char **)mask);
  /* From here on nobody else ends it. */
  count_users (self, ns, id, 1);
  if (!gantry_metadata_apply_one (self->metadata, create, NULL, cancellable, &local)
      && gantry_error_is (local, GANTRY_ERROR_ALREADY_EXISTS))
    {
      g_clear_error (&local);
      gantry_metadata_apply_one (self->metadata, extend, NULL, cancellable, &local);
    }
  if (local != NULL)
    {
      count_users (self, ns, id, -1);
      g_propagate_error (error, g_steal_pointer (&local));
      return FALSE;
    }
  *lease = (Lease){ self, g_strdup (ns), g_strdup (id), TRUE };
  return TRUE;
}

static void
forget (Lease *lease)
{
  g_free (lease->ns);
  g_free (lease->id);
  lease->transfer = NULL;
}

void
lease_keep (Lease *lease)
{
  if (lease->transfer == NULL)
    return;
  count_users (lease->transfer, lease->ns, lease->id, -1);
  forget (lease);
}

void
lease_end (Lease *lease)
{
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GantryChange) change = NULL;
  g_autoptr (GError) error = NULL;

  if (lease->transfer == NULL)
    return;
  if (!lease->shared || count_users (lease->transfer, lease->ns, lease->id, -1) == 0)
    {
      record = gantry_record_new (GANTRY_KIND_LEASE, lease->ns, lease->id, NULL, NULL);
      change = gantry_change_new (GANTRY_CHANGE_DELETE, record);
      /* One that stays ends by itself. */
      if (!gantry_metadata_apply_one (lease->transfer->metadata, change, NULL, NULL, &error))
        gantry_host_log (lease->transfer->host, GANTRY_LOG_WARNING, "lease %s stays until it expires: %s",
                         lease->id, error->message);
    }
  forget (lease);
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

      if (strstr (status->ref, lease->id) != NULL
          && !gantry_content_abort_ingest (content, status->ref, NULL, error))
        return FALSE;
    }
  return TRUE;
}

gboolean
lease_end_stale (TransferLocal *self, GError **error)
{
  static const char *const filters[] = { "labels.\"" TRANSFER_LABEL "\"==yes", NULL };
  g_autoptr (GPtrArray) leases = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_record_unref);

  if (!gantry_metadata_list (self->metadata, GANTRY_KIND_LEASE, NULL, filters, NULL, 0, add_lease, leases,
                             NULL, error))
    return FALSE;
  for (guint i = 0; i < leases->len; i++)
    {
      GantryRecord *record = g_ptr_array_index (leases, i);
      g_auto (Lease) lease G_GNUC_UNUSED = { self, g_strdup (record->ns), g_strdup (record->id), FALSE };
      g_autoptr (GError) local = NULL;

      if (!abort_ingests (self, record, &local))
        gantry_host_log (self->host, GANTRY_LOG_WARNING, "ingests of the interrupted transfer %s stay: %s",
                         record->id, local->message);
    }
  return TRUE;
}
