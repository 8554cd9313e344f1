/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Tasks: joins records, snapshots, specs and runtimes. */
#include "tasks-local.h"

#include <string.h>

#include <gantry/verifier.h>
#include <oci.h>
#include <spec.h>

#define MAX_WAITERS 65536

typedef struct
{
  guint64 id;
  char *key; /* "ns/id/exec" */
  GantryExitFunc func;
  gpointer user_data;
} Waiter;

typedef struct
{
  guint64 id;
  GantryTaskFunc func;
  gpointer user_data;
} Watch;

static void
waiter_free (gpointer data)
{
  Waiter *waiter = data;

  g_free (waiter->key);
  g_free (waiter);
}

static char *
key_of (const char *ns, const char *id, const char *exec_id)
{
  return g_strconcat (ns, "/", id, "/", exec_id != NULL ? exec_id : "", NULL);
}

/* Which runtime a name means: the one of that id; else containerd's names of its runc and of our shim are our
 * runc. Nothing at all is the one that ranks highest. */
GantryRuntime *
tasks_local_find_runtime (TasksLocal *self, const char *name, GError **error)
{
  g_autoptr (GPtrArray) bindings = gantry_host_lookup_all (self->host, GANTRY_RUNTIME_TYPE, error);
  gboolean runc
      = name != NULL
        && (g_str_has_prefix (name, "io.containerd.runc.") || strcmp (name, "io.containerd.gantry.v1") == 0);
  GantryRuntime *found = NULL;

  if (bindings == NULL)
    return NULL;
  for (guint i = 0; i < bindings->len; i++)
    {
      GantryBinding *binding = g_ptr_array_index (bindings, i);

      if (name == NULL || name[0] == '\0' || strcmp (binding->id, name) == 0)
        return binding->instance;
      if (runc && strcmp (binding->id, "runc") == 0)
        found = binding->instance;
    }
  if (found == NULL)
    gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "there is no runtime %s; see `gantry plugin list`",
                  name != NULL ? name : "");
  return found;
}

/* Other shims have no bounded log. */
static gboolean
can_log (TasksLocal *self, GantryRuntime *runtime)
{
  g_autoptr (GPtrArray) bindings = gantry_host_lookup_all (self->host, GANTRY_RUNTIME_TYPE, NULL);

  for (guint i = 0; bindings != NULL && i < bindings->len; i++)
    {
      GantryBinding *binding = g_ptr_array_index (bindings, i);

      if (binding->instance == runtime)
        return strcmp (binding->id, "runc") == 0;
    }
  return FALSE;
}

/* Says whether it is the container (or sandbox) or only its task that is not there. */
static void
throw_no_task (TasksLocal *self, const char *ns, const char *id, GError **error)
{
  g_autoptr (GantryRecord) record = NULL;

  if (gantry_metadata_get (self->metadata, GANTRY_KIND_SANDBOX, ns, id, &record, NULL, NULL)
      || gantry_metadata_get (self->metadata, GANTRY_KIND_CONTAINER, ns, id, &record, NULL, error))
    gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "task %s not found", id);
}

/* The runtime that has the task of @id. */
GantryRuntime *
tasks_local_runtime_of (TasksLocal *self, const char *ns, const char *id, GError **error)
{
  g_autoptr (GPtrArray) bindings = gantry_host_lookup_all (self->host, GANTRY_RUNTIME_TYPE, error);

  for (guint i = 0; bindings != NULL && i < bindings->len; i++)
    {
      GantryBinding *binding = g_ptr_array_index (bindings, i);
      g_autoptr (GantryProcess) process = NULL;

      if (gantry_runtime_state (binding->instance, ns, id, "", &process, NULL, NULL))
        return binding->instance;
    }
  if (bindings != NULL)
    throw_no_task (self, ns, id, error);
  return NULL;
}

