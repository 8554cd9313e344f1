/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <snapdirs.h>

SnapDirs *snapshotter_overlay_new (const GantryHost *host, GError **error);
void snapshotter_overlay_free (SnapDirs *self);

/** Whether overlays of mounts with mapped owners work here (Linux 5.19, and the file system). Blocks:
 * shortly, on a child process. */
gboolean overlay_probe_remap (SnapDirs *self);
