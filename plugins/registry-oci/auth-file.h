/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The format that docker's config.json (docker/cli) and containers-auth.json(5) share: "auths" by server, and
 * in the latter by server and path; "credHelpers" by server; "credsStore" for all. */
#pragma once

#include <gantry/registry.h>
#include <json-glib/json-glib.h>

typedef struct _AuthFile AuthFile;

void auth_file_free (AuthFile *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (AuthFile, auth_file_free)

/** Parses a file; @path is for messages. Errors: INVALID_ARGUMENT. Returns: (transfer full). */
AuthFile *auth_file_new (GBytes *bytes, const char *path, GError **error);

/** "https://index.docker.io/v1/" and "docker.io" name the same. Returns: (transfer full): how the functions
 * below want it. */
char *auth_file_canonical (const char *server);

/** Returns: (transfer none) (nullable): "auths". */
JsonObject *auth_file_get_auths (AuthFile *self);

/** The helper that is to be asked. *@ret_key: (transfer full): by which name. Returns: (transfer none)
 * (nullable): not checked. */
const char *auth_file_get_helper (AuthFile *self, const char *host, const char *repository, char **ret_key);

/** What the file itself has. *@ret_credentials: (transfer full): untouched if there is nothing. Errors:
 * INVALID_ARGUMENT. */
gboolean auth_file_find (AuthFile *self, const char *host, const char *repository,
                         GantryCredentials **ret_credentials, GError **error);