static gboolean
tasks_create_task (GantryTasks *tasks, const char *ns, const char *id, GantryStdio *stdio, GPtrArray *mounts,
                   GVariant *options, const char *checkpoint, GantryProcess **ret_process,
                   GCancellable *cancellable, GError **error)
{
  TasksLocal *self = (TasksLocal *)tasks;
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GVariant) spec = NULL, record_options = NULL;
  g_autoptr (GBytes) bytes = NULL;
  g_autoptr (GPtrArray) own_mounts = NULL;
  g_autoptr (GantrySnapshotter) snapshotter = NULL;
  g_autoptr (GantryTaskCreate) create = NULL;
  g_autoptr (GantryStdio) resolved = NULL;
  g_autoptr (GantryProcess) process = NULL;
  g_autoptr (GError) local = NULL;
  g_autofree char *restored = NULL;
  g_autoptr (GPtrArray) rest = NULL;
  GantryRuntime *runtime;
  const char *key;

  if (!gantry_metadata_get (self->metadata, GANTRY_KIND_CONTAINER, ns, id, &record, cancellable, error))
    return FALSE;
  runtime = tasks_local_find_runtime (self, gantry_record_get_string (record, "runtime"), error);
  spec = gantry_record_get_field (record, "spec", G_VARIANT_TYPE ("(say)"));
  if (runtime == NULL)
    return FALSE;
  if (spec == NULL)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "container %s has no spec", id);
  resolved = logs_resolve (self, record, can_log (self, runtime), stdio, error);
  if (resolved == NULL && stdio != NULL)
    return FALSE;
  key = gantry_record_get_string (record, "snapshot-key");
  if (mounts == NULL && key != NULL && key[0] != '\0')
    {
      if (!gantry_store_open_snapshotter (self->store, ns, NULL,
                                          gantry_record_get_string (record, "snapshotter"), &snapshotter,
                                          NULL, cancellable, error)
          || !gantry_snapshotter_mounts (snapshotter, key, &own_mounts, cancellable, error))
        return FALSE;
      mounts = own_mounts;
    }
  rest = rootfs_activate (self, ns, id, mounts, cancellable, error);
  if (mounts != NULL && rest == NULL)
    return FALSE;
  if (checkpoint != NULL && checkpoint[0] != '/')
    {
      checkpoint = restored = restore_unpack (self, ns, id, checkpoint, cancellable, error);
      if (checkpoint == NULL)
        {
          rootfs_release (self, ns, id);
          return FALSE;
        }
    }
  bytes = gantry_any_get_bytes (spec);
  create = gantry_task_create_new (ns, id, bytes, rest, resolved);
  record_options = gantry_record_get_field (record, "runtime-options", G_VARIANT_TYPE ("(say)"));
  create->options = options != NULL ? g_variant_ref (options) : g_steal_pointer (&record_options);
  create->checkpoint = g_strdup (checkpoint);
  announce_expect (self, create);
  if (!gantry_runtime_create (runtime, create, &process, cancellable, &local))
    {
      announce_forget (self, create);
      if (!gantry_error_is (local, GANTRY_ERROR_ALREADY_EXISTS))
        rootfs_release (self, ns, id);
      if (restored != NULL)
        restore_undo (self, ns, id);
      /* "task x: already exists" says it all. */
      if (!gantry_error_is (local, GANTRY_ERROR_ALREADY_EXISTS))
        g_prefix_error (&local, "container %s: ", id);
      g_propagate_error (error, g_steal_pointer (&local));
      return FALSE;
    }
  if (ret_process != NULL)
    *ret_process = g_steal_pointer (&process);
  return TRUE;
}

