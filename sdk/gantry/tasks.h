/* SPDX-License-Identifier: MIT
 *
 * Containers and tasks
 * --------------------
 * The service that turns a container record, a snapshot and a runtime into running processes, whichever
 * frontend asks. A *container* is a record (metadata.h) with a spec and a snapshot; its *task* is what runs
 * (runtime.h); an *exec* is one more process of it.
 *
 *     create_container ("default", "web", "docker.io/library/x:1", options)   record + snapshot + spec
 *     create_task ("default", "web", stdio)     -> pid                         init exists and waits
 *     start ("default", "web", "")
 *     wait ("default", "web", "", on_exit)                                     a callback, not a thread
 *     delete_task ("default", "web", "")        -> exit
 *     delete_container ("default", "web")                                      record and snapshot are gone
 *
 * Clients that bring their own spec and snapshot (containerd's) create the record themselves, through
 * metadata, and use only the task half. Events of tasks ("/tasks/exit", …) are published by this service;
 * those of records by metadata. So are those of what holds a sandbox ("/sandboxes/exit", …), whoever made it.
 *
 * Options of create_container (a{sv}; an unknown key is refused):
 *     "args" as (replaces cmd), "entrypoint" as, "env" as ("K=V" or "K": unset), "user" s, "cwd" s,
 * "hostname" s, "tty" b, "mounts" aa{sv} ("type" s, "source" s, "destination" s, "options" as), "read-only"
 * b, "privileged" b, "memory" t (bytes), "memory-swap" x, "cpus" d, "cpu-shares" t, "cpuset-cpus" s,
 * "cpuset-mems" s, "pids" x, "cap-add" as, "cap-drop" as, "devices" as ("/dev/x[:/dev/y[:rwm]]"), "rlimits"
 * as ("nofile=1024:2048"), "network" s ("private", "host", "none" or a path), "annotations" a{ss}, "labels"
 * a{ss}, "seccomp" s ("default"; "default-32bit": the same for 32-bit programs too, which "default" is when
 * the image is for them or has their dynamic loader; "unconfined"; or a JSON document), "oom-score-adj" i,
 *     "no-new-privileges" b, "spec" s (a whole OCI spec as JSON: nothing else is generated), "snapshotter" s,
 * "runtime" s, "runtime-options" (say), "platform" s, "cgroup-path" s, "sandbox-id" s.
 */
#pragma once

#include <gantry/metadata.h>
#include <gantry/runtime.h>

G_BEGIN_DECLS

#define GANTRY_TASKS_TYPE "org.gantry.tasks.v1"

/** A process ended: @process has its exit; or, with @error, will never (it was removed, or the daemon stops).
 * Once, in the daemon's main context. */
typedef void (*GantryExitFunc) (GantryProcess *process, const GError *error, gpointer user_data);

typedef struct _GantryTasks GantryTasks;

