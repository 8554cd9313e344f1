/* SPDX-License-Identifier: MIT */
#include "fake-differ.h"

#include <string.h>
#include <unistd.h>

#include "fake-support.h"
#include "trees.h"

#define TAR   "application/vnd.oci.image.layer.v1.tar"
#define BLOCK 512

typedef struct
{
  GantryDiffer differ;
} FakeDiffer;

static const char *const media_types[]
    = { TAR, TAR "+gzip", "application/vnd.docker.image.rootfs.diff.tar.gzip", NULL };

static gboolean
can_apply (GantryDiffer *differ, const char *media_type)
{
  return g_strv_contains (media_types, media_type);
}

/* Reading. */

/* Removes @path and what is below it, or with @below_only just that, unless it is in @own (nullable). */
static void
remove_below (GHashTable *tree, const char *path, gboolean below_only, GHashTable *own)
{
  g_autofree char *prefix = path[0] != '\0' ? g_strconcat (path, "/", NULL) : g_strdup ("");
  GHashTableIter iter;
  gpointer name;

  g_hash_table_iter_init (&iter, tree);
  while (g_hash_table_iter_next (&iter, &name, NULL))
    if ((g_str_has_prefix (name, prefix) || (!below_only && strcmp (name, path) == 0))
        && (own == NULL || !g_hash_table_contains (own, name)))
      g_hash_table_iter_remove (&iter);
}

static void
add_parents (GHashTable *tree, const char *path)
{
  for (const char *slash = strchr (path, '/'); slash != NULL; slash = strchr (slash + 1, '/'))
    {
      g_autofree char *parent = g_strndup (path, (gsize)(slash - path));

      if (g_strcmp0 (g_hash_table_lookup (tree, parent), "dir") != 0)
        g_hash_table_replace (tree, g_steal_pointer (&parent), g_strdup ("dir"));
    }
}

static void
put_entry (GHashTable *tree, GHashTable *own, const char *path, char *what)
{
  const char *slash = strrchr (path, '/');
  const char *base = slash != NULL ? slash + 1 : path;
  g_autofree char *directory = g_strndup (path, (gsize)(base - path - (slash != NULL)));

  if (strcmp (base, ".wh..wh..opq") == 0)
    {
      remove_below (tree, directory, TRUE, own);
      g_free (what);
      return;
    }
  if (g_str_has_prefix (base, ".wh."))
    {
      g_autofree char *gone = g_build_filename (directory, base + strlen (".wh."), NULL);

      remove_below (tree, gone, FALSE, own);
      g_free (what);
      return;
    }
  add_parents (tree, path);
  if (strcmp (what, "dir") != 0)
    remove_below (tree, path, TRUE, NULL);
  g_hash_table_add (own, g_strdup (path));
  g_hash_table_replace (tree, g_strdup (path), what);
}

static gboolean
is_good_header (const guint8 *header)
{
  unsigned sum = 8 * ' ';

  for (gsize i = 0; i < BLOCK; i++)
    sum += i >= 148 && i < 156 ? 0 : header[i];
  return strtoul ((const char *)header + 148, NULL, 8) == sum;
}

/* Whether @name is at or below one of @only (nullable: of anything). *@ret_wanted. */
static gboolean
check_only (const char *name, char type, const char *const *only, gboolean *ret_wanted, GError **error)
{
  const char *relative = name[0] == '/' ? name + 1 : name;
  g_autofree char *first = g_strndup (relative, strcspn (relative, "/"));

  *ret_wanted = only == NULL || g_strv_contains (only, first);
  if (only == NULL || !*ret_wanted)
    return TRUE;
  if (name[0] == '/' || (type != '5' && (type != '0' || strchr (name, '/') == NULL)))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "layer entry \"%s\": only directories and files below them are taken", name);
  return TRUE;
}

