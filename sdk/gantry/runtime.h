/* SPDX-License-Identifier: MIT
 *
 * Runtimes
 * --------
 * A runtime runs *tasks*: the processes of a container. It is given a *bundle*'s parts (spec, root file
 * system mounts, stdio) and knows no images, snapshots or records. A task has one *init* process (exec id "")
 * and any number of *execs*.
 *
 *     create (ns, id, spec, mounts, stdio)  -> pid      the init process exists and waits
 *     start (ns, id, "")                                it runs
 *       … the watch hears GANTRY_TASK_EXIT …
 *     remove (ns, id, "")  -> exit                      nothing is left
 *
 * Tasks outlive the daemon: at its start a runtime finds those of its last life again, with the exact exit of
 * each that ended in between. Waiting is not a slot: exits come to the watch, in the daemon's main context,
 * and are kept until remove ().
 *
 * Operations differ in length but all are bounded by what the OCI runtime takes; all may be called from any
 * worker thread.
 */
#pragma once

#include <gio/gunixfdlist.h>
#include <gantry/types.h>

G_BEGIN_DECLS

#define GANTRY_RUNTIME_TYPE "org.gantry.runtime.v1"

/** The values are containerd's (api/types/task, Status). */
typedef enum
{
  GANTRY_TASK_UNKNOWN = 0,
  GANTRY_TASK_CREATED = 1,
  GANTRY_TASK_RUNNING = 2,
  GANTRY_TASK_STOPPED = 3,
  GANTRY_TASK_PAUSED = 4,
  GANTRY_TASK_PAUSING = 5,
} GantryTaskStatus;

/** Where a process's standard streams go. Each of stdin_uri, stdout_uri, stderr_uri is one of
 *     NULL or ""           /dev/null
 *     "/path", "fifo:///path"  a FIFO that somebody opens at the other end (containerd's way); a plain path
 * names a FIFO "file:///path"       appended to (stdout, stderr) "binary:///path?k=v" a logging program
 * (containerd's binary log driver) "fd:N"               entry N of fds: it *is* the process's stream, without
 * a copy in between "stream:"            kept by the shim; attach () connects to it, again and again
 *     "stream:///path"     the same, and logged to a bounded file and "<path>.1", what was before it, as
 * kubelet's container logs are: RFC 3339 time, "stdout" or "stderr", "F" (a whole line) or "P" (a part of
 * one), and the text With terminal, stdin_uri and stdout_uri describe the console and stderr_uri is not used.
 */
typedef struct
{
  GANTRY_VALUE;
  char *stdin_uri;  /**< (nullable) */
  char *stdout_uri; /**< (nullable) */
  char *stderr_uri; /**< (nullable) */
  gboolean terminal;
  GUnixFDList *fds; /**< (nullable) */
  guint width;      /**< of the console, 0: not known yet */
  guint height;
} GantryStdio;

static inline void
gantry_stdio_clear (gpointer data)
{
  GantryStdio *self = (GantryStdio *)data;

  g_free (self->stdin_uri);
  g_free (self->stdout_uri);
  g_free (self->stderr_uri);
  g_clear_object (&self->fds);
}

GANTRY_DEFINE_VALUE (GantryStdio, gantry_stdio)

/** Makes a stdio; strings are copied, a reference to @fds (nullable) is taken. Returns: (transfer full). */
static inline GantryStdio *
gantry_stdio_new (const char *stdin_uri, const char *stdout_uri, const char *stderr_uri, gboolean terminal,
                  GUnixFDList *fds)
{
  GantryStdio *self = GANTRY_VALUE_ALLOC (GantryStdio, gantry_stdio_clear);

  self->stdin_uri = g_strdup (stdin_uri);
  self->stdout_uri = g_strdup (stdout_uri);
  self->stderr_uri = g_strdup (stderr_uri);
  self->terminal = terminal;
  if (fds != NULL)
    self->fds = (GUnixFDList *)g_object_ref (fds);
  return self;
}

/** A process of a task as it is now. */
typedef struct
{
  GANTRY_VALUE;
  char *ns;
  char *id;      /**< the container's */
  char *exec_id; /**< "" for init */
  char *bundle;  /**< an absolute path */
  guint32 pid;   /**< 0 if it has none any more */
  GantryTaskStatus status;
  guint32 exit_status; /**< of a STOPPED one: 0..255, 128 + signal */
  gint64 exited_ns;    /**< of a STOPPED one */
  GantryStdio *stdio;  /**< (nullable): URIs only, fds are NULL */
} GantryProcess;

