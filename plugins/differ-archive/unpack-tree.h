/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The tree that a layer is unpacked into: finds and makes the parent directories of entries. It keeps the
 * directories of the current path open, so that an entry next to the last one costs no look-up, and sets the
 * directories' times when it leaves them. Symlinks are followed as if the tree were the root file system,
 * never by the kernel.
 *
 * Used by one thread. Nobody else may change the tree meanwhile.
 */
#pragma once

#include <sys/stat.h>

#include <glib.h>

/* How "this hides what is below" is written down. */
typedef enum
{
  UNPACK_PLAIN = 0,   /* what is below is in the tree itself: delete it */
  UNPACK_OVERLAY = 1, /* the tree is an overlay's upperdir: mark it */
} UnpackFlavor;

typedef struct _UnpackTree UnpackTree;

/** What lies below an overlay's tree is not known: directories that are not there may be there, so that none
 * is made on the way. */
#define UNPACK_LOWER_UNKNOWN (-2)

/** Begins at the directory @root_fd (borrowed). @lower_fd (borrowed): what an overlay shows below it, -1 or
 * UNPACK_LOWER_UNKNOWN.
 * @opaque_xattr: how an overlay marks a directory that hides those below it. */
UnpackTree *unpack_tree_new (int root_fd, int lower_fd, UnpackFlavor flavor, const char *opaque_xattr,
                             guint64 max_depth);

/** Has directories that the layers below might have made all the same, and their paths put into @implied
 * (borrowed; a set of strings), as long as the layer has no entry for them. */
void unpack_tree_note_implied (UnpackTree *self, GHashTable *implied);

/** The layer has an entry for the current directory. */
void unpack_tree_set_explicit (UnpackTree *self);

/** Enters the directory with the clean name @path. With @create missing ones are made; otherwise a missing
 * one is NOT_FOUND. Returns: (transfer none): its fd, valid until the next call, or -1. Errors:
 * INVALID_ARGUMENT (not a directory, too many links, too deep). */
int unpack_tree_enter (UnpackTree *self, const char *path, gboolean create,
                       GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** Enters the directory @name of the current one, which is there and is no symlink. Returns: as
 * unpack_tree_enter (). */
int unpack_tree_enter_child (UnpackTree *self, const char *name, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** The group that files made in the current directory get: 0, or the directory's with set-group-id. */
gid_t unpack_tree_get_default_group (UnpackTree *self);

/** To be told when the mode or group of the current directory changed. */
void unpack_tree_set_default_group (UnpackTree *self, mode_t mode, gid_t gid);

/** The current directory shall have these times in the end. */
void unpack_tree_set_times (UnpackTree *self, const struct timespec times[2]);

/** A directory was removed or replaced: what is held open may be stale. */
gboolean unpack_tree_forget (UnpackTree *self, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** Whether an overlay would show something from below as @name in the current directory. TRUE if that is not
 * known. */
gboolean unpack_tree_is_in_lower (UnpackTree *self, const char *name);

/** Copies the file or symlink @name, which an overlay would show from below, up into the current directory.
 * *@room (bytes): what it may take; what it took is taken off. *@ret_found: FALSE: there is none. Errors:
 * RESOURCE_EXHAUSTED, INVALID_ARGUMENT (something else). */
gboolean unpack_tree_copy_up (UnpackTree *self, const char *name, guint64 *room, gboolean *ret_found,
                              GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** Remembers that @name in @dfd comes from this layer, if that matters. Returns: FALSE with @error. */
gboolean unpack_tree_claim (UnpackTree *self, int dfd, const char *name,
                            GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** Whether something with this status comes from this layer. */
gboolean unpack_tree_is_claimed (UnpackTree *self, const struct stat *st);

/** Sets the times of the directories that are still open. */
gboolean unpack_tree_finish (UnpackTree *self, GError **error) G_GNUC_WARN_UNUSED_RESULT;

void unpack_tree_free (UnpackTree *self);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (UnpackTree, unpack_tree_free)
