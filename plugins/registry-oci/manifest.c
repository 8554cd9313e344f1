/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Manifests and indexes: resolved by a HEAD where its answer says enough, read whole, verified here. */
#include <string.h>

#include "registry-oci.h"

typedef struct
{
  const char *reference; /* a tag or a digest */
  gboolean is_digest;
  GantryDescriptor *descriptor;
  GBytes *bytes;
  char *what;
} Query;

static void
query_clear (Query *query)
{
  gantry_descriptor_unref (query->descriptor);
  g_clear_pointer (&query->bytes, g_bytes_unref);
  g_free (query->what);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Query, query_clear)

static gboolean
query_init (OciRepository *self, Query *query, const char *reference, GError **error)
{
  if (reference == NULL)
    reference = self->reference->digest != NULL ? self->reference->digest : self->reference->tag;
  query->is_digest = strchr (reference, ':') != NULL;
  query->reference = reference;
  query->what = g_strconcat ("manifest ", reference, NULL);
  return query->is_digest ? gantry_reference_check_digest (reference, error)
                          : gantry_reference_check_tag (reference, error);
}

/* "application/json; charset=utf-8" without its parameters. Returns: (transfer full) (nullable). */
static char *
get_media_type (HttpReply *reply)
{
  const char *text = http_reply_get_header (reply, "Content-Type");

  return text != NULL ? g_ascii_strdown (text, (gssize)strcspn (text, "; \t")) : NULL;
}

static gboolean
is_schema1 (const char *media_type)
{
  return g_strcmp0 (media_type, SCHEMA1) == 0 || g_strcmp0 (media_type, SCHEMA1_SIGNED) == 0;
}

static gboolean
check_schema (OciRepository *self, const char *media_type, GError **error)
{
  if (!is_schema1 (media_type) || self->schema1)
    return TRUE;
  return gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED,
                       "it is an image of Docker's old format (manifest schema 1), which is not taken; pull "
                       "it with --convert-schema1, or push it again with a client of this decade");
}

/* Registries that know only "application/json" leave it to the document to say what it is. */
static char *
read_media_type (GBytes *bytes, const char *header, GError **error)
{
  g_autoptr (GError) local = NULL;
  g_autoptr (JsonNode) node = oci_parse (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), &local);
  JsonObject *object = node != NULL && JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
  const char *own;
  gint64 version;

  if (object == NULL)
    {
      gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "it is no manifest: %s",
                    local != NULL ? local->message : "it is no JSON object");
      return NULL;
    }
  version = oci_int (object, "schemaVersion", 0);
  own = oci_string (object, "mediaType");
  if (version == 1 || is_schema1 (header))
    return g_strdup (is_schema1 (header) ? header : SCHEMA1);
  if (own != NULL)
    return g_strdup (own);
  if (header != NULL && (oci_is_index (header) || oci_is_manifest (header)))
    return g_strdup (header);
  if (oci_array (object, "manifests") != NULL)
    return g_strdup (OCI_INDEX);
  if (oci_object (object, "config") != NULL)
    return g_strdup (OCI_MANIFEST);
  gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                "it is no manifest: it has neither a media type nor a config nor manifests");
  return NULL;
}

static char *
compute_digest (GBytes *bytes, const char *like)
{
  GChecksumType type = like != NULL && g_str_has_prefix (like, "sha512:")   ? G_CHECKSUM_SHA512
                       : like != NULL && g_str_has_prefix (like, "sha384:") ? G_CHECKSUM_SHA384
                                                                            : G_CHECKSUM_SHA256;
  g_autofree char *hex = g_compute_checksum_for_bytes (type, bytes);
  const char *name = type == G_CHECKSUM_SHA512   ? "sha512:"
                     : type == G_CHECKSUM_SHA384 ? "sha384:"
                                                 : "sha256:";

  return g_strconcat (name, hex, NULL);
}

/* By digest it must be what was asked for; by tag what the registry says it is. */
static char *
verify (Query *query, GBytes *bytes, HttpReply *reply, GError **error)
{
  const char *claimed
      = query->is_digest ? query->reference : http_reply_get_header (reply, "Docker-Content-Digest");
  g_autofree char *digest = NULL;

  if (claimed != NULL && !gantry_reference_check_digest (claimed, NULL))
    claimed = NULL;
  digest = compute_digest (bytes, claimed);
  if (claimed != NULL && strcmp (claimed, digest) != 0)
    {
      gantry_throw (error, GANTRY_ERROR_DATA_LOSS, "it should be %s and is %s", claimed, digest);
      return NULL;
    }
  return g_steal_pointer (&digest);
}

/* Of schema 1 only what its digest is of is kept. */
static gboolean
take_schema1 (GBytes **bytes, char **header, GError **error)
{
  g_autoptr (GBytes) payload = NULL;

  if (!schema1_payload (*bytes, &payload, error))
    return FALSE;
  if (payload == NULL)
    return TRUE;
  g_bytes_unref (*bytes);
  *bytes = g_steal_pointer (&payload);
  g_free (*header);
  *header = g_strdup (SCHEMA1);
  return TRUE;
}

