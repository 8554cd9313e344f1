/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "differ.h"

#include "fdio.h"
#include "worker.h"

#define LAYER_TAR "application/vnd.oci.image.layer.v1.tar"

typedef struct
{
  GantryDiffer differ;
  char *program;
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
      || !copy_option (options, "sync", G_VARIANT_TYPE_BOOLEAN, &request, error))
    return NULL;
  return g_variant_ref_sink (g_variant_dict_end (&request));
}

static gboolean
apply (GantryDiffer *differ, GantryDescriptor *layer, GantryContent *content, GPtrArray *mounts,
       GVariant *options, GantryDifferProgressFunc progress, gpointer user_data, GantryDescriptor **ret_diff,
       GCancellable *cancellable, GError **error)
{
  DifferArchive *self = (DifferArchive *)differ;
  WorkerJob job = { .program = self->program, .progress_func = progress, .user_data = user_data };
  g_autoptr (GVariant) request = NULL;
  g_autofree char *digest = NULL;
  gantry_autofd int fd = -1;
  guint64 blob_size, size;

  if (!can_apply (differ, layer->media_type))
    return gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED, "layers of media type %s can't be unpacked",
                         layer->media_type != NULL ? layer->media_type : "(none)");
  if (mounts->len == 0)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "there are no mounts to unpack layer %s to",
                         layer->digest);
  request = make_apply_request (self, mounts, options, error);
  if (request == NULL
      || !gantry_content_open_blob (content, layer->digest, &fd, &blob_size, cancellable, error))
    return FALSE;
  job.request = request;
  job.blob_fd = fd;
  if (!worker_run (&job, &digest, &size, cancellable, error))
    {
      g_prefix_error (error, "unpacking layer %s: ", layer->digest);
      return FALSE;
    }
  *ret_diff = gantry_descriptor_new (LAYER_TAR, digest, size, NULL);
  return TRUE;
}

static const GantryDifferVtable vtable = {
  .size = sizeof vtable,
  .can_apply = can_apply,
  .apply = apply,
};

GantryDiffer *
differ_archive_new (const char *program, const UnpackLimits *limits)
{
  DifferArchive *self = g_new0 (DifferArchive, 1);

  self->differ.vtable = &vtable;
  self->program = g_strdup (program);
  self->limits = *limits;
  return &self->differ;
}

void
differ_archive_free (GantryDiffer *differ)
{
  DifferArchive *self = (DifferArchive *)differ;

  if (self == NULL)
    return;
  g_free (self->program);
  g_free (self);
}
