/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define ARCHIVE_LIB_IMPLEMENTATION
#include "archive-lib.h"

#include <part.h>

static const ArchiveLib lib = {
#define ARCHIVE_LIB_ROW(name) .name = name,
  ARCHIVE_LIB_FUNCTIONS (ARCHIVE_LIB_ROW)
#undef ARCHIVE_LIB_ROW
};

gconstpointer
gantry_part_get_table (void)
{
  return &lib;
}
