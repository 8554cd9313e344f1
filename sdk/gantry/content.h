/* SPDX-License-Identifier: MIT
 *
 * Content
 * -------
 * A content store keeps *blobs*, named by digest and never changed, and *ingests*: blobs that are still being
 * written, named by a *ref* that the writer chooses. An ingest survives its writer and a restart of the
 * daemon, and whoever opens the same ref goes on where it ended. A ref has one writer at a time.
 *
 *     open_ingest ("layer-sha256:aa…", 0, NULL)  -> ingest       offset 0, or where an earlier writer stopped
 *     gantry_ingest_write (ingest, data, n)                      as often as it takes
 *     gantry_ingest_commit (ingest, size, "sha256:aa…", labels)  verified, durable, and from now on a blob
 *
 *     open_blob ("sha256:aa…") -> fd                             read it with pread (), sendfile () or mmap
 * ()
 *
 * The backend (content-local) knows no namespaces; a view with namespaces, leases and access checks, which
 * implements this same interface, comes from store.h. Labels are kept by the view; a backend may refuse them
 * with NOT_IMPLEMENTED.
 */
#pragma once

#include <gantry/types.h>

G_BEGIN_DECLS

#define GANTRY_CONTENT_TYPE "org.gantry.content.v1"

/** A blob as listed. */
typedef struct
{
  GANTRY_VALUE;
  char *digest;
  guint64 blob_size;
  gint64 created_ns;
  gint64 updated_ns;
  GVariant *labels; /**< (nullable): a{ss} */
} GantryContentInfo;

static inline void
gantry_content_info_clear (gpointer data)
{
  GantryContentInfo *self = (GantryContentInfo *)data;

  g_free (self->digest);
  g_clear_pointer (&self->labels, g_variant_unref);
}

GANTRY_DEFINE_VALUE (GantryContentInfo, gantry_content_info)

/** Makes an info; @labels (nullable) is sunk. Returns: (transfer full). */
static inline GantryContentInfo *
gantry_content_info_new (const char *digest, guint64 blob_size, gint64 created_ns, gint64 updated_ns,
                         GVariant *labels)
{
  GantryContentInfo *self = GANTRY_VALUE_ALLOC (GantryContentInfo, gantry_content_info_clear);

  self->digest = g_strdup (digest);
  self->blob_size = blob_size;
  self->created_ns = created_ns;
  self->updated_ns = updated_ns;
  self->labels = gantry_variant_keep (labels);
  return self;
}

/** An ingest as listed. */
typedef struct
{
  GANTRY_VALUE;
  char *ref;
  guint64 offset;        /**< bytes written so far */
  guint64 total;         /**< expected, or 0 */
  char *expected_digest; /**< (nullable) */
  gint64 started_ns;
  gint64 updated_ns;
} GantryIngestStatus;

static inline void
gantry_ingest_status_clear (gpointer data)
{
  GantryIngestStatus *self = (GantryIngestStatus *)data;

  g_free (self->ref);
  g_free (self->expected_digest);
}

GANTRY_DEFINE_VALUE (GantryIngestStatus, gantry_ingest_status)

/** Makes a status. Returns: (transfer full). */
static inline GantryIngestStatus *
gantry_ingest_status_new (const char *ref, guint64 offset, guint64 total, const char *expected_digest,
                          gint64 started_ns, gint64 updated_ns)
{
  GantryIngestStatus *self = GANTRY_VALUE_ALLOC (GantryIngestStatus, gantry_ingest_status_clear);

  self->ref = g_strdup (ref);
  self->offset = offset;
  self->total = total;
  self->expected_digest = g_strdup (expected_digest);
  self->started_ns = started_ns;
  self->updated_ns = updated_ns;
  return self;
}

/** Called for each item of a walk, with no lock held. Returns: FALSE to stop the walk (which is then a
 * success). */
typedef gboolean (*GantryContentFunc) (GantryContentInfo *info, gpointer user_data);

typedef struct _GantryIngest GantryIngest;

