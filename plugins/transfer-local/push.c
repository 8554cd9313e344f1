/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Images to registries: blobs first and several at once, then manifests from the bottom up, then what refers
 * to them, and the tag last, so that who finds the tag finds all of it. What the registry has is not sent
 * again; what it has in another repository is mounted from there. */
#include <string.h>
#include <unistd.h>

#include "tree.h"

typedef struct
{
  TransferLocal *self;
  Progress *progress;
  GantryContent *content;
  GantryRepository *repository;
  GantryReference *reference;
  GCancellable *cancellable; /* of our own: the first failure ends all */

  char **platforms; /* (nullable) */
  gboolean referrers;

  GantryDescriptor *target;
  GBytes *reduced;      /* (nullable): the target, if it is made for this push */
  GPtrArray *documents; /* of GantryDescriptor, children first */
  GPtrArray *blobs;     /* of GantryDescriptor */
  GHashTable *seen;     /* digests of both */

  GMutex lock;
  GCond cond;
  guint pending;
  GError *error; /* the first */
} Push;

typedef struct
{
  Push *push;
  GantryDescriptor *blob;
} PushTask;

static gboolean
is_here (Push *push, const char *digest)
{
  g_autoptr (GantryContentInfo) info = NULL;

  return gantry_content_info (push->content, digest, &info, push->cancellable, NULL);
}

static gboolean
add_blob (Push *push, JsonObject *object, GantryDescriptor *manifest, GError **error)
{
  g_autoptr (GantryDescriptor) blob = object != NULL ? oci_descriptor (object, error) : NULL;

  if (blob == NULL)
    return object != NULL
               ? FALSE
               : gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                               "manifest %s has a config or a layer that is no descriptor", manifest->digest);
  /* Those must not be passed on; whoever pulls gets them where the manifest says. */
  if (oci_is_foreign (blob->media_type) || !g_hash_table_add (push->seen, g_strdup (blob->digest)))
    return TRUE;
  if (!is_here (push, blob->digest))
    return gantry_throw (
        error, GANTRY_ERROR_NOT_FOUND,
        "manifest %s lacks its blob %s here; pull or import all of it first, or push one platform",
        manifest->digest, blob->digest);
  g_ptr_array_add (push->blobs, g_steal_pointer (&blob));
  return TRUE;
}

static gboolean
collect_manifest (Push *push, JsonObject *object, GantryDescriptor *target, GError **error)
{
  JsonArray *layers = oci_array (object, "layers");

  if (!add_blob (push, oci_object (object, "config"), target, error))
    return FALSE;
  for (guint i = 0; layers != NULL && i < json_array_get_length (layers); i++)
    {
      JsonNode *element = json_array_get_element (layers, i);

      if (!add_blob (push, JSON_NODE_HOLDS_OBJECT (element) ? json_node_get_object (element) : NULL, target,
                     error))
        return FALSE;
    }
  return TRUE;
}

static gboolean collect (Push *push, GantryDescriptor *target, guint depth, GError **error);
static gboolean collect_node (Push *push, JsonNode *node, GantryDescriptor *target, guint depth,
                              GError **error);

/* A manifest that is not here may still be there, as when an index is sent back to where it came from. */
static gboolean
check_there (Push *push, GantryDescriptor *child, GantryDescriptor *index, GError **error)
{
  g_autoptr (GantryDescriptor) found = NULL;
  g_autoptr (GError) local = NULL;

  if (gantry_repository_resolve (push->repository, child->digest, &found, push->cancellable, &local))
    return TRUE;
  if (gantry_error_is (local, GANTRY_ERROR_NOT_FOUND))
    return gantry_throw (error, GANTRY_ERROR_NOT_FOUND,
                         "index %s has manifest %s%s%s, which is neither here nor at the registry; pull all "
                         "platforms first, or push "
                         "one platform",
                         index->digest, child->digest, child->platform != NULL ? " for " : "",
                         child->platform != NULL ? child->platform : "");
  g_propagate_error (error, g_steal_pointer (&local));
  return FALSE;
}

