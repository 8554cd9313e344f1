/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Pushing: blobs by mount, in one request or in chunks; manifests; the referrers' tag where a registry keeps
 * no referrers. */
#include <string.h>

#include "registry-oci.h"

typedef struct
{
  GantryDescriptor *blob;
  int fd;
  const char *const *mount_from;
  guint64 chunk_size;
  GantryPushProgressFunc progress;
  gpointer user_data;
  guint64 base; /* what earlier chunks have sent */
  GantryPushed how;
  char *what;
} BlobPush;

static void
on_progress (guint64 bytes, gpointer data)
{
  BlobPush *push = data;

  if (push->progress != NULL)
    push->progress (push->base + bytes, push->user_data);
}

static gboolean
is_there (OciRepository *self, guint index, const char *digest, gboolean *ret_there,
          GCancellable *cancellable, GError **error)
{
  g_autofree char *path = repository_path (self, "blobs", digest);
  Ask ask = { .method = "HEAD", .path = path, .actions = "pull,push" };
  g_autoptr (HttpReply) reply = host_ask (self, index, &ask, cancellable, error);

  if (reply == NULL)
    return FALSE;
  *ret_there = http_reply_get_status (reply) == 200;
  return TRUE;
}

/* Where the upload goes on: the answer's Location, which must stay at the host or be as safe as it is. */
static char *
get_location (OciRepository *self, guint index, const char *url, HttpReply *reply, GError **error)
{
  RegistryHost *host = g_ptr_array_index (self->hosts, index);
  const char *location = http_reply_get_header (reply, "Location");
  g_autofree char *next
      = location != NULL ? g_uri_resolve_relative (url, location, SOUP_HTTP_URI_FLAGS, NULL) : NULL;

  if (next != NULL && host_allows_url (host, host->base, next, error))
    return g_steal_pointer (&next);
  if (next == NULL)
    gantry_throw (error, GANTRY_ERROR_UNAVAILABLE, "it does not say where to upload to");
  host_prefix (self, index, error);
  return NULL;
}

static char *
with_digest (const char *url, const char *digest)
{
  g_autofree char *escaped = g_uri_escape_string (digest, NULL, FALSE);

  return g_strconcat (url, strchr (url, '?') != NULL ? "&" : "?", "digest=", escaped, NULL);
}

/* Begins an upload. @mount_from: (nullable). *@ret_url is NULL if the blob was mounted. */
static gboolean
begin_upload (OciRepository *self, guint index, BlobPush *push, const char *mount_from, char **ret_url,
              GCancellable *cancellable, GError **error)
{
  RegistryHost *host = g_ptr_array_index (self->hosts, index);
  g_autofree char *plain = repository_path (self, "blobs", "uploads/");
  g_autofree char *mount = NULL, *url = NULL;
  g_autoptr (GBytes) nothing = g_bytes_new_static ("", 0);
  Ask ask = {
    .method = "POST", .path = plain, .actions = "pull,push", .body = nothing, .mount_from = mount_from
  };
  g_autoptr (HttpReply) reply = NULL;

  if (mount_from != NULL)
    ask.path = mount = g_strconcat (plain, "?mount=", push->blob->digest, "&from=", mount_from, NULL);
  reply = host_ask (self, index, &ask, cancellable, error);
  if (reply == NULL)
    return FALSE;
  if (mount_from != NULL && http_reply_get_status (reply) == 201)
    return TRUE;
  if (http_reply_get_status (reply) != 202)
    return host_throw (self, index, push->what, reply, cancellable, error);
  url = g_strconcat (host->base, ask.path, NULL);
  *ret_url = get_location (self, index, url, reply, error);
  return *ret_url != NULL;
}

/* Ends an upload that is not wanted. */
static void
abort_upload (OciRepository *self, guint index, const char *url)
{
  Ask ask = { .method = "DELETE", .path = (char *)url, .actions = "pull,push", .once = TRUE };
  g_autoptr (HttpReply) reply = host_ask (self, index, &ask, NULL, NULL);

  if (reply == NULL)
    g_debug ("an upload was left to the registry, which ends it by itself");
}

