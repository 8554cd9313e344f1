/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The content of one namespace: a record says that the namespace has a blob, the backend has its bytes. A
 * blob's record is written after the blob is whole and synced, so a record never names what is not there; the
 * intent before it (intents.c) names what a crash in between leaves. */
#include "store-local.h"

#include <string.h>

#include <filter.h>
#include <reference.h>

/* A record of a larger blob is worth a sync: the blob would have to be fetched again. */
#define RELAXED_BLOB (8 * 1024 * 1024)

typedef struct
{
  GantryContent content;
  gint refs; /* (atomic) */
  StoreLocal *store;
  GantryContent *backend;
  char *ns;
  char *lease;      /* (nullable) */
  gboolean relaxed; /* whoever uses it waits for the disk at the end (store.h, relax) */
} View;

typedef struct
{
  GantryIngest ingest;
  gint refs; /* (atomic) */
  View *view;
  GantryIngest *backend;
  char *ref;
  char *expected; /* (nullable): the digest that open_ingest () was told and the backend was not */
} IngestView;

static GantryContent *
view_ref (GantryContent *content)
{
  g_atomic_int_inc (&((View *)content)->refs);
  return content;
}

static void
view_unref (GantryContent *content)
{
  View *self = (View *)content;

  if (!g_atomic_int_dec_and_test (&self->refs))
    return;
  g_free (self->ns);
  g_free (self->lease);
  g_free (self);
}

static GantryContentInfo *
info_from_record (GantryRecord *record)
{
  g_autoptr (GVariant) size = gantry_record_get_field (record, "size", G_VARIANT_TYPE_UINT64);

  return gantry_content_info_new (record->id, size != NULL ? g_variant_get_uint64 (size) : 0,
                                  record->created_ns, record->updated_ns, record->labels);
}

static gboolean
view_info (GantryContent *content, const char *digest, GantryContentInfo **ret_info,
           GCancellable *cancellable, GError **error)
{
  View *self = (View *)content;
  g_autoptr (GantryRecord) record = NULL;

  if (!gantry_reference_check_digest (digest, error)
      || !gantry_metadata_get (self->store->metadata, GANTRY_KIND_CONTENT, self->ns, digest, &record,
                               cancellable, error))
    return FALSE;
  *ret_info = info_from_record (record);
  return TRUE;
}

typedef struct
{
  GantryFilter *filter; /* (nullable): metadata has filtered */
  GantryContentFunc func;
  gpointer user_data;
  char size[24];
} Walk;

typedef struct
{
  Walk *walk;
  GantryContentInfo *info;
} Match;

static const char *
info_field (const char *const *path, guint n_path, gpointer object)
{
  Match *match = object;

  if (n_path == 2 && strcmp (path[0], "labels") == 0)
    return gantry_labels_lookup (match->info->labels, path[1]);
  if (n_path != 1)
    return NULL;
  if (strcmp (path[0], "digest") == 0)
    return match->info->digest;
  if (strcmp (path[0], "size") != 0)
    return NULL;
  g_snprintf (match->walk->size, sizeof match->walk->size, "%" G_GUINT64_FORMAT, match->info->blob_size);
  return match->walk->size;
}

static gboolean
on_record (GantryRecord *record, gpointer user_data)
{
  Walk *walk = user_data;
  g_autoptr (GantryContentInfo) info = info_from_record (record);
  Match match = { walk, info };

  return (walk->filter != NULL && !gantry_filter_match (walk->filter, info_field, &match))
         || walk->func (info, walk->user_data);
}

static gboolean
names_size (const char *const *filters)
{
  for (gsize i = 0; filters != NULL && filters[i] != NULL; i++)
    if (strstr (filters[i], "size") != NULL)
      return TRUE;
  return FALSE;
}

static gboolean
view_walk (GantryContent *content, const char *const *filters, GantryContentFunc func, gpointer user_data,
           GCancellable *cancellable, GError **error)
{
  View *self = (View *)content;
  g_autoptr (GantryFilter) filter = NULL;
  Walk walk = { NULL, func, user_data, "" };

  /* A size is not text to metadata; the rest it can look up. */
  if (names_size (filters))
    {
      filter = gantry_filter_new (filters, error);
      if (filter == NULL)
        return FALSE;
      walk.filter = filter;
    }
  return gantry_metadata_list (self->store->metadata, GANTRY_KIND_CONTENT, self->ns,
                               filter != NULL ? NULL : filters, NULL, 0, on_record, &walk, cancellable,
                               error);
}

