/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Blobs as streams. A stream knows what it still wants and where it may get it: when a transfer breaks it
 * asks again by range, first the same host, then the next ones. */
#include <string.h>

#include "registry-oci.h"

typedef struct
{
  GInputStream parent;
  OciRepository *repository;
  GantryDescriptor *blob;
  char *what;
  guint64 position, end;
  gboolean part;    /* a range was asked for: a host must serve it */
  guint host;       /* asked now */
  guint failures;   /* at this host since the last byte */
  HttpReply *reply; /* (nullable) */
  guint64 to_drop;  /* bytes that come before what is wanted */
  gboolean exact;   /* the answer ends where we do */
  GString *earlier; /* what other hosts said */
} GantryRegistryBlobStream;

typedef struct
{
  GInputStreamClass parent_class;
} GantryRegistryBlobStreamClass;

static GType gantry_registry_blob_stream_get_type (void);

G_DEFINE_TYPE (GantryRegistryBlobStream, gantry_registry_blob_stream, G_TYPE_INPUT_STREAM)

/* The path of the blob at host @index: that of foreign layers is their URL. */
static char *
blob_path (OciRepository *self, guint index, const char *digest)
{
  RegistryHost *host = g_ptr_array_index (self->hosts, index);

  return host->foreign ? g_strdup ("") : repository_path (self, "blobs", digest);
}

/* Checks the whole size that the host names against the descriptor's. */
static gboolean
check_size (GantryRegistryBlobStream *self, guint64 size, GError **error)
{
  if (size == self->blob->blob_size)
    return TRUE;
  return gantry_throw (error, GANTRY_ERROR_DATA_LOSS,
                       "%s has %" G_GUINT64_FORMAT " bytes there instead of %" G_GUINT64_FORMAT, self->what,
                       size, self->blob->blob_size);
}

/* "bytes 5-9/10": it must begin where we asked and not end before. */
static gboolean
check_range (GantryRegistryBlobStream *self, const char *text, GError **error)
{
  goffset start, end, total;
  g_autoptr (SoupMessageHeaders) headers = soup_message_headers_new (SOUP_MESSAGE_HEADERS_RESPONSE);

  soup_message_headers_append (headers, "Content-Range", text != NULL ? text : "");
  if (text == NULL || !soup_message_headers_get_content_range (headers, &start, &end, &total) || start < 0
      || (guint64)start != self->position || (guint64)end + 1 < self->end)
    return gantry_throw (error, GANTRY_ERROR_UNAVAILABLE, "%s: it sends another range than was asked for",
                         self->what);
  return total < 0 || check_size (self, (guint64)total, error);
}

static gboolean
check_answer (GantryRegistryBlobStream *self, HttpReply *reply, gboolean ranged, GCancellable *cancellable,
              GError **error)
{
  guint status = http_reply_get_status (reply);
  guint64 length;

  self->to_drop = status == 200 ? self->position : 0;
  self->exact
      = http_reply_get_length (reply, &length) && length == self->to_drop + self->end - self->position;
  if (status == 206 && ranged)
    return check_range (self, http_reply_get_header (reply, "Content-Range"), error);
  if (status == 200 && self->part)
    return gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED, "%s: it does not serve ranges", self->what);
  if (status == 200)
    return !http_reply_get_length (reply, &length) || check_size (self, length, error);
  return FALSE;
}

/* Opens the rest at the current host. */
static gboolean
open_here (GantryRegistryBlobStream *self, GCancellable *cancellable, GError **error)
{
  OciRepository *repository = self->repository;
  g_autofree char *path = blob_path (repository, self->host, self->blob->digest);
  g_autofree char *range = NULL;
  gboolean ranged = self->part || self->position > 0;
  Ask ask = { .method = "GET", .path = path, .actions = "pull", .bulk = TRUE };
  g_autoptr (HttpReply) reply = NULL;
  g_autoptr (GError) local = NULL;

  if (ranged)
    ask.range = range
        = g_strdup_printf ("bytes=%" G_GUINT64_FORMAT "-%" G_GUINT64_FORMAT, self->position, self->end - 1);
  reply = host_ask (repository, self->host, &ask, cancellable, error);
  if (reply == NULL)
    return FALSE;
  if (check_answer (self, reply, ranged, cancellable, &local))
    {
      self->reply = g_steal_pointer (&reply);
      return TRUE;
    }
  if (local == NULL)
    return host_throw (repository, self->host, self->what, reply, cancellable, error);
  g_propagate_error (error, g_steal_pointer (&local));
  host_prefix (repository, self->host, error);
  return FALSE;
}

