/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * gantry-unpack: a server that forks workers, each of which applies one layer, or makes one, in a sandbox.
 * Started by differ-archive; not a program for people.
 */
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/crypto.h>

#include "fdio.h"
#include "pack-changes.h"
#include "pack-encode.h"
#include "pack-layer.h"
#include "unpack-common.h"
#include "unpack-extract.h"
#include "unpack-mount.h"
#include "unpack-sandbox.h"
#include "unpack-server.h"

static void
answer (guint8 kind, guint64 number, const char *text)
{
  g_autofree char *valid = g_utf8_make_valid (text, -1);
  g_autoptr (GVariant) variant = g_variant_ref_sink (g_variant_new ("(yts)", kind, number, valid));
  ssize_t n;

  do
    n = send (UNPACK_SOCKET_FD, g_variant_get_data (variant), g_variant_get_size (variant), MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  /* Nobody waits for the result any more. */
  if (n < 0)
    _exit (2);
}

static void
answer_progress (guint64 bytes, gpointer user_data)
{
  answer (UNPACK_ANSWER_PROGRESS, bytes, "");
}

static void
answer_error (const GError *error)
{
  int code = gantry_error_classify (error);

  answer (UNPACK_ANSWER_ERROR, code < 0 ? GANTRY_ERROR_INTERNAL : (guint64)code, error->message);
}

static GVariant *
receive_request (GError **error)
{
  g_autofree char *buffer = g_malloc (UNPACK_MAX_PACKET);
  g_autoptr (GBytes) bytes = NULL;
  ssize_t n = recv (UNPACK_SOCKET_FD, buffer, UNPACK_MAX_PACKET, 0);

  if (n <= 0)
    {
      gantry_throw_errno (error, n < 0 ? errno : EPIPE, "receiving the request");
      return NULL;
    }
  bytes = g_bytes_new (buffer, (gsize)n);
  return g_variant_ref_sink (g_variant_new_from_bytes (UNPACK_REQUEST_TYPE, bytes, FALSE));
}

static void
read_limits (GVariant *request, UnpackLimits *limits)
{
  for (const UnpackLimitName *entry = unpack_limit_names; entry->name != NULL; entry++)
    g_variant_lookup (request, entry->name, "t", &UNPACK_LIMIT (limits, entry));
}

static GPtrArray *
read_mounts (GVariant *request, const char *key, GError **error)
{
  g_autoptr (GVariant) mounts = g_variant_lookup_value (request, key, UNPACK_MOUNTS_TYPE);

  if (mounts == NULL || g_variant_n_children (mounts) == 0)
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "there are no mounts to work on");
      return NULL;
    }
  return unpack_mounts_from_variant (mounts);
}

static gboolean
read_id_map (GVariant *request, const char *key, GArray *map, GError **error)
{
  const char *text = NULL;

  return !g_variant_lookup (request, key, "&s", &text) || unpack_id_map_parse (text, map, error);
}

static gboolean
open_target (GPtrArray *mounts, gboolean rebase, UnpackTarget *target, GError **error)
{
  UnpackMount *mount = g_ptr_array_index (mounts, 0);

  target->lower_fd = -1;
  target->flavor = UNPACK_PLAIN;
  target->opaque_xattr = "trusted.overlay.opaque";
  if (rebase)
    {
      target->flavor = UNPACK_OVERLAY;
      target->lower_fd = UNPACK_LOWER_UNKNOWN;
    }
  if (rebase || !unpack_mounts_are_overlay (mounts))
    {
      target->root_fd = unpack_mount_all ("root", mounts, FALSE, error);
      return target->root_fd >= 0;
    }
  target->flavor = UNPACK_OVERLAY;
  if (unpack_mount_get_option (mount, "userxattr") != NULL)
    target->opaque_xattr = "user.overlay.opaque";
  target->root_fd = unpack_mount_upper ("root", mount, FALSE, error);
  if (target->root_fd < 0)
    return FALSE;
  target->lower_fd = unpack_mount_lower ("lower", mount, error);
  return target->lower_fd >= 0;
}

/* Names the directories that were made without knowing what they are below, and are still there. */
static void
answer_implied (int root_fd, GHashTable *implied, gboolean root_entry)
{
  GHashTableIter iter;
  gpointer path;

  if (!root_entry)
    answer (UNPACK_ANSWER_IMPLIED, 0, ".");
  g_hash_table_iter_init (&iter, implied);
  while (g_hash_table_iter_next (&iter, &path, NULL))
    {
      gantry_autofd int fd = gantry_open_no_links (root_fd, path, O_PATH | O_DIRECTORY, 0);

      if (fd >= 0)
        answer (UNPACK_ANSWER_IMPLIED, 0, path);
    }
}

