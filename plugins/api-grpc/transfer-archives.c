/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Archives on streams. The transfer service reads and writes file descriptors: here they are pipes. */
#include "platform.h"
#include "transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <string.h>
#include <unistd.h>

#include <fdio.h>

static gboolean
make_pipe (int *ret_read, int *ret_write, GError **error)
{
  int fds[2];

  if (pipe2 (fds, O_CLOEXEC) < 0)
    return gantry_throw_errno (error, errno, "making a pipe");
  *ret_read = fds[0];
  *ret_write = fds[1];
  return TRUE;
}

/* The prefixes of @store. Returns: (transfer floating): a(sbbb), as transfer.h has it. */
static GVariant *
references_of (const TYPES (ImageStore) * store)
{
  GVariantBuilder references;

  g_variant_builder_init (&references, G_VARIANT_TYPE ("a(sbbb)"));
  for (gsize i = 0; i < store->n_extra_references; i++)
    {
      const TYPES (ImageReference) *one = store->extra_references[i];

      if (!one->is_prefix)
        continue;
      g_variant_builder_add (&references, "(sbbb)", one->name, (gboolean)one->allow_overwrite,
                             (gboolean)one->add_digest, (gboolean)one->skip_named_digest);
    }
  return g_variant_builder_end (&references);
}

/* The archive's index is named by the store's name, and by what is no prefix. */
static const char *
index_name_of (const TYPES (ImageStore) * store)
{
  if (store->name[0] != '\0')
    return store->name;
  for (gsize i = 0; i < store->n_extra_references; i++)
    if (!store->extra_references[i]->is_prefix)
      return store->extra_references[i]->name;
  return NULL;
}

/* How @store names what an archive has. Returns: (transfer floating). */
static GVariant *
import_options (const TYPES (ImageImportStream) * stream, const TYPES (ImageStore) * store)
{
  g_auto (GStrv) platforms = transfer_platforms (store->n_platforms, store->platforms);
  const char *index_name = index_name_of (store);
  GVariantDict options;

  g_variant_dict_init (&options, NULL);
  if (index_name != NULL)
    g_variant_dict_insert (&options, "index-name", "s", index_name);
  /* Without any wish the archive names its images. */
  if (index_name != NULL || store->n_extra_references > 0)
    {
      g_variant_dict_insert_value (&options, "references", references_of (store));
      g_variant_dict_insert_value (&options, "reference-labels", transfer_extra_labels (store));
    }
  if (store->n_labels > 0)
    g_variant_dict_insert_value (&options, "labels", labels_from_entries (store->n_labels, store->labels));
  g_variant_dict_insert (&options, "platforms", "^as", platforms);
  g_variant_dict_insert (&options, "unpack", "b", FALSE);
  g_variant_dict_insert (&options, "compress", "b", (gboolean)stream->force_compress);
  return g_variant_dict_end (&options);
}

gboolean
transfer_import (Call *call, Progress *progress, gconstpointer source, gconstpointer destination,
                 GError **error)
{
  const TYPES (ImageImportStream) *from = source;
  const TYPES (ImageStore) *to = destination;
  g_autoptr (Stream) stream = streams_find (call->api, call->ns, from->stream, error);
  g_auto (GStrv) names = NULL;
  gantry_autofd int read_fd = -1;
  const char *index_name = index_name_of (to);
  int write_fd = -1;

  if (stream == NULL || !transfer_check_store (to, error) || !make_pipe (&read_fd, &write_fd, error)
      || !stream_read_into (stream, write_fd, error))
    return FALSE;
  progress_tell (progress, "Importing", NULL);
  if (!gantry_transfer_import (call->api->transfer, progress_job (progress), call->ns, read_fd,
                               import_options (from, to), &names, call->cancellable, error))
    return FALSE;
  if (index_name != NULL && !transfer_name_more (call, index_name, to, error))
    return FALSE;
  for (gsize i = 0; names[i] != NULL; i++)
    {
      progress_tell (progress, "saved", names[i]);
      if (!transfer_unpack (call, progress, names[i], to, error))
        return FALSE;
    }
  progress_tell (progress, "Completed import", NULL);
  return TRUE;
}

static gboolean
check_names (const TYPES (ImageStore) * store, GError **error)
{
  for (gsize i = 0; i < store->n_extra_references; i++)
    if (store->extra_references[i]->is_prefix)
      return gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED,
                           "extra_references: prefix lookup on export not implemented: \"%s\" is a prefix; "
                           "name the images",
                           store->extra_references[i]->name);
  return TRUE;
}

gboolean
transfer_export (Call *call, Progress *progress, gconstpointer source, gconstpointer destination,
                 GError **error)
{
  const TYPES (ImageStore) *from = source;
  const TYPES (ImageExportStream) *to = destination;
  g_autoptr (Stream) stream = streams_find (call->api, call->ns, to->stream, error);
  g_autoptr (GPtrArray) names = g_ptr_array_new ();
  g_auto (GStrv) platforms = transfer_platforms (to->n_platforms, to->platforms);
  g_autofree char *own = platform_to_text (own_platform (call));
  char *host[] = { own, NULL };
  g_autoptr (GError) local = NULL;
  gantry_autofd int write_fd = -1;
  GVariantDict options;
  int read_fd = -1;

  if (stream == NULL || !check_names (from, error))
    return FALSE;
  if (from->name[0] != '\0')
    g_ptr_array_add (names, from->name);
  for (gsize i = 0; i < from->n_extra_references; i++)
    g_ptr_array_add (names, from->extra_references[i]->name);
  g_ptr_array_add (names, NULL);
  if (!make_pipe (&read_fd, &write_fd, error) || !stream_write_from (stream, read_fd, error))
    return FALSE;
  g_variant_dict_init (&options, NULL);
  if (!to->all_platforms)
    g_variant_dict_insert (&options, "platforms", "^as", platforms[0] != NULL ? platforms : host);
  g_variant_dict_insert (&options, "non-distributable", "b", (gboolean)!to->skip_non_distributable);
  g_variant_dict_insert (&options, "docker", "b", (gboolean)!to->skip_compatibility_manifest);
  progress_tell (progress, "Exporting", NULL);
  if (!gantry_transfer_export (call->api->transfer, progress_job (progress), call->ns,
                               (const char *const *)names->pdata, write_fd, g_variant_dict_end (&options),
                               call->cancellable, &local))
    {
      stream_end (stream, local);
      g_propagate_error (error, g_steal_pointer (&local));
      return FALSE;
    }
  progress_tell (progress, "Completed export", NULL);
  return TRUE;
}
