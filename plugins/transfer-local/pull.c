/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Images from registries. The documents (indexes, manifests) are read first and one after the other; then
 * config and layers come at once, and layers are unpacked as they come. The image's record is written last,
 * when everything below it is durable or, in the database, becomes so with it; until then a lease holds what
 * has come, named by the reference so that the next attempt finds it. */
#include <string.h>

#include <gantry/verifier.h>
#include <reference.h>

#include "fetch.h"
#include "layers.h"
#include "schema1.h"
#include "tree.h"

#define MAX_DOCUMENTS 1000
#define MAX_BLOBS     20000

typedef struct
{
  TransferLocal *self;
  Progress *progress;
  const char *ns;
  GantryContent *content;
  GantryRepository *repository;
  GantryReference *reference;
  GVariant *source; /* a{ss}: where blobs come from */
  GCancellable *cancellable;

  char **platforms; /* (nullable) */
  gboolean all_metadata;
  gboolean referrers;
  char **referrer_types; /* (nullable): artifact types; NULL: all */
  gboolean convert_schema1;
  gboolean converted;
  gboolean unpack;
  const char *snapshotter; /* (nullable) */

  gboolean fetching;    /* there is something that another attempt could go on with */
  GPtrArray *documents; /* of GantryDescriptor */
  GHashTable *seen;     /* digests of documents */
  GPtrArray *blobs;     /* of Wanted */
  GPtrArray *edges;     /* of Edge */

  GMutex lock;
  GCond cond;
  GHashTable *arrived;      /* digests */
  GantryDescriptor *config; /* of what is unpacked; (nullable) */
  GError *failure;
  Layers *layers; /* (nullable) */
  OciImage *image;
} Pull;

/* A config or a layer. */
typedef struct
{
  GantryDescriptor *blob;
  char **urls;
} Wanted;

static void
wanted_free (gpointer data)
{
  Wanted *wanted = data;

  gantry_descriptor_unref (wanted->blob);
  g_strfreev (wanted->urls);
  g_free (wanted);
}

/* A manifest that refers to another one. */
typedef struct
{
  char *subject;
  GantryDescriptor *referrer;
} Edge;

static void
edge_free (gpointer data)
{
  Edge *edge = data;

  g_free (edge->subject);
  gantry_descriptor_unref (edge->referrer);
  g_free (edge);
}

GantryRegistry *
pull_find_registry (TransferLocal *self, GError **error)
{
  GantryRegistry *registry = gantry_host_lookup (self->host, GANTRY_REGISTRY_TYPE, NULL, error);

  if (registry == NULL && (error == NULL || *error == NULL))
    gantry_throw (error, GANTRY_ERROR_UNAVAILABLE, "there is no registry client; see `gantry plugin list`");
  return registry;
}

/* Has the document in the store. */
static gboolean
fetch_document (Pull *pull, GantryDescriptor *target, GError **error)
{
  g_autofree char *ref
      = g_strconcat (oci_is_index (target->media_type) ? "index-" : "manifest-", target->digest, NULL);
  g_autoptr (GantryIngest) ingest = NULL;
  g_autoptr (GBytes) bytes = NULL;
  g_autoptr (GError) local = NULL;

  if (target->blob_size > OCI_MAX_DOCUMENT)
    return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "it has more than %d bytes",
                         OCI_MAX_DOCUMENT);
  if (!gantry_content_open_ingest (pull->content, ref, target->blob_size, target->digest, &ingest,
                                   pull->cancellable, &local))
    {
      if (gantry_error_is (local, GANTRY_ERROR_ALREADY_EXISTS))
        return TRUE;
      g_propagate_error (error, g_steal_pointer (&local));
      return FALSE;
    }
  if (!gantry_repository_fetch_manifest (pull->repository, target->digest, NULL, &bytes, pull->cancellable,
                                         error)
      || !gantry_ingest_truncate (ingest, 0, pull->cancellable, error))
    return FALSE;
  if (g_bytes_get_size (bytes) != target->blob_size)
    return gantry_throw (error, GANTRY_ERROR_DATA_LOSS,
                         "it has %" G_GSIZE_FORMAT " bytes instead of %" G_GUINT64_FORMAT,
                         g_bytes_get_size (bytes), target->blob_size);
  if (!gantry_ingest_write (ingest, g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes),
                            pull->cancellable, error))
    return FALSE;
  if (gantry_ingest_commit (ingest, target->blob_size, target->digest, pull->source, NULL, pull->cancellable,
                            &local)
      || gantry_error_is (local, GANTRY_ERROR_ALREADY_EXISTS))
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&local));
  return FALSE;
}

