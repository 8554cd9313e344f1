/* SPDX-License-Identifier: MIT
 *
 * Garbage collection of the fake of metadata: it marks everything from the roots. */
#include <string.h>

#include "fake-metadata-private.h"

#define GC "containerd.io/gc."

/* Marks: of each key that is reached, the key that reaches it ("": it is a root). */
typedef struct
{
  FakeState *state;
  GHashTable *from;
  GQueue queue; /* of keys that belong to from */
} Mark;

static gboolean
is_kind (GantryRecord *record, const char *kind)
{
  return strcmp (record->kind, kind) == 0;
}

int
fake_record_expired (GantryRecord *record)
{
  const char *text = gantry_labels_lookup (record->labels, GC "expire");
  g_autoptr (GDateTime) end = text != NULL ? g_date_time_new_from_iso8601 (text, NULL) : NULL;
  g_autoptr (GDateTime) now = g_date_time_new_now_utc ();

  return end != NULL ? g_date_time_compare (end, now) <= 0 : -1;
}

static void
reach (Mark *self, const char *key, const char *from)
{
  if (g_hash_table_contains (self->from, key))
    return;
  g_hash_table_insert (self->from, g_strdup (key), g_strdup (from));
  g_queue_push_tail (&self->queue, g_strdup (key));
}

static void
reach_record (Mark *self, const char *kind, const char *ns, const char *id, const char *from)
{
  g_autofree char *key = fake_record_key (kind, ns, id);

  reach (self, key, from);
}

static void
reach_snapshot (Mark *self, const char *ns, const char *snapshotter, const char *name, const char *from)
{
  g_autofree char *id = g_strdup_printf ("%.*s/%s", (int)strcspn (snapshotter, "/"), snapshotter, name);

  reach_record (self, GANTRY_KIND_SNAPSHOT, ns, id, from);
}

/* What the label @name holds, of "containerd.io/gc.<direction><kind>". */
static gboolean
label_is (const char *name, const char *direction, const char *kind)
{
  g_autofree char *prefix = g_strconcat (GC, direction, kind, NULL);

  return g_str_has_prefix (name, prefix)
         && (name[strlen (prefix)] == '\0' || strchr ("./", name[strlen (prefix)]) != NULL);
}

static void
follow_labels (Mark *self, GantryRecord *record, const char *key)
{
  GVariantIter iter;
  const char *name, *value;

  if (record->labels == NULL)
    return;
  g_variant_iter_init (&iter, record->labels);
  while (g_variant_iter_next (&iter, "{&s&s}", &name, &value))
    if (label_is (name, "ref.", GANTRY_KIND_CONTENT))
      reach_record (self, GANTRY_KIND_CONTENT, record->ns, value, key);
    else if (label_is (name, "ref.", GANTRY_KIND_IMAGE))
      reach_record (self, GANTRY_KIND_IMAGE, record->ns, value, key);
    else if (g_str_has_prefix (name, GC "ref.snapshot."))
      reach_snapshot (self, record->ns, name + strlen (GC "ref.snapshot."), value, key);
}

/* Those that say of themselves that @record holds them. */
static void
follow_back (Mark *self, GantryRecord *record, const char *key)
{
  GHashTableIter iter;
  gpointer other_key, other;

  g_hash_table_iter_init (&iter, self->state->records);
  while (g_hash_table_iter_next (&iter, &other_key, &other))
    {
      GantryRecord *held = other;
      GVariantIter labels;
      const char *name, *value;

      if (held->labels == NULL || strcmp (held->ns, record->ns) != 0)
        continue;
      g_variant_iter_init (&labels, held->labels);
      while (g_variant_iter_next (&labels, "{&s&s}", &name, &value))
        if (strcmp (value, record->id) == 0 && label_is (name, "bref.", record->kind))
          reach (self, other_key, key);
    }
}

