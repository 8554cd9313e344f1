/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Tasks.Checkpoint, and what Tasks.Create restores from. Without a directory of the client's, a checkpoint
 * goes into content: the criu image as a tar, and the container's spec. */
#include "tasks.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <fdio.h>

#define LAYER      "application/vnd.oci.image.layer.v1.tar"
#define CRIU_IMAGE "application/vnd.containerd.container.criu.checkpoint.criu.tar"
#define SPEC       "application/vnd.containerd.container.checkpoint.config.v1+proto"

typedef Containerd__Runc__V1__CheckpointOptions CheckpointOptions;

/* A directory of our own, below <state>, for as long as the call takes. */
typedef struct
{
  char *path;
} Scratch;

static void
scratch_clear (Scratch *scratch)
{
  if (scratch->path != NULL && !gantry_remove_tree_at (AT_FDCWD, scratch->path, NULL))
    g_debug ("%s stays behind", scratch->path);
  g_free (scratch->path);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Scratch, scratch_clear)

static gboolean
scratch_make (Call *call, Scratch *scratch, GError **error)
{
  const char *own = gantry_host_get_dir_path (call->api->host, GANTRY_DIR_RUN, error);
  char *path;

  if (own == NULL)
    return FALSE;
  path = g_build_filename (own, "checkpoint-XXXXXX", NULL);
  if (g_mkdtemp (path) == NULL)
    {
      gantry_throw_errno (error, errno, "making %s", path);
      g_free (path);
      return FALSE;
    }
  scratch->path = path;
  return TRUE;
}

/* The directory as a tar in content, by whichever differ can. Returns: (transfer full). */
static GantryDescriptor *
store_directory (Call *call, GantryContent *content, const char *path, GError **error)
{
  static const char *const options[] = { "rbind", "ro", NULL };
  g_autoptr (GPtrArray) differs = gantry_host_lookup_all (call->api->host, GANTRY_DIFFER_TYPE, error);
  g_autoptr (GPtrArray) lower = g_ptr_array_new (),
                        upper = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_mount_unref);
  g_autoptr (GantryDescriptor) layer = NULL;

  if (differs == NULL)
    return NULL;
  if (differs->len == 0)
    {
      gantry_throw (error, GANTRY_ERROR_UNAVAILABLE, "there is no differ; see `gantry plugin list`");
      return NULL;
    }
  g_ptr_array_add (upper, gantry_mount_new ("bind", path, NULL, options));
  if (!gantry_differ_compare (((GantryBinding *)g_ptr_array_index (differs, 0))->instance, lower, upper,
                              LAYER, content, path, NULL, NULL, &layer, call->cancellable, error))
    return NULL;
  return gantry_descriptor_new (CRIU_IMAGE, layer->digest, layer->blob_size, NULL);
}

/* The container's spec, as it was given, in content. Returns: (transfer full). */
static GantryDescriptor *
store_spec (Call *call, GantryContent *content, const char *id, const char *ref, GError **error)
{
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GVariant) spec = NULL;
  g_autoptr (GantryIngest) ingest = NULL;
  g_autoptr (GBytes) packed = NULL;
  g_autoptr (GError) local = NULL;
  g_autofree char *digest = NULL;
  gboolean ok;

  if (!gantry_metadata_get (call->api->metadata, GANTRY_KIND_CONTAINER, call->ns, id, &record,
                            call->cancellable, error))
    return NULL;
  spec = gantry_record_get_field (record, "spec", G_VARIANT_TYPE ("(say)"));
  if (spec == NULL)
    {
      gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "container %s has no spec", id);
      return NULL;
    }
  packed = message_pack (&any_from_variant (call, spec)->base);
  ok = gantry_content_open_ingest (content, ref, 0, NULL, &ingest, call->cancellable, error)
       && gantry_ingest_write (ingest, g_bytes_get_data (packed, NULL), g_bytes_get_size (packed),
                               call->cancellable, error);
  if (!ok)
    return NULL;
  if (!gantry_ingest_commit (ingest, 0, NULL, NULL, &digest, call->cancellable, &local)
      && !gantry_error_is (local, GANTRY_ERROR_ALREADY_EXISTS))
    {
      g_propagate_error (error, g_steal_pointer (&local));
      return NULL;
    }
  return gantry_descriptor_new (SPEC, digest, g_bytes_get_size (packed), NULL);
}

static gboolean
into_content (Call *call, const char *id, GVariant *options, PB (CheckpointTaskResponse) * reply,
              GError **error)
{
  g_auto (Scratch) scratch = { NULL };
  g_autofree char *ref = NULL;
  GantryContent *content = NULL;
  GantryDescriptor *image, *spec;

  if (!scratch_make (call, &scratch, error)
      || !gantry_tasks_checkpoint (call->api->tasks, call->ns, id, scratch.path, options, call->cancellable,
                                   error)
      || !gantry_store_open_content (call->api->store, call->ns, call->lease, NULL, &content,
                                     call->cancellable, error))
    return FALSE;
  call_keep (call, content, (GDestroyNotify)gantry_content_unref);
  image = call_keep (call, store_directory (call, content, scratch.path, error),
                     (GDestroyNotify)gantry_descriptor_unref);
  if (image == NULL)
    return FALSE;
  ref = g_strconcat (scratch.path, "/spec", NULL);
  spec
      = call_keep (call, store_spec (call, content, id, ref, error), (GDestroyNotify)gantry_descriptor_unref);
  if (spec == NULL)
    return FALSE;
  reply->descriptors = arena_new (call->arena, Containerd__Types__Descriptor *, 2);
  reply->descriptors[reply->n_descriptors++] = descriptor_to_message (call, image);
  reply->descriptors[reply->n_descriptors++] = descriptor_to_message (call, spec);
  return TRUE;
}

gboolean
tasks_check_checkpoint (const Containerd__Types__Descriptor *checkpoint, GError **error)
{
  if (strcmp (checkpoint->media_type, CRIU_IMAGE) != 0)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "unsupported checkpoint type \"%s\"",
                         checkpoint->media_type);
  return content_check_digest (checkpoint->digest, "invalid checksum digest format: %s", error);
}

const ProtobufCMessage *
tasks_checkpoint (Call *call, gconstpointer data, GError **error)
{
  const PB (CheckpointTaskRequest) *request = data;
  PB (CheckpointTaskResponse) *reply = message_new (call, &DESCRIPTOR (checkpoint_task_response));
  g_autoptr (GVariant) options = NULL;
  CheckpointOptions *given = NULL;
  gboolean ok;

  if (request->options != NULL)
    options = g_variant_ref_sink (any_to_variant (request->options));
  if (options != NULL && strcmp (request->options->type_url, "containerd.runc.v1.CheckpointOptions") == 0)
    {
      g_autoptr (GBytes) bytes = gantry_any_get_bytes (options);

      given = (CheckpointOptions *)message_unpack (&containerd__runc__v1__checkpoint_options__descriptor,
                                                   bytes, call->arena, error);
      if (given == NULL)
        return NULL;
    }
  if (given != NULL && given->image_path[0] != '\0')
    ok = gantry_tasks_checkpoint (call->api->tasks, call->ns, request->container_id, given->image_path,
                                  options, call->cancellable, error);
  else
    ok = into_content (call, request->container_id, options, reply, error);
  return ok ? &reply->base : NULL;
}
