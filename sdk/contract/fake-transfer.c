/* SPDX-License-Identifier: MIT */
#include "fake-transfer.h"

#include <string.h>
#include <unistd.h>

#include "fake-support.h"

#define MAGIC       "fake image "
#define MAX_ARCHIVE 4096
#define MANIFEST    "application/vnd.oci.image.manifest.v1+json"

typedef struct
{
  GantryTransfer transfer;
  GantryMetadata *metadata;
} FakeTransfer;

static gboolean
check_job (GantryJob *job, GCancellable *cancellable, GError **error)
{
  return gantry_fake_check_cancelled (cancellable, error)
         && gantry_fake_check_cancelled (gantry_job_get_cancellable (job), error);
}

static gboolean
check_options (GVariant *options, GError **error)
{
  g_autoptr (GVariant) first = NULL;
  const char *key;

  if (options == NULL || g_variant_n_children (options) == 0)
    return TRUE;
  first = g_variant_get_child_value (options, 0);
  g_variant_get_child (first, 0, "&s", &key);
  return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the fake does not know the option \"%s\"", key);
}

/* The name in the archive at @fd. Returns: (transfer full) (nullable). */
static char *
read_name (int fd, GError **error)
{
  char text[MAX_ARCHIVE + 1];
  gsize length = 0;
  gssize n;

  while (length < MAX_ARCHIVE && (n = read (fd, text + length, MAX_ARCHIVE - length)) > 0)
    length += (gsize)n;
  text[length] = '\0';
  if (!g_str_has_prefix (text, MAGIC) || text[strlen (MAGIC)] == '\0')
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "this is not a fake's archive");
      return NULL;
    }
  return g_strdup (g_strchomp (text + strlen (MAGIC)));
}

static gboolean
transfer_import (GantryTransfer *transfer, GantryJob *job, const char *ns, int fd, GVariant *options,
                 char ***ret_names, GCancellable *cancellable, GError **error)
{
  FakeTransfer *self = (FakeTransfer *)transfer;
  g_autofree char *name = NULL;
  g_autofree char *hex = NULL;
  g_autofree char *digest = NULL;
  g_autoptr (GantryDescriptor) target = NULL;
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GantryChange) change = NULL;
  g_auto (GVariantDict) fields = G_VARIANT_DICT_INIT (NULL);
  const char *names[] = { NULL, NULL };

  if (!check_job (job, cancellable, error) || !check_options (options, error)
      || (name = read_name (fd, error)) == NULL)
    return FALSE;
  hex = g_compute_checksum_for_string (G_CHECKSUM_SHA256, name, -1);
  digest = g_strconcat ("sha256:", hex, NULL);
  target = gantry_descriptor_new (MANIFEST, digest, strlen (name), NULL);
  g_variant_dict_insert_value (&fields, "target", gantry_descriptor_to_variant (target));
  record = gantry_record_new (GANTRY_KIND_IMAGE, ns, name, NULL, g_variant_dict_end (&fields));
  change = gantry_change_new (GANTRY_CHANGE_PUT, record);
  if (!gantry_metadata_apply_one (self->metadata, change, NULL, cancellable, error))
    return FALSE;
  names[0] = name;
  *ret_names = g_strdupv ((char **)names);
  return TRUE;
}

static gboolean
transfer_export (GantryTransfer *transfer, GantryJob *job, const char *ns, const char *const *names, int fd,
                 GVariant *options, GCancellable *cancellable, GError **error)
{
  FakeTransfer *self = (FakeTransfer *)transfer;

  if (!check_job (job, cancellable, error) || !check_options (options, error))
    return FALSE;
  if (names[0] == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "name at least one image");
  for (gsize i = 0; names[i] != NULL; i++)
    {
      g_autoptr (GantryRecord) record = NULL;
      g_autofree char *line = g_strconcat (MAGIC, names[i], "\n", NULL);

      if (!gantry_metadata_get (self->metadata, GANTRY_KIND_IMAGE, ns, names[i], &record, cancellable, error))
        return FALSE;
      if (write (fd, line, strlen (line)) != (gssize)strlen (line))
        return gantry_throw_errno (error, errno, "writing the archive of %s", names[i]);
    }
  return TRUE;
}

