/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the verbs share. The command line stands on libgantry alone. */
#pragma once

#include <gantry/gantry.h>
#include <json-glib/json-glib.h>

/** Our own failures, as podman and env (1) have them: 2 for a wrong command line, 125 when a container could
 * not be run. */
#define CLI_USAGE   2
#define CLI_NOT_RUN 125

typedef struct
{
  const char *address; /* --address, GANTRY_ADDRESS, or NULL */
  const char *ns;      /* --namespace, GANTRY_NAMESPACE, or "default" */
  gboolean json;       /* --format json */
} CliGlobals;

extern CliGlobals cli;

/* connect.c */

/** The daemon; without one it is started on demand. Returns: (transfer none), or NULL after a message. */
GantryClient *cli_client (void);
/** The daemon if one runs, without starting one. Returns: (transfer none), or NULL; after a message if
 * --address names another. */
GantryClient *cli_running_client (void);
/** The namespace that was asked for. Returns: (transfer none), or NULL after a message. */
GantryNamespace *cli_namespace (void);
/** Returns: (transfer full), or NULL after a message. */
GantryContainer *cli_container (const char *id);
GantryImage *cli_image_object (const char *name);
/** The path of gantryd, and of the manifests beside an uninstalled one (nullable). Returns: (transfer full).
 */
char *cli_find_daemon (char **ret_manifests);

/* output.c */

/** Prints "gantry: <message>". Returns: 1. */
int cli_fail (const char *format, ...) G_GNUC_PRINTF (1, 2);
/** The same of @error (transfer full). Returns: 1. */
int cli_fail_error (GError *error);
/** 0 if @ok, or cli_fail_error () of *@error, which may be set by an earlier argument. */
int cli_done (gboolean ok, GError **error);
/** A wrong command line. Returns: CLI_USAGE. */
int cli_usage (const char *verb, const char *format, ...) G_GNUC_PRINTF (2, 3);
/** Prints @value (sunk) as JSON. */
void cli_print_json (GVariant *value);
void cli_print_node (JsonNode *node);
/** Prints rows of tab-separated cells (element-type utf8) as columns. */
void cli_print_table (GPtrArray *rows);
/** Prints what a verb lists: @objects as JSON, or a table of them with @header, or their names alone.
 * @get_info: (transfer none): an object's a{sv}. @add: adds the row of one. */
void cli_print_list (GPtrArray *objects, GVariant *(*get_info) (gpointer object), const char *header,
                     void (*add) (GPtrArray *rows, GVariant *info, gboolean quiet), gboolean quiet);
void cli_add_row (GPtrArray *rows, const char *format, ...) G_GNUC_PRINTF (2, 3);
GPtrArray *cli_new_table (void);
/** The string @key of the a{sv} @dict, or "". */
const char *cli_string (GVariant *dict, const char *key);
/** "3 minutes ago". Returns: (transfer full). */
char *cli_ago (gint64 ns);
/** "a=b c=d". Returns: (transfer full). */
char *cli_labels (GVariant *labels);

/* options.c */

/** Parses the options of @verb. @arguments: "IMAGE [COMMAND…]"; @help: some sentences and an example.
 * @strict: options end at the first argument. Returns: FALSE after a message. */
gboolean cli_parse (int *argc, char ***argv, const char *verb, const char *arguments, const char *help,
                    const GOptionEntry *entries, gboolean strict);
/** "K=V" pairs as a{ss}; "K" is empty. Returns: (transfer floating). */
GVariant *cli_pairs (char **pairs);
/** "TERM", "SIGTERM" or "15", or -1. */
int cli_parse_signal (const char *text);

typedef int (*CliFunc) (int argc, char **argv);

/** A verb, or a verb's second word. */
typedef struct
{
  const char *name;
  CliFunc func;
  const char *summary;
} CliVerb;

/** Runs the second word of the noun @noun. */
int cli_dispatch (const char *noun, const char *summary, const CliVerb *verbs, gsize n, int argc,
                  char **argv);

/* progress.c */

/** Shows the progress of @job (transfer full) until its end; an interrupt cancels it. @result: (optional):
 * (transfer full): a{sv}. Returns: an exit status. */
int cli_follow_job (GantryJob *job, GVariant **ret_result);
/** As cli_follow_job; in a pipe a line tells each item that has come. @quiet: shows nothing. */
int cli_follow_items (GantryJob *job, gboolean quiet, GVariant **ret_result);

/* bars.c */

/** A bar of @width columns (at least 2) of which @part (0 to 1; less: not known) is done. Returns: (transfer
 * full). */
char *cli_bar (double part, guint width);
/** Draws @lines (of utf8) over what @self drew before, each cut to the terminal's width; writes to standard
 * error. */
typedef struct
{
  guint drawn;
} CliScreen;
void cli_screen_draw (CliScreen *self, GPtrArray *lines);
/** Takes away what was drawn. */
void cli_screen_clear (CliScreen *self);
void cli_screen_size (guint *ret_columns, guint *ret_rows);

/* access.c */

