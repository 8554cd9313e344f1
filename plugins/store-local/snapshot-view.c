/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The snapshots of one namespace in one snapshotter. The record is what exists; the backend's own entry is
 * made before the record and removed after it. An intent (intents.c) goes before the backend's entry, so that
 * the next start settles what a crash left. */
#include "store-local.h"

#include <string.h>

#include <filter.h>

typedef struct
{
  GantrySnapshotter snapshotter;
  gint refs; /* (atomic) */
  StoreLocal *store;
  GantrySnapshotter *backend;
  char *id; /* the snapshotter plugin's */
  char *ns;
  char *lease;      /* (nullable) */
  gboolean relaxed; /* as of content-view.c */
} View;

static GantrySnapshotter *
view_ref (GantrySnapshotter *snapshotter)
{
  g_atomic_int_inc (&((View *)snapshotter)->refs);
  return snapshotter;
}

static void
view_unref (GantrySnapshotter *snapshotter)
{
  View *self = (View *)snapshotter;

  if (!g_atomic_int_dec_and_test (&self->refs))
    return;
  g_free (self->id);
  g_free (self->ns);
  g_free (self->lease);
  g_free (self);
}

static unsigned
view_capabilities (GantrySnapshotter *snapshotter)
{
  return gantry_snapshotter_get_capabilities (((View *)snapshotter)->backend);
}

static char *
record_id (View *self, const char *key)
{
  return g_strconcat (self->id, "/", key, NULL);
}

static char *
new_backend_key (View *self, const char *key)
{
  return g_strdup_printf ("%s/%" G_GINT64_MODIFIER "x.%x/%s", self->ns, self->store->started_ns,
                          (unsigned)g_atomic_int_add (&self->store->serial, 1), key);
}

static GantryRecord *
read_record (View *self, const char *key, GCancellable *cancellable, GError **error)
{
  g_autofree char *id = record_id (self, key);
  GantryRecord *record = NULL;

  return gantry_metadata_get (self->store->metadata, GANTRY_KIND_SNAPSHOT, self->ns, id, &record, cancellable,
                              error)
             ? record
             : NULL;
}

static GantrySnapshotKind
kind_of (GantryRecord *record)
{
  g_autoptr (GVariant) kind = gantry_record_get_field (record, "kind", G_VARIANT_TYPE_UINT32);

  return kind != NULL ? (GantrySnapshotKind)g_variant_get_uint32 (kind) : GANTRY_SNAPSHOT_UNKNOWN;
}

static GantrySnapshotInfo *
info_from_record (GantryRecord *record)
{
  const char *parent = gantry_record_get_string (record, "parent");

  return gantry_snapshot_info_new (kind_of (record), strchr (record->id, '/') + 1,
                                   parent != NULL && parent[0] != '\0' ? parent : NULL, record->labels,
                                   record->created_ns, record->updated_ns);
}

/* The backend's name for @key. Returns: (transfer full), or NULL with NOT_FOUND. */
static char *
backend_key (View *self, const char *key, GCancellable *cancellable, GError **error)
{
  g_autoptr (GantryRecord) record = read_record (self, key, cancellable, error);

  return record != NULL ? g_strdup (gantry_record_get_string (record, "backend")) : NULL;
}

static gboolean
view_stat (GantrySnapshotter *snapshotter, const char *key, GantrySnapshotInfo **ret_info,
           GCancellable *cancellable, GError **error)
{
  g_autoptr (GantryRecord) record = read_record ((View *)snapshotter, key, cancellable, error);

  if (record == NULL)
    return FALSE;
  *ret_info = info_from_record (record);
  return TRUE;
}

