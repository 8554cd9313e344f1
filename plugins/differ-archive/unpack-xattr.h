/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Extended attributes of layers.
 */
#pragma once

#include <glib.h>

/** Whether @name belongs to the file, and not to the overlay that happens to hold it. */
gboolean unpack_xattr_is_content (const char *name);

/** Whether @name is put into a layer: capabilities and what users set; labels of this machine's policy are
 * not. */
gboolean unpack_xattr_is_portable (const char *name);

/** Copies the attributes of the directory @from to @to, both fds open for reading. */
gboolean unpack_xattr_copy (int from, int to, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** Called for each attribute. Returns: FALSE with @error to stop. */
typedef gboolean (*UnpackXattrFunc) (const char *name, const void *value, gsize length, gpointer user_data,
                                     GError **error);

/** Calls @func for every attribute of @name in @dfd (its own, if it is a symlink), in the order of their
 * names. */
gboolean unpack_xattr_foreach (int dfd, const char *name, UnpackXattrFunc func, gpointer user_data,
                               GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** The same for the file @fd, open for reading. */
gboolean unpack_xattr_foreach_fd (int fd, UnpackXattrFunc func, gpointer user_data,
                                  GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** Sets an attribute of @name in @dfd (its own, if it is a symlink) or, if @fd is not -1, of @fd. Attributes
 * that the file system has not are left out, as other unpackers do. */
gboolean unpack_xattr_set (int dfd, const char *name, int fd, const char *attribute, const void *value,
                           gsize length, GError **error) G_GNUC_WARN_UNUSED_RESULT;
