/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Containers: a record, and a snapshot that goes with it. */
#include "tasks-local.h"

#include <string.h>

#include <gantry/verifier.h>
#include <oci.h>
#include <spec.h>

#define STOP_SIGNAL_LABEL "io.containerd.image.config.stop-signal"
#define DEFAULT_STATE     "/run/gantry"
#define SPEC_TYPE         "types.containerd.io/opencontainers/runtime-spec/1/Spec"

typedef struct
{
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

/* Whether the image may be used: asked with the digests that are used from here on, so that nothing can
 * change in between. */
static gboolean
verify_image (TasksLocal *self, const char *name, GantryDescriptor *target, OciImage *image,
              GCancellable *cancellable, GError **error)
{
  const char *const digests[] = { image->manifest->digest, NULL };
  GVariantDict options;

  g_variant_dict_init (&options, NULL);
  g_variant_dict_insert_value (&options, "digests", g_variant_new_strv (digests, -1));
  return gantry_verifiers_verify (self->host, name, target->digest, g_variant_dict_end (&options), NULL,
                                  cancellable, error);
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
  if (!gantry_metadata_get (self->metadata, GANTRY_KIND_IMAGE, creation->ns, image_name, &record, cancellable,
                            error))
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
      if (!gantry_transfer_unpack (self->transfer, NULL, creation->ns, image_name,
                                   g_variant_dict_end (&unpack), NULL, cancellable, error))
        return FALSE;
    }
  creation->prepared
      = gantry_snapshotter_prepare (creation->snapshotter, creation->id, chain, unfinished_labels (),
                                    &creation->mounts, cancellable, error);
  *ret_image = g_steal_pointer (&image);
  return creation->prepared;
}

static GVariant *
make_fields (Creation *creation, const char *image, GBytes *spec)
{
  g_autoptr (GVariant) runtime_options
      = g_variant_lookup_value (creation->options, "runtime-options", G_VARIANT_TYPE ("(say)"));
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
  return gantry_store_open_content (self->store, creation->ns, NULL, NULL, &creation->content, cancellable,
                                    error)
         && gantry_store_open_snapshotter (self->store, creation->ns, NULL, snapshotter,
                                           &creation->snapshotter, &creation->snapshotter_id, cancellable,
                                           error);
}

/* The labels asked for, and containerd's label for the image's stop signal, by which clients know how to end
 * it. Returns: (transfer full). */
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

/* Another instance of the daemon must not find its container's cgroup taken by ours of the same name: only
 * the one with the usual state directory has paths without a suffix. Returns: (transfer full). */
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

gboolean
tasks_create_container (GantryTasks *tasks, const char *ns, const char *id, const char *image_name,
                        GVariant *options, GantryRecord **ret_record, GCancellable *cancellable,
                        GError **error)
{
  TasksLocal *self = (TasksLocal *)tasks;
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
  spec = spec_generate (ns, id, image != NULL ? json_node_get_object (image->config) : NULL, creation.mounts,
                        placed, error);
  if (spec == NULL)
    return FALSE;
  labels = make_labels (held, image);
  record
      = gantry_record_new (GANTRY_KIND_CONTAINER, ns, id, labels, make_fields (&creation, image_name, spec));
  if (!unfinished_end (self, record, creation.prepared ? creation.snapshotter_id : NULL, ret_record,
                       cancellable, error))
    return FALSE;
  creation.prepared = FALSE;
  return TRUE;
}

/* Ends a running task: SIGKILL, and its exit awaited by asking, since this is a worker thread and the exit
 * comes to the main context. */
typedef struct
{
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

gboolean
tasks_local_end (TasksLocal *self, const char *ns, const char *id, GCancellable *cancellable, GError **error)
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
    return gantry_throw (error, GANTRY_ERROR_DEADLINE_EXCEEDED, "task %s did not end within 10 s of SIGKILL",
                         id);
  g_mutex_clear (&ending->lock);
  g_cond_clear (&ending->cond);
  g_free (ending);
  return gantry_tasks_delete_task (&self->tasks, ns, id, "", NULL, cancellable, error);
}

gboolean
tasks_delete_container (GantryTasks *tasks, const char *ns, const char *id, gboolean remove_snapshot,
                        gboolean force, GCancellable *cancellable, GError **error)
{
  TasksLocal *self = (TasksLocal *)tasks;
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GantryChange) change = NULL;
  g_autoptr (GantrySnapshotter) snapshotter = NULL;
  g_autoptr (GError) local = NULL;
  GantryRuntime *runtime;
  const char *key;

  if (!gantry_metadata_get (self->metadata, GANTRY_KIND_CONTAINER, ns, id, &record, cancellable, error))
    return FALSE;
  runtime = tasks_local_runtime_of (self, ns, id, NULL);
  if (runtime != NULL && !force && !gantry_runtime_remove (runtime, ns, id, "", NULL, cancellable, &local))
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                         "container %s is running; stop it first, or force its removal", id);
  if (runtime != NULL && force && !tasks_local_end (self, ns, id, cancellable, error))
    return FALSE;
  announce_settle (self);
  change = gantry_change_new (GANTRY_CHANGE_DELETE, record);
  if (!gantry_metadata_apply_one (self->metadata, change, NULL, cancellable, error))
    return FALSE;
  logs_remove (self, ns, id);
  key = gantry_record_get_string (record, "snapshot-key");
  if (!remove_snapshot || key == NULL || key[0] == '\0')
    return TRUE;
  /* The record is gone; a snapshot that stays is garbage and goes with the next collection. */
  if (!gantry_store_open_snapshotter (self->store, ns, NULL, gantry_record_get_string (record, "snapshotter"),
                                      &snapshotter, NULL, cancellable, &local)
      || !gantry_snapshotter_remove (snapshotter, key, cancellable, &local))
    gantry_host_log (self->host, GANTRY_LOG_INFO, "snapshot %s goes later: %s", key, local->message);
  return TRUE;
}