static gboolean
transfer_unpack (GantryTransfer *transfer, GantryJob *job, const char *ns, const char *name,
                 GVariant *options, char **ret_chain_id, GCancellable *cancellable, GError **error)
{
  FakeTransfer *self = (FakeTransfer *)transfer;
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GantryDescriptor) target = NULL;

  if (!check_job (job, cancellable, error) || !check_options (options, error)
      || !gantry_metadata_get (self->metadata, GANTRY_KIND_IMAGE, ns, name, &record, cancellable, error))
    return FALSE;
  target = gantry_record_get_target (record);
  if (ret_chain_id != NULL)
    *ret_chain_id = g_strdup (target->digest);
  return TRUE;
}

static gboolean
transfer_inspect (GantryTransfer *transfer, const char *ns, const char *name, const char *platform,
                  GVariant **ret_details, GCancellable *cancellable, GError **error)
{
  g_autoptr (GantryRecord) record = NULL;
  g_autoptr (GantryDescriptor) target = NULL;
  g_auto (GVariantDict) details = G_VARIANT_DICT_INIT (NULL);

  (void)platform;
  if (!gantry_metadata_get (((FakeTransfer *)transfer)->metadata, GANTRY_KIND_IMAGE, ns, name, &record,
                            cancellable, error))
    return FALSE;
  target = gantry_record_get_target (record);
  g_variant_dict_insert (&details, "name", "s", name);
  g_variant_dict_insert_value (&details, "target", gantry_descriptor_to_variant (target));
  *ret_details = g_variant_ref_sink (g_variant_dict_end (&details));
  return TRUE;
}

/* There is nothing in a fake's image to convert. */
static gboolean
transfer_convert (GantryTransfer *transfer, GantryJob *job, const char *ns, const char *name,
                  const char *new_name, GVariant *options, GantryDescriptor **ret_target,
                  GCancellable *cancellable, GError **error)
{
  FakeTransfer *self = (FakeTransfer *)transfer;
  g_autoptr (GantryRecord) record = NULL, copy = NULL;
  g_autoptr (GantryChange) change = NULL;

  if (!check_job (job, cancellable, error) || !check_options (options, error)
      || !gantry_metadata_get (self->metadata, GANTRY_KIND_IMAGE, ns, name, &record, cancellable, error))
    return FALSE;
  copy = gantry_record_new (GANTRY_KIND_IMAGE, ns, new_name, record->labels, record->fields);
  change = gantry_change_new (GANTRY_CHANGE_PUT, copy);
  if (!gantry_metadata_apply_one (self->metadata, change, NULL, cancellable, error))
    return FALSE;
  if (ret_target != NULL)
    *ret_target = gantry_record_get_target (record);
  return TRUE;
}

/* A fake's image has no programs. */
static gboolean
transfer_install (GantryTransfer *transfer, GantryJob *job, const char *ns, const char *name,
                  GVariant *options, GVariant **ret_result, GCancellable *cancellable, GError **error)
{
  g_autoptr (GantryRecord) record = NULL;

  (void)ret_result;
  if (!check_job (job, cancellable, error) || !check_options (options, error)
      || !gantry_metadata_get (((FakeTransfer *)transfer)->metadata, GANTRY_KIND_IMAGE, ns, name, &record,
                               cancellable, error))
    return FALSE;
  return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "the image %s has nothing in bin to install", name);
}

static const GantryTransferVtable vtable = {
  .size = sizeof vtable,
  .import = transfer_import,
  .do_export = transfer_export,
  .unpack = transfer_unpack,
  .inspect = transfer_inspect,
  .convert = transfer_convert,
  .install = transfer_install,
};

GantryTransfer *
gantry_fake_transfer_new (GantryMetadata *metadata)
{
  FakeTransfer *self = g_new0 (FakeTransfer, 1);

  self->transfer.vtable = &vtable;
  self->metadata = metadata;
  return &self->transfer;
}

void
gantry_fake_transfer_free (GantryTransfer *transfer)
{
  g_free (transfer);
}