/* Several of one document at once are fetched once. */
static JsonNode *
read_document (Pull *pull, GantryDescriptor *target, GError **error)
{
  g_autofree char *claim = g_strconcat ("document/", target->digest, NULL);
  g_autoptr (JsonNode) node = NULL;
  gboolean ok;

  if (!claims_wait (pull->self->claims, claim, pull->cancellable, error))
    return NULL;
  ok = fetch_document (pull, target, error);
  claims_release (pull->self->claims, claim);
  if (!ok)
    {
      g_prefix_error (error, "manifest %s: ", target->digest);
      return NULL;
    }
  node = oci_read (pull->content, target->digest, pull->cancellable, error);
  if (node == NULL || JSON_NODE_HOLDS_OBJECT (node))
    return g_steal_pointer (&node);
  gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "manifest %s is no JSON object", target->digest);
  return NULL;
}

static gboolean
add_blob (Pull *pull, JsonObject *object, const char *manifest, GError **error)
{
  GantryDescriptor *blob = object != NULL ? oci_descriptor (object, error) : NULL;
  Wanted *wanted;

  if (blob == NULL)
    {
      if (object == NULL)
        gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                      "it has a config or a layer that is no descriptor");
      g_prefix_error (error, "manifest %s: ", manifest);
      return FALSE;
    }
  wanted = g_new0 (Wanted, 1);
  wanted->blob = blob;
  wanted->urls = oci_strv (object, "urls");
  g_ptr_array_add (pull->blobs, wanted);
  return pull->blobs->len <= MAX_BLOBS
         || gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "there are more than %d blobs", MAX_BLOBS);
}

/* @layers: whether its layers are wanted, too. */
static gboolean
collect_manifest (Pull *pull, JsonNode *node, GantryDescriptor *target, gboolean layers, GError **error)
{
  JsonObject *object = json_node_get_object (node);
  JsonArray *array = oci_array (object, "layers");
  guint n = array != NULL ? json_array_get_length (array) : 0;

  if (n > OCI_MAX_LAYERS)
    return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "manifest %s has %u layers; the limit is %d",
                         target->digest, n, OCI_MAX_LAYERS);
  if (!add_blob (pull, oci_object (object, "config"), target->digest, error))
    return FALSE;
  for (guint i = 0; layers && i < n; i++)
    {
      JsonNode *element = json_array_get_element (array, i);

      if (!add_blob (pull, JSON_NODE_HOLDS_OBJECT (element) ? json_node_get_object (element) : NULL,
                     target->digest, error))
        return FALSE;
    }
  return TRUE;
}

static gboolean collect (Pull *pull, GantryDescriptor *target, gboolean layers, guint depth, GError **error);

static gboolean
contains (GPtrArray *descriptors, const char *digest)
{
  for (guint i = 0; i < descriptors->len; i++)
    if (strcmp (((GantryDescriptor *)g_ptr_array_index (descriptors, i))->digest, digest) == 0)
      return TRUE;
  return FALSE;
}

static gboolean
collect_index (Pull *pull, JsonNode *node, GantryDescriptor *target, gboolean layers, guint depth,
               GError **error)
{
  g_autoptr (GPtrArray) wanted = oci_select_manifests (node, (const char *const *)pull->platforms, error);
  g_autoptr (GPtrArray) all
      = wanted != NULL && pull->all_metadata ? oci_select_manifests (node, NULL, error) : NULL;
  GPtrArray *children = all != NULL ? all : wanted;

  if (wanted == NULL || (pull->all_metadata && all == NULL))
    {
      g_prefix_error (error, "index %s: ", target->digest);
      return FALSE;
    }
  if (wanted->len == 0 && layers)
    {
      g_autofree char *names = g_strjoinv (", ", pull->platforms);

      return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "index %s has no manifest for platform %s",
                           target->digest, names);
    }
  for (guint i = 0; i < children->len; i++)
    {
      GantryDescriptor *child = g_ptr_array_index (children, i);

      if (!collect (pull, child, layers && contains (wanted, child->digest), depth + 1, error))
        return FALSE;
    }
  return TRUE;
}

