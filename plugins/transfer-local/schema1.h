/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Docker's manifests of schema 1, read, and the OCI image that they become (Docker registry HTTP API v2,
 * "Image Manifest Version 2, Schema 1"; Docker image spec v1; image-spec 1.1, config.md and manifest.md). */
#pragma once

#include "transfer-local.h"

/** As registry.h hands such a manifest out. */
#define SCHEMA1_MANIFEST "application/vnd.docker.distribution.manifest.v1+json"

typedef struct _Schema1 Schema1;

/** Reads the manifest @bytes. Errors: INVALID_ARGUMENT, RESOURCE_EXHAUSTED (more than OCI_MAX_LAYERS layers).
 */
Schema1 *schema1_parse (GBytes *bytes, GError **error);
void schema1_free (Schema1 *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Schema1, schema1_free)

/** The blobs of its layers, the lowest first, without those that change nothing; one may come twice. */
const char *const *schema1_get_blobs (Schema1 *self);
/** The OCI image config, with the DiffID of each blob. Returns: (transfer full). */
GBytes *schema1_make_config (Schema1 *self, const char *const *diff_ids);

/** Fetches the layers of @target, a schema 1 manifest, finds their DiffIDs, and has @content hold the config
 * and the OCI manifest that it becomes. @source: (nullable): a{ss}: labels of what is fetched. Blocks: as
 * long as it takes. Errors: as pull. Returns: (transfer full): the OCI manifest. */
GantryDescriptor *schema1_convert (TransferLocal *self, Progress *progress, GantryContent *content,
                                   GantryRepository *repository, GantryDescriptor *target, GVariant *source,
                                   GCancellable *cancellable, GError **error);
