/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the verbs share: the connection, calls, errors, tables. */
#pragma once

#include <gio/gio.h>
#include <gio/gunixfdlist.h>

typedef struct {
  const char *address; /* --address, GANTRY_ADDRESS, or NULL */
  const char *ns;      /* --namespace, GANTRY_NAMESPACE, or "default" */
  gboolean json;       /* --format json */
} CliGlobals;

extern CliGlobals cli;

typedef int (*CliFunc) (int argc, char **argv);

/** Calls @method of the object @path. Without a daemon one is started on demand. On failure prints one line and returns NULL.
 * @fds: (nullable). @parameters is sunk. */
GVariant *cli_call (const char *path, const char *interface, const char *method, GVariant *parameters, GUnixFDList *fds);
/** As cli_call, with the error given to the caller. */
GVariant *cli_try (const char *path, const char *interface, const char *method, GVariant *parameters, GUnixFDList *fds,
                   GError **error);
GDBusConnection *cli_connect (GError **error);
/** Prints "gantry: <message>". Returns: 1. */
int cli_fail (const char *format, ...) G_GNUC_PRINTF (1, 2);
int cli_fail_error (GError *error);
char *cli_namespace_path (void);
/** The path of a container. Returns: (transfer full), or NULL after a message. */
char *cli_container_path (const char *id);
/** Prints @value as JSON. */
void cli_print_json (GVariant *value);
/** Parses the options of a verb; @usage: "IMAGE [COMMAND…]". Returns: FALSE after a message. @strict: options end at the first argument. */
gboolean cli_parse (int *argc, char ***argv, const char *verb, const char *usage, const char *summary,
                    const GOptionEntry *entries, gboolean strict);

int cli_run (int argc, char **argv);
int cli_create (int argc, char **argv);
int cli_start (int argc, char **argv);
int cli_exec (int argc, char **argv);
int cli_attach (int argc, char **argv);
int cli_kill (int argc, char **argv);
int cli_stop (int argc, char **argv);
int cli_rm (int argc, char **argv);
int cli_ps (int argc, char **argv);
int cli_wait (int argc, char **argv);
int cli_inspect (int argc, char **argv);
int cli_image (int argc, char **argv);
int cli_ns (int argc, char **argv);
int cli_events (int argc, char **argv);
int cli_plugin (int argc, char **argv);
int cli_system (int argc, char **argv);
int cli_check (int argc, char **argv);
