/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Puts the programs of an image into a directory of the host. The layers are unpacked by the differ's worker
 * into a directory beside, which gets files and directories only; what is there at the end is moved into
 * place, file by file. A crash leaves that directory, which the next install there removes. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fdio.h>

#include "layers.h"

#define STAGING   ".gantry-install"
#define MAX_DEPTH 32
#define MAX_FILES 100000

typedef struct
{
  TransferLocal *self;
  Progress *progress;
  GantryContent *content;
  const char *only[3]; /* "bin" and perhaps "lib" */
  char *where;         /* the directory */
  int dfd;             /* of it; holds the lock */
  int staging;
  gboolean replace;
  GPtrArray *files; /* of utf8: "bin/tool" */
  const char *layer;
  GCancellable *cancellable;
} Install;

static void
install_clear (Install *self)
{
  g_autoptr (GError) error = NULL;

  if (self->staging >= 0 && !gantry_remove_tree_at (self->dfd, STAGING, &error))
    gantry_host_log (self->self->host, GANTRY_LOG_WARNING,
                     "%s/%s is left behind; the next install there removes it: %s", self->where, STAGING,
                     error->message);
  gantry_fd_clear (&self->staging);
  gantry_fd_clear (&self->dfd);
  g_free (self->where);
  g_clear_pointer (&self->files, g_ptr_array_unref);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Install, install_clear)

static gboolean
open_place (Install *self, GError **error)
{
  if (!g_path_is_absolute (self->where))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the path %s to install to is not absolute",
                         self->where);
  if (g_mkdir_with_parents (self->where, 0755) < 0
      || (self->dfd = open (self->where, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
    return gantry_throw_errno (error, errno, "opening the directory %s to install to", self->where);
  if (flock (self->dfd, LOCK_EX | LOCK_NB) < 0)
    return gantry_throw (error, GANTRY_ERROR_UNAVAILABLE,
                         "somebody else installs to %s just now; try again when that has ended", self->where);
  if (!gantry_remove_tree_at (self->dfd, STAGING, error))
    return FALSE;
  if (mkdirat (self->dfd, STAGING, 0700) < 0
      || (self->staging = gantry_open_no_links (self->dfd, STAGING, O_RDONLY | O_DIRECTORY, 0)) < 0)
    return gantry_throw_errno (error, errno, "making a directory in %s", self->where);
  return TRUE;
}

static void
on_progress (guint64 bytes, gpointer user_data)
{
  Install *self = user_data;

  progress_bytes (self->progress, self->layer, bytes);
}

/* By the first differ that can take a part of a layer: a proxied one can't. */
static gboolean
apply_part (Install *self, GantryDescriptor *layer, GPtrArray *mounts, GantryDescriptor **ret_diff,
            GError **error)
{
  g_autoptr (GPtrArray) differs = gantry_host_lookup_all (self->self->host, GANTRY_DIFFER_TYPE, error);
  g_autoptr (GError) refused = NULL;

  if (differs == NULL)
    return FALSE;
  for (guint i = 0; i < differs->len; i++)
    {
      GantryDiffer *differ = ((GantryBinding *)g_ptr_array_index (differs, i))->instance;
      g_autoptr (GError) local = NULL;
      GVariantDict options;

      if (!gantry_differ_can_apply (differ, layer->media_type))
        continue;
      g_variant_dict_init (&options, NULL);
      g_variant_dict_insert (&options, "only", "^as", self->only);
      if (gantry_differ_apply (differ, layer, self->content, mounts, g_variant_dict_end (&options),
                               on_progress, self, ret_diff, self->cancellable, &local))
        return TRUE;
      if (!gantry_error_is (local, GANTRY_ERROR_NOT_IMPLEMENTED))
        {
          g_propagate_error (error, g_steal_pointer (&local));
          return FALSE;
        }
      g_clear_error (&refused);
      refused = g_steal_pointer (&local);
    }
  if (refused == NULL)
    return gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED, "no differ can unpack layers of type %s",
                         layer->media_type);
  g_propagate_error (error, g_steal_pointer (&refused));
  return FALSE;
}

static gboolean
unpack_layer (Install *self, GantryDescriptor *layer, const char *diff_id, GPtrArray *mounts, GError **error)
{
  g_autoptr (GantryDescriptor) diff = NULL;

  self->layer = layer->digest;
  progress_item (self->progress, layer->digest, "unpacking", layer->blob_size, TRUE);
  if (!apply_part (self, layer, mounts, &diff, error))
    {
      g_prefix_error (error, "layer %s: ", layer->digest);
      return FALSE;
    }
  if (strcmp (diff->digest, diff_id) != 0)
    return gantry_throw (error, GANTRY_ERROR_DATA_LOSS,
                         "layer %s unpacks to %s, but the image's config says %s", layer->digest,
                         diff->digest, diff_id);
  progress_item (self->progress, layer->digest, "done", layer->blob_size, TRUE);
  return TRUE;
}

static gboolean
unpack_layers (Install *self, OciImage *image, GError **error)
{
  static const char *const bind_options[] = { "rbind", "rw", NULL };
  g_autoptr (GPtrArray) mounts = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_mount_unref);
  g_autofree char *source = g_build_filename (self->where, STAGING, NULL);

  g_ptr_array_add (mounts, gantry_mount_new ("bind", source, "", bind_options));
  for (guint i = 0; i < image->layers->len; i++)
    if (!unpack_layer (self, g_ptr_array_index (image->layers, i), image->diff_ids[i], mounts, error))
      return FALSE;
  return TRUE;
}