typedef struct
{
  size_t size;

  /** Makes a container of the image @image (nullable with a "spec" that has its own root) that is unpacked,
   * or is unpacked now.
   * @options: (nullable): a{sv}, see above; sunk if floating. *@ret_record: (optional) (transfer full).
   * Blocks: on local I/O. After a crash it is whole or absent. Errors: ALREADY_EXISTS, NOT_FOUND (image,
   * user; says which), INVALID_ARGUMENT (id, option), FAILED_PRECONDITION. Since: 1.0 */
  gboolean (*create_container) (GantryTasks *self, const char *ns, const char *id, const char *image,
                                GVariant *options, GantryRecord **ret_record, GCancellable *cancellable,
                                GError **error);

  /** Removes the record and, with @remove_snapshot, its snapshot. With @force a running task is killed and
   * removed first. Blocks: on local I/O; with @force until the task has ended (at most 10 s). Errors:
   * NOT_FOUND, FAILED_PRECONDITION (it has a task). Since: 1.0 */
  gboolean (*delete_container) (GantryTasks *self, const char *ns, const char *id, gboolean remove_snapshot,
                                gboolean force, GCancellable *cancellable, GError **error);

  /** Makes the task of the container @id. @stdio: (nullable); "log:" is "stream:" with a bounded log that
   * goes with the container, where the runtime can keep one (open_log). @mounts: (nullable) (element-type
   * GantryMount): the root file system; NULL: of the record's snapshot. @options: (nullable): (say): runtime
   * options, NULL: the record's. @checkpoint: (nullable): what to restore from: a directory, or the digest of
   * a tar of one in content. *@ret_process: (optional) (transfer full). Blocks: as the runtime. Errors:
   * NOT_FOUND (container, runtime), ALREADY_EXISTS, and of the runtime. Since: 1.0 */
  gboolean (*create_task) (GantryTasks *self, const char *ns, const char *id, GantryStdio *stdio,
                           GPtrArray *mounts, GVariant *options, const char *checkpoint,
                           GantryProcess **ret_process, GCancellable *cancellable, GError **error);

  /** As the runtime's slot of the same name, for the runtime of the container's task. *@ret_process:
   * (optional) (transfer full). Blocks: as the runtime. Errors: NOT_FOUND ("task x not found"), and of the
   * runtime. Since: 1.0 */
  gboolean (*start) (GantryTasks *self, const char *ns, const char *id, const char *exec_id,
                     GantryProcess **ret_process, GCancellable *cancellable, GError **error);

  /** Prepares an exec. @process: a whole OCI "process" object as JSON, or NULL: made from the container's own
   * with @options (a{sv}, nullable: "args" as, "env" as, "user" s, "cwd" s, "tty" b, "privileged" b,
   * "cap-add" as). Blocks: as the runtime. Errors: NOT_FOUND, ALREADY_EXISTS, INVALID_ARGUMENT,
   * FAILED_PRECONDITION. Since: 1.0 */
  gboolean (*exec) (GantryTasks *self, const char *ns, const char *id, const char *exec_id, GBytes *process,
                    GVariant *options, GantryStdio *stdio, GCancellable *cancellable, GError **error);

  /** Removes a stopped process; with @exec_id "" the task. *@ret_process: (optional) (transfer full). Blocks:
   * as the runtime. Errors: NOT_FOUND, FAILED_PRECONDITION (it runs). Since: 1.0 */
  gboolean (*delete_task) (GantryTasks *self, const char *ns, const char *id, const char *exec_id,
                           GantryProcess **ret_process, GCancellable *cancellable, GError **error);

  /** Sends a signal. Blocks: shortly. Errors: NOT_FOUND. Since: 1.0 */
  gboolean (*kill) (GantryTasks *self, const char *ns, const char *id, const char *exec_id, guint signal,
                    gboolean all, GCancellable *cancellable, GError **error);

  /** The process as it is. *@ret_process: (transfer full). Blocks: no. Errors: NOT_FOUND. Since: 1.0 */
  gboolean (*get) (GantryTasks *self, const char *ns, const char *id, const char *exec_id,
                   GantryProcess **ret_process, GCancellable *cancellable, GError **error);

  /** All tasks of @ns (NULL: all). *@ret_processes: (transfer full) (element-type GantryProcess). Blocks: no.
   * Errors: none. Since: 1.0 */
  gboolean (*list) (GantryTasks *self, const char *ns, GPtrArray **ret_processes, GCancellable *cancellable,
                    GError **error);

  /** The execs of a task. *@ret_processes: (transfer full) (element-type GantryProcess). Blocks: no. Errors:
   * NOT_FOUND. Since: 1.0 */
  gboolean (*list_execs) (GantryTasks *self, const char *ns, const char *id, GPtrArray **ret_processes,
                          GCancellable *cancellable, GError **error);

  /** Calls @func once when the process has ended, at once if it has. Holds no thread. Blocks: no. *@ret_id:
   * for unwait. Errors: NOT_FOUND, RESOURCE_EXHAUSTED (waiters). Since: 1.0 */
  gboolean (*wait) (GantryTasks *self, const char *ns, const char *id, const char *exec_id,
                    GantryExitFunc func, gpointer user_data, guint64 *ret_id, GCancellable *cancellable,
                    GError **error);

  /** Gives up a wait; called in the main context, its @func does not follow. Blocks: no. Errors: none.
   * Since: 1.0 */
  void (*unwait) (GantryTasks *self, guint64 id);

  /** As GantryRuntime.pids. Blocks: shortly. Errors: NOT_FOUND. Since: 1.0 */
  gboolean (*pids) (GantryTasks *self, const char *ns, const char *id, GVariant **ret_pids,
                    GCancellable *cancellable, GError **error);

  /** Freezes the task. Blocks: as the runtime. Errors: NOT_FOUND, FAILED_PRECONDITION. Since: 1.0 */
  gboolean (*pause) (GantryTasks *self, const char *ns, const char *id, GCancellable *cancellable,
                     GError **error);

  /** Thaws it. Blocks: as the runtime. Errors: NOT_FOUND, FAILED_PRECONDITION. Since: 1.0 */
  gboolean (*resume) (GantryTasks *self, const char *ns, const char *id, GCancellable *cancellable,
                      GError **error);

  /** Sets the console's size. Blocks: shortly. Errors: NOT_FOUND, FAILED_PRECONDITION. Since: 1.0 */
  gboolean (*resize) (GantryTasks *self, const char *ns, const char *id, const char *exec_id, guint width,
                      guint height, GCancellable *cancellable, GError **error);

  /** Ends stdin. Blocks: shortly. Errors: NOT_FOUND. Since: 1.0 */
  gboolean (*close_stdin) (GantryTasks *self, const char *ns, const char *id, const char *exec_id,
                           GCancellable *cancellable, GError **error);

  /** As GantryRuntime.attach. Blocks: shortly. Errors: NOT_FOUND, FAILED_PRECONDITION. Since: 1.0 */
  gboolean (*attach) (GantryTasks *self, const char *ns, const char *id, const char *exec_id,
                      GUnixFDList *fds, GCancellable *cancellable, GError **error);

  /** As GantryRuntime.stats. Blocks: shortly. Errors: NOT_FOUND, FAILED_PRECONDITION. Since: 1.0 */
  gboolean (*stats) (GantryTasks *self, const char *ns, const char *id, GVariant **ret_stats,
                     GCancellable *cancellable, GError **error);

  /** As GantryRuntime.update. Blocks: as the runtime. Errors: NOT_FOUND, INVALID_ARGUMENT. Since: 1.0 */
  gboolean (*update) (GantryTasks *self, const char *ns, const char *id, GVariant *resources,
                      GVariant *annotations, GCancellable *cancellable, GError **error);

  /** As GantryRuntime.checkpoint. Blocks: long. Errors: NOT_FOUND, NOT_IMPLEMENTED. Since: 1.0 */
  gboolean (*checkpoint) (GantryTasks *self, const char *ns, const char *id, const char *path,
                          GVariant *options, GCancellable *cancellable, GError **error);

  /** Calls @func, in the main context, for everything that happens to any task. Returns: an id for unwatch.
   * Blocks: no. Errors: none. Since: 1.0 */
  guint64 (*watch) (GantryTasks *self, GantryTaskFunc func, gpointer user_data);

  /** Ends a watch. Called in the main context, no @func follows. Blocks: no. Errors: none. Since: 1.0 */
  void (*unwatch) (GantryTasks *self, guint64 id);

  /** Compares containers with tasks, and asks every runtime to compare its own. *@ret_problems: (transfer
   * full): one line each. @repair: ends and removes what belongs to no container. Blocks: long. Errors: of
   * local I/O and metadata. Since: 1.0 */
  gboolean (*check) (GantryTasks *self, gboolean repair, char ***ret_problems, GCancellable *cancellable,
                     GError **error);

  /** As GantryRuntime.info, of the runtime that @runtime (nullable) means as a container's "runtime". Blocks:
   * as it. Errors: NOT_FOUND, and as it. Since: 1.0 */
  gboolean (*runtime_info) (GantryTasks *self, const char *runtime, GVariant *options, GBytes **ret_info,
                            GCancellable *cancellable, GError **error);

  /** Opens what the container's tasks have written while their stdio was "log:"; with @previous what was
   * before that, which was moved away when it had grown large (runtime.h, "stream:///path": the format).
   * *@ret_fd: (transfer full): for reading; it can be followed, and is moved away (IN_MOVE_SELF) when the
   * next one begins. Blocks: on local I/O. Errors: NOT_FOUND (no container, or it has none). Since: 1.0 */
  gboolean (*open_log) (GantryTasks *self, const char *ns, const char *id, gboolean previous, int *ret_fd,
                        GCancellable *cancellable, GError **error);

  /** Makes the task that holds the namespaces of the sandbox @id, which has a record; from then on it is
   * started, killed, waited for, measured and removed as any task, by this id. @options: (nullable): a{sv},
   * sunk if floating: "netns" s (the path of a network namespace to use), "annotations" a{ss}. @mounts:
   * (nullable) (element-type GantryMount): its root file system. *@ret_process: (optional) (transfer full).
   * Blocks: as the runtime. Errors: NOT_FOUND (sandbox, runtime), ALREADY_EXISTS, INVALID_ARGUMENT (spec),
   * and of the runtime. Since: 1.0 */
  gboolean (*create_sandbox) (GantryTasks *self, const char *ns, const char *id, GVariant *options,
                              GPtrArray *mounts, GantryProcess **ret_process, GCancellable *cancellable,
                              GError **error);

  /** Ends what holds the namespaces of the sandbox @id and removes it; the record stays. Blocks: until it has
   * ended (at most 10 s). Errors: NOT_FOUND (nothing holds it), and of the runtime. Since: 1.0 */
  gboolean (*delete_sandbox) (GantryTasks *self, const char *ns, const char *id, GCancellable *cancellable,
                              GError **error);

  /** Ends what holds the namespaces of the sandbox @id: SIGTERM, and SIGKILL to all that is in it if it has
   * not ended @seconds later (0: 10). As with wait, @func is called once when it has ended, at once if it
   * has, and *@ret_id is for unwait: the stop goes on then. Blocks: shortly. Errors: NOT_FOUND (nothing holds
   * it), RESOURCE_EXHAUSTED (waiters). Since: 1.0 */
  gboolean (*stop_sandbox) (GantryTasks *self, const char *ns, const char *id, guint seconds,
                            GantryExitFunc func, gpointer user_data, guint64 *ret_id,
                            GCancellable *cancellable, GError **error);
} GantryTasksVtable;

