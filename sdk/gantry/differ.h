/* SPDX-License-Identifier: MIT
 *
 * Layers
 * ------
 * A differ turns a layer blob into files (apply) and the difference of two file systems into a layer blob
 * (compare). It knows media types and archive formats; it does not know images, snapshots or namespaces:
 * those come in as mounts and content.
 *
 *     gantry_snapshotter_prepare (s, "extract-1", parent, NULL, &mounts, …)
 *     gantry_differ_apply (d, layer, content, mounts, …, &diff)      diff->digest is the layer's DiffID
 *     gantry_snapshotter_commit (s, chain_id, "extract-1", …)
 *
 * Formats: OCI image-spec 1.1 layer.md (tar, gzip, zstd; whiteouts ".wh.<name>" and ".wh..wh..opq"), Docker
 * image spec v1.2.
 */
#pragma once

#include <gantry/content.h>

G_BEGIN_DECLS

#define GANTRY_DIFFER_TYPE "org.gantry.differ.v1"

/** Annotation of what apply () with "rebase" returns: the directories that the layer implies but has no entry
 * for, each relative to the root directory ("." is that itself) and ended by a newline. Those are settled
 * when the layers below are known. */
#define GANTRY_DIFF_IMPLIED "org.gantry.diff.implied"

/** Told now and then while a layer is applied or made: bytes of the blob read or written so far. From a
 * worker thread. */
typedef void (*GantryDifferProgressFunc) (guint64 bytes, gpointer user_data);

typedef struct _GantryDiffer GantryDiffer;

typedef struct
{
  size_t size;

  /** Whether @media_type can be applied. Blocks: no. Errors: none. Since: 1.0 */
  gboolean (*can_apply) (GantryDiffer *self, const char *media_type);

  /** Unpacks the blob of @layer, read from @content, onto @mounts (element-type GantryMount), as root of the
   * layer's owner ids.
   * @options: (nullable): a{sv}, sunk if floating: "uid-map", "gid-map" (s, "0:100000:65536[,…]"), "sync" (b,
   * default TRUE: durable on return), "rebase" (b): @mounts are without the layers below, which come by a
   * rebase (snapshotter.h): whiteouts are kept as marks, and the caller calls settle () when the layers below
   * are there; a layer that can't be unpacked so is FAILED_PRECONDITION; "stream" (b): the fd that @content
   * gives is a pipe through which the blob comes, maybe slowly: whoever needs more than to read it once says
   * FAILED_PRECONDITION; "only" (as): names in the root directory: what is not at or below one is left out;
   * what is must be a directory or a regular file, and not by an absolute name, or the layer is refused; it
   * belongs to root, without set-id bits and attributes.
   * @progress: (nullable). *@ret_diff: (transfer full): media type, DiffID and size of the uncompressed tar,
   * and with "rebase" GANTRY_DIFF_IMPLIED as annotation. A hostile layer touches nothing outside @mounts. On
   * failure the target holds rubbish: the caller removes the snapshot. Blocks: as long as it takes; on local
   * I/O only. Errors: NOT_IMPLEMENTED (media type), INVALID_ARGUMENT (the archive is broken or hostile; names
   * the entry), RESOURCE_EXHAUSTED (a limit, or space), NOT_FOUND, CANCELLED. Since: 1.0 */
  gboolean (*apply) (GantryDiffer *self, GantryDescriptor *layer, GantryContent *content, GPtrArray *mounts,
                     GVariant *options, GantryDifferProgressFunc progress, gpointer user_data,
                     GantryDescriptor **ret_diff, GCancellable *cancellable, GError **error);

  /** Writes what @upper has over @lower (both element-type GantryMount) as a layer of @media_type into
   * @content under the ingest
   * @ref and commits it with @labels plus "containerd.io/uncompressed". @options: (nullable): a{sv}, sunk if
   * floating: "source-date-epoch" (x).
   * *@ret_layer: (transfer full). The same input gives the same bytes. Blocks: as long as it takes.
   * Errors: NOT_IMPLEMENTED (media type), RESOURCE_EXHAUSTED, CANCELLED. Since: 1.0 */
  gboolean (*compare) (GantryDiffer *self, GPtrArray *lower, GPtrArray *upper, const char *media_type,
                       GantryContent *content, const char *ref, GVariant *labels, GVariant *options,
                       GantryDescriptor **ret_layer, GCancellable *cancellable, GError **error);

  /** Writes the tar in the blob of @layer, read from @content, as one layer of @media_type, which may be
   * compressed otherwise, into
   * @content under the ingest @ref, and commits it with "containerd.io/uncompressed". @ref NULL: nothing is
   * written, only the DiffID is found; @media_type is not looked at, and *@ret_layer is NULL. @progress:
   * (nullable).
   * *@ret_layer: (transfer full). *@ret_diff_id: (transfer full): of the tar, which is the same. The entries
   * are not looked at. Blocks: as long as it takes. Errors: NOT_IMPLEMENTED (media type), INVALID_ARGUMENT
   * (the blob is broken), RESOURCE_EXHAUSTED, NOT_FOUND, CANCELLED. Since: 1.0 */
  gboolean (*recompress) (GantryDiffer *self, GantryDescriptor *layer, GantryContent *content,
                          const char *media_type, const char *ref, GantryDifferProgressFunc progress,
                          gpointer user_data, GantryDescriptor **ret_layer, char **ret_diff_id,
                          GCancellable *cancellable, GError **error);

  /** After apply () with "rebase", which returned @diff: gives the directories that the layer implies what
   * they have in @below (element-type GantryMount: an overlay or a bind mount), the tree that @mounts,
   * unpacked, are put on. Nobody else uses @mounts; @below may be in use. What was written is not synced.
   * Blocks: on local I/O. Cost: of the directories implied times the layers below. Errors:
   * FAILED_PRECONDITION (one of them is something else below, so that the layer must be unpacked on top of
   * it; or mounts that can't be read so), INTERNAL (@diff names a directory outside), CANCELLED.
   * Since: 1.0 */
  gboolean (*settle) (GantryDiffer *self, GantryDescriptor *diff, GPtrArray *below, GPtrArray *mounts,
                      GCancellable *cancellable, GError **error);
} GantryDifferVtable;