/* Reads @target and all documents below it that are wanted, and notes their blobs. */
static gboolean
collect (Pull *pull, GantryDescriptor *target, gboolean layers, guint depth, GError **error)
{
  g_autoptr (JsonNode) node = NULL;

  if (depth > OCI_MAX_INDEX_DEPTH)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "its indexes are nested more than %d deep",
                         OCI_MAX_INDEX_DEPTH);
  if (!oci_is_index (target->media_type) && !oci_is_manifest (target->media_type))
    return gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED,
                         "%s is of type %s, which is neither a manifest nor an index", target->digest,
                         target->media_type);
  if (!g_hash_table_add (pull->seen, g_strdup (target->digest)))
    return TRUE;
  if (pull->documents->len >= MAX_DOCUMENTS)
    return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "it has more than %d manifests",
                         MAX_DOCUMENTS);
  node = read_document (pull, target, error);
  if (node == NULL)
    return FALSE;
  g_ptr_array_add (pull->documents, gantry_descriptor_ref (target));
  return oci_is_index (target->media_type) ? collect_index (pull, node, target, layers, depth, error)
                                           : collect_manifest (pull, node, target, layers, error);
}

static gboolean
is_wanted_referrer (Pull *pull, GantryDescriptor *referrer)
{
  return pull->referrer_types == NULL
         || (referrer->artifact_type != NULL
             && g_strv_contains ((const char *const *)pull->referrer_types, referrer->artifact_type));
}

static gboolean
collect_referrer (Pull *pull, const char *subject, GantryDescriptor *referrer, GError **error)
{
  Edge *edge;

  if (!oci_is_index (referrer->media_type) && !oci_is_manifest (referrer->media_type))
    {
      gantry_host_log (pull->self->host, GANTRY_LOG_WARNING,
                       "%s, which refers to %s, is left out: it is of type %s", referrer->digest, subject,
                       referrer->media_type);
      return TRUE;
    }
  if (!collect (pull, referrer, TRUE, 0, error))
    {
      g_prefix_error (error, "what refers to %s: ", subject);
      return FALSE;
    }
  edge = g_new0 (Edge, 1);
  *edge = (Edge){ g_strdup (subject), gantry_descriptor_ref (referrer) };
  g_ptr_array_add (pull->edges, edge);
  return TRUE;
}

static gboolean
collect_referrers_of (Pull *pull, const char *subject, GError **error)
{
  g_autoptr (GPtrArray) referrers = NULL;

  if (!gantry_repository_list_referrers (pull->repository, subject, NULL, &referrers, pull->cancellable,
                                         error))
    return FALSE;
  for (guint i = 0; i < referrers->len; i++)
    if (is_wanted_referrer (pull, g_ptr_array_index (referrers, i))
        && !collect_referrer (pull, subject, g_ptr_array_index (referrers, i), error))
      return FALSE;
  return TRUE;
}

/* Reads what refers to the documents read so far, and what refers to that: the list grows meanwhile, up to
 * its limit. They are taken whole, whatever platforms are wanted. */
static gboolean
collect_referrers (Pull *pull, GError **error)
{
  char **platforms = pull->platforms;
  gboolean ok = TRUE;

  pull->platforms = NULL;
  for (guint i = 0; ok && i < pull->documents->len; i++)
    ok = collect_referrers_of (pull, ((GantryDescriptor *)g_ptr_array_index (pull->documents, i))->digest,
                               error);
  pull->platforms = platforms;
  return ok;
}

