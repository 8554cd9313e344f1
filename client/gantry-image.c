/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gantry-image-private.h"
#include "gantry-job-private.h"
#include "gantry-object-private.h"

#include <string.h>

/**
 * GantryImage:
 *
 * An image: a name for a manifest or an index, with labels.
 */
struct _GantryImage
{
  GantryObject parent_instance;
  GVariant *info; /* (nullable): as listed */
};

G_DEFINE_FINAL_TYPE (GantryImage, gantry_image, GANTRY_TYPE_OBJECT)

static void
gantry_image_finalize (GObject *object)
{
  GantryImage *self = GANTRY_IMAGE (object);

  g_clear_pointer (&self->info, g_variant_unref);
  G_OBJECT_CLASS (gantry_image_parent_class)->finalize (object);
}

static void
gantry_image_class_init (GantryImageClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = gantry_image_finalize;
}

static void
gantry_image_init (GantryImage *self)
{
}

GantryImage *
_gantry_image_new (GDBusConnection *connection, const char *path, GVariant *info)
{
  GantryImage *self = g_object_new (GANTRY_TYPE_IMAGE, "connection", connection, "path", path, NULL);

  self->info = info != NULL ? g_variant_ref (info) : NULL;
  return self;
}

static GVariant *
platform_option (const char *platform)
{
  GVariantDict dict;

  g_variant_dict_init (&dict, NULL);
  if (platform != NULL)
    g_variant_dict_insert (&dict, "platform", "s", platform);
  return g_variant_new ("(@a{sv})", g_variant_dict_end (&dict));
}

static GantryJob *
take_job (GantryImage *self, GVariant *value)
{
  return _gantry_job_new_take (gantry_object_get_connection (GANTRY_OBJECT (self)),
                               _gantry_take_string (value));
}

static GantryImage *
take_image (GantryImage *self, GVariant *value)
{
  g_autofree char *path = _gantry_take_string (value);

  return path != NULL ? _gantry_image_new (gantry_object_get_connection (GANTRY_OBJECT (self)), path, NULL)
                      : NULL;
}

/**
 * gantry_image_get_info:
 * @self: an image
 *
 * Returns: (transfer none) (nullable): a{sv}: "name" s, "target" (ssta{ss}), "labels" a{ss}, "created" x,
 * "updated" x, as they were when the image was listed; %NULL if it was not
 */
GVariant *
gantry_image_get_info (GantryImage *self)
{
  g_return_val_if_fail (GANTRY_IS_IMAGE (self), NULL);
  return self->info;
}

/**
 * gantry_image_inspect:
 * @self: the image
 * @platform: (nullable): "linux/arm64"; %NULL: this machine's
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Asks what the image is.
 *
 * Returns: (transfer full): a{sv}: "config" s (JSON), "layers" a(sst), "size" t and others
 */
GVariant *
gantry_image_inspect (GantryImage *self, const char *platform, GCancellable *cancellable, GError **error)
{
  return _gantry_object_call_value (self, "Image", "Inspect", platform_option (platform), NULL, cancellable,
                                    error);
}

/**
 * gantry_image_inspect_async:
 * @self: the image
 * @platform: (nullable): "linux/arm64"; %NULL: this machine's
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_image_inspect(), without blocking.
 */
void
gantry_image_inspect_async (GantryImage *self, const char *platform, GCancellable *cancellable,
                            GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Image", "Inspect", platform_option (platform), NULL,
                             gantry_image_inspect_async, cancellable, callback, user_data);
}

/**
 * gantry_image_inspect_finish:
 * @self: the image
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): a{sv}: "config" s (JSON), "layers" a(sst), "size" t and others
 */
GVariant *
gantry_image_inspect_finish (GantryImage *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_value (self, gantry_image_inspect_async, result, error);
}

/**
 * gantry_image_get_usage:
 * @self: the image
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Asks what the image takes on disk.
 *
 * Returns: (transfer full): a{sv}: "blobs" a(st), "blob-bytes" t, "snapshots" a(sstt), "snapshot-bytes" t
 */
