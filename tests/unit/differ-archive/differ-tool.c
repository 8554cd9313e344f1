/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Drives differ-archive without a daemon, for the Python tests and the benchmark:
 *
 *     differ-tool WORKER apply LAYER TYPE SOURCE OPTIONS [KEY=VALUE…]
 *     differ-tool WORKER compare LAYER MEDIA-TYPE LOWER UPPER [KEY=VALUE…]
 *     differ-tool WORKER apply-all LAYER DIRECTORY [LAYER DIRECTORY…]
 *
 * OPTIONS are a mount's, comma-separated. KEY is a limit, "uid-map", "gid-map", "sync", "rebase" or "below":
 * the directories of the layers, topmost first and with ":" between, that what is rebased is settled on.
 * Prints the DiffID and the size, or an error as "CODE: message" with exit status 1. apply-all applies all
 * layers at once, and prints "DIRECTORY ok" or "DIRECTORY CODE: message" when one has ended.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "differ.h"
#include "fdio.h"

typedef struct
{
  GantryContent content;
  const char *path;
} FileContent;

static gboolean
open_blob (GantryContent *content, const char *digest, int *ret_fd, guint64 *ret_size,
           GCancellable *cancellable, GError **error)
{
  FileContent *self = (FileContent *)content;
  int fd = open (self->path, O_RDONLY | O_CLOEXEC);
  struct stat st;

  if (fd < 0 || fstat (fd, &st) < 0)
    return gantry_throw_errno (error, errno, "opening %s", self->path);
  *ret_fd = fd;
  *ret_size = (guint64)st.st_size;
  return TRUE;
}

/* One ingest: the file itself. */
typedef struct
{
  GantryIngest ingest;
  int fd;
  GChecksum *checksum;
} FileIngest;

static void
ingest_unref (GantryIngest *ingest)
{
  FileIngest *self = (FileIngest *)ingest;

  gantry_fd_clear (&self->fd);
  g_checksum_free (self->checksum);
  g_free (self);
}

static gboolean
ingest_write (GantryIngest *ingest, gconstpointer data, gsize length, GCancellable *cancellable,
              GError **error)
{
  FileIngest *self = (FileIngest *)ingest;

  g_checksum_update (self->checksum, data, (gssize)length);
  return gantry_write_all (self->fd, data, length, error);
}

static gboolean
ingest_truncate (GantryIngest *ingest, guint64 offset, GCancellable *cancellable, GError **error)
{
  return TRUE;
}

static gboolean
ingest_commit (GantryIngest *ingest, guint64 expected_size, const char *expected_digest, GVariant *labels,
               char **ret_digest, GCancellable *cancellable, GError **error)
{
  FileIngest *self = (FileIngest *)ingest;

  printf ("%s ", gantry_labels_lookup (labels, "containerd.io/uncompressed"));
  *ret_digest = g_strconcat ("sha256:", g_checksum_get_string (self->checksum), NULL);
  return TRUE;
}

static const GantryIngestVtable ingest_vtable = {
  .size = sizeof ingest_vtable,
  .unref = ingest_unref,
  .write = ingest_write,
  .truncate = ingest_truncate,
  .commit = ingest_commit,
};

