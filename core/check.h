/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gantryd --check: an author's test bench. */
#pragma once

#include "core.h"

/** Checks the plugin of the manifest @path, or of every manifest in the directory @path, and prints a line
 * for each finding: "ok", "skip", "warn" or "FAIL", a colon, and what it is about. Runs modules in children.
 * Returns: an exit status: 1 if there was a FAIL. */
int check_run (Options *options, const char *path);