/* On a thread of the fetchers. */
static void
on_fetched (GantryDescriptor *blob, const GError *error, gpointer user_data)
{
  Pull *pull = user_data;

  g_mutex_lock (&pull->lock);
  if (error == NULL)
    g_hash_table_add (pull->arrived, g_strdup (blob->digest));
  else if (pull->failure == NULL)
    pull->failure = g_error_copy (error);
  g_cond_broadcast (&pull->cond);
  /* With the lock, so that the layers do not end meanwhile. */
  if (pull->layers != NULL && error != NULL)
    layers_fail (pull->layers, error);
  for (guint i = 0; pull->layers != NULL && error == NULL && i < pull->image->layers->len; i++)
    if (strcmp (((GantryDescriptor *)g_ptr_array_index (pull->image->layers, i))->digest, blob->digest) == 0)
      layers_arrived (pull->layers, i);
  g_mutex_unlock (&pull->lock);
}

/* On a thread of the fetchers. */
static void
on_grew (GantryDescriptor *blob, GantryIngest *ingest, guint64 bytes, gpointer user_data)
{
  Pull *pull = user_data;

  g_mutex_lock (&pull->lock);
  for (guint i = 0; pull->layers != NULL && i < pull->image->layers->len; i++)
    if (strcmp (((GantryDescriptor *)g_ptr_array_index (pull->image->layers, i))->digest, blob->digest) == 0)
      layers_grew (pull->layers, i, ingest, bytes);
  g_mutex_unlock (&pull->lock);
}

static gboolean
wait_for_blob (Pull *pull, const char *digest, GError **error)
{
  gboolean ok;

  g_mutex_lock (&pull->lock);
  /* A cancelled pull's fetches fail. */
  while (!g_hash_table_contains (pull->arrived, digest) && pull->failure == NULL)
    g_cond_wait (&pull->cond, &pull->lock);
  ok = g_hash_table_contains (pull->arrived, digest);
  if (!ok)
    g_propagate_error (error, g_error_copy (pull->failure));
  g_mutex_unlock (&pull->lock);
  return ok;
}

static gboolean
is_image_config (GantryDescriptor *config)
{
  return strcmp (config->media_type, OCI_CONFIG) == 0 || strcmp (config->media_type, DOCKER_CONFIG) == 0;
}

/* Gives @pull->layers to those who fetch, with what has arrived before. */
static void
publish_layers (Pull *pull, Layers *layers)
{
  g_mutex_lock (&pull->lock);
  pull->layers = layers;
  if (pull->failure != NULL)
    layers_fail (layers, pull->failure);
  for (guint i = 0; i < pull->image->layers->len; i++)
    if (g_hash_table_contains (pull->arrived,
                               ((GantryDescriptor *)g_ptr_array_index (pull->image->layers, i))->digest))
      layers_arrived (layers, i);
  g_mutex_unlock (&pull->lock);
}

/* Unpacks what is unpacked of @target while its layers come. */
static gboolean
unpack (Pull *pull, const char *lease, GantryDescriptor *target, GError **error)
{
  const char *platform = tree_unpack_platform (pull->platforms);
  g_autoptr (GantrySnapshotter) snapshotter = NULL;
  g_autoptr (GantryDescriptor) config = NULL;
  g_autoptr (OciImage) image = NULL;
  g_autofree char *id = NULL, *chain = NULL;
  Layers *layers;
  gboolean ok;

  config = oci_find_config (pull->content, target, platform, pull->cancellable, error);
  if (config == NULL)
    return FALSE;
  if (!is_image_config (config))
    return TRUE;
  if (!gantry_store_open_snapshotter (pull->self->store, pull->ns, lease, pull->snapshotter, &snapshotter,
                                      &id, pull->cancellable, error)
      || !gantry_store_relax (pull->self->store, NULL, snapshotter, pull->cancellable, error)
      || !wait_for_blob (pull, config->digest, error)
      || (image = oci_image_load (pull->content, target, platform, pull->cancellable, error)) == NULL)
    return FALSE;
  chain = oci_chain_id (image->diff_ids, g_strv_length (image->diff_ids));
  if (chain == NULL)
    return TRUE;
  pull->image = image;
  layers = layers_new (pull->self, pull->progress, pull->ns, pull->content, snapshotter, id, image);
  publish_layers (pull, layers);
  ok = layers_run (layers, pull->cancellable, error);
  g_mutex_lock (&pull->lock);
  pull->layers = NULL;
  g_mutex_unlock (&pull->lock);
  layers_free (layers);
  return ok && unpack_label_config (pull->content, image, id, chain, pull->cancellable, error);
}