static gboolean
apply_entry (GHashTable *tree, GHashTable *own, const char *const *only, const guint8 *header,
             const guint8 *data, gsize length, GError **error)
{
  gboolean wanted;
  g_autofree char *name = g_strndup ((const char *)header, 100);
  g_auto (GStrv) parts = g_strsplit (name, "/", -1);
  gsize end = strlen (name);

  if (g_strv_contains ((const char *const *)parts, ".."))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                         "layer entry \"%s\": its name leaves the root directory", name);
  while (end > 0 && name[end - 1] == '/')
    name[--end] = '\0';
  if (!check_only (name, (char)header[156], only, &wanted, error))
    return FALSE;
  if (!wanted)
    return TRUE;
  if (header[156] == '5')
    put_entry (tree, own, name, g_strdup ("dir"));
  else if (header[156] == '2')
    put_entry (tree, own, name, g_strdup_printf ("link:%.100s", (const char *)header + 157));
  else
    put_entry (tree, own, name, g_strdup_printf ("file:%.*s", (int)length, (const char *)data));
  return TRUE;
}

static gboolean
apply_tar (GHashTable *tree, const char *const *only, const guint8 *data, gsize length, GError **error)
{
  g_autoptr (GHashTable) own = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  gsize at = 0;

  while (at + BLOCK <= length && data[at] != 0)
    {
      gsize size = strtoul ((const char *)data + at + 124, NULL, 8);

      if (!is_good_header (data + at))
        return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the layer is not a tar archive");
      if (size > length - at - BLOCK)
        return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the layer is truncated");
      if (!apply_entry (tree, own, only, data + at, data + at + BLOCK, size, error))
        return FALSE;
      at += BLOCK + (size + BLOCK - 1) / BLOCK * BLOCK;
    }
  return TRUE;
}

static GBytes *
read_blob (GantryContent *content, const char *digest, GCancellable *cancellable, GError **error)
{
  g_autofree guint8 *data = NULL;
  guint64 size;
  ssize_t n;
  int fd;

  if (!gantry_content_open_blob (content, digest, &fd, &size, cancellable, error))
    return NULL;
  data = g_malloc (size + 1);
  n = pread (fd, data, size, 0);
  close (fd);
  if (n != (ssize_t)size)
    {
      gantry_throw (error, GANTRY_ERROR_DATA_LOSS, "content %s is short", digest);
      return NULL;
    }
  return g_bytes_new_take (g_steal_pointer (&data), size);
}

static gboolean
check_option (GVariant *options, const char *key, const char *type, GError **error)
{
  g_autoptr (GVariant) value = options != NULL ? g_variant_lookup_value (options, key, NULL) : NULL;

  if (value != NULL && !g_variant_is_of_type (value, G_VARIANT_TYPE (type)))
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the option %s is not of type %s", key, type);
  if (value != NULL && type[0] == 's' && strchr (g_variant_get_string (value, NULL), ':') == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "\"%s\" is not an id map",
                         g_variant_get_string (value, NULL));
  return TRUE;
}

