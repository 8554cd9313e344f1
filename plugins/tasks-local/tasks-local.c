/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Containers and their tasks: joins records, snapshots, specs and runtimes. */
#include "tasks-local.h"

#include <string.h>

#include <gantry/verifier.h>
#include <oci.h>
#include <spec.h>

#define STOP_SIGNAL_LABEL "io.containerd.image.config.stop-signal"
#define DEFAULT_STATE "/run/gantry"
#define MAX_WAITERS 65536

#define SPEC_TYPE "types.containerd.io/opencontainers/runtime-spec/1/Spec"

typedef struct {
  guint64 id;
  char *key; /* "ns/id/exec" */
  GantryExitFunc func;
  gpointer user_data;
} Waiter;

typedef struct {
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

/* Which runtime a name means: the one of that id; else containerd's names of its runc and of our shim are our runc. Nothing at all is the
 * one that ranks highest. */
static GantryRuntime *
find_runtime (TasksLocal *self, const char *name, GError **error)
{
  g_autoptr (GPtrArray) bindings = gantry_host_lookup_all (self->host, GANTRY_RUNTIME_TYPE, error);
  gboolean runc = name != NULL
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
    gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "there is no runtime %s; see `gantry plugin list`", name != NULL ? name : "");
  return found;
}

/* Says whether it is the container or only its task that is not there. */
static void
throw_no_task (TasksLocal *self, const char *ns, const char *id, GError **error)
{
  g_autoptr (GantryRecord) record = NULL;

  if (gantry_metadata_get (self->metadata, GANTRY_KIND_CONTAINER, ns, id, &record, NULL, error))
    gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "task %s not found", id);
}

/* The runtime that has the task of @id. */
static GantryRuntime *
runtime_of (TasksLocal *self, const char *ns, const char *id, GError **error)
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

typedef struct {
  const char *ns;
  const char *id;
  GVariant *options;
  GantryContent *content;
  GantrySnapshotter *snapshotter;
  char *snapshotter_id;
  GPtrArray *mounts;
  gboolean prepared;
} Creation;

static void
creation_clear (Creation *creation)
{
  /* Still here: it failed, and so the snapshot goes. */
  if (creation->prepared)
    gantry_snapshotter_remove (creation->snapshotter, creation->id, NULL, NULL);
  gantry_content_unref (creation->content);
  gantry_snapshotter_unref (creation->snapshotter);
  g_clear_pointer (&creation->mounts, g_ptr_array_unref);
  g_free (creation->snapshotter_id);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Creation, creation_clear)

/* Whether the image may be used: asked with the digests that are used from here on, so that nothing can change in between. */
static gboolean
verify_image (TasksLocal *self, const char *name, GantryDescriptor *target, OciImage *image, GCancellable *cancellable, GError **error)
{
  const char *const digests[] = { image->manifest->digest, NULL };
  GVariantDict options;

  g_variant_dict_init (&options, NULL);
  g_variant_dict_insert_value (&options, "digests", g_variant_new_strv (digests, -1));
  return gantry_verifiers_verify (self->host, name, target->digest, g_variant_dict_end (&options), NULL, cancellable, error);
}