static gboolean
apply (GVariant *request, const UnpackLimits *limits, GError **error)
{
  g_autoptr (GPtrArray) mounts = read_mounts (request, "mounts", error);
  g_autoptr (GArray) uid_map = g_array_new (FALSE, FALSE, sizeof (UnpackIdRange));
  g_autoptr (GArray) gid_map = g_array_new (FALSE, FALSE, sizeof (UnpackIdRange));
  UnpackTarget target = { .uid_map = uid_map, .gid_map = gid_map, .sync = TRUE, .limits = *limits };
  g_autoptr (UnpackStream) stream = NULL;
  g_autofree char *digest = NULL;
  g_autoptr (GHashTable) implied = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  g_auto (GStrv) only = NULL;
  gboolean rebase = FALSE, root_entry = FALSE;
  guint64 size;

  g_variant_lookup (request, "sync", "b", &target.sync);
  g_variant_lookup (request, "rebase", "b", &rebase);
  g_variant_lookup (request, "only", "^as", &only);
  target.implied = rebase ? implied : NULL;
  target.only = only;
  if (mounts == NULL || !read_id_map (request, "uid-map", uid_map, error)
      || !read_id_map (request, "gid-map", gid_map, error))
    return FALSE;
  if (!unpack_mount_isolate (error) || !open_target (mounts, rebase, &target, error)
      || !unpack_mount_enter (error) || !unpack_sandbox_close (error))
    return FALSE;
  stream = unpack_stream_new (UNPACK_BLOB_FD, limits->max_bytes, answer_progress, NULL);
  if (!unpack_extract (&target, stream, &digest, &size, &root_entry, error))
    return FALSE;
  if (target.implied != NULL)
    answer_implied (target.root_fd, implied, root_entry);
  answer (UNPACK_ANSWER_DONE, size, digest);
  return TRUE;
}

/* Whether @lower is what the overlay @upper shows below its upperdir. */
static gboolean
is_below (GPtrArray *lower, GPtrArray *upper)
{
  const char *wanted = unpack_mount_get_option (g_ptr_array_index (upper, 0), "lowerdir");
  const UnpackMount *mount = lower->len == 1 ? g_ptr_array_index (lower, 0) : NULL;

  if (mount == NULL || mount->target[0] != '\0')
    return FALSE;
  if (strcmp (mount->type, "overlay") == 0)
    return unpack_mount_get_option (mount, "upperdir") == NULL
           && g_strcmp0 (unpack_mount_get_option (mount, "lowerdir"), wanted) == 0;
  return (strcmp (mount->type, "bind") == 0 || unpack_mount_get_option (mount, "bind") != NULL
          || unpack_mount_get_option (mount, "rbind") != NULL)
         && strcmp (mount->source, wanted) == 0;
}

/* The trees that are compared. */
typedef struct
{
  int lower_fd; /* or -1: nothing */
  int upper_fd;
  int upperdir_fd; /* or -1: upper_fd is no overlay, or of other lower directories */
} Trees;

static gboolean
open_trees (GPtrArray *lower, GPtrArray *upper, Trees *trees, GError **error)
{
  if (lower->len > 0)
    {
      trees->lower_fd = unpack_mount_all ("lower", lower, TRUE, error);
      if (trees->lower_fd < 0)
        return FALSE;
    }
  if (unpack_mounts_are_overlay (upper) && is_below (lower, upper))
    {
      trees->upperdir_fd = unpack_mount_upper ("upperdir", g_ptr_array_index (upper, 0), TRUE, error);
      if (trees->upperdir_fd < 0)
        return FALSE;
    }
  trees->upper_fd = unpack_mount_all ("upper", upper, TRUE, error);
  return trees->upper_fd >= 0;
}

static GPtrArray *
find_changes (const Trees *trees, const UnpackLimits *limits, GError **error)
{
  gboolean unsure = FALSE;
  GPtrArray *changes;

  if (trees->upperdir_fd < 0)
    return pack_changes_compare (trees->lower_fd, trees->upper_fd, limits, error);
  changes = pack_changes_of_upper (trees->upperdir_fd, limits, &unsure, error);
  return unsure ? pack_changes_compare (trees->lower_fd, trees->upper_fd, limits, error) : changes;
}