static gboolean
apply (GantryDiffer *differ, GantryDescriptor *layer, GantryContent *content, GPtrArray *mounts,
       GVariant *options, GantryDifferProgressFunc progress, gpointer user_data, GantryDescriptor **ret_diff,
       GCancellable *cancellable, GError **error)
{
  g_autoptr (GVariant) kept = gantry_variant_keep (options);
  g_autoptr (GBytes) bytes = NULL;
  g_autofree char *hex = NULL;
  g_autofree char *digest = NULL;
  g_autofree const char **only = NULL;
  GHashTable *tree;
  gboolean ok;

  if (!can_apply (differ, layer->media_type))
    return gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED, "layers of media type %s can't be applied",
                         layer->media_type);
  if (g_cancellable_is_cancelled (cancellable))
    return gantry_throw (error, GANTRY_ERROR_CANCELLED, "applying was cancelled");
  if (!check_option (kept, "uid-map", "s", error) || !check_option (kept, "gid-map", "s", error)
      || !check_option (kept, "sync", "b", error) || !check_option (kept, "only", "as", error))
    return FALSE;
  if (kept != NULL)
    g_variant_lookup (kept, "only", "^a&s", &only);
  bytes = read_blob (content, layer->digest, cancellable, error);
  if (bytes == NULL)
    return FALSE;
  gantry_fake_trees_lock ();
  tree = gantry_fake_tree_get (mounts);
  ok = tree != NULL ? apply_tar (tree, only, g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), error)
                    : gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "these are not a fake's mounts");
  gantry_fake_trees_unlock ();
  if (!ok)
    return FALSE;
  if (progress != NULL)
    progress (g_bytes_get_size (bytes), user_data);
  if (!gantry_fake_check_cancelled (cancellable, error))
    return FALSE;
  hex = g_compute_checksum_for_bytes (G_CHECKSUM_SHA256, bytes);
  digest = g_strconcat ("sha256:", hex, NULL);
  *ret_diff = gantry_descriptor_new (TAR, digest, g_bytes_get_size (bytes), NULL);
  return TRUE;
}

/* Writing. */

static void
append_entry (GByteArray *tar, const char *name, const char *what)
{
  const char *text = strchr (what, ':') != NULL ? strchr (what, ':') + 1 : "";
  gboolean is_file = what[0] == 'f';
  char header[BLOCK] = { 0 };
  unsigned sum = 8 * ' ';

  g_strlcpy (header, name, 100);
  memcpy (header + 100, "0000755", 8);
  memcpy (header + 108, "0000000", 8);
  memcpy (header + 116, "0000000", 8);
  g_snprintf (header + 124, 12, "%011o", is_file ? (unsigned)strlen (text) : 0);
  g_snprintf (header + 136, 12, "%011o", 0);
  header[156] = is_file ? '0' : what[0] == 'd' ? '5' : '2';
  if (!is_file)
    g_strlcpy (header + 157, text, 100);
  memcpy (header + 257,
          "ustar\0"
          "00",
          8);
  for (gsize i = 0; i < BLOCK; i++)
    sum += (guint8)header[i];
  g_snprintf (header + 148, 8, "%06o", sum);
  g_byte_array_append (tar, (const guint8 *)header, BLOCK);
  if (is_file)
    g_byte_array_append (tar, (const guint8 *)text, (guint)strlen (text));
  while (tar->len % BLOCK != 0)
    g_byte_array_append (tar, (const guint8 *)"", 1);
}

/* Whether a parent of @path is gone too, so that one whiteout does for both. */
static gboolean
goes_with_parent (GHashTable *upper, const char *path)
{
  const char *slash = strrchr (path, '/');
  g_autofree char *parent = slash != NULL ? g_strndup (path, (gsize)(slash - path)) : NULL;

  return parent != NULL && g_strcmp0 (g_hash_table_lookup (upper, parent), "dir") != 0;
}

static GByteArray *
make_layer (GHashTable *lower, GHashTable *upper)
{
  static const guint8 end[2 * BLOCK];
  g_autoptr (GList) added = g_list_sort (g_hash_table_get_keys (upper), (GCompareFunc)strcmp);
  g_autoptr (GList) removed = g_list_sort (g_hash_table_get_keys (lower), (GCompareFunc)strcmp);
  GByteArray *tar = g_byte_array_new ();

  for (GList *l = removed; l != NULL; l = l->next)
    if (!g_hash_table_contains (upper, l->data) && !goes_with_parent (upper, l->data))
      {
        g_autofree char *directory = g_path_get_dirname (l->data);
        g_autofree char *base = g_path_get_basename (l->data);
        g_autofree char *name = strcmp (directory, ".") == 0 ? g_strconcat (".wh.", base, NULL)
                                                             : g_strconcat (directory, "/.wh.", base, NULL);

        append_entry (tar, name, "file:");
      }
  for (GList *l = added; l != NULL; l = l->next)
    if (g_strcmp0 (g_hash_table_lookup (lower, l->data), g_hash_table_lookup (upper, l->data)) != 0)
      append_entry (tar, l->data, g_hash_table_lookup (upper, l->data));
  g_byte_array_append (tar, end, sizeof end);
  return tar;
}