static gboolean
tasks_exec (GantryTasks *tasks, const char *ns, const char *id, const char *exec_id, GBytes *process,
            GVariant *options, GantryStdio *stdio, GCancellable *cancellable, GError **error)
{
  TasksLocal *self = (TasksLocal *)tasks;
  GantryRuntime *runtime = tasks_local_runtime_of (self, ns, id, error);
  g_autoptr (GVariant) held = g_variant_ref_sink (
      options != NULL ? options : g_variant_new_array (G_VARIANT_TYPE ("{sv}"), NULL, 0));
  g_autoptr (GBytes) made = NULL;

  if (runtime == NULL)
    return FALSE;
  if (process == NULL)
    {
      g_autoptr (GantryRecord) record = NULL;
      g_autoptr (GVariant) spec = NULL;
      g_autoptr (GBytes) bytes = NULL;
      g_autoptr (GPtrArray) mounts = NULL;
      g_autoptr (GantrySnapshotter) snapshotter = NULL;
      const char *key;

      if (sandbox_is_held_by (self, ns, id))
        return gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED,
                             "processes in the task of sandbox %s are only made of whole specs, as over gRPC",
                             id);
      if (!gantry_metadata_get (self->metadata, GANTRY_KIND_CONTAINER, ns, id, &record, cancellable, error))
        return FALSE;
      spec = gantry_record_get_field (record, "spec", G_VARIANT_TYPE ("(say)"));
      if (spec == NULL)
        return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "container %s has no spec", id);
      key = gantry_record_get_string (record, "snapshot-key");
      if (key != NULL && key[0] != '\0'
          && gantry_store_open_snapshotter (self->store, ns, NULL,
                                            gantry_record_get_string (record, "snapshotter"), &snapshotter,
                                            NULL, cancellable, NULL)
          && !gantry_snapshotter_mounts (snapshotter, key, &mounts, cancellable, NULL))
        mounts = NULL;
      bytes = gantry_any_get_bytes (spec);
      process = made = spec_exec (bytes, mounts, held, error);
    }
  return process != NULL
         && gantry_runtime_exec (runtime, ns, id, exec_id, process, stdio, cancellable, error);
}

/* The rest is the runtime's, found by the container. */
#define FORWARD(call)                                                                                        \
  GantryRuntime *runtime = tasks_local_runtime_of ((TasksLocal *)tasks, ns, id, error);                      \
  return runtime != NULL && call

static gboolean
tasks_start (GantryTasks *tasks, const char *ns, const char *id, const char *exec_id,
             GantryProcess **ret_process, GCancellable *cancellable, GError **error)
{
  FORWARD (gantry_runtime_start (runtime, ns, id, exec_id, ret_process, cancellable, error));
}

static gboolean
tasks_delete_task (GantryTasks *tasks, const char *ns, const char *id, const char *exec_id,
                   GantryProcess **ret_process, GCancellable *cancellable, GError **error)
{
  TasksLocal *self = (TasksLocal *)tasks;
  GantryRuntime *runtime = tasks_local_runtime_of (self, ns, id, error);

  if (runtime == NULL || !gantry_runtime_remove (runtime, ns, id, exec_id, ret_process, cancellable, error))
    return FALSE;
  announce_settle (self);
  return TRUE;
}

static gboolean
tasks_kill (GantryTasks *tasks, const char *ns, const char *id, const char *exec_id, guint signal,
            gboolean all, GCancellable *cancellable, GError **error)
{
  FORWARD (gantry_runtime_kill (runtime, ns, id, exec_id, signal, all, cancellable, error));
}

static gboolean
tasks_get (GantryTasks *tasks, const char *ns, const char *id, const char *exec_id,
           GantryProcess **ret_process, GCancellable *cancellable, GError **error)
{
  FORWARD (gantry_runtime_state (runtime, ns, id, exec_id, ret_process, cancellable, error));
}

static gboolean
tasks_list (GantryTasks *tasks, const char *ns, GPtrArray **ret_processes, GCancellable *cancellable,
            GError **error)
{
  TasksLocal *self = (TasksLocal *)tasks;
  g_autoptr (GPtrArray) bindings = gantry_host_lookup_all (self->host, GANTRY_RUNTIME_TYPE, error);
  g_autoptr (GPtrArray) all = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_process_unref);

  if (bindings == NULL)
    return FALSE;
  for (guint i = 0; i < bindings->len; i++)
    {
      g_autoptr (GPtrArray) some = NULL;

      if (!gantry_runtime_list (((GantryBinding *)g_ptr_array_index (bindings, i))->instance, ns, &some,
                                cancellable, error))
        return FALSE;
      for (guint j = 0; j < some->len; j++)
        g_ptr_array_add (all, gantry_process_ref (g_ptr_array_index (some, j)));
    }
  *ret_processes = g_steal_pointer (&all);
  return TRUE;
}

static gboolean
tasks_list_execs (GantryTasks *tasks, const char *ns, const char *id, GPtrArray **ret_processes,
                  GCancellable *cancellable, GError **error)
{
  FORWARD (gantry_runtime_list_execs (runtime, ns, id, ret_processes, cancellable, error));
}