static gboolean
collect_index (Push *push, JsonNode *node, GantryDescriptor *target, guint depth, GError **error)
{
  g_autoptr (GPtrArray) children = oci_select_manifests (node, NULL, error);

  if (children == NULL)
    {
      g_prefix_error (error, "index %s: ", target->digest);
      return FALSE;
    }
  for (guint i = 0; i < children->len; i++)
    {
      GantryDescriptor *child = g_ptr_array_index (children, i);

      if (!(is_here (push, child->digest) ? collect (push, child, depth + 1, error)
                                          : check_there (push, child, target, error)))
        return FALSE;
    }
  return TRUE;
}

static gboolean
collect (Push *push, GantryDescriptor *target, guint depth, GError **error)
{
  g_autoptr (JsonNode) node = NULL;

  if (depth > OCI_MAX_INDEX_DEPTH)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "its indexes are nested more than %d deep",
                         OCI_MAX_INDEX_DEPTH);
  if (!oci_is_index (target->media_type) && !oci_is_manifest (target->media_type))
    return gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED,
                         "%s is of type %s, which is neither a manifest nor an index", target->digest,
                         target->media_type);
  if (!g_hash_table_add (push->seen, g_strdup (target->digest)))
    return TRUE;
  node = oci_read (push->content, target->digest, push->cancellable, error);
  return node != NULL && collect_node (push, node, target, depth, error);
}

static gboolean
collect_node (Push *push, JsonNode *node, GantryDescriptor *target, guint depth, GError **error)
{
  gboolean ok;

  if (!JSON_NODE_HOLDS_OBJECT (node))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "manifest %s is no JSON object",
                         target->digest);
  ok = oci_is_index (target->media_type)
           ? collect_index (push, node, target, depth, error)
           : collect_manifest (push, json_node_get_object (node), target, error);
  if (ok)
    g_ptr_array_add (push->documents, gantry_descriptor_ref (target));
  return ok;
}

/* What refers to the documents collected so far, and what refers to that: the list grows meanwhile. */
static gboolean
collect_referrers (Push *push, GError **error)
{
  for (guint i = 0; i < push->documents->len; i++)
    {
      GantryDescriptor *document = g_ptr_array_index (push->documents, i);
      g_autoptr (GPtrArray) referrers = NULL;

      if (document == push->target && push->reduced != NULL)
        continue;
      referrers = tree_referrers (push->content, document->digest, push->cancellable, error);
      if (referrers == NULL)
        return FALSE;
      for (guint n = 0; n < referrers->len; n++)
        if (!collect (push, g_ptr_array_index (referrers, n), 0, error))
          return FALSE;
    }
  return TRUE;
}

static void
on_progress (guint64 bytes, gpointer user_data)
{
  PushTask *task = user_data;

  progress_bytes (task->push->progress, task->blob->digest, bytes);
}

static gboolean
push_blob (PushTask *task, GError **error)
{
  static const char *const states[] = { "exists", "mounted", "done" };
  Push *push = task->push;
  g_auto (GStrv) from
      = tree_other_sources (push->content, push->reference, task->blob->digest, push->cancellable);
  GantryPushed how = GANTRY_PUSHED_UPLOADED;
  gboolean ok;
  int fd;

  if (!gantry_content_open_blob (push->content, task->blob->digest, &fd, NULL, push->cancellable, error))
    return FALSE;
  progress_item (push->progress, task->blob->digest, "uploading", 0, FALSE);
  ok = gantry_repository_push_blob (push->repository, task->blob, fd, (const char *const *)from, NULL,
                                    on_progress, task, &how, push->cancellable, error);
  close (fd);
  if (!ok)
    {
      g_prefix_error (error, "blob %s: ", task->blob->digest);
      return FALSE;
    }
  progress_item (push->progress, task->blob->digest, states[MIN (how, G_N_ELEMENTS (states) - 1)], 0, FALSE);
  return tree_note_source (push->content, push->reference, task->blob->digest, push->cancellable, error);
}

void
push_work (gpointer data, gpointer unused)
{
  PushTask *task = data;
  Push *push = task->push;
  g_autoptr (GError) error = NULL;
  gboolean first = FALSE;

  if (!g_cancellable_set_error_if_cancelled (push->cancellable, &error))
    push_blob (task, &error);
  g_free (task);
  g_mutex_lock (&push->lock);
  if (error != NULL && push->error == NULL)
    {
      push->error = g_steal_pointer (&error);
      first = TRUE;
    }
  g_mutex_unlock (&push->lock);
  if (first)
    g_cancellable_cancel (push->cancellable);
  g_mutex_lock (&push->lock);
  push->pending--;
  g_cond_broadcast (&push->cond);
  g_mutex_unlock (&push->lock);
}

