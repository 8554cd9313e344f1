/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Applies a layer's tar to a directory. The layer may be hostile: whatever it holds, nothing outside the
 * directory is touched.
 */
#pragma once

#include "unpack-common.h"
#include "unpack-stream.h"
#include "unpack-tree.h"

typedef struct
{
  int root_fd;  /* borrowed */
  int lower_fd; /* what an overlay shows below root_fd, -1 or UNPACK_LOWER_UNKNOWN; borrowed */
  UnpackFlavor flavor;
  const char *opaque_xattr; /* of UNPACK_OVERLAY */
  GArray *uid_map;          /* (nullable): of UnpackIdRange */
  GArray *gid_map;
  char **only;         /* (nullable): names in the root directory; the rest is left out (differ.h, "only") */
  gboolean sync;       /* durable on return */
  GHashTable *implied; /* (nullable): gets the paths of directories that the layer has no entry for */
  UnpackLimits limits;
} UnpackTarget;

/** Applies @stream and reads it to its end. *@ret_digest: (transfer full): of the tar.
 * *@ret_root_entry: whether it has an entry for its root directory. Errors: INVALID_ARGUMENT (broken or
 * hostile; names the entry), RESOURCE_EXHAUSTED, those of the file system. */
gboolean unpack_extract (const UnpackTarget *target, UnpackStream *stream, char **ret_digest,
                         guint64 *ret_size, gboolean *ret_root_entry,
                         GError **error) G_GNUC_WARN_UNUSED_RESULT;
