/* SPDX-License-Identifier: MIT */
#include "fake-tasks.h"

#include <signal.h>
#include <string.h>

#include "fake-support.h"

/* Somebody who waits for an exit. */
typedef struct
{
  guint64 id;
  char *key; /* ns, id and exec id */
  GantryExitFunc func;
  gpointer user_data;
} Wait;

typedef struct
{
  guint64 id;
  GantryTaskFunc func;
  gpointer user_data;
} Watch;

typedef struct
{
  GantryTasks tasks;
  GantryMetadata *metadata;
  GantryRuntime *runtime;
  GMutex lock;
  GPtrArray *waits; /* (element-type Wait); with lock */
  GArray *watches;  /* (element-type Watch); with lock */
  guint64 last_id;  /* with lock */
  GSource *late;    /* (nullable): tells those who waited too late; with lock */
} FakeTasks;

static void
wait_free (gpointer data)
{
  Wait *self = data;

  g_free (self->key);
  g_free (self);
}

static char *
key_of (const char *ns, const char *id, const char *exec_id)
{
  return g_strjoin ("\001", ns, id, exec_id, NULL);
}

/* Calls those who wait for @process. */
static void
tell_waits (FakeTasks *self, GantryProcess *process)
{
  g_autofree char *key = key_of (process->ns, process->id, process->exec_id);
  g_autoptr (GPtrArray) called = g_ptr_array_new_with_free_func (wait_free);

  g_mutex_lock (&self->lock);
  for (guint i = self->waits->len; i > 0; i--)
    if (strcmp (((Wait *)g_ptr_array_index (self->waits, i - 1))->key, key) == 0)
      g_ptr_array_add (called, g_ptr_array_steal_index (self->waits, i - 1));
  g_mutex_unlock (&self->lock);
  for (guint i = 0; i < called->len; i++)
    {
      Wait *wait = g_ptr_array_index (called, i);

      wait->func (process, NULL, wait->user_data);
    }
}

static void
on_task (GantryTaskEvent event, GantryProcess *process, gpointer user_data)
{
  FakeTasks *self = user_data;
  g_autoptr (GArray) watches = NULL;

  if (event == GANTRY_TASK_EVENT_EXIT)
    tell_waits (self, process);
  g_mutex_lock (&self->lock);
  watches = g_array_copy (self->watches);
  g_mutex_unlock (&self->lock);
  for (guint i = 0; i < watches->len; i++)
    g_array_index (watches, Watch, i).func (event, process, g_array_index (watches, Watch, i).user_data);
}

/* In the main context: those who began to wait after the end. */
static gboolean
on_late (gpointer data)
{
  FakeTasks *self = data;
  g_autoptr (GPtrArray) waits = g_ptr_array_new_with_free_func (g_free);

  g_mutex_lock (&self->lock);
  g_clear_pointer (&self->late, g_source_unref);
  for (guint i = 0; i < self->waits->len; i++)
    g_ptr_array_add (waits, g_strdup (((Wait *)g_ptr_array_index (self->waits, i))->key));
  g_mutex_unlock (&self->lock);
  for (guint i = 0; i < waits->len; i++)
    {
      g_auto (GStrv) parts = g_strsplit (g_ptr_array_index (waits, i), "\001", 3);
      g_autoptr (GantryProcess) process = NULL;

      if (gantry_runtime_state (self->runtime, parts[0], parts[1], parts[2], &process, NULL, NULL)
          && process->status == GANTRY_TASK_STOPPED)
        tell_waits (self, process);
    }
  return G_SOURCE_REMOVE;
}

static gboolean
check_options (GVariant *options, GError **error)
{
  GVariantIter iter;
  const char *key;
  GVariant *value;

  g_variant_iter_init (&iter, options);
  while (g_variant_iter_next (&iter, "{&sv}", &key, &value))
    {
      g_variant_unref (value);
      if (strcmp (key, "spec") != 0 && strcmp (key, "labels") != 0)
        return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the fake does not know the option \"%s\"",
                             key);
    }
  return TRUE;
}

static gboolean
tasks_create_container (GantryTasks *tasks, const char *ns, const char *id, const char *image,
                        GVariant *options, GantryRecord **ret_record, GCancellable *cancellable,
                        GError **error)
{
  FakeTasks *self = (FakeTasks *)tasks;
  g_autoptr (GVariant) held = gantry_variant_keep (options != NULL ? options : g_variant_new ("a{sv}", NULL));
  g_autoptr (GVariant) labels = g_variant_lookup_value (held, "labels", G_VARIANT_TYPE ("a{ss}"));
  g_auto (GVariantDict) fields = G_VARIANT_DICT_INIT (NULL);
  g_autoptr (GBytes) spec = NULL;
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GantryChange) change = NULL;
  const char *text = NULL;

  if (!check_options (held, error))
    return FALSE;
  if (image != NULL)
    return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "image %s: not found", image);
  if (!g_variant_lookup (held, "spec", "&s", &text))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "container %s has neither image nor spec", id);
  spec = g_bytes_new (text, strlen (text));
  g_variant_dict_insert_value (&fields, "spec", gantry_any_new ("spec", spec));
  record = gantry_record_new (GANTRY_KIND_CONTAINER, ns, id, labels, g_variant_dict_end (&fields));
  change = gantry_change_new (GANTRY_CHANGE_CREATE, record);
  return gantry_metadata_apply_one (self->metadata, change, ret_record, cancellable, error);
}

