/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What snapshotters that keep one directory a snapshot have in common: numbered directories in step with the
 * snapshot index, orphans of a crash, removal in the background. A snapshotter on top says how a directory is
 * filled and how it is mounted.
 *
 *     <plugin's directory>/<number>/fs      the snapshot's own files
 *     <plugin's directory>/new-<number>     while it is being filled
 *     <plugin's directory>/<number>/work    whatever else the snapshotter wants there
 */
#pragma once

#include <gantry/snapshot-index.h>
#include <idmap.h>

#define SNAP_UIDMAPPING "containerd.io/snapshot/uidmapping"
#define SNAP_GIDMAPPING "containerd.io/snapshot/gidmapping"

typedef struct _SnapDirs SnapDirs;

/** How the owners of a snapshot's files are mapped: its labels. */
typedef struct
{
  IdmapRange uids[IDMAP_MAX_RANGES];
  IdmapRange gids[IDMAP_MAX_RANGES];
  gsize n_uids;
  gsize n_gids;
} SnapMapping;

/** @uid and @gid as @mapping has them. Errors: FAILED_PRECONDITION (outside of it). */
gboolean snap_mapping_apply (const SnapMapping *mapping, guint32 uid, guint32 gid, guint32 *ret_uid,
                             guint32 *ret_gid, GError **error);

typedef struct
{
  /** Fills the new directory @dir_fd (which has an empty "fs") of @kind on @ancestors (numbers, nearest
   * first). @mapping: (nullable): of GANTRY_SNAPSHOTTER_REMAP. Blocks: on local I/O. */
  gboolean (*fill) (SnapDirs *self, int dir_fd, GantrySnapshotKind kind, GArray *ancestors,
                    const SnapMapping *mapping, GCancellable *cancellable, GError **error);
  /** How to mount @entry. Returns: (transfer full) (element-type GantryMount). */
  GPtrArray *(*mounts) (SnapDirs *self, GantrySnapshotEntry *entry);
  /** (nullable): Whether mappings work here: asked once, when it matters. Blocks: shortly. */
  gboolean (*probe_remap) (SnapDirs *self);
  /** (nullable): names in the directory that are no snapshots: what the snapshotter looks into things with
   * for a moment. */
  const char *const *scratch;
  /** (nullable): takes away what removing files one by one can't, or slowly, before a snapshot's directory
   * @dir_fd, which may be half made, is removed. Blocks: on local I/O. */
  gboolean (*empty) (SnapDirs *self, int dir_fd, GError **error);
  /** (nullable): what @entry takes beyond its parent, where "fs" has more than that. Blocks: on local I/O. */
  gboolean (*usage) (SnapDirs *self, GantrySnapshotEntry *entry, guint64 *ret_bytes, guint64 *ret_inodes,
                     GCancellable *cancellable, GError **error);
} SnapDirsOps;

struct _SnapDirs
{
  GantrySnapshotter snapshotter;
  const GantryHost *host;
  const SnapDirsOps *ops;
  GantrySnapshotIndex *index;
  const char *id;   /* the plugin's, which names its part of the index */
  const char *path; /* the plugin's directory */
  int fd;
  unsigned capabilities;
  gsize probed;         /* once: REMAP is among them if it works */
  char **mount_options; /* for the snapshotter on top */
  GMutex lock;
  GArray *pending;   /* with lock: numbers whose directories are being made, in order */
  GHashTable *going; /* with lock: numbers whose directories are removed in the background */
};

/** Makes one; the caller sets nothing more. Errors: of the directory and the index. */
gboolean snap_dirs_init (SnapDirs *self, const GantryHost *host, const SnapDirsOps *ops,
                         unsigned capabilities, GError **error);
void snap_dirs_clear (SnapDirs *self);

/** The path of the files of snapshot @number. Returns: (transfer full). */
char *snap_dirs_fs_path (SnapDirs *self, guint64 number);

/** The greatest number whose directory no prepare under way is making. */
gboolean snap_dirs_last_settled (SnapDirs *self, guint64 *ret_last, GCancellable *cancellable,
                                 GError **error);
/** Removes the directory @name of a snapshot, however much of it there is. */
gboolean snap_dirs_remove_at (SnapDirs *self, const char *name, GError **error);
/** The number that the directory @name belongs to. Returns: FALSE if to none. */
gboolean snap_dirs_number_of (const char *name, guint64 *ret_number);
/** Whether the directory of @number is removed in the background. */
gboolean snap_dirs_is_going (SnapDirs *self, guint64 number);

/* check.c */
gboolean snap_dirs_check (GantrySnapshotter *snapshotter, gboolean repair, char ***ret_problems,
                          GCancellable *cancellable, GError **error);