static gboolean
take_document (OciRepository *self, Query *query, HttpReply *reply, GCancellable *cancellable, GError **error)
{
  g_autofree char *header = get_media_type (reply), *media_type = NULL, *digest = NULL;
  g_autoptr (GBytes) bytes = NULL;
  guint64 length;

  if (!check_schema (self, header, error))
    return FALSE;
  if (http_reply_get_length (reply, &length) && length > MAX_DOCUMENT)
    return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED,
                         "it has %" G_GUINT64_FORMAT " bytes; at most %d are taken", length, MAX_DOCUMENT);
  bytes = http_reply_read_all (reply, MAX_DOCUMENT, cancellable, error);
  if (bytes == NULL || (self->schema1 && !take_schema1 (&bytes, &header, error))
      || (digest = verify (query, bytes, reply, error)) == NULL
      || (media_type = read_media_type (bytes, header, error)) == NULL
      || !check_schema (self, media_type, error))
    return FALSE;
  query->descriptor = gantry_descriptor_new (media_type, digest, g_bytes_get_size (bytes), NULL);
  query->bytes = g_steal_pointer (&bytes);
  return TRUE;
}

static gboolean
get_document (OciRepository *self, guint index, gpointer data, GCancellable *cancellable, GError **error)
{
  Query *query = data;
  g_autofree char *path = repository_path (self, "manifests", query->reference);
  Ask ask = { .method = "GET",
              .path = path,
              .accept = self->schema1 ? SCHEMA1_ACCEPT : MANIFEST_ACCEPT,
              .actions = "pull" };

  /* A body that breaks off is read again from the start: it is small. */
  for (guint attempt = 0;; attempt++)
    {
      g_autoptr (HttpReply) reply = host_ask (self, index, &ask, cancellable, error);
      g_autoptr (GError) local = NULL;

      if (reply == NULL)
        return FALSE;
      if (http_reply_get_status (reply) != 200)
        return host_throw (self, index, query->what, reply, cancellable, error);
      if (take_document (self, query, reply, cancellable, &local))
        return TRUE;
      if (!gantry_error_is (local, GANTRY_ERROR_UNAVAILABLE) || attempt + 1 >= self->registry->attempts)
        {
          g_propagate_prefixed_error (error, g_steal_pointer (&local), "%s: ", query->what);
          host_prefix (self, index, error);
          return FALSE;
        }
      if (!pause_ms (self->registry->backoff_ms, cancellable, error))
        return FALSE;
    }
}

/* Whether the answer to a HEAD says all that a descriptor has. */
static GantryDescriptor *
read_head (Query *query, HttpReply *reply, const char *media_type)
{
  const char *digest = http_reply_get_header (reply, "Docker-Content-Digest");
  guint64 length;

  if (digest == NULL || !gantry_reference_check_digest (digest, NULL)
      || (query->is_digest && strcmp (digest, query->reference) != 0) || media_type == NULL
      || (!oci_is_index (media_type) && !oci_is_manifest (media_type))
      || !http_reply_get_length (reply, &length) || length == 0)
    return NULL;
  return gantry_descriptor_new (media_type, digest, length, NULL);
}

static gboolean
resolve_at (OciRepository *self, guint index, gpointer data, GCancellable *cancellable, GError **error)
{
  Query *query = data;
  g_autofree char *path = repository_path (self, "manifests", query->reference);
  Ask ask = { .method = "HEAD",
              .path = path,
              .accept = self->schema1 ? SCHEMA1_ACCEPT : MANIFEST_ACCEPT,
              .actions = "pull" };
  g_autoptr (HttpReply) reply = host_ask (self, index, &ask, cancellable, error);
  g_autofree char *media_type = NULL;
  guint status;

  if (reply == NULL)
    return FALSE;
  status = http_reply_get_status (reply);
  if (status == 404 || status == 429)
    return host_throw (self, index, query->what, reply, cancellable, error);
  media_type = get_media_type (reply);
  if (status == 200 && !check_schema (self, media_type, error))
    {
      g_prefix_error (error, "%s: ", query->what);
      host_prefix (self, index, error);
      return FALSE;
    }
  query->descriptor = status == 200 ? read_head (query, reply, media_type) : NULL;
  if (query->descriptor != NULL && query->descriptor->blob_size > MAX_DOCUMENT)
    {
      gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED,
                    "%s has %" G_GUINT64_FORMAT " bytes; at most %d are taken", query->what,
                    query->descriptor->blob_size, MAX_DOCUMENT);
      host_prefix (self, index, error);
      return FALSE;
    }
  /* Some hosts answer a HEAD badly or not at all; what a GET says counts. */
  return query->descriptor != NULL || get_document (self, index, query, cancellable, error);
}

gboolean
repository_resolve (GantryRepository *repository, const char *reference, GantryDescriptor **ret_descriptor,
                    GCancellable *cancellable, GError **error)
{
  OciRepository *self = (OciRepository *)repository;
  g_auto (Query) query = { 0 };

  if (!query_init (self, &query, reference, error)
      || !repository_try (self, query.is_digest ? CAN_PULL : CAN_RESOLVE, resolve_at, &query, cancellable,
                          error))
    return FALSE;
  *ret_descriptor = g_steal_pointer (&query.descriptor);
  return TRUE;
}

gboolean
repository_fetch_manifest (GantryRepository *repository, const char *reference,
                           GantryDescriptor **ret_descriptor, GBytes **ret_bytes, GCancellable *cancellable,
                           GError **error)
{
  OciRepository *self = (OciRepository *)repository;
  g_auto (Query) query = { 0 };

  if (!query_init (self, &query, reference, error)
      || !repository_try (self, query.is_digest ? CAN_PULL : CAN_RESOLVE, get_document, &query, cancellable,
                          error))
    return FALSE;
  *ret_bytes = g_steal_pointer (&query.bytes);
  if (ret_descriptor != NULL)
    *ret_descriptor = g_steal_pointer (&query.descriptor);
  return TRUE;
}