static gboolean
tasks_delete_container (GantryTasks *tasks, const char *ns, const char *id, gboolean remove_snapshot,
                        gboolean force, GCancellable *cancellable, GError **error)
{
  FakeTasks *self = (FakeTasks *)tasks;
  g_autoptr (GantryRecord) record = gantry_record_new (GANTRY_KIND_CONTAINER, ns, id, NULL, NULL);
  g_autoptr (GantryChange) change = gantry_change_new (GANTRY_CHANGE_DELETE, record);
  g_autoptr (GantryProcess) process = NULL;

  (void)remove_snapshot;
  if (gantry_runtime_state (self->runtime, ns, id, "", &process, NULL, NULL))
    {
      if (!force)
        return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "container %s has a task", id);
      gantry_runtime_kill (self->runtime, ns, id, "", SIGKILL, TRUE, NULL, NULL);
      if (!gantry_runtime_remove (self->runtime, ns, id, "", NULL, cancellable, error))
        return FALSE;
    }
  return gantry_metadata_apply_one (self->metadata, change, NULL, cancellable, error);
}

static gboolean
tasks_create_task (GantryTasks *tasks, const char *ns, const char *id, GantryStdio *stdio, GPtrArray *mounts,
                   GVariant *options, const char *checkpoint, GantryProcess **ret_process,
                   GCancellable *cancellable, GError **error)
{
  FakeTasks *self = (FakeTasks *)tasks;
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GVariant) any = NULL;
  g_autoptr (GBytes) spec = NULL;
  g_autoptr (GantryTaskCreate) create = NULL;
  g_autoptr (GantryProcess) process = NULL;

  (void)options;
  (void)checkpoint;
  if (!gantry_metadata_get (self->metadata, GANTRY_KIND_CONTAINER, ns, id, &record, cancellable, error))
    return FALSE;
  any = gantry_record_get_field (record, "spec", G_VARIANT_TYPE (GANTRY_ANY_TYPE));
  spec = any != NULL ? gantry_any_get_bytes (any) : g_bytes_new_static ("", 0);
  create = gantry_task_create_new (ns, id, spec, mounts, stdio);
  if (!gantry_runtime_create (self->runtime, create, &process, cancellable, error))
    return FALSE;
  if (ret_process != NULL)
    *ret_process = g_steal_pointer (&process);
  return TRUE;
}

static gboolean
tasks_start (GantryTasks *tasks, const char *ns, const char *id, const char *exec_id,
             GantryProcess **ret_process, GCancellable *cancellable, GError **error)
{
  return gantry_runtime_start (((FakeTasks *)tasks)->runtime, ns, id, exec_id, ret_process, cancellable,
                               error);
}

static gboolean
tasks_exec (GantryTasks *tasks, const char *ns, const char *id, const char *exec_id, GBytes *process,
            GVariant *options, GantryStdio *stdio, GCancellable *cancellable, GError **error)
{
  (void)options;
  if (process == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "exec %s has no process", exec_id);
  return gantry_runtime_exec (((FakeTasks *)tasks)->runtime, ns, id, exec_id, process, stdio, cancellable,
                              error);
}

static gboolean
tasks_delete_task (GantryTasks *tasks, const char *ns, const char *id, const char *exec_id,
                   GantryProcess **ret_process, GCancellable *cancellable, GError **error)
{
  return gantry_runtime_remove (((FakeTasks *)tasks)->runtime, ns, id, exec_id, ret_process, cancellable,
                                error);
}

static gboolean
tasks_kill (GantryTasks *tasks, const char *ns, const char *id, const char *exec_id, guint signal,
            gboolean all, GCancellable *cancellable, GError **error)
{
  return gantry_runtime_kill (((FakeTasks *)tasks)->runtime, ns, id, exec_id, signal, all, cancellable,
                              error);
}

static gboolean
tasks_get (GantryTasks *tasks, const char *ns, const char *id, const char *exec_id,
           GantryProcess **ret_process, GCancellable *cancellable, GError **error)
{
  return gantry_runtime_state (((FakeTasks *)tasks)->runtime, ns, id, exec_id, ret_process, cancellable,
                               error);
}