/** An open ingest: one writer, used by one thread at a time. */
typedef struct
{
  size_t size;

  /** Takes a reference. Returns: @self. Blocks: no. Errors: none. Since: 1.0 */
  GantryIngest *(*ref) (GantryIngest *self);

  /** Drops a reference; the last one closes the writer and keeps the ingest for the next. Blocks: no. Errors:
   * none. Since: 1.0 */
  void (*unref) (GantryIngest *self);

  /** Appends @length bytes. Blocks: on local I/O. Cost: hashing and one write.
   * Errors: RESOURCE_EXHAUSTED (space), OUT_OF_RANGE (past the expected total), ABORTED, CANCELLED.
   * Since: 1.0 */
  gboolean (*write) (GantryIngest *self, gconstpointer data, gsize length, GCancellable *cancellable,
                     GError **error);

  /** How far it is. *@ret_status: (transfer full). Blocks: no. Errors: none. Since: 1.0 */
  gboolean (*get_status) (GantryIngest *self, GantryIngestStatus **ret_status, GCancellable *cancellable,
                          GError **error);

  /** Cuts back to @offset. Blocks: on local I/O; re-hashes what stays. Errors: OUT_OF_RANGE, ABORTED.
   * Since: 1.0 */
  gboolean (*truncate) (GantryIngest *self, guint64 offset, GCancellable *cancellable, GError **error);

  /** Verifies and publishes the blob, durably. @expected_size: 0: any. @expected_digest: (nullable). @labels:
   * (nullable): a{ss}.
   * *@ret_digest: (transfer full). After success only unref is allowed. After a failed verification the
   * ingest is gone. Blocks: on local I/O (one sync). Errors: ALREADY_EXISTS (the blob is there, the ingest is
   * gone: callers mostly treat this as success; *@ret_digest is set), FAILED_PRECONDITION (size or digest
   * differ from what was expected here or at open_ingest), NOT_IMPLEMENTED (@labels, of a backend without),
   * RESOURCE_EXHAUSTED, ABORTED, CANCELLED (nothing has happened). Since: 1.0 */
  gboolean (*commit) (GantryIngest *self, guint64 expected_size, const char *expected_digest,
                      GVariant *labels, char **ret_digest, GCancellable *cancellable, GError **error);

  /** The digest of what was written so far, as commit would name it. *@ret_digest: (transfer full). Blocks:
   * no. Errors: none. Since: 1.0 */
  gboolean (*get_digest) (GantryIngest *self, char **ret_digest, GCancellable *cancellable, GError **error);

  /** Opens what was written so far for reading, in this process; what is written later can be read by the
   * same fd, which ends where the data end. Nothing of it is verified before commit () has succeeded.
   * *@ret_fd: (transfer full): close-on-exec, seekable. Blocks: on local I/O. Errors: RESOURCE_EXHAUSTED
   * (descriptors), FAILED_PRECONDITION (it is closed). Since: 1.0 */
  gboolean (*open_reader) (GantryIngest *self, int *ret_fd, GCancellable *cancellable, GError **error);
} GantryIngestVtable;

struct _GantryIngest
{
  const GantryIngestVtable *vtable;
};

typedef struct _GantryContent GantryContent;

