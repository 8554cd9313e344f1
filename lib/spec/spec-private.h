/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "spec.h"

/** A user as the image knows it. */
typedef struct
{
  guint32 uid;
  guint32 gid;
  GArray *groups; /* of guint32: supplementary */
  char *home;     /* (nullable) */
} SpecUser;

void spec_user_clear (SpecUser *user);
/** Looks up "name", "uid", "name:group", "uid:gid" in the /etc/passwd and /etc/group of @mounts. */
gboolean spec_user_lookup (const char *text, GPtrArray *mounts, SpecUser *ret_user, GError **error);

/** Adds "process" to @builder, an object under construction. */
gboolean spec_add_process (JsonBuilder *builder, JsonObject *config, GPtrArray *mounts, GVariantDict *options,
                           GError **error);
void spec_add_strings (JsonBuilder *builder, const char *name, const char *const *strings);
/** Whether a layer of the root file system @mounts, (nullable), has @path; whiteouts are not looked at. */
gboolean spec_root_has (GPtrArray *mounts, const char *path);
/** Whether the image is for, or brings the dynamic loader of, the 32-bit programs that the running
 * architecture can execute. */
gboolean spec_has_32bit (JsonObject *config, GPtrArray *mounts);
/** Adds the default seccomp profile as "seccomp". With @with_32bit, it is for 32-bit programs too. */
void spec_add_seccomp (JsonBuilder *builder, const char *const *capabilities, gboolean with_32bit);
/** The capabilities that the options leave. Returns: (transfer full). */
char **spec_capabilities (GVariantDict *options, GError **error);