/** An instance. An implementation embeds it as its first member; it will never grow. */
struct _GantryTasks
{
  const GantryTasksVtable *vtable;
};

#define GANTRY_TASKS_CALL(slot, ...)                                                                         \
  GANTRY_REQUIRE_SLOT (self, GantryTasksVtable, slot, FALSE);                                                \
  return self->vtable->slot (self, ns, __VA_ARGS__, cancellable, error)

static inline gboolean
gantry_tasks_create_container (GantryTasks *self, const char *ns, const char *id, const char *image,
                               GVariant *options, GantryRecord **ret_record, GCancellable *cancellable,
                               GError **error)
{
  GANTRY_TASKS_CALL (create_container, id, image, options, ret_record);
}

static inline gboolean
gantry_tasks_delete_container (GantryTasks *self, const char *ns, const char *id, gboolean remove_snapshot,
                               gboolean force, GCancellable *cancellable, GError **error)
{
  GANTRY_TASKS_CALL (delete_container, id, remove_snapshot, force);
}

static inline gboolean
gantry_tasks_create_task (GantryTasks *self, const char *ns, const char *id, GantryStdio *stdio,
                          GPtrArray *mounts, GVariant *options, const char *checkpoint,
                          GantryProcess **ret_process, GCancellable *cancellable, GError **error)
{
  GANTRY_TASKS_CALL (create_task, id, stdio, mounts, options, checkpoint, ret_process);
}

