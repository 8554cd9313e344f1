/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The daemon's heart: plugins, their states, and who serves whom. All of it lives in the main context; init
 * () runs on worker threads, lookups come from everywhere and take the lock. */
#pragma once

#include "manifest.h"

#include <gantry/frontend.h>
#include <gantry/introspection.h>
#include <gmodule.h>

typedef enum
{
  STATE_PENDING,  /* not tried yet, or waits for a provider */
  STATE_STARTING, /* init () runs */
  STATE_OK,
  STATE_SKIPPED,
  STATE_FAILED,
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
  char *reason;      /* (nullable) */
  char *status;      /* (nullable): what it reports of itself */
  gboolean waiting;  /* SKIPPED, but it may start later: it said so, or a provider may come */
  gboolean retrying; /* it said UNAVAILABLE: a timer runs */
  guint retry_ms;
  GSource *retry;
  gint64 init_us;
  Plugin **providers; /* of each need of the descriptor; NULL for MANY and absent ones */
  gint64 started_at;
  gboolean serving; /* a frontend that listens */

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
  GPtrArray *settings; /* of Setting: the daemon's own */
} Options;

struct _Core
{
  Options *options;
  GMainContext *context;
  GMainLoop *loop;
  GMutex lock;
  GPtrArray *plugins;  /* of Plugin, by name */
  GPtrArray *started;  /* in order of start */
  GPtrArray *trace;    /* of utf8 */
  GPtrArray *warnings; /* of utf8 */
  guint starting;      /* init ()s under way */
  gboolean settled;    /* everything that can start has been tried once */
  gboolean stopping;
  guint frontends_stopping;
  int exit_status;
  GThreadPool *init_pool;
  GMutex pools_lock;
  GThreadPool *pools[2]; /* with pools_lock; NULL once the daemon ends */
  gint holds;
  GSource *idle;
  char *uuid;
  gint64 started_ns;
  GantryIntrospection introspection;
  GArray *watches;
  guint64 last_watch;
};

/* core.c */
Core *core_new (Options *options);
void core_free (Core *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Core, core_free)
/** Reads manifests and opens modules. Errors: of the command line. */
gboolean core_load (Core *self, GError **error);
/** Begins to start what can start. */
void core_start (Core *self);
/** Stops the frontends, then ends the loop. */
void core_stop (Core *self, const char *reason);
/** Ends every plugin, in the reverse order of their start. */
void core_finish (Core *self);
void core_trace (Core *self, const char *format, ...) G_GNUC_PRINTF (2, 3);

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
/** Marks the members of every cycle, of every duplicate and of self-dependencies FAILED. With the lock. */
void graph_refuse_impossible (Core *core);
gboolean plugin_provides (Plugin *plugin, const char *type);

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
void core_hold (Core *core, int delta);

/* introspect.c */
void introspection_init (Core *core);
GVariant *introspection_describe (Plugin *plugin);
void introspection_changed (Core *core);
GVariant *settings_to_variant (GPtrArray *settings, const char *const *known);