static gboolean
tasks_pids (GantryTasks *tasks, const char *ns, const char *id, GVariant **ret_pids,
            GCancellable *cancellable, GError **error)
{
  FORWARD (gantry_runtime_pids (runtime, ns, id, ret_pids, cancellable, error));
}

static gboolean
tasks_pause (GantryTasks *tasks, const char *ns, const char *id, GCancellable *cancellable, GError **error)
{
  FORWARD (gantry_runtime_pause (runtime, ns, id, cancellable, error));
}

static gboolean
tasks_resume (GantryTasks *tasks, const char *ns, const char *id, GCancellable *cancellable, GError **error)
{
  FORWARD (gantry_runtime_resume (runtime, ns, id, cancellable, error));
}

static gboolean
tasks_resize (GantryTasks *tasks, const char *ns, const char *id, const char *exec_id, guint width,
              guint height, GCancellable *cancellable, GError **error)
{
  FORWARD (gantry_runtime_resize (runtime, ns, id, exec_id, width, height, cancellable, error));
}

static gboolean
tasks_close_stdin (GantryTasks *tasks, const char *ns, const char *id, const char *exec_id,
                   GCancellable *cancellable, GError **error)
{
  FORWARD (gantry_runtime_close_stdin (runtime, ns, id, exec_id, cancellable, error));
}

static gboolean
tasks_attach (GantryTasks *tasks, const char *ns, const char *id, const char *exec_id, GUnixFDList *fds,
              GCancellable *cancellable, GError **error)
{
  FORWARD (gantry_runtime_attach (runtime, ns, id, exec_id, fds, cancellable, error));
}

static gboolean
tasks_stats (GantryTasks *tasks, const char *ns, const char *id, GVariant **ret_stats,
             GCancellable *cancellable, GError **error)
{
  FORWARD (gantry_runtime_stats (runtime, ns, id, ret_stats, cancellable, error));
}

static gboolean
tasks_update (GantryTasks *tasks, const char *ns, const char *id, GVariant *resources, GVariant *annotations,
              GCancellable *cancellable, GError **error)
{
  FORWARD (gantry_runtime_update (runtime, ns, id, resources, annotations, cancellable, error));
}

static gboolean
tasks_checkpoint (GantryTasks *tasks, const char *ns, const char *id, const char *path, GVariant *options,
                  GCancellable *cancellable, GError **error)
{
  FORWARD (gantry_runtime_checkpoint (runtime, ns, id, path, options, cancellable, error));
}

static gboolean
tasks_runtime_info (GantryTasks *tasks, const char *name, GVariant *options, GBytes **ret_info,
                    GCancellable *cancellable, GError **error)
{
  g_autoptr (GVariant) held = options != NULL ? g_variant_ref_sink (options) : NULL;
  GantryRuntime *runtime = tasks_local_find_runtime ((TasksLocal *)tasks, name, error);

  return runtime != NULL && gantry_runtime_info (runtime, held, ret_info, cancellable, error);
}

/* In the main context: calls the waiters of @process. */
static void
complete_waiters (TasksLocal *self, GantryProcess *process, const GError *error)
{
  g_autofree char *key = key_of (process->ns, process->id, process->exec_id);
  g_autoptr (GPtrArray) ready = g_ptr_array_new_with_free_func (waiter_free);

  g_mutex_lock (&self->lock);
  for (guint i = self->waiters->len; i > 0; i--)
    {
      Waiter *waiter = g_ptr_array_index (self->waiters, i - 1);

      if (strcmp (waiter->key, key) == 0)
        g_ptr_array_add (ready, g_ptr_array_steal_index_fast (self->waiters, i - 1));
    }
  g_mutex_unlock (&self->lock);
  for (guint i = 0; i < ready->len; i++)
    {
      Waiter *waiter = g_ptr_array_index (ready, i);

      waiter->func (process, error, waiter->user_data);
    }
}

typedef struct
{
  TasksLocal *self;
  GantryProcess *process;
} Recheck;