static inline void
gantry_process_clear (gpointer data)
{
  GantryProcess *self = (GantryProcess *)data;

  g_free (self->ns);
  g_free (self->id);
  g_free (self->exec_id);
  g_free (self->bundle);
  gantry_stdio_unref (self->stdio);
}

GANTRY_DEFINE_VALUE (GantryProcess, gantry_process)

/** Makes a process; strings are copied, a reference to @stdio (nullable) is taken. Returns: (transfer full).
 */
static inline GantryProcess *
gantry_process_new (const char *ns, const char *id, const char *exec_id, const char *bundle, guint32 pid,
                    GantryTaskStatus status, guint32 exit_status, gint64 exited_ns, GantryStdio *stdio)
{
  GantryProcess *self = GANTRY_VALUE_ALLOC (GantryProcess, gantry_process_clear);

  self->ns = g_strdup (ns);
  self->id = g_strdup (id);
  self->exec_id = g_strdup (exec_id);
  self->bundle = g_strdup (bundle);
  self->pid = pid;
  self->status = status;
  self->exit_status = exit_status;
  self->exited_ns = exited_ns;
  self->stdio = gantry_stdio_ref (stdio);
  return self;
}

typedef enum
{
  GANTRY_TASK_EVENT_CREATE = 0,
  GANTRY_TASK_EVENT_START = 1,
  GANTRY_TASK_EVENT_EXEC_ADDED = 2,
  GANTRY_TASK_EVENT_EXEC_STARTED = 3,
  GANTRY_TASK_EVENT_EXIT = 4,
  GANTRY_TASK_EVENT_OOM = 5,
  GANTRY_TASK_EVENT_PAUSED = 6,
  GANTRY_TASK_EVENT_RESUMED = 7,
  GANTRY_TASK_EVENT_DELETE = 8,
  GANTRY_TASK_EVENT_CHECKPOINTED = 9,
} GantryTaskEvent;

/** Something happened to @process. In the daemon's main context; must not block. */
typedef void (*GantryTaskFunc) (GantryTaskEvent event, GantryProcess *process, gpointer user_data);

/** What create () needs. Options are a protobuf message that the runtime knows ("containerd.runc.v1.Options")
 * or NULL. */
typedef struct
{
  GANTRY_VALUE;
  char *ns;
  char *id;
  GBytes *spec;       /**< config.json, OCI runtime-spec */
  GPtrArray *mounts;  /**< (nullable) (element-type GantryMount): make the root file system; NULL: the spec's
                         root is used */
  GantryStdio *stdio; /**< (nullable): all /dev/null */
  GVariant *options;  /**< (nullable): (say) */
  GVariant *annotations; /**< (nullable): a{ss}: the spec's, for grouping */
  char *checkpoint;      /**< (nullable): a directory with a criu image to restore from */
} GantryTaskCreate;

static inline void
gantry_task_create_clear (gpointer data)
{
  GantryTaskCreate *self = (GantryTaskCreate *)data;

  g_free (self->ns);
  g_free (self->id);
  g_clear_pointer (&self->spec, g_bytes_unref);
  g_clear_pointer (&self->mounts, g_ptr_array_unref);
  gantry_stdio_unref (self->stdio);
  g_clear_pointer (&self->options, g_variant_unref);
  g_clear_pointer (&self->annotations, g_variant_unref);
  g_free (self->checkpoint);
}

GANTRY_DEFINE_VALUE (GantryTaskCreate, gantry_task_create)

/** Makes one; strings are copied, references to @spec, @mounts, @stdio are taken (the latter two nullable);
 * other members are set by the caller before it is shared. Returns: (transfer full). */
static inline GantryTaskCreate *
gantry_task_create_new (const char *ns, const char *id, GBytes *spec, GPtrArray *mounts, GantryStdio *stdio)
{
  GantryTaskCreate *self = GANTRY_VALUE_ALLOC (GantryTaskCreate, gantry_task_create_clear);

  self->ns = g_strdup (ns);
  self->id = g_strdup (id);
  self->spec = g_bytes_ref (spec);
  self->mounts = mounts != NULL ? g_ptr_array_ref (mounts) : NULL;
  self->stdio = gantry_stdio_ref (stdio);
  return self;
}

typedef struct _GantryRuntime GantryRuntime;