static gboolean
prepare_snapshot (TasksLocal *self, Creation *creation, const char *image_name, OciImage **ret_image,
                  GCancellable *cancellable, GError **error)
{
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GantryDescriptor) target = NULL;
  g_autoptr (OciImage) image = NULL;
  g_autoptr (GantrySnapshotInfo) info = NULL;
  g_autofree char *chain = NULL;
  const char *platform = NULL;

  g_variant_lookup (creation->options, "platform", "&s", &platform);
  if (!gantry_metadata_get (self->metadata, GANTRY_KIND_IMAGE, creation->ns, image_name, &record, cancellable, error))
    {
      g_prefix_error (error, "container %s: ", creation->id);
      return FALSE;
    }
  target = gantry_record_get_target (record);
  image = target != NULL ? oci_image_load (creation->content, target, platform, cancellable, error) : NULL;
  if (image == NULL || !verify_image (self, image_name, target, image, cancellable, error))
    return FALSE;
  chain = oci_chain_id (image->diff_ids, g_strv_length (image->diff_ids));
  if (chain != NULL && !gantry_snapshotter_stat (creation->snapshotter, chain, &info, cancellable, NULL))
    {
      GVariantDict unpack;

      g_variant_dict_init (&unpack, NULL);
      g_variant_dict_insert (&unpack, "snapshotter", "s", creation->snapshotter_id);
      if (platform != NULL)
        g_variant_dict_insert (&unpack, "platform", "s", platform);
      if (!gantry_transfer_unpack (self->transfer, NULL, creation->ns, image_name, g_variant_dict_end (&unpack), NULL,
                                   cancellable, error))
        return FALSE;
    }
  creation->prepared = gantry_snapshotter_prepare (creation->snapshotter, creation->id, chain, unfinished_labels (),
                                                   &creation->mounts, cancellable, error);
  *ret_image = g_steal_pointer (&image);
  return creation->prepared;
}

static GVariant *
make_fields (Creation *creation, const char *image, GBytes *spec)
{
  g_autoptr (GVariant) runtime_options = g_variant_lookup_value (creation->options, "runtime-options", G_VARIANT_TYPE ("(say)"));
  const char *runtime = "runc", *sandbox = NULL;
  GVariantDict fields;

  g_variant_lookup (creation->options, "runtime", "&s", &runtime);
  g_variant_lookup (creation->options, "sandbox-id", "&s", &sandbox);
  g_variant_dict_init (&fields, NULL);
  g_variant_dict_insert (&fields, "image", "s", image != NULL ? image : "");
  g_variant_dict_insert (&fields, "runtime", "s", runtime);
  g_variant_dict_insert_value (&fields, "spec", gantry_any_new (SPEC_TYPE, spec));
  if (runtime_options != NULL)
    g_variant_dict_insert_value (&fields, "runtime-options", runtime_options);
  if (sandbox != NULL)
    g_variant_dict_insert (&fields, "sandbox-id", "s", sandbox);
  if (creation->prepared)
    {
      g_variant_dict_insert (&fields, "snapshotter", "s", creation->snapshotter_id);
      g_variant_dict_insert (&fields, "snapshot-key", "s", creation->id);
    }
  return g_variant_dict_end (&fields);
}

static gboolean
open_views (TasksLocal *self, Creation *creation, GCancellable *cancellable, GError **error)
{
  const char *snapshotter = NULL;

  g_variant_lookup (creation->options, "snapshotter", "&s", &snapshotter);
  return gantry_store_open_content (self->store, creation->ns, NULL, NULL, &creation->content, cancellable, error)
         && gantry_store_open_snapshotter (self->store, creation->ns, NULL, snapshotter, &creation->snapshotter,
                                           &creation->snapshotter_id, cancellable, error);
}

/* The labels asked for, and containerd's label for the image's stop signal, by which clients know how to end it. Returns: (transfer full). */
static GVariant *
make_labels (GVariant *options, OciImage *image)
{
  g_autoptr (GVariant) given = g_variant_lookup_value (options, "labels", G_VARIANT_TYPE ("a{ss}"));
  JsonObject *config = image != NULL ? oci_object (json_node_get_object (image->config), "config") : NULL;
  const char *stop_signal = config != NULL ? oci_string (config, "StopSignal") : NULL;
  GVariantBuilder builder;
  GVariantIter iter;
  const char *key, *value;

  g_variant_builder_init (&builder, G_VARIANT_TYPE ("a{ss}"));
  if (given != NULL)
    {
      g_variant_iter_init (&iter, given);
      while (g_variant_iter_next (&iter, "{&s&s}", &key, &value))
        g_variant_builder_add (&builder, "{ss}", key, value);
    }
  if (stop_signal != NULL && gantry_labels_lookup (given, STOP_SIGNAL_LABEL) == NULL)
    g_variant_builder_add (&builder, "{ss}", STOP_SIGNAL_LABEL, stop_signal);
  return g_variant_ref_sink (g_variant_builder_end (&builder));
}