static gboolean
view_update (GantryContent *content, const char *digest, GVariant *labels, const char *const *mask,
             GantryContentInfo **ret_info, GCancellable *cancellable, GError **error)
{
  static const char *const all[] = { "labels", NULL };
  View *self = (View *)content;
  g_autoptr (GantryRecord) record = gantry_record_new (GANTRY_KIND_CONTENT, self->ns, digest, labels, NULL);
  g_autoptr (GantryChange) change = gantry_change_new (GANTRY_CHANGE_UPDATE, record);
  g_autoptr (GantryRecord) updated = NULL;

  change->mask = g_strdupv ((char **)(mask != NULL && mask[0] != NULL ? mask : all));
  change->relaxed = self->relaxed;
  if (!gantry_metadata_apply_one (self->store->metadata, change, &updated, cancellable, error))
    return FALSE;
  if (ret_info != NULL)
    *ret_info = info_from_record (updated);
  collector_schedule (self->store, 1);
  return TRUE;
}

static gboolean
view_remove (GantryContent *content, const char *digest, GCancellable *cancellable, GError **error)
{
  View *self = (View *)content;
  g_autoptr (GantryRecord) record = gantry_record_new (GANTRY_KIND_CONTENT, self->ns, digest, NULL, NULL);
  g_autoptr (GantryChange) change = gantry_change_new (GANTRY_CHANGE_DELETE, record);

  if (!gantry_reference_check_digest (digest, error)
      || !gantry_metadata_apply_one (self->store->metadata, change, NULL, cancellable, error))
    return FALSE;
  collector_schedule (self->store, 0);
  return TRUE;
}

static gboolean
view_open_blob (GantryContent *content, const char *digest, int *ret_fd, guint64 *ret_size,
                GCancellable *cancellable, GError **error)
{
  View *self = (View *)content;
  g_autoptr (GantryRecord) record = NULL;

  return gantry_reference_check_digest (digest, error)
         && gantry_metadata_get (self->store->metadata, GANTRY_KIND_CONTENT, self->ns, digest, &record,
                                 cancellable, error)
         && gantry_content_open_blob (self->backend, digest, ret_fd, ret_size, cancellable, error);
}

/* Makes the namespace's record of a blob that the backend has, and ends @intent (nullable); with the blobs
 * lock shared. */
static gboolean
adopt (View *self, const char *digest, guint64 size, GVariant *labels, GantryRecord *intent,
       GCancellable *cancellable, GError **error)
{
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GantryChange) change = NULL;
  GVariantDict fields;

  g_variant_dict_init (&fields, NULL);
  g_variant_dict_insert (&fields, "size", "t", size);
  record = gantry_record_new (GANTRY_KIND_CONTENT, self->ns, digest, labels, g_variant_dict_end (&fields));
  change = gantry_change_new (GANTRY_CHANGE_CREATE, record);
  change->lease = g_strdup (self->lease);
  change->relaxed = self->relaxed && size < RELAXED_BLOB;
  return intent != NULL ? intent_fulfil (self->store, intent, change, cancellable, error)
                        : gantry_metadata_apply_one (self->store->metadata, change, NULL, cancellable, error);
}

/* Has the lease hold a blob that was there before. */
static gboolean
hold (View *self, const char *digest, GCancellable *cancellable, GError **error)
{
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GantryChange) change = NULL;

  if (self->lease == NULL)
    return TRUE;
  record = gantry_record_new (GANTRY_KIND_CONTENT, self->ns, digest, NULL, NULL);
  change = gantry_change_new (GANTRY_CHANGE_LEASE_ADD, record);
  change->lease = g_strdup (self->lease);
  change->relaxed = self->relaxed;
  return gantry_metadata_apply_one (self->store->metadata, change, NULL, cancellable, error);
}

/* Asked again once a lease holds it: until then it may have been collected, from then on it stays. */
static gboolean
has_record (View *self, const char *digest)
{
  g_autoptr (GantryRecord) record = NULL;

  return gantry_metadata_get (self->store->metadata, GANTRY_KIND_CONTENT, self->ns, digest, &record, NULL,
                              NULL);
}