/* The registry has the blob now, or says why not. */
static gboolean
check_created (OciRepository *self, guint index, BlobPush *push, HttpReply *reply, GCancellable *cancellable,
               GError **error)
{
  guint status = http_reply_get_status (reply);
  const char *digest = http_reply_get_header (reply, "Docker-Content-Digest");

  if (status != 201 && status != 204)
    {
      g_autoptr (GError) local = NULL;

      host_throw (self, index, push->what, reply, cancellable, &local);
      /* What it computes is not what was promised. */
      if (status == 400 && strstr (local->message, "DIGEST_INVALID") != NULL)
        local->code = GANTRY_ERROR_DATA_LOSS;
      g_propagate_error (error, g_steal_pointer (&local));
      return FALSE;
    }
  if (digest == NULL || strcmp (digest, push->blob->digest) == 0)
    return TRUE;
  gantry_throw (error, GANTRY_ERROR_DATA_LOSS, "%s: the registry has it as %.200s", push->what, digest);
  host_prefix (self, index, error);
  return FALSE;
}

static gboolean
send_whole (OciRepository *self, guint index, BlobPush *push, const char *url, GCancellable *cancellable,
            GError **error)
{
  g_autofree char *put = with_digest (url, push->blob->digest);
  Ask ask = { .method = "PUT",
              .path = put,
              .actions = "pull,push",
              .content_type = "application/octet-stream",
              .bulk = TRUE,
              .once = TRUE,
              .has_fd = TRUE,
              .fd = push->fd,
              .length = push->blob->blob_size,
              .progress = on_progress,
              .user_data = push };
  g_autoptr (HttpReply) reply = NULL;

  push->base = 0;
  reply = host_ask (self, index, &ask, cancellable, error);
  return reply != NULL && check_created (self, index, push, reply, cancellable, error);
}

/* "0-1023", what the registry has of an upload, as the number of bytes. "0-0" is said for none and for one.
 */
static guint64
read_range_end (HttpReply *reply, guint64 expected)
{
  const char *range = http_reply_get_header (reply, "Range");
  const char *dash = range != NULL ? strchr (range, '-') : NULL;
  guint64 last;

  if (dash == NULL || !g_ascii_string_to_unsigned (dash + 1, 10, 0, G_MAXINT64, &last, NULL))
    return expected;
  return last == 0 && expected != 1 ? 0 : last + 1;
}

static gboolean
send_chunk (OciRepository *self, guint index, BlobPush *push, char **url, guint64 *offset,
            GCancellable *cancellable, GError **error)
{
  guint64 length = MIN (push->chunk_size, push->blob->blob_size - *offset);
  g_autofree char *range
      = g_strdup_printf ("%" G_GUINT64_FORMAT "-%" G_GUINT64_FORMAT, *offset, *offset + length - 1);
  Ask ask = { .method = "PATCH",
              .path = *url,
              .actions = "pull,push",
              .content_type = "application/octet-stream",
              .content_range = range,
              .bulk = TRUE,
              .once = TRUE,
              .has_fd = TRUE,
              .fd = push->fd,
              .offset = *offset,
              .length = length,
              .progress = on_progress,
              .user_data = push };
  g_autoptr (HttpReply) reply = NULL;
  char *next;

  push->base = *offset;
  reply = host_ask (self, index, &ask, cancellable, error);
  if (reply == NULL)
    return FALSE;
  if (http_reply_get_status (reply) != 202)
    return host_throw (self, index, push->what, reply, cancellable, error);
  next = get_location (self, index, *url, reply, error);
  if (next == NULL)
    return FALSE;
  g_free (*url);
  *url = next;
  *offset = MIN (read_range_end (reply, *offset + length), push->blob->blob_size);
  return TRUE;
}

/* Asks how far an upload is after a break. */
static gboolean
ask_offset (OciRepository *self, guint index, BlobPush *push, char **url, guint64 *offset,
            GCancellable *cancellable, GError **error)
{
  Ask ask = { .method = "GET", .path = *url, .actions = "pull,push" };
  g_autoptr (HttpReply) reply = host_ask (self, index, &ask, cancellable, error);
  char *next;

  if (reply == NULL)
    return FALSE;
  if (http_reply_get_status (reply) != 204)
    return host_throw (self, index, push->what, reply, cancellable, error);
  next = get_location (self, index, *url, reply, error);
  if (next == NULL)
    return FALSE;
  g_free (*url);
  *url = next;
  *offset = MIN (read_range_end (reply, 0), push->blob->blob_size);
  return TRUE;
}

