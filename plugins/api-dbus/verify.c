/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * org.gantry1.Image: Verify and Sign. */
#include "api-dbus.h"

#include <gantry/verifier.h>

/* The digests that stand for the image: of its target and, if it is here, of the platform's manifest. */
static GVariant *
verify_options (Call *call, GVariantDict *given, GError **error)
{
  g_autoptr (GVariant) details = NULL;
  g_autofree char *platform = NULL;
  GVariantDict dict;
  gboolean offline = FALSE;
  const char *digest = NULL;

  g_variant_dict_lookup (given, "platform", "s", &platform);
  g_variant_dict_remove (given, "platform");
  if (g_variant_dict_lookup (given, "offline", "b", &offline))
    g_variant_dict_remove (given, "offline");
  if (!options_are_empty (given, "Verify", error))
    return NULL;
  g_variant_dict_init (&dict, NULL);
  g_variant_dict_insert (&dict, "offline", "b", offline);
  if (gantry_transfer_inspect (call->self->transfer, call->ns, call->id, platform, &details, NULL, NULL)
      && g_variant_lookup (details, "manifest-digest", "&s", &digest))
    {
      const char *const digests[] = { digest, NULL };

      g_variant_dict_insert_value (&dict, "digests", g_variant_new_strv (digests, -1));
    }
  return g_variant_dict_end (&dict);
}

gboolean
verify_image (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GantryRecord) record = get_image_record (call, error);
  g_autoptr (GantryDescriptor) target = record != NULL ? gantry_record_get_target (record) : NULL;
  g_autoptr (GVariant) given = NULL, report = NULL;
  g_autoptr (GError) refusal = NULL;
  GVariantDict dict;
  GVariant *options;
  gboolean allowed;

  if (target == NULL)
    return record == NULL ? FALSE
                          : gantry_throw (error, GANTRY_ERROR_DATA_LOSS, "image %s has no target", call->id);
  g_variant_get (call->parameters, "(@a{sv})", &given);
  g_variant_dict_init (&dict, given);
  options = verify_options (call, &dict, error);
  g_variant_dict_clear (&dict);
  if (options == NULL)
    return FALSE;
  allowed = gantry_verifiers_verify (call->self->host, call->id, target->digest, options, &report, NULL,
                                     &refusal);
  if (!allowed && !gantry_error_is (refusal, GANTRY_ERROR_PERMISSION_DENIED))
    {
      g_propagate_error (error, g_steal_pointer (&refusal));
      return FALSE;
    }
  g_variant_dict_init (&dict, NULL);
  g_variant_dict_insert (&dict, "allowed", "b", allowed);
  g_variant_dict_insert (&dict, "reason", "s", allowed ? "" : refusal->message);
  g_variant_dict_insert_value (&dict, "report", report);
  *ret_reply = g_variant_new ("(@a{sv})", g_variant_dict_end (&dict));
  return TRUE;
}

gboolean
sign_image (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GantryRecord) record = get_image_record (call, error);
  g_autoptr (GantryDescriptor) target = record != NULL ? gantry_record_get_target (record) : NULL;
  g_autoptr (GPtrArray) bindings = NULL;
  g_autoptr (GVariant) options = NULL;
  g_autoptr (GBytes) signature = NULL;
  g_autofree char *location = NULL;
  GVariantDict dict;

  if (target == NULL)
    return record == NULL ? FALSE
                          : gantry_throw (error, GANTRY_ERROR_DATA_LOSS, "image %s has no target", call->id);
  bindings = gantry_host_lookup_all (call->self->host, GANTRY_VERIFIER_TYPE, error);
  if (bindings == NULL || bindings->len == 0)
    return bindings == NULL ? FALSE
                            : gantry_throw (error, GANTRY_ERROR_NOT_IMPLEMENTED,
                                            "no plugin can sign; see `gantry plugin list`");
  g_variant_get (call->parameters, "(@a{sv})", &options);
  if (!gantry_verifier_sign (((GantryBinding *)g_ptr_array_index (bindings, 0))->instance, call->id,
                             target->digest, options, &signature, &location, NULL, error))
    return FALSE;
  g_variant_dict_init (&dict, NULL);
  g_variant_dict_insert (&dict, "location", "s", location != NULL ? location : "");
  g_variant_dict_insert_value (&dict, "signature",
                               g_variant_new_from_bytes (G_VARIANT_TYPE_BYTESTRING, signature, TRUE));
  *ret_reply = g_variant_new ("(@a{sv})", g_variant_dict_end (&dict));
  return TRUE;
}