static GantryIngest *
ingest_view_ref (GantryIngest *ingest)
{
  g_atomic_int_inc (&((IngestView *)ingest)->refs);
  return ingest;
}

static void
ingest_view_unref (GantryIngest *ingest)
{
  IngestView *self = (IngestView *)ingest;

  if (!g_atomic_int_dec_and_test (&self->refs))
    return;
  gantry_ingest_unref (self->backend);
  view_unref (&self->view->content);
  g_free (self->ref);
  g_free (self->expected);
  g_free (self);
}

static gboolean
ingest_view_write (GantryIngest *ingest, gconstpointer data, gsize length, GCancellable *cancellable,
                   GError **error)
{
  return gantry_ingest_write (((IngestView *)ingest)->backend, data, length, cancellable, error);
}

/* The status as the namespace sees it: with its own ref. */
static GantryIngestStatus *
own_status (GantryIngestStatus *status, const char *ref)
{
  return gantry_ingest_status_new (ref, status->offset, status->total, status->expected_digest,
                                   status->started_ns, status->updated_ns);
}

static gboolean
ingest_view_get_status (GantryIngest *ingest, GantryIngestStatus **ret_status, GCancellable *cancellable,
                        GError **error)
{
  IngestView *self = (IngestView *)ingest;
  g_autoptr (GantryIngestStatus) status = NULL;

  if (!gantry_ingest_get_status (self->backend, &status, cancellable, error))
    return FALSE;
  *ret_status = own_status (status, self->ref);
  return TRUE;
}

static gboolean
ingest_view_truncate (GantryIngest *ingest, guint64 offset, GCancellable *cancellable, GError **error)
{
  return gantry_ingest_truncate (((IngestView *)ingest)->backend, offset, cancellable, error);
}

static gboolean
ingest_view_get_digest (GantryIngest *ingest, char **ret_digest, GCancellable *cancellable, GError **error)
{
  return gantry_ingest_get_digest (((IngestView *)ingest)->backend, ret_digest, cancellable, error);
}

static gboolean
ingest_view_open_reader (GantryIngest *ingest, int *ret_fd, GCancellable *cancellable, GError **error)
{
  return gantry_ingest_open_reader (((IngestView *)ingest)->backend, ret_fd, cancellable, error);
}

/* Publishes the blob and makes its record. *@ret_digest is set if there is a blob, be it from before
 * (ALREADY_EXISTS). */
static gboolean
commit_and_adopt (IngestView *self, guint64 size, guint64 expected_size, const char *expected_digest,
                  GVariant *labels, GantryRecord *intent, char **ret_digest, GCancellable *cancellable,
                  GError **error)
{
  View *view = self->view;
  g_autoptr (GError) local = NULL;

  if (!gantry_ingest_commit (self->backend, expected_size, expected_digest, NULL, ret_digest, cancellable,
                             &local)
      && !gantry_error_is (local, GANTRY_ERROR_ALREADY_EXISTS))
    {
      intent_drop (view->store, intent);
      g_propagate_error (error, g_steal_pointer (&local));
      return FALSE;
    }
  g_clear_error (&local);
  /* What is published gets its record, even if whoever wanted it has given up meanwhile. */
  if (adopt (view, *ret_digest, size, labels, intent, NULL, &local))
    return TRUE;
  if (gantry_error_is (local, GANTRY_ERROR_ALREADY_EXISTS))
    {
      intent_drop (view->store, intent);
      /* The caller hears that it exists; what its lease holds must be true all the same. */
      if (!hold (view, *ret_digest, NULL, error))
        return FALSE;
      if (view->lease != NULL && !has_record (view, *ret_digest))
        return adopt (view, *ret_digest, size, labels, NULL, NULL, error);
    }
  g_propagate_error (error, g_steal_pointer (&local));
  return FALSE;
}