GVariant *
gantry_image_get_usage (GantryImage *self, GCancellable *cancellable, GError **error)
{
  return _gantry_object_call_value (self, "Image", "GetUsage", NULL, NULL, cancellable, error);
}

/**
 * gantry_image_get_usage_async:
 * @self: the image
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_image_get_usage(), without blocking.
 */
void
gantry_image_get_usage_async (GantryImage *self, GCancellable *cancellable, GAsyncReadyCallback callback,
                              gpointer user_data)
{
  _gantry_object_call_async (self, "Image", "GetUsage", NULL, NULL, gantry_image_get_usage_async, cancellable,
                             callback, user_data);
}

/**
 * gantry_image_get_usage_finish:
 * @self: the image
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): a{sv}: "blobs" a(st), "blob-bytes" t, "snapshots" a(sstt), "snapshot-bytes" t
 */
GVariant *
gantry_image_get_usage_finish (GantryImage *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_value (self, gantry_image_get_usage_async, result, error);
}

/**
 * gantry_image_unpack:
 * @self: the image
 * @options: (nullable): a{sv}
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Makes its layers into snapshots. Options: "snapshotter" s, "platform" s, "token" s.
 *
 * Returns: (transfer full): a job
 */
GantryJob *
gantry_image_unpack (GantryImage *self, GVariant *options, GCancellable *cancellable, GError **error)
{
  return take_job (self, _gantry_object_call_value (self, "Image", "Unpack",
                                                    g_variant_new ("(@a{sv})", _gantry_options (options)),
                                                    NULL, cancellable, error));
}

/**
 * gantry_image_unpack_async:
 * @self: the image
 * @options: (nullable): a{sv}
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_image_unpack(), without blocking.
 */
void
gantry_image_unpack_async (GantryImage *self, GVariant *options, GCancellable *cancellable,
                           GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Image", "Unpack", g_variant_new ("(@a{sv})", _gantry_options (options)),
                             NULL, gantry_image_unpack_async, cancellable, callback, user_data);
}

/**
 * gantry_image_unpack_finish:
 * @self: the image
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): a job
 */
GantryJob *
gantry_image_unpack_finish (GantryImage *self, GAsyncResult *result, GError **error)
{
  return take_job (self, _gantry_object_finish_value (self, gantry_image_unpack_async, result, error));
}

/**
 * gantry_image_install:
 * @self: the image
 * @options: (nullable): a{sv}
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Puts its programs into a directory of the host. Options: "path" s, "lib" b, "replace" b, "platform" s,
 * "token" s.
 *
 * Returns: (transfer full): a job; its result has "path" s and "files" as
 */
GantryJob *
gantry_image_install (GantryImage *self, GVariant *options, GCancellable *cancellable, GError **error)
{
  return take_job (self, _gantry_object_call_value (self, "Image", "Install",
                                                    g_variant_new ("(@a{sv})", _gantry_options (options)),
                                                    NULL, cancellable, error));
}

/**
 * gantry_image_install_async:
 * @self: the image
 * @options: (nullable): a{sv}
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_image_install(), without blocking.
 */
void
gantry_image_install_async (GantryImage *self, GVariant *options, GCancellable *cancellable,
                            GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Image", "Install", g_variant_new ("(@a{sv})", _gantry_options (options)),
                             NULL, gantry_image_install_async, cancellable, callback, user_data);
}

/**
 * gantry_image_install_finish:
 * @self: the image
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): a job; its result has "path" s and "files" as
 */
GantryJob *
gantry_image_install_finish (GantryImage *self, GAsyncResult *result, GError **error)
{
  return take_job (self, _gantry_object_finish_value (self, gantry_image_install_async, result, error));
}

/**
 * gantry_image_convert:
 * @self: the image
 * @name: of the image that it becomes; its own is allowed
 * @options: (nullable): a{sv}
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Makes an OCI image of it, or one with layers that are compressed otherwise. Options: "compression" s
 * ("zstd", "gzip", "none"), "platforms" as, "token" s.
 *
 * Returns: (transfer full): a job
 */
