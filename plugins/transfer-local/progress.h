/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * How far a transfer is, blob by blob, told to its job. Many threads report, so reports are gathered and
 * passed on a few times a second; a change of a state at once. */
#pragma once

#include <gantry/jobs.h>

typedef struct _Progress Progress;

/** @job: (nullable): a reference is taken. Returns: (transfer full). */
Progress *progress_new (GantryJob *job);
/** Passes on what is left. */
void progress_free (Progress *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Progress, progress_free)

/** One word for the whole (jobs.h, "phase"). */
void progress_phase (Progress *self, const char *phase);
/** Steps of the whole, such as layers. */
void progress_steps (Progress *self, guint steps, guint total);
/** Adds what it works on ("image:docker.io/library/x:1") to "objects". */
void progress_object (Progress *self, const char *object);
/** The item @name is in @state ("waiting", "downloading", …) and has @total bytes (0: as before). @counted:
 * its bytes are part of the whole's. */
void progress_item (Progress *self, const char *name, const char *state, guint64 total, gboolean counted);
/** @bytes of the item @name are done in its present state. */
void progress_bytes (Progress *self, const char *name, guint64 bytes);
