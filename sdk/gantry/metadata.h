/* SPDX-License-Identifier: MIT
 *
 * Metadata
 * --------
 * The durable truth about everything that has a name: *records*. A record has a kind, a namespace, an id,
 * labels and fields. All kinds share one set of calls, so that a new kind of object needs a new word and no
 * new slot. Fields by kind (a{sv}):
 *
 *     "namespace"   namespace "", id = its name. No fields.
 *     "image"       id = its name. "target" (ssta{ss}): media type, digest, size, annotations.
 *     "container"   "image" s, "runtime" s, "runtime-options" (say), "spec" (say), "snapshotter" s,
 * "snapshot-key" s, "sandbox-id" s, "extensions" a{s(say)}, and "options" a{sv}: what the creator asked for
 * (tasks.h). "sandbox"     "runtime" s, "runtime-options" (say), "spec" (say), "sandboxer" s, "extensions"
 * a{s(say)}. "lease"       No fields; the label "containerd.io/gc.expire" ends it, "containerd.io/gc.flat"
 * keeps it shallow. "content"     id = digest. "size" t.                            That a namespace may use
 * this blob. "snapshot"    id = "<snapshotter>/<name or key>". "kind" u (GantrySnapshotKind), "parent" s,
 * "backend" s: the snapshotter's own name for it. "ingest"      id = ref. "expires" x (ns): when an abandoned
 * one may go. "mount"       id = an activation's name (mounts.h). "backend" s: what garbage collection gives
 * to mounts.h's collect (); the rest is the mounts service's. "intent"      namespace "". What the store is
 * about to do (its own fields). Creating and deleting nothing but intents is not synced: they are ordered
 * before whatever is written later, and that is all they need.
 *
 * A namespace is made by the first record that is put in it. Changes are given as a list that happens whole
 * or not at all, is durable when apply () returns (unless all of it is relaxed), and writes its events in the
 * same transaction.
 *
 *     changes = { create image "docker.io/library/x:1", update content label, add to lease }
 *     gantry_metadata_apply (m, changes, …)
 *
 * Garbage collection marks from the *roots* (images, containers, sandboxes, leases, "containerd.io/gc.root"
 * labels) along *edges*: "containerd.io/gc.ref.content[.<x>]", "…gc.ref.snapshot.<snapshotter>[/<x>]",
 * "…gc.ref.image[.<x>]", "…gc.ref.mount[.<x>]" from holder to held, "…gc.bref.content[.<x>]",
 * "…gc.bref.image…", "…gc.bref.container…" from held to holder, an image's target, a container's snapshot, a
 * snapshot's parent. Edges are kept as records are written. "containerd.io/gc.expire" (RFC 3339) on an object
 * holds it until then.
 */
#pragma once

#include <gantry/events.h>

G_BEGIN_DECLS

#define GANTRY_METADATA_TYPE "org.gantry.metadata.v1"

#define GANTRY_KIND_NAMESPACE "namespace"
#define GANTRY_KIND_IMAGE     "image"
#define GANTRY_KIND_CONTAINER "container"
#define GANTRY_KIND_SANDBOX   "sandbox"
#define GANTRY_KIND_LEASE     "lease"
#define GANTRY_KIND_CONTENT   "content"
#define GANTRY_KIND_SNAPSHOT  "snapshot"
#define GANTRY_KIND_INGEST    "ingest"
#define GANTRY_KIND_MOUNT     "mount"
#define GANTRY_KIND_INTENT    "intent"

typedef struct
{
  GANTRY_VALUE;
  char *kind;
  char *ns; /**< "" for namespaces */
  char *id;
  GVariant *labels;  /**< (nullable): a{ss} */
  GVariant *fields;  /**< (nullable): a{sv}, by kind */
  gint64 created_ns; /**< 0 in a new one: set by the store */
  gint64 updated_ns;
  guint64 revision; /**< grows with every change; 0 in a new one */
} GantryRecord;

