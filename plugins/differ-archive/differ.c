/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "differ.h"

#include "fdio.h"
#include "worker.h"

#define LAYER_TAR          "application/vnd.oci.image.layer.v1.tar"
#define UNCOMPRESSED_LABEL "containerd.io/uncompressed"

typedef struct
{
  GantryDiffer differ;
  ForkServer *server;
  UnpackLimits limits;
} DifferArchive;

/* OCI image-spec 1.1, media-types.md, and Docker image manifest v2, schema 2. How the tar is compressed is
 * told by its bytes, as by every other unpacker: old tools labelled it wrong. */
static const char *const apply_types[] = {
  LAYER_TAR,
  LAYER_TAR "+gzip",
  LAYER_TAR "+zstd",
  "application/vnd.oci.image.layer.nondistributable.v1.tar",
  "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
  "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
  "application/vnd.docker.image.rootfs.diff.tar",
  "application/vnd.docker.image.rootfs.diff.tar.gzip",
  "application/vnd.docker.image.rootfs.diff.tar.zstd",
  "application/vnd.docker.image.rootfs.foreign.diff.tar",
  "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
  "application/vnd.docker.image.rootfs.foreign.diff.tar.zstd",
  NULL,
};

static gboolean
can_apply (GantryDiffer *differ, const char *media_type)
{
  return g_strv_contains (apply_types, media_type);
}

static GVariant *
mounts_to_variant (GPtrArray *mounts)
{
  static const char *const no_options[] = { NULL };
  GVariantBuilder builder;

  g_variant_builder_init (&builder, UNPACK_MOUNTS_TYPE);
  for (guint i = 0; i < mounts->len; i++)
    {
      const GantryMount *mount = g_ptr_array_index (mounts, i);

      g_variant_builder_add (&builder, "(^ay^ay^ay^aay)", mount->type != NULL ? mount->type : "",
                             mount->source != NULL ? mount->source : "",
                             mount->target != NULL ? mount->target : "",
                             mount->options != NULL ? (const char *const *)mount->options : no_options);
    }
  return g_variant_builder_end (&builder);
}

static void
add_limits (DifferArchive *self, GVariantDict *request)
{
  for (const UnpackLimitName *entry = unpack_limit_names; entry->name != NULL; entry++)
    g_variant_dict_insert (request, entry->name, "t", UNPACK_LIMIT (&self->limits, entry));
}

/* Copies the option @key if it is given. Returns: FALSE if it has another type. */
static gboolean
copy_option (GVariant *options, const char *key, const GVariantType *type, GVariantDict *request,
             GError **error)
{
  g_autoptr (GVariant) value = options != NULL ? g_variant_lookup_value (options, key, NULL) : NULL;

  if (value == NULL)
    return TRUE;
  if (!g_variant_is_of_type (value, type))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "the option %s of a differ is not of type %.*s", key,
                         (int)g_variant_type_get_string_length (type), g_variant_type_peek_string (type));
  g_variant_dict_insert_value (request, key, value);
  return TRUE;
}

static GVariant *
make_apply_request (DifferArchive *self, GPtrArray *mounts, GVariant *options, GError **error)
{
  g_auto (GVariantDict) request = G_VARIANT_DICT_INIT (NULL);

  g_variant_dict_insert (&request, "operation", "s", "apply");
  g_variant_dict_insert_value (&request, "mounts", mounts_to_variant (mounts));
  add_limits (self, &request);
  if (!copy_option (options, "uid-map", G_VARIANT_TYPE_STRING, &request, error)
      || !copy_option (options, "gid-map", G_VARIANT_TYPE_STRING, &request, error)
      || !copy_option (options, "sync", G_VARIANT_TYPE_BOOLEAN, &request, error)
      || !copy_option (options, "rebase", G_VARIANT_TYPE_BOOLEAN, &request, error)
      || !copy_option (options, "only", G_VARIANT_TYPE_STRING_ARRAY, &request, error))
    return NULL;
  return g_variant_ref_sink (g_variant_dict_end (&request));
}

static GVariant *
implied_annotation (const char *implied)
{
  GVariantBuilder builder;

  g_variant_builder_init (&builder, G_VARIANT_TYPE ("a{ss}"));
  g_variant_builder_add (&builder, "{ss}", GANTRY_DIFF_IMPLIED, implied);
  return g_variant_builder_end (&builder);
}