/* Finds the files below the directory @path of what was unpacked. */
static gboolean
find_files (Install *self, const char *path, guint depth, GError **error)
{
  int fd = gantry_open_no_links (self->staging, path, O_RDONLY | O_DIRECTORY, 0);
  DIR *dir = fd >= 0 ? fdopendir (fd) : NULL;
  struct dirent *entry;
  gboolean ok = TRUE;

  if (dir == NULL)
    return (fd < 0 && errno == ENOENT) || gantry_throw_errno (error, errno, "reading %s", path);
  while (ok && (entry = readdir (dir)) != NULL)
    {
      g_autofree char *name = g_strconcat (path, "/", entry->d_name, NULL);
      struct stat st;

      if (strcmp (entry->d_name, ".") == 0 || strcmp (entry->d_name, "..") == 0)
        continue;
      if (fstatat (fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        ok = gantry_throw_errno (error, errno, "reading the status of %s", name);
      else if (depth >= MAX_DEPTH || self->files->len >= MAX_FILES)
        ok = gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED,
                           "%s: the image has more than %d files to install, or more than %d directories "
                           "below each other",
                           name, MAX_FILES, MAX_DEPTH);
      else if (S_ISDIR (st.st_mode))
        ok = find_files (self, name, depth + 1, error);
      else if (S_ISREG (st.st_mode))
        g_ptr_array_add (self->files, g_steal_pointer (&name));
      else
        ok = gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "%s is no regular file", name);
    }
  closedir (dir);
  return ok;
}

/* Before anything is moved: whether everything can be. */
static gboolean
check_room (Install *self, GError **error)
{
  for (guint i = 0; i < self->files->len; i++)
    {
      const char *name = g_ptr_array_index (self->files, i);
      gantry_autofd int fd = gantry_open_beneath (self->dfd, name, O_PATH | O_NOFOLLOW, 0);
      struct stat st;

      if (fd < 0 && errno == ENOENT)
        continue;
      if (fd < 0 || fstat (fd, &st) < 0)
        return gantry_throw_errno (error, errno, "looking for %s/%s", self->where, name);
      if (!self->replace)
        return gantry_throw (error, GANTRY_ERROR_ALREADY_EXISTS,
                             "%s/%s is there already; ask for it to be replaced", self->where, name);
      if (S_ISDIR (st.st_mode))
        return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                             "%s/%s is a directory, and the image has a file of that name", self->where,
                             name);
    }
  return TRUE;
}

static gboolean
move_files (Install *self, GError **error)
{
  for (guint i = 0; i < self->files->len; i++)
    {
      const char *name = g_ptr_array_index (self->files, i);
      g_autofree char *parent = g_path_get_dirname (name), *base = g_path_get_basename (name);
      gantry_autofd int from = gantry_open_no_links (self->staging, parent, O_RDONLY | O_DIRECTORY, 0);
      gantry_autofd int to = -1;

      if (from < 0)
        return gantry_throw_errno (error, errno, "opening %s", parent);
      to = gantry_open_dir_at (self->dfd, parent, 0755, error);
      if (to < 0)
        return FALSE;
      if (renameat (from, base, to, base) < 0)
        return gantry_throw_errno (error, errno, "installing %s/%s", self->where, name);
    }
  return syncfs (self->dfd) == 0 || gantry_throw_errno (error, errno, "syncing %s", self->where);
}