typedef struct
{
  size_t size;

  /** Makes the task: its init process exists and waits for start. *@ret_process: (transfer full).
   * Blocks: as long as the OCI runtime takes. After a failure or a crash nothing of it is left.
   * Errors: ALREADY_EXISTS, INVALID_ARGUMENT (spec), NOT_FOUND (the program; says so), UNAVAILABLE (the OCI
   * runtime is not installed), RESOURCE_EXHAUSTED, INTERNAL (the OCI runtime's own words). Since: 1.0 */
  gboolean (*create) (GantryRuntime *self, GantryTaskCreate *create, GantryProcess **ret_process,
                      GCancellable *cancellable, GError **error);

  /** Starts init (@exec_id "") or a prepared exec. *@ret_process: (optional) (transfer full). Blocks: as
   * create. Errors: NOT_FOUND, FAILED_PRECONDITION (started already), as create. Since: 1.0 */
  gboolean (*start) (GantryRuntime *self, const char *ns, const char *id, const char *exec_id,
                     GantryProcess **ret_process, GCancellable *cancellable, GError **error);

  /** Prepares the process @exec_id in a running task. @process: the spec's "process" object as JSON. Blocks:
   * shortly. Errors: NOT_FOUND, ALREADY_EXISTS, FAILED_PRECONDITION (the task does not run),
   * INVALID_ARGUMENT. Since: 1.0 */
  gboolean (*exec) (GantryRuntime *self, const char *ns, const char *id, const char *exec_id, GBytes *process,
                    GantryStdio *stdio, GCancellable *cancellable, GError **error);

  /** Removes a stopped (or never started) process; of init, the whole task. *@ret_process: (optional)
   * (transfer full): with its exit. Blocks: as create. Errors: NOT_FOUND, FAILED_PRECONDITION (it runs).
   * Since: 1.0 */
  gboolean (*remove) (GantryRuntime *self, const char *ns, const char *id, const char *exec_id,
                      GantryProcess **ret_process, GCancellable *cancellable, GError **error);

  /** Sends @signal; with @all to every process of the task. Blocks: shortly. Errors: NOT_FOUND (also: it has
   * ended, "process already finished"), FAILED_PRECONDITION. Since: 1.0 */
  gboolean (*kill) (GantryRuntime *self, const char *ns, const char *id, const char *exec_id, guint signal,
                    gboolean all, GCancellable *cancellable, GError **error);

  /** The process as it is. *@ret_process: (transfer full). Blocks: no (kept in memory). Errors: NOT_FOUND.
   * Since: 1.0 */
  gboolean (*state) (GantryRuntime *self, const char *ns, const char *id, const char *exec_id,
                     GantryProcess **ret_process, GCancellable *cancellable, GError **error);

  /** Every task's init process, of @ns or (NULL) of all. *@ret_processes: (transfer full) (element-type
   * GantryProcess). Blocks: no. Errors: none. Since: 1.0 */
  gboolean (*list) (GantryRuntime *self, const char *ns, GPtrArray **ret_processes, GCancellable *cancellable,
                    GError **error);

  /** The execs of a task. *@ret_processes: (transfer full) (element-type GantryProcess). Blocks: no. Errors:
   * NOT_FOUND. Since: 1.0 */
  gboolean (*list_execs) (GantryRuntime *self, const char *ns, const char *id, GPtrArray **ret_processes,
                          GCancellable *cancellable, GError **error);

  /** The pids in the task's cgroup. *@ret_pids: (transfer full): a(us): pid and exec id ("" if it is not
   * known or init). Blocks: shortly. Errors: NOT_FOUND. Since: 1.0 */
  gboolean (*pids) (GantryRuntime *self, const char *ns, const char *id, GVariant **ret_pids,
                    GCancellable *cancellable, GError **error);

  /** Freezes the task. Blocks: as create. Errors: NOT_FOUND, FAILED_PRECONDITION. Since: 1.0 */
  gboolean (*pause) (GantryRuntime *self, const char *ns, const char *id, GCancellable *cancellable,
                     GError **error);

  /** Thaws it. Blocks: as create. Errors: NOT_FOUND, FAILED_PRECONDITION. Since: 1.0 */
  gboolean (*resume) (GantryRuntime *self, const char *ns, const char *id, GCancellable *cancellable,
                      GError **error);

  /** Sets the console's size. Blocks: shortly. Errors: NOT_FOUND, FAILED_PRECONDITION (no console).
   * Since: 1.0 */
  gboolean (*resize) (GantryRuntime *self, const char *ns, const char *id, const char *exec_id, guint width,
                      guint height, GCancellable *cancellable, GError **error);

  /** Ends stdin once what was written to it has been read. Blocks: shortly. Errors: NOT_FOUND. Since: 1.0 */
  gboolean (*close_stdin) (GantryRuntime *self, const char *ns, const char *id, const char *exec_id,
                           GCancellable *cancellable, GError **error);

  /** Connects to the streams of a process whose stdio is "stream:". Entry 0 of @fds is read as its stdin, 1
   * gets its stdout, 2 its stderr; of a terminal, 0 is both. @fds may have fewer. Output from before goes to
   * nobody. Blocks: shortly. Errors: NOT_FOUND, FAILED_PRECONDITION (its streams are not kept; names what
   * they are). Since: 1.0 */
  gboolean (*attach) (GantryRuntime *self, const char *ns, const char *id, const char *exec_id,
                      GUnixFDList *fds, GCancellable *cancellable, GError **error);

  /** Resource use. *@ret_stats: (transfer full): a{sv}: "cpu-usage-ns" t, "cpu-user-ns" t, "cpu-system-ns" t,
   * "memory-usage" t, "memory-limit" t, "memory-peak" t, "pids" t, "pids-limit" t, "io-read-bytes" t,
   * "io-write-bytes" t, and "any" (say): containerd's metrics message of the machine's cgroup version.
   * Blocks: shortly. Errors: NOT_FOUND, FAILED_PRECONDITION. Since: 1.0 */
  gboolean (*stats) (GantryRuntime *self, const char *ns, const char *id, GVariant **ret_stats,
                     GCancellable *cancellable, GError **error);

  /** Changes limits. @resources: (say): an OCI LinuxResources as JSON. @annotations: (nullable): a{ss}.
   * Blocks: as create. Errors: NOT_FOUND, INVALID_ARGUMENT. Since: 1.0 */
  gboolean (*update) (GantryRuntime *self, const char *ns, const char *id, GVariant *resources,
                      GVariant *annotations, GCancellable *cancellable, GError **error);

  /** Writes a criu image into the directory @path. @options: (nullable): (say). Blocks: long. Errors:
   * NOT_FOUND, NOT_IMPLEMENTED (criu cannot run here; its own words). Since: 1.0 */
  gboolean (*checkpoint) (GantryRuntime *self, const char *ns, const char *id, const char *path,
                          GVariant *options, GCancellable *cancellable, GError **error);

  /** Calls @func for everything that happens to every task, in the main context, in order, starting with the
   * exits that were found at the daemon's start. One watch. Blocks: no. Errors: none. Since: 1.0 */
  void (*set_watch) (GantryRuntime *self, GantryTaskFunc func, gpointer user_data);

  /** Looks for bundles, mounts, shims and the OCI runtime's own state that belong to no task. *@ret_problems:
   * (transfer full): one line each. @repair: ends and removes them. Blocks: long. Errors: of local I/O.
   * Since: 1.0 */
  gboolean (*check) (GantryRuntime *self, gboolean repair, char ***ret_problems, GCancellable *cancellable,
                     GError **error);

  /** What the runtime is and can do with @options (nullable, (say); sunk if floating). *@ret_info: (transfer
   * full): a message containerd.types.RuntimeInfo (containerd's api/types/introspection.proto): name,
   * version, options, and the OCI runtime's features (runtime-spec, features.md). Blocks: as create. Errors:
   * UNAVAILABLE, INTERNAL (its own words). Since: 1.0 */
  gboolean (*info) (GantryRuntime *self, GVariant *options, GBytes **ret_info, GCancellable *cancellable,
                    GError **error);
} GantryRuntimeVtable;

