/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Checkpoints in content that tasks are restored from: unpacked below the plugin's directory in --state, as
 * restore/<namespace>/<id>, until the task has started or is gone. */
#include "tasks-local.h"

#include <dirent.h>
#include <string.h>

#include <fdio.h>
#include <gantry/differ.h>

#define DIRECTORY "restore"
#define TAR       "application/vnd.oci.image.layer.v1.tar"

static GantryDiffer *
find_differ (TasksLocal *self, GError **error)
{
  g_autoptr (GPtrArray) bindings = gantry_host_lookup_all (self->host, GANTRY_DIFFER_TYPE, error);

  for (guint i = 0; bindings != NULL && i < bindings->len; i++)
    {
      GantryBinding *binding = g_ptr_array_index (bindings, i);

      if (gantry_differ_can_apply (binding->instance, TAR))
        return binding->instance;
    }
  if (bindings != NULL)
    gantry_throw (error, GANTRY_ERROR_UNAVAILABLE,
                  "there is no differ that unpacks a checkpoint; see `gantry plugin list`");
  return NULL;
}

static gboolean
unpack (TasksLocal *self, const char *ns, const char *digest, const char *path, GCancellable *cancellable,
        GError **error)
{
  static const char *const options[] = { "rbind", "rw", NULL };
  g_autoptr (GPtrArray) mounts = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_mount_unref);
  g_autoptr (GantryContent) content = NULL;
  g_autoptr (GantryContentInfo) info = NULL;
  g_autoptr (GantryDescriptor) layer = NULL, diff = NULL;
  GantryDiffer *differ = find_differ (self, error);
  GVariantDict dict;

  if (differ == NULL || !gantry_store_open_content (self->store, ns, NULL, NULL, &content, cancellable, error)
      || !gantry_content_info (content, digest, &info, cancellable, error))
    return FALSE;
  layer = gantry_descriptor_new (TAR, digest, info->blob_size, NULL);
  g_ptr_array_add (mounts, gantry_mount_new ("bind", path, NULL, options));
  g_variant_dict_init (&dict, NULL);
  g_variant_dict_insert (&dict, "sync", "b", FALSE);
  return gantry_differ_apply (differ, layer, content, mounts, g_variant_dict_end (&dict), NULL, NULL, &diff,
                              cancellable, error);
}

static char *
name_of (const char *ns, const char *id)
{
  return g_strconcat (DIRECTORY "/", ns, "/", id, NULL);
}

static void
forget (TasksLocal *self, const char *name)
{
  int fd = gantry_host_get_dir_fd (self->host, GANTRY_DIR_RUN, NULL);
  g_autoptr (GError) error = NULL;

  if (fd >= 0 && !gantry_remove_tree_at (fd, name, &error))
    gantry_host_log (self->host, GANTRY_LOG_WARNING,
                     "the unpacked checkpoint %s stays until the next start: %s", name, error->message);
}

char *
restore_unpack (TasksLocal *self, const char *ns, const char *id, const char *digest,
                GCancellable *cancellable, GError **error)
{
  const char *run = gantry_host_get_dir_path (self->host, GANTRY_DIR_RUN, error);
  int run_fd = run != NULL ? gantry_host_get_dir_fd (self->host, GANTRY_DIR_RUN, error) : -1;
  g_autofree char *name = name_of (ns, id), *path = NULL;
  gantry_autofd int fd = -1;
  gboolean mine;

  if (run_fd < 0)
    return NULL;
  g_mutex_lock (&self->lock);
  mine = g_hash_table_add (self->restoring, g_strdup (name));
  g_mutex_unlock (&self->lock);
  if (!mine)
    {
      gantry_throw (error, GANTRY_ERROR_ALREADY_EXISTS, "task %s: already exists", id);
      return NULL;
    }
  fd = gantry_open_dir_at (run_fd, name, 0700, error);
  path = g_build_filename (run, name, NULL);
  if (fd >= 0 && unpack (self, ns, digest, path, cancellable, error))
    return g_steal_pointer (&path);
  g_prefix_error (error, "the checkpoint %s: ", digest);
  restore_undo (self, ns, id);
  return NULL;
}

void
restore_undo (TasksLocal *self, const char *ns, const char *id)
{
  g_autofree char *name = name_of (ns, id);

  /* The directory first: whoever restores a task of this name next makes it anew. */
  forget (self, name);
  g_mutex_lock (&self->lock);
  g_hash_table_remove (self->restoring, name);
  g_mutex_unlock (&self->lock);
}

typedef struct
{
  TasksLocal *self;
  char *name;
} Forget;

static void
on_forget (gpointer data, gpointer unused)
{
  Forget *self = data;

  forget (self->self, self->name);
}

static void
forget_free (gpointer data)
{
  g_free (((Forget *)data)->name);
  g_free (data);
}

void
restore_forget (TasksLocal *self, const char *ns, const char *id)
{
  Forget *forget = g_new (Forget, 1);
  gboolean known;

  *forget = (Forget){ self, name_of (ns, id) };
  g_mutex_lock (&self->lock);
  known = g_hash_table_remove (self->restoring, forget->name);
  g_mutex_unlock (&self->lock);
  if (!known || !gantry_host_submit (self->host, GANTRY_POOL_IO, on_forget, forget, forget_free, NULL))
    forget_free (forget);
}

/* A directory of @ns: stays if its task waits to be started. */
static void
sweep_one (TasksLocal *self, const char *ns, const char *id)
{
  g_autofree char *name = name_of (ns, id);
  g_autoptr (GantryProcess) process = NULL;
  GantryRuntime *runtime = tasks_local_runtime_of (self, ns, id, NULL);

  if (runtime != NULL && gantry_runtime_state (runtime, ns, id, "", &process, NULL, NULL)
      && process->status == GANTRY_TASK_CREATED)
    g_hash_table_add (self->restoring, g_steal_pointer (&name));
  else
    forget (self, name);
}

static void
each_entry (int fd, TasksLocal *self, const char *ns,
            void (*func) (TasksLocal *self, const char *ns, const char *name))
{
  DIR *dir = fd >= 0 ? fdopendir (fd) : NULL;
  struct dirent *entry;

  while (dir != NULL && (entry = readdir (dir)) != NULL)
    if (strcmp (entry->d_name, ".") != 0 && strcmp (entry->d_name, "..") != 0)
      func (self, ns, entry->d_name);
  if (dir != NULL)
    closedir (dir);
}

static void
sweep_namespace (TasksLocal *self, const char *unused, const char *ns)
{
  int run_fd = gantry_host_get_dir_fd (self->host, GANTRY_DIR_RUN, NULL);
  g_autofree char *name = g_strconcat (DIRECTORY "/", ns, NULL);

  each_entry (gantry_open_beneath (run_fd, name, O_RDONLY | O_DIRECTORY, 0), self, ns, sweep_one);
}

void
restore_sweep (TasksLocal *self)
{
  int run_fd = gantry_host_get_dir_fd (self->host, GANTRY_DIR_RUN, NULL);

  if (run_fd >= 0)
    each_entry (gantry_open_beneath (run_fd, DIRECTORY, O_RDONLY | O_DIRECTORY, 0), self, NULL,
                sweep_namespace);
}
