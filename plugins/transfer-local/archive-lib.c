/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "archive-lib.h"

#include <part.h>

static GantryPart part = GANTRY_PART ("transfer-local-archive");

const ArchiveLib *archive_lib;

gboolean
archive_lib_find (GError **error)
{
  return gantry_part_find (&part, error);
}

gboolean
archive_lib_load (GError **error)
{
  const ArchiveLib *lib = gantry_part_open (&part, error);

  /* Once: others read it without more ado. */
  if (lib != NULL)
    (void)g_atomic_pointer_compare_and_exchange (&archive_lib, NULL, (gpointer)lib);
  return lib != NULL;
}
