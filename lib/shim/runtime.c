/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The runtime as a whole: its tasks, the thread that reads from shims, and the watch. */
#include "shim-runtime.h"

#include <string.h>

#include <fdio.h>

typedef struct
{
  GantryTaskFunc func;
  gpointer user_data;
  GantryTaskEvent event;
  GantryProcess *process;
} Tell;

static gboolean
on_tell (gpointer data)
{
  Tell *tell = data;

  tell->func (tell->event, tell->process, tell->user_data);
  return G_SOURCE_REMOVE;
}

static void
tell_free (gpointer data)
{
  gantry_process_unref (((Tell *)data)->process);
  g_free (data);
}

void
shim_runtime_tell (ShimRuntime *self, GantryTaskEvent event, GantryProcess *process)
{
  Tell *tell;

  if (self->watch == NULL)
    return;
  tell = g_new (Tell, 1);
  *tell = (Tell){ self->watch, self->watch_data, event, gantry_process_ref (process) };
  g_main_context_invoke_full (self->host->get_main_context (self->host), G_PRIORITY_HIGH, on_tell, tell,
                              tell_free);
}

char *
shim_runtime_key (const char *ns, const char *id)
{
  return g_strconcat (ns, "/", id, NULL);
}

Task *
shim_runtime_lookup (ShimRuntime *self, const char *ns, const char *id, GError **error)
{
  g_autofree char *key = shim_runtime_key (ns, id);
  Task *task;

  g_mutex_lock (&self->lock);
  task = g_hash_table_lookup (self->tasks, key);
  if (task != NULL)
    task_ref (task);
  g_mutex_unlock (&self->lock);
  if (task == NULL)
    gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "task %s not found: not found", id);
  return task;
}

gboolean
shim_runtime_is_name (const char *name)
{
  gsize length = name != NULL ? strlen (name) : 0;

  return length > 0 && length <= 128 && name[0] != '.'
         && strspn (name, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "._-") == length;
}

static gpointer
reader_main (gpointer data)
{
  ShimRuntime *self = data;

  g_main_context_push_thread_default (self->context);
  g_main_loop_run (self->loop);
  g_main_context_pop_thread_default (self->context);
  return NULL;
}

static gboolean
make_directories (ShimRuntime *self, int dir_fd, GError **error)
{
  gantry_autofd int sockets_fd = self->native ? gantry_open_dir_at (dir_fd, "s", 0700, error) : -1;

  if (self->native && sockets_fd < 0)
    return FALSE;
  /* The OCI runtime opens root file systems from inside a user namespace, so its users must come through. */
  if (fchmod (dir_fd, 0711) < 0)
    return gantry_throw_errno (error, errno, "%s", self->path);
  self->bundles_fd = gantry_open_dir_at (dir_fd, "bundles", 0711, error);
  return self->bundles_fd >= 0;
}

/* <state>/grpc.sock and the configured ones: the daemon as containerd's clients know it. */
static char **
read_client_addresses (const GantryHost *host)
{
  const char *more = gantry_host_get_config_string (host, "ClientAddresses", "");
  g_autofree char *all = g_strconcat (gantry_host_get_base_path (host, GANTRY_DIR_RUN), "/grpc.sock",
                                      *more != '\0' ? ";" : NULL, more, NULL);

  return g_strsplit (all, ";", -1);
}

ShimRuntime *
shim_runtime_new (const GantryHost *host, const char *shim, gboolean native, GError **error)
{
  ShimRuntime *self = g_new0 (ShimRuntime, 1);
  int dir_fd = gantry_host_get_dir_fd (host, GANTRY_DIR_RUN, error);
  const char *path = gantry_host_get_dir_path (host, GANTRY_DIR_RUN, dir_fd >= 0 ? error : NULL);

  self->runtime.vtable = &shim_runtime_vtable;
  self->native = native;
  self->of_runc = native || strstr (shim, "containerd-shim-runc-") != NULL;
  self->shim = g_strdup (shim);
  self->host = host;
  self->bundles_fd = -1;
  self->events_fd = -1;
  g_mutex_init (&self->lock);
  self->tasks = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify)task_unref);
  self->context = g_main_context_new ();
  self->loop = g_main_loop_new (self->context, FALSE);
  self->path = g_strdup (path);
  self->client_addresses = read_client_addresses (host);
  self->links = g_hash_table_new (g_str_hash, g_str_equal);
  if (dir_fd < 0 || path == NULL || !make_directories (self, dir_fd, error))
    {
      shim_runtime_free (self);
      return NULL;
    }
  self->thread = g_thread_new ("shims", reader_main, self);
  return self;
}

static gboolean
quit_loop (gpointer data)
{
  g_main_loop_quit (data);
  return G_SOURCE_REMOVE;
}

/* Their sources hold the tasks. */
static void
close_logs (ShimRuntime *self)
{
  g_autoptr (GList) tasks = g_hash_table_get_values (self->tasks);

  for (GList *at = tasks; at != NULL; at = at->next)
    shim_log_close (at->data);
}

/* What is left belongs to calls whose answer nobody reads any more. */
static void
close_links (ShimRuntime *self)
{
  GHashTableIter iter;
  gpointer value;

  for (g_hash_table_iter_init (&iter, self->links); g_hash_table_iter_next (&iter, NULL, &value);
       g_hash_table_iter_init (&iter, self->links))
    {
      Link *link = link_ref (value);

      g_hash_table_iter_remove (&iter);
      connection_close (link->connection);
      link_unref (link);
    }
}

void
shim_runtime_free (ShimRuntime *self)
{
  if (self == NULL)
    return;
  if (self->thread != NULL)
    {
      g_autoptr (GSource) source = g_idle_source_new ();

      g_source_set_callback (source, quit_loop, self->loop, NULL);
      g_source_attach (source, self->context);
      g_thread_join (self->thread);
    }
  events_server_stop (self);
  close_logs (self);
  g_hash_table_unref (self->tasks);
  close_links (self);
  g_hash_table_unref (self->links);
  g_main_loop_unref (self->loop);
  g_main_context_unref (self->context);
  gantry_fd_clear (&self->bundles_fd);
  g_mutex_clear (&self->lock);
  g_free (self->path);
  g_free (self->shim);
  g_free (self->oci_runtime);
  g_free (self->events_address);
  g_strfreev (self->client_addresses);
  g_free (self);
}
