/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What gantryd tells of the files alone, without becoming a daemon. Modules are opened in a child, so that a
 * broken one breaks nothing else. */
#pragma once

#include "core.h"

/** Prints @what ("plugins", "trace" or "config") as JSON. Returns: an exit status. */
int inspect_print (Options *options, const char *what);

/** Runs @func (@data) in a child. Returns: its exit status, or 128 and the signal that ended it. */
int inspect_in_child (int (*func) (gpointer data), gpointer data);

gboolean inspect_same_file (const char *a, const char *b);
