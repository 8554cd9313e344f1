/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A pump copies one fd to several: it reads when all have taken what it read before, so the slowest sets the
 * pace and the memory is one buffer. With no sink it reads and drops. It ends by itself when its source does.
 */
#pragma once

#include "log.h"

#include <stdbool.h>

typedef struct Pump Pump;

/** Makes one; takes over @source. @owner: (nullable): set to NULL when the pump ends. Returns: NULL if it
 * can't. */
Pump *pump_new (int source, Pump **owner);
/** Adds a sink; takes over @fd. Returns: false if there are too many. */
bool pump_add_sink (Pump *pump, int fd);
/** Writes all to @log, too, as the stream @name ("stdout", for ever). */
void pump_set_log (Pump *pump, Log *log, const char *name);
/** Whoever wrote to the source has ended: copies what it left there, as far as sinks take it. The pump, which
 * must have an owner, ends if the source does. */
void pump_drain (Pump *pump);
/** Whether something of that is still to be read, or waits for a sink. */
bool pump_owes (const Pump *pump);
void pump_free (Pump *pump);
/** Nobody owns it any more; it ends by itself. */
void pump_disown (Pump *pump);
/** How many pumps there are. */
unsigned pump_count (void);