GantryJob *
gantry_image_convert (GantryImage *self, const char *name, GVariant *options, GCancellable *cancellable,
                      GError **error)
{
  return take_job (self,
                   _gantry_object_call_value (self, "Image", "Convert",
                                              g_variant_new ("(s@a{sv})", name, _gantry_options (options)),
                                              NULL, cancellable, error));
}

/**
 * gantry_image_convert_async:
 * @self: the image
 * @name: of the image that it becomes; its own is allowed
 * @options: (nullable): a{sv}
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_image_convert(), without blocking.
 */
void
gantry_image_convert_async (GantryImage *self, const char *name, GVariant *options, GCancellable *cancellable,
                            GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Image", "Convert",
                             g_variant_new ("(s@a{sv})", name, _gantry_options (options)), NULL,
                             gantry_image_convert_async, cancellable, callback, user_data);
}

/**
 * gantry_image_convert_finish:
 * @self: the image
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): a job
 */
GantryJob *
gantry_image_convert_finish (GantryImage *self, GAsyncResult *result, GError **error)
{
  return take_job (self, _gantry_object_finish_value (self, gantry_image_convert_async, result, error));
}

/**
 * gantry_image_tag:
 * @self: the image
 * @name: one more name for it
 * @force: even if that names another image
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Gives the image one more name.
 *
 * Returns: (transfer full): the image by that name
 */
GantryImage *
gantry_image_tag (GantryImage *self, const char *name, gboolean force, GCancellable *cancellable,
                  GError **error)
{
  return take_image (self,
                     _gantry_object_call_value (self, "Image", "Tag", g_variant_new ("(sb)", name, force),
                                                NULL, cancellable, error));
}

/**
 * gantry_image_tag_async:
 * @self: the image
 * @name: one more name for it
 * @force: even if that names another image
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_image_tag(), without blocking.
 */
void
gantry_image_tag_async (GantryImage *self, const char *name, gboolean force, GCancellable *cancellable,
                        GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Image", "Tag", g_variant_new ("(sb)", name, force), NULL,
                             gantry_image_tag_async, cancellable, callback, user_data);
}

/**
 * gantry_image_tag_finish:
 * @self: the image
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): the image by that name
 */
GantryImage *
gantry_image_tag_finish (GantryImage *self, GAsyncResult *result, GError **error)
{
  return take_image (self, _gantry_object_finish_value (self, gantry_image_tag_async, result, error));
}

/**
 * gantry_image_set_labels:
 * @self: the image
 * @labels: a{ss}; an empty value removes that label
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Sets labels.
 *
 * Returns: whether it was done
 */
gboolean
gantry_image_set_labels (GantryImage *self, GVariant *labels, GCancellable *cancellable, GError **error)
{
  return _gantry_object_call_nothing (self, "Image", "SetLabels", g_variant_new ("(@a{ss})", labels), NULL,
                                      cancellable, error);
}

/**
 * gantry_image_set_labels_async:
 * @self: the image
 * @labels: a{ss}; an empty value removes that label
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_image_set_labels(), without blocking.
 */
void
gantry_image_set_labels_async (GantryImage *self, GVariant *labels, GCancellable *cancellable,
                               GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Image", "SetLabels", g_variant_new ("(@a{ss})", labels), NULL,
                             gantry_image_set_labels_async, cancellable, callback, user_data);
}

/**
 * gantry_image_set_labels_finish:
 * @self: the image
 * @result: the callback's
 * @error: why not
 *
 * Returns: whether it was done
 */
gboolean
gantry_image_set_labels_finish (GantryImage *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_nothing (self, gantry_image_set_labels_async, result, error);
}

/**
 * gantry_image_remove:
 * @self: the image
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Forgets the image; what only it held is collected.
 *
 * Returns: whether it was done
 */
