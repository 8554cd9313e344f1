/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "gantry-process.h"

/** @exec_id: "" for init. Returns: (transfer full). */
GantryProcess *_gantry_process_new (GDBusConnection *connection, const char *path, const char *exec_id);
