/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "gantry-mount.h"

/** @info: (nullable): as listed. Returns: (transfer full). */
GantryMount *_gantry_mount_new (GDBusConnection *connection, const char *path, GVariant *info);
