/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "gantry-namespace.h"

/** Returns: (transfer full). */
GantryNamespace *_gantry_namespace_new (GDBusConnection *connection, const char *path);
