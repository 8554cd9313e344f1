/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Archives on streams. The transfer service reads and writes file descriptors: here they are pipes. */
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

/* How @store names what an archive has. Returns: (transfer floating). */
static GVariant *
import_options (const TYPES (ImageStore) * store)
{
  g_auto (GStrv) platforms = transfer_platforms (store->n_platforms, store->platforms);
  GVariantDict options;

  g_variant_dict_init (&options, NULL);
  if (store->name[0] != '\0')
    g_variant_dict_insert (&options, "name", "s", store->name);
  for (gsize i = 0; i < store->n_extra_references; i++)
    {
      const TYPES (ImageReference) *reference = store->extra_references[i];

      if (!reference->is_prefix)
        continue;
      g_variant_dict_insert (&options, "prefix", "s", reference->name);
      g_variant_dict_insert (&options, "digests", "b", (gboolean)reference->add_digest);
    }
  if (store->n_labels > 0)
    g_variant_dict_insert_value (&options, "labels", labels_from_entries (store->n_labels, store->labels));
  g_variant_dict_insert (&options, "platforms", "^as", platforms);
  g_variant_dict_insert (&options, "unpack", "b", FALSE);
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
  int write_fd = -1;

  if (stream == NULL || !make_pipe (&read_fd, &write_fd, error)
      || !stream_read_into (stream, write_fd, error))
    return FALSE;
  progress_tell (progress, "Importing", NULL);
  if (!gantry_transfer_import (call->api->transfer, progress_job (progress), call->ns, read_fd,
                               import_options (to), &names, call->cancellable, error))
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

gboolean
transfer_export (Call *call, Progress *progress, gconstpointer source, gconstpointer destination,
                 GError **error)
{
  const TYPES (ImageStore) *from = source;
  const TYPES (ImageExportStream) *to = destination;
  g_autoptr (Stream) stream = streams_find (call->api, call->ns, to->stream, error);
  g_autoptr (GPtrArray) names = g_ptr_array_new ();
  g_auto (GStrv) platforms = transfer_platforms (to->n_platforms, to->platforms);
  g_autoptr (GError) local = NULL;
  gantry_autofd int write_fd = -1;
  GVariantDict options;
  int read_fd = -1;

  if (stream == NULL)
    return FALSE;
  if (from->name[0] != '\0')
    g_ptr_array_add (names, from->name);
  for (gsize i = 0; i < from->n_extra_references; i++)
    if (!from->extra_references[i]->is_prefix)
      g_ptr_array_add (names, from->extra_references[i]->name);
  g_ptr_array_add (names, NULL);
  if (!make_pipe (&read_fd, &write_fd, error) || !stream_write_from (stream, read_fd, error))
    return FALSE;
  g_variant_dict_init (&options, NULL);
  if (platforms[0] != NULL && !to->all_platforms)
    g_variant_dict_insert (&options, "platforms", "^as", platforms);
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
