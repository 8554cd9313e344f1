/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Writes changes as a layer's tar.
 */
#pragma once

#include "pack-encode.h"
#include "unpack-common.h"

/** Writes @changes (element-type PackChange) of the tree at @root_fd to @encoder. @epoch: no time is later
 * than this; -1: any is. The same tree gives the same bytes: no names of users, no inode numbers, times in
 * seconds. */
gboolean pack_layer_write (int root_fd, GPtrArray *changes, gint64 epoch, const UnpackLimits *limits,
                           PackEncoder *encoder, GError **error) G_GNUC_WARN_UNUSED_RESULT;