static void
follow (Mark *self, GantryRecord *record, const char *key)
{
  const char *snapshotter = gantry_record_get_string (record, "snapshotter");
  const char *snapshot = gantry_record_get_string (record, "snapshot-key");
  const char *parent = gantry_record_get_string (record, "parent");
  g_autoptr (GantryDescriptor) target = gantry_record_get_target (record);

  if (is_kind (record, GANTRY_KIND_IMAGE) && target != NULL)
    reach_record (self, GANTRY_KIND_CONTENT, record->ns, target->digest, key);
  if (is_kind (record, GANTRY_KIND_CONTAINER) && snapshotter != NULL && snapshot != NULL)
    reach_snapshot (self, record->ns, snapshotter, snapshot, key);
  if (is_kind (record, GANTRY_KIND_SNAPSHOT) && parent != NULL && parent[0] != '\0')
    reach_snapshot (self, record->ns, record->id, parent, key);
  follow_labels (self, record, key);
  follow_back (self, record, key);
}

static gboolean
is_root (GantryRecord *record)
{
  if (is_kind (record, GANTRY_KIND_CONTAINER) || is_kind (record, GANTRY_KIND_SANDBOX))
    return TRUE;
  if (is_kind (record, GANTRY_KIND_IMAGE))
    return fake_record_expired (record) != 1;
  return (is_kind (record, GANTRY_KIND_CONTENT) || is_kind (record, GANTRY_KIND_SNAPSHOT))
         && (gantry_labels_lookup (record->labels, GC "root") != NULL || fake_record_expired (record) == 0);
}

/* What a lease holds is reached; of a flat one, it alone. */
static void
mark_leases (Mark *self, gboolean flat)
{
  GHashTableIter iter, inner;
  gpointer key, set, item;

  g_hash_table_iter_init (&iter, self->state->held);
  while (g_hash_table_iter_next (&iter, &key, &set))
    {
      g_auto (GStrv) parts = g_strsplit (key, "\001", 3);
      g_autofree char *lease_key = fake_record_key (GANTRY_KIND_LEASE, parts[1], parts[2]);
      GantryRecord *lease = g_hash_table_lookup (self->state->records, lease_key);

      if (lease == NULL || fake_record_expired (lease) == 1
          || flat != (gantry_labels_lookup (lease->labels, GC "flat") != NULL))
        continue;
      g_hash_table_iter_init (&inner, set);
      while (g_hash_table_iter_next (&inner, &item, NULL))
        reach (self, item, "");
    }
}

static void
mark_all (Mark *self, FakeState *state)
{
  GHashTableIter iter;
  gpointer key, record;
  char *next;

  self->state = state;
  self->from = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  g_queue_init (&self->queue);
  g_hash_table_iter_init (&iter, state->records);
  while (g_hash_table_iter_next (&iter, &key, &record))
    if (is_root (record))
      reach (self, key, "");
  mark_leases (self, FALSE);
  while ((next = g_queue_pop_head (&self->queue)) != NULL)
    {
      GantryRecord *reached = g_hash_table_lookup (state->records, next);

      if (reached != NULL)
        follow (self, reached, next);
      g_free (next);
    }
  mark_leases (self, TRUE);
}

static void
mark_clear (Mark *self)
{
  g_queue_clear_full (&self->queue, g_free);
  g_hash_table_unref (self->from);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Mark, mark_clear)

static gboolean
is_dead (Mark *mark, const char *key, GantryRecord *record)
{
  if (is_kind (record, GANTRY_KIND_LEASE))
    return fake_record_expired (record) == 1;
  return (is_kind (record, GANTRY_KIND_CONTENT) || is_kind (record, GANTRY_KIND_SNAPSHOT)
          || is_kind (record, GANTRY_KIND_IMAGE))
         && !g_hash_table_contains (mark->from, key);
}