static gboolean
push_blobs (Push *push, GError **error)
{
  progress_phase (push->progress, "uploading");
  push->pending = push->blobs->len;
  for (guint i = 0; i < push->blobs->len; i++)
    {
      PushTask *task = g_new0 (PushTask, 1);

      *task = (PushTask){ push, g_ptr_array_index (push->blobs, i) };
      progress_item (push->progress, task->blob->digest, "waiting", task->blob->blob_size, TRUE);
      g_thread_pool_push (push->self->pushers, task, NULL);
    }
  g_mutex_lock (&push->lock);
  while (push->pending > 0)
    g_cond_wait (&push->cond, &push->lock);
  g_mutex_unlock (&push->lock);
  if (push->error == NULL)
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&push->error));
  return FALSE;
}

/* @tag: (nullable): none: by its digest only. */
static gboolean
push_document (Push *push, GantryDescriptor *document, const char *tag, GError **error)
{
  gboolean made = document == push->target && push->reduced != NULL;
  g_autoptr (GBytes) bytes = made
                                 ? g_bytes_ref (push->reduced)
                                 : oci_read_bytes (push->content, document->digest, push->cancellable, error);
  g_autoptr (GantryDescriptor) pushed = NULL;

  if (bytes != NULL
      && gantry_repository_push_manifest (push->repository, tag, document->media_type, bytes, &pushed,
                                          push->cancellable, error)
      && (made
          || tree_note_source (push->content, push->reference, document->digest, push->cancellable, error)))
    return TRUE;
  g_prefix_error (error, "manifest %s: ", document->digest);
  return FALSE;
}

static gboolean
push_documents (Push *push, GError **error)
{
  GantryDescriptor *last = g_ptr_array_index (push->documents, push->documents->len - 1);

  for (guint i = 0; i < push->documents->len; i++)
    {
      GantryDescriptor *document = g_ptr_array_index (push->documents, i);

      if ((document != push->target || last != push->target || push->reference->tag == NULL)
          && !push_document (push, document, NULL, error))
        return FALSE;
    }
  return push->reference->tag == NULL || push_document (push, push->target, push->reference->tag, error);
}

/* An index with only the platforms wanted; it is not kept here. */
static gboolean
reduce (Push *push, GantryDescriptor *index, GError **error)
{
  g_autoptr (JsonNode) node = oci_read (push->content, index->digest, push->cancellable, error);
  g_autofree char *hex = NULL, *digest = NULL;

  if (node == NULL || !tree_reduce_index (node, (const char *const *)push->platforms, &push->reduced, error))
    {
      g_prefix_error (error, "index %s: ", index->digest);
      return FALSE;
    }
  if (push->reduced == NULL)
    {
      push->target = gantry_descriptor_ref (index);
      return TRUE;
    }
  hex = g_compute_checksum_for_bytes (G_CHECKSUM_SHA256, push->reduced);
  digest = g_strconcat ("sha256:", hex, NULL);
  push->target = gantry_descriptor_new (index->media_type, digest, g_bytes_get_size (push->reduced), NULL);
  return TRUE;
}

/* What is sent: with one platform named its manifest, with several an index of those, else the image's
 * target. */
static gboolean
choose_target (Push *push, GantryRecord *record, GError **error)
{
  g_autoptr (GantryDescriptor) target = gantry_record_get_target (record);
  gsize n = push->platforms != NULL ? g_strv_length (push->platforms) : 0;

  if (target == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "image %s has no target", record->id);
  if (n == 1)
    push->target = oci_find_manifest (push->content, target, push->platforms[0], push->cancellable, error);
  else if (n == 0 || !oci_is_index (target->media_type))
    push->target = g_steal_pointer (&target);
  else if (!reduce (push, target, error))
    return FALSE;
  if (push->target == NULL)
    return FALSE;
  if (push->reference->digest != NULL && strcmp (push->reference->digest, push->target->digest) != 0)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "what would be sent is %s, and can't be there as %s; name a tag to push to",
                         push->target->digest, push->reference->digest);
  return TRUE;
}

static gboolean
collect_target (Push *push, GError **error)
{
  g_autoptr (JsonNode) node = NULL;

  if (push->reduced == NULL)
    return collect (push, push->target, 0, error);
  node = oci_parse (g_bytes_get_data (push->reduced, NULL), g_bytes_get_size (push->reduced), error);
  return node != NULL && collect_node (push, node, push->target, 0, error);
}

