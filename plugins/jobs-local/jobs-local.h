/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gantry/jobs.h>

typedef struct
{
  GantryJobs jobs;
  const GantryHost *host;

  GMutex lock;
  GHashTable *by_id;
  guint64 last_id;
  GArray *watches;
  guint64 last_watch;
  GHashTable *tells; /* of sources that will tell the watchers; they must not outlive the plugin */
} JobsLocal;

JobsLocal *jobs_local_new (const GantryHost *host);
void jobs_local_free (JobsLocal *self);