/* How many parents @record has among the records. */
static guint
depth_of (FakeState *state, GantryRecord *record)
{
  guint depth = 0;

  while (record != NULL)
    {
      const char *parent = gantry_record_get_string (record, "parent");
      g_autofree char *id = g_strdup_printf ("%.*s/%s", (int)strcspn (record->id, "/"), record->id,
                                             parent != NULL ? parent : "");
      g_autofree char *key = fake_record_key (GANTRY_KIND_SNAPSHOT, record->ns, id);

      record = parent != NULL ? g_hash_table_lookup (state->records, key) : NULL;
      depth++;
    }
  return depth;
}

static gint
deepest_first (gconstpointer a, gconstpointer b, gpointer state)
{
  return (gint)depth_of (state, *(GantryRecord *const *)b)
         - (gint)depth_of (state, *(GantryRecord *const *)a);
}

static gboolean
has_blob (FakeState *state, const char *digest)
{
  GHashTableIter iter;
  gpointer record;

  g_hash_table_iter_init (&iter, state->records);
  while (g_hash_table_iter_next (&iter, NULL, &record))
    if (is_kind (record, GANTRY_KIND_CONTENT) && strcmp (((GantryRecord *)record)->id, digest) == 0)
      return TRUE;
  return FALSE;
}

static gboolean
has_garbage (GPtrArray *garbage, const char *backend)
{
  for (guint i = 0; i < garbage->len; i++)
    if (strcmp (((GantryGarbage *)g_ptr_array_index (garbage, i))->backend, backend) == 0)
      return TRUE;
  return FALSE;
}

/* With the records of @dead out of @left. */
static GPtrArray *
garbage_of (FakeState *left, GPtrArray *dead)
{
  GPtrArray *garbage = g_ptr_array_new_with_free_func (gantry_value_unref);

  for (guint i = 0; i < dead->len; i++)
    {
      GantryRecord *record = g_ptr_array_index (dead, i);
      const char *backend = gantry_record_get_string (record, "backend");
      g_autofree char *snapshotter = g_strndup (record->id, strcspn (record->id, "/"));
      g_autoptr (GVariant) size = gantry_record_get_field (record, "size", G_VARIANT_TYPE_UINT64);

      if (is_kind (record, GANTRY_KIND_SNAPSHOT))
        g_ptr_array_add (garbage, gantry_garbage_new (record->kind, backend != NULL ? backend : "",
                                                      snapshotter, record->ns, record->id, 0));
      else if (is_kind (record, GANTRY_KIND_CONTENT) && !has_blob (left, record->id)
               && !has_garbage (garbage, record->id))
        g_ptr_array_add (garbage, gantry_garbage_new (record->kind, record->id, NULL, record->ns, record->id,
                                                      size != NULL ? g_variant_get_uint64 (size) : 0));
    }
  return garbage;
}

/* Takes the dead ones out of the records. Returns: (transfer full) (element-type GantryRecord). */
static GPtrArray *
take_dead (FakeState *state)
{
  GPtrArray *dead = g_ptr_array_new_with_free_func (gantry_value_unref);
  g_auto (Mark) mark = { 0 };
  GHashTableIter iter;
  gpointer key, record;

  mark_all (&mark, state);
  g_hash_table_iter_init (&iter, state->records);
  while (g_hash_table_iter_next (&iter, &key, &record))
    if (is_dead (&mark, key, record))
      g_ptr_array_add (dead, gantry_record_ref (record));
  g_ptr_array_sort_with_data (dead, deepest_first, state);
  for (guint i = 0; i < dead->len; i++)
    {
      GantryRecord *gone = g_ptr_array_index (dead, i);
      g_autofree char *gone_key = fake_record_key (gone->kind, gone->ns, gone->id);

      g_hash_table_remove (state->records, gone_key);
    }
  return dead;
}