static gboolean
view_update (GantrySnapshotter *snapshotter, const char *key, GVariant *labels, const char *const *mask,
             GantrySnapshotInfo **ret_info, GCancellable *cancellable, GError **error)
{
  static const char *const all[] = { "labels", NULL };
  View *self = (View *)snapshotter;
  g_autofree char *id = record_id (self, key);
  g_autoptr (GantryRecord) record = gantry_record_new (GANTRY_KIND_SNAPSHOT, self->ns, id, labels, NULL);
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
view_usage (GantrySnapshotter *snapshotter, const char *key, guint64 *ret_bytes, guint64 *ret_inodes,
            GCancellable *cancellable, GError **error)
{
  View *self = (View *)snapshotter;
  g_autofree char *backend = backend_key (self, key, cancellable, error);

  return backend != NULL
         && gantry_snapshotter_usage (self->backend, backend, ret_bytes, ret_inodes, cancellable, error);
}

static gboolean
view_mounts (GantrySnapshotter *snapshotter, const char *key, GPtrArray **ret_mounts,
             GCancellable *cancellable, GError **error)
{
  View *self = (View *)snapshotter;
  g_autofree char *backend = backend_key (self, key, cancellable, error);

  return backend != NULL
         && gantry_snapshotter_mounts (self->backend, backend, ret_mounts, cancellable, error);
}

static GVariant *
make_fields (GantrySnapshotKind kind, const char *parent, const char *backend)
{
  GVariantDict fields;

  g_variant_dict_init (&fields, NULL);
  g_variant_dict_insert (&fields, "kind", "u", (guint32)kind);
  g_variant_dict_insert (&fields, "parent", "s", parent != NULL ? parent : "");
  g_variant_dict_insert (&fields, "backend", "s", backend);
  return g_variant_dict_end (&fields);
}

static GVariant *
make_payload (View *self, const char *key, const char *parent, const char *name)
{
  GVariantDict payload;

  g_variant_dict_init (&payload, NULL);
  g_variant_dict_insert (&payload, "key", "s", key);
  g_variant_dict_insert (&payload, "snapshotter", "s", self->id);
  if (parent != NULL)
    g_variant_dict_insert (&payload, "parent", "s", parent);
  if (name != NULL)
    g_variant_dict_insert (&payload, "name", "s", name);
  return g_variant_ref_sink (g_variant_dict_end (&payload));
}

/* Undoes what the backend did when the record could not be written. If that fails, the intent stays and the
 * next start tries again. */
static void
abandon (View *self, const char *backend, GantryRecord *intent)
{
  g_autoptr (GError) error = NULL;

  if (gantry_snapshotter_remove (self->backend, backend, NULL, &error)
      || gantry_error_is (error, GANTRY_ERROR_NOT_FOUND))
    intent_drop (self->store, intent);
  else
    gantry_host_log (self->store->host, GANTRY_LOG_WARNING,
                     "snapshot %s of %s stays until the next start: %s", backend, self->id, error->message);
}

static gboolean
check_name (const char *key, GError **error)
{
  if (key == NULL || key[0] == '\0' || strlen (key) > GANTRY_MAX_NAME || !g_utf8_validate (key, -1, NULL))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "a snapshot key must have 1 to %d characters of UTF-8: invalid argument",
                         GANTRY_MAX_NAME);
  return TRUE;
}

static gboolean
validate_key (View *self, const char *key, GCancellable *cancellable, GError **error)
{
  g_autoptr (GantryRecord) existing = NULL;

  if (!check_name (key, error))
    return FALSE;
  existing = read_record (self, key, cancellable, NULL);
  if (existing != NULL)
    return gantry_throw (error, GANTRY_ERROR_ALREADY_EXISTS, "snapshot \"%s\": already exists", key);
  return TRUE;
}

