/* SPDX-License-Identifier: MIT
 *
 * Snapshots
 * ---------
 * A snapshotter keeps a tree of file systems. A *committed* snapshot is immutable and has a name; an *active*
 * one is writable and a *view* is read-only, and both have a key. Every snapshot but the roots has one
 * committed parent.
 *
 *     prepare ("extract-1", NULL)  -> mounts        an empty root file system
 *       … a layer is applied to the mounts …
 *     commit  ("sha256:aa", "extract-1")            "extract-1" is gone, "sha256:aa" is there for ever
 *     prepare ("redis", "sha256:aa") -> mounts      a container's writable root
 *     view    ("scan", "sha256:aa")  -> mounts      the same, read-only
 *
 * Mounts are described, never mounted, by a snapshotter: the caller mounts them where and in whichever
 * namespace it likes. Names and keys are opaque, unique across both, and at most GANTRY_MAX_NAME bytes. A
 * snapshot that has children can't be removed.
 *
 * The backend (snapshotter-overlay, …) knows no namespaces; a view that has them and implements this same
 * interface comes from store.h. Labels that a backend may act on: "containerd.io/snapshot/uidmapping" and
 * "…/gidmapping"
 * ("0:100000:65536", several separated by commas), given to prepare () and view (): the owners of the
 * parent's files as a user namespace has them. The mounts then either show mapped owners by themselves or
 * have the options "uidmap=" and "gidmap=" with the same words, by which whoever mounts maps what is below
 * (mount_setattr (2), MOUNT_ATTR_IDMAP): of an overlay its lower directories.
 */
#pragma once

#include <gantry/types.h>

G_BEGIN_DECLS

#define GANTRY_SNAPSHOTTER_TYPE "org.gantry.snapshotter.v1"

/** The values are containerd's (api/services/snapshots/v1, Kind). */
typedef enum
{
  GANTRY_SNAPSHOT_UNKNOWN = 0,
  GANTRY_SNAPSHOT_VIEW = 1,
  GANTRY_SNAPSHOT_ACTIVE = 2,
  GANTRY_SNAPSHOT_COMMITTED = 3,
} GantrySnapshotKind;

/** What a snapshotter can do beyond the base, as bits of get_capabilities (). */
typedef enum
{
  GANTRY_SNAPSHOTTER_REMAP = 1 << 0, /**< honours the uid and gid mapping labels */
  GANTRY_SNAPSHOTTER_PARALLEL_UNPACK
  = 1 << 1, /**< a layer may be applied before its parent is committed: see rebase in commit */
  GANTRY_SNAPSHOTTER_FAST_USAGE = 1 << 2, /**< usage () costs O(1) */
} GantrySnapshotterCapabilities;

typedef struct
{
  GANTRY_VALUE;
  GantrySnapshotKind kind;
  char *name;       /**< or key */
  char *parent;     /**< (nullable) */
  GVariant *labels; /**< (nullable): a{ss} */
  gint64 created_ns;
  gint64 updated_ns;
} GantrySnapshotInfo;

static inline void
gantry_snapshot_info_clear (gpointer data)
{
  GantrySnapshotInfo *self = (GantrySnapshotInfo *)data;

  g_free (self->name);
  g_free (self->parent);
  g_clear_pointer (&self->labels, g_variant_unref);
}

GANTRY_DEFINE_VALUE (GantrySnapshotInfo, gantry_snapshot_info)

/** Makes an info; @labels (nullable) is sunk. Returns: (transfer full). */
static inline GantrySnapshotInfo *
gantry_snapshot_info_new (GantrySnapshotKind kind, const char *name, const char *parent, GVariant *labels,
                          gint64 created_ns, gint64 updated_ns)
{
  GantrySnapshotInfo *self = GANTRY_VALUE_ALLOC (GantrySnapshotInfo, gantry_snapshot_info_clear);

  self->kind = kind;
  self->name = g_strdup (name);
  self->parent = g_strdup (parent);
  self->labels = gantry_variant_keep (labels);
  self->created_ns = created_ns;
  self->updated_ns = updated_ns;
  return self;
}

/** Called for each snapshot of a walk, with no lock held. Returns: FALSE to stop (a success). */
typedef gboolean (*GantrySnapshotFunc) (GantrySnapshotInfo *info, gpointer user_data);

typedef struct _GantrySnapshotter GantrySnapshotter;

