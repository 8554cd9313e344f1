/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gantry/differ.h>

#include "unpack-common.h"

/** Makes a differ whose worker is @program (copied). @context: (nullable): as of fork_server_new (). Returns:
 * (transfer full). */
GantryDiffer *differ_archive_new (const char *program, const UnpackLimits *limits, GMainContext *context);

/* settle.c: the slot */
gboolean differ_archive_settle (GantryDiffer *differ, GantryDescriptor *diff, GPtrArray *below,
                                GPtrArray *mounts, GCancellable *cancellable, GError **error);

/** Accepts NULL. */
void differ_archive_free (GantryDiffer *differ);