static gboolean
make (View *self, GantrySnapshotKind kind, const char *key, const char *parent, GVariant *labels,
      GPtrArray **ret_mounts, GCancellable *cancellable, GError **error)
{
  g_autofree char *id = record_id (self, key != NULL ? key : "");
  g_autofree char *backend = NULL, *backend_parent = NULL;
  g_autoptr (GVariant) held = labels != NULL ? g_variant_ref_sink (labels) : NULL;
  g_autoptr (GPtrArray) mounts = NULL;
  g_autoptr (GantryRecord) record = NULL, intent = NULL;
  g_autoptr (GantryChange) change = NULL;
  gboolean ok;

  if (parent != NULL && parent[0] == '\0')
    parent = NULL;
  if (!validate_key (self, key, cancellable, error))
    return FALSE;
  if (parent != NULL && (backend_parent = backend_key (self, parent, cancellable, error)) == NULL)
    {
      g_prefix_error (error, "parent ");
      return FALSE;
    }
  backend = new_backend_key (self, key);
  intent = intent_of_snapshot (self->store, self->id, backend, cancellable, error);
  if (intent == NULL)
    return FALSE;
  ok = kind == GANTRY_SNAPSHOT_ACTIVE ? gantry_snapshotter_prepare (self->backend, backend, backend_parent,
                                                                    held, &mounts, cancellable, error)
                                      : gantry_snapshotter_view (self->backend, backend, backend_parent, held,
                                                                 &mounts, cancellable, error);
  if (!ok)
    {
      intent_drop (self->store, intent);
      return FALSE;
    }
  record = gantry_record_new (GANTRY_KIND_SNAPSHOT, self->ns, id, held, make_fields (kind, parent, backend));
  change = gantry_change_new (GANTRY_CHANGE_CREATE, record);
  change->lease = g_strdup (self->lease);
  change->relaxed = self->relaxed;
  change->topic = g_strdup ("/snapshot/prepare");
  change->payload = make_payload (self, key, parent, NULL);
  if (!intent_fulfil (self->store, intent, change, cancellable, error))
    {
      abandon (self, backend, intent);
      return FALSE;
    }
  if (ret_mounts != NULL)
    *ret_mounts = g_steal_pointer (&mounts);
  return TRUE;
}

static gboolean
view_prepare (GantrySnapshotter *snapshotter, const char *key, const char *parent, GVariant *labels,
              GPtrArray **ret_mounts, GCancellable *cancellable, GError **error)
{
  return make ((View *)snapshotter, GANTRY_SNAPSHOT_ACTIVE, key, parent, labels, ret_mounts, cancellable,
               error);
}

static gboolean
view_view (GantrySnapshotter *snapshotter, const char *key, const char *parent, GVariant *labels,
           GPtrArray **ret_mounts, GCancellable *cancellable, GError **error)
{
  return make ((View *)snapshotter, GANTRY_SNAPSHOT_VIEW, key, parent, labels, ret_mounts, cancellable,
               error);
}

static gboolean
view_commit (GantrySnapshotter *snapshotter, const char *name, const char *key, const char *parent,
             GVariant *labels, GCancellable *cancellable, GError **error)
{
  View *self = (View *)snapshotter;
  g_autoptr (GVariant) held = labels != NULL ? g_variant_ref_sink (labels) : NULL;
  g_autoptr (GantryRecord) active = NULL, record = NULL, intent = NULL;
  g_autoptr (GantryChange) change = NULL;
  g_autofree char *backend = NULL, *backend_parent = NULL;
  const char *own_parent;

  /* In this order, so that a client that commits again after a lost answer hears that the name exists. */
  if (!validate_key (self, name, cancellable, error)
      || (active = read_record (self, key, cancellable, error)) == NULL)
    return FALSE;
  if (parent != NULL && parent[0] == '\0')
    parent = NULL;
  if (parent != NULL && (backend_parent = backend_key (self, parent, cancellable, error)) == NULL)
    {
      g_prefix_error (error, "parent ");
      return FALSE;
    }
  own_parent = gantry_record_get_string (active, "parent");
  backend = new_backend_key (self, name);
  record = gantry_record_new (GANTRY_KIND_SNAPSHOT, self->ns, active->id, held,
                              make_fields (GANTRY_SNAPSHOT_COMMITTED, parent != NULL ? parent : own_parent,
                                           backend));
  change = gantry_change_new (GANTRY_CHANGE_RENAME, record);
  change->new_id = record_id (self, name);
  change->lease = g_strdup (self->lease);
  change->relaxed = self->relaxed;
  change->topic = g_strdup ("/snapshot/commit");
  change->payload = make_payload (self, key, NULL, name);
  intent = intent_of_commit (self->store, self->id, backend, change, cancellable, error);
  if (intent == NULL)
    return FALSE;
  if (!gantry_snapshotter_commit (self->backend, backend, gantry_record_get_string (active, "backend"),
                                  backend_parent, held, cancellable, error))
    {
      intent_drop (self->store, intent);
      return FALSE;
    }
  if (intent_fulfil (self->store, intent, change, NULL, error))
    return TRUE;
  abandon (self, backend, intent);
  return FALSE;
}