/** An instance. An implementation embeds it as its first member; it will never grow. */
struct _GantryDiffer
{
  const GantryDifferVtable *vtable;
};

static inline gboolean
gantry_differ_can_apply (GantryDiffer *self, const char *media_type)
{
  return GANTRY_HAS (self->vtable, GantryDifferVtable, can_apply)
         && self->vtable->can_apply (self, media_type);
}

static inline gboolean
gantry_differ_apply (GantryDiffer *self, GantryDescriptor *layer, GantryContent *content, GPtrArray *mounts,
                     GVariant *options, GantryDifferProgressFunc progress, gpointer user_data,
                     GantryDescriptor **ret_diff, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryDifferVtable, apply, FALSE);
  return self->vtable->apply (self, layer, content, mounts, options, progress, user_data, ret_diff,
                              cancellable, error);
}

static inline gboolean
gantry_differ_compare (GantryDiffer *self, GPtrArray *lower, GPtrArray *upper, const char *media_type,
                       GantryContent *content, const char *ref, GVariant *labels, GVariant *options,
                       GantryDescriptor **ret_layer, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryDifferVtable, compare, FALSE);
  return self->vtable->compare (self, lower, upper, media_type, content, ref, labels, options, ret_layer,
                                cancellable, error);
}

static inline gboolean
gantry_differ_recompress (GantryDiffer *self, GantryDescriptor *layer, GantryContent *content,
                          const char *media_type, const char *ref, GantryDifferProgressFunc progress,
                          gpointer user_data, GantryDescriptor **ret_layer, char **ret_diff_id,
                          GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryDifferVtable, recompress, FALSE);
  return self->vtable->recompress (self, layer, content, media_type, ref, progress, user_data, ret_layer,
                                   ret_diff_id, cancellable, error);
}

static inline gboolean
gantry_differ_settle (GantryDiffer *self, GantryDescriptor *diff, GPtrArray *below, GPtrArray *mounts,
                      GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryDifferVtable, settle, FALSE);
  return self->vtable->settle (self, diff, below, mounts, cancellable, error);
}

G_END_DECLS
