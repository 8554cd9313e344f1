/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * POSIX ACLs, as star and GNU tar put them into PAX records (SCHILY.acl.access). Default ACLs of directories
 * are left out: files of later layers that are made there would inherit from them.
 */
#pragma once

#include <glib.h>

struct archive_entry;

/** Gives @fd, open for reading or writing, the access ACL that @entry has. Names without a number mean
 * nothing here, and such an ACL is left out, as is one that the file system can't hold. Errors:
 * INVALID_ARGUMENT (no valid one; an id that @uid_map or @gid_map has not). */
gboolean unpack_acl_set (struct archive_entry *entry, int fd, GArray *uid_map, GArray *gid_map,
                         GError **error) G_GNUC_WARN_UNUSED_RESULT;