static inline void
gantry_record_clear (gpointer data)
{
  GantryRecord *self = (GantryRecord *)data;

  g_free (self->kind);
  g_free (self->ns);
  g_free (self->id);
  g_clear_pointer (&self->labels, g_variant_unref);
  g_clear_pointer (&self->fields, g_variant_unref);
}

GANTRY_DEFINE_VALUE (GantryRecord, gantry_record)

/** Makes a record; strings are copied, @labels (a{ss}) and @fields (a{sv}), both nullable, are sunk. Returns:
 * (transfer full). */
static inline GantryRecord *
gantry_record_new (const char *kind, const char *ns, const char *id, GVariant *labels, GVariant *fields)
{
  GantryRecord *self = GANTRY_VALUE_ALLOC (GantryRecord, gantry_record_clear);

  self->kind = g_strdup (kind);
  self->ns = g_strdup (ns);
  self->id = g_strdup (id);
  self->labels = gantry_variant_keep (labels);
  self->fields = gantry_variant_keep (fields);
  return self;
}

/** The string field @name, or NULL. Returns: (transfer none) (nullable). */
static inline const char *
gantry_record_get_string (GantryRecord *self, const char *name)
{
  const char *value = NULL;

  return self->fields != NULL && g_variant_lookup (self->fields, name, "&s", &value) ? value : NULL;
}

/** The field @name if it is of @type (nullable: any). Returns: (transfer full) (nullable). */
static inline GVariant *
gantry_record_get_field (GantryRecord *self, const char *name, const GVariantType *type)
{
  return self->fields != NULL ? g_variant_lookup_value (self->fields, name, type) : NULL;
}

/** The target of an image. Returns: (transfer full) (nullable). */
static inline GantryDescriptor *
gantry_record_get_target (GantryRecord *self)
{
  GVariant *target = gantry_record_get_field (self, "target", G_VARIANT_TYPE ("(ssta{ss})"));
  GantryDescriptor *ret;
  GVariant *annotations;
  const char *media_type, *digest;
  guint64 size;

  if (target == NULL)
    return NULL;
  g_variant_get (target, "(&s&st@a{ss})", &media_type, &digest, &size, &annotations);
  ret = gantry_descriptor_new (media_type, digest, size, annotations);
  g_variant_unref (annotations);
  g_variant_unref (target);
  return ret;
}

/** The "target" field for @descriptor. Returns: (transfer floating). */
static inline GVariant *
gantry_descriptor_to_variant (GantryDescriptor *descriptor)
{
  GVariant *annotations = descriptor->annotations;

  if (annotations == NULL)
    annotations = g_variant_new_array (G_VARIANT_TYPE ("{ss}"), NULL, 0);
  return g_variant_new ("(sst@a{ss})", descriptor->media_type, descriptor->digest, descriptor->blob_size,
                        annotations);
}

typedef enum
{
  GANTRY_CHANGE_CREATE = 0, /**< errors ALREADY_EXISTS */
  GANTRY_CHANGE_UPDATE = 1, /**< of what the mask names; errors NOT_FOUND */
  GANTRY_CHANGE_DELETE
  = 2, /**< of kind, ns and id; errors NOT_FOUND; a namespace must be empty (FAILED_PRECONDITION) */
  GANTRY_CHANGE_LEASE_ADD = 3, /**< the record (kind, ns, id only) is held by lease; it need not exist yet */
  GANTRY_CHANGE_LEASE_REMOVE = 4, /**< it is no longer held by lease */
  GANTRY_CHANGE_PUT = 5,          /**< create or replace whole */
  GANTRY_CHANGE_RENAME
  = 6, /**< the id becomes new_id, labels and fields are replaced by the record's (a commit of a snapshot) */
} GantryChangeKind;