static void
on_cancelled (GCancellable *parent, gpointer data)
{
  g_cancellable_cancel (data);
}

static void
push_clear (Push *push)
{
  g_clear_pointer (&push->content, gantry_content_unref);
  g_clear_pointer (&push->repository, gantry_repository_unref);
  g_clear_pointer (&push->reference, gantry_reference_unref);
  g_object_unref (push->cancellable);
  g_strfreev (push->platforms);
  gantry_descriptor_unref (push->target);
  g_clear_pointer (&push->reduced, g_bytes_unref);
  g_ptr_array_unref (push->documents);
  g_ptr_array_unref (push->blobs);
  g_hash_table_unref (push->seen);
  g_clear_error (&push->error);
  g_mutex_clear (&push->lock);
  g_cond_clear (&push->cond);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Push, push_clear)

static gboolean
open_both (Push *push, const char *ns, const char *whole, GantryRegistryAccess *access, GError **error)
{
  GantryRegistry *registry = pull_find_registry (push->self, error);

  if (registry == NULL || (push->reference = gantry_reference_parse (whole, error)) == NULL)
    return FALSE;
  if (push->reference->tag == NULL && push->reference->digest == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "%s has no tag to push to", whole);
  return gantry_registry_open (registry, whole, access, &push->repository, push->cancellable, error)
         && gantry_store_open_content (push->self->store, ns, NULL, NULL, &push->content, push->cancellable,
                                       error);
}

static gboolean
read_options (Push *push, GVariant *options, GError **error)
{
  static const char *const known[] = { "platforms", "referrers", NULL };
  GVariantIter iter;
  const char *key;

  g_variant_iter_init (&iter, options);
  while (g_variant_iter_next (&iter, "{&sv}", &key, NULL))
    if (!g_strv_contains (known, key))
      return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "unknown option \"%s\"", key);
  g_variant_lookup (options, "platforms", "^as", &push->platforms);
  g_variant_lookup (options, "referrers", "b", &push->referrers);
  return TRUE;
}

static gboolean
run (Push *push, const char *ns, GantryRecord *record, const char *whole, GantryRegistryAccess *access,
     GError **error)
{
  return open_both (push, ns, whole, access, error) && choose_target (push, record, error)
         && collect_target (push, error) && (!push->referrers || collect_referrers (push, error))
         && push_blobs (push, error) && push_documents (push, error);
}

gboolean
push_image (GantryTransfer *transfer, GantryJob *job, const char *ns, const char *name, const char *reference,
            GantryRegistryAccess *access, GVariant *options, GantryDescriptor **ret_target,
            GCancellable *cancellable, GError **error)
{
  TransferLocal *self = (TransferLocal *)transfer;
  g_autoptr (GVariant) held = g_variant_ref_sink (
      options != NULL ? options : g_variant_new_array (G_VARIANT_TYPE ("{sv}"), NULL, 0));
  g_autoptr (Progress) progress = progress_new (job);
  g_autoptr (GantryRecord) record = NULL;
  g_autofree char *object = g_strconcat ("image:", name, NULL);
  g_auto (Push) push = { .self = self, .progress = progress, .cancellable = g_cancellable_new () };
  const char *whole = reference != NULL && reference[0] != '\0' ? reference : name;
  gulong handler = 0;
  gboolean ok;

  g_mutex_init (&push.lock);
  g_cond_init (&push.cond);
  push.documents = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_descriptor_unref);
  push.blobs = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_descriptor_unref);
  push.seen = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  if (!read_options (&push, held, error)
      || !gantry_metadata_get (self->metadata, GANTRY_KIND_IMAGE, ns, name, &record, cancellable, error))
    return FALSE;
  progress_object (progress, object);
  if (cancellable != NULL)
    handler = g_cancellable_connect (cancellable, G_CALLBACK (on_cancelled), push.cancellable, NULL);
  ok = run (&push, ns, record, whole, access, error);
  if (handler != 0)
    g_cancellable_disconnect (cancellable, handler);
  if (!ok)
    g_prefix_error (error, "pushing %s: ", whole);
  else if (ret_target != NULL)
    *ret_target = gantry_descriptor_ref (push.target);
  return ok;
}
