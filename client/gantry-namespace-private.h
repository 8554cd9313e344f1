/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "gantry-namespace.h"

/** Returns: (transfer full). */
GantryNamespace *_gantry_namespace_new (GDBusConnection *connection, const char *path);
/** The arguments of a method that lists what matches @filters (nullable). Returns: (transfer floating). */
GVariant *_gantry_list_options (const char *const *filters);

typedef gpointer (*GantryMakeFunc) (GDBusConnection *connection, const char *path, GVariant *info);

/** An object for each a{sv} with a "path" in @list (transfer full, nullable). Returns: (transfer full)
 * (nullable). */
GPtrArray *_gantry_namespace_take_list (GantryNamespace *self, GVariant *list, GantryMakeFunc make);
