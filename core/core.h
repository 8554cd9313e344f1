/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The daemon's heart: plugins, their states, and who serves whom. All of it lives in the main context; init
 * () runs on worker threads, lookups come from everywhere and take the lock. */
#pragma once

#include "manifest.h"

#include <gantry/frontend.h>
#include <gantry/introspection.h>
#include <gantry/messages.h>
#include <gmodule.h>

typedef enum
{
  STATE_PENDING,  /* not tried yet, or waits for a provider */
  STATE_STARTING, /* init () runs */
  STATE_OK,
  STATE_SKIPPED,
  STATE_FAILED,
  STATE_ENDED, /* fini () was called: the daemon ends */
} State;

typedef struct _Core Core;
typedef struct _Plugin Plugin;

struct _Plugin
{
  GantryHost host;
  Core *core;
  Manifest *manifest;
  char *file; /* (nullable): the module's */
  const GantryPluginDesc *desc;
  GVariant *config;
  gpointer instance;

  /* With the core's lock. */
  State state;
  char *reason;        /* (nullable) */
  char *status;        /* (nullable): what it reports of itself */
  char *last_error;    /* (nullable): of init (), also when a later try went well */
  guint attempts;      /* how often init () was called */
  gboolean waiting;    /* SKIPPED, but it may start later: it said so, or a provider may come */
  gboolean lacks_need; /* SKIPPED for want of a provider */
  gboolean awaits;     /* ... that has said that it will come later */
  gboolean retrying;   /* it said UNAVAILABLE: a timer runs */
  gint64 init_us;
  Plugin **providers; /* of each need of the descriptor; NULL for MANY and absent ones */

  /* In the main context alone. */
  guint retry_ms;
  GSource *retry;
  gboolean serving;     /* a frontend that listens */
  gboolean not_serving; /* a frontend that will never listen */

  GMutex dirs_lock;
  char *dir_path[2];
  int dir_fd[2];
  char *build_id;
};

typedef struct
{
  char *root;
  char *state;
  char *plugindir;
  char **plugins_dirs;
  char **overrides;
  guint io_threads;
  guint runtime_threads;
  guint max_queue;
  guint idle_seconds;  /* 0: never leaves */
  gboolean checking;   /* frontends do not listen */
  gboolean hosting;    /* this is gantry-plugin-host: Isolate= has been followed already */
  GPtrArray *settings; /* of Setting: the daemon's own */
  GPtrArray *warnings; /* of utf8: about the configuration file */
} Options;

struct _Core
{
  Options *options;
  GMainContext *context;
  GMainLoop *loop;
  GMutex lock;
  GPtrArray *plugins;  /* of Plugin, by name */
  GPtrArray *started;  /* in order of start */
  GPtrArray *warnings; /* of utf8 */
  guint starting;      /* init ()s under way */
  gboolean settled;    /* everything that can start has been tried once */
  void (*on_settled) (Core *self);
  gboolean stopping;
  gboolean fatal; /* a required plugin did not start: the daemon ends */
  GSource *slow;  /* warns of an init () that takes long */
  GMutex trace_lock;
  GPtrArray *trace; /* of utf8 */
  gboolean debug;   /* the trace goes to the log, too */
  guint frontends_stopping;
  int exit_status;
  GThreadPool *init_pool;
  GMutex pools_lock;
  GThreadPool *pools[2]; /* with pools_lock; NULL once the daemon ends */
  gint holds;
  GSource *idle;
  GSource *rest; /* see rest.h */
  char *uuid;
  gint64 started_ns;
  GantryIntrospection introspection;
  GArray *watches;
  guint64 last_watch;
  GSource *changed; /* the watches will be told */
};

/* core.c */
Core *core_new (Options *options);
void core_free (Core *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Core, core_free)
/** Reads manifests and opens modules. Errors: of the command line. */
gboolean core_load (Core *self, GError **error);
/** Skips what can never start, so that a core that is not started tells of it, too. */
void core_resolve (Core *self);
/** Begins to start what can start. */
void core_start (Core *self);
/** Stops the frontends, then ends the loop. */
void core_stop (Core *self, const char *reason);
/** Ends every plugin, in the reverse order of their start. */
void core_finish (Core *self);
/** Notes @state and @reason (nullable), and tells of it. With the lock. */
void core_conclude (Plugin *plugin, State state, const char *reason);
/** Notes why something was taken or refused. From any thread, with the lock or without. */
void core_trace (Core *self, const char *format, ...) G_GNUC_PRINTF (2, 3);
/** Runs @func (@data) in the main context, never at once. From any thread. */
void core_post (Core *self, GSourceFunc func, gpointer data);

/* isolate.c */
/** Puts the proxy of @manifest, which says Isolate=process, in its place. */
gboolean isolate_plugin (Core *core, Manifest *manifest, GError **error);

/* graph.c */
typedef enum
{
  READY_YES,
  READY_WAIT,
  READY_NEVER
} Readiness;
/** Whether all needs of @plugin are served; fills its providers for YES, sets *@ret_reason for NEVER. With
 * the lock. */
Readiness graph_check (Plugin *plugin, char **ret_reason);
/** The providers of @type (and @id, nullable), highest rank first, whatever their state. With the lock. */
GPtrArray *graph_candidates (Core *core, const char *type, const char *id);
/** Concludes what provides the same as another, or has the directory of another, as FAILED. With the lock. */
void graph_refuse_duplicates (Core *core);
/** Concludes the members of every circle as FAILED. Returns: whether there was one. With the lock. */
gboolean graph_refuse_circles (Core *core);
/** The id that the manifest pins for @need, or the descriptor's own, or NULL. */
const char *graph_need_id (Plugin *plugin, const GantryNeed *need);
/** Who has come for an OPTIONAL @need that nobody served at first, or NULL. With the lock. */
Plugin *graph_find_late (Plugin *plugin, const GantryNeed *need);
/** Whether a plugin that runs uses @provider, or may. With the lock. */
gboolean graph_is_used (Plugin *provider);
/** Traces who serves each need of @plugin, and who was passed over. With the lock. */
void graph_trace (Plugin *plugin);
gboolean plugin_provides (Plugin *plugin, const char *type);
/** The size of the vtable of @type of @provider, which has started. */
size_t plugin_vtable_size (Plugin *provider, const char *type);
gboolean graph_is_big_enough (Plugin *provider, const GantryNeed *need);

/* loader.c */
/** Opens the module of @plugin and checks it against the manifest. */
gboolean loader_open (Plugin *plugin, const char *plugindir, GError **error);
gboolean loader_check_desc (const GantryPluginDesc *desc, const char *file, GError **error);

/* host.c */
/** Work that a plugin submitted to a pool. */
typedef struct
{
  GFunc func;
  gpointer data;
  GDestroyNotify destroy;
} Job;
void host_init (Plugin *plugin);
void host_clear (Plugin *plugin);
/** Closes the directories of a plugin that has ended. */
void host_clear_dirs (Plugin *plugin);
void core_hold (Core *core, int delta);
/** "content-local": what the directories of @plugin are called. Returns: (transfer full). */
char *plugin_dir_name (Plugin *plugin);

/* introspect.c */
void introspection_init (Core *core);
GVariant *introspection_describe (Plugin *plugin);
void introspection_changed (Core *core);
/** What the configuration key @key is when nobody sets it. Returns: (transfer none) (nullable): the module
 * does not tell. */
const char *introspection_get_default (Plugin *plugin, const char *key);