/** One of the changes of a transaction. */
typedef struct
{
  GANTRY_VALUE;
  GantryChangeKind change;
  GantryRecord *record;
  char **mask;         /**< (nullable): for UPDATE: "labels", "labels.<key>", "fields", "fields.<name>"; NULL:
                          everything given */
  char *lease;         /**< (nullable): the lease of the record's namespace that holds what is created, too */
  char *new_id;        /**< for RENAME */
  guint64 if_revision; /**< 0, or the change fails with ABORTED unless the record has this revision */
  char *topic;         /**< (nullable): announce this; NULL: the kind's own ("/images/create"); "": nothing */
  GVariant *payload;   /**< (nullable): a{sv} for topic; NULL: made from the record */
  gboolean relaxed; /**< need not be durable when apply () returns, but with the next change that must: till
                     * then a power cut may take it, and everything after it */
} GantryChange;

static inline void
gantry_change_clear (gpointer data)
{
  GantryChange *self = (GantryChange *)data;

  gantry_record_unref (self->record);
  g_strfreev (self->mask);
  g_free (self->lease);
  g_free (self->new_id);
  g_free (self->topic);
  g_clear_pointer (&self->payload, g_variant_unref);
}

GANTRY_DEFINE_VALUE (GantryChange, gantry_change)

/** Makes a change of @record (a reference is taken); the other members are set by the caller before it is
 * shared. Returns: (transfer full). */
static inline GantryChange *
gantry_change_new (GantryChangeKind change, GantryRecord *record)
{
  GantryChange *self = GANTRY_VALUE_ALLOC (GantryChange, gantry_change_clear);

  self->change = change;
  self->record = gantry_record_ref (record);
  return self;
}

/** Something that no root reaches any more and that its backend may remove. */
typedef struct
{
  GANTRY_VALUE;
  char
      *kind; /**< GANTRY_KIND_CONTENT (in no namespace any more), GANTRY_KIND_SNAPSHOT or GANTRY_KIND_MOUNT */
  char *backend;     /**< the digest, or the snapshotter's own name for it */
  char *snapshotter; /**< (nullable): the snapshotter's plugin id */
  char *ns;
  char *id;
  guint64 bytes; /**< of a blob; 0 if it is not known */
} GantryGarbage;

static inline void
gantry_garbage_clear (gpointer data)
{
  GantryGarbage *self = (GantryGarbage *)data;

  g_free (self->kind);
  g_free (self->backend);
  g_free (self->snapshotter);
  g_free (self->ns);
  g_free (self->id);
}

GANTRY_DEFINE_VALUE (GantryGarbage, gantry_garbage)

/** Makes one; strings are copied. Returns: (transfer full). */
static inline GantryGarbage *
gantry_garbage_new (const char *kind, const char *backend, const char *snapshotter, const char *ns,
                    const char *id, guint64 bytes)
{
  GantryGarbage *self = GANTRY_VALUE_ALLOC (GantryGarbage, gantry_garbage_clear);

  self->kind = g_strdup (kind);
  self->backend = g_strdup (backend);
  self->snapshotter = g_strdup (snapshotter);
  self->ns = g_strdup (ns);
  self->id = g_strdup (id);
  self->bytes = bytes;
  return self;
}

/** Called for each record of a list, with no lock held. Returns: FALSE to stop (a success). */
typedef gboolean (*GantryRecordFunc) (GantryRecord *record, gpointer user_data);

typedef struct _GantryMetadata GantryMetadata;