/** An instance. An implementation embeds it as its first member; it will never grow. */
struct _GantryRuntime
{
  const GantryRuntimeVtable *vtable;
};

#define GANTRY_RUNTIME_CALL(slot, ...)                                                                       \
  GANTRY_REQUIRE_SLOT (self, GantryRuntimeVtable, slot, FALSE);                                              \
  return self->vtable->slot (self, __VA_ARGS__, cancellable, error)

static inline gboolean
gantry_runtime_create (GantryRuntime *self, GantryTaskCreate *create, GantryProcess **ret_process,
                       GCancellable *cancellable, GError **error)
{
  GANTRY_RUNTIME_CALL (create, create, ret_process);
}

static inline gboolean
gantry_runtime_start (GantryRuntime *self, const char *ns, const char *id, const char *exec_id,
                      GantryProcess **ret_process, GCancellable *cancellable, GError **error)
{
  GANTRY_RUNTIME_CALL (start, ns, id, exec_id, ret_process);
}

static inline gboolean
gantry_runtime_exec (GantryRuntime *self, const char *ns, const char *id, const char *exec_id,
                     GBytes *process, GantryStdio *stdio, GCancellable *cancellable, GError **error)
{
  GANTRY_RUNTIME_CALL (exec, ns, id, exec_id, process, stdio);
}