static gboolean
can_pull (GantryRegistryBlobStream *self)
{
  RegistryHost *host = g_ptr_array_index (self->repository->hosts, self->host);

  return (host->capabilities & CAN_PULL) != 0;
}

/* Goes to the next host, or fails with what @failure and the hosts before said. */
static gboolean
move_on (GantryRegistryBlobStream *self, GError *failure, GError **error)
{
  guint n_hosts = self->repository->hosts->len;

  self->failures = 0;
  do
    self->host++;
  while (self->host < n_hosts && !can_pull (self));
  if (self->host < n_hosts && host_error_moves_on (failure))
    {
      if (self->earlier->len < 2000)
        g_string_append_printf (self->earlier, "%s%s", self->earlier->len > 0 ? "; " : "", failure->message);
      g_error_free (failure);
      return TRUE;
    }
  if (self->earlier->len > 0)
    g_prefix_error (&failure, "%s; ", self->earlier->str);
  g_propagate_error (error, failure);
  return FALSE;
}

/* Opens the rest at this host or at one of the next. */
static gboolean
open_rest (GantryRegistryBlobStream *self, GCancellable *cancellable, GError **error)
{
  while (self->reply == NULL)
    {
      GError *local = NULL;

      if (!open_here (self, cancellable, &local) && !move_on (self, local, error))
        return FALSE;
    }
  return TRUE;
}

/* A transfer broke: pauses, so that the caller opens the rest again, or goes to the next host. */
static gboolean
recover (GantryRegistryBlobStream *self, GError *failure, GCancellable *cancellable, GError **error)
{
  RegistryOci *registry = self->repository->registry;

  g_clear_pointer (&self->reply, http_reply_free);
  if (gantry_error_is (failure, GANTRY_ERROR_CANCELLED))
    {
      g_propagate_error (error, failure);
      return FALSE;
    }
  g_prefix_error (&failure, "%s at byte %" G_GUINT64_FORMAT ": ", self->what, self->position);
  host_prefix (self->repository, self->host, &failure);
  if (++self->failures >= registry->attempts)
    return move_on (self, failure, error);
  g_error_free (failure);
  return pause_ms (registry->backoff_ms << MIN (self->failures - 1, 5), cancellable, error);
}

/* One read of the transfer under way: the wanted bytes, 0 if some were dropped, -1 with @error if it broke.
 */
static gssize
read_some (GantryRegistryBlobStream *self, guint8 *buffer, gsize size, GCancellable *cancellable,
           GError **error)
{
  gsize wanted = MIN (size, self->to_drop > 0 ? self->to_drop : self->end - self->position);
  gssize n = http_reply_read (self->reply, buffer, wanted, cancellable, error);

  if (n == 0)
    {
      gantry_throw (error, GANTRY_ERROR_UNAVAILABLE, "it ends too early");
      return -1;
    }
  if (n > 0 && self->to_drop > 0)
    {
      self->to_drop -= (guint64)n;
      return 0;
    }
  return n;
}

/* The connection serves again if its answer has been read to the end. */
static void
end_transfer (GantryRegistryBlobStream *self, GCancellable *cancellable)
{
  guint8 byte;

  if (self->reply != NULL && self->exact)
    http_reply_read (self->reply, &byte, 1, cancellable, NULL);
  g_clear_pointer (&self->reply, http_reply_free);
}

static gssize
blob_read (GInputStream *stream, void *buffer, gsize size, GCancellable *cancellable, GError **error)
{
  GantryRegistryBlobStream *self = (GantryRegistryBlobStream *)stream;
  GError *local = NULL;

  if (g_cancellable_set_error_if_cancelled (cancellable, error))
    return -1;
  while (self->position < self->end && size > 0)
    {
      gssize n;

      if (!open_rest (self, cancellable, error))
        return -1;
      n = read_some (self, buffer, size, cancellable, &local);
      if (n > 0)
        {
          self->position += (guint64)n;
          self->failures = 0;
          if (self->position == self->end)
            end_transfer (self, cancellable);
          return n;
        }
      if (n < 0 && !recover (self, g_steal_pointer (&local), cancellable, error))
        return -1;
    }
  return 0;
}

static gboolean
blob_close (GInputStream *stream, GCancellable *cancellable, GError **error)
{
  g_clear_pointer (&((GantryRegistryBlobStream *)stream)->reply, http_reply_free);
  return TRUE;
}

