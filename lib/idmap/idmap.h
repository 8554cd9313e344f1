/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Mappings of user and group ids, as user_namespaces (7) has them, and mounts whose files have mapped owners
 * (mount_setattr (2), MOUNT_ATTR_IDMAP). Without GLib, since the shim uses it too. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** The kernel's own limit (user_namespaces (7)). */
#define IDMAP_MAX_RANGES 340

typedef struct
{
  uint32_t inside;
  uint32_t outside;
  uint32_t count;
} IdmapRange;

/** Reads "inside:outside:count", several separated by commas, into @ranges of IDMAP_MAX_RANGES. Returns: how
 * many, 0 if @text is no mapping. */
size_t idmap_parse (const char *text, IdmapRange *ranges);

/** What the id @inside is outside, or -1 if no range has it. */
int64_t idmap_outside (const IdmapRange *ranges, size_t n, uint32_t inside);

/** A user namespace with the mappings @uids and @gids, in which nothing runs. Blocks: shortly, on a child
 * process. Returns: its fd, or -1 with errno (EINVAL: no mappings). */
int idmap_open (const char *uids, const char *gids);

/** A detached copy of the mount tree at @path with the mount attributes @set, whose owners are mapped as in
 * @userns. Returns: its fd, or -1 with errno (EINVAL: the file system can't, EPERM: it is mapped already). */
int idmap_clone (const char *path, int userns, uint64_t set);
