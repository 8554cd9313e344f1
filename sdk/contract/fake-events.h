/* SPDX-License-Identifier: MIT
 *
 * Events and their log in memory, for tests of what publishes or hears them. */
#pragma once

#include <gantry/events.h>

/** Makes events that are kept in @log, which outlives them. Returns: (transfer full). */
GantryEvents *gantry_fake_events_new (GantryEventLog *log);

/** Accepts NULL. */
void gantry_fake_events_free (GantryEvents *events);

/** Makes an empty log of the last 1024 events. It tells its sink from within append (). Returns: (transfer
 * full). */
GantryEventLog *gantry_fake_event_log_new (void);

/** Accepts NULL. */
void gantry_fake_event_log_free (GantryEventLog *log);