typedef struct
{
  size_t size;

  /** Takes a reference to a view; NULL slot: @self lives as long as its plugin. Blocks: no. Errors: none.
   * Since: 1.0 */
  GantryContent *(*ref) (GantryContent *self);

  /** Drops it. Blocks: no. Errors: none. Since: 1.0 */
  void (*unref) (GantryContent *self);

  /** What is known of @digest. *@ret_info: (transfer full). Blocks: on local metadata.
   * Errors: NOT_FOUND, INVALID_ARGUMENT (not a digest). Since: 1.0 */
  gboolean (*info) (GantryContent *self, const char *digest, GantryContentInfo **ret_info,
                    GCancellable *cancellable, GError **error);

  /** Calls @func for every blob that matches @filters (nullable), in no order. Fields: digest, size, labels.
   * Blocks: on local I/O. Cost: linear in the answer. Errors: INVALID_ARGUMENT (filter). Since: 1.0 */
  gboolean (*walk) (GantryContent *self, const char *const *filters, GantryContentFunc func,
                    gpointer user_data, GCancellable *cancellable, GError **error);

  /** Sets the labels of @digest: those named in @mask ("labels", "labels.<key>"), all of them if it is NULL.
   * *@ret_info: (out) (optional) (transfer full): what it became. Blocks: one durable write. Errors:
   * NOT_FOUND, INVALID_ARGUMENT, NOT_IMPLEMENTED (a backend without labels). Since: 1.0 */
  gboolean (*update) (GantryContent *self, const char *digest, GVariant *labels, const char *const *mask,
                      GantryContentInfo **ret_info, GCancellable *cancellable, GError **error);

  /** Forgets @digest. Readers that have it open go on reading. Blocks: on local I/O. Errors: NOT_FOUND,
   * INVALID_ARGUMENT (not a digest). Since: 1.0 */
  gboolean (*remove) (GantryContent *self, const char *digest, GCancellable *cancellable, GError **error);

  /** Opens the blob read-only. *@ret_fd: (transfer full): close-on-exec, seekable, with a position of its
   * own. *@ret_size: (optional). Blocks: on local I/O. Errors: NOT_FOUND, INVALID_ARGUMENT (not a digest),
   * RESOURCE_EXHAUSTED (descriptors). Since: 1.0 */
  gboolean (*open_blob) (GantryContent *self, const char *digest, int *ret_fd, guint64 *ret_size,
                         GCancellable *cancellable, GError **error);

  /** Opens the ingest @ref (UTF-8, at most GANTRY_MAX_NAME bytes, and twice that in a backend, since views
   * put something before it), making it if it is not there. @total: expected size or 0. @expected_digest:
   * (nullable). Both bind the commit.
   * *@ret_ingest: (transfer full). Blocks: on local I/O; resuming re-hashes what is there.
   * Errors: ALREADY_EXISTS (@expected_digest is already a blob), UNAVAILABLE (another writer has @ref),
   * INVALID_ARGUMENT, FAILED_PRECONDITION (@ref was begun for another total or digest). Since: 1.0 */
  gboolean (*open_ingest) (GantryContent *self, const char *ref, guint64 total, const char *expected_digest,
                           GantryIngest **ret_ingest, GCancellable *cancellable, GError **error);

  /** Every ingest whose ref matches @filters (nullable; field: ref). *@ret_statuses: (transfer full)
   * (element-type GantryIngestStatus). Blocks: on local I/O. Errors: INVALID_ARGUMENT. Since: 1.0 */
  gboolean (*list_ingests) (GantryContent *self, const char *const *filters, GPtrArray **ret_statuses,
                            GCancellable *cancellable, GError **error);

  /** One ingest. *@ret_status: (transfer full). Blocks: on local I/O. Errors: NOT_FOUND. Since: 1.0 */
  gboolean (*ingest_status) (GantryContent *self, const char *ref, GantryIngestStatus **ret_status,
                             GCancellable *cancellable, GError **error);

  /** Throws an ingest away. A writer that has it open gets ABORTED from its next call, and @ref is free for
   * another at once. Blocks: on local I/O. Errors: NOT_FOUND, UNAVAILABLE (it has a writer, from which this
   * backend can't take it). Since: 1.0 */
  gboolean (*abort_ingest) (GantryContent *self, const char *ref, GCancellable *cancellable, GError **error);

  /** Looks for what is on the disk and belongs to no blob and no ingest. *@ret_problems: (transfer full): one
   * line each. @repair: removes it. Blocks: long. Errors: of local I/O. Since: 1.0 */
  gboolean (*check) (GantryContent *self, gboolean repair, char ***ret_problems, GCancellable *cancellable,
                     GError **error);
} GantryContentVtable;

/** An instance. An implementation embeds it as its first member; it will never grow. */
struct _GantryContent
{
  const GantryContentVtable *vtable;
};

static inline GantryIngest *
gantry_ingest_ref (GantryIngest *self)
{
  return self->vtable->ref (self);
}

static inline void
gantry_ingest_unref (GantryIngest *self)
{
  if (self != NULL)
    self->vtable->unref (self);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC (GantryIngest, gantry_ingest_unref)

static inline gboolean
gantry_ingest_write (GantryIngest *self, gconstpointer data, gsize length, GCancellable *cancellable,
                     GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryIngestVtable, write, FALSE);
  return self->vtable->write (self, data, length, cancellable, error);
}