typedef struct
{
  size_t size;

  /** Takes a reference to a view; NULL slot: @self lives as long as its plugin. Blocks: no. Errors: none.
   * Since: 1.0 */
  GantrySnapshotter *(*ref) (GantrySnapshotter *self);

  /** Drops it. Blocks: no. Errors: none. Since: 1.0 */
  void (*unref) (GantrySnapshotter *self);

  /** GantrySnapshotterCapabilities. Blocks: shortly, the first time. Errors: none. Since: 1.0 */
  unsigned (*get_capabilities) (GantrySnapshotter *self);

  /** What is known of the name or key @key. *@ret_info: (transfer full). Blocks: on local metadata. Errors:
   * NOT_FOUND. Since: 1.0 */
  gboolean (*stat) (GantrySnapshotter *self, const char *key, GantrySnapshotInfo **ret_info,
                    GCancellable *cancellable, GError **error);

  /** Sets labels of @key: those in @mask ("labels", "labels.<key>"), all if it is NULL. *@ret_info:
   * (optional) (transfer full). Blocks: one durable write. Errors: NOT_FOUND, INVALID_ARGUMENT. Since: 1.0 */
  gboolean (*update) (GantrySnapshotter *self, const char *key, GVariant *labels, const char *const *mask,
                      GantrySnapshotInfo **ret_info, GCancellable *cancellable, GError **error);

  /** What @key uses by itself, without its parents: bytes and inodes. Blocks: on local I/O. Cost: of an
   * active snapshot proportional to it, else constant. Errors: NOT_FOUND. Since: 1.0 */
  gboolean (*usage) (GantrySnapshotter *self, const char *key, guint64 *ret_bytes, guint64 *ret_inodes,
                     GCancellable *cancellable, GError **error);

  /** How to mount the active snapshot or view @key. *@ret_mounts: (transfer full) (element-type GantryMount).
   * Blocks: on local metadata. Errors: NOT_FOUND, FAILED_PRECONDITION (committed). Since: 1.0 */
  gboolean (*mounts) (GantrySnapshotter *self, const char *key, GPtrArray **ret_mounts,
                      GCancellable *cancellable, GError **error);

  /** Makes the active snapshot @key on the committed snapshot @parent (NULL: empty) with @labels (a{ss},
   * nullable).
   * *@ret_mounts: (optional) (transfer full) (element-type GantryMount): how to mount it.
   * Blocks: on local metadata and one directory. Cost: independent of the size of @parent where the backend
   * can. After a crash @key is either whole or absent. Two calls with the same @key: one wins. Errors:
   * ALREADY_EXISTS (@key), NOT_FOUND (@parent), FAILED_PRECONDITION (@parent is not committed),
   * INVALID_ARGUMENT, RESOURCE_EXHAUSTED (space, quota), CANCELLED. Since: 1.0 */
  gboolean (*prepare) (GantrySnapshotter *self, const char *key, const char *parent, GVariant *labels,
                       GPtrArray **ret_mounts, GCancellable *cancellable, GError **error);

  /** Makes the read-only view @key of @parent. Otherwise as prepare. Errors: as prepare. Since: 1.0 */
  gboolean (*view) (GantrySnapshotter *self, const char *key, const char *parent, GVariant *labels,
                    GPtrArray **ret_mounts, GCancellable *cancellable, GError **error);

  /** Turns the active snapshot @key into the committed snapshot @name, with @labels (nullable) instead of its
   * own. @parent: (nullable): with GANTRY_SNAPSHOTTER_PARALLEL_UNPACK, the committed snapshot that becomes
   * its parent although it was prepared on none (a rebase); else NULL or its parent. Blocks: on local
   * metadata; files of @key are synced by whoever wrote them. Errors: ALREADY_EXISTS (@name; @key is then
   * still there), NOT_FOUND, FAILED_PRECONDITION (@key is not active, or has another parent, or @parent can't
   * become its parent), INVALID_ARGUMENT. Since: 1.0 */
  gboolean (*commit) (GantrySnapshotter *self, const char *name, const char *key, const char *parent,
                      GVariant *labels, GCancellable *cancellable, GError **error);

  /** Removes @key or name. Blocks: on local metadata; the files go now or, where that is slow, in the
   * background. Errors: NOT_FOUND, FAILED_PRECONDITION (it has children). Since: 1.0 */
  gboolean (*remove) (GantrySnapshotter *self, const char *key, GCancellable *cancellable, GError **error);

  /** Calls @func for every snapshot that matches @filters (nullable; fields: name, parent, kind, labels).
   * Blocks: on local metadata. Errors: INVALID_ARGUMENT. Since: 1.0 */
  gboolean (*walk) (GantrySnapshotter *self, const char *const *filters, GantrySnapshotFunc func,
                    gpointer user_data, GCancellable *cancellable, GError **error);

  /** Finishes every removal that goes on in the background, and removes what a crash left. Blocks: on local
   * I/O. Errors: of it. Since: 1.0 */
  gboolean (*cleanup) (GantrySnapshotter *self, GCancellable *cancellable, GError **error);

  /** Compares what the snapshotter remembers with what is on the disk. *@ret_problems: (transfer full): one
   * line each. @repair: makes them fit: what nothing names goes, and so does the name of what is not there
   * (unless others stand on it). Blocks: long. Errors: of local I/O. Since: 1.0 */
  gboolean (*check) (GantrySnapshotter *self, gboolean repair, char ***ret_problems,
                     GCancellable *cancellable, GError **error);
} GantrySnapshotterVtable;