/* Another instance of the daemon must not find its container's cgroup taken by ours of the same name: only the one with the usual state
 * directory has paths without a suffix. Returns: (transfer full). */
static GVariant *
with_cgroup_path (TasksLocal *self, const char *ns, const char *id, GVariant *options)
{
  const char *state = self->host->get_base_path (self->host, GANTRY_DIR_RUN);
  g_autofree char *path = NULL;
  GVariantDict dict;

  if (strcmp (state, DEFAULT_STATE) == 0 || g_variant_lookup (options, "cgroup-path", "&s", NULL))
    return g_variant_ref (options);
  path = g_strdup_printf ("/%s/%s.%08x", ns, id, g_str_hash (state));
  g_variant_dict_init (&dict, options);
  g_variant_dict_insert (&dict, "cgroup-path", "s", path);
  return g_variant_ref_sink (g_variant_dict_end (&dict));
}

static gboolean
tasks_create_container (GantryTasks *tasks, const char *ns, const char *id, const char *image_name, GVariant *options,
                        GantryRecord **ret_record, GCancellable *cancellable, GError **error)
{
  TasksLocal *self = (TasksLocal *) tasks;
  g_autoptr (GVariant) held = g_variant_ref_sink (
      options != NULL ? options : g_variant_new_array (G_VARIANT_TYPE ("{sv}"), NULL, 0));
  g_auto (Creation) creation = { .ns = ns, .id = id, .options = held };
  g_autoptr (GVariant) labels = NULL, placed = NULL;
  g_autoptr (OciImage) image = NULL;
  g_autoptr (GantryRecord) existing = NULL;
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GBytes) spec = NULL;
  gboolean from_image = image_name != NULL && image_name[0] != '\0';

  if (!spec_check_options (held, error))
    return FALSE;
  if (gantry_metadata_get (self->metadata, GANTRY_KIND_CONTAINER, ns, id, &existing, cancellable, NULL))
    return gantry_throw (error, GANTRY_ERROR_ALREADY_EXISTS, "container \"%s\": already exists", id);
  if (from_image
      && (!open_views (self, &creation, cancellable, error)
          || !prepare_snapshot (self, &creation, image_name, &image, cancellable, error)))
    return FALSE;
  placed = with_cgroup_path (self, ns, id, held);
  spec = spec_generate (ns, id, image != NULL ? json_node_get_object (image->config) : NULL, creation.mounts, placed, error);
  if (spec == NULL)
    return FALSE;
  labels = make_labels (held, image);
  record = gantry_record_new (GANTRY_KIND_CONTAINER, ns, id, labels, make_fields (&creation, image_name, spec));
  if (!unfinished_end (self, record, creation.prepared ? creation.snapshotter_id : NULL, ret_record, cancellable, error))
    return FALSE;
  creation.prepared = FALSE;
  return TRUE;
}

/* Ends a running task: SIGKILL, and its exit awaited by asking, since this is a worker thread and the exit comes to the main context. */
typedef struct {
  GMutex lock;
  GCond cond;
  gboolean ended;
} Ending;

static void
on_ended (GantryProcess *process, const GError *error, gpointer user_data)
{
  Ending *ending = user_data;

  g_mutex_lock (&ending->lock);
  ending->ended = TRUE;
  g_cond_signal (&ending->cond);
  g_mutex_unlock (&ending->lock);
}