static inline gboolean
gantry_ingest_get_status (GantryIngest *self, GantryIngestStatus **ret_status, GCancellable *cancellable,
                          GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryIngestVtable, get_status, FALSE);
  return self->vtable->get_status (self, ret_status, cancellable, error);
}

static inline gboolean
gantry_ingest_truncate (GantryIngest *self, guint64 offset, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryIngestVtable, truncate, FALSE);
  return self->vtable->truncate (self, offset, cancellable, error);
}

static inline gboolean
gantry_ingest_commit (GantryIngest *self, guint64 expected_size, const char *expected_digest,
                      GVariant *labels, char **ret_digest, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryIngestVtable, commit, FALSE);
  return self->vtable->commit (self, expected_size, expected_digest, labels, ret_digest, cancellable, error);
}

static inline gboolean
gantry_ingest_get_digest (GantryIngest *self, char **ret_digest, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryIngestVtable, get_digest, FALSE);
  return self->vtable->get_digest (self, ret_digest, cancellable, error);
}

static inline gboolean
gantry_ingest_open_reader (GantryIngest *self, int *ret_fd, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryIngestVtable, open_reader, FALSE);
  return self->vtable->open_reader (self, ret_fd, cancellable, error);
}

static inline GantryContent *
gantry_content_ref (GantryContent *self)
{
  return GANTRY_HAS (self->vtable, GantryContentVtable, ref) ? self->vtable->ref (self) : self;
}

static inline void
gantry_content_unref (GantryContent *self)
{
  if (self != NULL && GANTRY_HAS (self->vtable, GantryContentVtable, unref))
    self->vtable->unref (self);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC (GantryContent, gantry_content_unref)

static inline gboolean
gantry_content_info (GantryContent *self, const char *digest, GantryContentInfo **ret_info,
                     GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryContentVtable, info, FALSE);
  return self->vtable->info (self, digest, ret_info, cancellable, error);
}

static inline gboolean
gantry_content_walk (GantryContent *self, const char *const *filters, GantryContentFunc func,
                     gpointer user_data, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryContentVtable, walk, FALSE);
  return self->vtable->walk (self, filters, func, user_data, cancellable, error);
}

static inline gboolean
gantry_content_update (GantryContent *self, const char *digest, GVariant *labels, const char *const *mask,
                       GantryContentInfo **ret_info, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryContentVtable, update, FALSE);
  return self->vtable->update (self, digest, labels, mask, ret_info, cancellable, error);
}

static inline gboolean
gantry_content_remove (GantryContent *self, const char *digest, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryContentVtable, remove, FALSE);
  return self->vtable->remove (self, digest, cancellable, error);
}

static inline gboolean
gantry_content_open_blob (GantryContent *self, const char *digest, int *ret_fd, guint64 *ret_size,
                          GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryContentVtable, open_blob, FALSE);
  return self->vtable->open_blob (self, digest, ret_fd, ret_size, cancellable, error);
}

static inline gboolean
gantry_content_open_ingest (GantryContent *self, const char *ref, guint64 total, const char *expected_digest,
                            GantryIngest **ret_ingest, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryContentVtable, open_ingest, FALSE);
  return self->vtable->open_ingest (self, ref, total, expected_digest, ret_ingest, cancellable, error);
}

static inline gboolean
gantry_content_list_ingests (GantryContent *self, const char *const *filters, GPtrArray **ret_statuses,
                             GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryContentVtable, list_ingests, FALSE);
  return self->vtable->list_ingests (self, filters, ret_statuses, cancellable, error);
}

static inline gboolean
gantry_content_ingest_status (GantryContent *self, const char *ref, GantryIngestStatus **ret_status,
                              GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryContentVtable, ingest_status, FALSE);
  return self->vtable->ingest_status (self, ref, ret_status, cancellable, error);
}

static inline gboolean
gantry_content_abort_ingest (GantryContent *self, const char *ref, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryContentVtable, abort_ingest, FALSE);
  return self->vtable->abort_ingest (self, ref, cancellable, error);
}

static inline gboolean
gantry_content_check (GantryContent *self, gboolean repair, char ***ret_problems, GCancellable *cancellable,
                      GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryContentVtable, check, FALSE);
  return self->vtable->check (self, repair, ret_problems, cancellable, error);
}

G_END_DECLS
