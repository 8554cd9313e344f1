/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Copies files of the layers below up, as an overlay does when one is linked to.
 */
#pragma once

#include "unpack-tree.h"

/** Copies the file or symlink at @from_fd (O_PATH, borrowed), the clean path @path below @lower_fd, to the
 * new name @name in @dfd: with owner, mode, attributes and times. Plain reads and writes, since the worker's
 * filter has neither reflinks nor copy_file_range (2). *@room (bytes): what it may take; what it took is
 * taken off. Errors: RESOURCE_EXHAUSTED, INVALID_ARGUMENT (no file and no symlink). */
gboolean unpack_copy_up (int from_fd, int lower_fd, const char *path, int dfd, const char *name,
                         guint64 *room, GError **error) G_GNUC_WARN_UNUSED_RESULT;