static gboolean
note_sources (Pull *pull, GError **error)
{
  /* What was made here is not there. */
  for (guint i = 0; !pull->converted && i < pull->documents->len; i++)
    if (!tree_note_source (pull->content, pull->reference,
                           ((GantryDescriptor *)g_ptr_array_index (pull->documents, i))->digest,
                           pull->cancellable, error))
      return FALSE;
  for (guint i = 0; i < pull->blobs->len; i++)
    {
      GantryDescriptor *blob = ((Wanted *)g_ptr_array_index (pull->blobs, i))->blob;

      if (!(pull->converted && is_image_config (blob))
          && !tree_note_source (pull->content, pull->reference, blob->digest, pull->cancellable, error))
        return FALSE;
    }
  return TRUE;
}

/* Has each subject hold what refers to it. */
static gboolean
label_referrers (Pull *pull, GError **error)
{
  Tree whole = { pull->content, NULL, FALSE, pull->cancellable };

  for (guint i = 0; i < pull->edges->len; i++)
    {
      Edge *edge = g_ptr_array_index (pull->edges, i);

      if (!tree_label (&whole, edge->referrer, error)
          || !tree_add_referrer (pull->content, edge->subject, edge->referrer->digest, pull->cancellable,
                                 error))
        return FALSE;
    }
  return TRUE;
}

/* Fetches config and layers, and unpacks. */
static gboolean
fetch_all (Pull *pull, const char *lease, GantryDescriptor *target, GError **error)
{
  g_autoptr (Fetches) fetches
      = fetches_new (pull->self->fetchers, pull->progress, pull->content, pull->repository, pull->source,
                     on_fetched, on_grew, pull, pull->cancellable);

  pull->fetching = TRUE;
  progress_phase (pull->progress, "downloading");
  for (guint i = 0; i < pull->blobs->len; i++)
    {
      Wanted *wanted = g_ptr_array_index (pull->blobs, i);

      fetches_add (fetches, wanted->blob, wanted->urls[0] != NULL ? (const char *const *)wanted->urls : NULL);
    }
  return (!pull->unpack || unpack (pull, lease, target, error)) && fetches_wait (fetches, error);
}

/* Whether it may be used here at all, before much of it has come. */
static gboolean
verify (Pull *pull, GantryDescriptor *target, GError **error)
{
  g_autofree char *whole = gantry_reference_to_string (pull->reference);
  g_autoptr (GantryDescriptor) manifest
      = oci_find_manifest (pull->content, target, tree_unpack_platform (pull->platforms), pull->cancellable,
                           NULL);
  const char *digests[] = { manifest != NULL ? manifest->digest : NULL, NULL };
  GVariantDict options;

  g_variant_dict_init (&options, NULL);
  g_variant_dict_insert_value (&options, "digests", g_variant_new_strv (digests, -1));
  return gantry_verifiers_verify (pull->self->host, whole, target->digest, g_variant_dict_end (&options),
                                  NULL, pull->cancellable, error);
}

static gboolean
run (Pull *pull, const char *lease, GantryDescriptor *target, const char *name, GVariant *labels,
     GError **error)
{
  Tree tree = { pull->content, pull->platforms, pull->all_metadata, pull->cancellable };

  return collect (pull, target, TRUE, 0, error) && verify (pull, target, error)
         && (!pull->referrers || collect_referrers (pull, error)) && fetch_all (pull, lease, target, error)
         && note_sources (pull, error) && tree_label (&tree, target, error) && label_referrers (pull, error)
         && tree_put_image (pull->self, pull->ns, name, target, labels, pull->cancellable, error);
}

/* Whether another attempt may go on where this one has failed. */
static gboolean
is_passing (const GError *error)
{
  static const GantryErrorCode passing[]
      = { GANTRY_ERROR_CANCELLED,          GANTRY_ERROR_UNAVAILABLE, GANTRY_ERROR_DEADLINE_EXCEEDED,
          GANTRY_ERROR_RESOURCE_EXHAUSTED, GANTRY_ERROR_ABORTED,     GANTRY_ERROR_UNAUTHENTICATED };

  for (gsize i = 0; i < G_N_ELEMENTS (passing); i++)
    if (gantry_error_is (error, passing[i]))
      return TRUE;
  return FALSE;
}

