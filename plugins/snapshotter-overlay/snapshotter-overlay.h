/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <snapdirs.h>

SnapDirs *snapshotter_overlay_new (const GantryHost *host, GError **error);
void snapshotter_overlay_free (SnapDirs *self);
