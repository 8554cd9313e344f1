/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "gantry-sandbox.h"

/** @info: (nullable): as listed. Returns: (transfer full). */
GantrySandbox *_gantry_sandbox_new (GDBusConnection *connection, const char *path, GVariant *info);
