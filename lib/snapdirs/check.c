/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The index held against the directories. */
#include "snapdirs.h"

#include <dirent.h>
#include <string.h>

#include <fdio.h>

typedef struct
{
  SnapDirs *self;
  GHashTable *known;  /* of numbers that entries have */
  GPtrArray *missing; /* of names whose directory is not there */
} Check;

static gboolean
check_entry (GantrySnapshotEntry *entry, gpointer user_data)
{
  Check *check = user_data;
  g_autofree char *name = g_strdup_printf ("%" G_GUINT64_FORMAT "/fs", entry->number);
  struct stat st;

  g_hash_table_add (check->known, g_memdup2 (&entry->number, sizeof entry->number));
  if (fstatat (check->self->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
    g_ptr_array_add (check->missing, g_strdup (entry->info->name));
  return TRUE;
}

/* Whether the directory is condemned, or was while we looked: its entry goes a moment before that is noted.
 */
static gboolean
is_going (SnapDirs *self, guint64 number, const char *name)
{
  struct stat st;

  if (snap_dirs_is_going (self, number))
    return TRUE;
  g_usleep (50000);
  return snap_dirs_is_going (self, number) || fstatat (self->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0;
}

static gboolean
check_directories (Check *check, guint64 last, gboolean repair, GPtrArray *problems, GError **error)
{
  SnapDirs *self = check->self;
  int fd = openat (self->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *dir = fd >= 0 ? fdopendir (fd) : NULL;
  struct dirent *entry;

  if (dir == NULL)
    {
      gantry_fd_clear (&fd);
      return gantry_throw_errno (error, errno, "reading %s", self->path);
    }
  while ((entry = readdir (dir)) != NULL)
    {
      guint64 number;
      gboolean numbered = snap_dirs_number_of (entry->d_name, &number);

      /* Those above may belong to a prepare under way; those that were condemned go by themselves. */
      if (strcmp (entry->d_name, ".") == 0 || strcmp (entry->d_name, "..") == 0
          || (self->ops->scratch != NULL && g_strv_contains (self->ops->scratch, entry->d_name))
          || (numbered
              && (number > last || g_hash_table_contains (check->known, &number)
                  || is_going (self, number, entry->d_name))))
        continue;
      g_ptr_array_add (problems, g_strdup_printf ("%s/%s belongs to no snapshot%s", self->path, entry->d_name,
                                                  repair && snap_dirs_remove_at (self, entry->d_name, NULL)
                                                      ? " (removed)"
                                                      : ""));
    }
  closedir (dir);
  return TRUE;
}

gboolean
snap_dirs_check (GantrySnapshotter *snapshotter, gboolean repair, char ***ret_problems,
                 GCancellable *cancellable, GError **error)
{
  SnapDirs *self = (SnapDirs *)snapshotter;
  g_autoptr (GPtrArray) problems = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GHashTable) known = g_hash_table_new_full (g_int64_hash, g_int64_equal, g_free, NULL);
  g_autoptr (GPtrArray) missing = g_ptr_array_new_with_free_func (g_free);
  Check check = { self, known, missing };
  guint64 last, number;

  if (!snap_dirs_last_settled (self, &last, cancellable, error)
      || !gantry_snapshot_index_walk (self->index, self->id, NULL, check_entry, &check, cancellable, error)
      || !check_directories (&check, last, repair, problems, error))
    return FALSE;
  for (guint i = 0; i < missing->len; i++)
    {
      const char *name = g_ptr_array_index (missing, i);
      g_autoptr (GantrySnapshotEntry) still = NULL;

      /* One that was removed while we looked is not a problem. */
      if (!gantry_snapshot_index_get (self->index, self->id, name, &still, cancellable, NULL))
        continue;
      g_ptr_array_add (problems,
                       g_strdup_printf ("the directory of snapshot %s/%s is missing%s", self->id, name,
                                        repair
                                                && gantry_snapshot_index_remove (self->index, self->id, name,
                                                                                 &number, cancellable, NULL)
                                            ? " (forgotten)"
                                            : ""));
    }
  g_ptr_array_add (problems, NULL);
  *ret_problems = (char **)g_ptr_array_free (g_steal_pointer (&problems), FALSE);
  return TRUE;
}
