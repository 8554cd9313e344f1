/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Lists: tags, and referrers, by the API or by the tag that stands in for it (distribution-spec 1.1, "Listing
 * Referrers" and "Unavailable Referrers API"). */
#include <string.h>

#include "registry-oci.h"

#define MAX_PAGES     200
#define MAX_REFERRERS 10000
#define MAX_TAG       128

/* The path of the next page from the Link header, if it is of the same host. Returns: (transfer full)
 * (nullable). */
static char *
next_page (RegistryHost *host, const char *path, HttpReply *reply)
{
  const char *link = http_reply_get_header (reply, "Link");
  const char *start = link != NULL ? strchr (link, '<') : NULL,
             *end = start != NULL ? strchr (start, '>') : NULL;
  g_autofree char *url = NULL, *target = NULL, *next = NULL;

  if (end == NULL || strstr (end, "next") == NULL)
    return NULL;
  url = strstr (path, "://") != NULL ? g_strdup (path) : g_strconcat (host->base, path, NULL);
  target = g_strndup (start + 1, (gsize)(end - start - 1));
  next = g_uri_resolve_relative (url, target, SOUP_HTTP_URI_FLAGS, NULL);
  return next != NULL && url_same_origin (next, host->base) ? g_steal_pointer (&next) : NULL;
}

/* Called with each page's object. Returns: FALSE to stop. */
typedef gboolean (*PageFunc) (JsonObject *page, HttpReply *reply, gpointer data);

static gboolean
read_pages (OciRepository *self, guint index, const char *first, const char *accept, const char *what,
            PageFunc func, gpointer data, GCancellable *cancellable, GError **error)
{
  RegistryHost *host = g_ptr_array_index (self->hosts, index);
  g_autofree char *path = g_strdup (first);

  for (guint page = 0; page < MAX_PAGES && path != NULL; page++)
    {
      Ask ask = { .method = "GET", .path = path, .accept = accept, .actions = "pull" };
      g_autoptr (HttpReply) reply = host_ask (self, index, &ask, cancellable, error);
      g_autoptr (GBytes) bytes = NULL;
      g_autoptr (JsonNode) node = NULL;
      char *next;

      if (reply == NULL)
        return FALSE;
      if (http_reply_get_status (reply) != 200)
        return host_throw (self, index, what, reply, cancellable, error);
      bytes = http_reply_read_all (reply, MAX_DOCUMENT, cancellable, error);
      node = bytes != NULL ? oci_parse (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), error)
                           : NULL;
      if (node == NULL || !JSON_NODE_HOLDS_OBJECT (node))
        {
          if (error != NULL && *error == NULL)
            gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the answer is no JSON object");
          g_prefix_error (error, "%s: ", what);
          host_prefix (self, index, error);
          return FALSE;
        }
      if (!func (json_node_get_object (node), reply, data))
        return TRUE;
      next = next_page (host, path, reply);
      g_free (path);
      path = next;
    }
  return TRUE;
}

/* Tags. */

typedef struct
{
  const char *last;
  guint limit;
  GPtrArray *tags;
} Tags;

static gboolean
add_tags (JsonObject *page, HttpReply *reply, gpointer data)
{
  Tags *tags = data;
  g_auto (GStrv) names = oci_strv (page, "tags");

  for (gsize i = 0; names != NULL && names[i] != NULL && tags->tags->len < tags->limit; i++)
    if (gantry_reference_check_tag (names[i], NULL))
      g_ptr_array_add (tags->tags, g_strdup (names[i]));
  return tags->tags->len < tags->limit;
}

static gboolean
list_tags_at (OciRepository *self, guint index, gpointer data, GCancellable *cancellable, GError **error)
{
  Tags *tags = data;
  g_autofree char *list = repository_path (self, "tags", "list");
  g_autofree char *path
      = g_strdup_printf ("%s?n=%u%s%s", list, tags->limit, tags->last != NULL ? "&last=" : "",
                         tags->last != NULL ? tags->last : "");

  g_ptr_array_set_size (tags->tags, 0);
  return read_pages (self, index, path, "application/json", "tags", add_tags, tags, cancellable, error);
}

gboolean
repository_list_tags (GantryRepository *repository, const char *last, guint limit, char ***ret_tags,
                      GCancellable *cancellable, GError **error)
{
  g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);
  Tags tags = { last, limit, names };

  if (limit < 1 || limit > 10000)
    return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT, "the limit of tags is from 1 to 10000");
  if ((last != NULL && !gantry_reference_check_tag (last, error))
      || !repository_try ((OciRepository *)repository, CAN_RESOLVE, list_tags_at, &tags, cancellable, error))
    return FALSE;
  g_ptr_array_add (names, NULL);
  *ret_tags = (char **)g_ptr_array_free (g_steal_pointer (&names), FALSE);
  return TRUE;
}