typedef struct
{
  size_t size;

  /** The record @id of @kind in @ns. *@ret_record: (transfer full). Blocks: on local metadata. Cost: one
   * index look-up. Errors: NOT_FOUND, with containerd's text: `container "x" in namespace "y": not found`.
   * Since: 1.0 */
  gboolean (*get) (GantryMetadata *self, const char *kind, const char *ns, const char *id,
                   GantryRecord **ret_record, GCancellable *cancellable, GError **error);

  /** Calls @func for the records of @kind in @ns (NULL: in every namespace) that match @filters (nullable),
   * by id. Fields of filters: id and name, labels.<key>, every string field, and for images "target.digest",
   * "target.mediatype". In every namespace: by namespace and then id. @after: (nullable): only ids greater
   * than this; @limit: 0: all. Blocks: on local metadata. Cost: linear in the answer where every filter names
   * an id, a name or a label by ==. Errors: INVALID_ARGUMENT (filter), CANCELLED. Since: 1.0 */
  gboolean (*list) (GantryMetadata *self, const char *kind, const char *ns, const char *const *filters,
                    const char *after, guint limit, GantryRecordFunc func, gpointer user_data,
                    GCancellable *cancellable, GError **error);

  /** Makes all of @changes (element-type GantryChange), in order, or none. *@ret_records: (optional)
   * (transfer full) (element-type GantryRecord): what each record became (of a DELETE: what it was).
   * Concurrent calls share one transaction and one sync. Blocks: one durable write. Errors: of each change,
   * prefixed by nothing; INVALID_ARGUMENT for ids, masks, label sizes and fields; CANCELLED (nothing has
   * happened). Since: 1.0 */
  gboolean (*apply) (GantryMetadata *self, GPtrArray *changes, GPtrArray **ret_records,
                     GCancellable *cancellable, GError **error);

  /** What the lease @lease of @ns holds. *@ret_records: (transfer full) (element-type GantryRecord): kind, ns
   * and id only. Blocks: on local metadata. Errors: NOT_FOUND. Since: 1.0 */
  gboolean (*list_lease) (GantryMetadata *self, const char *ns, const char *lease, GPtrArray **ret_records,
                          GCancellable *cancellable, GError **error);

  /** Removes, in one transaction, the records that no root reaches, or with @dry_run only names them.
   * *@ret_garbage: (transfer full) (element-type GantryGarbage): what backends may now remove, children
   * before parents; it is remembered until collected (). Blocks: on local metadata; readers and writers go
   * on. Cost: linear in what changed since the last one. Errors: of the database. Since: 1.0 */
  gboolean (*collect) (GantryMetadata *self, gboolean dry_run, GPtrArray **ret_garbage,
                       GCancellable *cancellable, GError **error);

  /** What collect () returned and nobody has confirmed, such as after a crash. *@ret_garbage: as there.
   * Blocks: on local metadata. Errors: of the database. Since: 1.0 */
  gboolean (*pending_garbage) (GantryMetadata *self, GPtrArray **ret_garbage, GCancellable *cancellable,
                               GError **error);

  /** Confirms that the backends have removed @garbage (element-type GantryGarbage). Blocks: one write.
   * Errors: of the database. Since: 1.0 */
  gboolean (*collected) (GantryMetadata *self, GPtrArray *garbage, GCancellable *cancellable, GError **error);

  /** The path from a root to the record, as readable lines, root first. *@ret_path: (transfer full): empty if
   * nothing holds it. Blocks: on local metadata. Errors: NOT_FOUND. Since: 1.0 */
  gboolean (*why) (GantryMetadata *self, const char *kind, const char *ns, const char *id, char ***ret_path,
                   GCancellable *cancellable, GError **error);

  /** A number that grows whenever something may have become garbage. Blocks: no. Errors: none. Since: 1.0 */
  guint64 (*get_garbage_hint) (GantryMetadata *self);

  /** Checks the database against itself. *@ret_problems: (transfer full): one line each. Blocks: long.
   * Errors: of the database. Since: 1.0 */
  gboolean (*verify) (GantryMetadata *self, char ***ret_problems, GCancellable *cancellable, GError **error);

  /** As verify (), and removes labels, edges, times and holds whose record is not there; the lines say so.
   * Blocks: long. Errors: of the database. Since: 1.0 */
  gboolean (*repair) (GantryMetadata *self, char ***ret_problems, GCancellable *cancellable, GError **error);
} GantryMetadataVtable;

/** An instance. An implementation embeds it as its first member; it will never grow. */
struct _GantryMetadata
{
  const GantryMetadataVtable *vtable;
};

