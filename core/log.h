/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

typedef enum
{
  LOG_AUTO,
  LOG_TEXT,
  LOG_JSON,
  LOG_JOURNAL
} LogFormat;

/** Sends everything that GLib's log gets to stderr or the journal: one line a message on a terminal, one JSON
 * object with LOG_JSON. Messages below @level (a syslog number) are dropped. Call once, before threads. */
void log_init (LogFormat format, int level);

/** Writes nothing from now on. */
void log_silence (void);

/** The first critical message of this process, or NULL. Returns: (transfer none). */
const char *log_get_first_critical (void);
