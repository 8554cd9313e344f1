/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The worker's own view of the file system: nothing but the trees that it was started for.
 */
#pragma once

#include <glib.h>

/* The mounts of one tree, as they come in a request. */
typedef struct
{
  char *type;
  char *source;
  char *target;
  char **options;
} UnpackMount;

void unpack_mount_free (UnpackMount *self);

/** Reads mounts of UNPACK_MOUNTS_TYPE. Returns: (transfer full) (element-type UnpackMount). */
GPtrArray *unpack_mounts_from_variant (GVariant *variant);

/** The value of the option @key in @mount ("upperdir"), "" for an option without one. Returns: (transfer
 * none) (nullable). */
const char *unpack_mount_get_option (const UnpackMount *mount, const char *key);

/** Whether writing straight into an upperdir gives what writing to @mounts would. */
gboolean unpack_mounts_are_overlay (GPtrArray *mounts);

/** Leaves the mount namespace for a private one, over whose root there is an empty directory: the current
 * one. To be called once, before threads. */
gboolean unpack_mount_isolate (GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** Mounts @mounts at the new directory @name of the current one. Returns: (transfer full): an fd of its root,
 * or -1. */
int unpack_mount_all (const char *name, GPtrArray *mounts, gboolean read_only,
                      GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** Mounts the upperdir of the overlay @mount at the new directory @name. Returns: as unpack_mount_all (). */
int unpack_mount_upper (const char *name, const UnpackMount *mount, gboolean read_only,
                        GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** Mounts what the overlay @mount shows without its upperdir, read-only. Returns: as unpack_mount_all (). */
int unpack_mount_lower (const char *name, const UnpackMount *mount, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/** Makes the current directory the root. What was the root is then out of reach. */
gboolean unpack_mount_enter (GError **error) G_GNUC_WARN_UNUSED_RESULT;

G_DEFINE_AUTOPTR_CLEANUP_FUNC (UnpackMount, unpack_mount_free)