static gboolean
send_chunks (OciRepository *self, guint index, BlobPush *push, const char *start, GCancellable *cancellable,
             GError **error)
{
  g_autofree char *url = g_strdup (start), *put = NULL;
  g_autoptr (GBytes) nothing = g_bytes_new_static ("", 0);
  g_autoptr (HttpReply) reply = NULL;
  Ask ask = { .method = "PUT", .actions = "pull,push", .body = nothing, .once = TRUE };
  guint64 offset = 0;
  guint failures = 0;

  while (offset < push->blob->blob_size)
    {
      g_autoptr (GError) local = NULL;
      guint64 before = offset;

      if (send_chunk (self, index, push, &url, &offset, cancellable, &local))
        {
          failures = offset > before ? 0 : failures + 1;
          if (failures < self->registry->attempts)
            continue;
          gantry_throw (&local, GANTRY_ERROR_UNAVAILABLE,
                        "%s: the registry takes no more of it at byte %" G_GUINT64_FORMAT, push->what,
                        offset);
        }
      if (!gantry_error_is (local, GANTRY_ERROR_UNAVAILABLE) || ++failures >= self->registry->attempts)
        {
          g_propagate_error (error, g_steal_pointer (&local));
          return FALSE;
        }
      if (!pause_ms (self->registry->backoff_ms << MIN (failures - 1, 5), cancellable, error)
          || !ask_offset (self, index, push, &url, &offset, cancellable, error))
        return FALSE;
    }
  ask.path = put = with_digest (url, push->blob->digest);
  reply = host_ask (self, index, &ask, cancellable, error);
  return reply != NULL && check_created (self, index, push, reply, cancellable, error);
}

static gboolean
upload (OciRepository *self, guint index, BlobPush *push, char *url, GCancellable *cancellable,
        GError **error)
{
  gboolean chunks = push->chunk_size > 0 && push->chunk_size < push->blob->blob_size;
  gboolean sent = chunks ? send_chunks (self, index, push, url, cancellable, error)
                         : send_whole (self, index, push, url, cancellable, error);

  if (!sent && g_cancellable_is_cancelled (cancellable))
    abort_upload (self, index, url);
  push->how = GANTRY_PUSHED_UPLOADED;
  return sent;
}

/* A break throws away what was sent of a blob in one request: it begins again. */
static gboolean
upload_again (OciRepository *self, guint index, BlobPush *push, char *url, GCancellable *cancellable,
              GError **error)
{
  g_autofree char *own = url;

  for (guint attempt = 0;; attempt++)
    {
      g_autoptr (GError) local = NULL;

      if (own == NULL && !begin_upload (self, index, push, NULL, &own, cancellable, error))
        return FALSE;
      if (upload (self, index, push, own, cancellable, &local))
        return TRUE;
      g_clear_pointer (&own, g_free);
      if (!gantry_error_is (local, GANTRY_ERROR_UNAVAILABLE) || attempt + 1 >= self->registry->attempts)
        {
          g_propagate_error (error, g_steal_pointer (&local));
          return FALSE;
        }
      if (!pause_ms (self->registry->backoff_ms << MIN (attempt, 5), cancellable, error))
        return FALSE;
    }
}

static gboolean
push_blob_to (OciRepository *self, guint index, gpointer data, GCancellable *cancellable, GError **error)
{
  BlobPush *push = data;
  g_autofree char *url = NULL;
  gboolean there = FALSE;

  push->how = GANTRY_PUSHED_EXISTS;
  if (!is_there (self, index, push->blob->digest, &there, cancellable, error))
    return FALSE;
  if (there)
    return TRUE;
  for (gsize i = 0; push->mount_from != NULL && push->mount_from[i] != NULL && url == NULL; i++)
    {
      g_autoptr (GError) local = NULL;

      if (begin_upload (self, index, push, push->mount_from[i], &url, cancellable, &local))
        {
          push->how = GANTRY_PUSHED_MOUNTED;
          if (url == NULL)
            return TRUE;
          /* It was not there, and this upload is as good as any; but another repository may have it. */
          if (push->mount_from[i + 1] != NULL)
            {
              abort_upload (self, index, url);
              g_clear_pointer (&url, g_free);
            }
        }
      else if (gantry_error_is (local, GANTRY_ERROR_CANCELLED))
        {
          g_propagate_error (error, g_steal_pointer (&local));
          return FALSE;
        }
    }
  return upload_again (self, index, push, g_steal_pointer (&url), cancellable, error);
}

