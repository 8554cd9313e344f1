/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * OCI runtime specs (runtime-spec 1.0.2, config.md) from an image's config and options (sdk/gantry/tasks.h).
 */
#pragma once

#include <oci.h>

/** Makes the config.json of the container @id. @config: (nullable): the image config. @mounts: (nullable)
 * (element-type GantryMount): the root file system, in which user names are looked up. @options: a{sv}.
 * Errors: INVALID_ARGUMENT (an option; names it), NOT_FOUND (a user). Returns: (transfer full). */
GBytes *spec_generate (const char *ns, const char *id, JsonObject *config, GPtrArray *mounts,
                       GVariant *options, GError **error);

/** Makes an exec's process object from the spec of its container. Returns: (transfer full). */
GBytes *spec_exec (GBytes *spec, GPtrArray *mounts, GVariant *options, GError **error);

/** Refuses options that nobody knows. */
gboolean spec_check_options (GVariant *options, GError **error);