static gboolean
tasks_list (GantryTasks *tasks, const char *ns, GPtrArray **ret_processes, GCancellable *cancellable,
            GError **error)
{
  return gantry_runtime_list (((FakeTasks *)tasks)->runtime, ns, ret_processes, cancellable, error);
}

static gboolean
tasks_list_execs (GantryTasks *tasks, const char *ns, const char *id, GPtrArray **ret_processes,
                  GCancellable *cancellable, GError **error)
{
  return gantry_runtime_list_execs (((FakeTasks *)tasks)->runtime, ns, id, ret_processes, cancellable, error);
}

static gboolean
tasks_wait (GantryTasks *tasks, const char *ns, const char *id, const char *exec_id, GantryExitFunc func,
            gpointer user_data, guint64 *ret_id, GCancellable *cancellable, GError **error)
{
  FakeTasks *self = (FakeTasks *)tasks;
  g_autoptr (GantryProcess) process = NULL;
  Wait *wait;

  if (!gantry_runtime_state (self->runtime, ns, id, exec_id, &process, cancellable, error))
    return FALSE;
  wait = g_new (Wait, 1);
  *wait = (Wait){ 0, key_of (ns, id, exec_id), func, user_data };
  g_mutex_lock (&self->lock);
  wait->id = *ret_id = ++self->last_id;
  g_ptr_array_add (self->waits, wait);
  if (self->late == NULL)
    {
      self->late = g_idle_source_new ();
      g_source_set_callback (self->late, on_late, self, NULL);
      g_source_attach (self->late, NULL);
    }
  g_mutex_unlock (&self->lock);
  return TRUE;
}

static void
tasks_unwait (GantryTasks *tasks, guint64 id)
{
  FakeTasks *self = (FakeTasks *)tasks;

  g_mutex_lock (&self->lock);
  for (guint i = self->waits->len; i > 0; i--)
    if (((Wait *)g_ptr_array_index (self->waits, i - 1))->id == id)
      g_ptr_array_remove_index (self->waits, i - 1);
  g_mutex_unlock (&self->lock);
}

static gboolean
tasks_pids (GantryTasks *tasks, const char *ns, const char *id, GVariant **ret_pids,
            GCancellable *cancellable, GError **error)
{
  return gantry_runtime_pids (((FakeTasks *)tasks)->runtime, ns, id, ret_pids, cancellable, error);
}

static gboolean
tasks_pause (GantryTasks *tasks, const char *ns, const char *id, GCancellable *cancellable, GError **error)
{
  return gantry_runtime_pause (((FakeTasks *)tasks)->runtime, ns, id, cancellable, error);
}

static gboolean
tasks_resume (GantryTasks *tasks, const char *ns, const char *id, GCancellable *cancellable, GError **error)
{
  return gantry_runtime_resume (((FakeTasks *)tasks)->runtime, ns, id, cancellable, error);
}

static guint64
tasks_watch (GantryTasks *tasks, GantryTaskFunc func, gpointer user_data)
{
  FakeTasks *self = (FakeTasks *)tasks;
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
  FakeTasks *self = (FakeTasks *)tasks;

  g_mutex_lock (&self->lock);
  for (guint i = self->watches->len; i > 0; i--)
    if (g_array_index (self->watches, Watch, i - 1).id == id)
      g_array_remove_index (self->watches, i - 1);
  g_mutex_unlock (&self->lock);
}

static const GantryTasksVtable vtable = {
  .size = sizeof vtable,
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
  .watch = tasks_watch,
  .unwatch = tasks_unwatch,
};

GantryTasks *
gantry_fake_tasks_new (GantryMetadata *metadata, GantryRuntime *runtime)
{
  FakeTasks *self = g_new0 (FakeTasks, 1);

  self->tasks.vtable = &vtable;
  self->metadata = metadata;
  self->runtime = runtime;
  g_mutex_init (&self->lock);
  self->waits = g_ptr_array_new_with_free_func (wait_free);
  self->watches = g_array_new (FALSE, FALSE, sizeof (Watch));
  runtime->vtable->set_watch (runtime, on_task, self);
  return &self->tasks;
}

void
gantry_fake_tasks_free (GantryTasks *tasks)
{
  FakeTasks *self = (FakeTasks *)tasks;

  if (self == NULL)
    return;
  self->runtime->vtable->set_watch (self->runtime, NULL, NULL);
  if (self->late != NULL)
    g_source_destroy (self->late);
  g_clear_pointer (&self->late, g_source_unref);
  g_ptr_array_unref (self->waits);
  g_array_unref (self->watches);
  g_mutex_clear (&self->lock);
  g_free (self);
}