static gboolean
end_task (TasksLocal *self, const char *ns, const char *id, GCancellable *cancellable, GError **error)
{
  Ending *ending = g_new0 (Ending, 1);
  gint64 deadline = g_get_monotonic_time () + 10 * G_USEC_PER_SEC;
  guint64 waiter;
  gboolean ended;

  g_mutex_init (&ending->lock);
  g_cond_init (&ending->cond);
  if (!gantry_tasks_wait (&self->tasks, ns, id, "", on_ended, ending, &waiter, cancellable, error))
    {
      g_free (ending);
      return FALSE;
    }
  gantry_tasks_kill (&self->tasks, ns, id, "", 9, TRUE, cancellable, NULL);
  g_mutex_lock (&ending->lock);
  while (!ending->ended && g_cond_wait_until (&ending->cond, &ending->lock, deadline))
    ;
  ended = ending->ended;
  g_mutex_unlock (&ending->lock);
  /* Without an end the callback may still come: then this small struct is left to it. */
  if (!ended)
    return gantry_throw (error, GANTRY_ERROR_DEADLINE_EXCEEDED, "task %s did not end within 10 s of SIGKILL", id);
  g_mutex_clear (&ending->lock);
  g_cond_clear (&ending->cond);
  g_free (ending);
  return gantry_tasks_delete_task (&self->tasks, ns, id, "", NULL, cancellable, error);
}

typedef struct
{
  gint refs; /* (atomic) */
  GMutex lock;
  GCond cond;
  gboolean passed;
} Barrier;

static void
barrier_unref (gpointer data)
{
  Barrier *barrier = data;

  if (!g_atomic_int_dec_and_test (&barrier->refs))
    return;
  g_mutex_clear (&barrier->lock);
  g_cond_clear (&barrier->cond);
  g_free (barrier);
}

static gboolean
on_barrier (gpointer data)
{
  Barrier *barrier = data;

  g_mutex_lock (&barrier->lock);
  barrier->passed = TRUE;
  g_cond_signal (&barrier->cond);
  g_mutex_unlock (&barrier->lock);
  return G_SOURCE_REMOVE;
}

/* Waits until what the runtime has told so far is announced, so that the end of a task gets its number before the end of its container.
 * Bounded: a main context that ends does not come to it any more. */
static void
settle_events (TasksLocal *self)
{
  gint64 deadline = g_get_monotonic_time () + G_USEC_PER_SEC;
  Barrier *barrier = g_new0 (Barrier, 1);

  barrier->refs = 2;
  g_mutex_init (&barrier->lock);
  g_cond_init (&barrier->cond);
  g_main_context_invoke_full (self->host->get_main_context (self->host), G_PRIORITY_HIGH, on_barrier, barrier, barrier_unref);
  g_mutex_lock (&barrier->lock);
  while (!barrier->passed && g_cond_wait_until (&barrier->cond, &barrier->lock, deadline))
    ;
  g_mutex_unlock (&barrier->lock);
  barrier_unref (barrier);
}

static gboolean
tasks_delete_container (GantryTasks *tasks, const char *ns, const char *id, gboolean remove_snapshot, gboolean force,
                        GCancellable *cancellable, GError **error)
{
  TasksLocal *self = (TasksLocal *) tasks;
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GantryChange) change = NULL;
  g_autoptr (GantrySnapshotter) snapshotter = NULL;
  g_autoptr (GError) local = NULL;
  GantryRuntime *runtime;
  const char *key;

  if (!gantry_metadata_get (self->metadata, GANTRY_KIND_CONTAINER, ns, id, &record, cancellable, error))
    return FALSE;
  runtime = runtime_of (self, ns, id, NULL);
  if (runtime != NULL && !force && !gantry_runtime_remove (runtime, ns, id, "", NULL, cancellable, &local))
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                         "container %s is running; stop it first, or force its removal", id);
  if (runtime != NULL && force && !end_task (self, ns, id, cancellable, error))
    return FALSE;
  settle_events (self);
  change = gantry_change_new (GANTRY_CHANGE_DELETE, record);
  if (!gantry_metadata_apply_one (self->metadata, change, NULL, cancellable, error))
    return FALSE;
  key = gantry_record_get_string (record, "snapshot-key");
  if (!remove_snapshot || key == NULL || key[0] == '\0')
    return TRUE;
  /* The record is gone; a snapshot that stays is garbage and goes with the next collection. */
  if (!gantry_store_open_snapshotter (self->store, ns, NULL, gantry_record_get_string (record, "snapshotter"), &snapshotter,
                                      NULL, cancellable, &local)
      || !gantry_snapshotter_remove (snapshotter, key, cancellable, &local))
    gantry_host_log (self->host, GANTRY_LOG_INFO, "snapshot %s goes later: %s", key, local->message);
  return TRUE;
}

