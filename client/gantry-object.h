/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

#define GANTRY_TYPE_OBJECT (gantry_object_get_type ())
G_DECLARE_DERIVABLE_TYPE (GantryObject, gantry_object, GANTRY, OBJECT, GObject)

/**
 * GantryObject:
 *
 * Something that the daemon has, by its D-Bus path. It may be gone: calls then fail with
 * %GANTRY_ERROR_NOT_FOUND.
 */
struct _GantryObjectClass
{
  GObjectClass parent_class;

  /*< private >*/
  gpointer padding[8];
};

GDBusConnection *gantry_object_get_connection (GantryObject *self);
const char *gantry_object_get_path (GantryObject *self);

G_END_DECLS
