/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * org.gantry1.Image */
#include "api-dbus.h"

#include <reference.h>

static gboolean
inspect (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GVariant) options = NULL, details = NULL;
  const char *platform = NULL, *key;
  GVariantIter iter;
  GVariant *value;

  g_variant_get (call->parameters, "(@a{sv})", &options);
  g_variant_iter_init (&iter, options);
  while (g_variant_iter_next (&iter, "{&sv}", &key, &value))
    {
      g_variant_unref (value);
      if (!g_str_equal (key, "platform"))
        return gantry_throw (error, GANTRY_ERROR_INVALID_ARGUMENT,
                             "unknown option \"%s\"; Inspect takes platform", key);
    }
  g_variant_lookup (options, "platform", "&s", &platform);
  if (!gantry_transfer_inspect (call->self->transfer, call->ns, call->id, platform, &details, NULL, error))
    return FALSE;
  *ret_reply = g_variant_new ("(@a{sv})", details);
  return TRUE;
}

static gboolean
get_usage (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GVariant) usage = NULL;

  if (!gantry_transfer_usage (call->self->transfer, call->ns, call->id, &usage, NULL, error))
    return FALSE;
  *ret_reply = g_variant_new ("(@a{sv})", usage);
  return TRUE;
}

static gboolean
tag (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GantryRecord) record = get_image_record (call, error);
  g_autoptr (GantryRecord) copy = NULL;
  g_autoptr (GantryChange) change = NULL;
  g_autofree char *whole = NULL, *path = NULL;
  const char *name;
  gboolean force;

  g_variant_get (call->parameters, "(&sb)", &name, &force);
  if (record == NULL || (whole = gantry_reference_normalize (name, error)) == NULL)
    return FALSE;
  copy = gantry_record_new (GANTRY_KIND_IMAGE, call->ns, whole, record->labels, record->fields);
  change = gantry_change_new (force ? GANTRY_CHANGE_PUT : GANTRY_CHANGE_CREATE, copy);
  if (!gantry_metadata_apply_one (call->self->metadata, change, NULL, NULL, error))
    return FALSE;
  path = path_image (call->ns, whole);
  *ret_reply = g_variant_new ("(o)", path);
  return TRUE;
}

static gboolean
set_image_labels (Call *call, GVariant **ret_reply, GError **error)
{
  return set_labels (call, GANTRY_KIND_IMAGE, call->ns, call->id, error);
}

static gboolean
remove_image (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GantryRecord) record = gantry_record_new (GANTRY_KIND_IMAGE, call->ns, call->id, NULL, NULL);
  g_autoptr (GantryChange) change = gantry_change_new (GANTRY_CHANGE_DELETE, record);

  return gantry_metadata_apply_one (call->self->metadata, change, NULL, NULL, error)
         && gantry_store_collect (call->self->store, FALSE, NULL, NULL, error);
}

CallFunc
image_find (const char *method)
{
  static const Method methods[] = {
    { "Inspect", inspect },
    { "GetUsage", get_usage },
    { "Unpack", unpack_image },
    { "Tag", tag },
    { "SetLabels", set_image_labels },
    { "Remove", remove_image },
    { "Convert", convert_image },
    { "Install", install_image },
    { "Verify", verify_image },
    { "Sign", sign_image },
  };

  return find_in (methods, G_N_ELEMENTS (methods), method);
}