gboolean
fake_metadata_collect (GantryMetadata *metadata, gboolean dry_run, GPtrArray **ret_garbage,
                       GCancellable *cancellable, GError **error)
{
  FakeMetadata *self = (FakeMetadata *)metadata;
  g_autoptr (GPtrArray) dead = NULL;

  (void)cancellable;
  (void)error;
  g_mutex_lock (&self->lock);
  dead = take_dead (&self->state);
  *ret_garbage = garbage_of (&self->state, dead);
  for (guint i = 0; dry_run && i < dead->len; i++)
    {
      GantryRecord *record = g_ptr_array_index (dead, i);

      g_hash_table_insert (self->state.records, fake_record_key (record->kind, record->ns, record->id),
                           gantry_record_ref (record));
    }
  for (guint i = 0; !dry_run && i < (*ret_garbage)->len; i++)
    g_ptr_array_add (self->pending, gantry_garbage_ref (g_ptr_array_index (*ret_garbage, i)));
  g_mutex_unlock (&self->lock);
  return TRUE;
}

gboolean
fake_metadata_pending (GantryMetadata *metadata, GPtrArray **ret_garbage, GCancellable *cancellable,
                       GError **error)
{
  FakeMetadata *self = (FakeMetadata *)metadata;
  GPtrArray *garbage = g_ptr_array_new_with_free_func (gantry_value_unref);

  (void)cancellable;
  (void)error;
  g_mutex_lock (&self->lock);
  for (guint i = 0; i < self->pending->len; i++)
    g_ptr_array_add (garbage, gantry_garbage_ref (g_ptr_array_index (self->pending, i)));
  g_mutex_unlock (&self->lock);
  *ret_garbage = garbage;
  return TRUE;
}

gboolean
fake_metadata_collected (GantryMetadata *metadata, GPtrArray *garbage, GCancellable *cancellable,
                         GError **error)
{
  FakeMetadata *self = (FakeMetadata *)metadata;

  (void)cancellable;
  (void)error;
  g_mutex_lock (&self->lock);
  for (guint i = self->pending->len; i > 0; i--)
    if (has_garbage (garbage, ((GantryGarbage *)g_ptr_array_index (self->pending, i - 1))->backend))
      g_ptr_array_remove_index (self->pending, i - 1);
  g_mutex_unlock (&self->lock);
  return TRUE;
}

static char *
line_of (const char *key)
{
  g_auto (GStrv) parts = g_strsplit (key, "\001", 3);

  return g_strdup_printf ("%s %s", parts[0], parts[2]);
}

gboolean
fake_metadata_why (GantryMetadata *metadata, const char *kind, const char *ns, const char *id,
                   char ***ret_path, GCancellable *cancellable, GError **error)
{
  FakeMetadata *self = (FakeMetadata *)metadata;
  g_autofree char *key = fake_record_key (kind, ns, id);
  g_autoptr (GPtrArray) lines = g_ptr_array_new ();
  g_auto (Mark) mark = { 0 };
  gboolean there;

  (void)cancellable;
  g_mutex_lock (&self->lock);
  there = g_hash_table_contains (self->state.records, key);
  mark_all (&mark, &self->state);
  for (const char *at = key; g_hash_table_contains (mark.from, at); at = g_hash_table_lookup (mark.from, at))
    {
      const char *from = g_hash_table_lookup (mark.from, at);

      g_ptr_array_insert (lines, 0, line_of (at));
      if (from[0] == '\0')
        {
          g_auto (GStrv) parts = g_strsplit (at, "\001", 3);

          g_ptr_array_insert (lines, 0, g_strdup_printf ("%s (root)", parts[0]));
        }
    }
  g_mutex_unlock (&self->lock);
  g_ptr_array_add (lines, NULL);
  if (!there)
    {
      g_strfreev ((char **)g_ptr_array_free (g_steal_pointer (&lines), FALSE));
      return fake_metadata_throw_absent (kind, ns, id, error);
    }
  *ret_path = (char **)g_ptr_array_free (g_steal_pointer (&lines), FALSE);
  return TRUE;
}