static gboolean
ingest_view_commit (GantryIngest *ingest, guint64 expected_size, const char *expected_digest,
                    GVariant *labels, char **ret_digest, GCancellable *cancellable, GError **error)
{
  IngestView *self = (IngestView *)ingest;
  View *view = self->view;
  g_autoptr (GVariant) held = labels != NULL ? g_variant_ref_sink (labels) : NULL;
  g_autoptr (GantryIngestStatus) status = NULL;
  g_autoptr (GantryRecord) intent = NULL;
  g_autoptr (GError) local = NULL;
  g_autofree char *intended = NULL, *digest = NULL;
  gboolean ok;

  if (!gantry_ingest_get_status (self->backend, &status, cancellable, error)
      || !gantry_ingest_get_digest (self->backend, &intended, cancellable, error))
    return FALSE;
  if (self->expected != NULL && strcmp (self->expected, intended) != 0)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                         "unexpected commit digest %s, expected %s: failed precondition", intended,
                         self->expected);
  g_rw_lock_reader_lock (&view->store->blobs_lock);
  intent = intent_of_blob (view->store, view->ns, intended, cancellable, &local);
  ok = intent != NULL
       && commit_and_adopt (self, status->offset, expected_size, expected_digest, held, intent, &digest,
                            cancellable, &local);
  g_rw_lock_reader_unlock (&view->store->blobs_lock);
  if (ret_digest != NULL && digest != NULL && (ok || gantry_error_is (local, GANTRY_ERROR_ALREADY_EXISTS)))
    *ret_digest = g_steal_pointer (&digest);
  if (!ok)
    g_propagate_error (error, g_steal_pointer (&local));
  return ok;
}

static const GantryIngestVtable ingest_vtable = {
  .size = sizeof (GantryIngestVtable),
  .ref = ingest_view_ref,
  .unref = ingest_view_unref,
  .write = ingest_view_write,
  .get_status = ingest_view_get_status,
  .truncate = ingest_view_truncate,
  .commit = ingest_view_commit,
  .get_digest = ingest_view_get_digest,
  .open_reader = ingest_view_open_reader,
};

/* Whether the namespace has @digest now, if need be because another one has it. Returns: FALSE with or
 * without an error. */
static gboolean
have_blob (View *self, const char *digest, GCancellable *cancellable, GError **error)
{
  g_autoptr (GantryContentInfo) info = NULL;
  gboolean ok = FALSE;

  if (has_record (self, digest))
    {
      if (!hold (self, digest, cancellable, error))
        return FALSE;
      if (self->lease == NULL || has_record (self, digest))
        return TRUE;
    }
  if (self->store->isolated)
    return FALSE;
  g_rw_lock_reader_lock (&self->store->blobs_lock);
  if (gantry_content_info (self->backend, digest, &info, cancellable, NULL))
    ok = adopt (self, digest, info->blob_size, NULL, NULL, cancellable, error);
  g_rw_lock_reader_unlock (&self->store->blobs_lock);
  return ok;
}

/* Where namespaces are isolated a blob that another one has must be sent again; the backend, which knows
 * none, would say that it is there. */
static gboolean
must_come_again (View *self, const char *digest, GCancellable *cancellable)
{
  g_autoptr (GantryContentInfo) info = NULL;

  return self->store->isolated && digest != NULL
         && gantry_content_info (self->backend, digest, &info, cancellable, NULL);
}

static char *
backend_ref (View *self, const char *ref)
{
  return g_strconcat (self->ns, "/", ref, NULL);
}

static gboolean
view_open_ingest (GantryContent *content, const char *ref, guint64 total, const char *expected_digest,
                  GantryIngest **ret_ingest, GCancellable *cancellable, GError **error)
{
  View *self = (View *)content;
  g_autoptr (GError) local = NULL;
  g_autofree char *full = NULL;
  GantryIngest *backend = NULL;
  IngestView *ingest;
  gboolean again;

  if (ref == NULL || ref[0] == '\0' || strlen (ref) > GANTRY_MAX_NAME)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "an ingest ref must have 1 to %d characters: invalid argument", GANTRY_MAX_NAME);
  if (expected_digest != NULL)
    {
      if (!gantry_reference_check_digest (expected_digest, error))
        return FALSE;
      if (have_blob (self, expected_digest, cancellable, &local))
        return gantry_throw (error, GANTRY_ERROR_ALREADY_EXISTS, "content %s: already exists",
                             expected_digest);
      if (local != NULL)
        {
          g_propagate_error (error, g_steal_pointer (&local));
          return FALSE;
        }
    }
  full = backend_ref (self, ref);
  again = must_come_again (self, expected_digest, cancellable);
  if (!gantry_content_open_ingest (self->backend, full, total, again ? NULL : expected_digest, &backend,
                                   cancellable, error))
    return FALSE;
  ingest = g_new0 (IngestView, 1);
  ingest->expected = again ? g_strdup (expected_digest) : NULL;
  ingest->ingest.vtable = &ingest_vtable;
  ingest->refs = 1;
  ingest->view = (View *)view_ref (content);
  ingest->backend = backend;
  ingest->ref = g_strdup (ref);
  *ret_ingest = &ingest->ingest;
  return TRUE;
}

