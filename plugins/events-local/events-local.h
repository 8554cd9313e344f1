/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gantry/events.h>

typedef struct
{
  GantryEvents events;
  const GantryHost *host;
  GantryEventLog *log; /* (nullable) */
  guint backlog;       /* events a subscriber may be behind */

  GMutex lock;
  GHashTable *subscribers; /* by id */
  guint64 last_id;
  guint64 last; /* number of the newest event */

  GMutex number_lock; /* without a log: keeps numbers and deliveries in one order */
} EventsLocal;

EventsLocal *events_local_new (const GantryHost *host, GantryEventLog *log, guint64 backlog);
void events_local_free (EventsLocal *self);
