/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define ARCHIVE_LIB_IMPLEMENTATION
#include "archive-lib.h"

#include <dlfcn.h>

#include <gantry/error.h>

/* The interface of the headers that this is built with. */
#define SONAME "libarchive.so.13"

ArchiveLib archive_lib;

static const struct
{
  const char *name;
  gsize offset;
} functions[] = {
#define ARCHIVE_LIB_ROW(name) { #name, G_STRUCT_OFFSET (ArchiveLib, name) },
  ARCHIVE_LIB_FUNCTIONS (ARCHIVE_LIB_ROW)
#undef ARCHIVE_LIB_ROW
};

static gboolean
open_library (GError **error)
{
  void *library = dlopen (SONAME, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);

  if (library == NULL)
    return gantry_throw (error, GANTRY_ERROR_UNAVAILABLE, "archives need libarchive: %s", dlerror ());
  for (gsize i = 0; i < G_N_ELEMENTS (functions); i++)
    {
      void *function = dlsym (library, functions[i].name);

      if (function == NULL)
        return gantry_throw (error, GANTRY_ERROR_UNAVAILABLE, "this libarchive has no %s", functions[i].name);
      *(void **)(gpointer)((char *)&archive_lib + functions[i].offset) = function;
    }
  return TRUE;
}

gboolean
archive_lib_load (GError **error)
{
  static GMutex lock;
  static gboolean loaded;
  gboolean ok;

  g_mutex_lock (&lock);
  ok = loaded || open_library (error);
  loaded = ok;
  g_mutex_unlock (&lock);
  return ok;
}