/* An image of schema 1 becomes an OCI image, which takes the place of *@target. */
static gboolean
convert_old (Pull *pull, GantryDescriptor **target, GError **error)
{
  GantryDescriptor *made;

  if (strcmp ((*target)->media_type, SCHEMA1_MANIFEST) != 0)
    return TRUE;
  pull->fetching = TRUE;
  made = schema1_convert (pull->self, pull->progress, pull->content, pull->repository, *target, pull->source,
                          pull->cancellable, error);
  if (made == NULL)
    return FALSE;
  pull->converted = TRUE;
  gantry_descriptor_unref (*target);
  *target = made;
  return TRUE;
}

static gboolean
pull_with_lease (Pull *pull, GantryDescriptor **target, const char *whole, const char *name, GVariant *labels,
                 GError **error)
{
  g_autofree char *hash = g_compute_checksum_for_string (G_CHECKSUM_SHA256, whole, -1);
  g_autofree char *id = g_strdup_printf ("pull-%.32s", hash);
  g_autoptr (GantryContent) content = NULL;
  g_autoptr (GError) local = NULL;
  g_auto (Lease) lease = { NULL };

  if (!lease_share (pull->self, pull->ns, id, &lease, pull->cancellable, error)
      || !gantry_store_open_content (pull->self->store, pull->ns, id, NULL, &content, pull->cancellable,
                                     error)
      || !gantry_store_relax (pull->self->store, content, NULL, pull->cancellable, error))
    return FALSE;
  pull->content = content;
  if (convert_old (pull, target, &local) && run (pull, id, *target, name, labels, &local))
    return TRUE;
  if (pull->fetching && is_passing (local))
    lease_keep (&lease);
  g_propagate_prefixed_error (error, g_steal_pointer (&local), "pulling %s: ", whole);
  return FALSE;
}

static gboolean
ask_caller (const char *host, const char *reference, const char *const *challenges,
            GantryCredentials **ret_credentials, gpointer user_data, GCancellable *cancellable,
            GError **error)
{
  GantryRegistryAccess *access = user_data;

  return access->ask (host, reference, challenges, ret_credentials, access->ask_data, cancellable, error);
}

/* @access (nullable), and manifests of schema 1 are handed out. Returns: (transfer full). */
static GantryRegistryAccess *
allow_schema1 (GantryRegistryAccess *access)
{
  GantryRegistryAccess *wider;
  GVariantDict options;

  g_variant_dict_init (&options, access != NULL ? access->options : NULL);
  g_variant_dict_insert (&options, "schema1", "b", TRUE);
  wider = gantry_registry_access_new (access != NULL ? access->credentials : NULL,
                                      g_variant_dict_end (&options));
  if (access != NULL && access->ask != NULL)
    {
      wider->ask = ask_caller;
      wider->ask_data = gantry_registry_access_ref (access);
      wider->ask_destroy = (GDestroyNotify)gantry_registry_access_unref;
    }
  return wider;
}

/* Finds which of the whole names that @reference may stand for is there. */
static gboolean
resolve (Pull *pull, const char *reference, GantryRegistryAccess *access, char **ret_whole,
         GantryDescriptor **ret_target, GError **error)
{
  GantryRegistry *registry = pull_find_registry (pull->self, error);
  g_auto (GStrv) names = NULL;

  if (registry == NULL || !gantry_registry_complete (registry, reference, &names, pull->cancellable, error))
    return FALSE;
  for (gsize i = 0; names[i] != NULL; i++)
    {
      g_autoptr (GantryRepository) repository = NULL;
      g_autoptr (GError) local = NULL;

      if (gantry_registry_open (registry, names[i], access, &repository, pull->cancellable, &local)
          && gantry_repository_resolve (repository, NULL, ret_target, pull->cancellable, &local))
        {
          *ret_whole = g_strdup (names[i]);
          pull->repository = g_steal_pointer (&repository);
          return TRUE;
        }
      if (names[i + 1] == NULL || !gantry_error_is (local, GANTRY_ERROR_NOT_FOUND))
        {
          g_propagate_error (error, g_steal_pointer (&local));
          return FALSE;
        }
    }
  return FALSE;
}

