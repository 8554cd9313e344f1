/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Finished blobs. */
#include "content-local.h"

#include <dirent.h>
#include <string.h>

#include <fdio.h>
#include <filter.h>

static const struct
{
  const char *name;
  gsize hex;
} algorithms[] = {
  { "sha256", 64 },
  { "sha384", 96 },
  { "sha512", 128 },
};

gboolean
content_local_path (const char *digest, char **ret_path, GError **error)
{
  const char *colon = digest != NULL ? strchr (digest, ':') : NULL;

  for (gsize i = 0; colon != NULL && i < G_N_ELEMENTS (algorithms); i++)
    if (strncmp (digest, algorithms[i].name, (gsize)(colon - digest)) == 0
        && algorithms[i].name[colon - digest] == '\0' && strlen (colon + 1) == algorithms[i].hex
        && strspn (colon + 1, "0123456789abcdef") == algorithms[i].hex)
      {
        *ret_path = g_strconcat (algorithms[i].name, "/", colon + 1, NULL);
        return TRUE;
      }
  return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "\"%s\" is not a digest: invalid argument",
                       digest != NULL ? digest : "");
}

gboolean
content_local_has (ContentLocal *self, const char *digest)
{
  g_autofree char *path = NULL;
  struct stat st;

  return content_local_path (digest, &path, NULL)
         && fstatat (self->blobs_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static gint64
time_ns (const struct timespec *time)
{
  return (gint64)time->tv_sec * 1000000000 + time->tv_nsec;
}

static gboolean
content_info (GantryContent *content, const char *digest, GantryContentInfo **ret_info,
              GCancellable *cancellable, GError **error)
{
  ContentLocal *self = (ContentLocal *)content;
  g_autofree char *path = NULL;
  struct stat st;

  if (!content_local_path (digest, &path, error))
    return FALSE;
  if (fstatat (self->blobs_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
    {
      if (errno == ENOENT)
        return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "content digest %s: not found", digest);
      return gantry_throw_errno (error, errno, "content digest %s", digest);
    }
  *ret_info = gantry_content_info_new (digest, (guint64)st.st_size, time_ns (&st.st_mtim),
                                       time_ns (&st.st_mtim), NULL);
  return TRUE;
}

/* A listed blob, and its size as filters compare it. */
typedef struct
{
  GantryContentInfo *info;
  char size[32];
} Listed;

static const char *
info_field (const char *const *path, guint n_path, gpointer object)
{
  Listed *listed = object;

  if (n_path == 1 && strcmp (path[0], "size") == 0)
    return listed->size;
  return n_path == 1 && strcmp (path[0], "digest") == 0 ? listed->info->digest : NULL;
}

static gboolean
info_matches (GantryFilter *filter, GantryContentInfo *info)
{
  Listed listed = { info, "" };

  g_snprintf (listed.size, sizeof listed.size, "%" G_GUINT64_FORMAT, info->blob_size);
  return gantry_filter_match (filter, info_field, &listed);
}

static gboolean
walk_algorithm (ContentLocal *self, const char *algorithm, GPtrArray *infos, GError **error)
{
  int fd = gantry_open_beneath (self->blobs_fd, algorithm, O_RDONLY | O_DIRECTORY, 0);
  struct dirent *entry;
  DIR *dir;

  if (fd < 0 && errno == ENOENT)
    return TRUE;
  if (fd < 0)
    return gantry_throw_errno (error, errno, "opening the %s blobs", algorithm);
  dir = fdopendir (fd);
  if (dir == NULL)
    {
      close (fd);
      return gantry_throw_errno (error, errno, "reading the %s blobs", algorithm);
    }
  while ((entry = readdir (dir)) != NULL)
    {
      g_autofree char *digest = g_strconcat (algorithm, ":", entry->d_name, NULL);
      g_autofree char *path = NULL;
      struct stat st;

      if (content_local_path (digest, &path, NULL)
          && fstatat (fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        g_ptr_array_add (infos, gantry_content_info_new (digest, (guint64)st.st_size, time_ns (&st.st_mtim),
                                                         time_ns (&st.st_mtim), NULL));
    }
  closedir (dir);
  return TRUE;
}

static gboolean
content_walk (GantryContent *content, const char *const *filters, GantryContentFunc func, gpointer user_data,
              GCancellable *cancellable, GError **error)
{
  ContentLocal *self = (ContentLocal *)content;
  g_autoptr (GantryFilter) filter = gantry_filter_new (filters, error);
  g_autoptr (GPtrArray) infos = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_content_info_unref);

  if (filter == NULL)
    return FALSE;
  for (gsize i = 0; i < G_N_ELEMENTS (algorithms); i++)
    if (!walk_algorithm (self, algorithms[i].name, infos, error))
      return FALSE;
  for (guint i = 0; i < infos->len; i++)
    if (info_matches (filter, g_ptr_array_index (infos, i))
        && !func (g_ptr_array_index (infos, i), user_data))
      break;
  return TRUE;
}

static gboolean
content_remove (GantryContent *content, const char *digest, GCancellable *cancellable, GError **error)
{
  ContentLocal *self = (ContentLocal *)content;
  g_autofree char *path = NULL;

  if (!content_local_path (digest, &path, error))
    return FALSE;
  if (unlinkat (self->blobs_fd, path, 0) < 0)
    {
      if (errno == ENOENT)
        return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "content digest %s: not found", digest);
      return gantry_throw_errno (error, errno, "removing content %s", digest);
    }
  return TRUE;
}

static gboolean
content_open_blob (GantryContent *content, const char *digest, int *ret_fd, guint64 *ret_size,
                   GCancellable *cancellable, GError **error)
{
  ContentLocal *self = (ContentLocal *)content;
  g_autofree char *path = NULL;
  gantry_autofd int fd = -1;
  struct stat st;

  if (!content_local_path (digest, &path, error))
    return FALSE;
  fd = openat (self->blobs_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0 && errno == ENOENT)
    return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "content digest %s: not found", digest);
  if (fd < 0 || fstat (fd, &st) < 0)
    return gantry_throw_errno (error, errno, "opening content %s", digest);
  *ret_fd = gantry_fd_steal (&fd);
  if (ret_size != NULL)
    *ret_size = (guint64)st.st_size;
  return TRUE;
}

/* Files beside the blobs that are none. */
static gboolean
check_algorithm (ContentLocal *self, const char *algorithm, gboolean repair, GPtrArray *problems,
                 GError **error)
{
  int fd = gantry_open_beneath (self->blobs_fd, algorithm, O_RDONLY | O_DIRECTORY, 0);
  DIR *dir = fd >= 0 ? fdopendir (fd) : NULL;
  struct dirent *entry;

  if (dir == NULL)
    {
      gantry_fd_clear (&fd);
      return gantry_throw_errno (error, errno, "reading the %s blobs", algorithm);
    }
  while ((entry = readdir (dir)) != NULL)
    {
      g_autofree char *digest = g_strconcat (algorithm, ":", entry->d_name, NULL);
      g_autofree char *path = NULL;

      if (strcmp (entry->d_name, ".") != 0 && strcmp (entry->d_name, "..") != 0
          && !content_local_path (digest, &path, NULL))
        g_ptr_array_add (problems, g_strdup_printf ("blobs/%s/%s is no blob%s", algorithm, entry->d_name,
                                                    repair && gantry_remove_tree_at (fd, entry->d_name, NULL)
                                                        ? " (removed)"
                                                        : ""));
    }
  closedir (dir);
  return TRUE;
}

static gboolean
content_check (GantryContent *content, gboolean repair, char ***ret_problems, GCancellable *cancellable,
               GError **error)
{
  ContentLocal *self = (ContentLocal *)content;
  g_autoptr (GPtrArray) problems = g_ptr_array_new_with_free_func (g_free);

  for (gsize i = 0; i < G_N_ELEMENTS (algorithms); i++)
    if (!check_algorithm (self, algorithms[i].name, repair, problems, error))
      return FALSE;
  if (!ingest_sweep (self, repair, problems, error))
    return FALSE;
  g_ptr_array_add (problems, NULL);
  *ret_problems = (char **)g_ptr_array_free (g_steal_pointer (&problems), FALSE);
  return TRUE;
}

static const GantryContentVtable vtable = {
  .size = sizeof (GantryContentVtable),
  .info = content_info,
  .walk = content_walk,
  .remove = content_remove,
  .open_blob = content_open_blob,
  .open_ingest = ingest_open,
  .list_ingests = ingest_list,
  .ingest_status = ingest_status,
  .abort_ingest = ingest_abort,
  .check = content_check,
};

ContentLocal *
content_local_new (const GantryHost *host, GError **error)
{
  gantry_autofd int blobs_fd = -1, ingest_fd = -1;
  int dir_fd = gantry_host_get_dir_fd (host, GANTRY_DIR_PERSISTENT, error);
  ContentLocal *self;

  if (dir_fd < 0)
    return NULL;
  blobs_fd = gantry_open_dir_at (dir_fd, "blobs", 0700, error);
  if (blobs_fd < 0)
    return NULL;
  ingest_fd = gantry_open_dir_at (dir_fd, "ingest", 0700, error);
  if (ingest_fd < 0)
    return NULL;
  for (gsize i = 0; i < G_N_ELEMENTS (algorithms); i++)
    {
      gantry_autofd int fd = gantry_open_dir_at (blobs_fd, algorithms[i].name, 0700, error);

      if (fd < 0)
        return NULL;
    }
  self = g_new0 (ContentLocal, 1);
  self->content.vtable = &vtable;
  self->host = host;
  self->blobs_fd = gantry_fd_steal (&blobs_fd);
  self->ingest_fd = gantry_fd_steal (&ingest_fd);
  g_mutex_init (&self->lock);
  self->writers = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  if (!ingest_sweep (self, TRUE, NULL, error))
    {
      content_local_free (self);
      return NULL;
    }
  return self;
}

void
content_local_free (ContentLocal *self)
{
  if (self == NULL)
    return;
  gantry_fd_clear (&self->blobs_fd);
  gantry_fd_clear (&self->ingest_fd);
  g_hash_table_unref (self->writers);
  g_mutex_clear (&self->lock);
  g_free (self);
}