static void
blob_finalize (GObject *object)
{
  GantryRegistryBlobStream *self = (GantryRegistryBlobStream *)object;

  g_clear_pointer (&self->reply, http_reply_free);
  gantry_descriptor_unref (self->blob);
  g_string_free (self->earlier, TRUE);
  g_free (self->what);
  gantry_repository_unref ((GantryRepository *)self->repository);
  G_OBJECT_CLASS (gantry_registry_blob_stream_parent_class)->finalize (object);
}

static void
gantry_registry_blob_stream_class_init (GantryRegistryBlobStreamClass *class)
{
  G_OBJECT_CLASS (class)->finalize = blob_finalize;
  class->parent_class.read_fn = blob_read;
  class->parent_class.close_fn = blob_close;
}

static void
gantry_registry_blob_stream_init (GantryRegistryBlobStream *self)
{
  self->earlier = g_string_new (NULL);
}

/* The same repository with the places in @urls behind its hosts. Returns: (transfer full). */
static OciRepository *
add_foreign (OciRepository *self, const char *const *urls, GError **error)
{
  g_autoptr (GPtrArray) hosts = g_ptr_array_new_with_free_func ((GDestroyNotify)registry_host_unref);

  for (guint i = 0; i < self->hosts->len; i++)
    g_ptr_array_add (hosts, registry_host_ref (g_ptr_array_index (self->hosts, i)));
  for (gsize i = 0; urls[i] != NULL && i < 16; i++)
    {
      RegistryHost *host = hosts_new_foreign (urls[i], error);

      if (host == NULL)
        return NULL;
      g_ptr_array_add (hosts, host);
    }
  return repository_new (self->registry, self->reference, self->access, hosts);
}

gboolean
repository_fetch (GantryRepository *repository, GantryDescriptor *blob, const char *const *urls,
                  guint64 offset, guint64 length, GInputStream **ret_stream, GCancellable *cancellable,
                  GError **error)
{
  g_autoptr (GInputStream) stream = NULL;
  GantryRegistryBlobStream *self;
  OciRepository *own;

  if (!gantry_reference_check_digest (blob->digest, error))
    return FALSE;
  if (offset > blob->blob_size || length > blob->blob_size - offset)
    return gantry_throw (error, GANTRY_ERROR_OUT_OF_RANGE,
                         "blob %s has %" G_GUINT64_FORMAT " bytes; %" G_GUINT64_FORMAT
                         " from %" G_GUINT64_FORMAT " on are not in it",
                         blob->digest, blob->blob_size, length, offset);
  own = urls != NULL && urls[0] != NULL ? add_foreign ((OciRepository *)repository, urls, error)
                                        : (OciRepository *)gantry_repository_ref (repository);
  if (own == NULL)
    return FALSE;
  self = g_object_new (gantry_registry_blob_stream_get_type (), NULL);
  stream = (GInputStream *)self;
  self->repository = own;
  self->blob = gantry_descriptor_ref (blob);
  self->what = g_strconcat ("blob ", blob->digest, NULL);
  self->position = offset;
  self->end = length != 0 ? offset + length : blob->blob_size;
  self->part = length != 0;
  while (self->host < own->hosts->len && !can_pull (self))
    self->host++;
  if (self->host == own->hosts->len)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION, "%s: no host of %s is configured for this",
                         own->name, own->reference->server);
  if (self->position < self->end && !open_rest (self, cancellable, error))
    return FALSE;
  *ret_stream = g_steal_pointer (&stream);
  return TRUE;
}

typedef struct
{
  const char *digest;
  guint64 size;
} HasBlob;

static gboolean
has_blob_at (OciRepository *self, guint index, gpointer data, GCancellable *cancellable, GError **error)
{
  HasBlob *query = data;
  g_autofree char *path = repository_path (self, "blobs", query->digest);
  Ask ask = { .method = "HEAD", .path = path, .actions = "pull" };
  g_autoptr (HttpReply) reply = host_ask (self, index, &ask, cancellable, error);
  g_autofree char *what = g_strconcat ("blob ", query->digest, NULL);

  if (reply == NULL)
    return FALSE;
  if (http_reply_get_status (reply) != 200)
    return host_throw (self, index, what, reply, cancellable, error);
  if (!http_reply_get_length (reply, &query->size))
    query->size = 0;
  return TRUE;
}

gboolean
repository_has_blob (GantryRepository *repository, const char *digest, guint64 *ret_size,
                     GCancellable *cancellable, GError **error)
{
  HasBlob query = { digest, 0 };

  if (!gantry_reference_check_digest (digest, error)
      || !repository_try ((OciRepository *)repository, CAN_PULL, has_blob_at, &query, cancellable, error))
    return FALSE;
  if (ret_size != NULL)
    *ret_size = query.size;
  return TRUE;
}
