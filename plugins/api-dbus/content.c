/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The blobs of a namespace, for org.gantry1.Namespace. */
#include "api-dbus.h"

#include <unistd.h>

#define MAX_LISTED 100000

static GVariant *
describe (GantryContentInfo *info)
{
  GVariantDict dict;

  g_variant_dict_init (&dict, NULL);
  g_variant_dict_insert (&dict, "digest", "s", info->digest);
  g_variant_dict_insert (&dict, "size", "t", info->blob_size);
  g_variant_dict_insert (&dict, "created", "x", info->created_ns);
  g_variant_dict_insert (&dict, "updated", "x", info->updated_ns);
  if (info->labels != NULL)
    g_variant_dict_insert_value (&dict, "labels", info->labels);
  return g_variant_dict_end (&dict);
}

typedef struct
{
  GVariantBuilder *list;
  guint n;
} Listing;

static gboolean
add_blob (GantryContentInfo *info, gpointer user_data)
{
  Listing *listing = user_data;

  if (++listing->n > MAX_LISTED)
    return FALSE;
  g_variant_builder_add_value (listing->list, describe (info));
  return TRUE;
}

static gboolean
open_content (Call *call, GantryContent **ret_content, GError **error)
{
  return gantry_store_open_content (call->self->store, call->ns, NULL, NULL, ret_content, NULL, error);
}

gboolean
list_content (Call *call, GVariant **ret_reply, GError **error)
{
  g_auto (GVariantBuilder) list = G_VARIANT_BUILDER_INIT (G_VARIANT_TYPE ("aa{sv}"));
  Listing listing = { &list, 0 };
  g_autoptr (GantryContent) content = NULL;
  g_autoptr (GVariant) options = NULL;
  g_auto (GStrv) filters = NULL;
  GVariantDict dict;
  gboolean known;

  g_variant_get (call->parameters, "(@a{sv})", &options);
  g_variant_dict_init (&dict, options);
  g_variant_dict_lookup (&dict, "filters", "^as", &filters);
  g_variant_dict_remove (&dict, "filters");
  known = options_are_empty (&dict, call->method, error);
  g_variant_dict_clear (&dict);
  if (!known || !open_content (call, &content, error)
      || !gantry_content_walk (content, (const char *const *)filters, add_blob, &listing, NULL, error))
    return FALSE;
  if (listing.n > MAX_LISTED)
    return gantry_throw (error, GANTRY_ERROR_RESOURCE_EXHAUSTED, "there are more than %d blobs; give filters",
                         MAX_LISTED);
  *ret_reply = g_variant_new ("(aa{sv})", &list);
  return TRUE;
}

gboolean
inspect_content (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GantryContent) content = NULL;
  g_autoptr (GantryContentInfo) info = NULL;
  const char *digest;

  g_variant_get (call->parameters, "(&s)", &digest);
  if (!open_content (call, &content, error) || !gantry_content_info (content, digest, &info, NULL, error))
    return FALSE;
  *ret_reply = g_variant_new ("(@a{sv})", describe (info));
  return TRUE;
}

/* Answers by itself: the dispatcher passes no descriptors. */
gboolean
open_blob (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GantryContent) content = NULL;
  g_autoptr (GUnixFDList) fds = g_unix_fd_list_new ();
  const char *digest;
  guint64 size;
  int fd, at;

  g_variant_get (call->parameters, "(&s)", &digest);
  if (!open_content (call, &content, error)
      || !gantry_content_open_blob (content, digest, &fd, &size, NULL, error))
    return FALSE;
  at = g_unix_fd_list_append (fds, fd, error);
  close (fd);
  if (at < 0)
    return FALSE;
  call->deferred = TRUE;
  g_dbus_method_invocation_return_value_with_unix_fd_list (g_object_ref (call->invocation),
                                                           g_variant_new ("(ht)", at, size), fds);
  return TRUE;
}

gboolean
remove_content (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GantryContent) content = NULL;
  g_auto (GStrv) path = NULL;
  const char *digest;
  gboolean force;

  g_variant_get (call->parameters, "(&sb)", &digest, &force);
  if (!open_content (call, &content, error))
    return FALSE;
  if (!force
      && !gantry_metadata_why (call->self->metadata, GANTRY_KIND_CONTENT, call->ns, digest, &path, NULL,
                               error))
    return FALSE;
  if (path != NULL && path[0] != NULL)
    return gantry_throw (error, GANTRY_ERROR_FAILED_PRECONDITION,
                         "blob %s is in use by %s; remove that, or use force", digest, path[0]);
  return gantry_content_remove (content, digest, NULL, error);
}
