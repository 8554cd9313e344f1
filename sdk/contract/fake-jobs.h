/* SPDX-License-Identifier: MIT
 *
 * Jobs in memory, for tests of what runs as a job. Watchers hear of every change at the next turn of the main
 * context, at most ten times a second of each job. */
#pragma once

#include <gantry/jobs.h>

/** Makes an empty one. Returns: (transfer full). */
GantryJobs *gantry_fake_jobs_new (void);

/** Accepts NULL. Jobs that somebody still holds stay until he lets them go. */
void gantry_fake_jobs_free (GantryJobs *jobs);
