/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

/** "overlayfs" for "overlay". Returns: (transfer none): @ours where both are the same. */
const char *name_of_snapshotter (const char *ours);
/** "overlay" for "overlayfs". */
const char *our_snapshotter (const char *name);
/** "io.containerd.runc.v2" for "runc". */
const char *name_of_runtime (const char *ours);