static gboolean
open_ingest (GantryContent *content, const char *ref, guint64 total, const char *expected_digest,
             GantryIngest **ret_ingest, GCancellable *cancellable, GError **error)
{
  FileIngest *self = g_new0 (FileIngest, 1);

  self->ingest.vtable = &ingest_vtable;
  self->fd = open (((FileContent *)content)->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  self->checksum = g_checksum_new (G_CHECKSUM_SHA256);
  *ret_ingest = &self->ingest;
  return self->fd >= 0 || gantry_throw_errno (error, errno, "creating the layer");
}

static gboolean
abort_ingest (GantryContent *content, const char *ref, GCancellable *cancellable, GError **error)
{
  return unlink (((FileContent *)content)->path) == 0
         || gantry_throw_errno (error, errno, "removing the layer");
}

static const GantryContentVtable content_vtable = {
  .size = sizeof content_vtable,
  .open_blob = open_blob,
  .open_ingest = open_ingest,
  .abort_ingest = abort_ingest,
};

static gboolean
parse_setting (const char *text, UnpackLimits *limits, GVariantDict *options)
{
  g_auto (GStrv) parts = g_strsplit (text, "=", 2);

  if (g_strv_length (parts) != 2)
    return FALSE;
  for (const UnpackLimitName *entry = unpack_limit_names; entry->name != NULL; entry++)
    if (strcmp (parts[0], entry->name) == 0)
      {
        UNPACK_LIMIT (limits, entry) = g_ascii_strtoull (parts[1], NULL, 10);
        return TRUE;
      }
  if (strcmp (parts[0], "sync") == 0 || strcmp (parts[0], "rebase") == 0)
    g_variant_dict_insert (options, parts[0], "b", strcmp (parts[1], "yes") == 0);
  else if (strcmp (parts[0], "source-date-epoch") == 0)
    g_variant_dict_insert (options, parts[0], "x", g_ascii_strtoll (parts[1], NULL, 10));
  else
    g_variant_dict_insert (options, parts[0], "s", parts[1]);
  return TRUE;
}

static GPtrArray *
parse_mounts (const char *type, const char *source, const char *options)
{
  GPtrArray *mounts = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_mount_unref);
  g_auto (GStrv) list = g_strsplit (options, ",", -1);

  g_ptr_array_add (mounts, gantry_mount_new (type, source, NULL, (const char *const *)list));
  return mounts;
}

static gboolean
settle (GantryDiffer *differ, GantryDescriptor *diff, const char *below, GPtrArray *mounts, GError **error)
{
  g_autofree char *lower = g_strconcat ("lowerdir=", below, NULL);
  g_autoptr (GPtrArray) lowers = parse_mounts ("overlay", "overlay", lower);

  return gantry_differ_settle (differ, diff, lowers, mounts, NULL, error);
}

static gboolean
apply (char *argv[], GError **error)
{
  UnpackLimits limits = UNPACK_LIMITS_INIT;
  g_auto (GVariantDict) dict = G_VARIANT_DICT_INIT (NULL);
  FileContent content = { .content.vtable = &content_vtable, .path = argv[3] };
  g_autoptr (GPtrArray) mounts = parse_mounts (argv[4], argv[5], argv[6]);
  g_autoptr (GantryDescriptor) layer
      = gantry_descriptor_new ("application/vnd.oci.image.layer.v1.tar+gzip", "sha256:test", 0, NULL);
  g_autoptr (GantryDescriptor) diff = NULL;
  g_autoptr (GVariant) options = NULL;
  GantryDiffer *differ;
  const char *below;
  gboolean ok;

  for (int i = 7; argv[i] != NULL; i++)
    if (!parse_setting (argv[i], &limits, &dict))
      return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "%s is not KEY=VALUE", argv[i]);
  options = g_variant_ref_sink (g_variant_dict_end (&dict));
  differ = differ_archive_new (argv[1], &limits, NULL);
  ok = gantry_differ_apply (differ, layer, &content.content, mounts, options, NULL, NULL, &diff, NULL, error);
  if (ok && g_variant_lookup (options, "below", "&s", &below))
    ok = settle (differ, diff, below, mounts, error);
  differ_archive_free (differ);
  if (ok)
    printf ("%s %" G_GUINT64_FORMAT "\n", diff->digest, diff->blob_size);
  return ok;
}

/* One of the layers of apply-all. */
typedef struct
{
  GantryDiffer *differ;
  char *layer;
  char *directory;
} Application;

static gpointer
apply_one (gpointer data)
{
  Application *self = data;
  FileContent content = { .content.vtable = &content_vtable, .path = self->layer };
  g_autoptr (GPtrArray) mounts = parse_mounts ("bind", self->directory, "rbind");
  g_autoptr (GantryDescriptor) layer
      = gantry_descriptor_new ("application/vnd.oci.image.layer.v1.tar+gzip", "sha256:test", 0, NULL);
  g_autoptr (GantryDescriptor) diff = NULL;
  g_autoptr (GError) error = NULL;

  if (gantry_differ_apply (self->differ, layer, &content.content, mounts, NULL, NULL, NULL, &diff, NULL,
                           &error))
    printf ("%s ok\n", self->directory);
  else
    printf ("%s %s: %s\n", self->directory, gantry_error_code_to_name (gantry_error_classify (error)),
            error->message);
  return NULL;
}