static inline gboolean
gantry_tasks_start (GantryTasks *self, const char *ns, const char *id, const char *exec_id,
                    GantryProcess **ret_process, GCancellable *cancellable, GError **error)
{
  GANTRY_TASKS_CALL (start, id, exec_id, ret_process);
}

static inline gboolean
gantry_tasks_exec (GantryTasks *self, const char *ns, const char *id, const char *exec_id, GBytes *process,
                   GVariant *options, GantryStdio *stdio, GCancellable *cancellable, GError **error)
{
  GANTRY_TASKS_CALL (exec, id, exec_id, process, options, stdio);
}

static inline gboolean
gantry_tasks_delete_task (GantryTasks *self, const char *ns, const char *id, const char *exec_id,
                          GantryProcess **ret_process, GCancellable *cancellable, GError **error)
{
  GANTRY_TASKS_CALL (delete_task, id, exec_id, ret_process);
}

static inline gboolean
gantry_tasks_kill (GantryTasks *self, const char *ns, const char *id, const char *exec_id, guint signal,
                   gboolean all, GCancellable *cancellable, GError **error)
{
  GANTRY_TASKS_CALL (kill, id, exec_id, signal, all);
}

static inline gboolean
gantry_tasks_get (GantryTasks *self, const char *ns, const char *id, const char *exec_id,
                  GantryProcess **ret_process, GCancellable *cancellable, GError **error)
{
  GANTRY_TASKS_CALL (get, id, exec_id, ret_process);
}