static gboolean
view_remove (GantrySnapshotter *snapshotter, const char *key, GCancellable *cancellable, GError **error)
{
  View *self = (View *)snapshotter;
  g_autofree char *id = record_id (self, key);
  g_autoptr (GantryRecord) record = gantry_record_new (GANTRY_KIND_SNAPSHOT, self->ns, id, NULL, NULL);
  g_autoptr (GantryChange) change = gantry_change_new (GANTRY_CHANGE_DELETE, record);
  g_autoptr (GantryRecord) removed = NULL;
  g_autoptr (GPtrArray) garbage = NULL;
  g_autoptr (GError) local = NULL;
  const char *backend;

  if (!check_name (key, error))
    return FALSE;
  change->topic = g_strdup ("/snapshot/remove");
  change->payload = make_payload (self, key, NULL, NULL);
  if (!gantry_metadata_apply_one (self->store->metadata, change, &removed, cancellable, error))
    return FALSE;
  /* It is gone; what its backend still has goes now, or with the next collection. */
  backend = gantry_record_get_string (removed, "backend");
  garbage = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_garbage_unref);
  g_ptr_array_add (garbage, gantry_garbage_new (GANTRY_KIND_SNAPSHOT, backend, self->id, self->ns, id, 0));
  if (gantry_snapshotter_remove (self->backend, backend, NULL, &local))
    gantry_metadata_collected (self->store->metadata, garbage, NULL, &local);
  if (local != NULL)
    gantry_host_log (self->store->host, GANTRY_LOG_WARNING, "snapshot %s of %s goes later: %s", backend,
                     self->id, local->message);
  return TRUE;
}

static const char *
info_field (const char *const *path, guint n_path, gpointer object)
{
  static const char *const kinds[] = { "unknown", "view", "active", "committed" };
  GantrySnapshotInfo *info = object;

  if (n_path == 2 && strcmp (path[0], "labels") == 0)
    return gantry_labels_lookup (info->labels, path[1]);
  if (n_path != 1)
    return NULL;
  if (strcmp (path[0], "name") == 0)
    return info->name;
  if (strcmp (path[0], "parent") == 0)
    return info->parent;
  return strcmp (path[0], "kind") == 0 ? kinds[MIN (info->kind, 3)] : NULL;
}

typedef struct
{
  const char *prefix;
  GantryFilter *filter;
  GantrySnapshotFunc func;
  gpointer user_data;
} Walk;

static gboolean
on_record (GantryRecord *record, gpointer user_data)
{
  Walk *walk = user_data;
  g_autoptr (GantrySnapshotInfo) info = NULL;

  /* Ids are listed in order, so those of this snapshotter stand together behind its prefix. */
  if (!g_str_has_prefix (record->id, walk->prefix))
    return FALSE;
  info = info_from_record (record);
  return !gantry_filter_match (walk->filter, info_field, info) || walk->func (info, walk->user_data);
}

/* Longer filters than this are left to the walk itself: with quotes they could be too long for metadata. */
#define MAX_CANDIDATE 4096

static gboolean
is_indexed (const char *const *path, guint n_path)
{
  return n_path == 1 ? strcmp (path[0], "name") == 0 : n_path == 2 && strcmp (path[0], "labels") == 0;
}

static void
append_quoted (GString *text, const char *prefix, const char *value)
{
  g_string_append_printf (text, "\"%s", prefix);
  for (; *value != '\0'; value++)
    {
      if (*value == '"' || *value == '\\')
        g_string_append_c (text, '\\');
      g_string_append_c (text, *value);
    }
  g_string_append_c (text, '"');
}