/* Referrers. */

typedef struct
{
  const char *digest, *artifact_type;
  GPtrArray *found;
} Referrers;

/* What stands in for the API: "sha256-<hex>", cut to what a tag may have. */
static char *
referrers_tag (const char *digest)
{
  g_autofree char *tag = g_strdup (digest);

  g_strdelimit (tag, ":", '-');
  return g_strndup (tag, MAX_TAG);
}

static GVariant *
read_annotations (JsonObject *object)
{
  JsonObject *annotations = oci_object (object, "annotations");
  g_autoptr (GList) names = annotations != NULL ? json_object_get_members (annotations) : NULL;
  GVariantBuilder builder;

  if (names == NULL)
    return NULL;
  g_variant_builder_init (&builder, G_VARIANT_TYPE ("a{ss}"));
  for (GList *name = names; name != NULL; name = name->next)
    if (oci_string (annotations, name->data) != NULL)
      g_variant_builder_add (&builder, "{ss}", name->data, oci_string (annotations, name->data));
  return g_variant_builder_end (&builder);
}

static void
add_referrer (Referrers *referrers, JsonObject *object)
{
  g_autoptr (GantryDescriptor) plain = oci_descriptor (object, NULL);
  const char *type = oci_string (object, "artifactType");
  GantryDescriptor *descriptor;

  /* Registries need not filter. */
  if (plain == NULL || (referrers->artifact_type != NULL && g_strcmp0 (type, referrers->artifact_type) != 0))
    return;
  descriptor
      = gantry_descriptor_new (plain->media_type, plain->digest, plain->blob_size, read_annotations (object));
  descriptor->artifact_type = g_strdup (type);
  g_ptr_array_add (referrers->found, descriptor);
}

static gboolean
add_referrers (JsonObject *page, HttpReply *reply, gpointer data)
{
  Referrers *referrers = data;
  JsonArray *manifests = oci_array (page, "manifests");

  for (guint i = 0; manifests != NULL && i < json_array_get_length (manifests); i++)
    if (referrers->found->len < MAX_REFERRERS
        && JSON_NODE_HOLDS_OBJECT (json_array_get_element (manifests, i)))
      add_referrer (referrers, json_array_get_object_element (manifests, i));
  return referrers->found->len < MAX_REFERRERS;
}

static gboolean
list_by_api (OciRepository *self, guint index, gpointer data, GCancellable *cancellable, GError **error)
{
  Referrers *referrers = data;
  g_autofree char *plain = repository_path (self, "referrers", referrers->digest);
  g_autofree char *type
      = referrers->artifact_type != NULL ? g_uri_escape_string (referrers->artifact_type, NULL, FALSE) : NULL;
  g_autofree char *path = type != NULL ? g_strconcat (plain, "?artifactType=", type, NULL) : g_strdup (plain);

  g_ptr_array_set_size (referrers->found, 0);
  return read_pages (self, index, path, OCI_INDEX, "referrers", add_referrers, referrers, cancellable, error);
}

/* The index under the tag; none is an empty list. *@ret_bytes: (nullable). */
static gboolean
fetch_tag (OciRepository *self, const char *digest, GBytes **ret_bytes, GCancellable *cancellable,
           GError **error)
{
  g_autofree char *tag = referrers_tag (digest);
  g_autoptr (GError) local = NULL;

  if (repository_fetch_manifest (&self->repository, tag, NULL, ret_bytes, cancellable, &local)
      || gantry_error_is (local, GANTRY_ERROR_NOT_FOUND))
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&local));
  return FALSE;
}

static gboolean
list_by_tag (OciRepository *self, Referrers *referrers, GCancellable *cancellable, GError **error)
{
  g_autoptr (GBytes) bytes = NULL;
  g_autoptr (JsonNode) node = NULL;

  g_ptr_array_set_size (referrers->found, 0);
  if (!fetch_tag (self, referrers->digest, &bytes, cancellable, error))
    return FALSE;
  node = bytes != NULL ? oci_parse (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), NULL) : NULL;
  if (node != NULL && JSON_NODE_HOLDS_OBJECT (node))
    add_referrers (json_node_get_object (node), NULL, referrers);
  return TRUE;
}