static inline gboolean
gantry_tasks_list (GantryTasks *self, const char *ns, GPtrArray **ret_processes, GCancellable *cancellable,
                   GError **error)
{
  GANTRY_TASKS_CALL (list, ret_processes);
}

static inline gboolean
gantry_tasks_list_execs (GantryTasks *self, const char *ns, const char *id, GPtrArray **ret_processes,
                         GCancellable *cancellable, GError **error)
{
  GANTRY_TASKS_CALL (list_execs, id, ret_processes);
}

static inline gboolean
gantry_tasks_wait (GantryTasks *self, const char *ns, const char *id, const char *exec_id,
                   GantryExitFunc func, gpointer user_data, guint64 *ret_id, GCancellable *cancellable,
                   GError **error)
{
  GANTRY_TASKS_CALL (wait, id, exec_id, func, user_data, ret_id);
}

static inline void
gantry_tasks_unwait (GantryTasks *self, guint64 id)
{
  if (GANTRY_HAS (self->vtable, GantryTasksVtable, unwait))
    self->vtable->unwait (self, id);
}

static inline gboolean
gantry_tasks_pids (GantryTasks *self, const char *ns, const char *id, GVariant **ret_pids,
                   GCancellable *cancellable, GError **error)
{
  GANTRY_TASKS_CALL (pids, id, ret_pids);
}

static inline gboolean
gantry_tasks_pause (GantryTasks *self, const char *ns, const char *id, GCancellable *cancellable,
                    GError **error)
{
  GANTRY_TASKS_CALL (pause, id);
}

static inline gboolean
gantry_tasks_resume (GantryTasks *self, const char *ns, const char *id, GCancellable *cancellable,
                     GError **error)
{
  GANTRY_TASKS_CALL (resume, id);
}

static inline gboolean
gantry_tasks_resize (GantryTasks *self, const char *ns, const char *id, const char *exec_id, guint width,
                     guint height, GCancellable *cancellable, GError **error)
{
  GANTRY_TASKS_CALL (resize, id, exec_id, width, height);
}

