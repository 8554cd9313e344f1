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
  static GMutex lock;
  const ArchiveLib *lib = gantry_part_open (&part, error);

  if (lib == NULL)
    return FALSE;
  /* Written once, for others read it without more ado. */
  g_mutex_lock (&lock);
  if (archive_lib == NULL)
    archive_lib = lib;
  g_mutex_unlock (&lock);
  return TRUE;
}
