/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "core.h"

/** Prints what ("plugins", "trace" or "config") as JSON, from the files alone: nothing is started, and
 * modules are opened in a child process, so that one that crashes is a finding. Returns: an exit status. */
int inspect_print (Options *options, const char *what);

/** Checks the manifest @path, or every manifest in it: manifest against descriptor, ABI, ownership, and init
 * () and fini () under a host whose slots fail one after the other. Prints one line a finding. Returns: an
 * exit status. */
int inspect_check (Options *options, const char *path);