/** How a registry is reached. */
typedef struct
{
  char *creds, *hosts_dir;
  gboolean password_stdin, anonymous, plain_http, skip_verify;
} CliAccess;

#define CLI_ACCESS_ENTRIES(access)                                                                             \
  {                                                                                                            \
    "creds", 'u', 0, G_OPTION_ARG_STRING, &(access).creds, "Log in as, for this call only", "USER[:PASSWORD]"  \
  },                                                                                                           \
      { "password-stdin",                                                                                      \
        0,                                                                                                     \
        0,                                                                                                     \
        G_OPTION_ARG_NONE,                                                                                     \
        &(access).password_stdin,                                                                              \
        "Read the password from standard input",                                                               \
        NULL },                                                                                                \
      { "anonymous", 0, 0, G_OPTION_ARG_NONE, &(access).anonymous, "Use no stored credentials", NULL },        \
      { "plain-http", 0, 0, G_OPTION_ARG_NONE, &(access).plain_http, "Allow HTTP beyond this machine", NULL }, \
      { "skip-verify", 'k', 0, G_OPTION_ARG_NONE, &(access).skip_verify, "Accept any TLS certificate", NULL }, \
  {                                                                                                            \
    "hosts-dir", 0, 0, G_OPTION_ARG_FILENAME, &(access).hosts_dir, "Directory with hosts.toml files", "DIR"    \
  }

void cli_access_clear (CliAccess *access);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (CliAccess, cli_access_clear)
/** Adds it to a call's options. Returns: FALSE after a message. */
gboolean cli_access_add (GVariantDict *options, const CliAccess *access);
/** One line of standard input, without its end. Returns: (transfer full). */
char *cli_read_line (void);

/* registry.c */
int cli_login (int argc, char **argv);
int cli_logout (int argc, char **argv);
int cli_search_tags (int argc, char **argv);
int cli_referrers (int argc, char **argv);
int cli_registry (int argc, char **argv);

/* pull.c */

/** Pulls @reference with the options of run and shows the progress. Returns: an exit status. */
int cli_pull_missing (const char *reference, const char *platform, const char *snapshotter);
int cli_image_usage (int argc, char **argv);
int cli_image_prune (int argc, char **argv);
int cli_pull (int argc, char **argv);
int cli_push (int argc, char **argv);

/* container-options.c */

typedef struct
{
  gboolean detach, interactive, tty, rm, read_only, privileged, no_new_privileges;
  char *name, *user, *cwd, *hostname, *network, *memory, *snapshotter, *entrypoint, *pull, *spec, *pid_file,
      *platform, *runtime, *seccomp;
  char **env, **mounts, **cap_add, **cap_drop, **devices, **ulimits, **labels, **annotations;
  double cpus;
  gint64 pids;
} RunOptions;

/** As a{sv} (floating), or NULL after a message. */
GVariant *run_options_to_variant (const RunOptions *run, char **args);
void run_options_clear (RunOptions *run);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (RunOptions, run_options_clear)

/* session.c */

/** A process whose streams are ours. */
typedef struct
{
  GantryProcess *process;
  int socket; /* of its console, or -1 */
} Session;

/** Streams for a process: ours, or with @tty a socket, or with @detach kept ones. Returns: (transfer full).
 */
GantryStdio *session_stdio (Session *session, gboolean detach, gboolean interactive, gboolean tty);
/** Gives the console of a process that has not started the size of our terminal, so that its program never
 * sees another. */
void session_set_size (Session *session);
/** Copies what has to be copied, and waits. Returns: its exit status, or CLI_NOT_RUN after a message. */
int session_follow (Session *session);
/** The exit status for a process that could not be started, after a message. @error: (transfer full). */
int session_start_failure (GError *error);

/* convert.c */
int cli_image_convert (int argc, char **argv);

/* install.c */
int cli_image_install (int argc, char **argv);

/* verify.c */
int cli_image_verify (int argc, char **argv);
int cli_image_sign (int argc, char **argv);

int cli_run (int argc, char **argv);
int cli_create (int argc, char **argv);
int cli_start (int argc, char **argv);
int cli_exec (int argc, char **argv);
int cli_logs (int argc, char **argv);
int cli_attach (int argc, char **argv);
int cli_kill (int argc, char **argv);
int cli_stop (int argc, char **argv);
int cli_pause (int argc, char **argv);
int cli_resume (int argc, char **argv);
int cli_rm (int argc, char **argv);
int cli_ps (int argc, char **argv);
int cli_top (int argc, char **argv);
int cli_stats (int argc, char **argv);
int cli_wait (int argc, char **argv);
int cli_inspect (int argc, char **argv);
int cli_image (int argc, char **argv);
int cli_content (int argc, char **argv);
int cli_mount (int argc, char **argv);
int cli_ns (int argc, char **argv);
int cli_sandbox (int argc, char **argv);
int cli_events (int argc, char **argv);
int cli_plugin (int argc, char **argv);
int cli_config (int argc, char **argv);
int cli_job (int argc, char **argv);
int cli_system (int argc, char **argv);
int cli_check (int argc, char **argv);
int cli_gc (int argc, char **argv);