static GVariant *
with_label (GVariant *labels, const char *diff_id)
{
  GVariantBuilder builder;
  GVariantIter iter;
  const char *key, *value;

  g_variant_builder_init (&builder, G_VARIANT_TYPE ("a{ss}"));
  if (labels != NULL)
    {
      g_variant_iter_init (&iter, labels);
      while (g_variant_iter_next (&iter, "{&s&s}", &key, &value))
        g_variant_builder_add (&builder, "{ss}", key, value);
    }
  g_variant_builder_add (&builder, "{ss}", "containerd.io/uncompressed", diff_id);
  return g_variant_builder_end (&builder);
}

static gboolean
store_layer (GByteArray *tar, GantryContent *content, const char *ref, GVariant *labels,
             GantryDescriptor **ret_layer, GCancellable *cancellable, GError **error)
{
  g_autofree char *hex = g_compute_checksum_for_data (G_CHECKSUM_SHA256, tar->data, tar->len);
  g_autofree char *diff_id = g_strconcat ("sha256:", hex, NULL);
  g_autofree char *digest = NULL;
  g_autoptr (GantryIngest) ingest = NULL;
  g_autoptr (GError) local = NULL;

  if (!gantry_content_open_ingest (content, ref, 0, NULL, &ingest, cancellable, error)
      || !gantry_ingest_truncate (ingest, 0, cancellable, error)
      || !gantry_ingest_write (ingest, tar->data, tar->len, cancellable, error))
    return FALSE;
  if (!gantry_ingest_commit (ingest, tar->len, NULL, with_label (labels, diff_id), &digest, cancellable,
                             &local)
      && !gantry_error_is (local, GANTRY_ERROR_ALREADY_EXISTS))
    {
      g_propagate_error (error, g_steal_pointer (&local));
      return FALSE;
    }
  *ret_layer = gantry_descriptor_new (TAR, digest, tar->len, NULL);
  return TRUE;
}

static gboolean
compare (GantryDiffer *differ, GPtrArray *lower, GPtrArray *upper, const char *media_type,
         GantryContent *content, const char *ref, GVariant *labels, GVariant *options,
         GantryDescriptor **ret_layer, GCancellable *cancellable, GError **error)
{
  g_autoptr (GVariant) kept G_GNUC_UNUSED = gantry_variant_keep (options);
  g_autoptr (GByteArray) tar = NULL;
  GHashTable *lower_tree, *upper_tree;

  if (strcmp (media_type, TAR) != 0)
    return gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED, "layers of media type %s can't be made",
                         media_type);
  if (g_cancellable_is_cancelled (cancellable))
    return gantry_throw (error, GANTRY_ERROR_CANCELLED, "comparing was cancelled");
  gantry_fake_trees_lock ();
  lower_tree = gantry_fake_tree_get (lower);
  upper_tree = gantry_fake_tree_get (upper);
  if (lower_tree != NULL && upper_tree != NULL)
    tar = make_layer (lower_tree, upper_tree);
  gantry_fake_trees_unlock ();
  if (tar == NULL)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "these are not a fake's mounts");
  return store_layer (tar, content, ref, labels, ret_layer, cancellable, error);
}

static const GantryDifferVtable vtable = {
  .size = sizeof vtable,
  .can_apply = can_apply,
  .apply = apply,
  .compare = compare,
};

GantryDiffer *
gantry_fake_differ_new (void)
{
  FakeDiffer *self = g_new0 (FakeDiffer, 1);

  self->differ.vtable = &vtable;
  return &self->differ;
}

void
gantry_fake_differ_free (GantryDiffer *differ)
{
  g_free (differ);
}