/* Filters by which metadata finds, with an index, all that can match; NULL: everything has to be looked at.
 */
static char **
candidate_filters (GantryFilter *filter, const char *prefix)
{
  g_autoptr (GArray) equals = gantry_filter_get_equals (filter, is_indexed);
  g_autoptr (GPtrArray) filters = g_ptr_array_new_with_free_func (g_free);

  if (equals == NULL)
    return NULL;
  for (guint i = 0; i < equals->len; i++)
    {
      const GantryFilterEqual *equal = &g_array_index (equals, GantryFilterEqual, i);
      GString *text = g_string_new (equal->n_path == 1 ? "id" : "labels.");

      if (equal->n_path == 2)
        append_quoted (text, "", equal->path[1]);
      g_string_append (text, "==");
      append_quoted (text, equal->n_path == 1 ? prefix : "", equal->value);
      g_ptr_array_add (filters, g_string_free (text, FALSE));
      if (strlen (g_ptr_array_index (filters, i)) > MAX_CANDIDATE)
        return NULL;
    }
  g_ptr_array_add (filters, NULL);
  return (char **)g_ptr_array_free (g_steal_pointer (&filters), FALSE);
}

static gboolean
view_walk (GantrySnapshotter *snapshotter, const char *const *filters, GantrySnapshotFunc func,
           gpointer user_data, GCancellable *cancellable, GError **error)
{
  View *self = (View *)snapshotter;
  g_autoptr (GantryFilter) filter = gantry_filter_new (filters, error);
  g_autofree char *prefix = record_id (self, "");
  g_auto (GStrv) candidates = filter != NULL ? candidate_filters (filter, prefix) : NULL;
  Walk walk = { prefix, filter, func, user_data };

  return filter != NULL
         && gantry_metadata_list (self->store->metadata, GANTRY_KIND_SNAPSHOT, self->ns,
                                  (const char *const *)candidates, prefix, 0, on_record, &walk, cancellable,
                                  error);
}

static gboolean
view_cleanup (GantrySnapshotter *snapshotter, GCancellable *cancellable, GError **error)
{
  View *self = (View *)snapshotter;

  return collector_drain (self->store, cancellable, error)
         && gantry_snapshotter_cleanup (self->backend, cancellable, error);
}

static const GantrySnapshotterVtable vtable = {
  .size = sizeof (GantrySnapshotterVtable),
  .ref = view_ref,
  .unref = view_unref,
  .get_capabilities = view_capabilities,
  .stat = view_stat,
  .update = view_update,
  .usage = view_usage,
  .mounts = view_mounts,
  .prepare = view_prepare,
  .view = view_view,
  .commit = view_commit,
  .remove = view_remove,
  .walk = view_walk,
  .cleanup = view_cleanup,
};

gboolean
snapshot_view_open (GantryStore *store, const char *ns, const char *lease, const char *snapshotter,
                    GantrySnapshotter **ret_snapshotter, char **ret_id, GCancellable *cancellable,
                    GError **error)
{
  StoreLocal *self = (StoreLocal *)store;
  g_autofree char *id = NULL;
  GantrySnapshotter *backend = store_local_snapshotter (self, snapshotter, &id, error);
  View *view;

  if (backend == NULL)
    return FALSE;
  if (!store_local_check_namespace (ns, error))
    return FALSE;
  view = g_new0 (View, 1);
  view->snapshotter.vtable = &vtable;
  view->refs = 1;
  view->store = self;
  view->backend = backend;
  view->id = g_strdup (id);
  view->ns = g_strdup (ns);
  view->lease = g_strdup (lease);
  if (ret_id != NULL)
    *ret_id = g_steal_pointer (&id);
  *ret_snapshotter = &view->snapshotter;
  return TRUE;
}

void
snapshot_view_relax (GantrySnapshotter *snapshotter)
{
  ((View *)snapshotter)->relaxed = TRUE;
}
