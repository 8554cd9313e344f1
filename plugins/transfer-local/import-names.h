/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the images of an archive are named. */
#pragma once

#include "tree.h"

#define IMPORT_MAX_IMAGES 1024

/** An image to be. */
typedef struct
{
  char *name;
  GantryDescriptor *target;
  gboolean by_reference; /* the option "references" named it */
} ImportName;

void import_name_free (gpointer name);

/** Appends the image @name, made whole. Errors: INVALID_ARGUMENT (@name), RESOURCE_EXHAUSTED. */
gboolean import_add_name (GPtrArray *images, const char *name, GantryDescriptor *target,
                          gboolean by_reference, GError **error);

/** Appends to @images (of ImportName) what @options make of an image that the archive names @name (nullable);
 * with "references" that may be nothing. */
gboolean import_name_image (GPtrArray *images, const char *name, GantryDescriptor *target, GVariant *options,
                            GError **error);

/** Whether @options have "references". */
gboolean import_has_references (GVariant *options);

/** Errors: INVALID_ARGUMENT: one name would be that of several images. */
gboolean import_names_differ (GPtrArray *images, GError **error);