static gboolean
apply (GantryDiffer *differ, GantryDescriptor *layer, GantryContent *content, GPtrArray *mounts,
       GVariant *options, GantryDifferProgressFunc progress, gpointer user_data, GantryDescriptor **ret_diff,
       GCancellable *cancellable, GError **error)
{
  DifferArchive *self = (DifferArchive *)differ;
  g_autoptr (GVariant) kept = gantry_variant_keep (options);
  WorkerJob job = { .server = self->server, .progress_func = progress, .user_data = user_data };
  g_autoptr (GVariant) request = NULL;
  g_autoptr (GString) implied = g_string_new (NULL);
  g_autofree char *digest = NULL;
  gantry_autofd int fd = -1;
  gboolean rebase = FALSE;
  guint64 blob_size, size;

  if (!can_apply (differ, layer->media_type))
    return gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED, "layers of media type %s can't be unpacked",
                         layer->media_type != NULL ? layer->media_type : "(none)");
  if (mounts->len == 0)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "there are no mounts to unpack layer %s to",
                         layer->digest);
  request = make_apply_request (self, mounts, kept, error);
  if (request == NULL
      || !gantry_content_open_blob (content, layer->digest, &fd, &blob_size, cancellable, error))
    return FALSE;
  job.request = request;
  job.blob_fd = fd;
  g_variant_lookup (request, "rebase", "b", &rebase);
  job.implied = rebase ? implied : NULL;
  /* Which layer it was is said by who asked for it: in the terms of the image or of the request. */
  if (!worker_run (&job, &digest, &size, cancellable, error))
    return FALSE;
  *ret_diff
      = gantry_descriptor_new (LAYER_TAR, digest, size, rebase ? implied_annotation (implied->str) : NULL);
  return TRUE;
}

/* Comparing. */

static const struct
{
  const char *media_type;
  PackCompression compression;
} compare_types[] = {
  { LAYER_TAR "+gzip", PACK_GZIP },
  { LAYER_TAR "+zstd", PACK_ZSTD },
  { LAYER_TAR, PACK_PLAIN },
  { "application/vnd.docker.image.rootfs.diff.tar.gzip", PACK_GZIP },
  { "application/vnd.docker.image.rootfs.diff.tar.zstd", PACK_ZSTD },
  { "application/vnd.docker.image.rootfs.diff.tar", PACK_PLAIN },
};

/* A new blob on its way to the store. */
typedef struct
{
  GantryIngest *ingest;
  guint64 size;
  GCancellable *cancellable;
} Output;

/* The same, of a caller who wants to know how far it is. */
typedef struct
{
  Output *output;
  GantryDifferProgressFunc progress; /* (nullable) */
  gpointer user_data;
} Relay;

static gboolean
write_output (gconstpointer data, gsize length, gpointer user_data, GError **error)
{
  Output *self = user_data;

  self->size += length;
  return gantry_ingest_write (self->ingest, data, length, self->cancellable, error);
}

static gboolean
find_compression (const char *media_type, PackCompression *ret_compression, GError **error)
{
  for (gsize i = 0; i < G_N_ELEMENTS (compare_types); i++)
    if (strcmp (media_type, compare_types[i].media_type) == 0)
      {
        *ret_compression = compare_types[i].compression;
        return TRUE;
      }
  return gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED, "layers of media type %s can't be made",
                       media_type);
}

static GVariant *
make_compare_request (DifferArchive *self, GPtrArray *lower, GPtrArray *upper, PackCompression compression,
                      GVariant *options, GError **error)
{
  g_auto (GVariantDict) request = G_VARIANT_DICT_INIT (NULL);

  g_variant_dict_insert (&request, "operation", "s", "compare");
  g_variant_dict_insert_value (&request, "lower", mounts_to_variant (lower));
  g_variant_dict_insert_value (&request, "upper", mounts_to_variant (upper));
  g_variant_dict_insert (&request, "compression", "u", (guint32)compression);
  add_limits (self, &request);
  if (!copy_option (options, "source-date-epoch", G_VARIANT_TYPE_INT64, &request, error))
    return NULL;
  return g_variant_ref_sink (g_variant_dict_end (&request));
}

