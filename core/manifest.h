/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Manifests: "*.plugin" key files that declare plugins (docs/writing-a-plugin.md). Everything is known from
 * them before a module is opened. Later directories win over earlier ones, file by file; "*.conf" files in
 * "X.plugin.d" override keys; an empty file or a link to /dev/null masks. */
#pragma once

#include <gantry/plugin.h>

/** A configuration value and where it comes from. */
typedef struct
{
  char *key;
  char *value;
  char *origin; /* "<file>:<line>" or "command line" */
} Setting;

void setting_free (gpointer data);

typedef struct
{
  char *type;
  char *id; /* (nullable) */
  GantryNeedKind kind;
} ManifestNeed;

typedef enum
{
  ON_FAILURE_FAIL,
  ON_FAILURE_WARN,
  ON_FAILURE_IGNORE
} OnFailure;

typedef struct
{
  char *name;   /* "snapshotter-overlay": the file's name without ".plugin" */
  char *path;   /* of the file */
  char *module; /* as written */
  char **provides;
  char *id;
  GPtrArray *needs;  /* of ManifestNeed */
  GPtrArray *config; /* of Setting */
  int rank;
  OnFailure on_failure;
  gboolean isolate; /* Isolate=process */
  char *masked_by;  /* (nullable): the file that masks it; nothing else is then known */
  GError *error;    /* (nullable): why it can't be used */
} Manifest;

void manifest_free (Manifest *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Manifest, manifest_free)

/** Reads all manifests of @dirs, lowest precedence first, sorted by name; one of @dirs may be a manifest
 * itself. @overrides: (element-type utf8):
 * "NAME.KEY=VALUE" from the command line. Warnings (unknown keys, with file and line) are appended to
 * @warnings (element-type utf8). Returns: (transfer full) (element-type Manifest), or NULL with @error (a bad
 * override). */
GPtrArray *manifests_load (const char *const *dirs, const char *const *overrides, GPtrArray *warnings,
                           GError **error);

/** [Config] as a{ss}. Returns: (transfer full). */
GVariant *manifest_get_config (Manifest *self);

/** Sets a key of [Config], said to come from @origin. */
void manifest_set_config (Manifest *self, const char *key, const char *value, const char *origin);

/** The module of @self, if it may be loaded: a file that only root (or we) can change. A name without a
 * directory is looked up in @plugindir. Returns: (transfer full): its path, or NULL with @error. */
char *manifest_resolve_module (Manifest *self, const char *plugindir, GError **error);

/** The line of [@group] @key in the key file @text, or of [@group] (@key NULL), from 1; 0 if it is not there.
 */
guint key_file_find_line (const char *text, const char *group, const char *key);
const char *need_kind_to_string (GantryNeedKind kind);
const char *on_failure_to_string (OnFailure on_failure);