static gboolean
tasks_create_task (GantryTasks *tasks, const char *ns, const char *id, GantryStdio *stdio, GPtrArray *mounts,
                   GVariant *options, const char *checkpoint, GantryProcess **ret_process, GCancellable *cancellable,
                   GError **error)
{
  TasksLocal *self = (TasksLocal *) tasks;
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GVariant) spec = NULL, record_options = NULL;
  g_autoptr (GBytes) bytes = NULL;
  g_autoptr (GPtrArray) own_mounts = NULL;
  g_autoptr (GantrySnapshotter) snapshotter = NULL;
  g_autoptr (GantryTaskCreate) create = NULL;
  g_autoptr (GantryProcess) process = NULL;
  g_autoptr (GError) local = NULL;
  GantryRuntime *runtime;
  const char *key;

  if (!gantry_metadata_get (self->metadata, GANTRY_KIND_CONTAINER, ns, id, &record, cancellable, error))
    return FALSE;
  runtime = find_runtime (self, gantry_record_get_string (record, "runtime"), error);
  spec = gantry_record_get_field (record, "spec", G_VARIANT_TYPE ("(say)"));
  if (runtime == NULL)
    return FALSE;
  if (spec == NULL)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "container %s has no spec", id);
  key = gantry_record_get_string (record, "snapshot-key");
  if (mounts == NULL && key != NULL && key[0] != '\0')
    {
      if (!gantry_store_open_snapshotter (self->store, ns, NULL, gantry_record_get_string (record, "snapshotter"),
                                          &snapshotter, NULL, cancellable, error)
          || !gantry_snapshotter_mounts (snapshotter, key, &own_mounts, cancellable, error))
        return FALSE;
      mounts = own_mounts;
    }
  bytes = gantry_any_get_bytes (spec);
  create = gantry_task_create_new (ns, id, bytes, mounts, stdio);
  record_options = gantry_record_get_field (record, "runtime-options", G_VARIANT_TYPE ("(say)"));
  create->options = options != NULL ? g_variant_ref (options) : g_steal_pointer (&record_options);
  create->checkpoint = g_strdup (checkpoint);
  announce_expect (self, create);
  if (!gantry_runtime_create (runtime, create, &process, cancellable, &local))
    {
      announce_forget (self, create);
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
tasks_exec (GantryTasks *tasks, const char *ns, const char *id, const char *exec_id, GBytes *process, GVariant *options,
            GantryStdio *stdio, GCancellable *cancellable, GError **error)
{
  TasksLocal *self = (TasksLocal *) tasks;
  GantryRuntime *runtime = runtime_of (self, ns, id, error);
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

      if (!gantry_metadata_get (self->metadata, GANTRY_KIND_CONTAINER, ns, id, &record, cancellable, error))
        return FALSE;
      spec = gantry_record_get_field (record, "spec", G_VARIANT_TYPE ("(say)"));
      if (spec == NULL)
        return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "container %s has no spec", id);
      key = gantry_record_get_string (record, "snapshot-key");
      if (key != NULL && key[0] != '\0'
          && gantry_store_open_snapshotter (self->store, ns, NULL, gantry_record_get_string (record, "snapshotter"),
                                            &snapshotter, NULL, cancellable, NULL)
          && !gantry_snapshotter_mounts (snapshotter, key, &mounts, cancellable, NULL))
        mounts = NULL;
      bytes = gantry_any_get_bytes (spec);
      process = made = spec_exec (bytes, mounts, held, error);
    }
  return process != NULL && gantry_runtime_exec (runtime, ns, id, exec_id, process, stdio, cancellable, error);
}