static inline gboolean
gantry_runtime_remove (GantryRuntime *self, const char *ns, const char *id, const char *exec_id,
                       GantryProcess **ret_process, GCancellable *cancellable, GError **error)
{
  GANTRY_RUNTIME_CALL (remove, ns, id, exec_id, ret_process);
}

static inline gboolean
gantry_runtime_kill (GantryRuntime *self, const char *ns, const char *id, const char *exec_id, guint signal,
                     gboolean all, GCancellable *cancellable, GError **error)
{
  GANTRY_RUNTIME_CALL (kill, ns, id, exec_id, signal, all);
}

static inline gboolean
gantry_runtime_state (GantryRuntime *self, const char *ns, const char *id, const char *exec_id,
                      GantryProcess **ret_process, GCancellable *cancellable, GError **error)
{
  GANTRY_RUNTIME_CALL (state, ns, id, exec_id, ret_process);
}

static inline gboolean
gantry_runtime_list (GantryRuntime *self, const char *ns, GPtrArray **ret_processes,
                     GCancellable *cancellable, GError **error)
{
  GANTRY_RUNTIME_CALL (list, ns, ret_processes);
}

static inline gboolean
gantry_runtime_list_execs (GantryRuntime *self, const char *ns, const char *id, GPtrArray **ret_processes,
                           GCancellable *cancellable, GError **error)
{
  GANTRY_RUNTIME_CALL (list_execs, ns, id, ret_processes);
}

static inline gboolean
gantry_runtime_pids (GantryRuntime *self, const char *ns, const char *id, GVariant **ret_pids,
                     GCancellable *cancellable, GError **error)
{
  GANTRY_RUNTIME_CALL (pids, ns, id, ret_pids);
}

static inline gboolean
gantry_runtime_pause (GantryRuntime *self, const char *ns, const char *id, GCancellable *cancellable,
                      GError **error)
{
  GANTRY_RUNTIME_CALL (pause, ns, id);
}

static inline gboolean
gantry_runtime_resume (GantryRuntime *self, const char *ns, const char *id, GCancellable *cancellable,
                       GError **error)
{
  GANTRY_RUNTIME_CALL (resume, ns, id);
}

static inline gboolean
gantry_runtime_resize (GantryRuntime *self, const char *ns, const char *id, const char *exec_id, guint width,
                       guint height, GCancellable *cancellable, GError **error)
{
  GANTRY_RUNTIME_CALL (resize, ns, id, exec_id, width, height);
}

static inline gboolean
gantry_runtime_close_stdin (GantryRuntime *self, const char *ns, const char *id, const char *exec_id,
                            GCancellable *cancellable, GError **error)
{
  GANTRY_RUNTIME_CALL (close_stdin, ns, id, exec_id);
}

static inline gboolean
gantry_runtime_attach (GantryRuntime *self, const char *ns, const char *id, const char *exec_id,
                       GUnixFDList *fds, GCancellable *cancellable, GError **error)
{
  GANTRY_RUNTIME_CALL (attach, ns, id, exec_id, fds);
}

static inline gboolean
gantry_runtime_stats (GantryRuntime *self, const char *ns, const char *id, GVariant **ret_stats,
                      GCancellable *cancellable, GError **error)
{
  GANTRY_RUNTIME_CALL (stats, ns, id, ret_stats);
}

static inline gboolean
gantry_runtime_update (GantryRuntime *self, const char *ns, const char *id, GVariant *resources,
                       GVariant *annotations, GCancellable *cancellable, GError **error)
{
  GANTRY_RUNTIME_CALL (update, ns, id, resources, annotations);
}

static inline gboolean
gantry_runtime_checkpoint (GantryRuntime *self, const char *ns, const char *id, const char *path,
                           GVariant *options, GCancellable *cancellable, GError **error)
{
  GANTRY_RUNTIME_CALL (checkpoint, ns, id, path, options);
}

static inline gboolean
gantry_runtime_check (GantryRuntime *self, gboolean repair, char ***ret_problems, GCancellable *cancellable,
                      GError **error)
{
  GANTRY_RUNTIME_CALL (check, repair, ret_problems);
}

static inline void
gantry_runtime_set_watch (GantryRuntime *self, GantryTaskFunc func, gpointer user_data)
{
  if (GANTRY_HAS (self->vtable, GantryRuntimeVtable, set_watch))
    self->vtable->set_watch (self, func, user_data);
}

static inline gboolean
gantry_runtime_info (GantryRuntime *self, GVariant *options, GBytes **ret_info, GCancellable *cancellable,
                     GError **error)
{
  GANTRY_RUNTIME_CALL (info, options, ret_info);
}

#undef GANTRY_RUNTIME_CALL

G_END_DECLS