static gboolean
apply_all (char *argv[], GError **error)
{
  UnpackLimits limits = UNPACK_LIMITS_INIT;
  GantryDiffer *differ = differ_archive_new (argv[1], &limits, NULL);
  g_autoptr (GArray) all = g_array_new (FALSE, FALSE, sizeof (Application));
  g_autofree GThread **threads = NULL;

  setvbuf (stdout, NULL, _IOLBF, 0);
  for (int i = 3; argv[i] != NULL && argv[i + 1] != NULL; i += 2)
    g_array_append_vals (all, &(Application){ differ, argv[i], argv[i + 1] }, 1);
  threads = g_new (GThread *, all->len);
  for (guint i = 0; i < all->len; i++)
    threads[i] = g_thread_new ("apply", apply_one, &g_array_index (all, Application, i));
  for (guint i = 0; i < all->len; i++)
    g_thread_join (threads[i]);
  differ_archive_free (differ);
  return TRUE;
}

static GPtrArray *
parse_tree (const char *text)
{
  g_auto (GStrv) parts = g_strsplit (text, "|", 3);

  if (g_strv_length (parts) != 3)
    return g_ptr_array_new ();
  return parse_mounts (parts[0], parts[1], parts[2]);
}

static gboolean
compare (char *argv[], GError **error)
{
  UnpackLimits limits = UNPACK_LIMITS_INIT;
  g_auto (GVariantDict) dict = G_VARIANT_DICT_INIT (NULL);
  FileContent content = { .content.vtable = &content_vtable, .path = argv[3] };
  g_autoptr (GPtrArray) lower = parse_tree (argv[5]);
  g_autoptr (GPtrArray) upper = parse_tree (argv[6]);
  g_autoptr (GantryDescriptor) layer = NULL;
  g_autoptr (GVariant) options = NULL;
  GantryDiffer *differ;
  gboolean ok;

  for (int i = 7; argv[i] != NULL; i++)
    if (!parse_setting (argv[i], &limits, &dict))
      return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "%s is not KEY=VALUE", argv[i]);
  options = g_variant_ref_sink (g_variant_dict_end (&dict));
  differ = differ_archive_new (argv[1], &limits, NULL);
  ok = gantry_differ_compare (differ, lower, upper, argv[4], &content.content, "test", NULL, options, &layer,
                              NULL, error);
  differ_archive_free (differ);
  if (ok)
    printf ("%s %" G_GUINT64_FORMAT "\n", layer->digest, layer->blob_size);
  return ok;
}

int
main (int argc, char *argv[])
{
  g_autoptr (GError) error = NULL;

  gboolean (*operation) (char **, GError **) = NULL;

  if (argc >= 7 && strcmp (argv[2], "apply") == 0)
    operation = apply;
  if (argc >= 7 && strcmp (argv[2], "compare") == 0)
    operation = compare;
  if (argc >= 5 && strcmp (argv[2], "apply-all") == 0)
    operation = apply_all;
  if (operation != NULL && operation (argv, &error))
    return 0;
  if (operation != NULL)
    {
      fprintf (stderr, "%s: %s\n", gantry_error_code_to_name (gantry_error_classify (error)), error->message);
      return 1;
    }
  fprintf (stderr, "usage: differ-tool WORKER apply LAYER TYPE SOURCE OPTIONS [KEY=VALUE…]\n"
                   "       differ-tool WORKER compare LAYER MEDIA-TYPE LOWER UPPER [KEY=VALUE…]\n"
                   "       differ-tool WORKER apply-all LAYER DIRECTORY [LAYER DIRECTORY…]\n");
  return 64;
}
