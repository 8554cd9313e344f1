/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

/** Whether what stands at @at can only be a date or a time. */
gboolean toml_date_begins (const char *at);
/** How long the date, the time or both at @at are; whatever comes after is not looked at. Returns: 0: they
 * are not well-formed, or no day of the calendar. */
gsize toml_date_length (const char *at);
