/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "part.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gantry/error.h>

/* This is linked into the module, so the module's file is the one with this function. */
static char *
path_of (const char *name)
{
  g_autofree char *directory = NULL;
  Dl_info info;

  if (dladdr ((gpointer)gantry_part_find, &info) == 0 || info.dli_fname == NULL)
    return g_strdup_printf ("parts/%s.so", name);
  directory = g_path_get_dirname (info.dli_fname);
  return g_strdup_printf ("%s/parts/%s.so", directory, name);
}

/* With the lock. */
static gboolean
find (GantryPart *self, GError **error)
{
  g_autofree char *path = NULL;
  struct stat st;
  int fd;

  if (self->fd != 0)
    return TRUE;
  path = path_of (self->name);
  fd = open (path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (fd < 0)
    return gantry_throw_errno (error, errno, "opening %s, a part of this module", path);
  if (fstat (fd, &st) < 0 || !S_ISREG (st.st_mode) || (st.st_uid != 0 && st.st_uid != geteuid ())
      || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    {
      close (fd);
      return gantry_throw (
          error, GANTRY_ERROR_PERMISSION_DENIED,
          "%s is not loaded: it must be a file that belongs to root and that nobody else can write", path);
    }
  self->fd = fd + 1;
  return TRUE;
}

/* With the lock. The descriptor stays open: the loader knows objects by their names, and no other may get
 * this one. */
static gboolean
load (GantryPart *self, GError **error)
{
  g_autofree char *path = g_strdup_printf ("/proc/self/fd/%d", self->fd - 1);
  gconstpointer (*get_table) (void);
  void *object = dlopen (path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);

  if (object == NULL)
    return gantry_throw (error, GANTRY_ERROR_INTERNAL, "opening the part %s: %s", self->name, dlerror ());
  *(void **)&get_table = dlsym (object, "gantry_part_get_table");
  if (get_table == NULL)
    return gantry_throw (error, GANTRY_ERROR_INTERNAL, "opening the part %s: %s", self->name, dlerror ());
  self->table = get_table ();
  return TRUE;
}

gboolean
gantry_part_find (GantryPart *self, GError **error)
{
  gboolean ok;

  g_mutex_lock (&self->lock);
  ok = find (self, error);
  g_mutex_unlock (&self->lock);
  return ok;
}

gconstpointer
gantry_part_open (GantryPart *self, GError **error)
{
  gconstpointer table = NULL;

  g_mutex_lock (&self->lock);
  if (self->table != NULL || (find (self, error) && load (self, error)))
    table = self->table;
  g_mutex_unlock (&self->lock);
  return table;
}
