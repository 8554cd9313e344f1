/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "gantry-stdio.h"

/** @options (nullable, sunk) and those of @self (nullable). Returns: (transfer floating). */
GVariant *_gantry_stdio_add_options (GantryStdio *self, GVariant *options);
GUnixFDList *_gantry_stdio_get_fds (GantryStdio *self);