/* The rest is the runtime's, found by the container. */
#define FORWARD(call)                                                          \
  GantryRuntime *runtime = runtime_of ((TasksLocal *) tasks, ns, id, error);   \
  return runtime != NULL && call

static gboolean
tasks_start (GantryTasks *tasks, const char *ns, const char *id, const char *exec_id, GantryProcess **ret_process,
             GCancellable *cancellable, GError **error)
{
  FORWARD (gantry_runtime_start (runtime, ns, id, exec_id, ret_process, cancellable, error));
}

static gboolean
tasks_delete_task (GantryTasks *tasks, const char *ns, const char *id, const char *exec_id, GantryProcess **ret_process,
                   GCancellable *cancellable, GError **error)
{
  FORWARD (gantry_runtime_remove (runtime, ns, id, exec_id, ret_process, cancellable, error));
}

static gboolean
tasks_kill (GantryTasks *tasks, const char *ns, const char *id, const char *exec_id, guint signal, gboolean all,
            GCancellable *cancellable, GError **error)
{
  FORWARD (gantry_runtime_kill (runtime, ns, id, exec_id, signal, all, cancellable, error));
}

static gboolean
tasks_get (GantryTasks *tasks, const char *ns, const char *id, const char *exec_id, GantryProcess **ret_process,
           GCancellable *cancellable, GError **error)
{
  FORWARD (gantry_runtime_state (runtime, ns, id, exec_id, ret_process, cancellable, error));
}

static gboolean
tasks_list (GantryTasks *tasks, const char *ns, GPtrArray **ret_processes, GCancellable *cancellable, GError **error)
{
  TasksLocal *self = (TasksLocal *) tasks;
  g_autoptr (GPtrArray) bindings = gantry_host_lookup_all (self->host, GANTRY_RUNTIME_TYPE, error);
  g_autoptr (GPtrArray) all = g_ptr_array_new_with_free_func ((GDestroyNotify) gantry_process_unref);

  if (bindings == NULL)
    return FALSE;
  for (guint i = 0; i < bindings->len; i++)
    {
      g_autoptr (GPtrArray) some = NULL;

      if (!gantry_runtime_list (((GantryBinding *) g_ptr_array_index (bindings, i))->instance, ns, &some, cancellable, error))
        return FALSE;
      for (guint j = 0; j < some->len; j++)
        g_ptr_array_add (all, gantry_process_ref (g_ptr_array_index (some, j)));
    }
  *ret_processes = g_steal_pointer (&all);
  return TRUE;
}

static gboolean
tasks_list_execs (GantryTasks *tasks, const char *ns, const char *id, GPtrArray **ret_processes, GCancellable *cancellable,
                  GError **error)
{
  FORWARD (gantry_runtime_list_execs (runtime, ns, id, ret_processes, cancellable, error));
}

static gboolean
tasks_pids (GantryTasks *tasks, const char *ns, const char *id, GVariant **ret_pids, GCancellable *cancellable,
            GError **error)
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
tasks_resize (GantryTasks *tasks, const char *ns, const char *id, const char *exec_id, guint width, guint height,
              GCancellable *cancellable, GError **error)
{
  FORWARD (gantry_runtime_resize (runtime, ns, id, exec_id, width, height, cancellable, error));
}

static gboolean
tasks_close_stdin (GantryTasks *tasks, const char *ns, const char *id, const char *exec_id, GCancellable *cancellable,
                   GError **error)
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
tasks_stats (GantryTasks *tasks, const char *ns, const char *id, GVariant **ret_stats, GCancellable *cancellable,
             GError **error)
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

typedef struct {
  TasksLocal *self;
  GantryProcess *process;
} Recheck;