static gboolean
check_options (GVariant *options, GError **error)
{
  static const char *const known[]
      = { "name",        "platforms", "all-platforms",  "all-metadata",    "labels", "unpack",
          "snapshotter", "referrers", "referrer-types", "convert-schema1", NULL };
  GVariantIter iter;
  const char *key;

  g_variant_iter_init (&iter, options);
  while (g_variant_iter_next (&iter, "{&sv}", &key, NULL))
    if (!g_strv_contains (known, key))
      return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "unknown option \"%s\"", key);
  return TRUE;
}

static void
read_options (Pull *pull, GVariant *options)
{
  pull->platforms = tree_wanted_platforms (options);
  pull->unpack = TRUE;
  g_variant_lookup (options, "all-metadata", "b", &pull->all_metadata);
  g_variant_lookup (options, "unpack", "b", &pull->unpack);
  pull->convert_schema1 = pull->self->convert_schema1;
  g_variant_lookup (options, "convert-schema1", "b", &pull->convert_schema1);
  g_variant_lookup (options, "referrers", "b", &pull->referrers);
  if (g_variant_lookup (options, "referrer-types", "^as", &pull->referrer_types))
    pull->referrers = TRUE;
  g_variant_lookup (options, "snapshotter", "&s", &pull->snapshotter);
}

static void
pull_clear (Pull *pull)
{
  g_clear_pointer (&pull->repository, gantry_repository_unref);
  g_clear_pointer (&pull->reference, gantry_reference_unref);
  g_clear_pointer (&pull->source, g_variant_unref);
  g_strfreev (pull->platforms);
  g_strfreev (pull->referrer_types);
  g_ptr_array_unref (pull->documents);
  g_ptr_array_unref (pull->blobs);
  g_ptr_array_unref (pull->edges);
  g_hash_table_unref (pull->seen);
  g_hash_table_unref (pull->arrived);
  g_clear_error (&pull->failure);
  g_mutex_clear (&pull->lock);
  g_cond_clear (&pull->cond);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Pull, pull_clear)

gboolean
pull_image (GantryTransfer *transfer, GantryJob *job, const char *ns, const char *reference,
            GantryRegistryAccess *access, GVariant *options, char **ret_name, GantryDescriptor **ret_target,
            GCancellable *cancellable, GError **error)
{
  TransferLocal *self = (TransferLocal *)transfer;
  g_autoptr (GVariant) held = g_variant_ref_sink (
      options != NULL ? options : g_variant_new_array (G_VARIANT_TYPE ("{sv}"), NULL, 0));
  g_autoptr (GVariant) labels = g_variant_lookup_value (held, "labels", G_VARIANT_TYPE ("a{ss}"));
  g_autoptr (Progress) progress = progress_new (job);
  g_autoptr (GantryDescriptor) target = NULL;
  g_autoptr (GantryRegistryAccess) wider = NULL;
  g_autofree char *whole = NULL, *object = NULL;
  g_auto (Pull) pull = { .self = self, .progress = progress, .ns = ns, .cancellable = cancellable };
  const char *name = NULL;

  g_mutex_init (&pull.lock);
  g_cond_init (&pull.cond);
  pull.documents = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_descriptor_unref);
  pull.blobs = g_ptr_array_new_with_free_func (wanted_free);
  pull.edges = g_ptr_array_new_with_free_func (edge_free);
  pull.seen = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  pull.arrived = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  if (!check_options (held, error))
    return FALSE;
  read_options (&pull, held);
  progress_phase (progress, "resolving");
  if (pull.convert_schema1)
    access = wider = allow_schema1 (access);
  if (!resolve (&pull, reference, access, &whole, &target, error)
      || (pull.reference = gantry_reference_parse (whole, error)) == NULL)
    return FALSE;
  pull.source = tree_source_labels (pull.reference);
  if (!g_variant_lookup (held, "name", "&s", &name))
    name = whole;
  object = g_strconcat ("image:", name, NULL);
  progress_object (progress, object);
  if (!pull_with_lease (&pull, &target, whole, name, labels, error))
    return FALSE;
  if (ret_name != NULL)
    *ret_name = g_strdup (name);
  if (ret_target != NULL)
    *ret_target = g_steal_pointer (&target);
  return TRUE;
}
