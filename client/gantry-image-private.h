/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "gantry-image.h"

/** @info: (nullable): as listed. Returns: (transfer full). */
GantryImage *_gantry_image_new (GDBusConnection *connection, const char *path, GVariant *info);