/** An instance. An implementation embeds it as its first member; it will never grow. */
struct _GantrySnapshotter
{
  const GantrySnapshotterVtable *vtable;
};

static inline GantrySnapshotter *
gantry_snapshotter_ref (GantrySnapshotter *self)
{
  return GANTRY_HAS (self->vtable, GantrySnapshotterVtable, ref) ? self->vtable->ref (self) : self;
}

static inline void
gantry_snapshotter_unref (GantrySnapshotter *self)
{
  if (self != NULL && GANTRY_HAS (self->vtable, GantrySnapshotterVtable, unref))
    self->vtable->unref (self);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC (GantrySnapshotter, gantry_snapshotter_unref)

static inline unsigned
gantry_snapshotter_get_capabilities (GantrySnapshotter *self)
{
  return GANTRY_HAS (self->vtable, GantrySnapshotterVtable, get_capabilities)
             ? self->vtable->get_capabilities (self)
             : 0;
}

static inline gboolean
gantry_snapshotter_stat (GantrySnapshotter *self, const char *key, GantrySnapshotInfo **ret_info,
                         GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantrySnapshotterVtable, stat, FALSE);
  return self->vtable->stat (self, key, ret_info, cancellable, error);
}

static inline gboolean
gantry_snapshotter_update (GantrySnapshotter *self, const char *key, GVariant *labels,
                           const char *const *mask, GantrySnapshotInfo **ret_info, GCancellable *cancellable,
                           GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantrySnapshotterVtable, update, FALSE);
  return self->vtable->update (self, key, labels, mask, ret_info, cancellable, error);
}

static inline gboolean
gantry_snapshotter_usage (GantrySnapshotter *self, const char *key, guint64 *ret_bytes, guint64 *ret_inodes,
                          GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantrySnapshotterVtable, usage, FALSE);
  return self->vtable->usage (self, key, ret_bytes, ret_inodes, cancellable, error);
}

static inline gboolean
gantry_snapshotter_mounts (GantrySnapshotter *self, const char *key, GPtrArray **ret_mounts,
                           GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantrySnapshotterVtable, mounts, FALSE);
  return self->vtable->mounts (self, key, ret_mounts, cancellable, error);
}

static inline gboolean
gantry_snapshotter_prepare (GantrySnapshotter *self, const char *key, const char *parent, GVariant *labels,
                            GPtrArray **ret_mounts, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantrySnapshotterVtable, prepare, FALSE);
  return self->vtable->prepare (self, key, parent, labels, ret_mounts, cancellable, error);
}

static inline gboolean
gantry_snapshotter_view (GantrySnapshotter *self, const char *key, const char *parent, GVariant *labels,
                         GPtrArray **ret_mounts, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantrySnapshotterVtable, view, FALSE);
  return self->vtable->view (self, key, parent, labels, ret_mounts, cancellable, error);
}

static inline gboolean
gantry_snapshotter_commit (GantrySnapshotter *self, const char *name, const char *key, const char *parent,
                           GVariant *labels, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantrySnapshotterVtable, commit, FALSE);
  return self->vtable->commit (self, name, key, parent, labels, cancellable, error);
}

static inline gboolean
gantry_snapshotter_remove (GantrySnapshotter *self, const char *key, GCancellable *cancellable,
                           GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantrySnapshotterVtable, remove, FALSE);
  return self->vtable->remove (self, key, cancellable, error);
}

static inline gboolean
gantry_snapshotter_walk (GantrySnapshotter *self, const char *const *filters, GantrySnapshotFunc func,
                         gpointer user_data, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantrySnapshotterVtable, walk, FALSE);
  return self->vtable->walk (self, filters, func, user_data, cancellable, error);
}

static inline gboolean
gantry_snapshotter_cleanup (GantrySnapshotter *self, GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantrySnapshotterVtable, cleanup, FALSE);
  return self->vtable->cleanup (self, cancellable, error);
}

static inline gboolean
gantry_snapshotter_check (GantrySnapshotter *self, gboolean repair, char ***ret_problems,
                          GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantrySnapshotterVtable, check, FALSE);
  return self->vtable->check (self, repair, ret_problems, cancellable, error);
}

G_END_DECLS