gboolean
repository_list_referrers (GantryRepository *repository, const char *digest, const char *artifact_type,
                           GPtrArray **ret_descriptors, GCancellable *cancellable, GError **error)
{
  OciRepository *self = (OciRepository *)repository;
  g_autoptr (GPtrArray) found = g_ptr_array_new_with_free_func ((GDestroyNotify)gantry_descriptor_unref);
  Referrers referrers = { digest, artifact_type, found };
  g_autoptr (GError) local = NULL;

  if (!gantry_reference_check_digest (digest, error))
    return FALSE;
  if (!repository_try (self, CAN_REFER, list_by_api, &referrers, cancellable, &local))
    {
      /* 404: there is no such API here; 400 and 405 are said for it too; or no host is to be asked. */
      gboolean absent = gantry_error_is (local, GANTRY_ERROR_NOT_FOUND)
                        || gantry_error_is (local, GANTRY_ERROR_FAILED_PRECONDITION)
                        || gantry_error_is (local, GANTRY_ERROR_NOT_IMPLEMENTED)
                        || gantry_error_is (local, GANTRY_ERROR_INVALID_ARGUMENT);

      if (!absent)
        {
          g_propagate_error (error, g_steal_pointer (&local));
          return FALSE;
        }
      if (!list_by_tag (self, &referrers, cancellable, error))
        return FALSE;
    }
  *ret_descriptors = g_steal_pointer (&found);
  return TRUE;
}

/* Adding to the tag. */

static void
build_string (JsonBuilder *builder, const char *name, const char *value)
{
  json_builder_set_member_name (builder, name);
  json_builder_add_string_value (builder, value);
}

/* The descriptor as it stands in the index, with what the manifest says of itself. */
static void
build_descriptor (JsonBuilder *builder, GantryDescriptor *descriptor, JsonObject *manifest)
{
  const char *type = oci_string (manifest, "artifactType");
  JsonNode *annotations = json_object_get_member (manifest, "annotations");

  if (type == NULL && oci_object (manifest, "config") != NULL)
    type = oci_string (oci_object (manifest, "config"), "mediaType");
  json_builder_begin_object (builder);
  build_string (builder, "mediaType", descriptor->media_type);
  build_string (builder, "digest", descriptor->digest);
  json_builder_set_member_name (builder, "size");
  json_builder_add_int_value (builder, (gint64)descriptor->blob_size);
  if (type != NULL)
    build_string (builder, "artifactType", type);
  if (annotations != NULL)
    {
      json_builder_set_member_name (builder, "annotations");
      json_builder_add_value (builder, json_node_copy (annotations));
    }
  json_builder_end_object (builder);
}

/* The index @old (nullable) with @descriptor at its end. Returns: (transfer full) (nullable): NULL if it has
 * it already. */
static GBytes *
extend_index (GBytes *old, GantryDescriptor *descriptor, JsonObject *manifest)
{
  g_autoptr (JsonNode) node
      = old != NULL ? oci_parse (g_bytes_get_data (old, NULL), g_bytes_get_size (old), NULL) : NULL;
  JsonArray *manifests = node != NULL && JSON_NODE_HOLDS_OBJECT (node)
                             ? oci_array (json_node_get_object (node), "manifests")
                             : NULL;
  g_autoptr (JsonBuilder) builder = json_builder_new ();
  g_autoptr (JsonGenerator) generator = json_generator_new ();
  g_autoptr (JsonNode) root = NULL;
  gsize length;
  char *text;

  json_builder_begin_object (builder);
  json_builder_set_member_name (builder, "schemaVersion");
  json_builder_add_int_value (builder, 2);
  build_string (builder, "mediaType", OCI_INDEX);
  json_builder_set_member_name (builder, "manifests");
  json_builder_begin_array (builder);
  for (guint i = 0; manifests != NULL && i < json_array_get_length (manifests); i++)
    {
      JsonNode *item = json_array_get_element (manifests, i);

      if (JSON_NODE_HOLDS_OBJECT (item)
          && g_strcmp0 (oci_string (json_node_get_object (item), "digest"), descriptor->digest) == 0)
        return NULL;
      json_builder_add_value (builder, json_node_copy (item));
    }
  build_descriptor (builder, descriptor, manifest);
  json_builder_end_array (builder);
  json_builder_end_object (builder);
  root = json_builder_get_root (builder);
  json_generator_set_root (generator, root);
  text = json_generator_to_data (generator, &length);
  return g_bytes_new_take (text, length);
}

gboolean
referrers_add (OciRepository *self, GantryDescriptor *descriptor, GBytes *bytes, GCancellable *cancellable,
               GError **error)
{
  g_autoptr (JsonNode) node = oci_parse (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), NULL);
  JsonObject *manifest = node != NULL && JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
  const char *subject = manifest != NULL ? oci_string (oci_object (manifest, "subject"), "digest") : NULL;
  g_autoptr (GBytes) old = NULL, extended = NULL;
  g_autofree char *tag = NULL;

  if (subject == NULL || !gantry_reference_check_digest (subject, NULL))
    return TRUE;
  if (!fetch_tag (self, subject, &old, cancellable, error))
    return FALSE;
  extended = extend_index (old, descriptor, manifest);
  tag = referrers_tag (subject);
  return extended == NULL
         || repository_push_manifest (&self->repository, tag, OCI_INDEX, extended, NULL, cancellable, error);
}