gboolean
gantry_image_remove (GantryImage *self, GCancellable *cancellable, GError **error)
{
  return _gantry_object_call_nothing (self, "Image", "Remove", NULL, NULL, cancellable, error);
}

/**
 * gantry_image_remove_async:
 * @self: the image
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_image_remove(), without blocking.
 */
void
gantry_image_remove_async (GantryImage *self, GCancellable *cancellable, GAsyncReadyCallback callback,
                           gpointer user_data)
{
  _gantry_object_call_async (self, "Image", "Remove", NULL, NULL, gantry_image_remove_async, cancellable,
                             callback, user_data);
}

/**
 * gantry_image_remove_finish:
 * @self: the image
 * @result: the callback's
 * @error: why not
 *
 * Returns: whether it was done
 */
gboolean
gantry_image_remove_finish (GantryImage *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_nothing (self, gantry_image_remove_async, result, error);
}

/**
 * gantry_image_verify:
 * @self: the image
 * @options: (nullable): a{sv}: "platform" s, "offline" b
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Asks whether the policy allows the image to be used. A refusal is an answer, not an error.
 *
 * Returns: (transfer full): a{sv}: "allowed" b, "reason" s, "report" aa{sv}
 */
GVariant *
gantry_image_verify (GantryImage *self, GVariant *options, GCancellable *cancellable, GError **error)
{
  return _gantry_object_call_value (self, "Image", "Verify",
                                    g_variant_new ("(@a{sv})", _gantry_options (options)), NULL, cancellable,
                                    error);
}

/**
 * gantry_image_verify_async:
 * @self: the image
 * @options: (nullable): a{sv}: "platform" s, "offline" b
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_image_verify(), without blocking.
 */
void
gantry_image_verify_async (GantryImage *self, GVariant *options, GCancellable *cancellable,
                           GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Image", "Verify", g_variant_new ("(@a{sv})", _gantry_options (options)),
                             NULL, gantry_image_verify_async, cancellable, callback, user_data);
}

/**
 * gantry_image_verify_finish:
 * @self: the image
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): a{sv}: "allowed" b, "reason" s, "report" aa{sv}
 */
GVariant *
gantry_image_verify_finish (GantryImage *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_value (self, gantry_image_verify_async, result, error);
}

/**
 * gantry_image_sign:
 * @self: the image
 * @options: (nullable): a{sv}: "key" s (required), "home" s, "passphrase" s, "store" b
 * @cancellable: (nullable): ends the call
 * @error: why not
 *
 * Signs the image.
 *
 * Returns: (transfer full): a{sv}: "location" s, "signature" ay
 */
GVariant *
gantry_image_sign (GantryImage *self, GVariant *options, GCancellable *cancellable, GError **error)
{
  return _gantry_object_call_value (self, "Image", "Sign",
                                    g_variant_new ("(@a{sv})", _gantry_options (options)), NULL, cancellable,
                                    error);
}

/**
 * gantry_image_sign_async:
 * @self: the image
 * @options: (nullable): a{sv}: "key" s (required), "home" s, "passphrase" s, "store" b
 * @cancellable: (nullable): ends the call
 * @callback: called when there is an answer
 * @user_data: for @callback
 *
 * As gantry_image_sign(), without blocking.
 */
void
gantry_image_sign_async (GantryImage *self, GVariant *options, GCancellable *cancellable,
                         GAsyncReadyCallback callback, gpointer user_data)
{
  _gantry_object_call_async (self, "Image", "Sign", g_variant_new ("(@a{sv})", _gantry_options (options)),
                             NULL, gantry_image_sign_async, cancellable, callback, user_data);
}

/**
 * gantry_image_sign_finish:
 * @self: the image
 * @result: the callback's
 * @error: why not
 *
 * Returns: (transfer full): a{sv}: "location" s, "signature" ay
 */
GVariant *
gantry_image_sign_finish (GantryImage *self, GAsyncResult *result, GError **error)
{
  return _gantry_object_finish_value (self, gantry_image_sign_async, result, error);
}
