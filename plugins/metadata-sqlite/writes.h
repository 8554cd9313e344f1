/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Group commit: writes wait in one queue, and one thread at a time, the leader, runs what is there as one
 * batch. Whoever writes while nobody leads is the leader itself, so that a single writer wakes no other
 * thread and waits for none; it leads until its own write is done and hands over to the next that waits. For
 * writes that nobody waits for there is a thread.
 */
#pragma once

#include "database.h"

typedef struct
{
  WriteFunc func;
  gpointer data;
  GDestroyNotify destroy; /* of data, for a write that nobody waits for */
  gboolean durable;

  /* Set by what runs the batch. */
  gboolean ok;
  GError *error;

  /* The queue's. */
  gboolean waited;
  gboolean done;
  gboolean leads;
  GCond turn; /* done or leads was set; of its own: a wake-up for all at every batch would cost more */
} Write;

typedef struct _Writes Writes;

/** Commits @batch (element-type Write), with a sync if @durable, and sets each one's ok and error. On one
 * thread at a time. */
typedef void (*WritesRun) (GPtrArray *batch, gboolean durable, gpointer data);

Writes *writes_new (WritesRun run, gpointer data);

/** Runs what is queued, takes no more and frees @self. */
void writes_free (Writes *self);

/** Queues @write and returns when its batch was run. Blocks. Returns: FALSE if it was not queued. Errors:
 * UNAVAILABLE, RESOURCE_EXHAUSTED. */
gboolean writes_run (Writes *self, Write *write, GError **error);

/** Queues @write (transfer full, if it succeeds; made by g_new0) and does not wait. Errors: the same. */
gboolean writes_queue (Writes *self, Write *write, GError **error);