static const char *
status_field (const char *const *path, guint n_path, gpointer object)
{
  return n_path == 1 && strcmp (path[0], "ref") == 0 ? ((GantryIngestStatus *)object)->ref : NULL;
}

/* The filters are about refs as the namespace knows them, so they are not for the backend. */
static gboolean
view_list_ingests (GantryContent *content, const char *const *filters, GPtrArray **ret_statuses,
                   GCancellable *cancellable, GError **error)
{
  View *self = (View *)content;
  g_autoptr (GantryFilter) filter = gantry_filter_new (filters, error);
  g_autoptr (GPtrArray) all = NULL;
  g_autoptr (GPtrArray) own = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_ingest_status_unref);
  g_autofree char *prefix = backend_ref (self, "");

  if (filter == NULL || !gantry_content_list_ingests (self->backend, NULL, &all, cancellable, error))
    return FALSE;
  for (guint i = 0; i < all->len; i++)
    {
      GantryIngestStatus *status = g_ptr_array_index (all, i);
      g_autoptr (GantryIngestStatus) as_seen = NULL;

      if (!g_str_has_prefix (status->ref, prefix))
        continue;
      as_seen = own_status (status, status->ref + strlen (prefix));
      if (gantry_filter_match (filter, status_field, as_seen))
        g_ptr_array_add (own, g_steal_pointer (&as_seen));
    }
  *ret_statuses = g_steal_pointer (&own);
  return TRUE;
}

static gboolean
view_ingest_status (GantryContent *content, const char *ref, GantryIngestStatus **ret_status,
                    GCancellable *cancellable, GError **error)
{
  View *self = (View *)content;
  g_autofree char *full = backend_ref (self, ref);
  g_autoptr (GantryIngestStatus) status = NULL;

  if (!gantry_content_ingest_status (self->backend, full, &status, cancellable, error))
    return FALSE;
  *ret_status = own_status (status, ref);
  return TRUE;
}

static gboolean
view_abort_ingest (GantryContent *content, const char *ref, GCancellable *cancellable, GError **error)
{
  g_autofree char *full = backend_ref ((View *)content, ref);

  return gantry_content_abort_ingest (((View *)content)->backend, full, cancellable, error);
}

static const GantryContentVtable vtable = {
  .size = sizeof (GantryContentVtable),
  .ref = view_ref,
  .unref = view_unref,
  .info = view_info,
  .walk = view_walk,
  .update = view_update,
  .remove = view_remove,
  .open_blob = view_open_blob,
  .open_ingest = view_open_ingest,
  .list_ingests = view_list_ingests,
  .ingest_status = view_ingest_status,
  .abort_ingest = view_abort_ingest,
};

gboolean
content_view_open (GantryStore *store, const char *ns, const char *lease, const char *content_id,
                   GantryContent **ret_content, GCancellable *cancellable, GError **error)
{
  StoreLocal *self = (StoreLocal *)store;
  GantryContent *backend = store_local_content (self, content_id, error);
  View *view;

  if (backend == NULL)
    return FALSE;
  if (!store_local_check_namespace (ns, error))
    return FALSE;
  view = g_new0 (View, 1);
  view->content.vtable = &vtable;
  view->refs = 1;
  view->store = self;
  view->backend = backend;
  view->ns = g_strdup (ns);
  view->lease = g_strdup (lease);
  *ret_content = &view->content;
  return TRUE;
}

void
content_view_relax (GantryContent *content)
{
  ((View *)content)->relaxed = TRUE;
}