static gboolean
on_recheck (gpointer data)
{
  Recheck *recheck = data;
  g_autoptr (GantryProcess) now = NULL;
  GantryRuntime *runtime = runtime_of (recheck->self, recheck->process->ns, recheck->process->id, NULL);

  if (runtime != NULL
      && gantry_runtime_state (runtime, recheck->process->ns, recheck->process->id, recheck->process->exec_id, &now, NULL, NULL)
      && now->status == GANTRY_TASK_STOPPED)
    complete_waiters (recheck->self, now, NULL);
  gantry_process_unref (recheck->process);
  return G_SOURCE_REMOVE;
}

static gboolean
tasks_wait (GantryTasks *tasks, const char *ns, const char *id, const char *exec_id, GantryExitFunc func,
            gpointer user_data, guint64 *ret_id, GCancellable *cancellable, GError **error)
{
  TasksLocal *self = (TasksLocal *) tasks;
  g_autoptr (GantryProcess) process = NULL;
  Waiter *waiter;
  Recheck *recheck;

  if (!tasks_get (tasks, ns, id, exec_id, &process, cancellable, error))
    return FALSE;
  g_mutex_lock (&self->lock);
  if (self->waiters->len >= MAX_WAITERS)
    {
      g_mutex_unlock (&self->lock);
      return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "there are %d waiters already", MAX_WAITERS);
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
  g_main_context_invoke_full (self->host->get_main_context (self->host), G_PRIORITY_DEFAULT, on_recheck, recheck, g_free);
  return TRUE;
}

static void
tasks_unwait (GantryTasks *tasks, guint64 id)
{
  TasksLocal *self = (TasksLocal *) tasks;

  g_mutex_lock (&self->lock);
  for (guint i = 0; i < self->waiters->len; i++)
    if (((Waiter *) g_ptr_array_index (self->waiters, i))->id == id)
      {
        g_ptr_array_remove_index_fast (self->waiters, i);
        break;
      }
  g_mutex_unlock (&self->lock);
}

static guint64
tasks_watch (GantryTasks *tasks, GantryTaskFunc func, gpointer user_data)
{
  TasksLocal *self = (TasksLocal *) tasks;
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
  TasksLocal *self = (TasksLocal *) tasks;

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
  .watch = tasks_watch,
  .unwatch = tasks_unwatch,
  .check = tasks_check,
};

void
tasks_local_free (TasksLocal *self)
{
  if (self == NULL)
    return;
  for (guint i = 0; self->runtimes != NULL && i < self->runtimes->len; i++)
    gantry_runtime_set_watch (((GantryBinding *) g_ptr_array_index (self->runtimes, i))->instance, NULL, NULL);
  g_clear_pointer (&self->runtimes, g_ptr_array_unref);
  g_clear_pointer (&self->waiters, g_ptr_array_unref);
  g_clear_pointer (&self->creating, g_ptr_array_unref);
  g_clear_pointer (&self->watches, g_array_unref);
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
  self->creating = g_ptr_array_new_with_free_func ((GDestroyNotify) gantry_task_create_unref);
  self->watches = g_array_new (FALSE, FALSE, sizeof (Watch));
  self->metadata = gantry_host_lookup (host, GANTRY_METADATA_TYPE, NULL, error);
  if (self->metadata != NULL)
    self->store = gantry_host_lookup (host, GANTRY_STORE_TYPE, NULL, error);
  if (self->store != NULL)
    self->events = gantry_host_lookup (host, GANTRY_EVENTS_TYPE, NULL, error);
  if (self->events != NULL)
    self->transfer = gantry_host_lookup (host, GANTRY_TRANSFER_TYPE, NULL, error);
  if (self->transfer != NULL)
    self->runtimes = gantry_host_lookup_all (host, GANTRY_RUNTIME_TYPE, error);
  if (self->runtimes == NULL || !unfinished_remove (self, error))
    {
      tasks_local_free (self);
      return NULL;
    }
  for (guint i = 0; i < self->runtimes->len; i++)
    gantry_runtime_set_watch (((GantryBinding *) g_ptr_array_index (self->runtimes, i))->instance, on_task_event, self);
  return self;
}