static gboolean
check_options (GVariant *options, GError **error)
{
  static const struct
  {
    const char *name, *type;
  } known[] = { { "path", "s" }, { "lib", "b" }, { "replace", "b" }, { "platform", "s" } };
  GVariantIter iter;
  const char *key;
  GVariant *value;

  g_variant_iter_init (&iter, options);
  while (g_variant_iter_next (&iter, "{&sv}", &key, &value))
    {
      g_autoptr (GVariant) held = value;
      gboolean ok = FALSE;

      for (gsize i = 0; i < G_N_ELEMENTS (known); i++)
        ok |= strcmp (known[i].name, key) == 0
              && strcmp (known[i].type, g_variant_get_type_string (held)) == 0;
      if (!ok)
        return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                             "unknown option \"%s\", or one of another type", key);
    }
  return TRUE;
}

static void
read_options (Install *self, GVariant *options)
{
  gboolean lib = FALSE;

  if (!g_variant_lookup (options, "path", "s", &self->where))
    self->where = g_strdup (
        gantry_host_get_config_string (self->self->host, "InstallDirectory", GANTRY_INSTALL_DIRECTORY));
  g_variant_lookup (options, "lib", "b", &lib);
  g_variant_lookup (options, "replace", "b", &self->replace);
  self->only[0] = "bin";
  self->only[1] = lib ? "lib" : NULL;
}

static gboolean
install (Install *self, OciImage *image, GError **error)
{
  if (!open_place (self, error) || !unpack_layers (self, image, error))
    return FALSE;
  for (gsize i = 0; self->only[i] != NULL; i++)
    if (!find_files (self, self->only[i], 0, error))
      return FALSE;
  if (self->files->len == 0)
    return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "the image has nothing in %s to install",
                         self->only[1] != NULL ? "bin and lib" : "bin");
  return check_room (self, error) && move_files (self, error);
}

static void
fill_result (Install *self, GVariant **ret_result)
{
  GVariantDict result;

  g_variant_dict_init (&result, NULL);
  g_variant_dict_insert (&result, "path", "s", self->where);
  g_variant_dict_insert_value (&result, "files",
                               g_variant_new_strv ((const char *const *)self->files->pdata,
                                                   self->files->len));
  *ret_result = g_variant_ref_sink (g_variant_dict_end (&result));
}

gboolean
install_image (GantryTransfer *transfer, GantryJob *job, const char *ns, const char *name, GVariant *options,
               GVariant **ret_result, GCancellable *cancellable, GError **error)
{
  TransferLocal *self = (TransferLocal *)transfer;
  g_autoptr (GVariant) held = g_variant_ref_sink (
      options != NULL ? options : g_variant_new_array (G_VARIANT_TYPE ("{sv}"), NULL, 0));
  g_autoptr (Progress) progress = progress_new (job);
  g_autoptr (GantryContent) content = NULL;
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GantryDescriptor) target = NULL;
  g_autoptr (OciImage) image = NULL;
  g_auto (Install) state
      = { .self = self, .progress = progress, .dfd = -1, .staging = -1, .cancellable = cancellable };
  const char *platform = NULL;

  if (!check_options (held, error)
      || !gantry_metadata_get (self->metadata, GANTRY_KIND_IMAGE, ns, name, &record, cancellable, error)
      || !gantry_store_open_content (self->store, ns, NULL, NULL, &content, cancellable, error))
    return FALSE;
  target = gantry_record_get_target (record);
  if (target == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "image %s has no target", name);
  g_variant_lookup (held, "platform", "&s", &platform);
  image = oci_image_load (content, target, platform, cancellable, error);
  if (image == NULL)
    return FALSE;
  state.content = content;
  state.files = g_ptr_array_new_with_free_func (g_free);
  read_options (&state, held);
  progress_phase (progress, "installing");
  if (!install (&state, image, error))
    return FALSE;
  fill_result (&state, ret_result);
  return TRUE;
}