/* @labels and what the layer is when it is unpacked. */
static GVariant *
add_uncompressed_label (GVariant *labels, const char *diff_id)
{
  GVariantBuilder builder;
  GVariantIter iter;
  const char *key, *value;

  g_variant_builder_init (&builder, G_VARIANT_TYPE ("a{ss}"));
  if (labels != NULL)
    {
      g_variant_iter_init (&iter, labels);
      while (g_variant_iter_next (&iter, "{&s&s}", &key, &value))
        if (strcmp (key, UNCOMPRESSED_LABEL) != 0)
          g_variant_builder_add (&builder, "{ss}", key, value);
    }
  g_variant_builder_add (&builder, "{ss}", UNCOMPRESSED_LABEL, diff_id);
  return g_variant_builder_end (&builder);
}

/* Makes the blob out of what was written. *@ret_digest: (transfer full). */
static gboolean
commit_output (Output *output, GantryContent *content, GVariant *labels, const char *diff_id,
               char **ret_digest, GError **error)
{
  static const char *const mask[] = { "labels." UNCOMPRESSED_LABEL, NULL };
  g_autoptr (GVariant) all = g_variant_ref_sink (add_uncompressed_label (labels, diff_id));
  g_autofree char *digest = NULL;
  g_autoptr (GError) local = NULL;

  if (!gantry_ingest_commit (output->ingest, output->size, NULL, all, &digest, output->cancellable, &local))
    {
      if (!gantry_error_is (local, GANTRY_ERROR_ALREADY_EXISTS) || digest == NULL)
        {
          g_propagate_error (error, g_steal_pointer (&local));
          return FALSE;
        }
      /* The same layer was made before. */
      g_clear_error (&local);
      if (!gantry_content_update (content, digest, all, mask, NULL, output->cancellable, &local)
          && !gantry_error_is (local, GANTRY_ERROR_NOT_IMPLEMENTED))
        {
          g_propagate_error (error, g_steal_pointer (&local));
          return FALSE;
        }
    }
  *ret_digest = g_steal_pointer (&digest);
  return TRUE;
}

static gboolean
run_compare (DifferArchive *self, GVariant *request, Output *output, char **ret_diff_id,
             GCancellable *cancellable, GError **error)
{
  WorkerJob job = {
    .server = self->server, .request = request, .blob_fd = -1, .data_func = write_output, .user_data = output
  };
  guint64 size;

  /* What an earlier attempt under the same ref has left is of no use: this one begins anew. */
  return gantry_ingest_truncate (output->ingest, 0, cancellable, error)
         && worker_run (&job, ret_diff_id, &size, cancellable, error);
}

static gboolean
compare (GantryDiffer *differ, GPtrArray *lower, GPtrArray *upper, const char *media_type,
         GantryContent *content, const char *ref, GVariant *labels, GVariant *options,
         GantryDescriptor **ret_layer, GCancellable *cancellable, GError **error)
{
  DifferArchive *self = (DifferArchive *)differ;
  g_autoptr (GVariant) kept = gantry_variant_keep (options);
  const char *type = media_type != NULL && media_type[0] != '\0' ? media_type : compare_types[0].media_type;
  g_autoptr (GantryIngest) ingest = NULL;
  g_autoptr (GVariant) request = NULL;
  g_autofree char *diff_id = NULL;
  g_autofree char *digest = NULL;
  PackCompression compression = PACK_PLAIN;
  Output output = { .cancellable = cancellable };

  if (!find_compression (type, &compression, error))
    return FALSE;
  request = make_compare_request (self, lower, upper, compression, kept, error);
  if (request == NULL || !gantry_content_open_ingest (content, ref, 0, NULL, &ingest, cancellable, error))
    return FALSE;
  output.ingest = ingest;
  if (!run_compare (self, request, &output, &diff_id, cancellable, error)
      || !commit_output (&output, content, labels, diff_id, &digest, error))
    {
      g_prefix_error (error, "making layer %s: ", ref);
      g_clear_pointer (&ingest, gantry_ingest_unref);
      /* Not with the caller's cancellable, which may be why. If it fails, the store's own clean-up finds the
       * ingest. */
      gantry_content_abort_ingest (content, ref, NULL, NULL);
      return FALSE;
    }
  *ret_layer = gantry_descriptor_new (type, digest, output.size, NULL);
  return TRUE;
}

/* Recompressing. */

static GVariant *
make_recompress_request (DifferArchive *self, PackCompression compression)
{
  g_auto (GVariantDict) request = G_VARIANT_DICT_INIT (NULL);

  g_variant_dict_insert (&request, "operation", "s", "recompress");
  g_variant_dict_insert (&request, "compression", "u", (guint32)compression);
  add_limits (self, &request);
  return g_variant_ref_sink (g_variant_dict_end (&request));
}

