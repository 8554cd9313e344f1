/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What an image is made of: indexes, manifests and the blobs they name, and the labels by which garbage
 * collection finds them. */
#pragma once

#include <reference.h>

#include "transfer-local.h"

typedef struct
{
  GantryContent *content;
  char **platforms; /* (nullable): what is kept of an index; NULL: everything */
  gboolean lenient; /* manifests may lack layers: some were not wanted */
  GCancellable *cancellable;
  gboolean unnamed; /* what names no platform is kept beside what is for @platforms */
} Tree;

/** Labels @target and everything below it that is here and wanted with what it holds. Errors: NOT_FOUND (a
 * layer is missing; nothing of an index is here), INVALID_ARGUMENT, RESOURCE_EXHAUSTED. */
gboolean tree_label (Tree *self, GantryDescriptor *target, GError **error);

/** The platforms that the options "platforms" and "all-platforms" ask for; by default this machine's.
 * Returns: (transfer full) (nullable): NULL for all. */
char **tree_wanted_platforms (GVariant *options);
/** Which of @platforms (nullable) is unpacked: this machine's if it is among them, or else the first.
 * Returns: (nullable): NULL: this machine's. */
const char *tree_unpack_platform (char **platforms);

/** Makes the image @name or gives it a new target, and sets @labels (nullable). */
gboolean tree_put_image (TransferLocal *self, const char *ns, const char *name, GantryDescriptor *target,
                         GVariant *labels, GCancellable *cancellable, GError **error);

/** The label (containerd's) that tells where a blob is to be had: its value is a list of repositories of that
 * server. Returns: (transfer full): a{ss}. */
GVariant *tree_source_labels (GantryReference *reference);
/** Adds the repository of @reference to that label of @digest. */
gboolean tree_note_source (GantryContent *content, GantryReference *reference, const char *digest,
                           GCancellable *cancellable, GError **error);
/** The other repositories of that server that @digest is known to be in. Returns: (transfer full): may be
 * empty. */
char **tree_other_sources (GantryContent *content, GantryReference *reference, const char *digest,
                           GCancellable *cancellable);

/* platforms.c */

/** Makes an index of what @index has for @platforms; all else of it stays as it is. *@ret_bytes: (transfer
 * full) (nullable): NULL if it has nothing else. Errors: NOT_FOUND (a platform), INVALID_ARGUMENT. */
gboolean tree_reduce_index (JsonNode *index, const char *const *platforms, GBytes **ret_bytes,
                            GError **error);

/* referrers.c */

/** Has @subject hold the manifest @referrer, which refers to it. Both are digests of what is here. */
gboolean tree_add_referrer (GantryContent *content, const char *subject, const char *referrer,
                            GCancellable *cancellable, GError **error);
/** The manifests that @subject holds so and that are here, with their artifact types. Returns: (transfer
 * full) (element-type GantryDescriptor). */
GPtrArray *tree_referrers (GantryContent *content, const char *subject, GCancellable *cancellable,
                           GError **error);
