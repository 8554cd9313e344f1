/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "gantry-container.h"

/** @info: (nullable): as listed. Returns: (transfer full). */
GantryContainer *_gantry_container_new (GDBusConnection *connection, const char *path, GVariant *info);