static gboolean
relay_output (gconstpointer data, gsize length, gpointer user_data, GError **error)
{
  return write_output (data, length, ((Relay *)user_data)->output, error);
}

static void
relay_progress (guint64 bytes, gpointer user_data)
{
  Relay *relay = user_data;

  if (relay->progress != NULL)
    relay->progress (bytes, relay->user_data);
}

static gboolean
run_recompress (DifferArchive *self, GVariant *request, int blob_fd, Relay *relay, char **ret_diff_id,
                GError **error)
{
  WorkerJob job = { .server = self->server,
                    .request = request,
                    .blob_fd = blob_fd,
                    .data_func = relay_output,
                    .progress_func = relay_progress,
                    .user_data = relay };
  guint64 size;

  return gantry_ingest_truncate (relay->output->ingest, 0, relay->output->cancellable, error)
         && worker_run (&job, ret_diff_id, &size, relay->output->cancellable, error);
}

static gboolean
drop_output (gconstpointer data, gsize length, gpointer user_data, GError **error)
{
  return TRUE;
}

/* What the layer is when it is unpacked, and nothing else. */
static gboolean
find_diff_id (DifferArchive *self, int blob_fd, Relay *relay, char **ret_diff_id, GError **error)
{
  g_autoptr (GVariant) request = make_recompress_request (self, PACK_PLAIN);
  WorkerJob job = { .server = self->server,
                    .request = request,
                    .blob_fd = blob_fd,
                    .data_func = drop_output,
                    .progress_func = relay_progress,
                    .user_data = relay };
  guint64 size;

  return worker_run (&job, ret_diff_id, &size, relay->output->cancellable, error);
}

static gboolean
recompress (GantryDiffer *differ, GantryDescriptor *layer, GantryContent *content, const char *media_type,
            const char *ref, GantryDifferProgressFunc progress, gpointer user_data,
            GantryDescriptor **ret_layer, char **ret_diff_id, GCancellable *cancellable, GError **error)
{
  DifferArchive *self = (DifferArchive *)differ;
  g_autoptr (GantryIngest) ingest = NULL;
  g_autoptr (GVariant) request = NULL;
  g_autofree char *diff_id = NULL, *digest = NULL;
  gantry_autofd int fd = -1;
  PackCompression compression = PACK_PLAIN;
  Output output = { .cancellable = cancellable };
  Relay relay = { &output, progress, user_data };

  if (!can_apply (differ, layer->media_type))
    return gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED, "layers of media type %s can't be read",
                         layer->media_type != NULL ? layer->media_type : "(none)");
  if ((ref != NULL && !find_compression (media_type, &compression, error))
      || !gantry_content_open_blob (content, layer->digest, &fd, NULL, cancellable, error))
    return FALSE;
  if (ref == NULL)
    return find_diff_id (self, fd, &relay, ret_diff_id, error);
  if (!gantry_content_open_ingest (content, ref, 0, NULL, &ingest, cancellable, error))
    return FALSE;
  request = make_recompress_request (self, compression);
  output.ingest = ingest;
  if (!run_recompress (self, request, fd, &relay, &diff_id, error)
      || !commit_output (&output, content, NULL, diff_id, &digest, error))
    {
      g_clear_pointer (&ingest, gantry_ingest_unref);
      /* As for compare. */
      gantry_content_abort_ingest (content, ref, NULL, NULL);
      return FALSE;
    }
  *ret_layer = gantry_descriptor_new (media_type, digest, output.size, NULL);
  *ret_diff_id = g_steal_pointer (&diff_id);
  return TRUE;
}

static const GantryDifferVtable vtable = {
  .size = sizeof vtable,
  .can_apply = can_apply,
  .apply = apply,
  .compare = compare,
  .recompress = recompress,
  .settle = differ_archive_settle,
};

GantryDiffer *
differ_archive_new (const char *program, const UnpackLimits *limits, GMainContext *context)
{
  DifferArchive *self = g_new0 (DifferArchive, 1);

  self->differ.vtable = &vtable;
  self->server = fork_server_new (program, context);
  self->limits = *limits;
  return &self->differ;
}

void
differ_archive_free (GantryDiffer *differ)
{
  DifferArchive *self = (DifferArchive *)differ;

  if (self == NULL)
    return;
  fork_server_free (self->server);
  g_free (self);
}
