/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the verbs about plugins share. */
#pragma once

#include "cli.h"

/** Where to read from: a running daemon, or the files. */
typedef struct
{
  gboolean offline;
  char **dirs;
} PluginSource;

void plugin_source_clear (PluginSource *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (PluginSource, plugin_source_clear)

#define PLUGIN_SOURCE_ENTRIES(source)                                                                        \
  { "offline", 0, 0, G_OPTION_ARG_NONE, &(source).offline, "Read the files; ask no daemon", NULL },          \
  {                                                                                                          \
    "plugins-dir", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &(source).dirs,                                        \
        "Read manifests there (implies --offline)", "DIR"                                                    \
  }

/** Every plugin, as an array. Without a daemon, and with --offline, they are read from the files, in a child
 * of gantryd. Returns: (transfer full), or NULL after a message. */
JsonNode *plugin_load_all (PluginSource *source);
/** The trace, as an array of strings. As above. */
JsonNode *plugin_load_trace (PluginSource *source);
/** The daemon's own settings, as an array. As above. */
JsonNode *plugin_load_settings (PluginSource *source);

/** The string member @name, or "". */
const char *plugin_get (JsonObject *object, const char *name);
/** The array member @name; an empty one if it is absent. Returns: (transfer none). */
JsonArray *plugin_get_array (JsonObject *object, const char *name);
/** Returns: (transfer none), or NULL. */
JsonObject *plugin_find (JsonArray *plugins, const char *name);
/** The same, or NULL after a message that names what is near. */
JsonObject *plugin_need (JsonArray *plugins, const char *name);
/** Whether a need of @plugin is served by @provider. @ret_need: (optional). */
gboolean plugin_uses (JsonObject *plugin, const char *provider, JsonObject **ret_need);
/** @state, in colour on a terminal. Returns: (transfer full). */
char *plugin_paint (const char *state);

int plugin_graph (int argc, char **argv);
int plugin_check (int argc, char **argv);
int plugin_trace (int argc, char **argv);
