/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * References to images, as the field writes them:
 *
 *     [server[:port]/]path[/path…][:tag][@algorithm:hex]
 *
 * The first part is a server if it has a dot, a port, brackets (IPv6) or an upper-case letter, or is
 * "localhost"; else the name is *short* and stands for what a list of prefixes makes of it. "docker.io/x" is
 * "docker.io/library/x", "index.docker.io" is "docker.io", and a name with neither tag nor digest means the
 * tag "latest". Source: OCI distribution-spec 1.1 ("Pulling manifests": names and tags), image-spec 1.1
 * (descriptor.md: digests) and what docker, containerd and podman take.
 */
#pragma once

#include <gantry/types.h>

/** The longest reference, in bytes. */
#define GANTRY_REFERENCE_MAX 1024

/** A whole reference, in parts. Immutable. */
typedef struct
{
  GANTRY_VALUE;
  char *server;     /**< "docker.io", "[::1]:5000" */
  char *repository; /**< "library/busybox" */
  char *tag;        /**< (nullable) */
  char *digest;     /**< (nullable); one of the two is there */
} GantryReference;

GANTRY_DEFINE_VALUE (GantryReference, gantry_reference)

/** Reads a whole reference; a short one is completed for docker.io. Errors: INVALID_ARGUMENT with the reason.
 * Returns: (transfer full). */
GantryReference *gantry_reference_parse (const char *text, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** The whole names that @text may stand for, in order of @prefixes (nullable: docker.io): "quay.io" or
 * "registry.example:5000/team". Below docker.io the word "library" is used as docker does: for names of one
 * part only. Errors: INVALID_ARGUMENT with the reason. Returns: (transfer full): at least one, each once. */
char **gantry_reference_complete (const char *text, const char *const *prefixes,
                                  GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** Whether @prefix can stand in front of short names. Errors: INVALID_ARGUMENT with the reason. */
gboolean gantry_reference_check_prefix (const char *prefix, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** Completes @text for docker.io: "busybox" is "docker.io/library/busybox:latest". Errors: INVALID_ARGUMENT.
 * Returns: (transfer full). */
char *gantry_reference_normalize (const char *text, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** The reference as one string. Returns: (transfer full). */
char *gantry_reference_to_string (const GantryReference *self);

/** How docker shows it: "docker.io/library/busybox:1" is "busybox:1". Returns: (transfer full). */
char *gantry_reference_to_familiar (const GantryReference *self);

/** Checks "<algorithm>:<hex>": sha256, sha384 or sha512 with as many lower-case digits as that has. Errors:
 * INVALID_ARGUMENT with the reason. */
gboolean gantry_reference_check_digest (const char *digest, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** Checks a tag. Errors: INVALID_ARGUMENT with the reason. */
gboolean gantry_reference_check_tag (const char *tag, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** Checks "host[:port]" and splits it: *@ret_host (optional) (transfer full) is without port and brackets;
 * *@ret_port (optional): 0 if it names none. Errors: INVALID_ARGUMENT with the reason. */
gboolean gantry_reference_split_server (const char *server, char **ret_host, guint *ret_port,
                                        GError **error) G_GNUC_WARN_UNUSED_RESULT;