static gboolean
on_recheck (gpointer data)
{
  Recheck *recheck = data;
  g_autoptr (GantryProcess) now = NULL;
  GantryRuntime *runtime
      = tasks_local_runtime_of (recheck->self, recheck->process->ns, recheck->process->id, NULL);

  if (runtime != NULL
      && gantry_runtime_state (runtime, recheck->process->ns, recheck->process->id, recheck->process->exec_id,
                               &now, NULL, NULL)
      && now->status == GANTRY_TASK_STOPPED)
    complete_waiters (recheck->self, now, NULL);
  gantry_process_unref (recheck->process);
  return G_SOURCE_REMOVE;
}

static gboolean
tasks_wait (GantryTasks *tasks, const char *ns, const char *id, const char *exec_id, GantryExitFunc func,
            gpointer user_data, guint64 *ret_id, GCancellable *cancellable, GError **error)
{
  TasksLocal *self = (TasksLocal *)tasks;
  g_autoptr (GantryProcess) process = NULL;
  Waiter *waiter;
  Recheck *recheck;

  if (!tasks_get (tasks, ns, id, exec_id, &process, cancellable, error))
    return FALSE;
  g_mutex_lock (&self->lock);
  if (self->waiters->len >= MAX_WAITERS)
    {
      g_mutex_unlock (&self->lock);
      return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "there are %d waiters already",
                           MAX_WAITERS);
    }
  waiter = g_new0 (Waiter, 1);
  waiter->id = ++self->last_id;
  waiter->key = key_of (ns, id, exec_id);
  waiter->func = func;
  waiter->user_data = user_data;
  *ret_id = waiter->id;
  g_ptr_array_add (self->waiters, waiter);
  g_mutex_unlock (&self->lock);
  /* It may have ended before the waiter was there. */
  recheck = g_new (Recheck, 1);
  *recheck = (Recheck){ self, g_steal_pointer (&process) };
  g_main_context_invoke_full (self->host->get_main_context (self->host), G_PRIORITY_DEFAULT, on_recheck,
                              recheck, g_free);
  return TRUE;
}

static void
tasks_unwait (GantryTasks *tasks, guint64 id)
{
  TasksLocal *self = (TasksLocal *)tasks;

  g_mutex_lock (&self->lock);
  for (guint i = 0; i < self->waiters->len; i++)
    if (((Waiter *)g_ptr_array_index (self->waiters, i))->id == id)
      {
        g_ptr_array_remove_index_fast (self->waiters, i);
        break;
      }
  g_mutex_unlock (&self->lock);
}

static guint64
tasks_watch (GantryTasks *tasks, GantryTaskFunc func, gpointer user_data)
{
  TasksLocal *self = (TasksLocal *)tasks;
  Watch watch = { 0, func, user_data };

  g_mutex_lock (&self->lock);
  watch.id = ++self->last_id;
  g_array_append_val (self->watches, watch);
  g_mutex_unlock (&self->lock);
  return watch.id;
}

static void
tasks_unwatch (GantryTasks *tasks, guint64 id)
{
  TasksLocal *self = (TasksLocal *)tasks;

  g_mutex_lock (&self->lock);
  for (guint i = 0; i < self->watches->len; i++)
    if (g_array_index (self->watches, Watch, i).id == id)
      {
        g_array_remove_index (self->watches, i);
        break;
      }
  g_mutex_unlock (&self->lock);
}

static void
on_task_event (GantryTaskEvent event, GantryProcess *process, gpointer user_data)
{
  TasksLocal *self = user_data;
  g_autoptr (GArray) watches = NULL;

  announce_event (self, event, process);
  if ((event == GANTRY_TASK_EVENT_START || event == GANTRY_TASK_EVENT_DELETE) && process->exec_id[0] == '\0')
    restore_forget (self, process->ns, process->id);
  if (event == GANTRY_TASK_EVENT_DELETE && process->exec_id[0] == '\0')
    {
      rootfs_release (self, process->ns, process->id);
      sandbox_forget (self, process->ns, process->id);
    }
  g_mutex_lock (&self->lock);
  watches = g_array_copy (self->watches);
  g_mutex_unlock (&self->lock);
  for (guint i = 0; i < watches->len; i++)
    g_array_index (watches, Watch, i).func (event, process, g_array_index (watches, Watch, i).user_data);
  if (event == GANTRY_TASK_EVENT_EXIT || event == GANTRY_TASK_EVENT_DELETE)
    complete_waiters (self, process, NULL);
}