static gboolean
write_layer (const Trees *trees, PackCompression compression, gint64 epoch, const UnpackLimits *limits,
             GError **error)
{
  g_autoptr (GPtrArray) changes = find_changes (trees, limits, error);
  g_autoptr (PackEncoder) encoder = NULL;
  g_autofree char *digest = NULL;
  guint64 size;

  if (changes == NULL || !pack_changes_add_root (trees->lower_fd, trees->upper_fd, changes, error))
    return FALSE;
  encoder = pack_encoder_new (UNPACK_BLOB_FD, compression, limits->max_bytes, error);
  /* What changed is read through the overlay itself, whoever found it. */
  if (encoder == NULL || !pack_layer_write (trees->upper_fd, changes, epoch, limits, encoder, error)
      || !pack_encoder_finish (encoder, &digest, &size, error))
    return FALSE;
  answer (UNPACK_ANSWER_DONE, size, digest);
  return TRUE;
}

static gboolean
compare (GVariant *request, const UnpackLimits *limits, GError **error)
{
  g_autoptr (GVariant) lower_variant = g_variant_lookup_value (request, "lower", UNPACK_MOUNTS_TYPE);
  g_autoptr (GPtrArray) upper = read_mounts (request, "upper", error);
  g_autoptr (GPtrArray) lower = NULL;
  Trees trees = { -1, -1, -1 };
  guint32 compression = PACK_PLAIN;
  gint64 epoch = -1;

  if (upper == NULL)
    return FALSE;
  lower = lower_variant != NULL ? unpack_mounts_from_variant (lower_variant) : g_ptr_array_new ();
  g_variant_lookup (request, "compression", "u", &compression);
  g_variant_lookup (request, "source-date-epoch", "x", &epoch);
  return unpack_mount_isolate (error) && open_trees (lower, upper, &trees, error)
         && unpack_mount_enter (error) && unpack_sandbox_close (error)
         && write_layer (&trees, compression, epoch, limits, error);
}

static gboolean
copy_tar (UnpackStream *stream, PackEncoder *encoder, GError **error)
{
  const guint8 *data;
  gsize length;

  do
    if (!unpack_stream_next (stream, &data, &length, error)
        || (length > 0 && !pack_encoder_write (encoder, data, length, error)))
      return FALSE;
  while (length > 0);
  return TRUE;
}

/* The same tar in another compression. */
static gboolean
recompress (GVariant *request, const UnpackLimits *limits, GError **error)
{
  g_autoptr (UnpackStream) stream = NULL;
  g_autoptr (PackEncoder) encoder = NULL;
  g_autofree char *digest = NULL, *written = NULL;
  guint32 compression = PACK_PLAIN;
  guint64 size;

  g_variant_lookup (request, "compression", "u", &compression);
  if (!unpack_mount_isolate (error) || !unpack_mount_enter (error) || !unpack_sandbox_close (error))
    return FALSE;
  encoder = pack_encoder_new (UNPACK_OUTPUT_FD, compression, limits->max_bytes, error);
  if (encoder == NULL)
    return FALSE;
  stream = unpack_stream_new (UNPACK_BLOB_FD, limits->max_bytes, answer_progress, NULL);
  if (!copy_tar (stream, encoder, error) || !unpack_stream_finish (stream, &digest, &size, error)
      || !pack_encoder_finish (encoder, &written, &size, error))
    return FALSE;
  answer (UNPACK_ANSWER_DONE, size, digest);
  return TRUE;
}

static gboolean
run (GError **error)
{
  UnpackLimits limits = UNPACK_LIMITS_INIT;
  g_autoptr (GVariant) request = receive_request (error);
  const char *operation = "";

  if (request == NULL)
    return FALSE;
  read_limits (request, &limits);
  g_variant_lookup (request, "operation", "&s", &operation);
  if (!unpack_sandbox_begin (&limits, error))
    return FALSE;
  if (strcmp (operation, "apply") == 0)
    return apply (request, &limits, error);
  if (strcmp (operation, "compare") == 0)
    return compare (request, &limits, error);
  if (strcmp (operation, "recompress") == 0)
    return recompress (request, &limits, error);
  return gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED, "the unpack worker has no operation \"%s\"",
                       operation);
}

int
main (int argc, char *argv[])
{
  g_autoptr (GError) error = NULL;
  struct stat st;

  if (fstat (UNPACK_SERVER_FD, &st) < 0 || !S_ISSOCK (st.st_mode))
    {
      fprintf (stderr, "gantry-unpack is started by gantryd to unpack layers; it can't be run by hand\n");
      return 64;
    }
  /* Names in the C locale would have to be ASCII. */
  setlocale (LC_CTYPE, "C.UTF-8");
  OPENSSL_init_crypto (OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
  unpack_server_run ();
  if (!run (&error))
    answer_error (error);
  /* Not exit (): there is nothing to flush, and handlers would make calls that are not allowed. */
  _exit (error != NULL ? 1 : 0);
}
