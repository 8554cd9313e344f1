/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a daemon at rest need not hold. */
#pragma once

#include "core.h"

/** Begins to look for rest: SECONDS after this, and again that long after nobody has used the daemon any
 * more, memory that malloc keeps and the mappings of program text are given back. Main context. */
void rest_watch (Core *core);
/** Nobody uses the daemon now. Main context. */
void rest_unused (Core *core);
/** Ends it. Main context. */
void rest_end (Core *core);