static const GantryTasksVtable vtable = {
  .size = sizeof (GantryTasksVtable),
  .create_container = tasks_create_container,
  .delete_container = tasks_delete_container,
  .create_task = tasks_create_task,
  .start = tasks_start,
  .exec = tasks_exec,
  .delete_task = tasks_delete_task,
  .kill = tasks_kill,
  .get = tasks_get,
  .list = tasks_list,
  .list_execs = tasks_list_execs,
  .wait = tasks_wait,
  .unwait = tasks_unwait,
  .pids = tasks_pids,
  .pause = tasks_pause,
  .resume = tasks_resume,
  .resize = tasks_resize,
  .close_stdin = tasks_close_stdin,
  .attach = tasks_attach,
  .stats = tasks_stats,
  .update = tasks_update,
  .checkpoint = tasks_checkpoint,
  .runtime_info = tasks_runtime_info,
  .create_sandbox = tasks_create_sandbox,
  .delete_sandbox = tasks_delete_sandbox,
  .stop_sandbox = tasks_stop_sandbox,
  .watch = tasks_watch,
  .unwatch = tasks_unwatch,
  .check = tasks_check,
  .open_log = tasks_open_log,
};

void
tasks_local_free (TasksLocal *self)
{
  if (self == NULL)
    return;
  for (guint i = 0; self->runtimes != NULL && i < self->runtimes->len; i++)
    gantry_runtime_set_watch (((GantryBinding *)g_ptr_array_index (self->runtimes, i))->instance, NULL, NULL);
  g_clear_pointer (&self->runtimes, g_ptr_array_unref);
  g_clear_pointer (&self->waiters, g_ptr_array_unref);
  g_clear_pointer (&self->creating, g_ptr_array_unref);
  g_clear_pointer (&self->watches, g_array_unref);
  g_clear_pointer (&self->restoring, g_hash_table_unref);
  g_clear_pointer (&self->activated, g_hash_table_unref);
  g_clear_pointer (&self->sandboxes, g_hash_table_unref);
  for (guint i = 0; i < self->stops->len; i++)
    sandbox_stop_free (g_ptr_array_index (self->stops, i));
  g_clear_pointer (&self->stops, g_ptr_array_unref);
  g_mutex_clear (&self->lock);
  g_free (self);
}

TasksLocal *
tasks_local_new (const GantryHost *host, GError **error)
{
  TasksLocal *self = g_new0 (TasksLocal, 1);

  self->tasks.vtable = &vtable;
  self->host = host;
  g_mutex_init (&self->lock);
  self->waiters = g_ptr_array_new_with_free_func (waiter_free);
  self->creating = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_task_create_unref);
  self->watches = g_array_new (FALSE, FALSE, sizeof (Watch));
  self->activated = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  self->restoring = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  self->sandboxes = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  self->stops = g_ptr_array_new ();
  self->metadata = gantry_host_lookup (host, GANTRY_METADATA_TYPE, NULL, error);
  if (self->metadata != NULL)
    self->store = gantry_host_lookup (host, GANTRY_STORE_TYPE, NULL, error);
  if (self->store != NULL)
    self->events = gantry_host_lookup (host, GANTRY_EVENTS_TYPE, NULL, error);
  if (self->events != NULL)
    self->transfer = gantry_host_lookup (host, GANTRY_TRANSFER_TYPE, NULL, error);
  if (self->transfer != NULL)
    self->runtimes = gantry_host_lookup_all (host, GANTRY_RUNTIME_TYPE, error);
  if (self->runtimes == NULL || !unfinished_remove (self, error) || !sandbox_find_all (self, error))
    {
      tasks_local_free (self);
      return NULL;
    }
  restore_sweep (self);
  logs_sweep (self);
  for (guint i = 0; i < self->runtimes->len; i++)
    gantry_runtime_set_watch (((GantryBinding *)g_ptr_array_index (self->runtimes, i))->instance,
                              on_task_event, self);
  return self;
}
