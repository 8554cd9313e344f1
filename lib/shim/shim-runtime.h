/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A runtime (sdk/gantry/runtime.h) whose tasks are held by shims that speak containerd's shim protocol:
 * programs "containerd-shim-…" with the sub-commands "start" and "delete" and a ttrpc service
 * containerd.task.v2.Task (containerd core/runtime/v2/README.md, api/runtime/task). A *native* shim is our
 * own: it also has gantry.shim.v1.Shim, by which events come over the same connection, streams are passed as
 * descriptors and clients attach.
 *
 * Below the plugin's directory in --state:
 *     bundles/<namespace>/<id>/   config.json; rootfs; address (where its shim listens); exit.<exec id> (how
 * a process ended); stdio.<exec id> (its streams: not native) runc/<namespace>/           the OCI runtime's
 * own state (of runc's shims) s/ the shims' sockets (native)
 */
#pragma once

#include "connection.h"

#include <gantry/messages.h>
#include <gantry/plugin.h>
#include <gantry/runtime.h>

#define SHIM_TASK_SERVICE "containerd.task.v2.Task"
#define SHIM_OWN_SERVICE  "gantry.shim.v1.Shim"
/** In the bundle: the task was made, and its maker told so. */
#define TASK_MADE         "made"
#define SHIM_OPTIONS_TYPE "containerd.runc.v1.Options"
/** A member of it that is our own. */
#define SHIM_OPTION_CHECKPOINTABLE 100

typedef struct
{
  GantryRuntime runtime;
  const GantryHost *host;
  gboolean native;
  gboolean of_runc;        /* native, or containerd's: its options are containerd.runc.v1.Options */
  gboolean checkpointable; /* native: criu is to save FIFOs, too */
  char *shim;              /* its program */
  char *oci_runtime;       /* native: the OCI runtime's program unless the options name one */
  char *path;              /* of our directory */
  char **client_addresses; /* of our sockets, as containerd's clients are told them */
  char *events_address;    /* not native: where shims send events */
  GSource *events_source;
  int events_fd;
  int bundles_fd;
  gint moving;           /* (atomic) cgroup-move.c is at it */
  GMainContext *context; /* of the thread that reads from shims */
  GMainLoop *loop;
  GThread *thread;

  GMutex lock;
  GHashTable *tasks; /* "ns/id" -> Task; with lock */
  GHashTable *links; /* address -> Link (not owned); with lock */
  GantryTaskFunc watch;
  gpointer watch_data;
} ShimRuntime;

/** The connection to one shim, which may hold several tasks: a pod. */
typedef struct
{
  gint refs; /* (atomic) */
  ShimRuntime *runtime;
  char *address;
  Connection *connection;
} Link;

/** The streams of a process of a shim that is not native (relay.c). */
typedef struct _Streams Streams;

typedef struct
{
  char *exec_id;
  guint32 pid;
  GantryTaskStatus status;
  guint32 exit_status;
  gint64 exited_ns;
  GantryStdio *stdio; /* URIs only */
  Streams *streams;   /* not native; (nullable) */
} Proc;

typedef struct
{
  gint refs; /* (atomic) */
  ShimRuntime *runtime;
  char *ns;
  char *id;
  char *bundle;
  int dir_fd;
  Link *link; /* (nullable): its shim is gone */
  gboolean removed;
  GPtrArray *processes; /* of Proc, init first; with the runtime's lock */
  GPtrArray *claimed;   /* not native: of char *: execs that are being made; with the runtime's lock */
  GSource *log_source;  /* not native */
  int log_fd;
} Task;

/** Makes the runtime; @shim (copied) is the program. Nothing is recovered yet. Errors: of the directories. */
ShimRuntime *shim_runtime_new (const GantryHost *host, const char *shim, gboolean native, GError **error);
/** Finds the tasks of the daemon's last life. */
gboolean shim_runtime_recover (ShimRuntime *self, GError **error);
void shim_runtime_free (ShimRuntime *self);

/** The key of a task in the table. Returns: (transfer full). */
char *shim_runtime_key (const char *ns, const char *id);
/** The task @id. Returns: (transfer full), or NULL: NOT_FOUND. */
Task *shim_runtime_lookup (ShimRuntime *self, const char *ns, const char *id, GError **error);
/** Whether @name may name a bundle's directory, or an exec. */
gboolean shim_runtime_is_name (const char *name);
/** Whether @json can be a JSON object, as @what has to be; the OCI runtime reads it in earnest. Errors:
 * INVALID_ARGUMENT. */
gboolean shim_runtime_check_object (GBytes *json, const char *what, const char *id, GError **error);
/** Tells the watch, in the main context. With the lock. */
void shim_runtime_tell (ShimRuntime *self, GantryTaskEvent event, GantryProcess *process);
/** A container is about to be put into its cgroup. Blocks: no. */
void shim_runtime_expect_move (ShimRuntime *self);
/** An event of any shim, in the reader's context. */
void shim_runtime_on_event (ShimRuntime *self, const ShimEvent *event);

/* task.c */
Task *task_new (ShimRuntime *runtime, const char *ns, const char *id, int dir_fd);
Task *task_ref (Task *self);
void task_unref (Task *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Task, task_unref)
Proc *task_find (Task *self, const char *exec_id);
Proc *task_add (Task *self, const char *exec_id, GantryStdio *stdio);
void task_drop (Task *self, const char *exec_id);
GantryProcess *task_describe (Task *self, Proc *proc);
/** A call about one process; @rest (nullable, cleared) has the message's fields behind 1 (id) and 2
 * (exec_id). */
gboolean task_call (Task *self, const char *service, const char *method, const char *exec_id, PbBuffer *rest,
                    GUnixFDList *fds, GBytes **ret_reply, GCancellable *cancellable, GError **error);
/** Reads what a native shim, or record_exit (), wrote of an exit. */
gboolean task_read_exit (Task *self, const char *exec_id, guint32 *ret_status, gint64 *ret_exited);
/** Tells the watch. With the runtime's lock. */
void task_tell (Task *self, GantryTaskEvent event, Proc *proc);
/** Notes an exit and tells it, once. With the runtime's lock. */
void task_note_exit (Task *self, Proc *proc, guint32 status, gint64 exited_ns);
/** Notes a start and tells it, once. With the runtime's lock. */
/** The init process froze or thawed. With the lock. */
void task_note_paused (Task *task, Proc *proc, gboolean paused);
void task_note_start (Task *self, Proc *proc, guint32 pid);
/** Forgets a task and removes its bundle. */
void task_forget (Task *self);

/* launch.c */
/** Starts the task's shim, or finds its group's, and saves its address in the bundle. Errors: the shim's own
 * words. */
gboolean task_start_shim (Task *self, GVariant *options, GError **error);
/** Cleans up after a shim that died: the OCI runtime's state, mounts. *@ret_status, *@ret_exited: how init
 * ended, if the shim knows. */
void task_clean_up (Task *self, guint32 *ret_status, gint64 *ret_exited);
/** The runtime's slot info. */
gboolean shim_info (GantryRuntime *runtime, GVariant *options, GBytes **ret_info, GCancellable *cancellable,
                    GError **error);
/** Ends the shim unless others need it. */
void task_shut_down (Task *self);

/* link.c */
void link_unref (Link *self);
Link *link_ref (Link *self);
/** Connects to the shim whose address is in the bundle and learns what it has of the task. */
gboolean task_connect (Task *self, GError **error);
/* client-links.c */
/** Lets containerd's clients find the shim, which listens at the path @socket. */
void task_link_for_clients (Task *self, const char *socket);
void task_unlink_for_clients (Task *self);
/** Watches for the end of a process of a shim that is not native. */
void task_await_exit (Task *self, const char *exec_id);
/** Asks a shim that is not native what it has of a process, and watches for its end. Errors: NOT_FOUND: it
 * has none. */
gboolean task_learn (Task *self, const char *exec_id, GError **error);

/* events-server.c */
gboolean events_server_start (ShimRuntime *self, GError **error);
void events_server_stop (ShimRuntime *self);

/* relay.c */
/** The streams of a process in the words of a shim that takes no descriptors. *@ret_streams: (transfer full):
 * what is copied from or to them, once the process has them. Returns: (transfer full), or NULL. Errors:
 * INVALID_ARGUMENT, of making FIFOs. */
GantryStdio *relay_open (Task *task, const char *exec_id, GantryStdio *stdio, Streams **ret_streams,
                         GError **error);
/** The same for a process of the daemon's last life. Returns: (transfer full). */
Streams *relay_reopen (Task *task, const char *exec_id, GantryStdio *stdio);
/** Begins to copy: the shim has the FIFOs open. */
void relay_start (Task *task, const char *exec_id);
/** The runtime's slot attach, for a process whose streams are @stdio. */
gboolean relay_attach (Task *task, const char *exec_id, GantryStdio *stdio, GUnixFDList *fds, GError **error);
/** Lets go of a stdin that is kept. */
void relay_close_stdin (Task *task, const char *exec_id);
/** The process has ended: nothing is read for it any more, and what it wrote last is still copied. Accepts
 * NULL. */
void relay_finish (ShimRuntime *runtime, Streams *streams);
/** Removes a process's FIFOs. */
void relay_remove (Task *task, const char *exec_id);
/** Accepts NULL. */
void streams_unref (Streams *self);

/* record.c */
gboolean record_stdio (Task *task, const char *exec_id, GantryStdio *stdio, GError **error);
/** Returns: (transfer full), or NULL: there is no record. */
GantryStdio *record_read_stdio (Task *task, const char *exec_id);
/** The execs of which there are records. Returns: (transfer full). */
char **record_list_execs (Task *task);
void record_exit (Task *task, const char *exec_id, guint32 status, gint64 exited_ns);
void record_remove (Task *task, const char *exec_id);

/* shim-log.c */
gboolean shim_log_open (Task *self, GError **error);
void shim_log_close (Task *self);

/* metrics.c */
/** The dictionary that stats () promises, from containerd's StatsResponse. Returns: (transfer full). Errors:
 * INTERNAL, NOT_IMPLEMENTED. */
GVariant *metrics_read (GBytes *response, GError **error);

/* create.c */
gboolean shim_runtime_create (GantryRuntime *runtime, GantryTaskCreate *create, GantryProcess **ret_process,
                              GCancellable *cancellable, GError **error);
/** Puts the URIs of @stdio (nullable) into three fields from @first on. */
void shim_put_stdio (PbBuffer *body, guint32 first, GantryStdio *stdio);
/** Field 1 of an answer: a pid. */
guint32 shim_read_pid (GBytes *reply);

/* check.c */
gboolean shim_runtime_check (GantryRuntime *runtime, gboolean repair, char ***ret_problems,
                             GCancellable *cancellable, GError **error);

/* vtable.c */
extern const GantryRuntimeVtable shim_runtime_vtable;
