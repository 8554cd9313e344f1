/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * org.gantry1.Plugin */
#include "api-dbus.h"

#include <string.h>

static gboolean
inspect (Call *call, GVariant **ret_reply, GError **error)
{
  g_autoptr (GVariant) plugins = gantry_introspection_list_plugins (call->self->introspection);

  for (gsize i = 0; i < g_variant_n_children (plugins); i++)
    {
      g_autoptr (GVariant) plugin = g_variant_get_child_value (plugins, i);
      const char *name = NULL;

      if (g_variant_lookup (plugin, "name", "&s", &name) && strcmp (name, call->id) == 0)
        {
          *ret_reply = g_variant_new ("(@a{sv})", plugin);
          return TRUE;
        }
    }
  return gantry_throw (error, GANTRY_ERROR_NOT_FOUND, "plugin \"%s\": not found", call->id);
}

CallFunc
plugin_find (const char *method)
{
  static const Method methods[] = { { "Inspect", inspect } };

  return find_in (methods, G_N_ELEMENTS (methods), method);
}