gboolean
repository_push_blob (GantryRepository *repository, GantryDescriptor *blob, int fd,
                      const char *const *mount_from, GVariant *options, GantryPushProgressFunc progress,
                      gpointer user_data, GantryPushed *ret_how, GCancellable *cancellable, GError **error)
{
  OciRepository *self = (OciRepository *)repository;
  g_autofree char *what = g_strconcat ("blob ", blob->digest, NULL);
  BlobPush push = { .blob = blob,
                    .fd = fd,
                    .mount_from = mount_from,
                    .progress = progress,
                    .user_data = user_data,
                    .what = what };

  if (options != NULL)
    g_variant_lookup (options, "chunk-size", "t", &push.chunk_size);
  if (!gantry_reference_check_digest (blob->digest, error)
      || !repository_try (self, CAN_PUSH, push_blob_to, &push, cancellable, error))
    return FALSE;
  if (ret_how != NULL)
    *ret_how = push.how;
  return TRUE;
}

typedef struct
{
  const char *reference, *media_type;
  GBytes *bytes;
  char *digest;
  gboolean has_subject, subject_known;
} ManifestPush;

static gboolean
push_manifest_to (OciRepository *self, guint index, gpointer data, GCancellable *cancellable, GError **error)
{
  ManifestPush *push = data;
  const char *name = push->reference != NULL ? push->reference : push->digest;
  g_autofree char *path = repository_path (self, "manifests", name);
  g_autofree char *what = g_strconcat ("manifest ", name, NULL);
  Ask ask = { .method = "PUT",
              .path = path,
              .actions = "pull,push",
              .content_type = push->media_type,
              .body = push->bytes };
  g_autoptr (HttpReply) reply = host_ask (self, index, &ask, cancellable, error);
  const char *digest;

  if (reply == NULL)
    return FALSE;
  if (http_reply_get_status (reply) != 201)
    return host_throw (self, index, what, reply, cancellable, error);
  push->subject_known = http_reply_get_header (reply, "OCI-Subject") != NULL;
  digest = http_reply_get_header (reply, "Docker-Content-Digest");
  if (digest == NULL || strcmp (digest, push->digest) == 0 || !g_str_has_prefix (digest, "sha256:"))
    return TRUE;
  gantry_throw (error, GANTRY_ERROR_DATA_LOSS, "%s: the registry has it as %.200s instead of %s", what,
                digest, push->digest);
  host_prefix (self, index, error);
  return FALSE;
}

gboolean
repository_push_manifest (GantryRepository *repository, const char *reference, const char *media_type,
                          GBytes *bytes, GantryDescriptor **ret_descriptor, GCancellable *cancellable,
                          GError **error)
{
  OciRepository *self = (OciRepository *)repository;
  g_autofree char *hex = g_compute_checksum_for_bytes (G_CHECKSUM_SHA256, bytes);
  g_autofree char *digest = g_strconcat ("sha256:", hex, NULL);
  ManifestPush push = { .reference = reference, .media_type = media_type, .bytes = bytes, .digest = digest };
  g_autoptr (GantryDescriptor) descriptor
      = gantry_descriptor_new (media_type, digest, g_bytes_get_size (bytes), NULL);

  if (reference != NULL && !gantry_reference_check_tag (reference, error))
    return FALSE;
  if (g_bytes_get_size (bytes) > MAX_DOCUMENT)
    return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED,
                         "%s: a manifest of %" G_GSIZE_FORMAT " bytes is not pushed; registries take %d",
                         self->name, g_bytes_get_size (bytes), MAX_DOCUMENT);
  if (!repository_try (self, CAN_PUSH, push_manifest_to, &push, cancellable, error))
    return FALSE;
  if (!push.subject_known && !referrers_add (self, descriptor, bytes, cancellable, error))
    return FALSE;
  if (ret_descriptor != NULL)
    *ret_descriptor = g_steal_pointer (&descriptor);
  return TRUE;
}
