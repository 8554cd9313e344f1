/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Finds out what a tree has over another one.
 */
#pragma once

#include "unpack-common.h"

typedef enum
{
  PACK_ADD,      /* or change */
  PACK_WHITEOUT, /* the lower tree's is gone */
  PACK_OPAQUE,   /* all that the lower tree has in this directory is gone */
} PackChangeKind;

typedef struct
{
  PackChangeKind kind;
  char *path;
} PackChange;

/** Compares the tree at @upper_fd with the one at @lower_fd (-1: an empty one). Returns: (transfer full)
 * (element-type PackChange): parents before children, names in the order of their bytes; or NULL with @error.
 */
GPtrArray *pack_changes_compare (int lower_fd, int upper_fd, const UnpackLimits *limits, GError **error);

/** Reads the changes off the upperdir of an overlay. *@ret_unsure: (returns NULL without an error) it refers
 * to the lower directories in a way that only the overlay itself can follow. */
GPtrArray *pack_changes_of_upper (int upper_fd, const UnpackLimits *limits, gboolean *ret_unsure,
                                  GError **error);

/** Puts the root directory (the path "") before @changes, if mode, owner or attributes of the tree's at
 * @upper_fd are others than those of the one at @lower_fd (-1: an empty directory of root's, mode 0755). */
gboolean pack_changes_add_root (int lower_fd, int upper_fd, GPtrArray *changes, GError **error);
