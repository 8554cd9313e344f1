/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "gantry-job.h"

/** The job at @path (transfer full), or NULL for NULL. Returns: (transfer full). */
GantryJob *_gantry_job_new_take (GDBusConnection *connection, char *path);