static inline gboolean
gantry_tasks_close_stdin (GantryTasks *self, const char *ns, const char *id, const char *exec_id,
                          GCancellable *cancellable, GError **error)
{
  GANTRY_TASKS_CALL (close_stdin, id, exec_id);
}

static inline gboolean
gantry_tasks_attach (GantryTasks *self, const char *ns, const char *id, const char *exec_id, GUnixFDList *fds,
                     GCancellable *cancellable, GError **error)
{
  GANTRY_TASKS_CALL (attach, id, exec_id, fds);
}

static inline gboolean
gantry_tasks_stats (GantryTasks *self, const char *ns, const char *id, GVariant **ret_stats,
                    GCancellable *cancellable, GError **error)
{
  GANTRY_TASKS_CALL (stats, id, ret_stats);
}

static inline gboolean
gantry_tasks_update (GantryTasks *self, const char *ns, const char *id, GVariant *resources,
                     GVariant *annotations, GCancellable *cancellable, GError **error)
{
  GANTRY_TASKS_CALL (update, id, resources, annotations);
}

static inline gboolean
gantry_tasks_checkpoint (GantryTasks *self, const char *ns, const char *id, const char *path,
                         GVariant *options, GCancellable *cancellable, GError **error)
{
  GANTRY_TASKS_CALL (checkpoint, id, path, options);
}

static inline guint64
gantry_tasks_watch (GantryTasks *self, GantryTaskFunc func, gpointer user_data)
{
  return GANTRY_HAS (self->vtable, GantryTasksVtable, watch) ? self->vtable->watch (self, func, user_data)
                                                             : 0;
}

static inline void
gantry_tasks_unwatch (GantryTasks *self, guint64 id)
{
  if (GANTRY_HAS (self->vtable, GantryTasksVtable, unwatch))
    self->vtable->unwatch (self, id);
}

static inline gboolean
gantry_tasks_check (GantryTasks *self, gboolean repair, char ***ret_problems, GCancellable *cancellable,
                    GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryTasksVtable, check, FALSE);
  return self->vtable->check (self, repair, ret_problems, cancellable, error);
}

static inline gboolean
gantry_tasks_runtime_info (GantryTasks *self, const char *runtime, GVariant *options, GBytes **ret_info,
                           GCancellable *cancellable, GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryTasksVtable, runtime_info, FALSE);
  return self->vtable->runtime_info (self, runtime, options, ret_info, cancellable, error);
}

static inline gboolean
gantry_tasks_open_log (GantryTasks *self, const char *ns, const char *id, gboolean previous, int *ret_fd,
                       GCancellable *cancellable, GError **error)
{
  GANTRY_TASKS_CALL (open_log, id, previous, ret_fd);
}

static inline gboolean
gantry_tasks_create_sandbox (GantryTasks *self, const char *ns, const char *id, GVariant *options,
                             GPtrArray *mounts, GantryProcess **ret_process, GCancellable *cancellable,
                             GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryTasksVtable, create_sandbox, FALSE);
  return self->vtable->create_sandbox (self, ns, id, options, mounts, ret_process, cancellable, error);
}

static inline gboolean
gantry_tasks_delete_sandbox (GantryTasks *self, const char *ns, const char *id, GCancellable *cancellable,
                             GError **error)
{
  GANTRY_REQUIRE_SLOT (self, GantryTasksVtable, delete_sandbox, FALSE);
  return self->vtable->delete_sandbox (self, ns, id, cancellable, error);
}

static inline gboolean
gantry_tasks_stop_sandbox (GantryTasks *self, const char *ns, const char *id, guint seconds,
                           GantryExitFunc func, gpointer user_data, guint64 *ret_id,
                           GCancellable *cancellable, GError **error)
{
  GANTRY_TASKS_CALL (stop_sandbox, id, seconds, func, user_data, ret_id);
}

#undef GANTRY_TASKS_CALL

G_END_DECLS