static inline gboolean
gantry_metadata_get (GantryMetadata *self, const char *kind, const char *ns, const char *id,
                     GantryRecord **ret_record, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryMetadataVtable, get, FALSE);
  return self->vtable->get (self, kind, ns, id, ret_record, cancellable, error);
}

static inline gboolean
gantry_metadata_list (GantryMetadata *self, const char *kind, const char *ns, const char *const *filters,
                      const char *after, guint limit, GantryRecordFunc func, gpointer user_data,
                      GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryMetadataVtable, list, FALSE);
  return self->vtable->list (self, kind, ns, filters, after, limit, func, user_data, cancellable, error);
}

static inline gboolean
gantry_metadata_apply (GantryMetadata *self, GPtrArray *changes, GPtrArray **ret_records,
                       GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryMetadataVtable, apply, FALSE);
  return self->vtable->apply (self, changes, ret_records, cancellable, error);
}

/** Makes one change. *@ret_record: (optional) (transfer full). Otherwise as apply. */
static inline gboolean
gantry_metadata_apply_one (GantryMetadata *self, GantryChange *change, GantryRecord **ret_record,
                           GCancellable *cancellable, GError **error)
{
  GPtrArray *changes = g_ptr_array_new ();
  GPtrArray *records = NULL;
  gboolean ok;

  g_ptr_array_add (changes, change);
  ok = gantry_metadata_apply (self, changes, ret_record != NULL ? &records : NULL, cancellable, error);
  if (ok && ret_record != NULL)
    *ret_record = gantry_record_ref ((GantryRecord *)g_ptr_array_index (records, 0));
  g_clear_pointer (&records, g_ptr_array_unref);
  g_ptr_array_unref (changes);
  return ok;
}

static inline gboolean
gantry_metadata_list_lease (GantryMetadata *self, const char *ns, const char *lease, GPtrArray **ret_records,
                            GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryMetadataVtable, list_lease, FALSE);
  return self->vtable->list_lease (self, ns, lease, ret_records, cancellable, error);
}

static inline gboolean
gantry_metadata_collect (GantryMetadata *self, gboolean dry_run, GPtrArray **ret_garbage,
                         GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryMetadataVtable, collect, FALSE);
  return self->vtable->collect (self, dry_run, ret_garbage, cancellable, error);
}

static inline gboolean
gantry_metadata_pending_garbage (GantryMetadata *self, GPtrArray **ret_garbage, GCancellable *cancellable,
                                 GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryMetadataVtable, pending_garbage, FALSE);
  return self->vtable->pending_garbage (self, ret_garbage, cancellable, error);
}

static inline gboolean
gantry_metadata_collected (GantryMetadata *self, GPtrArray *garbage, GCancellable *cancellable,
                           GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryMetadataVtable, collected, FALSE);
  return self->vtable->collected (self, garbage, cancellable, error);
}

static inline gboolean
gantry_metadata_why (GantryMetadata *self, const char *kind, const char *ns, const char *id, char ***ret_path,
                     GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryMetadataVtable, why, FALSE);
  return self->vtable->why (self, kind, ns, id, ret_path, cancellable, error);
}

static inline guint64
gantry_metadata_get_garbage_hint (GantryMetadata *self)
{
  return GANTRY_HAS (self->vtable, GantryMetadataVtable, get_garbage_hint)
             ? self->vtable->get_garbage_hint (self)
             : 0;
}

static inline gboolean
gantry_metadata_verify (GantryMetadata *self, char ***ret_problems, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryMetadataVtable, verify, FALSE);
  return self->vtable->verify (self, ret_problems, cancellable, error);
}

static inline gboolean
gantry_metadata_repair (GantryMetadata *self, char ***ret_problems, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryMetadataVtable, repair, FALSE);
  return self->vtable->repair (self, ret_problems, cancellable, error);
}

G_END_DECLS
