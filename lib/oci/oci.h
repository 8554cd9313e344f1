/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * OCI documents: index, manifest, config (image-spec 1.1) and their Docker schema 2 twins, read with limits.
 */
#pragma once

#include <gantry/content.h>
#include <json-glib/json-glib.h>

#define OCI_INDEX       "application/vnd.oci.image.index.v1+json"
#define OCI_MANIFEST    "application/vnd.oci.image.manifest.v1+json"
#define OCI_CONFIG      "application/vnd.oci.image.config.v1+json"
#define OCI_LAYER       "application/vnd.oci.image.layer.v1.tar"
#define DOCKER_INDEX    "application/vnd.docker.distribution.manifest.list.v2+json"
#define DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define DOCKER_CONFIG   "application/vnd.docker.container.image.v1+json"
#define DOCKER_LAYER    "application/vnd.docker.image.rootfs.diff.tar"

/** The largest document that is read, in bytes. */
#define OCI_MAX_DOCUMENT (4 * 1024 * 1024)
/** How deep indexes may be nested, and how many layers one image may have. */
#define OCI_MAX_INDEX_DEPTH 8
#define OCI_MAX_LAYERS      512

/** Parses a JSON object. Errors: INVALID_ARGUMENT (not JSON, nested deeper than 64, larger than
 * OCI_MAX_DOCUMENT, a number that no double holds, a string that is no UTF-8). Returns: (transfer full). */
JsonNode *oci_parse (const void *data, gsize length, GError **error);
/** Reads the blob @digest, of at most OCI_MAX_DOCUMENT bytes. Returns: (transfer full). */
GBytes *oci_read_bytes (GantryContent *content, const char *digest, GCancellable *cancellable,
                        GError **error);
/** Reads and parses the blob @digest. */
JsonNode *oci_read (GantryContent *content, const char *digest, GCancellable *cancellable, GError **error);

/** Members of the right type, or NULL. */
const char *oci_string (JsonObject *object, const char *name);
JsonObject *oci_object (JsonObject *object, const char *name);
JsonArray *oci_array (JsonObject *object, const char *name);
/** A whole number, or @fallback. */
gint64 oci_int (JsonObject *object, const char *name, gint64 fallback);
/** The strings of an array; anything else in it is left out. Returns: (transfer full). */
char **oci_strv (JsonObject *object, const char *name);

/** A descriptor object. Errors: INVALID_ARGUMENT. Returns: (transfer full). */
GantryDescriptor *oci_descriptor (JsonObject *object, GError **error);
gboolean oci_is_index (const char *media_type);
gboolean oci_is_manifest (const char *media_type);
/** Whether it is a layer that its licence forbids to pass on (image-spec, layer.md): it may stay away. */
gboolean oci_is_foreign (const char *media_type);

/** "linux/arm64/v8" of this machine: without a variant where there is a usual one. */
const char *oci_host_platform (void);
/** What this machine can run at most, to be matched: "linux/amd64/v3". */
const char *oci_host_match (void);
/** How well an image for @have suits where @want is asked for: 0: not at all; more is better. A processor
 * also runs what was built for older variants of it. */
guint oci_platform_score (const char *want, const char *have);
/** Whether an image for @have runs where @want is asked for. */
gboolean oci_platform_matches (const char *want, const char *have);
/** What of the index @index is wanted: for each of @platforms (nullable: everything) the best, and where
 * there is none, what names no platform. Errors: INVALID_ARGUMENT (no index; an entry is no descriptor).
 * Returns: (transfer full) (element-type GantryDescriptor): in order of @platforms, each once; may be empty.
 */
GPtrArray *oci_select_manifests (JsonNode *index, const char *const *platforms, GError **error);

/** The chain ID of the first @n of @diff_ids (image-spec, config.md, "Layer ChainID"). Returns: (transfer
 * full). */
char *oci_chain_id (char **diff_ids, guint n);
/** The same from the chain ID @parent (nullable) of the layers below. Returns: (transfer full). */
char *oci_next_chain_id (const char *parent, const char *diff_id);

/** One image for one platform, with all that its documents say. */
typedef struct
{
  GantryDescriptor *manifest;
  GantryDescriptor *config_descriptor;
  JsonNode *config;
  GPtrArray *layers; /* of GantryDescriptor */
  char **diff_ids;
  char *platform;
} OciImage;

void oci_image_free (OciImage *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (OciImage, oci_image_free)

/** Follows @target to the manifest for @platform (nullable: this machine's). Errors: as oci_image_load.
 * Returns: (transfer full). */
GantryDescriptor *oci_find_manifest (GantryContent *content, GantryDescriptor *target, const char *platform,
                                     GCancellable *cancellable, GError **error);
/** What the manifest for @platform (nullable: this machine's) at or below @target names as its config; that
 * itself need not be here. Errors: as oci_image_load. Returns: (transfer full). */
GantryDescriptor *oci_find_config (GantryContent *content, GantryDescriptor *target, const char *platform,
                                   GCancellable *cancellable, GError **error);

/** Follows @target to the manifest for @platform (nullable: this machine's). Errors: NOT_FOUND (platform,
 * content), INVALID_ARGUMENT, DATA_LOSS. */
OciImage *oci_image_load (GantryContent *content, GantryDescriptor *target, const char *platform,
                          GCancellable *cancellable, GError **error);
